/* handoff.c -- more threads than resources: how long from one hand to the next. See docs/bench.md.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "bench.h"
#include "pools.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    HOLD_NS = 20000, /* a holder computes that long */
    ROUND_NS = 200000000,
    THREADS_MAX = 16,
    SAMPLES_MAX = 1 << 14, /* of one thread in one round: more than a round can hold */
    ROUNDS_MAX = 16,
};

const bench_crowd bench_crowds[BENCH_CROWDS] = {{4, 2}, {16, 4}};

typedef struct samples {
    size_t count;
    double handed[SAMPLES_MAX], waited[SAMPLES_MAX];
} samples;

static samples taken[THREADS_MAX]; /* by thread */
static double  all[THREADS_MAX * SAMPLES_MAX];

static struct {
    const bench_pool_kind *kind;
    void                  *pool;
    int64_t                ends;
    atomic_bool            go;
    atomic_ullong          pairs;
} run;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The resource itself carries the moment of its release. Whoever gets it, and had begun to acquire
   before that moment, has waited for it; who comes later has found it idle. */
static void *work(void *arg)
{
    samples *mine = arg;
    uint64_t pairs = 0;
    while (!atomic_load(&run.go)) sched_yield();
    for (;;) {
        bench_held held;
        int64_t begun = now_ns();
        if (begun >= run.ends) break;
        bench_must(run.kind->acquire(run.pool, &held), "a pool refuses");
        int64_t got = now_ns();
        if (held.resource->released_at > begun && mine->count < SAMPLES_MAX) {
            mine->handed[mine->count] = (double)(got - held.resource->released_at);
            mine->waited[mine->count++] = (double)(got - begun);
        }
        while (now_ns() < got + HOLD_NS) continue;
        held.resource->released_at = now_ns();
        bench_must(run.kind->release(run.pool, &held), "a pool takes nothing back");
        pairs++;
    }
    atomic_fetch_add(&run.pairs, pairs);
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts; 0 where there is nothing. */
static double quantile(double *values, size_t count, double q)
{
    if (count == 0) return 0;
    qsort(values, count, sizeof *values, by_size);
    return values[(size_t)(q * (double)(count - 1))];
}

static void run_round(bench_handoff *result)
{
    static bench_resource resources[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    for (int i = 0; i < result->resources; i++) resources[i].released_at = 0;
    run.pool = run.kind->open(resources, (size_t)result->resources);
    atomic_store(&run.pairs, 0);
    atomic_store(&run.go, false);
    for (int i = 0; i < result->threads; i++) {
        taken[i].count = 0;
        bench_must(pthread_create(&threads[i], NULL, work, &taken[i]) == 0, "no more threads");
    }
    int64_t started = now_ns();
    run.ends = started + ROUND_NS;
    atomic_store(&run.go, true);
    for (int i = 0; i < result->threads; i++) pthread_join(threads[i], NULL);
    result->rate = (double)run.pairs / ((double)(now_ns() - started) / 1e9);
    run.kind->close(run.pool);

    size_t count = 0;
    for (int i = 0; i < result->threads; i++) {
        for (size_t j = 0; j < taken[i].count; j++) all[count++] = taken[i].handed[j];
    }
    result->handed = (double)count / (double)run.pairs;
    result->p50 = quantile(all, count, 0.5);
    result->p99 = quantile(all, count, 0.99);
    count = 0;
    for (int i = 0; i < result->threads; i++) {
        for (size_t j = 0; j < taken[i].count; j++) all[count++] = taken[i].waited[j];
    }
    result->wait_p99 = quantile(all, count, 0.99);
    result->wait_most = quantile(all, count, 1);
}

/* The median of each figure on its own. */
static bench_handoff median_of(const bench_handoff *rounds, int count)
{
    bench_handoff result = rounds[0];
    size_t offsets[] = {offsetof(bench_handoff, p50), offsetof(bench_handoff, p99),
                        offsetof(bench_handoff, wait_p99), offsetof(bench_handoff, wait_most),
                        offsetof(bench_handoff, handed), offsetof(bench_handoff, rate)};
    for (size_t field = 0; field < RSL_COUNT(offsets); field++) {
        double values[ROUNDS_MAX];
        for (int i = 0; i < count; i++) {
            values[i] = *(const double *)((const char *)&rounds[i] + offsets[field]);
        }
        *(double *)((char *)&result + offsets[field]) = quantile(values, (size_t)count, 0.5);
    }
    return result;
}

/* As in bench.c, a round goes through all pools before any of them is measured again. */
size_t bench_hand_off(bench_handoff *results, int rounds)
{
    static bench_handoff each[BENCH_HANDOFFS_MAX][ROUNDS_MAX];
    const bench_pool_kind *kinds[BENCH_HANDOFFS_MAX / BENCH_CROWDS] = {&bench_pool_ours};
    size_t count = 1, total = 0;
    for (size_t i = 0; bench_pool_kinds[i] != NULL; i++) kinds[count++] = bench_pool_kinds[i];
    if (rounds > ROUNDS_MAX) rounds = ROUNDS_MAX;
    for (int round = 0; round < rounds; round++) {
        total = 0;
        for (int crowd = 0; crowd < BENCH_CROWDS; crowd++) {
            for (size_t kind = 0; kind < count; kind++) {
                bench_handoff *result = &each[total++][round];
                run.kind = kinds[kind];
                snprintf(result->title, sizeof result->title, "%s", run.kind->title);
                result->ours = run.kind->ours;
                result->threads = bench_crowds[crowd].threads;
                result->resources = bench_crowds[crowd].resources;
                run_round(result);
            }
        }
    }
    for (size_t i = 0; i < total; i++) results[i] = median_of(each[i], rounds);
    return total;
}
