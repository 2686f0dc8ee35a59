/* saga_sqlite.h -- sagas in SQLite: a store that keeps their logs in a database, and the barrier
   by which a participant does each of its steps once in a database of its own.

       #define RSL_SAGA_IMPLEMENTATION      in one C file; SQLite 3.34 or newer, and POSIX
       #include "saga.h"
       #define RSL_SQLITE_IMPLEMENTATION
       #define RSL_SAGA_SQLITE_IMPLEMENTATION
       #include "adapters/saga_sqlite.h"

       rsl_saga_store store;                the store
       rsl_saga_sqlite_config in = {.path = "/var/lib/shop/shop.db"};
       if (rsl_saga_sqlite_open(&store, &in) != RSL_OK) ...
       rsl_sagas_config config = {.store = &store};
       if (rsl_sagas_open(&sagas, &config) != RSL_OK) ...

       static int take(const rsl_ctx *ctx, sqlite3 *db, void *arg)      the barrier
       {
           job *j = arg;
           int code = rsl_saga_sqlite_barrier(db, rsl_step_key(j->step), &j->turn);
           if (code != RSL_OK || j->turn != RSL_SAGA_FIRST) return code;
           return sqlite3_exec(db, "UPDATE stock SET n = n - 1", NULL, NULL, NULL);
       }
       static rsl_outcome reserve(rsl_step *step, void *db)
       {
           job j = {.step = step};
           rsl_ctx ctx = rsl_step_ctx(step);
           int code = rsl_sqlite_transaction(db, &ctx, RSL_SQLITE_IMMEDIATE, take, &j);
           if (code == RSL_OK) return j.turn == RSL_SAGA_LATE ? RSL_STEP_FAIL : RSL_STEP_OK;
           bool again = rsl_sqlite_is_retryable(code, NULL);
           return rsl_step_fail(step, again ? RSL_STEP_RETRY : RSL_STEP_UNKNOWN, code);
       }

   The store is an exclusive one: one process at a time has it. It may share its database file
   with the tables of the application, whose locks it waits for. It is two tables:

       rsl_meta      one row: version 1, uuid, epoch, next_id, sum
       rsl_records   saga, number, epoch, state, sum, data; the rows are laid out in the order of
                     the primary key (saga, number)

   What is durable. The database is in WAL mode and written with synchronous=FULL. Each append is
   one transaction, and one sync of the WAL; as a saga's records lie side by side, and those of
   sagas begun together do too, it writes few pages.

   Who may write. Open takes an flock on a file beside the database, "shop.db-rsl_sagas.lock",
   which a crash frees at once. That alone would not do: the file may be deleted, or the folder be
   one where locks do not work. So there is the epoch too. Open hands out the one after that in
   the meta row; the first compact writes it there, unless another process has done so since; and
   each append, holding the right to write, looks whether it is still there.

   What is noticed. Each row carries a sum over all that it says: a changed byte is RSL_ECORRUPT at
   open or load. Open checks the pages of the records (PRAGMA quick_check). After any failure of
   append or compact the store refuses all else, for what has reached the disk then is known only
   to who opens it anew.

   The barrier. A step's message may come twice, its compensation may come when it never came
   itself, or may overtake it. A table in the participant's database holds a row for each (saga,
   step, direction) that has come. The participant asks it within the transaction of its work:

       rows there     the action comes           the compensation comes
       none           FIRST   leaves run         EMPTY   leaves run and undo
       run            AGAIN                      FIRST   leaves undo
       run, undo      LATE                       AGAIN, or EMPTY as before

   The compensation takes the action's place where that is free, so that the late action finds it
   taken. A transaction that is rolled back leaves nothing, and the same call comes FIRST again.
   The idea is the sub-transaction barrier of DTM, as in Seata's fence for TCC.

   Options: RSL_STATIC makes private copies; RSL_API, as for the other headers. */
#ifndef RSL_SAGA_SQLITE_H
#define RSL_SAGA_SQLITE_H

#ifndef RSL_SAGA_H
#include "saga.h"
#endif
#include "sqlite.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the store ---- */

/* Zero means the default in brackets. */
typedef struct rsl_saga_sqlite_config {
    const char *path;         /* the database's file, made if it is not there; no URI; required */
    const char *prefix;       /* of the tables' names: a-z, 0-9, _; no digit first, at most 31
                                 bytes; another one in the same file is another store ("rsl_") */
    const char *vfs;          /* name of a VFS (SQLite's default) */
    rsl_time    busy_timeout; /* longest wait for a lock of the application, rounded up to ms; an
                                 append that waited longer has failed, and the store with it;
                                 RSL_NONE: none (60 s) */
    void      (*failed)(void *user, int code, const char *message); /* told when load, append or
                                 compact fails, in SQLite's words; code: its result code, or a
                                 status; from the thread that called (none) */
    void       *user;         /* for failed */
} rsl_saga_sqlite_config;

/* NULL when rsl_saga_sqlite_open would take the config, else the field and the reason. Says
   nothing of the file. NULL: "config: must not be NULL". Static; pure. */
RSL_API const char *rsl_saga_sqlite_config_check(const rsl_saga_sqlite_config *config);

/* The values in force. Pure. config: not NULL. */
RSL_API rsl_saga_sqlite_config
rsl_saga_sqlite_config_resolve(const rsl_saga_sqlite_config *config);

/* Fills *store with an exclusive store for rsl_sagas_config.store. Touches no file: that does
   store->open, once. store->close frees it, and must be called, once: rsl_sagas_open that took it
   sees to that. The config is copied. RSL_EINVAL: store NULL, or rsl_saga_sqlite_config_check has
   a reason; RSL_ENOMEM: *store is unchanged. Does not block.

   What its functions do, beside what saga.h says:
   open: makes the tables if neither is there, and puts the file into WAL mode. RSL_EINVAL: it
       cannot have WAL mode, the tables are of a newer version or other ones, or the lock's file is
       a symbolic link; RSL_EFENCED: another process, or this one, has it open; RSL_ECORRUPT: no
       database, or a damaged one; RSL_ESYS (errno): the lock's file; RSL_ENOMEM; RSL_EIO: all
       else, as a path that cannot be opened, or a lock that is not given back.
   load: RSL_ECORRUPT at a record whose sum is wrong; with salvage it is passed over. Holds a read
       transaction during visit.
   append, compact: RSL_EIO, or RSL_ECORRUPT where something else stands under a record's number;
       from then on RSL_EIO. RSL_EFENCED from compact: another process has taken it over.
       RSL_EINVAL: a record without saga or number, NULL data with a size, or append before the
       first compact; keep is NULL. The file keeps its size: what is dropped is used again.
   Not in a forked child. If this process dies, a child of it that lives on and has not called exec
   still holds the lock. */
