/* SPDX-License-Identifier: MIT
   registry.c: one breaker for each host, made when the host is first called. There is room for
   eight; a flood of names that come once pushes out those that are not needed, and never the one
   whose circuit is open: else a dead host would look like a new one.

   cc -std=c11 -O2 -I. examples/registry.c -pthread              (needs stb_ds.h: libstb-dev)   */
#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <stdio.h>
#include <string.h>

static int calls_to_dead;

static int fetch(const rsl_ctx *ctx, void *arg)
{
    const char *host = arg;
    (void)ctx;
    if (strcmp(host, "dead.example") != 0) return 0;
    calls_to_dead++;
    return 503;
}

/* What a program does for each request. */
static int guarded_fetch(rsl_registry *breakers, const char *host)
{
    void *breaker;
    int rc = rsl_registry_acquire(breakers, host, &breaker);
    if (rc != RSL_OK) return rc;
    rc = rsl_breaker_call(breaker, NULL, fetch, (void *)(uintptr_t)host);
    rsl_registry_release(breakers, breaker);
    return rc;
}

static int print_name(const char *host, void *breaker, void *arg)
{
    bool open = rsl_breaker_state_get(breaker) == RSL_BREAKER_OPEN;
    (void)arg;
    printf("  %s%s\n", host, open ? " (open)" : "");
    return 0;
}

int main(void)
{
    rsl_registry breakers;
    rsl_breaker_config each = {.failures_max = 3, .open_for = RSL_SEC(60)};
    rsl_registry_config config = {.type = rsl_registry_breakers(), .config = &each,
                                  .count_max = 8, .key_max = 64};
    int rc = rsl_registry_init(&breakers, &config);
    if (rc != RSL_OK) {
        const char *why = rsl_registry_config_check(&config);
        fprintf(stderr, "registry: %s\n", why != NULL ? why : rsl_strerror(rc));
        return 1;
    }
    for (int i = 0; i < 5; i++) guarded_fetch(&breakers, "dead.example"); /* opens at the third */
    int failures = 0;
    for (int i = 0; i < 10000; i++) { /* a flood of names, and one that is in use all along */
        char host[32];
        snprintf(host, sizeof host, "host-%d.example", i);
        failures += guarded_fetch(&breakers, host) != 0;
        failures += guarded_fetch(&breakers, "popular.example") != 0;
    }
    int again = guarded_fetch(&breakers, "dead.example");

    rsl_registry_stats stats;
    rsl_registry_stats_get(&breakers, &stats);
    printf("after %d made and %d evicted there are:\n", (int)stats.made, (int)stats.evicted);
    rsl_registry_visit(&breakers, print_name, NULL);
    printf("dead.example: %s, after %d calls\n", rsl_strerror(again), calls_to_dead);
    bool proved = failures == 0 && again == RSL_EOPEN && calls_to_dead == 3 && stats.count == 8 &&
                  stats.made == 10002 && stats.held == 0;
    if (rsl_registry_deinit(&breakers) != RSL_OK) proved = false;
    printf("the open breaker outlived the flood, which got no more than its room: %s\n",
           proved ? "yes" : "no");
    return proved ? 0 : 1;
}
