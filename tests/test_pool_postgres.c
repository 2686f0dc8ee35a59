/* SPDX-License-Identifier: MIT
   test_pool_postgres.c: pool.h with adapters/postgres.h on a real server: backends killed while
   idle and in mid-query, restarts under load, a full server, one that is down for a while, forks,
   two databases; and after each test the server has just the connections that the pool says.

   Limits in time are what was allowed and a slack that grows on a slow or busy machine: canary
   threads measure how late sleeps end.                                                         */
#define _DEFAULT_SOURCE 1
#include "support/allocator.h"

#define RSL_IMPLEMENTATION
#include "resilience.h"
#define RSL_POSTGRES_IMPLEMENTATION
#include "adapters/postgres.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/postgres.h"
#include "support/support.h"

#if defined __SANITIZE_THREAD__
#define UNDER_TSAN 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

static const rsl_time LATE = RSL_SEC(30);
static const char *const SLEEP = "SELECT pg_sleep(60)";

/* How many times slower than usual a connect is here: sanitizers, valgrind, other work. */
static rsl_time slowness = 1;

static void nap(rsl_time span)
{
    struct timespec t = {(time_t)(span / RSL_SEC(1)), (long)(span % RSL_SEC(1))};
    nanosleep(&t, NULL);
}

/* Waits, at most until LATE, for what other threads bring about. */
#define EVENTUALLY(condition)                    \
    do {                                         \
        rsl_time end_ = rsl_now() + LATE;        \
        while (!(condition) && rsl_now() < end_) \
            nap(RSL_US(500));                    \
        assert_true(condition);                  \
    } while (0)

/* -------------------------------------------------------------------- docks */

/* A pool of connections that all bear one application_name. Must not move. */
typedef struct dock {
    rsl_postgres_config config; /* first: the callbacks' user is both */
    rsl_pool   *pool;
    rsl_pools  *pools;          /* set: the pool is one of keys, which are databases */
    char        conninfo[400];
    _Atomic int created, destroyed, abandoned, leaked, stragglers;
    _Atomic int live[3], live_max[3]; /* of keyed pools: shop, mail; and of both */
    void       *kept[16];       /* what a child abandons: it stays taken, and must not count as
                                   leaked */
} dock;

static int dock_create(void *user, const rsl_ctx *ctx, void **resource)
{
    dock *d = user;
    int code = rsl_postgres_create(&d->config, ctx, resource);
    if (code == RSL_OK) atomic_fetch_add(&d->created, 1);
    return code;
}

static void note_max(_Atomic int *most, int number)
{
    int before = atomic_load(most);
    while (number > before && !atomic_compare_exchange_weak(most, &before, number)) continue;
}

static void dock_count_live(dock *d, const char *database, int change)
{
    int i = strcmp(database, "mail") == 0;
    note_max(&d->live_max[i], atomic_fetch_add(&d->live[i], change) + change);
    note_max(&d->live_max[2], atomic_fetch_add(&d->live[2], change) + change);
}

static int dock_create_keyed(void *user, const rsl_ctx *ctx, const char *key, void **resource)
{
    dock *d = user;
    char conninfo[700];
    rsl_postgres_config config = d->config;
    (void)snprintf(conninfo, sizeof conninfo, "%s dbname=%s", d->conninfo, key);
    config.conninfo = conninfo;
    int code = rsl_postgres_create(&config, ctx, resource);
    if (code == RSL_OK) atomic_fetch_add(&d->created, 1);
    if (code == RSL_OK) dock_count_live(d, key, 1);
    return code;
}

static void dock_destroy(void *user, void *resource)
{
    dock *d = user;
    if (d->pools != NULL) dock_count_live(d, PQdb(resource), -1);
    rsl_postgres_destroy(&d->config, resource);
    atomic_fetch_add(&d->destroyed, 1);
}

static void dock_abandon(void *user, void *resource)
{
    dock *d = user;
    rsl_postgres_abandon(&d->config, resource);
    d->kept[atomic_fetch_add(&d->abandoned, 1) % 16] = resource;
}

static void dock_on_event(const rsl_event *event, void *user)
{
    dock *d = user;
    if (event->kind == RSL_POOL_LEAKED) atomic_fetch_add(&d->leaked, 1);
    if (event->kind == RSL_POOL_STRAGGLER) atomic_fetch_add(&d->stragglers, 1);
}

/* For the layer: a timeout alone does not cost the connection, reset finds out. */
static bool is_lost(int result, void *user)
{
    (void)user;
    return rsl_postgres_is_lost(result);
}

static rsl_pool_config dock_config(dock *d, const char *name, rsl_pool_config config)
{
    /* What was committed survives a crash, for the bookings are counted. */
    (void)snprintf(d->conninfo, sizeof d->conninfo, "%s sslmode=disable gssencmode=disable "
                   "options='-c synchronous_commit=on'", postgres.conninfo);
    d->config.conninfo = d->conninfo;
    d->config.application_name = name;
    d->config.cancel_timeout = RSL_MS(200) * slowness;
    d->config.validate_timeout = RSL_MS(500) * slowness;
    config.create = dock_create;
    config.destroy = dock_destroy;
    config.validate = rsl_postgres_validate;
    config.reset = rsl_postgres_reset;
    config.abandon = dock_abandon;
    config.is_broken = is_lost;
    config.user = d;
    config.observer = (rsl_observer){dock_on_event, d};
    if (config.create_backoff_max == 0) config.create_backoff_max = RSL_MS(50);
    return config;
}

static void dock_open(dock *d, const char *name, rsl_pool_config config)
{
    config = dock_config(d, name, config);
    assert_null(rsl_pool_config_check(&config));
    assert_int_equal(rsl_pool_open(&d->pool, &config), RSL_OK);
}

static rsl_pool_stats stats_of(dock *d)
{
    rsl_pool_stats stats;
    rsl_pool_stats_get(d->pool, &stats);
    return stats;
}

/* Nothing is out: the server has the connections that the pool says, and no other. */
static void dock_agrees(dock *d)
{
    EVENTUALLY(stats_of(d).creating == 0);
    rsl_pool_stats stats = stats_of(d);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.open, stats.idle + stats.in_use);
    assert_true(stats.created - stats.destroyed == stats.open);
    assert_true(postgres_count_becomes(d->config.application_name, stats.open));
}

static int dock_close(dock *d, rsl_time span)
{
    rsl_ctx ctx = rsl_within(span);
    int code = d->pools != NULL ? rsl_pools_close(d->pools, &ctx) : rsl_pool_close(d->pool, &ctx);
    if (code == RSL_OK) {
        d->pool = NULL;
        d->pools = NULL;
    }
    return code;
}

static void dock_end(dock *d)
{
    dock_agrees(d);
    assert_int_equal(stats_of(d).in_use, 0);
    assert_int_equal(dock_close(d, LATE), RSL_OK);
    assert_int_equal(atomic_load(&d->created), atomic_load(&d->destroyed));
    assert_true(postgres_count_becomes(d->config.application_name, 0));
}

static rsl_pool_lease take(dock *d)
{
    rsl_pool_lease lease;
    rsl_ctx ctx = rsl_within(LATE);
    int code = rsl_pool_acquire(d->pool, &ctx, &lease);
    if (code != RSL_OK) fail_msg("acquire: %d", code);
    return lease;
}

static void give(dock *d, rsl_pool_lease *lease)
{
    assert_int_equal(rsl_pool_release(d->pool, lease), RSL_OK);
}

/* So many connections are open and idle. */
static void warm(dock *d, size_t count)
{
    rsl_pool_lease leases[8];
    for (size_t i = 0; i < count; i++) leases[i] = take(d);
    for (size_t i = 0; i < count; i++) give(d, &leases[i]);
    assert_int_equal(stats_of(d).idle, count);
}

/* --------------------------------------------------------------- statements */

