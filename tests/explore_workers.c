/* SPDX-License-Identifier: MIT
   explore_workers.c: what bulkhead.h promises about its worker threads, in every order of a few of
   them and of those who submit, wait and cancel: no wake-up is lost, a task that was accepted ends
   once, and its memory is free when it is said to be. Planted bugs show that the explorer finds
   what it looks for. Prints TAP.                                                               */
#include "support/explore.h"

#define RSL_WORKERS_SPINS_ 0 /* a worker that finds nothing goes to sleep */
#define RSL_BULKHEAD_IMPLEMENTATION
#include "bulkhead.h"

enum { LATER = 1000000, JOBS = 8, RESULT = 100 };

typedef enum kind {
    PLAIN,    /* returns */
    MEET,     /* returns when all of the party run */
    OBEY,     /* returns when it is cancelled */
    EXIT,     /* ends its thread */
    FOLLOW,   /* submits the next job, and waits for it */
    CROSS,    /* waits for the other of the first two */
    AGAIN,    /* may run more than once */
    SPAWN     /* submits two of the others, 2 * i + 2 on */
} kind;

typedef struct job {
    rsl_task  task;
    kind      kind;
    int       runs, told, ended;
    bool      accepted, cancelled;
    rsl_word_ park, done; /* where the task sleeps, and who waits for it */
} job;

/* All that the threads of a scenario share. Each `before` starts it from nothing. */
static struct world {
    rsl_workers *workers;
    job          job[JOBS];
    rsl_cancel   cancel;
    rsl_word_    moment; /* whatever runs does so for a moment */
    int          party, arrived;
    int          phase;
    uint64_t     accepted, refused, unrun;
    int          status[EXPLORE_THREADS];
} w;

/* ---- the world ---- */

static rsl_workers_config usual(uint32_t threads)
{
    rsl_workers_config config = {.threads_min = threads, .threads_max = threads};
    config.queue_max = 4;
    config.keep_alive = RSL_FOREVER;
    return config;
}

/* `places` threads of the scenario, the last ones, are for the workers. */
static void open_workers(rsl_workers_config config, int places)
{
    memset(&w, 0, sizeof w);
    explore_lend(places);
    explore_check(rsl_workers_open(&w.workers, &config) == RSL_OK, "workers are opened");
}

static rsl_workers_stats stats_now(void)
{
    rsl_workers_stats stats;
    rsl_workers_stats_get(w.workers, &stats);
    return stats;
}

static void submit_surely(int i);
static int  submit(int i, const rsl_ctx *ctx);
static void tell(void *user);

/* The last to come tells the others. */
static void meet(job *j)
{
    w.arrived++;
    while (w.arrived < w.party) rsl_park_wait_(&j->park, RSL_FOREVER);
    for (int i = 0; i < JOBS; i++) {
        if (w.job[i].kind == MEET) rsl_park_post_(&w.job[i].park);
    }
}

static void obey(const rsl_ctx *ctx, job *j)
{
    rsl_ctx_sleep_(ctx, NULL, &j->park, RSL_FOREVER);
    explore_check(rsl_cancel_fired(ctx->cancel), "what is cancelled is told so");
}

/* There may be no room, and nobody else who could make some. */
static void spawn(int i)
{
    for (int next = 2 * i + 2; next <= 2 * i + 3; next++) {
        rsl_task_on_done(&w.job[next].task, tell, &w.job[next]);
        int status = submit(next, NULL);
        explore_check(status == RSL_OK || status == RSL_EFULL, "accepted, or full for good");
    }
}

static int work(const rsl_ctx *ctx, void *arg)
{
    job *j = (job *)arg;
    int i = (int)(j - w.job);
    j->runs++;
    explore_check(j->runs == 1 || j->kind == AGAIN, "a task runs once");
    explore_check(j->accepted || j->kind == AGAIN, "what is refused does not run");
    explore_point_("runs", &w.moment, true);
    if (j->kind == MEET) meet(j);
    if (j->kind == OBEY) obey(ctx, j);
    if (j->kind == EXIT) explore_exit();
    if (j->kind == CROSS) w.status[i] = rsl_task_wait(&w.job[1 - i].task, NULL, NULL);
    if (j->kind == SPAWN) spawn(i);
    if (j->kind == FOLLOW) {
        submit_surely(i + 1);
        int result = 0;
        int status = rsl_task_wait(&w.job[i + 1].task, NULL, &result);
        explore_check(status == RSL_OK && result == RESULT + i + 1, "what follows has ended");
        w.job[i + 1].ended = 1;
        explore_dead(&w.job[i + 1].task, sizeof w.job[i + 1].task);
    }
    return RESULT + i;
}

static void tell(void *user)
{
    job *j = (job *)user;
    j->told++;
    explore_check(j->told == 1 || j->kind == AGAIN, "an end is told once");
    rsl_park_post_(&j->done);
}

static int submit(int i, const rsl_ctx *ctx)
{
    job *j = &w.job[i];
    j->accepted = true; /* it may run before submit returns */
    int status = rsl_workers_submit(w.workers, ctx, work, j, &j->task);
    j->accepted = status == RSL_OK;
    if (status == RSL_OK) w.accepted++;
    else w.refused++;
    return status;
}

static void submit_surely(int i)
{
    explore_check(submit(i, NULL) == RSL_OK, "it is accepted");
}

static void submit_told(int i)
{
    rsl_task_on_done(&w.job[i].task, tell, &w.job[i]);
    submit_surely(i);
}

/* It has ended: with its own result, or it never ran. */
static void judge(int i, int result)
{
    job *j = &w.job[i];
    bool exits = j->kind == EXIT && result == RSL_ECANCELED;
    explore_check(!j->ended, "a task ends once");
    j->ended = 1;
    if (j->runs == 1) explore_check(result == RESULT + i || exits, "the result is its own");
    else explore_check(result < 0, "what never ran says why");
    w.unrun += j->runs == 0;
    explore_check(rsl_task_has_ended(&j->task), "it has ended");
    explore_dead(&j->task, sizeof j->task);
}

