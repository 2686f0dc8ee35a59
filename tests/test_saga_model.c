/* SPDX-License-Identifier: MIT
   test_saga_model.c: what decides in saga.h, watched through random sagas by rules that say what
   must always be and know nothing of how it comes about.

   First rsl_saga_run: each trial's calls are judged one by one. Then the log: a small world has
   parallel steps that end in any order, a far side where actions take effect or not, crashes after
   any record, and an operator; its log is kept as bytes only. Last, logs that make no sense, and
   bytes that are no log. All is seeded and in virtual time. */
#include "support/allocator.h"

#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/support.h"

/* How many random sagas. */
#ifndef SAGA_MODEL_COUNT
#define SAGA_MODEL_COUNT 10000
#endif

#define START (RSL_SEC(1000) + 7)

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined __SANITIZE_THREAD__ || __has_feature(thread_sanitizer)
enum { SLOWER = 20 }; /* and no second thread to be seen */
#elif defined __SANITIZE_ADDRESS__ || __has_feature(address_sanitizer)
enum { SLOWER = 2 };
#else
enum { SLOWER = 1 };
#endif

/* Fewer where each takes so much longer. */
static uint32_t sagas_count(void)
{
    const char *loaded = getenv("LD_PRELOAD");
    bool valgrind = loaded != NULL && strstr(loaded, "vgpreload") != NULL;
    return valgrind ? SAGA_MODEL_COUNT / 20 : SAGA_MODEL_COUNT / SLOWER;
}

/* Fails the test; names the saga, from whose number all else follows. */
static uint32_t saga_now;
#define MUST(condition)                                                                        \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fail_msg("saga %u, line %d: %s", saga_now, __LINE__, #condition);                  \
        }                                                                                      \
    } while (0)

/* ------------------------------------------------------------- random sagas */

enum { STEPS_MAX = 12 };

typedef struct drawn {
    rsl_saga_def  def;
    rsl_saga_step steps[STEPS_MAX];
    char          names[STEPS_MAX][16], after[STEPS_MAX][4 * STEPS_MAX];
    bool          comes[STEPS_MAX][STEPS_MAX]; /* [i][j]: i comes before j, however far */
    int           count, pivot;                /* -1: none */
} drawn;

static uint32_t draw(seeded_random *random, uint32_t below)
{
    return seeded_random_below(random, below);
}

static bool chance(seeded_random *random, uint32_t percent)
{
    return draw(random, 100) < percent;
}

static rsl_saga_retry draw_retry(seeded_random *random)
{
    static const rsl_time first[] = {0, RSL_NONE, RSL_MS(1), RSL_MS(7)};
    static const double multiplier[] = {0, 1, 3};
    rsl_saga_retry retry = {draw(random, 4), first[draw(random, 4)], 0,
                            multiplier[draw(random, 3)]};
    if (chance(random, 20)) {
        retry.delay_max = RSL_MS(8);
    }
    return retry;
}

/* Which step comes directly after which; a pivot comes after all that stand before it in `order`,
   and before all others. */
static void draw_edges(seeded_random *random, drawn *d, const int *order, int pivot_place)
{
    static const uint32_t densities[] = {10, 30, 60};
    uint32_t kind = draw(random, 4), density = kind < 3 ? densities[kind] : 0;
    for (int k = 0; k < d->count; k++) {
        bool behind_pivot = false;
        for (int m = 0; m < k; m++) {
            bool edge = kind == 3 ? m == k - 1 : chance(random, density);
            edge = edge || k == pivot_place;
            d->comes[order[m]][order[k]] = edge;
            behind_pivot = behind_pivot || (edge && m >= pivot_place);
        }
        if (pivot_place >= 0 && k > pivot_place && !behind_pivot) {
            d->comes[order[pivot_place]][order[k]] = true;
        }
    }
}

/* `after` says what comes directly before each step; then comes[][] is closed. */
static void write_after(seeded_random *random, drawn *d)
{
    for (int j = 0; j < d->count; j++) {
        int named = 0;
        d->after[j][0] = '\0';
        for (int i = 0; i < d->count; i++) {
            if (d->comes[i][j]) {
                strcat(strcat(d->after[j], named++ > 0 ? "," : ""), d->names[i]);
            }
        }
        bool plain = j == 0 ? named == 0 : named == 1 && d->comes[j - 1][j];
        d->steps[j].after = plain && chance(random, 50) ? NULL : d->after[j];
    }
    for (int k = 0; k < d->count; k++) {
        for (int i = 0; i < d->count; i++) {
            for (int j = 0; j < d->count; j++) {
                d->comes[i][j] = d->comes[i][j] || (d->comes[i][k] && d->comes[k][j]);
            }
        }
    }
}

static void draw_step(seeded_random *random, drawn *d, int i, bool may_turn, rsl_step_fn run,
                      rsl_step_fn undo)
{
    rsl_saga_step *step = &d->steps[i];
    *step = (rsl_saga_step){.name = d->names[i], .run = run,
                            .undo = chance(random, 75) ? undo : NULL,
                            .retry = draw_retry(random), .undo_retry = draw_retry(random)};
    if (i == d->pivot) {
        step->flags = RSL_STEP_PIVOT;
        step->undo = chance(random, 30) ? undo : NULL;
    } else if (may_turn && chance(random, 25)) {
        step->flags = RSL_STEP_SAVEPOINT;
    }
    if (!may_turn || chance(random, 10)) {
        step->flags |= RSL_STEP_RETRIABLE;
    }
}

static void draw_saga(seeded_random *random, drawn *d, rsl_step_fn run, rsl_step_fn undo)
{
    int order[STEPS_MAX];
    memset(d, 0, sizeof(*d));
    d->count = 1 + (int)draw(random, STEPS_MAX);
    for (int k = 0; k < d->count; k++) { /* a random order: `after` refers both ways */
        int other = (int)draw(random, (uint32_t)k + 1);
        order[k] = order[other];
        order[other] = k;
        (void)snprintf(d->names[k], sizeof(d->names[k]), "%c%d", 'a' + k, k);
    }
    int pivot_place = chance(random, 40) ? (int)draw(random, (uint32_t)d->count) : -1;
    d->pivot = pivot_place >= 0 ? order[pivot_place] : -1;
    for (int k = 0; k < d->count; k++) {
        draw_step(random, d, order[k], pivot_place < 0 || k <= pivot_place, run, undo);
    }
    draw_edges(random, d, order, pivot_place);
    write_after(random, d);
    d->def = (rsl_saga_def){"random", 1, d->steps, (size_t)d->count, 0};
    if (chance(random, 15)) {
        d->def.deadline = RSL_MS(1 + (rsl_time)draw(random, 300));
    }
    MUST(rsl_saga_def_check(&d->def, NULL) == NULL);
}

static uint32_t attempts_of(const rsl_saga_retry *retry, uint32_t usual)
{
    return retry->attempts_max != 0 ? retry->attempts_max : usual;
}

/* The wait after that many failures. */
static rsl_time wait_of(const rsl_saga_retry *retry, uint32_t failures)
{
    double wait = retry->delay_first == RSL_NONE ? 0
                  : retry->delay_first == 0      ? (double)RSL_MS(100)
                                                 : (double)retry->delay_first;
    double max = retry->delay_max != 0 ? (double)retry->delay_max : (double)RSL_SEC(10);
    for (uint32_t i = 1; i < failures && wait < max; i++) {
        wait *= retry->multiplier > 0 ? retry->multiplier : 2;
    }
    return (rsl_time)(wait < max ? wait : max);
}

/* -------------------------------------------------------------- the trials */

enum { CALLS_MAX = 2000, GARBAGE = 99 };

typedef struct call {
    int         step;
    bool        undo, maybe, cancelled; /* cancelled: before this call's end */
    uint32_t    attempt;
    rsl_outcome outcome;
    rsl_time    at, end;
    char        key[72];
} call;

typedef struct trial {
    drawn         d;
    seeded_random random;
    virtual_clock time;
    rsl_clock     clock;
    rsl_cancel    cancel;
    uint32_t      ok_percent;
    int           fails;        /* the action that does, whenever it is not retriable (-1) */
    int           undo_fails;   /* the compensation that never works (-1) */
    int           cancel_after; /* calls (-1) */
    int           tries[STEPS_MAX];
    int           count;
    call          calls[CALLS_MAX];
} trial;

static rsl_outcome draw_bad(seeded_random *random)
{
    static const rsl_outcome bad[] = {RSL_STEP_FAIL, RSL_STEP_FAIL, RSL_STEP_RETRY,
                                      RSL_STEP_UNKNOWN, (rsl_outcome)GARBAGE};
    return bad[draw(random, RSL_COUNT(bad))];
}

static rsl_outcome trial_outcome(trial *t, int i, bool undo)
{
    if (undo) {
        bool works = i != t->undo_fails && chance(&t->random, t->ok_percent);
        return works ? RSL_STEP_OK : draw_bad(&t->random);
    }
    bool endless = (t->d.steps[i].flags & RSL_STEP_RETRIABLE) != 0;
    if (endless && ++t->tries[i] > 6) { /* else it might go on for ever */
        return RSL_STEP_OK;
    }
    bool works = i != t->fails && chance(&t->random, t->ok_percent);
    return works ? RSL_STEP_OK : draw_bad(&t->random);
}

static rsl_outcome trial_call(rsl_step *step, trial *t, bool undo)
{
    MUST(t->count < CALLS_MAX);
    call *c = &t->calls[t->count++];
    c->step = rsl_step_name(step)[0] - 'a';
    c->undo = undo;
    c->maybe = rsl_step_maybe(step);
    c->attempt = rsl_step_attempt(step);
    c->at = t->time.now;
    (void)snprintf(c->key, sizeof(c->key), "%s", rsl_step_key(step));
    MUST(rsl_step_is_undo(step) == undo);
    c->outcome = trial_outcome(t, c->step, undo);
    if (chance(&t->random, 25)) {
        t->time.now += RSL_MS(1 + (rsl_time)draw(&t->random, 20));
    }
    if (t->count == t->cancel_after) {
        rsl_cancel_fire(&t->cancel);
    }
    c->cancelled = rsl_cancel_fired(&t->cancel);
    c->end = t->time.now;
    return c->outcome;
}

static rsl_outcome trial_run(rsl_step *step, void *arg)
{
    return trial_call(step, arg, false);
}

static rsl_outcome trial_undo(rsl_step *step, void *arg)
{
    return trial_call(step, arg, true);
}

/* --------------------------------------------------------------- the judge */

typedef enum fate { NOT, WAITS, DONE, DOUBT, UNDONE } fate; /* of a step's latest round */

