/* SPDX-License-Identifier: MIT
   test_bulkhead.c: the permits of bulkhead.h, alone: config, calls, entering and leaving, the
   exactness of the limit, who waits and in which order, resizing, events and numbers. In virtual
   time, but where threads wait for each other.                                               */
#include "support/allocator.h"

#define RSL_BULKHEAD_IMPLEMENTATION
#include "bulkhead.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
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
    config.wait_max = RSL_SEC(100);
    return config;
}

/* On the real clock, for threads that wait. */
static void start_real(rsl_bulkhead *bulkhead, uint32_t calls_max, uint32_t waiting_max)
{
    rsl_bulkhead_config config = {.calls_max = calls_max, .waiting_max = waiting_max};
    assert_int_equal(rsl_bulkhead_init(bulkhead, &config), RSL_OK);
}

static const rsl_ctx no_limits = {0, NULL, NULL, 0, 0};

static rsl_ctx of_priority(int32_t priority)
{
    rsl_ctx ctx = {.priority = priority};
    return ctx;
}

/* -------------------------------------------------------------------- config */

static void zero_resolves_to_the_defaults(void **unused)
{
    (void)unused;
    static const rsl_bulkhead_config zero;
    const rsl_bulkhead_config *configs[] = {NULL, &zero};
    for (size_t i = 0; i < RSL_COUNT(configs); i++) {
        assert_null(rsl_bulkhead_config_check(configs[i]));
        rsl_bulkhead_config c = rsl_bulkhead_config_resolve(configs[i]);
        assert_null(c.name);
        assert_int_equal(c.calls_max, 25);
        assert_int_equal(c.waiting_max, 0);
        assert_true(c.wait_max == RSL_FOREVER);
        assert_int_equal(c.limit, RSL_LIMIT_FIXED);
        assert_int_equal(c.limit_min, 1);
        assert_int_equal(c.limit_max, 1000);
        assert_true(c.latency_target == RSL_MS(100));
        assert_int_equal(c.shed, RSL_SHED_NONE);
        assert_true(c.shed_target == RSL_MS(5));
        assert_true(c.shed_interval == RSL_MS(100));
        assert_null(c.user);
        assert_true(c.clock.now == NULL && c.observer.on_event == NULL);
    }
}

static bool never_overloaded(int result, void *user)
{
    (void)result;
    (void)user;
    return false;
}

static void what_is_set_stays_as_it_is(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    event_recorder events = {.count = 0};
    rsl_bulkhead_config set = {
        .name = "name", .calls_max = 7, .waiting_max = RSL_UNLIMITED, .wait_max = RSL_MS(3),
        .limit = RSL_LIMIT_VEGAS, .limit_min = 2, .limit_max = 9, .latency_target = RSL_MS(4),
        .shed = RSL_SHED_CODEL, .shed_target = RSL_MS(1), .shed_interval = RSL_MS(2),
        .is_overload = never_overloaded, .user = &clock, .clock = virtual_clock_as(&clock),
        .observer = event_recorder_as(&events)};
    assert_null(rsl_bulkhead_config_check(&set));
    rsl_bulkhead_config c = rsl_bulkhead_config_resolve(&set);
    assert_string_equal(c.name, "name");
    assert_int_equal(c.calls_max, 7);
    assert_true(c.waiting_max == RSL_UNLIMITED);
    assert_true(c.wait_max == RSL_MS(3));
    assert_int_equal(c.limit, RSL_LIMIT_VEGAS);
    assert_int_equal(c.limit_min, 2);
    assert_int_equal(c.limit_max, 9);
    assert_true(c.latency_target == RSL_MS(4));
    assert_int_equal(c.shed, RSL_SHED_CODEL);
    assert_true(c.shed_target == RSL_MS(1) && c.shed_interval == RSL_MS(2));
    assert_true(c.is_overload == never_overloaded && c.user == &clock);
    assert_true(c.clock.user == &clock && c.observer.user == &events);
}

static void the_highest_limit_is_by_default_never_below_the_first(void **unused)
{
    (void)unused;
    static const uint32_t calls[] = {1, 999, 1000, 1001, 1000000};
    for (size_t i = 0; i < RSL_COUNT(calls); i++) {
        rsl_bulkhead_config config = {.calls_max = calls[i], .limit = RSL_LIMIT_AIMD};
        assert_null(rsl_bulkhead_config_check(&config));
        uint32_t expected = calls[i] > 1000 ? calls[i] : 1000;
        assert_int_equal(rsl_bulkhead_config_resolve(&config).limit_max, expected);
    }
}

static rsl_time some_now(void *user)
{
    (void)user;
    return START;
}

static void some_sleep(void *user, rsl_time until)
{
    (void)user;
    (void)until;
}

/* The check names the field, and init refuses by it and leaves nothing behind. */
static void expect_bad(rsl_bulkhead_config config, const char *field)
{
    const char *why = rsl_bulkhead_config_check(&config);
    if (why == NULL) {
        fail_msg("%s: taken", field);
        return;
    }
    size_t length = strlen(field);
    if (strncmp(why, field, length) != 0 || strncmp(why + length, ": ", 2) != 0) {
        fail_msg("%s: but it says '%s'", field, why);
    }
    assert_true(strlen(why) > length + 4);
    long live = support_live();
    rsl_bulkhead bulkhead;
    memset(&bulkhead, 0x5A, sizeof(bulkhead));
    assert_int_equal(rsl_bulkhead_init(&bulkhead, &config), RSL_EINVAL);
    rsl_bulkhead_permit permit;
    assert_int_equal(rsl_bulkhead_try(&bulkhead, &permit), RSL_EINVAL);
    rsl_bulkhead_deinit(&bulkhead);
    assert_true(support_live() == live);
}

static void expect_good(rsl_bulkhead_config config)
{
    const char *why = rsl_bulkhead_config_check(&config);
    if (why != NULL) {
        fail_msg("refused: %s", why);
    }
    rsl_bulkhead bulkhead;
    assert_int_equal(rsl_bulkhead_init(&bulkhead, &config), RSL_OK);
    rsl_bulkhead_deinit(&bulkhead);
}

static void wrong_numbers_are_refused_by_name(void **unused)
{
    (void)unused;
    expect_bad((rsl_bulkhead_config){.calls_max = 1000001}, "calls_max");
    expect_bad((rsl_bulkhead_config){.calls_max = UINT32_MAX}, "calls_max");
    expect_bad((rsl_bulkhead_config){.wait_max = -2}, "wait_max");
    expect_bad((rsl_bulkhead_config){.wait_max = INT64_MIN}, "wait_max");
    expect_bad((rsl_bulkhead_config){.latency_target = -1}, "latency_target");
    expect_bad((rsl_bulkhead_config){.shed_target = -1}, "shed_target");
    expect_bad((rsl_bulkhead_config){.shed_interval = -1}, "shed_interval");
    expect_good((rsl_bulkhead_config){.calls_max = 1});
    expect_good((rsl_bulkhead_config){.calls_max = 1000000});
    expect_good((rsl_bulkhead_config){.waiting_max = RSL_UNLIMITED});
    expect_good((rsl_bulkhead_config){.wait_max = 1});
    expect_good((rsl_bulkhead_config){.wait_max = RSL_FOREVER});
    expect_good((rsl_bulkhead_config){.shed = RSL_SHED_CODEL, .waiting_max = 1});
}

static void wrong_kinds_are_refused_by_name(void **unused)
{
    (void)unused;
    expect_bad((rsl_bulkhead_config){.limit = (rsl_bulkhead_limit)(RSL_LIMIT_LATENCY + 1)},
               "limit");
    expect_bad((rsl_bulkhead_config){.limit = (rsl_bulkhead_limit)-1}, "limit");
    expect_bad((rsl_bulkhead_config){.shed = (rsl_bulkhead_shed)(RSL_SHED_CODEL + 1)}, "shed");
    expect_bad((rsl_bulkhead_config){.shed = (rsl_bulkhead_shed)-1}, "shed");
}

