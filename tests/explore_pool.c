/* SPDX-License-Identifier: MIT
   explore_pool.c: what pool.h promises about threads that race, in every order of a few of them:
   a resource is lent to one at a time, nobody who waits is forgotten, nothing is touched once
   close has freed it, and counts are exact once all is quiet. Planted bugs show that the explorer
   finds what it looks for. Prints TAP.                                                         */
#include "support/explore.h"

#define RSL_POOL_IMPLEMENTATION
#include "pool.h"

enum { FAILED = 42, LATER = 1000000, THINGS = 24, KEPT = EXPLORE_THREADS };

/* What is lent here. */
typedef struct thing {
    int  holder; /* 1 + the thread that has it, or one of these; 0: nobody */
    bool alive, old; /* old: made before the pool was told to invalidate all */
    char key;
} thing;

enum { VALIDATOR = 100 };

/* All that the threads of a scenario share. Each `before` starts it from nothing. */
static struct world {
    rsl_pool       *pool;
    rsl_pools      *pools;
    rsl_pool_lease  lease[EXPLORE_THREADS + 1]; /* the last one is out before the threads begin */
    rsl_waiter      waiter[EXPLORE_THREADS];
    rsl_word_       park[EXPLORE_THREADS];
    rsl_cancel      cancel;
    rsl_creation    ticket;
    thing           things[THINGS];
    rsl_word_       moment;      /* whoever does something is at it for a moment */
    rsl_word_       phase;
    int             made, gone;
    int             creating, creating_max;
    int             to_fail;     /* so many creations more */
    bool            told_old, all_old; /* invalidating has begun, has ended */
    uint64_t        leases;
    int             users;       /* threads that have not left the pool */
    int             status[EXPLORE_THREADS + 1];
} w;

/* ---- the world ---- */

static int make_thing(char key, void **resource)
{
    bool stuck = explore_.now - EXPLORE_EPOCH >= RSL_SEC(1); /* then one more may begin */
    w.creating++;
    explore_check(w.creating <= w.creating_max + stuck, "no more creations at once than allowed");
    explore_point_("create", &w.moment, true);
    w.creating--;
    if (w.to_fail > 0) {
        w.to_fail--;
        return FAILED;
    }
    explore_check(w.made < THINGS, "creations come to an end");
    thing *made = &w.things[w.made++];
    made->alive = true;
    made->old = !w.told_old;
    made->key = key;
    *resource = made;
    return 0;
}

static int create(void *user, const rsl_ctx *ctx, void **resource)
{
    (void)user, (void)ctx;
    return make_thing('-', resource);
}

static int create_of_key(void *user, const rsl_ctx *ctx, const char *key, void **resource)
{
    (void)user, (void)ctx;
    return make_thing(key[0], resource);
}

static void destroy(void *user, void *resource)
{
    thing *t = resource;
    (void)user;
    explore_check(t->alive && t->holder == 0, "what is destroyed is nobody's");
    t->alive = false;
    w.gone++;
}

static void forget(void *user, void *resource)
{
    ((thing *)resource)->holder = 0; /* of the parent */
    destroy(user, resource);
}

static int validate(void *user, void *resource)
{
    thing *t = resource;
    (void)user;
    explore_check(t->alive && t->holder == 0, "what is validated is nobody's");
    t->holder = VALIDATOR;
    explore_point_("validate", &w.moment, true);
    explore_check(t->alive && t->holder == VALIDATOR, "what is validated stays nobody's");
    t->holder = 0;
    return 0;
}

/* Nothing ends by time unless the scenario says so. */
static rsl_pool_config usual(uint32_t size_max)
{
    rsl_pool_config config = {.create = create, .destroy = destroy, .size_max = size_max};
    config.acquire_timeout = config.idle_timeout = config.lifetime_max = RSL_FOREVER;
    return config;
}

/* Else the pool's own threads run as far as the scenario lends them any; the others never do. */
static rsl_pool_config threadless(uint32_t size_max)
{
    rsl_pool_config config = usual(size_max);
    config.caller_maintains = true;
    return config;
}

static void clear_world(void)
{
    memset(&w, 0, sizeof w);
    w.creating_max = 1;
}

/* Opens the pool with so many resources idle. */
static void open_pool(rsl_pool_config config, uint32_t idle)
{
    uint32_t size_min = config.size_min;
    clear_world();
    if (config.creating_max > 1) w.creating_max = (int)config.creating_max;
    config.size_min = idle;
    explore_check(rsl_pool_open(&w.pool, &config) == RSL_OK, "a pool is opened");
    (void)rsl_pool_maintain(w.pool);
    explore_check(w.made == (int)idle, "it is filled");
    w.pool->config.size_min = size_min;
    w.users = explore_.scenario->threads - explore_.lent;
}

static void hold(int id)
{
    thing *t = w.lease[id].resource;
    w.leases++;
    explore_check(t->alive && t->holder == 0, "a resource is lent to one at a time");
    t->holder = id + 1;
    explore_point_("use", &w.moment, true);
    explore_check(t->alive && t->holder == id + 1, "who leases a resource has it to himself");
}

/* The frame takes one before the threads begin. */
static void keep_one(void)
{
    explore_check(rsl_pool_acquire(w.pool, NULL, &w.lease[KEPT]) == RSL_OK, "one is kept");
    hold(KEPT);
}

static void release(int id)
{
    thing *t = w.lease[id].resource;
    t->holder = 0;
    explore_check(rsl_pool_release(w.lease[id].pool, &w.lease[id]) == RSL_OK, "it is released");
}

static void discard(int id)
{
    thing *t = w.lease[id].resource;
    t->holder = 0;
    explore_check(rsl_pool_discard(w.lease[id].pool, &w.lease[id]) == RSL_OK, "it is discarded");
}

static int acquire(int id, rsl_time deadline, rsl_cancel *cancel)
{
    rsl_ctx ctx = {.deadline = deadline, .cancel = cancel};
    w.status[id] = rsl_pool_acquire(w.pool, &ctx, &w.lease[id]);
    if (w.status[id] == RSL_OK) hold(id);
    return w.status[id];
}

/* Nothing but a resource is the answer. */
static void acquire_surely(int id)
{
    w.status[id] = rsl_pool_acquire(w.pool, NULL, &w.lease[id]);
    explore_check(w.status[id] == RSL_OK, "who waits without a limit gets a resource");
    hold(id);
}

static void cycle(int id)
{
    acquire_surely(id);
    release(id);
}

/* As a loop does it; `patient` until it is served, else until asked to leave. */
static int begin(int id)
{
    w.waiter[id].wake = rsl_park_post_;
    w.waiter[id].user = &w.park[id];
    w.status[id] = rsl_pool_begin(w.pool, NULL, &w.waiter[id], &w.lease[id]);
    if (w.status[id] == RSL_OK) hold(id);
    return w.status[id];
}

