/* postgres.h -- PostgreSQL under resilience: what each SQLSTATE asks for, connecting and
   statements that end at a deadline or when cancelled, transactions that are rerun, and a pool's
   callbacks.

       #define RSL_IMPLEMENTATION           in one C file; needs libpq 12 or newer: -lpq and
       #include "resilience.h"              $(pkg-config --cflags libpq)
       #define RSL_POSTGRES_IMPLEMENTATION
       #include "adapters/postgres.h"

       static int order(const rsl_ctx *ctx, PGconn *conn, void *arg)
       {
           return rsl_postgres_exec(conn, ctx, "INSERT INTO orders ...", NULL); 0 commits
       }
       static int attempt(const rsl_ctx *ctx, void *conn)
       {
           return rsl_postgres_transaction(conn, ctx, RSL_POSTGRES_SERIALIZABLE, 0, order, NULL);
       }

       rsl_retry_config retry_config = {.retryable = rsl_postgres_is_retryable};
       rsl_breaker_config breaker_config = {
           .is_failure = rsl_postgres_is_failure, .is_ignored = rsl_postgres_is_ignored};
       ...
       int code = rsl_run(policy, RSL_COUNT(policy), &ctx, attempt, conn);

   What a failure asks for depends on what may have happened before it:

       RETRY     nothing happened; the same may be sent again
                     53300: too many connections. 57P03: the server is starting up
       RERUN     the transaction is undone, for certain; run it again from its BEGIN
                     40001, 40P01, or the connection was lost before COMMIT was sent
       UNKNOWN   the connection was lost while a COMMIT, or a statement that commits by itself, was
                 out: it may have happened, and nobody is left to ask. Never repeated blindly
       FINAL     it would fail again

   A lost connection has many faces. A backend that was ended while idle has left a FATAL 57P01 in
   the socket, and PQstatus says CONNECTION_OK until somebody reads it; the next statement would
   then fail as if it had been sent. So every function here looks at the socket first: what is lost
   before anything was sent is RERUN, not UNKNOWN.

   Options: RSL_STATIC makes private copies; RSL_API, as for the other headers. */
#ifndef RSL_POSTGRES_H
#define RSL_POSTGRES_H

#ifndef RSL_CORE_H
#include "resilience.h"
#endif
#include <libpq-fe.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- codes ---- */

/* A SQLSTATE as an int: its five digits and capitals read as a number in base 36, so that
   "00000", success, is RSL_OK, every other one lies in 1..60466175, and none meets a status of
   this library. Errors begin at class 01, which is 46656: smaller positive results of your own
   functions are never taken for one. A constant where the characters are. */
#define RSL_POSTGRES_CODE(a, b, c, d, e)                                                    \
    ((((RSL_POSTGRES_DIGIT_(a) * 36 + RSL_POSTGRES_DIGIT_(b)) * 36 +                        \
       RSL_POSTGRES_DIGIT_(c)) * 36 + RSL_POSTGRES_DIGIT_(d)) * 36 + RSL_POSTGRES_DIGIT_(e))
#define RSL_POSTGRES_DIGIT_(c) ((c) <= '9' ? (c) - '0' : (c) - 'A' + 10)

enum rsl_postgres_codes {
    /* of PostgreSQL, those that programs ask for most */
    RSL_POSTGRES_NOT_NULL_VIOLATION    = RSL_POSTGRES_CODE('2', '3', '5', '0', '2'),
    RSL_POSTGRES_FOREIGN_KEY_VIOLATION = RSL_POSTGRES_CODE('2', '3', '5', '0', '3'),
    RSL_POSTGRES_UNIQUE_VIOLATION      = RSL_POSTGRES_CODE('2', '3', '5', '0', '5'),
    RSL_POSTGRES_CHECK_VIOLATION       = RSL_POSTGRES_CODE('2', '3', '5', '1', '4'),
    RSL_POSTGRES_SERIALIZATION_FAILURE = RSL_POSTGRES_CODE('4', '0', '0', '0', '1'),
    RSL_POSTGRES_DEADLOCK_DETECTED     = RSL_POSTGRES_CODE('4', '0', 'P', '0', '1'),
    RSL_POSTGRES_TOO_MANY_CONNECTIONS  = RSL_POSTGRES_CODE('5', '3', '3', '0', '0'),
    RSL_POSTGRES_QUERY_CANCELED        = RSL_POSTGRES_CODE('5', '7', '0', '1', '4'),
    RSL_POSTGRES_ADMIN_SHUTDOWN        = RSL_POSTGRES_CODE('5', '7', 'P', '0', '1'),

    /* of this adapter; their class, RS, is none of PostgreSQL's */
    RSL_POSTGRES_UNREACHABLE = RSL_POSTGRES_CODE('R', 'S', 'L', '0', '1'), /* no connection was
                                   made, and no server said why: RETRY */
    RSL_POSTGRES_LOST        = RSL_POSTGRES_CODE('R', 'S', 'L', '0', '2'), /* the connection broke
                                   where nothing can have been committed: RERUN */
    RSL_POSTGRES_UNKNOWN_OUTCOME = RSL_POSTGRES_CODE('R', 'S', 'L', '0', '3'), /* it broke, or the
                                   deadline passed, while a commit was out: UNKNOWN */
    RSL_POSTGRES_STANDBY     = RSL_POSTGRES_CODE('R', 'S', 'L', '0', '4') /* a write was sent to a
                                   standby: this connection leads to the wrong server: RERUN */
};

/* The code of a SQLSTATE: five of 0-9 and A-Z, then the end. RSL_EINVAL for anything else, NULL
   too. Pure; any thread. */
RSL_API int rsl_postgres_code(const char *sqlstate);

/* The SQLSTATE of a code, written to text as five characters and a 0. Returns text, or NULL, and
   leaves text alone, for a number that is no code of this kind (statuses of the library). text:
   not NULL. Pure; any thread. */
RSL_API const char *rsl_postgres_state(int code, char text[6]);

/* What a result that a call of libpq gave means, as a code: RSL_OK when the command succeeded
   (COPY, once begun, and a pipeline's marks count as such), else the SQLSTATE; RSL_POSTGRES_LOST
   when there is none, for then libpq itself failed: the connection is gone or cannot be followed
   any more. result NULL: the same, or RSL_ENOMEM while the connection is well. It cannot tell
   LOST from UNKNOWN_OUTCOME: that the functions below do. conn: not NULL. Does not block. */
RSL_API int rsl_postgres_result(const PGconn *conn, const PGresult *result);

/* ---- what a code asks for ---- */

typedef enum rsl_postgres_class {
    RSL_POSTGRES_OK,      /* 0 */
    RSL_POSTGRES_RETRY,   /* nothing happened: the same statement, or connect, may be tried anew */
    RSL_POSTGRES_RERUN,   /* undone: the whole transaction may be run again from its BEGIN */
    RSL_POSTGRES_UNKNOWN, /* it may have been committed: find out before trying again */
    RSL_POSTGRES_FINAL    /* trying again cannot help */
} rsl_postgres_class;

/* What a code asks for, of a whole transaction, of a statement outside of any, or of connecting.
   Inside a transaction RETRY means RERUN, for any error has ended it. code: a SQLSTATE's, one of
   this adapter's own, or a status of the library (RSL_ETIMEOUT is RERUN, the others FINAL). A
   SQLSTATE that the table does not know counts as its class (first two characters). Pure; any
   thread; a scan of a few dozen rows unless the code is 0. */
RSL_API rsl_postgres_class rsl_postgres_classify(int code);

/* For rsl_retry_config.retryable where the call is a whole transaction, a connect, or one
   statement outside of any: true for RETRY and RERUN, never for UNKNOWN. user is not used. Pure;
   any thread. */
RSL_API bool rsl_postgres_is_retryable(int result, void *user);

/* For rsl_breaker_config.is_failure: whether the result says that the server is in trouble. A
   violated constraint, an SQL error, a conflict between transactions is an answer of a healthy
   server: false. No connection, none free, a lost one, a full disk, a cancelled statement,
   RSL_ETIMEOUT: true; so is any result that is not a SQLSTATE. user is not used. Pure; any
   thread. */
RSL_API bool rsl_postgres_is_failure(int result, void *user);

/* For rsl_breaker_config.is_ignored: results that say nothing about the server, good or bad:
   RSL_ECANCELED, RSL_EINVAL, RSL_ENOMEM. user is not used. Pure; any thread. */
RSL_API bool rsl_postgres_is_ignored(int result, void *user);

/* Whether the code says that the connection it came from is of no more use: lost, ended by the
   server, or leading to a standby. Pure; any thread. */
RSL_API bool rsl_postgres_is_lost(int code);

/* Kinds of failure that people are told apart. */
typedef enum rsl_postgres_kind {
    RSL_POSTGRES_KIND_OK,
    RSL_POSTGRES_KIND_CONNECTION,  /* no server, or none that takes us */
    RSL_POSTGRES_KIND_UNKNOWN,     /* perhaps done, perhaps not */
    RSL_POSTGRES_KIND_TIMEOUT,     /* ended for the time it took, or cancelled */
    RSL_POSTGRES_KIND_CONFLICT,    /* with another transaction */
    RSL_POSTGRES_KIND_UNIQUE,      /* a unique or exclusion constraint */
    RSL_POSTGRES_KIND_FOREIGN_KEY,
    RSL_POSTGRES_KIND_CHECK,       /* a check, or a value that its type cannot hold */
    RSL_POSTGRES_KIND_NOT_NULL,
    RSL_POSTGRES_KIND_OTHER
} rsl_postgres_kind;

RSL_API rsl_postgres_kind rsl_postgres_kind_of(int code); /* pure; any thread */