static void bounds_that_do_not_hold_the_first_limit_are_refused(void **unused)
{
    (void)unused;
    static const rsl_bulkhead_limit kinds[] = {RSL_LIMIT_AIMD, RSL_LIMIT_VEGAS,
                                               RSL_LIMIT_GRADIENT2, RSL_LIMIT_LATENCY};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rsl_bulkhead_config config = {.calls_max = 10, .limit = kinds[i]};
        config.limit_min = 11;
        expect_bad(config, "limit_min");
        config.limit_min = 10;
        expect_good(config);
        config.limit_max = 9;
        expect_bad(config, "limit_max");
        config.limit_max = 10;
        expect_good(config);
        config.limit_max = 1000000;
        expect_good(config);
        config.limit_max = 1000001;
        expect_bad(config, "limit_max");
    }
}

static void half_a_clock_is_refused(void **unused)
{
    (void)unused;
    expect_bad((rsl_bulkhead_config){.clock = {NULL, some_sleep, NULL}}, "clock.now");
    expect_bad((rsl_bulkhead_config){.clock = {some_now, NULL, NULL}, .waiting_max = 1},
               "clock.sleep_until");
    expect_good((rsl_bulkhead_config){.clock = {some_now, NULL, NULL}}); /* nobody sleeps */
    expect_good((rsl_bulkhead_config){.clock = {some_now, some_sleep, NULL}, .waiting_max = 1});
}

/* ------------------------------------------------------------- init and deinit */

static int count_call(const rsl_ctx *ctx, void *arg)
{
    assert_non_null(ctx);
    if (arg != NULL) {
        ++*(int *)arg;
    }
    return 0;
}

static void expect_dead(rsl_bulkhead *bulkhead)
{
    int calls = 0;
    rsl_bulkhead_permit permit = {0, 0};
    assert_int_equal(rsl_bulkhead_enter(bulkhead, NULL, &permit), RSL_EINVAL);
    assert_int_equal(rsl_bulkhead_try(bulkhead, &permit), RSL_EINVAL);
    assert_int_equal(rsl_bulkhead_leave(bulkhead, &permit, 0), RSL_EINVAL);
    assert_int_equal(rsl_bulkhead_call(bulkhead, NULL, count_call, &calls), RSL_EINVAL);
    assert_int_equal(rsl_bulkhead_resize(bulkhead, 5), RSL_EINVAL);
    assert_int_equal(calls, 0);
    static const rsl_bulkhead_stats zero;
    rsl_bulkhead_stats stats = stats_of_bulkhead(bulkhead);
    assert_memory_equal(&stats, &zero, sizeof(stats));
    assert_int_equal(permit.private_, 0);
}

static void null_is_refused_everywhere(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    assert_int_equal(rsl_bulkhead_init(NULL, NULL), RSL_EINVAL);
    expect_dead(NULL);
    rsl_bulkhead_deinit(NULL);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_bulkhead_try(&r.bulkhead, NULL), RSL_EINVAL);
    assert_int_equal(rsl_bulkhead_leave(&r.bulkhead, NULL, 0), RSL_EINVAL);
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, NULL, NULL, NULL), RSL_EINVAL);
    rsl_bulkhead_stats_get(&r.bulkhead, NULL);
    rsl_bulkhead_stats_get(NULL, NULL);
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.admitted == 0 && stats.refused == 0 && stats.limit == 1);
    rig_end(&r);
}

static void a_bulkhead_that_is_not_initialised_refuses_everything(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    memset(&bulkhead, 0, sizeof(bulkhead));
    expect_dead(&bulkhead);
    rsl_bulkhead_deinit(&bulkhead);
    expect_dead(&bulkhead);
}

static void a_bulkhead_that_was_ended_refuses_everything_and_may_be_made_anew(void **unused)
{
    (void)unused;
    long live = support_live();
    rsl_bulkhead bulkhead;
    for (int round = 0; round < 3; round++) {
        start_real(&bulkhead, 2, 0);
        rsl_bulkhead_permit permits[2];
        take_many_of(&bulkhead, permits, 2);
        expect_full(&bulkhead);
        give_many_of(&bulkhead, permits, 2, 0);
        assert_int_equal(stats_of_bulkhead(&bulkhead).admitted, 2);
        rsl_bulkhead_deinit(&bulkhead);
        expect_dead(&bulkhead);
        rsl_bulkhead_deinit(&bulkhead);
        assert_true(support_live() == live);
    }
}

static void a_new_bulkhead_has_all_permits_free(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(3, 5));
    rsl_bulkhead_stats stats = stats_of(&r);
    static const rsl_bulkhead_stats expected = {.limit = 3};
    assert_memory_equal(&stats, &expected, sizeof(stats));
    assert_int_equal(r.events.count, 0);
    rig_end(&r);
}

static void each_failed_allocation_leaves_a_dead_bulkhead_and_no_memory(void **unused)
{
    (void)unused;
    long live = support_live();
    rsl_bulkhead bulkhead;
    support_fail_never();
    start_real(&bulkhead, 10, 10);
    long needed = support_taken();
    rsl_bulkhead_deinit(&bulkhead);
    assert_true(needed > 0);
    for (long n = 1; n <= needed; n++) {
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            (for_ever ? support_fail_from : support_fail_nth)(n);
            memset(&bulkhead, 0x5A, sizeof(bulkhead));
            assert_int_equal(rsl_bulkhead_init(&bulkhead, NULL), RSL_ENOMEM);
            assert_true(support_live() == live);
            expect_dead(&bulkhead);
            rsl_bulkhead_deinit(&bulkhead);
        }
    }
    support_fail_never();
}

static void nothing_is_allocated_after_init(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2, 2));
    support_fail_from(1);
    for (int i = 0; i < 3000; i++) {
        rsl_bulkhead_permit permits[2];
        take_many_of(&r.bulkhead, permits, 2);
        rsl_bulkhead_permit late;
        rsl_ctx ctx = within(&r, RSL_MS(1));
        assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, &ctx, &late), RSL_ETIMEOUT);
        assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 3), RSL_OK);
        assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 2), RSL_OK);
        give_many_of(&r.bulkhead, permits, 2, 0);
        assert_int_equal(rsl_bulkhead_call(&r.bulkhead, NULL, count_call, NULL), 0);
    }
    assert_true(support_taken() == 0);
    support_fail_never();
    rig_end(&r);
}

static void permits_still_out_may_be_forgotten(void **unused)
{
    (void)unused;
    long live = support_live();
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 3, 0);
    rsl_bulkhead_permit permits[3];
    take_many_of(&bulkhead, permits, 3);
    give_of(&bulkhead, &permits[0], 0);
    rsl_bulkhead_deinit(&bulkhead);
    assert_true(support_live() == live);
}

static void configs_in_rows_of_objects_may_stand_at_any_address(void **unused)
{
    (void)unused;
    rsl_bulkhead row[5];
    for (size_t i = 0; i < RSL_COUNT(row); i++) {
        start_real(&row[i], (uint32_t)i + 1, 0);
    }
    for (size_t i = 0; i < RSL_COUNT(row); i++) {
        rsl_bulkhead_permit permits[5];
        take_many_of(&row[i], permits, i + 1);
        expect_full(&row[i]);
        give_many_of(&row[i], permits, i + 1, 0);
        rsl_bulkhead_deinit(&row[i]);
    }
}

/* ----------------------------------------------------------------------- call */

typedef struct call {
    rig           *r;
    const rsl_ctx *ctx;    /* what it was given */
    int            result, calls, inner;
    uint32_t       in_use; /* during the latest */
    rsl_ctx        seen;
} call;

static int call_it(const rsl_ctx *ctx, void *arg)
{
    call *c = arg;
    c->calls++;
    assert_non_null(ctx);
    c->seen = *ctx;
    c->in_use = stats_of(c->r).in_use;
    errno = 43;
    return c->result;
}

