/* retry.h -- calls a function again when it fails: exponential backoff with jitter, a deadline
   that clips everything, and a shared budget that stops retry storms.

       #define RSL_RETRY_IMPLEMENTATION            in one C file of the program
       #include "retry.h"

       static int fetch(const rsl_ctx *ctx, void *arg) { ... return 0 on success ... }

       rsl_retry retry;
       rsl_retry_config config = {.attempts_max = 5, .delay_first = RSL_MS(50)};
       rsl_retry_init(&retry, &config);
       rsl_ctx ctx = rsl_within(RSL_SEC(2));       at most two seconds for all of it
       int rc = rsl_retry_call(&retry, &ctx, fetch, &page);
       rsl_retry_deinit(&retry);

   How one failure is judged, in this order; the first "no" gives the failure up:

       failed -> retryable? -> budget? -> attempts left? -> time left? -> wait -> next attempt
                    no           no            no              no
                 rejected      denied      exhausted       exhausted

   The wait after attempt n is d = delay_first x multiplier^(n-1), at most delay_max, jittered, and
   never shorter than the server asked for (delay_hint).

   Options, to be defined before the implementation: RSL_STATIC (private copies), RSL_NO_THREADS,
   RSL_MALLOC with RSL_FREE (this module allocates nothing), RSL_ASSERT. Link with -pthread. */
#ifndef RSL_RETRY_H
#define RSL_RETRY_H

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

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of the capped delay d of an attempt. DEFAULT and FULL: uniform in [0, d]. EQUAL:
   d/2 + uniform in [0, d/2]. DECORRELATED: uniform between delay_first and 3 x the previous wait,
   at most delay_max, the first "previous" being delay_first. NONE: d.
   (AWS Architecture Blog, "Exponential Backoff and Jitter".) */
typedef enum rsl_retry_jitter {
    RSL_JITTER_DEFAULT,
    RSL_JITTER_FULL,
    RSL_JITTER_EQUAL,
    RSL_JITTER_DECORRELATED,
    RSL_JITTER_NONE
} rsl_retry_jitter;

typedef struct rsl_retry rsl_retry;
typedef struct rsl_retry_budget rsl_retry_budget;

/* Zero means the default in brackets. Callbacks run without any lock, in the thread of the
   call. */
typedef struct rsl_retry_config {
    const char *name;           /* source of events; must outlive the object (none) */
    uint32_t    attempts_max;   /* all tries, the first included; RSL_UNLIMITED (3) */
    rsl_time    delay_first;    /* before the second attempt; RSL_NONE: no wait (100 ms, or
                                   delay_max if that is less) */
    rsl_time    delay_max;      /* >= delay_first (10 s, or delay_first if that is more) */
    double      multiplier;     /* growth per attempt, >= 1 (2.0) */
    rsl_retry_jitter jitter;    /* (full) */
    rsl_time    elapsed_max;    /* no new attempt starts after this much time; judged when its wait
                                   begins (RSL_FOREVER) */
    bool      (*retryable)(int result, void *user); /* (every non-zero result of the call) */
    bool        retry_refusals; /* refusals of inner layers are repeated too; an inner timeout
                                   always is (false) */
    rsl_time  (*delay_hint)(int result, void *user); /* the server's wish, as Retry-After: waited
                                   at least that long, beyond delay_max too; < 0: none (none) */
    void       *user;           /* given to the two above */
    rsl_retry_budget *budget;   /* shared token budget; must outlive the object (none) */
    rsl_clock    clock;         /* both functions or none (real) */
    rsl_random   random;        /* (a generator of the object's own) */
    rsl_observer observer;      /* told of enum rsl_retry_event (none) */
} rsl_retry_config;

typedef enum rsl_retry_event {
    RSL_RETRY_SCHEDULED = 1, /* value: the wait in ns; status: the failure */
    RSL_RETRY_RECOVERED,     /* success after a retry; value: attempts */
    RSL_RETRY_EXHAUSTED,     /* given up for attempts, time or cancel; value: attempts */
    RSL_RETRY_DENIED,        /* given up for the budget; value: attempts */
    RSL_RETRY_REJECTED       /* not retryable; value: attempts */
} rsl_retry_event;

