/* SPDX-License-Identifier: MIT
   test_pool_model.c: pool.h against a model that knows every answer: who is served, in which
   order, what is idle, what is wanted; through random histories of one thread in virtual time.
   And a second watch, with all the ages and breakages, that knows only what must never be. */
#include "support/allocator.h"

#define RSL_POOL_IMPLEMENTATION
#include "pool.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/support.h"

#include "support/pool_rig.h"

/* -------------------------------------------------------------------- model */

enum { GUESTS = 10, LEASES_MAX = 40, TICKETS_MAX = 4, SIZE_MOST = 8, FAILED = -77 };

/* What the model knows of one who waits. */
typedef struct visitor {
    guest    g;
    bool     here;      /* began, and was not answered yet */
    bool     granted;   /* a resource is its own, though it did not poll yet */
    bool     told;      /* its time was over when a resource came by */
    int32_t  priority;
    uint64_t came;      /* in which order */
    rsl_time since, deadline;
} visitor;

typedef struct model {
    rig            r;
    seeded_random  random;
    visitor        visitors[GUESTS];
    rsl_pool_lease leases[LEASES_MAX];
    int            held;
    rsl_creation   tickets[TICKETS_MAX + 1]; /* one more when the latest may be stuck */
    uint32_t       ticketed, creating_max;
    uint32_t       size_min, size_max, idle;
    bool           paused;
    int            epoch;
    rsl_time       failed_at, healed_at, next_try, began;
    uint64_t       comers, acquired, waited, timed_out, created, failed;
} model;

static uint32_t draw(model *m, uint32_t below)
{
    return seeded_random_below(&m->random, below);
}

static uint32_t granted_of(const model *m)
{
    uint32_t count = 0;
    for (int i = 0; i < GUESTS; i++) {
        count += m->visitors[i].here && m->visitors[i].granted;
    }
    return count;
}

static uint32_t open_of(const model *m)
{
    return (uint32_t)m->held + granted_of(m) + m->idle;
}

static bool is_queued(const visitor *v)
{
    return v->here && !v->granted && !v->told;
}

static bool is_late(const model *m, const visitor *v)
{
    return v->deadline <= m->r.clock.now;
}

/* Those who wait and may still be served; and those whose time is over without their knowing. */
static uint32_t queued_of(const model *m, bool late)
{
    uint32_t count = 0;
    for (int i = 0; i < GUESTS; i++) {
        count += is_queued(&m->visitors[i]) && is_late(m, &m->visitors[i]) == late;
    }
    return count;
}

static bool goes_before(const visitor *a, const visitor *b)
{
    return a->priority > b->priority || (a->priority == b->priority && a->came < b->came);
}

static visitor *first_of(model *m)
{
    visitor *first = NULL;
    for (int i = 0; i < GUESTS; i++) {
        visitor *v = &m->visitors[i];
        if (is_queued(v) && (first == NULL || goes_before(v, first))) {
            first = v;
        }
    }
    return first;
}

/* A resource is free: the first in the queue gets it, and those who are late are told. */
static void model_pass(model *m)
{
    visitor *v = m->paused ? NULL : first_of(m);
    while (v != NULL && is_late(m, v)) {
        v->told = true;
        v = first_of(m);
    }
    if (v != NULL) {
        v->granted = true;
    } else {
        m->idle++;
    }
}

static void model_got(model *m, const rsl_pool_lease *lease)
{
    thing *t = thing_of(lease);
    assert_int_equal(t->holders, 0);
    t->holders = 1;
    assert_true(m->held < LEASES_MAX);
    m->leases[m->held++] = *lease;
    m->acquired++;
}

/* ------------------------------------------------------------------- actions */

