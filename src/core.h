/* SPDX-License-Identifier: MIT

   core.h -- the few things that every module of resilience shares.

   Nobody includes this file. `make stamp` copies its two regions into each module header, so that
   each header works dropped in alone: the declarations at the top, the definitions below the
   implementation line. Edit here, then run `make stamp`; the tests fail when a copy differs. */

/* >>> declarations */
#if defined RSL_ABI && RSL_ABI != 1
#error "resilience: headers of two versions meet in this file; use one version of all of them"
#endif
#ifndef RSL_CORE_H
#define RSL_CORE_H
#define RSL_ABI 1

/* A strict -std hides clock_gettime and pthread_condattr_setclock unless this stands before the
   first system header. */
#if (defined RSL_IMPLEMENTATION || defined RSL_STATIC || defined RSL_RETRY_IMPLEMENTATION || \
     defined RSL_BREAKER_IMPLEMENTATION || defined RSL_BULKHEAD_IMPLEMENTATION || \
     defined RSL_POOL_IMPLEMENTATION || defined RSL_SAGA_IMPLEMENTATION || \
     defined RSL_RESILIENCE_IMPLEMENTATION) && !defined _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if !defined __GNUC__
#error "resilience needs gcc or clang: its atomics are the __atomic builtins"
#endif

/* RSL_API stands before every public function; RSL_STATIC makes private copies. Core's own
   functions are defined in each file that implements a module: weakly, or, as Windows has no weak
   function that links in every order, statically and reached through one table that any number of
   files may define. */
#ifdef RSL_STATIC
#define RSL_API static __attribute__((unused))
#define RSL_CORE_API RSL_API
#else
#ifndef RSL_API
#define RSL_API extern
#endif
#ifdef _WIN32
#define RSL_CORE_TABLE_ 1
#define RSL_CORE_API static inline
#else
#define RSL_CORE_API RSL_API
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- time and numbers ---- */

typedef int64_t rsl_time; /* nanoseconds: a span, or a point on a monotonic clock */
#define RSL_US(n)     ((rsl_time)(n) * 1000)
#define RSL_MS(n)     ((rsl_time)(n) * 1000000)
#define RSL_SEC(n)    ((rsl_time)(n) * 1000000000)
#define RSL_FOREVER   INT64_MAX  /* "none" for limits in time, "unlimited" for waits */
#define RSL_UNLIMITED UINT32_MAX /* the same for counts */
#define RSL_NONE      (-1)       /* an explicit zero in a field where 0 means the default */
#define RSL_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- status codes ---- */

#define RSL_STATUSES_(X)                                                                \
    X(RSL_OK, 0, "ok")                                                                  \
    X(RSL_EINVAL, -7301, "an argument or field is wrong, or an object is misused")      \
    X(RSL_ENOMEM, -7302, "out of memory")                                               \
    X(RSL_ESYS, -7303, "the operating system refused; errno says why")                  \
    X(RSL_ETIMEOUT, -7304, "the deadline passed")                                       \
    X(RSL_ECANCELED, -7305, "cancelled")                                                \
    X(RSL_EOPEN, -7306, "the circuit breaker is open")                                  \
    X(RSL_EFULL, -7307, "full: no permit, no room in the queue or for a waiter")        \
    X(RSL_ELIMITED, -7308, "the rate limiter refuses")                                  \
    X(RSL_ECLOSED, -7309, "closed, or draining")                                        \
    X(RSL_EIO, -7310, "the journal or store failed and takes no more")                  \
    X(RSL_ECORRUPT, -7311, "the journal or store is corrupt")                           \
    X(RSL_EFENCED, -7312, "another host owns it now")                                   \
    X(RSL_EPARKED, -7313, "the saga waits for an operator")                             \
    X(RSL_EUNWOUND, -7314, "the saga failed and was fully compensated")                 \
    /* how an execution and its layers talk: never a result */                          \
    X(RSL_RUN, -7390, "run: start the call")                                            \
    X(RSL_WAIT, -7391, "wait: step again when woken or when it is time")                \
    X(RSL_AGAIN, -7392, "again: go inwards once more")                                  \
    X(RSL_DONE, -7393, "done")                                                          \
    X(RSL_STOP, -7394, "stop the call, then report it")

enum rsl_status {
#define RSL_STATUS_(name, value, text) name = value,
    RSL_STATUSES_(RSL_STATUS_)
#undef RSL_STATUS_
    RSL_STATUS_LAST_ = -7399 /* the reserved block is -7399..-7301 */
};

/* The meaning of a status in English. Never NULL; a number that is no status of this library gives
   "not a status of resilience". The text is static. From any thread; does not block. */
RSL_CORE_API const char *rsl_strerror(int status);

/* ---- clocks ---- */

/* An injected time source, never negative; a NULL pointer or a zeroed struct means the real
   monotonic clock. With one, everything runs in virtual time. Both functions may be called from
   any thread that uses the object they were given to. */
typedef struct rsl_clock {
    rsl_time (*now)(void *user);                         /* never goes back */
    void     (*sleep_until)(void *user, rsl_time until); /* until now() >= until, or less */
    void      *user;
} rsl_clock;

/* The real monotonic clock, in nanoseconds, unrelated to the time of day. From any thread; does
   not block; about 25 ns. */
RSL_CORE_API rsl_time rsl_now(void);

/* ---- cancelling ---- */

typedef struct rsl_waiter rsl_waiter;
typedef struct rsl_cancel rsl_cancel;

/* A word that threads share. Some 32-bit platforms align uint64_t to 4 bytes only, where it can be
   torn. */
typedef uint64_t rsl_word_ __attribute__((aligned(8)));

/* A wait in the memory of whoever waits. Its states: QUEUED -> WAKING (set under the granter's
   lock) -> wake() -> WOKEN, the granter's last touch. Whoever re-enters or abandons takes WAKING
   as granted and first waits for WOKEN, so that the memory is free to reuse on return. wake only
   posts: it may come from any thread, early, or for nothing; it never steps, reports, abandons or
   frees. */
struct rsl_waiter {
    void (*wake)(void *user);
    void  *user;
    struct rsl_waiter_private_ {
        rsl_word_   state;       /* atomic; leaves QUEUED only under the lock of its list */
        rsl_waiter *next, *prev; /* guarded by that lock */
        uint64_t    word[3];     /* the granter's own use, guarded by that lock */
    } private_;
};

