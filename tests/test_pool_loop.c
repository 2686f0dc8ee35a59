/* SPDX-License-Identifier: MIT
   test_pool_loop.c: pool.h in event loops: begin, poll and abandon, the order of those who wait,
   creations by ticket, and the layer of a policy. By one thread, in virtual time.            */
#include "support/allocator.h"

#define RSL_IMPLEMENTATION
#include "resilience.h"

#include "pool.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/support.h"

#include "support/pool_rig.h"

static rsl_pool_config sized(uint32_t size_max)
{
    rsl_pool_config config = {.size_max = size_max, .acquire_timeout = RSL_SEC(100)};
    return config;
}

static void expect_free(rig *r)
{
    rsl_pool_stats stats = stats_of(r);
    assert_int_equal(stats.in_use, 0);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.creating, 0);
}

/* ------------------------------------------------------------ begin and poll */

static void beginning_leases_an_idle_resource_at_once(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    warm(&r, 1);
    guest g;
    assert_int_equal(guest_begin(&r, &g, NULL), RSL_OK);
    assert_int_equal(g.woken, 0);
    assert_int_equal(thing_of(&g.lease)->number, 1);
    assert_int_equal(guest_poll(&r, &g), RSL_EINVAL);
    give(&r, &g.lease);
    expect_free(&r);
    rig_end(&r);
}

static void who_begins_on_a_full_pool_is_woken_by_the_next_release(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g;
    guest_wait(&r, &g, RSL_SEC(1));
    assert_int_equal(stats_of(&r).waiting, 1);
    assert_int_equal(g.woken, 0);
    expect_waiting(&r, &g);
    give(&r, &lease);
    assert_int_equal(g.woken, 1);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.waiting == 0 && stats.in_use == 1 && stats.idle == 0);
    expect_served(&r, &g);
    assert_int_equal(guest_poll(&r, &g), RSL_EINVAL);
    give(&r, &g.lease);
    expect_free(&r);
    rig_end(&r);
}

static void beginning_and_polling_never_create(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    guest g;
    guest_wait(&r, &g, RSL_SEC(1));
    expect_waiting(&r, &g);
    assert_int_equal(r.factory.tries, 0);
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(r.factory.tries, 1);
    expect_served(&r, &g);
    give(&r, &g.lease);
    rig_end(&r);
}

static void maintaining_creates_no_more_than_there_are_waiters(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(8));
    guest g[3];
    for (int i = 0; i < 3; i++) {
        guest_wait(&r, &g[i], RSL_SEC(1));
    }
    for (int i = 0; i < 6; i++) {
        (void)rsl_pool_maintain(r.pool);
    }
    assert_int_equal(r.factory.tries, 3);
    for (int i = 0; i < 3; i++) {
        expect_served(&r, &g[i]);
        give(&r, &g[i].lease);
    }
    rig_end(&r);
}

static void a_blocking_acquire_creates_though_one_in_a_loop_came_first(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    guest g;
    guest_wait(&r, &g, RSL_SEC(1));
    rsl_pool_lease lease = take(&r);
    assert_true(r.clock.now == START);
    expect_served(&r, &g);
    give(&r, &lease);
    give(&r, &g.lease);
    rig_end(&r);
}

static void misused_waiters_are_refused(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g;
    assert_int_equal(rsl_pool_begin(NULL, NULL, &g.waiter, &g.lease), RSL_EINVAL);
    memset(&g, 0, sizeof(g));
    assert_int_equal(rsl_pool_begin(r.pool, NULL, &g.waiter, &g.lease), RSL_EINVAL);
    g.waiter.wake = guest_wake_;
    g.waiter.user = &g;
    assert_int_equal(rsl_pool_begin(NULL, NULL, &g.waiter, &g.lease), RSL_EINVAL);
    assert_int_equal(rsl_pool_begin(r.pool, NULL, NULL, &g.lease), RSL_EINVAL);
    assert_int_equal(rsl_pool_begin(r.pool, NULL, &g.waiter, NULL), RSL_EINVAL);
    rsl_time now = r.clock.now;
    assert_int_equal(rsl_pool_poll(r.pool, &g.waiter, &g.lease, now), RSL_EINVAL);
    assert_int_equal(rsl_pool_begin(r.pool, NULL, &g.waiter, &g.lease), RSL_WAIT);
    assert_int_equal(rsl_pool_begin(r.pool, NULL, &g.waiter, &g.lease), RSL_EINVAL);
    assert_int_equal(stats_of(&r).waiting, 1);
    assert_int_equal(rsl_pool_poll(NULL, &g.waiter, &g.lease, now), RSL_EINVAL);
    assert_int_equal(rsl_pool_poll(r.pool, NULL, &g.lease, now), RSL_EINVAL);
    assert_int_equal(rsl_pool_poll(r.pool, &g.waiter, NULL, now), RSL_EINVAL);
    rsl_pool_abandon(NULL, &g.waiter);
    rsl_pool_abandon(r.pool, NULL);
    assert_int_equal(stats_of(&r).waiting, 1);
    rsl_pool_abandon(r.pool, &g.waiter);
    assert_int_equal(stats_of(&r).waiting, 0);
    rsl_pool_abandon(r.pool, &g.waiter);
    assert_int_equal(rsl_pool_poll(r.pool, &g.waiter, &g.lease, now), RSL_EINVAL);
    give(&r, &lease);
    rig_end(&r);
}

static void a_waiter_can_be_used_again_and_again(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g;
    guest_wait(&r, &g, RSL_SEC(9));
    for (int i = 0; i < 20; i++) {
        give(&r, &lease);
        if (i % 2 == 0) {
            expect_served(&r, &g);
            lease = g.lease;
        } else {
            rsl_pool_abandon(r.pool, &g.waiter);
            lease = take(&r);
        }
        assert_int_equal(rsl_pool_begin(r.pool, NULL, &g.waiter, &g.lease), RSL_WAIT);
    }
    rsl_pool_abandon(r.pool, &g.waiter);
    give(&r, &lease);
    expect_free(&r);
    assert_int_equal(r.factory.tries, 1);
    rig_end(&r);
}

static void polling_past_the_deadline_ends_the_wait(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g;
    guest_wait(&r, &g, RSL_MS(100));
    r.clock.now += RSL_MS(100) - 1;
    expect_waiting(&r, &g);
    r.clock.now += 1;
    assert_int_equal(guest_poll(&r, &g), RSL_ETIMEOUT);
    assert_int_equal(guest_poll(&r, &g), RSL_EINVAL);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.timed_out == 1 && stats.waiting == 0);
    assert_true(stats.wait_total == RSL_MS(100) + stats.create_total);
    give(&r, &lease);
    expect_free(&r);
    rig_end(&r);
}

static void the_acquire_timeout_ends_a_wait_without_a_deadline(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_SEC(2)};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r);
    guest g;
    assert_int_equal(guest_begin(&r, &g, NULL), RSL_WAIT);
    r.clock.now += RSL_SEC(2) - 1;
    expect_waiting(&r, &g);
    r.clock.now += 1;
    assert_int_equal(guest_poll(&r, &g), RSL_ETIMEOUT);
    give(&r, &lease);
    rig_end(&r);
}

static void polling_follows_the_clock_of_the_ctx(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    virtual_clock own = {.now = RSL_SEC(5)};
    rsl_clock as = virtual_clock_as(&own);
    rsl_ctx ctx = {.deadline = RSL_SEC(7), .clock = &as};
    guest g;
    assert_int_equal(guest_begin(&r, &g, &ctx), RSL_WAIT);
    assert_int_equal(rsl_pool_poll(r.pool, &g.waiter, &g.lease, RSL_SEC(6)), RSL_WAIT);
    own.now = RSL_SEC(7);
    assert_int_equal(rsl_pool_poll(r.pool, &g.waiter, &g.lease, RSL_SEC(7)), RSL_ETIMEOUT);
    give(&r, &lease);
    rig_end(&r);
}

static void serve_at_any_time(void *arg)
{
    rig_lease *it = arg;
    it->r->clock.now += RSL_SEC(1);
    give(it->r, it->lease);
}

