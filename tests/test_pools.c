/* SPDX-License-Identifier: MIT
   test_pools.c: the keyed pools of pool.h: limits per key and in all, giving up what is idle under
   another key, fairness among keys, forgetting keys; and a random history that is watched. In
   virtual time, but for the last tests, which are for threads.                              */
#include "support/allocator.h"

#define RSL_POOL_IMPLEMENTATION
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <cmocka.h>

#include "support/support.h"

#include "support/pool_rig.h"

#ifndef RSL_NO_MAP_ /* where there is no stb_ds.h there are no keyed pools */

/* ------------------------------------------------------------------- helpers */

/* Keyed pools in the rig of one pool: r.pool is the pool beneath. */
typedef struct host_rig {
    rig         r;
    rsl_pools  *pools;
    char        seen[300]; /* the key of the latest creation */
} host_rig;

static int host_create(void *user, const rsl_ctx *ctx, const char *key, void **resource)
{
    factory *f = user;
    host_rig *h = f->arg;
    assert_non_null(key);
    (void)snprintf(h->seen, sizeof(h->seen), "%s", key);
    int rc = factory_create(user, ctx, resource);
    if (rc == 0) {
        (void)snprintf(((thing *)*resource)->key, sizeof(((thing *)0)->key), "%.7s", key);
    }
    return rc;
}

static rsl_pools_config host_config(host_rig *h, rsl_pools_config config)
{
    memset(h, 0, sizeof(*h));
    rig_clear(&h->r);
    h->r.factory.arg = h;
    config.each = rig_config(&h->r, config.each);
    config.each.create = NULL;
    config.create = host_create;
    return config;
}

static void host_start(host_rig *h, rsl_pools_config config)
{
    config = host_config(h, config);
    const char *why = rsl_pools_config_check(&config);
    if (why != NULL) {
        fail_msg("config refused: %s", why);
    }
    assert_int_equal(rsl_pools_open(&h->pools, &config), RSL_OK);
    h->r.pool = rsl_pools_pool(h->pools);
    assert_non_null(h->r.pool);
}

static void host_start_sized(host_rig *h, uint32_t of_a_key, uint32_t in_all)
{
    rsl_pools_config config = {.each = {.size_max = of_a_key}, .total_max = in_all};
    host_start(h, config);
}

static void host_end(host_rig *h)
{
    rsl_ctx ctx = within(&h->r, RSL_SEC(1));
    assert_int_equal(rsl_pools_close(h->pools, &ctx), RSL_OK);
    assert_int_equal(factory_live(&h->r.factory), 0);
    assert_true(event_recorder_is_increasing(&h->r.events));
    assert_true(support_live() == h->r.live);
}

static rsl_pool_lease host_take(host_rig *h, const char *key)
{
    rsl_pool_lease lease;
    memset(&lease, 0x5A, sizeof(lease));
    assert_int_equal(rsl_pools_acquire(h->pools, key, NULL, &lease), RSL_OK);
    assert_ptr_equal(lease.pool, h->r.pool);
    assert_true(strncmp(thing_of(&lease)->key, key, 7) == 0);
    return lease;
}

static void host_warm(host_rig *h, const char *key)
{
    rsl_pool_lease lease = host_take(h, key);
    give(&h->r, &lease);
    h->r.clock.now += RSL_MS(1);
}

static int host_begin(host_rig *h, guest *g, const char *key, const rsl_ctx *ctx)
{
    memset(g, 0, sizeof(*g));
    g->waiter.wake = guest_wake_;
    g->waiter.user = g;
    g->rc = rsl_pools_begin(h->pools, key, ctx, &g->waiter, &g->lease);
    return g->rc;
}

static void host_wait(host_rig *h, guest *g, const char *key)
{
    rsl_ctx ctx = within(&h->r, RSL_SEC(20));
    assert_int_equal(host_begin(h, g, key, &ctx), RSL_WAIT);
}

static rsl_pool_stats stats_of_key(host_rig *h, const char *key)
{
    rsl_pool_stats stats;
    memset(&stats, 0x5A, sizeof(stats));
    assert_true(rsl_pools_stats_get(h->pools, key, &stats));
    assert_int_equal(stats.open, stats.in_use + stats.idle);
    return stats;
}

static bool is_known(host_rig *h, const char *key)
{
    rsl_pool_stats stats, zeroed;
    memset(&stats, 0x5A, sizeof(stats));
    memset(&zeroed, 0, sizeof(zeroed));
    bool known = rsl_pools_stats_get(h->pools, key, &stats);
    assert_true(known || memcmp(&stats, &zeroed, sizeof(stats)) == 0);
    return known;
}

/* ------------------------------------------------------------------- configs */

static void refuse(rsl_pools_config config, const char *field)
{
    const char *why = rsl_pools_config_check(&config);
    if (why == NULL) {
        fail_msg("%s was accepted", field);
    }
    if (strncmp(why, field, strlen(field)) != 0) {
        fail_msg("\"%s\" does not begin with \"%s\"", why, field);
    }
    rsl_pools *pools = NULL;
    assert_int_equal(rsl_pools_open(&pools, &config), RSL_EINVAL);
    assert_null(pools);
}

static rsl_pools_config complete(void)
{
    rsl_pools_config config = {.each = {.destroy = factory_destroy}, .create = host_create};
    return config;
}

