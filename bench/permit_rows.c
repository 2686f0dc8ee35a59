/* permit_rows.c -- the bulkhead's rows: a permit is taken and given back.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "bench.h"
#include "permits.h"

/* Each away from the next one's cache lines. */
typedef struct shared_bulkhead { _Alignas(128) rsl_bulkhead bulkhead; } shared_bulkhead;
static shared_bulkhead fixed, aimd, vegas, gradient2, latency, full;

static uint64_t try_and_leave(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        rsl_bulkhead_permit permit;
        if (rsl_bulkhead_try(subject, &permit) != RSL_OK) {
            unexpected++;
            continue;
        }
        unexpected += rsl_bulkhead_leave(subject, &permit, 0) != RSL_OK;
    }
    return unexpected;
}

static uint64_t enter_and_leave(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        rsl_bulkhead_permit permit;
        if (rsl_bulkhead_enter(subject, NULL, &permit) != RSL_OK) {
            unexpected++;
            continue;
        }
        unexpected += rsl_bulkhead_leave(subject, &permit, 0) != RSL_OK;
    }
    return unexpected;
}

static uint64_t be_refused(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        rsl_bulkhead_permit permit;
        unexpected += rsl_bulkhead_try(subject, &permit) != RSL_EFULL;
    }
    return unexpected;
}

static uint64_t call_bulkhead(void *subject, uint64_t count)
{
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        unexpected += rsl_bulkhead_call(subject, NULL, bench_target, NULL) != 0;
    }
    return unexpected;
}

#define TWO_READS {"cas_pair", "clock_precise", "clock_precise"}

static const bench_row rows[] = {
    {.name = "permit_try", .title = "rsl_bulkhead: try + leave", .loop = try_and_leave,
     .subject = &fixed.bulkhead, .goal = 12.0, .goal_many = 8.0, .parts = {"cas_pair"},
     .threads_max = 64},
    {.name = "permit", .title = "rsl_bulkhead: enter + leave", .loop = enter_and_leave,
     .subject = &fixed.bulkhead, .goal = 12.0, .goal_many = 8.0, .parts = {"cas_pair"},
     .threads_max = 64},
    {.name = "permit_call", .title = "rsl_bulkhead: call, around a bare call",
     .loop = call_bulkhead, .subject = &fixed.bulkhead, .parts = {"cas_pair", "bare_call"},
     .threads_max = 64},
    {.name = "permit_refused", .title = "rsl_bulkhead: try, refused", .loop = be_refused,
     .subject = &full.bulkhead, .rival = "permit_mutex_refused", .threads_max = 64},
    {.name = "permit_aimd", .title = "rsl_bulkhead: enter + leave, AIMD",
     .loop = enter_and_leave, .subject = &aimd.bulkhead, .parts = TWO_READS,
     .rival = "permit_mutex_aimd", .threads_max = 64},
    {.name = "permit_vegas", .title = "rsl_bulkhead: enter + leave, Vegas",
     .loop = enter_and_leave, .subject = &vegas.bulkhead, .parts = TWO_READS,
     .rival = "permit_mutex_aimd", .apart = true, .threads_max = 64},
    {.name = "permit_gradient", .title = "rsl_bulkhead: enter + leave, Gradient2",
     .loop = enter_and_leave, .subject = &gradient2.bulkhead, .parts = TWO_READS,
     .rival = "permit_mutex_aimd", .apart = true, .threads_max = 64},
    {.name = "permit_latency", .title = "rsl_bulkhead: enter + leave, latency target",
     .loop = enter_and_leave, .subject = &latency.bulkhead, .parts = TWO_READS,
     .rival = "permit_mutex_aimd", .apart = true, .threads_max = 64},
};

/* A limit that adapts may not fall below what there are threads: none is ever refused. */
static void prepare(shared_bulkhead *shared, rsl_bulkhead_limit limit)
{
    rsl_bulkhead_config config = {.calls_max = BENCH_PERMITS_MAX, .limit = limit};
    if (limit != RSL_LIMIT_FIXED) config.limit_min = BENCH_PERMITS_MAX;
    bench_must(rsl_bulkhead_init(&shared->bulkhead, &config) == RSL_OK, "a bulkhead is refused");
}

const bench_row *bench_permits(size_t *count)
{
    static rsl_bulkhead_permit last; /* stays out, so that all calls are refused */
    rsl_bulkhead_config single = {.calls_max = 1};
    prepare(&fixed, RSL_LIMIT_FIXED);
    prepare(&aimd, RSL_LIMIT_AIMD);
    prepare(&vegas, RSL_LIMIT_VEGAS);
    prepare(&gradient2, RSL_LIMIT_GRADIENT2);
    prepare(&latency, RSL_LIMIT_LATENCY);
    bench_must(rsl_bulkhead_init(&full.bulkhead, &single) == RSL_OK, "a bulkhead is refused");
    bench_must(rsl_bulkhead_try(&full.bulkhead, &last) == RSL_OK, "no permit");
    *count = RSL_COUNT(rows);
    return rows;
}
