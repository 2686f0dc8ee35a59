/* SPDX-License-Identifier: MIT
   stress_pool.c: many threads on one pool: storms of every kind of acquire, give-up and release
   while the pool is resized, paused and invalidated; turns, closes, crowds, keys and forks; and
   counts that must be exact once all is quiet. To be built with the thread and address sanitizers
   too. Prints TAP.                                                                             */
#include "support/allocator.h"

#define RSL_POOL_IMPLEMENTATION
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/support.h"

#if defined __SANITIZE_THREAD__
#define SLOW 1 /* and no thread may be started in a forked child */
#elif defined __SANITIZE_ADDRESS__
#define SLOW 1 /* and a fork may leave the allocator's locks held */
#elif defined __has_feature
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SLOW 1
#endif
#endif

enum {
    WORKERS = 8,
#ifdef SLOW
    STORM_STEPS = 6000,  /* of each worker in each storm */
    KEYED_STEPS = 3000,
    TURN_ROUNDS = 10,
    CLOSE_ROUNDS = 40,
    CROWD_CALLS = 40,
#else
    STORM_STEPS = 27000,
    KEYED_STEPS = 9000,
    TURN_ROUNDS = 30,
    CLOSE_ROUNDS = 150,
    CROWD_CALLS = 250,
    FORKS = 8,
#endif
    CROWD = 80,          /* threads alive at once, more than the pool keeps apart */
    CROWDS = 3,
    KEYS = 8,
    KEY_LIMIT = 2,
    KEYED_TOTAL = 6,
    ALIVE = 0x600D,
    DEAD = 0x0DD
};

/* Nobody waits for so long, unless forgotten. */
#define LONG_ENOUGH RSL_SEC(60)

/* ------------------------------------------------------------------- helpers */

static void bail_out(const char *why)
{
    printf("Bail out! %s\n", why);
    exit(1);
}

static pthread_t start_thread(void *(*work)(void *arg), void *arg)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, arg) != 0) {
        bail_out("no thread");
    }
    return thread;
}

static void nap(rsl_time span)
{
    struct timespec t = {(time_t)(span / RSL_SEC(1)), (long)(span % RSL_SEC(1))};
    nanosleep(&t, NULL);
}

static rsl_pool_stats stats_of(rsl_pool *pool)
{
    rsl_pool_stats stats;
    rsl_pool_stats_get(pool, &stats);
    return stats;
}

/* Rings when a waiter is woken. */
typedef struct bell {
    pthread_mutex_t lock;
    pthread_cond_t  rings;
    bool            rung; /* guarded by lock */
} bell;

static void bell_init(bell *b)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->rings, &attributes);
    pthread_condattr_destroy(&attributes);
    b->rung = false;
}

static void bell_deinit(bell *b)
{
    pthread_cond_destroy(&b->rings);
    pthread_mutex_destroy(&b->lock);
}

static void bell_ring(void *user)
{
    bell *b = user;
    pthread_mutex_lock(&b->lock);
    b->rung = true;
    pthread_cond_signal(&b->rings);
    pthread_mutex_unlock(&b->lock);
}

static void bell_await(bell *b, rsl_time span)
{
    rsl_time until = rsl_now() + span;
    struct timespec end = {(time_t)(until / RSL_SEC(1)), (long)(until % RSL_SEC(1))};
    pthread_mutex_lock(&b->lock);
    while (!b->rung && pthread_cond_timedwait(&b->rings, &b->lock, &end) == 0) {
    }
    b->rung = false;
    pthread_mutex_unlock(&b->lock);
}

/* ------------------------------------------------------------------- factory */

/* What is lent: to one at a time. */
typedef struct thing {
    _Atomic int holders, state;
    int         key;
} thing;

/* What all threads of a test share. */
typedef struct yard {
    rsl_pool       *pool;
    rsl_pools      *pools;
    _Atomic int     made, gone, fails_each; /* every so many-th creation fails (0: none) */
    _Atomic int     tries;
    _Atomic int     live_of[KEYS];
    _Atomic int     too_many;               /* of one key, or of all */
    _Atomic int     shared, dead_used;      /* resources lent twice, or after their end */
    _Atomic int     wrong;                  /* answers that may not be */
    _Atomic uint64_t leases, discards, seeds;
    _Atomic bool    over;
    bool            maintains;              /* who waits in a loop maintains the pool */
    rsl_cancel      tokens[WORKERS];
    bool            armed[WORKERS];         /* guarded by token_locks */
    pthread_mutex_t token_locks[WORKERS];
} yard;

