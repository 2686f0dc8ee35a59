/* SPDX-License-Identifier: MIT
   stress_breaker.c: many threads on one breaker: the race for probes, storms of changing states,
   and counts that must be exact once all is quiet. To be built with the thread and address
   sanitizers too. Prints TAP.                                                                */
#include "support/allocator.h"

#define RSL_BREAKER_IMPLEMENTATION
#include "breaker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

enum {
    RACERS = 8,
    ROUNDS = 10000,        /* of the race for probes */
    ASKS = 16,             /* in each round in which probes are given back */
    CROWD = 24,            /* threads alive at once, more than the breaker keeps apart */
    CROWD_CALLS = 2000,
    STORM_STEPS = 8000,
    MEETINGS = 600,        /* rounds in which a crowd meets a fresh breaker */
    HELD = 4               /* permits that each of the crowd takes then */
};

/* ------------------------------------------------------------------- helpers */

typedef struct crew {
    pthread_t threads[CROWD];
    size_t    count;
} crew;

static void crew_start(crew *c, size_t count, void *(*work)(void *arg), void *arg)
{
    c->count = count;
    for (size_t i = 0; i < count; i++) {
        if (pthread_create(&c->threads[i], NULL, work, arg) != 0) {
            printf("Bail out! no thread\n");
            exit(1);
        }
    }
}

static void crew_join(crew *c)
{
    for (size_t i = 0; i < c->count; i++) {
        (void)pthread_join(c->threads[i], NULL);
    }
}

static void start(rsl_breaker *breaker, const rsl_breaker_config *config)
{
    if (rsl_breaker_init(breaker, config) != RSL_OK) {
        printf("Bail out! no breaker\n");
        exit(1);
    }
}

static rsl_breaker_stats stats_of(rsl_breaker *breaker)
{
    rsl_breaker_stats stats;
    rsl_breaker_stats_get(breaker, &stats);
    return stats;
}

/* One call without duration; 1 when it was let through. */
static int call_once(rsl_breaker *breaker, int result)
{
    rsl_breaker_permit permit;
    if (rsl_breaker_allow(breaker, &permit) != RSL_OK) {
        return 0;
    }
    (void)rsl_breaker_report(breaker, &permit, result);
    return 1;
}

/* ------------------------------------------------------- the race for probes */

enum { PROBES_MOST = 3 };

typedef struct probe_race {
    rsl_breaker       breaker;
    shared_clock      clock;
    pthread_barrier_t gate;
    int               probes;           /* of this round: 1, 2, or PROBES_MOST */
    _Atomic uint32_t  next;             /* racers take their number here */
    _Atomic int       out, most, let;   /* probes out now; most ever in a round; let through */
    _Atomic int       wrong_counts, wrong_states, wrong_returns;
    uint64_t          kept;             /* permits that the judge never gives back */
    rsl_breaker_permit stale[RACERS];   /* of the closed state before the round */
} probe_race;

static void note_probe(probe_race *race)
{
    int out = atomic_fetch_add(&race->out, 1) + 1;
    int most = atomic_load(&race->most);
    while (out > most && !atomic_compare_exchange_weak(&race->most, &most, out)) {
    }
}

static rsl_breaker_config probing(probe_race *race)
{
    rsl_breaker_config config = {.failures_max = 1, .open_for = RSL_SEC(10),
                                 .probes_max = (uint32_t)race->probes,
                                 .clock = shared_clock_as(&race->clock)};
    return config;
}

/* Racer 0 opens the breaker and ends its time, so that all meet it as it turns half-open. */
static void prepare_round(probe_race *race, int round)
{
    race->probes = 1 + round / 3 % PROBES_MOST;
    rsl_breaker_config config = probing(race);
    (void)rsl_breaker_reconfigure(&race->breaker, &config);
    (void)rsl_breaker_force(&race->breaker, RSL_BREAKER_CLOSED);
    for (size_t i = 0; i < RACERS; i++) {
        (void)rsl_breaker_allow(&race->breaker, &race->stale[i]);
    }
    (void)rsl_breaker_force(&race->breaker, RSL_BREAKER_OPEN);
    atomic_fetch_add(&race->clock.now, RSL_SEC(10));
    atomic_store(&race->out, 0);
    atomic_store(&race->most, 0);
    atomic_store(&race->let, 0);
}

