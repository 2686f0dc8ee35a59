/* SPDX-License-Identifier: MIT
   explore_bulkhead.c: what bulkhead.h promises about permits, in every order of a few threads:
   never more inside than the limit, no permit lost or doubled however they lie, nobody who waits
   forgotten, and counts exact once all is quiet. Planted bugs show that the explorer finds what
   it looks for. Prints TAP.                                                                     */
#include "support/explore.h"

#define RSL_BULKHEAD_SHARDS_ 2u
#define RSL_BULKHEAD_CALM_   2u
#define RSL_IMPLEMENTATION
#include "resilience.h"
#include "bulkhead.h"

enum { FAILED = 42, LATER = 1000000, KEPT = EXPLORE_THREADS, PERMITS = EXPLORE_THREADS + 2 };

/* All that the threads of a scenario share. Each `before` starts it from nothing. */
static struct world {
    rsl_bulkhead        bulkhead;
    rsl_bulkhead_permit permit[PERMITS]; /* from KEPT on: out before the threads begin */
    rsl_execution       execution[EXPLORE_THREADS];
    rsl_layer           layer;
    rsl_cancel          cancel;
    rsl_word_           moment;          /* whoever is inside is so for a moment */
    int                 status[PERMITS];
    uint32_t            limit, least;    /* the highest and the lowest limit so far */
    uint32_t            settled;         /* the limit, once resize has returned; 0: unknown */
    uint32_t            asked[PERMITS];  /* what that was when the call began */
    uint32_t            inside, inside_most;
    uint32_t            calling, begun;  /* calls under way, and so far */
    uint64_t            admitted, refused, gave_up;
    uint64_t            cut;             /* runs that ended early, let in or not */
} w;

/* ---- the world ---- */

/* Nobody waits for a clock here unless the scenario says so. */
static rsl_bulkhead_config usual(uint32_t calls_max)
{
    rsl_bulkhead_config config = {.calls_max = calls_max, .waiting_max = 8};
    return config;
}

static void make(rsl_bulkhead_config config)
{
    memset(&w, 0, sizeof w);
    w.limit = w.least = config.calls_max;
    explore_check(rsl_bulkhead_init(&w.bulkhead, &config) == RSL_OK, "a bulkhead is made");
    w.layer = rsl_bulkhead_layer(&w.bulkhead);
}

static rsl_bulkhead_stats stats_now(void)
{
    rsl_bulkhead_stats stats;
    rsl_bulkhead_stats_get(&w.bulkhead, &stats);
    return stats;
}

static void go_in(int id)
{
    w.admitted++;
    w.inside++;
    if (w.inside > w.inside_most) w.inside_most = w.inside;
    explore_check(w.inside <= w.limit, "never more inside than the limit");
    bool knows = w.settled != 0 && w.asked[id] == w.settled;
    explore_check(!knows || w.inside <= w.settled, "none goes in above a limit that has shrunk");
    if (id < EXPLORE_THREADS) explore_point_("inside", &w.moment, true);
}

static void call_begins(int id)
{
    w.asked[id] = w.settled;
    w.calling++;
    w.begun++;
}

static void leave_with(int id, int result)
{
    w.inside--;
    call_begins(id);
    explore_check(rsl_bulkhead_leave(&w.bulkhead, &w.permit[id], result) == RSL_OK, "it leaves");
    w.calling--;
    int again = rsl_bulkhead_leave(&w.bulkhead, &w.permit[id], result);
    explore_check(again == RSL_EINVAL, "a second leave is told");
}

static void leave(int id) { leave_with(id, 0); }

static int enter(int id, rsl_time deadline, rsl_cancel *cancel)
{
    rsl_ctx ctx = {.deadline = deadline, .cancel = cancel};
    call_begins(id);
    w.status[id] = rsl_bulkhead_enter(&w.bulkhead, &ctx, &w.permit[id]);
    w.calling--;
    if (w.status[id] == RSL_OK) go_in(id);
    else if (w.status[id] == RSL_EFULL) w.refused++;
    else w.gave_up++;
    return w.status[id];
}

/* Nothing but a permit is the answer. */
static void cycle(int id)
{
    explore_check(enter(id, 0, NULL) == RSL_OK, "who waits without a limit gets a permit");
    leave(id);
}

static void cycle_twice(int id)
{
    cycle(id);
    cycle(id);
}

