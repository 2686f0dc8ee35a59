/* SPDX-License-Identifier: MIT
   saga_store.h: stores in memory for the tests of the durable runtime of saga.h: an exclusive one,
   which fails or stops the world at the append that a test names, and is opened again with what
   was durable then; and a shared one with leases, in which several runtimes play hosts. Both watch
   that the runtime keeps to the contract of struct rsl_saga_store: breaches are counted, and the
   first one is told in words.

       memory_store memory;
       memory_store_init(&memory);
       rsl_saga_store table = memory_store_as(&memory);
       rsl_sagas_config config = {.store = &table, ...};
       memory.fail = (memory_fault){.at = 3, .stored = 1, .stops = true};
       ... run and close; then
       memory_store_restart(&memory);
       ... open and recover; memory.breaches must be 0
       memory_store_deinit(&memory);

   Their memory does not come from the allocator that tests make fail. Include it after saga.h and
   support/support.h. */
#ifndef SUPPORT_SAGA_STORE_H
#define SUPPORT_SAGA_STORE_H

#include <pthread.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ records */

typedef struct kept_records {
    rsl_saga_record *at; /* their data is ours */
    size_t           count, capacity;
} kept_records;

SUPPORT_UNUSED static void kept_records_add_(kept_records *kept, const rsl_saga_record *record)
{
    if (kept->count == kept->capacity) {
        kept->capacity = kept->capacity == 0 ? 8 : kept->capacity * 2;
        kept->at = realloc(kept->at, kept->capacity * sizeof(*kept->at));
        if (kept->at == NULL) {
            abort();
        }
    }
    void *data = malloc(record->size + 1);
    if (data == NULL) {
        abort();
    }
    memcpy(data, record->data, record->size);
    kept->at[kept->count] = *record;
    kept->at[kept->count].data = data;
    kept->at[kept->count++].status = RSL_OK;
}

SUPPORT_UNUSED static void kept_records_free_(kept_records *kept)
{
    for (size_t i = 0; i < kept->count; i++) {
        free((void *)kept->at[i].data);
    }
    free(kept->at);
    memset(kept, 0, sizeof(*kept));
}

/* The first byte of a record says what it is; so much of the format the tests know. */
enum {
    KIND_BEGIN = 1, KIND_START, KIND_DONE, KIND_RETRY, KIND_FAIL, KIND_DOUBT, KIND_TURN,
    KIND_FORTH, KIND_PARK, KIND_RESOLVE, KIND_END, KIND_PUT_OFF
};

SUPPORT_UNUSED static int record_kind(const rsl_saga_record *record)
{
    return record->size > 0 ? *(const uint8_t *)record->data : 0;
}

/* ---------------------------------------------------------------- exclusive */

typedef struct memory_fault {
    long   at;     /* which append from now on fails, from 1; 0: none */
    size_t stored; /* how many of its records are stored all the same; SIZE_MAX: all */
    bool   stops;  /* the world stops there: nothing is stored or answered from then on */
    int    status; /* what that append answers (RSL_EIO) */
    int    fenced; /* it succeeds, but its records get this status */
} memory_fault;

typedef struct memory_store memory_store;
struct memory_store {
    kept_records kept;
    uint32_t    *numbers;      /* by saga: of its latest record */
    size_t       numbers_count;
    char         uuid[37];
    uint64_t     epoch;
    rsl_saga_id  next_id;
    rsl_time     now;          /* the time of day that open tells */

    memory_fault fail;         /* the test's to set, as all to `arg` */
    int          open_status, load_status, compact_status; /* what those answer (RSL_OK) */
    size_t       load_limit;   /* load_status comes after so many records */
    void       (*on_append)(memory_store *memory, const rsl_saga_record *records, size_t count);
    void       (*on_compact)(memory_store *memory);
    void        *arg;

    bool         opened, taken, failed, stopped;
    _Atomic int  inside;       /* calls under way: one at most */
    _Atomic long appends, compactions, closes; /* since it was made */
    _Atomic int  breaches;
    const char  *breach;       /* the first one */
};

SUPPORT_UNUSED static void memory_breach_(memory_store *memory, bool breached, const char *what)
{
    if (breached && atomic_fetch_add(&memory->breaches, 1) == 0) {
        memory->breach = what;
    }
}

