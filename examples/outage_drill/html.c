/* SPDX-License-Identifier: MIT
   html.c: the page: one file without any outside resource. */
#include "drill.h"

#include <errno.h>
#include <string.h>

/* In parts, for a compiler need not take a text of more than 4095 characters. */
static const char *const STYLE[] = {
    ":root{color-scheme:light dark;--bg:#ffffff;--ink:#1b1f27;--soft:#565e6c;--line:#dfe3ea;"
    "--band:#eceff4;--alt:#e0e5ee;--in-time:#2a6fb8;--late:#c07f0a;--queued:#8464cc;"
    "--failed:#c8344a;--ok:#2d8656;--card:#f6f7fa}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171d;--ink:#e8ebf0;--soft:#a3acbb;"
    "--line:#2c323d;--band:#20252e;--alt:#2a313d;--in-time:#62a5ea;--late:#e3a93f;"
    "--queued:#a98cec;--failed:#ee6b7d;--ok:#5cbb8a;--card:#1b1f27}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:1280px;padding:28px 20px 48px;"
    "background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe UI',"
    "Roboto,'Helvetica Neue',Arial,sans-serif}\n"
    "h1{font-size:1.75rem;line-height:1.2;margin:0 0 4px}h2{font-size:1.1rem;margin:0 0 6px}"
    "p{margin:0 0 14px}.terms,.small{color:var(--soft);font-size:.875rem}"
    ".summary{font-size:1.1rem;max-width:62em}\n"
    ".cards{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin:18px 0 24px}"
    ".card{background:var(--card);border-radius:10px;padding:12px 14px}"
    ".card b{display:block;font-size:.8125rem;font-weight:600;color:var(--soft)}"
    ".card .now{font-size:1.5rem;font-weight:650;line-height:1.3}"
    ".card .was{font-size:.875rem;color:var(--soft)}\n"
    ".runs{display:grid;grid-template-columns:1fr 1fr;gap:12px 28px}svg{display:block;width:100%;"
    "height:auto}.key{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;margin:0 0 14px;"
    "padding:0;font-size:.875rem}.key i{display:inline-block;width:12px;height:12px;"
    "border-radius:3px;margin-right:6px;vertical-align:-1px}.key i.line{height:3px;"
    "vertical-align:4px;width:18px}\n",
    "svg text{font-size:12px;fill:var(--soft)}svg .title{fill:var(--ink);font-weight:600}"
    "svg .end{text-anchor:end}svg .middle,svg .fault,svg .badge-text{text-anchor:middle}"
    "svg .fault{fill:var(--ink)}svg .badge-text{fill:var(--bg);font-weight:700;font-size:11px}"
    ".badge{fill:var(--soft)}.band{fill:var(--band)}.band.alt{fill:var(--alt)}"
    ".grid{stroke:var(--line);fill:none}.limit{stroke:var(--soft);stroke-dasharray:4 3;fill:none}"
    ".in-time{fill:var(--in-time);background:var(--in-time)}"
    ".late{fill:var(--late);background:var(--late)}"
    ".queued{fill:var(--queued);background:var(--queued)}"
    ".failed,.open{fill:var(--failed);background:var(--failed)}"
    ".closed{fill:var(--ok);background:var(--ok)}"
    ".half-open{fill:var(--late);background:var(--late)}"
    ".none{fill:none;stroke:var(--line)}.p50,.p99{fill:none;stroke-linejoin:round;"
    "stroke-linecap:round}.p50{stroke:var(--soft);stroke-width:1.5}.p99{stroke:var(--ink);"
    "stroke-width:2.5}i.p50{background:var(--soft)}i.p99{background:var(--ink)}\n"
    "svg .note{paint-order:stroke;stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}"
    "svg .fault{font-size:11.5px}.tables{display:grid;align-items:start;gap:0 40px;"
    "grid-template-columns:minmax(0,2fr) minmax(0,3fr)}.scroll{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%;font-size:.9375rem;"
    "font-variant-numeric:tabular-nums}th,td{padding:6px 10px;border-bottom:1px solid var(--line);"
    "text-align:right;white-space:nowrap}th:first-child,td:first-child{text-align:left;"
    "padding-left:0;white-space:normal}th{font-weight:600;color:var(--soft);font-size:.8125rem}"
    "td.inner{padding-left:1.4em!important}td.best{font-weight:700}"
    "td.best::after{content:' \\2713';color:var(--ok)}td.rest{padding-right:25px}"
    ".faults td small{display:block;color:var(--soft);font-size:.8125rem;"
    "line-height:1.35;max-width:44em}.num{display:inline-block;width:1.5em;height:1.5em;"
    "line-height:1.5em;border-radius:50%;background:var(--soft);color:var(--bg);text-align:center;"
    "font-size:.75rem;font-weight:700;margin-right:8px}section{margin-top:34px}\n"
    "@media(max-width:860px){.runs{grid-template-columns:1fr}.cards{grid-template-columns:1fr 1fr}"
    ".tables{grid-template-columns:minmax(0,1fr)}}"
    "@media(max-width:560px){body{padding:20px 14px 40px}h1{font-size:1.4rem}"
    ".summary{font-size:1rem}.wide{display:none}svg text{font-size:15px}"
    "svg .badge-text{font-size:12px}.faults tr{display:grid;grid-template-columns:repeat(5,1fr);"
    "border-bottom:1px solid var(--line)}.faults th,.faults td{border:0;padding:4px 0}"
    ".faults td:first-child{grid-column:1/-1}.faults th:first-child{display:none}"
    ".card{padding:10px 12px}.card .now{font-size:1.25rem}th,td{padding:6px 6px}"
    "td.rest{padding-right:21px}}\n"};

