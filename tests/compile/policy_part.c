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

/* The same breaker for the same name; none where there is no stb_ds.h. */
static int named(void) {
    rsl_registry registry;
    void *one = NULL, *again = NULL;
    if (rsl_registry_init(&registry, NULL) != RSL_OK)
        return rsl_registry_config_check(NULL) != NULL ? 0 : 1;
    if (rsl_registry_acquire(&registry, "one", &one) != RSL_OK) return 2;
    if (rsl_registry_acquire(&registry, "one", &again) != RSL_OK || again != one) return 3;
    if (rsl_registry_release(&registry, one) != RSL_OK) return 4;
    if (rsl_registry_release(&registry, one) != RSL_OK) return 5;
    return rsl_registry_deinit(&registry) == RSL_OK ? 0 : 6;
}

#ifndef RSL_NO_THREADS
static int succeed(const rsl_ctx *ctx, void *arg) {
    *(uint32_t *)arg = ctx->attempt;
    return 0;
}

static int hedged(void) {
    rsl_workers *workers = NULL;
    rsl_hedge hedge;
    rsl_hedge_config config = {0};
    if (rsl_workers_open(&workers, NULL) != RSL_OK) return 1;
    config.workers = workers;
    if (rsl_hedge_init(&hedge, &config) != RSL_OK) return 2;
    uint32_t attempt = 0;
    if (rsl_hedge_call(&hedge, NULL, succeed, &attempt, sizeof attempt) != 0) return 3;
    if (rsl_hedge_deinit(&hedge, NULL) != RSL_OK) return 4;
    if (rsl_workers_close(workers, NULL) != RSL_OK) return 5;
    return attempt >= 1 ? 0 : 6;
}
#else
static int hedged(void) {
    rsl_hedge hedge;
    return rsl_hedge_init(&hedge, NULL) == RSL_EINVAL ? 0 : 1;
}
#endif

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
    if (stats.failed != 2 || stats.succeeded != 1) return 4;
    if (named() != 0) return 5;
    return hedged() == 0 ? 0 : 6;
}