/* A sentence for the people in front of the program, by kind; it names no table and no server.
   Never NULL; static; in English. Pure; any thread. */
RSL_API const char *rsl_postgres_message(int code);

/* ---- connections ---- */

typedef struct rsl_postgres_config {
    const char *conninfo;          /* "host=db dbname=shop", or a URI; what it leaves out comes
                                      from PGHOST and the like ("") */
    const char *application_name;  /* as pg_stat_activity shows it (that of conninfo) */
    rsl_time    connect_timeout;   /* longest time to connect, all hosts together (10 s) */
    rsl_time    statement_timeout; /* the server ends any statement that takes longer, rounded up
                                      to ms; RSL_FOREVER: none (the server's own setting) */
    rsl_time    cancel_timeout;    /* how long past its deadline a statement is waited for after it
                                      was told to stop; RSL_NONE: not at all (100 ms) */
    rsl_time    validate_timeout;  /* longest wait of validate and reset for an answer (1 s) */
    bool        keep_session;      /* reset leaves prepared statements, settings, temporary tables
                                      and advisory locks to the next user (false) */
    PQnoticeReceiver notice;       /* told of the server's notices (they are dropped) */
    void      (*failed)(void *user, int code, const char *message); /* told why a connect failed,
                                      in the words of libpq (none) */
    void       *user;              /* for notice and failed */
} rsl_postgres_config;

/* NULL when rsl_postgres_connect would take the config, else the field and the reason. It says
   nothing of whether there is such a server. Allocates to parse the conninfo; does not block.
   NULL: "config: must not be NULL". */
RSL_API const char *rsl_postgres_config_check(const rsl_postgres_config *config);

/* The values in force. Pure. config: not NULL. */
RSL_API rsl_postgres_config rsl_postgres_config_resolve(const rsl_postgres_config *config);

/* Connects. Ends at the ctx's deadline or after connect_timeout, whichever is sooner, and at once
   when cancelled; only the lookup of a host's name is the system's, and cannot be ended. Of
   several hosts in the conninfo, each gets its share of the time, in their order.
   Returns RSL_OK; the SQLSTATE with which the server refused; RSL_POSTGRES_UNREACHABLE;
   RSL_ETIMEOUT, RSL_ECANCELED; RSL_EINVAL (a NULL or bad config), RSL_ENOMEM, RSL_ESYS. *conn is
   written on RSL_OK only, and is then closed by rsl_postgres_close. ctx: NULL for no limits but
   connect_timeout. The config is not needed any more on return, but for what notice uses. One
   thread may use the connection at a time. Blocks; costs about 2 ms on a local socket. */
RSL_API int rsl_postgres_connect(PGconn **conn, const rsl_ctx *ctx,
                                 const rsl_postgres_config *config);

/* The same for event loops, which wait by themselves: start begins and never waits (but for a
   host's name). Then wait for PQsocket(*conn) to be writable, and call PQconnectPoll as libpq's
   manual says until it is PGRES_POLLING_OK or PGRES_POLLING_FAILED; then finish, which says
   what came of it as rsl_postgres_connect does; after a failure it has closed conn. Given up on
   the way: rsl_postgres_close, and no finish. connect_timeout is the loop's business, and so is
   a silent host among several: name one. */
RSL_API int rsl_postgres_connect_start(PGconn **conn, const rsl_postgres_config *config);
RSL_API int rsl_postgres_connect_finish(PGconn *conn, const rsl_postgres_config *config);

/* Closes the connection; what is open is rolled back by the server. A statement that is still out
   is told to stop, but not waited for. NULL is a no-op. Does not block. */
RSL_API void rsl_postgres_close(PGconn *conn);

/* Whether the connection is of no more use: closed by the server, lost, or left with an answer
   that nobody will read. Looks at what is known, not at the socket. NULL: true. For a pool:
   *broken = rsl_postgres_is_broken(conn). Does not block. */
RSL_API bool rsl_postgres_is_broken(const PGconn *conn);

/* The same as a pool's callbacks; user is a const rsl_postgres_config that outlives the pool, a
   resource is a PGconn.
   create: rsl_postgres_connect. destroy: rsl_postgres_close.
   validate: 0 when the connection works: it is idle, nothing unexpected lies in its socket, and
       the server answers an empty query within validate_timeout.
   reset: by the state of its transaction. Idle: DISCARD ALL (unless keep_session). In one that is
       open or failed: ROLLBACK first. With a statement still out, in a COPY, a pipeline, or of
       unknown state: not 0, the connection must be destroyed; as on any error.
   abandon: in a forked child: closes the descriptor and says nothing to the server. The memory
       stays taken, for freeing it could speak to the server. */
RSL_API int  rsl_postgres_create(void *user, const rsl_ctx *ctx, void **resource);
RSL_API void rsl_postgres_destroy(void *user, void *resource);
RSL_API int  rsl_postgres_validate(void *user, void *resource);
RSL_API int  rsl_postgres_reset(void *user, void *resource);
RSL_API void rsl_postgres_abandon(void *user, void *resource);

/* ---- statements ---- */

typedef struct rsl_postgres_query {
    const char *sql;              /* one statement, with $1, $2 for parameters; without any,
                                     several statements separated by ; may stand here */
    const char *prepared;         /* instead of sql: the name of a prepared statement */
    int         params_count;     /* (0) */
    const char *const *params;    /* params_count values; a NULL is SQL's null */
    const Oid  *types;            /* as in PQexecParams, these three (NULL: inferred, texts) */
    const int  *lengths;
    const int  *formats;
    int         result_format;    /* 0: text, 1: binary */
    bool        changes_nothing;  /* reads only: if the connection is lost while it is out, that is
                                     LOST and not UNKNOWN_OUTCOME, even outside a transaction */
    PGresult  **error;            /* where the server's error goes, for PQresultErrorField; the
                                     caller clears it; untouched without one (NULL: none) */
} rsl_postgres_query;

/* Sends a query and waits for its answer no longer than ctx allows. At the deadline, and at once
   when the ctx is cancelled from another thread, the server is told to cancel it; the answer is
   then waited for during cancel_timeout more, so that the connection stays of use; without one the
   connection is broken. Telling takes a thread of its own, for libpq blocks in it; on return it
   has ended or holds nothing of the connection.
   Returns RSL_OK; the SQLSTATE; RSL_ETIMEOUT or RSL_ECANCELED when that is why it was cancelled,
   or if ctx was spent before; RSL_POSTGRES_LOST, or RSL_POSTGRES_UNKNOWN_OUTCOME when it was out
   while the connection broke or became unreadable, outside a transaction and not marked
   changes_nothing; RSL_EINVAL (NULL conn or query, neither or both of sql and prepared, a
   connection that is busy or in a pipeline, COPY), RSL_ENOMEM, RSL_ESYS. A success after the
   deadline stays a success.
   *result is written on RSL_OK only: of several statements the last one's; the caller clears it.
   NULL: not wanted. ctx: NULL for no limits. Call it from the thread that uses conn. Costs a
   system call more than PQexecParams, and seven more if ctx can be cancelled. */
RSL_API int rsl_postgres_run(PGconn *conn, const rsl_ctx *ctx, const rsl_postgres_query *query,
                             PGresult **result);

/* rsl_postgres_run of SQL without parameters. */
RSL_API int rsl_postgres_exec(PGconn *conn, const rsl_ctx *ctx, const char *sql,
                              PGresult **result);

/* ---- transactions ---- */

typedef enum rsl_postgres_isolation {
    RSL_POSTGRES_DEFAULT_ISOLATION, /* the session's: READ COMMITTED unless set */
    RSL_POSTGRES_READ_COMMITTED,
    RSL_POSTGRES_REPEATABLE_READ,
    RSL_POSTGRES_SERIALIZABLE
} rsl_postgres_isolation;

enum rsl_postgres_flags {
    RSL_POSTGRES_READ_ONLY  = 1,
    RSL_POSTGRES_DEFERRABLE = 2 /* waits for a snapshot that cannot fail; only with SERIALIZABLE
                                   and READ_ONLY */
};

/* What runs inside a transaction: 0 commits, any other int rolls back and comes back as it is. It
   must not end the transaction itself. Statements sent by rsl_postgres_run and _exec keep to ctx;
   those sent through libpq are ended by the server at about the deadline. */
typedef int (*rsl_postgres_fn)(const rsl_ctx *ctx, PGconn *conn, void *arg);

/* BEGIN, fn(ctx, conn, arg), then COMMIT or ROLLBACK. With a deadline, the transaction's
   statement_timeout is what is left of it at BEGIN, or the connection's own if that is less; it is
   set in the same round trip.
   Returns RSL_OK when committed; else what failed: fn's own result, the SQLSTATE of BEGIN or
   COMMIT, RSL_ETIMEOUT, RSL_ECANCELED, RSL_POSTGRES_LOST; RSL_POSTGRES_UNKNOWN_OUTCOME when the
   connection broke while COMMIT was out, or no answer to it came in time; 25P02 when fn returned 0
   though a statement had failed; RSL_EINVAL: conn or fn NULL, no such isolation or flags, the
   connection not idle, or fn ended the transaction.
   A statement that fn left out is told to stop. When the ROLLBACK gets no answer in time (once ctx
   is spent: cancel_timeout), the connection is broken, and the server rolls back by itself.
   ctx: NULL for no limits; fn never gets NULL. errno is as fn left it. Call it from the thread
   that uses conn. Blocks. */
RSL_API int rsl_postgres_transaction(PGconn *conn, const rsl_ctx *ctx,
                                     rsl_postgres_isolation isolation, unsigned flags,
                                     rsl_postgres_fn fn, void *arg);

