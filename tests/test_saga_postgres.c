/* SPDX-License-Identifier: MIT
   test_saga_postgres.c: adapters/saga_postgres.h on a real server. The store: what struct
   rsl_saga_store promises, two hosts that claim, lose and give back, connections cut before and
   after a commit, servers that restart, crash, fall silent or wait for a standby. The barrier: all
   orders in which an action and its compensation can come, from one connection and from two.
   Limits in time are generous, for the machine may be busy.                                    */
#define _DEFAULT_SOURCE 1
#include "support/allocator.h"

#define RSL_RETRY_IMPLEMENTATION
#include "retry.h"
#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"
#define RSL_POSTGRES_IMPLEMENTATION
#define RSL_SAGA_POSTGRES_IMPLEMENTATION
#include "adapters/saga_postgres.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/postgres.h"
#include "support/proxy.h"
#include "support/support.h"

/* ------------------------------------------------------------------- helpers */

/* Hosts of a test: two, which are open all the time, and one that some open, mostly through a
   proxy. */
typedef struct fixture {
    rsl_saga_store a, b, far;
    bool           has_far;
    proxy          proxy;
    char           through[300]; /* conninfo of the proxy */
} fixture;

static const char *const ORDERS[] = {"order/1"};
static const rsl_time LEASE = RSL_SEC(60), SHORT = RSL_MS(300);

static int server_port(void)
{
    return atoi(strstr(postgres.conninfo, "port=") + 5);
}

static rsl_saga_postgres_config config_as(const char *application_name)
{
    rsl_saga_postgres_config config = {.conninfo = postgres.conninfo,
                                       .application_name = application_name,
                                       .owner = application_name,
                                       .retry_for = RSL_SEC(30)};
    return config;
}

static void open_store(rsl_saga_store *store, const rsl_saga_postgres_config *config)
{
    rsl_saga_opening opening;
    char error[200] = "";
    assert_int_equal(rsl_saga_postgres_open(store, config), RSL_OK);
    if (store->open(store->self, false, &opening, error, sizeof error) != RSL_OK)
        fail_msg("open: %s", error);
}

static void open_far(fixture *f, rsl_time retry_for)
{
    rsl_saga_postgres_config config = config_as("far");
    config.conninfo = f->through;
    config.retry_for = config.append_for = retry_for;
    open_store(&f->far, &config);
    f->has_far = true;
}

static PGconn *intruding; /* NULL: nobody; a test that failed has left it */

/* Another connection, whose transaction or lock stands in the way. */
static void intrude(const char *sql)
{
    PGconn *conn = intruding = PQconnectdb(postgres.conninfo);
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
}

static void intruder_leaves(void)
{
    PQfinish(intruding);
    intruding = NULL;
}

static rsl_saga_store hosts[2];

static int set_up_group(void **state)
{
    (void)state;
    if (postgres_start("max_connections=40 deadlock_timeout=50ms") != 0) return -1;
    for (int i = 0; i < 2; i++) {
        rsl_saga_postgres_config config = config_as(i == 0 ? "a" : "b");
        open_store(&hosts[i], &config);
    }
    return 0;
}

/* A thread that tells a silent server to stop is left alone, and ends with the proxy. */
static bool is_clean(void)
{
    for (int i = 0; i < 10000 && support_live() > 0; i++) usleep(1000);
    return support_live() == 0;
}

static int tear_down_group(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) hosts[i].close(hosts[i].self);
    return postgres_stop() == 0 && is_clean() ? 0 : -1;
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    f->a = hosts[0];
    f->b = hosts[1];
    proxy_start(&f->proxy, server_port());
    (void)snprintf(f->through, sizeof f->through,
                   "host=127.0.0.1 port=%d user=postgres dbname=postgres", f->proxy.port);
    postgres_do_sql("TRUNCATE rsl_sagas, rsl_records");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    intruder_leaves();
    if (f->has_far) f->far.close(f->far.self);
    proxy_stop(&f->proxy);
    free(f);
    return postgres_count_becomes("far", 0) ? 0 : -1;
}

static long number_of(const char *format, unsigned long long id)
{
    char sql[300];
    (void)snprintf(sql, sizeof sql, format, id);
    return postgres_number(sql);
}

/* Begins a saga that is new, owned under epoch 1. */
static rsl_saga_id begin_for(rsl_saga_store *store, const char *key, rsl_time claim_for)
{
    rsl_saga_record record = {.number = 1, .state = RSL_SAGA_RUNNING, .data = "begin", .size = 5};
    bool is_new = false;
    assert_int_equal(store->begin(store->self, key, ORDERS[0], claim_for, &record, &is_new),
                     RSL_OK);
    assert_true(is_new);
    assert_int_equal(record.epoch, 1);
    return record.saga;
}

static rsl_saga_id begin_one(rsl_saga_store *store, const char *key)
{
    return begin_for(store, key, LEASE);
}

static rsl_saga_record record_of(rsl_saga_id saga, uint64_t epoch, uint32_t number,
                                 rsl_saga_state state)
{
    rsl_saga_record record = {saga, epoch, number, state, "data", 4, -1};
    return record;
}

/* What append says of a single record: its status, if the call was RSL_OK. */
static int append_one(rsl_saga_store *store, rsl_saga_id saga, uint64_t epoch, uint32_t number,
                      rsl_saga_state state)
{
    rsl_saga_record record = record_of(saga, epoch, number, state);
    int code = store->append(store->self, &record, 1);
    return code != RSL_OK ? code : record.status;
}

/* Claims what is free, of orders; how many, the first one's id and epoch in *claim. */
static size_t claim_some(rsl_saga_store *store, rsl_saga_claim *claims, size_t count)
{
    assert_int_equal(store->claim(store->self, ORDERS, 1, 0, LEASE, claims, &count), RSL_OK);
    return count;
}

static size_t claim_only(rsl_saga_store *store, rsl_saga_id only, rsl_saga_claim *claim)
{
    size_t count = 1;
    assert_int_equal(store->claim(store->self, NULL, 0, only, LEASE, claim, &count), RSL_OK);
    return count;
}

static void expire(rsl_saga_id saga)
{
    assert_int_equal(number_of("WITH u AS (UPDATE rsl_sagas SET lease_until = clock_timestamp() - "
                               "interval '1 ms' WHERE id = %llu RETURNING 1) SELECT count(*) "
                               "FROM u", saga), 1);
}

static long records_of(rsl_saga_id saga)
{
    return number_of("SELECT count(*) FROM rsl_records WHERE saga = %llu", saga);
}

static rsl_saga_state state_of(rsl_saga_id saga)
{
    return (rsl_saga_state)number_of("SELECT state FROM rsl_sagas WHERE id = %llu", saga);
}

static bool has_lease(rsl_saga_id saga)
{
    return number_of("SELECT (lease_until IS NOT NULL)::int FROM rsl_sagas WHERE id = %llu",
                     saga) != 0;
}

/* One call of a store's function in a thread of its own. */
typedef struct caller {
    pthread_t        thread;
    rsl_saga_store  *store;
    void           (*call)(struct caller *c);
    rsl_saga_record  records[16];
    rsl_saga_claim   claims[256];
    size_t           count;
    const char      *key;
    bool             is_new;
    int              result;
    _Atomic bool     done;
} caller;

static void *caller_run(void *arg)
{
    caller *c = arg;
    c->call(c);
    atomic_store(&c->done, true);
    return NULL;
}

static void caller_start(caller *c, rsl_saga_store *store, void (*call)(caller *c))
{
    c->store = store;
    c->call = call;
    assert_int_equal(pthread_create(&c->thread, NULL, caller_run, c), 0);
}

static int caller_join(caller *c)
{
    pthread_join(c->thread, NULL);
    return c->result;
}

static void call_append(caller *c)
{
    c->result = c->store->append(c->store->self, c->records, c->count);
}

static void call_begin(caller *c)
{
    c->records[0] = (rsl_saga_record){.number = 1, .data = "", .size = 0};
    c->result = c->store->begin(c->store->self, c->key, ORDERS[0], LEASE, &c->records[0],
                                &c->is_new);
}

static void call_claim(caller *c)
{
    c->result = c->store->claim(c->store->self, ORDERS, 1, 0, LEASE, c->claims, &c->count);
}

/* Takes all that is free, two at a time. */
static void call_claim_all(caller *c)
{
    size_t taken = 0, count = 2;
    while (c->result == RSL_OK && count > 0) {
        count = 2;
        c->result = c->store->claim(c->store->self, ORDERS, 1, 0, LEASE, c->claims + taken,
                                    &count);
        taken += count;
    }
    c->count = taken;
}

/* A transaction that is storing the same record: who appends it has got as far as that, and
   waits. */
static void intrude_on(const rsl_saga_record *record)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql, "BEGIN; INSERT INTO rsl_records VALUES (%llu, %u, 99, 0, '')",
                   (unsigned long long)record->saga, record->number);
    intrude(sql);
}

static bool host_waits_for_a_lock(const char *host)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE "
                   "application_name = '%s' AND wait_event_type = 'Lock'", host);
    return postgres_becomes(sql, 1);
}

/* ------------------------------------------------------------- configuration */

static void each_bad_field_of_a_config_is_refused_by_its_name(void **state)
{
    (void)state;
    char long_owner[102];
    memset(long_owner, 'x', sizeof long_owner - 1);
    long_owner[sizeof long_owner - 1] = '\0';
    const struct { rsl_saga_postgres_config config; const char *field; } cases[] = {
        {{.conninfo = "host='"}, "conninfo: "},
        {{.prefix = "Rsl_"}, "prefix: "},
        {{.prefix = "1rsl"}, "prefix: "},
        {{.prefix = ".rsl"}, "prefix: "},
        {{.prefix = "a.b.c"}, "prefix: "},
        {{.prefix = "a;b"}, "prefix: "},
        {{.prefix = "a.1"}, "prefix: "},
        {{.prefix = "rsl_45678901234567890123456789012345678901"}, "prefix: "},
        {{.owner = long_owner}, "owner: "},
        {{.owner = "h\xf6st"}, "owner: "},
        {{.owner = "a\nb"}, "owner: "},
        {{.retry_for = RSL_MS(9)}, "retry_for: "},
        {{.retry_for = RSL_SEC(3601)}, "retry_for: "},
        {{.append_for = RSL_NONE}, "append_for: "},
        {{.append_for = RSL_FOREVER}, "append_for: "},
        {{.connect_timeout = RSL_US(999)}, "connect_timeout: "},
        {{.statement_timeout = RSL_SEC(3601)}, "statement_timeout: "},
        {{.connections = 65}, "connections: "},
    };
    for (size_t i = 0; i < RSL_COUNT(cases); i++) {
        rsl_saga_store store = {.self = &store};
        const char *why = rsl_saga_postgres_config_check(&cases[i].config);
        if (why == NULL || strncmp(why, cases[i].field, strlen(cases[i].field)) != 0)
            fail_msg("case %zu: %s", i, why);
        assert_int_equal(rsl_saga_postgres_open(&store, &cases[i].config), RSL_EINVAL);
        assert_ptr_equal(store.self, &store);
    }
    rsl_saga_postgres_config fine = {.prefix = "_s.x", .owner = long_owner + 1,
                                     .retry_for = RSL_MS(10), .append_for = RSL_SEC(3600),
                                     .connect_timeout = RSL_MS(1), .connections = 64};
    assert_null(rsl_saga_postgres_config_check(&fine));
    assert_string_equal(rsl_saga_postgres_config_check(NULL), "config: must not be NULL");
    assert_int_equal(rsl_saga_postgres_open(NULL, &fine), RSL_EINVAL);
}

static void a_zeroed_config_means_the_documented_defaults(void **state)
{
    (void)state;
    rsl_saga_postgres_config zero = {.conninfo = NULL};
    rsl_saga_postgres_config c = rsl_saga_postgres_config_resolve(&zero);
    assert_null(rsl_saga_postgres_config_check(&zero));
    assert_string_equal(c.conninfo, "");
    assert_string_equal(c.prefix, "rsl_");
    assert_null(c.owner);
    assert_true(c.retry_for == RSL_SEC(5) && c.append_for == RSL_SEC(60));
    assert_true(c.connect_timeout == RSL_SEC(2) && c.statement_timeout == RSL_SEC(2));
    assert_int_equal(c.connections, 4);
    zero.retry_for = RSL_SEC(90);
    assert_true(rsl_saga_postgres_config_resolve(&zero).append_for == RSL_SEC(90));
    zero.retry_for = RSL_MS(70);
    c = rsl_saga_postgres_config_resolve(&zero);
    assert_true(c.connect_timeout == RSL_MS(70) && c.statement_timeout == RSL_MS(70));
}

