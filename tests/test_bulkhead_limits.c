/* SPDX-License-Identifier: MIT
   test_bulkhead_limits.c: limits of bulkhead.h that find themselves, number by number and in a
   closed loop around a server of known capacity; and the shedding of those who wait too long.
   By one thread, in virtual time.                                                            */
#include "support/allocator.h"

#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/support.h"

#include "support/bulkhead_rig.h"

enum { IN_FLIGHT_MAX = 1024 };

static rsl_bulkhead_config adaptive(rsl_bulkhead_limit limit, uint32_t calls_max)
{
    rsl_bulkhead_config config = {.calls_max = calls_max, .limit = limit};
    return config;
}

static void resize(rig *r, uint32_t limit)
{
    assert_int_equal(rsl_bulkhead_resize(&r->bulkhead, limit), RSL_OK);
    assert_int_equal(stats_of(r).limit, limit);
}

/* At this limit, with so many in flight, one returns after this time with this result. The limit
   that follows; the others say nothing. */
static uint32_t sample(rig *r, uint32_t limit, uint32_t in_flight, rsl_time latency, int result)
{
    rsl_bulkhead_permit permits[IN_FLIGHT_MAX];
    assert_true(in_flight <= IN_FLIGHT_MAX);
    resize(r, in_flight > limit ? in_flight : limit);
    r->clock.now += RSL_MS(1);
    take_many_of(&r->bulkhead, permits, in_flight);
    assert_true(permits[0].entered == r->clock.now);
    resize(r, limit);
    r->clock.now += latency;
    give_of(&r->bulkhead, &permits[0], result);
    uint32_t found = stats_of(r).limit;
    give_many_of(&r->bulkhead, &permits[1], in_flight - 1, FAILED);
    assert_int_equal(stats_of(r).limit, found);
    return found;
}

/* ----------------------------------------------------------------------- AIMD */

static void aimd_grows_by_one_when_half_the_limit_or_more_is_in_flight(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adaptive(RSL_LIMIT_AIMD, 20));
    assert_int_equal(sample(&r, 20, 10, RSL_MS(10), 0), 21); /* the fact */
    assert_int_equal(sample(&r, 20, 20, RSL_MS(10), 0), 21);
    assert_int_equal(sample(&r, 20, 25, RSL_MS(10), 0), 21);
    assert_int_equal(sample(&r, 1, 1, RSL_MS(10), 0), 2);
    assert_int_equal(sample(&r, 2, 1, RSL_SEC(10), 0), 3); /* whatever the latency */
    assert_int_equal(sample(&r, 21, 11, RSL_MS(10), 0), 22);
    rig_end(&r);
}

static void aimd_does_not_grow_when_less_than_half_the_limit_is_in_flight(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adaptive(RSL_LIMIT_AIMD, 20));
    assert_int_equal(sample(&r, 20, 9, RSL_MS(10), 0), 20);
    assert_int_equal(sample(&r, 20, 1, RSL_MS(10), 0), 20);
    assert_int_equal(sample(&r, 21, 10, RSL_MS(10), 0), 21);
    assert_int_equal(sample(&r, 3, 1, RSL_MS(10), 0), 3);
    rig_end(&r);
}

static void aimd_shrinks_to_nine_tenths_on_an_overload(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adaptive(RSL_LIMIT_AIMD, 30));
    assert_int_equal(sample(&r, 30, 30, RSL_MS(10), RSL_ETIMEOUT), 27); /* the fact */
    assert_int_equal(sample(&r, 30, 1, RSL_MS(10), RSL_ETIMEOUT), 27);
    assert_int_equal(sample(&r, 100, 3, RSL_MS(10), RSL_ETIMEOUT), 90);
    assert_int_equal(sample(&r, 25, 3, RSL_MS(10), RSL_ETIMEOUT), 22); /* 22.5, rounded down */
    assert_int_equal(sample(&r, 2, 1, RSL_MS(10), RSL_ETIMEOUT), 1);
    assert_int_equal(sample(&r, 1, 1, RSL_MS(10), RSL_ETIMEOUT), 1);
    rig_end(&r);
}

/* Growth and shrinking are one step a round trip: else who hit the same overload, or the same
   success, would say it many times over. */
static void calls_that_entered_before_the_latest_move_say_nothing(void **unused)
{
    (void)unused;
    static const rsl_bulkhead_limit kinds[] = {RSL_LIMIT_AIMD, RSL_LIMIT_GRADIENT2};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rig r;
        rig_start(&r, adaptive(kinds[i], 30));
        rsl_bulkhead_permit permits[30];
        take_many_of(&r.bulkhead, permits, 30);
        r.clock.now += RSL_MS(50);
        give_many_of(&r.bulkhead, permits, 15, RSL_ETIMEOUT);
        assert_int_equal(stats_of(&r).limit, 27);
        give_many_of(&r.bulkhead, &permits[15], 14, 0);
        assert_int_equal(stats_of(&r).limit, 27);
        r.clock.now += RSL_MS(1);
        take_many_of(&r.bulkhead, permits, 26);
        r.clock.now += RSL_MS(50);
        give_of(&r.bulkhead, &permits[29], RSL_ETIMEOUT); /* the last of the old ones */
        assert_int_equal(stats_of(&r).limit, 27);
        give_of(&r.bulkhead, &permits[0], RSL_ETIMEOUT);
        assert_int_equal(stats_of(&r).limit, 24);
        give_many_of(&r.bulkhead, &permits[1], 25, 0);
        assert_int_equal(stats_of(&r).limit, 24);
        rig_end(&r);
    }
}

static void aimd_grows_by_one_for_each_round_of_calls(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adaptive(RSL_LIMIT_AIMD, 10));
    for (uint32_t limit = 10; limit < 30; limit++) {
        rsl_bulkhead_permit permits[30];
        assert_int_equal(stats_of(&r).limit, limit);
        take_many_of(&r.bulkhead, permits, limit);
        r.clock.now += RSL_MS(10);
        give_many_of(&r.bulkhead, permits, limit, 0);
    }
    rig_end(&r);
}

/* ---------------------------------------------------------------------- Vegas */

static void vegas_start(rig *r, uint32_t calls_max)
{
    rsl_bulkhead_config config = adaptive(RSL_LIMIT_VEGAS, calls_max);
    config.limit_max = 2000;
    rig_start(r, config);
}

/* After a first sample of 10 ms with 10 in flight, which leaves the limit of 10, the next one. */
static uint32_t vegas_second(rsl_time latency, uint32_t in_flight)
{
    rig r;
    vegas_start(&r, 10);
    assert_int_equal(sample(&r, 10, 10, RSL_MS(10), 0), 10);
    uint32_t found = sample(&r, 10, in_flight, latency, 0);
    rig_end(&r);
    return found;
}

static void vegas_moves_by_the_queue_that_the_latency_tells(void **unused)
{
    (void)unused;
    assert_int_equal(vegas_second(RSL_MS(10), 11), 16); /* the facts */
    assert_int_equal(vegas_second(RSL_MS(50), 11), 9);
    assert_int_equal(vegas_second(RSL_MS(14), 14), 10);
}

