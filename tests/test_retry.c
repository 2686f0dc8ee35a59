/* SPDX-License-Identifier: MIT
   test_retry.c: retry.h alone: backoff, jitter, hints, limits, budget, stepper and call, in
   virtual time. Two tests use real time, because only a real wait can be woken.             */
#include "support/allocator.h"

#define RSL_RETRY_IMPLEMENTATION
#include "retry.h"

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <cmocka.h>

#include "support/support.h"

enum { DRAWS = 100000 };

/* A start of time that is neither zero nor round. */
static const rsl_time START = RSL_SEC(1000) + 7;

/* ------------------------------------------------------------------- helpers */

/* A function that plays a list of results, the last one for ever, and notes what it was given. */
typedef struct script {
    int      results[8];
    size_t   count;
    size_t   calls;
    uint32_t attempts[8];
    rsl_ctx  ctx;
    rsl_time at[8];
    int      error;             /* left in errno (0: none) */
} script;

static int play(const rsl_ctx *ctx, void *arg)
{
    script *s = arg;
    size_t i = s->calls < s->count ? s->calls : s->count - 1;
    if (s->calls < 8) {
        s->attempts[s->calls] = ctx->attempt;
        s->at[s->calls] = ctx->clock != NULL ? ctx->clock->now(ctx->clock->user) : 0;
    }
    s->ctx = *ctx;
    s->calls++;
    if (s->error != 0) {
        errno = s->error;
    }
    return s->results[i];
}

static rsl_retry_config steady(rsl_time first)
{
    rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_first = first,
                               .jitter = RSL_JITTER_NONE};
    return config;
}

static void start(rsl_retry *retry, const rsl_retry_config *config)
{
    assert_null(rsl_retry_config_check(config));
    assert_int_equal(rsl_retry_init(retry, config), RSL_OK);
}

/* The backoff after the failure of one attempt, from a state that has no past. */
static rsl_time delay_after(rsl_retry *retry, uint32_t attempt)
{
    rsl_retry_state state;
    rsl_time delay = -1;
    rsl_retry_begin(retry, &state, START);
    state.attempt = attempt;
    assert_true(rsl_retry_next(retry, &state, NULL, 1, START, &delay));
    return delay;
}

static rsl_time delay_with(const rsl_retry_config *config, uint32_t attempt)
{
    rsl_retry retry;
    start(&retry, config);
    rsl_time delay = delay_after(&retry, attempt);
    rsl_retry_deinit(&retry);
    return delay;
}

/* The outcome of one failure at `now` of a call that began at START. */
static bool next_at(rsl_retry *retry, const rsl_ctx *ctx, rsl_time now, rsl_time *delay)
{
    rsl_retry_state state;
    rsl_retry_begin(retry, &state, START);
    return rsl_retry_next(retry, &state, ctx, 1, now, delay);
}

static void refuse(const rsl_retry_config *config, const char *field)
{
    rsl_retry_config before;
    memcpy(&before, config, sizeof(before));
    const char *why = rsl_retry_config_check(config);
    assert_non_null(why);
    size_t length = strlen(field);
    if (strncmp(why, field, length) != 0 || why[length] != ':' || why[length + 1] != ' '
        || why[length + 2] == '\0') {
        fail_msg("\"%s\" does not read \"%s: reason\"", why, field);
    }
    assert_memory_equal(&before, config, sizeof(before));

    rsl_retry retry;
    memset(&retry, 0x5A, sizeof(retry));
    assert_int_equal(rsl_retry_init(&retry, config), RSL_EINVAL);
    script s = {.count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), RSL_EINVAL);
    assert_int_equal(s.calls, 0);
    rsl_retry_state state = {1, 0, 0};
    rsl_time delay = 4242;
    assert_false(rsl_retry_next(&retry, &state, NULL, 1, 0, &delay));
    assert_int_equal(delay, 4242);
    rsl_retry_deinit(&retry);
}

static bool only_even(int result, void *user)
{
    int *asked = user;
    if (asked != NULL) {
        (*asked)++;
    }
    return result % 2 == 0;
}

static rsl_time hint_from_user(int result, void *user)
{
    (void)result;
    return *(const rsl_time *)user;
}

static double milliseconds_since(const struct timespec *from)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - from->tv_sec) * 1e3 + (double)(now.tv_nsec - from->tv_nsec) / 1e6;
}

/* ------------------------------------------------------------------- backoff */

static void backoff_of_500_ms_times_one_and_a_half_grows_exactly(void **unused)
{
    (void)unused;
    static const rsl_time expected[] = {500000000, 750000000, 1125000000, 1687500000, 2531250000,
                                        3796875000};
    rsl_retry_config config = steady(RSL_MS(500));
    config.multiplier = 1.5;
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state;
    rsl_retry_begin(&retry, &state, START);
    for (size_t i = 0; i < RSL_COUNT(expected); i++) {
        rsl_time delay = -1;
        assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
        assert_int_equal(delay, expected[i]);
    }
    rsl_retry_deinit(&retry);
}

static void full_jitter_with_random_one_gives_the_whole_delay_up_to_the_cap(void **unused)
{
    (void)unused;
    static const rsl_time expected[] = {50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 20000,
                                        20000};
    fixed_random one = {.value = 1.0};
    rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_first = RSL_MS(50),
                               .multiplier = 2.0, .delay_max = RSL_SEC(20),
                               .random = fixed_random_as(&one)};
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state;
    rsl_retry_begin(&retry, &state, START);
    for (size_t i = 0; i < RSL_COUNT(expected); i++) {
        rsl_time delay = -1;
        assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
        assert_int_equal(delay, RSL_MS(expected[i]));
    }
    assert_true(one.calls > 0);
    rsl_retry_deinit(&retry);
}

static void attempt_1000_with_a_cap_of_two_days_gives_the_cap(void **unused)
{
    (void)unused;
    const rsl_time two_days = RSL_SEC(172800);
    fixed_random one = {.value = 1.0};
    const rsl_retry_jitter kinds[] = {RSL_JITTER_FULL, RSL_JITTER_EQUAL, RSL_JITTER_NONE};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_max = two_days,
                                   .jitter = kinds[i], .random = fixed_random_as(&one)};
        assert_int_equal(delay_with(&config, 1000), two_days);
        assert_int_equal(delay_with(&config, 64), two_days);
        assert_int_equal(delay_with(&config, 65), two_days);
        assert_int_equal(delay_with(&config, UINT32_MAX - 1), two_days);
        assert_int_equal(delay_with(&config, UINT32_MAX), two_days);
    }
}

static void an_attempt_number_that_is_full_does_not_start_over(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_MS(1));
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state;
    rsl_retry_begin(&retry, &state, START);
    state.attempt = UINT32_MAX - 1;
    for (int i = 0; i < 4; i++) {
        rsl_time delay = -1;
        assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
        assert_int_equal(delay, RSL_SEC(10));
        assert_true(state.attempt >= UINT32_MAX - 1);
    }
    rsl_retry_deinit(&retry);
}

static void a_cap_of_forever_is_reached_without_overflow(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_SEC(1));
    config.delay_max = RSL_FOREVER;
    rsl_time before = 0;
    for (uint32_t attempt = 1; attempt <= 200; attempt++) {
        rsl_time delay = delay_with(&config, attempt);
        assert_true(delay >= before);
        before = delay;
    }
    assert_int_equal(before, RSL_FOREVER);
    assert_int_equal(delay_with(&config, 31), RSL_SEC(1) << 30);
}

static void a_multiplier_of_1e308_goes_straight_to_the_cap(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(1);
    config.multiplier = 1e308;
    assert_int_equal(delay_with(&config, 1), 1);
    assert_int_equal(delay_with(&config, 2), RSL_SEC(10));
    assert_int_equal(delay_with(&config, 3), RSL_SEC(10));
    config.multiplier = DBL_MAX;
    assert_int_equal(delay_with(&config, 1000), RSL_SEC(10));
}

static void the_default_cap_makes_room_for_a_longer_first_delay(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_SEC(30));
    assert_int_equal(delay_with(&config, 1), RSL_SEC(30));
    assert_int_equal(delay_with(&config, 5), RSL_SEC(30));
}

static void the_default_first_delay_gives_way_to_a_shorter_cap(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(0);
    config.delay_max = RSL_MS(40);
    assert_int_equal(delay_with(&config, 1), RSL_MS(40));
    assert_int_equal(delay_with(&config, 2), RSL_MS(40));
}

static void a_delay_of_zero_stays_zero_under_the_largest_multiplier(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_NONE);
    config.multiplier = DBL_MAX;
    assert_int_equal(delay_with(&config, 1), 0);
    assert_int_equal(delay_with(&config, 3), 0);
    assert_int_equal(delay_with(&config, 1000), 0);
}

static void a_multiplier_of_one_keeps_the_delay(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_MS(3));
    config.multiplier = 1.0;
    assert_int_equal(delay_with(&config, 1), RSL_MS(3));
    assert_int_equal(delay_with(&config, 2), RSL_MS(3));
    assert_int_equal(delay_with(&config, UINT32_MAX), RSL_MS(3));
}

static void powers_of_two_are_exact_to_the_nanosecond(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(1);
    config.delay_max = RSL_FOREVER;
    for (uint32_t attempt = 1; attempt <= 53; attempt++) {
        assert_int_equal(delay_with(&config, attempt), INT64_C(1) << (attempt - 1));
    }
}

static void the_first_delay_is_capped_too(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_SEC(3));
    config.delay_max = RSL_SEC(3);
    assert_int_equal(delay_with(&config, 1), RSL_SEC(3));
    assert_int_equal(delay_with(&config, 2), RSL_SEC(3));
}

/* -------------------------------------------------------------------- jitter */

static rsl_time drawn(rsl_retry_jitter jitter, double r, uint32_t attempt)
{
    fixed_random random = {.value = r};
    rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_first = RSL_MS(400),
                               .jitter = jitter, .random = fixed_random_as(&random)};
    return delay_with(&config, attempt);
}

static void full_jitter_is_random_times_the_delay(void **unused)
{
    (void)unused;
    assert_int_equal(drawn(RSL_JITTER_FULL, 0.0, 1), 0);
    assert_int_equal(drawn(RSL_JITTER_FULL, 0.25, 1), RSL_MS(100));
    assert_int_equal(drawn(RSL_JITTER_FULL, 0.5, 1), RSL_MS(200));
    assert_int_equal(drawn(RSL_JITTER_FULL, 0.5, 3), RSL_MS(800));
    assert_int_equal(drawn(RSL_JITTER_FULL, 1.0, 1), RSL_MS(400));
}