static int make(yard *y, int key, void **resource)
{
    int fails_each = atomic_load(&y->fails_each), nth = atomic_fetch_add(&y->tries, 1) + 1;
    if (fails_each > 0 && nth % fails_each == 0) {
        return -5;
    }
    thing *made = calloc(1, sizeof *made);
    made->state = ALIVE;
    made->key = key;
    int live = atomic_fetch_add(&y->live_of[key], 1) + 1;
    int all = atomic_fetch_add(&y->made, 1) + 1 - atomic_load(&y->gone);
    if (y->pools != NULL && (live > KEY_LIMIT || all > KEYED_TOTAL)) {
        atomic_fetch_add(&y->too_many, 1);
    }
    *resource = made;
    return 0;
}

static int yard_create(void *user, const rsl_ctx *ctx, void **resource)
{
    (void)ctx;
    return make(user, 0, resource);
}

static int yard_create_of_key(void *user, const rsl_ctx *ctx, const char *key, void **resource)
{
    (void)ctx;
    return make(user, key[0] - 'a', resource);
}

static void yard_destroy(void *user, void *resource)
{
    yard *y = user;
    thing *t = resource;
    atomic_fetch_add(&y->shared, atomic_load(&t->holders) != 0);
    atomic_fetch_add(&y->dead_used, atomic_exchange(&t->state, DEAD) != ALIVE);
    atomic_fetch_sub(&y->live_of[t->key], 1);
    atomic_fetch_add(&y->gone, 1);
    free(t);
}

static void yard_abandon(void *user, void *resource)
{
    (void)user;
    (void)resource;
}

/* Nobody has it while it is validated or reset. */
static int yard_look(void *user, void *resource)
{
    yard *y = user;
    thing *t = resource;
    atomic_fetch_add(&y->shared, atomic_fetch_add(&t->holders, 1) != 0);
    atomic_fetch_add(&y->dead_used, atomic_load(&t->state) != ALIVE);
    atomic_fetch_sub(&t->holders, 1);
    return 0;
}

static rsl_pool_config usual(yard *y, uint32_t size_max)
{
    rsl_pool_config config = {.create = yard_create, .destroy = yard_destroy, .user = y,
                              .abandon = yard_abandon, .size_max = size_max};
    config.acquire_timeout = LONG_ENOUGH;
    config.create_backoff = RSL_US(50);
    config.create_backoff_max = RSL_MS(1);
    return config;
}

static void yard_open(yard *y, const rsl_pool_config *config)
{
    y->maintains = config->caller_maintains;
    if (rsl_pool_open(&y->pool, config) != RSL_OK) {
        bail_out("no pool");
    }
}

/* Ours alone, for a moment. */
static void use(yard *y, const rsl_pool_lease *lease)
{
    thing *t = lease->resource;
    atomic_fetch_add(&y->leases, 1);
    atomic_fetch_add(&y->shared, atomic_fetch_add(&t->holders, 1) != 0);
    atomic_fetch_add(&y->dead_used, atomic_load(&t->state) != ALIVE);
}

/* The lease's copy is stale after. */
static void give_back(yard *y, rsl_pool_lease *lease, bool broken, bool twice)
{
    rsl_pool_lease copy = *lease;
    thing *t = lease->resource;
    atomic_fetch_sub(&t->holders, 1);
    int status = broken ? rsl_pool_discard(y->pool, lease) : rsl_pool_release(y->pool, lease);
    atomic_fetch_add(&y->wrong, status != RSL_OK);
    atomic_fetch_add(&y->discards, broken);
    if (twice) {
        atomic_fetch_add(&y->wrong, rsl_pool_release(y->pool, &copy) != RSL_EINVAL);
    }
}

static bool is_sound(yard *y)
{
    return atomic_load(&y->shared) == 0 && atomic_load(&y->dead_used) == 0 &&
           atomic_load(&y->wrong) == 0 && atomic_load(&y->too_many) == 0;
}

