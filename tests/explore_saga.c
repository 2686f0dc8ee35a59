/* SPDX-License-Identifier: MIT
   explore_saga.c: what saga.h promises of its runtime, in every order of those who start, wait,
   cancel and close, and its own threads: nobody sleeps for ever, each step is called once and only
   once its START is stored, each saga ends, nothing is cut short by a close, and what a lease that
   is over leaves behind is in order. A planted bug shows that the explorer finds what it looks
   for. Prints TAP.                                                                              */
#define EXPLORE_MOST 20000
#include "support/explore.h"

#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"

enum { SAGAS = 3, STEPS = 2, LOG_MAX = 64, LEASE = 1000000000 };

typedef enum manner { WELL, SECOND_FAILS, FIRST_EXITS, HANGS } manner;

/* The store: a log for each saga. An append is one moment, before and after which others move. */
static struct world {
    rsl_sagas       *sagas;
    rsl_saga_store   table;
    rsl_word_        moment;
    manner           manner;
    rsl_saga_id      id[EXPLORE_THREADS];
    uint8_t          log[SAGAS + 1][LOG_MAX], step[SAGAS + 1][LOG_MAX];
    uint32_t         count[SAGAS + 1];
    uint64_t         epoch[SAGAS + 1];
    int64_t          lease[SAGAS + 1];   /* until then; 0: nobody's */
    rsl_saga_id      begun;
    int              calls[SAGAS + 1][2 * STEPS], inside;
    int              appends, fails_at;  /* 0: never */
    int              callers;            /* who have not ended */
    bool             deaf;               /* the store does not renew */
    bool             canceled;           /* a step has seen its cancel */
} w;

static int store_open(void *self, bool salvage, rsl_saga_opening *opening, char *error,
                      size_t size)
{
    (void)self, (void)salvage, (void)error, (void)size;
    memcpy(opening->uuid, "00000000-0000-4000-8000-000000000001", sizeof opening->uuid);
    opening->epoch = 1;
    opening->next_id = 1;
    return RSL_OK;
}

static int store_load(void *self, rsl_saga_id saga,
                      int (*visit)(void *user, const rsl_saga_record *record), void *user)
{
    (void)self, (void)saga, (void)visit, (void)user;
    return RSL_OK;
}

static int store_compact(void *self, bool (*keep)(void *user, const rsl_saga_record *record),
                         void *user, uint32_t finished_max)
{
    (void)self, (void)keep, (void)user, (void)finished_max;
    return RSL_OK;
}

static void store_keep(const rsl_saga_record *record)
{
    rsl_saga_id id = record->saga;
    const uint8_t *data = (const uint8_t *)record->data;
    explore_check(id >= 1 && id <= SAGAS && w.count[id] < LOG_MAX, "a record of a saga");
    explore_check(record->number == w.count[id] + 1, "records come in their order");
    w.step[id][w.count[id]] = data[0] == RSL_SAGA_LOG_BEGIN_ ? 0 : data[2];
    w.log[id][w.count[id]++] = data[0];
}

static int store_append(void *self, rsl_saga_record *records, size_t count)
{
    (void)self;
    explore_point_("append", &w.moment, true);
    explore_check(++w.inside == 1, "one append at a time");
    int status = ++w.appends == w.fails_at ? RSL_EIO : RSL_OK;
    for (size_t i = 0; i < count; i++) {
        bool fenced = w.table.claim != NULL && w.epoch[records[i].saga] != records[i].epoch;
        records[i].status = fenced ? RSL_EFENCED : RSL_OK;
        if (status == RSL_OK && !fenced) store_keep(&records[i]);
    }
    explore_point_("appended", &w.moment, true);
    w.inside--;
    return status;
}

static void store_close(void *self) { (void)self; }

/* ---- what a shared store does besides ---- */

static int store_begin(void *self, const char *key, const char *def, rsl_time claim_for,
                       rsl_saga_record *record, bool *is_new)
{
    (void)self, (void)key, (void)def;
    explore_point_("begin", &w.moment, true);
    record->saga = ++w.begun;
    record->epoch = w.epoch[w.begun] = 1;
    w.lease[w.begun] = explore_.now + claim_for;
    store_keep(record);
    *is_new = true;
    return RSL_OK;
}

