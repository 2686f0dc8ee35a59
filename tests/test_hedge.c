/* SPDX-License-Identifier: MIT
   test_hedge.c: hedged calls on real workers: who wins, what becomes of losers, what is refused,
   when there is no hedge, and the delay that finds itself. Time is virtual: it stands still until
   an attempt is where the test wants it.                                                      */
#include "support/allocator.h"

#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/support.h"

#ifndef RSL_NO_THREADS

/* ------------------------------------------------------------------- helpers */

enum { FAILURE = 503, ATTEMPTS = 5, ROOM = 64 };

/* What an attempt does, by its number from 1. */
typedef enum deed {
    RETURNS,    /* at once */
    HANGS,      /* until it is cancelled */
    GATED,      /* until the gate opens; cancelling does not help */
    OPENS,      /* the gate, and returns */
    LAST,       /* when all others have ended */
    BEHIND,     /* when the second and the third have been and gone */
    EXITS       /* ends its thread */
} deed;

typedef struct job {
    deed         deeds[ATTEMPTS];
    int          results[ATTEMPTS];
    _Atomic int  begun[ATTEMPTS];
    _Atomic int  ended[ATTEMPTS];
    _Atomic int  canceled[ATTEMPTS];
    _Atomic bool gate;              /* open */
    _Atomic int  runs;
    _Atomic uint64_t threads[ATTEMPTS]; /* who ran it; a loser may outlast its call */
    _Atomic rsl_time takes;             /* virtual time that an attempt takes */
    rsl_hedge   *hedge;
} job;

/* The argument of a call: each attempt has a copy. */
typedef struct letter {
    job *j;
    int  written; /* the number of the attempt */
} letter;

/* Virtual time. Asleep, it waits in real time until what it is to wait for has begun, and only
   then moves; or until something has ended, and then it does not move. */
typedef struct stage {
    _Atomic int64_t now;
    job            *j;
    _Atomic int     until_begun; /* number of an attempt; 0: none */
    _Atomic int     until_ended;
    _Atomic bool    until_none_is_out; /* and the gate is opened */
    _Atomic int     sleeps;
} stage;

typedef struct rig {
    stage          stage;
    rsl_clock      clock;
    rsl_workers   *workers;
    rsl_hedge      hedge;
    job            j;
    event_recorder events;
    long           live;
} rig;

static rsl_time stage_now(void *user)
{
    stage *s = user;
    return atomic_load(&s->now);
}

/* Of the first slot. */
static int attempts_out(rsl_hedge *hedge)
{
    rsl_hedge_slot_ *slot = rsl_hedge_slot_at_(hedge->state_, 0);
    return (int)(rsl_load_(&slot->score) & RSL_HEDGE_OUT_);
}

static void stage_sleep_until(void *user, rsl_time until)
{
    stage *s = user;
    atomic_fetch_add(&s->sleeps, 1);
    if (atomic_load(&s->until_none_is_out)) {
        atomic_store(&s->j->gate, true);
        while (attempts_out(s->j->hedge) > 0) {
            rsl_pause_(RSL_US(20));
        }
        return;
    }
    int begun = atomic_load(&s->until_begun), ended = atomic_load(&s->until_ended);
    while (begun != 0 && atomic_load(&s->j->begun[begun]) == 0) {
        rsl_pause_(RSL_US(20));
    }
    while (ended != 0 && atomic_load(&s->j->ended[ended]) == 0) {
        rsl_pause_(RSL_US(20));
    }
    if (ended != 0) {
        rsl_pause_(0); /* it has ended, or is about to: the caller looks again */
        return;
    }
    if (until > atomic_load(&s->now)) {
        atomic_store(&s->now, until);
    }
}

static int work(const rsl_ctx *ctx, void *arg)
{
    letter *own = arg;
    job *j = own->j;
    uint32_t n = ctx->attempt;
    assert_true(n >= 1 && n < ATTEMPTS);
    deed what = j->deeds[n];
    j->threads[n] = rsl_self_();
    own->written = (int)n;
    atomic_fetch_add(&j->runs, 1);
    atomic_fetch_add(&j->begun[n], 1);
    while (what == HANGS && !rsl_cancel_fired(ctx->cancel)) {
        rsl_pause_(RSL_US(20));
    }
    while (what == LAST && attempts_out(j->hedge) > 1) {
        rsl_pause_(RSL_US(20));
    }
    while (what == BEHIND && (!atomic_load(&j->ended[2]) || !atomic_load(&j->ended[3]) ||
                              attempts_out(j->hedge) > 1)) {
        rsl_pause_(RSL_US(20));
    }
    if (what == OPENS) {
        atomic_store(&j->gate, true);
    }
    while (what == GATED && !atomic_load(&j->gate)) {
        rsl_pause_(RSL_US(20));
    }
    if (what == EXITS) {
        pthread_exit(NULL);
    }
    if (rsl_cancel_fired(ctx->cancel)) {
        atomic_fetch_add(&j->canceled[n], 1);
    }
    if (j->takes > 0) {
        stage *s = ctx->clock->user;
        atomic_fetch_add(&s->now, j->takes);
    }
    errno = 1000 + (int)n;
    atomic_fetch_add(&j->ended[n], 1);
    return j->results[n];
}

