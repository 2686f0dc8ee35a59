/* SPDX-License-Identifier: MIT
   test_saga_journal_damage.c: the file journal of saga.h under all that can be done to it. A log
   of 64 KiB is cut at every length and changed at every byte, and every call to the system fails
   in turn; what must come of it is worked out by a model that knows which record was where and
   which append was durable. Where tools make all slow, only each n-th place is tried.          */
#define _DEFAULT_SOURCE 1

#include <stddef.h>

/* The journal's buffers are kept for the next one, as getting new ones from the system, or from a
   sanitizer, costs more than what is done with them. */
static void *keep_malloc(size_t size);
static void keep_free(void *block);
#define RSL_MALLOC(size) keep_malloc(size)
#define RSL_FREE(block)  keep_free(block)

#define RSL_FILES_H "support/faulty_files.h"
#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined __has_include
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

#include <cmocka.h>

#include "support/support.h"
#include "support/journal_rig.h"

enum { FRAME = 60, START = 8192, LOG = 64 << 10, ENTRIES_MAX = 1024, TAIL = 1000 };

#if defined __SANITIZE_THREAD__
#define SLOWNESS 199 /* for one thread it has nothing to find */
#elif defined __SANITIZE_ADDRESS__
#define SLOWNESS 29
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define SLOWNESS 199
#elif __has_feature(address_sanitizer)
#define SLOWNESS 29
#endif
#endif
#ifndef SLOWNESS
#define SLOWNESS 1
#endif

/* Every place in a plain run; else each n-th. */
static size_t stride(size_t plain)
{
#ifdef RUNNING_ON_VALGRIND
    if (RUNNING_ON_VALGRIND) return plain * 97;
#endif
    return plain * SLOWNESS;
}

enum { KEPT_SIZE = 256 << 10, KEPT_MAX = 4 };
static struct { void *block; bool is_out; } kept_[KEPT_MAX];

static void *keep_malloc(size_t size)
{
    for (int i = 0; size == KEPT_SIZE && i < KEPT_MAX; i++) {
        if (kept_[i].is_out) continue;
        if (kept_[i].block == NULL) kept_[i].block = malloc(size);
        kept_[i].is_out = kept_[i].block != NULL;
        return kept_[i].block;
    }
    return malloc(size);
}

static void keep_free(void *block)
{
    for (int i = 0; block != NULL && i < KEPT_MAX; i++) {
        if (kept_[i].block != block) continue;
        kept_[i].is_out = false;
        return;
    }
    free(block);
}

static void keep_none(void)
{
    for (int i = 0; i < KEPT_MAX; i++) {
        assert_false(kept_[i].is_out);
        free(kept_[i].block);
    }
}

/* ------------------------------------------------------------------- a log */

typedef struct entry {
    size_t offset, size; /* size of its data */
    size_t append;       /* which one it came with; 0: the compaction */
    rsl_saga_id saga;    /* 0: the seal */
} entry;

typedef struct log_file {
    entry  entries[ENTRIES_MAX];
    size_t count;        /* with the seal */
    size_t records;      /* without */
    size_t appends;
    size_t end;          /* behind the last one; zeros follow */
    bool   has_bound;
    rsl_journal_scan_ before[ENTRIES_MAX + 1]; /* as it stands before each */
} log_file;

static log_file log_;

static memory_file *journal(void)
{
    memory_file *file = memory_named("journal");
    assert_non_null(file);
    return file;
}

static void log_add(size_t size, size_t append, rsl_saga_id saga)
{
    assert_true(log_.count < ENTRIES_MAX);
    entry one = {log_.end, size, append, saga};
    log_.entries[log_.count++] = one;
    log_.records += saga != 0;
    log_.end += FRAME + size;
}

static int stop_visit(void *user, const rsl_saga_record *record)
{
    (void)user, (void)record;
    return 1;
}

/* The state of a pass before each of the entries. */
static void log_remember_passes(rsl_journal_window_ *in)
{
    rsl_journal_scan_ scan = {.in = in, .search = true};
    assert_int_equal(rsl_journal_scan_begin_(&scan), RSL_OK);
    scan.visit = stop_visit;
    for (size_t i = 0; i < log_.count; i++) {
        log_.before[i] = scan;
        assert_int_equal(rsl_journal_scan_run_(&scan), log_.entries[i].saga != 0 ? 1 : RSL_OK);
    }
    assert_int_equal(scan.offset, log_.end);
}

