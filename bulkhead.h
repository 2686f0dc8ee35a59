/* bulkhead.h -- keeps one kind of work from using up what all others need: by permits, for calls
   in the caller's own thread, or by threads of its own behind a bounded queue.

       #define RSL_BULKHEAD_IMPLEMENTATION         in one C file of the program
       #include "bulkhead.h"

       rsl_bulkhead reports;                                  at most 10 at once, 20 more may wait
       rsl_bulkhead_config config = {.calls_max = 10, .waiting_max = 20, .wait_max = RSL_MS(50)};
       if (rsl_bulkhead_init(&reports, &config) != RSL_OK) ...

       int rc = rsl_bulkhead_call(&reports, &ctx, render, &job);     RSL_EFULL: no room

       rsl_workers *mail;                                     or two to eight threads of its own
       rsl_workers_config threads = {.threads_min = 2, .threads_max = 8, .queue_max = 100};
       if (rsl_workers_open(&mail, &threads) != RSL_OK) ...

       rsl_task task = {0};                                   in your memory: nothing is allocated
       rsl_workers_submit(mail, &ctx, send, &letter, &task);
       rsl_task_wait(&task, NULL, &rc);

   A bulkhead's permits lie in one of two ways:

             SPREAD: each thread keeps      all are out     GATHERED: one word counts
             what it gave back at hand  ----------------->  those in use and the limit
                        ^                                               |
                        +------------ permits sufficed for a while -----+

   A call that waits: QUEUED (higher priority first, then first come) until it is handed the permit
   of one that leaves, or is late, cancelled, or shed. A task:

             submit          taken: by a worker, or by            returned
        IDLE -------> QUEUED -------> who waits for it -> RUNNING -------> ENDING -> ENDED
          ^             |                                                   ^ told     |
          |             +-- cancelled, late, dropped, closed ---------------+          |
          +------------------------------- submit again -------------------------------+

   Invariants. Permits are conserved: those in use, at hand in any thread and free in the word sum
   up to what the word says was given out, and that exceeds the limit only after it has shrunk.
   Who waits is in the queue, and while anybody is, no permit is free. A task is taken out of the
   queue by exactly one: who takes it runs it or ends it. While a task is queued, a worker is
   awake, or has been told to wake, or all are at work and will look before they sleep.

   Options, to be defined before the implementation: RSL_STATIC (private copies), RSL_NO_THREADS
   (then there are no workers), RSL_MALLOC with RSL_FREE (used by init and open only), RSL_ASSERT.
   Link with -pthread. */
#ifndef RSL_BULKHEAD_H
#define RSL_BULKHEAD_H

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

/* ---- permits ---- */

/* How the limit finds itself. A limit that adapts starts at calls_max and moves between limit_min
   and limit_max, at each call that succeeds (its latency is a sample) or says "overload"; other
   failures and refusals tell nothing. AIMD and Gradient2 move once per round trip: a call that
   entered before the latest move moves nothing. When several leave at the very same moment, some
   are no sample. "In flight" is the number of calls inside,
   this one included, when it leaves. L is log10 of the limit, rounded down, at least 1. */
typedef enum rsl_bulkhead_limit {
    RSL_LIMIT_DEFAULT,   /* fixed */
    RSL_LIMIT_FIXED,
    RSL_LIMIT_AIMD,      /* overload: x 0.9; else + 1 if half the limit or more is in flight */
    RSL_LIMIT_VEGAS,     /* queue = limit x (1 - least latency / latency), rounded up; at most L:
                            + 6 L; below 3 L: + L; above 6 L, or overload: - L. Only if half the
                            limit is in flight. A sample below the least latency, as the first
                            is, only sets it; it is forgotten every 30 x limit samples (Brakmo,
                            Peterson: "TCP Vegas"; Netflix concurrency-limits) */
    RSL_LIMIT_GRADIENT2, /* x 0.5..1, as 1.5 x the long mean of the latency / the latency says,
                            + 4; a fifth of that way at a time; overload: x 0.9. Only if half
                            the limit is in flight (Netflix concurrency-limits) */
    RSL_LIMIT_LATENCY    /* judged after 100 samples, over latency_target at least, or after 1 s
                            with 10: the 95th percentile above 1.5 x latency_target, or an
                            overload in 20: x 0.8; else the mean below 0.8 x latency_target:
                            x 1.1, whatever is in flight */
} rsl_bulkhead_limit;

/* What happens to those who wait when the queue stands. */
typedef enum rsl_bulkhead_shed {
    RSL_SHED_DEFAULT, /* none */
    RSL_SHED_NONE,    /* they wait until wait_max or their deadline */
    RSL_SHED_CODEL    /* when nobody got through within shed_target for a whole shed_interval, the
                         newest goes first, and whoever has waited longer than shed_target is
                         refused, until nobody was for a shed_interval or the queue is empty
                         (Nichols, Jacobson: "Controlling Queue Delay"; Maurer: "Fail at
                         Scale") */
} rsl_bulkhead_shed;

typedef struct rsl_bulkhead rsl_bulkhead;

/* Zero means the default in brackets. Callbacks run without any lock, in the thread of the
   call. */
typedef struct rsl_bulkhead_config {
    const char *name;           /* source of events; must outlive the object (none) */
    uint32_t    calls_max;      /* at once, 1..1000000; where an adaptive limit starts (25) */
    uint32_t    waiting_max;    /* how many may wait; RSL_UNLIMITED allowed (none: refused) */
    rsl_time    wait_max;       /* how long; RSL_NONE: not at all (RSL_FOREVER: the ctx decides) */
    rsl_bulkhead_limit limit;   /* (fixed) */
    uint32_t    limit_min;      /* bounds of an adaptive limit, around calls_max (1) */
    uint32_t    limit_max;      /* at most 1000000 (1000, or calls_max if that is more) */
    rsl_time    latency_target; /* for RSL_LIMIT_LATENCY (100 ms) */
    rsl_bulkhead_shed shed;     /* of those who wait (none) */
    rsl_time    shed_target;    /* a wait that is fine (5 ms) */
    rsl_time    shed_interval;  /* how long the queue may stand above it (100 ms) */
    bool      (*is_overload)(int result, void *user); /* a result other than 0 that says the far
                                   side is overloaded (RSL_ETIMEOUT) */
    void       *user;           /* given to is_overload */
    rsl_clock    clock;         /* must be that of the executions it is used in, if any. With a
                                   fixed limit it is read by who waits only (real, precise) */
    rsl_observer observer;      /* told of enum rsl_bulkhead_event (none) */
} rsl_bulkhead_config;

typedef enum rsl_bulkhead_event {
    RSL_BULKHEAD_REFUSED = 1, /* no permit and no room to wait; status: RSL_EFULL */
    RSL_BULKHEAD_TIMED_OUT,   /* waited in vain; status: RSL_ETIMEOUT */
    RSL_BULKHEAD_SHED,        /* waited too long in a queue that stands; status: RSL_EFULL */
    RSL_BULKHEAD_LIMIT        /* the limit changed; value: what it is now */
} rsl_bulkhead_event;

/* Leave to be inside, once. Plain data in the caller's memory; left where it stands, not from a
   copy, by one thread at a time, which need not be the one that entered. */
typedef struct rsl_bulkhead_permit {
    rsl_time entered;  /* when the limit adapts; else 0 */
    uint64_t private_; /* whose it is; 0: none, or left */
} rsl_bulkhead_permit;

typedef struct rsl_bulkhead_stats {
    uint32_t limit, in_use, waiting; /* now; in_use is above a limit that has just shrunk */
    uint64_t admitted;               /* since init, as all below; calls let in */
    uint64_t refused;                /* for want of room to wait, and those shed */
    uint64_t timed_out;              /* waits that ended by wait_max or a deadline */
    rsl_time wait_total;             /* spent waiting, by all who waited and were let in */
    uint64_t waited;                 /* how many those were */
    uint64_t shed;                   /* of those refused: after a wait too long, and told */
    uint64_t canceled;               /* waits that were cancelled or abandoned */
} rsl_bulkhead_stats;

/* A value object: must not move between init and deinit. Shared by any number of threads. After a
   fork the child makes its own: permits of the parent's threads never come back to it. */
struct rsl_bulkhead {
    rsl_word_  center_;       /* atomic: see enum rsl_bulkhead_center_ */
    struct rsl_bulkhead_shard_ *shards_; /* permits at hand; NULL: dead; constant */
    rsl_word_  spread_;       /* atomic, written under lock_: a hint that the shards are open */
    uint32_t   mode_;         /* bits of enum rsl_bulkhead_mode_; constant */
    uint32_t   waiting_;      /* length of queue_; guarded by lock_ */
    rsl_waiters_ queue_;      /* who waits, next first; guarded by lock_ */
    rsl_word_  timed_out_, waited_, wait_total_, shed_, canceled_; /* atomic: counts */
    uint64_t   admitted_;     /* folded in from the words; guarded by lock_ */
    rsl_word_  learning_;     /* atomic: 1: somebody is at the next two */
    double     limit_;        /* that adapts, with its fraction; guarded by learning_ */
    struct rsl_bulkhead_latency_ { /* guarded by learning_ */
        double   least;       /* Vegas: latency without a queue; 0: none yet */
        double   mean;        /* Gradient2: of the long run; 0: none yet */
        double   total;       /* Latency: of the window */
        uint32_t samples;     /* of the window, or since the least was forgotten */
        uint32_t slow;        /* of those, too slow or overloads */
        rsl_time since;       /* when the window began, or the limit last moved */
    } latency_;
    struct rsl_bulkhead_codel_ { /* guarded by lock_ */
        rsl_time fine_at;     /* when somebody last got through in time, or nobody waited;
                                 while standing: when somebody was last refused */
        bool     standing;    /* the queue stands: newest first */
    } codel_;
    rsl_word_  events_;       /* atomic: events told so far */
    rsl_bulkhead_config config_; /* resolved; constant */
    void      *memory_;       /* the block that holds the shards */
    rsl_lock_  lock_;
};

/* NULL when init would take the config, else the field and the reason, as "limit_min: must lie in
   1..calls_max"; the text is static. NULL config: all defaults, fine. Pure. */
RSL_API const char *rsl_bulkhead_config_check(const rsl_bulkhead_config *config);

/* The values in force: each zero replaced by its default. NULL gives all defaults. Pure; it does
   not check. */
RSL_API rsl_bulkhead_config rsl_bulkhead_config_resolve(const rsl_bulkhead_config *config);

/* Makes a bulkhead with all permits free. The config is copied; what it points to stays the
   caller's. NULL config: all defaults. RSL_EINVAL: bulkhead is NULL or the config is wrong
   (rsl_bulkhead_config_check says how); RSL_ENOMEM; RSL_ESYS: no lock. After a failure the object
   is unusable but safe to deinit. Allocates 2 KB, here only. */
RSL_API int rsl_bulkhead_init(rsl_bulkhead *bulkhead, const rsl_bulkhead_config *config);

/* Ends it and frees its memory; nobody may be using it or waiting any more. Permits still out may
   be forgotten but not left. NULL is passed over. */
RSL_API void rsl_bulkhead_deinit(rsl_bulkhead *bulkhead);

/* Calls fn(ctx, arg) with a permit, which it waits for as the config and the ctx allow. Returns
   fn's result, whatever it is; RSL_EFULL when there is no permit and no room to wait, or when
   shed; RSL_ETIMEOUT when wait_max or the deadline passed; RSL_ECANCELED; RSL_EINVAL when bulkhead
   or fn is NULL or bulkhead is not initialised. fn never starts under a ctx that is spent. ctx
   NULL: no limits. fn must return on the thread that it was called on. From any thread; errno is
   as fn left it. */
RSL_API int rsl_bulkhead_call(rsl_bulkhead *bulkhead, const rsl_ctx *ctx, rsl_fn fn, void *arg);

/* The same as a layer of a policy (resilience.h), whose waits are waits of the execution; time is
   then the execution's. Refusals of inner layers give the permit back and are no sample; a call
   stopped by an inner timeout is an overload. The bulkhead must outlive the layer's use; NULL or
   not initialised: it refuses with RSL_EINVAL. */
RSL_API rsl_layer rsl_bulkhead_layer(rsl_bulkhead *bulkhead);

/* Takes a permit, and waits for one if there is room in the queue: to ctx's deadline, its cancel,
   and wait_max. Returns as rsl_bulkhead_call; *permit is written on RSL_OK only, and is then to
   be left. From any thread. While permits suffice: one compare-and-swap, usually on a line that
   only this thread's processor uses, and a clock read if the limit adapts. */
RSL_API int rsl_bulkhead_enter(rsl_bulkhead *bulkhead, const rsl_ctx *ctx,
                               rsl_bulkhead_permit *permit);

/* The same without waiting: RSL_EFULL when no permit is free or others wait for one. */
RSL_API int rsl_bulkhead_try(rsl_bulkhead *bulkhead, rsl_bulkhead_permit *permit);

/* Gives the permit back, to who waits first if anybody does; result is that of the call, as far as
   an adaptive limit cares. RSL_EINVAL: left before, not of this bulkhead, or NULL. From any
   thread; never waits; one compare-and-swap while nobody waits and the limit is fixed. */
RSL_API int rsl_bulkhead_leave(rsl_bulkhead *bulkhead, rsl_bulkhead_permit *permit, int result);

/* Sets the limit, 1..1000000; one that adapts goes on from there, and must lie in its bounds.
   Growing lets those in who wait; shrinking waits for nobody: calls inside stay, and none enters
   until fewer are inside. RSL_EINVAL: out of bounds, NULL, or not initialised. From any thread;
   brief locks. */
RSL_API int rsl_bulkhead_resize(rsl_bulkhead *bulkhead, uint32_t calls_max);

/* Writes a snapshot; exact once no call is under way. NULL bulkhead, or not initialised: *stats is
   zeroed. NULL stats is passed over. From any thread; a brief lock. */
RSL_API void rsl_bulkhead_stats_get(rsl_bulkhead *bulkhead, rsl_bulkhead_stats *stats);

/* ---- workers ---- */

typedef struct rsl_workers rsl_workers;
typedef struct rsl_task    rsl_task;

/* What submit does when queue_max tasks are queued. */
typedef enum rsl_when_full {
    RSL_FULL_DEFAULT,     /* reject */
    RSL_FULL_REJECT,      /* RSL_EFULL */
    RSL_FULL_WAIT,        /* waits for room, as long as the ctx allows */
    RSL_FULL_CALLER_RUNS, /* runs the task in the caller's thread, before it returns */
    RSL_FULL_DROP_OLDEST  /* ends the oldest of the lowest priority with RSL_EFULL, unless all
                             queued ones are of a higher priority: then RSL_EFULL */
} rsl_when_full;

/* Zero means the default in brackets. */
typedef struct rsl_workers_config {
    const char *name;         /* of the threads, cut so that "<name>-<number>" has 15 bytes, and
                                 source of events; must outlive the object ("rsl") */
    uint32_t    threads_min;  /* kept however idle, 1..threads_max (1) */
    uint32_t    threads_max;  /* at most 1024 (processors, or threads_min if that is more) */
    uint32_t    queue_max;    /* tasks queued, 1..16777216; submitters at the very same moment
                                 may exceed it by one each (1024) */
    rsl_when_full when_full;  /* (reject) */
    rsl_time    keep_alive;   /* idle time after which a thread above threads_min ends; RSL_NONE:
                                 at once (60 s) */
    size_t      stack_size;   /* of a thread, in bytes (the system's) */
    rsl_clock    clock;       /* for keep_alive, and deadlines of ctxs without a clock (real) */
    rsl_observer observer;    /* told of enum rsl_workers_event (none) */
} rsl_workers_config;

typedef enum rsl_workers_event {
    RSL_WORKERS_STARTED = 1, /* a thread; value: how many there are */
    RSL_WORKERS_ENDED,       /* a thread; value: how many are left */
    RSL_WORKERS_LOST,        /* a task ended its thread; value: how many are left */
    RSL_WORKERS_NO_THREAD,   /* one was wanted, and the system refused; status: RSL_ESYS */
    RSL_WORKERS_REFUSED,     /* a task; status: RSL_EFULL, RSL_ETIMEOUT, ... */
    RSL_WORKERS_DROPPED,     /* a queued task, for a newer one; status: RSL_EFULL */
    RSL_WORKERS_EXPIRED,     /* a queued task whose deadline passed; status: RSL_ETIMEOUT */
    RSL_WORKERS_UNFINISHED   /* stop or close gave up waiting; value: tasks queued and running */
} rsl_workers_event;

typedef struct rsl_workers_stats {
    uint32_t threads, idle;     /* now */
    uint32_t queued, running;   /* tasks now; running: on the workers' threads */
    uint64_t submitted;         /* since open, as all below; tasks accepted */
    uint64_t completed;         /* that returned, wherever they ran */
    uint64_t by_waiter;         /* of those completed: run by who waited for them */
    uint64_t by_caller;         /* of those completed: run by submit, as the queue was full */
    uint64_t canceled, expired, dropped; /* ended without having run; also those closed upon */
    uint64_t refused;           /* not accepted */
    uint64_t lost;              /* threads that a task ended; that task counts only here */
} rsl_workers_stats;

/* A task in the caller's memory: zeroed before its first use, and from submit until it has ended
   the library's, so it must not move or go. 128 bytes; best aligned to 64, for what the submitter
   and the worker write lies on two lines then. */
struct rsl_task {
    rsl_word_ state_;           /* atomic: ring position << 8 | bits of enum rsl_task_state_ */
    rsl_fn    fn_;              /* to attempt_: written by submit, constant while queued */
    void     *arg_;
    rsl_time  deadline_;
    rsl_cancel *cancel_;
    int32_t   priority_;
    uint32_t  attempt_;
    rsl_word_ token_;           /* atomic: the cancel that it runs under; 0: it does not run */
    int       result_;          /* written by who ends it */
    const rsl_clock *clock_;    /* like fn_; only if the state says so */
    rsl_workers *workers_;
    void    (*on_done_)(void *user);
    void     *user_;
    rsl_word_ park_;            /* atomic: where who waits for it sleeps */
    rsl_word_ self_;            /* atomic: the thread that runs it, if that is not a worker */
    rsl_task *next_, *prev_;    /* guarded by the workers' lock */
};

/* As rsl_bulkhead_config_check and _resolve. */
RSL_API const char *rsl_workers_config_check(const rsl_workers_config *config);
RSL_API rsl_workers_config rsl_workers_config_resolve(const rsl_workers_config *config);

/* Starts threads_min threads behind an empty queue and writes *workers. They take no signals, and
   are named "<name>-<number>". The config is copied; what it points to stays the caller's. NULL
   config: all defaults. RSL_EINVAL: workers is NULL or the config is wrong
   (rsl_workers_config_check says how), or RSL_NO_THREADS is defined; RSL_ENOMEM; RSL_ESYS: no
   thread or lock; then nothing is left behind and *workers is unchanged. Allocates, here only: 32
   bytes per task of queue_max, rounded up to a power of 2, and 0.6 KB per thread of
   threads_max. pthread_cancel does not end the threads; pthread_exit in a task does. */
RSL_API int rsl_workers_open(rsl_workers **workers, const rsl_workers_config *config);

/* Takes no more tasks, waits until all that it took have ended, ends the threads and frees. Waits
   to ctx's deadline or cancel (NULL: for ever). Only RSL_OK frees. RSL_ETIMEOUT, RSL_ECANCELED:
   closed to new work (RSL_ECLOSED), but still allocated, and what is queued goes on: call again,
   or rsl_workers_stop first to be quick. RSL_EINVAL: NULL, or called by a task on one of its
   threads. Not by a task that runs on another thread, for that would wait for itself; not while
   another thread closes or may still use the workers. Others may wait for tasks, or cancel. */
RSL_API int rsl_workers_close(rsl_workers *workers, const rsl_ctx *ctx);

/* Queues a task: fn(ctx, arg) will run once on one of the threads, or on that of who waits for it;
   unless it is cancelled, or ctx's deadline passes or its cancel fires, before it begins: then it
   ends with RSL_ECANCELED or RSL_ETIMEOUT and never runs. ctx is copied (NULL: no limits) and
   comes to fn with a cancel of the task's own under it; higher priorities go first. RSL_OK: the
   task is accepted, and will end. RSL_EFULL: no room, as config.when_full says, also when a task
   of these workers would wait for room that none of them can make; RSL_ETIMEOUT, RSL_ECANCELED:
   ctx is spent, or was before there was room; RSL_ECLOSED; RSL_ESYS: there is no thread and none
   can be started; RSL_EINVAL: workers, fn or task is NULL, or the task is queued or running; the
   task is then as it was. From any thread; blocks only with RSL_FULL_WAIT or _CALLER_RUNS; no
   allocation; no lock for tasks of priority 0 while the queue has room and the threads are busy;
   starting one more thread is the submitter's time. errno is kept, but for
   RSL_ESYS. */
