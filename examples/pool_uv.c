/* SPDX-License-Identifier: MIT
   pool_uv.c: the pool in an event loop. One thread, and nothing blocks: libuv does the waiting,
   the pool says when a connection is wanted, PQconnectPoll makes it. 400 queries share four
   connections to a PostgreSQL that is restarted in the middle; the last quarter of them begins
   when that is over.

   A job begins to acquire; if it has to wait, its wake comes through uv_async_send. Each time that
   a job waits, is woken, or a creation ends, the loop asks rsl_pool_wanted whether to connect once
   more, and rsl_pool_maintain when to ask again.

   Run it from the project's root: it has tools/postgres start a server of its own, and stop it.
   What is not done after 45 seconds will never be: it then says what it waits for, and fails.

   cc -std=c11 -O2 -I. -I$(pg_config --includedir) examples/pool_uv.c -lpq -luv -pthread         */
#define RSL_IMPLEMENTATION
#include "resilience.h"
#define RSL_POSTGRES_IMPLEMENTATION
#include "adapters/postgres.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

enum { JOBS = 400, SIZE = 4, CREATING = 2, JOB_S = 30, ALL_S = 45, BLOCKED_S = 50 };

typedef struct job job;

typedef struct line {       /* a resource: a connection, and what the loop knows of it */
    PGconn      *conn;
    uv_poll_t   *watch;     /* while its socket is waited for; NULL: not */
    rsl_creation ticket;    /* while it connects */
    rsl_time     give_up;   /* when connecting takes too long */
    job         *user;      /* while it is queried */
    int          code;      /* of the query */
} line;

struct job {
    rsl_waiter     waiter;
    rsl_pool_lease lease;
    uv_async_t     wake;
    const char    *sql;
    rsl_time       deadline;
    bool           waits, asks, ended;     /* for a lease; the server */
    int            code, attempts, number; /* number: what the query answered */
};

static job        jobs[JOBS];
static job        census;               /* after all others: asks the server how many we are */
static line      *dialing[CREATING];
static rsl_pool  *pool;
static uv_timer_t upkeep, tick;         /* when maintain wants to be called; 100 times a second */
static uv_process_t restart;
static bool       restart_over;
static int        begun, ended, answered, repeated, dials_failed;
static rsl_time   started, restarted;
static rsl_postgres_config server = {.application_name = "pool_uv"};

static void job_start(job *j, const char *sql);
static void job_begin(job *j);
static void job_end(job *j, int code);
static void look_for_work(void);

/* ---- watching a socket ---- */

static void watch_closed(uv_handle_t *watch) { free(watch); }

/* Before libpq may close the socket, or the line is given back. */
static void unwatch(line *l)
{
    if (l->watch == NULL) return;
    uv_close((uv_handle_t *)l->watch, watch_closed);
    l->watch = NULL;
}

/* Anew each time, for while it connects libpq may go on with another socket. */
static bool watch(line *l, int events, uv_poll_cb on_ready)
{
    unwatch(l);
    uv_poll_t *fresh = malloc(sizeof *fresh);
    if (fresh == NULL) return false;
    if (uv_poll_init(uv_default_loop(), fresh, PQsocket(l->conn)) != 0) {
        free(fresh);
        return false;
    }
    fresh->data = l;
    l->watch = fresh;
    return uv_poll_start(fresh, events, on_ready) == 0;
}

/* ---- the pool's callbacks: of creations the loop takes care by itself ---- */

static void destroy(void *user, void *resource)
{
    line *l = resource;
    (void)user;
    unwatch(l);
    rsl_postgres_close(l->conn);
    free(l);
}

/* Without a question to the server, which would block: an idle connection has nothing to say. */
static int validate(void *user, void *resource)
{
    struct pollfd socket = {.fd = PQsocket(((line *)resource)->conn), .events = POLLIN};
    (void)user;
    return poll(&socket, 1, 0);
}

/* ---- connecting ---- */

/* The pool owns the line from now on, or it is gone. */
static void dial_end(line *l, int code)
{
    for (int i = 0; i < CREATING; i++) {
        if (dialing[i] == l) dialing[i] = NULL;
    }
    dials_failed += code != 0;
    rsl_creation ticket = l->ticket;
    if (code != 0) free(l);
    rsl_pool_supply(pool, &ticket, code, code == 0 ? l : NULL);
    look_for_work();
}