static int store_claim(void *self, const char *const *defs, size_t defs_count, rsl_saga_id only,
                       rsl_time claim_for, rsl_saga_claim *claims, size_t *count)
{
    (void)self, (void)defs, (void)defs_count, (void)only, (void)claim_for, (void)claims;
    *count = 0;
    return RSL_OK;
}

static int store_renew(void *self, rsl_time claim_for, rsl_saga_claim *claims, size_t count)
{
    (void)self;
    explore_point_("renew", &w.moment, true);
    if (w.deaf && claim_for > 0) return RSL_EIO;
    for (size_t i = 0; i < count; i++) {
        claims[i].status = RSL_OK;
        claims[i].cancel = false;
        w.lease[claims[i].saga] = claim_for > 0 ? explore_.now + claim_for : 0;
    }
    return RSL_OK;
}

static int store_cancel(void *self, rsl_saga_id saga)
{
    (void)self, (void)saga;
    return RSL_OK;
}

static int store_list(void *self, rsl_saga_id saga, unsigned states,
                      bool (*visit)(const rsl_saga_info *info, void *user), void *user)
{
    (void)self, (void)states;
    explore_point_("list", &w.moment, false);
    bool ended = saga <= SAGAS && w.count[saga] > 0 &&
                 w.log[saga][w.count[saga] - 1] == RSL_SAGA_LOG_END_;
    rsl_saga_info info;
    memset(&info, 0, sizeof info);
    info.id = saga;
    info.state = ended ? RSL_SAGA_DONE : RSL_SAGA_RUNNING;
    visit(&info, user);
    return RSL_OK;
}

/* ---- steps ---- */

static void stays_until_told(const rsl_step *step)
{
    rsl_ctx ctx = rsl_step_ctx(step);
    rsl_word_ park = 0;
    rsl_ctx_sleep_(&ctx, NULL, &park, RSL_FOREVER);
    w.canceled = rsl_cancel_fired(ctx.cancel);
    explore_check(w.canceled, "only a cancel ends it");
}

static rsl_outcome step_run(rsl_step *step, void *arg)
{
    rsl_saga_id id = rsl_step_saga(step);
    uint32_t index = step->index;
    (void)arg;
    explore_check(w.log[id][w.count[id] - 1] != RSL_SAGA_LOG_END_, "it has not ended");
    uint32_t starts = 0;
    for (uint32_t i = 0; i < w.count[id]; i++)
        starts += w.log[id][i] == RSL_SAGA_LOG_START_ && w.step[id][i] == index;
    explore_check(starts > 0, "its START is stored");
    explore_check(++w.calls[id][2 * index + rsl_step_is_undo(step)] == 1, "it is called once");
    explore_point_("step", &w.moment, true);
    if (w.manner == FIRST_EXITS && index == 0 && !rsl_step_is_undo(step)) explore_exit();
    if (w.manner == HANGS && index == 0 && !rsl_step_is_undo(step)) stays_until_told(step);
    bool fails = w.manner == SECOND_FAILS && index == 1 && !rsl_step_is_undo(step);
    return fails ? RSL_STEP_FAIL : RSL_STEP_OK;
}

static const rsl_saga_step in_a_row[STEPS] = {{.name = "a", .run = step_run, .undo = step_run},
                                              {.name = "b", .run = step_run, .undo = step_run}};
static const rsl_saga_step beside[STEPS] = {
    {.name = "a", .run = step_run, .undo = step_run, .after = ""},
    {.name = "b", .run = step_run, .undo = step_run, .after = ""}};

/* ---- worlds ---- */