static void act_begin(model *m)
{
    visitor *v = &m->visitors[draw(m, GUESTS)];
    if (v->here) {
        return;
    }
    rsl_time span = RSL_MS(1 + (rsl_time)draw(m, draw(m, 4) == 0 ? 5 : 3000)) + RSL_US(500);
    rsl_ctx ctx = within(&m->r, span);
    ctx.priority = (int32_t)draw(m, 3) - 1;
    int rc = guest_begin(&m->r, &v->g, &ctx);
    if (m->idle > 0 && !m->paused) {
        assert_int_equal(rc, RSL_OK);
        m->idle--;
        model_got(m, &v->g.lease);
        return;
    }
    assert_int_equal(rc, RSL_WAIT);
    v->here = true;
    v->granted = v->told = false;
    v->priority = ctx.priority;
    v->came = m->comers++;
    v->since = m->r.clock.now;
    v->deadline = ctx.deadline;
    m->waited++;
}

/* Whose time is over hears of the failure that it saw, if it surely saw one. */
static void expect_lateness(const model *m, const visitor *v, int rc)
{
    bool saw = m->failed_at > v->since && m->healed_at < m->failed_at;
    bool may = m->failed_at >= v->since;
    if (saw) {
        assert_int_equal(rc, FAILED);
    } else if (!may) {
        assert_int_equal(rc, RSL_ETIMEOUT);
    } else {
        assert_true(rc == FAILED || rc == RSL_ETIMEOUT);
    }
}

static void poll_visitor(model *m, visitor *v)
{
    if (!v->here) {
        assert_int_equal(guest_poll(&m->r, &v->g), RSL_EINVAL);
        return;
    }
    int rc = guest_poll(&m->r, &v->g);
    if (v->granted) {
        assert_true(v->g.woken > 0);
        assert_int_equal(rc, RSL_OK);
        v->here = false;
        model_got(m, &v->g.lease);
    } else if (v->told || is_late(m, v)) {
        assert_true(rc == FAILED || rc == RSL_ETIMEOUT);
        if (!v->told) {
            expect_lateness(m, v, rc);
        }
        v->here = false;
        m->timed_out++;
    } else {
        assert_int_equal(rc, RSL_WAIT);
    }
}

static void act_poll(model *m)
{
    poll_visitor(m, &m->visitors[draw(m, GUESTS)]);
}

/* What comes back is destroyed when outdated or one too many, else passed on. `open` counts it. */
static void model_return(model *m, const thing *t, uint32_t open)
{
    if (t->epoch == m->epoch && open <= m->size_max) {
        model_pass(m);
    }
}

static void act_abandon(model *m)
{
    visitor *v = &m->visitors[draw(m, GUESTS)];
    uint32_t open = open_of(m);
    bool had = v->here && v->granted;
    if (had && m->epoch != 0) {
        return; /* the model does not know whether what it was granted is outdated */
    }
    m->timed_out += v->here && v->told;
    rsl_pool_abandon(m->r.pool, &v->g.waiter);
    v->here = false;
    thing fresh = {.epoch = m->epoch};
    if (had) {
        model_return(m, &fresh, open);
    }
}

static void act_return(model *m)
{
    if (m->held == 0) {
        return;
    }
    int i = (int)draw(m, (uint32_t)m->held);
    thing t = *thing_of(&m->leases[i]);
    uint32_t open = open_of(m);
    thing_of(&m->leases[i])->holders = 0;
    rsl_pool_lease lease = m->leases[i], copy = lease;
    m->leases[i] = m->leases[--m->held];
    if (draw(m, 5) == 0) {
        scrap(&m->r, &lease);
    } else {
        give(&m->r, &lease);
        model_return(m, &t, open);
    }
    assert_int_equal(rsl_pool_release(m->r.pool, &copy), RSL_EINVAL);
}

static void act_try(model *m)
{
    rsl_pool_lease lease;
    int rc = rsl_pool_try(m->r.pool, &lease);
    if (m->idle > 0 && !m->paused) {
        assert_int_equal(rc, RSL_OK);
        m->idle--;
        model_got(m, &lease);
    } else {
        assert_int_equal(rc, RSL_EFULL);
    }
}

