/* rows.c -- the library's rows: what a user writes, around a call that does nothing and succeeds.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "bench.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

enum { UNCOUNTED, COUNTED, SLOW_CALLS, MIXED, VARIANTS }; /* breakers of one window */

/* Objects shared by all threads, each away from the next one's cache lines. */
typedef struct shared_breaker { _Alignas(128) rsl_breaker breaker; } shared_breaker;
typedef struct shared_retry { _Alignas(128) rsl_retry retry; } shared_retry;

static shared_breaker breakers[3][VARIANTS]; /* [window] */
static shared_breaker open_one, half_open, in_policy;
static shared_retry plain_retry, budget_retry, policy_retry;
static _Alignas(128) rsl_retry_budget budget;
static rsl_timeout total;
static rsl_workers *busy;

/* Two layers as users write them. The first tells the engine that it needs no time when left. */
static int enter_timeless(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    slot->word[0] = 1;
    rsl_execution_timeless(e);
    return RSL_OK;
}

static int enter_timed(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    slot->word[0] = (uint64_t)e->now;
    return RSL_OK;
}

static int leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    (void)e;
    slot->word[0] = 0;
    return RSL_DONE;
}

static void abandon(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    (void)e;
    slot->word[0] = 0;
}

static const rsl_layer_type timeless_layer = {"bench", enter_timeless, leave, abandon};
static const rsl_layer_type timed_layer = {"bench", enter_timed, leave, abandon};

typedef struct policy { rsl_layer layers[4]; } policy;
static policy timeless_policy, timed_policy;

static uint64_t call_retry(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        unexpected += rsl_retry_call(subject, NULL, bench_target, NULL) != 0;
    }
    return unexpected;
}

/* With a deadline the library has to look at the clock before the first attempt. */
static uint64_t call_retry_within(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    rsl_ctx ctx = rsl_within(RSL_SEC(3600));
    for (uint64_t i = 0; i < count; i++) {
        unexpected += rsl_retry_call(subject, &ctx, bench_target, NULL) != 0;
    }
    return unexpected;
}

static uint64_t call_breaker(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        unexpected += rsl_breaker_call(subject, NULL, bench_target, NULL) != 0;
    }
    return unexpected;
}

/* No rate comes near its limit by this, but failures of many threads may meet and look
   consecutive; so failures_max is out of reach. */
static uint64_t call_breaker_mixed(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        unexpected += rsl_breaker_call(subject, NULL, bench_mixed(i), NULL) == RSL_EOPEN;
    }
    return unexpected;
}

static uint64_t allow_and_report(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        rsl_breaker_permit permit;
        if (rsl_breaker_allow(subject, &permit) != RSL_OK) {
            unexpected++;
            continue;
        }
        unexpected += rsl_breaker_report(subject, &permit, bench_target(NULL, NULL)) != RSL_OK;
    }
    return unexpected;
}

static uint64_t be_refused(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        unexpected += rsl_breaker_call(subject, NULL, bench_target, NULL) != RSL_EOPEN;
    }
    return unexpected;
}

static uint64_t run_policy(void *subject, uint64_t count)
{
    const policy *p = subject;
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        unexpected += rsl_run(p->layers, RSL_COUNT(p->layers), NULL, bench_target, NULL) != 0;
    }
    return unexpected;
}

static uint64_t loop_policy(void *subject, uint64_t count)
{
    const policy *p = subject;
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        rsl_execution e;
        rsl_execution_begin(&e, p->layers, RSL_COUNT(p->layers), NULL);
        while (rsl_execution_next(&e)) rsl_execution_done(&e, bench_target(&e.ctx, NULL));
        unexpected += e.result != 0;
    }
    return unexpected;
}

/* As in an event loop: the loop has read the clock once for all the work of this turn. */
static uint64_t step_policy(void *subject, uint64_t count)
{
    const policy *p = subject;
    uint64_t unexpected = 0;
    rsl_time now = rsl_now();
    for (uint64_t i = 0; i < count; i++) {
        rsl_execution e;
        rsl_execution_begin(&e, p->layers, RSL_COUNT(p->layers), NULL);
        if (rsl_execution_step(&e, now) == RSL_RUN) {
            rsl_execution_report(&e, now, bench_target(&e.ctx, NULL));
        }
        unexpected += rsl_execution_step(&e, now) != RSL_DONE || e.result != 0;
    }
    return unexpected;
}

