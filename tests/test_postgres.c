/* SPDX-License-Identifier: MIT
   test_postgres.c: adapters/postgres.h on a real server: backends killed while idle and in
   mid-query, restarts, a full server, silence, cuts at COMMIT, conflicts of two connections.
   Limits in time are generous, for the machine may be busy: what must end at 100 ms may take some
   seconds, where without the adapter it would take a minute.                                   */
#define _DEFAULT_SOURCE 1
#include "support/allocator.h"

#define RSL_RETRY_IMPLEMENTATION
#include "retry.h"
#define RSL_POSTGRES_IMPLEMENTATION
#include "adapters/postgres.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/postgres.h"
#include "support/proxy.h"
#include "support/support.h"

static const rsl_time SOON = RSL_MS(100), LATE = RSL_SEC(10);
static const char *const SLEEP = "SELECT pg_sleep(60)";

/* ------------------------------------------------------------------- helpers */

/* Connections of a test: two plain ones, and a proxy that tests connect through. */
typedef struct fixture {
    PGconn *conn, *other;
    proxy   proxy;
    char    through[256]; /* conninfo of the proxy */
} fixture;

static int server_port(void)
{
    return atoi(strstr(postgres.conninfo, "port=") + 5);
}

static PGconn *connect_as(const rsl_postgres_config *config)
{
    PGconn *conn = NULL;
    rsl_ctx ctx = rsl_within(RSL_SEC(30));
    assert_int_equal(rsl_postgres_connect(&conn, &ctx, config), RSL_OK);
    return conn;
}

/* A busy machine may take its time to answer a cancel. */
static PGconn *connect_plainly(void)
{
    rsl_postgres_config config = {.conninfo = postgres.conninfo, .application_name = "test",
                                  .cancel_timeout = RSL_SEC(5)};
    return connect_as(&config);
}

static PGconn *connect_through(fixture *f)
{
    rsl_postgres_config config = {.conninfo = f->through, .application_name = "test"};
    return connect_as(&config);
}

static int set_up_group(void **state)
{
    (void)state;
    if (postgres_start("max_connections=20 deadlock_timeout=50ms") != 0) return -1;
    postgres_do_sql("CREATE TABLE stock(id int PRIMARY KEY, n int NOT NULL CHECK (n >= 0));"
                    "CREATE TABLE orders(id int PRIMARY KEY, item int REFERENCES stock "
                    "DEFERRABLE INITIALLY DEFERRED, note text NOT NULL DEFAULT '');"
                    "CREATE ROLE app LOGIN; CREATE ROLE narrow LOGIN CONNECTION LIMIT 1");
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
    postgres_do_sql("TRUNCATE stock, orders; INSERT INTO stock VALUES (1, 10), (2, 10)");
    proxy_start(&f->proxy, server_port());
    (void)snprintf(f->through, sizeof f->through,
                   "host=127.0.0.1 port=%d user=postgres dbname=postgres", f->proxy.port);
    f->conn = connect_plainly();
    f->other = connect_plainly();
    *state = f;
    return 0;
}

/* Every test leaves the server without connections of its own. */
static int tear_down(void **state)
{
    fixture *f = *state;
    rsl_postgres_close(f->conn);
    rsl_postgres_close(f->other);
    proxy_stop(&f->proxy);
    free(f);
    return postgres_count_becomes("test", 0) ? 0 : -1;
}

static void must(PGconn *conn, const char *sql)
{
    int code = rsl_postgres_exec(conn, NULL, sql, NULL);
    if (code != RSL_OK) fail_msg("%s: %s", sql, PQerrorMessage(conn));
}

static void text_of(PGconn *conn, const char *sql, char *text, size_t size)
{
    PGresult *result = NULL;
    assert_int_equal(rsl_postgres_exec(conn, NULL, sql, &result), RSL_OK);
    (void)snprintf(text, size, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
}

static void assert_text(PGconn *conn, const char *sql, const char *wanted)
{
    char text[100];
    text_of(conn, sql, text, sizeof text);
    assert_string_equal(text, wanted);
}

static int code(const char *state)
{
    int value = rsl_postgres_code(state);
    assert_true(value >= 0);
    return value;
}

static void read_answers(PGconn *conn)
{
    for (PGresult *result; (result = PQgetResult(conn)) != NULL;) PQclear(result);
}

static void assert_soon(rsl_time start)
{
    assert_true(rsl_now() - start < LATE);
}

/* Does something from another thread, once the connection is at work or a little later. */
typedef struct helper {
    pthread_t   thread;
    rsl_cancel *cancel;  /* to fire */
    int         kill;    /* a backend to end */
    const char *verb;    /* of tools/postgres */
    PGconn     *conn;    /* to make a deadlock with */
    int         result;
} helper;

static PGconn *helper_connect(void)
{
    char conninfo[300];
    (void)snprintf(conninfo, sizeof conninfo, "%s application_name=helper", postgres.conninfo);
    return PQconnectdb(conninfo);
}

static void *help(void *arg)
{
    helper *h = arg;
    usleep(100000);
    if (h->cancel != NULL) rsl_cancel_fire(h->cancel);
    if (h->verb != NULL) (void)postgres_tool_(h->verb, NULL, 0);
    if (h->kill != 0) {
        char sql[100];
        PGconn *conn = helper_connect();
        (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", h->kill);
        PQclear(PQexec(conn, sql));
        PQfinish(conn);
    }
    return NULL;
}

static void help_later(helper *h)
{
    assert_int_equal(pthread_create(&h->thread, NULL, help, h), 0);
}

static void help_is_done(helper *h)
{
    pthread_join(h->thread, NULL);
}

/* --------------------------------------------------------------------- codes */

static void a_code_is_a_sqlstate_in_base_36_and_back(void **state)
{
    (void)state;
    static const char *const states[] = {"00000", "00001", "01000", "0000Z", "23505", "40P01",
                                         "57P01", "RSL01", "ZZZZZ"};
    static const int codes[] = {0, 1, 46656, 35, RSL_POSTGRES_UNIQUE_VIOLATION,
                                RSL_POSTGRES_DEADLOCK_DETECTED, RSL_POSTGRES_ADMIN_SHUTDOWN,
                                RSL_POSTGRES_UNREACHABLE, 60466175};
    for (size_t i = 0; i < RSL_COUNT(states); i++) {
        char text[6];
        assert_int_equal(rsl_postgres_code(states[i]), codes[i]);
        assert_ptr_equal(rsl_postgres_state(codes[i], text), text);
        assert_string_equal(text, states[i]);
    }
}

static void what_is_no_sqlstate_has_no_code(void **state)
{
    (void)state;
    static const char *const wrong[] = {NULL, "", "2350", "235055", "2350a", "23-05", "\xff....."};
    static const int numbers[] = {-1, RSL_EINVAL, RSL_ETIMEOUT, INT_MIN, INT_MAX, 60466176};
    char text[6] = "-----";
    for (size_t i = 0; i < RSL_COUNT(wrong); i++)
        assert_int_equal(rsl_postgres_code(wrong[i]), RSL_EINVAL);
    for (size_t i = 0; i < RSL_COUNT(numbers); i++)
        assert_null(rsl_postgres_state(numbers[i], text));
    assert_string_equal(text, "-----");
}

static bool is_in(const char *const *list, size_t count, const char *state)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(list[i]);
        if (strncmp(list[i], state, length) == 0) return true;
    }
    return false;
}

/* A SQLSTATE, or the beginning that several share. */
static const char *const RETRIES[] = {"08001", "08004", "53000", "53200", "53300", "55006",
                                      "55P03", "57P03", "HV00N", "RSL01"};
static const char *const RERUNS[] = {"08000", "08003", "08006", "08P01", "25P03", "25P04",
                                     "40000", "40001", "40P01", "57P01", "57P02", "57P05",
                                     "72000", "RSL02", "RSL04"};
static const char *const UNKNOWNS[] = {"08007", "40003", "RSL03"};
static const char *const SICK[] = {
    "08", "25P04", "28", "3D", "40003", "53", "57000", "57014", "57P01", "57P02", "57P03",
    "57P04", "58", "F0", "HV", "XX", "RSL"};
static const char *const MUTE[] = {"25P02", "25P03", "57P05"};
static const char *const LOST[] = {"08", "25P03", "25P04", "28", "3D", "53300", "57P01", "57P02",
                                   "57P03", "57P04", "57P05", "RSL"};

static void assert_decided(const char *state)
{
    int value = code(state);
    rsl_postgres_class asks = rsl_postgres_classify(value), wanted = RSL_POSTGRES_FINAL;
    if (strncmp(state, "00", 2) == 0) wanted = RSL_POSTGRES_OK;
    if (is_in(RETRIES, RSL_COUNT(RETRIES), state)) wanted = RSL_POSTGRES_RETRY;
    if (is_in(RERUNS, RSL_COUNT(RERUNS), state)) wanted = RSL_POSTGRES_RERUN;
    if (is_in(UNKNOWNS, RSL_COUNT(UNKNOWNS), state)) wanted = RSL_POSTGRES_UNKNOWN;
    bool again = wanted == RSL_POSTGRES_RETRY || wanted == RSL_POSTGRES_RERUN;
    if (value == 0) return; /* success, not an error of class 00 */
    if (asks != wanted || rsl_postgres_is_retryable(value, NULL) != again ||
        rsl_postgres_is_failure(value, NULL) != is_in(SICK, RSL_COUNT(SICK), state) ||
        rsl_postgres_is_ignored(value, NULL) != is_in(MUTE, RSL_COUNT(MUTE), state) ||
        rsl_postgres_is_lost(value) != is_in(LOST, RSL_COUNT(LOST), state))
        fail_msg("%s is not as was decided", state);
}

static void every_sqlstate_of_the_installed_server_asks_for_what_was_decided(void **state)
{
    (void)state;
    FILE *list = popen("cat /usr/share/postgresql/*/errcodes.txt 2> /dev/null", "r");
    char line[300], text[6], kind;
    int found = 0;
    while (list != NULL && fgets(line, sizeof line, list) != NULL) {
        if (sscanf(line, "%5[0-9A-Z] %c", text, &kind) != 2 || strlen(text) != 5) continue;
        if (strchr("EWS", kind) == NULL) continue;
        assert_decided(text);
        found++;
    }
    if (list != NULL) pclose(list);
    static const char *const own[] = {"RSL01", "RSL02", "RSL03", "RSL04", "25P04", "U0001"};
    for (size_t i = 0; i < RSL_COUNT(own); i++) assert_decided(own[i]);
    if (found == 0) skip();
    assert_true(found >= 230);
}