/* Takes no part in the work: a wake-up that was lost is not made good by the wait. */
static void await(int i)
{
    job *j = &w.job[i];
    int result = 0;
    while (j->told == 0) rsl_park_wait_(&j->done, RSL_FOREVER);
    explore_check(rsl_task_wait(&j->task, NULL, &result) == RSL_OK, "what was told has ended");
    judge(i, result);
}

/* May run it itself. */
static void wait_for(int i)
{
    int result = 0;
    explore_check(rsl_task_wait(&w.job[i].task, NULL, &result) == RSL_OK, "it has ended");
    judge(i, result);
}

static void wait_a_while_for(int i)
{
    rsl_ctx ctx = {.deadline = EXPLORE_EPOCH + LATER};
    int result = 0;
    int status = rsl_task_wait(&w.job[i].task, &ctx, &result);
    explore_check(status == RSL_OK || status == RSL_ETIMEOUT, "it has ended, or it is late");
    if (status == RSL_OK) judge(i, result);
    else wait_for(i);
}

/* ---- what holds in the end ---- */

static void is_quiet(void)
{
    rsl_workers_stats stats = stats_now();
    uint64_t ran = 0, exited = 0; /* ran to the end; ended their thread */
    for (int i = 0; i < JOBS; i++) {
        const job *j = &w.job[i];
        explore_check(!j->accepted || j->kind == AGAIN || j->ended, "what was accepted has ended");
        ran += j->kind != EXIT ? (uint64_t)j->runs : 0;
        exited += j->runs == 1 && j->kind == EXIT;
    }
    explore_check(stats.queued == 0 && stats.running == 0, "nothing is queued or runs");
    explore_check(stats.submitted == w.accepted, "what was accepted is counted");
    explore_check(stats.refused == w.refused, "what was refused is counted");
    uint64_t unrun = stats.canceled + stats.expired + stats.dropped;
    explore_check(unrun == w.unrun, "what never ran is counted");
    explore_check(stats.completed == ran, "what returned is counted");
    explore_check(stats.lost == exited, "threads that were lost are counted");
}

/* ---- submit and sleep ---- */

static void one_worker(void) { open_workers(usual(1), 1); }
static void two_workers(void) { open_workers(usual(2), 2); }

static void one_each(int id)
{
    submit_told(id);
    await(id);
}

static void two_each(int id)
{
    submit_told(2 * id);
    submit_told(2 * id + 1);
    await(2 * id);
    await(2 * id + 1);
}

static void one_after_another(int id)
{
    one_each(2 * id);
    one_each(2 * id + 1);
}

/* All of the party must run at once: each has to have its worker awake. */
static void party_of(int count)
{
    w.party = count;
    for (int i = 0; i < count; i++) w.job[i].kind = MEET;
}

static void two_workers_for_two(void)
{
    two_workers();
    party_of(2);
}

static void three_workers_for_three(void)
{
    open_workers(usual(3), 3);
    party_of(3);
}

static void submit_all_of_party(int id)
{
    (void)id;
    for (int i = 0; i < w.party; i++) submit_told(i);
    for (int i = 0; i < w.party; i++) await(i);
}

static void submit_own_of_party(int id)
{
    one_each(id);
}

/* One before the party, so that both workers may have slept, or not yet. */
static void submit_one_and_party(int id)
{
    submit_told(w.party);
    submit_all_of_party(id);
    await(w.party);
}

/* ---- threads that come and go ---- */

static void one_worker_and_another(void)
{
    rsl_workers_config config = usual(1);
    config.threads_max = 2;
    config.keep_alive = LATER;
    open_workers(config, 2);
}

static void one_or_two_for_two(void)
{
    rsl_workers_config config = usual(1);
    config.threads_max = 2;
    open_workers(config, 2);
    party_of(2);
}

/* A thread that is not needed ends at once, and its place is taken by the next. */
static void one_or_two_in_a_hurry(void)
{
    rsl_workers_config config = usual(1);
    config.threads_max = 2;
    config.keep_alive = RSL_NONE;
    open_workers(config, 3);
}

static void one_or_two_for_two_twice(void)
{
    one_worker_and_another();
    w.party = 2;
    for (int i = 0; i < 4; i++) w.job[i].kind = MEET;
}

static void meet_twice(int id)
{
    (void)id;
    submit_told(0);
    submit_told(1);
    await(0);
    await(1);
    w.arrived = 0;
    submit_told(2);
    submit_told(3);
    await(2);
    await(3);
}

static void a_start_fails(void)
{
    one_worker_and_another();
    explore_refuse_threads(1);
}

/* ---- waits ---- */

static void submit_and_wait(int id)
{
    submit_surely(id);
    wait_for(id);
}

static void submit_two_and_wait(int id)
{
    submit_surely(2 * id);
    submit_surely(2 * id + 1);
    wait_for(2 * id + 1);
    wait_for(2 * id);
}

static void submit_and_wait_a_while(int id)
{
    submit_surely(id);
    wait_a_while_for(id);
}

static void submit_and_look(int id)
{
    submit_surely(id);
    while (!rsl_task_has_ended(&w.job[id].task)) explore_pause_();
    wait_for(id);
}

static void one_worker_and_token(void)
{
    one_worker();
    explore_check(rsl_cancel_init(&w.cancel, NULL) == RSL_OK, "a token is made");
}

static void fire_or_submit_and_wait(int id)
{
    rsl_ctx ctx = {.cancel = &w.cancel};
    int result = 0;
    if (id > 0) {
        rsl_cancel_fire(&w.cancel);
        return;
    }
    submit_surely(0);
    int status = rsl_task_wait(&w.job[0].task, &ctx, &result);
    explore_check(status == RSL_OK || status == RSL_ECANCELED, "it has ended, or is cancelled");
    if (status == RSL_OK) judge(0, result);
    else wait_for(0);
}

static void follow(void)
{
    one_worker();
    w.job[0].kind = FOLLOW;
}

static void follow_with_two(void)
{
    two_workers();
    w.job[0].kind = FOLLOW;
}

/* Each waits for the other: one of them is told that it cannot be, wherever they run. */
static void crossing(void)
{
    two_workers();
    w.job[0].kind = w.job[1].kind = CROSS;
}

static void crossing_for_one(void)
{
    one_worker();
    w.job[0].kind = w.job[1].kind = CROSS;
}

