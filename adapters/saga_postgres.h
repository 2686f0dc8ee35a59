/* saga_postgres.h -- sagas in PostgreSQL: a store for saga.h that any number of hosts share, and
   the barrier that a participant's transaction passes, so that each action and each compensation
   has its effect once, whatever is repeated, late, or sent for nothing.

       #define RSL_SAGA_IMPLEMENTATION      in one C file; needs libpq 12 or newer: -lpq and
       #include "saga.h"                    $(pkg-config --cflags libpq); PostgreSQL 13 or newer
       #define RSL_POSTGRES_IMPLEMENTATION
       #define RSL_SAGA_POSTGRES_IMPLEMENTATION
       #include "adapters/saga_postgres.h"

       rsl_saga_postgres_config where = {.conninfo = "host=db dbname=shop"};
       rsl_saga_store store;
       rsl_saga_postgres_open(&store, &where);
       rsl_sagas_config config = {.store = &store};
       rsl_sagas_open(&sagas, &config);                the same on each host

       static int charge_fn(const rsl_ctx *ctx, PGconn *conn, void *key)    a participant
       {
           rsl_saga_turn turn;
           int code = rsl_saga_postgres_barrier(conn, key, &turn);
           if (code != RSL_OK) return code;
           if (turn == RSL_SAGA_LATE) return LATE;      rolled back: it is to say FAIL
           if (turn == RSL_SAGA_AGAIN) return RSL_OK;   it was done; nothing is done twice
           return rsl_postgres_exec(conn, ctx, "UPDATE accounts ...", NULL);
       }
       rsl_postgres_transaction(conn, &ctx, RSL_POSTGRES_DEFAULT_ISOLATION, 0, charge_fn, key);

   The tables, "rsl_" being the prefix:

       rsl_meta      one row: the version of the tables, and the store's uuid
       rsl_sagas     a row each: id, key, definition, state; epoch, lease_until, owner; cancel
       rsl_records   the logs: (saga, number), epoch, state, data

   Who owns a saga: the epoch in its row is the fencing token. A claim raises it, and every append
   compares it, in the same statement and under a lock that excludes claims: what an owner appends
   is stored as long as nobody has claimed the saga since, and never after. The lease only says
   when others may claim. All its times are of the database's clock. The owner has to stop by its
   own clock, counting from before the call that gave the lease.

   The locks of a row, in their order of strength, and who takes them:

       FOR KEY SHARE      append: keeps out claims, and nothing else
       FOR NO KEY UPDATE  renew, cancel, and append where the saga's state changes; by ascending id
       FOR UPDATE         claim, compact: they pass over what is locked (SKIP LOCKED); the claim of
                          one certain saga waits, and holds no other lock then

   So renew does not wait for an append, but for one that ends or turns the same saga; and nobody
   waits in a circle.

   Every statement may be repeated: append knows its records by saga, number and epoch, begin and
   claim mark what they take with a token of the call. Whatever became of a connection, and of a
   COMMIT that nobody answered, it is made anew and the statement sent again.

   Options: RSL_STATIC makes private copies; RSL_API, as for the other headers. */
#ifndef RSL_SAGA_POSTGRES_H
#define RSL_SAGA_POSTGRES_H

#ifndef RSL_SAGA_H
#include "saga.h"
#endif
#ifndef RSL_POSTGRES_H
#include "postgres.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the store ---- */

typedef struct rsl_saga_postgres_config {
    const char *conninfo;          /* "host=db dbname=shop", or a URI; what it leaves out comes
                                      from PGHOST and the like (""). Not a pooler's that gives
                                      each transaction another session */
    const char *application_name;  /* as pg_stat_activity shows it (that of conninfo) */
    const char *prefix;            /* of the tables' names: a-z, 0-9, _; a schema and a dot may
                                      stand before it: "shop.saga_"; at most 40 bytes ("rsl_") */
    const char *owner;             /* this host, for people who look into the tables; printable
                                      ASCII, at most 100 bytes (host name and process id) */
    rsl_time    retry_for;         /* how long a call repeats what failed, and waits for the
                                      server to come back; then RSL_EIO. 10 ms to 1 h (5 s) */
    rsl_time    append_for;        /* the same for append and compact: better longer than the
                                      server may be away, for a step whose outcome cannot be
                                      recorded is in doubt. What comes late is refused if the saga
                                      is another's by then. 10 ms to 1 h (1 min, or retry_for if
                                      that is more) */
    rsl_time    connect_timeout;   /* longest time to connect once (2 s, or retry_for) */
    rsl_time    statement_timeout; /* longest time of one statement; then the server ends it, and
                                      it is repeated (2 s, or retry_for) */
    uint32_t    connections;       /* for all but append and renew, which have one each; made when
                                      needed; 1..64 (4) */
    void      (*failed)(void *user, int code, const char *message); /* told of each try that
                                      failed, in the server's words or libpq's, from the thread
                                      that tried; code: as of adapters/postgres.h (none) */
    void       *user;              /* for failed */
} rsl_saga_postgres_config;

/* NULL when rsl_saga_postgres_open would take the config, else the field and the reason. It says
   nothing of whether there is such a server. Allocates to parse the conninfo; does not block.
   NULL: "config: must not be NULL". */
RSL_API const char *rsl_saga_postgres_config_check(const rsl_saga_postgres_config *config);

/* The values in force; owner stays NULL where it is. Pure. config: not NULL. */
RSL_API rsl_saga_postgres_config
rsl_saga_postgres_config_resolve(const rsl_saga_postgres_config *config);

/* Fills *store with a shared store for rsl_sagas_config.store; store->close frees it, and must be
   called: rsl_sagas_open that took it does so. Nothing is connected before store->open, which
   makes the tables where there are none. The config is copied. RSL_EINVAL: NULL, or
   rsl_saga_postgres_config_check has a reason; RSL_ENOMEM, RSL_ESYS: *store is unchanged. Does not
   block.

   Of the store's functions, this is to be known beyond what saga.h says:
   - All but open and close may be called by any number of threads at once. Each blocks for
     retry_for at most, append and compact for append_for, claim and renew for claim_for if that is
     less; and 100 ms more when a statement is out then, to stop it. RSL_EIO: it did not succeed by
     then; or, at once, what trying again cannot change: a full disk, missing rights, wrong SQL.
     RSL_ENOMEM where it occurs. None of it puts the store out of use: the next call tries anew,
     and append that ended with RSL_EIO may be called again with the same records.
   - open: RSL_EINVAL: the tables are of a newer version. Several hosts may open at once on an
     empty database. epoch and next_id are 0, salvage is of no effect.
   - append: RSL_OK as well for records that are stored, though their saga is another's by now.
     RSL_ECORRUPT: a record of that number is there, of an earlier owner: the caller has not read
     the whole log. The server's success counts only if it has waited for the standbys that it is
     configured to wait for. More than 512 records or 8 MiB are several transactions, in order.
   - begin: gives epoch 1. claim_for 0: owned by nobody.
   - claim: by ascending id. A saga that somebody is appending to is passed over; so is, after a
     try that was cut off, what that try is still about to claim: it is free when the lease ends.
   - renew: a saga that is not claimed yet may be renewed though its lease has passed. One that is
     parked is only if it was claimed while it was.
   - cancel: RSL_OK for ended sagas too.
   - list: writes id, state, def, key and epoch; the rest is not the store's and 0. Without a lock
     on anything while visit runs.
   - compact: also forgets the keys of what it drops; at most 4096 sagas in one call, the oldest
     first. */
RSL_API int rsl_saga_postgres_open(rsl_saga_store *store, const rsl_saga_postgres_config *config);

/* ---- the barrier ---- */

/* Makes the table rsl_saga_barrier, in the first schema of the search_path, unless it is there.
   By any number at once. In a transaction it is part of that. Returns RSL_OK or a code as
   rsl_postgres_run does; RSL_EINVAL: NULL. Blocks. */
RSL_API int rsl_saga_postgres_barrier_create(PGconn *conn);

/* Says what a step's call is to do, and notes that it came: in the participant's transaction,
   before anything else, so that note and effect are committed or undone together. key: that of
   the call, rsl_step_key(); *turn is written on RSL_OK.

       action         came before: AGAIN; its compensation did: LATE; neither: FIRST
       compensation   came before: AGAIN; its action did: FIRST; neither: EMPTY, also when repeated

   While a transaction that got the same key, or its counterpart, is open, it waits for its end:
   no longer than the transaction's statement_timeout, which rsl_postgres_transaction sets by the
   ctx's deadline. In READ COMMITTED it then goes by what that one left; in REPEATABLE READ and
   SERIALIZABLE, if that committed, it is 40001: run the transaction again. Each savepoint's round
   has keys, and places, of its own. A process that is frozen in an open transaction would hold up
   its successor: have the server end those (idle_in_transaction_session_timeout).
   Returns RSL_OK; RSL_EINVAL: NULL, not such a key, or no transaction is open; else a code as
   rsl_postgres_run: return it from the transaction's function. One round trip, two if there was
   something before. Call it from the thread that uses conn. Source of the idea: the barrier for
   sub-transactions of Seata's TCC fence and DTM. */
RSL_API int rsl_saga_postgres_barrier(PGconn *conn, const char *key, rsl_saga_turn *turn);

/* Forgets the sagas of which nothing has come for longer than age, by the database's clock; what
   comes of them later counts as the first. So age (positive) is more than any saga may last,
   parked ones too. Returns RSL_OK, RSL_EINVAL, or a code as rsl_postgres_run. Inside a transaction
   or not; reads the whole table. */
RSL_API int rsl_saga_postgres_barrier_forget(PGconn *conn, rsl_time age);

#ifdef __cplusplus
}
#endif
#endif /* RSL_SAGA_POSTGRES_H */

/* ==== implementation ==== */

