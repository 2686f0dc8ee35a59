/* SPDX-License-Identifier: MIT
   own_layer.c: a layer of one's own is three plain functions around a call. This one lets through
   so many calls a second: it waits when it must, and refuses when the wait would be too long.

   cc -std=c11 -O2 -I. examples/own_layer.c -pthread                                            */
#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <stdio.h>

/* One turn every `interval`. For one thread; with more, put a lock around `next`. */
typedef struct pace {
    rsl_time interval, wait_max;
    rsl_time next;    /* when the next turn is free */
    int      passed, given_back;
} pace;

/* Slot: the time of the turn that was taken. Called again, it is there already. */
static int pace_enter(void *self, rsl_execution *e, rsl_slot *slot)
{
    pace *p = self;
    if (slot->word[0] == 0) {
        rsl_time turn = p->next > e->now ? p->next : e->now;
        if (turn - e->now > p->wait_max) return RSL_ELIMITED;
        p->next = turn + p->interval;
        slot->word[0] = (uint64_t)turn;
    }
    e->wake_at = (rsl_time)slot->word[0];
    return e->now < e->wake_at ? RSL_WAIT : RSL_OK;
}

static int pace_leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    pace *p = self;
    (void)e, (void)slot;
    p->passed++;
    return RSL_DONE;
}

/* Given up while it waited or while the call was out: if no one has queued behind, the turn is
   free again. */
static void pace_abandon(void *self, rsl_execution *e, rsl_slot *slot)
{
    pace *p = self;
    (void)e;
    if (p->next == (rsl_time)slot->word[0] + p->interval) p->next -= p->interval;
    p->given_back++;
}

static const rsl_layer_type pace_type = {"pace", pace_enter, pace_leave, pace_abandon};

static int work(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    (*(int *)arg)++;
    return 0;
}

int main(void)
{
    pace p = {.interval = RSL_MS(10), .wait_max = RSL_SEC(60)};
    const rsl_layer policy[] = {{&pace_type, &p}};
    int works = 0, failed = 0;
    rsl_time start = rsl_now();
    for (int i = 0; i < 10; i++) {
        failed += rsl_run(policy, RSL_COUNT(policy), NULL, work, &works) != RSL_OK;
    }
    rsl_time took = rsl_now() - start;
    printf("10 calls, one every 10 ms: %.0f ms\n", (double)took / (double)RSL_MS(1));

    p.next = rsl_now() + RSL_SEC(30); /* as if many stood in line: more than this one can wait */
    rsl_ctx hurried = rsl_within(RSL_MS(100));
    int late = rsl_run(policy, RSL_COUNT(policy), &hurried, work, &works);
    printf("a line of 30 s and 100 ms to wait: %s\n", rsl_strerror(late));

    p.next = rsl_now() + RSL_SEC(90); /* more than the layer lets anybody wait */
    int refused = rsl_run(policy, RSL_COUNT(policy), NULL, work, &works);
    printf("a line of 90 s: %s\n", rsl_strerror(refused));

    bool proved = failed == 0 && works == 10 && p.passed == 10 && took >= RSL_MS(90) &&
                  late == RSL_ETIMEOUT && p.given_back == 1 && refused == RSL_ELIMITED;
    return proved ? 0 : 1;
}
