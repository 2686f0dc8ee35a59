/* SPDX-License-Identifier: MIT
   saga.c: an order in three steps, in memory. When a step fails, those before it are undone, the
   latest first. Of a payment of which nobody knows whether it took place, the refund is called
   too, and told that it may find nothing.

   cc -std=c11 -O2 -I. examples/saga.c -pthread                                                  */
#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"

#include <stdio.h>
#include <string.h>

enum { DECLINED = 51, NO_ANSWER = 52, NO_COURIER = 53 };

typedef struct shop {
    int stock, charged, shipped;
    int bank, courier; /* how they answer: 0, or one of the above */
    char log[200];     /* what was called */
} shop;

static void note(shop *s, rsl_step *step, const char *what)
{
    size_t used = strlen(s->log);
    snprintf(s->log + used, sizeof s->log - used, " %s%s", what,
             rsl_step_is_undo(step) && rsl_step_maybe(step) ? "?" : "");
}

static rsl_outcome reserve(rsl_step *step, void *arg)
{
    shop *s = arg;
    note(s, step, "reserve");
    s->stock--;
    return RSL_STEP_OK;
}

static rsl_outcome release(rsl_step *step, void *arg)
{
    shop *s = arg;
    note(s, step, "release");
    s->stock++;
    return RSL_STEP_OK;
}

static rsl_outcome charge(rsl_step *step, void *arg)
{
    shop *s = arg;
    note(s, step, "charge");
    if (s->bank == DECLINED) return rsl_step_fail(step, RSL_STEP_FAIL, DECLINED);
    s->charged = 1;
    return s->bank == NO_ANSWER ? rsl_step_fail(step, RSL_STEP_UNKNOWN, NO_ANSWER) : RSL_STEP_OK;
}

static rsl_outcome refund(rsl_step *step, void *arg)
{
    shop *s = arg;
    note(s, step, "refund");
    s->charged = 0; /* also if there was nothing to give back */
    return RSL_STEP_OK;
}

static rsl_outcome ship(rsl_step *step, void *arg)
{
    shop *s = arg;
    note(s, step, "ship");
    if (s->courier != 0) return rsl_step_fail(step, RSL_STEP_FAIL, s->courier);
    s->shipped = 1;
    return RSL_STEP_OK;
}

static const rsl_saga_step steps[] = {
    {.name = "reserve", .run = reserve, .undo = release},
    {.name = "charge", .run = charge, .undo = refund},
    {.name = "ship", .run = ship, .flags = RSL_STEP_PIVOT},
};
static const rsl_saga_def order = {"order", 1, steps, RSL_COUNT(steps), RSL_SEC(60)};

static bool try(const char *what, shop s, int expected, const char *log)
{
    int status = rsl_saga_run(&order, NULL, &s);
    bool whole = status == RSL_OK ? s.stock == 9 && s.charged && s.shipped
                                  : s.stock == 10 && !s.charged && !s.shipped;
    printf("%s: %s\n   %s\n", what, rsl_strerror(status), s.log);
    return whole && status == expected && strcmp(s.log, log) == 0;
}

int main(void)
{
    bool proved = try("all goes well", (shop){.stock = 10}, RSL_OK, " reserve charge ship");
    proved &= try("the card is declined", (shop){.stock = 10, .bank = DECLINED}, RSL_EUNWOUND,
                  " reserve charge release");
    proved &= try("the bank does not answer", (shop){.stock = 10, .bank = NO_ANSWER}, RSL_EUNWOUND,
                  " reserve charge refund? release");
    proved &= try("no courier comes", (shop){.stock = 10, .courier = NO_COURIER}, RSL_EUNWOUND,
                  " reserve charge ship refund release");
    printf("all three, or none: %s\n", proved ? "yes" : "no");
    if (!proved) fputs("saga: an order was left half done\n", stderr);
    return proved ? 0 : 1;
}