SUPPORT_UNUSED static void memory_enter_(memory_store *memory)
{
    memory_breach_(memory, atomic_fetch_add(&memory->inside, 1) != 0, "two calls at once");
}

SUPPORT_UNUSED static int memory_leave_(memory_store *memory, int status)
{
    atomic_fetch_sub(&memory->inside, 1);
    return status;
}

/* Room for the number of a saga, 0 at first. */
SUPPORT_UNUSED static uint32_t *memory_number_(memory_store *memory, rsl_saga_id saga)
{
    if (saga >= memory->numbers_count) {
        size_t count = (size_t)saga * 2 + 16;
        memory->numbers = realloc(memory->numbers, count * sizeof(*memory->numbers));
        if (memory->numbers == NULL) {
            abort();
        }
        memset(memory->numbers + memory->numbers_count, 0,
               (count - memory->numbers_count) * sizeof(*memory->numbers));
        memory->numbers_count = count;
    }
    return &memory->numbers[saga];
}

SUPPORT_UNUSED static int memory_open_(void *self, bool salvage, rsl_saga_opening *opening,
                                       char *error, size_t size)
{
    memory_store *memory = self;
    (void)salvage;
    memory_enter_(memory);
    memory_breach_(memory, memory->opened, "opened twice");
    memory->opened = true;
    memory->taken = memory->failed = false;
    if (memory->open_status != RSL_OK) {
        if (error != NULL && size > 0) {
            (void)snprintf(error, size, "memory: refused");
        }
        return memory_leave_(memory, memory->open_status);
    }
    memcpy(opening->uuid, memory->uuid, sizeof(opening->uuid));
    opening->epoch = memory->epoch + 1;
    opening->next_id = memory->next_id;
    opening->now = memory->now;
    return memory_leave_(memory, RSL_OK);
}

SUPPORT_UNUSED static int memory_load_(void *self, rsl_saga_id saga,
                                       int (*visit)(void *user, const rsl_saga_record *record),
                                       void *user)
{
    memory_store *memory = self;
    int status = RSL_OK;
    memory_enter_(memory);
    memory_breach_(memory, !memory->opened || memory->taken || saga != 0, "load out of place");
    for (size_t i = 0; status == RSL_OK && i < memory->kept.count; i++) {
        if (memory->load_status != RSL_OK && i == memory->load_limit) {
            break;
        }
        status = visit(user, &memory->kept.at[i]);
    }
    return memory_leave_(memory, status != RSL_OK ? status : memory->load_status);
}

/* What a record must be to follow what is stored. */
SUPPORT_UNUSED static void memory_judge_(memory_store *memory, const rsl_saga_record *record)
{
    uint32_t number = *memory_number_(memory, record->saga);
    memory_breach_(memory, record->saga == 0, "a record of no saga");
    memory_breach_(memory, record->number != number + 1, "a number that does not follow");
    memory_breach_(memory, record->epoch != memory->epoch, "an epoch that is not the owner's");
    memory_breach_(memory, record->data == NULL || record->size == 0, "a record without data");
    memory_breach_(memory, (record_kind(record) == KIND_BEGIN) != (record->number == 1),
                   "a log that begins with something else");
    memory_breach_(memory, record->number == 1 && record->saga < memory->next_id,
                   "the number of a saga used again");
}

SUPPORT_UNUSED static void memory_keep_(memory_store *memory, const rsl_saga_record *record)
{
    kept_records_add_(&memory->kept, record);
    *memory_number_(memory, record->saga) = record->number;
    if (record->saga >= memory->next_id) {
        memory->next_id = record->saga + 1;
    }
}

