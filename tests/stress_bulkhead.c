/* SPDX-License-Identifier: MIT
   stress_bulkhead.c: many threads at one bulkhead: storms of tries, waits with deadlines, cancels,
   calls, executions that are abandoned and permits that are left by others, while the limit is
   resized, adapts or sheds; a million operations in all, and permits that must be conserved
   exactly. Fewer with a sanitizer. To be built with those for threads and addresses too. Prints
   TAP.                                                                                       */
#include "support/allocator.h"

#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define SLOW 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SLOW 1
#endif
#endif

enum {
    WORKERS = 8,
#ifdef SLOW
    STEPS = 4000,    /* of each worker in each of 10 storms */
#else
    STEPS = 12500,   /* 10 x 8 x 12500: a million */
#endif
    LIMIT_MOST = 64
};

/* Nobody waits for so long, unless forgotten. */
#define LONG_ENOUGH RSL_SEC(60)

/* ------------------------------------------------------------------- helpers */

static void bail_out(const char *why)
{
    printf("Bail out! %s\n", why);
    exit(1);
}

static pthread_t start_thread(void *(*work)(void *arg), void *arg)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, arg) != 0) {
        bail_out("no thread");
    }
    return thread;
}

static rsl_bulkhead_stats stats_of(rsl_bulkhead *bulkhead)
{
    rsl_bulkhead_stats stats;
    rsl_bulkhead_stats_get(bulkhead, &stats);
    return stats;
}

/* A permit that waits for any thread to leave it. */
typedef struct parcel {
    rsl_bulkhead_permit permit; /* of who made the state BUSY */
    _Atomic int         state;
} parcel;

enum { EMPTY, BUSY, SENT };

/* What all threads of a storm share. */
typedef struct yard {
    rsl_bulkhead     bulkhead;
    const char      *name;
    uint32_t         limit_most;       /* never more are inside, at any instant */
    bool             resizes;
    bool             sends;            /* a permit may wait for another thread to leave it: there
                                          must be two at least, or all would wait for that */
    bool             hands_over;       /* all wait, none in vain */
    _Atomic int      inside;
    _Atomic int      too_many, lost, wrong;
    _Atomic uint64_t entered, refused, timed_out, canceled, seeds;
    parcel           parcel;
    rsl_cancel       tokens[WORKERS];
    bool             armed[WORKERS];   /* guarded by token_locks */
    pthread_mutex_t  token_locks[WORKERS];
} yard;

typedef struct worker {
    yard         *y;
    int           number;
    seeded_random random;
} worker;

static uint32_t draw(worker *w, uint32_t below)
{
    return seeded_random_below(&w->random, below);
}

/* ------------------------------------------------------------------- inside */

static void come_in(yard *y)
{
    int inside = atomic_fetch_add(&y->inside, 1) + 1;
    if (inside > (int)y->limit_most) {
        atomic_fetch_add(&y->too_many, 1);
    }
    atomic_fetch_add(&y->entered, 1);
}

static void go_out(yard *y)
{
    atomic_fetch_sub(&y->inside, 1);
}

static void stay(worker *w)
{
    if (draw(w, 4) == 0) {
        sched_yield();
    }
}

/* What calls answer: sometimes that the far side is overloaded. */
static int some_result(worker *w)
{
    static const int results[] = {0, 0, 0, 0, -5, RSL_ETIMEOUT};
    return results[draw(w, RSL_COUNT(results))];
}

static void leave(worker *w, rsl_bulkhead_permit *permit)
{
    yard *y = w->y;
    go_out(y);
    int status = rsl_bulkhead_leave(&y->bulkhead, permit, some_result(w));
    atomic_fetch_add(&y->wrong, status != RSL_OK);
    if (draw(w, 8) == 0) {
        status = rsl_bulkhead_leave(&y->bulkhead, permit, 0);
        atomic_fetch_add(&y->wrong, status != RSL_EINVAL);
    }
}

static void count(yard *y, int status)
{
    switch (status) {
    case RSL_EFULL:     atomic_fetch_add(&y->refused, 1); break;
    case RSL_ETIMEOUT:  atomic_fetch_add(&y->timed_out, 1); break;
    case RSL_ECANCELED: atomic_fetch_add(&y->canceled, 1); break;
    default:            atomic_fetch_add(&y->wrong, 1); break;
    }
}

