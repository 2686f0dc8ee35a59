/* SPDX-License-Identifier: MIT
   policy.c: one call through four patterns. The order of the layers is the meaning: the fallback
   answers for all, the timeout limits all attempts together, each attempt asks the breaker.

   cc -std=c11 -O2 -I. examples/policy.c -pthread                                               */
#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <stdio.h>

enum { UNAVAILABLE = 503, FROM_CACHE = 1 };

typedef struct service {
    bool down;
    int  calls;
} service;

static int fetch(const rsl_ctx *ctx, void *arg)
{
    service *s = arg;
    s->calls++;
    if (rsl_left(ctx) == 0) return RSL_ETIMEOUT; /* long work would look at this now and then */
    return s->down ? UNAVAILABLE : 0;
}

static int answer_from_cache(int result, void *user)
{
    int *served = user;
    printf("  from the cache, for: %s\n",
           result == UNAVAILABLE ? "the service is unavailable" : rsl_strerror(result));
    (*served)++;
    return FROM_CACHE;
}

int main(void)
{
    rsl_fallback fallback;
    rsl_timeout  total;
    rsl_retry    retry;
    rsl_breaker  breaker;
    rsl_retry_config   retry_config = {.attempts_max = 3, .delay_first = RSL_MS(10)};
    rsl_breaker_config breaker_config = {.failures_max = 5};
    int served = 0;
    int status = rsl_fallback_init(&fallback, answer_from_cache, &served);
    if (status == RSL_OK) status = rsl_timeout_init(&total, RSL_SEC(1));
    if (status == RSL_OK) status = rsl_retry_init(&retry, &retry_config);
    if (status == RSL_OK) status = rsl_breaker_init(&breaker, &breaker_config);

    const rsl_layer policy[] = {rsl_fallback_layer(&fallback), rsl_timeout_layer(&total),
                                rsl_retry_layer(&retry), rsl_breaker_layer(&breaker)};
    const char *why = rsl_strerror(status);
    if (status == RSL_OK) status = rsl_policy_check(policy, RSL_COUNT(policy), &why);
    if (status != RSL_OK) {
        fprintf(stderr, "policy: %s\n", why);
        return 1;
    }
    service far_side = {.down = false};
    int first = rsl_run(policy, RSL_COUNT(policy), NULL, fetch, &far_side);
    far_side.down = true;
    int outage = 0;
    for (int i = 0; i < 10; i++) {
        outage += rsl_run(policy, RSL_COUNT(policy), NULL, fetch, &far_side) == FROM_CACHE;
    }
    printf("ten calls in the outage: %d served from the cache, %d reached the service\n", served,
           far_side.calls - 1);

    bool proved = first == 0 && outage == 10 && served == 10 && far_side.calls == 1 + 5;
    rsl_breaker_deinit(&breaker);
    rsl_retry_deinit(&retry);
    printf("everybody was answered, the service was spared: %s\n", proved ? "yes" : "no");
    return proved ? 0 : 1;
}