static void the_default_jitter_is_full(void **unused)
{
    (void)unused;
    assert_int_equal(drawn(RSL_JITTER_DEFAULT, 0.0, 1), 0);
    assert_int_equal(drawn(RSL_JITTER_DEFAULT, 0.25, 2), RSL_MS(200));
    assert_int_equal(drawn(RSL_JITTER_DEFAULT, 1.0, 2), RSL_MS(800));
}

static void equal_jitter_keeps_half_and_draws_the_other_half(void **unused)
{
    (void)unused;
    assert_int_equal(drawn(RSL_JITTER_EQUAL, 0.0, 1), RSL_MS(200));
    assert_int_equal(drawn(RSL_JITTER_EQUAL, 0.5, 1), RSL_MS(300));
    assert_int_equal(drawn(RSL_JITTER_EQUAL, 0.25, 2), RSL_MS(500));
    assert_int_equal(drawn(RSL_JITTER_EQUAL, 1.0, 1), RSL_MS(400));
}

static void no_jitter_ignores_the_random(void **unused)
{
    (void)unused;
    assert_int_equal(drawn(RSL_JITTER_NONE, 0.0, 1), RSL_MS(400));
    assert_int_equal(drawn(RSL_JITTER_NONE, 0.7, 2), RSL_MS(800));
}

static void check_decorrelated(double r, const rsl_time *expected, size_t count)
{
    fixed_random random = {.value = r};
    rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_first = RSL_MS(100),
                               .delay_max = RSL_SEC(2), .jitter = RSL_JITTER_DECORRELATED,
                               .random = fixed_random_as(&random)};
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state;
    rsl_retry_begin(&retry, &state, START);
    for (size_t i = 0; i < count; i++) {
        rsl_time delay = -1;
        assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
        assert_int_equal(delay, expected[i]);
        assert_int_equal(state.delay_last, expected[i]);
    }
    rsl_retry_deinit(&retry);
}

static void decorrelated_jitter_draws_between_the_first_and_thrice_the_previous(void **unused)
{
    (void)unused;
    static const rsl_time low[] = {RSL_MS(100), RSL_MS(100), RSL_MS(100)};
    static const rsl_time half[] = {RSL_MS(200), RSL_MS(350), RSL_MS(575), RSL_US(912500)};
    static const rsl_time high[] = {RSL_MS(300), RSL_MS(900), RSL_MS(2000), RSL_MS(2000)};
    check_decorrelated(0.0, low, RSL_COUNT(low));
    check_decorrelated(0.5, half, RSL_COUNT(half));
    check_decorrelated(1.0, high, RSL_COUNT(high));
}

static void decorrelated_jitter_survives_a_previous_wait_without_bounds(void **unused)
{
    (void)unused;
    static const rsl_time previous[] = {RSL_FOREVER, RSL_FOREVER / 3 + 1, RSL_FOREVER - 1, 0,
                                        -5};
    fixed_random one = {.value = 1.0};
    rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_first = RSL_MS(100),
                               .delay_max = RSL_FOREVER, .jitter = RSL_JITTER_DECORRELATED,
                               .random = fixed_random_as(&one)};
    rsl_retry retry;
    start(&retry, &config);
    for (size_t i = 0; i < RSL_COUNT(previous); i++) {
        rsl_retry_state state;
        rsl_retry_begin(&retry, &state, 0);
        state.attempt = 2;
        state.delay_last = previous[i];
        rsl_time delay = -1;
        assert_true(rsl_retry_next(&retry, &state, NULL, 1, 0, &delay));
        assert_true(delay >= RSL_MS(100));
        if (previous[i] > RSL_SEC(1)) {
            assert_true(delay >= RSL_FOREVER - 1024);
        }
    }
    rsl_retry_deinit(&retry);
}

static void a_random_that_is_nan_or_negative_counts_as_zero(void **unused)
{
    (void)unused;
    const double bad[] = {(double)NAN, -0.5, -DBL_MAX, -(double)INFINITY};
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        assert_int_equal(drawn(RSL_JITTER_FULL, bad[i], 1), 0);
        assert_int_equal(drawn(RSL_JITTER_EQUAL, bad[i], 1), RSL_MS(200));
        assert_int_equal(drawn(RSL_JITTER_DECORRELATED, bad[i], 1), RSL_MS(400));
    }
}

static void a_random_above_one_counts_as_one(void **unused)
{
    (void)unused;
    const double bad[] = {1.5, DBL_MAX, (double)INFINITY};
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        assert_int_equal(drawn(RSL_JITTER_FULL, bad[i], 1), RSL_MS(400));
        assert_int_equal(drawn(RSL_JITTER_EQUAL, bad[i], 1), RSL_MS(400));
        assert_int_equal(drawn(RSL_JITTER_DECORRELATED, bad[i], 1), RSL_MS(1200));
    }
}

static void jitter_of_zero_width_gives_zero(void **unused)
{
    (void)unused;
    const rsl_retry_jitter kinds[] = {RSL_JITTER_FULL, RSL_JITTER_EQUAL, RSL_JITTER_DECORRELATED,
                                      RSL_JITTER_NONE};
    seeded_random random = {.state = 1};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_first = RSL_NONE,
                                   .jitter = kinds[i], .random = seeded_random_as(&random)};
        rsl_retry retry;
        start(&retry, &config);
        rsl_retry_state state;
        rsl_retry_begin(&retry, &state, START);
        for (int n = 0; n < 100; n++) {
            rsl_time delay = -1;
            assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
            assert_int_equal(delay, 0);
        }
        rsl_retry_deinit(&retry);
    }
}

/* Many first delays: all lie in low..high, touch both ends and have the middle as their mean. */
static void check_spread(rsl_retry_jitter jitter, rsl_random random, rsl_time low, rsl_time high)
{
    rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_first = RSL_MS(400),
                               .jitter = jitter, .random = random};
    rsl_retry retry;
    start(&retry, &config);
    rsl_time least = RSL_FOREVER;
    rsl_time most = -1;
    double sum = 0;
    for (int i = 0; i < DRAWS; i++) {
        rsl_time delay = delay_after(&retry, 1);
        least = delay < least ? delay : least;
        most = delay > most ? delay : most;
        sum += (double)delay;
    }
    rsl_retry_deinit(&retry);
    double width = (double)(high - low);
    double mean = sum / (double)DRAWS;
    assert_true(least >= low && (double)least <= (double)low + width * 0.001);
    assert_true(most <= high && (double)most >= (double)high - width * 0.001);
    assert_true(mean > (double)low + width * 0.495 && mean < (double)low + width * 0.505);
}

static void a_hundred_thousand_seeded_draws_fill_the_bounds_of_each_jitter(void **unused)
{
    (void)unused;
    seeded_random random = {.state = 20240229};
    check_spread(RSL_JITTER_FULL, seeded_random_as(&random), 0, RSL_MS(400));
    check_spread(RSL_JITTER_EQUAL, seeded_random_as(&random), RSL_MS(200), RSL_MS(400));
    check_spread(RSL_JITTER_DECORRELATED, seeded_random_as(&random), RSL_MS(400), RSL_MS(1200));
}

static void a_hundred_thousand_draws_of_the_default_random_fill_the_bounds(void **unused)
{
    (void)unused;
    rsl_random none = {NULL, NULL};
    check_spread(RSL_JITTER_FULL, none, 0, RSL_MS(400));
    check_spread(RSL_JITTER_EQUAL, none, RSL_MS(200), RSL_MS(400));
    check_spread(RSL_JITTER_DECORRELATED, none, RSL_MS(400), RSL_MS(1200));
}

static void two_objects_draw_different_delays_by_default(void **unused)
{
    (void)unused;
    rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_first = RSL_SEC(5)};
    rsl_retry retry[2];
    start(&retry[0], &config);
    start(&retry[1], &config);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        same += delay_after(&retry[0], 1) == delay_after(&retry[1], 1);
    }
    assert_in_range(same, 0, 2);
    rsl_retry_deinit(&retry[0]);
    rsl_retry_deinit(&retry[1]);
}

