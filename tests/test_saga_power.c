/* SPDX-License-Identifier: MIT
   test_saga_power.c: the file journal of saga.h through power cuts. Runs are made on a disk in
   memory (support/disk.h); then each of their moments is cut, and every disk that may be left, or
   many of them, is opened again. Recovering runs are cut as well. And each call of a run fails,
   before such cuts. Then the same with the whole engine, whose steps leave effects in a world that
   no cut touches. At last the disk forgets syncs, and the test must find that out. Prints TAP.

       test_saga_power [states [seed]]      of the first test (1,000,000; 1) */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1
#endif

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long memory_taken, memory_fail_at; /* the allocation that fails, from 1; 0: none */

/* Buffers are used again, each for blocks of its very size: to get them anew for each disk takes
   longer than all that is done with them. */
static struct { void *block; size_t size; bool used; } buffers[16];

static void *memory_take(size_t size)
{
    if (++memory_taken == memory_fail_at) return NULL;
    void *block = NULL;
    for (size_t i = 0; size >= 16384 && i < sizeof buffers / sizeof *buffers; i++) {
        bool fits = buffers[i].block != NULL && buffers[i].size == size && !buffers[i].used;
        if (buffers[i].block != NULL && !fits) continue;
        block = fits ? buffers[i].block : malloc(size);
        buffers[i].block = block;
        buffers[i].size = size;
        buffers[i].used = block != NULL;
        return block;
    }
    return malloc(size);
}

static void memory_give(void *block)
{
    for (size_t i = 0; block != NULL && i < sizeof buffers / sizeof *buffers; i++) {
        if (buffers[i].block != block) continue;
        buffers[i].used = false;
        return;
    }
    free(block);
}

/* False: some are still in use. */
static bool memory_end(void)
{
    bool clean = true;
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        clean = clean && !buffers[i].used;
        free(buffers[i].block);
        buffers[i].block = NULL;
    }
    return clean;
}

#define RSL_MALLOC(size) memory_take(size)
#define RSL_FREE(block)  memory_give(block)

#define RSL_FILES_H "support/disk.h"
#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"

#include "support/support.h"

/* How many times slower than usual it is here, about. */
static unsigned slowness(void)
{
#if defined __SANITIZE_THREAD__
    return 100;
#elif defined __SANITIZE_ADDRESS__
    return 20;
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
    return 100;
#elif __has_feature(address_sanitizer)
    return 20;
#endif
#endif
    const char *loaded = getenv("LD_PRELOAD");
    return loaded != NULL && strstr(loaded, "vgpreload") != NULL ? 400 : 1;
}

/* ---------------------------------------------------------------- failures */

enum { TOLD_MAX = 5 };

/* Of the test under way. */
static struct {
    uint64_t    failures;
    bool        silent; /* failures are wanted */
    uint64_t    seed;
    long        fail_at;
    disk_fault  fault;
    size_t      moment, inner_moment; /* ops before the cut */
    const char *first; /* failure */
    const char *what;
} now;

static void fail(const char *why, const char *error)
{
    if (now.failures++ == 0) now.first = why;
    if (now.silent || now.failures > TOLD_MAX) return;
    printf("# %s, seed %llu, fault %d in call %ld, cut after op %zu, then %zu: %s%s%s\n", now.what,
           (unsigned long long)now.seed, (int)now.fault, now.fail_at, now.moment,
           now.inner_moment, why, error[0] != '\0' ? ": " : "", error);
}

/* ------------------------------------------------------------- the ledger */

enum { ENTRIES_MAX = 128, MOMENTS_MAX = 2048, NOISE = 700 << 10 };

static uint8_t noise[NOISE];

/* What is to be said of a record at a moment. */
typedef enum fate {
    FATE_NONE,   /* it was not given to append: it must not be there */
    FATE_OPEN,   /* it was, and nobody was told of it as done: it may be there, if those are that
                    were given before */
    FATE_KEPT,   /* it is durable: it must be there */
    FATE_LEAVING,/* a compaction is to drop it: it may be there, but only with all of them */
    FATE_GONE    /* it was dropped, or lost before anybody was told: it must not be there */
} fate;

/* All records of a run in order, number by number, and when their fate changed. */
typedef struct ledger {
    rsl_saga_record entries[ENTRIES_MAX];
    fate            fates[ENTRIES_MAX]; /* now */
    int             count;
    struct { size_t op; int entry; fate fate; } moments[MOMENTS_MAX];
    size_t          moments_count;
    struct { size_t op; uint64_t epoch; } owners[16]; /* once they have taken it into use */
    size_t          owners_count;
    char            uuid[37]; /* from the first owner on */
} ledger;

/* The same at one moment. */
typedef struct standing {
    fate        fates[ENTRIES_MAX];
    uint64_t    epoch;  /* of the latest owner (0) */
    rsl_saga_id id_max; /* of records that are, or were, durable */
    size_t      moment, owner;
} standing;

static void ledger_say(ledger *l, size_t op, int entry, fate f)
{
    if (l->fates[entry] == f) return;
    if (l->moments_count == MOMENTS_MAX) {
        fail("the ledger is too small", "");
        return;
    }
    l->fates[entry] = f;
    l->moments[l->moments_count].op = op;
    l->moments[l->moments_count].entry = entry;
    l->moments[l->moments_count++].fate = f;
}

static void ledger_own(ledger *l, size_t op, const rsl_saga_opening *opening)
{
    l->owners[l->owners_count].op = op;
    l->owners[l->owners_count].epoch = opening->epoch;
    if (l->owners_count + 1 < RSL_COUNT(l->owners)) l->owners_count++;
    memcpy(l->uuid, opening->uuid, sizeof l->uuid);
}