/* A refusal is certain: some permit is inside, or another call under way may have it. */
static bool enters_at_once(int id)
{
    bool certain = !explore_.delays_used; /* in what order others see it */
    bool free = w.inside + w.calling < w.least;
    call_begins(id);
    uint32_t begun = w.begun;
    w.status[id] = rsl_bulkhead_try(&w.bulkhead, &w.permit[id]);
    w.calling--;
    bool alone = w.begun == begun;
    if (w.status[id] == RSL_OK) {
        go_in(id);
        return true;
    }
    w.refused++;
    explore_check(w.status[id] == RSL_EFULL, "let in, or full");
    explore_check(!free || !alone || !certain, "who is refused would have been too many");
    return false;
}

static void try_once(int id)
{
    if (enters_at_once(id)) leave(id);
}

static void try_twice(int id)
{
    try_once(id);
    try_once(id);
}

/* The frame enters before the threads begin. */
static void keep(int count)
{
    for (int i = 0; i < count; i++)
        explore_check(enters_at_once(KEPT + i), "one is kept");
}

/* Does as if it were this thread, so that what it leaves lies where that one looks first. */
static void as_thread(int id, void (*work)(int id))
{
    uint64_t own = explore_.selves[EXPLORE_FRAME_];
    explore_.selves[EXPLORE_FRAME_] = explore_.selves[id];
    work(KEPT + 1);
    explore_.selves[EXPLORE_FRAME_] = own;
}

static void all_use_one_shard(void)
{
    for (int i = 0; i < EXPLORE_THREADS; i++)
        explore_.selves[i] = (uint64_t)(i + 1) * 4096 * RSL_BULKHEAD_SHARDS_;
}

/* ---- what holds in the end ---- */

/* Each permit that was given out lies at hand somewhere, once, and no step back is owed. */
static void permits_are_conserved(void)
{
    int64_t at_hand = 0;
    uint64_t center = w.bulkhead.center_;
    bool spread = center & RSL_CENTER_SPREAD_;
    for (uint32_t i = 0; i < RSL_BULKHEAD_SHARDS_; i++) {
        uint64_t word = w.bulkhead.shards_[i].word;
        explore_check(rsl_shard_is_closed_(word) != spread, "all shards are as the center says");
        int64_t hand = rsl_shard_hand_(spread ? word : word - (uint64_t)RSL_SHARD_CLOSED_);
        explore_check(spread ? hand >= 0 : hand == 0, "nothing is owed, none is locked in");
        at_hand += hand;
    }
    explore_check(at_hand == (int64_t)rsl_center_given_(center), "no permit is lost or doubled");
}

static void is_quiet(void)
{
    rsl_bulkhead_stats stats = stats_now();
    explore_check(w.inside == 0 && stats.in_use == 0, "all have left");
    explore_check(stats.waiting == 0 && w.bulkhead.queue_.first == NULL, "the queue is empty");
    explore_check(!(w.bulkhead.center_ & RSL_CENTER_WAITED_), "nobody is said to wait");
    explore_check(stats.admitted >= w.admitted, "those let in are counted");
    explore_check(stats.admitted <= w.admitted + w.cut, "and no others");
    explore_check(stats.refused == w.refused, "those refused are counted");
    uint64_t gave_up = stats.timed_out + stats.canceled; /* not who was late before he waited */
    explore_check(gave_up <= w.gave_up, "those who gave up are counted");
    permits_are_conserved();
}

/* Exactly as many as the limit says go in, wherever the permits lie. */
static void is_even(void)
{
    is_quiet();
    uint32_t limit = stats_now().limit;
    for (uint32_t i = 0; i < limit; i++)
        explore_check(rsl_bulkhead_try(&w.bulkhead, &w.permit[KEPT]) == RSL_OK, "all are free");
    int status = rsl_bulkhead_try(&w.bulkhead, &w.permit[KEPT]);
    explore_check(status == RSL_EFULL, "and not one more");
    rsl_bulkhead_deinit(&w.bulkhead);
}

/* ---- SPREAD and GATHERED, and the way from one to the other ---- */

static void one(void) { make(usual(1)); }
static void two(void) { make(usual(2)); }

static void one_in_one_shard(void)
{
    all_use_one_shard();
    one();
    as_thread(0, try_once);
}

static void two_in_one_shard(void)
{
    all_use_one_shard();
    two();
    as_thread(0, try_once);
}

/* Where thread a looks first. */
static void one_at_hand(void)
{
    one();
    as_thread(0, try_once);
}

static void one_kept(void)
{
    one();
    keep(1);
}

