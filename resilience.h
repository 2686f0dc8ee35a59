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
#include "bulkhead.h"
#include "pool.h"
#include "retry.h"
#include "saga.h"

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

/* ---- hedge: a second try while the first is still out, against the slowest few ---- */

/* Zero means the default in brackets. */
typedef struct rsl_hedge_config {
    const char *name;         /* source of events; must outlive the object (none) */
    rsl_workers *workers;     /* on whose threads the attempts run; best with RSL_FULL_REJECT; must
                                 outlive the object (required) */
    uint32_t    attempts_max; /* at once in all, the first included, 2..4 (2) */
    rsl_time    delay;        /* before each further attempt; RSL_NONE: at once (100 ms) */
    double      percentile;   /* the delay is what this share of calls do not exceed, as 0.95, in
                                 0..1, ends excluded: of the latest 512 to 1024 that succeeded,
                                 once 32 and 1 / (1 - percentile) have (none: always delay) */
    rsl_time    delay_min, delay_max; /* bounds of a delay from the percentile; RSL_NONE: 0 (1 ms;
                                 10 s, or delay_min if that is more) */
    uint32_t    calls_max;    /* calls at once, losers that still run counted; more run in the
                                 caller's thread without a hedge, 1..65536 (64) */
    size_t      size_max;     /* bytes of argument that an attempt gets its own copy of (256) */
    rsl_retry_budget *budget; /* a further attempt costs what a failed one does, a first attempt
                                 that wins alone gives back; without tokens there is none; must
                                 outlive the object (none: no bound) */
    bool      (*is_success)(int result, void *user); /* asked on the thread of the attempt (0) */
    void       *user;         /* given to is_success */
    rsl_clock    clock;       /* of calls whose ctx has none; both functions or none (real) */
    rsl_observer observer;    /* told of enum rsl_hedge_event (none) */
} rsl_hedge_config;

typedef enum rsl_hedge_event {
    RSL_HEDGE_STARTED = 1, /* a further attempt; value: its number, from 2 */
    RSL_HEDGE_WON,         /* a further attempt won; value: its number */
    RSL_HEDGE_DENIED,      /* one was due, but the budget (RSL_ELIMITED) or the workers refused;
                              status: why; value: its number */
    RSL_HEDGE_ALONE        /* a call runs in its caller's thread; status: why */
} rsl_hedge_event;

typedef struct rsl_hedge_stats {
    uint64_t calls;    /* since init, as all below */
    uint64_t started;  /* further attempts */
    uint64_t won;      /* calls that a further attempt decided */
    uint64_t denied, alone;
    uint32_t running;  /* now: calls and losers that still run */
    rsl_time delay;    /* now in force */
} rsl_hedge_stats;

/* A value object: must not move between init and deinit. Shared by any number of threads. After a
   fork the child makes its own, as of the workers. */
typedef struct rsl_hedge { struct rsl_hedge_state_ *state_; /* NULL: dead */ } rsl_hedge;

/* As in the modules. */
RSL_API const char *rsl_hedge_config_check(const rsl_hedge_config *config);
RSL_API rsl_hedge_config rsl_hedge_config_resolve(const rsl_hedge_config *config);

/* RSL_EINVAL: hedge is NULL or the config is wrong; RSL_ENOMEM; RSL_ESYS. Allocates, here only:
   calls_max x (attempts_max x (size_max + 0.2 KB) + 0.1 KB), and 4 KB. */
RSL_API int rsl_hedge_init(rsl_hedge *hedge, const rsl_hedge_config *config);

/* Waits until all losers have ended, to ctx's deadline or cancel (NULL: for ever), and frees. No
   call may be under way, and it must not be one of those attempts. RSL_OK, also for NULL and not
   initialised; RSL_ETIMEOUT, RSL_ECANCELED: still allocated; call again. */
RSL_API int rsl_hedge_deinit(rsl_hedge *hedge, const rsl_ctx *ctx);

/* Calls fn(ctx, own) on the workers, and again, at the same time, each time the delay has passed
   without a success. The first success is the result, and the others are cancelled: their ctx says
   so, and nobody waits for them. `own` is a copy of the `size` bytes at `arg`, one for each
   attempt, aligned for any type, and the winner's bytes are copied back to arg. With size 0 it is
   arg itself. So attempts share what pointers lead to, and that must stay good until losers have
   ended, as must the clock's user if ctx brings one; ctx->attempt tells the attempts apart.

   Without a success the result is that of the attempt that ended last, and its bytes are copied
   back. If no attempt is out any more before another is due, the call is over: the rest is a
   retry's matter. It runs alone, once, in the caller's thread, on arg itself, when calls_max are
   under way, when the workers do not take it, or when none of them has begun by the time a second
   attempt is due (1 ms, if at once): so a call from a task of the same workers cannot wait for
   itself.

   Returns the result; RSL_EINVAL: hedge or fn is NULL, not initialised, size above size_max, or
   arg NULL with a size; RSL_ETIMEOUT, RSL_ECANCELED when ctx (NULL: no limits) was spent first:
   all attempts are cancelled and left behind, and arg is as it was; RSL_ECANCELED also for an
   attempt that ended its thread. From any thread; blocks; allocates nothing; costs a switch of
   threads and back, and two brief locks. errno goes with the call: an attempt finds the caller's,
   and the caller that of the attempt whose result it gets. */
RSL_API int rsl_hedge_call(rsl_hedge *hedge, const rsl_ctx *ctx, rsl_fn fn, void *arg,
                           size_t size);

/* Writes a snapshot; NULL hedge, or not initialised: zeroes. NULL stats is passed over. */
RSL_API void rsl_hedge_stats_get(rsl_hedge *hedge, rsl_hedge_stats *stats);

/* ---- registry: named instances of a module, made on first use ---- */

/* What a registry keeps. Ready ones are below; of any other module, write your own. The functions
   run without a lock, and may call the registry; they must return. They may come from any thread
   that acquires, deinit also from rsl_registry_deinit. */
typedef struct rsl_registry_type {
    const char *kind;
    size_t size;                         /* of an object, in bytes */
    /* Makes the object in zeroed memory aligned as malloc's; key is its name for as long as it
       lives; config is config.config. 0, or the status that acquire then returns. */
    int  (*init)(void *object, const char *key, const void *config);
    void (*deinit)(void *object);        /* nobody uses it */
    bool (*is_busy)(void *object);       /* must be kept though nobody holds it: an open breaker;
                                            others may use it meanwhile (NULL: never) */
} rsl_registry_type;

/* The modules' own. config.config points to the module's config, or is NULL for one that has
   defaults; each object has its key as name. Busy: a breaker that is open, forced, or has calls in
   flight; one that is half-open, or has a failure in its window, goes last: only when all others
   are held or busy, for it would stay so as long as nobody calls; a bulkhead with calls inside or
   waiting; a pool that is leased from, waited for or creating; workers with tasks. An object of a
   registry of pools is a rsl_pool **, of workers a rsl_workers **: opened when made, closed when
   evicted. */
RSL_API const rsl_registry_type *rsl_registry_breakers(void);
RSL_API const rsl_registry_type *rsl_registry_bulkheads(void);
RSL_API const rsl_registry_type *rsl_registry_retries(void);
RSL_API const rsl_registry_type *rsl_registry_pools(void);
RSL_API const rsl_registry_type *rsl_registry_workers(void);

typedef struct rsl_registry_config {
    const char *name;               /* source of events; must outlive the object (none) */
    const rsl_registry_type *type;  /* (rsl_registry_breakers()) */
    const void *config;             /* given to type->init; must outlive the object (none) */
    uint32_t    count_max;          /* instances, 1..1000000 (1024) */
    uint32_t    key_max;            /* bytes of a key, its end not counted, 1..255 (255) */
    rsl_observer observer;          /* told of enum rsl_registry_event (none) */
} rsl_registry_config;

typedef enum rsl_registry_event {
    RSL_REGISTRY_MADE = 1, /* value: how many there are */
    RSL_REGISTRY_EVICTED,  /* value: how many are left */
    RSL_REGISTRY_FULL      /* all are held or busy; status: RSL_EFULL */
} rsl_registry_event;

typedef struct rsl_registry_stats {
    uint32_t count, held;                    /* instances; those acquired and not released, now */
    uint64_t found, made, evicted, refused;  /* since init; refused: with RSL_EFULL */
} rsl_registry_stats;

/* A value object: must not move between init and deinit. Shared by any number of threads. After a
   fork the child makes its own. */
typedef struct rsl_registry { struct rsl_registry_state_ *state_; /* NULL: dead */ } rsl_registry;

/* As in the modules; of the ready types config.config is checked too. */
RSL_API const char *rsl_registry_config_check(const rsl_registry_config *config);
RSL_API rsl_registry_config rsl_registry_config_resolve(const rsl_registry_config *config);

/* Makes an empty registry. RSL_EINVAL: registry is NULL, the config is wrong, or there is no
   stb_ds.h; RSL_ENOMEM; RSL_ESYS. Allocates 22 KB; then, as instances are made, each its size and
   80 bytes, in blocks that double, and kept until deinit, and its key twice. */
RSL_API int rsl_registry_init(rsl_registry *registry, const rsl_registry_config *config);

/* Ends every instance and frees. RSL_EINVAL, and nothing is done, while any is held, made, ended.
   RSL_OK also for NULL and not initialised. Nobody may be using the registry. */
RSL_API int rsl_registry_deinit(rsl_registry *registry);

/* Writes the instance of this name to *object, made if there is none, and holds it until
   released: RSL_OK. When count_max are there, the one used least recently is ended in favour of
   it: acquired, that is, or found held or busy when room was looked for before; those held or
   busy are passed over. There is never more than one instance of a name: who comes while it is
   made or ended waits, and shares what comes of it. RSL_EFULL: all are held or busy; RSL_EINVAL:
   NULL, not initialised, a key that is empty or longer than key_max, or a wait that would never
   end, as that of an init for its own name; RSL_ENOMEM: nothing is lost; or what init said.
   *object is written on RSL_OK only. Keys are any bytes, compared one by one; the map is keyed
   with a secret, so that hostile ones do not collide.

   From any thread. For a name that is there: no lock, no allocation; two writes on a line of its
   own thread, and a count on the instance; one hash of the key, unless this thread found the same
   name of late; and when names alternate, a tick that all share. About 50 ns. Making and evicting
   take a lock; lookups of other names go on while init, deinit and is_busy run. An eviction asks
   is_busy of as many as it passes over. errno is kept when it succeeds. */
RSL_API int rsl_registry_acquire(rsl_registry *registry, const char *key, void **object);

/* Gives it back, once per acquire. RSL_EINVAL: no object of this registry, not held, or NULL. From
   any thread; never waits; one read-modify-write. */
RSL_API int rsl_registry_release(rsl_registry *registry, void *object);

/* Calls visit(key, object, arg) for each instance, held while it is visited, without a lock; a
   result other than 0 ends it and is returned. Visits no instance twice; those made meanwhile may
   be missed. It does not count as use. RSL_EINVAL: NULL, or not initialised. */
RSL_API int rsl_registry_visit(rsl_registry *registry,
                               int (*visit)(const char *key, void *object, void *arg), void *arg);

/* Writes a snapshot; totals are exact once nothing is under way. NULL registry or not initialised:
   *stats is zeroed. NULL stats is passed over. A lock; cost grows with the number of instances. */
RSL_API void rsl_registry_stats_get(rsl_registry *registry, rsl_registry_stats *stats);

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
/* <<< core definitions */

/* >>> map definitions (stamped; do not edit) */
#ifndef RSL_MAP_IMPLEMENTED_
#define RSL_MAP_IMPLEMENTED_

/* ---- a map from strings to numbers, on stb_ds (Sean Barrett, public domain or MIT): stb_ds.h
   beside this header, else the system's. Where there is none, or the user defines RSL_NO_STB_DS,
   RSL_NO_MAP_ is defined and the map left out. ---- */

#if defined RSL_NO_STB_DS || !defined __has_include
#define RSL_NO_MAP_ 1
#elif __has_include("stb_ds.h")
#define RSL_STB_DS_ "stb_ds.h"
#elif __has_include(<stb/stb_ds.h>)
#define RSL_STB_DS_ <stb/stb_ds.h>
#elif __has_include(<stb_ds.h>)
#define RSL_STB_DS_ <stb_ds.h>
#else
#define RSL_NO_MAP_ 1
#endif

#ifndef RSL_NO_MAP_
#include <assert.h>
#include <stddef.h>
#include <string.h>

/* An instance of our own: the application may have another, in this file too, before or after.
   What stb_ds defines is renamed, and declared static beforehand, which its `extern` then keeps;
   its macros stand only as far as the end of this part, then those from before are back. */
#define RSL_STB_PRIVATE_ static inline __attribute__((unused))
struct rsl_stb_string_arena_;
RSL_STB_PRIVATE_ void   rsl_stb_rand_seed_(size_t seed);
RSL_STB_PRIVATE_ size_t rsl_stb_hash_bytes_(void *p, size_t len, size_t seed);
RSL_STB_PRIVATE_ size_t rsl_stb_hash_string_(char *str, size_t seed);
RSL_STB_PRIVATE_ char  *rsl_stb_stralloc_(struct rsl_stb_string_arena_ *a, char *str);
RSL_STB_PRIVATE_ void   rsl_stb_strreset_(struct rsl_stb_string_arena_ *a);
RSL_STB_PRIVATE_ void  *rsl_stb_arrgrowf_(void *a, size_t elemsize, size_t add, size_t cap_min);
RSL_STB_PRIVATE_ void   rsl_stb_arrfreef_(void *a);
RSL_STB_PRIVATE_ void   rsl_stb_hmfree_func_(void *p, size_t elemsize);
RSL_STB_PRIVATE_ void  *rsl_stb_hmget_key_(void *a, size_t elemsize, void *key, size_t keysize,
                                           int mode);
RSL_STB_PRIVATE_ void  *rsl_stb_hmget_key_ts_(void *a, size_t elemsize, void *key,
                                              size_t keysize, ptrdiff_t *at, int mode);
RSL_STB_PRIVATE_ void  *rsl_stb_hmput_default_(void *a, size_t elemsize);
RSL_STB_PRIVATE_ void  *rsl_stb_hmput_key_(void *a, size_t elemsize, void *key, size_t keysize,
                                           int mode);
RSL_STB_PRIVATE_ void  *rsl_stb_hmdel_key_(void *a, size_t elemsize, void *key, size_t keysize,
                                           size_t keyoffset, int mode);
RSL_STB_PRIVATE_ void  *rsl_stb_shmode_func_(size_t elemsize, int mode);

/* What conditionals look at: the guard and the options. These lines are plain, so that they also
   hold where a preprocessor runs directives only (-fdirectives-only, as distributed builds do). */