/* A value object: must not move between init and deinit. Shared by any number of threads. */
struct rsl_retry {
    bool     plain_;  /* constant after init: a first attempt needs no clock */
    rsl_retry_config config_; /* resolved; constant after init; attempts_max 0: not initialised */
    rsl_word_ random_; /* atomic: state of the own generator */
    rsl_word_ events_; /* atomic: events told so far */
};

/* NULL when init would take the config, else the field and the reason, as "multiplier: must be at
   least 1"; the text is static. NULL config: all defaults, fine. Pure. */
RSL_API const char *rsl_retry_config_check(const rsl_retry_config *config);

/* The values in force: each zero replaced by its default, each RSL_NONE by zero. NULL gives all
   defaults. Pure; it does not check. */
RSL_API rsl_retry_config rsl_retry_config_resolve(const rsl_retry_config *config);

/* Makes a retry. The config is copied; what it points to stays the caller's. NULL config: all
   defaults. RSL_EINVAL: retry is NULL or the config is wrong (rsl_retry_config_check says how);
   the object is then unusable but safe to deinit. Allocates nothing; does not block. */
RSL_API int rsl_retry_init(rsl_retry *retry, const rsl_retry_config *config);

/* Ends it; no call may be under way. NULL is passed over. */
RSL_API void rsl_retry_deinit(rsl_retry *retry);

/* Calls fn(ctx, arg) until it returns 0, a failure is given up, or the ctx is spent; sleeps
   between attempts. fn gets a copy of ctx that names the attempt. Returns the last attempt's own
   result, also when a backoff was cut short by deadline or cancel; RSL_ETIMEOUT or RSL_ECANCELED
   when the ctx was spent before the first attempt; RSL_EINVAL when retry or fn is NULL or retry is
   not initialised. ctx NULL: no limits. Time, that of the deadline
   too, is that of ctx->clock, else of config.clock.
   Cancelling wakes the sleep at once. From any thread; errno is as the last attempt left it. A
   success at the first attempt costs the call, some loads, and no clock. */
RSL_API int rsl_retry_call(rsl_retry *retry, const rsl_ctx *ctx, rsl_fn fn, void *arg);

/* The same as a layer of a policy (resilience.h): it repeats what stands inside it. A refusal of
   an inner layer is passed on, unless config.retry_refusals or an inner timeout made it. The retry
   must outlive the layer's use; NULL or not initialised: the layer refuses with RSL_EINVAL. */
RSL_API rsl_layer rsl_retry_layer(rsl_retry *retry);

/* The stepper: the same judgement as pure computation, for loops of one's own. Plain data. */
typedef struct rsl_retry_state {
    uint32_t attempt;    /* the attempt under way, from 1 */
    rsl_time started;    /* of the first attempt */
    rsl_time delay_last; /* the latest backoff, without the server's wish */
} rsl_retry_state;

/* Starts a state: attempt 1, at `now`. NULL state is passed over. */
RSL_API void rsl_retry_begin(const rsl_retry *retry, rsl_retry_state *state, rsl_time now);

/* Judges the result of the attempt under way. True: wait *delay nanoseconds, then make the attempt
   that state->attempt now names. False: done, *delay is untouched; a success, or a failure given
   up. A wait that would reach the ctx's deadline is not begun, nor any under a cancelled ctx
   (NULL: no limits). `now` is on the clock of begin and of the deadline. NULL retry, state or
   delay, or retry not initialised: false. From any thread, one per state; never blocks. */
RSL_API bool rsl_retry_next(rsl_retry *retry, rsl_retry_state *state, const rsl_ctx *ctx,
                            int result, rsl_time now, rsl_time *delay);

/* A token budget, shared by any number of retries: each failure takes tokens, each success gives
   some back, and there is no retry at half the tokens or fewer. So retries add a bounded share to
   the load of a service that is down. (gRPC, proposal A6, "Throttling Retry Attempts".) */
typedef struct rsl_retry_budget_config {
    double tokens_max;         /* full, and at the start; 1e-9..1e9 (10) */
    double tokens_per_success; /* 1e-9..1e9; RSL_NONE: none (0.1) */
    double tokens_per_failure; /* 1e-9..1e9; RSL_NONE: none (1) */
} rsl_retry_budget_config;

