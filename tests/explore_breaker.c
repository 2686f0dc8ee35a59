/* SPDX-License-Identifier: MIT
   explore_breaker.c: what breaker.h promises about threads that race, in every order of a few of
   them: never more probes than permits, results in their own generation or nowhere, counts exact
   once all is quiet. Planted bugs show that the explorer finds what it looks for. Prints TAP.   */
#include "support/explore.h"

#define RSL_BREAKER_IMPLEMENTATION
#include "breaker.h"

enum { FAILED = 42 };
#define A_WHILE RSL_SEC(1)

/* All that the threads of a scenario share. Each `before` starts it from nothing. */
static struct world {
    rsl_breaker        breaker;
    rsl_breaker_permit permit[EXPLORE_THREADS];
    uint64_t           granted[EXPLORE_THREADS]; /* generation of the permit; 0: refused */
    int                result[EXPLORE_THREADS];
    rsl_word_          counter, generation, window; /* of the planted bugs */
    int                counted[2], probed;
    rsl_lock_          lock;
    int                inside;          /* probes out, as their owners see it */
    uint64_t           told, told_twice;  /* bits of event numbers */
} w;

static void note_number(const rsl_event *event, void *user)
{
    (void)user;
    uint64_t bit = UINT64_C(1) << event->number;
    w.told_twice |= w.told & bit;
    w.told |= bit;
}

static void make_breaker(const rsl_breaker_config *config)
{
    memset(&w, 0, sizeof w);
    explore_check(rsl_breaker_init(&w.breaker, config) == RSL_OK, "a breaker is made");
}

static rsl_breaker_stats stats_now(void)
{
    rsl_breaker_stats stats;
    rsl_breaker_stats_get(&w.breaker, &stats);
    return stats;
}

static bool ask(int id)
{
    int status = rsl_breaker_allow(&w.breaker, &w.permit[id]);
    explore_check(status == RSL_OK || status == RSL_EOPEN, "allowed or refused");
    w.granted[id] = status == RSL_OK ? w.permit[id].generation : 0;
    return status == RSL_OK;
}

static void answer(int id, int result)
{
    w.result[id] = result;
    explore_check(rsl_breaker_report(&w.breaker, &w.permit[id], result) == RSL_OK, "reported");
    int again = rsl_breaker_report(&w.breaker, &w.permit[id], result);
    explore_check(again == RSL_EINVAL, "a second report is told");
}

static int success_or_failure(void)
{
    return explore_choose(2) == 0 ? 0 : FAILED;
}

static void call(int id, int result)
{
    if (ask(id)) answer(id, result);
}

static void ask_alone(int id)
{
    (void)ask(id);
}

static void call_somehow(int id)
{
    if (ask(id)) answer(id, success_or_failure());
}

static int count_granted(rsl_breaker_state state)
{
    int count = 0;
    for (int i = 0; i < EXPLORE_THREADS; i++) {
        enum rsl_breaker_code_ code = rsl_breaker_code_of_(w.granted[i]);
        count += code == (enum rsl_breaker_code_)(1 + (int)state);
    }
    return count;
}

static int count_results(int result)
{
    int count = 0;
    for (int i = 0; i < explore_.scenario->threads; i++)
        count += w.granted[i] != 0 && w.result[i] == result;
    return count;
}

/* Totals are exact: `refused` of this many threads, all others ended. */
static void totals_are_exact(const rsl_breaker_stats *stats, uint64_t ended)
{
    uint64_t refused = 0;
    for (int i = 0; i < explore_.scenario->threads; i++) refused += w.granted[i] == 0;
    explore_check(stats->in_flight == 0, "none is in flight");
    explore_check(stats->refused == refused, "each refusal is counted");
    explore_check(stats->succeeded + stats->failed <= ended, "nothing is counted twice");
}

/* ---- the race for probes ---- */

