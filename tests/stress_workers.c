/* SPDX-License-Identifier: MIT
   stress_workers.c: many threads on few workers: storms of submits of all priorities, waits that
   give up, cancels from elsewhere, tasks within tasks and maps, while the workers are stopped,
   drained and restarted and threads come and go; order; closes; and single wake-ups one after
   another. Each task runs once, or not at all if it says so; its memory is overwritten and freed
   the moment it may be, so that any later touch is seen. To be built with the thread and address
   sanitizers too. Prints TAP.                                                                  */
#include "support/allocator.h"

#define RSL_BULKHEAD_IMPLEMENTATION
#include "bulkhead.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/support.h"

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define SLOW 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SLOW 1
#endif
#endif

enum {
    ACTORS = 6,
#ifdef SLOW
    STORM_STEPS = 3000,   /* of each actor in each storm */
    PING_ROUNDS = 3000,
    ORDER_TASKS = 2000,   /* of each producer */
    CLOSE_ROUNDS = 40,
#else
    STORM_STEPS = 15000,
    PING_ROUNDS = 20000,
    ORDER_TASKS = 20000,
    CLOSE_ROUNDS = 200,
#endif
    BATCH = 6,
    ITEMS = 24,
    PRODUCERS = 4,
    WINDOW = 8            /* tasks that a producer has out */
};

#define ALIVE UINT64_C(0xA11FEA11FE)

/* Nobody waits for so long, unless forgotten. */
#define LONG_ENOUGH RSL_SEC(60)

/* ------------------------------------------------------------------- helpers */

static _Atomic int dead_touched; /* tasks that were run or told of after their end */
static _Atomic uint64_t operations;

static void bail_out(const char *why)
{
    printf("Bail out! %s\n", why);
    exit(1);
}

static pthread_t start_thread(void *(*work)(void *arg), void *arg)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, arg) != 0) {
        bail_out("no thread");
    }
    return thread;
}

static void nap(rsl_time span)
{
    struct timespec t = {(time_t)(span / RSL_SEC(1)), (long)(span % RSL_SEC(1))};
    nanosleep(&t, NULL);
}

static rsl_workers_stats stats_of(rsl_workers *workers)
{
    rsl_workers_stats stats;
    rsl_workers_stats_get(workers, &stats);
    return stats;
}

/* -------------------------------------------------------------------- pieces */

typedef struct field field;

/* A task on the heap, freed as soon as it may be. */
typedef struct piece {
    uint64_t    alive;
    rsl_task    task;
    rsl_cancel  token;    /* its parent, if it has one */
    bool        has_token;
    field      *field;
    int         answer;   /* above 0, as no status is */
    uint32_t    mood;     /* what it does */
    _Atomic int runs, told;
} piece;

/* What all threads of a storm share. */
struct field {
    rsl_workers      *workers;
    rsl_workers_config config;
    bool              maps;         /* then the workers count tasks of their own, too */
    bool              exits;        /* some tasks end their thread */
    pthread_mutex_t   lock;
    piece            *shown[ACTORS]; /* for the canceller; guarded by lock */
    _Atomic int       wrong;
    _Atomic bool      over;
    _Atomic uint64_t  accepted, refused, ran, never_ran, vanished;
};

typedef struct actor {
    field        *field;
    int           id;
    seeded_random random;
} actor;

static bool now_and_then(actor *a, uint32_t one_in)
{
    return seeded_random_below(&a->random, one_in) == 0;
}

static void go_wrong(field *f, const char *what, int status)
{
    if (atomic_fetch_add(&f->wrong, 1) < 5) {
        printf("# %s: %d (%s)\n", what, status, rsl_strerror(status));
    }
}

static int child_run(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    atomic_fetch_add((_Atomic int *)arg, 1);
    return 77;
}

/* A task within a task, on its stack. Waiting with a deadline may be refused, for want of a thread
   to run it; then without. */