/* Both nodes must live as long as one of the tasks waits. */
static void submit_crossing(int id)
{
    rsl_task_on_done(&w.job[0].task, tell, &w.job[0]);
    rsl_task_on_done(&w.job[1].task, tell, &w.job[1]);
    w.job[1].accepted = true;
    submit_surely(0);
    submit_surely(1);
    while (w.job[0].told == 0) rsl_park_wait_(&w.job[0].done, RSL_FOREVER);
    while (w.job[1].told == 0) rsl_park_wait_(&w.job[1].done, RSL_FOREVER);
    explore_check(w.status[0] + w.status[1] == RSL_EINVAL, "one is told that it waits for itself");
    await(0);
    await(1);
    (void)id;
}

/* The node is free as soon as its end was told: the next submit may have to wait a moment. */
static void submit_again_when_told(int id)
{
    job *j = &w.job[id];
    int result = 0;
    j->kind = AGAIN;
    submit_told(id);
    while (j->told < 1) rsl_park_wait_(&j->done, RSL_FOREVER);
    submit_surely(id);
    while (j->told < 2) rsl_park_wait_(&j->done, RSL_FOREVER);
    explore_check(rsl_task_wait(&j->task, NULL, &result) == RSL_OK, "it has ended");
    explore_check(j->runs == 2 && result == RESULT + id, "and has run twice");
    explore_dead(&j->task, sizeof j->task);
}

/* Two have one node. */
static void submit_the_same(int id)
{
    job *j = &w.job[0];
    j->kind = AGAIN;
    int status = rsl_workers_submit(w.workers, NULL, work, j, &j->task);
    explore_check(status == RSL_OK || status == RSL_EINVAL, "accepted, or in use");
    w.status[id] = status;
}

static void some_of_the_same_ran(void)
{
    job *j = &w.job[0];
    int accepted = (w.status[0] == RSL_OK) + (w.status[1] == RSL_OK);
    explore_check(accepted > 0 && j->runs == accepted, "each that was accepted ran once");
    explore_check(rsl_task_has_ended(&j->task), "it has ended");
}

/* ---- cancels ---- */

static void first_exits(void)
{
    open_workers(usual(1), 2);
    w.job[0].kind = EXIT;
}

/* Its node must live as long as anybody may cancel. */
static void cancel(int i)
{
    job *j = &w.job[i];
    int status = rsl_task_cancel(&j->task);
    explore_check(status == RSL_OK || status == RSL_EINVAL, "cancelled, or too late");
    if (status == RSL_OK) j->cancelled = true;
}

static void submit_and_cancel(int id)
{
    submit_told(id);
    cancel(id);
    await(id);
}

static void submit_and_cancel_untold(int id)
{
    submit_surely(id);
    cancel(id);
    wait_for(id);
}

/* b cancels what a submitted and waits for; then a may have its memory again. */
static void submit_or_cancel(int id)
{
    if (id == 0) {
        submit_surely(0);
        w.phase = 1;
        int result = 0;
        explore_check(rsl_task_wait(&w.job[0].task, NULL, &result) == RSL_OK, "it has ended");
        while (w.phase < 2) explore_pause_();
        judge(0, result);
    }
    if (id != 1) return;
    while (w.phase < 1) explore_pause_();
    cancel(0);
    w.phase = 2;
}

static void obedient(void)
{
    one_worker();
    w.job[0].kind = OBEY;
}

/* Cancelled it is, before it runs or while. */
static void cancelled_for_sure(void)
{
    explore_check(w.job[0].cancelled, "it was cancelled");
    is_quiet();
}

static void obedient_to_token(void)
{
    one_worker_and_token();
    w.job[0].kind = OBEY;
}

static void fire_or_submit_under_token(int id)
{
    rsl_ctx ctx = {.cancel = &w.cancel};
    if (id > 0) {
        rsl_cancel_fire(&w.cancel);
        return;
    }
    rsl_task_on_done(&w.job[0].task, tell, &w.job[0]);
    int status = submit(0, &ctx);
    explore_check(status == RSL_OK || status == RSL_ECANCELED, "accepted, or cancelled");
    if (status == RSL_OK) await(0);
    explore_check(rsl_cancel_fired(&w.cancel), "nothing but the fire ends it");
}

/* The token of the ctx fires, and the task is cancelled. */
static void fire_or_cancel_or_submit(int id)
{
    if (id == 1) {
        while (w.phase < 1) explore_pause_();
        cancel(0);
        w.phase = 2;
    }
    if (id == 2) rsl_cancel_fire(&w.cancel);
    if (id > 0) return;
    rsl_ctx ctx = {.cancel = &w.cancel};
    rsl_task_on_done(&w.job[0].task, tell, &w.job[0]);
    int status = submit(0, &ctx);
    w.phase = 1;
    while (w.phase < 2) explore_pause_();
    if (status == RSL_OK) await(0);
    else explore_check(status == RSL_ECANCELED, "accepted, or cancelled");
}

static void one_is_queued(void)
{
    one_worker();
    submit_surely(0);
}

/* A stop waits for what a waiter runs, and does not cancel it. */
static void stop_or_wait(int id)
{
    if (id == 1) explore_check(rsl_workers_stop(w.workers, NULL) == RSL_OK, "stopped");
    else wait_for(0);
}

static void stop_or_cancel(int id)
{
    if (id == 1) explore_check(rsl_workers_stop(w.workers, NULL) == RSL_OK, "stopped");
    else cancel(0);
}

static void obedient_is_told(void)
{
    obedient();
    submit_told(0);
}

static void stopped_or_cancelled(void)
{
    explore_check(rsl_task_has_ended(&w.job[0].task) && w.job[0].told == 1, "it has ended");
}

/* The task ends the thread of whoever runs it: it has ended for all others. */
static void exits(void)
{
    first_exits();
    submit_told(0);
}

static void wait_or_poll(int id)
{
    int result = 0;
    if (id == 0) {
        explore_check(rsl_task_wait(&w.job[0].task, NULL, &result) == RSL_OK, "it has ended");
        explore_check(result == RSL_ECANCELED, "with its thread");
    } else {
        while (!rsl_task_has_ended(&w.job[0].task)) explore_pause_();
    }
}

