/* SPDX-License-Identifier: MIT
   test_saga_sqlite.c: adapters/saga_sqlite.h on real files. The store: what struct rsl_saga_store
   promises, locks of other processes and of the application, fencing, processes killed in the
   midst of appends, every I/O call and every allocation failed. The barrier: all orders in which
   an action and its compensation can come, from one connection and from two. Both together:
   sagas that are killed in the midst of a step and go on at the next opening.                 */
#define _DEFAULT_SOURCE 1
#include "support/allocator.h"

#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"
#define RSL_SQLITE_IMPLEMENTATION
#define RSL_SAGA_SQLITE_IMPLEMENTATION
#include "adapters/saga_sqlite.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/support.h"

/* ------------------------------------------------------------------- faults
   A VFS over SQLite's own: it counts the calls that read or write something, and fails one of
   them, or all from one on, as when the process dies there. Syncs are counted and do nothing, for
   no test here cuts the power. */

typedef enum fault { FAULT_EIO, FAULT_FULL, FAULT_TORN, FAULT_DEATH } fault;

static struct {
    sqlite3_vfs       *real;
    sqlite3_vfs        vfs;
    sqlite3_io_methods methods;
    long               calls, fail_at; /* counted from 1; 0: none fails */
    long               syncs;
    fault              kind;
    bool               without_wal;    /* the files lack what WAL needs */
} faulty;

typedef struct faulty_file {
    sqlite3_file  base;
    sqlite3_file *real; /* behind this struct */
} faulty_file;

static bool faulty_fails(void)
{
    faulty.calls++;
    if (faulty.fail_at == 0) return false;
    return faulty.calls == faulty.fail_at ||
           (faulty.kind == FAULT_DEATH && faulty.calls > faulty.fail_at);
}

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((faulty_file *)(void *)file)->real;
}

static int faulty_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int faulty_read(sqlite3_file *file, void *to, int size, sqlite3_int64 at)
{
    if (faulty_fails()) return SQLITE_IOERR_READ;
    return real_of(file)->pMethods->xRead(real_of(file), to, size, at);
}

static int faulty_write(sqlite3_file *file, const void *from, int size, sqlite3_int64 at)
{
    if (faulty_fails()) {
        if (faulty.kind == FAULT_FULL) return SQLITE_FULL;
        if (faulty.kind == FAULT_TORN) {
            real_of(file)->pMethods->xWrite(real_of(file), from, size / 2, at);
        }
        return SQLITE_IOERR_WRITE;
    }
    return real_of(file)->pMethods->xWrite(real_of(file), from, size, at);
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (faulty_fails()) return SQLITE_IOERR_TRUNCATE;
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    (void)file;
    (void)flags;
    faulty.syncs++;
    return faulty_fails() ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *size)
{
    if (faulty_fails()) return SQLITE_IOERR_FSTAT;
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int faulty_lock(sqlite3_file *file, int level)
{
    if (faulty_fails()) return SQLITE_IOERR_LOCK;
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int faulty_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int faulty_reserved(sqlite3_file *file, int *result)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), result);
}

static int faulty_control(sqlite3_file *file, int what, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), what, arg);
}

static int faulty_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int faulty_traits(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int faulty_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **at)
{
    if (faulty_fails()) return SQLITE_IOERR_SHMMAP;
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, at);
}

static int faulty_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    if ((flags & SQLITE_SHM_LOCK) != 0 && faulty_fails()) return SQLITE_IOERR_SHMLOCK;
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void faulty_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int faulty_shm_unmap(sqlite3_file *file, int and_delete)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), and_delete);
}

static int faulty_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                       int *flags_out)
{
    (void)vfs;
    faulty_file *f = (faulty_file *)(void *)file;
    f->base.pMethods = NULL;
    if (faulty_fails()) return SQLITE_CANTOPEN;
    f->real = (sqlite3_file *)(void *)(f + 1);
    int code = faulty.real->xOpen(faulty.real, path, f->real, flags, flags_out);
    if (code == SQLITE_OK) f->base.pMethods = &faulty.methods;
    return code;
}

static int faulty_delete(sqlite3_vfs *vfs, const char *path, int sync)
{
    (void)vfs;
    if (faulty_fails()) return SQLITE_IOERR_DELETE;
    return faulty.real->xDelete(faulty.real, path, sync);
}

static int faulty_access(sqlite3_vfs *vfs, const char *path, int flags, int *result)
{
    (void)vfs;
    if (faulty_fails()) return SQLITE_IOERR_ACCESS;
    return faulty.real->xAccess(faulty.real, path, flags, result);
}

static void faulty_register(void)
{
    faulty.real = sqlite3_vfs_find(NULL);
    faulty.vfs = *faulty.real;
    faulty.vfs.zName = "faulty";
    faulty.vfs.szOsFile = (int)sizeof(faulty_file) + faulty.real->szOsFile;
    faulty.vfs.xOpen = faulty_open;
    faulty.vfs.xDelete = faulty_delete;
    faulty.vfs.xAccess = faulty_access;
    faulty.methods = (sqlite3_io_methods){
        2, faulty_close, faulty_read, faulty_write, faulty_truncate, faulty_sync, faulty_size,
        faulty_lock, faulty_unlock, faulty_reserved, faulty_control, faulty_sector, faulty_traits,
        faulty_shm_map, faulty_shm_lock, faulty_shm_barrier, faulty_shm_unmap, NULL, NULL};
    sqlite3_vfs_register(&faulty.vfs, 0);
}

static void faulty_set(fault kind, long nth)
{
    faulty.calls = 0;
    faulty.kind = kind;
    faulty.fail_at = nth;
}

/* SQLite's own allocator, of which one call, or each from one on, may fail. */
static sqlite3_mem_methods memory_real;
static long memory_calls, memory_fail_at; /* as above; one thread only while it is not 0 */
static bool memory_fails_on;

static bool memory_fails(void)
{
    if (memory_fail_at == 0) return false;
    memory_calls++;
    return memory_calls == memory_fail_at || (memory_fails_on && memory_calls > memory_fail_at);
}

static void *memory_malloc(int size)
{
    return memory_fails() ? NULL : memory_real.xMalloc(size);
}

static void *memory_realloc(void *block, int size)
{
    return memory_fails() ? NULL : memory_real.xRealloc(block, size);
}

static void memory_set(long nth, bool on)
{
    memory_calls = 0;
    memory_fail_at = nth;
    memory_fails_on = on;
}

static void memory_configure(void)
{
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory_real);
    sqlite3_mem_methods ours = memory_real;
    ours.xMalloc = memory_malloc;
    ours.xRealloc = memory_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
}

/* ------------------------------------------------------------------- helpers */

enum { RECORDS_MAX = 4096, DATA_MAX = 32 };

typedef struct fixture {
    char              folder[256], path[300], lock[340];
    sqlite3          *db; /* a connection of the application; made when asked for */
    rsl_saga_store    store;
    rsl_saga_opening  opening;
    bool              is_open;
    rsl_sagas        *sagas;      /* over a store of their own; NULL: closed */
    char              error[300];
    int               told;       /* what the store's config.failed was told last */
    int               tellings;
} fixture;

static void on_failed(void *user, int code, const char *message)
{
    fixture *f = user;
    f->told = code;
    f->tellings++;
    assert_non_null(message);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL) return -1;
    const char *tmp = getenv("TMPDIR");
    snprintf(f->folder, sizeof f->folder, "%.200s/rsl_sagas_XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(f->folder) == NULL) return -1;
    snprintf(f->path, sizeof f->path, "%s/shop.db", f->folder);
    snprintf(f->lock, sizeof f->lock, "%s-rsl_sagas.lock", f->path);
    *state = f;
    return 0;
}

static void remove_files(fixture *f)
{
    DIR *folder = opendir(f->folder);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[600];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", f->folder, entry->d_name);
        if (unlink(path) != 0) rmdir(path);
    }
    closedir(folder);
}

static void close_store(fixture *f)
{
    if (f->is_open) f->store.close(f->store.self);
    f->is_open = false;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    faulty_set(FAULT_EIO, 0);
    memory_set(0, false);
    if (f->sagas != NULL) rsl_sagas_close(f->sagas, NULL); /* the test has failed */
    close_store(f);
    rsl_sqlite_close(f->db);
    remove_files(f);
    int failed = rmdir(f->folder);
    free(f);
    return failed || support_live() != 0;
}

static rsl_saga_sqlite_config config_of(fixture *f)
{
    rsl_saga_sqlite_config config = {
        .path = f->path, .vfs = "faulty", .busy_timeout = RSL_SEC(20), .failed = on_failed,
        .user = f};
    return config;
}

/* Fills the store and opens it; after a failure too it is to be closed. */
static int try_open_as(fixture *f, const rsl_saga_sqlite_config *config, bool salvage)
{
    close_store(f);
    assert_int_equal(rsl_saga_sqlite_open(&f->store, config), RSL_OK);
    f->is_open = true;
    f->error[0] = 0;
    return f->store.open(f->store.self, salvage, &f->opening, f->error, sizeof f->error);
}

static int try_open(fixture *f)
{
    rsl_saga_sqlite_config config = config_of(f);
    return try_open_as(f, &config, false);
}

static bool keep_all(void *user, const rsl_saga_record *record)
{
    (void)user;
    (void)record;
    return true;
}

static bool keep_none(void *user, const rsl_saga_record *record)
{
    (void)user;
    (void)record;
    return false;
}

static int take_into_use(fixture *f)
{
    return f->store.compact(f->store.self, keep_all, NULL, 0);
}

static void open_store(fixture *f)
{
    assert_int_equal(try_open(f), RSL_OK);
    assert_int_equal(take_into_use(f), RSL_OK);
}

static void reopen(fixture *f)
{
    close_store(f);
    open_store(f);
}

static rsl_saga_sqlite_ *inner(fixture *f)
{
    return f->store.self;
}

static sqlite3 *application(fixture *f)
{
    if (f->db == NULL) {
        rsl_sqlite_config config = {.path = f->path, .wal = true,
                                    .pragmas = "PRAGMA synchronous=OFF"};
        assert_int_equal(rsl_sqlite_open(&f->db, NULL, &config), RSL_OK);
    }
    return f->db;
}

