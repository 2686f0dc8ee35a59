/* sagas.c -- what sagas cost: in memory, and durably with 1, 16 and 64 at a time, beside the raw
   disk and what one would write by hand; and how long a journal of a million records takes to
   recover. Prints tables. See docs/bench.md.

   sagas [-r rounds] [-m milliseconds] [-d folder]        the folder is where the disk is measured

   SPDX-License-Identifier: MIT */
#define RSL_IMPLEMENTATION
#include "resilience.h"
#include "saga.h"
#define RSL_SQLITE_IMPLEMENTATION
#define RSL_SAGA_SQLITE_IMPLEMENTATION
#include "adapters/saga_sqlite.h"
#define RSL_POSTGRES_IMPLEMENTATION
#define RSL_SAGA_POSTGRES_IMPLEMENTATION
#include "adapters/saga_postgres.h"

#include "sagas.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { ROUNDS_MAX = 15, WIDTHS = 3, KINDS_MAX = 8, RECORDS = 1000000 };
static const int widths[WIDTHS] = {1, 16, BENCH_SAGA_CLIENTS_MAX};

static rsl_outcome nothing(rsl_step *step, void *arg)
{
    (void)step, (void)arg;
    return RSL_STEP_OK;
}

static const rsl_saga_step steps[BENCH_SAGA_STEPS] = {
    {.name = "reserve", .run = nothing, .undo = nothing},
    {.name = "charge", .run = nothing, .undo = nothing},
    {.name = "pack", .run = nothing, .undo = nothing},
    {.name = "ship", .run = nothing, .undo = nothing},
    {.name = "mail", .run = nothing, .undo = nothing},
};
static const rsl_saga_def order = {"order", 1, steps, BENCH_SAGA_STEPS, 0};

static void die(const char *what)
{
    fprintf(stderr, "sagas: %s\n", what);
    exit(1);
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(const double *figures, int count)
{
    double sorted[ROUNDS_MAX];
    memcpy(sorted, figures, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_size);
    return sorted[count / 2];
}

/* ---- ours, on each store ---- */

static rsl_sagas *sagas;
static _Atomic unsigned long keys;

static bool ours_start(rsl_sagas_config *config)
{
    char why[256] = "";
    config->error = why;
    config->error_size = sizeof why;
    config->finished_max = 1000;
    if (rsl_sagas_open(&sagas, config) != RSL_OK) {
        fprintf(stderr, "sagas: %s\n", why);
        return false;
    }
    return rsl_sagas_register(sagas, &order, NULL) == RSL_OK &&
           rsl_sagas_recover(sagas) == RSL_OK;
}

static bool ours_run(int client)
{
    static const char payload[32];
    char key[32];
    rsl_saga_id id;
    rsl_saga_state state = RSL_SAGA_RUNNING;
    snprintf(key, sizeof key, "order-%d-%lu", client, keys++);
    return rsl_sagas_start(sagas, "order", key, payload, sizeof payload, &id) == RSL_OK &&
           rsl_sagas_wait(sagas, id, NULL, &state) == RSL_OK && state == RSL_SAGA_DONE;
}

static void ours_close(void)
{
    if (sagas != NULL) rsl_sagas_close(sagas, NULL);
    sagas = NULL;
}

static bool file_open(const char *folder, int clients)
{
    char path[512];
    (void)clients;
    snprintf(path, sizeof path, "%s/journal", folder);
    rsl_sagas_config config = {.path = path};
    return ours_start(&config);
}

static bool sqlite_open(const char *folder, int clients)
{
    char path[512];
    rsl_saga_store store;
    (void)clients;
    snprintf(path, sizeof path, "%s/store.db", folder);
    rsl_saga_sqlite_config lite = {.path = path};
    if (rsl_saga_sqlite_open(&store, &lite) != RSL_OK) return false;
    rsl_sagas_config config = {.store = &store};
    return ours_start(&config);
}

static bool postgres_open(const char *folder, int clients)
{
    rsl_saga_store store;
    (void)folder, (void)clients;
    if (getenv("RSL_POSTGRES") == NULL) return false;
    rsl_saga_postgres_config pg = {.conninfo = getenv("RSL_POSTGRES")};
    int status = rsl_saga_postgres_open(&store, &pg);
    if (status != RSL_OK) {
        fprintf(stderr, "sagas: the store in PostgreSQL: %s\n", rsl_strerror(status));
        return false;
    }
    rsl_sagas_config config = {.store = &store};
    return ours_start(&config);
}

static const bench_saga_kind ours_file = {"saga.h, file journal", true, file_open, ours_run,
                                          ours_close};
static const bench_saga_kind ours_sqlite = {"saga.h on adapters/saga_sqlite.h", true, sqlite_open,
                                            ours_run, ours_close};
static const bench_saga_kind ours_postgres = {"saga.h on adapters/saga_postgres.h", true,
                                              postgres_open, ours_run, ours_close};

/* ---- sagas in a second ---- */

static struct {
    const bench_saga_kind *kind;
    atomic_bool            over, failed;
    _Atomic unsigned long  ended;
} load;

static void *client_main(void *number)
{
    while (!load.over) {
        if (!load.kind->run((int)(intptr_t)number)) {
            load.failed = true;
            break;
        }
        load.ended++;
    }
    return NULL;
}

static void empty(const char *folder)
{
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir -p '%s'", folder, folder);
    if (system(command) != 0) die("the folder cannot be made");
}

/* 0: it cannot be had. */
static double rate(const bench_saga_kind *kind, const char *folder, int clients, int ms)
{
    pthread_t threads[BENCH_SAGA_CLIENTS_MAX];
    empty(folder);
    if (!kind->open(folder, clients)) {
        kind->close();
        return 0;
    }
    load.kind = kind;
    load.over = load.failed = false;
    load.ended = 0;
    rsl_time start = rsl_now();
    for (int i = 0; i < clients; i++) {
        if (pthread_create(&threads[i], NULL, client_main, (void *)(intptr_t)i) != 0)
            die("no thread");
    }
    struct timespec span = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&span, NULL);
    unsigned long ended = load.ended;
    rsl_time took = rsl_now() - start;
    load.over = true;
    for (int i = 0; i < clients; i++) pthread_join(threads[i], NULL);
    kind->close();
    if (load.failed) die(kind->title);
    return (double)ended * 1e9 / (double)took;
}

