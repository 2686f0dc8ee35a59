/* SPDX-License-Identifier: MIT
   workers_rig.h: what the tests of the workers share: workers whose events are watched and whose
   counts must add up in the end; jobs, which are tasks that tell what became of them and wait at a
   gate if they are to; and visitors, threads that make one call each.

   Include it after bulkhead.h, cmocka.h and support/support.h. */
#ifndef SUPPORT_WORKERS_RIG_H
#define SUPPORT_WORKERS_RIG_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#if defined __SANITIZE_THREAD__
#define UNDER_TSAN 1
#elif defined __SANITIZE_ADDRESS__
#define UNDER_ASAN 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#elif __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif

/* Longer than anything takes here, unless it hangs. */
#define PATIENCE RSL_SEC(20)

enum { SCRIBBLED = 99 };

SUPPORT_UNUSED static void nap(rsl_time span)
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

/* Workers with a clock of their own must not judge the patience of a test by it. */
static const rsl_clock real_clock = {NULL, NULL, NULL};

SUPPORT_UNUSED static rsl_ctx patiently(rsl_time span)
{
    rsl_ctx ctx = rsl_within(span);
    ctx.clock = &real_clock;
    return ctx;
}

SUPPORT_UNUSED static rsl_ctx with_priority(int32_t priority)
{
    rsl_ctx ctx = {.priority = priority};
    return ctx;
}

/* A clock that only the test moves: who waits by it looks again and again. */
SUPPORT_UNUSED static rsl_clock moved_by_hand(shared_clock *clock)
{
    rsl_clock as = shared_clock_as(clock);
    as.sleep_until = NULL;
    return as;
}

/* ------------------------------------------------------------------- events */

enum { KINDS = 16, NUMBERS = 8192 };

/* Counts events by kind, from any thread. */
typedef struct watcher {
    _Atomic(rsl_workers *) workers; /* asked for its counts within each event: no lock is held */
    _Atomic int     count[KINDS];
    _Atomic int     status[KINDS];  /* of the latest of its kind */
    _Atomic int64_t value[KINDS];
    _Atomic int     unnamed;        /* events without the right source or a name */
    _Atomic int     doubled;        /* numbers that came twice */
    _Atomic int     seen[NUMBERS];
    _Atomic uint64_t number_max;
    _Atomic int     total;
    const char     *source;
} watcher;

SUPPORT_UNUSED static void watcher_on_event_(const rsl_event *event, void *user)
{
    watcher *w = user;
    rsl_workers_stats stats;
    rsl_workers_stats_get(atomic_load(&w->workers), &stats);
    if (event->kind > 0 && event->kind < KINDS) {
        atomic_store(&w->status[event->kind], event->status);
        atomic_store(&w->value[event->kind], event->value);
        atomic_fetch_add(&w->count[event->kind], 1);
    } else {
        atomic_fetch_add(&w->unnamed, 1);
    }
    bool named = event->source != NULL && strcmp(event->source, w->source) == 0 &&
                 event->name != NULL && event->name[0] != '\0';
    atomic_fetch_add(&w->unnamed, !named);
    if (event->number < NUMBERS) {
        atomic_fetch_add(&w->doubled, atomic_fetch_add(&w->seen[event->number], 1) != 0);
    }
    uint64_t most = atomic_load(&w->number_max);
    while (event->number > most &&
           !atomic_compare_exchange_weak(&w->number_max, &most, event->number)) {
    }
    atomic_fetch_add(&w->total, 1);
    errno = SCRIBBLED;
}

/* --------------------------------------------------------------------- crew */

/* Workers under watch. */
typedef struct crew {
    rsl_workers *workers;
    watcher      watch;
    _Atomic int  vanished; /* accepted tasks that ended their thread */
    long         live;     /* memory before */
} crew;

SUPPORT_UNUSED static rsl_workers_stats stats_of(crew *c)
{
    rsl_workers_stats stats;
    rsl_workers_stats_get(c->workers, &stats);
    return stats;
}

SUPPORT_UNUSED static void crew_start(crew *c, rsl_workers_config config)
{
    memset(c, 0, sizeof(*c));
    c->live = support_live();
    config.name = config.name != NULL ? config.name : "crew";
    c->watch.source = config.name;
    config.observer.on_event = watcher_on_event_;
    config.observer.user = &c->watch;
    const char *why = rsl_workers_config_check(&config);
    if (why != NULL) {
        fail_msg("config refused: %s", why);
    }
    assert_int_equal(rsl_workers_open(&c->workers, &config), RSL_OK);
    atomic_store(&c->watch.workers, c->workers);
}

/* As many threads as wanted, no more and no less. */
SUPPORT_UNUSED static void crew_start_sized(crew *c, uint32_t threads, uint32_t queue_max,
                                            rsl_when_full when_full)
{
    rsl_workers_config config = {.threads_min = threads, .threads_max = threads,
                                 .queue_max = queue_max, .when_full = when_full};
    crew_start(c, config);
}