static void what_is_no_code_is_final_and_a_failure(void **state)
{
    (void)state;
    static const int alien[] = {1, 99, 4242, 46655, 60466176, -1, INT_MIN, INT_MAX, RSL_EOPEN,
                                RSL_EFULL, RSL_ESYS};
    for (size_t i = 0; i < RSL_COUNT(alien); i++) {
        assert_int_equal(rsl_postgres_classify(alien[i]), RSL_POSTGRES_FINAL);
        assert_true(rsl_postgres_is_failure(alien[i], NULL));
        assert_false(rsl_postgres_is_ignored(alien[i], NULL));
        assert_false(rsl_postgres_is_lost(alien[i]));
    }
    assert_int_equal(rsl_postgres_classify(RSL_OK), RSL_POSTGRES_OK);
    assert_false(rsl_postgres_is_failure(RSL_OK, NULL));
    assert_false(rsl_postgres_is_ignored(RSL_OK, NULL));
}

static void a_deadline_is_a_failure_to_rerun_and_a_cancellation_is_nobodys(void **state)
{
    (void)state;
    assert_int_equal(rsl_postgres_classify(RSL_ETIMEOUT), RSL_POSTGRES_RERUN);
    assert_true(rsl_postgres_is_failure(RSL_ETIMEOUT, NULL));
    assert_int_equal(rsl_postgres_classify(RSL_ECANCELED), RSL_POSTGRES_FINAL);
    assert_true(rsl_postgres_is_ignored(RSL_ECANCELED, NULL));
    assert_true(rsl_postgres_is_ignored(RSL_EINVAL, NULL));
    assert_true(rsl_postgres_is_ignored(RSL_ENOMEM, NULL));
}

static void people_are_told_by_kind(void **state)
{
    (void)state;
    static const struct { const char *state; rsl_postgres_kind kind; } rows[] = {
        {"00000", RSL_POSTGRES_KIND_OK}, {"08006", RSL_POSTGRES_KIND_CONNECTION},
        {"57P01", RSL_POSTGRES_KIND_CONNECTION}, {"53300", RSL_POSTGRES_KIND_CONNECTION},
        {"28P01", RSL_POSTGRES_KIND_CONNECTION}, {"RSL01", RSL_POSTGRES_KIND_CONNECTION},
        {"RSL02", RSL_POSTGRES_KIND_CONNECTION}, {"RSL03", RSL_POSTGRES_KIND_UNKNOWN},
        {"57014", RSL_POSTGRES_KIND_TIMEOUT}, {"40001", RSL_POSTGRES_KIND_CONFLICT},
        {"55P03", RSL_POSTGRES_KIND_CONFLICT}, {"23505", RSL_POSTGRES_KIND_UNIQUE},
        {"23P01", RSL_POSTGRES_KIND_UNIQUE}, {"23503", RSL_POSTGRES_KIND_FOREIGN_KEY},
        {"23001", RSL_POSTGRES_KIND_FOREIGN_KEY}, {"23514", RSL_POSTGRES_KIND_CHECK},
        {"22003", RSL_POSTGRES_KIND_CHECK}, {"23502", RSL_POSTGRES_KIND_NOT_NULL},
        {"22004", RSL_POSTGRES_KIND_NOT_NULL}, {"42601", RSL_POSTGRES_KIND_OTHER},
        {"XX000", RSL_POSTGRES_KIND_OTHER}};
    const char *texts[RSL_POSTGRES_KIND_OTHER + 1] = {NULL};
    for (size_t i = 0; i < RSL_COUNT(rows); i++) {
        int value = code(rows[i].state);
        assert_int_equal(rsl_postgres_kind_of(value), rows[i].kind);
        texts[rows[i].kind] = rsl_postgres_message(value);
    }
    for (int i = 0; i <= RSL_POSTGRES_KIND_OTHER; i++) {
        assert_non_null(texts[i]);
        for (int k = 0; k < i; k++) assert_string_not_equal(texts[i], texts[k]);
    }
    assert_int_equal(rsl_postgres_kind_of(RSL_ETIMEOUT), RSL_POSTGRES_KIND_TIMEOUT);
    assert_int_equal(rsl_postgres_kind_of(RSL_EOPEN), RSL_POSTGRES_KIND_OTHER);
}

static void a_result_of_libpq_has_a_code(void **state)
{
    (void)state;
    static const struct { ExecStatusType status; const char *state; } rows[] = {
        {PGRES_COMMAND_OK, "00000"}, {PGRES_TUPLES_OK, "00000"}, {PGRES_EMPTY_QUERY, "00000"},
        {PGRES_SINGLE_TUPLE, "00000"}, {PGRES_COPY_IN, "00000"}, {PGRES_COPY_OUT, "00000"},
#ifdef LIBPQ_HAS_PIPELINING
        {PGRES_PIPELINE_SYNC, "00000"}, {PGRES_PIPELINE_ABORTED, "25P02"},
#endif
        {PGRES_FATAL_ERROR, "RSL02"}, {PGRES_BAD_RESPONSE, "RSL02"}};
    for (size_t i = 0; i < RSL_COUNT(rows); i++) {
        PGresult *result = PQmakeEmptyPGresult(NULL, rows[i].status);
        assert_int_equal(rsl_postgres_result(NULL, result), code(rows[i].state));
        PQclear(result);
    }
    assert_int_equal(rsl_postgres_result(NULL, NULL), RSL_POSTGRES_LOST);
}

/* -------------------------------------------------------------------- config */

static void assert_refused(const rsl_postgres_config *config, const char *field)
{
    const char *why = rsl_postgres_config_check(config);
    PGconn *conn = (PGconn *)&conn, *before = conn;
    assert_non_null(why);
    assert_int_equal(strncmp(why, field, strlen(field)), 0);
    assert_int_equal(rsl_postgres_connect(&conn, NULL, config), RSL_EINVAL);
    assert_int_equal(rsl_postgres_connect_start(&conn, config), RSL_EINVAL);
    assert_int_equal(rsl_postgres_create((void *)(uintptr_t)config, NULL, (void **)&conn),
                     RSL_EINVAL);
    assert_ptr_equal(conn, before);
}

static void a_wrong_config_is_refused_by_field(void **state)
{
    (void)state;
    assert_refused(NULL, "config: ");
    assert_refused(&(rsl_postgres_config){.conninfo = "host=a port"}, "conninfo: ");
    assert_refused(&(rsl_postgres_config){.conninfo = "postgres://[a/b"}, "conninfo: ");
    assert_refused(&(rsl_postgres_config){.conninfo = "colour=red"}, "conninfo: ");
    assert_refused(&(rsl_postgres_config){.connect_timeout = -1}, "connect_timeout: ");
    assert_refused(&(rsl_postgres_config){.statement_timeout = RSL_NONE}, "statement_timeout: ");
    assert_refused(&(rsl_postgres_config){.statement_timeout = RSL_FOREVER - 1},
                   "statement_timeout: ");
    assert_refused(&(rsl_postgres_config){.cancel_timeout = -2}, "cancel_timeout: ");
    assert_refused(&(rsl_postgres_config){.validate_timeout = -1}, "validate_timeout: ");
    assert_int_equal(rsl_postgres_connect(NULL, NULL, NULL), RSL_EINVAL);
}

static void a_config_of_zeros_means_the_defaults(void **state)
{
    (void)state;
    rsl_postgres_config zeros = {0}, none = {.cancel_timeout = RSL_NONE};
    assert_null(rsl_postgres_config_check(&zeros));
    assert_null(rsl_postgres_config_check(&(rsl_postgres_config){.conninfo = "shop"}));
    assert_null(rsl_postgres_config_check(&(rsl_postgres_config){.conninfo = "postgres://h/d"}));
    rsl_postgres_config c = rsl_postgres_config_resolve(&zeros);
    assert_string_equal(c.conninfo, "");
    assert_true(c.connect_timeout == RSL_SEC(10) && c.cancel_timeout == RSL_MS(100));
    assert_true(c.validate_timeout == RSL_SEC(1) && c.statement_timeout == 0);
    assert_true(rsl_postgres_config_resolve(&none).cancel_timeout == 0);
}

/* ---------------------------------------------------------------- connecting */

static void a_connection_bears_its_name_and_leaves_nothing(void **state)
{
    fixture *f = *state;
    rsl_postgres_config config = {.conninfo = postgres.conninfo, .application_name = "a name"};
    PGconn *conn = connect_as(&config);
    assert_int_equal(postgres_count("a name"), 1);
    assert_false(rsl_postgres_is_broken(conn));
    rsl_postgres_close(conn);
    assert_true(postgres_count_becomes("a name", 0));
    assert_true(rsl_postgres_is_broken(NULL));
    rsl_postgres_close(NULL);
    assert_int_equal(PQstatus(f->conn), CONNECTION_OK);
}

/* A server that never answers: the system's backlog accepts, nobody reads. */
static int silent_server(char *conninfo, size_t size)
{
    int port, fd = proxy_listen(&port);
    (void)snprintf(conninfo, size, "host=127.0.0.1 port=%d user=a dbname=a", port);
    return fd;
}

static void connecting_to_silence_ends_at_the_deadline_or_the_timeout(void **state)
{
    (void)state;
    char conninfo[100];
    int fd = silent_server(conninfo, sizeof conninfo);
    PGconn *conn = NULL;
    rsl_postgres_config patient = {.conninfo = conninfo};
    rsl_postgres_config hasty = {.conninfo = conninfo, .connect_timeout = SOON};

    rsl_time start = rsl_now();
    rsl_ctx ctx = rsl_within(SOON);
    assert_int_equal(rsl_postgres_connect(&conn, &ctx, &patient), RSL_ETIMEOUT);
    assert_true(rsl_now() - start >= SOON && rsl_now() - start < RSL_SEC(9));

    start = rsl_now();
    assert_int_equal(rsl_postgres_connect(&conn, NULL, &hasty), RSL_ETIMEOUT);
    assert_true(rsl_now() - start >= SOON && rsl_now() - start < RSL_SEC(9));
    assert_null(conn);
    close(fd);
}

static void cancelling_ends_a_connect_at_once(void **state)
{
    (void)state;
    char conninfo[100];
    int fd = silent_server(conninfo, sizeof conninfo);
    PGconn *conn = NULL;
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    helper h = {.cancel = &cancel};
    help_later(&h);
    rsl_time start = rsl_now();
    rsl_ctx ctx = {.cancel = &cancel};
    rsl_postgres_config config = {.conninfo = conninfo, .connect_timeout = RSL_SEC(60)};
    assert_int_equal(rsl_postgres_connect(&conn, &ctx, &config), RSL_ECANCELED);
    assert_soon(start);
    help_is_done(&h);
    rsl_cancel_deinit(&cancel);
    close(fd);
}

static void a_spent_ctx_connects_nothing(void **state)
{
    fixture *f = *state;
    PGconn *conn = NULL;
    rsl_postgres_config config = {.conninfo = f->through};
    rsl_ctx late = {.deadline = 1};
    int before = atomic_load(&f->proxy.accepted);
    assert_int_equal(rsl_postgres_connect(&conn, &late, &config), RSL_ETIMEOUT);
    assert_int_equal(atomic_load(&f->proxy.accepted), before);
}

/* What the callback for failed connects was told. */
typedef struct told { int calls, code; char message[400]; } told;

