/* SPDX-License-Identifier: MIT
   test_resilience.c: one call on its way through the layers, driven in three ways: by rsl_run, by
   the next/done loop, and step by step as an event loop does.

   All in virtual time. A scripted layer does what its script says and writes down what the engine
   does with it; a scripted call takes its time and answers what it was told to. So a test reads
   as a trace of two letters an event:

       +a  layer a entered        ~a  layer a waits        !a  layer a refuses
       -a  layer a left           @a  layer a left, wants the inner layers and the call again
       xa  layer a abandoned      ()  the call                                               */
#include "support/allocator.h"

#define RSL_IMPLEMENTATION
#include "resilience.h"

#include "support/support.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define START RSL_SEC(1000)

enum { FAILED = 42, OTHER = 43, CUT = 44 };

/* ------------------------------------------------------------------- trace */

typedef struct trace {
    char   text[16384];
    size_t length;
} trace;

static void trace_add(trace *t, char mark, char name)
{
    assert_true(t->length + 3 < sizeof t->text);
    t->text[t->length++] = mark;
    t->text[t->length++] = name;
    t->text[t->length] = '\0';
}

/* ----------------------------------------------------------- scripted layer */

#define SLOT_IN_USE UINT64_C(0x5107)

typedef struct script_layer {
    trace         *trace;
    virtual_clock *clock;
    char           name;
    /* the script */
    int            waits;       /* how often enter waits before it goes on */
    rsl_time       wait_for;    /* how long each time */
    int            refuse;      /* what enter refuses with (0: it does not) */
    rsl_time       narrow;      /* the deadline that it sets, counted from its enter (0: none) */
    int            agains;      /* how often leave wants another round, in all */
    rsl_time       again_after; /* and when */
    bool           changes;     /* leave changes the result to turns_into */
    int            turns_into;
    void         (*on_visit)(struct script_layer *layer); /* rewrites the script (none) */
    uint64_t       seed;        /* for on_visit */
    /* what was seen */
    int            visits, lefts, abandons, refusals, inside;
    const rsl_slot *slot;       /* where it was told to remember */
    bool           waiting;
    int            seen_result; /* at the latest leave */
    bool           seen_refused;
    rsl_time       entered_at, left_at;
} script_layer;

static void script_first_enter(script_layer *s, const rsl_slot *slot)
{
    for (size_t i = 0; i < RSL_COUNT(slot->word); i++) {
        assert_true(slot->word[i] == 0);
    }
    assert_int_equal(s->inside, 0);
    s->slot = slot;
    s->visits++;
    if (s->on_visit != NULL) {
        s->on_visit(s);
    }
}

/* Words: in use, waits so far, the end of the wait, the deadline found. */
static int script_enter(void *self, rsl_execution *e, rsl_slot *slot)
{
    script_layer *s = self;
    if (!s->waiting) {
        script_first_enter(s, slot);
        slot->word[0] = SLOT_IN_USE;
    }
    assert_ptr_equal(slot, s->slot);
    assert_true(slot->word[0] == SLOT_IN_USE);
    assert_true(s->clock == NULL || e->now == s->clock->now);
    s->waiting = true;
    if ((rsl_time)slot->word[2] > e->now) {
        e->wake_at = (rsl_time)slot->word[2];
        return RSL_WAIT;
    }
    if (slot->word[1] < (uint64_t)s->waits) {
        slot->word[1]++;
        slot->word[2] = (uint64_t)(e->now + s->wait_for);
        e->wake_at = e->now + s->wait_for;
        trace_add(s->trace, '~', s->name);
        return RSL_WAIT;
    }
    s->waiting = false;
    if (s->refuse != 0) {
        memset(slot, 0xA5, sizeof *slot);
        s->refusals++;
        trace_add(s->trace, '!', s->name);
        return s->refuse;
    }
    slot->word[3] = (uint64_t)e->ctx.deadline;
    rsl_time wish = s->narrow == 0 ? RSL_FOREVER : e->now + s->narrow;
    if (s->narrow != 0 && (e->ctx.deadline == 0 || wish < e->ctx.deadline)) {
        e->ctx.deadline = wish;
    }
    s->inside = 1;
    s->entered_at = e->now;
    trace_add(s->trace, '+', s->name);
    return RSL_OK;
}

static int script_leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    script_layer *s = self;
    assert_int_equal(s->inside, 1);
    assert_ptr_equal(slot, s->slot);
    assert_true(slot->word[0] == SLOT_IN_USE);
    assert_true(s->clock == NULL || e->now == s->clock->now);
    s->seen_result = e->result;
    s->seen_refused = e->refused;
    s->left_at = e->now;
    if (s->agains > 0) {
        s->agains--;
        e->wake_at = e->now + s->again_after;
        trace_add(s->trace, '@', s->name);
        return RSL_AGAIN;
    }
    if (s->changes) {
        e->result = s->turns_into;
    }
    e->ctx.deadline = (rsl_time)slot->word[3];
    memset(slot, 0xA5, sizeof *slot);
    s->inside = 0;
    s->lefts++;
    trace_add(s->trace, '-', s->name);
    return RSL_DONE;
}

static void script_abandon(void *self, rsl_execution *e, rsl_slot *slot)
{
    script_layer *s = self;
    assert_true(s->inside == 1 || s->waiting);
    assert_ptr_equal(slot, s->slot);
    assert_true(slot->word[0] == SLOT_IN_USE);
    if (s->inside == 1) {
        e->ctx.deadline = (rsl_time)slot->word[3];
    }
    memset(slot, 0xA5, sizeof *slot);
    s->inside = 0;
    s->waiting = false;
    s->abandons++;
    trace_add(s->trace, 'x', s->name);
}

static const rsl_layer_type script_types[] = {
    {"a", script_enter, script_leave, script_abandon},
    {"b", script_enter, script_leave, script_abandon},
    {"c", script_enter, script_leave, script_abandon},
    {"d", script_enter, script_leave, script_abandon},
    {"e", script_enter, script_leave, script_abandon},
    {"f", script_enter, script_leave, script_abandon},
    {"g", script_enter, script_leave, script_abandon},
    {"h", script_enter, script_leave, script_abandon},
};

static rsl_layer script_as_layer(script_layer *s)
{
    rsl_layer layer = {&script_types[s->name - 'a'], s};
    return layer;
}

/* ------------------------------------------------------------------- stage */

/* All that a test needs: eight scripted layers, a scripted call, virtual time, and a token that
   may be fired at a set time. */
typedef struct stage {
    virtual_clock clock;
    rsl_clock     clock_as;
    rsl_cancel    cancel;
    rsl_time      cancel_at;      /* fired when time gets there (RSL_FOREVER: never) */
    seeded_random early;          /* if set, every other sleep is too short by half */
    rsl_ctx       ctx;
    script_layer  a, b, c, d, e, f, g, h;
    /* the call */
    int           results[8];     /* the last one repeats */
    size_t        results_count;
    rsl_time      lasts;
    bool          stubborn;       /* does not heed its deadline, nor being cancelled */
    int           cut;            /* what it answers when it was ended early */
    int           calls;
    rsl_ctx       seen;           /* what the latest call got */
    rsl_time      called_at;
    int           reads_before;   /* readings of the clock up to the latest call */
    rsl_time      limit;          /* wake_at of the latest RSL_RUN; only by steps */
    int           stops;          /* how often a step said RSL_STOP */
    rsl_execution x;              /* how it ended; only by loop and by steps */
    trace         trace;
} stage;

static void stage_on_sleep(virtual_clock *clock, rsl_time until)
{
    stage *s = clock->arg;
    bool fires = s->cancel_at <= until && !rsl_cancel_fired(&s->cancel);
    rsl_time end = fires ? s->cancel_at : until;
    assert_true(end < RSL_FOREVER); /* or nothing would ever end this sleep */
    if (s->early.state != 0 && seeded_random_below(&s->early, 2) == 0) {
        rsl_time half = clock->now + (end - clock->now) / 2;
        fires = fires && half == end;
        end = half;
    }
    clock->wake_early = until - end;
    if (fires) {
        rsl_cancel_fire(&s->cancel);
    }
}

static void stage_layer(stage *s, script_layer *layer, char name)
{
    layer->trace = &s->trace;
    layer->clock = &s->clock;
    layer->name = name;
    layer->wait_for = RSL_MS(10);
    layer->again_after = RSL_MS(10);
}

static void stage_set(stage *s)
{
    memset(s, 0, offsetof(stage, trace));
    s->trace.length = 0;
    s->trace.text[0] = '\0';
    s->clock.now = START;
    s->clock.on_sleep = stage_on_sleep;
    s->clock.arg = s;
    s->clock_as = virtual_clock_as(&s->clock);
    s->cancel_at = RSL_FOREVER;
    assert_int_equal(rsl_cancel_init(&s->cancel, NULL), RSL_OK);
    s->ctx.clock = &s->clock_as;
    s->ctx.cancel = &s->cancel;
    s->results_count = 1;
    s->cut = CUT;
    script_layer *layers[] = {&s->a, &s->b, &s->c, &s->d, &s->e, &s->f, &s->g, &s->h};
    for (size_t i = 0; i < RSL_COUNT(layers); i++) {
        stage_layer(s, layers[i], (char)('a' + (int)i));
    }
    memset(&s->x, 0xA5, sizeof s->x);
}

static void stage_end(stage *s)
{
    const script_layer *layers[] = {&s->a, &s->b, &s->c, &s->d, &s->e, &s->f, &s->g, &s->h};
    for (size_t i = 0; i < RSL_COUNT(layers); i++) {
        assert_int_equal(layers[i]->inside, 0);
        assert_false(layers[i]->waiting);
    }
    rsl_cancel_deinit(&s->cancel);
}

static void stage_answers(stage *s, size_t count, const int *results)
{
    assert_true(count <= RSL_COUNT(s->results));
    memcpy(s->results, results, count * sizeof *results);
    s->results_count = count;
}

static void stage_sleep_until(stage *s, rsl_time until)
{
    if (until > s->clock.now) {
        s->clock_as.sleep_until(s->clock_as.user, until);
    }
}

/* As above, but not to be woken. */
static void stage_sleep_through(stage *s, rsl_time until)
{
    while (until > s->clock.now) {
        stage_sleep_until(s, until);
    }
}

static int stage_next_result(const stage *s)
{
    size_t n = (size_t)s->calls - 1;
    return s->results[n < s->results_count ? n : s->results_count - 1];
}

static void stage_call_starts(stage *s, const rsl_ctx *ctx)
{
    s->calls++;
    s->seen = *ctx;
    s->called_at = s->clock.now;
    s->reads_before = s->clock.reads;
    trace_add(&s->trace, '(', ')');
}

/* The call as a plain function: it heeds what stands in its ctx. */
static int stage_call(const rsl_ctx *ctx, void *arg)
{
    stage *s = arg;
    stage_call_starts(s, ctx);
    rsl_time end = s->clock.now + s->lasts;
    rsl_time limit = ctx->deadline == 0 ? RSL_FOREVER : ctx->deadline;
    if (s->cancel_at < limit && !rsl_cancel_fired(&s->cancel)) {
        limit = s->cancel_at;
    }
    if (s->stubborn || end <= limit) {
        stage_sleep_through(s, end);
        return stage_next_result(s);
    }
    stage_sleep_through(s, limit);
    return s->cut;
}

/* The call as an event loop runs it: it ends when it is ready, or when it is told to stop. */
static void stage_call_by_steps(stage *s, rsl_execution *x)
{
    stage_call_starts(s, &x->ctx);
    s->limit = x->wake_at;
    assert_true(x->wake_at == (x->ctx.deadline == 0 ? RSL_FOREVER : x->ctx.deadline));
    rsl_time end = s->clock.now + s->lasts;
    while (s->clock.now < end) {
        stage_sleep_until(s, end < x->wake_at ? end : x->wake_at);
        if (s->clock.now >= end) {
            break;
        }
        int answer = rsl_execution_step(x, s->clock.now);
        if (answer == RSL_STOP) {
            s->stops++;
            stage_sleep_through(s, s->stubborn ? end : s->clock.now);
            int result = s->stubborn ? stage_next_result(s) : s->cut;
            assert_int_equal(rsl_execution_report(x, s->clock.now, result), RSL_OK);
            return;
        }
        assert_int_equal(answer, RSL_WAIT);
    }
    assert_int_equal(rsl_execution_report(x, s->clock.now, stage_next_result(s)), RSL_OK);
}

static void stage_by_steps(stage *s, rsl_execution *x)
{
    for (int steps = 0;; steps++) {
        assert_true(steps < 10000);
        int answer = rsl_execution_step(x, s->clock.now);
        if (answer == RSL_DONE) {
            return;
        }
        if (answer == RSL_RUN) {
            stage_call_by_steps(s, x);
            continue;
        }
        assert_int_equal(answer, RSL_WAIT);
        stage_sleep_until(s, x->wake_at);
    }
}

typedef enum way { BY_RUN, BY_LOOP, BY_STEPS, WAYS } way;

/* One execution, from begin to its result. */
static int stage_drive(stage *s, way w, const rsl_layer *layers, size_t count)
{
    if (w == BY_RUN) {
        return rsl_run(layers, count, &s->ctx, stage_call, s);
    }
    assert_int_equal(rsl_execution_begin(&s->x, layers, count, &s->ctx), RSL_OK);
    if (w == BY_LOOP) {
        while (rsl_execution_next(&s->x)) {
            rsl_execution_done(&s->x, stage_call(&s->x.ctx, s));
        }
    } else {
        stage_by_steps(s, &s->x);
    }
    return s->x.result;
}

static void assert_refused_by(const stage *s, way w, const char *kind)
{
    if (w == BY_RUN) {
        return;
    }
    assert_true(s->x.refused);
    assert_non_null(rsl_execution_refuser(&s->x));
    assert_string_equal(rsl_execution_refuser(&s->x), kind);
}

static void assert_not_refused(const stage *s, way w)
{
    if (w == BY_RUN) {
        return;
    }
    assert_false(s->x.refused);
    assert_null(rsl_execution_refuser(&s->x));
}

static void wait_at_the_first_visit_only(script_layer *layer)
{
    layer->waits = layer->visits == 1 ? 1 : 0;
}

/* The real objects that many tests put between the scripted layers. */
static void breaker_set(rsl_breaker *breaker, const stage *s)
{
    rsl_breaker_config config = {.failures_max = 3, .open_for = RSL_SEC(30)};
    config.clock = s->clock_as;
    assert_int_equal(rsl_breaker_init(breaker, &config), RSL_OK);
}

static rsl_breaker_stats breaker_stats(rsl_breaker *breaker)
{
    rsl_breaker_stats stats;
    rsl_breaker_stats_get(breaker, &stats);
    return stats;
}

static void assert_counted(rsl_breaker *breaker, uint64_t succeeded, uint64_t failed)
{
    rsl_breaker_stats stats = breaker_stats(breaker);
    assert_int_equal(stats.in_flight, 0);
    assert_int_equal(stats.succeeded, succeeded);
    assert_int_equal(stats.failed, failed);
    assert_int_equal(stats.ignored, 0);
}

/* Three attempts, 10 and 20 ms apart, no jitter. */
static void retry_set(rsl_retry *retry)
{
    rsl_retry_config config = {.attempts_max = 3, .delay_first = RSL_MS(10)};
    config.jitter = RSL_JITTER_NONE;
    assert_int_equal(rsl_retry_init(retry, &config), RSL_OK);
}

static void retry_set_for_refusals(rsl_retry *retry)
{
    rsl_retry_config config = {.attempts_max = 3, .delay_first = RSL_MS(10)};
    config.jitter = RSL_JITTER_NONE;
    config.retry_refusals = true;
    assert_int_equal(rsl_retry_init(retry, &config), RSL_OK);
}

/* A fallback's function, and what it saw. */
typedef struct replacement {
    int with, calls, got;
} replacement;

static int replace(int result, void *user)
{
    replacement *r = user;
    r->calls++;
    r->got = result;
    return r->with;
}

static rsl_layer timeout_of(rsl_timeout *timeout, rsl_time span)
{
    assert_int_equal(rsl_timeout_init(timeout, span), RSL_OK);
    return rsl_timeout_layer(timeout);
}

/* --------------------------------------------------------- order and slots */

static void layers_are_entered_from_the_outside_and_left_from_the_inside(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b),
                                    script_as_layer(&s.c)};
        assert_int_equal(stage_drive(&s, w, layers, 3), 0);
        assert_string_equal(s.trace.text, "+a+b+c()-c-b-a");
        assert_not_refused(&s, w);
        stage_end(&s);
    }
}

static void a_policy_without_layers_is_the_call_alone(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.results[0] = FAILED;
        assert_int_equal(stage_drive(&s, w, NULL, 0), FAILED);
        assert_string_equal(s.trace.text, "()");
        assert_not_refused(&s, w);
        stage_end(&s);
    }
}

static void a_policy_holds_up_to_layers_max_layers(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        const rsl_layer layers[RSL_LAYERS_MAX] = {
            script_as_layer(&s.a), script_as_layer(&s.b), script_as_layer(&s.c),
            script_as_layer(&s.d), script_as_layer(&s.e), script_as_layer(&s.f),
            script_as_layer(&s.g), script_as_layer(&s.h)};
        assert_int_equal(stage_drive(&s, w, layers, RSL_LAYERS_MAX), 0);
        assert_string_equal(s.trace.text, "+a+b+c+d+e+f+g+h()-h-g-f-e-d-c-b-a");
        stage_end(&s);
    }
}

static void enter_is_called_again_with_the_same_slot_after_a_wait(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.b.waits = 3;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        assert_string_equal(s.trace.text, "+a~b~b~b+b()-b-a");
        assert_true(s.called_at == START + 3 * RSL_MS(10));
        assert_int_equal(s.a.visits, 1);
        assert_int_equal(s.b.visits, 1);
        stage_end(&s);
    }
}

