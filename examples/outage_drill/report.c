/* SPDX-License-Identifier: MIT
   report.c: what the drill says in the terminal: a line of progress, then tables. */
#include "drill.h"

#include <string.h>
#include <unistd.h>

/* ---- progress ---- */

static const char *circuit_of(run *r)
{
    static const char *const names[] = {"closed", "open", "half-open"};
    if (!r->guarded) return "";
    rsl_breaker_state state = rsl_breaker_state_get(&r->guard->breaker);
    return (size_t)state < RSL_COUNT(names) ? names[state] : "forced";
}

static void progress_line(run *r, const char *before, const char *after)
{
    int now = atomic_load(&r->fault_now);
    uint32_t counts[OUTCOMES];
    for (int i = 0; i < OUTCOMES; i++) counts[i] = atomic_load(&r->answers[i]);
    fprintf(stderr, "%s%-7s %4.1f s %-12s  ok %4u late %2u failed %4u queued %4u  %-9s%s", before,
            r->name, (double)run_time(r) / (double)RSL_SEC(1), now < FAULTS ? FAULT[now].name : "",
            counts[IN_TIME], counts[LATE], counts[FAILED], counts[QUEUED], circuit_of(r), after);
    fflush(stderr);
}

/* On a terminal one line, within 80 columns, that changes ten times a second; elsewhere a line
   every two seconds. */
void *progress_main(void *arg)
{
    run *r = arg;
    bool terminal = isatty(STDERR_FILENO);
    rsl_time step = terminal ? TENTH : RSL_SEC(2), next = step;
    while (!atomic_load(&r->done) && run_sleep_until(r, run_time(r) + TENTH / 2)) {
        if (run_time(r) < next || atomic_load(&r->done)) continue;
        next += step;
        progress_line(r, terminal ? "\r" : "", terminal ? "" : "\n");
    }
    progress_line(r, terminal ? "\r" : "", "\n");
    return NULL;
}

/* ---- figures ---- */

static void time_text(char to[48], rsl_time span)
{
    double ms = (double)span / (double)RSL_MS(1);
    if (span < 0) snprintf(to, 48, "not in this run");
    else if (span == 0) snprintf(to, 48, "0 ms");
    else if (ms < 10) snprintf(to, 48, "%.1f ms", ms);
    else if (ms < 1000) snprintf(to, 48, "%.0f ms", ms);
    else snprintf(to, 48, "%.2f s", ms / 1000);
}

/* sign > 0: more is better; < 0: less is; 0: not to be judged. */
static int better_of(double bare, double guarded, int sign)
{
    if (sign == 0 || bare == guarded) return -1;
    return (guarded > bare) == (sign > 0);
}

static void count_figure(figure *f, const char *name, uint32_t bare, uint32_t guarded, int sign)
{
    f->name = name;
    snprintf(f->value[0], sizeof f->value[0], "%u", bare);
    snprintf(f->value[1], sizeof f->value[1], "%u", guarded);
    f->better = better_of(bare, guarded, sign);
}

static void time_figure(figure *f, const char *name, rsl_time bare, rsl_time guarded)
{
    f->name = name;
    time_text(f->value[0], bare);
    time_text(f->value[1], guarded);
    double never = 1e18;
    bool same = strcmp(f->value[0], f->value[1]) == 0; /* as far as it is shown */
    f->better = better_of(bare < 0 ? never : (double)bare, guarded < 0 ? never : (double)guarded,
                          same ? 0 : -1);
}

static void bulkhead_figure(figure *f, const char *name, uint64_t guarded)
{
    count_figure(f, name, 0, (uint32_t)guarded, 0);
    snprintf(f->value[0], sizeof f->value[0], "-");
}

void figures_take(figure figures[FIGURES], const run runs[2], const stats all[2])
{
    const stats *bare = &all[0], *guarded = &all[1];
    figure *f = figures;
    (void)runs;
    f->name = "goodput, orders/s confirmed in time";
    snprintf(f->value[0], sizeof f->value[0], "%.1f", bare->goodput);
    snprintf(f->value[1], sizeof f->value[1], "%.1f", guarded->goodput);
    f->better = better_of(bare->goodput, guarded->goodput, 1);
    count_figure(++f, "confirmed in time (1 s)", bare->all.answers[IN_TIME],
                 guarded->all.answers[IN_TIME], 1);
    count_figure(++f, "confirmed too late", bare->all.answers[LATE], guarded->all.answers[LATE],
                 -1);
    count_figure(++f, "failed, or never answered",
                 bare->all.answers[FAILED] + bare->all.answers[UNANSWERED],
                 guarded->all.answers[FAILED] + guarded->all.answers[UNANSWERED], -1);
    count_figure(++f, "fallback: accepted into the queue", bare->all.answers[QUEUED],
                 guarded->all.answers[QUEUED], 0);
    count_figure(++f, "  of these booked later", bare->booked_later, guarded->booked_later, 0);
    count_figure(++f, "orders that took several attempts", bare->repeated, guarded->repeated, 0);
    time_figure(++f, "time to an answer, p50", bare->p50, guarded->p50);
    time_figure(++f, "time to an answer, p99", bare->p99, guarded->p99);
    time_figure(++f, "time to an answer, max", bare->max, guarded->max);
    count_figure(++f, "calls to the database in the outage", bare->outage_calls,
                 guarded->outage_calls, -1);
    time_figure(++f, "time to recover after the outage", bare->recovery, guarded->recovery);
    bulkhead_figure(++f, "calls that waited for a permit", guarded->bulkhead.waited);
    bulkhead_figure(++f, "calls that the bulkhead turned away",
                    guarded->bulkhead.refused + guarded->bulkhead.timed_out);
}

