/* SPDX-License-Identifier: MIT
   explore_hedge.c: what resilience.h promises about hedged calls, in every order of a caller, the
   workers and who cancels: the first success is the result, losers are told to stop and work on
   their own memory, and that is free once deinit has returned. A planted bug shows that the
   explorer finds what it looks for. Prints TAP.                                                 */
#include "support/explore.h"

#define RSL_WORKERS_SPINS_ 0 /* a worker that finds nothing goes to sleep */
#define RSL_IMPLEMENTATION
#include "resilience.h"

enum { FAILED = 42, LATER = 1000000 };

typedef enum manner { QUICK, FIRST_HANGS, ALL_HANG, ALL_FAIL, FIRST_FAILS, FIRST_EXITS } manner;

typedef struct note { uint32_t attempt; int caller; } note;

/* All that the threads of a scenario share. Each `before` starts it from nothing. */
static struct world {
    rsl_workers *workers;
    rsl_hedge    hedge;
    rsl_cancel   cancel;
    rsl_task     task;
    rsl_word_    park, moment;
    manner       manner;
    note         note[EXPLORE_THREADS];   /* the argument of a call */
    int          result[EXPLORE_THREADS];
    int          runs, told, calls;
    bool         alone;                   /* a call has run in its caller's thread */
} w;

static void open_hedge(manner how, int workers, int places, uint32_t calls_max)
{
    memset(&w, 0, sizeof w);
    w.manner = how;
    explore_lend(places);
    rsl_workers_config threads = {.queue_max = 4, .keep_alive = RSL_FOREVER};
    threads.threads_min = threads.threads_max = (uint32_t)workers;
    explore_check(rsl_workers_open(&w.workers, &threads) == RSL_OK, "workers are opened");
    rsl_hedge_config config = {.workers = w.workers, .calls_max = calls_max};
    config.delay = LATER;
    config.size_max = sizeof(note);
    explore_check(rsl_hedge_init(&w.hedge, &config) == RSL_OK, "a hedge is made");
    explore_check(rsl_cancel_init(&w.cancel, NULL) == RSL_OK, "a token is made");
}

static void hang(const rsl_ctx *ctx)
{
    rsl_word_ park = 0;
    rsl_ctx_sleep_(ctx, NULL, &park, RSL_FOREVER);
    explore_check(rsl_cancel_fired(ctx->cancel), "only a cancel ends it");
}

static int attempt(const rsl_ctx *ctx, void *arg)
{
    note *own = (note *)arg;
    bool first = ctx->attempt == 1;
    w.runs++;
    explore_check(own->attempt == 0, "an attempt has a copy of its own");
    own->attempt = ctx->attempt;
    explore_point_("runs", &w.moment, true);
    explore_check(own->attempt == ctx->attempt, "which nobody else writes");
    if (explore_.current < explore_.scenario->threads - explore_.lent) {
        w.alone = true; /* taken back, before any worker had begun */
        return w.manner == ALL_FAIL ? FAILED : 0;
    }
    if (w.manner == ALL_HANG || (w.manner == FIRST_HANGS && first)) {
        hang(ctx);
        return RSL_ECANCELED;
    }
    if (w.manner == FIRST_EXITS && first) explore_exit();
    if (w.manner == ALL_FAIL || (w.manner == FIRST_FAILS && first)) return FAILED;
    return 0;
}

static int call(int id, const rsl_ctx *ctx)
{
    w.note[id].caller = id;
    w.note[id].attempt = 0;
    w.result[id] = rsl_hedge_call(&w.hedge, ctx, attempt, &w.note[id], sizeof w.note[id]);
    explore_check(w.note[id].caller == id, "what comes back is the caller's own");
    return w.result[id];
}

static void end_hedge(void)
{
    explore_check(rsl_hedge_deinit(&w.hedge, NULL) == RSL_OK, "it is ended");
}

/* The last of the callers ends it. */
static void call_ends(void)
{
    w.calls++;
    if (w.calls == explore_.scenario->threads - explore_.lent) end_hedge();
}

static void is_quiet(void)
{
    rsl_workers_stats stats;
    rsl_workers_stats_get(w.workers, &stats);
    explore_check(w.hedge.state_ == NULL, "it has ended");
    explore_check(stats.queued == 0 && stats.running == 0, "no loser is left");
    explore_check(w.cancel.listeners_.first == NULL, "nobody listens any more");
}

static void quick(void)              { open_hedge(QUICK, 2, 2, 1); }
static void quick_for_one(void)      { open_hedge(QUICK, 1, 1, 1); }
static void quick_for_two(void)      { open_hedge(QUICK, 1, 1, 2); }
static void first_hangs(void)        { open_hedge(FIRST_HANGS, 2, 2, 1); }
static void first_fails(void)        { open_hedge(FIRST_FAILS, 2, 2, 1); }
static void all_fail(void)           { open_hedge(ALL_FAIL, 2, 2, 1); }
static void all_hang(void)           { open_hedge(ALL_HANG, 2, 2, 1); }
static void first_exits(void)        { open_hedge(FIRST_EXITS, 2, 2, 1); }
static void nobody_has_a_processor(void) { open_hedge(QUICK, 1, 0, 1); }

static void call_surely(int id)
{
    explore_check(call(id, NULL) == 0, "an attempt wins");
    explore_check(w.note[id].attempt == 1 || w.note[id].attempt == 2, "its bytes come back");
    call_ends();
}

