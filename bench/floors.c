/* floors.c -- the bare operations that everything else is built of. No code can be faster than the
   ones it needs, so each row of ours is read against them, measured in the same run.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "bench.h"
#include "permits.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* Each on a cache line of its own, away from the neighbour that is fetched along with it. */
static _Alignas(128) _Atomic uint64_t line;
static _Alignas(128) _Atomic uint64_t permits, limited;
static _Alignas(128) pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local volatile uint64_t own;
static _Thread_local _Alignas(128) _Atomic uint64_t slot;

static uint64_t bare_call(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    (void)subject;
    for (uint64_t i = 0; i < count; i++) unexpected += bench_target(NULL, NULL) != 0;
    return unexpected;
}

static uint64_t load_relaxed(void *subject, uint64_t count)
{
    (void)subject;
    for (uint64_t i = 0; i < count; i++) (void)atomic_load_explicit(&line, memory_order_relaxed);
    return 0;
}

static uint64_t load_acquire(void *subject, uint64_t count)
{
    (void)subject;
    for (uint64_t i = 0; i < count; i++) (void)atomic_load_explicit(&line, memory_order_acquire);
    return 0;
}

static uint64_t thread_local_access(void *subject, uint64_t count)
{
    (void)subject;
    for (uint64_t i = 0; i < count; i++) (void)own;
    return 0;
}

static uint64_t fetch_add(void *subject, uint64_t count)
{
    (void)subject;
    for (uint64_t i = 0; i < count; i++) {
        atomic_fetch_add_explicit(&line, 1, memory_order_relaxed);
    }
    return 0;
}

/* Threads that do nothing else take the line in turns of many additions. With some nanoseconds of
   other work between them, as all real code has, each addition fetches the line anew. */
static uint64_t fetch_add_spaced(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    (void)subject;
    for (uint64_t i = 0; i < count; i++) {
        for (int call = 0; call < 4; call++) unexpected += bench_target(NULL, NULL) != 0;
        atomic_fetch_add_explicit(&line, 1, memory_order_relaxed);
    }
    return unexpected;
}

static uint64_t compare_and_swap(void *subject, uint64_t count)
{
    (void)subject;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t seen = atomic_load_explicit(&line, memory_order_relaxed);
        while (!atomic_compare_exchange_weak_explicit(&line, &seen, seen + 1, memory_order_acq_rel,
                                                      memory_order_relaxed)) {
        }
    }
    return 0;
}

/* What a pool cannot do without: a slot is taken and given back, each by compare-exchange, since a
   second release of one lease has to be refused. The slot belongs to this thread alone and is
   found by a plain access: no sharing, no search, no bookkeeping. */
static uint64_t cas_pair(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    (void)subject;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t idle = 0, taken = 1;
        unexpected += !atomic_compare_exchange_strong_explicit(
            &slot, &idle, taken, memory_order_acquire, memory_order_relaxed);
        unexpected += !atomic_compare_exchange_strong_explicit(
            &slot, &taken, 0, memory_order_release, memory_order_relaxed);
    }
    return unexpected;
}

/* A permit on a word that all threads share, without a look at any limit. */
static uint64_t add_pair(void *subject, uint64_t count)
{
    (void)subject;
    for (uint64_t i = 0; i < count; i++) {
        atomic_fetch_sub_explicit(&permits, 1, memory_order_acquire);
        atomic_fetch_add_explicit(&permits, 1, memory_order_release);
    }
    return 0;
}

/* The same with an exact limit: taking has to look first, and so to compare. */
static uint64_t limited_pair(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    (void)subject;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t out = atomic_load_explicit(&limited, memory_order_relaxed);
        do {
            unexpected += out >= BENCH_PERMITS_MAX;
        } while (!atomic_compare_exchange_weak_explicit(&limited, &out, out + 1,
                                                        memory_order_acquire,
                                                        memory_order_relaxed));
        atomic_fetch_sub_explicit(&limited, 1, memory_order_release);
    }
    return unexpected;
}

static uint64_t mutex_pair(void *subject, uint64_t count)
{
    (void)subject;
    for (uint64_t i = 0; i < count; i++) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
    }
    return 0;
}

static uint64_t read_clock(clockid_t id, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct timespec now;
        unexpected += clock_gettime(id, &now) != 0;
    }
    return unexpected;
}

static uint64_t clock_precise(void *subject, uint64_t count)
{
    (void)subject;
    return read_clock(CLOCK_MONOTONIC, count);
}

static uint64_t clock_coarse(void *subject, uint64_t count)
{
    (void)subject;
    return read_clock(CLOCK_MONOTONIC_COARSE, count);
}

static const bench_row floors[] = {
    {.name = "bare_call", .title = "bare call through a pointer", .loop = bare_call,
     .reference = 1.2},
    {.name = "load_relaxed", .title = "relaxed load", .loop = load_relaxed, .reference = 0.2},
    {.name = "load_acquire", .title = "acquire load", .loop = load_acquire, .reference = 0.2},
    {.name = "thread_local", .title = "thread-local access", .loop = thread_local_access,
     .reference = 0.3},
    {.name = "fetch_add", .title = "fetch_add, one shared line", .loop = fetch_add,
     .reference = 5.4},
    {.name = "fetch_add_spaced", .title = "4 bare calls, then fetch_add, one shared line",
     .loop = fetch_add_spaced},
    {.name = "cas_loop", .title = "CAS loop, one shared line", .loop = compare_and_swap,
     .reference = 9.1},
    {.name = "cas_pair", .title = "bare CAS pair: take and give, one word per thread",
     .loop = cas_pair, .threads_max = 64},
    {.name = "add_pair", .title = "fetch_sub + fetch_add, one shared word", .loop = add_pair,
     .threads_max = 64},
    {.name = "limited_pair", .title = "CAS below a limit + fetch_sub, one shared word",
     .loop = limited_pair, .threads_max = 64},
    {.name = "mutex_pair", .title = "pthread mutex, lock + unlock", .loop = mutex_pair,
     .reference = 16.0},
    {.name = "clock_coarse", .title = "clock_gettime, MONOTONIC_COARSE", .loop = clock_coarse,
     .reference = 5.0, .stubbed = true},
    {.name = "clock_precise", .title = "clock_gettime, MONOTONIC", .loop = clock_precise,
     .reference = 24.0, .stubbed = true},
};

const bench_row *bench_floors(size_t *count)
{
    *count = RSL_COUNT(floors);
    return floors;
}
