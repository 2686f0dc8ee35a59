/* SPDX-License-Identifier: MIT
   stress_retry.c: many threads on one budget, one retry, one cancel token. To be built with the
   thread and address sanitizers too. Prints TAP.                                              */
#include "support/allocator.h"

#define RSL_RETRY_IMPLEMENTATION
#include "retry.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "support/support.h"

enum { THREADS = 8, BUDGET_ROUNDS = 300, CALLS = 3000, CANCEL_ROUNDS = 150, WAITERS = 4 };

/* ------------------------------------------------------------------- helpers */

typedef struct crew {
    pthread_t threads[THREADS];
    size_t    count;
} crew;

static void crew_start(crew *c, size_t count, void *(*work)(void *arg), void *arg)
{
    c->count = count;
    for (size_t i = 0; i < count; i++) {
        if (pthread_create(&c->threads[i], NULL, work, arg) != 0) {
            printf("Bail out! no thread\n");
            exit(1);
        }
    }
}

static void crew_join(crew *c)
{
    for (size_t i = 0; i < c->count; i++) {
        (void)pthread_join(c->threads[i], NULL);
    }
}

/* -------------------------------------------------------------------- budget */

typedef struct budget_race {
    rsl_retry_budget budget;
    pthread_barrier_t gate;
    _Atomic long      allowed;
} budget_race;

static void *fail_200_times(void *arg)
{
    budget_race *race = arg;
    long allowed = 0;
    (void)pthread_barrier_wait(&race->gate);
    for (int i = 0; i < 200; i++) {
        allowed += rsl_retry_budget_fail(&race->budget);
    }
    atomic_fetch_add(&race->allowed, allowed);
    return NULL;
}

/* 1000 tokens: whatever the interleaving, 499 failures leave more than half, the next does not. */
static void budget_lets_through_exactly_what_its_tokens_allow(void)
{
    int wrong = 0;
    for (int round = 0; round < BUDGET_ROUNDS; round++) {
        budget_race race;
        rsl_retry_budget_config config = {1000, 0.1, 1};
        crew c;
        atomic_init(&race.allowed, 0);
        (void)rsl_retry_budget_init(&race.budget, &config);
        (void)pthread_barrier_init(&race.gate, NULL, THREADS);
        crew_start(&c, THREADS, fail_200_times, &race);
        crew_join(&c);
        (void)pthread_barrier_destroy(&race.gate);
        wrong += atomic_load(&race.allowed) != 499;
    }
    tap_ok(wrong == 0, "%d racing threads get exactly 499 retries out of 1000 tokens, %d rounds",
           THREADS, BUDGET_ROUNDS);
}

static void *fail_and_succeed(void *arg)
{
    rsl_retry_budget *budget = arg;
    for (int i = 0; i < 20000; i++) {
        (void)rsl_retry_budget_fail(budget);
        rsl_retry_budget_succeed(budget);
        (void)rsl_retry_budget_has(budget);
    }
    return NULL;
}

/* 1,000,000 tokens, of which 200,000 are spent beforehand and 120,000 in the race. */
static void budget_is_exact_after_the_race(void)
{
    rsl_retry_budget budget;
    rsl_retry_budget_config config = {1000000, 0.25, 1};
    crew c;
    (void)rsl_retry_budget_init(&budget, &config);
    for (int i = 0; i < 200000; i++) {
        (void)rsl_retry_budget_fail(&budget);
    }
    crew_start(&c, THREADS, fail_and_succeed, &budget);
    crew_join(&c);
    long left = 0;
    while (rsl_retry_budget_fail(&budget)) {
        left++;
    }
    tap_ok(left == 1000000 - 200000 - THREADS * 15000 - 500000 - 1,
           "after 320,000 racing changes the budget holds the exact rest (%ld)", left);
}

/* ------------------------------------------------------- one retry, many threads */

typedef struct shared_retry {
    rsl_retry        retry;
    shared_clock     clock;
    _Atomic uint64_t events, numbers, scheduled, recovered;
    _Atomic long     calls, wrong;
} shared_retry;

static void count_event(const rsl_event *event, void *user)
{
    shared_retry *s = user;
    atomic_fetch_add(&s->events, 1);
    atomic_fetch_add(&s->numbers, event->number);
    atomic_fetch_add(&s->scheduled, event->kind == RSL_RETRY_SCHEDULED);
    atomic_fetch_add(&s->recovered, event->kind == RSL_RETRY_RECOVERED);
    if (event->kind == RSL_RETRY_SCHEDULED && (event->value < 0 || event->value > RSL_MS(4))) {
        atomic_fetch_add(&s->wrong, 1);
    }
}