#if (defined RSL_SAGA_POSTGRES_IMPLEMENTATION || defined RSL_STATIC) && \
    !defined RSL_SAGA_POSTGRES_IMPLEMENTED_
#define RSL_SAGA_POSTGRES_IMPLEMENTED_
#ifdef __cplusplus
#error "resilience: implement adapters/saga_postgres.h in a C file; C++ files only include it"
#endif
#ifdef _WIN32
#error "resilience: adapters/saga_postgres.h needs POSIX, as adapters/postgres.h does"
#endif
#ifndef RSL_CORE_IMPLEMENTED_
#error "resilience: implement adapters/saga_postgres.h in a file that implements saga.h before it"
#endif
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- SQL. An @ stands for the prefix: @sagas is rsl_sagas, or "shop".rsl_sagas; a # for that of
   an index, which has no schema. Numbers come as bigint and in binary, as all results do. ---- */

enum { RSL_SAGA_PG_VERSION_ = 1 };

/* A row of @sagas is small and often updated in place, so it is left room; none of its indexes
   holds what renew changes. `ended` is compact's, `live` is claim's. Keys and names are bytes, for
   they may be no text of the database's encoding. */
static const char rsl_saga_pg_schema_[] =
    "SELECT pg_advisory_xact_lock(8246126457041937265);"
    "SELECT set_config('client_min_messages', 'warning', true);"
    "CREATE TABLE IF NOT EXISTS @meta ("
    " one boolean PRIMARY KEY DEFAULT true CHECK (one),"
    " version int NOT NULL,"
    " uuid uuid NOT NULL);"
    "CREATE TABLE IF NOT EXISTS @sagas ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " key bytea NOT NULL UNIQUE,"
    " def bytea NOT NULL,"
    " state smallint NOT NULL,"
    " epoch bigint NOT NULL,"
    " lease_until timestamptz,"
    " owner text NOT NULL,"
    " token text NOT NULL,"
    " cancel boolean NOT NULL DEFAULT false,"
    " begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),"
    " ended_at timestamptz) WITH (fillfactor = 70);"
    "CREATE INDEX IF NOT EXISTS #sagas_live ON @sagas (id) WHERE state < 2;"
    "CREATE INDEX IF NOT EXISTS #sagas_ended ON @sagas (ended_at, id)"
    " WHERE ended_at IS NOT NULL;"
    "CREATE TABLE IF NOT EXISTS @records ("
    " saga bigint NOT NULL,"
    " number int NOT NULL,"
    " epoch bigint NOT NULL,"
    " state smallint NOT NULL,"
    " data bytea NOT NULL,"
    " PRIMARY KEY (saga, number));"
    "INSERT INTO @meta (version, uuid) VALUES (1, gen_random_uuid()) ON CONFLICT DO NOTHING";

/* What every statement here counts on. Each goes through the index of a table, in its order, for
   one row after another: such a plan is made once, as making it takes longer than following it,
   and stays right when a table that was empty has grown. They rely on READ COMMITTED, in which a
   row that was waited for is read anew. A server, database or user may have other defaults. */
static const char rsl_saga_pg_session_[] =
    "SET default_transaction_isolation = 'read committed';"
    "SET plan_cache_mode = force_generic_plan; SET jit = off;"
    "SET enable_seqscan = off; SET enable_bitmapscan = off;"
    "SET enable_hashjoin = off; SET enable_mergejoin = off;"
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'";

static const char rsl_saga_pg_is_there_[] = "SELECT to_regclass('@meta') IS NOT NULL";

static const char rsl_saga_pg_opening_[] =
    "SELECT version, uuid, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
    " gen_random_uuid() FROM @meta";

enum {
    RSL_SAGA_PG_APPEND_, RSL_SAGA_PG_STORED_, RSL_SAGA_PG_BEGIN_, RSL_SAGA_PG_CLAIM_,
    RSL_SAGA_PG_CLAIM_ONE_, RSL_SAGA_PG_RENEW_, RSL_SAGA_PG_CANCEL_, RSL_SAGA_PG_LIST_,
    RSL_SAGA_PG_LOAD_, RSL_SAGA_PG_OLDEST_, RSL_SAGA_PG_DROP_, RSL_SAGA_PG_STATEMENTS_
};

typedef struct rsl_saga_pg_sql_ {
    const char *name;  /* of the prepared statement */
    const char *types; /* of its parameters */
    bool        reads;
    const char *text;
} rsl_saga_pg_sql_;

#define RSL_SAGA_PG_LEASE_(us) \
    "CASE WHEN " us " > 0 THEN clock_timestamp() + " us " * interval '1 microsecond' END"
#define RSL_SAGA_PG_FREE_(token) \
    "(lease_until IS NULL OR lease_until <= clock_timestamp() OR token = " token ")"
#define RSL_SAGA_PG_TAKE_(us, owner, token) \
    " taken AS (UPDATE @sagas s SET epoch = epoch + 1, lease_until = " RSL_SAGA_PG_LEASE_(us) ","\
    "  owner = " owner ", token = " token " FROM free WHERE s.id = free.id" \
    "  RETURNING s.id, s.epoch, s.cancel)" \
    " SELECT id, epoch, cancel FROM taken ORDER BY id"

static const rsl_saga_pg_sql_ rsl_saga_pg_sqls_[RSL_SAGA_PG_STATEMENTS_] = {
    /* The first locks are taken in any order, for who waits for them holds none. A record that is
       there already is passed over, after waiting for the transaction that is storing it. The
       state is that of the last record. How many are new comes back. */
    [RSL_SAGA_PG_APPEND_] = {"rsl_saga_append", "bigint[], int[], bigint[], smallint[], bytea[]",
        false,
        "WITH held AS MATERIALIZED ("
        "  SELECT r.* FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY"
        "   AS r(saga, number, epoch, state, data, place)"
        "   JOIN @sagas s ON s.id = r.saga AND s.epoch = r.epoch FOR KEY SHARE OF s),"
        " stored AS ("
        "  INSERT INTO @records (saga, number, epoch, state, data)"
        "  SELECT saga, number, epoch, state, data FROM held ORDER BY place"
        "  ON CONFLICT (saga, number) DO NOTHING RETURNING saga, number, state),"
        " last AS MATERIALIZED ("
        "  SELECT DISTINCT ON (saga) saga, state FROM stored ORDER BY saga, number DESC),"
        " turned AS MATERIALIZED ("
        "  SELECT s.id, l.state FROM last l JOIN @sagas s ON s.id = l.saga"
        "   WHERE s.state <> l.state ORDER BY s.id FOR NO KEY UPDATE OF s),"
        " moved AS ("
        "  UPDATE @sagas s SET state = t.state,"
        "   lease_until = CASE WHEN t.state < 2 THEN s.lease_until END,"
        "   ended_at = CASE WHEN t.state IN (2, 3, 5) THEN clock_timestamp() END"
        "   FROM turned t WHERE s.id = t.id)"
        " SELECT count(*) FROM stored"},
    /* Of records that were not all new: which are stored, and which numbers have others taken. A
       statement of its own, for it has to see what was committed meanwhile. */
    [RSL_SAGA_PG_STORED_] = {"rsl_saga_stored", "bigint[], int[], bigint[]", true,
        "SELECT r.place, coalesce(k.epoch = r.epoch, false),"
        " k.epoch IS NOT NULL AND coalesce(s.epoch = r.epoch, false)"
        " FROM unnest($1, $2, $3) WITH ORDINALITY AS r(saga, number, epoch, place)"
        " LEFT JOIN @sagas s ON s.id = r.saga"
        " LEFT JOIN @records k ON k.saga = r.saga AND k.number = r.number ORDER BY r.place"},
    /* No row when another transaction has just committed the key: this statement does not see it
       yet, the next will. */
    [RSL_SAGA_PG_BEGIN_] = {"rsl_saga_begin",
        "bytea, bytea, bigint, bigint, text, text, bigint, bytea", false,
        "WITH made AS ("
        "  INSERT INTO @sagas (key, def, state, epoch, lease_until, owner, token)"
        "  VALUES ($1, $2, $3::smallint, 1, " RSL_SAGA_PG_LEASE_("$4") ", $5, $6)"
        "  ON CONFLICT (key) DO NOTHING RETURNING id),"
        " first AS ("
        "  INSERT INTO @records (saga, number, epoch, state, data)"
        "  SELECT id, $7::int, 1, $3::smallint, $8 FROM made)"
        " SELECT id, true FROM made UNION ALL"
        " SELECT id, token = $6 FROM @sagas WHERE key = $1"},
    [RSL_SAGA_PG_CLAIM_] = {"rsl_saga_claim", "bytea[], bigint, bigint, text, text", false,
        "WITH free AS MATERIALIZED ("
        "  SELECT id FROM @sagas WHERE state < 2 AND " RSL_SAGA_PG_FREE_("$5")
        "   AND def = ANY ($1) ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED),"
        RSL_SAGA_PG_TAKE_("$3", "$4", "$5")},
    [RSL_SAGA_PG_CLAIM_ONE_] = {"rsl_saga_claim_one", "bigint, bigint, text, text", false,
        "WITH free AS MATERIALIZED ("
        "  SELECT id FROM @sagas WHERE id = $1 AND (state < 2 OR state = 4)"
        "   AND " RSL_SAGA_PG_FREE_("$4") " FOR UPDATE),"
        RSL_SAGA_PG_TAKE_("$2", "$3", "$4")},
    [RSL_SAGA_PG_RENEW_] = {"rsl_saga_renew", "bigint[], bigint[], bigint", false,
        "WITH mine AS MATERIALIZED ("
        "  SELECT s.id, c.place FROM unnest($1, $2) WITH ORDINALITY AS c(saga, epoch, place)"
        "   JOIN @sagas s ON s.id = c.saga AND s.epoch = c.epoch"
        "   ORDER BY s.id FOR NO KEY UPDATE OF s)"
        " UPDATE @sagas s SET lease_until = CASE"
        "   WHEN state < 2 OR (state = 4 AND lease_until IS NOT NULL)"
        "   THEN " RSL_SAGA_PG_LEASE_("$3") " END"
        "  FROM mine WHERE s.id = mine.id RETURNING mine.place, s.cancel"},
    [RSL_SAGA_PG_CANCEL_] = {"rsl_saga_cancel", "bigint", false,
        "UPDATE @sagas SET cancel = true WHERE id = $1 RETURNING id"},
    [RSL_SAGA_PG_LIST_] = {"rsl_saga_list", "bigint, bigint, bigint, bigint", true,
        "SELECT id, state, epoch, def, key FROM @sagas"
        " WHERE id > $1 AND id <= $2 AND ($3 >> state) & 1 = 1 ORDER BY id LIMIT $4"},
    /* A page is 256 records, or as many as begin within the first 4 MiB. */
    [RSL_SAGA_PG_LOAD_] = {"rsl_saga_load", "bigint, bigint, bigint, bigint", true,
        "SELECT number, epoch, state, data FROM ("
        "  SELECT *, sum(octet_length(data)) OVER (ORDER BY number) - octet_length(data) AS before"
        "  FROM (SELECT * FROM @records WHERE saga = $1 AND number > $2"
        "   ORDER BY number LIMIT $3) AS page) AS sums"
        " WHERE before < $4 ORDER BY number"},
    [RSL_SAGA_PG_OLDEST_] = {"rsl_saga_oldest", "bigint", true,
        "SELECT ended_at, id FROM @sagas WHERE ended_at IS NOT NULL"
        " ORDER BY ended_at DESC, id DESC OFFSET $1 LIMIT 1"},
    [RSL_SAGA_PG_DROP_] = {"rsl_saga_drop", "timestamptz, bigint, bigint", false,
        "WITH old AS MATERIALIZED ("
        "  SELECT id FROM @sagas WHERE ended_at IS NOT NULL AND (ended_at, id) <= ($1, $2)"
        "   ORDER BY ended_at, id LIMIT $3 FOR UPDATE SKIP LOCKED),"
        " logs AS (DELETE FROM @records r USING old WHERE r.saga = old.id),"
        " gone AS (DELETE FROM @sagas s USING old WHERE s.id = old.id RETURNING s.id)"
        " SELECT count(*) FROM gone"},
};

