/* SPDX-License-Identifier: MIT
   test_sagas.c: the durable runtime of saga.h over stores in memory: what its docstrings say, one
   by one; in virtual time where the caller works, and with threads where they matter; and two
   hosts that share a store. Crashes are for test_sagas_crash.c, the journal in a folder for
   test_saga_journal.c.                                                                         */
#define _DEFAULT_SOURCE 1
#include "support/allocator.h"

#include <pthread.h>

/* The nth from here fails, or with `on` that and all after it; 0: none. */
typedef struct refusal {
    _Atomic long asked, nth;
    _Atomic bool on;
} refusal;

static refusal threads_refused, locks_refused;

static bool is_refused(refusal *r)
{
    long asked = atomic_fetch_add(&r->asked, 1) + 1, nth = atomic_load(&r->nth);
    return nth != 0 && (asked == nth || (asked > nth && atomic_load(&r->on)));
}

static void refuse_nth(refusal *r, long nth, bool on)
{
    atomic_store(&r->asked, 0);
    atomic_store(&r->on, on);
    atomic_store(&r->nth, nth);
}

static int failing_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *arg), void *arg)
{
    return is_refused(&threads_refused) ? 11 : pthread_create(thread, attributes, start, arg);
}

static int failing_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    return is_refused(&locks_refused) ? 11 : pthread_mutex_init(mutex, attributes);
}

/* What the headers call below this line. */
#define pthread_create failing_create
#define pthread_mutex_init failing_mutex_init

#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"
#define RSL_BULKHEAD_IMPLEMENTATION
#include "bulkhead.h"

#undef pthread_create
#undef pthread_mutex_init

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/support.h"

#include "support/saga_rig.h"
#include "support/saga_store.h"

/* A start of time that is neither zero nor round. */
#define START (RSL_SEC(1000) + 7)

/* Longer than anything takes here, unless it hangs. */
#define PATIENCE RSL_SEC(20)

static void nap(rsl_time span)
{
    struct timespec t = {(time_t)(span / RSL_SEC(1)), (long)(span % RSL_SEC(1))};
    nanosleep(&t, NULL);
}

/* Waits, at most PATIENCE, for what other threads bring about. */
#define EVENTUALLY(condition)                          \
    do {                                               \
        rsl_time end_ = rsl_now() + PATIENCE;          \
        while (!(condition) && rsl_now() < end_) {     \
            nap(RSL_US(200));                          \
        }                                              \
        assert_true(condition);                        \
    } while (0)

/* ------------------------------------------------------------------- diary */

enum { NOTES_MAX = 8192, DIARY_TEXT_MAX = 16384 };

typedef struct note {
    int         kind, status;
    char        source[RSL_SAGA_NAME_MAX + 1];
    uint64_t    number;
    rsl_time    at;
    rsl_saga_id saga;
} note;

/* Writes down all events, from any thread. */
typedef struct diary {
    pthread_mutex_t lock;
    note            notes[NOTES_MAX];
    size_t          count, since; /* since: those of the runtime of now; numbers begin with it */
    void          (*then)(const rsl_event *event, void *arg); /* after that, without the lock */
    void           *arg;
} diary;

static void diary_on_event(const rsl_event *event, void *user)
{
    diary *d = user;
    pthread_mutex_lock(&d->lock);
    if (d->count < NOTES_MAX) {
        note *n = &d->notes[d->count];
        n->kind = event->kind;
        n->status = event->status;
        n->number = event->number;
        n->at = event->at;
        n->saga = (rsl_saga_id)event->value;
        (void)snprintf(n->source, sizeof(n->source), "%s",
                       event->source != NULL ? event->source : "");
    }
    d->count++;
    pthread_mutex_unlock(&d->lock);
    if (d->then != NULL) {
        d->then(event, d->arg);
    }
    errno = 99; /* an observer may leave anything there */
}

static size_t diary_count(diary *d, rsl_saga_id saga, int kind)
{
    size_t found = 0;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->count && i < NOTES_MAX; i++) {
        found += (saga == 0 || d->notes[i].saga == saga) && d->notes[i].kind == kind;
    }
    pthread_mutex_unlock(&d->lock);
    return found;
}

/* The latest of a kind; zeros: there is none. */
static note diary_last(diary *d, rsl_saga_id saga, int kind)
{
    note found;
    memset(&found, 0, sizeof(found));
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->count && i < NOTES_MAX; i++) {
        if ((saga == 0 || d->notes[i].saga == saga) && d->notes[i].kind == kind) {
            found = d->notes[i];
        }
    }
    pthread_mutex_unlock(&d->lock);
    return found;
}

static const char *const event_words[] = {"?", "BEGUN", "start", "done", "again", "fail", "doubt",
                                          "undo", "undone", "undo-again", "park", "put-off",
                                          "BACK", "FORTH", "WORD", "END", "CLAIMED", "LOST",
                                          "FAILED"};

/* All events of a saga in the order in which they were told; those of steps with their names. */
static void diary_expect(diary *d, rsl_saga_id saga, const char *expected)
{
    static char text[DIARY_TEXT_MAX];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < d->count && i < NOTES_MAX; i++) {
        const note *n = &d->notes[i];
        if (n->saga != saga) {
            continue;
        }
        const char *word = event_words[n->kind > 0 && n->kind <= RSL_SAGA_STORE_FAILED ? n->kind
                                                                                       : 0];
        bool of_step = word[0] >= 'a';
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s%s%s", at > 0 ? " " : "", word,
                               of_step ? ":" : "", of_step ? n->source : "");
    }
    assert_string_equal(text, expected);
}

/* The runtime is closed. No number was told twice; if `rising`, each is above the one before of
   its saga. */
static void diary_check(diary *d, bool rising)
{
    size_t end = d->count < NOTES_MAX ? d->count : NOTES_MAX;
    for (size_t i = d->since; i < end; i++) {
        const note *n = &d->notes[i];
        assert_in_range(n->kind, RSL_SAGA_BEGUN, RSL_SAGA_STORE_FAILED);
        for (size_t j = i > d->since + 64 ? i - 64 : d->since; j < i; j++) {
            assert_true(n->number != d->notes[j].number);
            assert_true(!rising || n->saga != d->notes[j].saga ||
                        n->number > d->notes[j].number);
        }
    }
    d->since = d->count;
}

/* ------------------------------------------------------------------- world */

/* A runtime over a store in memory, with its rig and diary. */
typedef struct world {
    saga_rig         rig;
    diary            diary;
    memory_store     memory;
    rsl_saga_store   table;
    virtual_clock    time;
    rsl_sagas_config config;  /* for the next open */
    rsl_sagas       *sagas;   /* NULL: it is closed */
    char             error[200];
    bool             overlaps;/* numbers of events may come out of order */
    const char      *who;     /* for a during: the step it acts on */
    _Atomic int      seen, told, gate;
    _Atomic uint64_t id;      /* of a saga, for a during or an observer */
    long             live;    /* blocks at the beginning */
} world;

static int world_make(void **state)
{
    world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    saga_rig_init(&w->rig);
    w->rig.arg = w;
    assert_int_equal(pthread_mutex_init(&w->diary.lock, NULL), 0);
    w->diary.arg = w;
    memory_store_init(&w->memory);
    w->memory.arg = w;
    w->table = memory_store_as(&w->memory);
    w->time.now = START;
    w->config.store = &w->table;
    w->config.clock = virtual_clock_as(&w->time);
    w->config.caller_works = true;
    w->config.observer = (rsl_observer){diary_on_event, &w->diary};
    w->config.error = w->error;
    w->config.error_size = sizeof(w->error);
    w->live = support_live();
    *state = w;
    return 0;
}

/* Threads of its own, by the real clock. */
static int world_make_threads(void **state)
{
    (void)world_make(state);
    world *w = *state;
    memset(&w->config.clock, 0, sizeof(w->config.clock));
    w->config.caller_works = false;
    w->overlaps = true;
    return 0;
}

static void world_open(world *w)
{
    assert_null(rsl_sagas_config_check(&w->config));
    assert_int_equal(rsl_sagas_open(&w->sagas, &w->config), RSL_OK);
    assert_string_equal(w->error, "");
}

static void world_close(world *w)
{
    assert_int_equal(rsl_sagas_close(w->sagas, NULL), RSL_OK);
    w->sagas = NULL;
    diary_check(&w->diary, !w->overlaps);
}

static void world_reopen(world *w)
{
    world_close(w);
    memory_store_restart(&w->memory);
    world_open(w);
}

/* Its process is killed: nothing that it does from now on is kept. */
static void world_crash(world *w)
{
    w->memory.stopped = true;
    world_close(w);
    memory_store_restart(&w->memory);
}

static int world_end(void **state)
{
    world *w = *state;
    support_fail_never();
    refuse_nth(&threads_refused, 0, false);
    refuse_nth(&locks_refused, 0, false);
    if (w->sagas != NULL) {
        world_close(w);
    }
    if (atomic_load(&w->memory.breaches) != 0) {
        fail_msg("the store's contract: %s", w->memory.breach);
    }
    assert_int_equal(support_live(), w->live);
    memory_store_deinit(&w->memory);
    pthread_mutex_destroy(&w->diary.lock);
    saga_rig_deinit(&w->rig);
    free(w);
    return 0;
}

static void define_version(world *w, const char *name, uint32_t version,
                           const rsl_saga_step *steps, size_t count)
{
    rsl_saga_def def = {name, version, steps, count, 0};
    const char *step = NULL, *why = rsl_saga_def_check(&def, &step);
    if (why != NULL) {
        fail_msg("definition refused: %s: %s", step != NULL ? step : "", why);
    }
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
}

#define DEFINE(w, name, steps) define_version((w), (name), 1, (steps), RSL_COUNT(steps))

static rsl_saga_id begin_with(world *w, const char *def, const char *key, const void *payload,
                              size_t size)
{
    rsl_saga_id id = 0;
    assert_int_equal(rsl_sagas_start(w->sagas, def, key, payload, size, &id), RSL_OK);
    assert_true(id != 0);
    return id;
}

static rsl_saga_id begin(world *w, const char *def, const char *key)
{
    return begin_with(w, def, key, NULL, 0);
}

/* Waits until the saga has ended or is parked. */
static rsl_saga_state end_of(world *w, rsl_saga_id id)
{
    rsl_saga_state state = (rsl_saga_state)77;
    rsl_ctx ctx = rsl_within(PATIENCE);
    if (w->config.caller_works) {
        ctx.deadline = w->time.now + RSL_SEC(100000);
    }
    assert_int_equal(rsl_sagas_wait(w->sagas, id, &ctx, &state), RSL_OK);
    return state;
}

static rsl_saga_state play(world *w, const char *def, const char *key)
{
    return end_of(w, begin(w, def, key));
}

static rsl_sagas_stats stats_of(world *w)
{
    rsl_sagas_stats stats;
    memset(&stats, 0x5A, sizeof(stats));
    rsl_sagas_stats_get(w->sagas, &stats);
    return stats;
}

/* What look tells of a saga, with copies of the texts. */
typedef struct sight {
    rsl_saga_info info;
    char          def[64], key[256], step[64];
    int           visits;
} sight;

static bool sight_visit(const rsl_saga_info *info, void *user)
{
    sight *s = user;
    s->info = *info;
    (void)snprintf(s->def, sizeof(s->def), "%s", info->def);
    (void)snprintf(s->key, sizeof(s->key), "%s", info->key);
    (void)snprintf(s->step, sizeof(s->step), "%s", info->step != NULL ? info->step : "(none)");
    s->visits++;
    return true;
}

static sight look(world *w, rsl_saga_id id)
{
    sight s;
    memset(&s, 0, sizeof(s));
    assert_int_equal(rsl_sagas_look(w->sagas, id, sight_visit, &s), RSL_OK);
    assert_int_equal(s.visits, 1);
    assert_true(s.info.id == id);
    return s;
}

/* Steps in a row: a, b and c. */
static const rsl_saga_step abc[] = {{.name = "a", .run = saga_rig_run, .undo = saga_rig_undo},
                                    {.name = "b", .run = saga_rig_run, .undo = saga_rig_undo},
                                    {.name = "c", .run = saga_rig_run, .undo = saga_rig_undo}};

/* For a during: whether this call is the action of the one whom the world points out. */
static bool is_who(const world *w, const rsl_step *step)
{
    return !rsl_step_is_undo(step) && strcmp(rsl_step_name(step), w->who) == 0;
}

/* A during: who waits at the gate until that is open. */
static void who_waits_at_the_gate(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    (void)outcome;
    if (is_who(w, step)) {
        atomic_fetch_add(&w->seen, 1);
        while (atomic_load(&w->gate) == 0) {
            nap(RSL_US(100));
        }
    }
}

static pthread_t thread_start(void *(*run)(void *arg), void *arg)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run, arg), 0);
    return thread;
}

/* ------------------------------------------------------------------ config */

typedef struct wrong_config {
    const char *reason;
    void      (*spoil)(rsl_sagas_config *config);
} wrong_config;

static int submit_nothing(void *user, rsl_fn fn, void *arg, void *task)
{
    (void)user, (void)fn, (void)arg, (void)task;
    return RSL_EFULL;
}

static bool ended_always(void *task)
{
    (void)task;
    return true;
}

static void spoil_store(rsl_sagas_config *c) { c->store = NULL; }
static void spoil_path(rsl_sagas_config *c) { c->path = "somewhere"; }
static void spoil_threads(rsl_sagas_config *c) { c->threads = 1025; }
static void spoil_live_max(rsl_sagas_config *c) { c->live_max = 16777217; }
static void spoil_payload_max(rsl_sagas_config *c) { c->payload_max = (16u << 20) + 1; }
static void spoil_claim_for_low(rsl_sagas_config *c) { c->claim_for = RSL_MS(100) - 1; }
static void spoil_claim_for_high(rsl_sagas_config *c) { c->claim_for = RSL_SEC(3600) + 1; }
static void spoil_claim_for_sign(rsl_sagas_config *c) { c->claim_for = -1; }
static void spoil_task_size(rsl_sagas_config *c) { c->task_size = 8; }
static void spoil_submit_ended(rsl_sagas_config *c) { c->submit_ended = ended_always; }
static void spoil_clock(rsl_sagas_config *c) { c->clock.now = NULL; }

static void spoil_submit(rsl_sagas_config *c)
{
    c->submit = submit_nothing;
}

static void spoil_task_size_high(rsl_sagas_config *c)
{
    c->caller_works = false;
    c->submit = submit_nothing;
    c->task_size = 65537;
}

static void spoil_functions(rsl_sagas_config *c)
{
    static rsl_saga_store table;
    table = *c->store;
    table.compact = NULL;
    c->store = &table;
}

static void spoil_shared(rsl_sagas_config *c)
{
    static rsl_saga_store table;
    table = *c->store;
    table.claim = shared_claim_;
    table.begin = shared_begin_;
    table.renew = shared_renew_;
    table.cancel = shared_cancel_;
    c->store = &table;
}

static const wrong_config wrong_configs[] = {
    {"path: must be set, or store", spoil_store},
    {"store: must not be set beside path", spoil_path},
    {"threads: must be at most 1024", spoil_threads},
    {"live_max: must be at most 16777216", spoil_live_max},
    {"payload_max: must be at most 16 MiB", spoil_payload_max},
    {"claim_for: must lie in 100 ms..1 h", spoil_claim_for_low},
    {"claim_for: must lie in 100 ms..1 h", spoil_claim_for_high},
    {"claim_for: must lie in 100 ms..1 h", spoil_claim_for_sign},
    {"submit: must be set when task_size or submit_ended is", spoil_task_size},
    {"submit: must be set when task_size or submit_ended is", spoil_submit_ended},
    {"submit: must not be set beside caller_works", spoil_submit},
    {"task_size: must be at most 65536", spoil_task_size_high},
    {"store: open, load, append, compact and close must be set", spoil_functions},
    {"store: begin, renew, cancel and list must be set when claim is", spoil_shared},
    {"clock.now: must be set when clock.sleep_until is", spoil_clock},
};

static void each_wrong_field_of_the_config_is_named_and_refused_by_open(void **state)
{
    world *w = *state;
    for (size_t i = 0; i < RSL_COUNT(wrong_configs); i++) {
        rsl_sagas_config config = w->config;
        wrong_configs[i].spoil(&config);
        rsl_sagas *sagas = NULL;
        memset(w->error, '?', sizeof(w->error));
        assert_string_equal(rsl_sagas_config_check(&config), wrong_configs[i].reason);
        assert_int_equal(rsl_sagas_open(&sagas, &config), RSL_EINVAL);
        assert_string_equal(w->error, wrong_configs[i].reason);
        assert_null(sagas);
    }
    assert_int_equal(atomic_load(&w->memory.closes), 0);
}

static void a_config_is_checked_and_refused_without_a_pointer_too(void **state)
{
    world *w = *state;
    rsl_sagas *sagas = NULL;
    assert_string_equal(rsl_sagas_config_check(NULL), "path: must be set, or store");
    assert_int_equal(rsl_sagas_open(&sagas, NULL), RSL_EINVAL);
    assert_int_equal(rsl_sagas_open(NULL, &w->config), RSL_EINVAL);
    assert_null(sagas);
}

static void the_reason_is_cut_to_the_room_that_there_is(void **state)
{
    world *w = *state;
    char error[8] = "1234567";
    w->config.threads = 1025;
    w->config.error = error;
    w->config.error_size = 5;
    assert_int_equal(rsl_sagas_open(&w->sagas, &w->config), RSL_EINVAL);
    assert_string_equal(error, "thre");
    assert_string_equal(error + 5, "67");
    w->config.error_size = 0;
    assert_int_equal(rsl_sagas_open(&w->sagas, &w->config), RSL_EINVAL);
    w->config.error = NULL;
    w->config.error_size = 8;
    assert_int_equal(rsl_sagas_open(&w->sagas, &w->config), RSL_EINVAL);
    assert_string_equal(error, "thre");
}

static void zeros_in_the_config_mean_the_defaults(void **state)
{
    (void)state;
    const rsl_sagas_config none = {.path = NULL};
    const rsl_sagas_config *given[] = {NULL, &none};
    for (size_t i = 0; i < RSL_COUNT(given); i++) {
        rsl_sagas_config c = rsl_sagas_config_resolve(given[i]);
        assert_int_equal(c.threads, 2);
        assert_int_equal(c.live_max, 65536);
        assert_int_equal(c.payload_max, 65536);
        assert_true(c.claim_for == RSL_SEC(15));
        assert_int_equal(c.finished_max, 65536);
        assert_false(c.caller_works);
        assert_false(c.salvage);
        assert_true(c.submit == NULL && c.clock.now == NULL && c.observer.on_event == NULL);
    }
}

static void what_is_set_in_the_config_stays(void **state)
{
    world *w = *state;
    rsl_sagas_config config = w->config;
    config.threads = 1024;
    config.live_max = 1;
    config.payload_max = 1;
    config.claim_for = RSL_MS(100);
    config.finished_max = RSL_UNLIMITED;
    config.salvage = true;
    assert_null(rsl_sagas_config_check(&config));
    rsl_sagas_config c = rsl_sagas_config_resolve(&config);
    assert_int_equal(c.threads, 1024);
    assert_int_equal(c.live_max, 1);
    assert_int_equal(c.payload_max, 1);
    assert_true(c.claim_for == RSL_MS(100));
    assert_true(c.finished_max == RSL_UNLIMITED);
    assert_true(c.salvage && c.caller_works && c.store == &w->table);
}

/* -------------------------------------------------------------------- open */

static void what_the_store_says_at_open_is_passed_on_and_nothing_is_left_behind(void **state)
{
    world *w = *state;
    const int statuses[] = {RSL_EIO, RSL_ECORRUPT, RSL_EFENCED, RSL_EINVAL, RSL_ENOMEM, RSL_ESYS};
    rsl_sagas *sagas = NULL;
    world_open(w);
    DEFINE(w, "abc", abc);
    begin(w, "abc", "k");
    world_close(w);
    long closes = atomic_load(&w->memory.closes);
    for (size_t i = 0; i < 3 * RSL_COUNT(statuses); i++) {
        int status = statuses[i / 3];
        memory_store_restart(&w->memory);
        w->memory.load_limit = 1;
        *(i % 3 == 0   ? &w->memory.open_status
          : i % 3 == 1 ? &w->memory.load_status
                       : &w->memory.compact_status) = status;
        assert_int_equal(rsl_sagas_open(&sagas, &w->config), status);
        assert_string_equal(w->error, i % 3 == 0 ? "memory: refused" : rsl_strerror(status));
        assert_null(sagas);
        assert_int_equal(atomic_load(&w->memory.closes), ++closes);
        assert_int_equal(support_live(), w->live);
    }
}

static void open_survives_each_failed_allocation(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    world_open(w);
    DEFINE(w, "ab", steps);
    assert_int_equal(play(w, "ab", "ended"), RSL_SAGA_DONE);
    begin_with(w, "ab", "begun", "payload", 7);
    world_close(w);
    for (int on = 0; on < 2; on++) {
        int status = RSL_ENOMEM;
        for (long n = 1; status != RSL_OK; n++) {
            assert_true(n < 1000);
            (void)(on ? support_fail_from(n) : support_fail_nth(n));
            status = rsl_sagas_open(&w->sagas, &w->config);
            support_fail_never();
            if (status == RSL_OK) {
                continue;
            }
            assert_int_equal(status, RSL_ENOMEM);
            assert_string_equal(w->error, rsl_strerror(RSL_ENOMEM));
            assert_null(w->sagas);
            assert_int_equal(support_live(), w->live);
        }
        assert_int_equal(stats_of(w).live, 1);
        assert_int_equal(stats_of(w).finished, 1);
        world_close(w);
    }
}

static void a_thread_that_cannot_be_started_is_told_and_nothing_is_left_behind(void **state)
{
    world *w = *state;
    w->config.threads = 3;
    for (long n = 1; n <= 4; n++) {
        refuse_nth(&threads_refused, n, false);
        errno = 0;
        assert_int_equal(rsl_sagas_open(&w->sagas, &w->config), RSL_ESYS);
        assert_int_equal(errno, 11);
        assert_string_equal(w->error, rsl_strerror(RSL_ESYS));
        assert_null(w->sagas);
        assert_int_equal(support_live(), w->live);
        assert_int_equal(atomic_load(&w->memory.closes), n);
    }
    refuse_nth(&threads_refused, 5, true);
    world_open(w);
    assert_int_equal(atomic_load(&threads_refused.asked), 4);
}