static void act_wanted(model *m)
{
    rsl_creation ticket;
    uint32_t open = open_of(m) + m->ticketed;
    bool wish = queued_of(m, false) > m->ticketed;
    bool stuck = m->ticketed == m->creating_max && wish && m->r.clock.now >= m->began + RSL_SEC(1);
    bool room = open < m->size_max && (m->ticketed < m->creating_max || stuck);
    bool wanted = room && m->r.clock.now >= m->next_try && (wish || open < m->size_min);
    bool unsure = (m->paused || queued_of(m, true) > 0) &&
                  (open >= m->size_min || m->ticketed >= m->creating_max);
    int rc = rsl_pool_wanted(m->r.pool, &ticket);
    if (!unsure) {
        assert_int_equal(rc, wanted ? RSL_OK : RSL_WAIT);
    }
    if (rc == RSL_OK) {
        assert_true(unsure || (room && m->r.clock.now >= m->next_try));
        m->tickets[m->ticketed++] = ticket;
        m->began = m->r.clock.now;
    }
}

static void supply_failure(model *m, rsl_creation *ticket)
{
    assert_int_equal(rsl_pool_supply(m->r.pool, ticket, FAILED, NULL), RSL_OK);
    const rsl_event *event = event_recorder_last(&m->r.events, RSL_POOL_CREATE_FAILED);
    assert_non_null(event);
    assert_true(event->value > 0 && event->value <= RSL_SEC(5));
    m->failed++;
    m->failed_at = m->r.clock.now;
    m->next_try = m->r.clock.now + event->value;
    for (int i = 0; i < GUESTS && open_of(m) + m->ticketed == 0; i++) {
        visitor *v = &m->visitors[i];
        if (!is_queued(v) || v->deadline > m->next_try) {
            continue; /* else it cannot be served in time, and may be told at once */
        }
        int rc = guest_poll(&m->r, &v->g);
        assert_true(rc == FAILED || rc == RSL_WAIT || (rc == RSL_ETIMEOUT && is_late(m, v)));
        v->here = rc == RSL_WAIT;
        m->timed_out += rc != RSL_WAIT;
    }
}

static void act_supply(model *m, bool fails)
{
    m->r.events.count = 0; /* it records the first ones only */
    if (m->ticketed == 0) {
        return;
    }
    uint32_t i = draw(m, m->ticketed);
    rsl_creation ticket = m->tickets[i], copy = ticket;
    m->tickets[i] = m->tickets[--m->ticketed];
    if (fails) {
        supply_failure(m, &ticket);
    } else {
        thing *t = thing_new(&m->r.factory);
        t->epoch = m->epoch;
        uint32_t open = open_of(m) + 1;
        assert_int_equal(rsl_pool_supply(m->r.pool, &ticket, 0, t), RSL_OK);
        m->created++;
        m->healed_at = m->r.clock.now;
        m->next_try = 0;
        if (open <= m->size_max) {
            model_pass(m);
        }
    }
    assert_int_equal(rsl_pool_supply(m->r.pool, &copy, 1, NULL), RSL_EINVAL);
}

static void act_pause(model *m)
{
    if (draw(m, 3) != 0 && !m->paused) {
        return;
    }
    int rc = m->paused ? rsl_pool_resume(m->r.pool) : rsl_pool_pause(m->r.pool);
    assert_int_equal(rc, RSL_OK);
    m->paused = !m->paused;
    for (uint32_t idle = m->idle; !m->paused && idle > 0; idle--) {
        m->idle--;
        model_pass(m);
    }
}

static void act_resize(model *m)
{
    m->size_max = 1 + draw(m, SIZE_MOST);
    m->size_min = draw(m, 4) == 0 ? draw(m, m->size_max + 1) : 0;
    assert_int_equal(rsl_pool_resize(m->r.pool, m->size_min, m->size_max), RSL_OK);
    while (m->idle > 0 && open_of(m) > m->size_max) {
        m->idle--;
    }
}

