/* SPDX-License-Identifier: MIT
   main.c: the outage drill. The same orders fall due twice against a real SQLite database while
   real faults strike it: first with plain, careful SQLite code, then behind this library.

       build/outage_drill [--html FILE] [--seconds N] [--rate N] [--workers N] [--slow MS]
                          [--immediate]

   It prints what came of the orders and writes a page with the timelines. It fails when the books
   do not agree: each confirmed order must be in the file exactly once, and no other. */
#include "drill.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

_Atomic bool interrupted;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&interrupted, true);
}

static void usage(FILE *to)
{
    fputs("outage_drill: SQLite through real faults, bare and then guarded by resilience\n\n"
          "  --html FILE   where the page goes (build/outage_drill.html)\n"
          "  --seconds N   both runs together, 8 to 240 (24)\n"
          "  --rate N      orders per second, 10 to 2000 (160)\n"
          "  --workers N   threads that place them, 1 to 64 (8)\n"
          "  --slow MS     what the slow disk adds to each I/O, 0 to 100 (1)\n"
          "  --immediate   start every transaction with BEGIN IMMEDIATE, in both runs\n"
          "  --help        this text\n", to);
}

static bool number_in(const char *text, long low, long high, long *number)
{
    char *end;
    errno = 0;
    *number = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *number >= low && *number <= high;
}

/* 0: go on; else the exit code plus one. */
static int options_read(options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        long number = 0;
        if (strcmp(name, "--help") == 0) {
            usage(stdout);
            return EXIT_SUCCESS + 1;
        } else if (strcmp(name, "--immediate") == 0) {
            o->immediate = true;
            continue;
        } else if (strcmp(name, "--html") == 0 && *value != '\0') {
            o->html = value;
        } else if (strcmp(name, "--seconds") == 0 && number_in(value, 8, 240, &number)) {
            o->length = RSL_SEC(number) / 2;
        } else if (strcmp(name, "--rate") == 0 && number_in(value, 10, 2000, &number)) {
            o->rate = (uint32_t)number;
        } else if (strcmp(name, "--workers") == 0 && number_in(value, 1, 64, &number)) {
            o->workers = (uint32_t)number;
        } else if (strcmp(name, "--slow") == 0 && number_in(value, 0, 100, &number)) {
            o->slow = RSL_MS(number);
        } else {
            fprintf(stderr, "outage_drill: what is \"%s %s\"?\n\n", name, value);
            usage(stderr);
            return EXIT_FAILURE + 1;
        }
        i++;
    }
    return 0;
}

/* Before the runs, for nobody wants to wait for a page that cannot be written. */
static bool can_write(const char *path)
{
    FILE *page = fopen(path, "a");
    if (page == NULL) fprintf(stderr, "outage_drill: %s: %s\n", path, strerror(errno));
    return page != NULL && fclose(page) == 0;
}

static bool drill(const options *o, run runs[2], stats all[2], audit audits[2])
{
    static const char *const names[2] = {"bare", "guarded"};
    for (int i = 0; i < 2; i++) {
        run *r = &runs[i];
        r->options = o;
        r->name = names[i];
        r->guarded = i == 1;
        bool ran = run_execute(r) && !atomic_load(&interrupted);
        if (ran && r->fault_error != NULL) {
            fprintf(stderr, "outage_drill: fault not injected: %s\n", r->fault_error);
            ran = false;
        }
        if (ran) audits[i] = shop_audit(r);
        if (!ran || !stats_take(&all[i], r)) return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    options o = {.html = "build/outage_drill.html", .length = RSL_SEC(12), .rate = 160,
                 .workers = 8, .slow = RSL_MS(1)};
    int leave = options_read(&o, argc, argv);
    if (leave != 0) return leave - 1;
    if (!can_write(o.html)) return EXIT_FAILURE;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (!slow_disk_install()) {
        fputs("outage_drill: SQLite would not take the slow disk\n", stderr);
        return EXIT_FAILURE;
    }

    static run runs[2]; /* too large for some stacks */
    stats all[2] = {{.buckets = NULL}, {.buckets = NULL}};
    audit audits[2];
    bool passed = drill(&o, runs, all, audits);
    if (passed) {
        report_print(runs, all);
        bool first = report_audit(&runs[0], &audits[0]);
        bool second = report_audit(&runs[1], &audits[1]);
        passed = html_write(o.html, runs, all, audits) && first && second;
    }
    for (int i = 0; i < 2; i++) {
        stats_release(&all[i]);
        run_release(&runs[i]);
    }
    return passed ? EXIT_SUCCESS : EXIT_FAILURE;
}