static void run_a_child(piece *p, bool limited)
{
    rsl_task task;
    _Atomic int runs = 0;
    int result = 0;
    memset(&task, 0, sizeof task);
    int status = rsl_workers_submit(p->field->workers, NULL, child_run, &runs, &task);
    if (status != RSL_OK) {
        atomic_fetch_add(&p->field->refused, 1);
        if (status != RSL_EFULL && status != RSL_ECLOSED) {
            go_wrong(p->field, "a child is not taken", status);
        }
        return;
    }
    atomic_fetch_add(&p->field->accepted, 1);
    rsl_ctx limit = rsl_within(LONG_ENOUGH);
    status = rsl_task_wait(&task, limited ? &limit : NULL, &result);
    if (limited && status == RSL_EINVAL) {
        status = rsl_task_wait(&task, NULL, &result);
    }
    if (status != RSL_OK || runs != (result == 77)) {
        go_wrong(p->field, "a child is lost", status != RSL_OK ? status : result);
    }
    atomic_fetch_add(result == 77 ? &p->field->ran : &p->field->never_ran, 1);
}

static int piece_run(const rsl_ctx *ctx, void *arg)
{
    piece *p = arg;
    if (p->alive != ALIVE || ctx->cancel == NULL) {
        atomic_fetch_add(&dead_touched, 1);
        return -1;
    }
    atomic_fetch_add(&p->runs, 1);
    switch (p->mood % 64) {
    case 0:
        run_a_child(p, false);
        break;
    case 1:
        run_a_child(p, true);
        break;
    case 2:
        nap(RSL_US(p->mood / 64 % 64));
        break;
    case 3: /* heeds its token, for a while */
        for (int i = 0; i < 20 && !rsl_cancel_fired(ctx->cancel); i++) {
            (void)sched_yield();
        }
        break;
    case 4:
    case 5:
        (void)sched_yield();
        break;
    default:
        break;
    }
    return p->answer;
}

static int piece_exits(const rsl_ctx *ctx, void *arg)
{
    piece *p = arg;
    (void)ctx;
    atomic_fetch_add(&p->runs, 1);
    pthread_exit(NULL);
}

static void piece_told(void *user)
{
    piece *p = user;
    atomic_fetch_add(&dead_touched, p->alive != ALIVE);
    atomic_fetch_add(&p->told, 1);
}

static piece *piece_new(actor *a)
{
    piece *p = calloc(1, sizeof *p);
    if (p == NULL) {
        bail_out("no memory");
    }
    p->alive = ALIVE;
    p->field = a->field;
    p->answer = 1 + (int)seeded_random_below(&a->random, 1000);
    p->mood = (uint32_t)seeded_random_bits(&a->random);
    rsl_task_on_done(&p->task, piece_told, p);
    return p;
}

static void piece_free(piece *p)
{
    if (p->has_token) {
        rsl_cancel_deinit(&p->token);
    }
    memset(p, 0xA5, sizeof *p);
    free(p);
}

static bool is_refusal(field *f, int status)
{
    return status == RSL_ECLOSED || status == RSL_ETIMEOUT || status == RSL_ECANCELED ||
           (status == RSL_EFULL && f->config.when_full != RSL_FULL_WAIT &&
            f->config.when_full != RSL_FULL_CALLER_RUNS);
}

/* Freed if it is refused. */
static bool piece_submit(actor *a, piece *p, rsl_fn fn, rsl_ctx *ctx)
{
    field *f = a->field;
    if (now_and_then(a, 3)) {
        ctx->priority = (int32_t)seeded_random_below(&a->random, 5) - 2;
    }
    atomic_fetch_add(&operations, 1);
    int status = rsl_workers_submit(f->workers, ctx, fn, p, &p->task);
    if (status == RSL_OK) {
        atomic_fetch_add(&f->accepted, 1);
        return true;
    }
    atomic_fetch_add(&f->refused, 1);
    if (!is_refusal(f, status) || atomic_load(&p->runs) != 0 || atomic_load(&p->told) != 0) {
        go_wrong(f, "a submit", status);
    }
    piece_free(p);
    if (status == RSL_ECLOSED) {
        nap(RSL_US(50)); /* it opens again soon */
    } else {
        (void)sched_yield();
    }
    return false;
}

/* It has ended with this result. */
static void piece_end(piece *p, int result)
{
    field *f = p->field;
    int runs = atomic_load(&p->runs);
    bool never = result == RSL_ECANCELED || result == RSL_ETIMEOUT || result == RSL_EFULL ||
                 result == RSL_ECLOSED;
    if (runs != (never ? 0 : 1) || (!never && result != p->answer)) {
        go_wrong(f, runs > 1 ? "a task ran twice" : "a result", result);
    }
    if (atomic_load(&p->told) != 1) {
        go_wrong(f, "not told once", atomic_load(&p->told));
    }
    atomic_fetch_add(never ? &f->never_ran : &f->ran, 1);
    piece_free(p);
}