/* With nobody in the pool but its own threads, which may still destroy what is too old. */
static bool is_exact(yard *y)
{
    rsl_pool_stats s = stats_of(y->pool);
    for (int i = 0; i < 10000 && s.in_use + s.creating > 0; i++) {
        nap(RSL_MS(1));
        s = stats_of(y->pool);
    }
    uint64_t ends = s.closed_idle + s.closed_lifetime + s.closed_uses + s.closed_invalidated +
                    s.closed_broken + s.invalid;
    bool exact = s.waiting == 0 && s.in_use == 0 && s.open == s.created - s.destroyed &&
                 s.destroyed == ends && s.acquired == atomic_load(&y->leases) &&
                 s.closed_broken == atomic_load(&y->discards);
    if (!exact) {
        printf("# waiting %u in_use %u open %u created %lu destroyed %lu ends %lu acquired %lu "
               "leases %lu broken %lu discards %lu\n", s.waiting, s.in_use, s.open,
               (unsigned long)s.created, (unsigned long)s.destroyed, (unsigned long)ends,
               (unsigned long)s.acquired, (unsigned long)atomic_load(&y->leases),
               (unsigned long)s.closed_broken, (unsigned long)atomic_load(&y->discards));
    }
    return exact;
}

/* ------------------------------------------------------------------- storms */

typedef struct worker {
    yard         *yard;
    int           id;
    seeded_random random;
    bell          bell;
} worker;

static bool now_and_then(worker *w, uint32_t one_in)
{
    return seeded_random_below(&w->random, one_in) == 0;
}

/* Key by key, or from the one pool. */
static int acquire_some(worker *w, const rsl_ctx *ctx, rsl_pool_lease *lease, char *key)
{
    if (w->yard->pools == NULL) {
        return rsl_pool_acquire(w->yard->pool, ctx, lease);
    }
    key[0] = (char)('a' + seeded_random_below(&w->random, KEYS));
    return rsl_pools_acquire(w->yard->pools, key, ctx, lease);
}

static void finish_lease(worker *w, rsl_pool_lease *lease, const char *key)
{
    use(w->yard, lease);
    if (key[0] != '\0') {
        atomic_fetch_add(&w->yard->wrong, ((thing *)lease->resource)->key != key[0] - 'a');
    }
    if (now_and_then(w, 16)) {
        sched_yield();
    }
    give_back(w->yard, lease, now_and_then(w, 50), now_and_then(w, 20));
}

static void lease_surely(worker *w)
{
    rsl_pool_lease lease;
    char key[2] = "";
    int status = acquire_some(w, NULL, &lease, key);
    if (status == RSL_OK) {
        finish_lease(w, &lease, key);
        return;
    }
    printf("# %s\n", rsl_strerror(status));
    atomic_fetch_add(&w->yard->wrong, 1);
}

static void lease_if_idle(worker *w)
{
    rsl_pool_lease lease;
    char key[2] = "";
    int status;
    if (w->yard->pools == NULL) {
        status = rsl_pool_try(w->yard->pool, &lease);
    } else {
        key[0] = (char)('a' + seeded_random_below(&w->random, KEYS));
        status = rsl_pools_try(w->yard->pools, key, &lease);
    }
    if (status == RSL_OK) {
        finish_lease(w, &lease, key);
    } else {
        atomic_fetch_add(&w->yard->wrong, status != RSL_EFULL);
    }
}

static void lease_in_time(worker *w)
{
    rsl_pool_lease lease;
    char key[2] = "";
    rsl_ctx ctx = rsl_within(RSL_US(seeded_random_below(&w->random, 200)));
    int status = acquire_some(w, &ctx, &lease, key);
    if (status == RSL_OK) {
        finish_lease(w, &lease, key);
    } else {
        atomic_fetch_add(&w->yard->wrong, status != RSL_ETIMEOUT && status != -5);
    }
}

static void lease_unless_cancelled(worker *w)
{
    rsl_pool_lease lease;
    char key[2] = "";
    yard *y = w->yard;
    rsl_ctx ctx = {.cancel = &y->tokens[w->id]};
    pthread_mutex_lock(&y->token_locks[w->id]);
    atomic_fetch_add(&y->wrong, rsl_cancel_init(&y->tokens[w->id], NULL) != RSL_OK);
    y->armed[w->id] = true;
    pthread_mutex_unlock(&y->token_locks[w->id]);
    int status = acquire_some(w, &ctx, &lease, key);
    pthread_mutex_lock(&y->token_locks[w->id]);
    y->armed[w->id] = false;
    rsl_cancel_deinit(&y->tokens[w->id]);
    pthread_mutex_unlock(&y->token_locks[w->id]);
    if (status == RSL_OK) {
        finish_lease(w, &lease, key);
    } else {
        atomic_fetch_add(&y->wrong, status != RSL_ECANCELED);
    }
}

