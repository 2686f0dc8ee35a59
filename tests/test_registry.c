/* SPDX-License-Identifier: MIT
   test_registry.c: the registry of resilience.h: names and their instances, holds, what is evicted
   and what never is, hostile keys, callbacks that come back, every allocation failed.         */
#include "support/allocator.h"

#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/support.h"

#ifndef RSL_NO_MAP_ /* where there is no stb_ds.h there is no registry */

/* ------------------------------------------------------------------- helpers */

enum { INIT_FAILS = 4711, THINGS_SEEN = 64 };

/* What the tests keep in their registries; how it behaves is said by the one config. */
typedef struct thing {
    char        name[16];
    const char *key;
    void       *memory;
    bool        busy;
    uint64_t    canary;
} thing;

typedef struct factory {
    rsl_registry *registry;
    _Atomic int   made, ended, asked;
    _Atomic bool  gate;                 /* init waits until it is open (open) */
    _Atomic bool  inside;               /* an init waits at the gate */
    int           fails;                /* what init returns (0) */
    bool          allocates;
    char          ended_names[THINGS_SEEN][16];
    void        (*on_init)(struct factory *f, const char *key);   /* (none) */
    void        (*on_deinit)(struct factory *f, thing *t);        /* (none) */
    void        (*on_busy)(struct factory *f, thing *t);          /* (none) */
} factory;

static factory *the_factory; /* is_busy and deinit are not given the config */

