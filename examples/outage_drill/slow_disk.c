/* SPDX-License-Identifier: MIT
   slow_disk.c: a VFS under SQLite that hands everything to the system's own and, when told to,
   takes its time over each read, write and sync. To SQLite that is a slow disk: locks are held
   longer, and no deadline can interrupt an I/O that is under way. */
#include "drill.h"

#include <string.h>
#include <time.h>

static _Atomic int64_t delay; /* nanoseconds of each I/O */

void slow_disk_set(rsl_time of_each)
{
    atomic_store(&delay, of_each);
}

static void take_time(void)
{
    int64_t wait = atomic_load(&delay);
    if (wait <= 0) return;
    struct timespec span = {(time_t)(wait / RSL_SEC(1)), (long)(wait % RSL_SEC(1))};
    nanosleep(&span, NULL);
}

typedef struct slow_file {
    sqlite3_file  base;
    sqlite3_file *real; /* stands right behind this struct */
} slow_file;

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((slow_file *)file)->real;
}

static int slow_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int slow_read(sqlite3_file *f, void *to, int size, sqlite3_int64 at)
{
    take_time();
    return real_of(f)->pMethods->xRead(real_of(f), to, size, at);
}

static int slow_write(sqlite3_file *f, const void *from, int size, sqlite3_int64 at)
{
    take_time();
    return real_of(f)->pMethods->xWrite(real_of(f), from, size, at);
}

static int slow_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int slow_sync(sqlite3_file *f, int flags)
{
    take_time();
    return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int slow_file_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int slow_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int slow_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int slow_check_reserved_lock(sqlite3_file *f, int *is_locked)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), is_locked);
}

static int slow_file_control(sqlite3_file *f, int what, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), what, arg);
}

static int slow_sector_size(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int slow_characteristics(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int slow_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **at)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, at);
}

static int slow_shm_lock(sqlite3_file *f, int offset, int count, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, count, flags);
}

static void slow_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int slow_shm_unmap(sqlite3_file *f, int remove)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

/* Version 2 has the shared memory of WAL mode and leaves out memory-mapped I/O, which would pass
   by the delay. */
static const sqlite3_io_methods SLOW_IO = {
    .iVersion = 2, .xClose = slow_close, .xRead = slow_read, .xWrite = slow_write,
    .xTruncate = slow_truncate, .xSync = slow_sync, .xFileSize = slow_file_size,
    .xLock = slow_lock, .xUnlock = slow_unlock, .xCheckReservedLock = slow_check_reserved_lock,
    .xFileControl = slow_file_control, .xSectorSize = slow_sector_size,
    .xDeviceCharacteristics = slow_characteristics, .xShmMap = slow_shm_map,
    .xShmLock = slow_shm_lock, .xShmBarrier = slow_shm_barrier, .xShmUnmap = slow_shm_unmap};

static int slow_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *given)
{
    sqlite3_vfs *system = vfs->pAppData;
    slow_file *slow = (slow_file *)file;
    slow->real = (sqlite3_file *)(void *)(slow + 1);
    int code = system->xOpen(system, name, slow->real, flags, given);
    slow->base.pMethods = slow->real->pMethods != NULL ? &SLOW_IO
                                                       : NULL; /* then xClose is called */
    return code;
}

/* The drill's connections use it unasked, in both runs and whether the disk is slow or not. */
bool slow_disk_install(void)
{
    static sqlite3_vfs slow;
    sqlite3_vfs *system = sqlite3_vfs_find(NULL);
    if (system == NULL) return false;
    slow =
        *system; /* everything but opening is the system's own, which does not look at its VFS */
    slow.zName = "slow_disk";
    slow.pAppData = system;
    slow.szOsFile = (int)sizeof(slow_file) + system->szOsFile;
    slow.xOpen = slow_open;
    slow.pNext = NULL;
    return sqlite3_vfs_register(&slow, 1) == SQLITE_OK;
}