/* ---- a store ---- */

enum {
    RSL_SAGA_PG_PREFIX_MAX_ = 40,
    RSL_SAGA_PG_OWNER_MAX_ = 100,
    RSL_SAGA_PG_CHUNK_RECORDS_ = 512,    /* of one append */
    RSL_SAGA_PG_CHUNK_BYTES_ = 8 << 20,
    RSL_SAGA_PG_CHUNK_CLAIMS_ = 4096,    /* of one renew */
    RSL_SAGA_PG_DATA_MAX_ = 256 << 20,   /* of one record */
    RSL_SAGA_PG_PAGE_ = 256,             /* sagas, records read at once; sagas dropped at once */
    RSL_SAGA_PG_PAGE_BYTES_ = 4 << 20,
    RSL_SAGA_PG_DROPS_ = 16,             /* pages of sagas dropped by one compact */
    RSL_SAGA_PG_CONNECTIONS_MAX_ = 64
};

/* What a connection is for. Each kind has lines of its own, so that none waits for another. */
enum { RSL_SAGA_PG_APPENDS_, RSL_SAGA_PG_RENEWS_, RSL_SAGA_PG_REST_, RSL_SAGA_PG_KINDS_ };

typedef struct rsl_saga_pg_ rsl_saga_pg_;

/* A connection, or the place for one. All but busy belongs to the thread that has made it so. */
typedef struct rsl_saga_pg_line_ {
    rsl_saga_pg_ *self;
    PGconn       *conn;     /* NULL: none */
    uint32_t      prepared; /* a bit for each of its statements that is */
    bool          alone;    /* the last statement's commit did not wait for the standbys */
    bool          busy;     /* guarded by self->lock */
} rsl_saga_pg_line_;

struct rsl_saga_pg_ {
    rsl_saga_postgres_config config; /* resolved; its texts stand behind the lines */
    char              at[RSL_SAGA_PG_PREFIX_MAX_ + 3]; /* what @ stands for */
    const char       *hash;                            /* its end, what # stands for */
    char              owner[RSL_SAGA_PG_OWNER_MAX_ + 1];
    char              uuid[37];  /* of this opening, drawn by the server; for tokens */
    rsl_word_         tokens;    /* atomic: drawn so far */
    char             *error;     /* during open: where the sentence goes */
    size_t            error_size;
    rsl_lock_         lock;
    rsl_cond_         freed[RSL_SAGA_PG_KINDS_]; /* a line of that kind was */
    rsl_saga_pg_line_ lines[];   /* one for appends, one for renew, config.connections more */
};

/* One call of a store's function. */
typedef struct rsl_saga_pg_call_ {
    rsl_saga_pg_      *self;
    rsl_saga_pg_line_ *line;
    rsl_time           deadline; /* real time */
    int                kind, saved, cancelable;
} rsl_saga_pg_call_;

static inline rsl_saga_pg_line_ *rsl_saga_pg_line_free_(rsl_saga_pg_ *self, int kind)
{
    uint32_t first = (uint32_t)kind;
    uint32_t count = kind == RSL_SAGA_PG_REST_ ? self->config.connections : 1;
    rsl_saga_pg_line_ *found = NULL;
    for (uint32_t i = 0; i < count; i++) {
        rsl_saga_pg_line_ *line = &self->lines[first + i];
        if (line->busy) continue;
        if (line->conn != NULL) return line;
        if (found == NULL) found = line;
    }
    return found;
}

/* What limits a call that gives or keeps a lease: after that it is worth nothing. */
static inline rsl_time rsl_saga_pg_within_(const rsl_saga_pg_ *self, rsl_time claim_for)
{
    rsl_time own = self->config.retry_for;
    return claim_for > 0 && claim_for < own ? claim_for : own;
}

/* Takes a line of a kind; RSL_EIO: all are busy for as long. leave follows in any case. */
static inline int rsl_saga_pg_enter_(rsl_saga_pg_call_ *call, rsl_saga_pg_ *self, int kind,
                                     rsl_time limit)
{
    memset(call, 0, sizeof *call);
    call->self = self;
    call->kind = kind;
    call->saved = errno;
    call->cancelable = rsl_uncancelable_();
    call->deadline = rsl_time_add_(rsl_now(), limit);
    rsl_lock_take_(&self->lock);
    bool waits = true;
    while ((call->line = rsl_saga_pg_line_free_(self, kind)) == NULL && waits)
        waits = rsl_cond_wait_(&self->freed[kind], &self->lock, call->deadline);
    if (call->line != NULL) call->line->busy = true;
    rsl_lock_drop_(&self->lock);
    return call->line != NULL ? RSL_OK : RSL_EIO;
}

static inline void rsl_saga_pg_leave_(rsl_saga_pg_call_ *call)
{
    if (call->line != NULL) {
        rsl_lock_take_(&call->self->lock);
        call->line->busy = false;
        rsl_cond_signal_(&call->self->freed[call->kind]);
        rsl_lock_drop_(&call->self->lock);
    }
    rsl_cancelable_(call->cancelable);
    errno = call->saved;
}

/* ---- trying, and trying again ---- */

/* Writes a sentence for open, cut to its size, without the line's end. */
static inline void rsl_saga_pg_say_(const rsl_saga_pg_ *self, const char *sentence)
{
    if (self->error == NULL || self->error_size == 0) return;
    (void)snprintf(self->error, self->error_size, "%s", sentence);
    self->error[strcspn(self->error, "\n")] = '\0';
}

static inline void rsl_saga_pg_failed_(void *user, int code, const char *message)
{
    const rsl_saga_pg_ *self = ((const rsl_saga_pg_line_ *)user)->self;
    rsl_saga_pg_say_(self, message);
    if (self->config.failed != NULL) self->config.failed(self->config.user, code, message);
}

/* A COMMIT that waits for a standby and is told to stop, by us or by a limit in time, succeeds
   with a warning: it is done here, and nobody knows about there. The warning's text may be in any
   language; the name of the function that it comes from is not translated. */
static inline void rsl_saga_pg_noticed_(void *user, const PGresult *notice)
{
    const char *from = PQresultErrorField(notice, PG_DIAG_SOURCE_FUNCTION);
    if (from != NULL && strcmp(from, "SyncRepWaitForLSN") == 0)
        ((rsl_saga_pg_line_ *)user)->alone = true;
}

/* What limits the next statement of a call. */
static inline rsl_ctx rsl_saga_pg_ctx_(const rsl_saga_pg_call_ *call)
{
    rsl_ctx ctx = rsl_within(call->self->config.statement_timeout);
    if (call->deadline < ctx.deadline) ctx.deadline = call->deadline;
    return ctx;
}

/* SQL in which @ and # are replaced, behind `before`; to be freed. NULL: no memory. */
static inline char *rsl_saga_pg_named_(const rsl_saga_pg_ *self, const char *before,
                                       const char *sql)
{
    size_t size = strlen(before) + strlen(sql) + 1;
    for (const char *from = sql; *from != '\0'; from++)
        if (*from == '@' || *from == '#') size += strlen(self->at);
    char *text = (char *)RSL_MALLOC(size);
    if (text == NULL) return NULL;
    char *to = text;
    for (; *before != '\0'; before++) *to++ = *before;
    for (const char *from = sql; *from != '\0'; from++) {
        const char *name = *from == '@' ? self->at : *from == '#' ? self->hash : NULL;
        if (name == NULL) *to++ = *from;
        else for (; *name != '\0'; name++) *to++ = *name;
    }
    *to = '\0';
    return text;
}

