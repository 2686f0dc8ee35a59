/* SPDX-License-Identifier: MIT
   pool_postgres.c: pool, breaker and retry over PostgreSQL, which is restarted in the middle.
   Eight threads book orders through four connections and notice nothing but the time: what was
   under way is run again, dead connections are dropped, new ones made once there is a server.

   Each order has a key of its own, and booking it twice books it once. So also an attempt of which
   nobody knows whether it was committed may be repeated.

   Run it from the project's root: it has tools/postgres start a server of its own, and stop it.

   cc -std=c11 -O2 -I. -I$(pg_config --includedir) examples/pool_postgres.c -lpq -pthread        */
#define RSL_IMPLEMENTATION
#include "resilience.h"
#define RSL_POSTGRES_IMPLEMENTATION
#include "adapters/postgres.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 8, SIZE = 4 };

static rsl_pool   *pool;
static rsl_timeout total;
static rsl_retry   retry;
static rsl_breaker breaker;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static int      booked, failed, repeated;
static rsl_time booked_at, longest_gap; /* the longest time in which nobody's order was booked */
static bool     over;

/* ---- one order ---- */

typedef struct order {
    rsl_pool_lease lease;
    int            key;
    uint32_t       attempts;
} order;

static int insert(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    char key[16];
    const char *params[] = {key};
    rsl_postgres_query query = {.sql = "INSERT INTO orders VALUES($1) ON CONFLICT DO NOTHING",
                                .params_count = 1, .params = params};
    snprintf(key, sizeof key, "%d", ((order *)arg)->key);
    return rsl_postgres_run(conn, ctx, &query, NULL);
}

static int attempt(const rsl_ctx *ctx, void *arg)
{
    order *o = arg;
    o->attempts = ctx->attempt;
    return rsl_postgres_transaction(o->lease.resource, ctx, RSL_POSTGRES_DEFAULT_ISOLATION, 0,
                                    insert, o);
}

static bool is_retryable(int result, void *user)
{
    return rsl_postgres_is_retryable(result, user) || result == RSL_POSTGRES_UNKNOWN_OUTCOME;
}

static bool is_broken(int result, void *user)
{
    (void)user;
    return rsl_postgres_is_lost(result); /* what else is wrong with it, reset finds */
}

static int place(order *o)
{
    const rsl_layer policy[] = {rsl_timeout_layer(&total), rsl_retry_layer(&retry),
                                rsl_breaker_layer(&breaker), rsl_pool_layer(pool, &o->lease)};
    return rsl_run(policy, RSL_COUNT(policy), NULL, attempt, o);
}

/* ---- the load ---- */

static void note(const order *o, int result)
{
    if (result != RSL_OK) fprintf(stderr, "order %d: %s\n", o->key, rsl_postgres_message(result));
    failed += result != RSL_OK;
    booked += result == RSL_OK;
    repeated += o->attempts > 1;
    if (result != RSL_OK) return;
    rsl_time now = rsl_now();
    if (booked_at != 0 && now - booked_at > longest_gap) longest_gap = now - booked_at;
    booked_at = now;
}

static void *work(void *arg)
{
    order o = {.key = (int)(intptr_t)arg};
    for (;;) {
        int result = place(&o);
        pthread_mutex_lock(&lock);
        note(&o, result);
        bool stop = over;
        pthread_mutex_unlock(&lock);
        if (stop) return NULL;
        o.key += THREADS;
        poll(NULL, 0, 1);
    }
}

/* ---- before and after ---- */

static int number_of(const char *sql)
{
    PGresult *result;
    rsl_pool_lease lease;
    int number = -1;
    rsl_ctx ctx = rsl_within(RSL_SEC(10));
    if (rsl_pool_acquire(pool, &ctx, &lease) != RSL_OK) return -1;
    if (rsl_postgres_exec(lease.resource, &ctx, sql, &result) == RSL_OK) {
        if (PQntuples(result) == 1) number = atoi(PQgetvalue(result, 0, 0));
        PQclear(result);
    }
    rsl_pool_release(pool, &lease);
    return number;
}