static void open_world(manner how, const rsl_saga_step *steps, size_t count, uint32_t threads,
                       bool shared)
{
    memset(&w, 0, sizeof w);
    w.manner = how;
    w.table = (rsl_saga_store){.open = store_open, .load = store_load, .append = store_append,
                               .compact = store_compact, .close = store_close};
    if (shared) {
        w.table.begin = store_begin;
        w.table.claim = store_claim;
        w.table.renew = store_renew;
        w.table.cancel = store_cancel;
        w.table.list = store_list;
    }
    int crew = threads == 0 ? 0 : (int)threads + (shared ? 3 : 1);
    if (how == FIRST_EXITS) crew++; /* one that ends has its place while another begins */
    explore_lend(crew);
    explore_slow_time(0);
    w.callers = explore_.scenario->threads - crew;
    rsl_sagas_config config = {.store = &w.table, .payload_max = 16, .claim_for = LEASE};
    config.threads = threads;
    config.caller_works = threads == 0;
    explore_check(rsl_sagas_open(&w.sagas, &config) == RSL_OK, "it is opened");
    rsl_saga_def def = {"def", 1, steps, count, 0};
    explore_check(rsl_sagas_register(w.sagas, &def, NULL) == RSL_OK, "a definition");
}

static void row(void)          { open_world(WELL, in_a_row, 2, 1, false); }
static void row_fails(void)    { open_world(SECOND_FAILS, in_a_row, 2, 1, false); }
static void one_step(void)     { open_world(WELL, in_a_row, 1, 1, false); }
static void side_by_side(void) { open_world(WELL, beside, 2, 2, false); }
static void by_callers(void)   { open_world(WELL, in_a_row, 1, 0, false); }
static void thread_ends(void)  { open_world(FIRST_EXITS, in_a_row, 1, 1, false); }
static void shared_row(void)   { open_world(WELL, in_a_row, 1, 1, true); }
static void hanging(void)      { open_world(HANGS, in_a_row, 2, 1, false); }

static void store_fails(void)
{
    row();
    w.fails_at = 2;
}

static void lease_ends(void)
{
    open_world(HANGS, in_a_row, 2, 1, true);
    w.deaf = true;
}

static void start(int id)
{
    char key[2] = {(char)('a' + id), '\0'};
    int status = rsl_sagas_start(w.sagas, "def", key, NULL, 0, &w.id[id]);
    explore_check(status == RSL_OK || (w.fails_at != 0 && status == RSL_EIO), "it begins");
}

static void close_last(void)
{
    if (--w.callers == 0)
        explore_check(rsl_sagas_close(w.sagas, NULL) == RSL_OK, "it closes");
}

static void start_and_wait(int id)
{
    rsl_saga_state state = RSL_SAGA_PARKED;
    start(id);
    explore_check(rsl_sagas_wait(w.sagas, w.id[id], NULL, &state) == RSL_OK, "it ends");
    bool unwinds = w.manner == SECOND_FAILS || w.manner == FIRST_EXITS;
    explore_check(state == (unwinds ? RSL_SAGA_UNWOUND : RSL_SAGA_DONE), "as it should");
    close_last();
}

static void start_and_close(int id)
{
    start(id);
    close_last();
}

static void start_or_cancel(int id)
{
    if (id > 0) {
        int status = rsl_sagas_cancel(w.sagas, 1);
        explore_check(status == RSL_OK || status == RSL_EINVAL, "it is heard, or too late");
    } else {
        start(0);
        explore_check(rsl_sagas_wait(w.sagas, w.id[0], NULL, NULL) == RSL_OK, "it ends");
    }
    close_last();
}

static void start_then_cancel(int id)
{
    start(id);
    explore_check(rsl_sagas_cancel(w.sagas, w.id[id]) == RSL_OK, "it is heard");
    rsl_saga_state state = RSL_SAGA_PARKED;
    explore_check(rsl_sagas_wait(w.sagas, w.id[id], NULL, &state) == RSL_OK, "it ends");
    explore_check(state == RSL_SAGA_UNWOUND, "undone");
    close_last();
}

static void start_and_wait_in_vain(int id)
{
    start(id);
    if (w.id[id] != 0) {
        int status = rsl_sagas_wait(w.sagas, w.id[id], NULL, NULL);
        explore_check(status == RSL_EIO || status == RSL_OK, "it hears that the store failed");
    }
    close_last();
}

/* The lease is over while the step is out: it is told, and the saga is let go. */
static void outlive_the_lease(int id)
{
    rsl_word_ park = 0;
    rsl_sagas_stats stats;
    start(id);
    do { /* the real clock's time passes only when all wait */
        rsl_ctx_sleep_(&rsl_ctx_unlimited_, NULL, &park, explore_.now + LEASE / 2);
        rsl_sagas_stats_get(w.sagas, &stats);
    } while (stats.live > 0);
    explore_check(w.canceled, "it was told");
    explore_check(w.calls[1][2] == 0, "nothing more was begun");
    close_last();
}

