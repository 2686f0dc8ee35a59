/* SPDX-License-Identifier: MIT
   test_pool_threads.c: pool.h among threads, in real time: the pool's own threads, hand-off,
   stalls, cancelling, closing, races; and the pool in a forked child.                        */
#define _GNU_SOURCE 1 /* for pthread_setattr_default_np */
#include "support/allocator.h"

#define RSL_POOL_IMPLEMENTATION
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#ifndef _WIN32
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <cmocka.h>

#include "support/support.h"

#include "support/pool_rig.h"

#if defined __SANITIZE_THREAD__
#define UNDER_TSAN 1
#elif defined __SANITIZE_ADDRESS__
#define UNDER_ASAN 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#elif __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif

static void nap(rsl_time span)
{
    struct timespec t = {(time_t)(span / RSL_SEC(1)), (long)(span % RSL_SEC(1))};
    nanosleep(&t, NULL);
}

/* Waits, at most 20 s, for what other threads bring about. */
#define EVENTUALLY(condition)                          \
    do {                                               \
        rsl_time end_ = rsl_now() + RSL_SEC(20);       \
        while (!(condition) && rsl_now() < end_) {     \
            nap(RSL_US(200));                          \
        }                                              \
        assert_true(condition);                        \
    } while (0)

/* ------------------------------------------------------------------- helpers */

/* A pool in real time, with a gate before its creations. */
typedef struct yard {
    rsl_pool      *pool;
    factory        factory;
    _Atomic int    closed;      /* while not 0, creations stand before the gate */
    _Atomic int    at_gate;     /* how many stand there */
    _Atomic int    answer;      /* of a close from within: 1: refused, 2: anything else */
    _Atomic int    live_max;    /* most resources at a time */
    rsl_time       takes;       /* each creation sleeps this long */
    pthread_t      tester;
    _Atomic int    by_tester;   /* creations by the test's own thread */
    long           live;
} yard;

static void at_the_gate(factory *f, factory_step step, thing *t)
{
    (void)t;
    yard *y = f->arg;
    if (step != MAKING) {
        return;
    }
    if (pthread_equal(pthread_self(), y->tester)) {
        atomic_fetch_add(&y->by_tester, 1);
    }
    atomic_fetch_add(&y->at_gate, 1);
    while (atomic_load(&y->closed) != 0) {
        nap(RSL_US(200));
    }
    atomic_fetch_sub(&y->at_gate, 1);
    if (y->takes > 0) {
        nap(y->takes);
    }
    int live = factory_live(f) + 1, most = atomic_load(&y->live_max);
    while (live > most && !atomic_compare_exchange_weak(&y->live_max, &most, live)) {
    }
}

static void yard_start(yard *y, rsl_pool_config config)
{
    memset(y, 0, sizeof(*y));
    y->live = support_live();
    y->tester = pthread_self();
    y->factory.during = at_the_gate;
    y->factory.arg = y;
    config.create = config.create != NULL ? config.create : factory_create;
    config.destroy = factory_destroy;
    config.abandon = factory_abandon;
    config.user = &y->factory;
    const char *why = rsl_pool_config_check(&config);
    if (why != NULL) {
        fail_msg("config refused: %s", why);
    }
    assert_int_equal(rsl_pool_open(&y->pool, &config), RSL_OK);
}

static void yard_start_sized(yard *y, uint32_t size_max)
{
    rsl_pool_config config = {.size_max = size_max};
    yard_start(y, config);
}

static void yard_end(yard *y)
{
    rsl_ctx ctx = rsl_within(RSL_SEC(20));
    assert_int_equal(rsl_pool_close(y->pool, &ctx), RSL_OK);
    assert_int_equal(factory_live(&y->factory), 0);
    assert_true(support_live() == y->live);
}

/* The pool may still have in hand what its guests gave back. */
static void yard_expect_sound(yard *y)
{
    EVENTUALLY(stats_of_pool(y->pool).idle == stats_of_pool(y->pool).open);
    rsl_pool_stats stats = stats_of_pool(y->pool);
    assert_int_equal(stats.in_use, 0);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.open, stats.idle);
    assert_true(stats.created - stats.destroyed == stats.open);
    assert_int_equal(factory_live(&y->factory), stats.open);
}

static rsl_pool_lease yard_take(yard *y)
{
    rsl_pool_lease lease;
    rsl_ctx ctx = rsl_within(RSL_SEC(20));
    assert_int_equal(rsl_pool_acquire(y->pool, &ctx, &lease), RSL_OK);
    return lease;
}

static void yard_give(yard *y, rsl_pool_lease *lease)
{
    assert_int_equal(rsl_pool_release(y->pool, lease), RSL_OK);
}

/* A thread that acquires once, keeps what it got until told, and gives back. */
typedef struct customer {
    yard          *y;
    pthread_t      thread;
    rsl_time       patience;
    rsl_cancel    *cancel;
    _Atomic int    leave;       /* may give back */
    _Atomic int    done;        /* has acquired, or failed to */
    int            rc;
    int            number;      /* of the thing that it got */
    rsl_time       waited;
    rsl_time       works;       /* how long it keeps it (0: until told) */
    bool           breaks;
    uint64_t       self;
} customer;

static void *customer_main(void *arg)
{
    customer *c = arg;
    rsl_pool_lease lease;
    rsl_ctx ctx = rsl_within(c->patience);
    ctx.cancel = c->cancel;
    c->self = (uint64_t)(uintptr_t)pthread_self();
    rsl_time began = rsl_now();
    c->rc = rsl_pool_acquire(c->y->pool, &ctx, &lease);
    c->waited = rsl_now() - began;
    if (c->rc == RSL_OK) {
        c->number = thing_of(&lease)->number;
    }
    atomic_store(&c->done, 1);
    if (c->rc != RSL_OK) {
        return NULL;
    }
    if (c->works > 0) {
        nap(c->works);
    }
    while (c->works == 0 && atomic_load(&c->leave) == 0) {
        nap(RSL_US(200));
    }
    c->rc = c->breaks ? rsl_pool_discard(c->y->pool, &lease)
                      : rsl_pool_release(c->y->pool, &lease);
    return NULL;
}

static void customer_come(customer *c, yard *y, rsl_time patience)
{
    c->y = y;
    c->patience = patience;
    assert_int_equal(pthread_create(&c->thread, NULL, customer_main, c), 0);
}

/* Comes, and stands in the queue as the n-th. */
static void customer_queue(customer *c, yard *y, rsl_time patience, uint32_t nth)
{
    customer_come(c, y, patience);
    EVENTUALLY(stats_of_pool(y->pool).waiting == nth);
}

static void customer_go(customer *c)
{
    atomic_store(&c->leave, 1);
    assert_int_equal(pthread_join(c->thread, NULL), 0);
}

/* ---------------------------------------------------------- its own threads */

static void its_threads_fill_the_pool_up_to_its_least_size(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_min = 3, .size_max = 5};
    yard_start(&y, config);
    EVENTUALLY(stats_of_pool(y.pool).idle == 3);
    nap(RSL_MS(5));
    assert_int_equal(stats_of_pool(y.pool).open, 3);
    yard_end(&y);
}

static void opening_and_closing_leaves_no_thread_behind(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < 20; i++) {
        yard y;
        rsl_pool_config config = {.size_max = 4, .size_min = i % 3, .creating_max = i % 5 + 1};
        yard_start(&y, config);
        yard_end(&y);
    }
}

static void nothing_is_created_on_the_thread_of_an_acquirer(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 4);
    rsl_pool_lease leases[4];
    for (int i = 0; i < 4; i++) {
        leases[i] = yard_take(&y);
    }
    assert_int_equal(atomic_load(&y.by_tester), 0);
    for (int i = 0; i < 4; i++) {
        yard_give(&y, &leases[i]);
    }
    yard_expect_sound(&y);
    yard_end(&y);
}

static void its_threads_close_what_is_idle_for_too_long(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 3, .size_min = 1, .idle_timeout = RSL_MS(30)};
    yard_start(&y, config);
    rsl_pool_lease leases[3];
    for (int i = 0; i < 3; i++) {
        leases[i] = yard_take(&y);
    }
    for (int i = 0; i < 3; i++) {
        yard_give(&y, &leases[i]);
    }
    EVENTUALLY(stats_of_pool(y.pool).open == 1);
    assert_true(stats_of_pool(y.pool).closed_idle == 2);
    yard_end(&y);
}

static void its_threads_destroy_what_is_outdated_and_fill_up_again(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 3, .size_min = 2};
    yard_start(&y, config);
    EVENTUALLY(stats_of_pool(y.pool).idle == 2);
    rsl_pool_invalidate_all(y.pool);
    EVENTUALLY(stats_of_pool(y.pool).closed_invalidated == 2);
    EVENTUALLY(stats_of_pool(y.pool).idle == 2);
    yard_end(&y);
}

