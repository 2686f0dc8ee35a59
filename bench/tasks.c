/* tasks.c -- measures what bench/task_kinds.c offers. Rules: docs/bench.md.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "tasks.h"
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUND_NS = 100000000,
    REST_NS = 50000,
    SAMPLES_MAX = 1 << 20, /* more than a round can hold */
    WARM_UP = 100,         /* round trips before the first that counts */
    ROUNDS_MAX = 5,
};

static double samples[SAMPLES_MAX];

typedef struct producer {
    pthread_t thread;
    int       number;
    uint64_t  count, allocations;
    int64_t   ended;
} producer;

static struct {
    const bench_task_kind *kind;
    void                  *pool;
    int                    producers;
    atomic_int             ready;
    atomic_bool            go, stop;
} run;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sleep_ns(int64_t span)
{
    struct timespec left = {span / 1000000000, span % 1000000000};
    while (nanosleep(&left, &left) != 0) continue;
}

static void *work(void *arg)
{
    producer *self = arg;
    atomic_fetch_add(&run.ready, 1);
    while (!atomic_load(&run.go)) sched_yield();
    uint64_t before = bench_allocations();
    self->count = run.kind->produce(run.pool, self->number, run.producers, &run.stop);
    self->allocations = bench_allocations() - before;
    self->ended = now_ns();
    return NULL;
}

static int64_t start_producers(producer *producers, int count)
{
    atomic_store(&run.ready, 0);
    atomic_store(&run.go, false);
    atomic_store(&run.stop, false);
    run.producers = count;
    for (int i = 0; i < count; i++) {
        producers[i] = (producer){.number = i};
        bench_must(pthread_create(&producers[i].thread, NULL, work, &producers[i]) == 0,
                   "no more threads");
    }
    while (atomic_load(&run.ready) < count) sched_yield();
    int64_t started = now_ns();
    atomic_store(&run.go, true);
    return started;
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

/* From the moment that producers may start until the last task of all has ended. */
static double measure_rate(int count, uint64_t *allocations)
{
    producer producers[BENCH_PRODUCERS_MAX];
    int64_t started = start_producers(producers, count), ended = started;
    uint64_t tasks = 0;
    sleep_ns(ROUND_NS);
    atomic_store(&run.stop, true);
    for (int i = 0; i < count; i++) {
        pthread_join(producers[i].thread, NULL);
        tasks += producers[i].count;
        if (producers[i].ended > ended) ended = producers[i].ended;
        if (run.kind->ours) *allocations += producers[i].allocations;
    }
    return (double)tasks / ((double)(ended - started) / 1e9);
}

/* One round trip after the other; between two that rest the thread keeps its processor. */
static size_t take_samples(bool rested)
{
    size_t count = 0;
    for (int i = 0; i < WARM_UP; i++) bench_must(run.kind->round_trip(run.pool), "a task is lost");
    int64_t begun = now_ns(), ends = begun + ROUND_NS;
    while (begun < ends && count < SAMPLES_MAX) {
        bench_must(run.kind->round_trip(run.pool), "a task is lost");
        int64_t ended = now_ns();
        samples[count++] = (double)(ended - begun);
        begun = ended;
        while (rested && begun < ended + REST_NS) begun = now_ns();
    }
    return count;
}

static void measure_scene(bench_scene scene, bench_task_result *result)
{
    producer busy;
    if (scene == BENCH_LOADED) start_producers(&busy, 1);
    size_t count = take_samples(scene == BENCH_RESTED);
    if (scene == BENCH_LOADED) {
        atomic_store(&run.stop, true);
        pthread_join(busy.thread, NULL);
    }
    result->p50[scene] = quantile(samples, count, 0.5);
    result->p99[scene] = quantile(samples, count, 0.99);
}

static void run_round(const bench_task_kind *kind, bench_task_result *result,
                      uint64_t *allocations)
{
    *result = (bench_task_result){.ours = kind->ours, .assisted = kind->assisted,
                                  .compiled = true};
    snprintf(result->title, sizeof result->title, "%s", kind->title);
    run.kind = kind;
    run.pool = kind->open();
    for (int count = 1; count <= BENCH_PRODUCERS_MAX && !kind->unrated; count++) {
        result->rate[count - 1] = measure_rate(count, allocations);
    }
    for (int scene = 0; scene < BENCH_SCENES && kind->round_trip != NULL; scene++) {
        measure_scene((bench_scene)scene, result);
    }
    kind->close(run.pool);
}

/* The median of each figure on its own. */
static bench_task_result median_of(const bench_task_result *rounds, int count)
{
    bench_task_result result = rounds[0];
    size_t first = offsetof(bench_task_result, rate);
    for (size_t at = first; at < sizeof result; at += sizeof(double)) {
        double values[ROUNDS_MAX];
        for (int i = 0; i < count; i++) {
            values[i] = *(const double *)((const char *)&rounds[i] + at);
        }
        *(double *)((char *)&result + at) = quantile(values, (size_t)count, 0.5);
    }
    return result;
}

/* As in bench.c, a round goes through all kinds before any of them is measured again. */
size_t bench_run_tasks(bench_task_result *results, int rounds, uint64_t *allocations)
{
    static bench_task_result each[BENCH_TASK_KINDS_MAX][ROUNDS_MAX];
    size_t count = 0;
    if (rounds > ROUNDS_MAX) rounds = ROUNDS_MAX;
    for (int round = 0; round < rounds; round++) {
        for (count = 0; bench_task_kinds[count] != NULL; count++) {
            run_round(bench_task_kinds[count], &each[count][round], allocations);
        }
        if (isatty(2)) fprintf(stderr, "\rtasks, round %d of %d", round + 1, rounds);
    }
    if (isatty(2)) fputs("\n", stderr);
    for (size_t i = 0; i < count; i++) results[i] = median_of(each[i], rounds);
    return count;
}