/* As a loop does it, which now and then has had enough. */
static void lease_as_a_loop(worker *w)
{
    yard *y = w->yard;
    rsl_pool_lease lease;
    rsl_waiter waiter;
    char key[2] = "";
    memset(&waiter, 0, sizeof waiter);
    waiter.wake = bell_ring;
    waiter.user = &w->bell;
    int status;
    if (y->pools == NULL) {
        status = rsl_pool_begin(y->pool, NULL, &waiter, &lease);
    } else {
        key[0] = (char)('a' + seeded_random_below(&w->random, KEYS));
        status = rsl_pools_begin(y->pools, key, NULL, &waiter, &lease);
    }
    while (status == RSL_WAIT) {
        if (now_and_then(w, 4)) {
            rsl_pool_abandon(y->pool, &waiter);
            return;
        }
        if (y->maintains) {
            (void)rsl_pool_maintain(y->pool);
        }
        bell_await(&w->bell, RSL_US(300));
        status = rsl_pool_poll(y->pool, &waiter, &lease, rsl_now());
    }
    if (status == RSL_OK) {
        finish_lease(w, &lease, key);
    } else {
        atomic_fetch_add(&y->wrong, 1);
    }
}

static int use_once(const rsl_ctx *ctx, void *resource, void *arg, bool *broken)
{
    yard *y = arg;
    thing *t = resource;
    (void)ctx;
    rsl_pool_lease lease = {.resource = resource};
    use(y, &lease);
    atomic_fetch_sub(&t->holders, 1);
    *broken = false;
    return 0;
}

static void *weather_the_storm(void *arg)
{
    worker *w = arg;
    int steps = w->yard->pools != NULL ? KEYED_STEPS : STORM_STEPS;
    for (int i = 0; i < steps; i++) {
        uint32_t dice = seeded_random_below(&w->random, 20);
        if (dice < 11) {
            lease_surely(w);
        } else if (dice < 13) {
            lease_if_idle(w);
        } else if (dice < 15) {
            lease_in_time(w);
        } else if (dice < 17) {
            lease_as_a_loop(w);
        } else if (dice < 18) {
            lease_unless_cancelled(w);
        } else if (w->yard->pools == NULL) {
            int status = rsl_pool_use(w->yard->pool, NULL, use_once, w->yard);
            atomic_fetch_add(&w->yard->wrong, status != 0);
        }
    }
    return NULL;
}

static void fire_some(yard *y, seeded_random *random)
{
    size_t id = seeded_random_below(random, WORKERS);
    pthread_mutex_lock(&y->token_locks[id]);
    if (y->armed[id]) {
        rsl_cancel_fire(&y->tokens[id]);
    }
    pthread_mutex_unlock(&y->token_locks[id]);
}

/* The pool is run, badly, while it is used. */
static void *make_weather(void *arg)
{
    yard *y = arg;
    seeded_random random = {4711};
    rsl_pool_holder holders[4];
    while (!atomic_load(&y->over)) {
        uint32_t size = 1 + seeded_random_below(&random, 6);
        switch (seeded_random_below(&random, 8)) {
        case 0:
            if (y->pools == NULL) {
                uint32_t least = seeded_random_below(&random, 2);
                atomic_fetch_add(&y->wrong, rsl_pool_resize(y->pool, least, size) != RSL_OK);
            }
            break;
        case 1:
            atomic_fetch_add(&y->wrong, rsl_pool_pause(y->pool) != RSL_OK);
            sched_yield();
            atomic_fetch_add(&y->wrong, rsl_pool_resume(y->pool) != RSL_OK);
            break;
        case 2:
            rsl_pool_invalidate_all(y->pool);
            break;
        case 3:
            (void)rsl_pool_health(y->pool);
            (void)rsl_pool_holders(y->pool, holders, RSL_COUNT(holders));
            (void)stats_of(y->pool);
            break;
        case 4:
            (void)rsl_pool_maintain(y->pool);
            break;
        default:
            fire_some(y, &random);
            break;
        }
        nap(RSL_US(100));
    }
    return NULL;
}

