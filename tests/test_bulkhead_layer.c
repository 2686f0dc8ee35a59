/* SPDX-License-Identifier: MIT
   test_bulkhead_layer.c: the bulkhead as a layer of a policy: around functions, in loops, in
   executions that are stepped, among other layers; and a model that knows every answer, through
   random histories. By one thread, in virtual time.                                          */
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

static rsl_bulkhead_config sized(uint32_t calls_max, uint32_t waiting_max)
{
    rsl_bulkhead_config config = {.calls_max = calls_max, .waiting_max = waiting_max};
    return config;
}

/* A call that takes time and answers as told, the last answer for ever. */
typedef struct call {
    rig      *r;
    int       results[4];
    int       count, calls;
    rsl_time  takes;
    uint32_t  in_use; /* during the latest */
    rsl_ctx   seen;
} call;

static int call_it(const rsl_ctx *ctx, void *arg)
{
    call *c = arg;
    int i = c->calls < c->count ? c->calls : c->count - 1;
    c->calls++;
    c->in_use = stats_of(c->r).in_use;
    c->seen = *ctx;
    c->r->clock.now += c->takes;
    errno = 43;
    return c->results[i > 0 ? i : 0];
}

/* Around the call alone, on the rig's clock. */
static int run(rig *r, call *c, rsl_ctx ctx)
{
    rsl_clock clock = virtual_clock_as(&r->clock);
    rsl_layer policy[] = {rsl_bulkhead_layer(&r->bulkhead)};
    c->r = r;
    ctx.clock = &clock;
    return rsl_run(policy, RSL_COUNT(policy), &ctx, call_it, c);
}

static const rsl_ctx no_limits = {0, NULL, NULL, 0, 0};

/* ------------------------------------------------------------- around a function */

static void the_layer_says_what_it_is(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    rsl_layer layer = rsl_bulkhead_layer(&r.bulkhead);
    assert_non_null(layer.type);
    assert_string_equal(layer.type->kind, "bulkhead");
    assert_true(layer.type->enter && layer.type->leave && layer.type->abandon);
    rig_end(&r);
}

static void a_layer_without_a_bulkhead_refuses(void **unused)
{
    (void)unused;
    rsl_bulkhead dead;
    memset(&dead, 0, sizeof(dead));
    rsl_bulkhead *bulkheads[] = {NULL, &dead};
    for (size_t i = 0; i < RSL_COUNT(bulkheads); i++) {
        rsl_layer policy[] = {rsl_bulkhead_layer(bulkheads[i])};
        rsl_execution e;
        assert_int_equal(rsl_execution_begin(&e, policy, 1, NULL), RSL_OK);
        assert_int_equal(rsl_execution_step(&e, START), RSL_DONE);
        assert_int_equal(e.result, RSL_EINVAL);
        assert_string_equal(rsl_execution_refuser(&e), "bulkhead");
    }
}

static void a_call_has_a_permit_while_it_runs_and_answers_what_it_likes(void **unused)
{
    (void)unused;
    static const int results[] = {0, 1, -1, INT_MIN, INT_MAX, RSL_EFULL, RSL_EINVAL, RSL_WAIT};
    rig r;
    rig_start(&r, sized(1, 0));
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        call c = {.results = {results[i]}};
        assert_int_equal(run(&r, &c, no_limits), results[i]);
        assert_int_equal(errno, 43);
        assert_true(c.calls == 1 && c.in_use == 1);
        expect_stats(&r, 1, 0, 0);
    }
    assert_int_equal(stats_of(&r).admitted, RSL_COUNT(results));
    rig_end(&r);
}

static void a_refusal_names_the_layer_and_makes_no_call(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    rsl_bulkhead_permit permit = take(&r);
    call c = {.calls = 0};
    assert_int_equal(run(&r, &c, no_limits), RSL_EFULL);
    assert_int_equal(c.calls, 0);
    guest g;
    assert_int_equal(guest_begin(&r, &g, NULL), RSL_DONE);
    expect_refused(&r, &g, RSL_EFULL);
    assert_int_equal(stats_of(&r).refused, 2);
    assert_int_equal(events_of(&r, RSL_BULKHEAD_REFUSED), 2);
    give(&r, &permit);
    rig_end(&r);
}

static void a_blocked_run_is_let_in_when_a_permit_is_left(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(1, 1);
    config.wait_max = RSL_SEC(1);
    rig_start(&r, config);
    rsl_bulkhead_permit permit = take(&r);
    rig_permit leaving = {&r, &permit};
    timeline_add(&r.line, START + RSL_MS(30), leave_then, &leaving);
    call c = {.results = {9}};
    assert_int_equal(run(&r, &c, no_limits), 9);
    assert_true(r.clock.now == START + RSL_MS(30));
    assert_true(c.calls == 1 && c.in_use == 1);
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.waited == 1 && stats.wait_total == RSL_MS(30) && stats.admitted == 2);
    rig_end(&r);
}

static void a_blocked_run_waits_no_longer_than_wait_max_or_its_deadline(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(1, 1);
    config.wait_max = RSL_MS(50);
    rig_start(&r, config);
    rsl_bulkhead_permit permit = take(&r);
    call c = {.calls = 0};
    assert_int_equal(run(&r, &c, no_limits), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_MS(50));
    assert_int_equal(run(&r, &c, within(&r, RSL_MS(20))), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_MS(70));
    assert_int_equal(run(&r, &c, within(&r, RSL_MS(90))), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_MS(120));
    assert_int_equal(c.calls, 0);
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.timed_out == 3 && stats.waiting == 0 && stats.in_use == 1);
    assert_true(stats.canceled == 0 && stats.refused == 0);
    assert_int_equal(events_of(&r, RSL_BULKHEAD_TIMED_OUT), 3);
    assert_int_equal(event_recorder_last(&r.events, RSL_BULKHEAD_TIMED_OUT)->status,
                     RSL_ETIMEOUT);
    give(&r, &permit);
    rig_end(&r);
}

