/* SPDX-License-Identifier: MIT
   pool_rig.h: what the tests of the pool share: a factory whose things are allocated, counted and
   can be made to break; a pool in virtual time that is driven by one thread; and a timeline that
   lets something happen while a blocking call sleeps.

   Include it after pool.h, cmocka.h and support/support.h. */
#ifndef SUPPORT_POOL_RIG_H
#define SUPPORT_POOL_RIG_H

#include <errno.h>
#include <stdlib.h>
#ifndef _WIN32
#include <unistd.h>
#endif

/* A start of time that is neither zero nor round. */
#define START (RSL_SEC(1000) + 7)

/* ---------------------------------------------------------------- factory */

/* What the pool lends here. Freed when destroyed, so that a sanitizer sees who still uses it. */
typedef struct thing {
    int  number;  /* in order of making, from 1 */
    int  sick;    /* what validate answers */
    int  dirty;   /* what reset answers */
    int  holders; /* for tests that mark who uses it: never above 1 */
    int  uses;    /* for tests that count its leases */
    int  epoch;   /* for tests that outdate things: when it was made */
    rsl_time born; /* where the factory has a clock */
    char key[8];  /* of keyed pools */
    struct thing *next; /* among the abandoned */
} thing;

typedef enum factory_step { MAKING = 1, DESTROYING, VALIDATING, RESETTING } factory_step;

enum { TRIES_MAX = 64, SCRIBBLED = 99 };

/* Its counters may be read by any thread; the rest is the test's to arrange. */
typedef struct factory {
    _Atomic int made, failed, destroyed, validated, reset, abandoned;
    _Atomic int fail_with;  /* what create answers (0: it makes a thing) */
    _Atomic int abandoned_number; /* sum of the numbers of the things abandoned */
    virtual_clock *clock;   /* with it, tries are timed and a creation takes virtual time */
    rsl_time takes;         /* how long one creation takes */
    rsl_time heals_at;      /* creations fail before this time (0) */
    rsl_time tried_at[TRIES_MAX];
    int      tries;
    rsl_time left;          /* of the ctx of the latest creation */
    int      last_destroyed;/* its number */
    void   (*during)(struct factory *factory, factory_step step, thing *thing); /* (none) */
    void    *arg;           /* for during */
} factory;

SUPPORT_UNUSED static int factory_live(factory *f)
{
    return atomic_load(&f->made) - atomic_load(&f->destroyed);
}

SUPPORT_UNUSED static thing *thing_new(factory *f)
{
    thing *made = calloc(1, sizeof(*made));
    made->number = atomic_fetch_add(&f->made, 1) + 1;
    made->born = f->clock != NULL ? f->clock->now : 0;
    return made;
}

SUPPORT_UNUSED static int factory_create(void *user, const rsl_ctx *ctx, void **resource)
{
    factory *f = user;
    int fail_with = atomic_load(&f->fail_with);
    if (f->clock != NULL) {
        if (f->tries < TRIES_MAX) {
            f->tried_at[f->tries] = f->clock->now;
        }
        f->tries++;
        f->left = rsl_left(ctx);
        if (f->clock->now < f->heals_at) {
            fail_with = -5;
        }
        f->clock->now += f->takes;
    }
    if (f->during != NULL) {
        f->during(f, MAKING, NULL);
        fail_with = fail_with != 0 ? fail_with : atomic_load(&f->fail_with);
    }
    errno = SCRIBBLED;
    if (fail_with != 0) {
        atomic_fetch_add(&f->failed, 1);
        return fail_with;
    }
    *resource = thing_new(f);
    return 0;
}

SUPPORT_UNUSED static void factory_destroy(void *user, void *resource)
{
    factory *f = user;
    thing *t = resource;
    if (f->during != NULL) {
        f->during(f, DESTROYING, t);
    }
    if (f->clock != NULL) {
        f->last_destroyed = t->number;
    }
    atomic_fetch_add(&f->destroyed, 1);
    memset(t, 0x5A, sizeof(*t));
    free(t);
    errno = SCRIBBLED;
}

SUPPORT_UNUSED static int factory_validate(void *user, void *resource)
{
    factory *f = user;
    thing *t = resource;
    atomic_fetch_add(&f->validated, 1);
    if (f->during != NULL) {
        f->during(f, VALIDATING, t);
    }
    errno = SCRIBBLED;
    return t->sick;
}

SUPPORT_UNUSED static int factory_reset(void *user, void *resource)
{
    factory *f = user;
    thing *t = resource;
    atomic_fetch_add(&f->reset, 1);
    if (f->during != NULL) {
        f->during(f, RESETTING, t);
    }
    errno = SCRIBBLED;
    return t->dirty;
}