static void piece_wait(piece *p, bool limited)
{
    int result = 0;
    rsl_ctx limit = rsl_within(LONG_ENOUGH);
    int status = rsl_task_wait(&p->task, limited ? &limit : NULL, &result);
    if (status != RSL_OK) {
        go_wrong(p->field, "a wait", status);
        bail_out("a task is lost");
    }
    piece_end(p, result);
}

/* -------------------------------------------------------------------- storms */

static void task_awaited(actor *a, bool limited)
{
    piece *p = piece_new(a);
    rsl_ctx ctx = {.attempt = 1};
    if (piece_submit(a, p, piece_run, &ctx)) {
        piece_wait(p, limited);
    }
}

/* Waits that give up, again and again; then perhaps a cancel. */
static void task_awaited_in_bits(actor *a)
{
    piece *p = piece_new(a);
    rsl_ctx ctx = {.attempt = 1};
    if (!piece_submit(a, p, piece_run, &ctx)) {
        return;
    }
    int result = 0, status = RSL_ETIMEOUT;
    for (int i = 0; i < 4 && status == RSL_ETIMEOUT; i++) {
        rsl_ctx limit = rsl_within(RSL_US(seeded_random_below(&a->random, 60)));
        status = rsl_task_wait(&p->task, &limit, &result);
    }
    if (status == RSL_OK) {
        piece_end(p, result);
        return;
    }
    if (status != RSL_ETIMEOUT) {
        go_wrong(a->field, "a wait that gives up", status);
    }
    if (now_and_then(a, 2)) {
        (void)rsl_task_cancel(&p->task);
    }
    piece_wait(p, now_and_then(a, 2));
}

static void task_cancelled_at_once(actor *a)
{
    piece *p = piece_new(a);
    rsl_ctx ctx = {.attempt = 1};
    if (!piece_submit(a, p, piece_run, &ctx)) {
        return;
    }
    int status = rsl_task_cancel(&p->task);
    if (status != RSL_OK && status != RSL_EINVAL) {
        go_wrong(a->field, "a cancel", status);
    }
    piece_wait(p, now_and_then(a, 2));
}

static void task_with_a_deadline(actor *a)
{
    piece *p = piece_new(a);
    rsl_ctx ctx = rsl_within(RSL_US(seeded_random_below(&a->random, 80)));
    if (piece_submit(a, p, piece_run, &ctx)) {
        piece_wait(p, now_and_then(a, 2));
    }
}

/* The canceller may cancel it, or fire its token, as long as it is shown. */
static void task_that_others_cancel(actor *a)
{
    field *f = a->field;
    piece *p = piece_new(a);
    p->has_token = rsl_cancel_init(&p->token, NULL) == RSL_OK;
    rsl_ctx ctx = {.cancel = &p->token};
    rsl_ctx limit = rsl_within(LONG_ENOUGH);
    bool limited = now_and_then(a, 2);
    int result = 0;
    if (!piece_submit(a, p, piece_run, &ctx)) {
        return;
    }
    pthread_mutex_lock(&f->lock);
    f->shown[a->id] = p;
    pthread_mutex_unlock(&f->lock);
    int status = rsl_task_wait(&p->task, limited ? &limit : NULL, &result);
    pthread_mutex_lock(&f->lock);
    f->shown[a->id] = NULL;
    pthread_mutex_unlock(&f->lock);
    if (status != RSL_OK) {
        go_wrong(f, "a wait while others cancel", status);
        bail_out("a task is lost");
    }
    piece_end(p, result);
}

static void tasks_in_a_batch(actor *a)
{
    piece *batch[BATCH];
    int count = 0;
    for (int i = 0; i < BATCH; i++) {
        rsl_ctx ctx = {.attempt = 1};
        piece *p = piece_new(a);
        if (piece_submit(a, p, piece_run, &ctx)) {
            batch[count++] = p;
        }
    }
    while (count > 0) {
        uint32_t nth = seeded_random_below(&a->random, (uint32_t)count);
        piece *p = batch[nth];
        batch[nth] = batch[--count];
        if (now_and_then(a, 8)) {
            (void)rsl_task_cancel(&p->task);
        }
        piece_wait(p, now_and_then(a, 3));
    }
}