/* One statement; result may be NULL. Returns a code of adapters/postgres.h. */
static inline int rsl_saga_pg_query_(rsl_saga_pg_call_ *call, const rsl_postgres_query *query,
                                     PGresult **result)
{
    PGresult *error = NULL;
    rsl_postgres_query asked = *query;
    asked.error = &error;
    rsl_ctx ctx = rsl_saga_pg_ctx_(call);
    call->line->alone = false;
    int code = rsl_postgres_run(call->line->conn, &ctx, &asked, result);
    if (code == RSL_OK && call->line->alone && !query->changes_nothing) {
        code = RSL_POSTGRES_UNKNOWN_OUTCOME;
        if (result != NULL) {
            PQclear(*result);
            *result = NULL;
        }
    }
    const char *message = error != NULL ? PQresultErrorMessage(error) : "";
    if (*message == '\0' && code == RSL_POSTGRES_UNKNOWN_OUTCOME)
        message = "no answer to a statement, or not from its standbys: it may have been done";
    if (*message == '\0') message = code < 0 ? rsl_strerror(code) : rsl_postgres_message(code);
    if (code != RSL_OK) rsl_saga_pg_failed_(call->line, code, message);
    PQclear(error);
    return code;
}

/* The same for SQL without parameters, which has to be named first. */
static inline int rsl_saga_pg_exec_(rsl_saga_pg_call_ *call, const char *before, const char *sql,
                                    PGresult **result)
{
    char *text = rsl_saga_pg_named_(call->self, before, sql);
    if (text == NULL) return RSL_ENOMEM;
    rsl_postgres_query query;
    memset(&query, 0, sizeof query);
    query.sql = text;
    int code = rsl_saga_pg_query_(call, &query, result);
    RSL_FREE(text);
    return code;
}

static inline void rsl_saga_pg_hang_up_(rsl_saga_pg_line_ *line)
{
    rsl_postgres_close(line->conn);
    line->conn = NULL;
}

/* Makes the line's connection, if there is none. */
static inline int rsl_saga_pg_connect_(rsl_saga_pg_call_ *call)
{
    rsl_saga_pg_line_ *line = call->line;
    if (line->conn != NULL) return RSL_OK;
    const rsl_saga_postgres_config *own = &call->self->config;
    rsl_postgres_config config;
    memset(&config, 0, sizeof config);
    config.conninfo = own->conninfo;
    config.application_name = own->application_name;
    config.connect_timeout = own->connect_timeout;
    config.statement_timeout = own->statement_timeout;
    config.notice = rsl_saga_pg_noticed_;
    config.failed = rsl_saga_pg_failed_;
    config.user = line;
    rsl_ctx ctx = rsl_within(RSL_FOREVER);
    ctx.deadline = call->deadline;
    line->prepared = 0;
    int code = rsl_postgres_connect(&line->conn, &ctx, &config);
    if (code == RSL_OK) {
        code = rsl_saga_pg_exec_(call, "", rsl_saga_pg_session_, NULL);
        if (code != RSL_OK) rsl_saga_pg_hang_up_(line);
    }
    return code;
}

/* Whether trying again may help. All statements here may be repeated, so that an unknown outcome
   is no reason not to; one that was told to stop, by the server's limit or by an operator, is none
   either. */
static inline bool rsl_saga_pg_is_again_(int code)
{
    rsl_postgres_class asks = rsl_postgres_classify(code);
    return code == RSL_POSTGRES_QUERY_CANCELED || asks == RSL_POSTGRES_RETRY ||
           asks == RSL_POSTGRES_RERUN || asks == RSL_POSTGRES_UNKNOWN;
}

typedef int (*rsl_saga_pg_try_)(rsl_saga_pg_call_ *call, void *arg);

/* Calls try on a connection until it succeeds, cannot, or the time is up. A first failure is
   repeated at once: mostly the server has closed an idle connection. Returns a status. */
static inline int rsl_saga_pg_persist_(rsl_saga_pg_call_ *call, rsl_saga_pg_try_ try, void *arg)
{
    rsl_time pause = 0;
    for (;;) {
        int code = rsl_saga_pg_connect_(call);
        if (code == RSL_OK) code = try(call, arg);
        if (code == RSL_OK) return RSL_OK;
        rsl_saga_pg_line_ *line = call->line;
        if (rsl_postgres_is_lost(code) || rsl_postgres_is_broken(line->conn))
            rsl_saga_pg_hang_up_(line);
        if (code == RSL_ENOMEM || code == RSL_ESYS || code == RSL_EINVAL) return code;
        rsl_time left = call->deadline - rsl_now();
        if (!rsl_saga_pg_is_again_(code) || left <= 0) return RSL_EIO;
        rsl_pause_(pause < left ? pause : left);
        pause = pause == 0 ? RSL_MS(10) : pause < RSL_MS(320) ? 2 * pause : RSL_MS(500);
    }
}

/* ---- parameters and results ---- */

enum { RSL_SAGA_PG_PARAMS_MAX_ = 8 };

typedef struct rsl_saga_pg_params_ {
    int         count;
    const char *values[RSL_SAGA_PG_PARAMS_MAX_];
    int         lengths[RSL_SAGA_PG_PARAMS_MAX_], formats[RSL_SAGA_PG_PARAMS_MAX_];
    char        numbers[RSL_SAGA_PG_PARAMS_MAX_][8];
    char       *array;  /* where the next byte of an array goes, in the memory below */
    char       *memory; /* to be freed */
} rsl_saga_pg_params_;

static inline void rsl_saga_pg_add_(rsl_saga_pg_params_ *p, const char *value, size_t length,
                                    int format)
{
    p->values[p->count] = value;
    p->lengths[p->count] = (int)length;
    p->formats[p->count++] = format;
}

/* Binary numbers have their highest byte first. */
static inline char *rsl_saga_pg_put_(char *to, uint64_t number, size_t size)
{
    for (size_t i = 0; i < size; i++) to[i] = (char)(number >> 8 * (size - 1 - i));
    return to + size;
}

static inline void rsl_saga_pg_add_number_(rsl_saga_pg_params_ *p, int64_t number)
{
    char *at = p->numbers[p->count];
    rsl_saga_pg_put_(at, (uint64_t)number, 8);
    rsl_saga_pg_add_(p, at, 8, 1);
}

static inline void rsl_saga_pg_add_text_(rsl_saga_pg_params_ *p, const char *text)
{
    rsl_saga_pg_add_(p, text, strlen(text), 0);
}

static inline void rsl_saga_pg_add_bytes_(rsl_saga_pg_params_ *p, const void *bytes, size_t size)
{
    rsl_saga_pg_add_(p, size > 0 ? (const char *)bytes : "", size, 1);
}

/* An array in binary: dimensions, whether there are nulls, the elements' type; size and first
   index; then each element behind its size. Its bytes are taken from the memory, of which there is
   RSL_SAGA_PG_ARRAY_ each, and 4 and the size for an element. */
enum { RSL_SAGA_PG_ARRAY_ = 20, RSL_SAGA_PG_INT8_ = 20, RSL_SAGA_PG_INT4_ = 23,
       RSL_SAGA_PG_INT2_ = 21, RSL_SAGA_PG_BYTEA_ = 17 };

static inline void rsl_saga_pg_array_(rsl_saga_pg_params_ *p, int type, size_t count)
{
    rsl_saga_pg_add_(p, p->array, 0, 1);
    p->array = rsl_saga_pg_put_(p->array, 1, 4);
    p->array = rsl_saga_pg_put_(p->array, 0, 4);
    p->array = rsl_saga_pg_put_(p->array, (uint64_t)type, 4);
    p->array = rsl_saga_pg_put_(p->array, count, 4);
    p->array = rsl_saga_pg_put_(p->array, 1, 4);
}

static inline void rsl_saga_pg_element_(rsl_saga_pg_params_ *p, uint64_t number, size_t size)
{
    p->array = rsl_saga_pg_put_(p->array, size, 4);
    p->array = rsl_saga_pg_put_(p->array, number, size);
}

static inline void rsl_saga_pg_element_bytes_(rsl_saga_pg_params_ *p, const void *bytes,
                                              size_t size)
{
    p->array = rsl_saga_pg_put_(p->array, size, 4);
    if (size > 0) memcpy(p->array, bytes, size);
    p->array += size;
}

static inline void rsl_saga_pg_array_end_(rsl_saga_pg_params_ *p)
{
    int last = p->count - 1;
    p->lengths[last] = (int)(p->array - p->values[last]);
}

static inline int rsl_saga_pg_arrays_(rsl_saga_pg_params_ *p, size_t size)
{
    memset(p, 0, sizeof *p);
    p->memory = p->array = (char *)RSL_MALLOC(size);
    return p->memory != NULL ? RSL_OK : RSL_ENOMEM;
}

/* A number or a truth of a result. */
static inline int64_t rsl_saga_pg_get_(const PGresult *result, int row, int column)
{
    const unsigned char *bytes = (const unsigned char *)PQgetvalue(result, row, column);
    uint64_t number = 0;
    for (int i = 0; i < PQgetlength(result, row, column); i++) number = number << 8 | bytes[i];
    return (int64_t)number;
}

/* ---- prepared statements ---- */

typedef struct rsl_saga_pg_job_ {
    int statement;
    const rsl_saga_pg_params_ *params;
    PGresult *result;
} rsl_saga_pg_job_;

static inline int rsl_saga_pg_try_job_(rsl_saga_pg_call_ *call, void *arg)
{
    rsl_saga_pg_job_ *job = (rsl_saga_pg_job_ *)arg;
    const rsl_saga_pg_sql_ *sql = &rsl_saga_pg_sqls_[job->statement];
    uint32_t bit = 1u << job->statement;
    if ((call->line->prepared & bit) == 0) {
        char before[128];
        (void)snprintf(before, sizeof before, "PREPARE %s (%s) AS ", sql->name, sql->types);
        int code = rsl_saga_pg_exec_(call, before, sql->text, NULL);
        if (code != RSL_OK) return code;
        call->line->prepared |= bit;
    }
    rsl_postgres_query query;
    memset(&query, 0, sizeof query);
    query.prepared = sql->name;
    query.params_count = job->params->count;
    query.params = job->params->values;
    query.lengths = job->params->lengths;
    query.formats = job->params->formats;
    query.result_format = 1;
    query.changes_nothing = sql->reads;
    return rsl_saga_pg_query_(call, &query, &job->result);
}