/* A value object. The tokens are whole multiples of 1e-9 in one word, so every charge is exact. */
struct rsl_retry_budget {
    rsl_word_ tokens_; /* atomic; 0..max_ */
    uint64_t max_, per_success_, per_failure_; /* constant after init; max_ 0: not initialised */
};

/* As rsl_retry_config_check and rsl_retry_config_resolve, for a budget. */
RSL_API const char *rsl_retry_budget_config_check(const rsl_retry_budget_config *config);
RSL_API rsl_retry_budget_config
rsl_retry_budget_config_resolve(const rsl_retry_budget_config *config);

/* Makes a full budget. NULL config: all defaults. RSL_EINVAL: budget is NULL, or the config is
   wrong; the budget then denies every retry. There is nothing to deinit. */
RSL_API int rsl_retry_budget_init(rsl_retry_budget *budget, const rsl_retry_budget_config *config);

/* Charges a failure, then says whether it may be retried: more than half the tokens are left. One
   atomic step: no two failures are let through on one token. NULL: false. From any thread;
   lock-free. */
RSL_API bool rsl_retry_budget_fail(rsl_retry_budget *budget);

/* Gives back for a success. A full budget is only read. NULL is passed over. From any thread;
   lock-free. */
RSL_API void rsl_retry_budget_succeed(rsl_retry_budget *budget);

/* The test alone: are more than half the tokens left? NULL: false. From any thread; one load. */
RSL_API bool rsl_retry_budget_has(const rsl_retry_budget *budget);

#ifdef __cplusplus
}
#endif
#endif /* RSL_RETRY_H */

/* ---------------------------------------------------------------- implementation */
#if (defined RSL_RETRY_IMPLEMENTATION || defined RSL_IMPLEMENTATION || defined RSL_STATIC) && \
    !defined RSL_RETRY_IMPLEMENTED_
#define RSL_RETRY_IMPLEMENTED_

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

/* ---- the budget: tokens_ is the only shared word, and each change of it is one compare-and-swap
   from a value that was tested, so charge and test cannot be torn apart. Relaxed order would do,
   for the word guards no other memory; rsl_cas_ is stronger and costs the same here. ---- */

static uint64_t rsl_retry_budget_units_(double tokens)
{
    return tokens > 0 ? (uint64_t)(tokens * 1e9 + 0.5) : 0;
}

const char *rsl_retry_budget_config_check(const rsl_retry_budget_config *config)
{
    rsl_retry_budget_config c = rsl_retry_budget_config_resolve(config);
    if (!rsl_rate_ok_(c.tokens_max, 1e-9, 1e9)) return "tokens_max: must lie in 1e-9..1e9";
    if (c.tokens_per_success != 0 && !rsl_rate_ok_(c.tokens_per_success, 1e-9, 1e9))
        return "tokens_per_success: must be 0 or lie in 1e-9..1e9";
    if (c.tokens_per_failure != 0 && !rsl_rate_ok_(c.tokens_per_failure, 1e-9, 1e9))
        return "tokens_per_failure: must be 0 or lie in 1e-9..1e9";
    return NULL;
}

rsl_retry_budget_config rsl_retry_budget_config_resolve(const rsl_retry_budget_config *config)
{
    rsl_retry_budget_config c = {0, 0, 0};
    if (config != NULL) c = *config;
    c.tokens_max = rsl_default_(c.tokens_max, 10);
    c.tokens_per_success = rsl_default_(c.tokens_per_success, 0.1);
    c.tokens_per_failure = rsl_default_(c.tokens_per_failure, 1);
    return c;
}

int rsl_retry_budget_init(rsl_retry_budget *budget, const rsl_retry_budget_config *config)
{
    if (budget == NULL) return RSL_EINVAL;
    memset(budget, 0, sizeof *budget);
    if (rsl_retry_budget_config_check(config) != NULL) return RSL_EINVAL;
    rsl_retry_budget_config c = rsl_retry_budget_config_resolve(config);
    budget->max_ = rsl_retry_budget_units_(c.tokens_max);
    budget->per_success_ = rsl_retry_budget_units_(c.tokens_per_success);
    budget->per_failure_ = rsl_retry_budget_units_(c.tokens_per_failure);
    rsl_store_(&budget->tokens_, budget->max_);
    return RSL_OK;
}