/* Its deadline is a smaller number than the pool's time ever was. */
static void a_waiter_with_a_clock_of_its_own_is_not_late_by_the_pools(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    virtual_clock own = {.now = RSL_SEC(5), .on_sleep = timeline_on_sleep_, .arg = &r.line};
    rsl_clock as = virtual_clock_as(&own);
    rsl_ctx ctx = {.deadline = RSL_SEC(7), .clock = &as};
    guest g;
    assert_int_equal(guest_begin(&r, &g, &ctx), RSL_WAIT);
    give(&r, &lease);
    assert_true(g.woken > 0);
    assert_int_equal(rsl_pool_poll(r.pool, &g.waiter, &g.lease, RSL_SEC(6)), RSL_OK);
    rig_lease held = {&r, &g.lease};
    timeline_add(&r.line, RSL_SEC(6), serve_at_any_time, &held);
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &lease), RSL_OK);
    assert_true(own.now == RSL_SEC(6));
    give(&r, &lease);
    expect_free(&r);
    rig_end(&r);
}

static void a_spent_context_begins_nothing(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g;
    rsl_ctx ctx = {.deadline = START};
    assert_int_equal(guest_begin(&r, &g, &ctx), RSL_ETIMEOUT);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_cancel_fire(&cancel);
    rsl_ctx cancelled = {.cancel = &cancel};
    assert_int_equal(guest_begin(&r, &g, &cancelled), RSL_ECANCELED);
    assert_int_equal(guest_poll(&r, &g), RSL_EINVAL);
    rsl_cancel_deinit(&cancel);
    give(&r, &lease);
    expect_free(&r);
    rig_end(&r);
}

static void a_waiter_that_is_abandoned_is_never_woken(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g;
    guest_wait(&r, &g, RSL_SEC(1));
    rsl_pool_abandon(r.pool, &g.waiter);
    give(&r, &lease);
    assert_int_equal(g.woken, 0);
    assert_int_equal(stats_of(&r).idle, 1);
    rig_end(&r);
}

static void what_an_abandoned_waiter_was_granted_goes_to_the_next(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest first, second;
    guest_wait(&r, &first, RSL_SEC(1));
    guest_wait(&r, &second, RSL_SEC(1));
    give(&r, &lease);
    assert_int_equal(first.woken, 1);
    assert_int_equal(second.woken, 0);
    rsl_pool_abandon(r.pool, &first.waiter);
    expect_served(&r, &second);
    give(&r, &second.lease);
    expect_free(&r);
    assert_int_equal(stats_of(&r).idle, 1);
    rig_end(&r);
}

static void what_the_last_abandoned_waiter_was_granted_is_idle_again(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g;
    guest_wait(&r, &g, RSL_SEC(1));
    give(&r, &lease);
    rsl_pool_abandon(r.pool, &g.waiter);
    expect_free(&r);
    assert_int_equal(rsl_pool_try(r.pool, &lease), RSL_OK);
    assert_int_equal(thing_of(&lease)->number, 1);
    give(&r, &lease);
    rig_end(&r);
}

static void a_grant_that_is_polled_after_the_deadline_is_not_lost(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g;
    guest_wait(&r, &g, RSL_MS(10));
    give(&r, &lease);
    r.clock.now += RSL_SEC(1);
    int rc = guest_poll(&r, &g);
    assert_true(rc == RSL_OK || rc == RSL_ETIMEOUT);
    if (rc == RSL_OK) {
        give(&r, &g.lease);
    }
    expect_free(&r);
    assert_int_equal(stats_of(&r).idle, 1);
    rig_end(&r);
}

/* A release that finds a waiter whose time is over passes it by. */
static void an_expired_waiter_is_handed_nothing(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest late, second;
    guest_wait(&r, &late, RSL_MS(10));
    guest_wait(&r, &second, RSL_SEC(1));
    r.clock.now += RSL_MS(20);
    give(&r, &lease);
    expect_served(&r, &second);
    assert_int_equal(guest_poll(&r, &late), RSL_ETIMEOUT);
    assert_true(stats_of(&r).timed_out == 1);
    give(&r, &second.lease);
    expect_free(&r);
    rig_end(&r);
}

static void when_all_waiters_are_expired_the_resource_becomes_idle(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest late[3];
    for (int i = 0; i < 3; i++) {
        guest_wait(&r, &late[i], RSL_MS(10));
    }
    r.clock.now += RSL_MS(20);
    give(&r, &lease);
    assert_int_equal(rsl_pool_try(r.pool, &lease), RSL_OK);
    give(&r, &lease);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(guest_poll(&r, &late[i]), RSL_ETIMEOUT);
    }
    assert_true(stats_of(&r).timed_out == 3);
    expect_free(&r);
    rig_end(&r);
}

/* ------------------------------------------------------------------- order */

/* Size 1, waiters queued 100 ms apart: served in order. */
static void waiters_that_came_100_ms_apart_are_served_in_order(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g[8];
    for (int i = 0; i < 8; i++) {
        guest_wait(&r, &g[i], RSL_SEC(50));
        r.clock.now += RSL_MS(100);
    }
    for (int i = 0; i < 8; i++) {
        give(&r, &lease);
        for (int j = 0; j < 8; j++) {
            assert_int_equal(g[j].woken > 0, j <= i);
        }
        expect_served(&r, &g[i]);
        lease = g[i].lease;
        r.clock.now += RSL_MS(1);
    }
    give(&r, &lease);
    expect_free(&r);
    rig_end(&r);
}

static void a_newcomer_does_not_overtake_who_waits(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r), none;
    guest g;
    guest_wait(&r, &g, RSL_SEC(50));
    give(&r, &lease);
    assert_int_equal(rsl_pool_try(r.pool, &none), RSL_EFULL);
    guest second;
    guest_wait(&r, &second, RSL_SEC(50));
    expect_served(&r, &g);
    give(&r, &g.lease);
    expect_served(&r, &second);
    give(&r, &second.lease);
    rig_end(&r);
}

static void a_higher_priority_goes_first_and_equals_keep_their_order(void **unused)
{
    (void)unused;
    static const int32_t priority[] = {0, -3, 5, 0, 5, INT32_MIN, INT32_MAX, -3};
    static const int order[] = {6, 2, 4, 0, 3, 1, 7, 5};
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g[8];
    for (int i = 0; i < 8; i++) {
        rsl_ctx ctx = within(&r, RSL_SEC(50));
        ctx.priority = priority[i];
        assert_int_equal(guest_begin(&r, &g[i], &ctx), RSL_WAIT);
    }
    for (int i = 0; i < 8; i++) {
        give(&r, &lease);
        expect_served(&r, &g[order[i]]);
        lease = g[order[i]].lease;
    }
    give(&r, &lease);
    expect_free(&r);
    rig_end(&r);
}

static void a_waiter_too_many_is_refused(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .waiters_max = 2};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r), none;
    guest g[3];
    guest_wait(&r, &g[0], RSL_SEC(1));
    guest_wait(&r, &g[1], RSL_SEC(1));
    assert_int_equal(guest_begin(&r, &g[2], NULL), RSL_EFULL);
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), RSL_EFULL);
    assert_int_equal(guest_poll(&r, &g[2]), RSL_EINVAL);
    assert_int_equal(stats_of(&r).waiting, 2);
    rsl_pool_abandon(r.pool, &g[0].waiter);
    guest_wait(&r, &g[2], RSL_SEC(1));
    rsl_pool_abandon(r.pool, &g[1].waiter);
    rsl_pool_abandon(r.pool, &g[2].waiter);
    give(&r, &lease);
    expect_free(&r);
    rig_end(&r);
}

static void expired_waiters_take_no_place_in_a_full_queue(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .waiters_max = 1};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r);
    guest late, next;
    guest_wait(&r, &late, RSL_MS(1));
    r.clock.now += RSL_MS(2);
    assert_int_equal(guest_poll(&r, &late), RSL_ETIMEOUT);
    guest_wait(&r, &next, RSL_SEC(1));
    give(&r, &lease);
    expect_served(&r, &next);
    give(&r, &next.lease);
    rig_end(&r);
}

/* Three acquirers that gave up on a full pool of 3: the next release serves the next acquirer. */
static void after_three_gave_up_the_next_release_serves_the_next(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(3));
    rsl_pool_lease leases[3];
    take_many(&r, leases, 3);
    guest gone[3], next;
    for (int i = 0; i < 3; i++) {
        guest_wait(&r, &gone[i], RSL_SEC(1));
    }
    for (int i = 0; i < 3; i++) {
        rsl_pool_abandon(r.pool, &gone[i].waiter);
    }
    guest_wait(&r, &next, RSL_SEC(1));
    give(&r, &leases[1]);
    expect_served(&r, &next);
    give(&r, &next.lease);
    give(&r, &leases[0]);
    give(&r, &leases[2]);
    expect_free(&r);
    rig_end(&r);
}

