/* SPDX-License-Identifier: MIT
   stats.c: figures from the records of a run. Nothing is sampled: each order has its record. */
#include "drill.h"

#include <stdlib.h>

static int compare_times(const void *a, const void *b)
{
    rsl_time left = *(const rsl_time *)a, right = *(const rsl_time *)b;
    return (left > right) - (left < right);
}

/* The smallest time that a share of all is at or below (nearest rank); -1 of none. */
static rsl_time quantile(const rsl_time *sorted, size_t count, double share)
{
    if (count == 0) return -1;
    size_t rank = (size_t)(share * (double)count);
    if ((double)rank < share * (double)count) rank++;
    return sorted[rank > 0 ? rank - 1 : 0];
}

static void tally_order(tally *t, const order *o)
{
    t->orders++;
    t->answers[o->outcome]++;
}

/* Whether of the orders due in the half second from `from` at least 95 % were confirmed in time.
 */
static bool is_well(const run *r, rsl_time from)
{
    uint32_t due = 0, in_time = 0;
    for (uint32_t i = 0; i < r->order_count; i++) {
        const order *o = &r->orders[i];
        if (o->due < from || o->due >= from + RSL_MS(500)) continue;
        due++;
        in_time += o->outcome == IN_TIME;
    }
    return due > 0 && in_time >= 0.95 * due;
}

static rsl_time recovery_of(const run *r)
{
    rsl_time end = outage_of(r).to;
    for (rsl_time t = end; t + RSL_MS(500) <= r->options->length; t += RSL_MS(10)) {
        if (is_well(r, t)) return t - end;
    }
    return -1;
}

static uint32_t calls_within(const run *r, interval when)
{
    uint32_t calls = 0;
    for (rsl_time tenth = when.from / TENTH; tenth < when.to / TENTH && tenth < BUCKETS_MAX;
         tenth++) {
        calls += atomic_load(&r->calls[tenth]);
    }
    return calls;
}

/* Each bucket holds the orders that were answered in it. */
static bool buckets_fill(stats *s, const run *r)
{
    rsl_time span = TENTH * BUCKET_TENTHS;
    s->bucket_count = (size_t)((r->options->length + span - 1) / span);
    s->buckets = calloc(s->bucket_count, sizeof *s->buckets);
    rsl_time *times = calloc(r->order_count, sizeof *times);
    bool room = s->buckets != NULL && times != NULL;
    for (size_t b = 0; room && b < s->bucket_count; b++) {
        size_t count = 0;
        for (uint32_t i = 0; i < r->order_count; i++) {
            const order *o = &r->orders[i];
            if (o->outcome == UNANSWERED || (size_t)(o->answered / span) != b) continue;
            s->buckets[b].answers[o->outcome]++;
            times[count++] = o->answered - o->due;
        }
        qsort(times, count, sizeof *times, compare_times);
        s->buckets[b].p50 = quantile(times, count, 0.5);
        s->buckets[b].p99 = quantile(times, count, 0.99);
    }
    free(times);
    return room;
}

bool stats_take(stats *s, const run *r)
{
    rsl_time *times = calloc(r->order_count, sizeof *times);
    if (times == NULL) return false;
    size_t answered = 0;
    for (uint32_t i = 0; i < r->order_count; i++) {
        const order *o = &r->orders[i];
        tally_order(&s->all, o);
        for (int f = 0; f < FAULTS; f++) {
            if (o->due >= r->faults[f].from && o->due < r->faults[f].to)
                tally_order(&s->during[f], o);
        }
        s->booked_later += o->booked_later;
        s->repeated += o->attempts > 1;
        if (o->outcome != UNANSWERED) times[answered++] = o->answered - o->due;
    }
    qsort(times, answered, sizeof *times, compare_times);
    s->p50 = quantile(times, answered, 0.5);
    s->p99 = quantile(times, answered, 0.99);
    s->max = quantile(times, answered, 1);
    free(times);
    s->goodput = s->all.answers[IN_TIME] / ((double)r->options->length / (double)RSL_SEC(1));
    s->outage_calls = calls_within(r, outage_of(r));
    s->recovery = recovery_of(r);
    rsl_pool_stats_get(r->guarded ? r->guard->pool : NULL, &s->pool);
    rsl_bulkhead_stats_get(r->guarded ? &r->guard->bulkhead : NULL, &s->bulkhead);
    return buckets_fill(s, r);
}

void stats_release(stats *s)
{
    free(s->buckets);
    s->buckets = NULL;
}