/* The scripted layer itself checks that its slot is zeroed; the stage fills it with junk first. */
static void a_slot_is_zeroed_before_its_first_enter_in_every_execution(void **state)
{
    (void)state;
    for (way w = BY_LOOP; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        memset(&s.x, 0xFF, sizeof s.x);
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        assert_int_equal(s.b.visits, 2);
        stage_end(&s);
    }
}

static void only_the_slots_in_use_are_touched(void **state)
{
    (void)state;
    for (way w = BY_LOOP; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        script_layer *scripts[] = {&s.a, &s.b, &s.c, &s.d, &s.e, &s.f, &s.g, &s.h};
        rsl_layer layers[RSL_LAYERS_MAX];
        for (size_t i = 0; i < RSL_LAYERS_MAX; i++) {
            layers[i] = script_as_layer(scripts[i]);
        }
        assert_int_equal(stage_drive(&s, w, layers, RSL_LAYERS_MAX), 0);
        memset(&s.x, 0xA5, sizeof s.x);
        assert_int_equal(stage_drive(&s, w, layers, 3), 0);
        rsl_slot junk;
        memset(&junk, 0xA5, sizeof junk);
        for (size_t i = 3; i < RSL_LAYERS_MAX; i++) {
            assert_memory_equal(scripts[i]->slot, &junk, sizeof junk);
        }
        stage_end(&s);
    }
}

static void a_layer_that_refused_is_not_left_and_those_outside_it_are_in_order(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.c.refuse = RSL_EFULL;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b),
                                    script_as_layer(&s.c), script_as_layer(&s.d)};
        assert_int_equal(stage_drive(&s, w, layers, 4), RSL_EFULL);
        assert_string_equal(s.trace.text, "+a+b!c-b-a");
        assert_refused_by(&s, w, "c");
        assert_int_equal(s.a.seen_result, RSL_EFULL);
        assert_true(s.a.seen_refused);
        assert_true(s.b.seen_refused);
        stage_end(&s);
    }
}

static void a_layer_may_refuse_after_it_has_waited(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.b.waits = 1;
        s.b.refuse = RSL_ELIMITED;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ELIMITED);
        assert_string_equal(s.trace.text, "+a~b!b-a");
        assert_refused_by(&s, w, "b");
        stage_end(&s);
    }
}

static void the_outermost_layer_may_refuse_with_a_code_of_its_own(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.a.refuse = 12345;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), 12345);
        assert_string_equal(s.trace.text, "!a");
        assert_refused_by(&s, w, "a");
        stage_end(&s);
    }
}

static void again_enters_the_inner_layers_anew_with_zeroed_slots(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.b.agains = 2;
        s.d.waits = 1;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b),
                                    script_as_layer(&s.c), script_as_layer(&s.d)};
        const int answers[] = {1, 2, 3};
        stage_answers(&s, 3, answers);
        assert_int_equal(stage_drive(&s, w, layers, 4), 3);
        assert_string_equal(s.trace.text, "+a+b+c~d+d()-d-c@b+c~d+d()-d-c@b+c~d+d()-d-c-b-a");
        assert_true(s.called_at == START + 5 * RSL_MS(10));
        assert_int_equal(s.b.visits, 1);
        assert_int_equal(s.c.visits, 3);
        stage_end(&s);
    }
}

static void again_at_once_makes_the_next_call_without_a_wait(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.a.agains = 2;
        s.a.again_after = 0;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        assert_string_equal(s.trace.text, "+a+b()-b@a+b()-b@a+b()-b-a");
        assert_true(s.called_at == START);
        assert_int_equal(s.clock.sleeps, 0);
        stage_end(&s);
    }
}

static void a_refusal_may_be_tried_again_and_is_forgotten_by_a_success(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.a.agains = 1;
        s.b.refuse = RSL_EFULL;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_EFULL);
        assert_string_equal(s.trace.text, "+a!b@a!b-a");
        assert_refused_by(&s, w, "b");

        rsl_breaker breaker;
        breaker_set(&breaker, &s);
        assert_int_equal(rsl_breaker_force(&breaker, RSL_BREAKER_OPEN), RSL_OK);
        s.a.agains = 1;
        s.a.again_after = RSL_SEC(40);
        const rsl_layer probing[] = {script_as_layer(&s.a), rsl_breaker_layer(&breaker)};
        assert_int_equal(stage_drive(&s, w, probing, 2), 0);
        assert_not_refused(&s, w);
        assert_false(s.a.seen_refused);
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

static void a_layer_may_change_the_result_on_its_way_out(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.b.changes = true;
        s.b.turns_into = OTHER;
        s.results[0] = FAILED;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b),
                                    script_as_layer(&s.c)};
        assert_int_equal(stage_drive(&s, w, layers, 3), OTHER);
        assert_int_equal(s.c.seen_result, FAILED);
        assert_int_equal(s.b.seen_result, FAILED);
        assert_int_equal(s.a.seen_result, OTHER);
        stage_end(&s);
    }
}

static void layers_see_the_time_of_the_step_when_entered_and_when_left(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.lasts = RSL_MS(30);
        s.b.waits = 1;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        assert_true(s.a.entered_at == START);
        assert_true(s.b.entered_at == START + RSL_MS(10));
        assert_true(s.b.left_at == START + RSL_MS(40));
        assert_true(s.a.left_at == START + RSL_MS(40));
        stage_end(&s);
    }
}

/* ------------------------------------------------------------ waits that end */

static void a_wait_ends_at_the_deadline_abandoned_and_the_outer_layers_are_left(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.ctx.deadline = START + RSL_MS(5);
        s.c.waits = 1;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b),
                                    script_as_layer(&s.c), script_as_layer(&s.d)};
        assert_int_equal(stage_drive(&s, w, layers, 4), RSL_ETIMEOUT);
        assert_string_equal(s.trace.text, "+a+b~cxc-b-a");
        assert_true(s.clock.now == START + RSL_MS(5));
        assert_refused_by(&s, w, "c");
        assert_int_equal(s.b.seen_result, RSL_ETIMEOUT);
        assert_true(s.b.seen_refused);
        stage_end(&s);
    }
}

static void a_wait_for_ever_ends_at_the_deadline(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.ctx.deadline = START + RSL_MS(5);
        s.b.waits = 1;
        s.b.wait_for = RSL_FOREVER - START;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ETIMEOUT);
        assert_string_equal(s.trace.text, "+a~bxb-a");
        assert_true(s.clock.now == START + RSL_MS(5));
        stage_end(&s);
    }
}

static void a_wait_ends_when_cancelled(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.cancel_at = START + RSL_MS(4);
        s.ctx.deadline = START + RSL_MS(5);
        s.b.waits = 1;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ECANCELED);
        assert_string_equal(s.trace.text, "+a~bxb-a");
        assert_true(s.clock.now == START + RSL_MS(4));
        assert_refused_by(&s, w, "b");
        stage_end(&s);
    }
}

static void a_backoff_cut_short_by_the_deadline_counts_as_refused(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.ctx.deadline = START + RSL_MS(5);
        s.results[0] = FAILED;
        s.b.agains = 1;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b),
                                    script_as_layer(&s.c)};
        assert_int_equal(stage_drive(&s, w, layers, 3), RSL_ETIMEOUT);
        assert_string_equal(s.trace.text, "+a+b+c()-c@bxb-a");
        assert_true(s.clock.now == START + RSL_MS(5));
        assert_refused_by(&s, w, "b");
        assert_true(s.a.seen_refused);
        stage_end(&s);
    }
}

static void a_backoff_cut_short_by_cancel_counts_as_refused(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_breaker breaker;
        stage_set(&s);
        breaker_set(&breaker, &s);
        retry_set(&retry);
        s.cancel_at = START + RSL_MS(4);
        s.results[0] = FAILED;
        const rsl_layer layers[] = {script_as_layer(&s.a), rsl_breaker_layer(&breaker),
                                    rsl_retry_layer(&retry), script_as_layer(&s.d)};
        assert_int_equal(stage_drive(&s, w, layers, 4), RSL_ECANCELED);
        assert_string_equal(s.trace.text, "+a+d()-d-a");
        assert_true(s.clock.now == START + RSL_MS(4));
        assert_refused_by(&s, w, "retry");
        assert_true(s.a.seen_refused);
        assert_counted(&breaker, 0, 0);
        rsl_retry_deinit(&retry);
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

/* Backoffs of 8 ms. */
static void retry_set_observed(rsl_retry *retry, event_recorder *recorder)
{
    rsl_retry_config config = {.delay_first = RSL_MS(8), .jitter = RSL_JITTER_NONE};
    memset(recorder, 0, sizeof *recorder);
    config.observer = event_recorder_as(recorder);
    assert_int_equal(rsl_retry_init(retry, &config), RSL_OK);
}

/* The observer of a retry hears how each of its calls ended, unless the caller gave it up. */
static void a_backoff_cut_short_is_told_as_exhausted_and_an_abandoned_one_is_not(void **state)
{
    (void)state;
    static event_recorder recorder;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        stage_set(&s);
        retry_set_observed(&retry, &recorder);
        s.cancel_at = START + RSL_MS(4);
        s.results[0] = FAILED;
        const rsl_layer layers[] = {rsl_retry_layer(&retry)};
        assert_int_equal(stage_drive(&s, w, layers, 1), RSL_ECANCELED);
        assert_int_equal(recorder.count, 2);
        assert_int_equal(recorder.events[0].event.kind, RSL_RETRY_SCHEDULED);
        assert_int_equal(recorder.events[1].event.kind, RSL_RETRY_EXHAUSTED);
        assert_int_equal(recorder.events[1].event.value, 1);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
    stage s;
    rsl_retry retry;
    stage_set(&s);
    retry_set_observed(&retry, &recorder);
    rsl_timeout inner;
    s.a.agains = 1;
    s.a.again_after = 0;
    s.c.on_visit = wait_at_the_first_visit_only; /* and that wait is cut short */
    const rsl_layer layers[] = {script_as_layer(&s.a), timeout_of(&inner, RSL_MS(9)),
                                script_as_layer(&s.c), rsl_retry_layer(&retry)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 4, &s.ctx), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_WAIT);
    s.clock.now = START + RSL_MS(9);
    assert_int_equal(rsl_execution_step(&s.x, s.clock.now), RSL_RUN);
    assert_int_equal(rsl_execution_report(&s.x, s.clock.now, FAILED), RSL_OK);
    rsl_execution_abandon(&s.x, s.clock.now);
    assert_string_equal(s.trace.text, "+a~cxc@a+cxcxa");
    assert_int_equal(recorder.count, 1);
    rsl_retry_deinit(&retry);
    stage_end(&s);
}

static void a_wait_that_ends_exactly_at_the_deadline_is_too_late(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.ctx.deadline = START + RSL_MS(10);
        s.b.waits = 1;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ETIMEOUT);
        assert_int_equal(s.calls, 0);
        s.clock.now = START;
        s.ctx.deadline = START + RSL_MS(10) + 1;
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        assert_int_equal(s.calls, 1);
        stage_end(&s);
    }
}

static void a_ctx_that_is_spent_already_makes_no_call(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        s.ctx.deadline = START;
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ETIMEOUT);
        assert_refused_by(&s, w, "ctx");
        assert_int_equal(stage_drive(&s, w, NULL, 0), RSL_ETIMEOUT);
        assert_refused_by(&s, w, "ctx");
        s.ctx.deadline = -1;
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ETIMEOUT);
        s.ctx.deadline = START + 1;
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        assert_int_equal(s.calls, 1);
        assert_int_equal(s.a.abandons, 0);
        stage_end(&s);
    }
}

static void a_ctx_that_is_cancelled_already_makes_no_call_and_says_so_first(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        rsl_cancel_fire(&s.cancel);
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ECANCELED);
        assert_refused_by(&s, w, "ctx");
        s.ctx.deadline = START - 1;
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ECANCELED);
        assert_int_equal(stage_drive(&s, w, NULL, 0), RSL_ECANCELED);
        assert_int_equal(s.calls, 0);
        stage_end(&s);
    }
}

static void a_deadline_that_a_layer_has_put_in_the_past_makes_no_call(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        stage_set(&s);
        s.b.narrow = -1;
        const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ETIMEOUT);
        assert_string_equal(s.trace.text, "+a+b-b-a");
        assert_refused_by(&s, w, "ctx");
        stage_end(&s);
    }
}

/* Sleeps half of what was asked for. */
static void sleep_half(virtual_clock *clock, rsl_time until)
{
    clock->wake_early = (until - clock->now) / 2;
}

static void a_wake_up_that_comes_early_does_not_restart_the_wait(void **state)
{
    (void)state;
    for (way w = BY_RUN; w <= BY_LOOP; w++) {
        stage s;
        rsl_retry retry;
        stage_set(&s);
        retry_set(&retry);
        s.clock.on_sleep = sleep_half;
        const int answers[] = {FAILED, FAILED, 0};
        stage_answers(&s, 3, answers);
        const rsl_layer layers[] = {rsl_retry_layer(&retry)};
        assert_int_equal(stage_drive(&s, w, layers, 1), 0);
        assert_true(s.clock.slept_until == START + RSL_MS(30));
        assert_true(s.called_at == START + RSL_MS(30));
        assert_true(s.clock.sleeps > 10);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

/* Stepped for nothing, a backoff stays where it is. */
static void a_step_before_its_time_does_not_shorten_or_restart_a_backoff(void **state)
{
    (void)state;
    stage s;
    rsl_retry retry;
    stage_set(&s);
    retry_set(&retry);
    const rsl_layer layers[] = {rsl_retry_layer(&retry)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 1, &s.ctx), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
    assert_int_equal(rsl_execution_report(&s.x, START, FAILED), RSL_OK);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(i)), RSL_WAIT);
        assert_true(s.x.wake_at == START + RSL_MS(10));
    }
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(10)), RSL_RUN);
    rsl_execution_abandon(&s.x, START + RSL_MS(10));
    rsl_retry_deinit(&retry);
    stage_end(&s);
}

/* --------------------------------------------------- waits and other threads */

typedef struct late_fire {
    rsl_cancel *cancel;
    rsl_time    after;       /* the first call */
    _Atomic int calls;
} late_fire;

static void real_sleep(rsl_time span)
{
    struct timespec rest = {(time_t)(span / RSL_SEC(1)), (long)(span % RSL_SEC(1))};
    while (nanosleep(&rest, &rest) != 0) {
    }
}

static void *late_fire_run(void *arg)
{
    late_fire *f = arg;
    while (atomic_load(&f->calls) == 0) {
        real_sleep(RSL_MS(1));
    }
    real_sleep(f->after);
    rsl_cancel_fire(f->cancel);
    return NULL;
}

static int call_that_fails(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    (*(int *)arg)++;
    return FAILED;
}

static void retry_set_with_a_long_backoff(rsl_retry *retry)
{
    rsl_retry_config config = {.delay_first = RSL_SEC(60), .delay_max = RSL_SEC(60)};
    config.jitter = RSL_JITTER_NONE;
    assert_int_equal(rsl_retry_init(retry, &config), RSL_OK);
}

static int call_that_is_awaited(const rsl_ctx *ctx, void *arg)
{
    late_fire *f = arg;
    (void)ctx;
    atomic_fetch_add(&f->calls, 1);
    return FAILED;
}

/* In real time: another thread fires while this one sleeps for a minute. */
static void cancel_wakes_a_blocked_execution_at_once(void **state)
{
    (void)state;
    for (way w = BY_RUN; w <= BY_LOOP; w++) {
        rsl_retry retry;
        rsl_cancel parent, cancel;
        int result;
        retry_set_with_a_long_backoff(&retry);
        assert_int_equal(rsl_cancel_init(&parent, NULL), RSL_OK);
        assert_int_equal(rsl_cancel_init(&cancel, &parent), RSL_OK);
        rsl_ctx ctx = {.cancel = &cancel};
        const rsl_layer layers[] = {rsl_retry_layer(&retry)};
        late_fire fire = {&parent, RSL_MS(50), 0};
        pthread_t thread;
        rsl_time start = rsl_now();
        assert_int_equal(pthread_create(&thread, NULL, late_fire_run, &fire), 0);
        if (w == BY_RUN) {
            result = rsl_run(layers, 1, &ctx, call_that_is_awaited, &fire);
        } else {
            rsl_execution x;
            assert_int_equal(rsl_execution_begin(&x, layers, 1, &ctx), RSL_OK);
            while (rsl_execution_next(&x)) {
                rsl_execution_done(&x, call_that_is_awaited(&x.ctx, &fire));
            }
            result = x.result;
        }
        rsl_time took = rsl_now() - start;
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(result, RSL_ECANCELED);
        assert_int_equal(atomic_load(&fire.calls), 1);
        assert_true(took >= RSL_MS(50));
        assert_true(took < RSL_SEC(2));
        rsl_cancel_deinit(&cancel);
        rsl_cancel_deinit(&parent);
        rsl_retry_deinit(&retry);
    }
}

static void a_real_wait_ends_at_the_deadline_and_not_before(void **state)
{
    (void)state;
    rsl_retry_config config = {.delay_first = RSL_MS(30), .jitter = RSL_JITTER_NONE};
    config.attempts_max = 2;
    rsl_retry retry;
    int calls = 0;
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    const rsl_layer layers[] = {rsl_retry_layer(&retry)};
    rsl_time start = rsl_now();
    assert_int_equal(rsl_run(layers, 1, NULL, call_that_fails, &calls), FAILED);
    rsl_time took = rsl_now() - start;
    assert_int_equal(calls, 2);
    assert_true(took >= RSL_MS(30));
    assert_true(took < RSL_SEC(2));
    rsl_retry_deinit(&retry);
}

