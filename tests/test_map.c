/* SPDX-License-Identifier: MIT
   test_map.c: src/map.h, of which modules that need a map have a copy. Core comes with retry.h. */
#include "support/allocator.h"

#define RSL_RETRY_IMPLEMENTATION
#include "retry.h"

#define RSL_MAP_COUNT_MAX_ 3000u
#include "src/map.h"

#include "support/support.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef RSL_NO_MAP_ /* this machine, or the one compiled for, has no stb_ds.h */

static void without_stb_ds_the_map_is_left_out_and_the_rest_works(void **state)
{
    (void)state;
    assert_true(rsl_now() > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_stb_ds_the_map_is_left_out_and_the_rest_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

enum { NAME_SIZE = 32 };

static const char *name_of(uint32_t number, char name[NAME_SIZE])
{
    (void)snprintf(name, NAME_SIZE, "host-%u.example:443", (unsigned)number);
    return name;
}

static rsl_map_ new_map(void)
{
    support_fail_never();
    rsl_map_ map;
    assert_int_equal(rsl_map_init_(&map), RSL_OK);
    return map;
}

static void end_map(rsl_map_ *map)
{
    support_fail_never();
    rsl_map_deinit_(map);
    assert_null(map->items);
    assert_int_equal(support_live(), 0);
}

static bool has(const rsl_map_ *map, const char *key, uint32_t wanted)
{
    uint32_t value = wanted + 1;
    return rsl_map_get_(map, key, &value) && value == wanted;
}

static bool lacks(const rsl_map_ *map, const char *key)
{
    uint32_t value = 77;
    return !rsl_map_get_(map, key, &value) && value == 77;
}

/* What must hold between any two calls: the counts agree, each item is found where it stands, and
   a probe always meets an empty slot. */
static void check_whole(const rsl_map_ *map)
{
    const rsl_stb_array_header_ *header = rsl_map_header_(map);
    const rsl_stb_hash_index_ *table = rsl_map_table_(map);
    uint32_t count = rsl_map_count_(map);
    assert_true(header->length == (size_t)count + 1);
    assert_true(header->length <= header->capacity);
    assert_true(table->used_count == count);
    size_t used = 0, deleted = 0, empty = 0;
    for (size_t i = 0; i < table->slot_count; i++) {
        ptrdiff_t index = table->storage[i / RSL_MAP_SLOTS_MIN_].index[i % RSL_MAP_SLOTS_MIN_];
        used += index >= 0;
        empty += index == -1;
        deleted += index == -2;
    }
    assert_true(used == count);
    assert_true(deleted == table->tombstone_count);
    assert_true(used + deleted + empty == table->slot_count);
    assert_true(empty >= table->slot_count / 4);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(rsl_map_stb_find_(map->items, map->items[i].key), i);
    }
}

/* --------------------------------------------------------------- what it does */

static void an_empty_map_has_no_key(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    assert_int_equal(rsl_map_count_(&map), 0);
    assert_true(lacks(&map, "a"));
    assert_true(lacks(&map, ""));
    rsl_map_del_(&map, "a");
    check_whole(&map);
    end_map(&map);
}

static void a_key_that_was_put_is_found_with_its_value(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    assert_int_equal(rsl_map_put_(&map, "one", 1), RSL_OK);
    assert_int_equal(rsl_map_put_(&map, "none", 0), RSL_OK);
    assert_int_equal(rsl_map_put_(&map, "most", UINT32_MAX), RSL_OK);
    assert_int_equal(rsl_map_count_(&map), 3);
    assert_true(has(&map, "one", 1));
    assert_true(has(&map, "none", 0));
    assert_true(has(&map, "most", UINT32_MAX));
    assert_true(lacks(&map, "on"));
    assert_true(lacks(&map, "ones"));
    end_map(&map);
}

static void a_key_is_copied(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    char key[] = "volatile";
    assert_int_equal(rsl_map_put_(&map, key, 5), RSL_OK);
    key[0] = 'X';
    assert_true(has(&map, "volatile", 5));
    assert_true(lacks(&map, key));
    end_map(&map);
}

static void a_key_put_again_changes_its_value_and_takes_no_memory(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    assert_int_equal(rsl_map_put_(&map, "a", 1), RSL_OK);
    assert_int_equal(rsl_map_put_(&map, "b", 2), RSL_OK);
    support_fail_from(1);
    assert_int_equal(rsl_map_put_(&map, "a", 3), RSL_OK);
    assert_int_equal(support_taken(), 0);
    assert_true(has(&map, "a", 3));
    assert_true(has(&map, "b", 2));
    assert_int_equal(rsl_map_count_(&map), 2);
    end_map(&map);
}

static void a_deleted_key_is_gone_and_may_come_back(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    assert_int_equal(rsl_map_put_(&map, "a", 1), RSL_OK);
    assert_int_equal(rsl_map_put_(&map, "b", 2), RSL_OK);
    rsl_map_del_(&map, "a");
    rsl_map_del_(&map, "a");
    rsl_map_del_(&map, "c");
    assert_true(lacks(&map, "a"));
    assert_true(has(&map, "b", 2));
    assert_int_equal(rsl_map_count_(&map), 1);
    assert_int_equal(rsl_map_put_(&map, "a", 4), RSL_OK);
    assert_true(has(&map, "a", 4));
    check_whole(&map);
    end_map(&map);
}

static void keys_of_every_length_up_to_the_limit_are_held_apart(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    char key[RSL_MAP_KEY_MAX_ + 1];
    for (uint32_t length = 0; length <= RSL_MAP_KEY_MAX_; length++) {
        memset(key, 'k', length);
        key[length] = '\0';
        assert_int_equal(rsl_map_put_(&map, key, length), RSL_OK);
    }
    for (uint32_t length = 0; length <= RSL_MAP_KEY_MAX_; length++) {
        memset(key, 'k', length);
        key[length] = '\0';
        assert_true(has(&map, key, length));
    }
    check_whole(&map);
    end_map(&map);
}

static void a_longer_key_is_refused_and_never_found(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    enum { HUGE_SIZE = 1 << 20 };
    char *key = malloc(HUGE_SIZE + 1);
    assert_non_null(key);
    memset(key, 'k', HUGE_SIZE);
    key[RSL_MAP_KEY_MAX_] = '\0';
    assert_int_equal(rsl_map_put_(&map, key, 1), RSL_OK);
    for (size_t length = RSL_MAP_KEY_MAX_ + 1; length <= HUGE_SIZE; length *= 4) {
        memset(key, 'k', HUGE_SIZE);
        key[length] = '\0';
        assert_int_equal(rsl_map_put_(&map, key, 2), RSL_EINVAL);
        assert_true(lacks(&map, key));
        rsl_map_del_(&map, key);
    }
    assert_int_equal(rsl_map_count_(&map), 1);
    key[RSL_MAP_KEY_MAX_] = '\0';
    assert_true(has(&map, key, 1));
    free(key);
    end_map(&map);
}

static void keys_may_hold_any_byte(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    for (int byte = 1; byte < 256; byte++) {
        char key[3] = {(char)byte, (char)(256 - byte), '\0'};
        assert_int_equal(rsl_map_put_(&map, key, (uint32_t)byte), RSL_OK);
    }
    for (int byte = 1; byte < 256; byte++) {
        char key[3] = {(char)byte, (char)(256 - byte), '\0'};
        assert_true(has(&map, key, (uint32_t)byte));
    }
    end_map(&map);
}

static void a_full_map_refuses_new_keys_and_still_changes_and_deletes(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    char name[NAME_SIZE];
    for (uint32_t i = 0; i < RSL_MAP_COUNT_MAX_; i++) {
        assert_int_equal(rsl_map_put_(&map, name_of(i, name), i), RSL_OK);
    }
    assert_int_equal(rsl_map_put_(&map, "one more", 1), RSL_EFULL);
    assert_int_equal(rsl_map_count_(&map), RSL_MAP_COUNT_MAX_);
    assert_int_equal(rsl_map_put_(&map, name_of(7, name), 70), RSL_OK);
    assert_true(has(&map, name, 70));
    rsl_map_del_(&map, name);
    assert_int_equal(rsl_map_put_(&map, "one more", 1), RSL_OK);
    check_whole(&map);
    end_map(&map);
}

static void a_zeroed_or_ended_map_has_nothing_and_takes_nothing(void **state)
{
    (void)state;
    rsl_map_ map;
    memset(&map, 0, sizeof map);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rsl_map_count_(&map), 0);
        assert_true(lacks(&map, "a"));
        rsl_map_del_(&map, "a");
        assert_int_equal(rsl_map_put_(&map, "a", 1), RSL_EINVAL);
        rsl_map_deinit_(&map);
        if (i == 0) {
            map = new_map();
            end_map(&map);
        }
    }
}