/* As a loop does it: never waits, and frees what has ended. */
static void task_polled(actor *a)
{
    piece *p = piece_new(a);
    rsl_ctx ctx = {.attempt = 1};
    if (!piece_submit(a, p, piece_run, &ctx)) {
        return;
    }
    rsl_time end = rsl_now() + LONG_ENOUGH;
    while (!rsl_task_has_ended(&p->task)) {
        (void)sched_yield();
        if (rsl_now() > end) {
            bail_out("a task is never run");
        }
    }
    int runs = atomic_load(&p->runs);
    if (runs > 1 || atomic_load(&p->told) != 1) {
        go_wrong(a->field, "a task that was polled", runs);
    }
    atomic_fetch_add(runs == 1 ? &a->field->ran : &a->field->never_ran, 1);
    piece_free(p);
}

/* The same node over and over. */
static void task_repeated(actor *a)
{
    piece *p = piece_new(a);
    for (int i = 1; i <= 4; i++) {
        int result = 0;
        atomic_fetch_add(&operations, 1);
        int status = rsl_workers_submit(a->field->workers, NULL, piece_run, p, &p->task);
        if (status != RSL_OK) {
            atomic_fetch_add(&a->field->refused, 1);
            continue;
        }
        atomic_fetch_add(&a->field->accepted, 1);
        if (now_and_then(a, 4)) {
            (void)rsl_task_cancel(&p->task);
        }
        status = rsl_task_wait(&p->task, NULL, &result);
        int runs = atomic_exchange(&p->runs, 0), told = atomic_exchange(&p->told, 0);
        if (status != RSL_OK || runs > 1 || told != 1 || (runs == 1) != (result > 0)) {
            go_wrong(a->field, "a node used again", status != RSL_OK ? status : result);
        }
        atomic_fetch_add(runs == 1 ? &a->field->ran : &a->field->never_ran, 1);
    }
    piece_free(p);
}

/* Never run by who waits, whose thread is still needed. */
static void task_that_ends_its_thread(actor *a)
{
    piece *p = piece_new(a);
    rsl_ctx ctx = {.attempt = 1};
    int result = 0;
    if (!piece_submit(a, p, piece_exits, &ctx)) {
        return;
    }
    rsl_ctx limit = rsl_within(LONG_ENOUGH);
    int status = rsl_task_wait(&p->task, &limit, &result);
    int runs = atomic_load(&p->runs);
    if (status != RSL_OK || result > 0 || (runs == 1 && result != RSL_ECANCELED) ||
        atomic_load(&p->told) != 1) {
        go_wrong(a->field, "a task that ends its thread", status != RSL_OK ? status : result);
    }
    atomic_fetch_add(runs == 1 ? &a->field->vanished : &a->field->never_ran, 1);
    piece_free(p);
}

typedef struct item {
    field      *field;
    _Atomic int runs;
    rsl_cancel *fires;
} item;

static int item_run(const rsl_ctx *ctx, void *arg)
{
    item *it = arg;
    (void)ctx;
    if (it->fires != NULL) {
        rsl_cancel_fire(it->fires);
    }
    return atomic_fetch_add(&it->runs, 1) + 1;
}

static void map_of_items(actor *a)
{
    size_t count = seeded_random_below(&a->random, ITEMS + 1);
    item *items = calloc(ITEMS, sizeof *items);
    int *results = calloc(ITEMS, sizeof *results);
    rsl_cancel token;
    if (items == NULL || results == NULL || rsl_cancel_init(&token, NULL) != RSL_OK) {
        bail_out("no memory");
    }
    uint32_t kind = seeded_random_below(&a->random, 6);
    rsl_ctx ctx = rsl_within(kind == 0 ? RSL_US(seeded_random_below(&a->random, 60))
                                       : LONG_ENOUGH);
    ctx.priority = (int32_t)seeded_random_below(&a->random, 3) - 1;
    if (kind == 1 && count > 0) {
        ctx.cancel = &token;
        items[seeded_random_below(&a->random, (uint32_t)count)].fires = &token;
    }
    atomic_fetch_add(&operations, count);
    int status = rsl_workers_map(a->field->workers, kind == 2 ? NULL : &ctx, item_run, items,
                                 sizeof *items, count, results);
    bool cut = (kind == 0 && status == RSL_ETIMEOUT) || (kind == 1 && status == RSL_ECANCELED);
    for (size_t i = 0; i < count; i++) {
        int runs = atomic_load(&items[i].runs);
        if (runs > 1 || results[i] != (runs == 1 ? 1 : status)) {
            go_wrong(a->field, "an item", results[i]);
        }
    }
    if (status != RSL_OK && !cut) {
        go_wrong(a->field, "a map", status);
    }
    rsl_cancel_deinit(&token);
    memset(items, 0xA5, ITEMS * sizeof *items);
    memset(results, 0xA5, ITEMS * sizeof *results);
    free(items);
    free(results);
}