static void work_in_storm(yard *y)
{
    pthread_t threads[WORKERS], weather;
    worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        pthread_mutex_init(&y->token_locks[i], NULL);
        workers[i].yard = y;
        workers[i].id = i;
        workers[i].random.state = 99 + (uint64_t)i * 1000;
        bell_init(&workers[i].bell);
    }
    weather = start_thread(make_weather, y);
    for (int i = 0; i < WORKERS; i++) {
        threads[i] = start_thread(weather_the_storm, &workers[i]);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_store(&y->over, true);
    pthread_join(weather, NULL);
    for (int i = 0; i < WORKERS; i++) {
        bell_deinit(&workers[i].bell);
        pthread_mutex_destroy(&y->token_locks[i]);
    }
}

static void a_storm_leaves_exact_counts(rsl_pool_config config, const char *what)
{
    static yard y;
    memset(&y, 0, sizeof y);
    config.user = &y;
    y.fails_each = 23;
    yard_open(&y, &config);
    rsl_time began = rsl_now();
    work_in_storm(&y);
    printf("# %lu leases in %.2f s\n", (unsigned long)y.leases,
           (double)(rsl_now() - began) * 1e-9);
    tap_ok(is_sound(&y), "in a storm each resource is lent to one at a time: %s", what);
    tap_ok(rsl_pool_resize(y.pool, 0, 4) == RSL_OK && is_exact(&y),
           "after a storm the counts are exact: %s", what);
    tap_ok(rsl_pool_close(y.pool, NULL) == RSL_OK && y.made == y.gone,
           "after a storm it closes and leaves nothing open: %s", what);
}

static void storms(void)
{
    rsl_pool_config config = usual(NULL, 4);
    a_storm_leaves_exact_counts(config, "with threads");
    config.creating_max = 3;
    config.validate = config.reset = yard_look;
    config.validate_after = RSL_NONE;
    config.keepalive = RSL_MS(2);
    config.uses_max = 100;
    a_storm_leaves_exact_counts(config, "validated and reset");
    config = usual(NULL, 4);
    config.caller_maintains = true;
    a_storm_leaves_exact_counts(config, "without threads");
    config = usual(NULL, 6);
    config.adaptive = true;
    config.adaptive_window = RSL_MS(5);
    config.idle_timeout = RSL_MS(3);
    config.lifetime_max = RSL_MS(20);
    a_storm_leaves_exact_counts(config, "adaptive, and short-lived");
}

static void a_keyed_storm_leaves_exact_counts(bool maintains)
{
    static yard y;
    memset(&y, 0, sizeof y);
    rsl_pools_config config = {.create = yard_create_of_key, .total_max = KEYED_TOTAL};
    config.each = usual(&y, KEY_LIMIT);
    config.each.create = NULL;
    config.each.caller_maintains = y.maintains = maintains;
    config.each.creating_max = 2;
    y.fails_each = 37;
    if (rsl_pools_open(&y.pools, &config) != RSL_OK) {
        bail_out("no pools");
    }
    y.pool = rsl_pools_pool(y.pools);
    rsl_time began = rsl_now();
    work_in_storm(&y);
    printf("# %lu leases in %.2f s\n", (unsigned long)y.leases,
           (double)(rsl_now() - began) * 1e-9);
    const char *what = maintains ? "without threads" : "with threads";
    tap_ok(is_sound(&y), "keyed, no limit is passed and each is lent to one: %s", what);
    tap_ok(is_exact(&y), "after a keyed storm the counts are exact: %s", what);
    tap_ok(rsl_pools_close(y.pools, NULL) == RSL_OK && y.made == y.gone,
           "after a keyed storm it closes: %s", what);
}

/* -------------------------------------------------------------------- turns */

typedef struct turn {
    yard        *yard;
    int32_t      priority;
    int          place;  /* in the order in which they were served */
    _Atomic int *served;
} turn;