static void judge_round(probe_race *race, int round, bool closes)
{
    rsl_breaker_state expected = round % 3 == 0 ? RSL_BREAKER_HALF_OPEN
                                 : closes       ? RSL_BREAKER_CLOSED
                                                : RSL_BREAKER_OPEN;
    bool exact = round % 3 == 0 || atomic_load(&race->let) == race->probes;
    atomic_fetch_add(&race->wrong_counts, !exact || atomic_load(&race->most) > race->probes);
    atomic_fetch_add(&race->wrong_states, rsl_breaker_state_get(&race->breaker) != expected);
    if (round % 3 != 0) {
        return;
    }
    rsl_breaker_permit permit;
    int let = 0;
    while (let <= race->probes && rsl_breaker_allow(&race->breaker, &permit) == RSL_OK) {
        let++;
    }
    atomic_fetch_add(&race->wrong_counts, let != race->probes);
    race->kept += (uint64_t)let;
}

/* Every third round all give their probe back and ask again, many times. */
static void ask(probe_race *race, rsl_breaker_permit *permit, bool gives_back)
{
    for (int i = 0; i < (gives_back ? ASKS : 1); i++) {
        if (rsl_breaker_allow(&race->breaker, permit) != RSL_OK) {
            continue;
        }
        note_probe(race);
        atomic_fetch_add(&race->let, 1);
        if (gives_back) {
            atomic_fetch_sub(&race->out, 1);
            atomic_fetch_add(&race->wrong_returns,
                             rsl_breaker_cancel(&race->breaker, permit) != RSL_OK);
        }
    }
}

/* In the other rounds as many racers as there are probes win, and then report the same result;
   meanwhile all bring back permits of the closed state before.                              */
static void *race_for_probes(void *arg)
{
    probe_race *race = arg;
    uint32_t number = atomic_fetch_add(&race->next, 1);
    for (int round = 0; round < ROUNDS; round++) {
        rsl_breaker_permit permit = {0, 0, 0};
        if (number == 0) {
            prepare_round(race, round);
        }
        (void)pthread_barrier_wait(&race->gate);
        ask(race, &permit, round % 3 == 0);
        (void)pthread_barrier_wait(&race->gate);
        (void)rsl_breaker_report(&race->breaker, &race->stale[number], round % 2);
        if (permit.generation != 0) {
            atomic_fetch_add(&race->wrong_returns,
                             rsl_breaker_report(&race->breaker, &permit, round % 3 - 1) != RSL_OK);
        }
        (void)pthread_barrier_wait(&race->gate);
        if (number == 0) {
            judge_round(race, round, round % 3 == 1);
        }
    }
    return NULL;
}

static void no_more_probes_than_allowed_are_ever_out(void)
{
    static probe_race race;
    crew c;
    race.probes = PROBES_MOST;
    rsl_breaker_config config = probing(&race);
    atomic_store(&race.clock.now, RSL_SEC(100));
    start(&race.breaker, &config);
    (void)pthread_barrier_init(&race.gate, NULL, RACERS);
    crew_start(&c, RACERS, race_for_probes, &race);
    crew_join(&c);
    (void)pthread_barrier_destroy(&race.gate);
    tap_ok(atomic_load(&race.wrong_counts) == 0,
           "%d racers get exactly 1, 2 or %d probes and never more are out, in %d rounds", RACERS,
           PROBES_MOST, ROUNDS);
    tap_ok(atomic_load(&race.wrong_states) == 0,
           "probes that all succeed close it, that fail open it, that are cancelled do neither");
    tap_ok(atomic_load(&race.wrong_returns) == 0, "every probe is reported or cancelled once");
    tap_ok(stats_of(&race.breaker).in_flight == race.kept,
           "only permits never reported are in flight");
    rsl_breaker_deinit(&race.breaker);
}