bool rsl_retry_budget_fail(rsl_retry_budget *budget)
{
    if (budget == NULL) return false;
    uint64_t before = rsl_load_(&budget->tokens_), after;
    do {
        after = before > budget->per_failure_ ? before - budget->per_failure_ : 0;
    } while (!rsl_cas_(&budget->tokens_, &before, after));
    return after > budget->max_ - after; /* twice the rest is more than all of it */
}

/* Has a success anything to give back? Relaxed: full a moment ago is as good. */
static inline bool rsl_retry_budget_is_short_(const rsl_retry_budget *budget)
{
    return budget != NULL && rsl_load_relaxed_(&budget->tokens_) != budget->max_;
}

void rsl_retry_budget_succeed(rsl_retry_budget *budget)
{
    if (budget == NULL) return;
    uint64_t before = rsl_load_(&budget->tokens_), after;
    do {
        if (before == budget->max_) return;
        uint64_t room = budget->max_ - before;
        after = before + (budget->per_success_ < room ? budget->per_success_ : room);
    } while (!rsl_cas_(&budget->tokens_, &before, after));
}

bool rsl_retry_budget_has(const rsl_retry_budget *budget)
{
    if (budget == NULL) return false;
    uint64_t tokens = rsl_load_(&budget->tokens_);
    return tokens > budget->max_ - tokens;
}

/* ---- config ---- */

const char *rsl_retry_config_check(const rsl_retry_config *config)
{
    if (config == NULL) return NULL;
    rsl_retry_config c = rsl_retry_config_resolve(config);
    if (config->delay_first < 0 && config->delay_first != RSL_NONE)
        return "delay_first: must not be negative";
    if (config->delay_max < 0) return "delay_max: must not be negative";
    if (c.delay_max < c.delay_first) return "delay_max: must not be less than delay_first";
    if (!rsl_growth_ok_(c.multiplier)) return "multiplier: must be at least 1 and finite";
    if ((int)c.jitter < (int)RSL_JITTER_DEFAULT || (int)c.jitter > (int)RSL_JITTER_NONE)
        return "jitter: must be one of enum rsl_retry_jitter";
    if (config->elapsed_max < 0) return "elapsed_max: must not be negative";
    if (c.budget != NULL && c.budget->max_ == 0) return "budget: must be initialised";
    return rsl_clock_check_(&c.clock, true);
}

rsl_retry_config rsl_retry_config_resolve(const rsl_retry_config *config)
{
    rsl_retry_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *config;
    if (c.attempts_max == 0) c.attempts_max = 3;
    if (c.delay_first == 0) {
        c.delay_first = RSL_MS(100);
        if (c.delay_max > 0 && c.delay_max < c.delay_first) c.delay_first = c.delay_max;
    }
    if (c.delay_first == RSL_NONE) c.delay_first = 0;
    if (c.delay_max == 0) c.delay_max = c.delay_first > RSL_SEC(10) ? c.delay_first : RSL_SEC(10);
    c.multiplier = rsl_default_(c.multiplier, 2);
    if (c.jitter == RSL_JITTER_DEFAULT) c.jitter = RSL_JITTER_FULL;
    if (c.elapsed_max == 0) c.elapsed_max = RSL_FOREVER;
    return c;
}

int rsl_retry_init(rsl_retry *retry, const rsl_retry_config *config)
{
    if (retry == NULL) return RSL_EINVAL;
    memset(retry, 0, sizeof *retry);
    if (rsl_retry_config_check(config) != NULL) return RSL_EINVAL;
    retry->config_ = rsl_retry_config_resolve(config);
    retry->plain_ = rsl_clock_is_real_(&retry->config_.clock) &&
                    retry->config_.elapsed_max == RSL_FOREVER;
    return RSL_OK;
}

void rsl_retry_deinit(rsl_retry *retry)
{
    if (retry != NULL) memset(retry, 0, sizeof *retry);
}

/* ---- the judgement ---- */

static bool rsl_retry_is_dead_(const rsl_retry *retry)
{
    return retry == NULL || retry->config_.attempts_max == 0;
}

static const char *rsl_retry_event_name_(rsl_retry_event kind)
{
    switch (kind) {
    case RSL_RETRY_SCHEDULED: return "scheduled";
    case RSL_RETRY_RECOVERED: return "recovered";
    case RSL_RETRY_EXHAUSTED: return "exhausted";
    case RSL_RETRY_DENIED:    return "denied";
    default:                  return "rejected";
    }
}

