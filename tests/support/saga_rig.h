/* SPDX-License-Identifier: MIT
   saga_rig.h: what the tests of sagas share: step functions that do as a script says and that
   write down how they were called.

       saga_rig rig;
       saga_rig_init(&rig);
       rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
       saga_rig_script(&rig, "b", "RF");              b's action: RETRY, then FAIL, then OK
       saga_rig_script_undo(&rig, "a", "F");          a's compensation: FAIL, then OK
       ... run it, with &rig as arg ...
       saga_rig_expect(&rig, "a b:R b?+:F -b? -a:F -a+");
       saga_rig_deinit(&rig);

   A script has a letter for each call: O, F, R, U for the four outcomes, G for a number that is
   none; the last one may be followed by * and then stands for all calls to come. Calls without a
   letter are OK. A trace has a word for each call, in the order in which they began: - before an
   undo, ? behind a maybe, + behind what is not the first attempt, and :letter if it is not OK.

   Steps may be called from any thread. Include it after saga.h, cmocka.h and support/support.h. */
#ifndef SUPPORT_SAGA_RIG_H
#define SUPPORT_SAGA_RIG_H

#include <pthread.h>

enum {
    SAGA_CALLS_MAX = 1024, SAGA_SCRIPTS_MAX = 64, SAGA_SCRIPT_MAX = 64,
    SAGA_TRACE_MAX = 8192, SAGA_KEY_TEXT_MAX = 256,
    SAGA_STATUS = 4711 /* what a call that is not OK says by rsl_step_fail */
};

/* One call, as its function saw it. */
typedef struct saga_call {
    char        name[RSL_SAGA_NAME_MAX + 1];
    char        key[SAGA_KEY_TEXT_MAX];
    bool        undo, maybe;
    uint32_t    attempt;
    uint64_t    epoch;
    rsl_saga_id saga;
    rsl_ctx     ctx;
    rsl_time    at;         /* by the ctx's clock; 0 by the real one */
    rsl_outcome outcome;
    int         began, ended; /* numbers in one order, from 1; ended 0: under way */
} saga_call;

typedef struct saga_script {
    char   name[RSL_SAGA_NAME_MAX + 1];
    bool   undo;
    char   letters[SAGA_SCRIPT_MAX];
    size_t at;
} saga_script;

typedef struct saga_rig saga_rig;
struct saga_rig {
    pthread_mutex_t lock;
    saga_call   calls[SAGA_CALLS_MAX];       /* the first ones; all are counted */
    size_t      count;
    saga_script scripts[SAGA_SCRIPTS_MAX];
    size_t      scripts_count;
    int         order;
    /* In the middle of each call, without the lock; its outcome may be changed (none). */
    void      (*during)(saga_rig *rig, rsl_step *step, rsl_outcome *outcome);
    void       *arg;                         /* for during */
};

SUPPORT_UNUSED static void saga_rig_init(saga_rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    assert_int_equal(pthread_mutex_init(&rig->lock, NULL), 0);
}

SUPPORT_UNUSED static void saga_rig_deinit(saga_rig *rig)
{
    assert_int_equal(pthread_mutex_destroy(&rig->lock), 0);
}

/* Forgets calls and scripts; during stays. */
SUPPORT_UNUSED static void saga_rig_clear(saga_rig *rig)
{
    pthread_mutex_lock(&rig->lock);
    rig->count = rig->scripts_count = 0;
    rig->order = 0;
    pthread_mutex_unlock(&rig->lock);
}

/* ----------------------------------------------------------------- scripts */

SUPPORT_UNUSED static saga_script *saga_script_find_(saga_rig *rig, const char *name, bool undo)
{
    for (size_t i = 0; i < rig->scripts_count; i++) {
        saga_script *script = &rig->scripts[i];
        if (script->undo == undo && strcmp(script->name, name) == 0) {
            return script;
        }
    }
    return NULL;
}

SUPPORT_UNUSED static void saga_script_set_(saga_rig *rig, const char *name, bool undo,
                                            const char *letters)
{
    pthread_mutex_lock(&rig->lock);
    saga_script *script = saga_script_find_(rig, name, undo);
    if (script == NULL) {
        assert_true(rig->scripts_count < SAGA_SCRIPTS_MAX);
        script = &rig->scripts[rig->scripts_count++];
    }
    assert_true(strlen(letters) < SAGA_SCRIPT_MAX);
    (void)snprintf(script->name, sizeof(script->name), "%s", name);
    (void)snprintf(script->letters, sizeof(script->letters), "%s", letters);
    script->undo = undo;
    script->at = 0;
    pthread_mutex_unlock(&rig->lock);
}

/* What the action of that step will say, from its next call on; replaces what was to come. */
SUPPORT_UNUSED static void saga_rig_script(saga_rig *rig, const char *name, const char *letters)
{
    saga_script_set_(rig, name, false, letters);
}

/* The same for its compensation. */
SUPPORT_UNUSED static void saga_rig_script_undo(saga_rig *rig, const char *name,
                                                const char *letters)
{
    saga_script_set_(rig, name, true, letters);
}

static const char saga_letters_[] = "OFRUG"; /* in the order of rsl_outcome */

SUPPORT_UNUSED static rsl_outcome saga_script_next_(saga_script *script)
{
    char letter = script->letters[script->at];
    if (letter == '\0') {
        return RSL_STEP_OK;
    }
    if (script->letters[script->at + 1] != '*') {
        script->at++;
    }
    const char *known = strchr(saga_letters_, letter);
    return known != NULL ? (rsl_outcome)(known - saga_letters_) : RSL_STEP_UNKNOWN;
}