static void must(sqlite3 *db, const char *sql)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (code != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

static int64_t number_of(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

/* A record whose data says which it is. */
static rsl_saga_record record_of(const fixture *f, rsl_saga_id saga, uint32_t number)
{
    static char texts[64][DATA_MAX];
    static unsigned next;
    char *text = texts[next++ % 64];
    int size = snprintf(text, DATA_MAX, "%u of saga %u", number, (unsigned)saga);
    rsl_saga_record record = {saga, f->opening.epoch, number, RSL_SAGA_RUNNING, text,
                              (size_t)size, RSL_EINVAL};
    return record;
}

static int append_one(fixture *f, rsl_saga_id saga, uint32_t number)
{
    rsl_saga_record record = record_of(f, saga, number);
    int code = f->store.append(f->store.self, &record, 1);
    if (code == RSL_OK) assert_int_equal(record.status, RSL_OK);
    return code;
}

static void append_many(fixture *f, rsl_saga_id first, rsl_saga_id last, uint32_t numbers)
{
    for (rsl_saga_id saga = first; saga <= last; saga++) {
        rsl_saga_record records[64];
        assert_true(numbers <= RSL_COUNT(records));
        for (uint32_t i = 0; i < numbers; i++) records[i] = record_of(f, saga, i + 1);
        assert_int_equal(f->store.append(f->store.self, records, numbers), RSL_OK);
    }
}

/* What load gives, or keep is shown. */
typedef struct listing {
    size_t          count;
    rsl_saga_record records[RECORDS_MAX];
    char            data[RECORDS_MAX][DATA_MAX];
    size_t          stop_after; /* 0: never */
    int             then;       /* what visit returns at that record */
} listing;

static void list_add(listing *list, const rsl_saga_record *record)
{
    assert_true(list->count < RECORDS_MAX);
    list->records[list->count] = *record;
    size_t size = record->size < DATA_MAX ? record->size : DATA_MAX;
    if (size > 0) memcpy(list->data[list->count], record->data, size);
    list->records[list->count].data = list->data[list->count];
    list->count++;
}

static int visit(void *user, const rsl_saga_record *record)
{
    listing *list = user;
    list_add(list, record);
    return list->count == list->stop_after ? list->then : RSL_OK;
}

static listing list_; /* one test at a time */

static listing *load(fixture *f, rsl_saga_id saga)
{
    memset(&list_, 0, sizeof list_);
    assert_int_equal(f->store.load(f->store.self, saga, visit, &list_), RSL_OK);
    return &list_;
}

static int load_code(fixture *f)
{
    memset(&list_, 0, sizeof list_);
    return f->store.load(f->store.self, 0, visit, &list_);
}

static bool is_record(const rsl_saga_record *record, const fixture *f, rsl_saga_id saga,
                      uint32_t number)
{
    rsl_saga_record as = record_of(f, saga, number);
    return record->saga == saga && record->number == number && record->size == as.size &&
           record->state == as.state && memcmp(record->data, as.data, as.size) == 0;
}

static bool has_record(const listing *list, const fixture *f, rsl_saga_id saga, uint32_t number)
{
    for (size_t i = 0; i < list->count; i++) {
        if (is_record(&list->records[i], f, saga, number)) return true;
    }
    return false;
}

/* A child process that runs the function and then sleeps until it is killed. The function says
   through tell() how far it is. Of a test that fails, it ends with the parent. */
typedef struct child {
    pid_t id;
    int   from, hold; /* the ends of two pipes; nothing is ever written to hold */
} child;

static int tell_to_, held_by_;

static void tell(uint32_t number)
{
    if (write(tell_to_, &number, sizeof number) != sizeof number) _exit(1);
}

static void sleep_until_killed(void)
{
    char byte;
    if (read(held_by_, &byte, 1) <= 0) _exit(1);
}

static child start_child(fixture *f, void (*run)(fixture *f))
{
    int ends[2], life[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(pipe(life), 0);
    child c = {fork(), ends[0], life[1]};
    assert_true(c.id >= 0);
    if (c.id == 0) {
        close(ends[0]);
        close(life[1]);
        tell_to_ = ends[1];
        held_by_ = life[0];
        run(f);
        sleep_until_killed();
    }
    close(ends[1]);
    close(life[0]);
    return c;
}

/* The next number that the child tells; 0 when it has ended. */
static uint32_t hear(child *c)
{
    uint32_t number;
    return read(c->from, &number, sizeof number) == sizeof number ? number : 0;
}

/* Kills it, and gives the last number that it told. */
static uint32_t kill_child(child *c, uint32_t last)
{
    kill(c->id, SIGKILL);
    int status;
    assert_int_equal(waitpid(c->id, &status, 0), c->id);
    assert_true(WIFSIGNALED(status));
    for (uint32_t number; (number = hear(c)) != 0;) last = number;
    close(c->from);
    close(c->hold);
    return last;
}

/* ------------------------------------------------------------------- configuration */

static void each_bad_field_of_a_config_is_refused_by_its_name(void **state)
{
    (void)state;
    static const struct { rsl_saga_sqlite_config config; const char *field; } bad[] = {
        {{.path = NULL}, "path:"},
        {{.path = ""}, "path:"},
        {{.path = ":memory:"}, "path:"},
        {{.path = "file:x?mode=ro"}, "path:"},
        {{.path = "x", .prefix = "Rsl_"}, "prefix:"},
        {{.path = "x", .prefix = "a b"}, "prefix:"},
        {{.path = "x", .prefix = "a'b"}, "prefix:"},
        {{.path = "x", .prefix = "1a"}, "prefix:"},
        {{.path = "x", .prefix = "sqlite_"}, "prefix:"},
        {{.path = "x", .prefix = "a23456789b123456789c123456789d12"}, "prefix:"},
        {{.path = "x", .busy_timeout = -2}, "busy_timeout:"},
        {{.path = "x", .busy_timeout = RSL_FOREVER}, "busy_timeout:"}};
    rsl_saga_store store;
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        const char *why = rsl_saga_sqlite_config_check(&bad[i].config);
        assert_non_null(why);
        assert_int_equal(strncmp(why, bad[i].field, strlen(bad[i].field)), 0);
        assert_int_equal(rsl_saga_sqlite_open(&store, &bad[i].config), RSL_EINVAL);
    }
    assert_non_null(rsl_saga_sqlite_config_check(NULL));
    assert_int_equal(rsl_saga_sqlite_open(&store, NULL), RSL_EINVAL);
    rsl_saga_sqlite_config good = {.path = "x", .prefix = "a23456789b123456789c123456789d1"};
    assert_null(rsl_saga_sqlite_config_check(&good));
    assert_int_equal(rsl_saga_sqlite_open(NULL, &good), RSL_EINVAL);
}

static void a_zeroed_config_means_the_documented_defaults(void **state)
{
    (void)state;
    rsl_saga_sqlite_config zeroed = {.path = "x"}, never = {.path = "x", .busy_timeout = RSL_NONE};
    rsl_saga_sqlite_config c = rsl_saga_sqlite_config_resolve(&zeroed);
    assert_string_equal(c.path, "x");
    assert_string_equal(c.prefix, "rsl_");
    assert_null(c.vfs);
    assert_int_equal(c.busy_timeout, RSL_SEC(60));
    assert_int_equal(rsl_saga_sqlite_config_resolve(&never).busy_timeout, 0);
    assert_null(rsl_saga_sqlite_config_check(&zeroed));
    assert_null(rsl_saga_sqlite_config_check(&never));
}

static void a_store_copies_its_config_and_touches_no_file_before_it_is_opened(void **state)
{
    fixture *f = *state;
    char path[300], prefix[] = "a_", vfs[] = "unix";
    snprintf(path, sizeof path, "%s", f->path);
    rsl_saga_sqlite_config config = {.path = path, .prefix = prefix, .vfs = vfs};
    assert_int_equal(rsl_saga_sqlite_open(&f->store, &config), RSL_OK);
    f->is_open = true;
    memset(path, 'x', sizeof path);
    memset(prefix, 'x', sizeof prefix);
    memset(vfs, 'x', sizeof vfs);
    assert_int_equal(access(f->path, F_OK), -1);
    assert_int_equal(f->store.open(f->store.self, false, &f->opening, NULL, 0), RSL_OK);
    assert_int_equal(number_of(application(f), "SELECT count(*) FROM a_meta"), 1);
}

static void a_store_that_is_exclusive_has_none_of_the_functions_of_a_shared_one(void **state)
{
    fixture *f = *state;
    assert_int_equal(try_open(f), RSL_OK);
    const rsl_saga_store *s = &f->store;
    assert_true(s->open && s->load && s->append && s->compact && s->close);
    assert_false(s->begin || s->claim || s->renew || s->cancel || s->list);
}

static void what_needs_an_open_store_is_refused_before_that(void **state)
{
    fixture *f = *state;
    rsl_saga_sqlite_config config = config_of(f);
    assert_int_equal(rsl_saga_sqlite_open(&f->store, &config), RSL_OK);
    f->is_open = true;
    f->opening.epoch = 1;
    assert_int_equal(load_code(f), RSL_EINVAL);
    assert_int_equal(append_one(f, 1, 1), RSL_EINVAL);
    assert_int_equal(take_into_use(f), RSL_EINVAL);
}

/* ------------------------------------------------------------------- open */

static void a_new_store_begins_with_a_uuid_of_its_own_and_ones(void **state)
{
    fixture *f = *state;
    char first[37];
    open_store(f);
    assert_int_equal(f->opening.epoch, 1);
    assert_int_equal(f->opening.next_id, 1);
    memcpy(first, f->opening.uuid, sizeof first);
    assert_int_equal(strlen(first), 36);
    assert_int_equal(strspn(first, "0123456789abcdef-"), 36);
    for (size_t i = 0; i < 36; i++) {
        assert_int_equal(first[i] == '-', i == 8 || i == 13 || i == 18 || i == 23);
    }
    assert_int_equal(first[14], '4');
    assert_non_null(strchr("89ab", first[19]));

    close_store(f);
    remove_files(f);
    open_store(f);
    assert_string_not_equal(first, f->opening.uuid);
}

static void the_uuid_stays_and_the_epoch_grows_with_each_opening_in_use(void **state)
{
    fixture *f = *state;
    char uuid[37];
    open_store(f);
    memcpy(uuid, f->opening.uuid, sizeof uuid);
    for (uint64_t epoch = 2; epoch < 5; epoch++) {
        reopen(f);
        assert_string_equal(f->opening.uuid, uuid);
        assert_int_equal(f->opening.epoch, epoch);
    }
}

static void opening_alone_changes_nothing_that_is_stored(void **state)
{
    fixture *f = *state;
    open_store(f);
    append_many(f, 1, 3, 4);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(try_open(f), RSL_OK);
        assert_int_equal(f->opening.epoch, 2);
        assert_int_equal(f->opening.next_id, 4);
        assert_int_equal(load(f, 0)->count, 12);
        assert_int_equal(number_of(application(f), "SELECT epoch FROM rsl_meta"), 1);
    }
}

static void the_opening_tells_the_time_of_day(void **state)
{
    fixture *f = *state;
    assert_int_equal(try_open(f), RSL_OK);
    rsl_time off = f->opening.now - RSL_SEC(time(NULL)); /* somebody may be setting the clock */
    assert_true(off > -RSL_SEC(3600) && off < RSL_SEC(3600));
}

static void the_durable_way_of_writing_is_in_force(void **state)
{
    fixture *f = *state;
    rsl_saga_sqlite_config config = config_of(f);
    config.vfs = NULL;
    assert_int_equal(try_open_as(f, &config, false), RSL_OK);
    sqlite3 *db = inner(f)->db;
    assert_int_equal(number_of(db, "PRAGMA synchronous"), 2);
    assert_int_equal(number_of(db, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    assert_int_equal(number_of(db, "PRAGMA busy_timeout"), 20000);
    assert_int_equal(number_of(db, "PRAGMA journal_size_limit"), 16 * 1024 * 1024);
}

static void no_busy_timeout_means_none(void **state)
{
    fixture *f = *state;
    rsl_saga_sqlite_config config = config_of(f);
    config.busy_timeout = RSL_NONE;
    assert_int_equal(try_open_as(f, &config, false), RSL_OK);
    assert_int_equal(number_of(inner(f)->db, "PRAGMA busy_timeout"), 0);
}

static void another_prefix_is_another_store_in_the_same_file(void **state)
{
    fixture *f = *state;
    open_store(f);
    append_many(f, 1, 2, 2);
    fixture g = *f;
    g.is_open = false;
    rsl_saga_sqlite_config config = config_of(&g);
    config.prefix = "other_";
    assert_int_equal(try_open_as(&g, &config, false), RSL_OK);
    assert_int_equal(take_into_use(&g), RSL_OK);
    assert_string_not_equal(g.opening.uuid, f->opening.uuid);
    assert_int_equal(load(&g, 0)->count, 0);
    assert_int_equal(append_one(&g, 1, 1), RSL_OK);
    assert_int_equal(load(&g, 0)->count, 1);
    assert_int_equal(load(f, 0)->count, 4);
    close_store(&g);
}

static void the_tables_of_the_application_are_left_alone(void **state)
{
    fixture *f = *state;
    must(application(f), "CREATE TABLE stock(n); INSERT INTO stock VALUES(10)");
    open_store(f);
    append_many(f, 1, 9, 9);
    must(f->db, "UPDATE stock SET n = n - 1");
    assert_int_equal(f->store.compact(f->store.self, keep_none, NULL, 0), RSL_OK);
    assert_int_equal(number_of(f->db, "SELECT n FROM stock"), 9);
}

static void a_store_is_opened_once(void **state)
{
    fixture *f = *state;
    assert_int_equal(try_open(f), RSL_OK);
    assert_int_equal(f->store.open(f->store.self, false, &f->opening, f->error, sizeof f->error),
                     RSL_EINVAL);
    assert_non_null(strstr(f->error, f->path));
}

static void a_sentence_names_the_file_and_is_cut_to_its_room(void **state)
{
    fixture *f = *state;
    rsl_saga_sqlite_config config = config_of(f);
    config.path = "/no/such/folder/shop.db";
    assert_int_equal(try_open_as(f, &config, false), RSL_EIO);
    assert_string_equal(f->error, "/no/such/folder/shop.db: cannot be opened (SQLITE_CANTOPEN)");

    char small[9] = "12345678";
    close_store(f);
    assert_int_equal(rsl_saga_sqlite_open(&f->store, &config), RSL_OK);
    f->is_open = true;
    assert_int_equal(f->store.open(f->store.self, false, &f->opening, small, 5), RSL_EIO);
    assert_string_equal(small, "/no/");
    assert_string_equal(small + 5, "678");
}

/* ------------------------------------------------------------------- whose it is */

static void a_second_opening_in_the_same_process_is_fenced(void **state)
{
    fixture *f = *state;
    open_store(f);
    fixture g = *f;
    g.is_open = false;
    assert_int_equal(try_open(&g), RSL_EFENCED);
    assert_non_null(strstr(g.error, f->lock));
    close_store(&g);
    assert_int_equal(append_one(f, 1, 1), RSL_OK); /* nobody took the lock from the first */
    close_store(f);
    assert_int_equal(try_open(&g), RSL_OK);
    close_store(&g);
}

static void open_and_tell(fixture *f)
{
    f->is_open = false; /* what the parent had is not the child's */
    if (try_open(f) == RSL_OK) tell(1);
}

static void another_process_is_fenced_until_the_first_one_dies(void **state)
{
    fixture *f = *state;
    child c = start_child(f, open_and_tell);
    assert_int_equal(hear(&c), 1);
    assert_int_equal(try_open(f), RSL_EFENCED);
    kill_child(&c, 0);
    open_store(f);
    assert_int_equal(append_one(f, 1, 1), RSL_OK);
}

static void wait_for_the_end(fixture *f)
{
    (void)f;
    tell(1);
}

static void a_forked_child_does_not_keep_the_lock_of_a_store_that_was_closed(void **state)
{
    fixture *f = *state;
    open_store(f);
    child c = start_child(f, wait_for_the_end);
    assert_int_equal(hear(&c), 1);
    close_store(f);
    assert_int_equal(try_open(f), RSL_OK);
    kill_child(&c, 0);
}

static void the_lock_is_private_and_its_file_stays(void **state)
{
    fixture *f = *state;
    struct stat found;
    assert_int_equal(try_open(f), RSL_OK);
    close_store(f);
    assert_int_equal(stat(f->lock, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    assert_int_equal(found.st_size, 0);
}

static void one_file_has_one_lock_by_whichever_name_it_is_opened(void **state)
{
    fixture *f = *state;
    open_store(f);
    fixture g = *f;
    g.is_open = false;
    snprintf(g.path, sizeof g.path, "%.250s/link.db", f->folder);
    assert_int_equal(symlink(f->path, g.path), 0);
    assert_int_equal(try_open(&g), RSL_EFENCED);
    close_store(&g);
}

static void what_lies_in_the_place_of_the_lock_is_not_followed(void **state)
{
    fixture *f = *state;
    char target[300];
    snprintf(target, sizeof target, "%.250s/target", f->folder);
    assert_int_equal(symlink(target, f->lock), 0);
    assert_int_equal(try_open(f), RSL_EINVAL);
    assert_non_null(strstr(f->error, "symbolic link"));
    assert_int_equal(access(target, F_OK), -1);
    unlink(f->lock);

    assert_int_equal(mkdir(f->lock, 0700), 0);
    errno = 0;
    assert_int_equal(try_open(f), RSL_ESYS);
    assert_int_equal(errno, EISDIR);
    rmdir(f->lock);

    assert_int_equal(mkfifo(f->lock, 0600), 0);
    assert_int_equal(try_open(f), RSL_EINVAL);
    assert_non_null(strstr(f->error, "plain file"));
}

static void errno_says_why_until_the_store_is_closed(void **state)
{
    fixture *f = *state;
    assert_int_equal(mkdir(f->lock, 0700), 0);
    assert_int_equal(try_open(f), RSL_ESYS);
    errno = EISDIR;
    close_store(f);
    assert_int_equal(errno, EISDIR);
}

/* As if the lock were of no use: its file is deleted while it is held. */
static void take_over(fixture *f, fixture *g)
{
    *g = *f;
    g->is_open = false;
    assert_int_equal(unlink(f->lock), 0);
    open_store(g);
}

static void a_store_that_was_taken_over_appends_nothing_more(void **state)
{
    fixture *f = *state, g;
    open_store(f);
    append_many(f, 1, 1, 2);
    take_over(f, &g);
    rsl_saga_record records[] = {record_of(f, 1, 3), record_of(f, 2, 1)};
    assert_int_equal(f->store.append(f->store.self, records, 2), RSL_OK);
    assert_int_equal(records[0].status, RSL_EFENCED);
    assert_int_equal(records[1].status, RSL_EFENCED);
    assert_int_equal(append_one(&g, 1, 3), RSL_OK);
    records[0].epoch = g.opening.epoch; /* nor by the new owner's number */
    assert_int_equal(f->store.append(f->store.self, records, 2), RSL_OK);
    assert_int_equal(records[0].status, RSL_EFENCED);
    assert_int_equal(load(&g, 0)->count, 3);
    close_store(&g);
}

static void a_store_that_was_taken_over_drops_nothing_more(void **state)
{
    fixture *f = *state, g;
    open_store(f);
    append_many(f, 1, 1, 2);
    take_over(f, &g);
    assert_int_equal(f->store.compact(f->store.self, keep_none, NULL, 0), RSL_EFENCED);
    assert_int_equal(f->told, RSL_EFENCED);
    assert_int_equal(load(&g, 0)->count, 2);
    close_store(&g);
}

static void of_two_that_opened_at_once_one_takes_the_store_into_use(void **state)
{
    fixture *f = *state, g;
    assert_int_equal(try_open(f), RSL_OK);
    take_over(f, &g);
    assert_int_equal(g.opening.epoch, f->opening.epoch);
    assert_int_equal(take_into_use(f), RSL_EFENCED);
    assert_int_equal(append_one(&g, 1, 1), RSL_OK);
    close_store(&g);
}

static void a_record_of_an_older_epoch_is_left_out_and_the_others_are_stored(void **state)
{
    fixture *f = *state;
    open_store(f);
    reopen(f);
    rsl_saga_record records[] = {record_of(f, 1, 1), record_of(f, 2, 1), record_of(f, 3, 1)};
    records[1].epoch--;
    assert_int_equal(f->store.append(f->store.self, records, 3), RSL_OK);
    assert_int_equal(records[0].status, RSL_OK);
    assert_int_equal(records[1].status, RSL_EFENCED);
    assert_int_equal(records[2].status, RSL_OK);
    const listing *list = load(f, 0);
    assert_int_equal(list->count, 2);
    assert_false(has_record(list, f, 2, 1));
    records[1].epoch += 2;
    assert_int_equal(f->store.append(f->store.self, records, 3), RSL_OK);
    assert_int_equal(records[1].status, RSL_EFENCED);
}

/* ------------------------------------------------------------------- what opening finds wrong */

static void spoil(fixture *f, const char *sql)
{
    open_store(f);
    append_many(f, 1, 3, 3);
    close_store(f);
    must(application(f), sql);
}

static void tables_of_a_newer_version_are_refused(void **state)
{
    fixture *f = *state;
    spoil(f, "UPDATE rsl_meta SET version = 2");
    assert_int_equal(try_open(f), RSL_EINVAL);
    assert_non_null(strstr(f->error, "newer"));
}

static void tables_with_other_columns_are_refused(void **state)
{
    fixture *f = *state;
    must(application(f), "CREATE TABLE rsl_meta(n); CREATE TABLE rsl_records(n)");
    assert_int_equal(try_open(f), RSL_EINVAL);
}

static void one_table_without_the_other_is_a_loss_and_not_a_new_store(void **state)
{
    fixture *f = *state;
    spoil(f, "DROP TABLE rsl_records");
    assert_int_equal(try_open(f), RSL_ECORRUPT);
}

static void a_meta_row_that_is_missing_or_makes_no_sense_is_damage(void **state)
{
    fixture *f = *state;
    static const char *const ways[] = {
        "DELETE FROM rsl_meta", "UPDATE rsl_meta SET uuid = 'short'",
        "UPDATE rsl_meta SET epoch = -1", "UPDATE rsl_meta SET epoch = 9223372036854775807",
        "UPDATE rsl_meta SET epoch = 7", "UPDATE rsl_meta SET next_id = 0",
        "UPDATE rsl_meta SET next_id = next_id + 1", "UPDATE rsl_meta SET version = 0",
        "UPDATE rsl_meta SET uuid = substr(uuid, 2, 35) || 'a'", "UPDATE rsl_meta SET sum = 1"};
    for (size_t i = 0; i < RSL_COUNT(ways); i++) {
        remove_files(f);
        spoil(f, ways[i]);
        rsl_sqlite_close(f->db);
        f->db = NULL;
        assert_int_equal(try_open(f), RSL_ECORRUPT);
        assert_non_null(strstr(f->error, f->path));
        close_store(f);
    }
}

static void a_file_that_is_no_database_is_damage(void **state)
{
    fixture *f = *state;
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++) fputs("this is no database ", file);
    fclose(file);
    assert_int_equal(try_open(f), RSL_ECORRUPT);
    assert_non_null(strstr(f->error, "SQLITE_NOTADB"));
}

static void a_database_that_cannot_have_wal_mode_is_refused(void **state)
{
    fixture *f = *state;
    rsl_saga_sqlite_config config = config_of(f);
    faulty.methods.iVersion = 1; /* without shared memory */
    int code = try_open_as(f, &config, false);
    faulty.methods.iVersion = 2;
    assert_int_equal(code, RSL_EINVAL);
    assert_non_null(strstr(f->error, "WAL"));
}

static void opening_waits_for_a_lock_no_longer_than_the_busy_timeout(void **state)
{
    fixture *f = *state;
    must(application(f), "BEGIN IMMEDIATE");
    rsl_saga_sqlite_config config = config_of(f);
    config.busy_timeout = RSL_MS(30);
    assert_int_equal(try_open_as(f, &config, false), RSL_EIO);
    assert_non_null(strstr(f->error, "SQLITE_BUSY"));
    must(f->db, "COMMIT");
    assert_int_equal(try_open_as(f, &config, false), RSL_OK);
}

/* Overwrites every byte of a page of the records' table, but for page 1. */
static void a_damaged_page_of_the_table_shows_at_open(void **state)
{
    fixture *f = *state;
    spoil(f, "PRAGMA wal_checkpoint(TRUNCATE)");
    int64_t root = number_of(f->db, "SELECT rootpage FROM sqlite_master WHERE name = "
                                    "'rsl_records'");
    int64_t size = number_of(f->db, "PRAGMA page_size");
    rsl_sqlite_close(f->db);
    f->db = NULL;
    FILE *file = fopen(f->path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)((root - 1) * size), SEEK_SET), 0);
    for (int64_t i = 0; i < size; i++) fputc(0x5A, file);
    fclose(file);
    assert_int_equal(try_open(f), RSL_ECORRUPT);
}

/* ------------------------------------------------------------------- load */

static void records_come_back_as_they_were_by_saga_and_number(void **state)
{
    fixture *f = *state;
    open_store(f);
    append_many(f, 7, 9, 3);
    append_many(f, 1, 2, 3);
    assert_int_equal(append_one(f, 8, 4), RSL_OK);
    for (int again = 0; again < 2; again++) {
        const listing *list = load(f, 0);
        assert_int_equal(list->count, 16);
        for (size_t i = 0, saga = 1, number = 1; i < 16; i++) {
            assert_true(is_record(&list->records[i], f, saga, (uint32_t)number));
            assert_int_equal(list->records[i].epoch, 1);
            assert_int_equal(list->records[i].status, RSL_OK);
            if (number++ < (saga == 8 ? 4u : 3u)) continue;
            saga = saga == 2 ? 7 : saga + 1;
            number = 1;
        }
        reopen(f);
    }
}

static void the_records_of_one_saga_come_alone(void **state)
{
    fixture *f = *state;
    open_store(f);
    append_many(f, 1, 3, 2);
    const listing *list = load(f, 2);
    assert_int_equal(list->count, 2);
    assert_true(is_record(&list->records[0], f, 2, 1) && is_record(&list->records[1], f, 2, 2));
    assert_int_equal(load(f, 4)->count, 0);
    assert_int_equal(f->store.load(f->store.self, UINT64_MAX, visit, &list_), RSL_EINVAL);
    assert_int_equal(f->store.load(f->store.self, 0, NULL, NULL), RSL_EINVAL);
}

static int visit_large(void *user, const rsl_saga_record *record)
{
    const unsigned char *data = record->data;
    for (size_t i = 0; i < record->size; i++) {
        if (data[i] != (unsigned char)(i * 7 >> 3)) return RSL_EINVAL;
    }
    size_t *total = user;
    *total += record->size;
    return RSL_OK;
}

static void every_size_and_number_that_can_be_comes_back(void **state)
{
    fixture *f = *state;
    static unsigned char data[1 << 20];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 7 >> 3);
    open_store(f);
    size_t sizes[] = {0, 1, 7, 8, 9, 1000, 5000, sizeof data}, total = 0, sum = 0;
    for (size_t i = 0; i < RSL_COUNT(sizes); i++) {
        rsl_saga_record record = {INT64_MAX - 1, 1, UINT32_MAX - (uint32_t)i, RSL_SAGA_ABANDONED,
                                  sizes[i] > 0 ? data : NULL, sizes[i], 0};
        assert_int_equal(f->store.append(f->store.self, &record, 1), RSL_OK);
        sum += sizes[i];
    }
    assert_int_equal(f->store.load(f->store.self, 0, visit_large, &total), RSL_OK);
    assert_int_equal(total, sum);
    const listing *list = load(f, INT64_MAX - 1);
    assert_int_equal(list->count, RSL_COUNT(sizes));
    assert_int_equal(list->records[7].number, UINT32_MAX);
    assert_int_equal(list->records[7].state, RSL_SAGA_ABANDONED);
    assert_int_equal(list->records[7].size, 0);
}

static void what_visit_returns_ends_the_load_and_comes_back(void **state)
{
    fixture *f = *state;
    static const int results[] = {RSL_ENOMEM, RSL_ECORRUPT, SQLITE_DONE, SQLITE_ERROR, 42};
    rsl_saga_sqlite_config config = config_of(f);
    open_store(f);
    append_many(f, 1, 3, 3);
    assert_int_equal(try_open_as(f, &config, true), RSL_OK);
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        memset(&list_, 0, sizeof list_);
        list_.stop_after = 4;
        list_.then = results[i];
        assert_int_equal(f->store.load(f->store.self, 0, visit, &list_), results[i]);
        assert_int_equal(list_.count, 4);
    }
    assert_int_equal(f->tellings, 0);
    assert_int_equal(load(f, 0)->count, 9);
}

