/* SPDX-License-Identifier: MIT
   disk.h: a disk in memory, in the place of the file system under saga.h's journal, and all that
   may be left of it after a power cut.

       #define RSL_FILES_H "support/disk.h"
       #define RSL_SAGA_IMPLEMENTATION
       #include "saga.h"

   A run. The journal's calls go to the disk that disk_use() was given. What they change is done
   at once in `names` and `nodes`, as the system's memory shows it, and is written down in `ops`.

   The past. A disk_past goes along the ops, one by one, and knows of each moment what has been
   durable and what was under way.

   A cut. From a past, disk_tour() makes the disks that power can leave there, which are what POSIX
   promises and nothing more:
   - A file holds what it held at its last data sync, and of each later write any part: any of its
     sectors of 512 bytes, and of a sector any first bytes; bytes around a write stay. Its size is
     any that its writes go through. Where it grew and the data is not there, are zeros, or what
     lay there before: bytes of another file, or none that make sense.
   - Of the folder's changes since its last sync, any may be missing; those that are there come in
     order. They name what had the name then: if a file was removed and another one made and
     renamed, and only the renaming is there, it is the former file that has the new name. A
     renaming is never half there. The same goes for the folder's name in its parent.
   - After a data sync that failed, the former writes are clean: memory still shows them, but no
     later sync stores them. So with the names, after a sync of the folder that failed.

   Few writes under way: all of these disks are made, and each once. Many: some are drawn, with
   those among them where all, none, one, all but one, the first or the last are there. And the
   latest write is cut at each of its bytes.

   To be quick, the zeros by which the journal grows are not kept but for the first: a file that
   ends early has the same meaning, and less of it is durable. disk.all_zeros keeps them.

   Faults. The n-th call fails, or reads or writes less than asked for, or is the process's last.
   Bugs: the disk can forget syncs, to see whether the tests would find it out. */
#ifndef SUPPORT_DISK_H
#define SUPPORT_DISK_H

#include <stdlib.h>

#define DISK_UNUSED __attribute__((unused))

enum {
    DISK_SECTOR = 512,
    DISK_NODES = 48,      /* files that a run makes */
    DISK_HANDLES = 12,
    DISK_PENDING = 512,   /* writes under way */
    DISK_BINDS = 64,      /* changes of names under way */
    DISK_TAIL_ = 16384,   /* zeros at the end of a file: from here on they are not kept, */
    DISK_ZEROS_ = 1024    /* but for so many */
};

typedef enum disk_name { DISK_LOCK, DISK_JOURNAL, DISK_NEW, DISK_TORN, DISK_NAMES } disk_name;

static const char *const disk_names_[DISK_NAMES] = {"lock", "journal", "journal.new",
                                                    "journal.torn"};

typedef struct disk_bytes { uint8_t *at; size_t size, room; } disk_bytes;

typedef enum disk_kind {
    DISK_MAKE,   /* the folder gets its name */
    DISK_CREATE, /* node gets a name */
    DISK_UNLINK, /* and loses it */
    DISK_RENAME, /* and gets another one */
    DISK_WRITE,
    DISK_SYNC,
    DISK_FOLDER_SYNC,
    DISK_PARENT_SYNC
} disk_kind;

typedef struct disk_op {
    disk_kind kind;
    bool      failed;   /* a sync */
    int       node, name, to;
    size_t    at, size; /* of a write, */
    size_t    data;     /* and where its bytes are */
} disk_op;

typedef enum disk_fault {
    DISK_EIO, DISK_ENOSPC, DISK_EINTR, DISK_SHORT,
    DISK_DEATH /* from here on nothing has an effect: the process was killed */
} disk_fault;

typedef enum disk_bug {
    DISK_HONEST,
    DISK_FORGETS_DATA,         /* syncs of the journal, */
    DISK_FORGETS_COPY,         /* and of the one to come */
    DISK_FORGETS_FIRST_FOLDER, /* the sync before the renaming, */
    DISK_FORGETS_SECOND_FOLDER,/* and after it */
    DISK_FORGETS_PARENT,
    DISK_SYNCS_LATE,           /* says that it is done, and does it with the next one */
    DISK_HIDES_FAILURES        /* of data syncs */
} disk_bug;

typedef struct disk_handle_ {
    enum { DISK_FREE_, DISK_FILE_, DISK_FOLDER_, DISK_PARENT_ } kind;
    int  node;
    bool writes, locks;
} disk_handle_;

typedef struct disk {
    bool         has_folder;
    int          names[DISK_NAMES]; /* nodes; -1: there is none of that name */
    int          nodes_count;
    disk_bytes   nodes[DISK_NODES];
    disk_handle_ handles[DISK_HANDLES];

    bool         records; /* the ops */
    disk_op     *ops;
    size_t       ops_count, ops_room;
    disk_bytes   data;

    long         calls, fail_at; /* from 1; 0: none */
    disk_fault   fault;
    bool         has_failed, dead;
    bool         misused;        /* a call that no sane journal makes */
    bool         all_zeros;
    disk_bug     bug;
    int          late;           /* the node of DISK_SYNCS_LATE (-1) */
} disk;