#ifndef _WIN32 /* which has no fork */
/* Sixteen draws of a child process, compared with its parent's next sixteen. */
static void a_forked_child_draws_other_delays_than_its_parent(void **unused)
{
    (void)unused;
    enum { COUNT = 16 };
    rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_first = RSL_SEC(5)};
    rsl_retry retry;
    start(&retry, &config);
    (void)delay_after(&retry, 1);
    rsl_time theirs[COUNT];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        for (size_t i = 0; i < COUNT; i++) {
            theirs[i] = delay_after(&retry, 1);
        }
        _exit(write(ends[1], theirs, sizeof(theirs)) == (ssize_t)sizeof(theirs) ? 0 : 1);
    }
    int same = 0;
    int status = 1;
    assert_int_equal(read(ends[0], theirs, sizeof(theirs)), sizeof(theirs));
    for (size_t i = 0; i < COUNT; i++) {
        same += delay_after(&retry, 1) == theirs[i];
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_in_range(same, 0, 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    rsl_retry_deinit(&retry);
}
#endif

static void a_long_chain_of_decorrelated_delays_keeps_its_bounds(void **unused)
{
    (void)unused;
    seeded_random random = {.state = 99};
    rsl_retry_config config = {.attempts_max = RSL_UNLIMITED, .delay_first = RSL_MS(10),
                               .delay_max = RSL_SEC(5), .jitter = RSL_JITTER_DECORRELATED,
                               .random = seeded_random_as(&random)};
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state;
    rsl_retry_begin(&retry, &state, START);
    rsl_time previous = RSL_MS(10);
    int capped = 0;
    for (int i = 0; i < DRAWS; i++) {
        rsl_time delay = -1;
        assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
        assert_true(delay >= RSL_MS(10) && delay <= RSL_SEC(5) && delay <= 3 * previous);
        capped += delay == RSL_SEC(5);
        previous = delay;
    }
    assert_in_range(capped, DRAWS / 10, DRAWS);
    rsl_retry_deinit(&retry);
}

/* ---------------------------------------------------------------------- hint */

static bool next_with_hint(rsl_time hint, const rsl_ctx *ctx, rsl_time elapsed_max,
                           rsl_retry_state *state, rsl_time *delay)
{
    rsl_retry_config config = steady(RSL_MS(100));
    config.delay_hint = hint_from_user;
    config.user = &hint;
    config.delay_max = RSL_SEC(1);
    config.elapsed_max = elapsed_max;
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_begin(&retry, state, START);
    bool again = rsl_retry_next(&retry, state, ctx, 429, START, delay);
    rsl_retry_deinit(&retry);
    return again;
}

static void a_hint_later_than_the_backoff_is_waited_for(void **unused)
{
    (void)unused;
    rsl_retry_state state;
    rsl_time delay = -1;
    assert_true(next_with_hint(RSL_MS(100) + 1, NULL, 0, &state, &delay));
    assert_int_equal(delay, RSL_MS(100) + 1);
}

static void a_hint_above_the_cap_is_not_shortened(void **unused)
{
    (void)unused;
    rsl_retry_state state;
    rsl_time delay = -1;
    assert_true(next_with_hint(RSL_SEC(120), NULL, 0, &state, &delay));
    assert_int_equal(delay, RSL_SEC(120));
}

static void a_hint_earlier_than_the_backoff_changes_nothing(void **unused)
{
    (void)unused;
    static const rsl_time hints[] = {RSL_MS(100) - 1, RSL_MS(100), 0, -1, -RSL_SEC(9), INT64_MIN};
    for (size_t i = 0; i < RSL_COUNT(hints); i++) {
        rsl_retry_state state;
        rsl_time delay = -1;
        assert_true(next_with_hint(hints[i], NULL, 0, &state, &delay));
        assert_int_equal(delay, RSL_MS(100));
    }
}

static void a_hint_beyond_the_deadline_ends_the_retrying(void **unused)
{
    (void)unused;
    rsl_ctx ctx = {.deadline = START + RSL_SEC(2)};
    rsl_retry_state state;
    rsl_time delay = 4242;
    assert_false(next_with_hint(RSL_SEC(2), &ctx, 0, &state, &delay));
    assert_int_equal(delay, 4242);
    assert_false(next_with_hint(RSL_FOREVER, &ctx, 0, &state, &delay));
    assert_true(next_with_hint(RSL_SEC(2) - 1, &ctx, 0, &state, &delay));
    assert_int_equal(delay, RSL_SEC(2) - 1);
}

static void a_hint_beyond_elapsed_max_ends_the_retrying(void **unused)
{
    (void)unused;
    rsl_retry_state state;
    rsl_time delay = 4242;
    assert_false(next_with_hint(RSL_SEC(2) + 1, NULL, RSL_SEC(2), &state, &delay));
    assert_false(next_with_hint(RSL_FOREVER, NULL, RSL_SEC(2), &state, &delay));
    assert_int_equal(delay, 4242);
    assert_true(next_with_hint(RSL_SEC(2), NULL, RSL_SEC(2), &state, &delay));
}

static void the_next_backoff_builds_on_the_backoff_and_not_on_the_hint(void **unused)
{
    (void)unused;
    rsl_retry_state state;
    rsl_time delay = -1;
    assert_true(next_with_hint(RSL_SEC(60), NULL, 0, &state, &delay));
    assert_int_equal(state.delay_last, RSL_MS(100));
    assert_int_equal(delay, RSL_SEC(60));
}

typedef struct hint_note {
    int result;
    int asked;
} hint_note;

static rsl_time note_the_hint(int result, void *user)
{
    hint_note *note = user;
    note->result = result;
    note->asked++;
    return RSL_NONE;
}

static void the_hint_is_asked_with_the_result_and_never_for_a_success(void **unused)
{
    (void)unused;
    hint_note note = {0, 0};
    rsl_retry_config config = steady(RSL_MS(1));
    config.delay_hint = note_the_hint;
    config.user = &note;
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state;
    rsl_time delay;
    rsl_retry_begin(&retry, &state, START);
    assert_false(rsl_retry_next(&retry, &state, NULL, 0, START, &delay));
    assert_int_equal(note.asked, 0);
    assert_true(rsl_retry_next(&retry, &state, NULL, 503, START, &delay));
    assert_int_equal(note.result, 503);
    assert_int_equal(note.asked, 1);
    rsl_retry_deinit(&retry);
}

/* -------------------------------------------------------------------- limits */

static void attempts_max_counts_the_first_attempt(void **unused)
{
    (void)unused;
    for (uint32_t attempts = 1; attempts <= 5; attempts++) {
        virtual_clock clock = {.now = START};
        rsl_retry_config config = steady(RSL_MS(1));
        config.attempts_max = attempts;
        config.clock = virtual_clock_as(&clock);
        rsl_retry retry;
        start(&retry, &config);
        script s = {.results = {5}, .count = 1};
        assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 5);
        assert_int_equal(s.calls, attempts);
        assert_int_equal(clock.sleeps, attempts - 1);
        rsl_retry_deinit(&retry);
    }
}

static void three_attempts_are_made_by_default(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = {.clock = virtual_clock_as(&clock)};
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {5}, .count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 5);
    assert_int_equal(s.calls, 3);
    rsl_retry_deinit(&retry);
}

static int fail_5000_times(const rsl_ctx *ctx, void *arg)
{
    uint32_t *last = arg;
    *last = ctx->attempt;
    return ctx->attempt <= 5000 ? -1 : 0;
}

static void unlimited_attempts_go_on_until_success(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = steady(RSL_NONE);
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    uint32_t last = 0;
    assert_int_equal(rsl_retry_call(&retry, NULL, fail_5000_times, &last), 0);
    assert_int_equal(last, 5001);
    rsl_retry_deinit(&retry);
}

static void an_attempt_may_start_exactly_at_elapsed_max_and_not_after(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_SEC(1));
    config.elapsed_max = RSL_SEC(5);
    rsl_retry retry;
    start(&retry, &config);
    rsl_time delay = 4242;
    assert_false(next_at(&retry, NULL, START + RSL_SEC(4) + 1, &delay));
    assert_int_equal(delay, 4242);
    assert_true(next_at(&retry, NULL, START + RSL_SEC(4), &delay));
    assert_int_equal(delay, RSL_SEC(1));
    rsl_retry_deinit(&retry);
}

static void limits_at_the_end_of_time_do_not_overflow(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_SEC(1));
    config.elapsed_max = RSL_FOREVER - 1;
    rsl_retry retry;
    start(&retry, &config);
    rsl_time delay = -1;
    assert_true(next_at(&retry, NULL, START, &delay));
    rsl_ctx ctx = {.deadline = RSL_FOREVER};
    assert_true(next_at(&retry, &ctx, START, &delay));
    rsl_retry_deinit(&retry);

    config.delay_first = RSL_FOREVER;
    config.delay_max = RSL_FOREVER;
    config.elapsed_max = RSL_SEC(5);
    start(&retry, &config);
    assert_false(next_at(&retry, NULL, START, &delay));
    ctx.deadline = START + RSL_SEC(5);
    assert_false(next_at(&retry, &ctx, START, &delay));
    rsl_retry_deinit(&retry);
}

static void a_wait_that_would_reach_the_deadline_is_not_begun(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_SEC(1));
    rsl_retry retry;
    start(&retry, &config);
    rsl_time delay = 4242;
    rsl_ctx ctx = {.deadline = START + RSL_SEC(1)};
    assert_false(next_at(&retry, &ctx, START, &delay));
    ctx.deadline = START + RSL_SEC(1) - 1;
    assert_false(next_at(&retry, &ctx, START, &delay));
    assert_int_equal(delay, 4242);
    ctx.deadline = START + RSL_SEC(1) + 1;
    assert_true(next_at(&retry, &ctx, START, &delay));
    assert_int_equal(delay, RSL_SEC(1));
    ctx.deadline = 0;
    assert_true(next_at(&retry, &ctx, START, &delay));
    rsl_retry_deinit(&retry);
}

static void a_cancelled_context_ends_the_stepper(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_MS(1));
    rsl_retry retry;
    start(&retry, &config);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_ctx ctx = {.cancel = &cancel};
    rsl_time delay = 4242;
    assert_true(next_at(&retry, &ctx, START, &delay));
    rsl_cancel_fire(&cancel);
    delay = 4242;
    assert_false(next_at(&retry, &ctx, START, &delay));
    assert_int_equal(delay, 4242);
    rsl_cancel_deinit(&cancel);
    rsl_retry_deinit(&retry);
}

/* ------------------------------------------------------------------- stepper */

static void the_stepper_begins_at_the_first_attempt(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_MS(1));
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state = {77, 77, 77};
    rsl_retry_begin(&retry, &state, START);
    assert_int_equal(state.attempt, 1);
    assert_int_equal(state.started, START);
    assert_int_equal(state.delay_last, 0);
    rsl_retry_deinit(&retry);
}

static void the_stepper_counts_attempts_only_when_it_goes_on(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_MS(2));
    config.attempts_max = 3;
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state;
    rsl_time delay = -1;
    rsl_retry_begin(&retry, &state, START);
    assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
    assert_int_equal(state.attempt, 2);
    assert_int_equal(state.delay_last, RSL_MS(2));
    assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
    assert_int_equal(state.attempt, 3);
    assert_int_equal(state.delay_last, RSL_MS(4));
    delay = 4242;
    assert_false(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
    assert_int_equal(state.attempt, 3);
    assert_int_equal(delay, 4242);
    rsl_retry_deinit(&retry);
}

static void success_ends_the_stepper_without_writing_a_delay(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_MS(2));
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state;
    rsl_time delay = 4242;
    rsl_retry_begin(&retry, &state, START);
    assert_false(rsl_retry_next(&retry, &state, NULL, 0, START, &delay));
    assert_int_equal(delay, 4242);
    assert_int_equal(state.attempt, 1);
    rsl_retry_deinit(&retry);
}

static void the_stepper_does_not_read_the_clock(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = steady(RSL_MS(2));
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    clock.reads = 0;
    rsl_retry_state state;
    rsl_time delay;
    rsl_retry_begin(&retry, &state, START);
    assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
    assert_false(rsl_retry_next(&retry, &state, NULL, 0, START, &delay));
    assert_int_equal(clock.reads, 0);
    assert_int_equal(clock.sleeps, 0);
    rsl_retry_deinit(&retry);
}

static void a_result_that_is_not_retryable_ends_the_retrying(void **unused)
{
    (void)unused;
    int asked = 0;
    rsl_retry_config config = steady(RSL_MS(2));
    config.retryable = only_even;
    config.user = &asked;
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state;
    rsl_time delay = 4242;
    rsl_retry_begin(&retry, &state, START);
    assert_false(rsl_retry_next(&retry, &state, NULL, 3, START, &delay));
    assert_int_equal(delay, 4242);
    assert_int_equal(asked, 1);
    assert_true(rsl_retry_next(&retry, &state, NULL, 4, START, &delay));
    assert_int_equal(asked, 2);
    assert_false(rsl_retry_next(&retry, &state, NULL, 0, START, &delay));
    assert_int_equal(asked, 2);
    rsl_retry_deinit(&retry);
}

static void every_result_but_zero_is_retried_by_default(void **unused)
{
    (void)unused;
    static const int results[] = {1, -1, INT_MAX, INT_MIN, RSL_EINVAL, RSL_ECANCELED, RSL_ETIMEOUT,
                                  RSL_EOPEN, RSL_RUN, RSL_STOP, -7399, -7300};
    rsl_retry_config config = steady(RSL_MS(2));
    rsl_retry retry;
    start(&retry, &config);
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        rsl_retry_state state;
        rsl_time delay = -1;
        rsl_retry_begin(&retry, &state, START);
        assert_true(rsl_retry_next(&retry, &state, NULL, results[i], START, &delay));
        assert_int_equal(delay, RSL_MS(2));
    }
    rsl_retry_deinit(&retry);
}

