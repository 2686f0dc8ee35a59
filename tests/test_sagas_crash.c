/* SPDX-License-Identifier: MIT
   test_sagas_crash.c: sagas whose process ends at any moment. A store in memory stops the world
   at each append, with all, some or none of its records stored, and the runtime starts anew, for
   definitions of every kind and random ones; the file journal of a real process that is killed
   again and again, which is this program with the word "child" behind it; and stores that fail.

   The far side keeps keys, as a real one does: what comes twice under one key is done once. In
   the end all that was done is there, or undone; in the right order; and no saga is lost whose
   start returned.                                                                              */
#define _DEFAULT_SOURCE 1
#include "support/allocator.h"

#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/support.h"

#include "support/saga_store.h"

#define START (RSL_SEC(1000) + 7)

/* ---------------------------------------------------------------- far side */

enum { STEPS_MAX = 6, DEEDS_MAX = 512, SAGAS_MAX = 4, KEY_MAX = 200 };

/* What came under one key and that of its undo. */
typedef struct deed {
    char        key[KEY_MAX]; /* without the direction */
    rsl_saga_id saga;
    int         step;
    bool        done, undone;
    int         runs, undos;
} deed;

/* A saga's world: definition, store, runtime and far side. */
typedef struct stage {
    memory_store     memory;
    rsl_saga_store   table;
    virtual_clock    time;
    rsl_sagas_config config;
    rsl_sagas       *sagas;
    rsl_saga_step    steps[STEPS_MAX];
    char             names[STEPS_MAX][2], after[STEPS_MAX][2 * STEPS_MAX];
    bool             before[STEPS_MAX][STEPS_MAX]; /* the first index after the second */
    rsl_saga_def     def;
    deed             deeds[DEEDS_MAX];
    size_t           deeds_count;
    seeded_random    random;
    bool             troubled;   /* outcomes are drawn; else all is well */
    bool             dead;       /* from here on no step may be called */
    const char      *wrong;      /* the first thing that was */
    rsl_saga_id      begun[SAGAS_MAX]; /* what start answered; 0: not OK */
    _Atomic int      failures;   /* RSL_SAGA_STORE_FAILED */
    long             live;
} stage;

static void wrong_if(stage *s, bool is_wrong, const char *what)
{
    if (is_wrong && s->wrong == NULL) {
        s->wrong = what;
    }
}

static void nothing_is_wrong(const stage *s)
{
    if (s->wrong != NULL) {
        fail_msg("%s", s->wrong);
    }
}

/* The deed of that key; the direction, "/run" or "/undo", is taken out of it. */
static deed *deed_of(stage *s, rsl_step *step, int index)
{
    char key[KEY_MAX];
    (void)snprintf(key, sizeof(key), "%s", rsl_step_key(step));
    const char *word = rsl_step_is_undo(step) ? "/undo" : "/run";
    char *at = strstr(key, word);
    wrong_if(s, at == NULL, "a key without its direction");
    if (at != NULL) {
        memmove(at, at + strlen(word), strlen(at + strlen(word)) + 1);
    }
    for (size_t i = 0; i < s->deeds_count; i++) {
        if (strcmp(s->deeds[i].key, key) == 0) {
            wrong_if(s, s->deeds[i].saga != rsl_step_saga(step) || s->deeds[i].step != index,
                     "a key used for another purpose");
            return &s->deeds[i];
        }
    }
    assert_true(s->deeds_count < DEEDS_MAX);
    deed *made = &s->deeds[s->deeds_count++];
    memset(made, 0, sizeof(*made));
    (void)snprintf(made->key, sizeof(made->key), "%s", key);
    made->saga = rsl_step_saga(step);
    made->step = index;
    return made;
}

static bool stands(const stage *s, rsl_saga_id saga, int step)
{
    bool found = false;
    for (size_t i = 0; i < s->deeds_count; i++) {
        const deed *d = &s->deeds[i];
        found = found || (d->saga == saga && d->step == step && d->done && !d->undone);
    }
    return found;
}

/* What a step that comes before must have done, and one that comes after must not have. */
static void check_order(stage *s, rsl_saga_id saga, int step, bool undo)
{
    for (int other = 0; other < (int)s->def.count; other++) {
        if (!undo && s->before[step][other]) {
            wrong_if(s, !stands(s, saga, other), "a step before what it depends on");
        }
        if (undo && s->before[other][step]) {
            wrong_if(s, stands(s, saga, other), "an undo before that of a later step");
        }
    }
}