static int fail_twice(const rsl_ctx *ctx, void *arg)
{
    shared_retry *s = arg;
    atomic_fetch_add(&s->calls, 1);
    return ctx->attempt <= 2 ? 7 : 0;
}

static void *call_often(void *arg)
{
    shared_retry *s = arg;
    for (int i = 0; i < CALLS; i++) {
        if (rsl_retry_call(&s->retry, NULL, fail_twice, s) != 0) {
            atomic_fetch_add(&s->wrong, 1);
        }
    }
    return NULL;
}

static void one_retry_serves_many_threads(void)
{
    static shared_retry s;
    const rsl_retry_jitter kinds[] = {RSL_JITTER_FULL, RSL_JITTER_EQUAL, RSL_JITTER_DECORRELATED,
                                      RSL_JITTER_NONE};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        crew c;
        memset(&s, 0, sizeof(s));
        rsl_retry_config config = {.delay_first = RSL_MS(1), .delay_max = RSL_MS(4),
                                   .jitter = kinds[i], .clock = shared_clock_as(&s.clock),
                                   .observer = {count_event, &s}};
        if (rsl_retry_init(&s.retry, &config) != RSL_OK) {
            tap_ok(false, "init");
            return;
        }
        crew_start(&c, THREADS, call_often, &s);
        crew_join(&c);
        rsl_retry_deinit(&s.retry);
        uint64_t calls = (uint64_t)THREADS * CALLS;
        uint64_t events = atomic_load(&s.events);
        tap_ok(atomic_load(&s.wrong) == 0 && atomic_load(&s.calls) == (long)(3 * calls),
               "every call of %d threads ends at its third attempt, jitter %zu", THREADS, i);
        tap_ok(atomic_load(&s.scheduled) == 2 * calls && atomic_load(&s.recovered) == calls,
               "no event is lost or doubled, jitter %zu", i);
        tap_ok(atomic_load(&s.numbers) == events * (events + 1) / 2,
               "events are numbered from 1 without a gap, jitter %zu", i);
    }
}

/* -------------------------------------------------------------------- cancel */

typedef struct cancel_race {
    rsl_retry         retry;
    rsl_cancel        cancel;
    pthread_barrier_t gate;
    _Atomic int       wrong;
} cancel_race;

static int always_fail(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return 9;
}

static void *wait_to_be_cancelled(void *arg)
{
    cancel_race *race = arg;
    rsl_ctx ctx = {.cancel = &race->cancel};
    (void)pthread_barrier_wait(&race->gate);
    int rc = rsl_retry_call(&race->retry, &ctx, always_fail, NULL);
    atomic_fetch_add(&race->wrong, rc != 9 && rc != RSL_ECANCELED);
    return NULL;
}

/* Fired at every moment from before the call to deep in its sleep of a minute. */
static void firing_races_with_going_to_sleep(void)
{
    int wrong = 0;
    rsl_time begun = rsl_now();
    for (int round = 0; round < CANCEL_ROUNDS; round++) {
        cancel_race race;
        crew c;
        rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_first = RSL_SEC(60),
                                   .jitter = RSL_JITTER_NONE};
        atomic_init(&race.wrong, 0);
        wrong += rsl_retry_init(&race.retry, &config) != RSL_OK;
        wrong += rsl_cancel_init(&race.cancel, NULL) != RSL_OK;
        (void)pthread_barrier_init(&race.gate, NULL, WAITERS + 1);
        crew_start(&c, WAITERS, wait_to_be_cancelled, &race);
        (void)pthread_barrier_wait(&race.gate);
        struct timespec pause = {0, (round % 30) * 10000};
        (void)nanosleep(&pause, NULL);
        rsl_cancel_fire(&race.cancel);
        crew_join(&c);
        rsl_cancel_deinit(&race.cancel);
        rsl_retry_deinit(&race.retry);
        (void)pthread_barrier_destroy(&race.gate);
        wrong += atomic_load(&race.wrong);
    }
    tap_ok(wrong == 0, "every waiter comes back with its own result or as cancelled");
    tap_ok(rsl_now() - begun < RSL_SEC(50), "no waiter sleeps on after the firing, %d rounds",
           CANCEL_ROUNDS);
}

int main(void)
{
    budget_lets_through_exactly_what_its_tokens_allow();
    budget_is_exact_after_the_race();
    one_retry_serves_many_threads();
    firing_races_with_going_to_sleep();
    return tap_end();
}