static int poll(int id)
{
    w.status[id] = rsl_pool_poll(w.pool, &w.waiter[id], &w.lease[id], explore_now());
    if (w.status[id] == RSL_OK) hold(id);
    return w.status[id];
}

static void supply_one(int rc)
{
    thing *made = NULL;
    rsl_creation ticket;
    if (rsl_pool_wanted(w.pool, &ticket) != RSL_OK) return;
    if (rc == 0) (void)make_thing('-', (void **)&made);
    int status = rsl_pool_supply(w.pool, &ticket, rc, made);
    explore_check(status == RSL_OK || status == RSL_ECLOSED, "the ticket is taken");
}

static rsl_pool_stats stats_now(void)
{
    rsl_pool_stats stats;
    rsl_pool_stats_get(w.pool, &stats);
    return stats;
}

/* ---- what holds in the end ---- */

static void slots_are_idle(void)
{
    for (uint32_t i = 0; i < rsl_pool_extent_(w.pool); i++) {
        uint64_t left = rsl_pool_slot_at_(w.pool, i)->word % RSL_POOL_NEXT_;
        explore_check(left == RSL_POOL_EMPTY_ || left == RSL_POOL_IDLE_, "all slots are at rest");
    }
}

static void is_quiet(void)
{
    rsl_pool_stats stats = stats_now();
    explore_check(stats.waiting == 0 && w.pool->queue.first == NULL, "the queue is empty");
    explore_check(w.pool->told == 0, "all answers were fetched");
    explore_check(w.pool->racer == 0 && !w.pool->owes_pass, "no pass is owed");
    explore_check(w.pool->tender == NULL, "nobody is in charge");
    explore_check(stats.creating == 0, "no creation is under way");
    explore_check(stats.in_use == 0, "all came back");
    explore_check(stats.open == stats.created - stats.destroyed, "openings and ends are counted");
    explore_check(stats.open == (uint32_t)(w.made - w.gone), "none is lost, none is made up");
    explore_check(stats.open <= stats.size_now, "not more than the limit");
    explore_check(stats.acquired == w.leases, "leases are counted");
    slots_are_idle();
}

/* Also what a pool without running threads leaves behind. */
static void is_even(void)
{
    is_quiet();
    explore_check(rsl_pool_close(w.pool, NULL) == RSL_OK, "it is closed");
    explore_check(w.made == w.gone, "all are destroyed");
}

static void one_is_left(void)
{
    explore_check(w.made == 1, "none is made that is not wanted");
    is_even();
}

static void two_are_left(void)
{
    explore_check(w.made == 2, "none is made that is not wanted");
    is_even();
}

/* ---- acquire and release ---- */

static void one_idle(void) { open_pool(usual(1), 1); }
static void two_idle(void) { open_pool(usual(2), 2); }
static void one_idle_threadless(void) { open_pool(threadless(1), 1); }

static void cycle_twice(int id)
{
    cycle(id);
    cycle(id);
}

/* Each thread has leased so often that the next lease takes the quickest way. */
static void one_idle_and_known(void)
{
    open_pool(usual(1), 1);
    uint64_t own = explore_.selves[EXPLORE_FRAME_];
    for (int id = 0; id < explore_.scenario->threads; id++) {
        explore_.selves[EXPLORE_FRAME_] = explore_.selves[id];
        for (int i = 0; i < 2 * RSL_POOL_BURST_; i++) cycle(id);
    }
    explore_.selves[EXPLORE_FRAME_] = own;
}

/* Two releases at once are quicker than a switch of threads. */
static void one_idle_to_race_for(void)
{
    one_idle();
    w.pool->settled_at = EXPLORE_EPOCH;
}

static void one_kept(void)
{
    one_idle();
    keep_one();
}

static void one_kept_to_race_for(void)
{
    one_idle_to_race_for();
    keep_one();
}

static void release_or_cycle(int id)
{
    if (id == 0) release(KEPT);
    else cycle(id);
}

static void try_or_cycle(int id)
{
    if (id == 0) {
        cycle(0);
        return;
    }
    w.status[id] = rsl_pool_try(w.pool, &w.lease[id]);
    explore_check(w.status[id] == RSL_OK || w.status[id] == RSL_EFULL, "leased, or none is idle");
    if (w.status[id] != RSL_OK) return;
    hold(id);
    release(id);
}

/* ---- who gives up ---- */

static void release_or_wait_a_while(int id)
{
    if (id == 0) {
        release(KEPT);
    } else if (id > 1) {
        cycle(id);
    } else if (acquire(id, EXPLORE_EPOCH + LATER, NULL) == RSL_OK) {
        release(id);
    } else {
        explore_check(w.status[id] == RSL_ETIMEOUT, "late, or served");
    }
}

static void one_kept_and_token(void)
{
    one_kept();
    explore_check(rsl_cancel_init(&w.cancel, NULL) == RSL_OK, "a token is made");
}

static void one_kept_to_race_for_and_token(void)
{
    one_kept_to_race_for();
    explore_check(rsl_cancel_init(&w.cancel, NULL) == RSL_OK, "a token is made");
}

static void release_or_fire_or_wait(int id)
{
    if (id == 0) {
        release(KEPT);
    } else if (id == 1) {
        rsl_cancel_fire(&w.cancel);
    } else if (id > 2) {
        cycle(id);
    } else if (acquire(id, 0, &w.cancel) == RSL_OK) {
        release(id);
    } else {
        explore_check(w.status[id] == RSL_ECANCELED, "cancelled, or served");
    }
}

static void release_or_abandon(int id)
{
    if (id == 0) {
        release(KEPT);
        return;
    }
    if (id > 1) {
        cycle(id);
        return;
    }
    if (begin(id) == RSL_WAIT && (explore_choose(2) == 0 || poll(id) == RSL_WAIT))
        rsl_pool_abandon(w.pool, &w.waiter[id]);
    explore_dead(&w.waiter[id], sizeof w.waiter[id]);
    if (w.status[id] == RSL_OK) release(id);
}

static void release_or_poll(int id)
{
    if (id == 0) {
        release(KEPT);
        return;
    }
    if (id > 1) {
        cycle(id);
        return;
    }
    (void)begin(id);
    while (w.status[id] == RSL_WAIT) {
        rsl_park_wait_(&w.park[id], RSL_FOREVER);
        (void)poll(id);
    }
    explore_check(w.status[id] == RSL_OK, "who polls is served");
    explore_dead(&w.waiter[id], sizeof w.waiter[id]);
    explore_dead(&w.park[id], sizeof w.park[id]);
    release(id);
}