static void vegas_moves_at_the_bounds_of_the_queue(void **unused)
{
    (void)unused;
    /* The queue is 10 x (1 - 10 ms / latency), rounded up. */
    assert_int_equal(vegas_second(RSL_US(11100), 10), 16); /* 0.99, 1: at most L */
    assert_int_equal(vegas_second(RSL_US(11200), 10), 11); /* 1.07, 2: below 3 L */
    assert_int_equal(vegas_second(RSL_US(12400), 10), 11); /* 1.94, 2 */
    assert_int_equal(vegas_second(RSL_US(12600), 10), 10); /* 2.06, 3: not below */
    assert_int_equal(vegas_second(RSL_US(24900), 10), 10); /* 5.98, 6: not above 6 L */
    assert_int_equal(vegas_second(RSL_US(25200), 10), 9);  /* 6.03, 7: above */
}

static void vegas_takes_larger_steps_from_a_larger_limit(void **unused)
{
    (void)unused;
    static const struct { uint32_t limit; rsl_time us; uint32_t next; } facts[] = {
        {99, 10000, 105},   {100, 10000, 112},  {100, 10400, 102}, {100, 10600, 100},
        {100, 11300, 100},  {100, 11500, 98},   {999, 10000, 1011}, {1000, 10000, 1018},
        {1000, 10060, 1003}, {1000, 10100, 1000}, {1000, 10250, 997},
    };
    for (size_t i = 0; i < RSL_COUNT(facts); i++) {
        rig r;
        vegas_start(&r, facts[i].limit);
        uint32_t limit = facts[i].limit;
        assert_int_equal(sample(&r, limit, limit / 2, RSL_MS(10), 0), limit);
        assert_int_equal(sample(&r, limit, limit / 2 + 1, RSL_US(facts[i].us), 0),
                         facts[i].next);
        rig_end(&r);
    }
}

static void vegas_keeps_its_limit_when_less_than_half_of_it_is_in_flight(void **unused)
{
    (void)unused;
    assert_int_equal(vegas_second(RSL_MS(10), 4), 10);
    assert_int_equal(vegas_second(RSL_MS(10), 5), 16);
    assert_int_equal(vegas_second(RSL_MS(50), 4), 10);
    assert_int_equal(vegas_second(RSL_MS(50), 5), 9);
}

static void vegas_shrinks_by_a_step_on_an_overload(void **unused)
{
    (void)unused;
    rig r;
    vegas_start(&r, 10);
    assert_int_equal(sample(&r, 10, 10, RSL_MS(10), RSL_ETIMEOUT), 9);
    assert_int_equal(sample(&r, 100, 90, RSL_MS(10), RSL_ETIMEOUT), 98);
    assert_int_equal(sample(&r, 1000, 900, RSL_MS(10), RSL_ETIMEOUT), 997);
    assert_int_equal(sample(&r, 1, 1, RSL_MS(10), RSL_ETIMEOUT), 1);
    rig_end(&r);
}

static void vegas_counts_each_overload(void **unused)
{
    (void)unused;
    rig r;
    vegas_start(&r, 30);
    rsl_bulkhead_permit permits[30];
    take_many_of(&r.bulkhead, permits, 30);
    r.clock.now += RSL_MS(50);
    give_many_of(&r.bulkhead, permits, 10, RSL_ETIMEOUT);
    assert_int_equal(stats_of(&r).limit, 20);
    give_many_of(&r.bulkhead, &permits[10], 20, FAILED);
    rig_end(&r);
}

static void vegas_forgets_the_least_latency_in_the_end(void **unused)
{
    (void)unused;
    rig r;
    vegas_start(&r, 10);
    for (int round = 0; round < 3; round++) {
        rsl_time latency = RSL_MS(10) * (1 << round * 2); /* the path grows longer for good */
        assert_int_equal(sample(&r, 10, 10, latency, 0), 10); /* the least now */
        int samples = 1;
        while (sample(&r, 10, 10, 4 * latency, 0) == 9) { /* so far a queue */
            samples++;
            assert_true(samples <= 300);
        }
        assert_in_range(samples, 290, 300); /* 30 x the limit */
        assert_int_equal(sample(&r, 10, 10, 4 * latency, 0), 16); /* no queue any more */
        for (int i = 0; i < 400 && sample(&r, 10, 10, 4 * latency, 0) != 10; i++) {
        } /* forgotten once more: the next round sets it */
        for (int i = 0; i < 298; i++) {
            assert_int_equal(sample(&r, 10, 10, 4 * latency, 0), 16);
        }
        assert_int_equal(sample(&r, 10, 4, 4 * latency, 0), 10);
    }
    rig_end(&r);
}

/* ------------------------------------------------------------------ Gradient2 */

static void gradient2_grows_steadily_while_the_latency_stays(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adaptive(RSL_LIMIT_GRADIENT2, 20));
    rsl_bulkhead_permit permits[20];
    for (int i = 1; i <= 50; i++) { /* 4 wished for, a fifth of the way each time */
        take_many_of(&r.bulkhead, permits, 20);
        r.clock.now += RSL_MS(10);
        uint32_t before = stats_of(&r).limit;
        give_of(&r.bulkhead, &permits[0], 0);
        uint32_t after = stats_of(&r).limit;
        assert_true(after >= before && after - before <= 1);
        double exact = 20 + 0.8 * i;
        if (exact <= 40) { /* while 20 are half the limit */
            assert_true(after + 1.01 >= exact && after <= exact + 0.01);
        }
        give_many_of(&r.bulkhead, &permits[1], 19, FAILED);
    }
    assert_in_range(stats_of(&r).limit, 40, 41); /* 20 in flight are not half of more */
    rig_end(&r);
}

/* After many samples of 10 ms, the next one at this limit. */
static uint32_t gradient2_after(uint32_t limit, uint32_t in_flight, rsl_time latency)
{
    rig r;
    rig_start(&r, adaptive(RSL_LIMIT_GRADIENT2, limit));
    for (int i = 0; i < 20; i++) {
        (void)sample(&r, limit, 1, RSL_MS(10), 0);
    }
    uint32_t found = sample(&r, limit, in_flight, latency, 0);
    rig_end(&r);
    return found;
}

static void gradient2_follows_the_gradient_a_fifth_of_the_way(void **unused)
{
    (void)unused;
    assert_int_equal(gradient2_after(100, 100, RSL_MS(10)), 100); /* 100.8 */
    assert_int_equal(gradient2_after(100, 100, RSL_MS(14)), 100); /* within 1.5 x: no queue */
    assert_int_equal(gradient2_after(100, 100, RSL_MS(1)), 100);
    assert_in_range(gradient2_after(100, 100, RSL_MS(20)), 95, 96);   /* x 0.75: 95.8 */
    assert_in_range(gradient2_after(100, 100, RSL_MS(100)), 90, 91);  /* x 0.5: 90.8 */
    assert_in_range(gradient2_after(100, 100, RSL_SEC(10)), 90, 91);  /* never less */
    assert_in_range(gradient2_after(900, 900, RSL_SEC(10)), 810, 811);
}