static disk    *disk_used_;
static uint64_t disk_drawn_, disk_time_; /* for all disks: nothing is drawn twice */

/* ------------------------------------------------------------------- bytes */

static inline void disk_broken_(const char *why)
{
    printf("Bail out! disk.h: %s\n", why);
    exit(1);
}

/* Zeros where it grows. */
static inline void disk_bytes_resize_(disk_bytes *bytes, size_t size)
{
    if (size > bytes->room) {
        size_t room = 2 * bytes->room > size ? 2 * bytes->room : size + 4096;
        uint8_t *wider = realloc(bytes->at, room);
        if (wider == NULL) {
            disk_broken_("out of memory");
            return;
        }
        bytes->at = wider;
        bytes->room = room;
    }
    if (size > bytes->size) memset(bytes->at + bytes->size, 0, size - bytes->size);
    bytes->size = size;
}

static inline void disk_bytes_put_(disk_bytes *bytes, size_t at, const uint8_t *data, size_t size)
{
    if (size == 0) return;
    if (bytes->size < at + size) disk_bytes_resize_(bytes, at + size);
    memcpy(bytes->at + at, data, size);
}

static inline void disk_bytes_copy_(disk_bytes *bytes, const disk_bytes *from)
{
    bytes->size = 0; /* so that nothing is zeroed for nothing */
    disk_bytes_put_(bytes, 0, from->at, from->size);
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t disk_mix_(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* ------------------------------------------------------------------- a run */

/* An empty disk, without the folder. It keeps its memory. */
DISK_UNUSED static void disk_reset(disk *d)
{
    d->has_folder = d->records = d->has_failed = d->dead = d->misused = d->all_zeros = false;
    for (int i = 0; i < DISK_NAMES; i++) d->names[i] = -1;
    for (int i = 0; i < DISK_HANDLES; i++) d->handles[i].kind = DISK_FREE_;
    d->nodes_count = 0;
    d->ops_count = d->data.size = 0;
    d->calls = d->fail_at = 0;
    d->bug = DISK_HONEST;
    d->late = -1;
}

DISK_UNUSED static void disk_free(disk *d)
{
    for (int i = 0; i < DISK_NODES; i++) free(d->nodes[i].at);
    free(d->ops);
    free(d->data.at);
    memset(d, 0, sizeof *d);
}

/* From here on the journal's calls are this disk's. */
DISK_UNUSED static void disk_use(disk *d)
{
    disk_used_ = d;
}

/* All that is drawn from here on, follows from the seed. */
DISK_UNUSED static void disk_seed(uint64_t seed)
{
    disk_drawn_ = disk_mix_(seed);
    disk_time_ = UINT64_C(1700000000) * 1000000000;
}

/* The n-th call from here on fails. */
DISK_UNUSED static void disk_fail(disk *d, long nth, disk_fault fault)
{
    d->calls = 0;
    d->fail_at = nth;
    d->fault = fault;
    d->has_failed = false;
}

/* The process is gone, killed or not, and has left its files as they are: another one may come. */
DISK_UNUSED static void disk_leave(disk *d)
{
    for (int i = 0; i < DISK_HANDLES; i++) d->handles[i].kind = DISK_FREE_;
    if (d->dead) d->fail_at = 0;
    d->dead = false;
}

static inline disk_op *disk_note_(disk_kind kind, int node)
{
    static disk_op none;
    disk *d = disk_used_;
    if (!d->records) return &none;
    if (d->ops_count == d->ops_room) {
        d->ops_room = 2 * d->ops_room + 256;
        disk_op *wider = realloc(d->ops, d->ops_room * sizeof *wider);
        if (wider == NULL) {
            disk_broken_("out of memory");
            return &none;
        }
        d->ops = wider;
    }
    disk_op *op = &d->ops[d->ops_count++];
    *op = (disk_op){.kind = kind, .node = node, .name = -1, .to = -1};
    return op;
}

typedef enum disk_answer_ { DISK_GOES_ON_, DISK_FAILS_, DISK_IS_SHORT_ } disk_answer_;

static inline disk_answer_ disk_call_(void)
{
    disk *d = disk_used_;
    d->calls++;
    if (!d->dead && d->calls != d->fail_at) return DISK_GOES_ON_;
    d->has_failed = true;
    if (!d->dead && d->fault == DISK_SHORT) return DISK_IS_SHORT_;
    errno = d->fault == DISK_ENOSPC ? ENOSPC : d->fault == DISK_EINTR ? EINTR : EIO;
    if (d->fault == DISK_DEATH) d->dead = true;
    return DISK_FAILS_;
}

static inline int disk_refuse_(int error)
{
    errno = error;
    return -1;
}

static inline disk_handle_ *disk_handle_of_(int handle, int kind)
{
    static disk_handle_ none = {DISK_FILE_, 0, true, false};
    disk *d = disk_used_;
    bool known = handle >= 0 && handle < DISK_HANDLES && (int)d->handles[handle].kind == kind;
    if (!known) d->misused = true;
    return known ? &d->handles[handle] : &none;
}

static inline int disk_handle_make_(int kind, int node, bool writes)
{
    disk *d = disk_used_;
    for (int i = 0; i < DISK_HANDLES; i++) {
        if (d->handles[i].kind != DISK_FREE_) continue;
        d->handles[i].kind = kind == DISK_FILE_     ? DISK_FILE_
                             : kind == DISK_FOLDER_ ? DISK_FOLDER_
                                                    : DISK_PARENT_;
        d->handles[i].node = node;
        d->handles[i].writes = writes;
        d->handles[i].locks = false;
        return i;
    }
    d->misused = true; /* some are never closed */
    return disk_refuse_(EMFILE);
}

static inline int rsl_file_folder_make_(const char *path)
{
    (void)path;
    disk *d = disk_used_;
    if (disk_call_() == DISK_FAILS_) return -1;
    if (d->has_folder) return disk_refuse_(EEXIST);
    d->has_folder = true;
    (void)disk_note_(DISK_MAKE, -1);
    return 0;
}

static inline int rsl_file_folder_open_(const char *path, bool plain)
{
    (void)path;
    if (disk_call_() == DISK_FAILS_) return -1;
    if (plain && !disk_used_->has_folder) return disk_refuse_(ENOENT);
    return disk_handle_make_(plain ? DISK_FOLDER_ : DISK_PARENT_, -1, false);
}

static inline int disk_name_of_(const char *name)
{
    for (int i = 0; i < DISK_NAMES; i++) {
        if (strcmp(name, disk_names_[i]) == 0) return i;
    }
    disk_used_->misused = true;
    return DISK_TORN;
}

static inline int rsl_file_open_(int folder, const char *text, rsl_file_how_ how)
{
    disk *d = disk_used_;
    int name = disk_name_of_(text);
    (void)disk_handle_of_(folder, DISK_FOLDER_);
    bool replaces = how == RSL_FILE_NEW_ && d->names[name] >= 0;
    if (replaces) { /* two calls of the system's */
        if (disk_call_() == DISK_FAILS_) return -1;
        disk_note_(DISK_UNLINK, d->names[name])->name = name;
        d->names[name] = -1;
    }
    if (disk_call_() == DISK_FAILS_) return -1;
    if (d->names[name] < 0) {
        if (how == RSL_FILE_READ_) return disk_refuse_(ENOENT);
        if (d->nodes_count == DISK_NODES) disk_broken_("too many files");
        d->names[name] = d->nodes_count++;
        d->nodes[d->names[name]].size = 0;
        disk_note_(DISK_CREATE, d->names[name])->name = name;
    }
    return disk_handle_make_(DISK_FILE_, d->names[name], how != RSL_FILE_READ_);
}

static inline int rsl_file_look_(int file, rsl_file_facts_ *facts)
{
    disk *d = disk_used_;
    if (disk_call_() == DISK_FAILS_) return -1;
    memset(facts, 0, sizeof *facts);
    facts->is_ours = facts->is_guarded = true;
    if (d->handles[file].kind == DISK_FOLDER_) {
        facts->is_folder = true;
        facts->links = 2;
        return 0;
    }
    int node = disk_handle_of_(file, DISK_FILE_)->node;
    facts->is_regular = true;
    for (int i = 0; i < DISK_NAMES; i++) facts->links += d->names[i] == node;
    facts->size = d->nodes[node].size;
    return 0;
}

static inline ptrdiff_t rsl_file_read_(int file, void *data, size_t size, uint64_t at)
{
    const disk_bytes *bytes = &disk_used_->nodes[disk_handle_of_(file, DISK_FILE_)->node];
    disk_answer_ answer = disk_call_();
    if (answer == DISK_FAILS_) return -1;
    if (at >= bytes->size) return 0;
    if (size > bytes->size - (size_t)at) size = bytes->size - (size_t)at;
    if (answer == DISK_IS_SHORT_ && size > 1) size /= 2;
    if (size > 0) memcpy(data, bytes->at + at, size);
    return (ptrdiff_t)size;
}

/* How much of a write is kept: all but most of the zeros at its end, if there are many and the
   file ends there. */
static inline size_t disk_keeps_(const disk *d, int node, const uint8_t *data, size_t size,
                                 size_t at)
{
    if (d->all_zeros || size < DISK_TAIL_ || at + size < d->nodes[node].size) return size;
    size_t used = size;
    for (size_t step = 4096; step > 0; step /= 64) {
        while (used >= step && data[used - 1] == 0 &&
               memcmp(data + used - step, data + used - step + 1, step - 1) == 0) {
            used -= step;
        }
    }
    return size - used >= DISK_TAIL_ ? used + DISK_ZEROS_ : size;
}

static inline void disk_write_(int node, const uint8_t *data, size_t size, size_t at)
{
    disk *d = disk_used_;
    size = disk_keeps_(d, node, data, size, at);
    disk_bytes_put_(&d->nodes[node], at, data, size);
    if (!d->records || size == 0) return;
    disk_op *op = disk_note_(DISK_WRITE, node);
    op->at = at;
    op->size = size;
    op->data = d->data.size;
    disk_bytes_put_(&d->data, d->data.size, data, size);
}

/* One that fails for the medium or for want of room has done half of it. */
static inline ptrdiff_t rsl_file_write_(int file, const void *data, size_t size, uint64_t at)
{
    disk *d = disk_used_;
    const disk_handle_ *handle = disk_handle_of_(file, DISK_FILE_);
    if (!handle->writes) d->misused = true;
    disk_answer_ answer = disk_call_();
    bool nothing = answer == DISK_FAILS_ && (d->dead || d->fault == DISK_EINTR);
    if (answer != DISK_GOES_ON_ && size > 1) size /= 2;
    int saved = errno;
    if (!nothing) disk_write_(handle->node, (const uint8_t *)data, size, (size_t)at);
    errno = saved;
    return answer == DISK_FAILS_ ? -1 : (ptrdiff_t)size;
}

/* With DISK_SYNCS_LATE: now. */
static inline void disk_late_(void)
{
    disk *d = disk_used_;
    if (d->late >= 0) (void)disk_note_(DISK_SYNC, d->late);
    d->late = -1;
}

static inline int rsl_file_sync_(int file)
{
    disk *d = disk_used_;
    int node = disk_handle_of_(file, DISK_FILE_)->node;
    bool failed = disk_call_() == DISK_FAILS_;
    if (d->dead) return -1;
    disk_late_();
    if (failed) {
        disk_note_(DISK_SYNC, node)->failed = true;
        return d->bug == DISK_HIDES_FAILURES ? 0 : -1;
    }
    if (d->bug == DISK_FORGETS_DATA && node == d->names[DISK_JOURNAL]) return 0;
    if (d->bug == DISK_FORGETS_COPY && node == d->names[DISK_NEW]) return 0;
    if (d->bug == DISK_SYNCS_LATE) d->late = node;
    else (void)disk_note_(DISK_SYNC, node);
    return 0;
}

static inline int rsl_file_folder_sync_(int folder)
{
    disk *d = disk_used_;
    bool parent = d->handles[folder].kind == DISK_PARENT_;
    bool first = !parent && d->names[DISK_NEW] >= 0; /* of the two of a compaction */
    if (!parent) (void)disk_handle_of_(folder, DISK_FOLDER_);
    bool failed = disk_call_() == DISK_FAILS_;
    if (d->dead) return -1;
    disk_late_();
    disk_bug bug = parent  ? DISK_FORGETS_PARENT
                   : first ? DISK_FORGETS_FIRST_FOLDER
                           : DISK_FORGETS_SECOND_FOLDER;
    if (d->bug == bug) return 0;
    disk_note_(parent ? DISK_PARENT_SYNC : DISK_FOLDER_SYNC, -1)->failed = failed;
    return failed ? -1 : 0;
}

static inline int rsl_file_rename_(int folder, const char *from, const char *to)
{
    disk *d = disk_used_;
    int name = disk_name_of_(from), target = disk_name_of_(to);
    (void)disk_handle_of_(folder, DISK_FOLDER_);
    if (disk_call_() == DISK_FAILS_) return -1;
    if (d->names[name] < 0) return disk_refuse_(ENOENT);
    disk_late_();
    disk_op *op = disk_note_(DISK_RENAME, d->names[name]);
    op->name = name;
    op->to = target;
    d->names[target] = d->names[name];
    d->names[name] = -1;
    return 0;
}

static inline int rsl_file_lock_(int file)
{
    disk *d = disk_used_;
    disk_handle_ *handle = disk_handle_of_(file, DISK_FILE_);
    if (disk_call_() == DISK_FAILS_) return -1;
    for (int i = 0; i < DISK_HANDLES; i++) {
        const disk_handle_ *other = &d->handles[i];
        if (other->kind == DISK_FILE_ && other->node == handle->node && other->locks) {
            return disk_refuse_(EWOULDBLOCK);
        }
    }
    handle->locks = true;
    return 0;
}

static inline void rsl_file_close_(int file)
{
    disk *d = disk_used_;
    if (file < 0 || file >= DISK_HANDLES || d->handles[file].kind == DISK_FREE_) d->misused = true;
    else d->handles[file].kind = DISK_FREE_;
}

static inline int rsl_file_random_(void *data, size_t size)
{
    if (disk_call_() == DISK_FAILS_) return -1;
    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0) disk_drawn_ = disk_mix_(disk_drawn_);
        ((uint8_t *)data)[i] = (uint8_t)(disk_drawn_ >> i % 8 * 8);
    }
    return 0;
}