RSL_API int rsl_workers_submit(rsl_workers *workers, const rsl_ctx *ctx, rsl_fn fn, void *arg,
                               rsl_task *task);

/* Waits until the task has ended: RSL_OK, and *result (may be NULL) is what fn returned, or why it
   never ran: RSL_ECANCELED, RSL_ETIMEOUT (late), RSL_EFULL (dropped), RSL_ECLOSED (stopped),
   RSL_ESYS (the last thread was lost, and no other could be started); RSL_ECANCELED also when it
   ended its thread. The node is then free. A wait without deadline and
   cancel runs the task itself, here, if it is still queued. RSL_ETIMEOUT, RSL_ECANCELED: the wait
   is over, the task is not. RSL_EINVAL: NULL, or never submitted; or a wait that could only end
   by itself: for a task that this thread is running, for one on another of these threads that
   waits for this one, or with a deadline inside a task when every thread of these workers waits
   in such a wait; or another thread waits for it already. Rings through tasks that waiters run on
   threads of their own are not seen. errno is kept. */
RSL_API int rsl_task_wait(rsl_task *task, const rsl_ctx *ctx, int *result);

/* Whether the task has ended and its node is free: rsl_task_wait would return at once. NULL, or
   never submitted: false. From any thread; one load. */
RSL_API bool rsl_task_has_ended(const rsl_task *task);

/* Cancels: a queued task ends with RSL_ECANCELED and never runs (RSL_OK, its on_done has been
   called, its node is free); for a running one its ctx's cancel fires (RSL_OK; then wait before
   the node is reused). RSL_EINVAL: NULL, not submitted, or it has ended. From any thread, as long
   as the node is there; a brief lock. */
RSL_API int rsl_task_cancel(rsl_task *task);

/* Has on_done(user) called when the task has ended, however it did; NULL: no more. Set before
   submit and kept for the next one. It comes once per accepted submit, from the thread that ended
   the task, with no lock held, and must only post, as to an event loop: when it returns the node
   is free. Who is woken by it calls rsl_task_wait, which waits for it to return. */
RSL_API void rsl_task_on_done(rsl_task *task, void (*on_done)(void *user), void *user);

/* Runs fn(ctx, item) for each of `count` items of `size` bytes from `items` on, at most
   threads_max (and 64) at once, this thread among them, and returns when no more are running.
   results (may be NULL) gets what each returned. RSL_OK: all were run; RSL_ETIMEOUT,
   RSL_ECANCELED: ctx was spent before, and those that never ran have that as result. RSL_EINVAL:
   workers or fn is NULL, items is NULL with a size and a count. A full, closed or busy queue
   slows it down but never fails it: then this thread runs all. May be called within a task. An
   item that ends its thread has RSL_ECANCELED as result. Takes 9 KB of stack; its helpers count as
   tasks. errno is kept. */
RSL_API int rsl_workers_map(rsl_workers *workers, const rsl_ctx *ctx, rsl_fn fn, void *items,
                            size_t size, size_t count, int *results);

/* Takes no more tasks (RSL_ECLOSED) and waits until all that it took have ended, to ctx's deadline
   or cancel (NULL: for ever). RSL_OK; RSL_ETIMEOUT, RSL_ECANCELED: some have not, and go on.
   RSL_EINVAL: NULL, or called by a task on one of its threads; by a task on another it would wait
   for itself. The threads stay; rsl_workers_restart lets tasks in again. */
RSL_API int rsl_workers_drain(rsl_workers *workers, const rsl_ctx *ctx);

/* The same in a hurry: what is queued ends with RSL_ECLOSED and never runs, what runs on the
   workers' threads is cancelled, but for what a task there runs by waiting for it. */
RSL_API int rsl_workers_stop(rsl_workers *workers, const rsl_ctx *ctx);

/* Takes tasks again after drain, stop, or a close that did not end. RSL_EINVAL: NULL. Not while
   another thread closes. */
RSL_API int rsl_workers_restart(rsl_workers *workers);

/* Writes up to `room` tasks that have not ended, those that run on the workers' threads first, and
   returns how many there are; of tasks that wait for others and run them, the innermost. To tell
   after a stop what did not finish: the pointers are good as long as their owners keep the nodes.
   NULL workers: 0; tasks may be NULL with room 0. A brief lock. */
RSL_API size_t rsl_workers_unfinished(rsl_workers *workers, rsl_task **tasks, size_t room);

/* Writes a snapshot; totals are exact once nothing is under way. NULL workers: *stats is zeroed.
   NULL stats is passed over. From any thread; a brief lock. */
RSL_API void rsl_workers_stats_get(rsl_workers *workers, rsl_workers_stats *stats);

#ifdef __cplusplus
}
#endif
#endif /* RSL_BULKHEAD_H */

/* ---------------------------------------------------------------- implementation */
#if (defined RSL_BULKHEAD_IMPLEMENTATION || defined RSL_IMPLEMENTATION || defined RSL_STATIC) && \
    !defined RSL_BULKHEAD_IMPLEMENTED_
#define RSL_BULKHEAD_IMPLEMENTED_

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

/* ---- permits: the words. The center counts the permits given out, and holds the limit beside
   them, so that one compare-and-swap judges both; the count of entries since it was last folded
   into admitted_ tells when permits have sufficed for a while. ----

   [SPREAD] While this bit is set, a permit that is given out is inside, or at hand in a shard: any
   thread may take it from there, and a leaving one puts it into its own. It is set before the
   first shard opens and cleared after the last has closed, both under the lock; so whoever finds
   it clear knows that all that is given out is inside.

   [HAND] The usual way adds without looking first, which costs half of a compare-and-swap: who
   takes may find that there was nothing, and takes the step back; who leaves may find the shard
   closed. Hence what a shard counts may be short for a moment by those who will step back, and
   closing keeps that debt. A step up in a closed shard that leaves something there is followed by
   a rescue: whoever made it carries what is there to the center. So no permit is lost or doubled,
   and one that seems to be gone is in the hands of somebody who is still inside enter or leave.

   [WAITED] Set exactly while queue_ is not empty: in the very compare-and-swap, under the lock,
   that finds no permit free. From then on nobody enters or leaves without the lock. So who leaves
   either comes before that swap, and makes it fail, or sees the bit, and serves the queue: nobody
   waits beside a free permit. */

#ifndef RSL_BULKHEAD_SHARDS_ /* the explorer has fewer of each */
#define RSL_BULKHEAD_SHARDS_ 16u
#define RSL_BULKHEAD_CALM_ 1024u /* entries through the center before the shards open again */
#endif

enum { RSL_BULKHEAD_CALLS_MAX_ = 1000000, RSL_BULKHEAD_LINE_ = 128 };

#define RSL_CENTER_GIVEN_   UINT64_C(0xfffff) /* permits given out */
#define RSL_CENTER_LIMIT_   20                /* where the limit begins */
#define RSL_CENTER_ENTERED_ (UINT64_C(1) << 40)
#define RSL_CENTER_WAITED_  (UINT64_C(1) << 61)
#define RSL_CENTER_SPREAD_  (UINT64_C(1) << 62)

/* A shard's word: permits at hand, signed, above its entries since they were last folded. */
#define RSL_SHARD_ONE_      (INT64_C(1) << 40)
#define RSL_SHARD_ENTERED_  (RSL_SHARD_ONE_ - 1)
#define RSL_SHARD_NONE_     (INT64_C(1) << 20)    /* entries start here, for steps back */
#define RSL_SHARD_FULL_     (RSL_SHARD_ONE_ >> 1) /* of entries: to be folded */
#define RSL_SHARD_CLOSED_   (-(INT64_C(1) << 62)) /* added to it: far below any debt */

enum rsl_bulkhead_mode_ {
    RSL_BULKHEAD_ADAPTS_ = 1, /* never spread: each sample needs the number in flight */
    RSL_BULKHEAD_SHEDS_ = 2
};

/* Two lines, as processors fetch them in pairs. */
typedef struct rsl_bulkhead_shard_ {
    rsl_word_ word;    /* atomic: see [HAND] */
    rsl_word_ refused; /* atomic: calls */
    uint64_t  unused_[RSL_BULKHEAD_LINE_ / 8 - 2];
} rsl_bulkhead_shard_;

/* What is gathered under the lock and done once it is dropped. */
typedef struct rsl_bulkhead_news_ {
    rsl_waiter *woken;  /* to be woken, in this order, linked by next */
    rsl_waiter *last;
    uint64_t    number; /* of a LIMIT event; 0: none */
    uint32_t    limit;
} rsl_bulkhead_news_;

static uint32_t rsl_center_given_(uint64_t center)
{
    return (uint32_t)(center & RSL_CENTER_GIVEN_);
}

static uint32_t rsl_center_limit_(uint64_t center)
{
    return (uint32_t)(center >> RSL_CENTER_LIMIT_ & 0xfffff);
}

static uint32_t rsl_center_entered_(uint64_t center)
{
    return (uint32_t)(center >> 40 & 0x1fffff);
}

static bool rsl_center_has_room_(uint64_t center)
{
    return rsl_center_given_(center) < rsl_center_limit_(center);
}

static int64_t rsl_shard_hand_(uint64_t word)
{
    return (int64_t)word >> 40;
}

/* Less than none, modulo 2^64, while steps back are owed that were counted and folded before. */
static uint64_t rsl_shard_entered_(uint64_t word)
{
    return (word & (uint64_t)RSL_SHARD_ENTERED_) - (uint64_t)RSL_SHARD_NONE_;
}

static bool rsl_shard_is_closed_(uint64_t word)
{
    return (int64_t)word < RSL_SHARD_CLOSED_ / 2;
}

/* ---- config ---- */

static bool rsl_bulkhead_overload_(int result, void *user)
{
    (void)user;
    return result == RSL_ETIMEOUT;
}

rsl_bulkhead_config rsl_bulkhead_config_resolve(const rsl_bulkhead_config *config)
{
    rsl_bulkhead_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *config;
    if (c.calls_max == 0) c.calls_max = 25;
    if (c.wait_max == 0) c.wait_max = RSL_FOREVER;
    else if (c.wait_max == RSL_NONE) c.wait_max = 0;
    if (c.limit == RSL_LIMIT_DEFAULT) c.limit = RSL_LIMIT_FIXED;
    if (c.limit_min == 0) c.limit_min = 1;
    if (c.limit_max == 0) c.limit_max = c.calls_max > 1000 ? c.calls_max : 1000;
    if (c.latency_target == 0) c.latency_target = RSL_MS(100);
    if (c.shed == RSL_SHED_DEFAULT) c.shed = RSL_SHED_NONE;
    if (c.shed_target == 0) c.shed_target = RSL_MS(5);
    if (c.shed_interval == 0) c.shed_interval = RSL_MS(100);
    if (c.is_overload == NULL) c.is_overload = rsl_bulkhead_overload_;
    return c;
}

const char *rsl_bulkhead_config_check(const rsl_bulkhead_config *config)
{
    rsl_bulkhead_config c = rsl_bulkhead_config_resolve(config);
    if (c.calls_max > RSL_BULKHEAD_CALLS_MAX_) return "calls_max: must lie in 1..1000000";
    if (c.wait_max < 0) return "wait_max: must not be negative";
    if ((int)c.limit < RSL_LIMIT_FIXED || c.limit > RSL_LIMIT_LATENCY)
        return "limit: not an rsl_bulkhead_limit";
    if (c.limit_max > RSL_BULKHEAD_CALLS_MAX_) return "limit_max: must lie in 1..1000000";
    if (c.limit != RSL_LIMIT_FIXED && c.limit_min > c.calls_max)
        return "limit_min: must lie in 1..calls_max";
    if (c.limit != RSL_LIMIT_FIXED && c.limit_max < c.calls_max)
        return "limit_max: must be at least calls_max";
    if (c.latency_target < 0) return "latency_target: must be above 0";
    if ((int)c.shed < RSL_SHED_NONE || c.shed > RSL_SHED_CODEL)
        return "shed: not an rsl_bulkhead_shed";
    if (c.shed_target < 0) return "shed_target: must be above 0";
    if (c.shed_interval < c.shed_target) return "shed_interval: must be at least shed_target";
    return rsl_clock_check_(&c.clock, c.waiting_max != 0);
}

int rsl_bulkhead_init(rsl_bulkhead *bulkhead, const rsl_bulkhead_config *config)
{
    if (bulkhead == NULL) return RSL_EINVAL;
    rsl_bulkhead *b = bulkhead;
    memset(b, 0, sizeof *b);
    if (rsl_bulkhead_config_check(config) != NULL) return RSL_EINVAL;
    b->config_ = rsl_bulkhead_config_resolve(config);
    size_t size = RSL_BULKHEAD_SHARDS_ * sizeof(rsl_bulkhead_shard_);
    char *memory = (char *)RSL_MALLOC(size + RSL_BULKHEAD_LINE_);
    if (memory == NULL) return RSL_ENOMEM;
    int status = rsl_lock_init_(&b->lock_);
    if (status != RSL_OK) {
        RSL_FREE(memory);
        return status;
    }
    size_t past = (uintptr_t)memory % RSL_BULKHEAD_LINE_;
    b->memory_ = memory;
    b->shards_ = (rsl_bulkhead_shard_ *)(void *)(memory + (RSL_BULKHEAD_LINE_ - past));
    memset(b->shards_, 0, size);
    b->limit_ = b->config_.calls_max;
    b->center_ = (uint64_t)b->config_.calls_max << RSL_CENTER_LIMIT_;
    if (b->config_.limit != RSL_LIMIT_FIXED) b->mode_ |= RSL_BULKHEAD_ADAPTS_;
    else b->center_ |= RSL_CENTER_SPREAD_, b->spread_ = 1;
    if (b->config_.shed == RSL_SHED_CODEL) b->mode_ |= RSL_BULKHEAD_SHEDS_;
    bool adapts = b->mode_ & RSL_BULKHEAD_ADAPTS_;
    for (uint32_t i = 0; i < RSL_BULKHEAD_SHARDS_; i++)
        b->shards_[i].word = (uint64_t)(RSL_SHARD_NONE_ + (adapts ? RSL_SHARD_CLOSED_ : 0));
    return RSL_OK;
}

void rsl_bulkhead_deinit(rsl_bulkhead *bulkhead)
{
    if (bulkhead == NULL || bulkhead->shards_ == NULL) return;
    RSL_ASSERT(bulkhead->queue_.first == NULL); /* somebody still waits */
    rsl_lock_deinit_(&bulkhead->lock_);
    RSL_FREE(bulkhead->memory_);
    bulkhead->shards_ = NULL;
}

/* ---- the two layouts. Lock held in all of these ---- */

/* Closes the shard, and gives what was at hand there. */
static uint64_t rsl_bulkhead_close_(rsl_bulkhead *b, rsl_bulkhead_shard_ *shard)
{
    uint64_t word = rsl_load_relaxed_(&shard->word), next;
    int64_t hand;
    do {
        hand = rsl_shard_hand_(word);
        int64_t debt = hand < 0 ? hand * RSL_SHARD_ONE_ : 0;
        next = (uint64_t)(RSL_SHARD_CLOSED_ + debt + RSL_SHARD_NONE_);
    } while (!rsl_cas_(&shard->word, &word, next));
    b->admitted_ += rsl_shard_entered_(word);
    return hand > 0 ? (uint64_t)hand : 0;
}

/* From SPREAD to GATHERED: all that is given out is inside afterwards. */
static void rsl_bulkhead_gather_(rsl_bulkhead *b)
{
    uint64_t at_hand = 0, center = rsl_load_relaxed_(&b->center_);
    if (!(center & RSL_CENTER_SPREAD_)) return;
    rsl_store_relaxed_(&b->spread_, 0);
    for (uint32_t i = 0; i < RSL_BULKHEAD_SHARDS_; i++)
        at_hand += rsl_bulkhead_close_(b, &b->shards_[i]);
    while (!rsl_cas_(&b->center_, &center, (center - at_hand) & ~RSL_CENTER_SPREAD_)) continue;
}

/* Sets the limit. Shrinking takes nothing away: nobody enters until fewer are inside. */
static void rsl_bulkhead_set_limit_(rsl_bulkhead *b, uint32_t limit, rsl_bulkhead_news_ *news)
{
    uint64_t center = rsl_load_relaxed_(&b->center_), next;
    if (rsl_center_limit_(center) == limit) return;
    do {
        next = center & ~(RSL_CENTER_GIVEN_ << RSL_CENTER_LIMIT_);
        next |= (uint64_t)limit << RSL_CENTER_LIMIT_;
    } while (!rsl_cas_(&b->center_, &center, next));
    news->limit = limit;
    if (b->config_.observer.on_event != NULL)
        news->number = rsl_add_relaxed_(&b->events_, 1) + 1; /* relaxed: a count */
}

/* Folds the entries of the center, and spreads if nobody waits and not all is given out. */
static void rsl_bulkhead_spread_(rsl_bulkhead *b)
{
    uint64_t center = rsl_load_relaxed_(&b->center_);
    bool may = !(b->mode_ & RSL_BULKHEAD_ADAPTS_);
    bool spreads;
    uint64_t entered, next;
    do {
        entered = rsl_center_entered_(center) * RSL_CENTER_ENTERED_;
        spreads = may && !(center & (RSL_CENTER_WAITED_ | RSL_CENTER_SPREAD_)) &&
                  rsl_center_has_room_(center);
        next = (center - entered) | (spreads ? RSL_CENTER_SPREAD_ : 0);
    } while (!rsl_cas_(&b->center_, &center, next));
    b->admitted_ += entered / RSL_CENTER_ENTERED_;
    if (!spreads) return;
    /* release: whoever finds the shard open finds the center spread */
    for (uint32_t i = 0; i < RSL_BULKHEAD_SHARDS_; i++)
        rsl_add_(&b->shards_[i].word, (uint64_t)-RSL_SHARD_CLOSED_);
    rsl_store_relaxed_(&b->spread_, 1);
}

/* ---- the queue ---- */

RSL_INLINE_ rsl_bulkhead_shard_ *rsl_bulkhead_shard_at_(rsl_bulkhead *b)
{
    return &b->shards_[rsl_shard_hash_(rsl_self_(), RSL_BULKHEAD_SHARDS_)];
}

static rsl_time rsl_waiter_since_(const rsl_waiter *waiter)
{
    return (rsl_time)waiter->private_.word[1];
}

static int32_t rsl_waiter_priority_(const rsl_waiter *waiter)
{
    return (int32_t)(uint32_t)waiter->private_.word[2];
}

/* Lock held. Behind all of the same priority or a higher one. */
static void rsl_bulkhead_push_(rsl_bulkhead *b, rsl_waiter *waiter, int32_t priority, rsl_time now)
{
    rsl_waiters_ *queue = &b->queue_;
    waiter->private_.word[1] = (uint64_t)now;
    waiter->private_.word[2] = (uint32_t)priority;
    rsl_waiters_push_(queue, waiter);
    b->waiting_++;
    rsl_waiter *after = waiter->private_.prev;
    while (after != NULL && rsl_waiter_priority_(after) < priority) after = after->private_.prev;
    if (after == waiter->private_.prev) return;
    rsl_waiters_unlink_(queue, waiter);
    rsl_waiter *before = after != NULL ? after->private_.next : queue->first;
    waiter->private_.prev = after;
    waiter->private_.next = before;
    before->private_.prev = waiter;
    if (after != NULL) after->private_.next = waiter;
    else queue->first = waiter;
}

/* Lock held: takes the waiter out, to be woken with this status. */
static void rsl_bulkhead_pull_(rsl_bulkhead *b, rsl_waiter *waiter, int status,
                               rsl_bulkhead_news_ *news)
{
    rsl_waiters_unlink_(&b->queue_, waiter);
    b->waiting_--;
    waiter->private_.word[0] = (uint64_t)(uint32_t)status;
    if (news->last != NULL) news->last->private_.next = waiter;
    else news->woken = waiter;
    news->last = waiter;
    /* relaxed: its owner looks under the lock, or acquires WOKEN */
    rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_WAKING_);
}