static int ping(PGconn *conn, const rsl_ctx *ctx)
{
    rsl_postgres_query query = {.sql = "SELECT 1", .changes_nothing = true};
    return rsl_postgres_run(conn, ctx, &query, NULL);
}

static void must(const rsl_pool_lease *lease, const char *sql)
{
    PGconn *conn = lease->resource;
    if (rsl_postgres_exec(conn, NULL, sql, NULL) != RSL_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
}

static void assert_text(const rsl_pool_lease *lease, const char *sql, const char *wanted)
{
    PGresult *result = NULL;
    char text[100];
    assert_int_equal(rsl_postgres_exec(lease->resource, NULL, sql, &result), RSL_OK);
    (void)snprintf(text, sizeof text, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    assert_string_equal(text, wanted);
}

static int backend(const rsl_pool_lease *lease)
{
    return PQbackendPID(lease->resource);
}

/* How many backends of this number there are. */
static long backend_lives(int pid)
{
    char sql[100];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE pid = %d", pid);
    return postgres_number(sql);
}

static bool is_rerun(int code)
{
    return rsl_postgres_classify(code) == RSL_POSTGRES_RERUN;
}

/* ------------------------------------------------------------------ threads */

enum { CANARIES = 4 };

/* Measure how late this machine ends sleeps of various lengths. */
typedef struct canary {
    pthread_t       threads[CANARIES];
    int             started;
    _Atomic bool    stop;
    _Atomic int     next;
    _Atomic int64_t worst;
} canary;

static void *canary_main(void *arg)
{
    canary *c = arg;
    rsl_time span = RSL_MS(5) << (2 * atomic_fetch_add(&c->next, 1)); /* to a third of a second */
    while (!atomic_load(&c->stop)) {
        rsl_time start = rsl_now();
        nap(span);
        int64_t late = rsl_now() - start - span, worst = atomic_load(&c->worst);
        while (late > worst && !atomic_compare_exchange_weak(&c->worst, &worst, late)) continue;
    }
    return NULL;
}

static rsl_time slack_of(canary *c)
{
    return RSL_MS(300) * slowness + 2 * atomic_load(&c->worst);
}

/* One who acquires once, looks whether the connection answers, and gives it back. */
typedef struct caller {
    pthread_t   thread;
    bool        started;
    dock       *dock;
    rsl_time    allowed;
    rsl_cancel *cancel;  /* (none) */
    const char *sql;     /* (a ping) */
    _Atomic int done;
    int         acquired, answered; /* the codes */
    int         pid;
    rsl_time    took;    /* of the acquire */
} caller;

static void *caller_main(void *arg)
{
    caller *c = arg;
    rsl_pool_lease lease;
    rsl_time start = rsl_now();
    rsl_ctx ctx = rsl_within(c->allowed);
    ctx.cancel = c->cancel;
    c->acquired = rsl_pool_acquire(c->dock->pool, &ctx, &lease);
    c->took = rsl_now() - start;
    if (c->acquired == RSL_OK) {
        c->pid = backend(&lease);
        c->answered = c->sql == NULL ? ping(lease.resource, NULL)
                                     : rsl_postgres_exec(lease.resource, &ctx, c->sql, NULL);
        rsl_pool_release(c->dock->pool, &lease);
    }
    atomic_store(&c->done, 1);
    return NULL;
}

enum { LOAD_THREADS = 8, CALLERS_MAX = 12 };

/* One of those who work all the time, each booking a row in a transaction per call. */
typedef struct worker {
    struct load *load;
    int          number;
    rsl_pool_lease lease;   /* of the layer */
    rsl_time     late;      /* worst end past its deadline */
    int          dirty;     /* a result that nobody should see; 0: none */
    int          unknown;
    _Atomic int  served;
    int          failed;
} worker;

typedef struct load {
    dock        *dock;
    rsl_retry    retry;
    rsl_breaker  breaker;
    rsl_time     allowed;   /* to each call */
    uint32_t     doomed;    /* so many connections must end on the way */
    pthread_t    threads[LOAD_THREADS];
    int          started;
    _Atomic bool stop;
    worker       workers[LOAD_THREADS];
} load;

typedef struct fixture {
    dock    dock, other;
    canary  canary;
    load    load;
    caller  callers[CALLERS_MAX];
    int     callers_count;
    PGconn *fillers[32];
    int     fillers_count;
} fixture;

static void canaries_start(fixture *f)
{
    canary *c = &f->canary;
    for (int i = 0; i < CANARIES; i++) {
        assert_int_equal(pthread_create(&c->threads[i], NULL, canary_main, c), 0);
        c->started++;
    }
}

static void canaries_stop(fixture *f)
{
    atomic_store(&f->canary.stop, true);
    while (f->canary.started > 0) pthread_join(f->canary.threads[--f->canary.started], NULL);
}

static caller *caller_prepare(fixture *f, dock *d, rsl_time allowed)
{
    assert_true(f->callers_count < CALLERS_MAX);
    caller *c = &f->callers[f->callers_count++];
    memset(c, 0, sizeof *c);
    c->dock = d;
    c->allowed = allowed;
    return c;
}

static void caller_start(caller *c)
{
    assert_int_equal(pthread_create(&c->thread, NULL, caller_main, c), 0);
    c->started = true;
}

static caller *call(fixture *f, dock *d, rsl_time allowed)
{
    caller *c = caller_prepare(f, d, allowed);
    caller_start(c);
    return c;
}

static void callers_join(fixture *f)
{
    for (int i = 0; i < f->callers_count; i++) {
        if (f->callers[i].started) pthread_join(f->callers[i].thread, NULL);
        f->callers[i].started = false;
    }
    f->callers_count = 0;
}

static void fillers_close(fixture *f)
{
    while (f->fillers_count > 0) PQfinish(f->fillers[--f->fillers_count]);
}

static void load_stop(load *l)
{
    atomic_store(&l->stop, true);
    while (l->started > 0) pthread_join(l->threads[--l->started], NULL);
}

/* ----------------------------------------------------------------- fixtures */

static int set_up_group(void **state)
{
    (void)state;
    if (postgres_start("max_connections=18") != 0) return -1;
    postgres_do_sql("CREATE TABLE ledger(worker int NOT NULL); CREATE ROLE pool_app LOGIN");
    postgres_do_sql("CREATE DATABASE shop");
    postgres_do_sql("CREATE DATABASE mail");
    rsl_time start = rsl_now();
    for (int i = 0; i < 3; i++) PQfinish(PQconnectdb(postgres.conninfo));
    slowness = (rsl_now() - start) / 3 / RSL_MS(15) + 1;
    if (slowness > 10) slowness = 10;
    return 0;
}

static int tear_down_group(void **state)
{
    (void)state;
    return postgres_stop();
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    postgres_do_sql("TRUNCATE ledger");
    *state = f;
    return 0;
}

/* Whatever a failed test left running ends here; a sound one leaves nothing. */
static int tear_down(void **state)
{
    fixture *f = *state;
    load_stop(&f->load);
    callers_join(f);
    canaries_stop(f);
    fillers_close(f);
    bool left = f->dock.pool != NULL || f->other.pool != NULL;
    if (f->dock.pool != NULL) (void)dock_close(&f->dock, RSL_SEC(1));
    if (f->other.pool != NULL) (void)dock_close(&f->other, RSL_SEC(1));
    if (left) { /* leases may be out: what they refer to is kept; the next test begins anew */
        char arguments[300];
        (void)snprintf(arguments, sizeof arguments, "restart %s fast", postgres.folder);
        (void)postgres_tool_(arguments, NULL, 0);
        return -1;
    }
    free(f);
    return postgres_becomes("SELECT count(*) FROM pg_stat_activity WHERE backend_type = "
                            "'client backend' AND application_name <> 'admin'", 0) ? 0 : -1;
}

/* --------------------------------------------------- backends that are killed */

static void what_was_killed_while_idle_is_replaced_before_anybody_sees_it(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    dock_open(d, "pool", (rsl_pool_config){.size_max = 3, .validate_after = RSL_NONE});
    warm(d, 3);
    assert_int_equal(postgres_kill("pool"), 3);
    for (int i = 0; i < 5; i++) {
        rsl_pool_lease lease = take(d);
        assert_int_equal(ping(lease.resource, NULL), RSL_OK);
        give(d, &lease);
    }
    rsl_pool_stats stats = stats_of(d);
    assert_int_equal(stats.invalid, 3);
    assert_int_equal(stats.created, 4);
    dock_end(d);
}

/* A function that uses what it is lent, and how often it was called. */
typedef struct attempts {
    dock          *dock;
    rsl_pool_lease lease; /* of the layer */
    int            count;
    int            first; /* the code of the first */
} attempts;

static int try_once(PGconn *conn, const rsl_ctx *ctx, attempts *a)
{
    int code = rsl_postgres_exec(conn, ctx, "INSERT INTO ledger VALUES (0)", NULL);
    if (a->count++ == 0) a->first = code;
    return code;
}

static int use_once(const rsl_ctx *ctx, void *conn, void *arg, bool *broken)
{
    int code = try_once(conn, ctx, arg);
    *broken = rsl_postgres_is_broken(conn);
    return code;
}

static int try_by_use(const rsl_ctx *ctx, void *arg)
{
    attempts *a = arg;
    return rsl_pool_use(a->dock->pool, ctx, use_once, a);
}

static int try_by_layer(const rsl_ctx *ctx, void *arg)
{
    attempts *a = arg;
    return try_once(a->lease.resource, ctx, a);
}

static void expect_one_failure_and_a_rerun(dock *d, attempts *a, int code, const char *rows)
{
    assert_int_equal(code, RSL_OK);
    assert_int_equal(a->count, 2);
    assert_true(is_rerun(a->first));
    assert_int_equal(stats_of(d).closed_broken, 1);
    rsl_pool_lease lease = take(d);
    assert_text(&lease, "SELECT count(*) FROM ledger", rows);
    give(d, &lease);
    dock_end(d);
}

/* Idle for less than validate_after: nobody looked. */
static void with_the_bypass_one_statement_fails_and_a_retry_reruns_it(void **state)
{
    fixture *f = *state;
    rsl_pool_config config = {.size_max = 1, .validate_after = RSL_SEC(3600)};
    rsl_retry_config retries = {.retryable = rsl_postgres_is_retryable, .attempts_max = 3,
                                .delay_first = RSL_MS(1)};
    rsl_retry retry;
    assert_int_equal(rsl_retry_init(&retry, &retries), RSL_OK);
    rsl_ctx ctx = rsl_within(LATE);
    attempts by_use = {.dock = &f->dock}, by_layer = {.dock = &f->other};

    dock_open(&f->dock, "pool", config);
    warm(&f->dock, 1);
    assert_int_equal(postgres_kill("pool"), 1);
    int code = rsl_retry_call(&retry, &ctx, try_by_use, &by_use);
    expect_one_failure_and_a_rerun(&f->dock, &by_use, code, "1");

    dock_open(&f->other, "pool", config);
    warm(&f->other, 1);
    assert_int_equal(postgres_kill("pool"), 1);
    rsl_layer policy[] = {rsl_retry_layer(&retry),
                          rsl_pool_layer(f->other.pool, &by_layer.lease)};
    code = rsl_run(policy, RSL_COUNT(policy), &ctx, try_by_layer, &by_layer);
    expect_one_failure_and_a_rerun(&f->other, &by_layer, code, "2");
    rsl_retry_deinit(&retry);
}

static void with_keepalive_the_pool_heals_though_nobody_acquires(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    dock_open(d, "pool", (rsl_pool_config){.size_min = 2, .size_max = 3,
                                           .keepalive = RSL_MS(50)});
    EVENTUALLY(stats_of(d).idle == 2);
    assert_int_equal(postgres_kill("pool"), 2);
    EVENTUALLY(stats_of(d).created >= 4 && stats_of(d).idle == 2);
    assert_int_equal(stats_of(d).acquired, 0);
    dock_end(d);
}

/* Ends the backend of a lease that runs a statement; its answer then lies in the socket. */
static void kill_at_work(const rsl_pool_lease *lease)
{
    char sql[100];
    assert_true(PQsendQuery(lease->resource, SLEEP));
    assert_true(postgres_is_active("pool"));
    (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 10000)::int",
                   backend(lease));
    assert_int_equal(postgres_number(sql), 1);
}

static void what_was_killed_in_mid_query_is_never_reused(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    dock_open(d, "pool", (rsl_pool_config){.size_max = 1});
    for (int discard = 0; discard < 2; discard++) {
        rsl_pool_lease lease = take(d);
        int pid = backend(&lease);
        kill_at_work(&lease);
        PGresult *result = PQgetResult(lease.resource);
        assert_int_equal(rsl_postgres_result(lease.resource, result),
                         RSL_POSTGRES_ADMIN_SHUTDOWN);
        PQclear(result);
        assert_int_equal(PQstatus(lease.resource), CONNECTION_OK); /* as if nothing had been */
        assert_true(rsl_postgres_is_broken(lease.resource));
        if (discard) assert_int_equal(rsl_pool_discard(d->pool, &lease), RSL_OK);
        else give(d, &lease); /* its reset fails */
        assert_int_equal(stats_of(d).closed_broken, discard + 1);
        lease = take(d);
        assert_int_not_equal(backend(&lease), pid);
        assert_int_equal(ping(lease.resource, NULL), RSL_OK);
        give(d, &lease);
    }
    dock_end(d);
}

static int read_slowly(const rsl_ctx *ctx, void *conn, void *arg, bool *broken)
{
    int *code = arg;
    rsl_postgres_query query = {.sql = SLEEP, .changes_nothing = true};
    *code = rsl_postgres_run(conn, ctx, &query, NULL);
    *broken = rsl_postgres_is_broken(conn);
    return *broken ? 1 : 2;
}

static void *kill_soon(void *arg)
{
    (void)arg;
    char conninfo[300];
    (void)snprintf(conninfo, sizeof conninfo, "%s application_name=admin", postgres.conninfo);
    PGconn *conn = PQconnectdb(conninfo);
    PGresult *result = NULL;
    do { /* until there was one to end */
        PQclear(result);
        nap(RSL_MS(5));
        result = PQexec(conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                              "application_name = 'pool' AND state = 'active'");
    } while (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 0);
    PQclear(result);
    PQfinish(conn);
    return NULL;
}

static void use_discards_what_was_killed_in_mid_query(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    pthread_t killer;
    int code = RSL_OK;
    dock_open(d, "pool", (rsl_pool_config){.size_max = 2});
    rsl_ctx ctx = rsl_within(LATE);
    assert_int_equal(pthread_create(&killer, NULL, kill_soon, NULL), 0);
    int result = rsl_pool_use(d->pool, &ctx, read_slowly, &code);
    pthread_join(killer, NULL);
    assert_int_equal(result, 1);
    assert_true(is_rerun(code));
    assert_int_equal(stats_of(d).closed_broken, 1);
    assert_int_equal(stats_of(d).open, 0);
    dock_end(d);
}

static int call_it_broken(const rsl_ctx *ctx, void *conn, void *arg, bool *broken)
{
    (void)ctx;
    *(int *)arg = PQbackendPID(conn);
    *broken = true;
    return 3;
}

static void what_is_discarded_is_closed_though_it_works(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    dock_open(d, "pool", (rsl_pool_config){.size_max = 1});
    rsl_pool_lease lease = take(d);
    int first = backend(&lease), second = 0;
    assert_int_equal(rsl_pool_discard(d->pool, &lease), RSL_OK);
    assert_int_equal(rsl_pool_use(d->pool, NULL, call_it_broken, &second), 3);
    EVENTUALLY(backend_lives(first) + backend_lives(second) == 0);
    lease = take(d);
    assert_true(first != second && backend(&lease) != first && backend(&lease) != second);
    assert_int_equal(stats_of(d).closed_broken, 2);
    give(d, &lease);
    dock_end(d);
}

/* -------------------------------------------------------- a server restarted */

static int book(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    worker *w = arg;
    char sql[80];
    (void)snprintf(sql, sizeof sql, "INSERT INTO ledger VALUES (%d)", w->number);
    return rsl_postgres_exec(conn, ctx, sql, NULL);
}

static int book_lent(const rsl_ctx *ctx, void *conn, void *arg, bool *broken)
{
    int code = rsl_postgres_transaction(conn, ctx, RSL_POSTGRES_DEFAULT_ISOLATION, 0, book, arg);
    *broken = rsl_postgres_is_broken(conn);
    return code;
}

static int book_by_use(const rsl_ctx *ctx, void *arg)
{
    worker *w = arg;
    return rsl_pool_use(w->load->dock->pool, ctx, book_lent, w);
}

static int book_by_layer(const rsl_ctx *ctx, void *arg)
{
    worker *w = arg;
    return rsl_postgres_transaction(w->lease.resource, ctx, RSL_POSTGRES_DEFAULT_ISOLATION, 0,
                                    book, w);
}

/* Half of them by retry, breaker and pool as layers, half by a retry around rsl_pool_use. */
static int work_once(worker *w, const rsl_ctx *ctx)
{
    load *l = w->load;
    if (w->number % 2 == 0) return rsl_retry_call(&l->retry, ctx, book_by_use, w);
    rsl_layer policy[] = {rsl_retry_layer(&l->retry), rsl_breaker_layer(&l->breaker),
                          rsl_pool_layer(l->dock->pool, &w->lease)};
    return rsl_run(policy, RSL_COUNT(policy), ctx, book_by_layer, w);
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    while (!atomic_load(&w->load->stop)) {
        rsl_time start = rsl_now();
        rsl_ctx ctx = rsl_within(w->load->allowed);
        int code = work_once(w, &ctx);
        rsl_time late = rsl_now() - start - w->load->allowed;
        if (late > w->late) w->late = late;
        bool unknown = rsl_postgres_classify(code) == RSL_POSTGRES_UNKNOWN;
        bool clean = rsl_postgres_is_retryable(code, NULL) || unknown || code == RSL_EOPEN;
        if (code == RSL_OK) atomic_fetch_add(&w->served, 1);
        else if (!clean) w->dirty = code;
        if (code != RSL_OK) w->failed++;
        w->unknown += unknown;
        nap(code == RSL_OK ? RSL_MS(1) : RSL_MS(5));
    }
    return NULL;
}

static void load_start(load *l, dock *d)
{
    rsl_retry_config retries = {.retryable = rsl_postgres_is_retryable, .attempts_max = 20,
                                .delay_first = RSL_MS(5), .delay_max = RSL_MS(50)};
    rsl_breaker_config breaks = {.is_failure = rsl_postgres_is_failure,
                                 .is_ignored = rsl_postgres_is_ignored,
                                 .open_for = RSL_MS(50)};
    l->dock = d;
    l->allowed = RSL_MS(400) * slowness;
    assert_int_equal(rsl_retry_init(&l->retry, &retries), RSL_OK);
    assert_int_equal(rsl_breaker_init(&l->breaker, &breaks), RSL_OK);
    for (int i = 0; i < LOAD_THREADS; i++) {
        l->workers[i].load = l;
        l->workers[i].number = i;
        assert_int_equal(pthread_create(&l->threads[i], NULL, worker_main, &l->workers[i]), 0);
        l->started++;
    }
}

/* Waits until every worker has been served so many times more. */
static void load_serves_all(load *l, int times)
{
    int before[LOAD_THREADS];
    for (int i = 0; i < LOAD_THREADS; i++) before[i] = atomic_load(&l->workers[i].served);
    for (int i = 0; i < LOAD_THREADS; i++)
        EVENTUALLY(atomic_load(&l->workers[i].served) >= before[i] + times);
}

/* Nobody was late, nobody saw what he should not; every booking that was confirmed is there, and
   none that was not, but for those of which nobody knows. */
static void load_end(fixture *f)
{
    load *l = &f->load;
    long served = 0, unknown = 0;
    load_stop(l);
    for (int i = 0; i < LOAD_THREADS; i++) {
        worker *w = &l->workers[i];
        if (w->dirty != 0) fail_msg("worker %d was answered %d", i, w->dirty);
        if (w->late > slack_of(&f->canary))
            fail_msg("worker %d was late by %ld us", i, (long)(w->late / RSL_US(1)));
        served += atomic_load(&w->served);
        unknown += w->unknown;
    }
    long booked = postgres_number("SELECT count(*) FROM ledger");
    assert_in_range(booked, served, served + unknown);
    rsl_retry_deinit(&l->retry);
    rsl_breaker_deinit(&l->breaker);
    assert_true(stats_of(l->dock).destroyed >= l->doomed); /* it did happen to them */
    dock_end(l->dock);
}

static void load_begin(fixture *f)
{
    canaries_start(f);
    dock_open(&f->dock, "pool", (rsl_pool_config){.size_max = 4, .creating_max = 2});
    load_start(&f->load, &f->dock);
    load_serves_all(&f->load, 3);
    f->load.doomed = stats_of(&f->dock).open;
    assert_true(f->load.doomed > 0);
}

static void a_server_restarted_under_load_is_survived(void **state)
{
    fixture *f = *state;
    load_begin(f);
    postgres_do("restart", "fast");
    load_serves_all(&f->load, 5);
    load_end(f);
}

static void a_server_that_crashed_under_load_is_survived(void **state)
{
    fixture *f = *state;
    load_begin(f);
    postgres_do("restart", "immediate");
    load_serves_all(&f->load, 5);
    load_end(f);
}

static void a_server_that_is_down_for_a_while_under_load_is_survived(void **state)
{
    fixture *f = *state;
    load_begin(f);
    postgres_do("down", "fast");
    nap(f->load.allowed + RSL_MS(200)); /* longer than any call may last */
    postgres_do("up", "");
    load_serves_all(&f->load, 5);
    int failed = 0;
    load_stop(&f->load);
    for (int i = 0; i < LOAD_THREADS; i++) failed += f->load.workers[i].failed;
    assert_true(failed > 0);
    load_end(f);
}

/* Backends end one after another, while all work. */
static void backends_killed_again_and_again_under_load_are_replaced(void **state)
{
    fixture *f = *state;
    load_begin(f);
    f->load.doomed = 1;
    for (int i = 0; i < 10; i++) {
        postgres_do_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                        "application_name = 'pool' ORDER BY random() LIMIT 2");
        nap(RSL_MS(20));
    }
    load_serves_all(&f->load, 5);
    load_end(f);
}