static void loop_waits(void)
{
    one_kept();
    explore_check(begin(1) == RSL_WAIT, "a loop waits");
}

/* Releases that are not quick go to the first in the queue. */
static void release_or_come_later(int id)
{
    if (id == 0) release(KEPT);
    if (id == 2) {
        acquire_surely(2);
        bool served = w.status[1] == RSL_OK || w.waiter[1].private_.word[0] == 1;
        explore_check(served, "nobody overtakes who waits");
        release(2);
    }
    if (id != 1) return;
    while (poll(1) == RSL_WAIT) rsl_park_wait_(&w.park[1], RSL_FOREVER);
    explore_check(w.status[1] == RSL_OK, "who polls is served");
    release(1);
}

/* ---- creations by who waits ---- */

static void none_yet(void) { open_pool(threadless(1), 0); }
static void none_yet_of_two(void) { open_pool(threadless(2), 0); }

static void none_yet_and_one_fails(void)
{
    none_yet();
    w.to_fail = 1;
}

static void one_kept_threadless(void)
{
    one_idle_threadless();
    keep_one();
}

static void one_kept_threadless_and_one_fails(void)
{
    one_kept_threadless();
    w.to_fail = 1;
}

static void cycle_or_be_told(int id)
{
    rsl_time deadline = id == 0 ? EXPLORE_EPOCH + LATER : 0;
    if (acquire(id, deadline, NULL) == RSL_OK) release(id);
    else explore_check(id == 0 && (w.status[id] == FAILED || w.status[id] == RSL_ETIMEOUT),
                       "served, or told of the failure, or late");
}

static void discard_or_cycle(int id)
{
    if (id == 0) discard(KEPT);
    else cycle(id);
}

static void discard_or_wait_a_while(int id)
{
    if (id == 0) discard(KEPT);
    else if (id == 2) cycle(id);
    else cycle_or_be_told(id - 1);
}

/* Thread 2 goes before who is in charge, and has him create once more. */
static void discard_or_go_first(int id)
{
    if (id != 2) {
        discard_or_cycle(id);
        return;
    }
    rsl_ctx ctx = {.priority = 1};
    explore_check(rsl_pool_acquire(w.pool, &ctx, &w.lease[2]) == RSL_OK, "served");
    hold(2);
    discard(2);
}

/* The first in the queue, and so in charge of creations. */
static void one_kept_and_loop_in_charge(void)
{
    one_kept_threadless();
    explore_check(begin(1) == RSL_WAIT, "a loop waits");
}

static void discard_or_leave_charge(int id)
{
    if (id == 0) discard(KEPT);
    if (id == 2) cycle(2);
    if (id != 1) return;
    if (explore_choose(2) == 0 || poll(1) == RSL_WAIT) rsl_pool_abandon(w.pool, &w.waiter[1]);
    explore_dead(&w.waiter[1], sizeof w.waiter[1]);
    if (w.status[1] == RSL_OK) release(1);
}

/* A loop that makes what it is asked for. */
static void serve_oneself(int id)
{
    while (w.status[id] == RSL_WAIT) {
        supply_one(w.to_fail > 0 ? FAILED : 0);
        if (poll(id) != RSL_WAIT) break;
        rsl_park_wait_(&w.park[id], RSL_FOREVER);
        (void)poll(id);
    }
    explore_check(w.status[id] == RSL_OK, "who polls is served");
    explore_dead(&w.waiter[id], sizeof w.waiter[id]);
    release(id);
}

static void discard_or_serve_oneself(int id)
{
    if (id == 0) discard(KEPT);
    if (id == 1) serve_oneself(1);
    if (id == 2) cycle(2);
}

/* Without create, all comes from the loop: who blocks is served by it too. */
static void tickets_only(void)
{
    rsl_pool_config config = threadless(1);
    config.create = NULL;
    open_pool(config, 0);
    w.users = 0;
}

static void supply_or_cycle(int id)
{
    if (id > 0) {
        cycle(id);
        w.users++;
        return;
    }
    while (w.users < explore_.scenario->threads - 1) {
        supply_one(0);
        explore_pause_();
    }
}

static void each_use_is_the_last(void)
{
    rsl_pool_config config = threadless(1);
    config.uses_max = 1;
    open_pool(config, 1);
}

/* ---- creations by the pool's threads: of two one or both run ---- */

static void open_pool_with(int running, uint32_t size_max, uint32_t idle)
{
    explore_lend(running);
    open_pool(usual(size_max), idle);
}

static void crew_of_one(void) { open_pool_with(1, 1, 0); }
static void crew_of_two(void) { open_pool_with(2, 1, 0); }

/* Two creations at once, for a loop that waits for both. */
static void crew_of_two_for_both(void)
{
    rsl_pool_config config = usual(2);
    config.creating_max = 2;
    explore_lend(2);
    open_pool(config, 0);
}

static void begin_two(int id)
{
    (void)begin(id);
    (void)begin(id + 1);
    for (int i = id; i <= id + 1; i++) {
        while (w.status[i] == RSL_WAIT && poll(i) == RSL_WAIT)
            rsl_park_wait_(&w.park[i], RSL_FOREVER);
        explore_check(w.status[i] == RSL_OK, "who polls is served");
    }
    release(id);
    release(id + 1);
}

static void crew_and_one_fails(void)
{
    crew_of_one();
    w.to_fail = 1;
}

static void crew_and_one_kept(void)
{
    open_pool_with(1, 1, 1);
    keep_one();
}

static void is_quiet_with_one(void)
{
    explore_check(w.made == 1, "none is made that is not wanted");
    is_quiet();
}

/* ---- other bounds ---- */

static void one_kept_of_two(void)
{
    open_pool(threadless(2), 2);
    keep_one();
}

/* The second one by thread 2. */
static void two_kept(void)
{
    open_pool(usual(2), 2);
    keep_one();
    explore_check(rsl_pool_acquire(w.pool, NULL, &w.lease[2]) == RSL_OK, "two are kept");
    hold(2);
}

static void shrink_or_cycle(int id)
{
    if (id > 0) cycle(id);
    else explore_check(rsl_pool_resize(w.pool, 0, 1) == RSL_OK, "it is resized");
}

static void shrink_or_try(int id)
{
    if (id == 0) shrink_or_cycle(0);
    else try_or_cycle(id);
}

static void shrink_or_release(int id)
{
    if (id == 1) release(KEPT);
    else shrink_or_cycle(id);
}

static void shrink_or_release_two(int id)
{
    if (id == 2) release(2);
    else shrink_or_release(id);
}

static void one_survives(void)
{
    explore_check(w.made - w.gone == 1, "as many are left as there may be");
    is_even();
}