static void a_lock_that_cannot_be_made_is_told_at_open_and_at_start(void **state)
{
    world *w = *state;
    rsl_saga_id id = 77;
    refuse_nth(&locks_refused, 1, false);
    assert_int_equal(rsl_sagas_open(&w->sagas, &w->config), RSL_ESYS);
    assert_null(w->sagas);
    refuse_nth(&locks_refused, 0, false);
    world_open(w);
    DEFINE(w, "abc", abc);
    refuse_nth(&locks_refused, 1, false);
    assert_int_equal(rsl_sagas_start(w->sagas, "abc", "k", NULL, 0, &id), RSL_ESYS);
    refuse_nth(&locks_refused, 0, false);
    assert_true(id == 77);
    assert_int_equal(stats_of(w).live, 0);
    assert_int_equal(memory_store_count(&w->memory, 0, KIND_BEGIN), 0);
    assert_int_equal(play(w, "abc", "k"), RSL_SAGA_DONE);
}

static void nothing_that_was_read_runs_before_recover(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    world_crash(w);
    world_open(w);
    DEFINE(w, "abc", abc);
    w->time.now += RSL_SEC(1000);
    assert_true(rsl_sagas_work(w->sagas) == RSL_FOREVER);
    rsl_ctx ctx = {.deadline = w->time.now + RSL_SEC(1)};
    assert_int_equal(rsl_sagas_wait(w->sagas, id, &ctx, NULL), RSL_ETIMEOUT);
    saga_rig_expect(&w->rig, "");
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    saga_rig_expect(&w->rig, "");
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "a?+ b c");
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(rsl_sagas_recover(NULL), RSL_EINVAL);
}

static void epochs_rise_with_each_open(void **state)
{
    world *w = *state;
    uint64_t before = 0;
    for (int i = 0; i < 4; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        world_open(w);
        DEFINE(w, "abc", abc);
        saga_rig_clear(&w->rig);
        rsl_saga_id id = begin(w, "abc", key);
        assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
        const saga_call *call = saga_rig_find(&w->rig, "b", false, 1);
        assert_true(call->epoch > before);
        assert_true(look(w, id).info.epoch == call->epoch);
        before = call->epoch;
        world_close(w);
    }
}

static void an_open_that_fails_uses_up_no_epoch_that_matters(void **state)
{
    world *w = *state;
    rsl_sagas *sagas = NULL;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    world_close(w);
    w->memory.compact_status = RSL_EIO;
    assert_int_equal(rsl_sagas_open(&sagas, &w->config), RSL_EIO);
    memory_store_restart(&w->memory);
    world_open(w);
    DEFINE(w, "abc", abc);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
}

/* ---------------------------------------------------------------- register */

static void a_definition_is_refused_if_it_is_wrong_or_known(void **state)
{
    world *w = *state;
    rsl_saga_step bad[] = {saga_step_after("a", "b")};
    rsl_saga_def def = {"abc", 1, abc, 3, 0}, wrong = {"bad", 1, bad, 1, 0};
    world_open(w);
    assert_int_equal(rsl_sagas_register(NULL, &def, NULL), RSL_EINVAL);
    assert_int_equal(rsl_sagas_register(w->sagas, NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_sagas_register(w->sagas, &wrong, NULL), RSL_EINVAL);
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_EINVAL);
    def.count = 2;
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_EINVAL);
    def.version = 0;
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
    assert_int_equal(rsl_sagas_start(w->sagas, "bad", "k", NULL, 0, NULL), RSL_EINVAL);
    assert_int_equal(play(w, "abc", "k"), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "a b c");
}

static void register_survives_each_failed_allocation(void **state)
{
    world *w = *state;
    rsl_saga_def def = {"abc", 1, abc, 3, 0};
    world_open(w);
    support_fail_nth(1);
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_ENOMEM);
    assert_int_equal(support_taken(), 1);
    support_fail_never();
    assert_int_equal(rsl_sagas_start(w->sagas, "abc", "k", NULL, 0, NULL), RSL_EINVAL);
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
    assert_int_equal(support_taken(), 1);
    assert_int_equal(play(w, "abc", "k"), RSL_SAGA_DONE);
}

static void a_definition_is_copied(void **state)
{
    world *w = *state;
    char name[] = "def", first[] = "first", second[] = "second", after[] = "first";
    rsl_saga_step steps[] = {saga_step(first), saga_step_after(second, after)};
    world_open(w);
    DEFINE(w, name, steps);
    memset(steps, 0x5A, sizeof(steps));
    name[0] = first[0] = second[0] = after[0] = '#';
    assert_int_equal(play(w, "def", "k"), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "first second");
}

static void start_uses_the_highest_version_and_others_go_on_with_theirs(void **state)
{
    world *w = *state;
    rsl_saga_step two[] = {saga_step("two")}, three[] = {saga_step("three")};
    world_open(w);
    define_version(w, "def", 2, two, 1);
    rsl_saga_id old = begin(w, "def", "old");
    define_version(w, "def", 3, three, 1);
    define_version(w, "def", 1, abc, 3);
    assert_int_equal(play(w, "def", "new"), RSL_SAGA_DONE);
    assert_int_equal(end_of(w, old), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "two three");
    assert_int_equal(look(w, old).info.version, 2);
}

/* ------------------------------------------------------------------- start */

static void a_step_is_told_all_about_its_call(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("first"), saga_step("second")};
    world_open(w);
    DEFINE(w, "def", steps);
    saga_rig_script(&w->rig, "second", "F");
    rsl_saga_id id = begin(w, "def", "k");
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    char key[128];
    const saga_call *call = saga_rig_find(&w->rig, "first", false, 1);
    (void)snprintf(key, sizeof(key), "%s/%d/first/run", w->memory.uuid, (int)id);
    assert_string_equal(call->key, key);
    assert_true(call->saga == id);
    assert_int_equal(call->attempt, 1);
    assert_true(call->epoch == w->memory.epoch);
    assert_true(call->ctx.deadline == 0 && call->ctx.cancel != NULL);
    assert_int_equal(call->ctx.attempt, 1);
    call = saga_rig_find(&w->rig, "first", true, 1);
    (void)snprintf(key, sizeof(key), "%s/%d/first/undo", w->memory.uuid, (int)id);
    assert_string_equal(call->key, key);
    assert_null(call->ctx.cancel);
}

static void a_saga_begins_durably_before_start_returns_and_a_step_before_it_is_called(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    assert_int_equal(memory_store_count(&w->memory, id, KIND_BEGIN), 1);
    saga_rig_expect(&w->rig, "");
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    assert_int_equal(memory_store_count(&w->memory, id, KIND_START), 3);
    assert_int_equal(memory_store_count(&w->memory, id, KIND_DONE), 3);
    assert_int_equal(memory_store_count(&w->memory, id, KIND_END), 1);
}

/* A during: what must be durable by now is. */
static void what_came_before_is_durable(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    rsl_saga_id id = rsl_step_saga(step);
    const char *name = rsl_step_name(step);
    size_t before = (size_t)(name[0] - 'a'), starts = before + 1, ends = before;
    (void)outcome;
    if (rsl_step_is_undo(step)) { /* c failed; so many were undone since */
        starts = 3 + (2 - before);
        ends = 2 + (1 - before);
        assert_int_equal(memory_store_count(&w->memory, id, KIND_FAIL), 1);
        assert_int_equal(memory_store_count(&w->memory, id, KIND_TURN), 1);
    }
    assert_int_equal(memory_store_count(&w->memory, id, KIND_START), starts);
    assert_int_equal(memory_store_count(&w->memory, id, KIND_DONE), ends);
}

static void what_a_step_depends_on_is_durable_before_it_is_called(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "c", "F");
    w->rig.during = what_came_before_is_durable;
    assert_int_equal(play(w, "abc", "k"), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a b c:F -b -a");
}

static void the_same_key_is_the_same_saga_whatever_else_is_asked(void **state)
{
    world *w = *state;
    rsl_saga_step other[] = {saga_step("other")};
    rsl_saga_id again = 0;
    world_open(w);
    DEFINE(w, "abc", abc);
    DEFINE(w, "other", other);
    rsl_saga_id id = begin(w, "abc", "k");
    assert_true(begin(w, "abc", "k") == id);
    assert_true(begin_with(w, "other", "k", "payload", 7) == id);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    assert_true(begin(w, "abc", "k") == id);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    world_reopen(w);
    DEFINE(w, "abc", abc);
    assert_int_equal(rsl_sagas_start(w->sagas, "abc", "k", NULL, 0, &again), RSL_OK);
    assert_true(again == id);
    assert_int_equal(rsl_sagas_start(w->sagas, "abc", "k", NULL, 0, NULL), RSL_OK);
    saga_rig_expect(&w->rig, "a b c");
    assert_int_equal(stats_of(w).begun, 0);
    assert_true(begin(w, "abc", "k2") > id);
}

static void bad_input_to_start_is_refused_and_changes_nothing(void **state)
{
    world *w = *state;
    static char payload[65537], key[RSL_SAGA_KEY_MAX + 2];
    rsl_saga_id id = 77;
    memset(key, 'k', sizeof(key) - 1);
    world_open(w);
    DEFINE(w, "abc", abc);
    const struct {
        rsl_sagas  *sagas;
        const char *def, *key;
        const void *payload;
        size_t      size;
    } bad[] = {
        {NULL, "abc", "k", NULL, 0},          {w->sagas, NULL, "k", NULL, 0},
        {w->sagas, "abc", NULL, NULL, 0},     {w->sagas, "abc", "", NULL, 0},
        {w->sagas, "abc", key, NULL, 0},      {w->sagas, "abd", "k", NULL, 0},
        {w->sagas, "abc", "k", NULL, 1},      {w->sagas, "abc", "k", payload, 65537},
        {w->sagas, "abc", "k", payload, SIZE_MAX}, {w->sagas, "", "k", NULL, 0},
    };
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        assert_int_equal(rsl_sagas_start(bad[i].sagas, bad[i].def, bad[i].key, bad[i].payload,
                                         bad[i].size, &id), RSL_EINVAL);
    }
    assert_true(id == 77);
    assert_int_equal(stats_of(w).live, 0);
    assert_int_equal(w->memory.kept.count, 0);
    key[RSL_SAGA_KEY_MAX] = '\0';
    id = begin_with(w, "abc", key, payload, 65536);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    assert_string_equal(look(w, id).key, key);
}

static void a_key_may_have_any_bytes_but_zero(void **state)
{
    world *w = *state;
    char key[RSL_SAGA_KEY_MAX + 1];
    rsl_saga_id ids[RSL_SAGA_KEY_MAX + 1];
    world_open(w);
    DEFINE(w, "abc", abc);
    for (int length = 1; length <= RSL_SAGA_KEY_MAX; length++) {
        for (int i = 0; i < length; i++) {
            key[i] = (char)(255 - i);
        }
        key[length] = '\0';
        ids[length] = begin(w, "abc", key);
    }
    world_reopen(w);
    DEFINE(w, "abc", abc);
    assert_int_equal(stats_of(w).live, RSL_SAGA_KEY_MAX);
    for (int length = RSL_SAGA_KEY_MAX; length >= 1; length--) {
        key[length] = '\0';
        assert_true(begin(w, "abc", key) == ids[length]);
        assert_string_equal(look(w, ids[length]).key, key);
    }
    assert_int_equal(stats_of(w).live, RSL_SAGA_KEY_MAX);
}

static void no_more_sagas_live_at_once_than_live_max(void **state)
{
    world *w = *state;
    w->config.live_max = 2;
    rsl_saga_id id = 77;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id first = begin(w, "abc", "1");
    begin(w, "abc", "2");
    assert_int_equal(rsl_sagas_start(w->sagas, "abc", "3", NULL, 0, &id), RSL_EFULL);
    assert_true(id == 77);
    assert_true(begin(w, "abc", "1") == first);
    assert_int_equal(end_of(w, first), RSL_SAGA_DONE);
    (void)rsl_sagas_work(w->sagas);
    begin(w, "abc", "3");
    world_reopen(w);
    DEFINE(w, "abc", abc);
    begin(w, "abc", "4");
    assert_int_equal(rsl_sagas_start(w->sagas, "abc", "5", NULL, 0, &id), RSL_EFULL);
}

static void start_survives_each_failed_allocation(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    for (int on = 0; on < 2; on++) {
        int status = RSL_ENOMEM, failed = 0;
        for (long n = 1; failed < 120; n = status == RSL_OK ? 1 : n + 1) {
            char key[32];
            (void)snprintf(key, sizeof(key), "k%d", on * 10000 + failed);
            rsl_saga_id id = 77;
            uint32_t live = stats_of(w).live;
            size_t begun = memory_store_count(&w->memory, 0, KIND_BEGIN);
            (void)(on ? support_fail_from(n) : support_fail_nth(n));
            status = rsl_sagas_start(w->sagas, "abc", key, "payload", 7, &id);
            support_fail_never();
            failed++;
            if (status == RSL_OK) {
                assert_true(begin(w, "abc", key) == id);
                continue;
            }
            assert_int_equal(status, RSL_ENOMEM);
            assert_true(id == 77);
            assert_int_equal(stats_of(w).live, live);
            assert_int_equal(memory_store_count(&w->memory, 0, KIND_BEGIN), begun);
        }
    }
    uint32_t live = stats_of(w).live;
    assert_true(live > 5);
    world_reopen(w);
    DEFINE(w, "abc", abc);
    assert_int_equal(stats_of(w).live, live);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    (void)rsl_sagas_work(w->sagas);
    assert_int_equal(stats_of(w).done, live);
}

static void once_begun_a_saga_needs_no_memory(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_after("b", ""),
                             saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step("c")};
    steps[2].after = "a,b";
    steps[2].retry.attempts_max = 2;
    world_open(w);
    DEFINE(w, "def", steps);
    saga_rig_script(&w->rig, "a", "R");
    saga_rig_script(&w->rig, "c", "FU");
    saga_rig_script_undo(&w->rig, "b", "FRU");
    rsl_saga_id id = begin(w, "def", "k");
    support_fail_from(1);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    assert_int_equal(support_taken(), 0);
}

typedef struct starter {
    world      *w;
    const char *key;
    int         status;
    rsl_saga_id id;
} starter;

static void *starter_run(void *arg)
{
    starter *s = arg;
    while (atomic_load(&s->w->gate) == 0) {
    }
    s->status = rsl_sagas_start(s->w->sagas, "abc", s->key, NULL, 0, &s->id);
    return NULL;
}

static void a_key_that_many_threads_start_at_once_is_begun_once(void **state)
{
    enum { STARTERS = 8, ROUNDS = 20 };
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    for (int round = 1; round <= ROUNDS; round++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", round);
        starter starters[STARTERS];
        pthread_t threads[STARTERS];
        atomic_store(&w->gate, 0);
        for (int i = 0; i < STARTERS; i++) {
            starters[i] = (starter){w, key, RSL_EINVAL, 0};
            threads[i] = thread_start(starter_run, &starters[i]);
        }
        atomic_store(&w->gate, 1);
        for (int i = 0; i < STARTERS; i++) {
            pthread_join(threads[i], NULL);
        }
        for (int i = 0; i < STARTERS; i++) {
            assert_int_equal(starters[i].status, RSL_OK);
            assert_true(starters[i].id == starters[0].id);
        }
        assert_int_equal(end_of(w, starters[0].id), RSL_SAGA_DONE);
    }
    assert_int_equal(stats_of(w).begun, ROUNDS);
    assert_int_equal(saga_rig_count(&w->rig, "a", false), ROUNDS);
}

/* -------------------------------------------------------------------- wait */

static void wait_refuses_what_is_no_saga(void **state)
{
    world *w = *state;
    rsl_saga_state seen = (rsl_saga_state)77;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    assert_int_equal(rsl_sagas_wait(NULL, id, NULL, &seen), RSL_EINVAL);
    assert_int_equal(rsl_sagas_wait(w->sagas, 0, NULL, &seen), RSL_EINVAL);
    assert_int_equal(rsl_sagas_wait(w->sagas, id + 1, NULL, &seen), RSL_EINVAL);
    assert_int_equal((int)seen, 77);
    assert_int_equal(rsl_sagas_wait(w->sagas, id, NULL, NULL), RSL_OK);
    assert_int_equal(rsl_sagas_wait(w->sagas, id, NULL, &seen), RSL_OK);
    assert_int_equal(seen, RSL_SAGA_DONE);
}

static void wait_in_the_callers_thread_ends_with_its_ctx(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a")};
    rsl_cancel cancel;
    steps[0].retry = (rsl_saga_retry){100, RSL_SEC(10), RSL_SEC(10), 1};
    world_open(w);
    DEFINE(w, "def", steps);
    saga_rig_script(&w->rig, "a", "R*");
    rsl_saga_id id = begin(w, "def", "k");
    rsl_ctx ctx = {.deadline = w->time.now + RSL_SEC(15)};
    assert_int_equal(rsl_sagas_wait(w->sagas, id, &ctx, NULL), RSL_ETIMEOUT);
    assert_true(w->time.now == START + RSL_SEC(15));
    saga_rig_expect(&w->rig, "a:R a?+:R");
    assert_int_equal(rsl_sagas_wait(w->sagas, id, &ctx, NULL), RSL_ETIMEOUT);
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_cancel_fire(&cancel);
    ctx = (rsl_ctx){.cancel = &cancel};
    assert_int_equal(rsl_sagas_wait(w->sagas, id, &ctx, NULL), RSL_ECANCELED);
    rsl_cancel_deinit(&cancel);
    assert_true(w->time.now == START + RSL_SEC(15));
}

static void *fire_soon(void *arg)
{
    nap(RSL_MS(10));
    rsl_cancel_fire(arg);
    return NULL;
}

static void wait_for_threads_ends_with_its_ctx(void **state)
{
    world *w = *state;
    rsl_cancel cancel;
    rsl_saga_state seen = (rsl_saga_state)77;
    w->who = "b";
    w->rig.during = who_waits_at_the_gate;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    rsl_ctx ctx = rsl_within(RSL_MS(20));
    assert_int_equal(rsl_sagas_wait(w->sagas, id, &ctx, &seen), RSL_ETIMEOUT);
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    pthread_t thread = thread_start(fire_soon, &cancel);
    ctx = (rsl_ctx){.cancel = &cancel};
    errno = 0;
    assert_int_equal(rsl_sagas_wait(w->sagas, id, &ctx, &seen), RSL_ECANCELED);
    assert_int_equal(errno, 0);
    assert_int_equal((int)seen, 77);
    pthread_join(thread, NULL);
    rsl_cancel_deinit(&cancel);
    atomic_store(&w->gate, 1);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
}

typedef struct waiting {
    world         *w;
    rsl_saga_id    id;
    int            status;
    rsl_saga_state state;
} waiting;

static void *waiting_run(void *arg)
{
    waiting *it = arg;
    rsl_ctx ctx = rsl_within(PATIENCE);
    it->status = rsl_sagas_wait(it->w->sagas, it->id, &ctx, &it->state);
    atomic_fetch_add(&it->w->told, 1);
    return NULL;
}

static void all_who_wait_for_a_saga_are_told(void **state)
{
    enum { WAITERS = 4 };
    world *w = *state;
    waiting waits[WAITERS];
    pthread_t threads[WAITERS];
    w->who = "c";
    w->rig.during = who_waits_at_the_gate;
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "c", "F");
    rsl_saga_id id = begin(w, "abc", "k");
    for (int i = 0; i < WAITERS; i++) {
        waits[i] = (waiting){w, id, RSL_EINVAL, RSL_SAGA_RUNNING};
        threads[i] = thread_start(waiting_run, &waits[i]);
    }
    EVENTUALLY(atomic_load(&w->seen) == 1);
    nap(RSL_MS(5));
    assert_int_equal(atomic_load(&w->told), 0);
    atomic_store(&w->gate, 1);
    for (int i = 0; i < WAITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(waits[i].status, RSL_OK);
        assert_int_equal(waits[i].state, RSL_SAGA_UNWOUND);
    }
}

/* ------------------------------------------------------------------ cancel */

static void cancel_before_the_first_step_is_called_leaves_it_uncalled(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_OK);
    assert_int_equal(memory_store_count(&w->memory, id, KIND_TURN), 1);
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_OK);
    assert_int_equal(memory_store_count(&w->memory, id, KIND_TURN), 1);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "");
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_EINVAL);
    note back = diary_last(&w->diary, id, RSL_SAGA_TURNS_BACK);
    assert_int_equal(back.status, RSL_ECANCELED);
    assert_int_equal(diary_last(&w->diary, id, RSL_SAGA_ENDED).status, RSL_EUNWOUND);
}

static void cancel_refuses_what_is_no_saga(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    assert_int_equal(rsl_sagas_cancel(NULL, id), RSL_EINVAL);
    assert_int_equal(rsl_sagas_cancel(w->sagas, 0), RSL_EINVAL);
    assert_int_equal(rsl_sagas_cancel(w->sagas, id + 1), RSL_EINVAL);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_EINVAL);
}

/* A during: the step has its own saga cancelled. */
static void who_cancels_its_saga(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    (void)outcome;
    if (is_who(w, step)) {
        atomic_store(&w->told, rsl_sagas_cancel(w->sagas, rsl_step_saga(step)));
        atomic_store(&w->seen, rsl_cancel_fired(rsl_step_ctx(step).cancel) ? 1 : 2);
    }
}

static void cancel_within_a_step_fires_its_ctx_and_undoes_it(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    w->who = "b";
    w->rig.during = who_cancels_its_saga;
    rsl_saga_id id = begin(w, "abc", "k");
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    assert_int_equal(atomic_load(&w->told), RSL_OK);
    assert_int_equal(atomic_load(&w->seen), 1);
    saga_rig_expect(&w->rig, "a b -b -a");
    diary_expect(&w->diary, id, "BEGUN start:a done:a start:b BACK done:b undo:b undone:b undo:a "
                                "undone:a END");
}