static void log_append(rig_store *s, size_t count, seeded_random *random)
{
    rsl_saga_record records[16];
    log_.appends++;
    for (size_t i = 0; i < count; i++) {
        size_t size = seeded_random_below(random, 8) == 0 ? 0 : seeded_random_below(random, 250);
        rsl_saga_id saga = log_.count + 1 + i;
        records[i] = rig_record(saga, 1, size);
    }
    assert_int_equal(s->store.append(s->store.self, records, count), RSL_OK);
    for (size_t i = 0; i < count; i++) log_add(records[i].size, log_.appends, records[i].saga);
}

/* Twenty compacted records, then appends of one to eight. */
static void log_make(bool is_sealed, bool has_bound)
{
    static uint8_t zeros[TAIL];
    seeded_random random = {2026};
    rig_store s;
    memset(&log_, 0, sizeof log_);
    log_.end = START;
    log_.has_bound = has_bound;
    files_in_memory = true;
    memory_clear();
    faulty_plan(0, 0, false);
    rig_use(&s, "mem");
    while (log_.count < 20) log_append(&s, 4, &random);
    assert_int_equal(rig_compact(&s), RSL_OK);
    for (size_t i = 0; i < log_.count; i++) log_.entries[i].append = 0;
    while (log_.end < LOG) log_append(&s, 1 + seeded_random_below(&random, 8), &random);
    if (!is_sealed) ((rsl_saga_file_ *)s.store.self)->failed = EIO;
    rig_close(&s);
    if (is_sealed) log_add(0, ++log_.appends, 0);
    if (!has_bound) memory_unlink("lock");
    memory_resize(journal(), log_.end + TAIL); /* so that there are not too many zeros */
    assert_memory_equal(journal()->data + log_.end, zeros, TAIL);
}

/* ------------------------------------------------------------------- the model */

/* Visits must come in order, and be as they were written. */
typedef struct watch {
    size_t next;  /* index of the entry to come */
    size_t skip;  /* this one may not come (SIZE_MAX: none) */
    size_t wrong; /* visits that should not have been */
    size_t count;
} watch;

static int watch_visit(void *user, const rsl_saga_record *record)
{
    watch *w = user;
    while (w->next < log_.count && (w->next == w->skip || log_.entries[w->next].saga == 0)) {
        w->next++;
    }
    w->count++;
    if (w->next == log_.count) {
        w->wrong++;
        return RSL_OK;
    }
    const entry *one = &log_.entries[w->next++];
    rsl_saga_record made = rig_record(one->saga, 1, one->size);
    bool is_same = record->saga == made.saga && record->epoch == made.epoch &&
                   record->number == made.number && record->state == made.state &&
                   record->size == made.size && record->status == RSL_OK &&
                   memcmp(record->data, made.data, made.size) == 0;
    w->wrong += !is_same;
    return RSL_OK;
}

/* Whether the entry's loss must be told as corruption, if the rest is there up to `end`. */
static bool is_durable(size_t index, size_t end)
{
    const entry *one = &log_.entries[index];
    if (one->append == 0 || log_.has_bound) return true;
    return log_.entries[end - 1].append > one->append;
}

/* The entry at an offset behind the header. */
static size_t entry_at(size_t offset)
{
    static size_t hint;
    if (hint >= log_.count || log_.entries[hint].offset > offset) hint = 0;
    while (hint + 1 < log_.count && log_.entries[hint + 1].offset <= offset) hint++;
    return hint;
}

static size_t records_before(size_t index)
{
    return index < log_.records ? index : log_.records;
}

typedef struct verdict {
    int    status;
    size_t offset, records, records_after;
} verdict;

/* A byte of the file is not as it was written. */
static verdict when_changed(size_t at)
{
    if (at < START) return (verdict){RSL_ECORRUPT, 0, 0, log_.records};
    if (at >= log_.end) return (verdict){RSL_EIO, log_.end, log_.records, 0};
    size_t index = entry_at(at), before = records_before(index);
    size_t after = log_.records - before - (index < log_.records);
    bool is_corrupt = is_durable(index, log_.count);
    return (verdict){is_corrupt ? RSL_ECORRUPT : RSL_EIO, log_.entries[index].offset, before,
                     after};
}