static inline rsl_time rsl_file_time_(void)
{
    disk_time_ += 1000;
    return (rsl_time)disk_time_;
}

static inline long rsl_file_process_(void)
{
    return 4711;
}

/* ---------------------------------------------------------------- the past */

/* An op that is not durable for good. */
typedef struct disk_pending_ {
    size_t op;
    bool   is_there; /* it is durable, behind one that is not */
    bool   is_clean; /* no sync will store it */
} disk_pending_;

typedef struct disk_past {
    const disk   *of;
    size_t        done; /* ops */
    bool          has_folder, makes_folder; /* durable; under way */
    int           names[DISK_NAMES];
    int           nodes_count;
    disk_bytes    nodes[DISK_NODES];
    size_t        writes_count, binds_count;
    disk_pending_ writes[DISK_PENDING], binds[DISK_BINDS];
} disk_past;

/* Before a run, all of what is on the disk is durable. */
DISK_UNUSED static void disk_past_begin(disk_past *past, const disk *d)
{
    past->of = d;
    past->done = past->writes_count = past->binds_count = 0;
    past->has_folder = d->has_folder;
    past->makes_folder = false;
    memcpy(past->names, d->names, sizeof past->names);
    past->nodes_count = d->nodes_count;
    for (int i = 0; i < d->nodes_count; i++) disk_bytes_copy_(&past->nodes[i], &d->nodes[i]);
}

