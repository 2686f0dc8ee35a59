/* SPDX-License-Identifier: MIT
   drill.h: what the files of the outage drill share.

   main.c      options, the two runs, the verdict
   load.c      workers that answer orders as they fall due: one run
   bare.c      an order as careful code without this library places it
   guarded.c   the same order behind fallback, timeouts, retry, breaker, bulkhead and pool
   shop.c      the database: schema, the order's statements, the final audit
   faults.c    the timeline of real faults; slow_disk.c is one of them
   stats.c     figures from the records of a run
   report.c    progress line and tables; html.c and chart.c the page                        */
#ifndef DRILL_H
#define DRILL_H

#define _DEFAULT_SOURCE 1 /* a strict -std hides clock_gettime and mkdtemp */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <sqlite3.h>

#include "resilience.h"

#include "adapters/sqlite.h"

/* ---- the terms: the same for both runs ---- */

#define PATIENCE RSL_SEC(1)     /* how long a caller waits for an answer; later is too late */
#define CLOSING RSL_SEC(2)      /* after the last order is due, for what is still waiting */

enum {
    ITEMS = 50,
    STOCK = 100000,             /* of each item: nothing sells out */
    CONNECTIONS = 4,            /* of the guarded run's pool; also calls at once */
    WAITING = 32,               /* more calls that may wait, in the bulkhead */
    PATH_ROOM = 512,
    CHANGES_MAX = 256,          /* of the breaker's state that are kept */
    BUCKETS_MAX = 1200          /* of TENTH each: a run of two minutes */
};
#define TENTH RSL_MS(100)

typedef struct options {
    const char *html;
    rsl_time    length;         /* of one run */
    uint32_t    rate;           /* orders per second */
    uint32_t    workers;
    rsl_time    slow;           /* what the slow disk adds to each I/O */
    bool        immediate;      /* every transaction starts with BEGIN IMMEDIATE */
} options;

/* ---- faults ---- */

typedef enum fault_kind { RIVAL, BATCH, SLOW, LOCK, GONE, FAULTS } fault_kind;

typedef struct fault {
    const char *name;           /* two words for the charts */
    const char *what;           /* a sentence for the legend */
    double      from, to;       /* planned, as shares of the run */
} fault;

extern const fault FAULT[FAULTS];

typedef struct interval {
    rsl_time from, to;          /* since the start of the run */
} interval;

/* ---- orders ---- */

typedef enum outcome { UNANSWERED, IN_TIME, LATE, QUEUED, FAILED, OUTCOMES } outcome;

typedef struct order {
    uint32_t key;               /* also its place in run.orders */
    uint32_t item, quantity;
    bool     reads_first;       /* reads the stock before it writes; else writes first */
    rsl_time due, answered;     /* since the start of the run */
    outcome  outcome;
    int      result;            /* the last one */
    uint32_t attempts;          /* transactions begun for it, before its answer or after */
    bool     committing;        /* the latest attempt has come to its COMMIT */
    bool     unknown;           /* a COMMIT failed, and may have taken place all the same */
    bool     booked_later;      /* QUEUED, and booked from the queue afterwards */
} order;

/* ---- one run ---- */

typedef struct change { rsl_time at; uint64_t number; rsl_breaker_state state; } change;

typedef struct outbox {         /* orders accepted though the database could not take them */
    pthread_mutex_t lock;
    uint32_t       *keys;       /* guarded by lock, as all below; a ring with room for all */
    uint32_t        room, first, count;
} outbox;

typedef struct guard {          /* shared by all workers of the guarded run */
    rsl_timeout      total, attempt;
    rsl_retry_budget budget;
    rsl_retry        retry;
    rsl_breaker      breaker;
    rsl_bulkhead     bulkhead;
    rsl_sqlite_config connection;
    rsl_pool        *pool;
    outbox           outbox;
    change           changes[CHANGES_MAX];
    _Atomic uint32_t change_count;
} guard;

