/* SPDX-License-Identifier: MIT
   chart.c: the timeline of one run as an SVG: throughput, time to an answer, the breaker's state,
   with the faults shaded behind all three. Colours are the page's CSS variables. */
#include "drill.h"

#include <stdlib.h>

/* Places in the drawing, in its own units; it is scaled to the width of the page. */
static const int WIDTH = 600, HEIGHT = 510, LEFT = 68, RIGHT = 592;
static const int NAMES = 12, BADGES = 28;             /* of the faults */
static const int TOP = 86, RATE_BASE = 226;           /* throughput */
static const int SLOW_TOP = 276, SLOW_BASE = 416;     /* time to an answer */
static const int RIBBON_TOP = 462, RIBBON_BASE = 480, AXIS = 500;

/* Decimal logarithm by repeated squaring, so that the drill needs no libm. x > 0. */
static double log10_of(double x)
{
    double whole = 0, part = 0, weight = 0.5;
    for (; x >= 10; x /= 10) whole++;
    for (; x < 1; x *= 10) whole--;
    for (int i = 0; i < 20; i++, weight /= 2) {
        x *= x;
        if (x < 10) continue;
        part += weight;
        x /= 10;
    }
    return whole + part;
}

static double x_of(const run *r, rsl_time at)
{
    return LEFT + (double)(RIGHT - LEFT) * (double)at / (double)r->options->length;
}

/* From 0.1 ms at the bottom to 3 s at the top. */
static double y_of_time(rsl_time span)
{
    const double low = -1, high = 3.4771;
    double ms = (double)span / (double)RSL_MS(1), value = ms <= 0.1 ? low : log10_of(ms);
    if (value > high) value = high;
    return SLOW_BASE - (SLOW_BASE - SLOW_TOP) * (value - low) / (high - low);
}

static void draw_faults(FILE *page, const run *r)
{
    for (int f = 0; f < FAULTS; f++) {
        double from = x_of(r, r->faults[f].from), to = x_of(r, r->faults[f].to);
        double middle = (from + to) / 2;
        fprintf(page, "<g><title>%s: %s</title>", FAULT[f].name, FAULT[f].what);
        fprintf(page, "<rect class=\"band%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>",
                f == GONE ? " alt" : "", from, BADGES, to - from, RIBBON_BASE - BADGES);
        fprintf(page, "<circle class=\"badge\" cx=\"%.1f\" cy=\"%d\" r=\"8\"/>"
                "<text class=\"badge-text\" x=\"%.1f\" y=\"%d\">%d</text>"
                "<text class=\"fault wide\" x=\"%.1f\" y=\"%d\">%s</text></g>\n",
                middle, BADGES, middle, BADGES + 4, f + 1, middle, NAMES, FAULT[f].name);
    }
}

static rsl_time nice_step(rsl_time length)
{
    static const int seconds[] = {1, 2, 5, 10, 20};
    size_t i = 0;
    while (i + 1 < RSL_COUNT(seconds) && length / RSL_SEC(seconds[i]) > 8) i++;
    return RSL_SEC(seconds[i]);
}

static void draw_grid(FILE *page, const run *r, double rate_max)
{
    static const struct { rsl_time at; const char *label; } times[] = {
        {RSL_US(100), "&le;0.1 ms"}, {RSL_MS(1), "1 ms"}, {RSL_MS(10), "10 ms"},
        {RSL_MS(100), "100 ms"}, {RSL_SEC(1), "1 s"}};
    for (int i = 0; i <= 2; i++) {
        double y = RATE_BASE - (RATE_BASE - TOP) * i / 2.0;
        fprintf(page, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text class=\"tick end\" x=\"%d\" "
                "y=\"%.1f\">%.0f</text>\n", LEFT, y, RIGHT, LEFT - 6, y + 4, rate_max * i / 2);
    }
    for (size_t i = 0; i < RSL_COUNT(times); i++) {
        double y = y_of_time(times[i].at);
        fprintf(page,
                "<path class=\"%s\" d=\"M%d %.1fH%d\"/><text class=\"tick end\" x=\"%d\" "
                "y=\"%.1f\">%s</text>\n",
                times[i].at == PATIENCE ? "limit" : "grid", LEFT, y, RIGHT, LEFT - 6, y + 4,
                times[i].label);
    }
    fprintf(page, "<text class=\"note end\" x=\"%d\" y=\"%.1f\">callers give up</text>\n",
            RIGHT - 4, y_of_time(PATIENCE) - 5);
    rsl_time step = nice_step(r->options->length);
    for (rsl_time at = 0; at <= r->options->length; at += step) {
        fprintf(page, "<text class=\"tick middle\" x=\"%.1f\" y=\"%d\">%lld%s</text>\n",
                x_of(r, at), AXIS, (long long)(at / RSL_SEC(1)), at == 0 ? " s" : "");
    }
}