SUPPORT_UNUSED static int memory_append_(void *self, rsl_saga_record *records, size_t count)
{
    memory_store *memory = self;
    memory_enter_(memory);
    memory_breach_(memory, !memory->opened || !memory->taken, "append before the first compact");
    memory_breach_(memory, memory->failed, "append after a failure");
    memory_breach_(memory, count == 0, "an append of nothing");
    atomic_fetch_add(&memory->appends, 1);
    if (memory->on_append != NULL) {
        memory->on_append(memory, records, count);
    }
    bool hit = !memory->stopped && memory->fail.at > 0 && --memory->fail.at == 0;
    bool fenced = hit && memory->fail.fenced != 0;
    bool fails = memory->stopped || (hit && !fenced);
    size_t stored = hit ? memory->fail.stored : count;
    stored = memory->stopped || fenced ? 0 : stored < count ? stored : count;
    memory->stopped = memory->stopped || (fails && memory->fail.stops);
    for (size_t i = 0; i < count; i++) {
        records[i].status = fenced ? memory->fail.fenced : RSL_OK;
        if (i < stored) {
            memory_judge_(memory, &records[i]);
            memory_keep_(memory, &records[i]);
        }
    }
    memory->failed = fails;
    int status = memory->fail.status != 0 ? memory->fail.status : RSL_EIO;
    return memory_leave_(memory, fails ? status : RSL_OK);
}

SUPPORT_UNUSED static int memory_compact_(void *self,
                                          bool (*keep)(void *user, const rsl_saga_record *record),
                                          void *user, uint32_t finished_max)
{
    memory_store *memory = self;
    kept_records old = memory->kept;
    (void)finished_max;
    memory_enter_(memory);
    memory_breach_(memory, !memory->opened || memory->failed, "compact out of place");
    if (memory->on_compact != NULL) {
        memory->on_compact(memory);
    }
    int status = memory->stopped ? RSL_EIO : memory->compact_status;
    if (status != RSL_OK) {
        memory->failed = true;
        return memory_leave_(memory, status);
    }
    memory->epoch += !memory->taken;
    memory->taken = true;
    atomic_fetch_add(&memory->compactions, 1);
    memset(&memory->kept, 0, sizeof(memory->kept));
    for (size_t i = 0; i < old.count; i++) {
        if (keep(user, &old.at[i])) {
            kept_records_add_(&memory->kept, &old.at[i]);
        }
    }
    kept_records_free_(&old);
    return memory_leave_(memory, RSL_OK);
}

SUPPORT_UNUSED static void memory_close_(void *self)
{
    memory_store *memory = self;
    memory_enter_(memory);
    memory->opened = memory->taken = false;
    atomic_fetch_add(&memory->closes, 1);
    (void)memory_leave_(memory, RSL_OK);
}

SUPPORT_UNUSED static void memory_store_init(memory_store *memory)
{
    static _Atomic int made;
    memset(memory, 0, sizeof(*memory));
    (void)snprintf(memory->uuid, sizeof(memory->uuid), "00000000-0000-4000-8000-%012d",
                   atomic_fetch_add(&made, 1) + 1);
    memory->next_id = 1;
    memory->now = RSL_SEC(1700000000);
}

SUPPORT_UNUSED static void memory_store_deinit(memory_store *memory)
{
    kept_records_free_(&memory->kept);
    free(memory->numbers);
}

SUPPORT_UNUSED static rsl_saga_store memory_store_as(memory_store *memory)
{
    rsl_saga_store as = {.self = memory, .open = memory_open_, .load = memory_load_,
                         .append = memory_append_, .compact = memory_compact_,
                         .close = memory_close_};
    return as;
}

/* After its runtime was closed: the machine is up again, and nothing fails any more. */
SUPPORT_UNUSED static void memory_store_restart(memory_store *memory)
{
    memory->stopped = memory->failed = false;
    memset(&memory->fail, 0, sizeof(memory->fail));
    memory->open_status = memory->load_status = memory->compact_status = RSL_OK;
}

/* How many records of that kind are stored; saga 0: of all. Not while it is in use. */
SUPPORT_UNUSED static size_t memory_store_count(const memory_store *memory, rsl_saga_id saga,
                                                int kind)
{
    size_t found = 0;
    for (size_t i = 0; i < memory->kept.count; i++) {
        const rsl_saga_record *record = &memory->kept.at[i];
        found += (saga == 0 || record->saga == saga) && record_kind(record) == kind;
    }
    return found;
}

/* ------------------------------------------------------------------- shared */

enum { SHARED_SAGAS_MAX = 4096, SHARED_TEXT_MAX = 256 };

typedef struct shared_saga {
    char           key[SHARED_TEXT_MAX], def[SHARED_TEXT_MAX];
    rsl_saga_state state;
    uint64_t       epoch;
    rsl_time       lease_until; /* 0: nobody's */
    bool           cancel;
    int            claims;      /* how often it was claimed */
    kept_records   log;
} shared_saga;