static void make_half_open_soon(uint32_t probes)
{
    rsl_breaker_config config = {.open_for = A_WHILE, .probes_max = probes};
    config.probe_for = 10 * A_WHILE;
    make_breaker(&config);
    rsl_breaker_force(&w.breaker, RSL_BREAKER_OPEN);
    explore_pass_time(A_WHILE);
}

static void two_probes_soon(void) { make_half_open_soon(2); }
static void three_probes_soon(void) { make_half_open_soon(3); }
static void one_probe_soon(void) { make_half_open_soon(1); }

static void all_probes_are_out(void)
{
    rsl_breaker_stats stats = stats_now();
    uint32_t probes = w.breaker.config_.probes_max;
    explore_check(stats.state == RSL_BREAKER_HALF_OPEN, "half-open");
    uint32_t refused = (uint32_t)explore_.scenario->threads - probes;
    explore_check((uint32_t)count_granted(RSL_BREAKER_HALF_OPEN) == probes, "all, no more");
    explore_check(stats.in_flight == probes, "in flight as many");
    explore_check(stats.refused == refused, "the others are refused");
    explore_check(w.breaker.word_ >> 3 == 3, "it became half-open once");
}

/* Two probes, both needed: a failure opens, two successes close. */
static void probes_decided(void)
{
    int well = 0, badly = 0;
    for (int i = 0; i < 3; i++) {
        if (rsl_breaker_code_of_(w.granted[i]) != RSL_BREAKER_HALF_OPEN_) continue;
        well += w.result[i] == 0;
        badly += w.result[i] != 0;
    }
    rsl_breaker_stats stats = stats_now();
    explore_check(well + badly <= 2, "never more probes than permits");
    rsl_breaker_state state = badly > 0 ? RSL_BREAKER_OPEN : RSL_BREAKER_CLOSED;
    explore_check(stats.state == state && (badly > 0 || well == 2), "as the probes said");
    explore_check(stats.opened == (badly > 0 ? 2 : 1), "opened by a failed probe only");
    totals_are_exact(&stats, 3);
}

static void look_or_ask(int id)
{
    if (id == 0) (void)ask(0);
    if (id == 1) {
        rsl_breaker_state state = rsl_breaker_state_get(&w.breaker);
        explore_check(state == RSL_BREAKER_HALF_OPEN, "its time is over: half-open");
    }
    if (id == 2) explore_check(stats_now().state == RSL_BREAKER_HALF_OPEN, "stats say the same");
}

static void became_half_open_once(void)
{
    explore_check(w.breaker.word_ >> 3 == 3, "one change of state");
    explore_check(count_granted(RSL_BREAKER_HALF_OPEN) == 1, "one probe");
}

/* ---- probes that are lost or cancelled ---- */

static void one_probe_out(void)
{
    make_half_open_soon(1);
    explore_check(ask(0), "a probe is let through");
    w.inside = 1;
}

static void report_late_or_take_over(int id)
{
    if (id == 0) {
        answer(0, 0);
    } else if (id == 1) {
        explore_pass_time(10 * A_WHILE); /* probe_for */
        call(1, FAILED);
    } else {
        (void)rsl_breaker_state_get(&w.breaker);
        call(2, 0);
    }
}

/* Either the first probe counted, and closed it, or it was lost, and the next one decided. The
   third may get it before the second, and lose it too, when it slept after it read the clock. */
static void one_probe_counted(void)
{
    rsl_breaker_stats stats = stats_now();
    bool second = w.granted[1] == w.granted[0], third = w.granted[2] == w.granted[0];
    explore_check(w.granted[1] != 0 || third, "closed, or the permit of the lost probe is free");
    explore_check(stats.state == (second ? RSL_BREAKER_OPEN : RSL_BREAKER_CLOSED),
                  "the late report or its successor counts, not both");
    totals_are_exact(&stats, 3);
}

