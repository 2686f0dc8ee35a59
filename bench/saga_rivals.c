/* saga_rivals.c -- the floor under durable sagas, and sagas as one writes them by hand: a row in a
   table says how far each has come, and a transaction after each step moves it on.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* pwrite */
#include "sagas.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

size_t bench_saga_commit_size = 200;

/* ---- the floor: one file; who finds nobody syncing writes and syncs for all who wait ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t  synced;
    int             file;
    bool            syncing;
    unsigned long   asked, durable; /* commits */
    off_t           end;
    char           *zeros;
} floor_ = {.lock = PTHREAD_MUTEX_INITIALIZER, .synced = PTHREAD_COND_INITIALIZER, .file = -1};

enum { FLOOR_CHUNK = 256 << 10 };

static bool floor_open(const char *folder, int clients)
{
    char path[512];
    (void)clients;
    snprintf(path, sizeof path, "%s/floor", folder);
    floor_.file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    floor_.zeros = calloc(1, FLOOR_CHUNK);
    floor_.asked = floor_.durable = 0;
    floor_.end = 0;
    return floor_.file >= 0 && floor_.zeros != NULL;
}

/* As our journal does, the file grows by zeros, so that most syncs need not write its size. */
static bool floor_write(off_t at, size_t size)
{
    off_t end = at + (off_t)size;
    while (end > floor_.end) {
        if (pwrite(floor_.file, floor_.zeros, FLOOR_CHUNK, floor_.end) != FLOOR_CHUNK)
            return false;
        floor_.end += FLOOR_CHUNK;
    }
    static char bytes[BENCH_SAGA_CLIENTS_MAX * 4096];
    return pwrite(floor_.file, bytes, size, at) == (ssize_t)size && fdatasync(floor_.file) == 0;
}

static bool floor_commit(void)
{
    bool well = true;
    pthread_mutex_lock(&floor_.lock);
    unsigned long mine = ++floor_.asked;
    while (floor_.durable < mine && well) {
        if (floor_.syncing) {
            pthread_cond_wait(&floor_.synced, &floor_.lock);
            continue;
        }
        unsigned long from = floor_.durable, to = floor_.asked;
        floor_.syncing = true;
        pthread_mutex_unlock(&floor_.lock);
        well = floor_write((off_t)(from * bench_saga_commit_size),
                           (to - from) * bench_saga_commit_size);
        pthread_mutex_lock(&floor_.lock);
        floor_.syncing = false;
        floor_.durable = to;
        pthread_cond_broadcast(&floor_.synced);
    }
    pthread_mutex_unlock(&floor_.lock);
    return well;
}

static bool floor_run(int client)
{
    (void)client;
    for (int i = 0; i < BENCH_SAGA_COMMITS; i++) {
        if (!floor_commit()) return false;
    }
    return true;
}

static void floor_close(void)
{
    if (floor_.file >= 0) close(floor_.file);
    free(floor_.zeros);
    floor_.file = -1;
}

const bench_saga_kind bench_saga_floor = {"floor: pwrite + fdatasync, grouped", false, floor_open,
                                          floor_run, floor_close};

/* ---- SQLite: one connection behind a lock, which is quicker than one per thread, as one at a
   time may write anyway ---- */