static double seconds(rsl_time span)
{
    return (double)span / (double)RSL_SEC(1);
}

static uint32_t failures(const stats *s)
{
    return s->all.answers[FAILED] + s->all.answers[UNANSWERED];
}

/* All numbers are of this run; where the guarded one is worse, that is said too. */
static void write_summary(FILE *page, const stats all[2])
{
    const stats *bare = &all[0], *guarded = &all[1];
    char booked[40] = "all of it was";
    if (guarded->booked_later < guarded->all.answers[QUEUED])
        snprintf(booked, sizeof booked, "%u of these were", guarded->booked_later);
    fprintf(page, "<p class=\"summary\">Of %u orders the guarded run confirmed <b>%u</b> in time "
            "and let <b>%u</b> fail; bare SQLite confirmed <b>%u</b> and let <b>%u</b> fail. ",
            guarded->all.orders, guarded->all.answers[IN_TIME], failures(guarded),
            bare->all.answers[IN_TIME], failures(bare));
    fprintf(page, "What the database could not take, %u orders, went into a queue, and %s booked "
            "once it was back. 99&nbsp;%% of callers had an answer within <b>%.2f s</b> (bare: "
            "%.2f s). During the outage it reached for the database <b>%u</b> times (bare: %u).",
            guarded->all.answers[QUEUED], booked, seconds(guarded->p99), seconds(bare->p99),
            guarded->outage_calls, bare->outage_calls);
    if (guarded->recovery < 0) {
        fputs(" It had not recovered from the outage when the run ended.", page);
    } else if (bare->recovery >= 0 && guarded->recovery > bare->recovery) {
        fprintf(page, " The price: after the outage it was back %.2f s later, when the breaker "
                "had tried the database again.", seconds(guarded->recovery - bare->recovery));
    }
    for (int f = 0; f < FAULTS; f++) {
        const tally *was = &bare->during[f], *is = &guarded->during[f];
        if (is->answers[IN_TIME] < was->answers[IN_TIME]) {
            fprintf(page, " During the fault &ldquo;%s&rdquo; it confirmed fewer orders in time, "
                    "%u against %u.", FAULT[f].name, is->answers[IN_TIME], was->answers[IN_TIME]);
        }
    }
    fputs("</p>\n", page);
}

static void write_cards(FILE *page, const figure figures[FIGURES])
{
    static const struct { const char *title; int figure; } cards[] = {
        {"confirmed in time, per second", 0}, {"failed or never answered", 3},
        {"time to an answer, p99", 8}, {"database calls in the outage", 10}};
    fputs("<div class=\"cards\">\n", page);
    for (size_t i = 0; i < RSL_COUNT(cards); i++) {
        const figure *f = &figures[cards[i].figure];
        fprintf(page,
                "<div class=\"card\"><b>%s</b><span class=\"now\">%s</span> <span "
                "class=\"was\">guarded</span><div class=\"was\">%s bare</div></div>\n",
                cards[i].title, f->value[1], f->value[0]);
    }
    fputs("</div>\n", page);
}