/* How many bytes one commit of ours takes, and that it is one sync: of one saga alone. */
static void size_up(const char *folder)
{
    rsl_sagas_stats before, after;
    empty(folder);
    if (!file_open(folder, 1) || !ours_run(0)) die("the journal does not work");
    rsl_sagas_stats_get(sagas, &before);
    uint64_t stored = sagas->stored;
    for (int i = 0; i < 100; i++) {
        if (!ours_run(0)) die("the journal does not work");
    }
    rsl_sagas_stats_get(sagas, &after);
    double records = (double)(after.records - before.records) / 100;
    bench_saga_commit_size = (size_t)(((double)(sagas->stored - stored) / 100 +
                                       records * RSL_JOURNAL_FRAME_) / BENCH_SAGA_COMMITS);
    printf("Alone, a saga of %d steps is %.0f records in %.2f syncs of %d bytes.\n\n",
           BENCH_SAGA_STEPS, records, (double)(after.appends - before.appends) / 100,
           (int)bench_saga_commit_size);
    ours_close();
}

static void durable(const char *folder, int rounds, int ms)
{
    const bench_saga_kind *kinds[] = {&bench_saga_floor, &ours_file, &ours_sqlite, &ours_postgres,
                                      &bench_saga_sqlite, &bench_saga_postgres};
    static double figures[KINDS_MAX][WIDTHS][ROUNDS_MAX], ratios[KINDS_MAX][WIDTHS][ROUNDS_MAX];
    size_up(folder);
    for (int round = 0; round < rounds; round++) {
        for (int w = 0; w < WIDTHS; w++) {
            for (size_t k = 0; k < RSL_COUNT(kinds); k++) {
                figures[k][w][round] = rate(kinds[k], folder, widths[w], ms);
                ratios[k][w][round] = figures[k][w][round] / figures[0][w][round];
            }
        }
    }
    printf("| durable sagas of %d steps in a second | 1 at a time | 16 | 64 | x floor | | |\n"
           "|:---|---:|---:|---:|---:|---:|---:|\n", BENCH_SAGA_STEPS);
    for (size_t k = 0; k < RSL_COUNT(kinds); k++) {
        printf("| %s |", kinds[k]->title);
        for (int w = 0; w < WIDTHS; w++) printf(" %.0f |", median(figures[k][w], rounds));
        for (int w = 0; w < WIDTHS; w++) printf(" %.2f |", median(ratios[k][w], rounds));
        printf("\n");
    }
    printf("\n");
}

/* ---- in memory ---- */

static void in_memory(int rounds)
{
    double figures[ROUNDS_MAX];
    for (int round = 0; round < rounds; round++) {
        double least = 1e9;
        for (int piece = 0; piece < 100; piece++) {
            rsl_time start = rsl_now();
            for (int i = 0; i < 1000; i++) {
                if (rsl_saga_run(&order, NULL, NULL) != RSL_OK) die("a saga failed");
            }
            double took = (double)(rsl_now() - start) / 1000;
            if (took < least) least = took;
        }
        figures[round] = least;
    }
    double saga = median(figures, rounds);
    printf("In memory, a saga of %d steps takes %.0f ns, %.0f ns a step.\n\n", BENCH_SAGA_STEPS,
           saga, saga / BENCH_SAGA_STEPS);
}

/* ---- recovery ---- */