/* The file ends after that many bytes. */
static verdict when_cut(size_t size)
{
    if (size < START) return (verdict){RSL_ECORRUPT, 0, 0, 0};
    if (size >= log_.end) return (verdict){RSL_OK, size, log_.records, 0};
    size_t index = size == START ? 0 : entry_at(size - 1);
    if (size > START && size == log_.entries[index].offset + FRAME + log_.entries[index].size) {
        index++;
    }
    size_t offset = log_.entries[index].offset, left = size - offset;
    size_t before = records_before(index);
    bool is_lost = log_.entries[index].append == 0 || log_.has_bound;
    bool is_zero = true; /* the first bytes of a record may be no more than those of an end */
    for (size_t i = 0; i < left; i++) is_zero = is_zero && journal()->data[offset + i] == 0;
    if (is_lost) return (verdict){RSL_ECORRUPT, offset, before, 0};
    return is_zero ? (verdict){RSL_OK, size, before, 0} : (verdict){RSL_EIO, offset, before, 0};
}

/* What the tools' reader says, and whom it visits. */
static void expect_report(verdict v, size_t skip, size_t place)
{
    rsl_saga_journal_report report;
    watch w = {0, skip, 0, 0};
    assert_int_equal(rsl_saga_journal_read("mem", &report, watch_visit, &w, NULL, 0), RSL_OK);
    bool is_right = report.status == v.status && report.offset == v.offset &&
                    report.records == v.records && report.records_after == v.records_after &&
                    w.wrong == 0 && w.count == v.records + v.records_after;
    if (!is_right) {
        fail_msg("at %zu: status %d not %d, offset %zu not %zu, records %zu not %zu, after %zu "
                 "not %zu, visited %zu, wrong %zu", place, report.status, v.status,
                 (size_t)report.offset, v.offset, (size_t)report.records, v.records,
                 (size_t)report.records_after, v.records_after, w.count, w.wrong);
    }
}

/* What open says, and what load visits then, also when it is to salvage. */
static void expect_opened(verdict v, size_t skip, bool salvage, bool has_header)
{
    rig_store s;
    bool is_borne = v.status != RSL_ECORRUPT || (salvage && has_header);
    int status = rig_try(&s, "mem", salvage);
    assert_int_equal(status, is_borne ? RSL_OK : RSL_ECORRUPT);
    if (!log_.has_bound) memory_unlink("lock");
    if (status != RSL_OK) {
        assert_non_null(strstr(s.error, "mem/journal: "));
        return;
    }
    bool is_salvaged = v.status == RSL_ECORRUPT;
    size_t count = v.records + (is_salvaged ? v.records_after : 0);
    watch w = {0, skip, 0, 0};
    assert_int_equal(s.store.load(s.store.self, 0, watch_visit, &w), RSL_OK);
    assert_int_equal(w.wrong, 0);
    assert_int_equal(w.count, count);
    assert_true(s.opening.next_id > log_.entries[count > 0 ? count - 1 : 0].saga);
    rig_close(&s);
}

/* --------------------------------------------------- every length, every byte */

static size_t skip_of(size_t at)
{
    return at >= START && at < log_.end ? entry_at(at) : SIZE_MAX;
}

/* Cuts at each length and puts back. */
static void cut_everywhere(size_t step, bool opens)
{
    memory_file *file = journal();
    size_t whole = file->size;
    for (size_t size = step == 1 ? 0 : 5; size < whole; size += step) {
        verdict v = when_cut(size);
        bool has_header = size >= 4096;
        file->size = size;
        expect_report(v, SIZE_MAX, size);
        if (opens) expect_opened(v, SIZE_MAX, false, has_header);
        if (opens) expect_opened(v, SIZE_MAX, true, has_header);
        file->size = whole;
    }
}