static void two_kept(void)
{
    two();
    keep(2);
}

static void gather(void)
{
    explore_check(!enters_at_once(0), "all are out");
    explore_check(!(w.bulkhead.center_ & RSL_CENTER_SPREAD_), "gathered");
}

static void one_kept_gathered(void)
{
    one_kept();
    gather();
}

static void two_kept_gathered(void)
{
    two_kept();
    gather();
}

/* One is at hand, one is out, and all who come use the same shard. */
static void one_kept_of_two(void)
{
    two_in_one_shard();
    keep(1);
}

static void leave_or_cycle(int id)
{
    if (id == 0) leave(KEPT);
    else cycle(id);
}

static void leave_or_try(int id)
{
    if (id == 0) leave(KEPT);
    else try_once(id);
}

static void leave_or_try_twice(int id)
{
    if (id == 0) leave(KEPT);
    else try_twice(id);
}

static void leave_two_or_cycle(int id)
{
    if (id < 2) leave(KEPT + id);
    else cycle(id);
}

static void leave_two_or_try_twice(int id)
{
    if (id < 2) leave(KEPT + id);
    else try_twice(id);
}

static void cycle_or_try(int id)
{
    if (id == 0) cycle(id);
    else try_once(id);
}

/* ---- who gives up ---- */

static void one_kept_and_token(void)
{
    one_kept();
    explore_check(rsl_cancel_init(&w.cancel, NULL) == RSL_OK, "a token is made");
}

/* b waits a while only. */
static void leave_or_wait_a_while(int id)
{
    if (id != 1) {
        leave_or_cycle(id);
        return;
    }
    int status = enter(1, EXPLORE_EPOCH + LATER, NULL);
    explore_check(status == RSL_OK || status == RSL_ETIMEOUT, "let in, or late");
    if (status == RSL_OK) leave(1);
}

static void leave_or_fire_or_wait(int id)
{
    if (id == 1) {
        rsl_cancel_fire(&w.cancel);
        return;
    }
    if (id != 2) {
        leave_or_cycle(id);
        return;
    }
    int status = enter(2, 0, &w.cancel);
    bool fired = rsl_cancel_fired(&w.cancel);
    explore_check(status == RSL_OK || (status == RSL_ECANCELED && fired), "let in, or cancelled");
    if (status == RSL_OK) leave(2);
    explore_check(w.cancel.listeners_.first == NULL, "nobody listens any more");
}

/* One may wait, and who comes next is refused. */
static void room_for_one(void)
{
    rsl_bulkhead_config config = usual(1);
    config.waiting_max = 1;
    make(config);
    keep(1);
}

static void leave_or_enter_if_there_is_room(int id)
{
    if (id == 0) leave(KEPT);
    else if (enter(id, 0, NULL) == RSL_OK) leave(id);
    else explore_check(w.status[id] == RSL_EFULL, "let in, or no room to wait");
}

static void some_went_in(void)
{
    explore_check(w.refused <= 1, "there was room for one to wait");
    is_even();
}

/* ---- layers ---- */

static int look_around(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    int id = *(int *)arg;
    go_in(id);
    w.inside--;
    return 0;
}

static int run(int id, rsl_time deadline, rsl_cancel *cancel)
{
    rsl_ctx ctx = {.deadline = deadline, .cancel = cancel};
    w.status[id] = rsl_run(&w.layer, 1, &ctx, look_around, &id);
    bool cut = w.status[id] == RSL_ETIMEOUT || w.status[id] == RSL_ECANCELED;
    w.cut += cut;
    w.gave_up += cut;
    w.refused += w.status[id] == RSL_EFULL;
    return w.status[id];
}

static void leave_or_run(int id)
{
    if (id == 0) leave(KEPT);
    else if (id == 1) cycle(id);
    else explore_check(run(id, 0, NULL) == RSL_OK, "who waits without a limit gets a permit");
}

static void leave_or_run_a_while(int id)
{
    if (id == 0) leave(KEPT);
    else if (id == 2) cycle(id);
    else explore_check(run(id, EXPLORE_EPOCH + LATER, NULL) == RSL_OK ||
                       w.status[id] == RSL_ETIMEOUT, "let in, or late");
}

static void leave_or_fire_or_run(int id)
{
    if (id == 0) leave(KEPT);
    else if (id == 1) rsl_cancel_fire(&w.cancel);
    else if (id == 3) cycle(id);
    else explore_check(run(id, 0, &w.cancel) == RSL_OK || w.status[id] == RSL_ECANCELED,
                       "let in, or cancelled");
}