/* ---- what must be so in the end ---- */

/* Each START has its outcome, or was put off: no close has cut a step short. */
static void nothing_is_cut_short(void)
{
    for (rsl_saga_id id = 1; id <= SAGAS; id++) {
        int out[STEPS] = {0};
        for (uint32_t i = 0; i < w.count[id]; i++) {
            uint8_t kind = w.log[id][i];
            if (kind == RSL_SAGA_LOG_START_) out[w.step[id][i]]++;
            bool back = kind == RSL_SAGA_LOG_DONE_ || kind == RSL_SAGA_LOG_FAIL_ ||
                        kind == RSL_SAGA_LOG_DOUBT_ || kind == RSL_SAGA_LOG_RETRY_ ||
                        kind == RSL_SAGA_LOG_PUT_OFF_;
            if (back) out[w.step[id][i]]--;
        }
        explore_check(out[0] == 0 && out[1] == 0, "no step was cut short");
    }
    explore_check(w.inside == 0, "no append is under way");
}

/* Leases are given back, and nothing is cut short. */
static void all_is_given_back(void)
{
    nothing_is_cut_short();
    for (rsl_saga_id id = 1; id <= w.begun; id++) {
        bool ended = w.log[id][w.count[id] - 1] == RSL_SAGA_LOG_END_;
        explore_check(ended || w.lease[id] == 0, "its lease is given back");
    }
}

/* A planted bug: who makes work wakes nobody. */
static void start_without_sharing(int id)
{
    start(id);
    rsl_sagas_lock_(w.sagas);
    rsl_sagas_wake_all_(w.sagas, &w.sagas->closers);
    w.sagas->idlers.first = w.sagas->idlers.last = NULL; /* forgotten */
    rsl_sagas_unlock_(w.sagas);
    explore_check(rsl_sagas_wait(w.sagas, w.id[id], NULL, NULL) == RSL_OK, "it ends");
    close_last();
}

static const explore_scenario scenarios[] = {
    /* name, threads, before, thread, after, bound, planted */
    {"a saga of one step ends", 3, one_step, start_and_wait, nothing_is_cut_short, 1, false},
    {"a saga of two steps ends", 3, row, start_and_wait, nothing_is_cut_short, 1, false},
    {"a saga is undone", 3, row_fails, start_and_wait, nothing_is_cut_short, 1, false},
    {"independent steps", 4, side_by_side, start_and_wait, nothing_is_cut_short, 1, false},
    {"two sagas, two who wait", 4, one_step, start_and_wait, nothing_is_cut_short, 1, false},
    {"two callers do the work", 2, by_callers, start_and_wait, nothing_is_cut_short, 2, false},
    {"close comes at any time", 3, row, start_and_close, nothing_is_cut_short, 1, false},
    {"close comes at any time, two sagas", 4, row, start_and_close, nothing_is_cut_short, 1,
     false},
    {"cancel comes at any time", 4, row, start_or_cancel, nothing_is_cut_short, 1, false},
    {"a step that hangs is cancelled", 3, hanging, start_then_cancel, nothing_is_cut_short, 1,
     false},
    {"a step ends its thread", 4, thread_ends, start_and_wait, nothing_is_cut_short, 1, false},
    {"the store fails", 4, store_fails, start_and_wait_in_vain, NULL, 1, false},
    {"a shared store", 5, shared_row, start_and_wait, all_is_given_back, 1, false},
    {"close of a shared store", 5, shared_row, start_and_close, all_is_given_back, 1, false},
    {"a lease ends while a step is out", 5, lease_ends, outlive_the_lease, NULL, 1, false},
    {"a planted loss of who idles", 3, one_step, start_without_sharing, NULL, 0, true},
};

int main(void)
{
    explore_start();
    for (size_t i = 0; i < RSL_COUNT(scenarios); i++) explore(&scenarios[i]);
    return explore_finish();
}