static void a_pivot_that_has_begun_cannot_be_cancelled(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT),
                             saga_step_flagged("z", RSL_STEP_RETRIABLE)};
    world_open(w);
    DEFINE(w, "def", steps);
    w->who = "p";
    w->rig.during = who_cancels_its_saga;
    assert_int_equal(play(w, "def", "k1"), RSL_SAGA_DONE);
    assert_int_equal(atomic_load(&w->told), RSL_EINVAL);
    assert_int_equal(atomic_load(&w->seen), 2);
    w->who = "z";
    assert_int_equal(play(w, "def", "k2"), RSL_SAGA_DONE);
    assert_int_equal(atomic_load(&w->told), RSL_EINVAL);
    w->who = "a";
    assert_int_equal(play(w, "def", "k3"), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a p z a p z a -a");
}

static void cancel_while_a_saga_unwinds_to_a_savepoint_unwinds_all(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("s", RSL_STEP_SAVEPOINT),
                             saga_step("b"), saga_step("c")};
    world_open(w);
    DEFINE(w, "def", steps);
    saga_rig_script(&w->rig, "c", "F");
    saga_rig_script_undo(&w->rig, "b", "F");
    rsl_saga_id id = begin(w, "def", "k");
    (void)rsl_sagas_work(w->sagas); /* until b's compensation waits for its next attempt */
    saga_rig_expect(&w->rig, "a s b c:F -b:F");
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_OK);
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a s b c:F -b:F -b+ -s -a");
    assert_int_equal(diary_count(&w->diary, id, RSL_SAGA_TURNS_BACK), 2);
    assert_int_equal(diary_count(&w->diary, id, RSL_SAGA_TURNS_FORTH), 0);
}

static void cancel_while_a_step_waits_for_its_next_attempt_undoes_it(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "b", "R");
    rsl_saga_id id = begin(w, "abc", "k");
    (void)rsl_sagas_work(w->sagas);
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a b:R -b? -a");
}

/* A during: the step waits until its ctx is cancelled. */
static void who_waits_for_its_cancel(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    rsl_cancel *cancel = rsl_step_ctx(step).cancel;
    (void)outcome;
    if (is_who(w, step)) {
        atomic_fetch_add(&w->seen, 1);
        while (!rsl_cancel_fired(cancel)) {
            nap(RSL_US(100));
        }
    }
}

static void cancel_from_another_thread_reaches_a_step_under_way(void **state)
{
    world *w = *state;
    w->who = "b";
    w->rig.during = who_waits_for_its_cancel;
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "b", "U");
    rsl_saga_id id = begin(w, "abc", "k");
    EVENTUALLY(atomic_load(&w->seen) == 1);
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a b:U -b? -a");
}

static void a_saga_that_was_read_may_be_cancelled_before_recover(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    world_crash(w);
    world_open(w);
    DEFINE(w, "abc", abc);
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_OK);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "-a?");
}

/* ------------------------------------------------------- parked, and resolve */

/* a and x begin; b comes after a, z after all; z fails, and b cannot be undone. */
static void define_stuck(world *w)
{
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step_after("x", ""),
                             saga_step_after("z", "b,x")};
    steps[1].undo_retry.attempts_max = 2;
    DEFINE(w, "stuck", steps);
    saga_rig_script(&w->rig, "z", "F*");
    saga_rig_script_undo(&w->rig, "b", "FU");
}

static rsl_saga_id park(world *w, const char *key)
{
    rsl_saga_id id = begin(w, "stuck", key);
    assert_int_equal(end_of(w, id), RSL_SAGA_PARKED);
    return id;
}

#define STUCK_TRACE "a x b z:F -x -b:F -b+:U"

static void when_an_undo_is_out_of_attempts_the_other_branches_are_still_undone(void **state)
{
    world *w = *state;
    world_open(w);
    define_stuck(w);
    rsl_saga_id id = park(w, "k");
    saga_rig_expect(&w->rig, STUCK_TRACE);
    diary_expect(&w->diary, id, "BEGUN start:a start:x done:a start:b done:x done:b start:z "
                                "fail:z BACK undo:x undo:b undone:x undo-again:b undo:b "
                                "undo-again:b park:b");
    assert_int_equal(diary_last(&w->diary, id, RSL_SAGA_STEP_PARKED).status, SAGA_STATUS);
    sight s = look(w, id);
    assert_int_equal(s.info.state, RSL_SAGA_PARKED);
    assert_string_equal(s.step, "b");
    assert_int_equal(s.info.status, SAGA_STATUS);
    assert_int_equal(stats_of(w).parked, 1);
    assert_int_equal(rsl_sagas_wait(w->sagas, id, NULL, NULL), RSL_OK);
    (void)rsl_sagas_work(w->sagas);
    saga_rig_expect(&w->rig, STUCK_TRACE);
}

static void a_parked_step_is_called_again_when_an_operator_says_so(void **state)
{
    world *w = *state;
    world_open(w);
    define_stuck(w);
    rsl_saga_id id = park(w, "k");
    saga_rig_script_undo(&w->rig, "b", "FUO"); /* one attempt more: all of them count anew */
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "b", RSL_SAGA_RETRY), RSL_OK);
    assert_int_equal(memory_store_count(&w->memory, id, KIND_RESOLVE), 1);
    assert_int_equal(diary_last(&w->diary, id, RSL_SAGA_RESOLVED).status, RSL_SAGA_RETRY);
    assert_int_equal(end_of(w, id), RSL_SAGA_PARKED);
    saga_rig_expect(&w->rig, STUCK_TRACE " -b+:F -b+:U");
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "b", RSL_SAGA_RETRY), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, STUCK_TRACE " -b+:F -b+:U -b+ -a");
}

static void a_parked_step_is_taken_for_undone_when_an_operator_says_so(void **state)
{
    world *w = *state;
    world_open(w);
    define_stuck(w);
    rsl_saga_id id = park(w, "k");
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "b", RSL_SAGA_SKIP), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, STUCK_TRACE " -a");
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "b", RSL_SAGA_SKIP), RSL_EINVAL);
}

static void a_parked_saga_ends_as_it_stands_when_an_operator_abandons_it(void **state)
{
    world *w = *state;
    world_open(w);
    define_stuck(w);
    rsl_saga_id id = park(w, "k");
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "b", RSL_SAGA_ABANDON), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_ABANDONED);
    assert_int_equal(diary_last(&w->diary, id, RSL_SAGA_ENDED).status, RSL_ECANCELED);
    saga_rig_script_undo(&w->rig, "b", "FU");
    id = park(w, "k2");
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, NULL, RSL_SAGA_ABANDON), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_ABANDONED);
    saga_rig_expect(&w->rig, STUCK_TRACE " " STUCK_TRACE);
    assert_int_equal(stats_of(w).abandoned, 2);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, NULL, RSL_SAGA_ABANDON), RSL_EINVAL);
}

static void resolve_refuses_what_is_not_parked(void **state)
{
    world *w = *state;
    world_open(w);
    define_stuck(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = park(w, "k"), free = begin(w, "abc", "free");
    assert_int_equal(rsl_sagas_resolve(NULL, id, "b", RSL_SAGA_SKIP), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, 0, "b", RSL_SAGA_SKIP), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, 99, "b", RSL_SAGA_SKIP), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, NULL, RSL_SAGA_SKIP), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, NULL, RSL_SAGA_RETRY), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "a", RSL_SAGA_SKIP), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "x", RSL_SAGA_RETRY), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "y", RSL_SAGA_SKIP), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "y", RSL_SAGA_ABANDON), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "b", (rsl_saga_verb)3), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, free, "a", RSL_SAGA_SKIP), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, free, NULL, RSL_SAGA_ABANDON), RSL_EINVAL);
    assert_int_equal(memory_store_count(&w->memory, 0, KIND_RESOLVE), 0);
    assert_int_equal(look(w, id).info.state, RSL_SAGA_PARKED);
    assert_int_equal(end_of(w, free), RSL_SAGA_DONE);
}

static void of_two_parked_steps_each_has_its_own_word(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_after("b", ""),
                             saga_step_after("c", "a,b")};
    steps[0].undo_retry.attempts_max = steps[1].undo_retry.attempts_max = 1;
    world_open(w);
    DEFINE(w, "def", steps);
    saga_rig_script(&w->rig, "c", "F");
    saga_rig_script_undo(&w->rig, "a", "F");
    saga_rig_script_undo(&w->rig, "b", "F");
    rsl_saga_id id = begin(w, "def", "k");
    assert_int_equal(end_of(w, id), RSL_SAGA_PARKED);
    assert_int_equal(diary_count(&w->diary, id, RSL_SAGA_STEP_PARKED), 2);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "b", RSL_SAGA_SKIP), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_PARKED);
    assert_string_equal(look(w, id).step, "a");
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "a", RSL_SAGA_RETRY), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a b c:F -b:F -a:F -a+");
}

static void a_parked_saga_is_still_parked_after_a_restart_and_may_be_resolved(void **state)
{
    world *w = *state;
    world_open(w);
    define_stuck(w);
    rsl_saga_id id = park(w, "k");
    world_reopen(w);
    define_stuck(w);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_PARKED);
    assert_string_equal(look(w, id).step, "b");
    assert_int_equal(look(w, id).info.status, SAGA_STATUS);
    saga_rig_script_undo(&w->rig, "b", "");
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "b", RSL_SAGA_RETRY), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, STUCK_TRACE " -b+ -a");
}

/* A pivot that nothing undoes, whose outcome is not known. */
static rsl_saga_id park_pivot(world *w, const char *key)
{
    saga_rig_script(&w->rig, "p", "U");
    rsl_saga_id id = begin(w, "pivot", key);
    assert_int_equal(end_of(w, id), RSL_SAGA_PARKED);
    assert_string_equal(look(w, id).step, "p");
    saga_rig_clear(&w->rig);
    return id;
}

static void a_pivot_in_doubt_waits_for_an_operator(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT),
                             saga_step_flagged("z", RSL_STEP_RETRIABLE)};
    steps[1].undo = NULL;
    world_open(w);
    DEFINE(w, "pivot", steps);
    rsl_saga_id id = park_pivot(w, "retry");
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "p", RSL_SAGA_RETRY), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "p?+ z");
    id = park_pivot(w, "skip");
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "p", RSL_SAGA_SKIP), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "z");
    id = park_pivot(w, "abandon");
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "p", RSL_SAGA_ABANDON), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_ABANDONED);
    saga_rig_expect(&w->rig, "");
    id = park_pivot(w, "cancel");
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "-a");
}

static void one_parked_saga_stops_no_other(void **state)
{
    world *w = *state;
    world_open(w);
    define_stuck(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = park(w, "k");
    assert_int_equal(play(w, "abc", "k2"), RSL_SAGA_DONE);
    assert_int_equal(look(w, id).info.state, RSL_SAGA_PARKED);
}

/* ----------------------------------------------------- changed definitions */

typedef struct changed_def {
    const char   *what;
    rsl_saga_step steps[4];
    size_t        count;
    uint32_t      version;
    bool          goes_on;
} changed_def;

#define S(label) {.name = (label), .run = saga_rig_run, .undo = saga_rig_undo}
#define S_AFTER(label, others) \
    {.name = (label), .run = saga_rig_run, .undo = saga_rig_undo, .after = (others)}
#define S_WITHOUT_UNDO(label) {.name = (label), .run = saga_rig_run}
#define S_FLAGS(label, bits) \
    {.name = (label), .run = saga_rig_run, .undo = saga_rig_undo, .flags = (bits)}
#define S_PATIENT(label)                                                           \
    {.name = (label), .run = saga_rig_run, .undo = saga_rig_undo, .timeout = RSL_SEC(9), \
     .retry = {.attempts_max = 99}, .undo_retry = {.delay_max = RSL_SEC(99)}}

static const changed_def changed_defs[] = {
    {"nothing", {S("a"), S("b"), S("c")}, 3, 1, true},
    {"after said in words", {S("a"), S_AFTER("b", "a"), S_AFTER("c", "b")}, 3, 1, true},
    {"retries and timeouts", {S_PATIENT("a"), S_PATIENT("b"), S_PATIENT("c")}, 3, 1, true},
    {"the version", {S("a"), S("b"), S("c")}, 3, 2, false},
    {"a name", {S("a"), S("b"), S("d")}, 3, 1, false},
    {"the order", {S("a"), S("c"), S("b")}, 3, 1, false},
    {"a step less", {S("a"), S("b")}, 2, 1, false},
    {"a step more", {S("a"), S("b"), S("c"), S("d")}, 4, 1, false},
    {"a compensation less", {S("a"), S("b"), S_WITHOUT_UNDO("c")}, 3, 1, false},
    {"flags", {S("a"), S("b"), S_FLAGS("c", RSL_STEP_RETRIABLE)}, 3, 1, false},
    {"a pivot", {S("a"), S("b"), S_FLAGS("c", RSL_STEP_PIVOT)}, 3, 1, false},
    {"after", {S("a"), S("b"), S_AFTER("c", "a,b")}, 3, 1, false},
    {"independence", {S("a"), S_AFTER("b", ""), S("c")}, 3, 1, false},
};

/* Leaves a saga whose first step is out. */
static rsl_saga_id leave_begun(world *w, const char *key)
{
    world_open(w);
    DEFINE(w, "def", abc);
    rsl_saga_id id = begin(w, "def", key);
    world_crash(w);
    return id;
}

static void a_saga_whose_definition_has_changed_is_parked_and_nothing_is_guessed(void **state)
{
    world *w = *state;
    for (size_t i = 0; i < RSL_COUNT(changed_defs); i++) {
        const changed_def *def = &changed_defs[i];
        char key[32];
        (void)snprintf(key, sizeof(key), "k%zu", i);
        saga_rig_clear(&w->rig);
        rsl_saga_id id = leave_begun(w, key);
        world_open(w);
        define_version(w, "def", def->version, def->steps, def->count);
        assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
        assert_int_equal(end_of(w, id), def->goes_on ? RSL_SAGA_DONE : RSL_SAGA_PARKED);
        saga_rig_expect(&w->rig, def->goes_on ? "a?+ b c" : "");
        if (!def->goes_on) {
            assert_int_equal(look(w, id).info.status, RSL_EINVAL);
            assert_int_equal(stats_of(w).parked, 1);
            assert_int_equal(rsl_sagas_resolve(w->sagas, id, "a", RSL_SAGA_SKIP), RSL_EINVAL);
        }
        world_reopen(w); /* with the one that it was begun under, it goes on */
        DEFINE(w, "def", abc);
        assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
        assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
        world_close(w);
    }
}

static void a_saga_without_its_definition_goes_on_once_that_is_registered(void **state)
{
    world *w = *state;
    rsl_saga_id id = leave_begun(w, "k");
    world_open(w);
    define_version(w, "def", 2, abc, 2);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_PARKED);
    DEFINE(w, "def", abc);
    (void)rsl_sagas_work(w->sagas);
    assert_int_equal(look(w, id).info.state, RSL_SAGA_PARKED);
    saga_rig_expect(&w->rig, "");
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(look(w, id).info.state, RSL_SAGA_RUNNING);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "a?+ b c");
}

static void a_saga_without_its_definition_may_be_abandoned_but_not_guessed_at(void **state)
{
    world *w = *state;
    rsl_saga_id id = leave_begun(w, "k");
    world_open(w);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_PARKED);
    sight s = look(w, id);
    assert_int_equal(s.info.status, RSL_EINVAL);
    assert_string_equal(s.def, "def");
    assert_string_equal(s.step, "(none)");
    assert_int_equal(s.info.steps_count, 3);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, NULL, RSL_SAGA_ABANDON), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_ABANDONED);
    saga_rig_expect(&w->rig, "");
    world_reopen(w);
    assert_int_equal(look(w, id).info.state, RSL_SAGA_ABANDONED);
}

static void a_parked_definition_can_be_cancelled_and_unwinds_when_it_is_back(void **state)
{
    world *w = *state;
    rsl_saga_id id = leave_begun(w, "k");
    world_open(w);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_PARKED);
    saga_rig_expect(&w->rig, "");
    DEFINE(w, "def", abc);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "-a?");
}

static void a_hole_in_a_log_parks_its_saga_and_no_other(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "c", "R*");
    rsl_saga_id holed = begin(w, "abc", "holed"), headless = begin(w, "abc", "headless"),
                whole = begin(w, "abc", "whole");
    (void)rsl_sagas_work(w->sagas);
    world_close(w);
    size_t kept = 0;
    for (size_t i = 0; i < w->memory.kept.count; i++) { /* as salvage may leave it */
        rsl_saga_record *record = &w->memory.kept.at[i];
        if ((record->saga == holed && record->number == 3) ||
            (record->saga == headless && record->number < 4)) {
            free((void *)record->data);
        } else {
            w->memory.kept.at[kept++] = *record;
        }
    }
    w->memory.kept.count = kept;
    saga_rig_clear(&w->rig);
    world_open(w);
    DEFINE(w, "abc", abc);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, holed), RSL_SAGA_PARKED);
    assert_int_equal(end_of(w, headless), RSL_SAGA_PARKED);
    assert_int_equal(end_of(w, whole), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "c?+");
    assert_int_equal(look(w, holed).info.status, RSL_ECORRUPT);
    assert_string_equal(look(w, holed).key, "holed");
    assert_int_equal(look(w, headless).info.status, RSL_ECORRUPT);
    assert_int_equal(rsl_sagas_cancel(w->sagas, holed), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, holed, "c", RSL_SAGA_SKIP), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(w->sagas, holed, NULL, RSL_SAGA_ABANDON), RSL_OK);
    assert_int_equal(rsl_sagas_resolve(w->sagas, headless, NULL, RSL_SAGA_ABANDON), RSL_OK);
    assert_int_equal(end_of(w, holed), RSL_SAGA_ABANDONED);
    assert_int_equal(end_of(w, headless), RSL_SAGA_ABANDONED);
    saga_rig_expect(&w->rig, "c?+");
}

/* ---------------------------------------------------------------- suspects */

/* Sagas of one step, p and q, of which q has a deadline of 10 s. */
static void open_suspects(world *w)
{
    rsl_saga_step one[] = {saga_step("p")}, other[] = {saga_step("q")};
    rsl_saga_def def = {"other", 1, other, 1, RSL_SEC(10)};
    world_open(w);
    DEFINE(w, "one", one);
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
}

/* A during: the process dies in this call. */
static void dies(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    (void)step, (void)outcome;
    if (!w->memory.stopped) {
        w->memory.stopped = true;
        atomic_store(&w->told, (int)stats_of(w).ready);
    }
}

/* Recovers, and dies in the first step that is called. How many more were to be. */
static int die_once(world *w)
{
    w->rig.during = dies;
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    (void)rsl_sagas_work(w->sagas);
    world_crash(w);
    w->rig.during = NULL;
    saga_rig_clear(&w->rig);
    open_suspects(w);
    return atomic_load(&w->told);
}

/* Has two sagas die together until both are suspects. */
static void make_suspects(world *w, rsl_saga_id *one, rsl_saga_id *other)
{
    open_suspects(w);
    *one = begin(w, "one", "p");
    *other = begin(w, "other", "q");
    for (int i = 0; i <= RSL_SAGA_CUTS_SUSPECT_; i++) {
        assert_int_equal(die_once(w), 1);
    }
}

static void of_steps_that_crashes_cut_short_again_and_again_one_is_started_at_a_time(void **state)
{
    world *w = *state;
    rsl_saga_id one, other;
    make_suspects(w, &one, &other);
    for (int i = RSL_SAGA_CUTS_SUSPECT_; i < RSL_SAGA_CUTS_MAX_; i++) {
        assert_int_equal(die_once(w), 0);
    }
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, one), RSL_SAGA_UNWOUND); /* the cause, for all that can be told */
    assert_int_equal(end_of(w, other), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "-p? q?+");
}

/* A during: while p is out, the deadline of the saga of q passes. */
static void outlasts_the_other(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    (void)outcome;
    if (strcmp(rsl_step_name(step), "p") == 0) {
        assert_int_equal(look(w, atomic_load(&w->id)).info.state, RSL_SAGA_RUNNING);
        w->time.now += RSL_SEC(11);
        (void)rsl_sagas_work(w->sagas);
        assert_int_equal(look(w, atomic_load(&w->id)).info.state, RSL_SAGA_UNWOUND);
        atomic_store(&w->told, 77);
    }
}

static void a_suspect_that_waits_for_another_still_heeds_its_deadline(void **state)
{
    world *w = *state;
    rsl_saga_id one, other;
    make_suspects(w, &one, &other);
    atomic_store(&w->id, other);
    w->rig.during = outlasts_the_other;
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, one), RSL_SAGA_DONE);
    assert_int_equal(atomic_load(&w->told), 77);
    assert_int_equal(diary_last(&w->diary, other, RSL_SAGA_TURNS_BACK).status, RSL_ETIMEOUT);
    saga_rig_expect(&w->rig, "p?+ -q?");
}

/* ------------------------------------------------------- list, look, stats */

typedef struct listing {
    rsl_saga_id    ids[64];
    rsl_saga_state states[64];
    size_t         count, limit;
} listing;

static bool listing_visit(const rsl_saga_info *info, void *user)
{
    listing *l = user;
    if (l->count < RSL_COUNT(l->ids)) {
        l->ids[l->count] = info->id;
        l->states[l->count] = info->state;
    }
    return ++l->count != l->limit;
}

static size_t list_count(world *w, unsigned states)
{
    listing l;
    memset(&l, 0, sizeof(l));
    assert_int_equal(rsl_sagas_list(w->sagas, states, listing_visit, &l), RSL_OK);
    for (size_t i = 0; i < l.count && i < RSL_COUNT(l.ids); i++) {
        assert_true(states == 0 || (states >> l.states[i] & 1) != 0);
        assert_true(i == 0 || l.ids[i] > l.ids[i - 1]);
    }
    return l.count;
}

/* One saga in each state; ids from 1 in the order of rsl_saga_state. Some wait for 100 s. */
static void fill_all_states(world *w)
{
    rsl_saga_step waits[] = {saga_step("r")}, turns[] = {saga_step("q"), saga_step("t")};
    waits[0].retry.delay_first = turns[0].undo_retry.delay_first = RSL_SEC(100);
    define_stuck(w);
    DEFINE(w, "abc", abc);
    DEFINE(w, "waits", waits);
    DEFINE(w, "turns", turns);
    saga_rig_script(&w->rig, "r", "R*");
    saga_rig_script(&w->rig, "t", "F*");
    saga_rig_script_undo(&w->rig, "q", "F");
    begin(w, "waits", "running");
    begin(w, "turns", "unwinding");
    (void)rsl_sagas_work(w->sagas);
    saga_rig_script(&w->rig, "c", "OF");
    assert_int_equal(play(w, "abc", "done"), RSL_SAGA_DONE);
    saga_rig_script_undo(&w->rig, "b", "");
    assert_int_equal(play(w, "abc", "unwound"), RSL_SAGA_UNWOUND);
    saga_rig_script_undo(&w->rig, "b", "F*");
    park(w, "parked");
    rsl_saga_id id = park(w, "abandoned");
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, NULL, RSL_SAGA_ABANDON), RSL_OK);
    (void)rsl_sagas_work(w->sagas);
}