static void rig_begin(rig *r, rsl_hedge_config config, rsl_workers_config threads)
{
    memset(r, 0, sizeof(*r));
    r->live = support_live();
    r->stage.j = &r->j;
    r->j.hedge = &r->hedge;
    atomic_store(&r->stage.now, RSL_SEC(100));
    r->clock = (rsl_clock){stage_now, stage_sleep_until, &r->stage};
    assert_int_equal(rsl_workers_open(&r->workers, &threads), RSL_OK);
    config.name = "hedge";
    config.workers = r->workers;
    config.clock = r->clock;
    config.observer = event_recorder_as(&r->events);
    const char *why = rsl_hedge_config_check(&config);
    if (why != NULL) {
        fail_msg("config refused: %s", why);
    }
    assert_int_equal(rsl_hedge_init(&r->hedge, &config), RSL_OK);
}

static void rig_start(rig *r, rsl_hedge_config config)
{
    rsl_workers_config threads = {.threads_min = 4, .threads_max = 4};
    rig_begin(r, config, threads);
}

static rsl_hedge_stats stats_of(rig *r)
{
    rsl_hedge_stats stats;
    memset(&stats, 0x5A, sizeof(stats));
    rsl_hedge_stats_get(&r->hedge, &stats);
    return stats;
}

static void rig_end(rig *r)
{
    atomic_store(&r->j.gate, true);
    assert_int_equal(rsl_hedge_deinit(&r->hedge, NULL), RSL_OK);
    assert_int_equal(rsl_hedge_deinit(&r->hedge, NULL), RSL_OK);
    assert_int_equal(rsl_workers_close(r->workers, NULL), RSL_OK);
    assert_true(event_recorder_is_increasing(&r->events));
    assert_true(support_live() == r->live);
}

/* Until no loser runs any more. */
static void settle(rig *r)
{
    while (stats_of(r).running > 0) {
        rsl_pause_(RSL_US(20));
    }
}

static int call(rig *r, const rsl_ctx *ctx, int *written)
{
    letter own = {&r->j, 0};
    int result = rsl_hedge_call(&r->hedge, ctx, work, &own, sizeof(own));
    assert_ptr_equal(own.j, &r->j);
    if (written != NULL) {
        *written = own.written;
    }
    return result;
}

static void wait_for(_Atomic int *what, int least)
{
    while (atomic_load(what) < least) {
        rsl_pause_(RSL_US(20));
    }
}

/* ------------------------------------------------------------------- configs */

static void bad_configs_are_refused_by_name(void **state)
{
    (void)state;
    rsl_hedge hedge;
    int threads;
    rsl_workers *workers = (rsl_workers *)(void *)&threads; /* only compared to NULL */
    struct { rsl_hedge_config config; const char *why; } cases[] = {
        {{0}, "workers: must be set"},
        {{.workers = workers, .attempts_max = 1}, "attempts_max: must lie in 2..4"},
        {{.workers = workers, .attempts_max = 5}, "attempts_max: must lie in 2..4"},
        {{.workers = workers, .delay = -2}, "delay: must not be negative"},
        {{.workers = workers, .percentile = 1}, "percentile: must lie in 0..1, ends excluded"},
        {{.workers = workers, .percentile = -0.5}, "percentile: must lie in 0..1, ends excluded"},
        {{.workers = workers, .percentile = __builtin_nan("")},
         "percentile: must lie in 0..1, ends excluded"},
        {{.workers = workers, .delay_min = -5}, "delay_min: must not be negative"},
        {{.workers = workers, .delay_min = 9, .delay_max = 8},
         "delay_max: must not be less than delay_min"},
        {{.workers = workers, .calls_max = 65537}, "calls_max: must lie in 1..65536"},
        {{.workers = workers, .clock = {.now = stage_now}},
         "clock.sleep_until: must be set when clock.now is"},
    };
    for (size_t i = 0; i < RSL_COUNT(cases); i++) {
        assert_string_equal(rsl_hedge_config_check(&cases[i].config), cases[i].why);
        assert_int_equal(rsl_hedge_init(&hedge, &cases[i].config), RSL_EINVAL);
        assert_int_equal(rsl_hedge_deinit(&hedge, NULL), RSL_OK);
    }
    assert_string_equal(rsl_hedge_config_check(NULL), "workers: must be set");
}

static void a_config_resolves_to_its_defaults(void **state)
{
    (void)state;
    rsl_hedge_config config = rsl_hedge_config_resolve(NULL);
    assert_int_equal(config.attempts_max, 2);
    assert_true(config.delay == RSL_MS(100));
    assert_true(config.delay_min == RSL_MS(1));
    assert_true(config.delay_max == RSL_SEC(10));
    assert_int_equal(config.calls_max, 64);
    assert_int_equal(config.size_max, 256);
    assert_true(config.is_success(0, NULL) && !config.is_success(1, NULL));
    config.delay = RSL_NONE;
    config.delay_min = RSL_SEC(60);
    config.delay_max = 0;
    config = rsl_hedge_config_resolve(&config);
    assert_true(config.delay == 0);
    assert_true(config.delay_max == RSL_SEC(60));
}

static void more_than_memory_is_refused(void **state)
{
    (void)state;
    rsl_hedge hedge;
    int threads;
    rsl_hedge_config config = {.workers = (rsl_workers *)(void *)&threads};
    size_t sizes[] = {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX / 2, SIZE_MAX / 64, SIZE_MAX / 128 + 1};
    for (size_t i = 0; i < RSL_COUNT(sizes); i++) {
        config.size_max = sizes[i];
        assert_int_equal(rsl_hedge_init(&hedge, &config), RSL_ENOMEM);
    }
}