static void a_store_is_a_shared_one_and_connects_to_nothing_before_it_is_opened(void **state)
{
    (void)state;
    char conninfo[] = "host=127.0.0.1 port=1";
    rsl_saga_postgres_config config = {.conninfo = conninfo};
    rsl_saga_store store;
    assert_int_equal(rsl_saga_postgres_open(&store, &config), RSL_OK);
    memset(conninfo, 'x', sizeof conninfo - 1);
    assert_true(store.open != NULL && store.load != NULL && store.append != NULL);
    assert_true(store.compact != NULL && store.close != NULL && store.begin != NULL);
    assert_true(store.claim != NULL && store.renew != NULL && store.cancel != NULL);
    assert_true(store.list != NULL);
    store.close(store.self);
    assert_int_equal(support_live(), 0);
}

static void a_server_that_is_not_there_is_told_in_a_sentence(void **state)
{
    (void)state;
    rsl_saga_postgres_config config = {.conninfo = "host=127.0.0.1 port=1",
                                       .retry_for = RSL_MS(800)};
    rsl_saga_store store;
    rsl_saga_opening opening = {.next_id = 7};
    char error[200] = "", narrow[8] = "";
    assert_int_equal(rsl_saga_postgres_open(&store, &config), RSL_OK);
    assert_int_equal(store.open(store.self, false, &opening, error, sizeof error), RSL_EIO);
    assert_non_null(strstr(error, "Connection refused"));
    assert_null(strchr(error, '\n'));
    assert_int_equal(opening.next_id, 7);
    assert_int_equal(store.open(store.self, false, &opening, narrow, sizeof narrow), RSL_EIO);
    assert_int_equal(strlen(narrow), sizeof narrow - 1);
    assert_int_equal(store.open(store.self, false, &opening, NULL, 0), RSL_EIO);
    store.close(store.self);
    assert_int_equal(support_live(), 0);
}

/* -------------------------------------------------------------------- opening */

static void the_uuid_is_drawn_once_and_the_numbers_of_an_exclusive_store_are_0(void **state)
{
    fixture *f = *state;
    rsl_saga_opening first, second;
    assert_int_equal(f->a.open(f->a.self, false, &first, NULL, 0), RSL_OK);
    assert_int_equal(f->b.open(f->b.self, true, &second, NULL, 0), RSL_OK);
    assert_string_equal(first.uuid, second.uuid);
    assert_int_equal(strlen(first.uuid), 36);
    assert_int_equal(first.epoch, 0);
    assert_int_equal(first.next_id, 0);
}

static void the_time_of_opening_is_that_of_the_database(void **state)
{
    fixture *f = *state;
    rsl_saga_opening opening;
    const char *sql = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    long before = postgres_number(sql);
    assert_int_equal(f->a.open(f->a.self, false, &opening, NULL, 0), RSL_OK);
    long after = postgres_number(sql);
    assert_in_range(opening.now / RSL_MS(1), before, after);
}

static void *open_anew(void *arg)
{
    rsl_saga_store *store = arg;
    rsl_saga_opening opening;
    bool opened = store->open(store->self, false, &opening, NULL, 0) == RSL_OK;
    return opened ? strdup(opening.uuid) : NULL;
}

static void hosts_that_open_an_empty_database_at_once_share_it(void **state)
{
    (void)state;
    enum { HOSTS = 6 };
    rsl_saga_store stores[HOSTS];
    pthread_t threads[HOSTS];
    char *uuids[HOSTS];
    rsl_saga_postgres_config config = config_as("a");
    config.prefix = "many_";
    for (int i = 0; i < HOSTS; i++) {
        assert_int_equal(rsl_saga_postgres_open(&stores[i], &config), RSL_OK);
        assert_int_equal(pthread_create(&threads[i], NULL, open_anew, &stores[i]), 0);
    }
    for (int i = 0; i < HOSTS; i++) {
        pthread_join(threads[i], (void **)&uuids[i]);
        assert_non_null(uuids[i]);
        assert_string_equal(uuids[i], uuids[0]);
        stores[i].close(stores[i].self);
    }
    for (int i = 0; i < HOSTS; i++) free(uuids[i]);
    assert_int_equal(postgres_number("SELECT count(*) FROM many_meta"), 1);
}

static void another_prefix_or_schema_is_another_store(void **state)
{
    fixture *f = *state;
    static const char *const prefixes[] = {"rsl2_", "order.", "order.user_", "_"};
    rsl_saga_postgres_config config = config_as("far");
    postgres_do_sql("CREATE SCHEMA \"order\"");
    rsl_saga_id other = begin_one(&f->a, "k");
    for (size_t i = 0; i < RSL_COUNT(prefixes); i++) {
        config.prefix = prefixes[i];
        open_store(&f->far, &config);
        rsl_saga_id id = begin_one(&f->far, "k");
        assert_int_equal(append_one(&f->far, id, 1, 2, RSL_SAGA_DONE), RSL_OK);
        assert_int_equal(f->far.compact(f->far.self, NULL, NULL, 0), RSL_OK);
        f->far.close(f->far.self);
    }
    assert_int_equal(postgres_number("SELECT count(*) FROM pg_class WHERE relname ~ "
                                     "'^(rsl2_|user_|_|)(meta|sagas|records)$'"), 12);
    assert_int_equal(records_of(other), 1);
    postgres_do_sql("DROP SCHEMA \"order\" CASCADE");
}

static void tables_of_a_newer_version_are_refused(void **state)
{
    (void)state;
    rsl_saga_store store;
    rsl_saga_opening opening;
    rsl_saga_postgres_config config = config_as("a");
    char error[200] = "";
    config.prefix = "newer_";
    open_store(&store, &config);
    postgres_do_sql("UPDATE newer_meta SET version = 2; DROP TABLE newer_records");
    assert_int_equal(store.open(store.self, false, &opening, error, sizeof error), RSL_EINVAL);
    assert_string_equal(error, "the tables are of version 2, newer than 1, the latest that this "
                               "program knows");
    assert_int_equal(postgres_number("SELECT count(*) FROM pg_class WHERE relname = "
                                     "'newer_records'"), 0);
    postgres_do_sql("DELETE FROM newer_meta");
    assert_int_equal(store.open(store.self, false, &opening, error, sizeof error), RSL_EINVAL);
    assert_non_null(strstr(error, "empty"));
    store.close(store.self);
}

static void rights_that_are_missing_are_told_at_once(void **state)
{
    (void)state;
    rsl_saga_store store;
    rsl_saga_opening opening;
    char error[200] = "", conninfo[300];
    postgres_do_sql("CREATE ROLE app LOGIN; CREATE SCHEMA closed");
    (void)snprintf(conninfo, sizeof conninfo, "%s user=app", postgres.conninfo);
    rsl_saga_postgres_config config = config_as("a");
    config.conninfo = conninfo;
    config.prefix = "closed.rsl_";
    config.retry_for = RSL_SEC(3000);
    assert_int_equal(rsl_saga_postgres_open(&store, &config), RSL_OK);
    assert_int_equal(store.open(store.self, false, &opening, error, sizeof error), RSL_EIO);
    assert_non_null(strstr(error, "permission denied for schema closed"));
    store.close(store.self);
}

/* Where tables are, a host needs no right to make any. */
static void a_host_without_the_right_to_create_uses_what_is_there(void **state)
{
    fixture *f = *state;
    char conninfo[300];
    postgres_do_sql("CREATE ROLE host LOGIN; GRANT SELECT ON rsl_meta TO host;"
                    "GRANT SELECT, INSERT, UPDATE, DELETE ON rsl_sagas, rsl_records TO host");
    (void)snprintf(conninfo, sizeof conninfo, "%s user=host", postgres.conninfo);
    rsl_saga_postgres_config config = config_as("far");
    config.conninfo = conninfo;
    open_store(&f->far, &config);
    f->has_far = true;
    rsl_saga_id id = begin_one(&f->far, "k");
    assert_int_equal(append_one(&f->far, id, 1, 2, RSL_SAGA_DONE), RSL_OK);
    rsl_saga_claim claim = {id, 1, -1, false};
    assert_int_equal(f->far.renew(f->far.self, LEASE, &claim, 1), RSL_OK);
    assert_int_equal(f->far.compact(f->far.self, NULL, NULL, 0), RSL_OK);
    assert_int_equal(records_of(id), 0);
}

/* ------------------------------------------------------------------ beginning */

static void a_saga_begins_once_under_its_key(void **state)
{
    fixture *f = *state;
    rsl_saga_id id = begin_one(&f->a, "order-4711");
    rsl_saga_store *both[] = {&f->a, &f->b};
    for (int i = 0; i < 2; i++) {
        rsl_saga_record record = {.number = 1, .epoch = 99, .data = "other", .size = 5};
        bool is_new = true;
        assert_int_equal(both[i]->begin(both[i]->self, "order-4711", "other", LEASE, &record,
                                        &is_new), RSL_OK);
        assert_false(is_new);
        assert_int_equal(record.saga, id);
        assert_int_equal(record.epoch, 99);
    }
    assert_int_equal(records_of(id), 1);
    assert_int_equal(state_of(id), RSL_SAGA_RUNNING);
    assert_true(has_lease(id));
    assert_true(begin_one(&f->b, "order-4712") > id);
    assert_int_equal(number_of("SELECT count(*) FROM rsl_sagas WHERE id = %llu AND owner = 'a' "
                               "AND epoch = 1 AND def = 'order/1'", id), 1);
}

static void a_key_may_be_any_bytes_up_to_its_limit(void **state)
{
    fixture *f = *state;
    char key[RSL_SAGA_KEY_MAX + 2];
    for (size_t i = 0; i < sizeof key; i++) key[i] = (char)(1 + i % 255);
    key[RSL_SAGA_KEY_MAX] = '\0';
    rsl_saga_id id = begin_one(&f->a, key);
    assert_int_equal(begin_one(&f->a, "\xff\xfe"), id + 1);
    rsl_saga_record record = {.number = 1, .data = "", .size = 0};
    bool is_new = true;
    assert_int_equal(f->a.begin(f->a.self, key, ORDERS[0], LEASE, &record, &is_new), RSL_OK);
    assert_true(!is_new && record.saga == id);
    key[RSL_SAGA_KEY_MAX] = 'x';
    key[RSL_SAGA_KEY_MAX + 1] = '\0';
    assert_int_equal(f->a.begin(f->a.self, key, ORDERS[0], LEASE, &record, &is_new), RSL_EINVAL);
}

static void of_many_that_begin_one_key_at_once_one_has_begun_it(void **state)
{
    fixture *f = *state;
    for (int round = 0; round < 8; round++) {
        caller callers[8];
        char key[16];
        (void)snprintf(key, sizeof key, "key %d", round);
        memset(callers, 0, sizeof callers);
        for (int i = 0; i < 8; i++) {
            callers[i].key = key;
            caller_start(&callers[i], i % 2 == 0 ? &f->a : &f->b, call_begin);
        }
        int begun = 0;
        for (int i = 0; i < 8; i++) {
            assert_int_equal(caller_join(&callers[i]), RSL_OK);
            begun += callers[i].is_new;
            assert_int_equal(callers[i].records[0].saga, callers[0].records[0].saga);
        }
        assert_int_equal(begun, 1);
    }
}

static void a_beginning_whose_commit_was_not_answered_is_new_and_ones_own(void **state)
{
    fixture *f = *state;
    static const proxy_mode modes[] = {PROXY_CUT_BEFORE, PROXY_CUT_AFTER};
    open_far(f, RSL_SEC(30));
    begin_one(&f->far, "first"); /* which prepares the statement */
    for (size_t i = 0; i < RSL_COUNT(modes); i++) {
        caller c = {.key = i == 0 ? "before" : "after"};
        int accepted = atomic_load(&f->proxy.accepted);
        proxy_set(&f->proxy, modes[i], "rsl_saga_begin");
        caller_start(&c, &f->far, call_begin);
        while (atomic_load(&f->proxy.accepted) == accepted) usleep(1000);
        proxy_set(&f->proxy, PROXY_PASS, NULL);
        assert_int_equal(caller_join(&c), RSL_OK);
        assert_true(c.is_new);
        assert_int_equal(c.records[0].epoch, 1);
        assert_int_equal(records_of(c.records[0].saga), 1);
    }
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_sagas"), 3);
}

static void a_saga_may_begin_as_nobodys(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claim;
    rsl_saga_id id = begin_for(&f->a, "k", 0);
    assert_false(has_lease(id));
    assert_int_equal(claim_some(&f->b, &claim, 1), 1);
    assert_true(claim.saga == id && claim.epoch == 2);
}

/* -------------------------------------------------------------------- logs */

