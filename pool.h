/* pool.h -- a pool of resources that are dear to make: connections, handles, sessions. Lends them
   out, makes more when somebody waits, mends what breaks, closes what is old.

       #define RSL_POOL_IMPLEMENTATION             in one C file of the program
       #include "pool.h"

       rsl_pool *pool;
       rsl_pool_config config = {.create = dial, .destroy = hang_up, .size_max = 20};
       if (rsl_pool_open(&pool, &config) != RSL_OK) ...

       rsl_pool_lease lease;
       if (rsl_pool_acquire(pool, &ctx, &lease) == RSL_OK) {
           bool broken = talk(lease.resource) == GONE;
           if (broken) rsl_pool_discard(pool, &lease);
           else rsl_pool_release(pool, &lease);
       }

   or rsl_pool_use(pool, &ctx, talk, arg), which always gives back. A slot of the pool:

                  create                      acquire
         EMPTY ----------> CREATING --+--------------------> LEASED <------+
           ^                  | fails |                        |           |
           |                  v       v  nobody waits          | release   | a waiter's turn
           |                EMPTY    IDLE <-----------+        v           |
           |                          |               +------ BUSY --------+
           |                          | too old, too          |
           |                          v long idle             | broken, too old, worn out,
           +------------------------ BUSY <-------------------+ invalid, too many
               destroy

   BUSY is a slot in the hands of one thread that checks, resets or destroys its resource. A
   waiter: QUEUED, first come first served (higher priority first), until it is handed a leased
   slot, or a status: late, closed, or the error of a creation that failed it.

   Invariants. A slot's generation counts up at each lease, and a lease carries it: of any number
   of releases of one lease, one counts. While anybody waits, no slot that could serve is idle and
   each leased one is marked, so that its release looks at the queue: nobody sleeps beside an idle
   resource, and nobody is overtaken (but once, by threads that lease for less than it costs to
   wake the one who waits). Creation and destruction never run under the lock, and
   creation never on the time of who acquires, unless config.caller_maintains.

   Options, to be defined before the implementation: RSL_STATIC (private copies), RSL_NO_THREADS
   (then caller_maintains must be set), RSL_MALLOC with RSL_FREE (used by open, resize and
   keyed pools only), RSL_ASSERT. Keyed pools need stb_ds.h beside this file or as <stb/stb_ds.h>;
   where it is not found, or with RSL_NO_STB_DS, they are left out. Link with -pthread. */
#ifndef RSL_POOL_H
#define RSL_POOL_H

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

/* ---- config ---- */

typedef struct rsl_pool rsl_pool;

typedef struct rsl_pool_config {
    const char *name;           /* for observers; not copied (none) */
    /* Makes a resource: 0, and *resource; else a failure, which may be any other number (RSL_RUN
       to RSL_STOP are passed on as RSL_EINVAL). ctx ends at create_timeout, and when the pool
       closes. */
    int  (*create)(void *user, const rsl_ctx *ctx, void **resource); /* required, but for a loop
                                   that connects by itself: caller_maintains with tickets */
    void (*destroy)(void *user, void *resource);  /* required */
    int  (*validate)(void *user, void *resource); /* before reuse: 0 is healthy (none) */
    int  (*reset)(void *user, void *resource);    /* on release: 0 is reusable (none) */
    void (*abandon)(void *user, void *resource);  /* in a forked child: forget without touching the
                                                     peer (none: it is left alone) */
    void *user;                 /* given to the callbacks */
    uint32_t size_max;          /* 1..65536 (10) */
    uint32_t size_min;          /* kept open even when idle (0) */
    uint32_t waiters_max;       /* more are refused with RSL_EFULL; nobody: see acquire_timeout
                                   (1024) */
    uint32_t creating_max;      /* creations at once, on the pool's own threads; never an
                                   acquirer's, unless caller_maintains; one more when the latest
                                   is out for a second; 1..64 (1) */
    uint32_t uses_max;          /* leases of one resource (RSL_UNLIMITED) */
    rsl_time acquire_timeout;   /* of one acquire; RSL_NONE: no wait (30 s) */
    rsl_time idle_timeout;      /* idle longer and above size_min: closed; RSL_NONE: on release
                                   (10 min) */
    rsl_time lifetime_max;      /* older: closed when idle, or on release (30 min) */
    double   lifetime_jitter;   /* share taken off, rolled once per resource, 0..1 (0.1) */
    rsl_time validate_after;    /* idle less than this: validation is skipped; RSL_NONE: never
                                   skipped (500 ms) */
    rsl_time keepalive;         /* idle resources are validated this often (RSL_FOREVER: never) */
    rsl_time create_backoff, create_backoff_max; /* after a failed creation; doubles, and is cut by
                                   up to half at random (10 ms, 5 s) */
    rsl_time leak_after;        /* a lease held longer is reported (RSL_FOREVER) */
    bool     caller_maintains;  /* no thread: the caller runs rsl_pool_maintain, and who acquires
                                   creates (false) */
    bool     adaptive;          /* size follows the load between size_min and size_max (false) */
    rsl_clock    clock;         /* (real: coarse for ages, precise for waits) */
    rsl_random   random;        /* for the jitters (a generator of the pool's own) */
    rsl_observer observer;      /* told of enum rsl_pool_event (none) */
    bool      (*is_broken)(int result, void *user); /* for the layer: what the call's result says
                                   of the resource (RSL_ETIMEOUT, RSL_ECANCELED: stopped midway) */
    rsl_time adaptive_window;   /* how long the load is watched before the size moves (1 s) */
    rsl_time create_timeout;    /* of one creation (acquire_timeout; 30 s if that is none) */
} rsl_pool_config;

typedef enum rsl_pool_event {
    RSL_POOL_CREATED = 1,   /* value: how long it took */
    RSL_POOL_CREATE_FAILED, /* status: what create returned; value: the wait before the next */
    RSL_POOL_DESTROYED,     /* value: enum rsl_pool_reason; name: the reason */
    RSL_POOL_TIMED_OUT,     /* somebody waited in vain; status: what it was answered; of several
                               at once not each is told: the statistics count them */
    RSL_POOL_LEAKED,        /* a lease is out for longer than leak_after; value: its slot */
    RSL_POOL_STRAGGLER,     /* close gave up waiting for a lease; value: its slot */
    RSL_POOL_RESIZED,       /* by a person or by the load; value: resources it may hold now */
    RSL_POOL_INVALIDATED,   /* rsl_pool_invalidate_all */
    RSL_POOL_PAUSED,
    RSL_POOL_RESUMED
} rsl_pool_event;

typedef enum rsl_pool_reason { /* why a resource was destroyed */
    RSL_POOL_IDLE = 1,    /* idle for too long, or one too many */
    RSL_POOL_LIFETIME,
    RSL_POOL_USES,
    RSL_POOL_OUTDATED,    /* made before rsl_pool_invalidate_all */
    RSL_POOL_BROKEN,      /* discarded, or its reset failed */
    RSL_POOL_INVALID,     /* its validation failed */
    RSL_POOL_CLOSED,
    RSL_POOL_FORKED       /* abandoned in a forked child */
} rsl_pool_reason;

/* NULL when open would take the config, else the field and the reason, as "size_min: must not be
   more than size_max"; the text is static. NULL config: "create: must be set". Pure. */
RSL_API const char *rsl_pool_config_check(const rsl_pool_config *config);

/* The values in force: each zero replaced by its default; RSL_NONE by zero in the fields that name
   it, create_backoff and lifetime_jitter. NULL gives all defaults. Pure; it does not check. */
RSL_API rsl_pool_config rsl_pool_config_resolve(const rsl_pool_config *config);

typedef enum rsl_pool_preset {
    RSL_POOL_DEVELOPMENT, /* 5 at most, patient, leaks reported after 10 s, validated each time */
    RSL_POOL_TESTING,     /* 2 at most, acquires give up after 2 s, leaks reported after 2 s */
    RSL_POOL_PRODUCTION,  /* 2 to 10, leaks reported after a minute */
    RSL_POOL_HIGH_LOAD    /* 10 to 50, two creations at once, gives up after 2 s, 256 may wait */
} rsl_pool_preset;

/* A config to start from: plain values, to which the callbacks are to be added. A number that is
   no preset gives all defaults. Pure. */
RSL_API rsl_pool_config rsl_pool_config_preset(rsl_pool_preset preset);

/* ---- a pool ---- */

/* A resource lent. Plain data in the caller's memory; a copy is the same lease. Spent after
   release and discard: resource is NULL then, generation 0. */
typedef struct rsl_pool_lease {
    void     *resource;
    rsl_pool *pool;
    uint32_t  slot, private_;
    uint64_t  generation; /* 0: spent */
} rsl_pool_lease;

/* Makes a pool and, unless caller_maintains, starts its threads: one, and one more for each of
   creating_max. They fill it up to size_min. The config is copied; what it points to stays the
   caller's and must outlive the pool. RSL_EINVAL: pool is NULL or the config is wrong
   (rsl_pool_config_check says how); RSL_ENOMEM; RSL_ESYS: no thread or lock, errno says why.
   *pool is written on RSL_OK only. Allocates about 8 KB and 128 to 256 bytes per slot, at least
   32 of them, and a page that is wiped in a forked child. Does not block. */
RSL_API int rsl_pool_open(rsl_pool **pool, const rsl_pool_config *config);

/* Closes to new work: who waits is answered RSL_ECLOSED, idle resources are destroyed, creations
   are cancelled; then waits for leases and creations until ctx's deadline. Only RSL_OK frees.
   RSL_ETIMEOUT or RSL_ECANCELED: closed, still allocated: RSL_POOL_STRAGGLER is told for each
   lease, rsl_pool_holders names the holders, late releases are safe; call again. RSL_EINVAL: NULL,
   another close is at work, or called on a thread of the pool (a callback elsewhere that
   closes waits for its own resource, to the deadline). ctx NULL: no
   limit. No other call may be entered any more; those that wait are waited for, as are waiters of
   begin: they are to be polled or abandoned. */
RSL_API int rsl_pool_close(rsl_pool *pool, const rsl_ctx *ctx);

/* Leases a resource: the one that this thread used last, else the lowest idle one; else waits in
   turn for a release or a creation. RSL_OK: *lease is to be released or discarded, by any thread.
   RSL_ETIMEOUT: ctx's deadline or acquire_timeout passed; if the creation that it waited for
   failed, that failure is returned instead. RSL_ECANCELED; RSL_EFULL: waiters_max wait;
   RSL_ECLOSED; RSL_ESYS: in a forked child, no threads; RSL_EINVAL: NULL pool or lease. *lease is
   written on RSL_OK only. ctx NULL: no limit but acquire_timeout. From any thread; blocks, and
   runs config.validate, and config.destroy for what is not good any more. With an
   idle resource: no lock, no allocation, no system call; about 10 ns. */
RSL_API int rsl_pool_acquire(rsl_pool *pool, const rsl_ctx *ctx, rsl_pool_lease *lease);

/* The same without waiting or creating: RSL_EFULL when none is idle. Callbacks run here too. */
RSL_API int rsl_pool_try(rsl_pool *pool, rsl_pool_lease *lease);

/* Gives it back: to the first who waits, else to the idle ones. RSL_EINVAL: the lease is spent or
   stale (released before, also through a copy, or taken before a fork), or not of this pool;
   nothing has changed then. From any thread; runs config.reset, config.destroy on what is too
   old, and config.validate when that is never skipped and somebody waits; a brief lock only when
   somebody waits or waited. */
RSL_API int rsl_pool_release(rsl_pool *pool, rsl_pool_lease *lease);

/* The same for a resource that is broken: it is destroyed on this thread, never reused, and
   replaced when somebody waits. */
RSL_API int rsl_pool_discard(rsl_pool *pool, rsl_pool_lease *lease);

/* Acquires, calls fn, and gives back: discards when fn sets *broken. Returns what acquire refused
   with, else what fn returned. RSL_EINVAL also for fn NULL. */
RSL_API int rsl_pool_use(rsl_pool *pool, const rsl_ctx *ctx,
                         int (*fn)(const rsl_ctx *ctx, void *resource, void *arg, bool *broken),
                         void *arg);

/* The same as a layer of a policy (resilience.h), one per call: *lease is filled on the way in and
   released, or by config.is_broken discarded, on the way out, unless the call did so itself; a
   call that is abandoned loses its resource. Refusals are those of acquire; without a resource it
   waits in the execution. With caller_maintains and a create callback it creates on the thread
   that drives. *lease and the pool must outlive the execution. NULL pool or lease: it refuses
   with RSL_EINVAL. */
RSL_API rsl_layer rsl_pool_layer(rsl_pool *pool, rsl_pool_lease *lease);

/* ---- for event loops ---- */

/* Begins to acquire without blocking. RSL_OK: *lease is leased. RSL_WAIT: the waiter, zeroed
   before its first use, with wake and user set, is queued and must stay where it is until poll
   answers otherwise or abandon; wake is called once there is something to poll. Else as acquire;
   RSL_EINVAL: also a waiter that is queued, or has no wake. ctx: its deadline and priority are
   kept; its cancel token is looked at now, and then no more. config.validate may run here. In a
   forked child the wait is over: poll answers RSL_ECLOSED there. With caller_maintains, RSL_WAIT
   is the time to look for a creation that is wanted. */
RSL_API int rsl_pool_begin(rsl_pool *pool, const rsl_ctx *ctx, rsl_waiter *waiter,
                           rsl_pool_lease *lease);

/* Goes on with what begin began. now: on the ctx's clock, or the pool's. RSL_WAIT: not yet. Woken
   and still RSL_WAIT, with caller_maintains: a creation is wanted. Else as acquire, and the waiter
   is free. RSL_EINVAL: NULL, or a waiter that waits for nothing, or elsewhere. Does not block. */
RSL_API int rsl_pool_poll(rsl_pool *pool, rsl_waiter *waiter, rsl_pool_lease *lease, rsl_time now);

/* Ends what begin began, at any time; what it was granted goes to the next. The waiter is free on
   return. NULL, or a waiter that waits for nothing or elsewhere, is passed over. */
RSL_API void rsl_pool_abandon(rsl_pool *pool, rsl_waiter *waiter);

/* A creation that a loop does by itself, in place of config.create. */
typedef struct rsl_creation { uint64_t private_[2]; } rsl_creation;

/* RSL_OK: one more resource is wanted: make it, then supply it under this ticket, or a failure.
   RSL_WAIT: none is wanted now; after a failure not before the time that rsl_pool_maintain
   returns. RSL_ECLOSED; RSL_EINVAL: NULL. From any thread; does not block. */
RSL_API int rsl_pool_wanted(rsl_pool *pool, rsl_creation *ticket);

/* Ends a creation. rc 0: the pool owns resource from now on, even if it only destroys it (closed:
   RSL_ECLOSED). rc else: it failed. RSL_EINVAL: NULL, or the ticket is spent; resource stays the
   caller's then. */
RSL_API int rsl_pool_supply(rsl_pool *pool, rsl_creation *ticket, int rc, void *resource);

/* ---- running it ---- */

/* Changes the bounds. Growing serves waiters by creation; shrinking destroys idle resources now,
   from the top, and leased ones as they are released: it waits for nobody. RSL_EINVAL: size_max
   is not in 1..65536, or less than size_min; RSL_ENOMEM: nothing has changed; RSL_ECLOSED. Runs
   config.destroy. */
RSL_API int rsl_pool_resize(rsl_pool *pool, uint32_t size_min, uint32_t size_max);

/* Every resource made, or begun, before this call is destroyed: idle ones soon, leased ones on
   release. O(1). NULL is passed over. */
RSL_API void rsl_pool_invalidate_all(rsl_pool *pool);

/* Until resumed, nothing is leased: who acquires waits, at most its time. Once it returned, no
   lease begins. Releases go on. RSL_ECLOSED; RSL_EINVAL: NULL. Pausing twice is pausing once. */
RSL_API int rsl_pool_pause(rsl_pool *pool);
RSL_API int rsl_pool_resume(rsl_pool *pool);

/* What the pool's threads do otherwise: makes what is wanted (unless create is NULL), destroys
   what is idle or old, keeps alive, reports leaks, adapts the size. Returns when it wants to be
   called again, on the pool's clock: a time that has come if a creation is wanted by now that it
   did not make, so ask rsl_pool_wanted each time before it. RSL_FOREVER: not before something else
   happens. Runs the callbacks; blocks as they do. From any thread, also of a pool that has its
   own. NULL: RSL_FOREVER. */
RSL_API rsl_time rsl_pool_maintain(rsl_pool *pool);

typedef struct rsl_pool_stats {
    uint32_t size_max, open, in_use, idle, creating, waiting; /* now; open = in_use + idle,
                                       in_use with what is being checked or destroyed */
    uint64_t acquired, waited, timed_out, created, create_failed, destroyed, invalid;
    uint64_t closed_idle, closed_lifetime, closed_uses, closed_invalidated, closed_broken, leaked;
    rsl_time wait_total, use_total, create_total;
    uint32_t size_now;                     /* what size_max or the load allow now */
    uint32_t leaking;                      /* leases out for longer than leak_after, now */
    rsl_time wait_max, use_max, create_max;
} rsl_pool_stats;

/* Writes a snapshot; totals are exact once nothing is under way. acquired counts leases; waited
   those acquires that had to queue, timed_out those that found none and gave up at their deadline;
   invalid the resources that failed validation, closed_broken those discarded or not reset.
   use_total is on the coarse clock: exact with an injected clock, with validate and with
   leak_after; else, once a thread has leased more than 16 times in a tick of it, one of its next
   32 leases is timed and stands for all. NULL pool: *stats is zeroed. A brief lock; cost grows
   with the size. */
RSL_API void rsl_pool_stats_get(rsl_pool *pool, rsl_pool_stats *stats);

enum { /* what rsl_pool_health warns of: bits, the gravest first */
    RSL_POOL_LEAK = 1,          /* a lease is out for longer than leak_after */
    RSL_POOL_CANNOT_CREATE = 2, /* the latest creation failed */
    RSL_POOL_WAITING = 4,       /* somebody waits */
    RSL_POOL_NO_IDLE = 8,       /* all that it may hold are leased */
    RSL_POOL_LOW_FREE = 16      /* at most a fifth of the size is idle or could still be made */
};

/* The warnings that hold now; 0: healthy. NULL: 0. A brief lock; cost grows with the size. */
RSL_API uint32_t rsl_pool_health(rsl_pool *pool);

/* The name of the gravest warning of a set, as "low free"; "healthy" for none. Static. Pure. */
RSL_API const char *rsl_pool_warning(uint32_t warnings);

typedef struct rsl_pool_holder {
    uint32_t slot;
    uint64_t thread; /* who acquired it: its pthread_self() on Linux; 0: not known */
    rsl_time held;   /* for how long; 0: too short, or not timed (see use_total) */
} rsl_pool_holder;

/* Writes who holds leases, at most `max`; returns how many are out. NULL pool: 0. holders may be
   NULL when max is 0. A brief lock. */
RSL_API size_t rsl_pool_holders(rsl_pool *pool, rsl_pool_holder *holders, size_t max);

/* ---- keyed pools: resources of many kinds, as connections to many hosts, under one limit ---- */

#if defined RSL_STATIC && (defined RSL_NO_STB_DS || !defined __has_include)
#define RSL_POOL_NOT_KEYED_ 1 /* a private copy that could not be defined is not declared */
#elif defined RSL_STATIC
#if !__has_include("stb_ds.h") && !__has_include(<stb/stb_ds.h>) && !__has_include(<stb_ds.h>)
#define RSL_POOL_NOT_KEYED_ 1
#endif
#endif

typedef struct rsl_pools rsl_pools;

typedef struct rsl_pools_config {
    rsl_pool_config each; /* create is not used; size_max: of one key; size_min, adaptive: unset;
                             creating_max: over all keys, at most half of it for one (4) */
    int (*create)(void *user, const rsl_ctx *ctx, const char *key, void **resource); /* required;
                             user is each.user */
    uint32_t total_max;   /* over all keys, 1..65536 (100) */
    uint32_t keys_max;    /* known at a time; beyond, the key longest unused and without resources
                             is forgotten, 1..65535 (1024) */
} rsl_pools_config;

#ifndef RSL_POOL_NOT_KEYED_
/* As rsl_pool_open and rsl_pool_config_check. */
RSL_API const char *rsl_pools_config_check(const rsl_pools_config *config);
RSL_API int rsl_pools_open(rsl_pools **pools, const rsl_pools_config *config);

/* As rsl_pool_close. */
RSL_API int rsl_pools_close(rsl_pools *pools, const rsl_ctx *ctx);

/* As rsl_pool_acquire, rsl_pool_try and rsl_pool_begin, for a resource of this key: at most 255
   bytes, copied. When the total is full, the resource idle longest under another key is given up;
   when none is idle, the next release that nobody of its own key waits for longer is. RSL_EFULL:
   also no room for one more key; RSL_ENOMEM. Release, discard, poll and abandon through lease.pool
   or rsl_pools_pool. A lock and a lookup, then as acquire. */
RSL_API int rsl_pools_acquire(rsl_pools *pools, const char *key, const rsl_ctx *ctx,
                              rsl_pool_lease *lease);
RSL_API int rsl_pools_try(rsl_pools *pools, const char *key, rsl_pool_lease *lease);
RSL_API int rsl_pools_begin(rsl_pools *pools, const char *key, const rsl_ctx *ctx,
                            rsl_waiter *waiter, rsl_pool_lease *lease);

/* The pool beneath, with the resources of all keys: for release, poll, statistics, pause and the
   rest; not for acquire, close or resize. NULL: NULL. */
RSL_API rsl_pool *rsl_pools_pool(rsl_pools *pools);

/* The numbers of one key; open, in_use, idle, creating, waiting, size_max only. false: not a known
   key, and *stats is zeroed. */
