/* bench.c -- times every row at 1, 2, 4 and 16 threads, pools and permits at 64 too, then
   hand-offs, tasks and the overload, and prints the tables. See docs/bench.md.

   bench [-r rounds] [-m milliseconds] [-o text] [-i counts] [-f foreign] [-w file] [-s file]
     -r  rounds per figure (9)           -i  instructions per call, as bench/run leaves them
     -m  length of one round (25)        -f  pools of other languages, as bench/rivals/run leaves
     -o  only rows whose name holds          them
         text, and floors                -w  write the tables as Markdown to this file
                                         -s  write the time series of the overload to this file

   It ends with 1 when something was allocated in a measured part or a row did something else than
   it claims. A missed goal is printed, not an error: a shared machine may miss one by noise.

   SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "bench.h"
#include "report.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Allocations of this thread. The definitions below take the place of the C library's in the whole
   program, so that a hidden allocation is seen too, not those through RSL_MALLOC alone. */
static _Thread_local uint64_t allocations;

#ifdef __GLIBC__
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    allocations++;
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return __libc_memalign(alignment, size);
}
#endif

uint64_t bench_allocations(void)
{
    return allocations;
}

/* What the workers do next; written while they sleep. */
static struct {
    const bench_row *row;
    uint64_t         count; /* operations of each thread */
    atomic_int       ready;
    atomic_bool      go;
} run;

/* The same threads from first to last, as a program's workers live: the first one measures alone,
   the first two together, and so on. */
typedef struct worker {
    pthread_t thread;
    sem_t     start, done;
    int64_t   ended;
    double    least; /* ns per operation in the quickest piece of the latest round */
    uint64_t  unexpected, allocations, hook_calls;
    bool      displaced; /* lost its processor to another thread in the latest round */
} worker;

static worker workers[BENCH_THREADS_MAX];

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void await(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) continue; /* a signal is no reason to go on */
}

/* How often the system has taken the processor from this thread while it could run. */
static long displacements(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

/* The round in a hundred pieces: on a busy machine some are undisturbed where no round is. */
static void do_pieces(worker *self)
{
    self->unexpected = 0;
    self->least = HUGE_VAL;
    uint64_t piece = run.count / 100 + 1;
    int64_t started = now_ns();
    for (uint64_t left = run.count; left > 0;) {
        uint64_t count = left < piece ? left : piece;
        self->unexpected += run.row->loop(run.row->subject, count);
        self->ended = now_ns();
        double each = (double)(self->ended - started) / (double)count;
        if (each < self->least && count == piece) self->least = each;
        started = self->ended;
        left -= count;
    }
}

static void *work(void *arg)
{
    worker *self = arg;
    for (;;) {
        await(&self->start);
        if (run.row == NULL) return NULL;
        atomic_fetch_add(&run.ready, 1);
        while (!atomic_load(&run.go)) sched_yield();
        uint64_t allocations_before = allocations, hooks_before = bench_hook_calls;
        long displacements_before = displacements();
        do_pieces(self);
        self->allocations = allocations - allocations_before;
        self->hook_calls = bench_hook_calls - hooks_before;
        self->displaced = displacements() != displacements_before;
        sem_post(&self->done);
    }
}

static void start_workers(void)
{
    for (int i = 0; i < BENCH_THREADS_MAX; i++) {
        sem_init(&workers[i].start, 0, 0);
        sem_init(&workers[i].done, 0, 0);
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            fputs("bench: cannot start a thread\n", stderr);
            exit(1);
        }
    }
}

static void stop_workers(void)
{
    run.row = NULL;
    for (int i = 0; i < BENCH_THREADS_MAX; i++) sem_post(&workers[i].start);
    for (int i = 0; i < BENCH_THREADS_MAX; i++) pthread_join(workers[i].thread, NULL);
}

