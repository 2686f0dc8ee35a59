/* task_kinds.c -- thread pools for C programs: ours, those that libraries offer, where they are
   installed, and the one that is written in half an hour. Two threads, a queue of 1024.

   BENCH_GLIB and BENCH_UV say what is installed; see bench/compile.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "bench.h"
#include "bulkhead.h"
#include "tasks.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#ifdef BENCH_GLIB
#include <glib.h>
#endif
#ifdef BENCH_UV
#include <uv.h>
#endif

/* ---- ours: tasks are nodes of the submitter, used in turn ---- */

enum { NODES = 2048 };
static _Alignas(128) rsl_task nodes[BENCH_PRODUCERS_MAX][NODES];
static _Alignas(128) rsl_task probe;

static int do_nothing(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return 0;
}

static void *ours_open(rsl_when_full when_full)
{
    rsl_workers *workers;
    rsl_workers_config config = {.threads_min = BENCH_TASK_THREADS,
                                 .threads_max = BENCH_TASK_THREADS,
                                 .queue_max = BENCH_TASK_QUEUE, .when_full = when_full};
    bench_must(rsl_workers_open(&workers, &config) == RSL_OK, "no workers");
    memset(nodes, 0, sizeof nodes);
    memset(&probe, 0, sizeof probe);
    return workers;
}

static void *ours_open_waiting(void) { return ours_open(RSL_FULL_WAIT); }
static void *ours_open_refusing(void) { return ours_open(RSL_FULL_REJECT); }
static void *ours_open_running(void) { return ours_open(RSL_FULL_CALLER_RUNS); }

static void ours_close(void *pool)
{
    bench_must(rsl_workers_close(pool, NULL) == RSL_OK, "workers cannot be closed");
}

/* A node comes round again long after its task has ended: the wait for it is one look. */
static uint64_t ours_produce(void *pool, int producer, int producers, const atomic_bool *stop)
{
    rsl_task *mine = nodes[producer];
    uint64_t count = 0;
    (void)producers;
    memset(mine, 0, sizeof nodes[producer]);
    while (!atomic_load_explicit(stop, memory_order_relaxed)) {
        rsl_task *task = &mine[count % NODES];
        if (count >= NODES) bench_must(rsl_task_wait(task, NULL, NULL) == RSL_OK, "a lost task");
        int status;
        while ((status = rsl_workers_submit(pool, NULL, do_nothing, NULL, task)) == RSL_EFULL) {
            sched_yield();
        }
        bench_must(status == RSL_OK, "a task is refused");
        count++;
    }
    uint64_t left = count < NODES ? count : NODES;
    for (uint64_t i = 0; i < left; i++) {
        bench_must(rsl_task_wait(&mine[i], NULL, NULL) == RSL_OK, "a lost task");
    }
    return count;
}

static bool ours_round_trip(void *pool)
{
    int status, result = 1;
    while ((status = rsl_workers_submit(pool, NULL, do_nothing, NULL, &probe)) == RSL_EFULL) {
        sched_yield();
    }
    return status == RSL_OK && rsl_task_wait(&probe, NULL, &result) == RSL_OK && result == 0;
}

/* A wait that may end before the task does not run it. */
static bool ours_round_trip_apart(void *pool)
{
    static const rsl_ctx far = {.deadline = INT64_MAX / 2};
    int status, result = 1;
    while ((status = rsl_workers_submit(pool, NULL, do_nothing, NULL, &probe)) == RSL_EFULL) {
        sched_yield();
    }
    return status == RSL_OK && rsl_task_wait(&probe, &far, &result) == RSL_OK && result == 0;
}

static const bench_task_kind ours_refusing = {
    .title = "rsl_workers, full: the submitter tries again", .ours = true,
    .open = ours_open_refusing, .close = ours_close, .produce = ours_produce};
static const bench_task_kind ours_waiting = {
    .title = "rsl_workers, full: the submitter waits", .ours = true,
    .open = ours_open_waiting, .close = ours_close, .produce = ours_produce};
static const bench_task_kind ours_running = {
    .title = "rsl_workers, full: the submitter runs it", .ours = true, .assisted = true,
    .open = ours_open_running, .close = ours_close, .produce = ours_produce};
static const bench_task_kind ours_assisted = {
    .title = "rsl_workers, wait", .ours = true, .assisted = true, .unrated = true,
    .open = ours_open_refusing, .close = ours_close, .produce = ours_produce,
    .round_trip = ours_round_trip};
static const bench_task_kind ours_apart = {
    .title = "rsl_workers, wait with a deadline", .ours = true, .unrated = true,
    .open = ours_open_refusing, .close = ours_close, .produce = ours_produce,
    .round_trip = ours_round_trip_apart};

/* ---- a ring under a mutex, with a condition for each side ---- */

