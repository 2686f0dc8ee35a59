/* sqlite.h -- SQLite under resilience: what each result code asks for, transactions that cannot
   stay open, statements that end at a deadline, and a pool's callbacks for connections.

       #define RSL_SQLITE_IMPLEMENTATION    in one C file; needs SQLite 3.34 or newer
       #include "adapters/sqlite.h"

       static int order(const rsl_ctx *ctx, sqlite3 *db, void *arg)
       {
           ...                                          any statements; 0 commits, else rolls back
       }
       static int attempt(const rsl_ctx *ctx, void *db)
       {
           return rsl_sqlite_transaction(db, ctx, RSL_SQLITE_IMMEDIATE, order, NULL);
       }

       rsl_retry_config retry_config = {.retryable = rsl_sqlite_is_retryable};
       rsl_breaker_config breaker_config = {
           .is_failure = rsl_sqlite_is_failure, .is_ignored = rsl_sqlite_is_ignored};
       ...
       int code = rsl_run(policy, RSL_COUNT(policy), &ctx, attempt, db);

   SQLite tells failures apart only by number, and treating them alike is how data gets lost:

       RETRY   nothing happened; the same statement may be sent again
                   SQLITE_BUSY: someone else writes
       RERUN   the transaction has no future; roll it back and begin anew
                   SQLITE_BUSY_SNAPSHOT: what it has read is out of date
       FINAL   it would fail again, or repeating it would do harm
                   SQLITE_CONSTRAINT, SQLITE_CORRUPT, SQLITE_FULL

   SQLITE_BUSY_SNAPSHOT deserves its own word. A transaction that began with a plain BEGIN, has
   read, and now wants to write gets it when another connection has written since. SQLite does not
   call the busy handler then, for waiting cannot help: no busy_timeout, however long, avoids it.
   A plain SQLITE_BUSY in that place comes at once too (here: RSL_SQLITE_BUSY_UPGRADE). Only
   running the whole transaction again helps, best with BEGIN IMMEDIATE. rsl_sqlite_transaction
   holds the whole of it, so that a retry around it is always a rerun.

   A repeated transaction must be able to run twice: an I/O error from COMMIT itself can leave open
   whether it took place. Give it a key of its own and insert with ON CONFLICT DO NOTHING.

   Options: RSL_STATIC makes private copies; RSL_API, as for the other headers. */
#ifndef RSL_SQLITE_H
#define RSL_SQLITE_H

#ifndef RSL_CORE_H
#include "resilience.h"
#endif
#include <sqlite3.h>

#if SQLITE_VERSION_NUMBER < 3034000
#error "resilience: adapters/sqlite.h needs SQLite 3.34 or newer"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what a result code asks for ---- */

typedef enum rsl_sqlite_class {
    RSL_SQLITE_OK,    /* SQLITE_OK, SQLITE_ROW, SQLITE_DONE */
    RSL_SQLITE_RETRY, /* the same statement, or the same open, may be tried again */
    RSL_SQLITE_RERUN, /* the whole transaction must be rolled back and run again from its BEGIN */
    RSL_SQLITE_FINAL  /* trying again cannot help, or would hide damage */
} rsl_sqlite_class;

/* An extended code of this adapter's own, in the manner of SQLite's: its primary code is
   SQLITE_BUSY. A transaction that has read wanted to write, and another connection was writing.
   SQLite reports that as plain SQLITE_BUSY, but it has not waited: to wait could be to wait for
   ever, each for the other. So it says neither that the lock is stuck, as SQLITE_BUSY does after a
   wait, nor that all is well. rsl_sqlite_transaction tells it from SQLITE_BUSY. */
#define RSL_SQLITE_BUSY_UPGRADE (SQLITE_BUSY | 127 << 8)

/* What a result code asks for, outside of a transaction or from a whole one. code: an extended
   or primary result code of SQLite, or a status of this library (RSL_ETIMEOUT is RERUN, the
   others FINAL). A code that is newer than this table counts as its primary code; one without
   a known primary code is FINAL. Pure; any thread; a scan of about a hundred rows unless the
   code is 0. */
RSL_API rsl_sqlite_class rsl_sqlite_classify(int code);

/* What the code of one statement asks for inside an explicit transaction of db, asked before
   anything else is done with db. RETRY remains only where repeating the statement is safe: a
   lock that was not free while the transaction holds no snapshot that can go stale. A
   transaction that has read and cannot write, or that SQLite has rolled back by itself, is
   RERUN. db: not NULL. Call it from the thread that uses db; does not block. */
RSL_API rsl_sqlite_class rsl_sqlite_classify_inside(sqlite3 *db, int code);

/* For rsl_retry_config.retryable where the call is a whole transaction, or one statement
   outside of any: true for RETRY and RERUN. user is not used. Pure; any thread. */
RSL_API bool rsl_sqlite_is_retryable(int result, void *user);

/* For rsl_breaker_config.is_failure: whether the result says that the database is in trouble.
   A constraint, an SQL error or a stale snapshot is an answer of a healthy database: false. A
   lock held too long, an I/O error, a full disk, a file that cannot be opened, and
   RSL_ETIMEOUT: true; so is any result that SQLite does not know. user is not used. Pure; any
   thread. */
RSL_API bool rsl_sqlite_is_failure(int result, void *user);

/* For rsl_breaker_config.is_ignored: results that say nothing about the database, good or bad:
   out of memory, an interrupt or cancellation, misuse of the interface, a conflict within
   one's own connection, a lock that was not waited for. user is not used. Pure; any thread. */
RSL_API bool rsl_sqlite_is_ignored(int result, void *user);

/* The code as written in sqlite3.h ("SQLITE_BUSY_SNAPSHOT"), for logs; NULL for a number that
   this table does not hold. The text is static. Pure; any thread. */
RSL_API const char *rsl_sqlite_name(int code);