static void a_call_answers_what_its_function_answers_whatever_it_is(void **unused)
{
    (void)unused;
    static const int results[] = {0,          1,        -1,       INT_MIN,  INT_MAX,
                                  RSL_EINVAL, RSL_EFULL, RSL_WAIT, RSL_AGAIN, RSL_DONE};
    rig r;
    rig_start(&r, sized(1, 0));
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        call c = {.r = &r, .result = results[i]};
        errno = 7;
        assert_int_equal(rsl_bulkhead_call(&r.bulkhead, NULL, call_it, &c), results[i]);
        assert_int_equal(errno, 43);
        assert_int_equal(c.calls, 1);
        assert_int_equal(c.in_use, 1);
        expect_stats(&r, 1, 0, 0);
    }
    assert_int_equal(stats_of(&r).admitted, RSL_COUNT(results));
    assert_int_equal(r.events.count, 0);
    rig_end(&r);
}

static void the_function_gets_the_ctx_and_its_argument(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_clock clock = virtual_clock_as(&r.clock);
    rsl_ctx ctx = {START + 5, &cancel, &clock, 3, -9};
    call c = {.r = &r};
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, &ctx, call_it, &c), 0);
    assert_memory_equal(&c.seen, &ctx, sizeof(ctx));
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, NULL, call_it, &c), 0);
    assert_memory_equal(&c.seen, &no_limits, sizeof(ctx));
    rsl_cancel_deinit(&cancel);
    rig_end(&r);
}

static int call_inside(const rsl_ctx *ctx, void *arg)
{
    call *c = arg;
    c->result = rsl_bulkhead_call(&c->r->bulkhead, ctx, count_call, &c->inner);
    return 11;
}

static void a_call_within_a_call_needs_a_second_permit(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    call c = {.r = &r};
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, NULL, call_inside, &c), 11);
    assert_int_equal(c.result, RSL_EFULL);
    assert_int_equal(c.inner, 0);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 2), RSL_OK);
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, NULL, call_inside, &c), 11);
    assert_int_equal(c.result, 0);
    assert_int_equal(c.inner, 1);
    rig_end(&r);
}

static void nothing_starts_under_a_ctx_that_is_spent(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 1));
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_cancel_fire(&cancel);
    rsl_ctx late = {.deadline = START}, canceled = {.cancel = &cancel};
    rsl_ctx both = {.deadline = START - 1, .cancel = &cancel};
    int calls = 0;
    rsl_bulkhead_permit permit;
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, &late, count_call, &calls), RSL_ETIMEOUT);
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, &canceled, count_call, &calls),
                     RSL_ECANCELED);
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, &both, count_call, &calls), RSL_ECANCELED);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, &late, &permit), RSL_ETIMEOUT);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, &canceled, &permit), RSL_ECANCELED);
    assert_int_equal(calls, 0);
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.admitted == 0 && stats.in_use == 0 && stats.waited == 0);
    assert_int_equal(r.clock.sleeps, 0);
    permit = take(&r);
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, &late, count_call, &calls), RSL_ETIMEOUT);
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, &canceled, count_call, &calls),
                     RSL_ECANCELED);
    assert_int_equal(r.clock.sleeps, 0);
    give(&r, &permit);
    rsl_cancel_deinit(&cancel);
    rig_end(&r);
}

/* ------------------------------------------------------------ enter, try, leave */

static void a_permit_is_left_once(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2, 0));
    rsl_bulkhead_permit first = take(&r), second = take(&r);
    give(&r, &first);
    assert_int_equal(rsl_bulkhead_leave(&r.bulkhead, &first, 0), RSL_EINVAL);
    assert_int_equal(rsl_bulkhead_leave(&r.bulkhead, &first, 0), RSL_EINVAL);
    expect_stats(&r, 2, 1, 0);
    give(&r, &second);
    assert_int_equal(rsl_bulkhead_leave(&r.bulkhead, &second, 0), RSL_EINVAL);
    first = take(&r);
    second = take(&r);
    expect_full(&r.bulkhead); /* no permit was made by leaving twice */
    give(&r, &first);
    give(&r, &second);
    rig_end(&r);
}

static void a_permit_that_was_never_given_is_not_left(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    rsl_bulkhead_permit never = {0, 0};
    assert_int_equal(rsl_bulkhead_leave(&r.bulkhead, &never, 0), RSL_EINVAL);
    rsl_bulkhead_permit permit = take(&r);
    rsl_bulkhead_permit refused = {0, 0};
    assert_int_equal(rsl_bulkhead_try(&r.bulkhead, &refused), RSL_EFULL);
    assert_int_equal(rsl_bulkhead_leave(&r.bulkhead, &refused, 0), RSL_EINVAL);
    expect_stats(&r, 1, 1, 0);
    give(&r, &permit);
    rig_end(&r);
}

static void a_permit_of_another_bulkhead_is_not_left_here(void **unused)
{
    (void)unused;
    rig here, there;
    rig_start(&here, sized(1, 0));
    rig_start(&there, sized(1, 0));
    rsl_bulkhead_permit permit = take(&there);
    assert_int_equal(rsl_bulkhead_leave(&here.bulkhead, &permit, 0), RSL_EINVAL);
    expect_stats(&here, 1, 0, 0);
    expect_stats(&there, 1, 1, 0);
    rsl_bulkhead_permit own = take(&here);
    assert_int_equal(rsl_bulkhead_leave(&there.bulkhead, &own, 0), RSL_EINVAL);
    expect_full(&here.bulkhead);
    give(&there, &permit);
    give(&here, &own);
    there.live = here.live; /* whose memory was counted with the other's */
    rsl_bulkhead_deinit(&there.bulkhead);
    rig_end(&here);
}

static void entering_takes_a_permit_as_trying_does(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2, 0));
    rsl_bulkhead_permit first, second;
    rsl_ctx ctx = within(&r, RSL_SEC(1));
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &first), RSL_OK);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, &ctx, &second), RSL_OK);
    assert_true(first.entered == 0 && second.entered == 0); /* the limit is fixed */
    expect_stats(&r, 2, 2, 0);
    expect_full(&r.bulkhead);
    give(&r, &first);
    give(&r, &second);
    assert_int_equal(stats_of(&r).admitted, 2);
    rig_end(&r);
}

static void a_fixed_limit_reads_no_clock_while_nobody_waits(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    for (int i = 0; i < 3000; i++) {
        rsl_bulkhead_permit permit;
        assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &permit), RSL_OK);
        give(&r, &permit);
        assert_int_equal(rsl_bulkhead_call(&r.bulkhead, NULL, count_call, NULL), 0);
    }
    assert_int_equal(r.clock.reads, 0);
    rig_end(&r);
}

static void errno_survives_whatever_is_answered(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 1));
    rsl_bulkhead_permit permit, other;
    rsl_ctx ctx = within(&r, RSL_MS(1));
    errno = 7;
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &permit), RSL_OK);
    assert_int_equal(errno, 7);
    assert_int_equal(rsl_bulkhead_try(&r.bulkhead, &other), RSL_EFULL);
    assert_int_equal(errno, 7);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, &ctx, &other), RSL_ETIMEOUT);
    assert_int_equal(errno, 7);
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, &ctx, count_call, NULL), RSL_ETIMEOUT);
    assert_int_equal(errno, 7);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 2), RSL_OK);
    assert_int_equal(rsl_bulkhead_leave(&r.bulkhead, &permit, 5), RSL_OK);
    assert_int_equal(rsl_bulkhead_leave(&r.bulkhead, &permit, 5), RSL_EINVAL);
    assert_int_equal(errno, 7);
    rig_end(&r);
}

static void scribble(const rsl_event *event, void *arg)
{
    (void)event;
    (void)arg;
    errno = SCRIBBLED;
}

static void errno_survives_an_observer_that_changes_it(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 1));
    r.events.then = scribble;
    rsl_bulkhead_permit permit = take(&r), other;
    rsl_ctx ctx = within(&r, RSL_MS(1));
    errno = 7;
    assert_int_equal(rsl_bulkhead_try(&r.bulkhead, &other), RSL_EFULL);
    assert_int_equal(errno, 7);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, &ctx, &other), RSL_ETIMEOUT);
    assert_int_equal(errno, 7);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 2), RSL_OK);
    assert_int_equal(errno, 7);
    assert_true(r.events.count >= 3);
    give(&r, &permit);
    rig_end(&r);
}

/* -------------------------------------------------------------- an exact limit */

