/* SPDX-License-Identifier: MIT */
#include "resilience.h"

#include "program.h"

static rsl_time virtual_now(void *user) {
    return *(rsl_time *)user;
}

static void virtual_sleep(void *user, rsl_time until) {
    *(rsl_time *)user = until;
}

static int succeed_on_the_third(const rsl_ctx *ctx, void *arg) {
    (void)ctx;
    return ++*(int *)arg < 3 ? 12345 : 0;
}

int policy_part(void) {
    rsl_time now = RSL_SEC(9);
    rsl_clock clock = {virtual_now, virtual_sleep, &now};
    rsl_retry retry;
    rsl_breaker breaker;
    rsl_timeout total;
    if (rsl_retry_init(&retry, NULL) != RSL_OK || rsl_breaker_init(&breaker, NULL) != RSL_OK ||
        rsl_timeout_init(&total, RSL_SEC(60)) != RSL_OK) {
        return 1;
    }
    rsl_layer policy[3];
    policy[0] = rsl_timeout_layer(&total);
    policy[1] = rsl_retry_layer(&retry);
    policy[2] = rsl_breaker_layer(&breaker);
    const char *why = "not written";
    int checked = rsl_policy_check(policy, RSL_COUNT(policy), &why);

    rsl_ctx ctx = {0};
    ctx.clock = &clock;
    int calls = 0;
    int result = rsl_run(policy, RSL_COUNT(policy), &ctx, succeed_on_the_third, &calls);
    rsl_breaker_stats stats;
    rsl_breaker_stats_get(&breaker, &stats);
    rsl_breaker_deinit(&breaker);
    rsl_retry_deinit(&retry);
    if (checked != RSL_OK || why != NULL) return 2;
    if (result != 0 || calls != 3) return 3;
    return stats.failed == 2 && stats.succeeded == 1 ? 0 : 4;
}
