/* SPDX-License-Identifier: MIT
   stress_registry.c: several threads and more names than there is room for: nothing is ended while
   it is held, there are never two instances of one name, and in the end all is accounted for. To
   be built with the thread and address sanitizers too. Prints TAP.                           */
#include "support/allocator.h"

#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#ifndef RSL_NO_MAP_ /* where there is no stb_ds.h there is no registry */

/* ------------------------------------------------------------------- helpers */

enum { CREW = 6, NAMES = 24, STEPS = 20000, BUSY_FOR = 3 };

typedef struct thing {
    uint32_t      name;
    _Atomic int   holders;
    _Atomic int   busy;    /* so many more looks say so */
    _Atomic bool  alive;
    uint64_t      plain;   /* written by init and deinit, read by holders: for the sanitizer */
} thing;

static rsl_registry registry;
static _Atomic int  alive_of[NAMES];
static _Atomic long made, ended, in_all, wrong, refused, failed_on_purpose;
static uint32_t     room;
static bool         init_fails;
static _Atomic uint32_t chance;

static int thing_init(void *object, const char *key, const void *config)
{
    thing *t = object;
    (void)config;
    t->name = (uint32_t)atoi(key);
    if (atomic_fetch_add(&alive_of[t->name], 1) != 0 || atomic_fetch_add(&in_all, 1) >= room) {
        atomic_fetch_add(&wrong, 1);
    }
    if (init_fails && atomic_fetch_add(&chance, 1) % 7 == 0) {
        atomic_fetch_sub(&alive_of[t->name], 1);
        atomic_fetch_sub(&in_all, 1);
        atomic_fetch_add(&failed_on_purpose, 1);
        return 1;
    }
    t->plain = t->name + UINT64_C(1000);
    atomic_store(&t->alive, true);
    atomic_fetch_add(&made, 1);
    return RSL_OK;
}

static void thing_deinit(void *object)
{
    thing *t = object;
    if (atomic_load(&t->holders) != 0 || !atomic_exchange(&t->alive, false) ||
        atomic_load(&t->busy) > 0 || t->plain != t->name + UINT64_C(1000)) {
        atomic_fetch_add(&wrong, 1);
    }
    t->plain = 0;
    atomic_fetch_sub(&alive_of[t->name], 1);
    atomic_fetch_sub(&in_all, 1);
    atomic_fetch_add(&ended, 1);
}

static bool thing_is_busy(void *object)
{
    thing *t = object;
    int busy = atomic_load(&t->busy);
    while (busy > 0 && !atomic_compare_exchange_weak(&t->busy, &busy, busy - 1)) {
    }
    return busy > 0;
}

static const rsl_registry_type things = {"thing", sizeof(thing), thing_init, thing_deinit,
                                         thing_is_busy};

static void hold_for_a_while(thing *t, uint32_t name, seeded_random *random)
{
    atomic_fetch_add(&t->holders, 1);
    if (!atomic_load(&t->alive) || t->name != name || t->plain != name + UINT64_C(1000)) {
        atomic_fetch_add(&wrong, 1);
    }
    uint32_t dice = seeded_random_below(random, 100);
    if (dice == 0) {
        rsl_pause_(RSL_US(20));
    } else if (dice < 5) {
        rsl_pause_(0);
    } else if (dice < 10) {
        atomic_store(&t->busy, BUSY_FOR);
    }
    if (!atomic_load(&t->alive)) {
        atomic_fetch_add(&wrong, 1);
    }
    atomic_fetch_sub(&t->holders, 1);
}

static int visit_one(const char *key, void *object, void *arg)
{
    thing *t = object;
    hold_for_a_while(t, (uint32_t)atoi(key), arg);
    return 0;
}

static _Atomic uint32_t crew_number;