static void *wait_for_turn(void *arg)
{
    turn *t = arg;
    rsl_ctx ctx = {.priority = t->priority};
    rsl_pool_lease lease;
    atomic_fetch_add(&t->yard->wrong, rsl_pool_acquire(t->yard->pool, &ctx, &lease) != RSL_OK);
    use(t->yard, &lease);
    t->place = atomic_fetch_add(t->served, 1);
    nap(RSL_US(30)); /* quick releases may be raced for */
    give_back(t->yard, &lease, false, false);
    return NULL;
}

/* By priority, then age. */
static int count_out_of_turn(const turn *turns)
{
    int wrong = 0;
    for (int i = 0; i < WORKERS; i++) {
        int before = 0;
        for (int j = 0; j < WORKERS; j++) {
            before += turns[j].priority > turns[i].priority ||
                      (turns[j].priority == turns[i].priority && j < i);
        }
        wrong += turns[i].place != before;
    }
    return wrong;
}

static void waiters_are_served_in_turn(bool prioritized)
{
    static yard y;
    memset(&y, 0, sizeof y);
    rsl_pool_config config = usual(&y, 1);
    seeded_random random = {7};
    int wrong = 0;
    yard_open(&y, &config);
    for (int round = 0; round < TURN_ROUNDS; round++) {
        pthread_t threads[WORKERS];
        turn turns[WORKERS];
        rsl_pool_lease lease;
        _Atomic int served = 0;
        atomic_fetch_add(&y.wrong, rsl_pool_acquire(y.pool, NULL, &lease) != RSL_OK);
        use(&y, &lease);
        for (uint32_t i = 0; i < WORKERS; i++) {
            turns[i].yard = &y;
            turns[i].priority = prioritized ? (int32_t)seeded_random_below(&random, 3) - 1 : 0;
            turns[i].served = &served;
            threads[i] = start_thread(wait_for_turn, &turns[i]);
            while (stats_of(y.pool).waiting != i + 1) {
                nap(RSL_US(20));
            }
        }
        give_back(&y, &lease, false, false);
        for (int i = 0; i < WORKERS; i++) {
            pthread_join(threads[i], NULL);
        }
        wrong += count_out_of_turn(turns);
    }
    tap_ok(wrong == 0 && is_sound(&y) && is_exact(&y), "who waits is served in turn: %s",
           prioritized ? "by priority, then age" : "by age");
    (void)rsl_pool_close(y.pool, NULL);
}

/* ------------------------------------------------------------------- crowds */

typedef struct crowd {
    yard             yard;
    pthread_barrier_t gate;
} crowd;

static void *come_and_go(void *arg)
{
    crowd *c = arg;
    rsl_pool_lease leases[2];
    pthread_barrier_wait(&c->gate);
    for (int i = 0; i < CROWD_CALLS; i++) {
        if (rsl_pool_acquire(c->yard.pool, NULL, &leases[0]) != RSL_OK) {
            atomic_fetch_add(&c->yard.wrong, 1);
            break;
        }
        use(&c->yard, &leases[0]);
        bool second = rsl_pool_try(c->yard.pool, &leases[1]) == RSL_OK;
        if (second) {
            use(&c->yard, &leases[1]);
            give_back(&c->yard, &leases[1], false, false);
        }
        give_back(&c->yard, &leases[0], false, false);
    }
    pthread_barrier_wait(&c->gate);
    return NULL;
}

/* The pool grows beyond its first piece of memory meanwhile. */
static void crowds_come_and_go(void)
{
    static crowd c;
    pthread_t threads[CROWD];
    memset(&c, 0, sizeof c);
    rsl_pool_config config = usual(&c.yard, 6);
    config.creating_max = 4;
    yard_open(&c.yard, &config);
    for (int round = 0; round < CROWDS; round++) {
        pthread_barrier_init(&c.gate, NULL, CROWD + 1);
        for (int i = 0; i < CROWD; i++) {
            threads[i] = start_thread(come_and_go, &c);
        }
        pthread_barrier_wait(&c.gate);
        nap(RSL_US(300));
        int status = rsl_pool_resize(c.yard.pool, 0, 6 + 40 * (uint32_t)(round + 1));
        atomic_fetch_add(&c.yard.wrong, status != RSL_OK);
        pthread_barrier_wait(&c.gate);
        for (int i = 0; i < CROWD; i++) {
            pthread_join(threads[i], NULL);
        }
        pthread_barrier_destroy(&c.gate);
    }
    tap_ok(is_sound(&c.yard) && is_exact(&c.yard),
           "crowds of %d come and go while it grows, and the counts are exact", CROWD);
    tap_ok(rsl_pool_close(c.yard.pool, NULL) == RSL_OK && c.yard.made == c.yard.gone,
           "and it closes");
}