static void on_failed(void *user, int value, const char *message)
{
    told *t = user;
    t->calls++;
    t->code = value;
    (void)snprintf(t->message, sizeof t->message, "%s", message);
}

static int refused_with(const char *conninfo, told *t)
{
    PGconn *conn = NULL;
    memset(t, 0, sizeof *t);
    rsl_postgres_config config = {.conninfo = conninfo, .failed = on_failed, .user = t};
    int value = rsl_postgres_connect(&conn, NULL, &config);
    assert_null(conn);
    assert_int_equal(t->calls, 1);
    assert_int_equal(t->code, value);
    assert_true(strlen(t->message) > 0);
    return value;
}

static void a_server_that_is_not_there_is_unreachable(void **state)
{
    (void)state;
    told t;
    char conninfo[100];
    close(silent_server(conninfo, sizeof conninfo)); /* so nobody listens on this port */
    assert_int_equal(refused_with(conninfo, &t), RSL_POSTGRES_UNREACHABLE);
    assert_int_equal(refused_with("host=/nonexistent dbname=a", &t), RSL_POSTGRES_UNREACHABLE);
    assert_int_equal(rsl_postgres_classify(RSL_POSTGRES_UNREACHABLE), RSL_POSTGRES_RETRY);
}

static void a_refused_connect_tells_the_sqlstate_of_the_server(void **state)
{
    fixture *f = *state;
    told t;
    char conninfo[200];
    (void)snprintf(conninfo, sizeof conninfo,
                   "host=127.0.0.1 port=%d user=postgres dbname=nowhere", f->proxy.port);
    assert_int_equal(refused_with(conninfo, &t), code("3D000"));
    assert_non_null(strstr(t.message, "nowhere"));
    (void)snprintf(conninfo, sizeof conninfo,
                   "host=127.0.0.1 port=%d user=nobody dbname=postgres", f->proxy.port);
    assert_int_equal(refused_with(conninfo, &t), code("28000"));
}

static void a_full_server_asks_to_come_again(void **state)
{
    (void)state;
    told t;
    char conninfo[200];
    PGconn *held[20], *conn;
    int count = 0, value;
    (void)snprintf(conninfo, sizeof conninfo,
                   "host=127.0.0.1 port=%d user=app dbname=postgres application_name=test",
                   server_port());
    rsl_postgres_config config = {.conninfo = conninfo, .failed = on_failed, .user = &t};
    while ((value = rsl_postgres_connect(&conn, NULL, &config)) == RSL_OK) {
        assert_true(count < 20);
        held[count++] = conn;
    }
    assert_int_equal(value, RSL_POSTGRES_TOO_MANY_CONNECTIONS);
    assert_int_equal(rsl_postgres_classify(value), RSL_POSTGRES_RETRY);
    assert_true(count > 5);
    rsl_postgres_close(held[--count]);
    while ((value = rsl_postgres_connect(&held[count], NULL, &config)) != RSL_OK) usleep(5000);
    while (count >= 0) rsl_postgres_close(held[count--]);
}

/* A server that gives one answer, to one connection. */
typedef struct actor { int listener; const char *answer; size_t size; } actor;

static void *act(void *arg)
{
    actor *a = arg;
    char bytes[1000];
    int fd = accept(a->listener, NULL, NULL);
    (void)recv(fd, bytes, sizeof bytes, 0); /* wants to encrypt */
    (void)send(fd, "N", 1, MSG_NOSIGNAL);
    (void)recv(fd, bytes, sizeof bytes, 0);
    (void)send(fd, a->answer, a->size, MSG_NOSIGNAL);
    (void)recv(fd, bytes, sizeof bytes, 0);
    close(fd);
    return NULL;
}

static int refused_by_actor(const char *answer, size_t size, told *t)
{
    char conninfo[140];
    actor a = {.listener = silent_server(conninfo, 100), .answer = answer, .size = size};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, act, &a), 0);
    strcat(conninfo, " gssencmode=disable passfile=/x");
    int value = refused_with(conninfo, t);
    pthread_join(thread, NULL);
    close(a.listener);
    return value;
}

static void the_sqlstate_of_a_refusal_is_found_in_any_language(void **state)
{
    (void)state;
    static const char error[] =
        "E\0\0\0\x32SFATALE\0VFATAL\0C57P03\0MIl sistema si avvia.....\0";
    told t;
    assert_int_equal(refused_by_actor(error, sizeof error, &t), code("57P03"));
    assert_non_null(strstr(t.message, "Il sistema"));
}

static void a_password_that_is_wanted_and_not_given_is_a_wrong_one(void **state)
{
    (void)state;
    static const char wants_password[] = "R\0\0\0\x08\0\0\0\x03";
    told t;
    assert_int_equal(refused_by_actor(wants_password, sizeof wants_password - 1, &t),
                     code("28P01"));
    assert_int_equal(rsl_postgres_classify(code("28P01")), RSL_POSTGRES_FINAL);
}

static void a_connection_keeps_its_limit_and_the_options_of_its_conninfo(void **state)
{
    (void)state;
    char conninfo[350];
    (void)snprintf(conninfo, sizeof conninfo, "%s application_name=test options='-c work_mem=3MB'",
                   postgres.conninfo);
    rsl_postgres_config config = {.conninfo = conninfo, .statement_timeout = RSL_US(1234500)};
    PGconn *conn = connect_as(&config);
    must(conn, "SET statement_timeout = 7; SET work_mem = '5MB'");
    assert_int_equal(rsl_postgres_reset(&config, conn), RSL_OK);
    assert_text(conn, "SHOW statement_timeout", "1235ms");
    assert_text(conn, "SHOW work_mem", "3MB");
    assert_text(conn, "SHOW application_name", "test");
    rsl_postgres_close(conn);
}

static void a_silent_host_leaves_time_for_the_next(void **state)
{
    (void)state;
    char silent[100], conninfo[300];
    int port, fd = silent_server(silent, sizeof silent), other = proxy_listen(&port);
    close(other); /* nobody listens there */
    static const char *const forms[] = {
        "host=127.0.0.1,127.0.0.1,127.0.0.1 port=%d,%d,%d user=postgres dbname=postgres",
        "hostaddr=127.0.0.1,127.0.0.1,127.0.0.1 port=%d,%d,%d user=postgres dbname=postgres",
        "postgres://postgres@127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/postgres"};
    for (size_t i = 0; i < RSL_COUNT(forms); i++) {
        PGconn *conn = NULL;
        told t = {0};
        (void)snprintf(conninfo, sizeof conninfo, forms[i], atoi(strstr(silent, "port=") + 5),
                       port, server_port());
        rsl_postgres_config config = {.conninfo = conninfo, .application_name = "test",
                                      .failed = on_failed, .user = &t,
                                      .connect_timeout = RSL_SEC(2)};
        assert_int_equal(rsl_postgres_connect(&conn, NULL, &config), RSL_OK);
        assert_int_equal(t.calls, 2);
        assert_text(conn, "SELECT 7", "7");
        rsl_postgres_close(conn);
    }
    told t;
    (void)snprintf(conninfo, sizeof conninfo,
                   "host=127.0.0.1,127.0.0.1 port=%d user=postgres dbname=nowhere", server_port());
    assert_int_equal(refused_with(conninfo, &t), code("3D000")); /* the second is not asked */
    static const char wrong[] = "host=127.0.0.1,127.0.0.1 port=1,2,3 user=a dbname=a";
    assert_int_equal(refused_with(wrong, &t), RSL_POSTGRES_UNREACHABLE);
    close(fd);
}

static void an_allocation_that_fails_fails_the_connect_and_nothing_else(void **state)
{
    (void)state;
    char conninfo[300];
    (void)snprintf(conninfo, sizeof conninfo, "host=127.0.0.1,127.0.0.1 port=%d user=postgres "
                   "dbname=postgres target_session_attrs=any options='-c work_mem=3MB'",
                   server_port());
    rsl_postgres_config config = {.conninfo = conninfo, .application_name = "test",
                                  .statement_timeout = RSL_SEC(60)};
    long live = support_live(), failed = 0;
    for (int value = RSL_ENOMEM; value != RSL_OK; failed++) {
        PGconn *conn = NULL;
        support_fail_nth(failed + 1);
        value = rsl_postgres_connect(&conn, NULL, &config);
        assert_true(value == RSL_OK || value == RSL_ENOMEM);
        rsl_postgres_close(conn);
        assert_int_equal(support_live(), live);
    }
    support_fail_never();
    assert_true(failed > 5);
}

static void without_memory_to_cancel_a_statement_the_connection_is_given_up(void **state)
{
    fixture *f = *state;
    rsl_ctx ctx = rsl_within(SOON);
    rsl_postgres_query query = {.sql = SLEEP, .changes_nothing = true};
    support_fail_from(1);
    int value = rsl_postgres_run(f->conn, &ctx, &query, NULL);
    support_fail_never();
    assert_int_equal(value, RSL_ETIMEOUT);
    assert_true(rsl_postgres_is_broken(f->conn));
    postgres_kill("test");
}

static void an_event_loop_connects_by_itself(void **state)
{
    fixture *f = *state;
    told t = {0};
    rsl_postgres_config config = {.conninfo = f->through, .application_name = "test",
                                  .failed = on_failed, .user = &t};
    PGconn *conn = NULL;
    assert_int_equal(rsl_postgres_connect_start(&conn, &config), RSL_OK);
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next == PGRES_POLLING_WRITING || next == PGRES_POLLING_READING) {
        short events = next == PGRES_POLLING_WRITING ? POLLOUT : POLLIN;
        struct pollfd polled = {PQsocket(conn), events, 0};
        assert_int_equal(poll(&polled, 1, 10000), 1);
        next = PQconnectPoll(conn);
    }
    assert_int_equal(rsl_postgres_connect_finish(conn, &config), RSL_OK);
    assert_text(conn, "SELECT 7", "7");
    rsl_postgres_close(conn);

    assert_int_equal(rsl_postgres_connect_start(&conn, &config), RSL_OK);
    rsl_postgres_close(conn); /* given up on the way */
    assert_int_equal(t.calls, 0);
    config.conninfo = "host=/nonexistent dbname=a";
    assert_int_equal(rsl_postgres_connect_start(&conn, &config), RSL_POSTGRES_UNREACHABLE);
    assert_int_equal(t.calls, 1);
}

/* ---------------------------------------------------------------- statements */

static void a_statement_gives_its_result(void **state)
{
    fixture *f = *state;
    static const char *const params[] = {"40", NULL};
    rsl_postgres_query query = {.sql = "SELECT $1::int + 2, $2::text IS NULL", .params_count = 2,
                                .params = params};
    PGresult *result = NULL;
    assert_int_equal(rsl_postgres_run(f->conn, NULL, &query, &result), RSL_OK);
    assert_string_equal(PQgetvalue(result, 0, 0), "42");
    assert_string_equal(PQgetvalue(result, 0, 1), "t");
    PQclear(result);

    must(f->conn, "PREPARE twice AS SELECT 2 * $1::int");
    query = (rsl_postgres_query){.prepared = "twice", .params_count = 1, .params = params};
    assert_int_equal(rsl_postgres_run(f->conn, NULL, &query, &result), RSL_OK);
    assert_string_equal(PQgetvalue(result, 0, 0), "80");
    PQclear(result);

    query = (rsl_postgres_query){.sql = "SELECT 258::int", .result_format = 1};
    assert_int_equal(rsl_postgres_run(f->conn, NULL, &query, &result), RSL_OK);
    assert_memory_equal(PQgetvalue(result, 0, 0), "\0\0\1\2", 4);
    PQclear(result);
    assert_text(f->conn, "SELECT 1; SELECT 2; SELECT 3", "3");
    must(f->conn, "");
}