#pragma push_macro("INCLUDE_STB_DS_H")
#pragma push_macro("STB_DS_IMPLEMENTATION")
#pragma push_macro("STBDS_NO_SHORT_NAMES")
#pragma push_macro("STBDS_UNIT_TESTS")
#pragma push_macro("STBDS_STATISTICS")
#pragma push_macro("STBDS_SIPHASH_2_4")
#pragma push_macro("STBDS_TEST_SIPHASH_2_4")
#pragma push_macro("STBDS_SIPHASH_C_ROUNDS")
#pragma push_macro("STBDS_SIPHASH_D_ROUNDS")
#pragma push_macro("STBDS_INTERNAL_SMALL_BUCKET")
#pragma push_macro("STBDS_INTERNAL_BUCKET_START")
#pragma push_macro("STBDS_REALLOC")
#pragma push_macro("STBDS_FREE")
#pragma push_macro("STBDS_ASSERT")
#pragma push_macro("STBDS_ASSERT_WAS_UNDEFINED")
#pragma push_macro("STBDS_HAS_LITERAL_ARRAY")
#pragma push_macro("STBDS_HAS_TYPEOF")
#pragma push_macro("STBDS_STRING_ARENA_BLOCKSIZE_MAX")
#pragma push_macro("STBDS_STRING_ARENA_BLOCKSIZE_MIN")

/* What else stb_ds defines, and every name that it is to have no longer. */
#define RSL_STB_MACROS_(X) \
    X(STBDS_STATS) X(STBDS_ADDRESSOF) X(STBDS_ALIGN_FWD) X(STBDS_ARR_TO_HASH) \
    X(STBDS_BUCKET_LENGTH) X(STBDS_BUCKET_MASK) X(STBDS_BUCKET_SHIFT) X(STBDS_CACHE_LINE_SIZE) \
    X(STBDS_HASH_DELETED) X(STBDS_HASH_EMPTY) X(STBDS_HASH_TO_ARR) X(STBDS_HM_BINARY) \
    X(STBDS_HM_STRING) X(STBDS_INDEX_DELETED) X(STBDS_INDEX_EMPTY) X(STBDS_INDEX_IN_USE) \
    X(STBDS_NOTUSED) X(STBDS_OFFSETOF) X(STBDS_ROTATE_LEFT) X(STBDS_ROTATE_RIGHT) \
    X(STBDS_SIPROUND) X(STBDS_SIZE_T_BITS) X(stbds_arraddn) X(stbds_arraddnindex) \
    X(stbds_arraddnoff) X(stbds_arraddnptr) X(stbds_arrcap) X(stbds_arrdel) X(stbds_arrdeln) \
    X(stbds_arrdelswap) X(stbds_arrfree) X(stbds_arrgrow) X(stbds_arrgrowf_wrapper) \
    X(stbds_arrins) X(stbds_arrinsn) X(stbds_arrlast) X(stbds_arrlen) X(stbds_arrlenu) \
    X(stbds_arrmaybegrow) X(stbds_arrpop) X(stbds_arrpush) X(stbds_arrput) X(stbds_arrsetcap) \
    X(stbds_arrsetlen) X(stbds_hash_table) X(stbds_header) X(stbds_hmdefault) \
    X(stbds_hmdefaults) X(stbds_hmdel) X(stbds_hmdel_key_wrapper) X(stbds_hmfree) X(stbds_hmget) \
    X(stbds_hmget_key_ts_wrapper) X(stbds_hmget_key_wrapper) X(stbds_hmget_ts) X(stbds_hmgeti) \
    X(stbds_hmgeti_ts) X(stbds_hmgetp) X(stbds_hmgetp_null) X(stbds_hmgetp_ts) X(stbds_hmgets) \
    X(stbds_hmlen) X(stbds_hmlenu) X(stbds_hmput) X(stbds_hmput_default_wrapper) \
    X(stbds_hmput_key_wrapper) X(stbds_hmputs) X(stbds_load_32_or_64) X(stbds_pshdel) \
    X(stbds_pshget) X(stbds_pshgeti) X(stbds_pshput) X(stbds_sh_new_arena) \
    X(stbds_sh_new_strdup) X(stbds_shdefault) X(stbds_shdefaults) X(stbds_shdel) X(stbds_shfree) \
    X(stbds_shget) X(stbds_shgeti) X(stbds_shgetp) X(stbds_shgetp_null) X(stbds_shgets) \
    X(stbds_shlen) X(stbds_shlenu) X(stbds_shmode_func_wrapper) X(stbds_shput) X(stbds_shputi) \
    X(stbds_shputs) X(stbds_temp) X(stbds_temp_key)
#define RSL_STB_RENAMED_(X) \
    X(stbds_array_header) X(stbds_string_block) X(stbds_string_arena) X(stbds_hash_bucket) \
    X(stbds_hash_index) X(STBDS_SH_NONE) X(STBDS_SH_DEFAULT) X(STBDS_SH_STRDUP) \
    X(STBDS_SH_ARENA) X(stbds_rand_seed) X(stbds_hash_bytes) X(stbds_hash_string) \
    X(stbds_stralloc) X(stbds_strreset) X(stbds_unit_tests) X(stbds_arrgrowf) X(stbds_arrfreef) \
    X(stbds_hmfree_func) X(stbds_hmget_key) X(stbds_hmget_key_ts) X(stbds_hmput_default) \
    X(stbds_hmput_key) X(stbds_hmdel_key) X(stbds_shmode_func) X(stbds_probe_position) \
    X(stbds_log2) X(stbds_make_hash_index) X(stbds_siphash_bytes) X(stbds_is_key_equal) \
    X(stbds_hm_find_slot) X(stbds_strdup) X(stbds_hash_seed) X(temp)
#define RSL_STB_PRAGMA_(text) _Pragma(#text)
#define RSL_STB_PUSH_(name)   RSL_STB_PRAGMA_(push_macro(#name))
#define RSL_STB_POP_(name)    RSL_STB_PRAGMA_(pop_macro(#name))
RSL_STB_MACROS_(RSL_STB_PUSH_)
RSL_STB_RENAMED_(RSL_STB_PUSH_)

#undef INCLUDE_STB_DS_H
#undef STB_DS_IMPLEMENTATION
#undef STBDS_NO_SHORT_NAMES
#undef STBDS_UNIT_TESTS
#undef STBDS_STATISTICS
#undef STBDS_SIPHASH_2_4
#undef STBDS_TEST_SIPHASH_2_4
#undef STBDS_SIPHASH_C_ROUNDS
#undef STBDS_SIPHASH_D_ROUNDS
#undef STBDS_INTERNAL_SMALL_BUCKET
#undef STBDS_INTERNAL_BUCKET_START
#undef STBDS_REALLOC
#undef STBDS_FREE
#undef STBDS_ASSERT
#undef STBDS_ASSERT_WAS_UNDEFINED
#undef STBDS_HAS_LITERAL_ARRAY
#undef STBDS_HAS_TYPEOF
#undef STBDS_STRING_ARENA_BLOCKSIZE_MAX
#undef STBDS_STRING_ARENA_BLOCKSIZE_MIN
#undef STBDS_STATS
#undef STBDS_ADDRESSOF
#undef STBDS_ALIGN_FWD
#undef STBDS_ARR_TO_HASH
#undef STBDS_BUCKET_LENGTH
#undef STBDS_BUCKET_MASK
#undef STBDS_BUCKET_SHIFT
#undef STBDS_CACHE_LINE_SIZE
#undef STBDS_HASH_DELETED
#undef STBDS_HASH_EMPTY
#undef STBDS_HASH_TO_ARR
#undef STBDS_HM_BINARY
#undef STBDS_HM_STRING
#undef STBDS_INDEX_DELETED
#undef STBDS_INDEX_EMPTY
#undef STBDS_INDEX_IN_USE
#undef STBDS_NOTUSED
#undef STBDS_OFFSETOF
#undef STBDS_ROTATE_LEFT
#undef STBDS_ROTATE_RIGHT
#undef STBDS_SIPROUND
#undef STBDS_SIZE_T_BITS
#undef stbds_arraddn
#undef stbds_arraddnindex
#undef stbds_arraddnoff
#undef stbds_arraddnptr
#undef stbds_arrcap
#undef stbds_arrdel
#undef stbds_arrdeln
#undef stbds_arrdelswap
#undef stbds_arrfree
#undef stbds_arrgrow
#undef stbds_arrgrowf_wrapper
#undef stbds_arrins
#undef stbds_arrinsn
#undef stbds_arrlast
#undef stbds_arrlen
#undef stbds_arrlenu
#undef stbds_arrmaybegrow
#undef stbds_arrpop
#undef stbds_arrpush
#undef stbds_arrput
#undef stbds_arrsetcap
#undef stbds_arrsetlen
#undef stbds_hash_table
#undef stbds_header
#undef stbds_hmdefault
#undef stbds_hmdefaults
#undef stbds_hmdel
#undef stbds_hmdel_key_wrapper
#undef stbds_hmfree
#undef stbds_hmget
#undef stbds_hmget_key_ts_wrapper
#undef stbds_hmget_key_wrapper
#undef stbds_hmget_ts
#undef stbds_hmgeti
#undef stbds_hmgeti_ts
#undef stbds_hmgetp
#undef stbds_hmgetp_null
#undef stbds_hmgetp_ts
#undef stbds_hmgets
#undef stbds_hmlen
#undef stbds_hmlenu
#undef stbds_hmput
#undef stbds_hmput_default_wrapper
#undef stbds_hmput_key_wrapper
#undef stbds_hmputs
#undef stbds_load_32_or_64
#undef stbds_pshdel
#undef stbds_pshget
#undef stbds_pshgeti
#undef stbds_pshput
#undef stbds_sh_new_arena
#undef stbds_sh_new_strdup
#undef stbds_shdefault
#undef stbds_shdefaults
#undef stbds_shdel
#undef stbds_shfree
#undef stbds_shget
#undef stbds_shgeti
#undef stbds_shgetp
#undef stbds_shgetp_null
#undef stbds_shgets
#undef stbds_shlen
#undef stbds_shlenu
#undef stbds_shmode_func_wrapper
#undef stbds_shput
#undef stbds_shputi
#undef stbds_shputs
#undef stbds_temp
#undef stbds_temp_key
#undef stbds_array_header
#undef stbds_string_block
#undef stbds_string_arena
#undef stbds_hash_bucket
#undef stbds_hash_index
#undef STBDS_SH_NONE
#undef STBDS_SH_DEFAULT
#undef STBDS_SH_STRDUP
#undef STBDS_SH_ARENA
#undef stbds_rand_seed
#undef stbds_hash_bytes
#undef stbds_hash_string
#undef stbds_stralloc
#undef stbds_strreset
#undef stbds_unit_tests
#undef stbds_arrgrowf
#undef stbds_arrfreef
#undef stbds_hmfree_func
#undef stbds_hmget_key
#undef stbds_hmget_key_ts
#undef stbds_hmput_default
#undef stbds_hmput_key
#undef stbds_hmdel_key
#undef stbds_shmode_func
#undef stbds_probe_position
#undef stbds_log2
#undef stbds_make_hash_index
#undef stbds_siphash_bytes
#undef stbds_is_key_equal
#undef stbds_hm_find_slot
#undef stbds_strdup
#undef stbds_hash_seed
#undef temp

#define stbds_array_header     rsl_stb_array_header_
#define stbds_string_block     rsl_stb_string_block_
#define stbds_string_arena     rsl_stb_string_arena_
#define stbds_hash_bucket      rsl_stb_hash_bucket_
#define stbds_hash_index       rsl_stb_hash_index_
#define STBDS_SH_NONE          RSL_STB_SH_NONE_
#define STBDS_SH_DEFAULT       RSL_STB_SH_DEFAULT_
#define STBDS_SH_STRDUP        RSL_STB_SH_STRDUP_
#define STBDS_SH_ARENA         RSL_STB_SH_ARENA_
#define stbds_rand_seed        rsl_stb_rand_seed_
#define stbds_hash_bytes       rsl_stb_hash_bytes_
#define stbds_hash_string      rsl_stb_hash_string_
#define stbds_stralloc         rsl_stb_stralloc_
#define stbds_strreset         rsl_stb_strreset_
#define stbds_unit_tests       rsl_stb_unit_tests_
#define stbds_arrgrowf         rsl_stb_arrgrowf_
#define stbds_arrfreef         rsl_stb_arrfreef_
#define stbds_hmfree_func      rsl_stb_hmfree_func_
#define stbds_hmget_key        rsl_stb_hmget_key_
#define stbds_hmget_key_ts     rsl_stb_hmget_key_ts_
#define stbds_hmput_default    rsl_stb_hmput_default_
#define stbds_hmput_key        rsl_stb_hmput_key_
#define stbds_hmdel_key        rsl_stb_hmdel_key_
#define stbds_shmode_func      rsl_stb_shmode_func_
#define stbds_probe_position   rsl_stb_probe_position_
#define stbds_log2             rsl_stb_log2_
#define stbds_make_hash_index  rsl_stb_make_hash_index_
#define stbds_siphash_bytes    rsl_stb_siphash_bytes_
#define stbds_is_key_equal     rsl_stb_is_key_equal_
#define stbds_hm_find_slot     rsl_stb_hm_find_slot_
#define stbds_strdup           rsl_stb_strdup_
#define stbds_hash_seed        rsl_stb_temp_
#define temp                   rsl_stb_temp_
/* The last two: stb_ds keeps its next seed in a variable, its only mutable one, and looks at it
   only in the branch of stbds_make_hash_index that makes a table from nothing. We never go there
   (see rsl_map_init_). Under this name the branch means its own local `temp` instead; nothing else
   has a use for the variable, so that compilers drop it. (gcc keeps it without optimisation.) */

/* A failed allocation crashes stb_ds. With this hook the function that asked for the memory
   returns NULL at once, before it has changed anything. Only rsl_stb_arrgrowf_ with no array and
   rsl_stb_make_hash_index_ get to ask, and only from our own functions below, which look. */
#define STB_DS_IMPLEMENTATION
#define STBDS_NO_SHORT_NAMES
#define STBDS_ASSERT(condition) RSL_ASSERT(condition)
#define STBDS_FREE(context, block) RSL_FREE(block)
#define STBDS_REALLOC(context, block, size) \
    __extension__({ \
        RSL_ASSERT((block) == NULL); \
        void *taken_ = RSL_MALLOC(size); \
        if (taken_ == NULL) return NULL; \
        taken_; \
    })

#pragma GCC diagnostic push
#ifdef __clang__
#pragma clang diagnostic ignored "-Weverything"
#else
#pragma GCC diagnostic ignored "-Wpragmas" /* not every gcc knows all that follow */
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Warith-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wtype-limits"
#pragma GCC diagnostic ignored "-Wcast-align"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wimplicit-fallthrough"
#pragma GCC diagnostic ignored "-Wswitch-default"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wc++-compat"
#pragma GCC diagnostic ignored "-Wredundant-decls"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