static void bad_configs_are_refused_by_name(void **unused)
{
    (void)unused;
    rsl_pools_config config = complete();
    assert_null(rsl_pools_config_check(&config));
    config.create = NULL;
    refuse(config, "create: ");
    config = complete();
    config.each.create = factory_create;
    assert_null(rsl_pools_config_check(&config));
    config.create = NULL;
    refuse(config, "create: ");
    config = complete();
    config.total_max = 65537;
    refuse(config, "total_max: ");
    config = complete();
    config.keys_max = 65537;
    refuse(config, "keys_max: ");
    config = complete();
    config.each.size_min = 1;
    refuse(config, "each.size_min: ");
    config = complete();
    config.each.adaptive = true;
    refuse(config, "each.adaptive: ");
}

static void a_bad_config_of_each_is_refused(void **unused)
{
    (void)unused;
    rsl_pools_config config = complete();
    config.each.destroy = NULL;
    refuse(config, "");
    config = complete();
    config.each.size_max = 65537;
    refuse(config, "");
    config = complete();
    config.each.acquire_timeout = -2;
    refuse(config, "");
    config = complete();
    config.each.creating_max = 65;
    refuse(config, "");
}

static void null_is_refused_everywhere(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 1, 1);
    rsl_pools_config config = complete();
    rsl_pool_lease lease, before;
    memset(&lease, 0x5A, sizeof(lease));
    memcpy(&before, &lease, sizeof(before));
    rsl_pool_stats stats;
    guest g;
    memset(&g, 0, sizeof(g));
    g.waiter.wake = guest_wake_;
    g.waiter.user = &g;
    assert_non_null(rsl_pools_config_check(NULL));
    assert_int_equal(rsl_pools_open(NULL, &config), RSL_EINVAL);
    rsl_pools *pools = NULL;
    assert_int_equal(rsl_pools_open(&pools, NULL), RSL_EINVAL);
    assert_null(pools);
    assert_int_equal(rsl_pools_close(NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_pools_acquire(NULL, "a", NULL, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pools_acquire(h.pools, NULL, NULL, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pools_acquire(h.pools, "a", NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_pools_try(NULL, "a", &lease), RSL_EINVAL);
    assert_int_equal(rsl_pools_try(h.pools, NULL, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pools_try(h.pools, "a", NULL), RSL_EINVAL);
    assert_int_equal(rsl_pools_begin(NULL, "a", NULL, &g.waiter, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pools_begin(h.pools, NULL, NULL, &g.waiter, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pools_begin(h.pools, "a", NULL, NULL, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pools_begin(h.pools, "a", NULL, &g.waiter, NULL), RSL_EINVAL);
    g.waiter.wake = NULL;
    assert_int_equal(rsl_pools_begin(h.pools, "a", NULL, &g.waiter, &lease), RSL_EINVAL);
    assert_memory_equal(&lease, &before, sizeof(lease));
    assert_null(rsl_pools_pool(NULL));
    assert_false(rsl_pools_stats_get(NULL, "a", &stats));
    assert_false(rsl_pools_stats_get(h.pools, NULL, &stats));
    assert_int_equal(h.r.factory.tries, 0);
    host_end(&h);
}

static void opening_survives_every_failed_allocation(void **unused)
{
    (void)unused;
    host_rig h;
    rsl_pools_config config = {.total_max = 200, .keys_max = 50};
    config = host_config(&h, config);
    int rc = RSL_ENOMEM;
    for (long nth = 1; rc != RSL_OK; nth++) {
        h.pools = NULL;
        support_fail_nth(nth);
        rc = rsl_pools_open(&h.pools, &config);
        support_fail_never();
        assert_true(nth < 100);
        if (rc != RSL_OK) {
            assert_int_equal(rc, RSL_ENOMEM);
            assert_null(h.pools);
            assert_true(support_live() == h.r.live);
        }
    }
    host_end(&h);
}

static void a_new_key_survives_every_failed_allocation(void **unused)
{
    (void)unused;
    host_rig h;
    rsl_pools_config config = {.total_max = 100, .keys_max = 2000};
    host_start(&h, config);
    int refused = 0;
    for (int i = 0; i < 300; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "k%d", i);
        rsl_pool_lease lease;
        int rc = RSL_ENOMEM;
        for (long nth = 1; rc != RSL_OK; nth++) {
            support_fail_nth(nth);
            rc = rsl_pools_acquire(h.pools, key, NULL, &lease);
            support_fail_never();
            assert_true(nth < 20);
            if (rc != RSL_OK) {
                assert_int_equal(rc, RSL_ENOMEM);
                refused++;
            }
        }
        assert_string_equal(h.seen, key);
        give(&h.r, &lease);
        (void)stats_of_key(&h, key);
    }
    assert_true(refused > 300);
    for (int i = 0; i < 300; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "k%d", i);
        assert_true(is_known(&h, key));
    }
    host_end(&h);
}

/* ---------------------------------------------------------------------- keys */

static void each_key_has_resources_of_its_own(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 10);
    rsl_pool_lease a = host_take(&h, "a"), b = host_take(&h, "b");
    assert_string_equal(h.seen, "b");
    assert_int_equal(thing_of(&a)->number, 1);
    assert_int_equal(thing_of(&b)->number, 2);
    give(&h.r, &a);
    give(&h.r, &b);
    b = host_take(&h, "b");
    assert_int_equal(thing_of(&b)->number, 2);
    a = host_take(&h, "a");
    assert_int_equal(thing_of(&a)->number, 1);
    give(&h.r, &a);
    give(&h.r, &b);
    assert_int_equal(atomic_load(&h.r.factory.made), 2);
    host_end(&h);
}

static void keys_are_copied(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 10);
    char key[] = "host1";
    rsl_pool_lease lease = host_take(&h, key);
    memset(key, 'x', 4);
    rsl_pool_lease other = host_take(&h, "host1");
    assert_string_equal(h.seen, "host1");
    assert_int_equal(stats_of_key(&h, "host1").in_use, 2);
    assert_false(is_known(&h, key));
    give(&h.r, &lease);
    give(&h.r, &other);
    host_end(&h);
}

static void a_key_has_255_bytes_at_most_and_may_be_empty(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 10);
    char key[400];
    memset(key, 'k', sizeof(key));
    rsl_pool_lease lease;
    key[399] = '\0';
    assert_int_equal(rsl_pools_acquire(h.pools, key, NULL, &lease), RSL_EINVAL);
    key[256] = '\0';
    assert_int_equal(rsl_pools_acquire(h.pools, key, NULL, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pools_try(h.pools, key, &lease), RSL_EINVAL);
    guest g;
    assert_int_equal(host_begin(&h, &g, key, NULL), RSL_EINVAL);
    assert_false(is_known(&h, key));
    key[255] = '\0';
    lease = host_take(&h, key);
    assert_string_equal(h.seen, key);
    give(&h.r, &lease);
    lease = host_take(&h, "");
    assert_string_equal(h.seen, "");
    assert_int_equal(thing_of(&lease)->number, 2);
    give(&h.r, &lease);
    assert_int_equal(stats_of_key(&h, "").idle, 1);
    host_end(&h);
}

static void keys_that_begin_alike_are_different_keys(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 64);
    char key[16] = "";
    for (int i = 0; i < 12; i++) {
        key[i] = 'a';
        rsl_pool_lease lease;
        assert_int_equal(rsl_pools_acquire(h.pools, key, NULL, &lease), RSL_OK);
        assert_int_equal(thing_of(&lease)->number, i + 1);
        give(&h.r, &lease);
    }
    host_end(&h);
}

static void trying_takes_only_what_is_idle_under_its_own_key(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 10);
    host_warm(&h, "a");
    rsl_pool_lease lease;
    assert_int_equal(rsl_pools_try(h.pools, "b", &lease), RSL_EFULL);
    assert_int_equal(stats_of_key(&h, "a").idle, 1);
    assert_int_equal(rsl_pools_try(h.pools, "a", &lease), RSL_OK);
    assert_string_equal(thing_of(&lease)->key, "a");
    give(&h.r, &lease);
    host_end(&h);
}

static void the_pool_beneath_takes_no_acquire_close_or_resize(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 10);
    host_warm(&h, "a");
    rsl_pool_lease lease;
    assert_int_equal(rsl_pool_acquire(h.r.pool, NULL, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pool_try(h.r.pool, &lease), RSL_EINVAL);
    assert_int_equal(rsl_pool_resize(h.r.pool, 0, 5), RSL_EINVAL);
    assert_int_equal(rsl_pool_close(h.r.pool, NULL), RSL_EINVAL);
    guest g;
    assert_int_equal(guest_begin(&h.r, &g, NULL), RSL_EINVAL);
    assert_int_equal(stats_of(&h.r).idle, 1);
    host_end(&h);
}

static void tickets_and_layers_are_for_plain_pools(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 10);
    guest g;
    host_wait(&h, &g, "a");
    rsl_creation ticket;
    assert_int_equal(rsl_pool_wanted(h.r.pool, &ticket), RSL_WAIT);
    (void)rsl_pool_maintain(h.r.pool);
    expect_served(&h.r, &g);
    give(&h.r, &g.lease);
    assert_false(rsl_pools_stats_get(h.pools, "a", NULL));
    host_end(&h);
}

