/* SPDX-License-Identifier: MIT
   test_breaker.c: breaker.h alone, in virtual time: windows, rates, slow and hanging calls,
   half-open accounting, forced states, reconfiguring; and two models that know every answer.  */
#include "support/allocator.h"

#define RSL_BREAKER_IMPLEMENTATION
#include "breaker.h"

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#ifndef _WIN32
#include <unistd.h>
#endif

#include <cmocka.h>

#include "support/support.h"

/* A multiple of every bucket width used here: no outcome depends on where buckets begin. */
static const rsl_time START = RSL_SEC(10000);

/* Ignored by default, and by is_cancelled. */
enum { IGNORED = RSL_ECANCELED };

/* ------------------------------------------------------------------- helpers */

/* A breaker in virtual time, with its events. Must not move. */
typedef struct rig {
    rsl_breaker    breaker;
    virtual_clock  clock;
    fixed_random   random;
    event_recorder events;
} rig;

static void rig_start(rig *r, rsl_breaker_config config)
{
    memset(r, 0, sizeof(*r));
    r->clock.now = START;
    r->random.value = 0.5;
    config.clock = virtual_clock_as(&r->clock);
    config.observer = event_recorder_as(&r->events);
    if (config.random.next == NULL) {
        config.random = fixed_random_as(&r->random);
    }
    const char *why = rsl_breaker_config_check(&config);
    if (why != NULL) {
        fail_msg("config refused: %s", why);
    }
    assert_int_equal(rsl_breaker_init(&r->breaker, &config), RSL_OK);
}

static void rig_end(rig *r)
{
    assert_true(event_recorder_is_increasing(&r->events));
    rsl_breaker_deinit(&r->breaker);
}

static rsl_breaker_stats stats_of(rig *r)
{
    rsl_breaker_stats stats;
    memset(&stats, 0x5A, sizeof(stats));
    rsl_breaker_stats_get(&r->breaker, &stats);
    return stats;
}

static void expect_state(rig *r, rsl_breaker_state state)
{
    assert_int_equal(rsl_breaker_state_get(&r->breaker), state);
    assert_int_equal(stats_of(r).state, state);
}

/* A call that begins and ends at START + these times. RSL_EOPEN: it was refused. */
static int call_between(rig *r, rsl_time begin, rsl_time end, int result)
{
    rsl_breaker_permit permit;
    r->clock.now = START + begin;
    int rc = rsl_breaker_allow(&r->breaker, &permit);
    if (rc == RSL_OK) {
        r->clock.now = START + end;
        assert_int_equal(rsl_breaker_report(&r->breaker, &permit, result), RSL_OK);
    }
    return rc;
}

static int call_at(rig *r, rsl_time at, int result)
{
    return call_between(r, at, at, result);
}

/* Calls without duration, now: S succeeds, F fails, I is ignored. All must be let through. */
static void feed(rig *r, const char *calls)
{
    for (; *calls != '\0'; calls++) {
        int result = *calls == 'S' ? 0 : *calls == 'F' ? 1 : IGNORED;
        assert_int_equal(call_at(r, r->clock.now - START, result), RSL_OK);
    }
}

/* Refused, and with a permit that is good for nothing. */
static void expect_refused(rig *r)
{
    rsl_breaker_permit permit;
    memset(&permit, 0x5A, sizeof(permit));
    assert_int_equal(rsl_breaker_allow(&r->breaker, &permit), RSL_EOPEN);
    assert_int_equal(permit.generation, 0);
    assert_int_equal(rsl_breaker_report(&r->breaker, &permit, 0), RSL_EINVAL);
    assert_int_equal(rsl_breaker_cancel(&r->breaker, &permit), RSL_EINVAL);
}

static void allow(rig *r, rsl_breaker_permit *permit)
{
    assert_int_equal(rsl_breaker_allow(&r->breaker, permit), RSL_OK);
}

static void report(rig *r, rsl_breaker_permit *permit, int result)
{
    assert_int_equal(rsl_breaker_report(&r->breaker, permit, result), RSL_OK);
}

static void expect_near(double got, double expected)
{
    if (!(fabs(got - expected) < 1e-9)) {
        fail_msg("%.17g is not %.17g", got, expected);
    }
}

/* Opens on its own: a consecutive window of one failure. */
static rsl_breaker_config touchy(void)
{
    rsl_breaker_config config = {.failures_max = 1, .open_for = RSL_SEC(10)};
    return config;
}

static rsl_breaker_config probing(uint32_t probes_max, uint32_t probes_needed)
{
    rsl_breaker_config config = touchy();
    config.probes_max = probes_max;
    config.probes_needed = probes_needed;
    return config;
}

/* A started touchy or probing rig that has just become half-open. */
static void rig_start_half_open(rig *r, rsl_breaker_config config)
{
    rig_start(r, config);
    feed(r, "F");
    expect_state(r, RSL_BREAKER_OPEN);
    r->clock.now += RSL_SEC(10);
    expect_state(r, RSL_BREAKER_HALF_OPEN);
}

static rsl_breaker_config count_of(uint32_t calls)
{
    rsl_breaker_config config = {.window = RSL_WINDOW_COUNT, .window_calls = calls};
    return config;
}

static rsl_breaker_config time_of(rsl_time span, uint32_t calls_min)
{
    rsl_breaker_config config = {.window = RSL_WINDOW_TIME, .window_span = span,
                                 .calls_min = calls_min};
    return config;
}

typedef struct one_call {
    int     result;
    int     calls;
    int     error;
    rsl_ctx ctx;
} one_call;

static int make_it(const rsl_ctx *ctx, void *arg)
{
    one_call *call = arg;
    call->calls++;
    call->ctx = *ctx;
    if (call->error != 0) {
        errno = call->error;
    }
    return call->result;
}

static bool is_seventy_seven(int result, void *user)
{
    (void)user;
    return result == 77;
}

/* ------------------------------------------------------ consecutive failures */

static void six_failures_in_a_row_open_it_and_a_success_resets_the_row(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.window = RSL_WINDOW_CONSECUTIVE, .failures_max = 6};
    rig_start(&r, config);
    feed(&r, "FFFFF");
    expect_state(&r, RSL_BREAKER_CLOSED);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    feed(&r, "FFFFF");
    expect_state(&r, RSL_BREAKER_CLOSED);
    feed(&r, "F");
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void it_refuses_until_open_for_less_a_millisecond_and_probes_past_it(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.failures_max = 6, .open_for = RSL_SEC(7)};
    rig_start(&r, config);
    feed(&r, "FFFFFF");
    expect_refused(&r);
    r.clock.now = START + RSL_SEC(7) - RSL_MS(1);
    expect_refused(&r);
    expect_state(&r, RSL_BREAKER_OPEN);
    r.clock.now = START + RSL_SEC(7) + RSL_MS(1);
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    feed(&r, "F");
    expect_state(&r, RSL_BREAKER_OPEN);
    r.clock.now += RSL_SEC(7) + RSL_MS(1);
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void it_becomes_half_open_exactly_when_open_for_is_over(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    feed(&r, "F");
    r.clock.now = START + RSL_SEC(10) - 1;
    expect_refused(&r);
    r.clock.now = START + RSL_SEC(10);
    rsl_breaker_permit permit;
    allow(&r, &permit);
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    rig_end(&r);
}

static void five_failures_in_a_row_open_it_by_default(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.name = NULL};
    rig_start(&r, config);
    feed(&r, "FFFF");
    expect_state(&r, RSL_BREAKER_CLOSED);
    feed(&r, "F");
    expect_state(&r, RSL_BREAKER_OPEN);
    r.clock.now = START + RSL_SEC(30) - 1;
    expect_state(&r, RSL_BREAKER_OPEN);
    r.clock.now = START + RSL_SEC(30);
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void the_row_begins_anew_after_a_close(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.failures_max = 3, .open_for = RSL_SEC(10)};
    rig_start(&r, config);
    feed(&r, "FFF");
    r.clock.now += RSL_SEC(10);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    feed(&r, "FF");
    expect_state(&r, RSL_BREAKER_CLOSED);
    feed(&r, "F");
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void an_ignored_call_does_not_break_the_row(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.failures_max = 3};
    rig_start(&r, config);
    feed(&r, "FIFI");
    expect_state(&r, RSL_BREAKER_CLOSED);
    feed(&r, "F");
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void the_stats_of_a_consecutive_window_show_the_row_and_no_rates(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.failures_max = 9};
    rig_start(&r, config);
    feed(&r, "SFFF");
    rsl_breaker_stats stats = stats_of(&r);
    assert_int_equal(stats.calls, 3);
    assert_int_equal(stats.failures, 3);
    expect_near(stats.failure_rate, -1);
    expect_near(stats.slow_rate, -1);
    feed(&r, "S");
    stats = stats_of(&r);
    assert_int_equal(stats.calls, 0);
    assert_int_equal(stats.failures, 0);
    rig_end(&r);
}

static void a_slow_call_counts_as_a_failure_in_a_row(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.failures_max = 3, .slow_after = RSL_SEC(1)};
    rig_start(&r, config);
    assert_int_equal(call_between(&r, 0, RSL_SEC(1), 0), RSL_OK);
    assert_int_equal(call_between(&r, RSL_SEC(1), RSL_SEC(2), 0), RSL_OK);
    assert_int_equal(call_between(&r, RSL_SEC(2), RSL_SEC(3) - 1, 0), RSL_OK);
    expect_state(&r, RSL_BREAKER_CLOSED);
    assert_int_equal(stats_of(&r).failures, 0);
    assert_int_equal(call_between(&r, RSL_SEC(3), RSL_SEC(4), 0), RSL_OK);
    assert_int_equal(call_between(&r, RSL_SEC(4), RSL_SEC(5), 0), RSL_OK);
    expect_state(&r, RSL_BREAKER_CLOSED);
    assert_int_equal(call_between(&r, RSL_SEC(5), RSL_SEC(6), 0), RSL_OK);
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

/* -------------------------------------------------------------- time window */