static bool is_zero(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

static int thing_init(void *object, const char *key, const void *config)
{
    factory *f = the_factory;
    thing *t = object;
    assert_true(config == f);
    assert_true(is_zero(object, sizeof(*t)));
    assert_true((uintptr_t)object % _Alignof(max_align_t) == 0);
    if (f->on_init != NULL) {
        f->on_init(f, key);
    }
    while (atomic_load(&f->gate)) {
        atomic_store(&f->inside, true);
        rsl_pause_(RSL_US(100));
    }
    if (f->fails != 0) {
        return f->fails;
    }
    if (f->allocates) {
        t->memory = RSL_MALLOC(32);
        if (t->memory == NULL) {
            return RSL_ENOMEM;
        }
    }
    (void)snprintf(t->name, sizeof(t->name), "%.15s", key);
    t->key = key;
    t->canary = 0xC0FFEE;
    atomic_fetch_add(&f->made, 1);
    return RSL_OK;
}

static void thing_deinit(void *object)
{
    factory *f = the_factory;
    thing *t = object;
    assert_true(t->canary == 0xC0FFEE);
    assert_true(strncmp(t->key, t->name, 15) == 0);
    if (f->on_deinit != NULL) {
        f->on_deinit(f, t);
    }
    t->canary = 0;
    RSL_FREE(t->memory);
    int nth = atomic_fetch_add(&f->ended, 1);
    memcpy(f->ended_names[nth % THINGS_SEEN], t->name, sizeof(t->name));
}

static bool thing_is_busy(void *object)
{
    factory *f = the_factory;
    thing *t = object;
    atomic_fetch_add(&f->asked, 1);
    if (f->on_busy != NULL) {
        f->on_busy(f, t);
    }
    return t->busy;
}

static const rsl_registry_type things = {"thing", sizeof(thing), thing_init, thing_deinit,
                                         thing_is_busy};

typedef struct rig {
    rsl_registry   registry;
    factory        factory;
    event_recorder events;
    long           live;
} rig;

/* The recorder is for one thread only. */
static void rig_begin(rig *r, uint32_t count_max, bool observed)
{
    memset(r, 0, sizeof(*r));
    r->live = support_live();
    r->factory.registry = &r->registry;
    the_factory = &r->factory;
    rsl_registry_config config = {.name = "things", .type = &things, .config = &r->factory,
                                  .count_max = count_max};
    if (observed) {
        config.observer = event_recorder_as(&r->events);
    }
    assert_null(rsl_registry_config_check(&config));
    assert_int_equal(rsl_registry_init(&r->registry, &config), RSL_OK);
}

static void rig_start(rig *r, uint32_t count_max)
{
    rig_begin(r, count_max, true);
}

static void rig_end(rig *r)
{
    assert_int_equal(rsl_registry_deinit(&r->registry), RSL_OK);
    assert_int_equal(atomic_load(&r->factory.ended), atomic_load(&r->factory.made));
    assert_true(event_recorder_is_increasing(&r->events));
    assert_true(support_live() == r->live);
}

static thing *take(rig *r, const char *key)
{
    void *object = NULL;
    assert_int_equal(rsl_registry_acquire(&r->registry, key, &object), RSL_OK);
    assert_non_null(object);
    thing *t = object;
    assert_true(t->canary == 0xC0FFEE);
    assert_string_equal(t->key, key);
    return t;
}

static void give(rig *r, thing *t)
{
    assert_int_equal(rsl_registry_release(&r->registry, t), RSL_OK);
}

static void use(rig *r, const char *key)
{
    give(r, take(r, key));
}

static int try_take(rig *r, const char *key)
{
    void *object = &object;
    int status = rsl_registry_acquire(&r->registry, key, &object);
    if (status != RSL_OK) {
        assert_ptr_equal(object, &object);
    }
    return status;
}

static bool has(rig *r, const char *key); /* by visiting: does not use it */

typedef struct sought {
    const char *key;
    bool        found;
} sought;

static int seek(const char *key, void *object, void *arg)
{
    sought *s = arg;
    assert_ptr_equal(((thing *)object)->key, key);
    s->found = s->found || strcmp(key, s->key) == 0;
    return 0;
}

static bool has(rig *r, const char *key)
{
    sought s = {key, false};
    assert_int_equal(rsl_registry_visit(&r->registry, seek, &s), 0);
    return s.found;
}

static rsl_registry_stats stats_of(rig *r)
{
    rsl_registry_stats stats;
    memset(&stats, 0x5A, sizeof(stats));
    rsl_registry_stats_get(&r->registry, &stats);
    return stats;
}

static const char *last_ended(rig *r)
{
    int ended = atomic_load(&r->factory.ended);
    assert_true(ended > 0);
    return r->factory.ended_names[(ended - 1) % THINGS_SEEN];
}

/* ------------------------------------------------------------------- configs */

static void bad_configs_are_refused_by_name(void **state)
{
    (void)state;
    rsl_registry registry;
    rsl_registry_type type = things;
    rsl_registry_config config = {.type = &type, .count_max = 1000001};
    assert_string_equal(rsl_registry_config_check(&config),
                        "count_max: must lie in 1..1000000");
    assert_int_equal(rsl_registry_init(&registry, &config), RSL_EINVAL);
    assert_int_equal(rsl_registry_deinit(&registry), RSL_OK);
    config.count_max = 0;
    config.key_max = 256;
    assert_string_equal(rsl_registry_config_check(&config), "key_max: must lie in 1..255");
    config.key_max = 0;
    assert_null(rsl_registry_config_check(&config));
    type.size = 0;
    assert_string_equal(rsl_registry_config_check(&config), "type.size: must lie in 1..16777216");
    type.size = SIZE_MAX;
    assert_string_equal(rsl_registry_config_check(&config), "type.size: must lie in 1..16777216");
    type = things;
    type.kind = NULL;
    assert_string_equal(rsl_registry_config_check(&config), "type.kind: must be set");
    type = things;
    type.init = NULL;
    assert_string_equal(rsl_registry_config_check(&config), "type.init: must be set");
    type = things;
    type.deinit = NULL;
    assert_string_equal(rsl_registry_config_check(&config), "type.deinit: must be set");
}

static void the_config_of_a_ready_type_is_checked_when_the_registry_is_made(void **state)
{
    (void)state;
    rsl_breaker_config breaker = {.failure_rate = 7};
    rsl_bulkhead_config bulkhead = {.calls_max = 100000000};
    rsl_retry_config retry = {.multiplier = 0.5};
    rsl_workers_config workers = {.threads_min = 100000};
    rsl_registry_config configs[] = {
        {.type = rsl_registry_breakers(), .config = &breaker},
        {.type = rsl_registry_bulkheads(), .config = &bulkhead},
        {.type = rsl_registry_retries(), .config = &retry},
        {.type = rsl_registry_workers(), .config = &workers},
        {.type = rsl_registry_pools()},
    };
    for (size_t i = 0; i < RSL_COUNT(configs); i++) {
        rsl_registry registry;
        assert_non_null(rsl_registry_config_check(&configs[i]));
        assert_int_equal(rsl_registry_init(&registry, &configs[i]), RSL_EINVAL);
    }
}

static void a_config_resolves_to_its_defaults(void **state)
{
    (void)state;
    rsl_registry_config config = rsl_registry_config_resolve(NULL);
    assert_ptr_equal(config.type, rsl_registry_breakers());
    assert_int_equal(config.count_max, 1024);
    assert_int_equal(config.key_max, 255);
    assert_null(rsl_registry_config_check(NULL));
}

static void null_is_refused_everywhere(void **state)
{
    (void)state;
    rsl_registry dead = {NULL};
    void *object = &dead;
    rsl_registry_stats stats;
    assert_int_equal(rsl_registry_init(NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_registry_deinit(NULL), RSL_OK);
    assert_int_equal(rsl_registry_deinit(&dead), RSL_OK);
    assert_int_equal(rsl_registry_acquire(NULL, "a", &object), RSL_EINVAL);
    assert_int_equal(rsl_registry_acquire(&dead, "a", &object), RSL_EINVAL);
    assert_int_equal(rsl_registry_release(NULL, &dead), RSL_EINVAL);
    assert_int_equal(rsl_registry_release(&dead, &dead), RSL_EINVAL);
    assert_int_equal(rsl_registry_visit(NULL, seek, NULL), RSL_EINVAL);
    assert_int_equal(rsl_registry_visit(&dead, seek, NULL), RSL_EINVAL);
    rsl_registry_stats_get(NULL, NULL);
    rsl_registry_stats_get(&dead, NULL);
    memset(&stats, 0x5A, sizeof(stats));
    rsl_registry_stats_get(&dead, &stats);
    assert_true(is_zero(&stats, sizeof(stats)));
    assert_ptr_equal(object, &dead);

    rig r;
    rig_start(&r, 2);
    assert_int_equal(rsl_registry_acquire(&r.registry, NULL, &object), RSL_EINVAL);
    assert_int_equal(rsl_registry_acquire(&r.registry, "a", NULL), RSL_EINVAL);
    assert_int_equal(rsl_registry_release(&r.registry, NULL), RSL_EINVAL);
    assert_int_equal(rsl_registry_visit(&r.registry, NULL, NULL), RSL_EINVAL);
    rig_end(&r);
}

/* ---------------------------------------------------------- names and holds */

static void one_name_is_one_instance(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    thing *a = take(&r, "a"), *b = take(&r, "b"), *again = take(&r, "a");
    assert_ptr_equal(a, again);
    assert_true(a != b);
    rsl_registry_stats stats = stats_of(&r);
    assert_int_equal(stats.count, 2);
    assert_int_equal(stats.held, 2);
    assert_int_equal(stats.made, 2);
    assert_int_equal(stats.found, 1);
    give(&r, a);
    give(&r, again);
    assert_int_equal(stats_of(&r).held, 1);
    give(&r, b);
    assert_int_equal(stats_of(&r).held, 0);
    assert_int_equal(stats_of(&r).count, 2);
    rig_end(&r);
}

static void a_key_may_go_once_the_instance_is_made(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 4);
    char key[] = "volatile";
    thing *t = take(&r, key);
    memset(key, 'x', sizeof(key) - 1);
    assert_string_equal(t->key, "volatile");
    give(&r, t);
    assert_true(has(&r, "volatile"));
    rig_end(&r);
}

static void a_release_that_is_wrong_is_refused(void **state)
{
    (void)state;
    rig r, other;
    rig_start(&other, 4);
    thing *foreign = take(&other, "a");
    give(&other, foreign);
    assert_int_equal(rsl_registry_release(&other.registry, foreign), RSL_EINVAL);
    rig_end(&other);
    rig_start(&r, 4);
    thing *t = take(&r, "a"), here;
    assert_int_equal(rsl_registry_release(&r.registry, &here), RSL_EINVAL);
    assert_int_equal(rsl_registry_release(&r.registry, (char *)t + 1), RSL_EINVAL);
    assert_int_equal(rsl_registry_release(&r.registry, (char *)t + sizeof(*t)), RSL_EINVAL);
    assert_int_equal(rsl_registry_release(&r.registry, (char *)t - 1), RSL_EINVAL);
    assert_int_equal(rsl_registry_release(&r.registry, (void *)UINTPTR_MAX), RSL_EINVAL);
    give(&r, t);
    assert_int_equal(rsl_registry_release(&r.registry, t), RSL_EINVAL);
    rig_end(&r);
}

static void a_registry_whose_instances_are_held_is_not_ended(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 4);
    thing *t = take(&r, "a");
    use(&r, "b");
    assert_int_equal(rsl_registry_deinit(&r.registry), RSL_EINVAL);
    assert_int_equal(atomic_load(&r.factory.ended), 0);
    assert_ptr_equal(take(&r, "a"), t);
    give(&r, t);
    assert_int_equal(rsl_registry_deinit(&r.registry), RSL_EINVAL);
    give(&r, t);
    rig_end(&r);
    assert_int_equal(rsl_registry_deinit(&r.registry), RSL_OK);
    assert_int_equal(try_take(&r, "a"), RSL_EINVAL);
}

