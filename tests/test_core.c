/* SPDX-License-Identifier: MIT
   test_core.c: what every header shares: time, the context, cancel tokens, status texts. */
#define RSL_IMPLEMENTATION
#include "resilience.h"

#include "support/support.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int statuses[] = {
    RSL_OK,       RSL_EINVAL,  RSL_ENOMEM,   RSL_ESYS,    RSL_ETIMEOUT, RSL_ECANCELED, RSL_EOPEN,
    RSL_EFULL,    RSL_ELIMITED, RSL_ECLOSED, RSL_EIO,     RSL_ECORRUPT, RSL_EFENCED,   RSL_EPARKED,
    RSL_EUNWOUND, RSL_RUN,     RSL_WAIT,     RSL_AGAIN,   RSL_DONE,     RSL_STOP,
};

/* ------------------------------------------------------------------ status */

static void every_status_has_a_text_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < RSL_COUNT(statuses); i++) {
        const char *text = rsl_strerror(statuses[i]);
        assert_non_null(text);
        assert_true(strlen(text) > 0);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(text, rsl_strerror(statuses[k]));
        }
    }
}

static void an_unknown_code_has_a_text_that_no_status_has(void **state)
{
    (void)state;
    const int unknown[] = {1, -1, 42, INT_MIN, INT_MAX, -7300, -7315, -7389, -7395, -7399, -7400};
    for (size_t i = 0; i < RSL_COUNT(unknown); i++) {
        const char *text = rsl_strerror(unknown[i]);
        assert_non_null(text);
        assert_true(strlen(text) > 0);
        for (size_t k = 0; k < RSL_COUNT(statuses); k++) {
            assert_string_not_equal(text, rsl_strerror(statuses[k]));
        }
    }
}

static void the_status_codes_stand_where_programs_were_built_against_them(void **state)
{
    (void)state;
    assert_int_equal(RSL_OK, 0);
    assert_int_equal(RSL_EINVAL, -7301);
    assert_int_equal(RSL_ETIMEOUT, -7304);
    assert_int_equal(RSL_ECANCELED, -7305);
    assert_int_equal(RSL_EOPEN, -7306);
    assert_int_equal(RSL_EUNWOUND, -7314);
    assert_int_equal(RSL_RUN, -7390);
    assert_int_equal(RSL_STOP, -7394);
}

static void strerror_leaves_errno_alone(void **state)
{
    (void)state;
    errno = E2BIG;
    (void)rsl_strerror(RSL_ESYS);
    (void)rsl_strerror(12345);
    assert_int_equal(errno, E2BIG);
}

/* -------------------------------------------------------------------- time */

static void spans_are_nanoseconds_and_do_not_overflow_an_int(void **state)
{
    (void)state;
    assert_true(RSL_US(1) == 1000);
    assert_true(RSL_MS(3) == 3000000);
    assert_true(RSL_SEC(86400 * 365) == INT64_C(31536000000000000));
    assert_true(RSL_SEC(1 + 1) == INT64_C(2000000000));
    assert_true(RSL_FOREVER == INT64_MAX);
}

static void now_never_goes_back_and_keeps_errno(void **state)
{
    (void)state;
    errno = E2BIG;
    rsl_time before = rsl_now();
    assert_true(before > 0);
    for (int i = 0; i < 1000; i++) {
        rsl_time now = rsl_now();
        assert_true(now >= before);
        before = now;
    }
    assert_int_equal(errno, E2BIG);
}

static void within_sets_a_deadline_that_far_ahead_and_nothing_else(void **state)
{
    (void)state;
    rsl_time before = rsl_now();
    rsl_ctx ctx = rsl_within(RSL_SEC(5));
    rsl_time after = rsl_now();
    assert_true(ctx.deadline >= before + RSL_SEC(5));
    assert_true(ctx.deadline <= after + RSL_SEC(5));
    assert_null(ctx.cancel);
    assert_null(ctx.clock);
    assert_int_equal(ctx.attempt, 0);
    assert_int_equal(ctx.priority, 0);
}

static void within_saturates_instead_of_overflowing(void **state)
{
    (void)state;
    assert_true(rsl_within(RSL_FOREVER).deadline == RSL_FOREVER);
    assert_true(rsl_within(RSL_FOREVER - 1).deadline == RSL_FOREVER);
    rsl_ctx endless = rsl_within(RSL_FOREVER);
    assert_true(rsl_left(&endless) == RSL_FOREVER);
}

static void within_no_time_or_less_is_a_deadline_that_has_passed(void **state)
{
    (void)state;
    const rsl_time spans[] = {0, -1, -RSL_SEC(1), INT64_MIN};
    for (size_t i = 0; i < RSL_COUNT(spans); i++) {
        rsl_ctx ctx = rsl_within(spans[i]);
        assert_true(ctx.deadline != 0);
        assert_true(rsl_left(&ctx) == 0);
    }
}

