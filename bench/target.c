/* target.c -- the protected call: does nothing and succeeds, or fails.

   SPDX-License-Identifier: MIT */
#include "bench.h"

static int succeed(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return 0;
}

static int fail(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return 1;
}

rsl_fn volatile bench_failure = fail;
rsl_fn volatile bench_target = succeed;
