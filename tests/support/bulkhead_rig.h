/* SPDX-License-Identifier: MIT
   bulkhead_rig.h: what the tests of the bulkhead share: one in virtual time with its events, what
   happens while a blocking call sleeps, threads that wait, and permits by the handful.

   Include it after bulkhead.h, cmocka.h and support/support.h. */
#ifndef SUPPORT_BULKHEAD_RIG_H
#define SUPPORT_BULKHEAD_RIG_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* A start of time that is neither zero nor round. */
#define START (RSL_SEC(1000) + 7)

/* What a call answers that failed for reasons of its own: no sample of any limit. */
enum { FAILED = -5, SCRIBBLED = 99 };

/* --------------------------------------------------------------- timeline */

enum { MOMENTS_MAX = 32 };

typedef struct moment {
    rsl_time at;
    void   (*act)(void *arg);
    void    *arg;
} moment;

/* Moments in order of time; each happens when somebody sleeps past it, and ends that sleep. */
typedef struct timeline {
    moment moments[MOMENTS_MAX];
    size_t count, next;
} timeline;

SUPPORT_UNUSED static void timeline_add(timeline *line, rsl_time at, void (*act)(void *arg),
                                        void *arg)
{
    assert_true(line->count < MOMENTS_MAX);
    moment m = {at, act, arg};
    line->moments[line->count++] = m;
}

SUPPORT_UNUSED static void timeline_on_sleep_(virtual_clock *clock, rsl_time until)
{
    timeline *line = clock->arg;
    if (line->next == line->count || line->moments[line->next].at > until) {
        return;
    }
    moment *m = &line->moments[line->next++];
    if (clock->now < m->at) {
        clock->now = m->at;
    }
    m->act(m->arg);
    clock->wake_early = until > clock->now ? until - clock->now : 0;
}

/* ------------------------------------------------------------------- rigs */

/* A bulkhead in virtual time, with its events. Must not move. */
typedef struct rig {
    rsl_bulkhead   bulkhead;
    virtual_clock  clock;
    event_recorder events;
    timeline       line;
    long           live; /* blocks before it began */
} rig;

/* The config's own wishes stay; what it leaves out is the rig's. */
SUPPORT_UNUSED static void rig_start(rig *r, rsl_bulkhead_config config)
{
    memset(r, 0, sizeof(*r));
    r->clock.now = START;
    r->clock.on_sleep = timeline_on_sleep_;
    r->clock.arg = &r->line;
    r->live = support_live();
    config.clock = virtual_clock_as(&r->clock);
    config.observer = event_recorder_as(&r->events);
    const char *why = rsl_bulkhead_config_check(&config);
    if (why != NULL) {
        fail_msg("config refused: %s", why);
    }
    assert_int_equal(rsl_bulkhead_init(&r->bulkhead, &config), RSL_OK);
}

/* Junk first, so that what is left unwritten is found out. */
SUPPORT_UNUSED static rsl_bulkhead_stats stats_of_bulkhead(rsl_bulkhead *bulkhead)
{
    rsl_bulkhead_stats stats;
    memset(&stats, 0x5A, sizeof(stats));
    rsl_bulkhead_stats_get(bulkhead, &stats);
    return stats;
}

SUPPORT_UNUSED static rsl_bulkhead_stats stats_of(rig *r)
{
    return stats_of_bulkhead(&r->bulkhead);
}

SUPPORT_UNUSED static void expect_stats(rig *r, uint32_t limit, uint32_t in_use, uint32_t waiting)
{
    rsl_bulkhead_stats stats = stats_of(r);
    assert_int_equal(stats.limit, limit);
    assert_int_equal(stats.in_use, in_use);
    assert_int_equal(stats.waiting, waiting);
}

/* Nothing may be out or waiting: all that was taken has come back. */
SUPPORT_UNUSED static void rig_end(rig *r)
{
    rsl_bulkhead_stats stats = stats_of(r);
    assert_int_equal(stats.in_use, 0);
    assert_int_equal(stats.waiting, 0);
    assert_true(event_recorder_is_increasing(&r->events));
    rsl_bulkhead_deinit(&r->bulkhead);
    assert_true(support_live() == r->live);
}