static void the_numbers_of_a_key_are_its_own(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 3, 10);
    rsl_pool_lease a[3] = {host_take(&h, "a"), host_take(&h, "a"), host_take(&h, "a")};
    rsl_pool_lease b = host_take(&h, "b");
    give(&h.r, &a[0]);
    guest g[2];
    rsl_pool_lease again = host_take(&h, "a");
    host_wait(&h, &g[0], "a");
    host_wait(&h, &g[1], "a");
    rsl_pool_stats stats = stats_of_key(&h, "a");
    assert_true(stats.open == 3 && stats.in_use == 3 && stats.idle == 0);
    assert_true(stats.waiting == 2 && stats.creating == 0 && stats.size_max == 3);
    stats = stats_of_key(&h, "b");
    assert_true(stats.open == 1 && stats.in_use == 1 && stats.waiting == 0);
    stats = stats_of(&h.r);
    assert_true(stats.open == 4 && stats.waiting == 2 && stats.size_max == 10);
    assert_false(is_known(&h, "c"));
    rsl_pool_abandon(h.r.pool, &g[0].waiter);
    rsl_pool_abandon(h.r.pool, &g[1].waiter);
    give(&h.r, &again);
    give(&h.r, &a[1]);
    give(&h.r, &a[2]);
    give(&h.r, &b);
    assert_int_equal(stats_of_key(&h, "a").idle, 3);
    host_end(&h);
}

/* -------------------------------------------------------------------- limits */

static void a_key_at_its_limit_waits_for_its_own_though_there_is_room_in_all(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 1, 10);
    rsl_pool_lease a = host_take(&h, "a"), none;
    rsl_ctx ctx = within(&h.r, RSL_SEC(1));
    assert_int_equal(rsl_pools_acquire(h.pools, "a", &ctx, &none), RSL_ETIMEOUT);
    assert_true(h.r.clock.now == START + RSL_SEC(1));
    guest g, b;
    host_wait(&h, &g, "a");
    host_wait(&h, &b, "b");
    (void)rsl_pool_maintain(h.r.pool);
    expect_served(&h.r, &b);
    give(&h.r, &b.lease);
    expect_waiting(&h.r, &g);
    give(&h.r, &a);
    expect_served(&h.r, &g);
    give(&h.r, &g.lease);
    assert_int_equal(atomic_load(&h.r.factory.made), 2);
    host_end(&h);
}

