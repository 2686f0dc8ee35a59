/* overload.h -- a small service that is offered three times what it can do, bare and behind a
   bulkhead. See docs/bench.md.

   SPDX-License-Identifier: MIT */
#ifndef BENCH_OVERLOAD_H
#define BENCH_OVERLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { BENCH_GUARDS_MAX = 8 };

/* What became of the requests of the overload: those that arrived in its measured part. */
typedef struct bench_overload {
    const char *title;
    bool   aside;    /* shown, no goal: what comes of a limit without a timely sign */
    double goodput;  /* answers in time, as a share of the capacity at that time */
    double after;    /* the same when the overload is over, as a share of what is offered then */
    double p50, p99; /* ns from arrival to answer, of those in time */
    double refused;  /* share of the requests */
    double late;     /* share of the requests: their clients gave up */
    double wasted;   /* share of the service's work that was for clients that had gone */
    double limit;    /* mean of the bulkhead's (0: none) */
} bench_overload;

typedef struct bench_service {
    double capacity; /* answers in a second, as measured when the service always has work */
    double offered;  /* requests in a second during the overload */
} bench_service;

/* Runs each guard once; csv (may be NULL) gets a line for each 20 ms. Returns how many results it
   wrote. */
size_t bench_run_overload(bench_overload *results, bench_service *service, FILE *csv);

#endif