/* Goes through the calls of a trial and keeps what they mean by the rules of saga.h's text. */
typedef struct judge {
    const drawn *d;
    fate     fate[STEPS_MAX];
    bool     doubt[STEPS_MAX];   /* an attempt of this round may have had an effect */
    uint32_t tries[STEPS_MAX], undo_tries[STEPS_MAX]; /* in this round */
    uint32_t round[STEPS_MAX], returns[STEPS_MAX];
    rsl_time due[STEPS_MAX];
    rsl_time deadline_at, end;   /* end: of the latest call */
    bool     cancelled;          /* by then */
    bool     back, parked;       /* parked: the pivot is in doubt */
    int      target;             /* back: the savepoint; -1: all the way */
} judge;

static bool is_clean(const judge *j, int i)
{
    return j->d->steps[i].undo == NULL || j->fate[i] == NOT || j->fate[i] == UNDONE;
}

static bool is_in_scope(const judge *j, int i)
{
    return j->target < 0 || j->d->comes[j->target][i];
}

/* The pivot has begun, and has not failed. */
static bool is_committed(const judge *j)
{
    int p = j->d->pivot;
    return p >= 0 && (j->fate[p] == WAITS || j->fate[p] == DONE);
}

/* Whether deadline or cancel asked the saga to unwind, up to that time. */
static bool is_called_off(const judge *j, rsl_time at)
{
    return !is_committed(j) && (j->cancelled || j->deadline_at <= at);
}

/* The last savepoint before the step that is done and has returns left; -1: none. */
static int savepoint_before(const judge *j, int failed)
{
    int best = -1, most = -1;
    for (int s = 0; s < j->d->count; s++) {
        const rsl_saga_step *step = &j->d->steps[s];
        if (!(step->flags & RSL_STEP_SAVEPOINT) || !j->d->comes[s][failed] ||
            j->fate[s] != DONE || j->returns[s] + 1 >= attempts_of(&step->retry, 3)) {
            continue;
        }
        int before = 0;
        for (int i = 0; i < j->d->count; i++) {
            before += j->d->comes[i][s];
        }
        if (before >= most) {
            most = before;
            best = s;
        }
    }
    return best;
}

/* An action after compensations: from a savepoint, and all behind it is clean. */
static void judge_forth(judge *j)
{
    MUST(j->target >= 0);
    const rsl_saga_retry *retry = &j->d->steps[j->target].retry;
    rsl_time due = j->end + wait_of(retry, ++j->returns[j->target]);
    for (int i = 0; i < j->d->count; i++) {
        if (!j->d->comes[j->target][i]) {
            continue;
        }
        MUST(is_clean(j, i));
        j->fate[i] = NOT;
        j->doubt[i] = false;
        j->tries[i] = j->undo_tries[i] = 0;
        j->round[i]++;
        j->due[i] = due;
    }
    j->back = false;
}

static void judge_key(const judge *j, const call *c, const char *uuid)
{
    char expected[sizeof(c->key)], round[16] = "";
    if (j->round[c->step] > 0) {
        (void)snprintf(round, sizeof(round), "/%u", j->round[c->step] + 1);
    }
    (void)snprintf(expected, sizeof(expected), "%.36s/0/%s/%s%s", uuid, j->d->names[c->step],
                   c->undo ? "undo" : "run", round);
    MUST(strcmp(c->key, expected) == 0);
}

static void judge_action(judge *j, const call *c)
{
    int i = c->step;
    const rsl_saga_step *step = &j->d->steps[i];
    if (j->back) {
        judge_forth(j);
    }
    MUST(!j->parked && !is_called_off(j, c->at));
    MUST(j->fate[i] == NOT || j->fate[i] == WAITS);
    for (int k = 0; k < j->d->count; k++) {
        MUST(!j->d->comes[k][i] || j->fate[k] == DONE);
    }
    MUST(c->at >= j->due[i] && c->attempt == ++j->tries[i] && c->maybe == j->doubt[i]);
    if (c->outcome == RSL_STEP_OK) {
        j->fate[i] = DONE;
        return;
    }
    bool endless = (step->flags & RSL_STEP_RETRIABLE) != 0;
    bool again = c->outcome == RSL_STEP_RETRY && j->tries[i] < attempts_of(&step->retry, 3);
    j->doubt[i] = j->doubt[i] || endless || c->outcome != RSL_STEP_FAIL;
    if (endless || again) {
        j->fate[i] = WAITS;
        j->due[i] = c->end + wait_of(&step->retry, j->tries[i]);
        return;
    }
    j->fate[i] = j->doubt[i] ? DOUBT : NOT;
    j->parked = i == j->d->pivot && j->fate[i] == DOUBT && step->undo == NULL;
    j->back = !j->parked;
    j->target = savepoint_before(j, i);
}

static void judge_undo(judge *j, const call *c)
{
    int i = c->step;
    const rsl_saga_step *step = &j->d->steps[i];
    if (!j->back || !is_in_scope(j, i)) {
        MUST(is_called_off(j, c->at));
        j->back = true;
        j->target = -1;
    }
    MUST(!j->parked && step->undo != NULL);
    MUST(j->d->pivot < 0 || j->fate[j->d->pivot] != DONE);
    MUST(j->fate[i] == DONE || j->fate[i] == WAITS || j->fate[i] == DOUBT);
    for (int k = 0; k < j->d->count; k++) {
        MUST(!j->d->comes[i][k] || is_clean(j, k));
    }
    MUST(c->attempt == ++j->undo_tries[i] && c->maybe == (j->fate[i] != DONE));
    MUST(c->attempt <= attempts_of(&step->undo_retry, 8));
    MUST(c->attempt == 1 || c->at >= j->due[i]);
    if (c->outcome == RSL_STEP_OK) {
        j->fate[i] = UNDONE;
    } else {
        j->due[i] = c->end + wait_of(&step->undo_retry, c->attempt);
    }
}

/* Out of attempts. */
static bool is_stuck(const judge *j, int i)
{
    return !is_clean(j, i) &&
           j->undo_tries[i] == attempts_of(&j->d->steps[i].undo_retry, 8);
}

/* What is not undone is stuck, or comes before something that is. */
static void judge_parked(const judge *j)
{
    bool any = false;
    for (int i = 0; i < j->d->count; i++) {
        if (!is_in_scope(j, i) || is_clean(j, i)) {
            continue;
        }
        bool held = is_stuck(j, i);
        any = any || held;
        for (int k = 0; k < j->d->count; k++) {
            held = held || (j->d->comes[i][k] && is_stuck(j, k));
        }
        MUST(held);
    }
    MUST(any);
}

static void judge_end(judge *j, int status, rsl_time now)
{
    if (status == RSL_EUNWOUND && (!j->back || j->target >= 0)) {
        MUST(is_called_off(j, now));
        j->back = true;
        j->target = -1;
    }
    MUST(status == RSL_OK || status == RSL_EUNWOUND || status == RSL_EPARKED);
    MUST(status != RSL_OK || !j->back);
    MUST(status != RSL_EUNWOUND || !j->parked);
    for (int i = 0; i < j->d->count; i++) {
        MUST(status != RSL_OK || j->fate[i] == DONE);
        MUST(status != RSL_EUNWOUND || is_clean(j, i));
    }
    if (status == RSL_EPARKED && !j->parked) {
        MUST(j->back);
        judge_parked(j);
    }
}

/* Runs the saga once and judges it. */
static int try_saga(trial *t, int fails, int undo_fails, uint32_t ok_percent)
{
    t->fails = fails;
    t->undo_fails = undo_fails;
    t->ok_percent = ok_percent;
    t->count = 0;
    t->cancel_after = chance(&t->random, 10) ? (int)draw(&t->random, 12) : -1;
    memset(t->tries, 0, sizeof(t->tries));
    t->time = (virtual_clock){.now = START};
    t->clock = virtual_clock_as(&t->time);
    MUST(rsl_cancel_init(&t->cancel, NULL) == RSL_OK);
    rsl_ctx ctx = {0, &t->cancel, &t->clock, 0, 0};
    judge j = {.d = &t->d, .end = START, .target = -1, .deadline_at = RSL_FOREVER};
    if (t->d.def.deadline != 0) {
        j.deadline_at = START + t->d.def.deadline;
    }
    if (t->cancel_after == 0) {
        rsl_cancel_fire(&t->cancel);
        j.cancelled = true;
    }
    int status = rsl_saga_run(&t->d.def, &ctx, t);
    for (int n = 0; n < t->count; n++) {
        const call *c = &t->calls[n];
        if (c->undo) {
            judge_undo(&j, c);
        } else {
            judge_action(&j, c);
        }
        judge_key(&j, c, t->calls[0].key);
        j.end = c->end;
        j.cancelled = c->cancelled;
    }
    judge_end(&j, status, t->time.now);
    rsl_cancel_deinit(&t->cancel);
    return status;
}

/* Each saga once with chance alone, and once for each step that fails, where one compensation
   never works every second time. */
static void random_sagas_in_memory_keep_every_rule(void **state)
{
    (void)state;
    trial *t = malloc(sizeof(*t));
    assert_non_null(t);
    uint32_t ended[3] = {0, 0, 0}, count = sagas_count();
    for (saga_now = 1; saga_now <= count; saga_now++) {
        t->random.state = saga_now * UINT64_C(0x9e3779b97f4a7c15);
        draw_saga(&t->random, &t->d, trial_run, trial_undo);
        for (int fails = -1; fails < t->d.count; fails++) {
            int undo_fails = (int)draw(&t->random, 2 * (uint32_t)t->d.count);
            uint32_t ok_percent = fails < 0 ? 80 : 60 + draw(&t->random, 41);
            int status = try_saga(t, fails, undo_fails, ok_percent);
            ended[status == RSL_OK ? 0 : status == RSL_EUNWOUND ? 1 : 2]++;
        }
    }
    free(t);
    for (size_t i = 0; i < RSL_COUNT(ended); i++) { /* the trials are worth something */
        assert_true(ended[i] > count / 4);
    }
    assert_int_equal(support_live(), 0);
}

/* --------------------------------------------------------------- the world */

enum { LOG_MAX = 3000, PURPOSES_MAX = 600, OUTPUT_MAX = 7, RESOLVES_CALM = 6 };

/* A record, as a store has it. */
typedef struct entry {
    uint64_t epoch;
    uint8_t  size, data[RSL_SAGA_HEAD_ + OUTPUT_MAX];
} entry;

/* What a key was used for. */
typedef struct purpose {
    uint64_t hash;
    uint32_t round;
    uint8_t  step;
    bool     undo;
} purpose;