static void a_time_window_opens_at_the_failure_that_makes_fifty_percent(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = time_of(RSL_SEC(20), 5);
    config.failure_rate = 0.5;
    rig_start(&r, config);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(call_at(&r, RSL_SEC(i), 0), RSL_OK);
    }
    assert_int_equal(call_at(&r, RSL_SEC(3), 1), RSL_OK);
    assert_int_equal(call_at(&r, RSL_SEC(4), 1), RSL_OK);
    expect_state(&r, RSL_BREAKER_CLOSED);
    expect_near(stats_of(&r).failure_rate, 0.4);
    assert_int_equal(call_at(&r, RSL_SEC(5), 1), RSL_OK);
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void a_success_that_completes_the_minimum_opens_at_sixty_percent(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = time_of(RSL_SEC(20), 5);
    config.failure_rate = 0.5;
    rig_start(&r, config);
    feed(&r, "FFFS");
    expect_state(&r, RSL_BREAKER_CLOSED);
    expect_near(stats_of(&r).failure_rate, -1);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void slow_calls_open_it_at_a_slow_rate_of_sixty_percent(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = time_of(RSL_SEC(20), 5);
    config.slow_after = RSL_SEC(4);
    config.slow_rate = 0.6;
    rig_start(&r, config);
    static const rsl_time durations[] = {RSL_SEC(5), RSL_SEC(5), RSL_MS(100), RSL_MS(100),
                                         RSL_SEC(5)};
    rsl_time at = 0;
    for (size_t i = 0; i < RSL_COUNT(durations); i++) {
        expect_state(&r, RSL_BREAKER_CLOSED);
        assert_int_equal(call_between(&r, at, at + durations[i], 0), RSL_OK);
        at += durations[i];
    }
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

/* A window of ten buckets of a second, that never opens, so that every count can be read. */
static void rig_start_watching(rig *r)
{
    rig_start(r, time_of(RSL_SEC(10), 1));
    assert_int_equal(rsl_breaker_force(&r->breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
}

static uint32_t calls_at(rig *r, rsl_time at)
{
    r->clock.now = START + at;
    return stats_of(r).calls;
}

static void a_call_leaves_the_time_window_exactly_after_its_span(void **unused)
{
    (void)unused;
    rig r;
    rig_start_watching(&r);
    assert_int_equal(call_at(&r, 0, 1), RSL_OK);
    assert_int_equal(calls_at(&r, 0), 1);
    assert_int_equal(calls_at(&r, RSL_SEC(1)), 1);
    assert_int_equal(calls_at(&r, RSL_SEC(10) - 1), 1);
    assert_int_equal(calls_at(&r, RSL_SEC(10)), 0);
    rig_end(&r);
}

static void each_bucket_leaves_the_window_in_its_turn(void **unused)
{
    (void)unused;
    rig r;
    rig_start_watching(&r);
    for (uint32_t bucket = 0; bucket < 10; bucket++) {
        for (uint32_t n = 0; n <= bucket; n++) {
            assert_int_equal(call_at(&r, RSL_SEC(bucket), n % 2 == 0 ? 1 : 0), RSL_OK);
        }
    }
    uint32_t calls = 55;
    uint32_t failures = 30;
    for (uint32_t gone = 0; gone < 10; gone++) {
        assert_int_equal(calls_at(&r, RSL_SEC(10 + gone) - 1), calls);
        assert_int_equal(stats_of(&r).failures, failures);
        calls -= gone + 1;
        failures -= (gone + 2) / 2;
        assert_int_equal(calls_at(&r, RSL_SEC(10 + gone)), calls);
        assert_int_equal(stats_of(&r).failures, failures);
    }
    assert_int_equal(calls, 0);
    assert_int_equal(failures, 0);
    rig_end(&r);
}

static void the_window_turns_right_over_idle_gaps_of_any_length(void **unused)
{
    (void)unused;
    static const struct gap { rsl_time span; uint32_t left; } gaps[] = {
        {1, 3}, {RSL_SEC(1) - 1, 3}, {RSL_SEC(1), 3}, {RSL_SEC(9), 3}, {RSL_SEC(10) - 1, 3},
        {RSL_SEC(10), 0}, {RSL_SEC(10) + 1, 0}, {RSL_SEC(11), 0}, {RSL_SEC(19), 0},
        {RSL_SEC(20) - 1, 0}, {RSL_SEC(20), 0}, {RSL_SEC(20) + 1, 0}, {RSL_SEC(30), 0},
        {RSL_SEC(640), 0}, {RSL_SEC(655360), 0}, {RSL_SEC(1) * 4294967296, 0},
    };
    for (size_t i = 0; i < RSL_COUNT(gaps); i++) {
        rig r;
        rig_start_watching(&r);
        feed(&r, "FSF");
        assert_int_equal(calls_at(&r, gaps[i].span), gaps[i].left);
        feed(&r, "F");
        assert_int_equal(stats_of(&r).calls, gaps[i].left + 1);
        assert_int_equal(stats_of(&r).failures, (gaps[i].left == 3 ? 2 : 0) + 1);
        assert_int_equal(calls_at(&r, gaps[i].span + RSL_SEC(9)), 1 + (gaps[i].span < RSL_SEC(1)
                                                                       ? gaps[i].left : 0));
        assert_int_equal(calls_at(&r, gaps[i].span + RSL_SEC(10)), 0);
        rig_end(&r);
    }
}

static void a_gap_without_any_look_at_the_clock_empties_the_window_too(void **unused)
{
    (void)unused;
    static const rsl_time gaps[] = {RSL_SEC(10), RSL_SEC(11), RSL_SEC(20), RSL_SEC(100)};
    for (size_t i = 0; i < RSL_COUNT(gaps); i++) {
        rig r;
        rsl_breaker_config config = time_of(RSL_SEC(10), 4);
        config.failure_rate = 0.75;
        rig_start(&r, config);
        feed(&r, "FFF");
        assert_int_equal(call_at(&r, gaps[i], 1), RSL_OK);
        expect_state(&r, RSL_BREAKER_CLOSED);
        assert_int_equal(stats_of(&r).calls, 1);
        rig_end(&r);
    }
}

static void a_clock_that_steps_back_some_milliseconds_loses_nothing(void **unused)
{
    (void)unused;
    rig r;
    rig_start_watching(&r);
    assert_int_equal(call_at(&r, RSL_SEC(4), 1), RSL_OK);
    assert_int_equal(call_at(&r, RSL_SEC(5), 1), RSL_OK);
    assert_int_equal(call_at(&r, RSL_SEC(5) - RSL_MS(3), 1), RSL_OK);
    assert_int_equal(stats_of(&r).calls, 3);
    assert_int_equal(calls_at(&r, RSL_SEC(4) - RSL_MS(7)), 3);
    assert_int_equal(calls_at(&r, RSL_SEC(5) + RSL_MS(9)), 3);
    assert_int_equal(calls_at(&r, RSL_SEC(13) - 1), 3);
    assert_in_range(calls_at(&r, RSL_SEC(14)), 1, 2);
    assert_int_equal(calls_at(&r, RSL_SEC(15)), 0);
    rig_end(&r);
}

/* The successes have left the window, four failures remain; only a report is judged by that. */
static void looking_at_an_untimed_breaker_does_not_open_it(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = time_of(RSL_SEC(10), 4);
    rig_start(&r, config);
    feed(&r, "SSSSSS");
    r.clock.now = START + RSL_SEC(5);
    feed(&r, "FFFF");
    r.clock.now = START + RSL_SEC(11);
    assert_int_equal(stats_of(&r).calls, 4);
    assert_int_equal(stats_of(&r).failures, 4);
    expect_state(&r, RSL_BREAKER_CLOSED);
    rsl_breaker_permit permit;
    allow(&r, &permit);
    expect_state(&r, RSL_BREAKER_CLOSED);
    report(&r, &permit, 0);
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void an_open_breaker_stays_open_when_the_clock_steps_back(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    feed(&r, "F");
    r.clock.now = START - RSL_MS(9);
    expect_refused(&r);
    expect_state(&r, RSL_BREAKER_OPEN);
    r.clock.now = START + RSL_SEC(10);
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    r.clock.now -= RSL_MS(9);
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void a_time_window_works_at_time_zero_and_before(void **unused)
{
    (void)unused;
    static const rsl_time starts[] = {0, -RSL_SEC(100), 1, -1};
    for (size_t i = 0; i < RSL_COUNT(starts); i++) {
        virtual_clock clock = {.now = starts[i]};
        rsl_breaker_config config = time_of(RSL_SEC(10), 4);
        config.clock = virtual_clock_as(&clock);
        rsl_breaker breaker;
        assert_int_equal(rsl_breaker_init(&breaker, &config), RSL_OK);
        for (int n = 0; n < 4; n++) {
            rsl_breaker_permit permit;
            assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_CLOSED);
            assert_int_equal(rsl_breaker_allow(&breaker, &permit), RSL_OK);
            assert_int_equal(rsl_breaker_report(&breaker, &permit, 1), RSL_OK);
            clock.now += RSL_SEC(1);
        }
        assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_OPEN);
        rsl_breaker_deinit(&breaker);
    }
}

static void a_window_of_one_bucket_is_emptied_at_once(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = time_of(RSL_SEC(10), 1);
    config.window_buckets = 1;
    rig_start(&r, config);
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
    assert_int_equal(call_at(&r, 0, 1), RSL_OK);
    assert_int_equal(call_at(&r, RSL_SEC(9), 1), RSL_OK);
    assert_int_equal(calls_at(&r, RSL_SEC(10) - 1), 2);
    assert_int_equal(calls_at(&r, RSL_SEC(10)), 0);
    rig_end(&r);
}

/* ------------------------------------------------------------- count window */

static void a_count_window_of_four_shows_the_rates_of_its_last_four_calls(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = count_of(4);
    config.calls_min = 1;
    rig_start(&r, config);
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
    static const char calls[] = "FSSSS";
    static const double rates[] = {1.0, 0.5, 1.0 / 3.0, 0.25, 0.0};
    for (size_t i = 0; i < 5; i++) {
        const char one[] = {calls[i], '\0'};
        feed(&r, one);
        expect_near(stats_of(&r).failure_rate, rates[i]);
        assert_int_equal(stats_of(&r).calls, i < 4 ? i + 1 : 4);
    }
    rig_end(&r);
}

/* Opens at exactly `failures` of `calls`, for rate = failures / calls, and not at one less. */
static void check_inclusive(uint32_t failures, uint32_t calls, double rate)
{
    for (uint32_t less = 0; less < 2; less++) {
        rig r;
        rsl_breaker_config config = count_of(calls);
        config.calls_min = calls;
        config.failure_rate = rate;
        rig_start(&r, config);
        for (uint32_t n = 0; n < calls; n++) {
            expect_state(&r, RSL_BREAKER_CLOSED);
            feed(&r, n < failures - less ? "F" : "S");
        }
        if (rsl_breaker_state_get(&r.breaker)
            != (less == 0 ? RSL_BREAKER_OPEN : RSL_BREAKER_CLOSED)) {
            fail_msg("%u of %u at %.17g", failures - less, calls, rate);
        }
        rig_end(&r);
    }
}

static void the_failure_rate_is_inclusive_for_every_share_of_up_to_forty_calls(void **unused)
{
    (void)unused;
    for (uint32_t calls = 1; calls <= 40; calls++) {
        for (uint32_t failures = 1; failures <= calls; failures++) {
            check_inclusive(failures, calls, (double)failures / (double)calls);
        }
    }
}

static void the_failure_rate_is_inclusive_for_every_whole_percent(void **unused)
{
    (void)unused;
    static const double percents[] = {
        0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.11, 0.12, 0.13, 0.14, 0.15,
        0.28, 0.29, 0.30, 0.33, 0.35, 0.55, 0.56, 0.57, 0.58, 0.60, 0.66, 0.70, 0.90, 0.99, 1.00,
    };
    for (size_t i = 0; i < RSL_COUNT(percents); i++) {
        check_inclusive((uint32_t)(percents[i] * 100 + 0.5), 100, percents[i]);
    }
}

static void the_slow_rate_and_the_slow_limit_are_inclusive(void **unused)
{
    (void)unused;
    for (uint32_t slow = 1; slow <= 10; slow++) {
        for (rsl_time less = 0; less < 2; less++) {
            rig r;
            rsl_breaker_config config = count_of(10);
            config.slow_after = RSL_SEC(1);
            config.slow_rate = (double)slow / 10;
            rig_start(&r, config);
            for (uint32_t n = 0; n < 10; n++) {
                rsl_time at = r.clock.now - START;
                rsl_time took = n < slow ? RSL_SEC(1) : 0;
                took -= n == slow - 1 ? less : 0;
                expect_state(&r, RSL_BREAKER_CLOSED);
                assert_int_equal(call_between(&r, at, at + took, 0), RSL_OK);
            }
            expect_state(&r, less == 0 ? RSL_BREAKER_OPEN : RSL_BREAKER_CLOSED);
            rig_end(&r);
        }
    }
}

static void ten_calls_are_the_least_by_default_or_the_window_if_smaller(void **unused)
{
    (void)unused;
    static const struct least { rsl_breaker_config config; int calls; } cases[] = {
        {{.window = RSL_WINDOW_COUNT}, 10},
        {{.window = RSL_WINDOW_COUNT, .window_calls = 11}, 10},
        {{.window = RSL_WINDOW_COUNT, .window_calls = 10}, 10},
        {{.window = RSL_WINDOW_COUNT, .window_calls = 9}, 9},
        {{.window = RSL_WINDOW_COUNT, .window_calls = 1}, 1},
        {{.window = RSL_WINDOW_TIME}, 10},
        {{.window = RSL_WINDOW_COUNT, .calls_min = 17}, 17},
        {{.window = RSL_WINDOW_TIME, .calls_min = 17}, 17},
    };
    for (size_t i = 0; i < RSL_COUNT(cases); i++) {
        rig r;
        rig_start(&r, cases[i].config);
        for (int n = 0; n < cases[i].calls; n++) {
            expect_state(&r, RSL_BREAKER_CLOSED);
            expect_near(stats_of(&r).failure_rate, -1);
            feed(&r, "F");
        }
        expect_state(&r, RSL_BREAKER_OPEN);
        rig_end(&r);
    }
}

static void the_default_window_of_calls_holds_a_hundred(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, count_of(0));
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
    for (int i = 0; i < 100; i++) {
        feed(&r, "F");
    }
    assert_int_equal(stats_of(&r).calls, 100);
    assert_int_equal(stats_of(&r).failures, 100);
    feed(&r, "S");
    assert_int_equal(stats_of(&r).calls, 100);
    assert_int_equal(stats_of(&r).failures, 99);
    rig_end(&r);
}

static void ignored_and_cancelled_calls_are_not_in_the_window(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {count_of(10), time_of(RSL_SEC(10), 2)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i].calls_min = 2;
        kinds[i].failure_rate = 1.0;
        rig_start(&r, kinds[i]);
        feed(&r, "FIII");
        rsl_breaker_permit permit;
        allow(&r, &permit);
        assert_int_equal(rsl_breaker_cancel(&r.breaker, &permit), RSL_OK);
        expect_state(&r, RSL_BREAKER_CLOSED);
        assert_int_equal(stats_of(&r).calls, 1);
        assert_int_equal(stats_of(&r).ignored, 3);
        feed(&r, "F");
        expect_state(&r, RSL_BREAKER_OPEN);
        rig_end(&r);
    }
}

/* ------------------------------------------------------------------ results */

static void every_result_but_zero_is_a_failure_and_being_cancelled_is_ignored(void **unused)
{
    (void)unused;
    static const int failures[] = {1, -1, INT_MIN, INT_MAX, RSL_EINVAL, RSL_ETIMEOUT, RSL_EOPEN,
                                   RSL_RUN, RSL_STOP, -7399};
    rig r;
    rsl_breaker_config config = {.failures_max = 1000};
    rig_start(&r, config);
    for (size_t i = 0; i < RSL_COUNT(failures); i++) {
        assert_int_equal(call_at(&r, 0, failures[i]), RSL_OK);
        assert_int_equal(stats_of(&r).failures, i + 1);
        assert_int_equal(stats_of(&r).failed, i + 1);
    }
    assert_int_equal(call_at(&r, 0, RSL_ECANCELED), RSL_OK);
    assert_int_equal(stats_of(&r).failures, RSL_COUNT(failures));
    assert_int_equal(stats_of(&r).ignored, 1);
    rig_end(&r);
}

static bool above_hundred(int result, void *user)
{
    (*(int *)user)++;
    return result > 100;
}

static bool above_thousand(int result, void *user)
{
    (void)user;
    return result > 1000;
}

static void a_failure_callback_alone_judges_every_result(void **unused)
{
    (void)unused;
    int asked = 0;
    rig r;
    rsl_breaker_config config = {.failures_max = 1000, .is_failure = above_hundred,
                                 .user = &asked};
    rig_start(&r, config);
    assert_int_equal(call_at(&r, 0, 101), RSL_OK);
    assert_int_equal(call_at(&r, 0, 0), RSL_OK);
    assert_int_equal(call_at(&r, 0, 100), RSL_OK);
    assert_int_equal(call_at(&r, 0, RSL_ECANCELED), RSL_OK);
    assert_int_equal(call_at(&r, 0, 102), RSL_OK);
    rsl_breaker_stats stats = stats_of(&r);
    assert_int_equal(asked, 5);
    assert_int_equal(stats.failed, 2);
    assert_int_equal(stats.succeeded, 3);
    assert_int_equal(stats.ignored, 0);
    assert_int_equal(stats.failures, 1);
    rig_end(&r);
}

static void an_ignoring_callback_alone_leaves_the_rest_to_the_default(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.failures_max = 1000, .is_ignored = is_seventy_seven};
    rig_start(&r, config);
    assert_int_equal(call_at(&r, 0, 77), RSL_OK);
    assert_int_equal(call_at(&r, 0, 78), RSL_OK);
    assert_int_equal(call_at(&r, 0, RSL_ECANCELED), RSL_OK);
    assert_int_equal(stats_of(&r).failures, 1);
    assert_int_equal(call_at(&r, 0, 0), RSL_OK);
    rsl_breaker_stats stats = stats_of(&r);
    assert_int_equal(stats.failed, 1);
    assert_int_equal(stats.succeeded, 1);
    assert_int_equal(stats.ignored, 2);
    assert_int_equal(stats.failures, 0);
    rig_end(&r);
}

static bool is_zero(int result, void *user)
{
    (void)user;
    return result == 0;
}

static void even_a_zero_can_be_a_failure_or_ignored(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {{.failures_max = 100}, count_of(10), time_of(RSL_SEC(10), 10)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        for (int ignored = 0; ignored < 2; ignored++) {
            rig r;
            one_call call = {.result = 0};
            kinds[i].is_failure = ignored ? NULL : is_zero;
            kinds[i].is_ignored = ignored ? is_zero : NULL;
            rig_start(&r, kinds[i]);
            assert_int_equal(call_at(&r, 0, 0), RSL_OK);
            assert_int_equal(rsl_breaker_call(&r.breaker, NULL, make_it, &call), 0);
            rsl_breaker_stats stats = stats_of(&r);
            assert_int_equal(stats.failed, ignored ? 0 : 2);
            assert_int_equal(stats.ignored, ignored ? 2 : 0);
            assert_int_equal(stats.failures, ignored ? 0 : 2);
            assert_int_equal(stats.succeeded, 0);
            rig_end(&r);
        }
    }
}

static void the_callbacks_decide_and_the_ignoring_one_is_asked_first(void **unused)
{
    (void)unused;
    int asked = 0;
    rig r;
    rsl_breaker_config config = {.failures_max = 1000, .is_failure = above_hundred,
                                 .is_ignored = above_thousand, .user = &asked};
    rig_start(&r, config);
    assert_int_equal(call_at(&r, 0, 1001), RSL_OK);
    assert_int_equal(asked, 0);
    assert_int_equal(call_at(&r, 0, 101), RSL_OK);
    assert_int_equal(call_at(&r, 0, 100), RSL_OK);
    assert_int_equal(call_at(&r, 0, 101), RSL_OK);
    rsl_breaker_stats stats = stats_of(&r);
    assert_int_equal(stats.failures, 1);
    assert_int_equal(stats.failed, 2);
    assert_int_equal(stats.succeeded, 1);
    assert_int_equal(stats.ignored, 1);
    rig_end(&r);
}

/* ------------------------------------------- late, doubled and lost reports */

static void expect_same(const rsl_breaker_stats *a, const rsl_breaker_stats *b)
{
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->calls, b->calls);
    assert_int_equal(a->failures, b->failures);
    assert_int_equal(a->slow, b->slow);
    assert_int_equal(a->in_flight, b->in_flight);
    expect_near(a->failure_rate, b->failure_rate);
    expect_near(a->slow_rate, b->slow_rate);
    assert_int_equal(a->succeeded, b->succeeded);
    assert_int_equal(a->failed, b->failed);
    assert_int_equal(a->ignored, b->ignored);
    assert_int_equal(a->refused, b->refused);
    assert_int_equal(a->opened, b->opened);
}

static void a_second_report_of_a_permit_is_refused_and_changes_nothing(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {{.failures_max = 9}, count_of(10), time_of(RSL_SEC(10), 2)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        rig_start(&r, kinds[i]);
        rsl_breaker_permit permit;
        allow(&r, &permit);
        report(&r, &permit, 1);
        rsl_breaker_stats before = stats_of(&r);
        for (int n = 0; n < 20; n++) {
            assert_int_equal(rsl_breaker_report(&r.breaker, &permit, n % 2), RSL_EINVAL);
            assert_int_equal(rsl_breaker_cancel(&r.breaker, &permit), RSL_EINVAL);
        }
        rsl_breaker_stats after = stats_of(&r);
        expect_same(&before, &after);
        rig_end(&r);
    }
}

static void a_cancelled_permit_is_spent(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    rsl_breaker_permit permit;
    allow(&r, &permit);
    assert_int_equal(rsl_breaker_cancel(&r.breaker, &permit), RSL_OK);
    assert_int_equal(rsl_breaker_cancel(&r.breaker, &permit), RSL_EINVAL);
    assert_int_equal(rsl_breaker_report(&r.breaker, &permit, 1), RSL_EINVAL);
    expect_state(&r, RSL_BREAKER_CLOSED);
    assert_int_equal(stats_of(&r).in_flight, 0);
    assert_int_equal(stats_of(&r).failed, 0);
    rig_end(&r);
}

static void a_zeroed_permit_and_null_are_refused(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    rsl_breaker_permit permit;
    memset(&permit, 0, sizeof(permit));
    assert_int_equal(rsl_breaker_report(&r.breaker, &permit, 1), RSL_EINVAL);
    assert_int_equal(rsl_breaker_cancel(&r.breaker, &permit), RSL_EINVAL);
    assert_int_equal(rsl_breaker_report(&r.breaker, NULL, 1), RSL_EINVAL);
    assert_int_equal(rsl_breaker_cancel(&r.breaker, NULL), RSL_EINVAL);
    assert_int_equal(rsl_breaker_allow(&r.breaker, NULL), RSL_EINVAL);
    assert_int_equal(rsl_breaker_allow(NULL, &permit), RSL_EINVAL);
    assert_int_equal(rsl_breaker_report(NULL, &permit, 1), RSL_EINVAL);
    assert_int_equal(rsl_breaker_cancel(NULL, &permit), RSL_EINVAL);
    assert_int_equal(rsl_breaker_force(NULL, RSL_BREAKER_CLOSED), RSL_EINVAL);
    expect_state(&r, RSL_BREAKER_CLOSED);
    assert_int_equal(stats_of(&r).in_flight, 0);
    rig_end(&r);
}

/* Takes a permit in the closed state, moves on, and brings it back: only in_flight may change. */
static void check_stale(void (*move_on)(rig *r), int result, bool cancelled)
{
    rsl_breaker_config kinds[] = {{.failures_max = 2}, count_of(4), time_of(RSL_SEC(10), 2)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i].open_for = RSL_SEC(10);
        kinds[i].calls_min = 2;
        kinds[i].probes_max = 2;
        rig_start(&r, kinds[i]);
        rsl_breaker_permit late[3];
        for (size_t n = 0; n < 3; n++) {
            allow(&r, &late[n]);
        }
        move_on(&r);
        rsl_breaker_stats before = stats_of(&r);
        assert_int_equal(before.in_flight, 3);
        for (size_t n = 0; n < 3; n++) {
            int rc = cancelled ? rsl_breaker_cancel(&r.breaker, &late[n])
                               : rsl_breaker_report(&r.breaker, &late[n], result);
            assert_int_equal(rc, RSL_OK);
            before.in_flight--;
            rsl_breaker_stats after = stats_of(&r);
            expect_same(&before, &after);
        }
        rig_end(&r);
    }
}

static void become_open(rig *r)
{
    feed(r, "FF");
    expect_state(r, RSL_BREAKER_OPEN);
}

static void become_half_open(rig *r)
{
    become_open(r);
    r->clock.now += RSL_SEC(10);
    expect_state(r, RSL_BREAKER_HALF_OPEN);
}

static void close_again(rig *r)
{
    become_half_open(r);
    feed(r, "SS");
    expect_state(r, RSL_BREAKER_CLOSED);
}

static void be_forced_open(rig *r)
{
    assert_int_equal(rsl_breaker_force(&r->breaker, RSL_BREAKER_FORCED_OPEN), RSL_OK);
}

static void be_disabled(rig *r)
{
    assert_int_equal(rsl_breaker_force(&r->breaker, RSL_BREAKER_DISABLED), RSL_OK);
}