static void rsl_retry_tell_(rsl_retry *retry, rsl_retry_event kind, int status, rsl_time at,
                            int64_t value)
{
    if (retry->config_.observer.on_event == NULL) return;
    rsl_event event = {retry->config_.name, rsl_retry_event_name_(kind), (int)kind, status,
                       0, at, value};
    event.number = rsl_add_relaxed_(&retry->events_, 1) + 1; /* relaxed: it numbers, no more */
    rsl_emit_(&retry->config_.observer, &event);
}

/* The backoff after attempt `attempt`, jittered, without the server's wish. */
static rsl_time rsl_retry_backoff_(rsl_retry *retry, const rsl_retry_state *state)
{
    const rsl_retry_config *c = &retry->config_;
    uint32_t power = state->attempt > 0 ? state->attempt - 1 : 0;
    if (c->jitter == RSL_JITTER_NONE)
        return rsl_time_grow_(c->delay_first, c->multiplier, power, c->delay_max);

    double drawn = rsl_random_draw_(&c->random, &retry->random_);
    if (c->jitter == RSL_JITTER_DECORRELATED) {
        rsl_time last = state->attempt > 1 ? state->delay_last : c->delay_first;
        double low = (double)c->delay_first, high = 3 * (double)last;
        return rsl_time_from_(low + drawn * (high > low ? high - low : 0), c->delay_max);
    }
    rsl_time whole = rsl_time_grow_(c->delay_first, c->multiplier, power, c->delay_max);
    if (c->jitter == RSL_JITTER_EQUAL) {
        rsl_time half = whole / 2;
        return half + rsl_time_from_(drawn * (double)(whole - half), whole - half);
    }
    return rsl_time_from_(drawn * (double)whole, whole);
}

static rsl_time rsl_retry_hinted_(const rsl_retry *retry, int result, rsl_time backoff)
{
    if (retry->config_.delay_hint == NULL) return backoff;
    int saved = errno;
    rsl_time hint = retry->config_.delay_hint(result, retry->config_.user);
    errno = saved;
    return hint > backoff ? hint : backoff;
}

/* May a wait of `delay` begin now, and an attempt follow it? */
static bool rsl_retry_has_time_(const rsl_retry *retry, const rsl_retry_state *state,
                                const rsl_ctx *ctx, rsl_time now, rsl_time delay)
{
    rsl_time next = rsl_time_add_(now, delay);
    if (retry->config_.elapsed_max != RSL_FOREVER &&
        next > rsl_time_add_(state->started, retry->config_.elapsed_max)) return false;
    return !rsl_ctx_is_late_(ctx, next) && !rsl_cancel_fired(ctx->cancel);
}

/* Judges a failure. ask: it is the call's own, so `retryable` has a say. */
static bool rsl_retry_judge_(rsl_retry *retry, rsl_retry_state *state, const rsl_ctx *ctx,
                             int result, bool ask, rsl_time now, rsl_time *delay)
{
    const rsl_retry_config *c = &retry->config_;
    if (ask && c->retryable != NULL) {
        int saved = errno;
        bool retryable = c->retryable(result, c->user);
        errno = saved;
        if (!retryable) {
            rsl_retry_tell_(retry, RSL_RETRY_REJECTED, result, now, state->attempt);
            return false;
        }
    }
    if (c->budget != NULL && !rsl_retry_budget_fail(c->budget)) {
        rsl_retry_tell_(retry, RSL_RETRY_DENIED, result, now, state->attempt);
        return false;
    }
    bool left = c->attempts_max == RSL_UNLIMITED || state->attempt < c->attempts_max;
    rsl_time backoff = left ? rsl_retry_backoff_(retry, state) : 0;
    rsl_time wait = left ? rsl_retry_hinted_(retry, result, backoff) : 0;
    if (!left || !rsl_retry_has_time_(retry, state, ctx, now, wait)) {
        rsl_retry_tell_(retry, RSL_RETRY_EXHAUSTED, result, now, state->attempt);
        return false;
    }
    if (state->attempt < UINT32_MAX) state->attempt++;
    state->delay_last = backoff;
    *delay = wait;
    rsl_retry_tell_(retry, RSL_RETRY_SCHEDULED, result, now, wait);
    return true;
}

