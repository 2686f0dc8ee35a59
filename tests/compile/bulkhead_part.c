/* SPDX-License-Identifier: MIT */
#include "bulkhead.h"

#include "program.h"

static int enters_again(const rsl_ctx *ctx, void *arg) {
    rsl_bulkhead *bulkhead = (rsl_bulkhead *)arg;
    rsl_bulkhead_permit permit;
    (void)ctx;
    return rsl_bulkhead_try(bulkhead, &permit) == RSL_EFULL ? 42 : 0; /* it has the only one */
}

#ifndef RSL_NO_THREADS
static int add_one(const rsl_ctx *ctx, void *arg) {
    (void)ctx;
    return ++*(int *)arg;
}

static int workers_part(void) {
    rsl_workers *workers = NULL;
    rsl_workers_config config = {0};
    config.threads_max = 2;
    if (rsl_workers_config_check(&config) != NULL) return 11;
    if (rsl_workers_open(&workers, &config) != RSL_OK) return 12;
    int sum = 0, result = 0;
    rsl_task task = {0};
    for (int i = 1; i <= 100; i++) {
        if (rsl_workers_submit(workers, NULL, add_one, &sum, &task) != RSL_OK) return 13;
        if (rsl_task_wait(&task, NULL, &result) != RSL_OK || result != i) return 14;
    }
    return rsl_workers_close(workers, NULL) == RSL_OK ? 0 : 15;
}
#endif

int bulkhead_part(void) {
    rsl_bulkhead bulkhead;
    rsl_bulkhead_config config = {0};
    config.calls_max = 1;
    if (rsl_bulkhead_config_check(&config) != NULL) return 1;
    if (rsl_bulkhead_init(&bulkhead, &config) != RSL_OK) return 2;
    for (int i = 0; i < 100; i++) {
        if (rsl_bulkhead_call(&bulkhead, NULL, enters_again, &bulkhead) != 42) return 3;
    }
    rsl_bulkhead_permit permit;
    if (rsl_bulkhead_enter(&bulkhead, NULL, &permit) != RSL_OK) return 4;
    if (rsl_bulkhead_leave(&bulkhead, &permit, 0) != RSL_OK) return 5;
    rsl_bulkhead_stats stats;
    rsl_bulkhead_stats_get(&bulkhead, &stats);
    rsl_bulkhead_deinit(&bulkhead);
    if (stats.admitted != 101 || stats.refused != 100 || stats.in_use != 0) return 6;
#ifndef RSL_NO_THREADS
    return workers_part();
#else
    return 0;
#endif
}