/* ------------------------------------------------- a server full, or not there */

/* Takes every place that ordinary roles have. */
static void fill_server(fixture *f)
{
    char conninfo[400];
    (void)snprintf(conninfo, sizeof conninfo, "%s user=pool_app application_name=filler "
                   "sslmode=disable gssencmode=disable", postgres.conninfo);
    for (int refused = 0; refused < 3;) {
        PGconn *conn = PQconnectdb(conninfo);
        if (PQstatus(conn) != CONNECTION_OK) {
            PQfinish(conn);
            refused++;
            nap(RSL_MS(5));
            continue;
        }
        assert_true(f->fillers_count < (int)RSL_COUNT(f->fillers));
        f->fillers[f->fillers_count++] = conn;
    }
}

/* Each of some callers is answered in its time, with the code of the creation. */
static void expect_refusals(fixture *f, dock *d, int code)
{
    rsl_time allowed = RSL_MS(400) * slowness;
    caller *callers[3];
    for (size_t i = 0; i < RSL_COUNT(callers); i++)
        callers[i] = call(f, d, allowed + RSL_MS(50) * (rsl_time)i);
    callers_join(f);
    for (size_t i = 0; i < RSL_COUNT(callers); i++) {
        assert_int_equal(callers[i]->acquired, code);
        assert_true(callers[i]->took <= callers[i]->allowed + slack_of(&f->canary));
    }
    assert_int_equal(stats_of(d).waiting, 0);
}