static void dial_give_up(line *l, int code)
{
    unwatch(l);
    rsl_postgres_close(l->conn);
    dial_end(l, code);
}

static void dial_goes_on(uv_poll_t *watched, int status, int events)
{
    line *l = watched->data;
    (void)status, (void)events; /* libpq looks for itself */
    unwatch(l);
    PostgresPollingStatusType wanted = PQconnectPoll(l->conn);
    if (wanted == PGRES_POLLING_OK || wanted == PGRES_POLLING_FAILED) {
        dial_end(l, rsl_postgres_connect_finish(l->conn, &server));
    } else if (!watch(l, wanted == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE,
                      dial_goes_on)) {
        dial_give_up(l, RSL_ESYS);
    }
}

static void dial(const rsl_creation *ticket)
{
    line *l = calloc(1, sizeof *l);
    rsl_creation failed = *ticket;
    int code = l != NULL ? rsl_postgres_connect_start(&l->conn, &server) : RSL_ENOMEM;
    if (code != RSL_OK) {
        free(l);
        dials_failed++;
        rsl_pool_supply(pool, &failed, code, NULL);
        return;
    }
    l->ticket = *ticket;
    l->give_up = rsl_now() + RSL_SEC(5);
    for (int i = 0; i < CREATING; i++) {
        if (dialing[i] != NULL) continue;
        dialing[i] = l;
        break;
    }
    if (!watch(l, UV_WRITABLE, dial_goes_on)) dial_give_up(l, RSL_ESYS);
}

static void upkeep_due(uv_timer_t *timer)
{
    (void)timer;
    look_for_work();
}

static void look_for_work(void)
{
    rsl_creation ticket;
    while (rsl_pool_wanted(pool, &ticket) == RSL_OK) dial(&ticket);
    rsl_time next = rsl_pool_maintain(pool);
    uv_timer_stop(&upkeep);
    if (next == RSL_FOREVER) return;
    rsl_time span = next - rsl_now();
    uint64_t wait = span > 0 ? (uint64_t)((span + RSL_MS(1) - 1) / RSL_MS(1)) : 1;
    uv_timer_start(&upkeep, upkeep_due, wait, 0);
}

/* ---- a query ---- */

static void query_end(line *l, int code)
{
    job *j = l->user;
    unwatch(l);
    l->user = NULL;
    j->asks = false;
    if (code == RSL_ETIMEOUT || rsl_postgres_is_lost(code) || rsl_postgres_is_broken(l->conn))
        rsl_pool_discard(pool, &j->lease);
    else
        rsl_pool_release(pool, &j->lease);
    if (code != 0 && rsl_postgres_is_retryable(code, NULL) && rsl_now() < j->deadline)
        job_begin(j); /* a query that only reads may be sent again */
    else
        job_end(j, code);
}

static void query_goes_on(uv_poll_t *watched, int status, int events)
{
    line *l = watched->data;
    (void)status, (void)events;
    if (!PQconsumeInput(l->conn)) unwatch(l); /* its socket is closed */
    while (!PQisBusy(l->conn)) {
        PGresult *result = PQgetResult(l->conn);
        if (result == NULL) {
            query_end(l, l->code);
            return;
        }
        if (l->code == RSL_OK) l->code = rsl_postgres_result(l->conn, result);
        if (l->code == RSL_OK && PQntuples(result) == 1)
            l->user->number = atoi(PQgetvalue(result, 0, 0));
        PQclear(result);
    }
    if (l->watch == NULL) query_end(l, RSL_POSTGRES_LOST);
}

static void query_begin(job *j)
{
    line *l = j->lease.resource;
    l->user = j;
    l->code = RSL_OK;
    j->asks = true;
    j->attempts++;
    if (!PQsendQuery(l->conn, j->sql) || !watch(l, UV_READABLE, query_goes_on))
        query_end(l, RSL_POSTGRES_LOST);
}

/* ---- a job: acquires, queries, releases; and once more when the connection is lost ---- */

static void job_goes_on(job *j, int status)
{
    j->waits = status == RSL_WAIT;
    if (j->waits) look_for_work();
    else if (status == RSL_OK) query_begin(j);
    else job_end(j, status);
}

