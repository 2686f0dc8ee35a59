/* SPDX-License-Identifier: MIT
   bare.c: an order as careful code without this library places it: a busy timeout as long as a
   caller waits, every code checked, every failure rolled back, the connection always closed. */
#include "drill.h"

static int exec(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

int bare_place(run *r, order *o)
{
    sqlite3 *db = NULL;
    run_count_call(r);
    o->attempts++;
    int code = sqlite3_open_v2(r->path, &db, SQLITE_OPEN_READWRITE, NULL);
    if (code == SQLITE_OK) {
        sqlite3_extended_result_codes(db, 1);
        sqlite3_busy_timeout(db, (int)(PATIENCE / RSL_MS(1)));
        code = exec(db, SHOP_PRAGMAS);
    }
    if (code == SQLITE_OK) code = exec(db, r->options->immediate ? "BEGIN IMMEDIATE" : "BEGIN");
    if (code == SQLITE_OK) {
        code = shop_order(NULL, db, o);
        if (code == SQLITE_OK) code = exec(db, "COMMIT");
        if (code != SQLITE_OK && !sqlite3_get_autocommit(db)) exec(db, "ROLLBACK");
    }
    sqlite3_close(db);
    return code;
}