static void a_look_up_writes_nothing_and_takes_no_memory(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    char name[NAME_SIZE];
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(rsl_map_put_(&map, name_of(i, name), i), RSL_OK);
    }
    const rsl_stb_array_header_ *header = rsl_map_header_(&map);
    size_t header_size = sizeof *header + header->capacity * sizeof *map.items;
    size_t table_size = sizeof(rsl_stb_hash_index_) + rsl_map_table_(&map)->slot_count * 16;
    char *before = malloc(sizeof map + header_size + table_size);
    assert_non_null(before);
    memcpy(before, &map, sizeof map);
    memcpy(before + sizeof map, header, header_size);
    memcpy(before + sizeof map + header_size, rsl_map_table_(&map), table_size);
    support_fail_from(1);
    for (uint32_t i = 0; i < 200; i++) {
        (void)name_of(i, name);
        assert_true(i < 100 ? has(&map, name, i) : lacks(&map, name));
        assert_int_equal(rsl_map_count_(&map), 100);
    }
    assert_int_equal(support_taken(), 0);
    assert_memory_equal(before, &map, sizeof map);
    assert_memory_equal(before + sizeof map, header, header_size);
    assert_memory_equal(before + sizeof map + header_size, rsl_map_table_(&map), table_size);
    free(before);
    end_map(&map);
}

