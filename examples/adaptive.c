/* SPDX-License-Identifier: MIT
   adaptive.c: a limit that finds itself. A server with ten processors answers a call in 20 ms, in
   the order of arrival; three times as many calls come as it can take, and who has no answer after
   200 ms has gone. After 20 seconds the server loses half of its processors, after 40 it has them
   back. Nobody tells the bulkhead: it sees latencies, and which answers were slow.

   The bulkhead is the real one; the server, the callers and time are simulated.

   cc -std=c11 -O2 -I. examples/adaptive.c -pthread                                             */
#define RSL_BULKHEAD_IMPLEMENTATION
#include "bulkhead.h"

#include <stdio.h>

enum { PROCESSORS = 10, SECONDS = 60, STEP = 5, STEPS = SECONDS / STEP, MOST = 1000, KINDS = 5 };
#define WORK     RSL_MS(20)
#define PATIENCE RSL_MS(200)

typedef struct call { rsl_bulkhead_permit permit; rsl_time start, end; } call;

typedef struct server {
    uint32_t processors;
    rsl_time free_at[PROCESSORS]; /* when each has done all that stands before it */
    call     calls[MOST];         /* in its queue or being worked on */
    uint32_t count;
} server;

typedef struct sight { uint32_t limit; double goodput; } sight; /* at the end of a step; in it */

static rsl_time today;
static uint64_t seed;

static rsl_time now(void *user) { (void)user; return today; }

/* Between 0 and 1; the same numbers in each run. */
static double chance(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) / 9007199254740992.0;
}

static uint32_t processors_at(rsl_time at)
{
    return at >= RSL_SEC(20) && at < RSL_SEC(40) ? PROCESSORS / 2 : PROCESSORS;
}

/* The call gets the processor that is free first, and takes 15 to 25 ms of it. */
static void server_take(server *s, rsl_bulkhead_permit permit)
{
    uint32_t first = 0;
    for (uint32_t i = 1; i < processors_at(today); i++) {
        if (s->free_at[i] < s->free_at[first]) first = i;
    }
    rsl_time begin = s->free_at[first] > today ? s->free_at[first] : today;
    s->free_at[first] = begin + (rsl_time)((double)WORK * (0.75 + chance() / 2));
    s->calls[s->count++] = (call){permit, today, s->free_at[first]};
}

static call *server_next(server *s)
{
    call *next = NULL;
    for (uint32_t i = 0; i < s->count; i++) {
        if (next == NULL || s->calls[i].end < next->end) next = &s->calls[i];
    }
    return next;
}

/* Whether the answer came while somebody waited for it; a later one was work for nothing. Overload
   is told at half of that time: at its end, all that stand in the queue would be too late. */
static bool server_answer(server *s, rsl_bulkhead *bulkhead, call *c)
{
    rsl_time took = today - c->start;
    rsl_bulkhead_leave(bulkhead, &c->permit, took > PATIENCE / 2 ? RSL_ETIMEOUT : RSL_OK);
    *c = s->calls[--s->count];
    return took <= PATIENCE;
}

static bool simulate(rsl_bulkhead_limit kind, sight sights[STEPS])
{
    static server s;
    s = (server){.count = 0};
    rsl_bulkhead_config config = {
        .limit = kind, .calls_max = kind == RSL_LIMIT_FIXED ? MOST : 20, .limit_max = MOST,
        .latency_target = RSL_MS(40), .clock.now = now};
    rsl_bulkhead bulkhead;
    rsl_bulkhead_stats stats;
    if (rsl_bulkhead_init(&bulkhead, &config) != RSL_OK) return false;
    rsl_time arrival = 0;
    uint64_t answered = 0;
    for (int step = 0; step < STEPS;) {
        call *next = server_next(&s);
        rsl_time end = RSL_SEC((step + 1) * STEP);
        today = next != NULL && next->end < arrival ? next->end : arrival;
        if (today >= end) {
            rsl_bulkhead_stats_get(&bulkhead, &stats);
            sights[step++] = (sight){stats.limit, (double)answered / STEP};
            answered = 0;
        } else if (today < arrival) {
            answered += server_answer(&s, &bulkhead, next);
        } else {
            rsl_bulkhead_permit permit;
            if (rsl_bulkhead_try(&bulkhead, &permit) == RSL_OK) server_take(&s, permit);
            arrival += (rsl_time)(2 * chance() * (double)WORK / PROCESSORS / 3);
        }
    }
    while (s.count > 0) server_answer(&s, &bulkhead, &s.calls[0]);
    rsl_bulkhead_stats_get(&bulkhead, &stats);
    rsl_bulkhead_deinit(&bulkhead);
    return stats.in_use == 0;
}

int main(void)
{
    static const rsl_bulkhead_limit kinds[KINDS] = {RSL_LIMIT_FIXED, RSL_LIMIT_AIMD,
        RSL_LIMIT_VEGAS, RSL_LIMIT_GRADIENT2, RSL_LIMIT_LATENCY};
    sight sights[KINDS][STEPS];
    double share[KINDS] = {0};
    bool proved = true;
    printf("the limit (answers in time, %% of what the server can do), every %d s\n"
           "   until   no limit        AIMD       Vegas   Gradient2     latency\n", STEP);
    for (int k = 0; k < KINDS; k++) {
        seed = 1;
        proved = simulate(kinds[k], sights[k]) && proved;
    }
    for (int step = 0; step < STEPS; step++) {
        double capacity = processors_at(RSL_SEC(step * STEP)) / ((double)WORK / 1e9);
        printf("  %4d s", (step + 1) * STEP);
        for (int k = 0; k < KINDS; k++) {
            double part = sights[k][step].goodput / capacity;
            printf("  %4u (%2.0f)", sights[k][step].limit, 100 * part);
            share[k] += part / STEPS;
        }
        puts("");
    }
    printf("on average");
    for (int k = 0; k < KINDS; k++) printf("%6.0f %%    ", 100 * share[k]);
    for (int k = 1; k < KINDS; k++) proved = proved && share[k] > 0.8 && share[0] < 0.3;
    printf("\nwithout a limit the server works for nobody, with each of the others for its "
           "callers: %s\n", proved ? "yes" : "no");
    return proved ? 0 : 1;
}