static void a_blocked_run_ends_when_cancelled(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(1, 1);
    config.wait_max = RSL_SEC(1);
    rig_start(&r, config);
    rsl_bulkhead_permit permit = take(&r);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    timeline_add(&r.line, START + RSL_MS(5), fire_then, &cancel);
    call c = {.calls = 0};
    rsl_ctx ctx = {.cancel = &cancel};
    assert_int_equal(run(&r, &c, ctx), RSL_ECANCELED);
    assert_true(r.clock.now == START + RSL_MS(5) && c.calls == 0);
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.canceled == 1 && stats.waiting == 0 && stats.timed_out == 0);
    give(&r, &permit);
    rsl_cancel_deinit(&cancel);
    rig_end(&r);
}

static void the_loop_form_has_a_permit_for_each_call(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    rsl_retry retry;
    rsl_retry_config config = {.attempts_max = 3, .delay_first = RSL_MS(10),
                               .jitter = RSL_JITTER_NONE};
    config.clock = virtual_clock_as(&r.clock);
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    rsl_layer policy[] = {rsl_retry_layer(&retry), rsl_bulkhead_layer(&r.bulkhead)};
    rsl_clock clock = virtual_clock_as(&r.clock);
    rsl_ctx ctx = {.clock = &clock};
    rsl_execution e;
    int calls = 0;
    assert_int_equal(rsl_execution_begin(&e, policy, RSL_COUNT(policy), &ctx), RSL_OK);
    while (rsl_execution_next(&e)) {
        expect_stats(&r, 1, 1, 0);
        rsl_execution_done(&e, ++calls == 3 ? 0 : 5);
        expect_stats(&r, 1, 0, 0); /* also while it backs off */
    }
    assert_true(e.result == 0 && calls == 3);
    assert_int_equal(stats_of(&r).admitted, 3);
    rsl_retry_deinit(&retry);
    rig_end(&r);
}

/* --------------------------------------------------------- stepped executions */

static void stepped_executions_wait_in_turn_and_are_woken(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 10));
    guest g[4];
    guest_enter(&r, &g[0]);
    for (int i = 1; i < 4; i++) {
        guest_queue(&r, &g[i], NULL);
        assert_true(g[i].e.wake_at == RSL_FOREVER);
        expect_stats(&r, 1, 1, (uint32_t)i);
    }
    for (int i = 0; i < 3; i++) {
        r.clock.now += RSL_MS(1);
        guest_leave(&r, &g[i], 0);
        expect_stats(&r, 1, 1, (uint32_t)(2 - i));
        for (int late = i + 2; late < 4; late++) {
            expect_waiting(&r, &g[late]);
        }
        expect_let_in(&r, &g[i + 1]);
    }
    guest_leave(&r, &g[3], 0);
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.waited == 3 && stats.wait_total == RSL_MS(6));
    rig_end(&r);
}

static void priorities_of_executions_order_the_queue(void **unused)
{
    (void)unused;
    static const int32_t priorities[] = {0, 2, INT32_MIN, 2, INT32_MAX, 0};
    static const int order[] = {4, 1, 3, 0, 5, 2};
    rig r;
    rig_start(&r, sized(1, 10));
    guest first, g[6];
    guest_enter(&r, &first);
    for (int i = 0; i < 6; i++) {
        rsl_ctx ctx = {.priority = priorities[i]};
        guest_queue(&r, &g[i], &ctx);
    }
    guest_leave(&r, &first, 0);
    for (int i = 0; i < 6; i++) {
        expect_let_in(&r, &g[order[i]]);
        guest_leave(&r, &g[order[i]], 0);
    }
    rig_end(&r);
}

static void a_stepped_execution_says_when_its_wait_ends(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(1, 10);
    config.wait_max = RSL_MS(50);
    rig_start(&r, config);
    rsl_bulkhead_permit permit = take(&r);
    guest by_wait_max, by_deadline;
    rsl_ctx ctx = within(&r, RSL_MS(20));
    guest_queue(&r, &by_wait_max, NULL);
    guest_queue(&r, &by_deadline, &ctx);
    assert_true(by_wait_max.e.wake_at == START + RSL_MS(50));
    assert_true(by_deadline.e.wake_at == START + RSL_MS(20));
    r.clock.now = START + RSL_MS(20) - 1;
    expect_waiting(&r, &by_deadline);
    expect_waiting(&r, &by_wait_max);
    assert_true(by_wait_max.e.wake_at == START + RSL_MS(50)); /* not begun anew */
    r.clock.now++;
    expect_refused(&r, &by_deadline, RSL_ETIMEOUT);
    expect_stats(&r, 1, 1, 1);
    r.clock.now = START + RSL_MS(50) - 1;
    expect_waiting(&r, &by_wait_max);
    r.clock.now++;
    expect_refused(&r, &by_wait_max, RSL_ETIMEOUT);
    expect_stats(&r, 1, 1, 0);
    assert_int_equal(stats_of(&r).timed_out, 2);
    assert_int_equal(events_of(&r, RSL_BULKHEAD_TIMED_OUT), 2);
    give(&r, &permit);
    rig_end(&r);
}

