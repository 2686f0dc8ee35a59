/* SPDX-License-Identifier: MIT
   stress_saga.c: many threads start, wait for, cancel, resolve and list sagas, while steps run on
   several threads: over a store in memory, over the file journal, and over a shared store with
   leases so short that hosts lose their sagas to each other. Once all is quiet each saga has ended
   exactly once, and what its steps did is all there, or all undone. To be built with the thread
   and address sanitizers too. Prints TAP.                                                      */
#include "support/allocator.h"

#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/support.h"

#include "support/saga_store.h"

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define SLOW 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SLOW 1
#endif
#endif

enum {
    CALLERS = 6,
    STEPS = 4,
#ifdef SLOW
    MEMORY_SAGAS = 250, /* of each caller */
    FILE_SAGAS = 20,
    SHARED_SAGAS = 60,
#else
    MEMORY_SAGAS = 5000,
    FILE_SAGAS = 120,
    SHARED_SAGAS = 600,
#endif
    SAGAS_MAX = CALLERS * MEMORY_SAGAS
};

/* Nobody waits for so long, unless forgotten. */
#define LONG_ENOUGH RSL_SEC(60)

/* ------------------------------------------------------------------- effects */

/* What the steps of a saga did. */
typedef struct effect {
    _Atomic int done[STEPS], undone[STEPS];
    _Atomic int ends;  /* events that told of its end */
    _Atomic int calls;
} effect;

typedef struct yard {
    rsl_sagas   *hosts[2]; /* the same twice where nothing is shared */
    effect      *effects;  /* by the number in the payload */
    _Atomic int  of_saga[2 * SAGAS_MAX + 2]; /* by id: 1 + that number */
    _Atomic int  next;     /* number */
    int          sagas;    /* of each caller */
    _Atomic int  odd;      /* what should not have been */
    _Atomic long events, refusals;
    _Atomic int  done, unwound, abandoned;
    _Atomic bool over;
} yard;

static void odd_if(yard *y, bool odd, const char *what)
{
    if (odd && atomic_fetch_add(&y->odd, 1) < 5) {
        printf("# odd: %s\n", what);
    }
}

static uint32_t number_of(rsl_step *step)
{
    uint32_t number = 0;
    size_t size = 0;
    const void *payload = rsl_step_payload(step, &size);
    if (size == sizeof(number)) {
        memcpy(&number, payload, size);
    }
    return number;
}

/* Some fail, some retry, some of their compensations are stuck for a while: by number and call. */
static rsl_outcome run(rsl_step *step, void *arg)
{
    yard *y = arg;
    uint32_t number = number_of(step);
    int index = rsl_step_name(step)[0] - 'a';
    effect *e = &y->effects[number];
    atomic_fetch_add(&e->calls, 1);
    (void)rsl_step_put(step, &number, sizeof(number));
    if (index > 1) { /* what comes after a may read what it put */
        size_t size = 0;
        const void *got = rsl_step_get(step, "a", &size);
        odd_if(y, got == NULL || size != 4 || memcmp(got, &number, 4) != 0, "an output");
    }
    odd_if(y, atomic_load(&e->undone[index]) != 0, "an action after its undo");
    if (index == 3 && number % 4 == 1) {
        return RSL_STEP_FAIL;
    }
    atomic_store(&e->done[index], 1);
    if (index == 1 && number % 8 == 2 && rsl_step_attempt(step) == 1) {
        return RSL_STEP_RETRY;
    }
    return index == 2 && number % 16 == 3 ? RSL_STEP_UNKNOWN : RSL_STEP_OK;
}

static rsl_outcome undo(rsl_step *step, void *arg)
{
    yard *y = arg;
    uint32_t number = number_of(step);
    int index = rsl_step_name(step)[0] - 'a';
    effect *e = &y->effects[number];
    atomic_fetch_add(&e->calls, 1);
    if (index == 0 && number % 32 == 5 && rsl_step_attempt(step) <= 2) {
        return RSL_STEP_FAIL; /* parks */
    }
    atomic_store(&e->undone[index], 1);
    return RSL_STEP_OK;
}

/* Counts ends; looks at the runtime now and then, as no lock is held. */
static void on_event(const rsl_event *event, void *user)
{
    yard *y = user;
    long events = atomic_fetch_add(&y->events, 1);
    if (event->kind == RSL_SAGA_ENDED && event->value <= 2 * SAGAS_MAX) {
        int number = atomic_load(&y->of_saga[event->value]) - 1;
        if (number >= 0) {
            atomic_fetch_add(&y->effects[number].ends, 1);
        }
    }
    if (events % 64 == 0 && y->hosts[0] != NULL) {
        rsl_sagas_stats stats;
        rsl_sagas_stats_get(y->hosts[0], &stats);
    }
    bool parked = event->kind == RSL_SAGA_STEP_PARKED && event->value % 2 == 0;
    if (parked && y->hosts[0] == y->hosts[1]) {
        (void)rsl_sagas_resolve(y->hosts[0], (rsl_saga_id)event->value, event->source,
                                RSL_SAGA_RETRY);
    }
}