static void bad_calls_are_refused(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.size_max = ROOM});
    rsl_hedge dead = {NULL};
    char room[ROOM + 1] = {0};
    assert_int_equal(rsl_hedge_init(NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_hedge_deinit(NULL, NULL), RSL_OK);
    assert_int_equal(rsl_hedge_call(NULL, NULL, work, room, 1), RSL_EINVAL);
    assert_int_equal(rsl_hedge_call(&dead, NULL, work, room, 1), RSL_EINVAL);
    assert_int_equal(rsl_hedge_call(&r.hedge, NULL, NULL, room, 1), RSL_EINVAL);
    assert_int_equal(rsl_hedge_call(&r.hedge, NULL, work, room, ROOM + 1), RSL_EINVAL);
    assert_int_equal(rsl_hedge_call(&r.hedge, NULL, work, NULL, 1), RSL_EINVAL);
    rsl_hedge_stats_get(&r.hedge, NULL);
    rsl_hedge_stats stats = {.calls = 7};
    rsl_hedge_stats_get(&dead, &stats);
    assert_int_equal(stats.calls, 0);
    assert_int_equal(stats_of(&r).calls, 0);
    rig_end(&r);
}

/* ----------------------------------------------------------------- who wins */

static void a_first_attempt_that_is_quick_wins_alone(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){0});
    atomic_store(&r.stage.until_ended, 1);
    int written;
    errno = 5;
    assert_int_equal(call(&r, NULL, &written), 0);
    assert_int_equal(errno, 1001); /* as the call left it */
    assert_int_equal(written, 1);
    assert_int_equal(atomic_load(&r.j.runs), 1);
    assert_true(r.j.threads[1] != rsl_self_());
    rsl_hedge_stats stats = stats_of(&r);
    assert_true(stats.calls == 1 && stats.started == 0 && stats.won == 0 && stats.alone == 0);
    assert_int_equal(stats.running, 0);
    assert_int_equal(r.events.count, 0);
    rig_end(&r);
}

static void a_second_attempt_wins_and_the_loser_is_cancelled(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.delay = RSL_MS(30)});
    r.j.deeds[1] = HANGS;
    atomic_store(&r.stage.until_begun, 1);
    int written;
    assert_int_equal(call(&r, NULL, &written), 0);
    assert_int_equal(written, 2);
    assert_int_equal(errno, 1002);
    assert_true(atomic_load(&r.stage.now) == RSL_SEC(100) + RSL_MS(30));
    wait_for(&r.j.ended[1], 1);
    assert_int_equal(atomic_load(&r.j.canceled[1]), 1);
    assert_int_equal(atomic_load(&r.j.canceled[2]), 0);
    rsl_hedge_stats stats = stats_of(&r);
    assert_true(stats.started == 1 && stats.won == 1 && stats.denied == 0);
    const rsl_event *started = event_recorder_last(&r.events, RSL_HEDGE_STARTED);
    const rsl_event *won = event_recorder_last(&r.events, RSL_HEDGE_WON);
    assert_non_null(started);
    assert_non_null(won);
    assert_int_equal(started->value, 2);
    assert_int_equal(won->value, 2);
    assert_string_equal(r.events.events[0].source, "hedge");
    rig_end(&r);
}

static void nobody_waits_for_a_loser_and_deinit_does(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){0});
    r.j.deeds[1] = GATED;
    atomic_store(&r.stage.until_begun, 1);
    assert_int_equal(call(&r, NULL, NULL), 0);
    assert_int_equal(stats_of(&r).running, 1);
    rsl_ctx ctx = {.deadline = atomic_load(&r.stage.now) + RSL_MS(5), .clock = &r.clock};
    assert_int_equal(rsl_hedge_deinit(&r.hedge, &ctx), RSL_ETIMEOUT);
    assert_int_equal(stats_of(&r).running, 1);
    atomic_store(&r.stage.until_begun, 0);
    rig_end(&r);
}

static void the_first_may_still_win_after_the_second_has_begun(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){0});
    r.j.deeds[1] = GATED;
    r.j.deeds[2] = OPENS;
    r.j.results[2] = FAILURE; /* and nobody minds */
    atomic_store(&r.stage.until_begun, 1);
    int written;
    assert_int_equal(call(&r, NULL, &written), 0);
    assert_int_equal(written, 1);
    assert_int_equal(stats_of(&r).started, 1);
    assert_int_equal(stats_of(&r).won, 0);
    rig_end(&r);
}

static void a_first_failure_ends_the_call(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){0});
    r.j.results[1] = FAILURE;
    atomic_store(&r.stage.until_ended, 1);
    int written;
    assert_int_equal(call(&r, NULL, &written), FAILURE);
    assert_int_equal(written, 1);
    assert_int_equal(errno, 1001);
    assert_int_equal(atomic_load(&r.j.runs), 1);
    rig_end(&r);
}

static void when_all_fail_the_last_one_tells(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.attempts_max = 3, .delay = RSL_NONE});
    r.j.deeds[2] = LAST;
    r.j.results[1] = r.j.results[3] = 501;
    r.j.results[2] = FAILURE;
    r.j.deeds[1] = GATED; /* so that all are started */
    r.j.deeds[3] = OPENS;
    atomic_store(&r.stage.until_begun, 1);
    int written;
    assert_int_equal(call(&r, NULL, &written), FAILURE);
    assert_int_equal(written, 2);
    assert_int_equal(atomic_load(&r.j.runs), 3);
    rig_end(&r);
}