static void be_metrics_only_anew(rig *r)
{
    become_open(r);
    assert_int_equal(rsl_breaker_force(&r->breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
}

static void be_forced_closed(rig *r)
{
    become_open(r);
    assert_int_equal(rsl_breaker_force(&r->breaker, RSL_BREAKER_CLOSED), RSL_OK);
}

static void results_of_an_earlier_state_never_count_in_a_later_one(void **unused)
{
    (void)unused;
    void (*const moves[])(rig *r) = {become_open, become_half_open, close_again, be_forced_open,
                                     be_disabled, be_metrics_only_anew, be_forced_closed};
    for (size_t i = 0; i < RSL_COUNT(moves); i++) {
        check_stale(moves[i], 0, false);
        check_stale(moves[i], 1, false);
        check_stale(moves[i], IGNORED, false);
        check_stale(moves[i], 0, true);
    }
}

static void a_probe_of_an_earlier_half_open_never_counts_in_a_later_one(void **unused)
{
    (void)unused;
    static const int results[] = {0, 1, IGNORED};
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        rig r;
        rig_start_half_open(&r, probing(2, 2));
        rsl_breaker_permit late;
        allow(&r, &late);
        feed(&r, "F");
        expect_state(&r, RSL_BREAKER_OPEN);
        r.clock.now += RSL_SEC(10);
        expect_state(&r, RSL_BREAKER_HALF_OPEN);
        report(&r, &late, results[i]);
        expect_state(&r, RSL_BREAKER_HALF_OPEN);
        rsl_breaker_permit probes[2];
        allow(&r, &probes[0]);
        allow(&r, &probes[1]);
        expect_refused(&r);
        report(&r, &probes[0], 0);
        expect_state(&r, RSL_BREAKER_HALF_OPEN);
        report(&r, &probes[1], 0);
        expect_state(&r, RSL_BREAKER_CLOSED);
        rig_end(&r);
    }
}

/* ---------------------------------------------------------------- half-open */

static void half_open_refuses_the_call_after_the_last_probe(void **unused)
{
    (void)unused;
    rig r;
    rig_start_half_open(&r, probing(4, 3));
    rsl_breaker_permit probes[4];
    for (size_t i = 0; i < 4; i++) {
        allow(&r, &probes[i]);
    }
    expect_refused(&r);
    rig_end(&r);
}

static void two_failures_of_four_probes_open_it_again_when_three_must_succeed(void **unused)
{
    (void)unused;
    rig r;
    rig_start_half_open(&r, probing(4, 3));
    feed(&r, "F");
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    feed(&r, "F");
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void three_successes_of_four_probes_close_it_after_one_failure(void **unused)
{
    (void)unused;
    rig r;
    rig_start_half_open(&r, probing(4, 3));
    feed(&r, "FSS");
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void a_cancelled_probe_does_not_close_it_and_gives_its_permit_back(void **unused)
{
    (void)unused;
    rig r;
    rig_start_half_open(&r, probing(1, 1));
    for (int i = 0; i < 10; i++) {
        rsl_breaker_permit probe;
        allow(&r, &probe);
        expect_refused(&r);
        assert_int_equal(rsl_breaker_cancel(&r.breaker, &probe), RSL_OK);
        expect_state(&r, RSL_BREAKER_HALF_OPEN);
    }
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void an_ignored_probe_does_not_close_it_and_gives_its_permit_back(void **unused)
{
    (void)unused;
    for (int custom = 0; custom < 2; custom++) {
        rig r;
        rsl_breaker_config config = probing(1, 1);
        config.is_ignored = custom ? is_seventy_seven : NULL;
        rig_start_half_open(&r, config);
        for (int n = 0; n < 10; n++) {
            rsl_breaker_permit probe;
            allow(&r, &probe);
            expect_refused(&r);
            report(&r, &probe, custom ? 77 : IGNORED);
            expect_state(&r, RSL_BREAKER_HALF_OPEN);
        }
        assert_int_equal(stats_of(&r).ignored, 10);
        feed(&r, "F");
        expect_state(&r, RSL_BREAKER_OPEN);
        rig_end(&r);
    }
}

static void a_probe_that_is_never_reported_is_lost_and_its_permit_given_back(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = probing(1, 1);
    config.probe_for = RSL_SEC(5);
    rig_start_half_open(&r, config);
    rsl_breaker_permit lost;
    allow(&r, &lost);
    r.clock.now += RSL_SEC(5) - 1;
    expect_refused(&r);
    assert_int_equal(event_recorder_count_kind(&r.events, RSL_BREAKER_PROBE_LOST), 0);
    r.clock.now += 2;
    rsl_breaker_permit probe;
    allow(&r, &probe);
    assert_int_equal(event_recorder_count_kind(&r.events, RSL_BREAKER_PROBE_LOST), 1);
    expect_refused(&r);
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    report(&r, &probe, 0);
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void a_probe_is_lost_after_sixty_seconds_by_default(void **unused)
{
    (void)unused;
    rig r;
    rig_start_half_open(&r, probing(1, 1));
    rsl_breaker_permit lost;
    allow(&r, &lost);
    r.clock.now += RSL_SEC(60) - 1;
    expect_refused(&r);
    r.clock.now += 2;
    rsl_breaker_permit probe;
    allow(&r, &probe);
    rig_end(&r);
}

static void the_late_report_of_a_lost_probe_changes_nothing(void **unused)
{
    (void)unused;
    static const int results[] = {0, 1, IGNORED};
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        rig r;
        rsl_breaker_config config = probing(2, 2);
        config.probe_for = RSL_SEC(5);
        rig_start_half_open(&r, config);
        rsl_breaker_permit lost[2];
        allow(&r, &lost[0]);
        allow(&r, &lost[1]);
        r.clock.now += RSL_SEC(5) + 1;
        rsl_breaker_permit probes[2];
        allow(&r, &probes[0]);
        allow(&r, &probes[1]);
        (void)rsl_breaker_report(&r.breaker, &lost[0], results[i]);
        (void)rsl_breaker_report(&r.breaker, &lost[1], results[i]);
        expect_state(&r, RSL_BREAKER_HALF_OPEN);
        expect_refused(&r);
        report(&r, &probes[0], 0);
        expect_state(&r, RSL_BREAKER_HALF_OPEN);
        report(&r, &probes[1], 0);
        expect_state(&r, RSL_BREAKER_CLOSED);
        assert_int_equal(stats_of(&r).in_flight, 0);
        rig_end(&r);
    }
}

static void lost_probes_count_as_neither_success_nor_failure(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = probing(3, 2);
    config.probe_for = RSL_SEC(5);
    rig_start_half_open(&r, config);
    feed(&r, "S");
    rsl_breaker_permit lost[2];
    for (int round = 0; round < 5; round++) {
        allow(&r, &lost[0]);
        allow(&r, &lost[1]);
        expect_refused(&r);
        r.clock.now += RSL_SEC(5) + 1;
        expect_state(&r, RSL_BREAKER_HALF_OPEN);
    }
    feed(&r, "F");
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void a_slow_probe_counts_as_a_failed_one(void **unused)
{
    (void)unused;
    for (rsl_time less = 0; less < 2; less++) {
        rig r;
        rsl_breaker_config config = probing(1, 1);
        config.slow_after = RSL_SEC(2);
        rig_start_half_open(&r, config);
        rsl_breaker_permit probe;
        allow(&r, &probe);
        r.clock.now += RSL_SEC(2) - less;
        report(&r, &probe, 0);
        expect_state(&r, less == 0 ? RSL_BREAKER_OPEN : RSL_BREAKER_CLOSED);
        rig_end(&r);
    }
}

static void all_probes_must_succeed_by_default(void **unused)
{
    (void)unused;
    rig r;
    rig_start_half_open(&r, probing(3, 0));
    feed(&r, "SS");
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
    rig_start_half_open(&r, probing(3, 0));
    feed(&r, "SSF");
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void asking_for_the_state_or_stats_makes_an_open_one_half_open_in_time(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    feed(&r, "F");
    r.clock.now += RSL_SEC(10);
    assert_int_equal(rsl_breaker_state_get(&r.breaker), RSL_BREAKER_HALF_OPEN);
    assert_int_equal(event_recorder_count_kind(&r.events, RSL_BREAKER_CHANGED), 2);
    feed(&r, "F");
    r.clock.now += RSL_SEC(10);
    assert_int_equal(stats_of(&r).state, RSL_BREAKER_HALF_OPEN);
    rig_end(&r);
}

static void the_open_time_ends_before_calls_that_are_out_turn_slow(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = touchy();
    config.slow_after = RSL_SEC(1000);
    rig_start(&r, config);
    rsl_breaker_permit out;
    allow(&r, &out);
    feed(&r, "F");
    r.clock.now += RSL_SEC(10) - 1;
    assert_int_equal(rsl_breaker_state_get(&r.breaker), RSL_BREAKER_OPEN);
    r.clock.now += 1;
    assert_int_equal(rsl_breaker_state_get(&r.breaker), RSL_BREAKER_HALF_OPEN);
    rig_end(&r);
}

/* ---------------------------------------------------------------- open time */

/* Opens (or has opened) at clock.now: refuses for exactly `span`, then takes a probe's result. */
static void expect_open_for(rig *r, rsl_time span, const char *probe)
{
    rsl_time opened = r->clock.now;
    expect_state(r, RSL_BREAKER_OPEN);
    r->clock.now = opened + span - 1;
    expect_state(r, RSL_BREAKER_OPEN);
    expect_refused(r);
    r->clock.now = opened + span;
    expect_state(r, RSL_BREAKER_HALF_OPEN);
    feed(r, probe);
}

static void the_open_time_grows_with_each_reopening_up_to_its_cap(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = touchy();
    config.open_multiplier = 1.5;
    config.open_max = RSL_SEC(30);
    rig_start(&r, config);
    feed(&r, "F");
    expect_open_for(&r, RSL_SEC(10), "F");
    expect_open_for(&r, RSL_SEC(15), "F");
    expect_open_for(&r, RSL_MS(22500), "F");
    expect_open_for(&r, RSL_SEC(30), "F");
    expect_open_for(&r, RSL_SEC(30), "F");
    expect_open_for(&r, RSL_SEC(30), "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void the_open_time_starts_anew_after_a_close(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = touchy();
    config.open_multiplier = 3;
    rig_start(&r, config);
    feed(&r, "F");
    expect_open_for(&r, RSL_SEC(10), "F");
    expect_open_for(&r, RSL_SEC(30), "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    feed(&r, "F");
    expect_open_for(&r, RSL_SEC(10), "F");
    expect_open_for(&r, RSL_SEC(30), "F");
    rig_end(&r);
}

static void forcing_it_open_starts_the_open_time_anew(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = touchy();
    config.open_multiplier = 3;
    rig_start(&r, config);
    feed(&r, "F");
    expect_open_for(&r, RSL_SEC(10), "F");
    expect_open_for(&r, RSL_SEC(30), "F");
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_OPEN), RSL_OK);
    expect_open_for(&r, RSL_SEC(10), "F");
    expect_open_for(&r, RSL_SEC(30), "S");
    rig_end(&r);
}

static void the_open_time_does_not_grow_by_default(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    feed(&r, "F");
    for (int i = 0; i < 20; i++) {
        expect_open_for(&r, RSL_SEC(10), "F");
    }
    rig_end(&r);
}

static void the_open_time_is_capped_at_ten_minutes_by_default(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = touchy();
    config.open_multiplier = 1e300;
    rig_start(&r, config);
    feed(&r, "F");
    expect_open_for(&r, RSL_SEC(10), "F");
    for (int i = 0; i < 70; i++) {
        expect_open_for(&r, RSL_SEC(600), "F");
    }
    rig_end(&r);
}

static void jitter_spreads_the_open_time_by_its_share(void **unused)
{
    (void)unused;
    static const struct spread { double random; rsl_time span; } spreads[] = {
        {0.0, RSL_SEC(5)}, {0.25, RSL_MS(7500)}, {0.5, RSL_SEC(10)}, {0.75, RSL_MS(12500)},
        {1.0, RSL_SEC(15)}, {7.0, RSL_SEC(15)}, {-7.0, RSL_SEC(5)}, {(double)NAN, RSL_SEC(5)},
    };
    for (size_t i = 0; i < RSL_COUNT(spreads); i++) {
        rig r;
        rsl_breaker_config config = touchy();
        config.open_jitter = 0.5;
        rig_start(&r, config);
        r.random.value = spreads[i].random;
        feed(&r, "F");
        expect_open_for(&r, spreads[i].span, "S");
        rig_end(&r);
    }
}

static void without_jitter_the_random_does_not_matter(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    r.random.value = 0.9;
    feed(&r, "F");
    expect_open_for(&r, RSL_SEC(10), "S");
    rig_end(&r);
}

/* Callbacks that use the breaker which calls them, as all of them may: none runs under a lock. */
static double random_that_looks(void *user)
{
    static bool looking; /* the look may want a random number too */
    if (!looking) {
        looking = true;
        (void)stats_of(user);
        looking = false;
    }
    return 0.5;
}

static bool failure_that_looks(int result, void *user)
{
    rig *r = user;
    rsl_breaker_permit permit;
    if (rsl_breaker_allow(&r->breaker, &permit) == RSL_OK) {
        assert_int_equal(rsl_breaker_cancel(&r->breaker, &permit), RSL_OK);
    }
    return result != 0;
}

/* A lock taken twice would never end: let the program die of it. */
static void die_after(unsigned seconds)
{
#ifdef _WIN32
    (void)seconds; /* the runner's own limit has to do */
#else
    (void)alarm(seconds);
#endif
}

static void every_callback_may_call_back_into_the_breaker(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {touchy(), count_of(1), time_of(RSL_SEC(10), 1)};
    die_after(60);
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i].slow_after = RSL_SEC(1);
        kinds[i].open_for = RSL_SEC(10);
        kinds[i].open_jitter = 0.5;
        kinds[i].is_failure = failure_that_looks;
        kinds[i].user = &r;
        kinds[i].random.next = random_that_looks;
        kinds[i].random.user = &r;
        rig_start(&r, kinds[i]);
        feed(&r, "SF");
        expect_open_for(&r, RSL_SEC(10), "F");
        expect_open_for(&r, RSL_SEC(10), "S");
        expect_state(&r, RSL_BREAKER_CLOSED);
        assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_OPEN), RSL_OK);
        expect_open_for(&r, RSL_SEC(10), "S");
        rsl_breaker_permit hung;
        allow(&r, &hung);
        r.clock.now += RSL_SEC(1);
        expect_state(&r, RSL_BREAKER_OPEN);
        rig_end(&r);
    }
    die_after(0);
}

/* The default generator: each opening lasts 0 to 20 s. Its length is found by a binary search. */
static void default_jitter_fills_its_bounds(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_breaker_config config = touchy();
    config.open_jitter = 1.0;
    config.clock = virtual_clock_as(&clock);
    rsl_breaker breaker;
    assert_int_equal(rsl_breaker_init(&breaker, &config), RSL_OK);
    int rounds = 2000;
    int short_ones = 0;
    int over = 0;
    double sum = 0;
    for (int i = 0; i < rounds; i++) {
        rsl_breaker_permit permit;
        rsl_time opened = clock.now;
        assert_int_equal(rsl_breaker_allow(&breaker, &permit), RSL_OK);
        assert_int_equal(rsl_breaker_report(&breaker, &permit, 1), RSL_OK);
        rsl_time step = RSL_MS(100);
        while (rsl_breaker_state_get(&breaker) == RSL_BREAKER_OPEN) {
            clock.now += step;
        }
        rsl_time lasted = clock.now - opened;
        short_ones += lasted < RSL_SEC(2);
        over += lasted > RSL_SEC(20);
        sum += (double)lasted;
        assert_int_equal(rsl_breaker_force(&breaker, RSL_BREAKER_CLOSED), RSL_OK);
    }
    assert_int_equal(over, 0);
    assert_in_range(short_ones, rounds / 20, rounds / 5);
    double mean = sum / rounds / 1e9;
    assert_true(mean > 9.0 && mean < 11.0);
    rsl_breaker_deinit(&breaker);
}

static void an_open_time_of_none_probes_at_once(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = touchy();
    config.open_for = RSL_NONE;
    rig_start(&r, config);
    feed(&r, "F");
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    feed(&r, "F");
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    assert_int_equal(stats_of(&r).opened, 2);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void an_open_time_of_forever_never_ends(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = touchy();
    config.open_for = RSL_FOREVER;
    config.open_max = RSL_FOREVER;
    rig_start(&r, config);
    feed(&r, "F");
    r.clock.now = RSL_FOREVER - 1;
    expect_refused(&r);
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

/* ------------------------------------------------------------ hanging calls */

static rsl_breaker_config hanging(rsl_breaker_config config)
{
    config.slow_after = RSL_SEC(1);
    config.slow_rate = 1.0;
    config.calls_min = 4;
    config.failures_max = 4;
    config.open_for = RSL_SEC(10);
    config.probe_for = RSL_SEC(30);
    return config;
}

/* Four calls hang. Until slow_after nothing is known; then the first who looks finds it open. */
static void check_hanging(rsl_breaker_config config, void (*look)(rig *r))
{
    rig r;
    rig_start(&r, hanging(config));
    rsl_breaker_permit hung[4];
    for (size_t i = 0; i < 4; i++) {
        allow(&r, &hung[i]);
    }
    r.clock.now += RSL_SEC(1) - 1;
    expect_state(&r, RSL_BREAKER_CLOSED);
    r.clock.now += 1;
    look(&r);
    assert_int_equal(event_recorder_count_kind(&r.events, RSL_BREAKER_CHANGED), 1);
    expect_state(&r, RSL_BREAKER_OPEN);
    rsl_breaker_stats before = stats_of(&r);
    for (size_t i = 0; i < 4; i++) {
        report(&r, &hung[i], 0);
    }
    rsl_breaker_stats after = stats_of(&r);
    before.in_flight = 0;
    expect_same(&before, &after);
    r.clock.now += RSL_SEC(10);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void look_by_state(rig *r)
{
    assert_int_equal(rsl_breaker_state_get(&r->breaker), RSL_BREAKER_OPEN);
}

static void look_by_stats(rig *r)
{
    assert_int_equal(stats_of(r).state, RSL_BREAKER_OPEN);
}

static void look_by_allow(rig *r)
{
    expect_refused(r);
}

static void hanging_calls_open_the_circuit_without_any_return(void **unused)
{
    (void)unused;
    void (*const looks[])(rig *r) = {look_by_state, look_by_stats, look_by_allow};
    for (size_t i = 0; i < RSL_COUNT(looks); i++) {
        rsl_breaker_config consecutive = {.window = RSL_WINDOW_CONSECUTIVE};
        check_hanging(consecutive, looks[i]);
        check_hanging(count_of(10), looks[i]);
        check_hanging(time_of(RSL_SEC(10), 4), looks[i]);
    }
}

static void the_report_of_another_call_notices_the_hanging_ones(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {count_of(10), time_of(RSL_SEC(10), 4)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i] = hanging(kinds[i]);
        kinds[i].slow_rate = 0.75;
        rig_start(&r, kinds[i]);
        rsl_breaker_permit hung[3];
        for (size_t n = 0; n < 3; n++) {
            allow(&r, &hung[n]);
        }
        r.clock.now += RSL_MS(500);
        rsl_breaker_permit quick;
        allow(&r, &quick);
        r.clock.now += RSL_MS(500);
        report(&r, &quick, 0);
        assert_int_equal(event_recorder_count_kind(&r.events, RSL_BREAKER_CHANGED), 1);
        expect_state(&r, RSL_BREAKER_OPEN);
        rig_end(&r);
    }
}

static void a_success_that_changes_no_window_notices_the_hanging_calls_too(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {count_of(10), time_of(RSL_SEC(10), 4)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i] = hanging(kinds[i]);
        kinds[i].slow_rate = 0.2;
        rig_start(&r, kinds[i]);
        feed(&r, "SSSSSSSSSS");
        rsl_breaker_permit hung[3];
        for (size_t n = 0; n < 3; n++) {
            allow(&r, &hung[n]);
        }
        r.clock.now += RSL_MS(500);
        rsl_breaker_permit quick;
        allow(&r, &quick);
        r.clock.now += RSL_MS(500);
        report(&r, &quick, 0);
        assert_int_equal(event_recorder_count_kind(&r.events, RSL_BREAKER_CHANGED), 1);
        expect_state(&r, RSL_BREAKER_OPEN);
        rig_end(&r);
    }
}

static void a_hanging_call_counts_as_slow_until_it_returns_and_then_once(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {count_of(10), time_of(RSL_SEC(100), 1)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i] = hanging(kinds[i]);
        kinds[i].calls_min = 1;
        rig_start(&r, kinds[i]);
        assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
        feed(&r, "S");
        rsl_breaker_permit hung;
        allow(&r, &hung);
        r.clock.now += RSL_SEC(1) - 1;
        assert_int_equal(stats_of(&r).calls, 1);
        assert_int_equal(stats_of(&r).slow, 0);
        r.clock.now += 1;
        rsl_breaker_stats stats = stats_of(&r);
        assert_int_equal(stats.calls, 2);
        assert_int_equal(stats.slow, 1);
        assert_int_equal(stats.failures, 0);
        assert_int_equal(stats.in_flight, 1);
        expect_near(stats.slow_rate, 0.5);
        r.clock.now += RSL_SEC(3);
        report(&r, &hung, 0);
        stats = stats_of(&r);
        assert_int_equal(stats.calls, 2);
        assert_int_equal(stats.slow, 1);
        assert_int_equal(stats.failures, 0);
        assert_int_equal(stats.in_flight, 0);
        expect_near(stats.slow_rate, 0.5);
        rig_end(&r);
    }
}

static void a_call_that_never_returns_is_no_longer_counted_when_it_is_lost(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = hanging(count_of(10));
    config.calls_min = 1;
    rig_start(&r, config);
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
    rsl_breaker_permit hung;
    allow(&r, &hung);
    r.clock.now += RSL_SEC(31) - 1;
    assert_int_equal(stats_of(&r).calls, 1);
    assert_int_equal(stats_of(&r).slow, 1);
    r.clock.now += 2;
    assert_int_equal(stats_of(&r).calls, 0);
    assert_int_equal(stats_of(&r).slow, 0);
    rig_end(&r);
}

static void a_hanging_call_that_is_cancelled_or_ignored_leaves_no_trace(void **unused)
{
    (void)unused;
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        rig r;
        rig_start(&r, hanging(count_of(10)));
        rsl_breaker_permit hung[3];
        for (size_t i = 0; i < 3; i++) {
            allow(&r, &hung[i]);
        }
        r.clock.now += RSL_SEC(2);
        assert_int_equal(stats_of(&r).slow, 3);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(cancelled ? rsl_breaker_cancel(&r.breaker, &hung[i])
                                       : rsl_breaker_report(&r.breaker, &hung[i], IGNORED),
                             RSL_OK);
        }
        assert_int_equal(stats_of(&r).calls, 0);
        assert_int_equal(stats_of(&r).slow, 0);
        assert_int_equal(stats_of(&r).in_flight, 0);
        expect_state(&r, RSL_BREAKER_CLOSED);
        rig_end(&r);
    }
}