typedef struct reading {
    rsl_saga_record records[2000];
    uint32_t        sums[2000];
    size_t          count, stop_at;
} reading;

static uint32_t sum_of(const void *data, size_t size)
{
    uint32_t sum = 17;
    for (size_t i = 0; i < size; i++) sum = sum * 31 + ((const uint8_t *)data)[i];
    return sum;
}

static int read_record(void *user, const rsl_saga_record *record)
{
    reading *r = user;
    if (r->count == r->stop_at) return 4711;
    r->records[r->count] = *record;
    r->sums[r->count++] = sum_of(record->data, record->size);
    return RSL_OK;
}

static reading *read_log(rsl_saga_store *store, rsl_saga_id saga)
{
    reading *r = calloc(1, sizeof *r);
    r->stop_at = RSL_COUNT(r->records);
    assert_int_equal(store->load(store->self, saga, read_record, r), RSL_OK);
    return r;
}

static void a_long_log_comes_back_in_order_and_byte_for_byte(void **state)
{
    fixture *f = *state;
    enum { COUNT = 700 };
    static uint8_t bytes[3000];
    rsl_saga_record records[COUNT];
    seeded_random random = {5};
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)seeded_random_bits(&random);
    rsl_saga_id id = begin_one(&f->a, "k"), other = begin_one(&f->a, "other");
    for (uint32_t i = 0; i < COUNT; i++) {
        rsl_saga_state at = i % 3 == 0 ? RSL_SAGA_UNWINDING : RSL_SAGA_RUNNING;
        records[i] = record_of(id, 1, i + 2, at);
        records[i].size = seeded_random_below(&random, i % 5 == 0 ? 3000 : 10);
        records[i].data = bytes + seeded_random_below(&random, 3000 - (uint32_t)records[i].size);
    }
    assert_int_equal(f->a.append(f->a.self, records, COUNT), RSL_OK);
    assert_int_equal(append_one(&f->a, other, 1, 2, RSL_SAGA_RUNNING), RSL_OK);
    reading *r = read_log(&f->b, id);
    assert_int_equal(r->count, COUNT + 1);
    assert_int_equal(r->sums[0], sum_of("begin", 5));
    for (uint32_t i = 0; i < COUNT; i++) {
        const rsl_saga_record *back = &r->records[i + 1];
        assert_int_equal(records[i].status, RSL_OK);
        assert_true(back->saga == id && back->epoch == 1 && back->number == i + 2);
        assert_true(back->state == records[i].state && back->size == records[i].size);
        assert_int_equal(r->sums[i + 1], sum_of(records[i].data, records[i].size));
    }
    free(r);
}

static void large_records_are_stored_and_read_a_few_at_a_time(void **state)
{
    fixture *f = *state;
    enum { SIZE = 1200000, COUNT = 8 };
    char *data = malloc(SIZE);
    rsl_saga_record records[COUNT];
    seeded_random random = {3};
    rsl_saga_id id = begin_one(&f->a, "k");
    for (size_t i = 0; i < SIZE; i++) data[i] = (char)seeded_random_bits(&random);
    for (uint32_t i = 0; i < COUNT; i++) {
        records[i] = record_of(id, 1, i + 2, RSL_SAGA_RUNNING);
        records[i].data = data + i;
        records[i].size = SIZE - i;
    }
    assert_int_equal(f->a.append(f->a.self, records, COUNT), RSL_OK);
    reading *r = read_log(&f->b, id);
    assert_int_equal(r->count, COUNT + 1);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(r->sums[i + 1], sum_of(data + i, SIZE - i));
    free(r);
    free(data);
}

static void what_visit_returns_ends_the_load_and_comes_back(void **state)
{
    fixture *f = *state;
    rsl_saga_id id = begin_one(&f->a, "k");
    assert_int_equal(append_one(&f->a, id, 1, 2, RSL_SAGA_RUNNING), RSL_OK);
    reading *r = calloc(1, sizeof *r);
    r->stop_at = 1;
    assert_int_equal(f->a.load(f->a.self, id, read_record, r), 4711);
    assert_int_equal(r->count, 1);
    assert_int_equal(f->a.load(f->a.self, id + 1, read_record, r), RSL_OK);
    assert_int_equal(f->a.load(f->a.self, 0, read_record, r), RSL_EINVAL);
    assert_int_equal(f->a.load(f->a.self, UINT64_MAX, read_record, r), RSL_OK);
    assert_int_equal(r->count, 1);
    free(r);
}

/* ---------------------------------------------------------------- appending */

static void the_state_of_a_saga_is_that_of_its_last_record(void **state)
{
    fixture *f = *state;
    rsl_saga_id one = begin_one(&f->a, "one"), two = begin_one(&f->a, "two");
    rsl_saga_record records[] = {
        record_of(two, 1, 2, RSL_SAGA_RUNNING), record_of(one, 1, 2, RSL_SAGA_RUNNING),
        record_of(one, 1, 3, RSL_SAGA_UNWINDING), record_of(two, 1, 3, RSL_SAGA_RUNNING),
    };
    assert_int_equal(f->a.append(f->a.self, records, 4), RSL_OK);
    assert_int_equal(state_of(one), RSL_SAGA_UNWINDING);
    assert_int_equal(state_of(two), RSL_SAGA_RUNNING);
    assert_true(has_lease(one) && has_lease(two));
    records[0] = record_of(one, 1, 4, RSL_SAGA_UNWOUND);
    assert_int_equal(f->a.append(f->a.self, records, 1), RSL_OK);
    assert_int_equal(state_of(one), RSL_SAGA_UNWOUND);
    assert_int_equal(f->a.append(f->a.self, records, 0), RSL_OK);
}

static void a_saga_that_ends_or_is_parked_is_nobodys(void **state)
{
    fixture *f = *state;
    static const rsl_saga_state states[] = {RSL_SAGA_DONE, RSL_SAGA_UNWOUND, RSL_SAGA_PARKED,
                                            RSL_SAGA_ABANDONED};
    for (size_t i = 0; i < RSL_COUNT(states); i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%zu", i);
        rsl_saga_id id = begin_one(&f->a, key);
        assert_int_equal(append_one(&f->a, id, 1, 2, states[i]), RSL_OK);
        assert_int_equal(state_of(id), states[i]);
        assert_false(has_lease(id));
        assert_int_equal(number_of("SELECT (ended_at IS NOT NULL)::int FROM rsl_sagas WHERE "
                                   "id = %llu", id), states[i] != RSL_SAGA_PARKED);
    }
}

static void records_of_another_epoch_are_left_out_and_the_rest_is_stored(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claim;
    rsl_saga_id kept = begin_one(&f->a, "kept"), lost = begin_one(&f->a, "lost");
    expire(lost);
    assert_int_equal(claim_some(&f->b, &claim, 1), 1);
    rsl_saga_record records[] = {
        record_of(lost, 1, 2, RSL_SAGA_UNWINDING), record_of(kept, 1, 2, RSL_SAGA_RUNNING),
        record_of(lost, 1, 3, RSL_SAGA_UNWOUND), record_of(kept, 1, 3, RSL_SAGA_DONE),
        record_of(kept + 1000, 1, 2, RSL_SAGA_RUNNING), record_of(kept, 2, 4, RSL_SAGA_DONE),
    };
    assert_int_equal(f->a.append(f->a.self, records, 6), RSL_OK);
    static const int wanted[] = {RSL_EFENCED, RSL_OK, RSL_EFENCED, RSL_OK, RSL_EFENCED,
                                 RSL_EFENCED};
    for (int i = 0; i < 6; i++) assert_int_equal(records[i].status, wanted[i]);
    assert_int_equal(records_of(lost), 1);
    assert_int_equal(records_of(kept), 3);
    assert_int_equal(state_of(kept), RSL_SAGA_DONE);
    assert_int_equal(state_of(lost), RSL_SAGA_RUNNING);
    assert_int_equal(append_one(&f->b, lost, claim.epoch, 2, RSL_SAGA_RUNNING), RSL_OK);
}

static void an_owner_whose_lease_has_passed_appends_until_it_is_claimed(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claim;
    rsl_saga_id id = begin_one(&f->a, "k");
    expire(id);
    assert_int_equal(append_one(&f->a, id, 1, 2, RSL_SAGA_RUNNING), RSL_OK);
    assert_int_equal(claim_some(&f->b, &claim, 1), 1);
    assert_int_equal(append_one(&f->a, id, 1, 3, RSL_SAGA_RUNNING), RSL_EFENCED);
}

static void to_append_again_what_is_stored_is_right_and_doubles_nothing(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claim;
    rsl_saga_id id = begin_one(&f->a, "k"), other = begin_one(&f->a, "other");
    rsl_saga_record records[] = {
        record_of(id, 1, 2, RSL_SAGA_RUNNING), record_of(other, 1, 2, RSL_SAGA_RUNNING),
        record_of(id, 1, 3, RSL_SAGA_RUNNING), record_of(id, 1, 4, RSL_SAGA_UNWINDING)};
    assert_int_equal(f->a.append(f->a.self, records, 3), RSL_OK);
    for (int i = 0; i < 4; i++) records[i].status = -1;
    assert_int_equal(f->a.append(f->a.self, records, 4), RSL_OK); /* and one that is new */
    for (int i = 0; i < 4; i++) assert_int_equal(records[i].status, RSL_OK);
    assert_int_equal(records_of(id), 4);
    assert_int_equal(append_one(&f->a, id, 1, 3, RSL_SAGA_RUNNING), RSL_OK);
    assert_int_equal(state_of(id), RSL_SAGA_UNWINDING); /* not set back by an older record */
    expire(id);
    assert_int_equal(claim_some(&f->b, &claim, 1), 1);
    assert_int_equal(append_one(&f->a, id, 1, 4, RSL_SAGA_UNWINDING), RSL_OK);
    assert_int_equal(append_one(&f->a, id, 1, 5, RSL_SAGA_UNWINDING), RSL_EFENCED);
    assert_int_equal(records_of(id), 4);
}

static void another_record_under_the_same_number_is_damage(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claim;
    rsl_saga_id id = begin_one(&f->a, "k"), other = begin_one(&f->b, "other");
    assert_int_equal(append_one(&f->a, id, 1, 2, RSL_SAGA_RUNNING), RSL_OK);
    expire(id);
    assert_int_equal(claim_some(&f->b, &claim, 1), 1);
    rsl_saga_record records[] = {record_of(id, 2, 2, RSL_SAGA_DONE),
                                 record_of(other, 1, 2, RSL_SAGA_RUNNING)};
    assert_int_equal(f->b.append(f->b.self, records, 2), RSL_ECORRUPT);
    assert_int_equal(number_of("SELECT epoch FROM rsl_records WHERE saga = %llu AND number = 2",
                               id), 1);
    assert_int_equal(state_of(id), RSL_SAGA_RUNNING);
}

static void what_can_be_no_record_is_refused(void **state)
{
    fixture *f = *state;
    rsl_saga_id id = begin_one(&f->a, "k");
    rsl_saga_record records[] = {record_of(id, 1, 2, RSL_SAGA_RUNNING),
                                 record_of(id, 1, 0, RSL_SAGA_RUNNING),
                                 record_of(id, 1, 0x80000000u, RSL_SAGA_RUNNING),
                                 record_of(id, 1, 3, RSL_SAGA_RUNNING)};
    records[3].size = (size_t)1 << 30;
    assert_int_equal(f->a.append(f->a.self, records, 2), RSL_EINVAL);
    assert_int_equal(f->a.append(f->a.self, records + 2, 1), RSL_EINVAL);
    assert_int_equal(f->a.append(f->a.self, records + 3, 1), RSL_EINVAL);
    assert_int_equal(records_of(id), 1);
    bool is_new;
    assert_int_equal(f->a.begin(f->a.self, "l", "d", LEASE, &records[3], &is_new), RSL_EINVAL);
    assert_int_equal(f->a.begin(f->a.self, "l", "d", -1, &records[0], &is_new), RSL_EINVAL);
    assert_int_equal(f->a.begin(f->a.self, "l", "d", RSL_FOREVER, &records[0], &is_new),
                     RSL_EINVAL);
    rsl_saga_claim claim = {id, 1, RSL_OK, false};
    size_t count = 1;
    assert_int_equal(f->a.renew(f->a.self, RSL_FOREVER, &claim, 1), RSL_EINVAL);
    assert_int_equal(f->a.claim(f->a.self, ORDERS, 1, 0, -1, &claim, &count), RSL_EINVAL);
}

/* The trigger holds a host's claim at the point where the row is changed and not yet committed:
   what it has to exclude is an append that still sees the old epoch. */
