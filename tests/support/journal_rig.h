/* SPDX-License-Identifier: MIT
   journal_rig.h: what the tests of the file journal share: records that tell by themselves whether
   they are as they were made, a notebook of those that were visited, and a store in a folder.

   Include it after saga.h (implemented), cmocka.h and support/support.h. */
#ifndef SUPPORT_JOURNAL_RIG_H
#define SUPPORT_JOURNAL_RIG_H

#include <errno.h>
#include <stdlib.h>

enum { RIG_PATTERN = 1 << 16, RIG_ERROR = 256 };

/* ---------------------------------------------------------------- records */

/* Junk in which each record's data begins elsewhere. */
SUPPORT_UNUSED static const uint8_t *rig_pattern(void)
{
    static uint8_t pattern[RIG_PATTERN + 256];
    if (pattern[0] == 0) {
        seeded_random random = {4711};
        for (size_t i = 0; i < sizeof pattern; i++) {
            pattern[i] = (uint8_t)(1 + seeded_random_below(&random, 255));
        }
    }
    return pattern;
}

/* Its data, of at most RIG_PATTERN bytes, depends on saga and number; the state too. */
SUPPORT_UNUSED static rsl_saga_record rig_record(rsl_saga_id saga, uint32_t number, size_t size)
{
    rsl_saga_record record = {.saga = saga, .epoch = saga + 1000, .number = number,
                              .state = (rsl_saga_state)((saga + number) % 6),
                              .data = rig_pattern() + (saga * 31 + number) % 256,
                              .size = size, .status = 99};
    return record;
}

/* ---------------------------------------------------------------- notebook */

typedef struct noted {
    rsl_saga_id    saga;
    uint64_t       epoch;
    uint32_t       number, sum;
    rsl_saga_state state;
    size_t         size;
} noted;

/* Records that were visited or are expected, in order. Zeroed: empty. */
typedef struct notebook {
    noted *items;
    size_t count, room;
    size_t stop_at; /* visiting ends with `answer` at the one of this number, from 1 (0: never) */
    int    answer;
} notebook;

SUPPORT_UNUSED static void notebook_add(notebook *book, const rsl_saga_record *record)
{
    if (book->count == book->room) {
        book->room = 2 * book->room + 64;
        book->items = realloc(book->items, book->room * sizeof *book->items);
        assert_non_null(book->items);
    }
    noted one = {record->saga, record->epoch, record->number,
                 rsl_crc32c_(0, record->data, record->size), record->state, record->size};
    book->items[book->count++] = one;
}

SUPPORT_UNUSED static int notebook_visit(void *user, const rsl_saga_record *record)
{
    notebook *book = user;
    notebook_add(book, record);
    return book->count == book->stop_at ? book->answer : RSL_OK;
}

SUPPORT_UNUSED static void notebook_free(notebook *book)
{
    free(book->items);
    memset(book, 0, sizeof *book);
}

SUPPORT_UNUSED static bool noted_same(const noted *a, const noted *b)
{
    return a->saga == b->saga && a->epoch == b->epoch && a->number == b->number &&
           a->sum == b->sum && a->state == b->state && a->size == b->size;
}

SUPPORT_UNUSED static void notebook_expect(const notebook *seen, const notebook *expected)
{
    assert_int_equal(seen->count, expected->count);
    for (size_t i = 0; i < seen->count; i++) {
        assert_true(noted_same(&seen->items[i], &expected->items[i]));
    }
}

/* ------------------------------------------------------------------- store */

typedef struct rig_store {
    rsl_saga_store   store;
    rsl_saga_opening opening;
    char             error[RIG_ERROR];
} rig_store;

SUPPORT_UNUSED static bool rig_keep_all(void *user, const rsl_saga_record *record)
{
    (void)user, (void)record;
    return true;
}

/* Keeps sagas from *(rsl_saga_id *)user on. */
SUPPORT_UNUSED static bool rig_keep_from(void *user, const rsl_saga_record *record)
{
    return record->saga >= *(const rsl_saga_id *)user;
}

/* Opens the journal of a folder; on failure nothing is left. */
SUPPORT_UNUSED static int rig_try(rig_store *s, const char *path, bool salvage)
{
    memset(s, 0x5A, sizeof *s);
    memset(s->error, 0, sizeof s->error);
    int status = rsl_saga_file_make_(&s->store, path);
    if (status != RSL_OK) return status;
    status = s->store.open(s->store.self, salvage, &s->opening, s->error, sizeof s->error);
    if (status != RSL_OK) s->store.close(s->store.self);
    return status;
}

SUPPORT_UNUSED static void rig_open(rig_store *s, const char *path)
{
    int status = rig_try(s, path, false);
    if (status != RSL_OK) fail_msg("open: %d, %s", status, s->error);
}

SUPPORT_UNUSED static int rig_compact(rig_store *s)
{
    return s->store.compact(s->store.self, rig_keep_all, NULL, 0);
}

/* Opens and takes into use. */
SUPPORT_UNUSED static void rig_use(rig_store *s, const char *path)
{
    rig_open(s, path);
    assert_int_equal(rig_compact(s), RSL_OK);
}

SUPPORT_UNUSED static void rig_close(rig_store *s)
{
    s->store.close(s->store.self);
}

SUPPORT_UNUSED static int rig_append(rig_store *s, rsl_saga_id saga, uint32_t number, size_t size)
{
    rsl_saga_record record = rig_record(saga, number, size);
    return s->store.append(s->store.self, &record, 1);
}

/* Appends and expects to find it later. */
SUPPORT_UNUSED static void rig_add(rig_store *s, notebook *expected, rsl_saga_id saga,
                                   uint32_t number, size_t size)
{
    rsl_saga_record record = rig_record(saga, number, size);
    assert_int_equal(s->store.append(s->store.self, &record, 1), RSL_OK);
    assert_int_equal(record.status, RSL_OK);
    notebook_add(expected, &record);
}

/* Appends that many records at once, of different sagas. */
SUPPORT_UNUSED static void rig_add_batch(rig_store *s, notebook *expected, rsl_saga_id first,
                                         size_t count, size_t size)
{
    rsl_saga_record *records = calloc(count, sizeof *records);
    assert_non_null(records);
    for (size_t i = 0; i < count; i++) records[i] = rig_record(first + i, 1, size);
    assert_int_equal(s->store.append(s->store.self, records, count), RSL_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(records[i].status, RSL_OK);
        notebook_add(expected, &records[i]);
    }
    free(records);
}

/* What load visits is what is expected. */
SUPPORT_UNUSED static void rig_expect(rig_store *s, const notebook *expected)
{
    notebook seen = {0};
    assert_int_equal(s->store.load(s->store.self, 0, notebook_visit, &seen), RSL_OK);
    notebook_expect(&seen, expected);
    notebook_free(&seen);
}

#endif