static rsl_outcome far_call(rsl_step *step, void *arg, bool undo)
{
    static const rsl_outcome troubles[] = {RSL_STEP_OK, RSL_STEP_FAIL, RSL_STEP_RETRY,
                                           RSL_STEP_UNKNOWN};
    stage *s = arg;
    int index = rsl_step_name(step)[0] - 'a';
    deed *d = deed_of(s, step, index);
    uint32_t drawn = s->troubled ? seeded_random_below(&s->random, 8) : 0;
    rsl_outcome outcome = drawn < 4 ? troubles[drawn] : RSL_STEP_OK;
    bool acts = outcome == RSL_STEP_OK ||
                (outcome != RSL_STEP_FAIL && seeded_random_below(&s->random, 2) == 0);
    wrong_if(s, s->dead, "a call after the end of the world");
    wrong_if(s, undo != rsl_step_is_undo(step), "the wrong function");
    wrong_if(s, undo && !rsl_step_maybe(step) && !d->done, "an undo of what certainly was not");
    check_order(s, d->saga, index, undo);
    d->runs += !undo;
    d->undos += undo;
    if (!undo && acts) {
        wrong_if(s, d->undone, "an action after its undo");
        d->done = true;
    }
    if (undo && acts) {
        d->undone = true;
    }
    return outcome;
}

static rsl_outcome far_run(rsl_step *step, void *arg)
{
    return far_call(step, arg, false);
}

static rsl_outcome far_undo(rsl_step *step, void *arg)
{
    return far_call(step, arg, true);
}

/* ------------------------------------------------------------------- stage */

static void on_event(const rsl_event *event, void *user)
{
    stage *s = user;
    atomic_fetch_add(&s->failures, event->kind == RSL_SAGA_STORE_FAILED);
}

static int stage_make(void **state)
{
    stage *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->live = support_live();
    *state = s;
    return 0;
}

static int stage_end(void **state)
{
    assert_int_equal(support_live(), ((stage *)*state)->live);
    free(*state);
    return 0;
}

/* A new world for the definition; what is to happen follows from the seed. */
static void stage_begin(stage *s, uint64_t seed)
{
    memory_store_init(&s->memory);
    s->table = memory_store_as(&s->memory);
    s->time = (virtual_clock){.now = START};
    s->config = (rsl_sagas_config){.store = &s->table, .clock = virtual_clock_as(&s->time),
                                   .caller_works = true, .observer = {on_event, s}};
    s->sagas = NULL;
    s->deeds_count = 0;
    s->random.state = seed;
    s->troubled = true;
    s->dead = false;
    s->wrong = NULL;
    atomic_store(&s->failures, 0);
    memset(s->begun, 0, sizeof(s->begun));
}

static void stage_open(stage *s)
{
    assert_int_equal(rsl_sagas_open(&s->sagas, &s->config), RSL_OK);
    assert_int_equal(rsl_sagas_register(s->sagas, &s->def, s), RSL_OK);
    assert_int_equal(rsl_sagas_recover(s->sagas), RSL_OK);
    s->dead = false;
}

static void stage_close(stage *s)
{
    assert_int_equal(rsl_sagas_close(s->sagas, NULL), RSL_OK);
    s->sagas = NULL;
}

/* Whether all have ended; parked ones are called again. */
static bool resolve_parked(const rsl_saga_info *info, void *user)
{
    stage *s = user;
    if (info->state == RSL_SAGA_PARKED) {
        int status = rsl_sagas_resolve(s->sagas, info->id, info->step, RSL_SAGA_RETRY);
        wrong_if(s, status != RSL_OK && status != RSL_EIO, "a parked saga cannot be resolved");
    }
    return true;
}

/* Works until nothing is left to do, or the store stops. */
static void work_on(stage *s)
{
    for (int turns = 0; turns < 1000; turns++) {
        rsl_time at = rsl_sagas_work(s->sagas);
        rsl_sagas_stats stats;
        rsl_sagas_stats_get(s->sagas, &stats);
        if (stats.failed || (at == RSL_FOREVER && stats.parked == 0)) {
            return;
        }
        if (at != RSL_FOREVER) {
            s->time.now = at;
        } else { /* an operator has mended it */
            s->troubled = false;
            assert_int_equal(rsl_sagas_list(s->sagas, 0, resolve_parked, s), RSL_OK);
        }
    }
    wrong_if(s, true, "no end");
}