static void gradient2_keeps_its_limit_when_less_than_half_of_it_is_in_flight(void **unused)
{
    (void)unused;
    assert_int_equal(gradient2_after(100, 49, RSL_SEC(10)), 100);
    assert_in_range(gradient2_after(100, 50, RSL_SEC(10)), 90, 91);
}

static void gradient2_shrinks_to_nine_tenths_on_an_overload(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adaptive(RSL_LIMIT_GRADIENT2, 30));
    assert_int_equal(sample(&r, 30, 30, RSL_MS(10), RSL_ETIMEOUT), 27);
    assert_int_equal(sample(&r, 100, 60, RSL_MS(10), RSL_ETIMEOUT), 90);
    assert_int_equal(sample(&r, 1, 1, RSL_MS(10), RSL_ETIMEOUT), 1);
    rig_end(&r);
}

/* ------------------------------------------------------------- latency target */

static void latency_start(rig *r, uint32_t calls_max)
{
    rig_start(r, adaptive(RSL_LIMIT_LATENCY, calls_max)); /* the target is 100 ms */
}

/* So many samples, ten at a time. */
static void samples(rig *r, int count, rsl_time latency, int result)
{
    rsl_bulkhead_permit permits[10];
    for (int done = 0; done < count; done += 10) {
        size_t now = count - done < 10 ? (size_t)(count - done) : 10;
        take_many_of(&r->bulkhead, permits, now);
        r->clock.now += latency;
        give_many_of(&r->bulkhead, permits, now, result);
    }
}

static void the_latency_rule_grows_when_the_mean_is_below_four_fifths_of_the_target(void **unused)
{
    (void)unused;
    rig r;
    latency_start(&r, 20);
    samples(&r, 99, RSL_MS(50), 0);
    assert_int_equal(stats_of(&r).limit, 20);
    samples(&r, 1, RSL_MS(50), 0); /* the hundredth judges */
    assert_int_equal(stats_of(&r).limit, 22);
    samples(&r, 99, RSL_MS(79), 0);
    assert_int_equal(stats_of(&r).limit, 22);
    samples(&r, 1, RSL_MS(79), 0);
    assert_int_equal(stats_of(&r).limit, 24); /* 24.2 */
    rig_end(&r);
}

static void the_latency_rule_keeps_the_limit_between_its_bounds(void **unused)
{
    (void)unused;
    static const rsl_time spans[] = {RSL_MS(81), RSL_MS(100), RSL_MS(149), RSL_MS(150)};
    for (size_t i = 0; i < RSL_COUNT(spans); i++) {
        rig r;
        latency_start(&r, 20);
        samples(&r, 300, spans[i], 0);
        assert_int_equal(stats_of(&r).limit, 20);
        rig_end(&r);
    }
}

static void the_latency_rule_shrinks_when_the_slowest_twentieth_is_too_slow(void **unused)
{
    (void)unused;
    rig r;
    latency_start(&r, 20);
    samples(&r, 94, RSL_MS(10), 0); /* a mean of 21 ms alone would let it grow */
    samples(&r, 6, RSL_MS(151), 0);
    assert_int_equal(stats_of(&r).limit, 16);
    rig_end(&r);
    latency_start(&r, 20);
    samples(&r, 4, RSL_MS(151), 0);
    samples(&r, 96, RSL_MS(10), 0);
    assert_int_equal(stats_of(&r).limit, 22);
    rig_end(&r);
    latency_start(&r, 20);
    rsl_bulkhead_permit permits[100];
    for (uint32_t limit = 100; limit > 60; limit = limit * 8 / 10) {
        resize(&r, 100);
        take_many_of(&r.bulkhead, permits, 100);
        resize(&r, limit);
        r.clock.now += RSL_MS(151);
        give_many_of(&r.bulkhead, permits, 99, 0);
        assert_int_equal(stats_of(&r).limit, limit);
        give_of(&r.bulkhead, &permits[99], 0);
        assert_int_equal(stats_of(&r).limit, limit * 8 / 10);
    }
    rig_end(&r);
}

static void the_latency_rule_shrinks_when_one_in_twenty_is_an_overload(void **unused)
{
    (void)unused;
    rig r;
    latency_start(&r, 20);
    samples(&r, 10, RSL_MS(10), RSL_ETIMEOUT);
    samples(&r, 110, RSL_MS(15), 0);
    assert_int_equal(stats_of(&r).limit, 16);
    rig_end(&r);
    latency_start(&r, 20);
    samples(&r, 2, RSL_MS(10), RSL_ETIMEOUT);
    samples(&r, 98, RSL_MS(15), 0);
    assert_int_equal(stats_of(&r).limit, 22);
    rig_end(&r);
}

static void the_latency_rule_needs_a_window_of_the_target_at_least(void **unused)
{
    (void)unused;
    rig r;
    latency_start(&r, 20);
    samples(&r, 980, RSL_MS(1), 0); /* 98 ms, plenty of samples */
    assert_int_equal(stats_of(&r).limit, 20);
    samples(&r, 40, RSL_MS(1), 0);
    assert_int_equal(stats_of(&r).limit, 22);
    rig_end(&r);
}

static void the_latency_rule_judges_few_samples_after_a_second(void **unused)
{
    (void)unused;
    rig r;
    latency_start(&r, 20);
    for (int i = 0; i < 9; i++) {
        samples(&r, 1, RSL_MS(20), 0);
        r.clock.now += RSL_MS(200);
    }
    assert_int_equal(stats_of(&r).limit, 20); /* 2 s, but only 9 */
    samples(&r, 1, RSL_MS(20), 0);
    assert_int_equal(stats_of(&r).limit, 22);
    samples(&r, 20, RSL_MS(20), 0); /* 20, but in no time */
    assert_int_equal(stats_of(&r).limit, 22);
    rig_end(&r);
}

static void the_latency_rule_grows_however_few_are_in_flight(void **unused)
{
    (void)unused;
    rig r;
    latency_start(&r, 500);
    samples(&r, 100, RSL_MS(20), 0);
    assert_int_equal(stats_of(&r).limit, 550);
    rig_end(&r);
}

static void a_small_limit_grows_by_the_latency_rule_too(void **unused)
{
    (void)unused;
    rig r;
    latency_start(&r, 10);
    resize(&r, 1);
    for (int i = 0; i < 1500 && stats_of(&r).limit < 3; i++) { /* 1, 1.1, 1.21, ... */
        samples(&r, 1, RSL_MS(20), 0);
    }
    assert_int_equal(stats_of(&r).limit, 3);
    rig_end(&r);
}

/* --------------------------------------------------------- what all of them share */