static int register_all(rsl_sagas *sagas, yard *y)
{
    static const char *const names[STEPS] = {"a", "b", "c", "d"};
    static const char *const after[STEPS] = {"", "", "a", "b,c"};
    rsl_saga_step steps[STEPS];
    memset(steps, 0, sizeof(steps));
    for (int i = 0; i < STEPS; i++) {
        steps[i].name = names[i];
        steps[i].after = after[i];
        steps[i].run = run;
        steps[i].undo = undo;
        steps[i].retry = (rsl_saga_retry){3, RSL_US(50), RSL_MS(1), 2};
        steps[i].undo_retry = (rsl_saga_retry){2, RSL_US(50), RSL_MS(1), 2};
    }
    rsl_saga_def def = {"stress", 1, steps, STEPS, 0};
    return rsl_sagas_register(sagas, &def, y);
}

/* ------------------------------------------------------------------- callers */

static bool resolve_one(const rsl_saga_info *info, void *user)
{
    yard *y = user;
    rsl_sagas *host = y->hosts[info->id % 2];
    (void)rsl_sagas_resolve(host, info->id, "a", RSL_SAGA_RETRY);
    return true;
}

/* An operator, who has parked steps called again. */
static void *operate(void *arg)
{
    yard *y = arg;
    while (!atomic_load(&y->over)) {
        struct timespec t = {0, 2000000};
        nanosleep(&t, NULL);
        odd_if(y, rsl_sagas_list(y->hosts[0], 1u << RSL_SAGA_PARKED, resolve_one, y) != RSL_OK,
               "list");
    }
    return NULL;
}

/* Until it has ended: a parked one waits for the operator. */
static rsl_saga_state wait_for_end(yard *y, rsl_sagas *host, rsl_saga_id id)
{
    rsl_saga_state state = RSL_SAGA_PARKED;
    rsl_ctx ctx = rsl_within(LONG_ENOUGH);
    int status = RSL_OK;
    while (status == RSL_OK && state == RSL_SAGA_PARKED) {
        status = rsl_sagas_wait(host, id, &ctx, &state);
        if (state == RSL_SAGA_PARKED) {
            struct timespec t = {0, 1000000};
            nanosleep(&t, NULL);
        }
    }
    odd_if(y, status != RSL_OK, "wait");
    return state;
}

static void judge(yard *y, uint32_t number, rsl_saga_state state)
{
    effect *e = &y->effects[number];
    atomic_fetch_add(&y->done, state == RSL_SAGA_DONE);
    atomic_fetch_add(&y->unwound, state == RSL_SAGA_UNWOUND);
    odd_if(y, state != RSL_SAGA_DONE && state != RSL_SAGA_UNWOUND, "how it ended");
    for (int i = 0; i < STEPS; i++) {
        bool stands = atomic_load(&e->done[i]) != 0 && atomic_load(&e->undone[i]) == 0;
        odd_if(y, stands != (state == RSL_SAGA_DONE), "effects that do not fit the end");
    }
}

static void *call(void *arg)
{
    yard *y = arg;
    enum { AT_ONCE = 8 };
    uint32_t numbers[AT_ONCE];
    rsl_saga_id ids[AT_ONCE];
    for (int turn = 0; turn < y->sagas; turn += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) {
            char key[24];
            rsl_saga_id again = 0;
            uint32_t number = numbers[i] = (uint32_t)atomic_fetch_add(&y->next, 1);
            (void)snprintf(key, sizeof(key), "key %u", number);
            int status = rsl_sagas_start(y->hosts[number % 2], "stress", key, &number,
                                         sizeof(number), &ids[i]);
            odd_if(y, status != RSL_OK, "start");
            if (status == RSL_OK && ids[i] <= 2 * SAGAS_MAX) {
                atomic_store(&y->of_saga[ids[i]], (int)number + 1);
            }
            if (number % 5 == 0) {
                status = rsl_sagas_start(y->hosts[1], "stress", key, NULL, 0, &again);
                odd_if(y, status != RSL_OK || again != ids[i], "start again");
            }
            if (number % 7 == 0) {
                status = rsl_sagas_cancel(y->hosts[0], ids[i]);
                atomic_fetch_add(&y->refusals, status == RSL_EINVAL);
                odd_if(y, status != RSL_OK && status != RSL_EINVAL && status != RSL_EFENCED,
                       "cancel");
            }
        }
        for (int i = 0; i < AT_ONCE; i++) {
            judge(y, numbers[i], wait_for_end(y, y->hosts[turn % 2], ids[i]));
        }
    }
    return NULL;
}

