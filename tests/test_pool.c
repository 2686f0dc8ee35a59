/* SPDX-License-Identifier: MIT
   test_pool.c: pool.h alone, by one thread in virtual time: configs, leases, ages, failures,
   sizes, closing, callbacks that call back; and two random histories that are watched.
   Event loops, tickets and the layer are in test_pool_loop.c, threads and forks in
   test_pool_threads.c, keyed pools in test_pools.c.                                         */
#include "support/allocator.h"

#define RSL_POOL_IMPLEMENTATION
#include "pool.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/support.h"

#include "support/pool_rig.h"

/* ----------------------------------------------------------------- configs */

static rsl_pool_config sized(uint32_t size_max)
{
    rsl_pool_config config = {.size_max = size_max};
    return config;
}

static rsl_pool_config complete(void)
{
    rsl_pool_config config = {.create = factory_create, .destroy = factory_destroy,
                              .validate = factory_validate};
    return config;
}

static void expect_text(const char *why, const char *field)
{
    assert_non_null(why);
    size_t length = strlen(field);
    if (strncmp(why, field, length) != 0 || why[length] != ':' || why[length + 1] != ' '
        || why[length + 2] == '\0') {
        fail_msg("\"%s\" does not read \"%s: reason\"", why, field);
    }
}

static void refuse(rsl_pool_config config, const char *field)
{
    rsl_pool_config before;
    memcpy(&before, &config, sizeof(before));
    const char *why = rsl_pool_config_check(&config);
    if (why == NULL) {
        fail_msg("%s was accepted", field);
    }
    expect_text(why, field);
    assert_memory_equal(&before, &config, sizeof(before));
    rsl_pool *pool = NULL;
    assert_int_equal(rsl_pool_open(&pool, &config), RSL_EINVAL);
    assert_null(pool);
}

static void accept(rsl_pool_config config)
{
    const char *why = rsl_pool_config_check(&config);
    if (why != NULL) {
        fail_msg("refused: %s", why);
    }
}

static void missing_callbacks_are_refused_by_name(void **unused)
{
    (void)unused;
    rsl_pool_config config = complete();
    config.create = NULL;
    refuse(config, "create");
    config = complete();
    config.destroy = NULL;
    refuse(config, "destroy");
    config.caller_maintains = true;
    refuse(config, "destroy");
}

static void only_a_loop_that_maintains_may_leave_create_out(void **unused)
{
    (void)unused;
    rsl_pool_config config = complete();
    config.create = NULL;
    config.caller_maintains = true;
    accept(config);
}

static void negative_times_are_refused_by_name(void **unused)
{
    (void)unused;
    static const rsl_time wrong[] = {-2, -1000, INT64_MIN};
    for (size_t i = 0; i < RSL_COUNT(wrong); i++) {
        rsl_pool_config config = complete();
        config.acquire_timeout = wrong[i];
        refuse(config, "acquire_timeout");
        config = complete();
        config.idle_timeout = wrong[i];
        refuse(config, "idle_timeout");
        config = complete();
        config.lifetime_max = wrong[i];
        refuse(config, "lifetime_max");
        config = complete();
        config.validate_after = wrong[i];
        refuse(config, "validate_after");
        config = complete();
        config.keepalive = wrong[i];
        refuse(config, "keepalive");
        config = complete();
        config.create_backoff = wrong[i];
        refuse(config, "create_backoff");
        config = complete();
        config.create_backoff_max = wrong[i];
        refuse(config, "create_backoff_max");
        config = complete();
        config.leak_after = wrong[i];
        refuse(config, "leak_after");
        config = complete();
        config.adaptive_window = wrong[i];
        refuse(config, "adaptive_window");
    }
}

static void none_is_refused_where_no_zero_makes_sense(void **unused)
{
    (void)unused;
    rsl_pool_config config = complete();
    config.lifetime_max = RSL_NONE;
    refuse(config, "lifetime_max");
    config = complete();
    config.keepalive = RSL_NONE;
    refuse(config, "keepalive");
    config = complete();
    config.create_backoff_max = RSL_NONE;
    refuse(config, "create_backoff_max");
    config = complete();
    config.leak_after = RSL_NONE;
    refuse(config, "leak_after");
    config = complete();
    config.adaptive_window = RSL_NONE;
    refuse(config, "adaptive_window");
}

static void sizes_out_of_range_are_refused_by_name(void **unused)
{
    (void)unused;
    rsl_pool_config config = complete();
    config.size_max = 65537;
    refuse(config, "size_max");
    config.size_max = UINT32_MAX;
    refuse(config, "size_max");
    config = complete();
    config.creating_max = 65;
    refuse(config, "creating_max");
    config.creating_max = UINT32_MAX;
    refuse(config, "creating_max");
}

static void a_least_size_above_the_most_is_refused_by_name(void **unused)
{
    (void)unused;
    rsl_pool_config config = complete();
    config.size_min = 3;
    config.size_max = 2;
    refuse(config, "size_min");
    config = complete();
    config.size_min = 11;
    refuse(config, "size_min");
    config.size_min = 10;
    accept(config);
}

static void a_cap_below_the_first_backoff_is_refused_by_name(void **unused)
{
    (void)unused;
    rsl_pool_config config = complete();
    config.create_backoff = RSL_MS(20);
    config.create_backoff_max = RSL_MS(10);
    refuse(config, "create_backoff_max");
    config.create_backoff_max = 0;
    config.create_backoff = RSL_SEC(60);
    accept(config);
    assert_true(rsl_pool_config_resolve(&config).create_backoff_max >= RSL_SEC(60));
}

static void keeping_alive_without_validating_is_refused_by_name(void **unused)
{
    (void)unused;
    rsl_pool_config config = complete();
    config.keepalive = RSL_SEC(1);
    accept(config);
    config.validate = NULL;
    refuse(config, "validate");
}

static void a_jitter_that_is_no_share_is_refused_by_name(void **unused)
{
    (void)unused;
    static const double wrong[] = {-0.5, -2, 1.0001, 7};
    rsl_pool_config config = complete();
    for (size_t i = 0; i < RSL_COUNT(wrong); i++) {
        config.lifetime_jitter = wrong[i];
        refuse(config, "lifetime_jitter");
    }
    config.lifetime_jitter = (double)NAN;
    refuse(config, "lifetime_jitter");
    config.lifetime_jitter = (double)INFINITY;
    refuse(config, "lifetime_jitter");
}

static void half_a_clock_is_refused_by_name(void **unused)
{
    (void)unused;
    virtual_clock clock = {.now = START};
    rsl_pool_config config = complete();
    config.clock = virtual_clock_as(&clock);
    config.clock.now = NULL;
    refuse(config, "clock.now");
    config.clock = virtual_clock_as(&clock);
    config.clock.sleep_until = NULL;
    refuse(config, "clock.sleep_until");
}

static void no_config_is_a_config_without_create(void **unused)
{
    (void)unused;
    assert_string_equal(rsl_pool_config_check(NULL), "create: must be set");
    rsl_pool *pool = NULL;
    assert_int_equal(rsl_pool_open(&pool, NULL), RSL_EINVAL);
    assert_null(pool);
    rsl_pool_config config = complete();
    assert_int_equal(rsl_pool_open(NULL, &config), RSL_EINVAL);
}

static void the_reason_for_a_least_size_above_the_most_is_the_documented_one(void **unused)
{
    (void)unused;
    rsl_pool_config config = complete();
    config.size_min = 3;
    config.size_max = 2;
    assert_string_equal(rsl_pool_config_check(&config),
                        "size_min: must not be more than size_max");
}

static void the_ends_of_every_range_are_accepted(void **unused)
{
    (void)unused;
    rsl_pool_config config = complete();
    config.size_max = 1;
    config.size_min = 1;
    config.waiters_max = 1;
    config.creating_max = 1;
    config.uses_max = 1;
    config.acquire_timeout = RSL_NONE;
    config.idle_timeout = RSL_NONE;
    config.lifetime_max = 1;
    config.lifetime_jitter = RSL_NONE;
    config.validate_after = RSL_NONE;
    config.keepalive = 1;
    config.create_backoff = RSL_NONE;
    config.create_backoff_max = 1;
    config.leak_after = 1;
    config.adaptive_window = 1;
    accept(config);
    config = complete();
    config.size_max = 65536;
    config.size_min = 65536;
    config.waiters_max = RSL_UNLIMITED;
    config.creating_max = 64;
    config.uses_max = RSL_UNLIMITED;
    config.acquire_timeout = RSL_FOREVER;
    config.idle_timeout = RSL_FOREVER;
    config.lifetime_max = RSL_FOREVER;
    config.lifetime_jitter = 1;
    config.validate_after = RSL_FOREVER;
    config.keepalive = RSL_FOREVER;
    config.create_backoff = RSL_FOREVER;
    config.create_backoff_max = RSL_FOREVER;
    config.leak_after = RSL_FOREVER;
    config.adaptive_window = RSL_FOREVER;
    accept(config);
}

static void expect_defaults(rsl_pool_config config)
{
    assert_null(config.name);
    assert_int_equal(config.size_max, 10);
    assert_int_equal(config.size_min, 0);
    assert_int_equal(config.waiters_max, 1024);
    assert_int_equal(config.creating_max, 1);
    assert_int_equal(config.uses_max, RSL_UNLIMITED);
    assert_true(config.acquire_timeout == RSL_SEC(30));
    assert_true(config.idle_timeout == RSL_SEC(600));
    assert_true(config.lifetime_max == RSL_SEC(1800));
    assert_true(fabs(config.lifetime_jitter - 0.1) < 1e-12);
    assert_true(config.validate_after == RSL_MS(500));
    assert_true(config.keepalive == RSL_FOREVER);
    assert_true(config.create_backoff == RSL_MS(10));
    assert_true(config.create_backoff_max == RSL_SEC(5));
    assert_true(config.leak_after == RSL_FOREVER);
    assert_false(config.caller_maintains);
    assert_false(config.adaptive);
    assert_true(config.adaptive_window == RSL_SEC(1));
}

static void zero_means_the_default_in_every_field(void **unused)
{
    (void)unused;
    rsl_pool_config config = complete();
    rsl_pool_config resolved = rsl_pool_config_resolve(&config);
    expect_defaults(resolved);
    assert_true(resolved.create == factory_create);
    assert_true(resolved.destroy == factory_destroy);
    assert_true(resolved.is_broken != NULL);
}

static void a_null_config_resolves_to_all_defaults(void **unused)
{
    (void)unused;
    expect_defaults(rsl_pool_config_resolve(NULL));
}

static bool is_seven(int result, void *user)
{
    (void)user;
    return result == 7;
}

static void resolving_keeps_what_is_set_and_makes_zeros_of_none(void **unused)
{
    (void)unused;
    int user = 0;
    rsl_pool_config config = complete();
    config.name = "n";
    config.validate = factory_validate;
    config.reset = factory_reset;
    config.abandon = factory_abandon;
    config.user = &user;
    config.size_max = 7;
    config.size_min = 3;
    config.waiters_max = 5;
    config.creating_max = 2;
    config.uses_max = 9;
    config.lifetime_max = 11;
    config.keepalive = 12;
    config.leak_after = 13;
    config.adaptive_window = 14;
    config.acquire_timeout = RSL_NONE;
    config.idle_timeout = RSL_NONE;
    config.validate_after = RSL_NONE;
    config.lifetime_jitter = RSL_NONE;
    config.create_backoff = RSL_NONE;
    config.caller_maintains = true;
    config.adaptive = true;
    config.is_broken = is_seven;
    rsl_pool_config resolved = rsl_pool_config_resolve(&config);
    assert_string_equal(resolved.name, "n");
    assert_true(resolved.validate == factory_validate && resolved.reset == factory_reset);
    assert_true(resolved.abandon == factory_abandon && resolved.is_broken == is_seven);
    assert_ptr_equal(resolved.user, &user);
    assert_int_equal(resolved.size_max, 7);
    assert_int_equal(resolved.size_min, 3);
    assert_int_equal(resolved.waiters_max, 5);
    assert_int_equal(resolved.creating_max, 2);
    assert_int_equal(resolved.uses_max, 9);
    assert_true(resolved.lifetime_max == 11 && resolved.keepalive == 12);
    assert_true(resolved.leak_after == 13 && resolved.adaptive_window == 14);
    assert_true(resolved.acquire_timeout == 0 && resolved.idle_timeout == 0);
    assert_true(resolved.validate_after == 0 && resolved.create_backoff == 0);
    assert_true(!(resolved.lifetime_jitter > 0) && !(resolved.lifetime_jitter < 0));
    assert_true(resolved.caller_maintains && resolved.adaptive);
}

static rsl_pool_config preset(rsl_pool_preset which)
{
    rsl_pool_config config = rsl_pool_config_preset(which);
    assert_non_null(rsl_pool_config_check(&config));
    config.create = factory_create;
    config.destroy = factory_destroy;
    accept(config);
    return rsl_pool_config_resolve(&config);
}

static void every_preset_opens_once_it_has_callbacks(void **unused)
{
    (void)unused;
    rsl_pool_config config = preset(RSL_POOL_DEVELOPMENT);
    assert_int_equal(config.size_max, 5);
    assert_true(config.leak_after == RSL_SEC(10));
    assert_true(config.validate_after == 0);
    config = preset(RSL_POOL_TESTING);
    assert_int_equal(config.size_max, 2);
    assert_true(config.acquire_timeout == RSL_SEC(2));
    assert_true(config.leak_after == RSL_SEC(2));
    config = preset(RSL_POOL_PRODUCTION);
    assert_int_equal(config.size_min, 2);
    assert_int_equal(config.size_max, 10);
    assert_true(config.leak_after == RSL_SEC(60));
    config = preset(RSL_POOL_HIGH_LOAD);
    assert_int_equal(config.size_min, 10);
    assert_int_equal(config.size_max, 50);
    assert_int_equal(config.creating_max, 2);
    assert_true(config.acquire_timeout == RSL_SEC(2));
    assert_int_equal(config.waiters_max, 256);
}

