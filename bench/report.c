/* report.c -- the tables, in Markdown that also reads well on a terminal. Rules: docs/bench.md.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* For a comparison of two figures of the same run that both hold noise. */
static const double NOISE = 1.05;

typedef struct report {
    FILE               *out;
    bench_style         style;
    const bench_result *results;
    size_t              count;
    const bench_notes *notes;
    int                 columns; /* of the table that is being printed or judged */
    double              speed; /* how many times slower this machine is than the goals' one */
    bench_verdict       verdict;
} report;

/* Rows that all do the same, ours and rivals', in a table of their own: pools, permits. */
typedef struct family {
    bench_group ours, rivals;
    const char *head;
    const char *floors[3]; /* shown first; ratios are taken to the first of them */
    int         enough;    /* up to so many threads all find what they ask for */
} family;

static const family families[] = {
    {BENCH_POOLS, BENCH_POOL_RIVALS, "pool of 10, acquire + release", {"cas_pair"},
     BENCH_RESOURCES},
    {BENCH_PERMITS, BENCH_PERMIT_RIVALS, "bulkhead of 100, a permit is taken and left",
     {"cas_pair", "add_pair", "limited_pair"}, 4},
};

static const bench_result *find(const report *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->results[i].row->name, name) == 0) return &r->results[i];
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What is judged. At one thread other programs can only make a round slower: the least is what
   the code costs. With more, a round in which a thread was kept away may be faster, for nobody
   contended with the rest: the median. */
static double figure(const bench_result *result, int column)
{
    return column == 0 ? result->least[0] : result->median[column];
}

/* The median over five operations of different kind, so that one odd figure does not move it. */
static double machine_speed(const report *r)
{
    static const char *const names[] = {"bare_call", "fetch_add", "cas_loop", "clock_coarse",
                                        "clock_precise"};
    double ratios[RSL_COUNT(names)];
    for (size_t i = 0; i < RSL_COUNT(names); i++) {
        const bench_result *floor = find(r, names[i]);
        ratios[i] = figure(floor, 0) / floor->row->reference;
    }
    qsort(ratios, RSL_COUNT(names), sizeof *ratios, by_size);
    return ratios[RSL_COUNT(names) / 2];
}

/* What the row's parts cost here, each on its own. */
static double floor_of(const report *r, const bench_row *row, int column)
{
    double sum = 0;
    for (int i = 0; i < BENCH_PARTS_MAX && row->parts[i] != NULL; i++) {
        sum += figure(find(r, row->parts[i]), column);
    }
    return sum;
}

/* The goal as this machine can be held to it: parts as measured here, the rest by its speed. */
static double scaled_goal(const report *r, const bench_row *row)
{
    double reference = 0;
    for (int i = 0; i < BENCH_PARTS_MAX && row->parts[i] != NULL; i++) {
        reference += find(r, row->parts[i])->row->reference;
    }
    return floor_of(r, row, 0) + (row->goal - reference) * r->speed;
}

/* With more threads a call may cost what it costs with one, and what writers of one shared line
   have to pay to each other if it writes one. */
static double allowed_at(const report *r, const bench_result *result, int column)
{
    const bench_row *row = result->row;
    if (row->goal_many > 0) return row->goal_many * r->speed;
    double allowed = figure(result, 0) * NOISE;
    for (int i = 0; i < BENCH_PARTS_MAX && row->parts[i] != NULL; i++) {
        if (strcmp(row->parts[i], "fetch_add") != 0) continue;
        const bench_result *line = find(r, "fetch_add_spaced");
        double more = figure(line, column) - figure(line, 0);
        if (more > 0) allowed += more;
    }
    return allowed;
}

static void print_instructions(const report *r, const bench_result *result)
{
    if (result->instructions < 0) {
        fprintf(r->out, " %6s |", "-");
    } else {
        fprintf(r->out, " %6.1f |", result->instructions);
    }
}

/* Is the least left out of this column? */
static int narrow(const report *r, int column)
{
    return r->style == BENCH_RATIOS || (r->style == BENCH_MEDIANS && column > 0);
}

static void print_times(const report *r, const bench_result *result)
{
    fprintf(r->out, "| %-52s |", result->row->title);
    for (int column = 0; column < r->columns; column++) {
        fprintf(r->out, " %11.1f", result->median[column]);
        if (!narrow(r, column)) fprintf(r->out, " (%5.1f)", result->least[column]);
        fputs(" |", r->out);
    }
}