static void of_two_that_succeed_the_first_wins(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.attempts_max = 3, .delay = RSL_NONE});
    r.j.deeds[1] = BEHIND;
    r.j.deeds[2] = GATED; /* until the caller sleeps, or all are started */
    r.j.deeds[3] = OPENS;
    r.j.results[3] = FAILURE;
    atomic_store(&r.stage.until_none_is_out, true);
    int written;
    assert_int_equal(call(&r, NULL, &written), 0); /* all may have ended when the caller wakes */
    assert_int_equal(written, 2);
    assert_int_equal(stats_of(&r).won, 1);
    rig_end(&r);
}

static void without_delay_all_start_at_once(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.attempts_max = 4, .delay = RSL_NONE});
    r.j.deeds[1] = r.j.deeds[2] = r.j.deeds[3] = HANGS;
    atomic_store(&r.stage.until_begun, 1);
    int written;
    assert_int_equal(call(&r, NULL, &written), 0);
    assert_int_equal(written, 4);
    rsl_hedge_stats stats = stats_of(&r);
    assert_true(stats.started == 3 && stats.won == 1);
    assert_true(stats.delay == 0);
    rig_end(&r);
}

static void each_further_attempt_has_its_delay(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.attempts_max = 4, .delay = RSL_MS(10)});
    r.j.deeds[1] = r.j.deeds[2] = HANGS;
    atomic_store(&r.stage.until_begun, 1);
    int written;
    rsl_time began = atomic_load(&r.stage.now);
    assert_int_equal(call(&r, NULL, &written), 0);
    /* the clock may have gone on before the third returned */
    assert_true(written == 3 || written == 4);
    rsl_time took = atomic_load(&r.stage.now) - began;
    assert_true(took == RSL_MS(20) || took == RSL_MS(30));
    rig_end(&r);
}

static bool is_teapot(int result, void *user)
{
    return result == *(int *)user;
}

static void success_is_what_the_config_says(void **state)
{
    (void)state;
    rig r;
    int teapot = 418;
    rig_start(&r, (rsl_hedge_config){.is_success = is_teapot, .user = &teapot,
                                     .delay = RSL_NONE});
    r.j.deeds[1] = GATED; /* and returns 0, which is a failure here */
    r.j.deeds[2] = OPENS;
    r.j.results[2] = 418;
    atomic_store(&r.stage.until_begun, 1);
    int written;
    assert_int_equal(call(&r, NULL, &written), 418);
    assert_int_equal(written, 2);
    rig_end(&r);
}

static void an_attempt_that_ends_its_thread_has_failed(void **state)
{
    (void)state;
#ifndef _WIN32 /* there, who ends a thread must return */
    rig r;
    rig_start(&r, (rsl_hedge_config){0});
    r.j.deeds[1] = EXITS;
    atomic_store(&r.stage.until_begun, 1);
    int result = call(&r, NULL, NULL); /* or a second was started before that was known */
    assert_true(result == RSL_ECANCELED || result == 0);
    rig_end(&r);
#endif
}

/* ------------------------------------------------------------------- arguments */

static int count_up(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    atomic_fetch_add((_Atomic int *)arg, 1);
    return 0;
}

static void an_argument_without_size_is_everybodys(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){0});
    _Atomic int counter = 0;
    assert_int_equal(rsl_hedge_call(&r.hedge, NULL, count_up, (void *)&counter, 0), 0);
    assert_true(atomic_load(&counter) >= 1);
    assert_int_equal(rsl_hedge_deinit(&r.hedge, NULL), RSL_OK); /* no loser has it any more */
    rig_end(&r);
}

static int scribble(const rsl_ctx *ctx, void *arg)
{
    unsigned char *bytes = arg;
    assert_true((uintptr_t)arg % 16 == 0);
    for (int i = 0; i < ROOM; i++) {
        assert_int_equal(bytes[i], 7);
        bytes[i] = (unsigned char)ctx->attempt;
    }
    return ctx->attempt == 2 ? 0 : FAILURE;
}

static void each_attempt_scribbles_on_its_own_copy(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.size_max = ROOM, .delay = RSL_NONE});
    for (int round = 0; round < 50; round++) {
        unsigned char bytes[ROOM + 1];
        memset(bytes, 7, sizeof(bytes));
        int result = rsl_hedge_call(&r.hedge, NULL, scribble, bytes, ROOM);
        assert_true(result == 0 || result == FAILURE); /* the first may fail before the second */
        for (int i = 0; i < ROOM; i++) {
            assert_int_equal(bytes[i], result == 0 ? 2 : bytes[0]);
        }
        assert_int_equal(bytes[ROOM], 7);
    }
    rig_end(&r);
}

/* -------------------------------------------------------------------- limits */