static void a_number_that_is_no_preset_gives_all_defaults(void **unused)
{
    (void)unused;
    expect_defaults(preset((rsl_pool_preset)99));
}

static void open_survives_every_failed_allocation(void **unused)
{
    (void)unused;
    factory f = {.clock = NULL};
    long before = support_live();
    for (int threads = 0; threads < 2; threads++) {
        rsl_pool_config config = complete();
        config.user = &f;
        config.size_max = 300;
        config.caller_maintains = threads == 0;
        int rc = RSL_ENOMEM;
        for (long nth = 1; rc != RSL_OK; nth++) {
            rsl_pool *pool = NULL;
            support_fail_nth(nth);
            rc = rsl_pool_open(&pool, &config);
            support_fail_never();
            assert_true(nth < 100);
            if (rc == RSL_OK) {
                assert_true(nth > 1);
                assert_int_equal(rsl_pool_close(pool, NULL), RSL_OK);
            } else {
                assert_int_equal(rc, RSL_ENOMEM);
                assert_null(pool);
            }
            assert_true(support_live() == before);
        }
    }
}

static void the_greatest_pool_opens(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(65536));
    rsl_pool_lease lease = take(&r);
    assert_int_equal(stats_of(&r).size_max, 65536);
    give(&r, &lease);
    rig_end(&r);
}

/* ------------------------------------------------------------------- leases */

static void acquiring_creates_and_later_reuses(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_pool_lease lease = take(&r);
    void *first = lease.resource;
    assert_int_equal(stats_of(&r).in_use, 1);
    give(&r, &lease);
    assert_int_equal(stats_of(&r).idle, 1);
    lease = take(&r);
    assert_ptr_equal(lease.resource, first);
    give(&r, &lease);
    assert_int_equal(atomic_load(&r.factory.made), 1);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.acquired == 2 && stats.created == 1 && stats.waited == 1);
    rig_end(&r);
}

static void nothing_is_created_before_somebody_wants_it(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(4));
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(atomic_load(&r.factory.made), 0);
    rig_end(&r);
}

static void maintaining_fills_the_pool_up_to_its_least_size(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_min = 3, .size_max = 5};
    rig_start(&r, config);
    for (int i = 0; i < 4; i++) {
        (void)rsl_pool_maintain(r.pool);
    }
    assert_int_equal(stats_of(&r).idle, 3);
    rig_end(&r);
}

static void the_resource_used_last_comes_first_and_then_the_lowest_slot(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(4));
    rsl_pool_lease leases[4];
    take_many(&r, leases, 4);
    void *in_slot[4] = {NULL};
    for (int i = 0; i < 4; i++) {
        assert_true(leases[i].slot < 4);
        in_slot[leases[i].slot] = leases[i].resource;
    }
    rsl_pool_lease last = leases[2];
    give(&r, &leases[0]);
    give(&r, &leases[1]);
    give(&r, &leases[3]);
    give(&r, &leases[2]);
    rsl_pool_lease again = take(&r);
    give(&r, &again);
    rsl_pool_lease first = take(&r);
    assert_int_equal(first.slot, again.slot);
    uint32_t lowest = first.slot == 0 ? 1 : 0;
    rsl_pool_lease second = take(&r);
    assert_int_equal(second.slot, lowest);
    assert_ptr_equal(second.resource, in_slot[lowest]);
    assert_true(last.slot < 4);
    give(&r, &first);
    give(&r, &second);
    rig_end(&r);
}

static void low_slots_are_used_so_that_high_ones_can_go_idle(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 8, .idle_timeout = RSL_SEC(10)};
    rig_start(&r, config);
    warm(&r, 8);
    for (int i = 0; i < 20; i++) {
        r.clock.now += RSL_SEC(1);
        rsl_pool_lease leases[2];
        take_many(&r, leases, 2);
        give_many(&r, leases, 2);
        (void)rsl_pool_maintain(r.pool);
    }
    assert_in_range(stats_of(&r).open, 2, 3);
    rig_end(&r);
}

static void of_many_releases_of_one_lease_one_counts(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_pool_lease lease = take(&r), copy = lease, other = lease;
    give(&r, &lease);
    assert_int_equal(rsl_pool_release(r.pool, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pool_release(r.pool, &copy), RSL_EINVAL);
    assert_int_equal(rsl_pool_discard(r.pool, &other), RSL_EINVAL);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.idle == 1 && stats.in_use == 0 && stats.destroyed == 0);
    lease = take(&r);
    copy = other = lease;
    scrap(&r, &lease);
    assert_int_equal(rsl_pool_discard(r.pool, &copy), RSL_EINVAL);
    assert_int_equal(rsl_pool_release(r.pool, &other), RSL_EINVAL);
    assert_true(stats_of(&r).destroyed == 1);
    rig_end(&r);
}

static void a_stale_lease_cannot_give_back_what_was_leased_again(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r), stale = lease, staler = lease;
    give(&r, &lease);
    lease = take(&r);
    assert_int_equal(lease.slot, stale.slot);
    assert_true(lease.generation > stale.generation);
    assert_int_equal(rsl_pool_release(r.pool, &stale), RSL_EINVAL);
    assert_int_equal(rsl_pool_discard(r.pool, &staler), RSL_EINVAL);
    assert_int_equal(stats_of(&r).in_use, 1);
    rsl_pool_lease none;
    assert_int_equal(rsl_pool_try(r.pool, &none), RSL_EFULL);
    give(&r, &lease);
    rig_end(&r);
}

static void a_lease_is_given_back_to_its_own_pool_only(void **unused)
{
    (void)unused;
    rig r, other;
    rig_start(&r, sized(2));
    rig_start(&other, sized(2));
    rsl_pool_lease lease = take(&r), foreign = take(&other);
    assert_int_equal(rsl_pool_release(other.pool, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pool_discard(other.pool, &lease), RSL_EINVAL);
    assert_int_equal(stats_of(&r).in_use, 1);
    assert_int_equal(stats_of(&other).in_use, 1);
    give(&r, &lease);
    give(&other, &foreign);
    rig_end(&other);
    rig_end(&r);
}

static void garbage_leases_are_refused(void **unused)
{
    (void)unused;
    static const uint32_t slots[] = {3, 4, 63, 64, 1000, 65535, 65536, INT32_MAX, UINT32_MAX};
    rig r;
    rig_start(&r, sized(3));
    rsl_pool_lease lease = take(&r);
    for (size_t i = 0; i < RSL_COUNT(slots); i++) {
        rsl_pool_lease garbage = lease;
        garbage.slot = slots[i];
        assert_int_equal(rsl_pool_release(r.pool, &garbage), RSL_EINVAL);
        assert_int_equal(rsl_pool_discard(r.pool, &garbage), RSL_EINVAL);
    }
    static const uint64_t offs[] = {1, UINT64_MAX, 1u << 16, UINT64_C(1) << 32, UINT64_C(1) << 63};
    for (size_t i = 0; i < RSL_COUNT(offs); i++) {
        rsl_pool_lease garbage = lease;
        garbage.generation += offs[i];
        assert_int_equal(rsl_pool_release(r.pool, &garbage), RSL_EINVAL);
        assert_int_equal(rsl_pool_discard(r.pool, &garbage), RSL_EINVAL);
    }
    rsl_pool_lease zeroed;
    memset(&zeroed, 0, sizeof(zeroed));
    assert_int_equal(rsl_pool_release(r.pool, &zeroed), RSL_EINVAL);
    assert_int_equal(rsl_pool_discard(r.pool, &zeroed), RSL_EINVAL);
    assert_int_equal(stats_of(&r).in_use, 1);
    give(&r, &lease);
    rig_end(&r);
}

static int never_called(const rsl_ctx *ctx, void *resource, void *arg, bool *broken)
{
    (void)ctx, (void)resource, (void)broken;
    ++*(int *)arg;
    return 0;
}

static void null_is_refused_everywhere(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    int calls = 0;
    rsl_pool_lease lease, before;
    memset(&lease, 0x5A, sizeof(lease));
    memcpy(&before, &lease, sizeof(before));
    assert_int_equal(rsl_pool_acquire(NULL, NULL, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pool_try(NULL, &lease), RSL_EINVAL);
    assert_memory_equal(&lease, &before, sizeof(lease));
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_pool_try(r.pool, NULL), RSL_EINVAL);
    lease = take(&r);
    assert_int_equal(rsl_pool_release(NULL, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pool_discard(NULL, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pool_release(r.pool, NULL), RSL_EINVAL);
    assert_int_equal(rsl_pool_discard(r.pool, NULL), RSL_EINVAL);
    give(&r, &lease);
    assert_int_equal(rsl_pool_use(NULL, NULL, never_called, &calls), RSL_EINVAL);
    assert_int_equal(rsl_pool_use(r.pool, NULL, NULL, &calls), RSL_EINVAL);
    assert_int_equal(calls, 0);
    assert_int_equal(rsl_pool_close(NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_pool_resize(NULL, 0, 1), RSL_EINVAL);
    rsl_pool_invalidate_all(NULL);
    assert_int_equal(rsl_pool_pause(NULL), RSL_EINVAL);
    assert_int_equal(rsl_pool_resume(NULL), RSL_EINVAL);
    assert_true(rsl_pool_maintain(NULL) == RSL_FOREVER);
    assert_int_equal(rsl_pool_health(NULL), 0);
    assert_int_equal(rsl_pool_holders(NULL, NULL, 0), 0);
    rsl_pool_holder holder;
    assert_int_equal(rsl_pool_holders(NULL, &holder, 1), 0);
    rsl_pool_stats stats = stats_of_pool(NULL), zeroed;
    memset(&zeroed, 0, sizeof(zeroed));
    assert_memory_equal(&stats, &zeroed, sizeof(stats));
    rsl_pool_stats_get(r.pool, NULL);
    rsl_pool_stats_get(NULL, NULL);
    assert_int_equal(stats_of(&r).in_use, 0);
    rig_end(&r);
}

static void a_failed_acquire_leaves_the_lease_alone(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r), untouched, before;
    memset(&untouched, 0x5A, sizeof(untouched));
    memcpy(&before, &untouched, sizeof(before));
    rsl_ctx ctx = within(&r, RSL_MS(10));
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &untouched), RSL_ETIMEOUT);
    assert_int_equal(rsl_pool_try(r.pool, &untouched), RSL_EFULL);
    assert_memory_equal(&untouched, &before, sizeof(before));
    give(&r, &lease);
    rig_end(&r);
}

static void trying_neither_waits_nor_creates(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_pool_lease lease;
    assert_int_equal(rsl_pool_try(r.pool, &lease), RSL_EFULL);
    assert_int_equal(r.factory.tries, 0);
    rsl_pool_lease held = take(&r);
    assert_int_equal(rsl_pool_try(r.pool, &lease), RSL_EFULL);
    give(&r, &held);
    assert_int_equal(rsl_pool_try(r.pool, &lease), RSL_OK);
    assert_non_null(lease.resource);
    give(&r, &lease);
    assert_int_equal(r.clock.sleeps, 0);
    assert_true(r.clock.now == START);
    rig_end(&r);
}

static void leasing_what_is_idle_takes_no_memory(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    warm(&r, 2);
    support_fail_from(1);
    for (int i = 0; i < 100; i++) {
        rsl_pool_lease leases[2];
        take_many(&r, leases, 2);
        rsl_ctx ctx = within(&r, RSL_MS(1));
        rsl_pool_lease none;
        assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &none), RSL_ETIMEOUT);
        scrap(&r, &leases[0]);
        give(&r, &leases[1]);
    }
    assert_true(support_taken() == 0);
    support_fail_never();
    rig_end(&r);
}

/* ------------------------------------------------------------------ waiting */

static void a_full_pool_is_waited_for_until_the_acquire_timeout(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_SEC(3)};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r), none;
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_SEC(3));
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.waited == 2 && stats.timed_out == 1 && stats.acquired == 1);
    assert_true(stats.wait_total == RSL_SEC(3) && stats.wait_max == RSL_SEC(3));
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(events_of(&r, RSL_POOL_TIMED_OUT), 1);
    assert_int_equal(event_recorder_last(&r.events, RSL_POOL_TIMED_OUT)->status, RSL_ETIMEOUT);
    give(&r, &lease);
    rig_end(&r);
}

static void an_acquire_gives_up_after_thirty_seconds_by_default(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r), none;
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_SEC(30));
    give(&r, &lease);
    rig_end(&r);
}

static void the_earlier_of_deadline_and_acquire_timeout_ends_the_wait(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_SEC(3)};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r), none;
    rsl_ctx ctx = within(&r, RSL_SEC(1));
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &none), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_SEC(1));
    ctx = within(&r, RSL_SEC(60));
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &none), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_SEC(4));
    give(&r, &lease);
    rig_end(&r);
}

static void an_acquire_timeout_of_none_does_not_wait(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_NONE};
    rig_start_by_tickets(&r, config);
    rsl_pool_lease none;
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), RSL_ETIMEOUT);
    assert_true(r.clock.now == START);
    assert_int_equal(r.clock.sleeps, 0);
    rig_end(&r);
}