RSL_API int rsl_saga_sqlite_open(rsl_saga_store *store, const rsl_saga_sqlite_config *config);

/* ---- the barrier ---- */

/* Makes the barrier's table, rsl_saga_barrier, where there is none. Returns RSL_OK, RSL_EINVAL
   (NULL), or an extended result code. Call it from the thread that uses db; blocks for locks and
   I/O. */
RSL_API int rsl_saga_sqlite_barrier_create(sqlite3 *db);

/* Says, first in a transaction of db, whose turn it is, and notes that it has been. key: what
   rsl_step_key gave to the step that asks: it says whether an action or a compensation, and of
   which round of a savepoint. Unless it is FIRST, do nothing more; in all cases commit.
   Returns RSL_OK; RSL_EINVAL: NULL, no transaction is open, or no such key; else an extended
   result code, with which the transaction is to be rolled back (SQLITE_ERROR: there is no table).
   *turn is written on RSL_OK.
   Two that come at once are told apart by the right to write: with BEGIN IMMEDIATE one waits for
   the other. In a plain BEGIN that has read nothing before, the barrier itself waits for it; in
   one that has read, it may get SQLITE_BUSY_SNAPSHOT or SQLITE_BUSY, and the transaction must be
   run again. Neither lets both through.
   Call it from the thread that uses db. About 20 us and a row of some 100 bytes for each step. */
RSL_API int rsl_saga_sqlite_barrier(sqlite3 *db, const char *key, rsl_saga_turn *turn);

/* Forgets the sagas of which nothing has come for longer than age, by the time of day; what comes
   of them later counts as the first. So age (positive) is more than any saga may last, parked ones
   too. Returns RSL_OK, RSL_EINVAL, or an extended result code. Inside a transaction or not; reads
   the whole table. */
RSL_API int rsl_saga_sqlite_barrier_forget(sqlite3 *db, rsl_time age);

#ifdef __cplusplus
}
#endif
#endif /* RSL_SAGA_SQLITE_H */

/* ==== implementation ==== */

#if (defined RSL_SAGA_SQLITE_IMPLEMENTATION || defined RSL_STATIC) && \
    !defined RSL_SAGA_SQLITE_IMPLEMENTED_
#define RSL_SAGA_SQLITE_IMPLEMENTED_
#ifdef __cplusplus
#error "resilience: implement adapters/saga_sqlite.h in a C file; C++ files only include it"
#endif
#ifdef _WIN32
#error "resilience: adapters/saga_sqlite.h locks with flock(), which Windows lacks"
#endif
#ifndef RSL_CORE_IMPLEMENTED_
#error "resilience: implement adapters/saga_sqlite.h in a file that implements a module before it"
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- its SQL ---- */

/* '@' stands for the prefix of the tables. */
static const char *const rsl_saga_sqlite_tables_[] = {
    "CREATE TABLE @meta(one INTEGER PRIMARY KEY CHECK(one = 1), version INTEGER NOT NULL,"
    " uuid TEXT NOT NULL, epoch INTEGER NOT NULL, next_id INTEGER NOT NULL,"
    " sum INTEGER NOT NULL)",
    "CREATE TABLE @records(saga INTEGER NOT NULL, number INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, state INTEGER NOT NULL, sum INTEGER NOT NULL, data BLOB NOT NULL,"
    " PRIMARY KEY(saga, number)) WITHOUT ROWID"};

enum {
    RSL_SAGA_SQLITE_META_,
    RSL_SAGA_SQLITE_PUT_META_,
    RSL_SAGA_SQLITE_TOP_,
    RSL_SAGA_SQLITE_INSERT_,
    RSL_SAGA_SQLITE_SAME_,
    RSL_SAGA_SQLITE_LOAD_ALL_,
    RSL_SAGA_SQLITE_LOAD_ONE_,
    RSL_SAGA_SQLITE_SWEEP_,
    RSL_SAGA_SQLITE_DROP_,
    RSL_SAGA_SQLITE_STATEMENTS_
};

static const char *const rsl_saga_sqlite_statements_[RSL_SAGA_SQLITE_STATEMENTS_] = {
    [RSL_SAGA_SQLITE_META_] = "SELECT version, uuid, epoch, next_id, sum FROM @meta",
    [RSL_SAGA_SQLITE_PUT_META_] =
        "REPLACE INTO @meta(one, version, uuid, epoch, next_id, sum)"
        " VALUES(1, ?1, ?2, ?3, ?4, ?5)",
    [RSL_SAGA_SQLITE_TOP_] = "SELECT coalesce(max(saga), 0) FROM @records",
    [RSL_SAGA_SQLITE_INSERT_] =
        "INSERT INTO @records(saga, number, epoch, state, sum, data)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
    [RSL_SAGA_SQLITE_SAME_] =
        "SELECT 1 FROM @records WHERE saga = ?1 AND number = ?2 AND epoch = ?3 AND state = ?4"
        " AND sum = ?5 AND data = ?6",
    [RSL_SAGA_SQLITE_LOAD_ALL_] =
        "SELECT saga, number, epoch, state, sum, data FROM @records ORDER BY saga, number",
    [RSL_SAGA_SQLITE_LOAD_ONE_] =
        "SELECT saga, number, epoch, state, sum, data FROM @records WHERE saga = ?1"
        " ORDER BY number",
    [RSL_SAGA_SQLITE_SWEEP_] =
        "SELECT saga, number, epoch, state, sum, data FROM @records"
        " WHERE (saga, number) > (?1, ?2) ORDER BY saga, number",
    [RSL_SAGA_SQLITE_DROP_] =
        "DELETE FROM @records WHERE (saga, number) >= (?1, ?2) AND (saga, number) <= (?3, ?4)"};

enum {
    RSL_SAGA_SQLITE_VERSION_ = 1, /* of the tables */
    RSL_SAGA_SQLITE_PREFIX_MAX_ = 31,
    RSL_SAGA_SQLITE_TEXT_ = 1024  /* bytes of any statement, its prefix written in */
};

/* What the meta row says. */
typedef struct rsl_saga_sqlite_meta_ {
    int64_t version, epoch, next_id;
    char    uuid[37];
} rsl_saga_sqlite_meta_;

/* One thread at a time. */
typedef struct rsl_saga_sqlite_ {
    rsl_saga_sqlite_config config; /* in force; its texts lie behind this struct */
    sqlite3      *db;              /* NULL until open */
    sqlite3_stmt *statements[RSL_SAGA_SQLITE_STATEMENTS_];
    int           lock;            /* the lock's descriptor, or -1 */
    int64_t       epoch;           /* of this open */
    bool          salvage;
    bool          in_use;          /* the meta row held our epoch after the first compact */
    bool          failed;          /* nothing more is stored or dropped */
} rsl_saga_sqlite_;