static void act_invalidate(model *m)
{
    if (m->ticketed > 0 || granted_of(m) > 0 || draw(m, 4) != 0) {
        return;
    }
    rsl_pool_invalidate_all(m->r.pool);
    (void)rsl_pool_maintain(m->r.pool);
    m->epoch++;
    m->idle = 0;
}

static void act(model *m)
{
    switch (draw(m, 24)) {
    case 0: case 1: case 2: case 3: case 4: act_begin(m); break;
    case 5: case 6: case 7: act_poll(m); break;
    case 8: act_abandon(m); break;
    case 9: case 10: case 11: case 12: act_return(m); break;
    case 13: act_try(m); break;
    case 14: case 15: case 16: act_wanted(m); break;
    case 17: case 18: act_supply(m, false); break;
    case 19: act_supply(m, draw(m, 3) == 0); break;
    case 20: act_pause(m); break;
    case 21: act_resize(m); break;
    case 22: act_invalidate(m); break;
    default: m->r.clock.now += RSL_MS((rsl_time)draw(m, draw(m, 20) == 0 ? 4000 : 8)); break;
    }
}

static void model_check(model *m)
{
    rsl_pool_stats stats = stats_of(&m->r);
    assert_int_equal(stats.idle, m->idle);
    assert_int_equal(stats.in_use, (uint32_t)m->held + granted_of(m));
    assert_int_equal(stats.creating, m->ticketed);
    assert_int_equal(stats.size_max, m->size_max);
    uint32_t live = queued_of(m, false);
    assert_in_range(stats.waiting, live, live + queued_of(m, true));
    assert_true(stats.acquired == m->acquired + granted_of(m));
    assert_true(stats.waited == m->waited);
    assert_true(stats.created == m->created && stats.create_failed == m->failed);
    assert_true(stats.timed_out >= m->timed_out);
    assert_int_equal(rsl_pool_holders(m->r.pool, NULL, 0), stats.in_use);
    for (int i = 0; i < GUESTS; i++) {
        assert_true(!m->visitors[i].here || !m->visitors[i].granted || m->visitors[i].g.woken > 0);
    }
}

/* All go home: everyone who waits is answered, and nothing is lost. */
static void model_end(model *m)
{
    if (m->paused) {
        act_pause(m);
        model_check(m);
    }
    while (m->ticketed > 0) {
        act_supply(m, false);
    }
    m->r.clock.now += RSL_SEC(100);
    for (int i = 0; i < GUESTS; i++) {
        if (m->visitors[i].here) {
            poll_visitor(m, &m->visitors[i]);
        }
        assert_false(m->visitors[i].here);
    }
    while (m->held > 0) {
        act_return(m);
    }
    model_check(m);
    assert_true(stats_of(&m->r).timed_out == m->timed_out);
    m->r.events.count = 0;
    rig_end(&m->r);
}

static void run_model(uint64_t seed, int steps, uint32_t creating_max)
{
    static model m;
    memset(&m, 0, sizeof(m));
    m.random.state = seed;
    m.size_max = 1 + draw(&m, SIZE_MOST);
    m.creating_max = creating_max;
    m.failed_at = m.healed_at = -1;
    rsl_pool_config config = {.size_max = m.size_max, .creating_max = creating_max,
                              .idle_timeout = RSL_FOREVER, .lifetime_max = RSL_FOREVER,
                              .acquire_timeout = RSL_SEC(1000)};
    rig_start_by_tickets(&m.r, config);
    m.r.random.value = (double)draw(&m, 100) / 100;
    for (int i = 0; i < steps; i++) {
        act(&m);
        model_check(&m);
    }
    model_end(&m);
}

static void one_creation_at_a_time_does_what_the_model_says_for_150000_steps(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        run_model(seed * 7919, 2500, 1);
    }
}