static void change_everywhere(size_t step, bool opens)
{
    memory_file *file = journal();
    for (size_t at = step == 1 ? 0 : 3; at < file->size; at += step) {
        verdict v = when_changed(at);
        uint8_t was = file->data[at];
        file->data[at] = (uint8_t)(was ^ (1 + at % 255));
        expect_report(v, skip_of(at), at);
        if (opens) expect_opened(v, skip_of(at), false, true);
        if (opens) expect_opened(v, skip_of(at), true, true);
        file->data[at] = was;
    }
}

static void a_log_cut_at_every_length_is_told(void **state)
{
    (void)state;
    log_make(false, false);
    cut_everywhere(stride(1), false);
    cut_everywhere(stride(61), true);
    log_make(true, false);
    cut_everywhere(stride(17), true);
    log_make(false, true);
    cut_everywhere(stride(19), true);
}

static void a_log_changed_at_every_byte_is_told(void **state)
{
    (void)state;
    log_make(false, false);
    change_everywhere(stride(1), false);
    change_everywhere(stride(59), true);
    log_make(true, false);
    change_everywhere(stride(29), true);
    log_make(false, true);
    change_everywhere(stride(31), true);
}

/* One byte of an entry has another value: goes over this entry and the next three. */
static void expect_pass(rsl_journal_window_ *in, size_t index, size_t last)
{
    rsl_journal_scan_ scan = log_.before[index];
    watch w = {index, index, 0, 0};
    scan.in = in;
    scan.visit = watch_visit;
    scan.user = &w;
    rsl_journal_window_turn_(in, in->file, log_.entries[last].offset + FRAME +
                                               log_.entries[last].size);
    int status = rsl_journal_scan_run_(&scan);
    size_t count = last - index;
    bool is_missed = log_.entries[last].append > log_.entries[index].append;
    bool is_right = status == RSL_OK && scan.is_bad && w.wrong == 0 && w.count == count &&
                    scan.bad_offset == log_.entries[index].offset &&
                    (scan.is_missed == is_missed || log_.entries[index].append == 0);
    if (!is_right) fail_msg("entry %zu: %d, %zu visited, not %zu", index, status, w.count, count);
}

/* Each byte gets each value of `values`, xored. */
static void change_entries(rsl_journal_window_ *in, size_t first, size_t end, size_t step,
                           const uint8_t *values, size_t values_count)
{
    uint8_t *data = journal()->data;
    size_t at = log_.entries[first].offset;
    for (; at < log_.entries[end].offset; at += step) {
        size_t index = entry_at(at);
        size_t last = index + 3 < log_.count ? index + 3 : log_.count - 1;
        for (size_t i = 0; i < values_count; i++) {
            data[at] ^= values[i];
            expect_pass(in, index, last);
            data[at] ^= values[i];
        }
    }
}

static void in_passes_over(void (*change)(rsl_journal_window_ *in))
{
    rsl_journal_window_ in;
    log_make(false, false);
    assert_int_equal(rsl_journal_window_open_(&in), RSL_OK);
    int folder = rsl_file_folder_open_("mem", true);
    int file = rsl_file_open_(folder, "journal", RSL_FILE_READ_);
    rsl_journal_window_turn_(&in, file, journal()->size);
    log_remember_passes(&in);
    change(&in);
    rsl_file_close_(file);
    rsl_file_close_(folder);
    keep_free(in.buffer);
}

static void flip_every_bit(rsl_journal_window_ *in)
{
    const uint8_t bits[] = {1, 2, 4, 8, 16, 32, 64, 128, 255, 0x55};
    change_entries(in, 0, log_.count - 1, stride(1), bits, sizeof bits);
}

static void no_flipped_bit_of_any_record_is_overlooked(void **state)
{
    (void)state;
    in_passes_over(flip_every_bit);
}

static void set_every_value(rsl_journal_window_ *in)
{
    uint8_t values[255];
    for (size_t i = 0; i < 255; i++) values[i] = (uint8_t)(i + 1);
    change_entries(in, 0, 8, stride(1), values, 255); /* compacted */
    change_entries(in, 30, 42, stride(1), values, 255);
}

static void no_value_of_any_byte_of_some_records_is_overlooked(void **state)
{
    (void)state;
    in_passes_over(set_every_value);
}