/* Writes sql with the prefix in. to holds RSL_SAGA_SQLITE_TEXT_ bytes. */
static inline void rsl_saga_sqlite_expand_(const rsl_saga_sqlite_ *self, const char *sql, char *to)
{
    size_t length = strlen(self->config.prefix);
    for (; *sql != 0; sql++) {
        if (*sql != '@') {
            *to++ = *sql;
            continue;
        }
        memcpy(to, self->config.prefix, length);
        to += length;
    }
    *to = 0;
}

static inline int rsl_saga_sqlite_prepare_(rsl_saga_sqlite_ *self, const char *sql,
                                           sqlite3_stmt **statement)
{
    char text[RSL_SAGA_SQLITE_TEXT_];
    rsl_saga_sqlite_expand_(self, sql, text);
    return sqlite3_prepare_v3(self->db, text, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
}

/* Runs a statement that gives no row, or one of which only one number is wanted (result may be
   NULL), and resets it. */
static inline int rsl_saga_sqlite_run_(sqlite3_stmt *statement, int64_t *result)
{
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW && result != NULL) *result = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return code;
}

/* Prepares, runs and drops; the answer is the first number of the first row. */
static inline int rsl_saga_sqlite_ask_(rsl_saga_sqlite_ *self, const char *sql, int64_t *result)
{
    sqlite3_stmt *statement = NULL;
    int code = rsl_saga_sqlite_prepare_(self, sql, &statement);
    if (code == SQLITE_OK) code = rsl_saga_sqlite_run_(statement, result);
    sqlite3_finalize(statement);
    return code;
}

/* ---- results ---- */

/* A result code of SQLite, or a status, as a status. */
static inline int rsl_saga_sqlite_status_(int code)
{
    if (code <= 0) return code; /* SQLite's own are positive */
    switch (code) {
    case SQLITE_NOMEM: case SQLITE_IOERR | 12 << 8:                        return RSL_ENOMEM;
    case SQLITE_IOERR | 32 << 8: case SQLITE_IOERR | 33 << 8: /* DATA, CORRUPTFS */
                                                                           return RSL_ECORRUPT;
    case SQLITE_ERROR:                             /* its tables have other columns than ours */
                                                                           return RSL_EINVAL;
    default: break;
    }
    int primary = code & 0xff;
    return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB ? RSL_ECORRUPT : RSL_EIO;
}

/* Where a failure of open goes. */
typedef struct rsl_saga_sqlite_error_ { char *text; size_t size; } rsl_saga_sqlite_error_;

/* Writes "file: why (code)". Returns the code as a status. */
static inline int rsl_saga_sqlite_fail_(rsl_saga_sqlite_error_ to, const char *file, int code,
                                        const char *why)
{
    int saved = errno;
    const char *name = code > 0 ? rsl_sqlite_name(code) : rsl_strerror(code);
    if (to.text != NULL && to.size > 0 && code == RSL_ESYS) {
        (void)snprintf(to.text, to.size, "%s: %s (errno %d)", file, why, saved);
    } else if (to.text != NULL && to.size > 0) {
        (void)snprintf(to.text, to.size, "%s: %s (%s)", file, why, name != NULL ? name : "?");
    }
    errno = saved;
    return rsl_saga_sqlite_status_(code);
}

static inline void rsl_saga_sqlite_tell_(const rsl_saga_sqlite_ *self, int code)
{
    if (self->config.failed == NULL) return;
    const char *message = code > 0 ? sqlite3_errstr(code) : rsl_strerror(code);
    self->config.failed(self->config.user, code, message);
}

/* ---- sums ---- */

/* Each word changes the sum in a way of its own that can be undone, so that of two inputs that
   differ in one word the sums differ for certain. */
static inline uint64_t rsl_saga_sqlite_mix_(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return sum ^ sum >> 32;
}

/* Of up to eight bytes, the first the lowest, as a file must mean the same on any machine. */
static inline uint64_t rsl_saga_sqlite_word_(const unsigned char *bytes, size_t count)
{
    uint64_t word = 0;
    for (size_t i = 0; i < count; i++) word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

/* A number that SQL can hold. */
static inline int64_t rsl_saga_sqlite_finish_(uint64_t sum, const void *data, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)data;
    size_t at = 0;
    for (; size - at >= 8; at += 8) {
        sum = rsl_saga_sqlite_mix_(sum, rsl_saga_sqlite_word_(bytes + at, 8));
    }
    if (at < size) sum = rsl_saga_sqlite_mix_(sum, rsl_saga_sqlite_word_(bytes + at, size - at));
    return (int64_t)(sum >> 1);
}

static inline int64_t rsl_saga_sqlite_sum_(const rsl_saga_record *record)
{
    uint64_t sum = rsl_saga_sqlite_mix_(record->size, record->saga);
    sum = rsl_saga_sqlite_mix_(sum, record->epoch);
    sum = rsl_saga_sqlite_mix_(sum, (uint64_t)record->number << 32 | (uint32_t)record->state);
    return rsl_saga_sqlite_finish_(sum, record->data, record->size);
}

static inline int64_t rsl_saga_sqlite_sum_meta_(const rsl_saga_sqlite_meta_ *meta)
{
    uint64_t sum = rsl_saga_sqlite_mix_((uint64_t)meta->version, (uint64_t)meta->epoch);
    sum = rsl_saga_sqlite_mix_(sum, (uint64_t)meta->next_id);
    return rsl_saga_sqlite_finish_(sum, meta->uuid, sizeof meta->uuid);
}

/* ---- records ---- */

/* A place in the order of the records. */
typedef struct rsl_saga_sqlite_place_ { int64_t saga, number; } rsl_saga_sqlite_place_;

static const rsl_saga_sqlite_place_ rsl_saga_sqlite_start_ = {INT64_MIN, INT64_MIN};

/* Whether the row comes after *at, which is then its place. Where rows are out of order, pages are
   damaged in a way that the check of open does not see, and searching in them finds the wrong. */
static inline bool rsl_saga_sqlite_moves_on_(sqlite3_stmt *row, rsl_saga_sqlite_place_ *at)
{
    rsl_saga_sqlite_place_ before = *at;
    at->saga = sqlite3_column_int64(row, 0);
    at->number = sqlite3_column_int64(row, 1);
    if (at->saga != before.saga) return at->saga > before.saga;
    return at->number > before.number;
}