/* Runs a statement until it has succeeded; *result is then to be cleared. */
static inline int rsl_saga_pg_run_(rsl_saga_pg_call_ *call, int statement,
                                   const rsl_saga_pg_params_ *params, PGresult **result)
{
    rsl_saga_pg_job_ job = {statement, params, NULL};
    int code = rsl_saga_pg_persist_(call, rsl_saga_pg_try_job_, &job);
    if (code == RSL_OK) *result = job.result;
    return code;
}

/* The same as a whole call. */
static inline int rsl_saga_pg_once_(rsl_saga_pg_ *self, rsl_time limit, int statement,
                                    const rsl_saga_pg_params_ *params, PGresult **result)
{
    rsl_saga_pg_call_ call;
    int code = rsl_saga_pg_enter_(&call, self, RSL_SAGA_PG_REST_, limit);
    if (code == RSL_OK) code = rsl_saga_pg_run_(&call, statement, params, result);
    rsl_saga_pg_leave_(&call);
    return code;
}

/* Unlike any other, of this store or another one. */
static inline void rsl_saga_pg_token_(rsl_saga_pg_ *self, char token[64])
{
    unsigned long long number = rsl_add_relaxed_(&self->tokens, 1);
    (void)snprintf(token, 64, "%s/%llu", self->uuid, number);
}

/* A lease as the statements want it; false: it is out of range. */
static inline bool rsl_saga_pg_lease_ok_(rsl_time claim_for)
{
    return claim_for >= 0 && claim_for <= RSL_SEC(366 * 86400);
}

static inline void rsl_saga_pg_add_lease_(rsl_saga_pg_params_ *p, rsl_time claim_for)
{
    rsl_saga_pg_add_number_(p, claim_for / 1000 + (claim_for % 1000 != 0));
}

/* ---- the store's functions ---- */

/* What open needs to tell its caller. */
typedef struct rsl_saga_pg_found_ {
    rsl_saga_opening *opening;
    char              uuid[37]; /* drawn for this opening */
} rsl_saga_pg_found_;

static inline int rsl_saga_pg_found_read_(rsl_saga_pg_call_ *call, rsl_saga_pg_found_ *found,
                                          const PGresult *result)
{
    if (PQntuples(result) != 1) {
        rsl_saga_pg_say_(call->self, "the table of the store's version and uuid is empty");
        return RSL_EINVAL;
    }
    long version = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    if (version > RSL_SAGA_PG_VERSION_) {
        char sentence[128];
        (void)snprintf(sentence, sizeof sentence, "the tables are of version %ld, newer than %d, "
                       "the latest that this program knows", version, RSL_SAGA_PG_VERSION_);
        rsl_saga_pg_say_(call->self, sentence);
        return RSL_EINVAL;
    }
    (void)snprintf(found->opening->uuid, sizeof found->opening->uuid, "%s",
                   PQgetvalue(result, 0, 1));
    found->opening->now = RSL_US(strtoll(PQgetvalue(result, 0, 2), NULL, 10));
    (void)snprintf(found->uuid, sizeof found->uuid, "%s", PQgetvalue(result, 0, 3));
    return RSL_OK;
}

static inline int rsl_saga_pg_try_open_(rsl_saga_pg_call_ *call, void *arg)
{
    PGresult *result = NULL;
    int code = rsl_saga_pg_exec_(call, "", rsl_saga_pg_is_there_, &result);
    if (code != RSL_OK) return code;
    bool there = *PQgetvalue(result, 0, 0) == 't';
    PQclear(result);
    result = NULL;
    if (!there) code = rsl_saga_pg_exec_(call, "", rsl_saga_pg_schema_, NULL);
    if (code == RSL_OK) code = rsl_saga_pg_exec_(call, "", rsl_saga_pg_opening_, &result);
    if (code == RSL_OK) code = rsl_saga_pg_found_read_(call, (rsl_saga_pg_found_ *)arg, result);
    PQclear(result);
    return code;
}

static inline int rsl_saga_pg_open_(void *store, bool salvage, rsl_saga_opening *opening,
                                    char *error, size_t size)
{
    (void)salvage;
    rsl_saga_pg_ *self = (rsl_saga_pg_ *)store;
    rsl_saga_opening opened;
    memset(&opened, 0, sizeof opened);
    rsl_saga_pg_found_ found = {&opened, ""};
    rsl_saga_pg_call_ call;
    self->error = error;
    self->error_size = size;
    int code = rsl_saga_pg_enter_(&call, self, RSL_SAGA_PG_REST_, self->config.retry_for);
    if (code == RSL_OK) code = rsl_saga_pg_persist_(&call, rsl_saga_pg_try_open_, &found);
    if (code == RSL_ENOMEM || code == RSL_ESYS) rsl_saga_pg_say_(self, rsl_strerror(code));
    rsl_saga_pg_leave_(&call);
    self->error = NULL;
    if (code != RSL_OK) return code;
    memcpy(self->uuid, found.uuid, sizeof self->uuid);
    *opening = opened;
    return RSL_OK;
}

static inline int rsl_saga_pg_load_(void *store, rsl_saga_id saga,
                                    int (*visit)(void *user, const rsl_saga_record *record),
                                    void *user)
{
    rsl_saga_pg_ *self = (rsl_saga_pg_ *)store;
    if (saga == 0) return RSL_EINVAL;
    int64_t number = 0;
    for (bool more = true; more;) {
        rsl_saga_pg_params_ p;
        memset(&p, 0, sizeof p);
        rsl_saga_pg_add_number_(&p, (int64_t)saga);
        rsl_saga_pg_add_number_(&p, number);
        rsl_saga_pg_add_number_(&p, RSL_SAGA_PG_PAGE_);
        rsl_saga_pg_add_number_(&p, RSL_SAGA_PG_PAGE_BYTES_);
        PGresult *page = NULL;
        int code = rsl_saga_pg_once_(self, self->config.retry_for, RSL_SAGA_PG_LOAD_, &p, &page);
        if (code != RSL_OK) return code;
        size_t bytes = 0;
        for (int i = 0; i < PQntuples(page) && code == RSL_OK; i++) {
            number = rsl_saga_pg_get_(page, i, 0);
            rsl_saga_record record = {saga, (uint64_t)rsl_saga_pg_get_(page, i, 1),
                                      (uint32_t)number,
                                      (rsl_saga_state)rsl_saga_pg_get_(page, i, 2),
                                      PQgetvalue(page, i, 3),
                                      (size_t)PQgetlength(page, i, 3), RSL_OK};
            bytes += record.size;
            code = visit(user, &record);
        }
        more = PQntuples(page) == RSL_SAGA_PG_PAGE_ || bytes >= RSL_SAGA_PG_PAGE_BYTES_;
        PQclear(page);
        if (code != RSL_OK) return code;
    }
    return RSL_OK;
}

/* How many records, from the first on, go into one statement. */
static inline size_t rsl_saga_pg_chunk_(const rsl_saga_record *records, size_t count)
{
    size_t taken = 0, bytes = 0;
    while (taken < count && taken < RSL_SAGA_PG_CHUNK_RECORDS_) {
        bytes += records[taken].size;
        if (taken > 0 && bytes > RSL_SAGA_PG_CHUNK_BYTES_) break;
        taken++;
    }
    return taken;
}

/* The arrays that say which records are meant; those of the rest, where `whole`. */
static inline int rsl_saga_pg_pack_(rsl_saga_pg_params_ *p, const rsl_saga_record *records,
                                    size_t count, bool whole)
{
    size_t size = (size_t)5 * RSL_SAGA_PG_ARRAY_ + count * (12 + 8 + 12 + 6 + 4);
    for (size_t i = 0; i < count && whole; i++) size += records[i].size;
    int code = rsl_saga_pg_arrays_(p, size);
    if (code != RSL_OK) return code;
    rsl_saga_pg_array_(p, RSL_SAGA_PG_INT8_, count);
    for (size_t i = 0; i < count; i++) rsl_saga_pg_element_(p, records[i].saga, 8);
    rsl_saga_pg_array_end_(p);
    rsl_saga_pg_array_(p, RSL_SAGA_PG_INT4_, count);
    for (size_t i = 0; i < count; i++) rsl_saga_pg_element_(p, records[i].number, 4);
    rsl_saga_pg_array_end_(p);
    rsl_saga_pg_array_(p, RSL_SAGA_PG_INT8_, count);
    for (size_t i = 0; i < count; i++) rsl_saga_pg_element_(p, records[i].epoch, 8);
    rsl_saga_pg_array_end_(p);
    if (!whole) return RSL_OK;
    rsl_saga_pg_array_(p, RSL_SAGA_PG_INT2_, count);
    for (size_t i = 0; i < count; i++) rsl_saga_pg_element_(p, records[i].state, 2);
    rsl_saga_pg_array_end_(p);
    rsl_saga_pg_array_(p, RSL_SAGA_PG_BYTEA_, count);
    for (size_t i = 0; i < count; i++)
        rsl_saga_pg_element_bytes_(p, records[i].data, records[i].size);
    rsl_saga_pg_array_end_(p);
    return RSL_OK;
}

/* Some of the records were not stored now: those that an earlier try has stored, also if its saga
   was claimed since, and those that are left out. */