static void start_all(stage *s)
{
    for (int i = 0; i < SAGAS_MAX; i++) {
        char key[32];
        rsl_saga_id id = 0;
        (void)snprintf(key, sizeof(key), "k%d", i);
        int status = rsl_sagas_start(s->sagas, "def", key, "payload", 7, &id);
        wrong_if(s, status != RSL_OK && status != RSL_EIO, "start");
        wrong_if(s, status == RSL_OK && s->begun[i] != 0 && s->begun[i] != id, "another id");
        if (status == RSL_OK) {
            s->begun[i] = id;
        }
    }
}

/* Each saga that was begun has ended, whole. */
static void check_end(stage *s)
{
    for (int i = 0; i < SAGAS_MAX; i++) {
        rsl_saga_state state = RSL_SAGA_RUNNING;
        rsl_ctx ctx = {.deadline = s->time.now};
        wrong_if(s, s->begun[i] == 0, "a saga that was never begun");
        int status = rsl_sagas_wait(s->sagas, s->begun[i], &ctx, &state);
        wrong_if(s, status != RSL_OK, "a saga that is lost, or has not ended");
        wrong_if(s, state != RSL_SAGA_DONE && state != RSL_SAGA_UNWOUND, "an odd end");
        for (int step = 0; step < (int)s->def.count; step++) {
            bool there = stands(s, s->begun[i], step);
            wrong_if(s, state == RSL_SAGA_DONE && !there, "done, but not whole");
            wrong_if(s, state == RSL_SAGA_UNWOUND && there, "unwound, but something stands");
        }
    }
    for (size_t i = 0; i < s->deeds_count; i++) {
        bool known = false;
        for (int j = 0; j < SAGAS_MAX; j++) {
            known = known || s->begun[j] == s->deeds[i].saga;
        }
        wrong_if(s, !known, "a saga begun twice");
    }
}

/* Runs all sagas with crashes at the appends that are named, from 1; 0: none. Returns how many
   appends there were until the first one, or to the end. */
static long play(stage *s, uint64_t seed, long first, long second, size_t stored)
{
    stage_begin(s, seed);
    stage_open(s);
    s->memory.fail = (memory_fault){.at = first, .stored = stored, .stops = true};
    long before = atomic_load(&s->memory.appends), appends = 0;
    for (int lives = 0; lives < 4; lives++) {
        start_all(s);
        work_on(s);
        if (lives == 0) {
            appends = atomic_load(&s->memory.appends) - before;
        }
        if (!s->memory.stopped) {
            break;
        }
        s->dead = true;
        (void)rsl_sagas_work(s->sagas);
        stage_close(s);
        memory_store_restart(&s->memory);
        s->memory.fail = (memory_fault){.at = lives == 0 ? second : 0, .stored = stored,
                                        .stops = true};
        stage_open(s);
    }
    check_end(s);
    stage_close(s);
    wrong_if(s, atomic_load(&s->memory.breaches) != 0, s->memory.breach);
    memory_store_deinit(&s->memory);
    if (s->wrong != NULL) {
        fail_msg("seed %llu, crash at %ld and %ld with %zu stored: %s", (unsigned long long)seed,
                 first, second, stored, s->wrong);
    }
    return appends;
}

/* A crash at every append, and at another one after it. */
static void crash_everywhere(stage *s, uint64_t seed, long stride)
{
    const size_t stored[] = {0, 1, SIZE_MAX};
    long appends = play(s, seed, 0, 0, 0);
    for (long at = 1; at <= appends; at += stride) {
        for (size_t i = 0; i < RSL_COUNT(stored); i++) {
            (void)play(s, seed, at, 0, stored[i]);
            (void)play(s, seed, at, 1 + (long)(seed + (uint64_t)at) % 7, stored[i]);
        }
    }
}

/* ------------------------------------------------------------- definitions */

