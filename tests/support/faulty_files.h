/* SPDX-License-Identifier: MIT
   faulty_files.h: the file system that the tests of the journal put in place of the real one: the
   system's own calls, or files in memory, and each call fails on demand.

       #define RSL_FILES_H "support/faulty_files.h"
       #define RSL_SAGA_IMPLEMENTATION
       #include "saga.h"

   A call that fails with an error has done half of a write all the same; a sync in memory that
   fails has lost what was not synced before, and the file says nothing of it. Short: half of what
   was asked for is read or written, which is no failure. */
#ifndef SUPPORT_FAULTY_FILES_H
#define SUPPORT_FAULTY_FILES_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------ faults */

typedef enum faulty_call {
    FAULTY_FOLDER_MAKE, FAULTY_FOLDER_OPEN, FAULTY_OPEN, FAULTY_LOOK, FAULTY_READ, FAULTY_WRITE,
    FAULTY_SYNC, FAULTY_FOLDER_SYNC, FAULTY_RENAME, FAULTY_LOCK, FAULTY_RANDOM, FAULTY_CALLS
} faulty_call;

enum { FAULTY_SHORT = 0 };

static struct {
    long calls;    /* since the plan was made */
    long fail_at;  /* this one fails, from 1 (0: none) */
    bool for_ever; /* and all after it */
    int  error;    /* errno, or FAULTY_SHORT */
    bool has_failed;
    faulty_call failed; /* the first that did */
    long count[FAULTY_CALLS]; /* of all calls, ever */
} faulty_;

static inline void faulty_plan(long fail_at, int error, bool for_ever)
{
    faulty_.calls = 0;
    faulty_.fail_at = fail_at;
    faulty_.error = error;
    faulty_.for_ever = for_ever;
    faulty_.has_failed = false;
}

/* Whether a call fails, with errno. *size (may be NULL) is what it is to do nevertheless. */
static inline bool faulty_fails_(faulty_call call, size_t *size)
{
    faulty_.count[call]++;
    long nth = ++faulty_.calls;
    bool hit = faulty_.fail_at != 0 && (nth == faulty_.fail_at ||
                                        (faulty_.for_ever && nth > faulty_.fail_at));
    if (!hit) return false;
    if (!faulty_.has_failed) faulty_.failed = call;
    faulty_.has_failed = true;
    if (size != NULL && *size > 1) *size /= 2;
    if (faulty_.error == FAULTY_SHORT) return false;
    if (size != NULL && faulty_.error == EINTR) *size = 0;
    errno = faulty_.error;
    return true;
}

/* --------------------------------------------------------- files in memory */

enum {
    MEMORY_FILES = 6, MEMORY_SIZE = 1 << 20, MEMORY_HANDLES = 16, MEMORY_FIRST = 100,
    MEMORY_FOLDER = 99
};

typedef struct memory_file {
    char   name[16]; /* "": it has none any more */
    bool   is_used, is_locked;
    int    opens;
    size_t size, synced_size;
    size_t dirty, dirty_end; /* what was written since the last sync */
    uint8_t data[MEMORY_SIZE], synced[MEMORY_SIZE];
} memory_file;

static bool files_in_memory;
static memory_file memory_files_[MEMORY_FILES];
static struct { memory_file *file; bool has_lock; } memory_handles_[MEMORY_HANDLES];

static inline memory_file *memory_named(const char *name)
{
    for (int i = 0; i < MEMORY_FILES; i++) {
        memory_file *file = &memory_files_[i];
        if (file->is_used && strcmp(file->name, name) == 0) return file;
    }
    return NULL;
}

static inline memory_file *memory_of_(int handle)
{
    return memory_handles_[handle - MEMORY_FIRST].file;
}

static inline void memory_drop_(memory_file *file)
{
    if (file->opens == 0 && file->name[0] == '\0') file->is_used = false;
}

static inline void memory_unlink(const char *name)
{
    memory_file *file = memory_named(name);
    if (file == NULL) return;
    file->name[0] = '\0';
    memory_drop_(file);
}