/* Lock held: whether the queue stands, and who is to be refused for it. */
static void rsl_bulkhead_shed_(rsl_bulkhead *b, rsl_time now, rsl_bulkhead_news_ *news)
{
    struct rsl_bulkhead_codel_ *codel = &b->codel_;
    rsl_time target = b->config_.shed_target, interval = b->config_.shed_interval;
    if (b->queue_.first == NULL) {
        codel->standing = false;
        codel->fine_at = now;
        return;
    }
    if (now - codel->fine_at >= interval) {
        bool late = now - rsl_waiter_since_(b->queue_.first) > target;
        codel->standing = !codel->standing && late;
        codel->fine_at = now;
    }
    if (!codel->standing) return;
    for (rsl_waiter *waiter = b->queue_.first, *next; waiter != NULL; waiter = next) {
        next = waiter->private_.next;
        if (now - rsl_waiter_since_(waiter) <= target) continue;
        rsl_bulkhead_pull_(b, waiter, RSL_EFULL, news);
        codel->fine_at = now; /* while standing: when somebody was last refused */
    }
}

/* Lock held: whose turn it is. */
static rsl_waiter *rsl_bulkhead_next_(rsl_bulkhead *b, rsl_time now)
{
    rsl_waiter *waiter = b->queue_.first;
    if (b->codel_.standing) {
        int32_t priority = rsl_waiter_priority_(waiter);
        for (rsl_waiter *newer = waiter; newer != NULL; newer = newer->private_.next) {
            if (rsl_waiter_priority_(newer) == priority) waiter = newer;
        }
    } else if (now - rsl_waiter_since_(waiter) <= b->config_.shed_target) {
        b->codel_.fine_at = now;
    }
    return waiter;
}

/* Lock held: hands free permits to those who wait, and keeps [WAITED] true. now: used only when
   the bulkhead sheds. */
static void rsl_bulkhead_serve_(rsl_bulkhead *b, rsl_time now, rsl_bulkhead_news_ *news)
{
    uint64_t center = rsl_load_relaxed_(&b->center_);
    if (!(center & RSL_CENTER_WAITED_)) return;
    bool sheds = b->mode_ & RSL_BULKHEAD_SHEDS_;
    if (sheds) rsl_bulkhead_shed_(b, now, news);
    /* relaxed, plain store below: while WAITED is set the center changes under the lock only */
    while (b->queue_.first != NULL && rsl_center_has_room_(center)) {
        rsl_waiter *waiter = sheds ? rsl_bulkhead_next_(b, now) : b->queue_.first;
        rsl_bulkhead_pull_(b, waiter, RSL_OK, news);
        b->admitted_++;
        center++;
    }
    if (b->queue_.first == NULL) center &= ~RSL_CENTER_WAITED_;
    rsl_store_(&b->center_, center);
}

/* No lock held. */
static void rsl_bulkhead_tell_(rsl_bulkhead *b, const rsl_bulkhead_news_ *news, rsl_time now)
{
    for (rsl_waiter *waiter = news->woken, *next; waiter != NULL; waiter = next) {
        next = waiter == news->last ? NULL : waiter->private_.next;
        rsl_waiter_wake_(waiter);
    }
    if (news->number == 0) return;
    rsl_event event = {b->config_.name, "limit", RSL_BULKHEAD_LIMIT, RSL_OK, news->number, now,
                       (int64_t)news->limit};
    rsl_emit_(&b->config_.observer, &event);
}

static void rsl_bulkhead_note_(rsl_bulkhead *b, const char *name, rsl_bulkhead_event kind,
                               int status, rsl_time now)
{
    if (b->config_.observer.on_event == NULL) return;
    uint64_t number = rsl_add_relaxed_(&b->events_, 1) + 1; /* relaxed: a count */
    if (now < 0) now = rsl_clock_now_(&b->config_.clock);
    rsl_event event = {b->config_.name, name, (int)kind, status, number, now, 0};
    rsl_emit_(&b->config_.observer, &event);
}

/* now: below 0: to be read. */
RSL_NOINLINE_ int rsl_bulkhead_refuse_(rsl_bulkhead *b, rsl_time now)
{
    rsl_add_relaxed_(&rsl_bulkhead_shard_at_(b)->refused, 1); /* relaxed: a count */
    rsl_bulkhead_note_(b, "refused", RSL_BULKHEAD_REFUSED, RSL_EFULL, now);
    return RSL_EFULL;
}

/* RSL_OK: entered after all; RSL_WAIT: the waiter is queued; RSL_EFULL: no room to wait. waiter
   NULL: never queued. */
static int rsl_bulkhead_line_up_(rsl_bulkhead *b, rsl_waiter *waiter, int32_t priority,
                                 rsl_time now)
{
    rsl_bulkhead_news_ news = {NULL, NULL, 0, 0};
    int status = RSL_OK;
    rsl_lock_take_(&b->lock_);
    rsl_bulkhead_gather_(b);
    uint64_t center = rsl_load_(&b->center_);
    if ((center & RSL_CENTER_WAITED_) && (b->mode_ & RSL_BULKHEAD_SHEDS_) && waiter != NULL) {
        rsl_bulkhead_serve_(b, now, &news); /* the shed make room in the queue */
        center = rsl_load_(&b->center_);
    }
    bool room = waiter != NULL && b->waiting_ < b->config_.waiting_max;
    for (;;) {
        bool enters = !(center & RSL_CENTER_WAITED_) && rsl_center_has_room_(center);
        if (enters && rsl_cas_(&b->center_, &center, center + 1 + RSL_CENTER_ENTERED_)) break;
        if (enters) continue;
        status = room ? RSL_WAIT : RSL_EFULL;
        if (!room || rsl_cas_(&b->center_, &center, center | RSL_CENTER_WAITED_)) break;
        status = RSL_OK;
    }
    if (status == RSL_WAIT) {
        if (b->waiting_ == 0) {
            b->codel_.standing = false;
            b->codel_.fine_at = now;
        }
        rsl_bulkhead_push_(b, waiter, priority, now);
    }
    rsl_lock_drop_(&b->lock_);
    rsl_bulkhead_tell_(b, &news, now);
    return status;
}

/* Ends a wait; the waiter's memory is free on return. RSL_OK: a permit is handed over; RSL_EFULL:
   shed; RSL_WAIT: it was queued still. */
static int rsl_bulkhead_end_wait_(rsl_bulkhead *b, rsl_waiter *waiter, rsl_time now)
{
    rsl_bulkhead_news_ news = {NULL, NULL, 0, 0};
    rsl_lock_take_(&b->lock_);
    bool queued = rsl_load_relaxed_(&waiter->private_.state) == RSL_WAITER_QUEUED_;
    if (queued) {
        rsl_waiters_unlink_(&b->queue_, waiter);
        b->waiting_--;
        rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_IDLE_);
        rsl_bulkhead_serve_(b, now, &news);
    }
    rsl_lock_drop_(&b->lock_);
    rsl_bulkhead_tell_(b, &news, now);
    if (queued) return RSL_WAIT;
    rsl_waiter_await_(waiter);
    rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_IDLE_);
    return (int)(int32_t)(uint32_t)waiter->private_.word[0];
}

/* A wait is over, with this outcome: RSL_OK, RSL_EFULL (shed), RSL_ETIMEOUT or RSL_ECANCELED. */
static int rsl_bulkhead_waited_(rsl_bulkhead *b, const rsl_waiter *waiter, int status,
                                rsl_time now)
{
    /* relaxed: counts */
    if (status == RSL_OK) {
        rsl_time waited = now - rsl_waiter_since_(waiter);
        rsl_add_relaxed_(&b->waited_, 1);
        rsl_add_relaxed_(&b->wait_total_, (uint64_t)(waited > 0 ? waited : 0));
    } else if (status == RSL_EFULL) {
        rsl_add_relaxed_(&b->shed_, 1);
        rsl_bulkhead_note_(b, "shed", RSL_BULKHEAD_SHED, status, now);
    } else if (status == RSL_ETIMEOUT) {
        rsl_add_relaxed_(&b->timed_out_, 1);
        rsl_bulkhead_note_(b, "timed out", RSL_BULKHEAD_TIMED_OUT, status, now);
    } else {
        rsl_add_relaxed_(&b->canceled_, 1);
    }
    return status;
}

/* ---- limits that adapt. Lock held in all of these; each gives the new limit ---- */

typedef struct rsl_bulkhead_sample_ {
    double   latency; /* in nanoseconds, above 0 */
    rsl_time entered, now;
    uint32_t in_flight;
    bool     overload;
} rsl_bulkhead_sample_;

static double rsl_limit_aimd_(double limit, const struct rsl_bulkhead_latency_ *past,
                              const rsl_bulkhead_sample_ *sample)
{
    if (sample->entered < past->since) return limit; /* the same round trip */
    if (sample->overload) return limit * 0.9;
    return sample->in_flight * 2.0 >= limit ? limit + 1 : limit;
}

static double rsl_limit_vegas_(double limit, struct rsl_bulkhead_latency_ *past,
                               const rsl_bulkhead_sample_ *sample)
{
    double unit = limit >= 1000 ? (limit >= 10000 ? (limit >= 100000 ? 5 : 4) : 3)
                                : (limit >= 100 ? 2 : 1);
    if (sample->overload) return limit - unit;
    if (++past->samples >= 30 * limit) past->least = 0; /* the path may have changed */
    if (past->least == 0 || sample->latency < past->least) {
        if (past->least == 0) past->samples = 0;
        past->least = sample->latency;
        return limit;
    }
    if (sample->in_flight * 2.0 < limit) return limit;
    double queue = limit * (1 - past->least / sample->latency); /* compared as if rounded up */
    if (queue <= unit) return limit + 6 * unit;
    if (queue <= 3 * unit - 1) return limit + unit;
    return queue > 6 * unit ? limit - unit : limit;
}

static double rsl_limit_gradient2_(double limit, struct rsl_bulkhead_latency_ *past,
                                   const rsl_bulkhead_sample_ *sample)
{
    bool moves = sample->entered >= past->since; /* another round trip */
    if (sample->overload) return moves ? limit * 0.9 : limit;
    double weight = past->samples < 10 ? 1.0 / ++past->samples : 2.0 / 601;
    past->mean += (sample->latency - past->mean) * weight;
    if (past->mean > 2 * sample->latency) past->mean *= 0.95; /* recovers quickly from load */
    if (!moves || sample->in_flight * 2.0 < limit) return limit;
    double gradient = 1.5 * past->mean / sample->latency;
    if (gradient > 1) gradient = 1;
    if (gradient < 0.5) gradient = 0.5;
    return limit * 0.8 + (limit * gradient + 4) * 0.2;
}

/* A 95th percentile above a bound is one sample in twenty, or more, above it. */
static double rsl_limit_latency_(double limit, struct rsl_bulkhead_latency_ *past,
                                 const rsl_bulkhead_sample_ *sample, rsl_time target)
{
    if (past->samples++ == 0) past->since = sample->now - (rsl_time)sample->latency;
    past->total += sample->latency;
    if (sample->overload || sample->latency > 1.5 * (double)target) past->slow++;
    rsl_time span = sample->now - past->since;
    bool many = past->samples >= 100 && span >= target;
    if (!many && !(past->samples >= 10 && span >= RSL_SEC(1))) return limit;
    double mean = past->total / past->samples;
    bool slow = past->slow > past->samples / 20;
    past->total = 0;
    past->samples = past->slow = 0;
    if (slow) return limit * 0.8;
    return mean < 0.8 * (double)target ? limit * 1.1 : limit;
}

static double rsl_bulkhead_judge_(rsl_bulkhead *b, const rsl_bulkhead_sample_ *sample)
{
    double limit = b->limit_;
    struct rsl_bulkhead_latency_ *past = &b->latency_;
    switch (b->config_.limit) {
    case RSL_LIMIT_AIMD:      limit = rsl_limit_aimd_(limit, past, sample); break;
    case RSL_LIMIT_VEGAS:     limit = rsl_limit_vegas_(limit, past, sample); break;
    case RSL_LIMIT_GRADIENT2: limit = rsl_limit_gradient2_(limit, past, sample); break;
    default:
        limit = rsl_limit_latency_(limit, past, sample, b->config_.latency_target);
        break;
    }
    if (limit < b->config_.limit_min) limit = b->config_.limit_min;
    if (limit > b->config_.limit_max) limit = b->config_.limit_max;
    bool moved = limit < b->limit_ || limit > b->limit_;
    if (moved && b->config_.limit != RSL_LIMIT_LATENCY) past->since = sample->now;
    return limit;
}

/* No lock held. Who finds somebody else learning goes on: one sample more or less is nothing, and
   waiting would make a convoy of those who leave. */
static void rsl_bulkhead_learn_(rsl_bulkhead *b, const rsl_bulkhead_sample_ *sample)
{
    rsl_bulkhead_news_ news = {NULL, NULL, 0, 0};
    uint64_t nobody = 0;
    if (!rsl_cas_(&b->learning_, &nobody, 1)) return;
    b->limit_ = rsl_bulkhead_judge_(b, sample);
    uint32_t limit = (uint32_t)(b->limit_ + 1e-9); /* 27 is 26.999... at times */
    bool moves = limit != rsl_center_limit_(rsl_load_relaxed_(&b->center_));
    if (moves) {
        rsl_lock_take_(&b->lock_);
        rsl_bulkhead_set_limit_(b, limit, &news);
        rsl_bulkhead_serve_(b, sample->now, &news);
        rsl_lock_drop_(&b->lock_);
    }
    rsl_store_(&b->learning_, 0);
    if (moves) rsl_bulkhead_tell_(b, &news, sample->now);
}

/* ---- leaving ---- */

typedef enum rsl_bulkhead_outcome_ { /* what a call that leaves tells */
    RSL_OUTCOME_NOTHING_, RSL_OUTCOME_SUCCESS_, RSL_OUTCOME_OVERLOAD_
} rsl_bulkhead_outcome_;

static rsl_bulkhead_outcome_ rsl_bulkhead_outcome_of_(rsl_bulkhead *b, int result)
{
    if (!(b->mode_ & RSL_BULKHEAD_ADAPTS_)) return RSL_OUTCOME_NOTHING_;
    if (result == 0) return RSL_OUTCOME_SUCCESS_;
    int saved = errno;
    bool overload = b->config_.is_overload(result, b->config_.user);
    errno = saved;
    return overload ? RSL_OUTCOME_OVERLOAD_ : RSL_OUTCOME_NOTHING_;
}

/* Gives a permit back under the lock, for somebody waits. */
RSL_NOINLINE_ void rsl_bulkhead_return_(rsl_bulkhead *b, rsl_time now)
{
    rsl_bulkhead_news_ news = {NULL, NULL, 0, 0};
    rsl_lock_take_(&b->lock_);
    uint64_t center = rsl_load_relaxed_(&b->center_);
    while (!rsl_cas_(&b->center_, &center, center - 1)) continue;
    rsl_bulkhead_serve_(b, now, &news);
    rsl_lock_drop_(&b->lock_);
    rsl_bulkhead_tell_(b, &news, now);
}

/* ---- entering and leaving without the lock ---- */

/* Without the lock unless somebody waits. now: used only when the bulkhead sheds. */
static void rsl_bulkhead_give_(rsl_bulkhead *b, rsl_time now)
{
    uint64_t center = rsl_load_relaxed_(&b->center_);
    while (!(center & RSL_CENTER_WAITED_)) {
        if (rsl_cas_(&b->center_, &center, center - 1)) return;
    }
    rsl_bulkhead_return_(b, now);
}

/* What somebody put into a shard that is closed goes to the center. */
RSL_NOINLINE_ void rsl_bulkhead_rescue_(rsl_bulkhead *b, rsl_bulkhead_shard_ *shard, rsl_time now)
{
    uint64_t word = rsl_load_relaxed_(&shard->word);
    while (rsl_shard_is_closed_(word) && (int64_t)word >= RSL_SHARD_CLOSED_ + RSL_SHARD_ONE_) {
        if (!rsl_cas_(&shard->word, &word, word - RSL_SHARD_ONE_)) continue;
        rsl_bulkhead_give_(b, now);
        word = rsl_load_relaxed_(&shard->word);
    }
}

static rsl_time rsl_bulkhead_now_(rsl_bulkhead *b, rsl_execution *e)
{
    if (!(b->mode_ & RSL_BULKHEAD_SHEDS_)) return 0;
    return e != NULL ? rsl_execution_now_(e) : rsl_clock_now_(&b->config_.clock);
}

/* There was nothing to take. */
RSL_NOINLINE_ bool rsl_bulkhead_step_back_(rsl_bulkhead *b, rsl_bulkhead_shard_ *shard)
{
    uint64_t before = rsl_add_(&shard->word, RSL_SHARD_ONE_ - 1);
    if (rsl_shard_is_closed_(before)) rsl_bulkhead_rescue_(b, shard, rsl_bulkhead_now_(b, NULL));
    return false;
}

/* acquire and release: what was done inside before this permit was left is seen. relaxed: a hint,
   which [HAND] lets be wrong; a look at the shard itself would cost as much as half the step. */
RSL_INLINE_ bool rsl_bulkhead_take_(rsl_bulkhead *b)
{
    rsl_bulkhead_shard_ *shard = rsl_bulkhead_shard_at_(b);
    if (RSL_UNLIKELY_(rsl_load_relaxed_(&b->spread_) == 0)) return false;
    uint64_t before = rsl_add_(&shard->word, 1 - (uint64_t)RSL_SHARD_ONE_);
    if (RSL_LIKELY_((int64_t)before >= RSL_SHARD_ONE_)) return true;
    return rsl_bulkhead_step_back_(b, shard);
}

/* From any shard, the own one first. */
static bool rsl_bulkhead_take_any_(rsl_bulkhead *b)
{
    uint32_t first = rsl_shard_hash_(rsl_self_(), RSL_BULKHEAD_SHARDS_);
    for (uint32_t i = 0; i < RSL_BULKHEAD_SHARDS_; i++) {
        rsl_bulkhead_shard_ *shard = &b->shards_[(first + i) % RSL_BULKHEAD_SHARDS_];
        uint64_t word = rsl_load_relaxed_(&shard->word);
        while ((int64_t)word >= RSL_SHARD_ONE_) {
            if (rsl_cas_(&shard->word, &word, word + 1 - RSL_SHARD_ONE_)) return true;
        }
    }
    return false;
}

RSL_NOINLINE_ void rsl_bulkhead_calm_(rsl_bulkhead *b)
{
    rsl_lock_take_(&b->lock_);
    rsl_bulkhead_spread_(b);
    rsl_lock_drop_(&b->lock_);
}

/* RSL_OK; RSL_EFULL: none is free, which is certain; RSL_WAIT: ask under the lock. */
RSL_NOINLINE_ int rsl_bulkhead_seek_(rsl_bulkhead *b)
{
    uint64_t center = rsl_load_(&b->center_);
    while (!(center & RSL_CENTER_WAITED_) && rsl_center_has_room_(center)) {
        if (!rsl_cas_(&b->center_, &center, center + 1 + RSL_CENTER_ENTERED_)) continue;
        uint32_t entered = rsl_center_entered_(center) + 1;
        if (RSL_UNLIKELY_(entered % RSL_BULKHEAD_CALM_ == 0)) rsl_bulkhead_calm_(b);
        return RSL_OK;
    }
    if (!(center & RSL_CENTER_SPREAD_)) return RSL_EFULL;
    return rsl_bulkhead_take_any_(b) ? RSL_OK : RSL_WAIT;
}

/* A permit was handed over, but nobody wants it any more. */
static void rsl_bulkhead_retract_(rsl_bulkhead *b, rsl_time now)
{
    rsl_lock_take_(&b->lock_);
    b->admitted_--; /* served under the lock, it was counted there */
    rsl_lock_drop_(&b->lock_);
    rsl_bulkhead_give_(b, now);
}

/* The shard had a debt, is closed, or its count of entries is full. */
RSL_NOINLINE_ int rsl_bulkhead_put_slowly_(rsl_bulkhead *b, rsl_bulkhead_shard_ *shard,
                                           uint64_t word, rsl_execution *e)
{
    if (rsl_shard_is_closed_(word)) {
        rsl_bulkhead_rescue_(b, shard, rsl_bulkhead_now_(b, e));
    } else if (word & RSL_SHARD_FULL_) {
        rsl_lock_take_(&b->lock_);
        word = rsl_load_relaxed_(&shard->word);
        while (!rsl_cas_(&shard->word, &word, word - rsl_shard_entered_(word))) continue;
        b->admitted_ += rsl_shard_entered_(word);
        rsl_lock_drop_(&b->lock_);
    }
    return RSL_OK;
}