/* Each accepted task has ended in one way. */
SUPPORT_UNUSED static bool crew_adds_up(crew *c)
{
    rsl_workers_stats s = stats_of(c);
    return s.queued == 0 && s.running == 0 &&
           s.submitted == s.completed + s.canceled + s.expired + s.dropped +
                          (uint64_t)atomic_load(&c->vanished);
}

SUPPORT_UNUSED static void crew_expect_to_add_up(crew *c)
{
    rsl_time end = rsl_now() + RSL_SEC(2);
    while (!crew_adds_up(c) && rsl_now() < end) {
        nap(RSL_US(200));
    }
    rsl_workers_stats s = stats_of(c);
    if (!crew_adds_up(c)) {
        fail_msg("queued %u running %u submitted %d completed %d canceled %d expired %d "
                 "dropped %d vanished %d", s.queued, s.running, (int)s.submitted,
                 (int)s.completed, (int)s.canceled, (int)s.expired, (int)s.dropped,
                 atomic_load(&c->vanished));
    }
}

SUPPORT_UNUSED static void crew_end(crew *c)
{
    rsl_ctx ctx = patiently(PATIENCE);
    assert_int_equal(rsl_workers_drain(c->workers, &ctx), RSL_OK);
    crew_expect_to_add_up(c);
    atomic_store(&c->watch.workers, NULL);
    assert_int_equal(rsl_workers_close(c->workers, &ctx), RSL_OK);
    assert_true(support_live() == c->live);
    assert_int_equal(atomic_load(&c->watch.unnamed), 0);
    assert_int_equal(atomic_load(&c->watch.doubled), 0);
    assert_int_equal(atomic_load(&c->watch.count[RSL_WORKERS_STARTED]),
                     atomic_load(&c->watch.count[RSL_WORKERS_ENDED]) +
                         atomic_load(&c->watch.count[RSL_WORKERS_LOST]));
}

SUPPORT_UNUSED static int events_of(crew *c, int kind)
{
    return atomic_load(&c->watch.count[kind]);
}

/* --------------------------------------------------------------------- jobs */

typedef struct job job;

/* Zeroed: a task that returns 0 at once. */
struct job {
    rsl_task     task;
    int          answer;    /* what it returns */
    bool         gated;     /* it does not return before it is let go */
    bool         heeds;     /* or its ctx is cancelled: then it returns RSL_ECANCELED */
    int        (*then)(job *j, const rsl_ctx *ctx); /* what it does instead (nothing) */
    job         *other;     /* for then */
    bool         limited;   /* for then: it waits with a deadline */
    crew        *crew;      /* where it was submitted last */
    rsl_time     told_slowly; /* on_done takes this long (0) */
    _Atomic int *turns;     /* counted up by each that runs (NULL) */
    int          turn;      /* what it found there */
    rsl_ctx      ctx;       /* as it came; its token lasts as long as it runs */
    pthread_t    thread;    /* that ran it */
    pthread_t    teller;    /* that called on_done */
    _Atomic int  go;        /* let go */
    _Atomic int  runs, inside, told;
    _Atomic int  told_early; /* on_done found the node free already */
    _Atomic int  cancelled; /* its token had fired when it returned */
    _Atomic int  answered;  /* of then: something to look at meanwhile */
};

SUPPORT_UNUSED static int job_run(const rsl_ctx *ctx, void *arg)
{
    job *j = arg;
    j->ctx = *ctx;
    j->thread = pthread_self();
    j->turn = j->turns != NULL ? atomic_fetch_add(j->turns, 1) : 0;
    atomic_fetch_add(&j->runs, 1);
    atomic_fetch_add(&j->inside, 1);
    int answer = j->answer;
    while (j->gated && atomic_load(&j->go) == 0) {
        if (j->heeds && rsl_cancel_fired(ctx->cancel)) {
            answer = RSL_ECANCELED;
            break;
        }
        nap(RSL_US(200));
    }
    if (j->then != NULL) {
        answer = j->then(j, ctx);
    }
    atomic_store(&j->cancelled, rsl_cancel_fired(ctx->cancel));
    atomic_fetch_sub(&j->inside, 1);
    errno = SCRIBBLED;
    return answer;
}

SUPPORT_UNUSED static void job_on_done_(void *user)
{
    job *j = user;
    j->teller = pthread_self();
    atomic_fetch_add(&j->told_early, rsl_task_has_ended(&j->task));
    if (j->told_slowly > 0) {
        nap(j->told_slowly);
    }
    errno = SCRIBBLED;
    atomic_fetch_add(&j->told, 1);
}

SUPPORT_UNUSED static int job_submit(crew *c, job *j, const rsl_ctx *ctx)
{
    j->crew = c;
    rsl_task_on_done(&j->task, job_on_done_, j);
    return rsl_workers_submit(c->workers, ctx, job_run, j, &j->task);
}