/* ------------------------------------------------------------------- closes */

typedef struct closing {
    yard              yard;
    pthread_barrier_t gate;
    rsl_pool_lease    leases[WORKERS];
    _Atomic int       next, closed, served;
} closing;

static void *release_at_once(void *arg)
{
    closing *c = arg;
    int mine = atomic_fetch_add(&c->next, 1);
    pthread_barrier_wait(&c->gate);
    give_back(&c->yard, &c->leases[mine], mine == 1, false);
    return NULL;
}

/* Whatever is freed too early is for the sanitizers to see. */
static void a_close_meets_releases(bool maintains)
{
    int wrong = 0;
    for (int round = 0; round < CLOSE_ROUNDS; round++) {
        static closing c;
        pthread_t threads[WORKERS];
        memset(&c, 0, sizeof c);
        rsl_pool_config config = usual(&c.yard, WORKERS);
        config.caller_maintains = maintains;
        yard_open(&c.yard, &config);
        pthread_barrier_init(&c.gate, NULL, WORKERS + 1);
        for (int i = 0; i < WORKERS; i++) {
            wrong += rsl_pool_acquire(c.yard.pool, NULL, &c.leases[i]) != RSL_OK;
            use(&c.yard, &c.leases[i]);
        }
        for (int i = 0; i < WORKERS; i++) {
            threads[i] = start_thread(release_at_once, &c);
        }
        pthread_barrier_wait(&c.gate);
        wrong += rsl_pool_close(c.yard.pool, NULL) != RSL_OK || c.yard.made != c.yard.gone;
        for (int i = 0; i < WORKERS; i++) {
            pthread_join(threads[i], NULL);
        }
        wrong += !is_sound(&c.yard);
        pthread_barrier_destroy(&c.gate);
    }
    tap_ok(wrong == 0, "a close waits for releases at the same time, and no longer: %s",
           maintains ? "without threads" : "with threads");
}

/* The last to leave releases the lease that kept the pool. */
static void *wait_till_closed(void *arg)
{
    closing *c = arg;
    worker w = {.yard = &c->yard};
    rsl_pool_lease lease;
    int mine = atomic_fetch_add(&c->next, 1), status;
    rsl_ctx ctx = {.priority = mine};
    if (mine % 3 == 1) {
        ctx = rsl_within(RSL_US(mine * 100));
    }
    if (mine % 3 == 2) {
        rsl_waiter waiter;
        memset(&waiter, 0, sizeof waiter);
        bell_init(&w.bell);
        waiter.wake = bell_ring;
        waiter.user = &w.bell;
        status = rsl_pool_begin(c->yard.pool, NULL, &waiter, &lease);
        while (status == RSL_WAIT) {
            bell_await(&w.bell, RSL_SEC(20));
            status = rsl_pool_poll(c->yard.pool, &waiter, &lease, rsl_now());
        }
        bell_deinit(&w.bell);
    } else {
        status = rsl_pool_acquire(c->yard.pool, &ctx, &lease);
    }
    atomic_fetch_add(&c->closed, status == RSL_ECLOSED);
    bool late = status == RSL_ETIMEOUT && mine % 3 == 1;
    atomic_fetch_add(&c->yard.wrong, status != RSL_ECLOSED && !late);
    if (atomic_fetch_add(&c->served, 1) == WORKERS - 1) {
        give_back(&c->yard, &c->leases[0], false, false);
    }
    return NULL;
}

static void a_close_answers_who_waits(bool maintains)
{
    int wrong = 0, closed = 0;
    for (int round = 0; round < CLOSE_ROUNDS; round++) {
        static closing c;
        pthread_t threads[WORKERS];
        memset(&c, 0, sizeof c);
        rsl_pool_config config = usual(&c.yard, 1);
        config.caller_maintains = maintains;
        yard_open(&c.yard, &config);
        wrong += rsl_pool_acquire(c.yard.pool, NULL, &c.leases[0]) != RSL_OK;
        use(&c.yard, &c.leases[0]);
        for (int i = 0; i < WORKERS; i++) {
            threads[i] = start_thread(wait_till_closed, &c);
        }
        nap(RSL_US(round % 8 * 40));
        wrong += rsl_pool_close(c.yard.pool, NULL) != RSL_OK || c.yard.made != c.yard.gone;
        for (int i = 0; i < WORKERS; i++) {
            pthread_join(threads[i], NULL);
        }
        wrong += !is_sound(&c.yard);
        closed += c.closed;
    }
    tap_ok(wrong == 0 && closed > CLOSE_ROUNDS, "a close answers %d who wait, all of them: %s",
           closed, maintains ? "without threads" : "with threads");
}