typedef enum call_out { NOBODY, ACTING, UNDOING } call_out;

/* A saga whose steps are parallel, and its far side. What is known of a step is a fate: DOUBT is
   all that may have had an effect. WAITS is not used. */
typedef struct world {
    const drawn          *d;
    const rsl_saga_plan_ *plan;
    rsl_saga_view_ view;
    rsl_saga_mark_ marks[STEPS_MAX];
    seeded_random  random;
    rsl_time       now, deadline_at;
    uint64_t       epoch;
    uint32_t       ok_percent, crashes_left, crash_in; /* records until then; 0: never */
    int            fails, undo_fails; /* steps, or -1 */
    uint32_t       resolves;          /* by the operator, who in the end has all work */
    bool           watched;           /* each decision is compared with one from bytes */
    bool           calm;              /* all works */
    bool           off;               /* it turned back for good */
    fate           known[STEPS_MAX];
    bool           effect[STEPS_MAX]; /* on the far side, of the action, not undone */
    bool           doubt[STEPS_MAX];  /* an attempt of this round may have had an effect */
    call_out       out[STEPS_MAX];
    uint32_t       round[STEPS_MAX];
    char           uuid[RSL_SAGA_UUID_ + 1];
    int            purposes_count, count;
    purpose        purposes[PURPOSES_MAX];
    entry          log[LOG_MAX];      /* the last of all: it is copied as far as it is used */
} world;

static void world_copy(world *to, const world *from)
{
    memcpy(to, from, offsetof(world, log) + (size_t)from->count * sizeof(entry));
    to->view.marks = to->marks;
}

static bool is_undoable(const world *w, int i)
{
    return w->d->steps[i].undo != NULL;
}

static bool nothing_is_left_of(const world *w, int i)
{
    return !is_undoable(w, i) ||
           ((w->known[i] == NOT || w->known[i] == UNDONE) && !w->effect[i] && !w->out[i]);
}

static int out_count(const world *w)
{
    int count = 0;
    for (int i = 0; i < w->d->count; i++) {
        count += w->out[i] != NOBODY;
    }
    return count;
}

/* ------------------------------------------------------- bytes and replays */

/* The first bytes of the log's records, folded into a new view. False: they do not follow. */
static bool replay(const world *w, const entry *log, int count, rsl_saga_view_ *view,
                   rsl_saga_mark_ *marks)
{
    rsl_saga_view_init_(view, marks, w->plan->count, w->deadline_at);
    for (int n = 0; n < count; n++) {
        rsl_saga_record record = {17, log[n].epoch, (uint32_t)n + 2, RSL_SAGA_RUNNING,
                                  log[n].data, log[n].size, RSL_OK};
        rsl_saga_change_ change;
        const uint8_t *rest;
        MUST(rsl_saga_change_read_(&change, &record, &rest));
        if (!rsl_saga_apply_(w->plan, view, &change)) {
            return false;
        }
    }
    return true;
}

static void same_view(const rsl_saga_view_ *a, const rsl_saga_view_ *b, uint32_t count)
{
    MUST(memcmp(&a->done, &b->done, sizeof(a->done)) == 0);
    MUST(a->back == b->back && a->abandoned == b->abandoned && a->ended == b->ended);
    MUST(a->end == b->end && a->target == b->target && a->failed == b->failed);
    MUST(a->status == b->status && a->deadline_at == b->deadline_at);
    for (uint32_t i = 0; i < count; i++) {
        const rsl_saga_mark_ *x = &a->marks[i], *y = &b->marks[i];
        MUST(x->phase == y->phase && x->undo == y->undo && x->maybe == y->maybe);
        MUST(x->attempt == y->attempt && x->failures == y->failures && x->cuts == y->cuts);
        MUST(x->round == y->round && x->returns == y->returns && x->status == y->status);
        MUST(x->epoch == y->epoch && x->next_at == y->next_at);
    }
}

static void same_next(const rsl_saga_next_ *a, const rsl_saga_next_ *b)
{
    MUST(a->verdict == b->verdict && a->step == b->step && a->target == b->target);
    MUST(a->undo == b->undo && a->out == b->out && a->stuck == b->stuck);
    MUST(a->status == b->status && a->end == b->end && a->at == b->at);
}

/* The log so far, read anew, says what the program that runs has decided. */
static void decided_alike(const world *w, const rsl_saga_next_ *next)
{
    rsl_saga_view_ view;
    rsl_saga_mark_ marks[STEPS_MAX];
    MUST(replay(w, w->log, w->count, &view, marks));
    same_view(&w->view, &view, w->plan->count);
    rsl_saga_next_ again = rsl_saga_decide_(w->plan, &view, w->now, w->epoch);
    same_next(next, &again);
}

/* ------------------------------------------------------- what must be so */

/* The key of a call was never that of another purpose, and this purpose never had another key. */
static void judge_purpose(world *w, int i, bool undo)
{
    rsl_step step;
    memset(&step, 0, sizeof(step));
    step.plan = w->plan;
    step.mark = &w->marks[i];
    step.view = &w->view;
    step.uuid = w->uuid;
    step.saga = 17;
    step.index = (uint32_t)i;
    step.undo = undo;
    const char *key = rsl_step_key(&step);
    uint64_t hash = rsl_saga_hash_((const uint8_t *)key, strlen(key));
    bool found = false;
    for (int n = 0; n < w->purposes_count; n++) {
        const purpose *p = &w->purposes[n];
        bool same = p->step == i && p->undo == undo && p->round == w->round[i];
        MUST(same == (p->hash == hash));
        found = found || same;
    }
    MUST(found == (w->marks[i].attempt > 1));
    if (!found) {
        MUST(w->purposes_count < PURPOSES_MAX);
        w->purposes[w->purposes_count++] = (purpose){hash, w->round[i], (uint8_t)i, undo};
    }
}

static bool has_begun(const world *w, int i)
{
    return w->out[i] == ACTING || w->known[i] == DOUBT || w->known[i] == DONE;
}

static void judge_action_start(const world *w, int i)
{
    int p = w->d->pivot;
    MUST(!w->view.back && !w->off && w->out[i] == NOBODY);
    MUST(p >= 0 && has_begun(w, p) ? true : w->deadline_at > w->now);
    MUST(w->known[i] == NOT || w->known[i] == DOUBT);
    MUST(w->known[i] == DOUBT || !w->effect[i]); /* not twice but under the same key */
    MUST(w->marks[i].maybe == w->doubt[i]);
    for (int k = 0; k < w->d->count; k++) {
        MUST(!w->d->comes[k][i] || (w->known[k] == DONE && w->effect[k] && !w->out[k]));
    }
}

static void judge_undo_start(const world *w, int i)
{
    MUST(w->view.back && is_undoable(w, i) && w->out[i] == NOBODY);
    MUST(w->known[i] == DONE || w->known[i] == DOUBT);
    MUST(w->marks[i].maybe == (w->known[i] == DOUBT));
    MUST(w->d->pivot < 0 || w->known[w->d->pivot] != DONE);
    for (int k = 0; k < w->d->count; k++) {
        MUST(!w->d->comes[i][k] || (nothing_is_left_of(w, k) && !w->out[k]));
    }
}

/* It goes on from a savepoint: nothing is left of what came behind it. */
static void judge_return(world *w, int target)
{
    MUST(w->known[target] == DONE && w->deadline_at > w->now && !w->off);
    for (int i = 0; i < w->d->count; i++) {
        if (!w->d->comes[target][i]) {
            continue;
        }
        MUST(nothing_is_left_of(w, i) && !w->out[i]);
        w->known[i] = NOT;
        w->effect[i] = w->doubt[i] = false;
        w->round[i]++;
    }
}

static void judge_ended(const world *w, uint32_t end)
{
    MUST(out_count(w) == 0);
    for (int i = 0; i < w->d->count; i++) {
        MUST(end != RSL_SAGA_DONE || (w->known[i] == DONE && w->effect[i]));
        MUST(end != RSL_SAGA_UNWOUND || nothing_is_left_of(w, i));
    }
    MUST(end == RSL_SAGA_DONE || end == RSL_SAGA_UNWOUND ||
         (end == RSL_SAGA_ABANDONED && w->view.abandoned));
    MUST(end != RSL_SAGA_DONE || !w->off);
}

static bool is_stuck_there(const world *w, int i)
{
    return w->marks[i].phase == RSL_SAGA_STUCK_;
}

/* Nothing can be done but by an operator: a pivot in doubt, or compensations that are stuck and
   what comes before them. */
static void judge_rest(const world *w)
{
    int stuck = 0, p = w->d->pivot;
    for (int i = 0; i < w->d->count; i++) {
        stuck += is_stuck_there(w, i);
        bool scope = w->view.target == RSL_SAGA_NO_STEP_ || w->d->comes[w->view.target][i];
        bool held = nothing_is_left_of(w, i) || is_stuck_there(w, i);
        for (int k = 0; k < w->d->count; k++) {
            held = held || (w->d->comes[i][k] && is_stuck_there(w, k));
        }
        MUST(!w->view.back || !scope || held);
    }
    MUST(stuck > 0);
    if (!w->view.back) {
        MUST(stuck == 1 && p >= 0 && is_stuck_there(w, p));
        MUST(w->known[p] == DOUBT && !is_undoable(w, p));
    }
}

/* --------------------------------------------------------- how it goes on */

/* Writes a change, reads it back from the bytes, and applies what was read. What a START begins
   is under way from here on: its record is durable. */
static void world_log(world *w, rsl_saga_change_ change)
{
    MUST(w->count < LOG_MAX);
    entry *e = &w->log[w->count++];
    rsl_saga_pen_ pen = {e->data, e->data + sizeof(e->data), false};
    rsl_saga_change_write_(&pen, &change);
    if (change.kind == RSL_SAGA_LOG_DONE_) {
        rsl_saga_put_(&pen, "output!", draw(&w->random, OUTPUT_MAX + 1));
    }
    e->size = (uint8_t)(pen.at - e->data);
    e->epoch = change.epoch;
    rsl_saga_record record = {17, e->epoch, 2, RSL_SAGA_RUNNING, e->data, e->size, RSL_OK};
    rsl_saga_change_ read;
    const uint8_t *rest = NULL;
    MUST(!pen.full && rsl_saga_change_read_(&read, &record, &rest));
    MUST(rest == e->data + RSL_SAGA_HEAD_ && read.kind == change.kind && read.undo == change.undo);
    MUST(read.step == change.step && read.status == change.status && read.at == change.at);
    MUST(read.value == change.value && read.next_at == change.next_at);
    MUST(read.epoch == change.epoch);
    MUST(rsl_saga_apply_(w->plan, &w->view, &read));

    if (change.kind == RSL_SAGA_LOG_START_) {
        MUST(w->marks[change.step].attempt == change.value);
        judge_purpose(w, change.step, change.undo);
        if (change.undo) {
            judge_undo_start(w, change.step);
        } else {
            judge_action_start(w, change.step);
        }
        w->out[change.step] = change.undo ? UNDOING : ACTING;
    } else if (change.kind == RSL_SAGA_LOG_TURN_) {
        w->off = w->off || change.value == RSL_SAGA_NO_STEP_;
    } else if (change.kind == RSL_SAGA_LOG_FORTH_) {
        judge_return(w, change.step);
    } else if (change.kind == RSL_SAGA_LOG_END_) {
        judge_ended(w, change.value);
    }
}