static void a_wait_beyond_the_end_of_time_is_one_without_end(void **unused)
{
    (void)unused;
    static const rsl_time spans[] = {RSL_FOREVER, RSL_FOREVER - 1, RSL_FOREVER - START + 1};
    for (size_t i = 0; i < RSL_COUNT(spans); i++) {
        rig r;
        rsl_bulkhead_config config = sized(1, 1);
        config.wait_max = spans[i];
        rig_start(&r, config);
        rsl_bulkhead_permit permit = take(&r);
        guest g;
        guest_queue(&r, &g, NULL);
        assert_true(g.e.wake_at == RSL_FOREVER);
        r.clock.now = START + RSL_SEC(1000000000);
        expect_waiting(&r, &g);
        give(&r, &permit);
        expect_let_in(&r, &g);
        guest_leave(&r, &g, 0);
        rig_end(&r);
    }
}

static void a_cancelled_execution_leaves_the_queue(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 10));
    rsl_bulkhead_permit permit = take(&r);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_ctx ctx = {.cancel = &cancel};
    guest g, next;
    guest_queue(&r, &g, &ctx);
    guest_queue(&r, &next, NULL);
    rsl_cancel_fire(&cancel);
    assert_int_equal(g.woken, 1);
    expect_refused(&r, &g, RSL_ECANCELED);
    assert_int_equal(stats_of(&r).canceled, 1);
    give(&r, &permit);
    expect_let_in(&r, &next);
    guest_leave(&r, &next, 0);
    rsl_cancel_deinit(&cancel);
    rig_end(&r);
}

static void who_is_abandoned_while_waiting_leaves_the_queue(void **unused)
{
    (void)unused;
    for (int gone = 0; gone < 3; gone++) {
        rig r;
        rig_start(&r, sized(1, 3));
        rsl_bulkhead_permit permit = take(&r);
        guest g[3];
        for (int i = 0; i < 3; i++) {
            guest_queue(&r, &g[i], NULL);
        }
        rsl_execution_abandon(&g[gone].e, r.clock.now);
        assert_int_equal(g[gone].e.result, RSL_ECANCELED);
        expect_stats(&r, 1, 1, 2);
        assert_int_equal(stats_of(&r).canceled, 1);
        give(&r, &permit);
        for (int i = 0; i < 3; i++) {
            if (i != gone) {
                expect_let_in(&r, &g[i]);
                guest_leave(&r, &g[i], 0);
            }
        }
        assert_int_equal(g[gone].woken, 0);
        rig_end(&r);
    }
}

static void a_permit_that_was_granted_to_who_is_abandoned_goes_to_the_next(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 10));
    rsl_bulkhead_permit permit = take(&r);
    guest g[8];
    for (int i = 0; i < 8; i++) {
        guest_queue(&r, &g[i], NULL);
    }
    give(&r, &permit);
    for (int i = 0; i < 7; i++) { /* each is granted it, and none takes it */
        assert_int_equal(g[i].woken, 1);
        assert_int_equal(g[i + 1].woken, 0);
        rsl_execution_abandon(&g[i].e, r.clock.now);
    }
    expect_stats(&r, 1, 1, 0);
    expect_let_in(&r, &g[7]);
    guest_leave(&r, &g[7], 0);
    rsl_bulkhead_permit again = take(&r);
    give(&r, &again);
    rig_end(&r);
}

static void a_permit_that_was_granted_to_the_last_who_is_abandoned_is_free(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 10));
    for (int i = 0; i < 50; i++) {
        rsl_bulkhead_permit permit = take(&r);
        guest g;
        guest_queue(&r, &g, NULL);
        give(&r, &permit);
        assert_int_equal(g.woken, 1);
        rsl_execution_abandon(&g.e, r.clock.now);
        expect_stats(&r, 1, 0, 0);
    }
    rig_end(&r);
}

static void a_permit_that_was_granted_to_who_is_late_goes_to_the_next(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 10));
    rsl_bulkhead_permit permit = take(&r);
    rsl_ctx ctx = within(&r, RSL_MS(10));
    guest late, next;
    guest_queue(&r, &late, &ctx);
    guest_queue(&r, &next, NULL);
    r.clock.now += RSL_MS(9);
    give(&r, &permit);
    assert_true(late.woken == 1 && next.woken == 0);
    r.clock.now += RSL_MS(1);
    expect_refused(&r, &late, RSL_ETIMEOUT);
    expect_let_in(&r, &next);
    guest_leave(&r, &next, 0);
    rig_end(&r);
}

static void a_call_that_is_abandoned_gives_its_permit_on(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(2, 10);
    config.limit = RSL_LIMIT_AIMD;
    rig_start(&r, config);
    guest g[3];
    guest_enter(&r, &g[0]);
    guest_enter(&r, &g[1]);
    guest_queue(&r, &g[2], NULL);
    r.clock.now += RSL_MS(10);
    rsl_execution_abandon(&g[0].e, r.clock.now);
    expect_let_in(&r, &g[2]);
    expect_stats(&r, 2, 2, 0); /* the limit learned nothing */
    rsl_execution_abandon(&g[1].e, r.clock.now);
    rsl_execution_abandon(&g[2].e, r.clock.now);
    expect_stats(&r, 2, 0, 0);
    assert_int_equal(events_of(&r, RSL_BULKHEAD_LIMIT), 0);
    rig_end(&r);
}

static void a_call_that_is_stopped_keeps_its_permit_until_it_is_reported(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 10));
    rsl_ctx ctx = within(&r, RSL_MS(10));
    guest g, next;
    assert_int_equal(guest_begin(&r, &g, &ctx), RSL_RUN);
    guest_queue(&r, &next, NULL);
    r.clock.now += RSL_MS(15);
    assert_int_equal(guest_step(&r, &g), RSL_STOP);
    expect_waiting(&r, &next);
    expect_stats(&r, 1, 1, 1);
    guest_leave(&r, &g, RSL_ETIMEOUT);
    expect_let_in(&r, &next);
    guest_leave(&r, &next, 0);
    rig_end(&r);
}