DISK_UNUSED static void disk_past_free(disk_past *past)
{
    for (int i = 0; i < DISK_NODES; i++) free(past->nodes[i].at);
    memset(past, 0, sizeof *past);
}

static inline const disk_op *disk_op_of_(const disk_past *past, const disk_pending_ *pending)
{
    return &past->of->ops[pending->op];
}

static inline void disk_bind_(int names[DISK_NAMES], const disk_op *op, bool by_name)
{
    int node = by_name && names[op->name] >= 0 ? names[op->name] : op->node;
    if (op->kind == DISK_CREATE) names[op->name] = op->node;
    else names[op->name] = -1;
    if (op->kind == DISK_RENAME) names[op->to] = node;
}

/* Of a node (-1: of the names): a sync. What is durable without a gap becomes the ground. */
static inline size_t disk_settle_(disk_past *past, disk_pending_ *pending, size_t count, int node,
                                  bool failed)
{
    bool gap = false;
    for (size_t i = 0; i < count; i++) {
        if (node >= 0 && disk_op_of_(past, &pending[i])->node != node) continue;
        if (failed && !pending[i].is_there) pending[i].is_clean = true;
        if (!failed && !pending[i].is_clean) pending[i].is_there = true;
        gap = gap || !pending[i].is_there;
    }
    if (gap) return count;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const disk_op *op = disk_op_of_(past, &pending[i]);
        if (node >= 0 && op->node != node) pending[kept++] = pending[i];
        else if (node < 0) disk_bind_(past->names, op, false);
        else disk_bytes_put_(&past->nodes[node], op->at, past->of->data.at + op->data, op->size);
    }
    return kept;
}