/* -------------------------------------------------------------------- forks */

#ifndef SLOW
static void *cycle_till_over(void *arg)
{
    yard *y = arg;
    rsl_pool_lease lease;
    for (int i = 0; !atomic_load(&y->over); i++) {
        if (rsl_pool_acquire(y->pool, NULL, &lease) != RSL_OK) {
            atomic_fetch_add(&y->wrong, 1);
            break;
        }
        use(y, &lease);
        give_back(y, &lease, i % 64 == 0, false);
    }
    return NULL;
}

static void *child_cycles(void *arg)
{
    yard *y = arg;
    for (int i = 0; i < 200; i++) {
        rsl_pool_lease lease;
        if (rsl_pool_acquire(y->pool, NULL, &lease) != RSL_OK) {
            atomic_fetch_add(&y->wrong, 1);
            break;
        }
        use(y, &lease);
        give_back(y, &lease, false, true);
    }
    return NULL;
}

/* 0: it can use the pool as if it were new, and the parent's lease is none here. */
static int live_as_child(yard *y, rsl_pool_lease *kept)
{
    pthread_t threads[3];
    y->made = y->gone = y->shared = y->dead_used = y->wrong = 0;
    y->leases = y->discards = 0;
    alarm(60);
    for (size_t i = 0; i < RSL_COUNT(threads); i++) {
        threads[i] = start_thread(child_cycles, y);
    }
    if (rsl_pool_release(y->pool, kept) != RSL_EINVAL) {
        return 2;
    }
    for (size_t i = 0; i < RSL_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    if (!is_sound(y) || !is_exact(y)) {
        return 3;
    }
    return rsl_pool_close(y->pool, NULL) == RSL_OK && y->made == y->gone ? 0 : 4;
}

static void forks_in_a_storm(bool maintains)
{
    static yard y;
    pthread_t threads[WORKERS];
    rsl_pool_lease kept;
    int wrong = 0;
    memset(&y, 0, sizeof y);
    rsl_pool_config config = usual(&y, 4);
    config.caller_maintains = maintains;
    yard_open(&y, &config);
    wrong += rsl_pool_acquire(y.pool, NULL, &kept) != RSL_OK;
    use(&y, &kept);
    for (int i = 0; i < WORKERS; i++) {
        threads[i] = start_thread(cycle_till_over, &y);
    }
    for (int i = 0; i < FORKS; i++) {
        int status = -1;
        nap(RSL_MS(3));
        (void)fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            _exit(live_as_child(&y, &kept));
        }
        bool sound = child > 0 && waitpid(child, &status, 0) == child && status == 0;
        if (!sound) {
            printf("# a child ends with %#x\n", (unsigned)status);
        }
        wrong += !sound;
    }
    atomic_store(&y.over, true);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    tap_ok(wrong == 0, "children forked in a storm use the pool as if it were new: %s",
           maintains ? "without threads" : "with threads");
    give_back(&y, &kept, false, false);
    tap_ok(is_sound(&y) && is_exact(&y) && rsl_pool_close(y.pool, NULL) == RSL_OK &&
           y.made == y.gone, "and the parent loses nothing");
}
#endif

int main(void)
{
    storms();
    a_keyed_storm_leaves_exact_counts(false);
    a_keyed_storm_leaves_exact_counts(true);
    waiters_are_served_in_turn(false);
    waiters_are_served_in_turn(true);
    crowds_come_and_go();
    a_close_meets_releases(false);
    a_close_meets_releases(true);
    a_close_answers_who_waits(false);
    a_close_answers_who_waits(true);
#ifndef SLOW
    forks_in_a_storm(false);
    forks_in_a_storm(true);
#endif
    tap_ok(support_live() == 0, "all memory is given back");
    return tap_end();
}