RSL_API bool rsl_pools_stats_get(rsl_pools *pools, const char *key, rsl_pool_stats *stats);
#endif /* RSL_POOL_NOT_KEYED_ */

#ifdef __cplusplus
}
#endif
#endif /* RSL_POOL_H */

/* ---------------------------------------------------------------- implementation */
#if (defined RSL_POOL_IMPLEMENTATION || defined RSL_IMPLEMENTATION || defined RSL_STATIC) && \
    !defined RSL_POOL_IMPLEMENTED_
#define RSL_POOL_IMPLEMENTED_

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

#if !defined _WIN32 && !defined RSL_SCHEDULER_H
#include <sys/mman.h>
#include <unistd.h>
#endif

/* How it is fast, and why that is sound.

   A slot is one word that all fight for, and fields that belong to whoever holds it. To acquire is
   one compare-exchange, IDLE to LEASED, on the slot that this thread used last; to release is one
   back. Neither looks at a queue, a flag or a lock: when there is something to look at, the mark
   in the slot's word makes that very exchange fail.

   [MARK] Whoever has to be noticed (a waiter that queues, close, pause, resize) goes over all
   slots under lock: an idle one it takes or withholds, every other it marks, by compare-exchange.
   A release and a mark are read-modify-writes of one word, so one of them sees the other: either
   the mark is there, and the release goes under the lock, or the slot was idle when the passer
   came by. After that pass slots become idle only under lock, by rsl_pool_settle_, which serves
   waiters first. Hence while a waiter is queued no slot that could serve it is idle and unmarked:
   nobody is lost, and, but for [RACE], nobody is overtaken. (Keyed pools: idle slots of other keys
   may be; the pass is repeated when one of those is to be given up.)

   [RACE] A hand-off costs a switch of threads. Were each release one, threads that lease for less
   time than that would do nothing but switch, as long as there are more of them than resources.
   So when releases come quicker than switches, one leaves its slot idle, for whoever runs, and
   only wakes the first who waits: the racer. It goes over all slots again, serves the queue from
   what is idle and marks the rest; if it came too late for itself, the next release is its own.
   Whoever takes the racer out of the queue does that pass in its place. So the invariant is
   either true or owed by a thread that runs.

   [CHARGE] With caller_maintains, whoever waits creates. One waiter is in charge: the tender. If
   there is work and a waiter that is not away in a creation, then there is a tender, and it has
   been told (tender_knows) or is about to look. So each thing that can make work (a waiter more, a
   place free, a creation ended) takes tender_knows back, each end of a locked section calls
   rsl_pool_call_crew_, which appoints and nudges, and a tender that leaves or goes away to create
   lays the charge down first.

   [OWN] The resource and times of a slot are written by whoever took it out of EMPTY, IDLE or
   LEASED, and published by the release in the word's next change. Those that maintenance reads
   meanwhile are atomics, relaxed: what it concludes is checked again once the slot is its own.

   [FORK] The epoch lies in a page that a forked child finds zeroed. No resource is of epoch 0, so
   the first use of any of them, and the first lock, leads to rsl_pool_reborn_.

   Time is read where it decides something. Where it would only feed statistics it is sampled, when
   a thread leases so often that every reading of the coarse clock gives the same: each reading
   costs half as much as a lease. */

enum { /* the word of a slot: generation << 4 | mark | state */
    RSL_POOL_EMPTY_ = 0,    /* no resource */
    RSL_POOL_CREATING_ = 1, /* of the creation whose ticket has this generation */
    RSL_POOL_IDLE_ = 2,     /* anybody's; marked: withheld while paused */
    RSL_POOL_LEASED_ = 3,
    RSL_POOL_BUSY_ = 4,     /* of one thread, which will settle or destroy it */
    RSL_POOL_STATE_ = 7,
    RSL_POOL_MARK_ = 8,     /* leave this state under lock */
    RSL_POOL_NEXT_ = 16     /* one generation */
};

enum { /* mode: what decides the way of a call; constant */
    RSL_POOL_TIMED_ = 1,     /* every lease is */
    RSL_POOL_VALIDATES_ = 2,
    RSL_POOL_SPECIAL_ = 4,   /* releases do more than make idle: reset, close, ask getpid */
    RSL_POOL_KEYED_ = 8,
    RSL_POOL_BY_PID_ = 16,   /* a fork is told by getpid: no page is wiped here */
    RSL_POOL_CLOCKED_ = 32   /* by an injected clock */
};

enum {
    RSL_POOL_SIZE_MAX_ = 65536,
    RSL_POOL_CHUNK_ = 32,   /* slots in the first chunk; each further one has twice as many */
    RSL_POOL_CHUNKS_ = 12,
    RSL_POOL_SHARDS_ = 64,  /* owned; one more is common */
    RSL_POOL_CREW_MAX_ = 65,
    RSL_POOL_BURST_ = 16,   /* leases in one tick after which they are sampled, */
    RSL_POOL_SAMPLE_ = 32   /* one of so many */
};
static const rsl_time rsl_pool_stuck_ = RSL_SEC(1);  /* a creation out for longer may hang */
static const rsl_time rsl_pool_switch_ = RSL_US(5); /* what it costs to go from thread to thread */
static const rsl_time rsl_pool_tick_ = RSL_MS(10); /* no coarse clock ticks more slowly */

typedef struct rsl_pool_slot_ {
    rsl_word_ word;      /* atomic; see [MARK] */
    void     *resource;  /* see [OWN], as all that follows */
    rsl_word_ epoch;     /* in which it was made */
    rsl_word_ last;      /* its last lease, as a word: uses_max */
    rsl_word_ taken_at;  /* when it was leased; 0: not timed, or not leased */
    rsl_word_ idle_since; /* 0: not timed, maintenance will say */
    rsl_word_ holder;    /* thread that acquired it */
    rsl_word_ guess;     /* its word when it was last idle: to load `word` itself between two
                            exchanges of it would cost as much as one */
    /* second line: not touched by leases that are not timed */
    rsl_word_ expires_at;
    rsl_word_ checked_at; /* last found healthy, or created */
    rsl_word_ use_total, use_max;
    rsl_word_ place;     /* its index, and the key of its resource << 32 */
    rsl_word_ reported;  /* the lease last reported as leaking, as a word; guarded by lock */
    struct rsl_pool_slot_ *next; /* in a list of news; whoever holds it BUSY */
    rsl_waiter *maker;   /* CREATING: who waits and creates meanwhile; NULL: another; under lock */
} rsl_pool_slot_;

typedef struct rsl_pool_shard_ { /* one thread's; atomics, relaxed, for the common one's sake */
    rsl_word_ owner;
    rsl_word_ hint;      /* the slot used last, as an address; released and acquired, for in the
                            common shard it may be another thread's */
    rsl_word_ skip;      /* leases not to be timed */
    rsl_word_ tick, run; /* the latest coarse time, and the leases that saw it */
    uint64_t  spare[3];  /* a line for each */
} rsl_pool_shard_;

typedef struct rsl_pool_key_ { /* guarded by lock */
    uint32_t open, creating, waiting;
    uint32_t seen; /* waiters passed in the scan under way */
    uint32_t used; /* calls under way that hold this index */
    rsl_time used_at;
    uint64_t failures;     /* creations that failed, in a row */
    int      failure;      /* what the latest returned, */
    rsl_time failed_at;    /* and when, precise */
    rsl_time create_after; /* precise: no creation before */
    char    *name;         /* NULL: not in use, or the one key of a plain pool */
} rsl_pool_key_;

struct rsl_pool {
    /* read by every call */
    rsl_word_       *epoch_page;  /* -> atomic, written under lock; [1]: claimed by the child;
                                     [2]: its number, where no page is wiped */
    rsl_pool_shard_ *shards;      /* constant */
    rsl_word_        extent;      /* atomic, written under lock: slots below may be in use */
    uint64_t         mode;        /* constant */
    rsl_pool_slot_  *chunk[RSL_POOL_CHUNKS_]; /* set before extent grows over them */
    rsl_pool_config  config;      /* resolved; size_min, size_max guarded by lock */
    int            (*create_keyed)(void *user, const rsl_ctx *ctx, const char *key,
                                   void **resource); /* constant */
    uint64_t         spare[8];    /* what is written under lock begins on another line */

    rsl_lock_    lock;
    rsl_cond_    crew_wakes;
    rsl_waiters_ queue;           /* guarded by lock, as all that follows; by priority, then age */
    uint32_t     waiting, limit;  /* limit: size_max, or less by adaptive */
    uint32_t     open, creating;  /* resources; creations under way */
    uint32_t     leaving;         /* of open: about to be destroyed as idle, or one too many */
    uint32_t     told;            /* waiters that are out of the queue and still to come in: told a
                                     status, or waiting for the end of a nudge. Close waits */
    uint32_t     calls;           /* under way: those of keyed pools, maintain, resize */
    uint32_t     vacant;          /* no slot below is EMPTY */
    uint32_t     key_limit, keys_count;
    rsl_pool_key_ *keys;          /* keys_count of them; a plain pool has one, keyed ones from 1 */
    rsl_pools   *pools;           /* the keyed pools that it serves; NULL: plain; constant */
    bool         marked;          /* while somebody waits: all that is not idle bears a mark */
    bool         paused, closing, closer, stop, sweeping;
    bool         watching;        /* a window of adaptive has begun */
    bool         crewless;        /* in a forked child no thread could be started */
    uint32_t     calm;            /* windows without need of the size in a row */
    rsl_word_    racer;           /* -> the waiter that races; 0: none. Atomic, for its owner */
    bool         owes_pass;       /* the racer is gone, and its pass not done yet */
    rsl_time     settled_at;      /* the latest release that looked at the queue, precise */
    rsl_waiter  *tender;          /* with caller_maintains: the waiter in charge of creations */
    bool         tender_knows;    /* that there is work */
    uint64_t     epoch;           /* of what is made now */
    rsl_time     create_began;    /* the latest creation, precise */
    uint32_t     failing;         /* keys whose latest creation failed */
    uint32_t     key_creating;    /* creations at once for one key; constant */
    uint64_t     stamp;           /* of waiters: this pool's number << 4 | forks since it opened */
    uint64_t     first;           /* generation of a slot that was never used; constant */
    rsl_time     sweep_at;        /* precise; no sweep before */
    rsl_time     window_from, window_waits, window_uses; /* totals when the window began */
    uint64_t     window_waited;
    rsl_word_    random, events;  /* atomics */
    rsl_word_    close_park;      /* atomic: where close sleeps */
    rsl_cancel   cancel;          /* of creations; fired by close */
    rsl_pool_stats stats;         /* the totals */
    uint64_t     unleased;        /* generations that were no lease */
    void        *memory;          /* of shards */
    uint32_t     crew_count, crew_begun;
#ifndef RSL_NO_THREADS
    rsl_thread_  crew[RSL_POOL_CREW_MAX_];
    uint64_t     crew_self[RSL_POOL_CREW_MAX_]; /* the threads' numbers */
#endif
};

/* What a visit under the lock leaves to be done without it. */
typedef struct rsl_pool_news_ {
    rsl_time        now, coarse; /* read before the lock */
    double          draw;        /* drawn before the lock; for the ends of creations only */
    rsl_waiter     *woken;       /* WAKING, linked by next */
    rsl_waiter     *nudged;      /* QUEUED, and marked as such; NULL: none */
    rsl_pool_slot_ *doubtful;    /* BUSY, linked by next: to be looked at before they are given */
    uint32_t        count;
    rsl_event       event[4];
    rsl_observer    observer;    /* a copy: the pool may be gone when it is told */
} rsl_pool_news_;

/* From IDLE to the next lease. */
static const uint64_t rsl_pool_leased_ = RSL_POOL_NEXT_ + RSL_POOL_LEASED_ - RSL_POOL_IDLE_;

static inline uint64_t rsl_pool_state_of_(uint64_t word)
{
    return word & RSL_POOL_STATE_;
}

/* Chunk c holds 32 << c slots; the usual one is the first. */
static inline rsl_pool_slot_ *rsl_pool_slot_at_(const rsl_pool *pool, uint32_t index)
{
    if (RSL_LIKELY_(index < RSL_POOL_CHUNK_)) return &pool->chunk[0][index];
    uint32_t place = index + RSL_POOL_CHUNK_;
    uint32_t chunk = 31u - (uint32_t)__builtin_clz(place) - 5u;
    return &pool->chunk[chunk][place - ((uint32_t)RSL_POOL_CHUNK_ << chunk)];
}

static inline uint32_t rsl_pool_extent_(const rsl_pool *pool)
{
    return (uint32_t)rsl_load_(&pool->extent); /* acquire: the chunks are there */
}

static inline uint32_t rsl_pool_index_of_(const rsl_pool_slot_ *slot)
{
    return (uint32_t)rsl_load_relaxed_(&slot->place); /* relaxed: constant */
}

/* The kind of the resource: it stays while the generation does. */
static inline uint32_t rsl_pool_kind_of_(const rsl_pool_slot_ *slot)
{
    return (uint32_t)(rsl_load_relaxed_(&slot->place) >> 32);
}

static inline rsl_time rsl_pool_coarse_(const rsl_pool *pool)
{
    if (RSL_UNLIKELY_(pool->mode & RSL_POOL_CLOCKED_)) return rsl_clock_now_(&pool->config.clock);
    return rsl_clock_real_coarse_();
}

/* The epoch, 0 in a child that has not begun its own life. */
static inline uint64_t rsl_pool_epoch_(const rsl_pool *pool)
{
    return rsl_load_relaxed_(pool->epoch_page); /* relaxed: it is only compared */
}

static inline uint64_t rsl_pool_unmarked_(uint64_t word)
{
    return word & ~(uint64_t)RSL_POOL_MARK_;
}

/* Takes a slot from one state to another, both unmarked; a mark stays. Fails when it is in another
   state or generation. */
static bool rsl_pool_move_(rsl_pool_slot_ *slot, uint64_t from, uint64_t to)
{
    uint64_t word = from;
    while (!rsl_cas_(&slot->word, &word, to | (word & RSL_POOL_MARK_))) {
        if (rsl_pool_unmarked_(word) != from) return false;
    }
    return true;
}

/* The generation alone: the word of an EMPTY slot. */
static inline uint64_t rsl_pool_generation_of_(uint64_t word)
{
    return word & ~(uint64_t)(RSL_POOL_NEXT_ - 1);
}

/* ---- config ---- */

static const char *rsl_pool_sizes_check_(const rsl_pool_config *c)
{
    if (c->size_max < 1 || c->size_max > RSL_POOL_SIZE_MAX_)
        return "size_max: must lie in 1..65536";
    if (c->size_min > c->size_max) return "size_min: must not be more than size_max";
    return NULL;
}

static const char *rsl_pool_times_check_(const rsl_pool_config *c)
{
    if (c->acquire_timeout < 0) return "acquire_timeout: must not be negative";
    if (c->idle_timeout < 0) return "idle_timeout: must not be negative";
    if (c->lifetime_max < 0) return "lifetime_max: must not be negative";
    if (!rsl_rate_ok_(c->lifetime_jitter, 0, 1)) return "lifetime_jitter: must lie in 0..1";
    if (c->validate_after < 0) return "validate_after: must not be negative";
    if (c->keepalive < 0) return "keepalive: must not be negative";
    if (c->create_backoff < 0) return "create_backoff: must not be negative";
    if (c->create_backoff_max < 0) return "create_backoff_max: must not be negative";
    if (c->create_backoff_max < c->create_backoff)
        return "create_backoff_max: must not be less than create_backoff";
    if (c->leak_after < 0) return "leak_after: must not be negative";
    if (c->adaptive_window < 0) return "adaptive_window: must not be negative";
    if (c->create_timeout < 0) return "create_timeout: must not be negative";
    return NULL;
}

const char *rsl_pool_config_check(const rsl_pool_config *config)
{
    if (config == NULL) return "create: must be set";
    rsl_pool_config c = rsl_pool_config_resolve(config);
    if (c.create == NULL && !c.caller_maintains)
        return "create: must be set, unless caller_maintains is";
    if (c.destroy == NULL) return "destroy: must be set";
    const char *why = rsl_pool_sizes_check_(&c);
    if (why == NULL && c.creating_max > 64) why = "creating_max: must lie in 1..64";
    if (why == NULL) why = rsl_pool_times_check_(&c);
    if (why != NULL) return why;
    if (c.keepalive != RSL_FOREVER && c.validate == NULL)
        return "validate: must be set when keepalive is";
#ifdef RSL_NO_THREADS
    if (!c.caller_maintains) return "caller_maintains: must be set: built without threads";
#endif
    return rsl_clock_check_(&c.clock, true);
}

/* 0 means `standard`, RSL_NONE an explicit 0. */
static rsl_time rsl_pool_time_or_(rsl_time field, rsl_time standard)
{
    if (field == 0) return standard;
    return field == RSL_NONE ? 0 : field;
}

static bool rsl_pool_stopped_(int result, void *user)
{
    (void)user;
    return result == RSL_ETIMEOUT || result == RSL_ECANCELED;
}

rsl_pool_config rsl_pool_config_resolve(const rsl_pool_config *config)
{
    rsl_pool_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *config;
    if (c.size_max == 0) c.size_max = 10;
    if (c.waiters_max == 0) c.waiters_max = 1024;
    if (c.creating_max == 0) c.creating_max = 1;
    if (c.uses_max == 0) c.uses_max = RSL_UNLIMITED;
    c.acquire_timeout = rsl_pool_time_or_(c.acquire_timeout, RSL_SEC(30));
    c.idle_timeout = rsl_pool_time_or_(c.idle_timeout, RSL_SEC(600));
    if (c.lifetime_max == 0) c.lifetime_max = RSL_SEC(1800);
    c.lifetime_jitter = rsl_default_(c.lifetime_jitter, 0.1);
    c.validate_after = rsl_pool_time_or_(c.validate_after, RSL_MS(500));
    if (c.keepalive == 0) c.keepalive = RSL_FOREVER;
    c.create_backoff = rsl_pool_time_or_(c.create_backoff, RSL_MS(10));
    if (c.create_backoff_max == 0)
        c.create_backoff_max = c.create_backoff > RSL_SEC(5) ? c.create_backoff : RSL_SEC(5);
    if (c.leak_after == 0) c.leak_after = RSL_FOREVER;
    if (c.is_broken == NULL) c.is_broken = rsl_pool_stopped_;
    if (c.adaptive_window == 0) c.adaptive_window = RSL_SEC(1);
    if (c.create_timeout == 0)
        c.create_timeout = c.acquire_timeout != 0 ? c.acquire_timeout : RSL_SEC(30);
    return c;
}

rsl_pool_config rsl_pool_config_preset(rsl_pool_preset preset)
{
    rsl_pool_config c;
    memset(&c, 0, sizeof c);
    switch (preset) {
    case RSL_POOL_DEVELOPMENT:
        c.size_max = 5;
        c.validate_after = RSL_NONE;
        c.leak_after = RSL_SEC(10);
        break;
    case RSL_POOL_TESTING:
        c.size_max = 2;
        c.acquire_timeout = c.leak_after = RSL_SEC(2);
        break;
    case RSL_POOL_PRODUCTION:
        c.size_min = 2;
        c.size_max = 10;
        c.leak_after = RSL_SEC(60);
        break;
    case RSL_POOL_HIGH_LOAD:
        c.size_min = 10;
        c.size_max = 50;
        c.creating_max = 2;
        c.waiters_max = 256;
        c.acquire_timeout = RSL_SEC(2);
        break;
    default: break;
    }
    return c;
}

/* ---- news ---- */

static const char *rsl_pool_reason_name_(rsl_pool_reason reason)
{
    switch (reason) {
    case RSL_POOL_IDLE:     return "idle";
    case RSL_POOL_LIFETIME: return "lifetime";
    case RSL_POOL_USES:     return "uses";
    case RSL_POOL_OUTDATED: return "outdated";
    case RSL_POOL_BROKEN:   return "broken";
    case RSL_POOL_INVALID:  return "invalid";
    case RSL_POOL_CLOSED:   return "closed";
    default:                return "forked";
    }
}

/* Lock held, so that numbers follow the order of happening. */
static void rsl_pool_note_(rsl_pool *pool, rsl_pool_news_ *news, rsl_pool_event kind,
                           const char *name, int status, int64_t value)
{
    if (pool->config.observer.on_event == NULL) return;
    RSL_ASSERT(news->count < RSL_COUNT(news->event));
    rsl_event *event = &news->event[news->count++];
    event->source = pool->config.name;
    event->name = name;
    event->kind = (int)kind;
    event->status = status;
    event->number = rsl_add_relaxed_(&pool->events, 1) + 1; /* relaxed: it numbers, no more */
    event->at = news->now;
    event->value = value;
}

/* ---- the queue. A waiter's words: [0] its deadline while queued, then what it was given: a
   slot's index + 1, or a status in the upper half; [1] when it came; [2] flags, the pool's stamp
   << 48, key << 32, priority. Guarded by the lock while it is queued, and by its owner's waiting
   for WOKEN after. ---- */

static const uint64_t rsl_pool_other_clock_ = (uint64_t)1 << 63; /* its deadline's is not ours */
static const uint64_t rsl_pool_thread_ = (uint64_t)1 << 61; /* a thread sleeps, until posted */
static const uint64_t rsl_pool_raced_ = (uint64_t)1 << 60;  /* see [RACE] */
static const uint64_t rsl_pool_away_ = (uint64_t)1 << 60; /* caller_maintains: it creates now */
static const uint64_t rsl_pool_nudged_ = (uint64_t)1 << 62; /* being woken, and still queued */

static inline int32_t rsl_pool_priority_of_(const rsl_waiter *waiter)
{
    return (int32_t)(uint32_t)waiter->private_.word[2];
}