/* ------------------------------------------------------------------- what they do */

static void do_try(worker *w)
{
    rsl_bulkhead_permit permit;
    int status = rsl_bulkhead_try(&w->y->bulkhead, &permit);
    if (status != RSL_OK) {
        count(w->y, status);
        return;
    }
    come_in(w->y);
    stay(w);
    leave(w, &permit);
}

/* Enters, for another thread to leave. */
static void do_send(worker *w)
{
    parcel *p = &w->y->parcel;
    int state = EMPTY;
    if (!w->y->sends || !atomic_compare_exchange_strong(&p->state, &state, BUSY)) {
        return;
    }
    int status = rsl_bulkhead_try(&w->y->bulkhead, &p->permit);
    if (status == RSL_OK) {
        come_in(w->y);
        atomic_store(&p->state, SENT);
    } else {
        atomic_store(&p->state, EMPTY);
        count(w->y, status);
    }
}

static void do_leave_for_another(worker *w)
{
    parcel *p = &w->y->parcel;
    int state = SENT;
    if (atomic_compare_exchange_strong(&p->state, &state, BUSY)) {
        leave(w, &p->permit);
        atomic_store(&p->state, EMPTY);
    }
}

static void do_enter(worker *w, const rsl_ctx *ctx)
{
    rsl_bulkhead_permit permit;
    int status = rsl_bulkhead_enter(&w->y->bulkhead, ctx, &permit);
    if (status != RSL_OK) {
        count(w->y, status);
        return;
    }
    come_in(w->y);
    stay(w);
    leave(w, &permit);
}

static void do_enter_for_short(worker *w)
{
    rsl_ctx ctx = rsl_within(RSL_US(draw(w, 150)));
    ctx.priority = (int32_t)draw(w, 3) - 1;
    do_enter(w, &ctx);
}

/* Only who was forgotten waits to the end. */
static void do_enter_for_long(worker *w)
{
    rsl_bulkhead_permit permit;
    rsl_ctx ctx = rsl_within(LONG_ENOUGH);
    ctx.priority = (int32_t)draw(w, 3) - 1;
    int status = rsl_bulkhead_enter(&w->y->bulkhead, &ctx, &permit);
    atomic_fetch_add(&w->y->lost, status == RSL_ETIMEOUT);
    if (status != RSL_OK) {
        count(w->y, status);
        return;
    }
    come_in(w->y);
    stay(w);
    leave(w, &permit);
}

static void do_enter_under_a_token(worker *w)
{
    yard *y = w->y;
    rsl_cancel *token = &y->tokens[w->number];
    pthread_mutex_lock(&y->token_locks[w->number]);
    if (rsl_cancel_init(token, NULL) != RSL_OK) {
        bail_out("no token");
    }
    y->armed[w->number] = true;
    pthread_mutex_unlock(&y->token_locks[w->number]);
    rsl_ctx ctx = rsl_within(LONG_ENOUGH);
    ctx.cancel = token;
    do_enter(w, &ctx);
    pthread_mutex_lock(&y->token_locks[w->number]);
    y->armed[w->number] = false;
    pthread_mutex_unlock(&y->token_locks[w->number]);
    rsl_cancel_deinit(token);
}

static void do_fire(worker *w)
{
    uint32_t other = draw(w, WORKERS);
    pthread_mutex_lock(&w->y->token_locks[other]);
    if (w->y->armed[other]) {
        rsl_cancel_fire(&w->y->tokens[other]);
    }
    pthread_mutex_unlock(&w->y->token_locks[other]);
}

static int call(const rsl_ctx *ctx, void *arg)
{
    worker *w = arg;
    (void)ctx;
    come_in(w->y);
    stay(w);
    go_out(w->y);
    return 7;
}

static void do_call(worker *w)
{
    rsl_ctx ctx = rsl_within(RSL_US(draw(w, 300)));
    int status = rsl_bulkhead_call(&w->y->bulkhead, &ctx, call, w);
    if (status != 7) {
        count(w->y, status);
    }
}

static void do_run(worker *w)
{
    rsl_layer policy[] = {rsl_bulkhead_layer(&w->y->bulkhead)};
    rsl_ctx ctx = rsl_within(RSL_US(draw(w, 300)));
    int status = rsl_run(policy, 1, &ctx, call, w);
    if (status != 7) {
        count(w->y, status);
    }
}