static void a_deadline_leaves_all_behind(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.delay = RSL_MS(10)});
    r.j.deeds[1] = r.j.deeds[2] = GATED;
    atomic_store(&r.stage.until_begun, 1);
    rsl_clock of_the_call = r.clock; /* gone before the losers are */
    rsl_ctx ctx = {.deadline = atomic_load(&r.stage.now) + RSL_MS(25), .clock = &of_the_call};
    int written;
    errno = 5;
    assert_int_equal(call(&r, &ctx, &written), RSL_ETIMEOUT);
    memset(&of_the_call, 0xA5, sizeof(of_the_call));
    assert_int_equal(errno, 5);
    assert_int_equal(written, 0);
    assert_int_equal(stats_of(&r).running, 1);
    atomic_store(&r.stage.until_begun, 0);
    rig_end(&r);
    assert_int_equal(atomic_load(&r.j.canceled[1]), 1);
}

static void a_spent_ctx_starts_nothing(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){0});
    rsl_ctx ctx = {.deadline = 1};
    assert_int_equal(call(&r, &ctx, NULL), RSL_ETIMEOUT);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_cancel_fire(&cancel);
    ctx = (rsl_ctx){.cancel = &cancel};
    assert_int_equal(call(&r, &ctx, NULL), RSL_ECANCELED);
    rsl_cancel_deinit(&cancel);
    assert_int_equal(atomic_load(&r.j.runs), 0);
    rig_end(&r);
}

typedef struct canceller {
    rsl_cancel  *cancel;
    _Atomic int *when;
} canceller;

static void *canceller_run(void *arg)
{
    canceller *c = arg;
    wait_for(c->when, 1);
    rsl_cancel_fire(c->cancel);
    return NULL;
}

static void cancelling_ends_the_call_and_the_token_may_go(void **state)
{
    (void)state;
    rig r;
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rig_start(&r, (rsl_hedge_config){.delay = RSL_NONE});
    r.j.deeds[1] = r.j.deeds[2] = GATED;
    atomic_store(&r.stage.until_begun, 1);
    canceller c = {&cancel, &r.j.begun[2]};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, canceller_run, &c), 0);
    rsl_ctx ctx = {.cancel = &cancel};
    assert_int_equal(call(&r, &ctx, NULL), RSL_ECANCELED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    rsl_cancel_deinit(&cancel); /* asserts that nothing hangs under it */
    rig_end(&r);
    assert_int_equal(atomic_load(&r.j.canceled[1]), 1);
    assert_int_equal(atomic_load(&r.j.canceled[2]), 1);
}

static int see_deadline(const rsl_ctx *ctx, void *arg)
{
    *(rsl_time *)arg = ctx->deadline;
    return ctx->priority;
}

static void limits_travel_to_the_attempts(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){0});
    rsl_time seen = 0, deadline = atomic_load(&r.stage.now) + RSL_SEC(9999);
    rsl_ctx ctx = {.deadline = deadline, .priority = 3};
    atomic_store(&r.stage.until_ended, 0);
    int result = rsl_hedge_call(&r.hedge, &ctx, see_deadline, &seen, sizeof(seen));
    assert_int_equal(result, 3);
    assert_true(seen == deadline);
    rig_end(&r);
}

/* -------------------------------------------------------------------- the budget */

static void the_budget_bounds_further_attempts(void **state)
{
    (void)state;
    rig r;
    rsl_retry_budget budget;
    rsl_retry_budget_config tokens = {.tokens_max = 10, .tokens_per_success = 0.5};
    assert_int_equal(rsl_retry_budget_init(&budget, &tokens), RSL_OK);
    rig_start(&r, (rsl_hedge_config){.budget = &budget});
    r.j.deeds[1] = GATED;
    r.j.deeds[2] = OPENS;
    atomic_store(&r.stage.until_begun, 1);
    for (int i = 0; i < 4; i++) { /* above half of ten tokens there are four */
        atomic_store(&r.j.begun[1], 0);
        atomic_store(&r.j.gate, false);
        assert_int_equal(call(&r, NULL, NULL), 0);
        settle(&r);
    }
    assert_int_equal(stats_of(&r).started, 4);
    assert_int_equal(stats_of(&r).denied, 0);
    atomic_store(&r.j.begun[1], 0);
    r.j.deeds[1] = HANGS; /* the next is denied, and must do without */
    rsl_ctx ctx = {.deadline = atomic_load(&r.stage.now) + RSL_SEC(1)};
    assert_int_equal(call(&r, &ctx, NULL), RSL_ETIMEOUT);
    assert_int_equal(stats_of(&r).started, 4);
    assert_int_equal(stats_of(&r).denied, 1);
    const rsl_event *denied = event_recorder_last(&r.events, RSL_HEDGE_DENIED);
    assert_non_null(denied);
    assert_int_equal(denied->status, RSL_ELIMITED);
    settle(&r);
    r.j.deeds[1] = RETURNS; /* successes alone give back */
    atomic_store(&r.stage.until_begun, 0);
    for (int i = 0; i < 4; i++) {
        atomic_store(&r.j.ended[1], 0);
        atomic_store(&r.stage.until_ended, 1);
        assert_int_equal(call(&r, NULL, NULL), 0);
    }
    assert_true(rsl_retry_budget_has(&budget));
    rig_end(&r);
}

/* ----------------------------------------------------------------- no hedge */

static void workers_that_are_closed_leave_the_call_to_the_caller(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){0});
    assert_int_equal(rsl_workers_drain(r.workers, NULL), RSL_OK);
    int written;
    assert_int_equal(call(&r, NULL, &written), 0);
    assert_int_equal(written, 1);
    assert_int_equal(errno, 1001);
    assert_true(r.j.threads[1] == rsl_self_());
    assert_int_equal(stats_of(&r).alone, 1);
    assert_int_equal(stats_of(&r).running, 0);
    const rsl_event *alone = event_recorder_last(&r.events, RSL_HEDGE_ALONE);
    assert_non_null(alone);
    assert_int_equal(alone->status, RSL_ECLOSED);
    rig_end(&r);
}