static void list_visits_by_id_those_in_the_states_that_are_asked_for(void **state)
{
    world *w = *state;
    listing l;
    world_open(w);
    assert_int_equal(list_count(w, 0), 0);
    w->time.now = START;
    fill_all_states(w);
    memset(&l, 0, sizeof(l));
    assert_int_equal(rsl_sagas_list(w->sagas, 0, listing_visit, &l), RSL_OK);
    assert_int_equal(l.count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_true(l.ids[i] == i + 1);
        assert_int_equal(l.states[i], i);
        assert_int_equal(list_count(w, 1u << i), 1);
    }
    assert_int_equal(list_count(w, 1u << RSL_SAGA_DONE | 1u << RSL_SAGA_PARKED), 2);
    assert_int_equal(list_count(w, 1u << 31), 0);
    memset(&l, 0, sizeof(l));
    l.limit = 2;
    assert_int_equal(rsl_sagas_list(w->sagas, 0, listing_visit, &l), RSL_OK);
    assert_int_equal(l.count, 2);
    assert_int_equal(rsl_sagas_list(NULL, 0, listing_visit, &l), RSL_EINVAL);
    assert_int_equal(rsl_sagas_list(w->sagas, 0, NULL, &l), RSL_EINVAL);
    support_fail_from(1);
    assert_int_equal(rsl_sagas_list(w->sagas, 0, listing_visit, &l), RSL_ENOMEM);
    support_fail_never();
    assert_int_equal(l.count, 2);
}

static void what_list_tells_is_the_same_after_a_restart(void **state)
{
    world *w = *state;
    world_open(w);
    fill_all_states(w);
    world_reopen(w);
    for (rsl_saga_id id = 1; id <= 6; id++) {
        assert_int_equal(look(w, id).info.state, id - 1);
    }
    assert_string_equal(look(w, 3).key, "done");
    assert_string_equal(look(w, 3).def, "abc");
    assert_int_equal(look(w, 3).info.version, 1);
}

static void look_tells_how_far_a_saga_is_and_what_failed(void **state)
{
    world *w = *state;
    sight s;
    world_open(w);
    fill_all_states(w);
    s = look(w, 1);
    assert_string_equal(s.key, "running");
    assert_string_equal(s.def, "waits");
    assert_int_equal(s.info.steps_done, 0);
    assert_int_equal(s.info.steps_count, 1);
    assert_string_equal(s.step, "(none)");
    assert_true(s.info.epoch == w->memory.epoch);
    s = look(w, 2);
    assert_string_equal(s.step, "t");
    assert_int_equal(s.info.status, SAGA_STATUS);
    s = look(w, 3);
    assert_int_equal(s.info.steps_done, 0);
    assert_int_equal(s.info.steps_count, 0);
    assert_string_equal(s.step, "(none)");
    assert_int_equal(s.info.status, 0);
    s = look(w, 5);
    assert_string_equal(s.step, "b");
    assert_int_equal(s.info.steps_count, 4);
    assert_int_equal(s.info.steps_done, 1);
    assert_int_equal(rsl_sagas_look(w->sagas, 7, sight_visit, &s), RSL_EINVAL);
    assert_int_equal(rsl_sagas_look(w->sagas, 0, sight_visit, &s), RSL_EINVAL);
    assert_int_equal(rsl_sagas_look(w->sagas, 1, NULL, &s), RSL_EINVAL);
    assert_int_equal(rsl_sagas_look(NULL, 1, sight_visit, &s), RSL_EINVAL);
    assert_int_equal(s.visits, 1);
}

static void stats_count_what_there_is_and_what_has_been(void **state)
{
    world *w = *state;
    rsl_sagas_stats none;
    memset(&none, 0x5A, sizeof(none));
    rsl_sagas_stats_get(NULL, &none);
    assert_int_equal(none.live + none.begun + none.records + none.failed, 0);
    rsl_sagas_stats_get(NULL, NULL);
    world_open(w);
    rsl_sagas_stats_get(w->sagas, NULL);
    fill_all_states(w);
    rsl_sagas_stats stats = stats_of(w);
    assert_int_equal(stats.live, 3);
    assert_int_equal(stats.parked, 1);
    assert_int_equal(stats.finished, 3);
    assert_int_equal(stats.running + stats.ready, 0);
    assert_int_equal(stats.begun, 6);
    assert_int_equal(stats.done, 1);
    assert_int_equal(stats.unwound, 1);
    assert_int_equal(stats.abandoned, 1);
    assert_int_equal(stats.records, w->memory.kept.count);
    assert_int_equal(stats.appends, atomic_load(&w->memory.appends));
    assert_false(stats.failed);
    world_reopen(w);
    stats = stats_of(w);
    assert_int_equal(stats.live, 3);
    assert_int_equal(stats.finished, 3);
    assert_int_equal(stats.begun + stats.done + stats.unwound + stats.abandoned, 0);
}

static void stats_count_steps_that_run_and_that_are_ready(void **state)
{
    world *w = *state;
    w->config.threads = 1;
    w->who = "a";
    w->rig.during = who_waits_at_the_gate;
    world_open(w);
    DEFINE(w, "abc", abc);
    begin(w, "abc", "1");
    begin(w, "abc", "2");
    rsl_saga_id id = begin(w, "abc", "3");
    EVENTUALLY(atomic_load(&w->seen) == 1 && stats_of(w).ready == 2);
    nap(RSL_MS(2));
    assert_int_equal(stats_of(w).running, 1);
    assert_int_equal(stats_of(w).ready, 2);
    atomic_store(&w->gate, 1);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
}

/* ------------------------------------------------------------------ events */

static void each_transition_has_its_event_in_order(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step_flagged("a", RSL_STEP_RETRIABLE),
                             saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step("b"),
                             saga_step("c")};
    steps[1].retry.attempts_max = 2;
    steps[2].undo_retry.attempts_max = 1;
    world_open(w);
    DEFINE(w, "def", steps);
    saga_rig_script(&w->rig, "a", "F");
    saga_rig_script(&w->rig, "c", "FU");
    saga_rig_script_undo(&w->rig, "b", "OF");
    saga_rig_script_undo(&w->rig, "c", "R");
    rsl_saga_id id = begin(w, "def", "k");
    assert_int_equal(end_of(w, id), RSL_SAGA_PARKED);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "b", RSL_SAGA_SKIP), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    diary_expect(&w->diary, id,
                 "BEGUN start:a again:a start:a done:a start:s done:s start:b done:b start:c "
                 "fail:c BACK undo:b undone:b FORTH start:b done:b start:c doubt:c BACK undo:c "
                 "undo-again:c undo:c undone:c undo:b undo-again:b park:b WORD undo:s undone:s "
                 "undo:a undone:a END");
    saga_rig_expect(&w->rig, "a:F a?+ s b c:F -b b c:U -c?:R -c?+ -b:F -s -a");
    assert_int_equal(diary_last(&w->diary, id, RSL_SAGA_BEGUN).status, 0);
    assert_string_equal(diary_last(&w->diary, id, RSL_SAGA_BEGUN).source, "def");
    assert_int_equal(diary_last(&w->diary, id, RSL_SAGA_STEP_RETRIES).status, SAGA_STATUS);
    assert_int_equal(diary_last(&w->diary, id, RSL_SAGA_TURNS_BACK).status, SAGA_STATUS);
    assert_string_equal(diary_last(&w->diary, id, RSL_SAGA_TURNS_BACK).source, "c");
    assert_int_equal(diary_last(&w->diary, id, RSL_SAGA_RESOLVED).status, RSL_SAGA_SKIP);
    assert_int_equal(diary_last(&w->diary, id, RSL_SAGA_ENDED).status, RSL_EUNWOUND);
    assert_true(diary_last(&w->diary, id, RSL_SAGA_ENDED).at == w->time.now);
}

static void a_step_that_fails_after_an_attempt_of_unknown_effect_is_told_as_in_doubt(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "b", "RF");
    rsl_saga_id id = begin(w, "abc", "k");
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a b:R b?+:F -b? -a");
    assert_int_equal(diary_count(&w->diary, id, RSL_SAGA_STEP_FAILED), 0);
    assert_int_equal(diary_count(&w->diary, id, RSL_SAGA_STEP_IN_DOUBT), 1);
}

/* An observer that calls the runtime from within events of the saga that they are about. */
static void meddle(const rsl_event *event, void *arg)
{
    world *w = arg;
    rsl_saga_id id = 0;
    listing l;
    memset(&l, 0, sizeof(l));
    if (event->kind == RSL_SAGA_BEGUN && strcmp(event->source, "abc") == 0) {
        int status = rsl_sagas_start(w->sagas, "other", "from an event", NULL, 0, &id);
        assert_int_equal(status, RSL_OK);
        atomic_store(&w->id, id);
        assert_int_equal(rsl_sagas_start(w->sagas, "abc", "k", NULL, 0, &id), RSL_OK);
        assert_true(id == (rsl_saga_id)event->value);
    }
    if (event->kind == RSL_SAGA_STEP_DONE && strcmp(event->source, "b") == 0) {
        assert_int_equal(rsl_sagas_cancel(w->sagas, (rsl_saga_id)event->value), RSL_OK);
        atomic_fetch_add(&w->seen, 1);
    }
    assert_int_equal(rsl_sagas_list(w->sagas, 0, listing_visit, &l), RSL_OK);
    assert_true(l.count >= 1);
    (void)stats_of(w);
}

static void an_observer_may_start_cancel_and_list(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("o")};
    w->diary.then = meddle;
    w->overlaps = true; /* an event within an event */
    world_open(w);
    DEFINE(w, "abc", abc);
    DEFINE(w, "other", steps);
    rsl_saga_id id = begin(w, "abc", "k");
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    assert_int_equal(atomic_load(&w->seen), 1);
    assert_int_equal(end_of(w, atomic_load(&w->id)), RSL_SAGA_DONE);
    assert_int_equal(saga_rig_count(&w->rig, "b", true), 1);
    assert_int_equal(saga_rig_count(&w->rig, "o", false), 1);
}

/* An observer that resolves what parks, at once. */
static void resolve_at_once(const rsl_event *event, void *arg)
{
    world *w = arg;
    if (event->kind == RSL_SAGA_STEP_PARKED) {
        rsl_saga_verb verb = atomic_fetch_add(&w->seen, 1) < 3 ? RSL_SAGA_RETRY : RSL_SAGA_SKIP;
        assert_int_equal(rsl_sagas_resolve(w->sagas, (rsl_saga_id)event->value, event->source,
                                           verb), RSL_OK);
    }
}

static void an_observer_may_resolve_what_parks(void **state)
{
    world *w = *state;
    w->diary.then = resolve_at_once;
    w->overlaps = true;
    world_open(w);
    define_stuck(w);
    saga_rig_script_undo(&w->rig, "b", "F*");
    rsl_saga_id id = begin(w, "stuck", "k");
    while (end_of(w, id) == RSL_SAGA_PARKED) {
        (void)rsl_sagas_work(w->sagas);
    }
    assert_int_equal(look(w, id).info.state, RSL_SAGA_UNWOUND);
    assert_int_equal(atomic_load(&w->seen), 4);
    assert_int_equal(saga_rig_count(&w->rig, "b", true), 8);
}

/* An observer that stays in the event of the step whom the world points out. */
static void linger(const rsl_event *event, void *arg)
{
    world *w = arg;
    if (event->kind == RSL_SAGA_STEP_DONE && strcmp(event->source, w->who) == 0) {
        atomic_fetch_add(&w->seen, 1);
        while (atomic_load(&w->gate) == 0) {
            nap(RSL_US(100));
        }
    }
}

static void while_an_observer_lingers_other_sagas_go_on(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("o"), saga_step("p")};
    w->diary.then = linger;
    w->who = "a";
    world_open(w);
    DEFINE(w, "abc", abc);
    DEFINE(w, "other", steps);
    rsl_saga_id id = begin(w, "abc", "k");
    EVENTUALLY(atomic_load(&w->seen) == 1);
    for (int i = 0; i < 20; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "o%d", i);
        assert_int_equal(play(w, "other", key), RSL_SAGA_DONE);
    }
    assert_int_equal(saga_rig_count(&w->rig, "b", false), 0);
    atomic_store(&w->gate, 1);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
}

/* A saga is not over, nor does a step begin, while something before it is still being told. */
static void an_event_is_told_before_what_depends_on_it_begins(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_after("x", ""),
                             saga_step_after("c", "a,x")};
    w->diary.then = linger;
    w->who = "a";
    w->config.threads = 3;
    world_open(w);
    DEFINE(w, "def", steps);
    rsl_saga_id id = begin(w, "def", "k");
    EVENTUALLY(atomic_load(&w->seen) == 1 && saga_rig_count(&w->rig, "x", false) == 1);
    nap(RSL_MS(10));
    assert_int_equal(saga_rig_count(&w->rig, "c", false), 0);
    assert_int_equal(diary_count(&w->diary, id, RSL_SAGA_ENDED), 0);
    atomic_store(&w->gate, 1);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
}

static void a_saga_that_ends_while_an_observer_lingers_has_ended(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_after("x", "")};
    w->diary.then = linger;
    w->who = "a";
    w->config.threads = 3;
    world_open(w);
    DEFINE(w, "def", steps);
    rsl_saga_id id = begin(w, "def", "k");
    EVENTUALLY(atomic_load(&w->seen) == 1 && saga_rig_count(&w->rig, "x", false) == 1);
    nap(RSL_MS(10));
    atomic_store(&w->gate, 1);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    assert_int_equal(look(w, id).info.state, RSL_SAGA_DONE);
}

/* An observer that stays in each event of one kind. */
static void linger_in_retries(const rsl_event *event, void *arg)
{
    world *w = arg;
    if (event->kind == RSL_SAGA_STEP_RETRIES && atomic_load(&w->gate) == 0) {
        atomic_fetch_add(&w->seen, 1);
        while (atomic_load(&w->gate) == 0) {
            nap(RSL_US(100));
        }
    }
}

static void however_many_observers_linger_a_saga_has_room_for_its_records(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a")};
    steps[0].retry = (rsl_saga_retry){100, 1, 1, 1};
    w->diary.then = linger_in_retries;
    w->config.threads = 16;
    world_open(w);
    DEFINE(w, "def", steps);
    saga_rig_script(&w->rig, "a", "RRRRRRRRRRRRRRRRRRRRRRRRRRRRRR");
    rsl_saga_id id = begin(w, "def", "k");
    EVENTUALLY(atomic_load(&w->seen) >= 1);
    nap(RSL_MS(20));
    atomic_store(&w->gate, 1);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    assert_int_equal(saga_rig_count(&w->rig, "a", false), 31);
}

/* ----------------------------------------------- steps that call the runtime */

/* A during: the step begins another saga and waits for its end. */
static void who_begins_another(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    rsl_saga_id id = 0;
    rsl_saga_state ended = RSL_SAGA_RUNNING;
    (void)outcome;
    if (is_who(w, step)) {
        rsl_ctx ctx = w->config.caller_works ? (rsl_ctx){0} : rsl_within(PATIENCE);
        int status = rsl_sagas_start(w->sagas, "inner", "from a step", "x", 1, &id);
        if (status == RSL_OK) {
            status = rsl_sagas_wait(w->sagas, id, &ctx, &ended);
        }
        atomic_store(&w->id, id);
        atomic_store(&w->told, status);
        atomic_store(&w->seen, (int)ended);
    }
}

static void a_step_may_begin_another_saga_and_wait_for_it(void **state)
{
    world *w = *state;
    rsl_saga_step inner[] = {saga_step("i"), saga_step("j")};
    w->who = "b";
    w->rig.during = who_begins_another;
    world_open(w);
    DEFINE(w, "abc", abc);
    DEFINE(w, "inner", inner);
    assert_int_equal(play(w, "abc", "k"), RSL_SAGA_DONE);
    assert_int_equal(atomic_load(&w->told), RSL_OK);
    assert_int_equal(atomic_load(&w->seen), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "a b i j c");
}

/* A during: the step tries to close its own runtime, and looks around. */
static void who_closes_its_runtime(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    (void)outcome;
    if (is_who(w, step)) {
        listing l;
        memset(&l, 0, sizeof(l));
        atomic_store(&w->told, rsl_sagas_close(w->sagas, NULL));
        (void)rsl_sagas_list(w->sagas, 0, listing_visit, &l);
        atomic_store(&w->seen, (int)l.count);
    }
}

static void a_step_cannot_close_its_runtime_but_may_look(void **state)
{
    world *w = *state;
    w->who = "b";
    w->rig.during = who_closes_its_runtime;
    world_open(w);
    DEFINE(w, "abc", abc);
    assert_int_equal(play(w, "abc", "k"), RSL_SAGA_DONE);
    assert_int_equal(atomic_load(&w->told), RSL_EINVAL);
    assert_int_equal(atomic_load(&w->seen), 1);
    assert_int_equal(play(w, "abc", "k2"), RSL_SAGA_DONE);
}

/* A during: the calls in the world's count end their thread. */
static void who_ends_its_thread(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    (void)outcome;
    (void)step;
    if (atomic_fetch_sub(&w->gate, 1) > 0) {
        pthread_exit(NULL);
    }
}

static void a_step_that_ends_its_thread_is_in_doubt(void **state)
{
    world *w = *state;
    w->rig.during = who_ends_its_thread;
    world_open(w);
    DEFINE(w, "abc", abc);
    atomic_store(&w->gate, 1);
    rsl_saga_id id = begin(w, "abc", "k");
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    assert_int_equal(diary_count(&w->diary, id, RSL_SAGA_STEP_IN_DOUBT), 1);
    assert_int_equal(saga_rig_count(&w->rig, "a", true), 1);
    assert_int_equal(saga_rig_count(&w->rig, "b", false), 0);
}

static void however_many_threads_steps_end_the_runtime_goes_on(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step_flagged("a", RSL_STEP_RETRIABLE), saga_step("b")};
    steps[0].retry = (rsl_saga_retry){0, 1, 1, 1};
    w->config.threads = 2;
    w->rig.during = who_ends_its_thread;
    world_open(w);
    DEFINE(w, "def", steps);
    for (int i = 0; i < 3; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        atomic_store(&w->gate, 7);
        assert_int_equal(play(w, "def", key), RSL_SAGA_DONE);
    }
    assert_int_equal(saga_rig_count(&w->rig, "a", false), 24);
}

/* ---------------------------------------------------------- what steps keep */

/* A during: a puts what it is given, b and c look for it; so do compensations. */
static void steps_hand_on(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    size_t size = 77;
    const char *payload = rsl_step_payload(step, &size);
    bool right = payload != NULL && size == 5 && memcmp(payload, "hello", 5) == 0;
    right = right && rsl_step_payload(step, NULL) == payload;
    (void)outcome;
    if (strcmp(rsl_step_name(step), "a") == 0 && !rsl_step_is_undo(step)) {
        right = right && rsl_step_get(step, "a", NULL) == NULL;
        right = right && rsl_step_put(step, "first try", 9) == RSL_OK;
        right = right && rsl_step_put(step, "ticket 4711", 11) == RSL_OK;
    } else {
        const char *got = rsl_step_get(step, "a", &size);
        right = right && got != NULL && size == 11 && memcmp(got, "ticket 4711", 11) == 0;
        right = right && rsl_step_get(step, "a", NULL) == got;
        right = right && rsl_step_get(step, "c", &size) == NULL && size == 0;
        right = right && rsl_step_get(step, "nobody", &size) == NULL && size == 0;
        right = right && rsl_step_get(step, NULL, &size) == NULL && size == 0;
    }
    if (!right) {
        atomic_fetch_add(&w->told, 1);
    }
}

static void payload_and_outputs_are_there_for_later_steps_and_undos(void **state)
{
    world *w = *state;
    w->rig.during = steps_hand_on;
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "c", "F");
    rsl_saga_id id = begin_with(w, "abc", "k", "hello", 5);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a b c:F -b -a");
    assert_int_equal(atomic_load(&w->told), 0);
}

static void payload_and_outputs_survive_a_restart(void **state)
{
    world *w = *state;
    w->rig.during = steps_hand_on;
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "b", "R");
    saga_rig_script(&w->rig, "c", "F");
    saga_rig_script_undo(&w->rig, "a", "F");
    rsl_saga_id id = begin_with(w, "abc", "k", "hello", 5);
    for (int i = 0; i < 3; i++) {
        (void)rsl_sagas_work(w->sagas);
        w->time.now += RSL_SEC(1);
        world_reopen(w);
        DEFINE(w, "abc", abc);
        assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    }
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a b:R b?+ c:F -b -a:F -a+");
    assert_int_equal(atomic_load(&w->told), 0);
}

/* A during: what b puts is gone once it is undone; c puts and fails. */
static void steps_put_in_vain(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    const char *name = rsl_step_name(step);
    bool right = true;
    (void)outcome;
    if (rsl_step_is_undo(step)) {
        right = rsl_step_put(step, "x", 1) == RSL_EINVAL;
        right = right && rsl_step_get(step, "c", NULL) == NULL;
        bool gone = strcmp(name, "a") == 0;
        right = right && (rsl_step_get(step, "b", NULL) == NULL) == gone;
    } else if (strcmp(name, "a") != 0) {
        right = rsl_step_put(step, "x", 1) == RSL_OK;
        right = right && rsl_step_put(step, NULL, 1) == RSL_EINVAL;
        right = right && rsl_step_put(NULL, "x", 1) == RSL_EINVAL;
    }
    if (!right) {
        atomic_fetch_add(&w->told, 1);
    }
}

static void an_output_is_there_while_its_step_is_done_and_for_its_undo(void **state)
{
    world *w = *state;
    w->rig.during = steps_put_in_vain;
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "c", "U");
    assert_int_equal(play(w, "abc", "k"), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a b c:U -c? -b -a");
    assert_int_equal(atomic_load(&w->told), 0);
}

