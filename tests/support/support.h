/* SPDX-License-Identifier: MIT
   support.h: what the tests share: virtual time, seeded chance, an event recorder, TAP for
   plain programs.

   Include it after a header of the library, whose types it uses; support/allocator.h goes before
   that header. Everything is static, so a test stays one file to build.                        */
#ifndef SUPPORT_SUPPORT_H
#define SUPPORT_SUPPORT_H

#ifndef RSL_COUNT
#error "include a header of the library before support/support.h"
#endif

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifndef SUPPORT_UNUSED
#define SUPPORT_UNUSED __attribute__((unused))
#endif

/* ------------------------------------------------------------ virtual time */

/* Time that moves only when told to, or by sleeping. One thread only. */
typedef struct virtual_clock {
    rsl_time now;
    int      sleeps;                 /* how often it slept */
    int      reads;                  /* how often it was asked for the time */
    rsl_time slept_until;            /* the latest wish */
    rsl_time wake_early;             /* the next sleep ends this much before its time (0) */
    void   (*on_sleep)(struct virtual_clock *clock, rsl_time until); /* before time moves (none) */
    void    *arg;                    /* for on_sleep */
} virtual_clock;

SUPPORT_UNUSED static rsl_time virtual_clock_now_(void *user)
{
    virtual_clock *clock = user;
    clock->reads++;
    return clock->now;
}

SUPPORT_UNUSED static void virtual_clock_sleep_until_(void *user, rsl_time until)
{
    virtual_clock *clock = user;
    clock->sleeps++;
    clock->slept_until = until;
    if (clock->on_sleep != NULL) {
        clock->on_sleep(clock, until);
    }
    if (until - clock->wake_early > clock->now) {
        clock->now = until - clock->wake_early;
    }
    clock->wake_early = 0;
}

SUPPORT_UNUSED static rsl_clock virtual_clock_as(virtual_clock *clock)
{
    rsl_clock as = {virtual_clock_now_, virtual_clock_sleep_until_, clock};
    return as;
}

/* The same for many threads: they read it, one of them moves it. */
typedef struct shared_clock {
    _Atomic int64_t now;
} shared_clock;

SUPPORT_UNUSED static rsl_time shared_clock_now_(void *user)
{
    shared_clock *clock = user;
    return atomic_load_explicit(&clock->now, memory_order_relaxed);
}

SUPPORT_UNUSED static void shared_clock_sleep_until_(void *user, rsl_time until)
{
    shared_clock *clock = user;
    int64_t now = atomic_load(&clock->now);
    while (now < until && !atomic_compare_exchange_weak(&clock->now, &now, until)) {
    }
}

SUPPORT_UNUSED static rsl_clock shared_clock_as(shared_clock *clock)
{
    rsl_clock as = {shared_clock_now_, shared_clock_sleep_until_, clock};
    return as;
}

/* ------------------------------------------------------------------ chance */

/* xorshift64* (Vigna 2016); any seed but 0. The same seed gives the same run. */
typedef struct seeded_random {
    uint64_t state;
} seeded_random;

SUPPORT_UNUSED static uint64_t seeded_random_bits(seeded_random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * UINT64_C(0x2545F4914F6CDD1D);
}

/* Uniform enough in 0 .. below-1. */
SUPPORT_UNUSED static uint32_t seeded_random_below(seeded_random *random, uint32_t below)
{
    return (uint32_t)((seeded_random_bits(random) >> 32) % below);
}

SUPPORT_UNUSED static double seeded_random_next_(void *user)
{
    return (double)(seeded_random_bits(user) >> 11) * 0x1p-53;
}

SUPPORT_UNUSED static rsl_random seeded_random_as(seeded_random *random)
{
    rsl_random as = {seeded_random_next_, random};
    return as;
}

/* Always the same number, which may also be one that no honest source gives. */
typedef struct fixed_random {
    double value;
    int    calls;
} fixed_random;

SUPPORT_UNUSED static double fixed_random_next_(void *user)
{
    fixed_random *random = user;
    random->calls++;
    return random->value;
}

SUPPORT_UNUSED static rsl_random fixed_random_as(fixed_random *random)
{
    rsl_random as = {fixed_random_next_, random};
    return as;
}

/* ------------------------------------------------------------------ events */

enum { EVENTS_MAX = 512, EVENT_TEXT_MAX = 48 };

/* Texts are copied, for an event lives only as long as the observer's call. */
typedef struct recorded_event {
    rsl_event event;
    char      source[EVENT_TEXT_MAX];
    char      name[EVENT_TEXT_MAX];
} recorded_event;

/* Records the first EVENTS_MAX events and counts all. One thread only. */
typedef struct event_recorder {
    recorded_event events[EVENTS_MAX];
    size_t         count;
    void         (*then)(const rsl_event *event, void *arg); /* after recording (none) */
    void          *arg;
} event_recorder;

SUPPORT_UNUSED static void event_copy_text_(char *to, const char *from)
{
    (void)snprintf(to, EVENT_TEXT_MAX, "%s", from != NULL ? from : "(null)");
}

SUPPORT_UNUSED static void event_recorder_on_event_(const rsl_event *event, void *user)
{
    event_recorder *recorder = user;
    if (recorder->count < EVENTS_MAX) {
        recorded_event *record = &recorder->events[recorder->count];
        record->event = *event;
        event_copy_text_(record->source, event->source);
        event_copy_text_(record->name, event->name);
    }
    recorder->count++;
    if (recorder->then != NULL) {
        recorder->then(event, recorder->arg);
    }
}

SUPPORT_UNUSED static rsl_observer event_recorder_as(event_recorder *recorder)
{
    rsl_observer as = {event_recorder_on_event_, recorder};
    return as;
}

SUPPORT_UNUSED static size_t event_recorder_count_kind(const event_recorder *recorder, int kind)
{
    size_t found = 0;
    for (size_t i = 0; i < recorder->count && i < EVENTS_MAX; i++) {
        found += recorder->events[i].event.kind == kind;
    }
    return found;
}

/* The latest event of a kind, or NULL. */
SUPPORT_UNUSED static const rsl_event *event_recorder_last(const event_recorder *recorder,
                                                           int kind)
{
    size_t count = recorder->count < EVENTS_MAX ? recorder->count : EVENTS_MAX;
    for (size_t i = count; i > 0; i--) {
        if (recorder->events[i - 1].event.kind == kind) {
            return &recorder->events[i - 1].event;
        }
    }
    return NULL;
}

/* Numbers say the order in which things happened: each above the one before. */
SUPPORT_UNUSED static bool event_recorder_is_increasing(const event_recorder *recorder)
{
    for (size_t i = 1; i < recorder->count && i < EVENTS_MAX; i++) {
        if (recorder->events[i].event.number <= recorder->events[i - 1].event.number) {
            return false;
        }
    }
    return true;
}

/* --------------------------------------------------------------------- TAP */

/* For programs without cmocka: tap_ok() per claim, and `return tap_end();` at the end of main. */
static int tap_count_;
static int tap_failed_;

SUPPORT_UNUSED __attribute__((format(printf, 2, 3)))
static bool tap_ok(bool passed, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tap_count_++;
    tap_failed_ += !passed;
    printf("%s %d - ", passed ? "ok" : "not ok", tap_count_);
    (void)vprintf(format, args);
    printf("\n");
    (void)fflush(stdout);
    va_end(args);
    return passed;
}

SUPPORT_UNUSED static int tap_end(void)
{
    printf("1..%d\n", tap_count_);
    return tap_failed_ == 0 ? 0 : 1;
}

#endif