/* The executions wait before it begins. */
static void step_first(int id)
{
    rsl_execution *e = &w.execution[id];
    rsl_execution_begin(e, &w.layer, 1, NULL);
    rsl_execution_wake_by(e, rsl_park_post_, &e->private_.park);
    w.status[id] = rsl_execution_step(e, EXPLORE_EPOCH);
}

static void one_kept_and_steps_first(void)
{
    one_kept();
    step_first(1);
    explore_check(w.status[1] == RSL_WAIT, "an execution waits");
}

static void abandon(int id)
{
    rsl_execution *e = &w.execution[id];
    bool steps = explore_choose(2) == 1;
    if (steps) w.status[id] = rsl_execution_step(e, EXPLORE_EPOCH);
    if (w.status[id] == RSL_RUN) w.admitted++;
    else w.gave_up++;
    rsl_execution_abandon(e, EXPLORE_EPOCH);
    explore_dead(e, sizeof *e);
}

static void leave_or_abandon(int id)
{
    if (id == 1) abandon(id);
    else leave_or_cycle(id);
}

static void leave_or_step(int id)
{
    rsl_execution *e = &w.execution[id];
    if (id != 1) {
        leave_or_cycle(id);
        return;
    }
    while (w.status[id] == RSL_WAIT) {
        rsl_park_wait_(&e->private_.park, RSL_FOREVER);
        w.status[id] = rsl_execution_step(e, EXPLORE_EPOCH);
    }
    explore_check(w.status[id] == RSL_RUN, "who is woken is let in");
    (void)look_around(NULL, &id);
    rsl_execution_report(e, EXPLORE_EPOCH, 0);
    explore_check(rsl_execution_step(e, EXPLORE_EPOCH) == RSL_DONE, "and done");
    explore_dead(e, sizeof *e);
}

/* ---- other limits ---- */

static void resize(uint32_t limit)
{
    int id = explore_.current;
    w.settled = 0;
    if (limit > w.limit) w.limit = limit;
    if (limit < w.least) w.least = limit;
    call_begins(id);
    explore_check(rsl_bulkhead_resize(&w.bulkhead, limit) == RSL_OK, "it is resized");
    w.calling--;
    w.settled = limit;
    explore_check(rsl_bulkhead_resize(&w.bulkhead, 0) == RSL_EINVAL, "not to nothing");
}

static void grow_or_leave_or_cycle(int id)
{
    if (id == 0) resize(2);
    else if (id == 1) leave(KEPT);
    else cycle(id);
}

static void shrink_or_cycle(int id)
{
    if (id == 0) resize(1);
    else cycle(id);
}

static void shrink_or_try(int id)
{
    if (id == 0) resize(1);
    else try_twice(id);
}

static void shrink_or_leave_two_or_cycle(int id)
{
    if (id == 0) resize(1);
    else if (id == 1) leave(KEPT);
    else if (id == 2) leave(KEPT + 1);
    else cycle(id);
}

static void shrink_and_grow_or_cycle(int id)
{
    if (id > 0) {
        cycle(id);
        return;
    }
    resize(1);
    resize(2);
}

static void grow_or_wait_a_while(int id)
{
    if (id == 0) resize(2);
    else leave_or_wait_a_while(id);
}

static void grown_and_left(void)
{
    explore_check(stats_now().limit == 2, "the limit is as it was set");
    leave(KEPT);
    is_even();
}

static void shrunk(void)
{
    explore_check(stats_now().limit == 1, "the limit is as it was set");
    is_even();
}

/* ---- limits that adapt ---- */

static void adapting(uint32_t limit)
{
    rsl_bulkhead_config config = usual(limit);
    config.limit = RSL_LIMIT_AIMD;
    config.limit_max = 3;
    make(config);
    w.limit = 3;
}

static void adapting_one_kept(void)
{
    adapting(1);
    keep(1);
}

static void adapting_two_kept(void)
{
    adapting(2);
    keep(2);
}

static void leave_well_or_cycle(int id)
{
    if (id == 0) leave_with(KEPT, explore_choose(2) == 0 ? 0 : FAILED);
    else cycle(id);
}

static void overload_or_cycle(int id)
{
    if (id < 2) leave_with(KEPT + id, RSL_ETIMEOUT);
    else cycle(id);
}