static void a_wait_that_wakes_early_goes_on_to_its_deadline(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_SEC(3)};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r), none;
    r.clock.wake_early = RSL_SEC(2);
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_SEC(3));
    give(&r, &lease);
    rig_end(&r);
}

static void a_cancelled_wait_ends_and_counts_as_no_timeout(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r), none;
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    timeline_add(&r.line, START + RSL_MS(70), fire_then, &cancel);
    rsl_ctx ctx = {.cancel = &cancel};
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &none), RSL_ECANCELED);
    assert_true(r.clock.now == START + RSL_MS(70));
    assert_true(stats_of(&r).timed_out == 0);
    assert_int_equal(stats_of(&r).waiting, 0);
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &none), RSL_ECANCELED);
    give(&r, &lease);
    rsl_cancel_deinit(&cancel);
    rig_end(&r);
}

static void the_clock_of_the_ctx_ends_the_wait(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r), none;
    virtual_clock own = {.now = RSL_SEC(5)};
    rsl_clock as = virtual_clock_as(&own);
    rsl_ctx ctx = {.deadline = RSL_SEC(7), .clock = &as};
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &none), RSL_ETIMEOUT);
    assert_true(own.now == RSL_SEC(7));
    assert_true(r.clock.now == START);
    give(&r, &lease);
    rig_end(&r);
}

static void a_context_that_is_spent_waits_for_nothing(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r), none;
    rsl_ctx ctx = {.deadline = START};
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &none), RSL_ETIMEOUT);
    ctx.deadline = 1;
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &none), RSL_ETIMEOUT);
    assert_true(r.clock.now == START);
    give(&r, &lease);
    rig_end(&r);
}

/* Size 2, both held, one released at 800 ms: a third acquirer is served then. */
static void a_third_acquirer_of_two_is_served_by_the_release_at_800_ms(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_pool_lease leases[2];
    take_many(&r, leases, 2);
    rig_lease first = {&r, &leases[0]};
    timeline_add(&r.line, START + RSL_MS(800), release_then, &first);
    rsl_ctx ctx = within(&r, RSL_MS(950));
    rsl_pool_lease third;
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &third), RSL_OK);
    assert_in_range(r.clock.now - START, RSL_MS(700), RSL_MS(950));
    assert_true(stats_of(&r).wait_max == RSL_MS(800));
    assert_int_equal(atomic_load(&r.factory.made), 2);
    give(&r, &third);
    give(&r, &leases[1]);
    rig_end(&r);
}

static void discard_then(void *arg)
{
    rig_lease *it = arg;
    scrap(it->r, it->lease);
}

static void a_discard_makes_room_for_who_waits(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    rig_lease held = {&r, &lease};
    timeline_add(&r.line, START + RSL_MS(80), discard_then, &held);
    rsl_pool_lease second = take(&r);
    assert_true(r.clock.now == START + RSL_MS(80));
    assert_int_equal(thing_of(&second)->number, 2);
    give(&r, &second);
    rig_end(&r);
}

/* 5 of 10 held and broken on return: all later acquirers are served. */
static void after_five_of_ten_came_back_broken_all_ten_acquirers_succeed(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(10));
    rsl_pool_lease leases[10];
    warm(&r, 10);
    take_many(&r, leases, 5);
    for (int i = 0; i < 5; i++) {
        scrap(&r, &leases[i]);
    }
    take_many(&r, leases, 10);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.in_use == 10 && stats.closed_broken == 5 && stats.created == 15);
    give_many(&r, leases, 10);
    rig_end(&r);
}

/* ----------------------------------------------------------------- creation */

/* Size 1, creation fails and heals at 300 ms, an acquire may take 2.8 s: a retry serves it. */
static void an_acquirer_is_served_by_the_retry_of_a_creation_that_heals_at_300_ms(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_MS(2800)};
    rig_start(&r, config);
    r.factory.heals_at = START + RSL_MS(300);
    rsl_pool_lease lease = take(&r);
    assert_in_range(r.clock.now - START, RSL_MS(300), RSL_MS(700));
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.create_failed == 5 && stats.created == 1 && stats.timed_out == 0);
    give(&r, &lease);
    rig_end(&r);
}

/* The tries, in ms after START, of one acquire whose creations all fail. */
static void expect_tries(double u, rsl_pool_config config, const double *ms, size_t count)
{
    rig r;
    rig_start(&r, config);
    r.random.value = u;
    atomic_store(&r.factory.fail_with, -5);
    rsl_pool_lease none;
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), -5);
    assert_true(r.factory.tries >= (int)count);
    for (size_t i = 0; i < count; i++) {
        double got = (double)(r.factory.tried_at[i] - START) / 1e6;
        if (fabs(got - ms[i]) > 0.001) {
            fail_msg("try %zu came at %g ms, not %g", i, got, ms[i]);
        }
    }
    rig_end(&r);
}

static void the_wait_after_a_failed_creation_doubles(void **unused)
{
    (void)unused;
    static const double whole[] = {0, 10, 30, 70, 150, 310, 630, 1270, 2550, 5110, 10110, 15110};
    expect_tries(0, sized(1), whole, RSL_COUNT(whole));
}

static void the_wait_after_a_failed_creation_is_cut_by_up_to_half(void **unused)
{
    (void)unused;
    static const double three_quarters[] = {0, 7.5, 22.5, 52.5, 112.5, 232.5, 472.5};
    expect_tries(0.5, sized(1), three_quarters, RSL_COUNT(three_quarters));
    static const double half[] = {0, 5, 15, 35, 75, 155};
    expect_tries(1, sized(1), half, RSL_COUNT(half));
}

static void the_wait_after_a_failed_creation_has_a_cap(void **unused)
{
    (void)unused;
    static const double capped[] = {0, 100, 300, 550, 800, 1050};
    rsl_pool_config config = {.size_max = 1, .create_backoff = RSL_MS(100),
                              .create_backoff_max = RSL_MS(250)};
    expect_tries(0, config, capped, RSL_COUNT(capped));
}

static void a_creation_that_works_makes_the_next_failure_the_first(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    r.factory.heals_at = START + RSL_MS(50);
    rsl_pool_lease leases[2];
    leases[0] = take(&r); /* tried at 0, 10, 30, 70 ms */
    assert_true(r.clock.now == START + RSL_MS(70));
    r.factory.heals_at = START + RSL_MS(75);
    r.factory.tries = 0;
    leases[1] = take(&r); /* tried at 70 and 80 ms */
    assert_int_equal(r.factory.tries, 2);
    assert_true(r.clock.now == START + RSL_MS(80));
    give_many(&r, leases, 2);
    rig_end(&r);
}

static void who_gives_up_after_a_failed_creation_is_told_that_failure(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_SEC(1)};
    rig_start(&r, config);
    atomic_store(&r.factory.fail_with, 4711);
    rsl_pool_lease none;
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), 4711);
    assert_true(r.clock.now <= START + RSL_SEC(1));
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.timed_out == 1 && stats.waited == 1);
    assert_true(stats.create_failed == (uint64_t)r.factory.tries);
    assert_int_equal(events_of(&r, RSL_POOL_CREATE_FAILED), r.factory.tries);
    const rsl_event *event = event_recorder_last(&r.events, RSL_POOL_CREATE_FAILED);
    assert_int_equal(event->status, 4711);
    assert_true(event->value > 0);
    assert_int_equal(event_recorder_last(&r.events, RSL_POOL_TIMED_OUT)->status, 4711);
    rig_end(&r);
}

static void a_failure_from_before_the_wait_is_not_told(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 2, .acquire_timeout = RSL_MS(300),
                              .create_backoff = RSL_SEC(1)};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r), none;
    atomic_store(&r.factory.fail_with, -5);
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), -5);
    int tries = r.factory.tries;
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), RSL_ETIMEOUT);
    assert_int_equal(r.factory.tries, tries);
    give(&r, &lease);
    rig_end(&r);
}

static void any_number_but_zero_is_a_failure_of_create(void **unused)
{
    (void)unused;
    static const int codes[] = {1, -1, INT_MAX, INT_MIN, RSL_ECLOSED, RSL_EFULL};
    for (size_t i = 0; i < RSL_COUNT(codes); i++) {
        rig r;
        rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_MS(20)};
        rig_start(&r, config);
        atomic_store(&r.factory.fail_with, codes[i]);
        rsl_pool_lease none;
        assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), codes[i]);
        assert_int_equal(stats_of(&r).open, 0);
        rig_end(&r);
    }
}

static void a_creation_that_fails_with_rsl_wait_does_not_hang(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_MS(20)};
    rig_start(&r, config);
    atomic_store(&r.factory.fail_with, RSL_WAIT);
    rsl_pool_lease none;
    int rc = rsl_pool_acquire(r.pool, NULL, &none);
    assert_true(rc != RSL_OK && rc < 0);
    rig_end(&r);
}

static int create_nothing(void *user, const rsl_ctx *ctx, void **resource)
{
    (void)ctx;
    atomic_fetch_add(&((factory *)user)->made, 1);
    *resource = NULL;
    return 0;
}

static void destroy_nothing(void *user, void *resource)
{
    assert_null(resource);
    atomic_fetch_add(&((factory *)user)->destroyed, 1);
}

static void a_null_resource_is_a_resource(void **unused)
{
    (void)unused;
    rig r;
    rig_clear(&r);
    rsl_pool_config config = {.size_max = 1, .create = create_nothing};
    config = rig_config(&r, config);
    config.destroy = destroy_nothing;
    rig_open(&r, &config);
    rsl_pool_lease lease;
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &lease), RSL_OK);
    assert_null(lease.resource);
    assert_int_equal(rsl_pool_release(r.pool, &lease), RSL_OK);
    assert_int_equal(rsl_pool_release(r.pool, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pool_try(r.pool, &lease), RSL_OK);
    assert_int_equal(rsl_pool_discard(r.pool, &lease), RSL_OK);
    rig_end(&r);
}

static void the_ctx_of_a_creation_ends_at_the_acquire_timeout(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .size_min = 1, .acquire_timeout = RSL_SEC(3)};
    rig_start(&r, config);
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(r.factory.tries, 1);
    assert_true(r.factory.left == RSL_SEC(3));
    rig_end(&r);
}

static void after_a_thousand_failures_the_wait_is_still_at_its_cap(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_SEC(1200),
                              .create_backoff_max = RSL_SEC(1)};
    rig_start(&r, config);
    atomic_store(&r.factory.fail_with, -5);
    rsl_pool_lease none;
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), -5);
    assert_in_range(r.factory.tries, 1190, 1210);
    r.events.count = 0;
    rig_end(&r);
}

static void the_ctx_of_a_creation_ends_with_that_of_the_acquirer_who_makes_it(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 3, .acquire_timeout = RSL_SEC(3)};
    rig_start(&r, config);
    rsl_ctx ctx = within(&r, RSL_SEC(1));
    rsl_pool_lease leases[2];
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &leases[0]), RSL_OK);
    assert_true(r.factory.left == RSL_SEC(1));
    ctx = within(&r, RSL_SEC(9));
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &leases[1]), RSL_OK);
    assert_true(r.factory.left == RSL_SEC(3));
    give_many(&r, leases, 2);
    rig_end(&r);
}

static void without_an_acquire_timeout_a_creation_has_no_deadline(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .acquire_timeout = RSL_FOREVER};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r);
    assert_true(r.factory.left == RSL_FOREVER);
    give(&r, &lease);
    rig_end(&r);
}

static void a_creation_that_ends_too_late_leaves_its_resource_in_the_pool(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    r.factory.takes = RSL_SEC(2);
    rsl_ctx ctx = within(&r, RSL_SEC(1));
    rsl_pool_lease lease;
    int rc = rsl_pool_acquire(r.pool, &ctx, &lease);
    assert_true(rc == RSL_OK || rc == RSL_ETIMEOUT);
    rsl_pool_stats stats = stats_of(&r);
    assert_int_equal(stats.open, 1);
    assert_int_equal(stats.creating, 0);
    if (rc == RSL_OK) {
        give(&r, &lease);
    }
    assert_int_equal(stats_of(&r).idle, 1);
    rig_end(&r);
}

static void the_time_that_creations_take_is_counted(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    r.factory.takes = RSL_MS(7);
    rsl_pool_lease leases[2];
    leases[0] = take(&r);
    assert_true(event_recorder_last(&r.events, RSL_POOL_CREATED)->value == RSL_MS(7));
    r.factory.takes = RSL_MS(5);
    leases[1] = take(&r);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.create_total == RSL_MS(12) && stats.create_max == RSL_MS(7));
    assert_true(stats.wait_total == RSL_MS(12) && stats.wait_max == RSL_MS(7));
    assert_int_equal(events_of(&r, RSL_POOL_CREATED), 2);
    give_many(&r, leases, 2);
    rig_end(&r);
}

static void the_time_that_leases_are_held_is_counted(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_pool_lease leases[2];
    take_many(&r, leases, 2);
    r.clock.now += RSL_MS(5);
    give(&r, &leases[0]);
    r.clock.now += RSL_MS(4);
    scrap(&r, &leases[1]);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.use_total == RSL_MS(14));
    assert_true(stats.use_max == RSL_MS(9));
    rig_end(&r);
}