static void without_a_slow_limit_hanging_calls_are_not_judged(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, count_of(4));
    rsl_breaker_permit hung[8];
    for (size_t i = 0; i < 8; i++) {
        allow(&r, &hung[i]);
    }
    r.clock.now += RSL_SEC(1000000);
    expect_state(&r, RSL_BREAKER_CLOSED);
    assert_int_equal(stats_of(&r).slow, 0);
    for (size_t i = 0; i < 8; i++) {
        report(&r, &hung[i], 0);
    }
    assert_int_equal(stats_of(&r).slow, 0);
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

/* ------------------------------------------------------------ forced states */

static void forced_open_refuses_everything_for_ever(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_FORCED_OPEN), RSL_OK);
    expect_refused(&r);
    r.clock.now += RSL_SEC(1000000);
    expect_refused(&r);
    expect_state(&r, RSL_BREAKER_FORCED_OPEN);
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_CLOSED), RSL_OK);
    feed(&r, "S");
    rig_end(&r);
}

static void disabled_allows_everything_and_records_no_window(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {touchy(), count_of(1), time_of(RSL_SEC(10), 1)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        rig_start(&r, kinds[i]);
        assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_DISABLED), RSL_OK);
        for (int n = 0; n < 100; n++) {
            feed(&r, "F");
        }
        expect_state(&r, RSL_BREAKER_DISABLED);
        assert_int_equal(stats_of(&r).calls, 0);
        assert_int_equal(stats_of(&r).failures, 0);
        assert_int_equal(stats_of(&r).in_flight, 0);
        rig_end(&r);
    }
}

static void metrics_only_records_and_never_opens(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {count_of(10), time_of(RSL_SEC(10), 1)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        rig_start(&r, kinds[i]);
        assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
        feed(&r, "FFFFFFFFFF");
        expect_state(&r, RSL_BREAKER_METRICS_ONLY);
        assert_int_equal(stats_of(&r).calls, 10);
        assert_int_equal(stats_of(&r).failures, 10);
        expect_near(stats_of(&r).failure_rate, 1.0);
        assert_int_equal(stats_of(&r).opened, 0);
        rig_end(&r);
    }
}

static void metrics_only_never_opens_a_consecutive_window_either(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
    feed(&r, "FFFF");
    expect_state(&r, RSL_BREAKER_METRICS_ONLY);
    assert_int_equal(stats_of(&r).failures, 4);
    rig_end(&r);
}

static void forcing_it_closed_clears_the_window(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {{.failures_max = 4}, count_of(4), time_of(RSL_SEC(10), 4)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i].failure_rate = 1.0;
        rig_start(&r, kinds[i]);
        feed(&r, "FFF");
        assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_CLOSED), RSL_OK);
        assert_int_equal(stats_of(&r).calls, 0);
        assert_int_equal(stats_of(&r).failures, 0);
        feed(&r, "FFF");
        expect_state(&r, RSL_BREAKER_CLOSED);
        feed(&r, "F");
        expect_state(&r, RSL_BREAKER_OPEN);
        assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_CLOSED), RSL_OK);
        feed(&r, "SFFF");
        expect_state(&r, RSL_BREAKER_CLOSED);
        rig_end(&r);
    }
}

static void a_close_after_probing_clears_the_window(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {count_of(4), time_of(RSL_SEC(1000), 4)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i].open_for = RSL_SEC(1);
        rig_start(&r, kinds[i]);
        feed(&r, "FFFF");
        expect_state(&r, RSL_BREAKER_OPEN);
        r.clock.now += RSL_SEC(1);
        feed(&r, "S");
        expect_state(&r, RSL_BREAKER_CLOSED);
        assert_int_equal(stats_of(&r).calls, 0);
        assert_int_equal(stats_of(&r).failures, 0);
        feed(&r, "FFF");
        expect_state(&r, RSL_BREAKER_CLOSED);
        feed(&r, "F");
        expect_state(&r, RSL_BREAKER_OPEN);
        rig_end(&r);
    }
}

static void forcing_it_open_works_like_an_opening(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_OPEN), RSL_OK);
    expect_open_for(&r, RSL_SEC(10), "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void half_open_and_unknown_states_cannot_be_forced(void **unused)
{
    (void)unused;
    static const int bad[] = {RSL_BREAKER_HALF_OPEN, RSL_BREAKER_METRICS_ONLY + 1, 99, -1, INT_MIN,
                              INT_MAX};
    rig r;
    rig_start(&r, touchy());
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        assert_int_equal(rsl_breaker_force(&r.breaker, (rsl_breaker_state)bad[i]), RSL_EINVAL);
        expect_state(&r, RSL_BREAKER_CLOSED);
    }
    assert_int_equal(r.events.count, 0);
    rig_end(&r);
}

/* ------------------------------------------------------------- reconfiguring */

static void reconfiguring_changes_the_numbers_at_once(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.failures_max = 10, .open_for = RSL_SEC(10)};
    rig_start(&r, config);
    feed(&r, "FFFF");
    rsl_breaker_config numbers = {.failures_max = 3, .open_for = RSL_SEC(2), .probes_max = 3,
                                  .probes_needed = 2};
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
    feed(&r, "F");
    expect_open_for(&r, RSL_SEC(2), "FS");
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void reconfiguring_changes_rates_and_minimum_of_a_full_window(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {count_of(20), time_of(RSL_SEC(10), 20)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i].calls_min = 20;
        rig_start(&r, kinds[i]);
        feed(&r, "SSSSFF");
        rsl_breaker_config numbers = {.calls_min = 7, .failure_rate = 0.25};
        numbers.window_span = kinds[i].window_span;
        assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
        assert_int_equal(stats_of(&r).calls, 6);
        expect_state(&r, RSL_BREAKER_CLOSED);
        feed(&r, "S");
        expect_state(&r, RSL_BREAKER_OPEN);
        rig_end(&r);
    }
}

static void reconfiguring_keeps_the_callbacks(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.failures_max = 2};
    rig_start(&r, config);
    rsl_breaker_config numbers = {.failures_max = 1};
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
    feed(&r, "I");
    expect_state(&r, RSL_BREAKER_CLOSED);
    size_t before = event_recorder_count_kind(&r.events, RSL_BREAKER_CHANGED);
    feed(&r, "F");
    assert_int_equal(event_recorder_count_kind(&r.events, RSL_BREAKER_CHANGED), before + 1);
    r.clock.now += RSL_SEC(30);
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    rig_end(&r);
}

static void reconfiguring_what_cannot_change_is_refused_and_changes_nothing(void **unused)
{
    (void)unused;
    rsl_breaker_config base = count_of(4);
    base.open_for = RSL_SEC(10);
    const rsl_breaker_config bad[] = {
        {.window = RSL_WINDOW_TIME, .calls_min = 1},
        {.window = RSL_WINDOW_CONSECUTIVE, .calls_min = 1},
        {.window_calls = 5, .calls_min = 1},
        {.window_calls = 3, .calls_min = 1},
        {.failure_rate = 2, .calls_min = 1},
        {.open_multiplier = 0.5, .calls_min = 1},
        {.probes_max = 1, .probes_needed = 2, .calls_min = 1},
    };
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        rig r;
        rig_start(&r, base);
        assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &bad[i]), RSL_EINVAL);
        assert_int_equal(rsl_breaker_reconfigure(&r.breaker, NULL), RSL_EINVAL);
        feed(&r, "FFF");
        expect_state(&r, RSL_BREAKER_CLOSED);
        feed(&r, "F");
        expect_open_for(&r, RSL_SEC(10), "S");
        expect_state(&r, RSL_BREAKER_CLOSED);
        rig_end(&r);
    }
    assert_int_equal(rsl_breaker_reconfigure(NULL, &base), RSL_EINVAL);
}

static void reconfiguring_the_buckets_is_refused(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, time_of(RSL_SEC(10), 1));
    rsl_breaker_config numbers = {.window_buckets = 11};
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_EINVAL);
    numbers.window_buckets = 10;
    numbers.window = RSL_WINDOW_TIME;
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
    rig_end(&r);
}

/* ----------------------------------------------------------------- counting */

static void refusals_are_never_counted_as_calls(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = count_of(4);
    config.open_for = RSL_SEC(10);
    rig_start(&r, config);
    feed(&r, "FFFF");
    rsl_breaker_stats before = stats_of(&r);
    for (uint64_t i = 1; i <= 1000; i++) {
        expect_refused(&r);
        assert_int_equal(stats_of(&r).refused, i);
    }
    rsl_breaker_stats after = stats_of(&r);
    before.refused = 1000;
    expect_same(&before, &after);
    r.clock.now += RSL_SEC(10);
    feed(&r, "S");
    assert_int_equal(stats_of(&r).calls, 0);
    rig_end(&r);
}

static void the_totals_count_since_init(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    feed(&r, "SSSIIF");
    expect_refused(&r);
    expect_refused(&r);
    r.clock.now += RSL_SEC(10);
    feed(&r, "F");
    r.clock.now += RSL_SEC(10);
    feed(&r, "S");
    rsl_breaker_permit permit;
    allow(&r, &permit);
    assert_int_equal(stats_of(&r).in_flight, 1);
    assert_int_equal(rsl_breaker_cancel(&r.breaker, &permit), RSL_OK);
    rsl_breaker_stats stats = stats_of(&r);
    assert_int_equal(stats.succeeded, 4);
    assert_int_equal(stats.failed, 2);
    assert_int_equal(stats.ignored, 2);
    assert_int_equal(stats.refused, 2);
    assert_int_equal(stats.opened, 2);
    assert_int_equal(stats.in_flight, 0);
    rig_end(&r);
}

static void an_uncounted_breaker_works_and_leaves_its_totals_at_zero(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {touchy(), count_of(1), time_of(RSL_SEC(10), 1)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i].uncounted = true;
        kinds[i].open_for = RSL_SEC(10);
        rig_start(&r, kinds[i]);
        feed(&r, "SIF");
        expect_state(&r, RSL_BREAKER_OPEN);
        expect_refused(&r);
        r.clock.now += RSL_SEC(10);
        rsl_breaker_permit probe;
        allow(&r, &probe);
        expect_refused(&r);
        rsl_breaker_stats stats = stats_of(&r);
        assert_int_equal(stats.in_flight, 0);
        report(&r, &probe, 0);
        expect_state(&r, RSL_BREAKER_CLOSED);
        stats = stats_of(&r);
        assert_int_equal(stats.succeeded, 0);
        assert_int_equal(stats.failed, 0);
        assert_int_equal(stats.ignored, 0);
        assert_int_equal(stats.refused, 0);
        assert_int_equal(stats.in_flight, 0);
        rig_end(&r);
    }
}

/* --------------------------------------------------------------------- call */

static void a_call_passes_any_result_through(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.failures_max = RSL_UNLIMITED};
    rig_start(&r, config);
    for (int result = -7400; result <= -7300; result++) {
        one_call call = {.result = result};
        assert_int_equal(rsl_breaker_call(&r.breaker, NULL, make_it, &call), result);
        assert_int_equal(call.calls, 1);
    }
    static const int extremes[] = {0, 1, -1, INT_MIN, INT_MAX};
    for (size_t i = 0; i < RSL_COUNT(extremes); i++) {
        one_call call = {.result = extremes[i]};
        assert_int_equal(rsl_breaker_call(&r.breaker, NULL, make_it, &call), extremes[i]);
    }
    assert_int_equal(stats_of(&r).in_flight, 0);
    assert_int_equal(stats_of(&r).succeeded, 1);
    rig_end(&r);
}