/* A during: puts of every size about the limit, and when memory is out. */
static void put_about_the_limit(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    static char data[101];
    world *w = rig->arg;
    size_t size = 77;
    bool right = true;
    (void)outcome;
    if (strcmp(rsl_step_name(step), "a") == 0) {
        right = rsl_step_put(step, data, 101) == RSL_EINVAL;
        right = right && rsl_step_put(step, data, 100) == RSL_OK;
        right = right && rsl_step_put(step, data, SIZE_MAX) == RSL_EINVAL;
        support_fail_from(1);
        right = right && rsl_step_put(step, data, 50) == RSL_ENOMEM;
        support_fail_never();
    } else {
        right = rsl_step_get(step, "a", &size) != NULL && size == 100;
    }
    if (!right) {
        atomic_fetch_add(&w->told, 1);
    }
}

static void an_output_that_cannot_be_kept_leaves_the_former_one(void **state)
{
    world *w = *state;
    w->config.payload_max = 100;
    w->rig.during = put_about_the_limit;
    world_open(w);
    DEFINE(w, "abc", abc);
    assert_int_equal(play(w, "abc", "k"), RSL_SAGA_DONE);
    assert_int_equal(atomic_load(&w->told), 0);
    assert_int_equal(rsl_sagas_start(w->sagas, "abc", "k2", w, 101, NULL), RSL_EINVAL);
}

/* A during: an empty output is none, in every life of the process. */
static void put_nothing(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    bool right = true;
    (void)outcome;
    if (strcmp(rsl_step_name(step), "a") == 0) {
        right = rsl_step_put(step, "x", 1) == RSL_OK && rsl_step_put(step, "", 0) == RSL_OK;
    } else {
        right = rsl_step_get(step, "a", NULL) == NULL;
    }
    if (!right) {
        atomic_fetch_add(&w->told, 1);
    }
}

static void an_empty_output_is_none_before_and_after_a_restart(void **state)
{
    world *w = *state;
    w->rig.during = put_nothing;
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "b", "R");
    rsl_saga_id id = begin(w, "abc", "k");
    (void)rsl_sagas_work(w->sagas);
    world_reopen(w);
    DEFINE(w, "abc", abc);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    assert_int_equal(atomic_load(&w->told), 0);
}

static void functions_of_a_step_take_null(void **state)
{
    (void)state;
    size_t size = 77;
    assert_string_equal(rsl_step_key(NULL), "");
    assert_string_equal(rsl_step_name(NULL), "");
    assert_true(rsl_step_saga(NULL) == 0 && rsl_step_epoch(NULL) == 0);
    assert_int_equal(rsl_step_attempt(NULL), 0);
    assert_false(rsl_step_is_undo(NULL) || rsl_step_maybe(NULL));
    assert_true(rsl_step_ctx(NULL).cancel == NULL);
    assert_int_equal(rsl_step_fail(NULL, RSL_STEP_RETRY, 5), RSL_STEP_RETRY);
    assert_null(rsl_step_payload(NULL, &size));
    assert_int_equal(size, 0);
    size = 77;
    assert_null(rsl_step_get(NULL, "a", &size));
    assert_int_equal(size, 0);
}

/* ------------------------------------------------- forgetting, and compaction */

static void the_oldest_of_the_ended_are_forgotten_and_their_keys_begin_anew(void **state)
{
    world *w = *state;
    w->config.finished_max = 3;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id ids[6];
    for (int i = 1; i <= 5; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        ids[i] = begin(w, "abc", key);
        assert_int_equal(end_of(w, ids[i]), RSL_SAGA_DONE);
    }
    for (int restarts = 0; restarts < 2; restarts++) {
        assert_int_equal(stats_of(w).finished, 3);
        assert_int_equal(list_count(w, 0), 3);
        assert_int_equal(rsl_sagas_wait(w->sagas, ids[2], NULL, NULL), RSL_EINVAL);
        assert_int_equal(end_of(w, ids[3]), RSL_SAGA_DONE);
        world_reopen(w);
        DEFINE(w, "abc", abc);
    }
    assert_true(begin(w, "abc", "k5") == ids[5]);
    assert_true(begin(w, "abc", "k3") == ids[3]);
    rsl_saga_id again = begin(w, "abc", "k1");
    assert_true(again > ids[5]);
    assert_int_equal(end_of(w, again), RSL_SAGA_DONE);
    assert_int_equal(rsl_sagas_wait(w->sagas, ids[3], NULL, NULL), RSL_EINVAL);
    assert_int_equal(saga_rig_count(&w->rig, "a", false), 6);
}

static void a_saga_that_somebody_waits_for_is_not_forgotten(void **state)
{
    world *w = *state;
    waiting it = {w, 0, RSL_EINVAL, RSL_SAGA_RUNNING};
    w->config.finished_max = 1;
    w->who = "a";
    w->rig.during = who_waits_at_the_gate;
    world_open(w);
    DEFINE(w, "abc", abc);
    it.id = begin(w, "abc", "k");
    pthread_t thread = thread_start(waiting_run, &it);
    EVENTUALLY(atomic_load(&w->seen) == 1);
    nap(RSL_MS(5));
    atomic_store(&w->gate, 1);
    for (int i = 0; i < 20; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "o%d", i);
        assert_int_equal(play(w, "abc", key), RSL_SAGA_DONE);
    }
    pthread_join(thread, NULL);
    assert_int_equal(it.status, RSL_OK);
    assert_int_equal(it.state, RSL_SAGA_DONE);
    assert_int_equal(stats_of(w).finished, 1);
}

static size_t bytes_kept(const world *w)
{
    size_t bytes = 0;
    for (size_t i = 0; i < w->memory.kept.count; i++) {
        bytes += w->memory.kept.at[i].size;
    }
    return bytes;
}

static void the_store_is_compacted_at_run_time_and_keeps_a_steady_size(void **state)
{
    world *w = *state;
    static char payload[60000];
    size_t most = 0;
    w->config.finished_max = 100;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_step waits[] = {saga_step("w")};
    DEFINE(w, "waits", waits);
    saga_rig_script(&w->rig, "w", "RO");
    rsl_saga_id id = begin_with(w, "waits", "kept", "precious", 8);
    (void)rsl_sagas_work(w->sagas);
    long before = atomic_load(&w->memory.compactions);
    for (int i = 0; i < 500; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(end_of(w, begin_with(w, "abc", key, payload, sizeof(payload))),
                         RSL_SAGA_DONE);
        (void)rsl_sagas_work(w->sagas);
        most = bytes_kept(w) > most ? bytes_kept(w) : most;
    }
    assert_true(most < (size_t)3 << 20);
    assert_in_range(atomic_load(&w->memory.compactions) - before, 5, 60);
    assert_int_equal(stats_of(w).compactions, atomic_load(&w->memory.compactions) - before);
    world_reopen(w);
    DEFINE(w, "waits", waits);
    DEFINE(w, "abc", abc);
    assert_int_equal(stats_of(w).finished, 100);
    assert_true(begin(w, "abc", "k499") == look(w, 501).info.id);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    w->time.now += RSL_SEC(10);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
}

static rsl_outcome run_nothing(rsl_step *step, void *arg)
{
    (void)step, (void)arg;
    return RSL_STEP_OK;
}

static void remembering_many_long_keys_is_no_reason_to_compact_again_and_again(void **state)
{
    world *w = *state;
    char name[RSL_SAGA_NAME_MAX + 1], key[RSL_SAGA_KEY_MAX + 1];
    rsl_saga_step steps[] = {{.name = "a", .run = run_nothing}};
    memset(name, 'n', sizeof(name));
    memset(key, 'k', sizeof(key));
    name[RSL_SAGA_NAME_MAX] = key[RSL_SAGA_KEY_MAX] = '\0';
    w->config.finished_max = 20000;
    w->config.observer.on_event = NULL;
    world_open(w);
    DEFINE(w, name, steps);
    for (int i = 0; i < 12500; i++) {
        for (int digit = 0, rest = i; digit < 5; digit++, rest /= 10) {
            key[digit] = (char)('0' + rest % 10);
        }
        assert_int_equal(rsl_sagas_start(w->sagas, name, key, NULL, 0, NULL), RSL_OK);
        (void)rsl_sagas_work(w->sagas);
    }
    assert_int_equal(stats_of(w).done, 12500);
    assert_in_range(atomic_load(&w->memory.compactions), 1, 20);
}

/* ------------------------------------------------------------------- close */

static void close_refuses_null_and_frees_what_never_ran(void **state)
{
    world *w = *state;
    assert_int_equal(rsl_sagas_close(NULL, NULL), RSL_EINVAL);
    world_open(w);
    DEFINE(w, "abc", abc);
    for (int i = 0; i < 100; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        begin_with(w, "abc", key, "payload", 7);
    }
    world_close(w);
    saga_rig_expect(&w->rig, "");
    assert_int_equal(atomic_load(&w->memory.closes), 1);
}

static void close_waits_for_steps_and_gives_up_with_its_ctx(void **state)
{
    world *w = *state;
    rsl_cancel cancel;
    w->who = "b";
    w->rig.during = who_waits_at_the_gate;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    EVENTUALLY(atomic_load(&w->seen) == 1);
    rsl_ctx ctx = rsl_within(RSL_MS(10));
    assert_int_equal(rsl_sagas_close(w->sagas, &ctx), RSL_ETIMEOUT);
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    pthread_t thread = thread_start(fire_soon, &cancel);
    ctx = (rsl_ctx){.cancel = &cancel};
    assert_int_equal(rsl_sagas_close(w->sagas, &ctx), RSL_ECANCELED);
    pthread_join(thread, NULL);
    rsl_cancel_deinit(&cancel);
    assert_int_equal(rsl_sagas_start(w->sagas, "abc", "k2", NULL, 0, NULL), RSL_ECLOSED);
    assert_int_equal(rsl_sagas_wait(w->sagas, id, NULL, NULL), RSL_ECLOSED);
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_ECLOSED);
    assert_int_equal(rsl_sagas_resolve(w->sagas, id, "b", RSL_SAGA_SKIP), RSL_ECLOSED);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_ECLOSED);
    assert_int_equal(look(w, id).info.state, RSL_SAGA_RUNNING);
    atomic_store(&w->gate, 1);
    world_close(w);
    saga_rig_expect(&w->rig, "a b");
    world_open(w); /* what b said was kept */
    DEFINE(w, "abc", abc);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "a b c");
}

static void close_ends_after_the_store_has_failed_though_steps_are_ready(void **state)
{
    world *w = *state;
    rsl_saga_id id;
    world_open(w);
    DEFINE(w, "abc", abc);
    begin(w, "abc", "k");
    begin(w, "abc", "k2");
    w->memory.fail.at = 1;
    assert_int_equal(rsl_sagas_start(w->sagas, "abc", "k3", NULL, 0, &id), RSL_EIO);
    assert_int_equal(stats_of(w).ready, 2);
    world_close(w);
    saga_rig_expect(&w->rig, "");
}

/* Opens anew with the definition abc. */
static void reopen_abc(world *w)
{
    world_reopen(w);
    DEFINE(w, "abc", abc);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
}

static void a_step_that_close_finds_uncalled_is_as_if_it_had_not_been_started(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    for (int i = 0; i < 2 * RSL_SAGA_CUTS_MAX_; i++) {
        assert_int_equal(stats_of(w).running, 0);
        reopen_abc(w);
    }
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "a b c");
    assert_int_equal(diary_count(&w->diary, id, RSL_SAGA_STEP_PUT_OFF), 2 * RSL_SAGA_CUTS_MAX_);
    assert_int_equal(diary_count(&w->diary, id, RSL_SAGA_STEP_STARTED),
                     2 * RSL_SAGA_CUTS_MAX_ + 3);
}

static void an_undo_that_close_finds_uncalled_is_as_if_it_had_not_been_started(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    steps[1].retry.delay_first = RSL_SEC(100);
    world_open(w);
    DEFINE(w, "abc", steps);
    saga_rig_script(&w->rig, "b", "R");
    rsl_saga_id id = begin(w, "abc", "k");
    (void)rsl_sagas_work(w->sagas);
    assert_int_equal(rsl_sagas_cancel(w->sagas, id), RSL_OK);
    assert_int_equal(stats_of(w).ready, 1);
    for (int i = 0; i < 2 * RSL_SAGA_CUTS_MAX_; i++) {
        reopen_abc(w);
    }
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a b:R -b? -a");
}

static void an_attempt_that_close_finds_uncalled_follows_those_before_it(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    steps[0].retry = (rsl_saga_retry){2, RSL_SEC(1), RSL_SEC(1), 1};
    world_open(w);
    DEFINE(w, "abc", steps);
    saga_rig_script(&w->rig, "a", "RR");
    rsl_saga_id id = begin(w, "abc", "k");
    (void)rsl_sagas_work(w->sagas);
    w->time.now += RSL_SEC(2);
    world_reopen(w);
    DEFINE(w, "abc", steps);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    world_reopen(w);
    DEFINE(w, "abc", steps);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a:R a?+:R -a?");
}

static void append_takes_ten_seconds(memory_store *memory, const rsl_saga_record *records,
                                     size_t count)
{
    world *w = memory->arg;
    (void)records, (void)count;
    w->time.now += RSL_SEC(10);
}

static void close_heeds_its_ctx_between_appends_and_comes_to_an_end(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a")};
    world_open(w);
    DEFINE(w, "def", steps);
    for (int i = 0; i < 2 * RSL_SAGA_BATCH_ + 100; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        begin(w, "def", key);
    }
    w->memory.on_append = append_takes_ten_seconds;
    for (int i = 0; i < 2; i++) {
        rsl_ctx ctx = {.deadline = w->time.now + RSL_SEC(5)};
        assert_int_equal(rsl_sagas_close(w->sagas, &ctx), RSL_ETIMEOUT);
    }
    rsl_ctx ctx = {.deadline = w->time.now + RSL_SEC(5)};
    assert_int_equal(rsl_sagas_close(w->sagas, &ctx), RSL_OK);
    w->sagas = NULL;
    assert_int_equal(memory_store_count(&w->memory, 0, KIND_PUT_OFF), 2 * RSL_SAGA_BATCH_ + 100);
}

static void close_waits_by_the_clock_of_the_runtime(void **state)
{
    world *w = *state;
    shared_clock clock = {START};
    w->config.clock = shared_clock_as(&clock);
    w->who = "b";
    w->rig.during = who_waits_at_the_gate;
    world_open(w);
    DEFINE(w, "abc", abc);
    begin(w, "abc", "k");
    EVENTUALLY(atomic_load(&w->seen) == 1);
    rsl_ctx ctx = {.deadline = START};
    assert_int_equal(rsl_sagas_close(w->sagas, &ctx), RSL_ETIMEOUT);
    ctx.deadline = START + 1; /* and time stands still */
    atomic_store(&w->gate, 1);
    assert_int_equal(rsl_sagas_close(w->sagas, &ctx), RSL_OK);
    w->sagas = NULL;
}

typedef struct closing {
    world *w;
    int    status;
    _Atomic bool ended;
} closing;

static void *closing_run(void *arg)
{
    closing *c = arg;
    rsl_ctx ctx = rsl_within(PATIENCE);
    c->status = rsl_sagas_close(c->w->sagas, &ctx);
    atomic_store(&c->ended, true);
    return NULL;
}

/* What has been seen at the gate holds up a close until the gate is open. */
static void close_waits_for_the_gate(world *w)
{
    closing c = {w, RSL_EINVAL, false};
    EVENTUALLY(atomic_load(&w->seen) == 1);
    pthread_t closer = thread_start(closing_run, &c);
    nap(RSL_MS(10));
    assert_false(atomic_load(&c.ended));
    atomic_store(&w->gate, 1);
    pthread_join(closer, NULL);
    assert_int_equal(c.status, RSL_OK);
    w->sagas = NULL;
}

static void those_who_wait_are_told_that_it_closes(void **state)
{
    world *w = *state;
    w->who = "b";
    w->rig.during = who_waits_at_the_gate;
    world_open(w);
    DEFINE(w, "abc", abc);
    waiting it = {w, begin(w, "abc", "k"), RSL_OK, RSL_SAGA_RUNNING};
    pthread_t waiter = thread_start(waiting_run, &it);
    EVENTUALLY(atomic_load(&w->seen) == 1);
    nap(RSL_MS(5));
    closing c = {w, RSL_EINVAL, false};
    pthread_t closer = thread_start(closing_run, &c);
    pthread_join(waiter, NULL);
    assert_int_equal(it.status, RSL_ECLOSED);
    assert_false(atomic_load(&c.ended));
    atomic_store(&w->gate, 1);
    pthread_join(closer, NULL);
    assert_int_equal(c.status, RSL_OK);
    w->sagas = NULL;
}

/* A store's append of something done that stays until the gate is open. */
static void append_waits_at_the_gate(memory_store *memory, const rsl_saga_record *records,
                                     size_t count)
{
    world *w = memory->arg;
    (void)count;
    if (record_kind(&records[0]) == KIND_DONE) {
        atomic_fetch_add(&w->seen, 1);
        while (atomic_load(&w->gate) == 0) {
            nap(RSL_US(100));
        }
    }
}

static void compact_waits_at_the_gate(memory_store *memory)
{
    world *w = memory->arg;
    if (memory->taken) {
        atomic_fetch_add(&w->seen, 1);
        while (atomic_load(&w->gate) == 0) {
            nap(RSL_US(100));
        }
    }
}

static void close_ends_when_an_append_under_way_does(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a")};
    w->memory.on_append = append_waits_at_the_gate;
    world_open(w);
    DEFINE(w, "def", steps);
    begin(w, "def", "k");
    close_waits_for_the_gate(w);
}

/* A during: all wait for the second gate. */
static void all_wait_at_the_second_gate(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    world *w = rig->arg;
    (void)step, (void)outcome;
    while (atomic_load(&w->id) == 0) {
        nap(RSL_US(100));
    }
}

static void close_ends_when_a_compaction_under_way_does(void **state)
{
    world *w = *state;
    static char payload[60000];
    rsl_saga_step steps[] = {saga_step("a")};
    w->memory.on_compact = compact_waits_at_the_gate;
    w->rig.during = all_wait_at_the_second_gate;
    w->config.finished_max = 1;
    world_open(w);
    DEFINE(w, "def", steps);
    for (int i = 0; i < 40; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        begin_with(w, "def", key, payload, sizeof(payload));
    }
    assert_int_equal(atomic_load(&w->seen), 0);
    atomic_store(&w->id, 1);
    close_waits_for_the_gate(w);
}

static void close_waits_for_observers_and_puts_off_what_follows_from_their_events(void **state)
{
    world *w = *state;
    w->diary.then = linger;
    w->who = "a";
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    close_waits_for_the_gate(w);
    diary_check(&w->diary, false);
    memory_store_restart(&w->memory);
    world_open(w);
    DEFINE(w, "abc", abc);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    saga_rig_expect(&w->rig, "a b c");
}

/* ------------------------------------------------------------ virtual time */

static rsl_time called_at(const world *w, const char *name, bool undo, size_t n)
{
    const saga_call *call = saga_rig_find(&w->rig, name, undo, n);
    assert_non_null(call);
    return call->at - START;
}

static void attempts_of_actions_and_undos_have_each_their_own_backoff(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[0].retry = (rsl_saga_retry){4, RSL_SEC(1), RSL_SEC(3), 2};
    steps[0].undo_retry = (rsl_saga_retry){5, RSL_SEC(10), RSL_SEC(1000), 3};
    world_open(w);
    DEFINE(w, "def", steps);
    saga_rig_script(&w->rig, "a", "RRR");
    saga_rig_script(&w->rig, "b", "F");
    saga_rig_script_undo(&w->rig, "a", "RRR");
    assert_int_equal(play(w, "def", "k"), RSL_SAGA_UNWOUND);
    const rsl_time runs[] = {0, 1, 3, 6}, undos[] = {6, 16, 46, 136};
    for (size_t i = 0; i < 4; i++) {
        assert_true(called_at(w, "a", false, i + 1) == RSL_SEC(runs[i]));
        assert_true(called_at(w, "a", true, i + 1) == RSL_SEC(undos[i]));
        assert_int_equal(saga_rig_find(&w->rig, "a", true, i + 1)->attempt, i + 1);
    }
}

static void work_tells_when_it_is_to_be_called_again(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    assert_true(rsl_sagas_work(NULL) == RSL_FOREVER);
    assert_true(rsl_sagas_work(w->sagas) == RSL_FOREVER);
    saga_rig_script(&w->rig, "b", "R");
    rsl_saga_id id = begin(w, "abc", "k");
    assert_true(rsl_sagas_work(w->sagas) == START + RSL_MS(100));
    assert_true(rsl_sagas_work(w->sagas) == START + RSL_MS(100));
    saga_rig_expect(&w->rig, "a b:R");
    w->time.now = START + RSL_MS(100) - 1;
    assert_true(rsl_sagas_work(w->sagas) == START + RSL_MS(100));
    saga_rig_expect(&w->rig, "a b:R");
    w->time.now = START + RSL_MS(100);
    assert_true(rsl_sagas_work(w->sagas) == RSL_FOREVER);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
}

static void a_saga_past_its_deadline_unwinds_and_its_undos_do_not_heed_it(void **state)
{
    world *w = *state;
    world_open(w);
    rsl_saga_def def = {"def", 1, abc, 3, RSL_SEC(5)};
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
    saga_rig_script(&w->rig, "b", "R");
    saga_rig_script_undo(&w->rig, "a", "R");
    rsl_saga_id id = begin(w, "def", "k");
    assert_true(rsl_sagas_work(w->sagas) == START + RSL_MS(100));
    assert_true(saga_rig_find(&w->rig, "a", false, 1)->ctx.deadline == START + RSL_SEC(5));
    w->time.now = START + RSL_SEC(5);
    assert_true(rsl_sagas_work(w->sagas) == START + RSL_SEC(5) + RSL_MS(100));
    assert_int_equal(diary_last(&w->diary, id, RSL_SAGA_TURNS_BACK).status, RSL_ETIMEOUT);
    assert_true(saga_rig_find(&w->rig, "a", true, 1)->ctx.deadline == 0);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a b:R -b? -a:R -a+");
}