static void job_begin(job *j)
{
    rsl_ctx ctx = {.deadline = j->deadline};
    job_goes_on(j, rsl_pool_begin(pool, &ctx, &j->waiter, &j->lease));
}

static void job_poll(job *j)
{
    if (j->waits) job_goes_on(j, rsl_pool_poll(pool, &j->waiter, &j->lease, rsl_now()));
}

static void job_wake(void *user) { uv_async_send(&((job *)user)->wake); } /* from any thread */
static void job_woken(uv_async_t *wake) { job_poll(wake->data); }

/* What it waits for may be the pool or the server. */
static void job_late(job *j)
{
    if (j->asks) query_end(j->lease.resource, RSL_ETIMEOUT);
    else job_poll(j);
}

static void job_end(job *j, int code)
{
    j->code = code;
    j->ended = true;
    uv_close((uv_handle_t *)&j->wake, NULL);
    if (code != 0 && (j == &census || ended - answered < 3)) /* the first tell enough */
        fprintf(stderr, "%s: %s\n", j->sql, rsl_postgres_message(code));
    if (j == &census) return;
    ended++;
    answered += code == 0;
    repeated += j->attempts > 1;
}

static void job_start(job *j, const char *sql)
{
    *j = (job){.sql = sql, .deadline = rsl_now() + RSL_SEC(JOB_S)};
    j->waiter.wake = job_wake;
    j->waiter.user = j;
    j->wake.data = j;
    int status = uv_async_init(uv_default_loop(), &j->wake, job_woken);
    if (status != 0) {
        fprintf(stderr, "pool_uv: %s\n", uv_strerror(status));
        exit(1);
    }
    job_begin(j);
}

/* ---- the load, the outage, and who is late ---- */

static void server_is_back(uv_process_t *process, int64_t code, int signal)
{
    restart_over = true;
    if (code == 0 && signal == 0) restarted = rsl_now();
    else fprintf(stderr, "pool_uv: the restart ended with %d\n", signal != 0 ? signal : (int)code);
    uv_close((uv_handle_t *)process, NULL);
}

static void server_restart(void)
{
    char *args[] = {"tools/postgres", "restart", getenv("RSL_POSTGRES_FOLDER"), NULL};
    uv_stdio_container_t streams[] = {
        {.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD, .data.fd = 2}};
    uv_process_options_t options = {.file = args[0], .args = args, .exit_cb = server_is_back,
                                    .stdio = streams, .stdio_count = 3};
    int status = uv_spawn(uv_default_loop(), &restart, &options);
    if (status == 0) return;
    fprintf(stderr, "pool_uv: tools/postgres: %s\n", uv_strerror(status));
    restart_over = true;
    uv_close((uv_handle_t *)&restart, NULL);
}

static bool is_dialing(void)
{
    for (int i = 0; i < CREATING; i++) {
        if (dialing[i] != NULL) return true;
    }
    return false;
}

/* Asks the server until it agrees with the pool, for it learns late of who has gone. */
static void count_or_end(const rsl_pool_stats *s)
{
    bool counted = census.ended && (census.code != 0 || census.number == (int)s->open);
    if (counted) {
        uv_close((uv_handle_t *)&upkeep, NULL);
        uv_close((uv_handle_t *)&tick, NULL);
    } else if ((census.ended || census.sql == NULL) && !is_dialing()) {
        job_start(&census, "SELECT count(*) FROM pg_stat_activity "
                           "WHERE application_name = 'pool_uv'");
    }
}

static void give_up(const rsl_pool_stats *s)
{
    int waiting = 0, asking = 0;
    for (int i = 0; i < begun; i++) {
        waiting += jobs[i].waits;
        asking += jobs[i].asks;
    }
    fprintf(stderr, "pool_uv: not done after %d s. %d jobs begun, %d ended, %d answered; %d wait, "
            "%d ask the server\n", ALL_S, begun, ended, answered, waiting, asking);
    fprintf(stderr, "the pool: %d open, %d in use, %d being made, %d wait; %d made, %d failed\n",
            (int)s->open, (int)s->in_use, (int)s->creating, (int)s->waiting, (int)s->created,
            (int)s->create_failed);
    fprintf(stderr, "the loop: %s; the restart is %s; the census %s, of %d\n",
            is_dialing() ? "is connecting" : "connects to nothing",
            restart_over ? "over" : begun >= JOBS / 3 ? "under way" : "to come",
            census.waits ? "waits" : census.asks ? "asks" : census.ended ? "ended" : "is to come",
            census.number);
    exit(1);
}