/* The record of the row at which a LOAD or SWEEP stands; valid until that moves on. */
static inline int rsl_saga_sqlite_read_(const rsl_saga_sqlite_ *self, sqlite3_stmt *row,
                                        rsl_saga_record *record)
{
    int64_t saga = sqlite3_column_int64(row, 0), number = sqlite3_column_int64(row, 1);
    int64_t epoch = sqlite3_column_int64(row, 2), state = sqlite3_column_int64(row, 3);
    record->data = sqlite3_column_blob(row, 5);
    record->size = (size_t)sqlite3_column_bytes(row, 5);
    bool is_lost = record->data == NULL && sqlite3_errcode(self->db) == SQLITE_NOMEM;
    if (is_lost || (record->data == NULL && record->size > 0)) return RSL_ENOMEM;
    bool sane = saga > 0 && number > 0 && number <= UINT32_MAX && epoch > 0 &&
                epoch <= self->epoch && state >= 0 && state <= INT_MAX;
    if (!sane) return RSL_ECORRUPT;
    record->saga = (rsl_saga_id)saga;
    record->number = (uint32_t)number;
    record->epoch = (uint64_t)epoch;
    record->state = (rsl_saga_state)state;
    record->status = RSL_OK;
    return rsl_saga_sqlite_sum_(record) == sqlite3_column_int64(row, 4) ? RSL_OK : RSL_ECORRUPT;
}

/* To INSERT or SAME. */
static inline int rsl_saga_sqlite_bind_(sqlite3_stmt *statement, const rsl_saga_record *record)
{
    const void *data = record->size > 0 ? record->data : ""; /* a NULL would be SQL's null */
    sqlite3_bind_int64(statement, 1, (int64_t)record->saga);
    sqlite3_bind_int64(statement, 2, record->number);
    sqlite3_bind_int64(statement, 3, (int64_t)record->epoch);
    sqlite3_bind_int(statement, 4, (int)record->state);
    sqlite3_bind_int64(statement, 5, rsl_saga_sqlite_sum_(record));
    return sqlite3_bind_blob64(statement, 6, data, record->size, SQLITE_STATIC);
}

static inline int rsl_saga_sqlite_insert_(rsl_saga_sqlite_ *self, const rsl_saga_record *record)
{
    sqlite3_stmt *insert = self->statements[RSL_SAGA_SQLITE_INSERT_];
    int code = rsl_saga_sqlite_bind_(insert, record);
    if (code != SQLITE_OK) return code;
    code = rsl_saga_sqlite_run_(insert, NULL);
    if (code != SQLITE_DONE) return code;
    if (sqlite3_changes(self->db) == 1) return SQLITE_OK;

    sqlite3_stmt *same = self->statements[RSL_SAGA_SQLITE_SAME_];
    code = rsl_saga_sqlite_bind_(same, record);
    if (code == SQLITE_OK) code = rsl_saga_sqlite_run_(same, NULL);
    if (code == SQLITE_ROW) return SQLITE_OK;
    return code == SQLITE_DONE ? RSL_ECORRUPT : code;
}

/* ---- open ---- */

/* The version comes first: another one may have other sums. */
static inline int rsl_saga_sqlite_read_meta_(rsl_saga_sqlite_ *self, rsl_saga_sqlite_meta_ *meta)
{
    sqlite3_stmt *row = self->statements[RSL_SAGA_SQLITE_META_];
    memset(meta, 0, sizeof *meta);
    int code = sqlite3_step(row);
    if (code == SQLITE_ROW) {
        const char *uuid = (const char *)sqlite3_column_text(row, 1);
        meta->version = sqlite3_column_int64(row, 0);
        meta->epoch = sqlite3_column_int64(row, 2);
        meta->next_id = sqlite3_column_int64(row, 3);
        bool whole = uuid != NULL && strlen(uuid) == sizeof meta->uuid - 1;
        if (whole) memcpy(meta->uuid, uuid, sizeof meta->uuid);
        whole = whole && sqlite3_column_int64(row, 4) == rsl_saga_sqlite_sum_meta_(meta);
        if (uuid == NULL && sqlite3_errcode(self->db) == SQLITE_NOMEM) code = RSL_ENOMEM;
        else code = whole || meta->version > RSL_SAGA_SQLITE_VERSION_ ? RSL_OK : RSL_ECORRUPT;
    } else if (code == SQLITE_DONE) {
        code = RSL_ECORRUPT;
    }
    sqlite3_reset(row);
    return code;
}