/* The workers' only thread is at work: who waits for a task finds it queued, and runs it. */
static uint64_t run_own_task(void *subject, uint64_t count)
{
    rsl_workers *workers = *(rsl_workers **)subject;
    rsl_task task = {0};
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        int result = 1;
        if (rsl_workers_submit(workers, NULL, bench_target, NULL, &task) != RSL_OK) {
            unexpected++;
            continue;
        }
        unexpected += rsl_task_wait(&task, NULL, &result) != RSL_OK || result != 0;
    }
    return unexpected;
}

static uint64_t cancel_own_task(void *subject, uint64_t count)
{
    rsl_workers *workers = *(rsl_workers **)subject;
    rsl_task task = {0};
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (rsl_workers_submit(workers, NULL, bench_target, NULL, &task) != RSL_OK) {
            unexpected++;
            continue;
        }
        unexpected += rsl_task_cancel(&task) != RSL_OK;
    }
    return unexpected;
}

static rsl_outcome do_step(rsl_step *step, void *target)
{
    (void)step;
    return (*(volatile rsl_fn *)target)(NULL, NULL) == 0 ? RSL_STEP_OK : RSL_STEP_FAIL;
}

static const rsl_saga_step order_steps[] = {
    {.name = "reserve", .run = do_step, .undo = do_step},
    {.name = "charge", .run = do_step, .undo = do_step},
    {.name = "pack", .run = do_step, .undo = do_step},
    {.name = "ship", .run = do_step, .undo = do_step},
    {.name = "mail", .run = do_step, .undo = do_step},
};
static rsl_saga_def order = {"order", 1, order_steps, RSL_COUNT(order_steps), 0};

static uint64_t run_saga(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++)
        unexpected += rsl_saga_run(subject, NULL, (void *)&bench_target) != RSL_OK;
    return unexpected;
}

static void must(int status, const char *what)
{
    if (status == RSL_OK) return;
    fprintf(stderr, "bench: %s: %s\n", what, rsl_strerror(status));
    exit(1);
}

static void prepare_breakers(void)
{
    static const rsl_breaker_window windows[] = {RSL_WINDOW_CONSECUTIVE, RSL_WINDOW_COUNT,
                                                 RSL_WINDOW_TIME};
    for (int window = 0; window < 3; window++) {
        for (int variant = 0; variant < VARIANTS; variant++) {
            rsl_breaker_config config = {.window = windows[window], .window_calls = 100,
                                         .window_span = RSL_SEC(10)};
            config.uncounted = variant == UNCOUNTED;
            config.failures_max = variant == MIXED ? 1000 : 0;
            config.slow_after = variant == SLOW_CALLS ? RSL_SEC(1) : 0;
            must(rsl_breaker_init(&breakers[window][variant].breaker, &config), "breaker");
        }
    }
    rsl_breaker_config opening = {.open_for = RSL_SEC(86400), .open_max = RSL_SEC(86400)};
    must(rsl_breaker_init(&open_one.breaker, &opening), "open breaker");
    must(rsl_breaker_force(&open_one.breaker, RSL_BREAKER_OPEN), "open");

    rsl_breaker_config probing = {.open_for = RSL_NONE, .probe_for = RSL_SEC(86400)};
    must(rsl_breaker_init(&half_open.breaker, &probing), "half-open breaker");
    must(rsl_breaker_force(&half_open.breaker, RSL_BREAKER_OPEN), "open");
    static rsl_breaker_permit probe; /* stays out, so that every other call is refused */
    must(rsl_breaker_allow(&half_open.breaker, &probe), "probe");

    must(rsl_breaker_init(&in_policy.breaker, NULL), "breaker of the policy");
}

static void prepare_retries(void)
{
    must(rsl_retry_init(&plain_retry.retry, NULL), "retry");
    must(rsl_retry_init(&policy_retry.retry, NULL), "retry of the policy");
    must(rsl_retry_budget_init(&budget, NULL), "budget");
    rsl_retry_config with_budget = {.budget = &budget};
    must(rsl_retry_init(&budget_retry.retry, &with_budget), "retry with budget");
}