/* after: as in rsl_saga_step. */
static void define_step(stage *s, int index, const char *after, unsigned flags)
{
    s->names[index][0] = (char)('a' + index);
    s->names[index][1] = '\0';
    (void)snprintf(s->after[index], sizeof(s->after[index]), "%s", after);
    s->steps[index] = (rsl_saga_step){.name = s->names[index], .run = far_run, .undo = far_undo,
                                      .after = s->after[index], .flags = flags};
    s->steps[index].undo_retry.attempts_max = 3;
    memset(s->before[index], 0, sizeof(s->before[index]));
    for (const char *at = after; *at != '\0'; at += at[1] == ',' ? 2 : 1) {
        int other = *at - 'a';
        s->before[index][other] = true;
        for (int far = 0; far < index; far++) {
            s->before[index][far] = s->before[index][far] || s->before[other][far];
        }
    }
    s->def = (rsl_saga_def){"def", 1, s->steps, (size_t)index + 1, 0};
}

static void check_def(stage *s)
{
    const char *step = NULL, *why = rsl_saga_def_check(&s->def, &step);
    if (why != NULL) {
        fail_msg("%s: %s", step != NULL ? step : "", why);
    }
}

static void a_crash_at_any_append_of_steps_in_a_row_loses_nothing(void **state)
{
    stage *s = *state;
    define_step(s, 0, "", 0);
    define_step(s, 1, "a", 0);
    define_step(s, 2, "b", 0);
    check_def(s);
    for (uint64_t seed = 1; seed <= 4; seed++) {
        crash_everywhere(s, seed, 1);
    }
}

static void a_crash_at_any_append_of_parallel_steps_loses_nothing(void **state)
{
    stage *s = *state;
    define_step(s, 0, "", 0);
    define_step(s, 1, "", 0);
    define_step(s, 2, "a,b", 0);
    define_step(s, 3, "a", 0);
    check_def(s);
    for (uint64_t seed = 11; seed <= 14; seed++) {
        crash_everywhere(s, seed, 1);
    }
}

static void a_crash_at_any_append_before_and_after_a_pivot_loses_nothing(void **state)
{
    stage *s = *state;
    define_step(s, 0, "", 0);
    define_step(s, 1, "a", RSL_STEP_PIVOT);
    define_step(s, 2, "b", RSL_STEP_RETRIABLE);
    define_step(s, 3, "b", RSL_STEP_RETRIABLE);
    check_def(s);
    for (uint64_t seed = 21; seed <= 24; seed++) {
        crash_everywhere(s, seed, 1);
    }
}

static void a_crash_at_any_append_about_a_savepoint_loses_nothing(void **state)
{
    stage *s = *state;
    define_step(s, 0, "", 0);
    define_step(s, 1, "a", RSL_STEP_SAVEPOINT);
    define_step(s, 2, "b", 0);
    define_step(s, 3, "b", 0);
    define_step(s, 4, "c,d", 0);
    check_def(s);
    for (uint64_t seed = 31; seed <= 34; seed++) {
        crash_everywhere(s, seed, 1);
    }
}

/* Any graph, perhaps with a pivot and what it asks of the steps after it. */
static void define_random(stage *s, seeded_random *random)
{
    int count = 1 + (int)seeded_random_below(random, STEPS_MAX);
    int pivot = seeded_random_below(random, 3) == 0 ? (int)seeded_random_below(random, 4) : -1;
    pivot = pivot < count ? pivot : -1;
    for (int i = 0; i < count; i++) {
        char after[2 * STEPS_MAX] = "";
        size_t at = 0;
        unsigned flags = seeded_random_below(random, 4) == 0 ? RSL_STEP_SAVEPOINT : 0;
        for (int j = 0; j < i; j++) {
            bool comes = pivot < 0 || i < pivot ? seeded_random_below(random, 2) == 0
                         : i == pivot           ? true
                                                : j == pivot;
            if (comes) {
                at += (size_t)snprintf(after + at, sizeof(after) - at, "%s%c", at > 0 ? "," : "",
                                       'a' + j);
            }
        }
        if (pivot >= 0 && i >= pivot) {
            flags = i == pivot ? RSL_STEP_PIVOT : RSL_STEP_RETRIABLE;
        }
        define_step(s, i, after, flags);
    }
}

static void crashes_of_random_sagas_lose_nothing(void **state)
{
    stage *s = *state;
    seeded_random random = {4711};
    for (uint64_t seed = 101; seed <= 300; seed++) {
        define_random(s, &random);
        check_def(s);
        crash_everywhere(s, seed, 7 + (long)seeded_random_below(&random, 7));
    }
}