static void when_the_total_is_full_what_is_idle_longest_is_given_up(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 3);
    host_warm(&h, "b");
    host_warm(&h, "a");
    host_warm(&h, "c");
    host_warm(&h, "b"); /* used again: a is idle longest now */
    rsl_pool_lease lease = host_take(&h, "d");
    assert_int_equal(h.r.factory.last_destroyed, 2);
    assert_int_equal(stats_of_key(&h, "b").idle, 1);
    assert_int_equal(stats_of_key(&h, "c").idle, 1);
    assert_int_equal(stats_of(&h.r).open, 3);
    give(&h.r, &lease);
    host_end(&h);
}

static void nothing_is_given_up_for_a_key_that_is_at_its_own_limit(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 1, 2);
    host_warm(&h, "a");
    rsl_pool_lease b = host_take(&h, "b"), none;
    rsl_ctx ctx = within(&h.r, RSL_MS(5));
    assert_int_equal(rsl_pools_acquire(h.pools, "b", &ctx, &none), RSL_ETIMEOUT);
    assert_int_equal(stats_of_key(&h, "a").idle, 1);
    give(&h.r, &b);
    host_end(&h);
}

static void a_full_total_gives_the_next_release_up_for_who_waits_longest(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 2);
    rsl_pool_lease a[2] = {host_take(&h, "a"), host_take(&h, "a")};
    guest b;
    host_wait(&h, &b, "b");
    (void)rsl_pool_maintain(h.r.pool);
    expect_waiting(&h.r, &b);
    give(&h.r, &a[0]);
    (void)rsl_pool_maintain(h.r.pool);
    expect_served(&h.r, &b);
    assert_string_equal(thing_of(&b.lease)->key, "b");
    rsl_pool_stats stats = stats_of(&h.r);
    assert_true(stats.open == 2 && stats.destroyed == 1);
    give(&h.r, &b.lease);
    give(&h.r, &a[1]);
    host_end(&h);
}

static void a_blocked_acquire_is_served_from_the_release_of_another_key(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 1);
    rsl_pool_lease a = host_take(&h, "a");
    rig_lease held = {&h.r, &a};
    timeline_add(&h.r.line, START + RSL_MS(40), release_then, &held);
    rsl_pool_lease b = host_take(&h, "b");
    assert_true(h.r.clock.now == START + RSL_MS(40));
    give(&h.r, &b);
    host_end(&h);
}

static void a_release_serves_its_own_key_when_that_one_waits_longer(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 1);
    rsl_pool_lease lease = host_take(&h, "a");
    guest a, b;
    host_wait(&h, &a, "a");
    host_wait(&h, &b, "b");
    give(&h.r, &lease);
    expect_served(&h.r, &a);
    assert_int_equal(thing_of(&a.lease)->number, 1);
    expect_waiting(&h.r, &b);
    give(&h.r, &a.lease);
    (void)rsl_pool_maintain(h.r.pool);
    expect_served(&h.r, &b);
    give(&h.r, &b.lease);
    host_end(&h);
}

static void a_key_that_waits_longer_is_not_starved_by_a_busy_one(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 2);
    rsl_pool_lease a[2] = {host_take(&h, "a"), host_take(&h, "a")};
    guest rare, busy[20];
    host_wait(&h, &busy[0], "a");
    host_wait(&h, &rare, "b");
    for (int i = 1; i < 20; i++) {
        host_wait(&h, &busy[i], "a");
    }
    give(&h.r, &a[0]);
    expect_served(&h.r, &busy[0]);
    give(&h.r, &a[1]);
    (void)rsl_pool_maintain(h.r.pool);
    expect_served(&h.r, &rare);
    rsl_pool_lease last = busy[0].lease;
    give(&h.r, &rare.lease);
    for (int i = 1; i < 20; i++) {
        give(&h.r, &last);
        for (int j = 0; j < 3; j++) {
            (void)rsl_pool_maintain(h.r.pool);
        }
        expect_served(&h.r, &busy[i]);
        last = busy[i].lease;
    }
    give(&h.r, &last);
    host_end(&h);
}

static void many_keys_share_a_total_of_one(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 1, 1);
    for (int i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "k%d", i % 7);
        host_warm(&h, key);
        assert_int_equal(stats_of(&h.r).open, 1);
    }
    host_end(&h);
}

/* ------------------------------------------------------------ forgetting keys */

static void beyond_keys_max_the_one_longest_unused_is_forgotten(void **unused)
{
    (void)unused;
    host_rig h;
    rsl_pools_config config = {.each = {.idle_timeout = RSL_SEC(60)}, .total_max = 10,
                               .keys_max = 3};
    host_start(&h, config);
    host_warm(&h, "a");
    host_warm(&h, "b");
    host_warm(&h, "c");
    host_warm(&h, "a");
    h.r.clock.now += RSL_SEC(60);
    (void)rsl_pool_maintain(h.r.pool);
    assert_int_equal(stats_of(&h.r).open, 0);
    host_warm(&h, "d");
    assert_false(is_known(&h, "b"));
    assert_true(is_known(&h, "a") && is_known(&h, "c") && is_known(&h, "d"));
    host_warm(&h, "b");
    assert_false(is_known(&h, "c"));
    host_end(&h);
}