/* Goes on by one op. */
DISK_UNUSED static void disk_past_step(disk_past *past)
{
    const disk_op *op = &past->of->ops[past->done];
    disk_pending_ pending = {past->done++, false, false};
    switch (op->kind) {
    case DISK_MAKE: past->makes_folder = true; break;
    case DISK_PARENT_SYNC: /* one that failed may be tried again */
        if (!op->failed && past->makes_folder) past->has_folder = true;
        break;
    case DISK_CREATE:
        while (past->nodes_count <= op->node) past->nodes[past->nodes_count++].size = 0;
        __attribute__((fallthrough));
    case DISK_UNLINK:
    case DISK_RENAME:
        if (past->binds_count == DISK_BINDS) disk_broken_("too many names under way");
        else past->binds[past->binds_count++] = pending;
        break;
    case DISK_FOLDER_SYNC:
        past->binds_count = disk_settle_(past, past->binds, past->binds_count, -1, op->failed);
        break;
    case DISK_WRITE:
        if (past->writes_count == DISK_PENDING) disk_broken_("too many writes under way");
        else past->writes[past->writes_count++] = pending;
        break;
    case DISK_SYNC:
        past->writes_count = disk_settle_(past, past->writes, past->writes_count, op->node,
                                          op->failed);
        break;
    }
}

/* ------------------------------------------------------------------- a cut */