static void print_head(const report *r, const char *title, const char *rest, const char *rule)
{
    const char *spaces[] = {"        ", ""}, *dashes[] = {"--------", ""};
    fprintf(r->out, "\n| %-52s |", title);
    for (int column = 0; column < r->columns; column++) {
        const char *unit = column == 0 ? " thread" : "threads";
        fprintf(r->out, " %3d %s%s |", bench_columns[column], unit, spaces[narrow(r, column)]);
    }
    fprintf(r->out, "%s\n|:%.53s|", rest, "-----------------------------------------------------");
    for (int column = 0; column < r->columns; column++) {
        fprintf(r->out, "------------%s:|", dashes[narrow(r, column)]);
    }
    fprintf(r->out, "%s\n", rule);
}

static void print_floors(const report *r)
{
    print_head(r, "floor", " instr. | goals' machine |", "-------:|---------------:|");
    for (size_t i = 0; i < r->count; i++) {
        const bench_result *result = &r->results[i];
        if (result->group != BENCH_FLOORS) continue;
        print_times(r, result);
        print_instructions(r, result);
        if (result->row->reference > 0) fprintf(r->out, " %14.1f |\n", result->row->reference);
        else fprintf(r->out, " %14s |\n", "-");
    }
}

static bool has(const report *r, bench_group group)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->results[i].group == group) return true;
    }
    return false;
}

static void print_ours(const report *r)
{
    print_head(r, "library", " instr. | x floor | goal | goal here |        |",
               "-------:|--------:|-----:|----------:|:-------|");
    for (size_t i = 0; i < r->count; i++) {
        const bench_result *result = &r->results[i];
        if (result->group != BENCH_OURS) continue;
        print_times(r, result);
        print_instructions(r, result);
        fprintf(r->out, " %7.1f |", figure(result, 0) / floor_of(r, result->row, 0));
        if (result->row->goal > 0) {
            double goal = scaled_goal(r, result->row);
            fprintf(r->out, " %4.1f | %9.1f | %-6s |\n", result->row->goal, goal,
                    figure(result, 0) <= goal ? "met" : "missed");
        } else {
            fprintf(r->out, " %4s | %9s | %-6s |\n", "-", "-", "");
        }
    }
}

static void print_rivals(const report *r)
{
    print_head(r, "rival", " instr. |", "-------:|");
    for (size_t i = 0; i < r->count; i++) {
        if (r->results[i].group != BENCH_RIVALS) continue;
        print_times(r, &r->results[i]);
        print_instructions(r, &r->results[i]);
        fputs("\n", r->out);
    }

    report ratios = *r;
    ratios.style = BENCH_RATIOS;
    print_head(&ratios, "times faster than its rival", "", "");
    for (size_t i = 0; i < r->count; i++) {
        const bench_result *result = &r->results[i];
        const bench_result *rival = result->row->rival ? find(r, result->row->rival) : NULL;
        if (rival == NULL) continue;
        fprintf(r->out, "| %-52s |", result->row->title);
        for (int column = 0; column < r->columns; column++) {
            fprintf(r->out, " %11.1f |", figure(rival, column) / figure(result, column));
        }
        fputs("\n", r->out);
    }
}

static bool is_of(const family *f, const bench_result *result)
{
    return result->group == f->ours || result->group == f->rivals;
}

/* Is it the rival of certain rows alone, or of none? */
static bool is_apart(const report *r, const bench_result *rival)
{
    for (size_t i = 0; i < r->count; i++) {
        const char *name = r->results[i].row->rival;
        if (name != NULL && strcmp(name, rival->row->name) == 0) return true;
    }
    return rival->row->apart;
}

/* The quickest of all at this number of threads, in whatever language; NULL: none was measured. */
static const bench_result *best_rival(const report *r, const family *f, int column)
{
    const bench_result *best = NULL;
    for (size_t i = 0; i < r->count; i++) {
        const bench_result *result = &r->results[i];
        if (result->group != f->rivals || is_apart(r, result)) continue;
        if (best == NULL || figure(result, column) < figure(best, column)) best = result;
    }
    return best;
}