static void *crew_run(void *arg)
{
    seeded_random random = {UINT64_C(77) + atomic_fetch_add(&crew_number, 1)};
    _Atomic long *uses = arg;
    for (int step = 0; step < STEPS; step++) {
        /* the first few names are popular, so that lookups and evictions meet */
        uint32_t name = seeded_random_below(&random, 3) ? seeded_random_below(&random, 4)
                                                        : seeded_random_below(&random, NAMES);
        char key[16];
        (void)snprintf(key, sizeof(key), "%u", name);
        void *object = NULL;
        int status = rsl_registry_acquire(&registry, key, &object);
        if (status == RSL_OK) {
            hold_for_a_while(object, name, &random);
            if (rsl_registry_release(&registry, object) != RSL_OK) {
                atomic_fetch_add(&wrong, 1);
            }
            atomic_fetch_add(uses, 1);
        } else if (status == RSL_EFULL) {
            atomic_fetch_add(&refused, 1);
        } else if (status != 1 || !init_fails) {
            atomic_fetch_add(&wrong, 1);
        }
        if (step % 5000 == 0 && rsl_registry_visit(&registry, visit_one, &random) != 0) {
            atomic_fetch_add(&wrong, 1);
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------- the test */

static void the_crew_works(uint32_t count_max, bool fails)
{
    static _Atomic long uses;
    room = count_max;
    init_fails = fails;
    atomic_store(&made, 0);
    atomic_store(&ended, 0);
    atomic_store(&refused, 0);
    atomic_store(&wrong, 0);
    atomic_store(&uses, 0);
    rsl_registry_config config = {.type = &things, .count_max = count_max};
    if (rsl_registry_init(&registry, &config) != RSL_OK) {
        printf("Bail out! no registry\n");
        exit(1);
    }
    pthread_t threads[CREW];
    for (int i = 0; i < CREW; i++) {
        if (pthread_create(&threads[i], NULL, crew_run, (void *)&uses) != 0) {
            printf("Bail out! no thread\n");
            exit(1);
        }
    }
    for (int i = 0; i < CREW; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    rsl_registry_stats stats;
    rsl_registry_stats_get(&registry, &stats);
    const char *how = fails ? "init fails now and then" : "init works";
    tap_ok(atomic_load(&wrong) == 0, "room for %u of %d, %s: nothing ended in use, none twice",
           count_max, NAMES, how);
    tap_ok(stats.held == 0 && stats.count <= count_max, "no hold is left");
    tap_ok((long)stats.made == atomic_load(&made) && (long)stats.evicted == atomic_load(&ended) &&
               stats.made - stats.evicted == stats.count,
           "what was made and evicted is counted");
    /* each visit looks at each instance, too: those are not lookups */
    tap_ok((long)(stats.found + stats.made) == atomic_load(&uses), "each use is found or made");
    tap_ok((long)stats.refused == atomic_load(&refused), "each refusal is counted");
    tap_ok(rsl_registry_deinit(&registry) == RSL_OK && atomic_load(&ended) == atomic_load(&made),
           "in the end all are ended");
}

/* More threads than there are shards for. */
static void *passer_run(void *arg)
{
    for (int i = 0; i < 200; i++) {
        void *object;
        if (rsl_registry_acquire(&registry, i % 50 ? "one" : arg, &object) != RSL_OK ||
            rsl_registry_release(&registry, object) != RSL_OK) {
            atomic_fetch_add(&wrong, 1);
        }
    }
    return NULL;
}

static void more_threads_than_shards_share_one(void)
{
    enum { PASSERS = 80 };
    static char names[PASSERS][16];
    pthread_t threads[PASSERS];
    rsl_registry_config config = {.type = rsl_registry_retries()};
    atomic_store(&wrong, 0);
    if (rsl_registry_init(&registry, &config) != RSL_OK) {
        printf("Bail out! no registry\n");
        exit(1);
    }
    for (int i = 0; i < PASSERS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "p%d", i);
        if (pthread_create(&threads[i], NULL, passer_run, names[i]) != 0) {
            printf("Bail out! no thread\n");
            exit(1);
        }
    }
    for (int i = 0; i < PASSERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    rsl_registry_stats stats;
    rsl_registry_stats_get(&registry, &stats);
    tap_ok(atomic_load(&wrong) == 0 && stats.found + stats.made == (uint64_t)PASSERS * 200,
           "80 threads, more than are kept apart, find what they look for");
    tap_ok(rsl_registry_deinit(&registry) == RSL_OK, "and leave nothing held");
}

int main(void)
{
    the_crew_works(8, false);
    the_crew_works(3, false);
    the_crew_works(8, true);
    more_threads_than_shards_share_one();
    tap_ok(support_live() == 0, "all memory is given back");
    return tap_end();
}
#else

int main(void)
{
    tap_ok(true, "no stb_ds.h, no registry # SKIP");
    return tap_end();
}
#endif