static void a_call_is_counted_and_then_refused(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    one_call call = {.result = 5};
    assert_int_equal(rsl_breaker_call(&r.breaker, NULL, make_it, &call), 5);
    expect_state(&r, RSL_BREAKER_OPEN);
    assert_int_equal(rsl_breaker_call(&r.breaker, NULL, make_it, &call), RSL_EOPEN);
    assert_int_equal(call.calls, 1);
    assert_int_equal(stats_of(&r).refused, 1);
    r.clock.now += RSL_SEC(10);
    call.result = 0;
    assert_int_equal(rsl_breaker_call(&r.breaker, NULL, make_it, &call), 0);
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void the_function_sees_the_callers_context(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    one_call call = {.result = 0};
    rsl_ctx ctx = {.deadline = RSL_FOREVER, .attempt = 3, .priority = -4};
    assert_int_equal(rsl_breaker_call(&r.breaker, &ctx, make_it, &call), 0);
    assert_int_equal(call.ctx.deadline, RSL_FOREVER);
    assert_int_equal(call.ctx.attempt, 3);
    assert_int_equal(call.ctx.priority, -4);
    rig_end(&r);
}

static int take_two_seconds(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    virtual_clock *clock = arg;
    clock->now += RSL_SEC(2);
    return 0;
}

static void a_slow_call_is_measured(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = touchy();
    config.slow_after = RSL_SEC(2);
    rig_start(&r, config);
    assert_int_equal(rsl_breaker_call(&r.breaker, NULL, take_two_seconds, &r.clock), 0);
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void a_call_without_a_function_or_object_makes_no_call(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    one_call call = {.result = 0};
    assert_int_equal(rsl_breaker_call(&r.breaker, NULL, NULL, &call), RSL_EINVAL);
    assert_int_equal(rsl_breaker_call(NULL, NULL, make_it, &call), RSL_EINVAL);
    assert_int_equal(rsl_breaker_init(NULL, NULL), RSL_EINVAL);
    assert_int_equal(call.calls, 0);
    assert_int_equal(stats_of(&r).in_flight, 0);
    rsl_breaker_deinit(NULL);
    rig_end(&r);
}

static void a_deinited_breaker_is_refused(void **unused)
{
    long before_all = support_live();
    (void)unused;
    rsl_breaker breaker;
    assert_int_equal(rsl_breaker_init(&breaker, NULL), RSL_OK);
    rsl_breaker_deinit(&breaker);
    one_call call = {.result = 0};
    rsl_breaker_permit permit;
    rsl_ctx late = {.deadline = 1};
    assert_int_equal(rsl_breaker_call(&breaker, NULL, make_it, &call), RSL_EINVAL);
    assert_int_equal(rsl_breaker_call(&breaker, &late, make_it, &call), RSL_EINVAL);
    assert_int_equal(rsl_breaker_allow(&breaker, &permit), RSL_EINVAL);
    assert_int_equal(call.calls, 0);
    rsl_breaker_deinit(&breaker);
    assert_int_equal(support_live(), before_all);
}

static rsl_time dirty_now(void *user)
{
    errno = EIO;
    return *(const rsl_time *)user;
}

static bool dirty_predicate(int result, void *user)
{
    (void)user;
    errno = EDOM;
    return result == 1;
}

static bool dirty_no(int result, void *user)
{
    (void)result;
    (void)user;
    errno = ERANGE;
    return false;
}

static double dirty_random(void *user)
{
    (void)user;
    errno = EAGAIN;
    return 0.5;
}

static void dirty_event(const rsl_event *event, void *user)
{
    (void)event;
    (void)user;
    errno = EPIPE;
}

static void errno_survives_every_function(void **unused)
{
    (void)unused;
    rsl_time now = START;
    rsl_breaker_config config = touchy();
    config.open_jitter = 0.1;
    config.slow_after = RSL_SEC(1);
    config.clock.now = dirty_now;
    config.clock.user = &now;
    config.is_failure = dirty_predicate;
    config.is_ignored = dirty_no;
    config.random.next = dirty_random;
    config.observer.on_event = dirty_event;
    rsl_breaker breaker;
    errno = 4321;
    assert_int_equal(rsl_breaker_init(&breaker, &config), RSL_OK);
    rsl_breaker_permit permit;
    rsl_breaker_stats stats;
    assert_int_equal(rsl_breaker_allow(&breaker, &permit), RSL_OK);
    assert_int_equal(rsl_breaker_report(&breaker, &permit, 0), RSL_OK);
    assert_int_equal(rsl_breaker_allow(&breaker, &permit), RSL_OK);
    assert_int_equal(rsl_breaker_cancel(&breaker, &permit), RSL_OK);
    assert_int_equal(rsl_breaker_allow(&breaker, &permit), RSL_OK);
    assert_int_equal(rsl_breaker_report(&breaker, &permit, 1), RSL_OK);
    assert_int_equal(errno, 4321);
    assert_int_equal(rsl_breaker_allow(&breaker, &permit), RSL_EOPEN);
    assert_int_equal(errno, 4321);
    now += RSL_SEC(30);
    assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_HALF_OPEN);
    rsl_breaker_stats_get(&breaker, &stats);
    assert_int_equal(rsl_breaker_force(&breaker, RSL_BREAKER_CLOSED), RSL_OK);
    assert_int_equal(rsl_breaker_reconfigure(&breaker, &config), RSL_OK);
    assert_int_equal(errno, 4321);
    one_call call = {.result = 1, .error = ENOENT};
    assert_int_equal(rsl_breaker_call(&breaker, NULL, make_it, &call), 1);
    assert_int_equal(errno, ENOENT);
    rsl_breaker_deinit(&breaker);
}

/* ------------------------------------------------------------------- config */

static void refuse(const rsl_breaker_config *config, const char *field)
{
    long before_all = support_live();
    rsl_breaker_config before;
    memcpy(&before, config, sizeof(before));
    const char *why = rsl_breaker_config_check(config);
    if (why == NULL) {
        fail_msg("%s was not refused", field);
        return;
    }
    size_t length = strlen(field);
    if (strncmp(why, field, length) != 0 || why[length] != ':' || why[length + 1] != ' '
        || why[length + 2] == '\0') {
        fail_msg("\"%s\" does not read \"%s: reason\"", why, field);
    }
    assert_memory_equal(&before, config, sizeof(before));

    rsl_breaker breaker;
    memset(&breaker, 0x5A, sizeof(breaker));
    assert_int_equal(rsl_breaker_init(&breaker, config), RSL_EINVAL);
    one_call call = {.result = 0};
    rsl_breaker_permit permit;
    assert_int_equal(rsl_breaker_call(&breaker, NULL, make_it, &call), RSL_EINVAL);
    assert_int_equal(call.calls, 0);
    assert_int_equal(rsl_breaker_allow(&breaker, &permit), RSL_EINVAL);
    assert_int_equal(rsl_breaker_force(&breaker, RSL_BREAKER_CLOSED), RSL_EINVAL);
    rsl_breaker_config fine = touchy();
    assert_int_equal(rsl_breaker_reconfigure(&breaker, &fine), RSL_EINVAL);
    rsl_breaker_stats stats;
    (void)rsl_breaker_state_get(&breaker);
    rsl_breaker_stats_get(&breaker, &stats);
    rsl_breaker_deinit(&breaker);
    assert_int_equal(support_live(), before_all);
}

static void spans_out_of_range_are_refused_by_name(void **unused)
{
    (void)unused;
    static const rsl_time bad[] = {-2, -RSL_SEC(1), INT64_MIN};
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        refuse(&(rsl_breaker_config){.window = RSL_WINDOW_TIME, .window_span = bad[i]},
               "window_span");
        refuse(&(rsl_breaker_config){.slow_after = bad[i]}, "slow_after");
        refuse(&(rsl_breaker_config){.open_for = bad[i]}, "open_for");
        refuse(&(rsl_breaker_config){.open_max = bad[i]}, "open_max");
        refuse(&(rsl_breaker_config){.probe_for = bad[i]}, "probe_for");
    }
    refuse(&(rsl_breaker_config){.window = RSL_WINDOW_TIME, .window_span = RSL_NONE},
           "window_span");
    refuse(&(rsl_breaker_config){.slow_after = RSL_NONE}, "slow_after");
    refuse(&(rsl_breaker_config){.open_max = RSL_NONE}, "open_max");
    refuse(&(rsl_breaker_config){.probe_for = RSL_NONE}, "probe_for");
}

static void rates_and_shares_out_of_range_are_refused_by_name(void **unused)
{
    (void)unused;
    const double bad[] = {-0.01, -1, -2, 1.0000001, 2, DBL_MAX, (double)NAN, (double)INFINITY,
                          -(double)INFINITY};
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        refuse(&(rsl_breaker_config){.failure_rate = bad[i]}, "failure_rate");
        refuse(&(rsl_breaker_config){.slow_rate = bad[i]}, "slow_rate");
        if (!(bad[i] == RSL_NONE)) { /* which means no jitter */
            refuse(&(rsl_breaker_config){.open_jitter = bad[i]}, "open_jitter");
        }
    }
}

static void multipliers_out_of_range_are_refused_by_name(void **unused)
{
    (void)unused;
    const double bad[] = {0.999999, 0.5, -1, -2, -DBL_MAX, (double)NAN, (double)INFINITY,
                          -(double)INFINITY, DBL_MIN};
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        refuse(&(rsl_breaker_config){.open_multiplier = bad[i]}, "open_multiplier");
    }
}

static void unknown_windows_are_refused_by_name(void **unused)
{
    (void)unused;
    static const int bad[] = {RSL_WINDOW_TIME + 1, 99, INT_MAX, -1, INT_MIN};
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        refuse(&(rsl_breaker_config){.window = (rsl_breaker_window)bad[i]}, "window");
    }
}

static void more_successes_than_probes_are_refused_by_name(void **unused)
{
    (void)unused;
    refuse(&(rsl_breaker_config){.probes_max = 3, .probes_needed = 4}, "probes_needed");
    refuse(&(rsl_breaker_config){.probes_needed = 2}, "probes_needed");
    refuse(&(rsl_breaker_config){.probes_needed = UINT32_MAX}, "probes_needed");
}

static void a_minimum_above_the_count_window_is_refused_by_name(void **unused)
{
    (void)unused;
    rsl_breaker_config config = count_of(10);
    config.calls_min = 11;
    refuse(&config, "calls_min");
}

static void half_a_clock_is_refused_by_name(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_breaker_config config = {.clock = virtual_clock_as(&clock)};
    config.clock.now = NULL;
    refuse(&config, "clock.now");
    config.clock = virtual_clock_as(&clock);
    config.clock.sleep_until = NULL;
    assert_null(rsl_breaker_config_check(&config));
}

static void zero_means_the_default_in_every_field(void **unused)
{
    (void)unused;
    rsl_breaker_config zero;
    memset(&zero, 0, sizeof(zero));
    const rsl_breaker_config *given[] = {&zero, NULL};
    for (size_t i = 0; i < RSL_COUNT(given); i++) {
        assert_null(rsl_breaker_config_check(given[i]));
        rsl_breaker_config c = rsl_breaker_config_resolve(given[i]);
        assert_int_equal(c.window, RSL_WINDOW_CONSECUTIVE);
        assert_int_equal(c.failures_max, 5);
        assert_int_equal(c.window_calls, 100);
        assert_int_equal(c.window_span, RSL_SEC(10));
        assert_int_equal(c.window_buckets, 10);
        assert_int_equal(c.calls_min, 10);
        expect_near(c.failure_rate, 0.5);
        assert_int_equal(c.slow_after, RSL_FOREVER);
        expect_near(c.slow_rate, 1.0);
        assert_int_equal(c.open_for, RSL_SEC(30));
        expect_near(c.open_multiplier, 1.0);
        assert_int_equal(c.open_max, RSL_SEC(600));
        expect_near(c.open_jitter, 0.0);
        assert_int_equal(c.probes_max, 1);
        assert_int_equal(c.probes_needed, 1);
        assert_int_equal(c.probe_for, RSL_SEC(60));
        assert_false(c.uncounted);
        assert_null(rsl_breaker_config_check(&c));
    }
    zero.window = RSL_WINDOW_COUNT;
    zero.window_calls = 7;
    zero.probes_max = 4;
    zero.open_for = RSL_NONE;
    zero.open_jitter = RSL_NONE;
    rsl_breaker_config c = rsl_breaker_config_resolve(&zero);
    assert_int_equal(c.calls_min, 7);
    assert_int_equal(c.probes_needed, 4);
    assert_int_equal(c.open_for, 0);
    expect_near(c.open_jitter, 0.0);
}

static void a_null_config_means_all_defaults(void **unused)
{
    (void)unused;
    rsl_breaker breaker;
    assert_int_equal(rsl_breaker_init(&breaker, NULL), RSL_OK);
    for (int i = 0; i < 5; i++) {
        rsl_breaker_permit permit;
        assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_CLOSED);
        assert_int_equal(rsl_breaker_allow(&breaker, &permit), RSL_OK);
        assert_int_equal(rsl_breaker_report(&breaker, &permit, 1), RSL_OK);
    }
    assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_OPEN);
    rsl_breaker_deinit(&breaker);
}

static void a_real_clock_ends_the_open_time(void **unused)
{
    (void)unused;
    rsl_breaker_config config = {.failures_max = 1, .open_for = RSL_MS(30)};
    rsl_breaker breaker;
    assert_int_equal(rsl_breaker_init(&breaker, &config), RSL_OK);
    rsl_breaker_permit permit;
    assert_int_equal(rsl_breaker_allow(&breaker, &permit), RSL_OK);
    rsl_time opened = rsl_now();
    assert_int_equal(rsl_breaker_report(&breaker, &permit, 1), RSL_OK);
    while (rsl_breaker_allow(&breaker, &permit) == RSL_EOPEN) {
        assert_true(rsl_now() - opened < RSL_SEC(5));
    }
    assert_true(rsl_now() - opened >= RSL_MS(20));
    assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_HALF_OPEN);
    rsl_breaker_deinit(&breaker);
}

static void a_breaker_without_a_slow_limit_reads_no_clock_around_a_call(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = {.failures_max = 5};
    rig_start(&r, config);
    feed(&r, "S");
    r.clock.reads = 0;
    feed(&r, "SSSSSSSSSS");
    assert_int_equal(r.clock.reads, 0);
    rig_end(&r);
}

static void the_layer_says_what_it_is(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    rsl_layer layer = rsl_breaker_layer(&r.breaker);
    assert_non_null(layer.type);
    assert_string_equal(layer.type->kind, "breaker");
    assert_ptr_equal(layer.self, &r.breaker);
    assert_true(layer.type->enter != NULL && layer.type->leave != NULL);
    assert_true(layer.type->abandon != NULL);
    rig_end(&r);
}

/* ------------------------------------------------------------------- memory */

static void check_failed_allocations(const rsl_breaker_config *config)
{
    long before_all = support_live();
    rsl_breaker breaker;
    support_fail_never();
    assert_int_equal(rsl_breaker_init(&breaker, config), RSL_OK);
    long needed = support_taken();
    rsl_breaker_deinit(&breaker);
    assert_int_equal(support_live(), before_all);
    for (long n = 1; n <= needed + 1; n++) {
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            for_ever ? support_fail_from(n) : support_fail_nth(n);
            int rc = rsl_breaker_init(&breaker, config);
            support_fail_never();
            assert_int_equal(rc, n <= needed ? RSL_ENOMEM : RSL_OK);
            one_call call = {.result = 0};
            assert_int_equal(rsl_breaker_call(&breaker, NULL, make_it, &call),
                             n <= needed ? RSL_EINVAL : RSL_OK);
            rsl_breaker_deinit(&breaker);
            assert_int_equal(support_live(), before_all);
        }
    }
}

static void init_survives_every_failed_allocation(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {touchy(), count_of(10), count_of(100000),
                                  time_of(RSL_SEC(10), 1), time_of(RSL_SEC(10), 1)};
    kinds[4].slow_after = RSL_SEC(1);
    kinds[4].window_buckets = 100;
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        check_failed_allocations(&kinds[i]);
    }
}

static void calls_take_no_memory(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {touchy(), count_of(2), time_of(RSL_SEC(10), 2)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i].slow_after = RSL_SEC(1);
        kinds[i].open_for = RSL_SEC(10);
        rig_start(&r, kinds[i]);
        support_fail_from(1);
        feed(&r, "SF");
        expect_state(&r, RSL_BREAKER_OPEN);
        expect_refused(&r);
        r.clock.now += RSL_SEC(10);
        feed(&r, "S");
        assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_CLOSED), RSL_OK);
        assert_int_equal(support_taken(), 0);
        support_fail_never();
        rig_end(&r);
    }
}

/* ------------------------------------------------------------------- events */

static void expect_change(const rig *r, size_t i, rsl_breaker_state state, const char *name)
{
    const recorded_event *record = &r->events.events[i];
    assert_true(i < r->events.count);
    assert_int_equal(record->event.kind, RSL_BREAKER_CHANGED);
    assert_int_equal(record->event.value, state);
    assert_string_equal(record->name, name);
    assert_string_equal(record->source, "orders");
}

static void every_change_of_state_is_told_by_name_and_in_order(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = touchy();
    config.name = "orders";
    rig_start(&r, config);
    feed(&r, "SF");
    r.clock.now += RSL_SEC(10);
    feed(&r, "F");
    r.clock.now += RSL_SEC(10);
    feed(&r, "S");
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_FORCED_OPEN), RSL_OK);
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_DISABLED), RSL_OK);
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
    assert_int_equal(r.events.count, 8);
    expect_change(&r, 0, RSL_BREAKER_OPEN, "open");
    expect_change(&r, 1, RSL_BREAKER_HALF_OPEN, "half-open");
    expect_change(&r, 2, RSL_BREAKER_OPEN, "open");
    expect_change(&r, 3, RSL_BREAKER_HALF_OPEN, "half-open");
    expect_change(&r, 4, RSL_BREAKER_CLOSED, "closed");
    expect_change(&r, 5, RSL_BREAKER_FORCED_OPEN, "forced-open");
    expect_change(&r, 6, RSL_BREAKER_DISABLED, "disabled");
    expect_change(&r, 7, RSL_BREAKER_METRICS_ONLY, "metrics-only");
    assert_int_equal(r.events.events[0].event.at, START);
    assert_int_equal(r.events.events[1].event.at, START + RSL_SEC(10));
    rig_end(&r);
}

