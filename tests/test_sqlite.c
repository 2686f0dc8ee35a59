/* SPDX-License-Identifier: MIT
   test_sqlite.c: adapters/sqlite.h on real files: locks of a second connection, stale snapshots,
   deadlines in running statements, files that cannot be opened. Limits in time are generous, for
   the machine may be busy: what must end at 100 ms may take a second, where without the adapter
   it would take five.                                                                          */
#define _DEFAULT_SOURCE 1

#define RSL_RETRY_IMPLEMENTATION
#include "retry.h"
#define RSL_SQLITE_IMPLEMENTATION
#include "adapters/sqlite.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/support.h"

enum { CODES_END = 256 * 128 };

static const rsl_time SOON = RSL_MS(100), LATE = RSL_SEC(5);

/* ------------------------------------------------------------------- helpers */

/* A folder with one database: "stock" holds one row with n = 10, "orders" is empty. */
typedef struct fixture {
    char     folder[256], path[300], moved[300];
    sqlite3 *db, *other;
} fixture;

static int number_of(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int number = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

static void must(sqlite3 *db, const char *sql)
{
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static bool is_in(const int *list, size_t count, int code)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == code) return true;
    }
    return false;
}

static int set_up_as(void **state, bool wal)
{
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    const char *tmp = getenv("TMPDIR");
    snprintf(f->folder, sizeof f->folder, "%.200s/rsl_sqlite_XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(f->folder) == NULL) return -1;
    snprintf(f->path, sizeof f->path, "%s/shop.db", f->folder);
    snprintf(f->moved, sizeof f->moved, "%s/away.db", f->folder);
    rsl_sqlite_config config = {.path = f->path, .wal = wal};
    if (rsl_sqlite_open(&f->db, NULL, &config) != RSL_OK) return -1;
    if (rsl_sqlite_open(&f->other, NULL, &config) != RSL_OK) return -1;
    must(f->db, "CREATE TABLE stock(n); INSERT INTO stock VALUES(10);"
                "CREATE TABLE orders(id INTEGER PRIMARY KEY, item TEXT NOT NULL)");
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_as(state, true);
}

static int set_up_without_wal(void **state)
{
    return set_up_as(state, false);
}

static int tear_down(void **state)
{
    static const char *const names[] = {"shop.db", "shop.db-wal", "shop.db-shm", "shop.db-journal",
                                        "away.db", "away.db-wal", "away.db-shm", "other.db"};
    fixture *f = *state;
    rsl_sqlite_close(f->other);
    rsl_sqlite_close(f->db);
    for (size_t i = 0; i < RSL_COUNT(names); i++) {
        char path[320];
        snprintf(path, sizeof path, "%s/%s", f->folder, names[i]);
        unlink(path);
    }
    int failed = rmdir(f->folder);
    free(f);
    return failed;
}

static int busy_timeout_of(sqlite3 *db)
{
    return number_of(db, "PRAGMA busy_timeout");
}

/* Does something to the database or a token from another thread, a little later. */
typedef struct helper {
    pthread_t   thread;
    rsl_cancel *cancel;
    sqlite3    *db;
} helper;

static void *help(void *arg)
{
    helper *h = arg;
    sqlite3_sleep(50);
    if (h->db != NULL) sqlite3_exec(h->db, "COMMIT", NULL, NULL, NULL);
    if (h->cancel != NULL) rsl_cancel_fire(h->cancel);
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

/* ------------------------------------------------- functions run in transactions */

typedef struct job {
    sqlite3    *other;      /* writes between our reading and our writing, at the first attempt */
    sqlite3    *seen;       /* the connection that fn was given */
    const char *sql;
    uint32_t    attempt;
    int         calls, result, error;
    rsl_sqlite_class inside; /* classified right after the failing statement */
} job;

static int run_sql(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    job *j = arg;
    j->calls++;
    j->seen = db;
    j->attempt = ctx->attempt;
    int code = j->sql != NULL ? sqlite3_exec(db, j->sql, NULL, NULL, NULL) : SQLITE_OK;
    if (code != SQLITE_OK) j->inside = rsl_sqlite_classify_inside(db, code);
    if (j->error != 0) errno = j->error;
    return code != SQLITE_OK ? code : j->result;
}

/* Reads the stock, then writes what it read less one: the lost update, were it allowed. */
static int take_one(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    job *j = arg;
    j->calls++;
    j->attempt = ctx->attempt;
    int stock = number_of(db, "SELECT n FROM stock");
    if (j->calls == 1 && j->other != NULL) must(j->other, "UPDATE stock SET n = n - 3");
    char sql[64];
    snprintf(sql, sizeof sql, "UPDATE stock SET n = %d", stock - 1);
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (code != SQLITE_OK) j->inside = rsl_sqlite_classify_inside(db, code);
    return code;
}

typedef struct attempt_args { sqlite3 *db; job *job; } attempt_args;

static int take_one_in_a_transaction(const rsl_ctx *ctx, void *arg)
{
    attempt_args *a = arg;
    return rsl_sqlite_transaction(a->db, ctx, RSL_SQLITE_DEFERRED, take_one, a->job);
}

static const char *const ENDLESS =
    "INSERT INTO orders SELECT NULL, count(*) FROM (WITH RECURSIVE c(x) AS "
    "(VALUES(1) UNION ALL SELECT x + 1 FROM c) SELECT x FROM c)";

/* ------------------------------------------------------------- what a code asks for */

static const int OKS[] = {SQLITE_OK, SQLITE_ROW, SQLITE_DONE, 256, 512};
static const int RETRIES[] = {
    SQLITE_BUSY, SQLITE_BUSY_RECOVERY, SQLITE_BUSY_TIMEOUT, SQLITE_LOCKED_SHAREDCACHE,
    SQLITE_LOCKED_VTAB, SQLITE_CANTOPEN, SQLITE_CANTOPEN_FULLPATH, SQLITE_PROTOCOL, SQLITE_SCHEMA,
    SQLITE_ERROR_RETRY};
static const int RERUNS[] = {
    RSL_SQLITE_BUSY_UPGRADE, SQLITE_BUSY_SNAPSHOT, SQLITE_ABORT_ROLLBACK, SQLITE_LOCKED,
    SQLITE_READONLY_DBMOVED, SQLITE_IOERR, SQLITE_IOERR_READ, SQLITE_IOERR_WRITE,
    SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_FSTAT, SQLITE_IOERR_UNLOCK, SQLITE_IOERR_RDLOCK,
    SQLITE_IOERR_DELETE, SQLITE_IOERR_BLOCKED, SQLITE_IOERR_ACCESS, SQLITE_IOERR_CHECKRESERVEDLOCK,
    SQLITE_IOERR_LOCK, SQLITE_IOERR_CLOSE, SQLITE_IOERR_DIR_CLOSE, SQLITE_IOERR_SHMOPEN,
    SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_SHMLOCK, SQLITE_IOERR_SHMMAP, SQLITE_IOERR_SEEK,
    SQLITE_IOERR_DELETE_NOENT, SQLITE_IOERR_MMAP, SQLITE_IOERR_BEGIN_ATOMIC,
    SQLITE_IOERR_COMMIT_ATOMIC, SQLITE_IOERR_ROLLBACK_ATOMIC, SQLITE_IOERR | 34 << 8};
static const int FINALS[] = {
    SQLITE_ERROR, SQLITE_ERROR_MISSING_COLLSEQ, SQLITE_ERROR_SNAPSHOT, SQLITE_ERROR | 4 << 8,
    SQLITE_ERROR | 5 << 8, SQLITE_ERROR | 6 << 8, SQLITE_INTERNAL, SQLITE_PERM, SQLITE_ABORT,
    SQLITE_NOMEM, SQLITE_READONLY, SQLITE_READONLY_RECOVERY, SQLITE_READONLY_CANTLOCK,
    SQLITE_READONLY_ROLLBACK, SQLITE_READONLY_CANTINIT, SQLITE_READONLY_DIRECTORY,
    SQLITE_INTERRUPT, SQLITE_IOERR_SHORT_READ, SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC,
    SQLITE_IOERR_NOMEM, SQLITE_IOERR_GETTEMPPATH, SQLITE_IOERR_CONVPATH, SQLITE_IOERR_VNODE,
    SQLITE_IOERR_AUTH, SQLITE_IOERR_DATA, SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR | 35 << 8,
    SQLITE_IOERR | 36 << 8, SQLITE_CORRUPT, SQLITE_CORRUPT_VTAB, SQLITE_CORRUPT_SEQUENCE,
    SQLITE_CORRUPT_INDEX, SQLITE_NOTFOUND, SQLITE_FULL, SQLITE_CANTOPEN_NOTEMPDIR,
    SQLITE_CANTOPEN_ISDIR, SQLITE_CANTOPEN_CONVPATH, SQLITE_CANTOPEN_DIRTYWAL,
    SQLITE_CANTOPEN_SYMLINK, SQLITE_EMPTY, SQLITE_TOOBIG, SQLITE_CONSTRAINT,
    SQLITE_CONSTRAINT_CHECK, SQLITE_CONSTRAINT_COMMITHOOK, SQLITE_CONSTRAINT_FOREIGNKEY,
    SQLITE_CONSTRAINT_FUNCTION, SQLITE_CONSTRAINT_NOTNULL, SQLITE_CONSTRAINT_PRIMARYKEY,
    SQLITE_CONSTRAINT_TRIGGER, SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_VTAB,
    SQLITE_CONSTRAINT_ROWID, SQLITE_CONSTRAINT | 11 << 8, SQLITE_CONSTRAINT | 12 << 8,
    SQLITE_MISMATCH, SQLITE_MISUSE, SQLITE_NOLFS, SQLITE_AUTH, SQLITE_AUTH_USER, SQLITE_FORMAT,
    SQLITE_RANGE, SQLITE_NOTADB, SQLITE_NOTICE, SQLITE_NOTICE_RECOVER_WAL,
    SQLITE_NOTICE_RECOVER_ROLLBACK, SQLITE_NOTICE | 3 << 8, SQLITE_WARNING,
    SQLITE_WARNING_AUTOINDEX};

/* What a breaker must not see, and what it takes for the answer of a healthy database. All other
   codes are failures. */
static const int IGNORED[] = {
    RSL_SQLITE_BUSY_UPGRADE, SQLITE_ABORT, SQLITE_LOCKED, SQLITE_LOCKED_SHAREDCACHE,
    SQLITE_LOCKED_VTAB, SQLITE_NOMEM, SQLITE_INTERRUPT, SQLITE_IOERR_NOMEM, SQLITE_MISUSE,
    SQLITE_NOTICE, SQLITE_NOTICE_RECOVER_WAL, SQLITE_NOTICE_RECOVER_ROLLBACK,
    SQLITE_NOTICE | 3 << 8, SQLITE_WARNING, SQLITE_WARNING_AUTOINDEX};
static const int ANSWERS_PRIMARY[] = {
    SQLITE_OK, SQLITE_ROW, SQLITE_DONE, SQLITE_ERROR, SQLITE_NOTFOUND, SQLITE_EMPTY, SQLITE_SCHEMA,
    SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_AUTH, SQLITE_FORMAT, SQLITE_RANGE};

static void every_code_asks_for_what_was_decided(void **state)
{
    (void)state;
    size_t listed = RSL_COUNT(OKS) + RSL_COUNT(RETRIES) + RSL_COUNT(RERUNS) + RSL_COUNT(FINALS);
    size_t known = 0;
    for (int code = 0; code < CODES_END; code++) {
        if (rsl_sqlite_name(code) == NULL) continue;
        known++;
        rsl_sqlite_class asks = rsl_sqlite_classify(code);
        if (is_in(OKS, RSL_COUNT(OKS), code)) assert_int_equal(asks, RSL_SQLITE_OK);
        else if (is_in(RETRIES, RSL_COUNT(RETRIES), code))
            assert_int_equal(asks, RSL_SQLITE_RETRY);
        else if (is_in(RERUNS, RSL_COUNT(RERUNS), code)) assert_int_equal(asks, RSL_SQLITE_RERUN);
        else if (is_in(FINALS, RSL_COUNT(FINALS), code)) assert_int_equal(asks, RSL_SQLITE_FINAL);
        else fail_msg("%s is in no list of this test", rsl_sqlite_name(code));
        bool again = asks == RSL_SQLITE_RETRY || asks == RSL_SQLITE_RERUN;
        assert_int_equal(rsl_sqlite_is_retryable(code, NULL), again);
    }
    assert_int_equal(known, listed);
}

static void a_breaker_counts_trouble_and_not_answers(void **state)
{
    (void)state;
    for (int code = 0; code < CODES_END; code++) {
        if (rsl_sqlite_name(code) == NULL) continue;
        bool ignored = is_in(IGNORED, RSL_COUNT(IGNORED), code);
        bool answer = is_in(ANSWERS_PRIMARY, RSL_COUNT(ANSWERS_PRIMARY), code & 0xff) ||
                      code == SQLITE_BUSY_SNAPSHOT || code == SQLITE_ABORT_ROLLBACK;
        if (rsl_sqlite_is_ignored(code, NULL) != ignored ||
            rsl_sqlite_is_failure(code, NULL) != (!ignored && !answer)) {
            fail_msg("%s counts wrongly", rsl_sqlite_name(code));
        }
    }
}

/* Reads "#define SQLITE_NAME (SQLITE_OTHER | (n<<8))" and "#define SQLITE_NAME n" from the header.
 */
static int code_in_line(const char *line, char *name)
{
    char base[64];
    int number, shift;
    if (sscanf(line, "#define %63s (%63[A-Z_] | (%d<<8))", name, base, &number) == 3 ||
        sscanf(line, "#define %63s (%63[A-Z_] |(%d<<8))", name, base, &number) == 3) {
        for (shift = 0; shift < 256; shift++) {
            if (rsl_sqlite_name(shift) != NULL && strcmp(rsl_sqlite_name(shift), base) == 0) {
                return shift | number << 8;
            }
        }
        return -1;
    }
    return sscanf(line, "#define %63s %d", name, &number) == 2 ? number : -1;
}

static void every_code_of_the_installed_sqlite3_h_is_in_the_table(void **state)
{
    (void)state;
    FILE *header = fopen("/usr/include/sqlite3.h", "r");
    if (header == NULL) {
        skip();
        return;
    }
    int found = 0;
    bool inside = false;
    char line[512], name[64];
    while (fgets(line, sizeof line, header) != NULL) {
        if (strstr(line, "CAPI3REF: Result Codes") != NULL) inside = true;
        if (strstr(line, "CAPI3REF: Flags For File Open Operations") != NULL) break;
        if (!inside || strncmp(line, "#define SQLITE_", 15) != 0) continue;
        int code = code_in_line(line, name);
        const char *known = rsl_sqlite_name(code);
        if (known == NULL || strcmp(known, name) != 0) {
            fail_msg("%s (%d) is %s in the table", name, code, known != NULL ? known : "not");
        }
        found++;
    }
    fclose(header);
    assert_true(found >= 100);
}

static void a_code_newer_than_the_table_counts_as_its_primary_code(void **state)
{
    (void)state;
    assert_int_equal(rsl_sqlite_classify(SQLITE_BUSY | 99 << 8), RSL_SQLITE_RETRY);
    assert_int_equal(rsl_sqlite_classify(SQLITE_IOERR | 99 << 8), RSL_SQLITE_RERUN);
    assert_int_equal(rsl_sqlite_classify(SQLITE_FULL | 99 << 8), RSL_SQLITE_FINAL);
    assert_true(rsl_sqlite_is_failure(SQLITE_CANTOPEN | 99 << 8, NULL));
    assert_true(rsl_sqlite_is_ignored(SQLITE_NOMEM | 99 << 8, NULL));
    assert_null(rsl_sqlite_name(SQLITE_BUSY | 99 << 8));
}

static void what_sqlite_does_not_know_is_final_and_a_failure(void **state)
{
    (void)state;
    static const int unknown[] = {29, 99, 255, 99 << 8, 1000000, -1, INT_MIN, INT_MAX, RSL_EOPEN,
                                  SQLITE_ROW | 1 << 8, -256 + SQLITE_BUSY};
    for (size_t i = 0; i < RSL_COUNT(unknown); i++) {
        assert_int_equal(rsl_sqlite_classify(unknown[i]), RSL_SQLITE_FINAL);
        assert_true(rsl_sqlite_is_failure(unknown[i], NULL));
        assert_false(rsl_sqlite_is_ignored(unknown[i], NULL));
    }
}

static void a_deadline_is_a_failure_to_rerun_and_a_cancellation_is_nobodys(void **state)
{
    (void)state;
    assert_int_equal(rsl_sqlite_classify(RSL_ETIMEOUT), RSL_SQLITE_RERUN);
    assert_true(rsl_sqlite_is_retryable(RSL_ETIMEOUT, NULL));
    assert_true(rsl_sqlite_is_failure(RSL_ETIMEOUT, NULL));
    assert_int_equal(rsl_sqlite_classify(RSL_ECANCELED), RSL_SQLITE_FINAL);
    assert_true(rsl_sqlite_is_ignored(RSL_ECANCELED, NULL));
}

static void people_are_told_by_kind(void **state)
{
    (void)state;
    static const struct { int code; rsl_sqlite_kind kind; } rows[] = {
        {SQLITE_OK, RSL_SQLITE_KIND_OK}, {SQLITE_ROW, RSL_SQLITE_KIND_OK},
        {SQLITE_CANTOPEN_ISDIR, RSL_SQLITE_KIND_CONNECTION},
        {SQLITE_IOERR_READ, RSL_SQLITE_KIND_CONNECTION},
        {SQLITE_IOERR | 99 << 8, RSL_SQLITE_KIND_CONNECTION},
        {SQLITE_READONLY_DBMOVED, RSL_SQLITE_KIND_CONNECTION},
        {RSL_ETIMEOUT, RSL_SQLITE_KIND_TIMEOUT}, {RSL_ECANCELED, RSL_SQLITE_KIND_TIMEOUT},
        {SQLITE_INTERRUPT, RSL_SQLITE_KIND_TIMEOUT}, {SQLITE_BUSY, RSL_SQLITE_KIND_CONFLICT},
        {SQLITE_BUSY_SNAPSHOT, RSL_SQLITE_KIND_CONFLICT},
        {SQLITE_ABORT_ROLLBACK, RSL_SQLITE_KIND_CONFLICT},
        {SQLITE_CONSTRAINT_UNIQUE, RSL_SQLITE_KIND_UNIQUE},
        {SQLITE_CONSTRAINT_PRIMARYKEY, RSL_SQLITE_KIND_UNIQUE},
        {SQLITE_CONSTRAINT_ROWID, RSL_SQLITE_KIND_UNIQUE},
        {SQLITE_CONSTRAINT_FOREIGNKEY, RSL_SQLITE_KIND_FOREIGN_KEY},
        {SQLITE_CONSTRAINT_CHECK, RSL_SQLITE_KIND_CHECK},
        {SQLITE_TOOBIG, RSL_SQLITE_KIND_CHECK}, {SQLITE_MISMATCH, RSL_SQLITE_KIND_CHECK},
        {SQLITE_CONSTRAINT_NOTNULL, RSL_SQLITE_KIND_NOT_NULL},
        {SQLITE_CONSTRAINT, RSL_SQLITE_KIND_OTHER}, {SQLITE_CORRUPT, RSL_SQLITE_KIND_OTHER},
        {SQLITE_ABORT, RSL_SQLITE_KIND_OTHER}, {99, RSL_SQLITE_KIND_OTHER},
        {-256 + SQLITE_BUSY, RSL_SQLITE_KIND_OTHER}, {RSL_EOPEN, RSL_SQLITE_KIND_OTHER}};
    const char *texts[RSL_SQLITE_KIND_OTHER + 1] = {NULL};
    for (size_t i = 0; i < RSL_COUNT(rows); i++) {
        assert_int_equal(rsl_sqlite_kind_of(rows[i].code), rows[i].kind);
        texts[rows[i].kind] = rsl_sqlite_message(rows[i].code);
    }
    for (int i = 0; i <= RSL_SQLITE_KIND_OTHER; i++) {
        assert_non_null(texts[i]);
        for (int k = 0; k < i; k++) assert_string_not_equal(texts[i], texts[k]);
    }
}

/* ------------------------------------------------------------------------- locks */

static void a_lock_of_another_connection_is_busy_at_the_deadline(void **state)
{
    fixture *f = *state;
    job j = {0};
    must(f->other, "BEGIN IMMEDIATE");
    rsl_time start = rsl_now();
    rsl_ctx ctx = rsl_within(SOON);
    int code = rsl_sqlite_transaction(f->db, &ctx, RSL_SQLITE_IMMEDIATE, run_sql, &j);
    rsl_time took = rsl_now() - start;
    assert_int_equal(code, SQLITE_BUSY);
    assert_int_equal(j.calls, 0);
    assert_true(took >= SOON - RSL_MS(20) && took < LATE);
    assert_true(sqlite3_get_autocommit(f->db));
}

static void the_connections_own_busy_timeout_ends_a_wait_sooner_than_the_deadline(void **state)
{
    fixture *f = *state;
    job j = {0};
    sqlite3_busy_timeout(f->db, 30);
    must(f->other, "BEGIN IMMEDIATE");
    rsl_time start = rsl_now();
    rsl_ctx ctx = rsl_within(RSL_SEC(30));
    int code = rsl_sqlite_transaction(f->db, &ctx, RSL_SQLITE_IMMEDIATE, run_sql, &j);
    assert_int_equal(code, SQLITE_BUSY);
    assert_true(rsl_now() - start < LATE);
}

static void a_lock_that_is_given_back_in_time_is_waited_for(void **state)
{
    fixture *f = *state;
    job j = {.sql = "INSERT INTO orders VALUES(NULL, 'tea')"};
    helper h = {.db = f->other};
    must(f->other, "BEGIN IMMEDIATE");
    help_later(&h);
    rsl_ctx ctx = rsl_within(RSL_SEC(30));
    int code = rsl_sqlite_transaction(f->db, &ctx, RSL_SQLITE_IMMEDIATE, run_sql, &j);
    help_is_done(&h);
    assert_int_equal(code, RSL_OK);
    assert_int_equal(number_of(f->other, "SELECT count(*) FROM orders"), 1);
}

static void cancelling_ends_a_wait_for_a_lock(void **state)
{
    fixture *f = *state;
    job j = {0};
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    helper h = {.cancel = &cancel};
    must(f->other, "BEGIN IMMEDIATE");
    help_later(&h);
    rsl_time start = rsl_now();
    rsl_ctx ctx = {.cancel = &cancel};
    int code = rsl_sqlite_transaction(f->db, &ctx, RSL_SQLITE_IMMEDIATE, run_sql, &j);
    help_is_done(&h);
    rsl_cancel_deinit(&cancel);
    assert_int_equal(code, RSL_ECANCELED);
    assert_true(rsl_now() - start < LATE);
}

static void a_wait_for_a_lock_runs_in_virtual_time(void **state)
{
    fixture *f = *state;
    job j = {0};
    virtual_clock virtual = {.now = RSL_SEC(1000)};
    rsl_clock clock = virtual_clock_as(&virtual);
    must(f->other, "BEGIN IMMEDIATE");
    rsl_time start = rsl_now();
    rsl_ctx ctx = {.deadline = RSL_SEC(1003), .clock = &clock};
    int code = rsl_sqlite_transaction(f->db, &ctx, RSL_SQLITE_IMMEDIATE, run_sql, &j);
    assert_int_equal(code, SQLITE_BUSY);
    assert_true(virtual.now > RSL_MS(1002999) && virtual.now <= RSL_SEC(1003));
    assert_true(rsl_now() - start < LATE);
}

/* --------------------------------------------------------------------- snapshots */

static void a_stale_snapshot_fails_at_once_whatever_the_busy_timeout(void **state)
{
    fixture *f = *state;
    job j = {.other = f->other};
    rsl_time start = rsl_now();
    int code = rsl_sqlite_transaction(f->db, NULL, RSL_SQLITE_DEFERRED, take_one, &j);
    assert_int_equal(busy_timeout_of(f->db), 5000);
    assert_int_equal(code, SQLITE_BUSY_SNAPSHOT);
    assert_int_equal(j.inside, RSL_SQLITE_RERUN);
    assert_true(rsl_now() - start < LATE);
    assert_true(sqlite3_get_autocommit(f->db));
}

static void a_retry_around_the_transaction_reruns_it_on_fresh_data(void **state)
{
    fixture *f = *state;
    job j = {.other = f->other};
    attempt_args args = {f->db, &j};
    rsl_retry retry;
    rsl_retry_config config = {.delay_first = RSL_MS(1), .retryable = rsl_sqlite_is_retryable};
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    rsl_ctx ctx = rsl_within(RSL_SEC(30));
    int code = rsl_retry_call(&retry, &ctx, take_one_in_a_transaction, &args);
    rsl_retry_deinit(&retry);
    assert_int_equal(code, RSL_OK);
    assert_int_equal(j.calls, 2);
    assert_int_equal(j.attempt, 2);
    assert_int_equal(number_of(f->db, "SELECT n FROM stock"), 10 - 3 - 1);
}

static void a_transaction_that_has_read_and_meets_a_lock_must_rerun(void **state)
{
    fixture *f = *state;
    job j = {.sql = "SELECT n FROM stock; INSERT INTO orders VALUES(NULL, 'tea')"};
    must(f->other, "BEGIN IMMEDIATE");
    int code = rsl_sqlite_transaction(f->db, NULL, RSL_SQLITE_DEFERRED, run_sql, &j);
    assert_int_equal(j.inside, RSL_SQLITE_RERUN);
    assert_int_equal(code, RSL_SQLITE_BUSY_UPGRADE); /* it has not waited, unlike SQLITE_BUSY */
    assert_int_equal(code & 0xff, SQLITE_BUSY);
}

static void a_transaction_that_has_not_read_may_repeat_its_first_statement(void **state)
{
    fixture *f = *state;
    sqlite3_busy_timeout(f->db, 0);
    must(f->other, "BEGIN IMMEDIATE");
    must(f->db, "BEGIN");
    const char *sql = "INSERT INTO orders VALUES(NULL, 'tea')";
    int code = sqlite3_exec(f->db, sql, NULL, NULL, NULL);
    assert_int_equal(code, SQLITE_BUSY);
    assert_int_equal(rsl_sqlite_classify_inside(f->db, code), RSL_SQLITE_RETRY);
    must(f->other, "COMMIT");
    must(f->db, sql);
    must(f->db, "COMMIT");
    assert_int_equal(number_of(f->other, "SELECT count(*) FROM orders"), 1);
}

static void a_commit_that_meets_a_reader_may_be_repeated(void **state)
{
    fixture *f = *state; /* not in WAL mode: there a commit waits for the readers */
    sqlite3_busy_timeout(f->db, 0);
    must(f->other, "BEGIN; SELECT n FROM stock");
    must(f->db, "BEGIN IMMEDIATE; UPDATE stock SET n = 9");
    int code = sqlite3_exec(f->db, "COMMIT", NULL, NULL, NULL);
    assert_int_equal(code, SQLITE_BUSY);
    assert_int_equal(rsl_sqlite_classify_inside(f->db, code), RSL_SQLITE_RETRY);
    must(f->other, "COMMIT");
    must(f->db, "COMMIT");
    assert_int_equal(number_of(f->other, "SELECT n FROM stock"), 9);
}

static void only_a_lock_may_be_waited_for_again_inside_a_transaction(void **state)
{
    fixture *f = *state;
    must(f->db, "BEGIN IMMEDIATE");
    assert_int_equal(rsl_sqlite_classify_inside(f->db, SQLITE_BUSY), RSL_SQLITE_RETRY);
    assert_int_equal(rsl_sqlite_classify_inside(f->db, SQLITE_CANTOPEN), RSL_SQLITE_RERUN);
    assert_int_equal(rsl_sqlite_classify_inside(f->db, SQLITE_SCHEMA), RSL_SQLITE_RERUN);
    must(f->db, "ROLLBACK");
}

static void a_transaction_that_sqlite_rolled_back_must_rerun(void **state)
{
    fixture *f = *state; /* no transaction is open: the statement alone must not be repeated */
    assert_int_equal(rsl_sqlite_classify_inside(f->db, SQLITE_BUSY), RSL_SQLITE_RERUN);
    assert_int_equal(rsl_sqlite_classify_inside(f->db, SQLITE_CONSTRAINT), RSL_SQLITE_FINAL);
    assert_int_equal(rsl_sqlite_classify_inside(f->db, SQLITE_OK), RSL_SQLITE_OK);
}

/* ---------------------------------------------------------------------- deadlines */

static void a_deadline_interrupts_a_statement_that_computes(void **state)
{
    fixture *f = *state;
    job j = {.sql = ENDLESS};
    rsl_time start = rsl_now();
    rsl_ctx ctx = rsl_within(SOON);
    int code = rsl_sqlite_transaction(f->db, &ctx, RSL_SQLITE_IMMEDIATE, run_sql, &j);
    rsl_time took = rsl_now() - start;
    assert_int_equal(code, RSL_ETIMEOUT);
    assert_true(took >= SOON && took < LATE);
    assert_true(sqlite3_get_autocommit(f->db));
    assert_int_equal(number_of(f->other, "SELECT count(*) FROM orders"), 0);
}

static void cancelling_interrupts_a_statement_that_computes(void **state)
{
    fixture *f = *state;
    job j = {.sql = ENDLESS};
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    helper h = {.cancel = &cancel};
    help_later(&h);
    rsl_time start = rsl_now();
    rsl_ctx ctx = {.cancel = &cancel};
    int code = rsl_sqlite_transaction(f->db, &ctx, RSL_SQLITE_IMMEDIATE, run_sql, &j);
    help_is_done(&h);
    rsl_cancel_deinit(&cancel);
    assert_int_equal(code, RSL_ECANCELED);
    assert_true(rsl_now() - start < LATE);
}

static int interrupt_itself(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    (void)ctx;
    sqlite3_stmt **running = arg;
    sqlite3_prepare_v2(db, "SELECT name FROM sqlite_schema", -1, running, NULL);
    sqlite3_step(*running);
    sqlite3_interrupt(db);
    return SQLITE_INTERRUPT;
}

static void an_interrupt_of_the_application_stays_one_and_the_rollback_survives_it(void **state)
{
    fixture *f = *state;
    sqlite3_stmt *running = NULL; /* as long as it runs, ROLLBACK is interrupted too */
    rsl_ctx ctx = rsl_within(RSL_SEC(30));
    int code = rsl_sqlite_transaction(f->db, &ctx, RSL_SQLITE_IMMEDIATE, interrupt_itself,
                                      &running);
    assert_int_equal(code, SQLITE_INTERRUPT);
    assert_true(sqlite3_get_autocommit(f->db));
    assert_false(sqlite3_stmt_busy(running));
    sqlite3_finalize(running);
}

static void a_spent_ctx_begins_nothing(void **state)
{
    fixture *f = *state;
    job j = {0};
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_cancel_fire(&cancel);
    rsl_ctx late = {.deadline = 1}, cancelled = {.cancel = &cancel, .deadline = 1};
    assert_int_equal(rsl_sqlite_transaction(f->db, &late, RSL_SQLITE_DEFERRED, run_sql, &j),
                     RSL_ETIMEOUT);
    assert_int_equal(rsl_sqlite_transaction(f->db, &cancelled, RSL_SQLITE_DEFERRED, run_sql, &j),
                     RSL_ECANCELED);
    assert_int_equal(j.calls, 0);
    rsl_cancel_deinit(&cancel);
}

static int sleep_past_the_deadline(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    (void)arg;
    must(db, "INSERT INTO orders VALUES(NULL, 'tea')");
    while (rsl_left(ctx) > 0) sqlite3_sleep(5);
    return 0;
}

static void a_success_after_the_deadline_stays_a_success(void **state)
{
    fixture *f = *state;
    rsl_ctx ctx = rsl_within(RSL_MS(200));
    int code = rsl_sqlite_transaction(f->db, &ctx, RSL_SQLITE_IMMEDIATE, sleep_past_the_deadline,
                                      NULL);
    assert_int_equal(code, RSL_OK);
    assert_int_equal(number_of(f->other, "SELECT count(*) FROM orders"), 1);
}

static void a_guard_gives_the_connection_back_as_it_was(void **state)
{
    fixture *f = *state;
    sqlite3_busy_timeout(f->db, 1234);
    rsl_ctx ctx = rsl_within(RSL_MS(20));
    rsl_sqlite_guard guard;
    assert_int_equal(rsl_sqlite_guard_enter(&guard, f->db, &ctx), RSL_OK);
    int code = sqlite3_exec(f->db, ENDLESS, NULL, NULL, NULL);
    assert_int_equal(rsl_sqlite_guard_leave(&guard, code), RSL_ETIMEOUT);
    assert_int_equal(rsl_sqlite_guard_leave(&guard, code), code);
    assert_int_equal(busy_timeout_of(f->db), 1234);
    must(f->db, "INSERT INTO orders WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 "
                "FROM c LIMIT 5000) SELECT x, 'tea' FROM c");
}

static void a_ctx_without_limits_needs_no_guard(void **state)
{
    fixture *f = *state;
    rsl_ctx none = {0}, forever = {.deadline = RSL_FOREVER};
    const rsl_ctx *unlimited[] = {NULL, &none, &forever};
    for (size_t i = 0; i < RSL_COUNT(unlimited); i++) {
        rsl_sqlite_guard guard;
        assert_int_equal(rsl_sqlite_guard_enter(&guard, f->db, unlimited[i]), RSL_OK);
        assert_int_equal(busy_timeout_of(f->db), 5000); /* our own handler would show as 0 */
        assert_int_equal(rsl_sqlite_guard_leave(&guard, SQLITE_INTERRUPT), SQLITE_INTERRUPT);
    }
}

static void a_guard_refuses_nothing_to_guard(void **state)
{
    (void)state;
    rsl_sqlite_guard guard;
    rsl_ctx ctx = rsl_within(RSL_SEC(1));
    assert_int_equal(rsl_sqlite_guard_enter(NULL, NULL, &ctx), RSL_EINVAL);
    assert_int_equal(rsl_sqlite_guard_enter(&guard, NULL, &ctx), RSL_EINVAL);
    assert_int_equal(rsl_sqlite_guard_leave(&guard, 7), 7);
    assert_int_equal(rsl_sqlite_guard_leave(NULL, 7), 7);
}

/* ------------------------------------------------------------------- transactions */

static void a_transaction_commits_what_its_function_did(void **state)
{
    fixture *f = *state;
    static const rsl_sqlite_mode modes[] = {RSL_SQLITE_DEFERRED, RSL_SQLITE_IMMEDIATE,
                                            RSL_SQLITE_EXCLUSIVE};
    job j = {.sql = "INSERT INTO orders VALUES(NULL, 'tea')"};
    for (size_t i = 0; i < RSL_COUNT(modes); i++) {
        assert_int_equal(rsl_sqlite_transaction(f->db, NULL, modes[i], run_sql, &j), RSL_OK);
    }
    assert_ptr_equal(j.seen, f->db);
    assert_int_equal(number_of(f->other, "SELECT count(*) FROM orders"), 3);
}

static void a_failing_function_is_rolled_back_and_its_result_comes_back(void **state)
{
    fixture *f = *state;
    static const int results[] = {1, -1, 4242, SQLITE_DONE, RSL_EOPEN, RSL_RUN, INT_MIN};
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        job j = {.sql = "INSERT INTO orders VALUES(NULL, 'tea')", .result = results[i]};
        rsl_ctx ctx = rsl_within(RSL_SEC(30));
        int code = rsl_sqlite_transaction(f->db, &ctx, RSL_SQLITE_IMMEDIATE, run_sql, &j);
        assert_int_equal(code, results[i]);
        assert_true(sqlite3_get_autocommit(f->db));
    }
    assert_int_equal(number_of(f->other, "SELECT count(*) FROM orders"), 0);
}

static void a_failed_commit_is_rolled_back(void **state)
{
    fixture *f = *state;
    must(f->db, "PRAGMA foreign_keys=ON; CREATE TABLE lines(order_id REFERENCES orders(id) "
                "DEFERRABLE INITIALLY DEFERRED)");
    job j = {.sql = "INSERT INTO lines VALUES(99)"};
    int code = rsl_sqlite_transaction(f->db, NULL, RSL_SQLITE_IMMEDIATE, run_sql, &j);
    assert_int_equal(code, SQLITE_CONSTRAINT_FOREIGNKEY);
    assert_true(sqlite3_get_autocommit(f->db));
    assert_int_equal(number_of(f->db, "SELECT count(*) FROM lines"), 0);
}

static void a_violated_constraint_comes_back_with_its_extended_code(void **state)
{
    fixture *f = *state;
    sqlite3_extended_result_codes(f->db, 0);
    job j = {.sql = "INSERT INTO orders VALUES(1, NULL)"};
    int code = rsl_sqlite_transaction(f->db, NULL, RSL_SQLITE_IMMEDIATE, run_sql, &j);
    assert_int_equal(code, SQLITE_CONSTRAINT_NOTNULL);
}

static int nest(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    job *inner = arg;
    return rsl_sqlite_transaction(db, ctx, RSL_SQLITE_DEFERRED, run_sql, inner) == RSL_EINVAL ? 0
                                                                                              : 1;
}

static void a_transaction_inside_another_is_refused_and_harms_nothing(void **state)
{
    fixture *f = *state;
    job inner = {0};
    assert_int_equal(rsl_sqlite_transaction(f->db, NULL, RSL_SQLITE_IMMEDIATE, nest, &inner),
                     RSL_OK);
    assert_int_equal(inner.calls, 0);
}

static void a_function_that_ends_the_transaction_itself_is_told_so(void **state)
{
    fixture *f = *state;
    job j = {.sql = "COMMIT"};
    int code = rsl_sqlite_transaction(f->db, NULL, RSL_SQLITE_IMMEDIATE, run_sql, &j);
    assert_int_equal(code, RSL_EINVAL);
}

static int forbid_rollback(void *user, int action, const char *what, const char *b, const char *c,
                           const char *d)
{
    (void)user, (void)b, (void)c, (void)d;
    bool is_rollback = action == SQLITE_TRANSACTION && strcmp(what, "ROLLBACK") == 0;
    return is_rollback ? SQLITE_DENY : SQLITE_OK;
}

static void a_rollback_that_cannot_be_done_is_what_is_reported(void **state)
{
    fixture *f = *state;
    job j = {.result = 4242};
    sqlite3_set_authorizer(f->db, forbid_rollback, NULL);
    int code = rsl_sqlite_transaction(f->db, NULL, RSL_SQLITE_IMMEDIATE, run_sql, &j);
    assert_int_equal(code, SQLITE_AUTH);
    assert_int_equal(rsl_sqlite_transaction(f->db, NULL, RSL_SQLITE_DEFERRED, run_sql, &j),
                     RSL_EINVAL);
    assert_int_equal(rsl_sqlite_reset(NULL, f->db), SQLITE_AUTH);
    sqlite3_set_authorizer(f->db, NULL, NULL);
    assert_int_equal(rsl_sqlite_reset(NULL, f->db), 0);
    assert_true(sqlite3_get_autocommit(f->db));
}

static void a_transaction_refuses_what_it_cannot_run(void **state)
{
    fixture *f = *state;
    job j = {0};
    assert_int_equal(rsl_sqlite_transaction(NULL, NULL, RSL_SQLITE_DEFERRED, run_sql, &j),
                     RSL_EINVAL);
    assert_int_equal(rsl_sqlite_transaction(f->db, NULL, RSL_SQLITE_DEFERRED, NULL, &j),
                     RSL_EINVAL);
    assert_int_equal(rsl_sqlite_transaction(f->db, NULL, (rsl_sqlite_mode)3, run_sql, &j),
                     RSL_EINVAL);
    assert_int_equal(j.calls, 0);
}

static int disturb_errno(void *user)
{
    (void)user;
    errno = ENOENT;
    return 0;
}

static void errno_is_as_the_function_left_it(void **state)
{
    fixture *f = *state;
    job j = {.error = EXDEV, .sql = "INSERT INTO orders VALUES(NULL, 'tea')"};
    sqlite3_commit_hook(f->db, disturb_errno, NULL);
    assert_int_equal(rsl_sqlite_transaction(f->db, NULL, RSL_SQLITE_IMMEDIATE, run_sql, &j),
                     RSL_OK);
    assert_int_equal(errno, EXDEV);
}

static int eat_memory(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    (void)ctx, (void)arg;
    must(db, "INSERT INTO orders VALUES(NULL, 'tea')");
    sqlite3_hard_heap_limit64(sqlite3_memory_used() + 100000);
    int code = sqlite3_exec(db, "UPDATE orders SET item = hex(randomblob(4000000))", NULL, NULL,
                            NULL);
    sqlite3_hard_heap_limit64(0);
    return code;
}

static void running_out_of_memory_is_final_and_no_fault_of_the_database(void **state)
{
    fixture *f = *state;
    int code = rsl_sqlite_transaction(f->db, NULL, RSL_SQLITE_IMMEDIATE, eat_memory, NULL);
    assert_int_equal(code, SQLITE_NOMEM);
    assert_int_equal(rsl_sqlite_classify(code), RSL_SQLITE_FINAL);
    assert_true(rsl_sqlite_is_ignored(code, NULL));
    assert_int_equal(number_of(f->db, "SELECT count(*) FROM orders"), 0);
}

/* -------------------------------------------------------------------- connections */

static void a_file_in_a_missing_folder_cannot_be_opened_and_may_be_tried_again(void **state)
{
    (void)state;
    sqlite3 *untouched = (sqlite3 *)&untouched, *db = untouched;
    rsl_sqlite_config config = {.path = "/nonexistent_rsl/shop.db"};
    errno = EXDEV;
    int code = rsl_sqlite_open(&db, NULL, &config);
    assert_int_equal(errno, EXDEV);
    assert_int_equal(code, SQLITE_CANTOPEN);
    assert_ptr_equal(db, untouched);
    assert_int_equal(rsl_sqlite_classify(code), RSL_SQLITE_RETRY);
    assert_true(rsl_sqlite_is_failure(code, NULL));
}

static void a_folder_in_place_of_the_file_cannot_be_opened(void **state)
{
    fixture *f = *state;
    sqlite3 *db;
    rsl_sqlite_config config = {.path = f->folder};
    int code = rsl_sqlite_open(&db, NULL, &config);
    assert_int_equal(code & 0xff, SQLITE_CANTOPEN); /* some systems add ISDIR */
    assert_true(rsl_sqlite_is_failure(code, NULL));
}

static void a_file_that_is_no_database_shows_when_it_is_opened(void **state)
{
    fixture *f = *state;
    char path[320];
    snprintf(path, sizeof path, "%s/other.db", f->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 200; i++) fputs("no database ", file);
    fclose(file);
    sqlite3 *db;
    rsl_sqlite_config config = {.path = path};
    assert_int_equal(rsl_sqlite_open(&db, NULL, &config), SQLITE_NOTADB);
}

static void opening_a_locked_file_ends_at_the_deadline(void **state)
{
    fixture *f = *state; /* not in WAL mode, where a lock does not keep readers out */
    sqlite3 *db;
    rsl_sqlite_config config = {.path = f->path};
    must(f->other, "BEGIN EXCLUSIVE");
    rsl_time start = rsl_now();
    rsl_ctx ctx = rsl_within(SOON);
    assert_int_equal(rsl_sqlite_open(&db, &ctx, &config), SQLITE_BUSY);
    rsl_time took = rsl_now() - start;
    assert_true(took >= SOON - RSL_MS(20) && took < LATE);
}

static void a_spent_ctx_opens_nothing(void **state)
{
    fixture *f = *state;
    sqlite3 *db;
    char path[320];
    snprintf(path, sizeof path, "%s/other.db", f->folder);
    rsl_sqlite_config config = {.path = path, .wal = true};
    rsl_ctx late = {.deadline = 1};
    assert_int_equal(rsl_sqlite_open(&db, &late, &config), RSL_ETIMEOUT);
    assert_int_equal(access(path, F_OK), -1);
}

static void wal_mode_and_pragmas_are_in_force_after_opening(void **state)
{
    fixture *f = *state;
    sqlite3 *db;
    char path[320];
    snprintf(path, sizeof path, "%s/other.db", f->folder);
    rsl_sqlite_config config = {.path = path, .wal = true, .busy_timeout = RSL_US(1500),
                                .pragmas = "PRAGMA foreign_keys=ON; PRAGMA synchronous=NORMAL"};
    assert_int_equal(rsl_sqlite_open(&db, NULL, &config), RSL_OK);
    assert_int_equal(number_of(db, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    assert_int_equal(number_of(db, "PRAGMA foreign_keys"), 1);
    assert_int_equal(number_of(db, "PRAGMA synchronous"), 1);
    assert_int_equal(busy_timeout_of(db), 2);
    rsl_sqlite_close(db);
}

static void wal_mode_that_cannot_be_had_is_refused(void **state)
{
    (void)state;
    sqlite3 *db;
    rsl_sqlite_config config = {.path = ":memory:", .wal = true};
    assert_int_equal(rsl_sqlite_open(&db, NULL, &config), RSL_EINVAL);
}

static void a_pragma_that_fails_fails_the_opening(void **state)
{
    (void)state;
    sqlite3 *db;
    rsl_sqlite_config config = {.path = ":memory:", .pragmas = "PRAGMA foreign_keys=ON; nonsense"};
    assert_int_equal(rsl_sqlite_open(&db, NULL, &config), SQLITE_ERROR);
}

static void each_bad_field_of_a_config_is_refused_by_its_name(void **state)
{
    (void)state;
    static const struct { rsl_sqlite_config config; const char *field; } bad[] = {
        {{.path = NULL}, "path:"},
        {{.path = "x", .flags = SQLITE_OPEN_CREATE}, "flags:"},
        {{.path = "x", .flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_READONLY}, "flags:"},
        {{.path = "x", .flags = SQLITE_OPEN_READONLY, .wal = true}, "wal:"},
        {{.path = "x", .busy_timeout = -2}, "busy_timeout:"},
        {{.path = "x", .busy_timeout = RSL_FOREVER}, "busy_timeout:"}};
    sqlite3 *db;
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        const char *why = rsl_sqlite_config_check(&bad[i].config);
        assert_non_null(why);
        assert_int_equal(strncmp(why, bad[i].field, strlen(bad[i].field)), 0);
        assert_int_equal(rsl_sqlite_open(&db, NULL, &bad[i].config), RSL_EINVAL);
    }
    assert_non_null(rsl_sqlite_config_check(NULL));
    assert_int_equal(rsl_sqlite_open(&db, NULL, NULL), RSL_EINVAL);
    rsl_sqlite_config good = {.path = ":memory:"};
    assert_int_equal(rsl_sqlite_open(NULL, NULL, &good), RSL_EINVAL);
}

static void a_zeroed_config_means_the_documented_defaults(void **state)
{
    (void)state;
    rsl_sqlite_config zeroed = {.path = "x"}, never = {.path = "x", .busy_timeout = RSL_NONE};
    rsl_sqlite_config c = rsl_sqlite_config_resolve(&zeroed);
    assert_int_equal(c.flags, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    assert_int_equal(c.busy_timeout, RSL_SEC(5));
    assert_int_equal(rsl_sqlite_config_resolve(&never).busy_timeout, 0);
    assert_null(rsl_sqlite_config_check(&zeroed));
    assert_null(rsl_sqlite_config_check(&never));
}

static void the_callbacks_of_a_pool_make_check_and_end_a_connection(void **state)
{
    fixture *f = *state;
    rsl_sqlite_config config = {.path = f->path};
    void *db = NULL;
    assert_int_equal(rsl_sqlite_create(&config, NULL, &db), RSL_OK);
    assert_int_equal(rsl_sqlite_validate(&config, db), 0);
    assert_int_equal(rsl_sqlite_reset(&config, db), 0);
    rsl_sqlite_abandon(&config, db);
    assert_int_equal(rsl_sqlite_validate(&config, db), 0);
    rsl_sqlite_destroy(&config, db);
    assert_int_equal(rsl_sqlite_create(&config, NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_sqlite_validate(&config, NULL), RSL_EINVAL);
    assert_int_equal(rsl_sqlite_reset(&config, NULL), RSL_EINVAL);
    rsl_sqlite_destroy(&config, NULL);
}

static void a_connection_to_a_file_that_was_moved_is_not_valid(void **state)
{
    fixture *f = *state;
    assert_int_equal(rsl_sqlite_validate(NULL, f->db), 0);
    assert_int_equal(rename(f->path, f->moved), 0);
    assert_int_equal(rsl_sqlite_validate(NULL, f->db), SQLITE_READONLY_DBMOVED);
}

static void a_connection_with_an_open_transaction_is_not_valid(void **state)
{
    fixture *f = *state;
    must(f->db, "BEGIN");
    assert_int_equal(rsl_sqlite_validate(NULL, f->db), RSL_EINVAL);
}

static void a_locked_database_makes_a_connection_neither_invalid_nor_slow(void **state)
{
    fixture *f = *state; /* not in WAL mode */
    must(f->other, "BEGIN EXCLUSIVE");
    rsl_time start = rsl_now();
    assert_int_equal(rsl_sqlite_validate(NULL, f->db), 0);
    assert_true(rsl_now() - start < LATE);
    assert_int_equal(busy_timeout_of(f->db), 5000);
}

static void a_database_in_memory_is_valid(void **state)
{
    (void)state;
    sqlite3 *db;
    rsl_sqlite_config config = {.path = ":memory:"};
    assert_int_equal(rsl_sqlite_open(&db, NULL, &config), RSL_OK);
    assert_int_equal(rsl_sqlite_validate(&config, db), 0);
    rsl_sqlite_close(db);
}

static void reset_ends_what_the_last_user_left_behind(void **state)
{
    fixture *f = *state;
    sqlite3_stmt *running;
    rsl_sqlite_config config = {.path = f->path, .busy_timeout = RSL_MS(700)};
    must(f->db, "BEGIN IMMEDIATE; INSERT INTO orders VALUES(NULL, 'tea')");
    sqlite3_prepare_v2(f->db, "SELECT name FROM sqlite_schema", -1, &running, NULL);
    assert_int_equal(sqlite3_step(running), SQLITE_ROW);
    assert_int_equal(rsl_sqlite_reset(&config, f->db), 0);
    assert_false(sqlite3_stmt_busy(running));
    assert_int_equal(busy_timeout_of(f->db), 700);
    assert_int_equal(number_of(f->db, "SELECT count(*) FROM orders"), 0);
    must(f->other, "INSERT INTO orders VALUES(NULL, 'the lock is free')");
    sqlite3_finalize(running);
}

static void closing_rolls_back(void **state)
{
    fixture *f = *state;
    sqlite3_stmt *forgotten;
    must(f->db, "BEGIN IMMEDIATE; INSERT INTO orders VALUES(NULL, 'tea')");
    sqlite3_prepare_v2(f->db, "SELECT 1", -1, &forgotten, NULL);
    rsl_sqlite_close(f->db); /* the forgotten statement keeps it open, but not its transaction */
    f->db = NULL;
    must(f->other, "INSERT INTO orders VALUES(NULL, 'coffee')");
    assert_int_equal(number_of(f->other, "SELECT count(*) FROM orders"), 1);
    sqlite3_finalize(forgotten);
    rsl_sqlite_close(NULL);
}

/* --------------------------------------------------------------------------- main */

#define ON_FILE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define WITHOUT_WAL(test) cmocka_unit_test_setup_teardown(test, set_up_without_wal, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_asks_for_what_was_decided),
        cmocka_unit_test(a_breaker_counts_trouble_and_not_answers),
        cmocka_unit_test(every_code_of_the_installed_sqlite3_h_is_in_the_table),
        cmocka_unit_test(a_code_newer_than_the_table_counts_as_its_primary_code),
        cmocka_unit_test(what_sqlite_does_not_know_is_final_and_a_failure),
        cmocka_unit_test(a_deadline_is_a_failure_to_rerun_and_a_cancellation_is_nobodys),
        cmocka_unit_test(people_are_told_by_kind),
        ON_FILE(a_lock_of_another_connection_is_busy_at_the_deadline),
        ON_FILE(the_connections_own_busy_timeout_ends_a_wait_sooner_than_the_deadline),
        ON_FILE(a_lock_that_is_given_back_in_time_is_waited_for),
        ON_FILE(cancelling_ends_a_wait_for_a_lock),
        ON_FILE(a_wait_for_a_lock_runs_in_virtual_time),
        ON_FILE(a_stale_snapshot_fails_at_once_whatever_the_busy_timeout),
        ON_FILE(a_retry_around_the_transaction_reruns_it_on_fresh_data),
        ON_FILE(a_transaction_that_has_read_and_meets_a_lock_must_rerun),
        ON_FILE(a_transaction_that_has_not_read_may_repeat_its_first_statement),
        WITHOUT_WAL(a_commit_that_meets_a_reader_may_be_repeated),
        ON_FILE(only_a_lock_may_be_waited_for_again_inside_a_transaction),
        ON_FILE(a_transaction_that_sqlite_rolled_back_must_rerun),
        ON_FILE(a_deadline_interrupts_a_statement_that_computes),
        ON_FILE(cancelling_interrupts_a_statement_that_computes),
        ON_FILE(an_interrupt_of_the_application_stays_one_and_the_rollback_survives_it),
        ON_FILE(a_spent_ctx_begins_nothing),
        ON_FILE(a_success_after_the_deadline_stays_a_success),
        ON_FILE(a_guard_gives_the_connection_back_as_it_was),
        ON_FILE(a_ctx_without_limits_needs_no_guard),
        cmocka_unit_test(a_guard_refuses_nothing_to_guard),
        ON_FILE(a_transaction_commits_what_its_function_did),
        ON_FILE(a_failing_function_is_rolled_back_and_its_result_comes_back),
        ON_FILE(a_failed_commit_is_rolled_back),
        ON_FILE(a_violated_constraint_comes_back_with_its_extended_code),
        ON_FILE(a_transaction_inside_another_is_refused_and_harms_nothing),
        ON_FILE(a_function_that_ends_the_transaction_itself_is_told_so),
        ON_FILE(a_rollback_that_cannot_be_done_is_what_is_reported),
        ON_FILE(a_transaction_refuses_what_it_cannot_run),
        ON_FILE(errno_is_as_the_function_left_it),
        ON_FILE(running_out_of_memory_is_final_and_no_fault_of_the_database),
        cmocka_unit_test(a_file_in_a_missing_folder_cannot_be_opened_and_may_be_tried_again),
        ON_FILE(a_folder_in_place_of_the_file_cannot_be_opened),
        ON_FILE(a_file_that_is_no_database_shows_when_it_is_opened),
        WITHOUT_WAL(opening_a_locked_file_ends_at_the_deadline),
        ON_FILE(a_spent_ctx_opens_nothing),
        ON_FILE(wal_mode_and_pragmas_are_in_force_after_opening),
        cmocka_unit_test(wal_mode_that_cannot_be_had_is_refused),
        cmocka_unit_test(a_pragma_that_fails_fails_the_opening),
        cmocka_unit_test(each_bad_field_of_a_config_is_refused_by_its_name),
        cmocka_unit_test(a_zeroed_config_means_the_documented_defaults),
        ON_FILE(the_callbacks_of_a_pool_make_check_and_end_a_connection),
        ON_FILE(a_connection_to_a_file_that_was_moved_is_not_valid),
        ON_FILE(a_connection_with_an_open_transaction_is_not_valid),
        WITHOUT_WAL(a_locked_database_makes_a_connection_neither_invalid_nor_slow),
        cmocka_unit_test(a_database_in_memory_is_valid),
        ON_FILE(reset_ends_what_the_last_user_left_behind),
        ON_FILE(closing_rolls_back),
    };
    return cmocka_run_group_tests_name("adapters/sqlite.h", tests, NULL, NULL);
}