static const rsl_bulkhead_limit all_kinds[] = {RSL_LIMIT_AIMD, RSL_LIMIT_VEGAS,
                                               RSL_LIMIT_GRADIENT2, RSL_LIMIT_LATENCY};

static void a_limit_stays_within_its_bounds(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < RSL_COUNT(all_kinds); i++) {
        rig r;
        rsl_bulkhead_config config = adaptive(all_kinds[i], 10);
        config.limit_min = 8;
        config.limit_max = 13;
        rig_start(&r, config);
        rsl_bulkhead_permit permits[13];
        for (int n = 0; n < 600; n++) {
            uint32_t limit = stats_of(&r).limit;
            assert_in_range(limit, 8, 13);
            take_many_of(&r.bulkhead, permits, limit);
            expect_full(&r.bulkhead);
            r.clock.now += RSL_MS(5);
            give_many_of(&r.bulkhead, permits, limit, n < 300 ? 0 : RSL_ETIMEOUT);
            if (n == 299) {
                assert_int_equal(stats_of(&r).limit, 13);
            }
        }
        assert_int_equal(stats_of(&r).limit, 8);
        rig_end(&r);
    }
}

static void failures_that_are_no_overload_tell_nothing(void **unused)
{
    (void)unused;
    static const int results[] = {1, -1, FAILED, INT_MIN, RSL_ECANCELED, RSL_EFULL, RSL_EOPEN};
    for (size_t i = 0; i < RSL_COUNT(all_kinds); i++) {
        rig r;
        rig_start(&r, adaptive(all_kinds[i], 10));
        for (int n = 0; n < 300; n++) {
            rsl_bulkhead_permit permits[10];
            take_many_of(&r.bulkhead, permits, 10);
            r.clock.now += n % 2 == 0 ? RSL_MS(1) : RSL_SEC(1);
            give_many_of(&r.bulkhead, permits, 10, results[n % (int)RSL_COUNT(results)]);
        }
        assert_int_equal(stats_of(&r).limit, 10);
        assert_int_equal(events_of(&r, RSL_BULKHEAD_LIMIT), 0);
        rig_end(&r);
    }
}

static void refusals_tell_nothing(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < RSL_COUNT(all_kinds); i++) {
        rig r;
        rig_start(&r, adaptive(all_kinds[i], 2));
        rsl_bulkhead_permit permits[2];
        take_many_of(&r.bulkhead, permits, 2);
        for (int n = 0; n < 300; n++) {
            r.clock.now += RSL_MS(10);
            expect_full(&r.bulkhead);
        }
        assert_int_equal(stats_of(&r).limit, 2);
        give_many_of(&r.bulkhead, permits, 2, FAILED);
        rig_end(&r);
    }
}

static void a_fixed_limit_never_moves(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adaptive(RSL_LIMIT_FIXED, 10));
    for (int n = 0; n < 600; n++) {
        rsl_bulkhead_permit permits[10];
        take_many_of(&r.bulkhead, permits, 10);
        r.clock.now += RSL_MS(50);
        give_many_of(&r.bulkhead, permits, 10, n % 2 == 0 ? 0 : RSL_ETIMEOUT);
    }
    assert_int_equal(stats_of(&r).limit, 10);
    assert_int_equal(r.clock.reads, 0);
    rig_end(&r);
}

typedef struct judge { rig *r; int asked, zeros; uint32_t in_use; } judge;

static bool is_busy(int result, void *user)
{
    judge *j = user;
    j->asked++;
    j->zeros += result == 0;
    j->in_use = stats_of(j->r).in_use; /* would hang if a lock were held */
    rsl_bulkhead_permit permit;
    if (rsl_bulkhead_try(&j->r->bulkhead, &permit) == RSL_OK) {
        (void)rsl_bulkhead_leave(&j->r->bulkhead, &permit, 0);
    }
    errno = SCRIBBLED;
    return result == 503;
}

static void a_callback_says_what_an_overload_is(void **unused)
{
    (void)unused;
    rig r;
    judge j = {.r = &r};
    rsl_bulkhead_config config = adaptive(RSL_LIMIT_AIMD, 10);
    config.is_overload = is_busy;
    config.user = &j;
    rig_start(&r, config);
    errno = 7;
    assert_int_equal(sample(&r, 10, 1, RSL_MS(1), 503), 9);
    assert_int_equal(errno, 7);
    assert_int_equal(j.asked, 1);
    assert_int_equal(sample(&r, 10, 1, RSL_MS(1), RSL_ETIMEOUT), 10);
    assert_int_equal(j.asked, 2);
    assert_int_equal(sample(&r, 10, 1, RSL_MS(1), 0), 10);
    assert_int_equal(j.asked, 2);
    assert_int_equal(j.zeros, 0); /* a success is none, and nobody asks */
    rig_end(&r);
}

static void each_new_limit_is_told(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adaptive(RSL_LIMIT_AIMD, 20));
    rsl_bulkhead_permit permits[20];
    take_many_of(&r.bulkhead, permits, 20);
    r.clock.now += RSL_MS(10);
    give_of(&r.bulkhead, &permits[0], 0);
    assert_int_equal(r.events.count, 1);
    const rsl_event *event = event_recorder_last(&r.events, RSL_BULKHEAD_LIMIT);
    assert_true(event->value == 21 && event->at == r.clock.now);
    give_of(&r.bulkhead, &permits[1], FAILED);
    assert_int_equal(r.events.count, 1);
    r.clock.now += RSL_MS(1);
    permits[1] = take(&r);
    r.clock.now += RSL_MS(1);
    give_of(&r.bulkhead, &permits[1], RSL_ETIMEOUT);
    assert_int_equal(r.events.count, 2);
    assert_true(event_recorder_last(&r.events, RSL_BULKHEAD_LIMIT)->value == 18);
    give_of(&r.bulkhead, &permits[2], FAILED);
    assert_int_equal(r.events.count, 2);
    give_many_of(&r.bulkhead, &permits[3], 17, FAILED);
    rig_end(&r);
}

static void enter_and_leave(const rsl_event *event, void *arg)
{
    rig *r = arg;
    rsl_bulkhead_permit permit;
    if (event->kind == RSL_BULKHEAD_LIMIT && r->events.count < 20) {
        assert_true(stats_of(r).limit == (uint32_t)event->value);
        assert_int_equal(rsl_bulkhead_enter(&r->bulkhead, NULL, &permit), RSL_OK);
        r->clock.now += RSL_MS(1);
        give_of(&r->bulkhead, &permit, RSL_ETIMEOUT); /* moves the limit once more */
        assert_int_equal(rsl_bulkhead_resize(&r->bulkhead, 400), RSL_OK);
    }
}

static void who_is_told_of_a_limit_may_move_it(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < RSL_COUNT(all_kinds); i++) {
        rig r;
        rig_start(&r, adaptive(all_kinds[i], 400));
        r.events.then = enter_and_leave;
        r.events.arg = &r;
        assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 500), RSL_OK);
        assert_true(r.events.count >= 2);
        assert_int_equal(stats_of(&r).limit, 400);
        rig_end(&r);
    }
}