SUPPORT_UNUSED static void job_send(crew *c, job *j)
{
    assert_int_equal(job_submit(c, j, NULL), RSL_OK);
}

SUPPORT_UNUSED static void job_send_at(crew *c, job *j, int32_t priority)
{
    rsl_ctx ctx = with_priority(priority);
    assert_int_equal(job_submit(c, j, &ctx), RSL_OK);
}

/* It runs now, and goes on until let go. */
SUPPORT_UNUSED static void job_block(crew *c, job *j)
{
    j->gated = true;
    job_send(c, j);
    EVENTUALLY(atomic_load(&j->inside) == 1);
}

/* Each of these threads has something to do until let go. */
SUPPORT_UNUSED static void jobs_block(crew *c, job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        job_block(c, &jobs[i]);
    }
}

SUPPORT_UNUSED static void job_let_go(job *j)
{
    atomic_store(&j->go, 1);
}

/* Waits without running it here. */
SUPPORT_UNUSED static int job_finish(job *j)
{
    int result = SCRIBBLED;
    rsl_ctx ctx = patiently(PATIENCE);
    assert_int_equal(rsl_task_wait(&j->task, &ctx, &result), RSL_OK);
    assert_true(rsl_task_has_ended(&j->task));
    assert_int_equal(atomic_load(&j->told_early), 0);
    return result;
}

SUPPORT_UNUSED static void job_expect(job *j, int result)
{
    assert_int_equal(job_finish(j), result);
    assert_int_equal(atomic_load(&j->told), 1);
}

/* It returned what it was to. */
SUPPORT_UNUSED static void job_expect_ran(job *j)
{
    job_expect(j, j->answer);
    assert_int_equal(atomic_load(&j->runs), 1);
}

/* It ended with a status instead. */
SUPPORT_UNUSED static void job_expect_never_ran(job *j, int status)
{
    job_expect(j, status);
    assert_int_equal(atomic_load(&j->runs), 0);
}

SUPPORT_UNUSED static void job_expect_running(job *j)
{
    assert_false(rsl_task_has_ended(&j->task));
    assert_int_equal(atomic_load(&j->inside), 1);
    assert_int_equal(atomic_load(&j->told), 0);
}

/* ----------------------------------------------------------------- visitors */

/* A thread that makes one call. */
typedef struct visitor {
    pthread_t   thread;
    crew       *crew;
    job        *job;
    bool        limited;    /* by ctx; else it passes NULL */
    rsl_ctx     ctx;
    int       (*call)(struct visitor *v);
    int         rc, result;
    rsl_time    took;
    _Atomic int done;
} visitor;

SUPPORT_UNUSED static const rsl_ctx *visitor_ctx(const visitor *v)
{
    return v->limited ? &v->ctx : NULL;
}

SUPPORT_UNUSED static int visitor_waits(visitor *v)
{
    return rsl_task_wait(&v->job->task, visitor_ctx(v), &v->result);
}

SUPPORT_UNUSED static int visitor_submits(visitor *v)
{
    return job_submit(v->crew, v->job, visitor_ctx(v));
}

SUPPORT_UNUSED static int visitor_drains(visitor *v)
{
    return rsl_workers_drain(v->crew->workers, visitor_ctx(v));
}

SUPPORT_UNUSED static int visitor_stops(visitor *v)
{
    return rsl_workers_stop(v->crew->workers, visitor_ctx(v));
}

SUPPORT_UNUSED static int visitor_closes(visitor *v)
{
    return rsl_workers_close(v->crew->workers, visitor_ctx(v));
}

SUPPORT_UNUSED static void *visitor_main_(void *arg)
{
    visitor *v = arg;
    rsl_time began = rsl_now();
    v->rc = v->call(v);
    v->took = rsl_now() - began;
    atomic_store(&v->done, 1);
    return NULL;
}

/* ctx: copied; NULL: it passes none. */
SUPPORT_UNUSED static void visitor_come(visitor *v, int (*call)(visitor *v), crew *c, job *j,
                                        const rsl_ctx *ctx)
{
    memset(v, 0, sizeof(*v));
    v->call = call;
    v->crew = c;
    v->job = j;
    v->limited = ctx != NULL;
    if (ctx != NULL) {
        v->ctx = *ctx;
    }
    v->result = SCRIBBLED;
    assert_int_equal(pthread_create(&v->thread, NULL, visitor_main_, v), 0);
}

/* It has had the time to return, and did not. */
SUPPORT_UNUSED static void visitor_expect_waiting(visitor *v)
{
    nap(RSL_MS(10));
    assert_int_equal(atomic_load(&v->done), 0);
}

SUPPORT_UNUSED static void visitor_expect(visitor *v, int rc)
{
    EVENTUALLY(atomic_load(&v->done) == 1);
    assert_int_equal(pthread_join(v->thread, NULL), 0);
    assert_int_equal(v->rc, rc);
}

#endif