static void left_is_forever_without_a_deadline(void **state)
{
    (void)state;
    rsl_ctx none = {0};
    assert_true(rsl_left(&none) == RSL_FOREVER);
    assert_true(rsl_left(NULL) == RSL_FOREVER);
}

static void left_counts_down_on_the_clock_of_the_ctx_and_stops_at_zero(void **state)
{
    (void)state;
    virtual_clock clock = {.now = RSL_SEC(100)};
    rsl_clock as = virtual_clock_as(&clock);
    rsl_ctx ctx = {.deadline = RSL_SEC(103), .clock = &as};
    assert_true(rsl_left(&ctx) == RSL_SEC(3));
    clock.now = RSL_SEC(103) - 1;
    assert_true(rsl_left(&ctx) == 1);
    clock.now = RSL_SEC(103);
    assert_true(rsl_left(&ctx) == 0);
    clock.now = INT64_MAX;
    assert_true(rsl_left(&ctx) == 0);
}

static void left_does_not_overflow_at_the_ends_of_time(void **state)
{
    (void)state;
    virtual_clock clock = {.now = INT64_MIN};
    rsl_clock as = virtual_clock_as(&clock);
    rsl_ctx ctx = {.deadline = INT64_MAX - 1, .clock = &as};
    assert_true(rsl_left(&ctx) == INT64_MAX - 1); /* a negative time is taken as zero */
    ctx.deadline = INT64_MIN;
    clock.now = INT64_MAX;
    assert_true(rsl_left(&ctx) == 0);
}

static void a_zeroed_clock_is_the_real_one(void **state)
{
    (void)state;
    const rsl_clock zeroed = {0};
    rsl_ctx ctx = {.deadline = rsl_now() + RSL_SEC(60), .clock = &zeroed};
    rsl_time left = rsl_left(&ctx);
    assert_true(left > RSL_SEC(50));
    assert_true(left <= RSL_SEC(60));
}

/* ------------------------------------------------------------------ cancel */

static void a_fresh_token_has_not_fired(void **state)
{
    (void)state;
    rsl_cancel cancel;
    memset(&cancel, 0xA5, sizeof cancel);
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    assert_false(rsl_cancel_fired(&cancel));
    rsl_cancel_deinit(&cancel);
}

static void a_fired_token_stays_fired_and_may_be_fired_again(void **state)
{
    (void)state;
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_cancel_fire(&cancel);
    assert_true(rsl_cancel_fired(&cancel));
    rsl_cancel_fire(&cancel);
    assert_true(rsl_cancel_fired(&cancel));
    rsl_cancel_deinit(&cancel);
}

static void a_token_can_be_used_anew_after_deinit_and_init(void **state)
{
    (void)state;
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_cancel_fire(&cancel);
    rsl_cancel_deinit(&cancel);
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    assert_false(rsl_cancel_fired(&cancel));
    rsl_cancel_deinit(&cancel);
}

enum { CHAIN = 50 };

static void firing_a_parent_fires_the_whole_chain_below_it_and_nothing_above(void **state)
{
    (void)state;
    rsl_cancel chain[CHAIN];
    for (int i = 0; i < CHAIN; i++) {
        assert_int_equal(rsl_cancel_init(&chain[i], i == 0 ? NULL : &chain[i - 1]), RSL_OK);
    }
    rsl_cancel_fire(&chain[20]);
    for (int i = 0; i < CHAIN; i++) {
        assert_int_equal(rsl_cancel_fired(&chain[i]), i >= 20);
    }
    rsl_cancel_fire(&chain[0]);
    for (int i = 0; i < CHAIN; i++) {
        assert_true(rsl_cancel_fired(&chain[i]));
    }
    for (int i = CHAIN; i > 0; i--) {
        rsl_cancel_deinit(&chain[i - 1]);
    }
}

static void firing_a_child_leaves_its_parent_and_its_siblings(void **state)
{
    (void)state;
    rsl_cancel parent, first, second;
    assert_int_equal(rsl_cancel_init(&parent, NULL), RSL_OK);
    assert_int_equal(rsl_cancel_init(&first, &parent), RSL_OK);
    assert_int_equal(rsl_cancel_init(&second, &parent), RSL_OK);
    rsl_cancel_fire(&first);
    assert_true(rsl_cancel_fired(&first));
    assert_false(rsl_cancel_fired(&second));
    assert_false(rsl_cancel_fired(&parent));
    rsl_cancel_fire(&parent);
    assert_true(rsl_cancel_fired(&second));
    rsl_cancel_deinit(&second);
    rsl_cancel_deinit(&first);
    rsl_cancel_deinit(&parent);
}