/* Forgets all files; none may be open. */
static inline void memory_clear(void)
{
    for (int i = 0; i < MEMORY_FILES; i++) memory_unlink(memory_files_[i].name);
}

static inline void memory_touched_(memory_file *file, size_t from, size_t end)
{
    if (from < file->dirty) file->dirty = from;
    if (end > file->dirty_end) file->dirty_end = end;
}

static inline void memory_resize(memory_file *file, size_t size)
{
    if (size > MEMORY_SIZE) abort();
    if (size > file->size) {
        memset(file->data + file->size, 0, size - file->size);
        memory_touched_(file, file->size, size);
    }
    file->size = size;
}

static inline void memory_synced_(memory_file *file)
{
    size_t from = file->dirty;
    if (from < file->dirty_end) {
        memcpy(file->synced + from, file->data + from, file->dirty_end - from);
    }
    file->synced_size = file->size;
    file->dirty = MEMORY_SIZE;
    file->dirty_end = 0;
}

static inline void memory_lose_(memory_file *file)
{
    memcpy(file->data, file->synced, file->synced_size);
    file->size = file->synced_size;
    memory_synced_(file);
}

static inline int memory_open_(const char *name, rsl_file_how_ how)
{
    if (how == RSL_FILE_NEW_) memory_unlink(name);
    memory_file *file = memory_named(name);
    if (file == NULL && how == RSL_FILE_READ_) {
        errno = ENOENT;
        return -1;
    }
    for (int i = 0; i < MEMORY_FILES && file == NULL; i++) {
        if (memory_files_[i].is_used) continue;
        file = &memory_files_[i];
        file->is_used = true;
        file->size = 0;
        memory_synced_(file);
        memcpy(file->name, name, strlen(name) + 1);
    }
    int handle = 0;
    while (handle < MEMORY_HANDLES && memory_handles_[handle].file != NULL) handle++;
    if (file == NULL || handle == MEMORY_HANDLES) abort();
    file->opens++;
    memory_handles_[handle].file = file;
    return MEMORY_FIRST + handle;
}

static inline void memory_close_(int handle)
{
    if (handle == MEMORY_FOLDER) return;
    memory_file *file = memory_of_(handle);
    if (memory_handles_[handle - MEMORY_FIRST].has_lock) file->is_locked = false;
    memset(&memory_handles_[handle - MEMORY_FIRST], 0, sizeof memory_handles_[0]);
    file->opens--;
    memory_drop_(file);
}

static inline int memory_lock_(int handle)
{
    memory_file *file = memory_of_(handle);
    if (file->is_locked) {
        errno = EWOULDBLOCK;
        return -1;
    }
    file->is_locked = memory_handles_[handle - MEMORY_FIRST].has_lock = true;
    return 0;
}

static inline ptrdiff_t memory_read_(memory_file *file, void *data, size_t size, uint64_t at)
{
    if (at >= file->size) return 0;
    if (size > file->size - at) size = (size_t)(file->size - at);
    memcpy(data, file->data + at, size);
    return (ptrdiff_t)size;
}

static inline ptrdiff_t memory_write_(memory_file *file, const void *data, size_t size,
                                      uint64_t at)
{
    if (at + size > file->size) memory_resize(file, (size_t)at + size);
    memcpy(file->data + at, data, size);
    memory_touched_(file, (size_t)at, (size_t)at + size);
    return (ptrdiff_t)size;
}

static inline int memory_rename_(const char *from, const char *to)
{
    memory_file *file = memory_named(from);
    if (file == NULL) {
        errno = ENOENT;
        return -1;
    }
    memory_unlink(to);
    memcpy(file->name, to, strlen(to) + 1);
    return 0;
}

/* ------------------------------------------------ what the journal asks for */

static inline int rsl_file_folder_make_(const char *path)
{
    if (faulty_fails_(FAULTY_FOLDER_MAKE, NULL)) return -1;
    return files_in_memory ? 0 : mkdir(path, 0700);
}