static void resuming_serves_waiters_in_order(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    warm(&r, 2);
    assert_int_equal(rsl_pool_pause(r.pool), RSL_OK);
    guest g[3];
    for (int i = 0; i < 3; i++) {
        guest_wait(&r, &g[i], RSL_SEC(50));
        expect_waiting(&r, &g[i]);
    }
    assert_int_equal(rsl_pool_resume(r.pool), RSL_OK);
    expect_served(&r, &g[0]);
    expect_served(&r, &g[1]);
    expect_waiting(&r, &g[2]);
    give(&r, &g[1].lease);
    expect_served(&r, &g[2]);
    give(&r, &g[0].lease);
    give(&r, &g[2].lease);
    expect_free(&r);
    rig_end(&r);
}

static void a_paused_pool_withholds_what_is_released_from_who_waits(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g;
    guest_wait(&r, &g, RSL_SEC(50));
    assert_int_equal(rsl_pool_pause(r.pool), RSL_OK);
    give(&r, &lease);
    expect_waiting(&r, &g);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.idle == 1 && stats.waiting == 1);
    assert_int_equal(rsl_pool_resume(r.pool), RSL_OK);
    expect_served(&r, &g);
    give(&r, &g.lease);
    rig_end(&r);
}

static void closing_wakes_who_waits_in_a_loop(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g[2];
    guest_wait(&r, &g[0], RSL_SEC(50));
    guest_wait(&r, &g[1], RSL_SEC(50));
    rsl_ctx ctx = within(&r, RSL_MS(1));
    assert_int_equal(rsl_pool_close(r.pool, &ctx), RSL_ETIMEOUT);
    for (int i = 0; i < 2; i++) {
        assert_true(g[i].woken > 0);
    }
    assert_int_equal(guest_poll(&r, &g[0]), RSL_ECLOSED);
    rsl_pool_abandon(r.pool, &g[1].waiter);
    give(&r, &lease);
    assert_int_equal(stats_of(&r).open, 0);
    rig_end(&r);
}

static void what_an_expired_or_closed_waiter_leaves_is_not_a_lease(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    guest g;
    guest_wait(&r, &g, RSL_MS(5));
    rsl_pool_lease untouched;
    memset(&untouched, 0x5A, sizeof(untouched));
    g.lease = untouched;
    r.clock.now += RSL_MS(5);
    assert_int_equal(guest_poll(&r, &g), RSL_ETIMEOUT);
    assert_memory_equal(&g.lease, &untouched, sizeof(untouched));
    give(&r, &lease);
    rig_end(&r);
}

static void a_sick_resource_is_not_handed_to_who_begins(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 2, .validate = factory_validate,
                              .validate_after = RSL_NONE};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r);
    thing_of(&lease)->sick = 1;
    give(&r, &lease);
    guest g;
    guest_wait(&r, &g, RSL_SEC(1));
    assert_true(stats_of(&r).invalid == 1);
    (void)rsl_pool_maintain(r.pool);
    expect_served(&r, &g);
    assert_int_equal(thing_of(&g.lease)->number, 2);
    give(&r, &g.lease);
    rig_end(&r);
}

static void what_is_handed_over_is_validated_when_that_is_never_skipped(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .validate = factory_validate,
                              .validate_after = RSL_NONE};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r);
    guest g;
    guest_wait(&r, &g, RSL_SEC(1));
    thing_of(&lease)->sick = 1;
    give(&r, &lease);
    (void)rsl_pool_maintain(r.pool);
    expect_served(&r, &g);
    assert_int_equal(thing_of(&g.lease)->number, 2);
    assert_true(stats_of(&r).invalid == 1);
    give(&r, &g.lease);
    rig_end(&r);
}

static void what_was_idle_through_a_pause_is_validated_when_resumed(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .validate = factory_validate};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r);
    thing_of(&lease)->sick = 1;
    give(&r, &lease);
    assert_int_equal(rsl_pool_pause(r.pool), RSL_OK);
    guest g;
    guest_wait(&r, &g, RSL_SEC(5));
    r.clock.now += RSL_SEC(1);
    assert_int_equal(rsl_pool_resume(r.pool), RSL_OK);
    (void)rsl_pool_maintain(r.pool);
    expect_served(&r, &g);
    assert_int_equal(thing_of(&g.lease)->number, 2);
    assert_true(stats_of(&r).invalid == 1);
    give(&r, &g.lease);
    rig_end(&r);
}

static void what_became_outdated_or_too_old_in_a_pause_is_not_handed_out(void **unused)
{
    (void)unused;
    for (int old = 0; old < 2; old++) {
        rig r;
        rsl_pool_config config = {.size_max = 1, .lifetime_max = RSL_SEC(10),
                                  .lifetime_jitter = RSL_NONE};
        rig_start(&r, config);
        warm(&r, 1);
        assert_int_equal(rsl_pool_pause(r.pool), RSL_OK);
        guest g;
        guest_wait(&r, &g, RSL_SEC(20));
        if (old == 1) {
            r.clock.now += RSL_SEC(10);
        } else {
            rsl_pool_invalidate_all(r.pool);
        }
        assert_int_equal(rsl_pool_resume(r.pool), RSL_OK);
        (void)rsl_pool_maintain(r.pool);
        expect_served(&r, &g);
        assert_int_equal(thing_of(&g.lease)->number, 2);
        give(&r, &g.lease);
        rig_end(&r);
    }
}

/* -------------------------------------------------------------------- failure */

static int maintain_until(rig *r, rsl_time until)
{
    int looks = 0;
    while (r->clock.now < until) {
        rsl_time next = rsl_pool_maintain(r->pool);
        assert_true(next > r->clock.now && looks < 10000);
        r->clock.now = next < until ? next : until;
        looks++;
    }
    return looks;
}

static void waiters_of_a_failed_creation_keep_waiting_and_a_retry_serves_them(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    r.factory.heals_at = START + RSL_MS(300);
    guest g[2];
    guest_wait(&r, &g[0], RSL_MS(2800));
    guest_wait(&r, &g[1], RSL_MS(2800));
    maintain_until(&r, START + RSL_MS(299));
    expect_waiting(&r, &g[0]);
    expect_waiting(&r, &g[1]);
    maintain_until(&r, START + RSL_MS(330));
    expect_served(&r, &g[0]);
    expect_served(&r, &g[1]);
    give(&r, &g[0].lease);
    give(&r, &g[1].lease);
    expect_free(&r);
    rig_end(&r);
}

static void following_maintain_tries_creation_at_its_times_and_not_in_between(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    atomic_store(&r.factory.fail_with, -5);
    guest g;
    guest_wait(&r, &g, RSL_SEC(60));
    int looks = maintain_until(&r, START + RSL_MS(700));
    static const int ms[] = {0, 10, 30, 70, 150, 310, 630};
    assert_int_equal(r.factory.tries, (int)RSL_COUNT(ms));
    for (size_t i = 0; i < RSL_COUNT(ms); i++) {
        assert_true(r.factory.tried_at[i] == START + RSL_MS(ms[i]));
    }
    assert_true(looks < 30);
    rsl_pool_abandon(r.pool, &g.waiter);
    rig_end(&r);
}

static void maintaining_early_does_not_try_early(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    atomic_store(&r.factory.fail_with, -5);
    guest g;
    guest_wait(&r, &g, RSL_SEC(60));
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(r.factory.tries, 1);
    for (int i = 0; i < 9; i++) {
        r.clock.now += RSL_MS(1);
        assert_true(rsl_pool_maintain(r.pool) == START + RSL_MS(10));
    }
    assert_int_equal(r.factory.tries, 1);
    r.clock.now = START + RSL_MS(10);
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(r.factory.tries, 2);
    rsl_pool_abandon(r.pool, &g.waiter);
    rig_end(&r);
}

/* Time passes by being looked at, as it does in life: it is later at each reading. */
static rsl_time ticking_now(void *user)
{
    virtual_clock *clock = user;
    return clock->now++;
}

static void rig_start_ticking(rig *r, rsl_pool_config config, bool by_tickets)
{
    rig_clear(r);
    config = rig_config(r, config);
    config.acquire_timeout = RSL_FOREVER;
    config.clock.now = ticking_now;
    if (by_tickets) {
        config.create = NULL;
    }
    rig_open(r, &config);
}