static char missed_; /* what a thread returns that found something wrong */

static void run_threads(void *(*body)(void *), void *arg)
{
    pthread_t threads[4];
    for (size_t i = 0; i < RSL_COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, body, arg), 0);
    }
    for (size_t i = 0; i < RSL_COUNT(threads); i++) {
        void *missed;
        assert_int_equal(pthread_join(threads[i], &missed), 0);
        assert_null(missed);
    }
}

static void *look_up_all(void *arg)
{
    const rsl_map_ *map = arg;
    char name[NAME_SIZE];
    bool right = true;
    for (uint32_t i = 0; i < 2000; i++) {
        uint32_t key = i % 400;
        (void)name_of(key, name);
        right &= key < 200 ? has(map, name, key) : lacks(map, name);
        right &= rsl_map_count_(map) == 200;
    }
    return right ? NULL : &missed_;
}

static void threads_may_look_up_at_the_same_time(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    char name[NAME_SIZE];
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(rsl_map_put_(&map, name_of(i, name), i), RSL_OK);
    }
    run_threads(look_up_all, &map);
    end_map(&map);
}

static void *make_and_use(void *arg)
{
    (void)arg;
    char name[NAME_SIZE];
    bool right = true;
    for (uint32_t round = 0; round < 20; round++) {
        rsl_map_ map;
        if (rsl_map_init_(&map) != RSL_OK) return &missed_;
        for (uint32_t i = 0; i < 50; i++) {
            right &= rsl_map_put_(&map, name_of(i, name), round) == RSL_OK;
            right &= has(&map, name, round);
            if (i % 2 == 0) rsl_map_del_(&map, name);
        }
        rsl_map_deinit_(&map);
    }
    return right ? NULL : &missed_;
}

static void threads_may_make_and_use_maps_of_their_own_at_the_same_time(void **state)
{
    (void)state;
    support_fail_never();
    run_threads(make_and_use, NULL);
    assert_int_equal(support_live(), 0);
}

/* -------------------------------------------------------------------- a model */

enum { MODEL_KEYS = 700 };

typedef struct model {
    bool     there[MODEL_KEYS];
    uint32_t value[MODEL_KEYS];
    uint32_t count;
} model;

static void check_against(const rsl_map_ *map, const model *wanted)
{
    char name[NAME_SIZE];
    assert_int_equal(rsl_map_count_(map), wanted->count);
    for (uint32_t i = 0; i < MODEL_KEYS; i++) {
        (void)name_of(i, name);
        assert_true(wanted->there[i] ? has(map, name, wanted->value[i]) : lacks(map, name));
    }
}

/* A put that the model follows if it succeeds, or a delete. */
static int step(rsl_map_ *map, model *wanted, uint32_t key, bool put, uint32_t value)
{
    char name[NAME_SIZE];
    (void)name_of(key, name);
    if (!put) {
        rsl_map_del_(map, name);
        wanted->count -= wanted->there[key];
        wanted->there[key] = false;
        return RSL_OK;
    }
    int status = rsl_map_put_(map, name, value);
    if (status != RSL_OK) return status;
    wanted->count += !wanted->there[key];
    wanted->there[key] = true;
    wanted->value[key] = value;
    return RSL_OK;
}

