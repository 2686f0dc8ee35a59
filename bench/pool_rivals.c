/* pool_rivals.c -- what a C program would use instead of our pool: the two that its libraries
   offer, where they are installed, and the one that is written in half an hour.

   BENCH_APR and BENCH_GLIB say what is installed; see bench/compile.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "bench.h"
#include "pools.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#ifdef BENCH_APR
#include <apr_general.h>
#include <apr_reslist.h>
#endif
#ifdef BENCH_GLIB
#include <glib.h>
#endif

#ifdef CLOCK_MONOTONIC_COARSE
#define COARSE CLOCK_MONOTONIC_COARSE
#else
#define COARSE CLOCK_MONOTONIC
#endif

static bench_resource resources[4][BENCH_RESOURCES];

/* ---- a stack under a mutex, those who find it empty wait for a condition ---- */

typedef struct stack {
    _Alignas(128) pthread_mutex_t lock;
    pthread_cond_t  given;
    size_t          idle; /* guarded by lock, with the rest */
    size_t          waiting;
    bench_resource *resources[64];
} stack;

static bench_resource *stack_acquire(stack *s)
{
    pthread_mutex_lock(&s->lock);
    s->waiting++;
    while (s->idle == 0) pthread_cond_wait(&s->given, &s->lock);
    s->waiting--;
    bench_resource *resource = s->resources[--s->idle];
    pthread_mutex_unlock(&s->lock);
    return resource;
}

static void stack_release(stack *s, bench_resource *resource)
{
    pthread_mutex_lock(&s->lock);
    s->resources[s->idle++] = resource;
    if (s->waiting > 0) pthread_cond_signal(&s->given);
    pthread_mutex_unlock(&s->lock);
}

static void *stack_open(bench_resource *from, size_t count)
{
    stack *s = aligned_alloc(_Alignof(stack), sizeof *s);
    bench_must(s != NULL, "out of memory");
    *s = (stack){.lock = PTHREAD_MUTEX_INITIALIZER, .given = PTHREAD_COND_INITIALIZER};
    for (size_t i = 0; i < count; i++) stack_release(s, &from[i]);
    return s;
}

static bool stack_take(void *pool, bench_held *held)
{
    held->resource = stack_acquire(pool);
    return true;
}

static bool stack_give(void *pool, bench_held *held)
{
    stack_release(pool, held->resource);
    return true;
}

static uint64_t stack_pairs(void *subject, uint64_t count)
{
    stack *s = *(void **)subject;
    for (uint64_t i = 0; i < count; i++) stack_release(s, stack_acquire(s));
    return 0;
}

/* The same with what our rows with callbacks have: each release resets, and who gets a resource
   that was idle for a while validates it. Both outside the lock. */
typedef int (*check_fn)(void *user, void *resource);
static check_fn volatile validate = bench_be_healthy, reset = bench_be_healthy;

static int64_t coarse_now(void)
{
    struct timespec now;
    clock_gettime(COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline uint64_t checked_pairs(stack *s, uint64_t count, int64_t validate_after)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        bench_resource *resource = stack_acquire(s);
        if (coarse_now() - resource->idle_since >= validate_after) {
            unexpected += validate(NULL, resource) != 0;
        }
        unexpected += reset(NULL, resource) != 0;
        resource->idle_since = coarse_now();
        stack_release(s, resource);
    }
    return unexpected;
}

static uint64_t stack_pairs_checked(void *subject, uint64_t count)
{
    return checked_pairs(*(void **)subject, count, RSL_MS(500));
}

static uint64_t stack_pairs_validated(void *subject, uint64_t count)
{
    return checked_pairs(*(void **)subject, count, 0);
}

static const bench_pool_kind stack_kind = {
    .title = "mutex + condvar stack", .open = stack_open, .close = free,
    .acquire = stack_take, .release = stack_give};

/* ---- apr_reslist ---- */

#ifdef BENCH_APR
typedef struct supply {
    bench_resource *resources;
    size_t          used;
    apr_pool_t     *memory;
    apr_reslist_t  *list;
} supply;

static apr_status_t apr_create(void **resource, void *user, apr_pool_t *memory)
{
    supply *from = user;
    (void)memory;
    *resource = &from->resources[from->used++];
    return APR_SUCCESS;
}

static apr_status_t apr_destroy(void *resource, void *user, apr_pool_t *memory)
{
    (void)resource;
    (void)user;
    (void)memory;
    return APR_SUCCESS;
}