static void prepare_policies(void)
{
    must(rsl_timeout_init(&total, RSL_SEC(60)), "timeout");
    policy built = {{rsl_timeout_layer(&total), rsl_retry_layer(&policy_retry.retry),
                     rsl_breaker_layer(&in_policy.breaker), {&timeless_layer, NULL}}};
    timeless_policy = built;
    built.layers[3].type = &timed_layer;
    timed_policy = built;
}

static int never_end(const rsl_ctx *ctx, void *arg)
{
    sem_t never;
    (void)ctx;
    sem_post(arg);
    sem_init(&never, 0, 0);
    while (sem_wait(&never) != 0) continue;
    return 0;
}

static void prepare_workers(void)
{
    static rsl_task task;
    rsl_workers_config config = {.threads_max = 1};
    sem_t running;
    sem_init(&running, 0, 0);
    must(rsl_workers_open(&busy, &config), "workers");
    must(rsl_workers_submit(busy, NULL, never_end, &running, &task), "a task");
    while (sem_wait(&running) != 0) continue;
}

#define BREAKER(window, variant) &breakers[(window) - RSL_WINDOW_CONSECUTIVE][variant].breaker
#define TWO_READS {"bare_call", "clock_precise", "clock_precise"}

static const bench_row rows[] = {
    {.name = "retry", .title = "retry", .loop = call_retry, .subject = &plain_retry.retry,
     .goal = 2.5, .parts = {"bare_call"}},
    {.name = "retry_budget", .title = "retry, full budget", .loop = call_retry,
     .subject = &budget_retry.retry, .goal = 2.5, .parts = {"bare_call"}},
    {.name = "retry_deadline", .title = "retry, under a deadline", .loop = call_retry_within,
     .subject = &plain_retry.retry, .parts = {"bare_call", "clock_precise"}},

    {.name = "consecutive_uncounted", .title = "breaker, consecutive, uncounted",
     .loop = call_breaker, .subject = BREAKER(RSL_WINDOW_CONSECUTIVE, UNCOUNTED), .goal = 3.2,
     .parts = {"bare_call"}, .rival = "mutex_consecutive"},
    {.name = "consecutive", .title = "breaker, consecutive", .loop = call_breaker,
     .subject = BREAKER(RSL_WINDOW_CONSECUTIVE, COUNTED), .goal = 11.2,
     .parts = {"bare_call"}, .rival = "mutex_consecutive"},
    {.name = "consecutive_slow", .title = "breaker, consecutive, slow calls", .loop = call_breaker,
     .subject = BREAKER(RSL_WINDOW_CONSECUTIVE, SLOW_CALLS), .parts = TWO_READS,
     .rival = "mutex_consecutive_slow"},
    {.name = "consecutive_mixed", .title = "breaker, consecutive, 1 of 64 fails",
     .loop = call_breaker_mixed, .subject = BREAKER(RSL_WINDOW_CONSECUTIVE, MIXED),
     .parts = {"bare_call"}, .rival = "mutex_consecutive_mixed"},
    {.name = "consecutive_permits", .title = "breaker, consecutive, uncounted, allow + report",
     .loop = allow_and_report, .subject = BREAKER(RSL_WINDOW_CONSECUTIVE, UNCOUNTED),
     .parts = {"bare_call"}, .rival = "mutex_consecutive"},

    {.name = "count_uncounted", .title = "breaker, count window 100, uncounted",
     .loop = call_breaker, .subject = BREAKER(RSL_WINDOW_COUNT, UNCOUNTED), .goal = 9.0,
     .parts = {"bare_call", "fetch_add"}, .rival = "mutex_count"},
    {.name = "count", .title = "breaker, count window 100", .loop = call_breaker,
     .subject = BREAKER(RSL_WINDOW_COUNT, COUNTED), .goal = 17.0,
     .parts = {"bare_call", "fetch_add"}, .rival = "mutex_count"},
    {.name = "count_slow", .title = "breaker, count window 100, slow calls", .loop = call_breaker,
     .subject = BREAKER(RSL_WINDOW_COUNT, SLOW_CALLS),
     .parts = {"bare_call", "clock_precise", "clock_precise", "fetch_add"},
     .rival = "mutex_count_slow"},
    {.name = "count_mixed", .title = "breaker, count window 100, 1 of 64 fails",
     .loop = call_breaker_mixed, .subject = BREAKER(RSL_WINDOW_COUNT, MIXED),
     .parts = {"bare_call", "fetch_add"}, .rival = "mutex_count_mixed"},
    {.name = "count_permits", .title = "breaker, count window 100, uncounted, allow + report",
     .loop = allow_and_report, .subject = BREAKER(RSL_WINDOW_COUNT, UNCOUNTED),
     .parts = {"bare_call", "fetch_add"}, .rival = "mutex_count"},

    {.name = "time_uncounted", .title = "breaker, time window 10 s, uncounted",
     .loop = call_breaker, .subject = BREAKER(RSL_WINDOW_TIME, UNCOUNTED), .goal = 9.0,
     .goal_many = 5.0, .parts = {"bare_call", "clock_coarse"}, .rival = "mutex_time"},
    {.name = "time", .title = "breaker, time window 10 s", .loop = call_breaker,
     .subject = BREAKER(RSL_WINDOW_TIME, COUNTED), .goal = 17.0,
     .parts = {"bare_call", "clock_coarse"}, .rival = "mutex_time"},
    {.name = "time_slow", .title = "breaker, time window 10 s, slow calls", .loop = call_breaker,
     .subject = BREAKER(RSL_WINDOW_TIME, SLOW_CALLS), .parts = TWO_READS,
     .rival = "mutex_time_slow"},
    {.name = "time_mixed", .title = "breaker, time window 10 s, 1 of 64 fails",
     .loop = call_breaker_mixed, .subject = BREAKER(RSL_WINDOW_TIME, MIXED),
     .parts = {"bare_call", "clock_coarse"}, .rival = "mutex_time_mixed"},
    {.name = "time_permits", .title = "breaker, time window 10 s, uncounted, allow + report",
     .loop = allow_and_report, .subject = BREAKER(RSL_WINDOW_TIME, UNCOUNTED),
     .parts = {"bare_call", "clock_coarse"}, .rival = "mutex_time"},

    {.name = "refused_open", .title = "breaker, refusal while open", .loop = be_refused,
     .subject = &open_one.breaker, .goal = 9.0, .parts = {"clock_coarse"}, .rival = "mutex_open"},
    {.name = "refused_half_open", .title = "breaker, refusal while half-open", .loop = be_refused,
     .subject = &half_open.breaker, .parts = {"clock_coarse"}, .rival = "mutex_half_open"},

    {.name = "policy_step", .title = "policy of 4, step and report, the loop's own clock",
     .loop = step_policy, .subject = &timeless_policy, .goal = 45.0, .parts = {"bare_call"}},
    {.name = "policy_run", .title = "policy of 4, rsl_run, one clock read", .loop = run_policy,
     .subject = &timeless_policy, .goal = 75.0, .parts = {"bare_call", "clock_precise"}},
    {.name = "policy_loop", .title = "policy of 4, next and done, one clock read",
     .loop = loop_policy, .subject = &timeless_policy, .goal = 75.0,
     .parts = {"bare_call", "clock_precise"}},
    {.name = "policy_run_timed", .title = "policy of 4, rsl_run, two clock reads",
     .loop = run_policy, .subject = &timed_policy, .parts = TWO_READS},

    {.name = "task_assisted", .title = "workers, submit + wait, run by who waits",
     .loop = run_own_task, .subject = &busy, .goal = 250.0, .goal_many = 250.0,
     .parts = {"bare_call"}},
    {.name = "task_canceled", .title = "workers, submit + cancel", .loop = cancel_own_task,
     .subject = &busy, .goal_many = 250.0, .parts = {"bare_call"}},

    {.name = "saga_run", .title = "saga of 5 steps, in memory", .loop = run_saga,
     .subject = &order, .goal = 250.0, .parts = {"bare_call"}},
};

const bench_row *bench_rows(size_t *count)
{
    prepare_retries();
    prepare_breakers();
    prepare_policies();
    prepare_workers();
    *count = RSL_COUNT(rows);
    return rows;
}