static void bell_ring(void *user)
{
    atomic_store((_Atomic bool *)user, true);
}

/* In an event loop: waits a while, and gives up at any point. */
static void do_steps(worker *w)
{
    yard *y = w->y;
    rsl_layer policy[] = {rsl_bulkhead_layer(&y->bulkhead)};
    rsl_execution e;
    _Atomic bool woken = false;
    rsl_ctx ctx = {.priority = (int32_t)draw(w, 2)};
    (void)rsl_execution_begin(&e, policy, 1, &ctx);
    rsl_execution_wake_by(&e, bell_ring, &woken);
    int rc = rsl_execution_step(&e, rsl_now());
    for (uint32_t turns = draw(w, 40); rc == RSL_WAIT && turns > 0; turns--) {
        if (atomic_exchange(&woken, false)) {
            rc = rsl_execution_step(&e, rsl_now());
        } else {
            sched_yield();
        }
    }
    if (rc == RSL_RUN) {
        come_in(y);
        stay(w);
        go_out(y);
        if (draw(w, 4) != 0) {
            atomic_fetch_add(&y->wrong,
                             rsl_execution_report(&e, rsl_now(), some_result(w)) != RSL_OK);
            rc = rsl_execution_step(&e, rsl_now());
            atomic_fetch_add(&y->wrong, rc != RSL_DONE);
            return;
        }
    } else if (rc == RSL_DONE) {
        count(y, e.result);
        return;
    }
    rsl_execution_abandon(&e, rsl_now());
}

static void do_look(worker *w)
{
    rsl_bulkhead_stats stats = stats_of(&w->y->bulkhead);
    bool sound = stats.limit >= 1 && stats.limit <= w->y->limit_most && stats.waiting <= WORKERS;
    atomic_fetch_add(&w->y->wrong, !sound);
}

static void do_resize(worker *w)
{
    yard *y = w->y;
    if (y->resizes) {
        int status = rsl_bulkhead_resize(&y->bulkhead, 1 + draw(w, y->limit_most));
        atomic_fetch_add(&y->wrong, status != RSL_OK);
    }
}

/* As many as there are: what lies scattered is gathered. */
static void do_take_all(worker *w)
{
    rsl_bulkhead_permit permits[LIMIT_MOST + 1];
    uint32_t taken = 0;
    while (taken <= w->y->limit_most &&
           rsl_bulkhead_try(&w->y->bulkhead, &permits[taken]) == RSL_OK) {
        come_in(w->y);
        taken++;
    }
    count(w->y, taken <= w->y->limit_most ? RSL_EFULL : RSL_EINVAL);
    while (taken > 0) {
        leave(w, &permits[--taken]);
    }
}