static void cancel_or_take_over(int id)
{
    if (id == 0) {
        w.inside--;
        rsl_breaker_cancel(&w.breaker, &w.permit[0]);
        return;
    }
    if (!ask(id)) return;
    w.inside++;
    explore_check(w.inside <= 1, "one probe at a time");
    explore_point_("work", &w.inside, true);
    w.inside--;
    rsl_breaker_cancel(&w.breaker, &w.permit[id]);
}

static void still_half_open(void)
{
    rsl_breaker_stats stats = stats_now();
    explore_check(stats.state == RSL_BREAKER_HALF_OPEN, "cancelled probes decide nothing");
    explore_check(stats.in_flight == 0 && w.breaker.probing_ == 0, "all came back");
    explore_check(stats.succeeded + stats.failed + stats.ignored == 0, "nothing counted");
    explore_check(ask(3), "and a probe can be had");
}

/* ---- results of an earlier generation ---- */

/* Closed, with a success in its window, so that the next one may go without the lock. */
static void make_window(rsl_breaker_window window)
{
    rsl_breaker_config config = {.window = window, .failures_max = 3, .window_calls = 1};
    config.open_for = A_WHILE;
    config.calls_min = window == RSL_WINDOW_COUNT ? 1 : 100;
    config.window_buckets = 2;
    make_breaker(&config);
    if (window == RSL_WINDOW_TIME) call(3, 0);
    call(3, 0);
    explore_check(ask(0), "a call is let through");
}

static void consecutive_window(void) { make_window(RSL_WINDOW_CONSECUTIVE); }
static void count_window(void) { make_window(RSL_WINDOW_COUNT); }
static void time_window(void) { make_window(RSL_WINDOW_TIME); }

static void report_or_change(int id)
{
    if (id == 0) answer(0, success_or_failure());
    if (id == 1) {
        rsl_breaker_force(&w.breaker, RSL_BREAKER_OPEN);
        rsl_breaker_force(&w.breaker, RSL_BREAKER_CLOSED);
    }
    if (id == 2) call(2, success_or_failure());
}

/* From closed to closed: no other state lies between the two windows. */
static void report_or_clear(int id)
{
    if (id == 0) answer(0, success_or_failure());
    if (id == 1) rsl_breaker_force(&w.breaker, RSL_BREAKER_CLOSED);
}

/* What began before the last change counts nowhere; what began after it counts. */
static void only_this_generation_counts(void)
{
    rsl_breaker_stats stats = stats_now();
    bool counts = w.granted[2] != 0 && w.granted[2] >> 3 == w.breaker.word_ >> 3;
    bool failed = counts && w.result[2] != 0;
    bool streak = w.breaker.config_.window == RSL_WINDOW_CONSECUTIVE;
    bool opens = failed && w.breaker.config_.window == RSL_WINDOW_COUNT;
    if (counts || !opens) {
        rsl_breaker_state state = stats.state;
        explore_check(state == (opens ? RSL_BREAKER_OPEN : RSL_BREAKER_CLOSED) || !counts,
                      "closed, or opened by the result of this generation");
    }
    if (stats.state != RSL_BREAKER_CLOSED) return;
    explore_check(stats.calls == (streak ? failed : counts), "calls of this generation alone");
    explore_check(stats.failures == failed, "failures of this generation alone");
    explore_check(stats.in_flight == 0, "none is in flight");
}

static void stale_result_is_nowhere(void)
{
    rsl_breaker_stats stats = stats_now();
    explore_check(stats.state == RSL_BREAKER_CLOSED && stats.calls == 0 && stats.failures == 0,
                  "a result of the generation before counts nowhere");
    explore_check(stats.in_flight == 0, "none is in flight");
}

static void report_or_respan(int id)
{
    if (id == 0) {
        answer(0, success_or_failure());
        return;
    }
    rsl_breaker_config config = {.window = RSL_WINDOW_TIME, .window_span = RSL_SEC(20)};
    config.calls_min = 100;
    explore_check(rsl_breaker_reconfigure(&w.breaker, &config) == RSL_OK, "reconfigured");
}

/* ---- windows and totals, exact once all is quiet ---- */

