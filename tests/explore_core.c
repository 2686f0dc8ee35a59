/* SPDX-License-Identifier: MIT
   explore_core.c: what core.h and the execution promise about waiting, waking and cancelling, in
   every order of a few threads. Planted bugs show that the explorer finds what it looks for.
   Prints TAP.                                                                                   */
#include "support/explore.h"

#define RSL_IMPLEMENTATION
#include "resilience.h"

enum { FAILED = 42, LATER = 1000000 };

/* All that the threads of a scenario share. Each `before` starts it from nothing. */
static struct world {
    rsl_cancel    parent, child;
    rsl_waiter    listener;
    rsl_execution execution;
    rsl_retry     retry;
    rsl_layer     layer;
    rsl_lock_     lock;
    rsl_cond_     cond;
    rsl_word_     park, flag_a, flag_b;
    int           wakes, calls;
    bool          done; /* guarded by lock */
} w;

static void empty_world(void)
{
    memset(&w, 0, sizeof w);
}

static void make_token(void)
{
    empty_world();
    explore_check(rsl_cancel_init(&w.parent, NULL) == RSL_OK, "a token is made");
}

static void end_token(void)
{
    explore_check(w.parent.listeners_.first == NULL, "nobody listens any more");
    rsl_cancel_deinit(&w.parent);
}

static void count_wake(void *user)
{
    (void)user;
    w.wakes++;
}

/* ---- cancelling a sleep ---- */

static void sleep_until_fired(rsl_cancel *cancel, rsl_time until)
{
    rsl_ctx ctx = {.cancel = cancel};
    rsl_word_ park = 0; /* on the stack: a post that comes late is seen */
    rsl_ctx_sleep_(&ctx, NULL, &park, until);
}

static void fire_or_sleep(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    sleep_until_fired(&w.parent, RSL_FOREVER);
    explore_check(rsl_cancel_fired(&w.parent), "who slept for ever was woken by the fire");
}

static void fire_or_sleep_a_while(int id)
{
    if (id > 0) rsl_cancel_fire(&w.parent);
    else sleep_until_fired(&w.parent, EXPLORE_EPOCH + LATER);
}

static void fire_or_sleep_both(int id)
{
    if (id == 1) rsl_cancel_fire(&w.parent);
    else sleep_until_fired(&w.parent, id == 0 ? RSL_FOREVER : EXPLORE_EPOCH + LATER);
}

/* ---- a listener's memory ---- */

static void listen_first(void)
{
    make_token();
    w.listener.wake = count_wake;
    explore_check(rsl_cancel_listen_(&w.parent, &w.listener), "the listener is taken");
}

static void fire_or_unlisten(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    rsl_cancel_unlisten_(&w.parent, &w.listener);
    explore_dead(&w.listener, sizeof w.listener);
}

static void woken_at_most_once(void)
{
    explore_check(w.wakes <= 1, "a listener is woken once at most");
    end_token();
}

static void fire_twice(int id)
{
    (void)id;
    rsl_cancel_fire(&w.parent);
}

static void woken_exactly_once(void)
{
    explore_check(w.wakes == 1, "two fires wake a listener once");
    explore_check(rsl_cancel_fired(&w.parent), "it has fired");
    rsl_cancel_unlisten_(&w.parent, &w.listener);
    end_token();
}

/* The token is the sleeper's own: he ends it as soon as he is awake, though the fire that woke him
   has not returned. */
static void fire_or_sleep_and_end(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    sleep_until_fired(&w.parent, RSL_FOREVER);
    rsl_cancel_deinit(&w.parent);
    explore_dead(&w.parent, sizeof w.parent);
}

/* ---- parent and child ---- */

static void make_family(void)
{
    make_token();
    explore_check(rsl_cancel_init(&w.child, &w.parent) == RSL_OK, "a child is made");
}

static void fire_or_end_child(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    rsl_cancel_deinit(&w.child);
    explore_dead(&w.child, sizeof w.child);
}

/* The parent's fire may be under way when the child ends; the child's own must be over. */
static void fire_both_or_end_child(int id)
{
    if (id == 2) rsl_cancel_fire(&w.parent);
    if (id == 1) {
        rsl_cancel_fire(&w.child);
        rsl_store_(&w.flag_a, 1);
    }
    if (id != 0) return;
    while (rsl_load_(&w.flag_a) == 0) rsl_pause_(0);
    fire_or_end_child(0);
}

/* Whoever sees that a token has fired may end it, though the fire has not returned. */
static void fire_or_end_fired_child(int id)
{
    if (id > 0) {
        rsl_cancel_fire(explore_choose(2) == 0 ? &w.child : &w.parent);
        return;
    }
    while (!rsl_cancel_fired(&w.child)) rsl_pause_(0);
    fire_or_end_child(0);
}