/* -------------------------------------------------------- counts when all is quiet */

typedef struct crowd {
    rsl_breaker       breaker;
    shared_clock      clock;
    pthread_barrier_t gate;
    _Atomic uint32_t  next;
    _Atomic uint64_t  succeeded, failed, ignored, cancelled;
    rsl_time          step;            /* how far the first thread moves time per call */
} crowd;

static void *work_in_the_crowd(void *arg)
{
    crowd *all = arg;
    uint64_t counts[4] = {0, 0, 0, 0};
    uint32_t number = atomic_fetch_add(&all->next, 1);
    seeded_random random = {.state = number + 1};
    (void)pthread_barrier_wait(&all->gate);
    for (int i = 0; i < CROWD_CALLS; i++) {
        rsl_breaker_permit permit;
        uint32_t chance = seeded_random_below(&random, 64);
        uint32_t kind = chance < 2 ? 3 : chance < 4 ? 2 : chance < 12 ? 1 : 0;
        if (rsl_breaker_allow(&all->breaker, &permit) != RSL_OK) {
            continue;
        }
        counts[kind]++;
        if (kind == 3) {
            (void)rsl_breaker_cancel(&all->breaker, &permit);
        } else {
            (void)rsl_breaker_report(&all->breaker, &permit,
                                     kind == 2 ? RSL_ECANCELED : (int)kind);
        }
        if (number == 0) {
            atomic_fetch_add(&all->clock.now, all->step);
        }
    }
    atomic_fetch_add(&all->succeeded, counts[0]);
    atomic_fetch_add(&all->failed, counts[1]);
    atomic_fetch_add(&all->ignored, counts[2]);
    atomic_fetch_add(&all->cancelled, counts[3]);
    (void)pthread_barrier_wait(&all->gate); /* all alive to the end */
    return NULL;
}

/* Runs the crowd; the caller looks at the breaker and deinits it. */
static void run_crowd(crowd *all, rsl_breaker_config config, rsl_breaker_state state)
{
    crew c;
    rsl_time step = all->step;
    memset(all, 0, sizeof(*all));
    all->step = step;
    atomic_store(&all->clock.now, RSL_SEC(100));
    config.clock = shared_clock_as(&all->clock);
    start(&all->breaker, &config);
    if (state != RSL_BREAKER_CLOSED) {
        (void)rsl_breaker_force(&all->breaker, state);
    }
    (void)pthread_barrier_init(&all->gate, NULL, CROWD);
    crew_start(&c, CROWD, work_in_the_crowd, all);
    crew_join(&c);
    (void)pthread_barrier_destroy(&all->gate);
}

static void expect_totals(crowd *all, const char *what)
{
    rsl_breaker_stats stats = stats_of(&all->breaker);
    uint64_t calls = atomic_load(&all->succeeded) + atomic_load(&all->failed)
                     + atomic_load(&all->ignored) + atomic_load(&all->cancelled);
    tap_ok(calls == (uint64_t)CROWD * CROWD_CALLS && stats.refused == 0
           && stats.succeeded == atomic_load(&all->succeeded)
           && stats.failed == atomic_load(&all->failed)
           && stats.ignored == atomic_load(&all->ignored) && stats.in_flight == 0,
           "totals of %d threads are exact and nothing is in flight: %s", CROWD, what);
}

static void expect_window(crowd *all, const char *what)
{
    rsl_breaker_stats stats = stats_of(&all->breaker);
    uint64_t calls = atomic_load(&all->succeeded) + atomic_load(&all->failed);
    tap_ok(stats.calls == calls && stats.failures == atomic_load(&all->failed) && stats.slow == 0,
           "the window of %d threads is exact (%u calls, %u failures): %s", CROWD, stats.calls,
           stats.failures, what);
}