#include RSL_STB_DS_

/* All that is said in macros of stb_ds; the array is that of a rsl_map_, never NULL. */

enum { RSL_MAP_SLOTS_MIN_ = STBDS_BUCKET_LENGTH };
typedef struct rsl_map_item_ { char *key; uint32_t value; } rsl_map_item_;

/* Only reads. stb_ds has shgeti, which leaves the index in the map, and hmgeti_ts, which does not,
   but no shgeti_ts; this is what it would be. -1: no such key. */
static inline ptrdiff_t rsl_map_stb_find_(rsl_map_item_ *items, const char *stored)
{
    ptrdiff_t at = -1;
    stbds_hmget_key_ts(items, sizeof *items, (void *)stored, sizeof items->key, &at,
                       STBDS_HM_STRING);
    return at;
}

static inline void rsl_map_stb_put_(rsl_map_item_ *items, char *stored, uint32_t value)
{
    stbds_shput(items, stored, value);
}

static inline void rsl_map_stb_delete_(rsl_map_item_ *items, const char *stored)
{
    (void)stbds_shdel(items, stored);
}

static inline void rsl_map_stb_free_(rsl_map_item_ *items)
{
    stbds_shfree(items);
}

#pragma GCC diagnostic pop
RSL_STB_RENAMED_(RSL_STB_POP_)
RSL_STB_MACROS_(RSL_STB_POP_)
#pragma pop_macro("INCLUDE_STB_DS_H")
#pragma pop_macro("STB_DS_IMPLEMENTATION")
#pragma pop_macro("STBDS_NO_SHORT_NAMES")
#pragma pop_macro("STBDS_UNIT_TESTS")
#pragma pop_macro("STBDS_STATISTICS")
#pragma pop_macro("STBDS_SIPHASH_2_4")
#pragma pop_macro("STBDS_TEST_SIPHASH_2_4")
#pragma pop_macro("STBDS_SIPHASH_C_ROUNDS")
#pragma pop_macro("STBDS_SIPHASH_D_ROUNDS")
#pragma pop_macro("STBDS_INTERNAL_SMALL_BUCKET")
#pragma pop_macro("STBDS_INTERNAL_BUCKET_START")
#pragma pop_macro("STBDS_REALLOC")
#pragma pop_macro("STBDS_FREE")
#pragma pop_macro("STBDS_ASSERT")
#pragma pop_macro("STBDS_ASSERT_WAS_UNDEFINED")
#pragma pop_macro("STBDS_HAS_LITERAL_ARRAY")
#pragma pop_macro("STBDS_HAS_TYPEOF")
#pragma pop_macro("STBDS_STRING_ARENA_BLOCKSIZE_MAX")
#pragma pop_macro("STBDS_STRING_ARENA_BLOCKSIZE_MIN")

/* ---- the map. Its owner's lock guards it: put, del, init and deinit exclude all else; get and
   count only read, so that any number of threads may be in them at once.

   It never crashes for want of memory and never loses an item: what an insertion needs is there
   before stb_ds is called. Deletes allocate nothing, as stb_ds is kept from shrinking and tidying
   its table by itself; the next insertion that finds too many deleted slots does that, and may
   answer RSL_ENOMEM.

   Keys may come from an adversary. The string hash of stb_ds collides at will whatever its seed
   (characters 64 places apart weigh the same), so that a stored key begins with eight bytes of
   SipHash-2-4 of the key, under a secret of the map. The hash of stb_ds takes in each character by
   a bijection of its state. Hence after the prefix the state is one that nobody can foresee, for
   each key another, and whatever follows, two of them meet no more often than by chance: about
   1 in 2^53 on 64 bits, as seven of the eight bytes land apart from each other there, each has 255
   values, and the last step of the hash loses two bits. ---- */

#pragma GCC diagnostic push
#ifndef __clang__ /* gcc's analyser loses a block when all that points to it has moved on */
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

enum {
    RSL_MAP_KEY_MAX_ = 255,                                      /* without the end */
    RSL_MAP_PREFIX_ = 8,
    RSL_MAP_STORED_MAX_ = RSL_MAP_PREFIX_ + RSL_MAP_KEY_MAX_ + 1 /* with the end */
};
#ifndef RSL_MAP_COUNT_MAX_
#define RSL_MAP_COUNT_MAX_ (1u << 24) /* items; no size overflows, also on 32 bits */
#endif

typedef struct rsl_map_ {
    rsl_map_item_ *items; /* the array of stb_ds; a default item and a header stand before it */
    uint64_t       secret[2];
} rsl_map_;

static inline rsl_stb_array_header_ *rsl_map_header_(const rsl_map_ *map)
{
    return (rsl_stb_array_header_ *)(void *)(map->items - 1) - 1;
}

static inline rsl_stb_hash_index_ *rsl_map_table_(const rsl_map_ *map)
{
    return (rsl_stb_hash_index_ *)rsl_map_header_(map)->hash_table;
}

/* ---- stored keys ---- */