/* ---------------------------------------------------------------------- call */

static void the_call_returns_the_last_attempts_own_result(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = steady(RSL_MS(10));
    config.attempts_max = 3;
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script failing = {.results = {11, 12, 13}, .count = 3};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &failing), 13);
    script recovering = {.results = {11, 0}, .count = 2};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &recovering), 0);
    assert_int_equal(recovering.calls, 2);
    rsl_retry_deinit(&retry);
}

static void the_call_waits_out_each_backoff(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = steady(RSL_MS(10));
    config.attempts_max = 4;
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {1}, .count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 1);
    assert_int_equal(s.at[0], START);
    assert_int_equal(s.at[1], START + RSL_MS(10));
    assert_int_equal(s.at[2], START + RSL_MS(30));
    assert_int_equal(s.at[3], START + RSL_MS(70));
    assert_int_equal(clock.now, START + RSL_MS(70));
    rsl_retry_deinit(&retry);
}

static void a_hinted_call_is_not_made_early(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_time hint = RSL_SEC(30);
    rsl_retry_config config = steady(RSL_MS(10));
    config.attempts_max = 2;
    config.clock = virtual_clock_as(&clock);
    config.delay_hint = hint_from_user;
    config.user = &hint;
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {1, 0}, .count = 2};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 0);
    assert_int_equal(s.at[1], START + RSL_SEC(30));
    rsl_retry_deinit(&retry);
}

static void the_function_sees_its_attempt_and_the_callers_limits(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_retry_config config = steady(RSL_MS(10));
    config.attempts_max = 3;
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {1}, .count = 1};
    rsl_ctx ctx = {.deadline = START + RSL_SEC(5), .cancel = &cancel, .attempt = 9,
                   .priority = -3};
    rsl_ctx before = ctx;
    assert_int_equal(rsl_retry_call(&retry, &ctx, play, &s), 1);
    assert_int_equal(s.attempts[0], 1);
    assert_int_equal(s.attempts[1], 2);
    assert_int_equal(s.attempts[2], 3);
    assert_int_equal(s.ctx.deadline, START + RSL_SEC(5));
    assert_ptr_equal(s.ctx.cancel, &cancel);
    assert_int_equal(s.ctx.priority, -3);
    assert_non_null(s.ctx.clock);
    assert_ptr_equal(s.ctx.clock->user, &clock);
    assert_memory_equal(&before, &ctx, sizeof(ctx));
    rsl_cancel_deinit(&cancel);
    rsl_retry_deinit(&retry);
}

static void the_clock_of_the_context_goes_before_the_objects(void **unused)
{
    (void)unused;
    virtual_clock own = {.now = START};
    virtual_clock other = {.now = START};
    rsl_clock given = virtual_clock_as(&other);
    rsl_retry_config config = steady(RSL_MS(10));
    config.attempts_max = 2;
    config.clock = virtual_clock_as(&own);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {1}, .count = 1};
    rsl_ctx ctx = {.clock = &given};
    assert_int_equal(rsl_retry_call(&retry, &ctx, play, &s), 1);
    assert_int_equal(own.sleeps, 0);
    assert_int_equal(other.sleeps, 1);
    assert_int_equal(other.now, START + RSL_MS(10));
    assert_ptr_equal(s.ctx.clock->user, &other);
    rsl_retry_deinit(&retry);
}

static void any_result_passes_through_unchanged(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = steady(RSL_MS(10));
    config.attempts_max = 2;
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    for (int result = -7400; result <= -7300; result++) {
        script s = {.results = {result}, .count = 1};
        assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), result);
        assert_int_equal(s.calls, 2);
    }
    static const int extremes[] = {INT_MIN, INT_MAX, INT_MIN + 1, -1, 1};
    for (size_t i = 0; i < RSL_COUNT(extremes); i++) {
        script s = {.results = {extremes[i]}, .count = 1};
        assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), extremes[i]);
        assert_int_equal(s.calls, 2);
    }
    rsl_retry_deinit(&retry);
}

/* Without limits, and on the real clock: the shortest way through the call. */
static void a_call_without_limits_on_the_real_clock_does_all_the_same(void **unused)
{
    (void)unused;
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    rsl_retry_config config = steady(RSL_NONE);
    config.attempts_max = 4;
    config.budget = &budget;
    rsl_retry retry;
    start(&retry, &config);
    for (int result = -7400; result <= -7300; result++) {
        assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
        script s = {.results = {result}, .count = 1, .error = ENOTTY};
        errno = 0;
        assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), result);
        assert_int_equal(errno, ENOTTY);
        assert_int_equal(s.calls, 4);
        assert_int_equal(s.attempts[0], 1);
        assert_int_equal(s.attempts[1], 2);
        assert_int_equal(s.attempts[3], 4);
        assert_true(rsl_retry_budget_has(&budget));
        assert_false(rsl_retry_budget_fail(&budget));
        script fine = {.results = {0}, .count = 1};
        assert_int_equal(rsl_retry_call(&retry, NULL, play, &fine), 0);
        assert_int_equal(fine.calls, 1);
        assert_true(rsl_retry_budget_has(&budget));
    }
    rsl_retry_deinit(&retry);
}

static void elapsed_max_is_counted_from_the_call_on_the_real_clock_too(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_US(10));
    config.attempts_max = 3;
    config.elapsed_max = RSL_SEC(100);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {6}, .count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 6);
    assert_int_equal(s.calls, 3);
    rsl_retry_deinit(&retry);
    config.elapsed_max = RSL_US(9);
    start(&retry, &config);
    s.calls = 0;
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 6);
    assert_int_equal(s.calls, 1);
    rsl_retry_deinit(&retry);
}

/* A call that takes two seconds of virtual time. */
static int play_slowly(const rsl_ctx *ctx, void *arg)
{
    int result = play(ctx, arg);
    virtual_clock *clock = ctx->clock->user;
    clock->now += RSL_SEC(2);
    return result;
}

static void the_backoff_begins_when_the_call_has_ended(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = steady(RSL_SEC(1));
    config.multiplier = 1;
    config.attempts_max = 3;
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {6}, .count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, play_slowly, &s), 6);
    assert_int_equal(s.at[1], START + RSL_SEC(3));
    assert_int_equal(s.at[2], START + RSL_SEC(6));
    rsl_retry_deinit(&retry);
}

static void the_time_that_calls_take_counts_against_the_limits(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = steady(RSL_SEC(1));
    config.multiplier = 1;
    config.elapsed_max = RSL_SEC(6) - 1;
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {6}, .count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, play_slowly, &s), 6);
    assert_int_equal(s.calls, 2);
    assert_int_equal(clock.now, START + RSL_SEC(5));
    rsl_retry_deinit(&retry);

    config.elapsed_max = RSL_FOREVER;
    start(&retry, &config);
    clock.now = START;
    s.calls = 0;
    rsl_ctx ctx = {.deadline = START + RSL_SEC(6)};
    assert_int_equal(rsl_retry_call(&retry, &ctx, play_slowly, &s), 6);
    assert_int_equal(s.calls, 2);
    assert_int_equal(clock.now, START + RSL_SEC(5));
    rsl_retry_deinit(&retry);
}

static void a_spent_context_makes_no_call(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = steady(RSL_MS(10));
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {0}, .count = 1};
    rsl_ctx late = {.deadline = START - 1};
    assert_int_equal(rsl_retry_call(&retry, &late, play, &s), RSL_ETIMEOUT);
    late.deadline = START;
    assert_int_equal(rsl_retry_call(&retry, &late, play, &s), RSL_ETIMEOUT);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_cancel_fire(&cancel);
    rsl_ctx cancelled = {.cancel = &cancel};
    assert_int_equal(rsl_retry_call(&retry, &cancelled, play, &s), RSL_ECANCELED);
    assert_int_equal(s.calls, 0);
    late.deadline = START + 1;
    assert_int_equal(rsl_retry_call(&retry, &late, play, &s), 0);
    assert_int_equal(s.calls, 1);
    rsl_cancel_deinit(&cancel);
    rsl_retry_deinit(&retry);
}

static void a_backoff_that_the_deadline_forbids_is_not_slept(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = steady(RSL_SEC(1));
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {6}, .count = 1};
    rsl_ctx ctx = {.deadline = START + RSL_SEC(1)};
    assert_int_equal(rsl_retry_call(&retry, &ctx, play, &s), 6);
    assert_int_equal(s.calls, 1);
    assert_int_equal(clock.sleeps, 0);
    rsl_retry_deinit(&retry);
}

static void a_clock_that_wakes_early_is_asked_to_sleep_again(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START, .wake_early = RSL_MS(400)};
    rsl_retry_config config = steady(RSL_SEC(1));
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {6, 0}, .count = 2};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 0);
    assert_int_equal(s.at[1], START + RSL_SEC(1));
    assert_int_equal(clock.sleeps, 2);
    assert_int_equal(clock.slept_until, START + RSL_SEC(1));
    rsl_retry_deinit(&retry);
}

static void oversleep(virtual_clock *clock, rsl_time until)
{
    (void)until;
    clock->now += RSL_SEC(3600);
}

static void a_deadline_that_passes_during_the_backoff_keeps_the_last_result(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START, .on_sleep = oversleep};
    rsl_retry_config config = steady(RSL_SEC(1));
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {6}, .count = 1};
    rsl_ctx ctx = {.deadline = START + RSL_SEC(10)};
    assert_int_equal(rsl_retry_call(&retry, &ctx, play, &s), 6);
    assert_int_equal(s.calls, 1);
    rsl_retry_deinit(&retry);
}

static void fire_on_sleep(virtual_clock *clock, rsl_time until)
{
    (void)until;
    rsl_cancel_fire(clock->arg);
}

static void cancelling_during_a_virtual_backoff_keeps_the_last_result(void **unused)
{
    (void)unused;
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    virtual_clock clock = {.now = START, .on_sleep = fire_on_sleep, .arg = &cancel};
    rsl_retry_config config = steady(RSL_SEC(1));
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {6}, .count = 1};
    rsl_ctx ctx = {.cancel = &cancel};
    assert_int_equal(rsl_retry_call(&retry, &ctx, play, &s), 6);
    assert_int_equal(s.calls, 1);
    assert_int_equal(clock.sleeps, 1);
    rsl_cancel_deinit(&cancel);
    rsl_retry_deinit(&retry);
}

static int cancel_inside(const rsl_ctx *ctx, void *arg)
{
    int *calls = arg;
    (*calls)++;
    rsl_cancel_fire(ctx->cancel);
    return 8;
}

