/* SPDX-License-Identifier: MIT
   shop.c: the database of the drill: its schema, the statements of one order, the final audit. */
#include "drill.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* As SQLite's documentation advises for WAL mode, in both runs: a commit does not wait for the
   disk, so that the figures do not depend on how fast this machine's disk syncs. */
const char *const SHOP_PRAGMAS = "PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON";

static const char *const SCHEMA =
    "PRAGMA journal_mode=WAL;"
    "CREATE TABLE items(id INTEGER PRIMARY KEY, price INTEGER NOT NULL,"
    "                   stock INTEGER NOT NULL CHECK(stock >= 0));"
    "CREATE TABLE orders(key INTEGER PRIMARY KEY, item INTEGER NOT NULL REFERENCES items(id),"
    "                    quantity INTEGER NOT NULL);"
    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
    "INSERT INTO items SELECT i, 100 + i, %d FROM n;";

bool shop_create(run *r)
{
    char *sql = sqlite3_mprintf(SCHEMA, ITEMS, STOCK);
    rsl_sqlite_config config = {.path = r->path, .pragmas = SHOP_PRAGMAS};
    bool created = sql != NULL && rsl_sqlite_open(&r->keeper, NULL, &config) == RSL_OK &&
                   sqlite3_exec(r->keeper, sql, NULL, NULL, NULL) == SQLITE_OK;
    sqlite3_free(sql);
    return created;
}

/* Runs one statement with up to three numbers; the first column of its first row goes to *answer
   (NULL: none wanted). */
static int run_one(sqlite3 *db, const char *sql, const int64_t numbers[3], int64_t *answer)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code != SQLITE_OK) return code;
    for (int i = 0; i < sqlite3_bind_parameter_count(statement); i++) {
        sqlite3_bind_int64(statement, i + 1, numbers[i]);
    }
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW && answer != NULL) *answer = sqlite3_column_int64(statement, 0);
    int ended = sqlite3_finalize(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : ended;
}

/* The key makes the order safe to run twice: if an earlier attempt was committed after all, there
   is nothing left to do. */
static int book(sqlite3 *db, const order *o, bool *booked)
{
    const int64_t row[3] = {o->key, o->item, o->quantity}, take[3] = {o->item, o->quantity};
    int code = run_one(db, "INSERT INTO orders VALUES(?1, ?2, ?3) ON CONFLICT(key) DO NOTHING",
                       row, NULL);
    *booked = code == SQLITE_OK && sqlite3_changes(db) == 1;
    if (code != SQLITE_OK || !*booked) return code;
    return run_one(db, "UPDATE items SET stock = stock - ?2 WHERE id = ?1", take, NULL);
}

/* A quarter of a millisecond of the application's own work between reading and writing. */
static void think(void)
{
    const struct timespec quarter = {0, 250000};
    nanosleep(&quarter, NULL);
}

int shop_order(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    (void)ctx;
    order *o = arg;
    const int64_t item[3] = {o->item};
    int64_t stock = 0;
    bool booked = false;
    int code = SQLITE_OK;
    if (o->reads_first) {
        code = run_one(db, "SELECT stock FROM items WHERE id = ?1", item, &stock);
        if (code == SQLITE_OK && stock < o->quantity) return SQLITE_CONSTRAINT_CHECK;
        think();
    }
    if (code == SQLITE_OK) code = book(db, o, &booked);
    if (code == SQLITE_OK && !o->reads_first) {
        code = run_one(db, "SELECT stock FROM items WHERE id = ?1", item, &stock);
    }
    o->committing = code == SQLITE_OK;
    return code;
}

static bool should_be_there(const order *o)
{
    return o->outcome == IN_TIME || o->outcome == LATE ||
           (o->outcome == QUEUED && o->booked_later);
}

static bool read_keys(sqlite3 *db, bool *there, uint32_t count, uint32_t *rows)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(db, "SELECT key FROM orders", -1, &statement, NULL) != SQLITE_OK)
        return false;
    while (sqlite3_step(statement) == SQLITE_ROW) {
        int64_t key = sqlite3_column_int64(statement, 0);
        if (key >= 0 && key < count) there[key] = true;
        ++*rows;
    }
    return sqlite3_finalize(statement) == SQLITE_OK;
}

audit shop_audit(const run *r)
{
    audit a = {0};
    bool *there = calloc(r->order_count, sizeof *there);
    bool read = there != NULL && read_keys(r->keeper, there, r->order_count, &a.rows);
    for (uint32_t i = 0; read && i < r->order_count; i++) {
        const order *o = &r->orders[i];
        if (should_be_there(o)) {
            a.booked++;
            a.lost += !there[i];
        } else if (o->unknown) {
            a.unknown++;
            a.unknown_rows += there[i];
        } else {
            a.surplus += there[i];
        }
    }
    free(there);
    const int64_t none[3] = {0};
    read = read &&
           run_one(r->keeper, "SELECT sum(stock) FROM items", none, &a.stock) == SQLITE_OK &&
           run_one(r->keeper, "SELECT coalesce(sum(quantity), 0) FROM orders", none, &a.sold) ==
               SQLITE_OK;
    a.holds = read && a.lost == 0 && a.surplus == 0 && a.rows == a.booked + a.unknown_rows &&
              a.stock + a.sold == (int64_t)ITEMS * STOCK;
    return a;
}