static void call_and_second_wins(int id)
{
    explore_check(call(id, NULL) == 0, "an attempt wins");
    explore_check(w.alone || w.note[id].attempt == 2, "the second, unless it runs alone");
    call_ends();
}

static void call_in_vain(int id)
{
    explore_check(call(id, NULL) == FAILED, "none succeeds");
    call_ends();
}

/* If the first fails before a second is due, it is over. */
static void call_or_fail(int id)
{
    int result = call(id, NULL);
    explore_check((result == 0 && (w.alone || w.note[id].attempt == 2)) ||
                  (result == FAILED && w.note[id].attempt == 1), "as the attempt says");
    call_ends();
}

static void call_or_exit(int id)
{
    int result = call(id, NULL);
    bool won = result == 0 && (w.alone || w.note[id].attempt == 2);
    explore_check(won || (result == RSL_ECANCELED && w.runs == 1), "as the attempt says");
    call_ends();
}

static void fire_or_call(int id)
{
    rsl_ctx ctx = {.cancel = &w.cancel};
    if (id > 0) {
        rsl_cancel_fire(&w.cancel);
    } else {
        explore_check(call(id, &ctx) == RSL_ECANCELED || w.alone, "only the fire ends it");
        end_hedge();
    }
}

static void fire_or_call_quickly(int id)
{
    rsl_ctx ctx = {.cancel = &w.cancel};
    if (id > 0) {
        rsl_cancel_fire(&w.cancel);
    } else {
        int result = call(id, &ctx);
        explore_check(result == 0 || result == RSL_ECANCELED, "it wins, or is cancelled");
        end_hedge();
    }
}

static void call_until_late(int id)
{
    rsl_ctx ctx = {.deadline = EXPLORE_EPOCH + 2 * LATER};
    explore_check(call(id, &ctx) == RSL_ETIMEOUT || w.alone, "only time ends it");
    end_hedge();
}

/* The slot is used again while a loser of the call before may be about to let go of it. */
static void call_twice(int id)
{
    explore_check(call(id, NULL) == 0, "an attempt wins");
    w.manner = QUICK;
    explore_check(call(id, NULL) == 0, "and once more");
    call_ends();
}

/* ---- a call from a task of the same workers ---- */

static int call_within(const rsl_ctx *ctx, void *arg)
{
    (void)arg;
    explore_check(call(0, ctx) == 0, "an attempt wins, or it runs alone");
    return 0;
}

static void tell(void *user)
{
    w.told = 1;
    rsl_park_post_(user);
}

static void submit_a_call(int id)
{
    rsl_task_on_done(&w.task, tell, &w.park);
    int status = rsl_workers_submit(w.workers, NULL, call_within, NULL, &w.task);
    explore_check(status == RSL_OK, "it is accepted");
    while (w.told == 0) rsl_park_wait_(&w.park, RSL_FOREVER);
    explore_check(rsl_task_wait(&w.task, NULL, NULL) == RSL_OK, "it has ended");
    end_hedge();
    (void)id;
}

/* ---- a planted bug: ends without waiting for who let go of its slot but not of its task ---- */

static void end_hastily(int id)
{
    rsl_hedge_state_ *s = w.hedge.state_;
    explore_check(call(id, NULL) == 0, "an attempt wins");
    rsl_lock_take_(&s->lock);
    s->ending = true;
    while (s->running > 0) {
        rsl_lock_drop_(&s->lock);
        rsl_park_wait_(&s->park, RSL_FOREVER);
        rsl_lock_take_(&s->lock);
    }
    rsl_lock_drop_(&s->lock);
    RSL_FREE(s);
}

static const explore_scenario scenarios[] = {
    /* name, threads, before, thread, after, bound, planted */
    {"a call is hedged, or not", 3, quick, call_surely, is_quiet, 1, false},
    {"a call is hedged by one worker", 2, quick_for_one, call_surely, is_quiet, 2, false},
    {"the second attempt wins over one that hangs", 3, first_hangs, call_and_second_wins,
     is_quiet, 1, false},
    {"the second attempt wins over one that fails", 3, first_fails, call_or_fail, is_quiet, 1,
     false},
    {"no attempt wins", 3, all_fail, call_in_vain, is_quiet, 1, false},
    {"an attempt ends its thread", 3, first_exits, call_or_exit, is_quiet, 1, false},
    {"a call is cancelled while its attempts hang", 4, all_hang, fire_or_call, is_quiet, 1,
     false},
    {"a call is cancelled while its attempts return", 4, quick, fire_or_call_quickly, is_quiet, 1,
     false},
    {"a call's time is up", 3, all_hang, call_until_late, is_quiet, 1, false},
    {"a slot is used again after a loser", 3, first_hangs, call_twice, is_quiet, 1, false},
    {"two call, and one may have to run alone", 4, quick, call_surely, is_quiet, 1, false},
    {"two call, with one worker", 3, quick_for_two, call_surely, is_quiet, 1, false},
    {"a call is taken back where no attempt begins", 1, nobody_has_a_processor, call_surely, NULL,
     2, false},
    {"a task of the only worker makes a call", 2, quick_for_one, submit_a_call, is_quiet, 2,
     false},
    {"a task of two workers makes a call", 3, quick, submit_a_call, is_quiet, 1, false},
    {"a planted end before the task is let go", 2, quick_for_one, end_hastily, NULL, 0, true},
};

int main(void)
{
    explore_start();
    for (size_t i = 0; i < RSL_COUNT(scenarios); i++) explore(&scenarios[i]);
    return explore_finish();
}