/* Takes all that there are, one more is refused, gives all back. */
static void saturate(rsl_bulkhead *bulkhead, uint32_t limit)
{
    rsl_bulkhead_permit *permits = calloc(limit, sizeof(*permits));
    assert_non_null(permits);
    take_many_of(bulkhead, permits, limit);
    expect_full(bulkhead);
    expect_full(bulkhead);
    assert_int_equal(stats_of_bulkhead(bulkhead).in_use, limit);
    give_of(bulkhead, &permits[limit / 2], 0);
    permits[limit / 2] = take_of(bulkhead);
    expect_full(bulkhead);
    give_many_of(bulkhead, permits, limit, 0);
    assert_int_equal(stats_of_bulkhead(bulkhead).in_use, 0);
    free(permits);
}

static void enter_often(rsl_bulkhead *bulkhead, int times)
{
    for (int i = 0; i < times; i++) {
        rsl_bulkhead_permit permit = take_of(bulkhead);
        give_of(bulkhead, &permit, 0);
    }
}

static void the_limit_is_exact_after_any_number_of_entries(void **unused)
{
    (void)unused;
    static const uint32_t limits[] = {1, 2, 3, 10, 100, 1000};
    for (size_t i = 0; i < RSL_COUNT(limits); i++) {
        rsl_bulkhead bulkhead;
        start_real(&bulkhead, limits[i], 0);
        uint64_t admitted = 0;
        for (int round = 0; round < 3; round++) {
            saturate(&bulkhead, limits[i]);
            saturate(&bulkhead, limits[i]);
            enter_often(&bulkhead, 5000);
            saturate(&bulkhead, limits[i]);
            admitted += 3 * (limits[i] + 1) + 5000;
            assert_true(stats_of_bulkhead(&bulkhead).admitted == admitted);
        }
        rsl_bulkhead_deinit(&bulkhead);
    }
}

static void the_limit_is_exact_after_each_number_of_entries_since_it_was_full(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 3, 0);
    for (int times = 0; times < 40; times++) {
        enter_often(&bulkhead, times);
        saturate(&bulkhead, 3);
    }
    for (int times = 1000; times < 1050; times++) {
        enter_often(&bulkhead, times);
        saturate(&bulkhead, 3);
    }
    rsl_bulkhead_deinit(&bulkhead);
}

/* Looks inside, for nobody can wait for so many entries: each shard counts its own in 40 bits. */
static void entries_beyond_what_a_shard_can_count_are_folded_in(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 3, 0);
    uint64_t many = (UINT64_C(1) << 39) - 100 - (UINT64_C(1) << 20);
    for (int i = 0; i < 16; i++) {
        bulkhead.shards_[i].word += many;
    }
    assert_true(stats_of_bulkhead(&bulkhead).admitted == 16 * many);
    enter_often(&bulkhead, 5000);
    assert_true(bulkhead.admitted_ >= many);
    assert_true(stats_of_bulkhead(&bulkhead).admitted == 16 * many + 5000);
    saturate(&bulkhead, 3);
    assert_true(stats_of_bulkhead(&bulkhead).admitted == 16 * many + 5004);
    rsl_bulkhead_deinit(&bulkhead);
}

static void the_limit_is_exact_while_some_permits_stay_out(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 8, 0);
    for (uint32_t out = 0; out < 8; out++) {
        rsl_bulkhead_permit kept[8];
        take_many_of(&bulkhead, kept, out);
        for (int round = 0; round < 3; round++) {
            enter_often(&bulkhead, round * 1100);
            rsl_bulkhead_permit rest[8];
            take_many_of(&bulkhead, rest, 8 - out);
            expect_full(&bulkhead);
            give_many_of(&bulkhead, rest, 8 - out, 0);
            assert_int_equal(stats_of_bulkhead(&bulkhead).in_use, out);
        }
        give_many_of(&bulkhead, kept, out, 0);
    }
    rsl_bulkhead_deinit(&bulkhead);
}

static void the_greatest_limit_is_exact(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 1000000, 0);
    saturate(&bulkhead, 1000000);
    assert_true(stats_of_bulkhead(&bulkhead).refused == 3);
    rsl_bulkhead_deinit(&bulkhead);
}

enum { SCATTERERS = 20, SCATTER_LIMIT = 60, SCATTER_ROUNDS = 12 };

/* Threads that take permits and give them back in turns that the test sets. */
typedef struct scatter {
    rsl_bulkhead bulkhead;
    _Atomic int  turn;    /* of the test: a thread acts when it changes; -1: end */
    _Atomic int  acted;   /* threads that did, in all turns */
    _Atomic int  refused;
    uint32_t     each;    /* permits that each takes */
} scatter;

static void *scatter_run(void *arg)
{
    scatter *s = arg;
    rsl_bulkhead_permit permits[SCATTER_LIMIT];
    uint32_t held = 0;
    for (int seen = 0;;) {
        int turn = atomic_load(&s->turn);
        if (turn == -1) {
            return NULL;
        }
        if (turn == seen) {
            nap();
            continue;
        }
        seen = turn;
        if (turn % 2 == 1) { /* take, else give */
            while (held < s->each && rsl_bulkhead_try(&s->bulkhead, &permits[held]) == RSL_OK) {
                held++;
            }
            atomic_fetch_add(&s->refused, (int)(s->each - held));
        } else {
            for (; held > 0; held--) {
                (void)rsl_bulkhead_leave(&s->bulkhead, &permits[held - 1], 0);
            }
        }
        atomic_fetch_add(&s->acted, 1);
    }
}

static void scatter_turn(scatter *s, int count)
{
    int turn = atomic_load(&s->turn) + 1;
    atomic_store(&s->turn, turn);
    await_entered(&s->acted, turn * count);
}

static void permits_that_lie_scattered_over_threads_are_all_found(void **unused)
{
    (void)unused;
    static const int counts[] = {1, 2, 5, SCATTERERS};
    for (size_t i = 0; i < RSL_COUNT(counts); i++) {
        scatter s;
        memset(&s, 0, sizeof(s));
        start_real(&s.bulkhead, SCATTER_LIMIT, 0);
        s.each = SCATTER_LIMIT / (uint32_t)counts[i];
        pthread_t threads[SCATTERERS];
        for (int t = 0; t < counts[i]; t++) {
            assert_int_equal(pthread_create(&threads[t], NULL, scatter_run, &s), 0);
        }
        for (int round = 0; round < SCATTER_ROUNDS; round++) {
            scatter_turn(&s, counts[i]); /* each takes its part: all are out */
            assert_int_equal(atomic_load(&s.refused), 0);
            expect_full(&s.bulkhead);
            scatter_turn(&s, counts[i]); /* and gives it back, to lie where it may */
            if (round % 3 != 2) {
                saturate(&s.bulkhead, SCATTER_LIMIT); /* all for this thread */
            }
            if (round % 4 == 3) {
                enter_often(&s.bulkhead, 1500);
            }
        }
        atomic_store(&s.turn, -1);
        for (int t = 0; t < counts[i]; t++) {
            assert_int_equal(pthread_join(threads[t], NULL), 0);
        }
        saturate(&s.bulkhead, SCATTER_LIMIT); /* what they left behind is found too */
        rsl_bulkhead_deinit(&s.bulkhead);
    }
}

typedef struct porter {
    rsl_bulkhead        *bulkhead;
    rsl_bulkhead_permit *permits;
    size_t               count;
    int                  failures;
} porter;

static void *porter_run(void *arg)
{
    porter *p = arg;
    for (size_t i = 0; i < p->count; i++) {
        p->failures += rsl_bulkhead_leave(p->bulkhead, &p->permits[i], 0) != RSL_OK;
        p->failures += rsl_bulkhead_leave(p->bulkhead, &p->permits[i], 0) != RSL_EINVAL;
    }
    return NULL;
}

