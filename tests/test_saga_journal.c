/* SPDX-License-Identifier: MIT
   test_saga_journal.c: the file journal of saga.h, as a store, on a real file system: what it
   keeps, whom it lets in, and what it makes of ends that are torn and of damage.               */
#include "support/allocator.h"

#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/support.h"
#include "support/journal_rig.h"

enum { FRAME = 60, START = 8192, STEP = 256 << 10, SCRIBBLED = 99 };

/* ------------------------------------------------------------------- helpers */

/* A folder for folders; the journal's own is not there yet. */
typedef struct fixture {
    char     root[200], path[240];
    notebook book; /* what is expected */
    long     live; /* memory before */
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    const char *tmp = getenv("TMPDIR");
    snprintf(f->root, sizeof f->root, "%.150s/rsl_journal_XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(f->root) == NULL) return -1;
    snprintf(f->path, sizeof f->path, "%s/sagas", f->root);
    support_fail_never();
    f->live = support_live();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", f->root);
    int failed = system(command) != 0 || support_live() != f->live;
    notebook_free(&f->book);
    free(f);
    return failed;
}

static const char *file_of(const fixture *f, const char *name)
{
    static char paths[4][300];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", f->path, name);
    return path;
}

/* A whole file; to be freed. NULL: there is none. */
static uint8_t *bytes_of(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void copy_file(const char *from, const char *to)
{
    size_t size;
    uint8_t *bytes = bytes_of(from, &size);
    assert_non_null(bytes);
    write_file(to, bytes, size);
    free(bytes);
}

static size_t size_of(const char *path)
{
    struct stat stat_;
    assert_int_equal(stat(path, &stat_), 0);
    return (size_t)stat_.st_size;
}

static bool is_there(const char *path)
{
    struct stat stat_;
    return lstat(path, &stat_) == 0;
}

/* Inverts a byte of the journal. */
static void damage(const fixture *f, size_t offset)
{
    int file = open(file_of(f, "journal"), O_RDWR);
    uint8_t byte;
    assert_int_equal(pread(file, &byte, 1, (off_t)offset), 1);
    byte = (uint8_t)~byte;
    assert_int_equal(pwrite(file, &byte, 1, (off_t)offset), 1);
    close(file);
}

static void cut(const fixture *f, size_t size)
{
    assert_int_equal(truncate(file_of(f, "journal"), (off_t)size), 0);
}

/* Ends a store as a kill would: nothing is sealed. */
static void kill_store(rig_store *s)
{
    rsl_saga_file_ *file = s->store.self;
    file->failed = EIO;
    rig_close(s);
}

static void forget_bound(const fixture *f)
{
    assert_int_equal(unlink(file_of(f, "lock")), 0);
}

/* A journal of three appends of one record of 100 bytes each, not sealed. */
static void three_appends(fixture *f)
{
    rig_store s;
    rig_use(&s, f->path);
    for (uint32_t i = 1; i <= 3; i++) rig_add(&s, &f->book, i, 1, 100);
    kill_store(&s);
}

static size_t offset_of(size_t index)
{
    return START + index * (FRAME + 100);
}

static void expect_refused(fixture *f, int status, const char *sentence)
{
    rig_store s;
    assert_int_equal(rig_try(&s, f->path, false), status);
    if (strstr(s.error, sentence) == NULL) fail_msg("\"%s\" is not in: %s", sentence, s.error);
    rsl_saga_journal_report report;
    char error[RIG_ERROR] = "";
    if (status != RSL_EINVAL || !is_there(file_of(f, "journal"))) return;
    assert_int_equal(rsl_saga_journal_read(f->path, &report, NULL, NULL, error, sizeof error),
                     status);
    assert_string_equal(error, s.error);
}

static rsl_saga_journal_report report_of(fixture *f)
{
    rsl_saga_journal_report report;
    char error[RIG_ERROR] = "";
    memset(&report, 0x5A, sizeof report);
    int status = rsl_saga_journal_read(f->path, &report, NULL, NULL, error, sizeof error);
    if (status != RSL_OK) fail_msg("read: %d, %s", status, error);
    return report;
}

/* The journal as it is opens, and has these records. */
static void expect_journal(fixture *f, const notebook *expected)
{
    rig_store s;
    rig_open(&s, f->path);
    rig_expect(&s, expected);
    rig_close(&s);
}

/* ----------------------------------------------------------------------- CRC */

static void the_crc_has_its_known_values(void **state)
{
    (void)state; /* RFC 3720, B.4 */
    uint8_t bytes[32] = {0};
    assert_int_equal(rsl_crc32c_(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(rsl_crc32c_(0, bytes, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)i;
    assert_int_equal(rsl_crc32c_(0, bytes, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(rsl_crc32c_(0, bytes, 32), 0x113fdb5c);
    assert_int_equal(rsl_crc32c_(0, "123456789", 9), 0xe3069283);
    assert_int_equal(rsl_crc32c_(0, "", 0), 0);
}

static void the_crc_goes_on_from_any_part(void **state)
{
    (void)state;
    const uint8_t *bytes = rig_pattern();
    uint32_t whole = rsl_crc32c_(0, bytes, 100);
    for (size_t i = 0; i <= 100; i++) {
        uint32_t crc = rsl_crc32c_(rsl_crc32c_(0, bytes, i), bytes + i, 100 - i);
        assert_int_equal(crc, whole);
    }
}

static void the_crc_by_tables_is_that_of_the_processor(void **state)
{
    (void)state;
    const uint8_t *bytes = rig_pattern();
    for (size_t from = 0; from < 9; from++) {
        for (size_t size = 0; size < 300; size++) {
            uint32_t tables = ~rsl_crc32c_soft_(~(uint32_t)size, bytes + from, size);
            assert_int_equal(tables, rsl_crc32c_((uint32_t)size, bytes + from, size));
        }
    }
}

/* ---------------------------------------------------------- opening, new ones */

static void a_new_folder_is_for_us_alone(void **state)
{
    fixture *f = *state;
    rig_store s;
    umask(0);
    rig_open(&s, f->path);
    struct stat stat_;
    assert_int_equal(stat(f->path, &stat_), 0);
    assert_int_equal(stat_.st_mode & 07777, 0700);
    assert_int_equal(stat(file_of(f, "lock"), &stat_), 0);
    assert_int_equal(stat_.st_mode & 07777, 0600);
    assert_false(is_there(file_of(f, "journal")));
    assert_int_equal(rig_compact(&s), RSL_OK);
    assert_int_equal(stat(file_of(f, "journal"), &stat_), 0);
    assert_int_equal(stat_.st_mode & 07777, 0600);
    assert_false(is_there(file_of(f, "journal.new")));
    assert_false(is_there(file_of(f, "journal.torn")));
    rig_close(&s);
}

static void a_new_journal_begins_at_one(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_open(&s, f->path);
    assert_int_equal(s.opening.epoch, 1);
    assert_int_equal(s.opening.next_id, 1);
    rsl_time now = RSL_SEC(time(NULL));
    assert_true(s.opening.now > now - RSL_SEC(60) && s.opening.now < now + RSL_SEC(60));
    assert_string_equal(s.error, "");
    rig_expect(&s, &f->book);
    rig_close(&s);
}

static void a_uuid_is_random_and_says_so(void **state)
{
    fixture *f = *state;
    rig_store a, b;
    rig_open(&a, f->path);
    char other[300];
    snprintf(other, sizeof other, "%s/other", f->root);
    rig_open(&b, other);
    assert_string_not_equal(a.opening.uuid, b.opening.uuid);
    assert_int_equal(strlen(a.opening.uuid), 36);
    for (int i = 0; i < 36; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        assert_true(is_dash ? a.opening.uuid[i] == '-'
                            : strchr("0123456789abcdef", a.opening.uuid[i]) != NULL);
    }
    assert_int_equal(a.opening.uuid[14], '4');
    assert_non_null(strchr("89ab", a.opening.uuid[19]));
    rig_close(&a);
    rig_close(&b);
}

static void the_uuid_stays_and_the_epoch_grows(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    char uuid[37];
    memcpy(uuid, s.opening.uuid, sizeof uuid);
    rig_close(&s);
    for (uint64_t epoch = 2; epoch < 6; epoch++) {
        rig_use(&s, f->path);
        assert_string_equal(s.opening.uuid, uuid);
        assert_int_equal(s.opening.epoch, epoch);
        assert_int_equal(rig_compact(&s), RSL_OK); /* another one is of the same epoch */
        rig_close(&s);
    }
    rsl_saga_journal_report report = report_of(f);
    assert_string_equal(report.uuid, uuid);
    assert_int_equal(report.epoch, 5);
}

static void an_epoch_that_was_not_taken_into_use_is_given_again(void **state)
{
    fixture *f = *state;
    rig_store s;
    three_appends(f);
    for (int i = 0; i < 2; i++) {
        rig_open(&s, f->path);
        assert_int_equal(s.opening.epoch, 2);
        rig_close(&s);
    }
}

static void open_and_load_change_nothing_that_is_stored(void **state)
{
    fixture *f = *state;
    three_appends(f);
    cut(f, offset_of(2) + 50); /* also not a torn end */
    forget_bound(f);
    size_t before_size, after_size;
    uint8_t *before = bytes_of(file_of(f, "journal"), &before_size);
    f->book.count = 2;
    expect_journal(f, &f->book);
    uint8_t *after = bytes_of(file_of(f, "journal"), &after_size);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, before_size);
    assert_false(is_there(file_of(f, "journal.torn")));
    assert_false(is_there(file_of(f, "journal.new")));
    free(before);
    free(after);
}

static void calls_out_of_turn_are_refused(void **state)
{
    fixture *f = *state;
    rig_store s;
    memset(&s, 0, sizeof s);
    assert_int_equal(rsl_saga_file_make_(&s.store, NULL), RSL_EINVAL);
    assert_int_equal(rsl_saga_file_make_(&s.store, ""), RSL_EINVAL);
    assert_int_equal(rsl_saga_file_make_(&s.store, f->path), RSL_OK);
    assert_null(s.store.begin);
    assert_null(s.store.claim);
    assert_null(s.store.renew);
    assert_null(s.store.cancel);
    assert_null(s.store.list);
    assert_int_equal(rig_append(&s, 1, 1, 10), RSL_EINVAL);
    assert_int_equal(rig_compact(&s), RSL_EINVAL);
    assert_int_equal(s.store.load(s.store.self, 0, notebook_visit, &f->book), RSL_EINVAL);
    assert_int_equal(s.store.open(s.store.self, false, &s.opening, NULL, 0), RSL_OK);
    assert_int_equal(s.store.open(s.store.self, false, &s.opening, NULL, 0), RSL_EINVAL);
    assert_int_equal(rig_append(&s, 1, 1, 10), RSL_EINVAL); /* not yet in use */
    assert_int_equal(rig_compact(&s), RSL_OK);
    assert_int_equal(rig_append(&s, 1, 1, 10), RSL_OK);
    rig_close(&s);
    s.store.close(NULL);
}

static void a_folder_that_cannot_be_made_says_why(void **state)
{
    fixture *f = *state;
    rig_store s;
    char path[300];
    snprintf(path, sizeof path, "%s/none/sagas", f->root);
    assert_int_equal(rig_try(&s, path, false), RSL_ESYS);
    assert_int_equal(errno, ENOENT);
    assert_non_null(strstr(s.error, "/none/sagas: cannot be made (errno 2)"));
    assert_int_equal(rsl_saga_file_make_(&s.store, path), RSL_OK);
    assert_int_equal(s.store.open(s.store.self, false, &s.opening, NULL, 10), RSL_ESYS);
    rig_close(&s);
    char small[10];
    assert_int_equal(rsl_saga_file_make_(&s.store, path), RSL_OK);
    assert_int_equal(s.store.open(s.store.self, false, &s.opening, small, sizeof small), RSL_ESYS);
    assert_int_equal(strlen(small), 9); /* cut to size */
    rig_close(&s);
}

static void a_path_in_the_working_folder_is_fine(void **state)
{
    fixture *f = *state;
    rig_store s;
    int before = open(".", O_RDONLY | O_DIRECTORY);
    assert_int_equal(chdir(f->root), 0);
    rig_use(&s, "sagas/./");
    rig_add(&s, &f->book, 1, 1, 10);
    rig_close(&s);
    assert_int_equal(fchdir(before), 0);
    close(before);
    expect_journal(f, &f->book);
}

/* ------------------------------------------------------------ records, next_id */

static void records_come_back_as_they_were_appended(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    for (uint32_t i = 0; i < 40; i++) rig_add(&s, &f->book, 1 + i % 7, i, i * i);
    rig_add_batch(&s, &f->book, 100, 500, 30);
    rig_add(&s, &f->book, UINT64_MAX - 1, UINT32_MAX, 0);
    rig_expect(&s, &f->book);
    rig_close(&s);
    for (int i = 0; i < 2; i++) {
        rig_use(&s, f->path);
        rig_expect(&s, &f->book);
        rig_add(&s, &f->book, 2, 1000, 77);
        rig_expect(&s, &f->book);
        rig_close(&s);
    }
}

static void load_visits_one_saga_in_order_if_asked(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    for (uint32_t i = 1; i < 20; i++) {
        rsl_saga_record record = rig_record(i % 4, i, i);
        if (i % 4 == 0) continue;
        assert_int_equal(s.store.append(s.store.self, &record, 1), RSL_OK);
        if (i % 4 == 3) notebook_add(&f->book, &record);
    }
    notebook seen = {0};
    assert_int_equal(s.store.load(s.store.self, 3, notebook_visit, &seen), RSL_OK);
    notebook_expect(&seen, &f->book);
    notebook_free(&seen);
    rig_close(&s);
}

static void what_visit_returns_ends_load(void **state)
{
    fixture *f = *state;
    three_appends(f);
    rig_store s;
    rig_open(&s, f->path);
    notebook seen = {.stop_at = 2, .answer = SCRIBBLED};
    assert_int_equal(s.store.load(s.store.self, 0, notebook_visit, &seen), SCRIBBLED);
    assert_int_equal(seen.count, 2);
    rig_expect(&s, &f->book); /* that was no failure of the store */
    assert_int_equal(rig_compact(&s), RSL_OK);
    notebook_free(&seen);
    rig_close(&s);
}

static void next_id_is_above_all_that_were_appended(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    rig_add(&s, &f->book, 7, 1, 10);
    rig_add(&s, &f->book, 3, 1, 10);
    kill_store(&s);
    rig_open(&s, f->path);
    assert_int_equal(s.opening.next_id, 8);
    rig_close(&s);
}

static void next_id_outlives_what_a_compaction_drops(void **state)
{
    fixture *f = *state;
    rig_store s;
    rsl_saga_id from = UINT64_MAX;
    rig_use(&s, f->path);
    rig_add(&s, &f->book, 41, 1, 10);
    assert_int_equal(s.store.compact(s.store.self, rig_keep_from, &from, 0), RSL_OK);
    kill_store(&s);
    for (int i = 0; i < 2; i++) {
        rig_open(&s, f->path);
        assert_int_equal(s.opening.next_id, 42);
        assert_int_equal(s.store.compact(s.store.self, rig_keep_from, &from, 0), RSL_OK);
        rig_close(&s);
    }
}

static void an_append_of_nothing_is_fine(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    assert_int_equal(s.store.append(s.store.self, NULL, 0), RSL_OK);
    rig_expect(&s, &f->book);
    rig_close(&s);
}

static void a_record_that_cannot_be_is_refused_and_nothing_is_stored(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    rsl_saga_record records[2] = {rig_record(1, 1, 10), rig_record(2, 1, 10)};
    records[1].saga = 0;
    assert_int_equal(s.store.append(s.store.self, records, 2), RSL_EINVAL);
    records[1].saga = UINT64_MAX;
    assert_int_equal(s.store.append(s.store.self, records, 2), RSL_EINVAL);
    records[1] = rig_record(2, 1, 10);
    records[1].data = NULL;
    assert_int_equal(s.store.append(s.store.self, records, 2), RSL_EINVAL);
    records[1] = rig_record(2, 1, 10);
    records[1].state = (rsl_saga_state)(RSL_SAGA_ABANDONED + 1);
    assert_int_equal(s.store.append(s.store.self, records, 2), RSL_EINVAL);
    records[1] = rig_record(2, 1, (17 << 20) + 1);
    assert_int_equal(s.store.append(s.store.self, records, 2), RSL_EINVAL);
    rig_expect(&s, &f->book);
    rig_add(&s, &f->book, 1, 1, 10); /* and it goes on */
    rig_expect(&s, &f->book);
    rig_close(&s);
}

/* Records of any size, some over the buffers of reader and writer. */
static void large_records_come_back_and_are_compacted(void **state)
{
    fixture *f = *state;
    size_t sizes[] = {100, (256 << 10) - FRAME, 256 << 10, 17 << 20, 3, (1 << 20) + 1, 0};
    uint8_t *large = malloc(17 << 20);
    for (size_t i = 0; i < 17 << 20; i++) large[i] = (uint8_t)(i * 7 + i / 4096);
    rig_store s;
    rig_use(&s, f->path);
    rsl_saga_record records[RSL_COUNT(sizes)];
    for (size_t i = 0; i < RSL_COUNT(sizes); i++) {
        records[i] = rig_record(i + 1, 1, sizes[i]);
        records[i].data = large;
        notebook_add(&f->book, &records[i]);
    }
    assert_int_equal(s.store.append(s.store.self, records, RSL_COUNT(sizes)), RSL_OK);
    rig_add(&s, &f->book, 50, 1, 10);
    rig_expect(&s, &f->book);
    assert_int_equal(rig_compact(&s), RSL_OK);
    rig_expect(&s, &f->book);
    rig_close(&s);
    expect_journal(f, &f->book);
    free(large);
}

static void success_leaves_errno_alone(void **state)
{
    fixture *f = *state;
    rig_store s;
    three_appends(f);
    errno = SCRIBBLED;
    rig_open(&s, f->path);
    assert_int_equal(errno, SCRIBBLED);
    rig_expect(&s, &f->book);
    assert_int_equal(rig_compact(&s), RSL_OK);
    assert_int_equal(rig_append(&s, 1, 2, 10), RSL_OK);
    rig_close(&s);
    assert_int_equal(errno, SCRIBBLED);
}

/* ----------------------------------------------------------------- compaction */

static void compaction_keeps_what_it_is_told_to(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    for (uint32_t i = 0; i < 50; i++) {
        rsl_saga_record record = rig_record(1 + i % 5, i, 3 * i);
        assert_int_equal(s.store.append(s.store.self, &record, 1), RSL_OK);
        if (record.saga >= 3) notebook_add(&f->book, &record);
    }
    rsl_saga_id from = 3;
    assert_int_equal(s.store.compact(s.store.self, rig_keep_from, &from, 0), RSL_OK);
    rig_expect(&s, &f->book);
    rig_add(&s, &f->book, 9, 1, 10);
    rig_expect(&s, &f->book);
    rig_close(&s);
    expect_journal(f, &f->book);
}

static bool keep_counts(void *user, const rsl_saga_record *record)
{
    notebook_add(user, record);
    return true;
}

static void keep_is_asked_once_for_each_record_in_order(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    rig_add_batch(&s, &f->book, 1, 3000, 200); /* more than the buffers hold */
    notebook asked = {0};
    assert_int_equal(s.store.compact(s.store.self, keep_counts, &asked, 0), RSL_OK);
    notebook_expect(&asked, &f->book);
    notebook_free(&asked);
    rig_close(&s);
}

static void what_a_killed_compaction_left_is_replaced(void **state)
{
    fixture *f = *state;
    three_appends(f);
    copy_file(file_of(f, "journal"), file_of(f, "journal.new"));
    damage(f, offset_of(2) + 70); /* they differ now */
    forget_bound(f);
    f->book.count = 2;
    rig_store s;
    rig_open(&s, f->path);
    rig_expect(&s, &f->book);
    assert_int_equal(rig_compact(&s), RSL_OK);
    rig_expect(&s, &f->book);
    assert_false(is_there(file_of(f, "journal.new")));
    rig_close(&s);
    write_file(file_of(f, "journal.new"), "x", 1);
    assert_int_equal(symlink("/dev/null", file_of(f, "journal.torn")) == 0 || errno == EEXIST, 1);
    expect_journal(f, &f->book);
}

static void a_link_named_journal_new_is_not_followed(void **state)
{
    fixture *f = *state;
    three_appends(f);
    char victim[300];
    snprintf(victim, sizeof victim, "%s/victim", f->root);
    write_file(victim, "precious", 8);
    assert_int_equal(symlink(victim, file_of(f, "journal.new")), 0);
    assert_int_equal(link(victim, file_of(f, "journal.torn")), 0);
    cut(f, offset_of(2) + 9);
    forget_bound(f);
    rig_store s;
    rig_use(&s, f->path);
    rig_close(&s);
    size_t size;
    uint8_t *bytes = bytes_of(victim, &size);
    assert_int_equal(size, 8);
    assert_memory_equal(bytes, "precious", 8);
    free(bytes);
}

static void the_size_is_steady_when_as_much_ends_as_begins(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    for (rsl_saga_id i = 1; i < 30; i++) {
        rig_add_batch(&s, &f->book, i * 100, 100, 1000);
        rsl_saga_id from = i * 100 + 50;
        assert_int_equal(s.store.compact(s.store.self, rig_keep_from, &from, 0), RSL_OK);
        assert_int_equal(size_of(file_of(f, "journal")), START + 50 * (FRAME + 1000));
    }
    rig_close(&s);
    assert_int_equal(size_of(file_of(f, "journal")), START + 50 * (FRAME + 1000));
}

static void the_file_grows_by_steps_of_zeros(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    assert_int_equal(size_of(file_of(f, "journal")), START);
    rig_add(&s, &f->book, 1, 1, 10);
    assert_int_equal(size_of(file_of(f, "journal")), STEP);
    size_t exactly = STEP - START - 2 * FRAME - 10;
    rsl_saga_record record = rig_record(2, 1, exactly);
    uint8_t *data = calloc(1, exactly); /* zeros that are no end */
    record.data = data;
    assert_int_equal(s.store.append(s.store.self, &record, 1), RSL_OK);
    notebook_add(&f->book, &record);
    assert_int_equal(size_of(file_of(f, "journal")), STEP);
    rig_add(&s, &f->book, 3, 1, 0);
    assert_int_equal(size_of(file_of(f, "journal")), 2 * STEP);
    rig_expect(&s, &f->book);
    kill_store(&s);
    assert_int_equal(report_of(f).status, RSL_OK);
    expect_journal(f, &f->book);
    free(data);
}

/* ------------------------------------------------------------------------ lock */

static void a_journal_that_is_open_is_refused_to_others(void **state)
{
    fixture *f = *state;
    rig_store s, other;
    rig_use(&s, f->path);
    assert_int_equal(rig_try(&other, f->path, false), RSL_EFENCED);
    char sentence[300];
    snprintf(sentence, sizeof sentence, "%s/lock: process %ld has it", f->path, (long)getpid());
    assert_string_equal(other.error, sentence);
    rig_add(&s, &f->book, 1, 1, 10); /* and nothing happened to it */
    rig_close(&s);
    expect_journal(f, &f->book);
}

static void a_lock_that_names_nobody_is_taken_all_the_same(void **state)
{
    fixture *f = *state;
    rig_store s;
    three_appends(f);
    char junk[60];
    memset(junk, '9', sizeof junk);
    write_file(file_of(f, "lock"), junk, sizeof junk);
    int lock = open(file_of(f, "lock"), O_RDWR);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    expect_refused(f, RSL_EFENCED, "/lock: process 99999999 has it");
    assert_int_equal(pwrite(lock, "\n\n\n\n", 4, 0), 4);
    expect_refused(f, RSL_EFENCED, "/lock: is taken");
    close(lock);
    rig_open(&s, f->path);
    size_t size;
    uint8_t *bytes = bytes_of(file_of(f, "lock"), &size);
    assert_int_equal(atol((char *)bytes), getpid());
    assert_int_equal(bytes[31], '\n');
    free(bytes);
    rig_close(&s);
}

/* Runs fn in a child and returns its exit status; a child that dies is 128 and more. */
static int in_a_child(int (*fn)(fixture *f, void *arg), fixture *f, void *arg)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(fn(f, arg));
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int child_tries(fixture *f, void *arg)
{
    rig_store s;
    (void)arg;
    int status = rig_try(&s, f->path, false);
    if (status != RSL_OK) return status == RSL_EFENCED ? 1 : 3;
    rig_close(&s);
    return 2;
}

static int child_appends_and_dies(fixture *f, void *arg)
{
    rig_store s;
    (void)arg;
    if (rig_try(&s, f->path, false) != RSL_OK || rig_compact(&s) != RSL_OK) return 1;
    if (rig_append(&s, 1, 1, 100) != RSL_OK || rig_append(&s, 2, 1, 50) != RSL_OK) return 2;
    raise(SIGKILL);
    return 3;
}

static void another_process_is_kept_out_and_let_in_afterwards(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_open(&s, f->path);
    assert_int_equal(in_a_child(child_tries, f, NULL), 1);
    rig_close(&s);
    assert_int_equal(in_a_child(child_tries, f, NULL), 2);
    rig_open(&s, f->path);
    rig_close(&s);
}

static void what_a_killed_process_appended_is_there(void **state)
{
    fixture *f = *state;
    assert_int_equal(in_a_child(child_appends_and_dies, f, NULL), 128 + SIGKILL);
    rsl_saga_record records[] = {rig_record(1, 1, 100), rig_record(2, 1, 50)};
    notebook_add(&f->book, &records[0]);
    notebook_add(&f->book, &records[1]);
    expect_journal(f, &f->book);
}

/* It was opened before the fork, and is its parent's. */
static int child_uses(fixture *f, void *arg)
{
    rig_store *s = arg;
    (void)f;
    if (rig_append(s, 9, 1, 10) != RSL_EFENCED) return 1;
    if (rig_compact(s) != RSL_EFENCED) return 2;
    rig_close(s);
    return 0;
}

static void a_forked_child_writes_nothing_not_even_a_seal(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    rig_add(&s, &f->book, 1, 1, 10);
    assert_int_equal(in_a_child(child_uses, f, &s), 0);
    assert_int_equal(in_a_child(child_tries, f, NULL), 1); /* the lock is still held */
    rig_add(&s, &f->book, 1, 2, 10);
    kill_store(&s);
    expect_journal(f, &f->book);
}

/* ------------------------------------------------------- folders and files refused */

static void a_folder_behind_a_symbolic_link_is_refused(void **state)
{
    fixture *f = *state;
    three_appends(f);
    char target[300];
    snprintf(target, sizeof target, "%s/moved", f->root);
    assert_int_equal(rename(f->path, target), 0);
    assert_int_equal(symlink(target, f->path), 0);
    expect_refused(f, RSL_EINVAL, "/sagas: is a symbolic link, or not a folder");
    const char *ends[] = {"/", "//", "/.", "/./"};
    for (size_t i = 0; i < RSL_COUNT(ends); i++) {
        rig_store s;
        char path[300];
        snprintf(path, sizeof path, "%s%s", f->path, ends[i]);
        assert_int_equal(rig_try(&s, path, false), RSL_EINVAL);
    }
}

static void a_path_that_is_a_file_is_refused(void **state)
{
    fixture *f = *state;
    write_file(f->path, "x", 1);
    expect_refused(f, RSL_EINVAL, "/sagas: is a symbolic link, or not a folder");
}

static void a_folder_that_others_may_write_to_is_refused(void **state)
{
    fixture *f = *state;
    three_appends(f);
    mode_t modes[] = {0720, 0702, 0777};
    for (size_t i = 0; i < RSL_COUNT(modes); i++) {
        assert_int_equal(chmod(f->path, modes[i]), 0);
        expect_refused(f, RSL_EINVAL, "/sagas: may be written by others");
    }
    assert_int_equal(chmod(f->path, 0755), 0);
    expect_journal(f, &f->book);
}

static void files_that_others_may_write_to_are_refused(void **state)
{
    fixture *f = *state;
    three_appends(f);
    assert_int_equal(chmod(file_of(f, "journal"), 0620), 0);
    expect_refused(f, RSL_EINVAL, "/journal: may be written by others");
    assert_int_equal(chmod(file_of(f, "journal"), 0644), 0);
    assert_int_equal(chmod(file_of(f, "lock"), 0602), 0);
    expect_refused(f, RSL_EINVAL, "/lock: may be written by others");
    assert_int_equal(chmod(file_of(f, "lock"), 0600), 0);
    expect_journal(f, &f->book);
}

static void what_belongs_to_another_user_is_refused(void **state)
{
    fixture *f = *state;
    if (geteuid() != 0) skip(); /* only root can give files away */
    three_appends(f);
    assert_int_equal(chown(file_of(f, "journal"), 12345, 0), 0);
    expect_refused(f, RSL_EINVAL, "/journal: belongs to another user");
    assert_int_equal(chown(file_of(f, "lock"), 12345, 0), 0);
    expect_refused(f, RSL_EINVAL, "/lock: belongs to another user");
    assert_int_equal(chown(f->path, 12345, 0), 0);
    expect_refused(f, RSL_EINVAL, "/sagas: belongs to another user");
}

/* Each of the two files in turn is taken away and something else put in its place. */
static void refuse_in_place_of(fixture *f, const char *name, int (*put)(const char *path),
                               const char *why)
{
    char away[300], sentence[100];
    snprintf(away, sizeof away, "%s/away", f->root);
    snprintf(sentence, sizeof sentence, "/%s: %s", name, why);
    assert_int_equal(rename(file_of(f, name), away), 0);
    assert_int_equal(put(file_of(f, name)), 0);
    expect_refused(f, RSL_EINVAL, sentence);
    assert_int_equal(remove(file_of(f, name)), 0);
    assert_int_equal(rename(away, file_of(f, name)), 0);
}

static int put_symlink(const char *path)
{
    char target[320]; /* the file itself, elsewhere */
    snprintf(target, sizeof target, "%.*s/../away", (int)(strrchr(path, '/') - path), path);
    return symlink(target, path);
}

static int put_folder(const char *path)
{
    return mkdir(path, 0700);
}

static int put_pipe(const char *path)
{
    return mkfifo(path, 0600);
}

static int put_link(const char *path)
{
    char target[320];
    snprintf(target, sizeof target, "%.*s/../away", (int)(strrchr(path, '/') - path), path);
    return link(target, path);
}

static void files_that_are_not_plain_are_refused(void **state)
{
    fixture *f = *state;
    three_appends(f);
    const char *names[] = {"lock", "journal"};
    for (int i = 0; i < 2; i++) {
        refuse_in_place_of(f, names[i], put_symlink, "is a symbolic link");
        refuse_in_place_of(f, names[i], put_pipe, "is not a regular file");
        refuse_in_place_of(f, names[i], put_link, "has more than one link");
        refuse_in_place_of(f, names[i], put_folder, "is not a regular file");
    }
    expect_journal(f, &f->book);
}

/* Writes a header over one that is there, with a version and a CRC of its own. */
static void put_version(fixture *f, size_t at, uint32_t version, bool right)
{
    size_t size;
    uint8_t *bytes = bytes_of(file_of(f, "journal"), &size);
    rsl_le32_put_(bytes + at + 8, version);
    if (right) rsl_le32_put_(bytes + at + 72, rsl_crc32c_(0, bytes + at, 72));
    write_file(file_of(f, "journal"), bytes, size);
    free(bytes);
}

static void a_newer_format_is_refused_with_its_number(void **state)
{
    fixture *f = *state;
    three_appends(f);
    put_version(f, 0, 2, true);
    put_version(f, 4096, 2, true);
    char sentence[320];
    snprintf(sentence, sizeof sentence, "%s/journal: format 2 is newer than this program's 1",
             f->path);
    expect_refused(f, RSL_EINVAL, sentence);
    damage(f, 0); /* the second one says so too */
    expect_refused(f, RSL_EINVAL, sentence);
    rig_store s;
    assert_int_equal(rig_try(&s, f->path, true), RSL_EINVAL); /* nothing to salvage */
}

static void a_version_that_is_only_damaged_is_damage(void **state)
{
    fixture *f = *state;
    three_appends(f);
    put_version(f, 0, 2, false);
    expect_refused(f, RSL_ECORRUPT, "/journal: its header is damaged");
    put_version(f, 0, 0, true);
    expect_refused(f, RSL_ECORRUPT, "/journal: its header is damaged");
    put_version(f, 4096, 0, true);
    expect_refused(f, RSL_ECORRUPT, "/journal: both its headers are damaged");
}

/* ------------------------------------------------------------------------ seal */

static void close_seals_so_that_the_last_record_is_known_durable(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    for (uint32_t i = 1; i <= 3; i++) rig_add(&s, &f->book, i, 1, 100);
    rig_close(&s);
    expect_journal(f, &f->book); /* the seal is no record */
    assert_int_equal(report_of(f).records, 3);
    forget_bound(f);
    damage(f, offset_of(2) + 70);
    expect_refused(f, RSL_ECORRUPT, "/journal: record 3 at offset 8512 is damaged, with durable "
                                    "records behind it");
}

static void without_a_seal_the_last_append_may_be_torn(void **state)
{
    fixture *f = *state;
    three_appends(f);
    forget_bound(f);
    damage(f, offset_of(2) + 70);
    f->book.count = 2;
    expect_journal(f, &f->book);
}

static void no_seal_is_written_where_the_header_says_it_all(void **state)
{
    fixture *f = *state;
    rig_store s;
    three_appends(f);
    rig_use(&s, f->path);
    size_t size = size_of(file_of(f, "journal"));
    rig_close(&s);
    assert_int_equal(size_of(file_of(f, "journal")), size);
    forget_bound(f);
    damage(f, offset_of(2) + 70);
    expect_refused(f, RSL_ECORRUPT, "/journal: record 6 at offset 8512 is damaged, "
                                    "which was durable");
    cut(f, offset_of(1));
    expect_refused(f, RSL_ECORRUPT, "/journal: ends at offset 8352 before record 5, "
                                    "which was durable");
}

static void a_torn_seal_is_a_torn_end(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    rig_add(&s, &f->book, 1, 1, 100);
    rig_close(&s);
    forget_bound(f);
    damage(f, offset_of(1) + 30);
    expect_journal(f, &f->book);
    assert_int_equal(report_of(f).status, RSL_EIO);
}

/* ------------------------------------------------------------------- torn ends */

static void a_torn_end_is_cut_off_and_kept_aside(void **state)
{
    fixture *f = *state;
    rig_store s;
    three_appends(f);
    forget_bound(f);
    size_t size;
    uint8_t *bytes = bytes_of(file_of(f, "journal"), &size);
    cut(f, offset_of(2) + 123);
    f->book.count = 2;
    rig_open(&s, f->path);
    rig_expect(&s, &f->book);
    assert_int_equal(s.opening.next_id, 3);
    assert_int_equal(rig_compact(&s), RSL_OK);
    rig_add(&s, &f->book, 4, 1, 10);
    rig_expect(&s, &f->book);
    rig_close(&s);
    size_t torn_size;
    uint8_t *torn = bytes_of(file_of(f, "journal.torn"), &torn_size);
    assert_int_equal(torn_size, 123);
    assert_memory_equal(torn, bytes + offset_of(2), torn_size);
    assert_int_equal(report_of(f).status, RSL_OK);
    expect_journal(f, &f->book);
    free(torn);
    free(bytes);
}

static void zeros_in_place_of_the_last_records_are_an_end(void **state)
{
    fixture *f = *state;
    three_appends(f);
    forget_bound(f);
    size_t size;
    uint8_t *bytes = bytes_of(file_of(f, "journal"), &size);
    memset(bytes + offset_of(1), 0, size - offset_of(1));
    write_file(file_of(f, "journal"), bytes, size);
    free(bytes);
    f->book.count = 1;
    assert_int_equal(report_of(f).status, RSL_OK);
    expect_journal(f, &f->book);
}

/* Longer than the reader's window. */
static void zeros_with_anything_behind_them_are_no_end(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    for (uint32_t i = 0; i < 4; i++) rig_add_batch(&s, &f->book, 1 + i * 1000, 1000, 200);
    kill_store(&s);
    forget_bound(f);
    size_t size, end = START + 4000 * (FRAME + 200);
    uint8_t *bytes = bytes_of(file_of(f, "journal"), &size);
    memset(bytes + START + 260 * 100, 0, 600000);
    write_file(file_of(f, "journal"), bytes, size);
    expect_refused(f, RSL_ECORRUPT, "record 101 at offset 34192 is damaged, with durable");
    memset(bytes + START + 260 * 100, 0, end - START - 260 * 100 - 1); /* but for one byte */
    write_file(file_of(f, "journal"), bytes, size);
    rsl_saga_journal_report report = report_of(f);
    assert_int_equal(report.status, RSL_EIO);
    assert_int_equal(report.offset, START + 260 * 100);
    f->book.count = 100;
    expect_journal(f, &f->book);
    rig_use(&s, f->path);
    kill_store(&s);
    assert_int_equal(size_of(file_of(f, "journal.torn")), end - START - 260 * 100);
    free(bytes);
}

static void of_a_torn_append_nothing_behind_the_tear_is_taken(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    rig_add_batch(&s, &f->book, 1, 10, 100);
    rig_add_batch(&s, &f->book, 11, 10, 100);
    kill_store(&s);
    forget_bound(f);
    damage(f, offset_of(13) + 5);
    rsl_saga_journal_report report = report_of(f);
    assert_int_equal(report.status, RSL_EIO);
    assert_int_equal(report.records, 13);
    assert_int_equal(report.records_after, 6);
    assert_int_equal(report.offset, offset_of(13));
    f->book.count = 13;
    rig_open(&s, f->path);
    rig_expect(&s, &f->book);
    assert_int_equal(rig_compact(&s), RSL_OK);
    rig_expect(&s, &f->book);
    rig_close(&s);
    assert_int_equal(size_of(file_of(f, "journal.torn")), 7 * (FRAME + 100));
}

static void a_later_torn_end_replaces_the_one_kept_aside(void **state)
{
    fixture *f = *state;
    rig_store s;
    three_appends(f);
    for (int i = 0; i < 2; i++) {
        cut(f, offset_of(2) + 90 - (size_t)i * 20);
        forget_bound(f);
        rig_use(&s, f->path);
        assert_int_equal(rig_append(&s, 3, 1, 100), RSL_OK);
        kill_store(&s);
        assert_int_equal(size_of(file_of(f, "journal.torn")), 90 - i * 20);
    }
}

/* ------------------------------------------------------------------ corruption */

static void damage_before_durable_records_is_told_with_its_place(void **state)
{
    fixture *f = *state;
    three_appends(f);
    forget_bound(f);
    damage(f, offset_of(1) + FRAME + 3);
    char sentence[360];
    snprintf(sentence, sizeof sentence, "%s/journal: record 2 at offset 8352 is damaged, with "
             "durable records behind it", f->path);
    expect_refused(f, RSL_ECORRUPT, sentence);
    rsl_saga_journal_report report = report_of(f);
    assert_int_equal(report.status, RSL_ECORRUPT);
    assert_int_equal(report.offset, 8352);
    assert_int_equal(report.records, 1);
    assert_int_equal(report.records_after, 1);
    assert_int_equal(report.bytes, STEP);
}

static void a_record_that_was_taken_out_is_missed(void **state)
{
    fixture *f = *state;
    three_appends(f);
    forget_bound(f);
    size_t size;
    uint8_t *bytes = bytes_of(file_of(f, "journal"), &size);
    memmove(bytes + offset_of(1), bytes + offset_of(2), size - offset_of(2));
    write_file(file_of(f, "journal"), bytes, size - FRAME - 100);
    expect_refused(f, RSL_ECORRUPT, "/journal: record 2 at offset 8352 is damaged, with durable "
                                    "records behind it");
    free(bytes);
}

static void a_record_of_another_journal_is_none(void **state)
{
    fixture *f = *state;
    rig_store s;
    three_appends(f);
    size_t size, other_size;
    uint8_t *bytes = bytes_of(file_of(f, "journal"), &size);
    rig_use(&s, f->path); /* the same records once more, under another mark */
    kill_store(&s);
    uint8_t *other = bytes_of(file_of(f, "journal"), &other_size);
    memcpy(bytes + offset_of(2), other + offset_of(2), FRAME + 100);
    write_file(file_of(f, "journal"), bytes, size);
    forget_bound(f);
    f->book.count = 2;
    expect_journal(f, &f->book);
    assert_int_equal(report_of(f).records_after, 0);
    free(bytes);
    free(other);
}

/* One number of the third record is another, under a right CRC; then it is none. */
static void expect_no_record_with(fixture *f, size_t at, uint64_t value, size_t size, size_t after)
{
    size_t whole;
    uint8_t *bytes = bytes_of(file_of(f, "journal"), &whole);
    uint8_t *record = bytes + offset_of(2);
    if (size == 4) rsl_le32_put_(record + at, (uint32_t)value);
    else rsl_le64_put_(record + at, value);
    rsl_le32_put_(record + 8, rsl_crc32c_(0, record + 12, FRAME + 100 - 12));
    uint8_t *was = bytes_of(file_of(f, "journal"), &whole);
    write_file(file_of(f, "journal"), bytes, whole);
    rsl_saga_journal_report report = report_of(f);
    assert_int_equal(report.status, RSL_EIO);
    assert_int_equal(report.records, 2);
    assert_int_equal(report.records_after, after);
    assert_int_equal(report.offset, offset_of(2));
    write_file(file_of(f, "journal"), was, whole);
    free(was);
    free(bytes);
}

static void a_record_must_be_right_in_every_number(void **state)
{
    fixture *f = *state;
    three_appends(f);
    forget_bound(f);
    expect_no_record_with(f, 12, 1, 4, 0);          /* CRC of the one before */
    expect_no_record_with(f, 16, 1, 4, 0);          /* mark */
    expect_no_record_with(f, 24, 2, 8, 0);          /* sequence: again, */
    expect_no_record_with(f, 24, 7, 8, 1);          /* or a later one, which is for salvage */
    expect_no_record_with(f, 32, 3, 8, 0);          /* durable before it was written */
    expect_no_record_with(f, 56, 6, 4, 0);          /* no such state */
    expect_no_record_with(f, 4, 99, 4, 0);          /* not the complement */
    assert_int_equal(report_of(f).status, RSL_OK);
}

static void data_that_looks_like_records_is_not_taken_for_them(void **state)
{
    fixture *f = *state;
    rig_store s;
    three_appends(f);
    size_t size;
    uint8_t *bytes = bytes_of(file_of(f, "journal"), &size);
    rig_use(&s, f->path); /* a record whose data is a piece of a journal, of later sequences */
    rsl_saga_record record = rig_record(5, 1, 2 * (FRAME + 100));
    for (size_t i = 0; i < 2; i++) {
        uint8_t *at = bytes + offset_of(1 + i);
        rsl_le64_put_(at + 24, 1000 + i);
        rsl_le64_put_(at + 32, 999);
        rsl_le32_put_(at + 8, rsl_crc32c_(0, at + 12, FRAME + 100 - 12));
    }
    record.data = bytes + offset_of(1);
    assert_int_equal(s.store.append(s.store.self, &record, 1), RSL_OK);
    kill_store(&s);
    forget_bound(f);
    damage(f, offset_of(3) + 40);
    assert_int_equal(report_of(f).status, RSL_EIO); /* torn, not corrupt */
    assert_int_equal(report_of(f).records_after, 0);
    expect_journal(f, &f->book);
    free(bytes);
}

static void a_header_that_is_damaged_is_told(void **state)
{
    fixture *f = *state;
    three_appends(f);
    size_t places[] = {0, 20, 75, 76, 4095, 4096, 4100, 4171, 4172, 8191};
    for (size_t i = 0; i < RSL_COUNT(places); i++) {
        damage(f, places[i]);
        expect_refused(f, RSL_ECORRUPT, "/journal: its header is damaged");
        rsl_saga_journal_report report = report_of(f);
        assert_int_equal(report.status, RSL_ECORRUPT);
        assert_int_equal(report.offset, 0);
        assert_int_equal(report.records, 0);
        assert_int_equal(report.records_after, 3);
        damage(f, places[i]);
    }
    expect_journal(f, &f->book);
}

static void without_any_header_nothing_is_told_but_that(void **state)
{
    fixture *f = *state;
    three_appends(f);
    damage(f, 3);
    damage(f, 4099);
    expect_refused(f, RSL_ECORRUPT, "/journal: both its headers are damaged");
    rig_store s;
    assert_int_equal(rig_try(&s, f->path, true), RSL_ECORRUPT);
    rsl_saga_journal_report report = report_of(f);
    assert_int_equal(report.status, RSL_ECORRUPT);
    assert_string_equal(report.uuid, "");
    assert_int_equal(report.offset, 0);
    assert_int_equal(report.bytes, STEP);
    cut(f, 0);
    expect_refused(f, RSL_ECORRUPT, "/journal: both its headers are damaged");
}

/* ----------------------------------------------------------------------- bound */

static void an_end_that_was_cut_off_between_records_is_missed(void **state)
{
    fixture *f = *state;
    three_appends(f);
    cut(f, offset_of(2));
    expect_refused(f, RSL_ECORRUPT, "/journal: ends at offset 8512 before record 3, "
                                    "which was durable");
    assert_int_equal(report_of(f).status, RSL_ECORRUPT);
    assert_int_equal(report_of(f).offset, 8512);
    forget_bound(f); /* then nothing tells of it */
    f->book.count = 2;
    expect_journal(f, &f->book);
}

static void a_record_before_the_bound_is_damaged_and_not_torn(void **state)
{
    fixture *f = *state;
    three_appends(f);
    damage(f, offset_of(2) + 100);
    expect_refused(f, RSL_ECORRUPT, "/journal: record 3 at offset 8512 is damaged, "
                                    "which was durable");
}

static void a_bound_that_is_torn_or_foreign_says_nothing(void **state)
{
    fixture *f = *state;
    three_appends(f);
    size_t size;
    uint8_t *bytes = bytes_of(file_of(f, "lock"), &size);
    assert_int_equal(size, 60);
    cut(f, offset_of(2));
    f->book.count = 2;
    for (size_t i = 32; i < size; i++) {
        bytes[i] ^= 0x10;
        write_file(file_of(f, "lock"), bytes, size);
        expect_journal(f, &f->book);
        write_file(file_of(f, "lock"), bytes, i); /* and cut */
        expect_journal(f, &f->book);
        bytes[i] ^= 0x10;
    }
    bytes[32] ^= 1; /* of another uuid, and whole */
    rsl_le32_put_(bytes + 56, rsl_crc32c_(0, bytes + 32, 24));
    write_file(file_of(f, "lock"), bytes, size);
    expect_journal(f, &f->book);
    free(bytes);
}

static void the_bound_holds_across_compactions(void **state)
{
    fixture *f = *state;
    rig_store s;
    rsl_saga_id from = UINT64_MAX;
    three_appends(f);
    rig_use(&s, f->path);
    rig_add(&s, &f->book, 4, 1, 100);
    assert_int_equal(s.store.compact(s.store.self, rig_keep_from, &from, 0), RSL_OK);
    kill_store(&s);
    f->book.count = 0; /* an empty journal is not before its bound */
    rig_use(&s, f->path);
    rig_expect(&s, &f->book);
    rig_add(&s, &f->book, 5, 1, 100);
    kill_store(&s);
    expect_journal(f, &f->book);
    cut(f, offset_of(0));
    expect_refused(f, RSL_ECORRUPT, "which was durable");
}

static void an_older_copy_of_the_journal_is_missed_records(void **state)
{
    fixture *f = *state;
    rig_store s;
    char away[300];
    snprintf(away, sizeof away, "%s/away", f->root);
    three_appends(f);
    copy_file(file_of(f, "journal"), away);
    rig_use(&s, f->path);
    rig_add(&s, &f->book, 4, 1, 100);
    kill_store(&s);
    copy_file(away, file_of(f, "journal"));
    expect_refused(f, RSL_ECORRUPT, "/journal: ends at offset 8672 before record 4, "
                                    "which was durable");
}

static void a_journal_that_was_deleted_is_begun_anew(void **state)
{
    fixture *f = *state;
    rig_store s;
    three_appends(f);
    rsl_saga_journal_report before = report_of(f);
    assert_int_equal(unlink(file_of(f, "journal")), 0);
    f->book.count = 0;
    rig_use(&s, f->path);
    assert_string_not_equal(s.opening.uuid, before.uuid);
    assert_int_equal(s.opening.next_id, 1);
    rig_add(&s, &f->book, 1, 1, 10);
    kill_store(&s);
    expect_journal(f, &f->book);
}

static void a_folder_copied_whole_is_as_good(void **state)
{
    fixture *f = *state;
    three_appends(f);
    char command[600], copy[240];
    snprintf(copy, sizeof copy, "%s/copy", f->root);
    snprintf(command, sizeof command, "cp -r '%s' '%s'", f->path, copy);
    assert_int_equal(system(command), 0);
    memcpy(f->path, copy, sizeof copy);
    expect_journal(f, &f->book);
}

/* --------------------------------------------------------------------- salvage */

static void salvage_takes_all_whole_records_also_behind_damage(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    rig_add_batch(&s, &f->book, 1, 20, 100);
    rig_add_batch(&s, &f->book, 21, 20, 100);
    kill_store(&s);
    size_t size, aside_size;
    damage(f, offset_of(5));
    damage(f, offset_of(6) + 9);
    damage(f, offset_of(30) + 159);
    uint8_t *bytes = bytes_of(file_of(f, "journal"), &size);
    notebook left = {0};
    for (size_t i = 0; i < f->book.count; i++) {
        if (i == 5 || i == 6 || i == 30) continue;
        rsl_saga_record record = rig_record(i + 1, 1, 100);
        notebook_add(&left, &record);
    }
    expect_refused(f, RSL_ECORRUPT, "record 6 at offset 8992 is damaged");
    assert_int_equal(rig_try(&s, f->path, true), RSL_OK);
    assert_int_equal(s.opening.next_id, 41 + (UINT64_C(1) << 32));
    rig_expect(&s, &left);
    assert_int_equal(rig_compact(&s), RSL_OK);
    rig_add(&s, &left, 50, 1, 10);
    rig_expect(&s, &left);
    kill_store(&s);
    uint8_t *aside = bytes_of(file_of(f, "journal.damaged"), &aside_size);
    assert_int_equal(aside_size, offset_of(40)); /* all of it, but for zeros at the end */
    assert_memory_equal(aside, bytes, aside_size);
    assert_false(is_there(file_of(f, "journal.torn")));
    expect_journal(f, &left); /* and it is sound again */
    notebook_free(&left);
    free(aside);
    free(bytes);
}

static void salvage_of_a_sound_journal_is_like_any_opening(void **state)
{
    fixture *f = *state;
    rig_store s;
    three_appends(f);
    assert_int_equal(rig_try(&s, f->path, true), RSL_OK);
    assert_int_equal(s.opening.next_id, 4);
    rig_expect(&s, &f->book);
    rig_close(&s);
    assert_int_equal(rig_try(&s, f->path, true), RSL_OK);
    assert_int_equal(rig_compact(&s), RSL_OK);
    rig_close(&s);
    assert_false(is_there(file_of(f, "journal.damaged")));
}

static void salvage_leaves_the_remainder_of_a_torn_append_alone(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    rig_add_batch(&s, &f->book, 1, 10, 100);
    kill_store(&s);
    forget_bound(f);
    damage(f, offset_of(4) + 5);
    f->book.count = 4;
    assert_int_equal(rig_try(&s, f->path, true), RSL_OK);
    rig_expect(&s, &f->book);
    rig_close(&s);
}

static void salvage_does_with_one_header(void **state)
{
    fixture *f = *state;
    rig_store s;
    char uuid[37];
    three_appends(f);
    memcpy(uuid, report_of(f).uuid, sizeof uuid);
    size_t places[] = {10, 4100, 3000};
    for (size_t i = 0; i < RSL_COUNT(places); i++) {
        damage(f, places[i]);
        assert_int_equal(rig_try(&s, f->path, true), RSL_OK);
        assert_string_equal(s.opening.uuid, uuid);
        rig_expect(&s, &f->book);
        assert_int_equal(rig_compact(&s), RSL_OK);
        rig_close(&s);
        expect_journal(f, &f->book);
    }
}

static void what_salvage_could_not_find_is_given_up_for_good(void **state)
{
    fixture *f = *state;
    rig_store s;
    three_appends(f);
    cut(f, offset_of(1)); /* the bound tells of two more */
    f->book.count = 1;
    assert_int_equal(rig_try(&s, f->path, true), RSL_OK);
    rig_expect(&s, &f->book);
    assert_int_equal(rig_compact(&s), RSL_OK);
    kill_store(&s);
    expect_journal(f, &f->book); /* it is above the old bound too */
    rig_use(&s, f->path);
    rig_add(&s, &f->book, 7, 1, 10);
    kill_store(&s);
    expect_journal(f, &f->book);
}

/* ------------------------------------------------------------------- for tools */

static void a_report_tells_of_a_sound_journal(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    rig_add_batch(&s, &f->book, 1, 7, 100);
    rsl_saga_journal_report report = report_of(f); /* while it is in use */
    assert_string_equal(report.uuid, s.opening.uuid);
    assert_int_equal(report.version, 1);
    assert_int_equal(report.epoch, 1);
    assert_int_equal(report.records, 7);
    assert_int_equal(report.records_after, 0);
    assert_int_equal(report.bytes, STEP);
    assert_int_equal(report.offset, STEP);
    assert_int_equal(report.status, RSL_OK);
    rig_add(&s, &f->book, 8, 1, 100); /* nor has it been disturbed */
    rig_close(&s);
}

static void a_report_visits_whole_records_behind_damage_too(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    rig_add_batch(&s, &f->book, 1, 9, 100);
    kill_store(&s);
    damage(f, offset_of(3) + 80);
    memmove(&f->book.items[3], &f->book.items[4], 5 * sizeof f->book.items[0]);
    f->book.count = 8;
    rsl_saga_journal_report report;
    notebook seen = {0};
    assert_int_equal(rsl_saga_journal_read(f->path, &report, notebook_visit, &seen, NULL, 0),
                     RSL_OK);
    notebook_expect(&seen, &f->book);
    notebook_free(&seen);
}

static void a_report_is_not_written_unless_all_was_read(void **state)
{
    fixture *f = *state;
    rsl_saga_journal_report report = {.records = SCRIBBLED};
    char error[RIG_ERROR];
    assert_int_equal(rsl_saga_journal_read(NULL, &report, NULL, NULL, error, sizeof error),
                     RSL_EINVAL);
    assert_string_equal(error, "journal: path and report must be given");
    assert_int_equal(rsl_saga_journal_read(f->path, NULL, NULL, NULL, NULL, 0), RSL_EINVAL);
    assert_int_equal(rsl_saga_journal_read(f->path, &report, NULL, NULL, error, sizeof error),
                     RSL_ESYS);
    assert_non_null(strstr(error, "/sagas: cannot be opened (errno 2)"));
    assert_false(is_there(f->path));
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_int_equal(rsl_saga_journal_read(f->path, &report, NULL, NULL, error, sizeof error),
                     RSL_ESYS);
    assert_non_null(strstr(error, "/sagas/journal: cannot be opened (errno 2)"));
    assert_false(is_there(file_of(f, "lock")));
    three_appends(f);
    notebook seen = {.stop_at = 2, .answer = SCRIBBLED};
    assert_int_equal(rsl_saga_journal_read(f->path, &report, notebook_visit, &seen, NULL, 0),
                     SCRIBBLED);
    assert_int_equal(seen.count, 2);
    notebook_free(&seen);
    assert_int_equal(report.records, SCRIBBLED);
}

/* A visitor during whose work the journal grows, once it has come so far. */
typedef struct grower {
    rig_store *store;
    fixture   *f;
    size_t     from;
    notebook   seen;
} grower;

static int grow_visit(void *user, const rsl_saga_record *record)
{
    grower *g = user;
    for (uint32_t i = 0; g->seen.count == g->from && i < 100; i++) {
        rig_add_batch(g->store, &g->f->book, 10000, 10, 200);
    }
    return notebook_visit(&g->seen, record);
}

/* A large record has the reader begin its second window early, so that the end lies within it, and
   much of the file behind it: that is read when more has been appended. */
static void a_journal_that_grows_while_it_is_read_is_not_taken_for_corrupt(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    rig_add_batch(&s, &f->book, 1, 700, 200); /* to 190 KB */
    rig_add(&s, &f->book, 2000, 1, 60000);    /* then 250, */
    rig_add(&s, &f->book, 2001, 1, 60000);    /* 310, and the file to 524 */
    size_t size = size_of(file_of(f, "journal"));
    assert_int_equal(size, 2 * STEP);
    grower g = {&s, f, 701, {0}};
    rsl_saga_journal_report report;
    assert_int_equal(rsl_saga_journal_read(f->path, &report, grow_visit, &g, NULL, 0), RSL_OK);
    assert_int_equal(report.status, RSL_EIO); /* the last record lies in the next step */
    assert_int_equal(report.bytes, size);
    assert_int_equal(report.records_after, 0);
    assert_true(g.seen.count > 702 + 500); /* as far as the file went at the beginning */
    for (size_t i = 0; i < g.seen.count; i++) {
        assert_true(noted_same(&g.seen.items[i], &f->book.items[i]));
    }
    notebook_free(&g.seen);
    rig_close(&s);
}

/* ------------------------------------------------------------ memory, the disk */

static void every_allocation_may_fail_once(void **state)
{
    fixture *f = *state;
    rig_store s;
    uint8_t *large = calloc(1, 1 << 20);
    rsl_saga_record record = rig_record(4, 1, 1 << 20);
    record.data = large;
    three_appends(f);
    rig_use(&s, f->path);
    assert_int_equal(s.store.append(s.store.self, &record, 1), RSL_OK);
    notebook_add(&f->book, &record);
    rig_close(&s);
    for (long nth = 1; nth <= 4; nth++) { /* self, two buffers, a wider one */
        support_fail_nth(nth);
        assert_int_equal(rig_try(&s, f->path, false), RSL_ENOMEM);
        assert_int_equal(support_live(), f->live);
        if (nth > 1) assert_non_null(strstr(s.error, "out of memory"));
    }
    for (long nth = 1; nth <= 3; nth++) {
        rsl_saga_journal_report report;
        support_fail_nth(nth);
        assert_int_equal(rsl_saga_journal_read(f->path, &report, NULL, NULL, NULL, 0), RSL_ENOMEM);
        assert_int_equal(support_live(), f->live);
    }
    support_fail_nth(5);
    expect_journal(f, &f->book);
    assert_int_equal(support_taken(), 4);
    free(large);
}

/* The store itself and two buffers, whatever a length says that is damaged. */
static void reading_takes_no_more_memory_than_records_need(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    for (uint32_t i = 0; i < 4; i++) rig_add_batch(&s, &f->book, 1 + i * 1000, 1000, 200);
    rig_close(&s);
    support_fail_never();
    expect_journal(f, &f->book);
    assert_int_equal(support_taken(), 3);
    size_t size, last = START + 3999 * (FRAME + 200);
    uint8_t *bytes = bytes_of(file_of(f, "journal"), &size);
    rsl_le32_put_(bytes + last, 17 << 20);
    rsl_le32_put_(bytes + last + 4, ~(uint32_t)(17 << 20));
    write_file(file_of(f, "journal"), bytes, size);
    free(bytes);
    forget_bound(f);
    support_fail_never();
    assert_int_equal(rig_try(&s, f->path, false), RSL_ECORRUPT);
    assert_int_equal(support_taken(), 3);
}

static void no_memory_for_a_compaction_leaves_the_store_in_use(void **state)
{
    fixture *f = *state;
    rig_store s;
    uint8_t *large = calloc(1, 1 << 20);
    rsl_saga_record record = rig_record(4, 1, 1 << 20);
    record.data = large;
    rig_use(&s, f->path);
    support_fail_from(1); /* appending takes none */
    assert_int_equal(s.store.append(s.store.self, &record, 1), RSL_OK);
    notebook_add(&f->book, &record);
    assert_int_equal(rig_compact(&s), RSL_ENOMEM);
    rig_add(&s, &f->book, 5, 1, 10);
    notebook seen = {0};
    assert_int_equal(s.store.load(s.store.self, 0, notebook_visit, &seen), RSL_ENOMEM);
    notebook_free(&seen);
    support_fail_never();
    rig_expect(&s, &f->book);
    assert_int_equal(rig_compact(&s), RSL_OK);
    rig_add(&s, &f->book, 5, 2, 10);
    rig_close(&s);
    expect_journal(f, &f->book);
    free(large);
}

/* Files may not grow beyond this, as on a full disk. */
static void limit_files(rlim_t size)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_write_that_fails_poisons_until_the_next_open(void **state)
{
    fixture *f = *state;
    rig_store s;
    signal(SIGXFSZ, SIG_IGN);
    rig_use(&s, f->path);
    rig_add(&s, &f->book, 1, 1, 100);
    limit_files(STEP);
    rsl_saga_record record = rig_record(2, 1, 60000);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(s.store.append(s.store.self, &record, 1), RSL_OK);
        notebook_add(&f->book, &record);
    }
    assert_int_equal(s.store.append(s.store.self, &record, 1), RSL_EIO);
    assert_int_equal(errno, EFBIG);
    limit_files(RLIM_INFINITY);
    for (int i = 0; i < 2; i++) {
        errno = 0;
        assert_int_equal(rig_append(&s, 3, 1, 1), RSL_EIO);
        assert_int_equal(errno, EFBIG);
        errno = 0;
        assert_int_equal(rig_compact(&s), RSL_EIO);
        assert_int_equal(errno, EFBIG);
    }
    rig_expect(&s, &f->book); /* reading goes on */
    rig_close(&s);
    rig_use(&s, f->path);
    rig_expect(&s, &f->book);
    rig_add(&s, &f->book, 3, 1, 1);
    rig_close(&s);
}

/* Damage that comes while the journal is in use. */
static void a_compaction_that_finds_damage_poisons(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    for (uint32_t i = 1; i <= 3; i++) rig_add(&s, &f->book, i, 1, 100);
    damage(f, offset_of(1) + 70);
    notebook seen = {0};
    assert_int_equal(s.store.load(s.store.self, 0, notebook_visit, &seen), RSL_ECORRUPT);
    notebook_free(&seen);
    assert_int_equal(rig_compact(&s), RSL_ECORRUPT);
    assert_int_equal(rig_append(&s, 4, 1, 10), RSL_EIO);
    assert_int_equal(errno, EIO);
    rig_close(&s);
    expect_refused(f, RSL_ECORRUPT, "record 2 at offset 8352 is damaged");
}

static void a_journal_that_is_cut_while_in_use_is_told(void **state)
{
    fixture *f = *state;
    rig_store s;
    rig_use(&s, f->path);
    for (uint32_t i = 1; i <= 3; i++) rig_add(&s, &f->book, i, 1, 100);
    cut(f, offset_of(2));
    assert_int_equal(rig_compact(&s), RSL_ECORRUPT);
    rig_close(&s);
    expect_refused(f, RSL_ECORRUPT, "ends at offset 8512 before record 3, which was durable");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_crc_has_its_known_values),
        cmocka_unit_test(the_crc_goes_on_from_any_part),
        cmocka_unit_test(the_crc_by_tables_is_that_of_the_processor),
        TEST(a_new_folder_is_for_us_alone),
        TEST(a_new_journal_begins_at_one),
        TEST(a_uuid_is_random_and_says_so),
        TEST(the_uuid_stays_and_the_epoch_grows),
        TEST(an_epoch_that_was_not_taken_into_use_is_given_again),
        TEST(open_and_load_change_nothing_that_is_stored),
        TEST(calls_out_of_turn_are_refused),
        TEST(a_folder_that_cannot_be_made_says_why),
        TEST(a_path_in_the_working_folder_is_fine),
        TEST(records_come_back_as_they_were_appended),
        TEST(load_visits_one_saga_in_order_if_asked),
        TEST(what_visit_returns_ends_load),
        TEST(next_id_is_above_all_that_were_appended),
        TEST(next_id_outlives_what_a_compaction_drops),
        TEST(an_append_of_nothing_is_fine),
        TEST(a_record_that_cannot_be_is_refused_and_nothing_is_stored),
        TEST(large_records_come_back_and_are_compacted),
        TEST(success_leaves_errno_alone),
        TEST(compaction_keeps_what_it_is_told_to),
        TEST(keep_is_asked_once_for_each_record_in_order),
        TEST(what_a_killed_compaction_left_is_replaced),
        TEST(a_link_named_journal_new_is_not_followed),
        TEST(the_size_is_steady_when_as_much_ends_as_begins),
        TEST(the_file_grows_by_steps_of_zeros),
        TEST(a_journal_that_is_open_is_refused_to_others),
        TEST(a_lock_that_names_nobody_is_taken_all_the_same),
        TEST(another_process_is_kept_out_and_let_in_afterwards),
        TEST(what_a_killed_process_appended_is_there),
        TEST(a_forked_child_writes_nothing_not_even_a_seal),
        TEST(a_folder_behind_a_symbolic_link_is_refused),
        TEST(a_path_that_is_a_file_is_refused),
        TEST(a_folder_that_others_may_write_to_is_refused),
        TEST(files_that_others_may_write_to_are_refused),
        TEST(what_belongs_to_another_user_is_refused),
        TEST(files_that_are_not_plain_are_refused),
        TEST(a_newer_format_is_refused_with_its_number),
        TEST(a_version_that_is_only_damaged_is_damage),
        TEST(close_seals_so_that_the_last_record_is_known_durable),
        TEST(without_a_seal_the_last_append_may_be_torn),
        TEST(no_seal_is_written_where_the_header_says_it_all),
        TEST(a_torn_seal_is_a_torn_end),
        TEST(a_torn_end_is_cut_off_and_kept_aside),
        TEST(zeros_in_place_of_the_last_records_are_an_end),
        TEST(zeros_with_anything_behind_them_are_no_end),
        TEST(of_a_torn_append_nothing_behind_the_tear_is_taken),
        TEST(a_later_torn_end_replaces_the_one_kept_aside),
        TEST(damage_before_durable_records_is_told_with_its_place),
        TEST(a_record_that_was_taken_out_is_missed),
        TEST(a_record_of_another_journal_is_none),
        TEST(a_record_must_be_right_in_every_number),
        TEST(data_that_looks_like_records_is_not_taken_for_them),
        TEST(a_header_that_is_damaged_is_told),
        TEST(without_any_header_nothing_is_told_but_that),
        TEST(an_end_that_was_cut_off_between_records_is_missed),
        TEST(a_record_before_the_bound_is_damaged_and_not_torn),
        TEST(a_bound_that_is_torn_or_foreign_says_nothing),
        TEST(the_bound_holds_across_compactions),
        TEST(an_older_copy_of_the_journal_is_missed_records),
        TEST(a_journal_that_was_deleted_is_begun_anew),
        TEST(a_folder_copied_whole_is_as_good),
        TEST(salvage_takes_all_whole_records_also_behind_damage),
        TEST(salvage_of_a_sound_journal_is_like_any_opening),
        TEST(salvage_leaves_the_remainder_of_a_torn_append_alone),
        TEST(salvage_does_with_one_header),
        TEST(what_salvage_could_not_find_is_given_up_for_good),
        TEST(a_report_tells_of_a_sound_journal),
        TEST(a_report_visits_whole_records_behind_damage_too),
        TEST(a_report_is_not_written_unless_all_was_read),
        TEST(a_journal_that_grows_while_it_is_read_is_not_taken_for_corrupt),
        TEST(every_allocation_may_fail_once),
        TEST(reading_takes_no_more_memory_than_records_need),
        TEST(no_memory_for_a_compaction_leaves_the_store_in_use),
        TEST(a_write_that_fails_poisons_until_the_next_open),
        TEST(a_compaction_that_finds_damage_poisons),
        TEST(a_journal_that_is_cut_while_in_use_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