/* ---- tables ---- */

static double percent(uint32_t part, uint32_t of)
{
    return of > 0 ? 100.0 * part / of : 0;
}

static void print_faults(const run runs[2], const stats all[2])
{
    (void)runs;
    printf("\norders due during           confirmed in time         failed       queued\n"
           "                              bare   guarded    bare   guarded   guarded\n");
    for (int f = 0; f < FAULTS; f++) {
        const tally *bare = &all[0].during[f], *guarded = &all[1].during[f];
        printf("  %-24s %6.1f %% %6.1f %%  %5.1f %% %6.1f %%  %6.1f %%\n", FAULT[f].name,
               percent(bare->answers[IN_TIME], bare->orders),
               percent(guarded->answers[IN_TIME], guarded->orders),
               percent(bare->answers[FAILED] + bare->answers[UNANSWERED], bare->orders),
               percent(guarded->answers[FAILED] + guarded->answers[UNANSWERED], guarded->orders),
               percent(guarded->answers[QUEUED], guarded->orders));
    }
}

static void print_pool(const rsl_pool_stats *s)
{
    double waits = s->waited > 0 ? (double)s->waited : 1, ms = (double)RSL_MS(1);
    printf("pool           at most %u connections; opened %llu, dropped %llu that did not work, "
           "tried %llu times in vain\n"
           "               %llu of %llu leases waited: %.1f ms on average, %.0f ms at most\n",
           s->size_max, (unsigned long long)s->created,
           (unsigned long long)(s->invalid + s->closed_broken),
           (unsigned long long)s->create_failed, (unsigned long long)s->waited,
           (unsigned long long)s->acquired, (double)s->wait_total / ms / waits,
           (double)s->wait_max / ms);
}

static void print_bulkhead(const rsl_bulkhead_stats *s)
{
    double waits = s->waited > 0 ? (double)s->waited : 1;
    printf("\nbulkhead       at most %u calls at once, %d waiting; %llu of %llu waited, %.1f ms "
           "on average\n               turned away: %llu for want of room, %llu waited in vain\n",
           s->limit, WAITING, (unsigned long long)s->waited,
           (unsigned long long)s->admitted, (double)s->wait_total / (double)RSL_MS(1) / waits,
           (unsigned long long)s->refused, (unsigned long long)s->timed_out);
}

void report_print(const run runs[2], const stats all[2])
{
    figure figures[FIGURES];
    figures_take(figures, runs, all);
    printf("\n%u orders in each run: %u/s, %u workers%s\n%53s%12s\n", all[0].all.orders,
           runs[0].options->rate, runs[0].options->workers,
           runs[0].options->immediate ? ", BEGIN IMMEDIATE" : "", "bare", "guarded");
    for (int i = 0; i < FIGURES; i++) {
        const figure *f = &figures[i];
        printf("  %-38s %13s%s %10s%s\n", f->name, f->value[0], f->better == 0 ? " *" : "  ",
               f->value[1], f->better == 1 ? " *" : "  ");
    }
    printf("  (* better; the outage is the write lock and the missing file, %.1f s)\n",
           (double)(outage_of(&runs[1]).to - outage_of(&runs[1]).from) / (double)RSL_SEC(1));
    print_faults(runs, all);
    print_bulkhead(&all[1].bulkhead);
    print_pool(&all[1].pool);
}

bool report_audit(const run *r, const audit *a)
{
    printf("\nbooks %-8s %u orders in the file = %u confirmed or booked later + %u of %u unknown; "
           "stock %lld + sold %lld = %d: %s\n", r->name, a->rows, a->booked, a->unknown_rows,
           a->unknown, (long long)a->stock, (long long)a->sold, ITEMS * STOCK,
           a->holds ? "they agree" : "THEY DO NOT AGREE");
    if (!a->holds)
        printf("  confirmed but missing: %u; there but not confirmed: %u\n", a->lost, a->surplus);
    for (uint32_t i = 0; i < r->order_count; i++) {
        const order *o = &r->orders[i];
        if (o->unknown && (o->outcome == FAILED || (o->outcome == QUEUED && !o->booked_later))) {
            printf("  outcome unknown: order %u, %s\n", o->key, rsl_sqlite_name(o->result));
        }
    }
    return a->holds;
}