static inline uint64_t rsl_map_turn_(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void rsl_map_sip_rounds_(uint64_t v[4], int rounds)
{
    for (; rounds > 0; rounds--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rsl_map_turn_(v[1], 13) ^ v[0];
        v[3] = rsl_map_turn_(v[3], 16) ^ v[2];
        v[0] = rsl_map_turn_(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rsl_map_turn_(v[1], 17) ^ v[2];
        v[3] = rsl_map_turn_(v[3], 21) ^ v[0];
        v[2] = rsl_map_turn_(v[2], 32);
    }
}

/* SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"). */
static inline uint64_t rsl_map_sip_(const uint64_t secret[2], const char *text, size_t length)
{
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575u, secret[1] ^ 0x646f72616e646f6du,
                     secret[0] ^ 0x6c7967656e657261u, secret[1] ^ 0x7465646279746573u};
    for (size_t at = 0; at <= length; at += 8) { /* the last word is short, and has the length */
        bool last = length - at < 8;
        size_t count = last ? length - at : 8;
        uint64_t word = last ? (uint64_t)length << 56 : 0;
        for (size_t i = 0; i < count; i++) word |= (uint64_t)(uint8_t)text[at + i] << (8 * i);
        v[3] ^= word;
        rsl_map_sip_rounds_(v, 2);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    rsl_map_sip_rounds_(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Writes the key as it is stored, at most RSL_MAP_STORED_MAX_ bytes. Returns its size with the
   end; 0: the key is too long. */
static inline size_t rsl_map_stored_(const rsl_map_ *map, const char *key, char *stored)
{
    size_t length = 0;
    while (key[length] != '\0') {
        if (length == RSL_MAP_KEY_MAX_) return 0;
        stored[RSL_MAP_PREFIX_ + length] = key[length];
        length++;
    }
    stored[RSL_MAP_PREFIX_ + length] = '\0';
    uint64_t hash = rsl_map_sip_(map->secret, key, length);
    for (int i = 0; i < RSL_MAP_PREFIX_; i++, hash >>= 8) {
        uint8_t byte = (uint8_t)hash;
        stored[i] = (char)(byte != 0 ? byte : 255); /* 0 would end the key */
    }
    return RSL_MAP_PREFIX_ + length + 1;
}

/* -1: no such key, or it is too long, or the map is not initialised. */
static inline ptrdiff_t rsl_map_find_(const rsl_map_ *map, const char *key)
{
    char stored[RSL_MAP_STORED_MAX_];
    if (map->items == NULL || rsl_map_stored_(map, key, stored) == 0) return -1;
    return rsl_map_stb_find_(map->items, stored);
}

/* ---- room ---- */

/* A table of that many slots that indexes what the other one does; NULL: no memory. Its bounds for
   shrinking and tidying are out of reach, as stb_ds would do that in a delete. */
static inline rsl_stb_hash_index_ *rsl_map_table_new_(size_t slots, rsl_stb_hash_index_ *other)
{
    rsl_stb_hash_index_ *table = rsl_stb_make_hash_index_(slots, other);
    if (table == NULL) return NULL;
    table->used_count_shrink_threshold = 0;
    table->tombstone_count_threshold = SIZE_MAX;
    return table;
}

/* Room for one more item in the array; false: no memory, and nothing has changed. */
static inline bool rsl_map_widen_(rsl_map_ *map)
{
    rsl_stb_array_header_ *header = rsl_map_header_(map);
    if (header->length < header->capacity) return true;
    rsl_map_item_ *wider = (rsl_map_item_ *)rsl_stb_arrgrowf_(NULL, sizeof *wider, 0,
                                                              2 * header->capacity);
    if (wider == NULL) return false;
    memcpy(wider, map->items - 1, header->length * sizeof *wider);
    map->items = wider + 1;
    rsl_map_header_(map)->length = header->length;
    rsl_map_header_(map)->hash_table = header->hash_table;
    RSL_FREE(header);
    return true;
}

/* A free slot in the table, below the load at which stb_ds would grow it by itself; false: no
   memory, and nothing has changed. Deleted slots count as taken, so that a quarter of all is
   always empty and every probe ends. The new table is at most half full: the next one is as many
   insertions away as a quarter of its slots, or almost. */
static inline bool rsl_map_make_room_(rsl_map_ *map)
{
    rsl_stb_hash_index_ *table = rsl_map_table_(map);
    if (table->used_count + table->tombstone_count < table->used_count_threshold) return true;
    size_t slots = RSL_MAP_SLOTS_MIN_;
    while (slots < 2 * (table->used_count + 1)) slots *= 2;
    rsl_stb_hash_index_ *fresh = rsl_map_table_new_(slots, table);
    if (fresh == NULL) return false;
    rsl_map_header_(map)->hash_table = fresh;
    RSL_FREE(table);
    return true;
}

/* ---- what modules call ---- */

/* Three numbers that nobody outside can guess: time to the nanosecond, and where the system has
   put heap, stack and program. */
static inline void rsl_map_draw_(uint64_t drawn[3], const void *heap)
{
    uint64_t state = (uint64_t)rsl_clock_real_();
    state = state * 0xd1342543de82ef95u + (uint64_t)(uintptr_t)heap;
    state = state * 0xd1342543de82ef95u + (uint64_t)(uintptr_t)drawn;
    state = state * 0xd1342543de82ef95u + (uint64_t)(uintptr_t)&rsl_ctx_unlimited_;
    for (int i = 0; i < 3; i++) { /* splitmix64, as in rsl_random_draw_ */
        uint64_t z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        drawn[i] = z ^ (z >> 31);
    }
}

/* Makes an empty map. RSL_ENOMEM: it is as after rsl_map_deinit_. The table is made from an
   empty one of ours, which gives the seed: from nothing, stb_ds takes its seed from a global
   variable, and two threads that make maps race. */
static inline int rsl_map_init_(rsl_map_ *map)
{
    memset(map, 0, sizeof *map);
    rsl_map_item_ *block = (rsl_map_item_ *)rsl_stb_arrgrowf_(NULL, sizeof *block, 0, 1);
    if (block == NULL) return RSL_ENOMEM;
    memset(block, 0, sizeof *block);
    map->items = block + 1;
    rsl_stb_array_header_ *header = rsl_map_header_(map);
    header->length = 1; /* stb_ds counts the default item */

    uint64_t drawn[3];
    rsl_map_draw_(drawn, block);
    map->secret[0] = drawn[0];
    map->secret[1] = drawn[1];
    rsl_stb_hash_index_ none;
    memset(&none, 0, sizeof none);
    none.seed = (size_t)drawn[2];
    none.string.mode = RSL_STB_SH_DEFAULT_; /* the keys' memory is ours */
    header->hash_table = rsl_map_table_new_(RSL_MAP_SLOTS_MIN_, &none);
    if (header->hash_table != NULL) return RSL_OK;
    RSL_FREE(header);
    memset(map, 0, sizeof *map);
    return RSL_ENOMEM;
}

/* How many keys there are. Only reads. */
static inline uint32_t rsl_map_count_(const rsl_map_ *map)
{
    return map->items != NULL ? (uint32_t)(rsl_map_header_(map)->length - 1) : 0;
}

/* Frees all memory. A zeroed map, or one that is deinitialised, is passed over. */
static inline void rsl_map_deinit_(rsl_map_ *map)
{
    if (map->items == NULL) return;
    uint32_t count = rsl_map_count_(map);
    for (uint32_t i = 0; i < count; i++) RSL_FREE(map->items[i].key);
    rsl_map_stb_free_(map->items);
    memset(map, 0, sizeof *map);
}

/* Whether the key is there; if so, *value is its value. Only reads: it writes nothing and takes no
   memory. False for a key that is too long. */
static inline bool rsl_map_get_(const rsl_map_ *map, const char *key, uint32_t *value)
{
    ptrdiff_t at = rsl_map_find_(map, key);
    if (at < 0) return false;
    *value = map->items[at].value;
    return true;
}

/* Sets the key's value; a new key is copied. RSL_ENOMEM, RSL_EFULL (RSL_MAP_COUNT_MAX_ keys are
   there) and RSL_EINVAL (longer than RSL_MAP_KEY_MAX_ bytes, or a map that is not initialised)
   change nothing. A key that is there needs no memory. */
static inline int rsl_map_put_(rsl_map_ *map, const char *key, uint32_t value)
{
    char stored[RSL_MAP_STORED_MAX_];
    size_t size = map->items != NULL ? rsl_map_stored_(map, key, stored) : 0;
    if (size == 0) return RSL_EINVAL;
    ptrdiff_t at = rsl_map_stb_find_(map->items, stored);
    if (at >= 0) {
        map->items[at].value = value;
        return RSL_OK;
    }
    uint32_t count = rsl_map_count_(map);
    if (count >= RSL_MAP_COUNT_MAX_) return RSL_EFULL;
    char *copy = (char *)RSL_MALLOC(size);
    if (copy == NULL) return RSL_ENOMEM;
    if (!rsl_map_widen_(map) || !rsl_map_make_room_(map)) {
        RSL_FREE(copy);
        return RSL_ENOMEM;
    }
    memcpy(copy, stored, size);
    rsl_map_stb_put_(map->items, copy, value);
    map->items[count].key = copy; /* as it is; said once more for analysers */
    return RSL_OK;
}

/* Takes the key out, if it is there. Cannot fail; takes no memory. */
static inline void rsl_map_del_(rsl_map_ *map, const char *key)
{
    ptrdiff_t at = rsl_map_find_(map, key);
    if (at < 0) return;
    char *stored = map->items[at].key;
    rsl_map_stb_delete_(map->items, stored);
    RSL_FREE(stored);
}

/* ---- growable arrays: those of stb_ds, but that a failed allocation is told. Their length is
   the owner's business. ---- */

/* Room for `count` items of `size` bytes. NULL: no memory, and the array, which may be NULL for
   none, is as it was; else it stands where this says. */
static inline void *rsl_array_grow_(void *array, size_t size, size_t count)
{
    rsl_stb_array_header_ *header = NULL;
    if (array != NULL) header = (rsl_stb_array_header_ *)array - 1;
    if (header != NULL && count <= header->capacity) return array;
    size_t capacity = count;
    if (header != NULL && count < 2 * header->capacity) capacity = 2 * header->capacity;
    void *wider = rsl_stb_arrgrowf_(NULL, size, 0, capacity);
    if (wider == NULL || header == NULL) return wider;
    memcpy(wider, array, header->capacity * size);
    RSL_FREE(header);
    return wider;
}

static inline void rsl_array_free_(void *array)
{
    if (array != NULL) RSL_FREE((rsl_stb_array_header_ *)array - 1);
}
#pragma GCC diagnostic pop
#endif /* RSL_NO_MAP_ */
#endif /* RSL_MAP_IMPLEMENTED_ */
/* <<< map definitions */

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

/* ---- hedge ---- */

/* Who owns what. A slot carries one call. Its score counts the attempts that are out, and says
   whether the caller is there; whoever takes the last of both away gives the slot back. So losers
   that the caller has left behind keep their slot, and with it the memory that they work on.

   An attempt ends in one step of the score: it is out no more, it is the last that ended, and it
   is the winner if it succeeded and nobody had before. What it wrote comes before that step, and
   the caller reads it after. The caller sleeps on the slot's park word, which is posted after each
   such step; a post that is late wakes the next caller of the slot for nothing.

   An attempt refers to nothing of the caller but what its argument leads to: the caller's cancel
   is watched by the caller, who passes it on; the clock is copied.

   While no attempt has begun, the caller may take the call back, when the delay is over: it is no
   use to queue a second behind a first that waits there itself, and a call from within a task of
   the same workers would wait for itself. One exchange of `begun` decides who has it. */

enum { /* score: attempts that are out | caller | last << 16 | winner << 24 */
    RSL_HEDGE_OUT_ = 0xff,
    RSL_HEDGE_CALLER_ = 0x100,
    RSL_HEDGE_LAST_ = 16,
    RSL_HEDGE_WINNER_ = 24
};

enum { RSL_HEDGE_BEGUN_ = 1, RSL_HEDGE_TAKEN_ };

enum {
    RSL_HEDGE_BUCKETS_ = 208, /* 8 for each power of two, from 1 us on, to 4 min */
    RSL_HEDGE_WINDOW_ = 512,  /* latencies in one window; the percentile is that of two */
    RSL_HEDGE_JUDGE_ = 32     /* latencies between two looks at them */
};
static const rsl_time rsl_hedge_stuck_ = RSL_MS(1); /* not begun by then, with no delay to wait */

typedef struct rsl_hedge_state_ rsl_hedge_state_;
typedef struct rsl_hedge_slot_  rsl_hedge_slot_;

typedef struct rsl_hedge_attempt_ { /* its copy of the argument follows */
    rsl_task  task;
    rsl_hedge_slot_ *slot; /* constant */
    uint32_t  number;      /* constant; from 1 */
    int       error;       /* errno: what the call finds, and what it leaves */
    bool      submitted;   /* ever; the caller's */
    bool      returned;    /* it ran to its end */
} rsl_hedge_attempt_;

struct rsl_hedge_slot_ { /* attempts_max attempts follow */
    rsl_word_ score;       /* atomic */
    rsl_word_ begun;       /* atomic: 0, then for good BEGUN by an attempt, or TAKEN */
    rsl_word_ park;        /* atomic; where the caller sleeps */
    rsl_hedge_state_ *hedge; /* constant */
    rsl_hedge_slot_  *next;  /* of those that are free; guarded by the lock */
    rsl_fn    fn;          /* written by the caller before it submits, as what follows */
    void     *arg;
    size_t    size;        /* 0: all attempts get arg itself */
    rsl_clock clock;
};

struct rsl_hedge_state_ {
    rsl_hedge_config config; /* resolved; constant */
    size_t    attempt_size;  /* with its copy; constant */
    size_t    slot_size;     /* with its attempts; constant */
    char     *slots;         /* constant */
    rsl_word_ delay;         /* atomic: now in force */
    rsl_word_ calls, started, won, denied, alone, events; /* atomic counts */
    rsl_word_ samples;       /* atomic: latencies seen */
    rsl_word_ window;        /* atomic, written under lock: the one that is filled */
    rsl_word_ counts[2][RSL_HEDGE_BUCKETS_]; /* atomic */
    rsl_word_ park;          /* atomic; where deinit sleeps */
    rsl_hedge_slot_ *vacant; /* guarded by lock, as all that follows */
    uint32_t  running;       /* slots that are not vacant */
    uint32_t  filled;        /* samples when the window was begun */
    bool      ending;        /* deinit waits for running to be 0 */
    rsl_lock_ lock;
};

typedef struct rsl_hedge_call_ { /* on the caller's stack */
    rsl_hedge_state_ *s;
    rsl_hedge_slot_  *slot;
    rsl_ctx   ctx;       /* the limits, with the clock in use */
    rsl_fn    fn;
    void     *arg;
    size_t    size;
    rsl_time  started;
    rsl_time  due;       /* of the next attempt */
    rsl_time  stuck_at;  /* when the call is taken back if none has begun */
    uint32_t  count;     /* attempts submitted */
    bool      denied;    /* no further ones */
    int       error;     /* errno as it came */
} rsl_hedge_call_;

static const char *rsl_hedge_times_check_(const rsl_hedge_config *c)
{
    if (c->delay < 0) return "delay: must not be negative";
    if (c->percentile != 0 && !(c->percentile > 0 && c->percentile < 1))
        return "percentile: must lie in 0..1, ends excluded";
    if (c->delay_min < 0) return "delay_min: must not be negative";
    if (c->delay_max < c->delay_min) return "delay_max: must not be less than delay_min";
    return rsl_clock_check_(&c->clock, true);
}

const char *rsl_hedge_config_check(const rsl_hedge_config *config)
{
    rsl_hedge_config c = rsl_hedge_config_resolve(config);
    if (c.workers == NULL) return "workers: must be set";
    if (c.attempts_max < 2 || c.attempts_max > 4) return "attempts_max: must lie in 2..4";
    if (c.calls_max > 65536) return "calls_max: must lie in 1..65536";
    return rsl_hedge_times_check_(&c);
}

static bool rsl_hedge_is_zero_(int result, void *user)
{
    (void)user;
    return result == 0;
}

static rsl_time rsl_hedge_time_or_(rsl_time field, rsl_time standard)
{
    if (field == 0) return standard;
    return field == RSL_NONE ? 0 : field;
}

rsl_hedge_config rsl_hedge_config_resolve(const rsl_hedge_config *config)
{
    rsl_hedge_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *config;
    if (c.attempts_max == 0) c.attempts_max = 2;
    c.delay = rsl_hedge_time_or_(c.delay, RSL_MS(100));
    c.delay_min = rsl_hedge_time_or_(c.delay_min, RSL_MS(1));
    if (c.delay_max == 0) c.delay_max = c.delay_min > RSL_SEC(10) ? c.delay_min : RSL_SEC(10);
    if (c.calls_max == 0) c.calls_max = 64;
    if (c.size_max == 0) c.size_max = 256;
    if (c.is_success == NULL) c.is_success = rsl_hedge_is_zero_;
    return c;
}

static void rsl_hedge_tell_(rsl_hedge_state_ *s, rsl_hedge_event kind, const char *name,
                            int status, int64_t value)
{
    if (s->config.observer.on_event == NULL) return;
    rsl_event event;
    memset(&event, 0, sizeof event);
    event.source = s->config.name;
    event.name = name;
    event.kind = (int)kind;
    event.status = status;
    event.number = rsl_add_relaxed_(&s->events, 1) + 1; /* relaxed: it numbers, no more */
    event.at = rsl_clock_now_(&s->config.clock);
    event.value = value;
    rsl_emit_(&s->config.observer, &event);
}

/* ---- what latencies were seen: counts in buckets whose width is an eighth of what they hold, in
   two windows that take turns. The counts are relaxed: one that comes while the window turns may
   be lost. ---- */

static uint32_t rsl_hedge_bucket_(rsl_time latency)
{
    uint64_t units = latency > 0 ? (uint64_t)latency >> 10 : 0;
    if (units < 8) return (uint32_t)units;
    uint32_t power = 63u - (uint32_t)__builtin_clzll(units);
    uint32_t bucket = (power - 2) * 8 + (uint32_t)(units >> (power - 3) & 7);
    return bucket < RSL_HEDGE_BUCKETS_ ? bucket : RSL_HEDGE_BUCKETS_ - 1;
}

/* Where a bucket begins. */
static rsl_time rsl_hedge_bound_(uint32_t bucket)
{
    if (bucket < 8) return (rsl_time)bucket << 10;
    return (rsl_time)(8 + bucket % 8) << (bucket / 8 - 1) << 10;
}

/* The latency that this share of those seen does not exceed; RSL_NONE: too few were seen. */
static rsl_time rsl_hedge_percentile_(const rsl_hedge_state_ *s, double share)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < RSL_HEDGE_BUCKETS_; i++)
        total += rsl_load_relaxed_(&s->counts[0][i]) + rsl_load_relaxed_(&s->counts[1][i]);
    double needed = 1 / (1 - share); /* so that one of them at least is beyond it */
    if (needed > (double)RSL_HEDGE_WINDOW_) needed = (double)RSL_HEDGE_WINDOW_;
    if (total < RSL_HEDGE_JUDGE_ || (double)total < needed) return RSL_NONE;
    double rank = share * (double)total, seen = 0;
    for (uint32_t i = 0; i < RSL_HEDGE_BUCKETS_; i++) {
        double here = (double)(rsl_load_relaxed_(&s->counts[0][i]) +
                               rsl_load_relaxed_(&s->counts[1][i]));
        if (here > 0 && seen + here >= rank) {
            double begin = (double)rsl_hedge_bound_(i), end = (double)rsl_hedge_bound_(i + 1);
            return (rsl_time)(begin + (end - begin) * ((rank - seen) / here));
        }
        seen += here;
    }
    return RSL_NONE;
}

/* Sets the delay anew, and turns the windows when one is full. */
static void rsl_hedge_judge_(rsl_hedge_state_ *s, uint32_t samples)
{
    rsl_lock_take_(&s->lock);
    rsl_time delay = rsl_hedge_percentile_(s, s->config.percentile);
    if (delay != RSL_NONE) {
        if (delay < s->config.delay_min) delay = s->config.delay_min;
        if (delay > s->config.delay_max) delay = s->config.delay_max;
        rsl_store_relaxed_(&s->delay, (uint64_t)delay);
    }
    if (samples - s->filled >= RSL_HEDGE_WINDOW_) {
        uint64_t other = 1 - rsl_load_relaxed_(&s->window);
        for (uint32_t i = 0; i < RSL_HEDGE_BUCKETS_; i++)
            rsl_store_relaxed_(&s->counts[other][i], 0);
        rsl_store_relaxed_(&s->window, other);
        s->filled = samples;
    }
    rsl_lock_drop_(&s->lock);
}

/* How long a call took from the start of its first attempt to its success. If a further attempt
   won, the first would have taken longer still: what is counted lies beyond the delay all the
   same, so that the share beyond it stays true, and the delay does not run away downwards. */
static void rsl_hedge_sample_(const rsl_hedge_call_ *call)
{
    rsl_hedge_state_ *s = call->s;
    if (s->config.percentile == 0) return;
    uint32_t bucket = rsl_hedge_bucket_(rsl_clock_now_(call->ctx.clock) - call->started);
    rsl_add_relaxed_(&s->counts[rsl_load_relaxed_(&s->window)][bucket], 1);
    uint32_t samples = (uint32_t)rsl_add_relaxed_(&s->samples, 1) + 1;
    if (samples % RSL_HEDGE_JUDGE_ == 0) rsl_hedge_judge_(s, samples);
}

/* ---- slots ---- */

static rsl_hedge_slot_ *rsl_hedge_slot_at_(const rsl_hedge_state_ *s, uint32_t index)
{
    return (rsl_hedge_slot_ *)(void *)(s->slots + index * s->slot_size);
}

/* number: from 1. */
static rsl_hedge_attempt_ *rsl_hedge_attempt_at_(rsl_hedge_slot_ *slot, uint32_t number)
{
    char *first = (char *)slot + (sizeof *slot + 15) / 16 * 16;
    return (rsl_hedge_attempt_ *)(void *)(first + (number - 1) * slot->hedge->attempt_size);
}

static void *rsl_hedge_copy_(const rsl_hedge_attempt_ *attempt)
{
    return (char *)(uintptr_t)attempt + (sizeof *attempt + 15) / 16 * 16;
}

static rsl_hedge_slot_ *rsl_hedge_take_slot_(rsl_hedge_state_ *s)
{
    rsl_lock_take_(&s->lock);
    rsl_hedge_slot_ *slot = s->vacant;
    if (slot != NULL) {
        s->vacant = slot->next;
        s->running++;
    }
    rsl_lock_drop_(&s->lock);
    return slot;
}

static void rsl_hedge_give_slot_(rsl_hedge_slot_ *slot)
{
    rsl_hedge_state_ *s = slot->hedge;
    rsl_lock_take_(&s->lock);
    slot->next = s->vacant;
    s->vacant = slot;
    s->running--;
    if (s->running == 0 && s->ending) rsl_park_post_(&s->park);
    rsl_lock_drop_(&s->lock);
}

/* ---- attempts ---- */

/* Runs on the workers. */
static int rsl_hedge_attempt_run_(const rsl_ctx *ctx, void *arg)
{
    rsl_hedge_attempt_ *attempt = (rsl_hedge_attempt_ *)arg;
    rsl_hedge_slot_ *slot = attempt->slot;
    uint64_t begun = 0;
    if (!rsl_cas_(&slot->begun, &begun, RSL_HEDGE_BEGUN_) && begun == RSL_HEDGE_TAKEN_)
        return RSL_ECANCELED;
    errno = attempt->error;
    int result = slot->fn(ctx, slot->size > 0 ? rsl_hedge_copy_(attempt) : slot->arg);
    attempt->error = errno;
    attempt->returned = true;
    return result;
}

/* The task has ended, run or not; from the thread that ended it. */
static void rsl_hedge_attempt_done_(void *user)
{
    rsl_hedge_attempt_ *attempt = (rsl_hedge_attempt_ *)user;
    rsl_hedge_slot_ *slot = attempt->slot;
    const rsl_hedge_config *config = &slot->hedge->config;
    bool good = attempt->returned && config->is_success(attempt->task.result_, config->user);
    uint64_t score = rsl_load_relaxed_(&slot->score), next; /* the exchange orders it */
    do {
        next = (score - 1) & ~((uint64_t)0xff << RSL_HEDGE_LAST_);
        next |= (uint64_t)attempt->number << RSL_HEDGE_LAST_;
        if (good && score >> RSL_HEDGE_WINNER_ == 0)
            next |= (uint64_t)attempt->number << RSL_HEDGE_WINNER_;
    } while (!rsl_cas_(&slot->score, &score, next));
    rsl_park_post_(&slot->park);
    if ((next & (RSL_HEDGE_OUT_ | RSL_HEDGE_CALLER_)) == 0) rsl_hedge_give_slot_(slot);
}

/* Submits the next attempt, or says why not. */
static int rsl_hedge_submit_(rsl_hedge_call_ *call)
{
    rsl_hedge_slot_ *slot = call->slot;
    rsl_hedge_attempt_ *attempt = rsl_hedge_attempt_at_(slot, call->count + 1);
    attempt->returned = false;
    attempt->error = call->error;
    if (call->size > 0) memcpy(rsl_hedge_copy_(attempt), call->arg, call->size);
    rsl_ctx ctx = call->ctx;
    ctx.cancel = NULL;
    if (ctx.clock != NULL) ctx.clock = &slot->clock;
    ctx.attempt = attempt->number;
    rsl_add_relaxed_(&slot->score, 1); /* relaxed: the submission publishes it */
    int status = rsl_workers_submit(call->s->config.workers, &ctx, rsl_hedge_attempt_run_,
                                    attempt, &attempt->task);
    if (status != RSL_OK) {
        rsl_add_relaxed_(&slot->score, ~(uint64_t)0);
        return status;
    }
    attempt->submitted = true;
    call->count++;
    return RSL_OK;
}

/* One more attempt is due. */
static void rsl_hedge_further_(rsl_hedge_call_ *call, rsl_time now)
{
    rsl_hedge_state_ *s = call->s;
    rsl_retry_budget *budget = s->config.budget;
    int status = RSL_OK;
    if (budget != NULL && !(rsl_retry_budget_has(budget) && rsl_retry_budget_fail(budget)))
        status = RSL_ELIMITED;
    if (status == RSL_OK) status = rsl_hedge_submit_(call);
    call->due = rsl_time_add_(now, (rsl_time)rsl_load_relaxed_(&s->delay));
    if (status == RSL_OK) {
        rsl_add_relaxed_(&s->started, 1);
        rsl_hedge_tell_(s, RSL_HEDGE_STARTED, "started", RSL_OK, call->count);
    } else {
        call->denied = true;
        rsl_add_relaxed_(&s->denied, 1);
        rsl_hedge_tell_(s, RSL_HEDGE_DENIED, "denied", status, call->count + 1);
    }
}

/* ---- calls ---- */

/* In the caller's own thread, with the caller's own argument. */
static int rsl_hedge_run_alone_(rsl_hedge_call_ *call, int why)
{
    rsl_hedge_state_ *s = call->s;
    rsl_add_relaxed_(&s->alone, 1);
    rsl_hedge_tell_(s, RSL_HEDGE_ALONE, "alone", why, 0);
    call->ctx.attempt = 1;
    errno = call->error;
    int result = call->fn(&call->ctx, call->arg);
    int error = errno;
    if (s->config.is_success(result, s->config.user)) rsl_hedge_sample_(call);
    errno = error;
    return result;
}

/* Sleeps and starts what is due until the call is decided. RSL_OK: an attempt won, or all have
   ended; RSL_ETIMEOUT, RSL_ECANCELED: the ctx is spent; RSL_AGAIN: taken back by the caller. */
static int rsl_hedge_watch_(rsl_hedge_call_ *call)
{
    rsl_hedge_slot_ *slot = call->slot;
    for (;;) {
        uint64_t score = rsl_load_(&slot->score); /* acquire: what the winner wrote */
        if (score >> RSL_HEDGE_WINNER_ != 0 || (score & RSL_HEDGE_OUT_) == 0) return RSL_OK;
        rsl_time now = rsl_clock_now_(call->ctx.clock);
        if (rsl_cancel_fired(call->ctx.cancel)) return RSL_ECANCELED;
        if (rsl_ctx_is_late_(&call->ctx, now)) return RSL_ETIMEOUT;
        rsl_time until = call->ctx.deadline != 0 ? call->ctx.deadline : RSL_FOREVER;
        uint64_t begun = rsl_load_relaxed_(&slot->begun); /* relaxed: the exchange decides */
        if (begun == 0 && now >= call->stuck_at) {
            if (rsl_cas_(&slot->begun, &begun, RSL_HEDGE_TAKEN_)) return RSL_AGAIN;
        } else if (begun == 0 && call->stuck_at < until) {
            until = call->stuck_at;
        }
        if (call->count < call->s->config.attempts_max && !call->denied) {
            if (now >= call->due) {
                rsl_hedge_further_(call, now);
                continue;
            }
            if (call->due < until) until = call->due;
        }
        rsl_ctx_sleep_(&call->ctx, call->ctx.clock, &slot->park, until);
    }
}

/* Cancels all attempts but one (0: all), and leaves the slot to those that are still out. */
static void rsl_hedge_leave_(rsl_hedge_call_ *call, uint32_t but)
{
    rsl_hedge_slot_ *slot = call->slot;
    for (uint32_t number = 1; number <= call->count; number++) {
        rsl_hedge_attempt_ *attempt = rsl_hedge_attempt_at_(slot, number);
        if (number != but && !rsl_task_has_ended(&attempt->task)) rsl_task_cancel(&attempt->task);
    }
    uint64_t score = rsl_load_relaxed_(&slot->score), next; /* the exchange orders it */
    do next = score & ~(uint64_t)RSL_HEDGE_CALLER_;
    while (!rsl_cas_(&slot->score, &score, next));
    if ((next & RSL_HEDGE_OUT_) == 0) rsl_hedge_give_slot_(slot);
}

/* The winner's result, or that of the attempt that ended last. RSL_AGAIN in *status: none has run,
   for what the result says. */
static int rsl_hedge_conclude_(rsl_hedge_call_ *call, int *status)
{
    rsl_hedge_state_ *s = call->s;
    uint64_t score = rsl_load_(&call->slot->score);
    uint32_t winner = (uint32_t)(score >> RSL_HEDGE_WINNER_), number = winner;
    if (winner == 0) number = (uint32_t)(score >> RSL_HEDGE_LAST_) & 0xff;
    const rsl_hedge_attempt_ *attempt = rsl_hedge_attempt_at_(call->slot, number);
    int result = attempt->task.result_;
    if (attempt->returned) {
        call->error = attempt->error;
        if (call->size > 0) memcpy(call->arg, rsl_hedge_copy_(attempt), call->size);
    }
    *status = RSL_OK;
    if (winner == 0) {
        bool ran = rsl_load_relaxed_(&call->slot->begun) != 0;
        if (!ran && result != RSL_ETIMEOUT) *status = RSL_AGAIN;
        return result;
    }
    rsl_hedge_sample_(call);
    if (winner > 1) {
        rsl_add_relaxed_(&s->won, 1);
        rsl_hedge_tell_(s, RSL_HEDGE_WON, "won", result, winner);
    } else if (call->count == 1) {
        rsl_retry_budget_succeed(s->config.budget);
    }
    return result;
}

/* With a slot. RSL_AGAIN in *status: to be run alone, for what is returned. */
static int rsl_hedge_call_in_slot_(rsl_hedge_call_ *call, int *status)
{
    rsl_hedge_slot_ *slot = call->slot;
    rsl_time delay = (rsl_time)rsl_load_relaxed_(&call->s->delay); /* relaxed: a number */
    slot->fn = call->fn;
    slot->arg = call->arg;
    slot->size = call->size;
    if (call->ctx.clock != NULL) slot->clock = *call->ctx.clock;
    /* relaxed: nothing is out, and the submission publishes it */
    rsl_store_relaxed_(&slot->begun, 0);
    rsl_store_relaxed_(&slot->score, RSL_HEDGE_CALLER_);
    call->due = rsl_time_add_(call->started, delay);
    call->stuck_at = rsl_time_add_(call->started, delay > 0 ? delay : rsl_hedge_stuck_);
    *status = RSL_OK;
    int result = rsl_hedge_submit_(call);
    bool spent = result == RSL_ETIMEOUT || result == RSL_ECANCELED;
    if (result == RSL_OK) {
        result = rsl_hedge_watch_(call);
        if (result == RSL_OK) {
            result = rsl_hedge_conclude_(call, status);
        } else if (result == RSL_AGAIN) {
            *status = RSL_AGAIN;
            result = RSL_EFULL;
        }
    } else if (!spent) {
        *status = RSL_AGAIN;
    }
    uint64_t score = rsl_load_relaxed_(&slot->score);
    rsl_hedge_leave_(call, (uint32_t)(score >> RSL_HEDGE_WINNER_));
    return result;
}

int rsl_hedge_call(rsl_hedge *hedge, const rsl_ctx *ctx, rsl_fn fn, void *arg, size_t size)
{
    if (hedge == NULL || hedge->state_ == NULL || fn == NULL) return RSL_EINVAL;
    rsl_hedge_state_ *s = hedge->state_;
    if (size > s->config.size_max || (arg == NULL && size > 0)) return RSL_EINVAL;
    rsl_hedge_call_ call;
    memset(&call, 0, sizeof call);
    call.s = s;
    call.ctx = *rsl_ctx_or_unlimited_(ctx);
    call.ctx.clock = rsl_clock_pick_(&call.ctx, &s->config.clock);
    call.fn = fn;
    call.arg = arg;
    call.size = size;
    call.error = errno;
    int status = rsl_ctx_spent_(&call.ctx, call.ctx.clock);
    if (status != RSL_OK) return status;
    call.started = rsl_clock_now_(call.ctx.clock);
    rsl_add_relaxed_(&s->calls, 1);
    int cancelable = rsl_uncancelable_(), result = RSL_EFULL; /* else the slot would be lost */
    call.slot = rsl_hedge_take_slot_(s);
    status = RSL_AGAIN;
    if (call.slot != NULL) result = rsl_hedge_call_in_slot_(&call, &status);
    rsl_cancelable_(cancelable);
    if (status == RSL_AGAIN) return rsl_hedge_run_alone_(&call, result);
    errno = call.error;
    return result;
}

int rsl_hedge_init(rsl_hedge *hedge, const rsl_hedge_config *config)
{
    if (hedge == NULL) return RSL_EINVAL;
    hedge->state_ = NULL;
    if (rsl_hedge_config_check(config) != NULL) return RSL_EINVAL;
    rsl_hedge_config c = rsl_hedge_config_resolve(config);
    size_t head = (sizeof(rsl_hedge_state_) + 15) / 16 * 16;
    size_t slot_head = (sizeof(rsl_hedge_slot_) + 15) / 16 * 16;
    size_t attempt_head = (sizeof(rsl_hedge_attempt_) + 15) / 16 * 16;
    size_t most = (SIZE_MAX - head) / c.calls_max; /* of a slot */
    if (c.size_max > most || (most - slot_head) / c.attempts_max < attempt_head + 15 ||
        c.size_max > (most - slot_head) / c.attempts_max - attempt_head - 15)
        return RSL_ENOMEM;
    size_t attempt_size = attempt_head + (c.size_max + 15) / 16 * 16;
    size_t slot_size = slot_head + c.attempts_max * attempt_size;
    rsl_hedge_state_ *s = (rsl_hedge_state_ *)RSL_MALLOC(head + c.calls_max * slot_size);
    if (s == NULL) return RSL_ENOMEM;
    memset(s, 0, head + c.calls_max * slot_size);
    s->config = c;
    s->attempt_size = attempt_size;
    s->slot_size = slot_size;
    s->slots = (char *)s + head;
    s->delay = (uint64_t)c.delay;
    int status = rsl_lock_init_(&s->lock);
    if (status != RSL_OK) {
        RSL_FREE(s);
        return status;
    }
    for (uint32_t i = c.calls_max; i > 0; i--) {
        rsl_hedge_slot_ *slot = rsl_hedge_slot_at_(s, i - 1);
        slot->hedge = s;
        slot->next = s->vacant;
        s->vacant = slot;
        for (uint32_t number = 1; number <= c.attempts_max; number++) {
            rsl_hedge_attempt_ *attempt = rsl_hedge_attempt_at_(slot, number);
            attempt->slot = slot;
            attempt->number = number;
            rsl_task_on_done(&attempt->task, rsl_hedge_attempt_done_, attempt);
        }
    }
    hedge->state_ = s;
    return RSL_OK;
}

int rsl_hedge_deinit(rsl_hedge *hedge, const rsl_ctx *ctx)
{
    if (hedge == NULL || hedge->state_ == NULL) return RSL_OK;
    rsl_hedge_state_ *s = hedge->state_;
    ctx = rsl_ctx_or_unlimited_(ctx);
    const rsl_clock *clock = rsl_clock_pick_(ctx, &s->config.clock);
    rsl_time until = ctx->deadline != 0 ? ctx->deadline : RSL_FOREVER;
    rsl_lock_take_(&s->lock);
    s->ending = true;
    while (s->running > 0) {
        rsl_lock_drop_(&s->lock);
        int status = rsl_ctx_spent_(ctx, clock);
        if (status != RSL_OK) return status;
        rsl_ctx_sleep_(ctx, clock, &s->park, until);
        rsl_lock_take_(&s->lock);
    }
    rsl_lock_drop_(&s->lock);
    for (uint32_t i = 0; i < s->config.calls_max; i++) {
        for (uint32_t number = 1; number <= s->config.attempts_max; number++) {
            rsl_hedge_attempt_ *attempt = rsl_hedge_attempt_at_(rsl_hedge_slot_at_(s, i), number);
            while (attempt->submitted && !rsl_task_has_ended(&attempt->task))
                rsl_pause_(0); /* who ended it has told us, and is about to let go of it */
        }
    }
    hedge->state_ = NULL;
    rsl_lock_deinit_(&s->lock);
    RSL_FREE(s);
    return RSL_OK;
}

void rsl_hedge_stats_get(rsl_hedge *hedge, rsl_hedge_stats *stats)
{
    if (stats == NULL) return;
    memset(stats, 0, sizeof *stats);
    if (hedge == NULL || hedge->state_ == NULL) return;
    rsl_hedge_state_ *s = hedge->state_;
    stats->calls = rsl_load_relaxed_(&s->calls); /* relaxed: counts */
    stats->started = rsl_load_relaxed_(&s->started);
    stats->won = rsl_load_relaxed_(&s->won);
    stats->denied = rsl_load_relaxed_(&s->denied);
    stats->alone = rsl_load_relaxed_(&s->alone);
    stats->delay = (rsl_time)rsl_load_relaxed_(&s->delay);
    rsl_lock_take_(&s->lock);
    stats->running = s->running;
    rsl_lock_drop_(&s->lock);
}

/* ---- registry: the ready types ---- */

static int rsl_registry_breaker_init_(void *object, const char *key, const void *config)
{
    rsl_breaker_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *(const rsl_breaker_config *)config;
    c.name = key;
    return rsl_breaker_init((rsl_breaker *)object, &c);
}

static void rsl_registry_breaker_deinit_(void *object)
{
    rsl_breaker_deinit((rsl_breaker *)object);
}

static bool rsl_registry_breaker_is_busy_(void *object)
{
    rsl_breaker_stats stats;
    rsl_breaker_stats_get((rsl_breaker *)object, &stats);
    return stats.state != RSL_BREAKER_CLOSED || stats.in_flight > 0 || stats.failures > 0;
}

const rsl_registry_type *rsl_registry_breakers(void)
{
    static const rsl_registry_type type = {
        "breaker", sizeof(rsl_breaker), rsl_registry_breaker_init_, rsl_registry_breaker_deinit_,
        rsl_registry_breaker_is_busy_};
    return &type;
}

static int rsl_registry_bulkhead_init_(void *object, const char *key, const void *config)
{
    rsl_bulkhead_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *(const rsl_bulkhead_config *)config;
    c.name = key;
    return rsl_bulkhead_init((rsl_bulkhead *)object, &c);
}

static void rsl_registry_bulkhead_deinit_(void *object)
{
    rsl_bulkhead_deinit((rsl_bulkhead *)object);
}

static bool rsl_registry_bulkhead_is_busy_(void *object)
{
    rsl_bulkhead_stats stats;
    rsl_bulkhead_stats_get((rsl_bulkhead *)object, &stats);
    return stats.in_use > 0 || stats.waiting > 0;
}

const rsl_registry_type *rsl_registry_bulkheads(void)
{
    static const rsl_registry_type type = {
        "bulkhead", sizeof(rsl_bulkhead), rsl_registry_bulkhead_init_,
        rsl_registry_bulkhead_deinit_, rsl_registry_bulkhead_is_busy_};
    return &type;
}

static int rsl_registry_retry_init_(void *object, const char *key, const void *config)
{
    rsl_retry_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *(const rsl_retry_config *)config;
    c.name = key;
    return rsl_retry_init((rsl_retry *)object, &c);
}

static void rsl_registry_retry_deinit_(void *object)
{
    rsl_retry_deinit((rsl_retry *)object);
}

const rsl_registry_type *rsl_registry_retries(void)
{
    static const rsl_registry_type type = {"retry", sizeof(rsl_retry), rsl_registry_retry_init_,
                                           rsl_registry_retry_deinit_, NULL};
    return &type;
}

static int rsl_registry_pool_init_(void *object, const char *key, const void *config)
{
    rsl_pool_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *(const rsl_pool_config *)config;
    c.name = key;
    return rsl_pool_open((rsl_pool **)object, &c);
}

/* Nobody leases from it or creates for it, so that close has nothing to wait for. */
static void rsl_registry_pool_deinit_(void *object)
{
    int status = rsl_pool_close(*(rsl_pool **)object, NULL);
    RSL_ASSERT(status == RSL_OK); /* else somebody uses a pool that he does not hold */
    (void)status;
}

static bool rsl_registry_pool_is_busy_(void *object)
{
    rsl_pool_stats stats;
    rsl_pool_stats_get(*(rsl_pool **)object, &stats);
    return stats.in_use > 0 || stats.waiting > 0 || stats.creating > 0;
}

const rsl_registry_type *rsl_registry_pools(void)
{
    static const rsl_registry_type type = {"pool", sizeof(rsl_pool *), rsl_registry_pool_init_,
                                           rsl_registry_pool_deinit_, rsl_registry_pool_is_busy_};
    return &type;
}

static int rsl_registry_workers_init_(void *object, const char *key, const void *config)
{
    rsl_workers_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *(const rsl_workers_config *)config;
    c.name = key;
    return rsl_workers_open((rsl_workers **)object, &c);
}

static void rsl_registry_workers_deinit_(void *object)
{
    int status = rsl_workers_close(*(rsl_workers **)object, NULL);
    RSL_ASSERT(status == RSL_OK); /* else somebody uses workers that he does not hold */
    (void)status;
}

static bool rsl_registry_workers_is_busy_(void *object)
{
    rsl_workers_stats stats;
    rsl_workers_stats_get(*(rsl_workers **)object, &stats);
    return stats.queued > 0 || stats.running > 0;
}

const rsl_registry_type *rsl_registry_workers(void)
{
    static const rsl_registry_type type = {
        "workers", sizeof(rsl_workers *), rsl_registry_workers_init_,
        rsl_registry_workers_deinit_, rsl_registry_workers_is_busy_};
    return &type;
}

/* What init would say of the config, asked before the first key comes. */
static const char *rsl_registry_object_check_(const rsl_registry_type *type, const void *config)
{
    if (type == rsl_registry_breakers())
        return rsl_breaker_config_check((const rsl_breaker_config *)config);
    if (type == rsl_registry_bulkheads())
        return rsl_bulkhead_config_check((const rsl_bulkhead_config *)config);
    if (type == rsl_registry_retries())
        return rsl_retry_config_check((const rsl_retry_config *)config);
    if (type == rsl_registry_pools())
        return rsl_pool_config_check((const rsl_pool_config *)config);
    if (type == rsl_registry_workers())
        return rsl_workers_config_check((const rsl_workers_config *)config);
    return NULL;
}

/* ---- registry ---- */

enum {
    RSL_REGISTRY_SIZE_MAX_ = 1 << 24,
    RSL_REGISTRY_COUNT_MAX_ = 1000000,
    RSL_REGISTRY_KEY_MAX_ = 255
};

const char *rsl_registry_config_check(const rsl_registry_config *config)
{
    rsl_registry_config c = rsl_registry_config_resolve(config);
    if (c.type->kind == NULL) return "type.kind: must be set";
    if (c.type->size < 1 || c.type->size > RSL_REGISTRY_SIZE_MAX_)
        return "type.size: must lie in 1..16777216";
    if (c.type->init == NULL) return "type.init: must be set";
    if (c.type->deinit == NULL) return "type.deinit: must be set";
    if (c.count_max > RSL_REGISTRY_COUNT_MAX_) return "count_max: must lie in 1..1000000";
    if (c.key_max > RSL_REGISTRY_KEY_MAX_) return "key_max: must lie in 1..255";
    const char *why = rsl_registry_object_check_(c.type, c.config);
#ifdef RSL_NO_MAP_
    if (why == NULL) why = "registry: built without stb_ds.h";
#endif
    return why;
}

rsl_registry_config rsl_registry_config_resolve(const rsl_registry_config *config)
{
    rsl_registry_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *config;
    if (c.type == NULL) c.type = rsl_registry_breakers();
    if (c.count_max == 0) c.count_max = 1024;
    if (c.key_max == 0) c.key_max = RSL_REGISTRY_KEY_MAX_;
    return c;
}

#ifdef RSL_NO_MAP_

int rsl_registry_init(rsl_registry *registry, const rsl_registry_config *config)
{
    (void)config;
    if (registry != NULL) registry->state_ = NULL;
    return RSL_EINVAL;
}

int rsl_registry_deinit(rsl_registry *registry)
{
    (void)registry;
    return RSL_OK;
}

int rsl_registry_acquire(rsl_registry *registry, const char *key, void **object)
{
    (void)registry, (void)key, (void)object;
    return RSL_EINVAL;
}

int rsl_registry_release(rsl_registry *registry, void *object)
{
    (void)registry, (void)object;
    return RSL_EINVAL;
}

int rsl_registry_visit(rsl_registry *registry,
                       int (*visit)(const char *key, void *object, void *arg), void *arg)
{
    (void)registry, (void)visit, (void)arg;
    return RSL_EINVAL;
}

void rsl_registry_stats_get(rsl_registry *registry, rsl_registry_stats *stats)
{
    (void)registry;
    if (stats != NULL) memset(stats, 0, sizeof *stats);
}

#else

/* How lookups go without a lock, and why nothing is lost or ended in use.

   [READ] Who reads the map marks the shard of its thread, looks whether a writer is there, and if
   not it is inside, until it takes the mark back. A writer holds the lock, says that it is there,
   and waits until no shard is marked; then it is alone. Both sides first store and then load,
   strictly: of a reader and a writer that come at once, one at least sees the other. A reader that
   sees the writer takes its mark back, and the lock instead. Taking the mark back is a release,
   which the writer acquires: what was read is read before it changes. The writer leaves by a
   release, which readers acquire: they see all that it changed.

   [HOLD] Whether an instance may be ended is decided by one word: how many hold it, how often
   anybody has, and whether it is shut. A reader counts itself in while it is inside, and out again
   before it leaves if the entry is shut. Who ends an instance reads the word, finds nobody there,
   asks is_busy without a lock, and then shuts it by exchanging exactly the word that was read: if
   anybody held it in between, that fails. So what is held is open and in the map, what is shut is
   held by nobody, and no holder can have made busy what is_busy said was not.

   [KEY] A key is in the map from before its instance is made until after it has ended, and the
   entry is shut at both ends; who looks for it then waits. So there are never two instances of one
   key. init, deinit, is_busy and observers run without the lock and may call the registry; a wait
   that would go round in a circle is refused.

   [AGE] Each entry bears the tick of its latest use. One that has the latest of all keeps it, so
   that lookups of the same name write nothing that names share. The heap orders the instances by
   what their ticks were when it last looked, which is never more than what they are: if that of
   its first has not changed, this is the oldest; else it sinks to where it belongs.

   [HINT] The map's hash withstands an adversary, and costs ten times what all the rest of a lookup
   does. So each thread remembers a few entries that it found, by a hash that is good for nothing
   else; if the entry still has that key, that is what the map would say. It has one exactly while
   it is in the map, both being changed by the same writer, alone. */

typedef struct rsl_registry_entry_ {
    rsl_word_ hold;   /* atomic; see [HOLD] */
    rsl_word_ age;    /* atomic; see [AGE] */
    char     *key;    /* changed as the map; NULL: not in the map */
    uint64_t  worker; /* guarded by lock, as what follows; the thread that makes or ends it */
    uint32_t  index;  /* constant */
    uint32_t  vacant; /* 1 + index of the next entry that is free; 0: none */
    uint64_t  state;  /* enum rsl_registry_life_ */
} rsl_registry_entry_;

enum rsl_registry_life_ {
    RSL_REGISTRY_FREE_,   /* not in the map; shut */
    RSL_REGISTRY_MAKING_, /* in the map, shut; room is made for it, or init runs */
    RSL_REGISTRY_READY_,  /* in the map, and in the heap unless it is looked at */
    RSL_REGISTRY_ENDING_  /* in the map, shut; deinit runs */
};

static const uint64_t rsl_registry_holders_ = 0x7fffffff;           /* of hold: how many */
static const uint64_t rsl_registry_shut_ = 0x80000000;
static const uint64_t rsl_registry_once_ = ((uint64_t)1 << 32) + 1; /* one more, once more */
static const uint64_t rsl_registry_holders_max_ = 1 << 30; /* far from where it would run over */

enum {
    RSL_REGISTRY_HEAD_ = 64,   /* bytes before an object: its entry, on a line of its own */
    RSL_REGISTRY_SHARDS_ = 64, /* owned; one more is common */
    RSL_REGISTRY_HINTS_ = 32,  /* a power of 2 */
    RSL_REGISTRY_CHUNKS_ = 21
};
_Static_assert(sizeof(rsl_registry_entry_) <= RSL_REGISTRY_HEAD_, "no room for an entry");

typedef struct rsl_registry_shard_ {
    rsl_word_ owner;
    rsl_word_ inside;   /* atomic: readers; see [READ] */
    rsl_word_ found;    /* atomic: lookups that found their key */
    uint64_t  spare[5]; /* lines of its own */
    rsl_word_ hints[RSL_REGISTRY_HINTS_]; /* atomic: 1 + index, hash << 32; see [HINT] */
} rsl_registry_shard_;

typedef struct rsl_registry_place_ { uint64_t age; uint32_t index; } rsl_registry_place_;

struct rsl_registry_state_ {
    rsl_registry_shard_ *shards; /* constant */
    rsl_word_ writing;   /* atomic, written under lock: a writer is there */
    rsl_word_ extent;    /* atomic, written under lock: entries below are allocated */
    size_t    stride;    /* bytes of an entry with its object; constant */
    uint32_t  first;     /* log2 of the entries in the first chunk; each next has twice as many */
    rsl_registry_config config; /* resolved; constant */
    char     *chunk[RSL_REGISTRY_CHUNKS_]; /* set before extent grows over them */
    rsl_map_  map;       /* key -> index; changed under lock by a writer that is alone */
    uint64_t  spare[8];  /* what follows is on other lines */

    rsl_word_ tick;      /* atomic: the latest age */
    uint64_t  spare_too[7];

    rsl_lock_    lock;
    rsl_waiters_ queue;  /* guarded by lock, as all that follows. Words of a waiter: its thread;
                            the index that it waits for; enum rsl_registry_answer_, status << 32 */
    rsl_registry_place_ *heap; /* room for extent of them; the oldest is first */
    uint32_t  heaped;    /* places in the heap */
    uint32_t  vacant;    /* 1 + index of the first entry that is free; 0: none */
    uint32_t  objects;   /* that are made, ended, or there; at most count_max */
    uint32_t  ready;     /* that are there */
    uint64_t  found, made, evicted, refused; /* found: under lock */
    uint64_t  events;    /* told so far */
    void     *chunk_memory[RSL_REGISTRY_CHUNKS_];
    void     *shard_memory;
};
typedef struct rsl_registry_state_ rsl_registry_state_;

enum rsl_registry_answer_ { RSL_REGISTRY_LOOK_AGAIN_ = 1, RSL_REGISTRY_HELD_, RSL_REGISTRY_NOT_ };

static inline rsl_registry_entry_ *rsl_registry_at_(const rsl_registry_state_ *s, uint32_t index)
{
    uint32_t chunk = 31u - (uint32_t)__builtin_clz((index >> s->first) + 1);
    uint32_t start = ((1u << chunk) - 1) << s->first;
    return (rsl_registry_entry_ *)(void *)(s->chunk[chunk] + (index - start) * s->stride);
}

static inline void *rsl_registry_object_(rsl_registry_entry_ *entry)
{
    return (char *)entry + RSL_REGISTRY_HEAD_;
}

/* ---- readers and writers of the map: see [READ] ---- */

static inline rsl_registry_shard_ *rsl_registry_shard_of_(const rsl_registry_state_ *s)
{
    return (rsl_registry_shard_ *)rsl_shard_(s->shards, sizeof *s->shards, RSL_REGISTRY_SHARDS_);
}

RSL_NOINLINE_ void rsl_registry_mark_common_(rsl_registry_shard_ *shard, uint64_t by)
{
    uint64_t inside = rsl_load_relaxed_(&shard->inside);
    while (!rsl_cas_strict_(&shard->inside, &inside, inside + by)) continue;
}

static inline void rsl_registry_leave_(const rsl_registry_state_ *s, rsl_registry_shard_ *shard)
{
    if (RSL_LIKELY_(shard != &s->shards[RSL_REGISTRY_SHARDS_])) rsl_store_(&shard->inside, 0);
    else rsl_registry_mark_common_(shard, ~(uint64_t)0);
}

/* False: a writer is there, and the caller is not inside. */
static inline bool rsl_registry_enter_(const rsl_registry_state_ *s, rsl_registry_shard_ *shard)
{
    if (RSL_LIKELY_(shard != &s->shards[RSL_REGISTRY_SHARDS_]))
        rsl_store_strict_(&shard->inside, 1);
    else rsl_registry_mark_common_(shard, 1);
    if (RSL_LIKELY_(rsl_load_strict_(&s->writing) == 0)) return true;
    rsl_registry_leave_(s, shard);
    return false;
}

/* Lock held: returns when no reader is inside, and none will be until rsl_registry_unwrite_. */
static void rsl_registry_write_(rsl_registry_state_ *s)
{
    rsl_store_strict_(&s->writing, 1);
    for (uint32_t i = 0; i <= RSL_REGISTRY_SHARDS_; i++) {
        for (int tries = 0; rsl_load_strict_(&s->shards[i].inside) != 0; tries++)
            rsl_pause_(tries < 16 ? 0 : RSL_US(50)); /* it may need our processor */
    }
}

static void rsl_registry_unwrite_(rsl_registry_state_ *s)
{
    rsl_store_(&s->writing, 0);
}

/* ---- holds: see [HOLD] ---- */

static inline void rsl_registry_unhold_(rsl_registry_entry_ *entry)
{
    uint64_t hold = rsl_load_relaxed_(&entry->hold);
    while (!rsl_cas_(&entry->hold, &hold, hold - 1)) continue;
}

/* Inside, or with the lock held. False: it is shut, or held a billion times. */
static inline bool rsl_registry_hold_(rsl_registry_entry_ *entry)
{
    /* relaxed: who shuts it waits for us to leave, or has the lock. But when it is open, the
       object has been made by who opened it, and the load acquires that: our addition goes on
       the opener's release. */
    uint64_t hold = rsl_add_relaxed_(&entry->hold, rsl_registry_once_);
    bool open = (hold & rsl_registry_shut_) == 0;
    if (RSL_LIKELY_(open && (hold & rsl_registry_holders_) < rsl_registry_holders_max_)) {
        (void)rsl_load_(&entry->hold);
        return true;
    }
    rsl_registry_unhold_(entry);
    return false;
}

/* ---- ages: see [AGE] ---- */

/* relaxed: ticks are only compared, and whoever ends something has waited for us to leave, or we
   have the lock. */
static inline void rsl_registry_touch_(rsl_registry_state_ *s, rsl_registry_entry_ *entry)
{
    uint64_t age = rsl_load_relaxed_(&entry->age);
    if (RSL_LIKELY_(age == rsl_load_relaxed_(&s->tick))) return;
    uint64_t latest = rsl_add_relaxed_(&s->tick, 1) + 1;
    while (age < latest && !rsl_cas_(&entry->age, &age, latest)) continue; /* never back */
}

/* Lock held: adds an instance that is not there. */
static void rsl_registry_heap_push_(rsl_registry_state_ *s, rsl_registry_entry_ *entry)
{
    rsl_registry_place_ place = {rsl_load_relaxed_(&entry->age), entry->index};
    uint32_t at = s->heaped++;
    while (at > 0 && s->heap[(at - 1) / 2].age > place.age) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = place;
}

/* Lock held: puts the place where the first was, and lets it sink. */
static void rsl_registry_heap_sink_(rsl_registry_state_ *s, rsl_registry_place_ place)
{
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= s->heaped) break;
        if (child + 1 < s->heaped && s->heap[child + 1].age < s->heap[child].age) child++;
        if (s->heap[child].age >= place.age) break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = place;
}

/* Lock held, the heap is not empty: takes the first out, after it was made sure that it is the
   oldest. The number of times that others use theirs meanwhile is no concern of ours. */
static rsl_registry_entry_ *rsl_registry_heap_pop_(rsl_registry_state_ *s)
{
    for (uint32_t sunk = 0; sunk < s->heaped; sunk++) {
        rsl_registry_place_ first = s->heap[0];
        uint64_t age = rsl_load_relaxed_(&rsl_registry_at_(s, first.index)->age);
        if (age == first.age) break;
        first.age = age;
        rsl_registry_heap_sink_(s, first);
    }
    rsl_registry_entry_ *oldest = rsl_registry_at_(s, s->heap[0].index);
    s->heaped--;
    rsl_registry_heap_sink_(s, s->heap[s->heaped]);
    return oldest;
}

/* ---- entries ---- */

/* Lock held: room for more of them. RSL_ENOMEM changes nothing. */
static int rsl_registry_widen_(rsl_registry_state_ *s)
{
    uint32_t extent = (uint32_t)rsl_load_relaxed_(&s->extent); /* relaxed: written under lock */
    uint32_t chunk = 31u - (uint32_t)__builtin_clz((extent >> s->first) + 1);
    uint32_t count = 1u << (chunk + s->first);
    if (chunk == RSL_REGISTRY_CHUNKS_ || count > (SIZE_MAX - RSL_REGISTRY_HEAD_) / s->stride)
        return RSL_ENOMEM;
    void *memory = RSL_MALLOC(count * s->stride + RSL_REGISTRY_HEAD_);
    size_t places = (extent + count) * sizeof *s->heap;
    rsl_registry_place_ *heap = memory != NULL ? (rsl_registry_place_ *)RSL_MALLOC(places) : NULL;
    if (heap == NULL) {
        RSL_FREE(memory);
        return RSL_ENOMEM;
    }
    memset(heap, 0, places);
    if (s->heaped > 0) memcpy(heap, s->heap, s->heaped * sizeof *heap);
    RSL_FREE(s->heap);
    s->heap = heap;
    uintptr_t start = ((uintptr_t)memory + RSL_REGISTRY_HEAD_ - 1) / RSL_REGISTRY_HEAD_;
    s->chunk_memory[chunk] = memory;
    s->chunk[chunk] = (char *)(start * RSL_REGISTRY_HEAD_);
    for (uint32_t i = count; i > 0; i--) {
        rsl_registry_entry_ *entry = rsl_registry_at_(s, extent + i - 1);
        memset(entry, 0, sizeof *entry);
        entry->hold = rsl_registry_shut_;
        entry->index = extent + i - 1;
        entry->vacant = s->vacant;
        s->vacant = 1 + entry->index;
    }
    rsl_store_(&s->extent, extent + count); /* release: who looks through them finds them made */
    return RSL_OK;
}

/* Lock held: the key is taken out of the map, and its entry is free. */
static void rsl_registry_forget_(rsl_registry_state_ *s, rsl_registry_entry_ *entry)
{
    char *key = entry->key;
    rsl_registry_write_(s);
    rsl_map_del_(&s->map, key);
    entry->key = NULL;
    rsl_registry_unwrite_(s);
    RSL_FREE(key);
    entry->state = RSL_REGISTRY_FREE_;
    entry->vacant = s->vacant;
    s->vacant = 1 + entry->index;
}

/* Lock held: puts a new key into the map, with an entry that is MAKING. RSL_ENOMEM changes
   nothing. */
static int rsl_registry_reserve_(rsl_registry_state_ *s, const char *key,
                                 rsl_registry_entry_ **reserved)
{
    if (s->vacant == 0 && rsl_registry_widen_(s) != RSL_OK) return RSL_ENOMEM;
    rsl_registry_entry_ *entry = rsl_registry_at_(s, s->vacant - 1);
    size_t size = strlen(key) + 1;
    char *copy = (char *)RSL_MALLOC(size);
    if (copy == NULL) return RSL_ENOMEM;
    memcpy(copy, key, size);
    rsl_registry_write_(s);
    int status = rsl_map_put_(&s->map, copy, entry->index);
    if (status == RSL_OK) entry->key = copy;
    rsl_registry_unwrite_(s);
    if (status != RSL_OK) {
        RSL_FREE(copy);
        return RSL_ENOMEM;
    }
    s->vacant = entry->vacant;
    entry->worker = rsl_self_();
    entry->state = RSL_REGISTRY_MAKING_;
    *reserved = entry;
    return RSL_OK;
}

/* ---- who waits, who is told. All with the lock held before and after. ---- */

typedef struct rsl_registry_news_ {
    rsl_waiter *woken; /* WAKING, linked by next */
    uint32_t    count; /* of those */
    rsl_event   event; /* kind 0: none */
} rsl_registry_news_;

/* Takes out of the queue who waits for the entry, with that answer. */
static void rsl_registry_answer_(rsl_registry_state_ *s, rsl_registry_news_ *news,
                                 const rsl_registry_entry_ *entry, uint64_t answer)
{
    news->woken = NULL;
    news->count = 0;
    for (rsl_waiter *waiter = s->queue.first, *next; waiter != NULL; waiter = next) {
        next = waiter->private_.next;
        if (waiter->private_.word[1] != entry->index) continue;
        rsl_waiters_unlink_(&s->queue, waiter);
        waiter->private_.word[2] = answer;
        waiter->private_.next = news->woken;
        news->woken = waiter;
        news->count++;
        rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_WAKING_);
    }
}

