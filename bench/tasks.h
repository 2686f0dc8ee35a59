/* tasks.h -- thread pools seen alike, ours and the rivals': how many empty tasks they run in a
   second, and how long one takes from its submission until who waits for it knows. See
   docs/bench.md.

   SPDX-License-Identifier: MIT */
#ifndef BENCH_TASKS_H
#define BENCH_TASKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BENCH_TASK_THREADS = 2, /* of each pool */
    BENCH_TASK_QUEUE = 1024,
    BENCH_PRODUCERS_MAX = 2, /* measured with 1 and with 2 */
    BENCH_TASK_KINDS_MAX = 24, /* those of other languages included */
};

/* What else goes on while one thread submits and waits, time and again. */
typedef enum bench_scene {
    BENCH_IDLE,   /* nothing: the next task follows at once */
    BENCH_RESTED, /* nothing, and 50 us between two tasks: threads sleep */
    BENCH_LOADED, /* another thread submits empty tasks as fast as it can */
    BENCH_SCENES,
} bench_scene;

/* One thread pool opened. The functions come from several threads at once, but for round_trip. */
typedef struct bench_task_kind {
    const char *title;
    bool        ours;
    bool        assisted; /* who waits, for a task or for room, may run tasks */
    bool        unrated;  /* the rate of such a pool stands in another row */
    void     *(*open)(void);
    void      (*close)(void *pool);
    /* Submits empty tasks until *stop is set, waits until all of its own have ended, and returns
       how many that were. `producer` is below BENCH_PRODUCERS_MAX; `producers` are at work. */
    uint64_t  (*produce)(void *pool, int producer, int producers, const atomic_bool *stop);
    bool      (*round_trip)(void *pool); /* submits an empty task and waits for it */
} bench_task_kind;

extern const bench_task_kind *const bench_task_kinds[]; /* ours first; NULL at the end */

/* A figure of 0 was not measured. Spans in ns. */
typedef struct bench_task_result {
    char   title[64];
    bool   ours, assisted;
    bool   compiled; /* C or C++ */
    double rate[BENCH_PRODUCERS_MAX]; /* tasks in a second, all producers together */
    double p50[BENCH_SCENES], p99[BENCH_SCENES];
} bench_task_result;

/* Measures each kind, that many rounds; returns how many results it wrote. *allocations grows by
   what our rows allocated in the submitting threads. */
size_t bench_run_tasks(bench_task_result *results, int rounds, uint64_t *allocations);

#endif