static void a_failed_init_is_passed_on_and_leaves_nothing(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 1);
    r.factory.fails = INIT_FAILS;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(try_take(&r, "a"), INIT_FAILS);
    }
    assert_int_equal(stats_of(&r).count, 0);
    assert_int_equal(stats_of(&r).made, 0);
    r.factory.fails = 0;
    use(&r, "b");
    r.factory.fails = INIT_FAILS; /* room was made for it all the same */
    assert_int_equal(try_take(&r, "a"), INIT_FAILS);
    assert_int_equal(stats_of(&r).count, 0);
    r.factory.fails = 0;
    use(&r, "a");
    rig_end(&r);
}

static void errno_survives(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 1);
    errno = 77;
    use(&r, "a");
    use(&r, "b");
    use(&r, "b");
    assert_int_equal(errno, 77);
    rig_end(&r);
}

/* ------------------------------------------------------------------ eviction */

static void the_least_recently_used_goes_first(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 3);
    use(&r, "a");
    use(&r, "b");
    use(&r, "c");
    use(&r, "a");
    use(&r, "d");
    assert_string_equal(last_ended(&r), "b");
    use(&r, "c");
    use(&r, "e");
    assert_string_equal(last_ended(&r), "a");
    assert_true(has(&r, "c") && has(&r, "d") && has(&r, "e"));
    rsl_registry_stats stats = stats_of(&r);
    assert_int_equal(stats.count, 3);
    assert_int_equal(stats.evicted, 2);
    assert_int_equal(stats.made, 5);
    rig_end(&r);
}

/* Against a plain model: a list in order of use. */
static void eviction_is_in_exact_order_of_use(void **state)
{
    (void)state;
    enum { KEYS = 40, ROOM = 17, STEPS = 20000 };
    rig r;
    rig_start(&r, ROOM);
    seeded_random random = {20260101};
    int order[ROOM], count = 0;
    for (int step = 0; step < STEPS; step++) {
        int key = (int)seeded_random_below(&random, KEYS);
        char name[16];
        (void)snprintf(name, sizeof(name), "key %d", key);
        int ended = atomic_load(&r.factory.ended), at = 0;
        use(&r, name);
        while (at < count && order[at] != key) {
            at++;
        }
        bool full = at == count && count == ROOM;
        assert_int_equal(atomic_load(&r.factory.ended), ended + full);
        if (full) {
            (void)snprintf(name, sizeof(name), "key %d", order[0]);
            assert_string_equal(last_ended(&r), name);
            at = 0;
        }
        count += at == count;
        memmove(&order[at], &order[at + 1], (size_t)(count - 1 - at) * sizeof(order[0]));
        order[count - 1] = key;
    }
    rig_end(&r);
}

static void what_is_held_is_never_evicted(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 2);
    thing *a = take(&r, "a");
    use(&r, "b");
    use(&r, "c");
    assert_string_equal(last_ended(&r), "b");
    thing *c = take(&r, "c");
    assert_int_equal(try_take(&r, "d"), RSL_EFULL);
    assert_int_equal(stats_of(&r).refused, 1);
    const rsl_event *full = event_recorder_last(&r.events, RSL_REGISTRY_FULL);
    assert_non_null(full);
    assert_int_equal(full->status, RSL_EFULL);
    give(&r, a);
    use(&r, "d");
    assert_string_equal(last_ended(&r), "a");
    give(&r, c);
    rig_end(&r);
}

static void what_is_busy_is_never_evicted(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 3);
    thing *a = take(&r, "a"), *b = take(&r, "b"), *c = take(&r, "c");
    a->busy = b->busy = c->busy = true;
    give(&r, a);
    give(&r, b);
    give(&r, c);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(try_take(&r, "d"), RSL_EFULL);
    }
    assert_true(atomic_load(&r.factory.asked) <= 30);
    b->busy = false;
    use(&r, "d");
    assert_string_equal(last_ended(&r), "b");
    rig_end(&r);
}

static void of_one_room_the_latest_is_the_oldest_too(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 1);
    for (int i = 0; i < 10; i++) {
        use(&r, "a");
        use(&r, "a");
        use(&r, "b");
    }
    assert_int_equal(stats_of(&r).evicted, 19);
    assert_int_equal(stats_of(&r).count, 1);
    rig_end(&r);
}

static void what_was_evicted_comes_back_fresh(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 1);
    thing *a = take(&r, "a");
    a->name[15] = 'x';
    give(&r, a);
    use(&r, "b");
    a = take(&r, "a"); /* init finds zeroed memory, or it would say so */
    give(&r, a);
    rig_end(&r);
}