/* Whom a row must beat: the rival that it names, for that one does the same work, else all. */
static const bench_result *family_rival(const report *r, const family *f,
                                        const bench_result *result, int column)
{
    const bench_result *named = result->row->rival ? find(r, result->row->rival) : NULL;
    return named != NULL ? named : best_rival(r, f, column);
}

static void print_family_ratios(const report *r, const family *f)
{
    print_head(r, "times the bare CAS pair", "", "");
    const bench_result *floor = find(r, f->floors[0]);
    for (size_t i = 0; i < r->count; i++) {
        const bench_result *result = &r->results[i];
        if (!is_of(f, result)) continue;
        fprintf(r->out, "| %-52s |", result->row->title);
        for (int column = 0; column < r->columns; column++) {
            fprintf(r->out, " %11.1f |", figure(result, column) / figure(floor, column));
        }
        fputs("\n", r->out);
    }
    if (best_rival(r, f, 0) == NULL) return;

    print_head(r, "times faster than the fastest rival with the same", "", "");
    for (size_t i = 0; i < r->count; i++) {
        const bench_result *result = &r->results[i];
        if (result->group != f->ours) continue;
        fprintf(r->out, "| %-52s |", result->row->title);
        for (int column = 0; column < r->columns; column++) {
            double rival = figure(family_rival(r, f, result, column), column);
            fprintf(r->out, " %11.1f |", rival / figure(result, column));
        }
        fputs("\n", r->out);
    }
    fputs("\nFastest rivals:", r->out);
    for (int column = 0; column < r->columns; column++) {
        const bench_result *rival = best_rival(r, f, column);
        fprintf(r->out, "%s %d thread%s %s (%.1f ns)", column == 0 ? "" : ",",
                bench_columns[column], column == 0 ? "" : "s", rival->row->title,
                figure(rival, column));
    }
    fputs(".\n", r->out);
}

static void print_family_row(const report *r, const bench_result *result)
{
    print_times(r, result);
    print_instructions(r, result);
    if (result->operations == 0) {
        fprintf(r->out, " %6s |\n", "-");
    } else {
        fprintf(r->out, " %6.2f |\n", (double)result->allocations / (double)result->operations);
    }
}

static void print_family(const report *r, const family *f)
{
    if (!has(r, f->ours) && !has(r, f->rivals)) return;
    print_head(r, f->head, " instr. | alloc. |", "-------:|-------:|");
    for (size_t i = 0; i < RSL_COUNT(f->floors) && f->floors[i] != NULL; i++) {
        print_family_row(r, find(r, f->floors[i]));
    }
    for (size_t i = 0; i < r->count; i++) {
        if (is_of(f, &r->results[i])) print_family_row(r, &r->results[i]);
    }
    report ratios = *r;
    ratios.style = BENCH_RATIOS;
    print_family_ratios(&ratios, f);
}

static void print_handoffs(const report *r)
{
    for (int crowd = 0; crowd < BENCH_CROWDS; crowd++) {
        const bench_crowd *c = &bench_crowds[crowd];
        fprintf(r->out, "\n| hand-off, %2d threads on %d resources held for 20 us     |"
                        "    p50 us |    p99 us | handed %% | wait p99 us | longest us |"
                        " pairs per ms |\n"
                        "|:-------------------------------------------------------|"
                        "----------:|----------:|---------:|------------:|-----------:|"
                        "-------------:|\n",
                c->threads, c->resources);
        for (size_t i = 0; i < r->notes->handoff_count; i++) {
            const bench_handoff *h = &r->notes->handoffs[i];
            if (h->threads != c->threads || h->resources != c->resources) continue;
            fprintf(r->out, "| %-54s | %9.1f | %9.1f | %8.1f | %11.0f | %10.0f | %12.1f |\n",
                    h->title, h->p50 / 1e3, h->p99 / 1e3, 100 * h->handed, h->wait_p99 / 1e3,
                    h->wait_most / 1e3, h->rate / 1e3);
        }
    }
}

static void judge(report *r, const bench_result *result, int column, double allowed,
                  const char *what)
{
    r->verdict.goals++;
    if (figure(result, column) <= allowed) return;
    r->verdict.missed++;
    fprintf(r->out, "- missed: %s, %d thread%s: %.1f ns, %s %.1f ns\n", result->row->title,
            bench_columns[column], column == 0 ? "" : "s", figure(result, column), what, allowed);
}

