/* library.c -- the implementation in a file of its own, as in a user's program, so that the rows
   reach it by real calls.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

_Thread_local uint64_t bench_hook_calls;

static inline void *counted_malloc(size_t size)
{
    bench_hook_calls++;
    return malloc(size);
}

#define RSL_MALLOC(size) counted_malloc(size)
#define RSL_FREE(p)      free(p)
#define RSL_IMPLEMENTATION
#include "resilience.h"
#include "bulkhead.h"
#include "pool.h"