static void open_as_app(fixture *f, rsl_pool_config config)
{
    dock *d = &f->dock;
    config = dock_config(d, "pool", config);
    size_t length = strlen(d->conninfo);
    (void)snprintf(d->conninfo + length, sizeof d->conninfo - length, " user=pool_app");
    assert_int_equal(rsl_pool_open(&d->pool, &config), RSL_OK);
}

static void a_full_server_refuses_in_time_and_is_used_once_it_has_room(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    canaries_start(f);
    open_as_app(f, (rsl_pool_config){.size_max = 4});

    fill_server(f); /* nothing is open yet */
    expect_refusals(f, d, RSL_POSTGRES_TOO_MANY_CONNECTIONS);
    assert_int_equal(stats_of(d).open, 0);
    assert_true(rsl_pool_health(d->pool) & RSL_POOL_CANNOT_CREATE);

    for (int i = 0; i < 2; i++) PQfinish(f->fillers[--f->fillers_count]);
    rsl_pool_lease held[2] = {take(d), take(d)};
    fill_server(f); /* two are held, and go on */
    uint64_t failed = stats_of(d).create_failed;
    caller *patient = call(f, d, LATE);
    for (int i = 0; i < 2; i++) assert_int_equal(ping(held[i].resource, NULL), RSL_OK);
    EVENTUALLY(stats_of(d).create_failed >= failed + 3);
    assert_int_equal(atomic_load(&patient->done), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(ping(held[i].resource, NULL), RSL_OK);

    fillers_close(f);
    callers_join(f);
    assert_int_equal(patient->acquired, RSL_OK);
    assert_int_equal(patient->answered, RSL_OK);
    for (int i = 0; i < 2; i++) give(d, &held[i]);
    warm(d, 4);
    assert_false(rsl_pool_health(d->pool) & RSL_POOL_CANNOT_CREATE);
    dock_end(d);
}

static void who_finds_all_leased_and_the_server_full_is_told_so_at_his_deadline(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    canaries_start(f);
    open_as_app(f, (rsl_pool_config){.size_max = 4});
    rsl_pool_lease held = take(d);
    fill_server(f);
    expect_refusals(f, d, RSL_POSTGRES_TOO_MANY_CONNECTIONS);
    assert_int_equal(ping(held.resource, NULL), RSL_OK);
    caller *next = call(f, d, LATE);
    EVENTUALLY(stats_of(d).waiting == 1);
    int pid = backend(&held);
    give(d, &held); /* what comes back serves as well */
    callers_join(f);
    assert_int_equal(next->acquired, RSL_OK);
    assert_int_equal(next->pid, pid);
    fillers_close(f);
    dock_end(d);
}

static void a_server_that_is_down_refuses_in_time_and_serves_when_it_is_up(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    canaries_start(f);
    dock_open(d, "pool", (rsl_pool_config){.size_max = 3, .validate_after = RSL_NONE});
    warm(d, 3);
    rsl_pool_lease held = take(d);
    postgres_do("down", "fast");
    expect_refusals(f, d, RSL_POSTGRES_UNREACHABLE);
    assert_true(is_rerun(ping(held.resource, NULL)));
    give(d, &held); /* its reset fails */
    assert_int_equal(stats_of(d).open, 0);
    expect_refusals(f, d, RSL_POSTGRES_UNREACHABLE);

    caller *patient[3];
    for (size_t i = 0; i < RSL_COUNT(patient); i++) patient[i] = call(f, d, LATE);
    EVENTUALLY(stats_of(d).waiting == 3);
    postgres_do("up", "");
    callers_join(f);
    for (size_t i = 0; i < RSL_COUNT(patient); i++) {
        assert_int_equal(patient[i]->acquired, RSL_OK);
        assert_int_equal(patient[i]->answered, RSL_OK);
    }
    warm(d, 3);
    dock_end(d);
}

/* ------------------------------------------------------------ two pools, forks */

enum { SAMPLES_MAX = 4000, ROUNDS = 3 };

typedef struct latency { rsl_time median, p99; } latency;
typedef struct latencies { latency acquire, pair; } latencies;

static int compare_times(const void *a, const void *b)
{
    rsl_time x = *(const rsl_time *)a, y = *(const rsl_time *)b;
    return (x > y) - (x < y);
}

static void improve(latency *best, rsl_time *samples, size_t count)
{
    qsort(samples, count, sizeof *samples, compare_times);
    if (samples[count / 2] < best->median) best->median = samples[count / 2];
    if (samples[count * 99 / 100] < best->p99) best->p99 = samples[count * 99 / 100];
}

/* Of acquire, and of acquire and release, which has a reset in it; the best of some rounds: what
   else the machine does is in all of them, but not always in the same measure. */
static latencies measure(dock *d)
{
    static rsl_time acquires[SAMPLES_MAX], pairs[SAMPLES_MAX];
    latencies best = {{RSL_FOREVER, RSL_FOREVER}, {RSL_FOREVER, RSL_FOREVER}};
    for (int round = 0; round < ROUNDS; round++) {
        size_t count = 0;
        rsl_time end = rsl_now() + RSL_SEC(1);
        while (count < SAMPLES_MAX && (count < 200 || rsl_now() < end)) {
            rsl_pool_lease lease;
            rsl_time start = rsl_now();
            int acquired = rsl_pool_acquire(d->pool, NULL, &lease);
            acquires[count] = rsl_now() - start;
            int released = rsl_pool_release(d->pool, &lease);
            pairs[count++] = rsl_now() - start;
            assert_int_equal(acquired, RSL_OK);
            assert_int_equal(released, RSL_OK);
        }
        improve(&best.acquire, acquires, count);
        improve(&best.pair, pairs, count);
    }
    return best;
}

static bool is_as_quick(latency before, latency during, rsl_time noise)
{
    return during.median <= 2 * before.median + noise &&
           during.p99 <= 5 * before.p99 + 50 * noise;
}

static void expect_as_quick(const char *what, latency before, latency during, rsl_time noise)
{
    if (is_as_quick(before, during, noise)) return;
    fail_msg("%s: median %ld ns before, %ld ns during; p99 %ld ns before, %ld ns during", what,
             (long)before.median, (long)during.median, (long)before.p99, (long)during.p99);
}

static void exhausting_one_pool_leaves_the_other_as_quick_as_before(void **state)
{
    fixture *f = *state;
    dock *reader = &f->dock, *writer = &f->other;
    rsl_pool_config config = {.size_max = 2};
    dock_open(reader, "pool_read", config);
    dock_open(writer, "pool_write", config);
    warm(reader, 2);
    warm(writer, 2);
    latencies before = measure(reader);

    rsl_pool_lease held[2] = {take(writer), take(writer)};
    caller *waiting[6];
    for (size_t i = 0; i < RSL_COUNT(waiting); i++) waiting[i] = call(f, writer, RSL_SEC(120));
    EVENTUALLY(stats_of(writer).waiting == RSL_COUNT(waiting));
    rsl_time noise = RSL_US(2) * slowness;
    latencies during = measure(reader);
    for (int again = 0; again < 3 && !(is_as_quick(before.acquire, during.acquire, noise) &&
                                       is_as_quick(before.pair, during.pair, 10 * noise));
         again++)
        during = measure(reader); /* other programs may have been in the way */
    assert_int_equal(stats_of(writer).waiting, RSL_COUNT(waiting));
    assert_int_equal(stats_of(reader).waited, 2); /* those of the warming */
    for (int i = 0; i < 2; i++) give(writer, &held[i]);
    callers_join(f);
    for (size_t i = 0; i < RSL_COUNT(waiting); i++)
        assert_int_equal(waiting[i]->acquired, RSL_OK);

    expect_as_quick("acquire", before.acquire, during.acquire, noise);
    expect_as_quick("acquire and release", before.pair, during.pair, 10 * noise);
    dock_end(reader);
    dock_end(writer);
}

/* In a child no assertion of cmocka is of use: the number of the claim that does not hold. */
#define CLAIM(number, condition)         \
    do {                                 \
        if (!(condition)) return number; \
    } while (0)

enum { FAMILY = 3 };

typedef struct family {
    dock          *dock;
    rsl_pool_lease held;         /* the parent's; it has two more that are idle */
    int            pids[FAMILY]; /* the parent's backends */
    int            to_parent[2], to_child[2];
} family;

/* Uses the pool that it inherited, tells the backends that it got, and closes when told to. */
static int child_main(family *f)
{
    dock *d = f->dock;
    rsl_pool_lease stale = f->held, leases[FAMILY];
    int pids[FAMILY];
    rsl_ctx ctx = rsl_within(LATE);
    CLAIM(1, rsl_pool_release(d->pool, &stale) == RSL_EINVAL);
    for (int i = 0; i < FAMILY; i++) {
        CLAIM(2, rsl_pool_acquire(d->pool, &ctx, &leases[i]) == RSL_OK);
        CLAIM(3, ping(leases[i].resource, &ctx) == RSL_OK);
        pids[i] = backend(&leases[i]);
    }
    CLAIM(4, atomic_load(&d->abandoned) == FAMILY);
    CLAIM(5, write(f->to_parent[1], pids, sizeof pids) == sizeof pids);
    CLAIM(6, read(f->to_child[0], pids, 1) == 1);
    rsl_pool_stats stats = stats_of(d);
    CLAIM(7, stats.open == FAMILY && stats.in_use == FAMILY && stats.destroyed == 0);
    for (int i = 0; i < FAMILY; i++) CLAIM(8, rsl_pool_release(d->pool, &leases[i]) == RSL_OK);
    CLAIM(9, rsl_pool_close(d->pool, &ctx) == RSL_OK);
    CLAIM(10, atomic_load(&d->destroyed) == FAMILY);
    return 0;
}

/* All connections of the parent answer, and are those that it had. */
static void expect_parent_keeps(family *f)
{
    rsl_pool_lease leases[FAMILY - 1];
    char sql[80];
    (void)snprintf(sql, sizeof sql, "SELECT pg_backend_pid() = %d", f->pids[0]);
    assert_text(&f->held, sql, "t");
    for (int i = 0; i < FAMILY - 1; i++) {
        leases[i] = take(f->dock);
        assert_true(backend(&leases[i]) == f->pids[1] || backend(&leases[i]) == f->pids[2]);
        (void)snprintf(sql, sizeof sql, "SELECT pg_backend_pid() = %d", backend(&leases[i]));
        assert_text(&leases[i], sql, "t");
    }
    for (int i = 0; i < FAMILY - 1; i++) give(f->dock, &leases[i]);
    rsl_pool_stats stats = stats_of(f->dock);
    assert_true(stats.open == FAMILY && stats.created == FAMILY && stats.destroyed == 0);
    assert_int_equal(atomic_load(&f->dock->abandoned), 0);
}

static void fork_and_look(family *f)
{
    int theirs[FAMILY], status = 0;
    assert_int_equal(pipe(f->to_parent), 0);
    assert_int_equal(pipe(f->to_child), 0);
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)alarm(100);
        close(f->to_parent[0]);
        close(f->to_child[1]);
        _exit(child_main(f));
    }
    close(f->to_parent[1]);
    close(f->to_child[0]);
    bool told = read(f->to_parent[0], theirs, sizeof theirs) == sizeof theirs;
    if (told) {
        for (int i = 0; i < FAMILY; i++)
            for (int k = 0; k < FAMILY; k++) assert_int_not_equal(theirs[i], f->pids[k]);
        assert_int_equal(postgres_count("pool"), 2 * FAMILY);
        expect_parent_keeps(f);
        assert_int_equal(write(f->to_child[1], "", 1), 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    close(f->to_parent[0]);
    close(f->to_child[1]);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the child ended with 0x%x: claim %d", (unsigned)status, WEXITSTATUS(status));
    assert_true(postgres_count_becomes("pool", FAMILY));
    expect_parent_keeps(f);
}

static void family_in(dock *d, rsl_pool_config config)
{
    family f = {.dock = d};
    rsl_pool_lease leases[FAMILY];
    config.size_max = FAMILY;
    dock_open(d, "pool", config);
    for (int i = 0; i < FAMILY; i++) {
        leases[i] = take(d);
        f.pids[i] = backend(&leases[i]);
    }
    for (int i = 1; i < FAMILY; i++) give(d, &leases[i]);
    f.held = leases[0];
    fork_and_look(&f);
    give(d, &f.held);
    dock_end(d);
}

static void a_forked_child_connects_anew_and_the_parents_connections_stay_its_own(void **state)
{
    fixture *f = *state;
    family_in(&f->dock, (rsl_pool_config){.caller_maintains = true});
#ifndef UNDER_TSAN /* which lets no thread start in a forked child */
    family_in(&f->other, (rsl_pool_config){.size_min = 0});
#endif
}

/* ------------------------------------------------------------ deadlines, cancel */

static int sleep_lent(const rsl_ctx *ctx, void *conn, void *arg, bool *broken)
{
    (void)arg;
    int code = rsl_postgres_exec(conn, ctx, SLEEP, NULL);
    *broken = rsl_postgres_is_broken(conn);
    return code;
}

/* Sent past the adapter: the server itself ends it, by the transaction's statement_timeout. */
static int sleep_through_libpq(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    (void)ctx, (void)arg;
    PGresult *result = PQexec(conn, SLEEP);
    int code = rsl_postgres_result(conn, result);
    PQclear(result);
    return code;
}

static int transact_lent(const rsl_ctx *ctx, void *conn, void *arg, bool *broken)
{
    int code = rsl_postgres_transaction(conn, ctx, RSL_POSTGRES_DEFAULT_ISOLATION, 0,
                                        sleep_through_libpq, arg);
    *broken = rsl_postgres_is_broken(conn);
    return code;
}

static void a_statement_ends_at_the_deadline_of_who_borrowed_the_connection(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    dock_open(d, "pool", (rsl_pool_config){.size_max = 1});
    d->config.cancel_timeout = RSL_SEC(10); /* of connections made from here on */
    warm(d, 1);
    rsl_pool_lease lease = take(d);
    int pid = backend(&lease);
    give(d, &lease);

    rsl_time start = rsl_now();
    rsl_ctx ctx = rsl_within(RSL_MS(200));
    assert_int_equal(rsl_pool_use(d->pool, &ctx, sleep_lent, NULL), RSL_ETIMEOUT);
    ctx = rsl_within(RSL_MS(200) * slowness);
    assert_int_equal(rsl_pool_use(d->pool, &ctx, transact_lent, NULL),
                     RSL_POSTGRES_QUERY_CANCELED);
    assert_true(rsl_now() - start < RSL_SEC(25)); /* and not a minute */

    lease = take(d); /* the connection lives, and has no limit of its predecessor */
    assert_int_equal(backend(&lease), pid);
    assert_text(&lease, "SHOW statement_timeout", "0");
    give(d, &lease);
    assert_int_equal(stats_of(d).closed_broken, 0);
    dock_end(d);
}

static void cancelling_who_holds_a_connection_frees_it_for_the_next(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    rsl_cancel cancel;
    dock_open(d, "pool", (rsl_pool_config){.size_max = 1});
    d->config.cancel_timeout = RSL_SEC(10);
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    caller *holder = caller_prepare(f, d, RSL_SEC(55));
    holder->cancel = &cancel;
    holder->sql = SLEEP;
    caller_start(holder);
    assert_true(postgres_is_active("pool"));
    caller *next = call(f, d, RSL_SEC(50));
    EVENTUALLY(stats_of(d).waiting == 1);
    rsl_time start = rsl_now();
    rsl_cancel_fire(&cancel);
    callers_join(f);
    assert_true(rsl_now() - start < LATE);
    rsl_cancel_deinit(&cancel);
    assert_int_equal(holder->answered, RSL_ECANCELED);
    assert_int_equal(next->acquired, RSL_OK);
    assert_int_equal(next->answered, RSL_OK);
    assert_int_equal(next->pid, holder->pid); /* the same connection, as good as new */
    dock_end(d);
}

static void a_waiter_that_is_cancelled_leaves_its_turn_to_the_next(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    rsl_cancel cancel;
    dock_open(d, "pool", (rsl_pool_config){.size_max = 1});
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_pool_lease held = take(d);
    caller *first = caller_prepare(f, d, LATE);
    first->cancel = &cancel;
    caller_start(first);
    EVENTUALLY(stats_of(d).waiting == 1);
    caller *second = call(f, d, LATE);
    EVENTUALLY(stats_of(d).waiting == 2);
    rsl_cancel_fire(&cancel);
    EVENTUALLY(atomic_load(&first->done) == 1);
    assert_int_equal(first->acquired, RSL_ECANCELED);
    give(d, &held);
    callers_join(f);
    rsl_cancel_deinit(&cancel);
    assert_int_equal(second->acquired, RSL_OK);
    assert_int_equal(second->answered, RSL_OK);
    dock_end(d);
}

/* -------------------------------------------------------------- leaks, closing */

static void a_lease_that_is_kept_too_long_is_reported_with_its_holder(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    dock_open(d, "pool", (rsl_pool_config){.size_max = 2, .leak_after = RSL_MS(50)});
    rsl_pool_lease lease = take(d);
    EVENTUALLY(atomic_load(&d->leaked) == 1);
    assert_true(rsl_pool_health(d->pool) & RSL_POOL_LEAK);
    rsl_pool_holder holder;
    assert_int_equal(rsl_pool_holders(d->pool, &holder, 1), 1);
    assert_int_equal(holder.slot, lease.slot);
    assert_true(holder.held >= RSL_MS(50));
#ifdef __linux__
    assert_true(holder.thread == (uint64_t)pthread_self());
#endif
    assert_int_equal(ping(lease.resource, NULL), RSL_OK); /* nobody took it away */
    give(d, &lease);
    assert_false(rsl_pool_health(d->pool) & RSL_POOL_LEAK);
    assert_int_equal(stats_of(d).leaked, 1);
    dock_end(d);
}

static void closing_names_who_still_holds_and_a_late_release_is_safe(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    dock_open(d, "pool", (rsl_pool_config){.size_max = 3});
    warm(d, 3);
    rsl_pool_lease lease = take(d), other;
    assert_int_equal(dock_close(d, RSL_MS(50)), RSL_ETIMEOUT);
    assert_int_equal(atomic_load(&d->stragglers), 1);
    assert_int_equal(rsl_pool_holders(d->pool, NULL, 0), 1);
    assert_true(postgres_count_becomes("pool", 1)); /* the idle ones are gone */
    assert_int_equal(rsl_pool_acquire(d->pool, NULL, &other), RSL_ECLOSED);
    assert_int_equal(ping(lease.resource, NULL), RSL_OK);
    rsl_pool_lease copy = lease;
    give(d, &lease);
    assert_int_equal(rsl_pool_release(d->pool, &copy), RSL_EINVAL);
    assert_true(postgres_count_becomes("pool", 0));
    dock_end(d);
}

static void closing_while_the_server_is_down_answers_who_waits(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    dock_open(d, "pool", (rsl_pool_config){.size_max = 3, .validate_after = RSL_NONE});
    warm(d, 3);
    postgres_do("down", "immediate");
    caller *waiting[4];
    for (size_t i = 0; i < RSL_COUNT(waiting); i++) waiting[i] = call(f, d, RSL_SEC(60));
    EVENTUALLY(stats_of(d).waiting == RSL_COUNT(waiting));
    rsl_time start = rsl_now();
    int code = dock_close(d, LATE); /* a connect may be under way */
    rsl_time took = rsl_now() - start;
    callers_join(f);
    postgres_do("up", "");
    assert_int_equal(code, RSL_OK);
    assert_true(took < LATE);
    for (size_t i = 0; i < RSL_COUNT(waiting); i++)
        assert_int_equal(waiting[i]->acquired, RSL_ECLOSED);
    assert_int_equal(atomic_load(&d->created), atomic_load(&d->destroyed));
    assert_int_equal(postgres_count("pool"), 0);
}

/* ------------------------------------------------------- what a borrower leaves */

static void leave_no_transaction(const rsl_pool_lease *lease)
{
    (void)lease;
}

static void leave_a_transaction(const rsl_pool_lease *lease)
{
    must(lease, "BEGIN");
    must(lease, "INSERT INTO ledger VALUES (1)");
}

static void leave_a_failed_transaction(const rsl_pool_lease *lease)
{
    leave_a_transaction(lease);
    assert_int_not_equal(rsl_postgres_exec(lease->resource, NULL, "SELECT 1/0", NULL), RSL_OK);
}

static void the_next_borrower_finds_nothing_of_the_one_before(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    void (*const leave[])(const rsl_pool_lease *lease) = {
        leave_no_transaction, leave_a_transaction, leave_a_failed_transaction};
    dock_open(d, "pool", (rsl_pool_config){.size_max = 1});
    for (size_t i = 0; i < RSL_COUNT(leave); i++) {
        rsl_pool_lease lease = take(d);
        int pid = backend(&lease);
        must(&lease, "SET work_mem = '7MB'");
        must(&lease, "CREATE TEMP TABLE mine AS SELECT 1 AS a");
        must(&lease, "PREPARE mine AS SELECT 1");
        must(&lease, "SELECT pg_advisory_lock(1)");
        must(&lease, "LISTEN news");
        must(&lease, "SET SESSION AUTHORIZATION pool_app");
        must(&lease, "RESET SESSION AUTHORIZATION");
        leave[i](&lease);
        give(d, &lease);

        lease = take(d);
        assert_int_equal(backend(&lease), pid);
        assert_int_equal(PQtransactionStatus(lease.resource), PQTRANS_IDLE);
        assert_text(&lease, "SHOW work_mem", "4MB");
        assert_text(&lease, "SELECT to_regclass('pg_temp.mine') IS NULL", "t");
        assert_text(&lease, "SELECT count(*) FROM pg_prepared_statements", "0");
        assert_text(&lease, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0");
        assert_text(&lease, "SELECT count(*) FROM pg_listening_channels()", "0");
        assert_text(&lease, "SELECT count(*) FROM ledger", "0");
        give(d, &lease);
    }
    assert_int_equal(stats_of(d).created, 1);
    dock_end(d);
}

static void leave_a_statement_out(PGconn *conn)
{
    assert_true(PQsendQuery(conn, SLEEP));
    assert_true(postgres_is_active("pool"));
}

static void leave_a_copy(PGconn *conn)
{
    PQclear(PQexec(conn, "COPY ledger FROM STDIN"));
}

static void leave_a_finished_session(PGconn *conn)
{
    PQclear(PQexec(conn, "SELECT pg_terminate_backend(pg_backend_pid())"));
}

static void what_cannot_be_reset_is_not_lent_again(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    void (*const leave[])(PGconn *conn) = {leave_a_statement_out, leave_a_copy,
                                           leave_a_finished_session};
    dock_open(d, "pool", (rsl_pool_config){.size_max = 1});
    for (size_t i = 0; i < RSL_COUNT(leave); i++) {
        rsl_pool_lease lease = take(d);
        int pid = backend(&lease);
        leave[i](lease.resource);
        rsl_time start = rsl_now();
        give(d, &lease);
        assert_true(rsl_now() - start < RSL_SEC(20)); /* it waits for nobody's statement */
        assert_int_equal(stats_of(d).closed_broken, i + 1);
        lease = take(d);
        assert_int_not_equal(backend(&lease), pid);
        assert_int_equal(ping(lease.resource, NULL), RSL_OK);
        give(d, &lease);
        EVENTUALLY(backend_lives(pid) == 0);
    }
    dock_end(d);
}

/* ------------------------------------------------------------------ keyed pools */

static rsl_pool_lease take_keyed(dock *d, const char *key)
{
    rsl_pool_lease lease;
    rsl_ctx ctx = rsl_within(LATE);
    assert_int_equal(rsl_pools_acquire(d->pools, key, &ctx, &lease), RSL_OK);
    assert_text(&lease, "SELECT current_database()", key);
    return lease;
}

static int refused_keyed(dock *d, const char *key)
{
    rsl_pool_lease lease;
    rsl_ctx ctx = rsl_within(RSL_MS(50));
    return rsl_pools_acquire(d->pools, key, &ctx, &lease);
}

static void open_keyed(dock *d)
{
    rsl_pools_config config = {.each = dock_config(d, "pool", (rsl_pool_config){.size_max = 2}),
                               .create = dock_create_keyed, .total_max = 3};
    config.each.create = NULL;
    assert_null(rsl_pools_config_check(&config));
    assert_int_equal(rsl_pools_open(&d->pools, &config), RSL_OK);
    d->pool = rsl_pools_pool(d->pools);
}

static void assert_databases(long shop, long mail)
{
    static const char *const sql[] = {
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pool' AND "
        "datname = 'shop'", "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
        "'pool' AND datname = 'mail'"};
    assert_true(postgres_becomes(sql[0], shop));
    assert_true(postgres_becomes(sql[1], mail));
}

static void databases_as_keys_keep_their_limits_and_give_up_the_oldest_idle(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    open_keyed(d);
    rsl_pool_lease shop[2] = {take_keyed(d, "shop"), take_keyed(d, "shop")};
    assert_int_equal(refused_keyed(d, "shop"), RSL_ETIMEOUT); /* two of a key */
    rsl_pool_lease mail[2] = {take_keyed(d, "mail")};
    assert_int_equal(refused_keyed(d, "mail"), RSL_ETIMEOUT); /* three in all, none is idle */
    assert_databases(2, 1);

    int oldest = backend(&shop[1]), younger = backend(&shop[0]);
    give(d, &shop[1]);
    nap(RSL_MS(50)); /* ages are told by the coarse clock */
    give(d, &shop[0]);
    mail[1] = take_keyed(d, "mail");
    assert_databases(1, 2);
    assert_int_equal(backend_lives(oldest), 0);
    assert_int_equal(backend_lives(younger), 1);
    assert_int_equal(stats_of(d).closed_idle, 1);
    for (int i = 0; i < 2; i++) give(d, &mail[i]);

    rsl_pool_stats stats;
    assert_true(rsl_pools_stats_get(d->pools, "mail", &stats));
    assert_true(stats.open == 2 && stats.idle == 2 && stats.size_max == 2);
    assert_true(rsl_pools_stats_get(d->pools, "shop", &stats));
    assert_true(stats.open == 1 && stats.idle == 1);
    dock_end(d);
}

/* Takes turns on one database for a while. */
typedef struct customer {
    pthread_t   thread;
    dock       *dock;
    const char *key;
    int         served, failed;
} customer;

static void *customer_main(void *arg)
{
    customer *c = arg;
    rsl_time end = rsl_now() + RSL_MS(400);
    while (c->served < 5 || rsl_now() < end) {
        rsl_pool_lease lease;
        rsl_ctx ctx = rsl_within(LATE);
        int code = rsl_pools_acquire(c->dock->pools, c->key, &ctx, &lease);
        if (code == RSL_OK) {
            bool right = strcmp(PQdb(lease.resource), c->key) == 0;
            if (!right || ping(lease.resource, &ctx) != RSL_OK) c->failed++;
            rsl_pool_release(lease.pool, &lease);
            c->served++;
        } else if (++c->failed > 3) {
            break;
        }
    }
    return NULL;
}

static void two_databases_under_load_share_the_total_and_nobody_starves(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    customer customers[6] = {{.served = 0}};
    open_keyed(d);
    for (size_t i = 0; i < RSL_COUNT(customers); i++) {
        customers[i].dock = d;
        customers[i].key = i % 2 == 0 ? "shop" : "mail";
        if (pthread_create(&customers[i].thread, NULL, customer_main, &customers[i]) != 0)
            customers[i].dock = NULL;
    }
    for (size_t i = 0; i < RSL_COUNT(customers); i++)
        if (customers[i].dock != NULL) pthread_join(customers[i].thread, NULL);
    for (size_t i = 0; i < RSL_COUNT(customers); i++) {
        assert_non_null(customers[i].dock);
        assert_int_equal(customers[i].failed, 0);
    }
    for (int i = 0; i < 2; i++) assert_in_range(atomic_load(&d->live_max[i]), 1, 2);
    assert_in_range(atomic_load(&d->live_max[2]), 1, 3);
    dock_end(d);
}

/* Who fails to connect to one database does not hinder another's. */
static void a_database_that_is_not_there_leaves_the_other_alone(void **state)
{
    fixture *f = *state;
    dock *d = &f->dock;
    rsl_pool_lease lease;
    open_keyed(d);
    rsl_ctx ctx = rsl_within(RSL_MS(300) * slowness);
    char text[6] = "";
    (void)rsl_postgres_state(rsl_pools_acquire(d->pools, "nowhere", &ctx, &lease), text);
    assert_string_equal(text, "3D000");
    for (int i = 0; i < 3; i++) {
        lease = take_keyed(d, "shop");
        give(d, &lease);
    }
    assert_databases(1, 0);
    dock_end(d);
}

#define ON_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SERVER(what_was_killed_while_idle_is_replaced_before_anybody_sees_it),
        ON_SERVER(with_the_bypass_one_statement_fails_and_a_retry_reruns_it),
        ON_SERVER(with_keepalive_the_pool_heals_though_nobody_acquires),
        ON_SERVER(what_was_killed_in_mid_query_is_never_reused),
        ON_SERVER(use_discards_what_was_killed_in_mid_query),
        ON_SERVER(what_is_discarded_is_closed_though_it_works),
        ON_SERVER(a_server_restarted_under_load_is_survived),
        ON_SERVER(a_server_that_crashed_under_load_is_survived),
        ON_SERVER(a_server_that_is_down_for_a_while_under_load_is_survived),
        ON_SERVER(backends_killed_again_and_again_under_load_are_replaced),
        ON_SERVER(a_full_server_refuses_in_time_and_is_used_once_it_has_room),
        ON_SERVER(who_finds_all_leased_and_the_server_full_is_told_so_at_his_deadline),
        ON_SERVER(a_server_that_is_down_refuses_in_time_and_serves_when_it_is_up),
        ON_SERVER(exhausting_one_pool_leaves_the_other_as_quick_as_before),
        ON_SERVER(a_forked_child_connects_anew_and_the_parents_connections_stay_its_own),
        ON_SERVER(a_statement_ends_at_the_deadline_of_who_borrowed_the_connection),
        ON_SERVER(cancelling_who_holds_a_connection_frees_it_for_the_next),
        ON_SERVER(a_waiter_that_is_cancelled_leaves_its_turn_to_the_next),
        ON_SERVER(a_lease_that_is_kept_too_long_is_reported_with_its_holder),
        ON_SERVER(closing_names_who_still_holds_and_a_late_release_is_safe),
        ON_SERVER(closing_while_the_server_is_down_answers_who_waits),
        ON_SERVER(the_next_borrower_finds_nothing_of_the_one_before),
        ON_SERVER(what_cannot_be_reset_is_not_lent_again),
        ON_SERVER(databases_as_keys_keep_their_limits_and_give_up_the_oldest_idle),
        ON_SERVER(two_databases_under_load_share_the_total_and_nobody_starves),
        ON_SERVER(a_database_that_is_not_there_leaves_the_other_alone),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