/* Kinds of failure that people are told apart. */
typedef enum rsl_sqlite_kind {
    RSL_SQLITE_KIND_OK,
    RSL_SQLITE_KIND_CONNECTION,  /* the file cannot be opened, read or written */
    RSL_SQLITE_KIND_TIMEOUT,     /* ended for the time it took, interrupted, or cancelled */
    RSL_SQLITE_KIND_CONFLICT,    /* with another connection */
    RSL_SQLITE_KIND_UNIQUE,      /* a primary key too */
    RSL_SQLITE_KIND_FOREIGN_KEY,
    RSL_SQLITE_KIND_CHECK,       /* a check, or a value of the wrong type or size */
    RSL_SQLITE_KIND_NOT_NULL,
    RSL_SQLITE_KIND_OTHER
} rsl_sqlite_kind;

/* The kind of a result code or status. Constraints are told apart by extended codes only: plain
   SQLITE_CONSTRAINT is OTHER. Pure; any thread. */
RSL_API rsl_sqlite_kind rsl_sqlite_kind_of(int code);

/* A sentence for the people in front of the program, by kind; it names no table and no file. Never
   NULL; static; in English. Pure; any thread. */
RSL_API const char *rsl_sqlite_message(int code);

/* ---- connections ---- */

typedef struct rsl_sqlite_config {
    const char *path;         /* file, ":memory:", or a URI with SQLITE_OPEN_URI; required */
    int         flags;        /* of sqlite3_open_v2 (SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) */
    const char *vfs;          /* name of a VFS (SQLite's default) */
    bool        wal;          /* put the file into WAL mode; it keeps it (false: as it is) */
    rsl_time    busy_timeout; /* longest wait for a lock, rounded up to ms; RSL_NONE: none (5 s) */
    const char *pragmas;      /* SQL for each new connection: "PRAGMA foreign_keys=ON" (none) */
} rsl_sqlite_config;

/* NULL when rsl_sqlite_open would take the config, else the field and the reason. Pure. NULL:
   "config: must not be NULL". */
RSL_API const char *rsl_sqlite_config_check(const rsl_sqlite_config *config);

/* The values in force. Pure. config: not NULL. */
RSL_API rsl_sqlite_config rsl_sqlite_config_resolve(const rsl_sqlite_config *config);

/* Opens a connection: the file is opened, the journal mode set, the pragmas run, and the
   file's header read, so that what is wrong with it shows here and not in the first statement.
   Returns RSL_OK, a result code of SQLite (extended), RSL_EINVAL (a NULL or bad config; wal
   where the database cannot have it), RSL_ETIMEOUT or RSL_ECANCELED; *db is written on RSL_OK
   only, and is then closed by rsl_sqlite_close. Extended result codes are on. ctx: NULL for no
   limits; waits for locks end at its deadline. One thread may use the connection at a time.
   Blocks for the file's locks and I/O; costs about 100 us on a local file. */
RSL_API int rsl_sqlite_open(sqlite3 **db, const rsl_ctx *ctx, const rsl_sqlite_config *config);

/* Rolls back what is open and closes the connection. Statements that were not finalized keep
   the file open until they are. NULL is a no-op. May do I/O: the last connection of a WAL
   database checkpoints it. */
RSL_API void rsl_sqlite_close(sqlite3 *db);

/* The same as a pool's callbacks; user is a const rsl_sqlite_config that outlives the pool, a
   resource is a sqlite3.
   create: rsl_sqlite_open. destroy: rsl_sqlite_close.
   validate: 0 when the connection still works on the file that its path means: no transaction
       is open, the file was not moved or deleted, its header can be read. Never waits for a
       lock: a busy database is a healthy connection.
   reset: ends what the last user left behind: running statements, an open transaction,
       handlers of a deadline, another busy timeout. 0 when the connection is as new; else it
       must be destroyed. Attached databases and temporary tables are not undone.
   abandon: in a forked child: does nothing, for SQLite allows a child neither to use nor to
       close what it inherits. */
RSL_API int  rsl_sqlite_create(void *user, const rsl_ctx *ctx, void **resource);
RSL_API void rsl_sqlite_destroy(void *user, void *resource);
RSL_API int  rsl_sqlite_validate(void *user, void *resource);
RSL_API int  rsl_sqlite_reset(void *user, void *resource);
RSL_API void rsl_sqlite_abandon(void *user, void *resource);

/* ---- deadlines and cancelling ---- */

/* Holds a connection to a ctx. A value object on the stack; must not move between enter and
   leave. */
typedef struct rsl_sqlite_guard {
    sqlite3 *db_;            /* NULL: the ctx has no limits, or enter failed: nothing to undo */
    rsl_ctx  ctx_;
    int      busy_ms_;       /* the connection's own: the longest wait; leave puts it back */
    int      stopped_;       /* RSL_ETIMEOUT or RSL_ECANCELED once the guard has interrupted */
    rsl_time waiting_since_; /* of the wait for a lock under way */
} rsl_sqlite_guard;

/* Until leave, no statement on db runs or waits longer than ctx allows: computing is
   interrupted at the deadline or when cancelled (looked at every hundred instructions of
   SQLite's machine), and a wait for a lock lasts no longer than what is left, nor than the
   connection's own busy timeout; a cancelled one ends within 10 ms. Not ended: one read or
   write of the file that hangs, and application functions that do not return. Takes the places
   of db's progress and busy handlers; leave takes the first away and puts the busy timeout
   back (handlers set by sqlite3_busy_handler are lost). Guards on one connection do not nest.
   Returns RSL_OK, RSL_EINVAL (guard or db NULL), RSL_ETIMEOUT or RSL_ECANCELED when ctx is
   spent already, or a result code; leave may follow in any case. Call it from the thread that
   uses db; costs about 2 us with limits, nothing without. */
RSL_API int rsl_sqlite_guard_enter(rsl_sqlite_guard *guard, sqlite3 *db, const rsl_ctx *ctx);

