/* SPDX-License-Identifier: MIT
   uv.c: 200 calls under one policy in one thread, and nothing blocks: libuv does the waiting.

   Each call is a TCP connection to a server on loopback (in the same loop, to keep this to one
   file). The server works, hangs for 300 ms, hangs up for 100 ms, and works again. A job steps its
   execution whenever its timer fires, its connection ends, or a wake comes in; and it does what
   the step says. RSL_STOP closes the connection, and the report follows once it is closed.

   cc -std=c11 -O2 -I. examples/uv.c -luv -pthread                                              */
#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { JOBS = 200 };

typedef struct job {
    rsl_execution execution;
    uv_timer_t    timer;
    uv_async_t    wake;
    uv_tcp_t      tcp;
    uv_connect_t  connect;
    char          answer[8];
    int           result;    /* of the call that is being closed */
} job;

static job         jobs[JOBS];
static uv_tcp_t    server;
static uv_timer_t  impatience;
static rsl_cancel  impatient; /* every tenth job gives up when this fires */
static rsl_breaker breaker;
static struct sockaddr_in address;
static uint64_t    started;
static int         done, answered, cancelled, stopped, connections, in_outage;

/* The time of the loop: the clock of its timers, so a timer for wake_at never fires too early. */
static rsl_time now(void *user)
{
    (void)user;
    return RSL_MS(uv_now(uv_default_loop()));
}

/* ---- the server: a greeting for everybody, except in the outage ---- */

static void peer_closed(uv_handle_t *peer) { free(peer); }

static void peer_allocate(uv_handle_t *peer, size_t wanted, uv_buf_t *buffer)
{
    static char ignored[64];
    (void)peer, (void)wanted;
    *buffer = uv_buf_init(ignored, sizeof ignored);
}

static void peer_read(uv_stream_t *peer, ssize_t count, const uv_buf_t *buffer)
{
    (void)buffer;
    if (count < 0) uv_close((uv_handle_t *)peer, peer_closed); /* the client has hung up */
}

static void server_accepts(uv_stream_t *listening, int status)
{
    uv_tcp_t *peer = status == 0 ? malloc(sizeof *peer) : NULL;
    if (peer == NULL) return;
    uv_tcp_init(listening->loop, peer);
    uint64_t age = uv_now(listening->loop) - started;
    bool hangs = age >= 300 && age < 600, hangs_up = age >= 600 && age < 700;
    connections++;
    in_outage += hangs || hangs_up;
    uv_buf_t greeting = uv_buf_init("hello", 5);
    if (uv_accept(listening, (uv_stream_t *)peer) != 0 || hangs_up ||
        (!hangs && uv_try_write((uv_stream_t *)peer, &greeting, 1) != 5) ||
        uv_read_start((uv_stream_t *)peer, peer_allocate, peer_read) != 0) {
        uv_close((uv_handle_t *)peer, peer_closed);
    }
}

/* ---- a call: connect, and read the greeting ---- */

static void job_step(job *j);

static void call_closed(uv_handle_t *tcp)
{
    job *j = tcp->data;
    rsl_execution_report(&j->execution, now(NULL), j->result);
    job_step(j);
}

static void call_end(job *j, int result)
{
    if (uv_is_closing((uv_handle_t *)&j->tcp)) return; /* has ended; will be reported */
    j->result = result;
    uv_close((uv_handle_t *)&j->tcp, call_closed);
}

static void call_allocate(uv_handle_t *tcp, size_t wanted, uv_buf_t *buffer)
{
    job *j = tcp->data;
    (void)wanted;
    *buffer = uv_buf_init(j->answer, sizeof j->answer);
}

static void call_read(uv_stream_t *tcp, ssize_t count, const uv_buf_t *buffer)
{
    (void)buffer;
    if (count != 0) call_end(tcp->data, count > 0 ? 0 : (int)count);
}

static void call_connected(uv_connect_t *connect, int status)
{
    job *j = connect->data;
    if (status == 0) status = uv_read_start((uv_stream_t *)&j->tcp, call_allocate, call_read);
    if (status != 0) call_end(j, status);
}

static void call_start(job *j)
{
    uv_tcp_init(uv_default_loop(), &j->tcp);
    j->tcp.data = j->connect.data = j;
    int status = uv_tcp_connect(&j->connect, &j->tcp, (const struct sockaddr *)&address,
                                call_connected);
    if (status != 0) call_end(j, status);
}

/* ---- a job: one execution ---- */

static void job_timer(uv_timer_t *timer) { job_step(timer->data); }
static void job_woken(uv_async_t *wake) { job_step(wake->data); }
static void job_wake(void *user) { uv_async_send(&((job *)user)->wake); } /* from any thread */

static void job_done(job *j)
{
    uv_close((uv_handle_t *)&j->timer, NULL);
    uv_close((uv_handle_t *)&j->wake, NULL);
    answered += j->execution.result == 0;
    cancelled += j->execution.result == RSL_ECANCELED;
    if (++done < JOBS) return;
    uv_close((uv_handle_t *)&server, NULL);
    uv_close((uv_handle_t *)&impatience, NULL);
}

