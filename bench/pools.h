/* pools.h -- pools seen alike, ours and the rivals', for what is measured when resources run out.

   The rows for plenty (pool_rows.c, pool_rivals.c) call each pool directly, in a loop of its own;
   here a call through a pointer more does not matter. See docs/bench.md.

   SPDX-License-Identifier: MIT */
#ifndef BENCH_POOLS_H
#define BENCH_POOLS_H

#include "pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_RESOURCES = 10 }; /* of each pool in the rows for plenty */

typedef struct bench_resource {
    _Alignas(128) int64_t released_at; /* its holder only, as below */
    int64_t idle_since; /* rivals that validate */
} bench_resource;

/* The callbacks of the rows that have some: they do nothing and succeed. */
int bench_be_healthy(void *user, void *resource);

typedef struct bench_held {
    bench_resource *resource;
    rsl_pool_lease  lease; /* ours only */
} bench_held;

typedef struct bench_pool_kind {
    const char *title;
    bool        ours;
    void     *(*open)(bench_resource *resources, size_t count); /* all of them made and idle */
    void      (*close)(void *pool);
    bool      (*acquire)(void *pool, bench_held *held); /* waits for as long as it takes */
    bool      (*release)(void *pool, bench_held *held);
} bench_pool_kind;

extern const bench_pool_kind  bench_pool_ours;
extern const bench_pool_kind *const bench_pool_kinds[]; /* the rivals; NULL at the end */

/* How long a resource takes from the hand of one thread to that of the next when there are more
   threads than resources, and what that means for those who wait. All spans in ns. */
typedef struct bench_handoff {
    char   title[64];
    bool   ours;
    int    threads, resources;
    double p50, p99;             /* from the release to the return of the acquire that waited */
    double wait_p99, wait_most;  /* of the whole acquires that had to wait */
    double handed;               /* share of the pairs that began with such a wait */
    double rate;                 /* pairs in a second */
} bench_handoff;

enum { BENCH_HANDOFFS_MAX = 32, BENCH_CROWDS = 2 };
typedef struct bench_crowd { int threads, resources; } bench_crowd;
extern const bench_crowd bench_crowds[BENCH_CROWDS];

/* Measures each kind in each crowd, that many rounds; returns how many results it wrote. */
size_t bench_hand_off(bench_handoff *results, int rounds);

#endif