static void many_creations_at_a_time_do_what_the_model_says_for_150000_steps(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        run_model(seed * 104729, 2500, TICKETS_MAX);
    }
}

/* --------------------------------------------------------------------- watch */

enum { LIFETIME_MS = 900, USES = 20, WATCH_LEASES = 16 };

typedef struct watch {
    rig            r;
    seeded_random  random;
    guest          guests[GUESTS];
    bool           waits[GUESTS];
    rsl_pool_lease leases[WATCH_LEASES];
    int            held, epoch;
    bool           paused;
} watch;

static uint32_t watch_draw(watch *w, uint32_t below)
{
    return seeded_random_below(&w->random, below);
}

static void watch_during(factory *f, factory_step step, thing *t)
{
    watch *w = f->arg;
    if (step == MAKING) {
        atomic_store(&f->fail_with, watch_draw(w, 6) == 0 ? 9 : 0);
    } else {
        assert_int_equal(t->holders, 0);
    }
}

/* Never leased twice, never sick, never older or more used than allowed. */
static void watch_got(watch *w, const rsl_pool_lease *lease, bool granted_long_ago)
{
    thing *t = thing_of(lease);
    assert_int_equal(t->holders, 0);
    assert_int_equal(t->sick, 0);
    t->holders = 1;
    t->uses++;
    assert_true(t->uses <= USES);
    assert_true(granted_long_ago || w->r.clock.now < t->born + RSL_MS(LIFETIME_MS));
    assert_true(w->held < WATCH_LEASES);
    w->leases[w->held++] = *lease;
}

static void watch_acquire(watch *w)
{
    rsl_pool_lease lease;
    rsl_ctx ctx = within(&w->r, RSL_MS(1 + watch_draw(w, 30)));
    if (w->held == WATCH_LEASES) {
        return;
    }
    rsl_time before = w->r.clock.now;
    int rc = rsl_pool_acquire(w->r.pool, &ctx, &lease);
    assert_true(rc == RSL_OK || rc == RSL_ETIMEOUT || rc == 9);
    assert_true(w->r.clock.now <= ctx.deadline && w->r.clock.now >= before);
    if (rc == RSL_OK) {
        assert_false(w->paused);
        watch_got(w, &lease, false);
    }
}

static void watch_return(watch *w)
{
    if (w->held == 0) {
        return;
    }
    int i = (int)watch_draw(w, (uint32_t)w->held);
    thing *t = thing_of(&w->leases[i]);
    t->holders = 0;
    t->sick = watch_draw(w, 10) == 0;
    t->dirty = watch_draw(w, 10) == 0;
    if (watch_draw(w, 6) == 0) {
        scrap(&w->r, &w->leases[i]);
    } else {
        give(&w->r, &w->leases[i]);
    }
    w->leases[i] = w->leases[--w->held];
}

static void watch_loop(watch *w)
{
    int i = (int)watch_draw(w, GUESTS);
    rsl_ctx ctx = within(&w->r, RSL_MS(1 + watch_draw(w, 300)));
    if (w->held == WATCH_LEASES) {
        return;
    }
    if (!w->waits[i]) {
        int rc = guest_begin(&w->r, &w->guests[i], &ctx);
        assert_true(rc == RSL_OK || rc == RSL_WAIT);
        w->waits[i] = rc == RSL_WAIT;
    } else if (watch_draw(w, 4) == 0) {
        rsl_pool_abandon(w->r.pool, &w->guests[i].waiter);
        w->waits[i] = false;
        return;
    } else {
        int rc = guest_poll(&w->r, &w->guests[i]);
        assert_true(rc == RSL_OK || rc == RSL_WAIT || rc == RSL_ETIMEOUT || rc == 9);
        w->waits[i] = rc == RSL_WAIT;
    }
    if (w->guests[i].rc == RSL_OK) {
        watch_got(w, &w->guests[i].lease, true);
    }
}

