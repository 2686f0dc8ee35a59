/* SPDX-License-Identifier: MIT
   stress_cancel.c: a cancel token is fired while others listen, stop listening, make children of
   it and end them; and whoever is blocked under it always wakes up. */
#define RSL_IMPLEMENTATION
#include "resilience.h"

#include "support/support.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 4, STORMS = 400, SLEEPERS = 6, NIGHTS = 300, RELAYS = 20000, FAILED = 42 };

/* --------------------------------------------------------------------- rounds */

/* All threads start a round together and end it together. */
typedef struct gathering {
    pthread_mutex_t lock;
    pthread_cond_t  all_here;
    int             parties;
    int             here;     /* guarded by lock */
    unsigned        round;    /* guarded by lock */
} gathering;

static void gathering_set(gathering *g, int parties)
{
    memset(g, 0, sizeof *g);
    g->parties = parties;
    if (pthread_mutex_init(&g->lock, NULL) != 0 || pthread_cond_init(&g->all_here, NULL) != 0) {
        abort();
    }
}

static void gathering_end(gathering *g)
{
    (void)pthread_cond_destroy(&g->all_here);
    (void)pthread_mutex_destroy(&g->lock);
}

static void gather(gathering *g)
{
    (void)pthread_mutex_lock(&g->lock);
    unsigned round = g->round;
    if (++g->here == g->parties) {
        g->here = 0;
        g->round++;
        (void)pthread_cond_broadcast(&g->all_here);
    }
    while (g->round == round) {
        (void)pthread_cond_wait(&g->all_here, &g->lock);
    }
    (void)pthread_mutex_unlock(&g->lock);
}

static void spin(uint32_t turns)
{
    for (volatile uint32_t i = 0; i < turns; i++) {
    }
}

/* ------------------------------------------ fire against listen, unlisten and deinit */

typedef struct storm {
    gathering   meeting;
    rsl_cancel  root;
    _Atomic int wrong, lives, wakes;
    _Atomic int working;      /* workers that have begun this round */
} storm;

typedef struct storm_worker {
    storm        *storm;
    seeded_random random;
} storm_worker;

static void storm_wake(void *user)
{
    storm *s = user;
    atomic_fetch_add(&s->wakes, 1);
}

/* One short life: a child of the root, a grandchild, an execution that listens to one of the
   three, all on the heap, ended in the order that the rules ask for. */
static bool storm_life(storm_worker *w)
{
    storm *s = w->storm;
    rsl_cancel *child = malloc(sizeof *child), *grandchild = malloc(sizeof *grandchild);
    rsl_execution *e = malloc(sizeof *e);
    if (child == NULL || grandchild == NULL || e == NULL) {
        abort();
    }
    bool ok = rsl_cancel_init(child, &s->root) == RSL_OK &&
              rsl_cancel_init(grandchild, child) == RSL_OK;
    uint32_t which = seeded_random_below(&w->random, 3);
    rsl_cancel *heard = which == 0 ? &s->root : which == 1 ? child : grandchild;
    rsl_ctx ctx = {.cancel = heard};
    ok = ok && rsl_execution_begin(e, NULL, 0, &ctx) == RSL_OK;
    rsl_execution_wake_by(e, storm_wake, s);
    int answer = rsl_execution_step(e, RSL_SEC(1));
    if (seeded_random_below(&w->random, 8) == 0) {
        rsl_cancel_fire(child);
        bool passed_on = rsl_cancel_fired(grandchild);
        /* unless the root's fire is just about to pass it on */
        ok = ok && rsl_cancel_fired(child) && (passed_on || rsl_cancel_fired(&s->root));
    }
    spin(seeded_random_below(&w->random, 200));
    bool fired = rsl_cancel_fired(heard);
    int then = rsl_execution_step(e, RSL_SEC(1));
    ok = ok && (answer == RSL_RUN || rsl_cancel_fired(heard));
    ok = ok && (!fired || then != RSL_WAIT);
    rsl_execution_abandon(e, RSL_SEC(1));
    memset(e, 0xA5, sizeof *e);
    free(e);
    rsl_cancel_deinit(grandchild);
    memset(grandchild, 0xA5, sizeof *grandchild);
    free(grandchild);
    rsl_cancel_deinit(child);
    memset(child, 0xA5, sizeof *child);
    free(child);
    return ok;
}

static void *storm_run(void *arg)
{
    storm_worker *w = arg;
    storm *s = w->storm;
    for (int round = 0; round < STORMS; round++) {
        gather(&s->meeting);
        atomic_fetch_add(&s->working, 1);
        for (bool fired = false; !fired;) {
            fired = rsl_cancel_fired(&s->root); /* one life more after the fire */
            if (!storm_life(w)) {
                atomic_fetch_add(&s->wrong, 1);
            }
            atomic_fetch_add(&s->lives, 1);
        }
        gather(&s->meeting);
    }
    return NULL;
}