static int set_up(rsl_postgres_config *server)
{
    rsl_retry_config retry_config = {
        .attempts_max = 1000, .delay_first = RSL_MS(5), .delay_max = RSL_MS(50),
        .retryable = is_retryable, .retry_refusals = true}; /* the total limits it */
    rsl_breaker_config breaker_config = {
        .failures_max = 4, .open_for = RSL_MS(50), .is_failure = rsl_postgres_is_failure,
        .is_ignored = rsl_postgres_is_ignored};
    rsl_pool_config config = rsl_pool_config_preset(RSL_POOL_PRODUCTION);
    config.size_max = SIZE;
    config.acquire_timeout = RSL_SEC(1);
    config.create_backoff_max = RSL_MS(100);
    config.create = rsl_postgres_create;
    config.destroy = rsl_postgres_destroy;
    config.validate = rsl_postgres_validate;
    config.reset = rsl_postgres_reset;
    config.abandon = rsl_postgres_abandon;
    config.user = server;
    config.is_broken = is_broken;
    int status = rsl_timeout_init(&total, RSL_SEC(30)); /* a busy machine restarts slowly */
    if (status == RSL_OK) status = rsl_retry_init(&retry, &retry_config);
    if (status == RSL_OK) status = rsl_breaker_init(&breaker, &breaker_config);
    if (status == RSL_OK) status = rsl_pool_open(&pool, &config);
    if (status == RSL_OK && number_of("CREATE TABLE orders(key int PRIMARY KEY);"
                                      "SELECT count(*) FROM orders") != 0)
        status = RSL_ESYS;
    return status;
}

/* The server ends each connection, stops, and starts again. How long that took; -1: it failed. */
static rsl_time restart(void)
{
    char command[600];
    rsl_time from = rsl_now();
    snprintf(command, sizeof command, "tools/postgres restart '%s'",
             getenv("RSL_POSTGRES_FOLDER"));
    return system(command) == 0 ? rsl_now() - from : -1;
}

static double ms(rsl_time span) { return (double)span / 1e6; }

/* How many connections the server sees. It learns late of one that has gone, and a last one may be
   being made: until it agrees with the pool, or ten seconds. */
static int census(rsl_pool_stats *s)
{
    for (rsl_time end = rsl_now() + RSL_SEC(10);; poll(NULL, 0, 10)) {
        int open = number_of("SELECT count(*) FROM pg_stat_activity "
                             "WHERE application_name = 'pool_postgres'");
        rsl_pool_stats_get(pool, s);
        if ((open == (int)s->open && s->creating == 0) || rsl_now() > end) return open;
    }
}

static bool report(rsl_time away)
{
    rsl_pool_stats s;
    rsl_breaker_stats b;
    int rows = number_of("SELECT count(*) FROM orders"), open = census(&s);
    rsl_breaker_stats_get(&breaker, &b);
    printf("%d orders placed while the server was restarted, which took %.0f ms\n",
           booked + failed, ms(away));
    printf("%d failed; %d took several attempts; none was booked for %.0f ms\n", failed, repeated,
           ms(longest_gap));
    printf("%d rows in the table for %d confirmed orders\n", rows, booked);
    printf("the pool made %d connections and dropped %d; it tried %d times in vain\n",
           (int)s.created, (int)s.destroyed, (int)s.create_failed);
    printf("%d of %d leases waited, the longest for %.0f ms; open at the end: %d, says the "
           "server: %d\n", (int)s.waited, (int)s.acquired, ms(s.wait_max), (int)s.open, open);
    printf("the circuit opened %d times and refused %d attempts\n", (int)b.opened,
           (int)b.refused);
    return failed == 0 && away >= 0 && rows == booked && open == (int)s.open && s.open <= SIZE &&
           s.created - s.destroyed == s.open && s.destroyed > 0;
}

int main(int argc, char **argv)
{
    const char *conninfo = getenv("RSL_POSTGRES");
    if (conninfo == NULL && argc == 1) { /* an argument: we have been here before */
        execl("tools/postgres", "postgres", "with", argv[0], "beside a server", (char *)NULL);
    }
    if (conninfo == NULL || getenv("RSL_POSTGRES_FOLDER") == NULL) {
        fputs("pool_postgres: needs tools/postgres, from the project's root\n", stderr);
        return 1;
    }
    rsl_postgres_config server = {.conninfo = conninfo, .application_name = "pool_postgres"};
    int status = set_up(&server), count = 0;
    if (status != RSL_OK) {
        fprintf(stderr, "pool_postgres: %s\n", rsl_strerror(status));
        return 1;
    }
    pthread_t threads[THREADS];
    while (count < THREADS &&
           pthread_create(&threads[count], NULL, work, (void *)(intptr_t)count) == 0)
        count++;
    poll(NULL, 0, 500);
    rsl_time away = restart();
    poll(NULL, 0, 500);
    pthread_mutex_lock(&lock);
    over = true;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);

    bool proved = report(away) && count == THREADS;
    rsl_ctx soon = rsl_within(RSL_SEC(5));
    proved = rsl_pool_close(pool, &soon) == RSL_OK && proved;
    rsl_breaker_deinit(&breaker);
    rsl_retry_deinit(&retry);
    printf("the restart cost time, and nothing else: %s\n", proved ? "yes" : "no");
    return proved ? 0 : 1;
}