/* The next record of a ledger. Its data is a piece of the noise, in which there are zeros too. */
static rsl_saga_record *ledger_add(ledger *l, uint64_t epoch, size_t size)
{
    int i = l->count < ENTRIES_MAX - 1 ? l->count++ : l->count - 1;
    rsl_saga_record *record = &l->entries[i];
    record->saga = 1 + (uint64_t)i / 3;
    record->epoch = epoch;
    record->number = (uint32_t)i + 1;
    record->state = (rsl_saga_state)(i % 6);
    record->data = noise + (size_t)i * 487 % 65536;
    record->size = size;
    record->status = RSL_OK;
    return record;
}

static void standing_advance(standing *s, const ledger *l, size_t op)
{
    for (; s->moment < l->moments_count && l->moments[s->moment].op <= op; s->moment++) {
        int entry = l->moments[s->moment].entry;
        s->fates[entry] = l->moments[s->moment].fate;
        if (s->fates[entry] == FATE_KEPT && l->entries[entry].saga > s->id_max) {
            s->id_max = l->entries[entry].saga;
        }
    }
    for (; s->owner < l->owners_count && l->owners[s->owner].op <= op; s->owner++) {
        s->epoch = l->owners[s->owner].epoch;
    }
}

/* What a load came upon. */
typedef struct seen {
    const ledger *ledger;
    bool          has[ENTRIES_MAX];
    int           last;
    const char   *wrong;
} seen;

static int see(void *user, const rsl_saga_record *record)
{
    seen *s = user;
    const ledger *l = s->ledger;
    int i = (int)record->number - 1;
    const rsl_saga_record *entry = &l->entries[i >= 0 && i < l->count ? i : 0];
    if (i < 0 || i >= l->count || entry->saga != record->saga || entry->epoch != record->epoch ||
        entry->state != record->state || entry->size != record->size ||
        (record->size > 0 && memcmp(entry->data, record->data, record->size) != 0)) {
        s->wrong = "a record that was never given to append";
    } else if (i <= s->last) {
        s->wrong = "a record twice, or out of order";
    } else {
        s->has[i] = true;
        s->last = i;
    }
    return RSL_OK;
}

/* NULL, or why this must not be. */
static const char *judge(const fate *fates, const seen *found)
{
    bool open_missing = false, leaving = false, leaving_known = false;
    if (found->wrong != NULL) return found->wrong;
    for (int i = 0; i < found->ledger->count; i++) {
        bool has = found->has[i];
        switch (fates[i]) {
        case FATE_NONE:
            if (has) return "a record that was not given to append yet";
            break;
        case FATE_GONE:
            if (has) return "a record that was dropped, or lost before";
            break;
        case FATE_KEPT:
            if (!has) return "an acknowledged record is lost";
            break;
        case FATE_OPEN:
            if (has && open_missing) return "a record without the one before it";
            open_missing = open_missing || !has;
            break;
        case FATE_LEAVING:
            if (leaving_known && leaving != has) return "half of a compaction";
            leaving = has;
            leaving_known = true;
            break;
        }
    }
    return NULL;
}

/* ----------------------------------------------------------- a run, a cut */

/* A run on a disk, what is known of its past, and how things stand at one moment of it. */
typedef struct level {
    disk     *disk;
    disk_past past;
    ledger    ledger;
    standing  standing;
    uint64_t  key; /* another one when they stand otherwise */
} level;

/* What a store says that is open must fit. */
static const char *check_found(rsl_saga_store *store, const rsl_saga_opening *opening,
                               const level *l, seen *found)
{
    *found = (seen){.ledger = &l->ledger, .last = -1};
    int status = store->load(store->self, 0, see, found);
    if (status != RSL_OK) return rsl_strerror(status);
    const char *why = judge(l->standing.fates, found);
    if (why != NULL) return why;
    if (opening->epoch <= l->standing.epoch) return "the epoch does not grow";
    if (opening->next_id <= l->standing.id_max) return "an id may be used twice";
    if (l->standing.epoch > 0 && strcmp(opening->uuid, l->ledger.uuid) != 0) return "another uuid";
    return NULL;
}

/* ------------------------------------------------------------------ a host */

/* A process that has the journal open, or tries to. */
typedef struct host {
    disk            *disk;
    ledger          *ledger;
    const level     *after; /* the cut before it, until it has found what that left; or NULL */
    rsl_saga_store   store;
    bool             open;
    rsl_saga_opening opening;
    bool             drops[ENTRIES_MAX];
    char             error[200];
} host;

static void host_close(host *h)
{
    if (h->open) h->store.close(h->store.self);
    h->open = false;
    disk_leave(h->disk);
}

static bool host_keeps(void *user, const rsl_saga_record *record)
{
    const host *h = user;
    return !h->drops[record->number > 0 && record->number <= ENTRIES_MAX ? record->number - 1 : 0];
}

/* Sagas to be dropped, by their number modulo 8. Only what is durable is, and none while it is
   open whether others are gone. */
static void host_choose(host *h, unsigned mask)
{
    ledger *l = h->ledger;
    for (int i = 0; i < l->count; i++) {
        if (l->fates[i] == FATE_LEAVING) mask = 0;
    }
    for (int i = 0; i < ENTRIES_MAX; i++) {
        bool kept = i < l->count && l->fates[i] == FATE_KEPT;
        h->drops[i] = kept && (mask >> l->entries[i].saga % 8 & 1) != 0;
        if (h->drops[i]) ledger_say(l, h->disk->ops_count, i, FATE_LEAVING);
    }
}

/* What is there after a cut, is all there is. */
static void host_inherit(host *h)
{
    seen found;
    const char *why = check_found(&h->store, &h->opening, h->after, &found);
    if (why != NULL) fail(why, "");
    for (int i = 0; i < h->ledger->count; i++) {
        ledger_say(h->ledger, 0, i, found.has[i] ? FATE_KEPT : FATE_GONE);
    }
    h->after = NULL;
}

