/* SPDX-License-Identifier: MIT
   faults.c: the timeline of faults. Each is real: another connection that holds SQLite's lock or
   writes faster, a disk that takes its time, a folder that is not there. */
#include "drill.h"

#include <string.h>

const fault FAULT[FAULTS] = {
    [RIVAL] = {.from = .08, .to = .20, .name = "rival writer",
               .what = "another connection writes all the time, so that what a transaction has "
                       "read is out of date when it wants to write (SQLITE_BUSY_SNAPSHOT)"},
    [BATCH] = {.from = .25, .to = .37, .name = "batch job",
               .what = "another connection holds the write lock for 150 ms, again and again after "
                       "100 ms (SQLITE_BUSY)"},
    [SLOW] = {.from = .42, .to = .54, .name = "slow disk",
              .what = "each read, write and sync of the file takes a millisecond longer, or what "
                      "--slow says"},
    [LOCK] = {.from = .60, .to = .73, .name = "write lock",
              .what = "another connection holds an EXCLUSIVE transaction (SQLITE_BUSY)"},
    [GONE] = {.from = .73, .to = .86, .name = "file gone",
              .what = "the folder of the database is moved away, as if its volume were not "
                      "mounted (SQLITE_CANTOPEN)"}};

/* The lock and the missing file follow each other without a pause: one outage. */
interval outage_of(const run *r)
{
    interval outage = {r->faults[LOCK].from, r->faults[GONE].to};
    return outage;
}

static int exec(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* Takes the lock as one of many: SQLite's own waiting is not fair, so it asks again. */
static bool lock_until(run *r, sqlite3 *db, rsl_time until)
{
    int code;
    do {
        code = exec(db, "BEGIN EXCLUSIVE");
    } while (code == SQLITE_BUSY && run_time(r) < until && !atomic_load(&interrupted));
    if (code != SQLITE_OK) return false;
    run_sleep_until(r, until);
    return exec(db, "COMMIT") == SQLITE_OK;
}

static const char *hold_lock(run *r, sqlite3 *db, rsl_time until)
{
    return lock_until(r, db, until) ? NULL : "the write lock was not to be had";
}

static const char *run_batch(run *r, sqlite3 *db, rsl_time until)
{
    while (run_time(r) < until && !atomic_load(&interrupted)) {
        rsl_time hold = run_time(r) + RSL_MS(150);
        if (!lock_until(r, db, hold < until ? hold : until)) return "the batch job got no lock";
        run_sleep_until(r, run_time(r) + RSL_MS(100));
    }
    return NULL;
}

static const char *write_as_rival(run *r, sqlite3 *db, rsl_time until)
{
    int code = SQLITE_OK;
    while (run_time(r) < until && !atomic_load(&interrupted)) {
        code = exec(db, "UPDATE items SET price = price + 1 WHERE id = 1");
        if (code != SQLITE_OK && code != SQLITE_BUSY) return "the rival could not write";
        run_sleep_until(r, run_time(r) + RSL_US(300));
    }
    return NULL;
}

static const char *slow_down(run *r, sqlite3 *db, rsl_time until)
{
    (void)db;
    slow_disk_set(r->options->slow);
    run_sleep_until(r, until);
    slow_disk_set(0);
    return NULL;
}

/* Connections that are open keep the file; new ones do not find it. */
static const char *move_away(run *r, sqlite3 *db, rsl_time until)
{
    (void)db;
    if (rename(r->volume, r->away) != 0) return "the folder could not be moved";
    run_sleep_until(r, until);
    return rename(r->away, r->volume) == 0 ? NULL : "the folder could not be moved back";
}

void *faults_main(void *arg)
{
    static const char *(*const inject[FAULTS])(run *, sqlite3 *, rsl_time) = {
        [RIVAL] = write_as_rival, [BATCH] = run_batch, [SLOW] = slow_down, [LOCK] = hold_lock,
        [GONE] = move_away};
    run *r = arg;
    rsl_time length = r->options->length;
    rsl_sqlite_config config = {
        .path = r->path, .busy_timeout = RSL_SEC(1), .pragmas = SHOP_PRAGMAS};
    sqlite3 *db = NULL;
    if (rsl_sqlite_open(&db, NULL, &config) != RSL_OK) r->fault_error = "no connection of its own";
    for (int i = 0; i < FAULTS && r->fault_error == NULL; i++) {
        if (!run_sleep_until(r, (rsl_time)(FAULT[i].from * (double)length))) break;
        atomic_store(&r->fault_now, i);
        r->faults[i].from = run_time(r);
        r->fault_error = inject[i](r, db, (rsl_time)(FAULT[i].to * (double)length));
        r->faults[i].to = run_time(r);
        atomic_store(&r->fault_now, FAULTS);
    }
    rsl_sqlite_close(db);
    return NULL;
}
