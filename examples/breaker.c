/* SPDX-License-Identifier: MIT
   breaker.c: breaker.h alone. After three failures in a row the circuit opens, and the service
   that is down is left in peace; when it has had its rest, one call finds out that it is back.

   cc -std=c11 -O2 -I. examples/breaker.c -pthread                                              */
#define RSL_BREAKER_IMPLEMENTATION
#include "breaker.h"

#include <stdio.h>

enum { UNAVAILABLE = 503 };

typedef struct service {
    bool down;
    int  calls;
} service;

static int fetch(const rsl_ctx *ctx, void *arg)
{
    service *s = arg;
    (void)ctx;
    s->calls++;
    return s->down ? UNAVAILABLE : 0;
}

/* Time that moves when this program says so; without .clock it is the real one. */
static rsl_time today;

static rsl_time now(void *user)
{
    (void)user;
    return today;
}

static void told(const rsl_event *event, void *user)
{
    (void)user;
    if (event->kind == RSL_BREAKER_CHANGED) printf("  the circuit is %s\n", event->name);
}

int main(void)
{
    rsl_breaker breaker;
    rsl_breaker_config config = {.failures_max = 3, .open_for = RSL_SEC(30), .clock.now = now,
                                 .observer.on_event = told};
    if (rsl_breaker_init(&breaker, &config) != RSL_OK) {
        fprintf(stderr, "breaker: %s\n", rsl_breaker_config_check(&config));
        return 1;
    }
    service far_side = {.down = true};
    int results[7] = {0};

    for (int i = 0; i < 5; i++) { /* three reach the service, two are refused */
        results[i] = rsl_breaker_call(&breaker, NULL, fetch, &far_side);
        printf("call %d: %s\n", i + 1,
               results[i] == RSL_EOPEN ? "refused" : results[i] == 0 ? "ok" : "failed");
    }
    int calls_while_down = far_side.calls;
    far_side.down = false;
    today += RSL_SEC(29);
    results[5] = rsl_breaker_call(&breaker, NULL, fetch, &far_side); /* too early to ask */
    today += RSL_SEC(2);
    results[6] = rsl_breaker_call(&breaker, NULL, fetch, &far_side); /* the probe */
    printf("after 29 s: %s; after 31 s: %s\n", rsl_strerror(results[5]), rsl_strerror(results[6]));

    bool proved = results[2] == UNAVAILABLE && results[3] == RSL_EOPEN &&
                  results[4] == RSL_EOPEN && calls_while_down == 3 && results[5] == RSL_EOPEN &&
                  results[6] == 0 && rsl_breaker_state_get(&breaker) == RSL_BREAKER_CLOSED;
    rsl_breaker_deinit(&breaker);
    printf("the service was spared while it was down, and found again: %s\n",
           proved ? "yes" : "no");
    return proved ? 0 : 1;
}