static void a_changed_value_in_a_row_is_damage_and_salvage_passes_it_over(void **state)
{
    fixture *f = *state;
    static const char *const ways[] = {
        "SET saga = 9", "SET number = 9", "SET number = number + 4294967296", "SET epoch = 2",
        "SET epoch = 0", "SET state = 1", "SET state = state + 4294967296", "SET sum = sum + 1",
        "SET data = x'00'", "SET data = substr(data, 1, length(data) - 1)",
        "SET data = data || 'x'", "SET data = x''", "SET saga = -2", "SET number = 0"};
    for (size_t i = 0; i < RSL_COUNT(ways); i++) {
        char sql[200];
        snprintf(sql, sizeof sql, "UPDATE rsl_records %s WHERE saga = 2 AND number = 2", ways[i]);
        spoil(f, sql);
        assert_int_equal(try_open(f), RSL_OK);
        assert_int_equal(load_code(f), RSL_ECORRUPT);
        assert_int_equal(f->tellings, 1);
        f->tellings = 0;

        rsl_saga_sqlite_config config = config_of(f);
        assert_int_equal(try_open_as(f, &config, true), RSL_OK);
        const listing *list = load(f, 0);
        assert_int_equal(list->count, 8);
        assert_false(has_record(list, f, 2, 2));
        assert_int_equal(take_into_use(f), RSL_OK);
        assert_int_equal(try_open(f), RSL_OK);
        assert_int_equal(load(f, 0)->count, 8);

        close_store(f);
        rsl_sqlite_close(f->db);
        f->db = NULL;
        remove_files(f);
    }
}