static void an_append_waits_for_a_claim_under_way_and_is_refused(void **state)
{
    fixture *f = *state;
    caller claimer = {.count = 1}, appender = {.count = 1};
    rsl_saga_id id = begin_one(&f->a, "k");
    expire(id);
    postgres_do_sql("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF "
                    "new.owner = ''b'' THEN PERFORM pg_advisory_xact_lock_shared(77); END IF; "
                    "RETURN new; END';"
                    "CREATE TRIGGER hold AFTER UPDATE ON rsl_sagas FOR EACH ROW EXECUTE FUNCTION "
                    "hold()");
    intrude("SELECT pg_advisory_lock(77)");
    caller_start(&claimer, &f->b, call_claim);
    assert_true(host_waits_for_a_lock("b"));
    appender.records[0] = record_of(id, 1, 2, RSL_SAGA_RUNNING);
    caller_start(&appender, &f->a, call_append);
    assert_true(host_waits_for_a_lock("a"));
    assert_false(atomic_load(&appender.done));
    intruder_leaves();
    assert_int_equal(caller_join(&claimer), RSL_OK);
    assert_int_equal(caller_join(&appender), RSL_OK);
    assert_int_equal(claimer.count, 1);
    assert_int_equal(appender.records[0].status, RSL_EFENCED);
    assert_int_equal(records_of(id), 1);
    postgres_do_sql("DROP FUNCTION hold CASCADE");
}

static void a_claim_passes_over_what_is_being_appended_to(void **state)
{
    fixture *f = *state;
    caller appender = {.count = 1};
    rsl_saga_claim claim;
    rsl_saga_id busy = begin_one(&f->a, "busy"), idle = begin_one(&f->a, "idle");
    expire(busy);
    expire(idle);
    appender.records[0] = record_of(busy, 1, 2, RSL_SAGA_RUNNING);
    intrude_on(&appender.records[0]);
    caller_start(&appender, &f->a, call_append);
    assert_true(host_waits_for_a_lock("a"));
    assert_int_equal(claim_some(&f->b, &claim, 1), 1);
    assert_int_equal(claim.saga, idle);
    intruder_leaves();
    assert_int_equal(caller_join(&appender), RSL_OK);
    assert_int_equal(appender.records[0].status, RSL_OK);
    assert_int_equal(claim_some(&f->b, &claim, 1), 1);
    assert_int_equal(claim.saga, busy);
}

static void a_slow_append_delays_neither_renew_nor_anything_else(void **state)
{
    fixture *f = *state;
    caller appender = {.count = 2};
    rsl_saga_id id = begin_one(&f->a, "k"), ends = begin_one(&f->a, "ends");
    rsl_saga_claim claims[] = {{id, 1, -1, false}, {ends, 1, -1, false}}, claim;
    appender.records[0] = record_of(id, 1, 2, RSL_SAGA_RUNNING);
    intrude_on(&appender.records[0]);
    appender.records[1] = record_of(ends, 1, 2, RSL_SAGA_DONE);
    caller_start(&appender, &f->a, call_append);
    assert_true(host_waits_for_a_lock("a"));
    assert_int_equal(f->a.renew(f->a.self, LEASE, claims, 2), RSL_OK);
    assert_int_equal(claims[0].status, RSL_OK);
    assert_int_equal(claims[1].status, RSL_OK);
    assert_int_equal(f->a.cancel(f->a.self, id), RSL_OK);
    assert_int_equal(claim_some(&f->a, &claim, 1), 0);
    assert_false(atomic_load(&appender.done));
    intruder_leaves();
    assert_int_equal(caller_join(&appender), RSL_OK);
    assert_false(has_lease(ends));
}

/* ------------------------------------------------------------------- claims */

static void claims_of_two_hosts_exclude_each_other(void **state)
{
    fixture *f = *state;
    enum { COUNT = 120 };
    caller callers[4];
    static int owned[COUNT];
    rsl_saga_id first = 0;
    memset(callers, 0, sizeof callers);
    memset(owned, 0, sizeof owned);
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%d", i);
        rsl_saga_id id = begin_for(&f->a, key, 0);
        if (i == 0) first = id;
        assert_int_equal(id, first + (rsl_saga_id)i);
    }
    for (int i = 0; i < 4; i++)
        caller_start(&callers[i], i % 2 == 0 ? &f->a : &f->b, call_claim_all);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(caller_join(&callers[i]), RSL_OK);
        for (size_t k = 0; k < callers[i].count; k++) {
            owned[callers[i].claims[k].saga - first]++;
            assert_int_equal(callers[i].claims[k].epoch, 2);
        }
    }
    for (int i = 0; i < COUNT; i++) assert_int_equal(owned[i], 1);
}

static void a_lease_that_has_passed_is_taken_under_a_higher_epoch(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claim = {0, 0, -1, true};
    rsl_saga_id id = begin_one(&f->a, "k");
    assert_int_equal(claim_some(&f->b, &claim, 1), 0);
    expire(id);
    assert_int_equal(claim_some(&f->b, &claim, 1), 1);
    assert_true(claim.saga == id && claim.epoch == 2);
    assert_true(claim.status == RSL_OK && !claim.cancel);
    assert_int_equal(claim_some(&f->a, &claim, 1), 0);
    assert_int_equal(claim_some(&f->b, &claim, 1), 0); /* not its own either */
    expire(id);
    assert_int_equal(claim_some(&f->a, &claim, 1), 1);
    assert_int_equal(claim.epoch, 3);
    assert_int_equal(number_of("SELECT count(*) FROM rsl_sagas WHERE id = %llu AND owner = 'a'",
                               id), 1);
}

static void leases_pass_by_the_clock_of_the_database(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claim;
    const char *sql = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    rsl_saga_id id = begin_for(&f->a, "k", RSL_MS(150));
    long until = number_of("SELECT ceil(extract(epoch FROM lease_until) * 1000000)::bigint FROM "
                           "rsl_sagas WHERE id = %llu", id);
    while (claim_some(&f->b, &claim, 1) == 0) usleep(1000);
    assert_true(postgres_number(sql) >= until);
    assert_int_equal(claim.epoch, 2);
}

static void only_wanted_definitions_and_as_many_as_asked_for_are_claimed(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claims[8];
    static const char *const defs[] = {"x", "other/2", "y"};
    rsl_saga_id ids[4];
    bool is_new;
    for (int i = 0; i < 4; i++) {
        char key[16];
        rsl_saga_record record = {.number = 1, .data = "", .size = 0};
        (void)snprintf(key, sizeof key, "%d", i);
        assert_int_equal(f->a.begin(f->a.self, key, i == 0 ? ORDERS[0] : defs[1], 0, &record,
                                    &is_new), RSL_OK);
        ids[i] = record.saga;
    }
    size_t count = 2;
    assert_int_equal(f->b.claim(f->b.self, defs, 3, 0, LEASE, claims, &count), RSL_OK);
    assert_int_equal(count, 2);
    assert_true(claims[0].saga == ids[1] && claims[1].saga == ids[2]);
    count = 8;
    assert_int_equal(f->b.claim(f->b.self, defs, 3, 0, LEASE, claims, &count), RSL_OK);
    assert_int_equal(count, 1);
    assert_int_equal(claims[0].saga, ids[3]);
    count = 8;
    assert_int_equal(f->b.claim(f->b.self, NULL, 0, 0, LEASE, claims, &count), RSL_OK);
    assert_int_equal(count, 0);
    assert_int_equal(claim_some(&f->b, claims, 8), 1);
    assert_int_equal(claims[0].saga, ids[0]);
}

static void ended_and_parked_sagas_are_not_claimed_but_a_parked_one_by_its_id(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claims[4];
    rsl_saga_id done = begin_one(&f->a, "done"), parked = begin_one(&f->a, "parked");
    rsl_saga_id held = begin_one(&f->a, "held"), free_one = begin_for(&f->a, "free", 0);
    assert_int_equal(append_one(&f->a, done, 1, 2, RSL_SAGA_DONE), RSL_OK);
    assert_int_equal(append_one(&f->a, parked, 1, 2, RSL_SAGA_PARKED), RSL_OK);
    assert_int_equal(claim_only(&f->b, done, claims), 0);
    assert_int_equal(claim_only(&f->b, held, claims), 0);
    assert_int_equal(claim_only(&f->b, free_one + 1000, claims), 0);
    assert_int_equal(claim_some(&f->b, claims, 4), 1);
    assert_int_equal(claims[0].saga, free_one);
    assert_int_equal(claim_only(&f->b, parked, claims), 1);
    assert_true(claims[0].saga == parked && claims[0].epoch == 2);
    assert_int_equal(append_one(&f->a, parked, 1, 3, RSL_SAGA_RUNNING), RSL_EFENCED);
    assert_int_equal(claim_only(&f->a, parked, claims), 0); /* the other operator was first */
    assert_int_equal(append_one(&f->b, parked, 2, 3, RSL_SAGA_RUNNING), RSL_OK);
    assert_true(has_lease(parked));
    assert_int_equal(claim_some(&f->a, claims, 4), 0);
}

static void a_claim_whose_commit_was_not_answered_is_made_again(void **state)
{
    fixture *f = *state;
    caller c = {.count = 8};
    open_far(f, RSL_SEC(30));
    call_claim((c.store = &f->far, &c));
    assert_int_equal(c.count, 0);
    for (int i = 0; i < 3; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%d", i);
        begin_for(&f->a, key, 0);
    }
    c.count = 8;
    int accepted = atomic_load(&f->proxy.accepted);
    proxy_set(&f->proxy, PROXY_CUT_AFTER, "rsl_saga_claim");
    caller_start(&c, &f->far, call_claim);
    while (atomic_load(&f->proxy.accepted) == accepted) usleep(1000);
    proxy_set(&f->proxy, PROXY_PASS, NULL);
    assert_int_equal(caller_join(&c), RSL_OK);
    assert_int_equal(c.count, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(append_one(&f->far, c.claims[i].saga, c.claims[i].epoch, 2,
                                    RSL_SAGA_RUNNING), RSL_OK);
}

/* -------------------------------------------------------------------- renewing */

static void renew_keeps_what_is_owned_and_tells_what_is_lost(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claims[4], claim;
    rsl_saga_id kept = begin_for(&f->a, "kept", RSL_MS(1)), lost = begin_one(&f->a, "lost");
    rsl_saga_id done = begin_one(&f->a, "done");
    expire(lost);
    assert_int_equal(claim_only(&f->b, lost, &claim), 1);
    assert_int_equal(append_one(&f->a, done, 1, 2, RSL_SAGA_DONE), RSL_OK);
    claims[0] = (rsl_saga_claim){done + 1000, 1, -1, true};
    claims[1] = (rsl_saga_claim){lost, 1, -1, true};
    claims[2] = (rsl_saga_claim){kept, 1, -1, true};
    claims[3] = (rsl_saga_claim){done, 1, -1, true};
    assert_int_equal(f->a.renew(f->a.self, LEASE, claims, 4), RSL_OK);
    static const int wanted[] = {RSL_EFENCED, RSL_EFENCED, RSL_OK, RSL_OK};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(claims[i].status, wanted[i]);
        assert_false(claims[i].cancel);
    }
    assert_int_equal(number_of("SELECT (lease_until > clock_timestamp() + interval '30 s')::int "
                               "FROM rsl_sagas WHERE id = %llu", kept), 1);
    assert_false(has_lease(done));
    assert_int_equal(claim_some(&f->b, &claim, 1), 0);
    assert_int_equal(f->a.renew(f->a.self, LEASE, claims, 0), RSL_OK);
}

static void what_is_given_back_can_be_claimed_at_once(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claim;
    rsl_saga_id id = begin_one(&f->a, "k");
    claim = (rsl_saga_claim){id, 1, -1, false};
    assert_int_equal(f->a.renew(f->a.self, 0, &claim, 1), RSL_OK);
    assert_int_equal(claim.status, RSL_OK);
    assert_int_equal(claim_some(&f->b, &claim, 1), 1);
    assert_true(claim.saga == id && claim.epoch == 2);
    claim.epoch = 1; /* who has lost it cannot give it away */
    assert_int_equal(f->a.renew(f->a.self, 0, &claim, 1), RSL_OK);
    assert_int_equal(claim.status, RSL_EFENCED);
    assert_true(has_lease(id));
}