static void fire_or_begin_child(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    explore_check(rsl_cancel_init(&w.child, &w.parent) == RSL_OK, "a child is made");
}

static void child_has_fired(void)
{
    explore_check(rsl_cancel_fired(&w.child), "the child of a fired token has fired");
    rsl_cancel_deinit(&w.child);
    end_token();
}

static void fire_or_live_as_child(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    explore_check(rsl_cancel_init(&w.child, &w.parent) == RSL_OK, "a child is made");
    sleep_until_fired(&w.child, RSL_FOREVER);
    explore_check(rsl_cancel_fired(&w.child), "the fire went through to the child");
    rsl_cancel_deinit(&w.child);
    explore_dead(&w.child, sizeof w.child);
}

/* ---- parking ---- */

static void post_or_wait(int id)
{
    if (id > 0) {
        rsl_store_(&w.flag_a, 1);
        rsl_park_post_(&w.park);
        return;
    }
    rsl_park_wait_(&w.park, EXPLORE_EPOCH + LATER);
    if (rsl_load_(&w.flag_a) == 0) rsl_park_wait_(&w.park, RSL_FOREVER);
    while (rsl_load_(&w.flag_a) == 0) rsl_park_wait_(&w.park, RSL_FOREVER);
}

static void post_twice_or_wait(int id)
{
    if (id > 0) {
        rsl_store_(id == 1 ? &w.flag_a : &w.flag_b, 1);
        rsl_park_post_(&w.park);
        return;
    }
    rsl_park_wait_(&w.park, EXPLORE_EPOCH + LATER);
    while (rsl_load_(&w.flag_a) == 0 || rsl_load_(&w.flag_b) == 0)
        rsl_park_wait_(&w.park, RSL_FOREVER);
}

static void wait_once(int id)
{
    if (id > 0) rsl_park_post_(&w.park);
    else rsl_park_wait_(&w.park, RSL_FOREVER);
}

static void nothing_is_parked(void)
{
    explore_check(w.park <= RSL_POSTED_, "no sleeper is left in the word");
}

/* ---- executions in a backoff ---- */

static int fails(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    w.calls++;
    return FAILED;
}

static void make_retry(void)
{
    make_token();
    rsl_retry_config config = {.attempts_max = 2, .delay_first = RSL_SEC(60)};
    config.delay_max = RSL_SEC(60);
    config.jitter = RSL_JITTER_NONE;
    explore_check(rsl_retry_init(&w.retry, &config) == RSL_OK, "a retry is made");
    w.layer = rsl_retry_layer(&w.retry);
}

static void fire_or_run(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    rsl_ctx ctx = {.cancel = &w.parent};
    int result = rsl_run(&w.layer, 1, &ctx, fails, NULL);
    bool cancelled = result == RSL_ECANCELED && w.calls < 2 && rsl_cancel_fired(&w.parent);
    bool cut = w.calls == 1 && rsl_cancel_fired(&w.parent); /* before there was a backoff */
    explore_check(cancelled || (result == FAILED && (w.calls == 2 || cut)),
                  "cancelled, or tried twice");
}

static void fire_or_retry(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    rsl_ctx ctx = {.cancel = &w.parent};
    int result = rsl_retry_call(&w.retry, &ctx, fails, NULL);
    explore_check(w.calls == 0 ? result == RSL_ECANCELED : result == FAILED,
                  "the last attempt's own result, or not tried");
}

static int step_to_backoff(void)
{
    rsl_ctx ctx = {.cancel = &w.parent};
    rsl_execution_begin(&w.execution, &w.layer, 1, &ctx);
    rsl_execution_wake_by(&w.execution, rsl_park_post_, &w.park);
    int next = rsl_execution_step(&w.execution, RSL_SEC(1));
    if (next != RSL_RUN) return next;
    rsl_execution_report(&w.execution, RSL_SEC(1), FAILED);
    return rsl_execution_step(&w.execution, RSL_SEC(1));
}

static void fire_or_abandon(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    int next = step_to_backoff();
    explore_check(next == RSL_WAIT || next == RSL_DONE, "it backs off, or is cancelled");
    rsl_execution_abandon(&w.execution, RSL_SEC(1));
    explore_dead(&w.execution, sizeof w.execution);
}