static void act(actor *a)
{
    switch (seeded_random_below(&a->random, 16)) {
    case 0:
    case 1:
    case 2:
        task_awaited(a, false);
        break;
    case 3:
    case 4:
        task_awaited(a, true);
        break;
    case 5:
    case 6:
        task_awaited_in_bits(a);
        break;
    case 7:
        task_cancelled_at_once(a);
        break;
    case 8:
        task_with_a_deadline(a);
        break;
    case 9:
    case 10:
        task_that_others_cancel(a);
        break;
    case 11:
        tasks_in_a_batch(a);
        break;
    case 12:
        task_polled(a);
        break;
    case 13:
        task_repeated(a);
        break;
    case 14:
        if (a->field->maps && now_and_then(a, 2)) {
            map_of_items(a);
        }
        break;
    default:
        if (a->field->exits && now_and_then(a, 8)) {
            task_that_ends_its_thread(a);
        }
        break;
    }
}

static void *act_in_the_storm(void *arg)
{
    actor *a = arg;
    for (int i = 0; i < STORM_STEPS; i++) {
        act(a);
    }
    return NULL;
}

/* Cancels what is shown, in one way or the other. */
static void *cancel_now_and_then(void *arg)
{
    actor *a = arg;
    field *f = a->field;
    while (!atomic_load(&f->over)) {
        pthread_mutex_lock(&f->lock);
        piece *p = f->shown[seeded_random_below(&a->random, ACTORS)];
        if (p != NULL && now_and_then(a, 2)) {
            rsl_cancel_fire(&p->token);
        } else if (p != NULL) {
            int status = rsl_task_cancel(&p->task);
            if (status != RSL_OK && status != RSL_EINVAL) {
                go_wrong(f, "a cancel from elsewhere", status);
            }
        }
        pthread_mutex_unlock(&f->lock);
        if (now_and_then(a, 4)) {
            nap(RSL_US(20));
        } else {
            (void)sched_yield();
        }
    }
    return NULL;
}

/* Stops, drains and restarts. */
static void *make_weather(void *arg)
{
    actor *a = arg;
    field *f = a->field;
    while (!atomic_load(&f->over)) {
        rsl_task *left[4];
        rsl_ctx soon = rsl_within(RSL_US(seeded_random_below(&a->random, 300)));
        bool stops = now_and_then(a, 2);
        nap(RSL_MS(1 + seeded_random_below(&a->random, 3)));
        int status = stops ? rsl_workers_stop(f->workers, &soon)
                           : rsl_workers_drain(f->workers, &soon);
        if (status != RSL_OK && status != RSL_ETIMEOUT) {
            go_wrong(f, stops ? "a stop" : "a drain", status);
        }
        (void)rsl_workers_unfinished(f->workers, left, RSL_COUNT(left));
        rsl_workers_stats s = stats_of(f->workers);
        if (s.threads > f->config.threads_max || s.idle > s.threads ||
            s.queued > f->config.queue_max + 2 * ACTORS) { /* they may submit at the same moment */
            printf("# %u threads, %u idle, %u queued\n", s.threads, s.idle, s.queued);
            go_wrong(f, "a count", 0);
        }
        if (rsl_workers_restart(f->workers) != RSL_OK) {
            go_wrong(f, "a restart", RSL_EINVAL);
        }
    }
    return NULL;
}