static void a_creation_that_heals_at_300_ms_serves_who_may_wait_longer(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 1);
    atomic_store(&y.factory.fail_with, -5);
    customer c;
    memset(&c, 0, sizeof(c));
    customer_come(&c, &y, RSL_SEC(20));
    nap(RSL_MS(300));
    atomic_store(&y.factory.fail_with, 0);
    EVENTUALLY(atomic_load(&c.done) == 1);
    customer_go(&c);
    assert_int_equal(c.rc, RSL_OK);
    assert_true(c.waited >= RSL_MS(290));
    yard_expect_sound(&y);
    yard_end(&y);
}

/* A creation that hangs: releases, hand-off and maintenance go on. */
static void one_stuck_creation_does_not_wedge_the_pool(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 3, .idle_timeout = RSL_MS(30)};
    yard_start(&y, config);
    rsl_pool_lease lease = yard_take(&y);
    atomic_store(&y.closed, 1);
    customer first, second;
    memset(&first, 0, sizeof(first));
    memset(&second, 0, sizeof(second));
    customer_queue(&first, &y, RSL_SEC(20), 1);
    EVENTUALLY(atomic_load(&y.at_gate) == 1);
    yard_give(&y, &lease);
    EVENTUALLY(atomic_load(&first.done) == 1);
    customer_queue(&second, &y, RSL_SEC(20), 1);
    customer_go(&first);
    assert_int_equal(first.rc, RSL_OK);
    EVENTUALLY(atomic_load(&second.done) == 1);
    customer_go(&second);
    assert_int_equal(second.rc, RSL_OK);
    EVENTUALLY(stats_of_pool(y.pool).closed_idle == 1);
    assert_int_equal(atomic_load(&y.at_gate), 1);
    assert_int_equal(rsl_pool_resize(y.pool, 0, 4), RSL_OK);
    rsl_pool_invalidate_all(y.pool);
    atomic_store(&y.closed, 0);
    EVENTUALLY(stats_of_pool(y.pool).creating == 0);
    yard_end(&y);
}

static void with_two_creators_one_stuck_creation_leaves_the_other(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 3, .creating_max = 2};
    yard_start(&y, config);
    atomic_store(&y.closed, 1);
    customer c[2];
    memset(c, 0, sizeof(c));
    customer_come(&c[0], &y, RSL_SEC(20));
    customer_come(&c[1], &y, RSL_SEC(20));
    EVENTUALLY(atomic_load(&y.at_gate) == 2);
    assert_int_equal(stats_of_pool(y.pool).creating, 2);
    atomic_store(&y.closed, 0);
    for (int i = 0; i < 2; i++) {
        EVENTUALLY(atomic_load(&c[i].done) == 1);
        customer_go(&c[i]);
        assert_int_equal(c[i].rc, RSL_OK);
    }
    yard_end(&y);
}

static void no_more_creations_run_at_once_than_allowed(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 8, .creating_max = 2};
    yard_start(&y, config);
    atomic_store(&y.closed, 1);
    rsl_time began = rsl_now();
    customer c[6];
    memset(c, 0, sizeof(c));
    for (int i = 0; i < 6; i++) {
        customer_come(&c[i], &y, RSL_SEC(20));
    }
    EVENTUALLY(stats_of_pool(y.pool).waiting == 6);
    EVENTUALLY(atomic_load(&y.at_gate) >= 2);
    nap(RSL_MS(10));
    /* One that is out for a second is taken as stuck, and lets one more begin. */
    int stuck = rsl_now() - began > RSL_MS(900);
    assert_in_range(atomic_load(&y.at_gate), 2, 2 + stuck);
    atomic_store(&y.closed, 0);
    for (int i = 0; i < 6; i++) {
        customer_go(&c[i]);
        assert_int_equal(c[i].rc, RSL_OK);
    }
    yard_expect_sound(&y);
    yard_end(&y);
}

/* Size 2, the creator blocked until six acquirers queue, then errors: six errors, no sleeper. The
   next creation would come too late for all of them, however slowly they came. */
static void six_who_wait_for_a_creation_that_fails_get_six_errors(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 2, .create_backoff = RSL_SEC(100)};
    yard_start(&y, config);
    atomic_store(&y.closed, 1);
    customer c[6];
    memset(c, 0, sizeof(c));
    for (uint32_t i = 0; i < 6; i++) {
        customer_queue(&c[i], &y, RSL_SEC(20), i + 1);
    }
    EVENTUALLY(atomic_load(&y.at_gate) >= 1); /* 2: the first is out for so long as to be stuck */
    atomic_store(&y.factory.fail_with, -77);
    atomic_store(&y.closed, 0);
    for (int i = 0; i < 6; i++) {
        customer_go(&c[i]);
        assert_int_equal(c[i].rc, -77);
        assert_true(c[i].waited < RSL_SEC(10));
    }
    rsl_pool_stats stats = stats_of_pool(y.pool);
    assert_true(stats.timed_out == 6 && stats.waiting == 0 && stats.open == 0);
    yard_end(&y);
}

/* Connecting takes 150 ms, work 2 ms, 50 threads at once, 5 to 50: the work is done by those that
   were open and the one that was begun. */
static void a_spike_of_fifty_threads_opens_one_more_connection_at_most(void **unused)
{
    (void)unused;
    enum { THREADS = 50 };
    static customer c[THREADS];
    yard y;
    rsl_pool_config config = {.size_min = 5, .size_max = 50};
    yard_start(&y, config);
    EVENTUALLY(stats_of_pool(y.pool).idle == 5);
    y.takes = RSL_MS(150);
    memset(c, 0, sizeof(c));
    rsl_time began = rsl_now();
    for (int i = 0; i < THREADS; i++) {
        c[i].works = RSL_MS(2);
        customer_come(&c[i], &y, RSL_SEC(20));
    }
    for (int i = 0; i < THREADS; i++) {
        customer_go(&c[i]);
        assert_int_equal(c[i].rc, RSL_OK);
    }
    rsl_time took = rsl_now() - began;
    EVENTUALLY(stats_of_pool(y.pool).creating == 0);
    int slow = (int)(took / RSL_MS(150)); /* a machine that is too busy for the figures */
    assert_true(atomic_load(&y.live_max) <= 6 + slow);
    yard_expect_sound(&y);
    yard_end(&y);
}

/* --------------------------------------------------------- waiting in threads */

static void threads_that_queued_one_after_another_are_served_in_order(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 1);
    rsl_pool_lease lease = yard_take(&y);
    customer c[6];
    memset(c, 0, sizeof(c));
    for (uint32_t i = 0; i < 6; i++) {
        customer_queue(&c[i], &y, RSL_SEC(20), i + 1);
    }
    yard_give(&y, &lease);
    for (int i = 0; i < 6; i++) {
        EVENTUALLY(atomic_load(&c[i].done) == 1);
        for (int j = i + 1; j < 6; j++) {
            assert_int_equal(atomic_load(&c[j].done), 0);
        }
        customer_go(&c[i]);
        assert_int_equal(c[i].rc, RSL_OK);
    }
    yard_expect_sound(&y);
    yard_end(&y);
}

static void after_three_acquirers_were_cancelled_the_next_release_serves_the_next(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 3);
    rsl_pool_lease leases[3];
    for (int i = 0; i < 3; i++) {
        leases[i] = yard_take(&y);
    }
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    customer c[4];
    memset(c, 0, sizeof(c));
    for (uint32_t i = 0; i < 3; i++) {
        c[i].cancel = &cancel;
        customer_queue(&c[i], &y, RSL_SEC(20), i + 1);
    }
    rsl_cancel_fire(&cancel);
    for (int i = 0; i < 3; i++) {
        customer_go(&c[i]);
        assert_int_equal(c[i].rc, RSL_ECANCELED);
        assert_true(c[i].waited < RSL_SEC(10));
    }
    customer_queue(&c[3], &y, RSL_SEC(20), 1);
    yard_give(&y, &leases[0]);
    EVENTUALLY(atomic_load(&c[3].done) == 1);
    customer_go(&c[3]);
    assert_int_equal(c[3].rc, RSL_OK);
    yard_give(&y, &leases[1]);
    yard_give(&y, &leases[2]);
    rsl_cancel_deinit(&cancel);
    yard_expect_sound(&y);
    yard_end(&y);
}