static void fire_or_step(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    int next = step_to_backoff();
    while (next == RSL_WAIT) {
        rsl_park_wait_(&w.park, RSL_FOREVER);
        next = rsl_execution_step(&w.execution, RSL_SEC(1));
    }
    bool backed_off = w.execution.result == RSL_ECANCELED;
    explore_check(next == RSL_DONE && (backed_off || w.execution.result == FAILED), "it ends");
    explore_check(rsl_cancel_fired(&w.parent), "nothing but the fire ended it");
    explore_dead(&w.execution, sizeof w.execution);
    explore_dead(&w.park, sizeof w.park);
}

/* ---- a gate: a layer that lets in so many at once, in the order in which they came ---- */

static struct gate {
    rsl_lock_    lock;
    rsl_waiters_ queue;   /* guarded by lock */
    int          permits; /* guarded by lock */
    int          inside, inside_most;
} gate;

enum { GATE_OUTSIDE, GATE_QUEUED, GATE_INSIDE };

static void gate_release(void)
{
    rsl_lock_take_(&gate.lock);
    rsl_waiter *next = rsl_waiters_take_(&gate.queue);
    gate.permits += next == NULL;
    rsl_lock_drop_(&gate.lock);
    if (next != NULL) rsl_waiter_wake_(next);
}

static int gate_go_in(rsl_slot *slot)
{
    slot->word[0] = GATE_INSIDE;
    gate.inside++;
    if (gate.inside > gate.inside_most) gate.inside_most = gate.inside;
    return RSL_OK;
}

/* Called again early, it must not lose its place: it stands at the end of the queue again. */
static int gate_enter(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    if (slot->word[0] == GATE_QUEUED && rsl_waiters_leave_(&gate.queue, &gate.lock, &e->waiter))
        return gate_go_in(slot);
    rsl_lock_take_(&gate.lock);
    bool free = gate.permits > 0;
    if (free) gate.permits--;
    else rsl_waiters_push_(&gate.queue, &e->waiter);
    rsl_lock_drop_(&gate.lock);
    if (free) return gate_go_in(slot);
    slot->word[0] = GATE_QUEUED;
    e->wake_at = RSL_FOREVER;
    return RSL_WAIT;
}

static void gate_go_out(rsl_slot *slot)
{
    gate.inside--;
    slot->word[0] = GATE_OUTSIDE;
    gate_release();
}

static int gate_leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    (void)e;
    gate_go_out(slot);
    return RSL_DONE;
}

static void gate_abandon(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    bool queued = slot->word[0] == GATE_QUEUED;
    if (slot->word[0] == GATE_INSIDE) gate_go_out(slot);
    else if (queued && rsl_waiters_leave_(&gate.queue, &gate.lock, &e->waiter)) gate_release();
}

static const rsl_layer_type gate_type = {"gate", gate_enter, gate_leave, gate_abandon};

static void make_gate(void)
{
    make_token();
    memset(&gate, 0, sizeof gate);
    rsl_lock_init_(&gate.lock);
    gate.permits = 1;
    w.layer = (rsl_layer){&gate_type, &gate};
}

static void make_taken_gate(void)
{
    make_gate();
    gate.permits = 0;
}

static void gate_is_even(void)
{
    explore_check(gate.inside_most <= 1, "never more inside than permits");
    explore_check(gate.inside == 0 && gate.permits == 1, "no permit is lost, none is made");
    explore_check(gate.queue.first == NULL, "nobody is left in the queue");
    end_token();
}

static int passes(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    explore_check(gate.inside == 1, "alone inside");
    rsl_store_(&w.flag_a, 1); /* a moment inside */
    return 0;
}

/* a waits for ever, b until its deadline. */
static void go_through_gate(int id)
{
    rsl_ctx ctx = {.deadline = id == 1 ? EXPLORE_EPOCH + LATER : 0};
    int result = rsl_run(&w.layer, 1, &ctx, passes, NULL);
    explore_check(result == 0 || (id == 1 && result == RSL_ETIMEOUT), "through, or too late");
}

static void go_through_gate_or_fire(int id)
{
    rsl_ctx ctx = {.cancel = &w.parent};
    if (id == 2) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    if (id == 0) ctx.cancel = NULL;
    int result = rsl_run(&w.layer, 1, &ctx, passes, NULL);
    explore_check(result == 0 || (id == 1 && result == RSL_ECANCELED), "through, or cancelled");
}

static void grant_or_abandon(int id)
{
    if (id > 0) {
        gate_release();
        return;
    }
    rsl_execution_begin(&w.execution, &w.layer, 1, NULL);
    rsl_execution_wake_by(&w.execution, rsl_park_post_, &w.execution.private_.park);
    (void)rsl_execution_step(&w.execution, RSL_SEC(1));
    if (explore_choose(2) == 1) (void)rsl_execution_step(&w.execution, RSL_SEC(1));
    rsl_execution_abandon(&w.execution, RSL_SEC(1));
    explore_dead(&w.execution, sizeof w.execution);
}