static void a_wait_costs_no_processor_time(void **state)
{
    (void)state;
    for (way w = BY_RUN; w <= BY_LOOP; w++) {
        rsl_retry_config config = {.delay_first = RSL_MS(200), .jitter = RSL_JITTER_NONE};
        config.attempts_max = 2;
        rsl_retry retry;
        rsl_cancel cancel;
        int calls = 0;
        assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
        assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
        rsl_ctx ctx = {.cancel = w == BY_RUN ? &cancel : NULL};
        const rsl_layer layers[] = {rsl_retry_layer(&retry)};
        clock_t before = clock();
        assert_int_equal(rsl_run(layers, 1, &ctx, call_that_fails, &calls), FAILED);
        assert_int_equal(calls, 2);
#ifdef _WIN32
        (void)before; /* there clock() tells the time that has passed */
#else
        assert_true(clock() - before < CLOCKS_PER_SEC / 100);
#endif
        rsl_cancel_deinit(&cancel);
        rsl_retry_deinit(&retry);
    }
}

/* Wakes its own waiter before it says that it waits: the post is there before the sleep. */
static int hasty_enter(void *self, rsl_execution *e, rsl_slot *slot)
{
    int *enters = self;
    (void)slot;
    if ((*enters)++ > 0) {
        return RSL_OK;
    }
    e->waiter.wake(e->waiter.user);
    e->wake_at = e->now + RSL_SEC(60);
    return RSL_WAIT;
}

static int hasty_leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    (void)e;
    (void)slot;
    return RSL_DONE;
}

static void hasty_abandon(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    (void)e;
    (void)slot;
}

static const rsl_layer_type hasty_type = {"hasty", hasty_enter, hasty_leave, hasty_abandon};

static void a_wake_that_comes_before_the_sleep_is_not_lost(void **state)
{
    (void)state;
    for (int cancellable = 0; cancellable <= 1; cancellable++) {
        int enters = 0, calls = 0;
        rsl_cancel cancel;
        assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
        rsl_ctx ctx = rsl_within(RSL_SEC(5));
        ctx.cancel = cancellable ? &cancel : NULL;
        const rsl_layer layers[] = {{&hasty_type, &enters}};
        rsl_time start = rsl_now();
        assert_int_equal(rsl_run(layers, 1, &ctx, call_that_fails, &calls), FAILED);
        assert_true(rsl_now() - start < RSL_SEC(2));
        assert_int_equal(enters, 2);
        rsl_cancel_deinit(&cancel);
    }
}

/* A layer of the kind that a user writes around a resource: it waits until somebody wakes it. */
typedef struct gate {
    pthread_mutex_t lock;
    bool            open;        /* guarded by lock */
    rsl_waiter     *waiter;      /* guarded by lock */
    int             enters, abandons;
} gate;

static int gate_enter(void *self, rsl_execution *e, rsl_slot *slot)
{
    gate *g = self;
    (void)slot;
    (void)pthread_mutex_lock(&g->lock);
    g->enters++;
    bool open = g->open;
    g->waiter = open ? NULL : &e->waiter;
    (void)pthread_mutex_unlock(&g->lock);
    e->wake_at = RSL_FOREVER;
    return open ? RSL_OK : RSL_WAIT;
}

static int gate_leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    (void)e;
    (void)slot;
    return RSL_DONE;
}

static void gate_abandon(void *self, rsl_execution *e, rsl_slot *slot)
{
    gate *g = self;
    (void)e;
    (void)slot;
    (void)pthread_mutex_lock(&g->lock);
    g->waiter = NULL;
    g->abandons++;
    (void)pthread_mutex_unlock(&g->lock);
}

static const rsl_layer_type gate_type = {"gate", gate_enter, gate_leave, gate_abandon};

/* Wakes under the gate's lock: so the waiter cannot go away meanwhile. */
static void gate_wake(gate *g, bool open)
{
    (void)pthread_mutex_lock(&g->lock);
    g->open = open;
    if (g->waiter != NULL) {
        g->waiter->wake(g->waiter->user);
    }
    (void)pthread_mutex_unlock(&g->lock);
}

static bool gate_is_waited_at(gate *g)
{
    (void)pthread_mutex_lock(&g->lock);
    bool waited = g->waiter != NULL;
    (void)pthread_mutex_unlock(&g->lock);
    return waited;
}

static void *gate_open_later(void *arg)
{
    while (!gate_is_waited_at(arg)) {
        real_sleep(RSL_MS(1));
    }
    real_sleep(RSL_MS(20));
    gate_wake(arg, false); /* for nothing: the layer waits on */
    real_sleep(RSL_MS(20));
    gate_wake(arg, true);
    return NULL;
}

static void a_wake_of_the_waiter_ends_the_wait_of_a_blocked_execution(void **state)
{
    (void)state;
    for (way w = BY_RUN; w <= BY_LOOP; w++) {
        gate g = {.open = false};
        assert_int_equal(pthread_mutex_init(&g.lock, NULL), 0);
        const rsl_layer layers[] = {{&gate_type, &g}};
        rsl_ctx ctx = rsl_within(RSL_SEC(60));
        int calls = 0;
        pthread_t thread;
        rsl_time start = rsl_now();
        assert_int_equal(pthread_create(&thread, NULL, gate_open_later, &g), 0);
        if (w == BY_RUN) {
            assert_int_equal(rsl_run(layers, 1, &ctx, call_that_fails, &calls), FAILED);
        } else {
            rsl_execution x;
            assert_int_equal(rsl_execution_begin(&x, layers, 1, &ctx), RSL_OK);
            assert_true(rsl_execution_next(&x));
            rsl_execution_done(&x, call_that_fails(&x.ctx, &calls));
            assert_false(rsl_execution_next(&x));
            assert_int_equal(x.result, FAILED);
        }
        assert_true(rsl_now() - start < RSL_SEC(2));
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(calls, 1);
        assert_true(g.enters >= 2);
        assert_int_equal(g.abandons, 0);
        assert_int_equal(pthread_mutex_destroy(&g.lock), 0);
    }
}

static void a_wait_for_a_waiter_ends_at_the_deadline_in_real_time(void **state)
{
    (void)state;
    gate g = {.open = false};
    assert_int_equal(pthread_mutex_init(&g.lock, NULL), 0);
    const rsl_layer layers[] = {{&gate_type, &g}};
    rsl_ctx ctx = rsl_within(RSL_MS(30));
    int calls = 0;
    rsl_time start = rsl_now();
    assert_int_equal(rsl_run(layers, 1, &ctx, call_that_fails, &calls), RSL_ETIMEOUT);
    rsl_time took = rsl_now() - start;
    assert_true(took >= RSL_MS(29));
    assert_true(took < RSL_SEC(2));
    assert_int_equal(calls, 0);
    assert_int_equal(g.abandons, 1);
    assert_int_equal(pthread_mutex_destroy(&g.lock), 0);
}

typedef struct doomed {
    gate  *gate;
    int    result;
    bool   returned;
} doomed;

static void *doomed_run(void *arg)
{
    doomed *d = arg;
    const rsl_layer layers[] = {{&gate_type, d->gate}};
    rsl_ctx ctx = rsl_within(RSL_MS(60));
    int calls = 0;
    d->result = rsl_run(layers, 1, &ctx, call_that_fails, &calls);
    d->returned = true;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL); /* nothing more to be unwound */
    return NULL;
}

/* pthread_cancel must not unwind a thread out of a wait, with its layers entered and its waiter
   queued. */
static void a_thread_cancelled_in_a_wait_still_leaves_its_layers(void **state)
{
    (void)state;
    gate g = {.open = false};
    doomed d = {.gate = &g};
    pthread_t thread;
    assert_int_equal(pthread_mutex_init(&g.lock, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, doomed_run, &d), 0);
    real_sleep(RSL_MS(20));
    assert_int_equal(pthread_cancel(thread), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(d.returned);
    assert_int_equal(d.result, RSL_ETIMEOUT);
    assert_int_equal(g.abandons, 1);
    assert_int_equal(pthread_mutex_destroy(&g.lock), 0);
}

static void count_wake(void *user)
{
    (*(int *)user)++;
}

static void wake_by_is_told_when_the_waiter_is_woken_and_the_step_goes_on(void **state)
{
    (void)state;
    gate g = {.open = false};
    assert_int_equal(pthread_mutex_init(&g.lock, NULL), 0);
    const rsl_layer layers[] = {{&gate_type, &g}};
    int wakes = 0;
    rsl_execution x;
    assert_int_equal(rsl_execution_begin(&x, layers, 1, NULL), RSL_OK);
    rsl_execution_wake_by(&x, count_wake, &wakes);
    assert_int_equal(rsl_execution_step(&x, START), RSL_WAIT);
    assert_true(x.wake_at == RSL_FOREVER);
    assert_int_equal(wakes, 0);
    gate_wake(&g, true);
    assert_int_equal(wakes, 1);
    assert_int_equal(rsl_execution_step(&x, START + 1), RSL_RUN);
    assert_int_equal(rsl_execution_report(&x, START + 2, 0), RSL_OK);
    assert_int_equal(rsl_execution_step(&x, START + 3), RSL_DONE);
    assert_int_equal(pthread_mutex_destroy(&g.lock), 0);
}

static void cancel_wakes_a_stepped_execution_that_waits(void **state)
{
    (void)state;
    stage s;
    int wakes = 0;
    rsl_retry retry;
    stage_set(&s);
    retry_set_with_a_long_backoff(&retry);
    const rsl_layer layers[] = {rsl_retry_layer(&retry)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 1, &s.ctx), RSL_OK);
    rsl_execution_wake_by(&s.x, count_wake, &wakes);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
    assert_int_equal(rsl_execution_report(&s.x, START, FAILED), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_WAIT);
    assert_true(s.x.wake_at == START + RSL_SEC(60));
    assert_int_equal(wakes, 0);
    rsl_cancel_fire(&s.cancel);
    assert_true(wakes >= 1);
    assert_int_equal(rsl_execution_step(&s.x, START + 1), RSL_DONE);
    assert_int_equal(s.x.result, RSL_ECANCELED);
    assert_true(s.x.refused);
    rsl_retry_deinit(&retry);
    stage_end(&s);
}

static void cancel_wakes_a_stepped_execution_whose_call_is_out(void **state)
{
    (void)state;
    stage s;
    int wakes = 0;
    stage_set(&s);
    const rsl_layer layers[] = {script_as_layer(&s.a)};
    s.a.clock = NULL;
    assert_int_equal(rsl_execution_begin(&s.x, layers, 1, &s.ctx), RSL_OK);
    rsl_execution_wake_by(&s.x, count_wake, &wakes);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
    assert_int_equal(rsl_execution_step(&s.x, START + 1), RSL_WAIT);
    rsl_cancel_fire(&s.cancel);
    assert_true(wakes >= 1);
    assert_int_equal(rsl_execution_step(&s.x, START + 2), RSL_STOP);
    assert_string_equal(s.trace.text, "+a");
    assert_int_equal(rsl_execution_report(&s.x, START + 3, OTHER), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START + 3), RSL_DONE);
    assert_int_equal(s.x.result, OTHER);
    assert_false(s.x.refused);
    stage_end(&s);
}

static void an_execution_that_is_done_is_not_woken_any_more(void **state)
{
    (void)state;
    stage s;
    int wakes = 0;
    stage_set(&s);
    assert_int_equal(rsl_execution_begin(&s.x, NULL, 0, &s.ctx), RSL_OK);
    rsl_execution_wake_by(&s.x, count_wake, &wakes);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
    assert_int_equal(rsl_execution_report(&s.x, START, 0), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_DONE);
    rsl_cancel_fire(&s.cancel);
    assert_int_equal(wakes, 0);
    stage_end(&s);
}

static void wake_by_wakes_at_once_when_the_token_has_fired_already(void **state)
{
    (void)state;
    stage s;
    int wakes = 0;
    rsl_retry retry;
    stage_set(&s);
    retry_set_with_a_long_backoff(&retry);
    const rsl_layer layers[] = {rsl_retry_layer(&retry)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 1, &s.ctx), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
    assert_int_equal(rsl_execution_report(&s.x, START, FAILED), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_WAIT);
    rsl_cancel_fire(&s.cancel); /* between the step and wake_by: nobody is told */
    rsl_execution_wake_by(&s.x, count_wake, &wakes);
    assert_int_equal(wakes, 1);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_DONE);
    assert_int_equal(s.x.result, RSL_ECANCELED);
    rsl_retry_deinit(&retry);
    stage_end(&s);
}

static void a_second_wake_by_takes_the_place_of_the_first(void **state)
{
    (void)state;
    stage s;
    rsl_execution other;
    int first = 0, second = 0, others = 0;
    stage_set(&s);
    assert_int_equal(rsl_execution_begin(&s.x, NULL, 0, &s.ctx), RSL_OK);
    assert_int_equal(rsl_execution_begin(&other, NULL, 0, &s.ctx), RSL_OK);
    rsl_execution_wake_by(&s.x, count_wake, &first);
    rsl_execution_wake_by(&other, count_wake, &others);
    rsl_execution_wake_by(&s.x, count_wake, &second);
    rsl_execution_wake_by(&s.x, NULL, NULL); /* nothing to wake by: passed over */
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
    rsl_cancel_fire(&s.cancel);
    assert_int_equal(first, 0);
    assert_true(second >= 1);
    assert_true(others >= 1);
    assert_int_equal(rsl_execution_report(&s.x, START, 0), RSL_OK);
    rsl_execution_wake_by(&s.x, count_wake, &first); /* after the end: nothing */
    assert_int_equal(first, 0);
    rsl_execution_abandon(&other, START);
    stage_end(&s);
}

/* A layer that puts a token of its own into the ctx, as one that can cancel its own calls does. */
typedef struct tokener {
    rsl_cancel own, *outer;
} tokener;

static int tokener_enter(void *self, rsl_execution *e, rsl_slot *slot)
{
    tokener *t = self;
    (void)slot;
    t->outer = e->ctx.cancel;
    e->ctx.cancel = &t->own;
    return RSL_OK;
}

static int tokener_leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    tokener *t = self;
    (void)slot;
    e->ctx.cancel = t->outer;
    return RSL_DONE;
}

static void tokener_abandon(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)tokener_leave(self, e, slot);
}

static const rsl_layer_type tokener_type = {"tokener", tokener_enter, tokener_leave,
                                            tokener_abandon};

/* wake_by is called under the inner token, and the listener must go from there at the end. */
static void a_listener_leaves_the_token_that_it_stands_under(void **state)
{
    (void)state;
    for (int abandoned = 0; abandoned <= 1; abandoned++) {
        stage s;
        tokener t;
        int wakes = 0;
        stage_set(&s);
        assert_int_equal(rsl_cancel_init(&t.own, &s.cancel), RSL_OK);
        const rsl_layer layers[] = {{&tokener_type, &t}};
        assert_int_equal(rsl_execution_begin(&s.x, layers, 1, &s.ctx), RSL_OK);
        assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
        assert_ptr_equal(s.x.ctx.cancel, &t.own);
        rsl_execution_wake_by(&s.x, count_wake, &wakes);
        if (abandoned) {
            rsl_execution_abandon(&s.x, START);
        } else {
            assert_int_equal(rsl_execution_report(&s.x, START, 0), RSL_OK);
            assert_int_equal(rsl_execution_step(&s.x, START), RSL_DONE);
        }
        assert_ptr_equal(s.x.ctx.cancel, &s.cancel);
        memset(&s.x, 0xA5, sizeof s.x);
        rsl_cancel_fire(&s.cancel);
        assert_true(rsl_cancel_fired(&t.own));
        assert_int_equal(wakes, 0);
        rsl_cancel_deinit(&t.own);
        stage_end(&s);
    }
}

/* ------------------------------------------------------------ the call is out */

static void a_call_past_its_deadline_is_stopped_again_and_again_until_reported(void **state)
{
    (void)state;
    stage s;
    stage_set(&s);
    s.a.clock = NULL;
    s.ctx.deadline = START + RSL_MS(10);
    const rsl_layer layers[] = {script_as_layer(&s.a)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 1, &s.ctx), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
    assert_true(s.x.wake_at == START + RSL_MS(10));
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(10) - 1), RSL_WAIT);
    assert_true(s.x.wake_at == START + RSL_MS(10));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(10) + i), RSL_STOP);
        assert_string_equal(s.trace.text, "+a"); /* not left before the report */
    }
    assert_int_equal(rsl_execution_report(&s.x, START + RSL_MS(12), FAILED), RSL_OK);
    assert_string_equal(s.trace.text, "+a-a");
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(12)), RSL_DONE);
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(13)), RSL_DONE);
    stage_end(&s);
}

static void a_call_without_a_deadline_waits_for_ever(void **state)
{
    (void)state;
    stage s;
    stage_set(&s);
    assert_int_equal(rsl_execution_begin(&s.x, NULL, 0, &s.ctx), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
    assert_true(s.x.wake_at == RSL_FOREVER);
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_SEC(1000000)), RSL_WAIT);
    assert_true(s.x.wake_at == RSL_FOREVER);
    assert_int_equal(rsl_execution_report(&s.x, START + RSL_SEC(1000000), 0), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_SEC(1000000)), RSL_DONE);
    stage_end(&s);
}