static void a_change_is_told_with_the_result_that_did_it(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    assert_int_equal(call_at(&r, 0, 4711), RSL_OK);
    assert_int_equal(r.events.events[0].event.status, 4711);
    expect_refused(&r);
    assert_int_equal(r.events.events[1].event.kind, RSL_BREAKER_REFUSED);
    assert_int_equal(r.events.events[1].event.status, RSL_EOPEN);
    r.clock.now += RSL_SEC(10);
    assert_int_equal(call_at(&r, RSL_SEC(10), -5), RSL_OK);
    assert_int_equal(r.events.events[2].event.status, 0);
    assert_int_equal(r.events.events[3].event.status, -5);
    assert_int_equal(r.events.events[3].event.value, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void lost_probes_are_told_with_their_number(void **unused)
{
    (void)unused;
    rig r;
    rig_start_half_open(&r, probing(3, 3));
    rsl_breaker_permit lost[3];
    for (size_t i = 0; i < 3; i++) {
        allow(&r, &lost[i]);
    }
    r.clock.now += RSL_SEC(60) + 1;
    (void)stats_of(&r);
    assert_int_equal(event_recorder_count_kind(&r.events, RSL_BREAKER_PROBE_LOST), 1);
    assert_int_equal(event_recorder_last(&r.events, RSL_BREAKER_PROBE_LOST)->value, 3);
    rig_end(&r);
}

static void every_refusal_is_told(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    feed(&r, "F");
    for (size_t i = 1; i <= 5; i++) {
        expect_refused(&r);
        assert_int_equal(event_recorder_count_kind(&r.events, RSL_BREAKER_REFUSED), i);
    }
    rig_end(&r);
}

/* An observer that uses the breaker which told it. */
static void use_it_again(const rsl_event *event, void *arg)
{
    rig *r = arg;
    if (event->kind != RSL_BREAKER_CHANGED) {
        return;
    }
    rsl_breaker_permit permit;
    rsl_breaker_stats stats;
    rsl_breaker_state state = rsl_breaker_state_get(&r->breaker);
    rsl_breaker_stats_get(&r->breaker, &stats);
    int rc = rsl_breaker_allow(&r->breaker, &permit);
    if (rc == RSL_OK) {
        assert_int_equal(rsl_breaker_cancel(&r->breaker, &permit), RSL_OK);
    }
    if (state == RSL_BREAKER_OPEN) {
        assert_int_equal(rsl_breaker_force(&r->breaker, RSL_BREAKER_CLOSED), RSL_OK);
    }
}

static void an_observer_may_call_back_into_the_breaker(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {touchy(), count_of(1), time_of(RSL_SEC(10), 1)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i].slow_after = RSL_SEC(1);
        rig_start(&r, kinds[i]);
        r.events.then = use_it_again;
        r.events.arg = &r;
        for (uint64_t n = 1; n <= 5; n++) {
            feed(&r, "F");
            expect_state(&r, RSL_BREAKER_CLOSED);
            assert_int_equal(stats_of(&r).opened, n);
        }
        rsl_breaker_permit hung;
        allow(&r, &hung);
        r.clock.now += RSL_SEC(1);
        (void)rsl_breaker_state_get(&r.breaker);
        assert_int_equal(stats_of(&r).opened, 6);
        rig_end(&r);
    }
}

/* --------------------------------------------------------- edges between parts */

static void a_probe_reported_after_its_time_is_lost_though_nobody_looked(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = probing(1, 1);
    config.probe_for = RSL_SEC(5);
    rig_start_half_open(&r, config);
    rsl_breaker_permit late;
    allow(&r, &late);
    r.clock.now += RSL_SEC(5) + 1;
    report(&r, &late, 0);
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    assert_int_equal(stats_of(&r).succeeded, 0);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

/* Whatever was reported before and whatever the numbers become: with no probe out, half-open lets
   one through, or it is half-open no more. */
static void reconfiguring_never_leaves_half_open_stuck(void **unused)
{
    (void)unused;
    static const char *const histories[] = {"", "S", "F", "SS", "SF", "FF", "SSS", "FFF", "SSF",
                                            "SFF", "SSSS", "FFFF", "SSFF"};
    for (size_t i = 0; i < RSL_COUNT(histories); i++) {
        for (uint32_t max = 1; max <= 4; max++) {
            for (uint32_t needed = 1; needed <= max; needed++) {
                rig r;
                rig_start_half_open(&r, probing(5, 5 - (uint32_t)strlen(histories[i]) / 2));
                for (const char *h = histories[i]; *h != '\0'; h++) {
                    if (rsl_breaker_state_get(&r.breaker) == RSL_BREAKER_HALF_OPEN) {
                        feed(&r, *h == 'S' ? "S" : "F");
                    }
                }
                rsl_breaker_config numbers = probing(max, needed);
                assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
                rsl_breaker_permit permit;
                if (rsl_breaker_state_get(&r.breaker) == RSL_BREAKER_HALF_OPEN
                    && rsl_breaker_allow(&r.breaker, &permit) != RSL_OK
                    && rsl_breaker_state_get(&r.breaker) == RSL_BREAKER_HALF_OPEN) {
                    fail_msg("stuck: %s, then %u probes of which %u", histories[i], max, needed);
                }
                rig_end(&r);
            }
        }
    }
}

static void reconfiguring_half_open_makes_room_for_more_probes(void **unused)
{
    (void)unused;
    rig r;
    rig_start_half_open(&r, probing(1, 1));
    rsl_breaker_permit probes[3];
    allow(&r, &probes[0]);
    expect_refused(&r);
    rsl_breaker_config numbers = probing(3, 3);
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
    allow(&r, &probes[1]);
    allow(&r, &probes[2]);
    expect_refused(&r);
    for (size_t i = 0; i < 3; i++) {
        expect_state(&r, RSL_BREAKER_HALF_OPEN);
        report(&r, &probes[i], 0);
    }
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void reconfiguring_half_open_to_fewer_probes_forgets_none_that_are_out(void **unused)
{
    (void)unused;
    rig r;
    rig_start_half_open(&r, probing(3, 3));
    rsl_breaker_permit probes[3];
    for (size_t i = 0; i < 3; i++) {
        allow(&r, &probes[i]);
    }
    rsl_breaker_config numbers = probing(2, 2);
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
    expect_refused(&r);
    assert_int_equal(rsl_breaker_cancel(&r.breaker, &probes[0]), RSL_OK);
    expect_refused(&r);
    report(&r, &probes[1], 0);
    expect_state(&r, RSL_BREAKER_HALF_OPEN);
    report(&r, &probes[2], 0);
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

/* The window holds 3 failures of 10, too many under the new rate: the next result opens it. */
static void a_lower_rate_opens_a_full_window_at_the_next_result(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, count_of(10));
    feed(&r, "SSSSSSSFFF");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rsl_breaker_config numbers = {.failure_rate = 0.3};
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void reconfiguring_checks_the_minimum_against_the_window_there_is(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, count_of(4));
    rsl_breaker_config numbers = {.calls_min = 5};
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_EINVAL);
    numbers.calls_min = 0;
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
    feed(&r, "FFF");
    expect_state(&r, RSL_BREAKER_CLOSED);
    feed(&r, "F");
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
    rig_start(&r, count_of(200));
    numbers.calls_min = 150;
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
    rig_end(&r);
}

static void another_window_span_does_not_touch_a_count_window(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, count_of(4));
    rsl_breaker_permit out;
    allow(&r, &out);
    feed(&r, "FFF");
    rsl_breaker_config numbers = {.window_span = RSL_SEC(20)};
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
    assert_int_equal(stats_of(&r).calls, 3);
    report(&r, &out, 1);
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

static void another_window_span_does_not_touch_the_probes_that_are_out(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = time_of(RSL_SEC(10), 1);
    config.open_for = RSL_SEC(10);
    rig_start_half_open(&r, config);
    rsl_breaker_permit probe;
    allow(&r, &probe);
    config.window_span = RSL_SEC(20);
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &config), RSL_OK);
    expect_refused(&r);
    report(&r, &probe, 0);
    expect_state(&r, RSL_BREAKER_CLOSED);
    rig_end(&r);
}

static void slow_calls_can_be_measured_from_a_reconfiguring_on(void **unused)
{
    (void)unused;
    rsl_breaker_config kinds[] = {count_of(10), time_of(RSL_SEC(10), 2)};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        kinds[i].calls_min = 2;
        rig_start(&r, kinds[i]);
        rsl_breaker_permit before;
        allow(&r, &before);
        rsl_breaker_config numbers = {.calls_min = 2, .slow_after = RSL_SEC(1)};
        assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
        rsl_breaker_permit hung[2];
        allow(&r, &hung[0]);
        allow(&r, &hung[1]);
        report(&r, &before, 0);
        assert_int_equal(stats_of(&r).slow, 0);
        r.clock.now += RSL_SEC(1);
        assert_int_equal(stats_of(&r).slow, 2);
        assert_int_equal(stats_of(&r).calls, 3);
        numbers.slow_after = 0;
        assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
        assert_int_equal(stats_of(&r).slow, 0);
        report(&r, &hung[0], 0);
        assert_int_equal(stats_of(&r).slow, 0);
        expect_state(&r, RSL_BREAKER_CLOSED);
        rig_end(&r);
    }
}

static void another_window_span_empties_a_time_window(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, time_of(RSL_SEC(10), 4));
    rsl_breaker_permit out;
    allow(&r, &out);
    feed(&r, "FFF");
    rsl_breaker_config numbers = {.window_span = RSL_SEC(20), .calls_min = 4};
    assert_int_equal(rsl_breaker_reconfigure(&r.breaker, &numbers), RSL_OK);
    assert_int_equal(stats_of(&r).calls, 0);
    report(&r, &out, 1);
    assert_int_equal(stats_of(&r).calls, 0);
    feed(&r, "FFF");
    r.clock.now += RSL_SEC(20) - 1;
    assert_int_equal(stats_of(&r).calls, 3);
    r.clock.now += 1;
    assert_int_equal(stats_of(&r).calls, 0);
    rig_end(&r);
}

static void a_reconfiguring_that_finds_no_memory_changes_nothing(void **unused)
{
    long before_all = support_live();
    (void)unused;
    for (long n = 1; n <= 3; n++) {
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            rig r;
            rig_start(&r, probing(1, 1));
            rsl_breaker_config numbers = {.failures_max = 9, .probes_max = 20,
                                          .slow_after = RSL_SEC(1), .open_for = RSL_SEC(10)};
            long live = support_live();
            for_ever ? support_fail_from(n) : support_fail_nth(n);
            int rc = rsl_breaker_reconfigure(&r.breaker, &numbers);
            bool failed = support_taken() >= n;
            support_fail_never();
            assert_int_equal(rc, failed ? RSL_ENOMEM : RSL_OK);
            if (failed) {
                assert_int_equal(support_live(), live);
                feed(&r, "F");
                expect_state(&r, RSL_BREAKER_OPEN);
                r.clock.now += RSL_SEC(10);
                rsl_breaker_permit probe;
                allow(&r, &probe);
                expect_refused(&r);
            }
            rig_end(&r);
            assert_int_equal(support_live(), before_all);
        }
    }
}

static void reconfiguring_takes_memory_only_for_more_probes_or_the_first_timing(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = probing(4, 3);
    config.slow_after = RSL_SEC(5);
    rig_start(&r, config);
    rsl_breaker_config numbers = probing(2, 1);
    numbers.slow_after = RSL_SEC(3);
    support_fail_from(1);
    int rc = rsl_breaker_reconfigure(&r.breaker, &numbers);
    support_fail_never();
    assert_int_equal(rc, RSL_OK);
    rig_end(&r);
}

/* Calls of an earlier generation that hang in the next: not its calls, even if they began in the
   very nanosecond in which it did, as in an event loop that reads the clock once a turn. */
static void hanging_calls_of_an_earlier_generation_never_count(void **unused)
{
    (void)unused;
    for (rsl_time later = 0; later < 2; later++) {
        rsl_breaker_config kinds[] = {{.failures_max = 4}, count_of(10), time_of(RSL_SEC(10), 4)};
        for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
            rig r;
            rig_start(&r, hanging(kinds[i]));
            rsl_breaker_permit hung[4];
            for (size_t n = 0; n < 4; n++) {
                allow(&r, &hung[n]);
            }
            r.clock.now += later;
            assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_CLOSED), RSL_OK);
            r.clock.now += RSL_SEC(2);
            expect_state(&r, RSL_BREAKER_CLOSED);
            assert_int_equal(stats_of(&r).calls, 0);
            assert_int_equal(stats_of(&r).slow, 0);
            rig_end(&r);
        }
    }
}

static void calls_of_a_new_generation_hang_from_its_first_nanosecond_on(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, hanging(count_of(10)));
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_CLOSED), RSL_OK);
    rsl_breaker_permit hung[4];
    for (size_t n = 0; n < 4; n++) {
        allow(&r, &hung[n]);
    }
    r.clock.now += RSL_SEC(1);
    expect_state(&r, RSL_BREAKER_OPEN);
    rig_end(&r);
}

/* The place of a call in flight must not be taken for that of another which began just then. */
static void a_stale_report_leaves_calls_that_began_in_its_nanosecond_watched(void **unused)
{
    (void)unused;
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        rig r;
        rig_start(&r, hanging(count_of(10)));
        rsl_breaker_permit stale[4];
        rsl_breaker_permit hung[4];
        for (size_t n = 0; n < 4; n++) {
            allow(&r, &stale[n]);
        }
        assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_CLOSED), RSL_OK);
        for (size_t n = 0; n < 4; n++) {
            allow(&r, &hung[n]);
        }
        for (size_t n = 0; n < 4; n++) {
            assert_int_equal(cancelled ? rsl_breaker_cancel(&r.breaker, &stale[n])
                                       : rsl_breaker_report(&r.breaker, &stale[n], 0), RSL_OK);
        }
        r.clock.now += RSL_SEC(1);
        expect_state(&r, RSL_BREAKER_OPEN);
        rig_end(&r);
    }
}

static void two_hundred_hanging_calls_are_all_seen(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = hanging(time_of(RSL_SEC(10), 4));
    rig_start(&r, config);
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
    rsl_breaker_permit hung[200];
    for (size_t n = 0; n < 200; n++) {
        allow(&r, &hung[n]);
    }
    r.clock.now += RSL_SEC(2);
    assert_int_equal(stats_of(&r).slow, 200);
    for (size_t n = 0; n < 200; n++) {
        report(&r, &hung[n], 0);
        assert_int_equal(stats_of(&r).slow, 200);
        assert_int_equal(stats_of(&r).calls, 200);
    }
    rig_end(&r);
}

static void more_hanging_calls_than_are_watched_are_counted_when_they_return(void **unused)
{
    (void)unused;
    enum { MANY = 1000 };
    static rsl_breaker_permit hung[MANY];
    rig r;
    rig_start(&r, hanging(time_of(RSL_SEC(10), 4)));
    assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
    for (size_t n = 0; n < MANY; n++) {
        allow(&r, &hung[n]);
    }
    r.clock.now += RSL_SEC(2);
    assert_in_range(stats_of(&r).slow, 64, MANY);
    for (size_t n = 0; n < MANY; n++) {
        report(&r, &hung[n], 0);
    }
    assert_int_equal(stats_of(&r).slow, MANY);
    assert_int_equal(stats_of(&r).calls, MANY);
    assert_int_equal(stats_of(&r).in_flight, 0);
    rig_end(&r);
}

static void a_call_under_a_spent_context_is_not_made_and_not_counted(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, touchy());
    one_call call = {.result = 1};
    rsl_ctx late = {.deadline = START};
    assert_int_equal(rsl_breaker_call(&r.breaker, &late, make_it, &call), RSL_ETIMEOUT);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_cancel_fire(&cancel);
    rsl_ctx cancelled = {.cancel = &cancel};
    assert_int_equal(rsl_breaker_call(&r.breaker, &cancelled, make_it, &call), RSL_ECANCELED);
    assert_int_equal(call.calls, 0);
    assert_int_equal(stats_of(&r).in_flight, 0);
    assert_int_equal(stats_of(&r).ignored, 0);
    expect_state(&r, RSL_BREAKER_CLOSED);
    feed(&r, "F");
    assert_int_equal(rsl_breaker_call(&r.breaker, &late, make_it, &call), RSL_ETIMEOUT);
    assert_int_equal(rsl_breaker_call(&r.breaker, &cancelled, make_it, &call), RSL_ECANCELED);
    assert_int_equal(stats_of(&r).refused, 0);
    r.clock.now += RSL_SEC(10);
    assert_int_equal(rsl_breaker_call(&r.breaker, &late, make_it, &call), RSL_ETIMEOUT);
    assert_int_equal(rsl_breaker_call(&r.breaker, &cancelled, make_it, &call), RSL_ECANCELED);
    assert_int_equal(call.calls, 0);
    feed(&r, "S");
    expect_state(&r, RSL_BREAKER_CLOSED);
    rsl_cancel_deinit(&cancel);
    rig_end(&r);
}

static void sizes_out_of_range_are_refused_by_name(void **unused)
{
    (void)unused;
    refuse(&(rsl_breaker_config){.window = RSL_WINDOW_COUNT, .window_calls = 1000001},
           "window_calls");
    refuse(&(rsl_breaker_config){.window = RSL_WINDOW_COUNT, .window_calls = UINT32_MAX},
           "window_calls");
    refuse(&(rsl_breaker_config){.window = RSL_WINDOW_TIME, .window_buckets = 1025},
           "window_buckets");
    refuse(&(rsl_breaker_config){.window = RSL_WINDOW_TIME, .window_buckets = UINT32_MAX},
           "window_buckets");
    refuse(&(rsl_breaker_config){.window = RSL_WINDOW_TIME, .window_span = 9}, "window_span");
    refuse(&(rsl_breaker_config){.window = RSL_WINDOW_TIME, .window_span = 99,
                                 .window_buckets = 100}, "window_span");
    refuse(&(rsl_breaker_config){.probes_max = 1025}, "probes_max");
    refuse(&(rsl_breaker_config){.probes_max = UINT32_MAX}, "probes_max");
    refuse(&(rsl_breaker_config){.open_for = RSL_SEC(2), .open_max = RSL_SEC(2) - 1}, "open_max");
}