static void by_default_a_hundred_resources_and_1024_keys_have_room(void **unused)
{
    (void)unused;
    host_rig h;
    rsl_pools_config config = {.each = {.uses_max = 1}};
    host_start(&h, config);
    assert_int_equal(stats_of(&h.r).size_max, 100);
    char key[16] = "";
    for (int i = 0; i < 1025; i++) {
        (void)snprintf(key, sizeof(key), "%d", i);
        host_warm(&h, key);
        if (i == 0) {
            assert_int_equal(stats_of_key(&h, key).size_max, 10);
        }
        assert_int_equal(is_known(&h, "0"), i < 1024);
    }
    assert_true(is_known(&h, "1") && is_known(&h, "1024"));
    h.r.events.count = 0;
    host_end(&h);
}

static void a_key_with_resources_or_waiters_is_not_forgotten(void **unused)
{
    (void)unused;
    host_rig h;
    rsl_pools_config config = {.each = {.size_max = 1}, .total_max = 10, .keys_max = 2};
    host_start(&h, config);
    rsl_pool_lease a = host_take(&h, "a"), none;
    host_warm(&h, "b");
    rsl_ctx ctx = within(&h.r, RSL_SEC(1));
    int rc = rsl_pools_acquire(h.pools, "c", &ctx, &none);
    assert_int_equal(rc, RSL_EFULL);
    assert_true(is_known(&h, "a") && is_known(&h, "b"));
    rsl_pool_invalidate_all(h.r.pool);
    (void)rsl_pool_maintain(h.r.pool);
    rsl_pool_lease c = host_take(&h, "c");
    assert_false(is_known(&h, "b"));
    give(&h.r, &a);
    give(&h.r, &c);
    host_end(&h);
}

static void ten_thousand_keys_pass_through_a_few_places(void **unused)
{
    (void)unused;
    host_rig h;
    rsl_pools_config config = {.each = {.uses_max = 1}, .total_max = 4, .keys_max = 8};
    host_start(&h, config);
    long most = 0;
    for (int i = 0; i < 10000; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%d", i);
        host_warm(&h, key);
        long live = support_live() - h.r.live;
        if (i == 1000) {
            most = live;
        }
        assert_true(i <= 1000 || live <= most + 16);
    }
    h.r.events.count = 0;
    host_end(&h);
}

/* ------------------------------------------------------------------ the rest */

static void the_failure_of_one_creation_is_told_and_the_next_key_served(void **unused)
{
    (void)unused;
    host_rig h;
    rsl_pools_config config = {.each = {.acquire_timeout = RSL_MS(100)}, .total_max = 4};
    host_start(&h, config);
    atomic_store(&h.r.factory.fail_with, -5);
    rsl_pool_lease lease;
    assert_int_equal(rsl_pools_acquire(h.pools, "a", NULL, &lease), -5);
    atomic_store(&h.r.factory.fail_with, 0);
    h.r.clock.now += RSL_SEC(10);
    lease = host_take(&h, "b");
    give(&h.r, &lease);
    host_end(&h);
}

static void closing_keyed_pools_waits_for_leases_as_any_pool(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 4);
    host_warm(&h, "a");
    rsl_pool_lease b = host_take(&h, "b"), none;
    guest g;
    rsl_pool_lease b2 = host_take(&h, "b");
    host_wait(&h, &g, "b");
    rsl_ctx ctx = within(&h.r, RSL_SEC(2));
    assert_int_equal(rsl_pools_close(h.pools, &ctx), RSL_ETIMEOUT);
    assert_int_equal(guest_poll(&h.r, &g), RSL_ECLOSED);
    assert_int_equal(rsl_pools_acquire(h.pools, "a", NULL, &none), RSL_ECLOSED);
    assert_int_equal(rsl_pools_try(h.pools, "a", &none), RSL_ECLOSED);
    assert_int_equal(rsl_pools_try(h.pools, "zzz", &none), RSL_ECLOSED);
    assert_int_equal(host_begin(&h, &g, "b", NULL), RSL_ECLOSED);
    assert_int_equal(rsl_pool_holders(h.r.pool, NULL, 0), 2);
    give(&h.r, &b);
    scrap(&h.r, &b2);
    host_end(&h);
}

static void pausing_and_invalidating_concern_all_keys(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 4);
    host_warm(&h, "a");
    host_warm(&h, "b");
    rsl_pool_lease lease;
    assert_int_equal(rsl_pool_pause(h.r.pool), RSL_OK);
    assert_int_equal(rsl_pools_try(h.pools, "a", &lease), RSL_EFULL);
    assert_int_equal(rsl_pools_try(h.pools, "b", &lease), RSL_EFULL);
    guest a, b;
    host_wait(&h, &a, "a");
    host_wait(&h, &b, "b");
    assert_int_equal(rsl_pool_resume(h.r.pool), RSL_OK);
    expect_served(&h.r, &a);
    expect_served(&h.r, &b);
    give(&h.r, &a.lease);
    give(&h.r, &b.lease);
    rsl_pool_invalidate_all(h.r.pool);
    (void)rsl_pool_maintain(h.r.pool);
    assert_true(stats_of(&h.r).closed_invalidated == 2);
    host_end(&h);
}