/* It was taken into use: what was open or leaving is now kept or gone. */
static void host_owns(host *h, const seen *found)
{
    ledger *l = h->ledger;
    for (int i = 0; i < l->count; i++) {
        bool stays = found->has[i] && !h->drops[i];
        ledger_say(l, h->disk->ops_count, i, stays ? FATE_KEPT : FATE_GONE);
    }
    for (size_t i = 0; i < l->owners_count; i++) {
        if (l->owners[i].epoch >= h->opening.epoch) fail("an epoch twice", "");
    }
    if (l->owners_count > 0 && strcmp(l->uuid, h->opening.uuid) != 0) fail("another uuid", "");
    ledger_own(l, h->disk->ops_count, &h->opening);
}

static int host_take(host *h, unsigned mask)
{
    seen found = {.ledger = h->ledger, .last = -1};
    int status = h->store.open(h->store.self, false, &h->opening, h->error, sizeof h->error);
    if (status == RSL_OK && h->after != NULL) host_inherit(h);
    if (status == RSL_OK) status = h->store.load(h->store.self, 0, see, &found);
    if (status != RSL_OK) return status;
    const char *why = judge(h->ledger->fates, &found);
    if (why != NULL) fail(why, "");
    host_choose(h, mask);
    status = h->store.compact(h->store.self, host_keeps, h, 0);
    if (status == RSL_OK && !h->disk->dead) host_owns(h, &found);
    return status;
}

/* Opens, reads, and takes it into use without the sagas in mask. */
static int host_open(host *h, unsigned mask)
{
    disk_use(h->disk);
    h->error[0] = '\0';
    int status = rsl_saga_file_make_(&h->store, "/disk/sagas");
    h->open = status == RSL_OK;
    if (status == RSL_OK) status = host_take(h, mask);
    if (status != RSL_OK) host_close(h);
    return status;
}

/* A store that failed must take nothing any more, and write nothing. */
static void host_is_poisoned(host *h)
{
    if (h->disk->dead) return;
    size_t ops = h->disk->ops_count;
    rsl_saga_record late = {.saga = 1, .number = 1};
    if (h->store.append(h->store.self, &late, 1) != RSL_EIO) fail("appends after a failure", "");
    if (h->store.compact(h->store.self, host_keeps, h, 0) != RSL_EIO) {
        fail("compacts after a failure", "");
    }
    if (h->disk->ops_count != ops) fail("writes after a failure", "");
}

static int host_append(host *h, const size_t *sizes, int count)
{
    ledger *l = h->ledger;
    rsl_saga_record batch[8];
    int first = l->count;
    for (int i = 0; i < count; i++) {
        batch[i] = *ledger_add(l, h->opening.epoch, sizes[i]);
        ledger_say(l, h->disk->ops_count, first + i, FATE_OPEN);
    }
    int status = h->store.append(h->store.self, batch, (size_t)count);
    bool done = status == RSL_OK && !h->disk->dead;
    for (int i = first; done && i < l->count; i++) {
        ledger_say(l, h->disk->ops_count, i, FATE_KEPT);
    }
    if (status != RSL_OK) host_is_poisoned(h);
    return status;
}

static int host_compact(host *h, unsigned mask)
{
    host_choose(h, mask);
    int status = h->store.compact(h->store.self, host_keeps, h, 0);
    bool done = status == RSL_OK && !h->disk->dead;
    for (int i = 0; done && i < h->ledger->count; i++) {
        if (h->drops[i]) ledger_say(h->ledger, h->disk->ops_count, i, FATE_GONE);
    }
    if (status != RSL_OK) host_is_poisoned(h);
    return status;
}

/* --------------------------------------------------------------- a script */

/* What processes do one after another, by a seed. */
typedef struct script {
    seeded_random random;
    bool          large; /* records of some 100 KiB are among them */
    bool          kills; /* processes are killed */
    int           rounds;
} script;

static uint32_t draw(script *s, uint32_t below)
{
    return seeded_random_below(&s->random, below);
}

static size_t draw_size(script *s)
{
    switch (draw(s, s->large ? 13 : 12)) {
    case 0: return 0;
    case 1: return 452; /* with its frame a sector */
    case 2: return 4096 + draw(s, 3000);
    case 3:
    case 4:
    case 5: return 100 + draw(s, 900);
    case 12: return (200 << 10) + draw(s, 200 << 10);
    default: return draw(s, 80);
    }
}

static int script_act(script *s, host *h)
{
    size_t sizes[8];
    if (draw(s, 4) == 0) return host_compact(h, draw(s, 256));
    int count = draw(s, 2) == 0 ? 1 : 1 + (int)draw(s, 8);
    if (h->ledger->count + count > ENTRIES_MAX - 8) return RSL_OK;
    for (int i = 0; i < count; i++) sizes[i] = draw_size(s);
    return host_append(h, sizes, count);
}

/* Whether the fault that was planned can be the reason. */
static bool is_excused(disk *d, int status)
{
    bool excused = d->has_failed && (status == RSL_EIO || status == RSL_ESYS);
    d->has_failed = false;
    return excused;
}

/* One process: opens, acts, closes or is killed. */
static int script_round(script *s, host *h)
{
    int status = host_open(h, draw(s, 3) == 0 ? draw(s, 256) : 0);
    if (status != RSL_OK) return status;
    bool dies = s->kills && draw(s, 2) == 0;
    for (uint32_t i = 1 + draw(s, 4); i > 0 && status == RSL_OK; i--) {
        if (dies && i == 1) disk_fail(h->disk, 1 + (long)draw(s, 6), DISK_DEATH);
        status = script_act(s, h);
    }
    if (dies) h->disk->fail_at = 0;
    host_close(h);
    return status;
}

/* After a failure the next process must have no trouble. */
static void script_run(script *s, host *h)
{
    bool excused = false;
    for (int round = 0; round < s->rounds || excused; round++) {
        int status = script_round(s, h);
        excused = is_excused(h->disk, status) && status != RSL_OK;
        if (status == RSL_OK || excused) continue;
        fail(rsl_strerror(status), h->error);
        return;
    }
    if (h->disk->misused) fail("a call that makes no sense", "");
}

/* -------------------------------------------------------------- exploring */

enum { KNOWN = 1 << 18 };