static struct {
    pthread_mutex_t lock;
    sqlite3        *db;
    sqlite3_stmt   *begin, *move;
} lite = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool lite_open(const char *folder, int clients)
{
    char path[512];
    (void)clients;
    snprintf(path, sizeof path, "%s/sagas.db", folder);
    return sqlite3_open(path, &lite.db) == SQLITE_OK &&
           sqlite3_exec(lite.db,
                        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                        "CREATE TABLE saga (id INTEGER PRIMARY KEY, key TEXT UNIQUE, step INTEGER,"
                        " state TEXT, payload BLOB)",
                        NULL, NULL, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(lite.db,
                              "INSERT INTO saga (key, step, state, payload)"
                              " VALUES (hex(randomblob(8)), 0, 'running', zeroblob(32))",
                              -1, &lite.begin, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(lite.db, "UPDATE saga SET step = ?2, state = ?3 WHERE id = ?1", -1,
                              &lite.move, NULL) == SQLITE_OK;
}

static bool lite_step(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    return sqlite3_reset(statement) == SQLITE_OK && code == SQLITE_DONE;
}

static bool lite_run(int client)
{
    (void)client;
    pthread_mutex_lock(&lite.lock);
    bool well = lite_step(lite.begin);
    sqlite3_int64 id = sqlite3_last_insert_rowid(lite.db);
    pthread_mutex_unlock(&lite.lock);
    for (int i = 1; i <= BENCH_SAGA_STEPS && well; i++) {
        pthread_mutex_lock(&lite.lock);
        sqlite3_bind_int64(lite.move, 1, id);
        sqlite3_bind_int(lite.move, 2, i);
        sqlite3_bind_text(lite.move, 3, i < BENCH_SAGA_STEPS ? "running" : "done", -1,
                          SQLITE_STATIC);
        well = lite_step(lite.move);
        pthread_mutex_unlock(&lite.lock);
    }
    return well;
}

static void lite_close(void)
{
    sqlite3_finalize(lite.begin);
    sqlite3_finalize(lite.move);
    sqlite3_close(lite.db);
    lite.begin = lite.move = NULL;
    lite.db = NULL;
}

const bench_saga_kind bench_saga_sqlite = {"by hand in SQLite (WAL, FULL)", false, lite_open,
                                           lite_run, lite_close};

/* ---- PostgreSQL: a connection per client ---- */

static struct {
    PGconn *conns[BENCH_SAGA_CLIENTS_MAX];
    int     count;
} pg;

static bool pg_command(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    bool well = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    return well;
}

static bool pg_prepare(PGconn *conn, const char *name, const char *sql)
{
    PGresult *result = PQprepare(conn, name, sql, 0, NULL);
    bool well = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    return well;
}

static bool pg_open(const char *folder, int clients)
{
    const char *server = getenv("RSL_POSTGRES");
    (void)folder;
    if (server == NULL) return false;
    for (pg.count = 0; pg.count < clients; pg.count++) {
        PGconn *conn = pg.conns[pg.count] = PQconnectdb(server);
        if (pg.count == 0 &&
            !pg_command(conn, "DROP TABLE IF EXISTS saga; CREATE TABLE saga (id bigserial PRIMARY "
                              "KEY, key text UNIQUE, step int, state text, payload bytea)"))
            return false;
        if (!pg_prepare(conn, "begin",
                        "INSERT INTO saga (key, step, state, payload) VALUES "
                        "(gen_random_uuid(), 0, 'running', decode(repeat('00', 32), 'hex')) "
                        "RETURNING id") ||
            !pg_prepare(conn, "move",
                        "UPDATE saga SET step = $2::int, state = $3 WHERE id = $1::bigint"))
            return false;
    }
    return true;
}

static bool pg_run(int client)
{
    PGconn *conn = pg.conns[client];
    PGresult *result = PQexecPrepared(conn, "begin", 0, NULL, NULL, NULL, 0);
    char id[32] = "", step[2] = "0";
    bool well = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (well) snprintf(id, sizeof id, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    for (int i = 1; i <= BENCH_SAGA_STEPS && well; i++) {
        step[0] = (char)('0' + i);
        const char *values[] = {id, step, i < BENCH_SAGA_STEPS ? "running" : "done"};
        result = PQexecPrepared(conn, "move", 3, values, NULL, NULL, 0);
        well = PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
    }
    return well;
}

static void pg_close(void)
{
    for (int i = 0; i < pg.count; i++) PQfinish(pg.conns[i]);
    pg.count = 0;
}

const bench_saga_kind bench_saga_postgres = {"by hand in PostgreSQL", false, pg_open, pg_run,
                                             pg_close};