static void damage_that_was_not_read_before_ends_a_compaction(void **state)
{
    fixture *f = *state;
    open_store(f);
    append_many(f, 1, 2, 2);
    must(application(f), "UPDATE rsl_records SET state = 3 WHERE saga = 2");
    assert_int_equal(f->store.compact(f->store.self, keep_none, NULL, 0), RSL_ECORRUPT);
    assert_int_equal(number_of(f->db, "SELECT count(*) FROM rsl_records"), 4);
}

/* A file of a few small pages. */
typedef struct image { size_t size; unsigned char bytes[16 * 512]; } image;

static void image_read(fixture *f, image *as)
{
    FILE *file = fopen(f->path, "rb");
    assert_non_null(file);
    as->size = fread(as->bytes, 1, sizeof as->bytes, file);
    assert_true(as->size < sizeof as->bytes);
    fclose(file);
}

static void image_write(fixture *f, const image *as)
{
    remove_files(f);
    FILE *file = fopen(f->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(as->bytes, 1, as->size, file), as->size);
    fclose(file);
}

/* Makes a store of nine records in pages of 512 bytes. */
static void small_pages(fixture *f, image *whole, size_t roots[2])
{
    rsl_sqlite_config small = {.path = f->path,
                               .pragmas = "PRAGMA page_size = 512; PRAGMA synchronous=OFF"};
    assert_int_equal(rsl_sqlite_open(&f->db, NULL, &small), RSL_OK);
    must(f->db, "CREATE TABLE t(x)");
    spoil(f, "PRAGMA wal_checkpoint(TRUNCATE)");
    assert_int_equal(number_of(f->db, "PRAGMA page_size"), 512);
    const char *root = "SELECT (rootpage - 1) * 512 FROM sqlite_master WHERE name = 'rsl_meta'";
    roots[0] = (size_t)number_of(f->db, root);
    root = "SELECT (rootpage - 1) * 512 FROM sqlite_master WHERE name = 'rsl_records'";
    roots[1] = (size_t)number_of(f->db, root);
    rsl_sqlite_close(f->db);
    f->db = NULL;
    image_read(f, whole);
}

/* Whether a byte of a leaf page lies in its header, its pointers or its cells, and not between. */
static bool is_in_use(const unsigned char *page, size_t i)
{
    size_t cells = (size_t)page[3] << 8 | page[4], content = (size_t)page[5] << 8 | page[6];
    return i < 8 + 2 * cells || i >= content;
}

static void try_changed_byte(fixture *f, int *noticed, int *salvaged)
{
    rsl_saga_sqlite_config config = config_of(f);
    char uuid[37];
    memcpy(uuid, f->opening.uuid, sizeof uuid);
    int code = try_open_as(f, &config, false);
    bool is_open = code == RSL_OK;
    if (is_open) code = load_code(f);
    if (code == RSL_OK) {
        assert_string_equal(f->opening.uuid, uuid);
        assert_int_equal(f->opening.epoch, 2);
        assert_int_equal(f->opening.next_id, 4);
        assert_int_equal(list_.count, 9);
        for (size_t k = 0; k < 9; k++) {
            assert_true(is_record(&list_.records[k], f, 1 + k / 3, 1 + (uint32_t)k % 3));
        }
    }
    if (code != RSL_OK && code != RSL_ECORRUPT) assert_non_null(strstr(f->error, "newer"));
    *noticed += code != RSL_OK;
    if (is_open && code != RSL_OK && *noticed % 3 == 0) {
        assert_int_equal(try_open_as(f, &config, true), RSL_OK);
        code = load_code(f);
        if (code == RSL_OK) assert_int_equal(list_.count, 8); /* only that one is passed over */
        if (code == RSL_OK) code = take_into_use(f);
        if (code == RSL_OK) assert_int_equal(load(f, 0)->count, 8);
        *salvaged += code == RSL_OK;
        assert_true(code == RSL_OK || code == RSL_ECORRUPT);
    }
    close_store(f);
}

/* Each byte in use of both tables' pages, changed wholly or in one bit, those of the header in
   each: it is noticed, or it is one that says nothing; and salvage comes to an end. */
static void a_changed_byte_of_a_page_is_noticed_or_says_nothing(void **state)
{
    fixture *f = *state;
    static image whole, changed;
    size_t roots[2];
    small_pages(f, &whole, roots);
    assert_int_equal(try_open(f), RSL_OK);
    close_store(f);
    int noticed = 0, salvaged = 0, tried = 0;
    for (size_t i = 0; i < 2 * 512; i++) {
        size_t page = roots[i / 512], at = i % 512;
        if (!is_in_use(whole.bytes + page, at)) continue;
        for (unsigned bit = at < 8 ? 0 : i % 8; bit <= (at < 8 ? 7 : i % 8); bit++) {
            changed = whole;
            changed.bytes[page + at] ^= (unsigned char)(i % 3 == 0 && at >= 8 ? 0xFF : 1 << bit);
            image_write(f, &changed);
            try_changed_byte(f, &noticed, &salvaged);
            tried++;
        }
    }
    assert_true(tried > 9 * 30 + 70 && noticed > tried * 4 / 5 && salvaged > 9 * 4);
}

/* ------------------------------------------------------------------- append */

static void nothing_is_appended_before_the_first_compact(void **state)
{
    fixture *f = *state;
    assert_int_equal(try_open(f), RSL_OK);
    assert_int_equal(append_one(f, 1, 1), RSL_EINVAL);
    assert_int_equal(take_into_use(f), RSL_OK);
    assert_int_equal(append_one(f, 1, 1), RSL_OK);
    assert_int_equal(load(f, 0)->count, 1);
}

static void an_append_of_any_number_of_records_is_one_sync(void **state)
{
    fixture *f = *state;
    open_store(f);
    append_many(f, 1, 1, 1);
    faulty.syncs = 0;
    append_many(f, 2, 9, 16);
    assert_int_equal(faulty.syncs, 8);
}

static void a_record_that_cannot_be_is_refused(void **state)
{
    fixture *f = *state;
    open_store(f);
    rsl_saga_record good = record_of(f, 1, 1), bad[] = {good, good, good, good};
    bad[0].saga = 0;
    bad[1].saga = INT64_MAX;
    bad[2].number = 0;
    bad[3].data = NULL;
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        rsl_saga_record both[] = {good, bad[i]};
        assert_int_equal(f->store.append(f->store.self, both, 2), RSL_EINVAL);
    }
    assert_int_equal(f->store.append(f->store.self, NULL, 1), RSL_EINVAL);
    assert_int_equal(f->store.append(f->store.self, NULL, 0), RSL_OK);
    assert_int_equal(load(f, 0)->count, 0);
}

static void to_append_again_what_is_stored_is_right(void **state)
{
    fixture *f = *state;
    open_store(f);
    append_many(f, 1, 2, 3);
    append_many(f, 1, 2, 3);
    rsl_saga_record records[] = {record_of(f, 1, 3), record_of(f, 1, 4), record_of(f, 1, 4),
                                 {3, 1, 1, RSL_SAGA_DONE, NULL, 0, 0}};
    assert_int_equal(f->store.append(f->store.self, records, 4), RSL_OK);
    assert_int_equal(f->store.append(f->store.self, records, 4), RSL_OK);
    for (size_t i = 0; i < 4; i++) assert_int_equal(records[i].status, RSL_OK);
    assert_int_equal(load(f, 0)->count, 8);
}

static void another_record_under_the_same_number_is_corruption_and_ends_the_store(void **state)
{
    fixture *f = *state;
    for (int way = 0; way < 4; way++) {
        open_store(f);
        if (way == 0) append_many(f, 1, 1, 2);
        if (way == 3) reopen(f); /* under another epoch it is another one too */
        rsl_saga_record records[] = {record_of(f, 1, 3), record_of(f, 1, 2)};
        if (way == 0) records[1].size--;
        if (way == 1) records[1].data = "3 of saga 1";
        if (way == 2) records[1].state = RSL_SAGA_UNWINDING;
        if (way < 3) records[1].epoch = f->opening.epoch;
        assert_int_equal(f->store.append(f->store.self, records, 2), RSL_ECORRUPT);
        assert_int_equal(append_one(f, 9, 1), RSL_EIO);
        assert_int_equal(take_into_use(f), RSL_EIO);
        reopen(f);
        assert_int_equal(load(f, 0)->count, 2); /* nothing of that append */
    }
}

static void the_next_id_lies_above_all_that_were_ever_appended(void **state)
{
    fixture *f = *state;
    open_store(f);
    append_many(f, 1, 5, 2);
    append_many(f, 40, 40, 1);
    reopen(f);
    assert_int_equal(f->opening.next_id, 41);
    assert_int_equal(f->store.compact(f->store.self, keep_none, NULL, 0), RSL_OK);
    assert_int_equal(load(f, 0)->count, 0);
    reopen(f);
    assert_int_equal(f->opening.next_id, 41);
    append_many(f, 41, 41, 1);
    assert_int_equal(f->store.compact(f->store.self, keep_none, NULL, 0), RSL_OK);
    reopen(f);
    reopen(f);
    assert_int_equal(f->opening.next_id, 42);
}