static void a_lease_may_be_given_back_by_another_thread(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 1);
    for (int i = 0; i < 10; i++) {
        customer c;
        memset(&c, 0, sizeof(c));
        customer_come(&c, &y, RSL_SEC(20));
        EVENTUALLY(atomic_load(&c.done) == 1);
        rsl_pool_holder holder;
        assert_int_equal(rsl_pool_holders(y.pool, &holder, 1), 1);
#ifdef __linux__
        assert_true(holder.thread == c.self || holder.thread == 0);
#endif
        customer_go(&c);
        assert_int_equal(c.rc, RSL_OK);
    }
    yard_expect_sound(&y);
    yard_end(&y);
}

typedef struct errand {
    rsl_pool       *pool;
    rsl_pool_lease  lease;
    _Atomic int    *go;
    bool            discards;
    int             rc;
} errand;

static void *give_back_of_another(void *arg)
{
    errand *e = arg;
    while (e->go != NULL && atomic_load(e->go) == 0) {
    }
    e->rc = e->discards ? rsl_pool_discard(e->pool, &e->lease)
                        : rsl_pool_release(e->pool, &e->lease);
    return NULL;
}

static void what_one_thread_acquired_another_may_release(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 2);
    errand e = {.pool = y.pool, .lease = yard_take(&y)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, give_back_of_another, &e), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(e.rc, RSL_OK);
    yard_expect_sound(&y);
    yard_end(&y);
}

static void of_two_releases_at_once_one_counts(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 1);
    for (int i = 0; i < 200; i++) {
        _Atomic int go = 0;
        rsl_pool_lease lease = yard_take(&y);
        errand e[2] = {{y.pool, lease, &go, false, 0}, {y.pool, lease, &go, i % 2 == 1, 0}};
        pthread_t threads[2];
        for (int j = 0; j < 2; j++) {
            assert_int_equal(pthread_create(&threads[j], NULL, give_back_of_another, &e[j]), 0);
        }
        atomic_store(&go, 1);
        for (int j = 0; j < 2; j++) {
            assert_int_equal(pthread_join(threads[j], NULL), 0);
        }
        assert_int_equal((e[0].rc == RSL_OK) + (e[1].rc == RSL_OK), 1);
        assert_int_equal((e[0].rc == RSL_EINVAL) + (e[1].rc == RSL_EINVAL), 1);
        yard_expect_sound(&y);
    }
    yard_end(&y);
}

static void no_thread_hoards_what_it_used_last(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 2);
    customer c[2];
    memset(c, 0, sizeof(c));
    for (int i = 0; i < 2; i++) {
        customer_come(&c[i], &y, RSL_SEC(20));
        EVENTUALLY(atomic_load(&c[i].done) == 1);
    }
    customer_go(&c[0]);
    customer_go(&c[1]);
    rsl_pool_lease leases[2];
    assert_int_equal(rsl_pool_try(y.pool, &leases[0]), RSL_OK);
    assert_int_equal(rsl_pool_try(y.pool, &leases[1]), RSL_OK);
    yard_give(&y, &leases[0]);
    yard_give(&y, &leases[1]);
    assert_int_equal(atomic_load(&y.factory.made), 2);
    yard_end(&y);
}

static void exhausting_one_pool_leaves_the_other_alone(void **unused)
{
    (void)unused;
    yard reads, writes;
    yard_start_sized(&writes, 1);
    yard_start_sized(&reads, 1);
    rsl_pool_lease lease = yard_take(&writes);
    customer c[4];
    memset(c, 0, sizeof(c));
    for (uint32_t i = 0; i < 4; i++) {
        customer_queue(&c[i], &writes, RSL_SEC(20), i + 1);
    }
    for (int i = 0; i < 100; i++) {
        rsl_pool_lease other = yard_take(&reads);
        yard_give(&reads, &other);
    }
    rsl_pool_stats stats = stats_of_pool(reads.pool);
    assert_true(stats.acquired == 100 && stats.waited == 1);
    yard_give(&writes, &lease);
    for (int i = 0; i < 4; i++) {
        customer_go(&c[i]);
        assert_int_equal(c[i].rc, RSL_OK);
    }
    yard_end(&reads);
    yard_end(&writes);
}

static void pausing_holds_threads_until_resumed(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 2);
    rsl_pool_lease lease = yard_take(&y);
    yard_give(&y, &lease);
    assert_int_equal(rsl_pool_pause(y.pool), RSL_OK);
    customer c;
    memset(&c, 0, sizeof(c));
    customer_queue(&c, &y, RSL_SEC(20), 1);
    nap(RSL_MS(5));
    assert_int_equal(atomic_load(&c.done), 0);
    assert_int_equal(rsl_pool_resume(y.pool), RSL_OK);
    EVENTUALLY(atomic_load(&c.done) == 1);
    customer_go(&c);
    assert_int_equal(c.number, 1);
    yard_end(&y);
}

typedef struct loop_guest {
    guest       g;
    _Atomic int rung;
} loop_guest;

static void ring(void *user)
{
    atomic_fetch_add(&((loop_guest *)user)->rung, 1);
}

static void a_loop_is_woken_by_the_pools_own_threads(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 2);
    loop_guest l;
    memset(&l, 0, sizeof(l));
    l.g.waiter.wake = ring;
    l.g.waiter.user = &l;
    assert_int_equal(rsl_pool_begin(y.pool, NULL, &l.g.waiter, &l.g.lease), RSL_WAIT);
    EVENTUALLY(atomic_load(&l.rung) == 1);
    assert_int_equal(rsl_pool_poll(y.pool, &l.g.waiter, &l.g.lease, rsl_now()), RSL_OK);
    yard_give(&y, &l.g.lease);
    yard_expect_sound(&y);
    yard_end(&y);
}

/* ------------------------------------------------------- the caller maintains */

static void start_maintained(yard *y, uint32_t size_max)
{
    rsl_pool_config config = {.size_max = size_max, .caller_maintains = true};
    yard_start(y, config);
}

static void who_waits_creates_when_another_discards(void **unused)
{
    (void)unused;
    yard y;
    start_maintained(&y, 1);
    rsl_pool_lease lease = yard_take(&y);
    assert_int_equal(atomic_load(&y.by_tester), 1);
    customer c[2];
    memset(c, 0, sizeof(c));
    customer_queue(&c[0], &y, RSL_SEC(20), 1);
    customer_queue(&c[1], &y, RSL_SEC(20), 2);
    assert_int_equal(rsl_pool_discard(y.pool, &lease), RSL_OK);
    EVENTUALLY(atomic_load(&c[0].done) == 1);
    assert_int_equal(c[0].number, 2);
    customer_go(&c[0]);
    customer_go(&c[1]);
    assert_true(c[0].waited < RSL_SEC(10) && c[1].waited < RSL_SEC(10));
    yard_expect_sound(&y);
    yard_end(&y);
}

static void who_waits_creates_when_the_pool_grows(void **unused)
{
    (void)unused;
    yard y;
    start_maintained(&y, 1);
    rsl_pool_lease lease = yard_take(&y);
    customer c[3];
    memset(c, 0, sizeof(c));
    for (uint32_t i = 0; i < 3; i++) {
        customer_queue(&c[i], &y, RSL_SEC(20), i + 1);
    }
    assert_int_equal(rsl_pool_resize(y.pool, 0, 4), RSL_OK);
    for (int i = 0; i < 3; i++) {
        EVENTUALLY(atomic_load(&c[i].done) == 1);
    }
    for (int i = 0; i < 3; i++) {
        customer_go(&c[i]);
        assert_int_equal(c[i].rc, RSL_OK);
    }
    yard_give(&y, &lease);
    yard_expect_sound(&y);
    yard_end(&y);
}

static void when_the_one_in_charge_of_creating_leaves_another_takes_over(void **unused)
{
    (void)unused;
    yard y;
    start_maintained(&y, 1);
    atomic_store(&y.factory.fail_with, -5);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    customer c[3];
    memset(c, 0, sizeof(c));
    c[0].cancel = &cancel;
    customer_come(&c[0], &y, RSL_SEC(20));
    EVENTUALLY(atomic_load(&y.factory.failed) >= 3);
    customer_queue(&c[1], &y, RSL_SEC(20), 2);
    customer_queue(&c[2], &y, RSL_SEC(20), 3);
    rsl_cancel_fire(&cancel);
    customer_go(&c[0]);
    assert_int_equal(c[0].rc, RSL_ECANCELED);
    atomic_store(&y.factory.fail_with, 0);
    EVENTUALLY(atomic_load(&c[1].done) + atomic_load(&c[2].done) >= 1);
    customer_go(&c[1]);
    customer_go(&c[2]);
    assert_int_equal(c[1].rc, RSL_OK);
    assert_int_equal(c[2].rc, RSL_OK);
    rsl_cancel_deinit(&cancel);
    yard_expect_sound(&y);
    yard_end(&y);
}