static inline uint32_t rsl_pool_key_of_(const rsl_waiter *waiter)
{
    return (uint32_t)(waiter->private_.word[2] >> 32) & 0xffffu;
}

/* RSL_OK; RSL_EINVAL: it waits in another pool; RSL_ECLOSED: it waited in this one before a fork,
   in the parent. */
static int rsl_pool_owns_(const rsl_pool *pool, const rsl_waiter *waiter)
{
    uint64_t stamp = (waiter->private_.word[2] >> 48) & 0xfff;
    if (stamp == pool->stamp) return RSL_OK;
    return (stamp ^ pool->stamp) >> 4 != 0 ? RSL_EINVAL : RSL_ECLOSED;
}

/* Can it not be served any more at this time of the pool's clock? */
static inline bool rsl_pool_is_late_(const rsl_waiter *waiter, rsl_time now)
{
    return !(waiter->private_.word[2] & rsl_pool_other_clock_) &&
           now >= (rsl_time)waiter->private_.word[0];
}

/* Lock held: before the first with less priority, or with the same that came later. */
static void rsl_pool_enqueue_(rsl_pool *pool, rsl_waiter *waiter)
{
    rsl_waiter *after = pool->queue.last;
    while (after != NULL && (rsl_pool_priority_of_(after) < rsl_pool_priority_of_(waiter) ||
                             (rsl_pool_priority_of_(after) == rsl_pool_priority_of_(waiter) &&
                              after->private_.word[1] > waiter->private_.word[1])))
        after = after->private_.prev;
    rsl_waiter *before = after != NULL ? after->private_.next : pool->queue.first;
    waiter->private_.prev = after;
    waiter->private_.next = before;
    if (after != NULL) after->private_.next = waiter;
    else pool->queue.first = waiter;
    if (before != NULL) before->private_.prev = waiter;
    else pool->queue.last = waiter;
    rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_QUEUED_); /* the lock orders it */
    pool->waiting++;
    pool->keys[rsl_pool_key_of_(waiter)].waiting++;
}

/* Lock held: out of the queue; what it waited is counted. */
static void rsl_pool_dequeue_(rsl_pool *pool, rsl_pool_news_ *news, rsl_waiter *waiter)
{
    rsl_waiters_unlink_(&pool->queue, waiter);
    pool->waiting--;
    pool->keys[rsl_pool_key_of_(waiter)].waiting--;
    if (pool->waiting == 0) pool->marked = false;
    if (rsl_load_relaxed_(&pool->racer) == (uint64_t)(uintptr_t)waiter) {
        rsl_store_relaxed_(&pool->racer, 0);
        pool->owes_pass = pool->waiting > 0;
    }
    if (pool->tender == waiter) {
        pool->tender = NULL;
        pool->tender_knows = false;
    }
    rsl_time waited = news->now - (rsl_time)waiter->private_.word[1];
    if (waited < 0) waited = 0;
    pool->stats.wait_total = rsl_time_add_(pool->stats.wait_total, waited);
    if (waited > pool->stats.wait_max) pool->stats.wait_max = waited;
}

/* Lock held: what it waits for has come; it is woken when the lock is dropped. */
static void rsl_pool_serve_(rsl_pool *pool, rsl_pool_news_ *news, rsl_waiter *waiter)
{
    rsl_pool_dequeue_(pool, news, waiter);
    rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_WAKING_);
    waiter->private_.next = news->woken;
    news->woken = waiter;
}

/* Lock held: gives it a status, which it fetches with the lock: till then the pool stays. */
static void rsl_pool_tell_(rsl_pool *pool, rsl_pool_news_ *news, rsl_waiter *waiter, int status)
{
    pool->told++;
    waiter->private_.word[0] = (uint64_t)(uint32_t)status << 32;
    rsl_pool_serve_(pool, news, waiter);
}

/* Lock held: what to answer who gives up: the creation that failed while it waited, or late. */
static int rsl_pool_late_(rsl_pool *pool, rsl_pool_news_ *news, const rsl_waiter *waiter)
{
    const rsl_pool_key_ *key = &pool->keys[rsl_pool_key_of_(waiter)];
    bool failed = key->failures > 0 && key->failed_at >= (rsl_time)waiter->private_.word[1];
    int status = failed ? key->failure : RSL_ETIMEOUT;
    pool->stats.timed_out++;
    if (news->count + 2 < RSL_COUNT(news->event))
        rsl_pool_note_(pool, news, RSL_POOL_TIMED_OUT, "timed out", status, 0);
    return status;
}

/* ---- what to do next: decided under the lock, done without it ---- */

typedef enum rsl_pool_task_ {
    RSL_POOL_NOTHING_,
    RSL_POOL_LATER_,  /* a creation, at `at` */
    RSL_POOL_CREATE_, /* for `key` */
    RSL_POOL_EVICT_   /* destroy `slot`, which is BUSY now: its place is wanted by another key */
} rsl_pool_task_;
typedef struct rsl_pool_job_ {
    rsl_pool_task_  task;
    uint32_t        key;
    rsl_time        at;
    rsl_pool_slot_ *slot;
} rsl_pool_job_;
typedef struct rsl_pool_wish_ { bool wanted; uint32_t key; rsl_time at; } rsl_pool_wish_;

/* Lock held: are there too many, those on their way out aside? */
static inline bool rsl_pool_is_crowded_(const rsl_pool *pool)
{
    return pool->open - pool->leaving > pool->limit;
}

static inline bool rsl_pool_is_full_(const rsl_pool *pool)
{
    return pool->open + pool->creating >= pool->limit;
}

/* Lock held: full, and no place is being vacated. */
static inline bool rsl_pool_stays_full_(const rsl_pool *pool)
{
    return pool->open - pool->leaving + pool->creating >= pool->limit;
}

/* Lock held: this resource is one too many or idle for too long; rsl_pool_destroy_ follows. */
static inline rsl_pool_reason rsl_pool_condemn_(rsl_pool *pool)
{
    pool->leaving++;
    return RSL_POOL_IDLE;
}

/* Lock held: before a walk along the queue that counts the waiters of each key. */
static void rsl_pool_unsee_(rsl_pool *pool)
{
    for (rsl_waiter *w = pool->queue.first; w != NULL; w = w->private_.next)
        pool->keys[rsl_pool_key_of_(w)].seen = 0;
}

/* Lock held, keyed: the creation that comes first: for the first waiter for whom none is under way
   and whose key has room; keys that do not back off before those that do, and keys without a
   creation under way before the others, so that no key stands in another's way. */
static rsl_pool_wish_ rsl_pool_keyed_wish_(rsl_pool *pool, rsl_time now)
{
    rsl_pool_wish_ wish = {false, 0, RSL_FOREVER};
    int best = 0; /* 1: later; 2: now; 3: now, and the only one for its key */
    rsl_pool_unsee_(pool);
    for (rsl_waiter *w = pool->queue.first; w != NULL && best < 3; w = w->private_.next) {
        uint32_t key = rsl_pool_key_of_(w);
        rsl_pool_key_ *k = &pool->keys[key];
        bool served = ++k->seen <= k->creating || k->creating >= pool->key_creating;
        if (served || k->open + k->creating >= pool->key_limit) continue;
        int rank = now < k->create_after ? 1 : k->creating > 0 ? 2 : 3;
        if (rank < best || (rank == best && (rank > 1 || k->create_after >= wish.at))) continue;
        best = rank;
        wish.wanted = true;
        wish.key = key;
        wish.at = k->create_after;
    }
    return wish;
}

/* Lock held: is a creation wanted, were it possible, and when at the earliest? Beyond creating_max
   one more, once the latest has been out for so long that it may be stuck. */
static rsl_pool_wish_ rsl_pool_wish_of_(rsl_pool *pool, rsl_time now)
{
    rsl_pool_wish_ wish = {false, 0, pool->keys[0].create_after};
    bool serves = !pool->paused && pool->waiting > 0;
    if (pool->closing || pool->creating > pool->config.creating_max) return wish;
    if (serves && (pool->mode & RSL_POOL_KEYED_)) wish = rsl_pool_keyed_wish_(pool, now);
    else
        wish.wanted = (serves && pool->waiting > pool->creating) ||
                      pool->open + pool->creating < pool->config.size_min;
    if (pool->creating < pool->config.creating_max) return wish;
    rsl_time patience = rsl_time_add_(pool->create_began, rsl_pool_stuck_);
    wish.wanted &= serves && pool->waiting > pool->creating;
    if (wish.at < patience) wish.at = patience;
    return wish;
}

/* ---- [MARK], all with the lock held ---- */

/* Marks what is out, and what is idle too if it is to be withheld. */
static void rsl_pool_mark_(rsl_pool_slot_ *slot, bool withhold)
{
    uint64_t word = rsl_load_(&slot->word);
    for (;;) {
        uint64_t state = rsl_pool_state_of_(word);
        bool out = state == RSL_POOL_LEASED_ || state == RSL_POOL_BUSY_;
        if (!out && !(withhold && state == RSL_POOL_IDLE_)) return;
        if (rsl_cas_(&slot->word, &word, word | RSL_POOL_MARK_)) return;
    }
}

static void rsl_pool_mark_all_(rsl_pool *pool, bool withhold)
{
    for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++)
        rsl_pool_mark_(rsl_pool_slot_at_(pool, i), withhold);
}

/* IDLE to BUSY, ours. False: it is in another state, and if out, marked: one exchange decides. */
static bool rsl_pool_take_or_mark_(rsl_pool_slot_ *slot)
{
    uint64_t word = rsl_load_(&slot->word);
    for (;;) {
        uint64_t state = rsl_pool_state_of_(word), next = word | RSL_POOL_MARK_;
        if (state == RSL_POOL_EMPTY_ || state == RSL_POOL_CREATING_) return false;
        if (state == RSL_POOL_IDLE_) next = word - RSL_POOL_IDLE_ + RSL_POOL_BUSY_;
        if (next == word) return false;
        if (rsl_cas_(&slot->word, &word, next)) return state == RSL_POOL_IDLE_;
    }
}

/* The first idle slot of this key, now LEASED; NULL: there is none, and all that is out is
   marked. */
static rsl_pool_slot_ *rsl_pool_lease_or_mark_(rsl_pool *pool, uint32_t key)
{
    for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        uint64_t word = rsl_load_(&slot->word), mark = pool->waiting > 0 ? RSL_POOL_MARK_ : 0;
        for (;;) {
            uint64_t state = rsl_pool_state_of_(word), next = word | RSL_POOL_MARK_;
            bool idle = word % RSL_POOL_NEXT_ == RSL_POOL_IDLE_;
            bool taken = idle && rsl_pool_kind_of_(slot) == key;
            if (taken) next = (word + rsl_pool_leased_) | mark;
            else if (idle || state == RSL_POOL_EMPTY_ || state == RSL_POOL_CREATING_) break;
            if (next != word && !rsl_cas_(&slot->word, &word, next)) continue;
            if (taken) return slot;
            break;
        }
    }
    return NULL;
}

/* Lock held: is an idle resource of another key there, to be given up for this one? */
static bool rsl_pool_can_evict_(rsl_pool *pool, uint32_t key)
{
    for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        bool idle = rsl_load_(&slot->word) % RSL_POOL_NEXT_ == RSL_POOL_IDLE_;
        if (idle && rsl_pool_kind_of_(slot) != key) return true;
    }
    return false;
}

/* Lock held: may one become idle unnoticed, or is it already? Then rsl_pool_evict_ has to look. */
static bool rsl_pool_may_evict_(rsl_pool *pool, uint32_t key)
{
    for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++) {
        uint64_t word = rsl_load_(&rsl_pool_slot_at_(pool, i)->word);
        if (word % RSL_POOL_NEXT_ == RSL_POOL_LEASED_ || word % RSL_POOL_NEXT_ == RSL_POOL_BUSY_)
            return true;
    }
    return rsl_pool_can_evict_(pool, key);
}

/* Lock held: the idle slot to be given up for `key`, now BUSY; NULL: none is, and every other is
   marked. */
static rsl_pool_slot_ *rsl_pool_evict_(rsl_pool *pool, uint32_t key)
{
    for (;;) {
        rsl_pool_slot_ *oldest = NULL;
        uint64_t word = 0;
        for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++) {
            rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
            uint64_t found = rsl_load_(&slot->word);
            bool idle = found % RSL_POOL_NEXT_ == RSL_POOL_IDLE_;
            if (!idle || rsl_pool_kind_of_(slot) == key) continue;
            if (oldest != NULL && rsl_load_relaxed_(&oldest->idle_since) <=
                                      rsl_load_relaxed_(&slot->idle_since))
                continue;
            oldest = slot;
            word = found;
        }
        if (oldest != NULL) {
            uint64_t busy = word - RSL_POOL_IDLE_ + RSL_POOL_BUSY_;
            if (rsl_pool_move_(oldest, word, busy)) return oldest;
            continue; /* somebody leased it meanwhile */
        }
        rsl_pool_mark_all_(pool, false);
        if (!rsl_pool_can_evict_(pool, key)) return NULL;
    }
}

/* Lock held: what is to be done now. CREATE is only named, EVICT has taken its slot. */
static rsl_pool_job_ rsl_pool_next_job_(rsl_pool *pool, rsl_time now)
{
    rsl_pool_wish_ wish = rsl_pool_wish_of_(pool, now);
    rsl_pool_job_ job = {RSL_POOL_NOTHING_, wish.key, wish.at, NULL};
    bool full = rsl_pool_is_full_(pool), keyed = pool->mode & RSL_POOL_KEYED_;
    if (!wish.wanted || (full && !(keyed && rsl_pool_stays_full_(pool)))) return job;
    if (now < wish.at) {
        job.task = RSL_POOL_LATER_;
    } else if (!full) {
        job.task = RSL_POOL_CREATE_;
    } else {
        job.slot = rsl_pool_evict_(pool, job.key);
        if (job.slot == NULL) return job;
        job.task = RSL_POOL_EVICT_;
        rsl_pool_condemn_(pool);
    }
    return job;
}

/* Lock held: is there work for whoever creates, now or later? */
static bool rsl_pool_has_work_(rsl_pool *pool, rsl_time now)
{
    rsl_pool_wish_ wish = rsl_pool_wish_of_(pool, now);
    if (!wish.wanted) return false;
    if (!rsl_pool_is_full_(pool)) return true;
    if (!(pool->mode & RSL_POOL_KEYED_) || !rsl_pool_stays_full_(pool)) return false;
    return now < wish.at || rsl_pool_may_evict_(pool, wish.key);
}

/* ---- whose turn it is ---- */

/* Why this resource must not be used again; 0: it may. (That there are too many is known under
   the lock only.) */
static rsl_pool_reason rsl_pool_why_close_(rsl_pool *pool, rsl_pool_slot_ *slot, rsl_time now)
{
    uint64_t word = rsl_pool_generation_of_(rsl_load_relaxed_(&slot->word));
    if (rsl_load_relaxed_(&slot->epoch) != rsl_pool_epoch_(pool)) return RSL_POOL_OUTDATED;
    if (word >= rsl_load_relaxed_(&slot->last)) return RSL_POOL_USES;
    if (now >= (rsl_time)rsl_load_relaxed_(&slot->expires_at)) return RSL_POOL_LIFETIME;
    return (rsl_pool_reason)0;
}

/* Lock held; a resource of `key` is free: the waiter that it goes to. Those before it whose time
   is over are told. NULL: none; *give_up: its place is wanted by another key. */
static rsl_waiter *rsl_pool_heir_(rsl_pool *pool, rsl_pool_news_ *news, uint32_t key,
                                  bool *give_up)
{
    rsl_waiter *next, *away = NULL; /* busy creating: it comes back late for what it is given */
    *give_up = false;
    if (pool->paused) return NULL;
    if (pool->mode & RSL_POOL_KEYED_) rsl_pool_unsee_(pool);
    for (rsl_waiter *w = pool->queue.first; w != NULL; w = next) {
        uint32_t wanted = rsl_pool_key_of_(w);
        next = w->private_.next;
        if (rsl_pool_is_late_(w, news->now)) {
            rsl_pool_tell_(pool, news, w, rsl_pool_late_(pool, news, w));
            continue;
        }
        bool leaves = pool->config.caller_maintains && (w->private_.word[2] & rsl_pool_away_);
        if (wanted == key && !leaves) return w;
        if (wanted == key) {
            if (away == NULL) away = w;
            continue;
        }
        rsl_pool_key_ *k = &pool->keys[wanted];
        *give_up = ++k->seen > k->creating && k->open + k->creating < pool->key_limit &&
                   rsl_pool_stays_full_(pool);
        if (*give_up && away != NULL) break; /* it came before */
        if (*give_up) return NULL;
    }
    *give_up = false;
    return away;
}

/* Lock held: see [RACE]. May this waiter be left to race for a slot that becomes idle? Then it is
   on its way. */
static bool rsl_pool_race_(rsl_pool *pool, rsl_pool_news_ *news, rsl_waiter *waiter)
{
    const uint64_t flags = rsl_pool_thread_ | rsl_pool_raced_ | rsl_pool_other_clock_;
    bool quick = news->now - pool->settled_at < rsl_pool_switch_;
    pool->settled_at = news->now;
    if (!quick || (pool->mode & (RSL_POOL_KEYED_ | RSL_POOL_CLOCKED_))) return false;
    if (pool->config.caller_maintains) return false; /* it may be busy creating */
    if ((waiter->private_.word[2] & flags) != rsl_pool_thread_) return false;
    if (rsl_load_relaxed_(&pool->racer) != 0) return false;
    waiter->private_.word[2] |= rsl_pool_raced_;
    rsl_store_(&pool->racer, (uint64_t)(uintptr_t)waiter);
    rsl_park_post_(waiter->user); /* our own, and it only posts: so it may be under the lock */
    return true;
}

/* Lock held; the slot is BUSY and ours: hands it to who waits, else makes it idle. race: it may be
   raced for. False: neither, its place is wanted by another key. */
static bool rsl_pool_settle_(rsl_pool *pool, rsl_pool_news_ *news, rsl_pool_slot_ *slot,
                             bool race)
{
    bool give_up;
    uint64_t word = rsl_pool_generation_of_(rsl_load_relaxed_(&slot->word));
    rsl_waiter *waiter = rsl_pool_heir_(pool, news, rsl_pool_kind_of_(slot), &give_up);
    if (give_up) return false;
    if (race && waiter != NULL && rsl_pool_race_(pool, news, waiter)) waiter = NULL;
    if (waiter == NULL) {
        word |= RSL_POOL_IDLE_;
        if (pool->paused) word |= RSL_POOL_MARK_;
    } else {
        rsl_store_relaxed_(&slot->taken_at, (uint64_t)news->coarse);
        rsl_store_relaxed_(&slot->holder, 0);
        waiter->private_.word[0] = (uint64_t)rsl_pool_index_of_(slot) + 1;
        rsl_pool_serve_(pool, news, waiter);
        word += RSL_POOL_NEXT_;
        word |= RSL_POOL_LEASED_;
        if (pool->waiting > 0) word |= RSL_POOL_MARK_;
    }
    rsl_store_(&slot->word, word); /* releases what was done with the resource */
    return true;
}

/* May a resource that was idle not be good any more? */
static bool rsl_pool_is_doubtful_(rsl_pool *pool, rsl_pool_slot_ *slot, rsl_time now)
{
    rsl_time idle = now - (rsl_time)rsl_load_relaxed_(&slot->idle_since);
    rsl_time checked = now - (rsl_time)rsl_load_relaxed_(&slot->checked_at);
    if (rsl_pool_why_close_(pool, slot, now) != 0) return true;
    if (pool->config.validate == NULL) return false;
    return (idle < checked ? idle : checked) >= pool->config.validate_after;
}

/* Lock held; the slot was idle and is BUSY, ours: to who waits, once it is known to be good. */
static void rsl_pool_offer_(rsl_pool *pool, rsl_pool_news_ *news, rsl_pool_slot_ *slot)
{
    bool doubtful = rsl_pool_is_doubtful_(pool, slot, news->coarse);
    if (!doubtful && rsl_pool_settle_(pool, news, slot, false)) return;
    slot->next = news->doubtful; /* one to be given up: found out again when it is given */
    news->doubtful = slot;
}

/* Lock held, a plain pool: what is idle goes to those who wait, in turn; if somebody still waits,
   all the rest is marked then: see [MARK]. */
static void rsl_pool_serve_all_(rsl_pool *pool, rsl_pool_news_ *news)
{
    rsl_store_relaxed_(&pool->racer, 0);
    pool->owes_pass = false;
    uint32_t extent = rsl_pool_extent_(pool);
    for (uint32_t i = 0; i < extent && pool->waiting > 0 && !pool->paused; i++) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        uint64_t word = rsl_load_(&slot->word);
        for (;;) {
            uint64_t state = rsl_pool_state_of_(word), next = word | RSL_POOL_MARK_;
            bool idle = state == RSL_POOL_IDLE_;
            if (state == RSL_POOL_EMPTY_ || state == RSL_POOL_CREATING_) break;
            if (idle) next = rsl_pool_unmarked_(word) - RSL_POOL_IDLE_ + RSL_POOL_BUSY_;
            if (next != word && !rsl_cas_(&slot->word, &word, next)) continue;
            if (idle) rsl_pool_offer_(pool, news, slot);
            break;
        }
    }
}

/* ---- the lock ---- */

static void rsl_pool_reborn_(rsl_pool *pool);
static void rsl_pool_give_checked_(rsl_pool *pool, rsl_pool_slot_ *slot, rsl_time now);

static bool rsl_pool_is_forked_(const rsl_pool *pool)
{
    if (rsl_load_(pool->epoch_page) == 0) return true; /* acquire: the child's own life is seen */
#if !defined _WIN32 && !defined RSL_SCHEDULER_H
    if (pool->mode & RSL_POOL_BY_PID_)
        return rsl_load_(&pool->epoch_page[2]) != (uint64_t)getpid();
#endif
    return false;
}