static void *work(void *arg)
{
    worker *w = arg;
    yard *y = w->y;
    w->random.state = 77 + 1000 * (uint64_t)w->number + atomic_fetch_add(&y->seeds, 1);
    static void (*const acts[])(worker *) = {
        do_try,  do_try,    do_try,   do_enter_for_short, do_enter_for_short,
        do_call, do_run,    do_steps, do_steps,           do_enter_under_a_token,
        do_fire, do_look,   do_send,  do_send,            do_leave_for_another,
        do_try,  do_resize, do_leave_for_another,         do_enter_for_long};
    for (int step = 0; step < STEPS; step++) {
        if (y->hands_over) {
            do_enter_for_long(w);
        } else if (draw(w, 200) == 0) {
            do_take_all(w);
        } else {
            acts[draw(w, RSL_COUNT(acts))](w);
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------- storms */

/* All permits there are can be taken, and not one more. */
static bool conserves(yard *y)
{
    rsl_bulkhead_permit permits[LIMIT_MOST], more;
    rsl_bulkhead_stats stats = stats_of(&y->bulkhead);
    bool sound = stats.in_use == 0 && stats.waiting == 0;
    for (uint32_t i = 0; i < stats.limit; i++) {
        sound &= rsl_bulkhead_try(&y->bulkhead, &permits[i]) == RSL_OK;
    }
    sound &= rsl_bulkhead_try(&y->bulkhead, &more) == RSL_EFULL;
    for (uint32_t i = 0; i < stats.limit; i++) {
        sound &= rsl_bulkhead_leave(&y->bulkhead, &permits[i], -5) == RSL_OK;
    }
    return sound && stats_of(&y->bulkhead).in_use == 0;
}

/* Who was shed and had given up before it heard of that is one more that was refused. */
static bool counts(yard *y)
{
    rsl_bulkhead_stats stats = stats_of(&y->bulkhead);
    uint64_t refused = atomic_load(&y->refused);
    return stats.admitted == atomic_load(&y->entered) && stats.refused >= refused &&
           stats.refused <= refused + stats.shed;
}

static void storm(yard *y, const rsl_bulkhead_config *config)
{
    if (rsl_bulkhead_init(&y->bulkhead, config) != RSL_OK) {
        bail_out("no bulkhead");
    }
    pthread_t threads[WORKERS];
    worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        pthread_mutex_init(&y->token_locks[i], NULL);
    }
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (worker){.y = y, .number = i};
        threads[i] = start_thread(work, &workers[i]);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    do_leave_for_another(&workers[0]);
    bool sound = counts(y);
    tap_ok(atomic_load(&y->too_many) == 0, "%s: never more than %u are inside", y->name,
           y->limit_most);
    tap_ok(atomic_load(&y->lost) == 0, "%s: nobody who waits is forgotten", y->name);
    tap_ok(atomic_load(&y->wrong) == 0 && sound && atomic_load(&y->inside) == 0,
           "%s: every answer is right, and counted", y->name);
    tap_ok(conserves(y), "%s: after %d operations permits are conserved exactly", y->name,
           WORKERS * STEPS);
    rsl_bulkhead_deinit(&y->bulkhead);
    for (int i = 0; i < WORKERS; i++) {
        pthread_mutex_destroy(&y->token_locks[i]);
    }
    free(y);
}

static yard *yard_new(const char *name, uint32_t limit_most)
{
    yard *y = calloc(1, sizeof(*y));
    if (y == NULL) {
        bail_out("no memory");
    }
    y->name = name;
    y->limit_most = limit_most;
    return y;
}

static void storm_at(const char *name, uint32_t limit, uint32_t waiting_max)
{
    rsl_bulkhead_config config = {.calls_max = limit, .waiting_max = waiting_max};
    yard *y = yard_new(name, limit);
    y->sends = true;
    storm(y, &config);
}

static void storm_with_resizes(void)
{
    rsl_bulkhead_config config = {.calls_max = 5, .waiting_max = RSL_UNLIMITED};
    yard *y = yard_new("while the limit is resized", 6);
    y->resizes = true;
    storm(y, &config);
}

static void storm_that_adapts(const char *name, rsl_bulkhead_limit limit)
{
    rsl_bulkhead_config config = {.calls_max = 4, .waiting_max = 4};
    config.limit = limit;
    config.limit_max = 6;
    config.latency_target = RSL_US(20);
    yard *y = yard_new(name, 6);
    y->resizes = true;
    storm(y, &config);
}

static void storm_that_sheds(void)
{
    rsl_bulkhead_config config = {.calls_max = 2, .waiting_max = 10, .shed = RSL_SHED_CODEL};
    config.shed_target = RSL_US(20);
    config.shed_interval = RSL_US(200);
    storm(yard_new("while the queue is shed", 2), &config);
}

static void storm_in_turns(void)
{
    rsl_bulkhead_config config = {.calls_max = 1, .waiting_max = RSL_UNLIMITED};
    yard *y = yard_new("where all wait in turn", 1);
    y->hands_over = true;
    storm(y, &config);
}

int main(void)
{
    storm_at("three permits, room for all", 3, RSL_UNLIMITED);
    storm_at("two permits, room for two", 2, 2);
    storm_at("permits for nearly all", LIMIT_MOST, 8);
    storm_with_resizes();
    storm_that_adapts("while AIMD and others set the limit", RSL_LIMIT_AIMD);
    storm_that_adapts("while Vegas and others set it", RSL_LIMIT_VEGAS);
    storm_that_adapts("while Gradient2 and others set it", RSL_LIMIT_GRADIENT2);
    storm_that_adapts("while a latency target and others set it", RSL_LIMIT_LATENCY);
    storm_that_sheds();
    storm_in_turns();
    return tap_end();
}