/* How choices are made: each way once, depth first, or by chance. */
typedef struct disk_chooser_ {
    bool     by_chance;
    uint64_t random;
    uint32_t depth, known;
    uint8_t  picks[96], counts[96];
} disk_chooser_;

static inline uint32_t disk_choose_(disk_chooser_ *chooser, uint32_t count)
{
    if (count < 2) return 0;
    if (chooser->by_chance) {
        chooser->random = disk_mix_(chooser->random);
        return (uint32_t)((chooser->random >> 32) % count);
    }
    if (chooser->depth == RSL_COUNT(chooser->picks)) {
        disk_broken_("too many choices");
        return 0;
    }
    if (chooser->depth == chooser->known) {
        chooser->picks[chooser->known] = 0;
        chooser->counts[chooser->known++] = (uint8_t)count;
    }
    return chooser->picks[chooser->depth++];
}

/* False: all ways have been gone. */
static inline bool disk_choose_next_(disk_chooser_ *chooser)
{
    chooser->depth = 0;
    while (chooser->known > 0) {
        uint32_t last = chooser->known - 1;
        if (++chooser->picks[last] < chooser->counts[last]) return true;
        chooser->known--;
    }
    return false;
}

/* What is made of one past. */
typedef struct disk_cut_ {
    const disk_past *past;
    disk_chooser_    chooser;
    disk            *to;
    bool             at_byte; /* the latest write ends there, and all else is there or nothing */
    size_t           byte;
    bool             all;     /* with at_byte */
} disk_cut_;

/* Which of a file's sectors are there. */
typedef struct disk_part_ {
    enum { DISK_ALL_, DISK_NONE_, DISK_FIRST_, DISK_LAST_, DISK_ONE_, DISK_ALL_BUT_ONE_,
           DISK_HALF_, DISK_MOST_, DISK_WAYS_, DISK_EACH_WAY_ } way;
    uint32_t pivot, torn; /* sectors by number; torn: only its first bytes are there */
    uint32_t at;          /* the number of the next one */
} disk_part_;

static inline size_t disk_sector_end_(size_t at)
{
    return (at / DISK_SECTOR + 1) * DISK_SECTOR;
}

static inline bool disk_is_there_(disk_cut_ *cut, const disk_part_ *part)
{
    switch (part->way) {
    case DISK_NONE_: return false;
    case DISK_FIRST_: return part->at < part->pivot;
    case DISK_LAST_: return part->at >= part->pivot;
    case DISK_ONE_: return part->at == part->pivot;
    case DISK_ALL_BUT_ONE_: return part->at != part->pivot;
    case DISK_HALF_:
    case DISK_EACH_WAY_: return disk_choose_(&cut->chooser, 2) == 0;
    case DISK_MOST_: return disk_choose_(&cut->chooser, 8) > 0;
    case DISK_ALL_:
    case DISK_WAYS_: break;
    }
    return true;
}

/* How far a file goes, and how many sectors are under way. */
typedef struct disk_span_ { size_t sure, full; uint32_t sectors; } disk_span_;

static inline disk_span_ disk_span_of_(const disk_past *past, int node)
{
    disk_span_ span = {past->nodes[node].size, past->nodes[node].size, 0};
    for (size_t i = 0; i < past->writes_count; i++) {
        const disk_op *op = disk_op_of_(past, &past->writes[i]);
        if (op->node != node) continue;
        size_t end = op->at + op->size;
        if (span.full < end) span.full = end;
        if (past->writes[i].is_there && span.sure < end) span.sure = end;
        if (!past->writes[i].is_there) {
            span.sectors += (uint32_t)((end - 1) / DISK_SECTOR - op->at / DISK_SECTOR + 1);
        }
    }
    return span;
}

/* What two ranges share, copied. */
static inline void disk_overlay_(disk_bytes *bytes, size_t from, size_t to, const uint8_t *data,
                                 size_t at, size_t size)
{
    size_t first = at > from ? at : from, end = at + size < to ? at + size : to;
    if (first < end) memcpy(bytes->at + first, data + (first - at), end - first);
}

/* Sectors that a file got and that were not written yet: they hold what another file had there,
   synced or not. */
static inline void disk_stale_(disk_cut_ *cut, int node, disk_bytes *bytes, size_t from, size_t to)
{
    const disk_past *past = cut->past;
    int other = (int)disk_choose_(&cut->chooser, (uint32_t)past->nodes_count + 1);
    for (size_t at = from; at < to; at++) {
        bytes->at[at] = (uint8_t)(disk_mix_(at / 8) >> at % 8 * 8);
    }
    if (other == node || other == past->nodes_count) return;
    disk_overlay_(bytes, from, to, past->nodes[other].at, 0, past->nodes[other].size);
    for (size_t i = 0; i < past->writes_count; i++) {
        const disk_op *op = disk_op_of_(past, &past->writes[i]);
        if (op->node != other) continue;
        disk_overlay_(bytes, from, to, past->of->data.at + op->data, op->at, op->size);
    }
}