/* The retry falls due after the look that came too early for it, and before maintain says when to
   look again: whichever reading of the clock it falls between. */
static void a_retry_that_falls_due_while_a_loop_looks_is_not_forgotten(void **unused)
{
    (void)unused;
    rig r;
    rig_start_ticking(&r, sized(1), true);
    guest g;
    guest_wait(&r, &g, RSL_SEC(10000));
    rsl_creation ticket;
    int early = 0;
    for (int before = 0; before < 40; before++) {
        assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_OK);
        assert_int_equal(rsl_pool_supply(r.pool, &ticket, 9, NULL), RSL_OK);
        rsl_time due = rsl_pool_maintain(r.pool);
        assert_true(due > r.clock.now && due < RSL_FOREVER);
        r.clock.now = due - before;
        if (rsl_pool_wanted(r.pool, &ticket) == RSL_OK) {
            assert_int_equal(rsl_pool_supply(r.pool, &ticket, 9, NULL), RSL_OK);
        } else {
            rsl_time next = rsl_pool_maintain(r.pool);
            assert_true(next <= due || next <= r.clock.now);
            early++;
        }
        r.clock.now += RSL_SEC(10);
    }
    assert_in_range(early, 30, 39);
    supply_one(&r);
    expect_served(&r, &g);
    give(&r, &g.lease);
    rig_end(&r);
}

static void a_retry_that_falls_due_within_maintain_is_not_forgotten(void **unused)
{
    (void)unused;
    rig r;
    rig_start_ticking(&r, sized(1), false);
    atomic_store(&r.factory.fail_with, -5);
    guest g;
    guest_wait(&r, &g, RSL_SEC(10000));
    int early = 0;
    for (int before = 0; before < 40; before++) {
        r.clock.now += RSL_SEC(10);
        rsl_time due = rsl_pool_maintain(r.pool);
        assert_true(due > r.clock.now && due < RSL_FOREVER);
        int tries = atomic_load(&r.factory.failed);
        r.clock.now = due - before;
        rsl_time next = rsl_pool_maintain(r.pool);
        if (atomic_load(&r.factory.failed) == tries) {
            assert_true(next <= due || next <= r.clock.now);
            early++;
        }
    }
    assert_in_range(early, 20, 39);
    atomic_store(&r.factory.fail_with, 0);
    r.clock.now += RSL_SEC(10);
    (void)rsl_pool_maintain(r.pool);
    expect_served(&r, &g);
    give(&r, &g.lease);
    rig_end(&r);
}

static void maintain_that_closes_one_of_too_few_asks_to_be_called_again(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_min = 1, .size_max = 2, .lifetime_max = RSL_SEC(10),
                              .lifetime_jitter = RSL_NONE};
    rig_start_by_tickets(&r, config);
    supply_one(&r);
    rsl_creation ticket;
    r.clock.now += RSL_SEC(10);
    assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_WAIT);
    assert_true(rsl_pool_maintain(r.pool) == r.clock.now);
    supply_one(&r);
    assert_true(rsl_pool_maintain(r.pool) > r.clock.now);
    rig_end(&r);
}

/* Size 2, the creator is blocked until six queue, then fails: six errors, nobody asleep. */
static void six_who_queued_for_a_creation_that_fails_get_six_errors(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 2, .acquire_timeout = RSL_MS(200)};
    rig_start_by_tickets(&r, config);
    guest g[6];
    rsl_creation ticket;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(guest_begin(&r, &g[i], NULL), RSL_WAIT);
        if (i == 0) {
            assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_OK);
        }
    }
    assert_int_equal(rsl_pool_supply(r.pool, &ticket, -77, NULL), RSL_OK);
    r.clock.now += RSL_MS(200);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(guest_poll(&r, &g[i]), -77);
        assert_int_equal(guest_poll(&r, &g[i]), RSL_EINVAL);
    }
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.timed_out == 6 && stats.create_failed == 1 && stats.waiting == 0);
    rig_end(&r);
}

static void who_came_after_the_failure_just_times_out(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 2, .acquire_timeout = RSL_MS(200),
                              .create_backoff = RSL_SEC(1)};
    rig_start_by_tickets(&r, config);
    guest before, after;
    rsl_creation ticket;
    assert_int_equal(guest_begin(&r, &before, NULL), RSL_WAIT);
    assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_OK);
    assert_int_equal(rsl_pool_supply(r.pool, &ticket, -77, NULL), RSL_OK);
    r.clock.now += RSL_MS(1);
    assert_int_equal(guest_begin(&r, &after, NULL), RSL_WAIT);
    r.clock.now += RSL_MS(200);
    assert_int_equal(guest_poll(&r, &before), -77);
    assert_int_equal(guest_poll(&r, &after), RSL_ETIMEOUT);
    rig_end(&r);
}

/* -------------------------------------------------------------------- tickets */

static void a_ticket_is_there_for_each_waiter_without_a_creation(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 3, .creating_max = 8};
    rig_start_by_tickets(&r, config);
    rsl_creation tickets[4];
    assert_int_equal(rsl_pool_wanted(r.pool, &tickets[0]), RSL_WAIT);
    guest g[5];
    guest_wait(&r, &g[0], RSL_SEC(1));
    assert_int_equal(rsl_pool_wanted(r.pool, &tickets[0]), RSL_OK);
    assert_int_equal(rsl_pool_wanted(r.pool, &tickets[1]), RSL_WAIT);
    for (int i = 1; i < 5; i++) {
        guest_wait(&r, &g[i], RSL_SEC(1));
    }
    assert_int_equal(rsl_pool_wanted(r.pool, &tickets[1]), RSL_OK);
    assert_int_equal(rsl_pool_wanted(r.pool, &tickets[2]), RSL_OK);
    assert_int_equal(rsl_pool_wanted(r.pool, &tickets[3]), RSL_WAIT);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.creating == 3 && stats.waiting == 5 && stats.open == 0);
    for (int i = 0; i < 3; i++) {
        thing *made = thing_new(&r.factory);
        assert_int_equal(rsl_pool_supply(r.pool, &tickets[2 - i], 0, made), RSL_OK);
        expect_served(&r, &g[i]);
        assert_ptr_equal(g[i].lease.resource, made);
    }
    assert_int_equal(stats_of(&r).creating, 0);
    for (int i = 0; i < 2; i++) {
        give(&r, &g[i].lease);
        expect_served(&r, &g[i + 3]);
    }
    for (int i = 2; i < 5; i++) {
        give(&r, &g[i].lease);
    }
    expect_free(&r);
    rig_end(&r);
}

static void no_more_tickets_are_out_than_creating_max(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 8, .creating_max = 2};
    rig_start_by_tickets(&r, config);
    guest g[4];
    for (int i = 0; i < 4; i++) {
        guest_wait(&r, &g[i], RSL_SEC(1));
    }
    rsl_creation first, second, third;
    assert_int_equal(rsl_pool_wanted(r.pool, &first), RSL_OK);
    assert_int_equal(rsl_pool_wanted(r.pool, &second), RSL_OK);
    assert_int_equal(rsl_pool_wanted(r.pool, &third), RSL_WAIT);
    thing *made = thing_new(&r.factory);
    assert_int_equal(rsl_pool_supply(r.pool, &first, 0, made), RSL_OK);
    expect_served(&r, &g[0]);
    assert_int_equal(rsl_pool_wanted(r.pool, &third), RSL_OK);
    assert_int_equal(rsl_pool_supply(r.pool, &second, -1, NULL), RSL_OK);
    assert_int_equal(rsl_pool_supply(r.pool, &third, -1, NULL), RSL_OK);
    for (int i = 1; i < 4; i++) {
        rsl_pool_abandon(r.pool, &g[i].waiter);
    }
    give(&r, &g[0].lease);
    expect_free(&r);
    rig_end(&r);
}

static void tickets_fill_the_pool_up_to_its_least_size(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 4, .size_min = 2};
    rig_start_by_tickets(&r, config);
    supply_one(&r);
    supply_one(&r);
    rsl_creation ticket;
    assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_WAIT);
    assert_int_equal(stats_of(&r).idle, 2);
    assert_true(stats_of(&r).created == 2);
    rig_end(&r);
}