static void grow_or_cycle(int id)
{
    if (id > 0) cycle(id);
    else explore_check(rsl_pool_resize(w.pool, 0, 2) == RSL_OK, "it is resized");
}

static void kept_one_is_released(void)
{
    release(KEPT);
    is_even();
}

static void the_kept_one_survives(void)
{
    explore_check(w.made - w.gone == 1, "what is released is destroyed while there are too many");
    release(KEPT);
    one_survives();
}

static void shrink_and_grow_or_cycle(int id)
{
    if (id > 0) {
        cycle(id);
        return;
    }
    explore_check(rsl_pool_resize(w.pool, 0, 1) == RSL_OK, "it is resized");
    explore_check(rsl_pool_resize(w.pool, 0, 2) == RSL_OK, "it is resized again");
}

/* ---- pause ---- */

static uint64_t leases_so_far(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < rsl_pool_extent_(w.pool); i++)
        sum += rsl_pool_slot_at_(w.pool, i)->word / RSL_POOL_NEXT_;
    return sum;
}

static void pause_or_cycle(int id)
{
    if (id > 0) {
        cycle(id);
        return;
    }
    explore_check(rsl_pool_pause(w.pool) == RSL_OK, "it pauses");
    uint64_t before = leases_so_far();
    explore_point_("pause", &w.moment, true);
    explore_check(leases_so_far() == before, "no lease begins in a pause");
    explore_check(rsl_pool_resume(w.pool) == RSL_OK, "it resumes");
}

static void pause_or_release_or_cycle(int id)
{
    if (id == 1) release(KEPT);
    else pause_or_cycle(id);
}

static void pause_or_release_or_leave(int id)
{
    if (id == 2) release_or_wait_a_while(1);
    else pause_or_release_or_cycle(id);
}

/* ---- invalidate ---- */

static void invalidate(void)
{
    w.told_old = true;
    rsl_pool_invalidate_all(w.pool);
    w.all_old = true;
}

static void cycle_with_new(int id)
{
    bool all_old = w.all_old;
    acquire_surely(id);
    explore_check(!all_old || !((thing *)w.lease[id].resource)->old, "none of before is lent");
    release(id);
}

static void invalidate_or_cycle(int id)
{
    if (id > 0) cycle_with_new(id);
    else invalidate();
}

static void invalidate_in_pause_or_cycle(int id)
{
    if (id > 0) {
        cycle_with_new(id);
        return;
    }
    explore_check(rsl_pool_pause(w.pool) == RSL_OK, "it pauses");
    invalidate();
    uint64_t last = w.leases;
    explore_check(rsl_pool_resume(w.pool) == RSL_OK, "it resumes");
    (void)last;
}

static void invalidate_or_release_or_cycle(int id)
{
    if (id == 1) release(KEPT);
    else invalidate_or_cycle(id);
}

static void none_of_before_is_left(void)
{
    (void)rsl_pool_maintain(w.pool);
    for (int i = 0; i < w.made; i++)
        explore_check(!w.things[i].old || !w.things[i].alive, "all of before are destroyed");
    is_even();
}

/* ---- leases given back twice ---- */

/* Threads 0 and 1 have the same lease. */
static void copy_the_kept_one(void)
{
    w.lease[0] = w.lease[1] = w.lease[KEPT];
    ((thing *)w.lease[0].resource)->holder = 0;
}

static void one_copied(void)
{
    one_kept();
    copy_the_kept_one();
}

static void one_copied_threadless(void)
{
    one_kept_threadless();
    copy_the_kept_one();
}

static void release_copy(int id)
{
    if (id < 2) w.status[id] = rsl_pool_release(w.pool, &w.lease[id]);
    else cycle(id);
}

static void release_or_discard_copy(int id)
{
    if (id == 1) w.status[1] = rsl_pool_discard(w.pool, &w.lease[1]);
    else release_copy(id);
}

static void released_once(void)
{
    explore_check((w.status[0] == RSL_OK) + (w.status[1] == RSL_OK) == 1, "one of them counts");
    explore_check(w.status[0] + w.status[1] == RSL_EINVAL, "the other is told");
    is_even();
}

/* ---- maintenance ---- */

static void idle_for_a_while(void)
{
    rsl_pool_config config = threadless(1);
    config.idle_timeout = LATER;
    open_pool(config, 1);
    cycle(0);
    explore_pass_time(LATER);
}

static void kept_alive(void)
{
    rsl_pool_config config = threadless(1);
    config.validate = validate;
    config.keepalive = LATER;
    config.validate_after = LATER;
    open_pool(config, 1);
    explore_pass_time(LATER);
}

static void maintain_or_cycle(int id)
{
    if (id > 0) cycle(id);
    else (void)rsl_pool_maintain(w.pool);
}

/* ---- close. No call may begin once it may have freed: the kept lease is released by the last
   thread that is still in a call, and keeps the pool till then. ---- */

static void close_pool(int id)
{
    w.status[id] = rsl_pool_close(w.pool, NULL);
    explore_check(w.status[id] == RSL_OK, "it is closed");
    explore_check(w.made == w.gone, "all are destroyed");
}

static void last_one_releases(void)
{
    w.users--;
    if (w.users == 1) release(KEPT);
}

static void close_or_cycle(int id)
{
    if (id == 0) {
        close_pool(0);
        return;
    }
    rsl_time deadline = id == 2 ? EXPLORE_EPOCH + LATER : 0;
    int status = acquire(id, deadline, NULL);
    if (status == RSL_OK) release(id);
    else explore_check(status == RSL_ECLOSED || (id == 2 && status == RSL_ETIMEOUT),
                       "served, or closed, or late");
    last_one_releases();
}

static void two_kept_to_race_for(void)
{
    two_kept();
    w.pool->settled_at = EXPLORE_EPOCH;
    w.users = 3;
}

static void close_or_race(int id)
{
    if (id < 2) {
        close_or_cycle(id);
        return;
    }
    release(2);
    last_one_releases();
}

static void close_or_release(int id)
{
    if (id == 0) close_pool(0);
    else release(id);
}

static void all_have_one(void)
{
    uint32_t others = (uint32_t)explore_.scenario->threads - 1;
    open_pool(usual(others), others);
    for (int id = 1; id <= (int)others; id++) {
        explore_check(rsl_pool_acquire(w.pool, NULL, &w.lease[id]) == RSL_OK, "one each");
        hold(id);
    }
}

static void close_or_discard(int id)
{
    if (id == 0) close_pool(0);
    else discard(id);
}