RSL_NOINLINE_ int rsl_bulkhead_put_gathered_(rsl_bulkhead *b, rsl_execution *e)
{
    rsl_bulkhead_give_(b, rsl_bulkhead_now_(b, e));
    return RSL_OK;
}

/* A permit of a fixed limit. e: NULL outside an execution. */
RSL_INLINE_ int rsl_bulkhead_put_(rsl_bulkhead *b, rsl_execution *e)
{
    rsl_bulkhead_shard_ *shard = rsl_bulkhead_shard_at_(b);
    if (RSL_UNLIKELY_(rsl_load_relaxed_(&b->spread_) == 0))
        return rsl_bulkhead_put_gathered_(b, e);
    uint64_t before = rsl_add_(&shard->word, RSL_SHARD_ONE_);
    if (RSL_LIKELY_((int64_t)before >= 0 && !(before & RSL_SHARD_FULL_))) return RSL_OK;
    return rsl_bulkhead_put_slowly_(b, shard, before, e);
}

/* A permit of a limit that adapts, with what the call tells. */
RSL_NOINLINE_ int rsl_bulkhead_put_adapting_(rsl_bulkhead *b, rsl_bulkhead_outcome_ outcome,
                                             rsl_time entered, rsl_execution *e)
{
    rsl_time now = e != NULL ? rsl_execution_now_(e) : rsl_clock_now_(&b->config_.clock);
    uint64_t center = rsl_load_relaxed_(&b->center_);
    uint32_t in_flight = rsl_center_given_(center);
    bool idle = b->config_.limit == RSL_LIMIT_AIMD && outcome == RSL_OUTCOME_SUCCESS_ &&
                in_flight * 2 < rsl_center_limit_(center); /* it would say nothing */
    if (outcome != RSL_OUTCOME_NOTHING_ && !idle) {
        rsl_time latency = now > entered ? now - entered : 1;
        rsl_bulkhead_sample_ sample = {(double)latency, entered, now, in_flight,
                                       outcome == RSL_OUTCOME_OVERLOAD_};
        rsl_bulkhead_learn_(b, &sample);
    }
    rsl_bulkhead_give_(b, now);
    return RSL_OK;
}

/* ---- public functions ---- */

static bool rsl_bulkhead_is_dead_(const rsl_bulkhead *b)
{
    return RSL_UNLIKELY_(b == NULL) || RSL_UNLIKELY_(b->shards_ == NULL);
}

/* Which bulkhead a permit is of: the address, with a bit that no address has. */
static uint64_t rsl_bulkhead_mark_(const rsl_bulkhead *b)
{
    return (uint64_t)(uintptr_t)b | 1;
}

static void rsl_bulkhead_fill_(rsl_bulkhead *b, rsl_bulkhead_permit *permit)
{
    bool adapts = b->mode_ & RSL_BULKHEAD_ADAPTS_;
    permit->entered = adapts ? rsl_clock_now_(&b->config_.clock) : 0;
    permit->private_ = rsl_bulkhead_mark_(b);
}

/* In the queue, until served or until it is no use any more. */
static int rsl_bulkhead_wait_(rsl_bulkhead *b, const rsl_ctx *ctx, rsl_waiter *waiter,
                              rsl_word_ *park)
{
    const rsl_clock *clock = rsl_clock_pick_(ctx, &b->config_.clock);
    rsl_time until = rsl_time_add_(rsl_clock_now_(clock), b->config_.wait_max);
    if (ctx->deadline != 0 && ctx->deadline < until) until = ctx->deadline;
    int status = RSL_WAIT, spent = RSL_OK;
    while (rsl_load_(&waiter->private_.state) == RSL_WAITER_QUEUED_ && spent == RSL_OK) {
        rsl_ctx_sleep_(ctx, clock, park, until);
        if (rsl_cancel_fired(ctx->cancel)) spent = RSL_ECANCELED;
        else if (until != RSL_FOREVER && rsl_clock_now_(clock) >= until) spent = RSL_ETIMEOUT;
    }
    rsl_time now = rsl_clock_now_(&b->config_.clock);
    status = rsl_bulkhead_end_wait_(b, waiter, now);
    if (status == RSL_OK && (spent = rsl_ctx_spent_(ctx, clock)) != RSL_OK) {
        rsl_bulkhead_retract_(b, now); /* too late for the caller */
        status = RSL_WAIT;
    }
    return rsl_bulkhead_waited_(b, waiter, status == RSL_WAIT ? spent : status, now);
}

RSL_NOINLINE_ int rsl_bulkhead_enter_slowly_(rsl_bulkhead *b, const rsl_ctx *ctx,
                                             rsl_bulkhead_permit *permit)
{
    int status = rsl_bulkhead_seek_(b);
    bool waits = ctx != NULL && b->config_.waiting_max != 0 && b->config_.wait_max != 0;
    if (status == RSL_WAIT && !waits) {
        status = rsl_bulkhead_line_up_(b, NULL, 0, 0);
    } else if (status != RSL_OK && waits) {
        rsl_waiter waiter;
        rsl_word_ park = 0;
        rsl_waiter_park_(&waiter, &park);
        rsl_time now = rsl_clock_now_(&b->config_.clock);
        status = rsl_bulkhead_line_up_(b, &waiter, ctx->priority, now);
        if (status == RSL_WAIT) {
            status = rsl_bulkhead_wait_(b, ctx, &waiter, &park);
            if (status != RSL_OK) return status;
        }
    }
    if (status == RSL_EFULL) return rsl_bulkhead_refuse_(b, -1);
    rsl_bulkhead_fill_(b, permit);
    return RSL_OK;
}

int rsl_bulkhead_enter(rsl_bulkhead *bulkhead, const rsl_ctx *ctx, rsl_bulkhead_permit *permit)
{
    rsl_bulkhead *b = bulkhead;
    if (rsl_bulkhead_is_dead_(b) || permit == NULL) return RSL_EINVAL;
    if (RSL_UNLIKELY_(ctx != NULL)) {
        int spent = rsl_ctx_spent_(ctx, rsl_clock_pick_(ctx, &b->config_.clock));
        if (spent != RSL_OK) return spent;
    }
    if (RSL_LIKELY_(rsl_bulkhead_take_(b))) {
        permit->entered = 0;
        permit->private_ = rsl_bulkhead_mark_(b);
        return RSL_OK;
    }
    return rsl_bulkhead_enter_slowly_(b, rsl_ctx_or_unlimited_(ctx), permit);
}

int rsl_bulkhead_try(rsl_bulkhead *bulkhead, rsl_bulkhead_permit *permit)
{
    rsl_bulkhead *b = bulkhead;
    if (rsl_bulkhead_is_dead_(b) || permit == NULL) return RSL_EINVAL;
    if (RSL_LIKELY_(rsl_bulkhead_take_(b))) {
        permit->entered = 0;
        permit->private_ = rsl_bulkhead_mark_(b);
        return RSL_OK;
    }
    return rsl_bulkhead_enter_slowly_(b, NULL, permit);
}

int rsl_bulkhead_leave(rsl_bulkhead *bulkhead, rsl_bulkhead_permit *permit, int result)
{
    rsl_bulkhead *b = bulkhead;
    if (rsl_bulkhead_is_dead_(b) || permit == NULL) return RSL_EINVAL;
    if (RSL_UNLIKELY_(permit->private_ != rsl_bulkhead_mark_(b))) return RSL_EINVAL;
    permit->private_ = 0;
    if (RSL_UNLIKELY_(b->mode_ & RSL_BULKHEAD_ADAPTS_))
        return rsl_bulkhead_put_adapting_(b, rsl_bulkhead_outcome_of_(b, result),
                                          permit->entered, NULL);
    return rsl_bulkhead_put_(b, NULL);
}

int rsl_bulkhead_call(rsl_bulkhead *bulkhead, const rsl_ctx *ctx, rsl_fn fn, void *arg)
{
    rsl_bulkhead_permit permit;
    if (fn == NULL) return RSL_EINVAL;
    int status = rsl_bulkhead_enter(bulkhead, ctx, &permit);
    if (RSL_UNLIKELY_(status != RSL_OK)) return status;
    int result = fn(rsl_ctx_or_unlimited_(ctx), arg);
    rsl_bulkhead_leave(bulkhead, &permit, result);
    return result;
}

int rsl_bulkhead_resize(rsl_bulkhead *bulkhead, uint32_t calls_max)
{
    rsl_bulkhead *b = bulkhead;
    if (rsl_bulkhead_is_dead_(b)) return RSL_EINVAL;
    bool adapts = b->mode_ & RSL_BULKHEAD_ADAPTS_;
    uint32_t least = adapts ? b->config_.limit_min : 1;
    uint32_t most = adapts ? b->config_.limit_max : RSL_BULKHEAD_CALLS_MAX_;
    if (calls_max < least || calls_max > most) return RSL_EINVAL;
    rsl_bulkhead_news_ news = {NULL, NULL, 0, 0};
    rsl_time now = rsl_clock_now_(&b->config_.clock);
    for (uint64_t nobody = 0; !rsl_cas_(&b->learning_, &nobody, 1); nobody = 0) rsl_pause_(0);
    b->limit_ = calls_max;
    rsl_lock_take_(&b->lock_);
    rsl_bulkhead_gather_(b);
    rsl_bulkhead_set_limit_(b, calls_max, &news);
    rsl_bulkhead_serve_(b, now, &news);
    rsl_lock_drop_(&b->lock_);
    rsl_store_(&b->learning_, 0);
    rsl_bulkhead_tell_(b, &news, now);
    return RSL_OK;
}

void rsl_bulkhead_stats_get(rsl_bulkhead *bulkhead, rsl_bulkhead_stats *stats)
{
    rsl_bulkhead *b = bulkhead;
    if (stats == NULL) return;
    memset(stats, 0, sizeof *stats);
    if (rsl_bulkhead_is_dead_(b)) return;
    uint64_t at_hand = 0;
    rsl_lock_take_(&b->lock_);
    uint64_t center = rsl_load_(&b->center_);
    stats->admitted = b->admitted_ + rsl_center_entered_(center);
    for (uint32_t i = 0; i < RSL_BULKHEAD_SHARDS_; i++) {
        uint64_t word = rsl_load_(&b->shards_[i].word);
        if ((int64_t)word > 0) at_hand += (uint64_t)rsl_shard_hand_(word);
        stats->admitted += rsl_shard_entered_(word);
        stats->refused += rsl_load_relaxed_(&b->shards_[i].refused);
    }
    uint32_t given = rsl_center_given_(center);
    stats->in_use = given > at_hand ? given - (uint32_t)at_hand : 0;
    stats->limit = rsl_center_limit_(center);
    stats->waiting = b->waiting_;
    rsl_lock_drop_(&b->lock_);
    stats->timed_out = rsl_load_relaxed_(&b->timed_out_);
    stats->wait_total = (rsl_time)rsl_load_relaxed_(&b->wait_total_);
    stats->waited = rsl_load_relaxed_(&b->waited_);
    stats->shed = rsl_load_relaxed_(&b->shed_);
    stats->canceled = rsl_load_relaxed_(&b->canceled_);
    stats->refused += stats->shed;
}

/* ---- layer. Slot: outside, waiting or inside | end of the wait | when it entered ---- */

enum { RSL_BULKHEAD_OUTSIDE_, RSL_BULKHEAD_WAITING_, RSL_BULKHEAD_INSIDE_ };

static int rsl_bulkhead_layer_go_in_(rsl_execution *e, rsl_slot *slot)
{
    slot->word[0] = RSL_BULKHEAD_INSIDE_;
    slot->word[2] = (uint64_t)e->now;
    return RSL_OK;
}

/* Nothing at hand: to the center, or into the queue. */
RSL_NOINLINE_ int rsl_bulkhead_layer_ask_(rsl_bulkhead *b, rsl_execution *e, rsl_slot *slot)
{
    int status = rsl_bulkhead_seek_(b);
    bool waits = b->config_.waiting_max != 0 && b->config_.wait_max != 0;
    if (status != RSL_OK && (status == RSL_WAIT || waits))
        status = rsl_bulkhead_line_up_(b, waits ? &e->waiter : NULL, e->ctx.priority, e->now);
    if (status == RSL_OK) return rsl_bulkhead_layer_go_in_(e, slot);
    if (status == RSL_EFULL) return rsl_bulkhead_refuse_(b, e->now);
    slot->word[0] = RSL_BULKHEAD_WAITING_;
    e->wake_at = rsl_time_add_(e->now, b->config_.wait_max);
    slot->word[1] = (uint64_t)e->wake_at;
    return RSL_WAIT;
}

static int rsl_bulkhead_layer_ask_again_(rsl_bulkhead *b, rsl_execution *e, rsl_slot *slot)
{
    rsl_time until = (rsl_time)slot->word[1];
    bool queued = rsl_load_(&e->waiter.private_.state) == RSL_WAITER_QUEUED_;
    e->wake_at = until;
    if (queued && e->now < until) return RSL_WAIT;
    slot->word[0] = RSL_BULKHEAD_OUTSIDE_;
    int status = rsl_bulkhead_end_wait_(b, &e->waiter, e->now);
    if (status == RSL_WAIT) status = RSL_ETIMEOUT;
    rsl_bulkhead_waited_(b, &e->waiter, status, e->now);
    return status == RSL_OK ? rsl_bulkhead_layer_go_in_(e, slot) : status;
}

static int rsl_bulkhead_layer_enter_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_bulkhead *b = (rsl_bulkhead *)self;
    if (rsl_bulkhead_is_dead_(b)) return RSL_EINVAL;
    if (!(b->mode_ & RSL_BULKHEAD_ADAPTS_)) rsl_execution_timeless_(e);
    if (slot->word[0] != RSL_BULKHEAD_OUTSIDE_) return rsl_bulkhead_layer_ask_again_(b, e, slot);
    if (RSL_LIKELY_(rsl_bulkhead_take_(b)))
        return rsl_bulkhead_layer_go_in_(e, slot);
    return rsl_bulkhead_layer_ask_(b, e, slot);
}

static int rsl_bulkhead_layer_leave_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_bulkhead *b = (rsl_bulkhead *)self;
    if (RSL_LIKELY_(!(b->mode_ & RSL_BULKHEAD_ADAPTS_))) {
        rsl_bulkhead_put_(b, e);
        return RSL_DONE;
    }
    rsl_bulkhead_outcome_ outcome = RSL_OUTCOME_NOTHING_;
    if (e->private_.timed_out) outcome = RSL_OUTCOME_OVERLOAD_;
    else if (!e->refused) outcome = rsl_bulkhead_outcome_of_(b, e->result);
    rsl_bulkhead_put_adapting_(b, outcome, (rsl_time)slot->word[2], e);
    return RSL_DONE;
}

static void rsl_bulkhead_layer_abandon_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_bulkhead *b = (rsl_bulkhead *)self;
    if (slot->word[0] == RSL_BULKHEAD_INSIDE_) {
        rsl_bulkhead_give_(b, e->now);
    } else if (slot->word[0] == RSL_BULKHEAD_WAITING_) {
        bool late = e->private_.wait_cut && !rsl_cancel_fired(e->ctx.cancel);
        int status = rsl_bulkhead_end_wait_(b, &e->waiter, e->now);
        if (status == RSL_OK) rsl_bulkhead_retract_(b, e->now);
        if (status != RSL_EFULL) status = late ? RSL_ETIMEOUT : RSL_ECANCELED;
        rsl_bulkhead_waited_(b, &e->waiter, status, e->now);
    }
    slot->word[0] = RSL_BULKHEAD_OUTSIDE_;
}

rsl_layer rsl_bulkhead_layer(rsl_bulkhead *bulkhead)
{
    static const rsl_layer_type type = {"bulkhead", rsl_bulkhead_layer_enter_,
                                        rsl_bulkhead_layer_leave_, rsl_bulkhead_layer_abandon_};
    rsl_layer layer = {&type, bulkhead};
    return layer;
}

/* ---- workers ---- */

#ifndef RSL_WORKERS_SPINS_
/* A worker's looks before it sleeps, for longer than waking one takes. Who waits for a task takes
   a fifth of them: that is worth it only while a worker is awake. */
#define RSL_WORKERS_SPINS_ 200u
#endif

rsl_workers_config rsl_workers_config_resolve(const rsl_workers_config *config)
{
    rsl_workers_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *config;
    if (c.name == NULL) c.name = "rsl";
    if (c.threads_min == 0) c.threads_min = 1;
    if (c.threads_max == 0) {
        c.threads_max = rsl_processors_();
        if (c.threads_max < c.threads_min) c.threads_max = c.threads_min;
    }
    if (c.queue_max == 0) c.queue_max = 1024;
    if (c.when_full == RSL_FULL_DEFAULT) c.when_full = RSL_FULL_REJECT;
    if (c.keep_alive == 0) c.keep_alive = RSL_SEC(60);
    else if (c.keep_alive == RSL_NONE) c.keep_alive = 0;
    return c;
}

enum { RSL_THREADS_MAX_ = 1024, RSL_QUEUE_MAX_ = 1 << 24 };

const char *rsl_workers_config_check(const rsl_workers_config *config)
{
#ifdef RSL_NO_THREADS
    (void)config;
    return "threads_min: there are no threads with RSL_NO_THREADS";
#else
    rsl_workers_config c = rsl_workers_config_resolve(config);
    if (c.threads_max > RSL_THREADS_MAX_) return "threads_max: must lie in 1..1024";
    if (c.threads_min > c.threads_max) return "threads_min: must lie in 1..threads_max";
    if (c.queue_max > RSL_QUEUE_MAX_) return "queue_max: must lie in 1..16777216";
    if ((int)c.when_full < RSL_FULL_REJECT || c.when_full > RSL_FULL_DROP_OLDEST)
        return "when_full: not an rsl_when_full";
    if (c.keep_alive < 0) return "keep_alive: must not be negative";
    if (c.stack_size != 0 && c.stack_size < 16384)
        return "stack_size: must be 0 or at least 16 KB";
    return rsl_clock_check_(&c.clock, false);
#endif
}

/* A task's state: where in the ring it is, above what is going on. QUEUED also while it runs: who
   takes it out of its cell, or out of the list, is its owner from then on, and needs not say so.

   [END] Whoever waits sets SLEEPER first, and who comes to a task from outside PINNED, while it
   enters the workers as a guest, or uses token_. The end is one compare-and-swap, which waits for
   PINNED to go: so a task that has not ended keeps its workers there. Without SLEEPER or NOTIFY it
   says ENDED and is the last touch; else it says ENDING, then the sleeper is posted and on_done
   called, then ENDED is stored, the last touch. Who gives up waiting takes SLEEPER back, or finds
   the task ended. So nobody sleeps on an ended task, and its memory is free once it says ENDED. */
enum rsl_task_state_ {
    RSL_TASK_IDLE_,
    RSL_TASK_CLAIMED_, /* being submitted */
    RSL_TASK_NO_ROOM_, /* its submit waits for room */
    RSL_TASK_QUEUED_,
    RSL_TASK_ENDING_,
    RSL_TASK_ENDED_,
    RSL_TASK_PHASE_ = 7,
    RSL_TASK_LISTED_ = 8,    /* in the list, not in the ring; guarded by the workers' lock */
    RSL_TASK_SLEEPER_ = 16,  /* somebody sleeps on park_ */
    RSL_TASK_NOTIFY_ = 32,   /* on_done_ is set */
    RSL_TASK_PINNED_ = 64,
    RSL_TASK_CLOCK_ = 128,   /* clock_ is set */
    RSL_TASK_POSITION_ = 256 /* unit of the ring position */
};

#ifndef RSL_NO_THREADS

static uint64_t rsl_task_phase_(uint64_t state)
{
    return state & RSL_TASK_PHASE_;
}

/* ---- the ring: bounded, many producers, many consumers (Vyukov: "Bounded MPMC queue"). A cell's
   seq is its position when free, one more when filled; a lap later it is free again. `task` is
   exchanged out by exactly one: who pops, who cancels, or who waits and runs it; the latter two
   leave a hole behind, which is counted and popped in its turn. ---- */

typedef struct rsl_cell_ {
    rsl_word_ seq;  /* atomic */
    rsl_word_ task; /* atomic; 0: a hole */
} rsl_cell_;

#define RSL_TOKEN_GONE_  UINT64_C(1) /* in token_: the task has been run; 0: not yet */
#define RSL_TAIL_CLOSED_ UINT64_C(1) /* no more tasks; the position is above */
#define RSL_HEAD_WANTED_ UINT64_C(1) /* somebody waits for room */
#define RSL_HEAD_OLDER_  UINT64_C(2) /* the list has tasks that go before those of the ring */
#define RSL_HEAD_ONE_    UINT64_C(4) /* unit of the position */