#ifdef RSL_RETRY_H
/* The same, rerun on this connection within the retry's limits while the other side of a conflict
   is to blame: RETRY and RERUN (40001, 40P01, ...) as far as the retry's own `retryable` agrees,
   not a lost connection, a deadline or an unknown outcome; for a lost one put a retry around what
   leases the connection. ctx->attempt counts up. Only with retry.h (resilience.h holds it). */
RSL_API int rsl_postgres_transact(rsl_retry *retry, PGconn *conn, const rsl_ctx *ctx,
                                  rsl_postgres_isolation isolation, unsigned flags,
                                  rsl_postgres_fn fn, void *arg);
#endif

#ifdef __cplusplus
}
#endif
#endif /* RSL_POSTGRES_H */

/* ==== implementation ==== */

#if (defined RSL_POSTGRES_IMPLEMENTATION || defined RSL_STATIC) && \
    !defined RSL_POSTGRES_IMPLEMENTED_
#define RSL_POSTGRES_IMPLEMENTED_
#ifdef __cplusplus
#error "resilience: implement adapters/postgres.h in a C file; C++ files only include it"
#endif
#ifdef _WIN32
#error "resilience: adapters/postgres.h waits with poll(), which Windows lacks"
#endif
#ifndef RSL_CORE_IMPLEMENTED_
#error "resilience: implement adapters/postgres.h in a file that implements a module before it"
#endif
#include <errno.h>
#include <fcntl.h>
#include <libpq-events.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- codes ---- */

enum { RSL_POSTGRES_FIRST_ = 36 * 36 * 36, RSL_POSTGRES_END_ = 36 * 36 * 36 * 36 * 36 };

static bool rsl_postgres_is_state_char_(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
}

int rsl_postgres_code(const char *sqlstate)
{
    if (sqlstate == NULL) return RSL_EINVAL;
    int code = 0;
    for (int i = 0; i < 5; i++) {
        if (!rsl_postgres_is_state_char_(sqlstate[i])) return RSL_EINVAL;
        code = code * 36 + RSL_POSTGRES_DIGIT_(sqlstate[i]);
    }
    return sqlstate[5] == '\0' ? code : RSL_EINVAL;
}