static double rate_max_of(const run runs[2], const stats all[2])
{
    double most = 0, cap = 2.5 * runs[0].options->rate;
    for (int i = 0; i < 2; i++) {
        for (size_t b = 0; b < all[i].bucket_count; b++) {
            const uint32_t *a = all[i].buckets[b].answers;
            double rate = (a[IN_TIME] + a[LATE] + a[QUEUED] + a[FAILED]) * 10 / BUCKET_TENTHS;
            if (rate > most) most = rate;
        }
    }
    if (most > cap) most = cap;
    double step = 20;
    while (step * 5 < most) step *= 2;
    double max = 0;
    while (max < most) max += step;
    return max;
}

static void write_charts(FILE *page, const run runs[2], const stats all[2])
{
    double rate_max = rate_max_of(runs, all);
    fputs("<ul class=\"key\"><li><i class=\"in-time\"></i>confirmed in time</li>"
          "<li><i class=\"late\"></i>confirmed too late</li>"
          "<li><i class=\"queued\"></i>accepted into the queue</li>"
          "<li><i class=\"failed\"></i>failed</li>"
          "<li><i class=\"line p99\"></i>p99</li><li><i class=\"line p50\"></i>p50</li>"
          "<li><i class=\"closed\"></i>circuit closed</li><li><i class=\"open\"></i>open</li>"
          "<li><i class=\"half-open\"></i>half-open</li></ul>\n<div class=\"runs\">\n", page);
    for (int i = 0; i < 2; i++) {
        fprintf(page, "<div><h2>%s</h2>\n", i == 0 ? "Bare SQLite" : "Guarded by resilience");
        chart_write(page, &runs[i], &all[i], rate_max);
        fputs("</div>\n", page);
    }
    fputs("</div>\n", page);
}

static void write_figures(FILE *page, const figure figures[FIGURES])
{
    fputs("<section><h2>Both runs compared</h2><div class=\"scroll\"><table>"
          "<tr><th></th><th>bare</th><th>guarded</th></tr>\n", page);
    for (int i = 0; i < FIGURES; i++) {
        const figure *f = &figures[i];
        fprintf(page, "<tr><td%s>%s</td><td class=\"%s\">%s</td><td class=\"%s\">%s</td></tr>\n",
                f->name[0] == ' ' ? " class=\"inner\"" : "", f->name,
                f->better == 0 ? "best" : "rest", f->value[0], f->better == 1 ? "best" : "rest",
                f->value[1]);
    }
    fputs("</table></div></section>\n", page);
}

static void write_share(FILE *page, uint32_t part, uint32_t of)
{
    fprintf(page, "<td>%.0f&nbsp;%%</td>", of > 0 ? 100.0 * part / of : 0.0);
}

static void write_faults(FILE *page, const stats all[2])
{
    fputs("<section><h2>What came of the orders that fell due during each fault</h2>"
          "<div class=\"scroll\"><table class=\"faults\"><tr><th>fault</th>"
          "<th>in time<br>bare</th><th>in time<br>guarded</th><th>failed<br>bare</th>"
          "<th>failed<br>guarded</th><th>queued<br>guarded</th></tr>\n", page);
    for (int f = 0; f < FAULTS; f++) {
        const tally *bare = &all[0].during[f], *guarded = &all[1].during[f];
        fprintf(page, "<tr><td><span class=\"num\">%d</span>%s<small>%s</small></td>", f + 1,
                FAULT[f].name, FAULT[f].what);
        write_share(page, bare->answers[IN_TIME], bare->orders);
        write_share(page, guarded->answers[IN_TIME], guarded->orders);
        write_share(page, bare->answers[FAILED] + bare->answers[UNANSWERED], bare->orders);
        write_share(page, guarded->answers[FAILED] + guarded->answers[UNANSWERED],
                    guarded->orders);
        write_share(page, guarded->answers[QUEUED], guarded->orders);
        fputs("</tr>\n", page);
    }
    fputs("</table></div></section>\n", page);
}

static void write_pool(FILE *page, const rsl_pool_stats *s)
{
    double waits = s->waited > 0 ? (double)s->waited : 1, ms = (double)RSL_MS(1);
    fprintf(page, "<p>The pool opened %llu connections, at most %u at a time, and dropped %llu "
            "that did not work any more; %llu times it tried in vain. Of %llu leases %llu had to "
            "wait, %.1f&nbsp;ms on average and %.0f&nbsp;ms at most.</p>\n",
            (unsigned long long)s->created, s->size_max,
            (unsigned long long)(s->invalid + s->closed_broken),
            (unsigned long long)s->create_failed, (unsigned long long)s->acquired,
            (unsigned long long)s->waited, (double)s->wait_total / ms / waits,
            (double)s->wait_max / ms);
}