/* now is looked at only when attempt > 1. */
static inline void rsl_retry_succeed_(rsl_retry *retry, uint32_t attempt, rsl_time now)
{
    if (retry->config_.budget != NULL) rsl_retry_budget_succeed(retry->config_.budget);
    if (attempt > 1) rsl_retry_tell_(retry, RSL_RETRY_RECOVERED, 0, now, attempt);
}

void rsl_retry_begin(const rsl_retry *retry, rsl_retry_state *state, rsl_time now)
{
    (void)retry;
    if (state == NULL) return;
    state->attempt = 1;
    state->started = now;
    state->delay_last = 0;
}

bool rsl_retry_next(rsl_retry *retry, rsl_retry_state *state, const rsl_ctx *ctx, int result,
                    rsl_time now, rsl_time *delay)
{
    if (rsl_retry_is_dead_(retry) || state == NULL || delay == NULL) return false;
    if (result == 0) {
        rsl_retry_succeed_(retry, state->attempt, now);
        return false;
    }
    return rsl_retry_judge_(retry, state, rsl_ctx_or_unlimited_(ctx), result, true, now, delay);
}

/* ---- the call ---- */

/* After a first attempt that failed: judge, sleep, repeat. */
static int rsl_retry_repeat_(rsl_retry *retry, rsl_ctx *ctx, rsl_retry_state *state, rsl_fn fn,
                             void *arg, int result)
{
    rsl_time delay, now = rsl_clock_now_(ctx->clock);
    while (rsl_retry_judge_(retry, state, ctx, result, true, now, &delay)) {
        rsl_time until = rsl_time_add_(now, delay);
        rsl_word_ park = 0;
        bool spent = rsl_ctx_spent_(ctx, ctx->clock) != RSL_OK;
        while (!spent && rsl_clock_now_(ctx->clock) < until) {
            rsl_ctx_sleep_(ctx, ctx->clock, &park, until);
            spent = rsl_ctx_spent_(ctx, ctx->clock) != RSL_OK;
        }
        if (spent) {
            now = rsl_clock_now_(ctx->clock);
            rsl_retry_tell_(retry, RSL_RETRY_EXHAUSTED, result, now, state->attempt - 1);
            return result;
        }
        ctx->attempt = state->attempt;
        result = fn(ctx, arg);
        if (result == 0) {
            rsl_retry_succeed_(retry, state->attempt, rsl_clock_now_(ctx->clock));
            return 0;
        }
        now = rsl_clock_now_(ctx->clock);
    }
    return result;
}

/* The first attempt under limits, or on an injected clock, and all that follows it. */
RSL_NOINLINE_ int rsl_retry_call_limited_(rsl_retry *retry, const rsl_ctx *ctx, rsl_fn fn,
                                          void *arg)
{
    if (rsl_retry_is_dead_(retry)) return RSL_EINVAL;
    rsl_ctx inner = *rsl_ctx_or_unlimited_(ctx);
    inner.clock = rsl_clock_pick_(&inner, &retry->config_.clock);
    inner.attempt = 1;
    int result = rsl_ctx_spent_(&inner, inner.clock);
    if (result != RSL_OK) return result;

    rsl_retry_state state;
    bool timed = retry->config_.elapsed_max != RSL_FOREVER; /* else nobody asks when it began */
    rsl_retry_begin(retry, &state, timed ? rsl_clock_now_(inner.clock) : 0);
    result = fn(&inner, arg);
    if (result != 0) return rsl_retry_repeat_(retry, &inner, &state, fn, arg, result);
    rsl_retry_succeed_(retry, 1, 0);
    return 0;
}

/* What follows a first attempt without limits that failed. */
RSL_NOINLINE_ int rsl_retry_call_failed_(rsl_retry *retry, rsl_fn fn, void *arg, int result)
{
    rsl_ctx inner = rsl_ctx_unlimited_;
    rsl_retry_state state = {1, 0, 0}; /* plain_: nobody asks when it began */
    return rsl_retry_repeat_(retry, &inner, &state, fn, arg, result);
}