static void its_thread_has_ended(void)
{
    rsl_workers_stats stats = stats_now();
    explore_check(w.job[0].told == 1 && w.job[0].runs == 1, "it ran, and was told");
    explore_check(stats.queued == 0 && stats.running == 0, "nothing is queued or runs");
}

/* ---- a full queue ---- */

static void room_for(uint32_t tasks, rsl_when_full when_full)
{
    rsl_workers_config config = usual(1);
    config.queue_max = tasks;
    config.when_full = when_full;
    open_workers(config, 1);
}

static void room_for_one(void) { room_for(1, RSL_FULL_REJECT); }
static void room_for_one_or_wait(void) { room_for(1, RSL_FULL_WAIT); }
static void room_for_one_or_run(void) { room_for(1, RSL_FULL_CALLER_RUNS); }
static void room_for_one_or_drop(void) { room_for(1, RSL_FULL_DROP_OLDEST); }
static void room_for_two(void) { room_for(2, RSL_FULL_REJECT); }

/* The frame submits one: the queue is full till a worker begins. */
static void full_and_wait(void)
{
    room_for_one_or_wait();
    submit_told(0);
}

static void full_and_wait_and_token(void)
{
    full_and_wait();
    explore_check(rsl_cancel_init(&w.cancel, NULL) == RSL_OK, "a token is made");
}

static void submit_two_if_there_is_room(int id)
{
    for (int i = 2 * id; i < 2 * id + 2; i++) {
        rsl_task_on_done(&w.job[i].task, tell, &w.job[i]);
        int status = submit(i, NULL);
        explore_check(status == RSL_OK || status == RSL_EFULL, "accepted, or full");
    }
    for (int i = 2 * id; i < 2 * id + 2; i++) {
        if (w.job[i].accepted) await(i);
    }
}

static void full_and_drop(void)
{
    room_for_one_or_drop();
    submit_told(0);
}

static void submit_one_more(int id)
{
    one_each(id + 1);
    if (id == 0) await(0);
}

static void submit_one_more_a_while(int id)
{
    rsl_ctx ctx = {.deadline = EXPLORE_EPOCH + LATER};
    if (id > 0) {
        one_each(id + 1);
        return;
    }
    rsl_task_on_done(&w.job[1].task, tell, &w.job[1]);
    int status = submit(1, &ctx);
    explore_check(status == RSL_OK || status == RSL_ETIMEOUT, "accepted, or late");
    if (status == RSL_OK) await(1);
    await(0);
}

static void submit_one_more_or_fire(int id)
{
    rsl_ctx ctx = {.cancel = &w.cancel};
    if (id == 1) rsl_cancel_fire(&w.cancel);
    if (id > 0) return;
    rsl_task_on_done(&w.job[1].task, tell, &w.job[1]);
    int status = submit(1, &ctx);
    explore_check(status == RSL_OK || status == RSL_ECANCELED, "accepted, or cancelled");
    if (status == RSL_OK) await(1);
    await(0);
}

static void spawning_for_one(void)
{
    full_and_wait();
    w.job[0].kind = SPAWN;
}

/* Only the one worker could make room for its second. */
static void one_was_refused(void)
{
    explore_check(w.refused == 1, "a wait that nobody could end is refused");
    is_quiet();
}

static void await_spawned(int id)
{
    await(0);
    for (int i = 2; i < 4; i++) {
        if (w.job[i].accepted) await(i);
    }
    (void)id;
}

static void spawning_for_two(void)
{
    rsl_workers_config config = usual(2);
    config.queue_max = 2;
    config.when_full = RSL_FULL_WAIT;
    open_workers(config, 2);
    w.job[0].kind = w.job[1].kind = SPAWN;
    submit_told(0);
    submit_told(1);
}

static void await_all_spawned(int id)
{
    await(0);
    await(1);
    for (int i = 2; i < 6; i++) {
        if (w.job[i].accepted) await(i);
    }
    (void)id;
}

/* Leaves holes in the ring, until it has nothing else. */
static void submit_and_cancel_three(int id)
{
    for (int i = 3 * id; i < 3 * id + 3; i++) {
        submit_surely(i);
        cancel(i);
    }
    for (int i = 3 * id; i < 3 * id + 3; i++) wait_for(i);
}

static void make_holes_or_submit(int id)
{
    if (id == 0) submit_and_cancel_three(0);
    else one_each(4);
}

/* ---- priorities ---- */

static void submit_at(int i, int32_t priority)
{
    rsl_ctx ctx = {.priority = priority};
    rsl_task_on_done(&w.job[i].task, tell, &w.job[i]);
    explore_check(submit(i, &ctx) == RSL_OK, "it is accepted");
}

static void urgent_and_low(int id)
{
    submit_at(2 * id, 1);
    submit_at(2 * id + 1, -1);
    await(2 * id);
    await(2 * id + 1);
}

static void urgent_or_usual(int id)
{
    submit_at(id, id == 0 ? 1 : 0);
    if (id == 0) cancel(id);
    await(id);
}

static void party_of_all_priorities(int id)
{
    submit_at(id, id == 0 ? 1 : -1);
    await(id);
}

/* ---- the end of all ---- */

static void close_at_once(int id)
{
    (void)id;
    explore_check(rsl_workers_close(w.workers, NULL) == RSL_OK, "they are closed");
}

static void two_and_close(int id)
{
    two_each(id);
    close_at_once(id);
}

static void close_after_one(int id)
{
    one_each(id);
    explore_check(rsl_workers_close(w.workers, NULL) == RSL_OK, "they are closed");
}

/* The frame submits: a waits, or cancels, while b closes. No call of a begins after the end. */
static void two_are_queued(void)
{
    one_is_queued();
    submit_surely(1);
}

static void close_or_wait(int id)
{
    if (id == 1) close_at_once(id);
    else wait_for(0);
}

static void close_or_wait_a_while(int id)
{
    if (id == 1) close_at_once(id);
    else wait_a_while_for(0);
}

static void close_or_cancel(int id)
{
    if (id == 1) close_at_once(id);
    else cancel(0);
}