static void rsl_registry_note_(rsl_registry_state_ *s, rsl_registry_news_ *news,
                               rsl_registry_event kind, const char *name, int status,
                               int64_t value)
{
    memset(&news->event, 0, sizeof news->event);
    news->event.kind = (int)kind;
    news->event.source = s->config.name;
    news->event.name = name;
    news->event.status = status;
    news->event.number = ++s->events;
    news->event.value = value;
}

/* Without the lock meanwhile: wakes who was answered, and tells what was noted. */
static void rsl_registry_tell_(rsl_registry_state_ *s, rsl_registry_news_ *news)
{
    rsl_lock_drop_(&s->lock);
    for (rsl_waiter *waiter = news->woken, *next; waiter != NULL; waiter = next) {
        next = waiter->private_.next; /* once woken, it is its owner's */
        rsl_waiter_wake_(waiter);
    }
    if (news->event.kind != 0 && s->config.observer.on_event != NULL) {
        news->event.at = rsl_clock_real_();
        rsl_emit_(&s->config.observer, &news->event);
    }
    rsl_lock_take_(&s->lock);
}

/* Whether the end of what this entry goes through depends on this very thread: it does it itself,
   or who does it waits for something that this thread does, and so on. */
static bool rsl_registry_waits_for_us_(const rsl_registry_state_ *s,
                                       const rsl_registry_entry_ *entry)
{
    for (uint64_t self = rsl_self_(); entry->worker != self;) {
        const rsl_waiter *waiter = s->queue.first;
        while (waiter != NULL && waiter->private_.word[0] != entry->worker)
            waiter = waiter->private_.next;
        if (waiter == NULL) return false;
        entry = rsl_registry_at_(s, (uint32_t)waiter->private_.word[1]);
    }
    return true;
}