static void a_ticket_is_good_for_one_supply(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 4, .size_min = 2};
    rig_start_by_tickets(&r, config);
    rsl_creation ticket, copy, zeroed;
    assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_OK);
    copy = ticket;
    thing *made = thing_new(&r.factory), *spare = thing_new(&r.factory);
    assert_int_equal(rsl_pool_supply(r.pool, &ticket, 0, made), RSL_OK);
    assert_int_equal(rsl_pool_supply(r.pool, &ticket, 0, spare), RSL_EINVAL);
    assert_int_equal(rsl_pool_supply(r.pool, &copy, 0, spare), RSL_EINVAL);
    assert_int_equal(rsl_pool_supply(r.pool, &copy, -1, NULL), RSL_EINVAL);
    memset(&zeroed, 0, sizeof(zeroed));
    assert_int_equal(rsl_pool_supply(r.pool, &zeroed, 0, spare), RSL_EINVAL);
    memset(&zeroed, 0xA5, sizeof(zeroed));
    assert_int_equal(rsl_pool_supply(r.pool, &zeroed, 0, spare), RSL_EINVAL);
    factory_destroy(&r.factory, spare);
    assert_true(stats_of(&r).created == 1 && stats_of(&r).create_failed == 0);
    rig_end(&r);
}

static void null_gets_no_ticket(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 4, .size_min = 2};
    rig_start_by_tickets(&r, config);
    rsl_creation ticket;
    assert_int_equal(rsl_pool_wanted(NULL, &ticket), RSL_EINVAL);
    assert_int_equal(rsl_pool_wanted(r.pool, NULL), RSL_EINVAL);
    assert_int_equal(stats_of(&r).creating, 0);
    assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_OK);
    assert_int_equal(rsl_pool_supply(NULL, &ticket, -1, NULL), RSL_EINVAL);
    assert_int_equal(rsl_pool_supply(r.pool, NULL, -1, NULL), RSL_EINVAL);
    assert_int_equal(stats_of(&r).creating, 1);
    assert_int_equal(rsl_pool_supply(r.pool, &ticket, -1, NULL), RSL_OK);
    rig_end(&r);
}

static void after_a_failed_supply_no_ticket_is_there_before_its_time(void **unused)
{
    (void)unused;
    rig r;
    rig_start_by_tickets(&r, sized(2));
    guest g;
    guest_wait(&r, &g, RSL_SEC(50));
    rsl_creation ticket;
    rsl_time wait = RSL_MS(10);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_OK);
        assert_int_equal(rsl_pool_supply(r.pool, &ticket, 9, NULL), RSL_OK);
        assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_WAIT);
        rsl_time next = rsl_pool_maintain(r.pool);
        assert_true(next == r.clock.now + wait);
        const rsl_event *event = event_recorder_last(&r.events, RSL_POOL_CREATE_FAILED);
        assert_true(event->status == 9 && event->value == wait);
        r.clock.now = next - 1;
        assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_WAIT);
        r.clock.now = next;
        wait *= 2;
    }
    supply_one(&r);
    expect_served(&r, &g);
    give(&r, &g.lease);
    rig_end(&r);
}

static void a_waiter_that_is_woken_and_not_served_asks_for_a_creation(void **unused)
{
    (void)unused;
    rig r;
    rig_start_by_tickets(&r, sized(1));
    rsl_pool_lease lease;
    guest g[2];
    guest_wait(&r, &g[0], RSL_SEC(50));
    supply_one(&r);
    expect_served(&r, &g[0]);
    lease = g[0].lease;
    guest_wait(&r, &g[1], RSL_SEC(50));
    g[1].woken = 0;
    scrap(&r, &lease);
    assert_true(g[1].woken > 0);
    expect_waiting(&r, &g[1]);
    supply_one(&r);
    expect_served(&r, &g[1]);
    give(&r, &g[1].lease);
    expect_free(&r);
    rig_end(&r);
}

static void a_supply_that_nobody_waits_for_any_more_is_idle(void **unused)
{
    (void)unused;
    rig r;
    rig_start_by_tickets(&r, sized(2));
    guest g;
    guest_wait(&r, &g, RSL_SEC(50));
    rsl_creation ticket;
    assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_OK);
    rsl_pool_abandon(r.pool, &g.waiter);
    assert_int_equal(rsl_pool_supply(r.pool, &ticket, 0, thing_new(&r.factory)), RSL_OK);
    assert_int_equal(stats_of(&r).idle, 1);
    rig_end(&r);
}

static void a_supply_after_the_pool_shrank_is_destroyed(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 3, .size_min = 3, .creating_max = 3};
    rig_start_by_tickets(&r, config);
    rsl_creation tickets[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rsl_pool_wanted(r.pool, &tickets[i]), RSL_OK);
    }
    assert_int_equal(rsl_pool_resize(r.pool, 0, 1), RSL_OK);
    for (int i = 0; i < 3; i++) {
        thing *made = thing_new(&r.factory);
        assert_int_equal(rsl_pool_supply(r.pool, &tickets[i], 0, made), RSL_OK);
        assert_true(stats_of(&r).open <= 1);
    }
    assert_int_equal(stats_of(&r).open, 1);
    rig_end(&r);
}

static void a_supply_after_closing_is_destroyed(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 3, .size_min = 2, .creating_max = 2};
    rig_start_by_tickets(&r, config);
    rsl_creation tickets[2];
    assert_int_equal(rsl_pool_wanted(r.pool, &tickets[0]), RSL_OK);
    assert_int_equal(rsl_pool_wanted(r.pool, &tickets[1]), RSL_OK);
    rsl_ctx ctx = within(&r, RSL_MS(1));
    assert_int_equal(rsl_pool_close(r.pool, &ctx), RSL_ETIMEOUT);
    thing *made = thing_new(&r.factory);
    assert_int_equal(rsl_pool_supply(r.pool, &tickets[0], 0, made), RSL_ECLOSED);
    assert_int_equal(factory_live(&r.factory), 0);
    ctx = within(&r, RSL_MS(1));
    assert_int_equal(rsl_pool_close(r.pool, &ctx), RSL_ETIMEOUT);
    (void)rsl_pool_supply(r.pool, &tickets[1], -1, NULL);
    rig_end(&r);
}

static void a_stalled_ticket_keeps_nobody_from_a_release(void **unused)
{
    (void)unused;
    rig r;
    rig_start_by_tickets(&r, sized(3));
    guest first, second, third;
    guest_wait(&r, &first, RSL_SEC(50));
    supply_one(&r);
    expect_served(&r, &first);
    guest_wait(&r, &second, RSL_SEC(50));
    rsl_creation stalled;
    assert_int_equal(rsl_pool_wanted(r.pool, &stalled), RSL_OK);
    give(&r, &first.lease);
    expect_served(&r, &second);
    guest_wait(&r, &third, RSL_SEC(1));
    (void)rsl_pool_maintain(r.pool);
    r.clock.now += RSL_SEC(1);
    assert_int_equal(guest_poll(&r, &third), RSL_ETIMEOUT);
    give(&r, &second.lease);
    assert_int_equal(rsl_pool_supply(r.pool, &stalled, 0, thing_new(&r.factory)), RSL_OK);
    assert_int_equal(stats_of(&r).idle, 2);
    rig_end(&r);
}

static void a_creation_that_hangs_holds_up_one_second_and_no_more(void **unused)
{
    (void)unused;
    rig r;
    rig_start_by_tickets(&r, sized(5));
    guest guests[3];
    for (size_t i = 0; i < RSL_COUNT(guests); i++) {
        guest_wait(&r, &guests[i], RSL_SEC(50));
    }
    rsl_creation hangs, second, third;
    assert_int_equal(rsl_pool_wanted(r.pool, &hangs), RSL_OK);
    r.clock.now += RSL_SEC(1) - 1;
    assert_int_equal(rsl_pool_wanted(r.pool, &second), RSL_WAIT);
    assert_true(rsl_pool_maintain(r.pool) == r.clock.now + 1);
    r.clock.now += 1;
    assert_int_equal(rsl_pool_wanted(r.pool, &second), RSL_OK);
    r.clock.now += RSL_SEC(5);
    assert_int_equal(rsl_pool_wanted(r.pool, &third), RSL_WAIT); /* one more, not one a second */
    assert_int_equal(rsl_pool_supply(r.pool, &second, 0, thing_new(&r.factory)), RSL_OK);
    expect_served(&r, &guests[0]);
    assert_int_equal(rsl_pool_wanted(r.pool, &second), RSL_OK);
    assert_int_equal(rsl_pool_supply(r.pool, &second, 0, thing_new(&r.factory)), RSL_OK);
    expect_served(&r, &guests[1]);
    assert_int_equal(rsl_pool_supply(r.pool, &hangs, 0, thing_new(&r.factory)), RSL_OK);
    expect_served(&r, &guests[2]);
    for (size_t i = 0; i < RSL_COUNT(guests); i++) {
        give(&r, &guests[i].lease);
    }
    rig_end(&r);
}

