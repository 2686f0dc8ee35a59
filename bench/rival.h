/* rival.h -- a circuit breaker guarded by a mutex: a careful C programmer's afternoon.

   The shape is gobreaker's, for which C has no equal: one lock taken when a call is let through
   and once more when its result is reported; a generation, so that late results are not counted;
   running totals over a ring of results or over one-second buckets. It is kept lean, since beating
   a slow rival proves nothing: the clock is read outside the lock where it can be, and only where
   a decision needs it, and there are no callbacks, no events and no rules for lost probes.

   SPDX-License-Identifier: MIT */
#ifndef BENCH_RIVAL_H
#define BENCH_RIVAL_H

#include "resilience.h" /* rsl_fn and rsl_time alone: the rival shares no code with the library */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { RIVAL_REFUSED = -1, RIVAL_CALLS_MAX = 100, RIVAL_BUCKETS = 10 };

typedef enum rival_window { RIVAL_CONSECUTIVE, RIVAL_COUNT, RIVAL_TIME } rival_window;
typedef enum rival_state { RIVAL_CLOSED, RIVAL_OPEN, RIVAL_HALF_OPEN } rival_state;

typedef struct rival_tally { uint32_t calls, failures, slow; } rival_tally;

typedef struct rival_breaker {
    pthread_mutex_t lock;
    /* set once */
    rival_window window;
    uint32_t     failures_max, calls_min, probes_max;
    double       failure_rate, slow_rate;
    rsl_time     open_for;
    rsl_time     slow_after; /* 0: durations are not measured */
    /* guarded by lock */
    rival_state  state;
    uint64_t     generation;
    rsl_time     open_until;
    uint32_t     streak, probes_out, probes_good;
    uint32_t     in_flight;
    uint64_t     succeeded, failed, refused;
    rival_tally  total;
    uint8_t      ring[RIVAL_CALLS_MAX]; /* bit 0: failed; bit 1: slow */
    uint32_t     ring_next;
    rival_tally  bucket[RIVAL_BUCKETS];
    int64_t      bucket_last; /* the second that the newest bucket stands for */
} rival_breaker;

typedef struct rival_permit { uint64_t generation; rsl_time started; } rival_permit;

void rival_init(rival_breaker *breaker, rival_window window, rsl_time slow_after);
/* Puts it into the open state for a day, or half-open with all probes out. */
void rival_refuse(rival_breaker *breaker, rival_state state);

int  rival_allow(rival_breaker *breaker, rival_permit *permit);
void rival_report(rival_breaker *breaker, const rival_permit *permit, int result);
int  rival_call(rival_breaker *breaker, const rsl_ctx *ctx, rsl_fn fn, void *arg);

#endif