static inline disk_part_ disk_part_choose_(disk_cut_ *cut, const disk_span_ *span, bool fine)
{
    disk_chooser_ *chooser = &cut->chooser;
    disk_part_ part = {DISK_EACH_WAY_, 0, UINT32_MAX, 0};
    if (cut->at_byte) {
        part.way = cut->all ? DISK_ALL_ : DISK_NONE_;
    } else if (chooser->by_chance) {
        uint32_t way = disk_choose_(chooser, DISK_WAYS_);
        for (part.way = DISK_ALL_; way > 0; way--) part.way++;
        part.pivot = disk_choose_(chooser, span->sectors);
        if (disk_choose_(chooser, 3) == 0) part.torn = disk_choose_(chooser, span->sectors);
    } else if (!fine) {
        static const int ways[] = {DISK_ALL_, DISK_NONE_, DISK_ONE_};
        int way = ways[disk_choose_(chooser, 3)];
        part.way = way == DISK_ALL_ ? DISK_ALL_ : way == DISK_NONE_ ? DISK_NONE_ : DISK_ONE_;
        part.pivot = span->sectors - 1;
    }
    return part;
}

/* One write, as far as it is there. Returns how far the file goes by it. */
static inline size_t disk_write_part_(disk_cut_ *cut, disk_part_ *part, const disk_op *op,
                                      bool is_last, disk_bytes *bytes)
{
    const uint8_t *data = cut->past->of->data.at + op->data;
    size_t end = op->at + op->size, reach = 0;
    if (cut->at_byte && is_last) {
        if (cut->byte > 0) memcpy(bytes->at + op->at, data, cut->byte);
        return op->at + cut->byte;
    }
    for (size_t at = op->at, next; at < end; at = next, part->at++) {
        next = disk_sector_end_(at);
        if (next > end) next = end;
        size_t size = next - at;
        if (part->at == part->torn) size = 1 + disk_choose_(&cut->chooser, (uint32_t)size);
        else if (!disk_is_there_(cut, part)) continue;
        memcpy(bytes->at + at, data + (at - op->at), size);
        reach = at + size;
    }
    return reach;
}

static inline size_t disk_size_choose_(disk_cut_ *cut, const disk_span_ *span, size_t reach)
{
    if (span->sure == span->full) return span->full;
    if (cut->at_byte) return disk_choose_(&cut->chooser, 2) == 0 ? reach : span->full;
    switch (disk_choose_(&cut->chooser, cut->chooser.by_chance ? 5 : 3)) {
    case 0: return reach;
    case 1: return span->sure;
    case 2: return span->full;
    default: break;
    }
    size_t more = span->full - span->sure;
    size_t size = span->sure + disk_choose_(&cut->chooser, (uint32_t)more);
    size_t even = size / DISK_SECTOR * DISK_SECTOR;
    return even >= span->sure ? even : size;
}

/* A file after the cut. fine: it may be read. */
static inline void disk_cut_node_(disk_cut_ *cut, int node, bool fine, disk_bytes *bytes)
{
    const disk_past *past = cut->past;
    disk_span_ span = disk_span_of_(past, node);
    disk_bytes_copy_(bytes, &past->nodes[node]);
    if (span.sectors == 0 && span.full == bytes->size) return;
    disk_bytes_resize_(bytes, span.full);
    bool grows = span.full > span.sure;
    bool stale = grows && disk_choose_(&cut->chooser, cut->chooser.by_chance ? 4 : 2) == 1;
    for (size_t i = 0; stale && i < past->writes_count; i++) {
        const disk_op *op = disk_op_of_(past, &past->writes[i]);
        size_t from = op->at > past->nodes[node].size ? op->at : past->nodes[node].size;
        if (op->node == node) disk_stale_(cut, node, bytes, from, op->at + op->size);
    }
    disk_part_ part = disk_part_choose_(cut, &span, fine);
    size_t reach = span.sure;
    for (size_t i = 0; i < past->writes_count; i++) {
        const disk_op *op = disk_op_of_(past, &past->writes[i]);
        size_t end = 0;
        if (op->node != node) continue;
        if (past->writes[i].is_there) {
            memcpy(bytes->at + op->at, past->of->data.at + op->data, op->size);
        } else {
            end = disk_write_part_(cut, &part, op, past->writes[i].op + 1 == past->done, bytes);
        }
        if (reach < end) reach = end;
    }
    disk_bytes_resize_(bytes, disk_size_choose_(cut, &span, reach));
}

