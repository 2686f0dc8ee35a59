/* SPDX-License-Identifier: MIT
   load.c: one run. Orders fall due at a steady rate whether or not the ones before are answered,
   as callers come; workers draw the next and answer it. The time to an answer counts from when the
   order fell due, so that waiting for a worker is part of it. */
#define RSL_IMPLEMENTATION
#define RSL_SQLITE_IMPLEMENTATION
#include "drill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

rsl_time run_time(const run *r)
{
    return rsl_now() - r->start;
}

bool run_sleep_until(const run *r, rsl_time at)
{
    for (;;) {
        rsl_time left = at - run_time(r);
        if (atomic_load(&interrupted)) return false;
        if (left <= 0) return true;
        if (left > TENTH) left = TENTH; /* to look for an interrupt */
        struct timespec span = {(time_t)(left / RSL_SEC(1)), (long)(left % RSL_SEC(1))};
        nanosleep(&span, NULL);
    }
}

void run_count_call(run *r)
{
    rsl_time tenth = run_time(r) / TENTH;
    if (tenth >= 0 && tenth < BUCKETS_MAX) atomic_fetch_add(&r->calls[tenth], 1);
}

/* ---- workers ---- */

/* A COMMIT that failed with an I/O error may have taken place. */
static void answer(run *r, order *o)
{
    int code = r->guarded ? guarded_place(r, o) : bare_place(r, o);
    o->answered = run_time(r);
    if (code != ACCEPTED) o->result = code;
    if (!r->guarded && o->committing && (code & 0xff) == SQLITE_IOERR) o->unknown = true;
    if (code == ACCEPTED) o->outcome = QUEUED;
    else if (code != SQLITE_OK) o->outcome = FAILED;
    else o->outcome = o->answered - o->due <= PATIENCE ? IN_TIME : LATE;
    atomic_fetch_add(&r->answers[o->outcome], 1);
}

static void *worker_main(void *arg)
{
    run *r = arg;
    rsl_time end = r->options->length + CLOSING;
    for (;;) {
        uint32_t drawn = atomic_fetch_add(&r->next, 1);
        if (drawn >= r->order_count) break;
        order *o = &r->orders[drawn];
        if (!run_sleep_until(r, o->due) || run_time(r) >= end) break;
        answer(r, o);
        if (r->guarded && o->outcome == IN_TIME) guarded_book_one(r, RSL_MS(500));
    }
    while (r->guarded && guard_has_orders(r) && run_sleep_until(r, run_time(r)) &&
           run_time(r) < end) {
        if (!guarded_book_one(r, end - run_time(r))) run_sleep_until(r, run_time(r) + RSL_MS(10));
    }
    return NULL;
}

/* ---- setting up and clearing away ---- */

static uint32_t scatter(uint32_t x) /* the same orders in both runs */
{
    x = (x + 1) * 2654435761u;
    return x ^ x >> 15;
}

static bool orders_make(run *r)
{
    rsl_time length = r->options->length;
    r->order_count = (uint32_t)(length / RSL_MS(1) * r->options->rate / 1000);
    r->orders = calloc(r->order_count, sizeof *r->orders);
    for (uint32_t i = 0; r->orders != NULL && i < r->order_count; i++) {
        order *o = &r->orders[i];
        o->key = i;
        o->item = 2 + scatter(i) % (ITEMS - 1); /* item 1 is the rival's */
        o->quantity = 1 + scatter(i) / ITEMS % 3;
        o->reads_first = i % 2 == 1;
        o->due = length * i / r->order_count;
    }
    return r->orders != NULL;
}

static bool folders_make(run *r)
{
    const char *tmp = getenv("TMPDIR");
    int length = snprintf(r->folder, PATH_ROOM, "%s/outage_drill_XXXXXX",
                          tmp != NULL ? tmp : "/tmp");
    if (length < 0 || length > PATH_ROOM - 32 || mkdtemp(r->folder) == NULL) {
        r->folder[0] = '\0';
        return false;
    }
    snprintf(r->volume, PATH_ROOM, "%.480s/volume", r->folder);
    snprintf(r->away, PATH_ROOM, "%.480s/away", r->folder);
    snprintf(r->path, PATH_ROOM, "%.490s/shop.db", r->volume);
    return mkdir(r->volume, 0700) == 0;
}

static void folders_remove(run *r)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    if (r->folder[0] == '\0') return;
    rename(r->away, r->volume); /* after an interrupt */
    for (size_t i = 0; i < RSL_COUNT(suffixes); i++) {
        char path[PATH_ROOM + 16];
        snprintf(path, sizeof path, "%s%s", r->path, suffixes[i]);
        unlink(path);
    }
    rmdir(r->volume);
    rmdir(r->folder);
    r->folder[0] = '\0';
}

/* ---- the run ---- */

static bool threads_run(run *r)
{
    uint32_t count = r->options->workers, started = 0;
    pthread_t *workers = calloc(count, sizeof *workers), faults, progress;
    if (workers == NULL) return false;
    bool faulty = pthread_create(&faults, NULL, faults_main, r) == 0;
    bool shown = pthread_create(&progress, NULL, progress_main, r) == 0;
    while (started < count && pthread_create(&workers[started], NULL, worker_main, r) == 0)
        started++;
    for (uint32_t i = 0; i < started; i++) pthread_join(workers[i], NULL);
    atomic_store(&r->done, true);
    if (faulty) pthread_join(faults, NULL);
    if (shown) pthread_join(progress, NULL);
    free(workers);
    return faulty && started == count;
}

bool run_execute(run *r)
{
    atomic_store(&r->fault_now, FAULTS);
    if (!orders_make(r) || !folders_make(r) || !shop_create(r) || (r->guarded && !guard_open(r))) {
        fprintf(stderr, "outage_drill: the %s run could not be set up: %s\n", r->name,
                strerror(errno));
        return false;
    }
    r->start = rsl_now();
    return threads_run(r);
}

void run_release(run *r)
{
    guard_close(r);
    rsl_sqlite_close(r->keeper);
    r->keeper = NULL;
    folders_remove(r);
    free(r->orders);
    r->orders = NULL;
}