static void the_deadline_holds_across_a_restart(void **state)
{
    world *w = *state;
    world_open(w);
    rsl_saga_def def = {"def", 1, abc, 3, RSL_SEC(5)};
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
    saga_rig_script(&w->rig, "b", "RRRRRR");
    rsl_saga_id id = begin(w, "def", "k");
    (void)rsl_sagas_work(w->sagas);
    world_close(w);
    w->time.now = START + RSL_SEC(4);
    world_open(w);
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    (void)rsl_sagas_work(w->sagas);
    assert_true(saga_rig_find(&w->rig, "b", false, 2)->ctx.deadline == START + RSL_SEC(5));
    world_close(w);
    w->time.now = START + RSL_SEC(6);
    world_open(w);
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_int_equal(end_of(w, id), RSL_SAGA_UNWOUND);
    saga_rig_expect(&w->rig, "a b:R b?+:R -b? -a");
}

static void a_call_has_the_timeout_of_its_step_and_the_nearer_of_two_deadlines(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    steps[0].timeout = RSL_SEC(2);
    steps[1].timeout = RSL_SEC(20);
    world_open(w);
    rsl_saga_def def = {"def", 1, steps, 3, RSL_SEC(5)};
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
    saga_rig_script(&w->rig, "c", "F");
    assert_int_equal(play(w, "def", "k"), RSL_SAGA_UNWOUND);
    assert_true(saga_rig_find(&w->rig, "a", false, 1)->ctx.deadline == START + RSL_SEC(2));
    assert_true(saga_rig_find(&w->rig, "b", false, 1)->ctx.deadline == START + RSL_SEC(5));
    assert_true(saga_rig_find(&w->rig, "c", false, 1)->ctx.deadline == START + RSL_SEC(5));
    assert_true(saga_rig_find(&w->rig, "a", true, 1)->ctx.deadline == START + RSL_SEC(2));
    assert_true(saga_rig_find(&w->rig, "b", true, 1)->ctx.deadline == START + RSL_SEC(20));
    steps[0].timeout = RSL_FOREVER;
    saga_rig_clear(&w->rig);
    define_version(w, "endless", 1, steps, 1);
    assert_int_equal(play(w, "endless", "k2"), RSL_SAGA_DONE);
    assert_true(saga_rig_find(&w->rig, "a", false, 1)->ctx.deadline == 0);
}

static void an_undo_is_not_tried_earlier_after_a_restart_and_its_attempts_go_on_counting(
    void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[0].undo_retry = (rsl_saga_retry){4, RSL_SEC(10), RSL_SEC(1000), 2};
    world_open(w);
    DEFINE(w, "def", steps);
    saga_rig_script(&w->rig, "b", "F");
    saga_rig_script_undo(&w->rig, "a", "R*");
    rsl_saga_id id = begin(w, "def", "k");
    for (int i = 0; i < 12; i++) { /* a restart every 5 s */
        (void)rsl_sagas_work(w->sagas);
        world_reopen(w);
        DEFINE(w, "def", steps);
        assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
        w->time.now += RSL_SEC(5);
    }
    assert_int_equal(end_of(w, id), RSL_SAGA_PARKED);
    saga_rig_expect(&w->rig, "a b:F -a:R -a+:R -a+:R -a+:R");
    const rsl_time undos[] = {0, 10, 30, 70};
    for (size_t i = 0; i < 4; i++) {
        assert_true(called_at(w, "a", true, i + 1) >= RSL_SEC(undos[i]));
        assert_int_equal(saga_rig_find(&w->rig, "a", true, i + 1)->attempt, i + 1);
    }
}

static void a_clock_that_begins_anew_after_a_restart_makes_nothing_late_or_early(void **state)
{
    world *w = *state;
    world_open(w);
    rsl_saga_def def = {"def", 1, abc, 3, RSL_SEC(100)};
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
    saga_rig_script(&w->rig, "b", "R");
    w->time.now = START + RSL_SEC(50);
    rsl_saga_id id = begin(w, "def", "k");
    assert_true(rsl_sagas_work(w->sagas) == START + RSL_SEC(50) + RSL_MS(100));
    world_close(w);
    w->time.now = START; /* as after a boot */
    world_open(w);
    assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
    assert_int_equal(rsl_sagas_recover(w->sagas), RSL_OK);
    assert_true(rsl_sagas_work(w->sagas) == START + RSL_MS(100));
    saga_rig_expect(&w->rig, "a b:R");
    w->time.now = START + RSL_MS(100);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
    const saga_call *call = saga_rig_find(&w->rig, "c", false, 1);
    assert_true(call->ctx.deadline == START + RSL_SEC(100));
}

static void threads_follow_a_clock_that_others_move(void **state)
{
    world *w = *state;
    shared_clock clock = {START};
    w->config.clock = shared_clock_as(&clock);
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "b", "R");
    rsl_saga_id id = begin(w, "abc", "k");
    EVENTUALLY(diary_count(&w->diary, id, RSL_SAGA_STEP_RETRIES) == 1);
    nap(RSL_MS(10));
    assert_true(atomic_load(&clock.now) == START);
    assert_int_equal(saga_rig_count(&w->rig, "b", false), 1);
    atomic_store(&clock.now, START + RSL_MS(100));
    assert_int_equal(rsl_sagas_wait(w->sagas, id, NULL, NULL), RSL_OK);
    assert_int_equal(saga_rig_count(&w->rig, "c", false), 1);
}

/* ---------------------------------------------------------------- threads */

static void no_more_steps_run_at_once_than_threads(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("g"), saga_step_after("g2", ""), saga_step_after("g3", ""),
                             saga_step_after("g4", ""), saga_step_after("g5", "")};
    w->config.threads = 3;
    w->who = "g";
    world_open(w);
    for (size_t i = 0; i < RSL_COUNT(steps); i++) {
        steps[i].after = "";
    }
    DEFINE(w, "def", steps);
    w->rig.during = who_waits_at_the_gate;
    rsl_saga_id ids[3];
    for (int i = 0; i < 3; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        ids[i] = begin(w, "def", key);
    }
    EVENTUALLY(atomic_load(&w->seen) == 3);
    assert_int_equal(stats_of(w).running, 3);
    atomic_store(&w->gate, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(end_of(w, ids[i]), RSL_SAGA_DONE);
    }
}

static void independent_steps_run_at_the_same_time(void **state)
{
    world *w = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_after("b", ""),
                             saga_step_after("c", "a,b")};
    w->who = "a"; /* runs as long as b has not */
    w->rig.during = who_waits_at_the_gate;
    world_open(w);
    DEFINE(w, "def", steps);
    rsl_saga_id id = begin(w, "def", "k");
    EVENTUALLY(atomic_load(&w->seen) == 1 && diary_count(&w->diary, id, RSL_SAGA_STEP_DONE) == 1);
    assert_int_equal(saga_rig_count(&w->rig, "c", false), 0);
    atomic_store(&w->gate, 1);
    assert_int_equal(end_of(w, id), RSL_SAGA_DONE);
}

/* For config.submit: workers of the application, that refuse now and then. */
typedef struct office {
    rsl_workers *workers;
    _Atomic int  asked, refusals; /* of so many calls, all but each fourth are refused */
} office;

static int office_submit(void *user, rsl_fn fn, void *arg, void *task)
{
    office *o = user;
    int asked = atomic_fetch_add(&o->asked, 1);
    if (asked < atomic_load(&o->refusals) && asked % 4 != 3) {
        return RSL_EFULL;
    }
    return rsl_workers_submit(o->workers, NULL, fn, arg, task);
}

static bool office_ended(void *task)
{
    return rsl_task_has_ended(task);
}

static void office_open(world *w, office *o, int refusals)
{
    rsl_workers_config config = {.threads_min = 2, .threads_max = 2};
    memset(o, 0, sizeof(*o));
    atomic_store(&o->refusals, refusals);
    assert_int_equal(rsl_workers_open(&o->workers, &config), RSL_OK);
    w->config.submit = office_submit;
    w->config.submit_user = o;
    w->config.submit_ended = office_ended;
    w->config.task_size = sizeof(rsl_task);
    w->config.threads = 2;
}

static void office_close(world *w, office *o)
{
    world_close(w);
    assert_int_equal(rsl_workers_close(o->workers, NULL), RSL_OK);
}

static void the_threads_of_the_application_may_run_the_steps(void **state)
{
    world *w = *state;
    office o;
    office_open(w, &o, 0);
    world_open(w);
    DEFINE(w, "abc", abc);
    saga_rig_script(&w->rig, "b", "RRO");
    rsl_saga_id ids[40];
    for (int i = 0; i < 40; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        ids[i] = begin(w, "abc", key);
    }
    for (int i = 0; i < 40; i++) {
        assert_int_equal(end_of(w, ids[i]), RSL_SAGA_DONE);
    }
    assert_true(atomic_load(&o.asked) > 0);
    office_close(w, &o);
}

static void an_application_without_a_thread_to_spare_is_asked_again(void **state)
{
    world *w = *state;
    office o;
    office_open(w, &o, 40);
    world_open(w);
    DEFINE(w, "abc", abc);
    for (int i = 0; i < 10; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(play(w, "abc", key), RSL_SAGA_DONE);
    }
    assert_true(atomic_load(&o.asked) > 3);
    office_close(w, &o);
}

static void a_clock_of_ones_own_does_not_keep_the_application_from_being_asked(void **state)
{
    world *w = *state;
    office o;
    shared_clock clock = {START};
    office_open(w, &o, 8);
    w->config.clock = shared_clock_as(&clock);
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    assert_int_equal(rsl_sagas_wait(w->sagas, id, NULL, NULL), RSL_OK);
    assert_int_equal(saga_rig_count(&w->rig, "c", false), 1);
    office_close(w, &o);
}

static void a_step_that_ends_a_thread_of_the_application_does_not_hold_up_close(void **state)
{
    world *w = *state;
    office o;
    office_open(w, &o, 0);
    w->rig.during = who_ends_its_thread;
    world_open(w);
    DEFINE(w, "abc", abc);
    atomic_store(&w->gate, 1);
    assert_int_equal(play(w, "abc", "k"), RSL_SAGA_UNWOUND);
    assert_int_equal(play(w, "abc", "k2"), RSL_SAGA_DONE);
    office_close(w, &o);
}

/* -------------------------------------------------- a store that does not obey */

static void a_store_that_fences_off_an_exclusive_owner_has_failed(void **state)
{
    world *w = *state;
    world_open(w);
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin(w, "abc", "k");
    w->memory.fail = (memory_fault){.at = 2, .fenced = RSL_EFENCED};
    assert_int_equal(rsl_sagas_wait(w->sagas, id, NULL, NULL), RSL_EIO);
    assert_int_equal(rsl_sagas_start(w->sagas, "abc", "k2", NULL, 0, NULL), RSL_EIO);
    assert_true(stats_of(w).failed);
    saga_rig_expect(&w->rig, "a b");
}

static void a_store_that_does_not_know_the_time_harms_no_saga(void **state)
{
    world *w = *state;
    const rsl_time times[] = {0, -1, INT64_MIN, 1, RSL_SEC(1700000000), RSL_FOREVER / 2};
    for (size_t i = 0; i < RSL_COUNT(times); i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%zu", i);
        w->memory.now = times[i];
        world_open(w);
        rsl_saga_def def = {"def", 1, abc, 3, RSL_SEC(1000)};
        assert_int_equal(rsl_sagas_register(w->sagas, &def, &w->rig), RSL_OK);
        assert_int_equal(play(w, "def", key), RSL_SAGA_DONE);
        world_close(w);
    }
}

static void the_path_may_be_forgotten_after_open(void **state)
{
    world *w = *state;
    char path[] = "/tmp/rsl_sagas_XXXXXX", command[64];
    assert_non_null(mkdtemp(path));
    (void)snprintf(command, sizeof(command), "rm -rf %s", path);
    char *copy = malloc(sizeof(path));
    memcpy(copy, path, sizeof(path));
    w->config.store = NULL;
    w->config.path = copy;
    memset(&w->config.clock, 0, sizeof(w->config.clock));
    world_open(w);
    memset(copy, '#', sizeof(path));
    free(copy);
    w->config.path = path;
    DEFINE(w, "abc", abc);
    rsl_saga_id id = begin_with(w, "abc", "k", "payload", 7);
    rsl_sagas *second = NULL;
    assert_int_equal(rsl_sagas_open(&second, &w->config), RSL_EFENCED);
    assert_non_null(strstr(w->error, path));
    assert_int_equal(rsl_sagas_wait(w->sagas, id, NULL, NULL), RSL_OK);
    world_reopen(w);
    assert_int_equal(look(w, id).info.state, RSL_SAGA_DONE);
    world_close(w);
    assert_int_equal(system(command), 0);
}

/* --------------------------------------------------------------- two hosts */

/* A runtime that shares a store with another one. */
typedef struct host {
    saga_rig         rig;
    diary            diary;
    shared_host      way;
    rsl_saga_store   table;
    rsl_sagas_config config;
    rsl_sagas       *sagas;
    struct hosts    *all;
} host;

typedef struct hosts {
    shared_store  store;
    virtual_clock time;
    host          a, b;
    const char   *who;       /* for a during: the step it acts on */
    rsl_saga_id   id;        /* for a during or a hook */
    _Atomic int   seen, told, gate, fails;
    bool          threads;   /* by the real clock */
    long          live;
} hosts;

static void host_make(hosts *h, host *x)
{
    saga_rig_init(&x->rig);
    x->rig.arg = x;
    x->all = h;
    assert_int_equal(pthread_mutex_init(&x->diary.lock, NULL), 0);
    x->table = shared_host_as(&x->way, &h->store);
    x->way.arg = x;
    x->config.store = &x->table;
    x->config.observer = (rsl_observer){diary_on_event, &x->diary};
    x->config.caller_works = !h->threads;
    if (!h->threads) {
        x->config.clock = virtual_clock_as(&h->time);
    }
}

static int hosts_make_with(void **state, bool threads)
{
    hosts *h = calloc(1, sizeof(*h));
    assert_non_null(h);
    h->time.now = START;
    h->threads = threads;
    rsl_clock clock = virtual_clock_as(&h->time);
    assert_true(shared_store_init(&h->store, threads ? NULL : &clock));
    host_make(h, &h->a);
    host_make(h, &h->b);
    h->live = support_live();
    *state = h;
    return 0;
}

static int hosts_make(void **state)
{
    return hosts_make_with(state, false);
}

static int hosts_make_threads(void **state)
{
    return hosts_make_with(state, true);
}

static void host_close(host *x)
{
    if (x->sagas != NULL) {
        assert_int_equal(rsl_sagas_close(x->sagas, NULL), RSL_OK);
        diary_check(&x->diary, !x->all->threads);
    }
    x->sagas = NULL;
}

static int hosts_end(void **state)
{
    hosts *h = *state;
    support_fail_never();
    host_close(&h->a);
    host_close(&h->b);
    if (atomic_load(&h->store.breaches) != 0) {
        fail_msg("the store's contract: %s", h->store.breach);
    }
    assert_int_equal(support_live(), h->live);
    shared_store_deinit(&h->store);
    pthread_mutex_destroy(&h->a.diary.lock);
    pthread_mutex_destroy(&h->b.diary.lock);
    saga_rig_deinit(&h->a.rig);
    saga_rig_deinit(&h->b.rig);
    free(h);
    return 0;
}

/* With the definition abc, of which b is tried as often as wanted, every 2 s. */
static void host_open(host *x)
{
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    rsl_saga_def def = {"abc", 1, steps, 3, 0};
    steps[1].retry = (rsl_saga_retry){1000, RSL_SEC(2), RSL_SEC(2), 1};
    assert_int_equal(rsl_sagas_open(&x->sagas, &x->config), RSL_OK);
    assert_int_equal(rsl_sagas_register(x->sagas, &def, &x->rig), RSL_OK);
}

static void host_open_and_recover(host *x)
{
    host_open(x);
    assert_int_equal(rsl_sagas_recover(x->sagas), RSL_OK);
}

static rsl_saga_id host_begin(host *x, const char *key)
{
    rsl_saga_id id = 0;
    assert_int_equal(rsl_sagas_start(x->sagas, "abc", key, "payload", 7, &id), RSL_OK);
    return id;
}

/* At most this long, by the hosts' clock. */
static int host_wait(host *x, rsl_saga_id id, rsl_time span, rsl_saga_state *state)
{
    rsl_ctx ctx = rsl_within(span);
    if (!x->all->threads) {
        ctx.deadline = x->all->time.now + span;
    }
    return rsl_sagas_wait(x->sagas, id, &ctx, state);
}

static void host_expect_end(host *x, rsl_saga_id id, rsl_saga_state expected)
{
    rsl_saga_state state = (rsl_saga_state)77;
    assert_int_equal(host_wait(x, id, RSL_SEC(600), &state), RSL_OK);
    assert_int_equal(state, expected);
}

static void a_saga_that_one_host_runs_can_be_seen_from_another(void **state)
{
    hosts *h = *state;
    rsl_saga_state seen = (rsl_saga_state)77;
    listing l;
    sight s;
    memset(&l, 0, sizeof(l));
    memset(&s, 0, sizeof(s));
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    rsl_saga_id id = host_begin(&h->a, "k");
    assert_true(host_begin(&h->b, "k") == id);
    assert_int_equal(host_wait(&h->b, id, RSL_SEC(1), &seen), RSL_ETIMEOUT);
    int status = rsl_sagas_list(h->b.sagas, 1u << RSL_SAGA_RUNNING, listing_visit, &l);
    assert_int_equal(status, RSL_OK);
    assert_int_equal(l.count, 1);
    assert_int_equal(rsl_sagas_look(h->b.sagas, id, sight_visit, &s), RSL_OK);
    assert_string_equal(s.key, "k");
    assert_int_equal(rsl_sagas_look(h->b.sagas, id + 1, sight_visit, &s), RSL_EINVAL);
    assert_int_equal(host_wait(&h->b, id + 1, RSL_SEC(1), &seen), RSL_EINVAL);
    assert_int_equal((int)seen, 77);
    (void)rsl_sagas_work(h->a.sagas);
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
    host_expect_end(&h->a, id, RSL_SAGA_DONE);
    assert_true(host_begin(&h->b, "k") == id);
    saga_rig_expect(&h->a.rig, "a b c");
    saga_rig_expect(&h->b.rig, "");
    assert_int_equal(rsl_sagas_cancel(h->b.sagas, id + 1), RSL_EINVAL);
    assert_int_equal(rsl_sagas_cancel(h->b.sagas, id), RSL_EINVAL);
    assert_int_equal(rsl_sagas_cancel(h->a.sagas, id), RSL_EINVAL);
}

static void a_saga_of_a_host_that_is_gone_is_claimed_when_its_lease_has_ended(void **state)
{
    hosts *h = *state;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    saga_rig_script(&h->a.rig, "b", "R");
    rsl_saga_id id = host_begin(&h->a, "k");
    (void)rsl_sagas_work(h->a.sagas); /* and never again */
    saga_rig_expect(&h->a.rig, "a b:R");
    while (h->time.now < START + RSL_SEC(15) - 1) {
        assert_true(rsl_sagas_work(h->b.sagas) <= h->time.now + RSL_SEC(5));
        saga_rig_expect(&h->b.rig, "");
        h->time.now += RSL_SEC(1) - 1;
    }
    h->time.now = START + RSL_SEC(20);
    (void)rsl_sagas_work(h->b.sagas);
    saga_rig_expect(&h->b.rig, "b?+ c");
    assert_int_equal(saga_rig_find(&h->b.rig, "b", false, 1)->epoch, 2);
    assert_string_equal(saga_rig_find(&h->b.rig, "b", false, 1)->key,
                        saga_rig_find(&h->a.rig, "b", false, 1)->key);
    diary_expect(&h->b.diary, id, "CLAIMED start:b done:b start:c done:c END");
    assert_int_equal(diary_last(&h->b.diary, id, RSL_SAGA_CLAIMED).status, RSL_OK);
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
}

/* A during: while the step is out on one host, time passes and the other one does its duties. */
static void who_is_frozen(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    host *x = rig->arg;
    hosts *h = x->all;
    (void)outcome;
    if (!rsl_step_is_undo(step) && strcmp(rsl_step_name(step), h->who) == 0) {
        h->time.now += RSL_SEC(16);
        (void)rsl_sagas_work(h->b.sagas);
        atomic_fetch_add(&h->seen, 1);
    }
}

/* A during: while the step is out, its saga is given to the other host. */
static void who_is_robbed(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    host *x = rig->arg;
    hosts *h = x->all;
    (void)outcome;
    if (!rsl_step_is_undo(step) && strcmp(rsl_step_name(step), h->who) == 0) {
        h->time.now += RSL_SEC(1);
        h->store.sagas[rsl_step_saga(step) - 1].lease_until = 0;
        assert_int_equal(rsl_sagas_recover(h->b.sagas), RSL_OK);
        (void)rsl_sagas_work(h->b.sagas);
        atomic_fetch_add(&h->seen, 1);
    }
}

static void expect_b_took_over(hosts *h, rsl_saga_id id, int fenced)
{
    host_expect_end(&h->a, id, RSL_SAGA_DONE);
    assert_int_equal(atomic_load(&h->seen), 1);
    saga_rig_expect(&h->a.rig, "a b");
    saga_rig_expect(&h->b.rig, "b?+ c");
    assert_int_equal(atomic_load(&h->a.way.fenced), fenced);
    diary_expect(&h->a.diary, id, "BEGUN start:a done:a start:b LOST");
    assert_int_equal(diary_last(&h->a.diary, id, RSL_SAGA_LOST).status, RSL_EFENCED);
    rsl_sagas_stats stats;
    rsl_sagas_stats_get(h->a.sagas, &stats);
    assert_int_equal(stats.live + stats.done, 0);
    assert_false(stats.failed);
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
}

static void what_a_host_appends_whose_saga_is_anothers_is_refused(void **state)
{
    hosts *h = *state;
    h->who = "b";
    h->a.rig.during = who_is_robbed;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    expect_b_took_over(h, host_begin(&h->a, "k"), 2);
}

static void a_host_that_was_frozen_learns_first_that_its_saga_is_anothers(void **state)
{
    hosts *h = *state;
    h->who = "b";
    h->a.rig.during = who_is_frozen;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    expect_b_took_over(h, host_begin(&h->a, "k"), 0);
}