static void watch_act(watch *w)
{
    rsl_pool_lease lease;
    switch (watch_draw(w, 20)) {
    case 0: case 1: case 2: watch_acquire(w); break;
    case 3: case 4: case 5: case 6: case 7: watch_return(w); break;
    case 8: case 9: case 10: case 11: watch_loop(w); break;
    case 12: case 13: (void)rsl_pool_maintain(w->r.pool); break;
    case 14:
        if (w->held < WATCH_LEASES && rsl_pool_try(w->r.pool, &lease) == RSL_OK) {
            assert_false(w->paused);
            watch_got(w, &lease, false);
        }
        break;
    case 15:
        if (watch_draw(w, 4) == 0) {
            uint32_t most = 1 + watch_draw(w, 9);
            assert_int_equal(rsl_pool_resize(w->r.pool, watch_draw(w, most + 1), most), RSL_OK);
        }
        break;
    case 16:
        w->paused = watch_draw(w, 6) == 0;
        (void)(w->paused ? rsl_pool_pause(w->r.pool) : rsl_pool_resume(w->r.pool));
        break;
    case 17:
        if (watch_draw(w, 20) == 0) {
            rsl_pool_invalidate_all(w->r.pool);
        }
        break;
    default: w->r.clock.now += RSL_MS(watch_draw(w, 25)); break;
    }
    w->r.events.count = 0;
}

static void watch_end(watch *w)
{
    (void)rsl_pool_resume(w->r.pool);
    for (int i = 0; i < GUESTS; i++) {
        rsl_pool_abandon(w->r.pool, &w->guests[i].waiter);
    }
    while (w->held > 0) {
        watch_return(w);
    }
    rsl_pool_stats stats = stats_of(&w->r);
    assert_true(stats.in_use == 0 && stats.waiting == 0 && stats.creating == 0);
    assert_true(stats.destroyed == stats.closed_idle + stats.closed_lifetime + stats.closed_uses +
                                       stats.closed_invalidated + stats.closed_broken +
                                       stats.invalid);
    assert_true(stats.created == (uint64_t)atomic_load(&w->r.factory.made));
    assert_true(stats.create_failed == (uint64_t)atomic_load(&w->r.factory.failed));
    w->r.events.count = 0;
    rig_end(&w->r);
}

static void run_watch(uint64_t seed, bool adaptive)
{
    static watch w;
    memset(&w, 0, sizeof(w));
    w.random.state = seed;
    rsl_pool_config config = {
        .size_max = 1 + (uint32_t)seed % 9, .creating_max = 1 + (uint32_t)seed % 2,
        .idle_timeout = RSL_MS(200), .lifetime_max = RSL_MS(LIFETIME_MS),
        .lifetime_jitter = RSL_NONE, .uses_max = USES, .validate = factory_validate,
        .validate_after = RSL_NONE, .reset = factory_reset, .keepalive = RSL_MS(150),
        .leak_after = RSL_MS(400), .create_backoff = RSL_MS(2), .adaptive = adaptive,
        .adaptive_window = RSL_MS(50)};
    rig_start(&w.r, config);
    w.r.factory.during = watch_during;
    w.r.factory.arg = &w;
    for (int i = 0; i < 2000; i++) {
        watch_act(&w);
        rsl_pool_stats stats = stats_of(&w.r);
        assert_true(stats.in_use >= (uint32_t)w.held);
        assert_int_equal(rsl_pool_holders(w.r.pool, NULL, 0), stats.in_use);
        assert_int_equal(stats.creating, 0);
        (void)rsl_pool_health(w.r.pool);
    }
    watch_end(&w);
}

static void histories_with_all_ages_and_breakages_keep_every_promise(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        run_watch(seed * 1299709, seed % 2 == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_creation_at_a_time_does_what_the_model_says_for_150000_steps),
        cmocka_unit_test(many_creations_at_a_time_do_what_the_model_says_for_150000_steps),
        cmocka_unit_test(histories_with_all_ages_and_breakages_keep_every_promise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
