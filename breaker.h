/* breaker.h -- a circuit breaker: stops calling what is broken, probes it after a while, and lets
   the calls through again when it has healed.

       #define RSL_BREAKER_IMPLEMENTATION          in one C file of the program
       #include "breaker.h"

       rsl_breaker breaker;
       rsl_breaker_config config = {.window = RSL_WINDOW_COUNT, .failure_rate = 0.5};
       rsl_breaker_init(&breaker, &config);

       int rc = rsl_breaker_call(&breaker, &ctx, query, &args);     RSL_EOPEN: not even tried

       rsl_breaker_permit permit;                                   or, where a call has two ends
       if (rsl_breaker_allow(&breaker, &permit) == RSL_OK)
           rsl_breaker_report(&breaker, &permit, query(&ctx, &args));

   The states:

                  too many failures, or slow calls            open_for is over
         CLOSED ------------------------------------> OPEN -------------------> HALF_OPEN
           ^  ^                                        ^                          |    |
           |  |                                        |  too many probes failed  |    |
           |  |                                        +--------------------------+    |
           |  +------------------------------------------------------------------------+
           |                         probes_needed probes succeeded
           +--- rsl_breaker_force ---> FORCED_OPEN, DISABLED, METRICS_ONLY

   What opens it, by config.window: so many failures in a row; or the rate of failures, or of slow
   calls, among the last window_calls calls or those of the last window_span. A call that is out
   for longer than slow_after counts before it returns: calls that hang open the circuit as well.

   Invariant: each change of state, and each emptying of the window, makes a new generation, and a
   permit carries the generation that gave it; its report counts in that generation or not at all.
   So a late, doubled or lost report changes nothing, and one generation's results never count in
   the next.

   Options, to be defined before the implementation: RSL_STATIC (private copies), RSL_NO_THREADS,
   RSL_MALLOC with RSL_FREE (used by init, deinit and reconfigure only), RSL_ASSERT. Link with
   -pthread. */
#ifndef RSL_BREAKER_H
#define RSL_BREAKER_H

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

typedef enum rsl_breaker_state {
    RSL_BREAKER_CLOSED,
    RSL_BREAKER_OPEN,
    RSL_BREAKER_HALF_OPEN,
    RSL_BREAKER_FORCED_OPEN, /* refuses all, until forced elsewhere */
    RSL_BREAKER_DISABLED,    /* allows all, watches nothing */
    RSL_BREAKER_METRICS_ONLY /* allows all, keeps the window and its rates, never opens */
} rsl_breaker_state;

typedef enum rsl_breaker_window {
    RSL_WINDOW_DEFAULT, /* consecutive */
    RSL_WINDOW_CONSECUTIVE,
    RSL_WINDOW_COUNT,
    RSL_WINDOW_TIME
} rsl_breaker_window;

typedef struct rsl_breaker rsl_breaker;

/* Zero means the default in brackets. Callbacks run without any lock, in the thread of the
   call. */
typedef struct rsl_breaker_config {
    const char *name;              /* source of events; must outlive the object (none) */
    rsl_breaker_window window;     /* what is counted (consecutive failures) */
    uint32_t    failures_max;      /* consecutive failures that open it (5) */
    uint32_t    window_calls;      /* size of a count window, 1..1000000 (100) */
    rsl_time    window_span;       /* length of a time window (10 s) */
    uint32_t    window_buckets;    /* its resolution, 1..1024 (10) */
    uint32_t    calls_min;         /* no rate before this many calls in the window; at most
                                      window_calls (10, or window_calls if that is less) */
    double      failure_rate;      /* opens at or above, above 0, at most 1 (0.5) */
    rsl_time    slow_after;        /* a call at or above this is slow; in a consecutive window it
                                      counts as a failure; at most 512 calls in flight are watched,
                                      272 of one thread (256 of an uncounted breaker that was not
                                      timed from the start); the rest when they return
                                      (RSL_FOREVER: not measured, no clock read for it) */
    double      slow_rate;         /* opens at or above, above 0, at most 1 (1.0) */
    rsl_time    open_for;          /* refusal before the first probe; RSL_NONE: none (30 s) */
    double      open_multiplier;   /* growth on each re-opening without a close between, >= 1
                                      (1.0) */
    rsl_time    open_max;          /* its cap, >= open_for (10 min, or open_for if that is more) */
    double      open_jitter;       /* +- share of the capped span, 0..1 (none) */
    uint32_t    probes_max;        /* calls let through half-open, 1..1024 (1) */
    uint32_t    probes_needed;     /* of those, successes that close it, slow ones not counted;
                                      more failures than probes_max - probes_needed re-open it
                                      (probes_max) */
    rsl_time    probe_for;         /* a probe not reported by then is lost and its permit given
                                      back; a slow call is watched as long as this (60 s) */
    bool        uncounted;         /* leave the totals and in_flight at 0, for the last nanoseconds
                                      (false) */
    bool      (*is_failure)(int result, void *user); /* (non-zero; RSL_ECANCELED is ignored) */
    bool      (*is_ignored)(int result, void *user); /* neither failure nor success; asked first
                                      (none) */
    void       *user;              /* given to the two above */
    rsl_clock    clock;            /* only `now` is used; must be that of the executions it is used
                                      in, if any (real: coarse, precise with slow_after) */
    rsl_random   random;           /* for open_jitter (a generator of the object's own) */
    rsl_observer observer;         /* told of enum rsl_breaker_event (none) */
} rsl_breaker_config;

typedef enum rsl_breaker_event {
    RSL_BREAKER_CHANGED = 1, /* value: the new rsl_breaker_state; name: its name; status: the
                                result that did it, or 0 */
    RSL_BREAKER_REFUSED,     /* a call was refused; status: RSL_EOPEN */
    RSL_BREAKER_PROBE_LOST   /* probes not reported in time; value: how many */
} rsl_breaker_event;

/* Leave to make one call. Plain data in the caller's memory, reported where it stands, not from a
   copy, by one thread at a time; it may be forgotten, but not freed while being reported. */
typedef struct rsl_breaker_permit {
    uint64_t generation; /* 0: none, or spent */
    rsl_time started;    /* when slow calls are measured, and of probes */
    uint64_t private_;   /* which place it has among the calls in flight, or the probes */
} rsl_breaker_permit;

typedef struct rsl_breaker_stats {
    rsl_breaker_state state;
    uint32_t calls, failures, slow; /* in the window, with the calls in flight that are slow;
                                       consecutive: failures is the streak, slow those in flight */
    uint32_t in_flight;             /* permits neither reported nor cancelled */
    double   failure_rate, slow_rate; /* -1 below calls_min, and for consecutive failures */
    uint64_t succeeded, failed, ignored, refused, opened; /* since init */
} rsl_breaker_stats;

/* A value object: must not move between init and deinit. Shared by any number of threads. */
struct rsl_breaker {
    rsl_word_ word_;         /* atomic: generation << 3 | code; changed under lock_; 0: dead */
    rsl_word_ mode_;         /* atomic, written under lock_: bits of enum rsl_breaker_mode_ */
    rsl_word_ unclean_;      /* atomic, written under lock_: 0: a success would change nothing;
                                failures in a row, or 1: a count window not full of successes */
    rsl_word_ refuse_until_; /* atomic, written under lock_: till then no permit can be had */
    rsl_word_ epoch_;        /* atomic, written under lock_: number of the bucket << 32 | index */
    rsl_word_ fast_until_;   /* atomic, written under lock_: till then successes only add up */
    rsl_word_ due_;          /* atomic, written under lock_: no call in flight turns slow before */
    rsl_word_ slow_after_;   /* atomic, written under lock_: config_.slow_after */
    rsl_word_ *position_;    /* -> atomic, on a line of its own: results put into the ring */
    rsl_word_ *ring_;        /* -> atomics, written under lock_: generation, slow, failure */
    uint64_t   ring_inverse_; /* for the remainder by window_calls; constant */
    rsl_word_ *buckets_;     /* -> atomics: successes per bucket of time, for each shard */
    struct rsl_breaker_shard_  *shards_;  /* totals, a thread's own; constant */
    struct rsl_breaker_flight_ *flights_; /* calls in flight, when they are timed; set once */
    struct rsl_breaker_bad_    *bad_;     /* failures, slow calls per bucket; guarded by lock_ */
    struct rsl_breaker_probe_  *probes_;  /* guarded by lock_ */
    rsl_breaker_config config_; /* resolved; numbers guarded by lock_, the rest constant */
    uint32_t calls_, failures_, slow_;              /* in the ring; guarded by lock_ */
    uint32_t probing_, probed_well_, probed_badly_; /* guarded by lock_ */
    uint32_t probes_room_;   /* entries in probes_; guarded by lock_ */
    uint32_t reopenings_;    /* openings since the last close; guarded by lock_ */
    uint32_t overdue_;       /* calls in flight slow at the last look; guarded by lock_ */
    uint32_t stride_;        /* words between the buckets of two shards; constant */
    rsl_time epoch_end_;     /* guarded by lock_ */
    uint64_t serial_;        /* of the latest probe; guarded by lock_ */
    uint64_t opened_;        /* guarded by lock_ */
    rsl_word_ events_;       /* atomic: events told so far */
    rsl_word_ random_;       /* atomic: state of the own generator */
    void     *memory_;       /* the block that holds what the pointers above point to */
    rsl_lock_ lock_;
};

/* NULL when init would take the config, else the field and the reason, as "failure_rate: must lie
   in 0..1"; the text is static. NULL config: all defaults, fine. Pure. */
RSL_API const char *rsl_breaker_config_check(const rsl_breaker_config *config);

/* The values in force: each zero replaced by its default, each RSL_NONE by zero. NULL gives all
   defaults. Pure; it does not check. */
RSL_API rsl_breaker_config rsl_breaker_config_resolve(const rsl_breaker_config *config);

/* Makes a closed breaker. The config is copied; what it points to stays the caller's. NULL config:
   all defaults. RSL_EINVAL: breaker is NULL or the config is wrong (rsl_breaker_config_check says
   how); RSL_ENOMEM; RSL_ESYS: no lock. After a failure the object is unusable but safe to deinit.
   Allocates, here and in reconfigure only: 8 bytes per call of a count window, 160 per bucket of a
   time window (rows of whole cache lines), 1.1 KB for totals, 8 KB for timing calls, 16 bytes per
   probe. */
RSL_API int rsl_breaker_init(rsl_breaker *breaker, const rsl_breaker_config *config);

/* Ends it and frees its memory; nobody may be using it any more. Permits still out may be
   forgotten but not reported. NULL is passed over. */
RSL_API void rsl_breaker_deinit(rsl_breaker *breaker);

/* Calls fn(ctx, arg) if the breaker allows, and reports its result. Returns that result; RSL_EOPEN
   when refused; RSL_ETIMEOUT or RSL_ECANCELED when the ctx was spent before; RSL_EINVAL when
   breaker or fn is NULL or breaker is not initialised. ctx NULL: no limits. Time is that of
   config.clock (of the deadline: of ctx->clock, if set). fn returns on the thread that it was
   called on. From any thread; never waits; errno is as
   fn left it. */
RSL_API int rsl_breaker_call(rsl_breaker *breaker, const rsl_ctx *ctx, rsl_fn fn, void *arg);

/* The same as a layer of a policy (resilience.h); time is then the execution's. Refusals of inner
   layers give the permit back and count nothing; a call stopped by an inner timeout is a failure.
   The breaker must outlive the layer's use; NULL or not initialised: it refuses with
   RSL_EINVAL. */