static void the_longest_use_is_that_of_any_slot_at_any_time(void **unused)
{
    (void)unused;
    static const int ms[2][2] = {{9, 3}, {5, 4}}; /* by the order of use, and the slot */
    rig r;
    rig_start(&r, sized(2));
    for (int i = 0; i < 2; i++) {
        rsl_pool_lease leases[2];
        take_many(&r, leases, 2);
        rsl_time began = r.clock.now;
        int first = ms[i][0] < ms[i][1] ? 0 : 1;
        for (int j = 0; j < 2; j++) {
            int k = j == 0 ? first : 1 - first;
            r.clock.now = began + RSL_MS(ms[i][leases[k].slot]);
            give(&r, &leases[k]);
        }
    }
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.use_max == RSL_MS(9));
    assert_true(stats.use_total == RSL_MS(21));
    rig_end(&r);
}

/* --------------------------------------------------------- validating, reset */

static rsl_pool_config validated(rsl_time after)
{
    rsl_pool_config config = {.size_max = 3, .validate = factory_validate,
                              .validate_after = after};
    return config;
}

static void validation_is_skipped_for_what_was_used_a_moment_ago(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, validated(0));
    rsl_pool_lease lease = take(&r);
    give(&r, &lease);
    r.clock.now += RSL_MS(500) - 1;
    lease = take(&r);
    assert_int_equal(atomic_load(&r.factory.validated), 0);
    give(&r, &lease);
    r.clock.now += RSL_MS(500);
    lease = take(&r);
    assert_int_equal(atomic_load(&r.factory.validated), 1);
    give(&r, &lease);
    rig_end(&r);
}

static void validation_is_never_skipped_when_none_is_wished(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, validated(RSL_NONE));
    rsl_pool_lease lease = take(&r);
    for (int i = 0; i < 5; i++) {
        give(&r, &lease);
        int before = atomic_load(&r.factory.validated);
        lease = take(&r);
        assert_int_equal(atomic_load(&r.factory.validated), before + 1);
    }
    give(&r, &lease);
    rig_end(&r);
}

static void what_fails_its_validation_is_destroyed_and_the_next_idle_one_tried(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, validated(RSL_NONE));
    rsl_pool_lease leases[3];
    take_many(&r, leases, 3);
    thing_of(&leases[0])->sick = 1;
    thing_of(&leases[2])->sick = -1;
    int healthy = thing_of(&leases[1])->number;
    give_many(&r, leases, 3);
    leases[1] = take(&r);
    rsl_pool_lease none;
    if (thing_of(&leases[1])->number == healthy) {
        assert_int_equal(rsl_pool_try(r.pool, &none), RSL_EFULL);
    } else {
        fail_msg("thing %d was leased", thing_of(&leases[1])->number);
    }
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.invalid == 2 && stats.destroyed == 2 && stats.open == 1);
    assert_int_equal(events_of(&r, RSL_POOL_DESTROYED), 2);
    assert_int_equal(latest_reason(&r), RSL_POOL_INVALID);
    give(&r, &leases[1]);
    rig_end(&r);
}

static void when_all_idle_ones_are_sick_an_acquirer_gets_a_new_one(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, validated(RSL_NONE));
    rsl_pool_lease leases[3];
    take_many(&r, leases, 3);
    for (int i = 0; i < 3; i++) {
        thing_of(&leases[i])->sick = 1;
    }
    give_many(&r, leases, 3);
    rsl_pool_lease lease = take(&r);
    assert_int_equal(thing_of(&lease)->number, 4);
    assert_true(stats_of(&r).invalid == 3);
    give(&r, &lease);
    rig_end(&r);
}

static void idle_resources_are_kept_alive_in_time(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = validated(0);
    config.keepalive = RSL_SEC(30);
    rig_start(&r, config);
    warm(&r, 1);
    rsl_time next = rsl_pool_maintain(r.pool);
    assert_true(next > r.clock.now && next <= START + RSL_SEC(30));
    r.clock.now = START + RSL_SEC(30) - 1;
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(atomic_load(&r.factory.validated), 0);
    for (int i = 1; i < 5; i++) {
        r.clock.now = START + i * RSL_SEC(30);
        (void)rsl_pool_maintain(r.pool);
        assert_int_equal(atomic_load(&r.factory.validated), i);
        next = rsl_pool_maintain(r.pool);
        assert_int_equal(atomic_load(&r.factory.validated), i);
        assert_true(next > r.clock.now && next <= r.clock.now + RSL_SEC(30));
    }
    assert_int_equal(stats_of(&r).idle, 1);
    rig_end(&r);
}

static void being_kept_alive_keeps_nothing_from_being_idle_for_too_long(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = validated(0);
    config.keepalive = RSL_SEC(30);
    config.idle_timeout = RSL_SEC(100);
    rig_start(&r, config);
    warm(&r, 1);
    for (int i = 1; i < 10; i++) {
        r.clock.now = START + i * RSL_SEC(10);
        (void)rsl_pool_maintain(r.pool);
    }
    assert_int_equal(stats_of(&r).idle, 1);
    r.clock.now = START + RSL_SEC(100);
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(stats_of(&r).open, 0);
    assert_true(stats_of(&r).closed_idle == 1);
    rig_end(&r);
}

static void what_does_not_stay_alive_is_destroyed_and_replaced(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = validated(0);
    config.keepalive = RSL_SEC(30);
    config.size_min = 1;
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r);
    thing_of(&lease)->sick = 1;
    give(&r, &lease);
    r.clock.now = START + RSL_SEC(30);
    (void)rsl_pool_maintain(r.pool);
    (void)rsl_pool_maintain(r.pool);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.invalid == 1 && stats.created == 2 && stats.idle == 1);
    rig_end(&r);
}

static void what_cannot_be_reset_is_destroyed(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 2, .reset = factory_reset};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r);
    give(&r, &lease);
    assert_int_equal(atomic_load(&r.factory.reset), 1);
    assert_int_equal(stats_of(&r).idle, 1);
    lease = take(&r);
    thing_of(&lease)->dirty = 3;
    give(&r, &lease);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.open == 0 && stats.closed_broken == 1);
    assert_int_equal(latest_reason(&r), RSL_POOL_BROKEN);
    lease = take(&r);
    int resets = atomic_load(&r.factory.reset);
    scrap(&r, &lease);
    assert_int_equal(atomic_load(&r.factory.reset), resets);
    assert_true(stats_of(&r).closed_broken == 2);
    rig_end(&r);
}

/* --------------------------------------------------------------------- ages */

static void an_idle_resource_is_closed_exactly_in_time(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 2, .idle_timeout = RSL_SEC(60)};
    rig_start(&r, config);
    warm(&r, 1);
    rsl_time next = rsl_pool_maintain(r.pool);
    assert_true(next > r.clock.now && next <= START + RSL_SEC(60));
    r.clock.now = START + RSL_SEC(60) - 1;
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(stats_of(&r).idle, 1);
    r.clock.now = START + RSL_SEC(60);
    (void)rsl_pool_maintain(r.pool);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.open == 0 && stats.closed_idle == 1);
    assert_int_equal(latest_reason(&r), RSL_POOL_IDLE);
    rig_end(&r);
}

static void following_the_wishes_of_maintain_closes_exactly_in_time(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 8, .idle_timeout = RSL_SEC(60)};
    rig_start(&r, config);
    rsl_pool_lease leases[8];
    take_many(&r, leases, 8);
    for (int i = 0; i < 8; i++) {
        r.clock.now = START + i * RSL_MS(1370);
        give(&r, &leases[i]);
    }
    rsl_time last = r.clock.now + RSL_SEC(60);
    int looks = 0;
    while (stats_of(&r).open > 0) {
        rsl_time next = rsl_pool_maintain(r.pool);
        if (stats_of(&r).open == 0) {
            break;
        }
        assert_true(next > r.clock.now && next <= last && looks++ < 1000);
        r.clock.now = next;
    }
    assert_true(r.clock.now == last);
    rig_end(&r);
}

static void an_idle_timeout_of_none_closes_at_the_next_look(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 4, .size_min = 1, .idle_timeout = RSL_NONE};
    rig_start(&r, config);
    rsl_pool_lease leases[4];
    take_many(&r, leases, 4);
    give_many(&r, leases, 4);
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(stats_of(&r).open, 1);
    rig_end(&r);
}

static void the_least_size_is_kept_open_even_when_idle(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 6, .size_min = 2, .idle_timeout = RSL_SEC(1),
                              .lifetime_max = RSL_FOREVER};
    rig_start(&r, config);
    warm(&r, 6);
    for (int i = 0; i < 5; i++) {
        r.clock.now += RSL_SEC(1);
        (void)rsl_pool_maintain(r.pool);
    }
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.open == 2 && stats.closed_idle == 4 && stats.created == 6);
    rig_end(&r);
}

/* A pool whose things live for a minute, less this share. */
static void start_mortal(rig *r, double jitter, double u)
{
    rsl_pool_config config = {.size_max = 2, .lifetime_max = RSL_SEC(60),
                              .lifetime_jitter = jitter};
    rig_start(r, config);
    r->random.value = u;
}

static void an_idle_resource_is_closed_at_the_end_of_its_life(void **unused)
{
    (void)unused;
    rig r;
    start_mortal(&r, RSL_NONE, 0.5);
    warm(&r, 1);
    rsl_time next = rsl_pool_maintain(r.pool);
    assert_true(next > r.clock.now && next <= START + RSL_SEC(60));
    r.clock.now = START + RSL_SEC(60) - 1;
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(stats_of(&r).idle, 1);
    r.clock.now = START + RSL_SEC(60);
    (void)rsl_pool_maintain(r.pool);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.open == 0 && stats.closed_lifetime == 1);
    assert_int_equal(latest_reason(&r), RSL_POOL_LIFETIME);
    rig_end(&r);
}

static void what_is_too_old_is_not_leased(void **unused)
{
    (void)unused;
    rig r;
    start_mortal(&r, RSL_NONE, 0.5);
    warm(&r, 1);
    r.clock.now = START + RSL_SEC(60);
    rsl_pool_lease lease;
    assert_int_equal(rsl_pool_try(r.pool, &lease), RSL_EFULL);
    lease = take(&r);
    assert_int_equal(thing_of(&lease)->number, 2);
    assert_true(stats_of(&r).closed_lifetime == 1);
    give(&r, &lease);
    rig_end(&r);
}

static void what_grew_too_old_in_use_is_destroyed_on_release(void **unused)
{
    (void)unused;
    rig r;
    start_mortal(&r, RSL_NONE, 0.5);
    rsl_pool_lease leases[2];
    take_many(&r, leases, 2);
    r.clock.now = START + RSL_SEC(60) - 1;
    give(&r, &leases[0]);
    assert_int_equal(stats_of(&r).open, 2);
    r.clock.now = START + RSL_SEC(60);
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(stats_of(&r).in_use, 1);
    give(&r, &leases[1]);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.open == 0 && stats.closed_lifetime == 2);
    rig_end(&r);
}

static void the_share_taken_off_a_life_is_rolled_from_the_random(void **unused)
{
    (void)unused;
    static const double shares[] = {0, 0.25, 0.5, 1};
    for (size_t i = 0; i < RSL_COUNT(shares); i++) {
        rig r;
        start_mortal(&r, 0.4, shares[i]);
        warm(&r, 1);
        rsl_time end = START + RSL_SEC(60) - (rsl_time)(24e9 * shares[i]);
        r.clock.now = end - RSL_US(1);
        (void)rsl_pool_maintain(r.pool);
        assert_int_equal(stats_of(&r).idle, 1);
        r.clock.now = end + RSL_US(1);
        (void)rsl_pool_maintain(r.pool);
        assert_int_equal(stats_of(&r).open, 0);
        rig_end(&r);
    }
}

static void a_lifetime_is_rolled_once_and_not_at_each_release(void **unused)
{
    (void)unused;
    rig r;
    start_mortal(&r, 0.5, 0);
    rsl_pool_lease lease = take(&r);
    give(&r, &lease);
    r.random.value = 0.999;
    int calls = r.random.calls;
    for (int i = 1; i < 600; i++) {
        r.clock.now = START + i * RSL_MS(100);
        lease = take(&r);
        assert_int_equal(thing_of(&lease)->number, 1);
        give(&r, &lease);
        (void)rsl_pool_maintain(r.pool);
    }
    assert_int_equal(r.random.calls, calls);
    r.clock.now = START + RSL_SEC(60);
    lease = take(&r);
    assert_int_equal(thing_of(&lease)->number, 2);
    give(&r, &lease);
    rig_end(&r);
}

static void a_mortal_pool_keeps_its_least_size(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 4, .size_min = 2, .lifetime_max = RSL_SEC(60),
                              .lifetime_jitter = RSL_NONE};
    rig_start(&r, config);
    for (int i = 0; i < 10; i++) {
        r.clock.now = START + i * RSL_SEC(60);
        for (int j = 0; j < 3; j++) {
            (void)rsl_pool_maintain(r.pool);
        }
        assert_int_equal(stats_of(&r).idle, 2);
    }
    assert_true(stats_of(&r).closed_lifetime == 18);
    rig_end(&r);
}

static void only_the_pools_own_clock_makes_old(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 2, .lifetime_max = 1, .idle_timeout = 1,
                              .lifetime_jitter = RSL_NONE};
    rig_start(&r, config);
    warm(&r, 1);
    rsl_time real = rsl_now();
    while (rsl_now() - real < RSL_MS(20)) {
        (void)rsl_pool_maintain(r.pool);
    }
    assert_int_equal(stats_of(&r).idle, 1);
    r.clock.now++;
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(stats_of(&r).open, 0);
    rig_end(&r);
}