static void a_parked_saga_is_renewed_only_for_who_claimed_it(void **state)
{
    fixture *f = *state;
    rsl_saga_id id = begin_one(&f->a, "k");
    rsl_saga_claim claim = {id, 1, -1, false};
    assert_int_equal(append_one(&f->a, id, 1, 2, RSL_SAGA_PARKED), RSL_OK);
    assert_int_equal(f->a.renew(f->a.self, LEASE, &claim, 1), RSL_OK);
    assert_int_equal(claim.status, RSL_OK);
    assert_false(has_lease(id)); /* a renew that overlapped with the parking */
    assert_int_equal(claim_only(&f->b, id, &claim), 1);
    expire(id);
    assert_int_equal(f->b.renew(f->b.self, LEASE, &claim, 1), RSL_OK);
    assert_int_equal(claim.status, RSL_OK);
    assert_int_equal(claim_only(&f->a, id, &claim), 0);
}

static void a_wish_to_cancel_reaches_the_owner_and_who_comes_after(void **state)
{
    fixture *f = *state;
    rsl_saga_id id = begin_one(&f->a, "k");
    rsl_saga_claim claim = {id, 1, -1, false};
    assert_int_equal(f->b.cancel(f->b.self, id + 1000), RSL_EINVAL);
    assert_int_equal(f->b.cancel(f->b.self, UINT64_MAX), RSL_EINVAL);
    assert_int_equal(f->b.cancel(f->b.self, id), RSL_OK);
    assert_int_equal(f->a.renew(f->a.self, LEASE, &claim, 1), RSL_OK);
    assert_true(claim.cancel);
    expire(id);
    assert_int_equal(claim_some(&f->b, &claim, 1), 1);
    assert_true(claim.cancel);
    assert_int_equal(append_one(&f->b, id, claim.epoch, 2, RSL_SAGA_UNWOUND), RSL_OK);
    assert_int_equal(f->a.cancel(f->a.self, id), RSL_OK);
}

static void more_than_one_statement_takes_are_renewed_all(void **state)
{
    fixture *f = *state;
    enum { COUNT = 5000 };
    postgres_do_sql("INSERT INTO rsl_sagas (key, def, state, epoch, owner, token) SELECT "
                    "int4send(n), 'd', 0, 3, '', '' FROM generate_series(1, 5000) n");
    rsl_saga_claim *claims = calloc(COUNT, sizeof *claims);
    rsl_saga_id first = (rsl_saga_id)postgres_number("SELECT min(id) FROM rsl_sagas");
    for (size_t i = 0; i < COUNT; i++) /* in no order */
        claims[i] = (rsl_saga_claim){first + i * 7 % COUNT, i % 10 == 0 ? 2 : 3, -1, false};
    assert_int_equal(f->a.renew(f->a.self, LEASE, claims, COUNT), RSL_OK);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(claims[i].status, i % 10 == 0 ? RSL_EFENCED : RSL_OK);
    assert_int_equal(postgres_number("SELECT count(lease_until) FROM rsl_sagas"), COUNT * 9 / 10);
    free(claims);
}

/* --------------------------------------------------------------------- listing */

typedef struct listing {
    rsl_saga_info infos[2000];
    char          keys[2000][8];
    size_t        count, stop_at;
} listing;

static bool note_info(const rsl_saga_info *info, void *user)
{
    listing *l = user;
    l->infos[l->count] = *info;
    (void)snprintf(l->keys[l->count], sizeof l->keys[0], "%.7s", info->key);
    if (strcmp(info->def, ORDERS[0]) != 0) l->infos[l->count].def = NULL;
    return ++l->count != l->stop_at;
}

static void sagas_of_all_hosts_are_listed_by_id_and_state(void **state)
{
    fixture *f = *state;
    listing *l = calloc(1, sizeof *l);
    rsl_saga_id running = begin_one(&f->a, "one"), parked = begin_one(&f->b, "two");
    rsl_saga_id done = begin_one(&f->a, "three");
    assert_int_equal(append_one(&f->b, parked, 1, 2, RSL_SAGA_PARKED), RSL_OK);
    assert_int_equal(append_one(&f->a, done, 1, 2, RSL_SAGA_DONE), RSL_OK);
    assert_int_equal(f->a.list(f->a.self, 0, 0, note_info, l), RSL_OK);
    assert_int_equal(l->count, 3);
    const rsl_saga_id ids[] = {running, parked, done};
    static const rsl_saga_state states[] = {RSL_SAGA_RUNNING, RSL_SAGA_PARKED, RSL_SAGA_DONE};
    static const char *const keys[] = {"one", "two", "three"};
    for (int i = 0; i < 3; i++) {
        const rsl_saga_info *info = &l->infos[i];
        assert_true(info->id == ids[i] && info->state == states[i] && info->epoch == 1);
        assert_true(info->def != NULL && info->version == 0 && info->step == NULL);
        assert_string_equal(l->keys[i], keys[i]);
    }
    l->count = 0;
    unsigned some = 1u << RSL_SAGA_PARKED | 1u << RSL_SAGA_ABANDONED;
    assert_int_equal(f->a.list(f->a.self, 0, some, note_info, l), RSL_OK);
    assert_true(l->count == 1 && l->infos[0].id == parked);
    free(l);
}

static void one_saga_is_listed_or_is_none(void **state)
{
    fixture *f = *state;
    listing *l = calloc(1, sizeof *l);
    rsl_saga_id id = begin_one(&f->a, "k");
    begin_one(&f->a, "l");
    assert_int_equal(f->a.list(f->a.self, id, 0, note_info, l), RSL_OK);
    assert_true(l->count == 1 && l->infos[0].id == id);
    assert_int_equal(f->a.list(f->a.self, id, 1u << RSL_SAGA_DONE, note_info, l), RSL_OK);
    assert_int_equal(l->count, 1);
    assert_int_equal(f->a.list(f->a.self, id + 1000, 0, note_info, l), RSL_EINVAL);
    assert_int_equal(f->a.list(f->a.self, UINT64_MAX, 0, note_info, l), RSL_EINVAL);
    assert_int_equal(l->count, 1);
    free(l);
}

static void a_long_list_comes_whole_and_ends_when_visit_says_so(void **state)
{
    fixture *f = *state;
    listing *l = calloc(1, sizeof *l);
    postgres_do_sql("INSERT INTO rsl_sagas (key, def, state, epoch, owner, token) SELECT "
                    "n::text::bytea, 'order/1', n % 2, 1, '', '' FROM generate_series(1, 1300) "
                    "n");
    assert_int_equal(f->a.list(f->a.self, 0, 1u << RSL_SAGA_UNWINDING, note_info, l), RSL_OK);
    assert_int_equal(l->count, 650);
    for (size_t i = 1; i < l->count; i++) assert_true(l->infos[i].id > l->infos[i - 1].id);
    l->count = 0;
    l->stop_at = 300;
    assert_int_equal(f->a.list(f->a.self, 0, 0, note_info, l), RSL_OK);
    assert_int_equal(l->count, 300);
    free(l);
}

/* ------------------------------------------------------------------ compacting */

static void compact_keeps_what_has_not_ended_and_the_latest_that_have(void **state)
{
    fixture *f = *state;
    rsl_saga_id ids[8];
    for (int i = 0; i < 8; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%d", i);
        ids[i] = begin_one(&f->a, key);
    }
    static const rsl_saga_state states[] = {RSL_SAGA_DONE, RSL_SAGA_UNWOUND, RSL_SAGA_ABANDONED,
                                            RSL_SAGA_DONE, RSL_SAGA_PARKED, RSL_SAGA_UNWINDING};
    for (int i = 5; i >= 0; i--) /* the last to end is the first of them */
        assert_int_equal(append_one(&f->a, ids[i], 1, 2, states[i]), RSL_OK);
    assert_int_equal(f->b.compact(f->b.self, NULL, NULL, RSL_UNLIMITED), RSL_OK);
    assert_int_equal(f->b.compact(f->b.self, NULL, NULL, 4), RSL_OK);
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_sagas"), 8);
    assert_int_equal(f->b.compact(f->b.self, NULL, NULL, 3), RSL_OK);
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_sagas"), 7);
    assert_int_equal(records_of(ids[3]), 0);
    assert_int_equal(f->b.compact(f->b.self, NULL, NULL, 0), RSL_OK);
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_sagas"), 4);
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_records"), 6);
    assert_int_equal(records_of(ids[4]), 2);
    assert_int_equal(append_one(&f->a, ids[0], 1, 3, RSL_SAGA_DONE), RSL_EFENCED);
    assert_true(begin_one(&f->b, "0") > ids[7]); /* the key is forgotten, the id is not */
}

static void compact_drops_a_bounded_number_at_once(void **state)
{
    fixture *f = *state;
    postgres_do_sql("INSERT INTO rsl_sagas (key, def, state, epoch, owner, token, ended_at) "
                    "SELECT int4send(n), 'd', 2, 3, '', '', now() FROM "
                    "generate_series(1, 5000) n");
    assert_int_equal(f->a.compact(f->a.self, NULL, NULL, 100), RSL_OK);
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_sagas"), 904);
    assert_int_equal(f->a.compact(f->a.self, NULL, NULL, 100), RSL_OK);
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_sagas"), 100);
}

/* -------------------------------------------------------- connections that are cut */

static void an_append_that_is_cut_off_is_stored_once(void **state)
{
    fixture *f = *state;
    static const proxy_mode modes[] = {PROXY_CUT_BEFORE, PROXY_CUT_AFTER};
    open_far(f, RSL_SEC(30));
    rsl_saga_id id = begin_one(&f->far, "k");
    assert_int_equal(append_one(&f->far, id, 1, 2, RSL_SAGA_RUNNING), RSL_OK);
    for (uint32_t i = 0; i < RSL_COUNT(modes); i++) {
        caller c = {.count = 2};
        c.records[0] = record_of(id, 1, 2 * i + 3, RSL_SAGA_RUNNING);
        c.records[1] = record_of(id, 1, 2 * i + 4, RSL_SAGA_UNWINDING);
        int accepted = atomic_load(&f->proxy.accepted);
        proxy_set(&f->proxy, modes[i], "rsl_saga_append");
        caller_start(&c, &f->far, call_append);
        while (atomic_load(&f->proxy.accepted) == accepted) usleep(1000);
        proxy_set(&f->proxy, PROXY_PASS, NULL);
        assert_int_equal(caller_join(&c), RSL_OK);
        assert_int_equal(c.records[0].status, RSL_OK);
        assert_int_equal(c.records[1].status, RSL_OK);
        assert_int_equal(records_of(id), 2 * i + 4);
    }
    assert_int_equal(state_of(id), RSL_SAGA_UNWINDING);
}

/* As when a connection was lost, and the first try is still under way on the server: the second
   does not see what the first has committed when it began. */
static void two_tries_of_one_append_at_once_are_stored_once(void **state)
{
    fixture *f = *state;
    caller first = {.count = 2}, second = {.count = 2};
    rsl_saga_id id = begin_one(&f->a, "k"), other = begin_one(&f->a, "other");
    first.records[0] = second.records[0] = record_of(id, 1, 2, RSL_SAGA_DONE);
    first.records[1] = second.records[1] = record_of(other, 1, 2, RSL_SAGA_UNWINDING);
    intrude_on(&first.records[0]);
    caller_start(&first, &f->a, call_append);
    caller_start(&second, &f->b, call_append);
    assert_true(host_waits_for_a_lock("a") && host_waits_for_a_lock("b"));
    intruder_leaves();
    assert_int_equal(caller_join(&first), RSL_OK);
    assert_int_equal(caller_join(&second), RSL_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(first.records[i].status, RSL_OK);
        assert_int_equal(second.records[i].status, RSL_OK);
    }
    assert_true(records_of(id) == 2 && records_of(other) == 2);
    assert_true(state_of(id) == RSL_SAGA_DONE && state_of(other) == RSL_SAGA_UNWINDING);
    assert_true(!has_lease(id) && has_lease(other));
}

static void connections_that_the_server_has_closed_are_made_anew(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claim;
    rsl_saga_id id = begin_one(&f->a, "k");
    for (uint32_t number = 2; number < 5; number++) {
        assert_int_equal(append_one(&f->a, id, 1, number, RSL_SAGA_RUNNING), RSL_OK);
        claim = (rsl_saga_claim){id, 1, -1, false};
        assert_int_equal(f->a.renew(f->a.self, LEASE, &claim, 1), RSL_OK);
        assert_int_equal(claim_some(&f->a, &claim, 1), 0);
        assert_true(postgres_kill("a") >= 3);
    }
    assert_int_equal(records_of(id), 4);
}