static void events_tell_what_happens(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 1);
    use(&r, "a");
    use(&r, "b");
    assert_int_equal(r.events.count, 3);
    assert_int_equal(r.events.events[0].event.kind, RSL_REGISTRY_MADE);
    assert_int_equal(r.events.events[0].event.value, 1);
    assert_string_equal(r.events.events[0].source, "things");
    assert_string_equal(r.events.events[0].name, "made");
    assert_int_equal(r.events.events[1].event.kind, RSL_REGISTRY_EVICTED);
    assert_int_equal(r.events.events[1].event.value, 0);
    assert_int_equal(r.events.events[2].event.kind, RSL_REGISTRY_MADE);
    assert_int_equal(r.events.events[2].event.number, 3);
    rig_end(&r);
}

/* ---------------------------------------------------------------- hostile keys */

static void keys_are_bounded(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    char key[4096];
    memset(key, 'k', sizeof(key));
    key[sizeof(key) - 1] = '\0';
    assert_int_equal(try_take(&r, ""), RSL_EINVAL);
    assert_int_equal(try_take(&r, key), RSL_EINVAL);
    key[256] = '\0';
    assert_int_equal(try_take(&r, key), RSL_EINVAL);
    key[255] = '\0';
    use(&r, key);
    use(&r, key);
    assert_int_equal(stats_of(&r).count, 1);
    rig_end(&r);
}

static void keys_are_bounded_by_the_config(void **state)
{
    (void)state;
    rsl_registry registry;
    rsl_registry_config config = {.key_max = 3};
    assert_int_equal(rsl_registry_init(&registry, &config), RSL_OK);
    void *object;
    assert_int_equal(rsl_registry_acquire(&registry, "abcd", &object), RSL_EINVAL);
    assert_int_equal(rsl_registry_acquire(&registry, "abc", &object), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "abcd", &object), RSL_EINVAL);
    assert_int_equal(rsl_registry_release(&registry, object), RSL_OK);
    assert_int_equal(rsl_registry_deinit(&registry), RSL_OK);
}

static void any_bytes_make_a_key(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    char key[9];
    void *objects[255];
    for (int byte = 1; byte < 256; byte++) { /* as one of several, so that hints meet too */
        memset(key, 'a', 8);
        key[byte % 8] = (char)byte;
        key[8] = '\0';
        objects[byte - 1] = take(&r, key);
    }
    for (int byte = 1; byte < 256; byte++) {
        memset(key, 'a', 8);
        key[byte % 8] = (char)byte;
        thing *t = take(&r, key);
        assert_ptr_equal(t, objects[byte - 1]);
        give(&r, t);
        give(&r, t);
    }
    use(&r, "\n\t\"'%s%n;--\x7f\xff\x80");
    assert_int_equal(stats_of(&r).count, 256);
    rig_end(&r);
}

/* Any two characters 64 places apart weigh the same in stb_ds' hash of strings. */
static void ten_thousand_colliding_keys_are_ten_thousand_instances(void **state)
{
    (void)state;
    enum { KEYS = 10000, LENGTH = 140 };
    rig r;
    rig_start(&r, KEYS);
    char key[LENGTH + 1];
    rsl_time began = rsl_now();
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < KEYS; i++) {
            memset(key, 'A', LENGTH);
            key[LENGTH] = '\0';
            for (int bit = 0; bit < 14; bit++) { /* one of the two places gets the difference */
                key[bit + ((i >> bit) & 1 ? 64 : 0)] = 'B';
            }
            use(&r, key);
        }
    }
    assert_true(rsl_now() - began < RSL_SEC(60)); /* seconds if they met, hours if all did */
    assert_int_equal(stats_of(&r).count, KEYS);
    assert_int_equal(stats_of(&r).found, KEYS);
    rig_end(&r);
}

/* Keys that differ only where the hint does not look. */
static void a_hint_that_is_wrong_is_not_believed(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    char key[65] = {0};
    memset(key, 'z', 64);
    thing *things_of[26];
    for (int i = 0; i < 26; i++) {
        key[12] = (char)('a' + i);
        things_of[i] = take(&r, key);
    }
    for (int i = 0; i < 26; i++) {
        key[12] = (char)('a' + i);
        assert_ptr_equal(take(&r, key), things_of[i]);
        give(&r, things_of[i]);
        give(&r, things_of[i]);
    }
    assert_int_equal(stats_of(&r).count, 26);
    rig_end(&r);
}

/* ---------------------------------------------------- callbacks that come back */

static void init_takes_another(factory *f, const char *key)
{
    void *object;
    if (strlen(key) < 4) {
        char longer[8];
        (void)snprintf(longer, sizeof(longer), "%sx", key);
        assert_int_equal(rsl_registry_acquire(f->registry, longer, &object), RSL_OK);
        assert_int_equal(rsl_registry_release(f->registry, object), RSL_OK);
    }
}

static void init_may_acquire_other_names(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    r.factory.on_init = init_takes_another;
    use(&r, "a");
    assert_true(has(&r, "a") && has(&r, "ax") && has(&r, "axx") && has(&r, "axxx"));
    rig_end(&r);
}

static void init_takes_itself(factory *f, const char *key)
{
    void *object;
    assert_int_equal(rsl_registry_acquire(f->registry, key, &object), RSL_EINVAL);
    assert_int_equal(rsl_registry_deinit(f->registry), RSL_EINVAL);
    rsl_registry_stats stats;
    rsl_registry_stats_get(f->registry, &stats);
    assert_int_equal(stats.count, 0);
}

static void init_that_acquires_its_own_name_is_refused(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    r.factory.on_init = init_takes_itself;
    use(&r, "a");
    rig_end(&r);
}

static void deinit_takes_itself(factory *f, thing *t)
{
    void *object;
    int status = rsl_registry_acquire(f->registry, t->key, &object);
    assert_int_equal(status, RSL_EINVAL);
    assert_int_equal(rsl_registry_release(f->registry, t), RSL_EINVAL);
}

