/* resilience.h -- all the patterns, and how they are composed around one call.

       #define RSL_IMPLEMENTATION                  in one C file of the program
       #include "resilience.h"

       rsl_layer policy[] = {rsl_timeout_layer(&total), rsl_retry_layer(&retry),
                             rsl_breaker_layer(&breaker), rsl_timeout_layer(&per_attempt)};

       int rc = rsl_run(policy, RSL_COUNT(policy), &ctx, query, &args);      around a function

       rsl_execution e;                                                      as a loop
       rsl_execution_begin(&e, policy, RSL_COUNT(policy), &ctx);
       while (rsl_execution_next(&e)) rsl_execution_done(&e, query(db, &row));

       switch (rsl_execution_step(&e, now)) { ... }                          in an event loop

   A policy is an array of layers, outermost first. An execution carries one call through them:

                      +--------- a layer says AGAIN -----------+
                      v                                        |
       ENTERING -- all entered: RUN --> OUT -- report --> leaving, inner to outer --> DONE
        |    ^                          |  ^                   ^
       WAIT  | woken, or it is time     +--+ time is up: STOP  | a layer refuses, or time is up
        v    |                                                 |
       WAITING, BACKOFF ---------------------------------------+

   Invariant: layers [0, place) are entered, each exactly once since it was last left or abandoned;
   a layer that waits stands at `place` and is abandoned or entered, never forgotten. Layers are
   left only while no call is out, so no late result can be taken for that of the next attempt.

   Options: as in the modules. RSL_IMPLEMENTATION implements every header of this library that is
   included after it, RSL_RESILIENCE_IMPLEMENTATION only this one. Link with -pthread. */
#ifndef RSL_RESILIENCE_H
#define RSL_RESILIENCE_H

/* >>> core declarations (stamped; do not edit) */
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
/* <<< core declarations */

#include "breaker.h"
#include "pool.h"
#include "retry.h"

#define RSL_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the implementation, as RSL_VERSION was when it was compiled. Static text. */
RSL_API const char *rsl_version(void);

/* ---- running ---- */

/* Runs fn(ctx, arg) inside the layers, outermost first, and returns the result: that of the call,
   whatever int it is, or the status of what refused. fn gets the ctx as the innermost layer sees
   it. Blocks in the waits of layers and backoffs, which deadline and cancel of ctx (NULL: no
   limits) end at once. RSL_EINVAL: fn is NULL, or what rsl_execution_begin refuses. The layers and
   their objects stay the caller's. From any thread; allocates nothing; errno is as the call left
   it. */
RSL_API int rsl_run(const rsl_layer *layers, size_t count, const rsl_ctx *ctx, rsl_fn fn,
                    void *arg);

/* Starts an execution in the caller's memory; no layer is entered yet. `layers` must stay until it
   is done; ctx is copied (NULL: no limits). RSL_EINVAL: execution is NULL, more than
   RSL_LAYERS_MAX layers, layers NULL with a count, or a layer without a type or one of its
   functions; the execution is then done, with that result. */
RSL_API int rsl_execution_begin(rsl_execution *execution, const rsl_layer *layers, size_t count,
                                const rsl_ctx *ctx);

/* Blocks through waits. True: make the call now, under execution->ctx, then rsl_execution_done.
   False: it is over, and execution->result says how. To leave the loop early, abandon. Called
   while a call is out it abandons everything and answers false, with result RSL_EINVAL. */
RSL_API bool rsl_execution_next(rsl_execution *execution);

/* Reports the result of the call that rsl_execution_next asked for; any int is legal. Passed over
   when no call is out. Does not block. */
RSL_API void rsl_execution_done(rsl_execution *execution, int result);

/* ---- the same without blocking, for event loops; one call is out at a time ---- */

/* For executions that are stepped, after begin and before the first step: wake(user) is called
   when a wait has ended or the ctx is cancelled, at once if it is already. It may come from any
   thread, early or for nothing, until the execution is done or abandoned, not after; it must only
   post, as to a queue or a pipe. */