static void cancelling_during_the_call_starts_no_backoff(void **unused)
{
    (void)unused;
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    virtual_clock clock = {.now = START};
    rsl_retry_config config = steady(RSL_SEC(1));
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    int calls = 0;
    rsl_ctx ctx = {.cancel = &cancel};
    assert_int_equal(rsl_retry_call(&retry, &ctx, cancel_inside, &calls), 8);
    assert_int_equal(calls, 1);
    assert_int_equal(clock.sleeps, 0);
    rsl_cancel_deinit(&cancel);
    rsl_retry_deinit(&retry);
}

typedef struct firing {
    rsl_cancel     *cancel;
    struct timespec fired;
} firing;

static void *fire_after_50_ms(void *arg)
{
    firing *f = arg;
    struct timespec pause = {0, 50000000};
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &f->fired);
    rsl_cancel_fire(f->cancel);
    return NULL;
}

/* The token waited on is a child, so that the parent's firing has to travel. */
static void cancel_a_real_backoff(bool through_parent)
{
    rsl_cancel parent;
    rsl_cancel child;
    assert_int_equal(rsl_cancel_init(&parent, NULL), RSL_OK);
    assert_int_equal(rsl_cancel_init(&child, &parent), RSL_OK);
    rsl_retry_config config = steady(RSL_SEC(10));
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {6}, .count = 1};
    rsl_ctx ctx = {.cancel = &child};
    firing f = {.cancel = through_parent ? &parent : &child};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fire_after_50_ms, &f), 0);
    assert_int_equal(rsl_retry_call(&retry, &ctx, play, &s), 6);
    struct timespec returned;
    clock_gettime(CLOCK_MONOTONIC, &returned);
    assert_int_equal(pthread_join(thread, NULL), 0);
    double since = milliseconds_since(&f.fired);
    assert_int_equal(s.calls, 1);
    assert_true(since >= 0 && since < 1000);
    rsl_cancel_deinit(&child);
    rsl_cancel_deinit(&parent);
    rsl_retry_deinit(&retry);
}

static void cancelling_wakes_a_real_backoff_of_ten_seconds_at_once(void **unused)
{
    (void)unused;
    cancel_a_real_backoff(false);
    cancel_a_real_backoff(true);
}

static void a_real_backoff_is_never_cut_short(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_MS(30));
    config.attempts_max = 2;
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {6, 0}, .count = 2};
    struct timespec begun;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 0);
    assert_true(milliseconds_since(&begun) >= 30.0);
    assert_int_equal(s.calls, 2);
    rsl_retry_deinit(&retry);
}

static void a_call_without_a_function_or_object_is_refused(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_MS(30));
    rsl_retry retry;
    start(&retry, &config);
    script s = {.count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, NULL, &s), RSL_EINVAL);
    assert_int_equal(rsl_retry_call(NULL, NULL, play, &s), RSL_EINVAL);
    assert_int_equal(rsl_retry_init(NULL, &config), RSL_EINVAL);
    assert_int_equal(s.calls, 0);
    rsl_retry_deinit(NULL);
    rsl_retry_state state = {1, 0, 0};
    rsl_time delay = 4242;
    assert_false(rsl_retry_next(NULL, &state, NULL, 1, 0, &delay));
    assert_false(rsl_retry_next(&retry, NULL, NULL, 1, 0, &delay));
    assert_false(rsl_retry_next(&retry, &state, NULL, 1, 0, NULL));
    rsl_retry_begin(&retry, NULL, 0);
    rsl_retry_begin(NULL, NULL, 0);
    assert_int_equal(delay, 4242);
    rsl_retry_deinit(&retry);
}

static void a_deinited_object_is_refused(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_MS(30));
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_deinit(&retry);
    script s = {.count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), RSL_EINVAL);
    assert_int_equal(s.calls, 0);
    rsl_retry_deinit(&retry);
}

/* Callbacks that leave dirt in errno, as any real one may. */
static void dirty_sleep(virtual_clock *clock, rsl_time until)
{
    (void)clock;
    (void)until;
    errno = EIO;
}

static rsl_time dirty_now(void *user)
{
    errno = EINTR;
    return ((virtual_clock *)user)->now;
}

static double dirty_random(void *user)
{
    (void)user;
    errno = ERANGE;
    return 0.5;
}

static void dirty_event(const rsl_event *event, void *user)
{
    (void)event;
    (void)user;
    errno = EPIPE;
}

static bool dirty_retryable(int result, void *user)
{
    (void)user;
    errno = EDOM;
    return result != 0;
}

static rsl_time dirty_hint(int result, void *user)
{
    (void)result;
    (void)user;
    errno = EAGAIN;
    return RSL_NONE;
}

static rsl_retry_config dirty_config(virtual_clock *clock)
{
    rsl_retry_config config = {.delay_first = RSL_MS(1), .retryable = dirty_retryable,
                               .delay_hint = dirty_hint};
    config.clock = virtual_clock_as(clock);
    config.clock.now = dirty_now;
    config.random.next = dirty_random;
    config.observer.on_event = dirty_event;
    return config;
}

static void errno_of_the_last_attempt_survives_the_call(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START, .on_sleep = dirty_sleep};
    rsl_retry_config config = dirty_config(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script failing = {.results = {1}, .count = 1, .error = ENOENT};
    errno = 0;
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &failing), 1);
    assert_int_equal(errno, ENOENT);
    script recovering = {.results = {1, 0}, .count = 2, .error = EACCES};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &recovering), 0);
    assert_int_equal(errno, EACCES);
    rsl_retry_deinit(&retry);
}

static void errno_survives_the_stepper_and_the_budget(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = dirty_config(&clock);
    config.attempts_max = 2;
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    rsl_retry_state state;
    rsl_time delay;
    errno = 4321;
    rsl_retry_begin(&retry, &state, START);
    assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
    assert_int_equal(errno, 4321);
    assert_false(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
    assert_int_equal(errno, 4321);
    assert_false(rsl_retry_next(&retry, &state, NULL, 0, START, &delay));
    assert_int_equal(errno, 4321);
    (void)rsl_retry_budget_fail(&budget);
    rsl_retry_budget_succeed(&budget);
    (void)rsl_retry_budget_has(&budget);
    assert_int_equal(errno, 4321);
    rsl_retry_deinit(&retry);
}

/* -------------------------------------------------------------------- budget */

static void the_budget_of_ten_allows_four_failures_and_refuses_the_fifth(void **unused)
{
    (void)unused;
    rsl_retry_budget_config config = {10, 0.1, 1};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, &config), RSL_OK);
    for (int i = 0; i < 4; i++) {
        assert_true(rsl_retry_budget_fail(&budget));
        assert_true(rsl_retry_budget_has(&budget));
    }
    assert_false(rsl_retry_budget_fail(&budget));
    assert_false(rsl_retry_budget_has(&budget));
}

static void an_empty_budget_has_tokens_after_the_51st_success_and_not_before(void **unused)
{
    (void)unused;
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    for (int i = 0; i < 100; i++) {
        (void)rsl_retry_budget_fail(&budget);
    }
    for (int i = 0; i < 50; i++) {
        rsl_retry_budget_succeed(&budget);
        assert_false(rsl_retry_budget_has(&budget));
    }
    rsl_retry_budget_succeed(&budget);
    assert_true(rsl_retry_budget_has(&budget));
}

static void successes_do_not_fill_the_budget_above_its_maximum(void **unused)
{
    (void)unused;
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    assert_true(rsl_retry_budget_fail(&budget));
    for (int i = 0; i < 1000; i++) {
        rsl_retry_budget_succeed(&budget);
    }
    for (int i = 0; i < 4; i++) {
        assert_true(rsl_retry_budget_fail(&budget));
    }
    assert_false(rsl_retry_budget_fail(&budget));
}

static void a_success_worth_more_than_the_room_left_fills_the_budget_exactly(void **unused)
{
    (void)unused;
    rsl_retry_budget_config config = {10, 7, 1};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, &config), RSL_OK);
    (void)rsl_retry_budget_fail(&budget);
    rsl_retry_budget_succeed(&budget);
    for (int i = 0; i < 4; i++) {
        assert_true(rsl_retry_budget_fail(&budget));
    }
    assert_false(rsl_retry_budget_fail(&budget));
}

static void a_failure_dearer_than_what_is_left_empties_the_budget(void **unused)
{
    (void)unused;
    rsl_retry_budget_config config = {10, 1, 7};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, &config), RSL_OK);
    assert_false(rsl_retry_budget_fail(&budget));
    assert_false(rsl_retry_budget_fail(&budget));
    for (int i = 0; i < 5; i++) {
        rsl_retry_budget_succeed(&budget);
        assert_false(rsl_retry_budget_has(&budget));
    }
    rsl_retry_budget_succeed(&budget);
    assert_true(rsl_retry_budget_has(&budget));
}

static void the_largest_budget_counts_exactly(void **unused)
{
    (void)unused;
    rsl_retry_budget_config config = {1e9, 1e-9, 5e8 - 1};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, &config), RSL_OK);
    assert_true(rsl_retry_budget_fail(&budget));
    assert_false(rsl_retry_budget_fail(&budget));
    config.tokens_per_failure = 5e8;
    assert_int_equal(rsl_retry_budget_init(&budget, &config), RSL_OK);
    assert_false(rsl_retry_budget_fail(&budget));
    rsl_retry_budget_succeed(&budget);
    assert_true(rsl_retry_budget_has(&budget));
}

static void a_budget_with_nothing_given_back_stays_spent(void **unused)
{
    (void)unused;
    rsl_retry_budget_config config = {.tokens_per_success = RSL_NONE};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, &config), RSL_OK);
    for (int i = 0; i < 5; i++) {
        (void)rsl_retry_budget_fail(&budget);
    }
    for (int i = 0; i < 100000; i++) {
        rsl_retry_budget_succeed(&budget);
    }
    assert_false(rsl_retry_budget_has(&budget));
}

static void a_budget_that_charges_nothing_never_refuses(void **unused)
{
    (void)unused;
    rsl_retry_budget_config config = {.tokens_per_failure = RSL_NONE};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, &config), RSL_OK);
    for (int i = 0; i < 10000; i++) {
        assert_true(rsl_retry_budget_fail(&budget));
    }
}

static void a_retry_charges_every_retryable_failure_and_the_last_one_too(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    rsl_retry_config config = steady(RSL_MS(1));
    config.attempts_max = 2;
    config.budget = &budget;
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {1}, .count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 1);
    assert_int_equal(s.calls, 2);
    assert_true(rsl_retry_budget_fail(&budget));
    assert_true(rsl_retry_budget_fail(&budget));
    assert_false(rsl_retry_budget_fail(&budget));
    rsl_retry_deinit(&retry);
}

