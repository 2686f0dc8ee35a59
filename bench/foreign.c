/* foreign.c -- reads what the programs under bench/rivals measured. Lines, fields parted by '|':

       pairs|title|median least|median least|...            one pair for each number of threads
       handoff|title|threads|resources|p50 p99 wait_p99 wait_most handed rate
       tasks|title|assisted|compiled|rate|rate|p50 p99|...   one rate for 1 and 2 producers, one
                                                             pair for each scene
       missing|what was left out, and why

   Spans in ns; the rest as in bench_handoff and bench_task_result. Other lines are passed over.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "report.h"

#include <stdlib.h>
#include <string.h>

static bench_row rows[BENCH_FOREIGN_MAX];
static char      titles[BENCH_FOREIGN_MAX][64];

/* A line cut short is no result. */
static bool read_pairs(char **rest, size_t at, bench_result *result)
{
    snprintf(titles[at], sizeof titles[at], "%s", strsep(rest, "|"));
    rows[at] = (bench_row){.name = "", .title = titles[at], .threads_max = BENCH_THREADS_MAX};
    *result = (bench_result){.row = &rows[at], .group = BENCH_POOL_RIVALS, .instructions = -1};
    for (int column = 0; column < BENCH_COLUMNS; column++) {
        const char *field = strsep(rest, "|");
        if (field == NULL) return false;
        if (sscanf(field, "%lf %lf", &result->median[column], &result->least[column]) != 2) {
            return false;
        }
    }
    return true;
}

static bool read_handoff(char **rest, bench_handoff *result)
{
    snprintf(result->title, sizeof result->title, "%s", strsep(rest, "|"));
    result->ours = false;
    return *rest != NULL &&
           sscanf(*rest, "%d|%d|%lf %lf %lf %lf %lf %lf", &result->threads, &result->resources,
                  &result->p50, &result->p99, &result->wait_p99, &result->wait_most,
                  &result->handed, &result->rate) == 8;
}

static bool read_tasks(char **rest, bench_task_result *result)
{
    int assisted, compiled;
    *result = (bench_task_result){0};
    snprintf(result->title, sizeof result->title, "%s", strsep(rest, "|"));
    bool whole = *rest != NULL &&
                 sscanf(*rest, "%d|%d|%lf|%lf|%lf %lf|%lf %lf|%lf %lf", &assisted, &compiled,
                        &result->rate[0], &result->rate[1], &result->p50[BENCH_IDLE],
                        &result->p99[BENCH_IDLE], &result->p50[BENCH_RESTED],
                        &result->p99[BENCH_RESTED], &result->p50[BENCH_LOADED],
                        &result->p99[BENCH_LOADED]) == 10;
    if (!whole) return false;
    result->assisted = assisted != 0;
    result->compiled = compiled != 0;
    return true;
}

size_t bench_read_foreign(const char *path, bench_result *results, bench_notes *notes)
{
    FILE *file = fopen(path, "r");
    char line[512];
    size_t count = 0;
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *rest = line;
        const char *kind = strsep(&rest, "|");
        if (rest == NULL) continue;
        if (strcmp(kind, "pairs") == 0 && count < BENCH_FOREIGN_MAX) {
            count += read_pairs(&rest, count, &results[count]);
        } else if (strcmp(kind, "handoff") == 0 && notes->handoff_count < BENCH_HANDOFFS_MAX) {
            notes->handoff_count += read_handoff(&rest, &notes->handoffs[notes->handoff_count]);
        } else if (strcmp(kind, "tasks") == 0 && notes->task_count < BENCH_TASK_KINDS_MAX) {
            notes->task_count += read_tasks(&rest, &notes->tasks[notes->task_count]);
        } else if (strcmp(kind, "missing") == 0 && notes->missing_count < BENCH_FOREIGN_MAX) {
            snprintf(notes->missing[notes->missing_count++], sizeof notes->missing[0], "%s", rest);
        }
    }
    fclose(file);
    return count;
}