static void who_tries_does_not_overtake_executions_that_wait(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2, 10));
    guest g[3];
    guest_enter(&r, &g[0]);
    guest_enter(&r, &g[1]);
    guest_queue(&r, &g[2], NULL);
    expect_full(&r.bulkhead);
    guest_leave(&r, &g[0], 0); /* granted, though not stepped yet */
    expect_full(&r.bulkhead);
    expect_let_in(&r, &g[2]);
    guest_leave(&r, &g[1], 0);
    rsl_bulkhead_permit permit = take(&r);
    expect_full(&r.bulkhead);
    give(&r, &permit);
    guest_leave(&r, &g[2], 0);
    rig_end(&r);
}

static void growing_wakes_exactly_as_many_as_there_is_room_for(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 10));
    guest g[6];
    guest_enter(&r, &g[0]);
    for (int i = 1; i < 6; i++) {
        guest_queue(&r, &g[i], NULL);
    }
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 4), RSL_OK);
    expect_stats(&r, 4, 4, 2);
    for (int i = 1; i < 4; i++) {
        expect_let_in(&r, &g[i]);
    }
    expect_waiting(&r, &g[4]);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 2), RSL_OK);
    guest_leave(&r, &g[0], 0);
    guest_leave(&r, &g[1], 0);
    expect_stats(&r, 2, 2, 2);
    expect_waiting(&r, &g[4]);
    for (int i = 2; i < 4; i++) {
        guest_leave(&r, &g[i], 0);
        expect_let_in(&r, &g[i + 2]);
    }
    guest_leave(&r, &g[4], 0);
    guest_leave(&r, &g[5], 0);
    rig_end(&r);
}

static void the_memory_of_a_wait_may_be_used_again_at_once(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 2));
    guest *g = calloc(1, sizeof(*g));
    for (int i = 0; i < 30; i++) {
        rsl_bulkhead_permit permit = take(&r);
        guest_queue(&r, g, NULL);
        if (i % 3 == 0) {
            give(&r, &permit);
        }
        rsl_execution_abandon(&g->e, r.clock.now);
        memset(g, 0x5A, sizeof(*g));
        free(g);
        g = calloc(1, sizeof(*g));
        if (i % 3 != 0) {
            give(&r, &permit);
        }
    }
    free(g);
    rig_end(&r);
}

/* --------------------------------------------------------- among other layers */

static void an_outer_retry_passes_a_refusal_on_unless_told_otherwise(void **unused)
{
    (void)unused;
    for (int retried = 0; retried < 2; retried++) {
        rig r;
        rig_start(&r, sized(1, 0));
        rsl_bulkhead_permit permit = take(&r);
        rig_permit leaving = {&r, &permit};
        timeline_add(&r.line, START + RSL_MS(10), leave_then, &leaving);
        rsl_retry retry;
        rsl_retry_config config = {.delay_first = RSL_MS(10), .jitter = RSL_JITTER_NONE,
                                   .retry_refusals = retried != 0};
        assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
        rsl_layer policy[] = {rsl_retry_layer(&retry), rsl_bulkhead_layer(&r.bulkhead)};
        rsl_clock clock = virtual_clock_as(&r.clock);
        rsl_ctx ctx = {.clock = &clock};
        call c = {.r = &r};
        int rc = rsl_run(policy, RSL_COUNT(policy), &ctx, call_it, &c);
        assert_int_equal(rc, retried ? 0 : RSL_EFULL);
        assert_int_equal(c.calls, retried);
        if (!retried) {
            give(&r, &permit);
        }
        rsl_retry_deinit(&retry);
        rig_end(&r);
    }
}

static void an_outer_breaker_does_not_count_refusals(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    rsl_breaker breaker;
    rsl_breaker_config config = {.failures_max = 2, .clock = virtual_clock_as(&r.clock)};
    assert_int_equal(rsl_breaker_init(&breaker, &config), RSL_OK);
    rsl_layer policy[] = {rsl_breaker_layer(&breaker), rsl_bulkhead_layer(&r.bulkhead)};
    rsl_bulkhead_permit permit = take(&r);
    rsl_clock clock = virtual_clock_as(&r.clock);
    rsl_ctx ctx = {.clock = &clock};
    call c = {.r = &r, .results = {5}};
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rsl_run(policy, 2, &ctx, call_it, &c), RSL_EFULL);
    }
    assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_CLOSED);
    give(&r, &permit);
    assert_int_equal(rsl_run(policy, 2, &ctx, call_it, &c), 5);
    assert_int_equal(rsl_run(policy, 2, &ctx, call_it, &c), 5);
    assert_int_equal(rsl_run(policy, 2, &ctx, call_it, &c), RSL_EOPEN);
    rsl_breaker_deinit(&breaker);
    rig_end(&r);
}

static bool always(int result, void *user)
{
    (void)result;
    (void)user;
    return true;
}

static rsl_bulkhead_config learning(uint32_t calls_max)
{
    rsl_bulkhead_config config = {.calls_max = calls_max, .limit = RSL_LIMIT_AIMD};
    return config;
}

static void a_refusal_of_an_inner_layer_gives_the_permit_back_and_is_no_sample(void **unused)
{
    (void)unused;
    rig r, inner;
    rsl_bulkhead_config config = learning(10);
    config.is_overload = always;
    rig_start(&inner, sized(1, 0));
    rig_start(&r, config);
    rsl_bulkhead_permit permit = take(&inner);
    rsl_layer policy[] = {rsl_bulkhead_layer(&r.bulkhead), rsl_bulkhead_layer(&inner.bulkhead)};
    for (int i = 0; i < 20; i++) {
        rsl_execution e;
        assert_int_equal(rsl_execution_begin(&e, policy, 2, NULL), RSL_OK);
        r.clock.now += RSL_MS(1);
        assert_int_equal(rsl_execution_step(&e, r.clock.now), RSL_DONE);
        assert_int_equal(e.result, RSL_EFULL);
        expect_stats(&r, 10, 0, 0);
    }
    assert_int_equal(r.events.count, 0);
    give(&inner, &permit);
    rig_end(&r);
    rsl_bulkhead_deinit(&inner.bulkhead);
}