static void job_step(job *j)
{
    if (uv_is_closing((uv_handle_t *)&j->timer)) return; /* a wake that came after the end */
    int answer = rsl_execution_step(&j->execution, now(NULL));
    uv_timer_stop(&j->timer);
    if (answer == RSL_DONE) {
        job_done(j);
        return;
    }
    if (answer == RSL_STOP) {
        stopped++;
        call_end(j, rsl_cancel_fired(j->execution.ctx.cancel) ? RSL_ECANCELED : RSL_ETIMEOUT);
        return;
    }
    if (answer == RSL_RUN) call_start(j);
    if (j->execution.wake_at == RSL_FOREVER) return;
    rsl_time span = j->execution.wake_at - now(NULL);
    uv_timer_start(&j->timer, job_timer, (uint64_t)((span + RSL_MS(1) - 1) / RSL_MS(1)), 0);
}

static void impatience_ends(uv_timer_t *timer)
{
    (void)timer;
    rsl_cancel_fire(&impatient);
}

static int start(uv_loop_t *loop, const rsl_layer *policy, size_t count)
{
    int length = sizeof address;
    if (uv_ip4_addr("127.0.0.1", 0, &address) != 0 || uv_tcp_init(loop, &server) != 0 ||
        uv_tcp_bind(&server, (const struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&server, JOBS, server_accepts) != 0 ||
        uv_tcp_getsockname(&server, (struct sockaddr *)&address, &length) != 0) {
        return RSL_ESYS;
    }
    started = uv_now(loop);
    uv_timer_init(loop, &impatience);
    uv_timer_start(&impatience, impatience_ends, 500, 0);
    for (int i = 0; i < JOBS; i++) { /* one every 5 ms */
        rsl_ctx ctx = {.cancel = i % 10 == 9 ? &impatient : NULL};
        int status = rsl_execution_begin(&jobs[i].execution, policy, count, &ctx);
        if (status != RSL_OK) return status;
        uv_timer_init(loop, &jobs[i].timer);
        uv_async_init(loop, &jobs[i].wake, job_woken);
        jobs[i].timer.data = jobs[i].wake.data = &jobs[i];
        rsl_execution_wake_by(&jobs[i].execution, job_wake, &jobs[i]);
        uv_timer_start(&jobs[i].timer, job_timer, (uint64_t)i * 5, 0);
    }
    return RSL_OK;
}

int main(void)
{
    uv_loop_t *loop = uv_default_loop();
    rsl_timeout total, each;
    rsl_retry retry;
    rsl_retry_config retry_config = {.attempts_max = 50, .delay_first = RSL_MS(20),
                                     .delay_max = RSL_MS(100), .jitter = RSL_JITTER_EQUAL,
                                     .retry_refusals = true};
    rsl_breaker_config breaker_config = {.open_for = RSL_MS(50), .clock.now = now};
    int status = rsl_timeout_init(&total, RSL_SEC(20));
    if (status == RSL_OK) status = rsl_timeout_init(&each, RSL_MS(50));
    if (status == RSL_OK) status = rsl_retry_init(&retry, &retry_config);
    if (status == RSL_OK) status = rsl_breaker_init(&breaker, &breaker_config);
    if (status == RSL_OK) status = rsl_cancel_init(&impatient, NULL);
    const rsl_layer policy[] = {rsl_timeout_layer(&total), rsl_retry_layer(&retry),
                                rsl_breaker_layer(&breaker), rsl_timeout_layer(&each)};
    if (status == RSL_OK) status = start(loop, policy, RSL_COUNT(policy));
    if (status != RSL_OK) {
        fprintf(stderr, "uv: %s\n", rsl_strerror(status));
        return 1;
    }
    uv_run(loop, UV_RUN_DEFAULT);

    rsl_breaker_stats stats;
    rsl_breaker_stats_get(&breaker, &stats);
    printf("%d jobs in %d ms on one thread: %d answered, %d cancelled by their caller\n", done,
           (int)(uv_now(loop) - started), answered, cancelled);
    printf("%d connections, %d of them in the outage; %d calls stopped\n", connections,
           in_outage, stopped);
    printf("the circuit opened %d times and refused %d calls; in flight at the end: %d\n",
           (int)stats.opened, (int)stats.refused, (int)stats.in_flight);
    bool proved = done == JOBS && answered + cancelled == JOBS && cancelled > 0 &&
                  cancelled <= JOBS / 10 && stopped > 0 && stats.opened > 0 &&
                  stats.in_flight == 0 && stats.state == RSL_BREAKER_CLOSED;
    rsl_cancel_deinit(&impatient);
    rsl_breaker_deinit(&breaker);
    rsl_retry_deinit(&retry);
    return uv_loop_close(loop) == 0 && proved ? 0 : 1;
}