RSL_API rsl_layer rsl_breaker_layer(rsl_breaker *breaker);

/* Asks for leave to make one call. RSL_OK: *permit is to be reported or cancelled. RSL_EOPEN:
   refused, *permit is empty. RSL_EINVAL: NULL, or not initialised. From any thread. Lock-free
   while closed, and while refusing; a brief lock at the edges. */
RSL_API int rsl_breaker_allow(rsl_breaker *breaker, rsl_breaker_permit *permit);

/* Reports the result of an allowed call, once: RSL_EINVAL for a permit that is empty or was
   reported before, and for NULL. A permit of an earlier state is taken and changes nothing. From
   any thread, not only the one that was allowed. A success while closed takes no lock unless it
   changes what the window says; a failure takes one briefly. */
RSL_API int rsl_breaker_report(rsl_breaker *breaker, rsl_breaker_permit *permit, int result);

/* Gives a permit back: the call was not made. Counts nothing. Returns as rsl_breaker_report. */
RSL_API int rsl_breaker_cancel(rsl_breaker *breaker, rsl_breaker_permit *permit);

/* The state now: an open breaker whose time is over is half-open. NULL or not initialised:
   RSL_BREAKER_CLOSED. From any thread; lock-free unless the state is about to change. */
RSL_API rsl_breaker_state rsl_breaker_state_get(rsl_breaker *breaker);

/* Writes a snapshot; totals are exact once no call is under way. NULL breaker, or not initialised:
   *stats is zeroed. NULL stats is passed over. From any thread; a brief lock. */
RSL_API void rsl_breaker_stats_get(rsl_breaker *breaker, rsl_breaker_stats *stats);

/* Puts it into FORCED_OPEN, DISABLED or METRICS_ONLY, or back to work: CLOSED, with an empty
   window, or OPEN, for open_for from now. Permits that are out change nothing any more.
   RSL_EINVAL: HALF_OPEN or no state, NULL, or not initialised. From any thread; a brief lock. */
RSL_API int rsl_breaker_force(rsl_breaker *breaker, rsl_breaker_state state);

/* Changes the numbers while calls go on; they apply to what the window holds at the next result.
   Name, callbacks, clock and uncounted stay whatever `config` says; window, window_calls and
   window_buckets stay, and may be 0 there or what they are. Another window_span empties a time
   window, and permits that are out change nothing any more. While slow calls are measured, the new
   numbers already apply when anybody looks. RSL_EINVAL: the config is wrong or would change the
   window, NULL, or not initialised; RSL_ENOMEM; nothing has changed then. From any thread; a brief
   lock; allocates when probes_max grows or slow calls are measured for the first time. */
RSL_API int rsl_breaker_reconfigure(rsl_breaker *breaker, const rsl_breaker_config *config);

#ifdef __cplusplus
}
#endif
#endif /* RSL_BREAKER_H */

/* ---------------------------------------------------------------- implementation */
#if (defined RSL_BREAKER_IMPLEMENTATION || defined RSL_IMPLEMENTATION || defined RSL_STATIC) && \
    !defined RSL_BREAKER_IMPLEMENTED_
#define RSL_BREAKER_IMPLEMENTED_

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

/* How it is fast, and why that is sound.

   What happens often (allow while closed, success while closed, refusal while open) only loads
   shared words, and writes none that another thread writes, save the position in a count window
   that holds failures. What happens rarely (a failure, a change of the window, of the state, of
   numbers, all that is half-open) happens under lock_.

   [ORDER] A change of state goes: word_ to CHANGING with the new generation, then the new window,
   then word_ to the new state. A success that takes no lock loads epoch_ before it compares word_
   with its permit's, both acquiring: had it seen the new window, it would see that word_ has moved
   on. So what it adds goes into the window of its own generation. A slot of the ring carries its
   generation and is written under lock_ only; without it, it is only compared.

   The totals, the successes of a time window and the places of calls in flight are kept by thread:
   a thread owns a shard from its first call on and alone writes it, with plain stores. Threads
   beyond the shards share a common one, with atomic additions, at several times the cost; a shard
   is never given back, for a header cannot see a thread end. Evaluation, under lock_, sums up. */

enum rsl_breaker_code_ { /* 1 + the public state; 0 is no object */
    RSL_BREAKER_DEAD_ = 0,
    RSL_BREAKER_CLOSED_ = 1 + RSL_BREAKER_CLOSED,
    RSL_BREAKER_OPEN_ = 1 + RSL_BREAKER_OPEN,
    RSL_BREAKER_HALF_OPEN_ = 1 + RSL_BREAKER_HALF_OPEN,
    RSL_BREAKER_FORCED_OPEN_ = 1 + RSL_BREAKER_FORCED_OPEN,
    RSL_BREAKER_DISABLED_ = 1 + RSL_BREAKER_DISABLED,
    RSL_BREAKER_METRICS_ONLY_ = 1 + RSL_BREAKER_METRICS_ONLY,
    RSL_BREAKER_CHANGING_ = 7 /* for the length of a change of state, under lock_ */
};

/* Bits of mode_: what decides the way of a call, in one word. All constant but the last three. */
enum rsl_breaker_mode_ {
    RSL_BREAKER_COUNT_WINDOW_ = 1,
    RSL_BREAKER_TIME_WINDOW_ = 2,
    RSL_BREAKER_COUNTED_ = 4, /* totals are kept */
    RSL_BREAKER_CLOCKED_ = 8, /* by an injected clock */
    RSL_BREAKER_CUSTOM_ = 16, /* callbacks say what a failure is */
    RSL_BREAKER_TIMED_ = 32,    /* slow calls are measured */
    RSL_BREAKER_JITTERED_ = 64, /* open spans are */
    RSL_BREAKER_RENEWED_ = 128  /* the window changed without a result: evaluate the next one */
};

enum {
    RSL_BREAKER_SHARDS_ = 16, /* owned; one more is common */
    RSL_BREAKER_OWN_ = 16, /* calls in flight that are watched for slowness: of each shard, */
    RSL_BREAKER_OWNED_ = RSL_BREAKER_SHARDS_ * RSL_BREAKER_OWN_, /* of all of them, */
    RSL_BREAKER_COMMON_ = 256, /* and wherever that is not enough */
    RSL_BREAKER_FLIGHTS_ = RSL_BREAKER_OWNED_ + RSL_BREAKER_COMMON_,
    RSL_BREAKER_LINE_ = 64 /* bytes of a cache line */
};
static const uint64_t rsl_breaker_none_ = UINT64_MAX;     /* no position, no place */
static const uint64_t rsl_breaker_reserved_ = UINT64_MAX; /* the start of a place being filled */

enum rsl_breaker_outcome_ {
    RSL_BREAKER_SUCCEEDED_,
    RSL_BREAKER_FAILED_,
    RSL_BREAKER_IGNORED_,
    RSL_BREAKER_DROPPED_, /* cancelled, or reported to another generation */
    RSL_BREAKER_ADMITTED_,
    RSL_BREAKER_REFUSED_
};

struct rsl_breaker_shard_ {
    rsl_word_ owner;    /* atomic: the thread that alone writes it, 0: free */
    rsl_word_ count[6]; /* atomic; by rsl_breaker_outcome_ */
    uint64_t spare;    /* to fill the line */
};
struct rsl_breaker_flight_ {
    rsl_word_ start; /* atomic: when it began, + 1; 0: free */
    rsl_word_ word;  /* atomic: the generation of its permit */
};
struct rsl_breaker_bad_ { uint64_t epoch; uint32_t failures, slow, calls; };
struct rsl_breaker_probe_ { uint64_t serial; /* 0: free */ rsl_time issued; };

/* What a visit under the lock needs from callbacks before, and has to tell them after. */
typedef struct rsl_breaker_news_ {
    double    jitter; /* in -1..1: where an open span would fall */
    uint32_t  count;
    rsl_event event[4];
} rsl_breaker_news_;

/* What the window holds, with the calls in flight that are slow already. */
typedef struct rsl_breaker_tally_ { uint64_t calls, failures, slow, overdue; } rsl_breaker_tally_;

static inline enum rsl_breaker_code_ rsl_breaker_code_of_(uint64_t word)
{
    return (enum rsl_breaker_code_)(word & 7);
}

/* Is this a state in which results go into the window? */
static inline bool rsl_breaker_records_(uint64_t word)
{
    enum rsl_breaker_code_ code = rsl_breaker_code_of_(word);
    return code == RSL_BREAKER_CLOSED_ || code == RSL_BREAKER_METRICS_ONLY_;
}

static inline uint64_t rsl_breaker_mode_of_(const rsl_breaker *b)
{
    return rsl_load_(&b->mode_); /* acquire: flights_ is set before TIMED */
}

/* Coarse, unless calls are timed. In an execution windows may see its precise now as well; both
   run on one base, a tick apart, and nothing waits for a breaker's time to come. */
static inline rsl_time rsl_breaker_now_(const rsl_breaker *b, rsl_execution *e, uint64_t mode)
{
    bool timed = mode & RSL_BREAKER_TIMED_;
    if (e != NULL) return timed ? rsl_execution_now_(e) : rsl_execution_coarse_(e);
    if (RSL_UNLIKELY_(mode & RSL_BREAKER_CLOCKED_)) return rsl_clock_now_(&b->config_.clock);
    return timed ? rsl_clock_real_() : rsl_clock_real_coarse_();
}

/* ---- config ---- */

static bool rsl_share_ok_(double share) /* false for NaN */
{
    return share > 0 && share <= 1;
}

static const char *rsl_breaker_window_check_(const rsl_breaker_config *c)
{
    if ((int)c->window < (int)RSL_WINDOW_DEFAULT || (int)c->window > (int)RSL_WINDOW_TIME)
        return "window: must be one of enum rsl_breaker_window";
    if (c->window_calls > 1000000) return "window_calls: must lie in 1..1000000";
    if (c->window_buckets > 1024) return "window_buckets: must lie in 1..1024";
    if (c->window_span < (rsl_time)c->window_buckets)
        return "window_span: must be at least a nanosecond for each of window_buckets";
    if (c->window == RSL_WINDOW_COUNT && c->calls_min > c->window_calls)
        return "calls_min: must not be more than window_calls";
    if (!rsl_share_ok_(c->failure_rate)) return "failure_rate: must lie in 0..1, above 0";
    if (c->slow_after <= 0) return "slow_after: must not be negative";
    if (!rsl_share_ok_(c->slow_rate)) return "slow_rate: must lie in 0..1, above 0";
    return NULL;
}

const char *rsl_breaker_config_check(const rsl_breaker_config *config)
{
    if (config == NULL) return NULL;
    rsl_breaker_config c = rsl_breaker_config_resolve(config);
    const char *why = rsl_breaker_window_check_(&c);
    if (why != NULL) return why;
    if (c.open_for < 0) return "open_for: must not be negative";
    if (!rsl_growth_ok_(c.open_multiplier))
        return "open_multiplier: must be at least 1 and finite";
    if (config->open_max < 0) return "open_max: must not be negative";
    if (c.open_max < c.open_for) return "open_max: must not be less than open_for";
    if (!rsl_rate_ok_(c.open_jitter, 0, 1)) return "open_jitter: must lie in 0..1";
    if (c.probes_max > 1024) return "probes_max: must lie in 1..1024";
    if (c.probes_needed > c.probes_max) return "probes_needed: must not be more than probes_max";
    if (c.probe_for < 0) return "probe_for: must not be negative";
    return rsl_clock_check_(&c.clock, false);
}