/* Makes the disk that the choices say. */
static inline void disk_cut_make_(disk_cut_ *cut)
{
    const disk_past *past = cut->past;
    disk *to = cut->to;
    int names[DISK_NAMES];
    disk_reset(to);
    to->bug = past->of->bug;
    to->all_zeros = past->of->all_zeros;
    to->nodes_count = DISK_NAMES;
    for (int i = 0; i < DISK_NAMES; i++) to->nodes[i].size = 0;
    to->has_folder = past->has_folder;
    if (!to->has_folder && past->makes_folder) {
        to->has_folder = cut->at_byte ? cut->all : disk_choose_(&cut->chooser, 2) == 0;
    }
    if (!to->has_folder) return;
    memcpy(names, past->names, sizeof names);
    for (size_t i = 0; i < past->binds_count; i++) {
        bool sure = past->binds[i].is_there;
        bool there = sure || (cut->at_byte ? cut->all : disk_choose_(&cut->chooser, 2) == 0);
        if (there) disk_bind_(names, disk_op_of_(past, &past->binds[i]), !sure);
    }
    for (int i = 0; i < DISK_NAMES; i++) {
        if (names[i] < 0) continue;
        to->names[i] = i;
        disk_cut_node_(cut, names[i], i == DISK_JOURNAL || i == DISK_LOCK, &to->nodes[i]);
    }
}

/* The number of ways, or a little more; `most` if there are more than that. */
static inline uint64_t disk_cut_ways_(const disk_past *past, uint64_t most)
{
    uint64_t ways = past->makes_folder && !past->has_folder ? 2 : 1;
    bool renames = false;
    for (size_t i = 0; i < past->binds_count; i++) {
        if (past->binds[i].is_there) continue;
        ways *= ways < most ? 2 : 1;
        renames = renames || disk_op_of_(past, &past->binds[i])->kind == DISK_RENAME;
    }
    for (int node = 0; node < past->nodes_count && ways < most; node++) {
        disk_span_ span = disk_span_of_(past, node);
        bool fine = renames || node == past->names[DISK_LOCK] || node == past->names[DISK_JOURNAL];
        if (span.full > span.sure) {
            ways *= 3 * (uint64_t)(past->nodes_count + 2);
        }
        if (!fine && span.sectors > 0) ways *= 3;
        for (uint32_t i = 0; fine && i < span.sectors && ways < most; i++) ways *= 2;
    }
    return ways < most ? ways : most;
}

/* Calls each() with disks that a cut can leave here: all of them if they are no more than `most`,
   else so many that are drawn; then those where the latest write ends at a byte, `bytes` of them
   at most. `to` is the disk that is made again and again. Returns whether it was all. */
DISK_UNUSED static bool disk_tour(const disk_past *past, disk *to, uint64_t most, size_t bytes,
                                  uint64_t seed, void (*each)(disk *left, void *user), void *user)
{
    disk_cut_ cut = {.past = past, .to = to};
    bool all = disk_cut_ways_(past, most + 1) <= most;
    cut.chooser.by_chance = !all;
    cut.chooser.random = disk_mix_(seed);
    uint64_t left = most;
    do {
        disk_cut_make_(&cut);
        each(to, user);
        left--;
    } while (cut.chooser.by_chance ? left > 0 : disk_choose_next_(&cut.chooser));

    const disk_op *last = past->done > 0 ? &past->of->ops[past->done - 1] : NULL;
    if (last == NULL || last->kind != DISK_WRITE || bytes == 0) return all;
    cut.at_byte = cut.chooser.by_chance = true;
    size_t step = last->size / bytes + 1;
    for (cut.byte = seed % step; cut.byte < last->size; cut.byte += step) {
        cut.all = disk_choose_(&cut.chooser, 4) > 0;
        disk_cut_make_(&cut);
        each(to, user);
    }
    return all;
}

static inline uint64_t disk_hash_bytes_(const disk_bytes *bytes)
{
    uint64_t sums[4] = {bytes->size, 1, 2, 3}; /* four at once, as one waits for itself */
    size_t at = 0;
    for (; at + 32 <= bytes->size; at += 32) {
        uint64_t words[4];
        memcpy(words, bytes->at + at, 32);
        for (int i = 0; i < 4; i++) {
            sums[i] = (sums[i] ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
            sums[i] ^= sums[i] >> 32;
        }
    }
    for (; at < bytes->size; at++) sums[0] = disk_mix_(sums[0] ^ bytes->at[at]);
    return disk_mix_(sums[0] + disk_mix_(sums[1] + disk_mix_(sums[2] + disk_mix_(sums[3]))));
}

/* A number that two disks with the same content share, and others do not. */
DISK_UNUSED static uint64_t disk_hash(const disk *d)
{
    uint64_t hash = d->has_folder;
    for (int i = 0; i < DISK_NAMES; i++) {
        uint64_t node = d->names[i] < 0 ? 1 : disk_hash_bytes_(&d->nodes[d->names[i]]);
        hash = disk_mix_(hash ^ node);
    }
    return hash;
}

#endif
