/* SPDX-License-Identifier: MIT
   stress_wake.c: whoever gave up a wait may reuse the waiter's memory at once.

   One thread drives executions that live on the heap and gives each up in the middle of a wait;
   another wakes them meanwhile. The moment that abandon (or the last next) has returned, the
   memory is overwritten and freed. A wake that comes later writes into it: AddressSanitizer and
   ThreadSanitizer see that, and so does the plain build, by the mark that is no longer there. */
#define RSL_IMPLEMENTATION
#include "resilience.h"

#include "support/support.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 100000, BATCH = 500, BLOCKING_ROUNDS = 5000, FAILED = 42 };
#define ALIVE UINT64_C(0xA11FEA11FE)

/* A moment for the other thread. Now and then the processor is given away, so that the two get
   mixed even where they have to share one. */
static void pass_time(seeded_random *random)
{
    uint32_t turns = seeded_random_below(random, 400);
    if (turns < 25) {
        (void)sched_yield();
    }
    for (volatile uint32_t i = 0; i < turns; i++) {
    }
}

/* ------------------------------------------------- an execution that is freed early */

typedef struct mortal {
    uint64_t      alive;    /* ALIVE until the owner has given it up */
    uint64_t      woken;
    rsl_execution execution;
} mortal;

static _Atomic int wakes, wakes_of_the_dead;

/* A post as an event loop would make it, only slower, so that giving up often falls into it. */
static void mortal_wake(void *user)
{
    mortal *m = user;
    int nth = atomic_fetch_add(&wakes, 1);
    if (nth % 16 == 0) {
        (void)sched_yield();
    }
    for (volatile int i = 0; i < nth % 50; i++) {
    }
    if (m->alive != ALIVE) {
        atomic_fetch_add(&wakes_of_the_dead, 1);
    }
    m->woken++;
}

static mortal *mortal_begin(const rsl_layer *layers, size_t count, rsl_cancel *cancel)
{
    mortal *m = malloc(sizeof *m);
    if (m == NULL) {
        abort();
    }
    rsl_ctx ctx = {.cancel = cancel};
    m->alive = ALIVE;
    m->woken = 0;
    if (rsl_execution_begin(&m->execution, layers, count, &ctx) != RSL_OK) {
        abort();
    }
    rsl_execution_wake_by(&m->execution, mortal_wake, m);
    return m;
}

static void mortal_free(mortal *m)
{
    memset(m, 0xA5, sizeof *m);
    free(m);
}

/* ------------------------------------------------------- a layer that queues waiters */

/* A turnstile lets in whoever it was opened for. It follows the protocol of rsl_waiter with the
   library's own list: QUEUED under the lock, WAKING under the lock, wake, WOKEN. */
typedef struct turnstile {
    rsl_lock_    lock;
    rsl_waiters_ queue;     /* guarded by lock */
    _Atomic long grants, used, given_back;
} turnstile;

static int turnstile_enter(void *self, rsl_execution *e, rsl_slot *slot)
{
    turnstile *t = self;
    if (slot->word[0] == 1 && rsl_waiters_leave_(&t->queue, &t->lock, &e->waiter)) {
        slot->word[0] = 2;
        atomic_fetch_add(&t->used, 1);
        return RSL_OK;
    }
    slot->word[0] = 1;
    rsl_lock_take_(&t->lock);
    rsl_waiters_push_(&t->queue, &e->waiter);
    rsl_lock_drop_(&t->lock);
    e->wake_at = RSL_FOREVER;
    return RSL_WAIT;
}

static int turnstile_leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    (void)e;
    (void)slot;
    return RSL_DONE;
}

static void turnstile_abandon(void *self, rsl_execution *e, rsl_slot *slot)
{
    turnstile *t = self;
    if (slot->word[0] == 1 && rsl_waiters_leave_(&t->queue, &t->lock, &e->waiter)) {
        atomic_fetch_add(&t->given_back, 1);
    }
}

static const rsl_layer_type turnstile_type = {"turnstile", turnstile_enter, turnstile_leave,
                                              turnstile_abandon};

/* Lets the first waiter in; false when nobody waits. */
static bool turnstile_grant(turnstile *t)
{
    rsl_lock_take_(&t->lock);
    rsl_waiter *waiter = rsl_waiters_take_(&t->queue);
    rsl_lock_drop_(&t->lock);
    if (waiter == NULL) {
        return false;
    }
    atomic_fetch_add(&t->grants, 1);
    rsl_waiter_wake_(waiter);
    return true;
}