int rsl_retry_call(rsl_retry *retry, const rsl_ctx *ctx, rsl_fn fn, void *arg)
{
    static const rsl_ctx first = {0, NULL, NULL, 1, 0};
    if (retry == NULL || fn == NULL) return RSL_EINVAL;
    if (RSL_UNLIKELY_(ctx != NULL || !retry->plain_))
        return rsl_retry_call_limited_(retry, ctx, fn, arg);
    int result = fn(&first, arg);
    if (RSL_UNLIKELY_(result != 0)) return rsl_retry_call_failed_(retry, fn, arg, result);
    if (RSL_UNLIKELY_(rsl_retry_budget_is_short_(retry->config_.budget)))
        rsl_retry_budget_succeed(retry->config_.budget);
    return 0;
}

/* ---- the layer. Slot: attempt and the attempt outside | started | delay_last ---- */

static void rsl_retry_pack_(rsl_slot *slot, const rsl_retry_state *state, uint32_t outside)
{
    slot->word[0] = (uint64_t)outside << 32 | state->attempt;
    slot->word[1] = (uint64_t)state->started;
    slot->word[2] = (uint64_t)state->delay_last;
}

static int rsl_retry_enter_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_retry *retry = (rsl_retry *)self;
    if (rsl_retry_is_dead_(retry)) return RSL_EINVAL;
    rsl_retry_state state = {1, e->now, 0};
    rsl_retry_pack_(slot, &state, e->ctx.attempt);
    e->ctx.attempt = 1;
    rsl_execution_timeless_(e);
    return RSL_OK;
}

static void rsl_retry_abandon_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_retry *retry = (rsl_retry *)self;
    uint32_t attempt = (uint32_t)slot->word[0];
    if (e->private_.wait_cut) /* in a backoff: the attempt that the slot names was not made */
        rsl_retry_tell_(retry, RSL_RETRY_EXHAUSTED, e->result, e->now, attempt - 1);
    e->ctx.attempt = (uint32_t)(slot->word[0] >> 32);
}

/* True when the failure is to be repeated: e->wake_at and the attempt are set. */
static bool rsl_retry_leave_failed_(rsl_retry *retry, rsl_execution *e, rsl_slot *slot)
{
    bool timed_out = e->private_.timed_out;
    if (e->refused && !timed_out && !retry->config_.retry_refusals) return false;
    rsl_retry_state state = {(uint32_t)slot->word[0], (rsl_time)slot->word[1],
                             (rsl_time)slot->word[2]};
    rsl_time delay, now = rsl_execution_now_(e);
    bool ask = !e->refused && !timed_out;
    if (!rsl_retry_judge_(retry, &state, &e->ctx, e->result, ask, now, &delay)) return false;
    rsl_retry_pack_(slot, &state, (uint32_t)(slot->word[0] >> 32));
    e->ctx.attempt = state.attempt;
    e->wake_at = rsl_time_add_(now, delay);
    return true;
}

RSL_NOINLINE_ int rsl_retry_leave_any_(rsl_retry *retry, rsl_execution *e, rsl_slot *slot)
{
    if (e->result != 0) {
        if (rsl_retry_leave_failed_(retry, e, slot)) return RSL_AGAIN;
    } else if (!e->refused) {
        uint32_t attempt = (uint32_t)slot->word[0];
        rsl_retry_succeed_(retry, attempt, attempt > 1 ? rsl_execution_now_(e) : 0);
    }
    e->ctx.attempt = (uint32_t)(slot->word[0] >> 32);
    return RSL_DONE;
}

static int rsl_retry_leave_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_retry *retry = (rsl_retry *)self;
    bool first = e->result == 0 && (uint32_t)slot->word[0] == 1;
    if (RSL_UNLIKELY_(!first || rsl_retry_budget_is_short_(retry->config_.budget)))
        return rsl_retry_leave_any_(retry, e, slot);
    e->ctx.attempt = (uint32_t)(slot->word[0] >> 32);
    return RSL_DONE;
}

rsl_layer rsl_retry_layer(rsl_retry *retry)
{
    static const rsl_layer_type type = {"retry", rsl_retry_enter_, rsl_retry_leave_,
                                        rsl_retry_abandon_};
    rsl_layer layer = {&type, retry};
    return layer;
}

#endif /* RSL_RETRY_IMPLEMENTATION */

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