static inline int rsl_saga_sqlite_put_meta_(sqlite3_stmt *put, const rsl_saga_sqlite_meta_ *meta)
{
    sqlite3_bind_int64(put, 1, meta->version);
    int code = sqlite3_bind_text(put, 2, meta->uuid, -1, SQLITE_STATIC);
    sqlite3_bind_int64(put, 3, meta->epoch);
    sqlite3_bind_int64(put, 4, meta->next_id);
    sqlite3_bind_int64(put, 5, rsl_saga_sqlite_sum_meta_(meta));
    if (code == SQLITE_OK) code = rsl_saga_sqlite_run_(put, NULL);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Draws a uuid of version 4. SQLite takes its chance from the system, anew in a forked child. */
static inline void rsl_saga_sqlite_draw_(char uuid[37])
{
    unsigned char drawn[16];
    sqlite3_randomness(sizeof drawn, drawn);
    drawn[6] = (unsigned char)((drawn[6] & 0x0F) | 0x40);
    drawn[8] = (unsigned char)((drawn[8] & 0x3F) | 0x80);
    for (size_t i = 0; i < sizeof drawn; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *uuid++ = '-';
        *uuid++ = "0123456789abcdef"[drawn[i] >> 4];
        *uuid++ = "0123456789abcdef"[drawn[i] & 0x0F];
    }
    *uuid = 0;
}

/* In a transaction: sees to it that both tables are there. Where one of them is not, more than
   that one has been lost. */
static inline int rsl_saga_sqlite_make_(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    (void)ctx;
    rsl_saga_sqlite_ *self = (rsl_saga_sqlite_ *)arg;
    int64_t count = 0;
    int code = rsl_saga_sqlite_ask_(self, "SELECT count(*) FROM sqlite_master WHERE"
                                    " name IN ('@meta', '@records')", &count);
    if (code != SQLITE_ROW) return code;
    if (count > 0) return count == 2 ? RSL_OK : RSL_ECORRUPT;
    for (size_t i = 0; i < RSL_COUNT(rsl_saga_sqlite_tables_); i++) {
        char text[RSL_SAGA_SQLITE_TEXT_];
        rsl_saga_sqlite_expand_(self, rsl_saga_sqlite_tables_[i], text);
        code = sqlite3_exec(db, text, NULL, NULL, NULL);
        if (code != SQLITE_OK) return sqlite3_extended_errcode(db);
    }
    rsl_saga_sqlite_meta_ meta = {.version = RSL_SAGA_SQLITE_VERSION_, .next_id = 1};
    rsl_saga_sqlite_draw_(meta.uuid);
    sqlite3_stmt *put = NULL;
    const char *sql = rsl_saga_sqlite_statements_[RSL_SAGA_SQLITE_PUT_META_];
    code = rsl_saga_sqlite_prepare_(self, sql, &put);
    if (code == SQLITE_OK) code = rsl_saga_sqlite_put_meta_(put, &meta);
    sqlite3_finalize(put);
    return code;
}

/* Takes the lock that says whose store it is. The file stays when it is given back: who deletes
   a file that is locked by its name may delete another's. */
static inline int rsl_saga_sqlite_lock_(rsl_saga_sqlite_ *self, rsl_saga_sqlite_error_ error)
{
    /* By the name that SQLite has found behind links, so that one file has one lock. */
    const char *file = sqlite3_db_filename(self->db, "main");
    size_t size = strlen(file) + strlen(self->config.prefix) + sizeof "-sagas.lock";
    char *path = (char *)RSL_MALLOC(size);
    if (path == NULL) return rsl_saga_sqlite_fail_(error, file, RSL_ENOMEM, "not opened");
    (void)snprintf(path, size, "%s-%ssagas.lock", file, self->config.prefix);

    int code = RSL_OK;
    struct stat found;
    self->lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (self->lock < 0 || fstat(self->lock, &found) != 0) {
        code = rsl_saga_sqlite_fail_(error, path, errno == ELOOP ? RSL_EINVAL : RSL_ESYS,
                                     errno == ELOOP ? "a symbolic link" : "cannot be opened");
    } else if (!S_ISREG(found.st_mode)) {
        code = rsl_saga_sqlite_fail_(error, path, RSL_EINVAL, "not a plain file");
    } else {
        int failed;
        do failed = flock(self->lock, LOCK_EX | LOCK_NB); while (failed != 0 && errno == EINTR);
        if (failed != 0 && errno == EWOULDBLOCK) {
            code = rsl_saga_sqlite_fail_(error, path, RSL_EFENCED, "somebody has the sagas open");
        } else if (failed != 0) {
            code = rsl_saga_sqlite_fail_(error, path, RSL_ESYS, "cannot be locked");
        }
    }
    RSL_FREE(path);
    return code;
}

/* The check's first row is "ok", or what is wrong. That may be that a page could not be had, with
   the code that says why, which need not be damage. */
static inline int rsl_saga_sqlite_check_(rsl_saga_sqlite_ *self, rsl_saga_sqlite_error_ error)
{
    sqlite3_stmt *check = NULL;
    int code = rsl_saga_sqlite_prepare_(self, "PRAGMA quick_check('@records')", &check);
    if (code == SQLITE_OK) code = sqlite3_step(check);
    if (code == SQLITE_ROW) {
        const char *said = (const char *)sqlite3_column_text(check, 0);
        const char *why = said != NULL ? strstr(said, "error code=") : NULL;
        if (said == NULL) code = RSL_ENOMEM;
        else if (strcmp(said, "ok") == 0) code = RSL_OK;
        else code = why != NULL ? (int)strtol(why + strlen("error code="), NULL, 10)
                                : RSL_ECORRUPT;
        if (code > 0 && rsl_sqlite_name(code) == NULL) code = RSL_ECORRUPT;
    }
    sqlite3_finalize(check);
    if (code == RSL_OK) return RSL_OK;
    return rsl_saga_sqlite_fail_(error, self->config.path, code, "the records are not whole");
}

/* Reads the two numbers and the uuid. */
static inline int rsl_saga_sqlite_find_(rsl_saga_sqlite_ *self, rsl_saga_opening *opening,
                                        rsl_saga_sqlite_error_ error)
{
    const char *path = self->config.path;
    rsl_saga_sqlite_meta_ meta;
    int64_t top = 0;
    int code = rsl_saga_sqlite_read_meta_(self, &meta);
    if (code != RSL_OK) return rsl_saga_sqlite_fail_(error, path, code, "no whole meta row");
    if (meta.version > RSL_SAGA_SQLITE_VERSION_) {
        return rsl_saga_sqlite_fail_(error, path, RSL_EINVAL, "the tables are of a newer version");
    }
    code = rsl_saga_sqlite_run_(self->statements[RSL_SAGA_SQLITE_TOP_], &top);
    if (code != SQLITE_ROW) return rsl_saga_sqlite_fail_(error, path, code, "cannot be read");
    bool sane = meta.epoch >= 0 && meta.epoch < INT64_MAX && top >= 0 && top < INT64_MAX;
    if (!sane || meta.next_id < 1 || meta.version < 1) {
        return rsl_saga_sqlite_fail_(error, path, RSL_ECORRUPT, "the meta row makes no sense");
    }

    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    memcpy(opening->uuid, meta.uuid, sizeof meta.uuid);
    self->epoch = meta.epoch + 1;
    opening->epoch = (uint64_t)self->epoch;
    opening->next_id = (rsl_saga_id)(meta.next_id > top ? meta.next_id : top + 1);
    opening->now = (rsl_time)now.tv_sec * RSL_SEC(1) + now.tv_nsec;
    return RSL_OK;
}

static inline int rsl_saga_sqlite_attach_(void *me, bool salvage, rsl_saga_opening *opening,
                                          char *text, size_t size)
{
    rsl_saga_sqlite_ *self = (rsl_saga_sqlite_ *)me;
    rsl_saga_sqlite_error_ error = {text, size};
    const rsl_saga_sqlite_config *config = &self->config;
    if (self->db != NULL) {
        return rsl_saga_sqlite_fail_(error, config->path, RSL_EINVAL, "opened once already");
    }
    rsl_sqlite_config in = {
        .path = config->path, .vfs = config->vfs, .wal = true,
        .flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_PRIVATECACHE,
        .busy_timeout = config->busy_timeout != 0 ? config->busy_timeout : RSL_NONE,
        /* fullfsync is for macOS, whose fsync leaves data in the drive's cache. The limit lets a
           large compaction not leave a large WAL behind. */
        .pragmas = "PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON;"
                   "PRAGMA cell_size_check=ON; PRAGMA journal_size_limit=16777216"};
    int code = rsl_sqlite_open(&self->db, NULL, &in);
    if (code == RSL_EINVAL) {
        return rsl_saga_sqlite_fail_(error, config->path, code, "cannot be put into WAL mode");
    }
    if (code != RSL_OK) {
        return rsl_saga_sqlite_fail_(error, config->path, code, "cannot be opened");
    }
    self->salvage = salvage;
    code = rsl_saga_sqlite_lock_(self, error);
    if (code != RSL_OK) return code;
    code = rsl_sqlite_transaction(self->db, NULL, RSL_SQLITE_IMMEDIATE, rsl_saga_sqlite_make_,
                                  self);
    for (int i = 0; i < RSL_SAGA_SQLITE_STATEMENTS_ && code == RSL_OK; i++) {
        code = rsl_saga_sqlite_prepare_(self, rsl_saga_sqlite_statements_[i],
                                        &self->statements[i]);
    }
    if (code != RSL_OK) {
        return rsl_saga_sqlite_fail_(error, config->path, code, "its tables cannot be used");
    }
    code = rsl_saga_sqlite_check_(self, error);
    return code == RSL_OK ? rsl_saga_sqlite_find_(self, opening, error) : code;
}

/* ---- load ---- */

static inline int rsl_saga_sqlite_load_(void *me, rsl_saga_id saga,
                                        int (*visit)(void *user, const rsl_saga_record *record),
                                        void *user)
{
    rsl_saga_sqlite_ *self = (rsl_saga_sqlite_ *)me;
    if (self->epoch == 0 || visit == NULL || saga > INT64_MAX) return RSL_EINVAL;
    /* All are read without a search, which could miss one whose key is damaged. */
    sqlite3_stmt *row = self->statements[saga == 0 ? RSL_SAGA_SQLITE_LOAD_ALL_
                                                   : RSL_SAGA_SQLITE_LOAD_ONE_];
    if (saga != 0) sqlite3_bind_int64(row, 1, (int64_t)saga);
    rsl_saga_sqlite_place_ at = rsl_saga_sqlite_start_;
    bool is_visits = false; /* the result */
    int code;
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        rsl_saga_record record;
        bool in_order = rsl_saga_sqlite_moves_on_(row, &at);
        code = in_order ? rsl_saga_sqlite_read_(self, row, &record) : RSL_ECORRUPT;
        if (code == RSL_ECORRUPT && in_order && self->salvage) continue;
        if (code != RSL_OK) break;
        code = visit(user, &record);
        is_visits = code != RSL_OK;
        if (is_visits) break;
    }
    sqlite3_reset(row);
    if (is_visits) return code; /* whatever it is */
    if (code == SQLITE_DONE) return RSL_OK;
    rsl_saga_sqlite_tell_(self, code);
    return rsl_saga_sqlite_status_(code);
}

