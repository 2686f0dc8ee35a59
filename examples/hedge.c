/* SPDX-License-Identifier: MIT
   hedge.c: hedging. One server in twenty is stuck for a while; whoever asks it waits. A second
   attempt, started when the first takes longer than is usual, is answered by another server: the
   worst wait shrinks to a fraction, for a few calls more.

   cc -std=c11 -O2 -I. examples/hedge.c -pthread                                                */
#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <stdatomic.h>
#include <stdio.h>

enum { CALLS = 100 };

typedef struct question { /* each attempt works on a copy of its own; the winner's comes back */
    int number, answer;
} question;

static atomic_int asked;

/* Takes 1 ms, or, every twentieth time, 200: unless it is told to stop. */
static int ask(const rsl_ctx *ctx, void *arg)
{
    question *q = arg;
    bool stuck = atomic_fetch_add(&asked, 1) % 20 == 19;
    rsl_ctx nap = rsl_within(stuck ? RSL_MS(200) : RSL_MS(1));
    while (rsl_left(&nap) > 0) {
        if (ctx != NULL && rsl_cancel_fired(ctx->cancel)) return RSL_ECANCELED;
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
    q->answer = q->number * 2;
    return 0;
}

/* The longest of a hundred calls. */
static rsl_time worst(rsl_hedge *hedge, int *wrong)
{
    rsl_time longest = 0;
    for (int i = 0; i < CALLS; i++) {
        question q = {.number = i};
        rsl_time began = rsl_now();
        int rc = hedge ? rsl_hedge_call(hedge, NULL, ask, &q, sizeof q) : ask(NULL, &q);
        rsl_time took = rsl_now() - began;
        *wrong += rc != 0 || q.answer != 2 * i;
        if (took > longest) longest = took;
    }
    return longest;
}

int main(void)
{
    rsl_workers *workers;
    rsl_hedge hedge;
    rsl_retry_budget budget; /* further attempts: a fifth of the load, in the long run */
    rsl_retry_budget_config tokens = {.tokens_max = 100, .tokens_per_success = 0.2};
    rsl_workers_config threads = {.name = "hedge", .threads_min = 4};
    if (rsl_retry_budget_init(&budget, &tokens) != RSL_OK) return 1;
    if (rsl_workers_open(&workers, &threads) != RSL_OK) return 1;
    rsl_hedge_config config = {.workers = workers, .delay = RSL_MS(20), .percentile = 0.9,
                               .delay_min = RSL_MS(10), .budget = &budget};
    if (rsl_hedge_init(&hedge, &config) != RSL_OK) {
        fprintf(stderr, "hedge: %s\n", rsl_hedge_config_check(&config));
        return 1;
    }
    int wrong = 0;
    rsl_time plain = worst(NULL, &wrong);
    int once = atomic_exchange(&asked, 0);
    rsl_time hedged = worst(&hedge, &wrong);
    rsl_hedge_stats stats;
    rsl_hedge_stats_get(&hedge, &stats);
    if (rsl_hedge_deinit(&hedge, NULL) != RSL_OK) return 1; /* waits for losers */
    if (rsl_workers_close(workers, NULL) != RSL_OK) return 1;

    printf("plain:  the worst of %d calls took %3d ms; %d attempts\n", CALLS,
           (int)(plain / RSL_MS(1)), once);
    printf("hedged: the worst of %d calls took %3d ms; %d attempts, %d saved by the second\n",
           CALLS, (int)(hedged / RSL_MS(1)), atomic_load(&asked), (int)stats.won);
    bool proved = wrong == 0 && plain >= RSL_MS(200) && hedged < plain * 3 / 4 && stats.won > 0;
    printf("nobody waits for the one that is stuck: %s\n", proved ? "yes" : "no");
    return proved ? 0 : 1;
}