static void make_count_window(uint32_t calls)
{
    rsl_breaker_config config = {.window = RSL_WINDOW_COUNT, .window_calls = calls};
    config.failure_rate = 1;
    config.calls_min = calls;
    make_breaker(&config);
}

static void count_window_of_three(void) { make_count_window(3); }

static void full_count_window_of_two(void)
{
    make_count_window(2);
    call(3, 0);
    call(3, 0);
    w.granted[3] = 0;
}

static void three_are_in_the_window(void)
{
    rsl_breaker_stats stats = stats_now();
    uint32_t failed = (uint32_t)count_results(FAILED);
    if (failed == 3) {
        explore_check(stats.state == RSL_BREAKER_OPEN && stats.opened == 1, "all failed: open");
    } else {
        explore_check(stats.state == RSL_BREAKER_CLOSED, "closed");
        explore_check(stats.calls == 3 && stats.failures == failed, "the window is exact");
    }
    explore_check(stats.failed == failed && stats.succeeded == 3 - failed, "totals are exact");
    totals_are_exact(&stats, 3);
}

/* Whatever two results stand in the ring, its sums say the same. */
static void sums_are_those_of_the_ring(void)
{
    rsl_breaker_stats stats = stats_now();
    uint32_t failed = (uint32_t)count_results(FAILED), calls = 0, failures = 0;
    if (stats.state == RSL_BREAKER_CLOSED) {
        for (uint32_t i = 0; i < 2; i++) {
            if (w.breaker.ring_[i] >> 2 != w.breaker.word_ >> 3) continue;
            calls++;
            failures += (uint32_t)(w.breaker.ring_[i] & 1);
        }
        explore_check(stats.calls == 2 && calls == 2, "the window is full");
        explore_check(stats.failures == failures && failures <= failed, "its sums are exact");
        explore_check(failures + 1 >= failed, "one result at most was pushed out");
    } else {
        explore_check(stats.opened == 1 && failed >= 2, "two failures opened it");
    }
    totals_are_exact(&stats, 5);
}

static void make_time_window(void)
{
    rsl_breaker_config config = {.window = RSL_WINDOW_TIME, .calls_min = 100};
    config.window_span = RSL_SEC(3);
    config.window_buckets = 3;
    make_breaker(&config);
    call(3, 0);
    w.granted[3] = 0;
}

/* As if there had been more threads than shards: these three share the common one. */
static void make_crowded_time_window(void)
{
    make_time_window();
    for (uint32_t i = 0; i < RSL_BREAKER_SHARDS_; i++) w.breaker.shards_[i].owner = 1000 + i;
}

/* Threads whose numbers want the same shard. */
static void make_colliding_time_window(void)
{
    uint64_t number = 100;
    make_time_window();
    for (int i = 0; i < 3; i++) {
        while (rsl_shard_hash_(number, RSL_BREAKER_SHARDS_) != 3) number++;
        explore_.selves[i] = number++;
    }
}

static void call_while_time_passes(int id)
{
    bool last = id == explore_.scenario->threads - 1;
    if (last) explore_pass_time(RSL_SEC(1)); /* a bucket's width */
    call_somehow(id);
}

/* The one from before, and one of each thread. */
static void all_are_in_the_window(void)
{
    rsl_breaker_stats stats = stats_now();
    uint32_t failed = (uint32_t)count_results(FAILED);
    uint32_t calls = (uint32_t)explore_.scenario->threads + 1;
    explore_check(stats.state == RSL_BREAKER_CLOSED, "closed");
    explore_check(stats.calls == calls, "the window holds all calls");
    explore_check(stats.failures == failed, "and all failures");
    explore_check(stats.succeeded == calls - failed && stats.failed == failed, "exact totals");
    totals_are_exact(&stats, calls);
}

static void two_failures_open(void)
{
    rsl_breaker_config config = {.failures_max = 2};
    config.observer.on_event = note_number;
    make_breaker(&config);
}