/* outer: a run from an empty disk on; inner: one on a disk that a cut has left of it. */
static struct {
    disk     disks[3];      /* of these two, and what a cut leaves of the inner one */
    level    outer, inner;
    uint64_t known[KNOWN];  /* disks that were looked at, with all that must hold for them */
    size_t   known_count;
    uint64_t drawn;
    uint64_t states, inner_states, repeated, cuts, full; /* of the test under way; full: cuts
                               of which all disks were made */
    uint64_t most;          /* disks of a cut, */
    size_t   bytes;         /* and of those where the latest write ends somewhere */
    uint32_t some;          /* of so many moments one is cut (1) */
    uint32_t every;         /* of so many disks one is recovered under cuts; 0: none */
} ex;

static void forget_known(void)
{
    memset(ex.known, 0, sizeof ex.known);
    ex.known_count = 0;
}

static bool is_known(uint64_t key)
{
    if (ex.known_count > KNOWN / 2) forget_known();
    if (key == 0) key = 1;
    for (size_t i = (size_t)(key % KNOWN);; i = (i + 1) % KNOWN) {
        if (ex.known[i] == key) return true;
        if (ex.known[i] != 0) continue;
        ex.known[i] = key;
        ex.known_count++;
        return false;
    }
}

/* Whether a disk is new, among those for which the same must hold. */
static bool is_new(const disk *left, uint64_t key)
{
    bool known = is_known(disk_mix_(disk_hash(left) ^ key));
    ex.repeated += known;
    ex.states += !known;
    return !known;
}

static uint32_t chance(uint32_t below)
{
    ex.drawn = disk_mix_(ex.drawn);
    return (uint32_t)((ex.drawn >> 32) % below);
}

/* Cuts a run at all its moments, or some. */
static void tour(level *l, disk *to, uint64_t most, size_t bytes, size_t *moment,
                 void (*each)(disk *left, void *user))
{
    for (size_t op = 0; !now.silent || now.failures == 0; op++) {
        size_t stood = l->standing.moment + l->standing.owner;
        standing_advance(&l->standing, &l->ledger, op);
        if (stood != l->standing.moment + l->standing.owner) l->key = disk_mix_(l->key + op);
        *moment = op;
        if (ex.some < 2 || chance(ex.some) == 0) {
            ex.cuts++;
            ex.full += disk_tour(&l->past, to, most, bytes, disk_mix_(ex.drawn + op), each, l);
        }
        if (op == l->disk->ops_count) break;
        disk_past_step(&l->past);
    }
    *moment = 0;
}

static bool keep_all(void *user, const rsl_saga_record *record)
{
    (void)user, (void)record;
    return true;
}

static bool is_same(const seen *a, const seen *b)
{
    return b->wrong == NULL && memcmp(a->has, b->has, sizeof a->has) == 0;
}

/* Taken into use, it must hold the same, take a record more, and hold that too when it is opened
   again. */
static const char *check_use(rsl_saga_store *store, rsl_saga_opening *opening, ledger *l,
                             seen *found)
{
    seen again = {.ledger = l, .last = -1};
    if (store->compact(store->self, keep_all, NULL, 0) != RSL_OK) return "cannot compact";
    if (store->load(store->self, 0, see, &again) != RSL_OK) return "cannot load what it wrote";
    if (!is_same(found, &again)) return "compacting has changed something";
    if (chance(2) == 0) return NULL;
    rsl_saga_record more = *ledger_add(l, opening->epoch, chance(300));
    found->has[l->count - 1] = true;
    if (store->append(store->self, &more, 1) != RSL_OK) return "cannot append";
    store->close(store->self);
    uint64_t epoch = opening->epoch;
    if (rsl_saga_file_make_(store, "/disk/sagas") != RSL_OK) {
        store->self = NULL;
        return "out of memory";
    }
    int status = store->open(store->self, false, opening, NULL, 0);
    again = (seen){.ledger = l, .last = -1};
    if (status == RSL_OK) status = store->load(store->self, 0, see, &again);
    if (status != RSL_OK || !is_same(found, &again)) return "what was appended is not there";
    return opening->epoch > epoch ? NULL : "the epoch does not grow";
}

/* The tool that reads journals must say the same. */
static const char *check_tool(const disk *left, const ledger *l, const seen *found)
{
    rsl_saga_journal_report report;
    seen all = {.ledger = l, .last = -1};
    bool is_there = left->names[DISK_JOURNAL] >= 0;
    int status = rsl_saga_journal_read("/disk/sagas", &report, see, &all, NULL, 0);
    if (status != (is_there ? RSL_OK : RSL_ESYS)) return "the tool cannot read it";
    if (!is_there) return NULL;
    uint64_t count = 0;
    for (int i = 0; i < l->count; i++) count += found->has[i];
    if (report.status != RSL_OK && report.status != RSL_EIO) return "the tool sees corruption";
    return report.records == count ? NULL : "the tool counts other records";
}

/* A disk after a cut: opened, judged, used. */
static void check_disk(disk *left, level *l)
{
    rsl_saga_store store;
    rsl_saga_opening opening;
    seen found;
    char error[200] = "";
    int count = l->ledger.count;
    disk_use(left);
    if (rsl_saga_file_make_(&store, "/disk/sagas") != RSL_OK) {
        fail("out of memory", "");
        return;
    }
    int status = store.open(store.self, false, &opening, error, sizeof error);
    const char *why = status == RSL_OK ? check_found(&store, &opening, l, &found)
                                       : rsl_strerror(status);
    if (why == NULL && chance(8) == 0) why = check_tool(left, &l->ledger, &found);
    if (why == NULL) why = check_use(&store, &opening, &l->ledger, &found);
    if (store.self != NULL) store.close(store.self);
    if (why == NULL && left->misused) why = "a call that makes no sense";
    if (why != NULL) fail(why, error);
    l->ledger.count = count;
}

static void each_inner(disk *left, void *user)
{
    level *l = user;
    if (!is_new(left, l->key)) return;
    ex.inner_states++;
    check_disk(left, l);
}