static rsl_outcome world_outcome(world *w, int i, bool undo)
{
    bool works = i != (undo ? w->undo_fails : w->fails) && chance(&w->random, w->ok_percent);
    if (!undo && (w->d->steps[i].flags & RSL_STEP_RETRIABLE) && w->marks[i].attempt > 6) {
        works = true;
    }
    return works || w->calm ? RSL_STEP_OK : draw_bad(&w->random);
}

/* A step that is out comes back. What it says is true; what it does not say is left to chance. */
static void world_comes_back(world *w, int i)
{
    bool undo = w->out[i] == UNDOING;
    rsl_outcome outcome = world_outcome(w, i, undo);
    bool endless = (w->d->steps[i].flags & RSL_STEP_RETRIABLE) != 0;
    w->out[i] = NOBODY;
    if (undo) {
        w->effect[i] = w->effect[i] && outcome != RSL_STEP_OK && chance(&w->random, 50);
        w->known[i] = outcome == RSL_STEP_OK ? UNDONE : w->known[i];
    } else if (outcome == RSL_STEP_OK) {
        w->effect[i] = true;
        w->known[i] = DONE;
    } else {
        bool open = endless || outcome != RSL_STEP_FAIL;
        w->effect[i] = w->effect[i] || (outcome != RSL_STEP_FAIL && chance(&w->random, 50));
        w->doubt[i] = w->doubt[i] || open;
        w->known[i] = w->doubt[i] ? DOUBT : NOT;
    }
    int status = outcome == RSL_STEP_OK ? 0 : (int)draw(&w->random, 1000) - 500;
    world_log(w, rsl_saga_outcome_change_(w->plan, &w->view, (uint32_t)i, outcome, status, w->now,
                                          w->epoch));
    MUST(w->marks[i].status == status);
}

static void world_any_comes_back(world *w)
{
    uint32_t nth = draw(&w->random, (uint32_t)out_count(w));
    for (int i = 0; i < w->d->count; i++) {
        if (w->out[i] != NOBODY && nth-- == 0) {
            world_comes_back(w, i);
            return;
        }
    }
}

/* A step that is out was never called, as rsl_sagas_close has it: it has no effect, and if it was
   the first attempt, nobody has seen its key. */
static void world_puts_off(world *w)
{
    int i = 0;
    while (w->out[i] == NOBODY) {
        i++;
    }
    bool undo = w->out[i] == UNDOING;
    w->out[i] = NOBODY;
    world_log(w, (rsl_saga_change_){RSL_SAGA_LOG_PUT_OFF_, undo, (uint16_t)i, 0, 0, w->epoch,
                                    w->now, 0});
    for (int n = 0; w->marks[i].attempt == 0 && n < w->purposes_count; n++) {
        const purpose *p = &w->purposes[n];
        if (p->step == i && p->undo == undo && p->round == w->round[i]) {
            w->purposes[n] = w->purposes[--w->purposes_count];
        }
    }
}

/* As rsl_sagas_cancel has it. */
static void world_cancel(world *w)
{
    bool can = w->view.back ? w->view.target != RSL_SAGA_NO_STEP_
                            : !rsl_saga_is_committed_(w->plan, &w->view);
    if (can && !w->view.abandoned) {
        world_log(w, (rsl_saga_change_){RSL_SAGA_LOG_TURN_, false, RSL_SAGA_NO_STEP_,
                                        RSL_ECANCELED, RSL_SAGA_NO_STEP_, w->epoch, w->now, 0});
    }
}

/* An operator's word on the first step that is stuck. Who keeps being asked has all work. */
static void world_resolve(world *w)
{
    int i = 0;
    while (!is_stuck_there(w, i)) {
        i++;
    }
    w->calm = ++w->resolves >= RESOLVES_CALM;
    uint32_t verb = draw(&w->random, 20);
    verb = verb == 0 ? RSL_SAGA_ABANDON : verb < 6 ? RSL_SAGA_SKIP : RSL_SAGA_RETRY;
    bool undo = w->marks[i].undo;
    if (verb == RSL_SAGA_SKIP) {
        w->known[i] = undo ? UNDONE : DONE;
        w->effect[i] = !undo;
    }
    world_log(w, (rsl_saga_change_){RSL_SAGA_LOG_RESOLVE_, undo, (uint16_t)i, 0, verb, w->epoch,
                                    w->now, 0});
}

/* Nothing is to be begun: something ends, time passes, or somebody has a word. */
static void world_rests(world *w, const rsl_saga_next_ *next)
{
    MUST(next->out == (out_count(w) > 0));
    if (chance(&w->random, 2)) {
        world_cancel(w);
    } else if (out_count(w) > 0 && chance(&w->random, 3)) {
        world_puts_off(w);
    } else if (rsl_saga_is_parked_(next)) {
        judge_rest(w);
        world_resolve(w);
    } else if (out_count(w) > 0 && (next->at == RSL_FOREVER || chance(&w->random, 75))) {
        w->now += chance(&w->random, 50) ? RSL_MS(draw(&w->random, 20)) : 0;
        world_any_comes_back(w);
    } else {
        MUST(next->at != RSL_FOREVER && next->at > w->now); /* else the saga is forgotten */
        w->now = next->at;
    }
}

/* The program is killed after a record, and a new one reads the log under a higher epoch. What was
   under way may have had its effect or not. */
static void world_crash(world *w)
{
    for (int i = 0; i < w->d->count; i++) {
        bool had = chance(&w->random, 50);
        if (w->out[i] == ACTING) {
            w->effect[i] = w->effect[i] || had;
            w->doubt[i] = true;
            w->known[i] = DOUBT;
        } else if (w->out[i] == UNDOING) {
            w->effect[i] = w->effect[i] && !had;
        }
        w->out[i] = NOBODY;
    }
    w->epoch += 1 + draw(&w->random, 3);
    w->now += chance(&w->random, 50) ? RSL_MS(draw(&w->random, 50)) : 0;
    w->now += chance(&w->random, 10) ? RSL_SEC(3600) : 0;
    memset(w->marks, 0xA5, sizeof(w->marks));
    MUST(replay(w, w->log, w->count, &w->view, w->marks));
    w->crash_in = w->crashes_left > 0 ? 1 + draw(&w->random, 15) : 0;
    w->crashes_left -= w->crash_in > 0;
}

static void world_lives(world *w);

/* What would have become of the saga if the program had been killed here. */
static void world_may_crash(const world *w)
{
    static world other; /* too large for a stack; it does not come here again */
    world_copy(&other, w);
    other.watched = false;
    other.crashes_left = draw(&other.random, 4);
    other.random.state = seeded_random_bits(&other.random) | 1;
    world_crash(&other);
    world_lives(&other);
}

/* To the end of the saga, through the crashes that are due. */
static void world_lives(world *w)
{
    while (!w->view.ended) {
        int count = w->count;
        rsl_saga_next_ next = rsl_saga_decide_(w->plan, &w->view, w->now, w->epoch);
        if (w->watched) {
            decided_alike(w, &next);
        }
        if (next.verdict == RSL_SAGA_REST_) {
            world_rests(w, &next);
        } else {
            world_log(w, rsl_saga_verdict_change_(&w->view, &next, w->now, w->epoch));
        }
        if (w->watched && w->count > count) {
            world_may_crash(w);
        }
        if (w->crash_in > 0 && w->count > count && --w->crash_in == 0) {
            world_crash(w);
        }
    }
}

typedef struct stage { /* what a world stands on */
    drawn           d;
    rsl_saga_plan_  plan;
    rsl_steps_      sets[RSL_SAGA_SETS_ * STEPS_MAX];
    world           w;
} stage;

/* The saga and the world of saga_now, before its first record. */
static void stage_set(stage *s)
{
    const char *step;
    seeded_random random = {saga_now * UINT64_C(0x9e3779b97f4a7c15) + 1};
    draw_saga(&random, &s->d, trial_run, trial_undo);
    MUST(rsl_saga_check_(&s->d.def, s->sets, s->sets + s->d.count, &step) == NULL);
    rsl_saga_plan_make_(&s->plan, &s->d.def, s->sets);

    memset(&s->w, 0, offsetof(world, log));
    s->w.d = &s->d;
    s->w.plan = &s->plan;
    s->w.random = random;
    s->w.now = START;
    s->w.deadline_at = s->plan.deadline == RSL_FOREVER ? RSL_FOREVER : START + s->plan.deadline;
    s->w.epoch = 1;
    s->w.ok_percent = 50 + draw(&s->w.random, 51);
    s->w.fails = (int)draw(&s->w.random, 2 * (uint32_t)s->d.count);
    s->w.undo_fails = (int)draw(&s->w.random, 4 * (uint32_t)s->d.count);
    MUST(rsl_saga_uuid_draw_(s->w.uuid));
    rsl_saga_view_init_(&s->w.view, s->w.marks, s->plan.count, s->w.deadline_at);
}

static void every_prefix_of_a_log_decides_as_the_live_run_and_survives_a_crash(void **state)
{
    (void)state;
    stage *s = malloc(sizeof(*s));
    assert_non_null(s);
    uint32_t ended[RSL_SAGA_ABANDONED + 1] = {0}, count = sagas_count();
    uint64_t records = 0;
    for (saga_now = 1; saga_now <= count; saga_now++) {
        stage_set(s);
        s->w.watched = true;
        world_may_crash(&s->w); /* with nothing but its BEGIN */
        world_lives(&s->w);
        records += (uint32_t)s->w.count;
        ended[s->w.view.end]++;
    }
    free(s);
    assert_true(records > 15 * (uint64_t)count);
    assert_true(ended[RSL_SAGA_DONE] > count / 10);
    assert_true(ended[RSL_SAGA_UNWOUND] > count / 10);
    assert_true(ended[RSL_SAGA_ABANDONED] > 0);
}