static void tick_now(uv_timer_t *timer)
{
    (void)timer;
    rsl_pool_stats s;
    rsl_pool_stats_get(pool, &s);
    rsl_time now = rsl_now();
    if (now - started > RSL_SEC(ALL_S)) give_up(&s);
    for (int i = 0; i < 4 && begun < (restart_over ? JOBS : JOBS - JOBS / 4); i++) {
        if (begun == JOBS / 3) server_restart();
        job_start(&jobs[begun++], "SELECT 1 FROM pg_sleep(0.005)");
    }
    if (ended == JOBS) count_or_end(&s);
    for (int i = 0; i < begun; i++) {
        if (now >= jobs[i].deadline) job_late(&jobs[i]);
    }
    if (census.sql != NULL && now >= census.deadline) job_late(&census);
    for (int i = 0; i < CREATING; i++) {
        if (dialing[i] != NULL && now >= dialing[i]->give_up)
            dial_give_up(dialing[i], RSL_ETIMEOUT);
    }
}

/* The loop itself stands still, which is what this example says never happens. */
static void on_alarm(int signal)
{
    static const char text[] = "pool_uv: something has blocked the loop\n";
    (void)signal;
    if (write(2, text, sizeof text - 1) < 0) _exit(2);
    _exit(1);
}

static bool report(void)
{
    rsl_pool_stats s;
    rsl_pool_stats_get(pool, &s);
    printf("%d jobs on one thread in %d ms: %d answered, %d of them took several attempts\n",
           JOBS, (int)((rsl_now() - started) / RSL_MS(1)), answered, repeated);
    printf("the server was restarted %s; the pool made %d connections, dropped %d, and was told "
           "of %d that failed\n", restarted != 0 ? "in between" : "in vain", (int)s.created,
           (int)s.destroyed, dials_failed);
    printf("%d leases, of which %d waited, the longest for %.0f ms; open at the end: %d, says the "
           "server: %d\n", (int)s.acquired, (int)s.waited, (double)s.wait_max / 1e6, (int)s.open,
           census.number);
    return answered == JOBS && restarted != 0 && s.open == (uint32_t)census.number &&
           s.open <= SIZE && s.in_use == 0 && s.created - s.destroyed == s.open &&
           s.create_failed == (uint64_t)dials_failed && s.destroyed > 0;
}

int main(int argc, char **argv)
{
    server.conninfo = getenv("RSL_POSTGRES");
    if (server.conninfo == NULL && argc == 1) { /* an argument: we have been here before */
        execl("tools/postgres", "postgres", "with", argv[0], "beside a server", (char *)NULL);
    }
    if (server.conninfo == NULL || getenv("RSL_POSTGRES_FOLDER") == NULL) {
        fputs("pool_uv: needs tools/postgres, from the project's root\n", stderr);
        return 1;
    }
    rsl_pool_config config = {
        .destroy = destroy, .validate = validate, .validate_after = RSL_NONE, .size_max = SIZE,
        .creating_max = CREATING, .create_backoff_max = RSL_MS(100), .caller_maintains = true};
    int status = rsl_pool_open(&pool, &config);
    if (status != RSL_OK) {
        fprintf(stderr, "pool_uv: %s\n", rsl_strerror(status));
        return 1;
    }
    uv_loop_t *loop = uv_default_loop();
    signal(SIGALRM, on_alarm);
    alarm(BLOCKED_S);
    started = rsl_now();
    uv_timer_init(loop, &upkeep);
    uv_timer_init(loop, &tick);
    uv_timer_start(&tick, tick_now, 10, 10);
    uv_run(loop, UV_RUN_DEFAULT);

    bool proved = report();
    rsl_ctx soon = rsl_within(RSL_SEC(5));
    proved = rsl_pool_close(pool, &soon) == RSL_OK && proved;
    uv_run(loop, UV_RUN_DEFAULT); /* closes what the last connections left */
    proved = uv_loop_close(loop) == 0 && proved;
    printf("nobody was blocked, and nobody was forgotten: %s\n", proved ? "yes" : "no");
    return proved ? 0 : 1;
}