/* [HANDS] One word says how many threads there are and how many of them are idle, and whether a
   wake-up is pending: somebody is about to wake an idle one or to start one, or has done so and it
   has not looked yet. Who submits takes a place (the tail's, or in the list), then looks at this
   word; who goes idle enters itself here, then looks at the tail and the list: all strict, so one
   of the two sees the other. A pending wake-up stands for all that has its place before it is
   taken back, for who is woken takes it back first and looks then; or, when there is nobody to
   wake, it is taken back under the lock, which all must take to go idle. Who was woken, and leaves
   more behind, wakes the next. */
#define RSL_HANDS_THREAD_  UINT64_C(1)
#define RSL_HANDS_IDLE_    (UINT64_C(1) << 16)
#define RSL_HANDS_PENDING_ (UINT64_C(1) << 32)

typedef enum rsl_worker_state_ {
    RSL_WORKER_NONE_, RSL_WORKER_ALIVE_, RSL_WORKER_OVER_ /* to be joined */
} rsl_worker_state_;

typedef struct rsl_list_ { rsl_task *first, *last; } rsl_list_;

typedef struct rsl_worker_ {
    rsl_word_  current;   /* atomic: the task that it runs, innermost; 0: none */
    rsl_word_  completed; /* atomic, its own */
    rsl_word_  self;      /* atomic: the thread's number; 0: none */
    rsl_word_  park;      /* atomic */
    rsl_workers *workers;
    rsl_task  *running;   /* what current says; its own */
    rsl_cancel token;     /* what its tasks see; fired and renewed under firing */
    rsl_cancel linked;    /* the same under a task's own cancel, while is_linked */
    struct rsl_worker_ *next, *prev; /* in the list of the idle; guarded by lock, as all below */
    rsl_task  *waits_on;  /* what the task that it runs waits for */
    uint32_t   firing;    /* calls of fire under way on its token */
    rsl_worker_state_ state;
    bool       is_idle, is_linked;
    bool       waits_for_room;
    bool       started;   /* its handle is written */
    bool       owes;      /* it was woken or started: takes the pending wake-up back */
    rsl_thread_ thread;
} rsl_worker_;

struct rsl_workers {
    rsl_cell_ *cells;     /* constant, as all to the next line */
    uint64_t   mask;
    uint32_t   queue_max, threads_max;
    rsl_worker_ *team;    /* threads_max of them */
    rsl_workers_config config;
    uint64_t   line_a_[16];
    rsl_word_  tail;      /* atomic: position << 1 | CLOSED */
    rsl_word_  head_seen; /* atomic: what head was not long ago */
    uint64_t   line_b_[14];
    rsl_word_  head;      /* atomic: position << 2 | flags, which change under lock */
    uint64_t   line_c_[15];
    rsl_word_  hands;     /* atomic: see [HANDS]; PENDING is set without, all else under lock */
    rsl_word_  listed;    /* atomic, written under lock: how many are in the list, those of
                             priority < 0 << 32 | others */
    rsl_word_  holes;     /* atomic, signed */
    uint64_t   line_d_[13];
    rsl_word_  guests;    /* atomic: other threads that handle tasks of ours << 1 | DRAINING */
    rsl_word_  by_waiter, by_caller; /* atomic: counts, as below */
    rsl_word_  to_caller; /* submitted, to be run by who does */
    rsl_word_  canceled, expired, dropped, refused;
    rsl_word_  events;    /* atomic: events told so far */
    rsl_lock_  lock;
    rsl_list_  list[2];   /* of priority 0 and up, and below, highest first; guarded by lock, as
                             all below */
    rsl_worker_ *idle;    /* latest first */
    rsl_waiters_ room;    /* who waits for room */
    rsl_waiters_ drainers;
    uint64_t   submitted; /* to the list, less what was taken back */
    uint64_t   lost;
    uint64_t   completed; /* by threads that ended */
    uint32_t   stuck;     /* of the threads, those in a wait for a task or for room */
    bool       ending;    /* threads end when there is nothing to do */
    bool       stopped;   /* what runs, or is about to, is cancelled */
};

static uint32_t rsl_hands_threads_(uint64_t hands) { return (uint32_t)(hands & 0xffff); }
static uint32_t rsl_hands_idle_(uint64_t hands)    { return (uint32_t)(hands >> 16 & 0xffff); }

static void rsl_hands_change_(rsl_workers *w, uint64_t plus, uint64_t minus, uint64_t clear)
{
    uint64_t hands = rsl_load_relaxed_(&w->hands);
    while (!rsl_cas_strict_(&w->hands, &hands, (hands + plus - minus) & ~clear)) continue;
}

static void rsl_workers_note_(rsl_workers *w, const char *name, rsl_workers_event kind, int status,
                              int64_t value)
{
    if (w->config.observer.on_event == NULL) return;
    rsl_event event = {w->config.name, name, (int)kind, status,
                       rsl_add_relaxed_(&w->events, 1) + 1, /* relaxed: a count */
                       rsl_clock_now_(&w->config.clock), value};
    rsl_emit_(&w->config.observer, &event);
}

static void rsl_count_(rsl_word_ *count)
{
    rsl_add_relaxed_(count, 1); /* relaxed: a count */
}

/* ---- the end of a task: see [END] ---- */

static void rsl_task_end_(rsl_task *task, int result)
{
    enum { TOLD = RSL_TASK_SLEEPER_ | RSL_TASK_NOTIFY_ };
    uint64_t state = rsl_load_relaxed_(&task->state_);
    task->result_ = result;
    for (;;) {
        if (state & RSL_TASK_PINNED_) {
            rsl_pause_(0);
            state = rsl_load_relaxed_(&task->state_);
            continue;
        }
        uint64_t next = state & TOLD ? RSL_TASK_ENDING_ : RSL_TASK_ENDED_;
        if (rsl_cas_(&task->state_, &state, next)) break;
    }
    if (!(state & TOLD)) return;
    if (state & RSL_TASK_SLEEPER_) rsl_park_post_(&task->park_);
    if (state & RSL_TASK_NOTIFY_) {
        int saved = errno, cancelable = rsl_uncancelable_();
        task->on_done_(task->user_);
        rsl_cancelable_(cancelable);
        errno = saved;
    }
    rsl_store_(&task->state_, RSL_TASK_ENDED_);
}

/* ---- drain: who waits for the end of all ---- */

/* A guest is another thread in the middle of something with a task of ours. While somebody drains,
   it departs under the lock, which is its last touch. */
#define RSL_GUESTS_DRAINING_ UINT64_C(1)

/* Lock held. */
static bool rsl_workers_are_done_(rsl_workers *w)
{
    uint64_t hands = rsl_load_strict_(&w->hands), tail = rsl_load_strict_(&w->tail);
    uint64_t head = rsl_load_strict_(&w->head);
    return rsl_load_strict_(&w->guests) >> 1 == 0 && tail >> 1 == head / RSL_HEAD_ONE_ &&
           rsl_load_relaxed_(&w->listed) == 0 &&
           rsl_hands_idle_(hands) == rsl_hands_threads_(hands);
}

/* Lock held; dropped on return. */
static void rsl_workers_tell_drainers_(rsl_workers *w)
{
    rsl_waiters_ told = {NULL, NULL};
    bool drains = rsl_load_relaxed_(&w->guests) & RSL_GUESTS_DRAINING_;
    if (drains && rsl_workers_are_done_(w)) {
        told = w->drainers;
        for (rsl_waiter *waiter = told.first; waiter != NULL; waiter = waiter->private_.next)
            rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_WAKING_);
        w->drainers.first = w->drainers.last = NULL;
    }
    rsl_lock_drop_(&w->lock);
    for (rsl_waiter *waiter = told.first, *next; waiter != NULL; waiter = next) {
        next = waiter->private_.next;
        rsl_waiter_wake_(waiter);
    }
}

/* Until it departs, nobody is told that all is done. */
static void rsl_workers_visit_(rsl_workers *w)
{
    rsl_add_(&w->guests, 2);
}

static void rsl_workers_depart_(rsl_workers *w)
{
    uint64_t guests = rsl_load_relaxed_(&w->guests);
    while (!(guests & RSL_GUESTS_DRAINING_)) {
        if (rsl_cas_(&w->guests, &guests, guests - 2)) return;
    }
    rsl_lock_take_(&w->lock);
    rsl_add_(&w->guests, UINT64_MAX - 1);
    rsl_workers_tell_drainers_(w);
}

static void rsl_task_unpin_(rsl_task *task)
{
    uint64_t state = rsl_load_relaxed_(&task->state_);
    while (!rsl_cas_(&task->state_, &state, state & ~(uint64_t)RSL_TASK_PINNED_)) continue;
}

/* False: it has ended, or is just about to. Strict: see rsl_task_drop_token_. */
static bool rsl_task_pin_(rsl_task *task)
{
    uint64_t state = rsl_load_(&task->state_);
    while (rsl_task_phase_(state) == RSL_TASK_QUEUED_) {
        if (state & RSL_TASK_PINNED_) {
            rsl_pause_(0); /* by another, for a moment */
            state = rsl_load_(&task->state_);
        } else if (rsl_cas_strict_(&task->state_, &state, state | RSL_TASK_PINNED_)) {
            return true;
        }
    }
    return false;
}

/* The workers of a task that has not ended, as their guest; NULL: it has. */
static rsl_workers *rsl_task_visit_(rsl_task *task)
{
    if (!rsl_task_pin_(task)) return NULL;
    rsl_workers *w = task->workers_;
    rsl_workers_visit_(w);
    rsl_task_unpin_(task);
    return w;
}

/* ---- threads, woken and started ---- */

static void rsl_worker_main_(void *arg);

/* Strict: the other half of [HANDS]. A task counts from when it has its place on, though it may
   not be published yet: then look again. */
static bool rsl_workers_have_tasks_(rsl_workers *w)
{
    uint64_t tail = rsl_load_strict_(&w->tail);
    return tail >> 1 != rsl_load_strict_(&w->head) / RSL_HEAD_ONE_ ||
           rsl_load_strict_(&w->listed) != 0;
}

/* Lock held: takes out of the list of the idle. */
static void rsl_worker_unlink_(rsl_workers *w, rsl_worker_ *worker)
{
    if (worker->next != NULL) worker->next->prev = worker->prev;
    if (worker->prev != NULL) worker->prev->next = worker->next;
    else w->idle = worker->next;
    worker->is_idle = false;
}

/* Lock held: a place for one more thread, counted already; NULL: none is allowed. */
static rsl_worker_ *rsl_workers_reserve_(rsl_workers *w)
{
    rsl_worker_ *over = NULL;
    if (rsl_hands_threads_(rsl_load_relaxed_(&w->hands)) >= w->threads_max) return NULL;
    for (uint32_t i = 0; i < w->threads_max; i++) {
        rsl_worker_ *worker = &w->team[i];
        if (worker->state == RSL_WORKER_OVER_) over = worker;
        if (worker->state != RSL_WORKER_NONE_) continue;
        over = worker;
        break;
    }
    if (over == NULL) return NULL; /* one that ends has left the count, but not its place */
    bool joins = over->state == RSL_WORKER_OVER_;
    over->state = RSL_WORKER_ALIVE_;
    over->started = false;
    over->owes = true;
    rsl_hands_change_(w, RSL_HANDS_THREAD_, 0, 0);
    if (joins) { /* it has done all but return */
        rsl_lock_drop_(&w->lock);
        rsl_thread_join_(&over->thread);
        rsl_lock_take_(&w->lock);
    }
    return over;
}

/* The reserved one starts. RSL_ESYS: it did not, and its place is free again. */
static int rsl_workers_start_(rsl_workers *w, rsl_worker_ *worker)
{
    int saved = errno;
    int status = rsl_thread_start_(&worker->thread, w->config.stack_size, rsl_worker_main_,
                                   worker);
    int error = errno;
    rsl_lock_take_(&w->lock);
    if (status == RSL_OK) {
        worker->started = true;
        rsl_lock_drop_(&w->lock);
        errno = saved;
        return status;
    }
    saved = error;
    worker->state = RSL_WORKER_NONE_;
    rsl_hands_change_(w, 0, RSL_HANDS_THREAD_, RSL_HANDS_PENDING_);
    rsl_workers_tell_drainers_(w);
    rsl_workers_note_(w, "no thread", RSL_WORKERS_NO_THREAD, RSL_ESYS, 0);
    errno = saved;
    return RSL_ESYS;
}

/* With PENDING set by us: wakes an idle thread, else starts one, else takes PENDING back. False:
   there is no thread and none can be had. */
static bool rsl_workers_get_help_(rsl_workers *w)
{
    rsl_worker_ *starting = NULL;
    rsl_lock_take_(&w->lock);
    rsl_worker_ *worker = w->idle;
    if (worker != NULL) {
        rsl_worker_unlink_(w, worker);
        worker->owes = true;
        rsl_hands_change_(w, 0, RSL_HANDS_IDLE_, 0);
        rsl_park_post_(&worker->park); /* under the lock: without it, it may end at once */
    } else {
        starting = rsl_workers_reserve_(w);
        if (starting == NULL) rsl_hands_change_(w, 0, 0, RSL_HANDS_PENDING_);
    }
    rsl_lock_drop_(&w->lock);
    int saved = errno;
    if (starting == NULL || rsl_workers_start_(w, starting) == RSL_OK) return true;
    if (rsl_hands_threads_(rsl_load_relaxed_(&w->hands)) == 0) return false;
    errno = saved; /* the others will do */
    return true;
}

RSL_NOINLINE_ bool rsl_workers_rouse_slowly_(rsl_workers *w, uint64_t hands)
{
    for (;;) {
        if (hands & RSL_HANDS_PENDING_) return true;
        if (hands == w->threads_max) return true;
        if (rsl_cas_strict_(&w->hands, &hands, hands | RSL_HANDS_PENDING_)) break;
    }
    return rsl_workers_get_help_(w);
}

/* Something was published: somebody will look. False: there is nobody, errno says why, and the
   caller is to end what is queued. */
RSL_INLINE_ bool rsl_workers_rouse_(rsl_workers *w)
{
    uint64_t hands = rsl_load_strict_(&w->hands);
    if (RSL_LIKELY_((hands & RSL_HANDS_PENDING_) || hands == w->threads_max)) return true;
    return rsl_workers_rouse_slowly_(w, hands);
}

/* ---- room: who waits for it ---- */

/* Lock held: sets or clears a flag of the head. */
static void rsl_head_flag_(rsl_workers *w, uint64_t flag, bool set)
{
    uint64_t head = rsl_load_relaxed_(&w->head);
    while (!rsl_cas_strict_(&w->head, &head, set ? head | flag : head & ~flag)) continue;
}

/* There is more room than before. */
RSL_NOINLINE_ void rsl_workers_give_room_(rsl_workers *w)
{
    rsl_lock_take_(&w->lock);
    rsl_waiter *waiter = rsl_waiters_take_(&w->room);
    if (w->room.first == NULL) rsl_head_flag_(w, RSL_HEAD_WANTED_, false);
    rsl_lock_drop_(&w->lock);
    if (waiter != NULL) rsl_waiter_wake_(waiter);
}

/* A cell was emptied out of turn. Strict: who wants room sets WANTED, then counts the holes. */
static void rsl_workers_hole_(rsl_workers *w)
{
    uint64_t holes = rsl_load_relaxed_(&w->holes);
    while (!rsl_cas_strict_(&w->holes, &holes, holes + 1)) continue;
    if (rsl_load_strict_(&w->head) & RSL_HEAD_WANTED_) rsl_workers_give_room_(w);
}

/* ---- the list: tasks of other priorities, and what was moved out of a ring full of holes. The
   latter are older than what is in the ring, so all from priority 0 up go first: while there are
   any that were moved, OLDER is set, and no worker takes from the ring. Lock held. ---- */

static uint64_t rsl_list_unit_(const rsl_task *task)
{
    return task->priority_ < 0 ? UINT64_C(1) << 32 : 1;
}

static rsl_list_ *rsl_list_of_(rsl_workers *w, const rsl_task *task)
{
    return &w->list[task->priority_ < 0];
}

static void rsl_list_insert_(rsl_workers *w, rsl_task *task)
{
    rsl_list_ *list = rsl_list_of_(w, task);
    rsl_task *after = list->last;
    while (after != NULL && after->priority_ < task->priority_) after = after->prev_;
    task->prev_ = after;
    task->next_ = after != NULL ? after->next_ : list->first;
    if (task->next_ != NULL) task->next_->prev_ = task;
    else list->last = task;
    if (after != NULL) after->next_ = task;
    else list->first = task;
    rsl_store_strict_(&w->listed, rsl_load_relaxed_(&w->listed) + rsl_list_unit_(task));
}

static void rsl_list_unlink_(rsl_workers *w, rsl_task *task)
{
    rsl_list_ *list = rsl_list_of_(w, task);
    if (task->next_ != NULL) task->next_->prev_ = task->prev_;
    else list->last = task->prev_;
    if (task->prev_ != NULL) task->prev_->next_ = task->next_;
    else list->first = task->next_;
    uint64_t state = rsl_load_relaxed_(&task->state_);
    while (!rsl_cas_(&task->state_, &state, state & ~(uint64_t)RSL_TASK_LISTED_)) continue;
    uint64_t listed = rsl_load_relaxed_(&w->listed) - rsl_list_unit_(task);
    rsl_store_strict_(&w->listed, listed);
    bool older = rsl_load_relaxed_(&w->head) & RSL_HEAD_OLDER_;
    if ((uint32_t)listed == 0 && older) rsl_head_flag_(w, RSL_HEAD_OLDER_, false);
}

/* Takes the lock: the first of priority 0 and up, or (low) below. */
RSL_NOINLINE_ rsl_task *rsl_list_take_(rsl_workers *w, bool low)
{
    rsl_lock_take_(&w->lock);
    rsl_task *task = w->list[low].first;
    if (task != NULL) rsl_list_unlink_(w, task);
    rsl_lock_drop_(&w->lock);
    if (task != NULL && (rsl_load_strict_(&w->head) & RSL_HEAD_WANTED_)) rsl_workers_give_room_(w);
    return task;
}

/* ---- taking tasks out ---- */

/* The oldest of the ring; NULL: nothing is published there, or (not with the lock held) the list
   goes first. Who gets it owns it. */
static rsl_task *rsl_ring_take_(rsl_workers *w, bool locked)
{
    uint64_t head = rsl_load_relaxed_(&w->head);
    for (;;) {
        uint64_t position = head / RSL_HEAD_ONE_;
        if (RSL_UNLIKELY_(head & RSL_HEAD_OLDER_) && !locked) return NULL;
        rsl_cell_ *cell = &w->cells[position & w->mask];
        /* acquire: the task's fields, published with it */
        int64_t ahead = (int64_t)(rsl_load_(&cell->seq) - (position + 1));
        if (ahead < 0) return NULL;
        if (ahead > 0) {
            head = rsl_load_relaxed_(&w->head);
            continue;
        }
        if (!rsl_cas_strict_(&w->head, &head, head + RSL_HEAD_ONE_)) continue;
        rsl_task *task = (rsl_task *)(uintptr_t)rsl_exchange_(&cell->task, 0);
        rsl_store_(&cell->seq, position + w->mask + 1);
        if (RSL_UNLIKELY_(head & RSL_HEAD_WANTED_) && !locked) rsl_workers_give_room_(w);
        if (RSL_LIKELY_(task != NULL)) return task;
        rsl_add_(&w->holes, UINT64_MAX);
        head = rsl_load_relaxed_(&w->head);
    }
}

/* What a worker is to do next; NULL: nothing. */
static rsl_task *rsl_workers_take_(rsl_workers *w)
{
    rsl_task *task = NULL;
    bool older = rsl_load_relaxed_(&w->head) & RSL_HEAD_OLDER_;
    do { /* with the lock taken, OLDER is true */
        bool first = older || (uint32_t)rsl_load_strict_(&w->listed) != 0;
        if (RSL_UNLIKELY_(first)) task = rsl_list_take_(w, false);
        if (RSL_LIKELY_(task == NULL)) task = rsl_ring_take_(w, false);
        older = rsl_load_relaxed_(&w->head) & RSL_HEAD_OLDER_;
    } while (task == NULL && RSL_UNLIKELY_(older));
    if (task == NULL && RSL_UNLIKELY_(rsl_load_strict_(&w->listed) != 0))
        task = rsl_list_take_(w, true);
    return task;
}

