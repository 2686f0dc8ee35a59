/* permit_rivals.c -- what a C program would use instead of a bulkhead: the semaphore that POSIX
   offers, and a counter under a mutex, as plain as it can be or with a limit that adapts.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "bench.h"
#include "permits.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

/* ---- sem_t ---- */

typedef struct shared_semaphore { _Alignas(128) sem_t semaphore; } shared_semaphore;
static shared_semaphore semaphore, empty;

static uint64_t semaphore_try(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (sem_trywait(subject) != 0) {
            unexpected++;
            continue;
        }
        unexpected += sem_post(subject) != 0;
    }
    return unexpected;
}

static uint64_t semaphore_wait(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (sem_wait(subject) != 0) {
            unexpected++;
            continue;
        }
        unexpected += sem_post(subject) != 0;
    }
    return unexpected;
}

static uint64_t semaphore_refused(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) unexpected += sem_trywait(subject) == 0;
    return unexpected;
}

/* ---- a counter under a mutex ---- */

typedef struct counter {
    _Alignas(128) pthread_mutex_t lock;
    uint32_t in_use; /* guarded by lock, with the rest */
    uint32_t limit;
    uint64_t admitted, refused;
    double   exact; /* the limit with its fraction, where it adapts */
} counter;

static counter plain = {.lock = PTHREAD_MUTEX_INITIALIZER, .limit = BENCH_PERMITS_MAX};
static counter used_up = {.lock = PTHREAD_MUTEX_INITIALIZER};
static counter adaptive = {.lock = PTHREAD_MUTEX_INITIALIZER, .limit = BENCH_PERMITS_MAX,
                           .exact = BENCH_PERMITS_MAX};

static bool counter_enter(counter *c)
{
    pthread_mutex_lock(&c->lock);
    bool free = c->in_use < c->limit;
    if (free) {
        c->in_use++;
        c->admitted++;
    } else {
        c->refused++;
    }
    pthread_mutex_unlock(&c->lock);
    return free;
}

static uint64_t counter_pairs(void *subject, uint64_t count)
{
    counter *c = subject;
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (!counter_enter(c)) {
            unexpected++;
            continue;
        }
        pthread_mutex_lock(&c->lock);
        c->in_use--;
        pthread_mutex_unlock(&c->lock);
    }
    return unexpected;
}

static uint64_t counter_refused(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) unexpected += counter_enter(subject);
    return unexpected;
}

static rsl_time precise_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return RSL_SEC(now.tv_sec) + (rsl_time)now.tv_nsec;
}

/* The leanest rule: a call above the latency allowed shrinks the limit, and one within it grows it
   if half of it is in flight. */
static void adapt(counter *c, rsl_time latency)
{
    if (latency > RSL_SEC(1)) {
        c->exact = c->exact * 0.9 > BENCH_PERMITS_MAX ? c->exact * 0.9 : BENCH_PERMITS_MAX;
    } else if (c->in_use * 2 >= c->limit && c->exact < 1000) {
        c->exact += 1;
    }
    c->limit = (uint32_t)c->exact;
}

static uint64_t counter_pairs_aimd(void *subject, uint64_t count)
{
    counter *c = subject;
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        rsl_time entered = precise_now();
        if (!counter_enter(c)) {
            unexpected++;
            continue;
        }
        rsl_time latency = precise_now() - entered;
        pthread_mutex_lock(&c->lock);
        adapt(c, latency);
        c->in_use--;
        pthread_mutex_unlock(&c->lock);
    }
    return unexpected;
}

/* ---- all of them ---- */

static const bench_row rivals[] = {
    {.name = "permit_semaphore_try", .title = "POSIX sem_trywait + sem_post",
     .loop = semaphore_try, .subject = &semaphore.semaphore, .threads_max = 64},
    {.name = "permit_semaphore_wait", .title = "POSIX sem_wait + sem_post",
     .loop = semaphore_wait, .subject = &semaphore.semaphore, .threads_max = 64},
    {.name = "permit_mutex", .title = "mutex + counter", .loop = counter_pairs,
     .subject = &plain, .threads_max = 64},
    {.name = "permit_mutex_aimd", .title = "mutex + counter, AIMD, two clock reads",
     .loop = counter_pairs_aimd, .subject = &adaptive, .threads_max = 64},
    {.name = "permit_mutex_refused", .title = "mutex + counter, refused",
     .loop = counter_refused, .subject = &used_up, .threads_max = 64},
    {.name = "permit_semaphore_refused", .title = "POSIX sem_trywait, refused (counts nothing)",
     .loop = semaphore_refused, .subject = &empty.semaphore, .apart = true,
     .threads_max = 64},
};

const bench_row *bench_permit_rivals(size_t *count)
{
    bench_must(sem_init(&semaphore.semaphore, 0, BENCH_PERMITS_MAX) == 0, "no semaphore");
    bench_must(sem_init(&empty.semaphore, 0, 0) == 0, "no semaphore");
    *count = RSL_COUNT(rivals);
    return rivals;
}