rsl_breaker_config rsl_breaker_config_resolve(const rsl_breaker_config *config)
{
    rsl_breaker_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *config;
    if (c.window == RSL_WINDOW_DEFAULT) c.window = RSL_WINDOW_CONSECUTIVE;
    if (c.failures_max == 0) c.failures_max = 5;
    if (c.window_calls == 0) c.window_calls = 100;
    if (c.window_span == 0) c.window_span = RSL_SEC(10);
    if (c.window_buckets == 0) c.window_buckets = 10;
    if (c.calls_min == 0) {
        c.calls_min = 10;
        if (c.window == RSL_WINDOW_COUNT && c.window_calls < 10) c.calls_min = c.window_calls;
    }
    c.failure_rate = rsl_default_(c.failure_rate, 0.5);
    if (c.slow_after == 0) c.slow_after = RSL_FOREVER;
    c.slow_rate = rsl_default_(c.slow_rate, 1);
    if (c.open_for == 0) c.open_for = RSL_SEC(30);
    if (c.open_for == RSL_NONE) c.open_for = 0;
    c.open_multiplier = rsl_default_(c.open_multiplier, 1);
    if (c.open_max == 0) c.open_max = c.open_for > RSL_SEC(600) ? c.open_for : RSL_SEC(600);
    c.open_jitter = rsl_default_(c.open_jitter, 0);
    if (c.probes_max == 0) c.probes_max = 1;
    if (c.probes_needed == 0) c.probes_needed = c.probes_max;
    if (c.probe_for == 0) c.probe_for = RSL_SEC(60);
    return c;
}

/* ---- memory ---- */

/* A zeroed block; NULL when there is none. size is far from overflow: the config is bounded. */
static void *rsl_breaker_zeroed_(size_t size)
{
    void *block = RSL_MALLOC(size);
    if (block != NULL) memset(block, 0, size);
    return block;
}

static size_t rsl_breaker_lines_(size_t size)
{
    return (size + RSL_BREAKER_LINE_ - 1) / RSL_BREAKER_LINE_ * RSL_BREAKER_LINE_;
}

/* Cuts the next `size` bytes, whole lines, off a block that starts at *at. */
static void *rsl_breaker_cut_(char **at, size_t size)
{
    if (size == 0) return NULL;
    void *piece = *at;
    *at += size;
    return piece;
}

static int rsl_breaker_allocate_(rsl_breaker *b)
{
    const rsl_breaker_config *c = &b->config_;
    bool count = c->window == RSL_WINDOW_COUNT, time = c->window == RSL_WINDOW_TIME;
    bool shards = time || !c->uncounted || c->slow_after != RSL_FOREVER;
    size_t all = RSL_BREAKER_SHARDS_ + 1;
    size_t stride = rsl_breaker_lines_(c->window_buckets * sizeof(uint64_t));
    size_t position = count ? RSL_BREAKER_LINE_ : 0;
    size_t ring = count ? rsl_breaker_lines_(c->window_calls * sizeof(uint64_t)) : 0;
    size_t totals = shards ? all * sizeof(struct rsl_breaker_shard_) : 0;
    size_t buckets = time ? all * stride : 0;
    size_t bad = time ? c->window_buckets * sizeof(struct rsl_breaker_bad_) : 0;
    size_t size = position + ring + totals + buckets + bad;
    if (size > 0) {
        b->memory_ = rsl_breaker_zeroed_(size + RSL_BREAKER_LINE_);
        if (b->memory_ == NULL) return RSL_ENOMEM;
    }
    uintptr_t start = (uintptr_t)b->memory_ + RSL_BREAKER_LINE_ - 1;
    char *at = (char *)b->memory_;
    if (at != NULL) at += start / RSL_BREAKER_LINE_ * RSL_BREAKER_LINE_ - (uintptr_t)at;
    b->position_ = (rsl_word_ *)rsl_breaker_cut_(&at, position);
    b->ring_ = (rsl_word_ *)rsl_breaker_cut_(&at, ring);
    b->shards_ = (struct rsl_breaker_shard_ *)rsl_breaker_cut_(&at, totals);
    b->buckets_ = (rsl_word_ *)rsl_breaker_cut_(&at, buckets);
    b->bad_ = (struct rsl_breaker_bad_ *)rsl_breaker_cut_(&at, bad);
    b->stride_ = (uint32_t)(stride / sizeof(uint64_t));
    b->ring_inverse_ = UINT64_MAX / c->window_calls + 1;
    return RSL_OK;
}

/* The places of calls in flight, then one whose start is a hint where to look first among the
   common ones. */
static struct rsl_breaker_flight_ *rsl_breaker_flights_new_(void)
{
    size_t size = (RSL_BREAKER_FLIGHTS_ + 1) * sizeof(struct rsl_breaker_flight_);
    return (struct rsl_breaker_flight_ *)rsl_breaker_zeroed_(size);
}

static struct rsl_breaker_probe_ *rsl_breaker_probes_new_(uint32_t count)
{
    return (struct rsl_breaker_probe_ *)rsl_breaker_zeroed_(
        count * sizeof(struct rsl_breaker_probe_));
}

static void rsl_breaker_free_(rsl_breaker *b)
{
    if (b->memory_ != NULL) RSL_FREE(b->memory_);
    if (b->flights_ != NULL) RSL_FREE(b->flights_);
    if (b->probes_ != NULL) RSL_FREE(b->probes_);
    memset(b, 0, sizeof *b);
}

/* Sets what tells threads which way their calls go. Release: flights_ is set before. */
static void rsl_breaker_set_mode_(rsl_breaker *b, uint64_t mode)
{
    const rsl_breaker_config *c = &b->config_;
    if (c->window == RSL_WINDOW_COUNT) mode |= RSL_BREAKER_COUNT_WINDOW_;
    if (c->window == RSL_WINDOW_TIME) mode |= RSL_BREAKER_TIME_WINDOW_;
    if (!c->uncounted) mode |= RSL_BREAKER_COUNTED_;
    if (c->clock.now != NULL) mode |= RSL_BREAKER_CLOCKED_;
    if (c->is_failure != NULL || c->is_ignored != NULL) mode |= RSL_BREAKER_CUSTOM_;
    if (c->slow_after != RSL_FOREVER) mode |= RSL_BREAKER_TIMED_;
    if (c->open_jitter > 0) mode |= RSL_BREAKER_JITTERED_;
    rsl_store_relaxed_(&b->slow_after_, (uint64_t)c->slow_after);
    rsl_store_(&b->mode_, mode);
}

int rsl_breaker_init(rsl_breaker *breaker, const rsl_breaker_config *config)
{
    if (breaker == NULL) return RSL_EINVAL;
    memset(breaker, 0, sizeof *breaker);
    if (rsl_breaker_config_check(config) != NULL) return RSL_EINVAL;
    breaker->config_ = rsl_breaker_config_resolve(config);
    const rsl_breaker_config *c = &breaker->config_;
    bool timed = c->slow_after != RSL_FOREVER;

    int status = rsl_breaker_allocate_(breaker);
    breaker->probes_ = rsl_breaker_probes_new_(c->probes_max);
    if (timed) breaker->flights_ = rsl_breaker_flights_new_();
    if (breaker->probes_ == NULL || (timed && breaker->flights_ == NULL)) status = RSL_ENOMEM;
    if (status == RSL_OK) status = rsl_lock_init_(&breaker->lock_);
    if (status != RSL_OK) {
        rsl_breaker_free_(breaker);
        return status;
    }
    breaker->probes_room_ = c->probes_max;
    breaker->unclean_ = c->window == RSL_WINDOW_COUNT ? 1 : 0;
    rsl_breaker_set_mode_(breaker, 0);
    rsl_store_(&breaker->word_, 1 << 3 | RSL_BREAKER_CLOSED_);
    return RSL_OK;
}

void rsl_breaker_deinit(rsl_breaker *breaker)
{
    if (breaker == NULL || breaker->word_ == 0) return;
    rsl_lock_deinit_(&breaker->lock_);
    rsl_breaker_free_(breaker);
}

/* ---- news ---- */

static const char *rsl_breaker_state_name_(rsl_breaker_state state)
{
    switch (state) {
    case RSL_BREAKER_CLOSED:      return "closed";
    case RSL_BREAKER_OPEN:        return "open";
    case RSL_BREAKER_HALF_OPEN:   return "half-open";
    case RSL_BREAKER_FORCED_OPEN: return "forced-open";
    case RSL_BREAKER_DISABLED:    return "disabled";
    default:                      return "metrics-only";
    }
}

/* In -1..1. No lock held: the source of randomness may be the user's. */
static double rsl_breaker_jitter_(rsl_breaker *b)
{
    return 2 * rsl_random_draw_(&b->config_.random, &b->random_) - 1;
}

/* No lock held. reports: a result, or a person, may
   open the circuit; else only a call that hangs. */
static void rsl_breaker_news_start_(rsl_breaker *b, rsl_breaker_news_ *news, bool reports)
{
    uint64_t mode = rsl_breaker_mode_of_(b);
    bool may_open = reports || (mode & RSL_BREAKER_TIMED_) != 0;
    news->count = 0;
    news->jitter = 0;
    if (may_open && (mode & RSL_BREAKER_JITTERED_) != 0) news->jitter = rsl_breaker_jitter_(b);
}

/* Lock held, so that numbers follow the order of happening; or, for refusals, not. */
static void rsl_breaker_note_(rsl_breaker *b, rsl_breaker_news_ *news, rsl_breaker_event kind,
                              const char *name, int status, rsl_time at, int64_t value)
{
    RSL_ASSERT(news->count < RSL_COUNT(news->event));
    rsl_event *event = &news->event[news->count++];
    event->source = b->config_.name;
    event->name = name;
    event->kind = (int)kind;
    event->status = status;
    event->number = rsl_add_relaxed_(&b->events_, 1) + 1; /* relaxed: it numbers, no more */
    event->at = at;
    event->value = value;
}

/* No lock held. */
static void rsl_breaker_tell_(rsl_breaker *b, const rsl_breaker_news_ *news)
{
    for (uint32_t i = 0; i < news->count; i++) rsl_emit_(&b->config_.observer, &news->event[i]);
}

/* ---- shards ---- */

/* The shard that this thread writes. */
static inline struct rsl_breaker_shard_ *rsl_breaker_shard_(rsl_breaker *b)
{
    return (struct rsl_breaker_shard_ *)rsl_shard_(b->shards_, sizeof *b->shards_,
                                                   RSL_BREAKER_SHARDS_);
}

static inline bool rsl_breaker_is_common_(const struct rsl_breaker_shard_ *shard)
{
    return rsl_load_relaxed_(&shard->owner) == 0;
}

static inline void rsl_breaker_add_(struct rsl_breaker_shard_ *shard,
                                    enum rsl_breaker_outcome_ what)
{
    rsl_word_ *count = &shard->count[what];
    /* relaxed: a sum, no more */
    if (RSL_UNLIKELY_(rsl_breaker_is_common_(shard))) rsl_add_relaxed_(count, 1);
    else rsl_store_relaxed_(count, rsl_load_relaxed_(count) + 1);
}

/* Where this thread keeps totals; NULL: nowhere. */
static inline struct rsl_breaker_shard_ *rsl_breaker_totals_(rsl_breaker *b)
{
    return rsl_breaker_mode_of_(b) & RSL_BREAKER_COUNTED_ ? rsl_breaker_shard_(b) : NULL;
}