/* Once all is quiet. */
static bool is_exact(field *f)
{
    rsl_ctx limit = rsl_within(LONG_ENOUGH);
    if (rsl_workers_drain(f->workers, &limit) != RSL_OK) {
        return false;
    }
    rsl_workers_stats s = stats_of(f->workers);
    uint64_t never = s.canceled + s.expired + s.dropped;
    bool exact = s.queued == 0 && s.running == 0 && s.lost == atomic_load(&f->vanished) &&
                 s.submitted == s.completed + never + s.lost;
    if (!f->maps) {
        exact = exact && s.submitted == atomic_load(&f->accepted) &&
                s.refused == atomic_load(&f->refused) && s.completed == atomic_load(&f->ran) &&
                never == atomic_load(&f->never_ran);
    }
    if (!exact) {
        printf("# queued %u running %u submitted %lu of %lu refused %lu of %lu completed %lu of "
               "%lu never ran %lu of %lu lost %lu of %lu\n", s.queued, s.running,
               (unsigned long)s.submitted, (unsigned long)f->accepted, (unsigned long)s.refused,
               (unsigned long)f->refused, (unsigned long)s.completed, (unsigned long)f->ran,
               (unsigned long)never, (unsigned long)f->never_ran, (unsigned long)s.lost,
               (unsigned long)f->vanished);
    }
    return exact;
}

static void field_open(field *f, const rsl_workers_config *config)
{
    f->config = rsl_workers_config_resolve(config);
    pthread_mutex_init(&f->lock, NULL);
    if (rsl_workers_open(&f->workers, config) != RSL_OK) {
        bail_out("no workers");
    }
}

static void a_storm(field *f, const rsl_workers_config *config, const char *what)
{
    pthread_t threads[ACTORS], canceller, weather;
    actor actors[ACTORS + 2];
    field_open(f, config);
    rsl_time began = rsl_now();
    for (int i = 0; i < ACTORS + 2; i++) {
        actors[i].field = f;
        actors[i].id = i;
        actors[i].random.state = 7 + (uint64_t)i * 1000;
    }
    canceller = start_thread(cancel_now_and_then, &actors[ACTORS]);
    weather = start_thread(make_weather, &actors[ACTORS + 1]);
    for (int i = 0; i < ACTORS; i++) {
        threads[i] = start_thread(act_in_the_storm, &actors[i]);
    }
    for (int i = 0; i < ACTORS; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_store(&f->over, true);
    pthread_join(canceller, NULL);
    pthread_join(weather, NULL);
    printf("# %lu tasks accepted, %lu refused, %lu ran in %.2f s\n", (unsigned long)f->accepted,
           (unsigned long)f->refused, (unsigned long)f->ran, (double)(rsl_now() - began) * 1e-9);
    tap_ok(f->wrong == 0 && atomic_load(&dead_touched) == 0,
           "each task ran once, or said why it did not: %s", what);
    tap_ok(is_exact(f), "and the counts are exact: %s", what);
    tap_ok(rsl_workers_close(f->workers, NULL) == RSL_OK, "and it closes: %s", what);
    pthread_mutex_destroy(&f->lock);
}

static void storms(void)
{
    static const struct {
        rsl_workers_config config;
        bool               maps, exits;
        const char        *what;
    } kinds[] = {
        {{.threads_min = 2, .threads_max = 2, .queue_max = 64}, false, true, "reject, queue 64"},
        {{.threads_min = 1, .threads_max = 4, .queue_max = 1, .keep_alive = RSL_US(30)}, true,
         false, "reject, queue 1, threads that come and go"},
        {{.threads_min = 2, .threads_max = 2, .queue_max = 2, .when_full = RSL_FULL_WAIT}, false,
         false, "wait, queue 2"},
        {{.threads_min = 1, .threads_max = 3, .queue_max = 16, .when_full = RSL_FULL_WAIT,
          .keep_alive = RSL_NONE}, true, false, "wait, queue 16, no keep-alive"},
        {{.threads_min = 1, .threads_max = 1, .queue_max = 3, .when_full = RSL_FULL_CALLER_RUNS},
         false, false, "the caller runs, queue 3"},
        {{.threads_min = 2, .threads_max = 3, .queue_max = 1, .when_full = RSL_FULL_CALLER_RUNS},
         true, false, "the caller runs, queue 1"},
        {{.threads_min = 2, .threads_max = 2, .queue_max = 3, .when_full = RSL_FULL_DROP_OLDEST},
         false, true, "drop the oldest, queue 3"},
        {{.threads_min = 1, .threads_max = 2, .queue_max = 1, .when_full = RSL_FULL_DROP_OLDEST,
          .keep_alive = RSL_US(50)}, true, false, "drop the oldest, queue 1"},
    };
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        static field f;
        memset(&f, 0, sizeof f);
        f.maps = kinds[i].maps;
        f.exits = kinds[i].exits;
        a_storm(&f, &kinds[i].config, kinds[i].what);
    }
}