static void a_stuck_creator_does_not_keep_others_from_releases(void **unused)
{
    (void)unused;
    yard y;
    start_maintained(&y, 2);
    rsl_pool_lease lease = yard_take(&y);
    atomic_store(&y.closed, 1);
    customer c[2];
    memset(c, 0, sizeof(c));
    customer_come(&c[0], &y, RSL_SEC(20));
    EVENTUALLY(atomic_load(&y.at_gate) == 1);
    customer_queue(&c[1], &y, RSL_SEC(20), 2);
    yard_give(&y, &lease);
    rsl_pool_lease again;
    assert_true(rsl_pool_try(y.pool, &again) == RSL_EFULL);
    atomic_store(&y.closed, 0);
    customer_go(&c[0]);
    customer_go(&c[1]);
    assert_int_equal(c[0].rc, RSL_OK);
    assert_int_equal(c[1].rc, RSL_OK);
    yard_expect_sound(&y);
    yard_end(&y);
}

/* ------------------------------------------------------------ bursts, clocks */

/* One thread that leases faster than the coarse clock ticks: what it skips must not show. */
static void a_burst_of_leases_is_counted_exactly_and_checked(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 2);
    enum { BURST = 20000 };
    for (int i = 0; i < BURST; i++) {
        rsl_pool_lease lease, copy;
        assert_int_equal(rsl_pool_acquire(y.pool, NULL, &lease), RSL_OK);
        copy = lease;
        assert_int_equal(rsl_pool_release(y.pool, &lease), RSL_OK);
        if (i % 1000 == 999) {
            assert_int_equal(rsl_pool_release(y.pool, &copy), RSL_EINVAL);
        }
    }
    rsl_pool_stats stats = stats_of_pool(y.pool);
    assert_true(stats.acquired == BURST && stats.idle == 1 && stats.created == 1);
    assert_true(stats.use_total >= 0 && stats.use_max <= RSL_SEC(100));
    yard_end(&y);
}

/* Without a ctx, the quickest way. */
static rsl_pool_lease burst_take(yard *y)
{
    rsl_pool_lease lease;
    assert_int_equal(rsl_pool_acquire(y->pool, NULL, &lease), RSL_OK);
    return lease;
}

static void in_a_burst_what_is_outdated_is_not_leased(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 2);
    for (int i = 1; i <= 30; i++) {
        for (int j = 0; j < 100; j++) {
            rsl_pool_lease lease = burst_take(&y);
            assert_int_equal(thing_of(&lease)->number, i);
            yard_give(&y, &lease);
        }
        rsl_pool_invalidate_all(y.pool);
    }
    yard_end(&y);
}

static void in_a_burst_a_pause_is_obeyed(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 2);
    for (int i = 0; i < 30; i++) {
        for (int j = 0; j < 100; j++) {
            rsl_pool_lease lease = burst_take(&y);
            yard_give(&y, &lease);
        }
        rsl_pool_lease none;
        assert_int_equal(rsl_pool_pause(y.pool), RSL_OK);
        assert_int_equal(rsl_pool_try(y.pool, &none), RSL_EFULL);
        rsl_ctx ctx = rsl_within(RSL_US(10));
        assert_int_equal(rsl_pool_acquire(y.pool, &ctx, &none), RSL_ETIMEOUT);
        assert_int_equal(rsl_pool_resume(y.pool), RSL_OK);
    }
    yard_end(&y);
}

static void in_a_burst_uses_are_counted_exactly(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 1, .uses_max = 70};
    yard_start(&y, config);
    for (int i = 0; i < 2100; i++) {
        rsl_pool_lease lease = burst_take(&y);
        assert_int_equal(thing_of(&lease)->number, 1 + i / 70);
        yard_give(&y, &lease);
    }
    assert_true(stats_of_pool(y.pool).closed_uses == 30);
    yard_end(&y);
}

static void burst_past_a_life(bool caller_maintains)
{
    yard y;
    rsl_pool_config config = {.size_max = 1, .lifetime_max = RSL_MS(20),
                              .caller_maintains = caller_maintains};
    yard_start(&y, config);
    rsl_time end = rsl_now() + RSL_SEC(10);
    int last = 0;
    while (last < 4 && rsl_now() < end) {
        rsl_pool_lease lease = burst_take(&y);
        last = thing_of(&lease)->number;
        yard_give(&y, &lease);
    }
    assert_int_equal(last, 4);
    yard_end(&y);
}

static void in_a_burst_nothing_outlives_its_life(void **unused)
{
    (void)unused;
    burst_past_a_life(false);
    burst_past_a_life(true);
}

/* Threads of the pool's own, on a clock that the test moves. */
static void its_own_threads_follow_an_injected_clock(void **unused)
{
    (void)unused;
    yard y;
    shared_clock clock = {START};
    rsl_pool_config config = {.size_max = 2, .clock = shared_clock_as(&clock),
                              .idle_timeout = RSL_SEC(60), .acquire_timeout = RSL_SEC(5)};
    yard_start(&y, config);
    rsl_pool_lease leases[2], none;
    assert_int_equal(rsl_pool_acquire(y.pool, NULL, &leases[0]), RSL_OK);
    assert_int_equal(rsl_pool_acquire(y.pool, NULL, &leases[1]), RSL_OK);
    assert_true(atomic_load(&clock.now) == START); /* it stands while they create */
    assert_int_equal(rsl_pool_acquire(y.pool, NULL, &none), RSL_ETIMEOUT);
    assert_true(atomic_load(&clock.now) == START + RSL_SEC(5));
    yard_give(&y, &leases[0]);
    yard_give(&y, &leases[1]);
    atomic_store(&clock.now, START + RSL_SEC(65) - 1);
    nap(RSL_MS(20));
    assert_int_equal(stats_of_pool(y.pool).idle, 2);
    atomic_store(&clock.now, START + RSL_SEC(65));
    EVENTUALLY(stats_of_pool(y.pool).open == 0);
    assert_int_equal(rsl_pool_close(y.pool, NULL), RSL_OK);
    assert_true(support_live() == y.live);
}

static void on_an_injected_clock_a_failed_creation_is_retried_by_its_threads(void **unused)
{
    (void)unused;
    yard y;
    shared_clock clock = {START};
    rsl_pool_config config = {.size_max = 1, .clock = shared_clock_as(&clock),
                              .acquire_timeout = RSL_SEC(2)};
    yard_start(&y, config);
    atomic_store(&y.factory.fail_with, -5);
    rsl_pool_lease lease;
    assert_int_equal(rsl_pool_acquire(y.pool, NULL, &lease), -5);
    assert_in_range(atomic_load(&clock.now) - START, 0, RSL_SEC(2));
    atomic_store(&y.factory.fail_with, 0);
    atomic_fetch_add(&clock.now, RSL_SEC(10));
    assert_int_equal(rsl_pool_acquire(y.pool, NULL, &lease), RSL_OK);
    yard_give(&y, &lease);
    rsl_ctx ctx = {.deadline = atomic_load(&clock.now) + RSL_SEC(1)};
    assert_int_equal(rsl_pool_close(y.pool, &ctx), RSL_OK);
    assert_true(support_live() == y.live);
}

#ifdef __GLIBC__

/* No thread can be made while the stacks of new ones are to be larger than any memory. */
static bool refuse_threads(bool refused)
{
    static size_t usual;
    pthread_attr_t attributes;
    if (pthread_getattr_default_np(&attributes) != 0) {
        return false;
    }
    if (refused) {
        (void)pthread_attr_getstacksize(&attributes, &usual);
    }
    return pthread_attr_setstacksize(&attributes, refused ? SIZE_MAX / 4 : usual) == 0 &&
           pthread_setattr_default_np(&attributes) == 0;
}

static void without_a_thread_no_pool_opens_and_errno_says_why(void **unused)
{
    (void)unused;
    factory f;
    memset(&f, 0, sizeof(f));
    long live = support_live();
    rsl_pool_config config = {.create = factory_create, .destroy = factory_destroy, .user = &f};
    rsl_pool *pool = NULL;
    assert_true(refuse_threads(true));
    errno = 0;
    int rc = rsl_pool_open(&pool, &config);
    int error = errno;
    assert_true(refuse_threads(false));
    assert_int_equal(rc, RSL_ESYS);
    assert_true(error != 0);
    assert_null(pool);
    assert_true(support_live() == live);
}
#endif

/* ------------------------------------------------------------------- closing */

typedef struct closing {
    yard       *y;
    rsl_time    patience;
    int         rc;
    _Atomic int done;
} closing;

static void *close_it(void *arg)
{
    closing *c = arg;
    rsl_ctx ctx = rsl_within(c->patience);
    c->rc = rsl_pool_close(c->y->pool, &ctx);
    atomic_store(&c->done, 1);
    return NULL;
}