static void overload_or_resize_or_cycle(int id)
{
    if (id == 0) leave_with(KEPT, RSL_ETIMEOUT);
    else if (id == 1) resize(3);
    else cycle(id);
}

static void overload_or_wait_a_while(int id)
{
    if (id == 0) leave_with(KEPT, RSL_ETIMEOUT);
    else if (id == 2) leave_with(KEPT + 1, RSL_ETIMEOUT);
    else leave_or_wait_a_while(id);
}

static void one_more_leaves(void)
{
    leave(KEPT + 1);
    is_even();
}

static void adapted_are_even(void)
{
    explore_check(w.inside_most <= 3, "never more than limit_max");
    is_even();
}

/* ---- a queue that stands ---- */

static void shedding(void)
{
    rsl_bulkhead_config config = usual(1);
    config.shed = RSL_SHED_CODEL;
    config.shed_target = config.shed_interval = LATER / 4;
    make(config);
    keep(1);
}

static void pass_time_and_leave(int id)
{
    explore_pass_time(LATER / 2);
    leave(id);
}

static void leave_late_or_wait(int id)
{
    if (id == 0) pass_time_and_leave(KEPT);
    else if (enter(id, 0, NULL) == RSL_OK) leave(id);
    else explore_check(w.status[id] == RSL_EFULL, "let in, or shed");
}

static void leave_late_or_wait_a_while(int id)
{
    int status = RSL_OK;
    if (id != 1) {
        leave_late_or_wait(id);
        return;
    }
    status = enter(1, EXPLORE_EPOCH + LATER, NULL);
    explore_check(status == RSL_OK || status == RSL_EFULL || status == RSL_ETIMEOUT,
                  "let in, or shed, or late");
    if (status == RSL_OK) leave(1);
}

static void leave_late_or_fire_or_wait(int id)
{
    if (id == 1) rsl_cancel_fire(&w.cancel);
    if (id != 2) {
        if (id != 1) leave_late_or_wait(id);
        return;
    }
    int status = enter(2, 0, &w.cancel);
    explore_check(status == RSL_OK || status == RSL_EFULL || status == RSL_ECANCELED,
                  "let in, or shed, or cancelled");
    if (status == RSL_OK) leave(2);
}

static void shedding_and_token(void)
{
    shedding();
    explore_check(rsl_cancel_init(&w.cancel, NULL) == RSL_OK, "a token is made");
}

static void shedding_and_steps_first(void)
{
    shedding();
    step_first(1);
    explore_check(w.status[1] == RSL_WAIT, "an execution waits");
}

/* It may be shed already: then a step would tell, and the abandon has to know. */
static void leave_late_or_abandon(int id)
{
    if (id != 1) {
        leave_late_or_wait(id);
        return;
    }
    rsl_execution_abandon(&w.execution[1], EXPLORE_EPOCH);
    explore_dead(&w.execution[1], sizeof w.execution[1]);
}

static void shed_or_gone(void)
{
    rsl_bulkhead_stats stats = stats_now();
    explore_check(stats.shed + stats.canceled == 1 + w.refused, "each is counted once");
    w.refused = stats.refused;
    w.gave_up = stats.canceled;
    is_even();
}

/* ---- writes that are seen late: see explore_delay ---- */

static void one_kept_seen_late(void)
{
    one_kept();
    explore_delay(1);
}

static void one_seen_late(void)
{
    one_in_one_shard();
    explore_delay(1);
}

static void two_kept_gathered_seen_late(void)
{
    two_kept_gathered();
    explore_delay(1);
}

static void one_kept_of_two_seen_late(void)
{
    one_kept_of_two();
    explore_delay(1);
}

/* ---- planted bugs: words are written otherwise than the code says ---- */

static bool is_shard(const void *address)
{
    uintptr_t size = RSL_BULKHEAD_SHARDS_ * sizeof(rsl_bulkhead_shard_);
    return (uintptr_t)address - (uintptr_t)w.bulkhead.shards_ < size;
}

static bool is_center(const void *address)
{
    return address == (const void *)&w.bulkhead.center_;
}

/* Entries begin at 0, so that a step back borrows from what is at hand. */
static uint64_t no_entries_to_take_off(const void *address, uint64_t before, uint64_t after)
{
    bool closes = !rsl_shard_is_closed_(before) && rsl_shard_is_closed_(after);
    return is_shard(address) && closes ? after - (uint64_t)RSL_SHARD_NONE_ : after;
}