static void no_value_of_any_byte_of_the_headers_is_overlooked(void **state)
{
    (void)state;
    log_make(false, false);
    uint8_t *data = journal()->data;
    rsl_journal_window_ in;
    assert_int_equal(rsl_journal_window_open_(&in), RSL_OK);
    int folder = rsl_file_folder_open_("mem", true);
    int file = rsl_file_open_(folder, "journal", RSL_FILE_READ_);
    for (size_t i = 0; i < 2 * 76; i += stride(1)) {
        size_t at = i < 76 ? i : 4096 + i - 76;
        for (unsigned value = 1; value < 256; value++) {
            data[at] ^= (uint8_t)value;
            rsl_journal_scan_ scan = {.in = &in};
            rsl_journal_window_turn_(&in, file, START);
            assert_int_equal(rsl_journal_scan_begin_(&scan), RSL_OK); /* by the other one */
            assert_true(scan.is_marred);
            assert_int_equal(rsl_journal_scan_judge_(&scan, 0), RSL_ECORRUPT);
            data[at] ^= (uint8_t)value;
        }
    }
    rsl_file_close_(file);
    rsl_file_close_(folder);
    keep_free(in.buffer);
}

static void a_log_is_read_in_few_calls(void **state)
{
    (void)state;
    rig_store s;
    watch w = {0, SIZE_MAX, 0, 0};
    log_make(false, true);
    long reads = faulty_.count[FAULTY_READ];
    rig_open(&s, "mem"); /* the bound, the log */
    assert_int_equal(s.store.load(s.store.self, 0, watch_visit, &w), RSL_OK);
    assert_int_equal(w.count, log_.records);
    assert_int_equal(w.wrong, 0);
    assert_int_equal(faulty_.count[FAULTY_READ] - reads, 3);
    rig_close(&s);
}

/* ------------------------------------------- many changes at once, seeded */

/* Whatever is done to it, nothing is visited that was not written, and in order. */
static int any_visit(void *user, const rsl_saga_record *record)
{
    rsl_saga_id *last = user;
    if (record->saga <= *last || record->saga > log_.records) return 1;
    const entry *one = &log_.entries[record->saga - 1];
    rsl_saga_record made = rig_record(one->saga, 1, one->size);
    if (record->size != made.size || memcmp(record->data, made.data, made.size) != 0) return 2;
    *last = record->saga;
    return RSL_OK;
}

/* Moves, copies, clears or fills a stretch. */
static void scramble(seeded_random *random, memory_file *file, const uint8_t *original)
{
    size_t from = seeded_random_below(random, (uint32_t)file->size);
    size_t to = seeded_random_below(random, (uint32_t)file->size);
    uint32_t most = seeded_random_below(random, 4) == 0 ? 20000 : 99;
    size_t count = 1 + seeded_random_below(random, most);
    size_t room = file->size - (from > to ? from : to);
    if (count > room) count = room;
    switch (seeded_random_below(random, 4)) {
    case 0: memmove(file->data + to, file->data + from, count); break;
    case 1: memcpy(file->data + to, original + from, count); break;
    case 2: memset(file->data + to, 0, count); break;
    default:
        for (; count > 0; count--, to++) file->data[to] = (uint8_t)seeded_random_bits(random);
    }
}

static void nothing_is_visited_that_was_not_written_whatever_is_scrambled(void **state)
{
    (void)state;
    log_make(true, false);
    memory_file *file = journal();
    size_t size = file->size;
    uint8_t *original = malloc(size);
    memcpy(original, file->data, size);
    seeded_random random = {7};
    for (size_t i = 0; i < 6000; i += stride(1)) {
        memcpy(file->data, original, size);
        for (uint32_t n = 1 + seeded_random_below(&random, 5); n > 0; n--) {
            scramble(&random, file, original);
        }
        rsl_saga_journal_report report;
        rsl_saga_id last = 0;
        assert_int_equal(rsl_saga_journal_read("mem", &report, any_visit, &last, NULL, 0), RSL_OK);
        bool is_changed = memcmp(file->data, original, size) != 0;
        assert_true(is_changed || report.status == RSL_OK);
        assert_true(!is_changed || report.status != RSL_OK || report.records < log_.records);
        rig_store s;
        last = 0;
        if (rig_try(&s, "mem", true) != RSL_OK) continue;
        assert_int_equal(s.store.load(s.store.self, 0, any_visit, &last), RSL_OK);
        rig_close(&s);
        memory_unlink("lock");
    }
    free(original);
}

