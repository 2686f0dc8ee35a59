/* plot.c -- draws the time series of the overload (bench/overload.c) as SVG: goodput.svg and
   limits.svg, a panel for each guard.

   plot overload.csv FOLDER

   The text is dark on light, or light on dark where the reader's system says so.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARDS_MAX = 8, TICKS_MAX = 512, COLUMNS = 4 };

static const double WIDTH = 230, HEIGHT = 172, LEFT = 38, TOP = 30, INNER = 182, TALL = 110;

typedef struct tick { double at, capacity, offered, good, limit, in_use; } tick;

typedef struct guard {
    char   name[64];
    tick   ticks[TICKS_MAX];
    size_t count;
} guard;

static guard  guards[GUARDS_MAX];
static size_t guard_count;

/* What a panel shows, and where its lines lie on the page: 0 at the bottom, 1 at the top. */
typedef struct plot {
    const char *file, *title;
    double    (*height)(double value);
    double      marks[4]; /* on the axis; negative: none */
    const char *unit;
} plot;

static double of_capacity(double share)
{
    return share / 1.25;
}

static double of_limit(double limit)
{
    return log10(fmax(limit, 1)) / log10(300);
}

static guard *guard_of(const char *name)
{
    for (size_t i = 0; i < guard_count; i++) {
        if (strcmp(guards[i].name, name) == 0) return &guards[i];
    }
    if (guard_count == GUARDS_MAX) return NULL;
    guard *g = &guards[guard_count++];
    snprintf(g->name, sizeof g->name, "%s", name);
    return g;
}

static void read_series(FILE *file)
{
    char line[256], name[64];
    while (fgets(line, sizeof line, file) != NULL) {
        tick t;
        if (sscanf(line, "\"%63[^\"]\",%lf,%lf,%lf,%lf,%*f,%*f,%lf,%lf", name, &t.at, &t.capacity,
                   &t.offered, &t.good, &t.limit, &t.in_use) != 7) {
            continue;
        }
        guard *g = guard_of(name);
        if (g != NULL && g->count < TICKS_MAX) g->ticks[g->count++] = t;
    }
}

static double end_of(const guard *g)
{
    return g->ticks[g->count - 1].at;
}

static double x_of(const guard *g, double at)
{
    return LEFT + INNER * at / end_of(g);
}

static double y_of(const plot *p, double value)
{
    return TOP + TALL * (1 - fmin(1, p->height(value)));
}

/* Goodput is smoothed over five ticks: a tick holds twenty answers or so. */
static double good_share(const guard *g, size_t at)
{
    double sum = 0;
    size_t from = at >= 2 ? at - 2 : 0, to = at + 2 < g->count ? at + 2 : g->count - 1;
    for (size_t i = from; i <= to; i++) sum += g->ticks[i].good / g->ticks[i].capacity;
    return sum / (double)(to - from + 1);
}

/* Where more is offered than the service can do. */
static void draw_overload(FILE *out, const guard *g)
{
    double from = -1, to = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (g->ticks[i].offered <= g->ticks[i].capacity) continue;
        if (from < 0) from = g->ticks[i].at;
        to = g->ticks[i].at;
    }
    fprintf(out, "<rect class=\"overload\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                 "height=\"%.1f\"/>\n", x_of(g, from), TOP, x_of(g, to) - x_of(g, from), TALL);
}