static void *commit_later(void *db)
{
    sqlite3_sleep(50);
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    return NULL;
}

static void a_lock_of_the_application_is_waited_for(void **state)
{
    fixture *f = *state;
    open_store(f);
    pthread_t thread;
    must(application(f), "CREATE TABLE stock(n); BEGIN IMMEDIATE; INSERT INTO stock VALUES(1)");
    assert_int_equal(pthread_create(&thread, NULL, commit_later, f->db), 0);
    assert_int_equal(append_one(f, 1, 1), RSL_OK);
    pthread_join(thread, NULL);
    assert_int_equal(number_of(f->db, "SELECT count(*) FROM stock"), 1);
}

static void a_lock_that_is_not_given_back_ends_the_store(void **state)
{
    fixture *f = *state;
    rsl_saga_sqlite_config config = config_of(f);
    config.busy_timeout = RSL_MS(30);
    assert_int_equal(try_open_as(f, &config, false), RSL_OK);
    assert_int_equal(take_into_use(f), RSL_OK);
    append_many(f, 1, 1, 1);
    must(application(f), "BEGIN IMMEDIATE");
    assert_int_equal(append_one(f, 1, 2), RSL_EIO);
    assert_int_equal(f->told, SQLITE_BUSY);
    must(f->db, "COMMIT");
    assert_int_equal(append_one(f, 1, 2), RSL_EIO);
    assert_int_equal(f->tellings, 1);
    reopen(f);
    assert_int_equal(load(f, 0)->count, 1);
    assert_int_equal(append_one(f, 1, 2), RSL_OK);
}

static void readers_of_the_application_are_in_nobodys_way(void **state)
{
    fixture *f = *state;
    open_store(f);
    append_many(f, 1, 1, 2);
    must(application(f), "BEGIN; SELECT * FROM rsl_records");
    append_many(f, 2, 2, 2);
    assert_int_equal(f->store.compact(f->store.self, keep_none, NULL, 0), RSL_OK);
    assert_int_equal(number_of(f->db, "SELECT count(*) FROM rsl_records"), 2);
    must(f->db, "COMMIT");
    assert_int_equal(number_of(f->db, "SELECT count(*) FROM rsl_records"), 0);
}

static void the_application_may_change_its_tables_meanwhile(void **state)
{
    fixture *f = *state;
    open_store(f);
    append_many(f, 1, 1, 2);
    must(application(f), "CREATE TABLE stock(n); DROP TABLE stock; VACUUM");
    append_many(f, 2, 2, 2);
    assert_int_equal(load(f, 0)->count, 4);
}

static void a_full_disk_ends_the_store_and_loses_nothing_that_was_stored(void **state)
{
    fixture *f = *state;
    static const char large[100000];
    open_store(f);
    append_many(f, 1, 4, 4);
    must(inner(f)->db, "PRAGMA max_page_count = 10");
    rsl_saga_record records[] = {record_of(f, 5, 1), record_of(f, 5, 2)};
    records[1].data = large;
    records[1].size = sizeof large;
    assert_int_equal(f->store.append(f->store.self, records, 2), RSL_EIO);
    assert_int_equal(f->told, SQLITE_FULL);
    must(inner(f)->db, "PRAGMA max_page_count = 100000");
    assert_int_equal(f->store.append(f->store.self, records, 2), RSL_EIO);
    assert_int_equal(take_into_use(f), RSL_EIO);
    assert_int_equal(f->tellings, 1);
    reopen(f);
    assert_int_equal(load(f, 0)->count, 16);
    assert_int_equal(f->store.append(f->store.self, records, 2), RSL_OK);
}

static void a_file_that_was_moved_away_takes_no_more(void **state)
{
    fixture *f = *state;
    open_store(f);
    append_many(f, 1, 1, 1);
    char moved[300];
    snprintf(moved, sizeof moved, "%.250s/moved.db", f->folder);
    assert_int_equal(rename(f->path, moved), 0);
    assert_int_equal(append_one(f, 1, 2), RSL_EIO);
    assert_int_equal(f->told, SQLITE_READONLY_DBMOVED);
}

/* ------------------------------------------------------------------- compact */

/* Keeps by chance, and remembers what it was shown and what it kept. */
typedef struct sieve {
    seeded_random random;
    uint32_t      of_eight; /* so many of eight are kept */
    listing       shown;
    bool          kept[RECORDS_MAX];
} sieve;

static bool keep_some(void *user, const rsl_saga_record *record)
{
    sieve *s = user;
    s->kept[s->shown.count] = seeded_random_below(&s->random, 8) < s->of_eight;
    list_add(&s->shown, record);
    return s->kept[s->shown.count - 1];
}

static void compact_shows_each_record_once_and_drops_what_is_not_kept(void **state)
{
    fixture *f = *state;
    static sieve s;
    static listing before;
    for (uint32_t round = 0; round <= 16; round++) {
        open_store(f);
        append_many(f, 1 + round * 20, 20 + round * 20, 1 + round % 9);
        before = *load(f, 0);
        memset(&s, 0, sizeof s);
        s.random.state = round + 1;
        s.of_eight = round % 9;
        assert_int_equal(f->store.compact(f->store.self, keep_some, &s, 0), RSL_OK);
        assert_int_equal(s.shown.count, before.count);
        const listing *after = load(f, 0);
        size_t at = 0;
        for (size_t i = 0; i < before.count; i++) {
            const rsl_saga_record *r = &before.records[i];
            assert_true(is_record(&s.shown.records[i], f, r->saga, r->number));
            if (s.kept[i]) assert_true(is_record(&after->records[at++], f, r->saga, r->number));
        }
        assert_int_equal(at, after->count);
    }
}

static void compact_without_keep_is_refused(void **state)
{
    fixture *f = *state;
    assert_int_equal(try_open(f), RSL_OK);
    assert_int_equal(f->store.compact(f->store.self, NULL, NULL, 0), RSL_EINVAL);
    assert_int_equal(take_into_use(f), RSL_OK);
}

static bool keep_after(void *user, const rsl_saga_record *record)
{
    return record->saga > *(rsl_saga_id *)user;
}

static int64_t size_of(const fixture *f, const char *suffix)
{
    char path[340];
    struct stat found;
    snprintf(path, sizeof path, "%s%s", f->path, suffix);
    return stat(path, &found) == 0 ? (int64_t)found.st_size : 0;
}

/* Sagas come and are dropped, 150 at a time; of each round, 25 stay for one more. */
static void the_file_keeps_its_size(void **state)
{
    fixture *f = *state;
    rsl_saga_sqlite_config config = config_of(f);
    assert_int_equal(try_open_as(f, &config, false), RSL_OK);
    assert_int_equal(take_into_use(f), RSL_OK);
    int64_t early = 0;
    for (rsl_saga_id round = 0; round < 16; round++) {
        append_many(f, 1 + round * 150, 150 + round * 150, 6);
        rsl_saga_id stay = 125 + round * 150;
        assert_int_equal(f->store.compact(f->store.self, keep_after, &stay, 0), RSL_OK);
        int64_t pages = number_of(inner(f)->db, "PRAGMA page_count");
        if (round == 3) early = pages;
        if (round > 3) assert_true(pages <= early + early / 10);
    }
    assert_true(size_of(f, "-wal") <= 17 * 1024 * 1024);
    assert_int_equal(load(f, 0)->count, 150);
}

/* ------------------------------------------------------------------- faults, in every place */

enum { BATCHES = 6, DROPPED = 2 };

static const uint32_t batch_sizes[BATCHES] = {1, 5, 1, 3, 1, 2};

/* How far a run came. Batch b is saga b + 1; after the fourth, the first two are dropped. */
typedef struct run {
    int  opened, used;        /* what open and the first compact said */
    int  begun, done;         /* batches */
    bool drop_begun, dropped;
} run;

static bool append_batch(fixture *f, run *r, uint32_t batch)
{
    static const char large[20000];
    rsl_saga_record records[8];
    for (uint32_t i = 0; i < batch_sizes[batch]; i++) {
        records[i] = record_of(f, batch + 1, i + 1);
        if (batch != 2) continue;
        records[i].data = large;
        records[i].size = sizeof large;
    }
    r->begun++;
    int code = f->store.append(f->store.self, records, batch_sizes[batch]);
    if (code != RSL_OK) {
        assert_int_equal(code, RSL_EIO);
        assert_int_equal(append_one(f, 50, 1), RSL_EIO); /* and nothing more from then on */
        assert_int_equal(take_into_use(f), RSL_EIO);
        return false;
    }
    r->done++;
    return true;
}

static void run_script(fixture *f, run *r)
{
    rsl_saga_sqlite_config config = config_of(f);
    config.busy_timeout = RSL_NONE;
    memset(r, 0, sizeof *r);
    r->opened = try_open_as(f, &config, false);
    if (r->opened != RSL_OK) return;
    r->used = load_code(f);
    if (r->used == RSL_OK) r->used = take_into_use(f);
    if (r->used != RSL_OK) return;
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        if (batch == 4) {
            rsl_saga_id last = DROPPED;
            r->drop_begun = true;
            int code = f->store.compact(f->store.self, keep_after, &last, 0);
            assert_true(code == RSL_OK || code == RSL_EIO);
            r->dropped = code == RSL_OK;
            if (!r->dropped) return;
        }
        if (!append_batch(f, r, batch)) return;
    }
}

/* What was acknowledged is there, what was not is there as a whole or not at all. */
static void check_what_is_left(fixture *f, const run *r)
{
    open_store(f);
    const listing *list = load(f, 0);
    size_t total = 0;
    bool has_first = false;
    for (int batch = 0; batch < BATCHES; batch++) {
        size_t count = 0;
        for (size_t i = 0; i < list->count; i++) {
            if (list->records[i].saga == (rsl_saga_id)batch + 1) {
                assert_int_equal(list->records[i].number, ++count);
            }
        }
        total += count;
        assert_true(count == 0 || count == batch_sizes[batch]);
        bool may_be = batch < r->begun && !(r->dropped && batch < DROPPED);
        bool must_be = batch < r->done && !(r->drop_begun && batch < DROPPED);
        if (!may_be) assert_int_equal(count, 0);
        if (must_be) assert_int_equal(count, batch_sizes[batch]);
        if (batch == 0) has_first = count > 0;
        if (batch == 1 && r->drop_begun) assert_int_equal(count > 0, has_first);
    }
    assert_int_equal(list->count, total);
    assert_true(f->opening.next_id > (rsl_saga_id)r->done);
}

static void try_fault(fixture *f, fault kind, long nth, run *r)
{
    remove_files(f);
    faulty_set(kind, nth);
    run_script(f, r);
    assert_true(r->opened == RSL_OK || r->opened == RSL_EIO);
    assert_true(r->used == RSL_OK || r->used == RSL_EIO);
    close_store(f);
    faulty_set(kind, 0);
    check_what_is_left(f, r);
    close_store(f);
}

static void every_failed_io_call_ends_the_store_and_loses_nothing(void **state)
{
    fixture *f = *state;
    run r;
    try_fault(f, FAULT_EIO, 0, &r);
    assert_int_equal(r.done, BATCHES);
    faulty_set(FAULT_EIO, 0);
    remove_files(f);
    run_script(f, &r);
    long calls = faulty.calls, ends[BATCHES + 1] = {0};
    assert_true(calls > 100);
    for (long nth = 1; nth <= calls; nth++) {
        try_fault(f, FAULT_EIO, nth, &r);
        ends[r.done]++;
        if (nth % 2 == 0) continue;
        try_fault(f, (fault)(1 + nth / 2 % 3), nth, &r); /* and in one of the other ways */
        ends[r.done]++;
    }
    for (int i = 0; i <= BATCHES; i++) assert_true(ends[i] > 0); /* it did fail all over */
}

static void every_failed_allocation_of_sqlite_ends_the_store_and_loses_nothing(void **state)
{
    fixture *f = *state;
    run r;
    memory_set(LONG_MAX, false);
    run_script(f, &r);
    long calls = memory_calls, failed = 0;
    assert_int_equal(r.done, BATCHES);
    assert_true(calls > 100);
    for (long nth = 1; nth <= calls; nth += 1 + calls / 70) {
        close_store(f);
        remove_files(f);
        memory_set(nth, nth % 2 == 0);
        run_script(f, &r);
        close_store(f);
        memory_set(0, false);
        assert_true(r.opened == RSL_OK || r.opened == RSL_ENOMEM || r.opened == RSL_EIO);
        assert_true(r.used == RSL_OK || r.used == RSL_ENOMEM || r.used == RSL_EIO);
        failed += r.done < BATCHES;
        check_what_is_left(f, &r);
    }
    assert_true(failed > 20);
}