/* What the hosts share. Must not move. */
typedef struct shared_store {
    pthread_mutex_t lock;
    rsl_clock       clock;      /* of the leases */
    shared_saga    *sagas;      /* by id, from 1 */
    size_t          count;
    _Atomic int     breaches;
    const char     *breach;
} shared_store;

/* A host's way to the store. */
typedef struct shared_host shared_host;
struct shared_host {
    shared_store *store;
    _Atomic int   append_status, renew_status, claim_status, begin_status, load_status,
                  list_status, cancel_status; /* what those answer, doing nothing (RSL_OK) */
    _Atomic int   appends, renewals, claims, fenced, given_back;
    _Atomic bool  claims_off; /* claim finds nothing */
    void        (*on_append)(shared_host *host, const rsl_saga_record *records, size_t count);
    void        (*on_renew)(shared_host *host);
    void        (*on_load)(shared_host *host, size_t loaded); /* before each record and the end */
    size_t        load_limit; /* load_status comes after so many records */
    void         *arg;
};

SUPPORT_UNUSED static void shared_breach_(shared_store *store, bool breached, const char *what)
{
    if (breached && atomic_fetch_add(&store->breaches, 1) == 0) {
        store->breach = what;
    }
}

/* Lock held. NULL: there is no such saga. */
SUPPORT_UNUSED static shared_saga *shared_find_(shared_store *store, rsl_saga_id id)
{
    return id >= 1 && id <= store->count ? &store->sagas[id - 1] : NULL;
}

SUPPORT_UNUSED static bool shared_is_over_(rsl_saga_state state)
{
    return state == RSL_SAGA_DONE || state == RSL_SAGA_UNWOUND || state == RSL_SAGA_ABANDONED;
}

SUPPORT_UNUSED static rsl_time shared_now_(const shared_store *store)
{
    return store->clock.now != NULL ? store->clock.now(store->clock.user) : rsl_now();
}

SUPPORT_UNUSED static int shared_open_(void *self, bool salvage, rsl_saga_opening *opening,
                                       char *error, size_t size)
{
    shared_host *host = self;
    (void)salvage, (void)error, (void)size;
    memcpy(opening->uuid, "5a4ed000-0000-4000-8000-000000000001", sizeof(opening->uuid));
    opening->now = RSL_SEC(1700000000) + shared_now_(host->store);
    return RSL_OK;
}

SUPPORT_UNUSED static int shared_load_(void *self, rsl_saga_id id,
                                       int (*visit)(void *user, const rsl_saga_record *record),
                                       void *user)
{
    shared_host *host = self;
    kept_records log = {NULL, 0, 0};
    int fails = atomic_load(&host->load_status);
    pthread_mutex_lock(&host->store->lock);
    shared_saga *saga = shared_find_(host->store, id);
    shared_breach_(host->store, saga == NULL, "load of a saga that is not there");
    for (size_t i = 0; saga != NULL && i < saga->log.count; i++) {
        kept_records_add_(&log, &saga->log.at[i]);
    }
    pthread_mutex_unlock(&host->store->lock);
    int status = RSL_OK;
    for (size_t i = 0; status == RSL_OK && i <= log.count; i++) {
        if (host->on_load != NULL) {
            host->on_load(host, i);
        }
        if (fails != RSL_OK && i == host->load_limit) {
            status = fails;
        } else if (i < log.count) {
            status = visit(user, &log.at[i]);
        }
    }
    kept_records_free_(&log);
    return status;
}

/* Lock held. */
SUPPORT_UNUSED static void shared_keep_(shared_host *host, rsl_saga_record *record)
{
    shared_saga *saga = shared_find_(host->store, record->saga);
    shared_breach_(host->store, saga == NULL, "a record of an unknown saga");
    if (saga == NULL) {
        return;
    }
    if (record->epoch != saga->epoch) {
        record->status = RSL_EFENCED;
        atomic_fetch_add(&host->fenced, 1);
        return;
    }
    record->status = RSL_OK;
    shared_breach_(host->store, record->number != saga->log.count + 1,
                   "a number that does not follow");
    shared_breach_(host->store, shared_is_over_(saga->state), "a record after the end");
    kept_records_add_(&saga->log, record);
    saga->state = record->state;
    if (record->state != RSL_SAGA_RUNNING && record->state != RSL_SAGA_UNWINDING) {
        saga->lease_until = 0;
    }
}