/* ---- append and compact ---- */

/* What goes on in a transaction that changes something. */
typedef struct rsl_saga_sqlite_change_ {
    rsl_saga_sqlite_ *self;
    rsl_saga_record  *records; /* append */
    size_t            count;
    bool (*keep)(void *user, const rsl_saga_record *record); /* compact */
    void             *user;
} rsl_saga_sqlite_change_;

/* Runs it. What became of a transaction that failed is not known for certain, and what is
   appended after it could be missed by a reader who stops at the gap: so it is the last one. */
static inline int rsl_saga_sqlite_change_run_(rsl_saga_sqlite_change_ *change, rsl_sqlite_fn fn)
{
    rsl_saga_sqlite_ *self = change->self;
    int code = rsl_sqlite_transaction(self->db, NULL, RSL_SQLITE_IMMEDIATE, fn, change);
    if (code == RSL_OK) return RSL_OK;
    self->failed = true;
    rsl_saga_sqlite_tell_(self, code);
    if (code > 0 && rsl_saga_sqlite_status_(code) != RSL_ECORRUPT) return RSL_EIO;
    return rsl_saga_sqlite_status_(code);
}

/* Begins each of them: what is written to a file that has been moved away would be lost. */
static inline int rsl_saga_sqlite_look_(rsl_saga_sqlite_ *self, rsl_saga_sqlite_meta_ *meta)
{
    int moved = 0;
    sqlite3_file_control(self->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return moved ? SQLITE_READONLY | 4 << 8 : rsl_saga_sqlite_read_meta_(self, meta);
}

static inline int rsl_saga_sqlite_append_inside_(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    (void)ctx;
    (void)db;
    rsl_saga_sqlite_change_ *change = (rsl_saga_sqlite_change_ *)arg;
    rsl_saga_sqlite_meta_ meta;
    int code = rsl_saga_sqlite_look_(change->self, &meta);
    if (code != RSL_OK) return code;
    bool is_ours = meta.epoch == change->self->epoch;
    for (size_t i = 0; i < change->count; i++) {
        rsl_saga_record *record = &change->records[i];
        bool is_fenced = !is_ours || record->epoch != (uint64_t)meta.epoch;
        record->status = is_fenced ? RSL_EFENCED : RSL_OK;
        if (!is_fenced) code = rsl_saga_sqlite_insert_(change->self, record);
        if (code != RSL_OK) return code;
    }
    return RSL_OK;
}

static inline int rsl_saga_sqlite_append_(void *me, rsl_saga_record *records, size_t count)
{
    rsl_saga_sqlite_ *self = (rsl_saga_sqlite_ *)me;
    if (self->failed) return RSL_EIO;
    if (!self->in_use || (records == NULL && count > 0)) return RSL_EINVAL;
    for (size_t i = 0; i < count; i++) {
        const rsl_saga_record *r = &records[i];
        if (r->saga == 0 || r->saga >= INT64_MAX || r->number == 0) return RSL_EINVAL;
        if (r->data == NULL && r->size > 0) return RSL_EINVAL;
    }
    rsl_saga_sqlite_change_ change = {.self = self, .records = records, .count = count};
    return rsl_saga_sqlite_change_run_(&change, rsl_saga_sqlite_append_inside_);
}

static inline int rsl_saga_sqlite_drop_(rsl_saga_sqlite_ *self, rsl_saga_sqlite_place_ from,
                                        rsl_saga_sqlite_place_ to)
{
    sqlite3_stmt *drop = self->statements[RSL_SAGA_SQLITE_DROP_];
    sqlite3_bind_int64(drop, 1, from.saga);
    sqlite3_bind_int64(drop, 2, from.number);
    sqlite3_bind_int64(drop, 3, to.saga);
    sqlite3_bind_int64(drop, 4, to.number);
    int code = rsl_saga_sqlite_run_(drop, NULL);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Reads on from *at to the end of the next run of records that are not to be kept, which is
   dropped. SQLITE_DONE: there was none. */
static inline int rsl_saga_sqlite_sweep_(rsl_saga_sqlite_change_ *change,
                                         rsl_saga_sqlite_place_ *at)
{
    rsl_saga_sqlite_ *self = change->self;
    sqlite3_stmt *row = self->statements[RSL_SAGA_SQLITE_SWEEP_];
    rsl_saga_sqlite_place_ from = {0, 0}, to = {0, 0};
    bool has_run = false;
    sqlite3_bind_int64(row, 1, at->saga);
    sqlite3_bind_int64(row, 2, at->number);
    int code;
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        rsl_saga_record record;
        code = rsl_saga_sqlite_moves_on_(row, at) ? RSL_OK : RSL_ECORRUPT;
        if (code != RSL_OK) break;
        code = rsl_saga_sqlite_read_(self, row, &record);
        if (code != RSL_OK && !(code == RSL_ECORRUPT && self->salvage)) break;
        /* What load has passed over, keep knows nothing of. */
        bool is_kept = code == RSL_OK && change->keep(change->user, &record);
        if (is_kept && has_run) break;
        if (is_kept) continue;
        if (!has_run) from = *at;
        to = *at;
        has_run = true;
    }
    sqlite3_reset(row);
    if (code != SQLITE_DONE && code != RSL_OK) return code;
    return has_run ? rsl_saga_sqlite_drop_(self, from, to) : SQLITE_DONE;
}

static inline int rsl_saga_sqlite_compact_inside_(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    (void)ctx;
    (void)db;
    rsl_saga_sqlite_change_ *change = (rsl_saga_sqlite_change_ *)arg;
    rsl_saga_sqlite_ *self = change->self;
    rsl_saga_sqlite_meta_ meta;
    int64_t top = 0;
    int code = rsl_saga_sqlite_look_(self, &meta);
    if (code != RSL_OK) return code;
    if (meta.epoch != (self->in_use ? self->epoch : self->epoch - 1)) return RSL_EFENCED;
    code = rsl_saga_sqlite_run_(self->statements[RSL_SAGA_SQLITE_TOP_], &top);
    if (code != SQLITE_ROW) return code;

    /* The highest saga may be about to go; its number must not be given to another. */
    if (!self->in_use || meta.next_id <= top) {
        if (meta.next_id <= top) meta.next_id = top + 1;
        meta.epoch = self->epoch;
        code = rsl_saga_sqlite_put_meta_(self->statements[RSL_SAGA_SQLITE_PUT_META_], &meta);
        if (code != SQLITE_OK) return code;
    }
    rsl_saga_sqlite_place_ at = rsl_saga_sqlite_start_;
    do code = rsl_saga_sqlite_sweep_(change, &at); while (code == SQLITE_OK);
    return code == SQLITE_DONE ? RSL_OK : code;
}

static inline int rsl_saga_sqlite_compact_(void *me,
                                           bool (*keep)(void *user, const rsl_saga_record *record),
                                           void *user, uint32_t finished_max)
{
    (void)finished_max;
    rsl_saga_sqlite_ *self = (rsl_saga_sqlite_ *)me;
    if (self->failed) return RSL_EIO;
    if (self->epoch == 0 || keep == NULL) return RSL_EINVAL;
    /* If a sync of the WAL has failed before this open, what is in the WAL may be in memory only,
       and count as written. Moved to the database's file and synced there, it is safe. Where a
       reader is in the way, that waits for the next checkpoint. */
    if (!self->in_use) {
        sqlite3_wal_checkpoint_v2(self->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    rsl_saga_sqlite_change_ change = {.self = self, .keep = keep, .user = user};
    int code = rsl_saga_sqlite_change_run_(&change, rsl_saga_sqlite_compact_inside_);
    if (code == RSL_OK) self->in_use = true;
    return code;
}

/* ---- public functions of the store ---- */

static inline void rsl_saga_sqlite_close_(void *me)
{
    rsl_saga_sqlite_ *self = (rsl_saga_sqlite_ *)me;
    int saved = errno;
    for (int i = 0; i < RSL_SAGA_SQLITE_STATEMENTS_; i++) sqlite3_finalize(self->statements[i]);
    rsl_sqlite_close(self->db);
    if (self->lock >= 0) {
        /* Said, and not left to close alone: a forked child may hold the descriptor too. */
        (void)flock(self->lock, LOCK_UN);
        close(self->lock);
    }
    RSL_FREE(self);
    errno = saved;
}

const char *rsl_saga_sqlite_config_check(const rsl_saga_sqlite_config *config)
{
    if (config == NULL) return "config: must not be NULL";
    if (config->path == NULL || config->path[0] == 0) return "path: must be set";
    if (config->path[0] == ':' || strncmp(config->path, "file:", 5) == 0) {
        return "path: must be that of a file, and no URI";
    }
    const char *prefix = config->prefix != NULL ? config->prefix : "";
    size_t plain = strspn(prefix, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (prefix[plain] != 0) return "prefix: must be of small letters, digits and '_'";
    if (plain > RSL_SAGA_SQLITE_PREFIX_MAX_) return "prefix: must have at most 31 bytes";
    if ((prefix[0] >= '0' && prefix[0] <= '9') || strncmp(prefix, "sqlite_", 7) == 0) {
        return "prefix: must not begin with a digit or \"sqlite_\"";
    }
    if (config->busy_timeout < RSL_NONE || config->busy_timeout > RSL_MS(INT_MAX)) {
        return "busy_timeout: must be RSL_NONE or 0..INT_MAX milliseconds";
    }
    return NULL;
}

rsl_saga_sqlite_config rsl_saga_sqlite_config_resolve(const rsl_saga_sqlite_config *config)
{
    rsl_saga_sqlite_config c = *config;
    if (c.prefix == NULL) c.prefix = "rsl_";
    if (c.busy_timeout == 0) c.busy_timeout = RSL_SEC(60);
    else if (c.busy_timeout == RSL_NONE) c.busy_timeout = 0;
    return c;
}

/* Copies a text to *at, which moves on behind it. */
static inline const char *rsl_saga_sqlite_keep_text_(const char *text, char **at)
{
    if (text == NULL) return NULL;
    size_t size = strlen(text) + 1;
    char *kept = *at;
    memcpy(kept, text, size);
    *at += size;
    return kept;
}

int rsl_saga_sqlite_open(rsl_saga_store *store, const rsl_saga_sqlite_config *config)
{
    if (store == NULL || rsl_saga_sqlite_config_check(config) != NULL) return RSL_EINVAL;
    rsl_saga_sqlite_config c = rsl_saga_sqlite_config_resolve(config);
    size_t texts = strlen(c.path) + strlen(c.prefix) + 3;
    if (c.vfs != NULL) texts += strlen(c.vfs);
    rsl_saga_sqlite_ *self = (rsl_saga_sqlite_ *)RSL_MALLOC(sizeof *self + texts);
    if (self == NULL) return RSL_ENOMEM;
    memset(self, 0, sizeof *self);
    char *at = (char *)(self + 1);
    self->config = c;
    self->config.path = rsl_saga_sqlite_keep_text_(c.path, &at);
    self->config.prefix = rsl_saga_sqlite_keep_text_(c.prefix, &at);
    self->config.vfs = rsl_saga_sqlite_keep_text_(c.vfs, &at);
    self->lock = -1;

    memset(store, 0, sizeof *store);
    store->self = self;
    store->open = rsl_saga_sqlite_attach_;
    store->load = rsl_saga_sqlite_load_;
    store->append = rsl_saga_sqlite_append_;
    store->compact = rsl_saga_sqlite_compact_;
    store->close = rsl_saga_sqlite_close_;
    return RSL_OK;
}

/* ---- the barrier ---- */

/* The parts of a step's key: "uuid/saga/step/direction", and "/round" from the second on. */
typedef struct rsl_saga_sqlite_key_ {
    const char *store, *step;
    int         store_size, step_size;
    int64_t     saga, round;
    bool        is_undo;
} rsl_saga_sqlite_key_;

/* Reads digits from *at on, which moves behind them. False: there are none, or too many. */
static inline bool rsl_saga_sqlite_number_(const char **at, int64_t *number)
{
    size_t digits = strspn(*at, "0123456789");
    if (digits == 0 || digits > 18) return false;
    *number = 0;
    for (size_t i = 0; i < digits; i++) *number = *number * 10 + ((*at)[i] - '0');
    *at += digits;
    return true;
}

static inline bool rsl_saga_sqlite_parse_(const char *at, rsl_saga_sqlite_key_ *key)
{
    size_t size = strcspn(at, "/");
    if (size == 0 || size > 36 || at[size] != '/') return false;
    key->store = at;
    key->store_size = (int)size;
    at += size + 1;
    if (!rsl_saga_sqlite_number_(&at, &key->saga) || *at++ != '/') return false;
    size = strcspn(at, "/");
    if (size == 0 || size > RSL_SAGA_NAME_MAX || at[size] != '/') return false;
    key->step = at;
    key->step_size = (int)size;
    at += size + 1;
    key->is_undo = strncmp(at, "undo", 4) == 0;
    if (!key->is_undo && strncmp(at, "run", 3) != 0) return false;
    at += key->is_undo ? 4 : 3;
    key->round = 1;
    if (*at == '/' && (at++, !rsl_saga_sqlite_number_(&at, &key->round))) return false;
    return *at == 0;
}

/* Runs SQL about one step: ?1 to ?4 are its store, saga, name and round. */
static inline int rsl_saga_sqlite_about_(sqlite3 *db, const char *sql,
                                         const rsl_saga_sqlite_key_ *key, int64_t *result)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, key->store, key->store_size, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 2, key->saga);
        sqlite3_bind_text(statement, 3, key->step, key->step_size, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 4, key->round);
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW && result != NULL) *result = sqlite3_column_int64(statement, 0);
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE) code = sqlite3_extended_errcode(db);
    sqlite3_finalize(statement);
    return code;
}