/* Reads the clocks, draws, and takes the lock. */
static void rsl_pool_lock_(rsl_pool *pool, rsl_pool_news_ *news)
{
    if (RSL_UNLIKELY_(rsl_pool_is_forked_(pool))) rsl_pool_reborn_(pool);
    news->now = rsl_clock_now_(&pool->config.clock);
    news->coarse = rsl_pool_coarse_(pool);
    news->woken = news->nudged = NULL;
    news->doubtful = NULL;
    news->count = 0;
    news->observer = pool->config.observer;
    rsl_lock_take_(&pool->lock);
}

/* Lock held: has whoever creates told of work: a thread of the pool, or, with caller_maintains,
   the waiter in charge, once for each time that there comes to be some. It stays in the queue
   while it is woken; see rsl_pool_part_. */
static void rsl_pool_call_crew_(rsl_pool *pool, rsl_pool_news_ *news)
{
    bool work = rsl_pool_has_work_(pool, news->now);
    if (!pool->config.caller_maintains) {
        if (work) rsl_cond_signal_(&pool->crew_wakes);
        return;
    }
    if (!work) pool->tender_knows = false;
    if (!work || pool->tender_knows) return;
    rsl_waiter *next = pool->queue.first;
    while (next != NULL && (next->private_.word[2] & rsl_pool_away_)) next = next->private_.next;
    if (pool->tender == NULL) pool->tender = next;
    if (pool->tender == NULL) return;
    if (pool->tender->private_.word[2] & rsl_pool_nudged_) return; /* who wakes it comes again */
    pool->tender_knows = true;
    pool->tender->private_.word[2] |= rsl_pool_nudged_;
    news->nudged = pool->tender;
}

/* Drops the lock; then wakes and tells. But for a nudge, and slots in doubt, the pool is not
   touched after that. */
static void rsl_pool_unlock_(rsl_pool *pool, rsl_pool_news_ *news)
{
    if (pool->owes_pass) rsl_pool_serve_all_(pool, news);
    rsl_pool_call_crew_(pool, news);
    if (pool->closer && pool->open + pool->creating + pool->told + pool->calls == 0)
        rsl_park_post_(&pool->close_park); /* under the lock: closer waits for it */
    rsl_lock_drop_(&pool->lock);
    while (news->woken != NULL) {
        rsl_waiter *waiter = news->woken;
        news->woken = waiter->private_.next;
        waiter->private_.next = NULL;
        rsl_waiter_wake_(waiter);
    }
    while (news->nudged != NULL) {
        rsl_waiter *waiter = news->nudged;
        news->nudged = NULL;
        int saved = errno;
        waiter->wake(waiter->user);
        errno = saved;
        rsl_lock_take_(&pool->lock); /* the pool stays: its close waits for the waiter to part */
        waiter->private_.word[2] &= ~rsl_pool_nudged_;
        rsl_pool_call_crew_(pool, news); /* work that came while it woke */
        rsl_lock_drop_(&pool->lock);
    }
    for (uint32_t i = 0; i < news->count; i++) rsl_emit_(&news->observer, &news->event[i]);
    while (news->doubtful != NULL) { /* they keep the pool: they are open */
        rsl_pool_slot_ *slot = news->doubtful;
        news->doubtful = slot->next;
        rsl_pool_give_checked_(pool, slot, news->coarse);
    }
}

/* ---- giving back: whoever holds a slot BUSY settles it or destroys what it holds ---- */

/* Lock held: the slot is EMPTY now. */
static void rsl_pool_vacate_(rsl_pool *pool, const rsl_pool_slot_ *slot)
{
    uint32_t index = rsl_pool_index_of_(slot);
    if (index < pool->vacant) pool->vacant = index;
}

/* Lock held: the totals of an end. */
static void rsl_pool_count_end_(rsl_pool *pool, rsl_pool_reason reason)
{
    rsl_pool_stats *s = &pool->stats;
    if (reason == RSL_POOL_FORKED) return;
    s->destroyed++;
    switch (reason) {
    case RSL_POOL_IDLE:     s->closed_idle++; break;
    case RSL_POOL_LIFETIME: s->closed_lifetime++; break;
    case RSL_POOL_USES:     s->closed_uses++; break;
    case RSL_POOL_OUTDATED: s->closed_invalidated++; break;
    case RSL_POOL_BROKEN:   s->closed_broken++; break;
    case RSL_POOL_INVALID:  s->invalid++; break;
    default: break;
    }
}

/* No lock held; the slot is BUSY and ours. unleased: the lease that it ends was none. */
static void rsl_pool_destroy_(rsl_pool *pool, rsl_pool_slot_ *slot, rsl_pool_reason reason,
                              bool unleased)
{
    rsl_pool_news_ news;
    void (*end)(void *user, void *resource) = pool->config.destroy;
    uint64_t word = rsl_pool_generation_of_(rsl_load_relaxed_(&slot->word));
    if (reason == RSL_POOL_FORKED) end = pool->config.abandon;
    if (rsl_pool_is_forked_(pool)) rsl_pool_reborn_(pool);
    if (rsl_pool_generation_of_(rsl_load_relaxed_(&slot->word)) != word) return; /* the parent's */
    int saved = errno;
    if (end != NULL) end(pool->config.user, slot->resource);
    errno = saved;
    rsl_pool_lock_(pool, &news);
    if (rsl_pool_generation_of_(rsl_load_relaxed_(&slot->word)) != word) {
        rsl_pool_unlock_(pool, &news); /* forked in the callback: this is the child */
        return;
    }
    slot->resource = NULL;
    pool->stats.use_total = rsl_time_add_(pool->stats.use_total,
                                          (rsl_time)rsl_load_relaxed_(&slot->use_total));
    rsl_store_relaxed_(&slot->use_total, 0);
    /* one generation more: an exchange that began before must not meet the next resource */
    rsl_store_(&slot->word, word + RSL_POOL_NEXT_);
    rsl_pool_vacate_(pool, slot);
    pool->unleased += unleased ? 2 : 1; /* this generation; and that of the lease that was none */
    pool->open--;
    pool->keys[rsl_pool_kind_of_(slot)].open--;
    if (reason == RSL_POOL_IDLE) pool->leaving--;
    pool->tender_knows = false; /* there is room now */
    rsl_pool_count_end_(pool, reason);
    rsl_pool_note_(pool, &news, RSL_POOL_DESTROYED, rsl_pool_reason_name_(reason), 0,
                   (int64_t)reason);
    rsl_pool_unlock_(pool, &news);
}

/* Lock held; the slot is BUSY and ours: settles it, or says why it is to be destroyed. */
static rsl_pool_reason rsl_pool_keep_(rsl_pool *pool, rsl_pool_news_ *news, rsl_pool_slot_ *slot)
{
    rsl_pool_reason reason = rsl_pool_why_close_(pool, slot, news->coarse);
    uint32_t stay = pool->open - pool->leaving;
    if (pool->closing) return RSL_POOL_CLOSED;
    if (reason != 0) return reason;
    bool idles = pool->waiting == 0 && stay > pool->config.size_min;
    if (idles && pool->config.idle_timeout == 0) return rsl_pool_condemn_(pool);
    if (rsl_pool_is_crowded_(pool)) return rsl_pool_condemn_(pool);
    if (!rsl_pool_settle_(pool, news, slot, true)) return rsl_pool_condemn_(pool);
    return reason;
}

/* No lock held; the slot is BUSY with this word, ours: into the hands of the next, or out of the
   world. */
static void rsl_pool_give_(rsl_pool *pool, rsl_pool_slot_ *slot, uint64_t busy,
                           rsl_pool_reason reason)
{
    rsl_pool_news_ news;
    if (reason == 0) {
        rsl_pool_lock_(pool, &news);
        bool mine = rsl_pool_unmarked_(rsl_load_relaxed_(&slot->word)) == busy; /* no fork since */
        if (mine) reason = rsl_pool_keep_(pool, &news, slot);
        rsl_pool_unlock_(pool, &news);
        if (reason == 0) return;
    }
    rsl_pool_destroy_(pool, slot, reason, false);
}

/* ---- leasing ---- */

static inline rsl_pool_shard_ *rsl_pool_mine_(rsl_pool *pool)
{
    return (rsl_pool_shard_ *)rsl_shard_(pool->shards, sizeof *pool->shards, RSL_POOL_SHARDS_);
}

/* How the lease that begins is timed: now, with the number of leases that it stands for in
   *weight; or 0, not at all. Relaxed: in the common shard a lost count is a lost sample. */
static inline rsl_time rsl_pool_sample_(rsl_pool *pool, rsl_pool_shard_ *shard, uint32_t *weight)
{
    *weight = 1;
    if (pool->mode & RSL_POOL_TIMED_) return rsl_pool_coarse_(pool);
    uint64_t skip = rsl_load_relaxed_(&shard->skip);
    if (RSL_LIKELY_(skip > 0)) {
        rsl_store_relaxed_(&shard->skip, skip - 1);
        return 0;
    }
    rsl_time now = rsl_clock_real_coarse_();
    uint64_t run = rsl_load_relaxed_(&shard->run) + 1;
    if ((uint64_t)now != rsl_load_relaxed_(&shard->tick)) {
        rsl_store_relaxed_(&shard->tick, (uint64_t)now);
        run = 0;
    }
    rsl_store_relaxed_(&shard->run, run);
    if (run < RSL_POOL_BURST_ || rsl_load_relaxed_(&shard->hint) == 0) return now;
    rsl_store_relaxed_(&shard->skip, RSL_POOL_SAMPLE_ - 1);
    *weight = RSL_POOL_SAMPLE_;
    return now;
}

static inline void rsl_pool_fill_(rsl_pool *pool, rsl_pool_slot_ *slot, uint64_t word,
                                  uint32_t weight, rsl_pool_lease *lease)
{
    lease->resource = slot->resource;
    lease->pool = pool;
    lease->slot = rsl_pool_index_of_(slot);
    lease->private_ = weight;
    lease->generation = word;
}

/* No lock held; the slot is ours. 0: its resource is healthy. */
static rsl_pool_reason rsl_pool_validate_(rsl_pool *pool, rsl_pool_slot_ *slot, rsl_time now)
{
    int saved = errno;
    int sick = pool->config.validate(pool->config.user, slot->resource);
    errno = saved;
    rsl_store_relaxed_(&slot->checked_at, (uint64_t)now);
    return sick != 0 ? RSL_POOL_INVALID : (rsl_pool_reason)0;
}

/* No lock held; the slot is BUSY, ours, its resource in doubt. */
static void rsl_pool_give_checked_(rsl_pool *pool, rsl_pool_slot_ *slot, rsl_time now)
{
    uint64_t busy = rsl_pool_unmarked_(rsl_load_relaxed_(&slot->word));
    rsl_pool_reason reason = rsl_pool_why_close_(pool, slot, now);
    if (reason == 0 && pool->config.validate != NULL)
        reason = rsl_pool_validate_(pool, slot, now);
    rsl_pool_give_(pool, slot, busy, reason);
}

/* The slot is LEASED, ours, and its resource may not be good: is it, now? Destroyed otherwise. */
RSL_NOINLINE_ bool rsl_pool_is_good_(rsl_pool *pool, rsl_pool_slot_ *slot, uint64_t word,
                                     rsl_time now)
{
    if (rsl_pool_is_forked_(pool)) rsl_pool_reborn_(pool); /* takes the slot from us */
    if (rsl_pool_unmarked_(rsl_load_(&slot->word)) != word) return false;
    rsl_pool_reason reason = (rsl_pool_reason)0;
    if (rsl_load_relaxed_(&slot->epoch) != rsl_pool_epoch_(pool)) reason = RSL_POOL_OUTDATED;
    else if (now >= (rsl_time)rsl_load_relaxed_(&slot->expires_at)) reason = RSL_POOL_LIFETIME;
    else if (pool->config.validate != NULL) {
        if (!rsl_pool_is_doubtful_(pool, slot, now)) return true;
        reason = rsl_pool_validate_(pool, slot, now);
    }
    if (rsl_pool_unmarked_(rsl_load_(&slot->word)) != word) return false; /* forked meanwhile */
    if (reason == 0) return true;
    if (rsl_pool_move_(slot, word, word - RSL_POOL_LEASED_ + RSL_POOL_BUSY_))
        rsl_pool_destroy_(pool, slot, reason, true);
    return false;
}

/* The slot was idle with this word and is LEASED now, ours. False: its resource was not good, and
   is gone. */
static inline bool rsl_pool_begin_lease_(rsl_pool *pool, rsl_pool_shard_ *shard,
                                         rsl_pool_slot_ *slot, uint64_t word,
                                         rsl_pool_lease *lease)
{
    uint32_t weight;
    rsl_time now = rsl_pool_sample_(pool, shard, &weight);
    rsl_store_relaxed_(&slot->taken_at, (uint64_t)now);
    rsl_store_relaxed_(&slot->holder, rsl_load_relaxed_(&shard->owner)); /* 0: common */
    bool outdated = rsl_load_relaxed_(&slot->epoch) != rsl_pool_epoch_(pool);
    bool aged = now != 0 && now >= (rsl_time)rsl_load_relaxed_(&slot->expires_at);
    if (pool->mode & RSL_POOL_VALIDATES_)
        aged |= now - (rsl_time)rsl_load_relaxed_(&slot->idle_since) >=
                pool->config.validate_after;
    if (RSL_UNLIKELY_(outdated || aged || (pool->mode & RSL_POOL_BY_PID_))) {
        if (!rsl_pool_is_good_(pool, slot, word, now)) return false;
    }
    rsl_pool_fill_(pool, slot, word, weight, lease);
    return true;
}

/* IDLE to LEASED, if it is of this key; 0: of any, in a plain pool. */
static inline bool rsl_pool_grab_(rsl_pool_slot_ *slot, uint32_t key, uint64_t *word)
{
    uint64_t found = rsl_load_(&slot->word); /* acquire: the key is that of this generation */
    if (found % RSL_POOL_NEXT_ != RSL_POOL_IDLE_) return false;
    if (key != 0 && rsl_pool_kind_of_(slot) != key) return false;
    *word = found + rsl_pool_leased_;
    return rsl_cas_(&slot->word, &found, *word);
}

/* The same for the slot that this thread used last: most likely its word is as it was left. (A key
   must be read after the word.) */
static inline bool rsl_pool_regrab_(rsl_pool_slot_ *slot, uint32_t key, uint64_t *word)
{
    uint64_t idle = rsl_load_relaxed_(&slot->guess);
    *word = idle + rsl_pool_leased_;
    if (RSL_LIKELY_(key == 0 && rsl_cas_(&slot->word, &idle, *word))) return true;
    return rsl_pool_grab_(slot, key, word);
}

/* The lowest idle one, so that the rest can go idle; as long as there is one that is not good,
   the next. RSL_WAIT: none. */
RSL_NOINLINE_ int rsl_pool_search_(rsl_pool *pool, uint32_t key, rsl_pool_lease *lease)
{
    rsl_pool_shard_ *shard = rsl_pool_mine_(pool);
    uint32_t extent = rsl_pool_extent_(pool);
    for (uint32_t i = 0; i < extent; i++) {
        uint64_t word;
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        if (!rsl_pool_grab_(slot, key, &word)) continue;
        if (!rsl_pool_begin_lease_(pool, shard, slot, word, lease)) continue;
        rsl_store_(&shard->hint, (uint64_t)(uintptr_t)slot);
        return RSL_OK;
    }
    return RSL_WAIT;
}

/* An idle resource: the one that this thread used last, else any. RSL_WAIT: none. */
static inline int rsl_pool_take_(rsl_pool *pool, uint32_t key, rsl_pool_lease *lease)
{
    uint64_t word;
    rsl_pool_shard_ *shard = rsl_pool_mine_(pool);
    rsl_pool_slot_ *slot = (rsl_pool_slot_ *)(uintptr_t)rsl_load_(&shard->hint);
    if (RSL_LIKELY_(slot != NULL && rsl_pool_regrab_(slot, key, &word)) &&
        RSL_LIKELY_(rsl_pool_begin_lease_(pool, shard, slot, word, lease)))
        return RSL_OK;
    return rsl_pool_search_(pool, key, lease);
}

/* ---- creating ---- */

/* Lock held: a place for one more resource of this key, CREATING; there is room. */
static rsl_pool_slot_ *rsl_pool_reserve_(rsl_pool *pool, uint32_t key, rsl_time now)
{
    for (uint32_t i = pool->vacant; i < RSL_POOL_SIZE_MAX_; i++) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        uint64_t word = rsl_load_relaxed_(&slot->word);
        if (rsl_pool_state_of_(word) != RSL_POOL_EMPTY_) continue;
        pool->vacant = i + 1;
        if (i >= rsl_load_relaxed_(&pool->extent)) {
            word = pool->first * RSL_POOL_NEXT_; /* no lease of an earlier pool here */
            pool->unleased += pool->first;
            rsl_store_relaxed_(&slot->word, word);
            rsl_store_(&pool->extent, i + 1);
        }
        rsl_store_relaxed_(&slot->place, (uint64_t)key << 32 | i);
        rsl_store_relaxed_(&slot->epoch, pool->epoch); /* that in which its creation began */
        rsl_store_(&slot->word, word | RSL_POOL_CREATING_);
        pool->create_began = now;
        slot->maker = NULL;
        pool->creating++;
        pool->keys[key].creating++;
        return slot;
    }
    return NULL; /* not reached: open + creating < limit <= slots */
}

/* Lock held: the latest creation of this key did not fail, or is forgotten. */
static void rsl_pool_recover_(rsl_pool *pool, rsl_pool_key_ *key)
{
    if (key->failures > 0) pool->failing--;
    key->failures = 0;
    key->create_after = 0;
}

/* Lock held; the slot is CREATING and ours: it holds a resource now, and is BUSY. */
static void rsl_pool_furnish_(rsl_pool *pool, rsl_pool_news_ *news, rsl_pool_slot_ *slot,
                              void *resource, rsl_time took)
{
    const rsl_pool_config *c = &pool->config;
    uint64_t word = rsl_pool_generation_of_(rsl_load_relaxed_(&slot->word));
    uint64_t last = UINT64_MAX;
    if (c->uses_max != RSL_UNLIMITED) last = word + (uint64_t)c->uses_max * RSL_POOL_NEXT_;
    rsl_time off = rsl_time_from_((double)c->lifetime_max * c->lifetime_jitter * news->draw,
                                  c->lifetime_max);
    rsl_time life = c->lifetime_max == RSL_FOREVER ? RSL_FOREVER : c->lifetime_max - off;
    slot->resource = resource;
    rsl_store_relaxed_(&slot->last, last);
    rsl_store_relaxed_(&slot->taken_at, 0);
    rsl_store_relaxed_(&slot->expires_at, (uint64_t)rsl_time_add_(news->coarse, life));
    rsl_store_relaxed_(&slot->checked_at, (uint64_t)news->coarse);
    rsl_store_relaxed_(&slot->idle_since, (uint64_t)news->coarse);
    rsl_store_(&slot->word, word | RSL_POOL_BUSY_);
    pool->open++;
    pool->keys[rsl_pool_kind_of_(slot)].open++;
    rsl_pool_recover_(pool, &pool->keys[rsl_pool_kind_of_(slot)]);
    pool->stats.created++;
    pool->stats.create_total = rsl_time_add_(pool->stats.create_total, took);
    if (took > pool->stats.create_max) pool->stats.create_max = took;
    rsl_pool_note_(pool, news, RSL_POOL_CREATED, "created", 0, took);
}

/* Codes by which an execution and its layers talk cannot be answers. */
static bool rsl_pool_is_talk_(int status)
{
    return status <= RSL_RUN && status >= RSL_STOP;
}

/* Lock held; the slot is CREATING and ours: there is no resource. Backs off, and tells those who
   cannot be served before their time is over. */
static void rsl_pool_create_failed_(rsl_pool *pool, rsl_pool_news_ *news, rsl_pool_slot_ *slot,
                                    int status)
{
    const rsl_pool_config *c = &pool->config;
    uint32_t kind = rsl_pool_kind_of_(slot);
    rsl_pool_key_ *key = &pool->keys[kind];
    uint64_t word = rsl_pool_generation_of_(rsl_load_relaxed_(&slot->word));
    uint32_t power = key->failures < 1000 ? (uint32_t)key->failures : 1000;
    rsl_time delay = rsl_time_grow_(c->create_backoff, 2, power, c->create_backoff_max);
    delay -= rsl_time_from_((double)delay * 0.5 * news->draw, delay);
    rsl_store_(&slot->word, word + RSL_POOL_NEXT_);
    rsl_pool_vacate_(pool, slot);
    pool->unleased++;
    if (key->failures++ == 0) pool->failing++;
    key->failure = rsl_pool_is_talk_(status) ? RSL_EINVAL : status;
    key->failed_at = news->now;
    key->create_after = rsl_time_add_(news->now, delay);
    pool->stats.create_failed++;
    rsl_pool_note_(pool, news, RSL_POOL_CREATE_FAILED, "create failed", status, delay);
    if (key->open + key->creating > 0) return;
    rsl_waiter *next;
    for (rsl_waiter *w = pool->queue.first; w != NULL; w = next) {
        next = w->private_.next;
        if (rsl_pool_key_of_(w) == kind && rsl_pool_is_late_(w, key->create_after))
            rsl_pool_tell_(pool, news, w, rsl_pool_late_(pool, news, w));
    }
}

/* Lock held; the slot is CREATING and ours: who created gave up for reasons of its own, which say
   nothing of the resource and are nobody else's. */