static void priorities_go_before_the_order_of_keys(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 1);
    rsl_pool_lease lease = host_take(&h, "a");
    guest low, high;
    host_wait(&h, &low, "a");
    rsl_ctx ctx = within(&h.r, RSL_SEC(20));
    ctx.priority = 1;
    assert_int_equal(host_begin(&h, &high, "b", &ctx), RSL_WAIT);
    give(&h.r, &lease);
    (void)rsl_pool_maintain(h.r.pool);
    expect_served(&h.r, &high);
    expect_waiting(&h.r, &low);
    give(&h.r, &high.lease);
    (void)rsl_pool_maintain(h.r.pool);
    expect_served(&h.r, &low);
    give(&h.r, &low.lease);
    host_end(&h);
}

static void leases_of_keyed_pools_are_checked_like_any(void **unused)
{
    (void)unused;
    host_rig h;
    host_start_sized(&h, 2, 4);
    rsl_pool_lease a = host_take(&h, "a"), copy = a;
    give(&h.r, &a);
    assert_int_equal(rsl_pool_release(h.r.pool, &copy), RSL_EINVAL);
    rsl_pool_lease b = host_take(&h, "b");
    copy = b;
    scrap(&h.r, &b);
    assert_int_equal(rsl_pool_discard(h.r.pool, &copy), RSL_EINVAL);
    assert_int_equal(stats_of_key(&h, "b").open, 0);
    host_end(&h);
}

/* ------------------------------------------------------------------ a history */

enum { HISTORY_KEYS = 6, HISTORY_GUESTS = 10, HISTORY_LEASES = 12 };

typedef struct history {
    host_rig       h;
    seeded_random  random;
    guest          guests[HISTORY_GUESTS];
    int            key_of_guest[HISTORY_GUESTS];
    bool           waits[HISTORY_GUESTS];
    rsl_pool_lease leases[HISTORY_LEASES];
    int            key_of_lease[HISTORY_LEASES];
    int            held;
    uint32_t       of_a_key, in_all;
} history;

static const char *const history_key[HISTORY_KEYS] = {"ash", "birch", "cedar", "", "elm", "fir"};

static void history_got(history *y, const rsl_pool_lease *lease, int key)
{
    thing *t = thing_of(lease);
    assert_string_equal(t->key, history_key[key]);
    assert_int_equal(t->holders, 0);
    t->holders = 1;
    assert_true(y->held < HISTORY_LEASES);
    y->key_of_lease[y->held] = key;
    y->leases[y->held++] = *lease;
}

static void history_give(history *y, bool breaks)
{
    if (y->held == 0) {
        return;
    }
    int i = (int)seeded_random_below(&y->random, (uint32_t)y->held);
    thing_of(&y->leases[i])->holders = 0;
    if (breaks) {
        scrap(&y->h.r, &y->leases[i]);
    } else {
        give(&y->h.r, &y->leases[i]);
    }
    y->held--;
    y->leases[i] = y->leases[y->held];
    y->key_of_lease[i] = y->key_of_lease[y->held];
}

static void history_poll(history *y, int i)
{
    if (!y->waits[i]) {
        return;
    }
    int rc = guest_poll(&y->h.r, &y->guests[i]);
    y->waits[i] = rc == RSL_WAIT;
    assert_true(rc == RSL_OK || rc == RSL_WAIT || rc == RSL_ETIMEOUT);
    if (rc == RSL_OK) {
        history_got(y, &y->guests[i].lease, y->key_of_guest[i]);
    }
}

static void history_begin(history *y)
{
    int i = (int)seeded_random_below(&y->random, HISTORY_GUESTS);
    int key = (int)seeded_random_below(&y->random, HISTORY_KEYS);
    if (y->waits[i] || y->held == HISTORY_LEASES) {
        return;
    }
    rsl_ctx ctx = within(&y->h.r, RSL_MS(1 + seeded_random_below(&y->random, 200)));
    ctx.priority = (int32_t)seeded_random_below(&y->random, 3);
    int rc = host_begin(&y->h, &y->guests[i], history_key[key], &ctx);
    assert_true(rc == RSL_OK || rc == RSL_WAIT);
    y->key_of_guest[i] = key;
    y->waits[i] = rc == RSL_WAIT;
    if (rc == RSL_OK) {
        history_got(y, &y->guests[i].lease, key);
    }
}

static void history_abandon(history *y, int i)
{
    rsl_pool_abandon(y->h.r.pool, &y->guests[i].waiter);
    y->waits[i] = false;
}

static void history_act(history *y)
{
    int who = (int)seeded_random_below(&y->random, HISTORY_GUESTS);
    switch (seeded_random_below(&y->random, 16)) {
    case 0: case 1: case 2: case 3: history_begin(y); break;
    case 4: case 5: case 6: history_give(y, false); break;
    case 7: history_give(y, true); break;
    case 8: case 9: (void)rsl_pool_maintain(y->h.r.pool); break;
    case 10: history_abandon(y, who); break;
    case 11: y->h.r.clock.now += RSL_MS(seeded_random_below(&y->random, 20)); break;
    case 12:
        if (seeded_random_below(&y->random, 30) == 0) {
            rsl_pool_invalidate_all(y->h.r.pool);
        }
        break;
    default: history_poll(y, who); break;
    }
}

/* No key above its limit, no more than the total, every lease known to the pool. */
static void history_check(history *y)
{
    rsl_pool_stats all = stats_of(&y->h.r);
    uint32_t open = 0, in_use = 0, waiting = 0;
    for (int i = 0; i < HISTORY_KEYS; i++) {
        rsl_pool_stats stats;
        (void)rsl_pools_stats_get(y->h.pools, history_key[i], &stats);
        assert_true(stats.open + stats.creating <= y->of_a_key);
        open += stats.open;
        in_use += stats.in_use;
        waiting += stats.waiting;
    }
    assert_true(all.open <= y->in_all);
    assert_int_equal(open, all.open);
    assert_int_equal(in_use, all.in_use);
    assert_int_equal(waiting, all.waiting);
    assert_true(all.in_use >= (uint32_t)y->held);
}