static void stop_and_close_or_wait(int id)
{
    if (id == 1) {
        explore_check(rsl_workers_stop(w.workers, NULL) == RSL_OK, "stopped");
        close_at_once(id);
    } else {
        wait_for(0);
        wait_for(1);
    }
}

/* What is queued runs before close returns. */
static void submit_and_close(int id)
{
    submit_surely(id);
    explore_check(rsl_workers_close(w.workers, NULL) == RSL_OK, "they are closed");
    explore_check(w.job[id].runs == 1, "what was accepted has run");
    wait_for(id);
}

/* `count` tasks from job id * count on. */
static void submit_until_refused(int id, int count)
{
    for (int i = count * id; i < count * id + count; i++) {
        rsl_task_on_done(&w.job[i].task, tell, &w.job[i]);
        int status = submit(i, NULL);
        explore_check(status == RSL_OK || status == RSL_ECLOSED, "accepted, or closed");
        if (status == RSL_OK) await(i);
    }
}

static void drain_or_submit(int id)
{
    if (id == 0) explore_check(rsl_workers_drain(w.workers, NULL) == RSL_OK, "drained");
    else submit_until_refused(id, 2);
}

static void stop_or_submit(int id)
{
    if (id == 0) explore_check(rsl_workers_stop(w.workers, NULL) == RSL_OK, "stopped");
    else submit_until_refused(id, 2);
}

static void stop_and_restart_or_submit(int id)
{
    if (id == 0) {
        explore_check(rsl_workers_stop(w.workers, NULL) == RSL_OK, "stopped");
        explore_check(rsl_workers_restart(w.workers) == RSL_OK, "restarted");
        one_each(0);
    } else {
        submit_until_refused(id, 2);
    }
}

/* Stopped while it runs or before. */
static void stop_the_obedient(int id)
{
    submit_told(0);
    explore_check(rsl_workers_stop(w.workers, NULL) == RSL_OK, "stopped");
    await(0);
    (void)id;
}

static void drain_impatiently(int id)
{
    rsl_ctx ctx = {.deadline = EXPLORE_EPOCH + LATER};
    submit_told(id);
    int status = rsl_workers_drain(w.workers, &ctx);
    explore_check(status == RSL_OK || status == RSL_ETIMEOUT, "drained, or late");
    await(id);
    explore_check(rsl_workers_drain(w.workers, NULL) == RSL_OK, "drained");
}

static void two_drain_or_submit(int id)
{
    if (id < 2) explore_check(rsl_workers_drain(w.workers, NULL) == RSL_OK, "drained");
    else submit_until_refused(id, 1);
}

/* ---- threads that a task ends ---- */

static void first_exits_and_a_start_fails(void)
{
    first_exits();
    explore_refuse_threads(1);
}

static void exit_and_go_on(int id)
{
    submit_told(0);
    submit_told(1);
    await(0);
    await(1);
    (void)id;
}

/* Once there is no thread and none can be started, a submit says so, or makes one. */
static void exit_and_try_again(int id)
{
    submit_told(0);
    await(0);
    rsl_task_on_done(&w.job[1].task, tell, &w.job[1]);
    int status = submit(1, NULL);
    explore_check(status == RSL_OK || status == RSL_ESYS, "accepted, or no thread");
    if (status == RSL_OK) await(1);
    (void)id;
}

/* The first task is about to end the only thread, and up to two starts fail. */
static void no_thread_is_left(void)
{
    first_exits();
    submit_told(0);
    explore_refuse_threads(2);
}

/* What was accepted ends, whoever was to start the thread for it. */
static void submit_without_threads(int id)
{
    int i = id + 1;
    if (id == 0) await(0);
    rsl_task_on_done(&w.job[i].task, tell, &w.job[i]);
    int status = submit(i, NULL);
    explore_check(status == RSL_OK || status == RSL_ESYS, "accepted, or no thread");
    if (status == RSL_OK) await(i);
}

/* ---- time ---- */

static void submit_with_deadline(int id)
{
    rsl_ctx ctx = {.deadline = EXPLORE_EPOCH + LATER};
    if (id == 0) {
        rsl_task_on_done(&w.job[0].task, tell, &w.job[0]);
        int status = submit(0, &ctx);
        explore_check(status == RSL_OK || status == RSL_ETIMEOUT, "accepted, or late");
        if (status == RSL_OK) await(0);
    } else {
        explore_pass_time(LATER);
    }
}

/* ---- map ---- */

static int map_item(const rsl_ctx *ctx, void *item)
{
    int *runs = (int *)item;
    (void)ctx;
    ++*runs;
    explore_point_("runs", &w.moment, true);
    return RESULT + *runs;
}

static void map_three(int id)
{
    int items[3] = {0, 0, 0}, results[3] = {0, 0, 0};
    int status = rsl_workers_map(w.workers, NULL, map_item, items, sizeof items[0], 3, results);
    explore_check(status == RSL_OK, "all were run");
    for (int i = 0; i < 3; i++) {
        explore_check(items[i] == 1, "each item is run once");
        explore_check(results[i] == RESULT + 1, "and its result is its own");
    }
    (void)id;
}

static void workers_are_at_rest(void)
{
    rsl_workers_stats stats = stats_now();
    explore_check(stats.queued == 0 && stats.running == 0, "nothing is queued or runs");
}

/* ---- a ring that is full of holes ---- */

/* Three holes and a task, before the worker has run: the ring of four is full. */
static void ring_of_holes(void)
{
    room_for_two();
    for (int i = 0; i < 3; i++) {
        submit_surely(i);
        cancel(i);
        wait_for(i);
    }
    submit_told(3);
}

static void await_or_submit(int id)
{
    if (id == 0) await(3);
    else one_each(4);
}

static void submit_and_await(int id)
{
    one_each(id + 4);
    await(3);
}

/* What was moved out of the ring is seen, though the task that made it move is refused. */
static void await_or_submit_or_drain(int id)
{
    if (id == 0) await(3);
    if (id == 1) submit_until_refused(4, 1);
    if (id == 2) explore_check(rsl_workers_drain(w.workers, NULL) == RSL_OK, "drained");
}