static void a_server_that_falls_silent_is_waited_for_no_longer_than_said(void **state)
{
    fixture *f = *state;
    rsl_saga_claim claim;
    open_far(f, SHORT);
    rsl_saga_id id = begin_one(&f->far, "k");
    claim = (rsl_saga_claim){id, 1, -1, false};
    while (append_one(&f->far, id, 1, 2, RSL_SAGA_RUNNING) != RSL_OK) continue;
    while (f->far.renew(f->far.self, LEASE, &claim, 1) != RSL_OK) continue;
    proxy_set(&f->proxy, PROXY_HOLD, NULL);
    rsl_time start = rsl_now();
    assert_int_equal(append_one(&f->far, id, 1, 3, RSL_SAGA_RUNNING), RSL_EIO);
    assert_true(rsl_now() - start >= SHORT);
    assert_int_equal(f->far.renew(f->far.self, RSL_MS(50), &claim, 1), RSL_EIO);
    assert_int_equal(f->far.cancel(f->far.self, id), RSL_EIO);
    assert_true(rsl_now() - start < RSL_SEC(20));
    proxy_set(&f->proxy, PROXY_PASS, NULL);
    int code = RSL_EIO;
    while (code == RSL_EIO) code = append_one(&f->far, id, 1, 3, RSL_SAGA_RUNNING);
    assert_int_equal(code, RSL_OK);
    assert_int_equal(records_of(id), 3);
}

static void renew_gives_up_when_the_lease_would_be_over(void **state)
{
    fixture *f = *state;
    open_far(f, RSL_SEC(3000));
    rsl_saga_claim claim = {begin_one(&f->far, "k"), 1, -1, false};
    size_t count = 1;
    proxy_set(&f->proxy, PROXY_HOLD, NULL);
    assert_int_equal(f->far.renew(f->far.self, RSL_MS(100), &claim, 1), RSL_EIO);
    assert_int_equal(f->far.claim(f->far.self, ORDERS, 1, 0, RSL_MS(100), &claim, &count),
                     RSL_EIO);
}

/* A commit that waits for a standby which never comes is told to stop by the store's own limit,
   and then "succeeds": the server has it, but nobody else. */
static void a_commit_that_no_standby_has_seen_does_not_count(void **state)
{
    fixture *f = *state;
    rsl_saga_postgres_config config = config_as("far");
    config.retry_for = config.append_for = SHORT;
    config.statement_timeout = RSL_MS(100);
    open_store(&f->far, &config);
    f->has_far = true;
    rsl_saga_id id = begin_one(&f->a, "k");
    while (append_one(&f->far, id, 1, 2, RSL_SAGA_RUNNING) != RSL_OK) continue;
    postgres_do_sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    postgres_do_sql("SELECT pg_reload_conf()");
    int code = RSL_OK;
    uint32_t number = 2;
    for (int i = 0; i < 1000 && code == RSL_OK; i++) /* until it is in force */
        code = append_one(&f->far, id, 1, ++number, RSL_SAGA_RUNNING);
    postgres_do_sql("ALTER SYSTEM RESET synchronous_standby_names");
    postgres_do_sql("SELECT pg_reload_conf()");
    assert_int_equal(code, RSL_EIO);
    assert_int_equal(records_of(id), number); /* it is there, and yet was not confirmed */
    do code = append_one(&f->far, id, 1, number, RSL_SAGA_RUNNING);
    while (code == RSL_EIO);
    assert_int_equal(code, RSL_OK);
    assert_int_equal(records_of(id), number);
}

static void a_statement_that_takes_too_long_is_ended_and_tried_again(void **state)
{
    fixture *f = *state;
    rsl_saga_postgres_config config = config_as("far");
    config.statement_timeout = RSL_MS(50);
    open_store(&f->far, &config);
    f->has_far = true;
    rsl_saga_id id = begin_one(&f->a, "k");
    caller c = {.count = 1};
    c.records[0] = record_of(id, 1, 2, RSL_SAGA_RUNNING);
    intrude_on(&c.records[0]);
    caller_start(&c, &f->far, call_append);
    usleep(300000);
    assert_false(atomic_load(&c.done));
    intruder_leaves();
    assert_int_equal(caller_join(&c), RSL_OK);
    assert_int_equal(c.records[0].status, RSL_OK);
}

/* --------------------------------------------------------- servers that go down */

/* Appends to a saga of its own, one record after another. */
typedef struct writer {
    pthread_t       thread;
    rsl_saga_store *store;
    rsl_saga_id     saga;
    uint32_t        acknowledged; /* the last record's number */
    int             result;
    _Atomic bool   *stop;
} writer;

static void *write_on(void *arg)
{
    writer *w = arg;
    while (!atomic_load(w->stop) && w->result == RSL_OK) {
        w->result = append_one(w->store, w->saga, 1, w->acknowledged + 1, RSL_SAGA_RUNNING);
        if (w->result == RSL_OK) w->acknowledged++;
    }
    return NULL;
}

static void assert_survives(fixture *f, const char *mode)
{
    enum { WRITERS = 4 };
    writer writers[WRITERS];
    _Atomic bool stop = false;
    rsl_saga_id ids[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "%s %d", mode, i);
        rsl_saga_store *store = i % 2 == 0 ? &f->a : &f->b;
        ids[i] = begin_one(store, key);
        writers[i] = (writer){.store = store, .saga = ids[i], .acknowledged = 1, .stop = &stop};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
    }
    usleep(50000);
    postgres_do("restart", mode);
    rsl_saga_id late = begin_one(&f->a, mode); /* as if nothing had been */
    usleep(50000);
    atomic_store(&stop, true);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_int_equal(writers[i].result, RSL_OK);
        assert_int_equal(records_of(ids[i]), writers[i].acknowledged);
        assert_int_equal(number_of("SELECT max(number) FROM rsl_records WHERE saga = %llu",
                                   ids[i]), writers[i].acknowledged);
        assert_true(late > ids[i]);
    }
}

static void what_was_acknowledged_outlives_a_restart_and_a_crash(void **state)
{
    fixture *f = *state;
    assert_survives(f, "fast");
    assert_survives(f, "immediate");
}

static void *open_later(void *arg)
{
    rsl_saga_store *store = arg;
    rsl_saga_opening opening;
    static int code;
    code = store->open(store->self, false, &opening, NULL, 0);
    return &code;
}

static void a_server_that_is_down_is_waited_for_when_opening(void **state)
{
    fixture *f = *state;
    pthread_t thread;
    void *code;
    postgres_do("down", "fast");
    assert_int_equal(pthread_create(&thread, NULL, open_later, &f->b), 0);
    usleep(50000);
    postgres_do("up", "");
    pthread_join(thread, &code);
    assert_int_equal(*(int *)code, RSL_OK);
}

/* ------------------------------------------------------------------- settings */

/* Defaults of the database or the user must not make the store less safe, nor fail it. */
static void other_defaults_of_the_session_change_nothing(void **state)
{
    fixture *f = *state;
    char conninfo[500];
    (void)snprintf(conninfo, sizeof conninfo, "%s options='-c default_transaction_isolation="
                   "serializable -c synchronous_commit=off -c jit_above_cost=0 -c "
                   "client_encoding=LATIN1 -c DateStyle=German -c bytea_output=escape'",
                   postgres.conninfo);
    rsl_saga_postgres_config config = config_as("far");
    config.conninfo = conninfo;
    open_store(&f->far, &config);
    f->has_far = true;
    postgres_do_sql("CREATE TABLE settings (isolation text, synced text);"
                    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT "
                    "INTO settings VALUES (current_setting(''transaction_isolation''), "
                    "current_setting(''synchronous_commit'')); RETURN new; END';"
                    "CREATE TRIGGER note AFTER INSERT ON rsl_records FOR EACH ROW EXECUTE "
                    "FUNCTION note()");
    rsl_saga_id id = begin_one(&f->far, "k");
    assert_int_equal(append_one(&f->far, id, 1, 2, RSL_SAGA_DONE), RSL_OK);
    assert_int_equal(postgres_number("SELECT count(*) FROM settings WHERE isolation = "
                                     "'read committed' AND synced = 'on'"), 2);
    assert_int_equal(f->far.compact(f->far.self, NULL, NULL, 0), RSL_OK);
    assert_int_equal(records_of(id), 0);
    postgres_do_sql("DROP TABLE settings; DROP FUNCTION note CASCADE");
}

typedef struct told {
    _Atomic int count;
    int         code;
    char        message[200];
} told;

static void tell(void *user, int code, const char *message)
{
    told *t = user;
    atomic_fetch_add(&t->count, 1);
    t->code = code;
    (void)snprintf(t->message, sizeof t->message, "%s", message);
}

static void what_cannot_be_helped_is_told_at_once_and_the_next_call_tries_anew(void **state)
{
    fixture *f = *state;
    told t = {.code = 0};
    rsl_saga_postgres_config config = config_as("far");
    config.append_for = RSL_SEC(3000);
    config.failed = tell;
    config.user = &t;
    open_store(&f->far, &config);
    f->has_far = true;
    rsl_saga_id id = begin_one(&f->far, "k");
    assert_int_equal(atomic_load(&t.count), 0);
    postgres_do_sql("ALTER TABLE rsl_records ADD CHECK (number <> 2)");
    assert_int_equal(append_one(&f->far, id, 1, 2, RSL_SAGA_RUNNING), RSL_EIO);
    assert_int_equal(atomic_load(&t.count), 1);
    assert_int_equal(t.code, RSL_POSTGRES_CHECK_VIOLATION);
    assert_non_null(strstr(t.message, "violates check constraint"));
    assert_int_equal(append_one(&f->far, id, 1, 3, RSL_SAGA_RUNNING), RSL_OK);
    postgres_do_sql("ALTER TABLE rsl_records DROP CONSTRAINT rsl_records_number_check");
    assert_int_equal(append_one(&f->far, id, 1, 2, RSL_SAGA_RUNNING), RSL_OK);
    postgres_kill("far");
    assert_int_equal(append_one(&f->far, id, 1, 4, RSL_SAGA_RUNNING), RSL_OK);
    assert_int_equal(t.code, RSL_POSTGRES_ADMIN_SHUTDOWN);
}

static void what_an_operator_cancels_is_tried_again(void **state)
{
    fixture *f = *state;
    caller c = {.count = 1};
    told t = {.code = 0};
    rsl_saga_postgres_config config = config_as("far");
    config.failed = tell;
    config.user = &t;
    open_store(&f->far, &config);
    f->has_far = true;
    c.records[0] = record_of(begin_one(&f->a, "k"), 1, 2, RSL_SAGA_RUNNING);
    intrude_on(&c.records[0]);
    caller_start(&c, &f->far, call_append);
    for (int i = 0; i < 2; i++) {
        assert_true(host_waits_for_a_lock("far"));
        postgres_do_sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE "
                        "application_name = 'far' AND wait_event_type = 'Lock'");
        while (atomic_load(&t.count) <= i) usleep(1000);
    }
    intruder_leaves();
    assert_int_equal(caller_join(&c), RSL_OK);
    assert_int_equal(c.records[0].status, RSL_OK);
    assert_int_equal(t.code, RSL_POSTGRES_QUERY_CANCELED);
}

static void a_host_is_named_after_machine_and_process_unless_told_otherwise(void **state)
{
    fixture *f = *state;
    rsl_saga_postgres_config config = config_as("far");
    config.owner = NULL;
    open_store(&f->far, &config);
    f->has_far = true;
    rsl_saga_id id = begin_one(&f->far, "k");
    char sql[200];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM rsl_sagas WHERE id = %llu AND owner ~ "
                   "'^.+/%ld$'", (unsigned long long)id, (long)getpid());
    assert_int_equal(postgres_number(sql), 1);
}

static void more_callers_than_connections_wait_their_turn(void **state)
{
    fixture *f = *state;
    caller callers[12];
    char keys[12][16];
    rsl_saga_postgres_config config = config_as("far");
    config.connections = 1;
    open_store(&f->far, &config);
    f->has_far = true;
    memset(callers, 0, sizeof callers);
    for (int i = 0; i < 12; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "%d", i);
        callers[i].key = keys[i];
        caller_start(&callers[i], &f->far, call_begin);
    }
    for (int i = 0; i < 12; i++) {
        assert_int_equal(caller_join(&callers[i]), RSL_OK);
        assert_true(callers[i].is_new);
    }
    assert_int_equal(postgres_count("far"), 1);
}

static void a_caller_without_a_connection_gives_up_in_time(void **state)
{
    fixture *f = *state;
    rsl_saga_postgres_config config = config_as("far");
    config.connections = 1;
    config.retry_for = RSL_MS(200);
    open_store(&f->far, &config);
    f->has_far = true;
    rsl_saga_id id = begin_one(&f->a, "k");
    intrude("BEGIN; LOCK TABLE rsl_sagas");
    caller c = {.key = "l"};
    caller_start(&c, &f->far, call_begin);
    assert_true(host_waits_for_a_lock("far"));
    assert_int_equal(f->far.cancel(f->far.self, id), RSL_EIO);
    intruder_leaves();
    caller_join(&c);
}