static inline void rsl_breaker_count_(rsl_breaker *b, enum rsl_breaker_outcome_ what)
{
    struct rsl_breaker_shard_ *mine = rsl_breaker_totals_(b);
    if (mine != NULL) rsl_breaker_add_(mine, what);
}

static uint64_t rsl_breaker_total_(const rsl_breaker *b, enum rsl_breaker_outcome_ what)
{
    uint64_t sum = 0;
    if (b->config_.uncounted) return 0;
    for (uint32_t i = 0; i <= RSL_BREAKER_SHARDS_; i++)
        sum += rsl_load_relaxed_(&b->shards_[i].count[what]);
    return sum;
}

/* ---- the time window: a ring of buckets, each with the number of the epoch it counts. Successes
   stand in the shards (epoch << 32 | count), failures and slow calls in bad_. Buckets begin at
   whole multiples of their width; an idle gap needs no sweeping, for a bucket of an old epoch is
   not counted and starts from nothing when it is next used. ---- */

/* Adds a success to this thread's bucket, whatever stands in it. */
RSL_NOINLINE_ void rsl_breaker_bucket_add_any_(const struct rsl_breaker_shard_ *shard,
                                               rsl_word_ *bucket, uint32_t number)
{
    uint64_t before = rsl_load_relaxed_(bucket);
    for (;;) {
        bool same = before >> 32 == number;
        if (same && (uint32_t)before == UINT32_MAX) return; /* full at four thousand million */
        uint64_t after = same ? before + 1 : (uint64_t)number << 32 | 1;
        if (!rsl_breaker_is_common_(shard)) {
            rsl_store_relaxed_(bucket, after);
            return;
        }
        if (before != 0 && (int32_t)(number - (uint32_t)(before >> 32)) < 0) return; /* too late */
        if (rsl_cas_(bucket, &before, after)) return;
    }
}

/* The same for this thread's shard, straight on when it owns that and has counted in this bucket
   before. `epoch` is epoch_ as it was before word_ was compared. */
static inline void rsl_breaker_bucket_add_(rsl_breaker *b, struct rsl_breaker_shard_ *shard,
                                           uint64_t epoch)
{
    size_t row = (size_t)(shard - b->shards_) * b->stride_;
    rsl_word_ *bucket = &b->buckets_[row + (uint32_t)epoch];
    uint64_t before = rsl_load_relaxed_(bucket);
    bool usual = before >> 32 == epoch >> 32 && (uint32_t)before != UINT32_MAX;
    if (RSL_LIKELY_(usual && !rsl_breaker_is_common_(shard)))
        rsl_store_relaxed_(bucket, before + 1);
    else
        rsl_breaker_bucket_add_any_(shard, bucket, (uint32_t)(epoch >> 32));
}

/* Lock held: brings the epoch up to now. */
static void rsl_breaker_rotate_(rsl_breaker *b, rsl_time now)
{
    if (now < b->epoch_end_) return;
    uint32_t buckets = b->config_.window_buckets;
    rsl_time width = b->config_.window_span / buckets;
    rsl_time steps = (now - b->epoch_end_) / width + 1;
    uint64_t number = (b->epoch_ >> 32) + (uint64_t)steps;
    if (steps > (rsl_time)buckets) number = (b->epoch_ >> 32) + buckets + 1; /* all are old */
    b->epoch_end_ = rsl_time_add_(now, width - (now - b->epoch_end_) % width);
    rsl_store_(&b->epoch_, number << 32 | (uint32_t)(number & UINT32_MAX) % buckets);
}

/* Lock held: counts a failure or slow call in the current bucket. */
static void rsl_breaker_bad_add_(rsl_breaker *b, bool failed, bool slow)
{
    struct rsl_breaker_bad_ *bad = &b->bad_[(uint32_t)b->epoch_];
    uint64_t number = b->epoch_ >> 32;
    if (bad->epoch != number || bad->calls == UINT32_MAX) memset(bad, 0, sizeof *bad);
    bad->epoch = number;
    bad->calls++;
    bad->failures += failed;
    bad->slow += slow;
}

/* Lock held. */
static rsl_breaker_tally_ rsl_breaker_time_tally_(const rsl_breaker *b)
{
    rsl_breaker_tally_ tally = {0, 0, 0, 0};
    uint32_t buckets = b->config_.window_buckets, number = (uint32_t)(b->epoch_ >> 32);
    for (uint32_t i = 0; i < buckets; i++) {
        const struct rsl_breaker_bad_ *bad = &b->bad_[i];
        if (bad->calls > 0 && number - (uint32_t)bad->epoch < buckets) {
            tally.calls += bad->calls;
            tally.failures += bad->failures;
            tally.slow += bad->slow;
        }
        for (uint32_t shard = 0; shard <= RSL_BREAKER_SHARDS_; shard++) {
            uint64_t word = rsl_load_relaxed_(&b->buckets_[shard * b->stride_ + i]);
            if (word != 0 && number - (uint32_t)(word >> 32) < buckets)
                tally.calls += (uint32_t)word;
        }
    }
    return tally;
}

/* ---- the count window: a ring of the last results, and their sums ---- */

static inline uint64_t rsl_breaker_ring_next_(rsl_breaker *b)
{
    /* relaxed: whoever gets a position owns that turn of the slot; the slot itself is guarded */
    return rsl_add_relaxed_(b->position_, 1);
}

/* The slot of a position: its remainder by window_calls, by two multiplications where there are
   128 bits (Lemire, Kaser, Kurz: "Faster Remainder by Direct Computation"). Once in 2^32 calls the
   remainders jump, and a few slots are kept for a round longer. */
static inline rsl_word_ *rsl_breaker_ring_slot_(const rsl_breaker *b, uint64_t position)
{
    uint32_t calls = b->config_.window_calls;
#ifdef __SIZEOF_INT128__
    __extension__ typedef unsigned __int128 wide;
    uint64_t fraction = b->ring_inverse_ * (uint32_t)position;
    return &b->ring_[(uint64_t)(((wide)fraction * calls) >> 64)];
#else
    return &b->ring_[(uint32_t)position % calls];
#endif
}

/* Lock held: puts a result of the current generation where `position` says. */
static void rsl_breaker_ring_put_(rsl_breaker *b, uint64_t position, bool failed, bool slow)
{
    uint64_t generation = b->word_ >> 3;
    rsl_word_ *slot = rsl_breaker_ring_slot_(b, position);
    uint64_t before = *slot;
    if (before >> 2 == generation) {
        b->calls_--;
        b->failures_ -= (uint32_t)(before & 1);
        b->slow_ -= (uint32_t)(before >> 1 & 1);
    }
    b->calls_++;
    b->failures_ += failed;
    b->slow_ += slow;
    rsl_store_relaxed_(slot, generation << 2 | (uint64_t)slow << 1 | (uint64_t)failed);
    bool clean = b->calls_ == b->config_.window_calls && b->failures_ == 0 && b->slow_ == 0;
    rsl_store_relaxed_(&b->unclean_, clean ? 0 : 1);
}

/* ---- calls in flight: a place each, so that calls that never return are seen ---- */

/* Release, twice: who sees the start sees its generation, and who sees the generation sees that
   the place was free before. */
static inline void rsl_breaker_flight_fill_(struct rsl_breaker_flight_ *flight, uint64_t word,
                                            rsl_time now)
{
    rsl_store_(&flight->word, word);
    rsl_store_(&flight->start, (uint64_t)now + 1);
}

/* A place among the common ones, filled; none when a quarter of them in a row are taken. */
RSL_NOINLINE_ uint64_t rsl_breaker_common_place_(rsl_breaker *b, uint64_t word, rsl_time now)
{
    rsl_word_ *hint = &b->flights_[RSL_BREAKER_FLIGHTS_].start;
    uint64_t first = rsl_load_relaxed_(hint); /* relaxed: only a hint */
    for (uint64_t i = 0; i < RSL_BREAKER_COMMON_ / 4; i++) {
        uint64_t common = (first + i) % RSL_BREAKER_COMMON_, empty = 0;
        uint64_t place = RSL_BREAKER_OWNED_ + common;
        struct rsl_breaker_flight_ *flight = &b->flights_[place];
        if (rsl_load_relaxed_(&flight->start) != 0) continue;
        if (!rsl_cas_(&flight->start, &empty, rsl_breaker_reserved_)) continue;
        rsl_breaker_flight_fill_(flight, word, now);
        rsl_store_relaxed_(hint, common + 1);
        return place + 1;
    }
    return rsl_breaker_none_;
}

/* Notes the start of a call: private_ becomes its place + 1, or none when none is free: such a
   call is measured when it returns. In its own shard only this thread fills places, so a free one
   stays free till it does. */
static void rsl_breaker_take_off_(rsl_breaker *b, rsl_breaker_permit *permit, rsl_time now)
{
    size_t shard = RSL_BREAKER_SHARDS_; /* none, when it was made without any */
    if (b->shards_ != NULL) shard = (size_t)(rsl_breaker_shard_(b) - b->shards_);
    permit->started = now;
    for (size_t i = 0; i < RSL_BREAKER_OWN_ && shard < RSL_BREAKER_SHARDS_; i++) {
        size_t place = shard * RSL_BREAKER_OWN_ + i;
        if (rsl_load_relaxed_(&b->flights_[place].start) != 0) continue;
        rsl_breaker_flight_fill_(&b->flights_[place], permit->generation, now);
        permit->private_ = place + 1;
        return;
    }
    permit->private_ = rsl_breaker_common_place_(b, permit->generation, now);
}

/* Frees the place, unless it was taken back. Should it be taken back and filled between the two
   lines, or filled by a call of this generation that began in the same nanosecond, that call is
   watched no longer and measured when it returns: nothing else is lost. */
static void rsl_breaker_land_(rsl_breaker *b, const rsl_breaker_permit *permit)
{
    bool placed = permit->private_ <= RSL_BREAKER_FLIGHTS_ && b->flights_ != NULL;
    if (!placed) return; /* watched nowhere, or by another breaker */
    struct rsl_breaker_flight_ *flight = &b->flights_[permit->private_ - 1];
    if (rsl_load_(&flight->start) == (uint64_t)permit->started + 1 &&
        rsl_load_relaxed_(&flight->word) == permit->generation)
        rsl_store_relaxed_(&flight->start, 0);
}

/* Lock held: how many calls of this generation are out for slow_after or longer. Sets due_, when
   the next one turns slow: at the latest now + slow_after. So a call that takes its place behind
   the scan's back is seen one slow_after late, if its thread slept between clock and place. */
static uint32_t rsl_breaker_overdue_(rsl_breaker *b, rsl_time now)
{
    rsl_time slow_after = b->config_.slow_after, due = rsl_time_add_(now, slow_after);
    rsl_time lost_after = rsl_time_add_(slow_after, b->config_.probe_for);
    uint32_t overdue = 0;
    for (uint32_t i = 0; i < RSL_BREAKER_FLIGHTS_; i++) {
        struct rsl_breaker_flight_ *flight = &b->flights_[i];
        uint64_t start = rsl_load_(&flight->start), word = rsl_load_(&flight->word);
        if (start == 0 || start == rsl_breaker_reserved_) continue;
        if (rsl_load_relaxed_(&flight->start) != start) continue; /* word is another call's */
        rsl_time started = (rsl_time)(start - 1), turns = rsl_time_add_(started, slow_after);
        if (now >= rsl_time_add_(started, lost_after)) rsl_cas_(&flight->start, &start, 0);
        else if (now >= turns) overdue += word == b->word_;
        else if (turns < due) due = turns;
    }
    rsl_store_relaxed_(&b->due_, (uint64_t)due);
    return overdue;
}