/* Takes this very task out. False: somebody else has it, or it is not (yet) where it says. */
static bool rsl_task_take_(rsl_workers *w, rsl_task *task)
{
    uint64_t state = rsl_load_(&task->state_);
    if (rsl_task_phase_(state) != RSL_TASK_QUEUED_) return false;
    if (state & RSL_TASK_LISTED_) {
        rsl_lock_take_(&w->lock);
        bool listed = rsl_load_relaxed_(&task->state_) & RSL_TASK_LISTED_;
        if (listed) rsl_list_unlink_(w, task);
        rsl_lock_drop_(&w->lock);
        if (listed && (rsl_load_strict_(&w->head) & RSL_HEAD_WANTED_)) rsl_workers_give_room_(w);
        return listed;
    }
    uint64_t expected = (uint64_t)(uintptr_t)task;
    rsl_cell_ *cell = &w->cells[state / RSL_TASK_POSITION_ & w->mask];
    if (!rsl_cas_(&cell->task, &expected, 0)) return false;
    rsl_workers_hole_(w);
    return true;
}

/* Ends all that is queued, unrun. */
static void rsl_workers_end_queued_(rsl_workers *w, int status)
{
    for (rsl_task *task; (task = rsl_workers_take_(w)) != NULL;) {
        rsl_count_(&w->canceled);
        rsl_task_end_(task, status);
    }
}

/* ---- putting tasks in ---- */

/* Lock held: out of a ring full of holes into the list. */
static void rsl_workers_compact_(rsl_workers *w)
{
    rsl_head_flag_(w, RSL_HEAD_OLDER_, true); /* first: nobody takes a later one meanwhile */
    for (rsl_task *task; (task = rsl_ring_take_(w, true)) != NULL;) {
        uint64_t state = rsl_load_relaxed_(&task->state_);
        while (!rsl_cas_(&task->state_, &state, state | RSL_TASK_LISTED_)) continue;
        rsl_list_insert_(w, task);
    }
    if ((uint32_t)rsl_load_relaxed_(&w->listed) == 0) rsl_head_flag_(w, RSL_HEAD_OLDER_, false);
}

static uint32_t rsl_listed_(uint64_t listed)
{
    return (uint32_t)listed + (uint32_t)(listed >> 32);
}

/* Tasks queued, when the tail is at this position; at most too few, when others take some. */
static int64_t rsl_workers_queued_(rsl_workers *w, uint64_t position)
{
    uint64_t head = rsl_load_strict_(&w->head), before;
    int64_t queued;
    do {
        before = head;
        queued = (int64_t)(position - head / RSL_HEAD_ONE_) -
                 (int64_t)rsl_load_strict_(&w->holes) +
                 rsl_listed_(rsl_load_strict_(&w->listed));
        head = rsl_load_strict_(&w->head);
    } while (head / RSL_HEAD_ONE_ != before / RSL_HEAD_ONE_); /* a hole popped meanwhile counts */
    return queued;
}

/* The queue seems full. RSL_OK: it is not; RSL_EFULL: it is; RSL_AGAIN: look again. */
RSL_NOINLINE_ int rsl_ring_check_(rsl_workers *w, uint64_t position)
{
    uint64_t head = rsl_load_strict_(&w->head) / RSL_HEAD_ONE_;
    if (rsl_workers_queued_(w, position) >= (int64_t)w->queue_max) return RSL_EFULL;
    rsl_store_relaxed_(&w->head_seen, head); /* relaxed: a lower bound, whenever it is seen */
    if (position - head <= w->mask) return RSL_OK;
    rsl_lock_take_(&w->lock);
    rsl_workers_compact_(w);
    rsl_lock_drop_(&w->lock);
    rsl_pause_(0); /* who holds the last cell may need our processor */
    return RSL_AGAIN;
}

/* Publishes; the task is not to be touched afterwards. RSL_EFULL, RSL_ECLOSED: it was not. */
static int rsl_ring_put_(rsl_workers *w, rsl_task *task, uint64_t flags, uint64_t *at)
{
    uint64_t tail = rsl_load_relaxed_(&w->tail), position;
    for (;;) {
        *at = position = tail >> 1;
        if (RSL_UNLIKELY_(tail & RSL_TAIL_CLOSED_)) return RSL_ECLOSED;
        uint64_t used = position - rsl_load_relaxed_(&w->head_seen) +
                        rsl_listed_(rsl_load_relaxed_(&w->listed));
        if (RSL_UNLIKELY_(used >= w->queue_max)) { /* at most: what was taken since counts too */
            int status = rsl_ring_check_(w, position);
            if (status == RSL_EFULL) return status;
            if (status == RSL_AGAIN) {
                tail = rsl_load_relaxed_(&w->tail);
                continue;
            }
        }
        if (rsl_cas_strict_(&w->tail, &tail, tail + 2)) break; /* see [HANDS] */
    }
    rsl_cell_ *cell = &w->cells[position & w->mask];
    while (rsl_load_(&cell->seq) != position) rsl_pause_(0); /* its last task is being taken */
    /* release: who finds it queued, from another thread, finds all of it */
    rsl_store_(&task->state_, position * RSL_TASK_POSITION_ + flags);
    rsl_store_relaxed_(&cell->task, (uint64_t)(uintptr_t)task);
    rsl_store_(&cell->seq, position + 1); /* releases all that the task holds */
    return RSL_OK;
}

static int rsl_list_put_(rsl_workers *w, rsl_task *task, uint64_t flags)
{
    rsl_lock_take_(&w->lock);
    uint64_t tail = rsl_load_strict_(&w->tail);
    int status = RSL_OK;
    if (tail & RSL_TAIL_CLOSED_) status = RSL_ECLOSED;
    else if (rsl_workers_queued_(w, tail >> 1) >= (int64_t)w->queue_max) status = RSL_EFULL;
    if (status == RSL_OK) {
        rsl_store_(&task->state_, flags | RSL_TASK_LISTED_); /* release: as in the ring */
        rsl_list_insert_(w, task);
        w->submitted++;
    }
    rsl_lock_drop_(&w->lock);
    return status;
}

/* Takes back what was just published, without a look into it: it may have been run by another, and
   gone, in the meantime. False: it has been taken. */
RSL_NOINLINE_ bool rsl_workers_take_back_(rsl_workers *w, rsl_task *task, uint64_t position)
{
    uint64_t expected = (uint64_t)(uintptr_t)task;
    bool taken = rsl_cas_(&w->cells[position & w->mask].task, &expected, 0);
    if (taken) rsl_workers_hole_(w);
    rsl_lock_take_(&w->lock);
    rsl_task *listed = NULL;
    for (int low = 0; low < 2 && !taken && listed == NULL; low++) {
        listed = w->list[low].first;
        while (listed != NULL && listed != task) listed = listed->next_;
    }
    if (listed != NULL) rsl_list_unlink_(w, listed);
    taken = taken || listed != NULL;
    if (taken) w->submitted--; /* below 0, if the tail counts it: the sum is right */
    rsl_lock_drop_(&w->lock);
    return taken;
}

static int rsl_workers_put_(rsl_workers *w, rsl_task *task, uint64_t flags)
{
    uint64_t position = 0;
    int status = RSL_LIKELY_(task->priority_ == 0) ? rsl_ring_put_(w, task, flags, &position)
                                                   : rsl_list_put_(w, task, flags);
    if (RSL_UNLIKELY_(status != RSL_OK) || RSL_LIKELY_(rsl_workers_rouse_(w))) return status;
    bool taken = rsl_workers_take_back_(w, task, position);
    if (rsl_hands_threads_(rsl_load_strict_(&w->hands)) == 0) rsl_workers_end_queued_(w, RSL_ESYS);
    return taken ? RSL_ESYS : RSL_OK;
}

/* ---- running a task ---- */

/* Why it must not run any more, or RSL_OK. */
static int rsl_task_spent_(rsl_workers *w, rsl_task *task, const rsl_ctx *ctx)
{
    rsl_ctx own = *ctx;
    own.cancel = task->cancel_;
    if (RSL_LIKELY_(own.cancel == NULL && own.deadline == 0)) return RSL_OK;
    int status = rsl_ctx_spent_(&own, ctx->clock);
    if (status == RSL_ETIMEOUT) {
        rsl_count_(&w->expired);
        rsl_workers_note_(w, "expired", RSL_WORKERS_EXPIRED, status, 0);
    } else if (status != RSL_OK) {
        rsl_count_(&w->canceled);
    }
    return status;
}

static rsl_ctx rsl_task_ctx_(rsl_workers *w, const rsl_task *task, rsl_cancel *token)
{
    const rsl_clock *clock = NULL;
    if (rsl_load_relaxed_(&task->state_) & RSL_TASK_CLOCK_) clock = task->clock_;
    else if (!rsl_clock_is_real_(&w->config.clock)) clock = &w->config.clock;
    rsl_ctx ctx = {task->deadline_, token, clock, task->attempt_, task->priority_};
    return ctx;
}

/* Lock held and dropped for a while: nobody fires the tokens of this worker on return. */
static void rsl_worker_cease_fire_(rsl_workers *w, rsl_worker_ *worker)
{
    while (worker->firing != 0) {
        rsl_lock_drop_(&w->lock);
        rsl_pause_(0);
        rsl_lock_take_(&w->lock);
    }
}

/* relaxed: who fired it for this task has been awaited. Not a call, as rsl_cancel_fired is. */
RSL_INLINE_ bool rsl_worker_is_fired_(const rsl_worker_ *worker)
{
    return rsl_load_relaxed_(&worker->token.fired_) != 0;
}

/* The token has fired: a new one for the next task, unless all are to stop. */
RSL_NOINLINE_ void rsl_worker_renew_(rsl_workers *w, rsl_worker_ *worker)
{
    rsl_lock_take_(&w->lock);
    rsl_worker_cease_fire_(w, worker);
    if (!w->stopped) {
        rsl_cancel_deinit(&worker->token);
        rsl_cancel_init(&worker->token, NULL);
    }
    rsl_lock_drop_(&w->lock);
}

/* The token for a task that has a cancel of its own. */
RSL_NOINLINE_ rsl_cancel *rsl_worker_link_(rsl_workers *w, rsl_worker_ *worker, rsl_cancel *parent)
{
    if (rsl_cancel_init(&worker->linked, parent) != RSL_OK) return &worker->token;
    rsl_lock_take_(&w->lock);
    worker->is_linked = true;
    bool stopped = w->stopped;
    rsl_lock_drop_(&w->lock);
    if (stopped) rsl_cancel_fire(&worker->linked);
    return &worker->linked;
}

/* Nobody uses the token of a task that is about to end any more: who would have pinned it first,
   and looks at token_ then; strict, so that one of us sees the other. */
static void rsl_task_drop_token_(rsl_task *task)
{
    rsl_store_strict_(&task->token_, RSL_TOKEN_GONE_);
    while (rsl_load_strict_(&task->state_) & RSL_TASK_PINNED_) rsl_pause_(0);
}

/* Before the task ends, for its cancel is its owner's again then. */
RSL_NOINLINE_ void rsl_worker_unlink_token_(rsl_workers *w, rsl_worker_ *worker, rsl_task *task)
{
    rsl_task_drop_token_(task);
    rsl_lock_take_(&w->lock);
    rsl_worker_cease_fire_(w, worker);
    worker->is_linked = false;
    rsl_lock_drop_(&w->lock);
    rsl_cancel_deinit(&worker->linked);
}

/* The task that this worker runs has returned, or has ended the thread. */
static void rsl_worker_finish_(rsl_workers *w, rsl_worker_ *worker, int result)
{
    rsl_task *task = worker->running;
    if (RSL_UNLIKELY_(worker->is_linked)) rsl_worker_unlink_token_(w, worker, task);
    worker->running = NULL;
    rsl_store_relaxed_(&worker->current, 0); /* relaxed: read by statistics */
    rsl_task_end_(task, result);
    if (RSL_UNLIKELY_(rsl_worker_is_fired_(worker))) rsl_worker_renew_(w, worker);
}

static void rsl_worker_run_(rsl_workers *w, rsl_worker_ *worker, rsl_task *task)
{
    rsl_cancel *token = &worker->token;
    rsl_ctx ctx = rsl_task_ctx_(w, task, token);
    int status = rsl_task_spent_(w, task, &ctx);
    if (RSL_UNLIKELY_(status != RSL_OK)) {
        rsl_task_end_(task, status);
        return;
    }
    if (RSL_UNLIKELY_(rsl_worker_is_fired_(worker))) rsl_worker_renew_(w, worker); /* by a stop */
    if (RSL_UNLIKELY_(task->cancel_ != NULL)) token = rsl_worker_link_(w, worker, task->cancel_);
    ctx.cancel = token;
    worker->running = task;
    rsl_store_relaxed_(&worker->current, (uint64_t)(uintptr_t)task);
    rsl_store_(&task->token_, (uint64_t)(uintptr_t)token);
    int result = task->fn_(&ctx, task->arg_);
    /* relaxed: read by statistics */
    rsl_store_relaxed_(&worker->completed, rsl_load_relaxed_(&worker->completed) + 1);
    rsl_worker_finish_(w, worker, result);
}

/* ---- a worker's life ---- */

/* Takes the lock: the place is free, or to be joined. Not before who started us has written the
   handle: it would be that of the next one. */
static void rsl_worker_vacate_(rsl_workers *w, rsl_worker_ *worker, rsl_worker_state_ state)
{
    rsl_lock_take_(&w->lock);
    while (!worker->started) {
        rsl_lock_drop_(&w->lock);
        rsl_pause_(0);
        rsl_lock_take_(&w->lock);
    }
    worker->state = state;
}

/* Lock held; dropped on return. Its place is given away last: the observer may submit, and nobody
   is to wait for this thread there. Who found no place for a thread meanwhile relies on the look
   at the end. True: there is something to do, and it stays. */
static bool rsl_worker_retire_(rsl_workers *w, rsl_worker_ *worker, uint32_t threads)
{
    rsl_worker_unlink_(w, worker);
    rsl_hands_change_(w, 0, RSL_HANDS_IDLE_ + RSL_HANDS_THREAD_, 0);
    rsl_store_relaxed_(&worker->self, 0);
    rsl_workers_tell_drainers_(w);
    rsl_workers_note_(w, "ended", RSL_WORKERS_ENDED, RSL_OK, (int64_t)threads - 1);
    rsl_worker_vacate_(w, worker, RSL_WORKER_OVER_);
    bool few = rsl_hands_threads_(rsl_load_relaxed_(&w->hands)) < w->threads_max;
    bool stays = !w->ending && few && rsl_workers_have_tasks_(w);
    if (stays) {
        worker->state = RSL_WORKER_ALIVE_;
        rsl_hands_change_(w, RSL_HANDS_THREAD_, 0, 0);
        rsl_store_relaxed_(&worker->self, rsl_self_());
    }
    rsl_lock_drop_(&w->lock);
    if (stays) rsl_workers_note_(w, "started", RSL_WORKERS_STARTED, RSL_OK, (int64_t)threads);
    return stays;
}

/* Idle, until it is woken (true) or is to end. */
static bool rsl_worker_sleep_(rsl_workers *w, rsl_worker_ *worker)
{
    const rsl_clock *clock = &w->config.clock;
    rsl_time until = RSL_FOREVER;
    if (w->config.threads_min < w->threads_max)
        until = rsl_time_add_(rsl_clock_now_(clock), w->config.keep_alive);
    for (;;) {
        bool late = until != RSL_FOREVER && rsl_clock_now_(clock) >= until;
        rsl_lock_take_(&w->lock);
        uint32_t threads = rsl_hands_threads_(rsl_load_relaxed_(&w->hands));
        bool ends = worker->is_idle && (w->ending || (late && threads > w->config.threads_min));
        if (ends) return rsl_worker_retire_(w, worker, threads);
        bool idle = worker->is_idle;
        rsl_lock_drop_(&w->lock);
        if (!idle) return true;
        if (late) until = RSL_FOREVER;
        rsl_time real = until; /* a clock that others move: look again soon */
        if (until != RSL_FOREVER && !rsl_clock_is_real_(clock))
            real = rsl_clock_real_() + RSL_MS(1);
        rsl_park_wait_(&worker->park, real);
    }
}

/* There is nothing to do. True: look again; false: the thread is to end, and is out of the
   books. */
static bool rsl_worker_idle_(rsl_workers *w, rsl_worker_ *worker)
{
    rsl_lock_take_(&w->lock);
    worker->is_idle = true;
    worker->prev = NULL;
    worker->next = w->idle;
    if (w->idle != NULL) w->idle->prev = worker;
    w->idle = worker;
    rsl_hands_change_(w, RSL_HANDS_IDLE_, 0, 0);
    rsl_workers_tell_drainers_(w);
    if (!rsl_workers_have_tasks_(w)) return rsl_worker_sleep_(w, worker);
    rsl_lock_take_(&w->lock);
    if (worker->is_idle) {
        rsl_worker_unlink_(w, worker);
        rsl_hands_change_(w, 0, RSL_HANDS_IDLE_, 0);
    }
    rsl_lock_drop_(&w->lock);
    rsl_pause_(0); /* who has its place and does not publish may need our processor */
    return true;
}

/* Looks for a while before it goes to sleep: waking costs more than that. */
static bool rsl_worker_spin_(rsl_workers *w)
{
    for (uint32_t spins = RSL_WORKERS_SPINS_; spins > 0; spins--) {
        if (rsl_workers_have_tasks_(w)) return true;
        if (spins % 16 == 0) rsl_pause_(0); /* who submits may need our processor */
        else rsl_relax_();
    }
    return false;
}

/* Takes the pending wake-up back, before it looks. */
static void rsl_worker_come_(rsl_workers *w, rsl_worker_ *worker)
{
    rsl_lock_take_(&w->lock);
    if (worker->owes) rsl_hands_change_(w, 0, 0, RSL_HANDS_PENDING_);
    worker->owes = false;
    bool stopped = w->stopped;
    rsl_lock_drop_(&w->lock);
    if (stopped) rsl_cancel_fire(&worker->token); /* it may have been started since */
}

static void rsl_worker_live_(void *arg)
{
    rsl_worker_ *worker = (rsl_worker_ *)arg;
    rsl_workers *w = worker->workers;
    bool fresh = true; /* was asleep: takes its wake-up back, and sees to who else is needed */
    for (;;) {
        if (fresh) rsl_worker_come_(w, worker);
        rsl_task *task = rsl_workers_take_(w);
        if (task != NULL) {
            if (fresh && rsl_workers_have_tasks_(w)) rsl_workers_rouse_(w);
            fresh = false;
            rsl_worker_run_(w, worker, task);
        } else if (fresh || !rsl_worker_spin_(w)) {
            if (!rsl_worker_idle_(w, worker)) return;
            fresh = true;
        }
    }
}

/* A task has ended the thread. It is detached, for nobody may wait for what else it does. */
static void rsl_worker_lost_(void *arg)
{
    rsl_worker_ *worker = (rsl_worker_ *)arg;
    rsl_workers *w = worker->workers;
    rsl_worker_ *heir = NULL;
    rsl_workers_visit_(w);
    if (worker->running != NULL) rsl_worker_finish_(w, worker, RSL_ECANCELED);
    rsl_thread_detach_(&worker->thread);
    rsl_worker_vacate_(w, worker, RSL_WORKER_NONE_);
    w->lost++;
    w->completed += rsl_load_relaxed_(&worker->completed);
    rsl_store_relaxed_(&worker->completed, 0);
    rsl_store_relaxed_(&worker->self, 0);
    rsl_hands_change_(w, 0, RSL_HANDS_THREAD_, worker->owes ? RSL_HANDS_PENDING_ : 0);
    worker->owes = false;
    uint32_t left = rsl_hands_threads_(rsl_load_relaxed_(&w->hands));
    bool wanted = left < w->config.threads_min || rsl_workers_have_tasks_(w);
    if (wanted && !w->ending) heir = rsl_workers_reserve_(w);
    rsl_lock_drop_(&w->lock);
    rsl_workers_note_(w, "lost", RSL_WORKERS_LOST, RSL_OK, (int64_t)left);
    if (heir != NULL && rsl_workers_start_(w, heir) != RSL_OK &&
        rsl_hands_threads_(rsl_load_relaxed_(&w->hands)) == 0)
        rsl_workers_end_queued_(w, RSL_ESYS);
    rsl_workers_depart_(w);
}