static void opened_once(void)
{
    rsl_breaker_stats stats = stats_now();
    uint32_t failed = (uint32_t)count_results(FAILED), asked = 3 - (uint32_t)stats.refused;
    if (failed < 2) explore_check(stats.state == RSL_BREAKER_CLOSED, "one failure does not open");
    if (failed == asked && failed >= 2)
        explore_check(stats.state == RSL_BREAKER_OPEN, "two failures in a row open");
    explore_check(stats.opened == (stats.state == RSL_BREAKER_OPEN), "it opens once");
    if (stats.state == RSL_BREAKER_CLOSED) {
        explore_check(stats.failures <= 1 && stats.failures <= failed, "the streak is possible");
        explore_check(stats.failed == failed, "failures are counted");
        explore_check(failed == 0 || failed == 2 || asked == 3, "nobody was refused");
    }
    uint64_t events = stats.refused + stats.opened;
    explore_check(w.told_twice == 0 && w.told == (UINT64_C(2) << events) - 2, "events numbered");
    totals_are_exact(&stats, 3);
}

static void end_each_way(int id)
{
    if (!ask(id)) return;
    w.result[id] = -1;
    if (id == 0) answer(0, success_or_failure());
    if (id == 1) rsl_breaker_cancel(&w.breaker, &w.permit[1]);
    if (id == 2) answer(2, RSL_ECANCELED);
}

static void crowded_totals(void)
{
    rsl_breaker_config config = {.failures_max = 1};
    make_breaker(&config);
    for (uint32_t i = 0; i < RSL_BREAKER_SHARDS_; i++) w.breaker.shards_[i].owner = 1000 + i;
}

static void every_end_is_counted(void)
{
    rsl_breaker_stats stats = stats_now();
    uint64_t ignored = w.granted[2] != 0 && stats.opened == 0;
    explore_check(stats.succeeded == (uint64_t)(w.result[0] == 0), "the success");
    explore_check(stats.failed == (uint64_t)(w.result[0] == FAILED), "the failure");
    explore_check(stats.ignored == ignored || stats.opened == 1, "the ignored one");
    totals_are_exact(&stats, 3);
}

/* ---- force and reconfigure ---- */

static void one_failure_opens(void)
{
    rsl_breaker_config config = {.failures_max = 1, .open_for = A_WHILE};
    make_breaker(&config);
    explore_check(ask(0), "a call is let through");
}

static void report_or_force(int id)
{
    if (id == 0) answer(0, FAILED);
    if (id == 1) rsl_breaker_force(&w.breaker, RSL_BREAKER_DISABLED);
    if (id == 2) call(2, 0);
}

static void force_has_the_last_word(void)
{
    rsl_breaker_stats stats = stats_now();
    explore_check(stats.state == RSL_BREAKER_DISABLED, "a stale failure does not open");
    explore_check(stats.opened <= 1 && stats.in_flight == 0, "opened before, or not at all");
    explore_check(w.breaker.word_ >> 3 == 2 + stats.opened, "each change is a generation");
}

static void report_or_force_closed(int id)
{
    if (id == 0) answer(0, FAILED);
    if (id == 1) rsl_breaker_force(&w.breaker, RSL_BREAKER_CLOSED);
    if (id == 2) rsl_breaker_force(&w.breaker, RSL_BREAKER_FORCED_OPEN);
}

static void forced_in_some_order(void)
{
    rsl_breaker_stats stats = stats_now();
    bool legal = stats.state == RSL_BREAKER_CLOSED || stats.state == RSL_BREAKER_FORCED_OPEN;
    explore_check(legal && stats.failures == 0, "as the last force said");
    explore_check(w.breaker.word_ >> 3 == 3 + stats.opened, "each change is a generation");
    explore_check(ask(3) == (stats.state == RSL_BREAKER_CLOSED), "and so it lets through");
}

static void five_failures_open(void)
{
    make_breaker(NULL);
}