static void rsl_pool_withdraw_(rsl_pool *pool, rsl_pool_slot_ *slot)
{
    uint64_t word = rsl_pool_generation_of_(rsl_load_relaxed_(&slot->word));
    rsl_store_(&slot->word, word + RSL_POOL_NEXT_);
    rsl_pool_vacate_(pool, slot);
    pool->unleased++;
}

/* No lock held: ends the creation of this slot, of this word. RSL_EINVAL: it is none any more. */
static int rsl_pool_created_(rsl_pool *pool, rsl_pool_slot_ *slot, uint64_t word, int rc,
                             void *resource, rsl_time took, bool withdrawn)
{
    rsl_pool_news_ news;
    news.draw = rsl_random_draw_(&pool->config.random, &pool->random);
    rsl_pool_lock_(pool, &news);
    if (rsl_load_relaxed_(&slot->word) != word) {
        rsl_pool_unlock_(pool, &news);
        return RSL_EINVAL;
    }
    rsl_pool_reason reason = (rsl_pool_reason)0; /* why what was made is not wanted any more */
    pool->creating--;
    pool->keys[rsl_pool_kind_of_(slot)].creating--;
    pool->tender_knows = false; /* whoever is in charge is to look again */
    if (slot->maker != NULL) slot->maker->private_.word[2] &= ~rsl_pool_away_;
    if (rc != 0 && withdrawn) rsl_pool_withdraw_(pool, slot);
    else if (rc != 0) rsl_pool_create_failed_(pool, &news, slot, rc);
    else {
        rsl_pool_furnish_(pool, &news, slot, resource, took > 0 ? took : 0);
        if (pool->closing) reason = RSL_POOL_CLOSED;
        else if (rsl_load_relaxed_(&slot->epoch) != pool->epoch) reason = RSL_POOL_OUTDATED;
        else if (rsl_pool_is_crowded_(pool) || !rsl_pool_settle_(pool, &news, slot, false))
            reason = rsl_pool_condemn_(pool);
        pool->sweep_at = 0; /* what is due first may have changed */
        if (!pool->config.caller_maintains) rsl_cond_signal_(&pool->crew_wakes);
    }
    rsl_pool_unlock_(pool, &news);
    if (reason != 0) rsl_pool_destroy_(pool, slot, reason, false);
    return reason == RSL_POOL_CLOSED ? RSL_ECLOSED : RSL_OK;
}

/* Or does a loop, by tickets? */
static bool rsl_pool_creates_(const rsl_pool *pool)
{
    return pool->config.create != NULL || pool->create_keyed != NULL;
}

/* Calls create under these limits. */
static int rsl_pool_call_create_(rsl_pool *pool, uint32_t key, const rsl_ctx *limits,
                                 void **resource)
{
    int saved = errno, rc;
    if (pool->create_keyed != NULL)
        rc = pool->create_keyed(pool->config.user, limits, pool->keys[key].name, resource);
    else
        rc = pool->config.create(pool->config.user, limits, resource);
    errno = saved;
    return rc;
}

/* No lock held; the slot is CREATING and ours. Its end comes with the ctx's, after
   create_timeout, and when the pool closes. */
static void rsl_pool_create_(rsl_pool *pool, rsl_pool_slot_ *slot, const rsl_ctx *ctx)
{
    void *resource = NULL;
    rsl_ctx limits = *ctx;
    rsl_cancel either; /* the pool's token or the ctx's */
    rsl_waiter link;
    const rsl_clock *clock = rsl_clock_pick_(ctx, &pool->config.clock);
    uint64_t word = rsl_load_relaxed_(&slot->word);
    rsl_time began = rsl_clock_now_(clock);
    rsl_time until = rsl_time_add_(began, pool->config.create_timeout);
    if (limits.deadline == 0 || until < limits.deadline) limits.deadline = until;
    if (limits.deadline == RSL_FOREVER) limits.deadline = 0;
    limits.clock = clock;
    limits.cancel = &pool->cancel;
    memset(&link, 0, sizeof link);
    link.wake = rsl_cancel_pass_on_;
    link.user = &either;
    bool both = ctx->cancel != NULL && rsl_cancel_init(&either, &pool->cancel) == RSL_OK;
    bool linked = both && rsl_cancel_listen_(ctx->cancel, &link);
    if (both) limits.cancel = &either;
    if (both && !linked) rsl_cancel_fire(&either);
    int rc = rsl_pool_call_create_(pool, rsl_pool_kind_of_(slot), &limits, &resource);
    if (linked) rsl_cancel_unlisten_(ctx->cancel, &link);
    if (both) rsl_cancel_deinit(&either);
    rsl_time now = rsl_clock_now_(clock);
    /* given less than half its time, or cancelled by who acquires: nothing is said of the peer */
    bool cut = ctx->deadline != 0 && ctx->deadline - began < pool->config.create_timeout / 2;
    bool withdrawn = rsl_cancel_fired(ctx->cancel) || (cut && rsl_ctx_is_late_(ctx, now));
    rsl_pool_created_(pool, slot, word, rc, resource, now - began, withdrawn);
}

/* Does the next job, if one is due. No lock held. */
static rsl_pool_task_ rsl_pool_work_(rsl_pool *pool, const rsl_ctx *ctx, rsl_waiter *maker)
{
    rsl_pool_news_ news;
    rsl_pool_slot_ *slot = NULL;
    rsl_pool_lock_(pool, &news);
    rsl_pool_job_ job = rsl_pool_next_job_(pool, news.now);
    if (job.task == RSL_POOL_CREATE_) slot = rsl_pool_reserve_(pool, job.key, news.now);
    if (slot != NULL && maker != NULL) { /* the next looks meanwhile: it may take long */
        slot->maker = maker;
        maker->private_.word[2] |= rsl_pool_away_;
        if (pool->tender == maker) pool->tender = NULL;
        pool->tender_knows = false;
    }
    rsl_pool_unlock_(pool, &news);
    if (job.task == RSL_POOL_CREATE_) rsl_pool_create_(pool, slot, ctx);
    if (job.task == RSL_POOL_EVICT_) rsl_pool_destroy_(pool, job.slot, RSL_POOL_IDLE, false);
    return job.task;
}

/* ---- adaptive size: Little's law says how many resources the load of a window needed ---- */

/* Lock held: the time that leases used, with those of resources still open. */
static rsl_time rsl_pool_use_total_(rsl_pool *pool)
{
    rsl_time total = pool->stats.use_total;
    for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++)
        total = rsl_time_add_(total,
                              (rsl_time)rsl_load_relaxed_(&rsl_pool_slot_at_(pool, i)->use_total));
    return total;
}

/* Lock held: slots in this state, of one key or (NULL) of all. */
static uint32_t rsl_pool_count_(rsl_pool *pool, uint64_t state, const uint32_t *key)
{
    uint32_t count = 0;
    for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        bool counts = rsl_pool_state_of_(rsl_load_(&slot->word)) == state;
        if (counts && (key == NULL || rsl_pool_kind_of_(slot) == *key)) count++;
    }
    return count;
}

/* Lock held: a window begins. */
static void rsl_pool_watch_(rsl_pool *pool, rsl_time coarse)
{
    pool->watching = true;
    pool->window_from = coarse;
    pool->window_waits = pool->stats.wait_total;
    pool->window_uses = rsl_pool_use_total_(pool);
    pool->window_waited = pool->stats.waited;
}

/* Lock held: changes how many there may be; what is leased is not disturbed. */
static void rsl_pool_limit_(rsl_pool *pool, rsl_pool_news_ *news, uint32_t limit)
{
    bool less = limit < pool->limit;
    if (limit == pool->limit) return;
    pool->limit = limit;
    if (less) rsl_pool_mark_all_(pool, false); /* releases look whether they are too many */
    rsl_pool_note_(pool, news, RSL_POOL_RESIZED, "resized", 0, (int64_t)limit);
}

/* Lock held: at the end of a window. Grows when somebody waited and most of it was in use; shrinks
   after three windows in a row without a wait and with at most half in use; else it stays. */
static void rsl_pool_adapt_(rsl_pool *pool, rsl_pool_news_ *news)
{
    const rsl_pool_config *c = &pool->config;
    rsl_time span = news->coarse - pool->window_from;
    if (!c->adaptive || !pool->watching || span < c->adaptive_window || span <= 0) return;
    uint32_t least = c->size_min > 1 ? c->size_min : 1, limit = pool->limit;
    uint32_t leased = rsl_pool_count_(pool, RSL_POOL_LEASED_, NULL);
    double used = (double)(rsl_pool_use_total_(pool) - pool->window_uses) / (double)span;
    double waits = (double)(pool->stats.wait_total - pool->window_waits) / (double)span;
    bool waited = pool->stats.waited != pool->window_waited || pool->waiting > 0;
    double queue = waits > pool->waiting ? waits : pool->waiting; /* not both: they overlap */
    double need = (used > leased ? used : leased) + queue;
    if (waited && need >= 0.8 * limit) {
        double wish = need > limit + 1.0 ? need : limit + 1.0;
        limit = wish < 2.0 * limit ? (uint32_t)wish : 2 * limit;
        if (limit > c->size_max) limit = c->size_max;
        pool->calm = 0;
    } else if (waited || need > 0.5 * limit) {
        pool->calm = 0;
    } else if (++pool->calm >= 3) {
        uint32_t wish = (uint32_t)(need * 1.25) + 1, step = limit - (limit + 3) / 4;
        pool->calm = 0;
        limit = wish > step ? wish : step;
        if (limit < least) limit = least;
        if (limit > pool->limit) limit = pool->limit;
    }
    rsl_pool_limit_(pool, news, limit);
    rsl_pool_watch_(pool, news->coarse);
    pool->watching = pool->limit > least || waited;
}

/* ---- acquiring ---- */

/* Lock held: queues the waiter, its words set; or returns a slot, LEASED, so that it need not
   wait: see [MARK]. */
static rsl_pool_slot_ *rsl_pool_queue_(rsl_pool *pool, rsl_waiter *waiter)
{
    rsl_pool_slot_ *slot = NULL;
    bool passed = pool->waiting > 0 && pool->marked && !(pool->mode & RSL_POOL_KEYED_);
    if (!pool->paused && !passed)
        slot = rsl_pool_lease_or_mark_(pool, rsl_pool_key_of_(waiter));
    if (slot != NULL) return slot;
    pool->marked = !pool->paused; /* what is leased then is marked by pause itself */
    rsl_pool_enqueue_(pool, waiter);
    bool thread = waiter->private_.word[2] & rsl_pool_thread_, charge = pool->tender == NULL;
    if (!charge) charge = thread && !(pool->tender->private_.word[2] & rsl_pool_thread_);
    if (pool->config.caller_maintains && charge) pool->tender = waiter;
    pool->tender_knows = charge; /* who begins to wait looks for itself; another looks again */
    return NULL;
}

/* Are deadlines under this ctx on the pool's clock? If not, only who waits can tell. */
static bool rsl_pool_shares_clock_(const rsl_pool *pool, const rsl_ctx *ctx)
{
    const rsl_clock *own = rsl_clock_is_real_(&pool->config.clock) ? NULL : &pool->config.clock;
    return rsl_clock_pick_(ctx, &pool->config.clock) == own;
}

/* Lock held: somebody waits. The load is watched from now on, if it was not. */
static void rsl_pool_note_wait_(rsl_pool *pool, const rsl_pool_news_ *news)
{
    pool->stats.waited++;
    if (!pool->config.adaptive || pool->watching) return;
    rsl_time end = rsl_time_add_(news->now, pool->config.adaptive_window);
    rsl_pool_watch_(pool, news->coarse);
    pool->window_waited--; /* this one is part of it */
    if (end < pool->sweep_at) pool->sweep_at = end;
    if (!pool->config.caller_maintains) rsl_cond_signal_(&pool->crew_wakes);
}

/* Begins a wait, at `start`, or finds that none is needed. RSL_WAIT: the waiter is queued, its
   deadline in *deadline. The waiter's flags are set by the caller. */
static int rsl_pool_begin_(rsl_pool *pool, const rsl_ctx *ctx, uint32_t key, rsl_waiter *waiter,
                           rsl_time start, rsl_time *deadline, rsl_pool_lease *lease)
{
    *deadline = rsl_time_add_(start, pool->config.acquire_timeout);
    if (ctx->deadline != 0 && ctx->deadline < *deadline) *deadline = ctx->deadline;
    waiter->private_.word[0] = (uint64_t)*deadline;
    uint64_t flags = waiter->private_.word[2] & (rsl_pool_other_clock_ | rsl_pool_thread_);
    flags |= (uint64_t)key << 32 | (uint32_t)ctx->priority;
    for (;;) {
        rsl_pool_news_ news;
        rsl_pool_slot_ *slot = NULL;
        uint64_t word = 0;
        int status = RSL_WAIT;
        rsl_pool_lock_(pool, &news);
        if (pool->closing) status = RSL_ECLOSED;
        else if (pool->crewless) status = RSL_ESYS;
        else if (pool->waiting >= pool->config.waiters_max) status = RSL_EFULL;
        else if (*deadline <= start) {
            status = RSL_ETIMEOUT;
            pool->stats.timed_out++;
        } else {
            waiter->private_.word[1] = (uint64_t)news.now;
            waiter->private_.word[2] = flags | pool->stamp << 48;
            slot = rsl_pool_queue_(pool, waiter);
            if (slot == NULL) rsl_pool_note_wait_(pool, &news);
            else word = rsl_pool_unmarked_(rsl_load_relaxed_(&slot->word));
        }
        rsl_pool_unlock_(pool, &news);
        if (slot == NULL) return status;
        if (rsl_pool_begin_lease_(pool, rsl_pool_mine_(pool), slot, word, lease)) return RSL_OK;
    }
}

/* Lock held at first and at the end: the waiter is queued no more; waits for the end of a nudge,
   so that its memory is free. As short as a wake, which only posts. */
static void rsl_pool_part_(rsl_pool *pool, const rsl_waiter *waiter)
{
    for (int tries = 0; waiter->private_.word[2] & rsl_pool_nudged_; tries++) {
        rsl_lock_drop_(&pool->lock);
        rsl_pause_(tries < 16 ? 0 : RSL_US(50));
        rsl_lock_take_(&pool->lock);
    }
}

/* What was given to a waiter that is queued no more. */
static int rsl_pool_fetch_(rsl_pool *pool, rsl_waiter *waiter, rsl_pool_lease *lease)
{
    rsl_pool_news_ news;
    for (int tries = 0; rsl_load_(&waiter->private_.state) == RSL_WAITER_WAKING_; tries++)
        rsl_pause_(tries < 16 ? 0 : RSL_US(50)); /* the granter may need our processor */
    rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_IDLE_);
    uint64_t given = waiter->private_.word[0];
    bool leased = given >> 32 == 0;
    if (leased) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, (uint32_t)given - 1);
        rsl_store_relaxed_(&slot->holder, rsl_self_());
        rsl_pool_fill_(pool, slot, rsl_pool_unmarked_(rsl_load_(&slot->word)), 1, lease);
        rsl_pool_shard_ *shard = rsl_pool_mine_(pool);
        rsl_store_(&shard->hint, (uint64_t)(uintptr_t)slot);
        if (!pool->config.caller_maintains) return RSL_OK;
    }
    rsl_pool_lock_(pool, &news);
    rsl_pool_part_(pool, waiter);
    if (!leased && pool->told > 0) pool->told--; /* 0: in a forked child */
    rsl_pool_unlock_(pool, &news);
    return leased ? RSL_OK : (int)(uint32_t)(given >> 32);
}

/* Goes on with a wait: over at its deadline, or when `status` says why. */
static int rsl_pool_poll_(rsl_pool *pool, rsl_waiter *waiter, int status, rsl_time now,
                          rsl_pool_lease *lease)
{
    rsl_pool_news_ news;
    rsl_pool_lock_(pool, &news);
    int owned = rsl_pool_owns_(pool, waiter);
    bool queued = rsl_load_relaxed_(&waiter->private_.state) == RSL_WAITER_QUEUED_;
    bool stays = queued && status == RSL_OK && now < (rsl_time)waiter->private_.word[0];
    if (owned == RSL_OK && queued && !stays) {
        if (status == RSL_OK) status = rsl_pool_late_(pool, &news, waiter);
        rsl_pool_dequeue_(pool, &news, waiter);
        rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_IDLE_);
        pool->told++; /* so that close waits for it to part */
        rsl_pool_part_(pool, waiter);
        pool->told--;
    }
    rsl_pool_unlock_(pool, &news);
    if (owned == RSL_ECLOSED) rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_IDLE_);
    if (owned != RSL_OK) return owned;
    if (stays) return RSL_WAIT;
    return queued ? status : rsl_pool_fetch_(pool, waiter, lease);
}

/* With an injected clock and threads of the pool's own: while they work, virtual time stands; the
   sleep that is due is a real one then. */
static bool rsl_pool_nap_(rsl_pool *pool, rsl_time *until)
{
    rsl_pool_news_ news;
    if (!(pool->mode & RSL_POOL_CLOCKED_) || pool->config.caller_maintains) return false;
    rsl_pool_lock_(pool, &news);
    rsl_pool_wish_ wish = rsl_pool_wish_of_(pool, news.now);
    bool wanted = wish.wanted && !rsl_pool_is_full_(pool);
    bool busy = pool->creating > 0 || (wanted && news.now >= wish.at);
    if (wanted && wish.at < *until) *until = wish.at;
    rsl_pool_unlock_(pool, &news);
    return busy;
}

/* With caller_maintains, who waits and is in charge creates. True: it did something; else *until,
   on `clock`, is cut to when there will be something to do. */
static bool rsl_pool_tend_(rsl_pool *pool, const rsl_ctx *ctx, const rsl_clock *clock,
                           rsl_waiter *waiter, rsl_time *until)
{
    rsl_pool_news_ news;
    rsl_ctx mine = *ctx;
    if (!pool->config.caller_maintains || !rsl_pool_creates_(pool)) return false;
    rsl_pool_lock_(pool, &news);
    bool in_charge = pool->tender == waiter;
    rsl_pool_wish_ wish = rsl_pool_wish_of_(pool, news.now);
    rsl_time pause = wish.wanted && wish.at > news.now ? wish.at - news.now : 0;
    if (in_charge && pause > 0) {
        rsl_time then = rsl_time_add_(rsl_clock_now_(clock), pause);
        if (then < *until) *until = then;
        in_charge = false;
    }
    rsl_pool_unlock_(pool, &news);
    if (!in_charge) return false;
    mine.deadline = *until;
    rsl_pool_task_ task = rsl_pool_work_(pool, &mine, waiter);
    rsl_pool_lock_(pool, &news);
    waiter->private_.word[2] &= ~rsl_pool_away_;
    bool queued = rsl_load_relaxed_(&waiter->private_.state) == RSL_WAITER_QUEUED_;
    if (queued && pool->tender == NULL) pool->tender = waiter;
    rsl_pool_unlock_(pool, &news);
    return task == RSL_POOL_CREATE_ || task == RSL_POOL_EVICT_;
}

/* One sleep of who waits, or a creation instead. */
static void rsl_pool_sleep_(rsl_pool *pool, const rsl_ctx *ctx, const rsl_clock *clock,
                            rsl_waiter *waiter, rsl_word_ *park, rsl_time until)
{
    if (rsl_pool_tend_(pool, ctx, clock, waiter, &until)) return;
    if (rsl_pool_nap_(pool, &until)) {
        rsl_ctx real = {0, ctx->cancel, NULL, 0, 0};
        rsl_ctx_sleep_(&real, NULL, park, rsl_time_add_(rsl_clock_real_(), RSL_MS(1)));
        return;
    }
    bool clocked = pool->mode & RSL_POOL_CLOCKED_; /* no post ends a sleep on such a clock */
    if (clocked && rsl_load_(&waiter->private_.state) != RSL_WAITER_QUEUED_) return;
    rsl_ctx_sleep_(ctx, clock, park, until);
}

/* The racer's part of [RACE]. */
static void rsl_pool_run_(rsl_pool *pool, const rsl_waiter *waiter)
{
    rsl_pool_news_ news;
    rsl_pool_lock_(pool, &news);
    bool mine = rsl_load_relaxed_(&pool->racer) == (uint64_t)(uintptr_t)waiter;
    if (mine) rsl_pool_serve_all_(pool, &news);
    rsl_pool_unlock_(pool, &news);
}

RSL_NOINLINE_ int rsl_pool_acquire_waiting_(rsl_pool *pool, const rsl_ctx *ctx, uint32_t key,
                                            rsl_pool_lease *lease)
{
    rsl_waiter waiter;
    rsl_word_ park = 0;
    rsl_time deadline;
    const rsl_clock *clock = rsl_clock_pick_(ctx, &pool->config.clock);
    rsl_waiter_park_(&waiter, &park);
    waiter.private_.word[2] = rsl_pool_thread_;
    if (!rsl_pool_shares_clock_(pool, ctx)) waiter.private_.word[2] |= rsl_pool_other_clock_;
    int cancelable = rsl_uncancelable_(); /* a thread that ends here would keep what it is given */
    int status = rsl_pool_begin_(pool, ctx, key, &waiter, rsl_clock_now_(clock), &deadline, lease);
    while (status == RSL_WAIT) {
        rsl_pool_sleep_(pool, ctx, clock, &waiter, &park, deadline);
        if (rsl_load_(&pool->racer) == (uint64_t)(uintptr_t)&waiter) rsl_pool_run_(pool, &waiter);
        int why = rsl_cancel_fired(ctx->cancel) ? RSL_ECANCELED : RSL_OK;
        status = rsl_pool_poll_(pool, &waiter, why, rsl_clock_now_(clock), lease);
    }
    rsl_cancelable_(cancelable);
    return status;
}