/* ---------------------------------------------------------------------- layer */

/* A call that plays a list of results, the last one for ever, and notes what it had. */
typedef struct call {
    rig            *r;
    rsl_pool_lease *lease;
    int             results[4];
    int             count, calls;
    int             things[8];  /* the number of the thing of each call */
    int             by_itself;  /* 'r': releases, 'd': discards, within the call */
    uint32_t        in_use;     /* during the latest call */
} call;

static int call_it(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    call *c = arg;
    int i = c->calls < c->count ? c->calls : c->count - 1;
    assert_true(c->lease->generation != 0);
    assert_ptr_equal(c->lease->pool, c->r->pool);
    if (c->calls < 8) {
        c->things[c->calls] = thing_of(c->lease)->number;
    }
    c->calls++;
    c->in_use = stats_of(c->r).in_use;
    if (c->by_itself == 'r') {
        give(c->r, c->lease);
    } else if (c->by_itself == 'd') {
        scrap(c->r, c->lease);
    }
    errno = 43;
    return c->results[i];
}

static int run_layer(rig *r, call *c, const rsl_ctx *ctx)
{
    rsl_pool_lease lease;
    memset(&lease, 0, sizeof(lease));
    rsl_layer policy[] = {rsl_pool_layer(r->pool, &lease)};
    c->r = r;
    c->lease = &lease;
    if (c->count == 0) {
        c->count = 1;
    }
    int rc = rsl_run(policy, RSL_COUNT(policy), ctx, call_it, c);
    int saved = errno;
    expect_spent(&lease);
    errno = saved;
    return rc;
}

static void the_layer_says_what_it_is(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease;
    memset(&lease, 0, sizeof(lease));
    rsl_layer layer = rsl_pool_layer(r.pool, &lease);
    assert_non_null(layer.type);
    assert_string_equal(layer.type->kind, "pool");
    assert_true(layer.type->enter && layer.type->leave && layer.type->abandon);
    rig_end(&r);
}

static void a_layer_leases_on_the_way_in_and_releases_on_the_way_out(void **unused)
{
    (void)unused;
    static const int results[] = {0, 1, -1, INT_MIN, INT_MAX, RSL_EFULL, RSL_EOPEN, RSL_EINVAL};
    rig r;
    rig_start(&r, sized(1));
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        call c = {.results = {results[i]}};
        assert_int_equal(run_layer(&r, &c, NULL), results[i]);
        assert_int_equal(errno, 43);
        assert_int_equal(c.calls, 1);
        assert_int_equal(c.in_use, 1);
        assert_int_equal(c.things[0], 1);
        assert_int_equal(stats_of(&r).idle, 1);
    }
    rig_end(&r);
}

static void a_call_that_was_stopped_half_way_leaves_a_broken_resource(void **unused)
{
    (void)unused;
    static const int results[] = {RSL_ETIMEOUT, RSL_ECANCELED};
    rig r;
    rig_start(&r, sized(1));
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        call c = {.results = {results[i]}};
        assert_int_equal(run_layer(&r, &c, NULL), results[i]);
        rsl_pool_stats stats = stats_of(&r);
        assert_true(stats.open == 0 && stats.closed_broken == i + 1);
    }
    rig_end(&r);
}

static bool is_seven(int result, void *user)
{
    assert_non_null(user);
    return result == 7;
}

static void a_callback_says_which_results_break_a_resource(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .is_broken = is_seven};
    rig_start(&r, config);
    call c = {.results = {RSL_ETIMEOUT}};
    assert_int_equal(run_layer(&r, &c, NULL), RSL_ETIMEOUT);
    assert_int_equal(stats_of(&r).idle, 1);
    call d = {.results = {7}};
    assert_int_equal(run_layer(&r, &d, NULL), 7);
    assert_int_equal(stats_of(&r).open, 0);
    rig_end(&r);
}

static void a_call_may_give_its_lease_back_by_itself(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    call c = {.results = {0}, .by_itself = 'r'};
    assert_int_equal(run_layer(&r, &c, NULL), 0);
    assert_int_equal(stats_of(&r).idle, 1);
    call d = {.results = {RSL_ETIMEOUT}, .by_itself = 'r'};
    assert_int_equal(run_layer(&r, &d, NULL), RSL_ETIMEOUT);
    assert_int_equal(stats_of(&r).idle, 1);
    call e = {.results = {5}, .by_itself = 'd'};
    assert_int_equal(run_layer(&r, &e, NULL), 5);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.open == 0 && stats.destroyed == 1);
    rig_end(&r);
}

static void a_retry_outside_gets_a_fresh_lease_for_each_attempt(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_retry retry;
    rsl_retry_config config = {.attempts_max = 5, .clock = virtual_clock_as(&r.clock)};
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    rsl_pool_lease lease;
    memset(&lease, 0, sizeof(lease));
    rsl_layer policy[] = {rsl_retry_layer(&retry), rsl_pool_layer(r.pool, &lease)};
    call c = {.r = &r, .lease = &lease, .results = {RSL_ETIMEOUT, 3, RSL_ECANCELED, 0},
              .count = 4};
    rsl_clock clock = virtual_clock_as(&r.clock);
    rsl_ctx ctx = {.clock = &clock};
    assert_int_equal(rsl_run(policy, 2, &ctx, call_it, &c), 0);
    assert_int_equal(c.calls, 4);
    assert_int_equal(c.things[0], 1);
    assert_int_equal(c.things[1], 2);
    assert_int_equal(c.things[2], 2);
    assert_int_equal(c.things[3], 3);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.idle == 1 && stats.closed_broken == 2 && stats.acquired == 4);
    rsl_retry_deinit(&retry);
    rig_end(&r);
}

static void a_refusal_of_the_layer_is_that_of_acquire_and_names_it(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .waiters_max = 1, .acquire_timeout = RSL_SEC(5)};
    rig_start(&r, config);
    rsl_pool_lease held = take(&r);
    rsl_clock clock = virtual_clock_as(&r.clock);
    rsl_ctx ctx = {.clock = &clock};
    rsl_pool_lease lease;
    memset(&lease, 0, sizeof(lease));
    rsl_layer policy[] = {rsl_pool_layer(r.pool, &lease)};
    rsl_execution e;
    assert_int_equal(rsl_execution_begin(&e, policy, 1, &ctx), RSL_OK);
    assert_false(rsl_execution_next(&e));
    assert_int_equal(e.result, RSL_ETIMEOUT);
    assert_true(e.refused);
    assert_string_equal(rsl_execution_refuser(&e), "pool");
    assert_true(r.clock.now == START + RSL_SEC(5));
    guest g;
    guest_wait(&r, &g, RSL_SEC(1));
    assert_int_equal(rsl_execution_begin(&e, policy, 1, &ctx), RSL_OK);
    assert_false(rsl_execution_next(&e));
    assert_int_equal(e.result, RSL_EFULL);
    rsl_pool_abandon(r.pool, &g.waiter);
    give(&r, &held);
    expect_free(&r);
    rig_end(&r);
}

static void a_layer_without_a_pool_or_lease_refuses(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease;
    memset(&lease, 0, sizeof(lease));
    call c = {.r = &r, .lease = &lease, .count = 1};
    rsl_layer no_pool[] = {rsl_pool_layer(NULL, &lease)};
    assert_int_equal(rsl_run(no_pool, 1, NULL, call_it, &c), RSL_EINVAL);
    rsl_layer no_lease[] = {rsl_pool_layer(r.pool, NULL)};
    assert_int_equal(rsl_run(no_lease, 1, NULL, call_it, &c), RSL_EINVAL);
    rsl_layer nothing[] = {rsl_pool_layer(NULL, NULL)};
    assert_int_equal(rsl_run(nothing, 1, NULL, call_it, &c), RSL_EINVAL);
    assert_int_equal(c.calls, 0);
    assert_int_equal(stats_of(&r).open, 0);
    rig_end(&r);
}