/* ------------------------------------------------------- every call may fail */

/* A run with one fault in it. */
typedef struct story {
    const char *path;
    bool     salvage;
    notebook kept;      /* acknowledged: must be there afterwards */
    notebook dropped;   /* as long as it is not empty, these may be there instead of `kept` */
    notebook tried;     /* of the append that failed: some of them may be there behind */
    int      status;    /* what failed; RSL_OK: nothing did */
} story;

static void story_free(story *t)
{
    notebook_free(&t->kept);
    notebook_free(&t->dropped);
    notebook_free(&t->tried);
}

/* It takes nothing more, says why, and does nothing. */
static void expect_poisoned(rig_store *s)
{
    long writes = faulty_.count[FAULTY_WRITE], syncs = faulty_.count[FAULTY_SYNC];
    long opens = faulty_.count[FAULTY_OPEN];
    int why = errno;
    assert_int_equal(rig_append(s, 9999, 1, 10), RSL_EIO);
    assert_int_equal(errno, why);
    assert_int_equal(rig_compact(s), RSL_EIO);
    assert_int_equal(errno, why);
    assert_int_equal(faulty_.count[FAULTY_WRITE], writes);
    assert_int_equal(faulty_.count[FAULTY_SYNC], syncs);
    assert_int_equal(faulty_.count[FAULTY_OPEN], opens);
}

static bool story_append(story *t, rig_store *s, rsl_saga_id first, size_t count, size_t size)
{
    rsl_saga_record records[4];
    for (size_t i = 0; i < count; i++) records[i] = rig_record(first + i, 1, size);
    t->status = s->store.append(s->store.self, records, count);
    notebook *book = t->status == RSL_OK ? &t->kept : &t->tried;
    for (size_t i = 0; i < count; i++) notebook_add(book, &records[i]);
    if (t->status == RSL_OK) return true;
    assert_int_equal(t->status, RSL_EIO);
    expect_poisoned(s);
    return false;
}

static bool story_compact(story *t, rig_store *s, rsl_saga_id from)
{
    notebook_free(&t->dropped);
    t->dropped = t->kept;
    memset(&t->kept, 0, sizeof t->kept);
    for (size_t i = 0; i < t->dropped.count; i++) {
        const noted *one = &t->dropped.items[i];
        if (one->saga < from) continue;
        rsl_saga_record record = rig_record(one->saga, one->number, one->size);
        notebook_add(&t->kept, &record);
    }
    t->status = s->store.compact(s->store.self, rig_keep_from, &from, 0);
    if (t->status == RSL_OK) {
        notebook_free(&t->dropped);
        return true;
    }
    assert_int_equal(t->status, RSL_EIO);
    expect_poisoned(s);
    return false;
}

/* Opens, reads, writes, compacts; ends where something fails. */
static void story_tell(story *t)
{
    rig_store s;
    t->status = rig_try(&s, t->path, t->salvage);
    if (t->status != RSL_OK) {
        assert_true(s.error[0] != '\0');
        return;
    }
    notebook seen = {0};
    t->status = s.store.load(s.store.self, 0, notebook_visit, &seen);
    if (t->status == RSL_OK) notebook_expect(&seen, &t->kept);
    notebook_free(&seen);
    bool goes_on = t->status == RSL_OK && story_compact(t, &s, 2) &&
                   story_append(t, &s, 11, 2, 50) && story_append(t, &s, 13, 4, 64000) &&
                   story_append(t, &s, 17, 1, 300) && story_compact(t, &s, 16) &&
                   story_append(t, &s, 18, 1, 0);
    (void)goes_on;
    rig_close(&s);
}

/* seen: `book`, then as many of `tried` as there are, in order. */
static bool is_book_and_some(const notebook *seen, const notebook *book, const notebook *tried)
{
    if (seen->count < book->count || seen->count > book->count + tried->count) return false;
    for (size_t i = 0; i < seen->count; i++) {
        const noted *one = i < book->count ? &book->items[i] : &tried->items[i - book->count];
        if (!noted_same(&seen->items[i], one)) return false;
    }
    return true;
}