static inline int rsl_saga_pg_sort_out_(rsl_saga_pg_call_ *call, rsl_saga_record *records,
                                        size_t count)
{
    rsl_saga_pg_params_ p;
    PGresult *result = NULL;
    int code = rsl_saga_pg_pack_(&p, records, count, false);
    if (code == RSL_OK) code = rsl_saga_pg_run_(call, RSL_SAGA_PG_STORED_, &p, &result);
    RSL_FREE(p.memory);
    if (code != RSL_OK) return code;
    for (int i = 0; i < PQntuples(result); i++) {
        bool stored = rsl_saga_pg_get_(result, i, 1) != 0;
        bool taken = rsl_saga_pg_get_(result, i, 2) != 0; /* by another record, of this saga's */
        records[rsl_saga_pg_get_(result, i, 0) - 1].status = stored ? RSL_OK : RSL_EFENCED;
        if (!stored && taken) code = RSL_ECORRUPT;
    }
    PQclear(result);
    return code;
}

static inline int rsl_saga_pg_append_(void *store, rsl_saga_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (records[i].number == 0 || records[i].number > INT32_MAX) return RSL_EINVAL;
        if (records[i].size > RSL_SAGA_PG_DATA_MAX_) return RSL_EINVAL;
    }
    rsl_saga_pg_ *self = (rsl_saga_pg_ *)store;
    rsl_saga_pg_call_ call;
    int code = rsl_saga_pg_enter_(&call, self, RSL_SAGA_PG_APPENDS_, self->config.append_for);
    while (code == RSL_OK && count > 0) {
        size_t chunk = rsl_saga_pg_chunk_(records, count);
        rsl_saga_pg_params_ p;
        PGresult *result = NULL;
        code = rsl_saga_pg_pack_(&p, records, chunk, true);
        if (code == RSL_OK) code = rsl_saga_pg_run_(&call, RSL_SAGA_PG_APPEND_, &p, &result);
        RSL_FREE(p.memory);
        if (code != RSL_OK) break;
        size_t fresh = (size_t)rsl_saga_pg_get_(result, 0, 0);
        PQclear(result);
        for (size_t i = 0; i < chunk; i++) records[i].status = RSL_OK;
        if (fresh < chunk) code = rsl_saga_pg_sort_out_(&call, records, chunk);
        records += chunk;
        count -= chunk;
    }
    rsl_saga_pg_leave_(&call);
    return code;
}

/* Drops what ended up to a time, a page after another. */
static inline int rsl_saga_pg_drop_(rsl_saga_pg_call_ *call, int64_t ended_at, int64_t id)
{
    rsl_saga_pg_params_ p;
    memset(&p, 0, sizeof p);
    rsl_saga_pg_add_number_(&p, ended_at);
    rsl_saga_pg_add_number_(&p, id);
    rsl_saga_pg_add_number_(&p, RSL_SAGA_PG_PAGE_);
    int64_t dropped = RSL_SAGA_PG_PAGE_;
    for (int i = 0; i < RSL_SAGA_PG_DROPS_ && dropped == RSL_SAGA_PG_PAGE_; i++) {
        PGresult *result = NULL;
        int code = rsl_saga_pg_run_(call, RSL_SAGA_PG_DROP_, &p, &result);
        if (code != RSL_OK) return code;
        dropped = rsl_saga_pg_get_(result, 0, 0);
        PQclear(result);
    }
    return RSL_OK;
}

static inline int rsl_saga_pg_compact_(void *store,
                                       bool (*keep)(void *user, const rsl_saga_record *record),
                                       void *user, uint32_t finished_max)
{
    (void)keep, (void)user;
    if (finished_max == RSL_UNLIMITED) return RSL_OK;
    rsl_saga_pg_ *self = (rsl_saga_pg_ *)store;
    rsl_saga_pg_call_ call;
    rsl_saga_pg_params_ p;
    memset(&p, 0, sizeof p);
    rsl_saga_pg_add_number_(&p, finished_max);
    PGresult *oldest = NULL;
    int code = rsl_saga_pg_enter_(&call, self, RSL_SAGA_PG_REST_, self->config.append_for);
    if (code == RSL_OK) code = rsl_saga_pg_run_(&call, RSL_SAGA_PG_OLDEST_, &p, &oldest);
    if (code == RSL_OK && PQntuples(oldest) == 1)
        code = rsl_saga_pg_drop_(&call, rsl_saga_pg_get_(oldest, 0, 0),
                                 rsl_saga_pg_get_(oldest, 0, 1));
    PQclear(oldest);
    rsl_saga_pg_leave_(&call);
    return code;
}

static inline int rsl_saga_pg_begin_(void *store, const char *key, const char *def,
                                     rsl_time claim_for, rsl_saga_record *record, bool *is_new)
{
    rsl_saga_pg_ *self = (rsl_saga_pg_ *)store;
    if (strlen(key) > RSL_SAGA_KEY_MAX || !rsl_saga_pg_lease_ok_(claim_for)) return RSL_EINVAL;
    if (record->size > RSL_SAGA_PG_DATA_MAX_ || record->number > INT32_MAX) return RSL_EINVAL;
    char token[64];
    rsl_saga_pg_token_(self, token);
    rsl_saga_pg_params_ p;
    memset(&p, 0, sizeof p);
    rsl_saga_pg_add_bytes_(&p, key, strlen(key));
    rsl_saga_pg_add_bytes_(&p, def, strlen(def));
    rsl_saga_pg_add_number_(&p, record->state);
    rsl_saga_pg_add_lease_(&p, claim_for);
    rsl_saga_pg_add_text_(&p, self->owner);
    rsl_saga_pg_add_text_(&p, token);
    rsl_saga_pg_add_number_(&p, record->number);
    rsl_saga_pg_add_bytes_(&p, record->data, record->size);
    rsl_saga_pg_call_ call;
    PGresult *result = NULL;
    int code = rsl_saga_pg_enter_(&call, self, RSL_SAGA_PG_REST_, self->config.retry_for);
    while (code == RSL_OK && PQntuples(result) == 0) {
        PQclear(result);
        code = rsl_saga_pg_run_(&call, RSL_SAGA_PG_BEGIN_, &p, &result);
        if (code == RSL_OK && PQntuples(result) == 0 && rsl_now() >= call.deadline)
            code = RSL_EIO;
    }
    if (code == RSL_OK) {
        *is_new = rsl_saga_pg_get_(result, 0, 1) != 0;
        record->saga = (rsl_saga_id)rsl_saga_pg_get_(result, 0, 0);
        if (*is_new) record->epoch = 1;
        PQclear(result);
    }
    rsl_saga_pg_leave_(&call);
    return code;
}

static inline int rsl_saga_pg_defs_(rsl_saga_pg_params_ *p, const char *const *defs, size_t count)
{
    size_t size = RSL_SAGA_PG_ARRAY_;
    for (size_t i = 0; i < count; i++) size += 4 + strlen(defs[i]);
    int code = rsl_saga_pg_arrays_(p, size);
    if (code != RSL_OK) return code;
    rsl_saga_pg_array_(p, RSL_SAGA_PG_BYTEA_, count);
    for (size_t i = 0; i < count; i++) rsl_saga_pg_element_bytes_(p, defs[i], strlen(defs[i]));
    rsl_saga_pg_array_end_(p);
    return RSL_OK;
}

static inline int rsl_saga_pg_claim_(void *store, const char *const *defs, size_t defs_count,
                                     rsl_saga_id only, rsl_time claim_for, rsl_saga_claim *claims,
                                     size_t *count)
{
    rsl_saga_pg_ *self = (rsl_saga_pg_ *)store;
    if (!rsl_saga_pg_lease_ok_(claim_for)) return RSL_EINVAL;
    char token[64];
    rsl_saga_pg_token_(self, token);
    rsl_saga_pg_params_ p;
    memset(&p, 0, sizeof p);
    if (only != 0) {
        rsl_saga_pg_add_number_(&p, (int64_t)only);
    } else {
        int code = rsl_saga_pg_defs_(&p, defs, defs_count);
        if (code != RSL_OK) return code;
        rsl_saga_pg_add_number_(&p, *count < INT32_MAX ? (int64_t)*count : INT32_MAX);
    }
    rsl_saga_pg_add_lease_(&p, claim_for);
    rsl_saga_pg_add_text_(&p, self->owner);
    rsl_saga_pg_add_text_(&p, token);
    PGresult *result = NULL;
    int code = rsl_saga_pg_once_(self, rsl_saga_pg_within_(self, claim_for),
                                 only != 0 ? RSL_SAGA_PG_CLAIM_ONE_ : RSL_SAGA_PG_CLAIM_, &p,
                                 &result);
    RSL_FREE(p.memory);
    if (code != RSL_OK) return code;
    size_t taken = (size_t)PQntuples(result);
    if (taken < *count) *count = taken;
    for (size_t i = 0; i < *count; i++) {
        int row = (int)i;
        claims[i].saga = (rsl_saga_id)rsl_saga_pg_get_(result, row, 0);
        claims[i].epoch = (uint64_t)rsl_saga_pg_get_(result, row, 1);
        claims[i].cancel = rsl_saga_pg_get_(result, row, 2) != 0;
        claims[i].status = RSL_OK;
    }
    PQclear(result);
    return RSL_OK;
}

