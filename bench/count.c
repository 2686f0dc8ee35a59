/* count.c -- runs the rows under callgrind, one dump of the counters after each, for bench/run and
   tests/instructions/run, which take the differences.

   count               all rows, each COUNT and 2 x COUNT times: what a call costs is the
                       difference divided by COUNT; starting and ending the loop cancel out
   count name count    one row alone, to look at its code with callgrind_annotate

   The clock is a stub: it replaces the system's by --wrap at link time, since under valgrind that
   is a system call whose cost depends on the C library. It moves by 10 ns a reading, which makes
   the counts exact and the same in each run.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <valgrind/callgrind.h>

enum { COUNT = 12800 }; /* whole turns of a ring of 100: both lengths end alike */

int __real_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now);

static time_t seconds;

/* From the next full 1000 s on: what a thread of the library's own waits for is not yet past. */
static void start_clock(void)
{
    struct timespec now;
    __real_clock_gettime(CLOCK_MONOTONIC, &now);
    seconds = (now.tv_sec / 1000 + 1) * 1000;
}

/* The coarse clock moves in ticks of about 4 ms, as the real one does. */
int __wrap_clock_gettime(clockid_t id, struct timespec *now)
{
    static long ns;
    ns += 10;
    now->tv_sec = seconds;
    now->tv_nsec = id == CLOCK_MONOTONIC ? ns : ns & ~0x3fffffL;
    return 0;
}

static uint64_t run(const bench_row *row, uint64_t count)
{
    CALLGRIND_TOGGLE_COLLECT;
    uint64_t unexpected = row->loop(row->subject, count);
    CALLGRIND_TOGGLE_COLLECT;
    return unexpected;
}

/* The name of a dump goes into the file that callgrind writes. */
static bool count_row(const bench_row *row)
{
    uint64_t unexpected = row->loop(row->subject, COUNT); /* fills windows and caches */
    for (uint64_t times = 1; times <= 2; times++) {
        char label[80];
        snprintf(label, sizeof label, "%s %llu", row->name, (unsigned long long)(times * COUNT));
        CALLGRIND_ZERO_STATS;
        unexpected += run(row, times * COUNT);
        CALLGRIND_DUMP_STATS_AT(label);
    }
    if (unexpected != 0) fprintf(stderr, "count: %s: unexpected results\n", row->name);
    return unexpected == 0;
}

int main(int argc, char **argv)
{
    const bench_row *(*const groups[])(size_t *) = {bench_floors, bench_rows, bench_rivals,
                                                    bench_pools, bench_pool_rivals,
                                                    bench_permits, bench_permit_rivals};
    bool good = true;
    start_clock();
    for (size_t group = 0; group < RSL_COUNT(groups); group++) {
        size_t count;
        const bench_row *rows = groups[group](&count);
        for (size_t i = 0; i < count; i++) {
            if (argc == 1) {
                good = count_row(&rows[i]) && good;
            } else if (argc == 3 && strcmp(argv[1], rows[i].name) == 0) {
                return run(&rows[i], strtoull(argv[2], NULL, 10)) == 0 ? 0 : 1;
            }
        }
    }
    return good && argc == 1 ? 0 : 1;
}