/* ---- changes of state; lock held ---- */

static rsl_time rsl_breaker_open_span_(const rsl_breaker *b, double jitter)
{
    const rsl_breaker_config *c = &b->config_;
    rsl_time span = rsl_time_grow_(c->open_for, c->open_multiplier, b->reopenings_, c->open_max);
    if (!(c->open_jitter > 0)) return span;
    return rsl_time_from_((double)span * (1 + c->open_jitter * jitter), RSL_FOREVER);
}

/* Frees the places of calls of earlier generations: they count no more, and some were
   forgotten. */
static void rsl_breaker_flights_free_(rsl_breaker *b)
{
    for (uint32_t i = 0; b->flights_ != NULL && i < RSL_BREAKER_FLIGHTS_; i++) {
        uint64_t start = rsl_load_(&b->flights_[i].start);
        if (start == 0 || start == rsl_breaker_reserved_) continue;
        bool old = rsl_load_(&b->flights_[i].word) != b->word_;
        if (old) rsl_cas_(&b->flights_[i].start, &start, 0);
    }
}

static void rsl_breaker_clear_window_(rsl_breaker *b)
{
    rsl_breaker_flights_free_(b);
    rsl_store_relaxed_(&b->unclean_, b->config_.window == RSL_WINDOW_COUNT ? 1 : 0);
    rsl_store_relaxed_(&b->fast_until_, 0);
    rsl_store_relaxed_(&b->due_, 0);
    b->overdue_ = 0;
    b->calls_ = b->failures_ = b->slow_ = 0; /* the slots are of another generation from now on */
    uint32_t buckets = b->config_.window_buckets;
    uint64_t number = (b->epoch_ >> 32) + buckets + 1; /* every bucket is old */
    rsl_store_(&b->epoch_, number << 32 | (uint32_t)(number & UINT32_MAX) % buckets);
}

/* The one place where the state changes. [ORDER] */
static void rsl_breaker_change_(rsl_breaker *b, rsl_breaker_state state, int status, rsl_time now,
                                rsl_breaker_news_ *news)
{
    uint64_t generation = (b->word_ >> 3) + 1;
    rsl_time refuse_until = 0;
    rsl_store_(&b->word_, generation << 3 | RSL_BREAKER_CHANGING_);
    switch (state) {
    case RSL_BREAKER_CLOSED:
        b->reopenings_ = 0;
        rsl_breaker_clear_window_(b);
        break;
    case RSL_BREAKER_METRICS_ONLY:
        rsl_breaker_clear_window_(b);
        break;
    case RSL_BREAKER_OPEN:
        refuse_until = rsl_time_add_(now, rsl_breaker_open_span_(b, news->jitter));
        if (b->reopenings_ < UINT32_MAX) b->reopenings_++;
        b->opened_++;
        break;
    case RSL_BREAKER_HALF_OPEN:
        b->probing_ = b->probed_well_ = b->probed_badly_ = 0;
        memset(b->probes_, 0, b->probes_room_ * sizeof *b->probes_);
        break;
    case RSL_BREAKER_FORCED_OPEN:
        refuse_until = RSL_FOREVER;
        break;
    default: break;
    }
    rsl_store_(&b->refuse_until_, (uint64_t)refuse_until); /* who sees it sees CHANGING too */
    rsl_store_(&b->word_, generation << 3 | (1u + (uint32_t)state));
    rsl_breaker_note_(b, news, RSL_BREAKER_CHANGED, rsl_breaker_state_name_(state), status, now,
                      (int64_t)state);
}

static rsl_breaker_tally_ rsl_breaker_tally_get_(rsl_breaker *b, rsl_time now)
{
    rsl_breaker_tally_ tally = {b->calls_, b->failures_, b->slow_, 0};
    bool timed = b->config_.slow_after != RSL_FOREVER;
    if (timed && (b->overdue_ > 0 || now >= (rsl_time)b->due_))
        b->overdue_ = rsl_breaker_overdue_(b, now); /* else none can be, and the scan is spared */
    uint32_t overdue = timed ? b->overdue_ : 0;
    if (b->config_.window == RSL_WINDOW_CONSECUTIVE) {
        tally.calls = tally.failures = b->unclean_;
    } else if (b->config_.window == RSL_WINDOW_TIME) {
        rsl_breaker_rotate_(b, now);
        tally = rsl_breaker_time_tally_(b);
        if (overdue > 0 && b->epoch_end_ < (rsl_time)b->due_) /* their share may grow then */
            rsl_store_relaxed_(&b->due_, (uint64_t)b->epoch_end_);
    }
    tally.calls += overdue;
    tally.slow += overdue;
    tally.overdue = overdue;
    return tally;
}

static bool rsl_breaker_is_bad_(const rsl_breaker *b, const rsl_breaker_tally_ *tally)
{
    const rsl_breaker_config *c = &b->config_;
    if (c->window == RSL_WINDOW_CONSECUTIVE) return tally->calls >= c->failures_max;
    if (tally->calls == 0 || tally->calls < c->calls_min) return false;
    /* volatile rounds to a double where x87 would keep more: 1 of 5 is then not less than 0.2 */
    volatile double failures = (double)tally->failures / (double)tally->calls;
    volatile double slow = (double)tally->slow / (double)tally->calls;
    return failures >= c->failure_rate || slow >= c->slow_rate;
}

/* Opens the circuit if what the window and the calls in flight say is bad enough. A success need
   not come back here before its bucket ends, unless the next one could reach calls_min. */
static void rsl_breaker_evaluate_(rsl_breaker *b, int status, rsl_time now,
                                  rsl_breaker_news_ *news)
{
    if (!rsl_breaker_records_(b->word_)) return;
    rsl_breaker_tally_ tally = rsl_breaker_tally_get_(b, now);
    rsl_store_(&b->mode_, b->mode_ & ~(uint64_t)RSL_BREAKER_RENEWED_);
    if (rsl_breaker_code_of_(b->word_) == RSL_BREAKER_CLOSED_ && rsl_breaker_is_bad_(b, &tally)) {
        rsl_breaker_change_(b, RSL_BREAKER_OPEN, status, now, news);
        return;
    }
    bool settled = tally.calls - tally.overdue >= b->config_.calls_min ||
                   (tally.failures == 0 && tally.slow == 0);
    rsl_store_relaxed_(&b->fast_until_, settled ? (uint64_t)b->epoch_end_ : 0);
}

/* ---- probes; lock held, half-open ---- */

/* Till when no permit can be had but by a report: the first expiry, if all are out. */
static void rsl_breaker_probes_hint_(rsl_breaker *b)
{
    rsl_time until = 0;
    if (b->probing_ + b->probed_well_ + b->probed_badly_ >= b->config_.probes_max) {
        until = RSL_FOREVER;
        for (uint32_t i = 0; i < b->probes_room_; i++) {
            if (b->probes_[i].serial == 0) continue;
            rsl_time expiry = rsl_time_add_(b->probes_[i].issued, b->config_.probe_for);
            if (expiry < until) until = expiry;
        }
    }
    rsl_store_relaxed_(&b->refuse_until_, (uint64_t)until);
}

static void rsl_breaker_probes_expire_(rsl_breaker *b, rsl_time now, rsl_breaker_news_ *news)
{
    rsl_time probe_for = b->config_.probe_for;
    uint32_t lost = 0;
    for (uint32_t i = 0; i < b->probes_room_; i++) {
        struct rsl_breaker_probe_ *probe = &b->probes_[i];
        if (probe->serial == 0 || now < rsl_time_add_(probe->issued, probe_for)) continue;
        probe->serial = 0;
        lost++;
    }
    if (lost == 0) return;
    b->probing_ -= lost;
    rsl_breaker_probes_hint_(b);
    rsl_breaker_note_(b, news, RSL_BREAKER_PROBE_LOST, "probe lost", RSL_ETIMEOUT, now, lost);
}

static bool rsl_breaker_probe_start_(rsl_breaker *b, rsl_breaker_permit *permit, rsl_time now)
{
    if (b->probing_ + b->probed_well_ + b->probed_badly_ >= b->config_.probes_max) return false;
    struct rsl_breaker_probe_ *probe = b->probes_;
    while (probe->serial != 0) probe++; /* there is one: probing_ < probes_max <= probes_room_ */
    probe->serial = permit->private_ = ++b->serial_;
    probe->issued = permit->started = now;
    b->probing_++;
    rsl_breaker_probes_hint_(b);
    return true;
}

/* Closes or opens if enough probes have said so. */
static void rsl_breaker_probes_decide_(rsl_breaker *b, int status, rsl_time now,
                                       rsl_breaker_news_ *news)
{
    if (b->probed_well_ >= b->config_.probes_needed)
        rsl_breaker_change_(b, RSL_BREAKER_CLOSED, status, now, news);
    else if (b->probed_badly_ > b->config_.probes_max - b->config_.probes_needed)
        rsl_breaker_change_(b, RSL_BREAKER_OPEN, status, now, news);
    else
        rsl_breaker_probes_hint_(b);
}

/* False when the probe was given up as lost. */
static bool rsl_breaker_probe_end_(rsl_breaker *b, const rsl_breaker_permit *permit,
                                   enum rsl_breaker_outcome_ outcome, int status, rsl_time now,
                                   rsl_breaker_news_ *news)
{
    struct rsl_breaker_probe_ *probe = b->probes_, *end = b->probes_ + b->probes_room_;
    rsl_breaker_probes_expire_(b, now, news); /* though nobody has looked since */
    while (probe < end && probe->serial != permit->private_) probe++;
    if (probe == end) return false;
    bool slow = b->config_.slow_after != RSL_FOREVER &&
                now >= rsl_time_add_(permit->started, b->config_.slow_after);
    probe->serial = 0;
    b->probing_--;
    if (outcome == RSL_BREAKER_FAILED_ || (outcome == RSL_BREAKER_SUCCEEDED_ && slow))
        b->probed_badly_++;
    else if (outcome == RSL_BREAKER_SUCCEEDED_)
        b->probed_well_++;
    rsl_breaker_probes_decide_(b, status, now, news);
    return true;
}

/* Does what the passing of time alone does. */
static void rsl_breaker_catch_up_(rsl_breaker *b, rsl_time now, rsl_breaker_news_ *news)
{
    enum rsl_breaker_code_ code = rsl_breaker_code_of_(b->word_);
    if (code == RSL_BREAKER_OPEN_ && now >= (rsl_time)b->refuse_until_)
        rsl_breaker_change_(b, RSL_BREAKER_HALF_OPEN, 0, now, news);
    else if (code == RSL_BREAKER_HALF_OPEN_)
        rsl_breaker_probes_expire_(b, now, news);
    else if (rsl_breaker_records_(b->word_) && b->config_.slow_after != RSL_FOREVER &&
             now >= (rsl_time)b->due_)
        rsl_breaker_evaluate_(b, 0, now, news);
}

/* ---- allow ---- */

RSL_NOINLINE_ void rsl_breaker_tell_refused_(rsl_breaker *b, rsl_time now)
{
    rsl_breaker_news_ news;
    news.count = 0;
    rsl_breaker_note_(b, &news, RSL_BREAKER_REFUSED, "refused", RSL_EOPEN, now, 0);
    rsl_breaker_tell_(b, &news);
}

static inline int rsl_breaker_refuse_(rsl_breaker *b, rsl_time now)
{
    rsl_breaker_count_(b, RSL_BREAKER_REFUSED_);
    if (b->config_.observer.on_event != NULL) rsl_breaker_tell_refused_(b, now);
    return RSL_EOPEN;
}