/* An append of the first host that takes longer than its lease. */
static void append_is_slow(shared_host *way, const rsl_saga_record *records, size_t count)
{
    host *x = way->arg;
    if (record_kind(&records[count - 1]) == KIND_START && x->all->who != NULL) {
        x->all->time.now += RSL_SEC(15) - RSL_SEC(15) / 8;
        x->all->who = NULL;
        atomic_store(&way->renew_status, RSL_EIO);
    }
}

static void a_host_calls_no_step_once_its_lease_may_have_ended(void **state)
{
    hosts *h = *state;
    h->who = "once";
    h->a.way.on_append = append_is_slow;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    rsl_saga_id id = host_begin(&h->a, "k");
    (void)rsl_sagas_work(h->a.sagas);
    saga_rig_expect(&h->a.rig, "");
    assert_int_equal(diary_count(&h->a.diary, id, RSL_SAGA_LOST), 1);
    h->time.now = START + RSL_SEC(20);
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
    saga_rig_expect(&h->b.rig, "a b c"); /* as what was not called was put off */
}

static void keep_a_saga_for_long(hosts *h)
{
    saga_rig_script(&h->a.rig, "b", "R*");
    rsl_saga_id id = host_begin(&h->a, "k");
    for (int i = 0; i < 300; i++) {
        (void)rsl_sagas_work(h->a.sagas);
        (void)rsl_sagas_work(h->b.sagas);
        h->time.now += RSL_SEC(1);
    }
    saga_rig_script(&h->a.rig, "b", "");
    host_expect_end(&h->a, id, RSL_SAGA_DONE);
    assert_int_equal(saga_rig_count(&h->a.rig, "b", false), 151);
    saga_rig_expect(&h->b.rig, "");
    assert_in_range(atomic_load(&h->a.way.renewals), 55, 65);
    assert_int_equal(shared_store_look(&h->store, id).claims, 0);
}

static void a_host_keeps_its_sagas_as_long_as_it_renews_its_leases(void **state)
{
    hosts *h = *state;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    keep_a_saga_for_long(h);
}

static void a_host_that_never_recovered_renews_its_leases_too_and_claims_nothing(void **state)
{
    hosts *h = *state;
    host_open(&h->a);
    host_open_and_recover(&h->b);
    keep_a_saga_for_long(h);
    rsl_saga_id id = host_begin(&h->b, "of b");
    h->time.now += RSL_SEC(100);
    (void)rsl_sagas_work(h->a.sagas);
    assert_int_equal(shared_store_look(&h->store, id).claims, 0);
    assert_int_equal(atomic_load(&h->a.way.claims), 0);
}

static void a_saga_may_be_cancelled_through_another_host(void **state)
{
    hosts *h = *state;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    saga_rig_script(&h->a.rig, "b", "R");
    rsl_saga_id id = host_begin(&h->a, "k");
    (void)rsl_sagas_work(h->a.sagas);
    assert_int_equal(rsl_sagas_cancel(h->b.sagas, id), RSL_OK);
    saga_rig_script(&h->a.rig, "b", "R*");
    for (int i = 0; i < 6; i++) { /* until the owner renews, at a third of the lease */
        h->time.now += RSL_SEC(1);
        (void)rsl_sagas_work(h->a.sagas);
    }
    host_expect_end(&h->b, id, RSL_SAGA_UNWOUND);
    assert_int_equal(diary_last(&h->a.diary, id, RSL_SAGA_TURNS_BACK).status, RSL_ECANCELED);
    assert_int_equal(saga_rig_count(&h->a.rig, "a", true), 1);
}

static void a_cancel_that_was_asked_for_is_heeded_by_who_claims_the_saga(void **state)
{
    hosts *h = *state;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    saga_rig_script(&h->a.rig, "b", "R");
    rsl_saga_id id = host_begin(&h->a, "k");
    (void)rsl_sagas_work(h->a.sagas);
    assert_int_equal(rsl_sagas_cancel(h->b.sagas, id), RSL_OK);
    h->time.now += RSL_SEC(16);
    host_expect_end(&h->b, id, RSL_SAGA_UNWOUND);
    saga_rig_expect(&h->b.rig, "-b? -a");
}

/* A saga that the first host has parked; step a is stuck. */
static rsl_saga_id hosts_park(hosts *h, const char *key)
{
    saga_rig_script(&h->a.rig, "b", "F");
    saga_rig_script_undo(&h->a.rig, "a", "FFFFFFFF");
    rsl_saga_id id = host_begin(&h->a, key);
    host_expect_end(&h->a, id, RSL_SAGA_PARKED);
    saga_rig_clear(&h->a.rig);
    assert_int_equal(shared_store_look(&h->store, id).state, RSL_SAGA_PARKED);
    return id;
}

static void a_parked_saga_may_be_resolved_through_any_host(void **state)
{
    hosts *h = *state;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    const struct { rsl_saga_verb verb; rsl_saga_state end; const char *trace; } words[] = {
        {RSL_SAGA_RETRY, RSL_SAGA_UNWOUND, "-a+"}, {RSL_SAGA_SKIP, RSL_SAGA_UNWOUND, ""},
        {RSL_SAGA_ABANDON, RSL_SAGA_ABANDONED, ""}};
    for (size_t i = 0; i < 2 * RSL_COUNT(words); i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%zu", i);
        rsl_saga_id id = hosts_park(h, key);
        host *x = i % 2 == 0 ? &h->a : &h->b;
        saga_rig_clear(&h->b.rig);
        host_expect_end(&h->b, id, RSL_SAGA_PARKED);
        assert_int_equal(rsl_sagas_resolve(x->sagas, id, "y", words[i / 2].verb), RSL_EINVAL);
        assert_int_equal(rsl_sagas_resolve(x->sagas, id, "a", words[i / 2].verb), RSL_OK);
        host_expect_end(x, id, words[i / 2].end);
        saga_rig_expect(&x->rig, words[i / 2].trace);
    }
}

static void a_word_that_does_not_fit_leaves_a_parked_saga_to_others(void **state)
{
    hosts *h = *state;
    rsl_sagas_stats stats;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    rsl_saga_id id = hosts_park(h, "k");
    assert_int_equal(rsl_sagas_resolve(h->b.sagas, id, "b", RSL_SAGA_SKIP), RSL_EINVAL);
    rsl_sagas_stats_get(h->b.sagas, &stats);
    assert_int_equal(stats.live, 0);
    assert_int_equal(shared_store_look(&h->store, id).state, RSL_SAGA_PARKED);
    assert_int_equal(rsl_sagas_resolve(h->a.sagas, id, "a", RSL_SAGA_SKIP), RSL_OK);
    host_expect_end(&h->a, id, RSL_SAGA_UNWOUND);
}

static void a_saga_that_runs_elsewhere_cannot_be_resolved(void **state)
{
    hosts *h = *state;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    rsl_saga_id id = host_begin(&h->a, "k");
    assert_int_equal(rsl_sagas_resolve(h->b.sagas, id, "a", RSL_SAGA_SKIP), RSL_EINVAL);
    assert_int_equal(rsl_sagas_resolve(h->b.sagas, id, NULL, RSL_SAGA_ABANDON), RSL_EINVAL);
    host_expect_end(&h->a, id, RSL_SAGA_DONE);
    saga_rig_expect(&h->a.rig, "a b c");
}

static void leases_that_cannot_be_renewed_are_lost_in_time(void **state)
{
    hosts *h = *state;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    saga_rig_script(&h->a.rig, "b", "R");
    rsl_saga_id id = host_begin(&h->a, "k");
    (void)rsl_sagas_work(h->a.sagas);
    atomic_store(&h->a.way.renew_status, RSL_EIO);
    atomic_store(&h->a.way.append_status, RSL_EIO);
    atomic_store(&h->a.way.claim_status, RSL_EIO);
    for (int i = 0; i < 200; i++) {
        h->time.now += RSL_MS(100);
        (void)rsl_sagas_work(h->a.sagas);
    }
    assert_int_equal(diary_count(&h->a.diary, id, RSL_SAGA_LOST), 1);
    assert_int_equal(diary_last(&h->a.diary, id, RSL_SAGA_LOST).status, RSL_EIO);
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
    saga_rig_expect(&h->b.rig, "b?+ c");
    atomic_store(&h->a.way.renew_status, RSL_OK);
    atomic_store(&h->a.way.append_status, RSL_OK);
    atomic_store(&h->a.way.claim_status, RSL_OK);
    host_expect_end(&h->a, id, RSL_SAGA_DONE);
    rsl_saga_id next = host_begin(&h->a, "k2");
    host_expect_end(&h->a, next, RSL_SAGA_DONE);
}

/* A during: while the step is out, its host cannot renew the lease, and time passes. */
static void who_outlives_its_lease(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    host *x = rig->arg;
    hosts *h = x->all;
    (void)outcome;
    if (strcmp(rsl_step_name(step), h->who) == 0) {
        atomic_store(&x->way.renew_status, RSL_EIO);
        for (int i = 0; i < 20; i++) {
            h->time.now += RSL_SEC(1);
            (void)rsl_sagas_work(x->sagas);
        }
        atomic_store(&x->way.renew_status, RSL_OK);
        atomic_store(&h->seen, rsl_cancel_fired(rsl_step_ctx(step).cancel) ? 1 : 2);
    }
}

static void a_step_is_told_that_the_lease_of_its_saga_is_lost(void **state)
{
    hosts *h = *state;
    h->who = "b";
    h->a.rig.during = who_outlives_its_lease;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    rsl_saga_id id = host_begin(&h->a, "k");
    (void)rsl_sagas_work(h->a.sagas);
    assert_int_equal(atomic_load(&h->seen), 1);
    saga_rig_expect(&h->a.rig, "a b");
    assert_int_equal(diary_count(&h->a.diary, id, RSL_SAGA_LOST), 1);
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
    saga_rig_expect(&h->b.rig, "c"); /* as b came back OK all the same */
}

static uint32_t stats_live(rsl_sagas *sagas)
{
    rsl_sagas_stats stats;
    rsl_sagas_stats_get(sagas, &stats);
    return stats.live;
}

/* An on_renew: from when a step is out, the store does not answer before the gate is open. */
static void never_answers(shared_host *way)
{
    host *x = way->arg;
    while (atomic_load(&x->all->told) != 0 && atomic_load(&x->all->gate) == 0) {
        nap(RSL_US(200));
    }
}

static void append_never_answers(shared_host *way, const rsl_saga_record *records, size_t count)
{
    (void)records, (void)count;
    never_answers(way);
}

/* A during: who waits for its cancel, and opens the gate then. */
static void who_stops_when_it_is_told_to(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    host *x = rig->arg;
    hosts *h = x->all;
    rsl_ctx ctx = rsl_step_ctx(step);
    (void)outcome;
    if (strcmp(rsl_step_name(step), h->who) == 0 && atomic_load(&h->told) == 0) {
        rsl_time end = rsl_now() + PATIENCE;
        atomic_store(&h->told, 1);
        while (!rsl_cancel_fired(ctx.cancel) && rsl_now() < end) {
            nap(RSL_US(200));
        }
        if (atomic_load(&h->fails)) {
            *outcome = RSL_STEP_FAIL;
        }
        atomic_store(&h->seen, rsl_cancel_fired(ctx.cancel) ? 1 : 2);
        atomic_store(&h->gate, 1);
    }
}

/* The latest action of that name that was called for the saga; NULL: there was none. */
static const saga_call *call_of(saga_rig *rig, rsl_saga_id id, const char *name)
{
    const saga_call *found = NULL, *call = NULL;
    for (size_t n = 1; (call = saga_rig_find(rig, name, false, n)) != NULL; n++) {
        found = call->saga == id ? call : found;
    }
    return found;
}

/* Its step b ends only when it is told to stop. */
static void stop_in_time(hosts *h, bool fails)
{
    h->who = "b";
    atomic_store(&h->fails, fails);
    h->a.rig.during = who_stops_when_it_is_told_to;
    h->a.way.on_renew = never_answers;
    h->a.way.on_append = append_never_answers;
    h->a.config.threads = 1;
    h->a.config.claim_for = RSL_SEC(1);
    host_open(&h->a);
    rsl_time start = rsl_now();
    rsl_saga_id id = host_begin(&h->a, "k");
    EVENTUALLY(atomic_load(&h->told) != 0);
    rsl_saga_id other = host_begin(&h->a, "other"); /* for an append to be under way */
    EVENTUALLY(atomic_load(&h->seen) != 0);
    assert_int_equal(atomic_load(&h->seen), 1);
    assert_true(rsl_now() - start >= RSL_MS(800));
    EVENTUALLY(diary_count(&h->a.diary, id, RSL_SAGA_LOST) == 1);
    assert_int_equal(diary_last(&h->a.diary, id, RSL_SAGA_LOST).status, RSL_ETIMEOUT);
    EVENTUALLY(stats_live(h->a.sagas) == 0);
    EVENTUALLY(shared_store_look(&h->store, id).lease_until == 0); /* given back */
    assert_null(call_of(&h->a.rig, id, "c"));
    host_open_and_recover(&h->b);
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
    host_expect_end(&h->b, other, RSL_SAGA_DONE);
    const saga_call *again = call_of(&h->b.rig, id, "b");
    assert_true(fails ? again != NULL && again->maybe : again == NULL);
}

static void a_step_is_told_to_stop_in_time_though_the_store_does_not_answer(void **state)
{
    stop_in_time(*state, false);
}

static void what_a_step_that_was_told_to_stop_says_turns_no_saga_back(void **state)
{
    stop_in_time(*state, true);
}

/* A during: who stays until the gate is open, whatever it is told. */
static void who_stays(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    host *x = rig->arg;
    (void)outcome;
    if (strcmp(rsl_step_name(step), x->all->who) == 0) {
        atomic_store(&x->all->seen, 1);
        while (atomic_load(&x->all->gate) == 0) {
            nap(RSL_US(200));
        }
    }
}

/* A during: while who is out, its runtime is closed, and several leases go by. */
static void who_outlasts_a_close(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    host *x = rig->arg;
    who_stays(rig, step, outcome);
    if (strcmp(rsl_step_name(step), x->all->who) == 0) {
        nap(RSL_SEC(1));
        atomic_store(&x->all->told, rsl_cancel_fired(rsl_step_ctx(step).cancel) ? 2 : 1);
    }
}

static void of_a_saga_whose_lease_is_over_what_waits_for_a_thread_is_put_off_at_once(void **state)
{
    hosts *h = *state;
    h->who = "a";
    h->a.rig.during = who_stays;
    h->a.config.threads = 1;
    h->a.config.claim_for = h->b.config.claim_for = RSL_SEC(1);
    host_open(&h->a);
    rsl_saga_id first = host_begin(&h->a, "k");
    EVENTUALLY(atomic_load(&h->seen) == 1);
    atomic_store(&h->a.way.renew_status, RSL_EIO);
    rsl_saga_id second = host_begin(&h->a, "k2");
    EVENTUALLY(diary_count(&h->a.diary, second, RSL_SAGA_STEP_PUT_OFF) == 1);
    EVENTUALLY(stats_live(h->a.sagas) == 1);
    saga_rig_expect(&h->a.rig, "a");
    host_open_and_recover(&h->b);
    host_expect_end(&h->b, second, RSL_SAGA_DONE);
    host_expect_end(&h->b, first, RSL_SAGA_DONE);
    atomic_store(&h->gate, 1);
    assert_true(call_of(&h->b.rig, first, "a")->maybe);
    assert_false(call_of(&h->b.rig, second, "a")->maybe);
}

static void a_lease_is_not_given_back_where_an_append_failed(void **state)
{
    hosts *h = *state;
    rsl_saga_step steps[] = {saga_step_after("x", ""), saga_step_after("y", "")};
    rsl_saga_def def = {"both", 1, steps, 2, 0};
    rsl_saga_id id = 0;
    h->who = "x";
    h->a.rig.during = who_stays;
    h->a.config.claim_for = RSL_MS(300);
    host_open(&h->a);
    assert_int_equal(rsl_sagas_register(h->a.sagas, &def, &h->a.rig), RSL_OK);
    saga_rig_script(&h->a.rig, "y", "R*"); /* which is recorded again and again */
    assert_int_equal(rsl_sagas_start(h->a.sagas, "both", "k", NULL, 0, &id), RSL_OK);
    EVENTUALLY(atomic_load(&h->seen) == 1);
    atomic_store(&h->a.way.append_status, RSL_EIO);
    EVENTUALLY(diary_count(&h->a.diary, id, RSL_SAGA_LOST) == 1);
    atomic_store(&h->a.way.append_status, RSL_OK);
    nap(RSL_MS(250));
    atomic_store(&h->gate, 1);
    EVENTUALLY(stats_live(h->a.sagas) == 0);
    assert_int_equal(atomic_load(&h->a.way.given_back), 0);
}

static void *closes(void *arg)
{
    host *x = arg;
    assert_int_equal(rsl_sagas_close(x->sagas, NULL), RSL_OK);
    return NULL;
}

/* An observer that stays in an event of that kind until the gate is open. */
static void stays_in_event(const rsl_event *event, void *arg)
{
    host *x = arg;
    if (event->kind == atomic_load(&x->all->told)) {
        atomic_store(&x->all->seen, 1);
        while (atomic_load(&x->all->gate) == 0) {
            nap(RSL_US(200));
        }
    }
}

static void while_an_observer_hears_of_a_loss_other_sagas_heed_the_store(void **state)
{
    hosts *h = *state;
    h->a.diary.then = stays_in_event;
    h->a.diary.arg = &h->a;
    h->a.config.claim_for = RSL_MS(600);
    atomic_store(&h->told, RSL_SAGA_LOST);
    saga_rig_script(&h->a.rig, "b", "R*");
    host_open(&h->a);
    rsl_saga_id wished = host_begin(&h->a, "k"), robbed = host_begin(&h->a, "k2");
    EVENTUALLY(saga_rig_count(&h->a.rig, "b", false) == 2);
    pthread_mutex_lock(&h->store.lock);
    shared_find_(&h->store, wished)->cancel = true;
    shared_find_(&h->store, robbed)->epoch++;
    pthread_mutex_unlock(&h->store.lock);
    EVENTUALLY(diary_count(&h->a.diary, wished, RSL_SAGA_ENDED) == 1);
    EVENTUALLY(atomic_load(&h->seen) == 1);
    atomic_store(&h->gate, 1);
    assert_int_equal(diary_count(&h->a.diary, robbed, RSL_SAGA_LOST), 1);
}