/* After the fault: all that was acknowledged is there, and it goes on. */
static void story_expect(story *t)
{
    rig_store s;
    notebook seen = {0};
    int status = rig_try(&s, t->path, t->salvage);
    if (status != RSL_OK) fail_msg("reopened: %d, %s", status, s.error);
    assert_int_equal(s.store.load(s.store.self, 0, notebook_visit, &seen), RSL_OK);
    bool is_right = is_book_and_some(&seen, &t->kept, &t->tried) ||
                    (t->dropped.count > 0 && is_book_and_some(&seen, &t->dropped, &t->tried));
    if (!is_right) fail_msg("%zu records, not %zu", seen.count, t->kept.count);
    assert_int_equal(rig_compact(&s), RSL_OK);
    rig_add(&s, &seen, 100, 1, 10);
    rig_expect(&s, &seen);
    rig_close(&s);
    t->salvage = false;
    rig_open(&s, t->path);
    rig_expect(&s, &seen);
    rig_close(&s);
    notebook_free(&seen);
}

typedef enum beginning { NOTHING, SOUND, TORN, CORRUPT } beginning;

static void remove_files(const char *path)
{
    static const char *const names[] = {"lock", "journal", "journal.new", "journal.torn",
                                        "journal.damaged"};
    memory_clear();
    if (files_in_memory) return;
    for (size_t i = 0; i < RSL_COUNT(names); i++) {
        char name[300];
        snprintf(name, sizeof name, "%s/%s", path, names[i]);
        unlink(name);
    }
    rmdir(path);
}

/* Five records; then a torn end, or one in the midst that is damaged. */
static void begin(story *t, beginning how, const char *path)
{
    memset(t, 0, sizeof *t);
    t->path = path;
    t->salvage = how == CORRUPT;
    faulty_plan(0, 0, false);
    remove_files(path);
    if (how == NOTHING) return;
    rig_store s;
    rig_use(&s, path);
    for (rsl_saga_id i = 1; i <= 5; i++) {
        if (how == CORRUPT && i == 3) assert_int_equal(rig_append(&s, i, 1, 100), RSL_OK);
        else rig_add(&s, &t->kept, i, 1, 100);
    }
    rsl_saga_file_ *file = s.store.self;
    uint64_t bad = how == CORRUPT ? START + 2 * (FRAME + 100) + 70 : file->end + 30;
    if (how != SOUND) assert_int_equal(rsl_file_write_(file->journal, "torn", 4, bad), 4);
    file->failed = how == SOUND ? 0 : EIO;
    rig_close(&s);
}

static void fail_each_call(beginning how, int error, bool for_ever, const char *path, long step)
{
    story t;
    begin(&t, how, path);
    faulty_plan(0, 0, false);
    story_tell(&t);
    assert_int_equal(t.status, RSL_OK);
    long calls = faulty_.calls;
    story_expect(&t);
    story_free(&t);
    for (long nth = 1; nth <= calls; nth += step) {
        begin(&t, how, path);
        faulty_plan(nth, error, for_ever);
        story_tell(&t);
        assert_true(faulty_.has_failed);
        if (error == FAULTY_SHORT) assert_int_equal(t.status, RSL_OK);
        faulty_plan(0, 0, false);
        story_expect(&t);
        story_free(&t);
    }
    remove_files(path);
}

static void fail_each_call_in_all_ways(beginning how)
{
    const int errors[] = {EIO, ENOSPC, EINTR, FAULTY_SHORT};
    long step = (long)stride(1) / 20 + 1;
    files_in_memory = true;
    for (size_t i = 0; i < RSL_COUNT(errors); i++) {
        fail_each_call(how, errors[i], false, "mem", step);
    }
    fail_each_call(how, EIO, true, "mem", step);
}

static void each_call_may_fail_with_a_new_journal(void **state)
{
    (void)state;
    fail_each_call_in_all_ways(NOTHING);
}

static void each_call_may_fail_with_a_sound_journal(void **state)
{
    (void)state;
    fail_each_call_in_all_ways(SOUND);
}

static void each_call_may_fail_with_a_torn_journal(void **state)
{
    (void)state;
    fail_each_call_in_all_ways(TORN);
}