static void a_late_success_stays_a_success(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_timeout inner;
        rsl_breaker breaker;
        stage_set(&s);
        breaker_set(&breaker, &s);
        s.stubborn = true;
        s.lasts = RSL_MS(50);
        const rsl_layer layers[] = {rsl_breaker_layer(&breaker),
                                    timeout_of(&inner, RSL_MS(10)), script_as_layer(&s.c)};
        assert_int_equal(stage_drive(&s, w, layers, 3), 0);
        assert_int_equal(s.calls, 1);
        assert_not_refused(&s, w);
        assert_counted(&breaker, 1, 0);
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

static void a_late_failure_keeps_its_own_value(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_timeout inner;
        rsl_breaker breaker;
        stage_set(&s);
        breaker_set(&breaker, &s);
        s.stubborn = true;
        s.lasts = RSL_MS(50);
        s.results[0] = FAILED;
        const rsl_layer layers[] = {rsl_breaker_layer(&breaker),
                                    timeout_of(&inner, RSL_MS(10)), script_as_layer(&s.c)};
        assert_int_equal(stage_drive(&s, w, layers, 3), FAILED);
        assert_not_refused(&s, w);
        assert_counted(&breaker, 0, 1);
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

static void a_report_without_a_call_out_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    stage s;
    rsl_retry retry;
    stage_set(&s);
    retry_set(&retry);
    s.b.clock = NULL;
    s.b.waits = 1;
    const rsl_layer layers[] = {rsl_retry_layer(&retry), script_as_layer(&s.b)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 2, &s.ctx), RSL_OK);
    assert_int_equal(rsl_execution_report(&s.x, START, 0), RSL_EINVAL); /* before the first step */
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_WAIT);
    assert_int_equal(rsl_execution_report(&s.x, START, 0), RSL_EINVAL); /* in a wait */
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(10)), RSL_RUN);
    assert_int_equal(rsl_execution_report(&s.x, START + RSL_MS(11), FAILED), RSL_OK);
    assert_int_equal(rsl_execution_report(&s.x, START + RSL_MS(11), 0), RSL_EINVAL); /* twice */
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(11)), RSL_WAIT);
    assert_int_equal(rsl_execution_report(&s.x, START + RSL_MS(11), 0), RSL_EINVAL); /* backoff */
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(21)), RSL_WAIT);
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(31)), RSL_RUN);
    assert_int_equal(rsl_execution_report(&s.x, START + RSL_MS(32), 0), RSL_OK);
    assert_int_equal(rsl_execution_report(&s.x, START + RSL_MS(32), FAILED), RSL_EINVAL);
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(32)), RSL_DONE);
    assert_int_equal(rsl_execution_report(&s.x, START + RSL_MS(33), FAILED), RSL_EINVAL);
    assert_int_equal(s.x.result, 0);
    assert_string_equal(s.trace.text, "~b+b-b~b+b-b");
    rsl_retry_deinit(&retry);
    stage_end(&s);
}

static void a_done_without_a_call_out_changes_nothing(void **state)
{
    (void)state;
    stage s;
    stage_set(&s);
    const rsl_layer layers[] = {script_as_layer(&s.a)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 1, &s.ctx), RSL_OK);
    rsl_execution_done(&s.x, OTHER);
    assert_string_equal(s.trace.text, "");
    assert_true(rsl_execution_next(&s.x));
    rsl_execution_done(&s.x, FAILED);
    rsl_execution_done(&s.x, 0);
    assert_false(rsl_execution_next(&s.x));
    rsl_execution_done(&s.x, 0);
    assert_false(rsl_execution_next(&s.x));
    assert_int_equal(s.x.result, FAILED);
    assert_string_equal(s.trace.text, "+a-a");
    stage_end(&s);
}

/* Misuse: the loop's body was left without rsl_execution_done. */
static void next_with_the_call_still_out_gives_everything_back_and_refuses(void **state)
{
    (void)state;
    stage s;
    rsl_breaker breaker;
    stage_set(&s);
    breaker_set(&breaker, &s);
    const rsl_layer layers[] = {script_as_layer(&s.a), rsl_breaker_layer(&breaker)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 2, &s.ctx), RSL_OK);
    assert_true(rsl_execution_next(&s.x));
    assert_false(rsl_execution_next(&s.x));
    assert_int_equal(s.x.result, RSL_EINVAL);
    assert_string_equal(s.trace.text, "+axa");
    assert_counted(&breaker, 0, 0);
    assert_false(rsl_execution_next(&s.x));
    assert_int_equal(rsl_execution_report(&s.x, START, 0), RSL_EINVAL);
    rsl_breaker_deinit(&breaker);
    stage_end(&s);
}

/* The result of a stopped attempt comes in before the next attempt starts: never two calls out. */
static void no_attempt_starts_before_the_stopped_one_is_reported(void **state)
{
    (void)state;
    stage s;
    rsl_retry retry;
    rsl_timeout inner;
    stage_set(&s);
    retry_set(&retry);
    const rsl_layer layers[] = {rsl_retry_layer(&retry), timeout_of(&inner, RSL_MS(5))};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 2, &s.ctx), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_MS(5)), RSL_STOP);
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_SEC(5)), RSL_STOP);
    assert_int_equal(rsl_execution_report(&s.x, START + RSL_SEC(5), CUT), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_SEC(5)), RSL_WAIT);
    assert_true(s.x.wake_at == START + RSL_SEC(5) + RSL_MS(10));
    assert_int_equal(rsl_execution_step(&s.x, s.x.wake_at - 1), RSL_WAIT);
    assert_int_equal(rsl_execution_step(&s.x, s.x.wake_at), RSL_RUN);
    assert_int_equal(s.x.ctx.attempt, 2);
    assert_true(s.x.wake_at == START + RSL_SEC(5) + RSL_MS(15));
    assert_int_equal(rsl_execution_report(&s.x, START + RSL_SEC(5) + RSL_MS(12), 0), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START + RSL_SEC(6)), RSL_DONE);
    assert_int_equal(s.x.result, 0);
    rsl_retry_deinit(&retry);
    stage_end(&s);
}

/* -------------------------------------- a refusal is nobody's failure */

static void an_outer_breaker_gives_its_permit_back_on_a_refusal_and_counts_nothing(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_breaker breaker;
        stage_set(&s);
        breaker_set(&breaker, &s);
        s.b.refuse = RSL_EFULL;
        const rsl_layer layers[] = {rsl_breaker_layer(&breaker), script_as_layer(&s.b)};
        for (int i = 0; i < 10; i++) { /* three failures would open it */
            assert_int_equal(stage_drive(&s, w, layers, 2), RSL_EFULL);
        }
        assert_counted(&breaker, 0, 0);
        assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_CLOSED);
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

static void a_refused_probe_leaves_the_breaker_half_open_with_its_permit(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_breaker breaker;
        stage_set(&s);
        breaker_set(&breaker, &s);
        assert_int_equal(rsl_breaker_force(&breaker, RSL_BREAKER_OPEN), RSL_OK);
        s.clock.now += RSL_SEC(60);
        s.b.refuse = RSL_EFULL;
        const rsl_layer layers[] = {rsl_breaker_layer(&breaker), script_as_layer(&s.b)};
        for (int i = 0; i < 3; i++) {
            assert_int_equal(stage_drive(&s, w, layers, 2), RSL_EFULL);
            assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_HALF_OPEN);
        }
        s.b.refuse = 0;
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_CLOSED);
        assert_counted(&breaker, 1, 0);
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