/* ------------------------------------------------------- scenes, by hand */

/* A saga whose log is told step by step. */
typedef struct scene {
    rsl_saga_plan_ plan;
    rsl_saga_step  steps[4];
    rsl_steps_     sets[RSL_SAGA_SETS_ * 4];
    rsl_saga_view_ view;
    rsl_saga_mark_ marks[4];
    rsl_time       now;
    uint64_t       epoch;
} scene;

static void scene_set(scene *s, const rsl_saga_step *steps, size_t count)
{
    rsl_saga_def def = {"scene", 1, s->steps, count, 0};
    const char *step;
    memcpy(s->steps, steps, count * sizeof(*steps));
    assert_null(rsl_saga_check_(&def, s->sets, s->sets + count, &step));
    rsl_saga_plan_make_(&s->plan, &def, s->sets);
    rsl_saga_view_init_(&s->view, s->marks, (uint32_t)count, RSL_FOREVER);
    s->now = START;
    s->epoch = 1;
}

static rsl_saga_step acts(const char *name, const char *after, unsigned flags)
{
    rsl_saga_step step = {.name = name, .run = trial_run, .undo = trial_undo, .after = after,
                          .flags = flags};
    return step;
}

/* The next record, as text; or that there is none: "awaits" a step that is out, "waits" for the
   time, "parked", "over". It is applied. */
static void expect_next(scene *s, const char *expected)
{
    char text[128];
    rsl_saga_next_ next = rsl_saga_decide_(&s->plan, &s->view, s->now, s->epoch);
    if (next.verdict == RSL_SAGA_REST_) {
        bool parked = rsl_saga_is_parked_(&next);
        assert_string_equal(s->view.ended ? "over" : parked ? "parked" : next.out ? "awaits"
                                                                                  : "waits",
                            expected);
        return;
    }
    rsl_saga_change_ change = rsl_saga_verdict_change_(&s->view, &next, s->now, s->epoch);
    rsl_saga_change_text_(text, text + sizeof(text), &change, NULL);
    assert_string_equal(text, expected);
    assert_true(rsl_saga_apply_(&s->plan, &s->view, &change));
}

/* A step that is out comes back. */
static void says(scene *s, uint32_t step, rsl_outcome outcome)
{
    rsl_saga_change_ change = rsl_saga_outcome_change_(&s->plan, &s->view, step, outcome, 0,
                                                       s->now, s->epoch);
    assert_true(rsl_saga_apply_(&s->plan, &s->view, &change));
}

static bool operator_says(scene *s, uint16_t step, rsl_saga_verb verb)
{
    rsl_saga_change_ change = {RSL_SAGA_LOG_RESOLVE_, false, step, 0, verb, s->epoch, s->now, 0};
    return rsl_saga_apply_(&s->plan, &s->view, &change);
}

static void a_and_b_before_c(scene *s)
{
    const rsl_saga_step steps[] = {acts("a", "", 0), acts("b", "", 0), acts("c", "a,b", 0)};
    scene_set(s, steps, RSL_COUNT(steps));
    expect_next(s, "START step 0, attempt 1");
    expect_next(s, "START step 1, attempt 1");
    expect_next(s, "awaits");
}

static void when_b_fails_a_is_awaited_and_then_undone_and_c_never_started(void **state)
{
    (void)state;
    scene s;
    a_and_b_before_c(&s);
    says(&s, 1, RSL_STEP_FAIL);
    expect_next(&s, "TURN back, for step 1");
    expect_next(&s, "awaits");
    says(&s, 0, RSL_STEP_OK);
    expect_next(&s, "START undo step 0, attempt 1");
    assert_false(s.marks[0].maybe);
    expect_next(&s, "awaits");
    says(&s, 0, RSL_STEP_OK);
    expect_next(&s, "END, unwound");
    expect_next(&s, "over");
}

static void when_b_fails_and_the_program_is_killed_a_is_undone_as_maybe(void **state)
{
    (void)state;
    scene s;
    a_and_b_before_c(&s);
    says(&s, 1, RSL_STEP_FAIL);
    s.epoch++; /* before it turned back, or after: the log says the same */
    expect_next(&s, "TURN back, for step 1");
    s.epoch++;
    expect_next(&s, "START undo step 0, attempt 1");
    assert_true(s.marks[0].maybe);
    s.epoch++;
    expect_next(&s, "START undo step 0, attempt 2");
    assert_true(s.marks[0].maybe);
    says(&s, 0, RSL_STEP_OK);
    expect_next(&s, "END, unwound");
}

static void fail_after_an_attempt_that_was_cut_short_is_in_doubt(void **state)
{
    (void)state;
    scene s;
    const rsl_saga_step steps[] = {acts("a", NULL, 0)};
    scene_set(&s, steps, 1);
    expect_next(&s, "START step 0, attempt 1");
    s.epoch++;
    expect_next(&s, "START step 0, attempt 2");
    assert_true(s.marks[0].maybe);
    rsl_saga_change_ change = rsl_saga_outcome_change_(&s.plan, &s.view, 0, RSL_STEP_FAIL, 7,
                                                       s.now, s.epoch);
    assert_int_equal(change.kind, RSL_SAGA_LOG_DOUBT_); /* and told as such */
    assert_int_equal(change.status, 7);
    says(&s, 0, RSL_STEP_FAIL);
    expect_next(&s, "TURN back, for step 0");
    expect_next(&s, "START undo step 0, attempt 1");
    assert_true(s.marks[0].maybe);
}

static void attempts_that_a_crash_cut_short_are_numbered_but_not_spent(void **state)
{
    (void)state;
    scene s;
    rsl_saga_step steps[] = {acts("a", NULL, 0)};
    steps[0].retry = (rsl_saga_retry){2, RSL_NONE, 0, 0};
    scene_set(&s, steps, 1);
    expect_next(&s, "START step 0, attempt 1");
    s.epoch++;
    expect_next(&s, "START step 0, attempt 2");
    s.epoch++;
    expect_next(&s, "START step 0, attempt 3");
    says(&s, 0, RSL_STEP_RETRY);
    expect_next(&s, "START step 0, attempt 4");
    says(&s, 0, RSL_STEP_RETRY);
    expect_next(&s, "TURN back, for step 0");
}

static void an_operator_s_retry_gives_all_attempts_and_skip_takes_it_for_undone(void **state)
{
    (void)state;
    scene s;
    rsl_saga_step steps[] = {acts("a", NULL, 0), acts("b", NULL, 0)};
    steps[0].undo_retry = (rsl_saga_retry){2, RSL_NONE, 0, 0};
    scene_set(&s, steps, 2);
    expect_next(&s, "START step 0, attempt 1");
    assert_false(operator_says(&s, 0, RSL_SAGA_SKIP));
    says(&s, 0, RSL_STEP_OK);
    expect_next(&s, "START step 1, attempt 1");
    says(&s, 1, RSL_STEP_FAIL);
    expect_next(&s, "TURN back, for step 1");
    for (int round = 0; round < 2; round++) {
        expect_next(&s, round == 0 ? "START undo step 0, attempt 1"
                                   : "START undo step 0, attempt 3");
        says(&s, 0, RSL_STEP_UNKNOWN);
        expect_next(&s, round == 0 ? "START undo step 0, attempt 2"
                                   : "START undo step 0, attempt 4");
        says(&s, 0, RSL_STEP_FAIL);
        expect_next(&s, "PARK undo step 0");
        expect_next(&s, "parked");
        assert_true(operator_says(&s, 0, round == 0 ? RSL_SAGA_RETRY : RSL_SAGA_SKIP));
    }
    expect_next(&s, "END, unwound");
}

static void a_parked_pivot_that_an_operator_skips_is_done(void **state)
{
    (void)state;
    scene s;
    rsl_saga_step steps[] = {acts("p", NULL, RSL_STEP_PIVOT), acts("b", NULL, RSL_STEP_RETRIABLE)};
    steps[0].undo = NULL;
    scene_set(&s, steps, 2);
    expect_next(&s, "START step 0, attempt 1");
    says(&s, 0, RSL_STEP_UNKNOWN);
    expect_next(&s, "PARK step 0");
    expect_next(&s, "parked");
    assert_true(operator_says(&s, 0, RSL_SAGA_RETRY));
    expect_next(&s, "START step 0, attempt 2");
    assert_true(s.marks[0].maybe);
    says(&s, 0, RSL_STEP_FAIL);
    expect_next(&s, "PARK step 0");
    assert_true(operator_says(&s, 0, RSL_SAGA_SKIP));
    expect_next(&s, "START step 1, attempt 1");
    says(&s, 1, RSL_STEP_OK);
    expect_next(&s, "END, done");
}

static void a_parked_pivot_that_is_called_off_cannot_be_resolved_any_more(void **state)
{
    (void)state;
    scene s;
    rsl_saga_step steps[] = {acts("a", NULL, 0), acts("p", NULL, RSL_STEP_PIVOT)};
    steps[1].undo = NULL;
    scene_set(&s, steps, 2);
    expect_next(&s, "START step 0, attempt 1");
    says(&s, 0, RSL_STEP_OK);
    expect_next(&s, "START step 1, attempt 1");
    says(&s, 1, RSL_STEP_UNKNOWN);
    expect_next(&s, "PARK step 1");
    rsl_saga_change_ turn = {RSL_SAGA_LOG_TURN_, false, RSL_SAGA_NO_STEP_, RSL_ECANCELED,
                             RSL_SAGA_NO_STEP_, s.epoch, s.now, 0};
    assert_true(rsl_saga_apply_(&s.plan, &s.view, &turn));
    assert_false(operator_says(&s, 1, RSL_SAGA_SKIP));
    assert_false(operator_says(&s, 1, RSL_SAGA_RETRY));
    expect_next(&s, "START undo step 0, attempt 1");
    says(&s, 0, RSL_STEP_OK);
    expect_next(&s, "END, unwound");
}