/* With limits that may be spent before. */
RSL_NOINLINE_ int rsl_pool_acquire_within_(rsl_pool *pool, const rsl_ctx *ctx, uint32_t key,
                                           rsl_pool_lease *lease)
{
    int status = rsl_ctx_spent_(ctx, rsl_clock_pick_(ctx, &pool->config.clock));
    if (status == RSL_OK) status = rsl_pool_take_(pool, key, lease);
    if (status == RSL_WAIT) status = rsl_pool_acquire_waiting_(pool, ctx, key, lease);
    return status;
}

/* Leased, and then found to be of another epoch. */
RSL_NOINLINE_ int rsl_pool_acquire_checked_(rsl_pool *pool, rsl_pool_slot_ *slot, uint64_t word,
                                            rsl_pool_lease *lease)
{
    if (rsl_pool_is_good_(pool, slot, word, 0)) {
        rsl_pool_fill_(pool, slot, word, 1, lease);
        return RSL_OK;
    }
    return rsl_pool_acquire_within_(pool, &rsl_ctx_unlimited_, 0, lease);
}

/* Straight down for the usual case, without a call: no limits, the slot that this thread used
   last is idle, and the lease is not to be timed. */
int rsl_pool_acquire(rsl_pool *pool, const rsl_ctx *ctx, rsl_pool_lease *lease)
{
    if (RSL_UNLIKELY_(pool == NULL || lease == NULL)) return RSL_EINVAL;
    if (RSL_UNLIKELY_(pool->mode & RSL_POOL_KEYED_)) return RSL_EINVAL;
    rsl_pool_shard_ *shard = (rsl_pool_shard_ *)rsl_shard_usual_(
        pool->shards, sizeof *pool->shards, RSL_POOL_SHARDS_);
    if (RSL_LIKELY_(ctx == NULL && shard != NULL)) {
        rsl_pool_slot_ *slot = (rsl_pool_slot_ *)(uintptr_t)rsl_load_relaxed_(&shard->hint);
        uint64_t skip = rsl_load_relaxed_(&shard->skip); /* only set once there is a hint */
        if (RSL_LIKELY_(skip != 0)) {
            uint64_t idle = rsl_load_relaxed_(&slot->guess), word = idle + rsl_pool_leased_;
            if (RSL_LIKELY_(rsl_cas_(&slot->word, &idle, word))) {
                rsl_store_relaxed_(&shard->skip, skip - 1);
                rsl_store_relaxed_(&slot->holder, rsl_self_());
                if (RSL_UNLIKELY_(rsl_load_relaxed_(&slot->epoch) != rsl_pool_epoch_(pool)))
                    return rsl_pool_acquire_checked_(pool, slot, word, lease);
                rsl_pool_fill_(pool, slot, word, 1, lease);
                return RSL_OK;
            }
        }
    }
    return rsl_pool_acquire_within_(pool, rsl_ctx_or_unlimited_(ctx), 0, lease);
}

static int rsl_pool_try_(rsl_pool *pool, uint32_t key, rsl_pool_lease *lease)
{
    rsl_pool_news_ news;
    int status = rsl_pool_take_(pool, key, lease);
    if (RSL_LIKELY_(status == RSL_OK)) return status;
    rsl_pool_lock_(pool, &news);
    status = pool->closing ? RSL_ECLOSED : RSL_EFULL;
    rsl_pool_unlock_(pool, &news);
    return status;
}

int rsl_pool_try(rsl_pool *pool, rsl_pool_lease *lease)
{
    if (RSL_UNLIKELY_(pool == NULL || lease == NULL)) return RSL_EINVAL;
    if (RSL_UNLIKELY_(pool->mode & RSL_POOL_KEYED_)) return RSL_EINVAL;
    return rsl_pool_try_(pool, 0, lease);
}

/* ---- releasing ---- */

/* Counts the use that ends, before the slot is given back, for after it is another's. When it is
   now; 0: the lease is not timed, or was counted before. */
static inline rsl_time rsl_pool_count_use_(rsl_pool *pool, rsl_pool_slot_ *slot, uint32_t weight)
{
    rsl_time taken = (rsl_time)rsl_load_relaxed_(&slot->taken_at);
    if (taken == 0) return 0;
    rsl_time now = rsl_pool_coarse_(pool), used = now > taken ? now - taken : 0;
    rsl_store_relaxed_(&slot->taken_at, 0);
    if (used > 0) {
        uint64_t total = rsl_load_relaxed_(&slot->use_total);
        bool sampled = weight == RSL_POOL_SAMPLE_ && used <= 2 * rsl_pool_tick_; /* as others */
        rsl_time share = sampled ? used * RSL_POOL_SAMPLE_ : used;
        rsl_store_relaxed_(&slot->use_total, (uint64_t)rsl_time_add_((rsl_time)total, share));
        if ((uint64_t)used > rsl_load_relaxed_(&slot->use_max))
            rsl_store_relaxed_(&slot->use_max, (uint64_t)used);
    }
    return now;
}

/* The slot of a lease that may be good; NULL: it cannot be. */
static inline rsl_pool_slot_ *rsl_pool_slot_of_(const rsl_pool *pool, const rsl_pool_lease *lease)
{
    if (RSL_UNLIKELY_(pool == NULL || lease == NULL || lease->pool != pool)) return NULL;
    if (RSL_UNLIKELY_(lease->slot >= rsl_pool_extent_(pool))) return NULL;
    if (RSL_UNLIKELY_(lease->generation % RSL_POOL_NEXT_ != RSL_POOL_LEASED_)) return NULL;
    return rsl_pool_slot_at_(pool, lease->slot);
}

static inline void rsl_pool_spend_(rsl_pool_lease *lease)
{
    lease->resource = NULL;
    lease->generation = 0;
}

/* Takes the slot from its lease, whatever is to become of it. */
RSL_NOINLINE_ int rsl_pool_return_(rsl_pool *pool, rsl_pool_slot_ *slot, rsl_pool_lease *lease,
                                   rsl_pool_reason reason)
{
    uint64_t word = lease->generation, busy = word - RSL_POOL_LEASED_ + RSL_POOL_BUSY_;
    if (rsl_pool_is_forked_(pool)) rsl_pool_reborn_(pool);
    if (!rsl_pool_move_(slot, word, busy)) return RSL_EINVAL;
    rsl_time now = rsl_pool_count_use_(pool, slot, lease->private_);
    if (now == 0) now = rsl_pool_coarse_(pool);
    rsl_pool_spend_(lease);
    if (reason == 0) reason = rsl_pool_why_close_(pool, slot, now);
    if (reason == 0 && pool->config.reset != NULL) {
        int saved = errno;
        if (pool->config.reset(pool->config.user, slot->resource) != 0) reason = RSL_POOL_BROKEN;
        errno = saved;
    }
    rsl_store_relaxed_(&slot->idle_since, (uint64_t)now);
    uint64_t idle = busy - RSL_POOL_BUSY_ + RSL_POOL_IDLE_;
    rsl_store_relaxed_(&slot->guess, idle);
    uint64_t found = busy;
    bool quick = reason == 0 && pool->config.idle_timeout != 0;
    if (quick && rsl_cas_(&slot->word, &found, idle)) return RSL_OK; /* nobody to look at */
    if (reason == 0 && pool->config.validate != NULL && pool->config.validate_after == 0)
        reason = rsl_pool_validate_(pool, slot, now); /* never skipped: it may go to a waiter */
    rsl_pool_give_(pool, slot, busy, reason);
    return RSL_OK;
}

/* LEASED to IDLE, unless it is marked or not this lease's. The pool is not touched after that: it
   may be closed. What is written before is harmless if the lease is stale: two guesses. */
static inline bool rsl_pool_put_(rsl_pool_slot_ *slot, rsl_pool_lease *lease, rsl_time now)
{
    uint64_t word = lease->generation, idle = word - RSL_POOL_LEASED_ + RSL_POOL_IDLE_;
    rsl_store_relaxed_(&slot->idle_since, (uint64_t)now);
    rsl_store_relaxed_(&slot->guess, idle);
    if (RSL_UNLIKELY_(!rsl_cas_(&slot->word, &word, idle))) return false;
    rsl_pool_spend_(lease);
    return true;
}

RSL_NOINLINE_ int rsl_pool_release_timed_(rsl_pool *pool, rsl_pool_slot_ *slot,
                                          rsl_pool_lease *lease)
{
    if (rsl_load_relaxed_(&slot->word) != lease->generation) /* marked, or not this lease's */
        return rsl_pool_return_(pool, slot, lease, (rsl_pool_reason)0);
    rsl_time now = rsl_pool_count_use_(pool, slot, lease->private_);
    if (now >= (rsl_time)rsl_load_relaxed_(&slot->expires_at))
        return rsl_pool_return_(pool, slot, lease, RSL_POOL_LIFETIME);
    if (rsl_pool_put_(slot, lease, now)) return RSL_OK;
    return rsl_pool_return_(pool, slot, lease, (rsl_pool_reason)0);
}

int rsl_pool_release(rsl_pool *pool, rsl_pool_lease *lease)
{
    rsl_pool_slot_ *slot = rsl_pool_slot_of_(pool, lease);
    if (RSL_UNLIKELY_(slot == NULL)) return RSL_EINVAL;
    bool special = (pool->mode & RSL_POOL_SPECIAL_) ||
                   rsl_load_relaxed_(&slot->epoch) != rsl_pool_epoch_(pool) ||
                   lease->generation >= rsl_load_relaxed_(&slot->last);
    if (RSL_LIKELY_(!special)) {
        if ((pool->mode & RSL_POOL_TIMED_) || rsl_load_relaxed_(&slot->taken_at) != 0)
            return rsl_pool_release_timed_(pool, slot, lease);
        if (RSL_LIKELY_(rsl_pool_put_(slot, lease, 0))) return RSL_OK;
    }
    return rsl_pool_return_(pool, slot, lease, (rsl_pool_reason)0);
}

int rsl_pool_discard(rsl_pool *pool, rsl_pool_lease *lease)
{
    rsl_pool_slot_ *slot = rsl_pool_slot_of_(pool, lease);
    if (slot == NULL) return RSL_EINVAL;
    return rsl_pool_return_(pool, slot, lease, RSL_POOL_BROKEN);
}

int rsl_pool_use(rsl_pool *pool, const rsl_ctx *ctx,
                 int (*fn)(const rsl_ctx *ctx, void *resource, void *arg, bool *broken), void *arg)
{
    rsl_pool_lease lease;
    bool broken = false;
    if (fn == NULL) return RSL_EINVAL;
    int status = rsl_pool_acquire(pool, ctx, &lease);
    if (status != RSL_OK) return status;
    status = fn(rsl_ctx_or_unlimited_(ctx), lease.resource, arg, &broken);
    if (broken) rsl_pool_discard(pool, &lease);
    else rsl_pool_release(pool, &lease);
    return status;
}

/* ---- event loops ---- */

static bool rsl_pool_waits_(const rsl_waiter *waiter)
{
    uint64_t state = rsl_load_(&waiter->private_.state);
    return state == RSL_WAITER_QUEUED_ || state == RSL_WAITER_WAKING_ ||
           state == RSL_WAITER_WOKEN_;
}

static int rsl_pool_begin_keyed_(rsl_pool *pool, const rsl_ctx *ctx, uint32_t key,
                                 rsl_waiter *waiter, rsl_pool_lease *lease)
{
    rsl_time deadline;
    ctx = rsl_ctx_or_unlimited_(ctx);
    const rsl_clock *clock = rsl_clock_pick_(ctx, &pool->config.clock);
    int status = rsl_ctx_spent_(ctx, clock);
    if (status == RSL_OK) status = rsl_pool_take_(pool, key, lease);
    if (status != RSL_WAIT) return status;
    waiter->private_.word[2] = rsl_pool_shares_clock_(pool, ctx) ? 0 : rsl_pool_other_clock_;
    return rsl_pool_begin_(pool, ctx, key, waiter, rsl_clock_now_(clock), &deadline, lease);
}

static bool rsl_pool_may_begin_(rsl_pool *pool, const rsl_waiter *waiter)
{
    if (rsl_pool_is_forked_(pool)) rsl_pool_reborn_(pool);
    if (waiter == NULL || waiter->wake == NULL) return false;
    return !rsl_pool_waits_(waiter) || rsl_pool_owns_(pool, waiter) == RSL_ECLOSED;
}

int rsl_pool_begin(rsl_pool *pool, const rsl_ctx *ctx, rsl_waiter *waiter, rsl_pool_lease *lease)
{
    if (pool == NULL || lease == NULL || !rsl_pool_may_begin_(pool, waiter)) return RSL_EINVAL;
    if (pool->mode & RSL_POOL_KEYED_) return RSL_EINVAL;
    return rsl_pool_begin_keyed_(pool, ctx, 0, waiter, lease);
}

int rsl_pool_poll(rsl_pool *pool, rsl_waiter *waiter, rsl_pool_lease *lease, rsl_time now)
{
    if (pool == NULL || lease == NULL || waiter == NULL || !rsl_pool_waits_(waiter))
        return RSL_EINVAL;
    return rsl_pool_poll_(pool, waiter, RSL_OK, now, lease);
}

/* why: RSL_OK when it is for lateness. */
static void rsl_pool_abandon_(rsl_pool *pool, rsl_waiter *waiter, int why)
{
    rsl_pool_lease lease;
    rsl_pool_news_ news;
    if (!rsl_pool_waits_(waiter)) return;
    if (rsl_pool_poll_(pool, waiter, why, RSL_FOREVER, &lease) != RSL_OK) return;
    rsl_pool_lock_(pool, &news);
    pool->unleased++;
    rsl_pool_unlock_(pool, &news);
    rsl_pool_release(pool, &lease);
}

void rsl_pool_abandon(rsl_pool *pool, rsl_waiter *waiter)
{
    if (pool != NULL && waiter != NULL) rsl_pool_abandon_(pool, waiter, RSL_ECANCELED);
}

int rsl_pool_wanted(rsl_pool *pool, rsl_creation *ticket)
{
    rsl_pool_news_ news;
    if (pool == NULL || ticket == NULL) return RSL_EINVAL;
    rsl_pool_lock_(pool, &news);
    int status = pool->closing ? RSL_ECLOSED : RSL_WAIT;
    bool keyed = pool->mode & RSL_POOL_KEYED_; /* a ticket names no key */
    if (!keyed && rsl_pool_next_job_(pool, news.now).task == RSL_POOL_CREATE_) {
        rsl_pool_slot_ *slot = rsl_pool_reserve_(pool, 0, news.now);
        ticket->private_[0] = rsl_load_relaxed_(&slot->word);
        ticket->private_[1] = rsl_pool_index_of_(slot) | (uint64_t)(news.now / 1000) << 20;
        status = RSL_OK;
    }
    rsl_pool_unlock_(pool, &news);
    return status;
}

int rsl_pool_supply(rsl_pool *pool, rsl_creation *ticket, int rc, void *resource)
{
    if (pool == NULL || ticket == NULL) return RSL_EINVAL;
    uint32_t index = (uint32_t)(ticket->private_[1] & 0xfffff);
    uint64_t word = ticket->private_[0];
    if (word % RSL_POOL_NEXT_ != RSL_POOL_CREATING_ || index >= rsl_pool_extent_(pool))
        return RSL_EINVAL;
    uint64_t began = ticket->private_[1] >> 20, now;
    now = ((uint64_t)rsl_clock_now_(&pool->config.clock) / 1000) & (UINT64_MAX >> 20);
    ticket->private_[0] = 0;
    rsl_time took = now > began ? (rsl_time)(now - began) * 1000 : 0;
    rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, index);
    return rsl_pool_created_(pool, slot, word, rc, resource, took, false);
}

/* When the next creation may begin, on the clock of `now`, and at most `until`. */
static rsl_time rsl_pool_retry_at_(rsl_pool *pool, rsl_time now, rsl_time until)
{
    rsl_pool_news_ news;
    rsl_pool_lock_(pool, &news);
    rsl_pool_wish_ wish = rsl_pool_wish_of_(pool, news.now);
    rsl_time pause = wish.wanted && wish.at > news.now ? wish.at - news.now : 0;
    rsl_pool_unlock_(pool, &news);
    return rsl_time_add_(now, pause) < until ? rsl_time_add_(now, pause) : until;
}

/* ---- layer. Its object is the lease, which knows the pool. Slot: waiting | its deadline ---- */

static int rsl_pool_layer_enter_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_pool_lease *lease = (rsl_pool_lease *)self;
    if (lease == NULL || lease->pool == NULL || (lease->pool->mode & RSL_POOL_KEYED_))
        return RSL_EINVAL;
    rsl_pool *pool = lease->pool;
    rsl_time deadline = (rsl_time)slot->word[1];
    int status;
    rsl_execution_timeless_(e);
    if (slot->word[0] == 0) {
        status = rsl_pool_take_(pool, 0, lease);
        if (RSL_LIKELY_(status == RSL_OK)) return status;
        e->waiter.private_.word[2] = rsl_pool_other_clock_; /* the driver's now is the only time */
        status = rsl_pool_begin_(pool, &e->ctx, 0, &e->waiter, e->now, &deadline, lease);
        slot->word[0] = 1;
        slot->word[1] = (uint64_t)deadline;
    } else {
        status = rsl_pool_poll_(pool, &e->waiter, RSL_OK, e->now, lease);
    }
    e->wake_at = deadline;
    while (status == RSL_WAIT && pool->config.caller_maintains && rsl_pool_creates_(pool)) {
        rsl_pool_task_ task = rsl_pool_work_(pool, &e->ctx, NULL);
        if (task == RSL_POOL_LATER_) e->wake_at = rsl_pool_retry_at_(pool, e->now, deadline);
        if (task != RSL_POOL_CREATE_ && task != RSL_POOL_EVICT_) break;
        status = rsl_pool_poll_(pool, &e->waiter, RSL_OK, e->now, lease);
    }
    if (status != RSL_WAIT) slot->word[0] = 0;
    return status;
}

/* The call may have ended the lease itself. */
static int rsl_pool_layer_leave_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_pool_lease *lease = (rsl_pool_lease *)self;
    rsl_pool *pool = lease->pool;
    (void)slot;
    if (lease->generation == 0) return RSL_DONE;
    bool broken = RSL_UNLIKELY_(e->result != 0) && !e->refused &&
                  pool->config.is_broken(e->result, pool->config.user);
    if (broken) rsl_pool_discard(pool, lease);
    else rsl_pool_release(pool, lease);
    return RSL_DONE;
}

static void rsl_pool_layer_abandon_(void *self, rsl_execution *e, rsl_slot *slot)
{
    rsl_pool_lease *lease = (rsl_pool_lease *)self;
    bool late = e->private_.wait_cut && !rsl_cancel_fired(e->ctx.cancel);
    int why = late ? RSL_OK : RSL_ECANCELED;
    if (slot->word[0] != 0) rsl_pool_abandon_(lease->pool, &e->waiter, why);
    else if (lease->generation != 0) rsl_pool_discard(lease->pool, lease);
}

rsl_layer rsl_pool_layer(rsl_pool *pool, rsl_pool_lease *lease)
{
    static const rsl_layer_type type = {"pool", rsl_pool_layer_enter_, rsl_pool_layer_leave_,
                                        rsl_pool_layer_abandon_};
    rsl_layer layer = {&type, lease};
    if (lease != NULL) {
        memset(lease, 0, sizeof *lease);
        lease->pool = pool;
    }
    return layer;
}

/* ---- maintenance ---- */

static rsl_time rsl_pool_sooner_(rsl_time a, rsl_time b)
{
    return a < b ? a : b;
}

/* Lock held; the slot is idle: why it is to be closed; 0: it stays till *due, when it is to be
   looked at again. */
static rsl_pool_reason rsl_pool_visit_idle_(rsl_pool *pool, rsl_pool_slot_ *slot, rsl_time now,
                                          rsl_time *due)
{
    rsl_time since = (rsl_time)rsl_load_relaxed_(&slot->idle_since);
    rsl_pool_reason reason = rsl_pool_why_close_(pool, slot, now);
    if (reason != 0) return reason;
    if (rsl_pool_is_crowded_(pool)) return RSL_POOL_IDLE;
    if (since == 0) { /* released without a look at the clock: idle from now on */
        since = now;
        rsl_store_relaxed_(&slot->idle_since, (uint64_t)now);
    }
    *due = rsl_pool_sooner_(*due, (rsl_time)rsl_load_relaxed_(&slot->expires_at));
    if (pool->open - pool->leaving <= pool->config.size_min) return (rsl_pool_reason)0;
    rsl_time end = rsl_time_add_(since, pool->config.idle_timeout);
    if (now >= end && pool->config.idle_timeout != RSL_FOREVER) return RSL_POOL_IDLE;
    *due = rsl_pool_sooner_(*due, end);
    return (rsl_pool_reason)0;
}

/* Is an idle resource to be validated, so that it stays alive? */
static bool rsl_pool_wants_check_(rsl_pool *pool, rsl_pool_slot_ *slot, rsl_time now,
                                  rsl_time *due)
{
    rsl_time since = (rsl_time)rsl_load_relaxed_(&slot->idle_since);
    rsl_time checked = (rsl_time)rsl_load_relaxed_(&slot->checked_at);
    if (pool->config.keepalive == RSL_FOREVER) return false;
    rsl_time then = rsl_time_add_(since > checked ? since : checked, pool->config.keepalive);
    if (now >= then) return true;
    *due = rsl_pool_sooner_(*due, then);
    return false;
}

/* Lock held; the slot is leased: marks it when its resource is too old; reports a lease that is
   out for too long, once. */