/* --------------------------------------------------------------------- order */

typedef struct ordered {
    rsl_task     task;
    int          producer, number;
    bool         out;
} ordered;

/* What the one thread saw last; only it writes, as no waiter runs anything. */
static int seen_last[PRODUCERS][3];
static _Atomic int out_of_order;

static int run_in_order(const rsl_ctx *ctx, void *arg)
{
    ordered *o = arg;
    int *last = &seen_last[o->producer][ctx->priority + 1];
    atomic_fetch_add(&out_of_order, o->number <= *last);
    *last = o->number;
    return 0;
}

static _Atomic int next_producer;

static void *produce_in_order(void *arg)
{
    rsl_workers *workers = arg;
    ordered window[WINDOW];
    int mine = atomic_fetch_add(&next_producer, 1);
    seeded_random random = {33 + (uint64_t)mine};
    memset(window, 0, sizeof window);
    for (int number = 1; number <= ORDER_TASKS; number++) {
        ordered *o = &window[number % WINDOW];
        rsl_ctx limit = rsl_within(LONG_ENOUGH);
        rsl_ctx ctx = {.priority = seeded_random_below(&random, 4) == 0
                                       ? (int32_t)seeded_random_below(&random, 3) - 1 : 0};
        if (o->out && rsl_task_wait(&o->task, &limit, NULL) != RSL_OK) {
            bail_out("a task is lost");
        }
        o->producer = mine;
        o->number = number;
        o->out = rsl_workers_submit(workers, &ctx, run_in_order, o, &o->task) == RSL_OK;
        if (o->out && seeded_random_below(&random, 5) == 0) { /* leaves a hole */
            (void)rsl_task_cancel(&window[seeded_random_below(&random, WINDOW)].task);
        }
    }
    for (int i = 0; i < WINDOW; i++) {
        rsl_ctx limit = rsl_within(LONG_ENOUGH);
        if (window[i].out && rsl_task_wait(&window[i].task, &limit, NULL) != RSL_OK) {
            bail_out("a task is lost");
        }
    }
    return NULL;
}