static void write_bulkhead(FILE *page, const rsl_bulkhead_stats *s)
{
    double waits = s->waited > 0 ? (double)s->waited : 1;
    fprintf(page, "<p>The bulkhead let %llu calls in, at most %u at a time; %llu of them had to "
            "wait for a permit, %.1f&nbsp;ms on average. It turned away %llu.</p>\n",
            (unsigned long long)s->admitted, s->limit, (unsigned long long)s->waited,
            (double)s->wait_total / (double)RSL_MS(1) / waits,
            (unsigned long long)(s->refused + s->timed_out));
}

static void write_notes(FILE *page, const run runs[2], const stats all[2], const audit audits[2])
{
    static const char *const begins[] = {
        "begin with a plain BEGIN; a repeated attempt of the guarded run begins with BEGIN "
        "IMMEDIATE. Run the drill with --immediate to see what that alone gains.",
        "begin every transaction with BEGIN IMMEDIATE."};
    const options *o = runs[0].options;
    fprintf(page, "<section class=\"small\"><h2>How it was measured</h2><p>Both runs got the same "
            "%u orders at the same times, %u a second, whether or not the ones before were "
            "answered; %u threads place them, in the bare run each order over a connection of "
            "its own, in the guarded run over one of %d from a pool; every second order reads "
            "before it writes. The time to an answer counts from when an order fell due, and any "
            "answer counts, also a failure. Both use WAL mode and synchronous=NORMAL, and %s ",
            runs[0].order_count, o->rate, o->workers, CONNECTIONS, begins[o->immediate]);
    fputs("Every fault is real and came at the same times in both runs. An order in the queue is "
          "not counted as goodput, also when it was booked later. Recovery is the time from the "
          "end of the outage (faults 4 and 5) until, of the orders due in the next half second, "
          "95&nbsp;% are confirmed in time.</p>\n", page);
    write_bulkhead(page, &all[1].bulkhead);
    write_pool(page, &all[1].pool);
    fputs("<p>", page);
    for (int i = 0; i < 2; i++) {
        const audit *a = &audits[i];
        fprintf(page,
                "Books of the %s run: %u rows = %u confirmed or booked later + %u of unknown "
                "outcome; stock left %lld + sold %lld = %d: %s.%s",
                runs[i].name, a->rows, a->booked, a->unknown_rows, (long long)a->stock,
                (long long)a->sold, ITEMS * STOCK,
                a->holds ? "they agree" : "<b>they do not agree</b>",
                i == 0 ? "<br>\n" : "</p>\n");
    }
    fprintf(page, "<p>resilience %s, SQLite %s.</p></section>\n", rsl_version(),
            sqlite3_libversion());
}

bool html_write(const char *path, const run runs[2], const stats all[2], const audit audits[2])
{
    FILE *page = fopen(path, "w");
    if (page == NULL) {
        fprintf(stderr, "outage_drill: %s: %s\n", path, strerror(errno));
        return false;
    }
    figure figures[FIGURES];
    figures_take(figures, runs, all);
    fprintf(page, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
            "<title>Outage drill</title><style>\n%s%s</style></head><body>\n"
            "<h1>Outage drill: SQLite through five faults</h1>\n<p class=\"terms\">%u orders a "
            "second for %.0f s, twice: with plain SQLite, and behind timeout, retry, circuit "
            "breaker, bulkhead, pool and fallback.</p>\n", STYLE[0], STYLE[1],
            runs[0].options->rate, seconds(runs[0].options->length));
    write_summary(page, all);
    write_cards(page, figures);
    write_charts(page, runs, all);
    fputs("<div class=\"tables\">\n", page);
    write_figures(page, figures);
    write_faults(page, all);
    fputs("</div>\n", page);
    write_notes(page, runs, all, audits);
    fputs("</body></html>\n", page);
    bool written = ferror(page) == 0;
    written = fclose(page) == 0 && written;
    if (written) printf("\nthe timelines are in %s\n", path);
    else fprintf(stderr, "outage_drill: %s could not be written\n", path);
    return written;
}