static void a_saga_is_not_parked_while_a_step_beside_its_savepoint_is_out(void **state)
{
    (void)state;
    scene s;
    rsl_saga_step steps[] = {acts("s", "", RSL_STEP_SAVEPOINT), acts("a", NULL, 0),
                             acts("b", NULL, 0), acts("x", "", 0)};
    steps[1].undo_retry.attempts_max = 1;
    scene_set(&s, steps, 4);
    expect_next(&s, "START step 0, attempt 1");
    expect_next(&s, "START step 3, attempt 1");
    says(&s, 0, RSL_STEP_OK);
    expect_next(&s, "START step 1, attempt 1");
    says(&s, 1, RSL_STEP_OK);
    expect_next(&s, "START step 2, attempt 1");
    says(&s, 2, RSL_STEP_FAIL);
    expect_next(&s, "TURN back, for step 2, to step 0");
    expect_next(&s, "START undo step 1, attempt 1");
    says(&s, 1, RSL_STEP_FAIL);
    s.now += RSL_SEC(1);
    expect_next(&s, "PARK undo step 1");
    expect_next(&s, "awaits");
    says(&s, 3, RSL_STEP_OK);
    expect_next(&s, "parked");
    assert_true(operator_says(&s, 1, RSL_SAGA_SKIP));
    expect_next(&s, "FORTH again, from step 0");
    expect_next(&s, "waits");
    s.now += RSL_SEC(1);
    expect_next(&s, "START step 1, attempt 1");
    assert_int_equal(s.marks[1].round, 1);
}

static void an_abandoned_saga_ends_when_what_is_out_is_back(void **state)
{
    (void)state;
    scene s;
    a_and_b_before_c(&s);
    rsl_saga_change_ abandon = {RSL_SAGA_LOG_RESOLVE_, false, RSL_SAGA_NO_STEP_, 0,
                                RSL_SAGA_ABANDON, s.epoch, s.now, 0};
    assert_true(rsl_saga_apply_(&s.plan, &s.view, &abandon));
    expect_next(&s, "awaits");
    says(&s, 0, RSL_STEP_OK);
    expect_next(&s, "awaits");
    says(&s, 1, RSL_STEP_FAIL);
    expect_next(&s, "END, abandoned");
    expect_next(&s, "over");
}

/* Applies the change to a copy of the scene. */
static bool follows(const scene *s, int kind, bool undo, uint32_t step, uint32_t value)
{
    scene copy = *s;
    copy.view.marks = copy.marks;
    rsl_saga_change_ change = {(uint8_t)kind, undo, (uint16_t)step, 0, value, 1, START, 0};
    return rsl_saga_apply_(&copy.plan, &copy.view, &change);
}

/* Of the outcomes of a step's action, how many can follow. */
static int outcomes_that_follow(const scene *s, bool undo, uint32_t step)
{
    return follows(s, RSL_SAGA_LOG_DONE_, undo, step, 0) +
           follows(s, RSL_SAGA_LOG_RETRY_, undo, step, 0) +
           follows(s, RSL_SAGA_LOG_FAIL_, undo, step, 0) +
           follows(s, RSL_SAGA_LOG_DOUBT_, undo, step, 0);
}

static void records_that_no_program_writes_there_are_refused(void **state)
{
    (void)state;
    enum { NO = RSL_SAGA_NO_STEP_, START_ = RSL_SAGA_LOG_START_, TURN = RSL_SAGA_LOG_TURN_,
           FORTH = RSL_SAGA_LOG_FORTH_, PARK = RSL_SAGA_LOG_PARK_, END = RSL_SAGA_LOG_END_,
           RESOLVE = RSL_SAGA_LOG_RESOLVE_ };
    scene s;
    const rsl_saga_step steps[] = {acts("a", NULL, RSL_STEP_SAVEPOINT), acts("b", NULL, 0)};
    scene_set(&s, steps, 2);
    assert_true(follows(&s, START_, false, 0, 1));
    for (uint32_t step = 0; step < 4; step++) {
        assert_false(follows(&s, START_, true, step, 1));
        assert_int_equal(outcomes_that_follow(&s, false, step % 2 == 0 ? step : NO), 0);
        assert_false(follows(&s, PARK, step < 2, step, 0));
        assert_false(follows(&s, RSL_SAGA_LOG_PUT_OFF_, false, step % 2 == 0 ? step : NO, 0));
        assert_false(follows(&s, FORTH, false, step, 0));
        assert_false(follows(&s, RESOLVE, false, step, RSL_SAGA_SKIP));
    }
    assert_false(follows(&s, START_, false, 2, 1));
    assert_false(follows(&s, START_, false, NO, 1));
    assert_false(follows(&s, FORTH, false, NO, 0));
    assert_false(follows(&s, RESOLVE, false, NO, RSL_SAGA_RETRY));
    assert_false(follows(&s, TURN, false, 0, 2));
    assert_true(follows(&s, TURN, false, 0, 1));
    assert_false(follows(&s, 0, false, 0, 1));
    assert_false(follows(&s, RSL_SAGA_LOG_BEGIN_, false, 0, 1));
    assert_false(follows(&s, RSL_SAGA_LOG_LAST_ + 1, false, 0, 1));

    expect_next(&s, "START step 0, attempt 1");
    assert_int_equal(outcomes_that_follow(&s, false, 0), 4);
    assert_int_equal(outcomes_that_follow(&s, true, 0), 0);
    assert_true(follows(&s, RSL_SAGA_LOG_PUT_OFF_, false, 0, 0));
    assert_false(follows(&s, RSL_SAGA_LOG_PUT_OFF_, true, 0, 0));
    says(&s, 0, RSL_STEP_OK);
    assert_false(follows(&s, START_, false, 0, 2));
    expect_next(&s, "START step 1, attempt 1");
    says(&s, 1, RSL_STEP_FAIL);
    assert_false(follows(&s, START_, false, 1, 2));
    assert_false(follows(&s, START_, true, 1, 1));
    assert_false(follows(&s, FORTH, false, 0, 0));
    expect_next(&s, "TURN back, for step 1, to step 0");
    assert_false(follows(&s, FORTH, false, 1, 0));
    assert_true(follows(&s, FORTH, false, 0, 0));
    assert_true(follows(&s, TURN, false, NO, NO));
    rsl_saga_change_ turn = {TURN, false, NO, 0, NO, 1, START, 0};
    assert_true(rsl_saga_apply_(&s.plan, &s.view, &turn));
    assert_false(follows(&s, TURN, false, NO, NO));
    assert_false(follows(&s, FORTH, false, 0, 0));
    expect_next(&s, "START undo step 0, attempt 1");
    assert_int_equal(outcomes_that_follow(&s, true, 0), 2); /* DONE and RETRY */
    assert_int_equal(outcomes_that_follow(&s, false, 0), 0);
    says(&s, 0, RSL_STEP_OK);
    expect_next(&s, "END, unwound");
    assert_false(follows(&s, END, false, NO, RSL_SAGA_UNWOUND));
    assert_false(follows(&s, RESOLVE, false, NO, RSL_SAGA_ABANDON));
}

/* ---------------------------------------------------------- storms of crashes */

/* The saga of one step (behind a first one that is done) that is killed in each of its attempts,
   in the direction given. The number of times that it was begun. */
static uint32_t killed_always(unsigned flags, bool has_undo, bool in_undo, rsl_saga_next_ *last)
{
    rsl_saga_step steps[] = {
        {.name = "a", .run = trial_run, .undo = trial_undo},
        {.name = "b", .run = trial_run, .undo = has_undo ? trial_undo : NULL, .flags = flags}};
    rsl_saga_def def = {"storm", 1, steps, RSL_COUNT(steps), 0};
    rsl_steps_ sets[RSL_SAGA_SETS_ * 2];
    const char *step;
    rsl_saga_plan_ plan;
    rsl_saga_view_ view;
    rsl_saga_mark_ marks[2];
    assert_null(rsl_saga_check_(&def, sets, sets + 2, &step));
    rsl_saga_plan_make_(&plan, &def, sets);
    rsl_saga_view_init_(&view, marks, 2, RSL_FOREVER);
    uint32_t begun = 0;
    uint64_t epoch = 1;
    for (;;) {
        *last = rsl_saga_decide_(&plan, &view, START, epoch);
        if (last->verdict == RSL_SAGA_REST_ || begun == 1000) {
            return begun;
        }
        rsl_saga_change_ change = rsl_saga_verdict_change_(&view, last, START, epoch);
        assert_true(rsl_saga_apply_(&plan, &view, &change));
        if (change.kind != RSL_SAGA_LOG_START_) {
            continue;
        }
        if (change.step == 1 && change.undo == in_undo) {
            begun++;
            epoch++;
            continue;
        }
        rsl_outcome outcome = change.step == 1 && !change.undo ? RSL_STEP_UNKNOWN : RSL_STEP_OK;
        change = rsl_saga_outcome_change_(&plan, &view, change.step, outcome, 0, START, epoch);
        assert_true(rsl_saga_apply_(&plan, &view, &change));
    }
}

static void an_action_that_always_kills_its_program_is_given_up_and_undone(void **state)
{
    (void)state;
    rsl_saga_next_ last;
    saga_now = 0;
    assert_int_equal(killed_always(0, true, false, &last), RSL_SAGA_CUTS_MAX_ + 1);
    assert_false(rsl_saga_is_parked_(&last)); /* it has ended */
    assert_int_equal(killed_always(0, false, false, &last), RSL_SAGA_CUTS_MAX_ + 1);
    assert_false(rsl_saga_is_parked_(&last));
}

static void a_pivot_that_always_kills_its_program_is_parked(void **state)
{
    (void)state;
    rsl_saga_next_ last;
    assert_int_equal(killed_always(RSL_STEP_PIVOT, false, false, &last), RSL_SAGA_CUTS_MAX_ + 1);
    assert_true(rsl_saga_is_parked_(&last));
}

static void a_compensation_that_always_kills_its_program_is_parked(void **state)
{
    (void)state;
    rsl_saga_next_ last;
    assert_int_equal(killed_always(0, true, true, &last), RSL_SAGA_CUTS_MAX_ + 1);
    assert_true(rsl_saga_is_parked_(&last));
}

static void a_retriable_step_outlasts_any_number_of_crashes(void **state)
{
    (void)state;
    rsl_saga_next_ last;
    assert_int_equal(killed_always(RSL_STEP_RETRIABLE, true, false, &last), 1000);
}

/* ------------------------------------------------- logs that make no sense */

/* A step that is out under that epoch, or count: none. */
static uint32_t find_out(const rsl_saga_plan_ *plan, const rsl_saga_view_ *view, uint64_t epoch)
{
    uint32_t i = 0;
    while (i < plan->count && (view->marks[i].epoch != epoch ||
                               (view->marks[i].phase != RSL_SAGA_OUT_ &&
                                view->marks[i].phase != RSL_SAGA_UNDO_OUT_))) {
        i++;
    }
    return i;
}

/* From a view that a senseless log may have led to, all verdicts can be applied, and they come to
   rest. */
