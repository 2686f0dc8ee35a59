/* rival.c -- see rival.h.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "rival.h"

#include <string.h>
#include <time.h>

static const rsl_time SECOND = 1000000000;

static rsl_time precise_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (rsl_time)now.tv_sec * SECOND + now.tv_nsec;
}

void rival_init(rival_breaker *breaker, rival_window window, rsl_time slow_after)
{
    memset(breaker, 0, sizeof *breaker);
    pthread_mutex_init(&breaker->lock, NULL);
    breaker->window = window;
    breaker->failures_max = 5;
    breaker->calls_min = 10;
    breaker->probes_max = 1;
    breaker->failure_rate = 0.5;
    breaker->slow_rate = 1.0;
    breaker->open_for = 30 * SECOND;
    breaker->slow_after = slow_after;
    breaker->generation = 1;
    breaker->bucket_last = precise_now() / SECOND;
}

/* Guarded by lock. */
static void enter_state(rival_breaker *breaker, rival_state state, rsl_time now)
{
    breaker->state = state;
    breaker->generation++;
    breaker->streak = breaker->probes_out = breaker->probes_good = 0;
    memset(&breaker->total, 0, sizeof breaker->total);
    memset(breaker->bucket, 0, sizeof breaker->bucket);
    breaker->ring_next = 0;
    if (state == RIVAL_OPEN) breaker->open_until = now + breaker->open_for;
}

void rival_refuse(rival_breaker *breaker, rival_state state)
{
    enter_state(breaker, state, precise_now());
    breaker->open_until += 86400 * SECOND;
    breaker->probes_out = breaker->probes_max;
}

static int refuse(rival_breaker *breaker)
{
    breaker->refused++;
    pthread_mutex_unlock(&breaker->lock);
    return RIVAL_REFUSED;
}

int rival_allow(rival_breaker *breaker, rival_permit *permit)
{
    permit->started = breaker->slow_after != 0 ? precise_now() : 0;
    pthread_mutex_lock(&breaker->lock);
    if (breaker->state == RIVAL_OPEN) {
        rsl_time now = permit->started != 0 ? permit->started : precise_now();
        if (now < breaker->open_until) return refuse(breaker);
        enter_state(breaker, RIVAL_HALF_OPEN, now);
    }
    if (breaker->state == RIVAL_HALF_OPEN) {
        if (breaker->probes_out >= breaker->probes_max) return refuse(breaker);
        breaker->probes_out++;
    }
    breaker->in_flight++;
    permit->generation = breaker->generation;
    pthread_mutex_unlock(&breaker->lock);
    return 0;
}

static void count_in_ring(rival_breaker *breaker, bool failed, bool slow)
{
    uint8_t *entry = &breaker->ring[breaker->ring_next];
    if (breaker->total.calls == RIVAL_CALLS_MAX) {
        breaker->total.failures -= *entry & 1u;
        breaker->total.slow -= *entry >> 1;
    } else {
        breaker->total.calls++;
    }
    *entry = (uint8_t)((failed ? 1u : 0u) | (slow ? 2u : 0u));
    breaker->total.failures += failed;
    breaker->total.slow += slow;
    if (++breaker->ring_next == RIVAL_CALLS_MAX) breaker->ring_next = 0;
}

/* Drops the buckets that have left the window; then the newest is the current second's. */
static void turn_buckets(rival_breaker *breaker, int64_t second)
{
    while (breaker->bucket_last < second) {
        if (second - breaker->bucket_last > RIVAL_BUCKETS) {
            breaker->bucket_last = second - RIVAL_BUCKETS;
        }
        rival_tally *oldest = &breaker->bucket[++breaker->bucket_last % RIVAL_BUCKETS];
        breaker->total.calls -= oldest->calls;
        breaker->total.failures -= oldest->failures;
        breaker->total.slow -= oldest->slow;
        memset(oldest, 0, sizeof *oldest);
    }
}

static void count_in_bucket(rival_breaker *breaker, bool failed, bool slow, rsl_time now)
{
    turn_buckets(breaker, now / SECOND);
    rival_tally *newest = &breaker->bucket[breaker->bucket_last % RIVAL_BUCKETS];
    newest->calls++;
    newest->failures += failed;
    newest->slow += slow;
    breaker->total.calls++;
    breaker->total.failures += failed;
    breaker->total.slow += slow;
}

static bool has_tripped(const rival_breaker *breaker)
{
    if (breaker->window == RIVAL_CONSECUTIVE) return breaker->streak >= breaker->failures_max;
    const rival_tally *total = &breaker->total;
    if (total->calls < breaker->calls_min) return false;
    return total->failures >= breaker->failure_rate * total->calls ||
           (breaker->slow_after != 0 && total->slow >= breaker->slow_rate * total->calls);
}

static void count_closed(rival_breaker *breaker, bool failed, bool slow, rsl_time now)
{
    switch (breaker->window) {
        case RIVAL_CONSECUTIVE: breaker->streak = failed || slow ? breaker->streak + 1 : 0; break;
        case RIVAL_COUNT: count_in_ring(breaker, failed, slow); break;
        case RIVAL_TIME: count_in_bucket(breaker, failed, slow, now); break;
    }
    if (has_tripped(breaker)) enter_state(breaker, RIVAL_OPEN, now != 0 ? now : precise_now());
}

static void count_probe(rival_breaker *breaker, bool failed, rsl_time now)
{
    if (failed) {
        enter_state(breaker, RIVAL_OPEN, now != 0 ? now : precise_now());
    } else if (++breaker->probes_good == breaker->probes_max) {
        enter_state(breaker, RIVAL_CLOSED, now);
    }
}

void rival_report(rival_breaker *breaker, const rival_permit *permit, int result)
{
    bool timed = breaker->slow_after != 0 || breaker->window == RIVAL_TIME;
    rsl_time now = timed ? precise_now() : 0;
    bool failed = result != 0;
    bool slow = breaker->slow_after != 0 && now - permit->started >= breaker->slow_after;

    pthread_mutex_lock(&breaker->lock);
    breaker->in_flight--;
    if (failed) {
        breaker->failed++;
    } else {
        breaker->succeeded++;
    }
    if (permit->generation == breaker->generation) {
        if (breaker->state == RIVAL_CLOSED) {
            count_closed(breaker, failed, slow, now);
        } else if (breaker->state == RIVAL_HALF_OPEN) {
            count_probe(breaker, failed || slow, now);
        }
    }
    pthread_mutex_unlock(&breaker->lock);
}

int rival_call(rival_breaker *breaker, const rsl_ctx *ctx, rsl_fn fn, void *arg)
{
    rival_permit permit;
    int result = rival_allow(breaker, &permit);
    if (result != 0) return result;
    result = fn(ctx, arg);
    rival_report(breaker, &permit, result);
    return result;
}