static void closing_waits_for_the_last_lease_and_answers_who_waits(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 1);
    rsl_pool_lease lease = yard_take(&y);
    customer c[3];
    memset(c, 0, sizeof(c));
    for (uint32_t i = 0; i < 3; i++) {
        customer_queue(&c[i], &y, RSL_SEC(20), i + 1);
    }
    closing end = {.y = &y, .patience = RSL_SEC(20)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, close_it, &end), 0);
    for (int i = 0; i < 3; i++) {
        customer_go(&c[i]);
        assert_int_equal(c[i].rc, RSL_ECLOSED);
    }
    nap(RSL_MS(5));
    assert_int_equal(atomic_load(&end.done), 0);
    assert_int_equal(rsl_pool_close(y.pool, NULL), RSL_EINVAL);
    yard_give(&y, &lease);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(end.rc, RSL_OK);
    assert_int_equal(factory_live(&y.factory), 0);
    assert_true(support_live() == y.live);
}

static void a_close_that_gave_up_can_be_repeated_while_late_releases_are_safe(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 2);
    rsl_pool_lease leases[2] = {yard_take(&y), yard_take(&y)};
    rsl_ctx ctx = rsl_within(RSL_MS(5));
    assert_int_equal(rsl_pool_close(y.pool, &ctx), RSL_ETIMEOUT);
    rsl_pool_holder holders[2];
    assert_int_equal(rsl_pool_holders(y.pool, holders, 2), 2);
#ifdef __linux__
    uint64_t self = (uint64_t)(uintptr_t)pthread_self();
    assert_true(holders[0].thread == self || holders[0].thread == 0);
#endif
    yard_give(&y, &leases[0]);
    ctx = rsl_within(RSL_MS(5));
    assert_int_equal(rsl_pool_close(y.pool, &ctx), RSL_ETIMEOUT);
    yard_give(&y, &leases[1]);
    yard_end(&y);
}

/* Waits for its ctx to end, as a connect that honours it does. */
static int create_slowly(void *user, const rsl_ctx *ctx, void **resource)
{
    factory *f = user;
    yard *y = f->arg;
    (void)resource;
    atomic_fetch_add(&y->at_gate, 1);
    while (!rsl_cancel_fired(ctx->cancel) && rsl_left(ctx) > 0) {
        nap(RSL_US(500));
    }
    return rsl_cancel_fired(ctx->cancel) ? -8 : -9;
}

static void closing_cancels_creations(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 3, .size_min = 2, .creating_max = 2,
                              .create = create_slowly};
    yard_start(&y, config);
    EVENTUALLY(atomic_load(&y.at_gate) == 2);
    rsl_time began = rsl_now();
    assert_int_equal(rsl_pool_close(y.pool, NULL), RSL_OK);
    assert_true(rsl_now() - began < RSL_SEC(10));
    assert_true(support_live() == y.live);
}

static void closing_cancels_the_creation_of_an_acquirer_with_a_token_of_its_own(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 1, .caller_maintains = true, .create = create_slowly};
    yard_start(&y, config);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    customer c;
    memset(&c, 0, sizeof(c));
    c.cancel = &cancel;
    customer_come(&c, &y, RSL_SEC(20));
    EVENTUALLY(atomic_load(&y.at_gate) == 1);
    closing end = {.y = &y, .patience = RSL_SEC(10)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, close_it, &end), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    rsl_cancel_fire(&cancel);
    customer_go(&c);
    rsl_cancel_deinit(&cancel);
    assert_int_equal(c.rc, RSL_ECLOSED);
    assert_int_equal(end.rc, RSL_OK);
    assert_true(support_live() == y.live);
}

static void cancelling_an_acquirer_cancels_the_creation_that_it_makes(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 1, .caller_maintains = true, .create = create_slowly};
    yard_start(&y, config);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    customer c;
    memset(&c, 0, sizeof(c));
    c.cancel = &cancel;
    customer_come(&c, &y, RSL_SEC(20));
    EVENTUALLY(atomic_load(&y.at_gate) == 1);
    rsl_cancel_fire(&cancel);
    customer_go(&c);
    assert_int_equal(c.rc, RSL_ECANCELED);
    assert_true(c.waited < RSL_SEC(10));
    rsl_cancel_deinit(&cancel);
    yard_expect_sound(&y);
    yard_end(&y);
}

static void the_ctx_of_a_creation_ends_in_time(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 3, .create = create_slowly,
                              .acquire_timeout = RSL_MS(30), .create_backoff = RSL_SEC(5)};
    yard_start(&y, config);
    rsl_pool_lease lease;
    int rc = rsl_pool_acquire(y.pool, NULL, &lease);
    assert_true(rc == -9 || rc == RSL_ETIMEOUT);
    EVENTUALLY(stats_of_pool(y.pool).creating == 0);
    assert_true(stats_of_pool(y.pool).create_failed == 1);
    yard_end(&y);
}

static void close_from_within(factory *f, factory_step step, thing *t)
{
    (void)t;
    yard *y = f->arg;
    if (step == MAKING && atomic_load(&y->answer) == 0) {
        int rc = rsl_pool_close(y->pool, NULL);
        atomic_store(&y->answer, rc == RSL_EINVAL ? 1 : 2);
    }
}

static void a_callback_on_the_pools_thread_cannot_close_it(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 1);
    y.factory.during = close_from_within;
    rsl_pool_lease lease = yard_take(&y);
    assert_int_equal(atomic_load(&y.answer), 1);
    yard_give(&y, &lease);
    yard_end(&y);
}

static void call_the_pool(factory *f, factory_step step, thing *t)
{
    (void)step, (void)t;
    yard *y = f->arg;
    rsl_pool_lease lease;
    static _Thread_local int depth;
    if (depth > 0) {
        return;
    }
    depth++;
    (void)stats_of_pool(y->pool);
    (void)rsl_pool_health(y->pool);
    rsl_ctx ctx = rsl_within(RSL_MS(1));
    if (rsl_pool_acquire(y->pool, &ctx, &lease) == RSL_OK) {
        (void)rsl_pool_release(y->pool, &lease);
    }
    if (rsl_pool_try(y->pool, &lease) == RSL_OK) {
        (void)rsl_pool_discard(y->pool, &lease);
    }
    (void)rsl_pool_resize(y->pool, 0, 3);
    (void)rsl_pool_resize(y->pool, 0, 4);
    (void)rsl_pool_maintain(y->pool);
    depth--;
}

static void callbacks_on_any_thread_may_call_the_pool(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 4, .validate = factory_validate,
                              .reset = factory_reset, .validate_after = RSL_NONE,
                              .creating_max = 2};
    yard_start(&y, config);
    y.factory.during = call_the_pool;
    for (int i = 0; i < 20; i++) {
        rsl_pool_lease first = yard_take(&y), second = yard_take(&y);
        assert_true(first.resource != second.resource);
        yard_give(&y, &first);
        if (i % 2 == 0) {
            assert_int_equal(rsl_pool_discard(y.pool, &second), RSL_OK);
        } else {
            yard_give(&y, &second);
        }
    }
    EVENTUALLY(stats_of_pool(y.pool).creating == 0 && stats_of_pool(y.pool).in_use == 0);
    yard_expect_sound(&y);
    y.factory.during = NULL;
    yard_end(&y);
}

/* -------------------------------------------------------------------- races */

/* Threads that do one thing again and again; what went wrong is counted, for a test's assertions
   belong to its own thread. */
typedef struct crowd {
    yard        *y;
    int          rounds;
    rsl_time     patience;
    uint32_t     broken_percent;
    _Atomic int  wrong;      /* two had the same thing, or a release was refused */
    _Atomic int  served, late, failed;
    _Atomic int  seed;
    _Atomic int  stop;
} crowd;

/* A thing in two hands at once shows as two holders. */
static void hold_and_give_back(crowd *c, rsl_pool_lease *lease, bool breaks)
{
    thing *t = thing_of(lease);
    int *holders = &t->holders;
    if (__atomic_add_fetch(holders, 1, __ATOMIC_RELAXED) != 1) {
        atomic_fetch_add(&c->wrong, 1);
    }
    (void)__atomic_sub_fetch(holders, 1, __ATOMIC_RELAXED);
    int rc = breaks ? rsl_pool_discard(c->y->pool, lease) : rsl_pool_release(c->y->pool, lease);
    if (rc != RSL_OK) {
        atomic_fetch_add(&c->wrong, 1);
    }
}