static void a_call_that_an_inner_timeout_stopped_is_an_overload_whatever_it_says(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, learning(30));
    rsl_timeout timeout;
    assert_int_equal(rsl_timeout_init(&timeout, RSL_MS(10)), RSL_OK);
    rsl_layer policy[] = {rsl_bulkhead_layer(&r.bulkhead), rsl_timeout_layer(&timeout)};
    rsl_execution e;
    assert_int_equal(rsl_execution_begin(&e, policy, 2, NULL), RSL_OK);
    assert_int_equal(rsl_execution_step(&e, START), RSL_RUN);
    assert_int_equal(rsl_execution_step(&e, START + RSL_MS(10)), RSL_STOP);
    assert_int_equal(rsl_execution_report(&e, START + RSL_MS(11), 77), RSL_OK);
    assert_int_equal(rsl_execution_step(&e, START + RSL_MS(11)), RSL_DONE);
    assert_int_equal(e.result, 77);
    expect_stats(&r, 27, 0, 0);
    assert_int_equal(rsl_execution_begin(&e, policy, 2, NULL), RSL_OK);
    assert_int_equal(rsl_execution_step(&e, START + RSL_MS(20)), RSL_RUN);
    assert_int_equal(rsl_execution_report(&e, START + RSL_MS(22), 77), RSL_OK);
    expect_stats(&r, 27, 0, 0); /* within its time, 77 says nothing */
    rig_end(&r);
}

static void a_wait_inside_that_an_inner_timeout_cut_is_an_overload_too(void **unused)
{
    (void)unused;
    rig r, inner;
    rig_start(&inner, sized(1, 1));
    rig_start(&r, learning(30));
    rsl_timeout timeout;
    assert_int_equal(rsl_timeout_init(&timeout, RSL_MS(10)), RSL_OK);
    rsl_bulkhead_permit permit = take(&inner);
    rsl_layer policy[] = {rsl_bulkhead_layer(&r.bulkhead), rsl_timeout_layer(&timeout),
                          rsl_bulkhead_layer(&inner.bulkhead)};
    rsl_execution e;
    assert_int_equal(rsl_execution_begin(&e, policy, 3, NULL), RSL_OK);
    assert_int_equal(rsl_execution_step(&e, START), RSL_WAIT);
    assert_true(e.wake_at == START + RSL_MS(10));
    assert_int_equal(rsl_execution_step(&e, START + RSL_MS(10)), RSL_DONE);
    assert_int_equal(e.result, RSL_ETIMEOUT);
    expect_stats(&r, 27, 0, 0);
    expect_stats(&inner, 1, 1, 0);
    assert_int_equal(stats_of(&inner).timed_out, 1);
    give(&inner, &permit);
    rig_end(&r);
    rsl_bulkhead_deinit(&inner.bulkhead);
}

static void the_callers_own_deadline_is_no_overload(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, learning(30));
    rsl_ctx ctx = within(&r, RSL_MS(10));
    guest g;
    assert_int_equal(guest_begin(&r, &g, &ctx), RSL_RUN);
    r.clock.now += RSL_MS(12);
    assert_int_equal(guest_step(&r, &g), RSL_STOP);
    guest_leave(&r, &g, 77);
    expect_stats(&r, 30, 0, 0);
    rig_end(&r);
}

static void samples_of_a_layer_are_measured_in_the_time_of_the_execution(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = {.calls_max = 10, .limit = RSL_LIMIT_VEGAS};
    rig_start(&r, config);
    guest g[10];
    for (int round = 0; round < 2; round++) { /* 10 ms is the least, then 50 ms is a queue */
        rsl_time began = r.clock.now;
        for (int i = 0; i < 10; i++) {
            guest_enter(&r, &g[i]);
        }
        r.clock.now = began + (round == 0 ? RSL_MS(10) : RSL_MS(50));
        guest_leave(&r, &g[0], 0);
        for (int i = 1; i < 10; i++) {
            guest_leave(&r, &g[i], FAILED);
        }
        assert_int_equal(stats_of(&r).limit, round == 0 ? 10 : 9);
    }
    assert_int_equal(r.clock.reads, 0);
    rig_end(&r);
}

static void what_waited_is_measured_from_when_it_was_let_in(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = {.calls_max = 1, .limit = RSL_LIMIT_VEGAS, .waiting_max = 5};
    config.limit_max = 9;
    rig_start(&r, config);
    guest g[3];
    guest_enter(&r, &g[0]);
    guest_queue(&r, &g[1], NULL);
    r.clock.now += RSL_MS(10);
    guest_leave(&r, &g[0], 0); /* the least: 10 ms */
    expect_let_in(&r, &g[1]);
    r.clock.now += RSL_MS(10);
    guest_leave(&r, &g[1], 0); /* 10 ms once more, not 20: no queue */
    assert_int_equal(stats_of(&r).limit, 7);
    rig_end(&r);
}

