/* report_tasks.c -- the tables of tasks and of the overload. Rules: docs/bench.md.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "report.h"

#include <math.h>

/* On the machine that the goals were set on. */
static const double RATE_GOAL = 15e6;      /* tasks in a second */
static const double TIMES_FASTER = 3;      /* than any pool of C or C++ */
static const double ASSISTED_P50_GOAL = 250, P50_GOAL = 1000; /* ns */
static const double GUARDED_GOAL = 0.9, BARE_GOAL = 0.3; /* of the capacity */

static const char *const scenes[BENCH_SCENES] = {"back to back", "after a rest",
                                                 "one busy producer"};

/* Where the producer runs tasks itself, not all of them go through a queue to others: such rates
   are shown, but neither judged nor held against anybody. */
static bool is_queue(const bench_task_result *t)
{
    return !t->assisted;
}

static double best_rate(const bench_notes *notes, int producers)
{
    double best = 0;
    for (size_t i = 0; i < notes->task_count; i++) {
        const bench_task_result *t = &notes->tasks[i];
        if (t->ours || !t->compiled || !is_queue(t)) continue;
        best = fmax(best, t->rate[producers - 1]);
    }
    return best;
}

static void print_rates(FILE *out, const bench_notes *notes)
{
    fprintf(out, "\n| %-52s | 1 producer, M/s | 2 producers, M/s | x C, C++ |      |\n"
                 "|:%.53s|----------------:|-----------------:|---------:|-----:|\n",
            "empty tasks to 2 threads through a queue of 1024",
            "-----------------------------------------------------");
    for (size_t i = 0; i < notes->task_count; i++) {
        const bench_task_result *t = &notes->tasks[i];
        if (t->rate[0] <= 0) continue;
        fprintf(out, "| %-52s | %15.2f | %16.2f |", t->title, t->rate[0] / 1e6,
                t->rate[1] / 1e6);
        if (t->ours) {
            fprintf(out, " %8.1f | %4.1f |\n", t->rate[0] / best_rate(notes, 1),
                    t->rate[1] / best_rate(notes, 2));
        } else {
            fprintf(out, " %8s | %4s |\n", "", "");
        }
    }
}

static void print_latencies(FILE *out, const bench_notes *notes)
{
    fprintf(out, "\n| %-52s |", "from submit to done, us: p50 / p99");
    for (int scene = 0; scene < BENCH_SCENES; scene++) fprintf(out, " %-19s |", scenes[scene]);
    fprintf(out, "\n|:%.53s|", "-----------------------------------------------------");
    for (int scene = 0; scene < BENCH_SCENES; scene++) fputs("--------------------:|", out);
    fputs("\n", out);
    for (size_t i = 0; i < notes->task_count; i++) {
        const bench_task_result *t = &notes->tasks[i];
        if (t->p50[BENCH_IDLE] <= 0) continue;
        fprintf(out, "| %-37s %14s |", t->title, t->assisted ? "(waiter helps)" : "");
        for (int scene = 0; scene < BENCH_SCENES; scene++) {
            fprintf(out, " %8.2f / %8.2f |", t->p50[scene] / 1e3, t->p99[scene] / 1e3);
        }
        fputs("\n", out);
    }
}

static void print_overload(FILE *out, const bench_notes *notes)
{
    fprintf(out, "\nA service that answers %.0f requests in a second is offered %.0f.\n\n",
            notes->service.capacity, notes->service.offered);
    fprintf(out, "| %-45s | goodput %% | after %% | p50 ms | p99 ms | refused %% | late %% | "
                 "wasted %% | limit |\n"
                 "|:%.46s|----------:|--------:|-------:|-------:|----------:|-------:|"
                 "---------:|------:|\n", "overload, 3 x the capacity",
            "----------------------------------------------");
    for (size_t i = 0; i < notes->overload_count; i++) {
        const bench_overload *o = &notes->overloads[i];
        fprintf(out, "| %-45s | %9.1f | %7.1f | %6.1f | %6.1f | %9.1f | %6.1f | %8.1f |",
                o->title, 100 * o->goodput, 100 * o->after, o->p50 / 1e6, o->p99 / 1e6,
                100 * o->refused, 100 * o->late, 100 * o->wasted);
        if (o->limit > 0) fprintf(out, " %5.1f |\n", o->limit);
        else fprintf(out, " %5s |\n", "-");
    }
}

