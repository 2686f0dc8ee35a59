/* SPDX-License-Identifier: MIT
   bulkhead_uv.c: blocking work behind an event loop. 300 jobs live in one thread that never
   blocks; their work, which does, runs on four others. At most eight jobs are at work at a time,
   the rest wait in the bulkhead's queue, which costs no thread.

   A step of an execution says RSL_WAIT while its job has no permit; the wake comes through
   uv_async_send. RSL_RUN submits the job's task to the workers; when it has ended, on_done wakes
   the loop in the same way. RSL_STOP cancels it: some of the work hangs, and some callers give up.

   cc -std=c11 -O2 -I. examples/bulkhead_uv.c -luv -pthread                                     */
#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <uv.h>

enum { JOBS = 300, THREADS = 4, AT_ONCE = 2 * THREADS, HANGS = 50, GIVES_UP = 10 };

typedef struct job {
    rsl_execution execution;
    rsl_task      task;
    uv_timer_t    timer;
    uv_async_t    wake;     /* by who gives its permit on */
    uv_async_t    done;     /* by the thread that ended the task */
} job;

static job          jobs[JOBS];
static rsl_workers *workers;
static rsl_bulkhead bulkhead;
static rsl_cancel   impatient;  /* every tenth job gives up when this fires */
static uv_timer_t   impatience, tick;
static int          ended, answered, stopped, timed_out, cancelled, ticks;
static rsl_time     started;
static _Atomic int  at_work, most_at_work;

/* ---- on the workers' threads ---- */