static void rsl_worker_main_(void *arg)
{
    rsl_worker_ *worker = (rsl_worker_ *)arg;
    rsl_workers *w = worker->workers;
    char name[16];
    uint32_t number = (uint32_t)(worker - w->team) + 1, scale = 1000, digits = 4;
    for (; scale > number; scale /= 10) digits--;
    size_t length = strlen(w->config.name), room = sizeof name - 2 - digits;
    if (length > room) length = room;
    memcpy(name, w->config.name, length);
    name[length++] = '-';
    for (; scale > 0; scale /= 10) name[length++] = (char)('0' + number / scale % 10);
    name[length] = '\0';
    rsl_thread_name_(name);
    rsl_store_relaxed_(&worker->self, rsl_self_()); /* relaxed: only we look for our number */
    uint32_t threads = rsl_hands_threads_(rsl_load_relaxed_(&w->hands));
    rsl_workers_note_(w, "started", RSL_WORKERS_STARTED, RSL_OK, (int64_t)threads);
    rsl_uncancelable_(); /* a task that is cancelled late would end us asleep, in our place */
    rsl_thread_guard_(rsl_worker_live_, rsl_worker_lost_, worker);
}

/* ---- who we are ---- */

/* The worker of this thread; NULL: it is none of them. */
static rsl_worker_ *rsl_workers_find_(rsl_workers *w, uint64_t self)
{
    for (uint32_t i = 0; i < w->threads_max; i++) {
        if (rsl_load_relaxed_(&w->team[i].self) == self) return &w->team[i];
    }
    return NULL;
}

static rsl_worker_ *rsl_workers_me_(rsl_workers *w)
{
    return rsl_workers_find_(w, rsl_self_());
}

/* The worker on whose thread the task runs; NULL: it does not, or on another thread. */
static rsl_worker_ *rsl_task_worker_(rsl_workers *w, const rsl_task *task)
{
    uintptr_t token = (uintptr_t)rsl_load_(&task->token_), team = (uintptr_t)w->team;
    if (token >= team && token < team + w->threads_max * sizeof(rsl_worker_))
        return &w->team[(token - team) / sizeof(rsl_worker_)];
    uint64_t self = rsl_load_(&task->self_); /* of a run by who waits for it */
    return self != 0 ? rsl_workers_find_(w, self) : NULL;
}

static bool rsl_task_is_mine_(rsl_workers *w, const rsl_task *task)
{
    if (rsl_load_(&task->self_) == rsl_self_()) return true;
    const rsl_worker_ *worker = rsl_task_worker_(w, task);
    return worker != NULL && rsl_load_relaxed_(&worker->self) == rsl_self_();
}

/* ---- running a task here, on the thread that submits or waits ---- */

typedef struct rsl_here_ {
    rsl_workers *workers;
    rsl_worker_ *me;    /* NULL: not one of the workers */
    rsl_task    *task, *outer;
    rsl_word_   *count; /* by_waiter or by_caller */
    rsl_cancel   token;
} rsl_here_;

static void rsl_here_finish_(rsl_here_ *here, int result)
{
    rsl_task *task = here->task;
    rsl_workers *w = here->workers;
    if (here->me != NULL) {
        here->me->running = here->outer;
        rsl_store_relaxed_(&here->me->current, (uint64_t)(uintptr_t)here->outer);
    }
    rsl_task_drop_token_(task);
    rsl_cancel_deinit(&here->token);
    rsl_task_end_(task, result);
    rsl_workers_depart_(w);
}

static void rsl_here_run_(void *arg)
{
    rsl_here_ *here = (rsl_here_ *)arg;
    rsl_ctx ctx = rsl_task_ctx_(here->workers, here->task, &here->token);
    int result = here->task->fn_(&ctx, here->task->arg_);
    rsl_count_(here->count);
    rsl_here_finish_(here, result);
}

static void rsl_here_lost_(void *arg)
{
    rsl_here_ *here = (rsl_here_ *)arg;
    rsl_lock_take_(&here->workers->lock);
    if (here->me == NULL) here->workers->lost++; /* else it is counted with the worker */
    rsl_lock_drop_(&here->workers->lock);
    rsl_here_finish_(here, RSL_ECANCELED);
}

/* The task is ours, and we are a guest, which departs. */
static void rsl_task_run_here_(rsl_workers *w, rsl_worker_ *me, rsl_task *task, rsl_word_ *count)
{
    rsl_here_ here;
    rsl_ctx ctx = rsl_task_ctx_(w, task, NULL);
    int status = rsl_task_spent_(w, task, &ctx);
    if (status == RSL_OK) status = rsl_cancel_init(&here.token, task->cancel_);
    if (status != RSL_OK) {
        rsl_task_end_(task, status);
        rsl_workers_depart_(w);
        return;
    }
    here.workers = w;
    here.me = me;
    here.task = task;
    here.outer = me != NULL ? me->running : NULL;
    here.count = count;
    if (me != NULL) {
        me->running = task;
        rsl_store_relaxed_(&me->current, (uint64_t)(uintptr_t)task);
    }
    rsl_store_(&task->self_, rsl_self_());
    rsl_store_(&task->token_, (uint64_t)(uintptr_t)&here.token);
    rsl_thread_guard_(rsl_here_run_, rsl_here_lost_, &here);
}

/* ---- submit ---- */

/* Lock held: the task that has to go for one of this priority; it is ours then. */
static rsl_task *rsl_workers_oldest_(rsl_workers *w, int32_t priority)
{
    const rsl_list_ *list = &w->list[w->list[1].first != NULL];
    rsl_task *last = list->last;
    bool below = last != NULL && last->priority_ <= 0; /* so of the lowest, and older */
    if (!below && priority >= 0) {
        rsl_task *task = rsl_ring_take_(w, true);
        if (task != NULL) return task;
    }
    if (last == NULL || last->priority_ > priority) return NULL;
    rsl_task *oldest = list->first;
    while (oldest->priority_ != last->priority_) oldest = oldest->next_;
    rsl_list_unlink_(w, oldest);
    return oldest;
}

/* Whether all that is queued is of a higher priority. */
static bool rsl_workers_outrank_(rsl_workers *w, int32_t priority)
{
    rsl_lock_take_(&w->lock);
    const rsl_task *last = w->list[w->list[1].first != NULL].last;
    bool ring = rsl_load_strict_(&w->tail) >> 1 != rsl_load_strict_(&w->head) / RSL_HEAD_ONE_;
    bool outranks = priority < 0 && ring;
    if (last != NULL) outranks = last->priority_ > priority && (priority < 0 || !ring);
    rsl_lock_drop_(&w->lock);
    return outranks;
}

static int rsl_workers_drop_oldest_(rsl_workers *w, rsl_task *task, uint64_t flags)
{
    int status = RSL_EFULL;
    rsl_workers_visit_(w);
    while (status == RSL_EFULL) {
        rsl_lock_take_(&w->lock);
        rsl_task *oldest = rsl_workers_oldest_(w, task->priority_);
        rsl_lock_drop_(&w->lock);
        if (oldest != NULL) {
            rsl_count_(&w->dropped);
            rsl_task_end_(oldest, RSL_EFULL);
            rsl_workers_note_(w, "dropped", RSL_WORKERS_DROPPED, RSL_EFULL, 0);
        }
        status = rsl_workers_put_(w, task, flags);
        if (oldest != NULL || status != RSL_EFULL) continue;
        if (rsl_workers_outrank_(w, task->priority_)) break;
        rsl_pause_(0); /* the oldest is just being published */
    }
    rsl_workers_depart_(w);
    return status;
}

/* Lock held: whether what the task's end waits for, at the end of the chain, has not begun: it
   needs one more thread. NULL: room, which needs one too. */
static bool rsl_task_needs_thread_(rsl_workers *w, const rsl_task *task)
{
    for (uint32_t i = 0; task != NULL && i <= w->threads_max; i++) {
        const rsl_worker_ *worker = rsl_task_worker_(w, task);
        if (worker == NULL) return rsl_load_(&task->token_) == 0;
        if (worker->waits_on == NULL) return worker->waits_for_room;
        task = worker->waits_on;
    }
    return task == NULL;
}

/* One of the workers' own tasks is about to wait, for this task or (NULL) for room. False, and it
   must not: only one more thread could end that, and all others wait already. */
static bool rsl_workers_get_stuck_(rsl_workers *w, const rsl_task *task)
{
    rsl_workers_rouse_(w); /* while threads may be started, there is one */
    rsl_lock_take_(&w->lock);
    uint32_t threads = 0; /* those too that are about to end: they look once more */
    for (uint32_t i = 0; i < w->threads_max; i++)
        threads += w->team[i].state == RSL_WORKER_ALIVE_;
    bool pending = rsl_load_relaxed_(&w->hands) & RSL_HANDS_PENDING_;
    if (pending && threads < w->threads_max) threads++; /* just to be started */
    bool may = w->stuck + 1 < threads || !rsl_task_needs_thread_(w, task);
    if (may) w->stuck++;
    rsl_lock_drop_(&w->lock);
    return may;
}

/* The same for one that waits for room in a submit. */
static bool rsl_worker_seeks_room_(rsl_workers *w, rsl_worker_ *me, bool begins)
{
    if (me == NULL) return true;
    if (begins && !rsl_workers_get_stuck_(w, NULL)) return false;
    rsl_lock_take_(&w->lock);
    me->waits_for_room = begins;
    if (!begins) w->stuck--;
    rsl_lock_drop_(&w->lock);
    return true;
}

/* Lock held: from the end of the list to its beginning. */
static void rsl_waiters_lead_(rsl_waiters_ *list, rsl_waiter *waiter)
{
    if (list->first == waiter) return;
    list->last = waiter->private_.prev;
    list->last->private_.next = NULL;
    waiter->private_.prev = NULL;
    waiter->private_.next = list->first;
    list->first->private_.prev = waiter;
    list->first = waiter;
}

/* Waits for room in the ring's way: WANTED is set, then the queue looked at again; who makes room
   after that sees it. One that was told and does not need it tells the next. */
static int rsl_workers_await_room_(rsl_workers *w, const rsl_ctx *ctx, rsl_task *task,
                                   uint64_t flags)
{
    const rsl_clock *clock = rsl_clock_pick_(ctx, &w->config.clock);
    rsl_time until = ctx->deadline != 0 ? ctx->deadline : RSL_FOREVER;
    rsl_word_ park = 0;
    for (bool told = false;;) {
        rsl_waiter waiter;
        rsl_waiter_park_(&waiter, &park);
        rsl_lock_take_(&w->lock);
        rsl_waiters_push_(&w->room, &waiter);
        if (told) rsl_waiters_lead_(&w->room, &waiter); /* its turn is not over */
        rsl_head_flag_(w, RSL_HEAD_WANTED_, true);
        rsl_lock_drop_(&w->lock);
        int status = rsl_workers_put_(w, task, flags), spent = RSL_OK;
        if (status == RSL_EFULL) spent = rsl_ctx_spent_(ctx, clock);
        if (status == RSL_EFULL && spent == RSL_OK)
            rsl_ctx_sleep_(ctx, clock, &park, until);
        told = rsl_waiters_leave_(&w->room, &w->lock, &waiter);
        if (status != RSL_EFULL || spent != RSL_OK) {
            if (told) rsl_workers_give_room_(w);
            return status != RSL_EFULL ? status : spent;
        }
        if (told) status = rsl_workers_put_(w, task, flags);
        if (status != RSL_EFULL) return status;
    }
}

/* The queue is full. */
RSL_NOINLINE_ int rsl_workers_overflow_(rsl_workers *w, const rsl_ctx *ctx, rsl_task *task,
                                        uint64_t flags, rsl_when_full when_full)
{
    if (when_full == RSL_FULL_DROP_OLDEST) return rsl_workers_drop_oldest_(w, task, flags);
    if (when_full == RSL_FULL_REJECT || when_full == RSL_FULL_DEFAULT) return RSL_EFULL;
    rsl_worker_ *me = rsl_workers_me_(w);
    int saved = errno, status = RSL_OK;
    rsl_workers_visit_(w);
    if (when_full == RSL_FULL_CALLER_RUNS) {
        rsl_store_(&task->state_, flags);
        rsl_count_(&w->to_caller);
        rsl_task_run_here_(w, me, task, &w->by_caller);
        errno = saved;
        return status;
    }
    status = RSL_EFULL;
    if (rsl_worker_seeks_room_(w, me, true)) {
        rsl_store_(&task->state_, RSL_TASK_NO_ROOM_);
        status = rsl_workers_await_room_(w, rsl_ctx_or_unlimited_(ctx), task, flags);
        rsl_worker_seeks_room_(w, me, false);
    }
    rsl_workers_depart_(w);
    if (status != RSL_ESYS) errno = saved;
    return status;
}

/* Takes possession of a node that is nobody's, and gives what it was. False: it is in use. */
static bool rsl_task_claim_(rsl_task *task, uint64_t *before)
{
    uint64_t state = rsl_load_(&task->state_);
    while (rsl_task_phase_(state) == RSL_TASK_ENDING_) { /* its owner is just being told */
        rsl_pause_(0);
        state = rsl_load_(&task->state_);
    }
    *before = state;
    bool is_free = state == RSL_TASK_IDLE_ || state == RSL_TASK_ENDED_;
    return is_free && rsl_cas_(&task->state_, &state, RSL_TASK_CLAIMED_);
}

RSL_NOINLINE_ int rsl_workers_refuse_(rsl_workers *w, rsl_task *task, uint64_t before, int status,
                                      rsl_when_full when_full)
{
    rsl_store_(&task->state_, before);
    if (when_full == RSL_FULL_DEFAULT) return status;
    rsl_count_(&w->refused);
    rsl_workers_note_(w, "refused", RSL_WORKERS_REFUSED, status, 0);
    return status;
}

/* when_full DEFAULT: a helper of ours, which nobody misses: refused without a word. */
RSL_INLINE_ int rsl_workers_submit_(rsl_workers *w, const rsl_ctx *ctx, rsl_fn fn, void *arg,
                                    rsl_task *task, rsl_when_full when_full)
{
    uint64_t before, flags = RSL_TASK_QUEUED_;
    if (!rsl_task_claim_(task, &before)) return RSL_EINVAL;
    ctx = rsl_ctx_or_unlimited_(ctx);
    int status = rsl_ctx_spent_(ctx, rsl_clock_pick_(ctx, &w->config.clock));
    if (RSL_UNLIKELY_(status != RSL_OK))
        return rsl_workers_refuse_(w, task, before, status, when_full);
    task->fn_ = fn;
    task->arg_ = arg;
    task->deadline_ = ctx->deadline;
    task->cancel_ = ctx->cancel;
    rsl_store_relaxed_(&task->token_, 0); /* relaxed, as below: the state releases them */
    task->priority_ = ctx->priority;
    task->attempt_ = ctx->attempt;
    /* The worker never writes this line of the node: it stays ours unless we write it. */
    if (task->workers_ != w) task->workers_ = w;
    if (rsl_load_relaxed_(&task->park_) != 0) rsl_store_relaxed_(&task->park_, 0);
    if (rsl_load_relaxed_(&task->self_) != 0) rsl_store_relaxed_(&task->self_, 0);
    if (task->on_done_ != NULL) flags |= RSL_TASK_NOTIFY_;
    if (!rsl_clock_is_real_(ctx->clock)) {
        flags |= RSL_TASK_CLOCK_;
        task->clock_ = ctx->clock;
    }
    status = rsl_workers_put_(w, task, flags);
    if (RSL_LIKELY_(status == RSL_OK)) return status;
    if (status == RSL_EFULL) status = rsl_workers_overflow_(w, ctx, task, flags, when_full);
    if (status == RSL_OK) return status;
    return rsl_workers_refuse_(w, task, before, status, when_full);
}

int rsl_workers_submit(rsl_workers *workers, const rsl_ctx *ctx, rsl_fn fn, void *arg,
                       rsl_task *task)
{
    if (workers == NULL || fn == NULL || task == NULL) return RSL_EINVAL;
    return rsl_workers_submit_(workers, ctx, fn, arg, task, workers->config.when_full);
}

/* ---- waiting for a task ---- */

/* We are a guest. Runs it here if nobody else has it: true, it has ended and we have departed. */
static bool rsl_task_assist_(rsl_workers *w, rsl_worker_ *me, rsl_task *task)
{
    while (rsl_task_phase_(rsl_load_(&task->state_)) == RSL_TASK_QUEUED_) {
        if (rsl_task_take_(w, task)) {
            rsl_task_run_here_(w, me, task, &w->by_waiter);
            return true;
        }
        if (rsl_load_(&task->token_) != 0) break;
        rsl_pause_(0); /* just being published, moved or begun */
    }
    return false;
}

/* Lock held: whether the end of the task waits for the end of the one that `me` runs. */
static bool rsl_task_is_circular_(rsl_workers *w, const rsl_worker_ *me, const rsl_task *task)
{
    for (uint32_t i = 0; task != NULL && i <= w->threads_max; i++) {
        const rsl_worker_ *worker = rsl_task_worker_(w, task);
        if (worker == NULL) return false;
        if (worker == me) return true;
        task = worker->waits_on;
    }
    return false;
}

/* Sleeps until it has ended: RSL_OK; or the ctx is spent; RSL_EINVAL: another thread waits. Looks
   for a while first: a short task has ended before we would be asleep. */
static int rsl_task_sleep_(rsl_task *task, const rsl_ctx *ctx, const rsl_clock *clock)
{
    rsl_time until = ctx->deadline != 0 ? ctx->deadline : RSL_FOREVER;
    uint64_t state = rsl_load_(&task->state_);
    for (uint32_t spins = RSL_WORKERS_SPINS_ / 5; spins > 0; spins--) {
        if (rsl_task_phase_(state) != RSL_TASK_QUEUED_) return RSL_OK;
        rsl_relax_();
        state = rsl_load_(&task->state_);
    }
    do {
        if (rsl_task_phase_(state) != RSL_TASK_QUEUED_) return RSL_OK;
        if (state & RSL_TASK_SLEEPER_) return RSL_EINVAL;
    } while (!rsl_cas_(&task->state_, &state, state | RSL_TASK_SLEEPER_));
    for (;;) {
        state = rsl_load_(&task->state_);
        if (rsl_task_phase_(state) != RSL_TASK_QUEUED_) return RSL_OK;
        int spent = rsl_ctx_spent_(ctx, clock);
        if (spent == RSL_OK) {
            rsl_ctx_sleep_(ctx, clock, &task->park_, until);
            continue;
        }
        uint64_t awake = state & ~(uint64_t)RSL_TASK_SLEEPER_;
        if (rsl_cas_(&task->state_, &state, awake)) return spent;
    }
}

/* A wait inside a task of the same workers. */
static int rsl_worker_wait_(rsl_workers *w, rsl_worker_ *me, rsl_task *task, const rsl_ctx *ctx,
                            const rsl_clock *clock)
{
    if (!rsl_workers_get_stuck_(w, task)) {
        bool over = rsl_task_phase_(rsl_load_(&task->state_)) != RSL_TASK_QUEUED_;
        return over ? RSL_OK : RSL_EINVAL;
    }
    rsl_lock_take_(&w->lock);
    bool circular = rsl_task_is_circular_(w, me, task);
    rsl_task *before = me->waits_on;
    if (!circular) me->waits_on = task;
    rsl_lock_drop_(&w->lock);
    int status = circular ? RSL_EINVAL : rsl_task_sleep_(task, ctx, clock);
    rsl_lock_take_(&w->lock);
    me->waits_on = before;
    w->stuck--;
    rsl_lock_drop_(&w->lock);
    return status;
}

/* We are a guest, and depart. */
static int rsl_task_await_(rsl_workers *w, rsl_task *task, const rsl_ctx *ctx)
{
    rsl_worker_ *me = rsl_workers_me_(w);
    const rsl_clock *picked = rsl_clock_pick_(ctx, &w->config.clock);
    rsl_clock clock = {NULL, NULL, NULL}; /* a copy: they may be gone when we wake */
    if (picked != NULL) clock = *picked;
    bool mine = rsl_task_is_mine_(w, task);
    bool limited = ctx->cancel != NULL || (ctx->deadline != 0 && ctx->deadline != RSL_FOREVER);
    if (!mine && !limited && rsl_task_assist_(w, me, task)) return RSL_OK;
    rsl_workers_depart_(w);
    if (mine) return RSL_EINVAL;
    return me != NULL ? rsl_worker_wait_(w, me, task, ctx, &clock)
                      : rsl_task_sleep_(task, ctx, &clock);
}