static void *crowd_main(void *arg)
{
    crowd *c = arg;
    seeded_random random = {(uint64_t)atomic_fetch_add(&c->seed, 1) * 7919 + 12345};
    for (int i = 0; i < c->rounds && atomic_load(&c->stop) == 0; i++) {
        rsl_pool_lease lease;
        rsl_time patience = c->patience;
        if (patience == 0) {
            patience = RSL_US(1) * (rsl_time)seeded_random_below(&random, 200);
        }
        rsl_ctx ctx = rsl_within(patience);
        int rc = rsl_pool_acquire(c->y->pool, &ctx, &lease);
        if (rc == RSL_OK) {
            atomic_fetch_add(&c->served, 1);
            hold_and_give_back(c, &lease, seeded_random_below(&random, 100) < c->broken_percent);
        } else if (rc == RSL_ETIMEOUT) {
            atomic_fetch_add(&c->late, 1);
        } else {
            atomic_fetch_add(&c->failed, 1);
        }
    }
    return NULL;
}

static void crowd_run(crowd *c, int threads)
{
    pthread_t thread[32];
    for (int i = 0; i < threads; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, crowd_main, c), 0);
    }
    for (int i = 0; i < threads; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&c->wrong), 0);
}

#ifdef UNDER_TSAN
enum { OPERATIONS = 2000 };
#else
enum { OPERATIONS = 10000 };
#endif

static void of_25_threads_with_10000_operations_each_no_resource_is_lost(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 10, .lifetime_max = RSL_MS(1), .creating_max = 2};
    yard_start(&y, config);
    crowd c = {.y = &y, .rounds = OPERATIONS, .patience = RSL_SEC(60), .broken_percent = 5};
    crowd_run(&c, 25);
    assert_int_equal(atomic_load(&c.served), 25 * OPERATIONS);
    EVENTUALLY(stats_of_pool(y.pool).creating == 0);
    rsl_pool_stats stats = stats_of_pool(y.pool);
    assert_true(stats.created - stats.destroyed == stats.open);
    assert_int_equal(stats.in_use, 0);
    assert_true(stats.acquired == 25 * OPERATIONS);
    assert_true(stats.closed_broken > 0 && stats.closed_lifetime > 0);
    assert_true(stats.destroyed == stats.closed_broken + stats.closed_lifetime);
    assert_true(atomic_load(&y.live_max) <= 10);
    yard_end(&y);
}

/* The moment between "nothing idle" and "queued": a release there must not be slept over. */
static void no_wake_up_is_lost_between_finding_nothing_idle_and_queueing(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 1);
    crowd c = {.y = &y, .rounds = OPERATIONS, .patience = RSL_SEC(20)};
    crowd_run(&c, 3);
    assert_int_equal(atomic_load(&c.served), 3 * OPERATIONS);
    yard_expect_sound(&y);
    assert_int_equal(atomic_load(&y.factory.made), 1);
    yard_end(&y);
}

static void no_resource_is_lost_in_the_race_of_timeouts_with_releases(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 2);
    crowd c = {.y = &y, .rounds = OPERATIONS / 10, .patience = 0, .broken_percent = 3};
    crowd_run(&c, 6);
    assert_int_equal(atomic_load(&c.failed), 0);
    assert_int_equal(atomic_load(&c.served) + atomic_load(&c.late), 6 * (OPERATIONS / 10));
    EVENTUALLY(stats_of_pool(y.pool).creating == 0);
    yard_expect_sound(&y);
    rsl_pool_lease leases[2] = {yard_take(&y), yard_take(&y)};
    yard_give(&y, &leases[0]);
    yard_give(&y, &leases[1]);
    yard_end(&y);
}

static void *meddler_main(void *arg)
{
    crowd *c = arg;
    for (uint32_t i = 0; atomic_load(&c->stop) == 0; i++) {
        switch (i % 6) {
        case 0: (void)rsl_pool_resize(c->y->pool, 0, 1 + i % 7); break;
        case 1: rsl_pool_invalidate_all(c->y->pool); break;
        case 2: (void)rsl_pool_pause(c->y->pool); break;
        case 3: (void)rsl_pool_resume(c->y->pool); break;
        case 4: (void)rsl_pool_maintain(c->y->pool); break;
        default: (void)rsl_pool_health(c->y->pool); break;
        }
        nap(RSL_US(100));
    }
    (void)rsl_pool_resume(c->y->pool);
    (void)rsl_pool_resize(c->y->pool, 0, 4);
    return NULL;
}

static void run_meddled(rsl_pool_config config)
{
    yard y;
    yard_start(&y, config);
    crowd c = {.y = &y, .rounds = OPERATIONS / 5, .patience = RSL_SEC(20), .broken_percent = 2};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, meddler_main, &c), 0);
    crowd_run(&c, 5);
    atomic_store(&c.stop, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&c.served), 5 * (OPERATIONS / 5));
    EVENTUALLY(stats_of_pool(y.pool).creating == 0);
    yard_expect_sound(&y);
    assert_true(stats_of_pool(y.pool).open <= 4);
    yard_end(&y);
}

static void resizing_pausing_and_invalidating_under_load_lose_nobody(void **unused)
{
    (void)unused;
    rsl_pool_config config = {.size_max = 4};
    run_meddled(config);
}

static void the_same_holds_when_the_callers_maintain(void **unused)
{
    (void)unused;
    rsl_pool_config config = {.size_max = 4, .caller_maintains = true};
    run_meddled(config);
}

static void an_adaptive_pool_under_load_loses_nobody(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 6, .adaptive = true, .adaptive_window = RSL_MS(5)};
    yard_start(&y, config);
    crowd c = {.y = &y, .rounds = OPERATIONS / 5, .patience = RSL_SEC(20)};
    crowd_run(&c, 8);
    assert_int_equal(atomic_load(&c.served), 8 * (OPERATIONS / 5));
    EVENTUALLY(stats_of_pool(y.pool).size_now == 1);
    EVENTUALLY(stats_of_pool(y.pool).open <= 1);
    yard_expect_sound(&y);
    yard_end(&y);
}

static void creations_that_fail_now_and_then_leave_nobody_asleep(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_max = 2, .create_backoff = RSL_US(100),
                              .create_backoff_max = RSL_MS(1)};
    yard_start(&y, config);
    crowd c = {.y = &y, .rounds = OPERATIONS / 20, .patience = RSL_SEC(20),
               .broken_percent = 30};
    _Atomic int *fail_with = &y.factory.fail_with;
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, crowd_main, &c), 0);
    }
    for (int i = 0; i < 20; i++) {
        atomic_store(fail_with, i % 2 == 0 ? -5 : 0);
        nap(RSL_MS(2));
    }
    atomic_store(fail_with, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&c.wrong), 0);
    assert_int_equal(atomic_load(&c.served), 4 * (OPERATIONS / 20));
    EVENTUALLY(stats_of_pool(y.pool).creating == 0);
    yard_expect_sound(&y);
    yard_end(&y);
}

/* ---------------------------------------------------- a creation that hangs */

typedef struct hanging {
    rsl_pool   *pool;
    _Atomic int calls, go;
    int         rc;
} hanging;

static int hang_first(void *user, const rsl_ctx *ctx, void **resource)
{
    hanging *h = user;
    (void)ctx;
    if (atomic_fetch_add(&h->calls, 1) == 0) {
        while (atomic_load(&h->go) == 0) {
            nap(RSL_MS(1));
        }
    }
    *resource = h;
    return 0;
}

static void forget_it(void *user, void *resource)
{
    (void)user, (void)resource;
}

static void *be_stuck(void *arg)
{
    hanging *h = arg;
    rsl_pool_lease lease;
    h->rc = rsl_pool_acquire(h->pool, NULL, &lease);
    if (h->rc == RSL_OK) {
        h->rc = rsl_pool_release(h->pool, &lease);
    }
    return NULL;
}

static void others_are_served_beside_a_creation_that_hangs(rsl_pool_config config)
{
    hanging h;
    memset(&h, 0, sizeof(h));
    config.create = hang_first;
    config.destroy = forget_it;
    config.user = &h;
    assert_int_equal(rsl_pool_open(&h.pool, &config), RSL_OK);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, be_stuck, &h), 0);
    EVENTUALLY(atomic_load(&h.calls) == 1);
    rsl_ctx ctx = rsl_within(RSL_SEC(20));
    rsl_pool_lease lease;
    assert_int_equal(rsl_pool_acquire(h.pool, &ctx, &lease), RSL_OK);
    assert_int_equal(atomic_load(&h.go), 0);
    assert_int_equal(rsl_pool_release(h.pool, &lease), RSL_OK);
    atomic_store(&h.go, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(h.rc, RSL_OK);
    assert_int_equal(rsl_pool_close(h.pool, NULL), RSL_OK);
}

static void a_creation_that_hangs_wedges_nobody_else(void **unused)
{
    (void)unused;
    rsl_pool_config config = {.size_max = 3};
    others_are_served_beside_a_creation_that_hangs(config);
}