static void a_limit_that_grows_lets_in_who_waits(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = adaptive(RSL_LIMIT_AIMD, 2);
    config.waiting_max = 10;
    rig_start(&r, config);
    guest g[6];
    guest_enter(&r, &g[0]);
    guest_enter(&r, &g[1]);
    for (int i = 2; i < 6; i++) {
        guest_queue(&r, &g[i], NULL);
    }
    r.clock.now += RSL_MS(10);
    guest_leave(&r, &g[0], 0); /* its own permit, and one more */
    expect_stats(&r, 3, 3, 2);
    expect_let_in(&r, &g[2]);
    expect_let_in(&r, &g[3]);
    expect_waiting(&r, &g[4]);
    r.clock.now += RSL_MS(10);
    guest_leave(&r, &g[2], RSL_ETIMEOUT); /* and one less: nobody's turn */
    expect_stats(&r, 2, 2, 2);
    expect_waiting(&r, &g[4]);
    guest_leave(&r, &g[1], FAILED);
    expect_let_in(&r, &g[4]);
    guest_leave(&r, &g[3], FAILED);
    expect_let_in(&r, &g[5]);
    guest_leave(&r, &g[4], FAILED);
    guest_leave(&r, &g[5], FAILED);
    rig_end(&r);
}

static void a_resized_limit_goes_on_from_there(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adaptive(RSL_LIMIT_AIMD, 10));
    rsl_bulkhead_permit permits[10];
    take_many_of(&r.bulkhead, permits, 10);
    r.clock.now += RSL_MS(10);
    give_of(&r.bulkhead, &permits[0], 0);
    assert_int_equal(stats_of(&r).limit, 11);
    resize(&r, 5);
    give_many_of(&r.bulkhead, &permits[1], 9, FAILED);
    r.clock.now += RSL_MS(1);
    take_many_of(&r.bulkhead, permits, 5);
    r.clock.now += RSL_MS(10);
    give_of(&r.bulkhead, &permits[0], 0);
    assert_int_equal(stats_of(&r).limit, 6);
    give_many_of(&r.bulkhead, &permits[1], 4, FAILED);
    rig_end(&r);
}

static void a_sample_of_no_time_and_one_of_all_time_do_no_harm(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < RSL_COUNT(all_kinds); i++) {
        rig r;
        rig_start(&r, adaptive(all_kinds[i], 10));
        for (int n = 0; n < 100; n++) {
            uint32_t limit = stats_of(&r).limit;
            assert_in_range(limit, 1, 1000);
            rsl_bulkhead_permit permits[1000];
            take_many_of(&r.bulkhead, permits, limit);
            r.clock.now += n == 50 ? RSL_SEC(1000000000) : 0;
            give_many_of(&r.bulkhead, permits, limit, 0);
        }
        assert_in_range(stats_of(&r).limit, 1, 1000);
        rig_end(&r);
    }
}

/* ------------------------------------------------------------- a closed loop */

enum { SLOTS_MAX = 64, CLIENTS = 150 };

/* A server that works on `capacity` calls at once and queues the others. Its clients take an
   answer later than `early` for a sign of overload, though it is good, and give up after
   `patience`, while it works on. */
typedef struct server {
    rig           *r;
    seeded_random  random;
    uint32_t       capacity;
    rsl_time       service, early, patience;
    rsl_time       free_at[SLOTS_MAX];
    struct { rsl_bulkhead_permit permit; rsl_time at; int result; bool good; } calls[CLIENTS];
    int            inside;
    uint64_t       good;
    double         limit_time; /* limit x time */
} server;

static void server_take(server *s)
{
    rsl_time now = s->r->clock.now;
    uint32_t slot = 0;
    for (uint32_t i = 1; i < s->capacity; i++) {
        slot = s->free_at[i] < s->free_at[slot] ? i : slot;
    }
    rsl_time start = s->free_at[slot] > now ? s->free_at[slot] : now;
    rsl_time span = s->service * 8 / 10 + seeded_random_below(&s->random,
                                                             (uint32_t)(s->service * 4 / 10));
    s->free_at[slot] = start + span;
    rsl_time took = start + span - now;
    s->calls[s->inside].at = now + (took < s->patience ? took : s->patience);
    s->calls[s->inside].result = took < s->early ? 0 : RSL_ETIMEOUT;
    s->calls[s->inside].good = took < s->patience;
    s->inside++;
}

/* As many as may enter do; then the next call that ends. */
static void server_go_on(server *s)
{
    while (s->inside < CLIENTS && rsl_bulkhead_try(&s->r->bulkhead,
                                                   &s->calls[s->inside].permit) == RSL_OK) {
        server_take(s);
    }
    int next = 0;
    for (int i = 1; i < s->inside; i++) {
        next = s->calls[i].at < s->calls[next].at ? i : next;
    }
    rsl_time span = s->calls[next].at - s->r->clock.now;
    s->limit_time += (double)span * stats_of(s->r).limit;
    s->r->clock.now += span;
    s->good += s->calls[next].good;
    give_of(&s->r->bulkhead, &s->calls[next].permit, s->calls[next].result);
    s->calls[next] = s->calls[--s->inside];
}

/* For this long; then what it did in as long again: the mean limit, and the share of the capacity
   that was good work. */
static void server_phase(server *s, uint32_t capacity, rsl_time span, double *limit, double *good)
{
    s->capacity = capacity;
    rsl_time settled = s->r->clock.now + span, end = settled + span;
    while (s->r->clock.now < settled) {
        server_go_on(s);
    }
    s->good = 0;
    s->limit_time = 0;
    rsl_time began = s->r->clock.now;
    while (s->r->clock.now < end) {
        server_go_on(s);
    }
    double took = (double)(s->r->clock.now - began);
    *limit = s->limit_time / took;
    *good = (double)s->good * (double)s->service / took / capacity;
}

typedef struct loop_goal { rsl_bulkhead_limit limit; double most, good; } loop_goal;

/* In three phases: a server of 20, which shrinks to 8 and recovers. */
static void converges(loop_goal goal)
{
    static const uint32_t capacities[] = {20, 8, 20};
    rig r;
    rsl_bulkhead_config config = adaptive(goal.limit, 20);
    config.latency_target = RSL_MS(15);
    rig_start(&r, config);
    server s;
    memset(&s, 0, sizeof(s));
    s.r = &r;
    s.random.state = 7;
    s.service = RSL_MS(10);
    s.early = goal.limit == RSL_LIMIT_AIMD || goal.limit == RSL_LIMIT_GRADIENT2 ? RSL_MS(20)
                                                                                 : RSL_SEC(1);
    s.patience = RSL_MS(60);
    for (size_t i = 0; i < RSL_COUNT(capacities); i++) {
        double limit, good;
        server_phase(&s, capacities[i], RSL_SEC(4), &limit, &good);
        print_message("kind %d, capacity %u: limit %.1f, good work %.0f %%\n", goal.limit,
                      capacities[i], limit, 100 * good);
        assert_true(limit >= 0.8 * capacities[i] && limit <= goal.most * capacities[i]);
        assert_true(good >= goal.good);
    }
    while (s.inside > 0) {
        give_of(&r.bulkhead, &s.calls[--s.inside].permit, FAILED);
    }
    rig_end(&r);
}