static void a_retry_stops_when_the_budget_refuses(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    rsl_retry_config config = steady(RSL_MS(1));
    config.budget = &budget;
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {1}, .count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 1);
    assert_int_equal(s.calls, 5);
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 1);
    assert_int_equal(s.calls, 6);
    rsl_retry_deinit(&retry);
}

static void successes_of_a_retry_fill_its_budget(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    rsl_retry_config config = steady(RSL_MS(1));
    config.budget = &budget;
    config.clock = virtual_clock_as(&clock);
    rsl_retry retry;
    start(&retry, &config);
    for (int i = 0; i < 5; i++) {
        (void)rsl_retry_budget_fail(&budget);
    }
    assert_false(rsl_retry_budget_has(&budget));
    script s = {.results = {0}, .count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 0);
    assert_true(rsl_retry_budget_has(&budget));
    rsl_retry_deinit(&retry);
}

static void a_result_that_is_not_retryable_leaves_the_budget_alone(void **unused)
{
    (void)unused;
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    rsl_retry_config config = steady(RSL_MS(1));
    config.budget = &budget;
    config.retryable = only_even;
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state;
    rsl_time delay;
    rsl_retry_begin(&retry, &state, START);
    for (int i = 0; i < 100; i++) {
        assert_false(rsl_retry_next(&retry, &state, NULL, 3, START, &delay));
    }
    for (int i = 0; i < 4; i++) {
        assert_true(rsl_retry_budget_fail(&budget));
    }
    assert_false(rsl_retry_budget_fail(&budget));
    rsl_retry_deinit(&retry);
}

static void two_retries_share_one_budget(void **unused)
{
    (void)unused;
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    rsl_retry_config config = steady(RSL_MS(1));
    config.budget = &budget;
    rsl_retry retry[2];
    start(&retry[0], &config);
    start(&retry[1], &config);
    rsl_retry_state state;
    rsl_time delay;
    rsl_retry_begin(&retry[0], &state, START);
    for (int i = 0; i < 4; i++) {
        assert_true(rsl_retry_next(&retry[i % 2], &state, NULL, 1, START, &delay));
    }
    assert_false(rsl_retry_next(&retry[0], &state, NULL, 1, START, &delay));
    assert_false(rsl_retry_next(&retry[1], &state, NULL, 1, START, &delay));
    rsl_retry_deinit(&retry[0]);
    rsl_retry_deinit(&retry[1]);
}

typedef struct nest {
    rsl_retry *inner;
    script     innermost;
} nest;

static int call_the_inner_retry(const rsl_ctx *ctx, void *arg)
{
    nest *n = arg;
    return rsl_retry_call(n->inner, ctx, play, &n->innermost);
}

static void nested_retries_do_not_multiply_under_one_budget(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    rsl_retry_config config = steady(RSL_MS(1));
    config.attempts_max = 10;
    config.budget = &budget;
    config.clock = virtual_clock_as(&clock);
    rsl_retry outer;
    rsl_retry inner;
    start(&outer, &config);
    start(&inner, &config);
    nest n = {.inner = &inner, .innermost = {.results = {1}, .count = 1}};
    assert_int_equal(rsl_retry_call(&outer, NULL, call_the_inner_retry, &n), 1);
    assert_int_equal(n.innermost.calls, 5);
    rsl_retry_deinit(&outer);
    rsl_retry_deinit(&inner);
}

typedef struct budget_share {
    rsl_retry_budget *budget;
    int               failures;
    int               successes;
} budget_share;

static void *spend_a_share(void *arg)
{
    budget_share *share = arg;
    for (int i = 0; i < share->failures || i < share->successes; i++) {
        if (i < share->failures) {
            (void)rsl_retry_budget_fail(share->budget);
        }
        if (i < share->successes) {
            rsl_retry_budget_succeed(share->budget);
        }
    }
    return NULL;
}

/* 100,000 tokens; no interleaving comes near either end, so the rest is known to the token. */
static void failures_and_successes_of_many_threads_are_counted_exactly(void **unused)
{
    (void)unused;
    rsl_retry_budget_config config = {100000, 0.5, 1};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, &config), RSL_OK);
    for (int i = 0; i < 15000; i++) {
        assert_true(rsl_retry_budget_fail(&budget));
    }
    budget_share share = {&budget, 4000, 3000};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, spend_a_share, &share), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    int left = 0;
    while (rsl_retry_budget_fail(&budget)) {
        left++;
    }
    assert_int_equal(left, 100000 - 15000 - 4 * 4000 + 4 * 3000 / 2 - 50000 - 1);
}

static void refuse_budget(rsl_retry_budget_config config, const char *field)
{
    const char *why = rsl_retry_budget_config_check(&config);
    assert_non_null(why);
    if (strncmp(why, field, strlen(field)) != 0 || why[strlen(field)] != ':') {
        fail_msg("\"%s\" does not begin with \"%s:\"", why, field);
    }
    rsl_retry_budget budget;
    memset(&budget, 0x5A, sizeof(budget));
    assert_int_equal(rsl_retry_budget_init(&budget, &config), RSL_EINVAL);
    assert_false(rsl_retry_budget_has(&budget));
    assert_false(rsl_retry_budget_fail(&budget));
    rsl_retry_budget_succeed(&budget);
    assert_false(rsl_retry_budget_has(&budget));
    refuse(&(rsl_retry_config){.budget = &budget}, "budget");
}

static void every_budget_field_out_of_range_is_refused_by_name(void **unused)
{
    (void)unused;
    const double bad[] = {-0.5, -2, -DBL_MAX, 1e9 + 1, DBL_MAX, (double)NAN, (double)INFINITY,
                          -(double)INFINITY};
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        refuse_budget((rsl_retry_budget_config){.tokens_max = bad[i]}, "tokens_max");
        refuse_budget((rsl_retry_budget_config){.tokens_per_success = bad[i]},
                      "tokens_per_success");
        refuse_budget((rsl_retry_budget_config){.tokens_per_failure = bad[i]},
                      "tokens_per_failure");
    }
    refuse_budget((rsl_retry_budget_config){.tokens_max = RSL_NONE}, "tokens_max");
    refuse_budget((rsl_retry_budget_config){.tokens_max = 1e-10}, "tokens_max");
    assert_int_equal(rsl_retry_budget_init(NULL, NULL), RSL_EINVAL);
    assert_false(rsl_retry_budget_has(NULL));
    assert_false(rsl_retry_budget_fail(NULL));
    rsl_retry_budget_succeed(NULL);
}

static void the_ends_of_every_budget_range_are_accepted(void **unused)
{
    (void)unused;
    const rsl_retry_budget_config good[] = {
        {1e-9, 1e9, 1e9}, {1e9, 1e-9, 1e-9}, {1e9, RSL_NONE, RSL_NONE}, {0, 0, 0},
    };
    for (size_t i = 0; i < RSL_COUNT(good); i++) {
        rsl_retry_budget budget;
        assert_null(rsl_retry_budget_config_check(&good[i]));
        assert_int_equal(rsl_retry_budget_init(&budget, &good[i]), RSL_OK);
        assert_true(rsl_retry_budget_has(&budget));
    }
}

static void zero_means_the_default_in_a_budget(void **unused)
{
    (void)unused;
    rsl_retry_budget_config zero = {0, 0, 0};
    rsl_retry_budget_config resolved = rsl_retry_budget_config_resolve(&zero);
    assert_true(resolved.tokens_max == 10 && resolved.tokens_per_success == 0.1
                && resolved.tokens_per_failure == 1);
    resolved = rsl_retry_budget_config_resolve(NULL);
    assert_true(resolved.tokens_max == 10 && resolved.tokens_per_success == 0.1
                && resolved.tokens_per_failure == 1);
    assert_null(rsl_retry_budget_config_check(&zero));
    assert_null(rsl_retry_budget_config_check(NULL));
}

/* -------------------------------------------------------------------- config */

static void spans_out_of_range_are_refused_by_name(void **unused)
{
    (void)unused;
    static const rsl_time bad[] = {-2, -RSL_SEC(1), INT64_MIN};
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        refuse(&(rsl_retry_config){.delay_first = bad[i]}, "delay_first");
        refuse(&(rsl_retry_config){.delay_max = bad[i]}, "delay_max");
        refuse(&(rsl_retry_config){.elapsed_max = bad[i]}, "elapsed_max");
    }
    refuse(&(rsl_retry_config){.delay_max = RSL_NONE}, "delay_max");
    refuse(&(rsl_retry_config){.elapsed_max = RSL_NONE}, "elapsed_max");
}

static void a_cap_below_the_first_delay_is_refused_by_name(void **unused)
{
    (void)unused;
    refuse(&(rsl_retry_config){.delay_first = RSL_SEC(2), .delay_max = RSL_SEC(2) - 1},
           "delay_max");
    refuse(&(rsl_retry_config){.delay_first = RSL_FOREVER, .delay_max = RSL_FOREVER - 1},
           "delay_max");
}

static void multipliers_out_of_range_are_refused_by_name(void **unused)
{
    (void)unused;
    const double bad[] = {0.999999, 0.5, -1, -2, -DBL_MAX, (double)NAN, -(double)NAN,
                          (double)INFINITY, -(double)INFINITY, DBL_MIN};
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        refuse(&(rsl_retry_config){.multiplier = bad[i]}, "multiplier");
    }
}

static void unknown_jitters_are_refused_by_name(void **unused)
{
    (void)unused;
    static const int bad[] = {RSL_JITTER_NONE + 1, 99, INT_MAX, -1, INT_MIN};
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        refuse(&(rsl_retry_config){.jitter = (rsl_retry_jitter)bad[i]}, "jitter");
    }
}

static void half_a_clock_is_refused_by_name(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_config config = {.clock = virtual_clock_as(&clock)};
    config.clock.sleep_until = NULL;
    refuse(&config, "clock.sleep_until");
    config.clock = virtual_clock_as(&clock);
    config.clock.now = NULL;
    refuse(&config, "clock.now");
}

static void the_ends_of_every_range_are_accepted(void **unused)
{
    (void)unused;
    const rsl_retry_config good[] = {
        {.attempts_max = 1}, {.attempts_max = RSL_UNLIMITED},
        {.delay_first = 1}, {.delay_first = RSL_NONE},
        {.delay_first = RSL_FOREVER, .delay_max = RSL_FOREVER},
        {.delay_first = 1, .delay_max = 1}, {.delay_max = RSL_FOREVER},
        {.multiplier = 1.0}, {.multiplier = DBL_MAX},
        {.jitter = RSL_JITTER_FULL}, {.jitter = RSL_JITTER_NONE},
        {.elapsed_max = 1}, {.elapsed_max = RSL_FOREVER},
    };
    for (size_t i = 0; i < RSL_COUNT(good); i++) {
        rsl_retry retry;
        start(&retry, &good[i]);
        rsl_retry_deinit(&retry);
    }
}