/* A ctx that ends this long from now, on the bulkhead's clock. */
SUPPORT_UNUSED static rsl_ctx within(const rig *r, rsl_time span)
{
    rsl_ctx ctx = {.deadline = r->clock.now + span};
    return ctx;
}

SUPPORT_UNUSED static size_t events_of(const rig *r, int kind)
{
    return event_recorder_count_kind(&r->events, kind);
}

/* ---------------------------------------------------------------- permits */

SUPPORT_UNUSED static rsl_bulkhead_permit take_of(rsl_bulkhead *bulkhead)
{
    rsl_bulkhead_permit permit;
    memset(&permit, 0x5A, sizeof(permit));
    assert_int_equal(rsl_bulkhead_try(bulkhead, &permit), RSL_OK);
    assert_true(permit.private_ != 0);
    return permit;
}

SUPPORT_UNUSED static void take_many_of(rsl_bulkhead *bulkhead, rsl_bulkhead_permit *permits,
                                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        permits[i] = take_of(bulkhead);
    }
}

SUPPORT_UNUSED static void give_of(rsl_bulkhead *bulkhead, rsl_bulkhead_permit *permit, int result)
{
    assert_int_equal(rsl_bulkhead_leave(bulkhead, permit, result), RSL_OK);
    assert_true(permit->private_ == 0);
}

SUPPORT_UNUSED static void give_many_of(rsl_bulkhead *bulkhead, rsl_bulkhead_permit *permits,
                                        size_t count, int result)
{
    for (size_t i = 0; i < count; i++) {
        give_of(bulkhead, &permits[i], result);
    }
}

/* No permit is written where none was given. */
SUPPORT_UNUSED static void expect_full(rsl_bulkhead *bulkhead)
{
    rsl_bulkhead_permit permit, before;
    memset(&permit, 0x5A, sizeof(permit));
    before = permit;
    assert_int_equal(rsl_bulkhead_try(bulkhead, &permit), RSL_EFULL);
    assert_memory_equal(&permit, &before, sizeof(permit));
}

SUPPORT_UNUSED static rsl_bulkhead_permit take(rig *r)
{
    return take_of(&r->bulkhead);
}

SUPPORT_UNUSED static void give(rig *r, rsl_bulkhead_permit *permit)
{
    give_of(&r->bulkhead, permit, 0);
}

/* For a timeline: */
typedef struct rig_permit { rig *r; rsl_bulkhead_permit *permit; } rig_permit;

SUPPORT_UNUSED static void leave_then(void *arg)
{
    rig_permit *it = arg;
    give(it->r, it->permit);
}

SUPPORT_UNUSED static void fire_then(void *arg)
{
    rsl_cancel_fire(arg);
}

/* ------------------------------------------------------- threads that wait */

/* A thread that enters and waits; it keeps the permit until told to leave. */
typedef struct visitor {
    rsl_bulkhead        *bulkhead;
    rsl_ctx              ctx;
    rsl_bulkhead_permit  permit;
    int                  status;
    int                  came_in;  /* the how-manieth that was let in */
    _Atomic int         *entered;  /* shared by those of one test: how many were let in */
    _Atomic bool         answered; /* enter has returned */
    pthread_t            thread;
} visitor;

SUPPORT_UNUSED static void *visitor_run_(void *arg)
{
    visitor *v = arg;
    v->status = rsl_bulkhead_enter(v->bulkhead, &v->ctx, &v->permit);
    if (v->status == RSL_OK && v->entered != NULL) {
        v->came_in = atomic_fetch_add(v->entered, 1) + 1;
    }
    atomic_store(&v->answered, true);
    return NULL;
}

/* Gives the others a turn. */
SUPPORT_UNUSED static void nap(void)
{
    struct timespec t = {0, 20000};
    (void)nanosleep(&t, NULL);
}

/* What is awaited comes soon, or the test hangs and is ended. */
SUPPORT_UNUSED static void await_waiting(rsl_bulkhead *bulkhead, uint32_t waiting)
{
    while (stats_of_bulkhead(bulkhead).waiting != waiting) {
        nap();
    }
}