RSL_NOINLINE_ int rsl_breaker_enter_locked_(rsl_breaker *b, rsl_breaker_permit *permit,
                                            rsl_time now)
{
    rsl_breaker_news_ news;
    rsl_breaker_news_start_(b, &news, false);
    rsl_lock_take_(&b->lock_);
    rsl_breaker_catch_up_(b, now, &news);
    uint64_t word = b->word_;
    bool timed = rsl_breaker_records_(word) && b->config_.slow_after != RSL_FOREVER;
    bool refused = false;
    permit->generation = word;
    if (rsl_breaker_code_of_(word) == RSL_BREAKER_HALF_OPEN_)
        refused = !rsl_breaker_probe_start_(b, permit, now);
    else if (!rsl_breaker_records_(word))
        refused = rsl_breaker_code_of_(word) != RSL_BREAKER_DISABLED_;
    rsl_lock_drop_(&b->lock_);

    rsl_breaker_tell_(b, &news);
    if (refused) {
        permit->generation = 0;
        return rsl_breaker_refuse_(b, now);
    }
    if (timed) rsl_breaker_take_off_(b, permit, now);
    rsl_breaker_count_(b, RSL_BREAKER_ADMITTED_);
    return RSL_OK;
}

static int rsl_breaker_enter_(rsl_breaker *b, rsl_execution *e, rsl_breaker_permit *permit)
{
    uint64_t word = rsl_load_(&b->word_); /* acquire: what the state was made of is seen */
    uint64_t mode = rsl_breaker_mode_of_(b);
    permit->generation = word;
    permit->started = 0;
    permit->private_ = 0;
    enum rsl_breaker_code_ code = rsl_breaker_code_of_(word);
    if (code == RSL_BREAKER_DEAD_) return RSL_EINVAL;
    bool admits = rsl_breaker_records_(word);
    if (code == RSL_BREAKER_DISABLED_ || (admits && !(mode & RSL_BREAKER_TIMED_))) {
        rsl_breaker_count_(b, RSL_BREAKER_ADMITTED_);
        return RSL_OK;
    }
    rsl_time now = rsl_breaker_now_(b, e, mode);
    if (admits) {
        if (now >= (rsl_time)rsl_load_relaxed_(&b->due_))
            return rsl_breaker_enter_locked_(b, permit, now);
        rsl_breaker_take_off_(b, permit, now);
        rsl_breaker_count_(b, RSL_BREAKER_ADMITTED_);
        return RSL_OK;
    }
    /* relaxed: word_ was acquired before, so this is its refuse_until_ or that of a later state */
    if (now < (rsl_time)rsl_load_relaxed_(&b->refuse_until_)) {
        permit->generation = 0;
        return rsl_breaker_refuse_(b, now);
    }
    return rsl_breaker_enter_locked_(b, permit, now);
}

/* The straight way in is open when the breaker is closed, does not time calls and judges them by
   default; the word is then all that there is to the permit. */
static inline bool rsl_breaker_may_enter_straight_(uint64_t word, uint64_t mode)
{
    return rsl_breaker_code_of_(word) == RSL_BREAKER_CLOSED_ &&
           (mode & (RSL_BREAKER_TIMED_ | RSL_BREAKER_CUSTOM_)) == 0;
}

/* ---- report ---- */

/* Lock held: a result of the current generation goes into the window. */
static void rsl_breaker_record_(rsl_breaker *b, bool failed, bool slow, uint64_t position,
                                rsl_time now)
{
    switch (b->config_.window) {
    case RSL_WINDOW_COUNT:
        if (position == rsl_breaker_none_) position = rsl_breaker_ring_next_(b);
        rsl_breaker_ring_put_(b, position, failed, slow);
        break;
    case RSL_WINDOW_TIME:
        rsl_breaker_rotate_(b, now);
        if (failed || slow) rsl_breaker_bad_add_(b, failed, slow);
        else rsl_breaker_bucket_add_(b, rsl_breaker_shard_(b), b->epoch_);
        break;
    default: {
        uint64_t streak = failed || slow ? b->unclean_ + 1 : 0;
        if (streak <= UINT32_MAX) rsl_store_relaxed_(&b->unclean_, streak);
        break;
    }
    }
}

RSL_NOINLINE_ int rsl_breaker_leave_locked_(rsl_breaker *b, const rsl_breaker_permit *permit,
                                        enum rsl_breaker_outcome_ outcome, int status, bool slow,
                                        uint64_t position, rsl_time now)
{
    rsl_breaker_news_ news;
    bool failed = outcome == RSL_BREAKER_FAILED_;
    bool counts = failed || outcome == RSL_BREAKER_SUCCEEDED_;
    rsl_breaker_news_start_(b, &news, true);
    rsl_lock_take_(&b->lock_);
    uint64_t word = b->word_;
    if (word != permit->generation) {
        outcome = RSL_BREAKER_DROPPED_;
    } else if (rsl_breaker_code_of_(word) == RSL_BREAKER_HALF_OPEN_) {
        if (!rsl_breaker_probe_end_(b, permit, outcome, status, now, &news))
            outcome = RSL_BREAKER_DROPPED_;
    } else if (rsl_breaker_records_(word)) {
        if (counts) {
            rsl_breaker_record_(b, failed, slow, position, now);
            rsl_breaker_evaluate_(b, status, now, &news);
        } else if (slow) { /* it was counted while it was out, and is no more */
            rsl_store_(&b->mode_, b->mode_ | RSL_BREAKER_RENEWED_);
            rsl_store_relaxed_(&b->fast_until_, 0);
        }
    }
    rsl_lock_drop_(&b->lock_);
    rsl_breaker_count_(b, outcome);
    rsl_breaker_tell_(b, &news);
    return RSL_OK;
}

/* A success of the generation of `word`, if its window says the same after it as before: true, and
   it is in the window. *position: the turn it took in a count window, for whoever puts it
   there. */
RSL_INLINE_ bool rsl_breaker_succeed_(rsl_breaker *b, uint64_t word, uint64_t mode, rsl_time now,
                                      struct rsl_breaker_shard_ *mine, uint64_t *position)
{
    uint64_t epoch = rsl_load_(&b->epoch_); /* before word_: see [ORDER] */
    if (rsl_load_(&b->word_) != word || (mode & RSL_BREAKER_RENEWED_)) return false;
    if (mode & RSL_BREAKER_TIME_WINDOW_) {
        if (now >= (rsl_time)rsl_load_relaxed_(&b->fast_until_)) return false;
        rsl_breaker_bucket_add_(b, mine != NULL ? mine : rsl_breaker_shard_(b), epoch);
        return true;
    }
    /* relaxed: a moment before a failure is as good; in a ring of successes, any slot is */
    if (RSL_LIKELY_(rsl_load_relaxed_(&b->unclean_) == 0)) return true;
    if ((mode & RSL_BREAKER_COUNT_WINDOW_) == 0) return false;
    *position = rsl_breaker_ring_next_(b);
    /* relaxed: if it says success of this generation, that is what we would write */
    return rsl_load_relaxed_(rsl_breaker_ring_slot_(b, *position)) == word >> 3 << 2;
}

/* Any report of a permit that is not spent. */
RSL_NOINLINE_ int rsl_breaker_leave_slowly_(rsl_breaker *b, rsl_execution *e,
                                        const rsl_breaker_permit *permit,
                                        enum rsl_breaker_outcome_ outcome, int status,
                                        uint64_t position)
{
    uint64_t word = permit->generation, mode = rsl_breaker_mode_of_(b);
    bool records = rsl_breaker_records_(word), timed = records && permit->private_ != 0;
    if (timed) rsl_breaker_land_(b, permit);
    bool idle = outcome == RSL_BREAKER_DROPPED_ || outcome == RSL_BREAKER_IGNORED_;
    if (rsl_breaker_code_of_(word) == RSL_BREAKER_DISABLED_ || (records && !timed && idle)) {
        /* relaxed: a count a moment before or after a change of state is as true */
        if (rsl_load_relaxed_(&b->word_) != word) outcome = RSL_BREAKER_DROPPED_;
        rsl_breaker_count_(b, outcome);
        return RSL_OK;
    }
    bool later = records && !timed && outcome == RSL_BREAKER_SUCCEEDED_ &&
                 (mode & RSL_BREAKER_TIME_WINDOW_) == 0; /* may need no time at all */
    rsl_time now = later ? 0 : rsl_breaker_now_(b, e, mode);
    rsl_time slow_after = (rsl_time)rsl_load_relaxed_(&b->slow_after_);
    bool slow = timed && now >= rsl_time_add_(permit->started, slow_after);
    bool due = timed && now >= (rsl_time)rsl_load_relaxed_(&b->due_);
    if (records && !slow && !due && outcome == RSL_BREAKER_SUCCEEDED_ &&
        position == rsl_breaker_none_ &&
        rsl_breaker_succeed_(b, word, mode, now, NULL, &position)) {
        rsl_breaker_count_(b, outcome);
        return RSL_OK;
    }
    if (later) now = rsl_breaker_now_(b, e, mode);
    return rsl_breaker_leave_locked_(b, permit, outcome, status, slow, position, now);
}

static int rsl_breaker_leave_(rsl_breaker *b, rsl_execution *e, rsl_breaker_permit *permit,
                              enum rsl_breaker_outcome_ outcome, int status)
{
    rsl_breaker_permit taken = *permit;
    if (taken.generation == 0) return RSL_EINVAL;
    permit->generation = 0; /* the second report of a permit finds it spent */
    return rsl_breaker_leave_slowly_(b, e, &taken, outcome, status, rsl_breaker_none_);
}

RSL_NOINLINE_ enum rsl_breaker_outcome_ rsl_breaker_ask_(const rsl_breaker *b, int result)
{
    const rsl_breaker_config *c = &b->config_;
    int saved = errno;
    bool ignored = c->is_ignored != NULL && c->is_ignored(result, c->user);
    bool failed = result != 0;
    if (!ignored && c->is_failure != NULL) failed = c->is_failure(result, c->user);
    errno = saved;
    if (ignored) return RSL_BREAKER_IGNORED_;
    return failed ? RSL_BREAKER_FAILED_ : RSL_BREAKER_SUCCEEDED_;
}

/* timed_out: an inner timeout stopped the call, so its being cancelled is a failure. */
static inline enum rsl_breaker_outcome_ rsl_breaker_classify_(const rsl_breaker *b, int result,
                                                              bool timed_out)
{
    bool own = b->config_.is_failure == NULL;
    if (RSL_LIKELY_(result == 0 && own && b->config_.is_ignored == NULL))
        return RSL_BREAKER_SUCCEEDED_;
    if (result == RSL_ECANCELED && own && !timed_out) return RSL_BREAKER_IGNORED_;
    return rsl_breaker_ask_(b, result);
}

/* ---- public functions ---- */

static inline bool rsl_breaker_is_dead_(const rsl_breaker *breaker)
{
    return breaker == NULL || rsl_load_relaxed_(&breaker->word_) == 0;
}

/* The straight way out for a success that came in straight: true when it is done, which is when
   the window says the same as before. *position: see rsl_breaker_succeed_. */