static void zero_means_the_default_in_every_field(void **unused)
{
    (void)unused;
    rsl_retry_config zero;
    memset(&zero, 0, sizeof(zero));
    const rsl_retry_config *given[] = {&zero, NULL};
    for (size_t i = 0; i < RSL_COUNT(given); i++) {
        assert_null(rsl_retry_config_check(given[i]));
        rsl_retry_config resolved = rsl_retry_config_resolve(given[i]);
        assert_int_equal(resolved.attempts_max, 3);
        assert_int_equal(resolved.delay_first, RSL_MS(100));
        assert_int_equal(resolved.delay_max, RSL_SEC(10));
        assert_true(resolved.multiplier == 2.0);
        assert_int_equal(resolved.jitter, RSL_JITTER_FULL);
        assert_int_equal(resolved.elapsed_max, RSL_FOREVER);
        assert_false(resolved.retry_refusals);
        assert_null(resolved.budget);
        assert_null(rsl_retry_config_check(&resolved));
    }
}

static void resolving_turns_an_explicit_none_into_zero(void **unused)
{
    (void)unused;
    rsl_retry_config config = {.delay_first = RSL_NONE};
    assert_int_equal(rsl_retry_config_resolve(&config).delay_first, 0);
    rsl_retry_budget_config budget = {0, RSL_NONE, RSL_NONE};
    assert_true(rsl_retry_budget_config_resolve(&budget).tokens_per_success == 0);
    assert_true(rsl_retry_budget_config_resolve(&budget).tokens_per_failure == 0);
}

static void resolving_keeps_what_was_set(void **unused)
{
    (void)unused;
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    int user = 0;
    rsl_retry_config config = {"orders", 7, RSL_MS(3), RSL_SEC(4), 1.25, RSL_JITTER_EQUAL,
                               RSL_SEC(5), only_even, true, note_the_hint, &user, &budget,
                               {0}, {0}, {0}};
    rsl_retry_config resolved = rsl_retry_config_resolve(&config);
    assert_string_equal(resolved.name, "orders");
    assert_int_equal(resolved.attempts_max, 7);
    assert_int_equal(resolved.delay_first, RSL_MS(3));
    assert_int_equal(resolved.delay_max, RSL_SEC(4));
    assert_true(resolved.multiplier == 1.25);
    assert_int_equal(resolved.jitter, RSL_JITTER_EQUAL);
    assert_int_equal(resolved.elapsed_max, RSL_SEC(5));
    assert_true(resolved.retry_refusals);
    assert_ptr_equal(resolved.user, &user);
    assert_ptr_equal(resolved.budget, &budget);
    assert_true(resolved.retryable == only_even);
    assert_true(resolved.delay_hint == note_the_hint);
}

static void the_config_is_not_changed_by_init(void **unused)
{
    (void)unused;
    rsl_retry_config config;
    memset(&config, 0, sizeof(config));
    rsl_retry_config before;
    memcpy(&before, &config, sizeof(before));
    rsl_retry retry;
    start(&retry, &config);
    assert_memory_equal(&before, &config, sizeof(before));
    rsl_retry_deinit(&retry);
}

static void a_null_config_means_all_defaults(void **unused)
{
    (void)unused;
    rsl_retry retry;
    assert_int_equal(rsl_retry_init(&retry, NULL), RSL_OK);
    rsl_retry_state state;
    rsl_time delay = -1;
    rsl_retry_begin(&retry, &state, START);
    assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
    assert_in_range(delay, 0, RSL_MS(100));
    assert_true(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
    assert_in_range(delay, 0, RSL_MS(200));
    assert_false(rsl_retry_next(&retry, &state, NULL, 1, START, &delay));
    rsl_retry_deinit(&retry);
}

static void the_layer_says_what_it_is(void **unused)
{
    (void)unused;
    rsl_retry retry;
    assert_int_equal(rsl_retry_init(&retry, NULL), RSL_OK);
    rsl_layer layer = rsl_retry_layer(&retry);
    assert_non_null(layer.type);
    assert_string_equal(layer.type->kind, "retry");
    assert_ptr_equal(layer.self, &retry);
    assert_true(layer.type->enter != NULL && layer.type->leave != NULL);
    assert_true(layer.type->abandon != NULL);
    rsl_retry_deinit(&retry);
}

/* -------------------------------------------------------------------- memory */

static void init_survives_every_failed_allocation(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_MS(1));
    rsl_retry retry;
    support_fail_never();
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    long needed = support_taken();
    rsl_retry_deinit(&retry);
    assert_int_equal(support_live(), 0);
    for (long n = 1; n <= needed + 1; n++) {
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            for_ever ? support_fail_from(n) : support_fail_nth(n);
            int rc = rsl_retry_init(&retry, &config);
            support_fail_never();
            assert_int_equal(rc, n <= needed ? RSL_ENOMEM : RSL_OK);
            script s = {.count = 1};
            assert_int_equal(rsl_retry_call(&retry, NULL, play, &s),
                             n <= needed ? RSL_EINVAL : RSL_OK);
            rsl_retry_deinit(&retry);
            assert_int_equal(support_live(), 0);
        }
    }
}

static void calls_take_no_memory(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry_budget budget;
    assert_int_equal(rsl_retry_budget_init(&budget, NULL), RSL_OK);
    rsl_retry_config config = {.clock = virtual_clock_as(&clock), .budget = &budget};
    rsl_retry retry;
    start(&retry, &config);
    support_fail_from(1);
    script s = {.results = {1, 1, 0}, .count = 3};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 0);
    assert_int_equal(support_taken(), 0);
    support_fail_never();
    rsl_retry_deinit(&retry);
}

/* -------------------------------------------------------------------- events */

static void each_retry_is_told_with_its_delay_and_result(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    event_recorder events = {.count = 0};
    rsl_retry_config config = steady(RSL_MS(10));
    config.name = "orders";
    config.clock = virtual_clock_as(&clock);
    config.observer = event_recorder_as(&events);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {71, 72, 0}, .count = 3};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 0);
    assert_int_equal(events.count, 3);
    const rsl_event *first = &events.events[0].event;
    const rsl_event *second = &events.events[1].event;
    const rsl_event *third = &events.events[2].event;
    assert_int_equal(first->number, 1);
    assert_int_equal(first->kind, RSL_RETRY_SCHEDULED);
    assert_int_equal(first->value, RSL_MS(10));
    assert_int_equal(first->status, 71);
    assert_int_equal(first->at, START);
    assert_int_equal(second->kind, RSL_RETRY_SCHEDULED);
    assert_int_equal(second->value, RSL_MS(20));
    assert_int_equal(second->status, 72);
    assert_int_equal(second->at, START + RSL_MS(10));
    assert_int_equal(third->kind, RSL_RETRY_RECOVERED);
    assert_int_equal(third->value, 3);
    assert_int_equal(third->status, 0);
    for (size_t i = 0; i < events.count; i++) {
        assert_string_equal(events.events[i].source, "orders");
        assert_string_not_equal(events.events[i].name, "(null)");
        assert_string_not_equal(events.events[i].name, "");
    }
    assert_true(event_recorder_is_increasing(&events));
    rsl_retry_deinit(&retry);
}

static void a_success_at_the_first_attempt_is_no_event(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    event_recorder events = {.count = 0};
    rsl_retry_config config = steady(RSL_MS(10));
    config.clock = virtual_clock_as(&clock);
    config.observer = event_recorder_as(&events);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {0}, .count = 1};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 0);
    assert_int_equal(events.count, 0);
    rsl_retry_deinit(&retry);
}

/* Runs one stepper failure of attempt 2 and expects exactly one event of this kind. */
static void expect_the_end(rsl_retry_config config, const rsl_ctx *ctx, int result, int kind)
{
    event_recorder events = {.count = 0};
    config.observer = event_recorder_as(&events);
    rsl_retry retry;
    start(&retry, &config);
    rsl_retry_state state;
    rsl_time delay = 4242;
    rsl_retry_begin(&retry, &state, START);
    state.attempt = 2;
    assert_false(rsl_retry_next(&retry, &state, ctx, result, START, &delay));
    assert_int_equal(events.count, 1);
    assert_int_equal(events.events[0].event.kind, kind);
    assert_int_equal(events.events[0].event.status, result);
    if (kind == RSL_RETRY_EXHAUSTED || kind == RSL_RETRY_RECOVERED) {
        assert_int_equal(events.events[0].event.value, 2);
    }
    rsl_retry_deinit(&retry);
}

static void each_way_to_end_has_its_event(void **unused)
{
    (void)unused;
    rsl_retry_config config = steady(RSL_SEC(1));
    expect_the_end(config, NULL, 0, RSL_RETRY_RECOVERED);
    config.attempts_max = 2;
    expect_the_end(config, NULL, 9, RSL_RETRY_EXHAUSTED);
    config = steady(RSL_SEC(1));
    config.elapsed_max = RSL_MS(1);
    expect_the_end(config, NULL, 9, RSL_RETRY_EXHAUSTED);
    config = steady(RSL_SEC(1));
    rsl_ctx late = {.deadline = START + 1};
    expect_the_end(config, &late, 9, RSL_RETRY_EXHAUSTED);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_cancel_fire(&cancel);
    rsl_ctx cancelled = {.cancel = &cancel};
    expect_the_end(config, &cancelled, 9, RSL_RETRY_EXHAUSTED);
    rsl_cancel_deinit(&cancel);
    config.retryable = only_even;
    expect_the_end(config, NULL, 9, RSL_RETRY_REJECTED);
    rsl_retry_budget budget;
    rsl_retry_budget_config none = {.tokens_max = 1};
    assert_int_equal(rsl_retry_budget_init(&budget, &none), RSL_OK);
    config = steady(RSL_SEC(1));
    config.budget = &budget;
    expect_the_end(config, NULL, 9, RSL_RETRY_DENIED);
}

/* One call whose backoff the clock's hook spoils: SCHEDULED, then EXHAUSTED after one attempt. */
static void expect_a_spoilt_backoff(virtual_clock *clock, const rsl_ctx *ctx)
{
    event_recorder events = {.count = 0};
    rsl_retry_config config = steady(RSL_SEC(1));
    config.clock = virtual_clock_as(clock);
    config.observer = event_recorder_as(&events);
    rsl_retry retry;
    start(&retry, &config);
    script s = {.results = {6}, .count = 1};
    assert_int_equal(rsl_retry_call(&retry, ctx, play, &s), 6);
    assert_int_equal(s.calls, 1);
    assert_int_equal(events.count, 2);
    assert_int_equal(events.events[0].event.kind, RSL_RETRY_SCHEDULED);
    assert_int_equal(events.events[1].event.kind, RSL_RETRY_EXHAUSTED);
    assert_int_equal(events.events[1].event.status, 6);
    assert_true(events.events[1].event.at == clock->now);
    assert_int_equal(events.events[1].event.value, 1);
    rsl_retry_deinit(&retry);
}