static void a_resource_is_destroyed_at_its_last_allowed_release(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .uses_max = 3};
    rig_start(&r, config);
    for (int i = 0; i < 9; i++) {
        rsl_pool_lease lease = take(&r);
        assert_int_equal(thing_of(&lease)->number, 1 + i / 3);
        give(&r, &lease);
        assert_int_equal(stats_of(&r).open, i % 3 == 2 ? 0 : 1);
    }
    assert_true(stats_of(&r).closed_uses == 3);
    assert_int_equal(latest_reason(&r), RSL_POOL_USES);
    rig_end(&r);
}

static void a_resource_of_one_use_is_never_reused(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 2, .uses_max = 1};
    rig_start(&r, config);
    for (int i = 1; i < 5; i++) {
        rsl_pool_lease lease = take(&r);
        assert_int_equal(thing_of(&lease)->number, i);
        give(&r, &lease);
    }
    rig_end(&r);
}

static void a_lease_held_too_long_is_reported_once(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 3, .leak_after = RSL_SEC(10), .name = "leaky"};
    rig_start(&r, config);
    rsl_pool_lease leases[2];
    take_many(&r, leases, 2);
    rsl_time next = rsl_pool_maintain(r.pool);
    assert_true(next > r.clock.now && next <= START + RSL_SEC(10) + 1);
    r.clock.now = START + RSL_SEC(10) - 1;
    give(&r, &leases[0]);
    (void)rsl_pool_maintain(r.pool);
    assert_int_equal(events_of(&r, RSL_POOL_LEAKED), 0);
    assert_int_equal(rsl_pool_health(r.pool) & RSL_POOL_LEAK, 0);
    r.clock.now = START + RSL_SEC(10) + 1;
    for (int i = 0; i < 3; i++) {
        (void)rsl_pool_maintain(r.pool);
        r.clock.now += RSL_SEC(20);
    }
    assert_int_equal(events_of(&r, RSL_POOL_LEAKED), 1);
    const rsl_event *event = event_recorder_last(&r.events, RSL_POOL_LEAKED);
    assert_true(event->value == leases[1].slot);
    assert_string_equal(event->source, "leaky");
    assert_int_equal(rsl_pool_health(r.pool) & RSL_POOL_LEAK, RSL_POOL_LEAK);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.leaked == 1 && stats.leaking == 1);
    give(&r, &leases[1]);
    stats = stats_of(&r);
    assert_true(stats.leaked == 1 && stats.leaking == 0);
    assert_int_equal(rsl_pool_health(r.pool) & RSL_POOL_LEAK, 0);
    rig_end(&r);
}

/* ------------------------------------------------- invalidating, pause, size */

static void what_is_outdated_is_never_leased_again(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(3));
    rsl_pool_lease leases[3];
    take_many(&r, leases, 3);
    give(&r, &leases[0]);
    give(&r, &leases[1]);
    rsl_pool_invalidate_all(r.pool);
    assert_int_equal(events_of(&r, RSL_POOL_INVALIDATED), 1);
    rsl_pool_lease lease;
    assert_int_equal(rsl_pool_try(r.pool, &lease), RSL_EFULL);
    lease = take(&r);
    assert_int_equal(thing_of(&lease)->number, 4);
    give(&r, &lease);
    (void)rsl_pool_maintain(r.pool);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.open == 2 && stats.closed_invalidated == 2);
    give(&r, &leases[2]);
    stats = stats_of(&r);
    assert_true(stats.idle == 1 && stats.closed_invalidated == 3);
    assert_int_equal(latest_reason(&r), RSL_POOL_OUTDATED);
    lease = take(&r);
    assert_int_equal(thing_of(&lease)->number, 4);
    give(&r, &lease);
    rig_end(&r);
}

static void invalidating_again_and_again_outdates_what_was_made_between(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    for (int i = 1; i < 50; i++) {
        rsl_pool_lease lease = take(&r);
        assert_int_equal(thing_of(&lease)->number, i);
        if (i % 2 == 0) {
            give(&r, &lease);
            rsl_pool_invalidate_all(r.pool);
        } else {
            rsl_pool_invalidate_all(r.pool);
            rsl_pool_invalidate_all(r.pool);
            give(&r, &lease);
        }
    }
    (void)rsl_pool_maintain(r.pool);
    assert_true(stats_of(&r).closed_invalidated == 49);
    rig_end(&r);
}

static void maintaining_destroys_outdated_idle_ones_and_fills_up_again(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 3, .size_min = 2};
    rig_start(&r, config);
    warm(&r, 3);
    rsl_pool_invalidate_all(r.pool);
    for (int i = 0; i < 3; i++) {
        (void)rsl_pool_maintain(r.pool);
    }
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.closed_invalidated == 3 && stats.created == 5 && stats.idle == 2);
    rig_end(&r);
}

static void a_paused_pool_leases_nothing(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_pool_lease leases[2], none;
    take_many(&r, leases, 2);
    give(&r, &leases[0]);
    assert_int_equal(rsl_pool_pause(r.pool), RSL_OK);
    assert_int_equal(rsl_pool_pause(r.pool), RSL_OK);
    assert_int_equal(rsl_pool_try(r.pool, &none), RSL_EFULL);
    rsl_ctx ctx = within(&r, RSL_SEC(1));
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &none), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_SEC(1));
    give(&r, &leases[1]);
    assert_int_equal(rsl_pool_try(r.pool, &none), RSL_EFULL);
    assert_int_equal(stats_of(&r).idle, 2);
    assert_int_equal(rsl_pool_resume(r.pool), RSL_OK);
    take_many(&r, leases, 2);
    assert_int_equal(atomic_load(&r.factory.made), 2);
    give_many(&r, leases, 2);
    assert_int_equal(events_of(&r, RSL_POOL_PAUSED), 1);
    assert_int_equal(events_of(&r, RSL_POOL_RESUMED), 1);
    rig_end(&r);
}

static void resume_then(void *arg)
{
    assert_int_equal(rsl_pool_resume(((rig *)arg)->pool), RSL_OK);
}

static void resuming_serves_who_waited_through_the_pause(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    warm(&r, 1);
    assert_int_equal(rsl_pool_pause(r.pool), RSL_OK);
    timeline_add(&r.line, START + RSL_MS(40), resume_then, &r);
    rsl_pool_lease lease = take(&r);
    assert_true(r.clock.now == START + RSL_MS(40));
    assert_int_equal(thing_of(&lease)->number, 1);
    give(&r, &lease);
    rig_end(&r);
}

static void resuming_what_is_not_paused_changes_nothing(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    assert_int_equal(rsl_pool_resume(r.pool), RSL_OK);
    rsl_pool_lease lease = take(&r);
    give(&r, &lease);
    assert_int_equal(events_of(&r, RSL_POOL_RESUMED), 0);
    rig_end(&r);
}

static void a_paused_pool_can_be_closed(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    warm(&r, 1);
    assert_int_equal(rsl_pool_pause(r.pool), RSL_OK);
    rig_end(&r);
}

static void shrinking_destroys_idle_ones_from_the_top(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(6));
    warm(&r, 6);
    assert_int_equal(rsl_pool_resize(r.pool, 0, 2), RSL_OK);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.open == 2 && stats.size_max == 2 && stats.size_now == 2);
    assert_true(stats.closed_idle == 4);
    const rsl_event *event = event_recorder_last(&r.events, RSL_POOL_RESIZED);
    assert_non_null(event);
    assert_true(event->value == 2);
    rsl_pool_lease leases[2], none;
    take_many(&r, leases, 2);
    assert_true(thing_of(&leases[0])->number <= 2 && thing_of(&leases[1])->number <= 2);
    rsl_ctx ctx = within(&r, RSL_MS(1));
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &none), RSL_ETIMEOUT);
    give_many(&r, leases, 2);
    rig_end(&r);
}

static void shrinking_never_disturbs_what_is_leased(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(6));
    rsl_pool_lease leases[6];
    take_many(&r, leases, 6);
    assert_int_equal(rsl_pool_resize(r.pool, 0, 2), RSL_OK);
    assert_int_equal(stats_of(&r).in_use, 6);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(thing_of(&leases[i])->sick, 0);
        give(&r, &leases[i]);
        assert_int_equal(stats_of(&r).open, i < 4 ? 5 - i : 2);
    }
    assert_int_equal(stats_of(&r).idle, 2);
    rig_end(&r);
}

static void growing_beyond_the_first_size_keeps_leases_alive(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_pool_lease first[2], more[64];
    take_many(&r, first, 2);
    assert_int_equal(rsl_pool_resize(r.pool, 0, 400), RSL_OK);
    take_many(&r, more, 64);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.in_use == 66 && stats.size_max == 400 && stats.size_now == 400);
    rsl_pool_lease stale = first[0];
    give_many(&r, first, 2);
    assert_int_equal(rsl_pool_release(r.pool, &stale), RSL_EINVAL);
    give_many(&r, more, 64);
    assert_int_equal(stats_of(&r).idle, 66);
    assert_int_equal(rsl_pool_resize(r.pool, 0, 1), RSL_OK);
    assert_int_equal(stats_of(&r).open, 1);
    rig_end(&r);
}

static void resize_up_then(void *arg)
{
    assert_int_equal(rsl_pool_resize(((rig *)arg)->pool, 0, 2), RSL_OK);
}

static void growing_serves_who_waits(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    timeline_add(&r.line, START + RSL_MS(40), resize_up_then, &r);
    rsl_pool_lease second = take(&r);
    assert_true(r.clock.now == START + RSL_MS(40));
    give(&r, &lease);
    give(&r, &second);
    rig_end(&r);
}

static void a_greater_least_size_is_filled_up(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(5));
    assert_int_equal(rsl_pool_resize(r.pool, 4, 5), RSL_OK);
    for (int i = 0; i < 5; i++) {
        (void)rsl_pool_maintain(r.pool);
    }
    assert_int_equal(stats_of(&r).idle, 4);
    rig_end(&r);
}

static void sizes_that_open_would_refuse_cannot_be_set_later(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(3));
    assert_int_equal(rsl_pool_resize(r.pool, 4, 3), RSL_EINVAL);
    assert_int_equal(rsl_pool_resize(r.pool, 0, 65537), RSL_EINVAL);
    assert_int_equal(rsl_pool_resize(r.pool, UINT32_MAX, UINT32_MAX), RSL_EINVAL);
    assert_int_equal(stats_of(&r).size_max, 3);
    assert_int_equal(events_of(&r, RSL_POOL_RESIZED), 0);
    rig_end(&r);
}

static void a_resizing_that_finds_no_memory_changes_nothing(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_pool_lease lease = take(&r);
    int rc = RSL_ENOMEM;
    for (long nth = 1; rc != RSL_OK; nth++) {
        assert_true(nth < 50);
        support_fail_nth(nth);
        rc = rsl_pool_resize(r.pool, 1, 5000);
        support_fail_never();
        if (rc != RSL_OK) {
            assert_int_equal(rc, RSL_ENOMEM);
            rsl_pool_stats stats = stats_of(&r);
            assert_true(stats.size_max == 2 && stats.size_now == 2 && stats.in_use == 1);
            assert_int_equal(events_of(&r, RSL_POOL_RESIZED), 0);
        }
    }
    assert_int_equal(stats_of(&r).size_max, 5000);
    give(&r, &lease);
    rig_end(&r);
}

static void sizes_may_change_any_number_of_times(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t size = i * 37 % 61 + 1;
        assert_int_equal(rsl_pool_resize(r.pool, 0, size), RSL_OK);
        rsl_pool_lease leases[61];
        take_many(&r, leases, size);
        assert_int_equal(stats_of(&r).in_use, size);
        give_many(&r, leases, size);
    }
    rig_end(&r);
}

/* ----------------------------------------------------------------- adaptive */

static rsl_pool_config adapting(uint32_t size_min, uint32_t size_max)
{
    rsl_pool_config config = {.size_min = size_min, .size_max = size_max, .adaptive = true,
                              .idle_timeout = RSL_FOREVER, .lifetime_max = RSL_FOREVER,
                              .acquire_timeout = RSL_FOREVER};
    return config;
}

/* One window passes; what maintain may create is created. */
static uint32_t after_a_window(rig *r)
{
    r->clock.now += RSL_SEC(1);
    for (int i = 0; i < 3; i++) {
        (void)rsl_pool_maintain(r->pool);
    }
    return stats_of(r).size_now;
}

enum { CROWD = 12 };

/* Those that were served, of a crowd that waits in a loop. */
static void poll_crowd(rig *r, guest *crowd, bool *holds)
{
    for (int i = 0; i < CROWD; i++) {
        if (!holds[i]) {
            holds[i] = guest_poll(r, &crowd[i]) == RSL_OK;
        }
    }
}

static void an_adaptive_pool_starts_at_its_least_size(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adapting(0, 8));
    assert_int_equal(stats_of(&r).size_now, 1);
    assert_int_equal(stats_of(&r).size_max, 8);
    rig_end(&r);
    rig_start(&r, adapting(3, 8));
    assert_int_equal(stats_of(&r).size_now, 3);
    rig_end(&r);
}

/* Grows under a crowd; each step is at least one and at most a doubling. */
static void grow_under(rig *r, guest *crowd, bool *holds, uint32_t size_max)
{
    for (int i = 0; i < CROWD; i++) {
        int rc = guest_begin(r, &crowd[i], NULL);
        assert_true(rc == RSL_OK || rc == RSL_WAIT);
        holds[i] = rc == RSL_OK;
    }
    uint32_t size = stats_of(r).size_now;
    for (int windows = 0; size < size_max; windows++) {
        assert_true(windows < 16);
        uint32_t before = size;
        size = after_a_window(r);
        poll_crowd(r, crowd, holds);
        assert_true(size <= 2 * before && size <= size_max && size >= before);
        if (windows > 0) {
            assert_true(size > before);
        }
    }
}