static void a_permit_may_be_left_by_another_thread(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 40, 0);
    for (int round = 0; round < 30; round++) {
        rsl_bulkhead_permit permits[40];
        size_t count = round % 3 == 0 ? 40 : 7; /* all that there are, or a few */
        take_many_of(&bulkhead, permits, count);
        if (round % 3 == 0) {
            expect_full(&bulkhead);
        }
        porter p = {&bulkhead, permits, count, 0};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, porter_run, &p), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(p.failures, 0);
        saturate(&bulkhead, 40);
        enter_often(&bulkhead, round * 100);
    }
    rsl_bulkhead_deinit(&bulkhead);
}

/* -------------------------------------------------------------------- waiting */

static void without_room_to_wait_who_finds_no_permit_is_refused_at_once(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    rsl_bulkhead_permit permit = take(&r), other;
    rsl_ctx ctx = within(&r, RSL_SEC(1));
    int calls = 0;
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, &ctx, &other), RSL_EFULL);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &other), RSL_EFULL);
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, NULL, count_call, &calls), RSL_EFULL);
    expect_full(&r.bulkhead);
    assert_int_equal(calls, 0);
    assert_int_equal(r.clock.sleeps, 0);
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.refused == 4 && stats.waited == 0 && stats.timed_out == 0);
    assert_true(stats.admitted == 1 && stats.in_use == 1 && stats.shed == 0);
    give(&r, &permit);
    rig_end(&r);
}

static void a_wait_ends_when_a_permit_is_left(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 1));
    rsl_bulkhead_permit permit = take(&r), other;
    rig_permit leaving = {&r, &permit};
    timeline_add(&r.line, START + RSL_MS(30), leave_then, &leaving);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &other), RSL_OK);
    assert_true(r.clock.now == START + RSL_MS(30));
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.admitted == 2 && stats.waited == 1 && stats.in_use == 1);
    assert_true(stats.wait_total == RSL_MS(30));
    assert_true(stats.waiting == 0 && stats.refused == 0 && stats.timed_out == 0);
    assert_int_equal(rsl_bulkhead_leave(&r.bulkhead, &permit, 0), RSL_EINVAL);
    give(&r, &other);
    assert_int_equal(r.events.count, 0);
    rig_end(&r);
}

static void a_wait_ends_after_wait_max(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(1, 1);
    config.wait_max = RSL_MS(50);
    rig_start(&r, config);
    rsl_bulkhead_permit permit = take(&r), other;
    rsl_ctx later = within(&r, RSL_SEC(5));
    const rsl_ctx *ctxs[] = {NULL, &no_limits, &later};
    for (size_t i = 0; i < RSL_COUNT(ctxs); i++) {
        rsl_time began = r.clock.now;
        assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, ctxs[i], &other), RSL_ETIMEOUT);
        assert_true(r.clock.now == began + RSL_MS(50));
    }
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.timed_out == 3 && stats.waited == 0 && stats.wait_total == 0);
    assert_true(stats.in_use == 1 && stats.waiting == 0 && stats.refused == 0);
    give(&r, &permit);
    rig_end(&r);
}

static void an_explicit_wait_of_no_time_does_not_wait(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(1, 1);
    config.wait_max = RSL_NONE;
    rig_start(&r, config);
    assert_true(rsl_bulkhead_config_resolve(&config).wait_max == 0);
    rsl_bulkhead_permit permit = take(&r), other;
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &other), RSL_EFULL);
    assert_int_equal(r.clock.sleeps, 0);
    expect_stats(&r, 1, 1, 0);
    assert_int_equal(stats_of(&r).refused, 1);
    give(&r, &permit);
    rig_end(&r);
}

static void a_wait_ends_at_the_deadline_when_that_is_earlier(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 1));
    rsl_bulkhead_permit permit = take(&r), other;
    rsl_clock clock = virtual_clock_as(&r.clock);
    for (int own = 0; own < 2; own++) {
        rsl_ctx ctx = within(&r, RSL_MS(20));
        ctx.clock = own ? &clock : NULL;
        assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, &ctx, &other), RSL_ETIMEOUT);
        assert_true(r.clock.now == ctx.deadline);
    }
    assert_int_equal(stats_of(&r).timed_out, 2);
    give(&r, &permit);
    rig_end(&r);
}

static void a_wake_up_for_nothing_does_not_restart_the_wait(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(1, 1);
    config.wait_max = RSL_MS(50);
    rig_start(&r, config);
    rsl_bulkhead_permit permit = take(&r), other;
    r.clock.wake_early = RSL_MS(20);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &other), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_MS(50));
    assert_int_equal(r.clock.sleeps, 2);
    give(&r, &permit);
    rig_end(&r);
}

static void a_wait_ends_when_cancelled(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 1));
    rsl_bulkhead_permit permit = take(&r), other;
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    timeline_add(&r.line, START + RSL_MS(5), fire_then, &cancel);
    rsl_ctx ctx = {.cancel = &cancel};
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, &ctx, &other), RSL_ECANCELED);
    assert_true(r.clock.now == START + RSL_MS(5));
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.canceled == 1 && stats.timed_out == 0 && stats.refused == 0);
    assert_true(stats.waiting == 0 && stats.in_use == 1 && stats.admitted == 1);
    give(&r, &permit);
    rsl_cancel_deinit(&cancel);
    rig_end(&r);
}

static void who_gave_up_leaves_its_place_to_the_next(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(1, 1);
    config.wait_max = RSL_MS(10);
    rig_start(&r, config);
    rsl_bulkhead_permit permit = take(&r), other;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &other), RSL_ETIMEOUT);
    }
    rig_permit leaving = {&r, &permit};
    timeline_add(&r.line, r.clock.now + RSL_MS(3), leave_then, &leaving);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &other), RSL_OK);
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.timed_out == 100 && stats.refused == 0 && stats.waited == 1);
    assert_true(stats.wait_total == RSL_MS(3));
    give(&r, &other);
    expect_stats(&r, 1, 0, 0);
    rig_end(&r);
}

typedef struct late_grant { rig *r; rsl_bulkhead_permit *permit; rsl_time then; } late_grant;

/* The permit comes in time, but the waiter's thread runs on only after its deadline. */
static void leave_and_oversleep(void *arg)
{
    late_grant *g = arg;
    give(g->r, g->permit);
    g->r->clock.now = g->then;
}

static void a_call_whose_permit_came_but_whose_time_is_over_never_starts(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 1));
    rsl_bulkhead_permit permit = take(&r);
    rsl_ctx ctx = within(&r, RSL_MS(10));
    late_grant grant = {&r, &permit, START + RSL_MS(11)};
    timeline_add(&r.line, START + RSL_MS(9), leave_and_oversleep, &grant);
    int calls = 0;
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, &ctx, count_call, &calls), RSL_ETIMEOUT);
    assert_int_equal(calls, 0);
    expect_stats(&r, 1, 0, 0);
    saturate(&r.bulkhead, 1); /* the permit was given back */
    rig_end(&r);
}

static void leave_and_fire(void *arg)
{
    late_grant *g = arg;
    give(g->r, g->permit);
    rsl_cancel_fire(g->r->line.moments[1].arg);
}

static void a_call_whose_permit_came_but_that_is_cancelled_never_starts(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 1));
    rsl_bulkhead_permit permit = take(&r);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    late_grant grant = {&r, &permit, 0};
    timeline_add(&r.line, START + RSL_MS(9), leave_and_fire, &grant);
    timeline_add(&r.line, START + RSL_SEC(99), fire_then, &cancel);
    rsl_ctx ctx = {.cancel = &cancel};
    int calls = 0;
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, &ctx, count_call, &calls), RSL_ECANCELED);
    assert_int_equal(calls, 0);
    expect_stats(&r, 1, 0, 0);
    saturate(&r.bulkhead, 1);
    rsl_cancel_deinit(&cancel);
    rig_end(&r);
}

static void a_call_that_waited_has_the_permit_while_it_runs(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 1));
    rsl_bulkhead_permit permit = take(&r);
    rig_permit leaving = {&r, &permit};
    timeline_add(&r.line, START + RSL_MS(4), leave_then, &leaving);
    call c = {.r = &r, .result = 6};
    rsl_ctx ctx = within(&r, RSL_MS(10));
    assert_int_equal(rsl_bulkhead_call(&r.bulkhead, &ctx, call_it, &c), 6);
    assert_true(c.calls == 1 && c.in_use == 1);
    expect_stats(&r, 1, 0, 0);
    rig_end(&r);
}