typedef struct job { void (*run)(void *arg); void *arg; } job;

typedef struct ring {
    pthread_mutex_t lock;
    pthread_cond_t  filled, emptied, ended;
    size_t          head, count; /* guarded by lock, with the rest */
    size_t          idle, blocked;
    bool            closing, probed;
    uint64_t        done;
    job             jobs[BENCH_TASK_QUEUE];
    pthread_t       threads[BENCH_TASK_THREADS];
} ring;

static void *ring_work(void *arg)
{
    ring *r = arg;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        r->idle++;
        while (r->count == 0 && !r->closing) pthread_cond_wait(&r->filled, &r->lock);
        r->idle--;
        if (r->count == 0) break;
        job next = r->jobs[r->head++ % BENCH_TASK_QUEUE];
        r->count--;
        if (r->blocked > 0) pthread_cond_signal(&r->emptied);
        pthread_mutex_unlock(&r->lock);
        next.run(next.arg);
        pthread_mutex_lock(&r->lock);
        r->done++;
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void ring_submit(ring *r, void (*function)(void *arg), void *arg)
{
    pthread_mutex_lock(&r->lock);
    r->blocked++;
    while (r->count == BENCH_TASK_QUEUE) pthread_cond_wait(&r->emptied, &r->lock);
    r->blocked--;
    r->jobs[(r->head + r->count++) % BENCH_TASK_QUEUE] = (job){function, arg};
    if (r->idle > 0) pthread_cond_signal(&r->filled);
    pthread_mutex_unlock(&r->lock);
}

static void *ring_open(void)
{
    ring *r = calloc(1, sizeof *r);
    bench_must(r != NULL, "out of memory");
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->filled, NULL);
    pthread_cond_init(&r->emptied, NULL);
    pthread_cond_init(&r->ended, NULL);
    for (int i = 0; i < BENCH_TASK_THREADS; i++) {
        bench_must(pthread_create(&r->threads[i], NULL, ring_work, r) == 0, "no more threads");
    }
    return r;
}

static void ring_close(void *pool)
{
    ring *r = pool;
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    pthread_cond_broadcast(&r->filled);
    pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < BENCH_TASK_THREADS; i++) pthread_join(r->threads[i], NULL);
    free(r);
}

static void ring_nothing(void *arg)
{
    (void)arg;
}