static void a_child_made_under_a_fired_parent_is_fired_from_the_start(void **state)
{
    (void)state;
    rsl_cancel parent, child, grandchild;
    assert_int_equal(rsl_cancel_init(&parent, NULL), RSL_OK);
    rsl_cancel_fire(&parent);
    assert_int_equal(rsl_cancel_init(&child, &parent), RSL_OK);
    assert_true(rsl_cancel_fired(&child));
    assert_int_equal(rsl_cancel_init(&grandchild, &child), RSL_OK);
    assert_true(rsl_cancel_fired(&grandchild));
    rsl_cancel_deinit(&grandchild);
    rsl_cancel_deinit(&child);
    rsl_cancel_deinit(&parent);
}

enum { CHILDREN = 1000 };

/* The children live on the heap, so that a parent which still knows a dead one is caught. */
static void a_parent_forgets_children_that_are_gone_in_any_order(void **state)
{
    (void)state;
    static rsl_cancel *child[CHILDREN];
    seeded_random random = {77};
    rsl_cancel parent;
    assert_int_equal(rsl_cancel_init(&parent, NULL), RSL_OK);
    for (int i = 0; i < CHILDREN; i++) {
        child[i] = malloc(sizeof *child[i]);
        assert_non_null(child[i]);
        assert_int_equal(rsl_cancel_init(child[i], &parent), RSL_OK);
    }
    for (int i = 0; i < CHILDREN; i++) {
        if (seeded_random_below(&random, 2) == 0) {
            rsl_cancel_deinit(child[i]);
            memset(child[i], 0xA5, sizeof *child[i]);
            free(child[i]);
            child[i] = NULL;
        }
    }
    rsl_cancel_fire(&parent);
    for (int i = 0; i < CHILDREN; i++) {
        if (child[i] != NULL) {
            assert_true(rsl_cancel_fired(child[i]));
            rsl_cancel_deinit(child[i]);
            free(child[i]);
        }
    }
    rsl_cancel_deinit(&parent);
}

static void null_tokens_are_refused_or_do_nothing(void **state)
{
    (void)state;
    assert_int_equal(rsl_cancel_init(NULL, NULL), RSL_EINVAL);
    rsl_cancel parent;
    assert_int_equal(rsl_cancel_init(&parent, NULL), RSL_OK);
    assert_int_equal(rsl_cancel_init(NULL, &parent), RSL_EINVAL);
    rsl_cancel_fire(NULL);
    assert_false(rsl_cancel_fired(NULL));
    rsl_cancel_deinit(NULL);
    rsl_cancel_deinit(&parent);
}

static void cancel_functions_leave_errno_alone(void **state)
{
    (void)state;
    rsl_cancel parent, child;
    errno = E2BIG;
    assert_int_equal(rsl_cancel_init(&parent, NULL), RSL_OK);
    assert_int_equal(rsl_cancel_init(&child, &parent), RSL_OK);
    rsl_cancel_fire(&parent);
    assert_true(rsl_cancel_fired(&child));
    rsl_cancel_deinit(&child);
    rsl_cancel_deinit(&parent);
    assert_int_equal(errno, E2BIG);
}

/* --------------------------------------------------------------- listeners */

enum { LISTENERS = 300 };

typedef struct listener {
    rsl_execution execution;
    int           woken;
    rsl_cancel   *also;      /* fired from within wake (none) */
} listener;

static void listener_wake(void *user)
{
    listener *l = user;
    l->woken++;
    if (l->also != NULL) {
        rsl_cancel_fire(l->also);
    }
}

static void listener_start(listener *l, rsl_cancel *cancel)
{
    rsl_ctx ctx = {.cancel = cancel};
    l->woken = 0;
    l->also = NULL;
    assert_int_equal(rsl_execution_begin(&l->execution, NULL, 0, &ctx), RSL_OK);
    rsl_execution_wake_by(&l->execution, listener_wake, l);
    assert_int_equal(rsl_execution_step(&l->execution, RSL_SEC(1)), RSL_RUN);
}