static inline int rsl_saga_pg_renew_some_(rsl_saga_pg_call_ *call, rsl_time claim_for,
                                          rsl_saga_claim *claims, size_t count)
{
    rsl_saga_pg_params_ p;
    PGresult *result = NULL;
    int code = rsl_saga_pg_arrays_(&p, 2 * (RSL_SAGA_PG_ARRAY_ + count * 12));
    if (code != RSL_OK) return code;
    rsl_saga_pg_array_(&p, RSL_SAGA_PG_INT8_, count);
    for (size_t i = 0; i < count; i++) rsl_saga_pg_element_(&p, claims[i].saga, 8);
    rsl_saga_pg_array_end_(&p);
    rsl_saga_pg_array_(&p, RSL_SAGA_PG_INT8_, count);
    for (size_t i = 0; i < count; i++) rsl_saga_pg_element_(&p, claims[i].epoch, 8);
    rsl_saga_pg_array_end_(&p);
    rsl_saga_pg_add_lease_(&p, claim_for);
    code = rsl_saga_pg_run_(call, RSL_SAGA_PG_RENEW_, &p, &result);
    RSL_FREE(p.memory);
    if (code != RSL_OK) return code;
    for (size_t i = 0; i < count; i++) {
        claims[i].status = RSL_EFENCED;
        claims[i].cancel = false;
    }
    for (int i = 0; i < PQntuples(result); i++) {
        rsl_saga_claim *claim = &claims[rsl_saga_pg_get_(result, i, 0) - 1];
        claim->status = RSL_OK;
        claim->cancel = rsl_saga_pg_get_(result, i, 1) != 0;
    }
    PQclear(result);
    return RSL_OK;
}

static inline int rsl_saga_pg_renew_(void *store, rsl_time claim_for, rsl_saga_claim *claims,
                                     size_t count)
{
    if (!rsl_saga_pg_lease_ok_(claim_for)) return RSL_EINVAL;
    rsl_saga_pg_ *self = (rsl_saga_pg_ *)store;
    rsl_saga_pg_call_ call;
    int code = rsl_saga_pg_enter_(&call, self, RSL_SAGA_PG_RENEWS_,
                                  rsl_saga_pg_within_(self, claim_for));
    while (code == RSL_OK && count > 0) {
        size_t some = count < RSL_SAGA_PG_CHUNK_CLAIMS_ ? count : RSL_SAGA_PG_CHUNK_CLAIMS_;
        code = rsl_saga_pg_renew_some_(&call, claim_for, claims, some);
        claims += some;
        count -= some;
    }
    rsl_saga_pg_leave_(&call);
    return code;
}

static inline int rsl_saga_pg_cancel_(void *store, rsl_saga_id saga)
{
    rsl_saga_pg_ *self = (rsl_saga_pg_ *)store;
    rsl_saga_pg_params_ p;
    memset(&p, 0, sizeof p);
    rsl_saga_pg_add_number_(&p, (int64_t)saga);
    PGresult *result = NULL;
    int code = rsl_saga_pg_once_(self, self->config.retry_for, RSL_SAGA_PG_CANCEL_, &p, &result);
    if (code == RSL_OK && PQntuples(result) == 0) code = RSL_EINVAL;
    PQclear(result);
    return code;
}

/* Sagas behind one, up to another, in some states. */
static inline int rsl_saga_pg_list_page_(rsl_saga_pg_ *self, int64_t behind, int64_t last,
                                         unsigned states, PGresult **page)
{
    rsl_saga_pg_params_ p;
    memset(&p, 0, sizeof p);
    rsl_saga_pg_add_number_(&p, behind);
    rsl_saga_pg_add_number_(&p, last);
    rsl_saga_pg_add_number_(&p, (int64_t)states);
    rsl_saga_pg_add_number_(&p, RSL_SAGA_PG_PAGE_);
    return rsl_saga_pg_once_(self, self->config.retry_for, RSL_SAGA_PG_LIST_, &p, page);
}

static inline rsl_saga_info rsl_saga_pg_info_(const PGresult *page, int row)
{
    rsl_saga_info info;
    memset(&info, 0, sizeof info);
    info.id = (rsl_saga_id)rsl_saga_pg_get_(page, row, 0);
    info.state = (rsl_saga_state)rsl_saga_pg_get_(page, row, 1);
    info.epoch = (uint64_t)rsl_saga_pg_get_(page, row, 2);
    info.def = PQgetvalue(page, row, 3); /* libpq puts a 0 behind each value */
    info.key = PQgetvalue(page, row, 4);
    return info;
}

static inline int rsl_saga_pg_list_(void *store, rsl_saga_id saga, unsigned states,
                                    bool (*visit)(const rsl_saga_info *info, void *user),
                                    void *user)
{
    rsl_saga_pg_ *self = (rsl_saga_pg_ *)store;
    if (states == 0) states = ~0u;
    int64_t behind = saga != 0 ? (int64_t)(saga - 1) : 0;
    int64_t last = saga != 0 ? (int64_t)saga : INT64_MAX;
    for (bool more = true; more;) {
        PGresult *page = NULL;
        int code = rsl_saga_pg_list_page_(self, behind, last, saga != 0 ? ~0u : states, &page);
        if (code != RSL_OK) return code;
        int rows = PQntuples(page);
        more = rows == RSL_SAGA_PG_PAGE_;
        for (int i = 0; i < rows; i++) {
            rsl_saga_info info = rsl_saga_pg_info_(page, i);
            behind = (int64_t)info.id;
            bool wanted = (states >> info.state & 1) != 0;
            if (wanted && !visit(&info, user)) {
                more = false;
                break;
            }
        }
        PQclear(page);
        if (saga != 0) return rows == 1 ? RSL_OK : RSL_EINVAL;
    }
    return RSL_OK;
}

static inline void rsl_saga_pg_close_(void *store)
{
    rsl_saga_pg_ *self = (rsl_saga_pg_ *)store;
    if (self == NULL) return;
    uint32_t count = self->config.connections + RSL_SAGA_PG_REST_;
    for (uint32_t i = 0; i < count; i++) rsl_saga_pg_hang_up_(&self->lines[i]);
    for (int i = 0; i < RSL_SAGA_PG_KINDS_; i++) rsl_cond_deinit_(&self->freed[i]);
    rsl_lock_deinit_(&self->lock);
    RSL_FREE(self);
}

/* ---- configuration ---- */

static inline bool rsl_saga_pg_prefix_ok_(const char *prefix)
{
    if (strlen(prefix) > RSL_SAGA_PG_PREFIX_MAX_) return false;
    int dots = 0;
    for (const char *at = prefix; *at != '\0'; at++) {
        bool first = at == prefix || at[-1] == '.';
        bool letter = (*at >= 'a' && *at <= 'z') || *at == '_';
        bool digit = *at >= '0' && *at <= '9';
        if (*at == '.' && !first) dots++;
        else if (!letter && (!digit || first)) return false;
    }
    return dots <= 1;
}

static inline bool rsl_saga_pg_span_ok_(rsl_time span, rsl_time least)
{
    return span == 0 || (span >= least && span <= RSL_SEC(3600));
}

const char *rsl_saga_postgres_config_check(const rsl_saga_postgres_config *config)
{
    if (config == NULL) return "config: must not be NULL";
    rsl_postgres_config connection;
    memset(&connection, 0, sizeof connection);
    connection.conninfo = config->conninfo;
    const char *why = rsl_postgres_config_check(&connection);
    if (why != NULL) return why;
    if (config->prefix != NULL && !rsl_saga_pg_prefix_ok_(config->prefix))
        return "prefix: must be a-z, 0-9 and _, after a schema and a dot or not, at most 40 bytes";
    if (config->owner != NULL && strlen(config->owner) > RSL_SAGA_PG_OWNER_MAX_)
        return "owner: must be at most 100 bytes";
    for (const char *at = config->owner; at != NULL && *at != '\0'; at++)
        if (*at < ' ' || *at > '~') return "owner: must be printable ASCII";
    if (!rsl_saga_pg_span_ok_(config->retry_for, RSL_MS(10)))
        return "retry_for: must be 10 ms to 1 h";
    if (!rsl_saga_pg_span_ok_(config->append_for, RSL_MS(10)))
        return "append_for: must be 10 ms to 1 h";
    if (!rsl_saga_pg_span_ok_(config->connect_timeout, RSL_MS(1)))
        return "connect_timeout: must be 1 ms to 1 h";
    if (!rsl_saga_pg_span_ok_(config->statement_timeout, RSL_MS(1)))
        return "statement_timeout: must be 1 ms to 1 h";
    if (config->connections > RSL_SAGA_PG_CONNECTIONS_MAX_)
        return "connections: must be at most 64";
    return NULL;
}

rsl_saga_postgres_config rsl_saga_postgres_config_resolve(const rsl_saga_postgres_config *config)
{
    rsl_saga_postgres_config c = *config;
    if (c.conninfo == NULL) c.conninfo = "";
    if (c.prefix == NULL) c.prefix = "rsl_";
    if (c.retry_for == 0) c.retry_for = RSL_SEC(5);
    if (c.append_for == 0) c.append_for = c.retry_for > RSL_SEC(60) ? c.retry_for : RSL_SEC(60);
    rsl_time once = c.retry_for < RSL_SEC(2) ? c.retry_for : RSL_SEC(2);
    if (c.connect_timeout == 0) c.connect_timeout = once;
    if (c.statement_timeout == 0) c.statement_timeout = once;
    if (c.connections == 0) c.connections = 4;
    return c;
}

/* ---- making a store ---- */

static const char *rsl_saga_pg_keep_text_(char **room, const char *text)
{
    if (text == NULL) return NULL;
    size_t size = strlen(text) + 1;
    char *kept = (char *)memcpy(*room, text, size);
    *room += size;
    return kept;
}

/* "shop.saga_" is "shop".saga_ in SQL: a schema may be named like a word of SQL, while no table
   that begins so can be. */
static inline void rsl_saga_pg_name_(rsl_saga_pg_ *self)
{
    const char *prefix = self->config.prefix, *dot = strchr(prefix, '.');
    const char *rest = dot != NULL ? dot + 1 : prefix;
    int schema = dot != NULL ? (int)(dot - prefix) : 0;
    (void)snprintf(self->at, sizeof self->at, "%s%.*s%s%s", dot != NULL ? "\"" : "", schema,
                   prefix, dot != NULL ? "\"." : "", rest);
    self->hash = self->at + strlen(self->at) - strlen(rest);

    if (self->config.owner != NULL) {
        (void)snprintf(self->owner, sizeof self->owner, "%s", self->config.owner);
        return;
    }
    char host[64] = "";
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    for (char *at = host; *at != '\0'; at++)
        if (*at < ' ' || *at > '~') *at = '?';
    (void)snprintf(self->owner, sizeof self->owner, "%s/%ld", host, (long)getpid());
}