SUPPORT_UNUSED static int shared_append_(void *self, rsl_saga_record *records, size_t count)
{
    shared_host *host = self;
    atomic_fetch_add(&host->appends, 1);
    if (host->on_append != NULL) {
        host->on_append(host, records, count);
    }
    if (atomic_load(&host->append_status) != RSL_OK) {
        return atomic_load(&host->append_status);
    }
    pthread_mutex_lock(&host->store->lock);
    for (size_t i = 0; i < count; i++) {
        shared_keep_(host, &records[i]);
    }
    pthread_mutex_unlock(&host->store->lock);
    return RSL_OK;
}

SUPPORT_UNUSED static int shared_compact_(void *self,
                                          bool (*keep)(void *user, const rsl_saga_record *record),
                                          void *user, uint32_t finished_max)
{
    (void)self, (void)keep, (void)user, (void)finished_max;
    return RSL_OK;
}

SUPPORT_UNUSED static void shared_close_(void *self)
{
    (void)self;
}

SUPPORT_UNUSED static int shared_begin_(void *self, const char *key, const char *def,
                                        rsl_time claim_for, rsl_saga_record *record, bool *is_new)
{
    shared_host *host = self;
    shared_store *store = host->store;
    if (atomic_load(&host->begin_status) != RSL_OK) {
        return atomic_load(&host->begin_status);
    }
    pthread_mutex_lock(&store->lock);
    *is_new = true;
    for (size_t i = 0; i < store->count; i++) {
        if (strcmp(store->sagas[i].key, key) == 0) {
            *is_new = false;
            record->saga = i + 1;
        }
    }
    int status = *is_new && store->count == SHARED_SAGAS_MAX ? RSL_EFULL : RSL_OK;
    if (*is_new && status == RSL_OK) {
        shared_saga *saga = &store->sagas[store->count++];
        memset(saga, 0, sizeof(*saga));
        (void)snprintf(saga->key, sizeof(saga->key), "%s", key);
        (void)snprintf(saga->def, sizeof(saga->def), "%s", def);
        saga->state = record->state;
        saga->epoch = record->epoch = 1;
        saga->lease_until = shared_now_(store) + claim_for;
        record->saga = store->count;
        kept_records_add_(&saga->log, record);
    }
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* Lock held. */
SUPPORT_UNUSED static bool shared_may_claim_(const shared_store *store, const shared_saga *saga,
                                             const char *const *defs, size_t count, bool only)
{
    if (shared_is_over_(saga->state) || saga->lease_until > shared_now_(store)) {
        return false;
    }
    bool named = only;
    for (size_t i = 0; !named && i < count; i++) {
        named = strcmp(saga->def, defs[i]) == 0;
    }
    return named && (only || saga->state != RSL_SAGA_PARKED);
}

SUPPORT_UNUSED static int shared_claim_(void *self, const char *const *defs, size_t defs_count,
                                        rsl_saga_id only, rsl_time claim_for,
                                        rsl_saga_claim *claims, size_t *count)
{
    shared_host *host = self;
    shared_store *store = host->store;
    size_t found = 0, most = atomic_load(&host->claims_off) ? 0 : *count;
    if (atomic_load(&host->claim_status) != RSL_OK) {
        return atomic_load(&host->claim_status);
    }
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->count && found < most; i++) {
        shared_saga *saga = &store->sagas[i];
        if ((only != 0 && only != i + 1) ||
            !shared_may_claim_(store, saga, defs, defs_count, only != 0)) {
            continue;
        }
        saga->epoch++;
        saga->claims++;
        saga->lease_until = shared_now_(store) + claim_for;
        claims[found++] = (rsl_saga_claim){i + 1, saga->epoch, RSL_OK, saga->cancel};
        atomic_fetch_add(&host->claims, 1);
    }
    pthread_mutex_unlock(&store->lock);
    *count = found;
    return RSL_OK;
}