/* ------------------------------------------------------------------- steps */

SUPPORT_UNUSED static rsl_outcome saga_rig_call_(saga_rig *rig, rsl_step *step, bool undo)
{
    saga_call call = {.undo = rsl_step_is_undo(step), .maybe = rsl_step_maybe(step),
                      .attempt = rsl_step_attempt(step), .epoch = rsl_step_epoch(step),
                      .saga = rsl_step_saga(step), .ctx = rsl_step_ctx(step)};
    (void)snprintf(call.name, sizeof(call.name), "%s", rsl_step_name(step));
    (void)snprintf(call.key, sizeof(call.key), "%s", rsl_step_key(step));
    if (call.ctx.clock != NULL) {
        call.at = call.ctx.clock->now(call.ctx.clock->user);
    }
    if (call.undo != undo) { /* the wrong function: seen in every trace */
        (void)snprintf(call.name, sizeof(call.name), "WRONG");
    }
    pthread_mutex_lock(&rig->lock);
    saga_script *script = saga_script_find_(rig, call.name, undo);
    call.outcome = script != NULL ? saga_script_next_(script) : RSL_STEP_OK;
    call.began = ++rig->order;
    size_t index = rig->count++;
    if (index < SAGA_CALLS_MAX) {
        rig->calls[index] = call;
    }
    pthread_mutex_unlock(&rig->lock);
    if (rig->during != NULL) {
        rig->during(rig, step, &call.outcome);
    }
    pthread_mutex_lock(&rig->lock);
    if (index < SAGA_CALLS_MAX) {
        rig->calls[index].outcome = call.outcome;
        rig->calls[index].ended = ++rig->order;
    }
    pthread_mutex_unlock(&rig->lock);
    return call.outcome == RSL_STEP_OK ? RSL_STEP_OK
                                       : rsl_step_fail(step, call.outcome, SAGA_STATUS);
}

/* The functions of every step; arg: the rig. */
SUPPORT_UNUSED static rsl_outcome saga_rig_run(rsl_step *step, void *arg)
{
    return saga_rig_call_(arg, step, false);
}

SUPPORT_UNUSED static rsl_outcome saga_rig_undo(rsl_step *step, void *arg)
{
    return saga_rig_call_(arg, step, true);
}

/* A step with both; it comes after the one before. */
SUPPORT_UNUSED static rsl_saga_step saga_step(const char *name)
{
    rsl_saga_step step = {.name = name, .run = saga_rig_run, .undo = saga_rig_undo};
    return step;
}

SUPPORT_UNUSED static rsl_saga_step saga_step_after(const char *name, const char *after)
{
    rsl_saga_step step = saga_step(name);
    step.after = after;
    return step;
}

SUPPORT_UNUSED static rsl_saga_step saga_step_flagged(const char *name, unsigned flags)
{
    rsl_saga_step step = saga_step(name);
    step.flags = flags;
    return step;
}

/* ------------------------------------------------------------------- calls */

/* The n-th call (from 1) of a step in that direction, or NULL. Not while steps are under way. */
SUPPORT_UNUSED static const saga_call *saga_rig_find(const saga_rig *rig, const char *name,
                                                     bool undo, size_t n)
{
    for (size_t i = 0; i < rig->count && i < SAGA_CALLS_MAX; i++) {
        const saga_call *call = &rig->calls[i];
        if (call->undo == undo && strcmp(call->name, name) == 0 && --n == 0) {
            return call;
        }
    }
    return NULL;
}

/* How often a step was called in that direction. */
SUPPORT_UNUSED static size_t saga_rig_count(saga_rig *rig, const char *name, bool undo)
{
    size_t found = 0;
    pthread_mutex_lock(&rig->lock);
    for (size_t i = 0; i < rig->count && i < SAGA_CALLS_MAX; i++) {
        found += rig->calls[i].undo == undo && strcmp(rig->calls[i].name, name) == 0;
    }
    pthread_mutex_unlock(&rig->lock);
    return found;
}

/* All calls as text. */
SUPPORT_UNUSED static void saga_rig_trace(saga_rig *rig, char text[SAGA_TRACE_MAX])
{
    size_t at = 0;
    text[0] = '\0';
    pthread_mutex_lock(&rig->lock);
    for (size_t i = 0; i < rig->count && i < SAGA_CALLS_MAX && at < SAGA_TRACE_MAX; i++) {
        const saga_call *call = &rig->calls[i];
        char end[3] = "";
        if (call->outcome != RSL_STEP_OK) {
            unsigned outcome = (unsigned)call->outcome;
            end[0] = ':';
            end[1] = saga_letters_[outcome < 4 ? outcome : 4];
        }
        at += (size_t)snprintf(text + at, SAGA_TRACE_MAX - at, "%s%s%s%s%s%s", at > 0 ? " " : "",
                               call->undo ? "-" : "", call->name, call->maybe ? "?" : "",
                               call->attempt > 1 ? "+" : "", end);
    }
    pthread_mutex_unlock(&rig->lock);
}

SUPPORT_UNUSED static void saga_rig_expect(saga_rig *rig, const char *trace)
{
    static char text[SAGA_TRACE_MAX];
    saga_rig_trace(rig, text);
    assert_string_equal(text, trace);
}

#endif
