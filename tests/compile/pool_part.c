/* SPDX-License-Identifier: MIT */
#include "pool.h"

#include "program.h"

static int made, unmade;

static int make(void *user, const rsl_ctx *ctx, void **resource) {
    (void)ctx;
    *resource = user;
    made++;
    return 0;
}

static void unmake(void *user, void *resource) {
    if (user == resource) unmade++;
}

static int use(const rsl_ctx *ctx, void *resource, void *arg, bool *broken) {
    (void)ctx;
    *broken = ++*(int *)arg == 2;
    return *(int *)resource;
}

int pool_part(void) {
    int thing = 42, uses = 0;
    rsl_pool *pool = NULL;
    rsl_pool_config config = {0};
    config.create = make;
    config.destroy = unmake;
    config.user = &thing;
#ifdef RSL_NO_THREADS
    config.caller_maintains = true;
#endif
    if (rsl_pool_config_check(&config) != NULL) return 1;
    if (rsl_pool_open(&pool, &config) != RSL_OK) return 2;
    for (int i = 0; i < 100; i++) {
        if (rsl_pool_use(pool, NULL, use, &uses) != 42) return 3;
    }
    rsl_pool_stats stats;
    rsl_pool_stats_get(pool, &stats);
    if (rsl_pool_close(pool, NULL) != RSL_OK) return 4;
    if (stats.acquired != 100 || stats.closed_broken != 1 || stats.open != 1) return 5;
    return made == 2 && unmade == 2 ? 0 : 6;
}
