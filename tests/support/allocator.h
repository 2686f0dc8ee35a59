/* SPDX-License-Identifier: MIT
   allocator.h: the allocator of the tests: it counts, and it fails on demand.

   Included before the line that implements a header, because the header's implementation takes
   its memory through the two hooks defined below. One program is one C file, so the counters are
   plain static objects.

       #include "support/allocator.h"
       #define RSL_BREAKER_IMPLEMENTATION
       #include "breaker.h"
       #include "support/support.h"                                                         */
#ifndef SUPPORT_ALLOCATOR_H
#define SUPPORT_ALLOCATOR_H

/* The library needs clock_gettime, which a strict -std hides when a system header comes first. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1
#endif

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SUPPORT_UNUSED __attribute__((unused))

static _Atomic long support_live_;      /* blocks taken and not given back */
static _Atomic long support_taken_;     /* allocations asked for since the last support_fail_*() */
static _Atomic long support_fail_at_;   /* the allocation that fails, counted from 1; 0: none */
static _Atomic bool support_fail_on_;   /* and every one after it fails too */

/* Blocks come filled with junk, so that code which trusts fresh memory to be zero is found out. */
SUPPORT_UNUSED static void *support_malloc(size_t size)
{
    long nth = atomic_fetch_add(&support_taken_, 1) + 1;
    long fail_at = atomic_load(&support_fail_at_);
    if (fail_at != 0 && (nth == fail_at || (nth > fail_at && atomic_load(&support_fail_on_)))) {
        return NULL;
    }
    void *block = malloc(size);
    if (block != NULL) {
        memset(block, 0xA5, size);
        atomic_fetch_add(&support_live_, 1);
    }
    return block;
}

SUPPORT_UNUSED static void support_free(void *block)
{
    if (block != NULL) {
        atomic_fetch_sub(&support_live_, 1);
    }
    free(block);
}

/* Counting starts again at 1; the n-th allocation from here fails, all others work. */
SUPPORT_UNUSED static void support_fail_nth(long n)
{
    atomic_store(&support_taken_, 0);
    atomic_store(&support_fail_on_, false);
    atomic_store(&support_fail_at_, n);
}

/* Counting starts again at 1; the n-th allocation from here and all after it fail. */
SUPPORT_UNUSED static void support_fail_from(long n)
{
    support_fail_nth(n);
    atomic_store(&support_fail_on_, true);
}

SUPPORT_UNUSED static void support_fail_never(void)
{
    support_fail_nth(0);
}

/* How many blocks are live, and how many were asked for since the last support_fail_*(). */
SUPPORT_UNUSED static long support_live(void)
{
    return atomic_load(&support_live_);
}

SUPPORT_UNUSED static long support_taken(void)
{
    return atomic_load(&support_taken_);
}

#define RSL_MALLOC(size) support_malloc(size)
#define RSL_FREE(block)  support_free(block)

#endif