void bench_print_tasks(FILE *out, const bench_notes *notes)
{
    if (notes->task_count > 0) {
        print_rates(out, notes);
        print_latencies(out, notes);
    }
    if (notes->overload_count > 0) print_overload(out, notes);
}

static bool is_met(bench_verdict *verdict, bool met)
{
    verdict->goals++;
    verdict->missed += !met;
    return met;
}

static void judge_rate(FILE *out, const bench_notes *notes, const bench_task_result *t,
                       double speed, bench_verdict *verdict)
{
    for (int producers = 1; producers <= BENCH_PRODUCERS_MAX; producers++) {
        double rate = t->rate[producers - 1], rival = best_rate(notes, producers);
        if (!is_met(verdict, rate >= RATE_GOAL / speed)) {
            fprintf(out, "- missed: %s, %d producer(s): %.1f M/s, goal here %.1f M/s\n",
                    t->title, producers, rate / 1e6, RATE_GOAL / speed / 1e6);
        }
        if (!is_met(verdict, rate >= TIMES_FASTER * rival)) {
            fprintf(out, "- missed: %s, %d producer(s): %.1f times the best of C and C++, goal "
                         "%.0f\n", t->title, producers, rate / rival, TIMES_FASTER);
        }
    }
}

/* The least p99 of those whose waiters do as much. */
static const bench_task_result *quickest(const bench_notes *notes, bool assisted, int scene)
{
    const bench_task_result *best = NULL;
    for (size_t i = 0; i < notes->task_count; i++) {
        const bench_task_result *t = &notes->tasks[i];
        if (t->ours || t->p99[scene] <= 0 || (t->assisted && !assisted)) continue;
        if (best == NULL || t->p99[scene] < best->p99[scene]) best = t;
    }
    return best;
}

static void judge_latency(FILE *out, const bench_notes *notes, const bench_task_result *t,
                          double speed, bench_verdict *verdict)
{
    double goal = (t->assisted ? ASSISTED_P50_GOAL : P50_GOAL) * speed;
    if (!is_met(verdict, t->p50[BENCH_IDLE] <= goal)) {
        fprintf(out, "- missed: %s, from submit to done: p50 %.2f us, goal here %.2f us\n",
                t->title, t->p50[BENCH_IDLE] / 1e3, goal / 1e3);
    }
    for (int scene = 0; scene < BENCH_SCENES; scene++) {
        const bench_task_result *rival = quickest(notes, t->assisted, scene);
        if (rival == NULL || is_met(verdict, t->p99[scene] <= rival->p99[scene])) continue;
        fprintf(out, "- missed: %s, %s: p99 %.2f us, %s %.2f us\n", t->title, scenes[scene],
                t->p99[scene] / 1e3, rival->title, rival->p99[scene] / 1e3);
    }
}

void bench_judge_tasks(FILE *out, const bench_notes *notes, double speed, bench_verdict *verdict)
{
    for (size_t i = 0; i < notes->task_count; i++) {
        const bench_task_result *t = &notes->tasks[i];
        if (t->ours && t->rate[0] > 0 && is_queue(t)) judge_rate(out, notes, t, speed, verdict);
        if (t->ours && t->p50[0] > 0) judge_latency(out, notes, t, speed, verdict);
    }
    for (size_t i = 0; i < notes->overload_count; i++) {
        const bench_overload *o = &notes->overloads[i];
        if (o->aside) continue;
        bool met = o->limit > 0 ? o->goodput >= GUARDED_GOAL : o->goodput < BARE_GOAL;
        if (is_met(verdict, met)) continue;
        fprintf(out, "- missed: overload, %s: goodput %.1f %%, goal %s %.0f %%\n", o->title,
                100 * o->goodput, o->limit > 0 ? "at least" : "below",
                100 * (o->limit > 0 ? GUARDED_GOAL : BARE_GOAL));
    }
}