/* Ends the guard. Returns code, or RSL_ETIMEOUT or RSL_ECANCELED when that is why code is
   SQLITE_INTERRUPT, and RSL_ECANCELED when that ended a wait with SQLITE_BUSY; a wait that the
   deadline ended stays SQLITE_BUSY, which says more. guard NULL: code. A second leave changes
   nothing. */
RSL_API int rsl_sqlite_guard_leave(rsl_sqlite_guard *guard, int code);

/* ---- transactions ---- */

typedef enum rsl_sqlite_mode {
    RSL_SQLITE_DEFERRED,  /* no lock before the first statement; SQLite's own default */
    RSL_SQLITE_IMMEDIATE, /* the right to write at once, waited for: meets no stale snapshot */
    RSL_SQLITE_EXCLUSIVE  /* in WAL mode as IMMEDIATE; otherwise readers are kept out too */
} rsl_sqlite_mode;

/* What runs inside a transaction: 0 commits, any other int rolls back and comes back as it is.
   Take care not to return SQLITE_DONE or SQLITE_ROW for success. Inside, no statement needs a
   guard of its own. It must not end the transaction itself. */
typedef int (*rsl_sqlite_fn)(const rsl_ctx *ctx, sqlite3 *db, void *arg);

/* BEGIN in the given mode, fn(ctx, db, arg), then COMMIT or ROLLBACK, under a guard for ctx.
   Never leaves a transaction open: if ROLLBACK itself fails, statements that still run are
   reset and it is tried once more.
   Returns RSL_OK when committed; else what failed: fn's own result (except that SQLITE_BUSY from
   a transaction that has only read becomes RSL_SQLITE_BUSY_UPGRADE), or the extended result code
   of BEGIN or COMMIT; RSL_ETIMEOUT or RSL_ECANCELED when ctx was spent before BEGIN, or
   is why a statement was interrupted. A lock not had by the deadline is SQLITE_BUSY.
   RSL_EINVAL: db or fn NULL, no such mode, a transaction is open already, or fn returned 0
   though its transaction had ended (fn ended it, or swallowed an error that did). If even the
   second ROLLBACK fails, its code is returned in place of all others, and the connection must
   be closed. A success after the deadline stays a success.
   Turns extended result codes on, for good. ctx: NULL for no limits; fn never gets NULL. errno
   is as fn left it. Call it from the thread that uses db. Blocks for locks and I/O. */
RSL_API int rsl_sqlite_transaction(sqlite3 *db, const rsl_ctx *ctx, rsl_sqlite_mode mode,
                                   rsl_sqlite_fn fn, void *arg);

#ifdef __cplusplus
}
#endif
#endif /* RSL_SQLITE_H */

/* ==== implementation ==== */

#if (defined RSL_SQLITE_IMPLEMENTATION || defined RSL_STATIC) && !defined RSL_SQLITE_IMPLEMENTED_
#define RSL_SQLITE_IMPLEMENTED_
#ifdef __cplusplus
#error "resilience: implement adapters/sqlite.h in a C file; C++ files only include it"
#endif
#include <errno.h>
#include <limits.h>
#include <string.h>

/* ---- the table ---- */

/* What a breaker learns from it: the database is well, is in trouble, or nothing. */
enum { RSL_SANE_, RSL_SICK_, RSL_MUTE_ };

typedef struct rsl_sqlite_row_ {
    int code;
    rsl_sqlite_class asks;
    int health;
    const char *name;
} rsl_sqlite_row_;

/* Every code by its number, so that the table is the same whatever sqlite3.h it is compiled
   with. The reasons are those of sqlite.org/rescode.html and of the source where that page is
   silent. */