/* Four milliseconds of blocking work; every fiftieth hangs until it is stopped. */
static int work(const rsl_ctx *ctx, void *arg)
{
    bool hangs = ((job *)arg - jobs) % HANGS == HANGS - 1;
    int now = atomic_fetch_add(&at_work, 1) + 1, before = atomic_load(&most_at_work);
    while (now > before && !atomic_compare_exchange_weak(&most_at_work, &before, now)) {}
    for (int i = 0; (hangs || i < 4) && !rsl_cancel_fired(ctx->cancel); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    atomic_fetch_sub(&at_work, 1);
    return hangs ? RSL_ETIMEOUT : 0;
}

static void work_done(void *user) { uv_async_send(&((job *)user)->done); } /* only posts */

/* ---- in the loop ---- */

static void job_wake(void *user) { uv_async_send(&((job *)user)->wake); } /* from any thread */

static void all_done(void)
{
    uv_close((uv_handle_t *)&impatience, NULL);
    uv_close((uv_handle_t *)&tick, NULL);
}

static void job_end(job *j)
{
    int result = j->execution.result;
    answered += result == 0;
    timed_out += result == RSL_ETIMEOUT;
    cancelled += result == RSL_ECANCELED;
    uv_close((uv_handle_t *)&j->timer, NULL);
    uv_close((uv_handle_t *)&j->wake, NULL);
    uv_close((uv_handle_t *)&j->done, NULL);
    if (++ended == JOBS) all_done();
}

static void job_step(job *j);

static void job_report(job *j, int result)
{
    rsl_execution_report(&j->execution, rsl_now(), result);
    job_step(j);
}

/* There are as many permits as the workers take tasks, so that each finds room. */
static void job_run(job *j)
{
    rsl_task_on_done(&j->task, work_done, j);
    int status = rsl_workers_submit(workers, &j->execution.ctx, work, j, &j->task);
    if (status != RSL_OK) job_report(j, status);
}

static void job_timer(uv_timer_t *timer) { job_step(timer->data); }
static void job_woken(uv_async_t *wake) { job_step(wake->data); }

/* The task has ended, or is about to: the wait is for its thread to let go of the node. */
static void job_done(uv_async_t *done)
{
    job *j = done->data;
    int result;
    int status = rsl_task_wait(&j->task, NULL, &result);
    job_report(j, status == RSL_OK ? result : status);
}

static void job_step(job *j)
{
    if (uv_is_closing((uv_handle_t *)&j->timer)) return; /* a wake that came after the end */
    int answer = rsl_execution_step(&j->execution, rsl_now());
    uv_timer_stop(&j->timer);
    if (answer == RSL_DONE) {
        job_end(j);
        return;
    }
    if (answer == RSL_STOP) {
        stopped++;
        rsl_task_cancel(&j->task); /* has ended just now if it refuses; done follows either way */
        return;
    }
    rsl_time until = j->execution.wake_at, span = until - rsl_now();
    if (answer == RSL_RUN) job_run(j);
    if (until == RSL_FOREVER || uv_is_closing((uv_handle_t *)&j->timer)) return;
    uint64_t wait = span > 0 ? (uint64_t)((span + RSL_MS(1) - 1) / RSL_MS(1)) : 0;
    uv_timer_start(&j->timer, job_timer, wait, 0);
}

static void impatience_ends(uv_timer_t *timer)
{
    (void)timer;
    rsl_cancel_fire(&impatient);
}

static void tick_now(uv_timer_t *timer) /* late or missing if anything blocks the loop */
{
    (void)timer;
    ticks++;
}

static int start(uv_loop_t *loop, const rsl_layer *policy, size_t count)
{
    uv_timer_init(loop, &impatience);
    uv_timer_init(loop, &tick);
    uv_timer_start(&impatience, impatience_ends, 150, 0);
    uv_timer_start(&tick, tick_now, 1, 1);
    started = rsl_now();
    for (int i = 0; i < JOBS; i++) {
        job *j = &jobs[i];
        rsl_ctx ctx = {.cancel = i % GIVES_UP == 0 ? &impatient : NULL};
        int status = rsl_execution_begin(&j->execution, policy, count, &ctx);
        if (status != RSL_OK) return status;
        uv_timer_init(loop, &j->timer);
        uv_async_init(loop, &j->wake, job_woken);
        uv_async_init(loop, &j->done, job_done);
        j->timer.data = j->wake.data = j->done.data = j;
        rsl_execution_wake_by(&j->execution, job_wake, j);
        uv_timer_start(&j->timer, job_timer, 0, 0);
    }
    return RSL_OK;
}

static bool report(void)
{
    rsl_bulkhead_stats b;
    rsl_workers_stats w;
    rsl_bulkhead_stats_get(&bulkhead, &b);
    rsl_workers_stats_get(workers, &w);
    int took = (int)((rsl_now() - started) / RSL_MS(1));
    printf("%d jobs in %d ms: %d answered, %d hung and were stopped, %d given up by their "
           "callers\n", ended, took, answered, timed_out, cancelled);
    printf("%d waited for a permit and got it, %d gave up; at most %d were at work on %d threads, "
           "and the loop ticked %d times\n", (int)b.waited, (int)b.canceled, most_at_work,
           (int)w.threads, ticks);
    return ended == JOBS && answered + timed_out + cancelled == JOBS &&
           timed_out == JOBS / HANGS && cancelled > 0 && b.waited > 0 && stopped >= timed_out &&
           most_at_work <= THREADS && b.in_use == 0 && b.waiting == 0 && b.refused == 0 &&
           w.queued == 0 && w.running == 0 && w.refused == 0 && ticks >= took / 10;
}

int main(void)
{
    rsl_timeout total, each;
    rsl_bulkhead_config permits = {.calls_max = AT_ONCE, .waiting_max = JOBS};
    rsl_workers_config threads = {.name = "blocking", .threads_min = THREADS,
                                  .threads_max = THREADS, .queue_max = AT_ONCE};
    int status = rsl_timeout_init(&total, RSL_SEC(20));
    if (status == RSL_OK) status = rsl_timeout_init(&each, RSL_MS(250));
    if (status == RSL_OK) status = rsl_bulkhead_init(&bulkhead, &permits);
    if (status == RSL_OK) status = rsl_workers_open(&workers, &threads);
    if (status == RSL_OK) status = rsl_cancel_init(&impatient, NULL);
    const rsl_layer policy[] = {rsl_timeout_layer(&total), rsl_bulkhead_layer(&bulkhead),
                                rsl_timeout_layer(&each)};
    uv_loop_t *loop = uv_default_loop();
    if (status == RSL_OK) status = start(loop, policy, RSL_COUNT(policy));
    if (status != RSL_OK) {
        fprintf(stderr, "bulkhead_uv: %s\n", rsl_strerror(status));
        return 1;
    }
    uv_run(loop, UV_RUN_DEFAULT);

    bool proved = report();
    rsl_ctx soon = rsl_within(RSL_SEC(5));
    proved = rsl_workers_close(workers, &soon) == RSL_OK && proved;
    rsl_cancel_deinit(&impatient);
    rsl_bulkhead_deinit(&bulkhead);
    proved = uv_loop_close(loop) == 0 && proved;
    printf("nobody was blocked, and nobody was forgotten: %s\n", proved ? "yes" : "no");
    return proved ? 0 : 1;
}