/* In a forked child, by one thread; kept in a list, so that nothing counts as leaked. */
SUPPORT_UNUSED static void factory_abandon(void *user, void *resource)
{
    static thing *abandoned;
    factory *f = user;
    thing *t = resource;
    t->next = abandoned;
    abandoned = t;
    atomic_fetch_add(&f->abandoned, 1);
    atomic_fetch_add(&f->abandoned_number, t->number);
    errno = SCRIBBLED;
}

#ifndef _WIN32
/* Ends a forked child: 0 when all its claims hold, else the number of the one that does not. What
   the pool forgets in a child is lost on purpose; a checker of leaks has nothing to say of a
   process that becomes another program. */
SUPPORT_UNUSED static void leave_child(int claim)
{
    if (claim == 0) {
        (void)execl("/bin/true", "true", (char *)NULL);
    }
    _exit(claim);
}
#endif

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

/* A pool in virtual time, with its events. Must not move. */
typedef struct rig {
    rsl_pool      *pool;
    virtual_clock  clock;
    fixed_random   random;
    event_recorder events;
    factory        factory;
    timeline       line;
    long           live; /* blocks before it began */
} rig;

SUPPORT_UNUSED static void rig_clear(rig *r)
{
    memset(r, 0, sizeof(*r));
    r->clock.now = START;
    r->clock.on_sleep = timeline_on_sleep_;
    r->clock.arg = &r->line;
    r->factory.clock = &r->clock;
    r->live = support_live();
}

/* The config's own wishes stay; what it leaves out is the rig's. */
SUPPORT_UNUSED static rsl_pool_config rig_config(rig *r, rsl_pool_config config)
{
    if (config.create == NULL) {
        config.create = factory_create;
    }
    if (config.user == NULL) {
        config.user = &r->factory;
    }
    config.destroy = factory_destroy;
    config.caller_maintains = true;
    config.clock = virtual_clock_as(&r->clock);
    config.observer = event_recorder_as(&r->events);
    config.random = fixed_random_as(&r->random);
    return config;
}

SUPPORT_UNUSED static void rig_open(rig *r, const rsl_pool_config *config)
{
    const char *why = rsl_pool_config_check(config);
    if (why != NULL) {
        fail_msg("config refused: %s", why);
    }
    assert_int_equal(rsl_pool_open(&r->pool, config), RSL_OK);
    assert_non_null(r->pool);
}

SUPPORT_UNUSED static void rig_start(rig *r, rsl_pool_config config)
{
    rig_clear(r);
    config = rig_config(r, config);
    rig_open(r, &config);
}

/* Without create: the test takes tickets. */
SUPPORT_UNUSED static void rig_start_by_tickets(rig *r, rsl_pool_config config)
{
    rig_clear(r);
    config = rig_config(r, config);
    config.create = NULL;
    rig_open(r, &config);
}

/* A ctx that ends this long from now, on the pool's clock. */
SUPPORT_UNUSED static rsl_ctx within(const rig *r, rsl_time span)
{
    rsl_ctx ctx = {.deadline = r->clock.now + span};
    return ctx;
}

/* Nothing may be out: all that was made is destroyed, and all memory given back. */
SUPPORT_UNUSED static void rig_end(rig *r)
{
    rsl_ctx ctx = within(r, RSL_SEC(1));
    r->factory.during = NULL;
    assert_int_equal(rsl_pool_close(r->pool, &ctx), RSL_OK);
    assert_int_equal(factory_live(&r->factory), 0);
    assert_true(event_recorder_is_increasing(&r->events));
    assert_true(support_live() == r->live);
}

SUPPORT_UNUSED static rsl_pool_stats stats_of_pool(rsl_pool *pool)
{
    rsl_pool_stats stats;
    memset(&stats, 0x5A, sizeof(stats));
    rsl_pool_stats_get(pool, &stats);
    return stats;
}

/* The identities hold whenever nothing is under way. */
SUPPORT_UNUSED static rsl_pool_stats stats_of(rig *r)
{
    rsl_pool_stats stats = stats_of_pool(r->pool);
    assert_int_equal(stats.open, stats.in_use + stats.idle);
    assert_true(stats.created - stats.destroyed == stats.open);
    assert_int_equal(factory_live(&r->factory), stats.open);
    return stats;
}

SUPPORT_UNUSED static rsl_pool_lease take(rig *r)
{
    rsl_pool_lease lease;
    memset(&lease, 0x5A, sizeof(lease));
    assert_int_equal(rsl_pool_acquire(r->pool, NULL, &lease), RSL_OK);
    assert_non_null(lease.resource);
    assert_ptr_equal(lease.pool, r->pool);
    assert_true(lease.generation != 0);
    return lease;
}