static void judge_calls(report *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const bench_result *result = &r->results[i];
        const bench_row *row = result->row;
        const bench_result *rival = row->rival ? find(r, row->rival) : NULL;
        if (result->group != BENCH_OURS) continue;
        if (row->goal > 0) judge(r, result, 0, scaled_goal(r, row), "goal here");
        for (int column = 0; column < r->columns; column++) {
            if (column > 0) judge(r, result, column, allowed_at(r, result, column), "allowed");
            if (rival != NULL) judge(r, result, column, figure(rival, column), "its rival");
        }
    }
}

static void judge_family(report *r, const family *f)
{
    for (size_t i = 0; i < r->count; i++) {
        const bench_result *result = &r->results[i];
        const bench_row *row = result->row;
        if (result->group != f->ours) continue;
        if (row->floors_max > 0) {
            judge(r, result, 0, row->floors_max * floor_of(r, row, 0), "goal here");
        }
        if (row->goal > 0) judge(r, result, 0, row->goal * r->speed, "goal here");
        for (int column = 0; column < r->columns; column++) {
            bool enough = bench_columns[column] <= f->enough;
            if (column > 0 && row->goal_many > 0 && enough) {
                judge(r, result, column, row->goal_many * r->speed, "goal here");
            }
            const bench_result *rival = family_rival(r, f, result, column);
            if (rival == NULL || row->apart) continue;
            judge(r, result, column, figure(rival, column), rival->row->title);
        }
    }
}

static void print_verdict(report *r)
{
    fputs("\n", r->out);
    r->columns = BENCH_CALL_COLUMNS;
    judge_calls(r);
    r->columns = BENCH_COLUMNS;
    for (size_t i = 0; i < RSL_COUNT(families); i++) judge_family(r, &families[i]);
    bench_judge_tasks(r->out, r->notes, r->speed, &r->verdict);
    fprintf(r->out, "- goals met: %d of %d\n", r->verdict.goals - r->verdict.missed,
            r->verdict.goals);
    for (size_t i = 0; i < r->notes->missing_count; i++) {
        fprintf(r->out, "- left out: %s\n", r->notes->missing[i]);
    }
}

static void print_machine(const report *r, const bench_totals *totals)
{
    char line[256], model[256] = "unknown processor";
    double load = 0;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "model name : %255[^\n]", model) == 1) break;
    }
    if (file != NULL) fclose(file);
    if (getloadavg(&load, 1) != 1) load = 0;
    fprintf(r->out, "%s, %ld processors, load %.1f; compiler %s.\n", model,
            sysconf(_SC_NPROCESSORS_ONLN), load, __VERSION__);
    fprintf(r->out,
            "ns per call over all threads: the median of %d rounds of %d ms (the least).\n"
            "Judged are the least at 1 thread and the median at more.\n"
            "This machine takes %.2f times as long as the one that the goals were set on.\n",
            totals->rounds, totals->round_ms, r->speed);
}

void bench_print(FILE *out, bench_style style, const bench_result *results, size_t count,
                 const bench_notes *notes, const bench_totals *totals)
{
    report r = {.out = out, .style = style, .results = results, .count = count, .notes = notes};
    r.speed = machine_speed(&r);
    r.columns = BENCH_CALL_COLUMNS;
    print_machine(&r, totals);
    print_floors(&r);
    if (has(&r, BENCH_OURS)) print_ours(&r);
    if (has(&r, BENCH_RIVALS)) print_rivals(&r);
    r.columns = BENCH_COLUMNS;
    print_family(&r, &families[0]);
    if (notes->handoff_count > 0) print_handoffs(&r);
    print_family(&r, &families[1]);
    bench_print_tasks(out, notes);
    print_verdict(&r);
    fprintf(out, "- allocations in %.0f million measured calls: %llu (through RSL_MALLOC: %llu)\n",
            (double)totals->operations / 1e6, (unsigned long long)totals->allocations,
            (unsigned long long)totals->hook_calls);
    if (totals->disturbed != 0) {
        fprintf(out, "- NOT QUIET: other programs took a processor in %d rounds; at more than one "
                     "thread these figures tell little\n", totals->disturbed);
    }
    if (totals->unexpected != 0) {
        fprintf(out, "- NOT VALID: %llu unexpected results, the first in row %s\n",
                (unsigned long long)totals->unexpected, totals->culprit);
    }
}