/* Everyone gives back and goes, but for those below `stay`. */
static void send_home(rig *r, guest *crowd, const bool *holds, int stay)
{
    for (int i = CROWD; i > 0; i--) {
        guest *g = &crowd[i - 1];
        if (!holds[i - 1]) {
            rsl_pool_abandon(r->pool, &g->waiter);
        }
    }
    int kept = 0;
    for (int i = 0; i < CROWD; i++) {
        if (holds[i] && kept++ >= stay) {
            give(r, &crowd[i].lease);
        }
    }
}

static void an_adaptive_pool_grows_while_somebody_waits(void **unused)
{
    (void)unused;
    rig r;
    guest crowd[CROWD];
    bool holds[CROWD];
    rig_start(&r, adapting(0, 8));
    grow_under(&r, crowd, holds, 8);
    for (int i = 0; i < 10; i++) {
        (void)rsl_pool_maintain(r.pool);
        poll_crowd(&r, crowd, holds);
    }
    assert_int_equal(stats_of(&r).in_use, 8);
    size_t resized = events_of(&r, RSL_POOL_RESIZED);
    assert_in_range(resized, 3, 7);
    assert_true(event_recorder_last(&r.events, RSL_POOL_RESIZED)->value == 8);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(after_a_window(&r), 8);
    }
    send_home(&r, crowd, holds, 0);
    rig_end(&r);
}

static void an_adaptive_pool_shrinks_slowly_when_nobody_waits(void **unused)
{
    (void)unused;
    rig r;
    guest crowd[CROWD];
    bool holds[CROWD];
    rig_start(&r, adapting(2, 8));
    grow_under(&r, crowd, holds, 8);
    send_home(&r, crowd, holds, 0);
    uint32_t size = 8;
    for (int windows = 1; windows < 100; windows++) {
        uint32_t before = size;
        size = after_a_window(&r);
        assert_true(size <= before && before - size <= (before + 3) / 4);
        if (windows < 3) {
            assert_int_equal(size, 8);
        }
    }
    assert_int_equal(size, 2);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.open <= 2 && stats.size_max == 8);
    rig_end(&r);
}

static void a_load_between_the_two_marks_moves_nothing(void **unused)
{
    (void)unused;
    rig r;
    guest crowd[CROWD];
    bool holds[CROWD];
    rig_start(&r, adapting(0, 8));
    grow_under(&r, crowd, holds, 8);
    for (int i = 0; i < 10; i++) {
        (void)rsl_pool_maintain(r.pool);
        poll_crowd(&r, crowd, holds);
    }
    send_home(&r, crowd, holds, 5);
    size_t resized = events_of(&r, RSL_POOL_RESIZED);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(after_a_window(&r), 8);
    }
    assert_int_equal(events_of(&r, RSL_POOL_RESIZED), resized);
    for (int i = 0, left = 5; i < CROWD && left > 0; i++) {
        if (crowd[i].lease.generation != 0) {
            give(&r, &crowd[i].lease);
            left--;
        }
    }
    rig_end(&r);
}

static void an_adaptive_pool_never_shrinks_below_its_least_size(void **unused)
{
    (void)unused;
    for (uint32_t least = 1; least <= 8; least++) {
        rig r;
        guest crowd[CROWD];
        bool holds[CROWD];
        rig_start(&r, adapting(least, 8));
        grow_under(&r, crowd, holds, 8);
        send_home(&r, crowd, holds, 0);
        for (int windows = 0; windows < 40; windows++) {
            assert_true(after_a_window(&r) >= least);
        }
        assert_int_equal(stats_of(&r).size_now, least);
        rig_end(&r);
    }
}

static void an_adaptive_pool_wants_to_be_maintained_when_its_window_ends(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adapting(0, 8));
    rsl_pool_lease lease = take(&r);
    guest g;
    assert_int_equal(guest_begin(&r, &g, NULL), RSL_WAIT);
    for (int windows = 0; guest_poll(&r, &g) == RSL_WAIT; windows++) {
        rsl_time next = rsl_pool_maintain(r.pool);
        assert_true(windows < 5);
        if (g.woken == 0) {
            assert_true(next > r.clock.now && next <= r.clock.now + RSL_SEC(1));
            r.clock.now = next;
        }
    }
    assert_int_equal(stats_of(&r).size_now, 2);
    give(&r, &g.lease);
    give(&r, &lease);
    rig_end(&r);
}

static void resizing_an_adaptive_pool_changes_its_bounds_and_not_its_size(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adapting(0, 8));
    assert_int_equal(rsl_pool_resize(r.pool, 0, 20), RSL_OK);
    assert_true(stats_of(&r).size_now == 1 && stats_of(&r).size_max == 20);
    assert_int_equal(rsl_pool_resize(r.pool, 4, 20), RSL_OK);
    assert_int_equal(stats_of(&r).size_now, 4);
    assert_int_equal(rsl_pool_resize(r.pool, 0, 2), RSL_OK);
    assert_int_equal(stats_of(&r).size_now, 2);
    rig_end(&r);
}

static void an_adaptive_pool_without_load_stays_small(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, adapting(0, 8));
    for (int i = 0; i < 20; i++) {
        rsl_pool_lease lease = take(&r);
        give(&r, &lease);
        assert_int_equal(after_a_window(&r), 1);
    }
    rig_end(&r);
}

static void a_fixed_pool_does_not_adapt(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = adapting(0, 2);
    config.adaptive = false;
    rig_start(&r, config);
    guest crowd[CROWD];
    bool holds[CROWD];
    for (int i = 0; i < CROWD; i++) {
        holds[i] = guest_begin(&r, &crowd[i], NULL) == RSL_OK;
    }
    for (int i = 0; i < 10; i++) {
        assert_int_equal(after_a_window(&r), 2);
        poll_crowd(&r, crowd, holds);
    }
    assert_int_equal(events_of(&r, RSL_POOL_RESIZED), 0);
    send_home(&r, crowd, holds, 0);
    rig_end(&r);
}

/* ------------------------------------------------------------------ closing */

static void closing_destroys_all_and_frees_all(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(3));
    warm(&r, 3);
    assert_int_equal(rsl_pool_close(r.pool, NULL), RSL_OK);
    assert_int_equal(factory_live(&r.factory), 0);
    assert_int_equal(events_of(&r, RSL_POOL_DESTROYED), 3);
    assert_int_equal(latest_reason(&r), RSL_POOL_CLOSED);
    assert_true(support_live() == r.live);
}

static void closing_with_leases_out_waits_and_then_names_the_holders(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(3));
    rsl_pool_lease leases[3];
    take_many(&r, leases, 3);
    give(&r, &leases[1]);
    rsl_ctx ctx = within(&r, RSL_SEC(2));
    assert_int_equal(rsl_pool_close(r.pool, &ctx), RSL_ETIMEOUT);
    assert_true(r.clock.now == START + RSL_SEC(2));
    assert_int_equal(factory_live(&r.factory), 2);
    assert_int_equal(events_of(&r, RSL_POOL_STRAGGLER), 2);
    int64_t told = 0;
    for (size_t i = 0; i < r.events.count; i++) {
        if (r.events.events[i].event.kind == RSL_POOL_STRAGGLER) {
            told += r.events.events[i].event.value;
        }
    }
    assert_true(told == (int64_t)leases[0].slot + leases[2].slot);
    rsl_pool_holder holders[4];
    assert_int_equal(rsl_pool_holders(r.pool, holders, 4), 2);
    assert_true(holders[0].slot != holders[1].slot);
    assert_true(holders[0].held == RSL_SEC(2) && holders[1].held == RSL_SEC(2));
    assert_int_equal(stats_of(&r).in_use, 2);
    give(&r, &leases[0]);
    assert_int_equal(rsl_pool_release(r.pool, &leases[0]), RSL_EINVAL);
    assert_int_equal(factory_live(&r.factory), 1);
    scrap(&r, &leases[2]);
    rig_end(&r);
}

static void a_closed_pool_takes_no_new_work(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_pool_lease lease = take(&r), none;
    rsl_ctx ctx = within(&r, RSL_MS(1));
    assert_int_equal(rsl_pool_close(r.pool, &ctx), RSL_ETIMEOUT);
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), RSL_ECLOSED);
    assert_int_equal(rsl_pool_try(r.pool, &none), RSL_ECLOSED);
    int calls = 0;
    assert_int_equal(rsl_pool_use(r.pool, NULL, never_called, &calls), RSL_ECLOSED);
    assert_int_equal(calls, 0);
    guest g;
    assert_int_equal(guest_begin(&r, &g, NULL), RSL_ECLOSED);
    rsl_creation ticket;
    assert_int_equal(rsl_pool_wanted(r.pool, &ticket), RSL_ECLOSED);
    assert_int_equal(rsl_pool_resize(r.pool, 0, 4), RSL_ECLOSED);
    assert_int_equal(rsl_pool_pause(r.pool), RSL_ECLOSED);
    assert_int_equal(rsl_pool_resume(r.pool), RSL_ECLOSED);
    rsl_pool_invalidate_all(r.pool);
    (void)rsl_pool_maintain(r.pool);
    (void)rsl_pool_health(r.pool);
    assert_int_equal(stats_of(&r).in_use, 1);
    give(&r, &lease);
    assert_int_equal(stats_of(&r).open, 0);
    rig_end(&r);
}

static void a_closed_pool_creates_nothing_more(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 4, .size_min = 3, .creating_max = 2};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r);
    rsl_ctx ctx = within(&r, RSL_MS(1));
    assert_int_equal(rsl_pool_close(r.pool, &ctx), RSL_ETIMEOUT);
    int tries = r.factory.tries;
    for (int i = 0; i < 3; i++) {
        (void)rsl_pool_maintain(r.pool);
    }
    assert_int_equal(r.factory.tries, tries);
    assert_int_equal(stats_of(&r).open, 1);
    give(&r, &lease);
    rig_end(&r);
}

static void a_release_during_close_ends_it(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_pool_lease leases[2];
    take_many(&r, leases, 2);
    rig_lease first = {&r, &leases[0]}, second = {&r, &leases[1]};
    timeline_add(&r.line, START + RSL_MS(30), release_then, &first);
    timeline_add(&r.line, START + RSL_MS(70), discard_then, &second);
    rsl_ctx ctx = within(&r, RSL_SEC(2));
    assert_int_equal(rsl_pool_close(r.pool, &ctx), RSL_OK);
    assert_true(r.clock.now == START + RSL_MS(70));
    assert_int_equal(factory_live(&r.factory), 0);
    assert_int_equal(events_of(&r, RSL_POOL_STRAGGLER), 0);
    assert_true(support_live() == r.live);
}

static void a_cancelled_close_can_be_repeated(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    rsl_pool_lease lease = take(&r);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    timeline_add(&r.line, START + RSL_MS(30), fire_then, &cancel);
    rsl_ctx ctx = within(&r, RSL_SEC(2));
    ctx.cancel = &cancel;
    assert_int_equal(rsl_pool_close(r.pool, &ctx), RSL_ECANCELED);
    assert_true(r.clock.now == START + RSL_MS(30));
    ctx.cancel = NULL;
    assert_int_equal(rsl_pool_close(r.pool, &ctx), RSL_ETIMEOUT);
    give(&r, &lease);
    rsl_cancel_deinit(&cancel);
    rig_end(&r);
}

static void close_then(void *arg)
{
    rig *r = arg;
    rsl_ctx ctx = within(r, -1);
    assert_int_equal(rsl_pool_close(r->pool, &ctx), RSL_ETIMEOUT);
}

static void closing_tells_who_waits(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r), none;
    timeline_add(&r.line, START + RSL_MS(30), close_then, &r);
    assert_int_equal(rsl_pool_acquire(r.pool, NULL, &none), RSL_ECLOSED);
    assert_true(r.clock.now == START + RSL_MS(30));
    assert_true(stats_of(&r).timed_out == 0);
    give(&r, &lease);
    rig_end(&r);
}

static void close_in_destroy(factory *f, factory_step step, thing *t)
{
    (void)t;
    rig *r = f->arg;
    if (step == DESTROYING) {
        rsl_ctx ctx = within(r, RSL_SEC(1));
        assert_int_equal(rsl_pool_close(r->pool, &ctx), RSL_EINVAL);
    }
}

static void a_second_close_is_refused_while_the_first_is_at_work(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(2));
    warm(&r, 2);
    r.factory.during = close_in_destroy;
    r.factory.arg = &r;
    assert_int_equal(rsl_pool_close(r.pool, NULL), RSL_OK);
    assert_true(support_live() == r.live);
}

/* --------------------------------------------------------------------- using */

typedef struct usage {
    int      calls;
    int      result;
    bool     breaks;
    thing   *seen;
    rsl_ctx  ctx;
    rig     *r;
} usage;

static int use_it(const rsl_ctx *ctx, void *resource, void *arg, bool *broken)
{
    usage *u = arg;
    u->calls++;
    u->seen = resource;
    if (ctx != NULL) {
        u->ctx = *ctx;
    }
    assert_false(*broken);
    *broken = u->breaks;
    assert_int_equal(stats_of(u->r).in_use, 1);
    errno = 41;
    return u->result;
}