/* A close that has not the time to wait is called again. */
static void close_impatiently_or_release(int id)
{
    rsl_ctx ctx = {.deadline = EXPLORE_EPOCH + LATER};
    if (id > 0) {
        release(id);
        return;
    }
    w.status[0] = rsl_pool_close(w.pool, &ctx);
    if (w.status[0] == RSL_ETIMEOUT) close_pool(0);
    else explore_check(w.status[0] == RSL_OK, "closed, or out of time");
}

static void close_twice_or_release(int id)
{
    rsl_ctx now = {.deadline = 1};
    if (id == 1) {
        w.status[1] = rsl_pool_close(w.pool, &now);
        explore_check(w.status[1] != RSL_OK, "a lease is out");
        release(1);
        return;
    }
    while ((w.status[0] = rsl_pool_close(w.pool, NULL)) == RSL_EINVAL) explore_pause_();
    explore_check(w.status[0] == RSL_OK, "one close at a time, and one in the end");
}

/* Thread 1 has answered, or stands in the queue: from there on close waits for it. */
static void release_behind_the_first(void)
{
    while (w.pool->waiting == 0 && w.users == explore_.scenario->threads) explore_pause_();
    release(KEPT);
}

static void close_or_wait_or_release(int id)
{
    if (id == 0) close_pool(0);
    if (id == 2) release_behind_the_first();
    if (id != 1) return;
    int status = acquire(1, EXPLORE_EPOCH + LATER, NULL);
    explore_check(status == RSL_OK || status == RSL_ECLOSED || status == RSL_ETIMEOUT,
                  "served, or closed, or late");
    w.users--;
    if (status == RSL_OK) release(1);
}

static void close_or_poll(int id)
{
    if (id == 0) close_pool(0);
    if (id == 2) release(KEPT);
    if (id != 1) return;
    while (poll(1) == RSL_WAIT) rsl_park_wait_(&w.park[1], RSL_FOREVER);
    explore_check(w.status[1] == RSL_OK || w.status[1] == RSL_ECLOSED, "served, or closed");
    explore_dead(&w.waiter[1], sizeof w.waiter[1]);
    if (w.status[1] == RSL_OK) release(1);
}

static void close_or_abandon(int id)
{
    if (id == 0) close_pool(0);
    if (id == 2) release(KEPT);
    if (id != 1) return;
    rsl_pool_abandon(w.pool, &w.waiter[1]);
    explore_dead(&w.waiter[1], sizeof w.waiter[1]);
}

/* Who is woken to create leaves while the pool is closed. */
static void close_or_discard_or_abandon(int id)
{
    if (id == 0) close_pool(0);
    if (id == 2) discard(KEPT);
    if (id != 1) return;
    rsl_pool_abandon(w.pool, &w.waiter[1]);
    explore_dead(&w.waiter[1], sizeof w.waiter[1]);
}

static void one_kept_of_two_to_create(void)
{
    open_pool(threadless(2), 1);
    keep_one();
}

static void fill_with(int running)
{
    explore_lend(running);
    rsl_pool_config config = usual(1);
    config.size_min = 1;
    open_pool(config, 0);
}

static void crew_of_one_to_fill(void) { fill_with(1); }
static void crew_of_two_to_fill(void) { fill_with(2); }

static void close_alone(int id)
{
    if (id == 0) close_pool(0);
}

static void ticket_is_out(void)
{
    tickets_only();
    w.pool->config.size_min = 1;
    explore_check(rsl_pool_wanted(w.pool, &w.ticket) == RSL_OK, "one is wanted");
}

static void close_or_supply(int id)
{
    thing *made = NULL;
    if (id == 0) {
        close_pool(0);
        return;
    }
    int rc = explore_choose(2) == 0 ? 0 : FAILED;
    if (rc == 0) (void)make_thing('-', (void **)&made);
    int status = rsl_pool_supply(w.pool, &w.ticket, rc, made);
    explore_check(status == RSL_OK || (rc == 0 && status == RSL_ECLOSED), "taken, or closed");
}

/* ---- a forked child: its first uses. The parent's lock is held, by nobody here. ---- */

static void forked(void)
{
    rsl_pool_config config = threadless(2);
    config.abandon = forget;
    open_pool(config, 2);
    keep_one();
    w.leases = 0;
    w.pool->lock.word[1] = 77;
    for (int i = 0; i < 3; i++) w.pool->epoch_page[i] = 0;
}

static void cycle_or_release_stale(int id)
{
    if (id != 1) {
        cycle(id);
        return;
    }
    w.status[1] = rsl_pool_release(w.pool, &w.lease[KEPT]);
    explore_check(w.status[1] == RSL_EINVAL, "what the parent leased is no lease here");
}

static void all_of_the_parent_are_forgotten(void)
{
    explore_check(!w.things[0].alive && !w.things[1].alive, "each is abandoned");
    is_even();
}

/* ---- keyed pools ---- */

static void open_pools(bool threads, uint32_t total)
{
    rsl_pools_config config = {.create = create_of_key, .total_max = total};
    clear_world();
    if (threads) explore_lend(1);
    config.each = usual(2);
    config.each.create = NULL;
    config.each.caller_maintains = !threads;
    config.keys_max = 4;
    explore_check(rsl_pools_open(&w.pools, &config) == RSL_OK, "keyed pools are opened");
    w.pool = rsl_pools_pool(w.pools);
    w.users = explore_.scenario->threads;
}

static void acquire_key(int id, const char *key)
{
    w.status[id] = rsl_pools_acquire(w.pools, key, NULL, &w.lease[id]);
    explore_check(w.status[id] == RSL_OK, "who waits without a limit gets a resource");
    explore_check(((thing *)w.lease[id].resource)->key == key[0], "of his own key");
    hold(id);
}

/* The one there may be is of key b: leased, or idle. */
static void make_b(bool threads, uint32_t total)
{
    open_pools(threads, total);
    if (!threads) {
        acquire_key(KEPT, "b");
        return;
    }
    rsl_waiter waiter;
    memset(&waiter, 0, sizeof waiter);
    waiter.wake = rsl_park_post_;
    waiter.user = &w.park[0];
    explore_check(rsl_pools_begin(w.pools, "b", NULL, &waiter, &w.lease[KEPT]) == RSL_WAIT, "b");
    (void)rsl_pool_maintain(w.pool);
    int status = rsl_pool_poll(w.pool, &waiter, &w.lease[KEPT], explore_now());
    explore_check(status == RSL_OK, "b is leased");
    w.park[0] = 0;
    hold(KEPT);
}

static void b_is_kept(void) { make_b(false, 1); }
static void b_is_kept_with_crew(void) { make_b(true, 1); }

static void b_is_idle(void)
{
    make_b(false, 1);
    release(KEPT);
}

static void b_is_idle_with_crew(void)
{
    make_b(true, 1);
    release(KEPT);
}