static void the_layer_of_a_closed_pool_refuses(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease held = take(&r);
    rsl_ctx ctx = within(&r, RSL_MS(1));
    assert_int_equal(rsl_pool_close(r.pool, &ctx), RSL_ETIMEOUT);
    call c = {.results = {0}};
    assert_int_equal(run_layer(&r, &c, NULL), RSL_ECLOSED);
    assert_int_equal(c.calls, 0);
    give(&r, &held);
    rig_end(&r);
}

static void a_blocked_execution_is_served_by_a_release(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease held = take(&r);
    rig_lease first = {&r, &held};
    timeline_add(&r.line, START + RSL_MS(60), release_then, &first);
    rsl_clock clock = virtual_clock_as(&r.clock);
    rsl_ctx ctx = within(&r, RSL_SEC(1));
    ctx.clock = &clock;
    call c = {.results = {9}};
    assert_int_equal(run_layer(&r, &c, &ctx), 9);
    assert_true(r.clock.now == START + RSL_MS(60));
    expect_free(&r);
    rig_end(&r);
}

static void a_cancelled_execution_leaves_the_queue(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease held = take(&r);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    timeline_add(&r.line, START + RSL_MS(60), fire_then, &cancel);
    rsl_clock clock = virtual_clock_as(&r.clock);
    rsl_ctx ctx = within(&r, RSL_SEC(1));
    ctx.clock = &clock;
    ctx.cancel = &cancel;
    call c = {.results = {9}};
    assert_int_equal(run_layer(&r, &c, &ctx), RSL_ECANCELED);
    assert_int_equal(c.calls, 0);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.waiting == 0 && stats.timed_out == 0);
    give(&r, &held);
    expect_free(&r);
    rsl_cancel_deinit(&cancel);
    rig_end(&r);
}

static void the_deadline_of_an_execution_is_counted_as_a_timeout_of_the_pool(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease held = take(&r);
    rsl_clock clock = virtual_clock_as(&r.clock);
    rsl_ctx ctx = within(&r, RSL_SEC(1));
    ctx.clock = &clock;
    call c = {.results = {9}};
    assert_int_equal(run_layer(&r, &c, &ctx), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_SEC(1));
    assert_true(stats_of(&r).timed_out == 1);
    give(&r, &held);
    expect_free(&r);
    rig_end(&r);
}

static void a_blocked_execution_creates_by_itself_and_retries(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    r.factory.heals_at = START + RSL_MS(300);
    rsl_clock clock = virtual_clock_as(&r.clock);
    rsl_ctx ctx = within(&r, RSL_MS(2800));
    ctx.clock = &clock;
    call c = {.results = {9}};
    assert_int_equal(run_layer(&r, &c, &ctx), 9);
    assert_in_range(r.clock.now - START, RSL_MS(300), RSL_MS(700));
    expect_free(&r);
    rig_end(&r);
}

static void the_loop_form_leases_for_each_call(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease;
    memset(&lease, 0, sizeof(lease));
    rsl_layer policy[] = {rsl_pool_layer(r.pool, &lease)};
    rsl_execution e;
    int calls = 0;
    assert_int_equal(rsl_execution_begin(&e, policy, 1, NULL), RSL_OK);
    while (rsl_execution_next(&e)) {
        assert_int_equal(thing_of(&lease)->number, 1);
        calls++;
        rsl_execution_done(&e, 17);
    }
    assert_int_equal(e.result, 17);
    assert_int_equal(calls, 1);
    assert_int_equal(stats_of(&r).idle, 1);
    rig_end(&r);
}

/* An execution that is stepped, with its post box. */
typedef struct stepped {
    rsl_execution  e;
    rsl_pool_lease lease;
    rsl_layer      policy[1];
    int            woken;
} stepped;

static void stepped_wake(void *user)
{
    stepped *s = user;
    s->woken++;
}

static void stepped_begin(rig *r, stepped *s, const rsl_ctx *ctx)
{
    memset(s, 0, sizeof(*s));
    s->policy[0] = rsl_pool_layer(r->pool, &s->lease);
    assert_int_equal(rsl_execution_begin(&s->e, s->policy, 1, ctx), RSL_OK);
    rsl_execution_wake_by(&s->e, stepped_wake, s);
}

static void stepped_executions_wait_in_turn_and_are_woken(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease held = take(&r);
    stepped s[3];
    for (int i = 0; i < 3; i++) {
        stepped_begin(&r, &s[i], NULL);
        assert_int_equal(rsl_execution_step(&s[i].e, r.clock.now), RSL_WAIT);
    }
    give(&r, &held);
    for (int i = 0; i < 3; i++) {
        assert_true(s[i].woken > 0);
        assert_int_equal(rsl_execution_step(&s[i].e, r.clock.now), RSL_RUN);
        assert_int_equal(thing_of(&s[i].lease)->number, 1);
        for (int j = i + 1; j < 3; j++) {
            assert_int_equal(rsl_execution_step(&s[j].e, r.clock.now), RSL_WAIT);
        }
        assert_int_equal(rsl_execution_report(&s[i].e, r.clock.now, i), RSL_OK);
        assert_int_equal(rsl_execution_step(&s[i].e, r.clock.now), RSL_DONE);
        assert_int_equal(s[i].e.result, i);
    }
    expect_free(&r);
    rig_end(&r);
}

static void a_stepped_execution_times_out_in_its_own_time(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease held = take(&r);
    rsl_ctx ctx = within(&r, RSL_MS(50));
    stepped s;
    stepped_begin(&r, &s, &ctx);
    assert_int_equal(rsl_execution_step(&s.e, START), RSL_WAIT);
    assert_true(s.e.wake_at <= START + RSL_MS(50));
    assert_int_equal(rsl_execution_step(&s.e, START + RSL_MS(49)), RSL_WAIT);
    assert_int_equal(rsl_execution_step(&s.e, START + RSL_MS(50)), RSL_DONE);
    assert_int_equal(s.e.result, RSL_ETIMEOUT);
    assert_true(s.e.refused);
    assert_int_equal(stats_of(&r).waiting, 0);
    give(&r, &held);
    expect_free(&r);
    rig_end(&r);
}

static void a_waiting_execution_that_is_abandoned_leaves_the_queue(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease held = take(&r);
    stepped s[2];
    for (int i = 0; i < 2; i++) {
        stepped_begin(&r, &s[i], NULL);
        assert_int_equal(rsl_execution_step(&s[i].e, r.clock.now), RSL_WAIT);
    }
    give(&r, &held);
    rsl_execution_abandon(&s[0].e, r.clock.now);
    assert_int_equal(rsl_execution_step(&s[1].e, r.clock.now), RSL_RUN);
    assert_int_equal(rsl_execution_report(&s[1].e, r.clock.now, 0), RSL_OK);
    assert_int_equal(rsl_execution_step(&s[1].e, r.clock.now), RSL_DONE);
    expect_free(&r);
    assert_int_equal(stats_of(&r).idle, 1);
    rig_end(&r);
}

static void a_call_that_is_abandoned_loses_its_resource(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    warm(&r, 1);
    stepped s;
    stepped_begin(&r, &s, NULL);
    assert_int_equal(rsl_execution_step(&s.e, r.clock.now), RSL_RUN);
    rsl_execution_abandon(&s.e, r.clock.now);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.open == 0 && stats.closed_broken == 1);
    rig_end(&r);
}

static void a_call_that_is_stopped_loses_its_resource(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    warm(&r, 1);
    rsl_ctx ctx = within(&r, RSL_MS(50));
    stepped s;
    stepped_begin(&r, &s, &ctx);
    assert_int_equal(rsl_execution_step(&s.e, START), RSL_RUN);
    assert_int_equal(rsl_execution_step(&s.e, START + RSL_MS(50)), RSL_STOP);
    assert_int_equal(rsl_execution_report(&s.e, START + RSL_MS(51), RSL_ETIMEOUT), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.e, START + RSL_MS(51)), RSL_DONE);
    assert_int_equal(stats_of(&r).open, 0);
    rig_end(&r);
}

static void a_stepped_execution_waits_for_tickets(void **unused)
{
    (void)unused;
    rig r;
    rig_start_by_tickets(&r, sized(2));
    stepped s;
    stepped_begin(&r, &s, NULL);
    assert_int_equal(rsl_execution_step(&s.e, r.clock.now), RSL_WAIT);
    supply_one(&r);
    assert_true(s.woken > 0);
    assert_int_equal(rsl_execution_step(&s.e, r.clock.now), RSL_RUN);
    assert_int_equal(rsl_execution_report(&s.e, r.clock.now, 0), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.e, r.clock.now), RSL_DONE);
    assert_int_equal(stats_of(&r).idle, 1);
    rig_end(&r);
}