static void reconfigure_or_fail(int id)
{
    rsl_breaker_config config = {.failures_max = 3};
    if (id > 0) call(id, FAILED);
    else explore_check(rsl_breaker_reconfigure(&w.breaker, &config) == RSL_OK, "reconfigured");
}

static void third_failure_opens(void)
{
    rsl_breaker_stats stats = stats_now();
    explore_check(stats.state == RSL_BREAKER_CLOSED && stats.failures == 2, "two in a row");
    call(0, FAILED);
    explore_check(stats_now().state == RSL_BREAKER_OPEN, "the new number is in force");
}

static void more_probes_or_ask(int id)
{
    rsl_breaker_config config = {.open_for = A_WHILE, .probes_max = 2};
    if (id > 0) (void)ask(id);
    else explore_check(rsl_breaker_reconfigure(&w.breaker, &config) == RSL_OK, "reconfigured");
}

static void two_probes_at_most(void)
{
    int granted = count_granted(RSL_BREAKER_HALF_OPEN);
    explore_check(granted >= 1 && granted <= 2, "as many probes as the numbers allow");
    explore_check(w.breaker.probing_ == (uint32_t)granted, "each probe has a place");
    explore_check(ask(3) == (granted == 1), "the new number is in force");
}

static void time_or_call(int id)
{
    rsl_breaker_config config = {.slow_after = A_WHILE};
    if (id == 1) call(1, 0);
    else if (id == 2) call(2, FAILED);
    else explore_check(rsl_breaker_reconfigure(&w.breaker, &config) == RSL_OK, "reconfigured");
}

/* ---- calls in flight ---- */

static void nobody_flies(void)
{
    for (uint32_t i = 0; i < RSL_BREAKER_FLIGHTS_; i++)
        explore_check(w.breaker.flights_[i].start == 0, "no place is taken by who has returned");
}

static void timed_calls_are_even(void)
{
    rsl_breaker_stats stats = stats_now();
    nobody_flies();
    w.granted[0] = 1;
    totals_are_exact(&stats, 2);
    explore_check(stats.succeeded == 1 && stats.failed == 1, "totals are exact");
    explore_check(stats.calls <= 1, "a streak of one, or none");
}

static void make_timed(void)
{
    rsl_breaker_config config = {.window = RSL_WINDOW_COUNT, .slow_after = A_WHILE};
    make_breaker(&config);
}

static void make_crowded_timed(void)
{
    make_timed();
    for (uint32_t i = 0; i < RSL_BREAKER_SHARDS_; i++) w.breaker.shards_[i].owner = 1000 + i;
}

static void hang_or_call(int id)
{
    if (id == 0) (void)ask(0);
    else call(id, id == 1 ? 0 : FAILED);
}

static void hanging_call_is_seen(void)
{
    uint32_t others = (uint32_t)explore_.scenario->threads - 1;
    rsl_breaker_stats stats = stats_now();
    explore_check(stats.calls == others && stats.slow == 0, "not slow yet");
    explore_check(stats.in_flight == 1, "one is in flight");
    explore_pass_time(A_WHILE);
    stats = stats_now();
    explore_check(stats.calls == others + 1 && stats.slow == 1, "it counts before it returns");
    answer(0, 0);
    stats = stats_now();
    explore_check(stats.calls == others + 1 && stats.slow == 1, "and once when it has returned");
    nobody_flies();
}

/* Its hanging alone opens the circuit. */
static void make_timed_for_one(void)
{
    rsl_breaker_config config = {.window = RSL_WINDOW_COUNT, .slow_after = A_WHILE};
    config.calls_min = 1;
    config.slow_rate = 0.3;
    make_breaker(&config);
    explore_check(ask(0), "a call is let through");
    explore_pass_time(A_WHILE / 2);
}

static void return_or_notice(int id)
{
    if (id == 0) answer(0, 0);
    if (id == 1) explore_pass_time(A_WHILE / 2);
    if (id == 1 || id == 2) call(id, 0);
}