RSL_API void rsl_execution_wake_by(rsl_execution *execution, void (*wake)(void *user), void *user);

/* Goes on at the time `now`, on the clock of the deadlines. Never blocks. Returns
     RSL_RUN   start the call, under execution->ctx; its limit is execution->wake_at. Once per call
     RSL_WAIT  step again at execution->wake_at (RSL_FOREVER: only when woken), or when woken;
               also while a call is out and its time is not up
     RSL_STOP  a call is out, and its time is up or it is cancelled: stop it, then report
     RSL_DONE  execution->result is final; the memory may be reused
   RSL_EINVAL for NULL. By one thread at a time. */
RSL_API int rsl_execution_step(rsl_execution *execution, rsl_time now);

/* Reports the result of the call that is out; any int is legal. Layers are left at once; then
   step. RSL_EINVAL when no call is out, and for NULL. Never blocks. */
RSL_API int rsl_execution_report(rsl_execution *execution, rsl_time now, int result);

/* Gives up at any point: everything is given back, nothing is counted, nothing will be woken. A
   call that is out is the caller's to end. The result becomes RSL_ECANCELED. NULL, and an
   execution that is done, are passed over. Never blocks, but for a wake that is being posted. */
RSL_API void rsl_execution_abandon(rsl_execution *execution, rsl_time now);

/* Kind of the layer that refused, or in whose wait the time ran out; "ctx" when the ctx was spent
   outside any wait; NULL if none did, and for NULL. It tells of the latest attempt, also when an
   outer layer (a fallback) has changed the result. */
RSL_API const char *rsl_execution_refuser(const rsl_execution *execution);

/* ---- timeout: a limit for everything inside it ---- */

/* Outside a retry it limits the whole, inside each attempt. It narrows the ctx: waits end there,
   an event loop is told to stop the call, and a blocking call sees it in its ctx and is expected
   to keep to it. The call's own result stands, late or not; but a failure after the limit is one
   that an outer retry repeats and an outer breaker counts. */
typedef struct rsl_timeout { rsl_time span_; /* constant; 0: not initialised */ } rsl_timeout;

/* span: nanoseconds, above 0; RSL_FOREVER: no limit. RSL_EINVAL otherwise, and for NULL; a layer
   of it then refuses with RSL_EINVAL. Nothing to deinit. */
RSL_API int rsl_timeout_init(rsl_timeout *timeout, rsl_time span);

/* The layer; the timeout must outlive its use, and may be shared by any number of threads. */
RSL_API rsl_layer rsl_timeout_layer(rsl_timeout *timeout);

/* ---- fallback: another answer when there is none ---- */

typedef struct rsl_fallback {
    int (*fn_)(int result, void *user);
    void *user_;
} rsl_fallback;

/* fn(result, user) is called with any result but 0, refusals included; what it returns is the
   result, and errno is as fn left it; it counts as made by a layer when it differs. RSL_EINVAL:
   fallback or fn is NULL; a layer of it then refuses with RSL_EINVAL. Nothing to deinit. */
RSL_API int rsl_fallback_init(rsl_fallback *fallback, int (*fn)(int result, void *user),
                              void *user);

/* The layer; the fallback must outlive its use, and may be shared by threads if fn may. */
RSL_API rsl_layer rsl_fallback_layer(rsl_fallback *fallback);

/* ---- policy check ---- */

/* RSL_OK, or RSL_EINVAL for an array that rsl_execution_begin would refuse or whose order cannot
   work as meant: two retries (they multiply); a bulkhead or pool outside a retry that sleeps in
   it; a fallback inside a retry or breaker (it hides failures from them); a timeout inside one
   that is no longer (it can never end anything); a timeout around a retry no longer than its first
   wait (nothing can be retried). *why then names the layers, in static text; else it is NULL. why
   may be NULL. Pure; meant for start-up and tests. */