static void a_failed_allocation_of_its_own_leaves_nothing_behind(void **state)
{
    fixture *f = *state;
    rsl_saga_sqlite_config config = config_of(f);
    rsl_saga_store store = {.self = f};
    support_fail_nth(1);
    assert_int_equal(rsl_saga_sqlite_open(&store, &config), RSL_ENOMEM);
    assert_ptr_equal(store.self, f);
    support_fail_nth(2);
    int code = try_open(f);
    support_fail_never();
    assert_int_equal(code, RSL_ENOMEM);
    assert_int_equal(try_open(f), RSL_OK);
    support_fail_from(1);
    code = take_into_use(f);
    if (code == RSL_OK) code = append_one(f, 1, 1);
    support_fail_never();
    assert_int_equal(code, RSL_OK); /* for it takes memory at open only */
}

/* ------------------------------------------------------------------- processes that are killed */

static uint32_t batch_of(uint32_t saga)
{
    return 1 + saga % 4;
}

static void append_until_killed(fixture *f)
{
    f->is_open = false;
    open_store(f);
    for (uint32_t saga = (uint32_t)f->opening.next_id;; saga++) {
        append_many(f, saga, saga, batch_of(saga));
        tell(saga);
    }
}

static void nothing_acknowledged_is_lost_with_a_process_that_is_killed(void **state)
{
    fixture *f = *state;
    seeded_random random = {11};
    uint32_t total = 0;
    for (int round = 0; round < 12; round++) {
        child c = start_child(f, append_until_killed);
        uint32_t last = hear(&c);
        for (uint32_t i = seeded_random_below(&random, 8); i > 0; i--) last = hear(&c);
        usleep(seeded_random_below(&random, 3000));
        last = kill_child(&c, last);

        open_store(f); /* at once: the lock is free */
        assert_true(f->opening.next_id > last);
        assert_true(f->opening.next_id <= last + 2); /* one that it did not come to tell */
        const listing *list = load(f, 0);
        size_t at = 0;
        for (uint32_t saga = 1; saga < f->opening.next_id; saga++) {
            for (uint32_t i = 1; i <= batch_of(saga); i++) {
                assert_true(is_record(&list->records[at++], f, saga, i));
            }
        }
        assert_int_equal(at, list->count);
        total = last;
        close_store(f);
    }
    assert_true(total >= 12);
}

/* As after a sync of the WAL that failed: what lies there is not relied on. */
static void the_first_compact_empties_the_wal_that_a_dead_process_left(void **state)
{
    fixture *f = *state;
    child c = start_child(f, append_until_killed);
    uint32_t last = 0;
    while (last < 20) last = hear(&c);
    last = kill_child(&c, last);
    assert_true(size_of(f, "-wal") > 20 * 4096);
    open_store(f);
    int frames = 0;
    sqlite3_wal_checkpoint_v2(inner(f)->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, NULL);
    assert_in_range(frames, 1, 4); /* those of the compact itself */
    assert_true(load(f, 0)->count >= last);
}

/* ------------------------------------------------------------------- the barrier */

#define STORE "5f64a6ea-8f4b-4a6f-9d57-6d2b8e9f0a11"

/* A participant: a database with the barrier and a sum, to which an action adds one and from
   which its compensation takes one. */
static sqlite3 *participant(fixture *f)
{
    rsl_sqlite_config config = {.path = f->path, .wal = true, .busy_timeout = RSL_SEC(20),
                                .pragmas = "PRAGMA synchronous=OFF"};
    sqlite3 *db;
    assert_int_equal(rsl_sqlite_open(&db, NULL, &config), RSL_OK);
    assert_int_equal(rsl_saga_sqlite_barrier_create(db), RSL_OK);
    must(db, "CREATE TABLE IF NOT EXISTS work(runs INTEGER, undos INTEGER);"
             "INSERT INTO work SELECT 0, 0 WHERE NOT EXISTS (SELECT * FROM work)");
    return db;
}

static sqlite3 *only_participant(fixture *f)
{
    if (f->db == NULL) f->db = participant(f);
    return f->db;
}

typedef struct call {
    const char   *key;
    rsl_saga_turn turn;
    bool          reads_first; /* before the barrier, as one should not */
    int           then;        /* what the transaction's function returns after its work */
    int           runs;        /* of the transaction */
} call;

static int take_turn(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    (void)ctx;
    call *c = arg;
    c->runs++;
    if (c->reads_first) number_of(db, "SELECT runs FROM work");
    int code = rsl_saga_sqlite_barrier(db, c->key, &c->turn);
    if (code != RSL_OK || c->turn != RSL_SAGA_FIRST) return code;
    const char *sql = strstr(c->key, "charge/undo") ? "UPDATE work SET undos = undos + 1"
                                                      : "UPDATE work SET runs = runs + 1";
    code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return code != SQLITE_OK ? code : c->then;
}

static rsl_saga_turn send_to(sqlite3 *db, const char *key)
{
    call c = {.key = key};
    int code = rsl_sqlite_transaction(db, NULL, RSL_SQLITE_IMMEDIATE, take_turn, &c);
    assert_int_equal(code, RSL_OK);
    return c.turn;
}

static void assert_work(sqlite3 *db, int runs, int undos)
{
    assert_int_equal(number_of(db, "SELECT runs FROM work"), runs);
    assert_int_equal(number_of(db, "SELECT undos FROM work"), undos);
}

/* All sequences of up to five of {action, compensation} against the table of the header. */
static void every_order_of_calls_has_the_effects_that_the_table_says(void **state)
{
    fixture *f = *state;
    sqlite3 *db = only_participant(f);
    int saga = 0;
    for (unsigned length = 1; length <= 5; length++) {
        for (unsigned order = 0; order < 1u << length; order++) {
            char run_key[80], undo_key[80];
            snprintf(run_key, sizeof run_key, STORE "/%d/charge/run", ++saga);
            snprintf(undo_key, sizeof undo_key, STORE "/%d/charge/undo", saga);
            must(db, "UPDATE work SET runs = 0, undos = 0");
            bool ran = false, undone = false;
            for (unsigned i = 0; i < length; i++) {
                bool is_undo = (order >> i & 1) != 0;
                rsl_saga_turn turn = send_to(db, is_undo ? undo_key : run_key), right;
                if (is_undo) right = !ran ? RSL_SAGA_EMPTY
                                          : undone ? RSL_SAGA_AGAIN : RSL_SAGA_FIRST;
                else right = undone ? RSL_SAGA_LATE : ran ? RSL_SAGA_AGAIN : RSL_SAGA_FIRST;
                assert_int_equal(turn, right);
                if (is_undo) undone = true;
                else if (!undone) ran = true;
            }
            assert_work(db, ran, ran && undone);
        }
    }
}

static void an_action_that_was_rolled_back_never_came(void **state)
{
    fixture *f = *state;
    sqlite3 *db = only_participant(f);
    call c = {.key = STORE "/1/charge/run", .then = 7};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rsl_sqlite_transaction(db, NULL, RSL_SQLITE_IMMEDIATE, take_turn, &c), 7);
        assert_int_equal(c.turn, RSL_SAGA_FIRST);
    }
    assert_int_equal(send_to(db, STORE "/1/charge/undo"), RSL_SAGA_EMPTY);
    assert_int_equal(send_to(db, STORE "/1/charge/run"), RSL_SAGA_LATE);
    assert_work(db, 0, 0);
}

static void a_compensation_that_was_rolled_back_comes_first_again(void **state)
{
    fixture *f = *state;
    sqlite3 *db = only_participant(f);
    call c = {.key = STORE "/1/charge/undo", .then = 7};
    send_to(db, STORE "/1/charge/run");
    assert_int_equal(rsl_sqlite_transaction(db, NULL, RSL_SQLITE_IMMEDIATE, take_turn, &c), 7);
    assert_int_equal(send_to(db, STORE "/1/charge/run"), RSL_SAGA_AGAIN);
    assert_int_equal(send_to(db, STORE "/1/charge/undo"), RSL_SAGA_FIRST);
    assert_work(db, 1, 1);
}

static void stores_sagas_steps_and_rounds_are_told_apart(void **state)
{
    fixture *f = *state;
    sqlite3 *db = only_participant(f);
    static const char *const others[] = {
        STORE "/1/charge/run", STORE "/1/charge/run/2", STORE "/1/charge/run/3",
        STORE "/2/charge/run", STORE "/1/charges/run", STORE "/1/run/run", STORE "/1/undo/run",
        "6f64a6ea-8f4b-4a6f-9d57-6d2b8e9f0a11/1/charge/run", STORE "/0/charge/run",
        STORE "/1/Charge/run", STORE "/1/ch\xC3\xA4rge/run",
        STORE "/123456789012345678/charge/run",
        STORE "/1/s23456789b123456789c123456789d123456789e123456789f123456789g12/run"};
    for (size_t i = 0; i < RSL_COUNT(others); i++) {
        assert_int_equal(send_to(db, others[i]), RSL_SAGA_FIRST);
    }
    for (size_t i = 0; i < RSL_COUNT(others); i++) {
        assert_int_equal(send_to(db, others[i]), RSL_SAGA_AGAIN);
    }
    /* The second round was never run: its compensation leaves the first round's action alone. */
    assert_int_equal(send_to(db, STORE "/2/charge/undo/2"), RSL_SAGA_EMPTY);
    assert_int_equal(send_to(db, STORE "/2/charge/run"), RSL_SAGA_AGAIN);
    assert_int_equal(send_to(db, STORE "/2/charge/run/2"), RSL_SAGA_LATE);
    assert_int_equal(send_to(db, STORE "/2/charge/undo"), RSL_SAGA_FIRST);
    assert_work(db, (int)RSL_COUNT(others), 1);
}

static void what_is_no_key_of_a_step_is_refused(void **state)
{
    fixture *f = *state;
    sqlite3 *db = only_participant(f);
    static const char *const bad[] = {
        "", "/", "x", "a/1/charge", "/1/charge/run", "a//charge/run", "a/x/charge/run",
        "a/1//run", "a/1/charge/", "a/1/charge/runs", "a/1/charge/redo", "a/1/charge/run/",
        "a/1/charge/run/x", "a/1/charge/run/2/3", "a/-1/charge/run", "a/1x/charge/run",
        "a/1234567890123456789/charge/run", "a/1/charge/undo2",
        STORE "x/1/charge/run",
        "a/1/s23456789b123456789c123456789d123456789e123456789f123456789g1234/run"};
    must(db, "BEGIN IMMEDIATE");
    for (size_t i = 0; i < RSL_COUNT(bad); i++) {
        rsl_saga_turn turn = (rsl_saga_turn)77;
        assert_int_equal(rsl_saga_sqlite_barrier(db, bad[i], &turn), RSL_EINVAL);
        assert_int_equal(turn, 77);
    }
    rsl_saga_turn turn;
    assert_int_equal(rsl_saga_sqlite_barrier(NULL, STORE "/1/charge/run", &turn), RSL_EINVAL);
    assert_int_equal(rsl_saga_sqlite_barrier(db, NULL, &turn), RSL_EINVAL);
    assert_int_equal(rsl_saga_sqlite_barrier(db, STORE "/1/charge/run", NULL), RSL_EINVAL);
    must(db, "COMMIT");
    assert_int_equal(number_of(db, "SELECT count(*) FROM rsl_saga_barrier"), 0);
}

static void the_barrier_wants_a_transaction_and_its_table(void **state)
{
    fixture *f = *state;
    sqlite3 *db = only_participant(f);
    rsl_saga_turn turn = (rsl_saga_turn)77;
    assert_int_equal(rsl_saga_sqlite_barrier(db, STORE "/1/charge/run", &turn), RSL_EINVAL);
    must(db, "DROP TABLE rsl_saga_barrier; BEGIN IMMEDIATE");
    assert_int_equal(rsl_saga_sqlite_barrier(db, STORE "/1/charge/run", &turn), SQLITE_ERROR);
    must(db, "ROLLBACK");
    assert_int_equal(turn, 77);
    assert_int_equal(rsl_saga_sqlite_barrier_create(NULL), RSL_EINVAL);
    assert_int_equal(rsl_saga_sqlite_barrier_create(db), RSL_OK);
    send_to(db, STORE "/1/charge/run");
    assert_int_equal(rsl_saga_sqlite_barrier_create(db), RSL_OK);
    assert_int_equal(send_to(db, STORE "/1/charge/run"), RSL_SAGA_AGAIN);
}