/* From the moment that all threads may start to the end of the last one. */
static int64_t time_run(bench_result *result, int threads, uint64_t count, bench_totals *totals)
{
    const bench_row *row = result->row;
    run.row = row;
    run.count = count;
    atomic_store(&run.ready, 0);
    atomic_store(&run.go, false);
    for (int i = 0; i < threads; i++) sem_post(&workers[i].start);
    while (atomic_load(&run.ready) < threads) sched_yield();
    int64_t started = now_ns(), ended = started;
    atomic_store(&run.go, true);

    for (int i = 0; i < threads; i++) {
        await(&workers[i].done);
        if (workers[i].ended > ended) ended = workers[i].ended;
        result->operations += count;
        result->allocations += workers[i].allocations;
        totals->operations += count;
        totals->unexpected += workers[i].unexpected;
        if (result->group != BENCH_POOL_RIVALS) totals->allocations += workers[i].allocations;
        totals->hook_calls += workers[i].hook_calls;
    }
    if (totals->unexpected != 0 && totals->culprit == NULL) totals->culprit = row->name;
    return ended - started;
}

/* With a processor for each thread, a round in which one was displaced measures other programs. It
   is run again, a few times at most; if the machine is never quiet, the least counts. */
static int64_t time_round(bench_result *result, int threads, uint64_t count, bench_totals *totals)
{
    int64_t least = INT64_MAX;
    for (int tries = 0; tries < 4; tries++) {
        int64_t elapsed = time_run(result, threads, count, totals);
        if (elapsed < least) least = elapsed;
        bool displaced = false;
        for (int i = 0; i < threads; i++) displaced = displaced || workers[i].displaced;
        if (!displaced) return elapsed;
        if (threads > sysconf(_SC_NPROCESSORS_ONLN)) return elapsed;
    }
    totals->disturbed++;
    return least;
}