/* As many at least as at most, and no time to live: all are made here and none is ever closed. */
static void *apr_open(bench_resource *from, size_t count)
{
    supply *s = calloc(1, sizeof *s);
    bench_must(s != NULL && apr_initialize() == APR_SUCCESS &&
                   apr_pool_create(&s->memory, NULL) == APR_SUCCESS, "apr does not start");
    s->resources = from;
    int size = (int)count;
    bench_must(apr_reslist_create(&s->list, size, size, size, 0, apr_create, apr_destroy, s,
                                  s->memory) == APR_SUCCESS, "apr_reslist cannot be opened");
    return s;
}

static void apr_close(void *pool)
{
    supply *s = pool;
    apr_pool_destroy(s->memory);
    free(s);
}

static bool apr_take(void *pool, bench_held *held)
{
    void *resource;
    if (apr_reslist_acquire(((supply *)pool)->list, &resource) != APR_SUCCESS) return false;
    held->resource = resource;
    return true;
}

static bool apr_give(void *pool, bench_held *held)
{
    return apr_reslist_release(((supply *)pool)->list, held->resource) == APR_SUCCESS;
}

static uint64_t apr_pairs(void *subject, uint64_t count)
{
    apr_reslist_t *list = (*(supply **)subject)->list;
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        void *resource;
        unexpected += apr_reslist_acquire(list, &resource) != APR_SUCCESS;
        unexpected += apr_reslist_release(list, resource) != APR_SUCCESS;
    }
    return unexpected;
}

static const bench_pool_kind apr_kind = {
    .title = "apr_reslist", .open = apr_open, .close = apr_close,
    .acquire = apr_take, .release = apr_give};
#endif

/* ---- GAsyncQueue: idle resources wait in a queue between threads ---- */

#ifdef BENCH_GLIB
static void *glib_open(bench_resource *from, size_t count)
{
    GAsyncQueue *queue = g_async_queue_new();
    for (size_t i = 0; i < count; i++) g_async_queue_push(queue, &from[i]);
    return queue;
}

static void glib_close(void *pool)
{
    g_async_queue_unref(pool);
}

static bool glib_take(void *pool, bench_held *held)
{
    held->resource = g_async_queue_pop(pool);
    return true;
}

static bool glib_give(void *pool, bench_held *held)
{
    g_async_queue_push(pool, held->resource);
    return true;
}

static uint64_t glib_pairs(void *subject, uint64_t count)
{
    GAsyncQueue *queue = *(void **)subject;
    for (uint64_t i = 0; i < count; i++) g_async_queue_push(queue, g_async_queue_pop(queue));
    return 0;
}

static const bench_pool_kind glib_kind = {
    .title = "GLib GAsyncQueue", .open = glib_open, .close = glib_close,
    .acquire = glib_take, .release = glib_give};
#endif

/* ---- all of them ---- */

const bench_pool_kind *const bench_pool_kinds[] = {
    &stack_kind,
#ifdef BENCH_APR
    &apr_kind,
#endif
#ifdef BENCH_GLIB
    &glib_kind,
#endif
    NULL,
};

static void *opened[4];

static const bench_row rivals[] = {
    {.name = "pool_mutex", .title = "mutex + condvar stack", .loop = stack_pairs,
     .subject = &opened[0], .threads_max = 64},
    {.name = "pool_mutex_checked", .title = "mutex + condvar stack, validate, reset",
     .loop = stack_pairs_checked, .subject = &opened[3], .threads_max = 64},
    {.name = "pool_mutex_validated", .title = "mutex + condvar stack, validated each time",
     .loop = stack_pairs_validated, .subject = &opened[3], .threads_max = 64},
#ifdef BENCH_APR
    {.name = "pool_apr", .title = "apr_reslist", .loop = apr_pairs, .subject = &opened[1],
     .threads_max = 64},
#endif
#ifdef BENCH_GLIB
    {.name = "pool_glib", .title = "GLib GAsyncQueue", .loop = glib_pairs,
     .subject = &opened[2], .threads_max = 64},
#endif
};

const bench_row *bench_pool_rivals(size_t *count)
{
    opened[0] = stack_open(resources[0], BENCH_RESOURCES);
    opened[3] = stack_open(resources[3], BENCH_RESOURCES);
#ifdef BENCH_APR
    opened[1] = apr_open(resources[1], BENCH_RESOURCES);
#endif
#ifdef BENCH_GLIB
    opened[2] = glib_open(resources[2], BENCH_RESOURCES);
#endif
    *count = RSL_COUNT(rivals);
    return rivals;
}