/* Recovers on a disk after a cut, and goes on there, and is cut again. */
static void explore_inner(disk *left)
{
    level *outer = &ex.outer, *inner = &ex.inner;
    inner->disk = left;
    disk_past_begin(&inner->past, left);
    inner->ledger = outer->ledger;
    inner->ledger.moments_count = inner->ledger.owners_count = 0;
    memset(inner->ledger.fates, 0, sizeof inner->ledger.fates);
    memset(&inner->standing, 0, sizeof inner->standing);
    inner->standing.epoch = outer->standing.epoch;
    inner->standing.id_max = outer->standing.id_max;
    inner->key = disk_mix_(outer->key + ex.states);
    host h = {.disk = left, .ledger = &inner->ledger, .after = outer};
    script s = {.random = {disk_mix_(ex.drawn) | 1}, .rounds = 1 + (int)chance(2)};
    left->records = true;
    script_run(&s, &h);
    tour(inner, &ex.disks[2], ex.most / 8 + 2, ex.bytes / 8, &now.inner_moment, each_inner);
}

static void each_outer(disk *left, void *user)
{
    level *l = user;
    if (!is_new(left, l->key)) return;
    if (ex.every > 0 && chance(ex.every) == 0) explore_inner(left);
    else check_disk(left, l);
}

/* An empty disk, and nothing known of it. */
static void explore_start(uint64_t seed, disk_bug bug, long fail_at, disk_fault fault)
{
    level *outer = &ex.outer;
    if (ex.known_count > KNOWN / 4) forget_known(); /* keys of runs differ */
    now.seed = seed;
    now.fail_at = fail_at;
    now.fault = fault;
    disk_seed(seed);
    outer->disk = &ex.disks[0];
    disk_reset(outer->disk);
    outer->disk->records = true;
    outer->disk->bug = bug;
    disk_fail(outer->disk, fail_at, fault);
    outer->ledger.count = 0;
    outer->ledger.moments_count = outer->ledger.owners_count = 0;
    memset(outer->ledger.fates, 0, sizeof outer->ledger.fates);
    memset(&outer->standing, 0, sizeof outer->standing);
    outer->key = disk_mix_(seed ^ (uint64_t)fail_at << 32 ^ (uint64_t)fault << 60);
    ex.drawn = disk_mix_(outer->key);
    disk_past_begin(&outer->past, outer->disk);
}

/* Makes a run by a script, and cuts it. */
static void explore(uint64_t seed, script *s, disk_bug bug, long fail_at, disk_fault fault)
{
    explore_start(seed, bug, fail_at, fault);
    ex.disks[0].all_zeros = s->large;
    host h = {.disk = &ex.disks[0], .ledger = &ex.outer.ledger};
    s->random.state = disk_mix_(seed) | 1;
    script_run(s, &h);
    tour(&ex.outer, &ex.disks[1], ex.most, ex.bytes, &now.moment, each_outer);
}

static void explore_begin(const char *what, bool silent, uint64_t most, size_t bytes)
{
    now.failures = 0;
    now.silent = silent;
    now.what = what;
    now.moment = now.inner_moment = 0;
    ex.states = ex.inner_states = ex.repeated = ex.cuts = ex.full = 0;
    ex.most = most;
    ex.bytes = bytes;
    ex.some = 1;
    ex.every = 0;
    forget_known();
}

/* ------------------------------------------------------------- the engine */

enum { DEEDS_MAX = 512, ORDERS = 4, PARTS = 5 };

/* How an order goes: its saga's key begins with it. */
#define ORDER_KINDS "cfurm"
static const bool order_unwinds[] = {false, true, true, false, false};
static const char *const part_names[PARTS] = {"reserve", "charge", "pack", "ship", "mail"};

/* Something was done to the world outside, at a moment of the run. */
typedef struct deed {
    size_t   op;
    int      order, part;
    bool     undo;
    uint64_t key; /* of the step, hashed */
} deed;

/* A client and its program: what it was told, and what its steps have done. */
typedef struct shop {
    disk       *disk;
    const char *kinds; /* of its orders */
    deed        deeds[DEEDS_MAX];
    int         deeds_count, deeds_before; /* before: those of former runs */
    struct { size_t op; bool begun; rsl_saga_id id; } told[ORDERS];
    virtual_clock clock;
} shop;

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 1;
    for (; *text != '\0'; text++) hash = disk_mix_(hash ^ (uint8_t)*text);
    return hash;
}

static void shop_does(shop *world, rsl_step *step, int order, int part)
{
    if (world->disk->dead) return; /* nothing leaves a process that is gone */
    if (world->deeds_count == DEEDS_MAX) {
        fail("too many deeds", "");
        return;
    }
    deed done = {world->disk->ops_count, order, part, rsl_step_is_undo(step),
                 hash_text(rsl_step_key(step))};
    world->deeds[world->deeds_count++] = done;
}

static int part_of(rsl_step *step)
{
    int part = 0;
    while (strcmp(part_names[part], rsl_step_name(step)) != 0) part++;
    return part;
}

static rsl_outcome shop_undo(rsl_step *step, void *arg)
{
    const uint8_t *payload = rsl_step_payload(step, NULL);
    shop_does(arg, step, payload[0], part_of(step));
    return RSL_STEP_OK;
}

static rsl_outcome shop_run(rsl_step *step, void *arg)
{
    const uint8_t *payload = rsl_step_payload(step, NULL);
    int order = payload[0], part = part_of(step);
    char kind = (char)payload[1];
    bool first = rsl_step_attempt(step) == 1;
    if (kind == 'f' && part == 2) return rsl_step_fail(step, RSL_STEP_FAIL, -5);
    if (kind == 'r' && part == 1 && first) return RSL_STEP_RETRY;
    if (kind == 'm' && part == 4 && first) return RSL_STEP_FAIL; /* it is retriable */
    shop_does(arg, step, order, part);
    if (kind == 'u' && part == 1) return RSL_STEP_UNKNOWN;
    if (part == 0) (void)rsl_step_put(step, payload, 2);
    return RSL_STEP_OK;
}