typedef struct run {
    const options *options;
    const char    *name;
    bool           guarded;
    char           folder[PATH_ROOM], volume[PATH_ROOM], away[PATH_ROOM], path[PATH_ROOM];
    rsl_time       start;       /* on rsl_now's clock */
    order         *orders;      /* each written by the one worker that has drawn it */
    uint32_t       order_count;
    guard         *guard;       /* NULL in the bare run */
    sqlite3       *keeper;      /* keeps the WAL alive while connections come and go */
    interval       faults[FAULTS];        /* as they were */
    const char    *fault_error; /* a fault that could not be injected (NULL) */
    _Atomic int    fault_now;   /* fault_kind, or FAULTS for none */
    _Atomic uint32_t next;      /* the next order to be drawn */
    _Atomic uint32_t answers[OUTCOMES];
    _Atomic uint32_t calls[BUCKETS_MAX];  /* that reached for the database, per TENTH */
    _Atomic bool   done;        /* all workers are through */
} run;

extern _Atomic bool interrupted; /* by a signal: everything ends early and cleans up */

rsl_time run_time(const run *r);                    /* since its start */
bool     run_sleep_until(const run *r, rsl_time at); /* false: interrupted */
bool     run_execute(run *r);                       /* false: could not be set up */
void     run_count_call(run *r);
void     run_release(run *r);

/* ---- placing an order; each returns 0 or the result code ---- */

int  bare_place(run *r, order *o);
bool guard_open(run *r);
void guard_close(run *r);
int  guarded_place(run *r, order *o);               /* ACCEPTED: it stands in the outbox */
bool guarded_book_one(run *r, rsl_time limit);      /* from the outbox; false: none, or failed */
bool guard_has_orders(run *r);                      /* in the outbox */
enum { ACCEPTED = 1000 };

/* ---- the shop ---- */

extern const char *const SHOP_PRAGMAS;
bool shop_create(run *r);
int  shop_order(const rsl_ctx *ctx, sqlite3 *db, void *order); /* the statements of one order */

typedef struct audit {
    uint32_t rows, booked;      /* rows in the file; orders that were confirmed or booked later */
    uint32_t unknown, unknown_rows;
    uint32_t lost, surplus;     /* confirmed but not in the file; in the file but not confirmed */
    int64_t  stock, sold;
    bool     holds;
} audit;
audit shop_audit(const run *r);

/* ---- faults ---- */

void *faults_main(void *run);
bool  slow_disk_install(void);
void  slow_disk_set(rsl_time delay);                /* of each read, write and sync; 0: none */

/* ---- figures ---- */

enum { BUCKET_TENTHS = 2 };                         /* a point of the charts is 200 ms */

typedef struct bucket {
    uint32_t answers[OUTCOMES];
    rsl_time p50, p99;                              /* -1 without answers */
} bucket;

typedef struct tally { uint32_t orders, answers[OUTCOMES]; } tally;

typedef struct stats {
    tally    all, during[FAULTS];                   /* by the time at which an order was due */
    uint32_t booked_later, repeated;
    double   goodput;                               /* confirmed in time, per second */
    rsl_time p50, p99, max;                         /* from due to answered, of any kind */
    uint32_t outage_calls;
    rsl_time recovery;                              /* -1: not within the run */
    rsl_pool_stats pool;                            /* zeroed in the bare run, as the next */
    rsl_bulkhead_stats bulkhead;
    bucket  *buckets;
    size_t   bucket_count;
} stats;
bool stats_take(stats *s, const run *r);
void stats_release(stats *s);
interval outage_of(const run *r);

/* ---- reports ---- */

void *progress_main(void *run);
void report_print(const run runs[2], const stats all[2]);
bool report_audit(const run *r, const audit *a);    /* whether the books agree */
bool html_write(const char *path, const run runs[2], const stats all[2], const audit audits[2]);
void chart_write(FILE *page, const run *r, const stats *s, double rate_max);

typedef struct figure {         /* a row of the comparison */
    const char *name;
    char        value[2][48];
    int         better;         /* 0: bare, 1: guarded, -1: equal, or not to be judged */
} figure;
enum { FIGURES = 14 };
void figures_take(figure figures[FIGURES], const run runs[2], const stats all[2]);

#endif /* DRILL_H */