static void rsl_pool_visit_leased_(rsl_pool *pool, rsl_pool_news_ *news, rsl_pool_slot_ *slot,
                                uint64_t word, rsl_time *due)
{
    rsl_time taken = (rsl_time)rsl_load_relaxed_(&slot->taken_at);
    rsl_time end = (rsl_time)rsl_load_relaxed_(&slot->expires_at);
    if (end > news->coarse) *due = rsl_pool_sooner_(*due, end);
    else rsl_pool_mark_(slot, false); /* its release has to look, if it is not over yet */
    if (pool->config.leak_after == RSL_FOREVER || taken == 0) return;
    rsl_time then = rsl_time_add_(taken, pool->config.leak_after);
    if (news->coarse < then) {
        *due = rsl_pool_sooner_(*due, then);
    } else if (slot->reported != rsl_pool_unmarked_(word)) {
        slot->reported = rsl_pool_unmarked_(word);
        pool->stats.leaked++;
        rsl_pool_note_(pool, news, RSL_POOL_LEAKED, "leaked", 0, rsl_pool_index_of_(slot));
    }
}

/* No lock held: does what is due with one slot; brings *due forward to when it is to be looked at
   again. */
static void rsl_pool_visit_(rsl_pool *pool, rsl_pool_slot_ *slot, rsl_time *due)
{
    rsl_pool_news_ news;
    rsl_pool_reason reason = (rsl_pool_reason)0;
    bool taken = false;
    rsl_pool_lock_(pool, &news);
    uint64_t word = rsl_load_(&slot->word), plain = rsl_pool_unmarked_(word);
    if (rsl_pool_state_of_(word) == RSL_POOL_IDLE_ && !pool->closing) {
        reason = rsl_pool_visit_idle_(pool, slot, news.coarse, due);
        if (reason != 0 || rsl_pool_wants_check_(pool, slot, news.coarse, due))
            taken = rsl_pool_move_(slot, plain, plain - RSL_POOL_IDLE_ + RSL_POOL_BUSY_);
        if (taken && reason == RSL_POOL_IDLE) rsl_pool_condemn_(pool);
    } else if (rsl_pool_state_of_(word) == RSL_POOL_LEASED_) {
        rsl_pool_visit_leased_(pool, &news, slot, word, due);
    }
    rsl_pool_unlock_(pool, &news);
    if (!taken) return;
    if (reason == 0) {
        reason = rsl_pool_validate_(pool, slot, news.coarse);
        *due = rsl_pool_sooner_(*due, rsl_time_add_(news.coarse, pool->config.keepalive));
    }
    rsl_pool_give_(pool, slot, plain - RSL_POOL_IDLE_ + RSL_POOL_BUSY_, reason);
}

/* Destroys what is idle, the highest first: all, or while there are too many. */
static void rsl_pool_shed_(rsl_pool *pool, bool all)
{
    rsl_pool_news_ news;
    for (uint32_t i = rsl_pool_extent_(pool); i > 0; i--) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i - 1);
        rsl_pool_lock_(pool, &news);
        bool too_many = all || rsl_pool_is_crowded_(pool);
        bool taken = too_many && rsl_pool_take_or_mark_(slot);
        if (taken && !all) rsl_pool_condemn_(pool);
        rsl_pool_unlock_(pool, &news);
        if (taken) rsl_pool_destroy_(pool, slot, all ? RSL_POOL_CLOSED : RSL_POOL_IDLE, false);
    }
}

/* No lock held: looks after every resource, the highest first. When to look again, on the precise
   clock: what is due by the coarse one is due a tick later there. */
static rsl_time rsl_pool_sweep_(rsl_pool *pool)
{
    rsl_pool_news_ news;
    rsl_time due = RSL_FOREVER;
    for (uint32_t i = rsl_pool_extent_(pool); i > 0; i--)
        rsl_pool_visit_(pool, rsl_pool_slot_at_(pool, i - 1), &due);
    rsl_pool_lock_(pool, &news);
    rsl_pool_adapt_(pool, &news);
    if (pool->watching) {
        rsl_time end = rsl_time_add_(pool->window_from, pool->config.adaptive_window);
        due = rsl_pool_sooner_(due, end);
    }
    if (pool->config.leak_after != RSL_FOREVER && pool->open > 0)
        due = rsl_pool_sooner_(due, rsl_time_add_(news.coarse, pool->config.leak_after));
    bool later = pool->config.idle_timeout > 0; /* else releases do it */
    if (later && pool->open > pool->config.size_min) /* leased now, idle right after */
        due = rsl_pool_sooner_(due, rsl_time_add_(news.coarse, pool->config.idle_timeout));
    if (pool->open > 0)
        due = rsl_pool_sooner_(due, rsl_time_add_(news.coarse, pool->config.keepalive));
    bool crowded = rsl_pool_is_crowded_(pool);
    rsl_pool_unlock_(pool, &news);
    if (crowded) rsl_pool_shed_(pool, false);
    if (due == RSL_FOREVER) return due;
    rsl_time wait = due > news.coarse ? due - news.coarse : 0;
    if (!(pool->mode & RSL_POOL_CLOCKED_)) wait = rsl_time_add_(wait, rsl_pool_tick_);
    return rsl_time_add_(news.now, wait);
}

/* Between these, close waits for the call. */
static void rsl_pool_call_begin_(rsl_pool *pool)
{
    rsl_pool_news_ news;
    rsl_pool_lock_(pool, &news);
    pool->calls++;
    rsl_pool_unlock_(pool, &news);
}

static void rsl_pool_call_end_(rsl_pool *pool)
{
    rsl_pool_news_ news;
    rsl_pool_lock_(pool, &news);
    if (pool->calls > 0) pool->calls--; /* 0: in a forked child */
    rsl_pool_unlock_(pool, &news);
}

rsl_time rsl_pool_maintain(rsl_pool *pool)
{
    rsl_pool_news_ news;
    if (pool == NULL) return RSL_FOREVER;
    rsl_pool_call_begin_(pool);
    rsl_time from = rsl_clock_now_(&pool->config.clock);
    for (uint32_t i = 0; rsl_pool_creates_(pool) && i < RSL_POOL_SIZE_MAX_; i++) {
        rsl_pool_task_ task = rsl_pool_work_(pool, &rsl_ctx_unlimited_, NULL);
        if (task != RSL_POOL_CREATE_ && task != RSL_POOL_EVICT_) break;
    }
    rsl_time due = rsl_pool_sweep_(pool);
    rsl_pool_lock_(pool, &news);
    rsl_pool_wish_ wish = rsl_pool_wish_of_(pool, news.now);
    /* Due since it was looked for, or because of the sweep: nothing else would tell. */
    bool unseen = wish.at > from || !rsl_pool_is_full_(pool);
    if (wish.wanted && unseen)
        due = rsl_pool_sooner_(due, wish.at > news.now ? wish.at : news.now);
    rsl_pool_unlock_(pool, &news);
    rsl_pool_call_end_(pool);
    return due;
}

/* ---- the pool's own threads: each does the next job, so that one stuck in a creation leaves the
   rest to the others. A job is found under the lock, and whatever makes one signals under it, so
   no job is overslept. ---- */

#ifndef RSL_NO_THREADS
/* Lock held: until when a thread without a job may sleep. */
static rsl_time rsl_pool_crew_until_(const rsl_pool *pool, const rsl_pool_job_ *job)
{
    rsl_time until = pool->sweeping || pool->closing ? RSL_FOREVER : pool->sweep_at;
    if (job->task == RSL_POOL_LATER_) until = rsl_pool_sooner_(until, job->at);
    if (pool->mode & RSL_POOL_CLOCKED_) /* a clock that others move: look again soon */
        until = rsl_clock_real_() + RSL_MS(1);
    return until;
}

static void rsl_pool_crew_(void *arg)
{
    rsl_pool *pool = (rsl_pool *)arg;
    rsl_pool_news_ news;
    rsl_pool_lock_(pool, &news);
    pool->crew_self[pool->crew_begun++] = rsl_self_();
    while (!pool->stop) {
        rsl_pool_job_ job = rsl_pool_next_job_(pool, news.now);
        bool sweep = !pool->sweeping && !pool->closing && news.now >= pool->sweep_at;
        bool create = job.task == RSL_POOL_CREATE_, evict = job.task == RSL_POOL_EVICT_;
        if (!create && !evict && !sweep) {
            rsl_cond_wait_(&pool->crew_wakes, &pool->lock, rsl_pool_crew_until_(pool, &job));
            news.now = rsl_clock_now_(&pool->config.clock);
            continue;
        }
        if (create) job.slot = rsl_pool_reserve_(pool, job.key, news.now);
        if (!create && !evict) {
            pool->sweeping = true;
            pool->sweep_at = RSL_FOREVER;
        }
        rsl_cond_signal_(&pool->crew_wakes); /* the rest is another's to look after */
        rsl_pool_unlock_(pool, &news);
        rsl_time due = RSL_FOREVER;
        if (create) rsl_pool_create_(pool, job.slot, &rsl_ctx_unlimited_);
        else if (evict) rsl_pool_destroy_(pool, job.slot, RSL_POOL_IDLE, false);
        else due = rsl_pool_sweep_(pool);
        rsl_pool_lock_(pool, &news);
        pool->sweep_at = rsl_pool_sooner_(pool->sweep_at, due);
        if (!create && !evict) pool->sweeping = false;
    }
    rsl_cond_signal_(&pool->crew_wakes); /* so they all stop, one after the other */
    rsl_pool_unlock_(pool, &news);
}

static void rsl_pool_crew_stop_(rsl_pool *pool)
{
    rsl_lock_take_(&pool->lock);
    pool->stop = true;
    rsl_cond_signal_(&pool->crew_wakes);
    rsl_lock_drop_(&pool->lock);
    for (uint32_t i = 0; i < pool->crew_count; i++) rsl_thread_join_(&pool->crew[i]);
    pool->crew_count = pool->crew_begun = 0;
}

/* One thread for each creation at once, and one that is never in any. */
static int rsl_pool_crew_start_(rsl_pool *pool)
{
    if (pool->config.caller_maintains) return RSL_OK;
    while (pool->crew_count <= pool->config.creating_max) {
        rsl_thread_ *thread = &pool->crew[pool->crew_count];
        if (rsl_thread_start_(thread, 0, rsl_pool_crew_, pool) != RSL_OK) {
            int saved = errno;
            rsl_pool_crew_stop_(pool);
            pool->stop = false;
            errno = saved;
            return RSL_ESYS;
        }
        pool->crew_count++;
    }
    return RSL_OK;
}

/* Lock held. */
static bool rsl_pool_is_crew_(const rsl_pool *pool)
{
    uint64_t self = rsl_self_();
    for (uint32_t i = 0; i < pool->crew_begun; i++) {
        if (pool->crew_self[i] == self) return true;
    }
    return false;
}
#else
static void rsl_pool_crew_stop_(rsl_pool *pool) { (void)pool; }
static int  rsl_pool_crew_start_(rsl_pool *pool) { (void)pool; return RSL_OK; }
static bool rsl_pool_is_crew_(const rsl_pool *pool) { (void)pool; return false; }
#endif

/* ---- fork ---- */

/* A page for the epoch, and what else a child must not inherit; zeroed by fork. */
static rsl_word_ *rsl_pool_page_new_(uint64_t *mode)
{
#if defined _WIN32 || defined RSL_SCHEDULER_H
    (void)mode;
    return (rsl_word_ *)RSL_MALLOC(3 * sizeof(rsl_word_));
#else
    const uint64_t by_pid = RSL_POOL_BY_PID_ | RSL_POOL_SPECIAL_ | RSL_POOL_TIMED_;
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return NULL;
#ifdef MADV_WIPEONFORK
    int saved = errno;
    if (madvise(page, size, MADV_WIPEONFORK) != 0) *mode |= by_pid;
    errno = saved;
#else
    *mode |= by_pid;
#endif
    return (rsl_word_ *)page;
#endif
}

static void rsl_pool_page_free_(rsl_word_ *page)
{
#if defined _WIN32 || defined RSL_SCHEDULER_H
    RSL_FREE((void *)page);
#else
    munmap((void *)page, (size_t)sysconf(_SC_PAGESIZE));
#endif
}

static uint64_t rsl_pool_pid_(void)
{
#if defined _WIN32 || defined RSL_SCHEDULER_H
    return 1;
#else
    return (uint64_t)getpid();
#endif
}

static void rsl_pools_forget_(rsl_pools *pools);

/* In a forked child, nobody else in here: what the parent had under way is forgotten, what it had
   open is BUSY, to be abandoned. */
static void rsl_pool_forget_(rsl_pool *pool)
{
    pool->queue.first = pool->queue.last = pool->tender = NULL;
    pool->waiting = pool->open = pool->leaving = pool->creating = pool->told = 0;
    pool->tender_knows = pool->owes_pass = false;
    pool->racer = 0;
    pool->marked = pool->closer = pool->stop = pool->sweeping = pool->watching = false;
    pool->crew_count = pool->crew_begun = 0;
    pool->failing = 0;
    pool->sweep_at = 0;
    pool->stamp = (pool->stamp & ~(uint64_t)15) | ((pool->stamp + 1) & 15);
    pool->unleased = 0;
    memset(&pool->stats, 0, sizeof pool->stats);
    pool->calls = pool->vacant = 0;
    memset(pool->keys, 0, pool->keys_count * sizeof *pool->keys); /* names may be half-made */
    rsl_pools_forget_(pool->pools);
    for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        uint64_t word = rsl_load_relaxed_(&slot->word), state = rsl_pool_state_of_(word);
        bool open = state == RSL_POOL_IDLE_ || state == RSL_POOL_LEASED_;
        /* BUSY: in the middle of a callback; what is left of it is not to be touched */
        word = rsl_pool_generation_of_(word) + RSL_POOL_NEXT_;
        rsl_store_(&slot->word, open ? word | RSL_POOL_BUSY_ : word);
        rsl_store_relaxed_(&slot->use_total, 0);
        rsl_store_relaxed_(&slot->use_max, 0);
        pool->unleased += word / RSL_POOL_NEXT_;
        if (!open) continue;
        pool->open++;
        pool->keys[rsl_pool_kind_of_(slot)].open++;
    }
}

/* In a forked child, before the first use: see [FORK]. The first thread to come does it. The lock
   may be held by a thread that does not exist here: it is made anew. */
RSL_NOINLINE_ void rsl_pool_reborn_(rsl_pool *pool)
{
    bool by_pid = pool->mode & RSL_POOL_BY_PID_;
    uint64_t unclaimed = 0, pid = rsl_pool_pid_();
    rsl_word_ *claim = &pool->epoch_page[by_pid ? 2 : 1];
    if (by_pid) unclaimed = rsl_load_(claim);
    if (unclaimed == 1 || unclaimed == pid || !rsl_cas_(claim, &unclaimed, 1)) {
        while (rsl_pool_is_forked_(pool)) rsl_pause_(RSL_MS(1));
        return;
    }
    int saved = errno;
    rsl_lock_init_(&pool->lock);
    rsl_cond_init_(&pool->crew_wakes);
    rsl_cancel_init(&pool->cancel, NULL);
    if (pool->closing) rsl_cancel_fire(&pool->cancel);
    rsl_pool_forget_(pool);
    uint64_t epoch = ++pool->epoch;
    rsl_store_(&pool->epoch_page[0], epoch); /* from here on others come in, */
    rsl_store_(&pool->epoch_page[2], pid);   /* or from here */
    for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        uint64_t word = rsl_load_(&slot->word);
        bool old = rsl_load_relaxed_(&slot->epoch) < epoch;
        if (rsl_pool_state_of_(word) == RSL_POOL_BUSY_ && old)
            rsl_pool_destroy_(pool, slot, RSL_POOL_FORKED, false);
    }
    bool crewless = rsl_pool_crew_start_(pool) != RSL_OK;
    rsl_lock_take_(&pool->lock);
    pool->crewless = crewless;
    rsl_lock_drop_(&pool->lock);
    errno = saved;
}

/* ---- open, close ---- */

/* A block of slots, each on two cache lines of its own; how far malloc's is before it stands
   behind the last. */
static rsl_pool_slot_ *rsl_pool_chunk_new_(uint32_t slots)
{
    enum { line = 64 };
    size_t bytes = slots * sizeof(rsl_pool_slot_);
    char *block = (char *)RSL_MALLOC(bytes + line + sizeof(size_t));
    if (block == NULL) return NULL;
    size_t off = (line - (uintptr_t)block % line) % line;
    memset(block + off, 0, bytes);
    memcpy(block + off + bytes, &off, sizeof off);
    return (rsl_pool_slot_ *)(void *)(block + off);
}

static void rsl_pool_chunk_free_(rsl_pool_slot_ *chunk, uint32_t slots)
{
    size_t off;
    if (chunk == NULL) return;
    memcpy(&off, chunk + slots, sizeof off);
    RSL_FREE((void *)((char *)chunk - off));
}

/* The chunks that `size` slots need beyond the first `have`, into fresh[]; RSL_ENOMEM: none. */
static int rsl_pool_chunks_new_(uint32_t have, uint32_t size, rsl_pool_slot_ **fresh)
{
    uint32_t room = 0;
    for (uint32_t c = 0; c < RSL_POOL_CHUNKS_; c++) fresh[c] = NULL;
    for (uint32_t c = 0; room < size; room += (uint32_t)RSL_POOL_CHUNK_ << c, c++) {
        if (c < have) continue;
        fresh[c] = rsl_pool_chunk_new_((uint32_t)RSL_POOL_CHUNK_ << c);
        if (fresh[c] != NULL) continue;
        while (c-- > 0) {
            rsl_pool_chunk_free_(fresh[c], (uint32_t)RSL_POOL_CHUNK_ << c);
            fresh[c] = NULL;
        }
        return RSL_ENOMEM;
    }
    return RSL_OK;
}

static void rsl_pool_free_(rsl_pool *pool)
{
    for (uint32_t c = 0; c < RSL_POOL_CHUNKS_; c++)
        rsl_pool_chunk_free_(pool->chunk[c], (uint32_t)RSL_POOL_CHUNK_ << c);
    for (uint32_t i = 0; pool->keys != NULL && i < pool->keys_count; i++) {
        if (pool->keys[i].name != NULL) RSL_FREE(pool->keys[i].name);
    }
    if (pool->keys != NULL) RSL_FREE((void *)pool->keys);
    if (pool->memory != NULL) RSL_FREE(pool->memory);
    if (pool->epoch_page != NULL) rsl_pool_page_free_(pool->epoch_page);
    RSL_FREE((void *)pool);
}

static uint64_t rsl_pool_mode_of_(const rsl_pool_config *c, bool keyed)
{
    uint64_t mode = 0;
    if (c->validate != NULL) mode |= RSL_POOL_VALIDATES_;
    if (c->reset != NULL || c->idle_timeout == 0) mode |= RSL_POOL_SPECIAL_;
    if (c->clock.now != NULL) mode |= RSL_POOL_CLOCKED_;
    if (keyed) mode |= RSL_POOL_KEYED_;
    if (mode != 0 || c->leak_after != RSL_FOREVER) mode |= RSL_POOL_TIMED_;
    return mode;
}

/* The memory of a pool whose config is set. */
static int rsl_pool_allocate_(rsl_pool *pool, uint32_t keys)
{
    enum { line = 64 };
    size_t shards = (RSL_POOL_SHARDS_ + 1) * sizeof(rsl_pool_shard_);
    pool->memory = RSL_MALLOC(shards + line);
    pool->keys = (rsl_pool_key_ *)RSL_MALLOC(keys * sizeof(rsl_pool_key_));
    pool->epoch_page = rsl_pool_page_new_(&pool->mode);
    if (pool->keys != NULL) memset(pool->keys, 0, keys * sizeof(rsl_pool_key_));
    if (pool->memory == NULL || pool->keys == NULL || pool->epoch_page == NULL) return RSL_ENOMEM;
    memset(pool->memory, 0, shards + line);
    uintptr_t past = (uintptr_t)pool->memory % line;
    pool->shards = (rsl_pool_shard_ *)(void *)((char *)pool->memory + (line - past) % line);
    pool->keys_count = keys;
    return rsl_pool_chunks_new_(0, pool->config.size_max, pool->chunk);
}

static int rsl_pool_start_(rsl_pool *pool)
{
    int status = rsl_lock_init_(&pool->lock);
    if (status != RSL_OK) return status;
    status = rsl_cond_init_(&pool->crew_wakes);
    if (status == RSL_OK) {
        status = rsl_cancel_init(&pool->cancel, NULL);
        if (status == RSL_OK) {
            status = rsl_pool_crew_start_(pool);
            if (status == RSL_OK) return status;
            rsl_cancel_deinit(&pool->cancel);
        }
        rsl_cond_deinit_(&pool->crew_wakes);
    }
    rsl_lock_deinit_(&pool->lock);
    return status;
}

/* config: checked. keys: how many kinds of resources; key_limit: of each. */
static int rsl_pool_open_(rsl_pool **pool, const rsl_pool_config *config, uint32_t keys,
                          uint32_t key_limit, const rsl_pools_config *keyed)
{
    rsl_pool *p = (rsl_pool *)RSL_MALLOC(sizeof *p);
    if (p == NULL) return RSL_ENOMEM;
    memset(p, 0, sizeof *p);
    p->config = rsl_pool_config_resolve(config);
    p->mode = rsl_pool_mode_of_(&p->config, keyed != NULL);
    if (keyed != NULL) p->create_keyed = keyed->create;
    p->limit = p->config.size_max;
    if (p->config.adaptive) p->limit = p->config.size_min > 1 ? p->config.size_min : 1;
    p->key_limit = key_limit;
    p->key_creating = keyed == NULL || p->config.creating_max < 2 ? p->config.creating_max
                                                                   : p->config.creating_max / 2;
    p->epoch = 1;
    uint64_t number = (uint64_t)(uintptr_t)p ^ (uint64_t)rsl_clock_real_();
    number = number * 0x9e3779b97f4a7c15u >> 40; /* no two pools alike, most likely */
    p->first = number + 1;
    p->stamp = (number & 0xff) << 4;
    int status = rsl_pool_allocate_(p, keys);
    if (status == RSL_OK) {
        memset((void *)p->epoch_page, 0, 3 * sizeof *p->epoch_page);
        p->epoch_page[0] = p->epoch;
        p->epoch_page[2] = rsl_pool_pid_();
        status = rsl_pool_start_(p);
    }
    if (status == RSL_OK) *pool = p;
    else rsl_pool_free_(p);
    return status;
}