static bool turnstile_is_even(turnstile *t)
{
    return t->queue.first == NULL &&
           atomic_load(&t->grants) == atomic_load(&t->used) + atomic_load(&t->given_back);
}

/* ------------------------------------- a backoff, abandoned while its token is fired */

typedef struct firing {
    rsl_cancel     tokens[BATCH];
    _Atomic int    waiting;     /* executions [0, waiting) of the batch wait */
    _Atomic int    fired;       /* tokens [0, fired) of the batch have been fired */
    _Atomic bool   over;
} firing;

static void *firing_run(void *arg)
{
    firing *f = arg;
    int idle = 0;
    while (!atomic_load(&f->over)) {
        int next = atomic_load(&f->fired);
        if (next < atomic_load(&f->waiting)) {
            rsl_cancel_fire(&f->tokens[next]);
            atomic_store(&f->fired, next + 1);
            idle = 0;
        } else if (++idle > 200) {
            (void)sched_yield();
        }
    }
    return NULL;
}

/* Both sides must run for the race to happen; on a busy machine one of them may not get to. */
static void let_it_catch_up(const firing *f, int i)
{
    while (atomic_load(&f->fired) < i - 2) {
        (void)sched_yield();
    }
}

/* To the backoff after one failed call; then, while the other thread fires, given up. */
static bool abandon_a_backoff(firing *f, int i, const rsl_layer *layer,
                              seeded_random *random)
{
    mortal *m = mortal_begin(layer, 1, &f->tokens[i]);
    bool waits = rsl_execution_step(&m->execution, RSL_SEC(1)) == RSL_RUN &&
                 rsl_execution_report(&m->execution, RSL_SEC(1), FAILED) == RSL_OK &&
                 rsl_execution_step(&m->execution, RSL_SEC(1)) == RSL_WAIT;
    let_it_catch_up(f, i);
    atomic_store(&f->waiting, i + 1);
    pass_time(random);
    rsl_execution_abandon(&m->execution, RSL_SEC(1));
    mortal_free(m);
    return waits;
}

static void backoffs_are_abandoned_while_their_token_is_fired(void)
{
    static firing f;
    rsl_retry retry;
    rsl_retry_config config = {.delay_first = RSL_SEC(60), .delay_max = RSL_SEC(60)};
    config.jitter = RSL_JITTER_NONE;
    bool ok = rsl_retry_init(&retry, &config) == RSL_OK;
    const rsl_layer layer = rsl_retry_layer(&retry);
    seeded_random random = {7};
    pthread_t thread;
    atomic_store(&f.fired, BATCH);
    atomic_store(&wakes, 0);
    ok = ok && pthread_create(&thread, NULL, firing_run, &f) == 0;
    for (int round = 0; ok && round < ROUNDS; round += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            ok = rsl_cancel_init(&f.tokens[i], NULL) == RSL_OK && ok;
        }
        atomic_store(&f.waiting, 0);
        atomic_store(&f.fired, 0);
        for (int i = 0; i < BATCH; i++) {
            ok = abandon_a_backoff(&f, i, &layer, &random) && ok;
        }
        while (atomic_load(&f.fired) < BATCH) {
            (void)sched_yield();
        }
        for (int i = 0; i < BATCH; i++) {
            rsl_cancel_deinit(&f.tokens[i]);
        }
    }
    atomic_store(&f.over, true);
    (void)pthread_join(thread, NULL);
    rsl_retry_deinit(&retry);
    tap_ok(ok && atomic_load(&wakes_of_the_dead) == 0 && atomic_load(&wakes) > 0,
           "a backoff is abandoned and freed while its token fires: %d rounds, woken in time %d",
           ROUNDS, atomic_load(&wakes));
}

/* ----------------------------------- a queued waiter, abandoned while it is let in */

typedef struct granting {
    turnstile        turnstile;
    _Atomic unsigned looks;     /* how often it looked for somebody to let in */
    _Atomic bool     over;
} granting;

static void *granting_run(void *arg)
{
    granting *g = arg;
    while (!atomic_load(&g->over)) {
        bool let_in = turnstile_grant(&g->turnstile);
        if (atomic_fetch_add(&g->looks, 1) % 256 == 0 && !let_in) {
            (void)sched_yield();
        }
    }
    return NULL;
}