static void deinit_may_call_the_registry(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 1);
    r.factory.on_deinit = deinit_takes_itself;
    use(&r, "a");
    use(&r, "b");
    assert_int_equal(atomic_load(&r.factory.ended), 1);
    rig_end(&r); /* calls it a last time, when the registry is none any more */
}

static void busy_takes_itself(factory *f, thing *t)
{
    void *object;
    f->on_busy = NULL;
    assert_int_equal(rsl_registry_acquire(f->registry, t->key, &object), RSL_OK);
    assert_ptr_equal(object, t);
    assert_int_equal(rsl_registry_release(f->registry, object), RSL_OK);
}

static void what_was_held_while_it_was_looked_at_is_not_evicted(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 2);
    use(&r, "a");
    use(&r, "b");
    r.factory.on_busy = busy_takes_itself; /* for a, the oldest; then it is the latest */
    use(&r, "c");
    assert_string_equal(last_ended(&r), "b");
    rig_end(&r);
}

static void observer_comes_back(const rsl_event *event, void *arg)
{
    rig *r = arg;
    if (event->kind == RSL_REGISTRY_MADE && event->value < 3) {
        use(r, event->value == 1 ? "b" : "c");
    }
}

static void an_observer_may_call_the_registry(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    r.events.then = observer_comes_back;
    r.events.arg = &r;
    use(&r, "a");
    assert_true(has(&r, "a") && has(&r, "b") && has(&r, "c"));
    r.events.then = NULL;
    rig_end(&r);
}

/* -------------------------------------------------------------------- visiting */

typedef struct visitor {
    rig *r;
    int  visits, until;
} visitor;

static int count_visits(const char *key, void *object, void *arg)
{
    visitor *v = arg;
    assert_ptr_equal(((thing *)object)->key, key);
    v->visits++;
    assert_int_equal(stats_of(v->r).held, 1);
    use(v->r, key);
    assert_int_equal(try_take(v->r, "one more"), v->until == 0 ? RSL_OK : RSL_EFULL);
    return v->visits == v->until ? 99 : 0;
}

static void visiting_goes_over_all_once_and_holds_each(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 0);
    char key[16];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof(key), "%d", i);
        use(&r, key);
    }
    sought s = {"99", false};
    assert_int_equal(rsl_registry_visit(&r.registry, seek, &s), 0);
    assert_true(s.found);
    assert_int_equal(stats_of(&r).held, 0);
    rig_end(&r);
}

static void a_visitor_may_acquire_and_may_stop(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 1);
    use(&r, "a");
    visitor v = {&r, 0, 1}; /* the only room is held while it is visited */
    assert_int_equal(rsl_registry_visit(&r.registry, count_visits, &v), 99);
    assert_int_equal(v.visits, 1);
    assert_int_equal(stats_of(&r).held, 0);
    rig_end(&r);
}

/* --------------------------------------------------------------- ready types */

static void an_open_breaker_is_never_evicted(void **state)
{
    (void)state;
    rsl_registry registry;
    virtual_clock clock = {.now = RSL_SEC(1)};
    rsl_breaker_config each = {.failures_max = 2, .open_for = RSL_SEC(30),
                               .clock = virtual_clock_as(&clock)};
    rsl_registry_config config = {.config = &each, .count_max = 2};
    assert_int_equal(rsl_registry_init(&registry, &config), RSL_OK);
    void *bad, *good, *other;
    rsl_breaker_permit permit;
    assert_int_equal(rsl_registry_acquire(&registry, "bad.example", &bad), RSL_OK);
    assert_string_equal(((rsl_breaker *)bad)->config_.name, "bad.example");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rsl_breaker_allow(bad, &permit), RSL_OK);
        assert_int_equal(rsl_breaker_report(bad, &permit, 1), RSL_OK);
    }
    assert_int_equal(rsl_breaker_allow(bad, &permit), RSL_EOPEN);
    assert_int_equal(rsl_registry_release(&registry, bad), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "good", &good), RSL_OK);
    assert_int_equal(rsl_breaker_allow(good, &permit), RSL_OK); /* in flight */
    assert_int_equal(rsl_registry_release(&registry, good), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "other", &other), RSL_EFULL);
    clock.now += RSL_SEC(31);
    rsl_breaker_permit probe; /* half-open, and asked */
    assert_int_equal(rsl_breaker_allow(bad, &probe), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "other", &other), RSL_EFULL);
    assert_int_equal(rsl_breaker_report(bad, &probe, 1), RSL_OK); /* open again */
    assert_int_equal(rsl_registry_acquire(&registry, "other", &other), RSL_EFULL);
    assert_int_equal(rsl_breaker_report(good, &permit, 0), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "other", &other), RSL_OK);
    assert_int_equal(rsl_registry_release(&registry, other), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "bad.example", &other), RSL_OK);
    assert_ptr_equal(other, bad);
    assert_int_equal(rsl_registry_release(&registry, other), RSL_OK);
    assert_int_equal(rsl_registry_deinit(&registry), RSL_OK);
}

/* Acquired, called once with that result, and released. */
static void breaker_use(rsl_registry *registry, const char *host, int result)
{
    void *breaker;
    rsl_breaker_permit permit;
    assert_int_equal(rsl_registry_acquire(registry, host, &breaker), RSL_OK);
    assert_int_equal(rsl_breaker_allow(breaker, &permit), RSL_OK);
    assert_int_equal(rsl_breaker_report(breaker, &permit, result), RSL_OK);
    assert_int_equal(rsl_registry_release(registry, breaker), RSL_OK);
}

static int print_key(const char *key, void *object, void *arg)
{
    (void)object;
    strcat(strcat(arg, key), " ");
    return 0;
}

static void assert_keys(rsl_registry *registry, const char *one, const char *other)
{
    char keys[64] = "";
    assert_int_equal(rsl_registry_visit(registry, print_key, keys), 0);
    assert_non_null(strstr(keys, one));
    assert_non_null(strstr(keys, other));
}

