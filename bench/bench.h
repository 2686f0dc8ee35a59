/* bench.h -- the rows of the benchmark: what is measured, what it may cost, what it must beat.

   The timing program (bench.c) and the instruction counter (count.c) run the same rows, so that a
   figure in nanoseconds and one in instructions speak of the same code. See docs/bench.md.

   SPDX-License-Identifier: MIT */
#ifndef BENCH_H
#define BENCH_H

#include "resilience.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_PARTS_MAX = 4 };

typedef struct bench_row {
    const char *name;  /* one word: in filters and in the table of limits */
    const char *title; /* in printed tables */
    /* Does the operation count times and returns how many of them did not end as the row expects,
       so that a row cannot turn into the measurement of something else unseen. */
    uint64_t  (*loop)(void *subject, uint64_t count);
    void       *subject;
    double      reference; /* floors: ns at one thread where the goals were set (0: not known) */
    double      goal;      /* ns at one thread on that machine (0: none) */
    double      goal_many; /* ns at two threads and more (0: by the rule of docs/bench.md) */
    double      floors_max; /* pools: goal at one thread, as a multiple of its floors (0: none) */
    const char *parts[BENCH_PARTS_MAX]; /* floors that it cannot do without */
    const char *rival;     /* name of the row it must beat at every thread count (NULL: none) */
    int         threads_max; /* measured at up to this many threads (0: 16) */
    bool        stubbed;   /* the instruction counter replaces what it measures by a stub */
    bool        apart;     /* a rival that does less: shown, but nobody is held to it; one of ours
                              that does more than its rival: compared, but not judged */
} bench_row;

/* Each makes its objects ready and returns its rows; the program ends with a message when an
   object refuses its config. Floors are bare operations of the machine, rivals do the same work
   without this library. */
const bench_row *bench_floors(size_t *count);
const bench_row *bench_rows(size_t *count);
const bench_row *bench_rivals(size_t *count);
const bench_row *bench_pools(size_t *count);
const bench_row *bench_pool_rivals(size_t *count); /* those that this machine has */
const bench_row *bench_permits(size_t *count);
const bench_row *bench_permit_rivals(size_t *count);

/* The call that is protected: it succeeds and does nothing. It lives in a file of its own and is
   reached through a pointer that the compiler cannot see through: a true indirect call. */
extern rsl_fn volatile bench_target;

/* The same with one failure in every BENCH_FAILING calls, result 1, by the number of the call. */
enum { BENCH_FAILING = 64 };
extern rsl_fn volatile bench_failure;

static inline rsl_fn bench_mixed(uint64_t call)
{
    return call % BENCH_FAILING == BENCH_FAILING - 1 ? bench_failure : bench_target;
}

/* Allocations of any kind by this thread; the timing program only. */
uint64_t bench_allocations(void);

/* Ends the program with a message unless good. */
void bench_must(bool good, const char *what);

/* Calls of RSL_MALLOC by this thread. */
extern _Thread_local uint64_t bench_hook_calls;

#endif