int rsl_pool_open(rsl_pool **pool, const rsl_pool_config *config)
{
    if (pool == NULL || rsl_pool_config_check(config) != NULL) return RSL_EINVAL;
    return rsl_pool_open_(pool, config, 1, UINT32_MAX, NULL);
}

/* Names the leases that close does not wait for any longer. */
static void rsl_pool_tell_stragglers_(rsl_pool *pool)
{
    rsl_pool_news_ news;
    for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        rsl_pool_lock_(pool, &news);
        if (rsl_pool_state_of_(rsl_load_(&slot->word)) == RSL_POOL_LEASED_)
            rsl_pool_note_(pool, &news, RSL_POOL_STRAGGLER, "straggler", RSL_ETIMEOUT, (int64_t)i);
        rsl_pool_unlock_(pool, &news);
    }
}

/* Lock held at first: answers who waits, marks what is out; creations are cancelled. */
static void rsl_pool_close_begin_(rsl_pool *pool, rsl_pool_news_ *news)
{
    pool->closer = true;
    pool->closing = true;
    while (pool->queue.first != NULL) rsl_pool_tell_(pool, news, pool->queue.first, RSL_ECLOSED);
    rsl_pool_mark_all_(pool, true);
    rsl_pool_unlock_(pool, news);
    rsl_cancel_fire(&pool->cancel);
    rsl_pool_shed_(pool, true);
}

/* Waits until nothing is out and nobody inside. Returns with the lock held, and `closer` off. */
static int rsl_pool_close_wait_(rsl_pool *pool, const rsl_ctx *ctx, rsl_pool_news_ *news)
{
    const rsl_clock *clock = rsl_clock_pick_(ctx, &pool->config.clock);
    for (;;) {
        int status = rsl_ctx_spent_(ctx, clock);
        rsl_pool_lock_(pool, news);
        if (pool->open + pool->creating + pool->told + pool->calls == 0) status = RSL_OK;
        else if (status == RSL_OK) status = RSL_WAIT;
        bool leased = rsl_pool_count_(pool, RSL_POOL_LEASED_, NULL) > 0;
        bool threads = !pool->config.caller_maintains && (pool->mode & RSL_POOL_CLOCKED_);
        if (status != RSL_WAIT) {
            pool->closer = false;
            return status;
        }
        rsl_pool_unlock_(pool, news);
        rsl_ctx real = {0, ctx->cancel, NULL, 0, 0};
        if (threads && !leased) /* threads at work end in real time */
            rsl_ctx_sleep_(&real, NULL, &pool->close_park, rsl_clock_real_() + RSL_MS(1));
        else
            rsl_ctx_sleep_(ctx, clock, &pool->close_park,
                           ctx->deadline != 0 ? ctx->deadline : RSL_FOREVER);
    }
}

static int rsl_pool_close_(rsl_pool *pool, const rsl_ctx *ctx)
{
    rsl_pool_news_ news;
    ctx = rsl_ctx_or_unlimited_(ctx);
    rsl_pool_lock_(pool, &news);
    if (pool->closer || rsl_pool_is_crew_(pool)) {
        rsl_pool_unlock_(pool, &news);
        return RSL_EINVAL;
    }
    rsl_pool_close_begin_(pool, &news);
    int status = rsl_pool_close_wait_(pool, ctx, &news);
    rsl_pool_unlock_(pool, &news);
    if (status != RSL_OK) {
        rsl_pool_tell_stragglers_(pool);
        return status;
    }
    rsl_pool_crew_stop_(pool);
    rsl_cancel_deinit(&pool->cancel);
    rsl_cond_deinit_(&pool->crew_wakes);
    rsl_lock_deinit_(&pool->lock);
    rsl_pool_free_(pool);
    return RSL_OK;
}

int rsl_pool_close(rsl_pool *pool, const rsl_ctx *ctx)
{
    if (pool == NULL || (pool->mode & RSL_POOL_KEYED_)) return RSL_EINVAL;
    return rsl_pool_close_(pool, ctx);
}

/* ---- running it ---- */

int rsl_pool_resize(rsl_pool *pool, uint32_t size_min, uint32_t size_max)
{
    rsl_pool_news_ news;
    rsl_pool_slot_ *fresh[RSL_POOL_CHUNKS_];
    if (pool == NULL || (pool->mode & RSL_POOL_KEYED_)) return RSL_EINVAL;
    if (size_max < 1 || size_max > RSL_POOL_SIZE_MAX_ || size_min > size_max) return RSL_EINVAL;
    uint32_t have = 0;
    rsl_pool_lock_(pool, &news); /* the chunks stay once they are there */
    while (have < RSL_POOL_CHUNKS_ && pool->chunk[have] != NULL) have++;
    rsl_pool_unlock_(pool, &news);
    if (rsl_pool_chunks_new_(have, size_max, fresh) != RSL_OK) return RSL_ENOMEM;
    rsl_pool_lock_(pool, &news);
    int status = pool->closing ? RSL_ECLOSED : RSL_OK;
    if (status == RSL_OK) {
        uint32_t limit = size_max;
        if (pool->config.adaptive && pool->limit < limit) limit = pool->limit;
        if (limit < size_min) limit = size_min;
        for (uint32_t c = 0; c < RSL_POOL_CHUNKS_; c++) {
            if (pool->chunk[c] != NULL) continue;
            pool->chunk[c] = fresh[c];
            fresh[c] = NULL;
        }
        pool->config.size_min = size_min;
        pool->config.size_max = size_max;
        rsl_pool_limit_(pool, &news, limit);
        pool->sweep_at = 0;
        if (!pool->config.caller_maintains) rsl_cond_signal_(&pool->crew_wakes);
    }
    rsl_pool_unlock_(pool, &news);
    for (uint32_t c = 0; c < RSL_POOL_CHUNKS_; c++)
        rsl_pool_chunk_free_(fresh[c], (uint32_t)RSL_POOL_CHUNK_ << c);
    if (status == RSL_OK) rsl_pool_shed_(pool, false);
    return status;
}

void rsl_pool_invalidate_all(rsl_pool *pool)
{
    rsl_pool_news_ news;
    if (pool == NULL) return;
    rsl_pool_lock_(pool, &news);
    rsl_store_(pool->epoch_page, ++pool->epoch);
    pool->sweep_at = 0;
    if (!pool->config.caller_maintains) rsl_cond_signal_(&pool->crew_wakes);
    rsl_pool_note_(pool, &news, RSL_POOL_INVALIDATED, "invalidated", 0, 0);
    rsl_pool_unlock_(pool, &news);
}

int rsl_pool_pause(rsl_pool *pool)
{
    rsl_pool_news_ news;
    if (pool == NULL) return RSL_EINVAL;
    rsl_pool_lock_(pool, &news);
    int status = pool->closing ? RSL_ECLOSED : RSL_OK;
    if (status == RSL_OK && !pool->paused) {
        pool->paused = true;
        rsl_pool_mark_all_(pool, true);
        rsl_pool_note_(pool, &news, RSL_POOL_PAUSED, "paused", 0, 0);
    }
    rsl_pool_unlock_(pool, &news);
    return status;
}

/* What was withheld goes to those who waited, in turn. */
int rsl_pool_resume(rsl_pool *pool)
{
    rsl_pool_news_ news;
    if (pool == NULL) return RSL_EINVAL;
    rsl_pool_lock_(pool, &news);
    int status = pool->closing ? RSL_ECLOSED : RSL_OK;
    bool resumed = status == RSL_OK && pool->paused;
    if (resumed) {
        pool->paused = false;
        pool->marked = pool->waiting > 0; /* pause marked what was out; since then all that goes */
        rsl_pool_note_(pool, &news, RSL_POOL_RESUMED, "resumed", 0, 0);
    }
    uint32_t extent = resumed ? rsl_pool_extent_(pool) : 0;
    for (uint32_t i = 0; i < extent; i++) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        uint64_t word = rsl_load_(&slot->word), plain = rsl_pool_unmarked_(word);
        if (word == plain || rsl_pool_state_of_(word) != RSL_POOL_IDLE_) continue;
        rsl_store_(&slot->word, plain - RSL_POOL_IDLE_ + RSL_POOL_BUSY_);
        rsl_pool_offer_(pool, &news, slot);
    }
    rsl_pool_unlock_(pool, &news);
    return status;
}

/* ---- looking at it ---- */

/* Lock held: what the slots say, of one key or of all. */
static void rsl_pool_look_(rsl_pool *pool, rsl_pool_stats *stats, const uint32_t *key,
                           rsl_time now)
{
    for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        uint64_t word = rsl_load_(&slot->word), state = rsl_pool_state_of_(word);
        rsl_time taken = (rsl_time)rsl_load_relaxed_(&slot->taken_at);
        rsl_time used = (rsl_time)rsl_load_relaxed_(&slot->use_max);
        stats->acquired += word / RSL_POOL_NEXT_;
        if (used > stats->use_max) stats->use_max = used;
        if (key != NULL && rsl_pool_kind_of_(slot) != *key) continue;
        if (state == RSL_POOL_IDLE_) stats->idle++;
        if (state == RSL_POOL_LEASED_ || state == RSL_POOL_BUSY_) stats->in_use++;
        if (state == RSL_POOL_LEASED_ && taken != 0 && now - taken >= pool->config.leak_after)
            stats->leaking++;
    }
    stats->open = stats->idle + stats->in_use;
}

void rsl_pool_stats_get(rsl_pool *pool, rsl_pool_stats *stats)
{
    rsl_pool_news_ news;
    if (stats == NULL) return;
    memset(stats, 0, sizeof *stats);
    if (pool == NULL) return;
    rsl_pool_lock_(pool, &news);
    *stats = pool->stats;
    rsl_pool_look_(pool, stats, NULL, news.coarse);
    stats->acquired -= pool->unleased < stats->acquired ? pool->unleased : stats->acquired;
    stats->size_max = pool->config.size_max;
    stats->size_now = pool->limit;
    stats->creating = pool->creating;
    stats->waiting = pool->waiting;
    stats->use_total = rsl_pool_use_total_(pool);
    rsl_pool_unlock_(pool, &news);
}

uint32_t rsl_pool_health(rsl_pool *pool)
{
    rsl_pool_news_ news;
    rsl_pool_stats s;
    uint32_t warnings = 0;
    if (pool == NULL) return 0;
    memset(&s, 0, sizeof s);
    rsl_pool_lock_(pool, &news);
    rsl_pool_look_(pool, &s, NULL, news.coarse);
    uint32_t spare = pool->limit > s.in_use ? pool->limit - s.in_use : 0;
    if (spare <= pool->limit / 5) warnings |= RSL_POOL_LOW_FREE;
    if (spare == 0) warnings |= RSL_POOL_NO_IDLE;
    if (pool->waiting > 0) warnings |= RSL_POOL_WAITING;
    if (s.leaking > 0) warnings |= RSL_POOL_LEAK;
    if (pool->failing > 0) warnings |= RSL_POOL_CANNOT_CREATE;
    rsl_pool_unlock_(pool, &news);
    return warnings;
}

const char *rsl_pool_warning(uint32_t warnings)
{
    if (warnings & RSL_POOL_LEAK) return "leak";
    if (warnings & RSL_POOL_CANNOT_CREATE) return "cannot create";
    if (warnings & RSL_POOL_WAITING) return "waiting";
    if (warnings & RSL_POOL_NO_IDLE) return "no idle";
    return warnings & RSL_POOL_LOW_FREE ? "low free" : "healthy";
}

size_t rsl_pool_holders(rsl_pool *pool, rsl_pool_holder *holders, size_t max)
{
    rsl_pool_news_ news;
    size_t count = 0;
    if (pool == NULL) return 0;
    rsl_pool_lock_(pool, &news);
    for (uint32_t i = 0, extent = rsl_pool_extent_(pool); i < extent; i++) {
        rsl_pool_slot_ *slot = rsl_pool_slot_at_(pool, i);
        rsl_time taken = (rsl_time)rsl_load_relaxed_(&slot->taken_at);
        if (rsl_pool_state_of_(rsl_load_(&slot->word)) != RSL_POOL_LEASED_) continue;
        if (count < max) {
            holders[count].slot = i;
            holders[count].thread = rsl_load_relaxed_(&slot->holder);
            holders[count].held = taken != 0 && news.coarse > taken ? news.coarse - taken : 0;
        }
        count++;
    }
    rsl_pool_unlock_(pool, &news);
    return count;
}

/* ---- keyed pools: one pool whose slots and waiters have a key, and a map from names to keys.
   All of it is guarded by the pool's lock; an index stays while anything of it is counted. ---- */

#ifdef RSL_NO_MAP_
static void rsl_pools_forget_(rsl_pools *pools) { (void)pools; }
#else
struct rsl_pools {
    rsl_pool *pool;  /* constant */
    rsl_map_  map;   /* guarded by pool->lock */
    bool      lost;  /* in a forked child: the map is to be made anew; guarded by pool->lock */
};

/* In a forked child, nobody else in here: the map may be half-written, and is left. */
static void rsl_pools_forget_(rsl_pools *pools)
{
    if (pools == NULL) return;
    pools->lost = rsl_map_init_(&pools->map) != RSL_OK;
}

static rsl_pools_config rsl_pools_config_resolve_(const rsl_pools_config *config)
{
    rsl_pools_config c = *config;
    if (c.total_max == 0) c.total_max = 100;
    if (c.keys_max == 0) c.keys_max = 1024;
    return c;
}

static int rsl_pools_no_create_(void *user, const rsl_ctx *ctx, void **resource)
{
    (void)user, (void)ctx, (void)resource;
    return RSL_EINVAL;
}

const char *rsl_pools_config_check(const rsl_pools_config *config)
{
    if (config == NULL || config->create == NULL) return "create: must be set";
    rsl_pools_config c = rsl_pools_config_resolve_(config);
    if (c.total_max > RSL_POOL_SIZE_MAX_) return "total_max: must lie in 1..65536";
    if (c.keys_max > 65535) return "keys_max: must lie in 1..65535";
    if (c.each.size_min != 0) return "each.size_min: must not be set";
    if (c.each.adaptive) return "each.adaptive: must not be set";
    c.each.create = rsl_pools_no_create_;
    return rsl_pool_config_check(&c.each);
}

int rsl_pools_open(rsl_pools **pools, const rsl_pools_config *config)
{
    if (pools == NULL || rsl_pools_config_check(config) != NULL) return RSL_EINVAL;
    rsl_pools_config c = rsl_pools_config_resolve_(config);
    uint32_t key_limit = c.each.size_max != 0 ? c.each.size_max : 10;
    rsl_pools *p = (rsl_pools *)RSL_MALLOC(sizeof *p);
    if (p == NULL) return RSL_ENOMEM;
    memset(p, 0, sizeof *p);
    int status = rsl_map_init_(&p->map);
    c.each.size_max = c.total_max;
    if (c.each.creating_max == 0) c.each.creating_max = 4;
    if (status == RSL_OK) {
        status = rsl_pool_open_(&p->pool, &c.each, c.keys_max + 1, key_limit, &c);
        if (status != RSL_OK) rsl_map_deinit_(&p->map);
    }
    if (status == RSL_OK) {
        p->pool->pools = p;
        *pools = p;
    } else {
        RSL_FREE((void *)p);
    }
    return status;
}

int rsl_pools_close(rsl_pools *pools, const rsl_ctx *ctx)
{
    if (pools == NULL) return RSL_EINVAL;
    int status = rsl_pool_close_(pools->pool, ctx);
    if (status != RSL_OK) return status;
    rsl_map_deinit_(&pools->map);
    RSL_FREE((void *)pools);
    return RSL_OK;
}

rsl_pool *rsl_pools_pool(rsl_pools *pools)
{
    return pools != NULL ? pools->pool : NULL;
}

static bool rsl_pool_key_is_idle_(const rsl_pool_key_ *key)
{
    return key->open + key->creating + key->waiting + key->used == 0;
}

/* Lock held: an index for one more key; if need be the one longest unused is forgotten. 0: none.
   */
static uint32_t rsl_pools_room_(rsl_pools *pools)
{
    rsl_pool *pool = pools->pool;
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < pool->keys_count; i++) {
        rsl_pool_key_ *key = &pool->keys[i];
        if (!rsl_pool_key_is_idle_(key)) continue;
        if (key->name == NULL) return i;
        if (oldest == 0 || key->used_at < pool->keys[oldest].used_at) oldest = i;
    }
    if (oldest == 0) return 0;
    rsl_map_del_(&pools->map, pool->keys[oldest].name);
    RSL_FREE(pool->keys[oldest].name);
    rsl_pool_recover_(pool, &pool->keys[oldest]);
    memset(&pool->keys[oldest], 0, sizeof pool->keys[oldest]);
    return oldest;
}

/* Lock held: the index of a key that is not known yet. */
static int rsl_pools_add_(rsl_pools *pools, const char *name, size_t length, uint32_t *index)
{
    if (pools->lost) pools->lost = rsl_map_init_(&pools->map) != RSL_OK;
    if (pools->lost) return RSL_ENOMEM;
    uint32_t room = rsl_pools_room_(pools);
    if (room == 0) return RSL_EFULL;
    char *copy = (char *)RSL_MALLOC(length + 1);
    if (copy == NULL) return RSL_ENOMEM;
    memcpy(copy, name, length + 1);
    int status = rsl_map_put_(&pools->map, copy, room);
    if (status != RSL_OK) {
        RSL_FREE(copy);
        return status;
    }
    pools->pool->keys[room].name = copy;
    *index = room;
    return RSL_OK;
}

/* Finds or adds a key, and holds it until rsl_pools_done_. */
static int rsl_pools_find_(rsl_pools *pools, const char *name, uint32_t *index)
{
    rsl_pool_news_ news;
    if (pools == NULL || name == NULL) return RSL_EINVAL;
    size_t length = strnlen(name, RSL_MAP_KEY_MAX_ + 1);
    if (length > RSL_MAP_KEY_MAX_) return RSL_EINVAL;
    rsl_pool_lock_(pools->pool, &news);
    int status = RSL_OK;
    if (pools->pool->closing) status = RSL_ECLOSED;
    else if (!rsl_map_get_(&pools->map, name, index))
        status = rsl_pools_add_(pools, name, length, index);
    if (status == RSL_OK) {
        pools->pool->keys[*index].used++;
        pools->pool->keys[*index].used_at = news.now;
        pools->pool->calls++;
    }
    rsl_pool_unlock_(pools->pool, &news);
    return status;
}

static void rsl_pools_done_(rsl_pools *pools, uint32_t index)
{
    rsl_pool_news_ news;
    rsl_pool_lock_(pools->pool, &news);
    if (pools->pool->calls > 0) { /* 0: in a forked child */
        pools->pool->calls--;
        pools->pool->keys[index].used--;
    }
    rsl_pool_unlock_(pools->pool, &news);
}

int rsl_pools_acquire(rsl_pools *pools, const char *key, const rsl_ctx *ctx,
                      rsl_pool_lease *lease)
{
    uint32_t index;
    if (lease == NULL) return RSL_EINVAL;
    int status = rsl_pools_find_(pools, key, &index);
    if (status != RSL_OK) return status;
    status = rsl_pool_acquire_within_(pools->pool, rsl_ctx_or_unlimited_(ctx), index, lease);
    rsl_pools_done_(pools, index);
    return status;
}

int rsl_pools_try(rsl_pools *pools, const char *key, rsl_pool_lease *lease)
{
    uint32_t index;
    if (lease == NULL) return RSL_EINVAL;
    int status = rsl_pools_find_(pools, key, &index);
    if (status != RSL_OK) return status;
    status = rsl_pool_try_(pools->pool, index, lease);
    rsl_pools_done_(pools, index);
    return status;
}

int rsl_pools_begin(rsl_pools *pools, const char *key, const rsl_ctx *ctx, rsl_waiter *waiter,
                    rsl_pool_lease *lease)
{
    uint32_t index;
    if (pools == NULL || lease == NULL) return RSL_EINVAL;
    if (!rsl_pool_may_begin_(pools->pool, waiter)) return RSL_EINVAL;
    int status = rsl_pools_find_(pools, key, &index);
    if (status != RSL_OK) return status;
    status = rsl_pool_begin_keyed_(pools->pool, ctx, index, waiter, lease);
    rsl_pools_done_(pools, index);
    return status;
}

bool rsl_pools_stats_get(rsl_pools *pools, const char *key, rsl_pool_stats *stats)
{
    rsl_pool_news_ news;
    uint32_t index = 0;
    if (stats == NULL) return false;
    memset(stats, 0, sizeof *stats);
    if (pools == NULL || key == NULL) return false;
    if (strnlen(key, RSL_MAP_KEY_MAX_ + 1) > RSL_MAP_KEY_MAX_) return false;
    rsl_pool_lock_(pools->pool, &news);
    bool known = rsl_map_get_(&pools->map, key, &index);
    if (known) {
        rsl_pool_look_(pools->pool, stats, &index, news.coarse);
        stats->acquired = 0;
        stats->use_max = 0;
        stats->size_max = pools->pool->key_limit;
        stats->creating = pools->pool->keys[index].creating;
        stats->waiting = pools->pool->keys[index].waiting;
    }
    rsl_pool_unlock_(pools->pool, &news);
    return known;
}
#endif /* RSL_NO_MAP_ */

#endif /* RSL_POOL_IMPLEMENTATION */

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