static void aimd_finds_the_capacity_of_a_server_and_finds_it_again(void **unused)
{
    (void)unused;
    converges((loop_goal){RSL_LIMIT_AIMD, 2.6, 0.9});
}

static void vegas_finds_the_capacity_of_a_server_and_finds_it_again(void **unused)
{
    (void)unused;
    converges((loop_goal){RSL_LIMIT_VEGAS, 2, 0.8});
}

static void gradient2_finds_the_capacity_of_a_server_and_finds_it_again(void **unused)
{
    (void)unused;
    converges((loop_goal){RSL_LIMIT_GRADIENT2, 2.6, 0.9});
}

static void the_latency_rule_finds_the_capacity_of_a_server_and_finds_it_again(void **unused)
{
    (void)unused;
    converges((loop_goal){RSL_LIMIT_LATENCY, 2, 0.9});
}

/* -------------------------------------------------------------- shedding (CoDel) */

static void shed_start(rig *r, uint32_t waiting_max)
{
    rsl_bulkhead_config config = {.calls_max = 1, .waiting_max = waiting_max};
    config.shed = RSL_SHED_CODEL; /* 5 ms, 100 ms */
    rig_start(r, config);
}

static void until(rig *r, int ms)
{
    assert_true(START + RSL_MS(ms) >= r->clock.now);
    r->clock.now = START + RSL_MS(ms);
}

/* One is inside; the others come at these times, in ms, and wait. */
static void queue_at(rig *r, guest *g, const int *ms, size_t count)
{
    guest_enter(r, &g[0]);
    for (size_t i = 1; i <= count; i++) {
        until(r, ms[i - 1]);
        guest_queue(r, &g[i], NULL);
    }
}

static void a_queue_that_stands_serves_the_newest_and_sheds_who_waited_too_long(void **unused)
{
    (void)unused;
    static const int ms[] = {1, 30, 60, 90, 96, 100};
    rig r;
    shed_start(&r, RSL_UNLIMITED);
    guest g[7];
    queue_at(&r, g, ms, RSL_COUNT(ms));
    until(&r, 101);
    guest_leave(&r, &g[0], 0);
    for (int i = 1; i <= 4; i++) {
        assert_true(g[i].woken > 0);
        expect_refused(&r, &g[i], RSL_EFULL);
    }
    expect_waiting(&r, &g[5]);
    expect_let_in(&r, &g[6]);
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.shed == 4 && stats.refused == 4 && stats.timed_out == 0);
    assert_true(stats.in_use == 1 && stats.waiting == 1 && stats.admitted == 2);
    assert_true(stats.waited == 1 && stats.wait_total == RSL_MS(1));
    assert_int_equal(events_of(&r, RSL_BULKHEAD_SHED), 4);
    assert_int_equal(events_of(&r, RSL_BULKHEAD_REFUSED), 0);
    const rsl_event *event = event_recorder_last(&r.events, RSL_BULKHEAD_SHED);
    assert_true(event->status == RSL_EFULL && event->at == r.clock.now);
    guest_leave(&r, &g[6], 0);
    expect_let_in(&r, &g[5]);
    guest_leave(&r, &g[5], 0);
    rig_end(&r);
}

static void without_shedding_the_same_queue_is_served_in_order(void **unused)
{
    (void)unused;
    static const int ms[] = {1, 30, 60, 90, 108, 109};
    rig r;
    rsl_bulkhead_config config = {.calls_max = 1, .waiting_max = 10};
    rig_start(&r, config);
    guest g[7];
    queue_at(&r, g, ms, RSL_COUNT(ms));
    until(&r, 300);
    for (int i = 0; i < 7; i++) {
        guest_leave(&r, &g[i], 0);
        if (i < 6) {
            expect_let_in(&r, &g[i + 1]);
        }
    }
    rig_end(&r);
}

static void a_queue_that_stands_for_less_than_the_interval_is_served_in_order(void **unused)
{
    (void)unused;
    static const int ms[] = {1, 30, 60, 90};
    rig r;
    shed_start(&r, 10);
    guest g[5];
    queue_at(&r, g, ms, RSL_COUNT(ms));
    until(&r, 95);
    for (int i = 0; i < 5; i++) {
        guest_leave(&r, &g[i], 0);
        if (i < 4) {
            expect_let_in(&r, &g[i + 1]);
        }
    }
    assert_int_equal(stats_of(&r).shed, 0);
    rig_end(&r);
}

static void who_gets_through_in_time_keeps_the_queue_from_standing(void **unused)
{
    (void)unused;
    rig r;
    shed_start(&r, 10);
    guest g[2];
    guest_enter(&r, &g[0]);
    for (int i = 0; i < 400; i++) { /* two seconds in which somebody always waits, briefly */
        guest *inside = &g[i % 2], *waiting = &g[(i + 1) % 2];
        guest_queue(&r, waiting, NULL);
        r.clock.now += RSL_MS(5);
        guest_leave(&r, inside, 0);
        expect_let_in(&r, waiting);
    }
    guest_leave(&r, &g[0], 0);
    assert_int_equal(stats_of(&r).shed, 0);
    rig_end(&r);
}

static void one_slow_call_after_many_that_got_through_in_time_sheds_nobody(void **unused)
{
    (void)unused;
    rig r;
    shed_start(&r, 10);
    guest g[51];
    guest_enter(&r, &g[0]);
    guest_queue(&r, &g[1], NULL);
    for (int i = 1; i < 50; i++) { /* 98 ms in which the queue is never empty */
        r.clock.now += RSL_MS(2);
        guest_queue(&r, &g[i + 1], NULL);
        guest_leave(&r, &g[i - 1], 0);
        expect_let_in(&r, &g[i]);
    }
    r.clock.now += RSL_MS(8);
    guest_leave(&r, &g[49], 0);
    expect_let_in(&r, &g[50]);
    guest_leave(&r, &g[50], 0);
    assert_int_equal(stats_of(&r).shed, 0);
    rig_end(&r);
}

static void once_the_queue_is_empty_all_is_normal_again(void **unused)
{
    (void)unused;
    static const int ms[] = {1, 60, 109};
    rig r;
    shed_start(&r, 10);
    guest g[6];
    queue_at(&r, g, ms, RSL_COUNT(ms));
    until(&r, 110);
    guest_leave(&r, &g[0], 0);
    expect_refused(&r, &g[1], RSL_EFULL);
    expect_refused(&r, &g[2], RSL_EFULL);
    expect_let_in(&r, &g[3]);
    r.clock.now += RSL_MS(40);
    guest_queue(&r, &g[4], NULL);
    r.clock.now += RSL_MS(20);
    guest_queue(&r, &g[5], NULL);
    r.clock.now += RSL_MS(40);
    guest_leave(&r, &g[3], 0);
    expect_let_in(&r, &g[4]); /* the oldest, after 60 ms */
    guest_leave(&r, &g[4], 0);
    expect_let_in(&r, &g[5]);
    guest_leave(&r, &g[5], 0);
    assert_int_equal(stats_of(&r).shed, 2);
    rig_end(&r);
}

