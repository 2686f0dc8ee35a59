/* SPDX-License-Identifier: MIT
   guarded.c: the same order behind six layers. What each is for:

       fallback   no caller is turned away: the order is accepted and booked later, from a queue
       total      no caller waits longer than 800 ms
       retry      what passes, passes unseen: a stale snapshot, a short lock
       bulkhead   four calls at once; the others wait in turn where they hold nothing, orders
                  from the queue last
       breaker    a database that is down is left in peace, and callers are answered at once
       attempt    one attempt gives up after 300 ms, so that there is time for another

   The breaker stands inside the bulkhead, so that it is asked when a call's turn has come, not
   before its wait. While it is open nobody waits, as all permits come back at once.

   Connections come from a pool. The call inside the layers leases one, so that a pool that cannot
   connect is a failure of the database, which the breaker counts.                            */
#include "drill.h"

#include <stdlib.h>
#include <string.h>

/* ---- the outbox ---- */

static bool outbox_put(outbox *box, uint32_t key)
{
    pthread_mutex_lock(&box->lock);
    bool room = box->count < box->room;
    if (room) box->keys[(box->first + box->count++) % box->room] = key;
    pthread_mutex_unlock(&box->lock);
    return room;
}

static bool outbox_take(outbox *box, uint32_t *key)
{
    pthread_mutex_lock(&box->lock);
    bool any = box->count > 0;
    if (any) {
        *key = box->keys[box->first];
        box->first = (box->first + 1) % box->room;
        box->count--;
    }
    pthread_mutex_unlock(&box->lock);
    return any;
}

bool guard_has_orders(run *r)
{
    outbox *box = &r->guard->outbox;
    pthread_mutex_lock(&box->lock);
    bool any = box->count > 0;
    pthread_mutex_unlock(&box->lock);
    return any;
}

/* ---- one attempt ---- */

typedef struct placing { run *r; order *o; } placing;

/* The first attempt is like the bare one. Whatever made it fail, the next takes the write lock
   before it reads, so that no rival can make its snapshot stale. */
static int transact(const rsl_ctx *ctx, void *db, void *arg, bool *broken)
{
    placing *p = arg;
    run_count_call(p->r);
    bool locks_first = p->r->options->immediate || ctx->attempt > 1;
    rsl_sqlite_mode mode = locks_first ? RSL_SQLITE_IMMEDIATE : RSL_SQLITE_DEFERRED;
    int code = rsl_sqlite_transaction(db, ctx, mode, shop_order, p->o);
    int primary = code & 0xff;
    if (p->o->committing && primary == SQLITE_IOERR) p->o->unknown = true;
    *broken = primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN || primary == SQLITE_READONLY;
    return code;
}

static int attempt(const rsl_ctx *ctx, void *arg)
{
    placing *p = arg;
    p->o->attempts++;
    p->o->committing = false;
    return rsl_pool_use(p->r->guard->pool, ctx, transact, p);
}

static int accept_for_later(int result, void *arg)
{
    placing *p = arg;
    p->o->result = result;
    return outbox_put(&p->r->guard->outbox, p->o->key) ? ACCEPTED : result;
}

/* ---- the pool ---- */

/* Each try to open the file reaches for the database, whoever waits for it. */
static void on_pool(const rsl_event *event, void *user)
{
    if (event->kind == RSL_POOL_CREATED || event->kind == RSL_POOL_CREATE_FAILED)
        run_count_call(user);
}

/* Each lease begins with a look at the file: a connection keeps writing to a file that was moved
   away, and an order in there is not confirmed. */
static bool pool_open(run *r)
{
    guard *g = r->guard;
    const rsl_sqlite_config connection = {.path = r->path, .flags = SQLITE_OPEN_READWRITE,
                                          .busy_timeout = PATIENCE, .pragmas = SHOP_PRAGMAS};
    g->connection = connection;
    rsl_pool_config config = {
        .name = "shop.db", .size_max = CONNECTIONS, .acquire_timeout = RSL_MS(100),
        .create_backoff_max = RSL_MS(100), .validate_after = RSL_NONE,
        .create = rsl_sqlite_create, .destroy = rsl_sqlite_destroy,
        .validate = rsl_sqlite_validate, .reset = rsl_sqlite_reset,
        .abandon = rsl_sqlite_abandon, .user = &g->connection, .observer = {on_pool, r}};
    return rsl_pool_open(&g->pool, &config) == RSL_OK;
}

/* ---- the policy ---- */