static void more_calls_than_there_is_room_for_run_alone(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.calls_max = 1});
    r.j.deeds[1] = GATED;
    atomic_store(&r.stage.until_begun, 1);
    assert_int_equal(call(&r, NULL, NULL), 0); /* leaves a loser in the only slot */
    job other = {.deeds = {0}};
    letter own = {&other, 0};
    assert_int_equal(rsl_hedge_call(&r.hedge, NULL, work, &own, sizeof(own)), 0);
    assert_true(other.threads[1] == rsl_self_());
    assert_int_equal(stats_of(&r).alone, 1);
    const rsl_event *alone = event_recorder_last(&r.events, RSL_HEDGE_ALONE);
    assert_non_null(alone);
    assert_int_equal(alone->status, RSL_EFULL);
    atomic_store(&r.j.gate, true);
    wait_for(&r.j.ended[1], 1);
    settle(&r);
    r.j.deeds[1] = RETURNS;
    atomic_store(&r.j.ended[1], 0);
    atomic_store(&r.stage.until_ended, 1);
    assert_int_equal(call(&r, NULL, NULL), 0);
    assert_int_equal(stats_of(&r).alone, 1);
    rig_end(&r);
}

static int hold_the_gate(const rsl_ctx *ctx, void *arg)
{
    job *j = arg;
    (void)ctx;
    atomic_fetch_add(&j->begun[4], 1);
    while (!atomic_load(&j->gate)) {
        rsl_pause_(RSL_US(20));
    }
    return 0;
}

static void what_no_worker_has_begun_is_taken_back(void **state)
{
    (void)state;
    rig r;
    rsl_workers_config threads = {.threads_min = 1, .threads_max = 1};
    for (int at_once = 0; at_once < 2; at_once++) {
        rsl_hedge_config config = {.delay = at_once ? RSL_NONE : RSL_MS(10)};
        rig_begin(&r, config, threads);
        rsl_task blocker;
        memset(&blocker, 0, sizeof(blocker));
        assert_int_equal(rsl_workers_submit(r.workers, NULL, hold_the_gate, &r.j, &blocker),
                         RSL_OK);
        wait_for(&r.j.begun[4], 1);
        int written;
        assert_int_equal(call(&r, NULL, &written), 0);
        assert_int_equal(written, 1);
        assert_true(r.j.threads[1] == rsl_self_());
        assert_int_equal(atomic_load(&r.j.runs), 1);
        assert_int_equal(stats_of(&r).alone, 1);
        assert_int_equal(stats_of(&r).running, 0);
        atomic_store(&r.j.gate, true);
        assert_int_equal(rsl_task_wait(&blocker, NULL, NULL), RSL_OK);
        assert_int_equal(atomic_load(&r.j.runs), 1);
        rig_end(&r);
    }
}

static int call_from_within(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    return call(arg, NULL, NULL);
}

static void a_call_from_a_task_of_its_own_workers_ends(void **state)
{
    (void)state;
    rig r;
    rsl_workers_config threads = {.threads_min = 1, .threads_max = 1};
    rig_begin(&r, (rsl_hedge_config){0}, threads);
    rsl_task task;
    memset(&task, 0, sizeof(task));
    assert_int_equal(rsl_workers_submit(r.workers, NULL, call_from_within, &r, &task), RSL_OK);
    rsl_ctx ctx = rsl_within(RSL_SEC(60));
    int result = 1;
    assert_int_equal(rsl_task_wait(&task, &ctx, &result), RSL_OK);
    assert_int_equal(result, 0);
    assert_int_equal(stats_of(&r).alone, 1);
    rig_end(&r);
}

static void workers_without_room_for_a_second_deny_it(void **state)
{
    (void)state;
    rig r;
    rsl_workers_config threads = {.threads_min = 1, .threads_max = 1, .queue_max = 1};
    rig_begin(&r, (rsl_hedge_config){.attempts_max = 3, .delay = RSL_MS(1)}, threads);
    r.j.deeds[1] = HANGS;
    atomic_store(&r.stage.until_begun, 1);
    rsl_ctx ctx = {.deadline = atomic_load(&r.stage.now) + RSL_MS(50)};
    assert_int_equal(call(&r, &ctx, NULL), RSL_ETIMEOUT);
    rsl_hedge_stats stats = stats_of(&r);
    assert_true(stats.started == 1 && stats.denied == 1); /* one queued, one refused */
    const rsl_event *denied = event_recorder_last(&r.events, RSL_HEDGE_DENIED);
    assert_non_null(denied);
    assert_int_equal(denied->status, RSL_EFULL);
    assert_int_equal(denied->value, 3);
    atomic_store(&r.stage.until_begun, 0);
    rig_end(&r);
    assert_int_equal(atomic_load(&r.j.runs), 1); /* what was queued never ran */
}

/* ------------------------------------------------------------------- the delay */