static void release_b_or_want_a(int id)
{
    if (id == 0) release(KEPT);
    else acquire_key(id, "a");
    if (id > 0) release(id);
}

static void use_b_or_want_a(int id)
{
    acquire_key(id, id == 0 ? "b" : "a");
    release(id);
}

static void release_b_or_want_both(int id)
{
    if (id == 0) release(KEPT);
    else acquire_key(id, id == 1 ? "a" : "b");
    if (id > 0) release(id);
}

static void discard_b_or_want_both(int id)
{
    if (id == 0) discard(KEPT);
    else release_b_or_want_both(id);
}

/* A loop waits for a, and is in charge of creations. */
static void b_is_kept_and_loop_waits(void)
{
    b_is_kept();
    w.waiter[1].wake = rsl_park_post_;
    w.waiter[1].user = &w.park[1];
    int status = rsl_pools_begin(w.pools, "a", NULL, &w.waiter[1], &w.lease[1]);
    explore_check(status == RSL_WAIT, "a loop waits");
}

static void release_b_or_abandon_a(int id)
{
    if (id != 1) {
        release_b_or_want_a(id);
        return;
    }
    rsl_pool_abandon(w.pool, &w.waiter[1]);
    explore_dead(&w.waiter[1], sizeof w.waiter[1]);
}

/* Thread 2 has the other one. */
static void two_bs_are_kept(void)
{
    make_b(false, 2);
    acquire_key(2, "b");
}

static void release_bs_or_want_a(int id)
{
    if (id == 2) release(2);
    else release_b_or_want_a(id);
}

static void keyed_are_even(void)
{
    is_quiet();
    explore_check(w.pool->calls == 0, "all calls have ended");
    explore_check(rsl_pools_close(w.pools, NULL) == RSL_OK, "it is closed");
    explore_check(w.made == w.gone, "all are destroyed");
}

static void one_made_room(void)
{
    explore_check(w.gone == 1, "one gives up its place for one");
    keyed_are_even();
}

static void close_keyed_or_want(int id)
{
    if (id == 0) {
        explore_check(rsl_pools_close(w.pools, NULL) == RSL_OK, "it is closed");
        explore_check(w.made == w.gone, "all are destroyed");
        return;
    }
    w.status[id] = rsl_pools_acquire(w.pools, "a", NULL, &w.lease[id]);
    if (w.status[id] == RSL_OK) {
        hold(id);
        release(id);
    } else {
        explore_check(w.status[id] == RSL_ECLOSED, "served, or closed");
    }
    release(KEPT);
}

static void close_keyed_or_want_or_release(int id)
{
    if (id == 0) {
        explore_check(rsl_pools_close(w.pools, NULL) == RSL_OK, "it is closed");
        explore_check(w.made == w.gone, "all are destroyed");
    }
    if (id == 2) release_behind_the_first();
    if (id != 1) return;
    w.status[1] = rsl_pools_acquire(w.pools, "a", NULL, &w.lease[1]);
    w.users--;
    explore_check(w.status[1] == RSL_OK || w.status[1] == RSL_ECLOSED, "served, or closed");
    if (w.status[1] != RSL_OK) return;
    hold(1);
    release(1);
}

/* ---- planted bugs ---- */

/* A release that stores where it should exchange: it does not see the mark. */
static void release_blindly(int id)
{
    rsl_pool_lease *lease = &w.lease[id];
    ((thing *)lease->resource)->holder = 0;
    rsl_pool_slot_ *slot = rsl_pool_slot_at_(w.pool, lease->slot);
    if (rsl_load_(&slot->word) == lease->generation)
        rsl_store_(&slot->word, lease->generation - RSL_POOL_LEASED_ + RSL_POOL_IDLE_);
    else
        release(id);
}

static void release_blindly_or_cycle(int id)
{
    if (id == 0) release_blindly(KEPT);
    else cycle(id);
}

/* Waits in the queue, without any pass, or after one that only looked for what is idle. */
static void cycle_without_pass(int id, bool looks)
{
    rsl_pool_news_ news;
    rsl_waiter *waiter = &w.waiter[id];
    rsl_pool_slot_ *slot = NULL;
    waiter->wake = rsl_park_post_;
    waiter->user = &w.park[id];
    waiter->private_.word[0] = (uint64_t)RSL_FOREVER;
    rsl_pool_lock_(w.pool, &news);
    for (uint32_t i = 0; looks && i < rsl_pool_extent_(w.pool); i++) {
        uint64_t word;
        slot = rsl_pool_slot_at_(w.pool, i);
        if (!rsl_pool_grab_(slot, 0, &word)) slot = NULL;
    }
    if (slot == NULL) rsl_pool_enqueue_(w.pool, waiter);
    rsl_pool_unlock_(w.pool, &news);
    if (slot != NULL) return;
    rsl_park_wait_(&w.park[id], RSL_FOREVER);
}

static void release_or_queue_without_pass(int id)
{
    if (id == 0) release(KEPT);
    else cycle_without_pass(id, false);
}

static void release_or_queue_without_mark(int id)
{
    if (id == 0) release(KEPT);
    else cycle_without_pass(id, true);
}

/* Gives up at its deadline, and forgets that it may have been served. */
static void release_or_give_up_forgetfully(int id)
{
    if (id == 0) {
        release(KEPT);
        return;
    }
    rsl_ctx ctx = {.deadline = EXPLORE_EPOCH + LATER};
    w.waiter[id].wake = rsl_park_post_;
    w.waiter[id].user = &w.park[id];
    w.status[id] = rsl_pool_begin(w.pool, &ctx, &w.waiter[id], &w.lease[id]);
    if (w.status[id] == RSL_OK) {
        hold(id);
        release(id);
    }
    if (w.status[id] != RSL_WAIT) return;
    rsl_park_wait_(&w.park[id], ctx.deadline);
    rsl_pool_news_ news;
    rsl_pool_lock_(w.pool, &news);
    if (rsl_load_relaxed_(&w.waiter[id].private_.state) == RSL_WAITER_QUEUED_)
        rsl_pool_dequeue_(w.pool, &news, &w.waiter[id]);
    rsl_pool_unlock_(w.pool, &news);
}

/* Leaves the queue, and stays in charge. */
static void discard_or_leave_in_charge(int id)
{
    if (id == 0) discard(KEPT);
    if (id == 2) cycle(2);
    if (id != 1) return;
    rsl_pool_news_ news;
    rsl_pool_lock_(w.pool, &news);
    rsl_waiters_unlink_(&w.pool->queue, &w.waiter[1]);
    w.pool->waiting--;
    w.pool->keys[0].waiting--;
    rsl_pool_unlock_(w.pool, &news);
}

