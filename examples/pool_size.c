/* SPDX-License-Identifier: MIT
   pool_size.c: how large should the pool be? It tries sizes with a load of your own, calls per
   second and milliseconds that each holds a resource, and says how long one would wait:

       build/examples/pool_size 400 6

   Calls come at random, and hold for a time that is random too (both exponential). It is the real
   pool, in virtual time: 100,000 calls take a tenth of a second.

   cc -std=c11 -O2 -I. examples/pool_size.c -lm -pthread                                        */
#define RSL_POOL_IMPLEMENTATION
#include "pool.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CALLS = 100000, MOST = 256, SIZES = 6 }; /* MOST: at a time; more are turned away */

typedef struct call {
    enum { FREE, WAITS, WOKEN, HOLDS } state;
    rsl_waiter     waiter;
    rsl_pool_lease lease;
    rsl_time       end;
} call;

static call     calls[MOST];
static rsl_time today = 1;
static double   rate = 400, hold = 6;

static rsl_time now(void *user) { (void)user; return today; }
static void sleep_until(void *user, rsl_time until) { (void)user; today = until; }
static void wake(void *user) { ((call *)user)->state = WOKEN; }

/* Exponential, by inversion; in nanoseconds. */
static rsl_time span_of(double mean)
{
    return (rsl_time)(-mean * log(1 - (double)rand() / ((double)RAND_MAX + 1)));
}

static int make(void *user, const rsl_ctx *ctx, void **resource)
{
    (void)ctx;
    *resource = user;
    return 0;
}

static void forget(void *user, void *resource) { (void)user, (void)resource; }

static void call_goes_on(call *c, int status)
{
    c->state = status == RSL_OK ? HOLDS : status == RSL_WAIT ? WAITS : FREE;
    c->end = today + span_of(hold * 1e6);
}

static void call_begin(rsl_pool *pool)
{
    for (int i = 0; i < MOST; i++) {
        call *c = &calls[i];
        if (c->state != FREE) continue;
        c->waiter.wake = wake;
        c->waiter.user = c;
        call_goes_on(c, rsl_pool_begin(pool, NULL, &c->waiter, &c->lease));
        return;
    }
}

static call *first_to_end(void)
{
    call *first = NULL;
    for (int i = 0; i < MOST; i++) {
        if (calls[i].state == HOLDS && (first == NULL || calls[i].end < first->end))
            first = &calls[i];
    }
    return first;
}

static void call_end(rsl_pool *pool, call *c)
{
    rsl_pool_release(pool, &c->lease);
    c->state = FREE;
    for (int i = 0; i < MOST; i++) { /* who was handed it has been woken */
        if (calls[i].state != WOKEN) continue;
        call_goes_on(&calls[i], rsl_pool_poll(pool, &calls[i].waiter, &calls[i].lease, today));
    }
}

/* The share of calls that wait, and the mean wait of all calls, in a pool of this size. */
static bool try_size(uint32_t size, double *share, rsl_time *wait)
{
    rsl_pool *pool;
    rsl_pool_stats s;
    rsl_pool_config config = {
        .create = make, .destroy = forget, .user = &config, .size_min = size, .size_max = size,
        .lifetime_max = RSL_FOREVER, .acquire_timeout = RSL_FOREVER, .caller_maintains = true,
        .clock = {now, sleep_until, NULL}};
    if (rsl_pool_open(&pool, &config) != RSL_OK) return false;
    rsl_pool_maintain(pool); /* makes them all */
    rsl_time arrival = today;
    for (int begun = 0; begun < CALLS || first_to_end() != NULL;) {
        call *ends = first_to_end();
        bool begins = begun < CALLS && (ends == NULL || arrival < ends->end);
        today = begins ? arrival : ends->end;
        if (!begins) {
            call_end(pool, ends);
            continue;
        }
        begun++;
        arrival += span_of(1e9 / rate);
        call_begin(pool);
    }
    rsl_pool_stats_get(pool, &s);
    *share = (double)s.waited / (double)s.acquired;
    *wait = s.wait_total / (rsl_time)s.acquired;
    return rsl_pool_close(pool, NULL) == RSL_OK;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        rate = atof(argv[1]);
        hold = atof(argv[2]);
    }
    double busy = rate * hold / 1000;
    if ((argc != 1 && argc != 3) || !(rate >= 0.001) || !(hold >= 0.001) || !(busy <= 100)) {
        fputs("pool_size [calls per second] [milliseconds held]: at most 100 held\n", stderr);
        return 2;
    }
    printf("%.4g calls/s x %.4g ms = %.3g resources in use, on average (Little's law)\n\n"
           "  size   in use   calls that wait   mean wait\n", rate, hold, busy);
    double before = 1;
    bool proved = true;
    for (uint32_t size = (uint32_t)busy + 1, end = size + SIZES; size < end; size++) {
        double share;
        rsl_time wait;
        if (!try_size(size, &share, &wait)) return 1;
        printf("  %4u   %4.0f %%          %6.1f %%   %6.2f ms\n", size, 100 * busy / size,
               100 * share, (double)wait / 1e6);
        proved = proved && share <= before;
        before = share;
    }
    return proved ? 0 : 1;
}
