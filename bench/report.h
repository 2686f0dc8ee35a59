/* report.h -- figures of one run of the benchmark, and the tables made of them.

   SPDX-License-Identifier: MIT */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench.h"
#include "overload.h"
#include "pools.h"
#include "tasks.h"

#include <stdio.h>

enum {
    BENCH_COLUMNS = 5,
    BENCH_CALL_COLUMNS = 4, /* of what is no pool: up to 16 threads */
    BENCH_THREADS_MAX = 64,
    BENCH_FEW = 16,   /* with more threads than that, a round must be longer: */
    BENCH_LONGER = 4, /* else most of them end before another one has begun */
    BENCH_ROWS_MAX = 96,
    BENCH_FOREIGN_MAX = 16,
};

static const int bench_columns[BENCH_COLUMNS] = {1, 2, 4, 16, BENCH_THREADS_MAX};

typedef enum bench_group {
    BENCH_FLOORS,
    BENCH_OURS,
    BENCH_RIVALS,
    BENCH_POOLS,
    BENCH_POOL_RIVALS,
    BENCH_PERMITS,
    BENCH_PERMIT_RIVALS,
    BENCH_GROUPS,
} bench_group;

typedef struct bench_result {
    const bench_row *row;
    bench_group      group;
    double           median[BENCH_COLUMNS]; /* ns: time of the round / operations of all threads */
    double           least[BENCH_COLUMNS];  /* of all rounds; at one thread of their pieces */
    double           instructions; /* of one call at one thread (-1: not counted) */
    uint64_t         operations, allocations; /* in all measured parts */
} bench_result;

/* What is told beside rows: see handoff.c, tasks.c, overload.c. */
typedef struct bench_notes {
    bench_handoff     handoffs[BENCH_HANDOFFS_MAX];
    size_t            handoff_count;
    bench_task_result tasks[BENCH_TASK_KINDS_MAX];
    size_t            task_count;
    bench_overload    overloads[BENCH_GUARDS_MAX];
    size_t            overload_count;
    bench_service     service;
    char              missing[BENCH_FOREIGN_MAX][128]; /* rivals that this machine lacks */
    size_t            missing_count;
} bench_notes;

typedef struct bench_totals {
    uint64_t    operations, unexpected, hook_calls; /* in the measured parts */
    uint64_t    allocations; /* the same, but for rivals, which may */
    const char *culprit; /* the first row that had an unexpected result (NULL: none) */
    int         rounds, round_ms;
    int         disturbed; /* rounds that other programs never left alone */
} bench_totals;

/* What stands in a column: medians, the least beside them for one thread or for all; ratios. */
typedef enum bench_style { BENCH_MEDIANS, BENCH_WITH_LEAST, BENCH_RATIOS } bench_style;

/* Pools of other languages, of resources and of threads, are measured by programs of their own,
   which leave lines in a file: see bench/rivals/run. They become results of BENCH_POOL_RIVALS and
   notes. Returns how many results; a file that is not there holds none. */
size_t bench_read_foreign(const char *path, bench_result *results, bench_notes *notes);

void bench_print(FILE *out, bench_style style, const bench_result *results, size_t count,
                 const bench_notes *notes, const bench_totals *totals);

typedef struct bench_verdict { int goals, missed; } bench_verdict;

/* In report_tasks.c: the tables of tasks and of the overload, and a line for each goal of theirs
   that was missed. speed: how many times slower this machine is than the one of the goals. */
void bench_print_tasks(FILE *out, const bench_notes *notes);
void bench_judge_tasks(FILE *out, const bench_notes *notes, double speed, bench_verdict *verdict);

#endif