static void a_wide_window_counts_every_call(rsl_breaker_config config, rsl_time step,
                                            const char *what)
{
    static crowd all;
    all.step = step;
    run_crowd(&all, config, RSL_BREAKER_METRICS_ONLY);
    expect_totals(&all, what);
    expect_window(&all, what);
    rsl_breaker_deinit(&all.breaker);
}

/* Full of old results, a small window holds the last ones and nothing else. */
static void a_small_count_window_stays_consistent(void)
{
    static crowd all;
    rsl_breaker_config config = {.window = RSL_WINDOW_COUNT, .window_calls = 50};
    all.step = 0;
    run_crowd(&all, config, RSL_BREAKER_METRICS_ONLY);
    expect_totals(&all, "count window of 50");
    rsl_breaker_stats crowded = stats_of(&all.breaker);
    for (int i = 0; i < 50; i++) {
        (void)call_once(&all.breaker, 0);
    }
    rsl_breaker_stats clean = stats_of(&all.breaker);
    for (int i = 0; i < 20; i++) {
        (void)call_once(&all.breaker, 1);
    }
    rsl_breaker_stats mixed = stats_of(&all.breaker);
    tap_ok(crowded.calls == 50 && crowded.failures <= 50 && clean.calls == 50
           && clean.failures == 0 && mixed.calls == 50 && mixed.failures == 20,
           "a count window of 50 is exact after %d racing results", CROWD * CROWD_CALLS);
    rsl_breaker_deinit(&all.breaker);
}

static void a_closed_consecutive_breaker_keeps_exact_totals(void)
{
    static crowd all;
    rsl_breaker_config config = {.failures_max = RSL_UNLIMITED};
    all.step = 0;
    run_crowd(&all, config, RSL_BREAKER_CLOSED);
    expect_totals(&all, "consecutive");
    (void)call_once(&all.breaker, 0);
    tap_ok(stats_of(&all.breaker).failures == 0, "one success after the crowd ends the row");
    rsl_breaker_deinit(&all.breaker);
}

static void an_uncounted_breaker_stays_uncounted(void)
{
    static crowd all;
    rsl_breaker_config config = {.window = RSL_WINDOW_TIME, .window_span = RSL_SEC(10),
                                 .uncounted = true};
    all.step = 0;
    run_crowd(&all, config, RSL_BREAKER_METRICS_ONLY);
    expect_window(&all, "time window, uncounted");
    rsl_breaker_stats stats = stats_of(&all.breaker);
    tap_ok(stats.succeeded == 0 && stats.failed == 0 && stats.ignored == 0
           && stats.in_flight == 0, "an uncounted breaker keeps its totals at 0");
    rsl_breaker_deinit(&all.breaker);
}

/* ------------------------------------------------------------- hanging calls */

typedef struct hangers {
    crowd              all;
    rsl_breaker_permit hung[CROWD];
} hangers;

static void *leave_one_hanging(void *arg)
{
    hangers *h = arg;
    uint32_t number = atomic_fetch_add(&h->all.next, 1);
    for (int i = 0; i < 500; i++) {
        (void)call_once(&h->all.breaker, 0);
    }
    (void)rsl_breaker_allow(&h->all.breaker, &h->hung[number]);
    for (int i = 0; i < 500; i++) {
        (void)call_once(&h->all.breaker, 0);
    }
    return NULL;
}