typedef struct rsl_waiters_ { rsl_waiter *first, *last; } rsl_waiters_;
typedef struct rsl_lock_ { uint64_t word[8]; } rsl_lock_; /* room for any platform's mutex */

/* A token that says "stop" to everything that waits or works under it. A value object: must not
   move between init and deinit. */
struct rsl_cancel {
    uint64_t     ready_;     /* set by init */
    rsl_word_    fired_;     /* atomic: 0, then 1 for good */
    uint32_t     firing_;    /* calls of fire still waking listeners; guarded by lock_ */
    rsl_waiters_ listeners_; /* guarded by lock_; stays empty once fired_ is 1 and firing_ 0 */
    rsl_cancel  *parent_;    /* fixed by init */
    rsl_waiter   link_;      /* this token as a listener of its parent */
    rsl_lock_    lock_;
};

/* Makes a token that has not fired, or has if its parent has. parent: NULL, or a token that fires
   this one too; it must outlive this one. RSL_EINVAL: cancel is NULL, or the parent is not
   initialised. RSL_ESYS: no lock could be made. Not thread-safe on the same token; does not block;
   no allocation. */
RSL_CORE_API int rsl_cancel_init(rsl_cancel *cancel, rsl_cancel *parent);

/* Fires the token and every token under it, and wakes each wait under them; they have been told
   when it returns. A second call does nothing. NULL and uninitialised tokens are passed over. From
   any thread, not from a signal handler; blocks only for locks that are held briefly. */
RSL_CORE_API void rsl_cancel_fire(rsl_cancel *cancel);

/* Whether the token has fired. NULL: false. From any thread; one load. */
RSL_CORE_API bool rsl_cancel_fired(const rsl_cancel *cancel);

/* Ends the token: unhooks it from its parent, and waits for a fire in progress to leave it if that
   has begun to wake. No call of fire may begin any more, and nothing may wait or hang under the
   token (asserted). The memory is the caller's again. NULL and uninitialised tokens are passed
   over. Not from within a wake. */
RSL_CORE_API void rsl_cancel_deinit(rsl_cancel *cancel);

/* ---- what a call may use up ---- */

/* A plain value, copied to narrow it; zeroed: no limits. Functions that take a pointer to one take
   NULL for no limits. */
typedef struct rsl_ctx {
    rsl_time         deadline; /* absolute, on the clock below; 0: none */
    rsl_cancel      *cancel;   /* NULL: cannot be cancelled */
    const rsl_clock *clock;    /* NULL: real */
    uint32_t         attempt;  /* 1 on the first try; set by whoever retries */
    int32_t          priority; /* higher goes first where something queues (0) */
} rsl_ctx;

/* A call to be wrapped. 0 is success; any other int is a failure and comes back as it is. */
typedef int (*rsl_fn)(const rsl_ctx *ctx, void *arg);

/* A ctx whose deadline lies `span` nanoseconds from now on the real clock, without other limits.
   It saturates: RSL_FOREVER gives no deadline, zero or less one that has passed. From any thread;
   does not block. */
RSL_CORE_API rsl_ctx rsl_within(rsl_time span);

/* Nanoseconds left to the deadline, read on the ctx's clock: RSL_FOREVER without one (or for
   NULL), never negative. From any thread; does not block. */
RSL_CORE_API rsl_time rsl_left(const rsl_ctx *ctx);

/* ---- injected randomness, observation ---- */

/* A source of uniform numbers in [0, 1). Called from every thread that uses the object it was
   given to. */
typedef struct rsl_random { double (*next)(void *user); void *user; } rsl_random;

typedef struct rsl_event {
    const char *source; /* the object's config.name; may be NULL */
    const char *name;   /* what happened, in a word or two; static */
    int         kind;   /* enum rsl_<module>_event */
    int         status; /* the result that led to it, or 0 */
    uint64_t    number; /* per object, in order of happening: tells a late delivery */
    rsl_time    at;     /* when, on the clock in use */
    int64_t     value;  /* as the kind says */
} rsl_event;

/* Told of events, never with a lock held: it may call the object again. From the thread in which
   it happened. */
typedef struct rsl_observer {
    void (*on_event)(const rsl_event *event, void *user);
    void *user;
} rsl_observer;

/* ---- execution, slot, layer: a pattern around a call is three plain functions and the object
   that they work on ---- */

typedef struct rsl_execution rsl_execution;
/* A layer's memory of one execution; zeroed before its first enter. */
typedef struct rsl_slot { uint64_t word[4]; } rsl_slot;

typedef struct rsl_layer_type {
    const char *kind; /* "retry", "breaker", ...: for rsl_policy_check, rsl_execution_refuser */
    /* RSL_OK: go on inwards. RSL_WAIT: called again, same slot, when e->waiter is woken or at
       e->wake_at. Else: refused with that status, and the slot is forgotten. */
    int  (*enter)(void *self, rsl_execution *e, rsl_slot *slot);
    /* e->result is in; may change it. RSL_DONE: go on outwards. RSL_AGAIN: inwards again at
       e->wake_at. Not called on the layer that refused. */
    int  (*leave)(void *self, rsl_execution *e, rsl_slot *slot);
    /* Entered or waiting, and never to be left: undo, count nothing. Like leave, it restores what
       enter changed in e->ctx. */
    void (*abandon)(void *self, rsl_execution *e, rsl_slot *slot);
} rsl_layer_type;

typedef struct rsl_layer { const rsl_layer_type *type; void *self; } rsl_layer;

enum { RSL_LAYERS_MAX = 8 };

/* One call on its way through the layers, in the caller's memory; must not move between begin and
   done. Driven by one thread at a time. */
struct rsl_execution {
    rsl_ctx    ctx;     /* as the innermost layer sees it: what the call gets */
    rsl_time   now;     /* of the latest step */
    rsl_time   wake_at; /* absolute: when to step again, or the limit of the call */
    int        result;
    bool       refused; /* result was made by a layer, not by the call: breakers do not count it,
                           retries do not repeat it */
    rsl_waiter waiter;  /* an execution waits for one thing at a time */
    struct rsl_execution_private_ {
        const rsl_layer *layers;
        const char      *refuser;
        rsl_word_        park;      /* atomic; where a blocked driver sleeps: see rsl_park_wait_ */
        rsl_waiter       listener;  /* between rsl_execution_wake_by and the end */
        rsl_time         again_at;  /* the end of a backoff */
        uint32_t         count;     /* of layers */
        uint32_t         place;     /* layers [0, place) are entered */
        uint32_t         timeless;  /* a bit for each layer that does not read now in leave */
        uint8_t          phase;
        bool             stale;     /* now is from before the call */
        bool             timed_out; /* the failure under way is that of an inner timeout */
        bool             wait_cut;  /* while the layer that waited is abandoned for it */
        rsl_cancel      *listened;  /* the token that the listener is under; NULL: none */
        rsl_slot         slots[RSL_LAYERS_MAX];
    } private_;
};