/* Nobody is starved: with time and room all who wait are served. */
static void history_end(history *y)
{
    while (y->held > 0) {
        history_give(y, false);
    }
    for (int rounds = 0; rounds < 50; rounds++) {
        (void)rsl_pool_maintain(y->h.r.pool);
        for (int i = 0; i < HISTORY_GUESTS; i++) {
            history_poll(y, i);
        }
        while (y->held > 0) {
            history_give(y, false);
        }
    }
    for (int i = 0; i < HISTORY_GUESTS; i++) {
        assert_false(y->waits[i]);
    }
    rsl_pool_stats stats = stats_of(&y->h.r);
    assert_true(stats.in_use == 0 && stats.waiting == 0 && stats.creating == 0);
    y->h.r.events.count = 0;
    host_end(&y->h);
}

static void random_histories_of_keys_keep_every_limit_and_serve_everybody(void **unused)
{
    (void)unused;
    static history y;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        memset(&y, 0, sizeof(y));
        y.random.state = seed * 1000003;
        y.of_a_key = 1 + (uint32_t)seed % 3;
        y.in_all = 1 + (uint32_t)seed % 7;
        rsl_pools_config config = {.each = {.size_max = y.of_a_key, .creating_max = 2,
                                            .idle_timeout = RSL_MS(500),
                                            .lifetime_max = RSL_SEC(2)},
                                   .total_max = y.in_all};
        host_start(&y.h, config);
        for (int i = 0; i < 5000; i++) {
            history_act(&y);
            history_check(&y);
        }
        history_end(&y);
    }
}

/* ------------------------------------------------------------------- threads */

typedef struct host_crowd {
    rsl_pools  *pools;
    _Atomic int wrong, seed;
} host_crowd;

static void *host_crowd_main(void *arg)
{
    host_crowd *c = arg;
    seeded_random random = {(uint64_t)atomic_fetch_add(&c->seed, 1) * 7919 + 5};
    for (int i = 0; i < 500 && atomic_load(&c->wrong) == 0; i++) {
        const char *key = history_key[seeded_random_below(&random, HISTORY_KEYS)];
        rsl_pool_lease lease;
        rsl_ctx ctx = rsl_within(RSL_SEC(20));
        int rc = rsl_pools_acquire(c->pools, key, &ctx, &lease);
        if (rc != RSL_OK) {
            atomic_fetch_add(&c->wrong, 1);
            continue;
        }
        thing *t = thing_of(&lease);
        int holders = __atomic_add_fetch(&t->holders, 1, __ATOMIC_RELAXED);
        if (strcmp(t->key, key) != 0 || holders != 1) {
            atomic_fetch_add(&c->wrong, 1);
        }
        (void)__atomic_sub_fetch(&t->holders, 1, __ATOMIC_RELAXED);
        rc = seeded_random_below(&random, 20) == 0 ? rsl_pool_discard(lease.pool, &lease)
                                                   : rsl_pool_release(lease.pool, &lease);
        if (rc != RSL_OK) {
            atomic_fetch_add(&c->wrong, 1);
        }
    }
    return NULL;
}

static int host_create_in_threads(void *user, const rsl_ctx *ctx, const char *key,
                                  void **resource)
{
    int rc = factory_create(user, ctx, resource);
    (void)snprintf(((thing *)*resource)->key, sizeof(((thing *)0)->key), "%.7s", key);
    return rc;
}

static void run_host_crowd(bool caller_maintains)
{
    factory f;
    memset(&f, 0, sizeof(f));
    long live = support_live();
    rsl_pools_config config = {.each = {.size_max = 2, .destroy = factory_destroy, .user = &f,
                                        .creating_max = 2,
                                        .caller_maintains = caller_maintains},
                               .create = host_create_in_threads, .total_max = 4};
    host_crowd c = {.seed = 1};
    assert_int_equal(rsl_pools_open(&c.pools, &config), RSL_OK);
    pthread_t threads[6];
    for (int i = 0; i < 6; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, host_crowd_main, &c), 0);
    }
    for (int i = 0; i < 6; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&c.wrong), 0);
    rsl_pool *pool = rsl_pools_pool(c.pools);
    rsl_time end = rsl_now() + RSL_SEC(20);
    while (stats_of_pool(pool).in_use > 0 && rsl_now() < end) {
        (void)rsl_pool_maintain(pool); /* its threads may be giving something up */
    }
    assert_int_equal(stats_of_pool(pool).in_use, 0);
    assert_int_equal(rsl_pools_close(c.pools, NULL), RSL_OK);
    assert_int_equal(factory_live(&f), 0);
    assert_true(support_live() == live);
}

static void threads_of_many_keys_under_one_total_all_get_served(void **unused)
{
    (void)unused;
    run_host_crowd(false);
}

static void threads_that_create_by_themselves_for_many_keys_all_get_served(void **unused)
{
    (void)unused;
    for (int i = 0; i < 5; i++) {
        run_host_crowd(true);
    }
}

#ifndef _WIN32

/* In a child no assertion of cmocka is of use: the number of the claim that does not hold. */
#define CLAIM(number, condition) \
    do {                         \
        if (!(condition)) {      \
            return number;       \
        }                        \
    } while (0)