static void buckets_hold_what_they_say(void **state)
{
    (void)state;
    for (uint32_t i = 0; i + 1 < RSL_HEDGE_BUCKETS_; i++) {
        rsl_time begin = rsl_hedge_bound_(i), end = rsl_hedge_bound_(i + 1);
        assert_true(begin < end);
        assert_int_equal(rsl_hedge_bucket_(begin), i);
        assert_int_equal(rsl_hedge_bucket_(end - 1), i);
        assert_true(begin < RSL_US(9) || (double)(end - begin) <= (double)begin / 8 + 1);
    }
    assert_int_equal(rsl_hedge_bucket_(-5), 0);
    assert_int_equal(rsl_hedge_bucket_(RSL_FOREVER), RSL_HEDGE_BUCKETS_ - 1);
    assert_true(rsl_hedge_bound_(RSL_HEDGE_BUCKETS_ - 1) > RSL_SEC(200));
}

static void pass(rig *r, rsl_time takes)
{
    r->j.takes = takes;
    atomic_store(&r->j.ended[1], 0);
    atomic_store(&r->stage.until_ended, 1);
    assert_int_equal(call(r, NULL, NULL), 0);
    while (attempts_out(&r->hedge) > 0) { /* a loser of this one would see the next one's job */
        rsl_pause_(RSL_US(20));
    }
}

static bool about(rsl_time value, rsl_time wanted)
{
    return value > wanted - wanted / 7 && value < wanted + wanted / 7;
}

static void the_delay_follows_the_percentile(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.percentile = 0.9, .delay = RSL_SEC(1)});
    for (int i = 0; i < 31; i++) {
        pass(&r, RSL_MS(10));
    }
    assert_true(stats_of(&r).delay == RSL_SEC(1)); /* too few to tell */
    for (int i = 31; i < 320; i++) {
        pass(&r, i % 10 < 8 ? RSL_MS(10) : RSL_MS(80));
    }
    assert_true(about(stats_of(&r).delay, RSL_MS(80)));
    for (int i = 0; i < 1100; i++) { /* the past is forgotten after two windows */
        pass(&r, RSL_MS(5));
    }
    assert_true(about(stats_of(&r).delay, RSL_MS(5)));
    rig_end(&r);
}

static void the_delay_keeps_its_bounds(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.percentile = 0.5, .delay_min = RSL_MS(20),
                                     .delay_max = RSL_MS(30)});
    for (int i = 0; i < 64; i++) {
        pass(&r, RSL_MS(1));
    }
    assert_true(stats_of(&r).delay == RSL_MS(20));
    for (int i = 0; i < 640; i++) {
        pass(&r, RSL_MS(500));
    }
    assert_true(stats_of(&r).delay == RSL_MS(30));
    rig_end(&r);
}

static void a_high_percentile_wants_many_latencies(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.percentile = 0.995, .delay = RSL_SEC(1)});
    for (int i = 0; i < 192; i++) {
        pass(&r, RSL_MS(10));
    }
    assert_true(stats_of(&r).delay == RSL_SEC(1));
    for (int i = 0; i < 32; i++) {
        pass(&r, RSL_MS(10));
    }
    assert_true(about(stats_of(&r).delay, RSL_MS(10)));
    rig_end(&r);
}

/* One call in ten hangs and is decided by its second attempt: the delay must not creep down. */
static void hedging_does_not_pull_the_delay_down(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.percentile = 0.95, .delay = RSL_MS(100), .calls_max = 64});
    seeded_random random = {4711};
    for (int i = 0; i < 1500; i++) {
        if (i % 10 == 9) {
            r.j.takes = 0;
            r.j.deeds[1] = HANGS;
            atomic_store(&r.j.begun[1], 0);
            atomic_store(&r.stage.until_ended, 0);
            atomic_store(&r.stage.until_begun, 1);
            assert_int_equal(call(&r, NULL, NULL), 0);
            settle(&r);
            r.j.deeds[1] = RETURNS;
            atomic_store(&r.stage.until_begun, 0);
        } else {
            pass(&r, RSL_MS(2) + (rsl_time)seeded_random_below(&random, 1000000));
        }
    }
    assert_true(stats_of(&r).delay >= RSL_MS(50)); /* at 0.9 of 3 ms it would soon be there */
    rig_end(&r);
}

/* ----------------------------------------------------------------- allocations */

static void a_failed_allocation_is_told(void **state)
{
    (void)state;
    rsl_hedge hedge;
    int threads;
    rsl_hedge_config config = {.workers = (rsl_workers *)(void *)&threads};
    long live = support_live();
    support_fail_nth(1);
    assert_int_equal(rsl_hedge_init(&hedge, &config), RSL_ENOMEM);
    support_fail_never();
    assert_int_equal(rsl_hedge_deinit(&hedge, NULL), RSL_OK);
    assert_int_equal(rsl_hedge_init(&hedge, &config), RSL_OK);
    assert_true(support_taken() == 1);
    assert_int_equal(rsl_hedge_deinit(&hedge, NULL), RSL_OK);
    assert_true(support_live() == live);
}

static void a_call_allocates_nothing(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, (rsl_hedge_config){.delay = RSL_NONE});
    support_fail_from(1);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(call(&r, NULL, NULL), 0);
    }
    assert_true(support_taken() == 0);
    support_fail_never();
    rig_end(&r);
}

/* --------------------------------------------------------------------- threads */

typedef struct crowd {
    rsl_hedge    *hedge;
    _Atomic long  wrong, good;
    _Atomic uint32_t seed;
} crowd;