static void a_breaker_with_a_failure_in_its_window_goes_last(void **state)
{
    (void)state;
    rsl_registry registry;
    rsl_registry_config config = {.count_max = 2};
    assert_int_equal(rsl_registry_init(&registry, &config), RSL_OK);
    breaker_use(&registry, "failed", 1);
    breaker_use(&registry, "clean", 0);
    breaker_use(&registry, "new", 1); /* clean made room, though it was used later */
    assert_keys(&registry, "failed", "new");
    breaker_use(&registry, "newer", 1); /* and now the oldest of those that failed */
    assert_keys(&registry, "new ", "newer");
    assert_int_equal(rsl_registry_deinit(&registry), RSL_OK);
}

static void dead_hosts_do_not_fill_a_registry_for_ever(void **state)
{
    (void)state;
    rsl_registry registry;
    virtual_clock clock = {.now = RSL_SEC(1)};
    rsl_breaker_config each = {.failures_max = 1, .open_for = RSL_SEC(30),
                               .clock = virtual_clock_as(&clock)};
    rsl_registry_config config = {.config = &each, .count_max = 2};
    assert_int_equal(rsl_registry_init(&registry, &config), RSL_OK);
    breaker_use(&registry, "dead", 1);
    clock.now += RSL_SEC(20);
    breaker_use(&registry, "gone", 1);
    void *object;
    assert_int_equal(rsl_registry_acquire(&registry, "new", &object), RSL_EFULL);
    clock.now += RSL_SEC(11); /* the first has rested, and nobody asks for it */
    breaker_use(&registry, "new", 0);
    assert_keys(&registry, "gone", "new");
    assert_int_equal(rsl_registry_deinit(&registry), RSL_OK);
}

static void a_breaker_that_was_forced_is_kept(void **state)
{
    (void)state;
    const rsl_breaker_state states[] = {RSL_BREAKER_FORCED_OPEN, RSL_BREAKER_DISABLED,
                                        RSL_BREAKER_METRICS_ONLY};
    for (size_t i = 0; i < RSL_COUNT(states); i++) {
        rsl_registry registry;
        rsl_registry_config config = {.count_max = 1};
        assert_int_equal(rsl_registry_init(&registry, &config), RSL_OK);
        void *object;
        assert_int_equal(rsl_registry_acquire(&registry, "forced", &object), RSL_OK);
        assert_int_equal(rsl_breaker_force(object, states[i]), RSL_OK);
        assert_int_equal(rsl_registry_release(&registry, object), RSL_OK);
        assert_int_equal(rsl_registry_acquire(&registry, "new", &object), RSL_EFULL);
        assert_int_equal(rsl_registry_deinit(&registry), RSL_OK);
    }
}

static void a_bulkhead_with_a_call_inside_is_kept(void **state)
{
    (void)state;
    rsl_registry registry;
    rsl_registry_config config = {.type = rsl_registry_bulkheads(), .count_max = 1};
    assert_int_equal(rsl_registry_init(&registry, &config), RSL_OK);
    void *one, *other;
    rsl_bulkhead_permit permit;
    assert_int_equal(rsl_registry_acquire(&registry, "one", &one), RSL_OK);
    assert_int_equal(rsl_bulkhead_try(one, &permit), RSL_OK);
    assert_int_equal(rsl_registry_release(&registry, one), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "other", &other), RSL_EFULL);
    assert_int_equal(rsl_bulkhead_leave(one, &permit, 0), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "other", &other), RSL_OK);
    assert_int_equal(rsl_registry_release(&registry, other), RSL_OK);
    assert_int_equal(rsl_registry_deinit(&registry), RSL_OK);
}

static int connect_thing(void *user, const rsl_ctx *ctx, void **resource)
{
    (void)ctx;
    *resource = user;
    return 0;
}

static void disconnect_thing(void *user, void *resource)
{
    assert_ptr_equal(user, resource);
}

static void a_pool_that_is_leased_from_is_kept_and_an_idle_one_closed(void **state)
{
    (void)state;
    int user = 0;
    rsl_registry registry;
    rsl_pool_config each = {.create = connect_thing, .destroy = disconnect_thing, .user = &user,
                            .caller_maintains = true};
    rsl_registry_config config = {.type = rsl_registry_pools(), .config = &each, .count_max = 1};
    long live = support_live();
    assert_int_equal(rsl_registry_init(&registry, &config), RSL_OK);
    void *one, *other;
    rsl_pool_lease lease;
    assert_int_equal(rsl_registry_acquire(&registry, "one", &one), RSL_OK);
    assert_int_equal(rsl_pool_acquire(*(rsl_pool **)one, NULL, &lease), RSL_OK);
    assert_int_equal(rsl_registry_release(&registry, one), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "other", &other), RSL_EFULL);
    assert_int_equal(rsl_pool_release(lease.pool, &lease), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "other", &other), RSL_OK);
    assert_int_equal(rsl_registry_release(&registry, other), RSL_OK);
    assert_int_equal(rsl_registry_deinit(&registry), RSL_OK);
    assert_true(support_live() == live);
}

#ifndef RSL_NO_THREADS
static int hold_the_gate(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    while (atomic_load((_Atomic bool *)arg)) {
        rsl_pause_(RSL_US(100));
    }
    return 0;
}

static void workers_with_a_task_are_kept_and_idle_ones_closed(void **state)
{
    (void)state;
    rsl_registry registry;
    rsl_registry_config config = {.type = rsl_registry_workers(), .count_max = 1};
    long live = support_live();
    assert_int_equal(rsl_registry_init(&registry, &config), RSL_OK);
    void *one, *other;
    rsl_task task;
    memset(&task, 0, sizeof(task));
    _Atomic bool gate = true;
    assert_int_equal(rsl_registry_acquire(&registry, "one", &one), RSL_OK);
    assert_int_equal(rsl_workers_submit(*(rsl_workers **)one, NULL, hold_the_gate, (void *)&gate,
                                        &task), RSL_OK);
    assert_int_equal(rsl_registry_release(&registry, one), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "other", &other), RSL_EFULL);
    atomic_store(&gate, false);
    assert_int_equal(rsl_task_wait(&task, NULL, NULL), RSL_OK);
    rsl_workers_stats stats;
    do rsl_workers_stats_get(*(rsl_workers **)one, &stats);
    while (stats.running > 0); /* until the worker has let go of it */
    assert_int_equal(rsl_registry_acquire(&registry, "other", &other), RSL_OK);
    assert_int_equal(rsl_registry_release(&registry, other), RSL_OK);
    assert_int_equal(rsl_registry_deinit(&registry), RSL_OK);
    assert_true(support_live() == live);
}
#endif