static void the_ends_of_every_range_are_accepted(void **unused)
{
    long before_all = support_live();
    (void)unused;
    const rsl_breaker_config good[] = {
        {.window = RSL_WINDOW_CONSECUTIVE, .failures_max = UINT32_MAX}, {.failures_max = 1},
        {.window = RSL_WINDOW_COUNT, .window_calls = 1},
        {.window = RSL_WINDOW_COUNT, .window_calls = 1000000, .calls_min = 1000000},
        {.window = RSL_WINDOW_TIME, .window_span = 10},
        {.window = RSL_WINDOW_TIME, .window_span = RSL_FOREVER},
        {.window = RSL_WINDOW_TIME, .window_buckets = 1, .window_span = 1},
        {.window = RSL_WINDOW_TIME, .window_buckets = 1024, .calls_min = UINT32_MAX},
        {.failure_rate = DBL_MIN}, {.failure_rate = 1}, {.slow_rate = DBL_MIN}, {.slow_rate = 1},
        {.slow_after = 1}, {.slow_after = RSL_FOREVER}, {.open_for = RSL_NONE}, {.open_for = 1},
        {.open_for = RSL_FOREVER}, {.open_for = RSL_SEC(601)},
        {.open_for = RSL_SEC(2), .open_max = RSL_SEC(2)}, {.open_max = RSL_FOREVER},
        {.open_multiplier = 1}, {.open_multiplier = DBL_MAX}, {.open_jitter = 1},
        {.open_jitter = RSL_NONE},
        {.probes_max = 1024, .probes_needed = 1}, {.probes_max = 1024, .probes_needed = 1024},
        {.probe_for = 1}, {.probe_for = RSL_FOREVER},
    };
    for (size_t i = 0; i < RSL_COUNT(good); i++) {
        rig r;
        rig_start(&r, good[i]);
        feed(&r, "S");
        expect_state(&r, RSL_BREAKER_CLOSED);
        assert_int_equal(rsl_breaker_force(&r.breaker, RSL_BREAKER_OPEN), RSL_OK);
        rsl_breaker_permit permit;
        int rc = rsl_breaker_allow(&r.breaker, &permit);
        assert_int_equal(rc, good[i].open_for == RSL_NONE ? RSL_OK : RSL_EOPEN);
        rig_end(&r);
    }
    assert_int_equal(support_live(), before_all);
}

static void resolving_gives_the_cap_of_the_open_time_room(void **unused)
{
    (void)unused;
    rsl_breaker_config config = {.open_for = RSL_SEC(601)};
    assert_int_equal(rsl_breaker_config_resolve(&config).open_max, RSL_SEC(601));
    config.open_for = RSL_SEC(599);
    assert_int_equal(rsl_breaker_config_resolve(&config).open_max, RSL_SEC(600));
}

static void a_time_window_works_up_to_the_end_of_time(void **unused)
{
    (void)unused;
    rig r;
    rsl_breaker_config config = time_of(RSL_SEC(10), 4);
    config.slow_after = RSL_SEC(1);
    rig_start(&r, config);
    feed(&r, "FS");
    r.clock.now = RSL_FOREVER - 2;
    assert_int_equal(stats_of(&r).calls, 0);
    feed(&r, "FFFF");
    r.clock.now = RSL_FOREVER - 1;
    expect_state(&r, RSL_BREAKER_OPEN);
    expect_refused(&r);
    rig_end(&r);
}

/* ------------------------------------------------- half-open, exhaustively */

enum { HALF_OPEN_STEPS = 7, HALF_OPEN_ACTS = 5 };

/* What half-open must do, in the plainest words. */
typedef struct half_open_model {
    uint32_t          probes_max, probes_needed;
    uint32_t          out, well, badly;
    rsl_breaker_state state;
} half_open_model;

static void half_open_model_settle(half_open_model *m)
{
    if (m->well >= m->probes_needed) {
        m->state = RSL_BREAKER_CLOSED;
    } else if (m->badly > m->probes_max - m->probes_needed) {
        m->state = RSL_BREAKER_OPEN;
    }
}

/* One act on both: 0 allow, 1 success, 2 failure, 3 cancel the oldest, 4 lose all. False: no sense
   in going on, since it left half-open or the act has nothing to act on. */
static bool half_open_act(rig *r, half_open_model *m, rsl_breaker_permit *out, int act)
{
    if (act == 0) {
        bool room = m->out + m->well + m->badly < m->probes_max;
        int rc = rsl_breaker_allow(&r->breaker, &out[m->out]);
        assert_int_equal(rc, room ? RSL_OK : RSL_EOPEN);
        m->out += room;
        return true;
    }
    if (m->out == 0) {
        return false;
    }
    if (act == 4) {
        r->clock.now += RSL_SEC(60) + 1;
        m->out = 0;
        return true;
    }
    int rc = act == 3 ? rsl_breaker_cancel(&r->breaker, &out[0])
                      : rsl_breaker_report(&r->breaker, &out[0], act == 1 ? 0 : 1);
    assert_int_equal(rc, RSL_OK);
    m->out--;
    memmove(out, out + 1, m->out * sizeof(*out));
    m->well += act == 1;
    m->badly += act == 2;
    half_open_model_settle(m);
    assert_int_equal(rsl_breaker_state_get(&r->breaker), m->state);
    return m->state == RSL_BREAKER_HALF_OPEN;
}

static void half_open_play(rig *r, uint32_t probes_max, uint32_t probes_needed, uint32_t acts)
{
    half_open_model m = {probes_max, probes_needed, 0, 0, 0, RSL_BREAKER_HALF_OPEN};
    rsl_breaker_permit out[HALF_OPEN_STEPS + 1];
    assert_int_equal(rsl_breaker_force(&r->breaker, RSL_BREAKER_OPEN), RSL_OK);
    r->clock.now += RSL_SEC(10);
    for (int step = 0; step < HALF_OPEN_STEPS; step++) {
        if (!half_open_act(r, &m, out, (int)(acts % HALF_OPEN_ACTS))) {
            return;
        }
        acts /= HALF_OPEN_ACTS;
    }
}

static void half_open_does_what_the_model_says_for_every_history_of_seven_acts(void **unused)
{
    (void)unused;
    uint32_t histories = 1;
    for (int step = 0; step < HALF_OPEN_STEPS; step++) {
        histories *= HALF_OPEN_ACTS;
    }
    for (uint32_t probes_max = 1; probes_max <= 5; probes_max++) {
        for (uint32_t needed = 1; needed <= probes_max; needed++) {
            rig r;
            rig_start(&r, probing(probes_max, needed));
            for (uint32_t acts = 0; acts < histories; acts++) {
                half_open_play(&r, probes_max, needed, acts);
            }
            rig_end(&r);
        }
    }
}

/* ------------------------------------------------------------ the whole model */

enum { MODEL_CALLS = 24, MODEL_STEPS = 120000 };

typedef struct model_result {
    rsl_time at;
    bool     failed, slow;
} model_result;

typedef struct model_call {
    rsl_breaker_permit permit;
    uint64_t           generation;
    rsl_time           started;
    bool               used;
    bool               forgotten;   /* will never be reported */
} model_call;

/* A breaker that keeps every result, and adds up whenever it is asked. */
typedef struct model {
    rsl_breaker        breaker;
    rsl_breaker_config config;      /* resolved */
    virtual_clock      clock;
    seeded_random      random;
    rsl_breaker_state  state;
    uint64_t           generation;
    rsl_time           open_until;
    rsl_time           looked;      /* when calls in flight were last judged */
    uint32_t           reopenings;
    model_result      *results;     /* of this generation */
    size_t             count;
    uint32_t           well, badly;
    model_call         calls[MODEL_CALLS];
    rsl_breaker_permit spent;       /* reported before */
    rsl_breaker_stats  totals;      /* in_flight and the totals alone */
    uint64_t           changes, changes_seen;
} model;

static bool model_is_timed(const model *m)
{
    return m->config.slow_after != RSL_FOREVER;
}

static bool model_records(const model *m)
{
    return m->state == RSL_BREAKER_CLOSED || m->state == RSL_BREAKER_METRICS_ONLY;
}

static bool model_is_current(const model *m, const model_call *call)
{
    return call->used && call->generation == m->generation;
}

/* Out for slow_after or longer, and not yet lost. */
static bool model_is_hanging(const model *m, const model_call *call)
{
    rsl_time age = m->clock.now - call->started;
    return model_is_timed(m) && model_records(m) && model_is_current(m, call)
           && age >= m->config.slow_after && age < m->config.slow_after + m->config.probe_for;
}

static bool model_is_in_window(const model *m, size_t i)
{
    if (m->config.window == RSL_WINDOW_COUNT) {
        return i + m->config.window_calls >= m->count;
    }
    rsl_time width = m->config.window_span / m->config.window_buckets;
    return m->results[i].at / width + m->config.window_buckets > m->clock.now / width;
}

static void model_tally(const model *m, rsl_breaker_stats *tally)
{
    memset(tally, 0, sizeof(*tally));
    bool consecutive = m->config.window == RSL_WINDOW_CONSECUTIVE;
    for (size_t i = m->count; i > 0; i--) {
        const model_result *result = &m->results[i - 1];
        if (consecutive ? !(result->failed || result->slow) : !model_is_in_window(m, i - 1)) {
            break;
        }
        tally->calls++;
        tally->failures += consecutive || result->failed;
        tally->slow += !consecutive && result->slow;
    }
    for (size_t i = 0; i < MODEL_CALLS; i++) {
        tally->calls += model_is_hanging(m, &m->calls[i]);
        tally->slow += model_is_hanging(m, &m->calls[i]);
    }
}

static bool model_is_bad(const model *m)
{
    rsl_breaker_stats tally;
    model_tally(m, &tally);
    if (m->state != RSL_BREAKER_CLOSED) {
        return false;
    }
    if (m->config.window == RSL_WINDOW_CONSECUTIVE) {
        return tally.calls >= m->config.failures_max;
    }
    return tally.calls >= m->config.calls_min
           && ((double)tally.failures / tally.calls >= m->config.failure_rate
               || (double)tally.slow / tally.calls >= m->config.slow_rate);
}

static void model_change(model *m, rsl_breaker_state state)
{
    if (state == RSL_BREAKER_OPEN) {
        double span = (double)m->config.open_for;
        for (uint32_t i = 0; i < m->reopenings && span < (double)m->config.open_max; i++) {
            span *= m->config.open_multiplier;
        }
        span = span > (double)m->config.open_max ? (double)m->config.open_max : span;
        m->open_until = m->clock.now + (rsl_time)span;
        m->reopenings++;
        m->totals.opened++;
    }
    m->reopenings = state == RSL_BREAKER_CLOSED ? 0 : m->reopenings;
    m->state = state;
    m->generation++;
    m->count = 0;
    m->well = 0;
    m->badly = 0;
    m->changes++;
}

/* Has a call turned slow since they were last judged? Then whoever looks must judge again. */
static bool model_has_newly_hanging(const model *m)
{
    for (size_t i = 0; i < MODEL_CALLS; i++) {
        if (model_is_hanging(m, &m->calls[i])
            && m->calls[i].started + m->config.slow_after > m->looked) {
            return true;
        }
    }
    return false;
}

static bool model_is_lost(const model *m, const model_call *call)
{
    return m->clock.now - call->started >= m->config.probe_for;
}

static uint32_t model_probes_out(const model *m)
{
    uint32_t out = 0;
    for (size_t i = 0; i < MODEL_CALLS; i++) {
        out += model_is_current(m, &m->calls[i]) && !model_is_lost(m, &m->calls[i]);
    }
    return out;
}

/* What time alone does. A window that went bad because results or calls left it, and not because a
   call newly hangs, may be found so now or at the next report: here the breaker decides.        */
static void model_look(model *m, bool opened)
{
    if (m->state == RSL_BREAKER_OPEN && m->clock.now >= m->open_until) {
        model_change(m, RSL_BREAKER_HALF_OPEN);
    }
    if (model_is_timed(m) && model_is_bad(m) && (model_has_newly_hanging(m) || opened)) {
        model_change(m, RSL_BREAKER_OPEN);
    }
    m->looked = m->clock.now;
}

static void model_record(model *m, const model_call *call, bool failed)
{
    bool slow = model_is_timed(m) && m->clock.now - call->started >= m->config.slow_after;
    model_result result = {m->clock.now, failed, slow};
    m->totals.failed += failed;
    m->totals.succeeded += !failed;
    if (m->state == RSL_BREAKER_HALF_OPEN) {
        m->badly += failed || slow;
        m->well += !(failed || slow);
        if (m->well >= m->config.probes_needed) {
            model_change(m, RSL_BREAKER_CLOSED);
        } else if (m->badly > m->config.probes_max - m->config.probes_needed) {
            model_change(m, RSL_BREAKER_OPEN);
        }
    } else if (model_records(m)) {
        m->results[m->count++] = result;
    }
}

static rsl_breaker_state model_peek(model *m)
{
    return rsl_breaker_state_get(&m->breaker);
}

/* known: the window was as bad before, and the breaker may have passed over it. */
static void model_count(model *m, const model_call *call, int result, bool known)
{
    if (result == IGNORED) {
        m->totals.ignored++;
        return;
    }
    model_record(m, call, result != 0);
    if (model_is_bad(m) && (!known || model_peek(m) == RSL_BREAKER_OPEN)) {
        model_change(m, RSL_BREAKER_OPEN);
    }
}

/* result: 0, 1, or IGNORED; cancelled: whatever the result. */
static void model_return(model *m, model_call *call, int result, bool cancelled)
{
    bool was_bad = model_is_timed(m) && model_is_bad(m);
    bool newly = model_has_newly_hanging(m);
    bool current = model_is_current(m, call);
    bool lost = current && m->state == RSL_BREAKER_HALF_OPEN && model_is_lost(m, call);
    int rc = cancelled ? rsl_breaker_cancel(&m->breaker, &call->permit)
                       : rsl_breaker_report(&m->breaker, &call->permit, result);
    assert_int_equal(rc, RSL_OK);
    m->spent = call->permit;
    m->totals.in_flight--;
    call->used = false;
    if (!current || lost || cancelled) {
        return;
    }
    model_count(m, call, result, was_bad && !newly);
}

static model_call *model_pick(model *m, bool used)
{
    uint32_t first = seeded_random_below(&m->random, MODEL_CALLS);
    for (uint32_t i = 0; i < MODEL_CALLS; i++) {
        model_call *call = &m->calls[(first + i) % MODEL_CALLS];
        rsl_time lost_after = m->config.probe_for + (model_is_timed(m) ? m->config.slow_after : 0);
        if (call->forgotten && m->clock.now - call->started > lost_after) {
            call->used = call->forgotten = false;
        }
        if (call->used == used && !call->forgotten) {
            return call;
        }
    }
    return NULL;
}

static bool model_refuses(const model *m)
{
    return m->state == RSL_BREAKER_OPEN || m->state == RSL_BREAKER_FORCED_OPEN
           || (m->state == RSL_BREAKER_HALF_OPEN
               && model_probes_out(m) + m->well + m->badly >= m->config.probes_max);
}

/* A whole call without duration, under one kind of context or another. */
static void model_call_through(model *m, int result)
{
    rsl_ctx ctx = {.attempt = 1};
    one_call made = {.result = result};
    model_call call = {.generation = 0};
    uint32_t kind = seeded_random_below(&m->random, 3);
    ctx.deadline = kind == 2 ? RSL_FOREVER - 1 : 0;
    int rc = rsl_breaker_call(&m->breaker, kind == 0 ? NULL : &ctx, make_it, &made);
    model_look(m, made.calls == 0);
    bool refused = model_refuses(m);
    assert_int_equal(rc, refused ? RSL_EOPEN : result);
    assert_int_equal(made.calls, !refused);
    m->totals.refused += refused;
    if (!refused) {
        call.generation = m->generation;
        call.started = m->clock.now;
        model_count(m, &call, result, model_is_timed(m) && model_is_bad(m));
    }
}

static void model_allow(model *m)
{
    model_call *call = model_pick(m, false);
    if (call == NULL) {
        return;
    }
    int rc = rsl_breaker_allow(&m->breaker, &call->permit);
    model_look(m, rc == RSL_EOPEN);
    bool refused = model_refuses(m);
    assert_int_equal(rc, refused ? RSL_EOPEN : RSL_OK);
    m->totals.refused += refused;
    m->totals.in_flight += !refused;
    call->used = !refused;
    call->generation = m->generation;
    call->started = m->clock.now;
}

static void model_compare(model *m)
{
    rsl_breaker_stats stats;
    rsl_breaker_stats expected;
    rsl_breaker_stats_get(&m->breaker, &stats);
    model_look(m, stats.state == RSL_BREAKER_OPEN);
    memset(&expected, 0, sizeof(expected));
    if (model_records(m)) {
        model_tally(m, &expected);
    }
    expected.state = m->state;
    if (!m->config.uncounted) {
        expected.in_flight = m->totals.in_flight;
        expected.succeeded = m->totals.succeeded;
        expected.failed = m->totals.failed;
        expected.ignored = m->totals.ignored;
        expected.refused = m->totals.refused;
    }
    expected.opened = m->totals.opened;
    bool rated = model_records(m) && m->config.window != RSL_WINDOW_CONSECUTIVE
                 && expected.calls >= m->config.calls_min;
    expected.failure_rate = rated ? (double)expected.failures / expected.calls : -1;
    expected.slow_rate = rated ? (double)expected.slow / expected.calls : -1;
    if (m->config.window == RSL_WINDOW_CONSECUTIVE) {
        expected.slow = stats.slow; /* a row knows no share of slow calls */
    }
    expect_same(&expected, &stats);
    assert_int_equal(m->changes, m->changes_seen);
}

static void model_force(model *m)
{
    static const rsl_breaker_state states[] = {
        RSL_BREAKER_CLOSED, RSL_BREAKER_CLOSED, RSL_BREAKER_CLOSED, RSL_BREAKER_OPEN,
        RSL_BREAKER_FORCED_OPEN, RSL_BREAKER_DISABLED, RSL_BREAKER_METRICS_ONLY,
    };
    rsl_breaker_state state = states[seeded_random_below(&m->random, RSL_COUNT(states))];
    assert_int_equal(rsl_breaker_force(&m->breaker, state), RSL_OK);
    m->reopenings = 0;
    model_change(m, state);
    m->looked = m->clock.now;
}

static void model_pass_time(model *m)
{
    rsl_time width = m->config.window_span / m->config.window_buckets;
    uint32_t kind = seeded_random_below(&m->random, 100);
    rsl_time step = (rsl_time)seeded_random_below(&m->random, (uint32_t)(width / 4));
    if (kind < 30) {
        step = 1;
    } else if (kind < 40) {
        step = width - m->clock.now % width - (kind < 35);
    } else if (kind < 43) {
        step = width * (rsl_time)seeded_random_below(&m->random, 3 * m->config.window_buckets);
    } else if (kind < 46) {
        step = m->config.open_for - (kind < 44);
    }
    m->clock.now += step;
}