static void an_acquirer_that_hangs_in_create_is_passed_over(void **unused)
{
    (void)unused;
    rsl_pool_config config = {.size_max = 3, .creating_max = 3, .caller_maintains = true};
    others_are_served_beside_a_creation_that_hangs(config);
    config.creating_max = 1;
    others_are_served_beside_a_creation_that_hangs(config);
}

/* -------------------------------------------------------------------- forks */

#ifndef _WIN32

/* Runs in a child, which must end in 0: the claim that does not hold otherwise. */
static void in_child(int (*run)(void *arg), void *arg)
{
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)alarm(30);
        leave_child(run(arg));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("the child ended with status 0x%x: claim %d", (unsigned)status,
                 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }
}

/* In a child no assertion of cmocka is of use: the number of the claim that does not hold. */
#define CLAIM(number, condition) \
    do {                         \
        if (!(condition)) {      \
            return number;       \
        }                        \
    } while (0)

typedef struct family {
    rig            r;
    rsl_pool_lease lease;   /* the parent's */
    int            grand;
} family;

static int child_of_a_maintained_pool(void *arg)
{
    family *f = arg;
    rig *r = &f->r;
    rsl_pool_lease stale = f->lease, copy = f->lease, mine;
    int made = atomic_load(&r->factory.made);
    CLAIM(1, rsl_pool_release(r->pool, &stale) == RSL_EINVAL);
    CLAIM(2, rsl_pool_discard(r->pool, &copy) == RSL_EINVAL);
    CLAIM(3, rsl_pool_acquire(r->pool, NULL, &mine) == RSL_OK);
    CLAIM(4, thing_of(&mine)->number == made + 1);
    CLAIM(5, atomic_load(&r->factory.abandoned) == 3);
    CLAIM(6, atomic_load(&r->factory.abandoned_number) == 1 + 2 + 3);
    CLAIM(7, atomic_load(&r->factory.destroyed) == 0);
    rsl_pool_stats stats = stats_of_pool(r->pool);
    CLAIM(8, stats.open == 1 && stats.in_use == 1 && stats.idle == 0 && stats.waiting == 0);
    CLAIM(9, rsl_pool_release(r->pool, &mine) == RSL_OK);
    CLAIM(10, rsl_pool_holders(r->pool, NULL, 0) == 0);
    copy = f->lease;
    CLAIM(11, rsl_pool_release(r->pool, &copy) == RSL_EINVAL);
    CLAIM(12, rsl_pool_try(r->pool, &mine) == RSL_OK && thing_of(&mine)->number == made + 1);
    CLAIM(13, rsl_pool_discard(r->pool, &mine) == RSL_OK);
    if (f->grand > 0) {
        f->grand--;
        f->lease = copy;
        CLAIM(14, rsl_pool_acquire(r->pool, NULL, &f->lease) == RSL_OK);
        pid_t child = fork();
        CLAIM(15, child >= 0);
        if (child == 0) {
            rsl_pool_lease inherited = f->lease;
            CLAIM(16, rsl_pool_release(r->pool, &inherited) == RSL_EINVAL);
            CLAIM(17, rsl_pool_acquire(r->pool, NULL, &mine) == RSL_OK);
            CLAIM(18, atomic_load(&r->factory.abandoned) == 4);
            CLAIM(19, rsl_pool_close(r->pool, &(rsl_ctx){.deadline = 1}) == RSL_ETIMEOUT);
            CLAIM(20, rsl_pool_release(r->pool, &mine) == RSL_OK);
            CLAIM(21, rsl_pool_close(r->pool, NULL) == RSL_OK);
            leave_child(0);
        }
        int status = 0;
        CLAIM(22, waitpid(child, &status, 0) == child && WIFEXITED(status));
        CLAIM(23, WEXITSTATUS(status) == 0);
        CLAIM(24, rsl_pool_release(r->pool, &f->lease) == RSL_OK);
    }
    int destroyed = atomic_load(&r->factory.destroyed);
    stats = stats_of_pool(r->pool);
    CLAIM(25, rsl_pool_close(r->pool, NULL) == RSL_OK);
    CLAIM(26, atomic_load(&r->factory.destroyed) - destroyed == (int)stats.open);
    return 0;
}

static void family_start(family *f)
{
    memset(f, 0, sizeof(*f));
    rsl_pool_config config = {.size_max = 4, .abandon = factory_abandon};
    rig_start(&f->r, config);
    warm(&f->r, 3);
    f->lease = take(&f->r);
}

/* The parent sees nothing of what its child did. */
static void family_end(family *f)
{
    rsl_pool_stats stats = stats_of(&f->r);
    assert_true(stats.open == 3 && stats.in_use == 1 && stats.destroyed == 0);
    assert_int_equal(atomic_load(&f->r.factory.abandoned), 0);
    give(&f->r, &f->lease);
    rsl_pool_lease lease = take(&f->r);
    assert_true(thing_of(&lease)->number <= 3);
    give(&f->r, &lease);
    rig_end(&f->r);
}

static void a_forked_child_forgets_and_makes_anew_and_the_parent_keeps_its_own(void **unused)
{
    (void)unused;
    family f;
    family_start(&f);
    in_child(child_of_a_maintained_pool, &f);
    in_child(child_of_a_maintained_pool, &f);
    family_end(&f);
}

static void a_grandchild_forgets_what_its_parent_made(void **unused)
{
    (void)unused;
    family f;
    family_start(&f);
    f.grand = 1;
    in_child(child_of_a_maintained_pool, &f);
    family_end(&f);
}

static int child_that_only_closes(void *arg)
{
    family *f = arg;
    CLAIM(1, rsl_pool_close(f->r.pool, NULL) == RSL_OK);
    CLAIM(2, atomic_load(&f->r.factory.destroyed) == 0);
    CLAIM(3, atomic_load(&f->r.factory.abandoned) == 3);
    return 0;
}

static void a_child_may_close_what_it_never_used(void **unused)
{
    (void)unused;
    family f;
    family_start(&f);
    in_child(child_that_only_closes, &f);
    family_end(&f);
}

static int child_that_leaves(void *arg)
{
    (void)arg;
    return 0;
}

static int child_that_reads(void *arg)
{
    family *f = arg;
    rsl_pool_stats stats = stats_of_pool(f->r.pool);
    CLAIM(1, stats.in_use == 0 && stats.open == stats.idle && stats.waiting == 0);
    CLAIM(2, rsl_pool_holders(f->r.pool, NULL, 0) == 0);
    CLAIM(3, (rsl_pool_health(f->r.pool) & (RSL_POOL_WAITING | RSL_POOL_NO_IDLE)) == 0);
    (void)rsl_pool_maintain(f->r.pool);
    CLAIM(4, atomic_load(&f->r.factory.destroyed) == 0);
    return 0;
}

static void a_child_that_never_touches_the_pool_or_only_looks_harms_nothing(void **unused)
{
    (void)unused;
    family f;
    family_start(&f);
    guest g;
    rsl_pool_lease more[3];
    take_many(&f.r, more, 3);
    guest_wait(&f.r, &g, RSL_SEC(1));
    in_child(child_that_leaves, &f);
    in_child(child_that_reads, &f);
    give(&f.r, &more[0]);
    expect_served(&f.r, &g);
    give(&f.r, &g.lease);
    give(&f.r, &more[1]);
    scrap(&f.r, &more[2]);
    give(&f.r, &f.lease);
    rsl_ctx ctx = within(&f.r, RSL_SEC(1));
    assert_int_equal(rsl_pool_close(f.r.pool, &ctx), RSL_OK);
    assert_int_equal(factory_live(&f.r.factory), 0);
}

#ifndef UNDER_TSAN /* which lets no thread start in a forked child */

static int child_of_a_pool_with_threads(void *arg)
{
    yard *y = arg;
    rsl_pool_lease lease;
    rsl_ctx ctx = rsl_within(RSL_SEC(20));
    int made = atomic_load(&y->factory.made);
    CLAIM(1, rsl_pool_acquire(y->pool, &ctx, &lease) == RSL_OK);
    CLAIM(2, thing_of(&lease)->number > made);
    CLAIM(3, atomic_load(&y->factory.destroyed) == 0);
    CLAIM(4, rsl_pool_release(y->pool, &lease) == RSL_OK);
    rsl_pool_invalidate_all(y->pool);
    ctx = rsl_within(RSL_SEC(20));
    CLAIM(5, rsl_pool_close(y->pool, &ctx) == RSL_OK);
    return 0;
}