static void tokens_are_fired_while_others_listen_and_leave(void)
{
    static storm s;
    static storm_worker workers[WORKERS];
    pthread_t threads[WORKERS];
    seeded_random random = {11};
    gathering_set(&s.meeting, WORKERS + 1);
    for (int i = 0; i < WORKERS; i++) {
        workers[i].storm = &s;
        workers[i].random.state = 100 + (uint64_t)i;
        if (pthread_create(&threads[i], NULL, storm_run, &workers[i]) != 0) {
            abort();
        }
    }
    for (int round = 0; round < STORMS; round++) {
        if (rsl_cancel_init(&s.root, NULL) != RSL_OK) {
            atomic_fetch_add(&s.wrong, 1);
        }
        atomic_store(&s.working, 0);
        gather(&s.meeting);
        while (atomic_load(&s.working) == 0) {
            (void)sched_yield();
        }
        spin(seeded_random_below(&random, 20000));
        rsl_cancel_fire(&s.root);
        gather(&s.meeting);
        rsl_cancel_deinit(&s.root); /* nobody is under it any more, or this would be told */
    }
    for (int i = 0; i < WORKERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    gathering_end(&s.meeting);
    tap_ok(atomic_load(&s.wrong) == 0,
           "a token is fired while others listen, leave and end children: %d fires, %d lives, "
           "%d wakes", STORMS, atomic_load(&s.lives), atomic_load(&s.wakes));
}

/* ------------------------------------- a token ended by whoever finds that it has fired */

typedef struct relay {
    rsl_cancel *_Atomic given;    /* to be fired; NULL: none */
    _Atomic bool        over;
} relay;

static void *relay_run(void *arg)
{
    relay *r = arg;
    int idle = 0;
    while (!atomic_load(&r->over)) {
        rsl_cancel *cancel = atomic_exchange(&r->given, NULL);
        if (cancel != NULL) {
            rsl_cancel_fire(cancel);
            idle = 0;
        } else if (++idle > 200) {
            (void)sched_yield();
        }
    }
    return NULL;
}

static void relay_wake(void *user)
{
    (void)user;
    spin(50);
}

/* Hands a token over, waits until it has fired, ends and frees it: while the other thread may
   still be in the middle of rsl_cancel_fire. */
static bool relay_token(relay *r)
{
    rsl_cancel *cancel = malloc(sizeof *cancel);
    rsl_execution e;
    if (cancel == NULL || rsl_cancel_init(cancel, NULL) != RSL_OK) {
        abort();
    }
    rsl_ctx ctx = {.cancel = cancel};
    bool ok = rsl_execution_begin(&e, NULL, 0, &ctx) == RSL_OK;
    rsl_execution_wake_by(&e, relay_wake, NULL);
    ok = ok && rsl_execution_step(&e, RSL_SEC(1)) == RSL_RUN;
    atomic_store(&r->given, cancel);
    for (int turns = 1; !rsl_cancel_fired(cancel); turns++) {
        if (turns % 100 == 0) {
            (void)sched_yield();
        }
    }
    ok = ok && rsl_execution_step(&e, RSL_SEC(1)) == RSL_STOP;
    rsl_execution_abandon(&e, RSL_SEC(1));
    rsl_cancel_deinit(cancel);
    memset(cancel, 0xA5, sizeof *cancel);
    free(cancel);
    return ok;
}

static void a_token_is_ended_while_its_fire_is_in_progress(void)
{
    static relay r;
    pthread_t thread;
    bool ok = pthread_create(&thread, NULL, relay_run, &r) == 0;
    for (int round = 0; ok && round < RELAYS; round++) {
        ok = relay_token(&r);
    }
    atomic_store(&r.over, true);
    (void)pthread_join(thread, NULL);
    tap_ok(ok, "a token is ended and freed once it is seen to have fired: %d rounds", RELAYS);
}

/* ------------------------------------------------------------- no wake-up is lost */

typedef struct night {
    gathering   meeting;
    rsl_cancel  root;
    rsl_retry   retry;
    _Atomic int asleep;       /* sleepers whose call has failed: asleep by now, or soon */
    _Atomic int wrong;
    _Atomic int cut;          /* backoffs that the fire has ended */
    _Atomic int64_t fired_at;
    _Atomic int64_t slowest;  /* from the fire to the return of a sleeper */
} night;

typedef struct sleeper {
    night        *night;
    int           number, calls;
    seeded_random random;
} sleeper;

static int fail_and_be_counted(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    sleeper *s = arg;
    s->calls++;
    atomic_fetch_add(&s->night->asleep, 1);
    return FAILED;
}

/* Blocks in a long backoff, in rsl_run or in the loop, on the root or on a child of it. */
static int sleeper_blocks(sleeper *s, rsl_cancel *cancel)
{
    rsl_ctx ctx = rsl_within(RSL_SEC(3600));
    rsl_execution e;
    const rsl_layer layer = rsl_retry_layer(&s->night->retry);
    ctx.cancel = cancel;
    if (s->number % 2 == 0) {
        return rsl_run(&layer, 1, &ctx, fail_and_be_counted, s);
    }
    if (rsl_execution_begin(&e, &layer, 1, &ctx) != RSL_OK) {
        return FAILED;
    }
    while (rsl_execution_next(&e)) {
        rsl_execution_done(&e, fail_and_be_counted(&e.ctx, s));
    }
    return e.result;
}

static void note_slowest(night *n, int64_t took)
{
    int64_t slowest = atomic_load(&n->slowest);
    while (took > slowest && !atomic_compare_exchange_weak(&n->slowest, &slowest, took)) {
    }
}

static void *sleeper_run(void *arg)
{
    sleeper *s = arg;
    night *n = s->night;
    for (int round = 0; round < NIGHTS; round++) {
        gather(&n->meeting);
        rsl_cancel child;
        bool own = s->number % 3 != 0;
        if (own && rsl_cancel_init(&child, &n->root) != RSL_OK) {
            atomic_fetch_add(&n->wrong, 1);
        }
        spin(seeded_random_below(&s->random, 2000));
        s->calls = 0;
        int result = sleeper_blocks(s, own ? &child : &n->root);
        /* FAILED: fired while the call was out, so that no backoff was begun */
        if (s->calls > 1 || (result != RSL_ECANCELED && result != FAILED)) {
            atomic_fetch_add(&n->wrong, 1);
        }
        atomic_fetch_add(&n->cut, result == RSL_ECANCELED && s->calls == 1);
        note_slowest(n, rsl_now() - atomic_load(&n->fired_at));
        if (own) {
            rsl_cancel_deinit(&child);
        }
        gather(&n->meeting);
    }
    return NULL;
}

static void blocked_executions_always_wake_when_cancelled(void)
{
    static night n;
    static sleeper sleepers[SLEEPERS];
    pthread_t threads[SLEEPERS];
    seeded_random random = {12};
    /* who is never woken fails a second time after 15 s, and is told by that */
    rsl_retry_config config = {.delay_first = RSL_SEC(15), .delay_max = RSL_SEC(15)};
    config.jitter = RSL_JITTER_NONE;
    config.attempts_max = 2;
    bool ok = rsl_retry_init(&n.retry, &config) == RSL_OK;
    gathering_set(&n.meeting, SLEEPERS + 1);
    for (int i = 0; i < SLEEPERS; i++) {
        sleepers[i].night = &n;
        sleepers[i].number = i;
        sleepers[i].random.state = 200 + (uint64_t)i;
        if (pthread_create(&threads[i], NULL, sleeper_run, &sleepers[i]) != 0) {
            abort();
        }
    }
    for (int round = 0; round < NIGHTS; round++) {
        ok = rsl_cancel_init(&n.root, NULL) == RSL_OK && ok;
        atomic_store(&n.asleep, 0);
        int enough = (int)seeded_random_below(&random, SLEEPERS + 1);
        gather(&n.meeting);
        while (atomic_load(&n.asleep) < enough) {
            (void)sched_yield();
        }
        spin(seeded_random_below(&random, 20000));
        atomic_store(&n.fired_at, rsl_now());
        rsl_cancel_fire(&n.root);
        gather(&n.meeting);
        rsl_cancel_deinit(&n.root);
    }
    for (int i = 0; i < SLEEPERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    gathering_end(&n.meeting);
    rsl_retry_deinit(&n.retry);
    tap_ok(ok && atomic_load(&n.wrong) == 0 && atomic_load(&n.cut) > 0,
           "every blocked execution ends when cancelled: %d fires, %d sleepers, %d backoffs cut",
           NIGHTS, SLEEPERS, atomic_load(&n.cut));
    tap_ok(atomic_load(&n.slowest) < RSL_SEC(2),
           "no wake-up is lost: the slowest came %.1f ms after the fire",
           (double)atomic_load(&n.slowest) / 1e6);
}

int main(void)
{
    tokens_are_fired_while_others_listen_and_leave();
    a_token_is_ended_while_its_fire_is_in_progress();
    blocked_executions_always_wake_when_cancelled();
    return tap_end();
}