static void random_operations_agree_with_a_model(void **state)
{
    (void)state;
    static const uint32_t puts_of_ten[] = {9, 5, 1, 6, 2, 8, 0, 7, 3, 5};
    seeded_random random = {20261120};
    rsl_map_ map = new_map();
    model wanted = {0};
    for (uint32_t i = 0; i < 60000; i++) {
        uint32_t bias = puts_of_ten[i / 1500 % RSL_COUNT(puts_of_ten)];
        uint32_t key = seeded_random_below(&random, MODEL_KEYS);
        bool put = seeded_random_below(&random, 10) < bias;
        assert_int_equal(step(&map, &wanted, key, put, i), RSL_OK);
        if (i % 97 == 0) {
            check_whole(&map);
            check_against(&map, &wanted);
        }
    }
    end_map(&map);
}

static void maps_do_not_mix(void **state)
{
    (void)state;
    seeded_random random = {5};
    rsl_map_ maps[3] = {new_map(), new_map(), new_map()};
    static model wanted[3];
    memset(wanted, 0, sizeof wanted);
    for (uint32_t i = 0; i < 6000; i++) {
        uint32_t which = seeded_random_below(&random, 3);
        uint32_t key = seeded_random_below(&random, MODEL_KEYS);
        bool put = seeded_random_below(&random, 3) != 0;
        assert_int_equal(step(&maps[which], &wanted[which], key, put, i), RSL_OK);
    }
    for (size_t i = 0; i < 3; i++) {
        check_whole(&maps[i]);
        check_against(&maps[i], &wanted[i]);
    }
    rsl_map_deinit_(&maps[0]);
    rsl_map_deinit_(&maps[1]);
    end_map(&maps[2]);
}

/* --------------------------------------------------------- memory that is short */

static void init_without_memory_leaves_a_zeroed_map(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        rsl_map_ map, zeroed;
        memset(&zeroed, 0, sizeof zeroed);
        support_fail_nth(n);
        int status = rsl_map_init_(&map);
        if (status == RSL_OK) {
            assert_int_equal(n, 3); /* the array and the table */
            end_map(&map);
            return;
        }
        assert_int_equal(status, RSL_ENOMEM);
        assert_memory_equal(&map, &zeroed, sizeof map);
        assert_int_equal(support_live(), 0);
        rsl_map_deinit_(&map);
    }
}

/* The same puts and deletes each time, with the n-th allocation failing, alone or with all after
   it. False when the script needed fewer. */
static bool run_script(long n, bool for_ever)
{
    rsl_map_ map = new_map();
    model wanted = {0};
    seeded_random random = {99};
    bool failed = false;
    if (for_ever) support_fail_from(n);
    else support_fail_nth(n);
    for (uint32_t i = 0; i < 260; i++) {
        uint32_t key = seeded_random_below(&random, 90);
        bool put = seeded_random_below(&random, 100) < (i < 120 ? 85u : 45u);
        uint32_t count = rsl_map_count_(&map);
        long live = support_live(), taken = support_taken();
        int status = step(&map, &wanted, key, put, i);
        if (!put) assert_int_equal(support_taken(), taken);
        if (status == RSL_OK) continue;
        assert_int_equal(status, RSL_ENOMEM);
        assert_int_equal(rsl_map_count_(&map), count);
        assert_int_equal(support_live(), live);
        check_whole(&map);
        if (!failed) check_against(&map, &wanted);
        failed = true;
    }
    check_whole(&map);
    check_against(&map, &wanted);
    support_fail_never();
    for (uint32_t key = 0; key < 90; key++) {
        assert_int_equal(step(&map, &wanted, key, true, key), RSL_OK);
    }
    check_whole(&map);
    check_against(&map, &wanted);
    end_map(&map);
    return failed;
}

static void each_allocation_may_fail_once_and_nothing_is_lost(void **state)
{
    (void)state;
    long n = 1;
    while (run_script(n, false)) n++;
    assert_true(n > 100);
}

static void every_allocation_may_fail_from_any_moment_and_nothing_is_lost(void **state)
{
    (void)state;
    long n = 1;
    while (run_script(n, true)) n++;
    assert_true(n > 100);
}