static void using_always_gives_back_and_passes_the_result_through(void **unused)
{
    (void)unused;
    static const int results[] = {0, 1, -1, 12345, INT_MIN, INT_MAX, RSL_EFULL, RSL_ETIMEOUT,
                                  RSL_ECANCELED, RSL_WAIT};
    rig r;
    rig_start(&r, sized(1));
    usage u = {.r = &r};
    rsl_ctx ctx = within(&r, RSL_SEC(1));
    ctx.attempt = 3;
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        u.result = results[i];
        errno = 0;
        assert_int_equal(rsl_pool_use(r.pool, &ctx, use_it, &u), results[i]);
        assert_int_equal(errno, 41);
        assert_int_equal(stats_of(&r).idle, 1);
        assert_int_equal(u.seen->number, 1);
    }
    assert_int_equal(u.calls, (int)RSL_COUNT(results));
    assert_int_equal(u.ctx.attempt, 3);
    assert_int_equal(rsl_pool_use(r.pool, NULL, use_it, &u), RSL_WAIT);
    rig_end(&r);
}

static void what_using_found_broken_is_discarded(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    usage u = {.r = &r, .breaks = true, .result = 0};
    assert_int_equal(rsl_pool_use(r.pool, NULL, use_it, &u), 0);
    rsl_pool_stats stats = stats_of(&r);
    assert_true(stats.open == 0 && stats.closed_broken == 1);
    u.breaks = false;
    u.result = 6;
    assert_int_equal(rsl_pool_use(r.pool, NULL, use_it, &u), 6);
    assert_int_equal(stats_of(&r).idle, 1);
    rig_end(&r);
}

static void without_a_resource_nothing_is_used(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    rsl_pool_lease lease = take(&r);
    usage u = {.r = &r};
    rsl_ctx ctx = within(&r, RSL_MS(5));
    assert_int_equal(rsl_pool_use(r.pool, &ctx, use_it, &u), RSL_ETIMEOUT);
    assert_int_equal(u.calls, 0);
    give(&r, &lease);
    rig_end(&r);
}

/* -------------------------------------------------- health, holders, events */

static void health_warns_by_name(void **unused)
{
    (void)unused;
    assert_string_equal(rsl_pool_warning(0), "healthy");
    assert_string_equal(rsl_pool_warning(RSL_POOL_LOW_FREE), "low free");
    static const uint32_t bits[] = {0, RSL_POOL_LOW_FREE, RSL_POOL_NO_IDLE, RSL_POOL_WAITING,
                                    RSL_POOL_LEAK, RSL_POOL_CANNOT_CREATE};
    for (size_t i = 0; i < RSL_COUNT(bits); i++) {
        assert_non_null(rsl_pool_warning(bits[i]));
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(rsl_pool_warning(bits[i]), rsl_pool_warning(bits[j]));
        }
    }
    assert_string_equal(rsl_pool_warning(RSL_POOL_WAITING | RSL_POOL_LEAK),
                        rsl_pool_warning(RSL_POOL_LEAK));
    assert_non_null(rsl_pool_warning(UINT32_C(1) << 31));
}

static void health_follows_the_free_ones(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(10));
    assert_int_equal(rsl_pool_health(r.pool), 0);
    rsl_pool_lease leases[10];
    take_many(&r, leases, 7);
    assert_int_equal(rsl_pool_health(r.pool), 0);
    take_many(&r, leases + 7, 1);
    assert_int_equal(rsl_pool_health(r.pool), RSL_POOL_LOW_FREE);
    take_many(&r, leases + 8, 2);
    assert_int_equal(rsl_pool_health(r.pool), RSL_POOL_LOW_FREE | RSL_POOL_NO_IDLE);
    guest g;
    guest_wait(&r, &g, RSL_SEC(1));
    assert_int_equal(rsl_pool_health(r.pool),
                     RSL_POOL_LOW_FREE | RSL_POOL_NO_IDLE | RSL_POOL_WAITING);
    rsl_pool_abandon(r.pool, &g.waiter);
    give_many(&r, leases, 10);
    assert_int_equal(rsl_pool_health(r.pool), 0);
    rig_end(&r);
}

static void a_pool_of_one_is_healthy_when_its_one_is_free(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(1));
    assert_int_equal(rsl_pool_health(r.pool), 0);
    rsl_pool_lease lease = take(&r);
    assert_int_equal(rsl_pool_health(r.pool), RSL_POOL_LOW_FREE | RSL_POOL_NO_IDLE);
    give(&r, &lease);
    assert_int_equal(rsl_pool_health(r.pool), 0);
    rig_end(&r);
}

static void a_failed_creation_is_a_warning_until_one_works(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(4));
    atomic_store(&r.factory.fail_with, -5);
    rsl_ctx ctx = within(&r, RSL_MS(3));
    rsl_pool_lease lease;
    assert_int_equal(rsl_pool_acquire(r.pool, &ctx, &lease), -5);
    assert_int_equal(rsl_pool_health(r.pool), RSL_POOL_CANNOT_CREATE);
    atomic_store(&r.factory.fail_with, 0);
    lease = take(&r);
    assert_int_equal(rsl_pool_health(r.pool), 0);
    give(&r, &lease);
    rig_end(&r);
}

static void holders_are_told_with_slot_and_time(void **unused)
{
    (void)unused;
    rig r;
    rig_start(&r, sized(4));
    assert_int_equal(rsl_pool_holders(r.pool, NULL, 0), 0);
    rsl_pool_lease leases[3];
    for (int i = 0; i < 3; i++) {
        leases[i] = take(&r);
        r.clock.now += RSL_SEC(1);
    }
    assert_int_equal(rsl_pool_holders(r.pool, NULL, 0), 3);
    rsl_pool_holder holders[3];
    assert_int_equal(rsl_pool_holders(r.pool, holders, 2), 3);
    assert_int_equal(rsl_pool_holders(r.pool, holders, 3), 3);
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            if (leases[j].slot == holders[i].slot) {
                assert_true(holders[i].held == RSL_SEC(3 - (int)j));
            }
        }
        assert_true(holders[i].thread == holders[0].thread);
    }
    give(&r, &leases[1]);
    assert_int_equal(rsl_pool_holders(r.pool, holders, 3), 2);
    assert_true(holders[0].slot != holders[1].slot);
    give(&r, &leases[0]);
    give(&r, &leases[2]);
    assert_int_equal(rsl_pool_holders(r.pool, holders, 3), 0);
    rig_end(&r);
}

static void events_carry_the_name_the_time_and_a_number(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .name = "db"};
    rig_start(&r, config);
    r.factory.takes = RSL_MS(2);
    rsl_pool_lease lease = take(&r);
    scrap(&r, &lease);
    lease = take(&r);
    give(&r, &lease);
    rsl_pool_invalidate_all(r.pool);
    assert_int_equal(rsl_pool_pause(r.pool), RSL_OK);
    assert_int_equal(rsl_pool_resume(r.pool), RSL_OK);
    assert_int_equal(rsl_pool_resize(r.pool, 0, 3), RSL_OK);
    assert_true(r.events.count >= 6);
    assert_true(event_recorder_is_increasing(&r.events));
    for (size_t i = 0; i < r.events.count; i++) {
        const recorded_event *e = &r.events.events[i];
        assert_string_equal(e->source, "db");
        assert_string_not_equal(e->name, "(null)");
        assert_string_not_equal(e->name, "");
        assert_true(e->event.at >= START && e->event.at <= r.clock.now);
        if (i > 0) {
            assert_true(e->event.number == r.events.events[i - 1].event.number + 1);
        }
    }
    assert_int_equal(r.events.events[0].event.kind, RSL_POOL_CREATED);
    assert_int_equal(r.events.events[1].event.kind, RSL_POOL_DESTROYED);
    assert_true(r.events.events[1].event.value == RSL_POOL_BROKEN);
    assert_true(event_recorder_last(&r.events, RSL_POOL_RESIZED)->value == 3);
    rig_end(&r);
}

/* ------------------------------------------------------- calling from within */

/* What a callback may do: everything that does not need what it is itself about. */
typedef struct meddler {
    rig           *r;
    factory_step   step;    /* where it meddles */
    int            depth, times;
    rsl_pool_lease held;    /* one to be given back from within (spent: none) */
} meddler;

static void meddle(meddler *m)
{
    rig *r = m->r;
    rsl_pool_lease lease;
    m->times++;
    rsl_pool_stats stats = stats_of_pool(r->pool);
    assert_int_equal(stats.open, stats.in_use + stats.idle);
    (void)rsl_pool_health(r->pool);
    rsl_pool_holder holders[4];
    (void)rsl_pool_holders(r->pool, holders, 4);
    if (rsl_pool_try(r->pool, &lease) == RSL_OK) {
        give(r, &lease);
    }
    if (m->held.generation != 0) {
        give(r, &m->held);
    }
    rsl_ctx ctx = within(r, RSL_MS(1));
    if (rsl_pool_acquire(r->pool, &ctx, &lease) == RSL_OK) {
        scrap(r, &lease);
    }
    rsl_pool_invalidate_all(r->pool);
    assert_int_equal(rsl_pool_resize(r->pool, 0, 3), RSL_OK);
    assert_int_equal(rsl_pool_resize(r->pool, 0, 4), RSL_OK);
    assert_int_equal(rsl_pool_pause(r->pool), RSL_OK);
    assert_int_equal(rsl_pool_resume(r->pool), RSL_OK);
    (void)rsl_pool_maintain(r->pool);
    guest g;
    ctx = within(r, RSL_MS(1));
    int rc = guest_begin(r, &g, &ctx);
    if (rc == RSL_WAIT) {
        rsl_pool_abandon(r->pool, &g.waiter);
    } else if (rc == RSL_OK) {
        give(r, &g.lease);
    }
    errno = SCRIBBLED;
}

static void meddle_during(factory *f, factory_step step, thing *t)
{
    (void)t;
    meddler *m = f->arg;
    if (step == m->step && m->depth == 0 && m->times < 20) {
        m->depth++;
        meddle(m);
        m->depth--;
    }
}

static void start_meddled(rig *r, meddler *m, factory_step step)
{
    rsl_pool_config config = {.size_max = 4, .validate = factory_validate,
                              .reset = factory_reset, .validate_after = RSL_NONE};
    rig_start(r, config);
    memset(m, 0, sizeof(*m));
    m->r = r;
    m->step = step;
    r->factory.during = meddle_during;
    r->factory.arg = m;
}

/* Acquires, gives back, breaks things, for a while; the pool must end up sound. */
static void work_meddled(rig *r, meddler *m)
{
    for (int i = 0; i < 12; i++) {
        rsl_pool_lease first, second;
        rsl_ctx ctx = within(r, RSL_SEC(5));
        int rc = rsl_pool_acquire(r->pool, &ctx, &first);
        assert_int_equal(rc, RSL_OK);
        ctx = within(r, RSL_SEC(5));
        rc = rsl_pool_acquire(r->pool, &ctx, &second);
        assert_int_equal(rc, RSL_OK);
        assert_true(first.resource != second.resource);
        if (m->held.generation == 0 && i % 2 == 0) {
            m->held = second;
        } else {
            give(r, &second);
        }
        if (i % 3 == 0) {
            scrap(r, &first);
        } else {
            give(r, &first);
        }
        (void)rsl_pool_maintain(r->pool);
    }
    if (m->held.generation != 0) {
        give(r, &m->held);
    }
    assert_true(m->times > 0);
    r->factory.during = NULL;
    rsl_pool_stats stats = stats_of(r);
    assert_true(stats.in_use == 0 && stats.creating == 0 && stats.waiting == 0);
    rsl_pool_lease leases[4];
    take_many(r, leases, 4);
    give_many(r, leases, 4);
    rig_end(r);
}

static void creating_may_call_the_pool(void **unused)
{
    (void)unused;
    rig r;
    meddler m;
    start_meddled(&r, &m, MAKING);
    work_meddled(&r, &m);
}

static void destroying_may_call_the_pool(void **unused)
{
    (void)unused;
    rig r;
    meddler m;
    start_meddled(&r, &m, DESTROYING);
    work_meddled(&r, &m);
}

static void validating_may_call_the_pool(void **unused)
{
    (void)unused;
    rig r;
    meddler m;
    start_meddled(&r, &m, VALIDATING);
    work_meddled(&r, &m);
}

static void resetting_may_call_the_pool(void **unused)
{
    (void)unused;
    rig r;
    meddler m;
    start_meddled(&r, &m, RESETTING);
    work_meddled(&r, &m);
}

static void meddle_on_event(const rsl_event *event, void *arg)
{
    (void)event;
    meddler *m = arg;
    if (m->depth == 0 && m->times < 20) {
        m->depth++;
        meddle(m);
        m->depth--;
    }
}

static void an_observer_may_call_the_pool(void **unused)
{
    (void)unused;
    rig r;
    meddler m;
    start_meddled(&r, &m, MAKING);
    r.factory.during = NULL;
    r.events.then = meddle_on_event;
    r.events.arg = &m;
    for (int i = 0; i < 12; i++) {
        rsl_pool_lease lease = take(&r);
        if (i % 3 == 0) {
            m.held = lease;
            rsl_pool_invalidate_all(r.pool);
            if (m.held.generation != 0) {
                give(&r, &m.held);
            }
        } else {
            scrap(&r, &lease);
        }
    }
    assert_true(m.times > 0);
    r.events.then = NULL;
    r.events.count = 0; /* told from within one another: not in order of their numbers */
    rsl_pool_lease leases[4];
    take_many(&r, leases, 4);
    give_many(&r, leases, 4);
    rig_end(&r);
}

static void release_copy_in_reset(factory *f, factory_step step, thing *t)
{
    (void)t;
    if (step == RESETTING) {
        rig_lease *it = f->arg;
        rsl_pool_lease copy = *it->lease;
        assert_int_equal(rsl_pool_release(it->r->pool, &copy), RSL_EINVAL);
        copy = *it->lease;
        assert_int_equal(rsl_pool_discard(it->r->pool, &copy), RSL_EINVAL);
    }
}