static void slow_call_counted_once(void)
{
    rsl_breaker_stats stats = stats_now();
    nobody_flies();
    bool closed = stats.state == RSL_BREAKER_CLOSED;
    explore_check(closed || stats.state == RSL_BREAKER_OPEN, "closed, or opened by the slow call");
    explore_check(!closed || (stats.calls == 3 && stats.slow <= 1), "counted once");
    explore_check(!closed || stats.slow == 0, "one slow call of three opens it");
    explore_check(closed || stats.opened == 1, "opened once");
    totals_are_exact(&stats, 3);
}

/* ---- planted bugs ---- */

/* A probe counter that looks, then adds. */
static void check_then_add(int id)
{
    (void)id;
    if (rsl_load_(&w.counter) >= 2) return;
    rsl_add_relaxed_(&w.counter, 1);
    w.probed++;
}

static void plain_world(void)
{
    memset(&w, 0, sizeof w);
}

static void two_were_let_through(void)
{
    explore_check(w.probed == 2, "never more probes than permits");
}

/* A breaker in three words: the generation, the number of its window, and what the window counts.
   A change of state takes a new generation, then a new window. */
static void small_world(void)
{
    plain_world();
    rsl_lock_init_(&w.lock);
}

static void change_small_world(void)
{
    rsl_lock_take_(&w.lock);
    rsl_store_(&w.generation, 1);
    rsl_store_(&w.window, 1);
    w.counted[1] = 0;
    rsl_lock_drop_(&w.lock);
}

/* The success that takes no lock, with the two loads of [ORDER] the wrong way round. */
static void succeed_out_of_order(int id)
{
    if (id > 0) {
        change_small_world();
        return;
    }
    if (rsl_load_(&w.generation) == 0) w.counted[rsl_load_(&w.window)]++;
}

/* Compares the generation, then takes the lock. */
static void fail_too_late(int id)
{
    if (id > 0) {
        change_small_world();
        return;
    }
    if (rsl_load_(&w.generation) != 0) return;
    rsl_lock_take_(&w.lock);
    w.counted[rsl_load_(&w.window)]++;
    rsl_lock_drop_(&w.lock);
}

static void new_window_is_empty(void)
{
    explore_check(w.counted[1] == 0, "a result of the generation before counts nowhere");
}

/* A total that is loaded and stored by two threads. */
static void count_without_owner(int id)
{
    (void)id;
    rsl_store_relaxed_(&w.counter, rsl_load_relaxed_(&w.counter) + 1);
}

static void three_were_counted(void)
{
    explore_check(w.counter == 3, "nothing is lost");
}