static int child_of_keyed_pools(host_rig *h, const rsl_pool_lease *inherited)
{
    rsl_pool_lease stale = *inherited, lease;
    rsl_pool_stats stats;
    CLAIM(1, rsl_pool_release(h->r.pool, &stale) == RSL_EINVAL);
    CLAIM(2, rsl_pools_acquire(h->pools, "a", NULL, &lease) == RSL_OK);
    CLAIM(3, thing_of(&lease)->number == 3 && strcmp(thing_of(&lease)->key, "a") == 0);
    CLAIM(4, atomic_load(&h->r.factory.abandoned) == 2);
    CLAIM(5, atomic_load(&h->r.factory.destroyed) == 0);
    CLAIM(6, rsl_pools_stats_get(h->pools, "a", &stats) && stats.in_use == 1);
    CLAIM(7, !rsl_pools_stats_get(h->pools, "b", &stats) || stats.open == 0);
    CLAIM(8, rsl_pool_release(h->r.pool, &lease) == RSL_OK);
    CLAIM(9, rsl_pools_acquire(h->pools, "b", NULL, &lease) == RSL_OK);
    CLAIM(10, thing_of(&lease)->number == 4);
    CLAIM(11, rsl_pool_discard(h->r.pool, &lease) == RSL_OK);
    CLAIM(12, rsl_pools_close(h->pools, NULL) == RSL_OK);
    CLAIM(13, atomic_load(&h->r.factory.destroyed) == 2);
    return 0;
}

static void a_forked_child_of_keyed_pools_forgets_and_makes_anew(void **unused)
{
    (void)unused;
    host_rig h;
    rsl_pools_config config = {.each = {.abandon = factory_abandon}, .total_max = 4};
    host_start(&h, config);
    host_warm(&h, "a");
    rsl_pool_lease lease = host_take(&h, "b");
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)alarm(30);
        leave_child(child_of_keyed_pools(&h, &lease));
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    give(&h.r, &lease);
    assert_int_equal(stats_of_key(&h, "a").idle, 1);
    assert_int_equal(stats_of_key(&h, "b").idle, 1);
    assert_int_equal(atomic_load(&h.r.factory.made), 2);
    host_end(&h);
}
#endif
#else
static void without_stb_ds_there_are_no_keyed_pools(void **unused)
{
    (void)unused;
    rig r;
    rsl_pool_config config = {.size_max = 1};
    rig_start(&r, config);
    rig_end(&r);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef RSL_NO_MAP_
        cmocka_unit_test(bad_configs_are_refused_by_name),
        cmocka_unit_test(a_bad_config_of_each_is_refused),
        cmocka_unit_test(null_is_refused_everywhere),
        cmocka_unit_test(opening_survives_every_failed_allocation),
        cmocka_unit_test(a_new_key_survives_every_failed_allocation),
        cmocka_unit_test(each_key_has_resources_of_its_own),
        cmocka_unit_test(keys_are_copied),
        cmocka_unit_test(a_key_has_255_bytes_at_most_and_may_be_empty),
        cmocka_unit_test(keys_that_begin_alike_are_different_keys),
        cmocka_unit_test(trying_takes_only_what_is_idle_under_its_own_key),
        cmocka_unit_test(the_pool_beneath_takes_no_acquire_close_or_resize),
        cmocka_unit_test(tickets_and_layers_are_for_plain_pools),
        cmocka_unit_test(the_numbers_of_a_key_are_its_own),
        cmocka_unit_test(a_key_at_its_limit_waits_for_its_own_though_there_is_room_in_all),
        cmocka_unit_test(when_the_total_is_full_what_is_idle_longest_is_given_up),
        cmocka_unit_test(nothing_is_given_up_for_a_key_that_is_at_its_own_limit),
        cmocka_unit_test(a_full_total_gives_the_next_release_up_for_who_waits_longest),
        cmocka_unit_test(a_blocked_acquire_is_served_from_the_release_of_another_key),
        cmocka_unit_test(a_release_serves_its_own_key_when_that_one_waits_longer),
        cmocka_unit_test(a_key_that_waits_longer_is_not_starved_by_a_busy_one),
        cmocka_unit_test(many_keys_share_a_total_of_one),
        cmocka_unit_test(beyond_keys_max_the_one_longest_unused_is_forgotten),
        cmocka_unit_test(by_default_a_hundred_resources_and_1024_keys_have_room),
        cmocka_unit_test(a_key_with_resources_or_waiters_is_not_forgotten),
        cmocka_unit_test(ten_thousand_keys_pass_through_a_few_places),
        cmocka_unit_test(the_failure_of_one_creation_is_told_and_the_next_key_served),
        cmocka_unit_test(closing_keyed_pools_waits_for_leases_as_any_pool),
        cmocka_unit_test(pausing_and_invalidating_concern_all_keys),
        cmocka_unit_test(priorities_go_before_the_order_of_keys),
        cmocka_unit_test(leases_of_keyed_pools_are_checked_like_any),
        cmocka_unit_test(random_histories_of_keys_keep_every_limit_and_serve_everybody),
        cmocka_unit_test(threads_of_many_keys_under_one_total_all_get_served),
        cmocka_unit_test(threads_that_create_by_themselves_for_many_keys_all_get_served),
#ifndef _WIN32
        cmocka_unit_test(a_forked_child_of_keyed_pools_forgets_and_makes_anew),
#endif
#endif
#ifdef RSL_NO_MAP_
        cmocka_unit_test(without_stb_ds_there_are_no_keyed_pools),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