/* Leaves a race, and with it the pass that it owed. */
static void release_or_leave_race(int id)
{
    rsl_pool_news_ news;
    if (id == 0) release(KEPT);
    if (id == 2) cycle(2);
    if (id != 1) return;
    rsl_pool_lock_(w.pool, &news);
    bool queued = rsl_load_relaxed_(&w.waiter[1].private_.state) == RSL_WAITER_QUEUED_;
    if (queued) rsl_pool_dequeue_(w.pool, &news, &w.waiter[1]);
    w.pool->owes_pass = false;
    rsl_pool_unlock_(w.pool, &news);
    if (queued) return;
    (void)poll(1);
    release(1);
}

static void one_kept_and_racer(void)
{
    one_kept_to_race_for();
    explore_check(begin(1) == RSL_WAIT, "one waits");
    w.waiter[1].private_.word[2] |= rsl_pool_thread_;
}

/* Closes without waiting for those who were told. */
static void close_hastily_or_poll(int id)
{
    if (id > 0) {
        close_or_poll(id);
        return;
    }
    rsl_pool_news_ news;
    rsl_pool_lock_(w.pool, &news);
    rsl_pool_close_begin_(w.pool, &news);
    rsl_lock_take_(&w.pool->lock);
    w.pool->told = 0;
    w.pool->closer = false;
    rsl_lock_drop_(&w.pool->lock);
    close_pool(0);
}