static void each_call_may_fail_with_a_corrupt_journal(void **state)
{
    (void)state;
    fail_each_call_in_all_ways(CORRUPT);
}

static void each_call_may_fail_on_a_real_file_system(void **state)
{
    (void)state;
    char root[200], path[240];
    const char *tmp = getenv("TMPDIR");
    snprintf(root, sizeof root, "%.150s/rsl_damage_XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/sagas", root);
    files_in_memory = false;
    fail_each_call(TORN, EIO, false, path, 5);
    fail_each_call(SOUND, ENOSPC, false, path, 9);
    fail_each_call(NOTHING, EINTR, false, path, 11);
    fail_each_call(TORN, FAULTY_SHORT, false, path, 13);
    files_in_memory = true;
    assert_int_equal(rmdir(root), 0);
}

/* The n-th sync fails and has lost what was written: the append is not acknowledged. */
static void a_sync_that_was_interrupted_is_not_tried_again(void **state)
{
    (void)state;
    rig_store s;
    files_in_memory = true;
    memory_clear();
    faulty_plan(0, 0, false);
    rig_use(&s, "mem");
    assert_int_equal(rig_append(&s, 1, 1, 10), RSL_OK);
    long syncs = faulty_.count[FAULTY_SYNC];
    faulty_plan(2, EINTR, false); /* behind the write */
    assert_int_equal(rig_append(&s, 2, 1, 10), RSL_EIO);
    assert_int_equal(errno, EINTR);
    assert_int_equal(faulty_.failed, FAULTY_SYNC);
    assert_int_equal(faulty_.count[FAULTY_SYNC], syncs + 1);
    rig_close(&s);
    assert_int_equal(faulty_.count[FAULTY_SYNC], syncs + 1); /* nor is it sealed */
}

/* Reading for tools: each call fails, and nothing is left open or written. */
static void a_report_that_cannot_be_made_says_so(void **state)
{
    (void)state;
    log_make(true, true);
    rsl_saga_journal_report report;
    faulty_plan(0, 0, false);
    assert_int_equal(rsl_saga_journal_read("mem", &report, NULL, NULL, NULL, 0), RSL_OK);
    long calls = faulty_.calls;
    assert_true(calls >= 7);
    for (long nth = 1; nth <= calls; nth++) {
        char error[RIG_ERROR] = "";
        memset(&report, 0x5A, sizeof report);
        faulty_plan(nth, EIO, false);
        int status = rsl_saga_journal_read("mem", &report, NULL, NULL, error, sizeof error);
        bool is_bound = faulty_.failed == FAULTY_READ && status == RSL_OK; /* may be unreadable */
        assert_true(is_bound || status == RSL_EIO || status == RSL_ESYS);
        assert_true(is_bound || error[0] != '\0');
        assert_true(is_bound || report.records == 0x5A5A5A5A5A5A5A5A);
    }
    faulty_plan(0, 0, false);
    for (int i = 0; i < MEMORY_HANDLES; i++) assert_null(memory_handles_[i].file);
}

static int forget_files(void **state)
{
    (void)state;
    memory_clear();
    keep_none();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_cut_at_every_length_is_told),
        cmocka_unit_test(a_log_changed_at_every_byte_is_told),
        cmocka_unit_test(no_flipped_bit_of_any_record_is_overlooked),
        cmocka_unit_test(no_value_of_any_byte_of_some_records_is_overlooked),
        cmocka_unit_test(no_value_of_any_byte_of_the_headers_is_overlooked),
        cmocka_unit_test(a_log_is_read_in_few_calls),
        cmocka_unit_test(nothing_is_visited_that_was_not_written_whatever_is_scrambled),
        cmocka_unit_test(each_call_may_fail_with_a_new_journal),
        cmocka_unit_test(each_call_may_fail_with_a_sound_journal),
        cmocka_unit_test(each_call_may_fail_with_a_torn_journal),
        cmocka_unit_test(each_call_may_fail_with_a_corrupt_journal),
        cmocka_unit_test(each_call_may_fail_on_a_real_file_system),
        cmocka_unit_test(a_sync_that_was_interrupted_is_not_tried_again),
        cmocka_unit_test(a_report_that_cannot_be_made_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, forget_files);
}