static void exactly_the_calls_that_hang_are_slow(void)
{
    static hangers h;
    crew c;
    rsl_breaker_config config = {.window = RSL_WINDOW_TIME, .window_span = RSL_SEC(100),
                                 .slow_after = RSL_SEC(1),
                                 .clock = shared_clock_as(&h.all.clock)};
    atomic_store(&h.all.clock.now, RSL_SEC(100));
    start(&h.all.breaker, &config);
    crew_start(&c, CROWD, leave_one_hanging, &h);
    crew_join(&c);
    rsl_breaker_stats before = stats_of(&h.all.breaker);
    atomic_fetch_add(&h.all.clock.now, RSL_SEC(1));
    rsl_breaker_stats hanging = stats_of(&h.all.breaker);
    for (size_t i = 0; i < CROWD; i++) {
        (void)rsl_breaker_report(&h.all.breaker, &h.hung[i], 0);
    }
    rsl_breaker_stats after = stats_of(&h.all.breaker);
    tap_ok(before.slow == 0 && before.in_flight == CROWD && before.calls == CROWD * 1000,
           "no quick call is taken for a slow one");
    tap_ok(hanging.slow == CROWD && hanging.calls == CROWD * 1001,
           "the hanging call of each of %d threads is seen (%u)", CROWD, hanging.slow);
    tap_ok(after.slow == CROWD && after.calls == CROWD * 1001 && after.in_flight == 0,
           "and counts once when it returns");
    rsl_breaker_deinit(&h.all.breaker);
}

/* All meet a breaker that none of them has used before, take permits at once, and hang. */
typedef struct meeting {
    rsl_breaker       breaker;
    shared_clock      clock;
    pthread_barrier_t gate;
    _Atomic uint32_t  next;
    int               wrong_before, wrong_after;
} meeting;

static void meet_afresh(meeting *m, int round)
{
    rsl_breaker_config config = {.window = round % 2 == 0 ? RSL_WINDOW_TIME : RSL_WINDOW_COUNT,
                                 .window_calls = (uint32_t)CROWD * HELD,
                                 .slow_after = RSL_SEC(1), .clock = shared_clock_as(&m->clock)};
    atomic_store(&m->clock.now, RSL_SEC(100));
    start(&m->breaker, &config);
    (void)rsl_breaker_force(&m->breaker, RSL_BREAKER_METRICS_ONLY);
}

static void *meet_and_hang(void *arg)
{
    meeting *m = arg;
    bool leads = atomic_fetch_add(&m->next, 1) == 0;
    for (int round = 0; round < MEETINGS; round++) {
        rsl_breaker_permit permits[HELD];
        if (leads) {
            meet_afresh(m, round);
        }
        (void)pthread_barrier_wait(&m->gate);
        for (size_t i = 0; i < HELD; i++) {
            (void)rsl_breaker_allow(&m->breaker, &permits[i]);
        }
        (void)pthread_barrier_wait(&m->gate);
        if (leads) {
            atomic_fetch_add(&m->clock.now, RSL_SEC(1));
            rsl_breaker_stats stats = stats_of(&m->breaker);
            m->wrong_before += stats.in_flight != CROWD * HELD || stats.slow != CROWD * HELD;
        }
        (void)pthread_barrier_wait(&m->gate);
        for (size_t i = 0; i < HELD; i++) {
            (void)rsl_breaker_report(&m->breaker, &permits[i], i == 0 ? 1 : 0);
        }
        (void)pthread_barrier_wait(&m->gate);
        if (leads) {
            rsl_breaker_stats stats = stats_of(&m->breaker);
            m->wrong_after += stats.in_flight != 0 || stats.slow != CROWD * HELD
                              || stats.calls != CROWD * HELD || stats.failures != CROWD
                              || stats.succeeded != CROWD * (HELD - 1) || stats.failed != CROWD;
            rsl_breaker_deinit(&m->breaker);
        }
    }
    return NULL;
}

static void a_crowd_that_meets_a_fresh_breaker_is_counted_exactly(void)
{
    static meeting m;
    crew c;
    (void)pthread_barrier_init(&m.gate, NULL, CROWD);
    crew_start(&c, CROWD, meet_and_hang, &m);
    crew_join(&c);
    (void)pthread_barrier_destroy(&m.gate);
    tap_ok(m.wrong_before == 0, "%d calls that hang at once on a fresh breaker are all seen, "
           "%d rounds", CROWD * HELD, MEETINGS);
    tap_ok(m.wrong_after == 0, "and are counted exactly when they return");
}

