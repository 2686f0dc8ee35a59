/* SPDX-License-Identifier: MIT
   workers.c: threads of their own for one kind of work, here four that render pages. Three
   letters are submitted, each with its task in this function's memory, and waited for; one of
   them is cancelled in time, one would be too late and never runs. Then a map renders 200 pages.

   cc -std=c11 -O2 -I. examples/workers.c -pthread                                              */
#define RSL_BULKHEAD_IMPLEMENTATION
#include "bulkhead.h"

#include <stdio.h>
#include <time.h>

enum { THREADS = 4, PAGES = 200 };

typedef struct page { int number, words; } page;

/* Rendering is a wait here, of a millisecond; it stops early when it is told to. */
static int render(const rsl_ctx *ctx, void *arg)
{
    page *p = arg;
    if (rsl_cancel_fired(ctx->cancel)) return RSL_ECANCELED;
    nanosleep(&(struct timespec){0, 1000000}, NULL);
    p->words = 300 + p->number;
    return 0;
}

static int hold_up(const rsl_ctx *ctx, void *arg)
{
    (void)arg;
    while (!rsl_cancel_fired(ctx->cancel)) nanosleep(&(struct timespec){0, 1000000}, NULL);
    return 0;
}

/* Four threads are held up, and three letters queue behind them. */
static bool letters(rsl_workers *workers)
{
    rsl_task busy[THREADS] = {{0}}, tasks[3] = {{0}};
    page letter[3] = {{1, 0}, {2, 0}, {3, 0}};
    int results[3] = {0};
    rsl_ctx urgent = {.priority = 1}, soon = rsl_within(RSL_MS(10));
    bool sound = true;
    for (int i = 0; i < THREADS; i++)
        sound &= rsl_workers_submit(workers, NULL, hold_up, NULL, &busy[i]) == RSL_OK;
    sound &= rsl_workers_submit(workers, &urgent, render, &letter[0], &tasks[0]) == RSL_OK &&
             rsl_workers_submit(workers, NULL, render, &letter[1], &tasks[1]) == RSL_OK &&
             rsl_workers_submit(workers, &soon, render, &letter[2], &tasks[2]) == RSL_OK;
    rsl_task_cancel(&tasks[1]);                           /* queued: it never runs */
    nanosleep(&(struct timespec){0, 20000000}, NULL);     /* the third one is late by now */
    for (int i = 0; i < THREADS; i++) rsl_task_cancel(&busy[i]); /* running: it is told */
    for (int i = 0; i < THREADS; i++) rsl_task_wait(&busy[i], NULL, NULL);
    for (int i = 0; i < 3; i++) {
        rsl_task_wait(&tasks[i], NULL, &results[i]);
        printf("letter %d: %s, %d words\n", i + 1, rsl_strerror(results[i]), letter[i].words);
    }
    return sound && results[0] == 0 && letter[0].words == 301 && results[1] == RSL_ECANCELED &&
           results[2] == RSL_ETIMEOUT && letter[1].words == 0 && letter[2].words == 0;
}

static bool book(rsl_workers *workers)
{
    static page pages[PAGES];
    static int results[PAGES];
    int rendered = 0;
    for (int i = 0; i < PAGES; i++) pages[i].number = i;
    rsl_time began = rsl_now();
    int rc = rsl_workers_map(workers, NULL, render, pages, sizeof pages[0], PAGES, results);
    for (int i = 0; i < PAGES; i++) rendered += results[i] == 0 && pages[i].words == 300 + i;
    printf("map: %d of %d pages in %.0f ms, %d at a time\n", rendered, PAGES,
           (double)(rsl_now() - began) * 1e-6, THREADS);
    return rc == RSL_OK && rendered == PAGES;
}

int main(void)
{
    rsl_workers *workers;
    rsl_workers_config config = {.name = "render", .threads_max = THREADS, .queue_max = 16};
    if (rsl_workers_open(&workers, &config) != RSL_OK) {
        const char *why = rsl_workers_config_check(&config);
        fprintf(stderr, "workers: %s\n", why != NULL ? why : "no memory, or no thread");
        return 1;
    }
    bool sound = letters(workers) & book(workers);
    rsl_workers_stats s;
    rsl_workers_stats_get(workers, &s);
    printf("%d threads; tasks: %d ran, %d cancelled, %d late\n", (int)s.threads,
           (int)s.completed, (int)s.canceled, (int)s.expired);
    rsl_ctx limit = rsl_within(RSL_SEC(5));
    return rsl_workers_close(workers, &limit) == RSL_OK && sound ? 0 : 1;
}