/* Waits until the entry is made or ended, and returns the answer. */
static uint64_t rsl_registry_wait_(rsl_registry_state_ *s, const rsl_registry_entry_ *entry)
{
    rsl_word_ park = 0;
    rsl_waiter waiter;
    rsl_waiter_park_(&waiter, &park);
    waiter.private_.word[0] = rsl_self_();
    waiter.private_.word[1] = entry->index;
    rsl_waiters_push_(&s->queue, &waiter);
    rsl_lock_drop_(&s->lock);
    while (rsl_load_(&waiter.private_.state) == RSL_WAITER_QUEUED_)
        rsl_ctx_sleep_(&rsl_ctx_unlimited_, NULL, &park, RSL_FOREVER);
    rsl_waiters_leave_(&s->queue, &s->lock, &waiter);
    rsl_lock_take_(&s->lock);
    return waiter.private_.word[2];
}

/* ---- making and ending ---- */

/* For want of any other: what stays so by itself, if nobody calls, must not stay for ever. */
static bool rsl_registry_breaker_must_stay_(void *object)
{
    rsl_breaker_stats stats;
    rsl_breaker_stats_get((rsl_breaker *)object, &stats);
    bool may_go = stats.state == RSL_BREAKER_CLOSED || stats.state == RSL_BREAKER_HALF_OPEN;
    return !may_go || stats.in_flight > 0;
}