/* -------------------------------------------------------------------- storm */

typedef struct storm {
    rsl_breaker      breaker;
    rsl_breaker_config config;
    shared_clock     clock;
    _Atomic uint32_t next;
    _Atomic uint64_t let, refused, spent_twice;
    _Atomic uint64_t events, numbers, opened, told_refused;
} storm;

static void count_event(const rsl_event *event, void *user)
{
    storm *s = user;
    atomic_fetch_add(&s->events, 1);
    atomic_fetch_add(&s->numbers, event->number);
    atomic_fetch_add(&s->opened, event->kind == RSL_BREAKER_CHANGED
                                 && event->value == RSL_BREAKER_OPEN);
    atomic_fetch_add(&s->told_refused, event->kind == RSL_BREAKER_REFUSED);
}

/* Every so often: look, force, reconfigure. */
static void disturb(storm *s, seeded_random *random)
{
    static const rsl_breaker_state states[] = {RSL_BREAKER_CLOSED, RSL_BREAKER_OPEN,
                                               RSL_BREAKER_METRICS_ONLY, RSL_BREAKER_DISABLED,
                                               RSL_BREAKER_FORCED_OPEN, RSL_BREAKER_CLOSED};
    rsl_breaker_config numbers = s->config;
    switch (seeded_random_below(random, 8)) {
    case 0:
        (void)rsl_breaker_force(&s->breaker, states[seeded_random_below(random, 6)]);
        break;
    case 1:
        numbers.probes_max = 1 + seeded_random_below(random, 6);
        numbers.probes_needed = 1;
        numbers.failure_rate = 0.5 + 0.1 * seeded_random_below(random, 5);
        numbers.window_span = RSL_MS(10) + RSL_MS(10) * seeded_random_below(random, 2);
        (void)rsl_breaker_reconfigure(&s->breaker, &numbers);
        break;
    case 2:
        (void)stats_of(&s->breaker);
        break;
    default:
        (void)rsl_breaker_state_get(&s->breaker);
        break;
    }
}

static void end_call(storm *s, rsl_breaker_permit *permit, uint32_t kind)
{
    int rc = kind == 0 ? rsl_breaker_cancel(&s->breaker, permit)
                       : rsl_breaker_report(&s->breaker, permit, kind < 11 ? 1 : 0);
    atomic_fetch_add(&s->spent_twice, rc != RSL_OK);
    rc = rsl_breaker_report(&s->breaker, permit, 1);
    atomic_fetch_add(&s->spent_twice, rc != RSL_EINVAL);
}

static void *weather_the_storm(void *arg)
{
    storm *s = arg;
    uint32_t number = atomic_fetch_add(&s->next, 1);
    seeded_random random = {.state = 1000 + number};
    rsl_breaker_permit permits[4] = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}};
    uint64_t let = 0;
    uint64_t refused = 0;
    for (int i = 0; i < STORM_STEPS; i++) {
        rsl_breaker_permit *permit = &permits[seeded_random_below(&random, 4)];
        if (permit->generation != 0) {
            end_call(s, permit, seeded_random_below(&random, 16));
        } else if (rsl_breaker_allow(&s->breaker, permit) == RSL_OK) {
            let++;
        } else {
            refused++;
        }
        if (number == 0) {
            atomic_fetch_add(&s->clock.now, RSL_US(50));
        }
        if (i % 256 == 0) {
            disturb(s, &random);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        if (permits[i].generation != 0) {
            end_call(s, &permits[i], 1);
        }
    }
    atomic_fetch_add(&s->let, let);
    atomic_fetch_add(&s->refused, refused);
    return NULL;
}

static bool heals(storm *s)
{
    (void)rsl_breaker_force(&s->breaker, RSL_BREAKER_OPEN);
    atomic_fetch_add(&s->clock.now, RSL_SEC(100));
    for (int i = 0; i < 10; i++) {
        (void)call_once(&s->breaker, 0);
    }
    return rsl_breaker_state_get(&s->breaker) == RSL_BREAKER_CLOSED;
}