static void more_than_waiting_max_do_not_wait(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 1, 3);
    rsl_bulkhead_permit permit = take_of(&bulkhead), other;
    _Atomic int entered = 0;
    visitor v[3];
    for (int i = 0; i < 3; i++) {
        visitor_queue(&v[i], &bulkhead, &entered, no_limits);
    }
    assert_int_equal(rsl_bulkhead_enter(&bulkhead, NULL, &other), RSL_EFULL);
    rsl_ctx urgent = of_priority(9);
    assert_int_equal(rsl_bulkhead_enter(&bulkhead, &urgent, &other), RSL_EFULL);
    expect_full(&bulkhead);
    rsl_bulkhead_stats stats = stats_of_bulkhead(&bulkhead);
    assert_true(stats.refused == 3 && stats.waiting == 3);
    give_of(&bulkhead, &permit, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(visitor_join(&v[i]), RSL_OK);
        assert_int_equal(v[i].came_in, i + 1);
        give_of(&bulkhead, &v[i].permit, 0);
    }
    assert_int_equal(stats_of_bulkhead(&bulkhead).in_use, 0);
    rsl_bulkhead_deinit(&bulkhead);
}

static void who_waits_is_served_in_order_of_coming(void **unused)
{
    (void)unused;
    enum { VISITORS = 8 };
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 1, RSL_UNLIMITED);
    rsl_bulkhead_permit permit = take_of(&bulkhead);
    _Atomic int entered = 0;
    visitor v[VISITORS];
    for (int i = 0; i < VISITORS; i++) {
        visitor_queue(&v[i], &bulkhead, &entered, no_limits);
    }
    give_of(&bulkhead, &permit, 0);
    for (int i = 0; i < VISITORS; i++) {
        await_entered(&entered, i + 1);
        expect_full(&bulkhead); /* who tries does not overtake */
        assert_int_equal(visitor_join(&v[i]), RSL_OK);
        assert_int_equal(v[i].came_in, i + 1);
        assert_int_equal(atomic_load(&entered), i + 1);
        assert_int_equal(stats_of_bulkhead(&bulkhead).waiting, VISITORS - 1 - i);
        give_of(&bulkhead, &v[i].permit, 0);
    }
    rsl_bulkhead_stats stats = stats_of_bulkhead(&bulkhead);
    assert_true(stats.waited == VISITORS && stats.admitted == VISITORS + 1);
    assert_true(stats.wait_total > 0);
    rsl_bulkhead_deinit(&bulkhead);
}

static void higher_priorities_go_first_and_equals_keep_their_order(void **unused)
{
    (void)unused;
    static const int32_t priorities[] = {0, -5, 3, 0, INT32_MAX, 3, INT32_MIN, -5};
    static const int places[] = {4, 6, 2, 5, 1, 3, 8, 7};
    enum { VISITORS = 8 };
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 1, VISITORS);
    rsl_bulkhead_permit permit = take_of(&bulkhead);
    _Atomic int entered = 0;
    visitor v[VISITORS];
    for (int i = 0; i < VISITORS; i++) {
        visitor_queue(&v[i], &bulkhead, &entered, of_priority(priorities[i]));
    }
    give_of(&bulkhead, &permit, 0);
    for (int place = 1; place <= VISITORS; place++) {
        await_entered(&entered, place);
        for (int i = 0; i < VISITORS; i++) {
            if (places[i] == place) {
                assert_int_equal(visitor_join(&v[i]), RSL_OK);
                assert_int_equal(v[i].came_in, place);
                give_of(&bulkhead, &v[i].permit, 0);
            }
        }
    }
    rsl_bulkhead_deinit(&bulkhead);
}

static void cancelling_ends_a_wait_without_end_at_once(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 1, 4);
    rsl_bulkhead_permit permit = take_of(&bulkhead);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_ctx under = {.cancel = &cancel};
    _Atomic int entered = 0;
    visitor v[3];
    visitor_queue(&v[0], &bulkhead, &entered, under);
    visitor_queue(&v[1], &bulkhead, &entered, no_limits);
    visitor_queue(&v[2], &bulkhead, &entered, under);
    rsl_cancel_fire(&cancel);
    assert_int_equal(visitor_join(&v[0]), RSL_ECANCELED);
    assert_int_equal(visitor_join(&v[2]), RSL_ECANCELED);
    rsl_bulkhead_stats stats = stats_of_bulkhead(&bulkhead);
    assert_true(stats.waiting == 1 && stats.canceled == 2 && stats.in_use == 1);
    give_of(&bulkhead, &permit, 0);
    assert_int_equal(visitor_join(&v[1]), RSL_OK); /* past those who gave up */
    give_of(&bulkhead, &v[1].permit, 0);
    rsl_cancel_deinit(&cancel);
    rsl_bulkhead_deinit(&bulkhead);
}

static void a_real_wait_ends_at_its_deadline_and_not_before(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 1, 1);
    rsl_bulkhead_permit permit = take_of(&bulkhead), other;
    rsl_time began = rsl_now();
    rsl_ctx ctx = rsl_within(RSL_MS(15));
    assert_int_equal(rsl_bulkhead_enter(&bulkhead, &ctx, &other), RSL_ETIMEOUT);
    rsl_time took = rsl_now() - began;
    assert_true(took >= RSL_MS(15) && took < RSL_SEC(10));
    give_of(&bulkhead, &permit, 0);
    rsl_bulkhead_deinit(&bulkhead);
}

static void a_wait_of_another_priority_that_ends_takes_nobody_with_it(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 1, 8);
    rsl_bulkhead_permit permit = take_of(&bulkhead);
    _Atomic int entered = 0;
    visitor v[5];
    rsl_cancel cancels[5];
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rsl_cancel_init(&cancels[i], NULL), RSL_OK);
        rsl_ctx ctx = {.cancel = &cancels[i], .priority = i % 2};
        visitor_queue(&v[i], &bulkhead, &entered, ctx); /* the order is 1 3 0 2 4 */
    }
    rsl_cancel_fire(&cancels[3]);
    rsl_cancel_fire(&cancels[0]);
    rsl_cancel_fire(&cancels[4]);
    assert_int_equal(visitor_join(&v[3]), RSL_ECANCELED);
    assert_int_equal(visitor_join(&v[0]), RSL_ECANCELED);
    assert_int_equal(visitor_join(&v[4]), RSL_ECANCELED);
    give_of(&bulkhead, &permit, 0);
    assert_int_equal(visitor_join(&v[1]), RSL_OK);
    give_of(&bulkhead, &v[1].permit, 0);
    assert_int_equal(visitor_join(&v[2]), RSL_OK);
    give_of(&bulkhead, &v[2].permit, 0);
    assert_true(v[1].came_in == 1 && v[2].came_in == 2);
    saturate(&bulkhead, 1);
    for (int i = 0; i < 5; i++) {
        rsl_cancel_deinit(&cancels[i]);
    }
    rsl_bulkhead_deinit(&bulkhead);
}

#ifndef _WIN32
static void *enter_until_cancelled(void *arg)
{
    visitor *v = arg;
    v->status = rsl_bulkhead_enter(v->bulkhead, &v->ctx, &v->permit);
    v->came_in = rsl_bulkhead_leave(v->bulkhead, &v->permit, 0);
    pthread_testcancel();
    return NULL;
}

static void a_thread_cancelled_in_its_wait_goes_on_with_its_permit(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 1, 1);
    rsl_bulkhead_permit permit = take_of(&bulkhead);
    visitor v = {.bulkhead = &bulkhead, .status = -1, .came_in = -1};
    assert_int_equal(pthread_create(&v.thread, NULL, enter_until_cancelled, &v), 0);
    await_waiting(&bulkhead, 1);
    assert_int_equal(pthread_cancel(v.thread), 0);
    give_of(&bulkhead, &permit, 0);
    void *end = NULL;
    assert_int_equal(pthread_join(v.thread, &end), 0);
    assert_true(end == PTHREAD_CANCELED);
    assert_true(v.status == RSL_OK && v.came_in == RSL_OK);
    saturate(&bulkhead, 1);
    rsl_bulkhead_deinit(&bulkhead);
}
#endif