/* ------------------------------------------------------------- failed stores */

static void define_row(stage *s)
{
    define_step(s, 0, "", 0);
    define_step(s, 1, "a", 0);
    define_step(s, 2, "b", 0);
}

/* After the store has failed, nothing is dispatched, and all who call are told. */
static void expect_poisoned(stage *s, rsl_saga_id id)
{
    rsl_sagas_stats stats;
    rsl_saga_state seen = (rsl_saga_state)77;
    s->dead = true;
    (void)rsl_sagas_work(s->sagas);
    s->time.now += RSL_SEC(1000);
    (void)rsl_sagas_work(s->sagas);
    rsl_sagas_stats_get(s->sagas, &stats);
    assert_true(stats.failed);
    assert_int_equal(atomic_load(&s->failures), 1);
    assert_int_equal(rsl_sagas_wait(s->sagas, id, NULL, &seen), RSL_EIO);
    assert_int_equal((int)seen, 77);
    assert_int_equal(rsl_sagas_start(s->sagas, "def", "other", NULL, 0, NULL), RSL_EIO);
    assert_int_equal(rsl_sagas_cancel(s->sagas, id), RSL_EIO);
    assert_int_equal(rsl_sagas_resolve(s->sagas, id, "a", RSL_SAGA_SKIP), RSL_EIO);
    assert_int_equal(rsl_sagas_recover(s->sagas), RSL_EIO);
    assert_int_equal(atomic_load(&s->failures), 1);
    nothing_is_wrong(s);
}

static void a_failed_append_poisons_the_runtime_and_an_open_recovers(void **state)
{
    stage *s = *state;
    const size_t stored[] = {0, 1, SIZE_MAX};
    define_row(s);
    for (long at = 2; at <= 4; at++) {
        for (size_t i = 0; i < RSL_COUNT(stored); i++) {
            stage_begin(s, 1);
            s->troubled = false;
            stage_open(s);
            s->memory.fail = (memory_fault){.at = at, .stored = stored[i]};
            assert_int_equal(rsl_sagas_start(s->sagas, "def", "k0", NULL, 0, &s->begun[0]),
                             RSL_OK);
            (void)rsl_sagas_work(s->sagas);
            expect_poisoned(s, s->begun[0]);
            stage_close(s);
            memory_store_restart(&s->memory);
            stage_open(s);
            start_all(s);
            work_on(s);
            check_end(s);
            stage_close(s);
            nothing_is_wrong(s);
            assert_int_equal(atomic_load(&s->memory.breaches), 0);
            memory_store_deinit(&s->memory);
        }
    }
}

static void a_start_whose_append_fails_may_or_may_not_have_begun(void **state)
{
    stage *s = *state;
    define_row(s);
    for (int stored = 0; stored < 2; stored++) {
        rsl_saga_id id = 77;
        stage_begin(s, 1);
        s->troubled = false;
        stage_open(s);
        s->memory.fail = (memory_fault){.at = 1, .stored = stored == 0 ? 0 : SIZE_MAX};
        assert_int_equal(rsl_sagas_start(s->sagas, "def", "k0", NULL, 0, &id), RSL_EIO);
        assert_true(id == 77);
        stage_close(s);
        memory_store_restart(&s->memory);
        stage_open(s);
        work_on(s);
        assert_int_equal(s->deeds_count, stored == 0 ? 0 : 3);
        start_all(s);
        work_on(s);
        check_end(s);
        stage_close(s);
        nothing_is_wrong(s);
        memory_store_deinit(&s->memory);
    }
}