/* Its own tasks have ended when the queue has been empty: others may be behind, none before. */
static uint64_t ring_produce(void *pool, int producer, int producers, const atomic_bool *stop)
{
    ring *r = pool;
    uint64_t count = 0;
    (void)producer;
    (void)producers;
    while (!atomic_load_explicit(stop, memory_order_relaxed)) {
        ring_submit(r, ring_nothing, NULL);
        count++;
    }
    pthread_mutex_lock(&r->lock);
    uint64_t until = r->done + r->count;
    while (r->done < until) {
        pthread_mutex_unlock(&r->lock);
        sched_yield();
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return count;
}

static void ring_end_probe(void *arg)
{
    ring *r = arg;
    pthread_mutex_lock(&r->lock);
    r->probed = true;
    pthread_cond_signal(&r->ended);
    pthread_mutex_unlock(&r->lock);
}

static bool ring_round_trip(void *pool)
{
    ring *r = pool;
    r->probed = false;
    ring_submit(r, ring_end_probe, r);
    pthread_mutex_lock(&r->lock);
    while (!r->probed) pthread_cond_wait(&r->ended, &r->lock);
    pthread_mutex_unlock(&r->lock);
    return true;
}

static const bench_task_kind ring_kind = {
    .title = "mutex + condvars, a ring", .open = ring_open, .close = ring_close,
    .produce = ring_produce, .round_trip = ring_round_trip};

/* ---- GThreadPool: its queue has no bound, so a producer looks at its length now and then ---- */

#ifdef BENCH_GLIB
typedef struct glib_pool {
    GThreadPool *pool;
    GMutex       lock;
    GCond        ended;
    bool         probed; /* guarded by lock */
} glib_pool;

enum { GLIB_LOOK = 64 };

/* Data must not be NULL: 1 is an empty task, 2 the probe. */
static void glib_run(gpointer data, gpointer user)
{
    glib_pool *p = user;
    if (GPOINTER_TO_INT(data) == 1) return;
    g_mutex_lock(&p->lock);
    p->probed = true;
    g_cond_signal(&p->ended);
    g_mutex_unlock(&p->lock);
}

static void *glib_open(void)
{
    glib_pool *p = calloc(1, sizeof *p);
    bench_must(p != NULL, "out of memory");
    g_mutex_init(&p->lock);
    g_cond_init(&p->ended);
    p->pool = g_thread_pool_new(glib_run, p, BENCH_TASK_THREADS, TRUE, NULL);
    bench_must(p->pool != NULL, "no GThreadPool");
    return p;
}

static void glib_close(void *pool)
{
    glib_pool *p = pool;
    g_thread_pool_free(p->pool, FALSE, TRUE);
    g_mutex_clear(&p->lock);
    g_cond_clear(&p->ended);
    free(p);
}

static uint64_t glib_produce(void *pool, int producer, int producers, const atomic_bool *stop)
{
    glib_pool *p = pool;
    uint64_t count = 0;
    (void)producer;
    (void)producers;
    while (!atomic_load_explicit(stop, memory_order_relaxed)) {
        while (count % GLIB_LOOK == 0 &&
               g_thread_pool_unprocessed(p->pool) > BENCH_TASK_QUEUE - GLIB_LOOK) {
            sched_yield();
        }
        g_thread_pool_push(p->pool, GINT_TO_POINTER(1), NULL);
        count++;
    }
    while (g_thread_pool_unprocessed(p->pool) > 0) sched_yield();
    return count;
}

static bool glib_round_trip(void *pool)
{
    glib_pool *p = pool;
    p->probed = false;
    g_thread_pool_push(p->pool, GINT_TO_POINTER(2), NULL);
    g_mutex_lock(&p->lock);
    while (!p->probed) g_cond_wait(&p->ended, &p->lock);
    g_mutex_unlock(&p->lock);
    return true;
}

static const bench_task_kind glib_kind = {
    .title = "GLib GThreadPool", .open = glib_open, .close = glib_close,
    .produce = glib_produce, .round_trip = glib_round_trip};
#endif

/* ---- libuv: work may be queued from the thread of a loop only, and is reported there; so each
   producer is a loop, and what has ended is queued again ---- */

#ifdef BENCH_UV
typedef struct uv_producer {
    uv_loop_t          loop;
    uv_work_t          requests[BENCH_TASK_QUEUE];
    uint64_t           count;
    const atomic_bool *stop;
} uv_producer;

typedef struct uv_pool {
    uv_producer producers[BENCH_PRODUCERS_MAX];
    uv_loop_t   loop;
    uv_work_t   probe;
    bool        probed;
} uv_pool;

static void uv_nothing(uv_work_t *request)
{
    (void)request;
}

static void uv_again(uv_work_t *request, int status)
{
    uv_producer *p = request->data;
    bench_must(status == 0, "libuv lost a task");
    p->count++;
    if (atomic_load_explicit(p->stop, memory_order_relaxed)) return;
    bench_must(uv_queue_work(&p->loop, request, uv_nothing, uv_again) == 0, "libuv refuses");
}

/* The threads are the process's own: started by the first use, and never ended. */
static void *uv_open(void)
{
    uv_pool *p = calloc(1, sizeof *p);
    bench_must(p != NULL && setenv("UV_THREADPOOL_SIZE", "2", 1) == 0, "out of memory");
    bench_must(uv_loop_init(&p->loop) == 0, "no loop");
    return p;
}

static void uv_close_pool(void *pool)
{
    uv_loop_close(&((uv_pool *)pool)->loop);
    free(pool);
}

static uint64_t uv_produce(void *pool, int producer, int producers, const atomic_bool *stop)
{
    uv_producer *p = &((uv_pool *)pool)->producers[producer];
    bench_must(uv_loop_init(&p->loop) == 0, "no loop");
    p->count = 0;
    p->stop = stop;
    for (int i = 0; i < BENCH_TASK_QUEUE / producers; i++) {
        p->requests[i].data = p;
        bench_must(uv_queue_work(&p->loop, &p->requests[i], uv_nothing, uv_again) == 0,
                   "libuv refuses");
    }
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_loop_close(&p->loop);
    return p->count;
}

static void uv_end_probe(uv_work_t *request, int status)
{
    ((uv_pool *)request->data)->probed = status == 0;
}

static bool uv_round_trip(void *pool)
{
    uv_pool *p = pool;
    p->probe.data = p;
    p->probed = false;
    if (uv_queue_work(&p->loop, &p->probe, uv_nothing, uv_end_probe) != 0) return false;
    uv_run(&p->loop, UV_RUN_DEFAULT);
    return p->probed;
}

static const bench_task_kind uv_kind = {
    .title = "libuv uv_queue_work", .open = uv_open, .close = uv_close_pool,
    .produce = uv_produce, .round_trip = uv_round_trip};
#endif

const bench_task_kind *const bench_task_kinds[] = {
    &ours_refusing,
    &ours_waiting,
    &ours_running,
    &ours_assisted,
    &ours_apart,
    &ring_kind,
#ifdef BENCH_GLIB
    &glib_kind,
#endif
#ifdef BENCH_UV
    &uv_kind,
#endif
    NULL,
};