static void await_or_submit_or_cancel(int id)
{
    if (id == 1) one_each(4);
    if (id != 0) return;
    cancel(3);
    await(3);
}

/* ---- writes that are seen late: see explore_delay ---- */

static void one_worker_seen_late(void)
{
    one_worker();
    explore_delay(1);
}

static void one_is_queued_seen_late(void)
{
    one_is_queued();
    explore_delay(1);
}

static void ring_of_holes_seen_late(void)
{
    ring_of_holes();
    explore_delay(1);
}

static void two_workers_for_two_seen_late(void)
{
    two_workers_for_two();
    explore_delay(1);
}

static void room_for_one_or_wait_seen_late(void)
{
    room_for_one_or_wait();
    explore_delay(1);
}

static void obedient_seen_late(void)
{
    obedient();
    explore_delay(1);
}

static void one_worker_seen_late_strictly(void)
{
    one_worker();
    explore_delay_strict(1);
}

/* ---- planted bugs: words are written otherwise than the code says ---- */

static bool is_hands(const void *address)
{
    return address == (const void *)&w.workers->hands;
}

static uint64_t wake_up_not_taken_back(const void *address, uint64_t before, uint64_t after)
{
    bool takes_back = (before & RSL_HANDS_PENDING_) && !(after & RSL_HANDS_PENDING_);
    return is_hands(address) && takes_back ? before : after;
}

static uint64_t idle_and_not_entered(const void *address, uint64_t before, uint64_t after)
{
    return is_hands(address) && after - before == RSL_HANDS_IDLE_ ? before : after;
}

static uint64_t taken_and_left(const void *address, uint64_t before, uint64_t after)
{
    uintptr_t cells = (uintptr_t)w.workers->cells, size = 4 * sizeof(rsl_cell_);
    bool is_cell = (uintptr_t)address - cells < size;
    bool is_task = ((uintptr_t)address - cells) % sizeof(rsl_cell_) != 0;
    return is_cell && is_task && after == 0 ? before : after;
}

static uint64_t asleep_without_mark(const void *address, uint64_t before, uint64_t after)
{
    bool is_state = address == (const void *)&w.job[0].task.state_;
    return is_state && (before ^ after) == RSL_TASK_SLEEPER_ ? before : after;
}

static uint64_t room_not_wanted(const void *address, uint64_t before, uint64_t after)
{
    bool is_head = address == (const void *)&w.workers->head;
    return is_head && (before ^ after) == RSL_HEAD_WANTED_ ? before : after;
}

static uint64_t nobody_drains(const void *address, uint64_t before, uint64_t after)
{
    bool is_guests = address == (const void *)&w.workers->guests;
    return is_guests && (before ^ after) == RSL_GUESTS_DRAINING_ ? before : after;
}

static void plant_pending_for_ever(void)
{
    one_worker();
    explore_plant(wake_up_not_taken_back);
}

static void plant_hidden_idle(void)
{
    one_worker();
    explore_plant(idle_and_not_entered);
}

static void plant_task_for_two(void)
{
    room_for_two();
    explore_plant(taken_and_left);
}

static void plant_unseen_sleeper(void)
{
    one_worker();
    explore_plant(asleep_without_mark);
}

static void plant_unwanted_room(void)
{
    room_for_one_or_wait();
    explore_plant(room_not_wanted);
}

static void plant_unseen_drain(void)
{
    one_worker();
    explore_plant(nobody_drains);
}

/* ---- planted bugs: another life of a worker ---- */

/* Idle: enters itself, looks, and only then takes the pending wake-up back. */
static void sleep_with_pending(rsl_workers *workers, rsl_worker_ *worker)
{
    rsl_lock_take_(&workers->lock);
    worker->is_idle = true;
    worker->prev = NULL;
    worker->next = workers->idle;
    workers->idle = worker;
    rsl_hands_change_(workers, RSL_HANDS_IDLE_, 0, 0);
    rsl_lock_drop_(&workers->lock);
    bool looks_again = rsl_workers_have_tasks_(workers);
    rsl_worker_come_(workers, worker);
    if (!looks_again) {
        (void)rsl_worker_sleep_(workers, worker);
        return;
    }
    rsl_lock_take_(&workers->lock);
    if (worker->is_idle) {
        rsl_worker_unlink_(workers, worker);
        rsl_hands_change_(workers, 0, RSL_HANDS_IDLE_, 0);
    }
    rsl_lock_drop_(&workers->lock);
}

/* The pending wake-up is taken back too late: what is published meanwhile trusts it. */
static void live_with_pending(void *arg)
{
    rsl_worker_ *worker = (rsl_worker_ *)arg;
    for (;;) {
        rsl_task *task = rsl_workers_take_(worker->workers);
        if (task != NULL) rsl_worker_run_(worker->workers, worker, task);
        else sleep_with_pending(worker->workers, worker);
    }
}

/* Looks, and only then enters itself among the idle. */
static void live_and_look_first(void *arg)
{
    rsl_worker_ *worker = (rsl_worker_ *)arg;
    rsl_workers *workers = worker->workers;
    for (;;) {
        rsl_worker_come_(workers, worker);
        rsl_task *task = rsl_workers_take_(workers);
        if (task != NULL) {
            rsl_worker_run_(workers, worker, task);
            continue;
        }
        rsl_lock_take_(&workers->lock);
        worker->is_idle = true;
        worker->prev = NULL;
        worker->next = workers->idle;
        if (workers->idle != NULL) workers->idle->prev = worker;
        workers->idle = worker;
        rsl_hands_change_(workers, RSL_HANDS_IDLE_, 0, 0);
        rsl_lock_drop_(&workers->lock);
        (void)rsl_worker_sleep_(workers, worker);
    }
}

/* Sees to nobody else when it has been woken. */
static void live_alone(void *arg)
{
    rsl_worker_ *worker = (rsl_worker_ *)arg;
    rsl_workers *workers = worker->workers;
    for (;;) {
        rsl_worker_come_(workers, worker);
        for (rsl_task *task; (task = rsl_workers_take_(workers)) != NULL;)
            rsl_worker_run_(workers, worker, task);
        (void)rsl_worker_idle_(workers, worker);
    }
}