static int shop_open(shop *world, rsl_sagas **sagas, char *error, size_t size)
{
    static const rsl_saga_step steps[PARTS] = {
        {.name = "reserve", .run = shop_run, .undo = shop_undo},
        {.name = "charge", .run = shop_run, .undo = shop_undo, .after = "reserve"},
        {.name = "pack", .run = shop_run, .undo = shop_undo, .after = "reserve"},
        {.name = "ship", .run = shop_run, .after = "charge,pack", .flags = RSL_STEP_PIVOT},
        {.name = "mail", .run = shop_run, .after = "ship", .flags = RSL_STEP_RETRIABLE},
    };
    static const rsl_saga_def def = {"order", 1, steps, PARTS, RSL_FOREVER};
    memset(&world->clock, 0, sizeof world->clock);
    world->clock.now = RSL_SEC(1);
    rsl_sagas_config config = {.path = "/disk/sagas", .caller_works = true, .error = error,
                               .error_size = size, .payload_max = 64,
                               .clock = virtual_clock_as(&world->clock)};
    disk_use(world->disk);
    int status = rsl_sagas_open(sagas, &config);
    if (status != RSL_OK) return status;
    status = rsl_sagas_register(*sagas, &def, world);
    return status == RSL_OK ? rsl_sagas_recover(*sagas) : status;
}

/* One order to its end, begun if it is not known that it is. */
static int shop_order(shop *world, rsl_sagas *sagas, int order, bool to_its_end)
{
    char key[] = {world->kinds[order], (char)('0' + order), '\0'};
    uint8_t payload[] = {(uint8_t)order, (uint8_t)world->kinds[order]};
    int status = RSL_OK;
    if (!world->told[order].begun) {
        rsl_saga_id id;
        status = rsl_sagas_start(sagas, "order", key, payload, sizeof payload, &id);
        if (status != RSL_OK || world->disk->dead) return status;
        world->told[order].begun = true;
        world->told[order].op = world->disk->ops_count;
        world->told[order].id = id;
    }
    if (!to_its_end) return RSL_OK;
    rsl_saga_state state;
    status = rsl_sagas_wait(sagas, world->told[order].id, NULL, &state);
    if (status != RSL_OK || world->disk->dead) return status;
    int kind = (int)(strchr(ORDER_KINDS, world->kinds[order]) - ORDER_KINDS);
    if (state != (order_unwinds[kind] ? RSL_SAGA_UNWOUND : RSL_SAGA_DONE)) {
        fail("an order ends otherwise", "");
    }
    rsl_saga_id again = 0;
    status = rsl_sagas_start(sagas, "order", key, payload, sizeof payload, &again);
    if (status == RSL_OK && again != world->told[order].id) fail("an order is begun twice", "");
    return status;
}

/* The whole program. Orders begin one after another and go on side by side. */
static int shop_works(shop *world, char *error, size_t size)
{
    rsl_sagas *sagas;
    int orders = (int)strlen(world->kinds);
    int status = shop_open(world, &sagas, error, size);
    if (status != RSL_OK) return status;
    for (int i = 0; status == RSL_OK && i < orders; i++) {
        status = shop_order(world, sagas, i, i % 2 == 1);
    }
    for (int i = 0; status == RSL_OK && i < orders; i++) {
        status = shop_order(world, sagas, i, true);
    }
    if (rsl_sagas_close(sagas, NULL) != RSL_OK) fail("cannot close", "");
    disk_leave(world->disk);
    return status;
}

/* All is done or undone: what was done to the world by each part of an order. */
static const char *judge_part(const shop *world, int order, int part, bool unwinds, int *undone)
{
    uint64_t keys[2] = {0, 0}; /* of run and undo */
    int last_run = -1;
    *undone = -1;
    for (int i = 0; i < world->deeds_count; i++) {
        const deed *d = &world->deeds[i];
        if (d->order != order || d->part != part) continue;
        if (keys[d->undo] != 0 && keys[d->undo] != d->key) return "two keys for one purpose";
        keys[d->undo] = d->key;
        if (!d->undo) last_run = i;
        if (d->undo && *undone < 0) *undone = i;
    }
    if (!unwinds) {
        if (last_run < 0) return "a part of an order is not done";
        return *undone < 0 ? NULL : "a part of an order is undone though all went well";
    }
    if (part >= 3 && last_run >= 0) return "an order that fails is shipped";
    if (last_run >= 0 && *undone < 0) return "a part of an order is not undone";
    if (last_run > *undone) return "a part of an order is done after it was undone";
    return NULL;
}

static const char *judge_shop(const shop *world)
{
    for (int order = 0; world->kinds[order] != '\0'; order++) {
        int kind = (int)(strchr(ORDER_KINDS, world->kinds[order]) - ORDER_KINDS);
        int undone[PARTS];
        for (int part = 0; part < PARTS; part++) {
            const char *why = judge_part(world, order, part, order_unwinds[kind], &undone[part]);
            if (why != NULL) return why;
        }
        if (order_unwinds[kind] && (undone[0] < undone[1] || undone[0] < undone[2])) {
            return "parts of an order are undone in a wrong order";
        }
    }
    return NULL;
}

static shop shops[3]; /* the run's; after a cut, and recovering; after another one */

/* What a cut leaves of a shop: told and done until then, and perhaps what comes just behind. */
static void shop_cut(shop *to, const shop *from, size_t op, disk *left, bool just_behind)
{
    to->disk = left;
    to->kinds = from->kinds;
    to->deeds_count = 0;
    for (int i = 0; i < from->deeds_count; i++) {
        const deed *d = &from->deeds[i];
        bool after = d->op > op || (d->op == op && !just_behind);
        if (i >= from->deeds_before && after) break;
        to->deeds[to->deeds_count++] = *d;
    }
    to->deeds_before = to->deeds_count;
    for (int i = 0; i < ORDERS; i++) {
        to->told[i] = from->told[i];
        if (to->told[i].begun && to->told[i].op > op) memset(&to->told[i], 0, sizeof to->told[i]);
    }
}