static int model_result_drawn(model *m)
{
    uint32_t chance = seeded_random_below(&m->random, 100);
    return chance < 10 ? IGNORED : chance < 45 ? 1 : 0;
}

static void model_act(model *m)
{
    uint32_t act = seeded_random_below(&m->random, 1000);
    model_call *call = model_pick(m, true);
    if (act < 250) {
        model_pass_time(m);
    } else if (act < 500) {
        model_allow(m);
    } else if (act < 600) {
        model_call_through(m, model_result_drawn(m));
    } else if (act < 860 && call != NULL) {
        model_return(m, call, model_result_drawn(m), false);
    } else if (act < 880 && call != NULL) {
        model_return(m, call, 0, true);
    } else if (act < 900) {
        assert_int_equal(rsl_breaker_report(&m->breaker, &m->spent, (int)act % 2), RSL_EINVAL);
    } else if (act < 905 && call != NULL) {
        call->forgotten = true;
    } else if (act < 910) {
        model_force(m);
    } else if (act < 950) {
        rsl_breaker_state state = model_peek(m);
        model_look(m, state == RSL_BREAKER_OPEN);
        assert_int_equal(state, m->state);
    } else {
        model_compare(m);
    }
}

static void model_count_change(const rsl_event *event, void *user)
{
    model *m = user;
    m->changes_seen += event->kind == RSL_BREAKER_CHANGED;
}

static bool is_cancelled(int result, void *user)
{
    (void)user;
    return result == RSL_ECANCELED;
}

/* With an even seed the result goes through a callback, with an odd one it does not. */
static void model_play(rsl_breaker_config config, uint64_t seed)
{
    model *m = calloc(1, sizeof(*m));
    assert_non_null(m);
    m->results = calloc(MODEL_STEPS, sizeof(*m->results));
    assert_non_null(m->results);
    m->clock.now = START + 12345;
    m->random.state = seed;
    m->generation = 1;
    config.clock = virtual_clock_as(&m->clock);
    config.is_ignored = seed % 2 == 0 ? is_cancelled : NULL;
    config.observer.on_event = model_count_change;
    config.observer.user = m;
    m->config = rsl_breaker_config_resolve(&config);
    assert_int_equal(rsl_breaker_init(&m->breaker, &config), RSL_OK);
    for (int i = 0; i < MODEL_STEPS; i++) {
        model_act(m);
    }
    model_compare(m);
    assert_true(m->totals.opened > MODEL_STEPS / 2000);
    assert_true(m->totals.succeeded > MODEL_STEPS / 50 && m->totals.refused > MODEL_STEPS / 50);
    rsl_breaker_deinit(&m->breaker);
    free(m->results);
    free(m);
}

static rsl_breaker_config modelled(rsl_breaker_window window)
{
    rsl_breaker_config config = {
        .window = window, .failures_max = 4, .window_calls = 13, .window_span = RSL_MS(70),
        .window_buckets = 7, .calls_min = 6, .failure_rate = 0.6, .open_for = RSL_MS(20),
        .open_multiplier = 1.5, .open_max = RSL_MS(60), .probes_max = 4, .probes_needed = 3,
        .probe_for = RSL_MS(45),
    };
    return config;
}

static void a_consecutive_window_does_what_the_model_says_for_240000_steps(void **unused)
{
    (void)unused;
    model_play(modelled(RSL_WINDOW_CONSECUTIVE), 11);
    model_play(modelled(RSL_WINDOW_CONSECUTIVE), 12);
}

static void a_count_window_does_what_the_model_says_for_240000_steps(void **unused)
{
    (void)unused;
    model_play(modelled(RSL_WINDOW_COUNT), 21);
    model_play(modelled(RSL_WINDOW_COUNT), 22);
}

static void a_time_window_does_what_the_model_says_for_240000_steps(void **unused)
{
    (void)unused;
    model_play(modelled(RSL_WINDOW_TIME), 31);
    model_play(modelled(RSL_WINDOW_TIME), 32);
}

static void uncounted_windows_do_what_the_model_says_for_120000_steps_each(void **unused)
{
    (void)unused;
    static const rsl_breaker_window kinds[] = {RSL_WINDOW_CONSECUTIVE, RSL_WINDOW_COUNT,
                                               RSL_WINDOW_TIME};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rsl_breaker_config config = modelled(kinds[i]);
        config.uncounted = true;
        model_play(config, 51 + 2 * i);
    }
}

static void timed_windows_do_what_the_model_says_for_240000_steps_each(void **unused)
{
    (void)unused;
    static const rsl_breaker_window kinds[] = {RSL_WINDOW_CONSECUTIVE, RSL_WINDOW_COUNT,
                                               RSL_WINDOW_TIME};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rsl_breaker_config config = modelled(kinds[i]);
        config.slow_after = RSL_MS(15);
        config.slow_rate = 0.7;
        model_play(config, 41 + 2 * i);
        model_play(config, 42 + 2 * i);
    }
}

static void windows_of_every_size_up_to_seventy_do_what_the_model_says(void **unused)
{
    (void)unused;
    for (uint32_t calls = 1; calls <= 70; calls++) {
        virtual_clock clock = {.now = START};
        seeded_random random = {.state = calls};
        rsl_breaker_config config = count_of(calls);
        config.calls_min = 1;
        config.clock = virtual_clock_as(&clock);
        rsl_breaker breaker;
        assert_int_equal(rsl_breaker_init(&breaker, &config), RSL_OK);
        assert_int_equal(rsl_breaker_force(&breaker, RSL_BREAKER_METRICS_ONLY), RSL_OK);
        int results[300];
        for (uint32_t n = 0; n < 300; n++) {
            rsl_breaker_permit permit;
            results[n] = (int)seeded_random_below(&random, 2);
            assert_int_equal(rsl_breaker_allow(&breaker, &permit), RSL_OK);
            assert_int_equal(rsl_breaker_report(&breaker, &permit, results[n]), RSL_OK);
            uint32_t failures = 0;
            for (uint32_t k = n + 1 > calls ? n + 1 - calls : 0; k <= n; k++) {
                failures += (uint32_t)results[k];
            }
            rsl_breaker_stats stats;
            rsl_breaker_stats_get(&breaker, &stats);
            assert_int_equal(stats.failures, failures);
            assert_int_equal(stats.calls, n + 1 < calls ? n + 1 : calls);
        }
        rsl_breaker_deinit(&breaker);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(six_failures_in_a_row_open_it_and_a_success_resets_the_row),
        cmocka_unit_test(it_refuses_until_open_for_less_a_millisecond_and_probes_past_it),
        cmocka_unit_test(it_becomes_half_open_exactly_when_open_for_is_over),
        cmocka_unit_test(five_failures_in_a_row_open_it_by_default),
        cmocka_unit_test(the_row_begins_anew_after_a_close),
        cmocka_unit_test(an_ignored_call_does_not_break_the_row),
        cmocka_unit_test(the_stats_of_a_consecutive_window_show_the_row_and_no_rates),
        cmocka_unit_test(a_slow_call_counts_as_a_failure_in_a_row),
        cmocka_unit_test(a_time_window_opens_at_the_failure_that_makes_fifty_percent),
        cmocka_unit_test(a_success_that_completes_the_minimum_opens_at_sixty_percent),
        cmocka_unit_test(slow_calls_open_it_at_a_slow_rate_of_sixty_percent),
        cmocka_unit_test(a_call_leaves_the_time_window_exactly_after_its_span),
        cmocka_unit_test(each_bucket_leaves_the_window_in_its_turn),
        cmocka_unit_test(the_window_turns_right_over_idle_gaps_of_any_length),
        cmocka_unit_test(a_gap_without_any_look_at_the_clock_empties_the_window_too),
        cmocka_unit_test(a_clock_that_steps_back_some_milliseconds_loses_nothing),
        cmocka_unit_test(looking_at_an_untimed_breaker_does_not_open_it),
        cmocka_unit_test(an_open_breaker_stays_open_when_the_clock_steps_back),
        cmocka_unit_test(a_time_window_works_at_time_zero_and_before),
        cmocka_unit_test(a_window_of_one_bucket_is_emptied_at_once),
        cmocka_unit_test(a_count_window_of_four_shows_the_rates_of_its_last_four_calls),
        cmocka_unit_test(the_failure_rate_is_inclusive_for_every_share_of_up_to_forty_calls),
        cmocka_unit_test(the_failure_rate_is_inclusive_for_every_whole_percent),
        cmocka_unit_test(the_slow_rate_and_the_slow_limit_are_inclusive),
        cmocka_unit_test(ten_calls_are_the_least_by_default_or_the_window_if_smaller),
        cmocka_unit_test(the_default_window_of_calls_holds_a_hundred),
        cmocka_unit_test(ignored_and_cancelled_calls_are_not_in_the_window),
        cmocka_unit_test(every_result_but_zero_is_a_failure_and_being_cancelled_is_ignored),
        cmocka_unit_test(a_failure_callback_alone_judges_every_result),
        cmocka_unit_test(an_ignoring_callback_alone_leaves_the_rest_to_the_default),
        cmocka_unit_test(even_a_zero_can_be_a_failure_or_ignored),
        cmocka_unit_test(the_callbacks_decide_and_the_ignoring_one_is_asked_first),
        cmocka_unit_test(a_second_report_of_a_permit_is_refused_and_changes_nothing),
        cmocka_unit_test(a_cancelled_permit_is_spent),
        cmocka_unit_test(a_zeroed_permit_and_null_are_refused),
        cmocka_unit_test(results_of_an_earlier_state_never_count_in_a_later_one),
        cmocka_unit_test(a_probe_of_an_earlier_half_open_never_counts_in_a_later_one),
        cmocka_unit_test(half_open_refuses_the_call_after_the_last_probe),
        cmocka_unit_test(two_failures_of_four_probes_open_it_again_when_three_must_succeed),
        cmocka_unit_test(three_successes_of_four_probes_close_it_after_one_failure),
        cmocka_unit_test(a_cancelled_probe_does_not_close_it_and_gives_its_permit_back),
        cmocka_unit_test(an_ignored_probe_does_not_close_it_and_gives_its_permit_back),
        cmocka_unit_test(a_probe_that_is_never_reported_is_lost_and_its_permit_given_back),
        cmocka_unit_test(a_probe_is_lost_after_sixty_seconds_by_default),
        cmocka_unit_test(the_late_report_of_a_lost_probe_changes_nothing),
        cmocka_unit_test(lost_probes_count_as_neither_success_nor_failure),
        cmocka_unit_test(a_slow_probe_counts_as_a_failed_one),
        cmocka_unit_test(all_probes_must_succeed_by_default),
        cmocka_unit_test(asking_for_the_state_or_stats_makes_an_open_one_half_open_in_time),
        cmocka_unit_test(the_open_time_ends_before_calls_that_are_out_turn_slow),
        cmocka_unit_test(the_open_time_grows_with_each_reopening_up_to_its_cap),
        cmocka_unit_test(the_open_time_starts_anew_after_a_close),
        cmocka_unit_test(forcing_it_open_starts_the_open_time_anew),
        cmocka_unit_test(the_open_time_does_not_grow_by_default),
        cmocka_unit_test(the_open_time_is_capped_at_ten_minutes_by_default),
        cmocka_unit_test(jitter_spreads_the_open_time_by_its_share),
        cmocka_unit_test(without_jitter_the_random_does_not_matter),
        cmocka_unit_test(every_callback_may_call_back_into_the_breaker),
        cmocka_unit_test(default_jitter_fills_its_bounds),
        cmocka_unit_test(an_open_time_of_none_probes_at_once),
        cmocka_unit_test(an_open_time_of_forever_never_ends),
        cmocka_unit_test(hanging_calls_open_the_circuit_without_any_return),
        cmocka_unit_test(the_report_of_another_call_notices_the_hanging_ones),
        cmocka_unit_test(a_success_that_changes_no_window_notices_the_hanging_calls_too),
        cmocka_unit_test(a_hanging_call_counts_as_slow_until_it_returns_and_then_once),
        cmocka_unit_test(a_call_that_never_returns_is_no_longer_counted_when_it_is_lost),
        cmocka_unit_test(a_hanging_call_that_is_cancelled_or_ignored_leaves_no_trace),
        cmocka_unit_test(without_a_slow_limit_hanging_calls_are_not_judged),
        cmocka_unit_test(forced_open_refuses_everything_for_ever),
        cmocka_unit_test(disabled_allows_everything_and_records_no_window),
        cmocka_unit_test(metrics_only_records_and_never_opens),
        cmocka_unit_test(metrics_only_never_opens_a_consecutive_window_either),
        cmocka_unit_test(forcing_it_closed_clears_the_window),
        cmocka_unit_test(a_close_after_probing_clears_the_window),
        cmocka_unit_test(forcing_it_open_works_like_an_opening),
        cmocka_unit_test(half_open_and_unknown_states_cannot_be_forced),
        cmocka_unit_test(reconfiguring_changes_the_numbers_at_once),
        cmocka_unit_test(reconfiguring_changes_rates_and_minimum_of_a_full_window),
        cmocka_unit_test(reconfiguring_keeps_the_callbacks),
        cmocka_unit_test(reconfiguring_what_cannot_change_is_refused_and_changes_nothing),
        cmocka_unit_test(reconfiguring_the_buckets_is_refused),
        cmocka_unit_test(refusals_are_never_counted_as_calls),
        cmocka_unit_test(the_totals_count_since_init),
        cmocka_unit_test(an_uncounted_breaker_works_and_leaves_its_totals_at_zero),
        cmocka_unit_test(a_call_passes_any_result_through),
        cmocka_unit_test(a_call_is_counted_and_then_refused),
        cmocka_unit_test(the_function_sees_the_callers_context),
        cmocka_unit_test(a_slow_call_is_measured),
        cmocka_unit_test(a_call_without_a_function_or_object_makes_no_call),
        cmocka_unit_test(a_deinited_breaker_is_refused),
        cmocka_unit_test(errno_survives_every_function),
        cmocka_unit_test(spans_out_of_range_are_refused_by_name),
        cmocka_unit_test(rates_and_shares_out_of_range_are_refused_by_name),
        cmocka_unit_test(multipliers_out_of_range_are_refused_by_name),
        cmocka_unit_test(unknown_windows_are_refused_by_name),
        cmocka_unit_test(more_successes_than_probes_are_refused_by_name),
        cmocka_unit_test(a_minimum_above_the_count_window_is_refused_by_name),
        cmocka_unit_test(half_a_clock_is_refused_by_name),
        cmocka_unit_test(zero_means_the_default_in_every_field),
        cmocka_unit_test(a_null_config_means_all_defaults),
        cmocka_unit_test(a_real_clock_ends_the_open_time),
        cmocka_unit_test(a_breaker_without_a_slow_limit_reads_no_clock_around_a_call),
        cmocka_unit_test(the_layer_says_what_it_is),
        cmocka_unit_test(init_survives_every_failed_allocation),
        cmocka_unit_test(calls_take_no_memory),
        cmocka_unit_test(every_change_of_state_is_told_by_name_and_in_order),
        cmocka_unit_test(a_change_is_told_with_the_result_that_did_it),
        cmocka_unit_test(lost_probes_are_told_with_their_number),
        cmocka_unit_test(every_refusal_is_told),
        cmocka_unit_test(an_observer_may_call_back_into_the_breaker),
        cmocka_unit_test(a_probe_reported_after_its_time_is_lost_though_nobody_looked),
        cmocka_unit_test(reconfiguring_never_leaves_half_open_stuck),
        cmocka_unit_test(reconfiguring_half_open_makes_room_for_more_probes),
        cmocka_unit_test(reconfiguring_half_open_to_fewer_probes_forgets_none_that_are_out),
        cmocka_unit_test(a_lower_rate_opens_a_full_window_at_the_next_result),
        cmocka_unit_test(reconfiguring_checks_the_minimum_against_the_window_there_is),
        cmocka_unit_test(another_window_span_does_not_touch_a_count_window),
        cmocka_unit_test(another_window_span_does_not_touch_the_probes_that_are_out),
        cmocka_unit_test(slow_calls_can_be_measured_from_a_reconfiguring_on),
        cmocka_unit_test(another_window_span_empties_a_time_window),
        cmocka_unit_test(a_reconfiguring_that_finds_no_memory_changes_nothing),
        cmocka_unit_test(reconfiguring_takes_memory_only_for_more_probes_or_the_first_timing),
        cmocka_unit_test(hanging_calls_of_an_earlier_generation_never_count),
        cmocka_unit_test(calls_of_a_new_generation_hang_from_its_first_nanosecond_on),
        cmocka_unit_test(a_stale_report_leaves_calls_that_began_in_its_nanosecond_watched),
        cmocka_unit_test(two_hundred_hanging_calls_are_all_seen),
        cmocka_unit_test(more_hanging_calls_than_are_watched_are_counted_when_they_return),
        cmocka_unit_test(a_call_under_a_spent_context_is_not_made_and_not_counted),
        cmocka_unit_test(sizes_out_of_range_are_refused_by_name),
        cmocka_unit_test(the_ends_of_every_range_are_accepted),
        cmocka_unit_test(resolving_gives_the_cap_of_the_open_time_room),
        cmocka_unit_test(a_time_window_works_up_to_the_end_of_time),
        cmocka_unit_test(half_open_does_what_the_model_says_for_every_history_of_seven_acts),
        cmocka_unit_test(a_consecutive_window_does_what_the_model_says_for_240000_steps),
        cmocka_unit_test(a_count_window_does_what_the_model_says_for_240000_steps),
        cmocka_unit_test(a_time_window_does_what_the_model_says_for_240000_steps),
        cmocka_unit_test(uncounted_windows_do_what_the_model_says_for_120000_steps_each),
        cmocka_unit_test(timed_windows_do_what_the_model_says_for_240000_steps_each),
        cmocka_unit_test(windows_of_every_size_up_to_seventy_do_what_the_model_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