static void a_storm_leaves_exact_totals(rsl_breaker_config config, const char *what)
{
    static storm s;
    crew c;
    memset(&s, 0, sizeof(s));
    atomic_store(&s.clock.now, RSL_SEC(100));
    config.failures_max = 3;
    config.open_for = RSL_US(300);
    config.open_jitter = 0.5;
    config.probes_max = 4;
    config.probes_needed = 2;
    config.probe_for = RSL_MS(1);
    config.clock = shared_clock_as(&s.clock);
    config.observer.on_event = count_event;
    config.observer.user = &s;
    s.config = config;
    start(&s.breaker, &config);
    crew_start(&c, RACERS, weather_the_storm, &s);
    crew_join(&c);
    rsl_breaker_stats stats = stats_of(&s.breaker);
    uint64_t events = atomic_load(&s.events);
    tap_ok(stats.in_flight == 0 && stats.refused == atomic_load(&s.refused)
           && stats.succeeded + stats.failed + stats.ignored <= atomic_load(&s.let)
           && atomic_load(&s.spent_twice) == 0, "after a storm the totals are exact: %s", what);
    tap_ok(stats.opened > 10 && stats.opened == atomic_load(&s.opened)
           && atomic_load(&s.told_refused) == stats.refused,
           "every one of %lu openings was told once: %s", (unsigned long)stats.opened, what);
    tap_ok(atomic_load(&s.numbers) == events * (events + 1) / 2,
           "events are numbered from 1 without a gap: %s", what);
    tap_ok(heals(&s), "after a storm it heals: %s", what);
    rsl_breaker_deinit(&s.breaker);
}

static void storms(void)
{
    const rsl_breaker_config kinds[] = {
        {.window = RSL_WINDOW_CONSECUTIVE},
        {.window = RSL_WINDOW_COUNT, .window_calls = 20},
        {.window = RSL_WINDOW_TIME, .window_span = RSL_MS(20)},
        {.window = RSL_WINDOW_CONSECUTIVE, .slow_after = RSL_US(200)},
        {.window = RSL_WINDOW_COUNT, .window_calls = 20, .slow_after = RSL_US(200)},
        {.window = RSL_WINDOW_TIME, .window_span = RSL_MS(20), .slow_after = RSL_US(200)},
    };
    static const char *const names[] = {"consecutive", "count window", "time window",
                                        "consecutive, timed", "count window, timed",
                                        "time window, timed"};
    for (size_t i = 0; i < RSL_COUNT(kinds); i++) {
        a_storm_leaves_exact_totals(kinds[i], names[i]);
    }
}

int main(void)
{
    rsl_breaker_config count = {.window = RSL_WINDOW_COUNT,
                                .window_calls = (uint32_t)CROWD * CROWD_CALLS};
    rsl_breaker_config span = {.window = RSL_WINDOW_TIME, .window_span = RSL_SEC(10)};
    no_more_probes_than_allowed_are_ever_out();
    a_wide_window_counts_every_call(count, 0, "count window");
    a_wide_window_counts_every_call(span, 0, "time window at rest");
    a_wide_window_counts_every_call(span, RSL_MS(2), "time window in motion");
    count.slow_after = RSL_SEC(1000);
    span.slow_after = RSL_SEC(1000);
    a_wide_window_counts_every_call(count, 0, "count window, timed");
    a_wide_window_counts_every_call(span, RSL_MS(2), "time window in motion, timed");
    a_small_count_window_stays_consistent();
    a_closed_consecutive_breaker_keeps_exact_totals();
    an_uncounted_breaker_stays_uncounted();
    exactly_the_calls_that_hang_are_slow();
    a_crowd_that_meets_a_fresh_breaker_is_counted_exactly();
    storms();
    tap_ok(support_live() == 0, "all memory is given back");
    return tap_end();
}