typedef struct sum {
    int a, b, result;
} sum;

/* Slow now and then, failing now and then; polls its ctx as a good call does. */
static int add_up(const rsl_ctx *ctx, void *arg)
{
    sum *s = arg;
    s->result = s->a + s->b;
    int kind = (s->a + (int)ctx->attempt) % 8;
    for (int i = 0; kind == 0 && i < 20 && !rsl_cancel_fired(ctx->cancel); i++) {
        rsl_pause_(RSL_US(100));
    }
    return kind == 1 ? FAILURE : 0;
}

static void *crowd_run(void *arg)
{
    crowd *c = arg;
    seeded_random random = {UINT64_C(1) + atomic_fetch_add(&c->seed, 1)};
    for (int i = 0; i < 300; i++) {
        sum s = {(int)seeded_random_below(&random, 1000), i, 0};
        rsl_ctx ctx = rsl_within(RSL_SEC(30));
        int result = rsl_hedge_call(c->hedge, i % 2 ? &ctx : NULL, add_up, &s, sizeof(s));
        bool right = (result == 0 || result == FAILURE) && s.result == s.a + i;
        atomic_fetch_add(right ? &c->good : &c->wrong, 1);
    }
    return NULL;
}

static void many_callers_get_each_their_own_answer(void **state)
{
    (void)state;
    enum { CALLERS = 6 };
    long live = support_live();
    rsl_workers *workers;
    rsl_workers_config threads = {.threads_min = 3, .threads_max = 3, .queue_max = 8};
    assert_int_equal(rsl_workers_open(&workers, &threads), RSL_OK);
    rsl_hedge hedge;
    rsl_hedge_config config = {.workers = workers, .delay = RSL_US(300), .calls_max = 8,
                               .attempts_max = 3, .percentile = 0.9, .delay_min = RSL_US(100)};
    assert_int_equal(rsl_hedge_init(&hedge, &config), RSL_OK);
    crowd c = {.hedge = &hedge};
    pthread_t callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_create(&callers[i], NULL, crowd_run, &c), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(callers[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&c.wrong), 0);
    assert_int_equal(atomic_load(&c.good), CALLERS * 300);
    assert_int_equal(rsl_hedge_deinit(&hedge, NULL), RSL_OK);
    assert_int_equal(rsl_workers_close(workers, NULL), RSL_OK);
    assert_true(support_live() == live);
}
#else

static void without_threads_there_are_no_workers_to_hedge_on(void **state)
{
    (void)state;
    rsl_hedge hedge;
    assert_int_equal(rsl_hedge_init(&hedge, NULL), RSL_EINVAL);
    assert_int_equal(rsl_hedge_deinit(&hedge, NULL), RSL_OK);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef RSL_NO_THREADS
        cmocka_unit_test(bad_configs_are_refused_by_name),
        cmocka_unit_test(a_config_resolves_to_its_defaults),
        cmocka_unit_test(more_than_memory_is_refused),
        cmocka_unit_test(bad_calls_are_refused),
        cmocka_unit_test(a_first_attempt_that_is_quick_wins_alone),
        cmocka_unit_test(a_second_attempt_wins_and_the_loser_is_cancelled),
        cmocka_unit_test(nobody_waits_for_a_loser_and_deinit_does),
        cmocka_unit_test(the_first_may_still_win_after_the_second_has_begun),
        cmocka_unit_test(a_first_failure_ends_the_call),
        cmocka_unit_test(when_all_fail_the_last_one_tells),
        cmocka_unit_test(of_two_that_succeed_the_first_wins),
        cmocka_unit_test(without_delay_all_start_at_once),
        cmocka_unit_test(each_further_attempt_has_its_delay),
        cmocka_unit_test(success_is_what_the_config_says),
        cmocka_unit_test(an_attempt_that_ends_its_thread_has_failed),
        cmocka_unit_test(an_argument_without_size_is_everybodys),
        cmocka_unit_test(each_attempt_scribbles_on_its_own_copy),
        cmocka_unit_test(a_deadline_leaves_all_behind),
        cmocka_unit_test(a_spent_ctx_starts_nothing),
        cmocka_unit_test(cancelling_ends_the_call_and_the_token_may_go),
        cmocka_unit_test(limits_travel_to_the_attempts),
        cmocka_unit_test(the_budget_bounds_further_attempts),
        cmocka_unit_test(workers_that_are_closed_leave_the_call_to_the_caller),
        cmocka_unit_test(more_calls_than_there_is_room_for_run_alone),
        cmocka_unit_test(what_no_worker_has_begun_is_taken_back),
        cmocka_unit_test(a_call_from_a_task_of_its_own_workers_ends),
        cmocka_unit_test(workers_without_room_for_a_second_deny_it),
        cmocka_unit_test(buckets_hold_what_they_say),
        cmocka_unit_test(the_delay_follows_the_percentile),
        cmocka_unit_test(the_delay_keeps_its_bounds),
        cmocka_unit_test(a_high_percentile_wants_many_latencies),
        cmocka_unit_test(hedging_does_not_pull_the_delay_down),
        cmocka_unit_test(a_failed_allocation_is_told),
        cmocka_unit_test(a_call_allocates_nothing),
        cmocka_unit_test(many_callers_get_each_their_own_answer),
#else
        cmocka_unit_test(without_threads_there_are_no_workers_to_hedge_on),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