/* Bars end at the top of the panel; a number says how high one that is cut would be. */
static void draw_throughput(FILE *page, const run *r, const stats *s, double rate_max)
{
    static const struct { outcome of; const char *class; } stack[] = {
        {IN_TIME, "in-time"}, {LATE, "late"}, {QUEUED, "queued"}, {FAILED, "failed"}};
    double per_second = 1 / ((double)(TENTH * BUCKET_TENTHS) / (double)RSL_SEC(1));
    double height = RATE_BASE - TOP;
    for (size_t b = 0; b < s->bucket_count; b++) {
        const bucket *of = &s->buckets[b];
        double x = x_of(r, (rsl_time)b * TENTH * BUCKET_TENTHS), base = RATE_BASE, sum = 0;
        double width = x_of(r, TENTH * BUCKET_TENTHS) - LEFT - 1.2;
        fprintf(page, "<g><title>%.1f s: %u in time, %u late, %u queued, %u failed</title>",
                (double)(b * BUCKET_TENTHS) / 10, of->answers[IN_TIME], of->answers[LATE],
                of->answers[QUEUED], of->answers[FAILED]);
        for (size_t i = 0; i < RSL_COUNT(stack); i++) {
            double rate = of->answers[stack[i].of] * per_second, h = height * rate / rate_max;
            sum += rate;
            if (base - h < TOP) h = base - TOP;
            if (h <= 0) continue;
            fprintf(page,
                    "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                    stack[i].class, x + 0.6, base - h, width, h);
            base -= h;
        }
        if (sum > rate_max) {
            fprintf(page, "<text class=\"note middle\" x=\"%.1f\" y=\"%d\">&uarr;%.0f</text>",
                    x + width / 2, TOP - 4, sum);
        }
        fputs("</g>\n", page);
    }
}

static rsl_time quantile_of(const bucket *b, bool high)
{
    return high ? b->p99 : b->p50;
}

/* A line through the buckets that have answers; a lone one is a dot, which the round caps make. */
static void draw_quantile(FILE *page, const run *r, const stats *s, bool high)
{
    bool drawing = false;
    rsl_time span = TENTH * BUCKET_TENTHS;
    fprintf(page, "<path class=\"%s\" d=\"", high ? "p99" : "p50");
    for (size_t b = 0; b < s->bucket_count; b++) {
        rsl_time value = quantile_of(&s->buckets[b], high);
        if (value >= 0) {
            double x = x_of(r, (rsl_time)b * span + span / 2), y = y_of_time(value);
            fprintf(page, drawing ? "L%.1f %.1f" : "M%.1f %.1fh0", x, y);
        }
        drawing = value >= 0;
    }
    fputs("\"/>\n", page);
}

static int compare_changes(const void *a, const void *b)
{
    const change *left = a, *right = b;
    return (left->number > right->number) - (left->number < right->number);
}

static void draw_state(FILE *page, const run *r, rsl_breaker_state state, rsl_time from,
                       rsl_time to)
{
    static const char *const names[] = {"closed", "open", "half-open"};
    if (to > r->options->length) to = r->options->length;
    if ((size_t)state >= RSL_COUNT(names) || from >= to) return;
    double width = x_of(r, to) - x_of(r, from);
    if (state == RSL_BREAKER_HALF_OPEN && width < 2) width = 2; /* a probe may take microseconds */
    fprintf(page, "<rect class=\"%s\" x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\"><title>%s, "
            "%.2f s to %.2f s</title></rect>\n", names[state], x_of(r, from), RIBBON_TOP,
            width, RIBBON_BASE - RIBBON_TOP, names[state],
            (double)from / (double)RSL_SEC(1), (double)to / (double)RSL_SEC(1));
}

static void draw_ribbon(FILE *page, const run *r)
{
    if (r->guard == NULL) {
        fprintf(page, "<rect class=\"none\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>"
                "<text class=\"note middle\" x=\"%d\" y=\"%d\">no circuit breaker</text>\n", LEFT,
                RIBBON_TOP, RIGHT - LEFT, RIBBON_BASE - RIBBON_TOP, (LEFT + RIGHT) / 2,
                RIBBON_BASE - 5);
        return;
    }
    change *changes = r->guard->changes;
    uint32_t count = atomic_load(&r->guard->change_count);
    if (count > CHANGES_MAX) count = CHANGES_MAX;
    qsort(changes, count, sizeof *changes, compare_changes); /* events may be delivered late */
    for (int half_open = 0; half_open < 2; half_open++) { /* these on top of the others */
        rsl_breaker_state state = RSL_BREAKER_CLOSED;
        rsl_time since = 0;
        for (uint32_t i = 0; i <= count; i++) {
            rsl_time until = i < count ? changes[i].at : r->options->length;
            if ((state == RSL_BREAKER_HALF_OPEN) == half_open)
                draw_state(page, r, state, since, until);
            if (i == count) break;
            state = changes[i].state;
            since = until;
        }
    }
}

void chart_write(FILE *page, const run *r, const stats *s, double rate_max)
{
    fprintf(page,
            "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Timeline of the %s run\">\n",
            WIDTH, HEIGHT, r->name);
    draw_faults(page, r);
    draw_grid(page, r, rate_max);
    draw_throughput(page, r, s, rate_max);
    draw_quantile(page, r, s, false);
    draw_quantile(page, r, s, true);
    draw_ribbon(page, r);
    fprintf(page, "<text class=\"title\" x=\"%d\" y=\"%d\">orders answered per second</text>\n"
            "<text class=\"title\" x=\"%d\" y=\"%d\">time to an answer (log scale)</text>\n"
            "<text class=\"title\" x=\"%d\" y=\"%d\">circuit breaker</text>\n</svg>\n",
            LEFT, TOP - 20, LEFT, SLOW_TOP - 14, LEFT, RIBBON_TOP - 8);
}