/* Takes the oldest out of those that are neither held nor busy, and shuts it. NULL: all are, or
   there is room meanwhile. Having been found in use counts as use, so that nothing is looked at
   twice. */
static rsl_registry_entry_ *rsl_registry_choose_(rsl_registry_state_ *s,
                                                 bool (*is_busy)(void *object))
{
    for (uint32_t looked = 0; looked < s->ready && s->heaped > 0; looked++) {
        rsl_registry_entry_ *entry = rsl_registry_heap_pop_(s);
        uint64_t hold = rsl_load_(&entry->hold); /* acquire: what holders did to the object */
        bool in_use = (hold & rsl_registry_holders_) != 0;
        if (!in_use && is_busy != NULL) {
            rsl_lock_drop_(&s->lock); /* nobody else ends it: it is not in the heap */
            in_use = is_busy(rsl_registry_object_(entry));
            rsl_lock_take_(&s->lock);
        }
        if (!in_use && rsl_cas_(&entry->hold, &hold, hold | rsl_registry_shut_)) {
            entry->state = RSL_REGISTRY_ENDING_;
            entry->worker = rsl_self_();
            s->ready--;
            return entry;
        }
        rsl_registry_touch_(s, entry);
        rsl_registry_heap_push_(s, entry);
        if (s->objects < s->config.count_max) break; /* meanwhile */
    }
    return NULL;
}

/* Ends an instance that was chosen. Its room stays taken. */
static void rsl_registry_end_(rsl_registry_state_ *s, rsl_registry_entry_ *entry)
{
    rsl_registry_news_ news;
    memset(&news, 0, sizeof news);
    rsl_lock_drop_(&s->lock);
    s->config.type->deinit(rsl_registry_object_(entry));
    rsl_lock_take_(&s->lock);
    rsl_registry_answer_(s, &news, entry, RSL_REGISTRY_LOOK_AGAIN_);
    rsl_registry_forget_(s, entry);
    s->evicted++;
    rsl_registry_note_(s, &news, RSL_REGISTRY_EVICTED, "evicted", RSL_OK, s->ready);
    rsl_registry_tell_(s, &news);
}