/* -------------------------------------------------------------------- resizing */

static void growing_lets_in_exactly_as_many_as_there_is_room_for(void **unused)
{
    (void)unused;
    enum { VISITORS = 6 };
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 1, VISITORS);
    rsl_bulkhead_permit permit = take_of(&bulkhead);
    _Atomic int entered = 0;
    visitor v[VISITORS];
    for (int i = 0; i < VISITORS; i++) {
        visitor_queue(&v[i], &bulkhead, &entered, no_limits);
    }
    assert_int_equal(rsl_bulkhead_resize(&bulkhead, 3), RSL_OK);
    rsl_bulkhead_stats stats = stats_of_bulkhead(&bulkhead);
    assert_true(stats.limit == 3 && stats.in_use == 3 && stats.waiting == VISITORS - 2);
    assert_int_equal(visitor_join(&v[0]), RSL_OK);
    assert_int_equal(visitor_join(&v[1]), RSL_OK);
    for (int i = 2; i < VISITORS; i++) {
        assert_false(atomic_load(&v[i].answered));
    }
    assert_int_equal(rsl_bulkhead_resize(&bulkhead, 100), RSL_OK);
    for (int i = 2; i < VISITORS; i++) {
        assert_int_equal(visitor_join(&v[i]), RSL_OK);
    }
    stats = stats_of_bulkhead(&bulkhead);
    assert_true(stats.in_use == VISITORS + 1 && stats.waiting == 0);
    rsl_bulkhead_permit rest[100];
    take_many_of(&bulkhead, rest, 100 - VISITORS - 1);
    expect_full(&bulkhead);
    give_many_of(&bulkhead, rest, 100 - VISITORS - 1, 0);
    for (int i = 0; i < VISITORS; i++) {
        give_of(&bulkhead, &v[i].permit, 0);
    }
    give_of(&bulkhead, &permit, 0);
    saturate(&bulkhead, 100);
    rsl_bulkhead_deinit(&bulkhead);
}

static void shrinking_waits_for_nobody_and_lets_nobody_in_until_fewer_are_inside(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(5, 1));
    rsl_bulkhead_permit permits[5];
    take_many_of(&r.bulkhead, permits, 5);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 2), RSL_OK);
    assert_true(r.clock.sleeps == 0);
    expect_stats(&r, 2, 5, 0);
    for (uint32_t inside = 5; inside > 2; inside--) {
        expect_full(&r.bulkhead);
        give(&r, &permits[inside - 1]);
        expect_stats(&r, 2, inside - 1, 0);
    }
    expect_full(&r.bulkhead);
    give(&r, &permits[1]);
    rsl_bulkhead_permit permit = take(&r);
    expect_full(&r.bulkhead);
    give(&r, &permit);
    give(&r, &permits[0]);
    saturate(&r.bulkhead, 2);
    rig_end(&r);
}

static void who_waits_is_let_in_only_once_the_calls_inside_fit_a_smaller_limit(void **unused)
{
    (void)unused;
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 3, 2);
    rsl_bulkhead_permit permits[3];
    take_many_of(&bulkhead, permits, 3);
    _Atomic int entered = 0;
    visitor v;
    visitor_queue(&v, &bulkhead, &entered, no_limits);
    assert_int_equal(rsl_bulkhead_resize(&bulkhead, 1), RSL_OK);
    give_of(&bulkhead, &permits[0], 0);
    give_of(&bulkhead, &permits[1], 0);
    rsl_bulkhead_stats stats = stats_of_bulkhead(&bulkhead);
    assert_true(stats.in_use == 1 && stats.waiting == 1);
    assert_false(atomic_load(&v.answered));
    give_of(&bulkhead, &permits[2], 0);
    assert_int_equal(visitor_join(&v), RSL_OK);
    expect_full(&bulkhead);
    give_of(&bulkhead, &v.permit, 0);
    rsl_bulkhead_deinit(&bulkhead);
}

static void resizing_keeps_the_limit_exact_in_either_direction(void **unused)
{
    (void)unused;
    static const uint32_t limits[] = {1, 50, 7, 8, 1, 1000, 3, 1000000, 2};
    rsl_bulkhead bulkhead;
    start_real(&bulkhead, 25, 0);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < RSL_COUNT(limits); i++) {
            enter_often(&bulkhead, round * 400);
            assert_int_equal(rsl_bulkhead_resize(&bulkhead, limits[i]), RSL_OK);
            assert_int_equal(stats_of_bulkhead(&bulkhead).limit, limits[i]);
            if (limits[i] <= 1000) {
                saturate(&bulkhead, limits[i]);
            }
        }
    }
    rsl_bulkhead_deinit(&bulkhead);
}

static void a_limit_out_of_bounds_is_refused_and_changes_nothing(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(4, 0));
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 0), RSL_EINVAL);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 1000001), RSL_EINVAL);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, UINT32_MAX), RSL_EINVAL);
    expect_stats(&r, 4, 0, 0);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 1000000), RSL_OK);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 1), RSL_OK);
    saturate(&r.bulkhead, 1);
    rig_end(&r);
    rsl_bulkhead_config config = sized(4, 0);
    config.limit = RSL_LIMIT_AIMD;
    config.limit_min = 2;
    config.limit_max = 6;
    rig_start(&r, config);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 1), RSL_EINVAL);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 7), RSL_EINVAL);
    expect_stats(&r, 4, 0, 0);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 2), RSL_OK);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 6), RSL_OK);
    saturate(&r.bulkhead, 6);
    rig_end(&r);
}

/* ---------------------------------------------------------------------- events */

static void expect_event(const rig *r, int kind, int status, rsl_time at)
{
    const rsl_event *event = event_recorder_last(&r->events, kind);
    assert_non_null(event);
    assert_int_equal(event->status, status);
    assert_true(event->at == at);
}

static void each_refusal_is_told(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(1, 1);
    config.name = "gate";
    config.wait_max = RSL_MS(10);
    rig_start(&r, config);
    rsl_bulkhead_permit permit = take(&r), other;
    expect_full(&r.bulkhead);
    assert_int_equal(r.events.count, 1);
    expect_event(&r, RSL_BULKHEAD_REFUSED, RSL_EFULL, START);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &other), RSL_ETIMEOUT);
    assert_int_equal(r.events.count, 2);
    expect_event(&r, RSL_BULKHEAD_TIMED_OUT, RSL_ETIMEOUT, START + RSL_MS(10));
    for (size_t i = 0; i < r.events.count; i++) {
        assert_string_equal(r.events.events[i].source, "gate");
        assert_true(r.events.events[i].name[0] != 0);
        assert_string_not_equal(r.events.events[i].name, "(null)");
    }
    give(&r, &permit);
    rig_end(&r);
}

static void a_new_limit_is_told_and_the_old_one_is_not(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2, 0));
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 2), RSL_OK);
    assert_int_equal(r.events.count, 0);
    r.clock.now += 9;
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 5), RSL_OK);
    assert_int_equal(r.events.count, 1);
    expect_event(&r, RSL_BULKHEAD_LIMIT, 0, START + 9);
    assert_true(event_recorder_last(&r.events, RSL_BULKHEAD_LIMIT)->value == 5);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 1), RSL_OK);
    assert_int_equal(r.events.count, 2);
    assert_true(event_recorder_last(&r.events, RSL_BULKHEAD_LIMIT)->value == 1);
    rig_end(&r);
}

typedef struct reentry { rig *r; int depth, events; } reentry;

/* Uses all that would hang if a lock were held. */
static void enter_again(const rsl_event *event, void *arg)
{
    reentry *it = arg;
    it->events++;
    if (it->depth > 0) {
        return;
    }
    it->depth++;
    rsl_bulkhead *bulkhead = &it->r->bulkhead;
    uint32_t limit = stats_of(it->r).limit;
    rsl_bulkhead_permit permit;
    if (event->kind != RSL_BULKHEAD_LIMIT) {
        assert_int_equal(rsl_bulkhead_resize(bulkhead, limit + 1), RSL_OK);
        assert_int_equal(rsl_bulkhead_enter(bulkhead, NULL, &permit), RSL_OK);
        assert_int_equal(rsl_bulkhead_try(bulkhead, &permit), RSL_EFULL);
        give_of(bulkhead, &permit, 0);
        assert_int_equal(rsl_bulkhead_resize(bulkhead, limit), RSL_OK);
    }
    assert_int_equal(rsl_bulkhead_call(bulkhead, NULL, count_call, NULL), RSL_ETIMEOUT);
    it->depth--;
}