static inline int rsl_file_folder_open_(const char *path, bool plain)
{
    if (faulty_fails_(FAULTY_FOLDER_OPEN, NULL)) return -1;
    if (files_in_memory) return MEMORY_FOLDER;
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (plain ? O_NOFOLLOW : 0));
}

static inline int rsl_file_open_(int folder, const char *name, rsl_file_how_ how)
{
    if (faulty_fails_(FAULTY_OPEN, NULL)) return -1;
    if (files_in_memory) return memory_open_(name, how);
    int flags = how == RSL_FILE_READ_ ? O_RDONLY : O_RDWR | O_CREAT;
    if (how == RSL_FILE_NEW_) {
        (void)unlinkat(folder, name, 0);
        flags |= O_EXCL;
    }
    return openat(folder, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static inline int rsl_file_look_(int file, rsl_file_facts_ *facts)
{
    if (faulty_fails_(FAULTY_LOOK, NULL)) return -1;
    struct stat seen = {.st_mode = file == MEMORY_FOLDER ? S_IFDIR : S_IFREG, .st_nlink = 1};
    if (!files_in_memory && fstat(file, &seen) != 0) return -1;
    facts->is_folder = S_ISDIR(seen.st_mode);
    facts->is_regular = S_ISREG(seen.st_mode);
    facts->is_ours = facts->is_guarded = true;
    facts->links = (uint64_t)seen.st_nlink;
    facts->size = (uint64_t)seen.st_size;
    if (files_in_memory && facts->is_regular) facts->size = memory_of_(file)->size;
    return 0;
}

static inline ptrdiff_t rsl_file_read_(int file, void *data, size_t size, uint64_t at)
{
    if (faulty_fails_(FAULTY_READ, &size)) return -1;
    if (files_in_memory) return memory_read_(memory_of_(file), data, size, at);
    return pread(file, data, size, (off_t)at);
}

static inline ptrdiff_t rsl_file_write_(int file, const void *data, size_t size, uint64_t at)
{
    bool fails = faulty_fails_(FAULTY_WRITE, &size);
    int error = errno;
    ptrdiff_t count = files_in_memory ? memory_write_(memory_of_(file), data, size, at)
                                      : pwrite(file, data, size, (off_t)at);
    if (fails) errno = error;
    return fails ? -1 : count;
}

static inline int rsl_file_sync_(int file)
{
    bool fails = faulty_fails_(FAULTY_SYNC, NULL);
    if (!files_in_memory) return fails ? -1 : fdatasync(file);
    if (fails) memory_lose_(memory_of_(file));
    else memory_synced_(memory_of_(file));
    return fails ? -1 : 0;
}

static inline int rsl_file_folder_sync_(int folder)
{
    if (faulty_fails_(FAULTY_FOLDER_SYNC, NULL)) return -1;
    return files_in_memory ? 0 : fsync(folder);
}

static inline int rsl_file_rename_(int folder, const char *from, const char *to)
{
    if (faulty_fails_(FAULTY_RENAME, NULL)) return -1;
    return files_in_memory ? memory_rename_(from, to) : renameat(folder, from, folder, to);
}

static inline int rsl_file_lock_(int file)
{
    if (faulty_fails_(FAULTY_LOCK, NULL)) return -1;
    return files_in_memory ? memory_lock_(file) : flock(file, LOCK_EX | LOCK_NB);
}

static inline void rsl_file_close_(int file)
{
    int saved = errno;
    if (files_in_memory) memory_close_(file);
    else close(file);
    errno = saved;
}

/* The same numbers in each run, but never twice. */
static inline int rsl_file_random_(void *data, size_t size)
{
    static uint64_t state = 88172645463325252u;
    if (faulty_fails_(FAULTY_RANDOM, NULL)) return -1;
    for (size_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)data)[i] = (uint8_t)(state >> 56);
    }
    return 0;
}

static inline rsl_time rsl_file_time_(void)
{
    return RSL_SEC(1700000000);
}

static inline long rsl_file_process_(void)
{
    return 4711;
}

#endif
