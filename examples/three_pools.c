/* SPDX-License-Identifier: MIT
   three_pools.c: the classic split. Critical work (10 threads), normal work (50) and background
   work (20) have workers of their own. A background job gone wild fills its workers and its queue;
   the 99th percentile of the critical calls, from submit to done, stays what it was. Beside it the
   same load on one set of 80 threads for all, where critical calls queue behind the rest.

   All of them sleep, as calls to a database or another service do.

   cc -std=c11 -O2 -I. examples/three_pools.c -pthread                                          */
#define RSL_BULKHEAD_IMPLEMENTATION
#include "bulkhead.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CALLS = 300, FLOOD = 400, PAUSE_MS = 2, CRITICAL_MS = 5, OTHER_MS = 40, TRIES = 3 };

typedef enum kind { CRITICAL, NORMAL, BACKGROUND, KINDS } kind;
static const char *const names[KINDS] = {"critical", "normal", "background"};
static const uint32_t threads[KINDS] = {10, 50, 20};

typedef struct call {
    rsl_task task;
    rsl_time submitted, done;
} call;

static void nap(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static int answer(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    nap(CRITICAL_MS);
    ((call *)arg)->done = rsl_now();
    return 0;
}

static int work(const rsl_ctx *ctx, void *arg)
{
    (void)arg;
    for (int i = 0; i < OTHER_MS / 10 && !rsl_cancel_fired(ctx->cancel); i++) nap(10);
    return 0;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Milliseconds from submit to done of the slowest critical call in a hundred, beside normal calls,
   while `flooded` says whether there is always more to do in the background than it can. */
static double critical_p99(rsl_workers *const workers[KINDS], bool flooded)
{
    static call calls[CALLS];
    static rsl_task normal[CALLS], flood[FLOOD];
    static double took[CALLS];
    memset(calls, 0, sizeof calls);
    memset(normal, 0, sizeof normal);
    memset(flood, 0, sizeof flood);
    for (int i = 0; i < CALLS; i++) {
        for (int j = 0; flooded && j < FLOOD; j++) /* again, as soon as it has ended */
            rsl_workers_submit(workers[BACKGROUND], NULL, work, NULL, &flood[j]);
        rsl_workers_submit(workers[NORMAL], NULL, work, NULL, &normal[i]);
        calls[i].submitted = rsl_now();
        rsl_workers_submit(workers[CRITICAL], NULL, answer, &calls[i], &calls[i].task);
        nap(PAUSE_MS);
    }
    for (int i = 0; i < FLOOD; i++) rsl_task_cancel(&flood[i]);
    for (int i = 0; i < CALLS; i++) {
        rsl_ctx limit = rsl_within(RSL_SEC(30));
        int rc = rsl_task_wait(&calls[i].task, &limit, NULL);
        took[i] = rc == RSL_OK ? (double)(calls[i].done - calls[i].submitted) * 1e-6 : 1e9;
        rsl_task_wait(&normal[i], NULL, NULL);
    }
    for (int i = 0; i < FLOOD; i++) rsl_task_wait(&flood[i], NULL, NULL);
    qsort(took, CALLS, sizeof took[0], by_size);
    return took[CALLS * 99 / 100];
}

static rsl_workers *open_or_exit(const char *name, uint32_t count)
{
    rsl_workers *workers;
    rsl_workers_config config = {.name = name, .threads_min = count, .threads_max = count,
                                 .queue_max = 4096, .stack_size = 256 * 1024};
    if (rsl_workers_open(&workers, &config) == RSL_OK) return workers;
    fprintf(stderr, "three_pools: no %u threads\n", (unsigned)count);
    exit(1);
}

int main(void)
{
    rsl_workers *split[KINDS], *shared[KINDS];
    bool proved = false, closed = true;
    for (kind k = CRITICAL; k < KINDS; k++) split[k] = open_or_exit(names[k], threads[k]);
    shared[CRITICAL] = shared[NORMAL] = shared[BACKGROUND] = open_or_exit("all", 80);
    for (int i = 0; i < TRIES && !proved; i++) { /* again if this machine had other things to do */
        double calm = critical_p99(split, false);
        double flooded = critical_p99(split, true);
        double together = critical_p99(shared, true);
        proved = flooded < 2 * calm + 10 && flooded < together;
        printf("99 of 100 critical calls, of %d ms each, take at most\n"
               "  %7.1f ms  with nothing to do in the background\n"
               "  %7.1f ms  with a flooded background, on 10 + 50 + 20 threads\n"
               "  %7.1f ms  with a flooded background, on 80 threads for all\n",
               CRITICAL_MS, calm, flooded, together);
    }
    for (kind k = CRITICAL; k < KINDS; k++) closed &= rsl_workers_close(split[k], NULL) == RSL_OK;
    closed &= rsl_workers_close(shared[CRITICAL], NULL) == RSL_OK;
    printf("saturating the background leaves critical calls alone: %s\n", proved ? "yes" : "no");
    return proved && closed ? 0 : 1;
}