static void live_otherwise(void (*life)(void *arg))
{
    for (int i = 0; i < EXPLORE_THREADS; i++) {
        if (explore_.threads[i].run != NULL) explore_.threads[i].run = life;
    }
}

static void plant_late_clear(void)
{
    one_worker();
    live_otherwise(live_with_pending);
}

static void plant_look_first(void)
{
    one_worker();
    live_otherwise(live_and_look_first);
}

static void plant_no_chain(void)
{
    two_workers_for_two();
    live_otherwise(live_alone);
}

static const explore_scenario scenarios[] = {
    /* name, threads, before, thread, after, bound, planted */
    {"one submits to one worker", 2, one_worker, one_each, is_quiet, 0, false},
    {"one submits twice to one worker", 2, one_worker, one_after_another, is_quiet, 2, false},
    {"one submits two to one worker", 2, one_worker, two_each, is_quiet, 2, false},
    {"one submits to two workers", 3, two_workers, one_after_another, is_quiet, 1, false},
    {"two submit to one worker", 3, one_worker, one_each, is_quiet, 2, false},
    {"two submit to two workers", 4, two_workers, one_each, is_quiet, 1, false},
    {"two tasks meet in two workers", 3, two_workers_for_two, submit_all_of_party, is_quiet, 1,
     false},
    {"two tasks meet in two workers, and one more runs", 3, two_workers_for_two,
     submit_one_and_party, is_quiet, 1, false},
    {"two tasks of two submitters meet in two workers", 4, two_workers_for_two,
     submit_own_of_party, is_quiet, 1, false},
    {"three tasks meet in three workers", 4, three_workers_for_three, submit_all_of_party,
     is_quiet, 1, false},

    {"two tasks meet, and a thread is started", 3, one_or_two_for_two, submit_all_of_party,
     is_quiet, 2, false},
    {"two tasks of two submitters meet, and a thread is started", 4, one_or_two_for_two,
     submit_own_of_party, is_quiet, 1, false},
    {"two tasks meet twice, and a thread ends between", 3, one_or_two_for_two_twice, meet_twice,
     is_quiet, 1, false},
    {"one submits two, and a thread has nothing to stay for", 4, one_or_two_in_a_hurry, two_each,
     is_quiet, 1, false},
    {"a start of a thread fails", 3, a_start_fails, two_each, is_quiet, 1, false},

    {"who waits runs it, or a worker does", 2, one_worker, submit_and_wait, is_quiet, 0, false},
    {"who waits for two runs them, or a worker does", 2, one_worker, submit_two_and_wait,
     is_quiet, 2, false},
    {"two wait for their own", 3, one_worker, submit_and_wait, is_quiet, 1, false},
    {"a wait's time is up while the task ends", 2, one_worker, submit_and_wait_a_while, is_quiet,
     2, false},
    {"who polls sees the end", 2, one_worker, submit_and_look, is_quiet, 2, false},
    {"a wait is cancelled while the task ends", 3, one_worker_and_token, fire_or_submit_and_wait,
     is_quiet, 1, false},
    {"a task waits for a task of its own workers", 2, follow, one_each, is_quiet, 2, false},
    {"a task waits for a task, and another worker may take it", 3, follow_with_two, one_each,
     is_quiet, 1, false},

    {"two tasks wait for each other", 3, crossing, submit_crossing, is_quiet, 1, false},
    {"two tasks wait for each other, and one worker runs both", 2, crossing_for_one,
     submit_crossing, is_quiet, 2, false},
    {"a node is submitted again when it is told", 2, one_worker, submit_again_when_told, is_quiet,
     2, false},
    {"two submit the same node", 3, one_worker, submit_the_same, some_of_the_same_ran, 2, false},

    {"a cancel meets a worker", 2, one_worker, submit_and_cancel, is_quiet, 0, false},
    {"a cancel meets a worker, and the node is waited for", 2, one_worker,
     submit_and_cancel_untold, is_quiet, 0, false},
    {"a cancel meets a worker and a waiter", 3, one_worker, submit_or_cancel, is_quiet, 1, false},
    {"a running task is cancelled", 2, obedient, submit_and_cancel, cancelled_for_sure, 0, false},
    {"a cancel of the ctx meets a queued or running task", 3, obedient_to_token,
     fire_or_submit_under_token, is_quiet, 2, false},

    {"a cancel meets a running task and its waiter", 3, obedient, submit_or_cancel, is_quiet, 1,
     false},
    {"a cancel of the ctx meets a cancel of the task", 4, obedient_to_token,
     fire_or_cancel_or_submit, is_quiet, 1, false},
    {"a stop meets a task that its waiter runs", 3, one_is_queued, stop_or_wait, is_quiet, 1,
     false},
    {"a stop meets a cancel", 3, obedient_is_told, stop_or_cancel, stopped_or_cancelled, 2,
     false},

    {"two submit what has room for one", 3, room_for_one, submit_two_if_there_is_room, is_quiet,
     1, false},
    {"one waits for room", 2, room_for_one_or_wait, two_each, is_quiet, 2, false},
    {"two wait for room", 3, full_and_wait, submit_one_more, is_quiet, 1, false},
    {"a wait for room meets its deadline", 2, full_and_wait, submit_one_more_a_while, is_quiet, 2,
     false},
    {"a wait for room meets its deadline, and another waits", 3, full_and_wait,
     submit_one_more_a_while, is_quiet, 1, false},
    {"a wait for room is cancelled", 3, full_and_wait_and_token, submit_one_more_or_fire,
     is_quiet, 1, false},
    {"a task waits for room that only its own thread could make", 2, spawning_for_one,
     await_spawned, one_was_refused, 2, false},
    {"two tasks wait for room that only they could make", 3, spawning_for_two, await_all_spawned,
     is_quiet, 1, false},
    {"the caller runs what has no room", 3, room_for_one_or_run, two_each, is_quiet, 1, false},
    {"the oldest is dropped for a newer one", 3, room_for_one_or_drop, two_each, is_quiet, 1,
     false},
    {"each of two drops the oldest", 3, full_and_drop, submit_one_more, is_quiet, 2, false},
    {"a ring of holes meets a worker", 2, room_for_two, submit_and_cancel_three, is_quiet, 2,
     false},
    {"a ring of holes meets a worker and a submitter", 3, room_for_two, make_holes_or_submit,
     is_quiet, 1, false},
    {"a full ring of holes meets a worker and a submitter", 3, ring_of_holes, await_or_submit,
     is_quiet, 1, false},
    {"a full ring of holes meets a cancel", 3, ring_of_holes, await_or_submit_or_cancel, is_quiet,
     1, false},
    {"a full ring of holes meets a drain", 4, ring_of_holes, await_or_submit_or_drain, is_quiet,
     1, false},

    {"urgent and low tasks meet one worker", 2, one_worker, urgent_and_low, is_quiet, 2, false},
    {"an urgent one is cancelled while another is submitted", 3, one_worker, urgent_or_usual,
     is_quiet, 1, false},
    {"an urgent and a low task meet in two workers", 4, two_workers_for_two,
     party_of_all_priorities, is_quiet, 1, false},

    {"close ends an idle worker", 2, one_worker, close_at_once, NULL, 0, false},
    {"close ends two idle workers", 3, two_workers, close_at_once, NULL, 1, false},
    {"close comes after a task", 2, one_worker, close_after_one, NULL, 2, false},
    {"close meets a thread that ends by itself", 4, one_or_two_in_a_hurry, two_and_close, NULL, 1,
     false},
    {"close waits for what is queued", 2, one_worker, submit_and_close, NULL, 2, false},
    {"close waits for what is queued, with two workers", 3, two_workers, submit_and_close, NULL,
     1, false},
    {"close meets a wait", 3, one_is_queued, close_or_wait, NULL, 1, false},
    {"close meets a wait for a while", 3, one_is_queued, close_or_wait_a_while, NULL, 1, false},
    {"close meets a cancel", 3, one_is_queued, close_or_cancel, NULL, 1, false},
    {"stop and close meet two waits", 3, two_are_queued, stop_and_close_or_wait, NULL, 1, false},
    {"drain meets submits", 3, one_worker, drain_or_submit, is_quiet, 1, false},
    {"stop meets submits", 3, one_worker, stop_or_submit, is_quiet, 1, false},
    {"stop and restart meet submits", 3, one_worker, stop_and_restart_or_submit, is_quiet, 1,
     false},
    {"stop cancels what runs", 2, obedient, stop_the_obedient, is_quiet, 2, false},
    {"drain runs out of time", 2, one_worker, drain_impatiently, is_quiet, 2, false},
    {"two drains meet a submit", 4, one_worker, two_drain_or_submit, is_quiet, 1, false},

    {"a task ends its thread, and another goes on", 3, first_exits, exit_and_go_on, is_quiet, 2,
     false},
    {"a task ends its thread, and none can be started", 3, first_exits_and_a_start_fails,
     exit_and_try_again, is_quiet, 2, false},
    {"two submit where no thread can be started", 4, no_thread_is_left, submit_without_threads,
     is_quiet, 1, false},
    {"a task ends the thread that waits for it, or a worker", 4, exits, wait_or_poll,
     its_thread_has_ended, 1, false},
    {"a deadline passes in the queue", 3, one_worker, submit_with_deadline, is_quiet, 2, false},
    {"a map of three meets one worker", 2, one_worker, map_three, workers_are_at_rest, 2, false},
    {"a map of three meets two workers", 3, two_workers, map_three, workers_are_at_rest, 1, false},

    {"one submits to one worker, and a write is seen late", 2, one_worker_seen_late,
     one_after_another, is_quiet, 1, false},
    {"two tasks meet, and a write is seen late", 3, two_workers_for_two_seen_late,
     submit_all_of_party, is_quiet, 1, false},
    {"a wait's time is up, and a write is seen late", 2, one_worker_seen_late,
     submit_and_wait_a_while, is_quiet, 1, false},
    {"one waits for room, and a write is seen late", 2, room_for_one_or_wait_seen_late, two_each,
     is_quiet, 1, false},
    {"a running task is cancelled, and a write is seen late", 2, obedient_seen_late,
     submit_and_cancel, cancelled_for_sure, 1, false},
    {"close comes after a task, and a write is seen late", 2, one_worker_seen_late,
     close_after_one, NULL, 1, false},
    {"close meets a wait, and a write is seen late", 3, one_is_queued_seen_late, close_or_wait,
     NULL, 1, false},
    {"a cancel meets a waiter, and a write is seen late", 3, one_worker_seen_late,
     submit_or_cancel, is_quiet, 1, false},
    {"a full ring of holes meets a submitter, and a write is seen late", 2,
     ring_of_holes_seen_late, submit_and_await, is_quiet, 1, false},
    {"drain meets submits, and a write is seen late", 3, one_worker_seen_late, drain_or_submit,
     is_quiet, 1, false},

    {"a planted wake-up that is never taken back", 2, plant_pending_for_ever, one_after_another,
     is_quiet, 0, true},
    {"a planted wake-up that is taken back after the last look", 2, plant_late_clear,
     one_after_another, is_quiet, 0, true},
    {"a planted look before it enters itself among the idle", 2, plant_look_first, one_each,
     is_quiet, 0, true},
    {"a planted lack of a wake chain", 3, plant_no_chain, submit_all_of_party, is_quiet, 0, true},
    {"planted strict words that are not", 2, one_worker_seen_late_strictly, one_each, is_quiet, 0,
     true},
    {"a planted idle worker that nobody sees", 2, plant_hidden_idle, one_each, is_quiet, 0, true},
    {"a planted task that stays where it was taken", 2, plant_task_for_two, submit_and_wait,
     is_quiet, 0, true},
    {"a planted sleeper that nobody sees", 2, plant_unseen_sleeper, submit_and_wait, is_quiet, 0,
     true},
    {"a planted wait for room that nobody sees", 2, plant_unwanted_room, two_each, is_quiet, 0,
     true},
    {"a planted drain that nobody sees", 2, plant_unseen_drain, drain_or_submit, is_quiet, 0,
     true},
};

int main(void)
{
    explore_start();
    for (size_t i = 0; i < RSL_COUNT(scenarios); i++) explore(&scenarios[i]);
    return explore_finish();
}