static void waiters_are_abandoned_while_they_are_let_in(void)
{
    static granting g;
    const rsl_layer layer = {&turnstile_type, &g.turnstile};
    seeded_random random = {8};
    pthread_t thread;
    atomic_store(&wakes, 0);
    bool ok = rsl_lock_init_(&g.turnstile.lock) == RSL_OK &&
              pthread_create(&thread, NULL, granting_run, &g) == 0;
    long went_in = 0;
    for (int round = 0; ok && round < ROUNDS; round++) {
        unsigned looks = atomic_load(&g.looks);
        while (round % 4 == 0 && atomic_load(&g.looks) == looks) {
            (void)sched_yield(); /* as above: both must run */
        }
        mortal *m = mortal_begin(&layer, 1, NULL);
        ok = rsl_execution_step(&m->execution, RSL_SEC(1)) == RSL_WAIT;
        pass_time(&random);
        if (round % 3 == 0) { /* stepped again: with luck it is let in */
            went_in += rsl_execution_step(&m->execution, RSL_SEC(1)) == RSL_RUN;
        }
        rsl_execution_abandon(&m->execution, RSL_SEC(1));
        mortal_free(m);
    }
    atomic_store(&g.over, true);
    (void)pthread_join(thread, NULL);
    tap_ok(ok && atomic_load(&wakes_of_the_dead) == 0 && atomic_load(&wakes) > 0 &&
           turnstile_is_even(&g.turnstile) && went_in == atomic_load(&g.turnstile.used),
           "a queued waiter is abandoned and freed while it is let in: %d rounds, let in %ld, "
           "grants given back %ld", ROUNDS, went_in, atomic_load(&g.turnstile.given_back));
    rsl_lock_deinit_(&g.turnstile.lock);
}

/* ------------------------ a blocked wait that ends by grant, deadline and cancel at once */

static void *teasing_run(void *arg)
{
    granting *g = arg;
    seeded_random random = {9};
    while (!atomic_load(&g->over)) {
        for (int i = 0; i < 50; i++) {
            pass_time(&random);
        }
        (void)turnstile_grant(&g->turnstile);
        (void)sched_yield();
    }
    return NULL;
}

static bool block_for_a_moment(const rsl_layer *layer, rsl_time span, long *went_in)
{
    rsl_execution *e = malloc(sizeof *e);
    if (e == NULL) {
        abort();
    }
    rsl_ctx ctx = rsl_within(span);
    bool ok = rsl_execution_begin(e, layer, 1, &ctx) == RSL_OK;
    while (rsl_execution_next(e)) {
        (*went_in)++;
        rsl_execution_done(e, FAILED);
    }
    ok = ok && (e->result == FAILED || e->result == RSL_ETIMEOUT);
    memset(e, 0xA5, sizeof *e);
    free(e);
    return ok;
}

static void blocked_waits_end_by_a_grant_or_by_their_deadline(void)
{
    static granting g;
    const rsl_layer layer = {&turnstile_type, &g.turnstile};
    seeded_random random = {10};
    pthread_t thread;
    long went_in = 0;
    bool ok = rsl_lock_init_(&g.turnstile.lock) == RSL_OK &&
              pthread_create(&thread, NULL, teasing_run, &g) == 0;
    for (int round = 0; ok && round < BLOCKING_ROUNDS; round++) {
        rsl_time span = RSL_US(seeded_random_below(&random, 100));
        ok = block_for_a_moment(&layer, span, &went_in);
    }
    atomic_store(&g.over, true);
    (void)pthread_join(thread, NULL);
    tap_ok(ok && turnstile_is_even(&g.turnstile) && atomic_load(&g.turnstile.used) >= went_in,
           "a blocked wait ends by a grant or its deadline and is freed: %d rounds, let in %ld, "
           "grants given back %ld", BLOCKING_ROUNDS, went_in,
           atomic_load(&g.turnstile.given_back));
    rsl_lock_deinit_(&g.turnstile.lock);
}

int main(void)
{
    backoffs_are_abandoned_while_their_token_is_fired();
    waiters_are_abandoned_while_they_are_let_in();
    blocked_waits_end_by_a_grant_or_by_their_deadline();
    return tap_end();
}
