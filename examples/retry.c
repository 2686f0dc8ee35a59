/* SPDX-License-Identifier: MIT
   retry.c: retry.h alone. A call that fails twice and then works, made three times at most, with
   growing random waits between, and never past the caller's deadline.

   cc -std=c11 -O2 -I. examples/retry.c -pthread                                                */
#define RSL_RETRY_IMPLEMENTATION
#include "retry.h"

#include <stdio.h>

enum { UNAVAILABLE = 503, NOT_FOUND = 404 };

/* The far side: down for the first calls that it gets. */
typedef struct service {
    int down_for, calls, answer;
} service;

static int fetch(const rsl_ctx *ctx, void *arg)
{
    service *s = arg;
    s->calls++;
    int result = s->calls <= s->down_for ? UNAVAILABLE : s->answer;
    printf("  attempt %u gives %d\n", (unsigned)ctx->attempt, result);
    return result;
}

/* Only what may work the next time is worth repeating. */
static bool worth_repeating(int result, void *user)
{
    (void)user;
    return result == UNAVAILABLE;
}

int main(void)
{
    rsl_retry retry;
    rsl_retry_config config = {.attempts_max = 3, .delay_first = RSL_MS(20),
                               .delay_max = RSL_MS(200), .retryable = worth_repeating};
    if (rsl_retry_init(&retry, &config) != RSL_OK) {
        fprintf(stderr, "retry: %s\n", rsl_retry_config_check(&config));
        return 1;
    }
    service flaky = {.down_for = 2}, missing = {.answer = NOT_FOUND}, dead = {.down_for = 99};
    rsl_ctx ctx = rsl_within(RSL_SEC(2)); /* for each call, all its attempts and waits */

    printf("a service that comes back:\n");
    int came_back = rsl_retry_call(&retry, &ctx, fetch, &flaky);
    printf("a failure that no repetition mends:\n");
    int not_found = rsl_retry_call(&retry, &ctx, fetch, &missing);
    printf("a service that stays down:\n");
    int gave_up = rsl_retry_call(&retry, &ctx, fetch, &dead);
    rsl_retry_deinit(&retry);

    bool proved = came_back == 0 && flaky.calls == 3 && not_found == NOT_FOUND &&
                  missing.calls == 1 && gave_up == UNAVAILABLE && dead.calls == 3;
    printf("repeated what was worth it, three times at most: %s\n", proved ? "yes" : "no");
    return proved ? 0 : 1;
}