static void a_backoff_cut_short_by_cancelling_is_told(void **unused)
{
    (void)unused;
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    virtual_clock clock = {.now = START, .on_sleep = fire_on_sleep, .arg = &cancel};
    rsl_ctx ctx = {.cancel = &cancel};
    expect_a_spoilt_backoff(&clock, &ctx);
    rsl_cancel_deinit(&cancel);
}

static void a_backoff_cut_short_by_the_deadline_is_told(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START, .on_sleep = oversleep};
    rsl_ctx ctx = {.deadline = START + RSL_SEC(10)};
    expect_a_spoilt_backoff(&clock, &ctx);
}

/* An observer that starts a call of its own on the object that told it. */
typedef struct reentry {
    rsl_retry *retry;
    int        depth;
    int        calls;
} reentry;

static void call_again(const rsl_event *event, void *arg)
{
    reentry *r = arg;
    (void)event;
    if (r->depth > 0) {
        return;
    }
    r->depth++;
    script s = {.results = {1, 0}, .count = 2};
    assert_int_equal(rsl_retry_call(r->retry, NULL, play, &s), 0);
    r->calls++;
    r->depth--;
}

static void an_observer_may_call_back_into_the_retry(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_retry retry;
    reentry r = {.retry = &retry};
    event_recorder events = {.then = call_again, .arg = &r};
    rsl_retry_config config = steady(RSL_MS(10));
    config.clock = virtual_clock_as(&clock);
    config.observer = event_recorder_as(&events);
    start(&retry, &config);
    script s = {.results = {1, 0}, .count = 2};
    assert_int_equal(rsl_retry_call(&retry, NULL, play, &s), 0);
    assert_int_equal(r.calls, 2);
    assert_int_equal(events.count, 6);
    assert_true(event_recorder_is_increasing(&events));
    rsl_retry_deinit(&retry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_of_500_ms_times_one_and_a_half_grows_exactly),
        cmocka_unit_test(full_jitter_with_random_one_gives_the_whole_delay_up_to_the_cap),
        cmocka_unit_test(attempt_1000_with_a_cap_of_two_days_gives_the_cap),
        cmocka_unit_test(an_attempt_number_that_is_full_does_not_start_over),
        cmocka_unit_test(a_cap_of_forever_is_reached_without_overflow),
        cmocka_unit_test(a_multiplier_of_1e308_goes_straight_to_the_cap),
        cmocka_unit_test(the_default_cap_makes_room_for_a_longer_first_delay),
        cmocka_unit_test(the_default_first_delay_gives_way_to_a_shorter_cap),
        cmocka_unit_test(a_delay_of_zero_stays_zero_under_the_largest_multiplier),
        cmocka_unit_test(a_multiplier_of_one_keeps_the_delay),
        cmocka_unit_test(powers_of_two_are_exact_to_the_nanosecond),
        cmocka_unit_test(the_first_delay_is_capped_too),
        cmocka_unit_test(full_jitter_is_random_times_the_delay),
        cmocka_unit_test(the_default_jitter_is_full),
        cmocka_unit_test(equal_jitter_keeps_half_and_draws_the_other_half),
        cmocka_unit_test(no_jitter_ignores_the_random),
        cmocka_unit_test(decorrelated_jitter_draws_between_the_first_and_thrice_the_previous),
        cmocka_unit_test(decorrelated_jitter_survives_a_previous_wait_without_bounds),
        cmocka_unit_test(a_random_that_is_nan_or_negative_counts_as_zero),
        cmocka_unit_test(a_random_above_one_counts_as_one),
        cmocka_unit_test(jitter_of_zero_width_gives_zero),
        cmocka_unit_test(a_hundred_thousand_seeded_draws_fill_the_bounds_of_each_jitter),
        cmocka_unit_test(a_hundred_thousand_draws_of_the_default_random_fill_the_bounds),
        cmocka_unit_test(two_objects_draw_different_delays_by_default),
#ifndef _WIN32
        cmocka_unit_test(a_forked_child_draws_other_delays_than_its_parent),
#endif
        cmocka_unit_test(a_long_chain_of_decorrelated_delays_keeps_its_bounds),
        cmocka_unit_test(a_hint_later_than_the_backoff_is_waited_for),
        cmocka_unit_test(a_hint_above_the_cap_is_not_shortened),
        cmocka_unit_test(a_hint_earlier_than_the_backoff_changes_nothing),
        cmocka_unit_test(a_hint_beyond_the_deadline_ends_the_retrying),
        cmocka_unit_test(a_hint_beyond_elapsed_max_ends_the_retrying),
        cmocka_unit_test(the_next_backoff_builds_on_the_backoff_and_not_on_the_hint),
        cmocka_unit_test(the_hint_is_asked_with_the_result_and_never_for_a_success),
        cmocka_unit_test(attempts_max_counts_the_first_attempt),
        cmocka_unit_test(three_attempts_are_made_by_default),
        cmocka_unit_test(unlimited_attempts_go_on_until_success),
        cmocka_unit_test(an_attempt_may_start_exactly_at_elapsed_max_and_not_after),
        cmocka_unit_test(limits_at_the_end_of_time_do_not_overflow),
        cmocka_unit_test(a_wait_that_would_reach_the_deadline_is_not_begun),
        cmocka_unit_test(a_cancelled_context_ends_the_stepper),
        cmocka_unit_test(the_stepper_begins_at_the_first_attempt),
        cmocka_unit_test(the_stepper_counts_attempts_only_when_it_goes_on),
        cmocka_unit_test(success_ends_the_stepper_without_writing_a_delay),
        cmocka_unit_test(the_stepper_does_not_read_the_clock),
        cmocka_unit_test(a_result_that_is_not_retryable_ends_the_retrying),
        cmocka_unit_test(every_result_but_zero_is_retried_by_default),
        cmocka_unit_test(the_call_returns_the_last_attempts_own_result),
        cmocka_unit_test(the_call_waits_out_each_backoff),
        cmocka_unit_test(a_hinted_call_is_not_made_early),
        cmocka_unit_test(the_function_sees_its_attempt_and_the_callers_limits),
        cmocka_unit_test(the_clock_of_the_context_goes_before_the_objects),
        cmocka_unit_test(any_result_passes_through_unchanged),
        cmocka_unit_test(a_call_without_limits_on_the_real_clock_does_all_the_same),
        cmocka_unit_test(elapsed_max_is_counted_from_the_call_on_the_real_clock_too),
        cmocka_unit_test(the_backoff_begins_when_the_call_has_ended),
        cmocka_unit_test(the_time_that_calls_take_counts_against_the_limits),
        cmocka_unit_test(a_spent_context_makes_no_call),
        cmocka_unit_test(a_backoff_that_the_deadline_forbids_is_not_slept),
        cmocka_unit_test(a_clock_that_wakes_early_is_asked_to_sleep_again),
        cmocka_unit_test(a_deadline_that_passes_during_the_backoff_keeps_the_last_result),
        cmocka_unit_test(cancelling_during_a_virtual_backoff_keeps_the_last_result),
        cmocka_unit_test(cancelling_during_the_call_starts_no_backoff),
        cmocka_unit_test(cancelling_wakes_a_real_backoff_of_ten_seconds_at_once),
        cmocka_unit_test(a_real_backoff_is_never_cut_short),
        cmocka_unit_test(a_call_without_a_function_or_object_is_refused),
        cmocka_unit_test(a_deinited_object_is_refused),
        cmocka_unit_test(errno_of_the_last_attempt_survives_the_call),
        cmocka_unit_test(errno_survives_the_stepper_and_the_budget),
        cmocka_unit_test(the_budget_of_ten_allows_four_failures_and_refuses_the_fifth),
        cmocka_unit_test(an_empty_budget_has_tokens_after_the_51st_success_and_not_before),
        cmocka_unit_test(successes_do_not_fill_the_budget_above_its_maximum),
        cmocka_unit_test(a_success_worth_more_than_the_room_left_fills_the_budget_exactly),
        cmocka_unit_test(a_failure_dearer_than_what_is_left_empties_the_budget),
        cmocka_unit_test(the_largest_budget_counts_exactly),
        cmocka_unit_test(a_budget_with_nothing_given_back_stays_spent),
        cmocka_unit_test(a_budget_that_charges_nothing_never_refuses),
        cmocka_unit_test(a_retry_charges_every_retryable_failure_and_the_last_one_too),
        cmocka_unit_test(a_retry_stops_when_the_budget_refuses),
        cmocka_unit_test(successes_of_a_retry_fill_its_budget),
        cmocka_unit_test(a_result_that_is_not_retryable_leaves_the_budget_alone),
        cmocka_unit_test(two_retries_share_one_budget),
        cmocka_unit_test(nested_retries_do_not_multiply_under_one_budget),
        cmocka_unit_test(failures_and_successes_of_many_threads_are_counted_exactly),
        cmocka_unit_test(every_budget_field_out_of_range_is_refused_by_name),
        cmocka_unit_test(the_ends_of_every_budget_range_are_accepted),
        cmocka_unit_test(zero_means_the_default_in_a_budget),
        cmocka_unit_test(spans_out_of_range_are_refused_by_name),
        cmocka_unit_test(a_cap_below_the_first_delay_is_refused_by_name),
        cmocka_unit_test(multipliers_out_of_range_are_refused_by_name),
        cmocka_unit_test(unknown_jitters_are_refused_by_name),
        cmocka_unit_test(half_a_clock_is_refused_by_name),
        cmocka_unit_test(the_ends_of_every_range_are_accepted),
        cmocka_unit_test(zero_means_the_default_in_every_field),
        cmocka_unit_test(resolving_turns_an_explicit_none_into_zero),
        cmocka_unit_test(resolving_keeps_what_was_set),
        cmocka_unit_test(the_config_is_not_changed_by_init),
        cmocka_unit_test(a_null_config_means_all_defaults),
        cmocka_unit_test(the_layer_says_what_it_is),
        cmocka_unit_test(init_survives_every_failed_allocation),
        cmocka_unit_test(calls_take_no_memory),
        cmocka_unit_test(each_retry_is_told_with_its_delay_and_result),
        cmocka_unit_test(a_success_at_the_first_attempt_is_no_event),
        cmocka_unit_test(each_way_to_end_has_its_event),
        cmocka_unit_test(a_backoff_cut_short_by_cancelling_is_told),
        cmocka_unit_test(a_backoff_cut_short_by_the_deadline_is_told),
        cmocka_unit_test(an_observer_may_call_back_into_the_retry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