static void after_an_interval_in_which_nobody_was_shed_all_is_normal_again(void **unused)
{
    (void)unused;
    static const int ms[] = {1, 60, 98, 100};
    rig r;
    shed_start(&r, 10);
    guest g[5], brief[2], older, newer;
    queue_at(&r, g, ms, RSL_COUNT(ms));
    until(&r, 101);
    guest_leave(&r, &g[0], 0);
    expect_refused(&r, &g[1], RSL_EFULL);
    expect_refused(&r, &g[2], RSL_EFULL);
    expect_let_in(&r, &g[4]);
    guest_queue(&r, &brief[1], NULL);
    rsl_execution_abandon(&g[3].e, r.clock.now);
    for (int i = 0; i < 40; i++) { /* 160 ms: somebody always waits, and gives up in time */
        r.clock.now += RSL_MS(4);
        guest_queue(&r, &brief[i % 2], NULL);
        rsl_execution_abandon(&brief[(i + 1) % 2].e, r.clock.now);
    }
    guest_queue(&r, &older, NULL);
    rsl_execution_abandon(&brief[1].e, r.clock.now);
    r.clock.now += RSL_MS(2);
    guest_queue(&r, &newer, NULL);
    r.clock.now += RSL_MS(2);
    guest_leave(&r, &g[4], 0);
    expect_let_in(&r, &older);
    guest_leave(&r, &older, 0);
    expect_let_in(&r, &newer);
    guest_leave(&r, &newer, 0);
    assert_int_equal(stats_of(&r).shed, 2);
    rig_end(&r);
}

static void who_is_late_just_after_such_an_interval_is_let_in(void **unused)
{
    (void)unused;
    static const int ms[] = {1, 60, 100};
    rig r;
    shed_start(&r, 10);
    guest g[4], brief[2], late;
    queue_at(&r, g, ms, RSL_COUNT(ms));
    until(&r, 101);
    guest_queue(&r, &brief[1], NULL);
    guest_leave(&r, &g[0], 0);
    expect_refused(&r, &g[1], RSL_EFULL);
    expect_refused(&r, &g[2], RSL_EFULL);
    guest *inside = &brief[1], *other = &g[3]; /* the newest is served first */
    expect_let_in(&r, inside);
    for (int i = 0; i < 24; i++) {
        r.clock.now += RSL_MS(4);
        guest *next = i % 2 == 0 ? &late : &brief[0];
        guest_queue(&r, next, NULL);
        rsl_execution_abandon(&other->e, r.clock.now);
        other = next;
    }
    r.clock.now += RSL_MS(1);
    guest_queue(&r, &late, NULL); /* at 198: the interval is not over yet */
    rsl_execution_abandon(&other->e, r.clock.now);
    r.clock.now += RSL_MS(6);
    guest_leave(&r, inside, 0);
    expect_let_in(&r, &late);
    guest_leave(&r, &late, 0);
    rig_end(&r);
}

static void a_wait_of_exactly_the_target_is_fine(void **unused)
{
    (void)unused;
    for (int late = 0; late < 2; late++) {
        rig r;
        rsl_bulkhead_config config = {.calls_max = 1, .waiting_max = 1, .shed = RSL_SHED_CODEL};
        config.shed_target = config.shed_interval = RSL_MS(100);
        rig_start(&r, config);
        guest inside, waits;
        guest_enter(&r, &inside);
        guest_queue(&r, &waits, NULL);
        r.clock.now += RSL_MS(100) + late;
        guest_leave(&r, &inside, 0);
        if (late) {
            expect_refused(&r, &waits, RSL_EFULL);
        } else {
            expect_let_in(&r, &waits);
            guest_leave(&r, &waits, 0);
        }
        rig_end(&r);
    }
}

static void when_all_waited_too_long_all_are_shed_and_the_permit_is_free(void **unused)
{
    (void)unused;
    static const int ms[] = {1, 30, 60};
    rig r;
    shed_start(&r, 10);
    guest g[4];
    queue_at(&r, g, ms, RSL_COUNT(ms));
    until(&r, 150);
    guest_leave(&r, &g[0], 0);
    for (int i = 1; i < 4; i++) {
        expect_refused(&r, &g[i], RSL_EFULL);
    }
    expect_stats(&r, 1, 0, 0);
    rsl_bulkhead_permit permit = take(&r);
    give(&r, &permit);
    rig_end(&r);
}

static void who_comes_finds_room_in_a_full_queue_that_stands(void **unused)
{
    (void)unused;
    static const int ms[] = {1, 2};
    rig r;
    shed_start(&r, 2);
    guest g[4];
    queue_at(&r, g, ms, RSL_COUNT(ms));
    until(&r, 50);
    assert_int_equal(guest_begin(&r, &g[3], NULL), RSL_DONE); /* it does not stand yet */
    expect_refused(&r, &g[3], RSL_EFULL);
    until(&r, 120);
    guest_queue(&r, &g[3], NULL);
    expect_refused(&r, &g[1], RSL_EFULL);
    expect_refused(&r, &g[2], RSL_EFULL);
    until(&r, 121);
    guest_leave(&r, &g[0], 0);
    expect_let_in(&r, &g[3]);
    guest_leave(&r, &g[3], 0);
    assert_true(stats_of(&r).shed == 2 && stats_of(&r).refused == 3);
    rig_end(&r);
}

static void a_higher_priority_goes_before_a_newer_one(void **unused)
{
    (void)unused;
    static const int ms[] = {1, 60, 98, 99};
    rig r;
    shed_start(&r, 10);
    guest g[5], urgent, newer;
    rsl_ctx ctx = {.priority = 1};
    queue_at(&r, g, ms, RSL_COUNT(ms));
    until(&r, 101);
    guest_leave(&r, &g[0], 0);
    expect_refused(&r, &g[1], RSL_EFULL);
    expect_refused(&r, &g[2], RSL_EFULL);
    expect_let_in(&r, &g[4]); /* the queue stands */
    guest_queue(&r, &urgent, &ctx);
    guest_queue(&r, &newer, NULL);
    guest_leave(&r, &g[4], 0);
    expect_let_in(&r, &urgent);
    guest_leave(&r, &urgent, 0);
    expect_let_in(&r, &newer);
    guest_leave(&r, &newer, 0);
    expect_let_in(&r, &g[3]);
    guest_leave(&r, &g[3], 0);
    rig_end(&r);
}