static void order_is_kept(uint32_t queue_max, rsl_when_full when_full)
{
    rsl_workers *workers;
    pthread_t threads[PRODUCERS];
    rsl_workers_config config = {.threads_max = 1, .queue_max = queue_max,
                                 .when_full = when_full};
    if (rsl_workers_open(&workers, &config) != RSL_OK) {
        bail_out("no workers");
    }
    memset(seen_last, 0, sizeof seen_last);
    atomic_store(&out_of_order, 0);
    atomic_store(&next_producer, 0);
    for (int i = 0; i < PRODUCERS; i++) {
        threads[i] = start_thread(produce_in_order, workers);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_fetch_add(&operations, PRODUCERS * ORDER_TASKS);
    bool closed = rsl_workers_close(workers, NULL) == RSL_OK;
    tap_ok(closed && atomic_load(&out_of_order) == 0,
           "what one thread submits runs in its order, priority by priority: queue %u", queue_max);
}

/* --------------------------------------------------------------------- pings */

static int pong(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    return *(int *)arg;
}

/* One task at a time, each of which needs a wake-up; a lost one is a wait that times out. */
static void *ping(void *arg)
{
    rsl_workers *workers = arg;
    intptr_t lost = 0;
    for (int i = 0; i < PING_ROUNDS && lost == 0; i++) {
        rsl_task task;
        int result = -1;
        memset(&task, 0, sizeof task);
        rsl_ctx limit = rsl_within(LONG_ENOUGH), ctx = {.priority = i % 7 == 0};
        lost += rsl_workers_submit(workers, &ctx, pong, &i, &task) != RSL_OK;
        lost += rsl_task_wait(&task, &limit, &result) != RSL_OK || result != i;
    }
    return (void *)lost;
}

static void no_wake_up_is_lost(uint32_t threads_min, uint32_t threads_max, int pingers)
{
    rsl_workers *workers;
    pthread_t threads[3];
    intptr_t lost = 0;
    rsl_workers_config config = {.threads_min = threads_min, .threads_max = threads_max,
                                 .keep_alive = RSL_US(20)};
    if (rsl_workers_open(&workers, &config) != RSL_OK) {
        bail_out("no workers");
    }
    rsl_time began = rsl_now();
    for (int i = 0; i < pingers; i++) {
        threads[i] = start_thread(ping, workers);
    }
    for (int i = 0; i < pingers; i++) {
        void *mine;
        pthread_join(threads[i], &mine);
        lost += (intptr_t)mine;
    }
    atomic_fetch_add(&operations, (uint64_t)pingers * PING_ROUNDS);
    printf("# %d rounds in %.2f s\n", pingers * PING_ROUNDS, (double)(rsl_now() - began) * 1e-9);
    bool closed = rsl_workers_close(workers, NULL) == RSL_OK;
    tap_ok(closed && lost == 0,
           "no wake-up is lost: %d submit and wait, %u to %u threads", pingers, threads_min,
           threads_max);
}

/* -------------------------------------------------------------------- closes */

typedef struct closing {
    rsl_workers      *workers;
    pthread_barrier_t gate;
    rsl_task          tasks[ACTORS][BATCH];
    bool              taken[ACTORS][BATCH];
    _Atomic int       next, ran, accepted;
} closing;

static int run_before_the_close(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    atomic_fetch_add(&((closing *)arg)->ran, 1);
    return 0;
}

static void *submit_before_the_close(void *arg)
{
    closing *c = arg;
    int mine = atomic_fetch_add(&c->next, 1);
    pthread_barrier_wait(&c->gate);
    for (int i = 0; i < BATCH; i++) {
        rsl_ctx ctx = {.priority = i % 3 - 1};
        int status = rsl_workers_submit(c->workers, &ctx, run_before_the_close, c,
                                        &c->tasks[mine][i]);
        c->taken[mine][i] = status == RSL_OK;
        atomic_fetch_add(&c->accepted, status == RSL_OK);
    }
    pthread_barrier_wait(&c->gate);
    return NULL;
}

/* Half of the rounds it is stopped while they still submit; then it closes at once. */
static void closes_leave_nothing_queued(void)
{
    int wrong = 0;
    for (int round = 0; round < CLOSE_ROUNDS; round++) {
        closing *c = calloc(1, sizeof *c);
        pthread_t threads[ACTORS];
        rsl_workers_config config = {.threads_min = 1, .threads_max = 1 + (uint32_t)round % 3,
                                     .queue_max = round % 4 == 0 ? 8 : 100,
                                     .keep_alive = RSL_US(20)};
        if (c == NULL || rsl_workers_open(&c->workers, &config) != RSL_OK) {
            bail_out("no workers");
        }
        pthread_barrier_init(&c->gate, NULL, ACTORS + 1);
        for (int i = 0; i < ACTORS; i++) {
            threads[i] = start_thread(submit_before_the_close, c);
        }
        pthread_barrier_wait(&c->gate);
        bool stops = round % 2 == 0;
        wrong += stops && rsl_workers_stop(c->workers, NULL) != RSL_OK;
        pthread_barrier_wait(&c->gate);
        wrong += rsl_workers_close(c->workers, NULL) != RSL_OK;
        int ended = 0, accepted = atomic_load(&c->accepted);
        for (int i = 0; i < ACTORS * BATCH; i++) {
            bool taken = c->taken[i / BATCH][i % BATCH];
            bool has_ended = rsl_task_has_ended(&c->tasks[i / BATCH][i % BATCH]);
            ended += taken && has_ended;
            wrong += has_ended && !taken;
        }
        wrong += ended != accepted || atomic_load(&c->ran) > accepted ||
                 (!stops && atomic_load(&c->ran) != accepted);
        atomic_fetch_add(&operations, ACTORS * BATCH);
        for (int i = 0; i < ACTORS; i++) {
            pthread_join(threads[i], NULL);
        }
        pthread_barrier_destroy(&c->gate);
        free(c);
    }
    tap_ok(wrong == 0, "a close ends all that was taken, and %d times leaves nothing behind",
           CLOSE_ROUNDS);
}

int main(void)
{
    storms();
    order_is_kept(64, RSL_FULL_WAIT);
    order_is_kept(5, RSL_FULL_WAIT);
    order_is_kept(8, RSL_FULL_REJECT);
    no_wake_up_is_lost(1, 1, 1);
    no_wake_up_is_lost(1, 3, 2);
    no_wake_up_is_lost(3, 3, 3);
    closes_leave_nothing_queued();
    printf("# %lu operations\n", (unsigned long)atomic_load(&operations));
    tap_ok(support_live() == 0, "all memory is given back");
    return tap_end();
}