SUPPORT_UNUSED static void await_entered(_Atomic int *entered, int count)
{
    while (atomic_load(entered) < count) {
        nap();
    }
}

SUPPORT_UNUSED static void visitor_start(visitor *v, rsl_bulkhead *bulkhead,
                                         _Atomic int *entered, rsl_ctx ctx)
{
    memset(v, 0, sizeof(*v));
    v->bulkhead = bulkhead;
    v->entered = entered;
    v->ctx = ctx;
    assert_int_equal(pthread_create(&v->thread, NULL, visitor_run_, v), 0);
}

/* Starts it, and returns once it stands in the queue behind those that wait already. */
SUPPORT_UNUSED static void visitor_queue(visitor *v, rsl_bulkhead *bulkhead, _Atomic int *entered,
                                         rsl_ctx ctx)
{
    uint32_t before = stats_of_bulkhead(bulkhead).waiting;
    visitor_start(v, bulkhead, entered, ctx);
    await_waiting(bulkhead, before + 1);
}

SUPPORT_UNUSED static int visitor_join(visitor *v)
{
    assert_int_equal(pthread_join(v->thread, NULL), 0);
    return v->status;
}

/* ------------------------------------------------------- executions in a loop */

#ifdef RSL_RESILIENCE_H

/* An execution that is stepped, with the bulkhead as its only layer. Must not move. */
typedef struct guest {
    rsl_execution e;
    rsl_layer     policy[1];
    int           woken; /* how often */
    int           rc;    /* of the latest step */
} guest;

SUPPORT_UNUSED static void guest_wake_(void *user)
{
    guest *g = user;
    g->woken++;
}

SUPPORT_UNUSED static int guest_step(rig *r, guest *g)
{
    g->rc = rsl_execution_step(&g->e, r->clock.now);
    return g->rc;
}

/* Begun and stepped once: RSL_RUN when it is in, RSL_WAIT, or RSL_DONE when refused. */
SUPPORT_UNUSED static int guest_begin(rig *r, guest *g, const rsl_ctx *ctx)
{
    memset(g, 0, sizeof(*g));
    g->policy[0] = rsl_bulkhead_layer(&r->bulkhead);
    assert_int_equal(rsl_execution_begin(&g->e, g->policy, 1, ctx), RSL_OK);
    rsl_execution_wake_by(&g->e, guest_wake_, g);
    return guest_step(r, g);
}

SUPPORT_UNUSED static void guest_enter(rig *r, guest *g)
{
    assert_int_equal(guest_begin(r, g, NULL), RSL_RUN);
}

SUPPORT_UNUSED static void guest_queue(rig *r, guest *g, const rsl_ctx *ctx)
{
    assert_int_equal(guest_begin(r, g, ctx), RSL_WAIT);
    assert_int_equal(g->woken, 0);
}

/* Its call is over: it leaves and is done with that result. */
SUPPORT_UNUSED static void guest_leave(rig *r, guest *g, int result)
{
    assert_int_equal(rsl_execution_report(&g->e, r->clock.now, result), RSL_OK);
    assert_int_equal(guest_step(r, g), RSL_DONE);
    assert_int_equal(g->e.result, result);
}

/* Woken, and in. */
SUPPORT_UNUSED static void expect_let_in(rig *r, guest *g)
{
    assert_true(g->woken > 0);
    assert_int_equal(guest_step(r, g), RSL_RUN);
}

SUPPORT_UNUSED static void expect_waiting(rig *r, guest *g)
{
    assert_int_equal(g->woken, 0);
    assert_int_equal(guest_step(r, g), RSL_WAIT);
}

SUPPORT_UNUSED static void expect_refused(rig *r, guest *g, int status)
{
    assert_int_equal(guest_step(r, g), RSL_DONE);
    assert_int_equal(g->e.result, status);
    assert_true(g->e.refused);
    assert_string_equal(rsl_execution_refuser(&g->e), "bulkhead");
}

#endif

#endif