static void a_failed_compaction_at_run_time_poisons_the_runtime(void **state)
{
    static char payload[60000];
    stage *s = *state;
    define_row(s);
    stage_begin(s, 1);
    s->troubled = false;
    s->config.finished_max = 10;
    stage_open(s);
    s->memory.compact_status = RSL_EIO;
    rsl_sagas_stats stats;
    rsl_saga_id id = 0;
    int i = 0;
    do {
        char key[32];
        (void)snprintf(key, sizeof(key), "c%d", i++);
        s->deeds_count = 0;
        assert_int_equal(rsl_sagas_start(s->sagas, "def", key, payload, sizeof(payload), &id),
                         RSL_OK);
        (void)rsl_sagas_work(s->sagas);
        rsl_sagas_stats_get(s->sagas, &stats);
    } while (!stats.failed && i < 100);
    assert_true(stats.failed);
    assert_int_equal(atomic_load(&s->failures), 1);
    assert_int_equal(rsl_sagas_start(s->sagas, "def", "k0", NULL, 0, NULL), RSL_EIO);
    stage_close(s);
    memory_store_restart(&s->memory);
    s->deeds_count = 0;
    stage_open(s);
    start_all(s);
    work_on(s);
    check_end(s);
    stage_close(s);
    nothing_is_wrong(s);
    memory_store_deinit(&s->memory);
}

/* ---------------------------------------------------------- a killed process */

enum { FLEET = 48, FLEET_STEPS = 4, KILLS = 12 };

/* What the process leaves behind, in a file that all its lives map. */
typedef struct ledger {
    struct {
        _Atomic uint64_t run_key, undo_key; /* hashes; 0: none yet */
        _Atomic int      done, undone;
    } cells[FLEET][FLEET_STEPS];
    _Atomic uint64_t acknowledged[FLEET]; /* the id that start answered; 0: not yet */
    _Atomic int      ended[FLEET];        /* 1 + rsl_saga_state */
    _Atomic int      wrong;
} ledger;

static uint64_t hash_of(const char *text)
{
    uint64_t hash = 1469598103934665603u;
    for (; *text != '\0'; text++) {
        hash = (hash ^ (uint8_t)*text) * 1099511628211u;
    }
    return hash | 1;
}

/* One purpose has one key, in all lives. */
static void note_key(ledger *l, _Atomic uint64_t *kept, const char *key)
{
    uint64_t none = 0, hash = hash_of(key);
    if (!atomic_compare_exchange_strong(kept, &none, hash) && none != hash) {
        atomic_store(&l->wrong, 1);
    }
}

static rsl_outcome fleet_call(rsl_step *step, void *arg)
{
    ledger *l = arg;
    uint32_t saga = 0;
    size_t size = 0;
    const void *payload = rsl_step_payload(step, &size);
    int index = rsl_step_name(step)[0] - 'a';
    bool undo = rsl_step_is_undo(step);
    if (size != sizeof(saga)) {
        atomic_store(&l->wrong, 2);
        return RSL_STEP_OK;
    }
    memcpy(&saga, payload, size);
    note_key(l, undo ? &l->cells[saga][index].undo_key : &l->cells[saga][index].run_key,
             rsl_step_key(step));
    if (undo) {
        atomic_store(&l->cells[saga][index].undone, 1);
    } else if (atomic_load(&l->cells[saga][index].undone) != 0) {
        atomic_store(&l->wrong, 3);
    } else if (saga % 3 == 0 && index == 3) {
        return RSL_STEP_FAIL;
    } else {
        atomic_store(&l->cells[saga][index].done, 1);
    }
    return rsl_step_attempt(step) == 1 && saga % 5 == 0 ? RSL_STEP_RETRY : RSL_STEP_OK;
}

/* One life: begins what was not acknowledged, and waits for all. */
static int fleet_live(const char *folder, ledger *l)
{
    const rsl_saga_retry often = {1000, RSL_US(100), RSL_MS(1), 2};
    rsl_saga_step steps[FLEET_STEPS] = {
        {.name = "a", .run = fleet_call, .undo = fleet_call, .after = ""},
        {.name = "b", .run = fleet_call, .undo = fleet_call, .after = "a"},
        {.name = "c", .run = fleet_call, .undo = fleet_call, .after = "a"},
        {.name = "d", .run = fleet_call, .undo = fleet_call, .after = "b,c"}};
    for (int i = 0; i < FLEET_STEPS; i++) {
        steps[i].retry = steps[i].undo_retry = often;
    }
    rsl_saga_def def = {"fleet", 1, steps, FLEET_STEPS, 0};
    rsl_sagas_config config = {.path = folder, .threads = 3};
    rsl_sagas *sagas = NULL;
    if (rsl_sagas_open(&sagas, &config) != RSL_OK) return 10;
    if (rsl_sagas_register(sagas, &def, l) != RSL_OK) return 11;
    if (rsl_sagas_recover(sagas) != RSL_OK) return 12;
    for (uint32_t i = 0; i < FLEET; i++) {
        char key[32];
        rsl_saga_id id = 0;
        (void)snprintf(key, sizeof(key), "f%u", i);
        if (rsl_sagas_start(sagas, "fleet", key, &i, sizeof(i), &id) != RSL_OK) return 13;
        uint64_t before = atomic_exchange(&l->acknowledged[i], id);
        if (before != 0 && before != id) return 14;
    }
    for (int i = 0; i < FLEET; i++) {
        rsl_saga_state state = RSL_SAGA_RUNNING;
        rsl_ctx ctx = rsl_within(RSL_SEC(60));
        if (rsl_sagas_wait(sagas, atomic_load(&l->acknowledged[i]), &ctx, &state) != RSL_OK) {
            return 15;
        }
        atomic_store(&l->ended[i], 1 + (int)state);
    }
    return rsl_sagas_close(sagas, NULL) == RSL_OK ? 0 : 16;
}