int rsl_saga_sqlite_barrier_create(sqlite3 *db)
{
    if (db == NULL) return RSL_EINVAL;
    int code = sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS rsl_saga_barrier(store TEXT NOT NULL,"
                            " saga INTEGER NOT NULL, step TEXT NOT NULL, round INTEGER NOT NULL,"
                            " direction TEXT NOT NULL, put_by TEXT NOT NULL, at INTEGER NOT NULL,"
                            " PRIMARY KEY(store, saga, step, round, direction)) WITHOUT ROWID",
                            NULL, NULL, NULL);
    return code == SQLITE_OK ? RSL_OK : sqlite3_extended_errcode(db);
}

int rsl_saga_sqlite_barrier(sqlite3 *db, const char *key, rsl_saga_turn *turn)
{
    rsl_saga_sqlite_key_ parts;
    if (db == NULL || key == NULL || turn == NULL || !rsl_saga_sqlite_parse_(key, &parts)) {
        return RSL_EINVAL;
    }
    if (sqlite3_get_autocommit(db)) return RSL_EINVAL;
    /* A compensation puts both rows in one statement: half of that would mean something else. */
    const char *insert = parts.is_undo
        ? "INSERT INTO rsl_saga_barrier(store, saga, step, round, direction, put_by, at) VALUES"
          " (?1, ?2, ?3, ?4, 'run', 'undo', strftime('%s', 'now')),"
          " (?1, ?2, ?3, ?4, 'undo', 'undo', strftime('%s', 'now')) ON CONFLICT DO NOTHING"
        : "INSERT INTO rsl_saga_barrier(store, saga, step, round, direction, put_by, at) VALUES"
          " (?1, ?2, ?3, ?4, 'run', 'run', strftime('%s', 'now')) ON CONFLICT DO NOTHING";
    int code = rsl_saga_sqlite_about_(db, insert, &parts, NULL);
    if (code != SQLITE_DONE) return code;
    int put = sqlite3_changes(db);
    if (put > 0) {
        *turn = put == 2 ? RSL_SAGA_EMPTY : RSL_SAGA_FIRST;
        return RSL_OK;
    }
    /* It has come before, or what it would be too late for has. */
    int64_t found = 0;
    const char *ask = parts.is_undo
        ? "SELECT count(*) FROM rsl_saga_barrier WHERE store = ?1 AND saga = ?2 AND step = ?3"
          " AND round = ?4 AND direction = 'run' AND put_by = 'undo'"
        : "SELECT count(*) FROM rsl_saga_barrier WHERE store = ?1 AND saga = ?2 AND step = ?3"
          " AND round = ?4 AND direction = 'undo'";
    code = rsl_saga_sqlite_about_(db, ask, &parts, &found);
    if (code != SQLITE_ROW) return code;
    *turn = found == 0 ? RSL_SAGA_AGAIN : parts.is_undo ? RSL_SAGA_EMPTY : RSL_SAGA_LATE;
    return RSL_OK;
}