static inline int rsl_saga_pg_locks_(rsl_saga_pg_ *self)
{
    int code = rsl_lock_init_(&self->lock);
    if (code != RSL_OK) return code;
    for (int i = 0; i < RSL_SAGA_PG_KINDS_; i++) {
        code = rsl_cond_init_(&self->freed[i]);
        if (code == RSL_OK) continue;
        while (i-- > 0) rsl_cond_deinit_(&self->freed[i]);
        rsl_lock_deinit_(&self->lock);
        return code;
    }
    return RSL_OK;
}

int rsl_saga_postgres_open(rsl_saga_store *store, const rsl_saga_postgres_config *config)
{
    if (store == NULL || rsl_saga_postgres_config_check(config) != NULL) return RSL_EINVAL;
    rsl_saga_postgres_config c = rsl_saga_postgres_config_resolve(config);
    const char **texts[] = {&c.conninfo, &c.application_name, &c.prefix, &c.owner};
    size_t lines = (size_t)c.connections + RSL_SAGA_PG_REST_;
    size_t size = sizeof(rsl_saga_pg_) + lines * sizeof(rsl_saga_pg_line_);
    for (size_t i = 0; i < RSL_COUNT(texts); i++)
        if (*texts[i] != NULL) size += strlen(*texts[i]) + 1;
    rsl_saga_pg_ *self = (rsl_saga_pg_ *)RSL_MALLOC(size);
    if (self == NULL) return RSL_ENOMEM;
    memset(self, 0, size);
    int code = rsl_saga_pg_locks_(self);
    if (code != RSL_OK) {
        RSL_FREE(self);
        return code;
    }
    char *room = (char *)&self->lines[lines];
    for (size_t i = 0; i < RSL_COUNT(texts); i++)
        *texts[i] = rsl_saga_pg_keep_text_(&room, *texts[i]);
    self->config = c;
    for (size_t i = 0; i < lines; i++) self->lines[i].self = self;
    rsl_saga_pg_name_(self);

    memset(store, 0, sizeof *store);
    store->self = self;
    store->open = rsl_saga_pg_open_;
    store->load = rsl_saga_pg_load_;
    store->append = rsl_saga_pg_append_;
    store->compact = rsl_saga_pg_compact_;
    store->close = rsl_saga_pg_close_;
    store->begin = rsl_saga_pg_begin_;
    store->claim = rsl_saga_pg_claim_;
    store->renew = rsl_saga_pg_renew_;
    store->cancel = rsl_saga_pg_cancel_;
    store->list = rsl_saga_pg_list_;
    return RSL_OK;
}

/* ---- the barrier ---- */

int rsl_saga_postgres_barrier_create(PGconn *conn)
{
    if (conn == NULL) return RSL_EINVAL;
    PGresult *result = NULL;
    int code = rsl_postgres_exec(conn, NULL, "SELECT to_regclass('rsl_saga_barrier') IS NOT NULL",
                                 &result);
    if (code != RSL_OK) return code;
    bool there = *PQgetvalue(result, 0, 0) == 't';
    PQclear(result);
    if (there) return RSL_OK;
    return rsl_postgres_exec(conn, NULL,
        "SELECT pg_advisory_xact_lock(8246126457041937266);"
        "CREATE TABLE IF NOT EXISTS rsl_saga_barrier ("
        " saga text NOT NULL,"
        " step bytea NOT NULL,"
        " direction text NOT NULL,"
        " came text NOT NULL," /* the direction of the call that made the row */
        " at timestamptz NOT NULL DEFAULT clock_timestamp(),"
        " PRIMARY KEY (saga, step, direction))", NULL);
}

/* A step's key taken apart: "uuid/17/charge/run/2" is saga "uuid/17", step "charge/2", "run". */
typedef struct rsl_saga_pg_place_ {
    char saga[96];
    char step[RSL_SAGA_NAME_MAX + 32];
    bool undo;
} rsl_saga_pg_place_;

static inline bool rsl_saga_pg_parse_(rsl_saga_pg_place_ *place, const char *key)
{
    const char *parts[5] = {key, NULL, NULL, NULL, NULL};
    size_t lengths[5] = {0, 0, 0, 0, 0};
    int count = 1;
    for (const char *at = key; *at != '\0'; at++) {
        if (*at != '/') {
            lengths[count - 1]++;
        } else {
            if (count == 5 || lengths[count - 1] == 0) return false;
            parts[count++] = at + 1;
        }
    }
    if (count < 4 || lengths[count - 1] == 0) return false;
    if (lengths[0] + lengths[1] > 90 || lengths[2] > RSL_SAGA_NAME_MAX) return false;
    place->undo = lengths[3] == 4 && memcmp(parts[3], "undo", 4) == 0;
    if (!place->undo && (lengths[3] != 3 || memcmp(parts[3], "run", 3) != 0)) return false;
    if (strspn(parts[1], "0123456789") != lengths[1]) return false;
    if (count == 5 && (lengths[4] > 20 || parts[4][strspn(parts[4], "0123456789")] != '\0'))
        return false;
    (void)snprintf(place->saga, sizeof place->saga, "%.*s", (int)(lengths[0] + 1 + lengths[1]),
                   key);
    (void)snprintf(place->step, sizeof place->step, "%.*s%s%s", (int)lengths[2], parts[2],
                   count == 5 ? "/" : "", count == 5 ? parts[4] : "");
    return true;
}

static inline int rsl_saga_pg_pass_(PGconn *conn, const rsl_saga_pg_place_ *place, const char *sql,
                                    PGresult **result)
{
    rsl_saga_pg_params_ p;
    memset(&p, 0, sizeof p);
    rsl_saga_pg_add_text_(&p, place->saga);
    rsl_saga_pg_add_bytes_(&p, place->step, strlen(place->step));
    rsl_postgres_query query;
    memset(&query, 0, sizeof query);
    query.sql = sql;
    query.params_count = p.count;
    query.params = p.values;
    query.lengths = p.lengths;
    query.formats = p.formats;
    return rsl_postgres_run(conn, NULL, &query, result);
}

/* What the rows say that were there before. */
static inline int rsl_saga_pg_look_back_(PGconn *conn, const rsl_saga_pg_place_ *place,
                                         rsl_saga_turn *turn)
{
    PGresult *result = NULL;
    int code = rsl_saga_pg_pass_(conn, place,
        "SELECT direction = 'undo', came = 'undo' FROM rsl_saga_barrier"
        " WHERE saga = $1::text AND step = $2::bytea", &result);
    if (code != RSL_OK) return code;
    bool undone = false, empty = false;
    for (int i = 0; i < PQntuples(result); i++) {
        bool undo = *PQgetvalue(result, i, 0) == 't';
        if (undo) undone = true;
        else empty = *PQgetvalue(result, i, 1) == 't';
    }
    PQclear(result);
    if (place->undo) *turn = empty ? RSL_SAGA_EMPTY : RSL_SAGA_AGAIN;
    else *turn = undone ? RSL_SAGA_LATE : RSL_SAGA_AGAIN;
    return RSL_OK;
}

int rsl_saga_postgres_barrier(PGconn *conn, const char *key, rsl_saga_turn *turn)
{
    rsl_saga_pg_place_ place;
    if (conn == NULL || key == NULL || turn == NULL) return RSL_EINVAL;
    PGTransactionStatusType status = PQtransactionStatus(conn);
    if (status == PQTRANS_IDLE || !rsl_saga_pg_parse_(&place, key)) return RSL_EINVAL;
    /* The insert waits for whoever has the place and is not yet committed. The compensation takes
       its action's place too, so that an action which is late finds it taken. */
    static const char *const run =
        "INSERT INTO rsl_saga_barrier (saga, step, direction, came)"
        " VALUES ($1::text, $2::bytea, 'run', 'run') ON CONFLICT DO NOTHING RETURNING direction";
    static const char *const undo =
        "INSERT INTO rsl_saga_barrier (saga, step, direction, came)"
        " VALUES ($1::text, $2::bytea, 'run', 'undo'), ($1::text, $2::bytea, 'undo', 'undo')"
        " ON CONFLICT DO NOTHING RETURNING direction";
    PGresult *result = NULL;
    int code = rsl_saga_pg_pass_(conn, &place, place.undo ? undo : run, &result);
    if (code != RSL_OK) return code;
    int rows = PQntuples(result);
    PQclear(result);
    if (rows == 0) return rsl_saga_pg_look_back_(conn, &place, turn);
    *turn = rows == 2 ? RSL_SAGA_EMPTY : RSL_SAGA_FIRST;
    return RSL_OK;
}

int rsl_saga_postgres_barrier_forget(PGconn *conn, rsl_time age)
{
    if (conn == NULL || age <= 0) return RSL_EINVAL;
    rsl_saga_pg_params_ p;
    memset(&p, 0, sizeof p);
    rsl_saga_pg_add_number_(&p, age / 1000 + (age % 1000 != 0));
    rsl_postgres_query query;
    memset(&query, 0, sizeof query);
    /* All rows of a saga together: an action's place without its compensation's, or the other way
       round, would let in what is late. */
    query.sql = "DELETE FROM rsl_saga_barrier WHERE saga IN (SELECT saga FROM rsl_saga_barrier"
                " GROUP BY saga HAVING max(at) < clock_timestamp()"
                " - $1::bigint * interval '1 microsecond')";
    query.params_count = p.count;
    query.params = p.values;
    query.lengths = p.lengths;
    query.formats = p.formats;
    return rsl_postgres_run(conn, NULL, &query, NULL);
}
#endif /* RSL_SAGA_POSTGRES_IMPLEMENTATION */

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