static void the_policy_check_refuses_a_bulkhead_around_a_retry_that_sleeps(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    rsl_retry sleeps, hurries;
    rsl_retry_config hurry = {.delay_first = RSL_NONE};
    assert_int_equal(rsl_retry_init(&sleeps, NULL), RSL_OK);
    assert_int_equal(rsl_retry_init(&hurries, &hurry), RSL_OK);
    rsl_timeout timeout;
    assert_int_equal(rsl_timeout_init(&timeout, RSL_SEC(100)), RSL_OK);
    rsl_layer bulkhead = rsl_bulkhead_layer(&r.bulkhead);
    const char *why = NULL;
    rsl_layer wrong[] = {bulkhead, rsl_timeout_layer(&timeout), rsl_retry_layer(&sleeps)};
    assert_int_equal(rsl_policy_check(wrong, RSL_COUNT(wrong), &why), RSL_EINVAL);
    assert_non_null(strstr(why, "bulkhead"));
    assert_non_null(strstr(why, "retry"));
    rsl_layer sound[] = {rsl_timeout_layer(&timeout), rsl_retry_layer(&sleeps), bulkhead};
    assert_int_equal(rsl_policy_check(sound, RSL_COUNT(sound), &why), RSL_OK);
    assert_null(why);
    rsl_layer awake[] = {bulkhead, rsl_retry_layer(&hurries)};
    assert_int_equal(rsl_policy_check(awake, RSL_COUNT(awake), &why), RSL_OK);
    rsl_layer two[] = {bulkhead, bulkhead};
    assert_int_equal(rsl_policy_check(two, RSL_COUNT(two), &why), RSL_OK);
    rsl_retry_deinit(&sleeps);
    rsl_retry_deinit(&hurries);
    rig_end(&r);
}

/* ---------------------------------------------------------------- an event loop */

enum { LOOP_CALLS = 200, LOOP_PERMITS = 10 };

typedef struct loop {
    rig      r;
    guest    guests[LOOP_CALLS];
    rsl_time ends[LOOP_CALLS]; /* of the call that is out */
    bool     done[LOOP_CALLS];
    int      out, out_most, finished, next_in;
} loop;

/* One pass: steps who was woken, reports whose call is over. True while anything happened. */
static bool loop_pass(loop *l)
{
    bool happened = false;
    for (int i = 0; i < LOOP_CALLS; i++) {
        guest *g = &l->guests[i];
        if (l->done[i]) {
            continue;
        }
        if (g->rc == RSL_RUN && l->ends[i] <= l->r.clock.now) {
            guest_leave(&l->r, g, 0);
            l->done[i] = happened = true;
            l->finished++;
            l->out--;
        } else if (g->rc == RSL_WAIT && g->woken > 0) {
            expect_let_in(&l->r, g);
            assert_int_equal(l->next_in++, i); /* in the order of coming */
            l->ends[i] = l->r.clock.now + RSL_MS(10);
            l->out++;
            happened = true;
        }
    }
    l->out_most = l->out > l->out_most ? l->out : l->out_most;
    return happened;
}

static void an_event_loop_drives_two_hundred_calls_through_ten_permits(void **unused)
{
    (void)unused;
    loop *l = calloc(1, sizeof(*l));
    assert_non_null(l);
    rig_start(&l->r, sized(LOOP_PERMITS, LOOP_CALLS));
    for (int i = 0; i < LOOP_CALLS; i++) {
        int rc = guest_begin(&l->r, &l->guests[i], NULL);
        assert_int_equal(rc, i < LOOP_PERMITS ? RSL_RUN : RSL_WAIT);
        l->ends[i] = l->r.clock.now + RSL_MS(10);
    }
    l->out = l->out_most = l->next_in = LOOP_PERMITS;
    while (l->finished < LOOP_CALLS) {
        while (loop_pass(l)) {
        }
        assert_int_equal(stats_of(&l->r).in_use, l->out);
        if (l->finished < LOOP_CALLS) {
            l->r.clock.now += RSL_MS(10); /* nothing is due earlier */
        }
    }
    assert_int_equal(l->out_most, LOOP_PERMITS);
    assert_true(l->r.clock.now == START + RSL_MS(10) * (LOOP_CALLS / LOOP_PERMITS));
    rsl_bulkhead_stats stats = stats_of(&l->r);
    assert_true(stats.admitted == LOOP_CALLS && stats.waited == LOOP_CALLS - LOOP_PERMITS);
    assert_true(stats.wait_total == RSL_MS(10) * LOOP_PERMITS * (19 * 20 / 2));
    rig_end(&l->r);
    free(l);
}

/* ----------------------------------------------------------------------- model */

enum { MODEL_GUESTS = 14, MODEL_STEPS = 120000, MODEL_PERMITS = 6 };

typedef enum place { AWAY, QUEUED, GRANTED, INSIDE } place;

/* What the model knows of one who comes and goes. */
typedef struct comer {
    guest      g;
    rsl_cancel cancel;
    place      place;
    bool       fired;
    int32_t    priority;
    uint64_t   came;           /* in which order */
    rsl_time   deadline, ends; /* of its ctx; of its wait. 0: none */
} comer;

typedef struct model {
    rig                 r;
    seeded_random       random;
    comer               comers[MODEL_GUESTS];
    rsl_bulkhead_permit permits[MODEL_PERMITS]; /* of those who tried */
    uint32_t            held, limit, waiting_max;
    rsl_time            wait_max;
    uint64_t            came, admitted, refused;
    uint64_t            late, perhaps_late, canceled, perhaps_canceled;
} model;

static uint32_t draw(model *m, uint32_t below)
{
    return seeded_random_below(&m->random, below);
}

static uint32_t at(const model *m, place p)
{
    uint32_t count = 0;
    for (int i = 0; i < MODEL_GUESTS; i++) {
        count += m->comers[i].place == p;
    }
    return count;
}

static uint32_t in_use(const model *m)
{
    return at(m, INSIDE) + at(m, GRANTED) + m->held;
}