SUPPORT_UNUSED static thing *thing_of(const rsl_pool_lease *lease)
{
    return lease->resource;
}

SUPPORT_UNUSED static void expect_spent(const rsl_pool_lease *lease)
{
    assert_null(lease->resource);
    assert_true(lease->generation == 0);
}

SUPPORT_UNUSED static void give(rig *r, rsl_pool_lease *lease)
{
    assert_int_equal(rsl_pool_release(r->pool, lease), RSL_OK);
    expect_spent(lease);
}

SUPPORT_UNUSED static void scrap(rig *r, rsl_pool_lease *lease)
{
    assert_int_equal(rsl_pool_discard(r->pool, lease), RSL_OK);
    expect_spent(lease);
}

SUPPORT_UNUSED static void take_many(rig *r, rsl_pool_lease *leases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        leases[i] = take(r);
    }
}

SUPPORT_UNUSED static void give_many(rig *r, rsl_pool_lease *leases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        give(r, &leases[i]);
    }
}

/* So many are idle, in the lowest slots. */
SUPPORT_UNUSED static void warm(rig *r, size_t count)
{
    rsl_pool_lease leases[64];
    assert_true(count <= RSL_COUNT(leases));
    take_many(r, leases, count);
    give_many(r, leases, count);
    assert_int_equal(stats_of(r).idle, count);
}

SUPPORT_UNUSED static size_t events_of(const rig *r, int kind)
{
    return event_recorder_count_kind(&r->events, kind);
}

/* The reason of the latest destruction. */
SUPPORT_UNUSED static int latest_reason(const rig *r)
{
    const rsl_event *event = event_recorder_last(&r->events, RSL_POOL_DESTROYED);
    return event != NULL ? (int)event->value : 0;
}

/* For a timeline: */
typedef struct rig_lease { rig *r; rsl_pool_lease *lease; } rig_lease;

SUPPORT_UNUSED static void release_then(void *arg)
{
    rig_lease *it = arg;
    give(it->r, it->lease);
}

SUPPORT_UNUSED static void fire_then(void *arg)
{
    rsl_cancel_fire(arg);
}

/* ---------------------------------------------------------------- waiters */

/* One who waits in a loop, with its post box. Must not move. */
typedef struct guest {
    rsl_waiter     waiter;
    rsl_pool_lease lease;
    int            woken; /* how often */
    int            rc;    /* of the latest begin or poll */
} guest;

SUPPORT_UNUSED static void guest_wake_(void *user)
{
    guest *g = user;
    g->woken++;
}

SUPPORT_UNUSED static int guest_begin_on(rsl_pool *pool, guest *g, const rsl_ctx *ctx)
{
    memset(g, 0, sizeof(*g));
    g->waiter.wake = guest_wake_;
    g->waiter.user = g;
    g->rc = rsl_pool_begin(pool, ctx, &g->waiter, &g->lease);
    return g->rc;
}

SUPPORT_UNUSED static int guest_begin(rig *r, guest *g, const rsl_ctx *ctx)
{
    return guest_begin_on(r->pool, g, ctx);
}

/* Queued for at most this long. */
SUPPORT_UNUSED static void guest_wait(rig *r, guest *g, rsl_time span)
{
    rsl_ctx ctx = within(r, span);
    assert_int_equal(guest_begin(r, g, &ctx), RSL_WAIT);
}

SUPPORT_UNUSED static int guest_poll(rig *r, guest *g)
{
    g->rc = rsl_pool_poll(r->pool, &g->waiter, &g->lease, r->clock.now);
    return g->rc;
}

/* Served: woken, and polled to a lease. */
SUPPORT_UNUSED static void expect_served(rig *r, guest *g)
{
    assert_true(g->woken > 0);
    assert_int_equal(guest_poll(r, g), RSL_OK);
    assert_non_null(g->lease.resource);
    assert_ptr_equal(g->lease.pool, r->pool);
}

SUPPORT_UNUSED static void expect_waiting(rig *r, guest *g)
{
    assert_int_equal(guest_poll(r, g), RSL_WAIT);
}

/* A ticket that must be there, supplied with a new thing. */
SUPPORT_UNUSED static void supply_one(rig *r)
{
    rsl_creation ticket;
    memset(&ticket, 0, sizeof(ticket));
    assert_int_equal(rsl_pool_wanted(r->pool, &ticket), RSL_OK);
    assert_int_equal(rsl_pool_supply(r->pool, &ticket, 0, thing_new(&r->factory)), RSL_OK);
}

#endif