/* For authors of layers: said in enter, it promises that this layer does not read e->now in leave
   when the call succeeded. If all layers of a policy say so, a successful call costs one reading
   of the clock less. Only within enter; one store. */
RSL_CORE_API void rsl_execution_timeless(rsl_execution *execution);

#ifdef RSL_CORE_TABLE_
typedef struct rsl_core_table_ {
    const char *(*strerror)(int status);
    rsl_time (*now)(void);
    rsl_ctx (*within)(rsl_time span);
    rsl_time (*left)(const rsl_ctx *ctx);
    int (*cancel_init)(rsl_cancel *cancel, rsl_cancel *parent);
    void (*cancel_fire)(rsl_cancel *cancel);
    bool (*cancel_fired)(const rsl_cancel *cancel);
    void (*cancel_deinit)(rsl_cancel *cancel);
    void (*execution_timeless)(rsl_execution *execution);
} rsl_core_table_;
/* Declared under another C name than it is defined: gcc would drop the selectany otherwise. */
#define RSL_LABEL_OF_(prefix, name) #prefix name
#define RSL_LABEL_(prefix, name)    RSL_LABEL_OF_(prefix, name)
extern const rsl_core_table_ rsl_core_linked_
    __asm__(RSL_LABEL_(__USER_LABEL_PREFIX__, "rsl_core_"));
static inline const char *rsl_strerror(int status) { return rsl_core_linked_.strerror(status); }
static inline rsl_time rsl_now(void) { return rsl_core_linked_.now(); }
static inline rsl_ctx rsl_within(rsl_time span) { return rsl_core_linked_.within(span); }
static inline rsl_time rsl_left(const rsl_ctx *ctx) { return rsl_core_linked_.left(ctx); }
static inline int rsl_cancel_init(rsl_cancel *cancel, rsl_cancel *parent)
{
    return rsl_core_linked_.cancel_init(cancel, parent);
}
static inline void rsl_cancel_fire(rsl_cancel *cancel) { rsl_core_linked_.cancel_fire(cancel); }
static inline bool rsl_cancel_fired(const rsl_cancel *cancel)
{
    return rsl_core_linked_.cancel_fired(cancel);
}
static inline void rsl_cancel_deinit(rsl_cancel *cancel)
{
    rsl_core_linked_.cancel_deinit(cancel);
}
static inline void rsl_execution_timeless(rsl_execution *execution)
{
    rsl_core_linked_.execution_timeless(execution);
}
#endif

#ifdef __cplusplus
}
#endif
#endif /* RSL_CORE_H */
/* <<< declarations */

/* >>> definitions */
#ifndef RSL_CORE_IMPLEMENTED_
#define RSL_CORE_IMPLEMENTED_
#ifdef __cplusplus
#error "resilience: implement in a C file; C++ includes the headers without the macro"
#endif

#include <errno.h>
#include <string.h>
#ifndef RSL_ASSERT
#include <assert.h>
#define RSL_ASSERT(condition) assert(condition)
#endif
#if !defined RSL_MALLOC && !defined RSL_FREE
#include <stdlib.h>
#define RSL_MALLOC(size) malloc(size)
#define RSL_FREE(pointer) free(pointer)
#elif !defined RSL_MALLOC || !defined RSL_FREE
#error "resilience: define RSL_MALLOC and RSL_FREE together"
#endif

#ifdef RSL_CORE_TABLE_
#define RSL_CORE_(name) name##_core_
#else
#define RSL_CORE_(name) name
#endif
#if defined RSL_STATIC || defined RSL_CORE_TABLE_
#define RSL_CORE_DEF_ static
#else
#define RSL_CORE_DEF_ __attribute__((weak))
#endif

#define RSL_LIKELY_(x)   __builtin_expect(!!(x), 1)
#define RSL_UNLIKELY_(x) __builtin_expect(!!(x), 0)
#define RSL_NOINLINE_    static __attribute__((noinline, unused)) /* off the usual way */
#define RSL_INLINE_      static inline __attribute__((always_inline))

#ifdef RSL_SCHEDULER_H
/* A schedule explorer takes the place of this block: it defines the same functions, each of which
   yields to its chooser. */
#include RSL_SCHEDULER_H
#else

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <sched.h>
#include <time.h>
#include <unistd.h>
#ifndef RSL_NO_THREADS
#include <pthread.h>
#include <signal.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#endif
#ifndef CLOCK_MONOTONIC
#error "resilience: clock_gettime is hidden: add -D_DEFAULT_SOURCE, or include this header first"
#endif
#endif

/* Atomics on plain words. A load acquires and a store releases; the _relaxed_ ones order
   nothing. */