static void in_a_child_the_pools_threads_start_again(void **unused)
{
    (void)unused;
    yard y;
    rsl_pool_config config = {.size_min = 2, .size_max = 4, .creating_max = 2};
    yard_start(&y, config);
    EVENTUALLY(stats_of_pool(y.pool).idle == 2);
    rsl_pool_lease lease = yard_take(&y);
    in_child(child_of_a_pool_with_threads, &y);
    assert_int_equal(stats_of_pool(y.pool).in_use, 1);
    yard_give(&y, &lease);
    assert_int_equal(atomic_load(&y.factory.made), 2);
    yard_expect_sound(&y);
    yard_end(&y);
}

#ifdef __GLIBC__
static int child_without_threads(void *arg)
{
    yard *y = arg;
    rsl_pool_lease lease;
    rsl_ctx ctx = rsl_within(RSL_SEC(20));
    CLAIM(4, refuse_threads(true));
    CLAIM(1, rsl_pool_acquire(y->pool, &ctx, &lease) == RSL_ESYS);
    CLAIM(2, rsl_pool_try(y->pool, &lease) == RSL_EFULL);
    CLAIM(3, rsl_pool_close(y->pool, &ctx) == RSL_OK);
    return 0;
}

static void a_child_that_gets_no_threads_is_told(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 2);
    rsl_pool_lease lease = yard_take(&y);
    in_child(child_without_threads, &y);
    yard_give(&y, &lease);
    yard_end(&y);
}
#endif

static int child_of_a_creation(void *arg)
{
    yard *y = arg;
    atomic_store(&y->closed, 0);
    return child_of_a_pool_with_threads(y);
}

static void a_fork_during_a_creation_and_a_wait_leaves_both_to_the_parent(void **unused)
{
    (void)unused;
    yard y;
    yard_start_sized(&y, 2);
    atomic_store(&y.closed, 1);
    customer c;
    memset(&c, 0, sizeof(c));
    customer_queue(&c, &y, RSL_SEC(20), 1);
    EVENTUALLY(atomic_load(&y.at_gate) == 1);
    in_child(child_of_a_creation, &y);
    atomic_store(&y.closed, 0);
    EVENTUALLY(atomic_load(&c.done) == 1);
    customer_go(&c);
    assert_int_equal(c.rc, RSL_OK);
    assert_int_equal(c.number, 1);
    yard_expect_sound(&y);
    yard_end(&y);
}

#ifndef UNDER_ASAN /* whose allocator's locks a fork may leave held */

static void fork_under_load(rsl_pool_config config, int forks)
{
    yard y;
    yard_start(&y, config);
    y.factory.during = NULL;
    crowd c = {.y = &y, .rounds = INT32_MAX, .patience = RSL_SEC(20), .broken_percent = 5};
    int sound = 0; /* children; asserted when no thread is left */
    pthread_t thread[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, crowd_main, &c), 0);
    }
    for (int i = 0; i < forks; i++) {
        (void)fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)alarm(30);
            atomic_store(&y.factory.destroyed, 0);
            leave_child(child_of_a_pool_with_threads(&y));
        }
        int status = -1;
        sound += waitpid(child, &status, 0) == child && status == 0;
    }
    atomic_store(&c.stop, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    }
    assert_int_equal(sound, forks);
    assert_int_equal(atomic_load(&c.wrong), 0);
    EVENTUALLY(stats_of_pool(y.pool).creating == 0);
    yard_expect_sound(&y);
    yard_end(&y);
}

static void a_fork_at_any_moment_finds_no_lock_held(void **unused)
{
    (void)unused;
    rsl_pool_config config = {.size_max = 2};
    fork_under_load(config, 30);
    config.caller_maintains = true;
    fork_under_load(config, 30);
}
#endif
#endif
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_threads_fill_the_pool_up_to_its_least_size),
        cmocka_unit_test(opening_and_closing_leaves_no_thread_behind),
        cmocka_unit_test(nothing_is_created_on_the_thread_of_an_acquirer),
        cmocka_unit_test(its_threads_close_what_is_idle_for_too_long),
        cmocka_unit_test(its_threads_destroy_what_is_outdated_and_fill_up_again),
        cmocka_unit_test(a_creation_that_heals_at_300_ms_serves_who_may_wait_longer),
        cmocka_unit_test(one_stuck_creation_does_not_wedge_the_pool),
        cmocka_unit_test(with_two_creators_one_stuck_creation_leaves_the_other),
        cmocka_unit_test(no_more_creations_run_at_once_than_allowed),
        cmocka_unit_test(six_who_wait_for_a_creation_that_fails_get_six_errors),
        cmocka_unit_test(a_spike_of_fifty_threads_opens_one_more_connection_at_most),
        cmocka_unit_test(threads_that_queued_one_after_another_are_served_in_order),
        cmocka_unit_test(after_three_acquirers_were_cancelled_the_next_release_serves_the_next),
        cmocka_unit_test(a_lease_may_be_given_back_by_another_thread),
        cmocka_unit_test(what_one_thread_acquired_another_may_release),
        cmocka_unit_test(of_two_releases_at_once_one_counts),
        cmocka_unit_test(no_thread_hoards_what_it_used_last),
        cmocka_unit_test(exhausting_one_pool_leaves_the_other_alone),
        cmocka_unit_test(pausing_holds_threads_until_resumed),
        cmocka_unit_test(a_loop_is_woken_by_the_pools_own_threads),
        cmocka_unit_test(who_waits_creates_when_another_discards),
        cmocka_unit_test(who_waits_creates_when_the_pool_grows),
        cmocka_unit_test(when_the_one_in_charge_of_creating_leaves_another_takes_over),
        cmocka_unit_test(a_stuck_creator_does_not_keep_others_from_releases),
        cmocka_unit_test(a_burst_of_leases_is_counted_exactly_and_checked),
        cmocka_unit_test(in_a_burst_what_is_outdated_is_not_leased),
        cmocka_unit_test(in_a_burst_a_pause_is_obeyed),
        cmocka_unit_test(in_a_burst_uses_are_counted_exactly),
        cmocka_unit_test(in_a_burst_nothing_outlives_its_life),
        cmocka_unit_test(its_own_threads_follow_an_injected_clock),
        cmocka_unit_test(on_an_injected_clock_a_failed_creation_is_retried_by_its_threads),
#ifdef __GLIBC__
        cmocka_unit_test(without_a_thread_no_pool_opens_and_errno_says_why),
#endif
        cmocka_unit_test(closing_waits_for_the_last_lease_and_answers_who_waits),
        cmocka_unit_test(a_close_that_gave_up_can_be_repeated_while_late_releases_are_safe),
        cmocka_unit_test(closing_cancels_creations),
        cmocka_unit_test(closing_cancels_the_creation_of_an_acquirer_with_a_token_of_its_own),
        cmocka_unit_test(a_creation_that_hangs_wedges_nobody_else),
        cmocka_unit_test(an_acquirer_that_hangs_in_create_is_passed_over),
        cmocka_unit_test(cancelling_an_acquirer_cancels_the_creation_that_it_makes),
        cmocka_unit_test(the_ctx_of_a_creation_ends_in_time),
        cmocka_unit_test(a_callback_on_the_pools_thread_cannot_close_it),
        cmocka_unit_test(callbacks_on_any_thread_may_call_the_pool),
        cmocka_unit_test(of_25_threads_with_10000_operations_each_no_resource_is_lost),
        cmocka_unit_test(no_wake_up_is_lost_between_finding_nothing_idle_and_queueing),
        cmocka_unit_test(no_resource_is_lost_in_the_race_of_timeouts_with_releases),
        cmocka_unit_test(resizing_pausing_and_invalidating_under_load_lose_nobody),
        cmocka_unit_test(the_same_holds_when_the_callers_maintain),
        cmocka_unit_test(an_adaptive_pool_under_load_loses_nobody),
        cmocka_unit_test(creations_that_fail_now_and_then_leave_nobody_asleep),
#ifndef _WIN32
        cmocka_unit_test(a_forked_child_forgets_and_makes_anew_and_the_parent_keeps_its_own),
        cmocka_unit_test(a_grandchild_forgets_what_its_parent_made),
        cmocka_unit_test(a_child_may_close_what_it_never_used),
        cmocka_unit_test(a_child_that_never_touches_the_pool_or_only_looks_harms_nothing),
#ifndef UNDER_TSAN
        cmocka_unit_test(in_a_child_the_pools_threads_start_again),
#ifdef __GLIBC__
        cmocka_unit_test(a_child_that_gets_no_threads_is_told),
#endif
        cmocka_unit_test(a_fork_during_a_creation_and_a_wait_leaves_both_to_the_parent),
#ifndef UNDER_ASAN
        cmocka_unit_test(a_fork_at_any_moment_finds_no_lock_held),
#endif
#endif
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