static uint64_t no_step_back(const void *address, uint64_t before, uint64_t after)
{
    bool steps_back = after - before == (uint64_t)RSL_SHARD_ONE_ - 1;
    return is_shard(address) && steps_back ? before : after;
}

static uint64_t rescued_and_kept(const void *address, uint64_t before, uint64_t after)
{
    bool rescues = rsl_shard_is_closed_(after) && before - after == (uint64_t)RSL_SHARD_ONE_;
    return is_shard(address) && rescues ? before : after;
}

static uint64_t wait_without_mark(const void *address, uint64_t before, uint64_t after)
{
    bool marks = (before ^ after) == RSL_CENTER_WAITED_;
    return is_center(address) && marks ? before : after;
}

static uint64_t closed_and_spread(const void *address, uint64_t before, uint64_t after)
{
    bool gathers = (before & RSL_CENTER_SPREAD_) && !(after & RSL_CENTER_SPREAD_);
    return is_center(address) && gathers ? after | RSL_CENTER_SPREAD_ : after;
}

static uint64_t handed_and_not_counted(const void *address, uint64_t before, uint64_t after)
{
    bool hands = (before & RSL_CENTER_WAITED_) &&
                 rsl_center_given_(after) > rsl_center_given_(before);
    return is_center(address) && hands ? after - 1 : after;
}

static void plant_no_entries(void)
{
    one_in_one_shard();
    explore_plant(no_entries_to_take_off);
}

static void plant_no_step_back(void)
{
    one_in_one_shard();
    explore_plant(no_step_back);
}

static void plant_kept_rescue(void)
{
    one_kept();
    explore_plant(rescued_and_kept);
}

static void plant_unmarked_wait(void)
{
    one_kept();
    explore_plant(wait_without_mark);
}

static void plant_closed_and_spread(void)
{
    one();
    explore_plant(closed_and_spread);
}

static void plant_uncounted_hand_off(void)
{
    one_kept();
    explore_plant(handed_and_not_counted);
}

/* ---- planted bugs: other ways to do it ---- */

/* Frees its permit without a look for who waits. */
static void leave_blindly(int id)
{
    w.inside--;
    w.permit[id].private_ = 0;
    rsl_word_ *center = &w.bulkhead.center_;
    uint64_t seen = rsl_load_(center);
    while (!rsl_cas_(center, &seen, seen - 1)) continue;
}

static void leave_blindly_or_cycle(int id)
{
    if (id == 0) leave_blindly(KEPT);
    else cycle(id);
}

/* Looks for a free permit before it queues, and not while it marks that it waits. */
static void leave_or_look_first(int id)
{
    rsl_bulkhead *b = &w.bulkhead;
    rsl_waiter waiter = {.wake = rsl_park_post_};
    rsl_word_ park = 0;
    if (id == 0) {
        leave(KEPT);
        return;
    }
    if (rsl_center_has_room_(rsl_load_(&b->center_))) return;
    waiter.user = &park;
    rsl_lock_take_(&b->lock_);
    rsl_bulkhead_push_(b, &waiter, 0, EXPLORE_EPOCH);
    uint64_t center = rsl_load_(&b->center_);
    while (!rsl_cas_(&b->center_, &center, center | RSL_CENTER_WAITED_)) continue;
    rsl_lock_drop_(&b->lock_);
    while (rsl_load_(&waiter.private_.state) == RSL_WAITER_QUEUED_)
        rsl_park_wait_(&park, RSL_FOREVER);
    (void)rsl_bulkhead_end_wait_(b, &waiter, EXPLORE_EPOCH);
}

/* Gives up at its deadline, and forgets that it may have been handed a permit. */
static void leave_or_give_up_forgetfully(int id)
{
    rsl_bulkhead *b = &w.bulkhead;
    rsl_waiter waiter = {.wake = rsl_park_post_};
    rsl_word_ park = 0;
    if (id == 0) {
        leave(KEPT);
        return;
    }
    waiter.user = &park;
    int status = rsl_bulkhead_line_up_(b, &waiter, 0, EXPLORE_EPOCH);
    if (status == RSL_WAIT) {
        rsl_park_wait_(&park, EXPLORE_EPOCH + LATER);
        (void)rsl_bulkhead_end_wait_(b, &waiter, EXPLORE_EPOCH);
        w.gave_up++;
        w.cut++;
    } else {
        rsl_bulkhead_give_(b, 0);
        w.admitted++;
    }
}

