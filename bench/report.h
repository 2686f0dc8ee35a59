/* report.h -- figures of one run of the benchmark, and the tables made of them.

   SPDX-License-Identifier: MIT */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench.h"

#include <stdio.h>

enum { BENCH_COLUMNS = 4, BENCH_THREADS_MAX = 16, BENCH_ROWS_MAX = 64 };

static const int bench_columns[BENCH_COLUMNS] = {1, 2, 4, BENCH_THREADS_MAX};

typedef enum bench_group { BENCH_FLOORS, BENCH_OURS, BENCH_RIVALS } bench_group;

typedef struct bench_result {
    const bench_row *row;
    bench_group      group;
    double           median[BENCH_COLUMNS]; /* ns: time of the round / operations of all threads */
    double           least[BENCH_COLUMNS];  /* of all rounds; at one thread of their pieces */
    double           instructions; /* of one call at one thread (-1: not counted) */
} bench_result;

typedef struct bench_totals {
    uint64_t    operations, unexpected, allocations, hook_calls; /* in the measured parts */
    const char *culprit; /* the first row that had an unexpected result (NULL: none) */
    int         rounds, round_ms;
    int         disturbed; /* rounds that other programs never left alone */
} bench_totals;

/* What stands in a column: medians, the least beside them for one thread or for all; ratios. */
typedef enum bench_style { BENCH_MEDIANS, BENCH_WITH_LEAST, BENCH_RATIOS } bench_style;

void bench_print(FILE *out, bench_style style, const bench_result *results, size_t count,
                 const bench_totals *totals);

#endif