RSL_INLINE_ bool rsl_breaker_leave_straight_(rsl_breaker *b, rsl_execution *e, uint64_t word,
                                             uint64_t mode, struct rsl_breaker_shard_ *mine,
                                             uint64_t *position)
{
    rsl_time now = mode & RSL_BREAKER_TIME_WINDOW_ ? rsl_breaker_now_(b, e, mode) : 0;
    *position = rsl_breaker_none_;
    if (RSL_UNLIKELY_(!rsl_breaker_succeed_(b, word, mode, now, mine, position))) return false;
    if (mine != NULL) rsl_breaker_add_(mine, RSL_BREAKER_SUCCEEDED_);
    return true;
}

/* The rest of what came in straight. Returns the result. */
RSL_NOINLINE_ int rsl_breaker_leave_late_(rsl_breaker *b, rsl_execution *e, uint64_t word,
                                          int result, uint64_t position)
{
    rsl_breaker_permit permit = {word, 0, 0};
    bool timed_out = e != NULL && e->private_.timed_out;
    rsl_breaker_leave_slowly_(b, e, &permit, rsl_breaker_classify_(b, result, timed_out), result,
                              position);
    return result;
}

/* A call in whatever state and mode. */
RSL_NOINLINE_ int rsl_breaker_call_any_(rsl_breaker *b, const rsl_ctx *ctx, rsl_fn fn, void *arg)
{
    rsl_breaker_permit permit;
    if (rsl_breaker_is_dead_(b)) return RSL_EINVAL;
    int result = rsl_ctx_spent_(ctx, rsl_clock_pick_(ctx, &b->config_.clock));
    if (result == RSL_OK) result = rsl_breaker_enter_(b, NULL, &permit);
    if (result != RSL_OK) return result;
    result = fn(ctx, arg);
    rsl_breaker_leave_(b, NULL, &permit, rsl_breaker_classify_(b, result, false), result);
    return result;
}

/* Refused without a lock, or any other call. */
RSL_NOINLINE_ int rsl_breaker_call_unusual_(rsl_breaker *b, const rsl_ctx *ctx, rsl_fn fn,
                                            void *arg)
{
    enum rsl_breaker_code_ code = rsl_breaker_code_of_(rsl_load_(&b->word_));
    bool may_refuse = code == RSL_BREAKER_OPEN_ || code == RSL_BREAKER_HALF_OPEN_;
    if (!may_refuse || ctx->cancel != NULL || ctx->deadline != 0)
        return rsl_breaker_call_any_(b, ctx, fn, arg);
    rsl_time now = rsl_breaker_now_(b, NULL, rsl_breaker_mode_of_(b));
    if (now >= (rsl_time)rsl_load_relaxed_(&b->refuse_until_))
        return rsl_breaker_call_any_(b, ctx, fn, arg);
    return rsl_breaker_refuse_(b, now);
}

/* Closed, untimed, judged by default. `kind` is constant, so that each kind gets code of its own,
   which saves no more registers than it needs. */
RSL_INLINE_ int rsl_breaker_call_straight_(rsl_breaker *b, const rsl_ctx *ctx, rsl_fn fn,
                                           void *arg, uint64_t word, uint64_t kind)
{
    uint64_t position, kinds = RSL_BREAKER_TIME_WINDOW_ | RSL_BREAKER_COUNTED_;
    struct rsl_breaker_shard_ *mine = NULL;
    if (kind & RSL_BREAKER_COUNTED_) {
        mine = rsl_breaker_shard_(b);
        rsl_breaker_add_(mine, RSL_BREAKER_ADMITTED_);
    }
    int result = fn(ctx, arg);
    if (RSL_UNLIKELY_(result != 0))
        return rsl_breaker_leave_late_(b, NULL, word, result, rsl_breaker_none_);
    uint64_t mode = (rsl_breaker_mode_of_(b) & ~kinds) | kind;
    if (RSL_UNLIKELY_(!rsl_breaker_leave_straight_(b, NULL, word, mode, mine, &position)))
        return rsl_breaker_leave_late_(b, NULL, word, 0, position);
    return 0;
}

/* What costs least: no totals, and no time to tell. It saves two registers only. */
RSL_NOINLINE_ int rsl_breaker_call_bare_(rsl_breaker *b, const rsl_ctx *ctx, rsl_fn fn, void *arg,
                                         uint64_t word)
{
    int result = fn(ctx, arg);
    /* relaxed: nothing is read or written after */
    if (RSL_LIKELY_(result == 0 && rsl_load_relaxed_(&b->unclean_) == 0 &&
                    rsl_load_relaxed_(&b->word_) == word))
        return 0;
    return rsl_breaker_leave_late_(b, NULL, word, result, rsl_breaker_none_);
}

RSL_NOINLINE_ int rsl_breaker_call_counted_(rsl_breaker *b, const rsl_ctx *ctx, rsl_fn fn,
                                            void *arg, uint64_t word)
{
    return rsl_breaker_call_straight_(b, ctx, fn, arg, word, RSL_BREAKER_COUNTED_);
}

RSL_NOINLINE_ int rsl_breaker_call_time_(rsl_breaker *b, const rsl_ctx *ctx, rsl_fn fn, void *arg,
                                         uint64_t word)
{
    return rsl_breaker_call_straight_(b, ctx, fn, arg, word, RSL_BREAKER_TIME_WINDOW_);
}

RSL_NOINLINE_ int rsl_breaker_call_time_counted_(rsl_breaker *b, const rsl_ctx *ctx, rsl_fn fn,
                                                 void *arg, uint64_t word)
{
    return rsl_breaker_call_straight_(b, ctx, fn, arg, word,
                                      RSL_BREAKER_TIME_WINDOW_ | RSL_BREAKER_COUNTED_);
}

/* Only sends each call its way, by tail calls, so that none pays for what another needs. */
int rsl_breaker_call(rsl_breaker *breaker, const rsl_ctx *ctx, rsl_fn fn, void *arg)
{
    rsl_breaker *b = breaker;
    if (b == NULL || fn == NULL) return RSL_EINVAL;
    ctx = rsl_ctx_or_unlimited_(ctx);
    if (RSL_UNLIKELY_(ctx->cancel != NULL || ctx->deadline != 0))
        return rsl_breaker_call_any_(b, ctx, fn, arg);
    uint64_t word = rsl_load_(&b->word_), mode = rsl_breaker_mode_of_(b);
    if (RSL_UNLIKELY_(!rsl_breaker_may_enter_straight_(word, mode)))
        return rsl_breaker_call_unusual_(b, ctx, fn, arg);
    switch (mode & (RSL_BREAKER_TIME_WINDOW_ | RSL_BREAKER_COUNTED_ | RSL_BREAKER_RENEWED_)) {
    case 0:                        return rsl_breaker_call_bare_(b, ctx, fn, arg, word);
    case RSL_BREAKER_COUNTED_:     return rsl_breaker_call_counted_(b, ctx, fn, arg, word);
    case RSL_BREAKER_TIME_WINDOW_: return rsl_breaker_call_time_(b, ctx, fn, arg, word);
    case RSL_BREAKER_TIME_WINDOW_ | RSL_BREAKER_COUNTED_:
        return rsl_breaker_call_time_counted_(b, ctx, fn, arg, word);
    default: return rsl_breaker_call_any_(b, ctx, fn, arg);
    }
}

int rsl_breaker_allow(rsl_breaker *breaker, rsl_breaker_permit *permit)
{
    if (breaker == NULL || permit == NULL) return RSL_EINVAL;
    uint64_t word = rsl_load_(&breaker->word_);
    if (RSL_UNLIKELY_(!rsl_breaker_may_enter_straight_(word, rsl_breaker_mode_of_(breaker))))
        return rsl_breaker_enter_(breaker, NULL, permit);
    rsl_breaker_count_(breaker, RSL_BREAKER_ADMITTED_);
    permit->generation = word;
    permit->started = 0;
    permit->private_ = 0;
    return RSL_OK;
}

RSL_NOINLINE_ int rsl_breaker_report_any_(rsl_breaker *b, rsl_breaker_permit *permit, int result)
{
    if (rsl_breaker_is_dead_(b) || permit->generation == 0) return RSL_EINVAL;
    return rsl_breaker_leave_(b, NULL, permit, rsl_breaker_classify_(b, result, false), result);
}

/* Did a success with this permit come in straight, so that it may leave so? */
static inline bool rsl_breaker_is_straight_(const rsl_breaker *b, uint64_t word, uint64_t place)
{
    return rsl_breaker_code_of_(word) == RSL_BREAKER_CLOSED_ && place == 0 &&
           (rsl_breaker_mode_of_(b) & RSL_BREAKER_CUSTOM_) == 0;
}

int rsl_breaker_report(rsl_breaker *breaker, rsl_breaker_permit *permit, int result)
{
    uint64_t position;
    if (breaker == NULL || permit == NULL) return RSL_EINVAL;
    uint64_t word = permit->generation;
    if (RSL_UNLIKELY_(result != 0 || !rsl_breaker_is_straight_(breaker, word, permit->private_)))
        return rsl_breaker_report_any_(breaker, permit, result);
    permit->generation = 0;
    uint64_t mode = rsl_breaker_mode_of_(breaker);
    struct rsl_breaker_shard_ *mine = rsl_breaker_totals_(breaker);
    if (RSL_LIKELY_(rsl_breaker_leave_straight_(breaker, NULL, word, mode, mine, &position)))
        return RSL_OK;
    if (rsl_breaker_is_dead_(breaker)) return RSL_EINVAL;
    return rsl_breaker_leave_late_(breaker, NULL, word, 0, position);
}

int rsl_breaker_cancel(rsl_breaker *breaker, rsl_breaker_permit *permit)
{
    if (rsl_breaker_is_dead_(breaker) || permit == NULL) return RSL_EINVAL;
    return rsl_breaker_leave_(breaker, NULL, permit, RSL_BREAKER_DROPPED_, 0);
}

rsl_breaker_state rsl_breaker_state_get(rsl_breaker *breaker)
{
    if (rsl_breaker_is_dead_(breaker)) return RSL_BREAKER_CLOSED;
    uint64_t word = rsl_load_(&breaker->word_), mode = rsl_breaker_mode_of_(breaker);
    enum rsl_breaker_code_ code = rsl_breaker_code_of_(word);
    bool may_change = code == RSL_BREAKER_OPEN_ || code == RSL_BREAKER_CHANGING_ ||
                      (code == RSL_BREAKER_CLOSED_ && (mode & RSL_BREAKER_TIMED_));
    if (!may_change) return (rsl_breaker_state)(code - 1);

    rsl_time now = rsl_breaker_now_(breaker, NULL, mode);
    uint64_t edge = code == RSL_BREAKER_OPEN_ ? rsl_load_(&breaker->refuse_until_)
                                              : rsl_load_(&breaker->due_);
    bool same = rsl_load_relaxed_(&breaker->word_) == word; /* else the edge may be a later's */
    if (same && code != RSL_BREAKER_CHANGING_ && now < (rsl_time)edge)
        return (rsl_breaker_state)(code - 1);

    rsl_breaker_news_ news;
    rsl_breaker_news_start_(breaker, &news, false);
    rsl_lock_take_(&breaker->lock_);
    rsl_breaker_catch_up_(breaker, now, &news);
    word = breaker->word_;
    rsl_lock_drop_(&breaker->lock_);
    rsl_breaker_tell_(breaker, &news);
    return (rsl_breaker_state)(rsl_breaker_code_of_(word) - 1);
}