/* ---- planted bugs ---- */

/* A post that stores where it should exchange: a sleeper that comes in between is overwritten. */
static void careless_post(rsl_word_ *word)
{
    uint64_t before = rsl_load_(word);
    rsl_store_(word, RSL_POSTED_);
    if (before <= RSL_POSTED_) return;
    rsl_parker_ *parker = (rsl_parker_ *)(uintptr_t)before;
    rsl_lock_take_(&parker->lock);
    parker->posted = true;
    rsl_cond_signal_(&parker->cond);
    rsl_lock_drop_(&parker->lock);
}

static void post_carelessly_or_wait(int id)
{
    if (id > 0) careless_post(&w.park);
    else rsl_park_wait_(&w.park, RSL_FOREVER);
}

/* Signals after the lock is dropped: the parker may be gone. */
static void late_post(rsl_word_ *word)
{
    uint64_t before = rsl_exchange_(word, RSL_POSTED_);
    if (before <= RSL_POSTED_) return;
    rsl_parker_ *parker = (rsl_parker_ *)(uintptr_t)before;
    rsl_lock_take_(&parker->lock);
    parker->posted = true;
    rsl_lock_drop_(&parker->lock);
    rsl_cond_signal_(&parker->cond);
}

static void post_late_or_wait(int id)
{
    if (id > 0) late_post(&w.park);
    else rsl_park_wait_(&w.park, EXPLORE_EPOCH + LATER);
}

/* Gives up a wait that has been granted without waiting for WOKEN. */
static void fire_or_unlisten_hastily(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    rsl_lock_take_(&w.parent.lock_);
    if (rsl_load_(&w.listener.private_.state) == RSL_WAITER_QUEUED_)
        rsl_waiters_unlink_(&w.parent.listeners_, &w.listener);
    rsl_lock_drop_(&w.parent.lock_);
    explore_dead(&w.listener, sizeof w.listener);
}

/* Abandons a wait and forgets that it may have been granted. */
static void abandon_forgetfully(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    if (slot->word[0] == GATE_INSIDE) gate_go_out(slot);
    else (void)rsl_waiters_leave_(&gate.queue, &gate.lock, &e->waiter);
}

static const rsl_layer_type forgetful_type = {"gate", gate_enter, gate_leave,
                                              abandon_forgetfully};

static void make_forgetful_gate(void)
{
    make_gate();
    w.layer.type = &forgetful_type;
}

/* Looks whether a token has fired, then sleeps without listening under its lock. */
static void fire_or_look_first(int id)
{
    if (id > 0) {
        rsl_cancel_fire(&w.parent);
        return;
    }
    if (rsl_cancel_fired(&w.parent)) return;
    w.listener.wake = rsl_park_post_;
    w.listener.user = &w.park;
    rsl_lock_take_(&w.parent.lock_);
    rsl_waiters_push_(&w.parent.listeners_, &w.listener);
    rsl_lock_drop_(&w.parent.lock_);
    rsl_park_wait_(&w.park, RSL_FOREVER);
}

static void make_lock_and_cond(void)
{
    empty_world();
    rsl_lock_init_(&w.lock);
    rsl_cond_init_(&w.cond);
}

/* Two wait for one flag, and one signal is made for both. */
static void signal_for_broadcast(int id)
{
    rsl_lock_take_(&w.lock);
    if (id == 2) {
        w.done = true;
        rsl_cond_signal_(&w.cond);
    }
    while (!w.done) rsl_cond_wait_(&w.cond, &w.lock, RSL_FOREVER);
    rsl_lock_drop_(&w.lock);
}