static void check_shop(shop *world)
{
    char error[200] = "";
    int status = shop_works(world, error, sizeof error);
    const char *why = status == RSL_OK ? judge_shop(world) : rsl_strerror(status);
    if (why == NULL && world->disk->misused) why = "a call that makes no sense";
    if (why != NULL) fail(why, error);
}

static void each_shop_inner(disk *left, void *user)
{
    const level *l = user;
    bool behind = chance(2) == 0;
    if (!is_new(left, l->key ^ now.inner_moment << 1 ^ behind)) return;
    ex.inner_states++;
    shop_cut(&shops[2], &shops[1], now.inner_moment, left, behind);
    check_shop(&shops[2]);
}

static void each_shop(disk *left, void *user)
{
    const level *l = user;
    bool behind = chance(2) == 0;
    if (!is_new(left, l->key ^ now.moment << 1 ^ behind)) return;
    bool again = ex.every > 0 && chance(ex.every) == 0;
    shop_cut(&shops[1], &shops[0], now.moment, left, behind);
    if (again) {
        level *inner = &ex.inner;
        inner->disk = left;
        disk_past_begin(&inner->past, left);
        inner->ledger.moments_count = inner->ledger.owners_count = 0;
        memset(&inner->standing, 0, sizeof inner->standing);
        inner->key = disk_mix_(l->key + ex.states);
        left->records = true;
        for (int i = 0; i < ORDERS; i++) shops[1].told[i].op = 0; /* in this run's ops */
    }
    check_shop(&shops[1]);
    if (again) {
        tour(&ex.inner, &ex.disks[2], ex.most / 4 + 1, ex.bytes / 8, &now.inner_moment,
             each_shop_inner);
    }
}

/* Runs a shop on an empty disk, and again after a failure; and cuts that. */
static void explore_shop(uint64_t seed, disk_bug bug, long fail_at, disk_fault fault)
{
    static const char *const kinds[] = {"cf", "ur", "mu", "fc", "rfu", "cmuf"};
    shop *world = &shops[0];
    explore_start(seed, bug, fail_at, fault);
    memset(world, 0, sizeof *world);
    world->disk = &ex.disks[0];
    world->kinds = kinds[seed % RSL_COUNT(kinds)];
    char error[200] = "";
    int status = shop_works(world, error, sizeof error);
    if (status != RSL_OK && is_excused(world->disk, status)) {
        disk_leave(world->disk);
        status = shop_works(world, error, sizeof error);
    }
    const char *why = status == RSL_OK ? judge_shop(world) : rsl_strerror(status);
    if (why != NULL) fail(why, error);
    tour(&ex.outer, &ex.disks[1], ex.most, ex.bytes, &now.moment, each_shop);
}

/* ------------------------------------------------------------------- tests */

static void after_any_cut(uint64_t goal, uint64_t seed)
{
    explore_begin("journal", false, 96, 64);
    ex.every = 250;
    for (; ex.states < goal; seed++) {
        script s = {.kills = seed % 2 == 0, .rounds = 1 + (int)(seed % 4)};
        explore(seed, &s, DISK_HONEST, 0, DISK_EIO);
    }
    tap_ok(now.failures == 0 && ex.states >= goal,
           "whatever a power cut leaves holds all that was acknowledged, and nothing else: "
           "%llu disks, %llu of them after a second cut; %llu cuts, %llu of them in all ways",
           (unsigned long long)ex.states, (unsigned long long)ex.inner_states,
           (unsigned long long)ex.cuts, (unsigned long long)ex.full);
}

/* Large records, and all the zeros by which the journal grows. */
static void after_cuts_of_large_files(uint64_t goal)
{
    explore_begin("large files", false, 2, 2);
    ex.some = 4;
    for (uint64_t seed = 1; ex.states < goal; seed++) {
        script s = {.kills = true, .large = true, .rounds = 2};
        explore(seed, &s, DISK_HONEST, 0, DISK_EIO);
    }
    tap_ok(now.failures == 0, "so it is with files that grow by 256 KiB: %llu disks",
           (unsigned long long)ex.states);
}

/* Each call of a run fails once in each way. Returns how many runs that were. */
static uint64_t explore_faults(uint64_t seed, disk_bug bug)
{
    static const disk_fault faults[] = {DISK_EIO, DISK_ENOSPC, DISK_EINTR, DISK_SHORT};
    uint64_t runs = 0;
    long calls = 1;
    for (long nth = 0; nth <= calls && (!now.silent || now.failures == 0); nth++) {
        for (size_t i = 0; i < (nth == 0 ? 1 : RSL_COUNT(faults)); i++, runs++) {
            script s = {.rounds = 2 + (int)(seed % 2)};
            explore(seed, &s, bug, nth, faults[i]);
            if (nth == 0) calls = ex.outer.disk->calls;
        }
    }
    return runs;
}

static void after_any_fault(uint64_t seeds)
{
    uint64_t runs = 0;
    explore_begin("faults", false, 8, 2);
    ex.some = 4 + slowness() / 2;
    ex.every = 2000;
    for (uint64_t seed = 1; seed <= seeds; seed++) runs += explore_faults(seed, DISK_HONEST);
    tap_ok(now.failures == 0 && runs > 100,
           "each call fails with EIO, ENOSPC, EINTR and short: nothing acknowledged is lost by "
           "cuts after it, nothing is acknowledged after a failure: %llu runs, %llu disks",
           (unsigned long long)runs, (unsigned long long)ex.states);
}

static void shop_after_any_cut(uint64_t goal)
{
    explore_begin("engine", false, 16, 8);
    ex.every = 200;
    for (uint64_t seed = 0; ex.states < goal; seed++) {
        explore_shop(seed, DISK_HONEST, 0, DISK_EIO);
    }
    tap_ok(now.failures == 0 && ex.states >= goal,
           "after any cut each saga that was begun ends, and each effect is done once by its key, "
           "or undone: %llu disks, %llu of them after a second cut; %llu cuts",
           (unsigned long long)ex.states, (unsigned long long)ex.inner_states,
           (unsigned long long)ex.cuts);
}