static void one_fire_wakes_every_listener_of_the_token_and_of_its_children(void **state)
{
    (void)state;
    listener *all = malloc(LISTENERS * sizeof *all);
    rsl_cancel token[3];
    assert_non_null(all);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rsl_cancel_init(&token[i], i == 0 ? NULL : &token[i - 1]), RSL_OK);
    }
    for (int i = 0; i < LISTENERS; i++) {
        listener_start(&all[i], &token[i % 3]);
    }
    rsl_cancel_fire(&token[1]);
    for (int i = 0; i < LISTENERS; i++) {
        assert_int_equal(all[i].woken > 0, i % 3 > 0);
    }
    rsl_cancel_fire(&token[0]);
    for (int i = 0; i < LISTENERS; i++) {
        assert_true(all[i].woken > 0);
        assert_int_equal(rsl_execution_step(&all[i].execution, RSL_SEC(1)), RSL_STOP);
        rsl_execution_abandon(&all[i].execution, RSL_SEC(1));
    }
    for (int i = 3; i > 0; i--) {
        rsl_cancel_deinit(&token[i - 1]);
    }
    free(all);
}

static void a_listener_that_is_gone_is_not_woken(void **state)
{
    (void)state;
    listener stays, goes;
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    listener_start(&goes, &cancel);
    listener_start(&stays, &cancel);
    assert_int_equal(rsl_execution_report(&goes.execution, RSL_SEC(1), 0), RSL_OK);
    assert_int_equal(rsl_execution_step(&goes.execution, RSL_SEC(1)), RSL_DONE);
    memset(&goes.execution, 0xA5, sizeof goes.execution);
    rsl_cancel_fire(&cancel);
    assert_int_equal(goes.woken, 0);
    assert_true(stays.woken > 0);
    rsl_execution_abandon(&stays.execution, RSL_SEC(1));
    rsl_cancel_deinit(&cancel);
}

/* Callbacks run without a lock held, so they may use the library, the same token included. */
static void a_wake_may_fire_a_token_again_and_another_one(void **state)
{
    (void)state;
    listener first, second;
    rsl_cancel one, other;
    assert_int_equal(rsl_cancel_init(&one, NULL), RSL_OK);
    assert_int_equal(rsl_cancel_init(&other, NULL), RSL_OK);
    listener_start(&first, &one);
    listener_start(&second, &other);
    first.also = &other;
    second.also = &one;
    rsl_cancel_fire(&one);
    assert_true(first.woken > 0);
    assert_true(second.woken > 0);
    assert_true(rsl_cancel_fired(&other));
    rsl_execution_abandon(&first.execution, RSL_SEC(1));
    rsl_execution_abandon(&second.execution, RSL_SEC(1));
    rsl_cancel_deinit(&other);
    rsl_cancel_deinit(&one);
}

static void the_version_is_three_numbers(void **state)
{
    (void)state;
    int major = -1, minor = -1, patch = -1;
    assert_non_null(rsl_version());
    assert_int_equal(sscanf(rsl_version(), "%d.%d.%d", &major, &minor, &patch), 3);
    assert_true(major >= 0 && minor >= 0 && patch >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_text_of_its_own),
        cmocka_unit_test(an_unknown_code_has_a_text_that_no_status_has),
        cmocka_unit_test(the_status_codes_stand_where_programs_were_built_against_them),
        cmocka_unit_test(strerror_leaves_errno_alone),
        cmocka_unit_test(spans_are_nanoseconds_and_do_not_overflow_an_int),
        cmocka_unit_test(now_never_goes_back_and_keeps_errno),
        cmocka_unit_test(within_sets_a_deadline_that_far_ahead_and_nothing_else),
        cmocka_unit_test(within_saturates_instead_of_overflowing),
        cmocka_unit_test(within_no_time_or_less_is_a_deadline_that_has_passed),
        cmocka_unit_test(left_is_forever_without_a_deadline),
        cmocka_unit_test(left_counts_down_on_the_clock_of_the_ctx_and_stops_at_zero),
        cmocka_unit_test(left_does_not_overflow_at_the_ends_of_time),
        cmocka_unit_test(a_zeroed_clock_is_the_real_one),
        cmocka_unit_test(a_fresh_token_has_not_fired),
        cmocka_unit_test(a_fired_token_stays_fired_and_may_be_fired_again),
        cmocka_unit_test(a_token_can_be_used_anew_after_deinit_and_init),
        cmocka_unit_test(firing_a_parent_fires_the_whole_chain_below_it_and_nothing_above),
        cmocka_unit_test(firing_a_child_leaves_its_parent_and_its_siblings),
        cmocka_unit_test(a_child_made_under_a_fired_parent_is_fired_from_the_start),
        cmocka_unit_test(a_parent_forgets_children_that_are_gone_in_any_order),
        cmocka_unit_test(null_tokens_are_refused_or_do_nothing),
        cmocka_unit_test(cancel_functions_leave_errno_alone),
        cmocka_unit_test(one_fire_wakes_every_listener_of_the_token_and_of_its_children),
        cmocka_unit_test(a_listener_that_is_gone_is_not_woken),
        cmocka_unit_test(a_wake_may_fire_a_token_again_and_another_one),
        cmocka_unit_test(the_version_is_three_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