static const rsl_sqlite_row_ rsl_sqlite_rows_[] = {
    {SQLITE_OK, RSL_SQLITE_OK, RSL_SANE_, "SQLITE_OK"},
    {SQLITE_OK | 1 << 8, RSL_SQLITE_OK, RSL_SANE_, "SQLITE_OK_LOAD_PERMANENTLY"},
    {SQLITE_OK | 2 << 8, RSL_SQLITE_OK, RSL_SANE_, "SQLITE_OK_SYMLINK"},
    {SQLITE_ROW, RSL_SQLITE_OK, RSL_SANE_, "SQLITE_ROW"},
    {SQLITE_DONE, RSL_SQLITE_OK, RSL_SANE_, "SQLITE_DONE"},

    /* Wrong SQL stays wrong. ERROR_RETRY asks for another prepare; a snapshot that was
       checkpointed away does not come back. */
    {SQLITE_ERROR, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_ERROR"},
    {SQLITE_ERROR | 1 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_ERROR_MISSING_COLLSEQ"},
    {SQLITE_ERROR | 2 << 8, RSL_SQLITE_RETRY, RSL_SANE_, "SQLITE_ERROR_RETRY"},
    {SQLITE_ERROR | 3 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_ERROR_SNAPSHOT"},
    {SQLITE_ERROR | 4 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_ERROR_RESERVESIZE"},
    {SQLITE_ERROR | 5 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_ERROR_KEY"},
    {SQLITE_ERROR | 6 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_ERROR_UNABLE"},
    {SQLITE_INTERNAL, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_INTERNAL"},
    {SQLITE_PERM, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_PERM"},

    /* ABORT: a callback of the application wished it. ABORT_ROLLBACK: another statement of
       this connection rolled back. */
    {SQLITE_ABORT, RSL_SQLITE_FINAL, RSL_MUTE_, "SQLITE_ABORT"},
    {SQLITE_ABORT | 2 << 8, RSL_SQLITE_RERUN, RSL_SANE_, "SQLITE_ABORT_ROLLBACK"},

    /* Locks of others end. A stale snapshot never becomes fresh; it is a conflict, which a
       healthy database reports too. */
    {SQLITE_BUSY, RSL_SQLITE_RETRY, RSL_SICK_, "SQLITE_BUSY"},
    {SQLITE_BUSY | 1 << 8, RSL_SQLITE_RETRY, RSL_SICK_, "SQLITE_BUSY_RECOVERY"},
    {SQLITE_BUSY | 2 << 8, RSL_SQLITE_RERUN, RSL_SANE_, "SQLITE_BUSY_SNAPSHOT"},
    {SQLITE_BUSY | 3 << 8, RSL_SQLITE_RETRY, RSL_SICK_, "SQLITE_BUSY_TIMEOUT"},
    {RSL_SQLITE_BUSY_UPGRADE, RSL_SQLITE_RERUN, RSL_MUTE_, "RSL_SQLITE_BUSY_UPGRADE"},

    /* LOCKED: an own statement is in the way, which only beginning anew clears. SHAREDCACHE,
       VTAB: somebody else's lock. */
    {SQLITE_LOCKED, RSL_SQLITE_RERUN, RSL_MUTE_, "SQLITE_LOCKED"},
    {SQLITE_LOCKED | 1 << 8, RSL_SQLITE_RETRY, RSL_MUTE_, "SQLITE_LOCKED_SHAREDCACHE"},
    {SQLITE_LOCKED | 2 << 8, RSL_SQLITE_RETRY, RSL_MUTE_, "SQLITE_LOCKED_VTAB"},

    /* Memory that is short is not helped by more attempts, and is no fault of the database. */
    {SQLITE_NOMEM, RSL_SQLITE_FINAL, RSL_MUTE_, "SQLITE_NOMEM"},

    /* DBMOVED: the connection holds a file that its path no longer means; a new connection may
       find the right one. */
    {SQLITE_READONLY, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_READONLY"},
    {SQLITE_READONLY | 1 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_READONLY_RECOVERY"},
    {SQLITE_READONLY | 2 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_READONLY_CANTLOCK"},
    {SQLITE_READONLY | 3 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_READONLY_ROLLBACK"},
    {SQLITE_READONLY | 4 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_READONLY_DBMOVED"},
    {SQLITE_READONLY | 5 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_READONLY_CANTINIT"},
    {SQLITE_READONLY | 6 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_READONLY_DIRECTORY"},
    {SQLITE_INTERRUPT, RSL_SQLITE_FINAL, RSL_MUTE_, "SQLITE_INTERRUPT"},

    /* An I/O error may have rolled the transaction back, so never RETRY. Passing faults of a
       medium or network are RERUN. FINAL: a failed sync (the kernel forgets the pages, so that
       the next sync succeeds falsely), a file that is shorter than it must be, failed
       checksums and damaged file systems, missing keys, wrong set-up, and codes left to
       extensions. */
    {SQLITE_IOERR, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR"},
    {SQLITE_IOERR | 1 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_READ"},
    {SQLITE_IOERR | 2 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_IOERR_SHORT_READ"},
    {SQLITE_IOERR | 3 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_WRITE"},
    {SQLITE_IOERR | 4 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_IOERR_FSYNC"},
    {SQLITE_IOERR | 5 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_IOERR_DIR_FSYNC"},
    {SQLITE_IOERR | 6 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_TRUNCATE"},
    {SQLITE_IOERR | 7 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_FSTAT"},
    {SQLITE_IOERR | 8 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_UNLOCK"},
    {SQLITE_IOERR | 9 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_RDLOCK"},
    {SQLITE_IOERR | 10 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_DELETE"},
    {SQLITE_IOERR | 11 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_BLOCKED"},
    {SQLITE_IOERR | 12 << 8, RSL_SQLITE_FINAL, RSL_MUTE_, "SQLITE_IOERR_NOMEM"},
    {SQLITE_IOERR | 13 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_ACCESS"},
    {SQLITE_IOERR | 14 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_CHECKRESERVEDLOCK"},
    {SQLITE_IOERR | 15 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_LOCK"},
    {SQLITE_IOERR | 16 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_CLOSE"},
    {SQLITE_IOERR | 17 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_DIR_CLOSE"},
    {SQLITE_IOERR | 18 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_SHMOPEN"},
    {SQLITE_IOERR | 19 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_SHMSIZE"},
    {SQLITE_IOERR | 20 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_SHMLOCK"},
    {SQLITE_IOERR | 21 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_SHMMAP"},
    {SQLITE_IOERR | 22 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_SEEK"},
    {SQLITE_IOERR | 23 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_DELETE_NOENT"},
    {SQLITE_IOERR | 24 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_MMAP"},
    {SQLITE_IOERR | 25 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_IOERR_GETTEMPPATH"},
    {SQLITE_IOERR | 26 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_IOERR_CONVPATH"},
    {SQLITE_IOERR | 27 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_IOERR_VNODE"},
    {SQLITE_IOERR | 28 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_IOERR_AUTH"},
    {SQLITE_IOERR | 29 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_BEGIN_ATOMIC"},
    {SQLITE_IOERR | 30 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_COMMIT_ATOMIC"},
    {SQLITE_IOERR | 31 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_ROLLBACK_ATOMIC"},
    {SQLITE_IOERR | 32 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_IOERR_DATA"},
    {SQLITE_IOERR | 33 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_IOERR_CORRUPTFS"},
    {SQLITE_IOERR | 34 << 8, RSL_SQLITE_RERUN, RSL_SICK_, "SQLITE_IOERR_IN_PAGE"},
    {SQLITE_IOERR | 35 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_IOERR_BADKEY"},
    {SQLITE_IOERR | 36 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_IOERR_CODEC"},

    /* Damage stays until somebody mends it; room does not come back by asking. */
    {SQLITE_CORRUPT, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_CORRUPT"},
    {SQLITE_CORRUPT | 1 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_CORRUPT_VTAB"},
    {SQLITE_CORRUPT | 2 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_CORRUPT_SEQUENCE"},
    {SQLITE_CORRUPT | 3 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_CORRUPT_INDEX"},
    {SQLITE_NOTFOUND, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_NOTFOUND"},
    {SQLITE_FULL, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_FULL"},

    /* A volume that is away comes back, and so do descriptors that ran out; a folder or a link
       in place of the file is set-up. PROTOCOL lost the race for WAL's locks many times in a
       row, SCHEMA saw the schema change faster than SQLite prepares anew. */
    {SQLITE_CANTOPEN, RSL_SQLITE_RETRY, RSL_SICK_, "SQLITE_CANTOPEN"},
    {SQLITE_CANTOPEN | 1 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_CANTOPEN_NOTEMPDIR"},
    {SQLITE_CANTOPEN | 2 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_CANTOPEN_ISDIR"},
    {SQLITE_CANTOPEN | 3 << 8, RSL_SQLITE_RETRY, RSL_SICK_, "SQLITE_CANTOPEN_FULLPATH"},
    {SQLITE_CANTOPEN | 4 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_CANTOPEN_CONVPATH"},
    {SQLITE_CANTOPEN | 5 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_CANTOPEN_DIRTYWAL"},
    {SQLITE_CANTOPEN | 6 << 8, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_CANTOPEN_SYMLINK"},
    {SQLITE_PROTOCOL, RSL_SQLITE_RETRY, RSL_SICK_, "SQLITE_PROTOCOL"},
    {SQLITE_EMPTY, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_EMPTY"},
    {SQLITE_SCHEMA, RSL_SQLITE_RETRY, RSL_SANE_, "SQLITE_SCHEMA"},
    {SQLITE_TOOBIG, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_TOOBIG"},

    {SQLITE_CONSTRAINT, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT"},
    {SQLITE_CONSTRAINT | 1 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_CHECK"},
    {SQLITE_CONSTRAINT | 2 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_COMMITHOOK"},
    {SQLITE_CONSTRAINT | 3 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_FOREIGNKEY"},
    {SQLITE_CONSTRAINT | 4 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_FUNCTION"},
    {SQLITE_CONSTRAINT | 5 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_NOTNULL"},
    {SQLITE_CONSTRAINT | 6 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_PRIMARYKEY"},
    {SQLITE_CONSTRAINT | 7 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_TRIGGER"},
    {SQLITE_CONSTRAINT | 8 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_UNIQUE"},
    {SQLITE_CONSTRAINT | 9 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_VTAB"},
    {SQLITE_CONSTRAINT | 10 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_ROWID"},
    {SQLITE_CONSTRAINT | 11 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_PINNED"},
    {SQLITE_CONSTRAINT | 12 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_CONSTRAINT_DATATYPE"},
    {SQLITE_MISMATCH, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_MISMATCH"},
    {SQLITE_MISUSE, RSL_SQLITE_FINAL, RSL_MUTE_, "SQLITE_MISUSE"},
    {SQLITE_NOLFS, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_NOLFS"},
    {SQLITE_AUTH, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_AUTH"},
    {SQLITE_AUTH | 1 << 8, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_AUTH_USER"},
    {SQLITE_FORMAT, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_FORMAT"},
    {SQLITE_RANGE, RSL_SQLITE_FINAL, RSL_SANE_, "SQLITE_RANGE"},
    {SQLITE_NOTADB, RSL_SQLITE_FINAL, RSL_SICK_, "SQLITE_NOTADB"},

    /* For the log only; as a result they would be a mistake. */
    {SQLITE_NOTICE, RSL_SQLITE_FINAL, RSL_MUTE_, "SQLITE_NOTICE"},
    {SQLITE_NOTICE | 1 << 8, RSL_SQLITE_FINAL, RSL_MUTE_, "SQLITE_NOTICE_RECOVER_WAL"},
    {SQLITE_NOTICE | 2 << 8, RSL_SQLITE_FINAL, RSL_MUTE_, "SQLITE_NOTICE_RECOVER_ROLLBACK"},
    {SQLITE_NOTICE | 3 << 8, RSL_SQLITE_FINAL, RSL_MUTE_, "SQLITE_NOTICE_RBU"},
    {SQLITE_WARNING, RSL_SQLITE_FINAL, RSL_MUTE_, "SQLITE_WARNING"},
    {SQLITE_WARNING | 1 << 8, RSL_SQLITE_FINAL, RSL_MUTE_, "SQLITE_WARNING_AUTOINDEX"},
};

static const rsl_sqlite_row_ *rsl_sqlite_find_(int code)
{
    for (size_t i = 0; i < RSL_COUNT(rsl_sqlite_rows_); i++) {
        if (rsl_sqlite_rows_[i].code == code) return &rsl_sqlite_rows_[i];
    }
    return NULL;
}

/* The row of the code, or of its primary code, or NULL. Only positive numbers have a primary
   code: an extended code of which the primary part were SQLITE_OK would make a success of what
   is not known. */
static const rsl_sqlite_row_ *rsl_sqlite_nearest_(int code)
{
    const rsl_sqlite_row_ *row = rsl_sqlite_find_(code);
    if (row != NULL || code < 0) return row;
    int primary = code & 0xff;
    return primary >= SQLITE_ERROR && primary <= SQLITE_WARNING ? rsl_sqlite_find_(primary) : NULL;
}

rsl_sqlite_class rsl_sqlite_classify(int code)
{
    if (code == SQLITE_OK) return RSL_SQLITE_OK;
    if (code == RSL_ETIMEOUT) return RSL_SQLITE_RERUN;
    const rsl_sqlite_row_ *row = rsl_sqlite_nearest_(code);
    return row != NULL ? row->asks : RSL_SQLITE_FINAL;
}

rsl_sqlite_class rsl_sqlite_classify_inside(sqlite3 *db, int code)
{
    rsl_sqlite_class asks = rsl_sqlite_classify(code);
    if (asks != RSL_SQLITE_RETRY) return asks;
    /* Rolled back by SQLite: the statement alone would now run and commit without the ones
       before it. */
    if (sqlite3_get_autocommit(db)) return RSL_SQLITE_RERUN;
    bool others_hold_it = (code & 0xff) == SQLITE_BUSY;
    bool can_go_stale = sqlite3_txn_state(db, NULL) == SQLITE_TXN_READ;
    return others_hold_it && !can_go_stale ? RSL_SQLITE_RETRY : RSL_SQLITE_RERUN;
}

bool rsl_sqlite_is_retryable(int result, void *user)
{
    (void)user;
    rsl_sqlite_class asks = rsl_sqlite_classify(result);
    return asks == RSL_SQLITE_RETRY || asks == RSL_SQLITE_RERUN;
}

bool rsl_sqlite_is_failure(int result, void *user)
{
    (void)user;
    if (result == SQLITE_OK) return false;
    const rsl_sqlite_row_ *row = rsl_sqlite_nearest_(result);
    return row == NULL || row->health == RSL_SICK_;
}

bool rsl_sqlite_is_ignored(int result, void *user)
{
    (void)user;
    if (result == SQLITE_OK) return false;
    if (result == RSL_ECANCELED || result == RSL_EINVAL || result == RSL_ENOMEM) return true;
    const rsl_sqlite_row_ *row = rsl_sqlite_nearest_(result);
    return row != NULL && row->health == RSL_MUTE_;
}

const char *rsl_sqlite_name(int code)
{
    const rsl_sqlite_row_ *row = rsl_sqlite_find_(code);
    return row != NULL ? row->name : NULL;
}

rsl_sqlite_kind rsl_sqlite_kind_of(int code)
{
    switch (code) {
    case RSL_ETIMEOUT: case RSL_ECANCELED:   return RSL_SQLITE_KIND_TIMEOUT;
    case SQLITE_ABORT | 2 << 8:              return RSL_SQLITE_KIND_CONFLICT;
    case SQLITE_READONLY | 4 << 8:           return RSL_SQLITE_KIND_CONNECTION; /* it moved */
    case SQLITE_CONSTRAINT_CHECK:            return RSL_SQLITE_KIND_CHECK;
    case SQLITE_CONSTRAINT_FOREIGNKEY:       return RSL_SQLITE_KIND_FOREIGN_KEY;
    case SQLITE_CONSTRAINT_NOTNULL:          return RSL_SQLITE_KIND_NOT_NULL;
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_ROWID:            return RSL_SQLITE_KIND_UNIQUE;
    case SQLITE_CONSTRAINT | 12 << 8:        return RSL_SQLITE_KIND_CHECK; /* DATATYPE */
    default: break;
    }
    if (rsl_sqlite_nearest_(code) == NULL) return RSL_SQLITE_KIND_OTHER;
    switch (code & 0xff) {
    case SQLITE_OK: case SQLITE_ROW: case SQLITE_DONE: return RSL_SQLITE_KIND_OK;
    case SQLITE_CANTOPEN: case SQLITE_IOERR: case SQLITE_PROTOCOL:
        return RSL_SQLITE_KIND_CONNECTION;
    case SQLITE_INTERRUPT:                   return RSL_SQLITE_KIND_TIMEOUT;
    case SQLITE_BUSY: case SQLITE_LOCKED:    return RSL_SQLITE_KIND_CONFLICT;
    case SQLITE_MISMATCH: case SQLITE_TOOBIG: return RSL_SQLITE_KIND_CHECK;
    default:                                 return RSL_SQLITE_KIND_OTHER;
    }
}

const char *rsl_sqlite_message(int code)
{
    switch (rsl_sqlite_kind_of(code)) {
    case RSL_SQLITE_KIND_OK:          return "Done.";
    case RSL_SQLITE_KIND_CONNECTION:
        return "The database cannot be reached at the moment. Please try again later.";
    case RSL_SQLITE_KIND_TIMEOUT:     return "This took too long and was not done.";
    case RSL_SQLITE_KIND_CONFLICT:
        return "Somebody else was changing the same data. Please try again.";
    case RSL_SQLITE_KIND_UNIQUE:      return "There is such an entry already.";
    case RSL_SQLITE_KIND_FOREIGN_KEY:
        return "This refers to an entry that does not exist, or others still refer to it.";
    case RSL_SQLITE_KIND_CHECK:       return "A value is not allowed here.";
    case RSL_SQLITE_KIND_NOT_NULL:    return "A value is missing that must be given.";
    case RSL_SQLITE_KIND_OTHER:       break;
    }
    return "The database could not do this.";
}

/* ---- small things ---- */

/* Whether a transaction is open that has read and not written. */
static bool rsl_sqlite_only_read_(sqlite3 *db)
{
    return !sqlite3_get_autocommit(db) && sqlite3_txn_state(db, NULL) == SQLITE_TXN_READ;
}

/* Runs SQL without results; the extended code. */
static int rsl_sqlite_exec_(sqlite3 *db, const char *sql)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? SQLITE_OK : sqlite3_extended_errcode(db);
}

/* Resets what still runs on the connection; its statements stay their owner's. */
static void rsl_sqlite_reset_statements_(sqlite3 *db)
{
    for (sqlite3_stmt *s = sqlite3_next_stmt(db, NULL); s != NULL; s = sqlite3_next_stmt(db, s)) {
        if (sqlite3_stmt_busy(s)) sqlite3_reset(s);
    }
}

/* Ends an open transaction. ROLLBACK can fail where an interrupted statement still runs;
   without running statements only for want of memory, or where an authorizer forbids it. */
static int rsl_sqlite_rollback_(sqlite3 *db)
{
    int code = SQLITE_OK;
    for (int tries = 0; tries < 2 && !sqlite3_get_autocommit(db); tries++) {
        if (tries > 0) rsl_sqlite_reset_statements_(db);
        code = rsl_sqlite_exec_(db, "ROLLBACK");
    }
    return sqlite3_get_autocommit(db) ? SQLITE_OK : code;
}

static int rsl_sqlite_busy_get_(sqlite3 *db, int *milliseconds)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(db, "PRAGMA busy_timeout", -1, &statement, NULL);
    if (code != SQLITE_OK) return sqlite3_extended_errcode(db);
    if (sqlite3_step(statement) == SQLITE_ROW) *milliseconds = sqlite3_column_int(statement, 0);
    return sqlite3_finalize(statement);
}

static int rsl_sqlite_milliseconds_(rsl_time span)
{
    if (span <= 0) return 0;
    return (int)((span - 1) / RSL_MS(1) + 1);
}

/* ---- deadlines and cancelling ---- */

static int rsl_sqlite_spent_(const rsl_ctx *ctx)
{
    if (rsl_cancel_fired(ctx->cancel)) return RSL_ECANCELED;
    return rsl_left(ctx) == 0 ? RSL_ETIMEOUT : RSL_OK;
}

static rsl_time rsl_sqlite_now_(const rsl_ctx *ctx)
{
    const rsl_clock *clock = ctx->clock;
    return clock != NULL && clock->now != NULL ? clock->now(clock->user) : rsl_now();
}

static int rsl_sqlite_on_progress_(void *user)
{
    rsl_sqlite_guard *guard = (rsl_sqlite_guard *)user;
    int spent = rsl_sqlite_spent_(&guard->ctx_);
    if (spent != RSL_OK) guard->stopped_ = spent;
    return spent != RSL_OK;
}

/* SQLite asks whether to look for the lock again, and when: that is, after this returns 1.
   Steps of at most 10 ms bound how late a cancellation is seen. SQLite sleeps in whole
   milliseconds, so that with less left the next look would come too late. */
static int rsl_sqlite_on_busy_(void *user, int tries)
{
    static const int steps[] = {1, 1, 2, 2, 5, 5, 10};
    rsl_sqlite_guard *guard = (rsl_sqlite_guard *)user;
    const rsl_ctx *ctx = &guard->ctx_;
    rsl_time now = rsl_sqlite_now_(ctx);
    if (tries == 0) guard->waiting_since_ = now;
    if (rsl_cancel_fired(ctx->cancel)) {
        guard->stopped_ = RSL_ECANCELED;
        return 0;
    }

    rsl_time left = RSL_MS(guard->busy_ms_) - (now - guard->waiting_since_);
    if (rsl_left(ctx) < left) left = rsl_left(ctx);
    if (left < RSL_MS(1)) return 0;
    int last = (int)RSL_COUNT(steps) - 1;
    rsl_time step = RSL_MS(steps[tries < last ? tries : last]);
    if (step > left) step = left;
    const rsl_clock *clock = ctx->clock;
    if (clock != NULL && clock->sleep_until != NULL) clock->sleep_until(clock->user, now + step);
    else sqlite3_sleep((int)(step / RSL_MS(1)));
    return 1;
}

int rsl_sqlite_guard_enter(rsl_sqlite_guard *guard, sqlite3 *db, const rsl_ctx *ctx)
{
    if (guard == NULL) return RSL_EINVAL;
    memset(guard, 0, sizeof *guard);
    if (db == NULL) return RSL_EINVAL;
    if (ctx == NULL) return RSL_OK;
    guard->ctx_ = *ctx;
    if (ctx->cancel == NULL && (ctx->deadline == 0 || ctx->deadline == RSL_FOREVER)) return RSL_OK;
    int code = rsl_sqlite_spent_(ctx);
    if (code == RSL_OK) code = rsl_sqlite_busy_get_(db, &guard->busy_ms_);
    if (code != RSL_OK) return code;
    guard->db_ = db;
    if (guard->busy_ms_ > 0) sqlite3_busy_handler(db, rsl_sqlite_on_busy_, guard);
    sqlite3_progress_handler(db, 100, rsl_sqlite_on_progress_, guard);
    return RSL_OK;
}

int rsl_sqlite_guard_leave(rsl_sqlite_guard *guard, int code)
{
    if (guard == NULL || guard->db_ == NULL) return code;
    sqlite3_progress_handler(guard->db_, 0, NULL, NULL);
    sqlite3_busy_timeout(guard->db_, guard->busy_ms_);
    guard->db_ = NULL;
    if (code == SQLITE_INTERRUPT && guard->stopped_ != RSL_OK) return guard->stopped_;
    if (code == SQLITE_BUSY && guard->stopped_ == RSL_ECANCELED) return RSL_ECANCELED;
    return code;
}

/* ---- transactions ---- */

int rsl_sqlite_transaction(sqlite3 *db, const rsl_ctx *ctx, rsl_sqlite_mode mode,
                                   rsl_sqlite_fn fn, void *arg)
{
    static const char *const begin[] = {"BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"};
    static const rsl_ctx unlimited = {0, NULL, NULL, 0, 0};
    if (db == NULL || fn == NULL || (size_t)mode >= RSL_COUNT(begin)) return RSL_EINVAL;
    if (!sqlite3_get_autocommit(db)) return RSL_EINVAL;

    int saved = errno;
    rsl_sqlite_guard guard;
    sqlite3_extended_result_codes(db, 1);
    int result = rsl_sqlite_guard_enter(&guard, db, ctx);
    if (result == RSL_OK) result = rsl_sqlite_exec_(db, begin[mode]);
    if (result == RSL_OK) {
        errno = saved;
        result = fn(ctx != NULL ? ctx : &unlimited, db, arg);
        saved = errno;
        bool ended = sqlite3_get_autocommit(db) != 0;
        if (result == SQLITE_BUSY && rsl_sqlite_only_read_(db)) result = RSL_SQLITE_BUSY_UPGRADE;
        if (result == 0) result = ended ? RSL_EINVAL : rsl_sqlite_exec_(db, "COMMIT");
    }
    result = rsl_sqlite_guard_leave(&guard, result); /* or it could stop the ROLLBACK */
    int undone = rsl_sqlite_rollback_(db);
    errno = saved;
    return undone == SQLITE_OK ? result : undone;
}

/* ---- connections ---- */

const char *rsl_sqlite_config_check(const rsl_sqlite_config *config)
{
    if (config == NULL) return "config: must not be NULL";
    if (config->path == NULL) return "path: must be set";
    bool writable = config->flags == 0 || (config->flags & SQLITE_OPEN_READWRITE) != 0;
    if (writable == ((config->flags & SQLITE_OPEN_READONLY) != 0))
        return "flags: must hold one of SQLITE_OPEN_READWRITE and SQLITE_OPEN_READONLY";
    if (config->wal && !writable) return "wal: needs a connection that may write";
    if (config->busy_timeout < RSL_NONE || config->busy_timeout > RSL_MS(INT_MAX))
        return "busy_timeout: must be RSL_NONE or 0..INT_MAX milliseconds";
    return NULL;
}

rsl_sqlite_config rsl_sqlite_config_resolve(const rsl_sqlite_config *config)
{
    rsl_sqlite_config c = *config;
    if (c.flags == 0) c.flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (c.busy_timeout == 0) c.busy_timeout = RSL_SEC(5);
    else if (c.busy_timeout == RSL_NONE) c.busy_timeout = 0;
    return c;
}

/* The answer of the pragma is the mode in force; a database in memory keeps its own. */
static int rsl_sqlite_set_wal_(sqlite3 *db)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(db, "PRAGMA journal_mode=WAL", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW) {
            const char *mode = (const char *)sqlite3_column_text(statement, 0);
            code = mode != NULL && strcmp(mode, "wal") == 0 ? SQLITE_OK : RSL_EINVAL;
        }
    }
    sqlite3_finalize(statement);
    return code;
}

static int rsl_sqlite_set_up_(sqlite3 *db, const rsl_ctx *ctx, const rsl_sqlite_config *config)
{
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, rsl_sqlite_milliseconds_(config->busy_timeout));
    rsl_sqlite_guard guard;
    int code = rsl_sqlite_guard_enter(&guard, db, ctx);
    if (code == RSL_OK && config->wal) code = rsl_sqlite_set_wal_(db);
    if (code == RSL_OK && config->pragmas != NULL) code = rsl_sqlite_exec_(db, config->pragmas);
    if (code == RSL_OK) code = rsl_sqlite_exec_(db, "PRAGMA schema_version"); /* reads page 1 */
    return rsl_sqlite_guard_leave(&guard, code);
}

int rsl_sqlite_open(sqlite3 **db, const rsl_ctx *ctx, const rsl_sqlite_config *config)
{
    if (db == NULL || rsl_sqlite_config_check(config) != NULL) return RSL_EINVAL;
    int saved = errno;
    int code = ctx != NULL ? rsl_sqlite_spent_(ctx) : RSL_OK;
    if (code == RSL_OK) {
        sqlite3 *opened = NULL;
        rsl_sqlite_config in_force = rsl_sqlite_config_resolve(config);
        code = sqlite3_open_v2(in_force.path, &opened, in_force.flags, in_force.vfs);
        if (code != SQLITE_OK) code = sqlite3_extended_errcode(opened);
        else code = rsl_sqlite_set_up_(opened, ctx, &in_force);
        if (code == SQLITE_OK) *db = opened;
        else sqlite3_close(opened);
    }
    errno = saved;
    return code;
}

void rsl_sqlite_close(sqlite3 *db)
{
    int saved = errno;
    if (db != NULL) rsl_sqlite_rollback_(db);
    sqlite3_close_v2(db);
    errno = saved;
}

int rsl_sqlite_create(void *user, const rsl_ctx *ctx, void **resource)
{
    if (resource == NULL) return RSL_EINVAL;
    sqlite3 *db;
    int code = rsl_sqlite_open(&db, ctx, (const rsl_sqlite_config *)user);
    if (code == RSL_OK) *resource = db;
    return code;
}

void rsl_sqlite_destroy(void *user, void *resource)
{
    (void)user;
    rsl_sqlite_close((sqlite3 *)resource);
}

int rsl_sqlite_validate(void *user, void *resource)
{
    (void)user;
    sqlite3 *db = (sqlite3 *)resource;
    if (db == NULL || !sqlite3_get_autocommit(db)) return RSL_EINVAL;
    int saved = errno, moved = 0, busy_ms = 0;
    /* Not known to a database in memory, which cannot move. */
    sqlite3_file_control(db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    int code = moved ? SQLITE_READONLY | 4 << 8 : rsl_sqlite_busy_get_(db, &busy_ms);
    if (code == SQLITE_OK) {
        sqlite3_busy_timeout(db, 0);
        code = rsl_sqlite_exec_(db, "PRAGMA schema_version");
        sqlite3_busy_timeout(db, busy_ms);
        if ((code & 0xff) == SQLITE_BUSY) code = SQLITE_OK;
    }
    errno = saved;
    return code;
}

int rsl_sqlite_reset(void *user, void *resource)
{
    sqlite3 *db = (sqlite3 *)resource;
    if (db == NULL) return RSL_EINVAL;
    int saved = errno;
    sqlite3_progress_handler(db, 0, NULL, NULL);
    rsl_sqlite_reset_statements_(db);
    int code = rsl_sqlite_rollback_(db);
    const rsl_sqlite_config *config = (const rsl_sqlite_config *)user;
    if (config != NULL) {
        rsl_time wait = rsl_sqlite_config_resolve(config).busy_timeout;
        sqlite3_busy_timeout(db, rsl_sqlite_milliseconds_(wait));
    }
    errno = saved;
    return code;
}

void rsl_sqlite_abandon(void *user, void *resource)
{
    (void)user;
    (void)resource;
}
#endif /* RSL_SQLITE_IMPLEMENTATION */

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