SUPPORT_UNUSED static int shared_renew_(void *self, rsl_time claim_for, rsl_saga_claim *claims,
                                        size_t count)
{
    shared_host *host = self;
    if (host->on_renew != NULL) {
        host->on_renew(host);
    }
    if (atomic_load(&host->renew_status) != RSL_OK) {
        return atomic_load(&host->renew_status);
    }
    pthread_mutex_lock(&host->store->lock);
    for (size_t i = 0; i < count; i++) {
        shared_saga *saga = shared_find_(host->store, claims[i].saga);
        bool mine = saga != NULL && saga->epoch == claims[i].epoch;
        claims[i].status = mine ? RSL_OK : RSL_EFENCED;
        if (!mine) {
            continue;
        }
        claims[i].cancel = saga->cancel;
        saga->lease_until = claim_for > 0 ? shared_now_(host->store) + claim_for : 0;
        atomic_fetch_add(claim_for > 0 ? &host->renewals : &host->given_back, 1);
    }
    pthread_mutex_unlock(&host->store->lock);
    return RSL_OK;
}

SUPPORT_UNUSED static int shared_cancel_(void *self, rsl_saga_id id)
{
    shared_host *host = self;
    if (atomic_load(&host->cancel_status) != RSL_OK) {
        return atomic_load(&host->cancel_status);
    }
    pthread_mutex_lock(&host->store->lock);
    shared_saga *saga = shared_find_(host->store, id);
    if (saga != NULL) {
        saga->cancel = true;
    }
    pthread_mutex_unlock(&host->store->lock);
    return saga != NULL ? RSL_OK : RSL_EINVAL;
}

/* The lock is not held in visit. */
SUPPORT_UNUSED static int shared_list_(void *self, rsl_saga_id id, unsigned states,
                                       bool (*visit)(const rsl_saga_info *info, void *user),
                                       void *user)
{
    shared_host *host = self;
    bool more = true, known = false;
    if (atomic_load(&host->list_status) != RSL_OK) {
        return atomic_load(&host->list_status);
    }
    for (rsl_saga_id at = id != 0 ? id : 1; more; at++) {
        pthread_mutex_lock(&host->store->lock);
        shared_saga *saga = shared_find_(host->store, at);
        rsl_saga_info info = {.id = at};
        if (saga != NULL) {
            info.state = saga->state;
            info.epoch = saga->epoch;
            info.key = saga->key; /* fixed, as def */
            info.def = saga->def;
        }
        pthread_mutex_unlock(&host->store->lock);
        if (saga == NULL) {
            break;
        }
        known = true;
        if (states == 0 || (states >> info.state & 1) != 0) {
            more = visit(&info, user);
        }
        more = more && id == 0;
    }
    return known || id == 0 ? RSL_OK : RSL_EINVAL;
}

/* clock: by which leases end; NULL: the real one. False: no memory, or no lock. */
SUPPORT_UNUSED static bool shared_store_init(shared_store *store, const rsl_clock *clock)
{
    memset(store, 0, sizeof(*store));
    if (clock != NULL) {
        store->clock = *clock;
    }
    store->sagas = calloc(SHARED_SAGAS_MAX, sizeof(*store->sagas));
    return store->sagas != NULL && pthread_mutex_init(&store->lock, NULL) == 0;
}

SUPPORT_UNUSED static void shared_store_deinit(shared_store *store)
{
    for (size_t i = 0; i < store->count; i++) {
        kept_records_free_(&store->sagas[i].log);
    }
    free(store->sagas);
    pthread_mutex_destroy(&store->lock);
}

SUPPORT_UNUSED static rsl_saga_store shared_host_as(shared_host *host, shared_store *store)
{
    memset(host, 0, sizeof(*host));
    host->store = store;
    rsl_saga_store as = {.self = host, .open = shared_open_, .load = shared_load_,
                         .append = shared_append_, .compact = shared_compact_,
                         .close = shared_close_, .begin = shared_begin_, .claim = shared_claim_,
                         .renew = shared_renew_, .cancel = shared_cancel_, .list = shared_list_};
    return as;
}

/* A copy of what is known of a saga; its log stays the store's. */
SUPPORT_UNUSED static shared_saga shared_store_look(shared_store *store, rsl_saga_id id)
{
    shared_saga copy;
    memset(&copy, 0, sizeof(copy));
    pthread_mutex_lock(&store->lock);
    shared_saga *saga = shared_find_(store, id);
    if (saga != NULL) {
        copy = *saga;
    }
    pthread_mutex_unlock(&store->lock);
    return copy;
}

#endif