static void a_refused_statement_gives_its_sqlstate_and_details(void **state)
{
    fixture *f = *state;
    PGresult *result = NULL, *error = NULL;
    rsl_postgres_query query = {.sql = "INSERT INTO stock VALUES (1, 1)", .error = &error};
    assert_int_equal(rsl_postgres_run(f->conn, NULL, &query, &result),
                     RSL_POSTGRES_UNIQUE_VIOLATION);
    assert_null(result);
    assert_string_equal(PQresultErrorField(error, PG_DIAG_CONSTRAINT_NAME), "stock_pkey");
    PQclear(error);
    error = NULL;
    query.sql = "SELECT 1";
    assert_int_equal(rsl_postgres_run(f->conn, NULL, &query, NULL), RSL_OK);
    assert_null(error);

    static const struct { const char *sql, *state; } rows[] = {
        {"INSERT INTO stock VALUES (3, -1)", "23514"}, {"INSERT INTO stock VALUES (3)", "23502"},
        {"INSERT INTO orders VALUES (1, 9)", "23503"}, {"SELEC 1", "42601"},
        {"SELECT 1/0", "22012"}, {"SELECT 1; SELECT 1/0; SELECT 2", "22012"}};
    for (size_t i = 0; i < RSL_COUNT(rows); i++) {
        assert_int_equal(rsl_postgres_exec(f->conn, NULL, rows[i].sql, &result),
                         code(rows[i].state));
        assert_null(result);
    }
    assert_int_equal(postgres_number("SELECT count(*) FROM stock"), 2);
}

static void a_deadline_ends_a_statement_and_the_connection_lives_on(void **state)
{
    fixture *f = *state;
    for (int round = 0; round < 3; round++) {
        rsl_time start = rsl_now();
        rsl_ctx ctx = rsl_within(SOON);
        int rc = rsl_postgres_exec(f->conn, &ctx, SLEEP, NULL);
        assert_true(rsl_now() - start >= SOON);
        assert_soon(start);
        if (rsl_postgres_is_broken(f->conn)) { /* a busy machine took its time to answer */
            assert_true(rc == RSL_ETIMEOUT || rc == RSL_POSTGRES_UNKNOWN_OUTCOME);
            return;
        }
        assert_int_equal(rc, RSL_ETIMEOUT);
        assert_text(f->conn, "SELECT 7", "7");
    }
}