static void shop_after_any_fault(uint64_t seeds)
{
    static const disk_fault faults[] = {DISK_EIO, DISK_ENOSPC, DISK_EINTR, DISK_SHORT};
    uint64_t runs = 0;
    explore_begin("engine, faults", false, 2, 1);
    ex.some = 16 + slowness();
    for (uint64_t seed = 0; seed < seeds; seed++) {
        long calls = 1;
        for (long nth = 0; nth <= calls; nth++) {
            for (size_t i = 0; i < (nth == 0 ? 1 : RSL_COUNT(faults)); i++, runs++) {
                explore_shop(seed, DISK_HONEST, nth, faults[i]);
                if (nth == 0) calls = ex.disks[0].calls;
            }
        }
    }
    tap_ok(now.failures == 0 && runs > 100,
           "so it is when any call fails, and with cuts behind that: %llu runs, %llu disks",
           (unsigned long long)runs, (unsigned long long)ex.states);
}

/* The space of a file that was given up may be that of the next one, and show when that grows. So
   records of the two must differ, also where the second begins as the first did. */
static void after_no_memory(void)
{
    static const size_t sizes[8] = {40000, 40001, 40002, 40003, 40004, 40005, 40006, 40007};
    static const size_t large = 300 << 10, small = 50;
    explore_begin("no memory", false, 400, 0);
    explore_start(1, DISK_HONEST, 0, DISK_EIO);
    disk *d = &ex.disks[0];
    d->all_zeros = true;
    host h = {.disk = d, .ledger = &ex.outer.ledger};
    bool begun = host_open(&h, 0) == RSL_OK && host_append(&h, sizes, 8) == RSL_OK &&
                 host_append(&h, &large, 1) == RSL_OK;
    memory_fail_at = memory_taken + 1; /* to read the large record */
    int status = begun ? h.store.compact(h.store.self, keep_all, NULL, 0) : RSL_OK;
    memory_fail_at = 0;
    bool goes_on = begun && host_compact(&h, 1 << 2 | 1 << 3) == RSL_OK &&
                   host_append(&h, &small, 1) == RSL_OK;
    host_close(&h);
    ex.some = 4;
    tour(&ex.outer, &ex.disks[1], ex.most, ex.bytes, &now.moment, each_outer);
    tap_ok(status == RSL_ENOMEM && goes_on && now.failures == 0,
           "what a compaction leaves that lacked memory is not taken for a part of the next one");
}

/* A bug of the disk that is not found within so many runs is not found. */
static void finds(disk_bug bug, const char *what)
{
    explore_begin(what, true, 48, 16);
    ex.every = 50;
    if (bug == DISK_HIDES_FAILURES) ex.some = 16; /* the faults are what counts */
    for (uint64_t seed = 1; seed <= 60 && now.failures == 0; seed++) {
        script s = {.kills = true, .rounds = 1 + (int)(seed % 4)};
        if (bug == DISK_HIDES_FAILURES) explore_faults(seed, bug);
        else explore(seed, &s, bug, 0, DISK_EIO);
    }
    tap_ok(now.failures > 0, "%s is found: disk %llu: %s", what, (unsigned long long)ex.states,
           now.failures > 0 ? now.first : "no");
}

static void shop_finds(disk_bug bug, const char *what)
{
    explore_begin(what, true, 16, 8);
    for (uint64_t seed = 0; seed < 12 && now.failures == 0; seed++) {
        explore_shop(seed, bug, 0, DISK_EIO);
    }
    tap_ok(now.failures > 0, "%s is found through the engine: disk %llu: %s", what,
           (unsigned long long)ex.states, now.failures > 0 ? now.first : "no");
}

int main(int argc, char **argv)
{
    uint64_t goal = 1000000 / slowness(), seed = 1;
    if (argc > 1) goal = strtoull(argv[1], NULL, 10);
    if (argc > 2) seed = strtoull(argv[2], NULL, 10);
    for (size_t i = 0; i < sizeof noise; i++) {
        if (i / 700 % 5 < 4) noise[i] = (uint8_t)(disk_mix_(i / 8) >> i % 8 * 8);
    }
    after_any_cut(goal, seed);
    after_cuts_of_large_files(3000 / slowness());
    after_any_fault(slowness() > 1 ? 1 : 8);
    after_no_memory();
    shop_after_any_cut(60000 / slowness());
    shop_after_any_fault(slowness() > 1 ? 1 : 6);
    finds(DISK_FORGETS_DATA, "a forgotten sync of what was appended");
    finds(DISK_FORGETS_COPY, "a forgotten sync of what was compacted");
    finds(DISK_FORGETS_FIRST_FOLDER, "a forgotten sync of the folder before the renaming");
    finds(DISK_FORGETS_SECOND_FOLDER, "a forgotten sync of the folder after the renaming");
    finds(DISK_FORGETS_PARENT, "a forgotten sync of the folder around it");
    finds(DISK_SYNCS_LATE, "an acknowledgement before the sync");
    finds(DISK_HIDES_FAILURES, "a sync whose failure is not told");
    shop_finds(DISK_FORGETS_DATA, "a forgotten sync of what was appended");
    shop_finds(DISK_FORGETS_COPY, "a forgotten sync of what was compacted");
    shop_finds(DISK_FORGETS_SECOND_FOLDER, "a forgotten sync of the folder after the renaming");
    shop_finds(DISK_SYNCS_LATE, "an acknowledgement before the sync");
    tap_ok(memory_end(), "all buffers are given back");
    for (int i = 0; i < 3; i++) disk_free(&ex.disks[i]);
    disk_past_free(&ex.outer.past);
    disk_past_free(&ex.inner.past);
    return tap_end();
}