static void leases_are_renewed_while_close_waits_for_an_observer(void **state)
{
    hosts *h = *state;
    h->a.diary.then = stays_in_event;
    h->a.diary.arg = &h->a;
    h->a.config.claim_for = h->b.config.claim_for = RSL_MS(300);
    atomic_store(&h->told, RSL_SAGA_STEP_STARTED);
    host_open(&h->a);
    host_open_and_recover(&h->b);
    rsl_saga_id id = host_begin(&h->a, "k");
    EVENTUALLY(atomic_load(&h->seen) == 1);
    pthread_t thread = thread_start(closes, &h->a);
    nap(RSL_SEC(1));
    atomic_store(&h->gate, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    h->a.sagas = NULL;
    assert_int_equal(diary_count(&h->a.diary, id, RSL_SAGA_LOST), 0);
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
    saga_rig_expect(&h->b.rig, "a b c");
}

/* Real time, of which some is slept through by all at once. */
static _Atomic int64_t slept;

static rsl_time now_after_sleep(void *user)
{
    (void)user;
    return rsl_now() + atomic_load(&slept);
}

static void store_takes_a_moment(shared_host *way)
{
    (void)way;
    nap(RSL_MS(5));
}

static void a_host_that_sleeps_through_its_leases_asks_for_them_before_it_gives_up(void **state)
{
    hosts *h = *state;
    rsl_clock clock = {now_after_sleep, NULL, NULL};
    rsl_saga_id ids[100];
    h->store.clock = clock;
    h->a.config.clock = clock;
    h->a.config.claim_for = RSL_SEC(80);
    h->a.way.on_renew = store_takes_a_moment;
    saga_rig_script(&h->a.rig, "b", "RRRRRRRRRRRRRRRRRRRR");
    host_open(&h->a); /* claims nothing: what it lost would stay so */
    for (int i = 0; i < 100; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        ids[i] = host_begin(&h->a, key);
    }
    rsl_time start = rsl_now();
    atomic_fetch_add(&slept, RSL_SEC(90));
    for (int i = 0; i < 100; i++) {
        host_expect_end(&h->a, ids[i], RSL_SAGA_DONE);
    }
    assert_int_equal(diary_count(&h->a.diary, 0, RSL_SAGA_LOST), 0);
    assert_true(rsl_now() - start < RSL_SEC(9)); /* not only when its patience ends, after 10 s */
}

static void leases_of_steps_that_close_waits_for_are_renewed(void **state)
{
    hosts *h = *state;
    h->who = "b";
    h->a.rig.during = who_outlasts_a_close;
    h->a.config.claim_for = h->b.config.claim_for = RSL_MS(300);
    host_open(&h->a);
    host_open_and_recover(&h->b);
    rsl_saga_id id = host_begin(&h->a, "k");
    EVENTUALLY(atomic_load(&h->seen) == 1);
    pthread_t thread = thread_start(closes, &h->a);
    atomic_store(&h->gate, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    h->a.sagas = NULL;
    assert_int_equal(atomic_load(&h->told), 1);
    assert_int_equal(diary_count(&h->a.diary, id, RSL_SAGA_LOST), 0);
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
    saga_rig_expect(&h->b.rig, "c");
}

static void close_gives_the_leases_back(void **state)
{
    hosts *h = *state;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    rsl_saga_id ids[100];
    for (int i = 0; i < 100; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        ids[i] = host_begin(&h->a, key);
    }
    host_close(&h->a);
    assert_int_equal(atomic_load(&h->a.way.given_back), 100);
    assert_int_equal(rsl_sagas_recover(h->b.sagas), RSL_OK);
    (void)rsl_sagas_work(h->b.sagas);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(shared_store_look(&h->store, ids[i]).state, RSL_SAGA_DONE);
    }
    assert_true(h->time.now == START);
}

static void a_store_that_fails_for_a_while_costs_a_lease_and_no_saga(void **state)
{
    hosts *h = *state;
    rsl_saga_id id = 77;
    host_open_and_recover(&h->a);
    atomic_store(&h->a.way.begin_status, RSL_EIO);
    assert_int_equal(rsl_sagas_start(h->a.sagas, "abc", "k", NULL, 0, &id), RSL_EIO);
    assert_true(id == 77);
    atomic_store(&h->a.way.begin_status, RSL_OK);
    id = host_begin(&h->a, "k");
    atomic_store(&h->a.way.append_status, RSL_EIO);
    (void)rsl_sagas_work(h->a.sagas);
    assert_int_equal(diary_count(&h->a.diary, id, RSL_SAGA_LOST), 1);
    assert_int_equal(diary_last(&h->a.diary, id, RSL_SAGA_LOST).status, RSL_EIO);
    atomic_store(&h->a.way.append_status, RSL_OK);
    atomic_store(&h->a.way.claim_status, RSL_EIO);
    h->time.now += RSL_SEC(20);
    (void)rsl_sagas_work(h->a.sagas);
    saga_rig_expect(&h->a.rig, "");
    atomic_store(&h->a.way.claim_status, RSL_OK);
    host_expect_end(&h->a, id, RSL_SAGA_DONE);
    saga_rig_expect(&h->a.rig, "a b c");
    assert_int_equal(diary_count(&h->a.diary, id, RSL_SAGA_CLAIMED), 1);
    atomic_store(&h->a.way.list_status, RSL_EIO);
    assert_int_equal(rsl_sagas_wait(h->a.sagas, id, NULL, NULL), RSL_EIO);
    assert_int_equal(rsl_sagas_list(h->a.sagas, 0, sight_visit, NULL), RSL_EIO);
}

static void a_host_claims_only_what_it_has_the_very_definition_of(void **state)
{
    hosts *h = *state;
    rsl_saga_step changed[] = {saga_step("a"), saga_step("b"), saga_step("d")};
    rsl_saga_def other = {"abc", 1, changed, 3, 0}, right = {"abc", 2, abc, 3, 0};
    host_open_and_recover(&h->a);
    rsl_saga_id id = host_begin(&h->a, "k");
    host_close(&h->a);
    assert_int_equal(rsl_sagas_open(&h->b.sagas, &h->b.config), RSL_OK);
    assert_int_equal(rsl_sagas_register(h->b.sagas, &other, &h->b.rig), RSL_OK);
    assert_int_equal(rsl_sagas_register(h->b.sagas, &right, &h->b.rig), RSL_OK);
    assert_int_equal(rsl_sagas_recover(h->b.sagas), RSL_OK);
    assert_int_equal(host_wait(&h->b, id, RSL_SEC(60), NULL), RSL_ETIMEOUT);
    assert_int_equal(shared_store_look(&h->store, id).claims, 0);
    host_open_and_recover(&h->a);
    host_expect_end(&h->a, id, RSL_SAGA_DONE);
}

static void a_host_claims_no_more_than_it_may_have(void **state)
{
    hosts *h = *state;
    rsl_sagas_stats stats;
    rsl_saga_id id = 0;
    host_open_and_recover(&h->a);
    for (int i = 0; i < 10; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        id = host_begin(&h->a, key);
    }
    host_close(&h->a);
    h->b.config.live_max = 4;
    host_open_and_recover(&h->b);
    saga_rig_script(&h->b.rig, "a", "RRRR");
    (void)rsl_sagas_work(h->b.sagas);
    rsl_sagas_stats_get(h->b.sagas, &stats);
    assert_int_equal(stats.live, 4);
    assert_int_equal(atomic_load(&h->b.way.claims), 4);
    assert_int_equal(rsl_sagas_resolve(h->b.sagas, id, NULL, RSL_SAGA_ABANDON), RSL_EFULL);
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
}

static void a_log_that_cannot_be_read_is_left_to_others_and_read_again_later(void **state)
{
    hosts *h = *state;
    host_open_and_recover(&h->a);
    rsl_saga_id id = host_begin(&h->a, "k");
    (void)rsl_sagas_work(h->a.sagas);
    rsl_saga_id second = host_begin(&h->a, "k2");
    host_close(&h->a);
    host_open_and_recover(&h->b);
    for (size_t limit = 0; limit < 2; limit++) {
        atomic_store(&h->b.way.load_status, limit == 0 ? RSL_EIO : RSL_ENOMEM);
        h->b.way.load_limit = limit;
        assert_int_equal(host_wait(&h->b, second, RSL_SEC(20), NULL), RSL_ETIMEOUT);
        saga_rig_expect(&h->b.rig, "");
    }
    atomic_store(&h->b.way.load_status, RSL_OK);
    host_expect_end(&h->b, second, RSL_SAGA_DONE);
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
    saga_rig_expect(&h->b.rig, "a b c");
}

static void a_claim_survives_each_failed_allocation(void **state)
{
    hosts *h = *state;
    rsl_saga_id id = 0;
    host_open_and_recover(&h->b);
    for (long n = 1; n < 30; n++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%ld", n);
        host_open_and_recover(&h->a);
        id = host_begin(&h->a, key);
        host_close(&h->a);
        assert_int_equal(rsl_sagas_recover(h->b.sagas), RSL_OK);
        support_fail_nth(n);
        (void)rsl_sagas_work(h->b.sagas);
        support_fail_never();
        host_expect_end(&h->b, id, RSL_SAGA_DONE);
    }
}

/* While the log is read, somebody asks how its saga ends. */
static void ask_while_loading(shared_host *way, size_t loaded)
{
    host *x = way->arg;
    if (loaded > 0) {
        rsl_ctx ctx = {.deadline = x->all->time.now};
        int status = rsl_sagas_wait(x->sagas, x->all->id, &ctx, NULL);
        if (status != RSL_ETIMEOUT) {
            atomic_store(&x->all->told, 1);
        }
        atomic_fetch_add(&x->all->seen, 1);
    }
}

static void a_saga_whose_log_is_being_read_is_not_taken_for_what_it_was(void **state)
{
    hosts *h = *state;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    h->id = hosts_park(h, "k");
    saga_rig_script_undo(&h->a.rig, "a", "F");
    assert_int_equal(rsl_sagas_resolve(h->a.sagas, h->id, "a", RSL_SAGA_RETRY), RSL_OK);
    (void)rsl_sagas_work(h->a.sagas);
    h->b.way.on_load = ask_while_loading;
    h->time.now += RSL_SEC(20);
    host_expect_end(&h->b, h->id, RSL_SAGA_UNWOUND);
    assert_true(atomic_load(&h->seen) > 5);
    assert_int_equal(atomic_load(&h->told), 0);
}

static void who_waits_in_its_own_thread_takes_over_from_a_host_that_is_gone(void **state)
{
    hosts *h = *state;
    host_open_and_recover(&h->a);
    host_open_and_recover(&h->b);
    rsl_saga_id id = host_begin(&h->a, "k");
    host_expect_end(&h->b, id, RSL_SAGA_DONE);
    saga_rig_expect(&h->b.rig, "a b c");
    assert_in_range(h->time.now - START, RSL_SEC(15), RSL_SEC(21));
}

/* ------------------------------------------------- two hosts, with threads */

static void *wait_on_b(void *arg)
{
    hosts *h = arg;
    rsl_saga_state state = (rsl_saga_state)77;
    int status = host_wait(&h->b, h->id, PATIENCE, &state);
    atomic_store(&h->told, status == RSL_OK ? (int)state : status);
    return NULL;
}

/* When the log is half read, somebody begins to wait, and then the reading fails. */
static void wait_while_loading(shared_host *way, size_t loaded)
{
    host *x = way->arg;
    if (loaded == 1 && atomic_exchange(&x->all->seen, 1) == 0) {
        pthread_t thread = thread_start(wait_on_b, x->all);
        pthread_detach(thread);
        nap(RSL_MS(20));
    }
}

static void who_waits_while_a_log_cannot_be_read_goes_on_waiting(void **state)
{
    hosts *h = *state;
    h->a.config.claim_for = h->b.config.claim_for = RSL_MS(100);
    host_open(&h->a);
    h->id = host_begin(&h->a, "k");
    host_expect_end(&h->a, h->id, RSL_SAGA_DONE);
    saga_rig_script(&h->a.rig, "b", "R");
    h->id = host_begin(&h->a, "k2");
    EVENTUALLY(diary_count(&h->a.diary, h->id, RSL_SAGA_STEP_RETRIES) == 1);
    host_close(&h->a);
    h->b.way.on_load = wait_while_loading;
    h->b.way.load_limit = 2;
    atomic_store(&h->b.way.load_status, RSL_EIO);
    atomic_store(&h->told, 99);
    host_open_and_recover(&h->b);
    EVENTUALLY(atomic_load(&h->seen) == 1);
    nap(RSL_MS(50));
    assert_int_equal(atomic_load(&h->told), 99);
    atomic_store(&h->b.way.load_status, RSL_OK);
    EVENTUALLY(atomic_load(&h->told) != 99);
    assert_int_equal(atomic_load(&h->told), RSL_SAGA_DONE);
}

static void freeze(hosts *h)
{
    while (atomic_load(&h->gate) != 0) {
        nap(RSL_US(200));
    }
}

static void freeze_append(shared_host *way, const rsl_saga_record *records, size_t count)
{
    (void)records, (void)count;
    freeze(((host *)way->arg)->all);
}

static void freeze_renew(shared_host *way)
{
    freeze(((host *)way->arg)->all);
}

static void freeze_step(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    host *x = rig->arg;
    (void)outcome;
    if (strcmp(rsl_step_name(step), "b") == 0) {
        atomic_fetch_add(&x->all->seen, 1);
        nap(RSL_MS(1));
    }
    freeze(x->all);
}

static void a_frozen_host_wakes_to_find_its_sagas_anothers_and_loses_no_outcome(void **state)
{
    enum { SAGAS = 12 };
    hosts *h = *state;
    rsl_saga_id ids[SAGAS];
    h->a.config.claim_for = h->b.config.claim_for = RSL_MS(200);
    h->a.way.on_append = freeze_append;
    h->a.way.on_renew = freeze_renew;
    h->a.rig.during = freeze_step;
    host_open_and_recover(&h->a);
    for (int i = 0; i < SAGAS; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        ids[i] = host_begin(&h->a, key);
    }
    EVENTUALLY(atomic_load(&h->seen) >= 2);
    atomic_store(&h->gate, 1);
    host_open_and_recover(&h->b);
    for (int i = 0; i < SAGAS; i++) {
        host_expect_end(&h->b, ids[i], RSL_SAGA_DONE);
    }
    atomic_store(&h->gate, 0);
    for (int i = 0; i < SAGAS; i++) {
        host_expect_end(&h->a, ids[i], RSL_SAGA_DONE);
        shared_saga saga = shared_store_look(&h->store, ids[i]);
        size_t done[3] = {0, 0, 0}; /* each outcome that was recorded once is there, once */
        for (size_t r = 0; r < saga.log.count; r++) {
            const uint8_t *data = saga.log.at[r].data;
            done[data[2] % 3] += data[0] == KIND_DONE;
        }
        assert_true(done[0] == 1 && done[1] == 1 && done[2] == 1);
    }
    EVENTUALLY(diary_count(&h->a.diary, 0, RSL_SAGA_LOST) >= 1);
}

/* -------------------------------------------------------------------- main */

#define HERE(test) cmocka_unit_test_setup_teardown(test, world_make, world_end)
#define THREADS(test) cmocka_unit_test_setup_teardown(test, world_make_threads, world_end)
#define HOSTS(test) cmocka_unit_test_setup_teardown(test, hosts_make, hosts_end)
#define HOSTS_THREADS(test) cmocka_unit_test_setup_teardown(test, hosts_make_threads, hosts_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HERE(each_wrong_field_of_the_config_is_named_and_refused_by_open),
        HERE(a_config_is_checked_and_refused_without_a_pointer_too),
        HERE(the_reason_is_cut_to_the_room_that_there_is),
        HERE(zeros_in_the_config_mean_the_defaults),
        HERE(what_is_set_in_the_config_stays),
        HERE(what_the_store_says_at_open_is_passed_on_and_nothing_is_left_behind),
        HERE(open_survives_each_failed_allocation),
        THREADS(a_thread_that_cannot_be_started_is_told_and_nothing_is_left_behind),
        HERE(a_lock_that_cannot_be_made_is_told_at_open_and_at_start),
        HERE(nothing_that_was_read_runs_before_recover),
        HERE(epochs_rise_with_each_open),
        HERE(an_open_that_fails_uses_up_no_epoch_that_matters),
        HERE(a_definition_is_refused_if_it_is_wrong_or_known),
        HERE(register_survives_each_failed_allocation),
        HERE(a_definition_is_copied),
        HERE(start_uses_the_highest_version_and_others_go_on_with_theirs),
        HERE(a_step_is_told_all_about_its_call),
        HERE(a_saga_begins_durably_before_start_returns_and_a_step_before_it_is_called),
        HERE(what_a_step_depends_on_is_durable_before_it_is_called),
        HERE(the_same_key_is_the_same_saga_whatever_else_is_asked),
        HERE(bad_input_to_start_is_refused_and_changes_nothing),
        HERE(a_key_may_have_any_bytes_but_zero),
        HERE(no_more_sagas_live_at_once_than_live_max),
        HERE(start_survives_each_failed_allocation),
        HERE(once_begun_a_saga_needs_no_memory),
        THREADS(a_key_that_many_threads_start_at_once_is_begun_once),
        HERE(wait_refuses_what_is_no_saga),
        HERE(wait_in_the_callers_thread_ends_with_its_ctx),
        THREADS(wait_for_threads_ends_with_its_ctx),
        THREADS(all_who_wait_for_a_saga_are_told),
        HERE(cancel_before_the_first_step_is_called_leaves_it_uncalled),
        HERE(cancel_refuses_what_is_no_saga),
        HERE(cancel_within_a_step_fires_its_ctx_and_undoes_it),
        HERE(a_pivot_that_has_begun_cannot_be_cancelled),
        HERE(cancel_while_a_saga_unwinds_to_a_savepoint_unwinds_all),
        HERE(cancel_while_a_step_waits_for_its_next_attempt_undoes_it),
        THREADS(cancel_from_another_thread_reaches_a_step_under_way),
        HERE(a_saga_that_was_read_may_be_cancelled_before_recover),
        HERE(when_an_undo_is_out_of_attempts_the_other_branches_are_still_undone),
        HERE(a_parked_step_is_called_again_when_an_operator_says_so),
        HERE(a_parked_step_is_taken_for_undone_when_an_operator_says_so),
        HERE(a_parked_saga_ends_as_it_stands_when_an_operator_abandons_it),
        HERE(resolve_refuses_what_is_not_parked),
        HERE(of_two_parked_steps_each_has_its_own_word),
        HERE(a_parked_saga_is_still_parked_after_a_restart_and_may_be_resolved),
        HERE(a_pivot_in_doubt_waits_for_an_operator),
        HERE(one_parked_saga_stops_no_other),
        HERE(a_saga_whose_definition_has_changed_is_parked_and_nothing_is_guessed),
        HERE(a_saga_without_its_definition_goes_on_once_that_is_registered),
        HERE(a_saga_without_its_definition_may_be_abandoned_but_not_guessed_at),
        HERE(a_parked_definition_can_be_cancelled_and_unwinds_when_it_is_back),
        HERE(a_hole_in_a_log_parks_its_saga_and_no_other),
        HERE(list_visits_by_id_those_in_the_states_that_are_asked_for),
        HERE(what_list_tells_is_the_same_after_a_restart),
        HERE(look_tells_how_far_a_saga_is_and_what_failed),
        HERE(stats_count_what_there_is_and_what_has_been),
        THREADS(stats_count_steps_that_run_and_that_are_ready),
        HERE(each_transition_has_its_event_in_order),
        HERE(a_step_that_fails_after_an_attempt_of_unknown_effect_is_told_as_in_doubt),
        HERE(an_observer_may_start_cancel_and_list),
        HERE(an_observer_may_resolve_what_parks),
        THREADS(while_an_observer_lingers_other_sagas_go_on),
        THREADS(an_event_is_told_before_what_depends_on_it_begins),
        THREADS(a_saga_that_ends_while_an_observer_lingers_has_ended),
        THREADS(however_many_observers_linger_a_saga_has_room_for_its_records),
        HERE(a_step_may_begin_another_saga_and_wait_for_it),
        HERE(a_step_cannot_close_its_runtime_but_may_look),
        THREADS(a_step_that_ends_its_thread_is_in_doubt),
        THREADS(however_many_threads_steps_end_the_runtime_goes_on),
        HERE(payload_and_outputs_are_there_for_later_steps_and_undos),
        HERE(payload_and_outputs_survive_a_restart),
        HERE(an_output_is_there_while_its_step_is_done_and_for_its_undo),
        HERE(an_output_that_cannot_be_kept_leaves_the_former_one),
        HERE(an_empty_output_is_none_before_and_after_a_restart),
        HERE(functions_of_a_step_take_null),
        HERE(the_oldest_of_the_ended_are_forgotten_and_their_keys_begin_anew),
        THREADS(a_saga_that_somebody_waits_for_is_not_forgotten),
        HERE(the_store_is_compacted_at_run_time_and_keeps_a_steady_size),
        HERE(remembering_many_long_keys_is_no_reason_to_compact_again_and_again),
        HERE(close_refuses_null_and_frees_what_never_ran),
        THREADS(close_waits_for_steps_and_gives_up_with_its_ctx),
        THREADS(close_waits_by_the_clock_of_the_runtime),
        THREADS(close_waits_for_observers_and_puts_off_what_follows_from_their_events),
        HERE(close_ends_after_the_store_has_failed_though_steps_are_ready),
        HERE(close_heeds_its_ctx_between_appends_and_comes_to_an_end),
        HERE(a_step_that_close_finds_uncalled_is_as_if_it_had_not_been_started),
        HERE(an_undo_that_close_finds_uncalled_is_as_if_it_had_not_been_started),
        HERE(an_attempt_that_close_finds_uncalled_follows_those_before_it),
        HERE(of_steps_that_crashes_cut_short_again_and_again_one_is_started_at_a_time),
        HERE(a_suspect_that_waits_for_another_still_heeds_its_deadline),
        THREADS(those_who_wait_are_told_that_it_closes),
        THREADS(close_ends_when_an_append_under_way_does),
        THREADS(close_ends_when_a_compaction_under_way_does),
        HERE(attempts_of_actions_and_undos_have_each_their_own_backoff),
        HERE(work_tells_when_it_is_to_be_called_again),
        HERE(a_saga_past_its_deadline_unwinds_and_its_undos_do_not_heed_it),
        HERE(the_deadline_holds_across_a_restart),
        HERE(a_call_has_the_timeout_of_its_step_and_the_nearer_of_two_deadlines),
        HERE(an_undo_is_not_tried_earlier_after_a_restart_and_its_attempts_go_on_counting),
        HERE(a_clock_that_begins_anew_after_a_restart_makes_nothing_late_or_early),
        THREADS(threads_follow_a_clock_that_others_move),
        THREADS(no_more_steps_run_at_once_than_threads),
        THREADS(independent_steps_run_at_the_same_time),
        THREADS(the_threads_of_the_application_may_run_the_steps),
        THREADS(an_application_without_a_thread_to_spare_is_asked_again),
        THREADS(a_clock_of_ones_own_does_not_keep_the_application_from_being_asked),
        THREADS(a_step_that_ends_a_thread_of_the_application_does_not_hold_up_close),
        HERE(a_store_that_fences_off_an_exclusive_owner_has_failed),
        THREADS(a_store_that_does_not_know_the_time_harms_no_saga),
        HERE(the_path_may_be_forgotten_after_open),
        HOSTS(a_saga_that_one_host_runs_can_be_seen_from_another),
        HOSTS(a_saga_of_a_host_that_is_gone_is_claimed_when_its_lease_has_ended),
        HOSTS(what_a_host_appends_whose_saga_is_anothers_is_refused),
        HOSTS(a_host_that_was_frozen_learns_first_that_its_saga_is_anothers),
        HOSTS(a_host_calls_no_step_once_its_lease_may_have_ended),
        HOSTS(a_host_keeps_its_sagas_as_long_as_it_renews_its_leases),
        HOSTS(a_host_that_never_recovered_renews_its_leases_too_and_claims_nothing),
        HOSTS(a_saga_may_be_cancelled_through_another_host),
        HOSTS(a_cancel_that_was_asked_for_is_heeded_by_who_claims_the_saga),
        HOSTS(a_parked_saga_may_be_resolved_through_any_host),
        HOSTS(a_word_that_does_not_fit_leaves_a_parked_saga_to_others),
        HOSTS(a_saga_that_runs_elsewhere_cannot_be_resolved),
        HOSTS(leases_that_cannot_be_renewed_are_lost_in_time),
        HOSTS_THREADS(a_step_is_told_to_stop_in_time_though_the_store_does_not_answer),
        HOSTS_THREADS(what_a_step_that_was_told_to_stop_says_turns_no_saga_back),
        HOSTS_THREADS(of_a_saga_whose_lease_is_over_what_waits_for_a_thread_is_put_off_at_once),
        HOSTS_THREADS(a_lease_is_not_given_back_where_an_append_failed),
        HOSTS_THREADS(a_host_that_sleeps_through_its_leases_asks_for_them_before_it_gives_up),
        HOSTS_THREADS(leases_of_steps_that_close_waits_for_are_renewed),
        HOSTS_THREADS(leases_are_renewed_while_close_waits_for_an_observer),
        HOSTS_THREADS(while_an_observer_hears_of_a_loss_other_sagas_heed_the_store),
        HOSTS(a_step_is_told_that_the_lease_of_its_saga_is_lost),
        HOSTS(close_gives_the_leases_back),
        HOSTS(a_store_that_fails_for_a_while_costs_a_lease_and_no_saga),
        HOSTS(a_host_claims_only_what_it_has_the_very_definition_of),
        HOSTS(a_host_claims_no_more_than_it_may_have),
        HOSTS(a_log_that_cannot_be_read_is_left_to_others_and_read_again_later),
        HOSTS(a_claim_survives_each_failed_allocation),
        HOSTS(a_saga_whose_log_is_being_read_is_not_taken_for_what_it_was),
        HOSTS(who_waits_in_its_own_thread_takes_over_from_a_host_that_is_gone),
        HOSTS_THREADS(who_waits_while_a_log_cannot_be_read_goes_on_waiting),
        HOSTS_THREADS(a_frozen_host_wakes_to_find_its_sagas_anothers_and_loses_no_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