static void retries_are_never_busy(void **state)
{
    (void)state;
    rsl_registry registry;
    rsl_registry_config config = {.type = rsl_registry_retries(), .count_max = 1};
    assert_int_equal(rsl_registry_init(&registry, &config), RSL_OK);
    void *object;
    assert_int_equal(rsl_registry_acquire(&registry, "one", &object), RSL_OK);
    assert_string_equal(((rsl_retry *)object)->config_.name, "one");
    assert_int_equal(rsl_registry_release(&registry, object), RSL_OK);
    assert_int_equal(rsl_registry_acquire(&registry, "other", &object), RSL_OK);
    assert_int_equal(rsl_registry_release(&registry, object), RSL_OK);
    assert_int_equal(rsl_registry_deinit(&registry), RSL_OK);
}

/* ----------------------------------------------------------------- allocations */

static int make_and_use(rig *r)
{
    the_factory = &r->factory;
    rsl_registry_config config = {.type = &things, .config = &r->factory, .count_max = 40};
    int status = rsl_registry_init(&r->registry, &config);
    if (status != RSL_OK) {
        assert_int_equal(rsl_registry_deinit(&r->registry), RSL_OK);
        return status;
    }
    char key[16];
    for (int i = 0; i < 60 && status == RSL_OK; i++) { /* widens twice, then evicts */
        (void)snprintf(key, sizeof(key), "%d", i);
        void *object;
        status = rsl_registry_acquire(&r->registry, key, &object);
        if (status == RSL_OK) {
            assert_int_equal(rsl_registry_release(&r->registry, object), RSL_OK);
        } else {
            support_fail_never(); /* nothing is lost, and it can be tried again */
            use(r, key);
        }
    }
    assert_int_equal(rsl_registry_deinit(&r->registry), RSL_OK);
    return status;
}

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        int status = RSL_ENOMEM;
        long n = 0;
        while (status != RSL_OK) {
            rig r;
            memset(&r, 0, sizeof(r));
            r.factory.registry = &r.registry;
            r.factory.allocates = true;
            long live = support_live();
            n++;
            for_ever ? support_fail_from(n) : support_fail_nth(n);
            status = make_and_use(&r);
            support_fail_never();
            assert_true(status == RSL_OK || status == RSL_ENOMEM);
            assert_true(support_live() == live);
        }
        assert_true(n > 100);
    }
}

static void a_lookup_allocates_nothing(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, 4);
    use(&r, "a");
    use(&r, "b");
    support_fail_from(1);
    for (int i = 0; i < 100; i++) {
        use(&r, i % 3 ? "a" : "b");
    }
    assert_true(support_taken() == 0);
    support_fail_never();
    rig_end(&r);
}

/* --------------------------------------------------------------------- threads */

typedef struct taker {
    rig        *r;
    const char *key;
    void       *object;
    int         status;
} taker;

static void *taker_run(void *arg)
{
    taker *t = arg;
    t->status = rsl_registry_acquire(&t->r->registry, t->key, &t->object);
    return NULL;
}

static uint32_t waiting(rig *r)
{
    rsl_registry_state_ *s = r->registry.state_;
    uint32_t count = 0;
    rsl_lock_take_(&s->lock);
    for (rsl_waiter *w = s->queue.first; w != NULL; w = w->private_.next) {
        count++;
    }
    rsl_lock_drop_(&s->lock);
    return count;
}

static void who_comes_while_it_is_made_waits_and_shares_it(void **state)
{
    (void)state;
    enum { TAKERS = 4 };
    for (int fails = 0; fails < 2; fails++) {
        rig r;
        rig_begin(&r, 2, false);
        use(&r, "ready");
        atomic_store(&r.factory.gate, true);
        r.factory.fails = fails ? INIT_FAILS : 0;
        pthread_t threads[TAKERS];
        taker takers[TAKERS];
        for (int i = 0; i < TAKERS; i++) {
            takers[i] = (taker){&r, "slow", NULL, 1};
            assert_int_equal(pthread_create(&threads[i], NULL, taker_run, &takers[i]), 0);
        }
        while (!atomic_load(&r.factory.inside) || waiting(&r) < TAKERS - 1) {
            rsl_pause_(RSL_US(100));
        }
        use(&r, "ready"); /* nobody else is held up */
        atomic_store(&r.factory.gate, false);
        for (int i = 0; i < TAKERS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(takers[i].status, fails ? INIT_FAILS : RSL_OK);
            if (!fails) {
                assert_ptr_equal(takers[i].object, takers[0].object);
                give(&r, takers[i].object);
            }
        }
        assert_int_equal(atomic_load(&r.factory.made), fails ? 1 : 2);
        assert_int_equal(stats_of(&r).held, 0);
        rig_end(&r);
    }
}

static _Atomic int circle_inside;
static _Atomic int circle_refused;

/* Two inits that each want what the other makes. */
static void init_in_a_circle(factory *f, const char *key)
{
    atomic_fetch_add(&circle_inside, 1);
    while (atomic_load(&circle_inside) < 2) {
        rsl_pause_(RSL_US(100));
    }
    void *object;
    int status = rsl_registry_acquire(f->registry, *key == 'a' ? "b" : "a", &object);
    if (status == RSL_OK) {
        assert_int_equal(rsl_registry_release(f->registry, object), RSL_OK);
    } else {
        assert_int_equal(status, RSL_EINVAL);
        atomic_fetch_add(&circle_refused, 1);
    }
}