static void a_barrier_that_fails_leaves_nothing_to_commit(void **state)
{
    fixture *f = *state;
    sqlite3 *db = only_participant(f);
    rsl_saga_turn turn = (rsl_saga_turn)77;
    must(db, "CREATE TRIGGER t BEFORE INSERT ON rsl_saga_barrier WHEN new.direction = 'undo'"
             " BEGIN SELECT raise(ABORT, 'no'); END; BEGIN IMMEDIATE");
    assert_int_equal(rsl_saga_sqlite_barrier(db, STORE "/1/charge/undo", &turn),
                     SQLITE_CONSTRAINT_TRIGGER);
    must(db, "COMMIT");
    assert_int_equal(turn, 77);
    assert_int_equal(number_of(db, "SELECT count(*) FROM rsl_saga_barrier"), 0);
}

static void what_is_old_is_forgotten_saga_by_saga(void **state)
{
    fixture *f = *state;
    sqlite3 *db = only_participant(f);
    send_to(db, STORE "/1/charge/run");
    send_to(db, STORE "/2/charge/run");
    send_to(db, STORE "/3/charge/run");
    must(db, "UPDATE rsl_saga_barrier SET at = at - 3600 WHERE saga < 3");
    send_to(db, STORE "/2/charge/undo"); /* of this one something has come lately */
    assert_int_equal(rsl_saga_sqlite_barrier_forget(db, RSL_SEC(3700)), RSL_OK);
    assert_int_equal(number_of(db, "SELECT count(*) FROM rsl_saga_barrier"), 4);
    assert_int_equal(rsl_saga_sqlite_barrier_forget(db, RSL_SEC(3500)), RSL_OK);
    assert_int_equal(number_of(db, "SELECT count(*) FROM rsl_saga_barrier"), 3);
    assert_int_equal(send_to(db, STORE "/1/charge/run"), RSL_SAGA_FIRST);
    assert_int_equal(send_to(db, STORE "/2/charge/run"), RSL_SAGA_LATE);
    assert_int_equal(rsl_saga_sqlite_barrier_forget(db, 0), RSL_EINVAL);
    assert_int_equal(rsl_saga_sqlite_barrier_forget(NULL, 1), RSL_EINVAL);
    assert_int_equal(rsl_saga_sqlite_barrier_forget(db, RSL_FOREVER), RSL_OK);
    must(db, "DROP TABLE rsl_saga_barrier");
    assert_int_equal(rsl_saga_sqlite_barrier_forget(db, 1), SQLITE_ERROR);
}

/* ------------------------------------------------------------------- two connections at once */

enum { KEYS = 100 };

typedef struct sender {
    pthread_t        thread;
    sqlite3         *db;
    const char      *direction;
    rsl_sqlite_mode  mode;
    bool             reads_first;
    rsl_saga_turn    turns[KEYS];
    int              reruns;
} sender;

static void *send_all(void *arg)
{
    sender *s = arg;
    for (int i = 0; i < KEYS; i++) {
        char key[80];
        snprintf(key, sizeof key, STORE "/%d/charge/%s", i, s->direction);
        call c = {.key = key, .reads_first = s->reads_first};
        int code = rsl_sqlite_transaction(s->db, NULL, s->mode, take_turn, &c);
        while (code != RSL_OK && rsl_sqlite_is_retryable(code, NULL)) {
            usleep(500);
            code = rsl_sqlite_transaction(s->db, NULL, s->mode, take_turn, &c);
        }
        s->turns[i] = code == RSL_OK ? c.turn : (rsl_saga_turn)code;
        s->reruns += c.runs - 1;
    }
    return NULL;
}

/* Both send for all keys at once; how often each did the work is counted in the database. */
static void send_at_once(fixture *f, sender *a, sender *b)
{
    a->db = participant(f);
    b->db = participant(f);
    assert_int_equal(pthread_create(&a->thread, NULL, send_all, a), 0);
    assert_int_equal(pthread_create(&b->thread, NULL, send_all, b), 0);
    pthread_join(a->thread, NULL);
    pthread_join(b->thread, NULL);
    rsl_sqlite_close(a->db);
    rsl_sqlite_close(b->db);
}

static void action_against_compensation(fixture *f, rsl_sqlite_mode mode, bool reads_first)
{
    static sender run_, undo;
    memset(&run_, 0, sizeof run_);
    memset(&undo, 0, sizeof undo);
    run_.direction = "run";
    undo.direction = "undo";
    run_.mode = undo.mode = mode;
    run_.reads_first = undo.reads_first = reads_first;
    send_at_once(f, &run_, &undo);
    int done = 0;
    for (int i = 0; i < KEYS; i++) {
        bool both = run_.turns[i] == RSL_SAGA_FIRST && undo.turns[i] == RSL_SAGA_FIRST;
        bool none = run_.turns[i] == RSL_SAGA_LATE && undo.turns[i] == RSL_SAGA_EMPTY;
        assert_true(both || none);
        done += both;
    }
    if (!reads_first) assert_int_equal(run_.reruns + undo.reruns, 0);
    assert_work(only_participant(f), done, done);
}

static void an_action_and_its_compensation_at_once_agree_on_who_was_first(void **state)
{
    action_against_compensation(*state, RSL_SQLITE_IMMEDIATE, false);
}

static void they_agree_in_deferred_transactions_that_begin_with_the_barrier(void **state)
{
    action_against_compensation(*state, RSL_SQLITE_DEFERRED, false);
}

static void they_agree_in_deferred_transactions_that_have_read_and_are_run_again(void **state)
{
    action_against_compensation(*state, RSL_SQLITE_DEFERRED, true);
}

static void of_two_equal_calls_at_once_one_does_the_work(void **state)
{
    fixture *f = *state;
    static sender a, b;
    a.direction = b.direction = "run";
    a.mode = b.mode = RSL_SQLITE_IMMEDIATE;
    send_at_once(f, &a, &b);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal((a.turns[i] == RSL_SAGA_FIRST) + (b.turns[i] == RSL_SAGA_FIRST), 1);
        assert_int_equal((a.turns[i] == RSL_SAGA_AGAIN) + (b.turns[i] == RSL_SAGA_AGAIN), 1);
    }
    assert_work(only_participant(f), KEYS, 0);
}

static void a_stale_snapshot_is_told_and_lets_nobody_through(void **state)
{
    fixture *f = *state;
    sqlite3 *db = only_participant(f), *other = participant(f);
    rsl_saga_turn turn;
    must(db, "BEGIN");
    number_of(db, "SELECT runs FROM work");
    assert_int_equal(send_to(other, STORE "/1/charge/undo"), RSL_SAGA_EMPTY);
    assert_int_equal(rsl_saga_sqlite_barrier(db, STORE "/1/charge/run", &turn),
                     SQLITE_BUSY_SNAPSHOT);
    must(db, "ROLLBACK");
    assert_int_equal(send_to(db, STORE "/1/charge/run"), RSL_SAGA_LATE);
    rsl_sqlite_close(other);
}

/* ------------------------------------------------------------------- sagas
   Three steps, each of which writes a row into a table of the application, in the same file as
   the store and behind the barrier. */

/* In the midst of a call: before its transaction, or when that is committed and nobody has been
   told. */
typedef struct stop { const char *step; bool undo, after; } stop;

typedef struct shop {
    const char *path;
    bool        ship_fails;
    stop        stop_at;  /* where the process tells and stands still; step NULL: nowhere */
} shop;

typedef struct visit_of { rsl_step *step; rsl_saga_turn turn; } visit_of;