static void deletes_need_no_memory(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    char name[NAME_SIZE];
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(rsl_map_put_(&map, name_of(i, name), i), RSL_OK);
    }
    long live = support_live();
    support_fail_from(1);
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t key = i * 7 % 1000;
        rsl_map_del_(&map, name_of(key, name));
        assert_true(lacks(&map, name));
        assert_int_equal(rsl_map_count_(&map), 999 - i);
        assert_int_equal(support_live(), live - 1 - (long)i);
        if (i % 50 == 0) check_whole(&map);
    }
    assert_int_equal(support_taken(), 0);
    assert_int_equal(rsl_map_put_(&map, "a", 1), RSL_ENOMEM);
    support_fail_never();
    assert_int_equal(rsl_map_put_(&map, "a", 1), RSL_OK);
    end_map(&map);
}

static void coming_and_going_keys_neither_fill_the_table_nor_slow_it(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    char name[NAME_SIZE];
    uint32_t rebuilt = 0;
    const rsl_stb_hash_index_ *table = rsl_map_table_(&map);
    for (uint32_t i = 0; i < 50000; i++) {
        assert_int_equal(rsl_map_put_(&map, name_of(i, name), i), RSL_OK);
        if (i >= 100) rsl_map_del_(&map, name_of(i - 100, name));
        rebuilt += rsl_map_table_(&map) != table;
        table = rsl_map_table_(&map);
        assert_true(table->slot_count <= 512);
        if (i % 1000 == 0) check_whole(&map);
    }
    assert_true(rebuilt < 50000 / 40); /* each is a quarter of 256 slots away, or more */
    end_map(&map);
}

static void a_table_that_was_large_becomes_small_again(void **state)
{
    (void)state;
    rsl_map_ map = new_map();
    char name[NAME_SIZE];
    for (uint32_t i = 0; i < 2000; i++) {
        assert_int_equal(rsl_map_put_(&map, name_of(i, name), i), RSL_OK);
    }
    assert_true(rsl_map_table_(&map)->slot_count >= 4096);
    for (uint32_t i = 10; i < 2000; i++) rsl_map_del_(&map, name_of(i, name));
    for (uint32_t i = 0; i < 4000; i++) {
        assert_int_equal(rsl_map_put_(&map, "guest", i), RSL_OK);
        rsl_map_del_(&map, "guest");
        (void)name_of(3000 + i, name);
        assert_int_equal(rsl_map_put_(&map, name, i), RSL_OK);
        rsl_map_del_(&map, name);
    }
    assert_true(rsl_map_table_(&map)->slot_count <= 64);
    for (uint32_t i = 0; i < 10; i++) assert_true(has(&map, name_of(i, name), i));
    check_whole(&map);
    end_map(&map);
}

/* ---------------------------------------------------------------- hostile keys */