/* Takes room for one more object, that of another if need be. RSL_EFULL: there is none. */
static int rsl_registry_make_room_(rsl_registry_state_ *s)
{
    if (s->objects >= s->config.count_max) {
        const rsl_registry_type *type = s->config.type;
        rsl_registry_entry_ *oldest = rsl_registry_choose_(s, type->is_busy);
        bool in_need = oldest == NULL && s->objects >= s->config.count_max;
        if (in_need && type == rsl_registry_breakers())
            oldest = rsl_registry_choose_(s, rsl_registry_breaker_must_stay_);
        if (oldest != NULL) {
            rsl_registry_end_(s, oldest);
            return RSL_OK;
        }
    }
    if (s->objects < s->config.count_max) {
        s->objects++;
        return RSL_OK;
    }
    rsl_registry_news_ news;
    memset(&news, 0, sizeof news);
    s->refused++;
    rsl_registry_note_(s, &news, RSL_REGISTRY_FULL, "full", RSL_EFULL, 0);
    rsl_registry_tell_(s, &news);
    return RSL_EFULL;
}

/* Makes the instance of a key that is not in the map, and holds it. */
static int rsl_registry_make_(rsl_registry_state_ *s, const char *key, void **object)
{
    rsl_registry_entry_ *entry;
    int status = rsl_registry_reserve_(s, key, &entry);
    if (status != RSL_OK) return status;
    rsl_registry_news_ news;
    memset(&news, 0, sizeof news);
    status = rsl_registry_make_room_(s);
    if (status == RSL_OK) {
        rsl_lock_drop_(&s->lock);
        memset(rsl_registry_object_(entry), 0, s->config.type->size);
        status = s->config.type->init(rsl_registry_object_(entry), entry->key, s->config.config);
        rsl_lock_take_(&s->lock);
        if (status != 0) s->objects--;
    }
    if (status != 0) {
        rsl_registry_answer_(s, &news, entry,
                             RSL_REGISTRY_NOT_ | (uint64_t)(uint32_t)status << 32);
        rsl_registry_forget_(s, entry);
        rsl_registry_tell_(s, &news);
        return status;
    }
    rsl_registry_answer_(s, &news, entry, RSL_REGISTRY_HELD_);
    rsl_registry_touch_(s, entry);
    rsl_registry_heap_push_(s, entry);
    entry->state = RSL_REGISTRY_READY_;
    uint64_t hold = rsl_load_relaxed_(&entry->hold), open; /* readers may count in and out */
    do open = (hold & ~rsl_registry_shut_) + (1 + (uint64_t)news.count) * rsl_registry_once_;
    while (!rsl_cas_(&entry->hold, &hold, open)); /* the release is that of the object */
    s->made++;
    s->ready++;
    s->found += news.count;
    rsl_registry_note_(s, &news, RSL_REGISTRY_MADE, "made", RSL_OK, s->ready);
    rsl_registry_tell_(s, &news);
    *object = rsl_registry_object_(entry);
    return RSL_OK;
}

/* Holds what the map has for the key. False: look again. */
static bool rsl_registry_join_(rsl_registry_state_ *s, rsl_registry_entry_ *entry, void **object,
                               int *status)
{
    *status = RSL_OK;
    if (entry->state == RSL_REGISTRY_READY_) {
        if (rsl_registry_hold_(entry)) {
            rsl_registry_touch_(s, entry);
            s->found++;
            *object = rsl_registry_object_(entry);
        } else {
            *status = RSL_EFULL;
        }
        return true;
    }
    if (rsl_registry_waits_for_us_(s, entry)) {
        *status = RSL_EINVAL;
        return true;
    }
    uint64_t answer = rsl_registry_wait_(s, entry);
    if ((uint32_t)answer == RSL_REGISTRY_LOOK_AGAIN_) return false;
    if ((uint32_t)answer == RSL_REGISTRY_HELD_) *object = rsl_registry_object_(entry);
    else *status = (int)(int32_t)(uint32_t)(answer >> 32);
    s->refused += *status == RSL_EFULL;
    return true;
}

RSL_NOINLINE_ int rsl_registry_acquire_slowly_(rsl_registry_state_ *s, const char *key,
                                               void **object)
{
    uint32_t length = 0;
    while (length <= s->config.key_max && key[length] != '\0') length++;
    if (length == 0 || length > s->config.key_max) return RSL_EINVAL;
    int saved = errno, cancelable = rsl_uncancelable_(), status; /* init is not left half done */
    rsl_lock_take_(&s->lock);
    for (bool done = false; !done;) {
        uint32_t index;
        if (rsl_map_get_(&s->map, key, &index)) {
            done = rsl_registry_join_(s, rsl_registry_at_(s, index), object, &status);
        } else {
            status = rsl_registry_make_(s, key, object);
            done = true;
        }
    }
    rsl_lock_drop_(&s->lock);
    rsl_cancelable_(cancelable);
    if (status == RSL_OK) errno = saved; /* else it may say why */
    return status;
}

/* ---- public functions ---- */

int rsl_registry_init(rsl_registry *registry, const rsl_registry_config *config)
{
    if (registry == NULL) return RSL_EINVAL;
    registry->state_ = NULL;
    if (rsl_registry_config_check(config) != NULL) return RSL_EINVAL;
    rsl_registry_state_ *s = (rsl_registry_state_ *)RSL_MALLOC(sizeof *s);
    if (s == NULL) return RSL_ENOMEM;
    memset(s, 0, sizeof *s);
    s->config = rsl_registry_config_resolve(config);
    size_t line = RSL_REGISTRY_HEAD_;
    s->stride = line + (s->config.type->size + line - 1) / line * line;
    s->tick = 1; /* no entry that was never used has it */
    s->first = 5;
    while (s->first > 0 && (s->stride << s->first > 65536 || s->config.count_max >> s->first == 0))
        s->first--;
    size_t shards = (RSL_REGISTRY_SHARDS_ + 1) * sizeof *s->shards;
    s->shard_memory = RSL_MALLOC(shards + line);
    int status = s->shard_memory != NULL ? rsl_map_init_(&s->map) : RSL_ENOMEM;
    if (status == RSL_OK) {
        status = rsl_lock_init_(&s->lock);
        if (status != RSL_OK) rsl_map_deinit_(&s->map);
    }
    if (status != RSL_OK) {
        RSL_FREE(s->shard_memory);
        RSL_FREE(s);
        return status;
    }
    uintptr_t start = ((uintptr_t)s->shard_memory + line - 1) / line * line;
    s->shards = (rsl_registry_shard_ *)start;
    memset(s->shards, 0, shards);
    registry->state_ = s;
    return RSL_OK;
}

/* Nobody uses it: whatever is not READY and free of holds is somebody's mistake. */
static bool rsl_registry_is_used_(const rsl_registry_state_ *s)
{
    uint32_t extent = (uint32_t)rsl_load_(&s->extent);
    for (uint32_t i = 0; i < extent; i++) {
        const rsl_registry_entry_ *entry = rsl_registry_at_(s, i);
        if (entry->state == RSL_REGISTRY_FREE_) continue;
        if (entry->state != RSL_REGISTRY_READY_) return true;
        if ((rsl_load_(&entry->hold) & rsl_registry_holders_) != 0) return true;
    }
    return false;
}

int rsl_registry_deinit(rsl_registry *registry)
{
    if (registry == NULL || registry->state_ == NULL) return RSL_OK;
    rsl_registry_state_ *s = registry->state_;
    rsl_lock_take_(&s->lock);
    bool used = rsl_registry_is_used_(s);
    rsl_lock_drop_(&s->lock);
    if (used) return RSL_EINVAL;
    registry->state_ = NULL; /* what deinit asks of the registry finds none */
    uint32_t extent = (uint32_t)rsl_load_(&s->extent);
    for (uint32_t i = 0; i < extent; i++) {
        rsl_registry_entry_ *entry = rsl_registry_at_(s, i);
        if (entry->state == RSL_REGISTRY_FREE_) continue;
        s->config.type->deinit(rsl_registry_object_(entry));
        RSL_FREE(entry->key);
    }
    rsl_map_deinit_(&s->map);
    rsl_lock_deinit_(&s->lock);
    for (uint32_t i = 0; i < RSL_REGISTRY_CHUNKS_; i++) RSL_FREE(s->chunk_memory[i]);
    RSL_FREE(s->heap);
    RSL_FREE(s->shard_memory);
    RSL_FREE(s);
    return RSL_OK;
}

/* The key's ends, its middle and its length, mixed; in the upper half. */
static inline uint64_t rsl_registry_hint_(const char *key, size_t length)
{
    uint64_t ends[3] = {0, 0, 0};
    if (RSL_LIKELY_(length >= 8)) {
        memcpy(&ends[0], key, 8);
        memcpy(&ends[1], key + (length - 8) / 2, 8);
        memcpy(&ends[2], key + length - 8, 8);
    } else {
        memcpy(&ends[0], key, length);
    }
    uint64_t mixed = (ends[0] ^ length) * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 32 ^ ends[1]) * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 32 ^ ends[2]) * 0x9e3779b97f4a7c15u;
    return mixed & ~(uint64_t)UINT32_MAX;
}

/* Inside. NULL: not in the map, as an empty key, or one that is too long. */
static inline rsl_registry_entry_ *rsl_registry_find_(const rsl_registry_state_ *s,
                                                      rsl_registry_shard_ *shard, const char *key)
{
    const char *end = (const char *)memchr(key, '\0', RSL_REGISTRY_KEY_MAX_ + 1);
    if (end == NULL) return NULL;
    uint64_t hash = rsl_registry_hint_(key, (size_t)(end - key));
    rsl_word_ *hint = &shard->hints[(hash >> 32) % RSL_REGISTRY_HINTS_];
    uint64_t hinted = rsl_load_relaxed_(hint); /* relaxed: it is only a guess */
    if (RSL_LIKELY_((hinted ^ hash) >> 32 == 0 && (uint32_t)hinted != 0)) {
        rsl_registry_entry_ *entry = rsl_registry_at_(s, (uint32_t)hinted - 1);
        if (entry->key != NULL && strcmp(entry->key, key) == 0) return entry;
    }
    uint32_t index;
    if (!rsl_map_get_(&s->map, key, &index)) return NULL;
    rsl_store_relaxed_(hint, hash | (index + 1));
    return rsl_registry_at_(s, index);
}

int rsl_registry_acquire(rsl_registry *registry, const char *key, void **object)
{
    if (registry == NULL || registry->state_ == NULL || key == NULL || object == NULL)
        return RSL_EINVAL;
    rsl_registry_state_ *s = registry->state_;
    rsl_registry_shard_ *shard = rsl_registry_shard_of_(s);
    if (RSL_LIKELY_(rsl_registry_enter_(s, shard))) {
        rsl_registry_entry_ *entry = rsl_registry_find_(s, shard, key);
        if (entry != NULL && !rsl_registry_hold_(entry)) entry = NULL;
        if (RSL_LIKELY_(entry != NULL)) rsl_registry_touch_(s, entry);
        rsl_registry_leave_(s, shard);
        if (RSL_LIKELY_(entry != NULL)) {
            /* relaxed: a count, and but for the common shard no other thread's */
            if (RSL_LIKELY_(shard != &s->shards[RSL_REGISTRY_SHARDS_]))
                rsl_store_relaxed_(&shard->found, rsl_load_relaxed_(&shard->found) + 1);
            else rsl_add_relaxed_(&shard->found, 1);
            *object = rsl_registry_object_(entry);
            return RSL_OK;
        }
    }
    return rsl_registry_acquire_slowly_(s, key, object);
}

/* NULL: no object of this registry. Reads only what is constant. */
static rsl_registry_entry_ *rsl_registry_entry_of_(const rsl_registry_state_ *s,
                                                   const void *object)
{
    uint32_t extent = (uint32_t)rsl_load_(&s->extent); /* acquire: the chunks are there */
    size_t count = (size_t)1 << s->first;
    for (size_t start = 0, chunk = 0; start < extent; start += count, count *= 2, chunk++) {
        uintptr_t offset = (uintptr_t)object - (uintptr_t)s->chunk[chunk];
        if (offset >= count * s->stride) continue;
        if (offset % s->stride != RSL_REGISTRY_HEAD_) return NULL;
        return (rsl_registry_entry_ *)(void *)(s->chunk[chunk] + offset - RSL_REGISTRY_HEAD_);
    }
    return NULL;
}

int rsl_registry_release(rsl_registry *registry, void *object)
{
    if (registry == NULL || registry->state_ == NULL || object == NULL) return RSL_EINVAL;
    rsl_registry_entry_ *entry = rsl_registry_entry_of_(registry->state_, object);
    if (entry == NULL) return RSL_EINVAL;
    uint64_t hold = rsl_load_relaxed_(&entry->hold);
    do { /* the release: what was done with the object comes before its end */
        if ((hold & rsl_registry_shut_) != 0 || (hold & rsl_registry_holders_) == 0)
            return RSL_EINVAL;
    } while (!rsl_cas_(&entry->hold, &hold, hold - 1));
    return RSL_OK;
}

int rsl_registry_visit(rsl_registry *registry,
                       int (*visit)(const char *key, void *object, void *arg), void *arg)
{
    if (registry == NULL || registry->state_ == NULL || visit == NULL) return RSL_EINVAL;
    rsl_registry_state_ *s = registry->state_;
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < (uint32_t)rsl_load_(&s->extent); i++) {
        rsl_registry_entry_ *entry = rsl_registry_at_(s, i);
        rsl_lock_take_(&s->lock);
        bool held = entry->state == RSL_REGISTRY_READY_ && rsl_registry_hold_(entry);
        rsl_lock_drop_(&s->lock);
        if (!held) continue;
        result = visit(entry->key, rsl_registry_object_(entry), arg);
        rsl_registry_unhold_(entry);
    }
    return result;
}

void rsl_registry_stats_get(rsl_registry *registry, rsl_registry_stats *stats)
{
    if (stats == NULL) return;
    memset(stats, 0, sizeof *stats);
    if (registry == NULL || registry->state_ == NULL) return;
    rsl_registry_state_ *s = registry->state_;
    rsl_lock_take_(&s->lock);
    stats->count = s->ready;
    stats->found = s->found;
    stats->made = s->made;
    stats->evicted = s->evicted;
    stats->refused = s->refused;
    uint32_t extent = (uint32_t)rsl_load_relaxed_(&s->extent); /* relaxed: written under lock */
    for (uint32_t i = 0; i < extent; i++) {
        const rsl_registry_entry_ *entry = rsl_registry_at_(s, i);
        uint64_t holders = rsl_load_relaxed_(&entry->hold) & rsl_registry_holders_;
        stats->held += entry->state == RSL_REGISTRY_READY_ && holders > 0;
    }
    for (uint32_t i = 0; i <= RSL_REGISTRY_SHARDS_; i++)
        stats->found += rsl_load_relaxed_(&s->shards[i].found);
    rsl_lock_drop_(&s->lock);
}
#endif /* RSL_NO_MAP_ */

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