static int write_row(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    (void)ctx;
    visit_of *v = arg;
    int code = rsl_saga_sqlite_barrier(db, rsl_step_key(v->step), &v->turn);
    if (code != RSL_OK || v->turn != RSL_SAGA_FIRST) return code;
    char sql[200];
    snprintf(sql, sizeof sql, "INSERT INTO rows VALUES(%u, '%s', %d)",
             (unsigned)rsl_step_saga(v->step), rsl_step_name(v->step), rsl_step_is_undo(v->step));
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static void stop_there(const shop *s, rsl_step *step, bool after)
{
    bool is_there = s->stop_at.step != NULL && s->stop_at.after == after &&
                    s->stop_at.undo == rsl_step_is_undo(step) &&
                    strcmp(s->stop_at.step, rsl_step_name(step)) == 0;
    if (!is_there) return;
    tell(1);
    sleep_until_killed();
}

static rsl_outcome do_step(rsl_step *step, void *arg)
{
    shop *s = arg;
    stop_there(s, step, false);
    if (s->ship_fails && strcmp(rsl_step_name(step), "ship") == 0 && !rsl_step_is_undo(step)) {
        return rsl_step_fail(step, RSL_STEP_FAIL, 7);
    }
    sqlite3 *db;
    rsl_sqlite_config config = {.path = s->path, .pragmas = "PRAGMA synchronous=OFF"};
    rsl_ctx ctx = rsl_step_ctx(step);
    visit_of v = {step, RSL_SAGA_FIRST};
    int code = rsl_sqlite_open(&db, &ctx, &config);
    if (code != RSL_OK) return rsl_step_fail(step, RSL_STEP_RETRY, code);
    code = rsl_sqlite_transaction(db, &ctx, RSL_SQLITE_IMMEDIATE, write_row, &v);
    rsl_sqlite_close(db);
    stop_there(s, step, true);
    if (code != RSL_OK) return rsl_step_fail(step, RSL_STEP_UNKNOWN, code);
    return v.turn == RSL_SAGA_LATE ? RSL_STEP_FAIL : RSL_STEP_OK;
}

static const rsl_saga_step shop_steps[] = {
    {.name = "reserve", .run = do_step, .undo = do_step},
    {.name = "charge", .run = do_step, .undo = do_step},
    {.name = "ship", .run = do_step, .undo = do_step}};
static const rsl_saga_def shop_def = {"order", 1, shop_steps, RSL_COUNT(shop_steps), 0};

/* Opens the sagas over a store in the fixture's file, and lets go on what is there. */
static rsl_sagas *open_sagas(fixture *f, shop *s, uint32_t threads)
{
    rsl_saga_sqlite_config in = config_of(f);
    s->path = f->path;
    assert_int_equal(rsl_saga_sqlite_open(&f->store, &in), RSL_OK);
    rsl_sagas_config config = {.store = &f->store, .caller_works = threads == 0,
                               .threads = threads, .error = f->error,
                               .error_size = sizeof f->error};
    int code = rsl_sagas_open(&f->sagas, &config);
    if (code != RSL_OK) fail_msg("%s: %s", rsl_strerror(code), f->error);
    assert_int_equal(rsl_sagas_register(f->sagas, &shop_def, s), RSL_OK);
    assert_int_equal(rsl_sagas_recover(f->sagas), RSL_OK);
    return f->sagas;
}

static void close_sagas(fixture *f)
{
    rsl_sagas *sagas = f->sagas;
    f->sagas = NULL;
    assert_int_equal(rsl_sagas_close(sagas, NULL), RSL_OK);
}

static void make_shop(fixture *f)
{
    must(application(f), "CREATE TABLE IF NOT EXISTS rows(saga, step, undo)");
    assert_int_equal(rsl_saga_sqlite_barrier_create(f->db), RSL_OK);
    rsl_sqlite_close(f->db); /* no connection goes into a forked child */
    f->db = NULL;
}

static rsl_saga_id start_saga(rsl_sagas *sagas, unsigned number)
{
    char key[40];
    rsl_saga_id id = 0;
    snprintf(key, sizeof key, "order-%u", number);
    assert_int_equal(rsl_sagas_start(sagas, "order", key, NULL, 0, &id), RSL_OK);
    return id;
}

static rsl_saga_state wait_saga(rsl_sagas *sagas, rsl_saga_id id)
{
    rsl_ctx ctx = rsl_within(RSL_SEC(60));
    rsl_saga_state state = RSL_SAGA_RUNNING;
    assert_int_equal(rsl_sagas_wait(sagas, id, &ctx, &state), RSL_OK);
    return state;
}

/* How often the steps of a saga had their effects, and their compensations theirs: "111 000". */
static void assert_rows(fixture *f, rsl_saga_id saga, const char *right)
{
    char found[8] = "", sql[200];
    for (int i = 0; i < 6; i++) {
        snprintf(sql, sizeof sql, "SELECT count(*) FROM rows WHERE saga = %u AND step = '%s'"
                 " AND undo = %d", (unsigned)saga, shop_steps[i % 3].name, i / 3);
        found[i + i / 3] = (char)('0' + number_of(application(f), sql));
    }
    found[3] = ' ';
    assert_string_equal(found, right);
}

static void a_saga_runs_in_sqlite_and_is_remembered(void **state)
{
    fixture *f = *state;
    shop s = {.path = NULL};
    make_shop(f);
    for (int round = 0; round < 3; round++) {
        rsl_sagas *sagas = open_sagas(f, &s, 0);
        assert_int_equal(start_saga(sagas, 1), 1); /* the same key is the same saga */
        assert_int_equal(wait_saga(sagas, 1), RSL_SAGA_DONE);
        close_sagas(f);
    }
    assert_rows(f, 1, "111 000");
}

static void a_saga_that_fails_is_compensated_in_sqlite(void **state)
{
    fixture *f = *state;
    shop s = {.ship_fails = true};
    make_shop(f);
    rsl_sagas *sagas = open_sagas(f, &s, 0);
    assert_int_equal(wait_saga(sagas, start_saga(sagas, 1)), RSL_SAGA_UNWOUND);
    close_sagas(f);
    assert_rows(f, 1, "110 110");
}

static void many_sagas_at_once_share_the_file_with_their_store(void **state)
{
    fixture *f = *state;
    shop s = {.path = NULL};
    make_shop(f);
    rsl_sagas *sagas = open_sagas(f, &s, 4);
    rsl_saga_id ids[12];
    for (unsigned i = 0; i < RSL_COUNT(ids); i++) ids[i] = start_saga(sagas, i);
    for (unsigned i = 0; i < RSL_COUNT(ids); i++) {
        assert_int_equal(wait_saga(sagas, ids[i]), RSL_SAGA_DONE);
        assert_rows(f, ids[i], "111 000");
    }
    close_sagas(f);
}

static shop child_shop; /* of the process that is killed */

static void run_one_saga(fixture *f)
{
    f->is_open = false;
    rsl_sagas *sagas = open_sagas(f, &child_shop, 0);
    wait_saga(sagas, start_saga(sagas, 1));
}

/* Kills a process at that place of its only saga, and looks what the next opening makes of it. */
static void kill_there_and_go_on(fixture *f, bool ship_fails, stop there)
{
    child_shop = (shop){.ship_fails = ship_fails, .stop_at = there};
    make_shop(f);
    child c = start_child(f, run_one_saga);
    assert_int_equal(hear(&c), 1);
    kill_child(&c, 1);

    shop s = {.ship_fails = ship_fails};
    rsl_sagas *sagas = open_sagas(f, &s, 0);
    assert_int_equal(start_saga(sagas, 1), 1); /* its caller may come again */
    assert_int_equal(wait_saga(sagas, 1), ship_fails ? RSL_SAGA_UNWOUND : RSL_SAGA_DONE);
    close_sagas(f);
    assert_rows(f, 1, ship_fails ? "110 110" : "111 000");
    rsl_sqlite_close(f->db);
    f->db = NULL;
    remove_files(f);
}

static void a_saga_that_is_killed_in_an_action_goes_on_with_each_effect_once(void **state)
{
    for (int i = 0; i < 3; i++) {
        kill_there_and_go_on(*state, false, (stop){shop_steps[i].name, false, false});
        kill_there_and_go_on(*state, false, (stop){shop_steps[i].name, false, true});
    }
    /* The action that was cut short fails the next time: in doubt, and compensated for nothing. */
    kill_there_and_go_on(*state, true, (stop){"ship", false, false});
}

static void a_saga_that_is_killed_in_a_compensation_goes_on_with_each_effect_once(void **state)
{
    for (int i = 0; i < 2; i++) {
        kill_there_and_go_on(*state, true, (stop){shop_steps[i].name, true, false});
        kill_there_and_go_on(*state, true, (stop){shop_steps[i].name, true, true});
    }
}

static void run_sagas_until_killed(fixture *f)
{
    f->is_open = false;
    rsl_sagas *sagas = open_sagas(f, &child_shop, 3);
    for (uint32_t number = 1;; number++) {
        start_saga(sagas, number);
        tell(number);
    }
}

static void sagas_that_are_killed_at_any_time_are_finished_by_the_next_opening(void **state)
{
    fixture *f = *state;
    seeded_random random = {5};
    make_shop(f);
    child_shop = (shop){.path = NULL};
    uint32_t begun = 0;
    for (int round = 0; round < 5; round++) {
        child c = start_child(f, run_sagas_until_killed);
        uint32_t last = hear(&c);
        for (uint32_t i = seeded_random_below(&random, 6); i > 0; i--) last = hear(&c);
        usleep(seeded_random_below(&random, 5000));
        last = kill_child(&c, last);
        if (last > begun) begun = last;
    }
    shop s = {.path = NULL};
    rsl_sagas *sagas = open_sagas(f, &s, 2);
    for (uint32_t number = 1; number <= begun; number++) {
        rsl_saga_id id = start_saga(sagas, number);
        assert_int_equal(id, number); /* none was begun twice, and none is missing */
        assert_int_equal(wait_saga(sagas, id), RSL_SAGA_DONE);
        assert_rows(f, id, "111 000");
    }
    close_sagas(f);
}

static void a_full_disk_stops_the_sagas_and_the_next_opening_finishes_them(void **state)
{
    static const char payload[30000];
    fixture *f = *state;
    shop s = {.path = NULL};
    make_shop(f);
    rsl_sagas *sagas = open_sagas(f, &s, 0);
    rsl_saga_id first = start_saga(sagas, 1);
    must(inner(f)->db, "PRAGMA max_page_count = 1");
    assert_int_equal(rsl_sagas_start(sagas, "order", "large", payload, sizeof payload, NULL),
                     RSL_EIO);
    assert_int_equal(f->told, SQLITE_FULL);
    rsl_ctx ctx = rsl_within(RSL_SEC(60));
    assert_int_equal(rsl_sagas_wait(sagas, first, &ctx, NULL), RSL_EIO);
    close_sagas(f);
    assert_rows(f, 1, "000 000");

    sagas = open_sagas(f, &s, 0);
    assert_int_equal(wait_saga(sagas, first), RSL_SAGA_DONE);
    close_sagas(f);
    assert_rows(f, 1, "111 000");
}

/* ------------------------------------------------------------------- main */

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_bad_field_of_a_config_is_refused_by_its_name),
        TEST(a_zeroed_config_means_the_documented_defaults),
        TEST(a_store_copies_its_config_and_touches_no_file_before_it_is_opened),
        TEST(a_store_that_is_exclusive_has_none_of_the_functions_of_a_shared_one),
        TEST(what_needs_an_open_store_is_refused_before_that),
        TEST(a_new_store_begins_with_a_uuid_of_its_own_and_ones),
        TEST(the_uuid_stays_and_the_epoch_grows_with_each_opening_in_use),
        TEST(opening_alone_changes_nothing_that_is_stored),
        TEST(the_opening_tells_the_time_of_day),
        TEST(the_durable_way_of_writing_is_in_force),
        TEST(no_busy_timeout_means_none),
        TEST(another_prefix_is_another_store_in_the_same_file),
        TEST(the_tables_of_the_application_are_left_alone),
        TEST(a_store_is_opened_once),
        TEST(a_sentence_names_the_file_and_is_cut_to_its_room),
        TEST(a_second_opening_in_the_same_process_is_fenced),
        TEST(another_process_is_fenced_until_the_first_one_dies),
        TEST(a_forked_child_does_not_keep_the_lock_of_a_store_that_was_closed),
        TEST(the_lock_is_private_and_its_file_stays),
        TEST(one_file_has_one_lock_by_whichever_name_it_is_opened),
        TEST(what_lies_in_the_place_of_the_lock_is_not_followed),
        TEST(errno_says_why_until_the_store_is_closed),
        TEST(a_store_that_was_taken_over_appends_nothing_more),
        TEST(a_store_that_was_taken_over_drops_nothing_more),
        TEST(of_two_that_opened_at_once_one_takes_the_store_into_use),
        TEST(a_record_of_an_older_epoch_is_left_out_and_the_others_are_stored),
        TEST(tables_of_a_newer_version_are_refused),
        TEST(tables_with_other_columns_are_refused),
        TEST(one_table_without_the_other_is_a_loss_and_not_a_new_store),
        TEST(a_meta_row_that_is_missing_or_makes_no_sense_is_damage),
        TEST(a_file_that_is_no_database_is_damage),
        TEST(a_database_that_cannot_have_wal_mode_is_refused),
        TEST(opening_waits_for_a_lock_no_longer_than_the_busy_timeout),
        TEST(a_damaged_page_of_the_table_shows_at_open),
        TEST(records_come_back_as_they_were_by_saga_and_number),
        TEST(the_records_of_one_saga_come_alone),
        TEST(every_size_and_number_that_can_be_comes_back),
        TEST(what_visit_returns_ends_the_load_and_comes_back),
        TEST(a_changed_value_in_a_row_is_damage_and_salvage_passes_it_over),
        TEST(damage_that_was_not_read_before_ends_a_compaction),
        TEST(a_changed_byte_of_a_page_is_noticed_or_says_nothing),
        TEST(nothing_is_appended_before_the_first_compact),
        TEST(an_append_of_any_number_of_records_is_one_sync),
        TEST(a_record_that_cannot_be_is_refused),
        TEST(to_append_again_what_is_stored_is_right),
        TEST(another_record_under_the_same_number_is_corruption_and_ends_the_store),
        TEST(the_next_id_lies_above_all_that_were_ever_appended),
        TEST(a_lock_of_the_application_is_waited_for),
        TEST(a_lock_that_is_not_given_back_ends_the_store),
        TEST(readers_of_the_application_are_in_nobodys_way),
        TEST(the_application_may_change_its_tables_meanwhile),
        TEST(a_full_disk_ends_the_store_and_loses_nothing_that_was_stored),
        TEST(a_file_that_was_moved_away_takes_no_more),
        TEST(compact_shows_each_record_once_and_drops_what_is_not_kept),
        TEST(compact_without_keep_is_refused),
        TEST(the_file_keeps_its_size),
        TEST(every_failed_io_call_ends_the_store_and_loses_nothing),
        TEST(every_failed_allocation_of_sqlite_ends_the_store_and_loses_nothing),
        TEST(a_failed_allocation_of_its_own_leaves_nothing_behind),
        TEST(nothing_acknowledged_is_lost_with_a_process_that_is_killed),
        TEST(the_first_compact_empties_the_wal_that_a_dead_process_left),
        TEST(every_order_of_calls_has_the_effects_that_the_table_says),
        TEST(an_action_that_was_rolled_back_never_came),
        TEST(a_compensation_that_was_rolled_back_comes_first_again),
        TEST(stores_sagas_steps_and_rounds_are_told_apart),
        TEST(what_is_no_key_of_a_step_is_refused),
        TEST(the_barrier_wants_a_transaction_and_its_table),
        TEST(a_barrier_that_fails_leaves_nothing_to_commit),
        TEST(what_is_old_is_forgotten_saga_by_saga),
        TEST(an_action_and_its_compensation_at_once_agree_on_who_was_first),
        TEST(they_agree_in_deferred_transactions_that_begin_with_the_barrier),
        TEST(they_agree_in_deferred_transactions_that_have_read_and_are_run_again),
        TEST(of_two_equal_calls_at_once_one_does_the_work),
        TEST(a_stale_snapshot_is_told_and_lets_nobody_through),
        TEST(a_saga_runs_in_sqlite_and_is_remembered),
        TEST(a_saga_that_fails_is_compensated_in_sqlite),
        TEST(many_sagas_at_once_share_the_file_with_their_store),
        TEST(a_saga_that_is_killed_in_an_action_goes_on_with_each_effect_once),
        TEST(a_saga_that_is_killed_in_a_compensation_goes_on_with_each_effect_once),
        TEST(sagas_that_are_killed_at_any_time_are_finished_by_the_next_opening),
        TEST(a_full_disk_stops_the_sagas_and_the_next_opening_finishes_them),
    };
    memory_configure(); /* before SQLite's first use */
    faulty_register();
    return cmocka_run_group_tests_name("adapters/saga_sqlite.h", tests, NULL, NULL);
}