static void on_breaker(const rsl_event *event, void *user)
{
    run *r = user;
    guard *g = r->guard;
    if (event->kind != RSL_BREAKER_CHANGED) return;
    uint32_t place = atomic_fetch_add(&g->change_count, 1);
    if (place >= CHANGES_MAX) return;
    change seen = {run_time(r), event->number, (rsl_breaker_state)event->value};
    g->changes[place] = seen;
}

bool guard_open(run *r)
{
    guard *g = calloc(1, sizeof *g);
    if (g == NULL) return false;
    r->guard = g;
    pthread_mutex_init(&g->outbox.lock, NULL);
    g->outbox.room = r->order_count;
    g->outbox.keys = calloc(g->outbox.room, sizeof *g->outbox.keys);

    rsl_retry_budget_config budget = {.tokens_max = 100, .tokens_per_success = 0.5};
    rsl_retry_config retry = {
        .name = "orders", .attempts_max = 4, .delay_first = RSL_MS(10), .delay_max = RSL_MS(100),
        .retryable = rsl_sqlite_is_retryable, .budget = &g->budget};
    rsl_breaker_config breaker = {
        .name = "shop.db", .window = RSL_WINDOW_COUNT, .window_calls = 8, .failure_rate = 0.5,
        .open_for = RSL_MS(100), .open_multiplier = 2, .open_max = RSL_MS(300), .open_jitter = 0.1,
        .probes_max = 2, .probe_for = RSL_SEC(2), .is_failure = rsl_sqlite_is_failure,
        .is_ignored = rsl_sqlite_is_ignored, .observer = {on_breaker, r}};
    rsl_bulkhead_config bulkhead = {.name = "shop.db", .calls_max = CONNECTIONS,
                                    .waiting_max = WAITING, .wait_max = RSL_MS(200)};
    return g->outbox.keys != NULL && rsl_timeout_init(&g->total, RSL_MS(800)) == RSL_OK &&
           rsl_timeout_init(&g->attempt, RSL_MS(300)) == RSL_OK &&
           rsl_retry_budget_init(&g->budget, &budget) == RSL_OK &&
           rsl_retry_init(&g->retry, &retry) == RSL_OK &&
           rsl_breaker_init(&g->breaker, &breaker) == RSL_OK &&
           rsl_bulkhead_init(&g->bulkhead, &bulkhead) == RSL_OK && pool_open(r);
}

void guard_close(run *r)
{
    guard *g = r->guard;
    if (g == NULL) return;
    if (g->pool != NULL) rsl_pool_close(g->pool, NULL); /* all leases are back */
    rsl_bulkhead_deinit(&g->bulkhead);
    rsl_breaker_deinit(&g->breaker);
    rsl_retry_deinit(&g->retry);
    pthread_mutex_destroy(&g->outbox.lock);
    free(g->outbox.keys);
    free(g);
    r->guard = NULL;
}

int guarded_place(run *r, order *o)
{
    guard *g = r->guard;
    placing p = {r, o};
    rsl_fallback later;
    rsl_fallback_init(&later, accept_for_later, &p);
    const rsl_layer policy[] = {rsl_fallback_layer(&later), rsl_timeout_layer(&g->total),
                                rsl_retry_layer(&g->retry), rsl_bulkhead_layer(&g->bulkhead),
                                rsl_breaker_layer(&g->breaker), rsl_timeout_layer(&g->attempt)};
    rsl_ctx ctx = {.deadline = r->start + o->due + PATIENCE};
    return rsl_run(policy, RSL_COUNT(policy), &ctx, attempt, &p);
}

/* Behind the same breaker, budget and bulkhead, so that the queue adds no storm to a database that
   has just come back. */
bool guarded_book_one(run *r, rsl_time limit)
{
    guard *g = r->guard;
    uint32_t key;
    if (rsl_breaker_state_get(&g->breaker) != RSL_BREAKER_CLOSED ||
        !outbox_take(&g->outbox, &key)) {
        return false;
    }
    placing p = {r, &r->orders[key]};
    const rsl_layer policy[] = {rsl_retry_layer(&g->retry), rsl_bulkhead_layer(&g->bulkhead),
                                rsl_breaker_layer(&g->breaker), rsl_timeout_layer(&g->attempt)};
    rsl_ctx ctx = rsl_within(limit);
    ctx.priority = -1; /* nobody waits for it */
    p.o->booked_later = rsl_run(policy, RSL_COUNT(policy), &ctx, attempt, &p) == RSL_OK;
    if (!p.o->booked_later) outbox_put(&g->outbox, key);
    return p.o->booked_later;
}