static void an_observer_may_use_the_bulkhead_that_calls_it(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(2, 1);
    config.wait_max = RSL_MS(10);
    rig_start(&r, config);
    rsl_bulkhead_permit permits[2], other;
    take_many_of(&r.bulkhead, permits, 2);
    reentry it = {&r, 0, 0};
    r.events.then = enter_again;
    r.events.arg = &it;
    expect_full(&r.bulkhead);
    assert_true(it.events > 1);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &other), RSL_ETIMEOUT);
    assert_int_equal(rsl_bulkhead_resize(&r.bulkhead, 1), RSL_OK);
    assert_int_equal(events_of(&r, RSL_BULKHEAD_TIMED_OUT), 1 + 3); /* its own three */
    r.events.then = NULL;
    give_many_of(&r.bulkhead, permits, 2, 0);
    saturate(&r.bulkhead, 1);
    rig_end(&r);
}

static void numbers_of_events_have_no_gaps(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1, 0));
    rsl_bulkhead_permit permit = take(&r);
    for (int i = 0; i < 50; i++) {
        expect_full(&r.bulkhead);
    }
    for (size_t i = 1; i < r.events.count; i++) {
        assert_true(r.events.events[i].event.number == r.events.events[i - 1].event.number + 1);
    }
    assert_int_equal(r.events.count, 50);
    give(&r, &permit);
    rig_end(&r);
}

static void the_numbers_of_a_bulkhead_add_up(void **unused)
{
    (void)unused;
    rig r;
    rsl_bulkhead_config config = sized(2, 1);
    config.wait_max = RSL_MS(10);
    rig_start(&r, config);
    rsl_bulkhead_permit permits[2], other;
    take_many_of(&r.bulkhead, permits, 2);
    for (int i = 0; i < 3; i++) {
        expect_full(&r.bulkhead);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &other), RSL_ETIMEOUT);
    }
    rig_permit leaving = {&r, &permits[0]};
    timeline_add(&r.line, r.clock.now + RSL_MS(2), leave_then, &leaving);
    assert_int_equal(rsl_bulkhead_enter(&r.bulkhead, NULL, &other), RSL_OK);
    rsl_bulkhead_stats stats = stats_of(&r);
    assert_true(stats.admitted == 3 && stats.refused == 3 && stats.timed_out == 4);
    assert_true(stats.waited == 1 && stats.wait_total == RSL_MS(2));
    assert_true(stats.shed == 0 && stats.canceled == 0);
    give(&r, &other);
    give(&r, &permits[1]);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_resolves_to_the_defaults),
        cmocka_unit_test(what_is_set_stays_as_it_is),
        cmocka_unit_test(the_highest_limit_is_by_default_never_below_the_first),
        cmocka_unit_test(wrong_numbers_are_refused_by_name),
        cmocka_unit_test(wrong_kinds_are_refused_by_name),
        cmocka_unit_test(bounds_that_do_not_hold_the_first_limit_are_refused),
        cmocka_unit_test(half_a_clock_is_refused),
        cmocka_unit_test(null_is_refused_everywhere),
        cmocka_unit_test(a_bulkhead_that_is_not_initialised_refuses_everything),
        cmocka_unit_test(a_bulkhead_that_was_ended_refuses_everything_and_may_be_made_anew),
        cmocka_unit_test(a_new_bulkhead_has_all_permits_free),
        cmocka_unit_test(each_failed_allocation_leaves_a_dead_bulkhead_and_no_memory),
        cmocka_unit_test(nothing_is_allocated_after_init),
        cmocka_unit_test(permits_still_out_may_be_forgotten),
        cmocka_unit_test(configs_in_rows_of_objects_may_stand_at_any_address),
        cmocka_unit_test(a_call_answers_what_its_function_answers_whatever_it_is),
        cmocka_unit_test(the_function_gets_the_ctx_and_its_argument),
        cmocka_unit_test(a_call_within_a_call_needs_a_second_permit),
        cmocka_unit_test(nothing_starts_under_a_ctx_that_is_spent),
        cmocka_unit_test(a_permit_is_left_once),
        cmocka_unit_test(a_permit_that_was_never_given_is_not_left),
        cmocka_unit_test(a_permit_of_another_bulkhead_is_not_left_here),
        cmocka_unit_test(entering_takes_a_permit_as_trying_does),
        cmocka_unit_test(a_fixed_limit_reads_no_clock_while_nobody_waits),
        cmocka_unit_test(errno_survives_whatever_is_answered),
        cmocka_unit_test(errno_survives_an_observer_that_changes_it),
        cmocka_unit_test(the_limit_is_exact_after_any_number_of_entries),
        cmocka_unit_test(the_limit_is_exact_after_each_number_of_entries_since_it_was_full),
        cmocka_unit_test(entries_beyond_what_a_shard_can_count_are_folded_in),
        cmocka_unit_test(the_limit_is_exact_while_some_permits_stay_out),
        cmocka_unit_test(the_greatest_limit_is_exact),
        cmocka_unit_test(permits_that_lie_scattered_over_threads_are_all_found),
        cmocka_unit_test(a_permit_may_be_left_by_another_thread),
        cmocka_unit_test(without_room_to_wait_who_finds_no_permit_is_refused_at_once),
        cmocka_unit_test(a_wait_ends_when_a_permit_is_left),
        cmocka_unit_test(a_wait_ends_after_wait_max),
        cmocka_unit_test(an_explicit_wait_of_no_time_does_not_wait),
        cmocka_unit_test(a_wait_ends_at_the_deadline_when_that_is_earlier),
        cmocka_unit_test(a_wake_up_for_nothing_does_not_restart_the_wait),
        cmocka_unit_test(a_wait_ends_when_cancelled),
        cmocka_unit_test(who_gave_up_leaves_its_place_to_the_next),
        cmocka_unit_test(a_call_whose_permit_came_but_whose_time_is_over_never_starts),
        cmocka_unit_test(a_call_whose_permit_came_but_that_is_cancelled_never_starts),
        cmocka_unit_test(a_call_that_waited_has_the_permit_while_it_runs),
        cmocka_unit_test(more_than_waiting_max_do_not_wait),
        cmocka_unit_test(who_waits_is_served_in_order_of_coming),
        cmocka_unit_test(higher_priorities_go_first_and_equals_keep_their_order),
        cmocka_unit_test(cancelling_ends_a_wait_without_end_at_once),
        cmocka_unit_test(a_real_wait_ends_at_its_deadline_and_not_before),
        cmocka_unit_test(a_wait_of_another_priority_that_ends_takes_nobody_with_it),
#ifndef _WIN32
        cmocka_unit_test(a_thread_cancelled_in_its_wait_goes_on_with_its_permit),
#endif
        cmocka_unit_test(growing_lets_in_exactly_as_many_as_there_is_room_for),
        cmocka_unit_test(shrinking_waits_for_nobody_and_lets_nobody_in_until_fewer_are_inside),
        cmocka_unit_test(who_waits_is_let_in_only_once_the_calls_inside_fit_a_smaller_limit),
        cmocka_unit_test(resizing_keeps_the_limit_exact_in_either_direction),
        cmocka_unit_test(a_limit_out_of_bounds_is_refused_and_changes_nothing),
        cmocka_unit_test(each_refusal_is_told),
        cmocka_unit_test(a_new_limit_is_told_and_the_old_one_is_not),
        cmocka_unit_test(an_observer_may_use_the_bulkhead_that_calls_it),
        cmocka_unit_test(numbers_of_events_have_no_gaps),
        cmocka_unit_test(the_numbers_of_a_bulkhead_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