RSL_API int rsl_policy_check(const rsl_layer *layers, size_t count, const char **why);

#ifdef __cplusplus
}
#endif
#endif /* RSL_RESILIENCE_H */

/* ---------------------------------------------------------------- implementation */
#if (defined RSL_RESILIENCE_IMPLEMENTATION || defined RSL_IMPLEMENTATION || \
     defined RSL_STATIC) && !defined RSL_RESILIENCE_IMPLEMENTED_
#define RSL_RESILIENCE_IMPLEMENTED_

/* >>> core definitions (stamped; do not edit) */
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
#ifndef RSL_NO_THREADS
#include <pthread.h>
#include <signal.h>
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

/* On failure *expected holds what was there. */
static inline bool rsl_cas_(rsl_word_ *p, uint64_t *expected, uint64_t value)
{
    return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
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

/* The struct must stay where it is until the thread is joined. */
static inline int rsl_thread_start_(rsl_thread_ *thread, void (*run)(void *arg), void *arg)
{
    thread->run = run;
    thread->arg = arg;
#ifdef _WIN32
    thread->handle = CreateThread(NULL, 0, rsl_thread_main_, thread, 0, NULL);
    return thread->handle != NULL ? RSL_OK : RSL_ESYS;
#else
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread->handle, NULL, rsl_thread_main_, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) errno = error;
    return error == 0 ? RSL_OK : RSL_ESYS;
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

/* No lock held. The release is the last touch: it hands the memory back to its owner. */
static inline void rsl_waiter_wake_(rsl_waiter *waiter)
{
    int saved = errno;
    waiter->wake(waiter->user);
    errno = saved;
    rsl_store_(&waiter->private_.state, RSL_WAITER_WOKEN_);
}

/* No lock held: ends a wait, granted or not; the memory is free to reuse on return. True when it
   had been granted. The wait for WOKEN is as short as a wake, which only posts. */
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
    for (int tries = 0; rsl_load_(&waiter->private_.state) == RSL_WAITER_WAKING_; tries++) {
        rsl_pause_(tries < 16 ? 0 : RSL_US(50)); /* the granter may need our processor */
    }
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
    bool real = rsl_clock_is_real_(clock);
    if (!real && clock->sleep_until != NULL && until != RSL_FOREVER) {
        clock->sleep_until(clock->user, until);
    } else {
        rsl_waiter listener;
        memset(&listener, 0, sizeof listener);
        listener.wake = rsl_park_post_;
        listener.user = word;
        bool listening = ctx->cancel != NULL && rsl_cancel_listen_(ctx->cancel, &listener);
        if (!real && until != RSL_FOREVER)
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
/* <<< core definitions */

const char *rsl_version(void)
{
    return RSL_VERSION;
}

/* ---- the state machine: everything that drives an execution goes through rsl_execution_advance_,
   with e->now set, and rsl_execution_settle_, with the result in. ---- */

enum rsl_execution_phase_ {
    RSL_PHASE_ENTERING_, /* the layer at `place` is next to be entered, with a zeroed slot */
    RSL_PHASE_WAITING_,  /* the layer at `place` said RSL_WAIT; not counted as entered */
    RSL_PHASE_BACKOFF_,  /* the layer at place - 1 said RSL_AGAIN; still entered */
    RSL_PHASE_OUT_,      /* all are entered and the call is out */
    RSL_PHASE_DONE_
};

static inline int rsl_execution_spent_(const rsl_execution *e)
{
    if (e->ctx.cancel != NULL && rsl_cancel_fired(e->ctx.cancel)) return RSL_ECANCELED;
    return rsl_ctx_is_late_(&e->ctx, e->now) ? RSL_ETIMEOUT : RSL_OK;
}

/* No wake comes after this. */
static inline void rsl_execution_unlisten_(rsl_execution *e)
{
    rsl_cancel *listened = e->private_.listened;
    if (RSL_LIKELY_(listened == NULL)) return;
    e->private_.listened = NULL;
    rsl_cancel_unlisten_(listened, &e->private_.listener);
}

/* The result is in: leaves the layers outwards, until one wants to go in again or none is left. */
static inline void rsl_execution_settle_(rsl_execution *e)
{
    struct rsl_execution_private_ *p = &e->private_;
    const rsl_layer *layers = p->layers;
    for (uint32_t place = p->place; place > 0; p->place = --place) {
        const rsl_layer *layer = &layers[place - 1];
        e->wake_at = 0;
        int next = layer->type->leave(layer->self, e, &p->slots[place - 1]);
        if (RSL_UNLIKELY_(next == RSL_AGAIN)) {
            p->again_at = e->wake_at;
            p->phase = RSL_PHASE_BACKOFF_;
            return;
        }
    }
    p->phase = RSL_PHASE_DONE_;
    rsl_execution_unlisten_(e);
}

RSL_NOINLINE_ void rsl_execution_refuse_(rsl_execution *e, int status, const char *kind)
{
    e->result = status;
    e->refused = true;
    e->private_.timed_out = false; /* of the attempt before */
    e->private_.refuser = kind;
    rsl_execution_settle_(e);
}

/* A wait ended by deadline or cancel: who waited is abandoned, who stands outside is left. */
static void rsl_execution_cut_wait_(rsl_execution *e, int status)
{
    struct rsl_execution_private_ *p = &e->private_;
    if (p->phase == RSL_PHASE_BACKOFF_) p->place--;
    const rsl_layer *layer = &p->layers[p->place];
    p->wait_cut = true;
    layer->type->abandon(layer->self, e, &p->slots[p->place]);
    p->wait_cut = false;
    rsl_execution_refuse_(e, status, layer->type->kind);
}

static inline int rsl_execution_wait_(rsl_execution *e, rsl_time until)
{
    bool limited = e->ctx.deadline != 0 && e->ctx.deadline < until;
    e->wake_at = limited ? e->ctx.deadline : until;
    return RSL_WAIT;
}

/* The layer at `place` did not say RSL_OK. RSL_WAIT, or RSL_OK: look again. */
RSL_NOINLINE_ int rsl_execution_not_entered_(rsl_execution *e, int status)
{
    struct rsl_execution_private_ *p = &e->private_;
    if (status != RSL_WAIT) {
        rsl_execution_refuse_(e, status, p->layers[p->place].type->kind);
        return RSL_OK;
    }
    p->phase = RSL_PHASE_WAITING_;
    return rsl_execution_wait_(e, e->wake_at);
}

/* From ENTERING straight inwards. RSL_RUN: the call is to start; RSL_WAIT; RSL_OK: look again. */
static inline int rsl_execution_descend_(rsl_execution *e)
{
    struct rsl_execution_private_ *p = &e->private_;
    const rsl_layer *layers = p->layers;
    e->wake_at = RSL_FOREVER;
    for (uint32_t place = p->place, count = p->count;; p->place = ++place) {
        int spent = rsl_execution_spent_(e);
        if (RSL_UNLIKELY_(spent != RSL_OK)) {
            rsl_execution_refuse_(e, spent, "ctx");
            return RSL_OK;
        }
        if (place == count) break;
        rsl_slot *slot = &p->slots[place];
        memset(slot, 0, sizeof *slot);
        int status = layers[place].type->enter(layers[place].self, e, slot);
        if (RSL_UNLIKELY_(status != RSL_OK)) return rsl_execution_not_entered_(e, status);
    }
    p->phase = RSL_PHASE_OUT_;
    rsl_execution_wait_(e, RSL_FOREVER);
    return RSL_RUN;
}

/* From WAITING: asks the layer again. As above. */
static int rsl_execution_ask_again_(rsl_execution *e)
{
    struct rsl_execution_private_ *p = &e->private_;
    const rsl_layer *layer = &p->layers[p->place];
    int spent = rsl_execution_spent_(e);
    if (spent != RSL_OK) {
        rsl_execution_cut_wait_(e, spent);
        return RSL_OK;
    }
    e->wake_at = RSL_FOREVER;
    int status = layer->type->enter(layer->self, e, &p->slots[p->place]);
    if (status != RSL_OK) return rsl_execution_not_entered_(e, status);
    p->phase = RSL_PHASE_ENTERING_;
    p->place++;
    return RSL_OK;
}

/* From BACKOFF: inwards again when it is time. As above. */
static int rsl_execution_back_off_(rsl_execution *e)
{
    struct rsl_execution_private_ *p = &e->private_;
    int spent = rsl_execution_spent_(e);
    if (spent != RSL_OK) {
        rsl_execution_cut_wait_(e, spent);
        return RSL_OK;
    }
    if (e->now < p->again_at) return rsl_execution_wait_(e, p->again_at);
    p->phase = RSL_PHASE_ENTERING_;
    p->timed_out = e->refused = false;
    p->timeless &= (1u << p->place) - 1; /* the layers inside promise anew */
    p->refuser = NULL;
    return RSL_OK;
}

RSL_NOINLINE_ int rsl_execution_advance_slowly_(rsl_execution *e)
{
    for (;;) {
        int next = RSL_OK;
        switch (e->private_.phase) {
        case RSL_PHASE_ENTERING_: next = rsl_execution_descend_(e); break;
        case RSL_PHASE_WAITING_:  next = rsl_execution_ask_again_(e); break;
        case RSL_PHASE_BACKOFF_:  next = rsl_execution_back_off_(e); break;
        case RSL_PHASE_OUT_:
            rsl_execution_wait_(e, RSL_FOREVER);
            return rsl_execution_spent_(e) != RSL_OK ? RSL_STOP : RSL_WAIT;
        default: return RSL_DONE;
        }
        if (next != RSL_OK) return next;
    }
}

/* Goes on as far as it can at e->now. */
static inline int rsl_execution_advance_(rsl_execution *e)
{
    if (RSL_LIKELY_(e->private_.phase == RSL_PHASE_ENTERING_)) {
        int next = rsl_execution_descend_(e);
        if (RSL_LIKELY_(next != RSL_OK)) return next;
    }
    return rsl_execution_advance_slowly_(e);
}

static bool rsl_layers_are_sound_(const rsl_layer *layers, size_t count)
{
    if (count > RSL_LAYERS_MAX || (layers == NULL && count > 0)) return false;
    for (size_t i = 0; i < count; i++) {
        const rsl_layer_type *type = layers[i].type;
        if (type == NULL || type->enter == NULL || type->leave == NULL || type->abandon == NULL)
            return false;
    }
    return true;
}

int rsl_execution_begin(rsl_execution *execution, const rsl_layer *layers, size_t count,
                        const rsl_ctx *ctx)
{
    if (execution == NULL) return RSL_EINVAL;
    rsl_execution *e = execution;
    struct rsl_execution_private_ *p = &e->private_;
    bool sound = rsl_layers_are_sound_(layers, count);
    e->ctx = *rsl_ctx_or_unlimited_(ctx);
    e->now = e->wake_at = 0;
    e->result = sound ? RSL_OK : RSL_EINVAL;
    e->refused = !sound;
    e->waiter.wake = rsl_park_post_;
    e->waiter.user = &p->park;
    e->waiter.private_.state = RSL_WAITER_IDLE_;
    p->layers = layers;
    p->refuser = NULL;
    p->park = 0;
    p->count = (uint32_t)count;
    p->place = 0;
    p->timeless = 0;
    p->phase = sound ? RSL_PHASE_ENTERING_ : RSL_PHASE_DONE_;
    p->stale = p->timed_out = p->wait_cut = false;
    p->listened = NULL;
    return e->result;
}

/* ---- blocking drivers ---- */

bool rsl_execution_next(rsl_execution *execution)
{
    rsl_execution *e = execution;
    if (e == NULL || e->private_.phase == RSL_PHASE_DONE_) return false;
    for (;;) {
        e->now = rsl_clock_now_(e->ctx.clock);
        e->private_.stale = false;
        bool out = e->private_.phase == RSL_PHASE_OUT_;
        int next = rsl_execution_advance_(e);
        if (RSL_LIKELY_(next == RSL_RUN)) return true;
        if (next == RSL_DONE) return false;
        if (out) {
            rsl_execution_abandon(e, e->now);
            e->result = RSL_EINVAL;
            return false;
        }
        rsl_ctx_sleep_(&e->ctx, e->ctx.clock, &e->private_.park, e->wake_at);
    }
}

void rsl_execution_done(rsl_execution *execution, int result)
{
    rsl_execution *e = execution;
    if (e == NULL || e->private_.phase != RSL_PHASE_OUT_) return;
    e->result = result;
    e->private_.stale = true;
    bool all_timeless = e->private_.timeless == (1u << e->private_.count) - 1;
    if (result != 0 || !all_timeless) rsl_execution_now_(e);
    rsl_execution_settle_(e);
}

int rsl_run(const rsl_layer *layers, size_t count, const rsl_ctx *ctx, rsl_fn fn, void *arg)
{
    rsl_execution e;
    if (fn == NULL || rsl_execution_begin(&e, layers, count, ctx) != RSL_OK) return RSL_EINVAL;
    while (rsl_execution_next(&e)) rsl_execution_done(&e, fn(&e.ctx, arg));
    return e.result;
}

/* ---- event loops ---- */

void rsl_execution_wake_by(rsl_execution *execution, void (*wake)(void *user), void *user)
{
    rsl_execution *e = execution;
    if (e == NULL || wake == NULL || e->private_.phase == RSL_PHASE_DONE_) return;
    rsl_execution_unlisten_(e);
    e->waiter.wake = wake;
    e->waiter.user = user;
    if (e->ctx.cancel == NULL) return;
    memset(&e->private_.listener, 0, sizeof e->private_.listener);
    e->private_.listener.wake = wake;
    e->private_.listener.user = user;
    if (rsl_cancel_listen_(e->ctx.cancel, &e->private_.listener))
        e->private_.listened = e->ctx.cancel;
    else
        wake(user); /* it has fired: nobody else would tell */
}

int rsl_execution_step(rsl_execution *execution, rsl_time now)
{
    if (execution == NULL) return RSL_EINVAL;
    execution->now = now > 0 ? now : 0;
    execution->private_.stale = false;
    return rsl_execution_advance_(execution);
}

int rsl_execution_report(rsl_execution *execution, rsl_time now, int result)
{
    if (execution == NULL || execution->private_.phase != RSL_PHASE_OUT_) return RSL_EINVAL;
    execution->now = now > 0 ? now : 0;
    execution->private_.stale = false;
    execution->result = result;
    rsl_execution_settle_(execution);
    return RSL_OK;
}

void rsl_execution_abandon(rsl_execution *execution, rsl_time now)
{
    if (execution == NULL || execution->private_.phase == RSL_PHASE_DONE_) return;
    rsl_execution *e = execution;
    struct rsl_execution_private_ *p = &e->private_;
    e->now = now > 0 ? now : 0;
    p->stale = false;
    if (p->phase == RSL_PHASE_WAITING_) p->place++; /* who waits is owed an end too */
    while (p->place > 0) {
        const rsl_layer *layer = &p->layers[--p->place];
        layer->type->abandon(layer->self, e, &p->slots[p->place]);
    }
    e->result = RSL_ECANCELED;
    e->refused = true;
    p->phase = RSL_PHASE_DONE_;
    rsl_execution_unlisten_(e);
}

const char *rsl_execution_refuser(const rsl_execution *execution)
{
    return execution != NULL ? execution->private_.refuser : NULL;
}

/* ---- timeout. Slot: the deadline outside | its own ---- */

int rsl_timeout_init(rsl_timeout *timeout, rsl_time span)
{
    if (timeout == NULL) return RSL_EINVAL;
    timeout->span_ = span > 0 ? span : 0;
    return span > 0 ? RSL_OK : RSL_EINVAL;
}

static int rsl_timeout_enter_(void *self, rsl_execution *e, rsl_slot *slot)
{
    const rsl_timeout *timeout = (const rsl_timeout *)self;
    if (timeout == NULL || timeout->span_ == 0) return RSL_EINVAL;
    rsl_time outside = e->ctx.deadline, own = rsl_time_add_(e->now, timeout->span_);
    slot->word[0] = (uint64_t)outside;
    slot->word[1] = (uint64_t)own;
    if (own != RSL_FOREVER && (outside == 0 || own < outside)) e->ctx.deadline = own;
    rsl_execution_timeless_(e);
    return RSL_OK;
}

static void rsl_timeout_abandon_(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self;
    e->ctx.deadline = (rsl_time)slot->word[0];
}

/* Marks a failure that its own limit made: the call went past it, or a wait was ended by it. */
static int rsl_timeout_leave_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_timeout_abandon_(self, e, slot);
    if (RSL_LIKELY_(e->result == 0)) return RSL_DONE;
    bool possible = !e->refused || e->result == RSL_ETIMEOUT;
    if (possible && rsl_execution_now_(e) >= (rsl_time)slot->word[1] &&
        !rsl_cancel_fired(e->ctx.cancel))
        e->private_.timed_out = true;
    return RSL_DONE;
}

static const rsl_layer_type rsl_timeout_type_ = {"timeout", rsl_timeout_enter_,
                                                 rsl_timeout_leave_, rsl_timeout_abandon_};

rsl_layer rsl_timeout_layer(rsl_timeout *timeout)
{
    rsl_layer layer = {&rsl_timeout_type_, timeout};
    return layer;
}

/* ---- fallback ---- */

int rsl_fallback_init(rsl_fallback *fallback, int (*fn)(int result, void *user), void *user)
{
    if (fallback == NULL) return RSL_EINVAL;
    fallback->fn_ = fn;
    fallback->user_ = user;
    return fn != NULL ? RSL_OK : RSL_EINVAL;
}

static int rsl_fallback_enter_(void *self, rsl_execution *e, rsl_slot *slot)
{
    const rsl_fallback *fallback = (const rsl_fallback *)self;
    (void)slot;
    if (fallback == NULL || fallback->fn_ == NULL) return RSL_EINVAL;
    rsl_execution_timeless_(e);
    return RSL_OK;
}

static int rsl_fallback_leave_(void *self, rsl_execution *e, rsl_slot *slot)
{
    const rsl_fallback *fallback = (const rsl_fallback *)self;
    (void)slot;
    if (RSL_LIKELY_(e->result == 0)) return RSL_DONE;
    int result = fallback->fn_(e->result, fallback->user_);
    if (result == e->result) return RSL_DONE;
    e->result = result;
    e->refused = true; /* not the call's own: nobody outside counts or repeats it */
    e->private_.timed_out = false;
    return RSL_DONE;
}

static void rsl_fallback_abandon_(void *self, rsl_execution *e, rsl_slot *slot)
{
    (void)self, (void)e, (void)slot; /* it holds nothing */
}

rsl_layer rsl_fallback_layer(rsl_fallback *fallback)
{
    static const rsl_layer_type type = {"fallback", rsl_fallback_enter_, rsl_fallback_leave_,
                                        rsl_fallback_abandon_};
    rsl_layer layer = {&type, fallback};
    return layer;
}

/* ---- policy check: a pair of layers, outer and inner, at a time ---- */

static bool rsl_layer_is_(const rsl_layer *layer, const char *kind)
{
    return layer->type->kind != NULL && strcmp(layer->type->kind, kind) == 0;
}

/* Of our own making, so that `self` is what its kind says; NULL otherwise. */
static const rsl_retry *rsl_layer_retry_(const rsl_layer *layer)
{
    bool own = layer->type == rsl_retry_layer(NULL).type;
    return own ? (const rsl_retry *)layer->self : NULL;
}

static const rsl_timeout *rsl_layer_timeout_(const rsl_layer *layer)
{
    return layer->type == &rsl_timeout_type_ ? (const rsl_timeout *)layer->self : NULL;
}

static bool rsl_retry_sleeps_(const rsl_layer *layer)
{
    const rsl_retry *retry = rsl_layer_retry_(layer);
    return retry == NULL || retry->config_.delay_first > 0 || retry->config_.delay_hint != NULL;
}

static const char *rsl_policy_timeout_check_(const rsl_layer *outer, const rsl_layer *inner)
{
    const rsl_timeout *limit = rsl_layer_timeout_(outer);
    if (limit == NULL || limit->span_ == 0 || limit->span_ == RSL_FOREVER) return NULL;
    const rsl_timeout *within = rsl_layer_timeout_(inner);
    if (within != NULL && within->span_ != RSL_FOREVER && within->span_ >= limit->span_)
        return "timeout inside timeout: the inner one is not shorter, so it can end nothing";
    const rsl_retry *retry = rsl_layer_retry_(inner);
    if (retry != NULL && retry->config_.jitter == RSL_JITTER_NONE &&
        retry->config_.attempts_max > 1 && retry->config_.delay_first >= limit->span_)
        return "retry inside timeout: the first wait is not shorter than the timeout, so nothing "
               "can be retried";
    return NULL;
}

static const char *rsl_policy_pair_check_(const rsl_layer *outer, const rsl_layer *inner)
{
    if (rsl_layer_is_(inner, "retry")) {
        if (rsl_layer_is_(outer, "retry")) return "retry inside retry: their attempts multiply";
        if (rsl_layer_is_(outer, "bulkhead") && rsl_retry_sleeps_(inner))
            return "retry inside bulkhead: it would sleep while holding the permit";
        if (rsl_layer_is_(outer, "pool") && rsl_retry_sleeps_(inner))
            return "retry inside pool: it would sleep while holding the lease";
    }
    if (rsl_layer_is_(inner, "fallback")) {
        if (rsl_layer_is_(outer, "retry"))
            return "fallback inside retry: the retry never sees the failures";
        if (rsl_layer_is_(outer, "breaker"))
            return "fallback inside breaker: the breaker never sees the failures";
    }
    return rsl_policy_timeout_check_(outer, inner);
}

int rsl_policy_check(const rsl_layer *layers, size_t count, const char **why)
{
    const char *reason = NULL;
    if (!rsl_layers_are_sound_(layers, count)) {
        reason = "layers: at most RSL_LAYERS_MAX, each with a type and its three functions";
        count = 0;
    }
    for (size_t inner = 1; inner < count && reason == NULL; inner++) {
        for (size_t outer = 0; outer < inner && reason == NULL; outer++)
            reason = rsl_policy_pair_check_(&layers[outer], &layers[inner]);
    }
    if (why != NULL) *why = reason;
    return reason == NULL ? RSL_OK : RSL_EINVAL;
}

#endif /* RSL_RESILIENCE_IMPLEMENTATION */

/* SPDX-License-Identifier: MIT

   Copyright (c) 2026 the resilience contributors

   Permission is hereby granted, free of charge, to any person obtaining a copy of this software
   and associated documentation files (the "Software"), to deal in the Software without
   restriction, including without limitation the rights to use, copy, modify, merge, publish,
   distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
   Software is furnished to do so, subject to the following conditions:

   The above copyright notice and this permission notice shall be included in all copies or
   substantial portions of the Software.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING
   BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
   NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
   DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
   OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE. */