/* The log of one saga, record by record; one of ten has not ended. */
static size_t log_one(const rsl_saga_kind_ *kind, rsl_saga_id id, uint8_t *bytes, size_t size,
                      rsl_saga_record *records)
{
    rsl_saga_begin_ said = {1, RSL_FOREVER, kind->shape, (const uint8_t *)"", kind->shape_size, 0,
                            ""};
    snprintf(said.key, sizeof said.key, "order-%lu", (unsigned long)id);
    size_t begin = rsl_saga_begin_size_(said.shape_size, said.key, 0), count = 0;
    rsl_saga_begin_write_(&said, bytes, begin);
    records[count++] = (rsl_saga_record){id, 1, 1, RSL_SAGA_RUNNING, bytes, begin, 0};
    rsl_saga_pen_ pen = {bytes + begin, bytes + size, false};
    for (int i = 0; i < 2 * BENCH_SAGA_STEPS + 1; i++) {
        bool ends = i == 2 * BENCH_SAGA_STEPS;
        if (i == 2 * BENCH_SAGA_STEPS - 1 && id % 10 == 0) break;
        rsl_saga_change_ change = {(uint8_t)(ends        ? RSL_SAGA_LOG_END_
                                             : i % 2 == 0 ? RSL_SAGA_LOG_START_
                                                          : RSL_SAGA_LOG_DONE_),
                                   false, (uint16_t)(ends ? RSL_SAGA_NO_STEP_ : i / 2), 0,
                                   ends ? RSL_SAGA_DONE : 1, 1, 2, 0};
        const uint8_t *from = pen.at;
        rsl_saga_change_write_(&pen, &change);
        if (ends) {
            rsl_saga_put_number_(&pen, 1, 4);
            rsl_saga_put_text_(&pen, "order");
            rsl_saga_put_text_(&pen, said.key);
        }
        records[count] = (rsl_saga_record){id, 1, (uint32_t)count + 1,
                                           ends ? RSL_SAGA_DONE : RSL_SAGA_RUNNING, from,
                                           (size_t)(pen.at - from), 0};
        count++;
    }
    return count;
}

static bool all_kept(void *user, const rsl_saga_record *record)
{
    (void)user, (void)record;
    return true;
}

static size_t write_journal(const char *path)
{
    static uint8_t bytes[16][1024];
    static rsl_saga_record records[16][16], batch[256];
    rsl_saga_store store;
    rsl_saga_opening opening;
    rsl_steps_ direct[RSL_SAGA_STEPS_MAX], before[RSL_SAGA_STEPS_MAX];
    const char *step;
    size_t written = 0;
    if (rsl_saga_check_(&order, direct, before, &step) != NULL ||
        rsl_saga_file_make_(&store, path) != RSL_OK)
        die("recovery");
    rsl_saga_kind_ *kind = rsl_saga_kind_make_(&order, direct, before, NULL);
    if (kind == NULL || store.open(store.self, false, &opening, NULL, 0) != RSL_OK ||
        store.compact(store.self, all_kept, NULL, 0) != RSL_OK)
        die("recovery: the journal cannot be made");
    for (rsl_saga_id id = 1; written < RECORDS;) {
        size_t counts[16], count = 0;
        for (int i = 0; i < 16; i++, id++)
            counts[i] = log_one(kind, id, bytes[i], sizeof bytes[i], records[i]);
        for (size_t at = 0; at < 16; at++) { /* as they run: one beside the other */
            for (int i = 0; i < 16; i++) {
                if (at < counts[i]) batch[count++] = records[i][at];
            }
        }
        for (size_t i = 0; i < count; i++) batch[i].epoch = opening.epoch;
        if (store.append(store.self, batch, count) != RSL_OK) die("recovery: append");
        written += count;
    }
    store.close(store.self);
    free(kind);
    return written;
}

static void recovery(const char *folder, int rounds)
{
    double figures[ROUNDS_MAX];
    char path[512];
    snprintf(path, sizeof path, "%s/million", folder);
    size_t written = 0;
    for (int round = 0; round < rounds; round++) {
        empty(folder);
        written = write_journal(path);
        rsl_sagas_config config = {.path = path, .live_max = 1u << 20};
        rsl_time start = rsl_now();
        if (rsl_sagas_open(&sagas, &config) != RSL_OK) die("recovery: open");
        figures[round] = (double)written * 1e9 / (double)(rsl_now() - start);
        rsl_sagas_close(sagas, NULL);
        sagas = NULL;
    }
    double per_second = median(figures, rounds);
    printf("A journal of %zu records is read, checked, and written anew in %.2f s: %.2f million "
           "records a second.\n", written, (double)written / per_second, per_second / 1e6);
}

int main(int argc, char **argv)
{
    int rounds = 5, ms = 500, option;
    const char *folder = "build/bench/disk";
    while ((option = getopt(argc, argv, "r:m:d:")) != -1) {
        if (option == 'r') rounds = atoi(optarg);
        else if (option == 'm') ms = atoi(optarg);
        else if (option == 'd') folder = optarg;
        else return 2;
    }
    if (rounds < 1 || rounds > ROUNDS_MAX || ms < 1) return 2;
    in_memory(rounds);
    durable(folder, rounds, ms);
    recovery(folder, rounds < 3 ? rounds : 3);
    return 0;
}