/* Lock held. */
static void rsl_breaker_stats_window_(rsl_breaker *b, rsl_breaker_stats *stats, rsl_time now)
{
    stats->failure_rate = stats->slow_rate = -1;
    if (!rsl_breaker_records_(b->word_)) return;
    rsl_breaker_tally_ tally = rsl_breaker_tally_get_(b, now);
    stats->calls = (uint32_t)tally.calls;
    stats->failures = (uint32_t)tally.failures;
    stats->slow = (uint32_t)tally.slow;
    bool rates = b->config_.window != RSL_WINDOW_CONSECUTIVE && tally.calls > 0 &&
                 tally.calls >= b->config_.calls_min;
    if (!rates) return;
    stats->failure_rate = (double)tally.failures / (double)tally.calls;
    stats->slow_rate = (double)tally.slow / (double)tally.calls;
}

void rsl_breaker_stats_get(rsl_breaker *breaker, rsl_breaker_stats *stats)
{
    if (stats == NULL) return;
    memset(stats, 0, sizeof *stats);
    if (rsl_breaker_is_dead_(breaker)) return;
    rsl_breaker_news_ news;
    rsl_breaker_news_start_(breaker, &news, false);
    rsl_time now = rsl_breaker_now_(breaker, NULL, rsl_breaker_mode_of_(breaker));
    rsl_lock_take_(&breaker->lock_);
    rsl_breaker_catch_up_(breaker, now, &news);
    stats->state = (rsl_breaker_state)(rsl_breaker_code_of_(breaker->word_) - 1);
    stats->opened = breaker->opened_;
    rsl_breaker_stats_window_(breaker, stats, now);
    rsl_lock_drop_(&breaker->lock_);
    rsl_breaker_tell_(breaker, &news);

    stats->succeeded = rsl_breaker_total_(breaker, RSL_BREAKER_SUCCEEDED_);
    stats->failed = rsl_breaker_total_(breaker, RSL_BREAKER_FAILED_);
    stats->ignored = rsl_breaker_total_(breaker, RSL_BREAKER_IGNORED_);
    stats->refused = rsl_breaker_total_(breaker, RSL_BREAKER_REFUSED_);
    uint64_t ended = stats->succeeded + stats->failed + stats->ignored +
                     rsl_breaker_total_(breaker, RSL_BREAKER_DROPPED_);
    uint64_t admitted = rsl_breaker_total_(breaker, RSL_BREAKER_ADMITTED_); /* last: not too few */
    stats->in_flight = admitted > ended ? (uint32_t)(admitted - ended) : 0;
}

int rsl_breaker_force(rsl_breaker *breaker, rsl_breaker_state state)
{
    if (rsl_breaker_is_dead_(breaker) || (int)state < (int)RSL_BREAKER_CLOSED ||
        (int)state > (int)RSL_BREAKER_METRICS_ONLY || state == RSL_BREAKER_HALF_OPEN)
        return RSL_EINVAL;
    rsl_breaker_news_ news;
    rsl_breaker_news_start_(breaker, &news, true);
    rsl_time now = rsl_breaker_now_(breaker, NULL, rsl_breaker_mode_of_(breaker));
    rsl_lock_take_(&breaker->lock_);
    breaker->reopenings_ = 0; /* OPEN: for open_for, not for what it had grown to */
    rsl_breaker_change_(breaker, state, 0, now, &news);
    rsl_lock_drop_(&breaker->lock_);
    rsl_breaker_tell_(breaker, &news);
    return RSL_OK;
}

/* ---- reconfigure ---- */

/* `config` with what must stay taken from the breaker; false when it asks for something else. */
static bool rsl_breaker_keep_(const rsl_breaker *b, rsl_breaker_config *config)
{
    const rsl_breaker_config *own = &b->config_;
    bool same = (config->window == RSL_WINDOW_DEFAULT || config->window == own->window) &&
                (config->window_calls == 0 || config->window_calls == own->window_calls) &&
                (config->window_buckets == 0 || config->window_buckets == own->window_buckets);
    config->window = own->window;
    config->window_calls = own->window_calls;
    config->window_buckets = own->window_buckets;
    config->name = own->name;
    config->uncounted = own->uncounted;
    config->is_failure = own->is_failure;
    config->is_ignored = own->is_ignored;
    config->user = own->user;
    config->clock = own->clock;
    config->random = own->random;
    config->observer = own->observer;
    return same;
}

/* The numbers alone: what threads read without the lock is not touched. */
static void rsl_breaker_copy_numbers_(rsl_breaker_config *to, const rsl_breaker_config *from)
{
    to->failures_max = from->failures_max;
    to->window_span = from->window_span;
    to->calls_min = from->calls_min;
    to->failure_rate = from->failure_rate;
    to->slow_after = from->slow_after;
    to->slow_rate = from->slow_rate;
    to->open_for = from->open_for;
    to->open_multiplier = from->open_multiplier;
    to->open_max = from->open_max;
    to->open_jitter = from->open_jitter;
    to->probes_max = from->probes_max;
    to->probes_needed = from->probes_needed;
    to->probe_for = from->probe_for;
}

/* Lock held. A time window starts anew, and with it the generation that may write it. */
static void rsl_breaker_respan_(rsl_breaker *b, rsl_time span)
{
    uint64_t word = b->word_;
    bool anew = b->config_.window == RSL_WINDOW_TIME && rsl_breaker_records_(word);
    if (anew) {
        word += 1 << 3;
        rsl_store_(&b->word_, word | RSL_BREAKER_CHANGING_); /* see [ORDER]; sets all its bits */
        rsl_breaker_clear_window_(b);
    }
    b->config_.window_span = span;
    b->epoch_end_ = 0;
    if (anew) rsl_store_(&b->word_, word);
}

/* Lock held; `room` and `flights` are memory that the new numbers need, or NULL. */
static void rsl_breaker_adopt_(rsl_breaker *b, const rsl_breaker_config *config,
                               struct rsl_breaker_probe_ **room,
                               struct rsl_breaker_flight_ **flights, rsl_time now,
                               rsl_breaker_news_ *news)
{
    if (*room != NULL && config->probes_max > b->probes_room_) {
        struct rsl_breaker_probe_ *old = b->probes_;
        memcpy(*room, old, b->probes_room_ * sizeof *old);
        b->probes_ = *room;
        b->probes_room_ = config->probes_max;
        *room = old;
    }
    if (*flights != NULL && b->flights_ == NULL) {
        b->flights_ = *flights;
        *flights = NULL;
    }
    if (b->config_.window_span != config->window_span) rsl_breaker_respan_(b, config->window_span);
    rsl_breaker_copy_numbers_(&b->config_, config);
    rsl_store_relaxed_(&b->fast_until_, 0);
    rsl_store_relaxed_(&b->due_, 0);
    rsl_breaker_set_mode_(b, RSL_BREAKER_RENEWED_);
    if (rsl_breaker_code_of_(b->word_) == RSL_BREAKER_HALF_OPEN_)
        rsl_breaker_probes_decide_(b, 0, now, news);
}

int rsl_breaker_reconfigure(rsl_breaker *breaker, const rsl_breaker_config *config)
{
    if (rsl_breaker_is_dead_(breaker) || config == NULL) return RSL_EINVAL;
    rsl_breaker_config c = *config;
    if (!rsl_breaker_keep_(breaker, &c) || rsl_breaker_config_check(&c) != NULL) return RSL_EINVAL;
    c = rsl_breaker_config_resolve(&c);
    rsl_lock_take_(&breaker->lock_);
    bool probes = c.probes_max > breaker->probes_room_;
    bool timing = c.slow_after != RSL_FOREVER && breaker->flights_ == NULL;
    rsl_lock_drop_(&breaker->lock_);

    struct rsl_breaker_probe_ *room = probes ? rsl_breaker_probes_new_(c.probes_max) : NULL;
    struct rsl_breaker_flight_ *flights = timing ? rsl_breaker_flights_new_() : NULL;
    int status = (probes && room == NULL) || (timing && flights == NULL) ? RSL_ENOMEM : RSL_OK;
    if (status == RSL_OK) {
        rsl_breaker_news_ news;
        rsl_breaker_news_start_(breaker, &news, false);
        if (c.open_jitter > 0) news.jitter = rsl_breaker_jitter_(breaker); /* the new numbers' */
        rsl_time now = rsl_breaker_now_(breaker, NULL, rsl_breaker_mode_of_(breaker));
        rsl_lock_take_(&breaker->lock_);
        rsl_breaker_adopt_(breaker, &c, &room, &flights, now, &news);
        rsl_lock_drop_(&breaker->lock_);
        rsl_breaker_tell_(breaker, &news);
    }
    if (room != NULL) RSL_FREE(room);
    if (flights != NULL) RSL_FREE(flights);
    return status;
}

/* ---- the layer. Slot: the permit ---- */

RSL_NOINLINE_ int rsl_breaker_layer_enter_any_(rsl_breaker *b, rsl_execution *e, rsl_slot *slot)
{
    rsl_breaker_permit permit;
    int status = rsl_breaker_enter_(b, e, &permit);
    slot->word[0] = permit.generation;
    slot->word[1] = (uint64_t)permit.started;
    slot->word[2] = permit.private_;
    return status;
}

static int rsl_breaker_layer_enter_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_breaker *b = (rsl_breaker *)self;
    if (b == NULL) return RSL_EINVAL;
    uint64_t word = rsl_load_(&b->word_);
    rsl_execution_timeless_(e);
    if (RSL_UNLIKELY_(!rsl_breaker_may_enter_straight_(word, rsl_breaker_mode_of_(b))))
        return rsl_breaker_layer_enter_any_(b, e, slot);
    rsl_breaker_count_(b, RSL_BREAKER_ADMITTED_);
    slot->word[0] = word; /* the rest of the permit is 0, as the slot is */
    return RSL_OK;
}

RSL_NOINLINE_ int rsl_breaker_layer_leave_any_(rsl_breaker *b, rsl_execution *e,
                                               const rsl_slot *slot, uint64_t position)
{
    rsl_breaker_permit permit = {slot->word[0], (rsl_time)slot->word[1], slot->word[2]};
    enum rsl_breaker_outcome_ outcome = RSL_BREAKER_DROPPED_;
    if (!e->refused) outcome = rsl_breaker_classify_(b, e->result, e->private_.timed_out);
    rsl_breaker_leave_slowly_(b, e, &permit, outcome, e->result, position);
    return RSL_DONE;
}

static int rsl_breaker_layer_leave_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_breaker *b = (rsl_breaker *)self;
    uint64_t word = slot->word[0], position;
    bool success = e->result == 0 && !e->refused;
    if (RSL_UNLIKELY_(!success || !rsl_breaker_is_straight_(b, word, slot->word[2])))
        return rsl_breaker_layer_leave_any_(b, e, slot, rsl_breaker_none_);
    uint64_t mode = rsl_breaker_mode_of_(b);
    struct rsl_breaker_shard_ *mine = rsl_breaker_totals_(b);
    if (RSL_UNLIKELY_(!rsl_breaker_leave_straight_(b, e, word, mode, mine, &position)))
        return rsl_breaker_layer_leave_any_(b, e, slot, position);
    return RSL_DONE;
}

static void rsl_breaker_layer_abandon_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_breaker_permit permit = {slot->word[0], (rsl_time)slot->word[1], slot->word[2]};
    rsl_breaker_leave_((rsl_breaker *)self, e, &permit, RSL_BREAKER_DROPPED_, 0);
}

rsl_layer rsl_breaker_layer(rsl_breaker *breaker)
{
    static const rsl_layer_type type = {"breaker", rsl_breaker_layer_enter_,
                                        rsl_breaker_layer_leave_, rsl_breaker_layer_abandon_};
    rsl_layer layer = {&type, breaker};
    return layer;
}

#endif /* RSL_BREAKER_IMPLEMENTATION */

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