static void cancelling_ends_a_statement_at_once(void **state)
{
    fixture *f = *state;
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    helper h = {.cancel = &cancel};
    help_later(&h);
    rsl_time start = rsl_now();
    rsl_ctx ctx = {.cancel = &cancel};
    assert_int_equal(rsl_postgres_exec(f->conn, &ctx, SLEEP, NULL), RSL_ECANCELED);
    assert_soon(start);
    help_is_done(&h);
    assert_int_equal(rsl_postgres_exec(f->conn, &ctx, "SELECT 1", NULL), RSL_ECANCELED);
    rsl_cancel_deinit(&cancel);
    assert_true(postgres_becomes("SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                                 "'test' AND state = 'active'", 0));
}

static void a_statement_that_is_done_at_its_deadline_is_a_success(void **state)
{
    fixture *f = *state;
    for (int round = 0; round < 20; round++) {
        rsl_ctx ctx = rsl_within(RSL_US(300) * (round + 1));
        int value = rsl_postgres_exec(f->conn, &ctx, "SELECT 1", NULL);
        assert_true(value == RSL_OK || value == RSL_ETIMEOUT ||
                    value == RSL_POSTGRES_UNKNOWN_OUTCOME);
        if (!rsl_postgres_is_broken(f->conn)) {
            assert_text(f->conn, "SELECT 7", "7"); /* no cancel comes late */
        } else {
            rsl_postgres_close(f->conn);
            f->conn = connect_plainly();
        }
    }
}

static void deadlines_are_kept_on_the_clock_of_the_ctx(void **state)
{
    fixture *f = *state;
    shared_clock shared = {.now = RSL_SEC(1000)};
    rsl_clock clock = shared_clock_as(&shared);
    rsl_ctx ctx = {.deadline = RSL_SEC(1001), .clock = &clock};
    assert_int_equal(rsl_postgres_exec(f->conn, &ctx, "SELECT pg_sleep(0.01)", NULL), RSL_OK);
    atomic_store(&shared.now, RSL_SEC(1002));
    assert_int_equal(rsl_postgres_exec(f->conn, &ctx, "SELECT 1", NULL), RSL_ETIMEOUT);
    assert_text(f->conn, "SELECT 7", "7");
}

static void silence_in_mid_statement_ends_at_the_deadline(void **state)
{
    fixture *f = *state;
    PGconn *conn = connect_through(f);
    proxy_set(&f->proxy, PROXY_HOLD, NULL);
    rsl_time start = rsl_now();
    rsl_ctx ctx = rsl_within(SOON);
    rsl_postgres_query query = {.sql = "SELECT 1", .changes_nothing = true};
    assert_int_equal(rsl_postgres_run(conn, &ctx, &query, NULL), RSL_ETIMEOUT);
    assert_soon(start);
    assert_true(rsl_postgres_is_broken(conn));
    assert_int_equal(rsl_postgres_run(conn, NULL, &query, NULL), RSL_POSTGRES_LOST);
    start = rsl_now();
    rsl_postgres_close(conn);
    assert_soon(start);
}

static void silence_after_a_statement_that_commits_leaves_its_outcome_unknown(void **state)
{
    fixture *f = *state;
    PGconn *conn = connect_through(f);
    proxy_set(&f->proxy, PROXY_HOLD, NULL);
    rsl_ctx ctx = rsl_within(SOON);
    assert_int_equal(rsl_postgres_exec(conn, &ctx, "UPDATE stock SET n = 9", NULL),
                     RSL_POSTGRES_UNKNOWN_OUTCOME);
    assert_true(rsl_postgres_is_broken(conn));
    rsl_postgres_close(conn);
}

static void more_than_the_socket_takes_is_given_up_at_the_deadline(void **state)
{
    fixture *f = *state;
    enum { MUCH = 16 * 1024 * 1024 };
    char *much = malloc(MUCH);
    assert_non_null(much);
    memset(much, 'x', MUCH - 1);
    much[MUCH - 1] = '\0';
    const char *params[] = {much};
    rsl_postgres_query query = {.sql = "SELECT length($1::text)", .params_count = 1,
                                .params = params, .changes_nothing = true};
    PGresult *result = NULL;
    PGconn *conn = connect_through(f);
    assert_int_equal(rsl_postgres_run(conn, NULL, &query, &result), RSL_OK);
    assert_int_equal(atoi(PQgetvalue(result, 0, 0)), MUCH - 1);
    PQclear(result);

    proxy_set(&f->proxy, PROXY_HOLD, NULL);
    rsl_time start = rsl_now();
    rsl_ctx ctx = rsl_within(SOON);
    assert_int_equal(rsl_postgres_run(conn, &ctx, &query, NULL), RSL_ETIMEOUT);
    rsl_postgres_close(conn);
    assert_soon(start);
    free(much);
}

static void a_limit_of_the_session_is_final_and_not_our_deadline(void **state)
{
    (void)state;
    rsl_postgres_config config = {.conninfo = postgres.conninfo, .application_name = "test",
                                  .statement_timeout = RSL_MS(50)};
    PGconn *conn = connect_as(&config);
    rsl_ctx ctx = rsl_within(RSL_SEC(60));
    assert_int_equal(rsl_postgres_exec(conn, &ctx, SLEEP, NULL), RSL_POSTGRES_QUERY_CANCELED);
    assert_int_equal(rsl_postgres_classify(RSL_POSTGRES_QUERY_CANCELED), RSL_POSTGRES_FINAL);
    rsl_postgres_close(conn);
}

static void misuse_of_a_statement_is_refused(void **state)
{
    fixture *f = *state;
    rsl_postgres_query none = {0}, both = {.sql = "SELECT 1", .prepared = "a"};
    rsl_postgres_query minus = {.sql = "SELECT 1", .params_count = -1};
    assert_int_equal(rsl_postgres_run(f->conn, NULL, NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_postgres_run(f->conn, NULL, &none, NULL), RSL_EINVAL);
    assert_int_equal(rsl_postgres_run(f->conn, NULL, &both, NULL), RSL_EINVAL);
    assert_int_equal(rsl_postgres_run(f->conn, NULL, &minus, NULL), RSL_EINVAL);
    assert_int_equal(rsl_postgres_exec(NULL, NULL, "SELECT 1", NULL), RSL_EINVAL);
    assert_int_equal(rsl_postgres_exec(f->conn, NULL, NULL, NULL), RSL_EINVAL);

    assert_true(PQsendQuery(f->conn, "SELECT 1")); /* its answer is not read */
    assert_int_equal(rsl_postgres_exec(f->conn, NULL, "SELECT 1", NULL), RSL_EINVAL);
    assert_true(rsl_postgres_is_broken(f->conn));
    read_answers(f->conn);
    assert_false(rsl_postgres_is_broken(f->conn));
}

static void copy_is_refused_and_costs_the_connection(void **state)
{
    fixture *f = *state;
    assert_int_equal(rsl_postgres_exec(f->conn, NULL, "COPY stock FROM STDIN", NULL), RSL_EINVAL);
    assert_true(rsl_postgres_is_broken(f->conn));
    assert_int_equal(rsl_postgres_exec(f->other, NULL, "COPY stock TO STDOUT", NULL), RSL_EINVAL);
    assert_true(rsl_postgres_is_broken(f->other));
}

static void errno_survives_a_statement(void **state)
{
    fixture *f = *state;
    rsl_ctx ctx = rsl_within(SOON);
    errno = 77;
    assert_int_equal(rsl_postgres_exec(f->conn, &ctx, SLEEP, NULL), RSL_ETIMEOUT);
    assert_int_equal(errno, 77);
}

static void without_descriptors_the_system_says_why(void **state)
{
    fixture *f = *state;
    rsl_cancel cancel;
    struct rlimit before, none;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    rsl_ctx ctx = {.cancel = &cancel};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int value = rsl_postgres_exec(f->conn, &ctx, "SELECT 1", NULL), error = errno;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(value, RSL_ESYS);
    assert_int_equal(error, EMFILE);
    assert_text(f->conn, "SELECT 7", "7");
    rsl_cancel_deinit(&cancel);
}

/* --------------------------------------------------------- lost connections */

static void a_backend_killed_while_idle_is_known_before_anything_is_sent(void **state)
{
    fixture *f = *state;
    assert_int_equal(postgres_kill("test"), 2);
    assert_int_equal(PQstatus(f->conn), CONNECTION_OK); /* so libpq believes */
    /* It would commit by itself: were it sent, the outcome would be unknown. */
    int value = rsl_postgres_exec(f->conn, NULL, "UPDATE stock SET n = 9", NULL);
    assert_int_equal(value, RSL_POSTGRES_ADMIN_SHUTDOWN);
    assert_int_equal(rsl_postgres_classify(value), RSL_POSTGRES_RERUN);
    assert_true(rsl_postgres_is_broken(f->conn));
    assert_int_equal(rsl_postgres_validate(NULL, f->other), RSL_POSTGRES_ADMIN_SHUTDOWN);
    assert_true(rsl_postgres_is_broken(f->other));
}

static int killed_in(PGconn *conn, bool changes_nothing, const char *sql)
{
    helper h = {.kill = PQbackendPID(conn)};
    rsl_postgres_query query = {.sql = sql, .changes_nothing = changes_nothing};
    rsl_ctx ctx = rsl_within(RSL_SEC(60));
    help_later(&h);
    rsl_time start = rsl_now();
    int value = rsl_postgres_run(conn, &ctx, &query, NULL);
    assert_soon(start);
    help_is_done(&h);
    assert_true(rsl_postgres_is_broken(conn));
    return value;
}

static void a_backend_killed_in_a_reading_statement_asks_for_a_rerun(void **state)
{
    fixture *f = *state;
    int value = killed_in(f->conn, true, SLEEP);
    assert_int_equal(value, RSL_POSTGRES_ADMIN_SHUTDOWN);
    assert_true(rsl_postgres_is_lost(value));
}

static void a_backend_killed_in_a_statement_that_commits_leaves_it_unknown(void **state)
{
    fixture *f = *state;
    int value = killed_in(f->conn, false, "UPDATE stock SET n = 9 FROM pg_sleep(60)");
    assert_int_equal(value, RSL_POSTGRES_UNKNOWN_OUTCOME);
    assert_int_equal(rsl_postgres_classify(value), RSL_POSTGRES_UNKNOWN);
    assert_false(rsl_postgres_is_retryable(value, NULL));
}

static void a_backend_killed_inside_a_transaction_asks_for_a_rerun(void **state)
{
    fixture *f = *state;
    must(f->conn, "BEGIN");
    assert_int_equal(killed_in(f->conn, false, "UPDATE stock SET n = 9 FROM pg_sleep(60)"),
                     RSL_POSTGRES_ADMIN_SHUTDOWN);
    must(f->other, "BEGIN");
    const char *hidden = "SELECT pg_sleep(60); /* now */ COMMIT";
    assert_int_equal(killed_in(f->other, false, hidden), RSL_POSTGRES_UNKNOWN_OUTCOME);
}

static void what_may_end_a_transaction_is_seen_in_the_sql(void **state)
{
    (void)state;
    static const char *const may[] = {
        "COMMIT", " commit", "\n\tEnd;", "SELECT 1; commit", ";;COMMIT", "-- so\nCOMMIT",
        "/* so */ COMMIT", "PREPARE TRANSACTION 'a'", "SELECT ';end'"};
    static const char *const cannot[] = {
        "", ";", "SELECT 1", "UPDATE a SET commit = 1", "SELECT CASE WHEN a THEN 1 END",
        "ROLLBACK", "EXECUTE a", "SELECT 1; SELECT 2 ;"};
    for (size_t i = 0; i < RSL_COUNT(may); i++) assert_true(rsl_postgres_may_commit_(may[i]));
    for (size_t i = 0; i < RSL_COUNT(cannot); i++)
        assert_false(rsl_postgres_may_commit_(cannot[i]));
    assert_false(rsl_postgres_may_commit_(NULL));
}

static void a_restarted_server_loses_connections_and_takes_new_ones(void **state)
{
    fixture *f = *state;
    must(f->other, "BEGIN");
    postgres_do("restart", "fast");
    int idle = rsl_postgres_exec(f->conn, NULL, "UPDATE stock SET n = 9", NULL);
    int inside = rsl_postgres_exec(f->other, NULL, "UPDATE stock SET n = 9", NULL);
    assert_int_equal(idle, RSL_POSTGRES_ADMIN_SHUTDOWN);
    assert_int_equal(rsl_postgres_classify(inside), RSL_POSTGRES_RERUN);
    rsl_postgres_close(f->conn);
    f->conn = connect_plainly();
    assert_text(f->conn, "SELECT n FROM stock WHERE id = 1", "10");
}

static void a_server_that_crashes_in_mid_statement_is_lost(void **state)
{
    fixture *f = *state;
    char verb[300];
    (void)snprintf(verb, sizeof verb, "restart %s immediate", postgres.folder);
    helper h = {.verb = verb};
    help_later(&h);
    rsl_ctx ctx = rsl_within(RSL_SEC(60));
    rsl_postgres_query query = {.sql = SLEEP, .changes_nothing = true};
    int value = rsl_postgres_run(f->conn, &ctx, &query, NULL);
    help_is_done(&h);
    assert_true(rsl_postgres_is_lost(value));
    assert_int_equal(rsl_postgres_classify(value), RSL_POSTGRES_RERUN);
    told t;
    postgres_do("down", "fast");
    assert_int_equal(refused_with(postgres.conninfo, &t), RSL_POSTGRES_UNREACHABLE);
    postgres_do("up", "");
}

static void a_standby_is_the_wrong_server_for_a_write(void **state)
{
    fixture *f = *state;
    char path[300];
    (void)snprintf(path, sizeof path, "%s/data/standby.signal", postgres.folder);
    postgres_do("down", "fast");
    fclose(fopen(path, "w"));
    postgres_do("up", "");
    rsl_postgres_close(f->conn);
    f->conn = connect_plainly();
    assert_text(f->conn, "SELECT n FROM stock WHERE id = 1", "10");
    int value = rsl_postgres_exec(f->conn, NULL, "UPDATE stock SET n = 9", NULL);
    assert_int_equal(value, RSL_POSTGRES_STANDBY);
    assert_int_equal(rsl_postgres_classify(value), RSL_POSTGRES_RERUN);
    assert_true(rsl_postgres_is_broken(f->conn));
    postgres_do("down", "fast");
    unlink(path);
    postgres_do("up", "");
}

/* -------------------------------------------------------------- transactions */

typedef struct job {
    const char *sql;
    PGconn     *other;      /* takes the row first, at the first attempt */
    uint32_t    attempt;
    int         calls, result, error, code;
    useconds_t  wait;
} job;

static int run_sql(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    job *j = arg;
    j->calls++;
    j->attempt = ctx->attempt;
    if (j->sql != NULL) j->code = rsl_postgres_exec(conn, ctx, j->sql, NULL);
    if (j->wait != 0) usleep(j->wait);
    if (j->error != 0) errno = j->error;
    return j->code != RSL_OK ? j->code : j->result;
}

static void a_transaction_commits_what_its_function_did(void **state)
{
    fixture *f = *state;
    for (int level = RSL_POSTGRES_DEFAULT_ISOLATION; level <= RSL_POSTGRES_SERIALIZABLE; level++) {
        job j = {.sql = "UPDATE stock SET n = n - 1 WHERE id = 1"};
        rsl_ctx ctx = rsl_within(RSL_SEC(30));
        assert_int_equal(rsl_postgres_transaction(f->conn, level % 2 == 0 ? &ctx : NULL,
                                                  (rsl_postgres_isolation)level, 0, run_sql, &j),
                         RSL_OK);
        assert_int_equal(PQtransactionStatus(f->conn), PQTRANS_IDLE);
    }
    assert_text(f->other, "SELECT n FROM stock WHERE id = 1", "6");
}

typedef struct seen { char isolation[30], read_only[10], deferrable[10], limit[30]; } seen;

static int look_around(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    seen *s = arg;
    (void)ctx;
    text_of(conn, "SHOW transaction_isolation", s->isolation, sizeof s->isolation);
    text_of(conn, "SHOW transaction_read_only", s->read_only, sizeof s->read_only);
    text_of(conn, "SHOW transaction_deferrable", s->deferrable, sizeof s->deferrable);
    text_of(conn, "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'", s->limit,
            sizeof s->limit);
    return 0;
}

static void a_transaction_has_the_isolation_and_the_limits_that_were_asked_for(void **state)
{
    fixture *f = *state;
    seen s;
    rsl_ctx ctx = rsl_within(RSL_SEC(30));
    unsigned flags = RSL_POSTGRES_READ_ONLY | RSL_POSTGRES_DEFERRABLE;
    assert_int_equal(rsl_postgres_transaction(f->conn, &ctx, RSL_POSTGRES_SERIALIZABLE, flags,
                                              look_around, &s), RSL_OK);
    assert_string_equal(s.isolation, "serializable");
    assert_string_equal(s.read_only, "on");
    assert_string_equal(s.deferrable, "on");
    assert_in_range(atoi(s.limit), 1, 30000);
    assert_int_equal(rsl_postgres_transaction(f->conn, NULL, RSL_POSTGRES_REPEATABLE_READ, 0,
                                              look_around, &s), RSL_OK);
    assert_string_equal(s.isolation, "repeatable read");
    assert_string_equal(s.read_only, "off");
    assert_string_equal(s.limit, "0");
    assert_text(f->conn, "SHOW statement_timeout", "0");

    rsl_postgres_config config = {.conninfo = postgres.conninfo, .application_name = "test",
                                  .statement_timeout = RSL_SEC(4)};
    PGconn *conn = connect_as(&config);
    assert_int_equal(rsl_postgres_transaction(conn, &ctx, RSL_POSTGRES_READ_COMMITTED, 0,
                                              look_around, &s), RSL_OK);
    assert_string_equal(s.isolation, "read committed");
    assert_string_equal(s.limit, "4000");
    rsl_postgres_close(conn);
}

static void a_failing_function_is_rolled_back_and_its_result_comes_back(void **state)
{
    fixture *f = *state;
    static const int results[] = {1, -1, 4242, RSL_EOPEN, INT_MIN};
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        job j = {.sql = "UPDATE stock SET n = 0", .result = results[i], .error = 77};
        errno = 5;
        assert_int_equal(rsl_postgres_transaction(f->conn, NULL, RSL_POSTGRES_DEFAULT_ISOLATION,
                                                  0, run_sql, &j), results[i]);
        assert_int_equal(errno, 77);
        assert_int_equal(PQtransactionStatus(f->conn), PQTRANS_IDLE);
    }
    assert_text(f->other, "SELECT n FROM stock WHERE id = 1", "10");
}

static int swallow_an_error(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    (void)arg;
    must(conn, "UPDATE stock SET n = 0");
    assert_int_equal(rsl_postgres_exec(conn, ctx, "SELECT 1/0", NULL), code("22012"));
    return 0;
}

static int end_it(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    (void)ctx;
    must(conn, arg);
    return 0;
}

static int leave_a_statement_out(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    (void)ctx, (void)arg;
    must(conn, "UPDATE stock SET n = 0");
    assert_true(PQsendQuery(conn, SLEEP));
    return 0;
}

static int nest(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    job *j = arg;
    return rsl_postgres_transaction(conn, ctx, RSL_POSTGRES_DEFAULT_ISOLATION, 0, run_sql, j) ==
                   RSL_EINVAL ? 0 : 1;
}

static int transact_plainly(PGconn *conn, rsl_postgres_fn fn, void *arg)
{
    return rsl_postgres_transaction(conn, NULL, RSL_POSTGRES_DEFAULT_ISOLATION, 0, fn, arg);
}

static void a_function_that_swallows_an_error_commits_nothing(void **state)
{
    fixture *f = *state;
    assert_int_equal(transact_plainly(f->conn, swallow_an_error, NULL), code("25P02"));
    assert_int_equal(PQtransactionStatus(f->conn), PQTRANS_IDLE);
    assert_text(f->other, "SELECT n FROM stock WHERE id = 1", "10");
}

static void a_function_must_not_end_its_transaction_nor_nest(void **state)
{
    fixture *f = *state;
    char rollback[] = "ROLLBACK";
    job j = {0};
    assert_int_equal(transact_plainly(f->conn, end_it, rollback), RSL_EINVAL);
    assert_int_equal(transact_plainly(f->conn, nest, &j), RSL_OK);
    assert_int_equal(j.calls, 0);
    must(f->conn, "BEGIN");
    assert_int_equal(transact_plainly(f->conn, run_sql, &j), RSL_EINVAL);
    assert_int_equal(PQtransactionStatus(f->conn), PQTRANS_INTRANS); /* it is the caller's */
    must(f->conn, "ROLLBACK");
}

static void a_function_that_leaves_a_statement_out_commits_nothing(void **state)
{
    fixture *f = *state;
    assert_int_equal(transact_plainly(f->conn, leave_a_statement_out, NULL), RSL_EINVAL);
    if (rsl_postgres_is_broken(f->conn)) return; /* a busy machine took its time to answer */
    assert_int_equal(PQtransactionStatus(f->conn), PQTRANS_IDLE);
    assert_text(f->conn, "SELECT 7", "7");
}

static void misuse_of_a_transaction_is_refused(void **state)
{
    fixture *f = *state;
    job j = {0};
    rsl_ctx late = {.deadline = 1};
    assert_int_equal(transact_plainly(NULL, run_sql, &j), RSL_EINVAL);
    assert_int_equal(transact_plainly(f->conn, NULL, &j), RSL_EINVAL);
    assert_int_equal(rsl_postgres_transaction(f->conn, NULL, (rsl_postgres_isolation)9, 0,
                                              run_sql, &j), RSL_EINVAL);
    assert_int_equal(rsl_postgres_transaction(f->conn, NULL, RSL_POSTGRES_SERIALIZABLE, 4,
                                              run_sql, &j), RSL_EINVAL);
    assert_int_equal(rsl_postgres_transaction(f->conn, NULL, RSL_POSTGRES_SERIALIZABLE,
                                              RSL_POSTGRES_DEFERRABLE, run_sql, &j), RSL_EINVAL);
    assert_int_equal(rsl_postgres_transaction(f->conn, &late, RSL_POSTGRES_SERIALIZABLE, 0,
                                              run_sql, &j), RSL_ETIMEOUT);
    assert_int_equal(j.calls, 0);
}

static void a_constraint_that_fails_at_commit_is_told(void **state)
{
    fixture *f = *state;
    job j = {.sql = "INSERT INTO orders VALUES (1, 99)"};
    assert_int_equal(transact_plainly(f->conn, run_sql, &j), RSL_POSTGRES_FOREIGN_KEY_VIOLATION);
    assert_int_equal(PQtransactionStatus(f->conn), PQTRANS_IDLE);
    assert_int_equal(postgres_number("SELECT count(*) FROM orders"), 0);
}

static void a_write_in_a_read_only_transaction_is_final(void **state)
{
    fixture *f = *state;
    job j = {.sql = "UPDATE stock SET n = 0"};
    int value = rsl_postgres_transaction(f->conn, NULL, RSL_POSTGRES_DEFAULT_ISOLATION,
                                         RSL_POSTGRES_READ_ONLY, run_sql, &j);
    assert_int_equal(value, code("25006"));
    assert_int_equal(rsl_postgres_classify(value), RSL_POSTGRES_FINAL);
    assert_false(rsl_postgres_is_broken(f->conn));
}

static void a_deadline_in_a_transaction_rolls_it_back(void **state)
{
    fixture *f = *state;
    job slow = {.sql = "UPDATE stock SET n = 0 FROM pg_sleep(60)"};
    job late = {.sql = "UPDATE stock SET n = 0", .wait = 150000};
    job *jobs[] = {&slow, &late};
    for (size_t i = 0; i < RSL_COUNT(jobs); i++) {
        rsl_time start = rsl_now();
        rsl_ctx ctx = rsl_within(SOON);
        assert_int_equal(rsl_postgres_transaction(f->conn, &ctx, RSL_POSTGRES_DEFAULT_ISOLATION,
                                                  0, run_sql, jobs[i]), RSL_ETIMEOUT);
        assert_soon(start);
        if (rsl_postgres_is_broken(f->conn)) {
            rsl_postgres_close(f->conn);
            f->conn = connect_plainly();
        }
        assert_int_equal(PQtransactionStatus(f->conn), PQTRANS_IDLE);
    }
    assert_text(f->other, "SELECT n FROM stock WHERE id = 1", "10");
}

static int sleep_by_libpq(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    (void)ctx, (void)arg;
    PGresult *result = PQexec(conn, SLEEP);
    int value = rsl_postgres_result(conn, result);
    PQclear(result);
    return value;
}

static void a_statement_sent_through_libpq_is_ended_by_the_server(void **state)
{
    fixture *f = *state;
    rsl_time start = rsl_now();
    rsl_ctx ctx = rsl_within(SOON);
    assert_int_equal(rsl_postgres_transaction(f->conn, &ctx, RSL_POSTGRES_DEFAULT_ISOLATION, 0,
                                              sleep_by_libpq, NULL), RSL_POSTGRES_QUERY_CANCELED);
    assert_soon(start);
}

static int kill_and_select(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    job *j = arg;
    j->calls++;
    char sql[100];
    (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 5000)", PQbackendPID(conn));
    must(j->other, sql);
    return rsl_postgres_exec(conn, ctx, "SELECT 1", NULL);
}

static void a_connection_lost_inside_is_not_rerun_in_place(void **state)
{
    fixture *f = *state;
    job j = {.other = f->other};
    rsl_retry retry;
    rsl_retry_config config = {.delay_first = RSL_MS(1), .retryable = rsl_postgres_is_retryable};
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    int value = rsl_postgres_transact(&retry, f->conn, NULL, RSL_POSTGRES_SERIALIZABLE, 0,
                                      kill_and_select, &j);
    rsl_retry_deinit(&retry);
    assert_int_equal(value, RSL_POSTGRES_ADMIN_SHUTDOWN);
    assert_int_equal(j.calls, 1);
}

/* ------------------------------------------------------ conflicts are rerun */

/* Reads the stock, then writes what it read less one: the lost update, were it allowed. */
static int take_one(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    job *j = arg;
    char sql[100], n[20];
    j->calls++;
    j->attempt = ctx->attempt;
    text_of(conn, "SELECT n FROM stock WHERE id = 1", n, sizeof n);
    if (j->calls == 1) must(j->other, "UPDATE stock SET n = n - 3 WHERE id = 1");
    (void)snprintf(sql, sizeof sql, "UPDATE stock SET n = %d WHERE id = 1", atoi(n) - 1);
    return rsl_postgres_exec(conn, ctx, sql, NULL);
}

static void a_serialization_failure_is_rerun_on_fresh_data(void **state)
{
    fixture *f = *state;
    job j = {.other = f->other};
    rsl_retry retry;
    rsl_retry_config config = {.delay_first = RSL_MS(1), .retryable = rsl_postgres_is_retryable};
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    rsl_ctx ctx = rsl_within(RSL_SEC(30));
    int value = rsl_postgres_transact(&retry, f->conn, &ctx, RSL_POSTGRES_REPEATABLE_READ, 0,
                                      take_one, &j);
    rsl_retry_deinit(&retry);
    assert_int_equal(value, RSL_OK);
    assert_int_equal(j.calls, 2);
    assert_int_equal(j.attempt, 2);
    assert_text(f->other, "SELECT n FROM stock WHERE id = 1", "6");
}

static int take_one_in_a_transaction(const rsl_ctx *ctx, void *arg)
{
    fixture *f = ((void **)arg)[0];
    return rsl_postgres_transaction(f->conn, ctx, RSL_POSTGRES_SERIALIZABLE, 0, take_one,
                                    ((void **)arg)[1]);
}

static void a_retry_around_the_transaction_reruns_it_too(void **state)
{
    fixture *f = *state;
    job j = {.other = f->other};
    void *args[] = {f, &j};
    rsl_retry retry;
    rsl_retry_config config = {.delay_first = RSL_MS(1), .retryable = rsl_postgres_is_retryable};
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    assert_int_equal(rsl_retry_call(&retry, NULL, take_one_in_a_transaction, args), RSL_OK);
    rsl_retry_deinit(&retry);
    assert_int_equal(j.calls, 2);
    assert_text(f->other, "SELECT n FROM stock WHERE id = 1", "6");
}

static void reruns_end_with_the_retrys_attempts_and_the_last_result(void **state)
{
    fixture *f = *state;
    job j = {.result = RSL_POSTGRES_SERIALIZATION_FAILURE};
    job final = {.sql = "SELECT 1/0"};
    rsl_retry retry;
    rsl_retry_config config = {.attempts_max = 4, .delay_first = RSL_MS(1),
                               .retryable = rsl_postgres_is_retryable};
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    assert_int_equal(rsl_postgres_transact(&retry, f->conn, NULL, RSL_POSTGRES_SERIALIZABLE, 0,
                                           run_sql, &j), RSL_POSTGRES_SERIALIZATION_FAILURE);
    assert_int_equal(j.calls, 4);
    assert_int_equal(rsl_postgres_transact(&retry, f->conn, NULL, RSL_POSTGRES_SERIALIZABLE, 0,
                                           run_sql, &final), code("22012"));
    assert_int_equal(final.calls, 1);
    assert_int_equal(rsl_postgres_transact(NULL, f->conn, NULL, RSL_POSTGRES_SERIALIZABLE, 0,
                                           run_sql, &j), RSL_EINVAL);
    rsl_retry_deinit(&retry);
}

static void cancelling_ends_the_wait_for_a_rerun(void **state)
{
    fixture *f = *state;
    job j = {.result = RSL_POSTGRES_SERIALIZATION_FAILURE};
    rsl_retry retry;
    rsl_retry_config config = {.delay_first = RSL_SEC(60), .delay_max = RSL_SEC(60),
                               .jitter = RSL_JITTER_NONE};
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    helper h = {.cancel = &cancel};
    help_later(&h);
    rsl_time start = rsl_now();
    rsl_ctx ctx = {.cancel = &cancel};
    assert_int_equal(rsl_postgres_transact(&retry, f->conn, &ctx, RSL_POSTGRES_SERIALIZABLE, 0,
                                           run_sql, &j), RSL_POSTGRES_SERIALIZATION_FAILURE);
    assert_soon(start);
    help_is_done(&h);
    rsl_retry_deinit(&retry);
    rsl_cancel_deinit(&cancel);
}

/* Two transactions take two rows in opposite orders; the first attempts meet in the middle. */
typedef struct crossing {
    pthread_barrier_t *middle;
    PGconn            *conn;
    const char        *first, *second;
    int                calls, result;
} crossing;

static int cross(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    crossing *c = arg;
    int value = rsl_postgres_exec(conn, ctx, c->first, NULL);
    if (c->calls++ == 0) pthread_barrier_wait(c->middle);
    return value != RSL_OK ? value : rsl_postgres_exec(conn, ctx, c->second, NULL);
}

static void *cross_with_reruns(void *arg)
{
    crossing *c = arg;
    rsl_retry retry;
    rsl_retry_config config = {.attempts_max = 20, .delay_first = RSL_MS(10),
                               .retryable = rsl_postgres_is_retryable};
    rsl_ctx ctx = rsl_within(RSL_SEC(60));
    c->result = rsl_retry_init(&retry, &config);
    if (c->result == RSL_OK)
        c->result = rsl_postgres_transact(&retry, c->conn, &ctx, RSL_POSTGRES_READ_COMMITTED, 0,
                                          cross, c);
    rsl_retry_deinit(&retry);
    return NULL;
}

static void a_deadlock_is_rerun_and_both_sides_commit(void **state)
{
    fixture *f = *state;
    static const char one[] = "UPDATE stock SET n = n - 1 WHERE id = 1";
    static const char two[] = "UPDATE stock SET n = n - 1 WHERE id = 2";
    pthread_barrier_t middle;
    pthread_t thread;
    pthread_barrier_init(&middle, NULL, 2);
    crossing here = {.middle = &middle, .conn = f->conn, .first = one, .second = two};
    crossing there = {.middle = &middle, .conn = f->other, .first = two, .second = one};
    assert_int_equal(pthread_create(&thread, NULL, cross_with_reruns, &there), 0);
    cross_with_reruns(&here);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&middle);
    assert_int_equal(here.result, RSL_OK);
    assert_int_equal(there.result, RSL_OK);
    assert_true(here.calls + there.calls >= 3); /* the server may have ended both */
    assert_int_equal(postgres_number("SELECT sum(n) FROM stock"), 16);
}

/* --------------------------------------------------------- unknown outcomes */

static void a_cut_at_commit_is_unknown_and_not_repeated(void **state)
{
    fixture *f = *state;
    static const proxy_mode modes[] = {PROXY_CUT_BEFORE, PROXY_CUT_AFTER};
    rsl_retry retry;
    rsl_retry_config config = {.delay_first = RSL_MS(1), .retryable = rsl_postgres_is_retryable};
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    for (size_t i = 0; i < RSL_COUNT(modes); i++) {
        proxy_set(&f->proxy, PROXY_PASS, NULL);
        PGconn *conn = connect_through(f);
        job j = {.sql = "UPDATE stock SET n = n - 1 WHERE id = 1"};
        proxy_set(&f->proxy, modes[i], "COMMIT");
        rsl_ctx ctx = rsl_within(RSL_SEC(30));
        int value = rsl_postgres_transact(&retry, conn, &ctx, RSL_POSTGRES_SERIALIZABLE, 0,
                                          run_sql, &j);
        assert_int_equal(value, RSL_POSTGRES_UNKNOWN_OUTCOME);
        assert_int_equal(rsl_postgres_kind_of(value), RSL_POSTGRES_KIND_UNKNOWN);
        assert_int_equal(j.calls, 1);
        rsl_postgres_close(conn);
        /* Rolled back the first time, committed the second: nobody here could have told. */
        assert_true(postgres_becomes("SELECT n FROM stock WHERE id = 1", i == 0 ? 10 : 9));
    }
    rsl_retry_deinit(&retry);
}

static void a_cut_before_commit_is_certain(void **state)
{
    fixture *f = *state;
    PGconn *conn = connect_through(f);
    job j = {.sql = "UPDATE stock SET n = 0"};
    proxy_set(&f->proxy, PROXY_CUT_AFTER, "UPDATE");
    assert_int_equal(transact_plainly(conn, run_sql, &j), RSL_POSTGRES_LOST);
    rsl_postgres_close(conn);
    conn = (proxy_set(&f->proxy, PROXY_PASS, NULL), connect_through(f));
    proxy_set(&f->proxy, PROXY_CUT_AFTER, "BEGIN");
    assert_int_equal(transact_plainly(conn, run_sql, &j), RSL_POSTGRES_LOST);
    rsl_postgres_close(conn);
    assert_true(postgres_becomes("SELECT n FROM stock WHERE id = 1", 10));
}

static int go_silent(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    must(conn, "UPDATE stock SET n = 0");
    (void)ctx;
    proxy_set(arg, PROXY_HOLD, NULL);
    return 0;
}

static void silence_at_commit_is_unknown_at_the_deadline(void **state)
{
    fixture *f = *state;
    PGconn *conn = connect_through(f);
    rsl_time start = rsl_now();
    rsl_ctx ctx = rsl_within(RSL_MS(300));
    assert_int_equal(rsl_postgres_transaction(conn, &ctx, RSL_POSTGRES_DEFAULT_ISOLATION, 0,
                                              go_silent, &f->proxy),
                     RSL_POSTGRES_UNKNOWN_OUTCOME);
    assert_soon(start);
    assert_true(rsl_postgres_is_broken(conn));
    rsl_postgres_close(conn);
}

/* --------------------------------------------------------- a pool's callbacks */

static void a_pool_creates_and_destroys_connections(void **state)
{
    (void)state;
    rsl_postgres_config config = {.conninfo = postgres.conninfo, .application_name = "pooled"};
    void *resource = NULL;
    assert_int_equal(rsl_postgres_create(&config, NULL, &resource), RSL_OK);
    assert_int_equal(postgres_count("pooled"), 1);
    assert_int_equal(rsl_postgres_validate(&config, resource), RSL_OK);
    rsl_postgres_destroy(&config, resource);
    assert_true(postgres_count_becomes("pooled", 0));
    assert_int_equal(rsl_postgres_create(&config, NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_postgres_validate(&config, NULL), RSL_EINVAL);
    assert_int_equal(rsl_postgres_reset(&config, NULL), RSL_EINVAL);
    rsl_postgres_destroy(&config, NULL);
    rsl_postgres_abandon(&config, NULL);
}

static void notices_and_notifications_do_not_make_a_connection_invalid(void **state)
{
    fixture *f = *state;
    must(f->conn, "LISTEN news");
    must(f->other, "NOTIFY news, 'fresh'");
    struct pollfd polled = {PQsocket(f->conn), POLLIN, 0};
    assert_int_equal(poll(&polled, 1, 10000), 1);
    assert_int_equal(rsl_postgres_validate(NULL, f->conn), RSL_OK);
    PGnotify *note = PQnotifies(f->conn);
    assert_non_null(note);
    PQfreemem(note);
    must(f->conn, "DO $$ BEGIN RAISE WARNING 'so'; END $$");
    assert_int_equal(rsl_postgres_validate(NULL, f->conn), RSL_OK);
}

static void on_notice(void *user, const PGresult *result)
{
    (void)snprintf(user, 100, "%s", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

static void notices_go_to_the_configs_receiver(void **state)
{
    (void)state;
    char text[100] = "";
    rsl_postgres_config config = {.conninfo = postgres.conninfo, .application_name = "test",
                                  .notice = on_notice, .user = text};
    PGconn *conn = connect_as(&config);
    must(conn, "DO $$ BEGIN RAISE WARNING 'mind the gap'; END $$");
    assert_string_equal(text, "mind the gap");
    rsl_postgres_close(conn);
}

static void a_connection_in_use_is_not_valid(void **state)
{
    fixture *f = *state;
    must(f->conn, "BEGIN");
    assert_int_equal(rsl_postgres_validate(NULL, f->conn), RSL_EINVAL);
    assert_true(PQsendQuery(f->other, "SELECT 1"));
    assert_int_equal(rsl_postgres_validate(NULL, f->other), RSL_EINVAL);
}

static void validating_in_silence_ends_at_its_timeout(void **state)
{
    fixture *f = *state;
    rsl_postgres_config config = {.conninfo = f->through, .application_name = "test",
                                  .validate_timeout = SOON};
    PGconn *conn = connect_as(&config);
    PGconn *again = connect_as(&config);
    proxy_set(&f->proxy, PROXY_HOLD, NULL);
    rsl_time start = rsl_now();
    assert_int_equal(rsl_postgres_validate(&config, conn), RSL_ETIMEOUT);
    assert_true(rsl_postgres_is_broken(conn));
    assert_int_equal(rsl_postgres_reset(&config, again), RSL_ETIMEOUT);
    assert_true(rsl_postgres_is_broken(again));
    rsl_postgres_destroy(&config, conn);
    rsl_postgres_destroy(&config, again);
    assert_soon(start);
}

/* Leaves behind what the next user must not find. */
static void use_up(PGconn *conn)
{
    must(conn, "SET work_mem = '7MB'");
    must(conn, "CREATE TEMP TABLE mine(a int)");
    must(conn, "PREPARE mine AS SELECT 1");
    must(conn, "SELECT pg_advisory_lock(1)");
    PQsetnonblocking(conn, 1);
}

static void assert_as_new(PGconn *conn)
{
    assert_int_equal(PQtransactionStatus(conn), PQTRANS_IDLE);
    assert_false(PQisnonblocking(conn));
    assert_text(conn, "SHOW work_mem", "4MB");
    assert_text(conn, "SELECT to_regclass('pg_temp.mine') IS NULL", "t");
    assert_text(conn, "SELECT count(*) FROM pg_prepared_statements", "0");
    assert_text(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0");
}

static void reset_makes_a_connection_as_new_whatever_its_transaction(void **state)
{
    fixture *f = *state;
    static const char *const left[] = {"", "BEGIN; UPDATE stock SET n = 0",
                                       "BEGIN; UPDATE stock SET n = 0; SELECT 1/0"};
    for (size_t i = 0; i < RSL_COUNT(left); i++) {
        use_up(f->conn);
        (void)rsl_postgres_exec(f->conn, NULL, left[i], NULL);
        assert_int_equal(rsl_postgres_reset(NULL, f->conn), RSL_OK);
        assert_as_new(f->conn);
    }
    assert_text(f->other, "SELECT n FROM stock WHERE id = 1", "10");
}

static void a_session_that_is_kept_is_only_rolled_back(void **state)
{
    fixture *f = *state;
    rsl_postgres_config config = {.conninfo = postgres.conninfo, .keep_session = true};
    must(f->conn, "PREPARE mine AS SELECT 1");
    must(f->conn, "BEGIN");
    assert_int_equal(rsl_postgres_reset(&config, f->conn), RSL_OK);
    assert_int_equal(PQtransactionStatus(f->conn), PQTRANS_IDLE);
    assert_text(f->conn, "EXECUTE mine", "1");
}

static void what_cannot_be_reset_says_so(void **state)
{
    fixture *f = *state;
    assert_true(PQsendQuery(f->conn, "SELECT 1"));
    assert_int_equal(rsl_postgres_reset(NULL, f->conn), RSL_EINVAL);
    read_answers(f->conn);

    PQclear(PQexec(f->conn, "COPY stock FROM STDIN"));
    assert_int_equal(rsl_postgres_reset(NULL, f->conn), RSL_EINVAL);

#ifdef LIBPQ_HAS_PIPELINING
    assert_true(PQenterPipelineMode(f->other));
    assert_int_equal(rsl_postgres_reset(NULL, f->other), RSL_EINVAL);
    assert_true(PQexitPipelineMode(f->other));
#endif
    assert_int_equal(rsl_postgres_reset(NULL, f->other), RSL_OK);
    postgres_kill("test");
    assert_int_equal(rsl_postgres_reset(NULL, f->other), RSL_POSTGRES_ADMIN_SHUTDOWN);
}

static void destroying_a_connection_ends_its_statement_without_waiting_for_it(void **state)
{
    (void)state;
    rsl_postgres_config config = {.conninfo = postgres.conninfo, .application_name = "slow"};
    PGconn *conn = connect_as(&config);
    assert_true(PQsendQuery(conn, SLEEP));
    assert_true(postgres_is_active("slow"));
    rsl_time start = rsl_now();
    rsl_postgres_destroy(&config, conn);
    assert_true(rsl_now() - start < RSL_SEC(5));
    assert_true(postgres_count_becomes("slow", 0)); /* long before the statement would have */
}

static void a_forked_child_forgets_and_the_parent_keeps_its_connection(void **state)
{
    fixture *f = *state;
    int pid = PQbackendPID(f->conn);
    rsl_pause_(RSL_MS(500)); /* cancellers that were left to themselves have ended: in the child
                                their memory would look lost */
    pid_t child = fork();
    if (child == 0) {
        int fd = PQsocket(f->conn);
        rsl_postgres_abandon(NULL, f->conn);
        _exit(fcntl(fd, F_GETFD) == -1 ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_text(f->conn, "SELECT 7", "7");
    char sql[80];
    (void)snprintf(sql, sizeof sql, "SELECT pg_backend_pid() = %d", pid);
    assert_text(f->conn, sql, "t");
}

/* A connection that libpq made without us: everything works, with the defaults. One of them is
   that the answer to a cancel is waited for for 100 ms: where the machine is too busy for that,
   the connection is cut, and another one tries. */
static void a_foreign_connection_is_taken_as_well(void **state)
{
    fixture *f = *state;
    PGconn *conn = NULL;
    rsl_ctx ctx;
    int code = RSL_OK;
    for (int tries = 0; tries < 50 && (conn == NULL || rsl_postgres_is_broken(conn)); tries++) {
        rsl_postgres_close(conn);
        conn = PQconnectdb(f->through);
        job j = {.sql = "UPDATE stock SET n = 5"};
        ctx = rsl_within(RSL_SEC(30));
        assert_int_equal(rsl_postgres_transaction(conn, &ctx, RSL_POSTGRES_SERIALIZABLE, 0,
                                                  run_sql, &j), RSL_OK);
        ctx = rsl_within(SOON);
        code = rsl_postgres_exec(conn, &ctx, SLEEP, NULL);
    }
    assert_int_equal(code, RSL_ETIMEOUT);
    assert_int_equal(rsl_postgres_reset(NULL, conn), RSL_OK);
    proxy_set(&f->proxy, PROXY_HOLD, NULL);
    ctx = rsl_within(SOON);
    assert_int_equal(rsl_postgres_exec(conn, &ctx, "SELECT 1", NULL),
                     RSL_POSTGRES_UNKNOWN_OUTCOME);
    assert_true(rsl_postgres_is_broken(conn));
    assert_int_not_equal(rsl_postgres_validate(NULL, conn), RSL_OK);
    rsl_postgres_close(conn);
}

#define ON_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest pure[] = {
        cmocka_unit_test(a_code_is_a_sqlstate_in_base_36_and_back),
        cmocka_unit_test(what_is_no_sqlstate_has_no_code),
        cmocka_unit_test(every_sqlstate_of_the_installed_server_asks_for_what_was_decided),
        cmocka_unit_test(what_is_no_code_is_final_and_a_failure),
        cmocka_unit_test(a_deadline_is_a_failure_to_rerun_and_a_cancellation_is_nobodys),
        cmocka_unit_test(people_are_told_by_kind),
        cmocka_unit_test(a_result_of_libpq_has_a_code),
        cmocka_unit_test(a_wrong_config_is_refused_by_field),
        cmocka_unit_test(a_config_of_zeros_means_the_defaults),
        cmocka_unit_test(what_may_end_a_transaction_is_seen_in_the_sql),
        cmocka_unit_test(connecting_to_silence_ends_at_the_deadline_or_the_timeout),
        cmocka_unit_test(cancelling_ends_a_connect_at_once),
        cmocka_unit_test(a_server_that_is_not_there_is_unreachable),
        cmocka_unit_test(the_sqlstate_of_a_refusal_is_found_in_any_language),
        cmocka_unit_test(a_password_that_is_wanted_and_not_given_is_a_wrong_one),
    };
    const struct CMUnitTest real[] = {
        ON_SERVER(a_connection_bears_its_name_and_leaves_nothing),
        ON_SERVER(a_spent_ctx_connects_nothing),
        ON_SERVER(a_refused_connect_tells_the_sqlstate_of_the_server),
        ON_SERVER(a_full_server_asks_to_come_again),
        ON_SERVER(a_connection_keeps_its_limit_and_the_options_of_its_conninfo),
        ON_SERVER(a_silent_host_leaves_time_for_the_next),
        ON_SERVER(an_allocation_that_fails_fails_the_connect_and_nothing_else),
        ON_SERVER(without_memory_to_cancel_a_statement_the_connection_is_given_up),
        ON_SERVER(an_event_loop_connects_by_itself),
        ON_SERVER(a_statement_gives_its_result),
        ON_SERVER(a_refused_statement_gives_its_sqlstate_and_details),
        ON_SERVER(a_deadline_ends_a_statement_and_the_connection_lives_on),
        ON_SERVER(cancelling_ends_a_statement_at_once),
        ON_SERVER(a_statement_that_is_done_at_its_deadline_is_a_success),
        ON_SERVER(deadlines_are_kept_on_the_clock_of_the_ctx),
        ON_SERVER(silence_in_mid_statement_ends_at_the_deadline),
        ON_SERVER(silence_after_a_statement_that_commits_leaves_its_outcome_unknown),
        ON_SERVER(more_than_the_socket_takes_is_given_up_at_the_deadline),
        ON_SERVER(a_limit_of_the_session_is_final_and_not_our_deadline),
        ON_SERVER(misuse_of_a_statement_is_refused),
        ON_SERVER(copy_is_refused_and_costs_the_connection),
        ON_SERVER(errno_survives_a_statement),
        ON_SERVER(without_descriptors_the_system_says_why),
        ON_SERVER(a_backend_killed_while_idle_is_known_before_anything_is_sent),
        ON_SERVER(a_backend_killed_in_a_reading_statement_asks_for_a_rerun),
        ON_SERVER(a_backend_killed_in_a_statement_that_commits_leaves_it_unknown),
        ON_SERVER(a_backend_killed_inside_a_transaction_asks_for_a_rerun),
        ON_SERVER(a_restarted_server_loses_connections_and_takes_new_ones),
        ON_SERVER(a_server_that_crashes_in_mid_statement_is_lost),
        ON_SERVER(a_standby_is_the_wrong_server_for_a_write),
        ON_SERVER(a_transaction_commits_what_its_function_did),
        ON_SERVER(a_transaction_has_the_isolation_and_the_limits_that_were_asked_for),
        ON_SERVER(a_failing_function_is_rolled_back_and_its_result_comes_back),
        ON_SERVER(a_function_that_swallows_an_error_commits_nothing),
        ON_SERVER(a_function_must_not_end_its_transaction_nor_nest),
        ON_SERVER(a_function_that_leaves_a_statement_out_commits_nothing),
        ON_SERVER(misuse_of_a_transaction_is_refused),
        ON_SERVER(a_constraint_that_fails_at_commit_is_told),
        ON_SERVER(a_write_in_a_read_only_transaction_is_final),
        ON_SERVER(a_deadline_in_a_transaction_rolls_it_back),
        ON_SERVER(a_statement_sent_through_libpq_is_ended_by_the_server),
        ON_SERVER(a_connection_lost_inside_is_not_rerun_in_place),
        ON_SERVER(a_serialization_failure_is_rerun_on_fresh_data),
        ON_SERVER(a_retry_around_the_transaction_reruns_it_too),
        ON_SERVER(reruns_end_with_the_retrys_attempts_and_the_last_result),
        ON_SERVER(cancelling_ends_the_wait_for_a_rerun),
        ON_SERVER(a_deadlock_is_rerun_and_both_sides_commit),
        ON_SERVER(a_cut_at_commit_is_unknown_and_not_repeated),
        ON_SERVER(a_cut_before_commit_is_certain),
        ON_SERVER(silence_at_commit_is_unknown_at_the_deadline),
        ON_SERVER(a_pool_creates_and_destroys_connections),
        ON_SERVER(notices_and_notifications_do_not_make_a_connection_invalid),
        ON_SERVER(notices_go_to_the_configs_receiver),
        ON_SERVER(a_connection_in_use_is_not_valid),
        ON_SERVER(validating_in_silence_ends_at_its_timeout),
        ON_SERVER(reset_makes_a_connection_as_new_whatever_its_transaction),
        ON_SERVER(a_session_that_is_kept_is_only_rolled_back),
        ON_SERVER(what_cannot_be_reset_says_so),
        ON_SERVER(destroying_a_connection_ends_its_statement_without_waiting_for_it),
        ON_SERVER(a_forked_child_forgets_and_the_parent_keeps_its_connection),
        ON_SERVER(a_foreign_connection_is_taken_as_well),
    };
    int failed = cmocka_run_group_tests(pure, NULL, NULL);
    return failed + cmocka_run_group_tests(real, set_up_group, tear_down_group);
}