static inline uint64_t rsl_load_(const rsl_word_ *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline uint64_t rsl_load_relaxed_(const rsl_word_ *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void rsl_store_(rsl_word_ *p, uint64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static inline void rsl_store_relaxed_(rsl_word_ *p, uint64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static inline uint64_t rsl_exchange_(rsl_word_ *p, uint64_t value)
{
    return __atomic_exchange_n(p, value, __ATOMIC_ACQ_REL);
}

static inline uint64_t rsl_add_relaxed_(rsl_word_ *p, uint64_t value)
{
    return __atomic_fetch_add(p, value, __ATOMIC_RELAXED);
}

static inline uint64_t rsl_add_(rsl_word_ *p, uint64_t value)
{
    return __atomic_fetch_add(p, value, __ATOMIC_ACQ_REL);
}

/* On failure *expected holds what was there. */
static inline bool rsl_cas_(rsl_word_ *p, uint64_t *expected, uint64_t value)
{
    return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

/* The _strict_ ones stand in one order that all threads agree on: of two threads that each store
   one word and then load the other's, one at least sees the other's store. */
static inline uint64_t rsl_load_strict_(const rsl_word_ *p)
{
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static inline void rsl_store_strict_(rsl_word_ *p, uint64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);
}

static inline bool rsl_cas_strict_(rsl_word_ *p, uint64_t *expected, uint64_t value)
{
    return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

/* Locks, and a condition to sleep on while holding one. Lock and unlock never fail and leave errno
   alone. */
#ifdef RSL_NO_THREADS
typedef struct rsl_cond_ { int unused; } rsl_cond_;
static inline int  rsl_lock_init_(rsl_lock_ *lock)   { (void)lock; return RSL_OK; }
static inline void rsl_lock_deinit_(rsl_lock_ *lock) { (void)lock; }
static inline void rsl_lock_take_(rsl_lock_ *lock)   { (void)lock; }
static inline void rsl_lock_drop_(rsl_lock_ *lock)   { (void)lock; }
static inline int  rsl_cond_init_(rsl_cond_ *cond)   { (void)cond; return RSL_OK; }
static inline void rsl_cond_deinit_(rsl_cond_ *cond) { (void)cond; }
static inline void rsl_cond_signal_(rsl_cond_ *cond) { (void)cond; }
static inline uint64_t rsl_self_(void) { return 1; }
#elif defined _WIN32
typedef CONDITION_VARIABLE rsl_cond_;
_Static_assert(sizeof(SRWLOCK) <= sizeof(rsl_lock_), "rsl_lock_ is too small");
static inline SRWLOCK *rsl_srw_(rsl_lock_ *lock)     { return (SRWLOCK *)(void *)lock->word; }
static inline void rsl_lock_deinit_(rsl_lock_ *lock) { (void)lock; }
static inline void rsl_lock_take_(rsl_lock_ *lock)   { AcquireSRWLockExclusive(rsl_srw_(lock)); }
static inline void rsl_lock_drop_(rsl_lock_ *lock)   { ReleaseSRWLockExclusive(rsl_srw_(lock)); }
static inline void rsl_cond_deinit_(rsl_cond_ *cond) { (void)cond; }
static inline void rsl_cond_signal_(rsl_cond_ *cond) { WakeConditionVariable(cond); }
static inline uint64_t rsl_self_(void) { return GetCurrentThreadId(); }

static inline int rsl_lock_init_(rsl_lock_ *lock)
{
    InitializeSRWLock(rsl_srw_(lock));
    return RSL_OK;
}

static inline int rsl_cond_init_(rsl_cond_ *cond)
{
    InitializeConditionVariable(cond);
    return RSL_OK;
}
#else
typedef pthread_cond_t rsl_cond_;
_Static_assert(sizeof(pthread_mutex_t) <= sizeof(rsl_lock_), "rsl_lock_ is too small");
static inline pthread_mutex_t *rsl_mutex_(rsl_lock_ *lock)
{
    return (pthread_mutex_t *)(void *)lock->word;
}
static inline void rsl_lock_deinit_(rsl_lock_ *lock) { pthread_mutex_destroy(rsl_mutex_(lock)); }
static inline void rsl_lock_take_(rsl_lock_ *lock)   { pthread_mutex_lock(rsl_mutex_(lock)); }
static inline void rsl_lock_drop_(rsl_lock_ *lock)   { pthread_mutex_unlock(rsl_mutex_(lock)); }
static inline void rsl_cond_deinit_(rsl_cond_ *cond) { pthread_cond_destroy(cond); }
static inline void rsl_cond_signal_(rsl_cond_ *cond) { pthread_cond_signal(cond); }

/* A number that no other living thread has: the address of its control block, in which glibc and
   musl keep pthread_self() too; reading it in place spares a call. */
static inline uint64_t rsl_self_(void)
{
#if defined __linux__ && defined __x86_64__ && !defined __ILP32__
    uint64_t self;
    __asm__("mov %%fs:0, %0" : "=r"(self));
    return self;
#elif defined __linux__ && defined __aarch64__
    uint64_t self;
    __asm__("mrs %0, tpidr_el0" : "=r"(self));
    return self;
#else
    return (uint64_t)(uintptr_t)pthread_self();
#endif
}

static inline int rsl_lock_init_(rsl_lock_ *lock)
{
    int error = pthread_mutex_init(rsl_mutex_(lock), NULL);
    if (error != 0) errno = error;
    return error == 0 ? RSL_OK : RSL_ESYS;
}

static inline int rsl_cond_init_(rsl_cond_ *cond)
{
    int error;
#ifdef __APPLE__ /* has no pthread_condattr_setclock; its relative wait is monotonic */
    error = pthread_cond_init(cond, NULL);
#else
    pthread_condattr_t attributes;
    error = pthread_condattr_init(&attributes);
    if (error == 0) {
        error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        if (error == 0) error = pthread_cond_init(cond, &attributes);
        pthread_condattr_destroy(&attributes);
    }
#endif
    if (error != 0) errno = error;
    return error == 0 ? RSL_OK : RSL_ESYS;
}
#endif

/* The real clocks. The coarse one ticks every few milliseconds and costs a fifth; where a system
   has none, it is the precise one. */
static inline rsl_time rsl_clock_real_(void)
{
#ifdef _WIN32
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    int64_t whole = ticks.QuadPart / per_second.QuadPart;
    int64_t rest = ticks.QuadPart % per_second.QuadPart;
    return RSL_SEC(whole) + RSL_SEC(rest) / per_second.QuadPart;
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return RSL_SEC(t.tv_sec) + (rsl_time)t.tv_nsec;
#endif
}

static inline rsl_time rsl_clock_real_coarse_(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return RSL_SEC(t.tv_sec) + (rsl_time)t.tv_nsec;
#else
    return rsl_clock_real_();
#endif
}

/* Gives the processor away for about `span`; nobody can end it early. Leaves errno alone. */
static inline void rsl_pause_(rsl_time span)
{
#ifdef _WIN32
    Sleep((DWORD)(span / RSL_MS(1)));
#else
    int saved = errno;
    struct timespec t = {(time_t)(span / RSL_SEC(1)), (long)(span % RSL_SEC(1))};
    if (span == 0) sched_yield();
    else nanosleep(&t, NULL);
    errno = saved;
#endif
}

/* For short loops that wait for another processor. */
static inline void rsl_relax_(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* How many processors there are, at least 1. */
static inline uint32_t rsl_processors_(void)
{
#ifdef _WIN32
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwNumberOfProcessors > 0 ? (uint32_t)info.dwNumberOfProcessors : 1;
#else
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (uint32_t)count : 1;
#endif
}

/* Waits for a signal or until the real time `until`, with the lock held before and after. False
   when the time is up. May return true for nothing. A far time is cut to a day, which is such a
   return: not every platform can count further. */
static inline bool rsl_cond_wait_(rsl_cond_ *cond, rsl_lock_ *lock, rsl_time until)
{
    rsl_time now = rsl_clock_real_();
    if (until <= now) return false;
    rsl_time left = until - now;
    bool cut = left > RSL_SEC(86400);
    if (cut) left = RSL_SEC(86400);
#ifdef RSL_NO_THREADS
    (void)cond, (void)lock;
    rsl_pause_(left);
    return cut;
#elif defined _WIN32
    DWORD ms = (DWORD)((left + RSL_MS(1) - 1) / RSL_MS(1));
    return SleepConditionVariableSRW(cond, rsl_srw_(lock), ms, 0) || cut;
#else
#ifdef __APPLE__
    struct timespec t = {(time_t)(left / RSL_SEC(1)), (long)(left % RSL_SEC(1))};
    return pthread_cond_timedwait_relative_np(cond, rsl_mutex_(lock), &t) != ETIMEDOUT || cut;
#else
    rsl_time end = now + left;
    struct timespec t = {(time_t)(end / RSL_SEC(1)), (long)(end % RSL_SEC(1))};
    return pthread_cond_timedwait(cond, rsl_mutex_(lock), &t) != ETIMEDOUT || cut;
#endif
#endif
}

/* A thread cancelled in a wait would unwind with the lock held and its waiter queued: it is not
   cancelled there. */
static inline int rsl_uncancelable_(void)
{
    int before = 0;
#if !defined RSL_NO_THREADS && !defined _WIN32 && defined PTHREAD_CANCEL_DISABLE
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
#endif
    return before;
}

static inline void rsl_cancelable_(int before)
{
#if !defined RSL_NO_THREADS && !defined _WIN32 && defined PTHREAD_CANCEL_DISABLE
    pthread_setcancelstate(before, &before);
#else
    (void)before;
#endif
}

/* A thread of a module's own. It takes no signals: those are the application's. */
#ifndef RSL_NO_THREADS
typedef struct rsl_thread_ {
#ifdef _WIN32
    HANDLE handle;
#else
    pthread_t handle;
#endif
    void (*run)(void *arg);
    void  *arg;
} rsl_thread_;

#ifdef _WIN32
static inline DWORD WINAPI rsl_thread_main_(void *thread)
{
    ((rsl_thread_ *)thread)->run(((rsl_thread_ *)thread)->arg);
    return 0;
}
#else
static inline void *rsl_thread_main_(void *thread)
{
    ((rsl_thread_ *)thread)->run(((rsl_thread_ *)thread)->arg);
    return NULL;
}
#endif

/* The struct must stay where it is until the thread is joined. stack: bytes; 0: the system's
   choice. */
static inline int rsl_thread_start_(rsl_thread_ *thread, size_t stack, void (*run)(void *arg),
                                    void *arg)
{
    thread->run = run;
    thread->arg = arg;
#ifdef _WIN32
    thread->handle = CreateThread(NULL, stack, rsl_thread_main_, thread, 0, NULL);
    return thread->handle != NULL ? RSL_OK : RSL_ESYS;
#else
    sigset_t all, before;
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error == 0) {
        if (stack != 0) error = pthread_attr_setstacksize(&attributes, stack);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (error == 0)
            error = pthread_create(&thread->handle, &attributes, rsl_thread_main_, thread);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
    }
    if (error != 0) errno = error;
    return error == 0 ? RSL_OK : RSL_ESYS;
#endif
}

/* By the thread itself: nobody will join it. */
static inline void rsl_thread_detach_(rsl_thread_ *thread)
{
#ifdef _WIN32
    CloseHandle(thread->handle);
#else
    (void)thread;
    pthread_detach(pthread_self());
#endif
}

/* Names the calling thread, for debuggers and ps; 15 bytes are seen. */
static inline void rsl_thread_name_(const char *name)
{
#if defined __linux__ && defined PR_SET_NAME
    prctl(PR_SET_NAME, name, 0, 0, 0);
#elif defined __APPLE__
    pthread_setname_np(name);
#else
    (void)name;
#endif
}

/* run(arg), and lost(arg) if it ends its thread instead of returning. */
static inline void rsl_thread_guard_(void (*run)(void *arg), void (*lost)(void *arg), void *arg)
{
#ifdef _WIN32
    (void)lost;
    run(arg);
#else
    pthread_cleanup_push(lost, arg);
    run(arg);
    pthread_cleanup_pop(0);
#endif
}

static inline void rsl_thread_join_(rsl_thread_ *thread)
{
#ifdef _WIN32
    WaitForSingleObject(thread->handle, INFINITE);
    CloseHandle(thread->handle);
#else
    pthread_join(thread->handle, NULL);
#endif
}
#endif
#endif /* RSL_SCHEDULER_H */

/* ---- numbers ---- */

/* a + b for b >= 0, at most RSL_FOREVER. */
static inline rsl_time rsl_time_add_(rsl_time a, rsl_time b)
{
    return a > RSL_FOREVER - b ? RSL_FOREVER : a + b;
}

/* A span as an integer: at least 0, at most `limit`; NaN gives 0. Saturates by comparison: a cast
   would be undefined. */
static inline rsl_time rsl_time_from_(double span, rsl_time limit)
{
    if (!(span > 0)) return 0;
    return span >= (double)limit ? limit : (rsl_time)span;
}

/* first x multiplier^power, capped, without libm and without overflow: infinity compares as more
   than the cap. */
static inline rsl_time rsl_time_grow_(rsl_time first, double multiplier, uint32_t power,
                                      rsl_time cap)
{
    if (first <= 0) return 0;
    double factor = 1;
    for (double square = multiplier; power > 0; power >>= 1, square *= square) {
        if (power & 1) factor *= square;
    }
    return rsl_time_from_((double)first * factor, cap);
}

/* A number in [0, 1] from the injected source, or from a splitmix64 sequence of the object's own
   (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators"). The clock goes in at
   each draw, so that a forked child has a sequence of its own. */
static inline double rsl_random_draw_(const rsl_random *random, rsl_word_ *state)
{
    if (random->next != NULL) {
        int saved = errno;
        double drawn = random->next(random->user);
        errno = saved;
        if (!(drawn > 0)) return 0;
        return drawn > 1 ? 1 : drawn;
    }
    /* relaxed: it only has to be different each time */
    uint64_t z = rsl_add_relaxed_(state, 0x9e3779b97f4a7c15u);
    z += (uint64_t)rsl_clock_real_() * 0xd1342543de82ef95u + (uint64_t)(uintptr_t)state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * (1.0 / 9007199254740992.0);
}

/* A config field: 0 means `standard`, RSL_NONE an explicit 0. */
static inline double rsl_default_(double field, double standard)
{
    if (field == 0) return standard; /* set by a person, not computed: an exact 0 is meant */
    return field == RSL_NONE ? 0 : field;
}

static inline bool rsl_rate_ok_(double rate, double low, double high) /* false for NaN */
{
    return rate >= low && rate <= high;
}

static inline bool rsl_growth_ok_(double multiplier) /* false for NaN and infinity */
{
    return multiplier >= 1 && multiplier <= __DBL_MAX__;
}

static inline const char *rsl_clock_check_(const rsl_clock *clock, bool sleeps)
{
    if (clock->now == NULL && clock->sleep_until != NULL)
        return "clock.now: must be set when clock.sleep_until is";
    if (sleeps && clock->now != NULL && clock->sleep_until == NULL)
        return "clock.sleep_until: must be set when clock.now is";
    return NULL;
}

/* ---- clocks ---- */

static inline bool rsl_clock_is_real_(const rsl_clock *clock)
{
    return clock == NULL || clock->now == NULL;
}

static inline rsl_time rsl_clock_now_(const rsl_clock *clock)
{
    if (rsl_clock_is_real_(clock)) return rsl_clock_real_();
    int saved = errno;
    rsl_time now = clock->now(clock->user);
    errno = saved;
    return now > 0 ? now : 0;
}

static inline rsl_time rsl_clock_coarse_(const rsl_clock *clock)
{
    return rsl_clock_is_real_(clock) ? rsl_clock_real_coarse_() : rsl_clock_now_(clock);
}

/* The clock of a call that has both: the ctx's, else the object's, else (NULL) the real one. */
static inline const rsl_clock *rsl_clock_pick_(const rsl_ctx *ctx, const rsl_clock *own)
{
    if (!rsl_clock_is_real_(ctx->clock)) return ctx->clock;
    return rsl_clock_is_real_(own) ? NULL : own;
}

static inline void rsl_emit_(const rsl_observer *observer, const rsl_event *event)
{
    if (observer->on_event == NULL) return;
    int saved = errno;
    observer->on_event(event, observer->user);
    errno = saved;
}

/* ---- shards: words that one thread alone writes, so that no two share a line. A thread owns a
   shard from its first use on; the owner is known by a number that no two living threads share,
   and a later thread with the same one inherits the shard. Threads beyond `count` share one more,
   the last, whose owner stays 0. ---- */

static inline uint32_t rsl_shard_hash_(uint64_t self, uint32_t count)
{
#ifdef _WIN32
    return (uint32_t)(self >> 2) % count; /* numbers of threads are multiples of 4 */
#else
    return (uint32_t)(self >> 12) % count; /* neighbouring stacks: an odd number of pages apart */
#endif
}

/* The first word of a shard is its owner; they lie `size` bytes apart. */
static inline rsl_word_ *rsl_shard_at_(void *shards, size_t size, uint32_t index)
{
    return (rsl_word_ *)(void *)((char *)shards + size * index);
}

/* Its own further on, or a free one, which becomes its own; else the common one. */
RSL_NOINLINE_ void *rsl_shard_find_(void *shards, size_t size, uint32_t count, uint64_t self)
{
    uint32_t first = rsl_shard_hash_(self, count);
    for (uint32_t i = 0; i < count; i++) {
        rsl_word_ *owner = rsl_shard_at_(shards, size, (first + i) % count);
        uint64_t found = rsl_load_relaxed_(owner); /* relaxed: only we put our number */
        if (found == self) return owner;
        if (found == 0 && rsl_cas_(owner, &found, self)) return owner;
    }
    return rsl_shard_at_(shards, size, count);
}

/* Where the shard of this thread usually is; NULL: elsewhere. */
RSL_INLINE_ void *rsl_shard_usual_(void *shards, size_t size, uint32_t count)
{
    uint64_t self = rsl_self_();
    rsl_word_ *owner = rsl_shard_at_(shards, size, rsl_shard_hash_(self, count));
    return RSL_LIKELY_(rsl_load_relaxed_(owner) == self) ? owner : NULL;
}

/* The shard that this thread writes, of `count` and a common one. */
RSL_INLINE_ void *rsl_shard_(void *shards, size_t size, uint32_t count)
{
    void *usual = rsl_shard_usual_(shards, size, count);
    if (RSL_LIKELY_(usual != NULL)) return usual;
    return rsl_shard_find_(shards, size, count, rsl_self_());
}

/* ---- waiters: who waits stands in a list under the granter's lock; nobody can be lost, for a
   waiter leaves QUEUED only under that lock, and only by being unlinked (its owner gave up) or
   taken (it will be woken). ---- */

enum { RSL_WAITER_IDLE_, RSL_WAITER_QUEUED_, RSL_WAITER_WAKING_, RSL_WAITER_WOKEN_ };

/* Lock held. */
static inline void rsl_waiters_push_(rsl_waiters_ *list, rsl_waiter *waiter)
{
    waiter->private_.next = NULL;
    waiter->private_.prev = list->last;
    if (list->last != NULL) list->last->private_.next = waiter;
    else list->first = waiter;
    list->last = waiter;
    /* relaxed, as below: the lock orders it */
    rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_QUEUED_);
}

/* Lock held; the waiter is QUEUED in this list. */
static inline void rsl_waiters_unlink_(rsl_waiters_ *list, rsl_waiter *waiter)
{
    rsl_waiter *next = waiter->private_.next, *prev = waiter->private_.prev;
    if (next != NULL) next->private_.prev = prev;
    else list->last = prev;
    if (prev != NULL) prev->private_.next = next;
    else list->first = next;
    waiter->private_.next = waiter->private_.prev = NULL;
}

/* Lock held: the first waiter, now WAKING, to be given to rsl_waiter_wake_ once the lock is
   dropped; NULL when nobody waits. */
static inline rsl_waiter *rsl_waiters_take_(rsl_waiters_ *list)
{
    rsl_waiter *waiter = list->first;
    if (waiter == NULL) return NULL;
    rsl_waiters_unlink_(list, waiter);
    rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_WAKING_);
    return waiter;
}

/* No lock held. The release is the last touch: it hands the memory back to its owner. A thread
   that was cancelled in a wake that writes would leave the waiter WAKING for ever. */
static inline void rsl_waiter_wake_(rsl_waiter *waiter)
{
    int saved = errno, cancelable = rsl_uncancelable_();
    waiter->wake(waiter->user);
    rsl_cancelable_(cancelable);
    errno = saved;
    rsl_store_(&waiter->private_.state, RSL_WAITER_WOKEN_);
}

/* Until who wakes us has done so, which is as short as a wake: it only posts. */
static inline void rsl_waiter_await_(rsl_waiter *waiter)
{
    if (rsl_load_(&waiter->private_.state) != RSL_WAITER_WAKING_) return;
    int cancelable = rsl_uncancelable_();
    for (int tries = 0; rsl_load_(&waiter->private_.state) == RSL_WAITER_WAKING_; tries++) {
        rsl_pause_(tries < 16 ? 0 : RSL_US(50)); /* the granter may need our processor */
    }
    rsl_cancelable_(cancelable);
}

/* No lock held: ends a wait, granted or not; the memory is free to reuse on return. True when it
   had been granted. */
static inline bool rsl_waiters_leave_(rsl_waiters_ *list, rsl_lock_ *lock, rsl_waiter *waiter)
{
    rsl_lock_take_(lock);
    bool queued = rsl_load_relaxed_(&waiter->private_.state) == RSL_WAITER_QUEUED_;
    if (queued) {
        rsl_waiters_unlink_(list, waiter);
        rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_IDLE_);
    }
    rsl_lock_drop_(lock);
    if (queued) return false;
    rsl_waiter_await_(waiter);
    return true;
}

/* ---- parking: how a thread sleeps until posted. The word holds 0, RSL_POSTED_, or the sleeper's
   rsl_parker_. A post exchanges RSL_POSTED_ in, so that exactly one poster finds the sleeper; a
   sleeper that leaves exchanges 0 in, and if it does not get its own address back, a poster has it
   and is awaited. Hence no post is lost and no parker is touched after it is gone. ---- */

enum { RSL_POSTED_ = 1 };
typedef struct rsl_parker_ {
    rsl_lock_ lock;
    rsl_cond_ cond;
    bool      posted; /* guarded by lock */
} rsl_parker_;

/* Wakes whoever sleeps on the word, or lets the next sleep return at once. Any thread. */
static inline void rsl_park_post_(void *word)
{
    uint64_t before = rsl_exchange_((rsl_word_ *)word, RSL_POSTED_);
    if (before <= RSL_POSTED_) return;
    rsl_parker_ *parker = (rsl_parker_ *)(uintptr_t)before;
    rsl_lock_take_(&parker->lock);
    parker->posted = true;
    rsl_cond_signal_(&parker->cond); /* under the lock: when that is dropped, it may be gone */
    rsl_lock_drop_(&parker->lock);
}

/* A waiter whose wake posts to this word, for a thread that sleeps there. */
static inline void rsl_waiter_park_(rsl_waiter *waiter, rsl_word_ *word)
{
    memset(waiter, 0, sizeof *waiter);
    waiter->wake = rsl_park_post_;
    waiter->user = word;
}

/* Sleeps until posted or until the real time `until`; one thread at a time per word. A post that
   came before counts. */
static inline void rsl_park_wait_(rsl_word_ *word, rsl_time until)
{
    rsl_parker_ parker;
    parker.posted = false;
    if (rsl_lock_init_(&parker.lock) != RSL_OK) { rsl_pause_(RSL_MS(1)); return; }
    if (rsl_cond_init_(&parker.cond) != RSL_OK) {
        rsl_lock_deinit_(&parker.lock);
        rsl_pause_(RSL_MS(1)); /* nothing to sleep on: the caller's loop polls */
        return;
    }
    uint64_t empty = 0;
    if (rsl_cas_(word, &empty, (uint64_t)(uintptr_t)&parker)) {
        rsl_lock_take_(&parker.lock);
        while (!parker.posted && rsl_cond_wait_(&parker.cond, &parker.lock, until)) continue;
        bool posted = parker.posted;
        rsl_lock_drop_(&parker.lock);
        if (!posted && rsl_exchange_(word, 0) == RSL_POSTED_) {
            rsl_lock_take_(&parker.lock);
            while (!parker.posted) rsl_cond_wait_(&parker.cond, &parker.lock, RSL_FOREVER);
            rsl_lock_drop_(&parker.lock);
        }
    }
    rsl_exchange_(word, 0); /* takes the post, and acquires what the poster did before it */
    rsl_cond_deinit_(&parker.cond);
    rsl_lock_deinit_(&parker.lock);
}

/* ---- public functions ---- */

RSL_CORE_DEF_ const char *RSL_CORE_(rsl_strerror)(int status)
{
    switch (status) {
#define RSL_STATUS_(name, value, text) case name: return text;
        RSL_STATUSES_(RSL_STATUS_)
#undef RSL_STATUS_
    default: return "not a status of resilience";
    }
}

RSL_CORE_DEF_ rsl_time RSL_CORE_(rsl_now)(void)
{
    return rsl_clock_real_();
}

RSL_CORE_DEF_ bool RSL_CORE_(rsl_cancel_fired)(const rsl_cancel *cancel)
{
    /* acquire: what was done before the fire is seen */
    return cancel != NULL && rsl_load_(&cancel->fired_) != 0;
}

RSL_CORE_DEF_ void RSL_CORE_(rsl_cancel_fire)(rsl_cancel *cancel)
{
    if (cancel == NULL || cancel->ready_ == 0) return;
    rsl_lock_take_(&cancel->lock_);
    if (rsl_load_relaxed_(&cancel->fired_) == 0) {
        rsl_store_(&cancel->fired_, 1); /* before the first wake: who is woken finds it fired */
        cancel->firing_++;
        for (rsl_waiter *waiter; (waiter = rsl_waiters_take_(&cancel->listeners_)) != NULL;) {
            rsl_lock_drop_(&cancel->lock_);
            rsl_waiter_wake_(waiter);
            rsl_lock_take_(&cancel->lock_);
        }
        cancel->firing_--;
    }
    rsl_lock_drop_(&cancel->lock_);
}

static inline void rsl_cancel_pass_on_(void *child)
{
    rsl_cancel_fire((rsl_cancel *)child);
}

/* Puts the listener under the token. False when it has fired already: then the listener is not
   queued and will not be woken. */
static inline bool rsl_cancel_listen_(rsl_cancel *cancel, rsl_waiter *listener)
{
    rsl_lock_take_(&cancel->lock_);
    bool fired = rsl_load_relaxed_(&cancel->fired_) != 0; /* relaxed: set under the lock */
    if (!fired) rsl_waiters_push_(&cancel->listeners_, listener);
    rsl_lock_drop_(&cancel->lock_);
    return !fired;
}

/* For a listener that rsl_cancel_listen_ took: its memory is free to reuse on return. */
static inline void rsl_cancel_unlisten_(rsl_cancel *cancel, rsl_waiter *listener)
{
    rsl_waiters_leave_(&cancel->listeners_, &cancel->lock_, listener);
}

RSL_CORE_DEF_ int RSL_CORE_(rsl_cancel_init)(rsl_cancel *cancel, rsl_cancel *parent)
{
    if (cancel == NULL) return RSL_EINVAL;
    memset(cancel, 0, sizeof *cancel);
    if (parent == cancel || (parent != NULL && parent->ready_ == 0)) return RSL_EINVAL;
    int status = rsl_lock_init_(&cancel->lock_);
    if (status != RSL_OK) return status;
    cancel->ready_ = 1;
    cancel->link_.wake = rsl_cancel_pass_on_;
    cancel->link_.user = cancel;
    if (parent != NULL && rsl_cancel_listen_(parent, &cancel->link_)) cancel->parent_ = parent;
    else if (parent != NULL) rsl_store_(&cancel->fired_, 1);
    return RSL_OK;
}

RSL_CORE_DEF_ void RSL_CORE_(rsl_cancel_deinit)(rsl_cancel *cancel)
{
    if (cancel == NULL || cancel->ready_ == 0) return;
    if (cancel->parent_ != NULL) rsl_cancel_unlisten_(cancel->parent_, &cancel->link_);
    rsl_lock_take_(&cancel->lock_);
    while (cancel->firing_ != 0) { /* a fire's last touch is dropping this lock with 0 there */
        rsl_lock_drop_(&cancel->lock_);
        rsl_pause_(0);
        rsl_lock_take_(&cancel->lock_);
    }
    RSL_ASSERT(cancel->listeners_.first == NULL); /* something still waits under this token */
    rsl_lock_drop_(&cancel->lock_);
    rsl_lock_deinit_(&cancel->lock_);
    cancel->ready_ = 0;
}

RSL_CORE_DEF_ rsl_ctx RSL_CORE_(rsl_within)(rsl_time span)
{
    rsl_ctx ctx = {0, NULL, NULL, 0, 0};
    ctx.deadline = rsl_time_add_(rsl_clock_real_(), span > 0 ? span : 0);
    return ctx;
}

RSL_CORE_DEF_ rsl_time RSL_CORE_(rsl_left)(const rsl_ctx *ctx)
{
    if (ctx == NULL || ctx->deadline == 0 || ctx->deadline == RSL_FOREVER) return RSL_FOREVER;
    rsl_time now = rsl_clock_now_(ctx->clock);
    return ctx->deadline > now ? ctx->deadline - now : 0;
}

/* Within enter, place is the entering layer's own. */
static inline void rsl_execution_timeless_(rsl_execution *e)
{
    e->private_.timeless |= 1u << e->private_.place;
}

RSL_CORE_DEF_ void RSL_CORE_(rsl_execution_timeless)(rsl_execution *execution)
{
    rsl_execution_timeless_(execution);
}

#ifdef RSL_CORE_TABLE_
__declspec(selectany) const rsl_core_table_ rsl_core_ = {
    rsl_strerror_core_,     rsl_now_core_,           rsl_within_core_,
    rsl_left_core_,         rsl_cancel_init_core_,   rsl_cancel_fire_core_,
    rsl_cancel_fired_core_, rsl_cancel_deinit_core_, rsl_execution_timeless_core_,
};
#endif

/* ---- what modules share ---- */

static const rsl_ctx rsl_ctx_unlimited_ = {0, NULL, NULL, 0, 0};

static inline const rsl_ctx *rsl_ctx_or_unlimited_(const rsl_ctx *ctx)
{
    return ctx != NULL ? ctx : &rsl_ctx_unlimited_;
}

static inline bool rsl_ctx_is_late_(const rsl_ctx *ctx, rsl_time now)
{
    return ctx->deadline != 0 && now >= ctx->deadline;
}

/* RSL_OK, or why nothing may start under this ctx any more. Reads the clock only when there is a
   deadline. */
static inline int rsl_ctx_spent_(const rsl_ctx *ctx, const rsl_clock *clock)
{
    if (ctx->cancel != NULL && rsl_cancel_fired(ctx->cancel)) return RSL_ECANCELED;
    if (ctx->deadline != 0 && rsl_ctx_is_late_(ctx, rsl_clock_now_(clock))) return RSL_ETIMEOUT;
    return RSL_OK;
}

/* Sleeps until the clock says `until`, or *word is posted, or the ctx is cancelled; may return
   early. An injected clock does its own sleeping, except for ever: that only a post can end. */
static inline void rsl_ctx_sleep_(const rsl_ctx *ctx, const rsl_clock *clock, rsl_word_ *word,
                                  rsl_time until)
{
    int saved = errno, cancelable = rsl_uncancelable_();
    const rsl_clock *injected = rsl_clock_is_real_(clock) ? NULL : clock;
    if (injected != NULL && injected->sleep_until != NULL && until != RSL_FOREVER) {
        injected->sleep_until(injected->user, until);
    } else {
        rsl_waiter listener;
        rsl_waiter_park_(&listener, word);
        bool listening = ctx->cancel != NULL && rsl_cancel_listen_(ctx->cancel, &listener);
        if (injected != NULL && until != RSL_FOREVER)
            until = rsl_clock_real_() + RSL_MS(1); /* a clock that others move: look again soon */
        if (ctx->cancel == NULL || listening) rsl_park_wait_(word, until);
        if (listening) rsl_cancel_unlisten_(ctx->cancel, &listener);
    }
    rsl_cancelable_(cancelable);
    errno = saved;
}

/* The time in leave, for layers that promised not to read e->now: precise, or good enough for
   windows. */
static inline rsl_time rsl_execution_now_(rsl_execution *e)
{
    if (e->private_.stale) {
        e->now = rsl_clock_now_(e->ctx.clock);
        e->private_.stale = false;
    }
    return e->now;
}

static inline rsl_time rsl_execution_coarse_(rsl_execution *e)
{
    return e->private_.stale ? rsl_clock_coarse_(e->ctx.clock) : e->now;
}
#endif /* RSL_CORE_IMPLEMENTED_ */
/* <<< definitions */