/* Permits that are free go to those who wait, first the higher priority, then who came first. */
static void model_serve(model *m)
{
    while (in_use(m) < m->limit) {
        comer *first = NULL;
        for (int i = 0; i < MODEL_GUESTS; i++) {
            comer *c = &m->comers[i];
            if (c->place == QUEUED &&
                (first == NULL || c->priority > first->priority ||
                 (c->priority == first->priority && c->came < first->came))) {
                first = c;
            }
        }
        if (first == NULL) {
            return;
        }
        first->place = GRANTED;
    }
}

static void model_goes(comer *c)
{
    rsl_cancel_deinit(&c->cancel);
    c->place = AWAY;
}

static void act_come(model *m)
{
    comer *c = &m->comers[draw(m, MODEL_GUESTS)];
    if (c->place != AWAY) {
        return;
    }
    rsl_time now = m->r.clock.now;
    assert_int_equal(rsl_cancel_init(&c->cancel, NULL), RSL_OK);
    c->fired = false;
    c->priority = (int32_t)draw(m, 3) - 1;
    c->deadline = draw(m, 2) == 0 ? 0 : now + RSL_MS(1 + (rsl_time)draw(m, 40));
    rsl_ctx ctx = {.deadline = c->deadline, .cancel = &c->cancel, .priority = c->priority};
    int rc = guest_begin(&m->r, &c->g, &ctx);
    if (in_use(m) < m->limit) {
        assert_int_equal(rc, RSL_RUN);
        c->place = INSIDE;
        m->admitted++;
    } else if (at(m, QUEUED) < m->waiting_max) {
        assert_int_equal(rc, RSL_WAIT);
        c->place = QUEUED;
        c->came = m->came++;
        c->ends = now + m->wait_max;
    } else {
        assert_int_equal(rc, RSL_DONE);
        assert_int_equal(c->g.e.result, RSL_EFULL);
        m->refused++;
        model_goes(c);
    }
}

/* A permit that was granted, but too late or for nothing, goes on. */
static void model_gives_up(model *m, comer *c, int status)
{
    bool granted = c->place == GRANTED;
    if (status == RSL_ETIMEOUT) {
        m->late += !granted;
        m->perhaps_late += granted;
    } else {
        m->canceled += !granted;
        m->perhaps_canceled += granted;
    }
    model_goes(c);
    model_serve(m);
}

static void act_step(model *m)
{
    comer *c = &m->comers[draw(m, MODEL_GUESTS)];
    if (c->place == AWAY) {
        return;
    }
    rsl_time now = m->r.clock.now;
    bool late = c->deadline != 0 && now >= c->deadline;
    assert_true(c->place != GRANTED || c->g.woken > 0);
    int rc = guest_step(&m->r, &c->g);
    if (c->place == INSIDE) {
        assert_int_equal(rc, c->fired || late ? RSL_STOP : RSL_WAIT);
    } else if (c->fired || late) {
        assert_int_equal(rc, RSL_DONE);
        assert_int_equal(c->g.e.result, c->fired ? RSL_ECANCELED : RSL_ETIMEOUT);
        model_gives_up(m, c, c->g.e.result);
    } else if (c->place == GRANTED) {
        assert_int_equal(rc, RSL_RUN);
        c->place = INSIDE;
        m->admitted++;
    } else if (now >= c->ends) {
        assert_int_equal(rc, RSL_DONE);
        assert_int_equal(c->g.e.result, RSL_ETIMEOUT);
        model_gives_up(m, c, RSL_ETIMEOUT);
    } else {
        assert_int_equal(rc, RSL_WAIT);
        rsl_time wake_at = c->deadline != 0 && c->deadline < c->ends ? c->deadline : c->ends;
        assert_true(c->g.e.wake_at == wake_at);
    }
}

static void act_end(model *m)
{
    comer *c = &m->comers[draw(m, MODEL_GUESTS)];
    if (c->place == INSIDE && draw(m, 4) != 0) {
        guest_leave(&m->r, &c->g, (int)draw(m, 3) - 1);
        model_goes(c);
    } else if (c->place != AWAY && draw(m, 3) == 0) {
        rsl_execution_abandon(&c->g.e, m->r.clock.now);
        m->canceled += c->place == QUEUED;
        m->perhaps_canceled += c->place == GRANTED;
        model_goes(c);
    }
    model_serve(m);
}

static void act_try(model *m)
{
    if (m->held == MODEL_PERMITS) {
        return;
    }
    rsl_bulkhead_permit *permit = &m->permits[m->held];
    bool free_ = in_use(m) < m->limit;
    bool enters = draw(m, 2) == 0 && (free_ || m->waiting_max == 0);
    int rc = enters ? rsl_bulkhead_enter(&m->r.bulkhead, NULL, permit)
                    : rsl_bulkhead_try(&m->r.bulkhead, permit);
    assert_int_equal(rc, free_ ? RSL_OK : RSL_EFULL);
    m->held += free_;
    m->admitted += free_;
    m->refused += !free_;
}

static void act_leave(model *m)
{
    if (m->held > 0) {
        uint32_t i = draw(m, m->held);
        give(&m->r, &m->permits[i]);
        assert_int_equal(rsl_bulkhead_leave(&m->r.bulkhead, &m->permits[i], 0), RSL_EINVAL);
        m->permits[i] = m->permits[--m->held];
        model_serve(m);
    }
}

static void act_rarely(model *m)
{
    uint32_t what = draw(m, 8);
    if (what == 0) {
        m->limit = 1 + draw(m, 8);
        assert_int_equal(rsl_bulkhead_resize(&m->r.bulkhead, m->limit), RSL_OK);
        model_serve(m);
    } else if (what < 3) {
        comer *c = &m->comers[draw(m, MODEL_GUESTS)];
        if (c->place != AWAY) {
            rsl_cancel_fire(&c->cancel);
            c->fired = true;
        }
    } else {
        m->r.clock.now += RSL_MS(draw(m, 12));
    }
}