static void a_blocked_call_is_shed_too(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = {.calls_max = 1, .waiting_max = 1, .wait_max = RSL_SEC(1)};
    config.shed = RSL_SHED_CODEL;
    rig_start(&r, config);
    rsl_bulkhead_permit permit = take(&r), other;
    rig_permit leaving = {&r, &permit};
    timeline_add(&r.line, START + RSL_MS(150), leave_then, &leaving);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &other), RSL_EFULL);
    assert_true(r.clock.now == START + RSL_MS(150));
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.in_use == 0 && stats.shed == 1 && stats.refused == 1);
    rig_end(&r);
}

/* Twice as many come as can be served, for a second of service time; then all is quiet again. */
static void under_overload_those_who_are_served_are_served_quickly(void **unused)
{
    (void)unused;
    enum { COMERS = 400 };
    rig r;
    shed_start(&r, RSL_UNLIMITED);
    guest *g = calloc(COMERS, sizeof(*g));
    assert_non_null(g);
    int inside = -1, served = 0, refused = 0, late = 0, begun = 0;
    for (int tick = 0; tick < 2 * COMERS; tick++) { /* of 1 ms: one comes every 2, 4 to serve */
        r.clock.now += RSL_MS(1);
        if (tick % 2 == 0 && begun < COMERS) {
            g[begun].e.result = guest_begin(&r, &g[begun], NULL) == RSL_RUN;
            inside = g[begun].rc == RSL_RUN ? begun : inside;
            begun++;
        }
        if (tick % 4 == 3 && inside >= 0) {
            guest_leave(&r, &g[inside], 0);
            served++;
            inside = -1;
        }
        for (int i = 0; i < begun; i++) {
            if (g[i].rc != RSL_WAIT || g[i].woken == 0) {
                continue;
            }
            if (guest_step(&r, &g[i]) == RSL_RUN) {
                inside = i;
                late += tick > 300 && tick - 2 * i > 6; /* after the first shedding */
            } else if (g[i].rc == RSL_DONE) {
                assert_int_equal(g[i].e.result, RSL_EFULL);
                refused++;
            }
        }
    }
    for (int i = 0; i < begun; i++) {
        rsl_execution_abandon(&g[i].e, r.clock.now);
    }
    assert_true(served >= COMERS / 2 - 5); /* nothing is lost of the capacity */
    assert_true(refused > COMERS / 4);
    assert_true(late <= served / 4);
    print_message("served %d, refused %d, late %d\n", served, refused, late);
    free(g);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aimd_grows_by_one_when_half_the_limit_or_more_is_in_flight),
        cmocka_unit_test(aimd_does_not_grow_when_less_than_half_the_limit_is_in_flight),
        cmocka_unit_test(aimd_shrinks_to_nine_tenths_on_an_overload),
        cmocka_unit_test(calls_that_entered_before_the_latest_move_say_nothing),
        cmocka_unit_test(aimd_grows_by_one_for_each_round_of_calls),
        cmocka_unit_test(vegas_moves_by_the_queue_that_the_latency_tells),
        cmocka_unit_test(vegas_moves_at_the_bounds_of_the_queue),
        cmocka_unit_test(vegas_takes_larger_steps_from_a_larger_limit),
        cmocka_unit_test(vegas_keeps_its_limit_when_less_than_half_of_it_is_in_flight),
        cmocka_unit_test(vegas_shrinks_by_a_step_on_an_overload),
        cmocka_unit_test(vegas_counts_each_overload),
        cmocka_unit_test(vegas_forgets_the_least_latency_in_the_end),
        cmocka_unit_test(gradient2_grows_steadily_while_the_latency_stays),
        cmocka_unit_test(gradient2_follows_the_gradient_a_fifth_of_the_way),
        cmocka_unit_test(gradient2_keeps_its_limit_when_less_than_half_of_it_is_in_flight),
        cmocka_unit_test(gradient2_shrinks_to_nine_tenths_on_an_overload),
        cmocka_unit_test(the_latency_rule_grows_when_the_mean_is_below_four_fifths_of_the_target),
        cmocka_unit_test(the_latency_rule_keeps_the_limit_between_its_bounds),
        cmocka_unit_test(the_latency_rule_shrinks_when_the_slowest_twentieth_is_too_slow),
        cmocka_unit_test(the_latency_rule_shrinks_when_one_in_twenty_is_an_overload),
        cmocka_unit_test(the_latency_rule_needs_a_window_of_the_target_at_least),
        cmocka_unit_test(the_latency_rule_judges_few_samples_after_a_second),
        cmocka_unit_test(the_latency_rule_grows_however_few_are_in_flight),
        cmocka_unit_test(a_small_limit_grows_by_the_latency_rule_too),
        cmocka_unit_test(a_limit_stays_within_its_bounds),
        cmocka_unit_test(failures_that_are_no_overload_tell_nothing),
        cmocka_unit_test(refusals_tell_nothing),
        cmocka_unit_test(a_fixed_limit_never_moves),
        cmocka_unit_test(a_callback_says_what_an_overload_is),
        cmocka_unit_test(each_new_limit_is_told),
        cmocka_unit_test(who_is_told_of_a_limit_may_move_it),
        cmocka_unit_test(a_limit_that_grows_lets_in_who_waits),
        cmocka_unit_test(a_resized_limit_goes_on_from_there),
        cmocka_unit_test(a_sample_of_no_time_and_one_of_all_time_do_no_harm),
        cmocka_unit_test(aimd_finds_the_capacity_of_a_server_and_finds_it_again),
        cmocka_unit_test(vegas_finds_the_capacity_of_a_server_and_finds_it_again),
        cmocka_unit_test(gradient2_finds_the_capacity_of_a_server_and_finds_it_again),
        cmocka_unit_test(the_latency_rule_finds_the_capacity_of_a_server_and_finds_it_again),
        cmocka_unit_test(a_queue_that_stands_serves_the_newest_and_sheds_who_waited_too_long),
        cmocka_unit_test(without_shedding_the_same_queue_is_served_in_order),
        cmocka_unit_test(a_queue_that_stands_for_less_than_the_interval_is_served_in_order),
        cmocka_unit_test(who_gets_through_in_time_keeps_the_queue_from_standing),
        cmocka_unit_test(one_slow_call_after_many_that_got_through_in_time_sheds_nobody),
        cmocka_unit_test(once_the_queue_is_empty_all_is_normal_again),
        cmocka_unit_test(after_an_interval_in_which_nobody_was_shed_all_is_normal_again),
        cmocka_unit_test(who_is_late_just_after_such_an_interval_is_let_in),
        cmocka_unit_test(a_wait_of_exactly_the_target_is_fine),
        cmocka_unit_test(when_all_waited_too_long_all_are_shed_and_the_permit_is_free),
        cmocka_unit_test(who_comes_finds_room_in_a_full_queue_that_stands),
        cmocka_unit_test(a_higher_priority_goes_before_a_newer_one),
        cmocka_unit_test(a_blocked_call_is_shed_too),
        cmocka_unit_test(under_overload_those_who_are_served_are_served_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