static void priorities_of_executions_order_the_queue(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease held = take(&r);
    stepped low, high;
    rsl_ctx ctx = {.priority = 1};
    stepped_begin(&r, &low, NULL);
    stepped_begin(&r, &high, &ctx);
    assert_int_equal(rsl_execution_step(&low.e, r.clock.now), RSL_WAIT);
    assert_int_equal(rsl_execution_step(&high.e, r.clock.now), RSL_WAIT);
    give(&r, &held);
    assert_int_equal(rsl_execution_step(&low.e, r.clock.now), RSL_WAIT);
    assert_int_equal(rsl_execution_step(&high.e, r.clock.now), RSL_RUN);
    rsl_execution_abandon(&low.e, r.clock.now);
    assert_int_equal(rsl_execution_report(&high.e, r.clock.now, 0), RSL_OK);
    assert_int_equal(rsl_execution_step(&high.e, r.clock.now), RSL_DONE);
    expect_free(&r);
    rig_end(&r);
}

static void a_breaker_counts_calls_and_not_the_refusals_of_a_pool(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_NONE};
    rig_start_by_tickets(&r, config);
    rsl_breaker breaker;
    rsl_breaker_config touchy = {.failures_max = 1, .clock = virtual_clock_as(&r.clock)};
    assert_int_equal(rsl_breaker_init(&breaker, &touchy), RSL_OK);
    rsl_pool_lease lease;
    memset(&lease, 0, sizeof(lease));
    rsl_layer policy[] = {rsl_breaker_layer(&breaker), rsl_pool_layer(r.pool, &lease)};
    rsl_clock clock = virtual_clock_as(&r.clock);
    rsl_ctx ctx = {.clock = &clock};
    call c = {.r = &r, .lease = &lease, .count = 1};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rsl_run(policy, 2, &ctx, call_it, &c), RSL_ETIMEOUT);
    }
    assert_int_equal(c.calls, 0);
    assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_CLOSED);
    rsl_breaker_deinit(&breaker);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beginning_leases_an_idle_resource_at_once),
        cmocka_unit_test(who_begins_on_a_full_pool_is_woken_by_the_next_release),
        cmocka_unit_test(beginning_and_polling_never_create),
        cmocka_unit_test(maintaining_creates_no_more_than_there_are_waiters),
        cmocka_unit_test(a_blocking_acquire_creates_though_one_in_a_loop_came_first),
        cmocka_unit_test(misused_waiters_are_refused),
        cmocka_unit_test(a_waiter_can_be_used_again_and_again),
        cmocka_unit_test(polling_past_the_deadline_ends_the_wait),
        cmocka_unit_test(the_acquire_timeout_ends_a_wait_without_a_deadline),
        cmocka_unit_test(polling_follows_the_clock_of_the_ctx),
        cmocka_unit_test(a_waiter_with_a_clock_of_its_own_is_not_late_by_the_pools),
        cmocka_unit_test(a_spent_context_begins_nothing),
        cmocka_unit_test(a_waiter_that_is_abandoned_is_never_woken),
        cmocka_unit_test(what_an_abandoned_waiter_was_granted_goes_to_the_next),
        cmocka_unit_test(what_the_last_abandoned_waiter_was_granted_is_idle_again),
        cmocka_unit_test(a_grant_that_is_polled_after_the_deadline_is_not_lost),
        cmocka_unit_test(an_expired_waiter_is_handed_nothing),
        cmocka_unit_test(when_all_waiters_are_expired_the_resource_becomes_idle),
        cmocka_unit_test(waiters_that_came_100_ms_apart_are_served_in_order),
        cmocka_unit_test(a_newcomer_does_not_overtake_who_waits),
        cmocka_unit_test(a_higher_priority_goes_first_and_equals_keep_their_order),
        cmocka_unit_test(a_waiter_too_many_is_refused),
        cmocka_unit_test(expired_waiters_take_no_place_in_a_full_queue),
        cmocka_unit_test(after_three_gave_up_the_next_release_serves_the_next),
        cmocka_unit_test(resuming_serves_waiters_in_order),
        cmocka_unit_test(a_paused_pool_withholds_what_is_released_from_who_waits),
        cmocka_unit_test(closing_wakes_who_waits_in_a_loop),
        cmocka_unit_test(what_an_expired_or_closed_waiter_leaves_is_not_a_lease),
        cmocka_unit_test(a_sick_resource_is_not_handed_to_who_begins),
        cmocka_unit_test(what_is_handed_over_is_validated_when_that_is_never_skipped),
        cmocka_unit_test(what_was_idle_through_a_pause_is_validated_when_resumed),
        cmocka_unit_test(what_became_outdated_or_too_old_in_a_pause_is_not_handed_out),
        cmocka_unit_test(waiters_of_a_failed_creation_keep_waiting_and_a_retry_serves_them),
        cmocka_unit_test(following_maintain_tries_creation_at_its_times_and_not_in_between),
        cmocka_unit_test(maintaining_early_does_not_try_early),
        cmocka_unit_test(a_retry_that_falls_due_while_a_loop_looks_is_not_forgotten),
        cmocka_unit_test(a_retry_that_falls_due_within_maintain_is_not_forgotten),
        cmocka_unit_test(maintain_that_closes_one_of_too_few_asks_to_be_called_again),
        cmocka_unit_test(six_who_queued_for_a_creation_that_fails_get_six_errors),
        cmocka_unit_test(who_came_after_the_failure_just_times_out),
        cmocka_unit_test(a_ticket_is_there_for_each_waiter_without_a_creation),
        cmocka_unit_test(no_more_tickets_are_out_than_creating_max),
        cmocka_unit_test(tickets_fill_the_pool_up_to_its_least_size),
        cmocka_unit_test(a_ticket_is_good_for_one_supply),
        cmocka_unit_test(null_gets_no_ticket),
        cmocka_unit_test(after_a_failed_supply_no_ticket_is_there_before_its_time),
        cmocka_unit_test(a_waiter_that_is_woken_and_not_served_asks_for_a_creation),
        cmocka_unit_test(a_supply_that_nobody_waits_for_any_more_is_idle),
        cmocka_unit_test(a_supply_after_the_pool_shrank_is_destroyed),
        cmocka_unit_test(a_supply_after_closing_is_destroyed),
        cmocka_unit_test(a_stalled_ticket_keeps_nobody_from_a_release),
        cmocka_unit_test(a_creation_that_hangs_holds_up_one_second_and_no_more),
        cmocka_unit_test(the_layer_says_what_it_is),
        cmocka_unit_test(a_layer_leases_on_the_way_in_and_releases_on_the_way_out),
        cmocka_unit_test(a_call_that_was_stopped_half_way_leaves_a_broken_resource),
        cmocka_unit_test(a_callback_says_which_results_break_a_resource),
        cmocka_unit_test(a_call_may_give_its_lease_back_by_itself),
        cmocka_unit_test(a_retry_outside_gets_a_fresh_lease_for_each_attempt),
        cmocka_unit_test(a_refusal_of_the_layer_is_that_of_acquire_and_names_it),
        cmocka_unit_test(a_layer_without_a_pool_or_lease_refuses),
        cmocka_unit_test(the_layer_of_a_closed_pool_refuses),
        cmocka_unit_test(a_blocked_execution_is_served_by_a_release),
        cmocka_unit_test(a_cancelled_execution_leaves_the_queue),
        cmocka_unit_test(the_deadline_of_an_execution_is_counted_as_a_timeout_of_the_pool),
        cmocka_unit_test(a_blocked_execution_creates_by_itself_and_retries),
        cmocka_unit_test(the_loop_form_leases_for_each_call),
        cmocka_unit_test(stepped_executions_wait_in_turn_and_are_woken),
        cmocka_unit_test(a_stepped_execution_times_out_in_its_own_time),
        cmocka_unit_test(a_waiting_execution_that_is_abandoned_leaves_the_queue),
        cmocka_unit_test(a_call_that_is_abandoned_loses_its_resource),
        cmocka_unit_test(a_call_that_is_stopped_loses_its_resource),
        cmocka_unit_test(a_stepped_execution_waits_for_tickets),
        cmocka_unit_test(priorities_of_executions_order_the_queue),
        cmocka_unit_test(a_breaker_counts_calls_and_not_the_refusals_of_a_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
