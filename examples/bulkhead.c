/* SPDX-License-Identifier: MIT
   bulkhead.c: permits alone. Sixteen threads ask for reports all the time, and the renderer is
   good for three at once. Up to eight more wait, in turn and not for ever; who comes on top of
   that has an answer at once, and does without.

   cc -std=c11 -O2 -I. examples/bulkhead.c -pthread                                             */
#define RSL_BULKHEAD_IMPLEMENTATION
#include "bulkhead.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { THREADS = 16, REPORTS = 50, AT_ONCE = 3, WAITING = 8 };

static rsl_bulkhead renderer;
static _Atomic int  inside, most_inside;
static _Atomic int  rendered, refused, timed_out;
static _Atomic rsl_time slowest_refusal;

static void nap(rsl_time span)
{
    struct timespec time = {(time_t)(span / RSL_SEC(1)), (long)(span % RSL_SEC(1))};
    nanosleep(&time, NULL);
}

static int render(const rsl_ctx *ctx, void *arg)
{
    (void)ctx, (void)arg;
    int now = atomic_fetch_add(&inside, 1) + 1, before = atomic_load(&most_inside);
    while (now > before && !atomic_compare_exchange_weak(&most_inside, &before, now)) {}
    nap(RSL_MS(2));
    atomic_fetch_sub(&inside, 1);
    return 0;
}

static void *ask(void *arg)
{
    (void)arg;
    for (int i = 0; i < REPORTS; i++) {
        rsl_time start = rsl_now();
        int result = rsl_bulkhead_call(&renderer, NULL, render, NULL);
        rsl_time took = rsl_now() - start, before = atomic_load(&slowest_refusal);
        rendered += result == 0;
        timed_out += result == RSL_ETIMEOUT;
        if (result != RSL_EFULL) continue;
        refused++;
        while (took > before &&
               !atomic_compare_exchange_weak(&slowest_refusal, &before, took)) {}
        nap(RSL_MS(5)); /* yesterday's report will do */
    }
    return NULL;
}

int main(void)
{
    rsl_bulkhead_config config = {.name = "reports", .calls_max = AT_ONCE, .waiting_max = WAITING,
                                  .wait_max = RSL_MS(100)};
    if (rsl_bulkhead_init(&renderer, &config) != RSL_OK) {
        const char *why = rsl_bulkhead_config_check(&config);
        fprintf(stderr, "bulkhead: %s\n", why != NULL ? why : "no memory, or no lock");
        return 1;
    }
    pthread_t threads[THREADS];
    int count = 0;
    while (count < THREADS && pthread_create(&threads[count], NULL, ask, NULL) == 0) count++;
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);

    rsl_bulkhead_stats s;
    rsl_bulkhead_stats_get(&renderer, &s);
    printf("%d threads asked for %d reports: %d rendered, %d refused, %d waited in vain\n", count,
           count * REPORTS, rendered, refused, timed_out);
    printf("never more than %d were inside; %d had to wait, %.1f ms on average; the slowest "
           "refusal took %.1f us\n", most_inside, (int)s.waited,
           s.waited > 0 ? (double)s.wait_total / (double)s.waited / 1e6 : 0,
           (double)slowest_refusal / 1e3);
    bool proved = count == THREADS && rendered + refused + timed_out == THREADS * REPORTS &&
                  most_inside <= AT_ONCE && refused > 0 && s.admitted == (uint64_t)rendered &&
                  s.refused == (uint64_t)refused && s.in_use == 0 && s.waiting == 0;
    rsl_bulkhead_deinit(&renderer);
    printf("nobody crowded the renderer, and all permits are back: %s\n", proved ? "yes" : "no");
    return proved ? 0 : 1;
}
