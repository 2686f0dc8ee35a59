/* pool_rows.c -- the pool's rows: a resource that exists is acquired and released.

   SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE
#include "bench.h"
#include "pools.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

void bench_must(bool good, const char *what)
{
    if (good) return;
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

/* The next ones of an array. Resources are created once, before anything is measured. */
typedef struct supply {
    bench_resource *resources;
    size_t          used, count;
} supply;

static int create(void *user, const rsl_ctx *ctx, void **resource)
{
    supply *from = user;
    (void)ctx;
    if (from->used == from->count) return 1;
    *resource = &from->resources[from->used++];
    return 0;
}

static void destroy(void *user, void *resource)
{
    (void)user;
    (void)resource;
}

int bench_be_healthy(void *user, void *resource)
{
    (void)user;
    (void)resource;
    return 0;
}

static rsl_pool_config config_of(supply *from)
{
    return (rsl_pool_config){.create = create, .destroy = destroy, .user = from,
                             .size_max = (uint32_t)from->count, .size_min = (uint32_t)from->count};
}

/* Opens the pool and waits until all resources are there, by holding all of them at once. */
static rsl_pool *open_full(const rsl_pool_config *config)
{
    rsl_pool *pool;
    rsl_pool_lease leases[64];
    bench_must(config->size_max <= RSL_COUNT(leases), "too many resources");
    bench_must(rsl_pool_open(&pool, config) == RSL_OK, "a pool cannot be opened");
    for (uint32_t i = 0; i < config->size_max; i++) {
        bench_must(rsl_pool_acquire(pool, NULL, &leases[i]) == RSL_OK, "a pool stays empty");
    }
    for (uint32_t i = 0; i < config->size_max; i++) {
        bench_must(rsl_pool_release(pool, &leases[i]) == RSL_OK, "a pool takes nothing back");
    }
    return pool;
}

/* A subject is known before its pool is opened. */
typedef struct shared_pool { _Alignas(128) rsl_pool *pool; } shared_pool;
static shared_pool plain, checked, checked_each_time;

static uint64_t acquire_and_release(void *subject, uint64_t count)
{
    rsl_pool *pool = ((shared_pool *)subject)->pool;
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        rsl_pool_lease lease;
        if (rsl_pool_acquire(pool, NULL, &lease) != RSL_OK) {
            unexpected++;
            continue;
        }
        unexpected += rsl_pool_release(pool, &lease) != RSL_OK;
    }
    return unexpected;
}

/* With more threads than resources there may be none; a refused thread lets another one run. */
static uint64_t try_and_release(void *subject, uint64_t count)
{
    rsl_pool *pool = ((shared_pool *)subject)->pool;
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        rsl_pool_lease lease;
        int status;
        while ((status = rsl_pool_try(pool, &lease)) == RSL_EFULL) sched_yield();
        if (status != RSL_OK) {
            unexpected++;
            continue;
        }
        unexpected += rsl_pool_release(pool, &lease) != RSL_OK;
    }
    return unexpected;
}

typedef int (*use_fn)(const rsl_ctx *ctx, void *resource, void *arg, bool *broken);

static int use(const rsl_ctx *ctx, void *resource, void *arg, bool *broken)
{
    (void)ctx;
    (void)arg;
    (void)broken;
    return resource == NULL;
}

static use_fn volatile used = use; /* an indirect call, as for bench_target */

static uint64_t call_use(void *subject, uint64_t count)
{
    rsl_pool *pool = ((shared_pool *)subject)->pool;
    uint64_t unexpected = 0;
    for (uint64_t i = 0; i < count; i++) {
        unexpected += rsl_pool_use(pool, NULL, used, NULL) != 0;
    }
    return unexpected;
}

static const bench_row pools[] = {
    {.name = "pool", .title = "rsl_pool: acquire + release", .loop = acquire_and_release,
     .subject = &plain, .floors_max = 1.4, .goal_many = 10.0, .parts = {"cas_pair"},
     .threads_max = 64},
    {.name = "pool_try", .title = "rsl_pool: try + release", .loop = try_and_release,
     .subject = &plain, .floors_max = 1.4, .goal_many = 10.0, .parts = {"cas_pair"},
     .threads_max = 64},
    {.name = "pool_use", .title = "rsl_pool: use, around a bare call", .loop = call_use,
     .subject = &plain, .parts = {"cas_pair", "bare_call"}, .threads_max = 64},
    {.name = "pool_checked", .title = "rsl_pool: acquire + release, validate, reset",
     .loop = acquire_and_release, .subject = &checked, .parts = {"cas_pair", "bare_call"},
     .rival = "pool_mutex_checked", .threads_max = 64},
    {.name = "pool_checked_always", .title = "rsl_pool: the same, validated each time",
     .loop = acquire_and_release, .subject = &checked_each_time,
     .parts = {"cas_pair", "bare_call", "bare_call"}, .rival = "pool_mutex_validated",
     .threads_max = 64},
};

const bench_row *bench_pools(size_t *count)
{
    static bench_resource resources[3][BENCH_RESOURCES];
    static supply supplies[3];
    for (int i = 0; i < 3; i++) supplies[i] = (supply){resources[i], 0, BENCH_RESOURCES};

    rsl_pool_config config = config_of(&supplies[0]);
    plain.pool = open_full(&config);

    config = config_of(&supplies[1]);
    config.validate = bench_be_healthy;
    config.reset = bench_be_healthy;
    checked.pool = open_full(&config);

    config.user = &supplies[2];
    config.validate_after = RSL_NONE;
    checked_each_time.pool = open_full(&config);

    *count = RSL_COUNT(pools);
    return pools;
}

static void *open_ours(bench_resource *resources, size_t count)
{
    static supply from; /* one pool of this kind is open at a time */
    from = (supply){resources, 0, count};
    rsl_pool_config config = config_of(&from);
    return open_full(&config);
}

static void close_ours(void *pool)
{
    bench_must(rsl_pool_close(pool, NULL) == RSL_OK, "a pool cannot be closed");
}

static bool acquire_ours(void *pool, bench_held *held)
{
    if (rsl_pool_acquire(pool, NULL, &held->lease) != RSL_OK) return false;
    held->resource = held->lease.resource;
    return true;
}

static bool release_ours(void *pool, bench_held *held)
{
    return rsl_pool_release(pool, &held->lease) == RSL_OK;
}

const bench_pool_kind bench_pool_ours = {
    .title = "rsl_pool", .ours = true, .open = open_ours, .close = close_ours,
    .acquire = acquire_ours, .release = release_ours};