/* ------------------------------------------------------------ memory and errno */

/* Every function of a store once; the first status that is not RSL_OK. */
static int use_all(rsl_saga_store *store, uint32_t number)
{
    rsl_saga_record record = {.number = 1, .data = "", .size = 0};
    rsl_saga_claim claims[2];
    rsl_saga_opening opening;
    size_t count = 2;
    bool is_new;
    char key[16];
    (void)snprintf(key, sizeof key, "%u", number);
    int code = store->open(store->self, false, &opening, NULL, 0);
    if (code == RSL_OK)
        code = store->begin(store->self, key, ORDERS[0], LEASE, &record, &is_new);
    if (code != RSL_OK) return code;
    rsl_saga_record records[] = {record_of(record.saga, 1, 2, RSL_SAGA_RUNNING),
                                 record_of(record.saga, 9, 3, RSL_SAGA_RUNNING)};
    claims[0] = (rsl_saga_claim){record.saga, 1, -1, false};
    code = store->append(store->self, records, 2);
    if (code == RSL_OK) code = store->renew(store->self, 0, claims, 1);
    if (code == RSL_OK) code = store->claim(store->self, ORDERS, 1, 0, LEASE, claims, &count);
    if (code == RSL_OK) code = store->cancel(store->self, record.saga);
    reading *r = calloc(1, sizeof *r);
    listing *l = calloc(1, sizeof *l);
    r->stop_at = 2000;
    if (code == RSL_OK) code = store->load(store->self, record.saga, read_record, r);
    if (code == RSL_OK) code = store->list(store->self, record.saga, 0, note_info, l);
    if (code == RSL_OK) code = store->compact(store->self, NULL, NULL, 0);
    if (code == RSL_OK && (r->count != 2 || records[1].status != RSL_EFENCED)) code = -1;
    free(l);
    free(r);
    return code;
}

/* Calls the same again and again, each time with another allocation failing, until none does. */
static int assert_fails_cleanly(int (*call)(void *arg, long nth), void *arg)
{
    for (long nth = 1;; nth++) {
        support_fail_nth(nth);
        int code = call(arg, nth);
        bool over = support_taken() < nth;
        support_fail_never();
        if (over) {
            assert_int_equal(code, RSL_OK);
            return (int)nth - 1;
        }
        if (code != RSL_OK) assert_int_equal(code, RSL_ENOMEM);
        assert_int_equal(call(arg, -nth), RSL_OK);
    }
}

static int open_and_close(void *arg, long nth)
{
    const rsl_saga_postgres_config *config = arg;
    rsl_saga_store store;
    rsl_saga_opening opening;
    (void)nth;
    int code = rsl_saga_postgres_open(&store, config);
    if (code != RSL_OK) return code;
    code = store.open(store.self, false, &opening, NULL, 0);
    store.close(store.self);
    return code;
}

static int use_store(void *arg, long nth)
{
    return use_all(arg, (uint32_t)(nth + 1000000));
}

static void an_allocation_that_fails_fails_one_call_and_nothing_else(void **state)
{
    fixture *f = *state;
    rsl_saga_postgres_config config = config_as("far");
    assert_in_range(assert_fails_cleanly(open_and_close, &config), 5, 30);
    open_store(&f->far, &config);
    f->has_far = true;
    assert_in_range(assert_fails_cleanly(use_store, &f->far), 6, 30);
}

static void errno_survives_every_call(void **state)
{
    fixture *f = *state;
    errno = 4711;
    assert_int_equal(use_all(&f->a, 0), RSL_OK);
    postgres_kill("a");
    errno = 4711;
    assert_int_equal(use_all(&f->a, 1), RSL_OK);
    assert_int_equal(errno, 4711);
}

/* ----------------------------------------------------------------- the barrier */

#define KEY(tail) "0123-45/17/charge/" tail

typedef struct passage {
    PGconn *one, *two;
} passage;

static PGconn *participant(const char *name)
{
    rsl_postgres_config config = {.conninfo = postgres.conninfo, .application_name = name};
    PGconn *conn = NULL;
    assert_int_equal(rsl_postgres_connect(&conn, NULL, &config), RSL_OK);
    return conn;
}

static int set_up_barrier(void **state)
{
    passage *p = calloc(1, sizeof *p);
    p->one = participant("one");
    p->two = participant("two");
    if (rsl_saga_postgres_barrier_create(p->one) != RSL_OK) return -1;
    postgres_do_sql("TRUNCATE rsl_saga_barrier");
    *state = p;
    return 0;
}

static int tear_down_barrier(void **state)
{
    passage *p = *state;
    rsl_postgres_close(p->one);
    rsl_postgres_close(p->two);
    free(p);
    return 0;
}

static void must(PGconn *conn, const char *sql)
{
    int code = rsl_postgres_exec(conn, NULL, sql, NULL);
    if (code != RSL_OK) fail_msg("%s: %s", sql, PQerrorMessage(conn));
}

static rsl_saga_turn pass(PGconn *conn, const char *key)
{
    rsl_saga_turn turn = (rsl_saga_turn)-1;
    assert_int_equal(rsl_saga_postgres_barrier(conn, key, &turn), RSL_OK);
    return turn;
}

/* In a transaction of its own. */
static rsl_saga_turn pass_once(PGconn *conn, const char *key)
{
    must(conn, "BEGIN");
    rsl_saga_turn turn = pass(conn, key);
    must(conn, "COMMIT");
    return turn;
}

/* All orders of up to five calls, against what the table in the docs says. */
static void every_order_of_calls_has_its_turns(void **state)
{
    passage *p = *state;
    for (unsigned calls = 0; calls < 32; calls++) {
        char run[64], undo[64];
        bool ran = false, undone = false, empty = false;
        (void)snprintf(run, sizeof run, "0123/%u/a step/run", calls + 1);
        (void)snprintf(undo, sizeof undo, "0123/%u/a step/undo", calls + 1);
        for (unsigned i = 0; i < 5; i++) {
            bool is_undo = (calls >> i & 1) != 0;
            rsl_saga_turn wanted;
            if (!is_undo) wanted = undone ? RSL_SAGA_LATE : ran ? RSL_SAGA_AGAIN : RSL_SAGA_FIRST;
            else if (!undone) wanted = ran ? RSL_SAGA_FIRST : RSL_SAGA_EMPTY;
            else wanted = empty ? RSL_SAGA_EMPTY : RSL_SAGA_AGAIN;
            if (is_undo) empty = empty || (!undone && !ran), undone = true;
            else ran = ran || !undone;
            assert_int_equal(pass_once(i % 2 == 0 ? p->one : p->two, is_undo ? undo : run),
                             wanted);
        }
    }
}

static void what_was_rolled_back_never_came(void **state)
{
    passage *p = *state;
    must(p->one, "BEGIN");
    assert_int_equal(pass(p->one, KEY("run")), RSL_SAGA_FIRST);
    must(p->one, "ROLLBACK");
    assert_int_equal(pass_once(p->one, KEY("run")), RSL_SAGA_FIRST);
    must(p->one, "BEGIN");
    assert_int_equal(pass(p->one, KEY("undo")), RSL_SAGA_FIRST);
    must(p->one, "ROLLBACK");
    assert_int_equal(pass_once(p->one, KEY("run")), RSL_SAGA_AGAIN);
    assert_int_equal(pass_once(p->one, KEY("undo")), RSL_SAGA_FIRST);
    assert_int_equal(pass_once(p->one, KEY("run")), RSL_SAGA_LATE);
}

static void stores_sagas_steps_and_rounds_are_told_apart(void **state)
{
    passage *p = *state;
    static const char *const keys[] = {
        "u/1/a/run", "v/1/a/run", "u/2/a/run", "u/1/b/run", "u/1/a/run/2", "u/1/a/run/3",
        "u/11/a/run", "u/1/a2/run", "u/1/\xff/run", "u/1/a'b/run", "u/1/\xc3\xa4/run/12"};
    for (size_t i = 0; i < RSL_COUNT(keys); i++) {
        assert_int_equal(pass_once(p->one, keys[i]), RSL_SAGA_FIRST);
        assert_int_equal(pass_once(p->one, keys[i]), RSL_SAGA_AGAIN);
    }
    assert_int_equal(pass_once(p->one, "u/1/a/undo/2"), RSL_SAGA_FIRST);
    assert_int_equal(pass_once(p->one, "u/1/a/run/2"), RSL_SAGA_LATE);
    assert_int_equal(pass_once(p->one, "u/1/a/run/3"), RSL_SAGA_AGAIN);
    assert_int_equal(pass_once(p->one, "u/1/a/undo/4"), RSL_SAGA_EMPTY);
}

static void what_is_no_key_of_a_step_is_refused(void **state)
{
    passage *p = *state;
    static const char *const keys[] = {
        "", "/", "u", "u/1", "u/1/a", "u/1/a/", "/1/a/run", "u//a/run", "u/1//run", "u/x/a/run",
        "u/1/a/ran", "u/1/a/runs", "u/1/a/und", "u/1/a/run/", "u/1/a/run/x", "u/1/a/run/2/3",
        "u/1/a/run/123456789012345678901", "u/1/a/undo/2x", "u/1/a/run/1/",
        "u/1/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/run",
        "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
        "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuu/1/a/run"};
    rsl_saga_turn turn = (rsl_saga_turn)-1;
    must(p->one, "BEGIN");
    for (size_t i = 0; i < RSL_COUNT(keys); i++)
        assert_int_equal(rsl_saga_postgres_barrier(p->one, keys[i], &turn), RSL_EINVAL);
    assert_int_equal(rsl_saga_postgres_barrier(NULL, KEY("run"), &turn), RSL_EINVAL);
    assert_int_equal(rsl_saga_postgres_barrier(p->one, NULL, &turn), RSL_EINVAL);
    assert_int_equal(rsl_saga_postgres_barrier(p->one, KEY("run"), NULL), RSL_EINVAL);
    assert_int_equal(rsl_saga_postgres_barrier_create(NULL), RSL_EINVAL);
    assert_int_equal(rsl_saga_postgres_barrier_forget(NULL, 1), RSL_EINVAL);
    assert_int_equal(rsl_saga_postgres_barrier_forget(p->one, 0), RSL_EINVAL);
    assert_int_equal((int)turn, -1);
    assert_int_equal(PQtransactionStatus(p->one), PQTRANS_INTRANS);
    must(p->one, "ROLLBACK");
}

static void the_barrier_wants_a_transaction_and_its_table(void **state)
{
    passage *p = *state;
    rsl_saga_turn turn;
    assert_int_equal(rsl_saga_postgres_barrier(p->one, KEY("run"), &turn), RSL_EINVAL);
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_saga_barrier"), 0);
    must(p->one, "BEGIN; DROP TABLE rsl_saga_barrier");
    assert_int_equal(rsl_saga_postgres_barrier(p->one, KEY("run"), &turn),
                     RSL_POSTGRES_CODE('4', '2', 'P', '0', '1'));
    assert_int_equal(rsl_saga_postgres_barrier(p->one, KEY("run"), &turn),
                     RSL_POSTGRES_CODE('2', '5', 'P', '0', '2'));
    must(p->one, "ROLLBACK");
}

static void *create_barrier(void *arg)
{
    int code = rsl_saga_postgres_barrier_create(arg);
    return code == RSL_OK ? arg : NULL;
}

static void the_table_is_made_by_any_number_at_once_and_within_a_transaction(void **state)
{
    passage *p = *state;
    pthread_t thread;
    void *made;
    for (int i = 0; i < 5; i++) {
        must(p->one, "DROP TABLE rsl_saga_barrier");
        assert_int_equal(pthread_create(&thread, NULL, create_barrier, p->two), 0);
        assert_int_equal(rsl_saga_postgres_barrier_create(p->one), RSL_OK);
        pthread_join(thread, &made);
        assert_ptr_equal(made, p->two);
    }
    must(p->one, "DROP TABLE rsl_saga_barrier");
    must(p->one, "BEGIN");
    assert_int_equal(rsl_saga_postgres_barrier_create(p->one), RSL_OK);
    assert_int_equal(pass(p->one, KEY("run")), RSL_SAGA_FIRST);
    must(p->one, "ROLLBACK");
    assert_int_equal(postgres_number("SELECT count(*) FROM pg_class WHERE relname = "
                                     "'rsl_saga_barrier'"), 0);
}