/* Is refused where a permit may be on its way to the center. */
static void shut_out(int id)
{
    rsl_bulkhead *b = &w.bulkhead;
    if (id == 0) {
        leave(KEPT);
        return;
    }
    rsl_lock_take_(&b->lock_);
    uint64_t center = rsl_load_(&b->center_); /* says GATHERED before the shards are closed */
    while (!rsl_cas_(&b->center_, &center, center & ~RSL_CENTER_SPREAD_)) continue;
    uint64_t at_hand = 0;
    for (uint32_t i = 0; i < RSL_BULKHEAD_SHARDS_; i++)
        at_hand += rsl_bulkhead_close_(b, &b->shards_[i]);
    while (!rsl_cas_(&b->center_, &center, center - at_hand)) continue;
    rsl_lock_drop_(&b->lock_);
}

static void shut_out_or_try(int id)
{
    if (id == 2) try_once(2);
    else if (id == 0) leave(KEPT);
    else shut_out(id);
}

static const explore_scenario scenarios[] = {
    /* name, threads, before, thread, after, bound, planted */
    {"two try for one permit", 2, one, try_once, is_even, 0, false},
    {"two try for one permit, twice each", 2, one, try_twice, is_even, 0, false},
    {"three try for one permit", 3, one, try_once, is_even, 0, false},
    {"three try for two permits", 3, two, try_once, is_even, 0, false},
    {"two try for one permit at hand", 2, one_at_hand, try_twice, is_even, 0, false},
    {"three try for one permit in one shard", 3, one_in_one_shard, try_once, is_even, 0, false},
    {"three try for two permits in one shard", 3, two_in_one_shard, try_once, is_even, 0, false},
    {"two share one permit", 2, one, cycle, is_even, 0, false},
    {"two share one permit, twice each", 2, one, cycle_twice, is_even, 0, false},
    {"two share one permit in one shard", 2, one_in_one_shard, cycle_twice, is_even, 0, false},
    {"three share one permit", 3, one, cycle, is_even, 2, false},
    {"three share one permit in one shard", 3, one_in_one_shard, cycle, is_even, 2, false},
    {"three share two permits", 3, two, cycle, is_even, 0, false},
    {"one waits while others try", 3, one, cycle_or_try, is_even, 2, false},
    {"one leaves while another enters", 2, one_kept, leave_or_cycle, is_even, 4, false},
    {"one leaves while two enter", 3, one_kept, leave_or_cycle, is_even, 2, false},
    {"one leaves while two enter, gathered", 3, one_kept_gathered, leave_or_cycle, is_even, 2,
     false},
    {"one leaves while the shards open", 3, two_kept_gathered, leave_two_or_try_twice, is_even, 0,
     false},
    {"one leaves while others try", 3, one_kept, leave_or_try, is_even, 0, false},
    {"one leaves while the shards close and open", 3, one_kept_of_two, leave_or_try_twice,
     is_even, 0, false},
    {"two leave while one enters", 3, two_kept, leave_two_or_cycle, is_even, 0, false},
    {"two leave while two enter, gathered", 4, two_kept_gathered, leave_two_or_cycle, is_even, 1,
     false},

    {"a hand-off meets a time-out", 2, one_kept, leave_or_wait_a_while, is_even, 4, false},
    {"a hand-off meets a time-out, and another waits", 3, one_kept, leave_or_wait_a_while,
     is_even, 2, false},
    {"a hand-off meets a cancel", 3, one_kept_and_token, leave_or_fire_or_wait, is_even, 2, false},
    {"a hand-off meets a cancel, and another waits", 4, one_kept_and_token, leave_or_fire_or_wait,
     is_even, 1, false},
    {"one of two has room to wait", 3, room_for_one, leave_or_enter_if_there_is_room,
     some_went_in, 2, false},

    {"an execution and a thread wait", 3, one_kept, leave_or_run, is_even, 2, false},
    {"a hand-off meets the deadline of an execution", 2, one_kept, leave_or_run_a_while, is_even,
     0, false},
    {"a hand-off meets the deadline of an execution, and another waits", 3, one_kept,
     leave_or_run_a_while, is_even, 2, false},
    {"a hand-off meets the cancel of an execution", 3, one_kept_and_token, leave_or_fire_or_run,
     is_even, 2, false},
    {"a hand-off meets the cancel of an execution, and another waits", 4, one_kept_and_token,
     leave_or_fire_or_run, is_even, 1, false},
    {"a hand-off meets an abandon", 2, one_kept_and_steps_first, leave_or_abandon, is_even, 4,
     false},
    {"a hand-off meets an abandon, and another waits", 3, one_kept_and_steps_first,
     leave_or_abandon, is_even, 2, false},
    {"an execution is stepped until it is let in", 2, one_kept_and_steps_first, leave_or_step,
     is_even, 4, false},
    {"an execution is stepped until it is let in, and another waits", 3, one_kept_and_steps_first,
     leave_or_step, is_even, 2, false},

    {"it grows for who waits", 3, one_kept, grow_or_leave_or_cycle, is_even, 2, false},
    {"it grows for two who wait", 3, one_kept, grow_or_wait_a_while, grown_and_left, 2, false},
    {"it shrinks while two share two", 3, two, shrink_or_cycle, shrunk, 0, false},
    {"it shrinks while two share two in one shard", 3, two_in_one_shard, shrink_or_cycle, shrunk,
     0, false},
    {"it shrinks while two try", 3, two_in_one_shard, shrink_or_try, shrunk, 2, false},
    {"it shrinks while two leave and one enters", 4, two_kept, shrink_or_leave_two_or_cycle,
     shrunk, 1, false},
    {"it shrinks and grows while two share two", 3, two_in_one_shard, shrink_and_grow_or_cycle,
     is_even, 0, false},

    {"a limit that grows lets in who waits", 3, adapting_one_kept, leave_well_or_cycle,
     adapted_are_even, 2, false},
    {"a limit that shrinks lets in who waits", 3, adapting_two_kept, overload_or_cycle,
     adapted_are_even, 0, false},
    {"a limit that shrinks meets a resize", 3, adapting_two_kept, overload_or_resize_or_cycle,
     one_more_leaves, 0, false},
    {"a limit that shrinks meets a time-out", 3, adapting_two_kept, overload_or_wait_a_while,
     adapted_are_even, 2, false},

    {"who waits too long is shed", 2, shedding, leave_late_or_wait, is_even, 4, false},
    {"two wait too long and are shed", 3, shedding, leave_late_or_wait, is_even, 2, false},
    {"shedding meets a time-out", 3, shedding, leave_late_or_wait_a_while, is_even, 2, false},
    {"shedding meets a cancel", 4, shedding_and_token, leave_late_or_fire_or_wait, is_even, 1,
     false},
    {"shedding meets an abandon", 3, shedding_and_steps_first, leave_late_or_abandon,
     shed_or_gone, 2, false},

    {"two share one permit, and a write is seen late", 2, one_seen_late, cycle_twice, is_even, 1,
     false},
    {"a hand-off meets a time-out, and a write is seen late", 2, one_kept_seen_late,
     leave_or_wait_a_while, is_even, 0, false},
    {"one leaves while two enter, and a write is seen late", 3, one_kept_seen_late,
     leave_or_cycle, is_even, 1, false},
    {"one leaves while the shards open, and a write is seen late", 3, two_kept_gathered_seen_late,
     leave_two_or_try_twice, is_even, 0, false},
    {"one leaves while the shards close and open, and a write is seen late", 3,
     one_kept_of_two_seen_late, leave_or_try_twice, is_even, 2, false},

    {"a planted step back that borrows from what is at hand", 2, plant_no_entries, cycle_twice,
     is_even, 0, true},
    {"a planted lack of a step back", 2, plant_no_step_back, try_twice, is_even, 0, true},
    {"a planted rescue that keeps what it carries", 2, plant_kept_rescue, leave_or_try, is_even,
     0, true},
    {"a planted wait without a mark", 2, plant_unmarked_wait, leave_or_cycle, is_even, 0, true},
    {"a planted spread center over closed shards", 2, plant_closed_and_spread, try_once, is_even,
     0, true},
    {"a planted hand-off that is not counted", 2, plant_uncounted_hand_off, leave_or_cycle,
     is_even, 0, true},
    {"a planted leave that does not look who waits", 2, one_kept_gathered, leave_blindly_or_cycle,
     is_even, 0, true},
    {"a planted look before the wait", 2, one_kept_gathered, leave_or_look_first, NULL, 0, true},
    {"a planted hand-off that is lost at a deadline", 2, one_kept, leave_or_give_up_forgetfully,
     is_even, 0, true},
    {"a planted GATHERED before the shards are closed", 3, one_kept, shut_out_or_try, NULL, 0,
     true},
};

int main(void)
{
    explore_start();
    for (size_t i = 0; i < RSL_COUNT(scenarios); i++) explore(&scenarios[i]);
    return explore_finish();
}