static const explore_scenario scenarios[] = {
    /* name, threads, before, thread, after, bound, planted */
    {"two share one resource", 2, one_idle, cycle, one_is_left, 0, false},
    {"two share one resource, twice each", 2, one_idle, cycle_twice, one_is_left, 0, false},
    {"two share one resource by the quickest way", 2, one_idle_and_known, cycle_twice,
     one_is_left, 0, false},
    {"two share one resource of a pool without threads", 2, one_idle_threadless, cycle,
     one_is_left, 0, false},
    {"three share one resource", 3, one_idle, cycle, one_is_left, 2, false},
    {"three share two resources", 3, two_idle, cycle, two_are_left, 2, false},
    {"three share one resource and race for it", 3, one_idle_to_race_for, cycle_twice,
     one_is_left, 2, false},
    {"two wait, and one that comes is left to race", 3, one_kept_to_race_for, release_or_cycle,
     one_is_left, 2, false},
    {"two try while one waits", 3, one_idle, try_or_cycle, one_is_left, 2, false},
    {"a hand-off meets a time-out", 2, one_kept, release_or_wait_a_while, one_is_left, 0, false},
    {"a hand-off meets a time-out, and another waits", 3, one_kept, release_or_wait_a_while,
     one_is_left, 2, false},
    {"a racer's time is up, and another waits", 3, one_kept_to_race_for, release_or_wait_a_while,
     one_is_left, 2, false},
    {"a hand-off meets a cancel", 3, one_kept_and_token, release_or_fire_or_wait, one_is_left, 2,
     false},
    {"a hand-off meets a cancel, and another waits", 4, one_kept_and_token,
     release_or_fire_or_wait, one_is_left, 1, false},
    {"a racer is cancelled, and another waits", 4, one_kept_to_race_for_and_token,
     release_or_fire_or_wait, one_is_left, 1, false},
    {"a hand-off meets an abandon", 2, one_kept, release_or_abandon, one_is_left, 4, false},
    {"a hand-off meets an abandon, and another waits", 3, one_kept, release_or_abandon,
     one_is_left, 2, false},
    {"nobody overtakes who waits", 3, loop_waits, release_or_come_later, one_is_left, 2, false},
    {"a loop polls until it is served", 2, one_kept, release_or_poll, one_is_left, 0, false},
    {"a loop and a thread wait", 3, one_kept_to_race_for, release_or_poll, one_is_left, 2, false},

    {"two create one", 2, none_yet, cycle, one_is_left, 2, false},
    {"three create one", 3, none_yet, cycle, one_is_left, 1, false},
    {"two create two", 2, none_yet_of_two, cycle, is_even, 2, false},
    {"two create one, at the second attempt", 2, none_yet_and_one_fails, cycle, one_is_left, 2,
     false},
    {"two create one, at the second attempt, and one has no time", 2, none_yet_and_one_fails,
     cycle_or_be_told, one_is_left, 2, false},
    {"a discard has who waits create", 2, one_kept_threadless, discard_or_cycle, two_are_left, 0,
     false},
    {"a discard has one of two who wait create", 3, one_kept_threadless, discard_or_cycle,
     two_are_left, 2, false},
    {"a discard has one of two who wait create, at the second attempt", 3,
     one_kept_threadless_and_one_fails, discard_or_cycle, two_are_left, 1, false},
    {"who is in charge creates for another first", 3, one_kept_threadless, discard_or_go_first,
     is_even, 2, false},
    {"who is in charge of creations is late", 3, one_kept_threadless, discard_or_wait_a_while,
     two_are_left, 1, false},
    {"who is in charge of creations leaves", 3, one_kept_and_loop_in_charge,
     discard_or_leave_charge, is_even, 2, false},
    {"a loop in charge makes what is wanted", 2, one_kept_and_loop_in_charge,
     discard_or_serve_oneself, is_even, 0, false},
    {"a loop in charge makes what is wanted, and a thread waits", 3, one_kept_and_loop_in_charge,
     discard_or_serve_oneself, is_even, 1, false},
    {"a loop supplies two who wait", 3, tickets_only, supply_or_cycle, one_is_left, 1, false},
    {"each use is the last of a resource", 2, each_use_is_the_last, cycle, is_even, 0, false},

    {"a thread of the pool creates", 2, crew_of_one, cycle, is_quiet_with_one, 0, false},
    {"a thread of the pool creates for two", 3, crew_of_one, cycle, is_quiet_with_one, 2,
     false},
    {"two threads of the pool create", 3, crew_of_two, cycle, is_quiet_with_one, 2, false},
    {"two threads of the pool create for two at once", 3, crew_of_two_for_both, begin_two,
     is_quiet, 1, false},
    {"a thread of the pool creates at the second attempt", 2, crew_and_one_fails, cycle,
     is_quiet_with_one, 0, false},
    {"a thread of the pool replaces what is discarded", 3, crew_and_one_kept, discard_or_cycle,
     is_quiet, 2, false},

    {"it shrinks while one of two is used", 2, one_kept_of_two, shrink_or_try,
     the_kept_one_survives, 4, false},
    {"it shrinks while two are used", 3, two_idle, shrink_or_cycle, one_survives, 2, false},
    {"it shrinks while one is released", 2, one_kept_of_two, shrink_or_release, one_survives, 4,
     false},
    {"it shrinks while two are released", 3, two_kept, shrink_or_release_two, one_survives, 2,
     false},
    {"it grows for who waits", 2, one_kept_threadless, grow_or_cycle, kept_one_is_released, 0,
     false},
    {"it shrinks and grows while two use it", 3, two_idle, shrink_and_grow_or_cycle, is_quiet, 1,
     false},
    {"a pause meets a lease", 2, one_idle, pause_or_cycle, one_is_left, 4, false},
    {"a pause meets two leases", 3, one_idle, pause_or_cycle, one_is_left, 2, false},
    {"a pause meets a release and who waits", 3, one_kept, pause_or_release_or_cycle, one_is_left,
     2, false},
    {"a pause meets a race", 4, one_kept_to_race_for, pause_or_release_or_cycle, one_is_left, 1,
     false},
    {"a pause meets who gives up", 3, one_kept, pause_or_release_or_leave, one_is_left, 2, false},
    {"invalidating meets a lease", 2, one_idle_threadless, invalidate_or_cycle,
     none_of_before_is_left, 0, false},
    {"invalidating meets a creation", 2, none_yet, invalidate_or_cycle, none_of_before_is_left, 0,
     false},
    {"invalidating meets a hand-off", 3, one_kept_threadless, invalidate_or_release_or_cycle,
     none_of_before_is_left, 2, false},
    {"invalidating in a pause meets who waits", 2, one_idle_threadless,
     invalidate_in_pause_or_cycle, none_of_before_is_left, 0, false},
    {"a lease is released twice", 2, one_copied, release_copy, released_once, 5, false},
    {"a lease is released twice while one waits", 3, one_copied, release_copy, released_once, 2,
     false},
    {"a lease is released and discarded", 2, one_copied_threadless, release_or_discard_copy,
     released_once, 5, false},
    {"a lease is released and discarded while one waits", 3, one_copied_threadless,
     release_or_discard_copy, released_once, 2, false},
    {"what is idle too long is used", 2, idle_for_a_while, maintain_or_cycle, is_even, 0, false},
    {"what is kept alive is used", 2, kept_alive, maintain_or_cycle, one_is_left, 0, false},

    {"close meets a release", 2, all_have_one, close_or_release, NULL, 3, false},
    {"close meets two releases", 3, all_have_one, close_or_release, NULL, 2, false},
    {"close meets a discard", 2, all_have_one, close_or_discard, NULL, 3, false},
    {"close without time meets a release", 2, all_have_one, close_impatiently_or_release, NULL, 2,
     false},
    {"two closes meet a release", 2, all_have_one, close_twice_or_release, NULL, 2, false},
    {"close meets who waits", 2, one_kept, close_or_cycle, NULL, 0, false},
    {"close meets two who wait, one for a while", 3, one_kept, close_or_cycle, NULL, 1, false},
    {"close meets a race", 3, two_kept_to_race_for, close_or_race, NULL, 2, false},
    {"close meets a creation", 2, one_kept_of_two_to_create, close_or_cycle, NULL, 2, false},
    {"close meets two who create", 3, one_kept_of_two_to_create, close_or_cycle, NULL, 1, false},
    {"close meets who waits while another releases", 3, one_kept, close_or_wait_or_release, NULL,
     1, false},
    {"close meets a loop that waits", 3, loop_waits, close_or_poll, NULL, 2, false},
    {"close meets a loop that leaves", 3, loop_waits, close_or_abandon, NULL, 2, false},
    {"close meets a loop that leaves when it is to create", 3, one_kept_and_loop_in_charge,
     close_or_discard_or_abandon, NULL, 2, false},
    {"close meets a supply", 2, ticket_is_out, close_or_supply, NULL, 3, false},
    {"close meets a thread of the pool", 2, crew_of_one_to_fill, close_alone, NULL, 0, false},
    {"close meets two threads of the pool", 3, crew_of_two_to_fill, close_alone, NULL, 2, false},

    {"a forked child begins with two leases", 2, forked, cycle, all_of_the_parent_are_forgotten,
     2, false},
    {"a forked child begins with a lease and a stale release", 2, forked, cycle_or_release_stale,
     all_of_the_parent_are_forgotten, 2, false},

    {"a key waits for what another releases", 2, b_is_kept, release_b_or_want_a, keyed_are_even,
     0, false},
    {"a key takes the place of another that is used", 2, b_is_idle, use_b_or_want_a,
     keyed_are_even, 2, false},
    {"two keys wait for one place", 3, b_is_kept, release_b_or_want_both, keyed_are_even, 1,
     false},
    {"two keys wait for one place, and what had it is discarded", 3, b_is_kept,
     discard_b_or_want_both, keyed_are_even, 1, false},
    {"a key waits for what another releases, and who came first leaves", 3,
     b_is_kept_and_loop_waits, release_b_or_abandon_a, keyed_are_even, 1, false},
    {"a key waits, and another releases two", 3, two_bs_are_kept, release_bs_or_want_a,
     one_made_room, 1, false},
    {"a key waits for what another releases, and a thread creates", 3, b_is_kept_with_crew,
     release_b_or_want_a, is_quiet, 2, false},
    {"a key takes the place of another that is used, and a thread creates", 3,
     b_is_idle_with_crew, use_b_or_want_a, is_quiet, 1, false},
    {"two keys wait for one place, and a thread creates", 4, b_is_kept_with_crew,
     release_b_or_want_both, is_quiet, 1, false},
    {"keyed pools are closed while a key waits", 2, b_is_kept, close_keyed_or_want, NULL, 2,
     false},
    {"keyed pools are closed while a key waits and another releases", 3, b_is_kept,
     close_keyed_or_want_or_release, NULL, 1, false},

    {"a planted release that does not see the mark", 2, one_kept, release_blindly_or_cycle, NULL,
     0, true},
    {"a planted waiter that queues without a pass", 2, one_kept, release_or_queue_without_pass,
     NULL, 0, true},
    {"a planted pass that does not mark", 2, one_kept, release_or_queue_without_mark, NULL, 0,
     true},
    {"a planted hand-off that is lost at a deadline", 2, one_kept, release_or_give_up_forgetfully,
     is_even, 0, true},
    {"a planted charge that nobody takes over", 3, one_kept_and_loop_in_charge,
     discard_or_leave_in_charge, NULL, 0, true},
    {"a planted racer that leaves its pass undone", 3, one_kept_and_racer, release_or_leave_race,
     NULL, 0, true},
    {"a planted close that does not wait for whom it told", 3, loop_waits, close_hastily_or_poll,
     NULL, 0, true},
};

int main(void)
{
    explore_start();
    for (size_t i = 0; i < RSL_COUNT(scenarios); i++) explore(&scenarios[i]);
    return explore_finish();
}
