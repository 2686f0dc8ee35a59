/* rivals.c -- the rows of the mutex-guarded breaker.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "bench.h"
#include "rival.h"

static _Alignas(128) rival_breaker consecutive, counting, timed;
static _Alignas(128) rival_breaker consecutive_slow, counting_slow, timed_slow;
static _Alignas(128) rival_breaker consecutive_mixed, counting_mixed, timed_mixed;
static _Alignas(128) rival_breaker open_one, half_open;

static uint64_t call_rival(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        unexpected += rival_call(subject, NULL, bench_target, NULL) != 0;
    }
    return unexpected;
}

static uint64_t call_rival_mixed(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        unexpected += rival_call(subject, NULL, bench_mixed(i), NULL) == RIVAL_REFUSED;
    }
    return unexpected;
}

static uint64_t be_refused(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        unexpected += rival_call(subject, NULL, bench_target, NULL) != RIVAL_REFUSED;
    }
    return unexpected;
}

static const bench_row rivals[] = {
    {.name = "mutex_consecutive", .title = "mutex breaker, consecutive",
     .loop = call_rival, .subject = &consecutive},
    {.name = "mutex_count", .title = "mutex breaker, count window 100",
     .loop = call_rival, .subject = &counting},
    {.name = "mutex_time", .title = "mutex breaker, time window 10 s",
     .loop = call_rival, .subject = &timed},
    {.name = "mutex_consecutive_slow", .title = "mutex breaker, consecutive, slow calls",
     .loop = call_rival, .subject = &consecutive_slow},
    {.name = "mutex_count_slow", .title = "mutex breaker, count window 100, slow calls",
     .loop = call_rival, .subject = &counting_slow},
    {.name = "mutex_time_slow", .title = "mutex breaker, time window 10 s, slow calls",
     .loop = call_rival, .subject = &timed_slow},
    {.name = "mutex_consecutive_mixed", .title = "mutex breaker, consecutive, 1 of 64 fails",
     .loop = call_rival_mixed, .subject = &consecutive_mixed},
    {.name = "mutex_count_mixed", .title = "mutex breaker, count window 100, 1 of 64 fails",
     .loop = call_rival_mixed, .subject = &counting_mixed},
    {.name = "mutex_time_mixed", .title = "mutex breaker, time window 10 s, 1 of 64 fails",
     .loop = call_rival_mixed, .subject = &timed_mixed},
    {.name = "mutex_open", .title = "mutex breaker, refusal while open",
     .loop = be_refused, .subject = &open_one},
    {.name = "mutex_half_open", .title = "mutex breaker, refusal while half-open",
     .loop = be_refused, .subject = &half_open},
};

const bench_row *bench_rivals(size_t *count)
{
    rival_init(&consecutive, RIVAL_CONSECUTIVE, 0);
    rival_init(&counting, RIVAL_COUNT, 0);
    rival_init(&timed, RIVAL_TIME, 0);
    rival_init(&consecutive_slow, RIVAL_CONSECUTIVE, RSL_SEC(1));
    rival_init(&counting_slow, RIVAL_COUNT, RSL_SEC(1));
    rival_init(&timed_slow, RIVAL_TIME, RSL_SEC(1));
    rival_init(&consecutive_mixed, RIVAL_CONSECUTIVE, 0);
    rival_init(&counting_mixed, RIVAL_COUNT, 0);
    rival_init(&timed_mixed, RIVAL_TIME, 0);
    consecutive_mixed.failures_max = 1000; /* as in rows.c */
    rival_init(&open_one, RIVAL_CONSECUTIVE, 0);
    rival_refuse(&open_one, RIVAL_OPEN);
    rival_init(&half_open, RIVAL_CONSECUTIVE, 0);
    rival_refuse(&half_open, RIVAL_HALF_OPEN);
    *count = RSL_COUNT(rivals);
    return rivals;
}