static void a_lease_that_is_being_reset_cannot_be_released_again(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1, .reset = factory_reset};
    rig_start(&r, config);
    rsl_pool_lease lease = take(&r), kept = lease;
    rig_lease it = {&r, &kept};
    r.factory.during = release_copy_in_reset;
    r.factory.arg = &it;
    give(&r, &lease);
    assert_int_equal(stats_of(&r).idle, 1);
    rig_end(&r);
}

/* errno is as the caller left it, though every callback scribbles over it. */
static void keep_errno(int *kept, const char *what)
{
    if (errno != 7) {
        fail_msg("%s left errno at %d", what, errno);
    }
    ++*kept;
}

static void errno_survives_every_function(void **unused)
{
    (void)unused;
    rig r;
    int kept = 0;
    rsl_pool_config config = {.size_max = 3, .validate = factory_validate,
                              .reset = factory_reset, .validate_after = RSL_NONE};
    rig_start(&r, config);
    rsl_pool_lease leases[3];
    for (int i = 0; i < 3; i++) {
        errno = 7;
        (void)rsl_pool_acquire(r.pool, NULL, &leases[i]);
        keep_errno(&kept, "acquire");
    }
    for (int i = 0; i < 2; i++) {
        errno = 7;
        (void)rsl_pool_release(r.pool, &leases[i]);
        keep_errno(&kept, "release");
    }
    errno = 7;
    (void)rsl_pool_discard(r.pool, &leases[2]);
    keep_errno(&kept, "discard");
    errno = 7;
    (void)rsl_pool_try(r.pool, &leases[0]);
    keep_errno(&kept, "try");
    guest g;
    errno = 7;
    (void)guest_begin(&r, &g, NULL);
    keep_errno(&kept, "begin");
    errno = 7;
    (void)rsl_pool_release(r.pool, &g.lease);
    (void)rsl_pool_release(r.pool, &leases[0]);
    rsl_pool_invalidate_all(r.pool);
    (void)rsl_pool_maintain(r.pool);
    keep_errno(&kept, "maintain");
    rsl_pool_stats stats = stats_of(&r);
    assert_int_equal(stats.open, 0);
    (void)rsl_pool_resize(r.pool, 2, 8);
    (void)rsl_pool_maintain(r.pool);
    (void)rsl_pool_resize(r.pool, 0, 1);
    (void)rsl_pool_health(r.pool);
    (void)rsl_pool_pause(r.pool);
    (void)rsl_pool_resume(r.pool);
    keep_errno(&kept, "resize");
    errno = 7;
    rsl_ctx ctx = within(&r, RSL_SEC(1));
    assert_int_equal(rsl_pool_close(r.pool, &ctx), RSL_OK);
    keep_errno(&kept, "close");
    assert_int_equal(kept, 11);
    assert_true(support_live() == r.live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_callbacks_are_refused_by_name),
        cmocka_unit_test(only_a_loop_that_maintains_may_leave_create_out),
        cmocka_unit_test(negative_times_are_refused_by_name),
        cmocka_unit_test(none_is_refused_where_no_zero_makes_sense),
        cmocka_unit_test(sizes_out_of_range_are_refused_by_name),
        cmocka_unit_test(a_least_size_above_the_most_is_refused_by_name),
        cmocka_unit_test(a_cap_below_the_first_backoff_is_refused_by_name),
        cmocka_unit_test(keeping_alive_without_validating_is_refused_by_name),
        cmocka_unit_test(a_jitter_that_is_no_share_is_refused_by_name),
        cmocka_unit_test(half_a_clock_is_refused_by_name),
        cmocka_unit_test(no_config_is_a_config_without_create),
        cmocka_unit_test(the_reason_for_a_least_size_above_the_most_is_the_documented_one),
        cmocka_unit_test(the_ends_of_every_range_are_accepted),
        cmocka_unit_test(zero_means_the_default_in_every_field),
        cmocka_unit_test(a_null_config_resolves_to_all_defaults),
        cmocka_unit_test(resolving_keeps_what_is_set_and_makes_zeros_of_none),
        cmocka_unit_test(every_preset_opens_once_it_has_callbacks),
        cmocka_unit_test(a_number_that_is_no_preset_gives_all_defaults),
        cmocka_unit_test(open_survives_every_failed_allocation),
        cmocka_unit_test(the_greatest_pool_opens),
        cmocka_unit_test(acquiring_creates_and_later_reuses),
        cmocka_unit_test(nothing_is_created_before_somebody_wants_it),
        cmocka_unit_test(maintaining_fills_the_pool_up_to_its_least_size),
        cmocka_unit_test(the_resource_used_last_comes_first_and_then_the_lowest_slot),
        cmocka_unit_test(low_slots_are_used_so_that_high_ones_can_go_idle),
        cmocka_unit_test(of_many_releases_of_one_lease_one_counts),
        cmocka_unit_test(a_stale_lease_cannot_give_back_what_was_leased_again),
        cmocka_unit_test(a_lease_is_given_back_to_its_own_pool_only),
        cmocka_unit_test(garbage_leases_are_refused),
        cmocka_unit_test(null_is_refused_everywhere),
        cmocka_unit_test(a_failed_acquire_leaves_the_lease_alone),
        cmocka_unit_test(trying_neither_waits_nor_creates),
        cmocka_unit_test(leasing_what_is_idle_takes_no_memory),
        cmocka_unit_test(a_full_pool_is_waited_for_until_the_acquire_timeout),
        cmocka_unit_test(an_acquire_gives_up_after_thirty_seconds_by_default),
        cmocka_unit_test(the_earlier_of_deadline_and_acquire_timeout_ends_the_wait),
        cmocka_unit_test(an_acquire_timeout_of_none_does_not_wait),
        cmocka_unit_test(a_wait_that_wakes_early_goes_on_to_its_deadline),
        cmocka_unit_test(a_cancelled_wait_ends_and_counts_as_no_timeout),
        cmocka_unit_test(the_clock_of_the_ctx_ends_the_wait),
        cmocka_unit_test(a_context_that_is_spent_waits_for_nothing),
        cmocka_unit_test(a_third_acquirer_of_two_is_served_by_the_release_at_800_ms),
        cmocka_unit_test(a_discard_makes_room_for_who_waits),
        cmocka_unit_test(after_five_of_ten_came_back_broken_all_ten_acquirers_succeed),
        cmocka_unit_test(an_acquirer_is_served_by_the_retry_of_a_creation_that_heals_at_300_ms),
        cmocka_unit_test(the_wait_after_a_failed_creation_doubles),
        cmocka_unit_test(the_wait_after_a_failed_creation_is_cut_by_up_to_half),
        cmocka_unit_test(the_wait_after_a_failed_creation_has_a_cap),
        cmocka_unit_test(a_creation_that_works_makes_the_next_failure_the_first),
        cmocka_unit_test(who_gives_up_after_a_failed_creation_is_told_that_failure),
        cmocka_unit_test(a_failure_from_before_the_wait_is_not_told),
        cmocka_unit_test(any_number_but_zero_is_a_failure_of_create),
        cmocka_unit_test(a_creation_that_fails_with_rsl_wait_does_not_hang),
        cmocka_unit_test(a_null_resource_is_a_resource),
        cmocka_unit_test(the_ctx_of_a_creation_ends_at_the_acquire_timeout),
        cmocka_unit_test(after_a_thousand_failures_the_wait_is_still_at_its_cap),
        cmocka_unit_test(the_ctx_of_a_creation_ends_with_that_of_the_acquirer_who_makes_it),
        cmocka_unit_test(without_an_acquire_timeout_a_creation_has_no_deadline),
        cmocka_unit_test(a_creation_that_ends_too_late_leaves_its_resource_in_the_pool),
        cmocka_unit_test(the_time_that_creations_take_is_counted),
        cmocka_unit_test(the_time_that_leases_are_held_is_counted),
        cmocka_unit_test(the_longest_use_is_that_of_any_slot_at_any_time),
        cmocka_unit_test(validation_is_skipped_for_what_was_used_a_moment_ago),
        cmocka_unit_test(validation_is_never_skipped_when_none_is_wished),
        cmocka_unit_test(what_fails_its_validation_is_destroyed_and_the_next_idle_one_tried),
        cmocka_unit_test(when_all_idle_ones_are_sick_an_acquirer_gets_a_new_one),
        cmocka_unit_test(idle_resources_are_kept_alive_in_time),
        cmocka_unit_test(being_kept_alive_keeps_nothing_from_being_idle_for_too_long),
        cmocka_unit_test(what_does_not_stay_alive_is_destroyed_and_replaced),
        cmocka_unit_test(what_cannot_be_reset_is_destroyed),
        cmocka_unit_test(an_idle_resource_is_closed_exactly_in_time),
        cmocka_unit_test(following_the_wishes_of_maintain_closes_exactly_in_time),
        cmocka_unit_test(an_idle_timeout_of_none_closes_at_the_next_look),
        cmocka_unit_test(the_least_size_is_kept_open_even_when_idle),
        cmocka_unit_test(an_idle_resource_is_closed_at_the_end_of_its_life),
        cmocka_unit_test(what_is_too_old_is_not_leased),
        cmocka_unit_test(what_grew_too_old_in_use_is_destroyed_on_release),
        cmocka_unit_test(the_share_taken_off_a_life_is_rolled_from_the_random),
        cmocka_unit_test(a_lifetime_is_rolled_once_and_not_at_each_release),
        cmocka_unit_test(a_mortal_pool_keeps_its_least_size),
        cmocka_unit_test(only_the_pools_own_clock_makes_old),
        cmocka_unit_test(a_resource_is_destroyed_at_its_last_allowed_release),
        cmocka_unit_test(a_resource_of_one_use_is_never_reused),
        cmocka_unit_test(a_lease_held_too_long_is_reported_once),
        cmocka_unit_test(what_is_outdated_is_never_leased_again),
        cmocka_unit_test(invalidating_again_and_again_outdates_what_was_made_between),
        cmocka_unit_test(maintaining_destroys_outdated_idle_ones_and_fills_up_again),
        cmocka_unit_test(a_paused_pool_leases_nothing),
        cmocka_unit_test(resuming_serves_who_waited_through_the_pause),
        cmocka_unit_test(resuming_what_is_not_paused_changes_nothing),
        cmocka_unit_test(a_paused_pool_can_be_closed),
        cmocka_unit_test(shrinking_destroys_idle_ones_from_the_top),
        cmocka_unit_test(shrinking_never_disturbs_what_is_leased),
        cmocka_unit_test(growing_beyond_the_first_size_keeps_leases_alive),
        cmocka_unit_test(growing_serves_who_waits),
        cmocka_unit_test(a_greater_least_size_is_filled_up),
        cmocka_unit_test(sizes_that_open_would_refuse_cannot_be_set_later),
        cmocka_unit_test(a_resizing_that_finds_no_memory_changes_nothing),
        cmocka_unit_test(sizes_may_change_any_number_of_times),
        cmocka_unit_test(an_adaptive_pool_starts_at_its_least_size),
        cmocka_unit_test(an_adaptive_pool_grows_while_somebody_waits),
        cmocka_unit_test(an_adaptive_pool_shrinks_slowly_when_nobody_waits),
        cmocka_unit_test(a_load_between_the_two_marks_moves_nothing),
        cmocka_unit_test(an_adaptive_pool_never_shrinks_below_its_least_size),
        cmocka_unit_test(an_adaptive_pool_wants_to_be_maintained_when_its_window_ends),
        cmocka_unit_test(resizing_an_adaptive_pool_changes_its_bounds_and_not_its_size),
        cmocka_unit_test(an_adaptive_pool_without_load_stays_small),
        cmocka_unit_test(a_fixed_pool_does_not_adapt),
        cmocka_unit_test(closing_destroys_all_and_frees_all),
        cmocka_unit_test(closing_with_leases_out_waits_and_then_names_the_holders),
        cmocka_unit_test(a_closed_pool_takes_no_new_work),
        cmocka_unit_test(a_closed_pool_creates_nothing_more),
        cmocka_unit_test(a_release_during_close_ends_it),
        cmocka_unit_test(a_cancelled_close_can_be_repeated),
        cmocka_unit_test(closing_tells_who_waits),
        cmocka_unit_test(a_second_close_is_refused_while_the_first_is_at_work),
        cmocka_unit_test(using_always_gives_back_and_passes_the_result_through),
        cmocka_unit_test(what_using_found_broken_is_discarded),
        cmocka_unit_test(without_a_resource_nothing_is_used),
        cmocka_unit_test(health_warns_by_name),
        cmocka_unit_test(health_follows_the_free_ones),
        cmocka_unit_test(a_pool_of_one_is_healthy_when_its_one_is_free),
        cmocka_unit_test(a_failed_creation_is_a_warning_until_one_works),
        cmocka_unit_test(holders_are_told_with_slot_and_time),
        cmocka_unit_test(events_carry_the_name_the_time_and_a_number),
        cmocka_unit_test(creating_may_call_the_pool),
        cmocka_unit_test(destroying_may_call_the_pool),
        cmocka_unit_test(validating_may_call_the_pool),
        cmocka_unit_test(resetting_may_call_the_pool),
        cmocka_unit_test(an_observer_may_call_the_pool),
        cmocka_unit_test(a_lease_that_is_being_reset_cannot_be_released_again),
        cmocka_unit_test(errno_survives_every_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