int rsl_saga_sqlite_barrier_forget(sqlite3 *db, rsl_time age)
{
    if (db == NULL || age <= 0) return RSL_EINVAL;
    sqlite3_stmt *statement = NULL;
    /* All rows of a saga together: a compensation's without its action's would let that in. */
    int code = sqlite3_prepare_v2(db, "DELETE FROM rsl_saga_barrier WHERE (store, saga) IN"
                                  " (SELECT store, saga FROM rsl_saga_barrier GROUP BY store, saga"
                                  " HAVING max(at) < strftime('%s', 'now') - ?1)",
                                  -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, age / RSL_SEC(1) + (age % RSL_SEC(1) != 0));
        code = sqlite3_step(statement);
    }
    code = code == SQLITE_DONE ? RSL_OK : sqlite3_extended_errcode(db);
    sqlite3_finalize(statement);
    return code;
}
#endif /* RSL_SAGA_SQLITE_IMPLEMENTATION */

/* SPDX-License-Identifier: MIT

   Copyright (c) 2026 the resilience contributors

   Permission is hereby granted, free of charge, to any person obtaining a copy of this software
   and associated documentation files (the "Software"), to deal in the Software without
   restriction, including without limitation the rights to use, copy, modify, merge, publish,
   distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
   Software is furnished to do so, subject to the following conditions:

   The above copyright notice and this permission notice shall be included in all copies or
   substantial portions of the Software.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING
   BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
   NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
   DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
   OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE. */