static void an_outer_retry_passes_a_refusal_on(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_breaker breaker;
        stage_set(&s);
        retry_set(&retry);
        breaker_set(&breaker, &s);
        assert_int_equal(rsl_breaker_force(&breaker, RSL_BREAKER_FORCED_OPEN), RSL_OK);
        const rsl_layer layers[] = {rsl_retry_layer(&retry), script_as_layer(&s.b),
                                    rsl_breaker_layer(&breaker)};
        assert_int_equal(stage_drive(&s, w, layers, 3), RSL_EOPEN);
        assert_string_equal(s.trace.text, "+b-b");
        assert_refused_by(&s, w, "breaker");
        assert_true(s.clock.now == START);
        rsl_breaker_deinit(&breaker);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static void an_outer_retry_repeats_a_refusal_when_told_to(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        stage_set(&s);
        retry_set_for_refusals(&retry);
        s.b.refuse = RSL_EFULL;
        const rsl_layer layers[] = {rsl_retry_layer(&retry), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_EFULL);
        assert_string_equal(s.trace.text, "!b!b!b");
        assert_refused_by(&s, w, "b");
        assert_true(s.clock.now == START + RSL_MS(30));
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static void an_outer_retry_repeats_a_wait_that_an_inner_timeout_ended(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout inner;
        rsl_breaker breaker;
        stage_set(&s);
        retry_set(&retry);
        breaker_set(&breaker, &s);
        s.d.waits = 1;
        const rsl_layer layers[] = {rsl_retry_layer(&retry), rsl_breaker_layer(&breaker),
                                    timeout_of(&inner, RSL_MS(3)), script_as_layer(&s.d)};
        assert_int_equal(stage_drive(&s, w, layers, 4), RSL_ETIMEOUT);
        assert_string_equal(s.trace.text, "~dxd~dxd~dxd");
        assert_true(s.clock.now == START + RSL_MS(3 + 10 + 3 + 20 + 3));
        assert_refused_by(&s, w, "d");
        assert_counted(&breaker, 0, 0); /* the breaker between them counts none of it */
        rsl_breaker_deinit(&breaker);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static bool never_retryable(int result, void *user)
{
    (void)result;
    (void)user;
    return false;
}

static void an_outer_retry_repeats_a_call_that_an_inner_timeout_cut_whatever_it_says(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout inner;
        stage_set(&s);
        rsl_retry_config config = {.delay_first = RSL_MS(10), .jitter = RSL_JITTER_NONE};
        config.retryable = never_retryable;
        assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
        s.lasts = RSL_MS(50);
        const rsl_layer layers[] = {rsl_retry_layer(&retry), timeout_of(&inner, RSL_MS(3)),
                                    script_as_layer(&s.c)};
        assert_int_equal(stage_drive(&s, w, layers, 3), CUT);
        assert_string_equal(s.trace.text, "+c()-c+c()-c+c()-c");
        assert_true(s.clock.now == START + RSL_MS(3 + 10 + 3 + 20 + 3));
        assert_int_equal(s.stops, w == BY_STEPS ? 3 : 0);
        s.lasts = 0; /* in time, it is an ordinary failure: not retryable */
        s.results[0] = FAILED;
        assert_int_equal(stage_drive(&s, w, layers, 3), FAILED);
        assert_int_equal(s.calls, 4);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static void a_success_after_an_inner_timeout_is_an_ordinary_success(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout inner;
        rsl_breaker breaker;
        stage_set(&s);
        retry_set(&retry);
        breaker_set(&breaker, &s);
        s.d.on_visit = wait_at_the_first_visit_only;
        const rsl_layer layers[] = {rsl_breaker_layer(&breaker), rsl_retry_layer(&retry),
                                    timeout_of(&inner, RSL_MS(3)), script_as_layer(&s.d)};
        assert_int_equal(stage_drive(&s, w, layers, 4), 0);
        assert_string_equal(s.trace.text, "~dxd+d()-d");
        assert_true(s.called_at == START + RSL_MS(13));
        assert_not_refused(&s, w);
        assert_counted(&breaker, 1, 0);
        rsl_breaker_deinit(&breaker);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

/* What marked the first attempt as timed out must not stick to the second. */
static void a_failure_after_an_inner_timeout_is_an_ordinary_failure(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout inner;
        stage_set(&s);
        rsl_retry_config config = {.delay_first = RSL_MS(10), .jitter = RSL_JITTER_NONE};
        config.retryable = never_retryable;
        assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
        s.results[0] = FAILED;
        s.c.on_visit = wait_at_the_first_visit_only;
        const rsl_layer layers[] = {rsl_retry_layer(&retry), timeout_of(&inner, RSL_MS(3)),
                                    script_as_layer(&s.c)};
        assert_int_equal(stage_drive(&s, w, layers, 3), FAILED);
        assert_string_equal(s.trace.text, "~cxc+c()-c");
        assert_not_refused(&s, w);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

/* The timeout inside a breaker cuts the call: a failure of the far side, even if the call, being
   stopped, answers that it was cancelled, which a breaker otherwise ignores. */
static void a_breaker_counts_a_call_that_an_inner_timeout_cut_as_failed(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_timeout inner;
        rsl_breaker breaker;
        stage_set(&s);
        breaker_set(&breaker, &s);
        s.lasts = RSL_MS(50);
        s.cut = RSL_ECANCELED;
        const rsl_layer layers[] = {rsl_breaker_layer(&breaker),
                                    timeout_of(&inner, RSL_MS(3))};
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ECANCELED);
        assert_counted(&breaker, 0, 1);
        assert_not_refused(&s, w);
        s.lasts = 0;
        s.results[0] = RSL_ECANCELED;
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ECANCELED);
        rsl_breaker_stats stats = breaker_stats(&breaker);
        assert_int_equal(stats.failed, 1);
        assert_int_equal(stats.ignored, 1);
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

static void a_breaker_ignores_a_call_that_the_caller_cancelled(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_timeout inner;
        rsl_breaker breaker;
        stage_set(&s);
        breaker_set(&breaker, &s);
        s.lasts = RSL_MS(50);
        s.cut = RSL_ECANCELED;
        s.cancel_at = START + RSL_MS(2);
        const rsl_layer layers[] = {rsl_breaker_layer(&breaker),
                                    timeout_of(&inner, RSL_MS(3))};
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ECANCELED);
        rsl_breaker_stats stats = breaker_stats(&breaker);
        assert_int_equal(stats.failed, 0);
        assert_int_equal(stats.ignored, 1);
        assert_int_equal(stats.in_flight, 0);
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

/* Cancelled first, and past the timeout only then: it is the caller who gave up. */
static void a_breaker_ignores_a_call_cancelled_before_the_inner_timeout_cut_it(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_timeout inner;
        rsl_breaker breaker;
        stage_set(&s);
        breaker_set(&breaker, &s);
        s.lasts = RSL_MS(50);
        s.stubborn = true;
        s.results[0] = RSL_ECANCELED;
        s.cancel_at = START + RSL_MS(2);
        const rsl_layer layers[] = {rsl_breaker_layer(&breaker),
                                    timeout_of(&inner, RSL_MS(3))};
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_ECANCELED);
        rsl_breaker_stats stats = breaker_stats(&breaker);
        assert_int_equal(stats.failed, 0);
        assert_int_equal(stats.ignored, 1);
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

/* What a layer inside the timeout has made of the failure is that layer's answer. */
static void a_result_replaced_inside_an_inner_timeout_is_passed_on(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout inner;
        rsl_fallback fallback;
        replacement r = {.with = OTHER};
        stage_set(&s);
        retry_set(&retry);
        assert_int_equal(rsl_fallback_init(&fallback, replace, &r), RSL_OK);
        s.lasts = RSL_MS(50);
        const rsl_layer layers[] = {rsl_retry_layer(&retry), timeout_of(&inner, RSL_MS(3)),
                                    rsl_fallback_layer(&fallback)};
        assert_int_equal(stage_drive(&s, w, layers, 3), OTHER);
        assert_int_equal(r.got, CUT);
        assert_int_equal(s.calls, 1);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static void a_wait_ended_by_the_callers_own_deadline_is_not_repeated(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout inner;
        stage_set(&s);
        retry_set_for_refusals(&retry);
        s.ctx.deadline = START + RSL_MS(5);
        s.c.waits = 1;
        const rsl_layer layers[] = {rsl_retry_layer(&retry), timeout_of(&inner, RSL_MS(8)),
                                    script_as_layer(&s.c)};
        assert_int_equal(stage_drive(&s, w, layers, 3), RSL_ETIMEOUT);
        assert_string_equal(s.trace.text, "~cxc");
        assert_true(s.clock.now == START + RSL_MS(5));
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static void a_wait_that_was_cancelled_is_not_repeated(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout inner;
        stage_set(&s);
        retry_set_for_refusals(&retry);
        s.cancel_at = START + RSL_MS(2);
        s.c.waits = 1;
        const rsl_layer layers[] = {rsl_retry_layer(&retry), timeout_of(&inner, RSL_MS(3)),
                                    script_as_layer(&s.c)};
        assert_int_equal(stage_drive(&s, w, layers, 3), RSL_ECANCELED);
        assert_string_equal(s.trace.text, "~cxc");
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

/* The retry stands inside the timeout that ran out: there is no time left to repeat in. */
static void a_total_timeout_ends_the_retry_inside_it(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout total;
        stage_set(&s);
        retry_set(&retry);
        s.results[0] = FAILED;
        s.lasts = RSL_MS(4);
        const rsl_layer layers[] = {timeout_of(&total, RSL_MS(20)), rsl_retry_layer(&retry),
                                    script_as_layer(&s.c)};
        /* 0..4, wait to 14, 14..18; the next wait would end at 38, so it is not begun */
        assert_int_equal(stage_drive(&s, w, layers, 3), FAILED);
        assert_string_equal(s.trace.text, "+c()-c+c()-c");
        assert_true(s.clock.now == START + RSL_MS(18));
        assert_not_refused(&s, w);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

/* -------------------------------------------------------------- abandon */

enum { PLAIN, WAITING, REPEATING, KINDS };

static int power_of_kinds(int exponent)
{
    int power = 1;
    while (exponent-- > 0) {
        power *= KINDS;
    }
    return power;
}

static void mixed_scripts(stage *s, size_t count, int mix, rsl_layer *layers)
{
    script_layer *scripts[] = {&s->a, &s->b, &s->c, &s->d, &s->e, &s->f, &s->g, &s->h};
    for (size_t i = 0; i < count; i++, mix /= KINDS) {
        scripts[i]->waits = mix % KINDS == WAITING ? 1 : 0;
        scripts[i]->agains = mix % KINDS == REPEATING ? 1 : 0;
        scripts[i]->narrow = RSL_SEC(5);
        layers[i] = script_as_layer(scripts[i]);
    }
}

/* Goes `moves` moves (a step, or a report) and says whether the execution is done by then. */
static bool stage_moves(stage *s, int moves)
{
    bool out = false;
    for (int i = 0; i < moves; i++) {
        if (out) {
            assert_int_equal(rsl_execution_report(&s->x, s->clock.now, FAILED), RSL_OK);
            s->calls++;
            out = false;
            continue;
        }
        int answer = rsl_execution_step(&s->x, s->clock.now);
        if (answer == RSL_DONE) {
            return true;
        }
        out = answer == RSL_RUN;
        if (answer == RSL_WAIT) {
            s->clock.now = s->x.wake_at;
        }
    }
    return false;
}

static void assert_all_given_back(const stage *s)
{
    const script_layer *scripts[] = {&s->a, &s->b, &s->c, &s->d, &s->e, &s->f, &s->g, &s->h};
    for (size_t i = 0; i < RSL_COUNT(scripts); i++) {
        assert_int_equal(scripts[i]->inside, 0);
        assert_false(scripts[i]->waiting);
        assert_int_equal(scripts[i]->visits,
                         scripts[i]->lefts + scripts[i]->abandons + scripts[i]->refusals);
    }
}

/* The abandoned layers, as the end of the trace must name them: the innermost first. */
static void assert_abandoned_from_the_inside(const stage *s)
{
    char last = 'a' - 1;
    for (size_t i = s->trace.length; i >= 2 && s->trace.text[i - 2] == 'x'; i -= 2) {
        assert_true(s->trace.text[i - 1] > last);
        last = s->trace.text[i - 1];
    }
}

/* Policies of 0..5 layers, each plain, waiting or repeating in every combination, and policies of
   6..8 in every 7th; abandoned after every number of moves. */
static void abandon_at_any_point_gives_everything_back_exactly_once(void **state)
{
    (void)state;
    static stage s;
    for (size_t count = 0; count <= RSL_LAYERS_MAX; count++) {
        for (int mix = 0; mix < power_of_kinds((int)count); mix += count > 5 ? 7 : 1) {
            bool done = false;
            for (int moves = 0; !done; moves++) {
                stage_set(&s);
                rsl_layer layers[RSL_LAYERS_MAX];
                mixed_scripts(&s, count, mix, layers);
                assert_int_equal(rsl_execution_begin(&s.x, layers, count, &s.ctx), RSL_OK);
                done = stage_moves(&s, moves);
                size_t before = s.trace.length;
                rsl_execution_abandon(&s.x, s.clock.now);
                assert_all_given_back(&s);
                assert_abandoned_from_the_inside(&s);
                assert_true(!done || s.trace.length == before);
                assert_true(s.x.ctx.deadline == 0);
                assert_int_equal(rsl_execution_step(&s.x, s.clock.now), RSL_DONE);
                assert_int_equal(rsl_execution_report(&s.x, s.clock.now, 0), RSL_EINVAL);
                rsl_execution_abandon(&s.x, s.clock.now);
                assert_all_given_back(&s);
                assert_int_equal(s.trace.length % 2, 0);
                rsl_cancel_deinit(&s.cancel);
            }
        }
    }
}

static void abandon_before_the_first_step_touches_no_layer(void **state)
{
    (void)state;
    stage s;
    stage_set(&s);
    const rsl_layer layers[] = {script_as_layer(&s.a), script_as_layer(&s.b)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 2, &s.ctx), RSL_OK);
    rsl_execution_abandon(&s.x, START);
    assert_string_equal(s.trace.text, "");
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_DONE);
    assert_false(rsl_execution_next(&s.x));
    assert_string_equal(s.trace.text, "");
    stage_end(&s);
}

static void abandon_after_done_changes_nothing(void **state)
{
    (void)state;
    stage s;
    stage_set(&s);
    s.results[0] = FAILED;
    const rsl_layer layers[] = {script_as_layer(&s.a)};
    assert_int_equal(stage_drive(&s, BY_STEPS, layers, 1), FAILED);
    rsl_execution_abandon(&s.x, s.clock.now);
    assert_int_equal(s.x.result, FAILED);
    assert_false(s.x.refused);
    assert_string_equal(s.trace.text, "+a()-a");
    stage_end(&s);
}

/* A breaker, a retry and a timeout abandoned at every point: the permit is back, nothing counts,
   also when the breaker was half-open and the permit was its only probe. */
static void abandon_at_any_point_gives_the_breakers_permit_back_and_counts_nothing(void **state)
{
    (void)state;
    for (int half_open = 0; half_open <= 1; half_open++) {
        bool done = false;
        for (int moves = 0; !done; moves++) {
            stage s;
            rsl_breaker breaker;
            rsl_retry retry;
            rsl_timeout total, each;
            stage_set(&s);
            breaker_set(&breaker, &s);
            retry_set(&retry);
            if (half_open) {
                assert_int_equal(rsl_breaker_force(&breaker, RSL_BREAKER_OPEN), RSL_OK);
                s.clock.now += RSL_SEC(60);
            }
            s.e.waits = 1;
            const rsl_layer layers[] = {
                timeout_of(&total, RSL_SEC(60)), rsl_breaker_layer(&breaker),
                rsl_retry_layer(&retry), timeout_of(&each, RSL_SEC(30)), script_as_layer(&s.e)};
            assert_int_equal(rsl_execution_begin(&s.x, layers, 5, &s.ctx), RSL_OK);
            done = stage_moves(&s, moves);
            rsl_execution_abandon(&s.x, s.clock.now);
            assert_all_given_back(&s);
            bool left = s.calls == 3; /* the last report has left the layers, and so counted */
            assert_counted(&breaker, 0, left ? 1 : 0);
            if (half_open && !left && moves > 0) {
                assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_HALF_OPEN);
                s.e.waits = 0;
                s.results[0] = 0;
                assert_int_equal(stage_drive(&s, BY_STEPS, layers, 5), 0);
                assert_int_equal(rsl_breaker_state_get(&breaker), RSL_BREAKER_CLOSED);
            }
            rsl_retry_deinit(&retry);
            rsl_breaker_deinit(&breaker);
            stage_end(&s);
        }
    }
}

static void an_abandoned_execution_is_not_woken_any_more(void **state)
{
    (void)state;
    for (int moves = 0; moves < 4; moves++) {
        stage s;
        int wakes = 0;
        stage_set(&s);
        s.a.waits = 1;
        s.a.agains = 1;
        const rsl_layer layers[] = {script_as_layer(&s.a)};
        assert_int_equal(rsl_execution_begin(&s.x, layers, 1, &s.ctx), RSL_OK);
        rsl_execution_wake_by(&s.x, count_wake, &wakes);
        assert_false(stage_moves(&s, moves));
        rsl_execution_abandon(&s.x, s.clock.now);
        memset(&s.x, 0xA5, sizeof s.x);
        rsl_cancel_fire(&s.cancel);
        assert_int_equal(wakes, 0);
        stage_end(&s);
    }
}

/* --------------------------------------------------------- any int is a result */

static const int any_int[] = {
    RSL_EINVAL,   RSL_ENOMEM,  RSL_ESYS,    RSL_ETIMEOUT, RSL_ECANCELED, RSL_EOPEN,
    RSL_EFULL,    RSL_ELIMITED, RSL_ECLOSED, RSL_EIO,     RSL_ECORRUPT,  RSL_EFENCED,
    RSL_EPARKED,  RSL_EUNWOUND, RSL_RUN,     RSL_WAIT,    RSL_AGAIN,     RSL_DONE,
    RSL_STOP,     RSL_OK,       INT_MIN,     INT_MAX,     1,             -1,
    -7399,        -7395,
};

static void any_int_is_a_legal_result_of_the_call_and_passes_unchanged(void **state)
{
    (void)state;
    for (size_t i = 0; i < RSL_COUNT(any_int); i++) {
        for (way w = BY_RUN; w < WAYS; w++) {
            stage s;
            rsl_timeout total;
            rsl_retry retry;
            rsl_breaker breaker;
            stage_set(&s);
            breaker_set(&breaker, &s);
            retry_set(&retry);
            s.results[0] = any_int[i];
            const rsl_layer layers[] = {timeout_of(&total, RSL_SEC(5)), script_as_layer(&s.b),
                                        rsl_retry_layer(&retry), rsl_breaker_layer(&breaker),
                                        script_as_layer(&s.e)};
            assert_int_equal(stage_drive(&s, w, layers, 5), any_int[i]);
            assert_int_equal(s.calls, any_int[i] == 0 ? 1 : 3);
            assert_int_equal(s.b.seen_result, any_int[i]);
            assert_false(s.b.seen_refused);
            assert_not_refused(&s, w);
            rsl_breaker_stats stats = breaker_stats(&breaker);
            assert_int_equal(stats.succeeded, any_int[i] == 0 ? 1 : 0);
            assert_int_equal(stats.ignored, any_int[i] == RSL_ECANCELED ? 3 : 0);
            assert_int_equal(stats.in_flight, 0);
            s.trace.text[0] = '\0';
            s.trace.length = 0;
            assert_int_equal(stage_drive(&s, w, NULL, 0), any_int[i]);
            assert_string_equal(s.trace.text, "()");
            rsl_retry_deinit(&retry);
            rsl_breaker_deinit(&breaker);
            stage_end(&s);
        }
    }
}

static void a_call_that_times_out_by_itself_is_a_failure_and_not_a_refusal(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_breaker breaker;
        stage_set(&s);
        breaker_set(&breaker, &s);
        s.results[0] = RSL_EOPEN;
        const rsl_layer layers[] = {rsl_breaker_layer(&breaker)};
        for (int i = 0; i < 3; i++) {
            assert_int_equal(stage_drive(&s, w, layers, 1), RSL_EOPEN);
            assert_not_refused(&s, w);
        }
        assert_int_equal(s.calls, 3);
        assert_int_equal(stage_drive(&s, w, layers, 1), RSL_EOPEN);
        assert_int_equal(s.calls, 3);
        assert_refused_by(&s, w, "breaker");
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

/* --------------------------------- random policies against a model of the engine */

/* Each layer rewrites its script at each visit from the policy's seed; the model below, which is
   the rules of the engine written down as a recursion, does the same and must tell the same
   story. Waits and rounds are at least 1 ns long; the engine's own timeouts stand between. */
typedef struct model {
    stage    stage;         /* scripts, trace and results as the model tells them */
    seeded_random random;
    size_t   count;
    bool     is_timeout[RSL_LAYERS_MAX];
    rsl_time spans[RSL_LAYERS_MAX];
    rsl_time now, deadline;
    bool     refused;
    const char *refuser;
    int      result;
} model;

static script_layer *stage_script(stage *s, size_t i)
{
    script_layer *scripts[] = {&s->a, &s->b, &s->c, &s->d, &s->e, &s->f, &s->g, &s->h};
    return scripts[i];
}

static void random_visit(script_layer *layer)
{
    seeded_random random = {layer->seed * 31 + (uint64_t)layer->visits};
    for (int i = 0; i < 4; i++) {
        (void)seeded_random_bits(&random);
    }
    layer->waits = seeded_random_below(&random, 4) == 0 ? 1 + layer->visits % 2 : 0;
    layer->wait_for = 1 + seeded_random_below(&random, 40);
    layer->refuse = seeded_random_below(&random, 8) == 0 ? RSL_EFULL : 0;
    rsl_time narrow = 1 + seeded_random_below(&random, 90);
    layer->narrow = seeded_random_below(&random, 6) == 0 ? narrow : 0;
    layer->changes = seeded_random_below(&random, 16) == 0;
    layer->turns_into = (int)seeded_random_below(&random, 3);
}

static bool model_waits(model *m, script_layer *layer, rsl_time until)
{
    rsl_time deadline = m->deadline == 0 ? RSL_FOREVER : m->deadline;
    rsl_time cancel_at = m->stage.cancel_at > m->now ? m->stage.cancel_at : m->now;
    deadline = deadline > m->now ? deadline : m->now;
    if (m->stage.cancel_at != RSL_FOREVER && cancel_at <= until && cancel_at <= deadline) {
        m->now = cancel_at;
        m->result = RSL_ECANCELED;
    } else if (deadline <= until) {
        m->now = deadline;
        m->result = RSL_ETIMEOUT;
    } else {
        m->now = until;
        return true;
    }
    m->refused = true;
    m->refuser = script_types[layer->name - 'a'].kind;
    trace_add(layer->trace, 'x', layer->name);
    return false;
}

static void model_calls(model *m)
{
    trace_add(&m->stage.trace, '(', ')');
    m->stage.calls++;
    rsl_time end = m->now + m->stage.lasts;
    rsl_time limit = m->deadline == 0 ? RSL_FOREVER : m->deadline;
    if (m->stage.cancel_at > m->now && m->stage.cancel_at < limit) {
        limit = m->stage.cancel_at;
    }
    bool whole = m->stage.stubborn || end <= limit;
    m->now = whole ? end : limit;
    m->result = whole ? stage_next_result(&m->stage) : m->stage.cut;
    m->refused = false;
    m->refuser = NULL;
}

static void model_enters(model *m, size_t i);

static void model_script(model *m, size_t i)
{
    script_layer *layer = stage_script(&m->stage, i);
    layer->visits++;
    random_visit(layer);
    for (int k = 0; k < layer->waits; k++) {
        trace_add(layer->trace, '~', layer->name);
        if (!model_waits(m, layer, m->now + layer->wait_for)) {
            return;
        }
    }
    if (layer->refuse != 0) {
        trace_add(layer->trace, '!', layer->name);
        m->result = layer->refuse;
        m->refused = true;
        m->refuser = script_types[layer->name - 'a'].kind;
        return;
    }
    rsl_time outer = m->deadline;
    if (layer->narrow != 0 && (outer == 0 || m->now + layer->narrow < outer)) {
        m->deadline = m->now + layer->narrow;
    }
    trace_add(layer->trace, '+', layer->name);
    for (model_enters(m, i + 1); layer->agains > 0; model_enters(m, i + 1)) {
        layer->agains--;
        trace_add(layer->trace, '@', layer->name);
        if (!model_waits(m, layer, m->now + layer->again_after)) {
            m->deadline = outer;
            return;
        }
    }
    m->deadline = outer;
    m->result = layer->changes ? layer->turns_into : m->result;
    trace_add(layer->trace, '-', layer->name);
}

static void model_enters(model *m, size_t i)
{
    if (i == m->count) {
        model_calls(m);
    } else if (m->is_timeout[i]) {
        rsl_time outer = m->deadline;
        if (outer == 0 || m->now + m->spans[i] < outer) {
            m->deadline = m->now + m->spans[i];
        }
        model_enters(m, i + 1);
        m->deadline = outer;
    } else {
        model_script(m, i);
    }
}

/* The same policy from the same seed, on a fresh stage. */
static void random_stage(model *m, stage *s, uint64_t seed)
{
    seeded_random random = {seed};
    stage_set(s);
    for (int i = 0; i < 4; i++) {
        (void)seeded_random_bits(&random);
    }
    m->count = seeded_random_below(&random, RSL_LAYERS_MAX + 1);
    for (size_t i = 0; i < m->count; i++) {
        script_layer *layer = stage_script(s, i);
        m->is_timeout[i] = seeded_random_below(&random, 6) == 0;
        m->spans[i] = 1 + (rsl_time)seeded_random_below(&random, 120);
        layer->seed = seeded_random_bits(&random);
        layer->on_visit = random_visit;
        layer->agains = seeded_random_below(&random, 3) == 0 ? 1 : 0;
        layer->again_after = 1 + (rsl_time)seeded_random_below(&random, 20);
    }
    s->results_count = RSL_COUNT(s->results);
    for (size_t i = 0; i < s->results_count; i++) {
        s->results[i] = seeded_random_below(&random, 2) == 0 ? 0 : FAILED + (int)i;
    }
    s->lasts = seeded_random_below(&random, 30);
    s->stubborn = seeded_random_below(&random, 4) == 0;
    s->ctx.deadline = seeded_random_below(&random, 3) == 0 ? 0
        : START + 1 + (rsl_time)seeded_random_below(&random, 200);
    s->cancel_at = seeded_random_below(&random, 3) != 0 ? RSL_FOREVER
        : START + 1 + (rsl_time)seeded_random_below(&random, 100);
}

static void random_layers(const model *m, stage *s, rsl_timeout *timeouts, rsl_layer *layers)
{
    for (size_t i = 0; i < m->count; i++) {
        layers[i] = m->is_timeout[i] ? timeout_of(&timeouts[i], m->spans[i])
                                     : script_as_layer(stage_script(s, i));
    }
}

static void assert_same_story(const model *m, const stage *s, way w, int result, uint64_t seed)
{
    bool same = strcmp(s->trace.text, m->stage.trace.text) == 0 && result == m->result &&
                s->clock.now == m->now && s->calls == m->stage.calls;
    if (w != BY_RUN) {
        const char *refuser = rsl_execution_refuser(&s->x);
        same = same && s->x.refused == m->refused && s->x.ctx.deadline == s->ctx.deadline;
        same = same && (refuser == NULL) == (m->refuser == NULL);
        same = same && (refuser == NULL || strcmp(refuser, m->refuser) == 0);
    }
    if (!same) {
        print_message("seed %llu, way %d\nmodel:  %s = %d at %lld\nengine: %s = %d at %lld\n",
                      (unsigned long long)seed, (int)w, m->stage.trace.text, m->result,
                      (long long)(m->now - START), s->trace.text, result,
                      (long long)(s->clock.now - START));
    }
    assert_true(same);
    assert_all_given_back(s);
}

/* Gives the next of the random policies to step and leaves it at a random point. */
static void abandon_somewhere(const model *m, stage *s, uint64_t seed)
{
    rsl_timeout timeouts[RSL_LAYERS_MAX];
    rsl_layer layers[RSL_LAYERS_MAX];
    seeded_random random = {seed * 7 + 1};
    random_layers(m, s, timeouts, layers);
    assert_int_equal(rsl_execution_begin(&s->x, layers, m->count, &s->ctx), RSL_OK);
    for (uint32_t moves = seeded_random_below(&random, 20); moves > 0; moves--) {
        int answer = rsl_execution_step(&s->x, s->clock.now);
        if (answer == RSL_DONE) {
            break;
        }
        if (answer == RSL_WAIT) {
            stage_sleep_until(s, s->x.wake_at);
        } else if (seeded_random_below(&random, 4) != 0) {
            stage_call_starts(s, &s->x.ctx);
            stage_sleep_until(s, s->clock.now + s->lasts);
            assert_int_equal(rsl_execution_report(&s->x, s->clock.now, FAILED), RSL_OK);
        } else {
            break; /* abandoned with the call out */
        }
    }
    rsl_execution_abandon(&s->x, s->clock.now);
    assert_all_given_back(s);
    assert_int_equal(rsl_execution_step(&s->x, s->clock.now), RSL_DONE);
    assert_true(s->x.ctx.deadline == s->ctx.deadline);
}

static void random_policies_tell_the_same_story_in_every_way_and_as_the_rules_say(void **state)
{
    (void)state;
    static model m;
    static stage s;
    rsl_timeout timeouts[RSL_LAYERS_MAX];
    rsl_layer layers[RSL_LAYERS_MAX];
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        random_stage(&m, &m.stage, seed);
        m.now = START;
        m.deadline = m.stage.ctx.deadline;
        model_enters(&m, 0);
        for (way w = BY_RUN; w < WAYS; w++) {
            random_stage(&m, &s, seed);
            random_layers(&m, &s, timeouts, layers);
            int result = stage_drive(&s, w, layers, m.count);
            assert_same_story(&m, &s, w, result, seed);
            rsl_cancel_deinit(&s.cancel);
        }
        way w = (way)(seed % WAYS); /* once more, with sleeps that are too short */
        random_stage(&m, &s, seed);
        random_layers(&m, &s, timeouts, layers);
        s.early.state = seed;
        int result = stage_drive(&s, w, layers, m.count);
        assert_same_story(&m, &s, w, result, seed);
        rsl_cancel_deinit(&s.cancel);
        random_stage(&m, &s, seed);
        abandon_somewhere(&m, &s, seed);
        rsl_cancel_deinit(&s.cancel);
        rsl_cancel_deinit(&m.stage.cancel);
    }
}

/* -------------------------------------------------------------- timeout layer */

static void a_timeout_outside_the_retry_is_the_total(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout total;
        stage_set(&s);
        retry_set(&retry);
        s.results[0] = FAILED;
        s.lasts = RSL_MS(1);
        const rsl_layer layers[] = {timeout_of(&total, RSL_MS(50)), rsl_retry_layer(&retry)};
        assert_int_equal(stage_drive(&s, w, layers, 2), FAILED);
        assert_int_equal(s.calls, 3);
        assert_true(s.seen.deadline == START + RSL_MS(50)); /* of the last call, as of the first */
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static void a_timeout_inside_the_retry_is_for_each_attempt(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout each;
        stage_set(&s);
        retry_set(&retry);
        s.results[0] = FAILED;
        s.lasts = RSL_MS(1);
        const rsl_layer layers[] = {rsl_retry_layer(&retry), timeout_of(&each, RSL_MS(50))};
        assert_int_equal(stage_drive(&s, w, layers, 2), FAILED);
        assert_int_equal(s.calls, 3);
        assert_true(s.seen.deadline == s.called_at + RSL_MS(50));
        assert_true(s.called_at == START + RSL_MS(32));
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static void a_timeout_narrows_the_deadline_and_gives_the_outer_one_back(void **state)
{
    (void)state;
    for (way w = BY_LOOP; w < WAYS; w++) {
        stage s;
        rsl_timeout total, wider, inner;
        stage_set(&s);
        s.ctx.deadline = START + RSL_SEC(60);
        const rsl_layer layers[] = {timeout_of(&total, RSL_SEC(10)),
                                    timeout_of(&wider, RSL_SEC(20)),
                                    timeout_of(&inner, RSL_SEC(3))};
        assert_int_equal(stage_drive(&s, w, layers, 3), 0);
        assert_true(s.seen.deadline == START + RSL_SEC(3));
        assert_true(s.x.ctx.deadline == START + RSL_SEC(60));
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        assert_true(s.seen.deadline == START + RSL_SEC(10)); /* a wider one widens nothing */
        s.ctx.deadline = START + RSL_SEC(1);
        assert_int_equal(stage_drive(&s, w, layers, 3), 0);
        assert_true(s.seen.deadline == START + RSL_SEC(1));
        assert_true(s.x.ctx.deadline == START + RSL_SEC(1));
        stage_end(&s);
    }
}

static void a_timeout_at_the_end_of_time_saturates(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_timeout distant, never;
        stage_set(&s);
        s.clock.now = RSL_FOREVER - 5;
        const rsl_layer one[] = {timeout_of(&distant, RSL_SEC(10))};
        const rsl_layer two[] = {timeout_of(&never, RSL_FOREVER)};
        assert_int_equal(stage_drive(&s, w, one, 1), 0);
        assert_true(s.seen.deadline == RSL_FOREVER || s.seen.deadline == 0);
        s.clock.now = START;
        assert_int_equal(stage_drive(&s, w, two, 1), 0);
        assert_true(s.seen.deadline == RSL_FOREVER || s.seen.deadline == 0);
        assert_int_equal(s.calls, 2);
        stage_end(&s);
    }
}

static void the_inner_of_two_timeouts_is_the_one_that_is_repeated(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout total, each;
        stage_set(&s);
        retry_set(&retry);
        s.lasts = RSL_SEC(1);
        const rsl_layer layers[] = {timeout_of(&total, RSL_MS(40)), rsl_retry_layer(&retry),
                                    timeout_of(&each, RSL_MS(15))};
        /* 0..15 cut, wait to 25, 25..40 cut, no time left for another wait */
        assert_int_equal(stage_drive(&s, w, layers, 3), CUT);
        assert_int_equal(s.calls, 2);
        assert_true(s.clock.now == START + RSL_MS(40));
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static void a_bad_span_is_refused_and_the_dead_timeout_refuses_calls(void **state)
{
    (void)state;
    const rsl_time bad[] = {0, -1, RSL_NONE, INT64_MIN};
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        for (way w = BY_RUN; w < WAYS; w++) {
            stage s;
            rsl_timeout timeout;
            stage_set(&s);
            assert_int_equal(rsl_timeout_init(&timeout, bad[i]), RSL_EINVAL);
            const rsl_layer layers[] = {script_as_layer(&s.a), rsl_timeout_layer(&timeout)};
            assert_int_equal(stage_drive(&s, w, layers, 2), RSL_EINVAL);
            assert_string_equal(s.trace.text, "+a-a");
            assert_refused_by(&s, w, "timeout");
            stage_end(&s);
        }
    }
    assert_int_equal(rsl_timeout_init(NULL, RSL_SEC(1)), RSL_EINVAL);
}

/* ------------------------------------------------------------- fallback layer */

static void a_fallback_makes_the_result_of_a_failure_its_own(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_fallback fallback;
        replacement r = {.with = 0};
        stage_set(&s);
        s.results[0] = FAILED;
        assert_int_equal(rsl_fallback_init(&fallback, replace, &r), RSL_OK);
        const rsl_layer layers[] = {script_as_layer(&s.a), rsl_fallback_layer(&fallback)};
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        assert_int_equal(r.calls, 1);
        assert_int_equal(r.got, FAILED);
        assert_true(s.a.seen_refused);
        assert_true(w == BY_RUN || s.x.refused);
        stage_end(&s);
    }
}

static void a_fallback_is_not_asked_after_a_success(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_fallback fallback;
        replacement r = {.with = OTHER};
        stage_set(&s);
        assert_int_equal(rsl_fallback_init(&fallback, replace, &r), RSL_OK);
        const rsl_layer layers[] = {rsl_fallback_layer(&fallback)};
        assert_int_equal(stage_drive(&s, w, layers, 1), 0);
        assert_int_equal(r.calls, 0);
        assert_not_refused(&s, w);
        stage_end(&s);
    }
}

static void a_fallback_that_returns_the_result_as_it_was_changes_nothing(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_fallback fallback;
        replacement r = {.with = FAILED};
        stage_set(&s);
        s.results[0] = FAILED;
        assert_int_equal(rsl_fallback_init(&fallback, replace, &r), RSL_OK);
        const rsl_layer layers[] = {rsl_fallback_layer(&fallback)};
        assert_int_equal(stage_drive(&s, w, layers, 1), FAILED);
        assert_int_equal(r.calls, 1);
        assert_not_refused(&s, w);
        stage_end(&s);
    }
}

static void a_fallback_also_answers_for_refusals_and_timeouts(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_fallback fallback;
        rsl_breaker breaker;
        replacement r = {.with = 0};
        stage_set(&s);
        breaker_set(&breaker, &s);
        assert_int_equal(rsl_breaker_force(&breaker, RSL_BREAKER_FORCED_OPEN), RSL_OK);
        assert_int_equal(rsl_fallback_init(&fallback, replace, &r), RSL_OK);
        const rsl_layer open[] = {rsl_fallback_layer(&fallback), rsl_breaker_layer(&breaker)};
        assert_int_equal(stage_drive(&s, w, open, 2), 0);
        assert_int_equal(r.got, RSL_EOPEN);
        s.b.waits = 1;
        s.ctx.deadline = START + 1;
        const rsl_layer waits[] = {rsl_fallback_layer(&fallback), script_as_layer(&s.b)};
        assert_int_equal(stage_drive(&s, w, waits, 2), 0);
        assert_int_equal(r.got, RSL_ETIMEOUT);
        assert_int_equal(r.calls, 2);
        assert_int_equal(s.calls, 0);
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

/* The answer is the fallback's, and no retry outside may take it for the timeout's failure. */
static void a_fallback_for_an_inner_timeout_is_not_repeated(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout each;
        rsl_fallback fallback;
        replacement r = {.with = 99};
        stage_set(&s);
        retry_set(&retry);
        s.lasts = RSL_SEC(1);
        assert_int_equal(rsl_fallback_init(&fallback, replace, &r), RSL_OK);
        const rsl_layer layers[] = {rsl_retry_layer(&retry), rsl_fallback_layer(&fallback),
                                    timeout_of(&each, RSL_MS(15))};
        assert_int_equal(stage_drive(&s, w, layers, 3), 99);
        assert_int_equal(s.calls, 1);
        assert_int_equal(r.calls, 1);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static void an_abandoned_fallback_is_not_asked(void **state)
{
    (void)state;
    stage s;
    rsl_fallback fallback;
    replacement r = {.with = 0};
    stage_set(&s);
    assert_int_equal(rsl_fallback_init(&fallback, replace, &r), RSL_OK);
    const rsl_layer layers[] = {rsl_fallback_layer(&fallback)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 1, &s.ctx), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
    rsl_execution_abandon(&s.x, START);
    assert_int_equal(r.calls, 0);
    stage_end(&s);
}

static void a_fallback_without_a_function_is_refused_and_refuses_calls(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_fallback fallback;
        stage_set(&s);
        assert_int_equal(rsl_fallback_init(&fallback, NULL, NULL), RSL_EINVAL);
        const rsl_layer layers[] = {script_as_layer(&s.a), rsl_fallback_layer(&fallback)};
        assert_int_equal(stage_drive(&s, w, layers, 2), RSL_EINVAL);
        assert_string_equal(s.trace.text, "+a-a");
        assert_refused_by(&s, w, "fallback");
        stage_end(&s);
    }
    assert_int_equal(rsl_fallback_init(NULL, replace, NULL), RSL_EINVAL);
}

/* --------------------------------------------------------------- ctx and errno */

static void the_call_sees_its_attempt_and_the_ctx_comes_back_as_it_was(void **state)
{
    (void)state;
    for (way w = BY_LOOP; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout each;
        stage_set(&s);
        retry_set(&retry);
        s.ctx.priority = 7;
        s.ctx.attempt = 9;
        s.ctx.deadline = START + RSL_SEC(60);
        const int answers[] = {FAILED, FAILED, 0};
        stage_answers(&s, 3, answers);
        const rsl_layer layers[] = {rsl_retry_layer(&retry), timeout_of(&each, RSL_SEC(1))};
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        assert_int_equal(s.seen.attempt, 3);
        assert_int_equal(s.seen.priority, 7);
        assert_ptr_equal(s.seen.cancel, &s.cancel);
        assert_int_equal(s.x.ctx.attempt, 9);
        assert_int_equal(s.x.ctx.priority, 7);
        assert_true(s.x.ctx.deadline == START + RSL_SEC(60));
        assert_ptr_equal(s.x.ctx.cancel, &s.cancel);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static void the_callers_ctx_is_copied_and_never_written(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_timeout total;
        stage_set(&s);
        retry_set(&retry);
        s.results[0] = FAILED;
        rsl_ctx before = s.ctx;
        const rsl_layer layers[] = {timeout_of(&total, RSL_SEC(1)), rsl_retry_layer(&retry)};
        assert_int_equal(stage_drive(&s, w, layers, 2), FAILED);
        assert_memory_equal(&s.ctx, &before, sizeof before);
        assert_int_equal(s.seen.attempt, 3);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static int call_that_sets_errno(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    errno = EXDEV;
    return FAILED;
}

/* The errno of the call comes out, through real waits, through a clock that spoils it. */
static void errno_is_what_the_call_left_whatever_the_layers_did(void **state)
{
    (void)state;
    rsl_retry retry;
    rsl_timeout total;
    rsl_breaker breaker;
    rsl_breaker_config breaker_config = {.failures_max = 100};
    rsl_retry_config config = {.delay_first = RSL_MS(1), .jitter = RSL_JITTER_NONE};
    assert_int_equal(rsl_retry_init(&retry, &config), RSL_OK);
    assert_int_equal(rsl_breaker_init(&breaker, &breaker_config), RSL_OK);
    const rsl_layer layers[] = {timeout_of(&total, RSL_SEC(60)), rsl_retry_layer(&retry),
                                rsl_breaker_layer(&breaker)};
    assert_int_equal(rsl_run(layers, 3, NULL, call_that_sets_errno, NULL), FAILED);
    assert_int_equal(errno, EXDEV);
    rsl_execution x;
    errno = E2BIG;
    assert_int_equal(rsl_execution_begin(&x, layers, 3, NULL), RSL_OK);
    while (rsl_execution_next(&x)) {
        assert_int_equal(errno, E2BIG);
        rsl_execution_done(&x, FAILED);
        assert_int_equal(errno, E2BIG);
    }
    assert_int_equal(errno, E2BIG);
    assert_int_equal(rsl_breaker_force(&breaker, RSL_BREAKER_FORCED_OPEN), RSL_OK);
    assert_int_equal(rsl_run(layers, 3, NULL, call_that_sets_errno, NULL), RSL_EOPEN);
    assert_int_equal(errno, E2BIG);
    rsl_breaker_deinit(&breaker);
    rsl_retry_deinit(&retry);
}

static void spoil_errno(virtual_clock *clock, rsl_time until)
{
    (void)clock;
    (void)until;
    errno = ENOTTY;
}

static void errno_survives_a_wait_on_a_clock_that_spoils_it(void **state)
{
    (void)state;
    stage s;
    rsl_retry retry;
    stage_set(&s);
    retry_set(&retry);
    s.clock.on_sleep = spoil_errno;
    const rsl_layer layers[] = {rsl_retry_layer(&retry)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 1, &s.ctx), RSL_OK);
    errno = E2BIG;
    while (rsl_execution_next(&s.x)) {
        assert_int_equal(errno, E2BIG);
        rsl_execution_done(&s.x, FAILED);
    }
    assert_int_equal(s.clock.sleeps, 2);
    assert_int_equal(errno, E2BIG);
    rsl_retry_deinit(&retry);
    stage_end(&s);
}

/* ------------------------------------------------------- readings of the clock */

static int quiet_enter(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    (void)slot;
    rsl_execution_timeless(e);
    return RSL_OK;
}

static int quiet_leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)e;
    (void)slot;
    (*(int *)self)++;
    return RSL_DONE;
}

static void quiet_abandon(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    (void)e;
    (void)slot;
}

/* Another round at once after each failure. */
static int insisting_leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    (void)slot;
    e->wake_at = e->now;
    return e->result != 0 ? RSL_AGAIN : RSL_DONE;
}

static const rsl_layer_type quiet_type = {"quiet", quiet_enter, quiet_leave, quiet_abandon};
static const rsl_layer_type insisting_type = {"insisting", quiet_enter, insisting_leave,
                                              quiet_abandon};

static void a_success_through_timeless_layers_reads_the_clock_once(void **state)
{
    (void)state;
    for (way w = BY_RUN; w <= BY_LOOP; w++) {
        stage s;
        rsl_timeout total;
        rsl_retry retry;
        rsl_breaker breaker;
        int left = 0;
        stage_set(&s);
        retry_set(&retry);
        breaker_set(&breaker, &s);
        const rsl_layer layers[] = {timeout_of(&total, RSL_SEC(1)), rsl_retry_layer(&retry),
                                    rsl_breaker_layer(&breaker), {&quiet_type, &left}};
        assert_int_equal(stage_drive(&s, w, layers, 4), 0);
        assert_int_equal(s.clock.reads, 1);
        s.clock.reads = 0;
        s.results[0] = FAILED;
        const rsl_layer once[] = {timeout_of(&total, RSL_SEC(1)), {&quiet_type, &left}};
        assert_int_equal(stage_drive(&s, w, once, 2), FAILED);
        assert_true(s.clock.reads >= 2);
        assert_int_equal(left, 2);
        rsl_breaker_deinit(&breaker);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

static void a_success_at_the_second_try_does_not_read_the_clock_after_the_call(void **state)
{
    (void)state;
    for (way w = BY_RUN; w <= BY_LOOP; w++) {
        stage s;
        int left = 0;
        stage_set(&s);
        const int answers[] = {FAILED, 0};
        stage_answers(&s, 2, answers);
        const rsl_layer layers[] = {{&quiet_type, &left}, {&insisting_type, &left},
                                    {&quiet_type, &left}};
        assert_int_equal(stage_drive(&s, w, layers, 3), 0);
        assert_int_equal(s.calls, 2);
        assert_int_equal(s.clock.reads, s.reads_before);
        stage_end(&s);
    }
}

static void one_layer_that_reads_the_time_in_leave_gets_it_fresh(void **state)
{
    (void)state;
    for (way w = BY_RUN; w <= BY_LOOP; w++) {
        for (int inside = 0; inside <= 1; inside++) {
            stage s;
            int left = 0;
            stage_set(&s);
            s.lasts = RSL_MS(7);
            const rsl_layer quiet = {&quiet_type, &left};
            const rsl_layer layers[] = {inside ? quiet : script_as_layer(&s.a),
                                        inside ? script_as_layer(&s.a) : quiet};
            assert_int_equal(stage_drive(&s, w, layers, 2), 0);
            assert_true(s.a.left_at == START + RSL_MS(7));
            stage_end(&s);
        }
    }
}

static int noting_leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)slot;
    *(rsl_time *)self = e->now;
    return RSL_DONE;
}

static const rsl_layer_type noting_type = {"noting", quiet_enter, noting_leave, quiet_abandon};

/* The promise is about successes. */
static void a_timeless_layer_sees_the_time_of_a_failure(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_time left_at = 0;
        stage_set(&s);
        s.lasts = RSL_MS(7);
        s.results[0] = FAILED;
        const rsl_layer layers[] = {{&noting_type, &left_at}};
        assert_int_equal(stage_drive(&s, w, layers, 1), FAILED);
        assert_true(left_at == START + RSL_MS(7));
        stage_end(&s);
    }
}

/* Timeless at its first enter only; it wants a second round, and there it reads the time. */
typedef struct fickle {
    int      enters;
    rsl_time left_at;
} fickle;

static int fickle_enter(void *self, rsl_execution *e, rsl_slot *slot)
{
    fickle *f = self;
    (void)slot;
    if (f->enters++ == 0) {
        rsl_execution_timeless(e);
    }
    return RSL_OK;
}

static int fickle_leave(void *self, rsl_execution *e, rsl_slot *slot)
{
    fickle *f = self;
    (void)slot;
    f->left_at = e->now;
    return RSL_DONE;
}

static const rsl_layer_type fickle_type = {"fickle", fickle_enter, fickle_leave, quiet_abandon};

static void a_promise_to_be_timeless_is_made_anew_at_each_enter(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        fickle f = {0};
        stage_set(&s);
        retry_set(&retry);
        const int answers[] = {FAILED, 0};
        stage_answers(&s, 2, answers);
        s.lasts = RSL_MS(7);
        const rsl_layer layers[] = {rsl_retry_layer(&retry), {&fickle_type, &f}};
        assert_int_equal(stage_drive(&s, w, layers, 2), 0);
        assert_int_equal(f.enters, 2);
        assert_true(f.left_at == START + RSL_MS(7 + 10 + 7));
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
}

/* What a timeless layer promised in one execution says nothing about the next. */
static void a_promise_to_be_timeless_ends_with_its_execution(void **state)
{
    (void)state;
    stage s;
    int left = 0;
    stage_set(&s);
    s.lasts = RSL_MS(7);
    const rsl_layer quiet[] = {{&quiet_type, &left}};
    const rsl_layer curious[] = {script_as_layer(&s.a)};
    assert_int_equal(stage_drive(&s, BY_LOOP, quiet, 1), 0);
    assert_int_equal(stage_drive(&s, BY_LOOP, curious, 1), 0);
    assert_true(s.a.left_at == START + RSL_MS(14));
    stage_end(&s);
}

/* ------------------------------------------------------------ misuse and reuse */

static void assert_dead(rsl_execution *x)
{
    assert_false(rsl_execution_next(x));
    assert_int_equal(rsl_execution_step(x, START), RSL_DONE);
    assert_int_equal(rsl_execution_report(x, START, 0), RSL_EINVAL);
    rsl_execution_done(x, 0);
    assert_int_equal(x->result, RSL_EINVAL);
    rsl_execution_abandon(x, START);
    assert_int_equal(rsl_execution_step(x, START), RSL_DONE);
}

static void begin_refuses_what_is_no_policy_and_the_execution_is_done_at_once(void **state)
{
    (void)state;
    stage s;
    stage_set(&s);
    rsl_layer layers[RSL_LAYERS_MAX + 1];
    for (size_t i = 0; i <= RSL_LAYERS_MAX; i++) {
        layers[i] = script_as_layer(&s.a);
    }
    assert_int_equal(rsl_execution_begin(&s.x, layers, RSL_LAYERS_MAX + 1, &s.ctx), RSL_EINVAL);
    assert_dead(&s.x);
    assert_int_equal(rsl_execution_begin(&s.x, layers, SIZE_MAX, &s.ctx), RSL_EINVAL);
    assert_dead(&s.x);
    assert_int_equal(rsl_execution_begin(&s.x, NULL, 1, &s.ctx), RSL_EINVAL);
    assert_dead(&s.x);
    layers[1].type = NULL;
    assert_int_equal(rsl_execution_begin(&s.x, layers, 2, &s.ctx), RSL_EINVAL);
    assert_dead(&s.x);
    for (int missing = 0; missing < 3; missing++) {
        rsl_layer_type type = script_types[1];
        type.enter = missing == 0 ? NULL : type.enter;
        type.leave = missing == 1 ? NULL : type.leave;
        type.abandon = missing == 2 ? NULL : type.abandon;
        layers[1].type = &type;
        assert_int_equal(rsl_execution_begin(&s.x, layers, 2, &s.ctx), RSL_EINVAL);
        assert_dead(&s.x);
        assert_int_equal(rsl_run(layers, 2, &s.ctx, stage_call, &s), RSL_EINVAL);
    }
    assert_int_equal(rsl_run(NULL, 1, &s.ctx, stage_call, &s), RSL_EINVAL);
    assert_int_equal(rsl_run(layers, RSL_LAYERS_MAX + 1, &s.ctx, stage_call, &s), RSL_EINVAL);
    assert_int_equal(s.calls, 0);
    assert_string_equal(s.trace.text, "");
    stage_end(&s);
}

static void null_arguments_are_refused_and_nothing_is_touched(void **state)
{
    (void)state;
    stage s;
    int calls = 0;
    stage_set(&s);
    const rsl_layer layers[] = {script_as_layer(&s.a)};
    assert_int_equal(rsl_run(layers, 1, &s.ctx, NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_run(NULL, 0, NULL, NULL, NULL), RSL_EINVAL);
    assert_string_equal(s.trace.text, "");
    assert_int_equal(rsl_execution_begin(NULL, layers, 1, &s.ctx), RSL_EINVAL);
    assert_false(rsl_execution_next(NULL));
    rsl_execution_done(NULL, 0);
    rsl_execution_wake_by(NULL, count_wake, &calls);
    assert_int_not_equal(rsl_execution_step(NULL, START), RSL_RUN);
    assert_int_equal(rsl_execution_report(NULL, START, 0), RSL_EINVAL);
    rsl_execution_abandon(NULL, START);
    assert_null(rsl_execution_refuser(NULL));
    assert_int_equal(rsl_run(NULL, 0, NULL, call_that_fails, &calls), FAILED);
    assert_int_equal(calls, 1);
    stage_end(&s);
}

static void layers_over_nothing_refuse_with_einval(void **state)
{
    (void)state;
    const rsl_layer over_null[] = {rsl_retry_layer(NULL), rsl_breaker_layer(NULL),
                                   rsl_timeout_layer(NULL), rsl_fallback_layer(NULL)};
    const char *kinds[] = {"retry", "breaker", "timeout", "fallback"};
    for (size_t i = 0; i < RSL_COUNT(over_null); i++) {
        for (way w = BY_RUN; w < WAYS; w++) {
            stage s;
            stage_set(&s);
            const rsl_layer layers[] = {script_as_layer(&s.a), over_null[i],
                                        script_as_layer(&s.c)};
            assert_int_equal(stage_drive(&s, w, layers, 3), RSL_EINVAL);
            assert_string_equal(s.trace.text, "+a-a");
            assert_refused_by(&s, w, kinds[i]);
            stage_end(&s);
        }
    }
}

static void objects_that_failed_to_init_refuse_with_einval(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_retry retry;
        rsl_breaker breaker;
        rsl_retry_config retry_config = {.multiplier = 0.5};
        rsl_breaker_config breaker_config = {.failure_rate = 2};
        stage_set(&s);
        assert_int_equal(rsl_retry_init(&retry, &retry_config), RSL_EINVAL);
        assert_int_equal(rsl_breaker_init(&breaker, &breaker_config), RSL_EINVAL);
        const rsl_layer first[] = {script_as_layer(&s.a), rsl_retry_layer(&retry)};
        const rsl_layer second[] = {script_as_layer(&s.a), rsl_breaker_layer(&breaker)};
        assert_int_equal(stage_drive(&s, w, first, 2), RSL_EINVAL);
        assert_refused_by(&s, w, "retry");
        assert_int_equal(stage_drive(&s, w, second, 2), RSL_EINVAL);
        assert_refused_by(&s, w, "breaker");
        assert_string_equal(s.trace.text, "+a-a+a-a");
        rsl_retry_deinit(&retry);
        rsl_breaker_deinit(&breaker);
        stage_end(&s);
    }
}

static void an_execution_can_begin_again_after_it_is_done_or_abandoned(void **state)
{
    (void)state;
    stage s;
    stage_set(&s);
    s.b.refuse = RSL_EFULL;
    const rsl_layer refusing[] = {script_as_layer(&s.b)};
    const rsl_layer plain[] = {script_as_layer(&s.a)};
    assert_int_equal(stage_drive(&s, BY_STEPS, refusing, 1), RSL_EFULL);
    assert_refused_by(&s, BY_STEPS, "b");
    assert_int_equal(stage_drive(&s, BY_LOOP, plain, 1), 0);
    assert_not_refused(&s, BY_LOOP);
    assert_int_equal(rsl_execution_begin(&s.x, plain, 1, &s.ctx), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, START), RSL_RUN);
    rsl_execution_abandon(&s.x, START);
    assert_int_equal(stage_drive(&s, BY_STEPS, plain, 1), 0);
    assert_not_refused(&s, BY_STEPS);
    assert_string_equal(s.trace.text, "!b+a()-a+axa+a()-a");
    stage_end(&s);
}

static void the_three_ways_may_be_mixed_in_one_execution(void **state)
{
    (void)state;
    stage s;
    rsl_retry retry;
    stage_set(&s);
    retry_set(&retry);
    const rsl_layer layers[] = {rsl_retry_layer(&retry), script_as_layer(&s.b)};
    assert_int_equal(rsl_execution_begin(&s.x, layers, 2, &s.ctx), RSL_OK);
    assert_true(rsl_execution_next(&s.x));
    assert_int_equal(rsl_execution_report(&s.x, s.clock.now, FAILED), RSL_OK);
    assert_int_equal(rsl_execution_step(&s.x, s.clock.now), RSL_WAIT);
    assert_true(rsl_execution_next(&s.x));
    rsl_execution_done(&s.x, 0);
    assert_int_equal(rsl_execution_step(&s.x, s.clock.now), RSL_DONE);
    assert_int_equal(s.x.result, 0);
    assert_string_equal(s.trace.text, "+b-b+b-b");
    rsl_retry_deinit(&retry);
    stage_end(&s);
}

static void nothing_is_allocated_on_the_way_of_a_call(void **state)
{
    (void)state;
    for (way w = BY_RUN; w < WAYS; w++) {
        stage s;
        rsl_timeout total;
        rsl_retry retry;
        rsl_breaker breaker;
        stage_set(&s);
        retry_set(&retry);
        breaker_set(&breaker, &s);
        s.results[0] = FAILED;
        const rsl_layer layers[] = {timeout_of(&total, RSL_SEC(1)), rsl_retry_layer(&retry),
                                    rsl_breaker_layer(&breaker)};
        support_fail_from(1);
        assert_int_equal(stage_drive(&s, w, layers, 3), FAILED);
        assert_int_equal(support_taken(), 0);
        support_fail_never();
        assert_int_equal(s.calls, 3);
        rsl_breaker_deinit(&breaker);
        rsl_retry_deinit(&retry);
        stage_end(&s);
    }
    assert_int_equal(support_live(), 0);
}

/* --------------------------------------------------------------- policy check */

/* Everything that the checked policies are made of. */
typedef struct parts {
    rsl_retry    retry, other_retry, jittered, sleepless, hinted, single;
    rsl_breaker  breaker;
    rsl_timeout  ms5, ms10, ms11, sec1, other_sec1, sec2, never;
    rsl_fallback fallback;
    replacement  replacement;
} parts;

static const rsl_layer_type bulkhead_type = {"bulkhead", quiet_enter, quiet_leave, quiet_abandon};
static const rsl_layer_type pool_type = {"pool", quiet_enter, quiet_leave, quiet_abandon};
static const rsl_layer bulkhead_layer = {&bulkhead_type, NULL};
static const rsl_layer pool_layer = {&pool_type, NULL};
static const rsl_layer own_layer = {&quiet_type, NULL};

static rsl_time no_hint(int result, void *user)
{
    (void)result;
    (void)user;
    return -1;
}

static void parts_set(parts *p)
{
    rsl_retry_config jittered = {.delay_first = RSL_MS(10), .jitter = RSL_JITTER_FULL};
    rsl_retry_config sleepless = {.delay_first = RSL_NONE};
    rsl_retry_config hinted = {.delay_first = RSL_NONE, .delay_hint = no_hint};
    rsl_retry_config single = {.attempts_max = 1, .jitter = RSL_JITTER_NONE};
    rsl_breaker_config breaker = {0};
    memset(p, 0, sizeof *p);
    retry_set(&p->retry); /* first backoff 10 ms, no jitter */
    retry_set(&p->other_retry);
    assert_int_equal(rsl_retry_init(&p->jittered, &jittered), RSL_OK);
    assert_int_equal(rsl_retry_init(&p->sleepless, &sleepless), RSL_OK);
    assert_int_equal(rsl_retry_init(&p->hinted, &hinted), RSL_OK);
    assert_int_equal(rsl_retry_init(&p->single, &single), RSL_OK);
    assert_int_equal(rsl_breaker_init(&p->breaker, &breaker), RSL_OK);
    assert_int_equal(rsl_timeout_init(&p->ms5, RSL_MS(5)), RSL_OK);
    assert_int_equal(rsl_timeout_init(&p->ms10, RSL_MS(10)), RSL_OK);
    assert_int_equal(rsl_timeout_init(&p->ms11, RSL_MS(11)), RSL_OK);
    assert_int_equal(rsl_timeout_init(&p->sec1, RSL_SEC(1)), RSL_OK);
    assert_int_equal(rsl_timeout_init(&p->other_sec1, RSL_SEC(1)), RSL_OK);
    assert_int_equal(rsl_timeout_init(&p->sec2, RSL_SEC(2)), RSL_OK);
    assert_int_equal(rsl_timeout_init(&p->never, RSL_FOREVER), RSL_OK);
    assert_int_equal(rsl_fallback_init(&p->fallback, replace, &p->replacement), RSL_OK);
}

static void parts_end(parts *p)
{
    rsl_retry_deinit(&p->retry);
    rsl_retry_deinit(&p->other_retry);
    rsl_retry_deinit(&p->jittered);
    rsl_retry_deinit(&p->sleepless);
    rsl_retry_deinit(&p->hinted);
    rsl_retry_deinit(&p->single);
    rsl_breaker_deinit(&p->breaker);
}

static void assert_legal(const rsl_layer *layers, size_t count)
{
    const char *why = "not written";
    int status = rsl_policy_check(layers, count, &why);
    if (status != RSL_OK) {
        print_message("refused: %s\n", why == NULL ? "(no reason)" : why);
    }
    assert_int_equal(status, RSL_OK);
    assert_null(why);
    assert_int_equal(rsl_policy_check(layers, count, NULL), RSL_OK);
}

static void assert_illegal(const rsl_layer *layers, size_t count, const char *one,
                           const char *two)
{
    const char *why = NULL;
    assert_int_equal(rsl_policy_check(layers, count, &why), RSL_EINVAL);
    assert_non_null(why);
    if (strstr(why, one) == NULL || strstr(why, two) == NULL) {
        print_message("does not name %s and %s: %s\n", one, two, why);
    }
    assert_non_null(strstr(why, one));
    assert_non_null(strstr(why, two));
    assert_int_equal(rsl_policy_check(layers, count, NULL), RSL_EINVAL);
}

static void the_policy_check_lets_sound_orders_pass(void **state)
{
    (void)state;
    parts p;
    parts_set(&p);
    const rsl_layer retry = rsl_retry_layer(&p.retry), breaker = rsl_breaker_layer(&p.breaker);
    const rsl_layer sec1 = rsl_timeout_layer(&p.sec1), sec2 = rsl_timeout_layer(&p.sec2);
    const rsl_layer ms5 = rsl_timeout_layer(&p.ms5), never = rsl_timeout_layer(&p.never);
    const rsl_layer fallback = rsl_fallback_layer(&p.fallback);
    const rsl_layer full[] = {fallback, sec2, retry, breaker, sec1, bulkhead_layer, own_layer};
    const rsl_layer turned[] = {breaker, own_layer, sec2, retry, sec1, pool_layer};
    const rsl_layer quick[] = {bulkhead_layer, pool_layer, rsl_retry_layer(&p.sleepless)};
    const rsl_layer lucky[] = {ms5, rsl_retry_layer(&p.jittered)};
    const rsl_layer inner[] = {retry, ms5, breaker};
    const rsl_layer endless[] = {never, retry, sec1};
    const rsl_layer twice[] = {fallback, fallback, breaker, own_layer, own_layer};
    const rsl_layer once[] = {ms5, rsl_retry_layer(&p.single)};
    const rsl_layer unlimited[] = {sec1, never, retry, never};
    assert_legal(NULL, 0);
    assert_legal(full, RSL_COUNT(full));
    for (size_t from = 0; from < RSL_COUNT(full); from++) {
        assert_legal(&full[from], 1);
        assert_legal(&full[from], RSL_COUNT(full) - from);
    }
    assert_legal(turned, RSL_COUNT(turned));
    assert_legal(quick, RSL_COUNT(quick));
    assert_legal(lucky, RSL_COUNT(lucky));
    assert_legal(inner, RSL_COUNT(inner));
    assert_legal(endless, RSL_COUNT(endless));
    assert_legal(twice, RSL_COUNT(twice));
    assert_legal(once, RSL_COUNT(once));
    assert_legal(unlimited, RSL_COUNT(unlimited));
    parts_end(&p);
}

static void the_policy_check_refuses_two_retries(void **state)
{
    (void)state;
    parts p;
    parts_set(&p);
    const rsl_layer retry = rsl_retry_layer(&p.retry);
    const rsl_layer other = rsl_retry_layer(&p.other_retry);
    const rsl_layer beside[] = {retry, other};
    const rsl_layer apart[] = {own_layer, retry, rsl_breaker_layer(&p.breaker), other};
    const rsl_layer same[] = {retry, own_layer, retry};
    assert_illegal(beside, 2, "retr", "retr");
    assert_illegal(apart, 4, "retr", "retr");
    assert_illegal(same, 3, "retr", "retr");
    parts_end(&p);
}

static void the_policy_check_refuses_to_hold_a_permit_while_a_retry_sleeps(void **state)
{
    (void)state;
    parts p;
    parts_set(&p);
    const rsl_layer retry = rsl_retry_layer(&p.retry);
    const rsl_layer jittered = rsl_retry_layer(&p.jittered);
    const rsl_layer one[] = {bulkhead_layer, retry};
    const rsl_layer two[] = {pool_layer, own_layer, retry};
    const rsl_layer three[] = {own_layer, bulkhead_layer, own_layer, jittered, own_layer};
    const rsl_layer four[] = {bulkhead_layer, rsl_retry_layer(&p.hinted)};
    assert_illegal(one, 2, "bulkhead", "retry");
    assert_illegal(two, 3, "pool", "retry");
    assert_illegal(three, 5, "bulkhead", "retry");
    assert_illegal(four, 2, "bulkhead", "retry"); /* it sleeps when it is told to */
    parts_end(&p);
}

static void the_policy_check_refuses_a_fallback_that_hides_failures(void **state)
{
    (void)state;
    parts p;
    parts_set(&p);
    const rsl_layer fallback = rsl_fallback_layer(&p.fallback);
    const rsl_layer one[] = {rsl_retry_layer(&p.retry), fallback};
    const rsl_layer two[] = {rsl_breaker_layer(&p.breaker), own_layer, fallback};
    const rsl_layer three[] = {own_layer, rsl_retry_layer(&p.sleepless), own_layer, fallback};
    assert_illegal(one, 2, "fallback", "retry");
    assert_illegal(two, 3, "fallback", "breaker");
    assert_illegal(three, 4, "fallback", "retry");
    parts_end(&p);
}

static void the_policy_check_refuses_a_timeout_that_can_never_fire(void **state)
{
    (void)state;
    parts p;
    parts_set(&p);
    const rsl_layer sec1 = rsl_timeout_layer(&p.sec1), sec2 = rsl_timeout_layer(&p.sec2);
    const rsl_layer other_sec1 = rsl_timeout_layer(&p.other_sec1);
    const rsl_layer wider[] = {sec1, sec2};
    const rsl_layer equal[] = {sec1, rsl_retry_layer(&p.retry), other_sec1};
    const rsl_layer third[] = {sec2, sec1, own_layer, other_sec1};
    const rsl_layer hidden[] = {sec1, rsl_timeout_layer(&p.ms11), sec2};
    const rsl_layer shorter[] = {sec2, own_layer, sec1};
    assert_illegal(wider, 2, "timeout", "timeout");
    assert_illegal(equal, 3, "timeout", "timeout");
    assert_illegal(third, 4, "timeout", "timeout");
    assert_illegal(hidden, 3, "timeout", "timeout");
    assert_legal(shorter, 3);
    parts_end(&p);
}

static void the_policy_check_refuses_a_total_that_leaves_no_second_attempt(void **state)
{
    (void)state;
    parts p;
    parts_set(&p);
    const rsl_layer retry = rsl_retry_layer(&p.retry);
    const rsl_layer shorter[] = {rsl_timeout_layer(&p.ms5), retry};
    const rsl_layer equal[] = {own_layer, rsl_timeout_layer(&p.ms10), own_layer, retry};
    const rsl_layer longer[] = {rsl_timeout_layer(&p.ms11), retry};
    const rsl_layer nested[] = {rsl_timeout_layer(&p.sec1), rsl_timeout_layer(&p.ms5), retry};
    assert_illegal(shorter, 2, "timeout", "retry");
    assert_illegal(equal, 4, "timeout", "retry");
    assert_illegal(nested, 3, "timeout", "retry");
    assert_legal(longer, 2);
    parts_end(&p);
}

static void the_policy_check_refuses_what_is_no_policy(void **state)
{
    (void)state;
    rsl_layer layers[RSL_LAYERS_MAX + 1];
    for (size_t i = 0; i <= RSL_LAYERS_MAX; i++) {
        layers[i] = own_layer;
    }
    assert_legal(layers, RSL_LAYERS_MAX);
    assert_illegal(layers, RSL_LAYERS_MAX + 1, "", "");
    assert_illegal(NULL, 1, "", "");
    layers[2].type = NULL;
    assert_illegal(layers, 3, "", "");
    assert_legal(layers, 2);
    for (int missing = 0; missing < 4; missing++) {
        rsl_layer_type type = quiet_type;
        type.enter = missing == 0 ? NULL : type.enter;
        type.leave = missing == 1 ? NULL : type.leave;
        type.abandon = missing == 2 ? NULL : type.abandon;
        layers[2].type = &type;
        if (missing < 3) {
            assert_illegal(layers, 3, "", "");
        } else {
            assert_legal(layers, 3);
        }
    }
}

/* A layer of the user's own may bear a built-in kind's name, or none: the check must not take its
   object for a built-in one. */
static void the_policy_check_does_not_look_into_objects_of_other_types(void **state)
{
    (void)state;
    parts p;
    parts_set(&p);
    const rsl_layer_type like_retry = {"retry", quiet_enter, quiet_leave, quiet_abandon};
    const rsl_layer_type like_timeout = {"timeout", quiet_enter, quiet_leave, quiet_abandon};
    const rsl_layer_type nameless = {NULL, quiet_enter, quiet_leave, quiet_abandon};
    const rsl_layer impostor[] = {{&like_timeout, NULL}, {&like_retry, NULL}};
    const rsl_layer unnamed[] = {{&nameless, NULL}, rsl_retry_layer(&p.retry)};
    const rsl_layer dead[] = {rsl_timeout_layer(NULL), rsl_retry_layer(NULL)};
    assert_legal(impostor, 2);
    (void)rsl_policy_check(unnamed, 2, NULL); /* says what it likes, but does not fall over */
    (void)rsl_policy_check(dead, 2, NULL);
    parts_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_entered_from_the_outside_and_left_from_the_inside),
        cmocka_unit_test(a_policy_without_layers_is_the_call_alone),
        cmocka_unit_test(a_policy_holds_up_to_layers_max_layers),
        cmocka_unit_test(enter_is_called_again_with_the_same_slot_after_a_wait),
        cmocka_unit_test(a_slot_is_zeroed_before_its_first_enter_in_every_execution),
        cmocka_unit_test(only_the_slots_in_use_are_touched),
        cmocka_unit_test(a_layer_that_refused_is_not_left_and_those_outside_it_are_in_order),
        cmocka_unit_test(a_layer_may_refuse_after_it_has_waited),
        cmocka_unit_test(the_outermost_layer_may_refuse_with_a_code_of_its_own),
        cmocka_unit_test(again_enters_the_inner_layers_anew_with_zeroed_slots),
        cmocka_unit_test(again_at_once_makes_the_next_call_without_a_wait),
        cmocka_unit_test(a_refusal_may_be_tried_again_and_is_forgotten_by_a_success),
        cmocka_unit_test(a_layer_may_change_the_result_on_its_way_out),
        cmocka_unit_test(layers_see_the_time_of_the_step_when_entered_and_when_left),
        cmocka_unit_test(a_wait_ends_at_the_deadline_abandoned_and_the_outer_layers_are_left),
        cmocka_unit_test(a_wait_for_ever_ends_at_the_deadline),
        cmocka_unit_test(a_wait_ends_when_cancelled),
        cmocka_unit_test(a_backoff_cut_short_by_the_deadline_counts_as_refused),
        cmocka_unit_test(a_backoff_cut_short_by_cancel_counts_as_refused),
        cmocka_unit_test(a_backoff_cut_short_is_told_as_exhausted_and_an_abandoned_one_is_not),
        cmocka_unit_test(a_wait_that_ends_exactly_at_the_deadline_is_too_late),
        cmocka_unit_test(a_ctx_that_is_spent_already_makes_no_call),
        cmocka_unit_test(a_ctx_that_is_cancelled_already_makes_no_call_and_says_so_first),
        cmocka_unit_test(a_deadline_that_a_layer_has_put_in_the_past_makes_no_call),
        cmocka_unit_test(a_wake_up_that_comes_early_does_not_restart_the_wait),
        cmocka_unit_test(a_step_before_its_time_does_not_shorten_or_restart_a_backoff),
        cmocka_unit_test(cancel_wakes_a_blocked_execution_at_once),
        cmocka_unit_test(a_real_wait_ends_at_the_deadline_and_not_before),
        cmocka_unit_test(a_wait_costs_no_processor_time),
        cmocka_unit_test(a_wake_that_comes_before_the_sleep_is_not_lost),
        cmocka_unit_test(a_wake_of_the_waiter_ends_the_wait_of_a_blocked_execution),
        cmocka_unit_test(a_wait_for_a_waiter_ends_at_the_deadline_in_real_time),
        cmocka_unit_test(a_thread_cancelled_in_a_wait_still_leaves_its_layers),
        cmocka_unit_test(wake_by_is_told_when_the_waiter_is_woken_and_the_step_goes_on),
        cmocka_unit_test(cancel_wakes_a_stepped_execution_that_waits),
        cmocka_unit_test(cancel_wakes_a_stepped_execution_whose_call_is_out),
        cmocka_unit_test(an_execution_that_is_done_is_not_woken_any_more),
        cmocka_unit_test(wake_by_wakes_at_once_when_the_token_has_fired_already),
        cmocka_unit_test(a_second_wake_by_takes_the_place_of_the_first),
        cmocka_unit_test(a_listener_leaves_the_token_that_it_stands_under),
        cmocka_unit_test(a_call_past_its_deadline_is_stopped_again_and_again_until_reported),
        cmocka_unit_test(a_call_without_a_deadline_waits_for_ever),
        cmocka_unit_test(a_late_success_stays_a_success),
        cmocka_unit_test(a_late_failure_keeps_its_own_value),
        cmocka_unit_test(a_report_without_a_call_out_is_refused_and_changes_nothing),
        cmocka_unit_test(a_done_without_a_call_out_changes_nothing),
        cmocka_unit_test(next_with_the_call_still_out_gives_everything_back_and_refuses),
        cmocka_unit_test(no_attempt_starts_before_the_stopped_one_is_reported),
        cmocka_unit_test(an_outer_breaker_gives_its_permit_back_on_a_refusal_and_counts_nothing),
        cmocka_unit_test(a_refused_probe_leaves_the_breaker_half_open_with_its_permit),
        cmocka_unit_test(an_outer_retry_passes_a_refusal_on),
        cmocka_unit_test(an_outer_retry_repeats_a_refusal_when_told_to),
        cmocka_unit_test(an_outer_retry_repeats_a_wait_that_an_inner_timeout_ended),
        cmocka_unit_test(an_outer_retry_repeats_a_call_that_an_inner_timeout_cut_whatever_it_says),
        cmocka_unit_test(a_success_after_an_inner_timeout_is_an_ordinary_success),
        cmocka_unit_test(a_failure_after_an_inner_timeout_is_an_ordinary_failure),
        cmocka_unit_test(a_breaker_counts_a_call_that_an_inner_timeout_cut_as_failed),
        cmocka_unit_test(a_breaker_ignores_a_call_that_the_caller_cancelled),
        cmocka_unit_test(a_breaker_ignores_a_call_cancelled_before_the_inner_timeout_cut_it),
        cmocka_unit_test(a_result_replaced_inside_an_inner_timeout_is_passed_on),
        cmocka_unit_test(a_wait_ended_by_the_callers_own_deadline_is_not_repeated),
        cmocka_unit_test(a_wait_that_was_cancelled_is_not_repeated),
        cmocka_unit_test(a_total_timeout_ends_the_retry_inside_it),
        cmocka_unit_test(abandon_at_any_point_gives_everything_back_exactly_once),
        cmocka_unit_test(abandon_before_the_first_step_touches_no_layer),
        cmocka_unit_test(abandon_after_done_changes_nothing),
        cmocka_unit_test(abandon_at_any_point_gives_the_breakers_permit_back_and_counts_nothing),
        cmocka_unit_test(an_abandoned_execution_is_not_woken_any_more),
        cmocka_unit_test(any_int_is_a_legal_result_of_the_call_and_passes_unchanged),
        cmocka_unit_test(a_call_that_times_out_by_itself_is_a_failure_and_not_a_refusal),
        cmocka_unit_test(random_policies_tell_the_same_story_in_every_way_and_as_the_rules_say),
        cmocka_unit_test(a_timeout_outside_the_retry_is_the_total),
        cmocka_unit_test(a_timeout_inside_the_retry_is_for_each_attempt),
        cmocka_unit_test(a_timeout_narrows_the_deadline_and_gives_the_outer_one_back),
        cmocka_unit_test(a_timeout_at_the_end_of_time_saturates),
        cmocka_unit_test(the_inner_of_two_timeouts_is_the_one_that_is_repeated),
        cmocka_unit_test(a_bad_span_is_refused_and_the_dead_timeout_refuses_calls),
        cmocka_unit_test(a_fallback_makes_the_result_of_a_failure_its_own),
        cmocka_unit_test(a_fallback_is_not_asked_after_a_success),
        cmocka_unit_test(a_fallback_that_returns_the_result_as_it_was_changes_nothing),
        cmocka_unit_test(a_fallback_also_answers_for_refusals_and_timeouts),
        cmocka_unit_test(a_fallback_for_an_inner_timeout_is_not_repeated),
        cmocka_unit_test(an_abandoned_fallback_is_not_asked),
        cmocka_unit_test(a_fallback_without_a_function_is_refused_and_refuses_calls),
        cmocka_unit_test(the_call_sees_its_attempt_and_the_ctx_comes_back_as_it_was),
        cmocka_unit_test(the_callers_ctx_is_copied_and_never_written),
        cmocka_unit_test(errno_is_what_the_call_left_whatever_the_layers_did),
        cmocka_unit_test(errno_survives_a_wait_on_a_clock_that_spoils_it),
        cmocka_unit_test(a_success_through_timeless_layers_reads_the_clock_once),
        cmocka_unit_test(a_success_at_the_second_try_does_not_read_the_clock_after_the_call),
        cmocka_unit_test(one_layer_that_reads_the_time_in_leave_gets_it_fresh),
        cmocka_unit_test(a_timeless_layer_sees_the_time_of_a_failure),
        cmocka_unit_test(a_promise_to_be_timeless_is_made_anew_at_each_enter),
        cmocka_unit_test(a_promise_to_be_timeless_ends_with_its_execution),
        cmocka_unit_test(begin_refuses_what_is_no_policy_and_the_execution_is_done_at_once),
        cmocka_unit_test(null_arguments_are_refused_and_nothing_is_touched),
        cmocka_unit_test(layers_over_nothing_refuse_with_einval),
        cmocka_unit_test(objects_that_failed_to_init_refuse_with_einval),
        cmocka_unit_test(an_execution_can_begin_again_after_it_is_done_or_abandoned),
        cmocka_unit_test(the_three_ways_may_be_mixed_in_one_execution),
        cmocka_unit_test(nothing_is_allocated_on_the_way_of_a_call),
        cmocka_unit_test(the_policy_check_lets_sound_orders_pass),
        cmocka_unit_test(the_policy_check_refuses_two_retries),
        cmocka_unit_test(the_policy_check_refuses_to_hold_a_permit_while_a_retry_sleeps),
        cmocka_unit_test(the_policy_check_refuses_a_fallback_that_hides_failures),
        cmocka_unit_test(the_policy_check_refuses_a_timeout_that_can_never_fire),
        cmocka_unit_test(the_policy_check_refuses_a_total_that_leaves_no_second_attempt),
        cmocka_unit_test(the_policy_check_refuses_what_is_no_policy),
        cmocka_unit_test(the_policy_check_does_not_look_into_objects_of_other_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