const char *rsl_postgres_state(int code, char text[6])
{
    if (code < 0 || code >= RSL_POSTGRES_END_) return NULL;
    text[5] = '\0';
    for (int i = 4; i >= 0; i--, code /= 36) {
        text[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[code % 36];
    }
    return text;
}

/* ---- the table ---- */

/* What a breaker learns from it: the server is well, is in trouble, or nothing. */
enum { RSL_POSTGRES_SANE_, RSL_POSTGRES_SICK_, RSL_POSTGRES_MUTE_ };

typedef struct rsl_postgres_row_ {
    char state[6]; /* a SQLSTATE, or the two characters of a class for the rest of it */
    bool lost;     /* the connection that said so has ended, or is of no use */
    rsl_postgres_class asks;
    int health;
    rsl_postgres_kind kind;
} rsl_postgres_row_;

/* The columns in short, for this table alone. */
#define R_(state, asks, health, lost, kind) \
    {state, lost, RSL_POSTGRES_##asks, RSL_POSTGRES_##health##_, RSL_POSTGRES_KIND_##kind}
static const rsl_postgres_row_ rsl_postgres_rows_[] = {
    R_("00", OK, SANE, false, OK),

    /* Of this adapter. */
    R_("RSL01", RETRY, SICK, true, CONNECTION),
    R_("RSL02", RERUN, SICK, true, CONNECTION),
    R_("RSL03", UNKNOWN, SICK, true, UNKNOWN),
    R_("RSL04", RERUN, SICK, true, CONNECTION),

    /* Connections. A statement that was out where it could commit comes as UNKNOWN_OUTCOME and
       not with these. 08P01 is also what pgbouncer says when it cannot go on. */
    R_("08", RERUN, SICK, true, CONNECTION),
    R_("08001", RETRY, SICK, true, CONNECTION),
    R_("08004", RETRY, SICK, true, CONNECTION),
    R_("08007", UNKNOWN, SICK, true, UNKNOWN),
    R_("28", FINAL, SICK, true, CONNECTION),
    R_("3D", FINAL, SICK, true, CONNECTION),

    /* Values and constraints. 23P01 is an exclusion, the general form of unique. */
    R_("22", FINAL, SANE, false, CHECK),
    R_("22004", FINAL, SANE, false, NOT_NULL),
    R_("23001", FINAL, SANE, false, FOREIGN_KEY),
    R_("23502", FINAL, SANE, false, NOT_NULL),
    R_("23503", FINAL, SANE, false, FOREIGN_KEY),
    R_("23505", FINAL, SANE, false, UNIQUE),
    R_("23514", FINAL, SANE, false, CHECK),
    R_("23P01", FINAL, SANE, false, UNIQUE),
    R_("44000", FINAL, SANE, false, CHECK), /* a view's WITH CHECK OPTION */

    /* 25P02: an earlier error, which had its own code. 25P03, 57P05: our own idleness. */
    R_("25P02", FINAL, MUTE, false, OTHER),
    R_("25P03", RERUN, MUTE, true, TIMEOUT),
    R_("25P04", RERUN, SICK, true, TIMEOUT),
    R_("57P05", RERUN, MUTE, true, CONNECTION),

    /* Conflicts, which a healthy server reports too. 40002 is a constraint at COMMIT. */
    R_("40", RERUN, SANE, false, CONFLICT),
    R_("40002", FINAL, SANE, false, OTHER),
    R_("40003", UNKNOWN, SICK, false, UNKNOWN),
    R_("55006", RETRY, SANE, false, CONFLICT),
    R_("55P03", RETRY, SANE, false, CONFLICT),
    R_("72", RERUN, SANE, false, CONFLICT),

    /* Means. Room on a disk and configured limits do not come back by asking; memory may. */
    R_("53", RETRY, SICK, false, OTHER),
    R_("53100", FINAL, SICK, false, OTHER),
    R_("53300", RETRY, SICK, true, CONNECTION),
    R_("53400", FINAL, SICK, false, OTHER),

    /* The operator, and limits in time that somebody else set: he wished its end. It counts as
       trouble, for a server that is too slow looks just so. */
    R_("57", FINAL, SICK, false, OTHER),
    R_("57014", FINAL, SICK, false, TIMEOUT),
    R_("57P01", RERUN, SICK, true, CONNECTION),
    R_("57P02", RERUN, SICK, true, CONNECTION),
    R_("57P03", RETRY, SICK, true, CONNECTION),
    R_("57P04", FINAL, SICK, true, CONNECTION),

    /* Its files, its configuration, its own mistakes; a foreign server that did not answer. */
    R_("58", FINAL, SICK, false, OTHER),
    R_("F0", FINAL, SICK, false, OTHER),
    R_("XX", FINAL, SICK, false, OTHER),
    R_("HV", FINAL, SICK, false, OTHER),
    R_("HV00N", RETRY, SICK, false, CONNECTION),
};

/* What is no SQLSTATE: statuses of the library, and results of functions that know nothing of
   this adapter. */
static const rsl_postgres_row_ rsl_postgres_timeout_ = R_("", RERUN, SICK, false, TIMEOUT);
static const rsl_postgres_row_ rsl_postgres_cancelled_ = R_("", FINAL, MUTE, false, TIMEOUT);
static const rsl_postgres_row_ rsl_postgres_mute_ = R_("", FINAL, MUTE, false, OTHER);
static const rsl_postgres_row_ rsl_postgres_alien_ = R_("", FINAL, SICK, false, OTHER);
/* Every other SQLSTATE is an answer: wrong SQL, missing rights, an exception that was raised. */
static const rsl_postgres_row_ rsl_postgres_answer_ = R_("", FINAL, SANE, false, OTHER);
#undef R_

static const rsl_postgres_row_ *rsl_postgres_find_(int code)
{
    char state[6];
    if (code == RSL_OK) return &rsl_postgres_rows_[0];
    if (code == RSL_ETIMEOUT) return &rsl_postgres_timeout_;
    if (code == RSL_ECANCELED) return &rsl_postgres_cancelled_;
    if (code == RSL_EINVAL || code == RSL_ENOMEM) return &rsl_postgres_mute_;
    if (code < RSL_POSTGRES_FIRST_ || rsl_postgres_state(code, state) == NULL)
        return &rsl_postgres_alien_;

    const rsl_postgres_row_ *found = &rsl_postgres_answer_;
    for (size_t i = 0; i < RSL_COUNT(rsl_postgres_rows_); i++) {
        const rsl_postgres_row_ *row = &rsl_postgres_rows_[i];
        if (memcmp(row->state, state, 2) != 0) continue;
        if (row->state[2] == '\0') found = row;
        else if (memcmp(row->state, state, 5) == 0) return row;
    }
    return found;
}

rsl_postgres_class rsl_postgres_classify(int code)
{
    return rsl_postgres_find_(code)->asks;
}

bool rsl_postgres_is_retryable(int result, void *user)
{
    (void)user;
    rsl_postgres_class asks = rsl_postgres_classify(result);
    return asks == RSL_POSTGRES_RETRY || asks == RSL_POSTGRES_RERUN;
}

bool rsl_postgres_is_failure(int result, void *user)
{
    (void)user;
    return rsl_postgres_find_(result)->health == RSL_POSTGRES_SICK_;
}

bool rsl_postgres_is_ignored(int result, void *user)
{
    (void)user;
    return rsl_postgres_find_(result)->health == RSL_POSTGRES_MUTE_;
}

bool rsl_postgres_is_lost(int code)
{
    return rsl_postgres_find_(code)->lost;
}

rsl_postgres_kind rsl_postgres_kind_of(int code)
{
    return rsl_postgres_find_(code)->kind;
}

const char *rsl_postgres_message(int code)
{
    switch (rsl_postgres_kind_of(code)) {
    case RSL_POSTGRES_KIND_OK:          return "Done.";
    case RSL_POSTGRES_KIND_CONNECTION:
        return "The database cannot be reached at the moment. Please try again later.";
    case RSL_POSTGRES_KIND_UNKNOWN:
        return "The connection was lost, and it is not known whether this was done. Please look "
               "before you try again.";
    case RSL_POSTGRES_KIND_TIMEOUT:     return "This took too long and was not done.";
    case RSL_POSTGRES_KIND_CONFLICT:
        return "Somebody else was changing the same data. Please try again.";
    case RSL_POSTGRES_KIND_UNIQUE:      return "There is such an entry already.";
    case RSL_POSTGRES_KIND_FOREIGN_KEY:
        return "This refers to an entry that does not exist, or others still refer to it.";
    case RSL_POSTGRES_KIND_CHECK:       return "A value is not allowed here.";
    case RSL_POSTGRES_KIND_NOT_NULL:    return "A value is missing that must be given.";
    case RSL_POSTGRES_KIND_OTHER:       break;
    }
    return "The database could not do this.";
}

/* ---- sessions: what the adapter keeps with each connection that it made. It hangs on the PGconn
   as instance data of an event procedure, and is freed with it. ---- */

typedef struct rsl_postgres_session_ {
    int      statement_ms;    /* the connection's own limit; 0: none that is known */
    rsl_time cancel_timeout;  /* resolved */
    int      fatal;           /* the SQLSTATE with which the server ended the session; 0: none */
    bool     broken;          /* nobody can tell what the next answer would belong to */
    PQnoticeReceiver notice;
    void    *user;
} rsl_postgres_session_;

static int rsl_postgres_on_event_(PGEventId id, void *info, void *session)
{
    if (id == PGEVT_REGISTER) {
        PGconn *conn = ((PGEventRegister *)info)->conn;
        return PQsetInstanceData(conn, rsl_postgres_on_event_, session);
    }
    if (id == PGEVT_CONNDESTROY) RSL_FREE(session);
    return 1;
}

/* NULL for a connection that was not made here. */
static rsl_postgres_session_ *rsl_postgres_session_of_(const PGconn *conn)
{
    return (rsl_postgres_session_ *)PQinstanceData(conn, rsl_postgres_on_event_);
}

static bool rsl_postgres_is_fatal_(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

/* An idle connection that the server ends gets its last word as a notice. */
static void rsl_postgres_on_notice_(void *arg, const PGresult *result)
{
    rsl_postgres_session_ *session = (rsl_postgres_session_ *)arg;
    if (rsl_postgres_is_fatal_(result)) {
        int code = rsl_postgres_code(PQresultErrorField(result, PG_DIAG_SQLSTATE));
        session->fatal = code > 0 ? code : RSL_POSTGRES_LOST;
        session->broken = true;
    }
    if (session->notice != NULL) session->notice(session->user, result);
}

/* A connection without a session is cut instead, so that its next use fails. */
static void rsl_postgres_break_(PGconn *conn)
{
    rsl_postgres_session_ *session = rsl_postgres_session_of_(conn);
    if (session != NULL) session->broken = true;
    else if (PQsocket(conn) >= 0) shutdown(PQsocket(conn), SHUT_RDWR);
}

/* Lost or given up, whatever its transaction. */
static bool rsl_postgres_is_cut_(const PGconn *conn)
{
    const rsl_postgres_session_ *session = rsl_postgres_session_of_(conn);
    return PQstatus(conn) != CONNECTION_OK || (session != NULL && session->broken);
}

bool rsl_postgres_is_broken(const PGconn *conn)
{
    if (conn == NULL || rsl_postgres_is_cut_(conn)) return true;
    PGTransactionStatusType status = PQtransactionStatus(conn);
    return status == PQTRANS_ACTIVE || status == PQTRANS_UNKNOWN;
}

/* Why a connection on which nothing is out is of no use. */
static int rsl_postgres_why_broken_(const PGconn *conn)
{
    const rsl_postgres_session_ *session = rsl_postgres_session_of_(conn);
    return session != NULL && session->fatal != 0 ? session->fatal : RSL_POSTGRES_LOST;
}

/* Takes in what lies in the socket of a connection on which nothing is out; RSL_OK when it is
   still of use. The bound is for a server that never stops to send notices. */
static int rsl_postgres_look_(PGconn *conn)
{
    struct pollfd polled = {PQsocket(conn), POLLIN, 0};
    for (int i = 0; i < 64 && polled.fd >= 0 && poll(&polled, 1, 0) > 0; i++) {
        if (!PQconsumeInput(conn)) break;
        PQisBusy(conn); /* reads the messages, and tells our receiver */
    }
    return rsl_postgres_is_broken(conn) ? rsl_postgres_why_broken_(conn) : RSL_OK;
}

int rsl_postgres_result(const PGconn *conn, const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_EMPTY_QUERY: case PGRES_COMMAND_OK: case PGRES_TUPLES_OK: case PGRES_COPY_OUT:
    case PGRES_COPY_IN: case PGRES_COPY_BOTH: case PGRES_SINGLE_TUPLE:
#ifdef LIBPQ_HAS_PIPELINING
    case PGRES_PIPELINE_SYNC:
#endif
        return RSL_OK;
#ifdef LIBPQ_HAS_PIPELINING
    case PGRES_PIPELINE_ABORTED: return RSL_POSTGRES_CODE('2', '5', 'P', '0', '2');
#endif
    default: break;
    }
    if (result == NULL && PQstatus(conn) == CONNECTION_OK) return RSL_ENOMEM;
    int code = rsl_postgres_code(PQresultErrorField(result, PG_DIAG_SQLSTATE));
    return code > 0 ? code : RSL_POSTGRES_LOST;
}

/* ---- waiting ---- */

/* Waits for a socket under a ctx. A fired token writes into a pipe that is polled too. */
typedef struct rsl_postgres_watch_ {
    rsl_ctx    ctx;
    rsl_waiter listener;
    bool       listening;
    int        ends[2]; /* of the pipe; -1: none */
} rsl_postgres_watch_;

static void rsl_postgres_on_fire_(void *user)
{
    const int *end = (const int *)user;
    while (write(*end, "", 1) < 0 && errno == EINTR) continue;
}

static int rsl_postgres_watch_open_(rsl_postgres_watch_ *watch, const rsl_ctx *ctx)
{
    memset(watch, 0, sizeof *watch);
    watch->ctx = *ctx;
    watch->ends[0] = watch->ends[1] = -1;
    if (ctx->cancel == NULL) return RSL_OK;
    if (pipe(watch->ends) != 0) return RSL_ESYS;
    for (int i = 0; i < 2; i++) {
        fcntl(watch->ends[i], F_SETFD, FD_CLOEXEC);
        fcntl(watch->ends[i], F_SETFL, O_NONBLOCK);
    }
    watch->listener.wake = rsl_postgres_on_fire_;
    watch->listener.user = &watch->ends[1];
    watch->listening = rsl_cancel_listen_(ctx->cancel, &watch->listener);
    return RSL_OK;
}

static void rsl_postgres_watch_close_(rsl_postgres_watch_ *watch)
{
    if (watch->listening) rsl_cancel_unlisten_(watch->ctx.cancel, &watch->listener);
    watch->listening = false;
    for (int i = 0; i < 2; i++) {
        if (watch->ends[i] >= 0) close(watch->ends[i]);
        watch->ends[i] = -1;
    }
}

static int rsl_postgres_milliseconds_(rsl_time span)
{
    if (span <= 0) return 0;
    return span > RSL_MS(INT_MAX) ? INT_MAX : (int)((span - 1) / RSL_MS(1) + 1);
}

/* RSL_OK when the socket is ready, even if the ctx is spent by then; else why it is not waited for
   any more. An injected clock is looked at every millisecond, for poll knows only the real one. */
static int rsl_postgres_watch_wait_(rsl_postgres_watch_ *watch, int fd, short events)
{
    const rsl_ctx *ctx = &watch->ctx;
    for (;;) {
        int spent = rsl_ctx_spent_(ctx, ctx->clock);
        rsl_time left = rsl_left(ctx);
        int wait_ms = left == RSL_FOREVER ? -1 : rsl_postgres_milliseconds_(left);
        if (!rsl_clock_is_real_(ctx->clock) && left != RSL_FOREVER) wait_ms = 1;
        if (spent != RSL_OK) wait_ms = 0;

        struct pollfd polled[2] = {{fd, events, 0}, {watch->ends[0], POLLIN, 0}};
        int ready = poll(polled, watch->listening ? 2 : 1, wait_ms);
        if (ready < 0 && errno != EINTR) return RSL_ESYS;
        if (ready > 0 && polled[0].revents != 0) return RSL_OK;
        if (spent != RSL_OK) return spent;
    }
}

/* ---- telling the server to cancel ---- */

#ifndef RSL_NO_THREADS
/* PQcancel connects, and nothing limits how long; so it runs in a thread that can be left to
   itself. */
typedef struct rsl_postgres_canceller_ {
    pthread_t  thread;
    PGcancel  *cancel;
    rsl_lock_  lock;
    rsl_cond_  cond;
    bool       done; /* guarded by lock: the thread's last touch */
    bool       left; /* guarded by lock: nobody waits; the thread frees it */
} rsl_postgres_canceller_;

static void rsl_postgres_canceller_free_(rsl_postgres_canceller_ *c)
{
    PQfreeCancel(c->cancel);
    rsl_cond_deinit_(&c->cond);
    rsl_lock_deinit_(&c->lock);
    RSL_FREE(c);
}

/* A cancel may overtake the statement that it is for, and is forgotten then. Whoever waits sees
   that and tells again; left to itself, the thread does: nobody else uses that backend. */
static void *rsl_postgres_canceller_run_(void *arg)
{
    rsl_postgres_canceller_ *c = (rsl_postgres_canceller_ *)arg;
    char why[256];
    for (int told = 1;; told++) {
        PQcancel(c->cancel, why, (int)sizeof why);
        rsl_lock_take_(&c->lock);
        bool left = c->left;
        c->done = !left || told == 3;
        rsl_cond_signal_(&c->cond);
        bool done = c->done;
        rsl_lock_drop_(&c->lock);
        if (!left) return NULL;
        if (done) break;
        rsl_pause_(told == 1 ? RSL_MS(10) : RSL_MS(100));
    }
    rsl_postgres_canceller_free_(c);
    return NULL;
}

/* NULL when it cannot be told; then the caller waits in vain, and breaks the connection. */
static rsl_postgres_canceller_ *rsl_postgres_canceller_start_(PGconn *conn)
{
    rsl_postgres_canceller_ *c = (rsl_postgres_canceller_ *)RSL_MALLOC(sizeof *c);
    if (c == NULL) return NULL;
    memset(c, 0, sizeof *c);
    if (rsl_lock_init_(&c->lock) != RSL_OK) {
        RSL_FREE(c);
        return NULL;
    }
    if (rsl_cond_init_(&c->cond) != RSL_OK) {
        rsl_lock_deinit_(&c->lock);
        RSL_FREE(c);
        return NULL;
    }
    c->cancel = PQgetCancel(conn);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the program's */
    int error = pthread_create(&c->thread, NULL, rsl_postgres_canceller_run_, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) return c;
    rsl_postgres_canceller_free_(c);
    return NULL;
}

/* Waits until the server was told, no longer than the real time `until`. True: no cancel is under
   way any more, which could hit the connection's next statement. */
static bool rsl_postgres_canceller_end_(rsl_postgres_canceller_ *c, rsl_time until)
{
    if (c == NULL) return true;
    pthread_t thread = c->thread;
    rsl_lock_take_(&c->lock);
    while (!c->done && rsl_cond_wait_(&c->cond, &c->lock, until)) continue;
    bool done = c->done;
    c->left = !done;
    rsl_lock_drop_(&c->lock);
    if (!done) {
        pthread_detach(thread);
        return false;
    }
    pthread_join(thread, NULL);
    rsl_postgres_canceller_free_(c);
    return true;
}
#else
typedef struct rsl_postgres_canceller_ { int unused; } rsl_postgres_canceller_;
static rsl_postgres_canceller_ *rsl_postgres_canceller_start_(PGconn *conn)
{
    (void)conn;
    return NULL;
}
static bool rsl_postgres_canceller_end_(rsl_postgres_canceller_ *c, rsl_time until)
{
    (void)c, (void)until;
    return true;
}
#endif

/* ---- statements ---- */

/* One query on its way. */
typedef struct rsl_postgres_out_ {
    PGconn    *conn;
    PGresult  *result; /* the last success, or the first failure */
    int        code;   /* of the first failure */
    bool       ended;  /* the server is ready for the next */
    bool       lost;   /* no answer will come any more */
} rsl_postgres_out_;

/* Keeps one result of several: the first failure, else the latest success. */
static void rsl_postgres_take_(rsl_postgres_out_ *out, PGresult *result)
{
    int code = rsl_postgres_result(out->conn, result);
    ExecStatusType status = PQresultStatus(result);
    bool copies = status == PGRES_COPY_IN || status == PGRES_COPY_OUT ||
                  status == PGRES_COPY_BOTH;
    if (copies) code = RSL_EINVAL;
    if (copies || code == RSL_POSTGRES_LOST || rsl_postgres_is_fatal_(result)) out->lost = true;
    if (out->code != RSL_OK) {
        PQclear(result);
        return;
    }
    PQclear(out->result);
    out->result = result;
    out->code = code;
}

/* Sends what is still unsent, and takes results until the server is ready, nothing more will come,
   or the watch gives up: then its reason. */
static int rsl_postgres_drain_(rsl_postgres_out_ *out, rsl_postgres_watch_ *watch)
{
    PGconn *conn = out->conn;
    while (!out->ended && !out->lost) {
        int unsent = PQflush(conn);
        if (PQstatus(conn) != CONNECTION_OK || (unsent <= 0 && !PQisBusy(conn))) {
            PGresult *result = PQgetResult(conn);
            if (result == NULL) out->ended = true;
            else rsl_postgres_take_(out, result);
            continue;
        }
        short events = (short)(unsent > 0 ? POLLIN | POLLOUT : POLLIN);
        int stopped = rsl_postgres_watch_wait_(watch, PQsocket(conn), events);
        if (stopped != RSL_OK) return stopped;
        /* A failure is kept as the result that PQgetResult gives, after what came before it. */
        if (!PQconsumeInput(conn) && PQstatus(conn) == CONNECTION_OK) out->lost = true;
    }
    return RSL_OK;
}

/* Tells the server to stop and gives it cancel_timeout to say that it has. It is told again, for a
   cancel that overtakes its statement finds an idle backend, and is forgotten. */
static void rsl_postgres_stop_(rsl_postgres_out_ *out)
{
    const rsl_postgres_session_ *session = rsl_postgres_session_of_(out->conn);
    rsl_time end = rsl_within(session != NULL ? session->cancel_timeout : RSL_MS(100)).deadline;
    rsl_postgres_watch_ watch;
    rsl_postgres_watch_open_(&watch, &rsl_ctx_unlimited_);
    bool told = true;
    for (rsl_time pause = RSL_MS(10); told && !out->ended && !out->lost; pause *= 2) {
        rsl_postgres_canceller_ *canceller = rsl_postgres_canceller_start_(out->conn);
        watch.ctx.deadline = rsl_time_add_(rsl_now(), pause);
        if (end < watch.ctx.deadline) watch.ctx.deadline = end;
        rsl_postgres_drain_(out, &watch);
        told = rsl_postgres_canceller_end_(canceller, end);
        rsl_postgres_drain_(out, &watch); /* what came while it was told */
        if (rsl_now() >= end) break;
    }
    if (!told || !out->ended) rsl_postgres_break_(out->conn);
    rsl_postgres_watch_close_(&watch);
}

/* Whether a statement of the text may end a transaction: one of them begins with COMMIT, END or
   PREPARE. Texts in quotes are not told from statements; then it says so once too often, which is
   the safe side. */
static bool rsl_postgres_may_commit_(const char *sql)
{
    static const char *const words[] = {"COMMIT", "END", "PREPARE"};
    for (const char *at = sql; at != NULL; at = strchr(at, ';')) {
        at += strspn(at, "; \t\r\n\f\v");
        if (at[0] == '-' || at[0] == '/') return true; /* a comment: not read either */
        for (size_t i = 0; i < RSL_COUNT(words); i++) {
            size_t k = 0;
            while (words[i][k] != '\0' && (at[k] & ~0x20) == words[i][k]) k++;
            if (words[i][k] == '\0') return true;
        }
    }
    return false;
}

static int rsl_postgres_send_(PGconn *conn, const rsl_postgres_query *q)
{
    if (q->prepared != NULL)
        return PQsendQueryPrepared(conn, q->prepared, q->params_count, q->params, q->lengths,
                                   q->formats, q->result_format);
    if (q->params_count == 0 && q->result_format == 0) return PQsendQuery(conn, q->sql);
    return PQsendQueryParams(conn, q->sql, q->params_count, q->types, q->params, q->lengths,
                             q->formats, q->result_format);
}

/* Whether a statement may begin on conn: RSL_OK, or why not. */
static int rsl_postgres_ready_(PGconn *conn)
{
    if (rsl_postgres_is_cut_(conn)) return rsl_postgres_why_broken_(conn);
    if (PQtransactionStatus(conn) == PQTRANS_ACTIVE) return RSL_EINVAL;
#ifdef LIBPQ_HAS_PIPELINING
    if (PQpipelineStatus(conn) != PQ_PIPELINE_OFF) return RSL_EINVAL;
#endif
    return rsl_postgres_look_(conn);
}

/* What came of a query: `stopped` is why it was told to stop, or RSL_OK; `commits` whether it
   may have been committed if nobody said so. */
static int rsl_postgres_outcome_(const rsl_postgres_out_ *out, const rsl_ctx *ctx, int stopped,
                                 bool commits)
{
    PGconn *conn = out->conn;
    if (out->lost || !out->ended) {
        if (out->code == RSL_EINVAL) return RSL_EINVAL; /* COPY has done nothing yet */
        if (commits) return RSL_POSTGRES_UNKNOWN_OUTCOME;
        if (!out->lost) return stopped;
        return out->code != RSL_OK ? out->code : RSL_POSTGRES_LOST;
    }
    if (out->code == RSL_POSTGRES_QUERY_CANCELED) {
        if (stopped == RSL_OK) stopped = rsl_ctx_spent_(ctx, ctx->clock); /* the server's limit */
        if (stopped != RSL_OK) return stopped;
    }
    if (out->code == RSL_POSTGRES_CODE('2', '5', '0', '0', '6')) {
        const char *standby = PQparameterStatus(conn, "in_hot_standby");
        if (standby != NULL && strcmp(standby, "on") == 0) {
            rsl_postgres_break_(conn);
            return RSL_POSTGRES_STANDBY;
        }
    }
    return out->code;
}

/* The query is valid, the connection ready. tell: whether the server is told when the ctx is
   spent; else the connection is given up. */
static int rsl_postgres_run_(PGconn *conn, const rsl_ctx *ctx, const rsl_postgres_query *query,
                             PGresult **result, bool tell)
{
    rsl_postgres_watch_ watch;
    rsl_postgres_out_ out = {conn, NULL, RSL_OK, false, false};
    bool inside = PQtransactionStatus(conn) != PQTRANS_IDLE;
    bool commits = !query->changes_nothing && (!inside || rsl_postgres_may_commit_(query->sql));
    bool blocking = !PQisnonblocking(conn);
    int stopped = rsl_postgres_watch_open_(&watch, ctx);
    if (stopped != RSL_OK) return stopped;
    if (blocking) PQsetnonblocking(conn, 1);

    int code = rsl_postgres_send_(conn, query) ? RSL_OK : RSL_EINVAL;
    if (code != RSL_OK && PQtransactionStatus(conn) != PQTRANS_ACTIVE) {
        if (PQstatus(conn) != CONNECTION_OK) code = RSL_POSTGRES_LOST;
    } else {
        stopped = rsl_postgres_drain_(&out, &watch);
        rsl_postgres_watch_close_(&watch);
        if (stopped != RSL_OK && tell) rsl_postgres_stop_(&out);
        else if (!out.ended) rsl_postgres_break_(conn);
        code = rsl_postgres_outcome_(&out, ctx, stopped, commits);
    }
    rsl_postgres_watch_close_(&watch);
    if (blocking && !rsl_postgres_is_broken(conn)) PQsetnonblocking(conn, 0);

    if (code == RSL_OK && result != NULL) *result = out.result;
    else if (out.code != RSL_OK && query->error != NULL) *query->error = out.result;
    else PQclear(out.result);
    return code;
}

int rsl_postgres_run(PGconn *conn, const rsl_ctx *ctx, const rsl_postgres_query *query,
                     PGresult **result)
{
    if (conn == NULL || query == NULL || query->params_count < 0) return RSL_EINVAL;
    if ((query->sql == NULL) == (query->prepared == NULL)) return RSL_EINVAL;
    int saved = errno, cancelable = rsl_uncancelable_();
    ctx = rsl_ctx_or_unlimited_(ctx);
    int code = rsl_ctx_spent_(ctx, ctx->clock);
    if (code == RSL_OK) code = rsl_postgres_ready_(conn);
    if (code == RSL_OK) code = rsl_postgres_run_(conn, ctx, query, result, true);
    rsl_cancelable_(cancelable);
    if (code != RSL_ESYS) errno = saved;
    return code;
}

int rsl_postgres_exec(PGconn *conn, const rsl_ctx *ctx, const char *sql, PGresult **result)
{
    rsl_postgres_query query;
    memset(&query, 0, sizeof query);
    query.sql = sql;
    return rsl_postgres_run(conn, ctx, &query, result);
}

/* ---- transactions ---- */

/* A statement of the adapter's own, which commits nothing; if its time is up the connection is
   given up instead of telling the server. */
static int rsl_postgres_plainly_(PGconn *conn, const rsl_ctx *ctx, const char *sql)
{
    rsl_postgres_query query;
    memset(&query, 0, sizeof query);
    query.sql = sql;
    query.changes_nothing = true;
    int code = rsl_postgres_ready_(conn);
    return code == RSL_OK ? rsl_postgres_run_(conn, ctx, &query, NULL, false) : code;
}

static int rsl_postgres_begin_(PGconn *conn, const rsl_ctx *ctx, rsl_postgres_isolation isolation,
                               unsigned flags)
{
    static const char *const levels[] = {"", " ISOLATION LEVEL READ COMMITTED",
                                         " ISOLATION LEVEL REPEATABLE READ",
                                         " ISOLATION LEVEL SERIALIZABLE"};
    char limit[64] = "", sql[192];
    rsl_time left = rsl_left(ctx);
    if (left != RSL_FOREVER && rsl_clock_is_real_(ctx->clock)) {
        const rsl_postgres_session_ *session = rsl_postgres_session_of_(conn);
        int own = session != NULL ? session->statement_ms : 0;
        int ms = rsl_postgres_milliseconds_(left);
        if (own > 0 && own < ms) ms = own;
        (void)snprintf(limit, sizeof limit, "; SET LOCAL statement_timeout = %d", ms > 0 ? ms : 1);
    }
    (void)snprintf(sql, sizeof sql, "BEGIN%s%s%s%s", levels[isolation],
             flags & RSL_POSTGRES_READ_ONLY ? " READ ONLY" : "",
             flags & RSL_POSTGRES_DEFERRABLE ? " DEFERRABLE" : "", limit);
    return rsl_postgres_plainly_(conn, ctx, sql);
}

/* What became of a transaction whose function gave 0. */
static int rsl_postgres_commit_(PGconn *conn, const rsl_ctx *ctx)
{
    if (PQtransactionStatus(conn) == PQTRANS_INERROR)
        return RSL_POSTGRES_CODE('2', '5', 'P', '0', '2');
    if (PQtransactionStatus(conn) == PQTRANS_IDLE) return RSL_EINVAL; /* it was ended inside */
    return rsl_postgres_exec(conn, ctx, "COMMIT", NULL);
}

/* Leaves no transaction open: what cannot be rolled back in time is broken, and the server rolls
   back when it finds the connection closed. A spent ctx has cancel_timeout left for this. */
static void rsl_postgres_rollback_(PGconn *conn, const rsl_ctx *ctx)
{
    if (PQtransactionStatus(conn) == PQTRANS_ACTIVE && !rsl_postgres_is_cut_(conn)) {
        rsl_postgres_out_ out = {conn, NULL, RSL_OK, false, false};
        rsl_postgres_stop_(&out); /* a statement that fn left without reading its answer */
        PQclear(out.result);
    }
    PGTransactionStatusType status = PQtransactionStatus(conn);
    if (status == PQTRANS_IDLE) return;
    int code = RSL_EINVAL;
    if (status == PQTRANS_INTRANS || status == PQTRANS_INERROR) {
        const rsl_postgres_session_ *session = rsl_postgres_session_of_(conn);
        rsl_ctx late = rsl_within(session != NULL ? session->cancel_timeout : RSL_MS(100));
        bool spent = rsl_ctx_spent_(ctx, ctx->clock) != RSL_OK;
        code = rsl_postgres_plainly_(conn, spent ? &late : ctx, "ROLLBACK");
    }
    if (code != RSL_OK) rsl_postgres_break_(conn);
}

int rsl_postgres_transaction(PGconn *conn, const rsl_ctx *ctx, rsl_postgres_isolation isolation,
                             unsigned flags, rsl_postgres_fn fn, void *arg)
{
    const unsigned known = RSL_POSTGRES_READ_ONLY | RSL_POSTGRES_DEFERRABLE;
    if (conn == NULL || fn == NULL || (flags & ~known) != 0) return RSL_EINVAL;
    if ((unsigned)isolation > RSL_POSTGRES_SERIALIZABLE) return RSL_EINVAL;
    if ((flags & RSL_POSTGRES_DEFERRABLE) != 0 &&
        (isolation != RSL_POSTGRES_SERIALIZABLE || (flags & RSL_POSTGRES_READ_ONLY) == 0))
        return RSL_EINVAL;

    int saved = errno, cancelable = rsl_uncancelable_();
    ctx = rsl_ctx_or_unlimited_(ctx);
    int code = rsl_ctx_spent_(ctx, ctx->clock);
    if (code == RSL_OK) code = rsl_postgres_ready_(conn);
    bool idle = code == RSL_OK && PQtransactionStatus(conn) == PQTRANS_IDLE;
    if (code == RSL_OK && !idle) code = RSL_EINVAL;
    if (code == RSL_OK) code = rsl_postgres_begin_(conn, ctx, isolation, flags);
    if (code == RSL_OK) {
        rsl_cancelable_(cancelable);
        errno = saved;
        code = fn(ctx, conn, arg);
        saved = errno;
        cancelable = rsl_uncancelable_();
        if (code == RSL_OK) code = rsl_postgres_commit_(conn, ctx);
    }
    if (idle) rsl_postgres_rollback_(conn, ctx);
    rsl_cancelable_(cancelable);
    if (code != RSL_ESYS) errno = saved;
    return code;
}

#ifdef RSL_RETRY_H
int rsl_postgres_transact(rsl_retry *retry, PGconn *conn, const rsl_ctx *ctx,
                          rsl_postgres_isolation isolation, unsigned flags, rsl_postgres_fn fn,
                          void *arg)
{
    if (retry == NULL || conn == NULL || fn == NULL) return RSL_EINVAL;
    rsl_ctx inner = *rsl_ctx_or_unlimited_(ctx);
    inner.clock = rsl_clock_pick_(&inner, &retry->config_.clock);
    rsl_retry_state state;
    rsl_retry_begin(retry, &state, rsl_clock_now_(inner.clock));
    for (;;) {
        inner.attempt = state.attempt;
        int code = rsl_postgres_transaction(conn, &inner, isolation, flags, fn, arg);
        rsl_time now = rsl_clock_now_(inner.clock), delay;
        bool here = code == RSL_OK || (code != RSL_ETIMEOUT && !rsl_postgres_is_broken(conn) &&
                                       rsl_postgres_is_retryable(code, NULL));
        if (!here || !rsl_retry_next(retry, &state, &inner, code, now, &delay)) return code;
        rsl_time until = rsl_time_add_(now, delay);
        rsl_word_ park = 0;
        while (rsl_clock_now_(inner.clock) < until) {
            if (rsl_ctx_spent_(&inner, inner.clock) != RSL_OK) return code;
            rsl_ctx_sleep_(&inner, inner.clock, &park, until);
        }
    }
}
#endif

/* ---- connections ---- */

/* A conninfo string, as libpq tells it from a mere database name. */
static bool rsl_postgres_is_conninfo_(const char *text)
{
    return strchr(text, '=') != NULL || strncmp(text, "postgres://", 11) == 0 ||
           strncmp(text, "postgresql://", 13) == 0;
}

static bool rsl_postgres_span_ok_(rsl_time span, rsl_time least)
{
    return span >= least && (span <= RSL_MS(INT_MAX) || span == RSL_FOREVER);
}

const char *rsl_postgres_config_check(const rsl_postgres_config *config)
{
    if (config == NULL) return "config: must not be NULL";
    if (config->conninfo != NULL && rsl_postgres_is_conninfo_(config->conninfo)) {
        PQconninfoOption *options = PQconninfoParse(config->conninfo, NULL);
        if (options == NULL) return "conninfo: libpq cannot read it";
        PQconninfoFree(options);
    }
    if (!rsl_postgres_span_ok_(config->connect_timeout, 0))
        return "connect_timeout: must be 0..INT_MAX milliseconds or RSL_FOREVER";
    if (!rsl_postgres_span_ok_(config->statement_timeout, 0))
        return "statement_timeout: must be 0..INT_MAX milliseconds or RSL_FOREVER";
    if (!rsl_postgres_span_ok_(config->cancel_timeout, RSL_NONE))
        return "cancel_timeout: must be RSL_NONE, 0..INT_MAX milliseconds or RSL_FOREVER";
    if (!rsl_postgres_span_ok_(config->validate_timeout, 0))
        return "validate_timeout: must be 0..INT_MAX milliseconds or RSL_FOREVER";
    return NULL;
}

rsl_postgres_config rsl_postgres_config_resolve(const rsl_postgres_config *config)
{
    rsl_postgres_config c = *config;
    if (c.conninfo == NULL) c.conninfo = "";
    if (c.connect_timeout == 0) c.connect_timeout = RSL_SEC(10);
    if (c.cancel_timeout == 0) c.cancel_timeout = RSL_MS(100);
    else if (c.cancel_timeout == RSL_NONE) c.cancel_timeout = 0;
    if (c.validate_timeout == 0) c.validate_timeout = RSL_SEC(1);
    return c;
}

/* The value of an option: that of the conninfo, else the default that the environment or a
   service gives. Written to *value as a copy, to be freed; NULL where there is none. */
static int rsl_postgres_option_(const char *conninfo, const char *name, char **value)
{
    PQconninfoOption *given = NULL, *all[2] = {NULL, PQconndefaults()};
    if (rsl_postgres_is_conninfo_(conninfo)) given = PQconninfoParse(conninfo, NULL);
    all[0] = given;
    const char *found = NULL;
    for (int i = 0; i < 2 && found == NULL; i++) {
        for (PQconninfoOption *o = all[i]; o != NULL && o->keyword != NULL; o++) {
            if (strcmp(o->keyword, name) == 0) found = o->val;
        }
    }
    *value = NULL;
    int code = RSL_OK;
    if (found != NULL) {
        size_t size = strlen(found) + 1;
        *value = (char *)RSL_MALLOC(size);
        if (*value != NULL) memcpy(*value, found, size);
        else code = RSL_ENOMEM;
    }
    PQconninfoFree(all[0]);
    PQconninfoFree(all[1]);
    return code;
}

/* One of several hosts of a conninfo; all NULL: as the conninfo says. */
typedef struct rsl_postgres_host_ { const char *name, *address, *port; } rsl_postgres_host_;

/* Keywords and values for libpq, which heeds the last of each keyword. */
typedef struct rsl_postgres_words_ {
    const char *keywords[8], *values[8];
    size_t count;
} rsl_postgres_words_;

static void rsl_postgres_say_(rsl_postgres_words_ *words, const char *keyword, const char *value)
{
    if (value == NULL) return;
    words->keywords[words->count] = keyword;
    words->values[words->count++] = value;
}

/* Begins to connect, with a statement_timeout that RESET ALL comes back to. */
static int rsl_postgres_dial_(PGconn **conn, const rsl_postgres_config *config,
                              const rsl_postgres_host_ *host)
{
    char *options = NULL, *merged = NULL;
    if (config->statement_timeout != 0) {
        int code = rsl_postgres_option_(config->conninfo, "options", &options);
        if (code != RSL_OK) return code;
        size_t size = (options != NULL ? strlen(options) : 0) + 64;
        bool none = config->statement_timeout == RSL_FOREVER;
        merged = (char *)RSL_MALLOC(size);
        if (merged != NULL)
            (void)snprintf(merged, size, "%s -c statement_timeout=%d",
                           options != NULL ? options : "",
                           none ? 0 : rsl_postgres_milliseconds_(config->statement_timeout));
        RSL_FREE(options);
        if (merged == NULL) return RSL_ENOMEM;
    }
    rsl_postgres_words_ words;
    memset(&words, 0, sizeof words);
    rsl_postgres_say_(&words, "dbname", config->conninfo);
    rsl_postgres_say_(&words, "application_name", config->application_name);
    rsl_postgres_say_(&words, "options", merged);
    rsl_postgres_say_(&words, "host", host->name);
    rsl_postgres_say_(&words, "hostaddr", host->address);
    rsl_postgres_say_(&words, "port", host->port);
    *conn = PQconnectStartParams(words.keywords, words.values, 1);
    RSL_FREE(merged);
    return *conn != NULL ? RSL_OK : RSL_ENOMEM;
}

/* The config is valid. */
static int rsl_postgres_start_(PGconn **conn, const rsl_postgres_config *config,
                               const rsl_postgres_host_ *host)
{
    int saved = errno;
    rsl_postgres_config c = rsl_postgres_config_resolve(config);
    rsl_postgres_session_ *session = (rsl_postgres_session_ *)RSL_MALLOC(sizeof *session);
    if (session == NULL) return RSL_ENOMEM;
    memset(session, 0, sizeof *session);
    bool limited = c.statement_timeout != RSL_FOREVER;
    session->statement_ms = limited ? rsl_postgres_milliseconds_(c.statement_timeout) : 0;
    session->cancel_timeout = c.cancel_timeout;
    session->notice = c.notice;
    session->user = c.user;

    PGconn *begun = NULL;
    int code = rsl_postgres_dial_(&begun, &c, host);
    if (code == RSL_OK && !PQregisterEventProc(begun, rsl_postgres_on_event_, "resilience",
                                               session)) code = RSL_ENOMEM;
    if (code != RSL_OK) {
        PQfinish(begun);
        RSL_FREE(session);
        errno = saved;
        return code;
    }
    PQsetNoticeReceiver(begun, rsl_postgres_on_notice_, session);
    PQsetErrorVerbosity(begun, PQERRORS_VERBOSE); /* the message then holds the SQLSTATE */
    errno = saved;
    if (PQstatus(begun) == CONNECTION_BAD) return rsl_postgres_connect_finish(begun, config);
    *conn = begun;
    return RSL_OK;
}

int rsl_postgres_connect_start(PGconn **conn, const rsl_postgres_config *config)
{
    static const rsl_postgres_host_ any = {NULL, NULL, NULL};
    if (conn == NULL || rsl_postgres_config_check(config) != NULL) return RSL_EINVAL;
    return rsl_postgres_start_(conn, config, &any);
}

/* The code of a connect that failed. libpq hands out no SQLSTATE then, but writes it into the
   message: "FATAL:  53300: sorry, ...", the first word in the server's language. Of several
   addresses the last one's counts. */
static int rsl_postgres_refusal_(PGconn *conn)
{
    int code = RSL_POSTGRES_UNREACHABLE;
    for (const char *at = PQerrorMessage(conn); (at = strstr(at, ":  ")) != NULL; at++) {
        char state[6];
        size_t length = 0;
        while (length < 5 && rsl_postgres_is_state_char_(at[3 + length])) length++;
        if (length < 5 || at[8] != ':') continue;
        memcpy(state, at + 3, 5);
        state[5] = '\0';
        code = rsl_postgres_code(state);
    }
    bool unsaid = code == RSL_POSTGRES_UNREACHABLE && PQconnectionNeedsPassword(conn);
    return unsaid ? RSL_POSTGRES_CODE('2', '8', 'P', '0', '1') : code;
}

static int rsl_postgres_fail_(PGconn *conn, const rsl_postgres_config *config, int code)
{
    const char *message = PQerrorMessage(conn);
    if (message == NULL || *message == '\0') message = rsl_strerror(code);
    if (config->failed != NULL) config->failed(config->user, code, message);
    rsl_postgres_close(conn);
    return code;
}

int rsl_postgres_connect_finish(PGconn *conn, const rsl_postgres_config *config)
{
    if (conn == NULL || config == NULL) return RSL_EINVAL;
    if (PQstatus(conn) != CONNECTION_OK)
        return rsl_postgres_fail_(conn, config, rsl_postgres_refusal_(conn));
    PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
    return RSL_OK;
}

/* Drives a connect that was started to its end; RSL_OK when libpq has decided. */
static int rsl_postgres_await_(PGconn *conn, const rsl_ctx *ctx)
{
    rsl_postgres_watch_ watch;
    int code = rsl_postgres_watch_open_(&watch, ctx);
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (code == RSL_OK && (next == PGRES_POLLING_WRITING || next == PGRES_POLLING_READING)) {
        short events = next == PGRES_POLLING_WRITING ? POLLOUT : POLLIN;
        code = rsl_postgres_watch_wait_(&watch, PQsocket(conn), events);
        if (code == RSL_OK) next = PQconnectPoll(conn);
    }
    rsl_postgres_watch_close_(&watch);
    return code;
}

/* One host, or whatever libpq makes of the conninfo. */
static int rsl_postgres_connect_one_(PGconn **conn, const rsl_ctx *ctx,
                                     const rsl_postgres_config *config,
                                     const rsl_postgres_host_ *host)
{
    PGconn *begun = NULL;
    int code = rsl_postgres_start_(&begun, config, host);
    if (code != RSL_OK) return code;
    code = rsl_postgres_await_(begun, ctx);
    int error = errno;
    if (code != RSL_OK) rsl_postgres_fail_(begun, config, code);
    else code = rsl_postgres_connect_finish(begun, config);
    errno = error;
    if (code == RSL_OK) *conn = begun;
    return code;
}

/* The hosts of a conninfo that names several, as lists that are eaten up from the left. */
typedef struct rsl_postgres_hosts_ {
    char *lists[3]; /* names, addresses, ports; NULL: none are given */
    char *rest[3];  /* of lists with several elements: those not yet taken */
    int   count;    /* 0: not to be taken apart */
} rsl_postgres_hosts_;

/* How many elements a list has; 0: none, or one that is empty. */
static int rsl_postgres_elements_(const char *list)
{
    int count = 0;
    for (const char *at = list; at != NULL; count++) {
        if (*at == ',' || *at == '\0') return 0;
        at = strchr(at, ',');
        if (at != NULL) at++;
    }
    return count;
}

/* libpq tries hosts one after another, and has no way to be told to go on to the next: one that
   is silent would use up the time of all. So each is connected to by itself; but not where libpq
   must know of all (prefer-standby), nor where lists do not match, which it then says. */
static int rsl_postgres_hosts_get_(rsl_postgres_hosts_ *hosts, const char *conninfo)
{
    static const char *const options[] = {"host", "hostaddr", "port"};
    memset(hosts, 0, sizeof *hosts);
    if (!rsl_postgres_is_conninfo_(conninfo) || strchr(conninfo, ',') == NULL) return RSL_OK;
    int code = RSL_OK, counts[3] = {0, 0, 0};
    bool matched = true;
    for (int i = 0; i < 3 && code == RSL_OK; i++) {
        code = rsl_postgres_option_(conninfo, options[i], &hosts->lists[i]);
        counts[i] = rsl_postgres_elements_(hosts->lists[i]);
        if (counts[i] > 1) hosts->rest[i] = hosts->lists[i];
        if (hosts->lists[i] == NULL) continue;
        if (i < 2 && hosts->count == 0) hosts->count = counts[i];
        if (counts[i] != hosts->count && !(i == 2 && counts[i] == 1)) matched = false;
    }
    char *session = NULL;
    if (code == RSL_OK)
        code = rsl_postgres_option_(conninfo, "target_session_attrs", &session);
    if (!matched || (session != NULL && strcmp(session, "prefer-standby") == 0)) hosts->count = 0;
    RSL_FREE(session);
    return code;
}

/* The next element; a list of one serves all. */
static const char *rsl_postgres_hosts_next_(rsl_postgres_hosts_ *hosts, int list)
{
    char *element = hosts->rest[list];
    if (element == NULL) return hosts->lists[list];
    char *comma = strchr(element, ',');
    if (comma != NULL) *comma = '\0';
    hosts->rest[list] = comma != NULL ? comma + 1 : NULL;
    return element;
}

/* Each host gets its share of the time that is left; a refusal that the next host would repeat
   ends it. */
static int rsl_postgres_connect_any_(PGconn **conn, const rsl_ctx *ctx,
                                     const rsl_postgres_config *config,
                                     rsl_postgres_hosts_ *hosts)
{
    int code = RSL_POSTGRES_UNREACHABLE;
    for (int i = 0; i < hosts->count; i++) {
        rsl_postgres_host_ host = {rsl_postgres_hosts_next_(hosts, 0),
                                   rsl_postgres_hosts_next_(hosts, 1),
                                   rsl_postgres_hosts_next_(hosts, 2)};
        rsl_time left = rsl_left(ctx);
        rsl_ctx share = *ctx;
        if (left != RSL_FOREVER) share.deadline = ctx->deadline - left + left / (hosts->count - i);
        code = rsl_postgres_connect_one_(conn, &share, config, &host);
        bool next = code == RSL_ETIMEOUT || rsl_postgres_classify(code) == RSL_POSTGRES_RETRY;
        if (!next || rsl_ctx_spent_(ctx, ctx->clock) != RSL_OK) break;
    }
    return code;
}

int rsl_postgres_connect(PGconn **conn, const rsl_ctx *ctx, const rsl_postgres_config *config)
{
    static const rsl_postgres_host_ any = {NULL, NULL, NULL};
    if (conn == NULL || rsl_postgres_config_check(config) != NULL) return RSL_EINVAL;
    int saved = errno, cancelable = rsl_uncancelable_();
    rsl_postgres_config c = rsl_postgres_config_resolve(config);
    rsl_ctx limited = *rsl_ctx_or_unlimited_(ctx);
    rsl_time own = rsl_time_add_(rsl_clock_now_(limited.clock), c.connect_timeout);
    if (limited.deadline == 0 || own < limited.deadline) limited.deadline = own;

    int code = rsl_ctx_spent_(&limited, limited.clock);
    if (code == RSL_OK) {
        rsl_postgres_hosts_ hosts;
        code = rsl_postgres_hosts_get_(&hosts, c.conninfo);
        if (code == RSL_OK && hosts.count > 1)
            code = rsl_postgres_connect_any_(conn, &limited, config, &hosts);
        else if (code == RSL_OK)
            code = rsl_postgres_connect_one_(conn, &limited, config, &any);
        int error = errno;
        for (int i = 0; i < 3; i++) RSL_FREE(hosts.lists[i]);
        errno = error;
    }
    rsl_cancelable_(cancelable);
    if (code != RSL_ESYS) errno = saved;
    return code;
}

void rsl_postgres_close(PGconn *conn)
{
    if (conn == NULL) return;
    int saved = errno;
    bool out = PQtransactionStatus(conn) == PQTRANS_ACTIVE && !rsl_postgres_is_cut_(conn);
    if (out) rsl_postgres_canceller_end_(rsl_postgres_canceller_start_(conn), 0);
    /* Else libpq would send its farewell after what the socket does not take, and wait. */
    if (rsl_postgres_is_broken(conn) && PQsocket(conn) >= 0) shutdown(PQsocket(conn), SHUT_RDWR);
    PQfinish(conn);
    errno = saved;
}

int rsl_postgres_create(void *user, const rsl_ctx *ctx, void **resource)
{
    if (resource == NULL) return RSL_EINVAL;
    PGconn *conn;
    int code = rsl_postgres_connect(&conn, ctx, (const rsl_postgres_config *)user);
    if (code == RSL_OK) *resource = conn;
    return code;
}

void rsl_postgres_destroy(void *user, void *resource)
{
    (void)user;
    rsl_postgres_close((PGconn *)resource);
}

/* The limit of validate and reset. */
static rsl_ctx rsl_postgres_brief_(const void *user)
{
    const rsl_postgres_config *config = (const rsl_postgres_config *)user;
    return rsl_within(config != NULL ? rsl_postgres_config_resolve(config).validate_timeout
                                     : RSL_SEC(1));
}

int rsl_postgres_validate(void *user, void *resource)
{
    PGconn *conn = (PGconn *)resource;
    if (conn == NULL) return RSL_EINVAL;
    int saved = errno, cancelable = rsl_uncancelable_();
    rsl_ctx ctx = rsl_postgres_brief_(user);
    int code = rsl_postgres_ready_(conn);
    if (code == RSL_OK && PQtransactionStatus(conn) != PQTRANS_IDLE) code = RSL_EINVAL;
    if (code == RSL_OK) code = rsl_postgres_plainly_(conn, &ctx, "");
    rsl_cancelable_(cancelable);
    errno = saved;
    return code;
}

int rsl_postgres_reset(void *user, void *resource)
{
    PGconn *conn = (PGconn *)resource;
    if (conn == NULL) return RSL_EINVAL;
    int saved = errno, cancelable = rsl_uncancelable_();
    const rsl_postgres_config *config = (const rsl_postgres_config *)user;
    rsl_postgres_session_ *session = rsl_postgres_session_of_(conn);
    rsl_ctx ctx = rsl_postgres_brief_(user);
    int code = rsl_postgres_ready_(conn);
    if (code == RSL_OK && PQtransactionStatus(conn) != PQTRANS_IDLE)
        code = rsl_postgres_plainly_(conn, &ctx, "ROLLBACK");
    if (code == RSL_OK && (config == NULL || !config->keep_session))
        code = rsl_postgres_plainly_(conn, &ctx, "DISCARD ALL");
    if (code == RSL_OK) {
        PQsetnonblocking(conn, 0);
        if (session != NULL) PQsetNoticeReceiver(conn, rsl_postgres_on_notice_, session);
    }
    rsl_cancelable_(cancelable);
    errno = saved;
    return code;
}

void rsl_postgres_abandon(void *user, void *resource)
{
    (void)user;
    PGconn *conn = (PGconn *)resource;
    int saved = errno;
    if (conn != NULL && PQsocket(conn) >= 0) close(PQsocket(conn));
    errno = saved;
}
#endif /* RSL_POSTGRES_IMPLEMENTATION */

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