static void siphash_agrees_with_its_authors(void **state)
{
    (void)state;
    const uint64_t secret[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    char text[16];
    for (int i = 0; i < 16; i++) text[i] = (char)i;
    assert_true(rsl_map_sip_(secret, text, 0) == UINT64_C(0x726fdb47dd0e0e31));
    assert_true(rsl_map_sip_(secret, text, 1) == UINT64_C(0x74f839c593dc67fd));
    assert_true(rsl_map_sip_(secret, text, 8) == UINT64_C(0x93f5f5799a932462));
    assert_true(rsl_map_sip_(secret, text, 15) == UINT64_C(0xa129ca6149be45e5));
    /* bytes above 127, as OpenSSL computes it */
    const char high[] = "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\x80";
    assert_true(rsl_map_sip_(secret, high, 10) == UINT64_C(0xc71cf1c50fbcfb61));
}

static void each_map_has_secrets_of_its_own(void **state)
{
    (void)state;
    rsl_map_ a = new_map(), b = new_map();
    assert_true(a.secret[0] != b.secret[0]);
    assert_true(a.secret[1] != b.secret[1]);
    assert_true(a.secret[0] != a.secret[1]);
    assert_true(rsl_map_table_(&a)->seed != rsl_map_table_(&b)->seed);
    rsl_map_deinit_(&a);
    end_map(&b);
}

enum { HOSTILE_KEYS = 1024, HOSTILE_SIZE = 129 };

/* Characters 64 places apart weigh the same in the hash of stb_ds: swapping them in ten places
   gives 1,024 keys of one hash, whatever the seed. */
static const char *hostile_key(uint32_t number, char key[HOSTILE_SIZE])
{
    memset(key, 'm', HOSTILE_SIZE - 1);
    key[HOSTILE_SIZE - 1] = '\0';
    for (uint32_t i = 0; i < 10; i++) {
        bool swapped = (number >> i & 1) != 0;
        key[6 * i] = swapped ? 'b' : 'a';
        key[6 * i + 64] = swapped ? 'a' : 'b';
    }
    return key;
}

static int compare_sizes(const void *a, const void *b)
{
    size_t one = *(const size_t *)a, other = *(const size_t *)b;
    return one < other ? -1 : one > other;
}

static size_t count_distinct(size_t hashes[HOSTILE_KEYS])
{
    qsort(hashes, HOSTILE_KEYS, sizeof *hashes, compare_sizes);
    size_t distinct = 1;
    for (size_t i = 1; i < HOSTILE_KEYS; i++) distinct += hashes[i] != hashes[i - 1];
    return distinct;
}

static void keys_that_collide_in_stb_ds_do_so_for_every_seed(void **state)
{
    (void)state;
    seeded_random random = {7};
    size_t hashes[HOSTILE_KEYS];
    char key[HOSTILE_SIZE];
    for (int round = 0; round < 10; round++) {
        size_t seed = round == 0 ? 0x31415926 : (size_t)seeded_random_bits(&random);
        for (uint32_t i = 0; i < HOSTILE_KEYS; i++) {
            (void)hostile_key(i, key);
            hashes[i] = rsl_stb_hash_string_(key, seed);
        }
        assert_true(count_distinct(hashes) <= 32); /* on 32 bits, places 32 apart: not one hash */
    }
}

static void keys_that_collide_in_stb_ds_do_not_in_a_map(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        rsl_map_ map = new_map();
        size_t hashes[HOSTILE_KEYS], seed = rsl_map_table_(&map)->seed;
        char key[HOSTILE_SIZE];
        for (uint32_t i = 0; i < HOSTILE_KEYS; i++) {
            assert_int_equal(rsl_map_put_(&map, hostile_key(i, key), i), RSL_OK);
            hashes[i] = rsl_stb_hash_string_(map.items[i].key, seed);
        }
        for (uint32_t i = 0; i < HOSTILE_KEYS; i++) {
            assert_true(has(&map, hostile_key(i, key), i));
        }
        /* At home in 256 lines of 8 slots each, 4 are the mean of a random spread. */
        uint32_t at_home[256] = {0}, most = 0;
        for (uint32_t i = 0; i < HOSTILE_KEYS; i++) at_home[hashes[i] / 8 % 256]++;
        for (uint32_t i = 0; i < 256; i++) most = at_home[i] > most ? at_home[i] : most;
        assert_true(most <= 20);
        assert_true(count_distinct(hashes) >= HOSTILE_KEYS - 1);
        check_whole(&map);
        end_map(&map);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_no_key),
        cmocka_unit_test(a_key_that_was_put_is_found_with_its_value),
        cmocka_unit_test(a_key_is_copied),
        cmocka_unit_test(a_key_put_again_changes_its_value_and_takes_no_memory),
        cmocka_unit_test(a_deleted_key_is_gone_and_may_come_back),
        cmocka_unit_test(keys_of_every_length_up_to_the_limit_are_held_apart),
        cmocka_unit_test(a_longer_key_is_refused_and_never_found),
        cmocka_unit_test(keys_may_hold_any_byte),
        cmocka_unit_test(a_full_map_refuses_new_keys_and_still_changes_and_deletes),
        cmocka_unit_test(a_zeroed_or_ended_map_has_nothing_and_takes_nothing),
        cmocka_unit_test(a_look_up_writes_nothing_and_takes_no_memory),
        cmocka_unit_test(threads_may_look_up_at_the_same_time),
        cmocka_unit_test(threads_may_make_and_use_maps_of_their_own_at_the_same_time),
        cmocka_unit_test(random_operations_agree_with_a_model),
        cmocka_unit_test(maps_do_not_mix),
        cmocka_unit_test(init_without_memory_leaves_a_zeroed_map),
        cmocka_unit_test(each_allocation_may_fail_once_and_nothing_is_lost),
        cmocka_unit_test(every_allocation_may_fail_from_any_moment_and_nothing_is_lost),
        cmocka_unit_test(deletes_need_no_memory),
        cmocka_unit_test(coming_and_going_keys_neither_fill_the_table_nor_slow_it),
        cmocka_unit_test(a_table_that_was_large_becomes_small_again),
        cmocka_unit_test(siphash_agrees_with_its_authors),
        cmocka_unit_test(each_map_has_secrets_of_its_own),
        cmocka_unit_test(keys_that_collide_in_stb_ds_do_so_for_every_seed),
        cmocka_unit_test(keys_that_collide_in_stb_ds_do_not_in_a_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif /* RSL_NO_MAP_ */