static const explore_scenario scenarios[] = {
    {"a fire wakes who sleeps for ever", 2, make_token, fire_or_sleep, end_token, 4, false},
    {"two fires at once wake who sleeps for ever", 3, make_token, fire_or_sleep, end_token, 0,
     false},
    {"a sleep ends by a fire or its time, and its memory is free", 2, make_token,
     fire_or_sleep_a_while, end_token, 4, false},
    {"a fire wakes two sleepers, one of which gives up", 3, make_token, fire_or_sleep_both,
     end_token, 2, false},
    {"a listener's memory is free after unlisten", 2, listen_first, fire_or_unlisten,
     woken_at_most_once, 5, false},
    {"a listener's memory is free after unlisten, with two fires", 3, listen_first,
     fire_or_unlisten, woken_at_most_once, 0, false},
    {"three fires at once wake a listener once", 3, listen_first, fire_twice, woken_exactly_once,
     0, false},
    {"a token's memory is free after deinit by whom it woke", 2, make_token,
     fire_or_sleep_and_end, NULL, 4, false},
    {"a child's memory is free after deinit while its parent fires", 2, make_family,
     fire_or_end_child, end_token, 5, false},
    {"a child's memory is free after deinit, with two fires of the parent", 3, make_family,
     fire_or_end_child, end_token, 0, false},
    {"a child's memory is free after deinit, fired itself before", 3, make_family,
     fire_both_or_end_child, end_token, 0, false},
    {"a token's memory is free after deinit by who saw it fire", 2, make_family,
     fire_or_end_fired_child, end_token, 5, false},
    {"a child made while its parent fires has fired", 2, make_token, fire_or_begin_child,
     child_has_fired, 5, false},
    {"a child that is made, slept under and ended while its parent fires", 2, make_token,
     fire_or_live_as_child, end_token, 0, false},
    {"no post is lost, though a wait's time is up meanwhile", 2, empty_world, post_or_wait,
     nothing_is_parked, 4, false},
    {"two posts end one wait", 3, empty_world, wait_once, nothing_is_parked, 0, false},
    {"of two posters none is lost", 3, empty_world, post_twice_or_wait, nothing_is_parked, 0,
     false},
    {"a run is cancelled in its backoff, or ends it", 2, make_retry, fire_or_run, end_token, 0,
     false},
    {"rsl_retry_call is cancelled in its backoff, or ends it", 2, make_retry, fire_or_retry,
     end_token, 0, false},
    {"an execution is abandoned while its token fires", 2, make_retry, fire_or_abandon,
     end_token, 4, false},
    {"an execution that is stepped is woken by a fire", 2, make_retry, fire_or_step, end_token, 0,
     false},
    {"a permit is granted while its waiter is abandoned", 2, make_taken_gate, grant_or_abandon,
     gate_is_even, 4, false},
    {"two go through a gate of one, one with a deadline", 2, make_gate, go_through_gate,
     gate_is_even, 0, false},
    {"three go through a gate of one, one with a deadline", 3, make_gate, go_through_gate,
     gate_is_even, 0, false},
    {"two go through a gate of one, and one is cancelled", 3, make_gate, go_through_gate_or_fire,
     gate_is_even, 0, false},
    {"a planted lost wake-up", 2, empty_world, post_carelessly_or_wait, nothing_is_parked, 0,
     true},
    {"a planted signal after the parker is gone", 2, empty_world, post_late_or_wait,
     nothing_is_parked, 0, true},
    {"a planted touch of a listener that was given up", 2, listen_first, fire_or_unlisten_hastily,
     end_token, 0, true},
    {"a planted loss of a permit", 2, make_forgetful_gate, go_through_gate, gate_is_even, 0, true},
    {"a planted look before the wait", 2, make_token, fire_or_look_first, end_token, 0, true},
    {"a planted signal for a broadcast", 3, make_lock_and_cond, signal_for_broadcast, NULL, 0,
     true},
};

/* ---- the explorer itself: which orders of two threads with three steps it sees ---- */

static uint32_t orders[64], orders_count;

static void take_three_steps(int id)
{
    for (int i = 0; i < 3; i++) {
        rsl_store_(&w.flag_a, 0); /* here it may be preempted */
        w.calls = w.calls * 2 + id;
    }
}

static void note_order(void)
{
    for (uint32_t i = 0; i < orders_count; i++) {
        if (orders[i] == (uint32_t)w.calls) return;
    }
    orders[orders_count++] = (uint32_t)w.calls;
}

/* Counted by hand: without preemption 2; with one, each of them cut in two places more: 6; in all
   6! / (3! 3!) = 20. */
static void orders_are_complete(void)
{
    static const struct { const char *name; int bound; uint32_t orders; } known[] = {
        {"the explorer sees 6 orders with at most 1 preemption", 1, 6},
        {"the explorer sees all 20 orders with at most 5 preemptions", 5, 20},
    };
    for (size_t i = 0; i < RSL_COUNT(known); i++) {
        explore_scenario s = {"two threads take three steps each", 2, empty_world,
                              take_three_steps, note_order, known[i].bound, false};
        orders_count = 0;
        explore(&s);
        explore_claim(orders_count == known[i].orders, known[i].name);
    }
}

int main(void)
{
    explore_start();
    orders_are_complete();
    for (size_t i = 0; i < RSL_COUNT(scenarios); i++) explore(&scenarios[i]);
    return explore_finish();
}