static void goes_on_from(const world *w, rsl_saga_view_ *view)
{
    rsl_time now = w->now;
    uint64_t epoch = w->epoch + 1;
    for (int n = 0; n < 400 && !view->ended; n++) {
        rsl_saga_next_ next = rsl_saga_decide_(w->plan, view, now, epoch);
        rsl_saga_change_ change;
        uint32_t out = find_out(w->plan, view, epoch);
        if (next.verdict != RSL_SAGA_REST_) {
            change = rsl_saga_verdict_change_(view, &next, now, epoch);
            MUST(rsl_saga_apply_(w->plan, view, &change));
        } else if (out < w->plan->count) {
            change = rsl_saga_outcome_change_(w->plan, view, out, RSL_STEP_OK, 0, now, epoch);
            MUST(rsl_saga_apply_(w->plan, view, &change));
        } else if (next.at == RSL_FOREVER) {
            return; /* parked, or what it waits for is not there: the log was a lie */
        } else {
            now = next.at;
        }
    }
    MUST(view->ended);
}

/* True: the records can follow one another. */
static bool bear(const world *w, const entry *log, int count)
{
    rsl_saga_view_ view;
    rsl_saga_mark_ marks[STEPS_MAX];
    if (!replay(w, log, count, &view, marks)) {
        return false;
    }
    goes_on_from(w, &view);
    return true;
}

/* Each record of each log left out, put twice, and swapped with the next one. */
static void a_log_with_a_record_out_of_its_place_is_refused_or_borne(void **state)
{
    (void)state;
    static entry log[LOG_MAX + 1];
    stage *s = malloc(sizeof(*s));
    assert_non_null(s);
    uint32_t borne = 0, refused = 0, count = sagas_count() / 5;
    for (saga_now = 1; saga_now <= count; saga_now++) {
        stage_set(s);
        world_lives(&s->w);
        size_t whole = (size_t)s->w.count;
        for (size_t n = 0; n < whole; n++) {
            const entry *from = s->w.log;
            memcpy(log, from, n * sizeof(entry));
            memcpy(log + n, from + n + 1, (whole - n - 1) * sizeof(entry));
            *(bear(&s->w, log, (int)whole - 1) ? &borne : &refused) += 1;
            log[n] = from[n];
            memcpy(log + n + 1, from + n, (whole - n) * sizeof(entry));
            *(bear(&s->w, log, (int)whole + 1) ? &borne : &refused) += 1;
            memcpy(log, from, whole * sizeof(entry));
            log[n] = from[(n + 1) % whole];
            log[(n + 1) % whole] = from[n];
            *(bear(&s->w, log, (int)whole) ? &borne : &refused) += 1;
        }
    }
    free(s);
    assert_true(refused > borne); /* most are told by their sense alone, without their numbers */
}

/* A change of any kind and any numbers. */
static rsl_saga_change_ draw_change(seeded_random *random)
{
    rsl_saga_change_ change = {
        (uint8_t)(2 + draw(random, 11)), chance(random, 40), (uint16_t)draw(random, STEPS_MAX + 2),
        (int32_t)draw(random, 100) - 50, draw(random, STEPS_MAX + 2), 1 + draw(random, 2),
        START, START + RSL_MS(draw(random, 3)) - RSL_MS(1)};
    if (chance(random, 10)) change.step = (uint16_t)seeded_random_bits(random);
    if (chance(random, 10)) change.value = (uint32_t)seeded_random_bits(random);
    if (chance(random, 10)) change.step = RSL_SAGA_NO_STEP_;
    if (chance(random, 20)) change.value = RSL_SAGA_NO_STEP_;
    if (chance(random, 5)) change.next_at = (rsl_time)seeded_random_bits(random);
    if (chance(random, 2)) change.kind = (uint8_t)seeded_random_bits(random);
    return change;
}

/* Senseless records among those of a saga that goes on. */
static void any_changes_in_any_order_are_refused_or_borne(void **state)
{
    (void)state;
    static world before;
    stage *s = malloc(sizeof(*s));
    assert_non_null(s);
    uint32_t applied = 0, count = sagas_count();
    for (saga_now = 1; saga_now <= count; saga_now++) {
        stage_set(s);
        world *w = &s->w;
        for (int n = 0; n < 40; n++) {
            rsl_saga_next_ next = rsl_saga_decide_(w->plan, &w->view, w->now, w->epoch);
            rsl_saga_change_ change = draw_change(&w->random);
            uint32_t out = find_out(w->plan, &w->view, w->epoch);
            if (chance(&w->random, 50) && next.verdict != RSL_SAGA_REST_) {
                change = rsl_saga_verdict_change_(&w->view, &next, w->now, w->epoch);
            } else if (chance(&w->random, 50) && out < w->plan->count) {
                change = rsl_saga_outcome_change_(w->plan, &w->view, out, draw_bad(&w->random), 0,
                                                  w->now, w->epoch);
            }
            bool ends = change.kind == RSL_SAGA_LOG_END_ ||
                        (change.kind == RSL_SAGA_LOG_RESOLVE_ && change.value == RSL_SAGA_ABANDON);
            if (ends && n < 35) {
                continue;
            }
            world_copy(&before, w);
            if (rsl_saga_apply_(w->plan, &w->view, &change)) {
                applied++;
            } else {
                world_copy(w, &before);
            }
        }
        goes_on_from(w, &w->view);
    }
    free(s);
    assert_true(applied > 8 * count);
}

/* ----------------------------------------------------- bytes that are no log */

/* Reads the bytes in every way that there is; in a block of their own, so that a sanitizer sees
   the first byte too far. */
static void read_all_ways(seeded_random *random, const uint8_t *bytes, size_t size,
                          const rsl_saga_record *other)
{
    uint8_t *block = malloc(size > 0 ? size : 1);
    assert_non_null(block);
    memcpy(block, bytes, size);
    rsl_saga_begin_ begin;
    if (rsl_saga_begin_read_(&begin, block, size)) {
        MUST(begin.shape >= block && begin.shape + begin.shape_size <= block + size);
        MUST(begin.payload + begin.payload_size == block + size);
        MUST(begin.key[0] != '\0' && strlen(begin.key) <= RSL_SAGA_KEY_MAX);
    }
    rsl_saga_plan_ *plan = NULL;
    int status = rsl_saga_plan_read_(&plan, block, size);
    MUST(status == RSL_OK || status == RSL_ECORRUPT);
    MUST((status == RSL_OK) == (plan != NULL));
    RSL_FREE(plan);
    rsl_saga_record record = {17, 1, 1, RSL_SAGA_RUNNING, block, size, RSL_OK};
    rsl_saga_change_ change;
    const uint8_t *rest;
    if (rsl_saga_change_read_(&change, &record, &rest)) {
        MUST(rest == block + RSL_SAGA_HEAD_ && size >= RSL_SAGA_HEAD_);
    }
    char whole[2048], part[64];
    size_t room = 1 + draw(random, sizeof(part));
    MUST(rsl_saga_record_text(&record, other, whole, sizeof(whole)) == whole);
    MUST(rsl_saga_record_text(&record, other, part, room) == part);
    MUST(strlen(whole) > 0 && strlen(whole) < sizeof(whole) - 1 && strlen(part) < room);
    MUST(strncmp(whole, part, strlen(part)) == 0);
    MUST(strlen(part) == room - 1 || strcmp(whole, part) == 0);
    if (other->data != block) {
        (void)rsl_saga_record_text(other, &record, whole, sizeof(whole));
    }
    free(block);
}

/* The BEGIN of a saga, as the runtime writes it; its shape is at *shape. */
static size_t begin_of(const stage *s, uint8_t *bytes, size_t room, size_t *shape,
                       size_t *shape_size)
{
    static uint8_t text[RSL_SAGA_SHAPE_MAX_];
    rsl_saga_pen_ pen = {text, text + sizeof(text), false};
    rsl_saga_put_shape_(&pen, &s->plan);
    rsl_saga_begin_ begin = {START, s->w.deadline_at, text, (const uint8_t *)"payload",
                             (size_t)(pen.at - text), 7, "key of odd \x01 bytes/\xff"};
    size_t size = rsl_saga_begin_size_(begin.shape_size, begin.key, 7);
    MUST(!pen.full && size <= room);
    rsl_saga_begin_write_(&begin, bytes, size);
    *shape = 21;
    *shape_size = begin.shape_size;
    MUST(memcmp(bytes + *shape, text, begin.shape_size) == 0);
    return size;
}

/* A shape read anew is the plan that it was made of, but for what is not in it. */
static void same_plan(const rsl_saga_plan_ *a, const rsl_saga_plan_ *b)
{
    MUST(strcmp(a->name, b->name) == 0 && a->version == b->version && a->count == b->count);
    MUST(a->pivot == b->pivot);
    for (uint32_t i = 0; i < a->count; i++) {
        const rsl_saga_step *x = &a->steps[i], *y = &b->steps[i];
        MUST(strcmp(x->name, y->name) == 0 && x->flags == y->flags);
        MUST((x->undo != NULL) == (y->undo != NULL));
    }
    MUST(memcmp(a->direct, b->direct, a->count * sizeof(rsl_steps_)) == 0);
    MUST(memcmp(a->before, b->before, a->count * sizeof(rsl_steps_)) == 0);
}

static void a_beginning_is_read_as_it_was_written_and_refused_when_cut(void **state)
{
    (void)state;
    static uint8_t bytes[4096];
    stage *s = malloc(sizeof(*s));
    assert_non_null(s);
    uint32_t count = sagas_count() / 20;
    for (saga_now = 1; saga_now <= count; saga_now++) {
        stage_set(s);
        size_t shape, shape_size, size = begin_of(s, bytes, sizeof(bytes), &shape, &shape_size);
        rsl_saga_begin_ begin;
        MUST(rsl_saga_begin_read_(&begin, bytes, size));
        MUST(begin.at == START && begin.deadline_at == s->w.deadline_at);
        MUST(begin.shape == bytes + shape && begin.shape_size == shape_size);
        MUST(strcmp(begin.key, "key of odd \x01 bytes/\xff") == 0);
        MUST(begin.payload_size == 7 && memcmp(begin.payload, "payload", 7) == 0);
        rsl_saga_plan_ *plan = NULL;
        MUST(rsl_saga_plan_read_(&plan, begin.shape, begin.shape_size) == RSL_OK);
        same_plan(plan, &s->plan);
        RSL_FREE(plan);
        for (size_t cut = 0; cut < size - 7; cut++) { /* without its payload it is one as well */
            MUST(!rsl_saga_begin_read_(&begin, bytes, cut));
        }
        for (size_t cut = 0; cut < shape_size; cut++) {
            MUST(rsl_saga_plan_read_(&plan, bytes + shape, cut) == RSL_ECORRUPT);
        }
        support_fail_nth(1);
        MUST(rsl_saga_plan_read_(&plan, bytes + shape, shape_size) == RSL_ENOMEM);
        support_fail_never();
    }
    free(s);
    assert_int_equal(support_live(), 0);
}