/* Runs all callers to their end. */
static void storm(yard *y)
{
    pthread_t threads[CALLERS], operator_thread;
    if (pthread_create(&operator_thread, NULL, operate, y) != 0) {
        exit(1);
    }
    for (int i = 0; i < CALLERS; i++) {
        if (pthread_create(&threads[i], NULL, call, y) != 0) {
            exit(1);
        }
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_store(&y->over, true);
    pthread_join(operator_thread, NULL);
}

static yard *yard_make(int sagas)
{
    yard *y = calloc(1, sizeof(*y));
    if (y == NULL || (y->effects = calloc(SAGAS_MAX + 64, sizeof(*y->effects))) == NULL) {
        printf("Bail out! no memory\n");
        exit(1);
    }
    y->sagas = sagas;
    return y;
}

static void yard_free(yard *y)
{
    free(y->effects);
    free(y);
}

static void tell(yard *y, const char *where)
{
    int begun = atomic_load(&y->next);
    tap_ok(atomic_load(&y->odd) == 0, "%s: nothing odd was seen in %d sagas", where, begun);
    tap_ok(atomic_load(&y->done) + atomic_load(&y->unwound) == begun,
           "%s: each saga ended: %d done, %d unwound", where, atomic_load(&y->done),
           atomic_load(&y->unwound));
}

/* --------------------------------------------------------------------- tests */

static void storm_alone(const rsl_sagas_config *given, int sagas, const char *where)
{
    yard *y = yard_make(sagas);
    long live = support_live();
    rsl_sagas_config config = *given;
    config.threads = 4;
    config.finished_max = 1000000;
    config.observer = (rsl_observer){on_event, y};
    rsl_sagas *opened = NULL;
    if (!tap_ok(rsl_sagas_open(&opened, &config) == RSL_OK, "%s: opens", where)) {
        yard_free(y);
        return;
    }
    y->hosts[0] = y->hosts[1] = opened;
    tap_ok(register_all(opened, y) == RSL_OK && rsl_sagas_recover(opened) == RSL_OK,
           "%s: is ready", where);
    storm(y);
    rsl_sagas_stats stats;
    rsl_sagas_stats_get(opened, &stats);
    uint64_t begun = (uint64_t)atomic_load(&y->next);
    tap_ok(stats.begun == begun && stats.done == (uint64_t)atomic_load(&y->done) &&
               stats.unwound == (uint64_t)atomic_load(&y->unwound) && stats.live == 0 &&
               stats.finished == begun,
           "%s: the runtime counts the same", where);
    tap_ok(rsl_sagas_close(opened, NULL) == RSL_OK && support_live() == live,
           "%s: closes, and nothing leaks", where);
    int twice = 0;
    for (uint64_t i = 0; i < begun; i++) { /* the last ones may end before their number is known */
        twice += atomic_load(&y->effects[i].ends) > 1;
    }
    tap_ok(twice == 0, "%s: no saga ended twice", where);
    tell(y, where);
    yard_free(y);
}

static void storm_in_memory(void)
{
    memory_store memory;
    memory_store_init(&memory);
    rsl_saga_store table = memory_store_as(&memory);
    rsl_sagas_config config = {.store = &table};
    storm_alone(&config, MEMORY_SAGAS, "in memory");
    tap_ok(atomic_load(&memory.breaches) == 0, "in memory: the contract of stores is kept%s%s",
           memory.breach != NULL ? ": not " : "", memory.breach != NULL ? memory.breach : "");
    memory_store_deinit(&memory);
}

static void storm_on_disk(void)
{
    char folder[] = "/tmp/rsl_stress_XXXXXX", command[64];
    if (!tap_ok(mkdtemp(folder) != NULL, "a folder")) {
        return;
    }
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    rsl_sagas_config config = {.path = folder};
    storm_alone(&config, FILE_SAGAS, "on disk");
    rsl_saga_journal_report report;
    int status = rsl_saga_journal_read(folder, &report, NULL, NULL, NULL, 0);
    tap_ok(status == RSL_OK && report.status == RSL_OK, "on disk: the journal is whole");
    tap_ok(system(command) == 0, "the folder is gone");
}

static void storm_shared(void)
{
    static shared_host ways[2];
    shared_store store;
    yard *y = yard_make(SHARED_SAGAS);
    long live = support_live();
    tap_ok(shared_store_init(&store, NULL), "shared: a store");
    bool ready = true;
    for (int i = 0; i < 2; i++) {
        rsl_saga_store table = shared_host_as(&ways[i], &store);
        rsl_sagas_config config = {.store = &table, .threads = 2, .claim_for = RSL_MS(100),
                                   .observer = {on_event, y}};
        ready = ready && rsl_sagas_open(&y->hosts[i], &config) == RSL_OK;
        ready = ready && register_all(y->hosts[i], y) == RSL_OK;
        ready = ready && rsl_sagas_recover(y->hosts[i]) == RSL_OK;
    }
    if (tap_ok(ready, "shared: two hosts are ready")) {
        storm(y);
        tell(y, "shared");
        bool closed = rsl_sagas_close(y->hosts[0], NULL) == RSL_OK;
        closed = rsl_sagas_close(y->hosts[1], NULL) == RSL_OK && closed;
        tap_ok(closed && support_live() == live, "shared: both close, and nothing leaks");
        tap_ok(atomic_load(&store.breaches) == 0, "shared: the contract of stores is kept%s%s",
               store.breach != NULL ? ": not " : "", store.breach != NULL ? store.breach : "");
    }
    shared_store_deinit(&store);
    yard_free(y);
}

int main(void)
{
    storm_in_memory();
    storm_on_disk();
    storm_shared();
    return tap_end();
}