static void model_compare(model *m)
{
    rsl_bulkhead_stats stats = stats_of(&m->r);
    assert_int_equal(stats.limit, m->limit);
    assert_int_equal(stats.in_use, in_use(m));
    assert_int_equal(stats.waiting, at(m, QUEUED));
    assert_true(stats.admitted == m->admitted + at(m, GRANTED));
    assert_true(stats.refused == m->refused && stats.shed == 0);
    assert_in_range(stats.timed_out, m->late, m->late + m->perhaps_late);
    assert_in_range(stats.canceled, m->canceled, m->canceled + m->perhaps_canceled);
}

static void model_run(model *m, uint64_t seed, int steps)
{
    memset(m, 0, sizeof(*m));
    m->random.state = seed;
    m->limit = 1 + draw(m, 8);
    m->waiting_max = draw(m, 4) == 0 ? 0 : 1 + draw(m, 10);
    m->wait_max = RSL_MS(1 + (rsl_time)draw(m, 60));
    rsl_bulkhead_config config = sized(m->limit, m->waiting_max);
    config.wait_max = m->wait_max;
    rig_start(&m->r, config);
    static void (*const acts[])(model *) = {act_come, act_come,  act_step,   act_step, act_step,
                                            act_end,  act_try,   act_leave,  act_rarely, act_end};
    for (int step = 0; step < steps; step++) {
        acts[draw(m, RSL_COUNT(acts))](m);
        model_compare(m);
    }
    for (int i = 0; i < MODEL_GUESTS; i++) {
        if (m->comers[i].place != AWAY) {
            rsl_execution_abandon(&m->comers[i].g.e, m->r.clock.now);
            model_goes(&m->comers[i]);
        }
    }
    while (m->held > 0) {
        act_leave(m);
    }
    rsl_bulkhead_permit all[8];
    take_many_of(&m->r.bulkhead, all, m->limit); /* not one is lost, and none was made */
    expect_full(&m->r.bulkhead);
    give_many_of(&m->r.bulkhead, all, m->limit, 0);
    rig_end(&m->r);
}

static void random_histories_go_as_the_model_says_and_conserve_the_permits(void **unused)
{
    (void)unused;
    model *m = calloc(1, sizeof(*m));
    assert_non_null(m);
    for (uint64_t seed = 1; seed <= 60; seed++) {
        model_run(m, seed, MODEL_STEPS / 60);
    }
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_layer_says_what_it_is),
        cmocka_unit_test(a_layer_without_a_bulkhead_refuses),
        cmocka_unit_test(a_call_has_a_permit_while_it_runs_and_answers_what_it_likes),
        cmocka_unit_test(a_refusal_names_the_layer_and_makes_no_call),
        cmocka_unit_test(a_blocked_run_is_let_in_when_a_permit_is_left),
        cmocka_unit_test(a_blocked_run_waits_no_longer_than_wait_max_or_its_deadline),
        cmocka_unit_test(a_blocked_run_ends_when_cancelled),
        cmocka_unit_test(the_loop_form_has_a_permit_for_each_call),
        cmocka_unit_test(stepped_executions_wait_in_turn_and_are_woken),
        cmocka_unit_test(priorities_of_executions_order_the_queue),
        cmocka_unit_test(a_stepped_execution_says_when_its_wait_ends),
        cmocka_unit_test(a_wait_beyond_the_end_of_time_is_one_without_end),
        cmocka_unit_test(a_cancelled_execution_leaves_the_queue),
        cmocka_unit_test(who_is_abandoned_while_waiting_leaves_the_queue),
        cmocka_unit_test(a_permit_that_was_granted_to_who_is_abandoned_goes_to_the_next),
        cmocka_unit_test(a_permit_that_was_granted_to_the_last_who_is_abandoned_is_free),
        cmocka_unit_test(a_permit_that_was_granted_to_who_is_late_goes_to_the_next),
        cmocka_unit_test(a_call_that_is_abandoned_gives_its_permit_on),
        cmocka_unit_test(a_call_that_is_stopped_keeps_its_permit_until_it_is_reported),
        cmocka_unit_test(who_tries_does_not_overtake_executions_that_wait),
        cmocka_unit_test(growing_wakes_exactly_as_many_as_there_is_room_for),
        cmocka_unit_test(the_memory_of_a_wait_may_be_used_again_at_once),
        cmocka_unit_test(an_outer_retry_passes_a_refusal_on_unless_told_otherwise),
        cmocka_unit_test(an_outer_breaker_does_not_count_refusals),
        cmocka_unit_test(a_refusal_of_an_inner_layer_gives_the_permit_back_and_is_no_sample),
        cmocka_unit_test(a_call_that_an_inner_timeout_stopped_is_an_overload_whatever_it_says),
        cmocka_unit_test(a_wait_inside_that_an_inner_timeout_cut_is_an_overload_too),
        cmocka_unit_test(the_callers_own_deadline_is_no_overload),
        cmocka_unit_test(samples_of_a_layer_are_measured_in_the_time_of_the_execution),
        cmocka_unit_test(what_waited_is_measured_from_when_it_was_let_in),
        cmocka_unit_test(the_policy_check_refuses_a_bulkhead_around_a_retry_that_sleeps),
        cmocka_unit_test(an_event_loop_drives_two_hundred_calls_through_ten_permits),
        cmocka_unit_test(random_histories_go_as_the_model_says_and_conserve_the_permits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