RSL_NOINLINE_ int rsl_task_wait_slowly_(rsl_task *task, const rsl_ctx *ctx)
{
    while (rsl_task_phase_(rsl_load_(&task->state_)) == RSL_TASK_CLAIMED_) rsl_pause_(0);
    uint64_t state = rsl_load_(&task->state_);
    if (state == RSL_TASK_IDLE_ || state == RSL_TASK_NO_ROOM_) return RSL_EINVAL;
    rsl_workers *w = rsl_task_visit_(task);
    int status = w != NULL ? rsl_task_await_(w, task, ctx) : RSL_OK;
    if (status != RSL_OK) return status;
    while (rsl_load_(&task->state_) != RSL_TASK_ENDED_) rsl_pause_(0); /* others are being told */
    return RSL_OK;
}

int rsl_task_wait(rsl_task *task, const rsl_ctx *ctx, int *result)
{
    if (task == NULL) return RSL_EINVAL;
    if (rsl_load_(&task->state_) != RSL_TASK_ENDED_) {
        int saved = errno;
        int status = rsl_task_wait_slowly_(task, rsl_ctx_or_unlimited_(ctx));
        errno = saved;
        if (status != RSL_OK) return status;
    }
    if (result != NULL) *result = task->result_;
    return RSL_OK;
}

bool rsl_task_has_ended(const rsl_task *task)
{
    return task != NULL && rsl_load_(&task->state_) == RSL_TASK_ENDED_;
}

/* True: it was queued, and has ended. */
static bool rsl_task_withdraw_(rsl_task *task)
{
    rsl_workers *w = rsl_task_visit_(task);
    bool taken = w != NULL && rsl_task_take_(w, task);
    if (taken) {
        rsl_count_(&w->canceled);
        rsl_task_end_(task, RSL_ECANCELED);
    }
    if (w != NULL) rsl_workers_depart_(w);
    return taken;
}

int rsl_task_cancel(rsl_task *task)
{
    if (task == NULL) return RSL_EINVAL;
    for (;;) {
        uint64_t phase = rsl_task_phase_(rsl_load_(&task->state_));
        if (phase != RSL_TASK_QUEUED_ && phase != RSL_TASK_CLAIMED_) return RSL_EINVAL;
        if (rsl_task_withdraw_(task)) return RSL_OK;
        if (rsl_load_(&task->token_) > RSL_TOKEN_GONE_ && rsl_task_pin_(task)) {
            uint64_t token = rsl_load_strict_(&task->token_);
            bool runs = token > RSL_TOKEN_GONE_;
            if (runs) rsl_cancel_fire((rsl_cancel *)(uintptr_t)token);
            rsl_task_unpin_(task);
            if (runs) return RSL_OK;
        }
        rsl_pause_(0); /* just being published, moved or begun, or about to end */
    }
}

void rsl_task_on_done(rsl_task *task, void (*on_done)(void *user), void *user)
{
    if (task == NULL) return;
    task->on_done_ = on_done;
    task->user_ = user;
}

/* ---- map ---- */

enum { RSL_MAP_THREADS_ = 64 };

typedef struct rsl_map_job_ {
    rsl_ctx   ctx;
    rsl_fn    fn;
    char     *items;
    size_t    size, count;
    int      *results;
    rsl_workers *workers;
    rsl_task *helpers;
    size_t    asked; /* of those, submitted */
    rsl_word_ next;  /* atomic: the first item that nobody has */
    rsl_word_ spent; /* atomic: 0, or why items were not run */
} rsl_map_job_;

/* Runs items until there are no more. */
static int rsl_map_help_(const rsl_ctx *ctx, void *arg)
{
    rsl_map_job_ *job = (rsl_map_job_ *)arg;
    for (;;) {
        int result = rsl_ctx_spent_(&job->ctx, job->ctx.clock);
        if (result == RSL_OK && ctx->cancel != job->ctx.cancel && rsl_cancel_fired(ctx->cancel))
            return 0; /* this thread is to stop; others go on */
        uint64_t i = rsl_add_relaxed_(&job->next, 1); /* relaxed: results travel with the task */
        if (i >= job->count) return 0;
        if (result != RSL_OK) rsl_store_relaxed_(&job->spent, (uint64_t)(uint32_t)result);
        if (job->results != NULL) job->results[i] = result != RSL_OK ? result : RSL_ECANCELED;
        if (result != RSL_OK) continue;
        result = job->fn(ctx, job->size != 0 ? job->items + i * job->size : job->items);
        if (job->results != NULL) job->results[i] = result; /* else it ended its thread */
    }
}

/* All items are begun: a helper that is queued is not needed, one that runs is awaited, whatever
   happens, for it lies on our stack. */
static void rsl_map_part_(rsl_workers *w, rsl_task *helper)
{
    rsl_worker_ *me = rsl_workers_me_(w);
    rsl_task_withdraw_(helper);
    rsl_lock_take_(&w->lock);
    rsl_task *before = me != NULL ? me->waits_on : NULL;
    if (me != NULL) me->waits_on = helper; /* who waits for us in an item is told */
    rsl_lock_drop_(&w->lock);
    rsl_task_sleep_(helper, &rsl_ctx_unlimited_, NULL);
    while (rsl_load_(&helper->state_) != RSL_TASK_ENDED_) rsl_pause_(0);
    rsl_lock_take_(&w->lock);
    if (me != NULL) me->waits_on = before;
    rsl_lock_drop_(&w->lock);
}

static void rsl_map_end_(rsl_map_job_ *job)
{
    for (size_t i = 0; i < job->asked; i++) rsl_map_part_(job->workers, &job->helpers[i]);
    rsl_workers_depart_(job->workers);
}

static void rsl_map_run_(void *arg)
{
    rsl_map_job_ *job = (rsl_map_job_ *)arg;
    rsl_map_help_(&job->ctx, job);
    rsl_map_end_(job);
}

/* An item has ended the thread that called map. */
static void rsl_map_lost_(void *arg)
{
    rsl_map_job_ *job = (rsl_map_job_ *)arg;
    rsl_store_relaxed_(&job->next, job->count);
    rsl_map_end_(job);
}

int rsl_workers_map(rsl_workers *workers, const rsl_ctx *ctx, rsl_fn fn, void *items, size_t size,
                    size_t count, int *results)
{
    rsl_task helpers[RSL_MAP_THREADS_ - 1];
    rsl_workers *w = workers;
    if (w == NULL || fn == NULL || (items == NULL && size != 0 && count != 0)) return RSL_EINVAL;
    size_t most = w->threads_max < RSL_MAP_THREADS_ ? w->threads_max : RSL_MAP_THREADS_;
    size_t helping = count < most ? count : most;
    rsl_ctx own = *rsl_ctx_or_unlimited_(ctx);
    own.clock = rsl_clock_pick_(&own, &w->config.clock);
    rsl_map_job_ job = {own, fn, (char *)items, size, count, results, w, helpers, 0, 0, 0};
    int saved = errno, cancelable = rsl_uncancelable_(); /* helpers use our stack */
    rsl_workers_visit_(w);
    for (; job.asked + 1 < helping; job.asked++) { /* we are one of them */
        rsl_task *helper = &helpers[job.asked];
        memset(helper, 0, sizeof *helper);
        if (rsl_workers_submit_(w, &own, rsl_map_help_, &job, helper, RSL_FULL_DEFAULT) != 0)
            break;
    }
    rsl_thread_guard_(rsl_map_run_, rsl_map_lost_, &job);
    rsl_cancelable_(cancelable);
    errno = saved;
    return (int)(int32_t)(uint32_t)rsl_load_relaxed_(&job.spent);
}

/* ---- all of them ---- */

/* No more tasks, until restarted. */
static void rsl_workers_shut_(rsl_workers *w)
{
    uint64_t tail = rsl_load_relaxed_(&w->tail);
    while (!rsl_cas_strict_(&w->tail, &tail, tail | RSL_TAIL_CLOSED_)) continue;
    rsl_lock_take_(&w->lock);
    for (rsl_waiter *waiter; (waiter = rsl_waiters_take_(&w->room)) != NULL;) {
        rsl_lock_drop_(&w->lock);
        rsl_waiter_wake_(waiter);
        rsl_lock_take_(&w->lock);
    }
    rsl_lock_drop_(&w->lock);
}

/* Until all that was accepted has ended. */
static int rsl_workers_await_end_(rsl_workers *w, const rsl_ctx *ctx)
{
    const rsl_clock *clock = rsl_clock_pick_(ctx, &w->config.clock);
    rsl_time until = ctx->deadline != 0 ? ctx->deadline : RSL_FOREVER;
    rsl_word_ park = 0;
    rsl_waiter waiter;
    rsl_waiter_park_(&waiter, &park);
    rsl_lock_take_(&w->lock);
    uint64_t guests = rsl_load_relaxed_(&w->guests);
    while (!rsl_cas_strict_(&w->guests, &guests, guests | RSL_GUESTS_DRAINING_)) continue;
    bool done = rsl_workers_are_done_(w);
    if (!done) rsl_waiters_push_(&w->drainers, &waiter);
    rsl_lock_drop_(&w->lock);
    if (done) return RSL_OK;
    int spent = RSL_OK;
    while (rsl_load_(&waiter.private_.state) == RSL_WAITER_QUEUED_ && spent == RSL_OK) {
        spent = rsl_ctx_spent_(ctx, clock);
        if (spent == RSL_OK) rsl_ctx_sleep_(ctx, clock, &park, until);
    }
    bool told = rsl_waiters_leave_(&w->drainers, &w->lock, &waiter);
    return told ? RSL_OK : spent;
}

static int rsl_workers_give_up_(rsl_workers *w, int status)
{
    if (status == RSL_OK) return status;
    size_t left = rsl_workers_unfinished(w, NULL, 0);
    rsl_workers_note_(w, "unfinished", RSL_WORKERS_UNFINISHED, status, (int64_t)left);
    return status;
}

int rsl_workers_drain(rsl_workers *workers, const rsl_ctx *ctx)
{
    if (workers == NULL || rsl_workers_me_(workers) != NULL) return RSL_EINVAL;
    rsl_workers_shut_(workers);
    return rsl_workers_await_end_(workers, rsl_ctx_or_unlimited_(ctx));
}

int rsl_workers_stop(rsl_workers *workers, const rsl_ctx *ctx)
{
    rsl_workers *w = workers;
    if (w == NULL || rsl_workers_me_(w) != NULL) return RSL_EINVAL;
    rsl_workers_shut_(w);
    rsl_workers_visit_(w);
    rsl_workers_end_queued_(w, RSL_ECLOSED);
    rsl_workers_depart_(w);
    rsl_lock_take_(&w->lock);
    w->stopped = true; /* who begins now finds the token fired, or links one and looks */
    for (uint32_t i = 0; i < w->threads_max; i++) {
        rsl_worker_ *worker = &w->team[i];
        if (worker->state != RSL_WORKER_ALIVE_) continue;
        rsl_cancel *token = worker->is_linked ? &worker->linked : &worker->token;
        worker->firing++;
        rsl_lock_drop_(&w->lock);
        rsl_cancel_fire(token);
        rsl_lock_take_(&w->lock);
        worker->firing--;
    }
    rsl_lock_drop_(&w->lock);
    return rsl_workers_give_up_(w, rsl_workers_await_end_(w, rsl_ctx_or_unlimited_(ctx)));
}

int rsl_workers_restart(rsl_workers *workers)
{
    rsl_workers *w = workers;
    if (w == NULL) return RSL_EINVAL;
    rsl_lock_take_(&w->lock);
    w->stopped = false;
    uint64_t tail = rsl_load_relaxed_(&w->tail), guests = rsl_load_relaxed_(&w->guests);
    while (!rsl_cas_strict_(&w->tail, &tail, tail & ~RSL_TAIL_CLOSED_)) continue;
    while (w->drainers.first == NULL &&
           !rsl_cas_strict_(&w->guests, &guests, guests & ~RSL_GUESTS_DRAINING_))
        continue;
    rsl_lock_drop_(&w->lock);
    return RSL_OK;
}

/* All have ended, and nobody else is here any more, or was ever. */
static void rsl_workers_free_(rsl_workers *w)
{
    rsl_lock_take_(&w->lock);
    w->ending = true;
    for (rsl_worker_ *worker = w->idle; worker != NULL; worker = worker->next)
        rsl_park_post_(&worker->park);
    for (uint32_t i = 0; i < w->threads_max; i++) {
        rsl_worker_ *worker = &w->team[i];
        if (worker->state == RSL_WORKER_NONE_) continue;
        rsl_lock_drop_(&w->lock);
        rsl_thread_join_(&worker->thread);
        rsl_lock_take_(&w->lock);
    }
    rsl_lock_drop_(&w->lock);
    for (uint32_t i = 0; i < w->threads_max; i++) rsl_cancel_deinit(&w->team[i].token);
    rsl_lock_deinit_(&w->lock);
    RSL_FREE(w->cells);
    RSL_FREE(w->team);
    RSL_FREE(w);
}

int rsl_workers_close(rsl_workers *workers, const rsl_ctx *ctx)
{
    int status = rsl_workers_drain(workers, ctx);
    if (status == RSL_EINVAL) return status;
    if (status != RSL_OK) return rsl_workers_give_up_(workers, status);
    rsl_workers_free_(workers);
    return RSL_OK;
}

static int rsl_workers_build_(rsl_workers *w, const rsl_workers_config *config)
{
    memset(w, 0, sizeof *w);
    w->config = rsl_workers_config_resolve(config);
    w->queue_max = w->config.queue_max;
    w->threads_max = w->config.threads_max;
    uint64_t cells = 4;
    while (cells < 2 * (uint64_t)w->queue_max) cells *= 2; /* as much again for holes */
    w->mask = cells - 1;
    if (cells > SIZE_MAX / sizeof(rsl_cell_)) return RSL_ENOMEM;
    w->cells = (rsl_cell_ *)RSL_MALLOC((size_t)cells * sizeof(rsl_cell_));
    w->team = (rsl_worker_ *)RSL_MALLOC(w->threads_max * sizeof(rsl_worker_));
    if (w->cells == NULL || w->team == NULL) return RSL_ENOMEM;
    memset(w->team, 0, w->threads_max * sizeof(rsl_worker_));
    for (uint64_t i = 0; i < cells; i++) {
        w->cells[i].seq = i;
        w->cells[i].task = 0;
    }
    int status = RSL_OK;
    uint32_t made = 0;
    for (; made < w->threads_max && status == RSL_OK; made++) {
        w->team[made].workers = w;
        status = rsl_cancel_init(&w->team[made].token, NULL);
    }
    if (status == RSL_OK) status = rsl_lock_init_(&w->lock);
    while (status != RSL_OK && made > 0) rsl_cancel_deinit(&w->team[--made].token);
    return status;
}

int rsl_workers_open(rsl_workers **workers, const rsl_workers_config *config)
{
    if (workers == NULL || rsl_workers_config_check(config) != NULL) return RSL_EINVAL;
    rsl_workers *w = (rsl_workers *)RSL_MALLOC(sizeof *w);
    if (w == NULL) return RSL_ENOMEM;
    int status = rsl_workers_build_(w, config);
    if (status != RSL_OK) {
        if (w->cells != NULL) RSL_FREE(w->cells);
        if (w->team != NULL) RSL_FREE(w->team);
        RSL_FREE(w);
        return status;
    }
    for (uint32_t i = 0; i < w->config.threads_min && status == RSL_OK; i++) {
        rsl_lock_take_(&w->lock);
        rsl_worker_ *worker = rsl_workers_reserve_(w);
        rsl_lock_drop_(&w->lock);
        status = rsl_workers_start_(w, worker);
    }
    if (status == RSL_OK) {
        *workers = w;
        return RSL_OK;
    }
    int saved = errno;
    rsl_workers_close(w, NULL);
    errno = saved;
    return status;
}

size_t rsl_workers_unfinished(rsl_workers *workers, rsl_task **tasks, size_t room)
{
    rsl_workers *w = workers;
    size_t count = 0;
    if (w == NULL) return 0;
    rsl_lock_take_(&w->lock);
    for (uint32_t i = 0; i < w->threads_max; i++) {
        uint64_t task = rsl_load_(&w->team[i].current);
        if (task != 0 && count++ < room) tasks[count - 1] = (rsl_task *)(uintptr_t)task;
    }
    for (int low = 0; low < 2; low++) {
        for (rsl_task *task = w->list[low].first; task != NULL; task = task->next_) {
            if (count++ < room) tasks[count - 1] = task;
        }
    }
    uint64_t tail = rsl_load_(&w->tail) >> 1;
    uint64_t position = rsl_load_(&w->head) / RSL_HEAD_ONE_;
    for (; position < tail; position++) {
        uint64_t task = rsl_load_(&w->cells[position & w->mask].task);
        if (task != 0 && count++ < room) tasks[count - 1] = (rsl_task *)(uintptr_t)task;
    }
    rsl_lock_drop_(&w->lock);
    return count;
}

void rsl_workers_stats_get(rsl_workers *workers, rsl_workers_stats *stats)
{
    rsl_workers *w = workers;
    if (stats == NULL) return;
    memset(stats, 0, sizeof *stats);
    if (w == NULL) return;
    rsl_lock_take_(&w->lock);
    uint64_t hands = rsl_load_(&w->hands), tail = rsl_load_(&w->tail) >> 1;
    int64_t queued = rsl_workers_queued_(w, tail);
    stats->threads = rsl_hands_threads_(hands);
    stats->idle = rsl_hands_idle_(hands);
    stats->queued = queued > 0 ? (uint32_t)queued : 0;
    stats->by_waiter = rsl_load_relaxed_(&w->by_waiter);
    stats->by_caller = rsl_load_relaxed_(&w->by_caller);
    stats->submitted = tail + w->submitted + rsl_load_relaxed_(&w->to_caller);
    stats->completed = w->completed + stats->by_waiter + stats->by_caller;
    for (uint32_t i = 0; i < w->threads_max; i++) {
        if (rsl_load_(&w->team[i].current) != 0) stats->running++;
        stats->completed += rsl_load_relaxed_(&w->team[i].completed);
    }
    stats->lost = w->lost;
    rsl_lock_drop_(&w->lock);
    stats->canceled = rsl_load_relaxed_(&w->canceled);
    stats->expired = rsl_load_relaxed_(&w->expired);
    stats->dropped = rsl_load_relaxed_(&w->dropped);
    stats->refused = rsl_load_relaxed_(&w->refused);
}

#else /* nobody can get hold of workers, or of a task that was submitted */

int rsl_workers_open(rsl_workers **workers, const rsl_workers_config *config)
{
    (void)workers, (void)config;
    return RSL_EINVAL;
}

int rsl_workers_close(rsl_workers *workers, const rsl_ctx *ctx)
{
    (void)workers, (void)ctx;
    return RSL_EINVAL;
}

int rsl_workers_submit(rsl_workers *workers, const rsl_ctx *ctx, rsl_fn fn, void *arg,
                       rsl_task *task)
{
    (void)workers, (void)ctx, (void)fn, (void)arg, (void)task;
    return RSL_EINVAL;
}

int rsl_task_wait(rsl_task *task, const rsl_ctx *ctx, int *result)
{
    (void)task, (void)ctx, (void)result;
    return RSL_EINVAL;
}

bool rsl_task_has_ended(const rsl_task *task)
{
    (void)task;
    return false;
}

int rsl_task_cancel(rsl_task *task)
{
    (void)task;
    return RSL_EINVAL;
}

void rsl_task_on_done(rsl_task *task, void (*on_done)(void *user), void *user)
{
    (void)task, (void)on_done, (void)user;
}

int rsl_workers_map(rsl_workers *workers, const rsl_ctx *ctx, rsl_fn fn, void *items, size_t size,
                    size_t count, int *results)
{
    (void)workers, (void)ctx, (void)fn, (void)items, (void)size, (void)count, (void)results;
    return RSL_EINVAL;
}

int rsl_workers_drain(rsl_workers *workers, const rsl_ctx *ctx)
{
    (void)workers, (void)ctx;
    return RSL_EINVAL;
}

int rsl_workers_stop(rsl_workers *workers, const rsl_ctx *ctx)
{
    (void)workers, (void)ctx;
    return RSL_EINVAL;
}

int rsl_workers_restart(rsl_workers *workers)
{
    (void)workers;
    return RSL_EINVAL;
}

size_t rsl_workers_unfinished(rsl_workers *workers, rsl_task **tasks, size_t room)
{
    (void)workers, (void)tasks, (void)room;
    return 0;
}

void rsl_workers_stats_get(rsl_workers *workers, rsl_workers_stats *stats)
{
    (void)workers;
    if (stats != NULL) memset(stats, 0, sizeof *stats);
}

#endif

#endif /* RSL_BULKHEAD_IMPLEMENTATION */

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