/* Changes at random, of a bit, a byte or the length; and bytes that are random alone. */
static size_t spoil(seeded_random *random, uint8_t *bytes, size_t size)
{
    for (uint32_t n = 1 + draw(random, 3); n > 0 && size > 0; n--) {
        uint8_t *at = bytes + draw(random, (uint32_t)size);
        switch (draw(random, 4)) {
        case 0: *at ^= (uint8_t)(1u << draw(random, 8)); break;
        case 1: *at = (uint8_t)seeded_random_bits(random); break;
        case 2: *at = chance(random, 50) ? 0 : 0xff; break;
        default: size = (size_t)(at - bytes); break;
        }
    }
    return size;
}

static void spoiled_and_random_bytes_are_read_without_harm(void **state)
{
    (void)state;
    static uint8_t bytes[4096], other[4096];
    stage *s = malloc(sizeof(*s));
    assert_non_null(s);
    uint32_t count = sagas_count();
    for (saga_now = 1; saga_now <= count; saga_now++) {
        if (saga_now % 8 == 1) {
            stage_set(s);
        }
        seeded_random *random = &s->w.random;
        size_t shape, shape_size, size = begin_of(s, other, sizeof(other), &shape, &shape_size);
        rsl_saga_record begin = {17, 1, 1, RSL_SAGA_RUNNING, other, size, RSL_OK};
        memcpy(bytes, other, size);
        read_all_ways(random, bytes, spoil(random, bytes, size), &begin);
        memcpy(bytes, other + shape, shape_size);
        read_all_ways(random, bytes, spoil(random, bytes, shape_size), &begin);
        rsl_saga_change_ change = draw_change(random);
        rsl_saga_pen_ pen = {bytes, bytes + sizeof(bytes), false};
        rsl_saga_change_write_(&pen, &change);
        read_all_ways(random, bytes, RSL_SAGA_HEAD_, &begin);
        read_all_ways(random, bytes, spoil(random, bytes, RSL_SAGA_HEAD_), &begin);
        size_t length = draw(random, 200);
        for (size_t i = 0; i < length; i++) {
            bytes[i] = (uint8_t)(seeded_random_bits(random) >> 40);
        }
        bytes[0] = chance(random, 50) ? (uint8_t)draw(random, 12) : bytes[0];
        read_all_ways(random, bytes, length, &begin);
        begin.size = spoil(random, other, size);
        read_all_ways(random, bytes, length, &begin);
    }
    free(s);
    assert_int_equal(support_live(), 0);
}

/* ------------------------------------------------------------------- texts */

static void expect_text(rsl_saga_change_ change, const rsl_saga_record *begin,
                        const char *expected)
{
    uint8_t bytes[RSL_SAGA_HEAD_];
    char text[256];
    rsl_saga_pen_ pen = {bytes, bytes + sizeof(bytes), false};
    rsl_saga_change_write_(&pen, &change);
    rsl_saga_record record = {17, 1, 2, RSL_SAGA_RUNNING, bytes, sizeof(bytes), RSL_OK};
    assert_ptr_equal(rsl_saga_record_text(&record, begin, text, sizeof(text)), text);
    assert_string_equal(text, expected);
    assert_true(rsl_saga_record_time(&record) == (strcmp(expected, "?") == 0 ? 0 : change.at));
}

static void a_record_s_text_says_what_it_means(void **state)
{
    (void)state;
    static uint8_t bytes[4096];
    rsl_saga_step steps[] = {{.name = "reserve"}, {.name = "charge"}};
    rsl_saga_def def = {"order", 3, steps, 2, 0};
    rsl_steps_ sets[RSL_SAGA_SETS_ * 2];
    rsl_saga_plan_ plan;
    memset(sets, 0, sizeof(sets));
    rsl_saga_plan_make_(&plan, &def, sets);
    uint8_t shape[200];
    rsl_saga_pen_ pen = {shape, shape + sizeof(shape), false};
    rsl_saga_put_shape_(&pen, &plan);
    rsl_saga_begin_ said = {START, RSL_FOREVER, shape, shape, (size_t)(pen.at - shape), 5, "k-1"};
    size_t size = rsl_saga_begin_size_(said.shape_size, said.key, 5);
    rsl_saga_begin_write_(&said, bytes, size);
    rsl_saga_record begin = {17, 1, 1, RSL_SAGA_RUNNING, bytes, size, RSL_OK};
    char text[256];
    assert_string_equal(rsl_saga_record_text(&begin, NULL, text, sizeof(text)),
                        "BEGIN order version 3, key k-1, payload of 5 bytes");
    assert_true(rsl_saga_record_time(&begin) == START);
    assert_true(rsl_saga_record_time(NULL) == 0);
    begin.size = 4;
    assert_true(rsl_saga_record_time(&begin) == 0);
    begin.size = size;

    enum { NO = RSL_SAGA_NO_STEP_ };
    expect_text((rsl_saga_change_){2, false, 1, 0, 2, 1, 0, 0}, &begin, "START charge, attempt 2");
    expect_text((rsl_saga_change_){2, true, 0, 0, 1, 1, 0, 0}, &begin,
                "START undo reserve, attempt 1");
    expect_text((rsl_saga_change_){3, false, 1, 0, 0, 1, 0, 0}, NULL, "DONE step 1");
    expect_text((rsl_saga_change_){4, true, 0, -5, 0, 1, 0, 9}, &begin,
                "RETRY undo reserve, status -5");
    expect_text((rsl_saga_change_){5, false, 1, 42, 0, 1, 0, 0}, &begin, "FAIL charge, status 42");
    expect_text((rsl_saga_change_){6, false, 7, INT32_MIN, 0, 1, 0, 0}, &begin,
                "DOUBT step 7, status -2147483648");
    expect_text((rsl_saga_change_){7, false, 1, 42, NO, 1, 0, 0}, &begin,
                "TURN back, for charge, status 42");
    expect_text((rsl_saga_change_){7, false, NO, RSL_ETIMEOUT, 0, 1, 0, 0}, &begin,
                "TURN back, to reserve, status -7304");
    expect_text((rsl_saga_change_){8, false, 0, 0, 0, 1, 0, 9}, &begin,
                "FORTH again, from reserve");
    expect_text((rsl_saga_change_){9, true, 0, 0, 0, 1, 0, 0}, &begin, "PARK undo reserve");
    expect_text((rsl_saga_change_){10, true, 0, 0, RSL_SAGA_SKIP, 1, 0, 0}, &begin,
                "RESOLVE undo reserve: SKIP");
    expect_text((rsl_saga_change_){10, false, NO, 0, RSL_SAGA_ABANDON, 1, 0, 0}, &begin,
                "RESOLVE: ABANDON");
    expect_text((rsl_saga_change_){10, false, NO, 0, 3, 1, 0, 0}, &begin, "RESOLVE: ?");
    expect_text((rsl_saga_change_){11, false, NO, 0, RSL_SAGA_UNWOUND, 1, 0, 0}, &begin,
                "END, unwound");
    expect_text((rsl_saga_change_){11, false, NO, 0, 6, 1, 0, 0}, &begin, "END, ?");
    expect_text((rsl_saga_change_){12, true, 1, 0, 0, 1, 0, 0}, &begin, "PUT OFF undo charge");
    expect_text((rsl_saga_change_){13, false, NO, 0, 0, 1, 0, 0}, &begin, "?");
    expect_text((rsl_saga_change_){0, false, NO, 0, 0, 1, 0, 0}, &begin, "?");
}

static void a_text_without_a_record_or_room_is_borne(void **state)
{
    (void)state;
    char text[8] = "as was";
    rsl_saga_record record = {17, 1, 1, RSL_SAGA_RUNNING, NULL, 0, RSL_OK};
    assert_null(rsl_saga_record_text(&record, NULL, NULL, 0));
    assert_ptr_equal(rsl_saga_record_text(&record, NULL, text, 0), text);
    assert_string_equal(text, "as was");
    assert_string_equal(rsl_saga_record_text(NULL, NULL, text, sizeof(text)), "?");
    assert_string_equal(rsl_saga_record_text(&record, &record, text, sizeof(text)), "?");
    record.data = "";
    record.size = 1;
    assert_string_equal(rsl_saga_record_text(&record, &record, text, sizeof(text)), "?");
    assert_string_equal(rsl_saga_record_text(&record, NULL, text, 1), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_sagas_in_memory_keep_every_rule),
        cmocka_unit_test(every_prefix_of_a_log_decides_as_the_live_run_and_survives_a_crash),
        cmocka_unit_test(when_b_fails_a_is_awaited_and_then_undone_and_c_never_started),
        cmocka_unit_test(when_b_fails_and_the_program_is_killed_a_is_undone_as_maybe),
        cmocka_unit_test(fail_after_an_attempt_that_was_cut_short_is_in_doubt),
        cmocka_unit_test(attempts_that_a_crash_cut_short_are_numbered_but_not_spent),
        cmocka_unit_test(an_operator_s_retry_gives_all_attempts_and_skip_takes_it_for_undone),
        cmocka_unit_test(a_parked_pivot_that_an_operator_skips_is_done),
        cmocka_unit_test(a_parked_pivot_that_is_called_off_cannot_be_resolved_any_more),
        cmocka_unit_test(a_saga_is_not_parked_while_a_step_beside_its_savepoint_is_out),
        cmocka_unit_test(an_abandoned_saga_ends_when_what_is_out_is_back),
        cmocka_unit_test(records_that_no_program_writes_there_are_refused),
        cmocka_unit_test(an_action_that_always_kills_its_program_is_given_up_and_undone),
        cmocka_unit_test(a_pivot_that_always_kills_its_program_is_parked),
        cmocka_unit_test(a_compensation_that_always_kills_its_program_is_parked),
        cmocka_unit_test(a_retriable_step_outlasts_any_number_of_crashes),
        cmocka_unit_test(a_log_with_a_record_out_of_its_place_is_refused_or_borne),
        cmocka_unit_test(any_changes_in_any_order_are_refused_or_borne),
        cmocka_unit_test(a_beginning_is_read_as_it_was_written_and_refused_when_cut),
        cmocka_unit_test(spoiled_and_random_bytes_are_read_without_harm),
        cmocka_unit_test(a_record_s_text_says_what_it_means),
        cmocka_unit_test(a_text_without_a_record_or_room_is_borne),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