static void what_is_old_is_forgotten_saga_by_saga(void **state)
{
    passage *p = *state;
    pass_once(p->one, "u/1/a/run");
    pass_once(p->one, "u/1/b/run");
    pass_once(p->one, "u/2/a/run");
    must(p->one, "UPDATE rsl_saga_barrier SET at = at - interval '1 h' WHERE step = 'a'");
    assert_int_equal(rsl_saga_postgres_barrier_forget(p->one, RSL_SEC(7200)), RSL_OK);
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_saga_barrier"), 3);
    assert_int_equal(rsl_saga_postgres_barrier_forget(p->one, RSL_SEC(1800)), RSL_OK);
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_saga_barrier"), 2);
    assert_int_equal(pass_once(p->one, "u/2/a/run"), RSL_SAGA_FIRST);
    assert_int_equal(pass_once(p->one, "u/1/a/run"), RSL_SAGA_AGAIN);
}

/* A second call that meets the first one's open transaction. */
typedef struct meeting {
    pthread_t     thread;
    PGconn       *conn;
    const char   *key, *begin;
    rsl_saga_turn turn;
    int           result;
} meeting;

static void *meet(void *arg)
{
    meeting *m = arg;
    m->result = rsl_postgres_exec(m->conn, NULL, m->begin, NULL);
    if (m->result == RSL_OK) m->result = rsl_saga_postgres_barrier(m->conn, m->key, &m->turn);
    (void)rsl_postgres_exec(m->conn, NULL, m->result == RSL_OK ? "COMMIT" : "ROLLBACK", NULL);
    return NULL;
}

/* What the second call gets, when the first ends so. */
static meeting met(passage *p, const char *first, const char *end, const char *second,
                   const char *begin)
{
    meeting m = {.conn = p->two, .key = second, .begin = begin};
    must(p->one, "TRUNCATE rsl_saga_barrier");
    must(p->one, "BEGIN");
    pass(p->one, first);
    assert_int_equal(pthread_create(&m.thread, NULL, meet, &m), 0);
    assert_true(host_waits_for_a_lock("two"));
    must(p->one, end);
    pthread_join(m.thread, NULL);
    return m;
}

static void of_two_at_once_the_second_waits_and_goes_by_what_the_first_left(void **state)
{
    passage *p = *state;
    static const struct {
        const char   *first, *second;
        rsl_saga_turn committed, undone;
    } cases[] = {
        {KEY("run"), KEY("run"), RSL_SAGA_AGAIN, RSL_SAGA_FIRST},
        {KEY("run"), KEY("undo"), RSL_SAGA_FIRST, RSL_SAGA_EMPTY},
        {KEY("undo"), KEY("run"), RSL_SAGA_LATE, RSL_SAGA_FIRST},
        {KEY("undo"), KEY("undo"), RSL_SAGA_EMPTY, RSL_SAGA_EMPTY},
    };
    for (size_t i = 0; i < RSL_COUNT(cases); i++) {
        meeting m = met(p, cases[i].first, "COMMIT", cases[i].second, "BEGIN");
        assert_int_equal(m.result, RSL_OK);
        assert_int_equal(m.turn, cases[i].committed);
        m = met(p, cases[i].first, "ROLLBACK", cases[i].second, "BEGIN");
        assert_int_equal(m.result, RSL_OK);
        assert_int_equal(m.turn, cases[i].undone);
    }
}

static void in_a_snapshot_the_second_of_two_is_told_to_run_again(void **state)
{
    passage *p = *state;
    static const char *const begins[] = {"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1",
                                         "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1"};
    for (size_t i = 0; i < RSL_COUNT(begins); i++) {
        meeting m = met(p, KEY("run"), "COMMIT", KEY("undo"), begins[i]);
        assert_int_equal(m.result, RSL_POSTGRES_SERIALIZATION_FAILURE);
        assert_int_equal(pass_once(p->two, KEY("undo")), RSL_SAGA_FIRST);
        m = met(p, KEY("undo"), "ROLLBACK", KEY("run"), begins[i]);
        assert_int_equal(m.result, RSL_OK);
        assert_int_equal(m.turn, RSL_SAGA_FIRST);
    }
}

/* The participant of the stress below: one account, moved by action and compensation. */
typedef struct account {
    pthread_t   thread;
    PGconn     *conn;
    unsigned    seed;
    const char *level;
    int         failed;
} account;

static void *account_run(void *arg)
{
    account *a = arg;
    seeded_random random = {a->seed};
    for (int i = 0; i < 60 && a->failed == RSL_OK; i++) {
        char key[64], begin[64];
        bool undo = seeded_random_below(&random, 2) == 1;
        (void)snprintf(key, sizeof key, "u/%d/s/%s", i / 6 + 1, undo ? "undo" : "run");
        (void)snprintf(begin, sizeof begin, "BEGIN ISOLATION LEVEL %s", a->level);
        rsl_saga_turn turn = RSL_SAGA_AGAIN;
        int code = rsl_postgres_exec(a->conn, NULL, begin, NULL);
        if (code == RSL_OK) code = rsl_saga_postgres_barrier(a->conn, key, &turn);
        if (code == RSL_OK && turn == RSL_SAGA_FIRST)
            code = rsl_postgres_exec(a->conn, NULL, undo ? "UPDATE account SET n = n - 1, "
                                     "undone = undone + 1" : "UPDATE account SET n = n + 1", NULL);
        bool commit = code == RSL_OK && seeded_random_below(&random, 4) > 0;
        int end = rsl_postgres_exec(a->conn, NULL, commit ? "COMMIT" : "ROLLBACK", NULL);
        bool again = rsl_postgres_classify(code) == RSL_POSTGRES_RERUN;
        if (end != RSL_OK && rsl_postgres_classify(end) != RSL_POSTGRES_RERUN) a->failed = end;
        if (code != RSL_OK && !again) a->failed = code;
    }
    return NULL;
}

static void many_calls_at_once_leave_each_effect_once(void **state)
{
    passage *p = *state;
    static const char *const levels[] = {"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"};
    (void)p;
    for (size_t level = 0; level < RSL_COUNT(levels); level++) {
        account accounts[4];
        postgres_do_sql("DROP TABLE IF EXISTS account; TRUNCATE rsl_saga_barrier;"
                        "CREATE TABLE account AS SELECT 0 AS n, 0 AS undone");
        for (unsigned i = 0; i < 4; i++) {
            accounts[i] = (account){.conn = participant("many"), .seed = 100 + i,
                                    .level = levels[level]};
            assert_int_equal(pthread_create(&accounts[i].thread, NULL, account_run,
                                            &accounts[i]), 0);
        }
        for (int i = 0; i < 4; i++) {
            pthread_join(accounts[i].thread, NULL);
            assert_int_equal(accounts[i].failed, RSL_OK);
            rsl_postgres_close(accounts[i].conn);
        }
        /* What was done is what has a place of its own, and was not undone since. */
        assert_int_equal(postgres_number("SELECT n + undone FROM account"),
                         postgres_number("SELECT count(*) FROM rsl_saga_barrier WHERE came = "
                                         "'run'"));
        assert_int_equal(postgres_number("SELECT undone FROM account"),
                         postgres_number("SELECT count(*) FROM rsl_saga_barrier u JOIN "
                                         "rsl_saga_barrier r USING (saga, step) WHERE u.direction "
                                         "= 'undo' AND r.direction = 'run' AND r.came = 'run'"));
    }
    postgres_do_sql("DROP TABLE account");
}

#define PURE(name)    cmocka_unit_test(name)
#define STORED(name)  cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define BARRIER(name) cmocka_unit_test_setup_teardown(name, set_up_barrier, tear_down_barrier)

int main(void)
{
    const struct CMUnitTest pure[] = {
        PURE(each_bad_field_of_a_config_is_refused_by_its_name),
        PURE(a_zeroed_config_means_the_documented_defaults),
        PURE(a_store_is_a_shared_one_and_connects_to_nothing_before_it_is_opened),
        PURE(a_server_that_is_not_there_is_told_in_a_sentence),
    };
    const struct CMUnitTest tests[] = {
        PURE(hosts_that_open_an_empty_database_at_once_share_it),
        PURE(tables_of_a_newer_version_are_refused),
        PURE(rights_that_are_missing_are_told_at_once),
        STORED(the_uuid_is_drawn_once_and_the_numbers_of_an_exclusive_store_are_0),
        STORED(the_time_of_opening_is_that_of_the_database),
        STORED(another_prefix_or_schema_is_another_store),
        STORED(a_host_without_the_right_to_create_uses_what_is_there),

        STORED(a_saga_begins_once_under_its_key),
        STORED(a_key_may_be_any_bytes_up_to_its_limit),
        STORED(of_many_that_begin_one_key_at_once_one_has_begun_it),
        STORED(a_beginning_whose_commit_was_not_answered_is_new_and_ones_own),
        STORED(a_saga_may_begin_as_nobodys),
        STORED(a_long_log_comes_back_in_order_and_byte_for_byte),
        STORED(large_records_are_stored_and_read_a_few_at_a_time),
        STORED(what_visit_returns_ends_the_load_and_comes_back),

        STORED(the_state_of_a_saga_is_that_of_its_last_record),
        STORED(a_saga_that_ends_or_is_parked_is_nobodys),
        STORED(records_of_another_epoch_are_left_out_and_the_rest_is_stored),
        STORED(an_owner_whose_lease_has_passed_appends_until_it_is_claimed),
        STORED(to_append_again_what_is_stored_is_right_and_doubles_nothing),
        STORED(another_record_under_the_same_number_is_damage),
        STORED(what_can_be_no_record_is_refused),
        STORED(an_append_waits_for_a_claim_under_way_and_is_refused),
        STORED(a_claim_passes_over_what_is_being_appended_to),
        STORED(a_slow_append_delays_neither_renew_nor_anything_else),

        STORED(claims_of_two_hosts_exclude_each_other),
        STORED(a_lease_that_has_passed_is_taken_under_a_higher_epoch),
        STORED(leases_pass_by_the_clock_of_the_database),
        STORED(only_wanted_definitions_and_as_many_as_asked_for_are_claimed),
        STORED(ended_and_parked_sagas_are_not_claimed_but_a_parked_one_by_its_id),
        STORED(a_claim_whose_commit_was_not_answered_is_made_again),
        STORED(renew_keeps_what_is_owned_and_tells_what_is_lost),
        STORED(what_is_given_back_can_be_claimed_at_once),
        STORED(a_parked_saga_is_renewed_only_for_who_claimed_it),
        STORED(a_wish_to_cancel_reaches_the_owner_and_who_comes_after),
        STORED(more_than_one_statement_takes_are_renewed_all),

        STORED(sagas_of_all_hosts_are_listed_by_id_and_state),
        STORED(one_saga_is_listed_or_is_none),
        STORED(a_long_list_comes_whole_and_ends_when_visit_says_so),
        STORED(compact_keeps_what_has_not_ended_and_the_latest_that_have),
        STORED(compact_drops_a_bounded_number_at_once),

        STORED(an_append_that_is_cut_off_is_stored_once),
        STORED(two_tries_of_one_append_at_once_are_stored_once),
        STORED(connections_that_the_server_has_closed_are_made_anew),
        STORED(a_server_that_falls_silent_is_waited_for_no_longer_than_said),
        STORED(renew_gives_up_when_the_lease_would_be_over),
        STORED(a_commit_that_no_standby_has_seen_does_not_count),
        STORED(a_statement_that_takes_too_long_is_ended_and_tried_again),
        STORED(what_was_acknowledged_outlives_a_restart_and_a_crash),
        STORED(a_server_that_is_down_is_waited_for_when_opening),

        STORED(other_defaults_of_the_session_change_nothing),
        STORED(what_cannot_be_helped_is_told_at_once_and_the_next_call_tries_anew),
        STORED(what_an_operator_cancels_is_tried_again),
        STORED(a_host_is_named_after_machine_and_process_unless_told_otherwise),
        STORED(more_callers_than_connections_wait_their_turn),
        STORED(a_caller_without_a_connection_gives_up_in_time),
        STORED(an_allocation_that_fails_fails_one_call_and_nothing_else),
        STORED(errno_survives_every_call),

        BARRIER(every_order_of_calls_has_its_turns),
        BARRIER(what_was_rolled_back_never_came),
        BARRIER(stores_sagas_steps_and_rounds_are_told_apart),
        BARRIER(what_is_no_key_of_a_step_is_refused),
        BARRIER(the_barrier_wants_a_transaction_and_its_table),
        BARRIER(the_table_is_made_by_any_number_at_once_and_within_a_transaction),
        BARRIER(what_is_old_is_forgotten_saga_by_saga),
        BARRIER(of_two_at_once_the_second_waits_and_goes_by_what_the_first_left),
        BARRIER(in_a_snapshot_the_second_of_two_is_told_to_run_again),
        BARRIER(many_calls_at_once_leave_each_effect_once),
    };
    int failed = cmocka_run_group_tests(pure, NULL, NULL);
    return failed + cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