static const explore_scenario scenarios[] = {
    {"three race for two probes", 3, two_probes_soon, ask_alone, all_probes_are_out, 0, false},
    {"four race for three probes", 4, three_probes_soon, ask_alone, all_probes_are_out, 2, false},
    {"two race for one probe", 2, one_probe_soon, ask_alone, all_probes_are_out, 4, false},
    {"three race for two probes and report success or failure", 3, two_probes_soon, call_somehow,
     probes_decided, 2, false},
    {"open becomes half-open once, whoever looks", 3, one_probe_soon, look_or_ask,
     became_half_open_once, 0, false},
    {"a probe is reported while it is given up as lost", 2, one_probe_out,
     report_late_or_take_over, one_probe_counted, 4, false},
    {"a probe is reported while it is given up as lost, with a third that looks", 3,
     one_probe_out, report_late_or_take_over, one_probe_counted, 2, false},
    {"a cancelled probe gives its permit to one", 3, one_probe_out, cancel_or_take_over,
     still_half_open, 0, false},
    {"an earlier generation's result counts in no streak", 2, consecutive_window,
     report_or_change, stale_result_is_nowhere, 4, false},
    {"an earlier generation's result counts in no count window", 2, count_window,
     report_or_change, stale_result_is_nowhere, 4, false},
    {"an earlier generation's result counts in no time window", 2, time_window, report_or_change,
     stale_result_is_nowhere, 4, false},
    {"an earlier generation's result does not get into a streak cleared at once", 2,
     consecutive_window, report_or_clear, stale_result_is_nowhere, 4, false},
    {"an earlier generation's result does not get into a count window cleared at once", 2,
     count_window, report_or_clear, stale_result_is_nowhere, 4, false},
    {"an earlier generation's result does not get into a time window cleared at once", 2,
     time_window, report_or_clear, stale_result_is_nowhere, 4, false},
    {"a streak is that of its generation, with a new call", 3, consecutive_window,
     report_or_change, only_this_generation_counts, 2, false},
    {"a count window is that of its generation, with a new call", 3, count_window,
     report_or_change, only_this_generation_counts, 2, false},
    {"a time window is that of its generation, with a new call", 3, time_window,
     report_or_change, only_this_generation_counts, 2, false},
    {"a result while the time window gets another span counts nowhere", 2, time_window,
     report_or_respan, stale_result_is_nowhere, 4, false},
    {"a count window is exact after three calls", 3, count_window_of_three, call_somehow,
     three_are_in_the_window, 2, false},
    {"a full count window is exact after three calls", 3, full_count_window_of_two, call_somehow,
     sums_are_those_of_the_ring, 2, false},
    {"a time window is exact after calls while time passes", 3, make_time_window,
     call_while_time_passes, all_are_in_the_window, 2, false},
    {"a time window is exact in a shard that all share", 3, make_crowded_time_window,
     call_while_time_passes, all_are_in_the_window, 2, false},
    {"a time window is exact with threads that want one shard", 2, make_colliding_time_window,
     call_while_time_passes, all_are_in_the_window, 2, false},
    {"a streak opens once, and its events are numbered", 3, two_failures_open, call_somehow,
     opened_once, 2, false},
    {"totals are exact however a call ends", 3, five_failures_open, end_each_way,
     every_end_is_counted, 0, false},
    {"totals are exact in a shard that all share", 3, crowded_totals, end_each_way,
     every_end_is_counted, 2, false},
    {"a failure does not undo a force", 3, one_failure_opens, report_or_force,
     force_has_the_last_word, 0, false},
    {"a failure and two forces end as the last force said", 3, one_failure_opens,
     report_or_force_closed, forced_in_some_order, 0, false},
    {"failures are not lost by new numbers", 3, five_failures_open, reconfigure_or_fail,
     third_failure_opens, 0, false},
    {"probes move to a bigger place while they are asked for", 3, one_probe_soon,
     more_probes_or_ask, two_probes_at_most, 0, false},
    {"timing is switched on while calls are under way", 3, five_failures_open, time_or_call,
     timed_calls_are_even, 2, false},
    {"a hanging call is seen, and leaves no place taken", 2, make_timed, hang_or_call,
     hanging_call_is_seen, 0, false},
    {"a hanging call is seen among three", 3, make_timed, hang_or_call, hanging_call_is_seen, 1,
     false},
    {"a hanging call is seen in a place that all share", 2, make_crowded_timed, hang_or_call,
     hanging_call_is_seen, 2, false},
    {"a call turns slow while it returns and others look", 3, make_timed_for_one,
     return_or_notice, slow_call_counted_once, 2, false},
    {"a planted check, then add, of probes", 3, plain_world, check_then_add, two_were_let_through,
     0, true},
    {"a planted success that looks at the window last", 2, small_world, succeed_out_of_order,
     new_window_is_empty, 0, true},
    {"a planted failure that compares before it locks", 2, small_world, fail_too_late,
     new_window_is_empty, 0, true},
    {"a planted total with two writers", 3, plain_world, count_without_owner, three_were_counted,
     0, true},
};

int main(void)
{
    explore_start();
    for (size_t i = 0; i < RSL_COUNT(scenarios); i++) explore(&scenarios[i]);
    return explore_finish();
}