static void inits_that_wait_for_each_other_are_told(void **state)
{
    (void)state;
    rig r;
    rig_begin(&r, 4, false);
    atomic_store(&circle_inside, 0);
    atomic_store(&circle_refused, 0);
    r.factory.on_init = init_in_a_circle;
    taker other = {&r, "b", NULL, 1};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, taker_run, &other), 0);
    use(&r, "a");
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(other.status, RSL_OK);
    assert_int_equal(atomic_load(&circle_refused), 1);
    give(&r, other.object);
    rig_end(&r);
}

static void deinit_waits_at_the_gate(factory *f, thing *t)
{
    (void)t;
    while (atomic_load(&f->gate)) {
        atomic_store(&f->inside, true);
        rsl_pause_(RSL_US(100));
    }
}

static void who_comes_while_it_is_ended_waits_and_gets_a_new_one(void **state)
{
    (void)state;
    rig r;
    rig_begin(&r, 2, false);
    use(&r, "a");
    use(&r, "kept");
    r.factory.on_deinit = deinit_waits_at_the_gate;
    taker evictor = {&r, "b", NULL, 1}, late = {&r, "a", NULL, 1};
    pthread_t threads[2];
    atomic_store(&r.factory.gate, true);
    assert_int_equal(pthread_create(&threads[0], NULL, taker_run, &evictor), 0);
    while (!atomic_load(&r.factory.inside)) {
        rsl_pause_(RSL_US(100));
    }
    assert_int_equal(pthread_create(&threads[1], NULL, taker_run, &late), 0);
    while (waiting(&r) < 1) {
        rsl_pause_(RSL_US(100));
    }
    assert_int_equal(stats_of(&r).count, 1);
    atomic_store(&r.factory.gate, false);
    assert_int_equal(pthread_join(threads[0], NULL), 0);
    assert_int_equal(pthread_join(threads[1], NULL), 0);
    assert_int_equal(evictor.status, RSL_OK);
    assert_int_equal(late.status, RSL_OK);
    assert_int_equal(atomic_load(&r.factory.made), 4);
    give(&r, evictor.object);
    give(&r, late.object);
    rig_end(&r);
}
#else

static void without_stb_ds_there_is_no_registry(void **state)
{
    (void)state;
    rsl_registry registry;
    rsl_registry_stats stats;
    void *object;
    assert_non_null(rsl_registry_config_check(NULL));
    assert_int_equal(rsl_registry_init(&registry, NULL), RSL_EINVAL);
    assert_int_equal(rsl_registry_acquire(&registry, "a", &object), RSL_EINVAL);
    assert_int_equal(rsl_registry_release(&registry, &registry), RSL_EINVAL);
    assert_int_equal(rsl_registry_visit(&registry, NULL, NULL), RSL_EINVAL);
    rsl_registry_stats_get(&registry, &stats);
    assert_int_equal(stats.count, 0);
    assert_int_equal(rsl_registry_deinit(&registry), RSL_OK);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef RSL_NO_MAP_
        cmocka_unit_test(bad_configs_are_refused_by_name),
        cmocka_unit_test(the_config_of_a_ready_type_is_checked_when_the_registry_is_made),
        cmocka_unit_test(a_config_resolves_to_its_defaults),
        cmocka_unit_test(null_is_refused_everywhere),
        cmocka_unit_test(one_name_is_one_instance),
        cmocka_unit_test(a_key_may_go_once_the_instance_is_made),
        cmocka_unit_test(a_release_that_is_wrong_is_refused),
        cmocka_unit_test(a_registry_whose_instances_are_held_is_not_ended),
        cmocka_unit_test(a_failed_init_is_passed_on_and_leaves_nothing),
        cmocka_unit_test(errno_survives),
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(eviction_is_in_exact_order_of_use),
        cmocka_unit_test(what_is_held_is_never_evicted),
        cmocka_unit_test(what_is_busy_is_never_evicted),
        cmocka_unit_test(of_one_room_the_latest_is_the_oldest_too),
        cmocka_unit_test(what_was_evicted_comes_back_fresh),
        cmocka_unit_test(events_tell_what_happens),
        cmocka_unit_test(keys_are_bounded),
        cmocka_unit_test(keys_are_bounded_by_the_config),
        cmocka_unit_test(any_bytes_make_a_key),
        cmocka_unit_test(ten_thousand_colliding_keys_are_ten_thousand_instances),
        cmocka_unit_test(a_hint_that_is_wrong_is_not_believed),
        cmocka_unit_test(init_may_acquire_other_names),
        cmocka_unit_test(init_that_acquires_its_own_name_is_refused),
        cmocka_unit_test(deinit_may_call_the_registry),
        cmocka_unit_test(what_was_held_while_it_was_looked_at_is_not_evicted),
        cmocka_unit_test(an_observer_may_call_the_registry),
        cmocka_unit_test(visiting_goes_over_all_once_and_holds_each),
        cmocka_unit_test(a_visitor_may_acquire_and_may_stop),
        cmocka_unit_test(an_open_breaker_is_never_evicted),
        cmocka_unit_test(a_breaker_with_a_failure_in_its_window_goes_last),
        cmocka_unit_test(dead_hosts_do_not_fill_a_registry_for_ever),
        cmocka_unit_test(a_breaker_that_was_forced_is_kept),
        cmocka_unit_test(a_bulkhead_with_a_call_inside_is_kept),
        cmocka_unit_test(a_pool_that_is_leased_from_is_kept_and_an_idle_one_closed),
#ifndef RSL_NO_THREADS
        cmocka_unit_test(workers_with_a_task_are_kept_and_idle_ones_closed),
#endif
        cmocka_unit_test(retries_are_never_busy),
        cmocka_unit_test(every_failed_allocation_is_survived),
        cmocka_unit_test(a_lookup_allocates_nothing),
        cmocka_unit_test(who_comes_while_it_is_made_waits_and_shares_it),
        cmocka_unit_test(inits_that_wait_for_each_other_are_told),
        cmocka_unit_test(who_comes_while_it_is_ended_waits_and_gets_a_new_one),
#else
        cmocka_unit_test(without_stb_ds_there_is_no_registry),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