/* Operations per thread that fill one round. */
static uint64_t calibrate(bench_result *result, int threads, double round_ns,
                          bench_totals *totals)
{
    uint64_t count = 256;
    for (;;) {
        int64_t elapsed = time_run(result, threads, count, totals);
        if ((double)elapsed >= round_ns / 8) {
            uint64_t fitting = (uint64_t)((double)count * round_ns / (double)elapsed);
            return fitting > 0 ? fitting : 1;
        }
        count *= 4;
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int columns_of(const bench_row *row)
{
    int columns = BENCH_CALL_COLUMNS;
    while (columns < BENCH_COLUMNS && bench_columns[columns] <= row->threads_max) columns++;
    return columns;
}

/* Rounds go round all rows before any row is measured again: when the machine slows down for a
   second, all rows suffer alike instead of one of them looking slow. */
static void measure(bench_result *results, size_t count, int rounds, double round_ns,
                    bench_totals *totals)
{
    uint64_t (*loops)[BENCH_COLUMNS] = calloc(count, sizeof *loops);
    double *samples = calloc(count * BENCH_COLUMNS * (size_t)rounds, sizeof *samples);
    if (loops == NULL || samples == NULL) exit(1);
    for (int round = -1; round < rounds; round++) {
        for (int column = 0; column < BENCH_COLUMNS; column++) {
            int threads = bench_columns[column];
            double length = threads > BENCH_FEW ? round_ns * BENCH_LONGER : round_ns;
            for (size_t i = 0; i < count; i++) {
                uint64_t *loop = &loops[i][column];
                if (column >= columns_of(results[i].row)) continue;
                if (round < 0) {
                    *loop = calibrate(&results[i], threads, length, totals);
                    continue;
                }
                int64_t elapsed = time_round(&results[i], threads, *loop, totals);
                double operations = (double)*loop * threads;
                size_t cell = i * BENCH_COLUMNS + (size_t)column;
                size_t at = cell * (size_t)rounds + (size_t)round;
                samples[at] = (double)elapsed / operations;
                double *least = &results[i].least[column];
                *least = fmin(*least, threads == 1 ? workers[0].least : samples[at]);
            }
        }
        if (isatty(2)) fprintf(stderr, "\rround %d of %d", round + 1, rounds);
    }
    if (isatty(2)) fputs("\n", stderr);
    for (size_t i = 0; i < count * BENCH_COLUMNS; i++) {
        double *cell = &samples[i * (size_t)rounds];
        qsort(cell, (size_t)rounds, sizeof *cell, by_size);
        results[i / BENCH_COLUMNS].median[i % BENCH_COLUMNS] = cell[rounds / 2];
    }
    free(samples);
    free(loops);
}

static size_t take(bench_result *results, bench_group group, const char *only)
{
    static const bench_row *(*const groups[BENCH_GROUPS])(size_t *) = {
        bench_floors, bench_rows, bench_rivals, bench_pools, bench_pool_rivals, bench_permits,
        bench_permit_rivals};
    size_t count, taken = 0;
    const bench_row *rows = groups[group](&count);
    for (size_t i = 0; i < count; i++) {
        bool wanted = group == BENCH_FLOORS || only == NULL || strstr(rows[i].name, only) != NULL;
        if (!wanted) continue;
        bench_result *result = &results[taken++];
        *result = (bench_result){.row = &rows[i], .group = group, .instructions = -1};
        for (int column = 0; column < BENCH_COLUMNS; column++) result->least[column] = HUGE_VAL;
    }
    return taken;
}

/* The file has a line "name instructions" for each row. */
static void read_instructions(const char *path, bench_result *results, size_t count)
{
    FILE *file = fopen(path, "r");
    char name[64];
    double instructions;
    if (file == NULL) return;
    while (fscanf(file, "%63s %lf", name, &instructions) == 2) {
        for (size_t i = 0; i < count; i++) {
            const bench_row *row = results[i].row;
            if (strcmp(row->name, name) == 0 && !row->stubbed) {
                results[i].instructions = instructions;
            }
        }
    }
    fclose(file);
}

typedef struct options {
    const char *only, *counts, *foreign, *markdown, *series;
    int         rounds, round_ms;
} options;

static bool read_options(int argc, char **argv, options *chosen)
{
    int option;
    *chosen = (options){.rounds = 9, .round_ms = 25};
    while ((option = getopt(argc, argv, "r:m:o:i:f:w:s:")) != -1) {
        switch (option) {
            case 'r': chosen->rounds = atoi(optarg); break;
            case 'm': chosen->round_ms = atoi(optarg); break;
            case 'o': chosen->only = optarg; break;
            case 'i': chosen->counts = optarg; break;
            case 'f': chosen->foreign = optarg; break;
            case 'w': chosen->markdown = optarg; break;
            case 's': chosen->series = optarg; break;
            default: return false;
        }
    }
    if (chosen->rounds >= 1 && chosen->round_ms >= 1) return true;
    fputs("bench: -r and -m need numbers above 0\n", stderr);
    return false;
}

static FILE *must_open(const char *path)
{
    FILE *file = fopen(path, "w");
    if (file != NULL) return file;
    perror(path);
    exit(1);
}

/* What is no row. */
static void measure_notes(const options *chosen, bench_notes *notes, bench_totals *totals)
{
    const char *only = chosen->only;
    if (only == NULL || strstr("pool_handoff", only) != NULL) {
        notes->handoff_count = bench_hand_off(notes->handoffs, chosen->rounds);
    }
    if (only == NULL || strstr("task_pools", only) != NULL) {
        notes->task_count = bench_run_tasks(notes->tasks, chosen->rounds, &totals->allocations);
    }
    if (only == NULL || strstr("overload", only) != NULL) {
        FILE *series = chosen->series != NULL ? must_open(chosen->series) : NULL;
        notes->overload_count = bench_run_overload(notes->overloads, &notes->service, series);
        if (series != NULL) fclose(series);
    }
}

int main(int argc, char **argv)
{
    static bench_result results[BENCH_ROWS_MAX];
    static bench_notes notes;
    options chosen;
    if (!read_options(argc, argv, &chosen)) return 2;
    size_t count = 0;
    for (int group = 0; group < BENCH_GROUPS; group++) {
        count += take(results + count, (bench_group)group, chosen.only);
    }
    if (chosen.counts != NULL) read_instructions(chosen.counts, results, count);

    bench_totals totals = {.rounds = chosen.rounds, .round_ms = chosen.round_ms};
    start_workers();
    measure(results, count, chosen.rounds, chosen.round_ms * 1e6, &totals);
    stop_workers();
    measure_notes(&chosen, &notes, &totals);
    if (chosen.foreign != NULL) {
        count += bench_read_foreign(chosen.foreign, results + count, &notes);
    }
    bench_print(stdout, BENCH_WITH_LEAST, results, count, &notes, &totals);
    if (chosen.markdown != NULL) {
        FILE *file = must_open(chosen.markdown);
        bench_print(file, BENCH_MEDIANS, results, count, &notes, &totals);
        fclose(file);
    }
    return totals.unexpected == 0 && totals.allocations == 0 && totals.hook_calls == 0 ? 0 : 1;
}