static ledger *ledger_map(const char *path)
{
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof(ledger)) != 0) {
        return NULL;
    }
    void *at = mmap(NULL, sizeof(ledger), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return at != MAP_FAILED ? at : NULL;
}

static const char *program; /* how this one was called */

static pid_t fleet_launch(const char *folder, const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        (void)execl(program, program, "child", folder, path, (char *)NULL);
        _exit(99);
    }
    return child;
}

static void check_fleet(const ledger *l)
{
    assert_int_equal(atomic_load(&l->wrong), 0);
    for (int i = 0; i < FLEET; i++) {
        int state = atomic_load(&l->ended[i]) - 1;
        assert_int_equal(state, i % 3 == 0 ? RSL_SAGA_UNWOUND : RSL_SAGA_DONE);
        for (int step = 0; step < FLEET_STEPS; step++) {
            bool there = atomic_load(&l->cells[i][step].done) != 0 &&
                         atomic_load(&l->cells[i][step].undone) == 0;
            assert_int_equal(there, state == RSL_SAGA_DONE);
        }
    }
}

static void a_process_that_is_killed_again_and_again_ends_every_saga_it_began(void **state)
{
    (void)state;
    char folder[] = "/tmp/rsl_crash_XXXXXX", journal[64], path[64], command[64];
    seeded_random random = {(uint64_t)getpid() | 1};
    assert_non_null(mkdtemp(folder));
    (void)snprintf(journal, sizeof(journal), "%s/sagas", folder);
    (void)snprintf(path, sizeof(path), "%s/ledger", folder);
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    ledger *l = ledger_map(path);
    assert_non_null(l);
    int status = -1, lives = 0;
    for (; lives < 200 && status != 0; lives++) {
        pid_t child = fleet_launch(journal, path);
        assert_true(child > 0);
        if (lives < KILLS) {
            struct timespec t = {0, 1000000 + (long)seeded_random_below(&random, 60000000)};
            nanosleep(&t, NULL);
            kill(child, SIGKILL);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && lives < KILLS;
        if (!killed && status != 0) {
            fail_msg("it ended with %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
        }
    }
    check_fleet(l);
    (void)munmap(l, sizeof(*l));
    assert_int_equal(system(command), 0);
}

/* -------------------------------------------------------------------- main */

#define STAGE(test) cmocka_unit_test_setup_teardown(test, stage_make, stage_end)

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "child") == 0) {
        ledger *l = ledger_map(argv[3]);
        return l != NULL ? fleet_live(argv[2], l) : 9;
    }
    program = argv[0];
    const struct CMUnitTest tests[] = {
        STAGE(a_crash_at_any_append_of_steps_in_a_row_loses_nothing),
        STAGE(a_crash_at_any_append_of_parallel_steps_loses_nothing),
        STAGE(a_crash_at_any_append_before_and_after_a_pivot_loses_nothing),
        STAGE(a_crash_at_any_append_about_a_savepoint_loses_nothing),
        STAGE(crashes_of_random_sagas_lose_nothing),
        STAGE(a_failed_append_poisons_the_runtime_and_an_open_recovers),
        STAGE(a_start_whose_append_fails_may_or_may_not_have_begun),
        STAGE(a_failed_compaction_at_run_time_poisons_the_runtime),
        cmocka_unit_test(a_process_that_is_killed_again_and_again_ends_every_saga_it_began),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