static void draw_axes(FILE *out, const plot *p, const guard *g)
{
    fprintf(out, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", LEFT, TOP - 8, g->name);
    for (size_t i = 0; i < sizeof p->marks / sizeof p->marks[0] && p->marks[i] >= 0; i++) {
        double y = y_of(p, p->marks[i]);
        fprintf(out, "<path class=\"grid\" d=\"M%.1f %.1fh%.1f\"/>\n", LEFT, y, INNER);
        fprintf(out, "<text class=\"end\" x=\"%.1f\" y=\"%.1f\">%.0f%s</text>\n", LEFT - 4, y + 4,
                p->marks[i] * (p->unit[0] == '%' ? 100 : 1), p->unit);
    }
    for (int second = 0; second <= end_of(g); second++) {
        fprintf(out, "<text class=\"middle\" x=\"%.1f\" y=\"%.1f\">%d s</text>\n",
                x_of(g, second), TOP + TALL + 15, second);
    }
}

static void draw_line(FILE *out, const plot *p, const guard *g, const char *class,
                      double (*value)(const guard *g, size_t at))
{
    fprintf(out, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < g->count; i++) {
        fprintf(out, "%s%.1f %.1f", i == 0 ? "M" : "L", x_of(g, g->ticks[i].at),
                y_of(p, value(g, i)));
    }
    fputs("\"/>\n", out);
}

static double limit_at(const guard *g, size_t at)
{
    return g->ticks[at].limit;
}

static double in_use_at(const guard *g, size_t at)
{
    return g->ticks[at].in_use;
}

static void draw_panel(FILE *out, const plot *p, const guard *g, size_t place)
{
    fprintf(out, "<g transform=\"translate(%.0f %.0f)\">\n", WIDTH * (double)(place % COLUMNS),
            34 + HEIGHT * (double)(place / COLUMNS));
    draw_overload(out, g);
    draw_axes(out, p, g);
    if (p->height == of_capacity) {
        draw_line(out, p, g, "good", good_share);
    } else if (g->ticks[g->count / 2].limit > 0) {
        draw_line(out, p, g, "use", in_use_at);
        draw_line(out, p, g, "limit", limit_at);
    } else {
        fprintf(out, "<text class=\"middle\" x=\"%.1f\" y=\"%.1f\">no limit</text>\n",
                LEFT + INNER / 2, TOP + TALL / 2);
    }
    fputs("</g>\n", out);
}

static int draw(const plot *p, const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, p->file);
    FILE *out = fopen(path, "w");
    if (out == NULL) {
        perror(path);
        return 1;
    }
    size_t rows = (guard_count + COLUMNS - 1) / COLUMNS;
    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                 "font-family=\"sans-serif\" font-size=\"11\">\n"
                 "<title>%s</title>\n<style>\n"
                 "text{fill:#333}.name{font-weight:bold}.end{text-anchor:end}\n"
                 ".middle{text-anchor:middle}.head{font-size:13px}path{fill:none}\n"
                 ".grid{stroke:#888;stroke-opacity:.35}.overload{fill:#888;fill-opacity:.14}\n"
                 ".good{stroke:#2a8f4f;stroke-width:2}.limit{stroke:#2f6fd0;stroke-width:2}\n"
                 ".use{stroke:#d07a1f;stroke-width:1}\n"
                 "@media (prefers-color-scheme:dark){text{fill:#ccc}.good{stroke:#4fc27a}\n"
                 ".limit{stroke:#6ea8ff}.use{stroke:#f0a050}}\n</style>\n"
                 "<text class=\"head\" x=\"%.0f\" y=\"20\">%s</text>\n",
            WIDTH * COLUMNS, 40 + HEIGHT * (double)rows, p->title, LEFT, p->title);
    for (size_t i = 0; i < guard_count; i++) draw_panel(out, p, &guards[i], i);
    fputs("</svg>\n", out);
    return fclose(out) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const plot plots[] = {
        {"goodput.svg", "Answers in time, as a share of what the service can do; "
                        "shaded: three times that is offered", of_capacity,
         {0, 0.5, 1, -1}, "%"},
        {"limits.svg", "Limit (blue) and calls inside (orange); "
                       "shaded: three times what the service can do is offered", of_limit,
         {1, 10, 100, -1}, ""},
    };
    if (argc != 3) {
        fputs("usage: plot overload.csv FOLDER\n", stderr);
        return 2;
    }
    FILE *file = fopen(argv[1], "r");
    if (file == NULL) {
        perror(argv[1]);
        return 1;
    }
    read_series(file);
    fclose(file);
    if (guard_count == 0 || guards[guard_count - 1].count == 0) {
        fputs("plot: nothing to draw\n", stderr);
        return 1;
    }
    int failed = 0;
    for (size_t i = 0; i < sizeof plots / sizeof plots[0]; i++) failed |= draw(&plots[i], argv[2]);
    return failed;
}
