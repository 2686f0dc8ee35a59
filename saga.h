/* saga.h -- sagas: work in several steps, each with a compensation that undoes it. All steps are
   done, or those that were done, or may have been, are undone; also when the program is killed in
   the middle, if a journal is kept.

       #define RSL_SAGA_IMPLEMENTATION             in one C file of the program
       #include "saga.h"

       static const rsl_saga_step steps[] = {
           {.name = "reserve", .run = reserve, .undo = release},
           {.name = "charge",  .run = charge,  .undo = refund},
           {.name = "ship",    .run = ship,    .flags = RSL_STEP_PIVOT},
       };
       static const rsl_saga_def order = {"order", 1, steps, RSL_COUNT(steps), RSL_SEC(60)};

       int rc = rsl_saga_run(&order, &ctx, &cart);      in memory: RSL_OK, or RSL_EUNWOUND

       rsl_sagas *sagas;                                with a journal in a folder
       rsl_sagas_config config = {.path = "/var/lib/shop/sagas"};
       if (rsl_sagas_open(&sagas, &config) != RSL_OK) ...
       rsl_sagas_register(sagas, &order, &shop);
       rsl_sagas_recover(sagas);                        what a crash interrupted goes on
       rsl_sagas_start(sagas, "order", "order-4711", &cart, sizeof cart, &id);
       rsl_sagas_wait(sagas, id, &ctx, &state);

   A step:

               OK
       IDLE -> RUNNING ------------------------> DONE ---------+
        ^       |  ^ \                                         | unwinding
        |  RETRY|  |  \ FAIL, nothing before it left in doubt  v
        |       v  |   +---------> FAILED          UNDOING <-> UNDO_WAITING
        |     WAITING \                              ^   |\
        |              \ UNKNOWN, or out of attempts |   | \ out of attempts
        |               +---------> UNKNOWN ---------+   |  +--> STUCK -- operator
        |                           (maybe done)         v
        +-------- going on from a savepoint ---------- UNDONE

   A saga: RUNNING -> DONE, or UNWINDING -> UNWOUND. PARKED: a step is STUCK and nothing else is
   left to do; an operator has it retried, skipped, or the saga ABANDONED.

   The log is the state. Each change is a record; one function folds records into a view, one
   function says from a view what is to happen next, and a program that runs, a program that
   recovers and the tests use the same two. What must be durable is so before what depends on it
   begins:

       BEGIN   before rsl_sagas_start returns        DONE    before a step that comes after it
       START   before a step's function is called    FAIL, UNWIND   before the first compensation

   Invariants. A step whose START is durable and whose end is not known counts as maybe done. No
   compensation begins while a step that comes after its step is under way or not yet undone. Of a
   store, nothing is dispatched once one append has failed. While records wait to be appended, a
   thread appends, or is awake and about to.

   Options, to be defined before the implementation: RSL_STATIC (private copies), RSL_NO_THREADS
   (then config.caller_works must be set), RSL_MALLOC with RSL_FREE (used by run, open, register,
   start and rsl_step_put only), RSL_ASSERT. The durable part needs stb_ds.h beside this file or as
   <stb/stb_ds.h>; where it is not found, or with RSL_NO_STB_DS, only rsl_saga_run is there. The
   journal in a folder needs POSIX. Link with -pthread. */
#ifndef RSL_SAGA_H
#define RSL_SAGA_H

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

/* ---- definitions ---- */

enum {
    RSL_SAGA_STEPS_MAX = 256,
    RSL_SAGA_NAME_MAX  = 63, /* bytes of a name; of sagas and steps */
    RSL_SAGA_KEY_MAX   = 255 /* bytes of the key of a saga */
};

/* What became of one call of a step's function. */
typedef enum rsl_outcome {
    RSL_STEP_OK,     /* done */
    RSL_STEP_FAIL,   /* not done: certainly no effect of this call */
    RSL_STEP_RETRY,  /* call again later, with the same key; out of attempts it is UNKNOWN */
    RSL_STEP_UNKNOWN /* it may have happened: compensated as "maybe" */
} rsl_outcome;

/* One call of a step, as the step sees it: read it through rsl_step_*(). */
typedef struct rsl_step rsl_step;

/* A step's action or compensation. It may be called more than once for one purpose, after RETRY
   and after a crash: always with the same rsl_step_key, by which the far side must tell. A
   compensation must also bear that there is nothing to undo (rsl_step_maybe). arg: what
   rsl_saga_run or rsl_sagas_register were given. Any number that is no outcome is UNKNOWN. It may
   call the functions of the runtime, but for rsl_sagas_close, and waits for other sagas only if
   there are threads to run them. */
typedef rsl_outcome (*rsl_step_fn)(rsl_step *step, void *arg);

/* Waits between attempts: delay_first x multiplier^(n-1), at most delay_max; no jitter, for the
   time is written into the journal as the step's own. Zero means the default. */
typedef struct rsl_saga_retry {
    uint32_t attempts_max; /* all attempts, the first included; those that a crash cut short are
                              not counted, but after 16 of them the step counts as the cause: its
                              outcome is in doubt, or it is parked (run: 3; undo: 8) */
    rsl_time delay_first;  /* RSL_NONE: none (100 ms) */
    rsl_time delay_max;    /* (10 s, or delay_first if that is more) */
    double   multiplier;   /* >= 1 (2.0) */
} rsl_saga_retry;

enum {
    RSL_STEP_PIVOT     = 1, /* once it is done there is no way back: the saga goes forward. Once it
                               has begun, deadline and cancel do not count any more */
    RSL_STEP_RETRIABLE = 2, /* never fails for good: any outcome but OK is tried again, without
                               end; that is what must come after a pivot */
    RSL_STEP_SAVEPOINT = 4  /* when a step after this one fails, only what comes after this one is
                               undone, and then begun anew, retry.attempts_max times in all */
};

typedef struct rsl_saga_step {
    const char    *name;    /* unique in its saga, without '/' and ',' and control characters */
    rsl_step_fn    run;     /* required */
    rsl_step_fn    undo;    /* NULL: there is nothing to undo */
    const char    *after;   /* NULL: the step before; "": none; "a,b": those */
    rsl_saga_retry retry, undo_retry;
    rsl_time       timeout; /* of one call, for the deadline of its ctx (RSL_FOREVER) */
    unsigned       flags;   /* of RSL_STEP_... */
} rsl_saga_step;

typedef struct rsl_saga_def {
    const char          *name;
    uint32_t             version;
    const rsl_saga_step *steps;
    size_t               count;    /* 1..RSL_SAGA_STEPS_MAX */
    rsl_time             deadline; /* span from its start, after which a saga unwinds, unless its
                                      pivot has begun; 0 or RSL_FOREVER: none */
} rsl_saga_def;

/* NULL when the definition can be run, else the reason; *step (may be NULL) is then the name of
   the step at fault, or NULL if it is none. Refused: no name, no steps, too many, a name that is
   missing, too long, doubled or has characters that names cannot have; no run; `after` that names
   an unknown step, the step itself, or closes a cycle; two pivots; beside a pivot or after it a
   step that can be neither undone nor relied on: each other step must come before the pivot, or
   after it and be RETRIABLE; SAVEPOINT on a step after the pivot; numbers out of range. NULL def:
   "def: must not be NULL". The text is static. Pure; its cost grows with the square of count. */
RSL_API const char *rsl_saga_def_check(const rsl_saga_def *def, const char **step);

/* A definition made at run time, step by step. A value object; add copies names. */
typedef struct rsl_saga_builder {
    rsl_saga_def   def;     /* to be used once all steps are added; valid until deinit or add */
    rsl_saga_step *steps_;  /* an array of stb_ds, or NULL */
    char           name_[RSL_SAGA_NAME_MAX + 1];
} rsl_saga_builder;

/* ---- in memory ---- */

/* Runs a saga in the calling thread, without a journal: steps one after another, waits between
   attempts included. Steps are run under ctx (NULL: no limits) and the definition's deadline;
   when either ends, or ctx is cancelled, the saga unwinds; compensations ignore both. Waits on the
   ctx's clock.
   Returns RSL_OK: all done; RSL_EUNWOUND: all that was done, or may have been, is undone;
   RSL_EPARKED: a compensation is out of attempts, or a pivot's outcome is unknown; all that could
   be undone without it is. RSL_EINVAL: rsl_saga_def_check has a reason; RSL_ENOMEM; nothing was
   run then. Allocates once, at the start, and not at all for up to 16 steps; takes about 4 KiB of
   stack. errno is as the steps left it. */
RSL_API int rsl_saga_run(const rsl_saga_def *def, const rsl_ctx *ctx, void *arg);

/* ---- the runtime ---- */

typedef struct rsl_sagas rsl_sagas;
typedef uint64_t rsl_saga_id; /* from 1; of a store; never used again */
typedef struct rsl_saga_store rsl_saga_store;

typedef enum rsl_saga_state {
    RSL_SAGA_RUNNING,
    RSL_SAGA_UNWINDING,
    RSL_SAGA_DONE,
    RSL_SAGA_UNWOUND,
    RSL_SAGA_PARKED,
    RSL_SAGA_ABANDONED /* by rsl_sagas_resolve: ended as it stood */
} rsl_saga_state;

typedef enum rsl_saga_verb {
    RSL_SAGA_RETRY,  /* calls the parked step again, with all its attempts */
    RSL_SAGA_SKIP,   /* takes it for done: somebody did it by hand */
    RSL_SAGA_ABANDON /* ends the saga as it stands; nothing more is run or undone */
} rsl_saga_verb;

/* Zero means the default in brackets. */
typedef struct rsl_sagas_config {
    const char *path;           /* folder of the file journal, made if it is not there; or */
    const rsl_saga_store *store;/* a store of one's own, copied; open closes it too if it fails,
                                   unless rsl_sagas_config_check has a reason; one of both is
                                   required */
    uint32_t    threads;        /* steps run at once, 1..1024 (2) */
    uint32_t    live_max;       /* sagas not ended, 1..16777216 (65536) */
    size_t      payload_max;    /* bytes of a payload, and of a step's output; at most 16 MiB
                                   (64 KiB) */
    rsl_time    claim_for;      /* how long a host owns a saga of a shared store before it must
                                   renew, which it does at a third of it; 100 ms to 1 h (15 s) */
    rsl_clock    clock;         /* for waits, deadlines and leases (real) */
    rsl_observer observer;      /* told of enum rsl_saga_event (none) */
    uint32_t    finished_max;   /* ended sagas whose key and state are remembered, the oldest
                                   forgotten first; RSL_UNLIMITED allowed (65536) */
    bool        caller_works;   /* no threads: all is done in rsl_sagas_work and _wait (false) */
    bool        salvage;        /* of a corrupt journal, take what is whole: sagas with a hole in
                                   their log are parked, new ids begin 2^32 higher, the file is
                                   kept as journal.damaged (false: refused with RSL_ECORRUPT) */
    /* Runs fn(NULL, arg) once, soon, in a thread of one's own; rsl_workers_submit fits behind it.
       task: task_size bytes for its use, zeroed before their first one, aligned to 64. Anything
       but RSL_OK: refused, and asked again a little later. (The runtime's own threads.) */
    int       (*submit)(void *user, rsl_fn fn, void *arg, void *task);
    void       *submit_user;
    size_t      task_size;      /* at most 65536 (0) */
    bool      (*submit_ended)(void *task); /* whether the task is free again, as
                                   rsl_task_has_ended; asked from its first use on (free once fn
                                   has returned) */
    char       *error;          /* where open writes why it failed, a sentence (NULL: nowhere) */
    size_t      error_size;     /* bytes there */
} rsl_sagas_config;

/* Events: one for each record, told when it is durable, before anything that depends on it
   begins. source: the step's name, or the definition's where there is no step; value: the saga's
   id; status: what rsl_step_fail gave, or why. */
typedef enum rsl_saga_event {
    RSL_SAGA_BEGUN = 1,
    RSL_SAGA_STEP_STARTED,
    RSL_SAGA_STEP_DONE,
    RSL_SAGA_STEP_RETRIES,   /* RETRY, or a retriable step that failed */
    RSL_SAGA_STEP_FAILED,    /* certainly no effect */
    RSL_SAGA_STEP_IN_DOUBT,  /* UNKNOWN, or out of attempts */
    RSL_SAGA_UNDO_STARTED,
    RSL_SAGA_UNDO_DONE,
    RSL_SAGA_UNDO_RETRIES,
    RSL_SAGA_STEP_PARKED,
    RSL_SAGA_STEP_PUT_OFF,   /* it was not called, as if never started: the runtime is closed, or
                                the lease is over */
    RSL_SAGA_TURNS_BACK,     /* begins to unwind; status: RSL_ETIMEOUT, RSL_ECANCELED, or what the
                                step said */
    RSL_SAGA_TURNS_FORTH,    /* goes on from a savepoint */
    RSL_SAGA_RESOLVED,       /* by an operator; status: the verb */
    RSL_SAGA_ENDED,          /* status: RSL_OK, RSL_EUNWOUND, or RSL_ECANCELED if abandoned */
    RSL_SAGA_CLAIMED,        /* from a shared store: another host had it, or nobody */
    RSL_SAGA_LOST,           /* left to others; status: RSL_EFENCED: one has it; RSL_ETIMEOUT: its
                                lease is over by our clock, and what its steps come to may still
                                follow; RSL_EIO: the store failed */
    RSL_SAGA_STORE_FAILED    /* no more is dispatched; status: RSL_EIO */
} rsl_saga_event;

typedef struct rsl_saga_info {
    rsl_saga_id    id;
    rsl_saga_state state;
    const char    *def, *key;  /* valid during the call */
    uint32_t       version;
    uint32_t       steps_done, steps_count; /* 0 and 0 once it has ended */
    const char    *step;       /* parked, else the one that failed; NULL: none */
    int            status;     /* of that step; or why the saga is parked: RSL_EINVAL: its
                                  definition is not known or has changed; RSL_ECORRUPT: a hole in
                                  its log */
    uint64_t       epoch;      /* of its latest owner */
} rsl_saga_info;

typedef struct rsl_sagas_stats {
    uint32_t live, parked, finished; /* now; finished: remembered */
    uint32_t running, ready;         /* steps now */
    uint64_t begun, done, unwound, abandoned; /* since open */
    uint64_t records, appends, compactions;   /* written; syncs of the store for them */
    bool     failed;                 /* the store takes no more */
} rsl_sagas_stats;

#if defined RSL_STATIC && (defined RSL_NO_STB_DS || !defined __has_include)
#define RSL_SAGA_NOT_DURABLE_ 1 /* a private copy that could not be defined is not declared */
#elif defined RSL_STATIC
#if !__has_include("stb_ds.h") && !__has_include(<stb/stb_ds.h>) && !__has_include(<stb_ds.h>)
#define RSL_SAGA_NOT_DURABLE_ 1
#endif
#endif

#ifndef RSL_SAGA_NOT_DURABLE_
/* NULL when open would take the config, else the field and the reason, as "threads: must be at
   most 1024"; the text is static. Says nothing of the folder. NULL config: "path: must be set, or
   store". Pure. */
RSL_API const char *rsl_sagas_config_check(const rsl_sagas_config *config);

/* The values in force: each zero replaced by its default. NULL gives all defaults. Pure. */
RSL_API rsl_sagas_config rsl_sagas_config_resolve(const rsl_sagas_config *config);

/* Opens the journal or store, reads it, and starts threads (config.threads + 1, or with
   config.submit one; for a shared store two more; they take no signals). Nothing of what was read
   is run before rsl_sagas_recover. The config is copied; what it points to stays the caller's.
   RSL_EINVAL: sagas is NULL, the config is wrong, path is a symbolic link, is not ours or others
   may write there, or the journal is of a newer version; RSL_EFENCED: another process has it;
   RSL_ECORRUPT: damage that is no torn end; RSL_EIO, RSL_ESYS (errno), RSL_ENOMEM. config.error
   says which file, and at which offset; nothing is left behind and *sagas is unchanged. A torn
   end, as a power cut leaves it, is cut off and kept as journal.torn. Blocks for I/O: reads the
   whole journal and writes what is needed of it to a new one. Not in a forked child: open anew. */
RSL_API int rsl_sagas_open(rsl_sagas **sagas, const rsl_sagas_config *config);

/* Starts nothing more, waits for steps under way to the ctx's deadline or cancel (NULL: for ever),
   and frees. Only RSL_OK frees. RSL_ETIMEOUT, RSL_ECANCELED: closed to new work (RSL_ECLOSED), but
   still allocated: call again. What is unfinished resumes at the next open; leases are given back.
   RSL_EINVAL: NULL, or called by a step; nor may an observer call it. The caller sees to it that
   no other thread is in a call of this object any more, or comes to one: waits end with
   RSL_ECLOSED. */
RSL_API int rsl_sagas_close(rsl_sagas *sagas, const rsl_ctx *ctx);

/* Makes a definition known; it is copied, arg goes to its steps. The version with the highest
   number is the one that start uses; sagas begun under another go on with theirs. RSL_EINVAL:
   NULL, rsl_saga_def_check has a reason, or name and version are registered already; RSL_ENOMEM.
   From any thread; does not block. */
RSL_API int rsl_sagas_register(rsl_sagas *sagas, const rsl_saga_def *def, void *arg);

/* Lets go on what was read at open: after the definitions are registered. It returns at once, the
   work is done in the background. A saga whose definition is not registered under its version, or
   has changed since (other steps, order, flags, a compensation more or less), is parked until it
   is, and recover is called again. With a shared store, sagas that no host owns are claimed from
   now on, again and again. RSL_EINVAL: NULL; RSL_ECLOSED, RSL_EIO. From any thread. */
RSL_API int rsl_sagas_recover(rsl_sagas *sagas);

/* Begins a saga; returns when its beginning is durable. def: the name of a definition. key: 1 to
   RSL_SAGA_KEY_MAX bytes, any but 0: the same key twice is the same saga, which is begun once
   (whatever its def and payload), for as long as it is remembered. payload: size bytes, copied,
   for rsl_step_payload (NULL and 0: none). *id is written on RSL_OK; may be NULL.
   RSL_EINVAL: NULL, no such def, a key that is empty or too long, a payload over payload_max;
   RSL_EFULL: live_max; RSL_ENOMEM; RSL_ECLOSED; in a shared store it may have begun all the same,
   and the same key tells. RSL_EIO: it may or may not have begun: the same key tells after the next
   open. From any thread; blocks for one sync, shared with others. */
RSL_API int rsl_sagas_start(rsl_sagas *sagas, const char *def, const char *key,
                            const void *payload, size_t size, rsl_saga_id *id);

/* Waits until the saga has ended or is parked: RSL_OK, and *state (may be NULL). RSL_ETIMEOUT,
   RSL_ECANCELED: ctx (NULL: no limits) ended before; RSL_EINVAL: NULL, or no such saga;
   RSL_ECLOSED; RSL_EIO: the store failed, and how it ends shows after the next open. From any
   thread. With config.caller_works, the work is done here. */
RSL_API int rsl_sagas_wait(rsl_sagas *sagas, rsl_saga_id id, const rsl_ctx *ctx,
                           rsl_saga_state *state);

/* Has a saga unwind; returns when that is durable, not when it is done. The ctx's cancel of steps
   under way fires. RSL_OK also when it unwinds already. RSL_EINVAL: NULL, no such saga, it has
   ended, or its pivot has begun: there is no way back; but of a pivot that is parked it says that
   it has not happened. Of another host's saga it is a wish, which that host heeds within a third
   of claim_for if it still can. RSL_ECLOSED, RSL_EIO, RSL_EFENCED. */
RSL_API int rsl_sagas_cancel(rsl_sagas *sagas, rsl_saga_id id);

/* An operator's word on a parked step; returns when it is durable. step: its name; with
   RSL_SAGA_ABANDON it may be NULL, and the saga may be parked for any reason. RSL_EINVAL: NULL, no
   such saga or step, or it is not parked; RSL_EFULL: of a shared store, with live_max sagas here
   already; RSL_ECLOSED, RSL_EIO, RSL_EFENCED. */
RSL_API int rsl_sagas_resolve(rsl_sagas *sagas, rsl_saga_id id, const char *step,
                              rsl_saga_verb verb);

/* Calls visit for each saga in one of the states (a mask of 1u << RSL_SAGA_...; 0: all), by id,
   until it returns false; with a shared store, those of all hosts. Those that end or begin
   meanwhile may be missing. visit is called with no lock held. RSL_EINVAL: NULL; RSL_ENOMEM: it
   takes 8 bytes a saga; or what the store says. Takes a lock per saga. */
RSL_API int rsl_sagas_list(rsl_sagas *sagas, unsigned states,
                           bool (*visit)(const rsl_saga_info *info, void *user), void *user);

/* The same for one saga; visit is called once. RSL_EINVAL: NULL, or no such saga. */
RSL_API int rsl_sagas_look(rsl_sagas *sagas, rsl_saga_id id,
                           bool (*visit)(const rsl_saga_info *info, void *user), void *user);

/* For config.caller_works, and to help out otherwise: does all that can be done now, in this
   thread, and returns when to call again, on the runtime's clock (RSL_FOREVER: when something was
   called that changes a saga). Blocks for I/O and for the steps. NULL: RSL_FOREVER. */
RSL_API rsl_time rsl_sagas_work(rsl_sagas *sagas);

/* Writes a snapshot. NULL sagas: zeroed. From any thread; a brief lock. */
RSL_API void rsl_sagas_stats_get(rsl_sagas *sagas, rsl_sagas_stats *stats);

/* ---- definitions made at run time; there with the runtime ---- */

/* Begins a definition without steps. RSL_EINVAL: NULL, or a name that is too long. deadline: as in
   rsl_saga_def. Not there without stb_ds, as the next two. */
RSL_API int rsl_saga_builder_init(rsl_saga_builder *builder, const char *name, uint32_t version,
                                  rsl_time deadline);

/* Appends a copy of a step, of its name and of `after`. RSL_EINVAL: NULL, or no name; RSL_EFULL:
   RSL_SAGA_STEPS_MAX are there; RSL_ENOMEM: nothing has changed. What the steps mean together is
   for rsl_saga_def_check. */
RSL_API int rsl_saga_builder_add(rsl_saga_builder *builder, const rsl_saga_step *step);

/* Frees all. NULL is passed over. A registered definition is a copy and lives on. */
RSL_API void rsl_saga_builder_deinit(rsl_saga_builder *builder);

#endif /* RSL_SAGA_NOT_DURABLE_ */

/* ---- within a step ---- */

/* "<store's uuid>/17/charge/run": store, saga's id in decimal, step, "run" or "undo"; from the
   second time that a savepoint has it begun anew, "/2" and so on behind. The same for each attempt
   at one purpose and never for another: the key for the far side to tell a repeated call. In
   rsl_saga_run the uuid is drawn for each run. Valid during the call. NULL: "". */
RSL_API const char *rsl_step_key(const rsl_step *step);

RSL_API const char *rsl_step_name(const rsl_step *step);
RSL_API rsl_saga_id rsl_step_saga(const rsl_step *step);    /* 0 in rsl_saga_run */
RSL_API uint32_t    rsl_step_attempt(const rsl_step *step); /* from 1, those cut short included */
RSL_API bool        rsl_step_is_undo(const rsl_step *step);

/* In a compensation: its step may not have happened. In an action: an earlier attempt may have. */
RSL_API bool rsl_step_maybe(const rsl_step *step);

/* The fencing token: grows with each owner of the saga. 0 in rsl_saga_run. A far side that keeps
   the highest one it has seen can refuse an owner that lost its lease. */
RSL_API uint64_t rsl_step_epoch(const rsl_step *step);

/* What the call may use up: the deadline by step.timeout and, for an action, the saga's; cancel
   (actions only) fires when the saga unwinds or its lease is lost; attempt is set. From the pivot
   on the saga's deadline and, in rsl_saga_run, the caller's cancel do not count any more. */
RSL_API rsl_ctx rsl_step_ctx(const rsl_step *step);

/* To be returned from the step's function: records why. Returns outcome. */
RSL_API rsl_outcome rsl_step_fail(rsl_step *step, rsl_outcome outcome, int status);

/* The saga's payload, aligned as by malloc; valid during the call. In rsl_saga_run: NULL and 0.
   size may be NULL. */
RSL_API const void *rsl_step_payload(const rsl_step *step, size_t *size);

/* Keeps a step's output with its DONE; a second call replaces the first, an outcome that is not OK
   drops it. Actions only. data is copied, size at most payload_max (64 KiB in rsl_saga_run); one
   of 0 bytes is none. RSL_EINVAL, RSL_ENOMEM: the former one stands. */
RSL_API int rsl_step_put(rsl_step *step, const void *data, size_t size);

/* The output of a step that comes before this one, however far, or, in a compensation, of its own
   step; NULL: there is none. size may be NULL. Valid during the call. */
RSL_API const void *rsl_step_get(const rsl_step *step, const char *name, size_t *size);

/* What a call of a step is to do, as a barrier in the participant's own transaction saw what came
   before it: see adapters/saga_sqlite.h and adapters/saga_postgres.h. */
typedef enum rsl_saga_turn {
    RSL_SAGA_FIRST, /* do it, in this transaction */
    RSL_SAGA_AGAIN, /* it was done before: answer as then */
    RSL_SAGA_LATE,  /* an action whose compensation has been here: refuse it */
    RSL_SAGA_EMPTY  /* a compensation of what never came, and cannot come any more: nothing to
                       undo, it is done */
} rsl_saga_turn;

/* ---- stores ---- */

/* One record of a saga's log. */
typedef struct rsl_saga_record {
    rsl_saga_id    saga;
    uint64_t       epoch;  /* of who appends it: the fencing token */
    uint32_t       number; /* in this saga's log: 1, 2, ... */
    rsl_saga_state state;  /* of the saga after it */
    const void    *data;
    size_t         size;
    int            status; /* written by append */
} rsl_saga_record;

/* What open finds. */
typedef struct rsl_saga_opening {
    char        uuid[37]; /* of the store, as text; drawn when it is made */
    uint64_t    epoch;    /* exclusive store: higher than at any open before; shared: 0 */
    rsl_saga_id next_id;  /* exclusive store: above any that was ever appended */
    rsl_time    now;      /* the store's time of day, since 1970 */
} rsl_saga_opening;

/* A saga that this host owns, or has asked for. */
typedef struct rsl_saga_claim {
    rsl_saga_id saga;
    uint64_t    epoch;
    int         status; /* of renew: RSL_OK, or RSL_EFENCED: it is another's */
    bool        cancel; /* somebody has asked for it to unwind */
} rsl_saga_claim;

/* Where logs are kept: a table of functions, called with no lock held; those of an exclusive store
   by one thread at a time, those for shared ones by several. All return RSL_OK or a status. An
   exclusive store belongs to one process: begin, claim, renew, cancel and list are NULL. With a
   shared one many hosts run sagas, each owned by one at a time under a lease. */
struct rsl_saga_store {
    void *self;

    /* Attaches: called once, first. It changes nothing that is stored. salvage: as in the config.
       On failure, error (size bytes, may be NULL) gets a sentence. */
    int (*open)(void *self, bool salvage, rsl_saga_opening *opening, char *error, size_t size);

    /* Calls visit with each record of a saga (0: of all; exclusive stores only), each saga's in
       order; what visit returns, if not RSL_OK, ends it and is returned. */
    int (*load)(void *self, rsl_saga_id saga,
                int (*visit)(void *user, const rsl_saga_record *record), void *user);

    /* Appends records, in this order, all of them durable on return. A record whose epoch is not
       its saga's any more is left out and gets the status RSL_EFENCED, all others RSL_OK. Any
       result but RSL_OK: none or some may be stored; an exclusive store takes no more. To append
       again what is stored already (same saga, number and epoch) is RSL_OK. */
    int (*append)(void *self, rsl_saga_record *records, size_t count);

    /* Drops what is not needed any more. Exclusive: keeps the records for which keep says so; the
       first call after open and load also takes the store into use under the new epoch, and
       nothing is appended before. Shared: keeps the logs of sagas that have not ended, and of the
       latest finished_max that have; keep is not called. */
    int (*compact)(void *self, bool (*keep)(void *user, const rsl_saga_record *record), void *user,
                   uint32_t finished_max);

    void (*close)(void *self); /* last; rsl_sagas_open calls it too when it fails, even before
                                  open, unless rsl_sagas_config_check has a reason */

    /* Shared stores. Times by the store's own clock. These, and load, may be called by several
       threads at once, also while append or compact is under way. */

    /* Begins a saga under a new id, owned for claim_for by its caller: record's saga and epoch are
       written. If the key is there already: *is_new is false, and only record's saga is. def:
       which definition, as claim asks for it. */
    int (*begin)(void *self, const char *key, const char *def, rsl_time claim_for,
                 rsl_saga_record *record, bool *is_new);

    /* Takes over up to *count sagas that are RUNNING or UNWINDING and owned by nobody, or no
       longer, of one of these defs; each under a new epoch. only: if not 0, that one, whatever its
       def, also if it is PARKED. *count: how many. */
    int (*claim)(void *self, const char *const *defs, size_t defs_count, rsl_saga_id only,
                 rsl_time claim_for, rsl_saga_claim *claims, size_t *count);

    /* Owns them for claim_for more from now; 0: gives them back. Writes status and cancel. */
    int (*renew)(void *self, rsl_time claim_for, rsl_saga_claim *claims, size_t count);

    int (*cancel)(void *self, rsl_saga_id saga); /* asks its owner; RSL_EINVAL: no such saga */

    /* Visits sagas by id: one (0: all), in these states (0: all). RSL_EINVAL: no such saga. */
    int (*list)(void *self, rsl_saga_id saga, unsigned states,
                bool (*visit)(const rsl_saga_info *info, void *user), void *user);
};

/* ---- the file journal, for tools ---- */

typedef struct rsl_saga_journal_report {
    char     uuid[37];
    uint32_t version;      /* of the format */
    uint64_t epoch;        /* of the latest open */
    uint64_t records;      /* that are whole, up to the first that is not */
    uint64_t bytes;        /* of the file */
    uint64_t offset;       /* where the first bad record begins; bytes: there is none */
    uint64_t records_after;/* whole ones behind it */
    int      status;       /* RSL_OK; RSL_EIO: a torn end, which open cuts off; RSL_ECORRUPT */
} rsl_saga_journal_report;

#ifndef RSL_SAGA_NOT_DURABLE_
/* Reads the journal of a folder and checks every byte; changes nothing, takes no lock: of a
   journal in use the end may look torn, or, rarely, damaged: then read again. visit (may be NULL)
   gets each whole record, those behind damage too. RSL_OK: report (not NULL) says what was found;
   else as rsl_sagas_open, error (size bytes, may be NULL) gets a sentence. */
RSL_API int rsl_saga_journal_read(const char *path, rsl_saga_journal_report *report,
                                  int (*visit)(void *user, const rsl_saga_record *record),
                                  void *user, char *error, size_t size);

/* Writes what a record says, as "START charge, attempt 2", cut to size with its end. names: a
   record of the same saga's BEGIN, from which the names of steps come (NULL: numbers). Returns
   text. Of a record that cannot be read: "?". */
RSL_API const char *rsl_saga_record_text(const rsl_saga_record *record,
                                         const rsl_saga_record *begin, char *text, size_t size);

/* When a record was made, since 1970 (on an injected clock: by that); 0 if it cannot be read. */
RSL_API rsl_time rsl_saga_record_time(const rsl_saga_record *record);
#endif

#ifdef __cplusplus
}
#endif
#endif /* RSL_SAGA_H */

/* ==== implementation ==== */

#if (defined RSL_IMPLEMENTATION || defined RSL_SAGA_IMPLEMENTATION || defined RSL_STATIC) && \
    !defined RSL_SAGA_IMPLEMENTED_
#define RSL_SAGA_IMPLEMENTED_

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

#include <fcntl.h>
#include <stdlib.h>
#ifdef _WIN32
#include <ntsecapi.h>
#endif

/* ---- sets of steps ---- */

typedef struct rsl_steps_ { uint64_t word[RSL_SAGA_STEPS_MAX / 64]; } rsl_steps_;
enum { RSL_STEPS_WORDS_ = RSL_SAGA_STEPS_MAX / 64 };

static inline bool rsl_steps_has_(const rsl_steps_ *set, uint32_t step)
{
    return (set->word[step / 64] >> step % 64 & 1) != 0;
}

static inline void rsl_steps_add_(rsl_steps_ *set, uint32_t step)
{
    set->word[step / 64] |= (uint64_t)1 << step % 64;
}

static inline void rsl_steps_drop_(rsl_steps_ *set, uint32_t step)
{
    set->word[step / 64] &= ~((uint64_t)1 << step % 64);
}

static inline void rsl_steps_join_(rsl_steps_ *set, const rsl_steps_ *more)
{
    for (int i = 0; i < RSL_STEPS_WORDS_; i++) set->word[i] |= more->word[i];
}

static inline bool rsl_steps_within_(const rsl_steps_ *a, const rsl_steps_ *b)
{
    uint64_t rest = 0;
    for (int i = 0; i < RSL_STEPS_WORDS_; i++) rest |= a->word[i] & ~b->word[i];
    return rest == 0;
}

/* The first member from `from` on, below `end`; else a number from there on. */
static inline uint32_t rsl_steps_next_(const rsl_steps_ *set, uint32_t from, uint32_t end)
{
    if (from >= end) return end;
    uint32_t i = from / 64;
    uint64_t left = set->word[i] & ~(uint64_t)0 << from % 64;
    while (left == 0) {
        if (++i * 64 >= end) return end;
        left = set->word[i];
    }
    return 64 * i + (uint32_t)__builtin_ctzll(left);
}

/* The same of what is no member. */
static inline uint32_t rsl_steps_next_out_(const rsl_steps_ *set, uint32_t from, uint32_t end)
{
    if (from >= end) return end;
    uint32_t i = from / 64;
    uint64_t left = ~set->word[i] & ~(uint64_t)0 << from % 64;
    while (left == 0) {
        if (++i * 64 >= end) return end;
        left = ~set->word[i];
    }
    return 64 * i + (uint32_t)__builtin_ctzll(left);
}

static inline uint32_t rsl_steps_count_(const rsl_steps_ *set)
{
    int count = 0;
    for (int i = 0; i < RSL_STEPS_WORDS_; i++) count += __builtin_popcountll(set->word[i]);
    return (uint32_t)count;
}

/* ---- definitions: checked, and made into plans ---- */

typedef struct rsl_saga_plan_ {
    const char          *name;
    uint32_t             version, count;
    int32_t              pivot;    /* -1: none */
    rsl_time             deadline; /* RSL_FOREVER: none */
    const rsl_saga_step *steps;    /* as defined; or, of a plan that was read, what a log tells */
    rsl_steps_          *direct;   /* of each step: what its `after` says; */
    rsl_steps_          *before;   /* and all that must be done first, however far */
} rsl_saga_plan_;

enum { RSL_SAGA_SETS_ = 2 }; /* for each step */

static inline bool rsl_saga_name_ok_(const char *name)
{
    if (name == NULL || name[0] == '\0') return false;
    for (size_t i = 0; name[i] != '\0'; i++) {
        unsigned char c = (unsigned char)name[i];
        bool wrong = c < '0' ? c < ' ' || c == '/' || c == ',' : c == 127;
        if (wrong || i == RSL_SAGA_NAME_MAX) return false;
    }
    return true;
}

/* The reason, as for undo_retry: without its first five bytes it is that for retry. */
static inline const char *rsl_saga_retry_check_(const rsl_saga_retry *retry)
{
    if (retry->delay_first < 0 && retry->delay_first != RSL_NONE)
        return "undo_retry.delay_first: must not be negative";
    if (retry->delay_max < 0 || (retry->delay_max != 0 && retry->delay_max < retry->delay_first))
        return "undo_retry.delay_max: must not be less than delay_first";
    if (retry->multiplier != 0 && !rsl_growth_ok_(retry->multiplier))
        return "undo_retry.multiplier: must be at least 1";
    return NULL;
}

/* What is in force for the step in that direction. */
static inline rsl_saga_retry rsl_saga_retry_of_(const rsl_saga_step *step, bool undo)
{
    rsl_saga_retry r = undo ? step->undo_retry : step->retry;
    if (r.attempts_max == 0) r.attempts_max = undo ? 8 : 3;
    if (r.delay_first == 0) r.delay_first = RSL_MS(100);
    if (r.delay_first == RSL_NONE) r.delay_first = 0;
    if (r.delay_max == 0) r.delay_max = r.delay_first > RSL_SEC(10) ? r.delay_first : RSL_SEC(10);
    if (!(r.multiplier > 0)) r.multiplier = 2;
    return r;
}

/* The step whose name is these `length` bytes; -1: none. */
static inline int rsl_saga_named_(const rsl_saga_def *def, const char *name, size_t length)
{
    for (size_t i = 0; i < def->count; i++) {
        const char *other = def->steps[i].name; /* later ones may be NULL still */
        if (other != NULL && other[0] == name[0] && strncmp(other, name, length) == 0 &&
            other[length] == '\0')
            return (int)i;
    }
    return -1;
}

static inline bool rsl_saga_is_taken_(const rsl_saga_def *def, uint32_t i)
{
    const char *name = def->steps[i].name;
    for (uint32_t j = 0; j < i; j++) {
        const char *other = def->steps[j].name;
        if (other[0] == name[0] && strcmp(other, name) == 0) return true;
    }
    return false;
}

/* What a step's `after` says. The reason why not, or NULL. */
static inline const char *rsl_saga_after_(const rsl_saga_def *def, uint32_t step,
                                          rsl_steps_ *direct)
{
    const char *after = def->steps[step].after;
    memset(direct, 0, sizeof *direct);
    if (after == NULL) {
        if (step > 0) rsl_steps_add_(direct, step - 1);
        return NULL;
    }
    while (*after != '\0') {
        size_t length = strcspn(after, ",");
        int other = rsl_saga_named_(def, after, length);
        if (other < 0) return "after: names a step that is not there";
        if ((uint32_t)other == step) return "after: names the step itself";
        rsl_steps_add_(direct, (uint32_t)other);
        after += length;
        if (*after == ',' && *++after == '\0') return "after: ends with a comma";
    }
    return NULL;
}

/* The first step of the cycle to which one leads back from a step that cannot be reached. */
static inline uint32_t rsl_saga_cycle_(uint32_t count, const rsl_steps_ *direct,
                                       const rsl_steps_ *known, uint32_t step)
{
    uint32_t first = count;
    for (uint32_t n = 0; n < 2 * count; n++) { /* after `count` of them, all are on it */
        uint32_t i = 0;
        while (!rsl_steps_has_(&direct[step], i) || rsl_steps_has_(known, i)) i++;
        step = i;
        if (n >= count && step < first) first = step;
    }
    return first;
}

/* From direct, all that comes before each step. A step on a cycle, or -1: there is none. */
static inline int rsl_saga_close_(uint32_t count, const rsl_steps_ *direct, rsl_steps_ *before)
{
    rsl_steps_ known;
    memset(&known, 0, sizeof known);
    for (uint32_t found = 1, left = count; left > 0 && found > 0;) {
        found = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (rsl_steps_has_(&known, i) || !rsl_steps_within_(&direct[i], &known)) continue;
            before[i] = direct[i];
            for (uint32_t j = rsl_steps_next_(&direct[i], 0, count); j < count;
                 j = rsl_steps_next_(&direct[i], j + 1, count))
                rsl_steps_join_(&before[i], &before[j]);
            rsl_steps_add_(&known, i);
            found++;
            left--;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!rsl_steps_has_(&known, i)) return (int)rsl_saga_cycle_(count, direct, &known, i);
    }
    return -1;
}

static inline const char *rsl_saga_step_check_(const rsl_saga_def *def, uint32_t i)
{
    const rsl_saga_step *step = &def->steps[i];
    if (!rsl_saga_name_ok_(step->name))
        return "name: must have 1 to 63 bytes, none of them '/', ',' or a control character";
    if (rsl_saga_is_taken_(def, i)) return "name: another step has it";
    if (step->run == NULL) return "run: must be set";
    if (step->timeout < 0) return "timeout: must not be negative";
    if (step->flags & ~(unsigned)(RSL_STEP_PIVOT | RSL_STEP_RETRIABLE | RSL_STEP_SAVEPOINT))
        return "flags: none but PIVOT, RETRIABLE, SAVEPOINT are known";
    const char *why = rsl_saga_retry_check_(&step->retry);
    return why != NULL ? why + strlen("undo_") : rsl_saga_retry_check_(&step->undo_retry);
}

/* What a pivot asks of all other steps. */
static inline const char *rsl_saga_pivot_check_(const rsl_saga_def *def, const rsl_steps_ *before,
                                                uint32_t *at)
{
    int pivot = -1;
    for (uint32_t i = 0; i < def->count; i++) {
        if ((def->steps[i].flags & RSL_STEP_PIVOT) == 0) continue;
        *at = i;
        if (pivot >= 0) return "flags: a second PIVOT";
        pivot = (int)i;
    }
    if (pivot < 0) return NULL;
    for (*at = 0; *at < def->count; ++*at) {
        unsigned flags = def->steps[*at].flags;
        if ((int)*at == pivot || rsl_steps_has_(&before[pivot], *at)) {
            if ((int)*at == pivot && (flags & RSL_STEP_SAVEPOINT))
                return "flags: nothing turns back to a PIVOT";
            continue;
        }
        if (!rsl_steps_has_(&before[*at], (uint32_t)pivot))
            return "after: beside the pivot; must come before it or after it";
        if ((flags & RSL_STEP_RETRIABLE) == 0) return "flags: must be RETRIABLE, after the pivot";
        if (flags & RSL_STEP_SAVEPOINT) return "flags: nothing turns back after the pivot";
    }
    return NULL;
}

/* Checks all but the pointers; direct and before are written for count steps. */
static inline const char *rsl_saga_check_(const rsl_saga_def *def, rsl_steps_ *direct,
                                          rsl_steps_ *before, const char **step)
{
    *step = NULL;
    if (!rsl_saga_name_ok_(def->name))
        return "name: must have 1 to 63 bytes, none of them '/', ',' or a control character";
    if (def->steps == NULL || def->count == 0) return "steps: there must be one";
    if (def->count > RSL_SAGA_STEPS_MAX) return "count: must be at most 256";
    if (def->deadline < 0) return "deadline: must not be negative";
    const char *why = NULL;
    uint32_t at = 0;
    for (; at < def->count; at++) {
        why = rsl_saga_step_check_(def, at);
        if (why == NULL) why = rsl_saga_after_(def, at, &direct[at]);
        if (why != NULL) break;
    }
    if (why == NULL) {
        int cycle = rsl_saga_close_((uint32_t)def->count, direct, before);
        if (cycle >= 0) why = "after: closes a cycle";
        if (cycle >= 0) at = (uint32_t)cycle;
        else why = rsl_saga_pivot_check_(def, before, &at);
    }
    if (why != NULL) *step = def->steps[at].name;
    return why;
}

/* The plan of a definition that was checked, which has written the sets, RSL_SAGA_SETS_ for each
   step. It refers to the name, the steps and the sets. */
static inline void rsl_saga_plan_make_(rsl_saga_plan_ *plan, const rsl_saga_def *def,
                                       rsl_steps_ *sets)
{
    plan->name = def->name;
    plan->version = def->version;
    plan->count = (uint32_t)def->count;
    plan->pivot = -1;
    plan->deadline = def->deadline == 0 ? RSL_FOREVER : def->deadline;
    plan->steps = def->steps;
    plan->direct = sets;
    plan->before = sets + def->count;
    for (uint32_t i = 0; i < plan->count; i++) {
        if (plan->steps[i].flags & RSL_STEP_PIVOT) plan->pivot = (int32_t)i;
    }
}

const char *rsl_saga_def_check(const rsl_saga_def *def, const char **step)
{
    rsl_steps_ direct[RSL_SAGA_STEPS_MAX], before[RSL_SAGA_STEPS_MAX];
    const char *named = NULL;
    const char *why = def == NULL ? "def: must not be NULL"
                                  : rsl_saga_check_(def, direct, before, &named);
    if (step != NULL) *step = named;
    return why;
}

/* ---- the log: changes, and the view that they fold into ---- */

typedef enum rsl_saga_phase_ {
    RSL_SAGA_IDLE_,
    RSL_SAGA_OUT_,          /* running, or cut short under an earlier epoch */
    RSL_SAGA_WAITING_,
    RSL_SAGA_DONE_,
    RSL_SAGA_FAILED_,
    RSL_SAGA_UNKNOWN_,
    RSL_SAGA_UNDO_OUT_,     /* undoing, or cut short under an earlier epoch */
    RSL_SAGA_UNDO_WAITING_,
    RSL_SAGA_UNDONE_,
    RSL_SAGA_STUCK_
} rsl_saga_phase_;

typedef enum rsl_saga_kind_of_ { /* these numbers are in journals */
    RSL_SAGA_LOG_BEGIN_ = 1,
    RSL_SAGA_LOG_START_ = 2,    /* step, undo, value: the attempt */
    RSL_SAGA_LOG_DONE_ = 3,     /* step, undo; then the output */
    RSL_SAGA_LOG_RETRY_ = 4,    /* step, undo, status, next_at */
    RSL_SAGA_LOG_FAIL_ = 5,     /* step, status */
    RSL_SAGA_LOG_DOUBT_ = 6,    /* step, status */
    RSL_SAGA_LOG_TURN_ = 7,     /* step: that failed, or none; value: the savepoint, or none */
    RSL_SAGA_LOG_FORTH_ = 8,    /* step: the savepoint; next_at */
    RSL_SAGA_LOG_PARK_ = 9,     /* step, undo */
    RSL_SAGA_LOG_RESOLVE_ = 10, /* step or none; value: the verb */
    RSL_SAGA_LOG_END_ = 11,     /* value: the state; then version, definition and key */
    RSL_SAGA_LOG_PUT_OFF_ = 12, /* step, undo: whose START it takes back, it was not called */
    RSL_SAGA_LOG_LAST_ = RSL_SAGA_LOG_PUT_OFF_
} rsl_saga_kind_of_;

enum { RSL_SAGA_NO_STEP_ = 0xffff };

/* A record of the log, as told. */
typedef struct rsl_saga_change_ {
    uint8_t  kind;
    bool     undo;
    uint16_t step;
    int32_t  status;
    uint32_t value;
    uint64_t epoch;   /* of who writes it */
    rsl_time at, next_at;
} rsl_saga_change_;

/* A step in the view. */
typedef struct rsl_saga_mark_ {
    uint8_t  phase;
    bool     undo;     /* the attempts below, and a STUCK_, are of the compensation */
    bool     maybe;    /* an attempt may have had an effect that no outcome tells of */
    uint32_t attempt;  /* in this direction, since it was begun (anew) */
    uint32_t failures; /* of these, those that came back; an operator's RETRY forgets them */
    uint32_t cuts;     /* of these, those that a crash cut short */
    uint32_t round;    /* how often a savepoint had it begun anew */
    uint32_t returns;  /* of a savepoint: how often it was returned to */
    int32_t  status;   /* of the latest outcome */
    uint64_t epoch;    /* of the latest START */
    rsl_time next_at;  /* not begun again before */
} rsl_saga_mark_;

/* What the log says of a saga. */
typedef struct rsl_saga_view_ {
    rsl_steps_ done;        /* the steps in phase DONE_ */
    bool       back;        /* unwinding */
    bool       abandoned;   /* no more is begun; it ends when nothing is out */
    bool       ended;
    rsl_saga_state end;     /* once it has */
    uint16_t   target;      /* back: the savepoint that it unwinds to, or none */
    uint16_t   failed;      /* the step for which it turned back, or none */
    int32_t    status;      /* why it turned back */
    rsl_time   deadline_at; /* RSL_FOREVER: none */
    rsl_saga_mark_ *marks;
} rsl_saga_view_;

/* How often a crash may cut a step short before it counts as the cause. A crash also cuts those
   short that ran beside it, or were about to: so from a few cuts on a step is a suspect, and of
   these one at a time is started. The innocent then end, and only the cause goes on counting. */
enum { RSL_SAGA_CUTS_MAX_ = 16, RSL_SAGA_CUTS_SUSPECT_ = 3 };

static inline void rsl_saga_view_init_(rsl_saga_view_ *view, rsl_saga_mark_ *marks,
                                       uint32_t count, rsl_time deadline_at)
{
    memset(view, 0, sizeof *view);
    memset(marks, 0, count * sizeof *marks);
    view->target = view->failed = RSL_SAGA_NO_STEP_;
    view->deadline_at = deadline_at;
    view->marks = marks;
}

static inline bool rsl_saga_apply_start_(rsl_saga_mark_ *mark, const rsl_saga_change_ *change)
{
    bool fresh = false;
    if (change->undo) {
        switch (mark->phase) {
        case RSL_SAGA_OUT_:
        case RSL_SAGA_WAITING_:
        case RSL_SAGA_UNKNOWN_: mark->maybe = true; fresh = true; break;
        case RSL_SAGA_DONE_: mark->maybe = false; fresh = true; break;
        case RSL_SAGA_UNDO_OUT_: mark->cuts++; break;
        case RSL_SAGA_UNDO_WAITING_: break;
        default: return false;
        }
    } else {
        switch (mark->phase) {
        case RSL_SAGA_IDLE_: fresh = true; break;
        case RSL_SAGA_OUT_: mark->maybe = true; mark->cuts++; break;
        case RSL_SAGA_WAITING_: break;
        default: return false;
        }
    }
    if (fresh) mark->attempt = mark->failures = mark->cuts = 0;
    mark->undo = change->undo;
    mark->attempt++;
    mark->epoch = change->epoch;
    mark->phase = change->undo ? RSL_SAGA_UNDO_OUT_ : RSL_SAGA_OUT_;
    return true;
}

static inline bool rsl_saga_apply_outcome_(rsl_saga_mark_ *mark, const rsl_saga_change_ *change)
{
    if (mark->phase != (change->undo ? RSL_SAGA_UNDO_OUT_ : RSL_SAGA_OUT_)) return false;
    mark->status = change->status;
    switch (change->kind) {
    case RSL_SAGA_LOG_DONE_:
        mark->phase = change->undo ? RSL_SAGA_UNDONE_ : RSL_SAGA_DONE_;
        return true;
    case RSL_SAGA_LOG_RETRY_:
        mark->phase = change->undo ? RSL_SAGA_UNDO_WAITING_ : RSL_SAGA_WAITING_;
        mark->maybe = mark->maybe || !change->undo;
        mark->failures++;
        mark->next_at = change->next_at;
        return true;
    case RSL_SAGA_LOG_FAIL_: /* this attempt had no effect; an earlier one may have */
        mark->phase = mark->maybe ? RSL_SAGA_UNKNOWN_ : RSL_SAGA_FAILED_;
        return !change->undo;
    default:
        mark->phase = RSL_SAGA_UNKNOWN_;
        mark->maybe = true;
        return !change->undo;
    }
}

/* The START is taken back; what it told of an earlier attempt, that this was cut short, stands. */
static inline bool rsl_saga_apply_put_off_(rsl_saga_mark_ *mark, const rsl_saga_change_ *change)
{
    if (mark->phase != (change->undo ? RSL_SAGA_UNDO_OUT_ : RSL_SAGA_OUT_)) return false;
    mark->attempt--;
    mark->next_at = 0;
    mark->phase = change->undo        ? RSL_SAGA_UNDO_WAITING_
                  : mark->attempt > 0 ? RSL_SAGA_WAITING_
                                      : RSL_SAGA_IDLE_;
    return true;
}

/* An operator's word. */
static inline bool rsl_saga_apply_resolve_(rsl_saga_view_ *view, rsl_saga_mark_ *mark,
                                           const rsl_saga_change_ *change)
{
    if (change->value == RSL_SAGA_ABANDON) {
        view->abandoned = true;
        return true;
    }
    if (mark == NULL || mark->phase != RSL_SAGA_STUCK_) return false;
    if (change->value == RSL_SAGA_SKIP) {
        mark->phase = mark->undo ? RSL_SAGA_UNDONE_ : RSL_SAGA_DONE_;
        return true;
    }
    mark->phase = mark->undo ? RSL_SAGA_UNDO_WAITING_ : RSL_SAGA_WAITING_;
    mark->failures = mark->cuts = 0;
    mark->next_at = 0;
    return change->value == RSL_SAGA_RETRY;
}

/* Goes on from a savepoint: what comes behind it is as if it had never been, in a new round. */
static inline bool rsl_saga_apply_forth_(const rsl_saga_plan_ *plan, rsl_saga_view_ *view,
                                         const rsl_saga_change_ *change)
{
    if (!view->back || change->step != view->target) return false;
    for (uint32_t i = 0; i < plan->count; i++) {
        if (!rsl_steps_has_(&plan->before[i], change->step)) continue;
        uint32_t round = view->marks[i].round + 1, returns = view->marks[i].returns;
        memset(&view->marks[i], 0, sizeof view->marks[i]);
        view->marks[i].round = round;
        view->marks[i].returns = returns;
        view->marks[i].next_at = change->next_at;
        rsl_steps_drop_(&view->done, i);
    }
    view->marks[change->step].returns++;
    view->back = false;
    view->target = view->failed = RSL_SAGA_NO_STEP_;
    return true;
}

static inline bool rsl_saga_apply_turn_(const rsl_saga_plan_ *plan, rsl_saga_view_ *view,
                                        const rsl_saga_change_ *change)
{
    bool known = change->value == RSL_SAGA_NO_STEP_ || change->value < plan->count;
    if (!known || (view->back && view->target == RSL_SAGA_NO_STEP_)) return false;
    if (plan->pivot >= 0 && view->marks[plan->pivot].phase == RSL_SAGA_STUCK_ &&
        !view->marks[plan->pivot].undo) { /* called off: it stays in doubt, nothing resolves it */
        view->marks[plan->pivot].phase = RSL_SAGA_UNKNOWN_;
    }
    view->back = true;
    view->target = (uint16_t)change->value;
    view->failed = change->step;
    view->status = change->status;
    return true;
}

static inline bool rsl_saga_apply_park_(rsl_saga_mark_ *mark, const rsl_saga_change_ *change)
{
    bool fits = change->undo ? mark->phase == RSL_SAGA_UNDO_WAITING_ ||
                                   mark->phase == RSL_SAGA_UNDO_OUT_
                             : mark->phase == RSL_SAGA_UNKNOWN_ || mark->phase == RSL_SAGA_OUT_;
    mark->phase = RSL_SAGA_STUCK_;
    mark->undo = change->undo;
    return fits;
}

/* The one place where a saga changes: folds a record of its log, but for BEGIN, into its view.
   False: this record cannot follow; the view is of no more use. */
static inline bool rsl_saga_apply_(const rsl_saga_plan_ *plan, rsl_saga_view_ *view,
                                   const rsl_saga_change_ *change)
{
    bool stepless = change->step == RSL_SAGA_NO_STEP_, fits = false;
    if (view->ended || (!stepless && change->step >= plan->count)) return false;
    rsl_saga_mark_ *mark = stepless ? NULL : &view->marks[change->step];
    switch (change->kind) {
    case RSL_SAGA_LOG_TURN_: return rsl_saga_apply_turn_(plan, view, change);
    case RSL_SAGA_LOG_FORTH_: return !stepless && rsl_saga_apply_forth_(plan, view, change);
    case RSL_SAGA_LOG_END_:
        view->ended = true;
        view->end = (rsl_saga_state)change->value;
        return true;
    case RSL_SAGA_LOG_RESOLVE_: fits = rsl_saga_apply_resolve_(view, mark, change); break;
    case RSL_SAGA_LOG_PARK_: fits = mark != NULL && rsl_saga_apply_park_(mark, change); break;
    case RSL_SAGA_LOG_START_: fits = mark != NULL && rsl_saga_apply_start_(mark, change); break;
    case RSL_SAGA_LOG_PUT_OFF_:
        fits = mark != NULL && rsl_saga_apply_put_off_(mark, change);
        break;
    case RSL_SAGA_LOG_DONE_:
    case RSL_SAGA_LOG_RETRY_:
    case RSL_SAGA_LOG_FAIL_:
    case RSL_SAGA_LOG_DOUBT_:
        fits = mark != NULL && rsl_saga_apply_outcome_(mark, change);
        break;
    default: break;
    }
    if (mark != NULL && mark->phase == RSL_SAGA_DONE_) rsl_steps_add_(&view->done, change->step);
    else if (mark != NULL) rsl_steps_drop_(&view->done, change->step);
    return fits;
}

/* ---- from the view to what is to happen next: pure. Running and recovery differ in nothing but
   the epoch: a step that is out under an earlier one was cut short. ---- */

typedef enum rsl_saga_verdict_ {
    RSL_SAGA_REST_,  /* nothing now: see at, out, stuck */
    RSL_SAGA_START_, /* step, undo */
    RSL_SAGA_TURN_,  /* step: that failed, or none; target; status */
    RSL_SAGA_FORTH_, /* target; at: when what is behind it may begin */
    RSL_SAGA_PARK_,  /* step, undo */
    RSL_SAGA_END_    /* end */
} rsl_saga_verdict_;

typedef struct rsl_saga_next_ {
    rsl_saga_verdict_ verdict;
    uint16_t step, target;
    bool     undo;
    bool     out;    /* REST_: a step is out */
    bool     stuck;  /* REST_: one is parked */
    int32_t  status;
    rsl_saga_state end;
    rsl_time at;     /* REST_: when something is due; RSL_FOREVER: not by time */
} rsl_saga_next_;

static inline bool rsl_saga_is_parked_(const rsl_saga_next_ *next)
{
    return next->verdict == RSL_SAGA_REST_ && next->stuck && !next->out && next->at == RSL_FOREVER;
}

/* Whether deadline and cancel do not count any more: the pivot has begun, and has not certainly
   failed; one that is parked may be called off by an operator. */
static inline bool rsl_saga_is_committed_(const rsl_saga_plan_ *plan, const rsl_saga_view_ *view)
{
    if (plan->pivot < 0) return false;
    uint8_t phase = view->marks[plan->pivot].phase;
    return phase != RSL_SAGA_IDLE_ && phase != RSL_SAGA_FAILED_ && phase != RSL_SAGA_STUCK_;
}

/* When the saga is to turn back by itself; RSL_FOREVER: its deadline, if any, counts no more. */
static inline rsl_time rsl_saga_heeded_deadline_(const rsl_saga_plan_ *plan,
                                                 const rsl_saga_view_ *view)
{
    bool heeds = view->back ? view->target != RSL_SAGA_NO_STEP_
                            : !rsl_saga_is_committed_(plan, view);
    return heeds ? view->deadline_at : RSL_FOREVER;
}

/* The savepoint to turn back to when that step has failed: the latest before it that is done and
   has returns left; or none. */
static inline uint16_t rsl_saga_savepoint_(const rsl_saga_plan_ *plan, const rsl_saga_view_ *view,
                                           uint32_t failed)
{
    uint16_t best = RSL_SAGA_NO_STEP_;
    uint32_t depth = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        const rsl_saga_step *step = &plan->steps[i];
        if ((step->flags & RSL_STEP_SAVEPOINT) == 0 ||
            !rsl_steps_has_(&plan->before[failed], i) || !rsl_steps_has_(&view->done, i) ||
            view->marks[i].returns + 1 >= rsl_saga_retry_of_(step, false).attempts_max)
            continue;
        uint32_t deep = rsl_steps_count_(&plan->before[i]) + 1;
        if (deep < depth) continue;
        depth = deep;
        best = (uint16_t)i;
    }
    return best;
}

static inline void rsl_saga_due_(rsl_saga_next_ *rest, rsl_time at)
{
    if (at < rest->at) rest->at = at;
}

/* A step of a saga that goes forward: whether it starts, parks, or makes the saga turn back; else
   adds to `rest`. */
static inline rsl_saga_verdict_ rsl_saga_next_step_(const rsl_saga_plan_ *plan,
                                                    const rsl_saga_view_ *view, uint32_t i,
                                                    rsl_time now, uint64_t epoch,
                                                    rsl_saga_next_ *rest)
{
    const rsl_saga_mark_ *mark = &view->marks[i];
    const rsl_saga_step *step = &plan->steps[i];
    bool starts = false, failed = false;
    switch (mark->phase) {
    case RSL_SAGA_IDLE_:
        starts = rsl_steps_within_(&plan->before[i], &view->done);
        break;
    case RSL_SAGA_WAITING_: starts = true; break;
    case RSL_SAGA_OUT_:
        rest->out = rest->out || mark->epoch == epoch;
        starts = mark->epoch != epoch;
        failed = starts && mark->cuts >= RSL_SAGA_CUTS_MAX_ && !(step->flags & RSL_STEP_RETRIABLE);
        break;
    case RSL_SAGA_FAILED_:
    case RSL_SAGA_UNKNOWN_: failed = true; break;
    case RSL_SAGA_STUCK_: rest->stuck = true; break;
    default: break;
    }
    if (failed) {
        /* Nothing undoes a pivot whose outcome is not known, and nothing may be built on it. */
        bool parks = (int32_t)i == plan->pivot && mark->phase != RSL_SAGA_FAILED_ &&
                     step->undo == NULL;
        return parks ? RSL_SAGA_PARK_ : RSL_SAGA_TURN_;
    }
    if (starts && mark->phase != RSL_SAGA_OUT_ && mark->next_at > now) {
        rsl_saga_due_(rest, mark->next_at);
        starts = false;
    }
    return starts ? RSL_SAGA_START_ : RSL_SAGA_REST_;
}

/* What is next of a saga that goes forward, in *next, which says REST_ at first. */
static inline void rsl_saga_next_forth_(const rsl_saga_plan_ *plan, const rsl_saga_view_ *view,
                                        rsl_time now, uint64_t epoch, rsl_saga_next_ *next)
{
    uint32_t count = plan->count, start = count;
    uint32_t first = rsl_steps_next_out_(&view->done, 0, count);
    for (uint32_t i = first; i < count; i = rsl_steps_next_out_(&view->done, i + 1, count)) {
        uint8_t phase = view->marks[i].phase;
        bool begins = phase == RSL_SAGA_IDLE_ || phase == RSL_SAGA_WAITING_;
        if (begins && start < count) continue;
        rsl_saga_verdict_ verdict = rsl_saga_next_step_(plan, view, i, now, epoch, next);
        if (verdict == RSL_SAGA_START_ && start == count) start = i;
        if (verdict != RSL_SAGA_TURN_ && verdict != RSL_SAGA_PARK_) continue;
        next->verdict = verdict; /* before anything else begins */
        next->step = (uint16_t)i;
        next->status = view->marks[i].status;
        if (verdict == RSL_SAGA_TURN_) next->target = rsl_saga_savepoint_(plan, view, i);
        return;
    }
    rsl_time deadline_at = next->stuck ? RSL_FOREVER : rsl_saga_heeded_deadline_(plan, view);
    if (deadline_at <= now) {
        next->verdict = RSL_SAGA_TURN_;
        next->status = RSL_ETIMEOUT;
        return;
    }
    rsl_saga_due_(next, deadline_at);
    if (start < count) {
        next->verdict = RSL_SAGA_START_;
        next->step = (uint16_t)start;
    } else if (first == count) {
        next->verdict = RSL_SAGA_END_;
        next->end = RSL_SAGA_DONE;
    }
}

/* Whether something of the step must still end, or be undone. */
static inline bool rsl_saga_is_in_play_(const rsl_saga_step *step, const rsl_saga_mark_ *mark,
                                        uint64_t epoch)
{
    switch (mark->phase) {
    case RSL_SAGA_OUT_: return mark->epoch == epoch || step->undo != NULL;
    case RSL_SAGA_WAITING_:
    case RSL_SAGA_DONE_:
    case RSL_SAGA_UNKNOWN_: return step->undo != NULL;
    case RSL_SAGA_UNDO_OUT_:
    case RSL_SAGA_UNDO_WAITING_: return true;
    case RSL_SAGA_STUCK_: return mark->undo;
    default: return false;
    }
}

/* A step in play of a saga that unwinds: whether its undo starts or parks; else adds to `rest`.
   held: those that come before another one in play, which is to be undone first. */
static inline rsl_saga_verdict_ rsl_saga_next_undo_(const rsl_saga_plan_ *plan,
                                                    const rsl_saga_view_ *view, uint32_t i,
                                                    const rsl_steps_ *held, rsl_time now,
                                                    uint64_t epoch, rsl_saga_next_ *rest)
{
    const rsl_saga_mark_ *mark = &view->marks[i];
    bool parks = false;
    switch (mark->phase) {
    case RSL_SAGA_STUCK_: return RSL_SAGA_REST_;
    case RSL_SAGA_OUT_:
    case RSL_SAGA_UNDO_OUT_:
        if (mark->epoch == epoch) {
            rest->out = true;
            return RSL_SAGA_REST_;
        }
        parks = mark->phase == RSL_SAGA_UNDO_OUT_ && mark->cuts >= RSL_SAGA_CUTS_MAX_;
        break;
    case RSL_SAGA_UNDO_WAITING_:
        parks = mark->failures >= rsl_saga_retry_of_(&plan->steps[i], true).attempts_max;
        if (!parks && mark->next_at > now) {
            rsl_saga_due_(rest, mark->next_at);
            return RSL_SAGA_REST_;
        }
        break;
    default: break;
    }
    if (rsl_steps_has_(held, i)) return RSL_SAGA_REST_;
    return parks ? RSL_SAGA_PARK_ : RSL_SAGA_START_;
}

/* The end of a wait after so many failures. RSL_FOREVER would mean that nothing is due. */
static inline rsl_time rsl_saga_later_(const rsl_saga_retry *retry, uint32_t failures,
                                       rsl_time now)
{
    rsl_time at = rsl_time_add_(now, rsl_time_grow_(retry->delay_first, retry->multiplier,
                                                    failures, retry->delay_max));
    return at == RSL_FOREVER ? RSL_FOREVER - 1 : at;
}

/* What is next of a saga that unwinds, in *next, which says REST_ at first. */
static inline void rsl_saga_next_back_(const rsl_saga_plan_ *plan, const rsl_saga_view_ *view,
                                       rsl_time now, uint64_t epoch, rsl_saga_next_ *next)
{
    bool whole = view->target == RSL_SAGA_NO_STEP_, any = false;
    rsl_steps_ in_play, held;
    memset(&in_play, 0, sizeof in_play);
    memset(&held, 0, sizeof held);
    for (uint32_t i = 0; i < plan->count; i++) {
        const rsl_saga_mark_ *mark = &view->marks[i];
        if (mark->phase == RSL_SAGA_OUT_ && mark->epoch == epoch) next->out = true;
        if (!whole && !rsl_steps_has_(&plan->before[i], view->target)) continue;
        if (!rsl_saga_is_in_play_(&plan->steps[i], mark, epoch)) continue;
        rsl_steps_add_(&in_play, i);
        rsl_steps_join_(&held, &plan->before[i]);
        if (mark->phase == RSL_SAGA_STUCK_) next->stuck = true;
    }
    rsl_time deadline_at = next->stuck ? RSL_FOREVER : rsl_saga_heeded_deadline_(plan, view);
    if (deadline_at <= now) { /* no use in going on from a savepoint */
        next->verdict = RSL_SAGA_TURN_;
        next->status = RSL_ETIMEOUT;
        return;
    }
    for (uint32_t i = plan->count; i-- > 0;) {
        if (!rsl_steps_has_(&in_play, i)) continue;
        any = true;
        next->verdict = rsl_saga_next_undo_(plan, view, i, &held, now, epoch, next);
        if (next->verdict == RSL_SAGA_REST_) continue;
        next->step = (uint16_t)i;
        next->undo = true;
        next->status = view->marks[i].status;
        return;
    }
    if (any) {
        rsl_saga_due_(next, deadline_at);
        return;
    }
    next->verdict = whole ? RSL_SAGA_END_ : RSL_SAGA_FORTH_;
    next->end = RSL_SAGA_UNWOUND;
    next->target = view->target;
    if (!whole) {
        rsl_saga_retry retry = rsl_saga_retry_of_(&plan->steps[view->target], false);
        next->at = rsl_saga_later_(&retry, view->marks[view->target].returns, now);
    }
}

/* What is to happen next. Who calls makes it a record, applies it, and asks again, until REST_. */
static inline rsl_saga_next_ rsl_saga_decide_(const rsl_saga_plan_ *plan,
                                              const rsl_saga_view_ *view, rsl_time now,
                                              uint64_t epoch)
{
    rsl_saga_next_ next = {RSL_SAGA_REST_, RSL_SAGA_NO_STEP_, RSL_SAGA_NO_STEP_, false, false,
                           false, 0, RSL_SAGA_RUNNING, RSL_FOREVER};
    if (view->ended) return next;
    if (view->abandoned) {
        for (uint32_t i = 0; i < plan->count; i++) {
            const rsl_saga_mark_ *mark = &view->marks[i];
            bool out = mark->phase == RSL_SAGA_OUT_ || mark->phase == RSL_SAGA_UNDO_OUT_;
            next.out = next.out || (out && mark->epoch == epoch);
        }
        if (!next.out) next.verdict = RSL_SAGA_END_;
        next.end = RSL_SAGA_ABANDONED;
    } else if (view->back) {
        rsl_saga_next_back_(plan, view, now, epoch, &next);
    } else {
        rsl_saga_next_forth_(plan, view, now, epoch, &next);
    }
    return next;
}

/* The record of a verdict that is not REST_. */
static inline rsl_saga_change_ rsl_saga_verdict_change_(const rsl_saga_view_ *view,
                                                        const rsl_saga_next_ *next, rsl_time now,
                                                        uint64_t epoch)
{
    rsl_saga_change_ change = {0, next->undo, next->step, next->status, 0, epoch, now, 0};
    switch (next->verdict) {
    case RSL_SAGA_START_: {
        const rsl_saga_mark_ *mark = &view->marks[next->step];
        bool goes_on = mark->phase != RSL_SAGA_IDLE_ && mark->undo == next->undo;
        change.kind = RSL_SAGA_LOG_START_;
        change.value = goes_on ? mark->attempt + 1 : 1;
        change.status = 0;
        break;
    }
    case RSL_SAGA_TURN_:
        change.kind = RSL_SAGA_LOG_TURN_;
        change.value = next->target;
        break;
    case RSL_SAGA_FORTH_:
        change.kind = RSL_SAGA_LOG_FORTH_;
        change.step = next->target;
        change.next_at = next->at;
        break;
    case RSL_SAGA_PARK_: change.kind = RSL_SAGA_LOG_PARK_; break;
    default:
        change.kind = RSL_SAGA_LOG_END_;
        change.value = (uint32_t)next->end;
        break;
    }
    return change;
}

/* The record of what a step's function said: what an outcome means for this step. */
static inline rsl_saga_change_ rsl_saga_outcome_change_(const rsl_saga_plan_ *plan,
                                                        const rsl_saga_view_ *view, uint32_t step,
                                                        rsl_outcome outcome, int status,
                                                        rsl_time now, uint64_t epoch)
{
    const rsl_saga_mark_ *mark = &view->marks[step];
    bool undo = mark->phase == RSL_SAGA_UNDO_OUT_;
    rsl_saga_change_ change = {RSL_SAGA_LOG_DOUBT_, undo, (uint16_t)step, status, 0, epoch,
                               now, 0};
    if (outcome == RSL_STEP_OK) {
        change.kind = RSL_SAGA_LOG_DONE_;
        return change;
    }
    rsl_saga_retry retry = rsl_saga_retry_of_(&plan->steps[step], undo);
    /* A compensation and a retriable step are tried again whatever they say. */
    bool again = undo || (plan->steps[step].flags & RSL_STEP_RETRIABLE) ||
                 (outcome == RSL_STEP_RETRY && mark->failures + 1 < retry.attempts_max);
    if (again) {
        change.kind = RSL_SAGA_LOG_RETRY_;
        change.next_at = rsl_saga_later_(&retry, mark->failures, now);
    } else if (outcome == RSL_STEP_FAIL && !mark->maybe) {
        change.kind = RSL_SAGA_LOG_FAIL_;
    }
    return change;
}

/* The state that a log so far means, but for PARKED, which is nothing being left to do. */
static inline rsl_saga_state rsl_saga_view_state_(const rsl_saga_view_ *view)
{
    if (view->ended) return view->end;
    return view->back ? RSL_SAGA_UNWINDING : RSL_SAGA_RUNNING;
}

/* ---- what a step sees ---- */

typedef struct rsl_saga_output_ { void *data; size_t size; } rsl_saga_output_;
typedef struct rsl_saga_live_ rsl_saga_live_;

enum { /* uuid/id/step/direction/round and the end */
    RSL_SAGA_UUID_ = 36,
    RSL_SAGA_STEP_KEY_ = RSL_SAGA_UUID_ + 1 + 20 + 1 + RSL_SAGA_NAME_MAX + 1 + 4 + 1 + 10 + 1
};

struct rsl_step {
    const rsl_saga_plan_ *plan;
    const rsl_saga_mark_ *mark;    /* constant while the step is out */
    const rsl_saga_view_ *view;
    const rsl_saga_output_ *outputs;
    rsl_sagas      *sagas;         /* NULL: in memory */
    rsl_saga_live_ *live;
    char           *uuid;          /* of the store; in memory drawn when a step asks for its key */
    rsl_saga_id     saga;
    uint64_t        epoch, self;   /* self: the thread that it runs on */
    rsl_step       *next;          /* of those that are out; guarded by the runtime's lock */
    const void     *payload;
    size_t          payload_size, put_max;
    rsl_ctx         ctx;
    uint32_t        index;
    bool            undo;
    int             status;        /* of rsl_step_fail */
    rsl_saga_output_ put;
    char            key[RSL_SAGA_STEP_KEY_];
};

/* Bytes that nobody can foresee. False: the system gives none. */
static inline bool rsl_saga_entropy_(void *to, size_t size)
{
#ifdef _WIN32
    return RtlGenRandom(to, (ULONG)size) != 0;
#else
    int saved = errno, file = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    memset(to, 0, size);
    ssize_t got = file >= 0 ? read(file, to, size) : -1;
    if (file >= 0) close(file);
    errno = saved;
    return got == (ssize_t)size;
#endif
}

/* Says of random bytes that they are such (RFC 9562, version 4). */
static inline void rsl_saga_uuid_mark_(uint8_t uuid[16])
{
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

static inline void rsl_saga_uuid_text_(const uint8_t uuid[16], char text[RSL_SAGA_UUID_ + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *text++ = '-';
        *text++ = digits[uuid[i] >> 4];
        *text++ = digits[uuid[i] & 15];
    }
    *text = '\0';
}

/* A new one; false: there is no randomness to be had. */
static inline bool rsl_saga_uuid_draw_(char text[RSL_SAGA_UUID_ + 1])
{
    uint8_t uuid[16];
    if (!rsl_saga_entropy_(uuid, sizeof uuid)) return false;
    rsl_saga_uuid_mark_(uuid);
    rsl_saga_uuid_text_(uuid, text);
    return true;
}

/* Appends text, as far as there is room before `end`; returns the new end of it, which is 0. */
static inline char *rsl_saga_write_(char *at, const char *end, const char *text)
{
    while (*text != '\0' && at + 1 < end) *at++ = *text++;
    *at = '\0';
    return at;
}

static inline char *rsl_saga_write_number_(char *at, const char *end, uint64_t number)
{
    char digits[21];
    int first = 20;
    digits[first] = '\0';
    do digits[--first] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    return rsl_saga_write_(at, end, digits + first);
}

const char *rsl_step_key(const rsl_step *step)
{
    if (step == NULL) return "";
    if (step->key[0] != '\0') return step->key;
    if (step->uuid[0] == '\0' && !rsl_saga_uuid_draw_(step->uuid)) return "";
    char *key = ((rsl_step *)(uintptr_t)step)->key; /* a cache; no step is a constant object */
    char *at = key, *end = key + sizeof step->key;
    at = rsl_saga_write_(at, end, step->uuid);
    at = rsl_saga_write_(at, end, "/");
    at = rsl_saga_write_number_(at, end, step->saga);
    at = rsl_saga_write_(at, end, "/");
    at = rsl_saga_write_(at, end, step->plan->steps[step->index].name);
    at = rsl_saga_write_(at, end, step->undo ? "/undo" : "/run");
    if (step->mark->round > 0) {
        at = rsl_saga_write_(at, end, "/");
        rsl_saga_write_number_(at, end, (uint64_t)step->mark->round + 1);
    }
    return step->key;
}

const char *rsl_step_name(const rsl_step *step)
{
    return step != NULL ? step->plan->steps[step->index].name : "";
}

rsl_saga_id rsl_step_saga(const rsl_step *step) { return step != NULL ? step->saga : 0; }

uint32_t rsl_step_attempt(const rsl_step *step)
{
    return step != NULL ? step->mark->attempt : 0;
}

bool rsl_step_is_undo(const rsl_step *step) { return step != NULL && step->undo; }
bool rsl_step_maybe(const rsl_step *step) { return step != NULL && step->mark->maybe; }
uint64_t rsl_step_epoch(const rsl_step *step) { return step != NULL ? step->epoch : 0; }

rsl_ctx rsl_step_ctx(const rsl_step *step)
{
    return step != NULL ? step->ctx : rsl_ctx_unlimited_;
}

rsl_outcome rsl_step_fail(rsl_step *step, rsl_outcome outcome, int status)
{
    if (step != NULL) step->status = status;
    return outcome;
}

const void *rsl_step_payload(const rsl_step *step, size_t *size)
{
    if (size != NULL) *size = step != NULL ? step->payload_size : 0;
    return step != NULL ? step->payload : NULL;
}

int rsl_step_put(rsl_step *step, const void *data, size_t size)
{
    if (step == NULL || step->undo || (data == NULL && size > 0) || size > step->put_max)
        return RSL_EINVAL;
    void *copy = NULL; /* of an empty one, as of none: in a journal they are the same */
    if (size > 0) {
        copy = RSL_MALLOC(size);
        if (copy == NULL) return RSL_ENOMEM;
        memcpy(copy, data, size);
    }
    RSL_FREE(step->put.data);
    step->put = (rsl_saga_output_){copy, size};
    return RSL_OK;
}

const void *rsl_step_get(const rsl_step *step, const char *name, size_t *size)
{
    rsl_saga_output_ found = {NULL, 0};
    if (step != NULL && name != NULL) {
        /* Those before it are done, and stay so while it is out; of those beside it nothing is
           sure. */
        const rsl_steps_ *before = &step->plan->before[step->index];
        for (uint32_t i = 0; i < step->plan->count; i++) {
            bool there = rsl_steps_has_(before, i) || (step->undo && i == step->index);
            if (there && strcmp(step->plan->steps[i].name, name) == 0) found = step->outputs[i];
        }
    }
    if (size != NULL) *size = found.size;
    return found.data;
}

/* ---- in memory ---- */

typedef struct rsl_saga_run_ {
    rsl_saga_plan_   plan;
    rsl_saga_view_   view;
    const rsl_ctx   *ctx;
    const rsl_clock *clock;
    void            *arg;
    rsl_saga_output_ *outputs;
    rsl_step         step;  /* one at a time */
    bool             timed; /* something depends on the time: the clock is read */
    char             uuid[RSL_SAGA_UUID_ + 1];
} rsl_saga_run_;

static inline rsl_time rsl_saga_run_now_(const rsl_saga_run_ *run)
{
    return run->timed ? rsl_clock_now_(run->clock) : 0;
}

static inline void rsl_saga_run_step_begin_(rsl_saga_run_ *run, uint32_t index, bool undo)
{
    const rsl_saga_mark_ *mark = &run->view.marks[index];
    rsl_time timeout = run->plan.steps[index].timeout;
    bool heeds = !undo && !rsl_saga_is_committed_(&run->plan, &run->view);
    rsl_step *step = &run->step;
    step->mark = mark;
    step->index = index;
    step->undo = undo;
    step->status = 0;
    step->put = (rsl_saga_output_){NULL, 0};
    step->key[0] = '\0';
    step->ctx = (rsl_ctx){0, heeds ? run->ctx->cancel : NULL, run->ctx->clock, mark->attempt,
                          run->ctx->priority};
    if (heeds && run->view.deadline_at != RSL_FOREVER) step->ctx.deadline = run->view.deadline_at;
    if (timeout != 0 && timeout != RSL_FOREVER) {
        rsl_time end = rsl_time_add_(rsl_clock_now_(run->clock), timeout);
        if (step->ctx.deadline == 0 || end < step->ctx.deadline) step->ctx.deadline = end;
    }
    if (!undo && run->outputs[index].data != NULL) { /* an earlier round's is not this one's */
        RSL_FREE(run->outputs[index].data);
        run->outputs[index] = (rsl_saga_output_){NULL, 0};
    }
}

/* Calls the function of a step that has been started, and applies what it says. */
static inline void rsl_saga_run_step_(rsl_saga_run_ *run, uint32_t index)
{
    const rsl_saga_step *of = &run->plan.steps[index];
    bool undo = run->view.marks[index].phase == RSL_SAGA_UNDO_OUT_;
    rsl_saga_run_step_begin_(run, index, undo);
    rsl_outcome outcome = (undo ? of->undo : of->run)(&run->step, run->arg);
    if (outcome != RSL_STEP_OK) run->timed = true;
    rsl_saga_change_ change =
        rsl_saga_outcome_change_(&run->plan, &run->view, index, outcome, run->step.status,
                                 rsl_saga_run_now_(run), 0);
    rsl_saga_apply_(&run->plan, &run->view, &change);
    if (run->view.marks[index].phase == RSL_SAGA_DONE_) run->outputs[index] = run->step.put;
    else if (run->step.put.data != NULL) RSL_FREE(run->step.put.data);
}

/* Whether a cancel has it turn back; forward, what is stuck is a pivot that may have happened. */
static inline bool rsl_saga_run_cancelled_(const rsl_saga_run_ *run, bool stuck)
{
    return run->ctx->cancel != NULL && !run->view.ended && rsl_cancel_fired(run->ctx->cancel) &&
           (run->view.back ? run->view.target != RSL_SAGA_NO_STEP_
                           : !stuck && !rsl_saga_is_committed_(&run->plan, &run->view));
}

static inline int rsl_saga_run_loop_(rsl_saga_run_ *run)
{
    rsl_word_ word = 0;
    for (;;) {
        rsl_time now = rsl_saga_run_now_(run);
        rsl_saga_next_ next = rsl_saga_decide_(&run->plan, &run->view, now, 0);
        if (rsl_saga_run_cancelled_(run, next.stuck)) {
            next.verdict = RSL_SAGA_TURN_;
            next.step = next.target = RSL_SAGA_NO_STEP_;
            next.status = RSL_ECANCELED;
        }
        if (next.verdict == RSL_SAGA_REST_) {
            if (next.at == RSL_FOREVER) return RSL_EPARKED;
            /* compensations, and what comes after the pivot, are past the caller's cancel */
            bool heeds = !run->view.back && !rsl_saga_is_committed_(&run->plan, &run->view);
            rsl_ctx_sleep_(heeds ? run->ctx : &rsl_ctx_unlimited_, run->clock, &word, next.at);
            continue;
        }
        if (next.verdict == RSL_SAGA_FORTH_) run->timed = true;
        rsl_saga_change_ change = rsl_saga_verdict_change_(&run->view, &next, now, 0);
        rsl_saga_apply_(&run->plan, &run->view, &change);
        if (next.verdict == RSL_SAGA_START_) rsl_saga_run_step_(run, next.step);
        if (next.verdict == RSL_SAGA_END_) break;
    }
    return run->view.end == RSL_SAGA_DONE ? RSL_OK : RSL_EUNWOUND;
}

/* What a run keeps of each step; of a short saga on the stack. */
enum { RSL_SAGA_SHORT_ = 16 };
typedef struct rsl_saga_short_ {
    rsl_steps_       sets[RSL_SAGA_SETS_ * RSL_SAGA_SHORT_];
    rsl_saga_mark_   marks[RSL_SAGA_SHORT_];
    rsl_saga_output_ outputs[RSL_SAGA_SHORT_];
} rsl_saga_short_;

/* The definition is checked, and the sets are written. */
static inline int rsl_saga_run_with_(const rsl_saga_def *def, const rsl_ctx *ctx, void *arg,
                                     rsl_steps_ *sets, rsl_saga_mark_ *marks,
                                     rsl_saga_output_ *outputs)
{
    rsl_saga_run_ run;
    run.ctx = rsl_ctx_or_unlimited_(ctx);
    run.clock = rsl_clock_is_real_(run.ctx->clock) ? NULL : run.ctx->clock;
    run.arg = arg;
    run.outputs = outputs;
    run.uuid[0] = '\0';
    memset(outputs, 0, def->count * sizeof *outputs);
    rsl_saga_plan_make_(&run.plan, def, sets);
    rsl_time deadline_at = run.ctx->deadline != 0 ? run.ctx->deadline : RSL_FOREVER;
    if (run.plan.deadline != RSL_FOREVER) {
        rsl_time end = rsl_time_add_(rsl_clock_now_(run.clock), run.plan.deadline);
        if (end < deadline_at) deadline_at = end;
    }
    run.timed = deadline_at != RSL_FOREVER;
    rsl_saga_view_init_(&run.view, marks, (uint32_t)def->count, deadline_at);
    memset(&run.step, 0, offsetof(rsl_step, key) + 1);
    run.step.plan = &run.plan;
    run.step.view = &run.view;
    run.step.outputs = outputs;
    run.step.uuid = run.uuid;
    run.step.put_max = (size_t)64 << 10;
    int status = rsl_saga_run_loop_(&run);
    int saved = errno;
    for (size_t i = 0; i < def->count; i++) {
        if (outputs[i].data != NULL) RSL_FREE(outputs[i].data);
    }
    errno = saved;
    return status;
}

/* The same of a saga of any length, in one block. */
static inline int rsl_saga_run_long_(const rsl_saga_def *def, const rsl_ctx *ctx, void *arg)
{
    const char *step;
    size_t count = def->count, sets_size = RSL_SAGA_SETS_ * count * sizeof(rsl_steps_);
    rsl_steps_ *sets = (rsl_steps_ *)RSL_MALLOC(
        sets_size + count * (sizeof(rsl_saga_mark_) + sizeof(rsl_saga_output_)));
    if (sets == NULL) return RSL_ENOMEM;
    rsl_saga_mark_ *marks = (rsl_saga_mark_ *)(void *)(sets + RSL_SAGA_SETS_ * count);
    rsl_saga_output_ *outputs = (rsl_saga_output_ *)(void *)(marks + count);
    int status = RSL_EINVAL;
    if (rsl_saga_check_(def, sets, sets + count, &step) == NULL)
        status = rsl_saga_run_with_(def, ctx, arg, sets, marks, outputs);
    int saved = errno;
    RSL_FREE(sets);
    errno = saved;
    return status;
}

int rsl_saga_run(const rsl_saga_def *def, const rsl_ctx *ctx, void *arg)
{
    rsl_saga_short_ room;
    const char *step;
    if (def == NULL || def->count > RSL_SAGA_STEPS_MAX) return RSL_EINVAL;
    if (def->count > RSL_SAGA_SHORT_) return rsl_saga_run_long_(def, ctx, arg);
    if (rsl_saga_check_(def, room.sets, room.sets + def->count, &step) != NULL) return RSL_EINVAL;
    return rsl_saga_run_with_(def, ctx, arg, room.sets, room.marks, room.outputs);
}

#ifndef RSL_NO_MAP_
/* ---- records: little-endian, without padding.

       all but BEGIN   kind 1, undo 1, step 2, status 4, value 4, at 8, next_at 8; then
                       of DONE: the output; of END: version 4, definition 1+n, key 1+n
       BEGIN           kind 1, at 8, deadline_at 8, size of the shape 4, shape, key 1+n, payload
       shape           version 4, definition 1+n, count 2; each step: flags 1 (128: it has a
                       compensation), name 1+n, number of direct predecessors 1, each 1

   The shape is what a saga needs to be understood without its program, and what must not have
   changed for it to go on. ---- */

enum { RSL_SAGA_HEAD_ = 28, RSL_SAGA_UNDOABLE_ = 128, RSL_SAGA_SHAPE_MAX_ = 70 + 256 * 322 };

typedef struct rsl_saga_pen_ { uint8_t *at, *end; bool full; } rsl_saga_pen_;

static inline void rsl_saga_put_(rsl_saga_pen_ *pen, const void *data, size_t size)
{
    if ((size_t)(pen->end - pen->at) < size) {
        pen->full = true;
        return;
    }
    if (size > 0) memcpy(pen->at, data, size);
    pen->at += size;
}

static inline void rsl_saga_put_number_(rsl_saga_pen_ *pen, uint64_t number, int bytes)
{
    uint8_t text[8];
    for (int i = 0; i < bytes; i++) text[i] = (uint8_t)(number >> 8 * i);
    rsl_saga_put_(pen, text, (size_t)bytes);
}

static inline void rsl_saga_put_text_(rsl_saga_pen_ *pen, const char *text)
{
    size_t size = strlen(text);
    rsl_saga_put_number_(pen, size, 1);
    rsl_saga_put_(pen, text, size);
}

typedef struct rsl_saga_eye_ { const uint8_t *at, *end; bool short_; } rsl_saga_eye_;

static inline uint64_t rsl_saga_get_number_(rsl_saga_eye_ *eye, int bytes)
{
    if (eye->end - eye->at < bytes) {
        eye->short_ = true;
        return 0;
    }
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++) number |= (uint64_t)eye->at[i] << 8 * i;
    eye->at += bytes;
    return number;
}

/* A text of at most `max` bytes, copied with its end to `text`. */
static inline void rsl_saga_get_text_(rsl_saga_eye_ *eye, char *text, size_t max)
{
    size_t size = (size_t)rsl_saga_get_number_(eye, 1);
    text[0] = '\0';
    if (size > max || (size_t)(eye->end - eye->at) < size || memchr(eye->at, 0, size) != NULL) {
        eye->short_ = true;
        return;
    }
    memcpy(text, eye->at, size);
    text[size] = '\0';
    eye->at += size;
}

static inline void rsl_saga_put_shape_(rsl_saga_pen_ *pen, const rsl_saga_plan_ *plan)
{
    rsl_saga_put_number_(pen, plan->version, 4);
    rsl_saga_put_text_(pen, plan->name);
    rsl_saga_put_number_(pen, plan->count, 2);
    for (uint32_t i = 0; i < plan->count; i++) {
        const rsl_saga_step *step = &plan->steps[i];
        unsigned undoable = step->undo != NULL ? RSL_SAGA_UNDOABLE_ : 0;
        rsl_saga_put_number_(pen, step->flags | undoable, 1);
        rsl_saga_put_text_(pen, step->name);
        rsl_saga_put_number_(pen, rsl_steps_count_(&plan->direct[i]), 1);
        for (uint32_t j = 0; j < plan->count; j++) {
            if (rsl_steps_has_(&plan->direct[i], j)) rsl_saga_put_number_(pen, j, 1);
        }
    }
}

/* Stands for a compensation of which a log tells that there is one; nobody calls it. */
static inline rsl_outcome rsl_saga_undo_elsewhere_(rsl_step *step, void *arg)
{
    (void)step, (void)arg;
    return RSL_STEP_UNKNOWN;
}

static inline void rsl_saga_get_step_(rsl_saga_eye_ *eye, rsl_saga_step *step, char *name,
                                      rsl_steps_ *direct, uint32_t count)
{
    memset(step, 0, sizeof *step);
    memset(direct, 0, sizeof *direct);
    unsigned flags = (unsigned)rsl_saga_get_number_(eye, 1);
    step->flags = flags & ~(unsigned)RSL_SAGA_UNDOABLE_;
    if (flags & RSL_SAGA_UNDOABLE_) step->undo = rsl_saga_undo_elsewhere_;
    step->name = name;
    rsl_saga_get_text_(eye, name, RSL_SAGA_NAME_MAX);
    for (uint32_t left = (uint32_t)rsl_saga_get_number_(eye, 1); left > 0; left--) {
        uint32_t other = (uint32_t)rsl_saga_get_number_(eye, 1);
        if (other >= count) eye->short_ = true;
        else rsl_steps_add_(direct, other);
    }
}

/* A plan in one block, to be freed with RSL_FREE, from a shape: without functions, so that it can
   be shown and resolved, but not run. RSL_ECORRUPT, RSL_ENOMEM. */
static inline int rsl_saga_plan_read_(rsl_saga_plan_ **read, const uint8_t *shape, size_t size)
{
    rsl_saga_eye_ eye = {shape, shape + size, false};
    char name[256];
    uint32_t version = (uint32_t)rsl_saga_get_number_(&eye, 4);
    rsl_saga_get_text_(&eye, name, RSL_SAGA_NAME_MAX);
    uint32_t count = (uint32_t)rsl_saga_get_number_(&eye, 2);
    if (eye.short_ || count == 0 || count > RSL_SAGA_STEPS_MAX) return RSL_ECORRUPT;
    size_t texts = (size_t)(count + 1) * (RSL_SAGA_NAME_MAX + 1);
    size_t sets_size = count * RSL_SAGA_SETS_ * sizeof(rsl_steps_);
    rsl_saga_plan_ *plan = (rsl_saga_plan_ *)RSL_MALLOC(
        sizeof *plan + sets_size + count * sizeof(rsl_saga_step) + texts);
    if (plan == NULL) return RSL_ENOMEM;
    rsl_steps_ *sets = (rsl_steps_ *)(void *)(plan + 1);
    rsl_saga_step *steps = (rsl_saga_step *)(void *)(sets + count * RSL_SAGA_SETS_);
    char *text = (char *)(steps + count);
    memcpy(text, name, RSL_SAGA_NAME_MAX + 1);
    rsl_saga_def def = {text, version, steps, count, 0};
    for (uint32_t i = 0; i < count; i++) {
        text += RSL_SAGA_NAME_MAX + 1;
        rsl_saga_get_step_(&eye, &steps[i], text, &sets[i], count);
    }
    if (eye.short_ || eye.at != eye.end || rsl_saga_close_(count, sets, sets + count) >= 0) {
        RSL_FREE(plan);
        return RSL_ECORRUPT;
    }
    rsl_saga_plan_make_(plan, &def, sets);
    *read = plan;
    return RSL_OK;
}

/* What a BEGIN says; the pointers lead into the record. */
typedef struct rsl_saga_begin_ {
    rsl_time       at, deadline_at;
    const uint8_t *shape, *payload;
    size_t         shape_size, payload_size;
    char           key[RSL_SAGA_KEY_MAX + 1];
} rsl_saga_begin_;

static inline bool rsl_saga_begin_read_(rsl_saga_begin_ *begin, const void *data, size_t size)
{
    rsl_saga_eye_ eye = {(const uint8_t *)data, (const uint8_t *)data + size, false};
    if (rsl_saga_get_number_(&eye, 1) != RSL_SAGA_LOG_BEGIN_) return false;
    begin->at = (rsl_time)rsl_saga_get_number_(&eye, 8);
    begin->deadline_at = (rsl_time)rsl_saga_get_number_(&eye, 8);
    begin->shape_size = (size_t)rsl_saga_get_number_(&eye, 4);
    begin->shape = eye.at;
    if (eye.short_ || begin->shape_size > (size_t)(eye.end - eye.at)) return false;
    eye.at += begin->shape_size;
    rsl_saga_get_text_(&eye, begin->key, RSL_SAGA_KEY_MAX);
    begin->payload = eye.at;
    begin->payload_size = (size_t)(eye.end - eye.at);
    return !eye.short_ && begin->key[0] != '\0';
}

static inline size_t rsl_saga_begin_size_(size_t shape_size, const char *key, size_t payload_size)
{
    return 1 + 8 + 8 + 4 + shape_size + 1 + strlen(key) + payload_size;
}

/* Room for a BEGIN of which the payload begins after `head` bytes; that is then aligned as by
   malloc, for steps use it in place. How far the room is from its block stands before it. */
static inline void *rsl_saga_begin_new_(size_t head, size_t size)
{
    size_t away = 16 - head % 16;
    uint8_t *block = (uint8_t *)RSL_MALLOC(away + size);
    if (block == NULL) return NULL;
    block[away - 1] = (uint8_t)away;
    return block + away;
}

static inline void rsl_saga_begin_free_(void *begin)
{
    uint8_t *at = (uint8_t *)begin;
    if (at != NULL) RSL_FREE(at - at[-1]);
}

static inline void rsl_saga_begin_write_(const rsl_saga_begin_ *begin, void *data, size_t size)
{
    rsl_saga_pen_ pen = {(uint8_t *)data, (uint8_t *)data + size, false};
    rsl_saga_put_number_(&pen, RSL_SAGA_LOG_BEGIN_, 1);
    rsl_saga_put_number_(&pen, (uint64_t)begin->at, 8);
    rsl_saga_put_number_(&pen, (uint64_t)begin->deadline_at, 8);
    rsl_saga_put_number_(&pen, begin->shape_size, 4);
    rsl_saga_put_(&pen, begin->shape, begin->shape_size);
    rsl_saga_put_text_(&pen, begin->key);
    rsl_saga_put_(&pen, begin->payload, begin->payload_size);
    RSL_ASSERT(!pen.full && pen.at == pen.end);
}

static inline void rsl_saga_change_write_(rsl_saga_pen_ *pen, const rsl_saga_change_ *change)
{
    rsl_saga_put_number_(pen, change->kind, 1);
    rsl_saga_put_number_(pen, change->undo, 1);
    rsl_saga_put_number_(pen, change->step, 2);
    rsl_saga_put_number_(pen, (uint32_t)change->status, 4);
    rsl_saga_put_number_(pen, change->value, 4);
    rsl_saga_put_number_(pen, (uint64_t)change->at, 8);
    rsl_saga_put_number_(pen, (uint64_t)change->next_at, 8);
}

/* What follows the head is at *rest, to the record's end. */
static inline bool rsl_saga_change_read_(rsl_saga_change_ *change, const rsl_saga_record *record,
                                         const uint8_t **rest)
{
    rsl_saga_eye_ eye = {(const uint8_t *)record->data,
                         (const uint8_t *)record->data + record->size, false};
    change->kind = (uint8_t)rsl_saga_get_number_(&eye, 1);
    change->undo = rsl_saga_get_number_(&eye, 1) != 0;
    change->step = (uint16_t)rsl_saga_get_number_(&eye, 2);
    change->status = (int32_t)(uint32_t)rsl_saga_get_number_(&eye, 4);
    change->value = (uint32_t)rsl_saga_get_number_(&eye, 4);
    change->at = (rsl_time)rsl_saga_get_number_(&eye, 8);
    change->next_at = (rsl_time)rsl_saga_get_number_(&eye, 8);
    change->epoch = record->epoch;
    *rest = eye.at;
    return !eye.short_ && change->kind > RSL_SAGA_LOG_BEGIN_ && change->kind <= RSL_SAGA_LOG_LAST_;
}

static inline const char *rsl_saga_state_name_(uint32_t state)
{
    static const char *const names[] = {"running", "unwinding", "done",
                                        "unwound", "parked",    "abandoned"};
    return state < RSL_COUNT(names) ? names[state] : "?";
}

/* The name of a step, from the shape of its BEGIN, or its number. */
static inline char *rsl_saga_write_step_(char *at, const char *end, uint32_t step,
                                         const rsl_saga_begin_ *begin)
{
    char name[256] = "";
    if (begin != NULL) {
        rsl_saga_eye_ eye = {begin->shape, begin->shape + begin->shape_size, false};
        rsl_saga_get_number_(&eye, 4);
        rsl_saga_get_text_(&eye, name, RSL_SAGA_NAME_MAX);
        uint32_t count = (uint32_t)rsl_saga_get_number_(&eye, 2);
        for (uint32_t i = 0; i <= step && i < count && !eye.short_; i++) {
            rsl_saga_step passed;
            rsl_steps_ direct;
            rsl_saga_get_step_(&eye, &passed, name, &direct, count);
        }
        if (eye.short_ || step >= count) name[0] = '\0';
    }
    if (name[0] != '\0') return rsl_saga_write_(at, end, name);
    return rsl_saga_write_number_(rsl_saga_write_(at, end, "step "), end, step);
}

static inline char *rsl_saga_write_status_(char *at, const char *end, int32_t status)
{
    if (status == 0) return at;
    at = rsl_saga_write_(at, end, status < 0 ? ", status -" : ", status ");
    return rsl_saga_write_number_(at, end, status < 0 ? 0 - (uint64_t)status : (uint64_t)status);
}

static inline void rsl_saga_change_text_(char *at, const char *end, const rsl_saga_change_ *change,
                                         const rsl_saga_begin_ *begin)
{
    static const char *const verbs[] = {"RETRY", "SKIP", "ABANDON"};
    static const char *const kinds[] = {"", "", "START", "DONE", "RETRY", "FAIL", "DOUBT",
                                        "TURN back", "FORTH again", "PARK", "RESOLVE", "END",
                                        "PUT OFF"};
    at = rsl_saga_write_(at, end, kinds[change->kind]);
    if (change->undo) at = rsl_saga_write_(at, end, " undo");
    if (change->step != RSL_SAGA_NO_STEP_) {
        at = rsl_saga_write_(at, end, change->kind == RSL_SAGA_LOG_TURN_    ? ", for "
                                      : change->kind == RSL_SAGA_LOG_FORTH_ ? ", from "
                                                                            : " ");
        at = rsl_saga_write_step_(at, end, change->step, begin);
    }
    if (change->kind == RSL_SAGA_LOG_START_) {
        at = rsl_saga_write_(at, end, ", attempt ");
        at = rsl_saga_write_number_(at, end, change->value);
    } else if (change->kind == RSL_SAGA_LOG_TURN_ && change->value != RSL_SAGA_NO_STEP_) {
        at = rsl_saga_write_(at, end, ", to ");
        at = rsl_saga_write_step_(at, end, change->value, begin);
    } else if (change->kind == RSL_SAGA_LOG_RESOLVE_) {
        at = rsl_saga_write_(at, end, ": ");
        at = rsl_saga_write_(at, end, change->value < 3 ? verbs[change->value] : "?");
    } else if (change->kind == RSL_SAGA_LOG_END_) {
        at = rsl_saga_write_(at, end, ", ");
        at = rsl_saga_write_(at, end, rsl_saga_state_name_(change->value));
    }
    rsl_saga_write_status_(at, end, change->status);
}

const char *rsl_saga_record_text(const rsl_saga_record *record,
                                 const rsl_saga_record *begin, char *text, size_t size)
{
    rsl_saga_begin_ said, first;
    rsl_saga_change_ change;
    const uint8_t *rest;
    if (text == NULL || size == 0) return text;
    char *at = text, *end = text + size;
    rsl_saga_write_(at, end, "?");
    if (record == NULL || record->data == NULL) return text;
    if (rsl_saga_begin_read_(&said, record->data, record->size)) {
        char name[256];
        rsl_saga_eye_ eye = {said.shape, said.shape + said.shape_size, false};
        uint64_t version = rsl_saga_get_number_(&eye, 4);
        rsl_saga_get_text_(&eye, name, RSL_SAGA_NAME_MAX);
        at = rsl_saga_write_(rsl_saga_write_(at, end, "BEGIN "), end, name);
        at = rsl_saga_write_number_(rsl_saga_write_(at, end, " version "), end, version);
        at = rsl_saga_write_(rsl_saga_write_(at, end, ", key "), end, said.key);
        at = rsl_saga_write_number_(rsl_saga_write_(at, end, ", payload of "), end,
                                    said.payload_size);
        rsl_saga_write_(at, end, " bytes");
    } else if (rsl_saga_change_read_(&change, record, &rest)) {
        bool named = begin != NULL && begin->data != NULL &&
                     rsl_saga_begin_read_(&first, begin->data, begin->size);
        rsl_saga_change_text_(at, end, &change, named ? &first : NULL);
    }
    return text;
}

rsl_time rsl_saga_record_time(const rsl_saga_record *record)
{
    rsl_saga_begin_ said;
    rsl_saga_change_ change;
    const uint8_t *rest;
    if (record == NULL || record->data == NULL) return 0;
    if (rsl_saga_begin_read_(&said, record->data, record->size)) return said.at;
    return rsl_saga_change_read_(&change, record, &rest) ? change.at : 0;
}

/* ---- the file journal: an exclusive store in a folder.

   Files. All are ours alone (0600, one link, no symbolic link), as the folder is.

       lock             flocked by the process that has the journal open; its pid, and the bound
       journal          the log
       journal.new      the next log while it is written; left over, it is nobody's
       journal.torn     the latest torn end that was cut off
       journal.damaged  the latest journal that was corrupt and salvaged, whole

   The journal, format 1. Numbers are little-endian. CRC is CRC-32C (Castagnoli, reflected, begun
   with all ones and inverted at the end: that of "123456789" is e3069283). Two blocks of 4096
   bytes, each with the same header and zeros behind it; records follow from offset 8192 on, with
   nothing between them; then zeros to the end of the file, or none.

       header                                       record
        0  8  "rslsaga" and a newline                0  4  length of the data, at most 17825792
        8  4  format                                 4  4  its complement
       12  4  mark: drawn for this file              8  4  CRC of all that follows
       16 16  uuid of the store                     12  4  CRC of the record before; of the first:
       32  8  epoch of its owner                              the mark
       40  8  no saga's id was this or more         16  4  mark of the file
       48  8  sequence of the first record          20  4  number in the saga's log
       56  8  base: all records up to this          24  8  sequence: one more than the one before
              sequence were here when the file      32  8  durable: all records up to this sequence
              got its name; first - 1: none                   were, when this one was written
       64  8  time of day when it was made,         40  8  saga; 0: a seal
              in ns since 1970                      48  8  epoch
       72  4  CRC of the 72 bytes before            56  4  state
                                                    60     data

   In every later format, a header's first 12 bytes and its CRC mean the same at the same place.
   Sequences go on from file to file and are never used twice under one uuid. A record is whole if
   its length fits its complement and the file, its CRC and mark are right, its state is known and
   its sequence is above that of the whole one before it; if it is the next, so must be its CRC of
   the record before. The mark keeps data that looks like a record from being taken for one: it
   cannot be foreseen by whoever gives the data. A seal has no data, number, epoch and state; it is
   written at close, and only says that all before it is durable.

   What a reader makes of a file. Where no record is, it may be that only zeros are left: the end.
   Else it goes on to search, byte by byte, for whole records behind. The file is corrupt if a
   header or the zeros behind it are not as written; if a record is missing that is durable for
   the base, for a whole record behind it, or for the bound. Anything else that is not as written
   is the torn end of an append that nobody was told of as done; it is as if it were not there. So
   is its remainder: records of the same append behind it.

   The bound, in `lock`: 32 bytes of text, the pid, spaces and a newline; then uuid (16), the last
   durable sequence (8) and the CRC of these two (4). Written after each sync, never synced itself,
   torn it is ignored. It may lag behind the truth and never comes before it: what it tells of was
   synced before it was written, and of another journal than this one (the uuid) it says nothing.
   It tells when an end that nothing else vouches for has been cut off.

   Taking it into use. Whatever is read may be in the system's memory only (a former owner was
   killed before its sync, or its sync failed). So the first compaction copies it, with the next
   epoch, to journal.new, syncs that and the folder, renames it to journal, and syncs the folder
   again; only then is anything done on account of what was read. A later compaction is the same.
   A crash between these steps leaves the former journal, whole, or the new one.

   Appending. Records of one append are written behind each other and synced once. As a sync costs
   much less when it has no new size to store, the file grows by zeros in steps of 256 KiB with the
   append that needs it. It is assumed that a write that is cut by a loss of power leaves bytes
   around it alone. A failed write or sync poisons the store: after it, nobody can tell what the
   disk holds, and a second sync may say that all is well while the data is gone. ---- */

/* ---- CRC-32C ---- */

/* What a half of a byte adds: the sum of what its bits do. */
#define RSL_CRC_HALF_(a, b, c, d)                                                               \
    {0, a, b, (a) ^ (b), c, (a) ^ (c), (b) ^ (c), (a) ^ (b) ^ (c),                              \
     d, (a) ^ (d), (b) ^ (d), (a) ^ (b) ^ (d), (c) ^ (d), (a) ^ (c) ^ (d), (b) ^ (c) ^ (d),     \
     (a) ^ (b) ^ (c) ^ (d)}

static inline uint32_t rsl_le32_(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static inline uint64_t rsl_le64_(const uint8_t *from)
{
    return (uint64_t)rsl_le32_(from) | (uint64_t)rsl_le32_(from + 4) << 32;
}

static inline void rsl_le32_put_(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
    to[2] = (uint8_t)(value >> 16);
    to[3] = (uint8_t)(value >> 24);
}

static inline void rsl_le64_put_(uint8_t *to, uint64_t value)
{
    rsl_le32_put_(to, (uint32_t)value);
    rsl_le32_put_(to + 4, (uint32_t)(value >> 32));
}

/* Slicing by eight bytes (Kounavis, Berry: "A Systematic Approach to Building High Performance,
   Software-based, CRC Generators"), each in two halves, so that one kilobyte of tables does for
   eight. crc: inverted, as in all that is inside. */
static inline uint32_t rsl_crc32c_soft_(uint32_t crc, const uint8_t *at, size_t size)
{
    static const uint32_t halves[16][16] = {
        RSL_CRC_HALF_(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da),
        RSL_CRC_HALF_(0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
        RSL_CRC_HALF_(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53),
        RSL_CRC_HALF_(0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
        RSL_CRC_HALF_(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f),
        RSL_CRC_HALF_(0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
        RSL_CRC_HALF_(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91),
        RSL_CRC_HALF_(0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
        RSL_CRC_HALF_(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6),
        RSL_CRC_HALF_(0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
        RSL_CRC_HALF_(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5),
        RSL_CRC_HALF_(0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
        RSL_CRC_HALF_(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8),
        RSL_CRC_HALF_(0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
        RSL_CRC_HALF_(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf),
        RSL_CRC_HALF_(0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78)};
    for (; size >= 8; at += 8, size -= 8) {
        uint32_t low = rsl_le32_(at) ^ crc, high = rsl_le32_(at + 4);
        crc = halves[0][low & 15] ^ halves[1][low >> 4 & 15] ^ halves[2][low >> 8 & 15] ^
              halves[3][low >> 12 & 15] ^ halves[4][low >> 16 & 15] ^ halves[5][low >> 20 & 15] ^
              halves[6][low >> 24 & 15] ^ halves[7][low >> 28] ^ halves[8][high & 15] ^
              halves[9][high >> 4 & 15] ^ halves[10][high >> 8 & 15] ^
              halves[11][high >> 12 & 15] ^ halves[12][high >> 16 & 15] ^
              halves[13][high >> 20 & 15] ^ halves[14][high >> 24 & 15] ^ halves[15][high >> 28];
    }
    for (; size > 0; at++, size--) {
        uint32_t byte = (crc ^ *at) & 255;
        crc = halves[14][byte & 15] ^ halves[15][byte >> 4] ^ crc >> 8;
    }
    return crc;
}

#if defined __x86_64__
/* The same by the processor's own instruction, which not every x86 has. */
__attribute__((target("sse4.2")))
static inline uint32_t rsl_crc32c_hard_(uint32_t crc, const uint8_t *at, size_t size)
{
    unsigned long long wide = crc;
    for (; size >= 8; at += 8, size -= 8) {
        unsigned long long word;
        memcpy(&word, at, sizeof word);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; size > 0; at++, size--) crc = __builtin_ia32_crc32qi(crc, *at);
    return crc;
}
#endif

/* Goes on from the CRC of what came before; 0: nothing did. */
static inline uint32_t rsl_crc32c_(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *at = (const uint8_t *)data;
#if defined __x86_64__
    if (__builtin_cpu_supports("sse4.2")) return ~rsl_crc32c_hard_(~crc, at, size);
#endif
    return ~rsl_crc32c_soft_(~crc, at, size);
}

#ifdef _WIN32
/* ---- no journal here ---- */

static inline int rsl_saga_file_make_(rsl_saga_store *store, const char *path)
{
    (void)store, (void)path;
    return RSL_EINVAL;
}

int rsl_saga_journal_read(const char *path, rsl_saga_journal_report *report,
                          int (*visit)(void *user, const rsl_saga_record *record), void *user,
                          char *error, size_t size)
{
    static const char why[] = "the file journal needs POSIX";
    (void)path, (void)report, (void)visit, (void)user;
    for (size_t i = 0; error != NULL && i < size && i < sizeof why; i++) {
        error[i] = i + 1 < size ? why[i] : '\0';
    }
    return RSL_EINVAL;
}

#else
#include <stdarg.h>
#include <stdio.h>

/* ---- the file system, as the journal uses it: all that it asks of the system is in this block.
   Functions return 0 or a count, else -1 with errno. Files and folders are numbers from 0. ---- */

typedef enum rsl_file_how_ {
    RSL_FILE_READ_, /* an existing one, to be read */
    RSL_FILE_KEEP_, /* to be read and written; made if it is not there */
    RSL_FILE_NEW_   /* to be read and written; one of that name is removed first */
} rsl_file_how_;

typedef struct rsl_file_facts_ {
    bool     is_folder, is_regular;
    bool     is_ours;   /* belongs to our effective user */
    bool     is_guarded;/* neither group nor others may write */
    uint64_t links;
    uint64_t size;
} rsl_file_facts_;

#ifdef RSL_FILES_H
/* A test takes the place of this block: it defines the same functions. */
#include RSL_FILES_H
#else

#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A folder for us alone. errno EEXIST: there is something of that name. */
static inline int rsl_file_folder_make_(const char *path)
{
    return mkdir(path, 0700);
}

/* plain: ELOOP or ENOTDIR if path is a symbolic link. */
static inline int rsl_file_folder_open_(const char *path, bool plain)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (plain ? O_NOFOLLOW : 0));
}

/* ELOOP: name is a symbolic link. Does not wait at a pipe of that name. */
static inline int rsl_file_open_(int folder, const char *name, rsl_file_how_ how)
{
    int flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    if (how == RSL_FILE_READ_) return openat(folder, name, O_RDONLY | flags);
    if (how == RSL_FILE_KEEP_) return openat(folder, name, O_RDWR | O_CREAT | flags, 0600);
    if (unlinkat(folder, name, 0) != 0 && errno != ENOENT) return -1;
    return openat(folder, name, O_RDWR | O_CREAT | O_EXCL | flags, 0600);
}

static inline int rsl_file_look_(int file, rsl_file_facts_ *facts)
{
    struct stat stat;
    if (fstat(file, &stat) != 0) return -1;
    facts->is_folder = S_ISDIR(stat.st_mode);
    facts->is_regular = S_ISREG(stat.st_mode);
    facts->is_ours = stat.st_uid == geteuid();
    facts->is_guarded = (stat.st_mode & (S_IWGRP | S_IWOTH)) == 0;
    facts->links = (uint64_t)stat.st_nlink;
    facts->size = (uint64_t)stat.st_size;
    return 0;
}

/* False, and EFBIG: too far for this system's files. */
static inline bool rsl_file_offset_(uint64_t at, off_t *offset)
{
    *offset = (off_t)at;
    if (*offset >= 0 && (uint64_t)*offset == at) return true;
    errno = EFBIG;
    return false;
}

/* At an offset; may read less than asked for, 0 only at the end. */
static inline ptrdiff_t rsl_file_read_(int file, void *data, size_t size, uint64_t at)
{
    off_t offset;
    return rsl_file_offset_(at, &offset) ? pread(file, data, size, offset) : -1;
}

/* At an offset; may write less than asked for. */
static inline ptrdiff_t rsl_file_write_(int file, const void *data, size_t size, uint64_t at)
{
    off_t offset;
    return rsl_file_offset_(at, &offset) ? pwrite(file, data, size, offset) : -1;
}

/* All that was written to the file, and its size, are on the disk on return. */
static inline int rsl_file_sync_(int file)
{
#ifdef F_FULLFSYNC /* where fsync leaves it in the disk's own memory */
    int rc = fcntl(file, F_FULLFSYNC);
    return rc == 0 || (errno != ENOTSUP && errno != EINVAL) ? rc : fsync(file);
#elif defined _POSIX_SYNCHRONIZED_IO && _POSIX_SYNCHRONIZED_IO > 0
    return fdatasync(file);
#else
    return fsync(file);
#endif
}

/* The same for the names in a folder. File systems that keep them so anyway say EINVAL. */
static inline int rsl_file_folder_sync_(int folder)
{
    return fsync(folder) == 0 || errno == EINVAL ? 0 : -1;
}

/* Takes the place of a file named `to`, at once. */
static inline int rsl_file_rename_(int folder, const char *from, const char *to)
{
    return renameat(folder, from, folder, to);
}

/* Excludes every other opening of the file, in this process too, until it is closed or the
   process ends. EWOULDBLOCK: another one has it. */
static inline int rsl_file_lock_(int file)
{
    return flock(file, LOCK_EX | LOCK_NB);
}

/* Leaves errno alone. */
static inline void rsl_file_close_(int file)
{
    int saved = errno;
    close(file);
    errno = saved;
}

static inline int rsl_file_random_(void *data, size_t size)
{
    return rsl_saga_entropy_(data, size) ? 0 : -1;
}

/* The time of day, in ns since 1970. */
static inline rsl_time rsl_file_time_(void)
{
    struct timespec t = {0, 0};
    clock_gettime(CLOCK_REALTIME, &t);
    return RSL_SEC(t.tv_sec) + (rsl_time)t.tv_nsec;
}

/* The number of this process; after a fork it is another. */
static inline long rsl_file_process_(void)
{
    return (long)getpid();
}
#endif /* RSL_FILES_H */

/* ---- headers and records as bytes ---- */

enum {
    RSL_JOURNAL_VERSION_ = 1,
    RSL_JOURNAL_HEADER_ = 76,
    RSL_JOURNAL_BLOCK_ = 4096,   /* a header and the zeros behind it */
    RSL_JOURNAL_START_ = 8192,   /* where records begin */
    RSL_JOURNAL_FRAME_ = 60,     /* of a record, before its data */
    RSL_JOURNAL_DATA_MAX_ = 17 << 20,
    RSL_JOURNAL_BUFFER_ = 256 << 10,
    RSL_JOURNAL_STEP_ = 256 << 10,/* by which the file grows */
    RSL_JOURNAL_PID_ = 32,       /* bytes of text in `lock`, */
    RSL_JOURNAL_BOUND_ = 28      /* and of the bound behind them */
};

static const char rsl_journal_magic_[8] = {'r', 's', 'l', 's', 'a', 'g', 'a', '\n'};

typedef struct rsl_journal_header_ {
    uint8_t  uuid[16];
    uint32_t version, mark, crc;
    uint64_t epoch, next_id, first, base;
    rsl_time time;
} rsl_journal_header_;

typedef struct rsl_journal_frame_ {
    uint32_t size, complement, crc, previous, mark, number, state;
    uint64_t sequence, durable, saga, epoch;
} rsl_journal_frame_;

/* Fills a block, and the header's CRC. */
static inline void rsl_journal_header_put_(rsl_journal_header_ *header, uint8_t *block)
{
    memset(block, 0, RSL_JOURNAL_BLOCK_);
    memcpy(block, rsl_journal_magic_, sizeof rsl_journal_magic_);
    rsl_le32_put_(block + 8, header->version);
    rsl_le32_put_(block + 12, header->mark);
    memcpy(block + 16, header->uuid, sizeof header->uuid);
    rsl_le64_put_(block + 32, header->epoch);
    rsl_le64_put_(block + 40, header->next_id);
    rsl_le64_put_(block + 48, header->first);
    rsl_le64_put_(block + 56, header->base);
    rsl_le64_put_(block + 64, (uint64_t)header->time);
    header->crc = rsl_crc32c_(0, block, RSL_JOURNAL_HEADER_ - 4);
    rsl_le32_put_(block + RSL_JOURNAL_HEADER_ - 4, header->crc);
}

/* False: it is not whole. Of a newer version, all but the version is unknown. */
static inline bool rsl_journal_header_get_(const uint8_t *block, rsl_journal_header_ *header)
{
    header->version = rsl_le32_(block + 8);
    header->mark = rsl_le32_(block + 12);
    memcpy(header->uuid, block + 16, sizeof header->uuid);
    header->epoch = rsl_le64_(block + 32);
    header->next_id = rsl_le64_(block + 40);
    header->first = rsl_le64_(block + 48);
    header->base = rsl_le64_(block + 56);
    header->time = (rsl_time)rsl_le64_(block + 64);
    header->crc = rsl_le32_(block + RSL_JOURNAL_HEADER_ - 4);
    return memcmp(block, rsl_journal_magic_, sizeof rsl_journal_magic_) == 0 &&
           header->crc == rsl_crc32c_(0, block, RSL_JOURNAL_HEADER_ - 4) && header->version > 0;
}

/* Of what follows: all but the CRC, which is of these bytes from the 12th on and of the data. */
static inline void rsl_journal_frame_put_(const rsl_journal_frame_ *frame, uint8_t *to)
{
    rsl_le32_put_(to, frame->size);
    rsl_le32_put_(to + 4, ~frame->size);
    rsl_le32_put_(to + 12, frame->previous);
    rsl_le32_put_(to + 16, frame->mark);
    rsl_le32_put_(to + 20, frame->number);
    rsl_le64_put_(to + 24, frame->sequence);
    rsl_le64_put_(to + 32, frame->durable);
    rsl_le64_put_(to + 40, frame->saga);
    rsl_le64_put_(to + 48, frame->epoch);
    rsl_le32_put_(to + 56, frame->state);
}

static inline void rsl_journal_frame_get_(const uint8_t *from, rsl_journal_frame_ *frame)
{
    frame->size = rsl_le32_(from);
    frame->complement = rsl_le32_(from + 4);
    frame->crc = rsl_le32_(from + 8);
    frame->previous = rsl_le32_(from + 12);
    frame->mark = rsl_le32_(from + 16);
    frame->number = rsl_le32_(from + 20);
    frame->sequence = rsl_le64_(from + 24);
    frame->durable = rsl_le64_(from + 32);
    frame->saga = rsl_le64_(from + 40);
    frame->epoch = rsl_le64_(from + 48);
    frame->state = rsl_le32_(from + 56);
}

static inline bool rsl_journal_is_zero_(const uint8_t *at, size_t size)
{
    return size == 0 || (at[0] == 0 && memcmp(at, at + 1, size - 1) == 0);
}

/* ---- telling why ---- */

/* Where a sentence goes, and which folder it is about. */
typedef struct rsl_journal_told_ {
    const char *path;
    char       *error; /* NULL: nowhere */
    size_t      size;
} rsl_journal_told_;

/* "path/name: ..." Returns status; leaves errno alone. */
__attribute__((format(printf, 4, 5)))
static inline int rsl_journal_tell_(const rsl_journal_told_ *told, int status, const char *name,
                                    const char *format, ...)
{
    if (told->error == NULL || told->size == 0) return status;
    int saved = errno;
    int begun = snprintf(told->error, told->size, "%s%s%s: ", told->path,
                         *name != '\0' ? "/" : "", name);
    if (begun >= 0 && (size_t)begun < told->size) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(told->error + begun, told->size - (size_t)begun, format, args);
        va_end(args);
    }
    errno = saved;
    return status;
}

/* The system refused: it tells errno too. */
static inline int rsl_journal_refused_(const rsl_journal_told_ *told, int status,
                                       const char *name, const char *what)
{
    return rsl_journal_tell_(told, status, name, "cannot be %s (errno %d)", what, errno);
}

/* ---- reading ---- */

/* A window on a file. */
typedef struct rsl_journal_window_ {
    int      file;
    uint64_t size;   /* of the file; nothing is read behind it */
    uint8_t *buffer;
    size_t   room;   /* grows for a large record and stays so */
    uint64_t from;   /* offset in the file of what the buffer holds */
    size_t   filled;
} rsl_journal_window_;

static inline int rsl_journal_window_open_(rsl_journal_window_ *in)
{
    memset(in, 0, sizeof *in);
    in->file = -1;
    in->buffer = (uint8_t *)RSL_MALLOC(RSL_JOURNAL_BUFFER_);
    if (in->buffer == NULL) return RSL_ENOMEM;
    in->room = RSL_JOURNAL_BUFFER_;
    return RSL_OK;
}

/* Turns to a file, or to another part of it. */
static inline void rsl_journal_window_turn_(rsl_journal_window_ *in, int file, uint64_t size)
{
    in->file = file;
    in->size = size;
    in->from = 0;
    in->filled = 0;
}

/* Moves so that it begins with the bytes from `skip` on, `kept` of which it has, with room for
   `need`. */
static inline int rsl_journal_window_move_(rsl_journal_window_ *in, size_t skip, size_t kept,
                                           size_t need)
{
    if (need <= in->room) {
        memmove(in->buffer, in->buffer + skip, kept);
        return RSL_OK;
    }
    uint8_t *wider = (uint8_t *)RSL_MALLOC(need);
    if (wider == NULL) return RSL_ENOMEM;
    memcpy(wider, in->buffer + skip, kept);
    RSL_FREE(in->buffer);
    in->buffer = wider;
    in->room = need;
    return RSL_OK;
}

/* Reads on until the buffer is full or the file ends. A file that is shorter than it was said to
   be ends there. */
static inline int rsl_journal_window_fill_(rsl_journal_window_ *in)
{
    while (in->filled < in->room && in->from + in->filled < in->size) {
        uint64_t left = in->size - in->from - in->filled;
        size_t room = in->room - in->filled;
        ptrdiff_t count = rsl_file_read_(in->file, in->buffer + in->filled,
                                         room < left ? room : (size_t)left,
                                         in->from + in->filled);
        if (count < 0 && errno != EINTR) return RSL_EIO;
        if (count == 0) in->size = in->from + in->filled;
        if (count > 0) in->filled += (size_t)count;
    }
    return RSL_OK;
}

/* *at: the bytes of the file from an offset on, *got of them: at least `need`, or all to its end.
   Valid until the next call. RSL_EIO (errno), RSL_ENOMEM. */
static inline int rsl_journal_window_at_(rsl_journal_window_ *in, uint64_t offset, size_t need,
                                         const uint8_t **at, size_t *got)
{
    uint64_t left = offset < in->size ? in->size - offset : 0;
    if (left < need) need = (size_t)left;
    size_t skip = 0, kept = 0;
    if (offset >= in->from && offset - in->from <= in->filled) {
        skip = (size_t)(offset - in->from);
        kept = in->filled - skip;
    }
    if (kept < need) {
        int status = rsl_journal_window_move_(in, skip, kept, need);
        if (status != RSL_OK) return status;
        in->from = offset;
        in->filled = kept;
        skip = 0;
        status = rsl_journal_window_fill_(in);
        if (status != RSL_OK) return status;
        kept = in->filled;
    }
    *at = in->buffer + skip;
    *got = kept;
    return RSL_OK;
}

/* One pass over a journal: where it is, and what it has found. */
typedef struct rsl_journal_scan_ {
    rsl_journal_window_ *in;
    rsl_journal_header_  header;
    bool  search; /* goes on behind what is not whole */
    bool  is_live; /* the file may grow meanwhile */
    int (*visit)(void *user, const rsl_saga_record *record); /* NULL: nobody */
    void *user;

    uint64_t offset;   /* where the next record is expected */
    uint64_t sequence; /* of the latest whole record */
    uint32_t crc;      /* of it; before the first: the mark */
    rsl_journal_frame_ frame; /* of the record that was looked at last, */
    const uint8_t     *data;  /* and its data, if it is whole */

    uint64_t records, records_after; /* up to the first that is not whole, and behind it */
    uint64_t saga_max;
    uint64_t bad_offset, bad_sequence; /* of that first one, if is_bad */
    bool     is_bad;
    bool     is_marred; /* a header, or the zeros behind it */
    bool     is_missed; /* by a record behind it, for which the bad one was durable */
    bool     is_stopped; /* by visit */
} rsl_journal_scan_;

/* Reads the headers and stands before the first record. RSL_ECORRUPT: none is whole; RSL_EINVAL:
   of a newer version. */
static inline int rsl_journal_scan_begin_(rsl_journal_scan_ *scan)
{
    const uint8_t *at;
    size_t got;
    int status = rsl_journal_window_at_(scan->in, 0, RSL_JOURNAL_START_, &at, &got);
    if (status != RSL_OK) return status;
    scan->is_marred = got < RSL_JOURNAL_START_ || memcmp(at, at + RSL_JOURNAL_BLOCK_,
                                                         RSL_JOURNAL_BLOCK_) != 0 ||
                      !rsl_journal_is_zero_(at + RSL_JOURNAL_HEADER_,
                                            RSL_JOURNAL_BLOCK_ - RSL_JOURNAL_HEADER_);
    bool found = got >= RSL_JOURNAL_BLOCK_ && rsl_journal_header_get_(at, &scan->header);
    if (!found) {
        found = got >= RSL_JOURNAL_START_ &&
                rsl_journal_header_get_(at + RSL_JOURNAL_BLOCK_, &scan->header);
    }
    if (!found) return RSL_ECORRUPT;
    if (scan->header.version > RSL_JOURNAL_VERSION_) return RSL_EINVAL;
    scan->offset = RSL_JOURNAL_START_;
    scan->sequence = scan->header.first - 1;
    scan->crc = scan->header.mark;
    return RSL_OK;
}

/* Whether the frame can be of a record at that offset, as far as it tells by itself. Where the
   next record is expected it must be that one. */
static inline bool rsl_journal_scan_fits_(const rsl_journal_scan_ *scan, uint64_t offset)
{
    const rsl_journal_frame_ *frame = &scan->frame;
    if (frame->mark != scan->header.mark || frame->size > RSL_JOURNAL_DATA_MAX_) return false;
    if (frame->sequence <= scan->sequence || frame->durable >= frame->sequence) return false;
    if (frame->state > RSL_SAGA_ABANDONED) return false;
    bool is_next = frame->sequence == scan->sequence + 1;
    if (is_next && frame->previous != scan->crc) return false;
    return is_next || offset > scan->offset || scan->is_bad;
}

/* Looks for a record at an offset. */
static inline int rsl_journal_scan_look_(rsl_journal_scan_ *scan, uint64_t offset, bool *whole)
{
    *whole = false;
    const uint8_t *at;
    size_t got;
    int status = rsl_journal_window_at_(scan->in, offset, RSL_JOURNAL_FRAME_, &at, &got);
    if (status != RSL_OK || got < RSL_JOURNAL_FRAME_) return status;
    rsl_journal_frame_get_(at, &scan->frame);
    if ((scan->frame.size ^ scan->frame.complement) != UINT32_MAX) return RSL_OK;
    if (!rsl_journal_scan_fits_(scan, offset)) return RSL_OK;
    size_t size = RSL_JOURNAL_FRAME_ + (size_t)scan->frame.size;
    if (got < size) status = rsl_journal_window_at_(scan->in, offset, size, &at, &got);
    if (status != RSL_OK || got < size) return status;
    scan->data = at + RSL_JOURNAL_FRAME_;
    *whole = rsl_crc32c_(0, at + 12, size - 12) == scan->frame.crc;
    return RSL_OK;
}

/* Whether only zeros are left. */
static inline int rsl_journal_scan_is_end_(rsl_journal_scan_ *scan, bool *is_end)
{
    const uint8_t *at;
    size_t got;
    for (uint64_t offset = scan->offset;; offset += got) {
        int status = rsl_journal_window_at_(scan->in, offset, 1, &at, &got);
        if (status != RSL_OK) return status;
        *is_end = rsl_journal_is_zero_(at, got);
        if (!*is_end || got == 0) return RSL_OK;
    }
}

/* The first whole record from an offset on. */
static inline int rsl_journal_scan_search_(rsl_journal_scan_ *scan, uint64_t *offset, bool *found)
{
    const uint8_t *at;
    size_t got;
    *found = false;
    for (;;) {
        int status = rsl_journal_window_at_(scan->in, *offset, RSL_JOURNAL_FRAME_, &at, &got);
        if (status != RSL_OK || got < RSL_JOURNAL_FRAME_) return status;
        size_t i = 0, end = got - RSL_JOURNAL_FRAME_ + 1;
        while (i < end && (rsl_le32_(at + i) ^ rsl_le32_(at + i + 4)) != UINT32_MAX) i++;
        *offset += i;
        if (i == end) continue;
        status = rsl_journal_scan_look_(scan, *offset, found);
        if (status != RSL_OK || *found) return status;
        *offset += 1;
    }
}

/* No whole record is where one was expected: the end, or something bad, and perhaps a record
   behind it. What was read while the file grew may be older than what is read behind it, and so
   is read anew. */
static inline int rsl_journal_scan_beyond_(rsl_journal_scan_ *scan, uint64_t *offset, bool *whole)
{
    bool is_end = false;
    int status = RSL_OK;
    if (scan->is_live && !scan->is_bad) {
        rsl_journal_window_turn_(scan->in, scan->in->file, scan->in->size);
        status = rsl_journal_scan_look_(scan, *offset, whole);
    }
    if (status != RSL_OK || *whole) return status;
    status = rsl_journal_scan_is_end_(scan, &is_end);
    if (status != RSL_OK || is_end) return status;
    if (!scan->is_bad) {
        scan->is_bad = true;
        scan->bad_offset = scan->offset;
        scan->bad_sequence = scan->sequence + 1;
    }
    return scan->search ? rsl_journal_scan_search_(scan, offset, whole) : RSL_OK;
}

/* Takes in the whole record that was looked at last. */
static inline int rsl_journal_scan_accept_(rsl_journal_scan_ *scan, uint64_t offset)
{
    const rsl_journal_frame_ *frame = &scan->frame;
    scan->offset = offset + RSL_JOURNAL_FRAME_ + frame->size;
    scan->sequence = frame->sequence;
    scan->crc = frame->crc;
    if (scan->is_bad && frame->durable >= scan->bad_sequence) scan->is_missed = true;
    if (frame->saga == 0) return RSL_OK;
    if (frame->saga > scan->saga_max) scan->saga_max = frame->saga;
    scan->records += !scan->is_bad;
    scan->records_after += scan->is_bad;
    if (scan->visit == NULL) return RSL_OK;
    rsl_saga_record record = {frame->saga, frame->epoch, frame->number,
                              (rsl_saga_state)frame->state, scan->data, frame->size, RSL_OK};
    int status = scan->visit(scan->user, &record);
    scan->is_stopped = status != RSL_OK;
    return status;
}

/* Goes to the end; after rsl_journal_scan_begin_. RSL_OK says only that all was read. */
static inline int rsl_journal_scan_run_(rsl_journal_scan_ *scan)
{
    for (;;) {
        uint64_t offset = scan->offset;
        bool whole;
        int status = rsl_journal_scan_look_(scan, offset, &whole);
        if (status == RSL_OK && !whole) status = rsl_journal_scan_beyond_(scan, &offset, &whole);
        if (status == RSL_OK && whole) status = rsl_journal_scan_accept_(scan, offset);
        if (status != RSL_OK || !whole) return status;
    }
}

/* The last record before anything bad. */
static inline uint64_t rsl_journal_scan_last_(const rsl_journal_scan_ *scan)
{
    return scan->is_bad ? scan->bad_sequence - 1 : scan->sequence;
}

/* What the whole pass, with search, comes to. RSL_EIO: a torn end. bound: the sequence that `lock`
   tells for this journal (0: none). */
static inline int rsl_journal_scan_judge_(const rsl_journal_scan_ *scan, uint64_t bound)
{
    uint64_t last = rsl_journal_scan_last_(scan);
    bool is_lost = scan->is_missed || last < scan->header.base || last < bound;
    if (scan->is_marred || is_lost) return RSL_ECORRUPT;
    return scan->is_bad ? RSL_EIO : RSL_OK;
}

/* The sentence for RSL_ECORRUPT. */
static inline int rsl_journal_scan_tell_(const rsl_journal_scan_ *scan,
                                         const rsl_journal_told_ *told)
{
    unsigned long long next = rsl_journal_scan_last_(scan) + 1;
    unsigned long long offset = scan->is_bad ? scan->bad_offset : scan->offset;
    if (scan->is_marred) {
        return rsl_journal_tell_(told, RSL_ECORRUPT, "journal", "its header is damaged");
    }
    if (!scan->is_bad) {
        return rsl_journal_tell_(told, RSL_ECORRUPT, "journal",
                                 "ends at offset %llu before record %llu, which was durable",
                                 offset, next);
    }
    return rsl_journal_tell_(told, RSL_ECORRUPT, "journal", "record %llu at offset %llu is "
                             "damaged, %s", next, offset,
                             scan->is_missed ? "with durable records behind it"
                                             : "which was durable");
}

/* ---- writing ---- */

/* The end of a journal that grows. After a failure it is not to be used any more. */
typedef struct rsl_journal_writer_ {
    int      file;
    uint32_t mark;
    uint32_t crc;      /* of the latest record */
    uint64_t sequence; /* of it */
    uint64_t durable;  /* the highest that was synced */
    uint64_t end;      /* offset behind it */
    uint64_t size;     /* of the file: zeros from end on */
    uint64_t at;       /* where the buffer goes */
    size_t   filled;
    uint8_t *buffer;   /* RSL_JOURNAL_BUFFER_ bytes */
} rsl_journal_writer_;

static inline bool rsl_journal_write_(int file, const uint8_t *data, size_t size, uint64_t at)
{
    while (size > 0) {
        ptrdiff_t count = rsl_file_write_(file, data, size, at);
        if (count < 0 && errno == EINTR) continue;
        if (count == 0) errno = EIO; /* it would be so for ever */
        if (count <= 0) return false;
        data += count;
        size -= (size_t)count;
        at += (uint64_t)count;
    }
    return true;
}

static inline bool rsl_journal_flush_(rsl_journal_writer_ *out)
{
    if (!rsl_journal_write_(out->file, out->buffer, out->filled, out->at)) return false;
    out->at += out->filled;
    out->filled = 0;
    if (out->size < out->at) out->size = out->at;
    return true;
}

/* Adds bytes to what is to be written; data NULL: zeros. */
static inline bool rsl_journal_push_(rsl_journal_writer_ *out, const void *data, size_t size)
{
    const uint8_t *from = (const uint8_t *)data;
    while (size > 0) {
        if (out->filled == RSL_JOURNAL_BUFFER_ && !rsl_journal_flush_(out)) return false;
        size_t part = RSL_JOURNAL_BUFFER_ - out->filled;
        if (part > size) part = size;
        if (from != NULL) memcpy(out->buffer + out->filled, from, part);
        else memset(out->buffer + out->filled, 0, part);
        out->filled += part;
        if (from != NULL) from += part;
        size -= part;
    }
    return true;
}

static inline bool rsl_journal_put_(rsl_journal_writer_ *out, const rsl_saga_record *record)
{
    uint8_t bytes[RSL_JOURNAL_FRAME_];
    rsl_journal_frame_ frame = {.size = (uint32_t)record->size, .previous = out->crc,
                                .mark = out->mark, .number = record->number,
                                .state = (uint32_t)record->state, .sequence = out->sequence + 1,
                                .durable = out->durable, .saga = record->saga,
                                .epoch = record->epoch};
    rsl_journal_frame_put_(&frame, bytes);
    uint32_t crc = rsl_crc32c_(0, bytes + 12, sizeof bytes - 12);
    if (record->size > 0) crc = rsl_crc32c_(crc, record->data, record->size);
    rsl_le32_put_(bytes + 8, crc);
    if (!rsl_journal_push_(out, bytes, sizeof bytes)) return false;
    if (record->size > 0 && !rsl_journal_push_(out, record->data, record->size)) return false;
    out->crc = crc;
    out->sequence++;
    out->end += sizeof bytes + record->size;
    return true;
}

/* All records that were put are durable on return; the next goes behind them. grow: by whole
   steps, so that the next syncs have no new size to store. */
static inline bool rsl_journal_commit_(rsl_journal_writer_ *out, bool grow)
{
    uint64_t over = out->end % RSL_JOURNAL_STEP_;
    if (grow && out->end > out->size && over > 0 &&
        !rsl_journal_push_(out, NULL, (size_t)(RSL_JOURNAL_STEP_ - over))) {
        return false;
    }
    if (!rsl_journal_flush_(out) || rsl_file_sync_(out->file) != 0) return false;
    out->at = out->end;
    out->durable = out->sequence;
    return true;
}

/* ---- folder and files ---- */

/* The path without slashes at its end, behind which a symbolic link would be followed. Returns its
   length. */
static inline size_t rsl_journal_path_length_(const char *path)
{
    size_t length = strlen(path);
    for (;;) {
        if (length > 1 && path[length - 1] == '/') length--;
        else if (length > 2 && path[length - 1] == '.' && path[length - 2] == '/') length -= 2;
        else return length;
    }
}

/* Whether what was opened is as it must be. name "": the folder. */
static inline int rsl_journal_check_(const rsl_journal_told_ *told, int file, const char *name,
                                     rsl_file_facts_ *facts)
{
    bool is_file = *name != '\0';
    if (rsl_file_look_(file, facts) != 0) {
        return rsl_journal_refused_(told, RSL_ESYS, name, "looked at");
    }
    const char *why = NULL;
    if (is_file && !facts->is_regular) why = "is not a regular file";
    else if (!is_file && !facts->is_folder) why = "is not a folder";
    else if (!facts->is_ours) why = "belongs to another user";
    else if (!facts->is_guarded) why = "may be written by others";
    else if (is_file && facts->links > 1) why = "has more than one link";
    return why != NULL ? rsl_journal_tell_(told, RSL_EINVAL, name, "%s", why) : RSL_OK;
}

/* *file is -1 unless RSL_OK. RSL_ESYS with ENOENT: it is not there. */
static inline int rsl_journal_open_(const rsl_journal_told_ *told, int folder, const char *name,
                                    rsl_file_how_ how, int *file, rsl_file_facts_ *facts)
{
    *file = rsl_file_open_(folder, name, how);
    if (*file < 0) {
        if (errno == ELOOP || errno == EMLINK) { /* the latter is what some BSDs say */
            return rsl_journal_tell_(told, RSL_EINVAL, name, "is a symbolic link");
        }
        if (errno == EISDIR || errno == ENXIO) { /* a folder, a socket */
            return rsl_journal_tell_(told, RSL_EINVAL, name, "is not a regular file");
        }
        return rsl_journal_refused_(told, RSL_ESYS, name, "opened");
    }
    int status = rsl_journal_check_(told, *file, name, facts);
    if (status == RSL_OK) return RSL_OK;
    rsl_file_close_(*file);
    *file = -1;
    return status;
}

static inline int rsl_journal_folder_open_(const rsl_journal_told_ *told, int *folder)
{
    *folder = rsl_file_folder_open_(told->path, true);
    if (*folder < 0) {
        if (errno != ELOOP && errno != EMLINK && errno != ENOTDIR) {
            return rsl_journal_refused_(told, RSL_ESYS, "", "opened");
        }
        return rsl_journal_tell_(told, RSL_EINVAL, "", "is a symbolic link, or not a folder");
    }
    rsl_file_facts_ facts;
    int status = rsl_journal_check_(told, *folder, "", &facts);
    if (status == RSL_OK) return RSL_OK;
    rsl_file_close_(*folder);
    *folder = -1;
    return status;
}

/* The sequence that a bound tells for a journal; 0: none. */
static inline uint64_t rsl_journal_bound_get_(const uint8_t bytes[RSL_JOURNAL_BOUND_],
                                              const uint8_t uuid[16])
{
    if (rsl_le32_(bytes + 24) != rsl_crc32c_(0, bytes, 24)) return 0;
    return memcmp(bytes, uuid, 16) == 0 ? rsl_le64_(bytes + 16) : 0;
}

/* What cannot be read is no bound. */
static inline void rsl_journal_bound_read_(int lock, uint8_t bytes[RSL_JOURNAL_BOUND_])
{
    int saved = errno;
    memset(bytes, 0, RSL_JOURNAL_BOUND_);
    if (lock >= 0) (void)rsl_file_read_(lock, bytes, RSL_JOURNAL_BOUND_, RSL_JOURNAL_PID_);
    errno = saved;
}

/* ---- the store ---- */

typedef struct rsl_saga_file_ {
    int      folder, lock; /* -1: not open */
    int      journal;      /* -1: there is none yet */
    long     process;      /* that opened it */
    bool     is_made;      /* the folder was not there before */
    bool     is_open;
    bool     is_in_use;    /* the first compaction is done */
    bool     is_torn;      /* until then */
    bool     salvage;      /* until then: it is corrupt, and that is to be borne */
    int      failed;       /* errno of what poisoned it; 0: nothing did */
    uint64_t epoch, next_id;
    uint64_t seed;         /* of marks */
    uint64_t end;          /* up to here it is read */
    uint64_t size;         /* of what was opened */
    rsl_journal_header_ header; /* of the file that is read */
    rsl_journal_window_ in;
    rsl_journal_writer_ out; /* before it is in use: only sequence and buffer */
    char     path[];
} rsl_saga_file_;

/* Remembers the first failure. */
static inline int rsl_saga_file_poison_(rsl_saga_file_ *file)
{
    if (file->failed == 0) file->failed = errno != 0 ? errno : EIO;
    errno = file->failed;
    return RSL_EIO;
}

/* A forked child has the same files open and must not write: its parent does. */
static inline int rsl_saga_file_usable_(const rsl_saga_file_ *file)
{
    if (!file->is_open) return RSL_EINVAL;
    if (rsl_file_process_() != file->process) return RSL_EFENCED;
    if (file->failed == 0) return RSL_OK;
    errno = file->failed;
    return RSL_EIO;
}

/* After a sync. That it may fail is part of what it is. */
static inline void rsl_saga_file_bound_put_(const rsl_saga_file_ *file)
{
    int saved = errno;
    uint8_t bytes[RSL_JOURNAL_BOUND_];
    memcpy(bytes, file->header.uuid, 16);
    rsl_le64_put_(bytes + 16, file->out.durable);
    rsl_le32_put_(bytes + 24, rsl_crc32c_(0, bytes, 24));
    (void)rsl_file_write_(file->lock, bytes, sizeof bytes, RSL_JOURNAL_PID_);
    errno = saved;
}

/* ---- opening ---- */

static inline int rsl_saga_file_enter_(rsl_saga_file_ *file, const rsl_journal_told_ *told)
{
    file->is_made = rsl_file_folder_make_(file->path) == 0;
    if (!file->is_made && errno != EEXIST) {
        return rsl_journal_refused_(told, RSL_ESYS, "", "made");
    }
    return rsl_journal_folder_open_(told, &file->folder);
}

/* Somebody else has the lock: says who. */
static inline int rsl_saga_file_fenced_(int lock, const rsl_journal_told_ *told)
{
    char text[RSL_JOURNAL_PID_ + 1] = {0};
    long process = 0;
    if (rsl_file_read_(lock, text, RSL_JOURNAL_PID_, 0) > 0) {
        for (int i = 0; text[i] >= '0' && text[i] <= '9' && process < 1 << 26; i++) {
            process = 10 * process + (text[i] - '0');
        }
    }
    if (process == 0) return rsl_journal_tell_(told, RSL_EFENCED, "lock", "is taken");
    return rsl_journal_tell_(told, RSL_EFENCED, "lock", "process %ld has it", process);
}

static inline int rsl_saga_file_lock_(rsl_saga_file_ *file, const rsl_journal_told_ *told)
{
    rsl_file_facts_ facts;
    int status = rsl_journal_open_(told, file->folder, "lock", RSL_FILE_KEEP_, &file->lock,
                                   &facts);
    if (status != RSL_OK) return status;
    if (rsl_file_lock_(file->lock) != 0) {
        if (errno == EWOULDBLOCK) return rsl_saga_file_fenced_(file->lock, told);
        return rsl_journal_refused_(told, RSL_ESYS, "lock", "taken");
    }
    status = rsl_journal_check_(told, file->lock, "lock", &facts);
    if (status != RSL_OK) return status;
    if (facts.links == 0) { /* then another one may be there, and taken */
        return rsl_journal_tell_(told, RSL_EFENCED, "lock", "was removed meanwhile");
    }
    char text[RSL_JOURNAL_PID_ + 1];
    (void)snprintf(text, sizeof text, "%-*ld\n", RSL_JOURNAL_PID_ - 1, file->process);
    if (!rsl_journal_write_(file->lock, (const uint8_t *)text, RSL_JOURNAL_PID_, 0)) {
        return rsl_journal_refused_(told, RSL_ESYS, "lock", "written");
    }
    return RSL_OK;
}

static inline int rsl_saga_file_memory_(rsl_saga_file_ *file, const rsl_journal_told_ *told)
{
    int status = rsl_journal_window_open_(&file->in);
    if (status == RSL_OK) {
        file->out.buffer = (uint8_t *)RSL_MALLOC(RSL_JOURNAL_BUFFER_);
        if (file->out.buffer == NULL) status = RSL_ENOMEM;
    }
    return status == RSL_OK ? status : rsl_journal_tell_(told, status, "", "out of memory");
}

/* The name of a folder that is to have its first journal must last. Who made the folder may have
   been killed before this. One that was there may lie in a folder that we cannot open. */
static inline int rsl_saga_file_sync_parent_(rsl_saga_file_ *file, const rsl_journal_told_ *told)
{
    char *slash = strrchr(file->path, '/');
    size_t length = slash == NULL ? 0 : slash == file->path ? 1 : (size_t)(slash - file->path);
    char cut = file->path[length];
    file->path[length] = '\0';
    int parent = rsl_file_folder_open_(length > 0 ? file->path : ".", false);
    file->path[length] = cut;
    if (parent < 0) {
        if (errno == EACCES && !file->is_made) return RSL_OK;
        return rsl_journal_refused_(told, RSL_ESYS, "", "synced: the folder around it");
    }
    int rc = rsl_file_folder_sync_(parent);
    rsl_file_close_(parent);
    return rc == 0 ? RSL_OK
                   : rsl_journal_refused_(told, RSL_EIO, "", "synced: the folder around it");
}

static inline int rsl_saga_file_begin_new_(rsl_saga_file_ *file, const rsl_journal_told_ *told)
{
    uint8_t *uuid = file->header.uuid;
    if (rsl_file_random_(uuid, sizeof file->header.uuid) != 0) {
        return rsl_journal_refused_(told, RSL_ESYS, "", "given a uuid");
    }
    rsl_saga_uuid_mark_(uuid);
    file->epoch = 1;
    file->next_id = 1;
    return rsl_saga_file_sync_parent_(file, told);
}

/* Why a pass over the journal could not be made, if it was not by the visitor. */
static inline int rsl_journal_pass_tell_(const rsl_journal_scan_ *scan, int status,
                                         const rsl_journal_told_ *told)
{
    switch (status) {
    case RSL_EIO: return rsl_journal_refused_(told, status, "journal", "read");
    case RSL_ENOMEM: return rsl_journal_tell_(told, status, "journal", "out of memory");
    case RSL_EINVAL:
        return rsl_journal_tell_(told, status, "journal",
                                 "format %lu is newer than this program's %d",
                                 (unsigned long)scan->header.version, RSL_JOURNAL_VERSION_);
    default: return rsl_journal_tell_(told, status, "journal", "both its headers are damaged");
    }
}

/* Takes over what a pass over the whole journal has found. The ids of records that are lost are
   not known: new ones begin well above them, as no file that has been has so many records. */
static inline void rsl_saga_file_found_(rsl_saga_file_ *file, const rsl_journal_scan_ *scan,
                                        uint64_t bound)
{
    file->header = scan->header;
    file->epoch = scan->header.epoch + 1;
    file->next_id = scan->header.next_id;
    if (file->next_id <= scan->saga_max) file->next_id = scan->saga_max + 1;
    if (file->salvage) file->next_id += (uint64_t)1 << 32;
    file->out.sequence = scan->sequence;
    if (file->out.sequence < scan->header.base) file->out.sequence = scan->header.base;
    if (file->out.sequence < bound) file->out.sequence = bound;
    file->is_torn = scan->is_bad;
    file->end = scan->is_bad ? scan->bad_offset : scan->offset;
    if (file->salvage) file->end = file->size;
}

static inline int rsl_saga_file_read_(rsl_saga_file_ *file, bool salvage,
                                      const rsl_journal_told_ *told)
{
    uint8_t bytes[RSL_JOURNAL_BOUND_];
    rsl_journal_bound_read_(file->lock, bytes);
    rsl_file_facts_ facts;
    int status = rsl_journal_open_(told, file->folder, "journal", RSL_FILE_READ_, &file->journal,
                                   &facts);
    if (status == RSL_ESYS && errno == ENOENT) return rsl_saga_file_begin_new_(file, told);
    if (status != RSL_OK) return status;
    file->size = facts.size;
    rsl_journal_window_turn_(&file->in, file->journal, facts.size);
    rsl_journal_scan_ scan = {.in = &file->in, .search = true};
    status = rsl_journal_scan_begin_(&scan);
    if (status == RSL_OK) status = rsl_journal_scan_run_(&scan);
    if (status != RSL_OK) return rsl_journal_pass_tell_(&scan, status, told);
    uint64_t bound = rsl_journal_bound_get_(bytes, scan.header.uuid);
    status = rsl_journal_scan_judge_(&scan, bound);
    file->salvage = status == RSL_ECORRUPT;
    if (file->salvage && !salvage) return rsl_journal_scan_tell_(&scan, told);
    rsl_saga_file_found_(file, &scan, bound);
    return RSL_OK;
}

static inline int rsl_saga_file_open_(void *self, bool salvage, rsl_saga_opening *opening,
                                      char *error, size_t size)
{
    rsl_saga_file_ *file = (rsl_saga_file_ *)self;
    rsl_journal_told_ told = {file->path, error, size};
    if (file->process != 0) return rsl_journal_tell_(&told, RSL_EINVAL, "", "opened twice");
    file->process = rsl_file_process_();
    int saved = errno;
    int status = rsl_saga_file_enter_(file, &told);
    if (status == RSL_OK) status = rsl_saga_file_lock_(file, &told);
    if (status == RSL_OK) status = rsl_saga_file_memory_(file, &told);
    if (status == RSL_OK) status = rsl_saga_file_read_(file, salvage, &told);
    if (status == RSL_OK && rsl_file_random_(&file->seed, sizeof file->seed) != 0) {
        status = rsl_journal_refused_(&told, RSL_ESYS, "journal", "given a mark");
    }
    if (status != RSL_OK) return status;
    if (error != NULL && size > 0) *error = '\0';
    file->is_open = true;
    rsl_saga_uuid_text_(file->header.uuid, opening->uuid);
    opening->epoch = file->epoch;
    opening->next_id = file->next_id;
    opening->now = rsl_file_time_();
    errno = saved;
    return RSL_OK;
}

/* ---- reading and rewriting ---- */

/* A pass over all records that are to be kept in mind. What was whole at open and is not now is
   corrupt. */
static inline int rsl_saga_file_pass_(rsl_saga_file_ *file,
                                      int (*visit)(void *user, const rsl_saga_record *record),
                                      void *user)
{
    if (file->journal < 0) return RSL_OK;
    rsl_journal_window_turn_(&file->in, file->journal, file->end);
    rsl_journal_scan_ scan = {.in = &file->in, .search = file->salvage, .visit = visit,
                              .user = user};
    int status = rsl_journal_scan_begin_(&scan);
    if (status == RSL_OK) status = rsl_journal_scan_run_(&scan);
    if (status != RSL_OK || file->salvage) return status;
    return scan.is_marred || scan.offset != file->end ? RSL_ECORRUPT : RSL_OK;
}

/* Of whom load is to tell. */
typedef struct rsl_saga_file_load_ {
    rsl_saga_id saga; /* 0: of all */
    int       (*visit)(void *user, const rsl_saga_record *record);
    void       *user;
} rsl_saga_file_load_;

static inline int rsl_saga_file_load_visit_(void *user, const rsl_saga_record *record)
{
    const rsl_saga_file_load_ *load = (const rsl_saga_file_load_ *)user;
    if (load->saga != 0 && load->saga != record->saga) return RSL_OK;
    return load->visit(load->user, record);
}

static inline int rsl_saga_file_load_records_(void *self, rsl_saga_id saga,
                                              int (*visit)(void *user,
                                                           const rsl_saga_record *record),
                                              void *user)
{
    rsl_saga_file_ *file = (rsl_saga_file_ *)self;
    if (!file->is_open) return RSL_EINVAL;
    rsl_saga_file_load_ load = {saga, visit, user};
    return rsl_saga_file_pass_(file, rsl_saga_file_load_visit_, &load);
}

/* Keeps what is not taken over: the torn end, or the whole file that had to be salvaged. */
static inline bool rsl_saga_file_set_aside_(rsl_saga_file_ *file)
{
    if (!file->is_torn && !file->salvage) return true;
    uint64_t from = file->salvage ? 0 : file->end;
    int aside = rsl_file_open_(file->folder, file->salvage ? "journal.damaged" : "journal.torn",
                               RSL_FILE_NEW_);
    if (aside < 0) return false;
    rsl_journal_window_turn_(&file->in, file->journal, file->size);
    bool written = true;
    size_t got = 1;
    for (uint64_t offset = from; written && got > 0; offset += got) {
        const uint8_t *at;
        written = rsl_journal_window_at_(&file->in, offset, 1, &at, &got) == RSL_OK;
        if (!written) break;
        size_t size = got; /* zeros at the end need not be */
        while (size > 0 && at[size - 1] == 0) size--;
        written = rsl_journal_write_(aside, at, size, offset - from);
    }
    written = written && rsl_file_sync_(aside) == 0;
    rsl_file_close_(aside);
    return written;
}

/* What a compaction copies, and where to. */
typedef struct rsl_saga_file_copy_ {
    rsl_journal_writer_ *to;
    bool (*keep)(void *user, const rsl_saga_record *record);
    void  *user;
} rsl_saga_file_copy_;

static inline int rsl_saga_file_copy_visit_(void *user, const rsl_saga_record *record)
{
    const rsl_saga_file_copy_ *copy = (const rsl_saga_file_copy_ *)user;
    if (!copy->keep(copy->user, record)) return RSL_OK;
    return rsl_journal_put_(copy->to, record) ? RSL_OK : RSL_EIO;
}

/* Writes the headers of a file whose records are written, and syncs both. */
static inline bool rsl_saga_file_write_header_(rsl_journal_writer_ *out,
                                               rsl_journal_header_ *header)
{
    if (!rsl_journal_flush_(out)) return false;
    header->base = out->sequence;
    rsl_journal_header_put_(header, out->buffer);
    memcpy(out->buffer + RSL_JOURNAL_BLOCK_, out->buffer, RSL_JOURNAL_BLOCK_);
    return rsl_journal_write_(out->file, out->buffer, RSL_JOURNAL_START_, 0) &&
           rsl_journal_commit_(out, false);
}

/* The next file is whole and durable: it becomes the journal. */
static inline int rsl_saga_file_switch_(rsl_saga_file_ *file, const rsl_journal_writer_ *next,
                                        const rsl_journal_header_ *header)
{
    if (rsl_file_folder_sync_(file->folder) != 0 ||
        rsl_file_rename_(file->folder, "journal.new", "journal") != 0 ||
        rsl_file_folder_sync_(file->folder) != 0) {
        return RSL_EIO;
    }
    if (file->journal >= 0) rsl_file_close_(file->journal);
    file->journal = next->file;
    file->out = *next;
    file->header = *header;
    file->end = next->end;
    file->is_in_use = true;
    file->is_torn = false;
    file->salvage = false;
    rsl_saga_file_bound_put_(file);
    return RSL_OK;
}

static inline int rsl_saga_file_rewrite_(rsl_saga_file_ *file,
                                         bool (*keep)(void *user, const rsl_saga_record *record),
                                         void *user)
{
    if (!rsl_saga_file_set_aside_(file)) return RSL_EIO;
    rsl_journal_header_ header = file->header;
    header.version = RSL_JOURNAL_VERSION_;
    header.epoch = file->epoch;
    header.next_id = file->next_id;
    header.first = file->out.sequence + 1;
    header.time = rsl_file_time_();
    uint8_t drawn[16];
    rsl_le64_put_(drawn, file->seed++); /* another one also after a try that lacked memory */
    rsl_le64_put_(drawn + 8, header.first);
    header.mark = rsl_crc32c_(0, drawn, sizeof drawn);

    rsl_journal_writer_ next = {.mark = header.mark, .crc = header.mark,
                                .sequence = file->out.sequence, .durable = file->out.sequence,
                                .end = RSL_JOURNAL_START_, .size = RSL_JOURNAL_START_,
                                .at = RSL_JOURNAL_START_, .buffer = file->out.buffer};
    next.file = rsl_file_open_(file->folder, "journal.new", RSL_FILE_NEW_);
    if (next.file < 0) return RSL_EIO;
    rsl_saga_file_copy_ copy = {&next, keep, user};
    int status = rsl_saga_file_pass_(file, rsl_saga_file_copy_visit_, &copy);
    if (status == RSL_OK && !rsl_saga_file_write_header_(&next, &header)) status = RSL_EIO;
    if (status == RSL_OK) status = rsl_saga_file_switch_(file, &next, &header);
    if (status != RSL_OK) rsl_file_close_(next.file);
    return status;
}

static inline int rsl_saga_file_compact_(void *self,
                                         bool (*keep)(void *user, const rsl_saga_record *record),
                                         void *user, uint32_t finished_max)
{
    (void)finished_max;
    rsl_saga_file_ *file = (rsl_saga_file_ *)self;
    int status = rsl_saga_file_usable_(file);
    if (status != RSL_OK) return status;
    int saved = errno;
    status = rsl_saga_file_rewrite_(file, keep, user);
    if (status == RSL_OK) errno = saved;
    if (status == RSL_OK || status == RSL_ENOMEM) return status;
    if (status != RSL_EIO) errno = 0;
    (void)rsl_saga_file_poison_(file);
    return status;
}

/* ---- appending ---- */

static inline bool rsl_saga_file_takes_(const rsl_saga_record *record)
{
    bool has_id = record->saga != 0 && record->saga != UINT64_MAX; /* one above must be left */
    return has_id && record->size <= RSL_JOURNAL_DATA_MAX_ &&
           (record->size == 0 || record->data != NULL) && record->state <= RSL_SAGA_ABANDONED;
}

/* RSL_EINVAL, with nothing stored and the store as before: the first compaction is not done yet,
   or a record has no saga, no such state, or more than RSL_JOURNAL_DATA_MAX_ bytes. */
static inline int rsl_saga_file_append_(void *self, rsl_saga_record *records, size_t count)
{
    rsl_saga_file_ *file = (rsl_saga_file_ *)self;
    int status = rsl_saga_file_usable_(file);
    if (status != RSL_OK) return status;
    if (!file->is_in_use) return RSL_EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (!rsl_saga_file_takes_(&records[i])) return RSL_EINVAL;
    }
    if (count == 0) return RSL_OK;
    int saved = errno;
    for (size_t i = 0; i < count; i++) {
        if (!rsl_journal_put_(&file->out, &records[i])) return rsl_saga_file_poison_(file);
        if (records[i].saga >= file->next_id) file->next_id = records[i].saga + 1;
        records[i].status = RSL_OK;
    }
    if (!rsl_journal_commit_(&file->out, true)) return rsl_saga_file_poison_(file);
    file->end = file->out.end;
    rsl_saga_file_bound_put_(file);
    errno = saved;
    return RSL_OK;
}

/* ---- closing, making ---- */

/* Says that all is durable, if there is anything of which nothing else says so. */
static inline void rsl_saga_file_seal_(rsl_saga_file_ *file)
{
    if (rsl_saga_file_usable_(file) != RSL_OK || !file->is_in_use) return;
    if (file->out.sequence == file->header.base) return;
    rsl_saga_record seal = {0, 0, 0, RSL_SAGA_RUNNING, NULL, 0, RSL_OK};
    if (rsl_journal_put_(&file->out, &seal) && rsl_journal_commit_(&file->out, false)) {
        rsl_saga_file_bound_put_(file);
    }
}

static inline void rsl_saga_file_close_(void *self)
{
    rsl_saga_file_ *file = (rsl_saga_file_ *)self;
    if (file == NULL) return;
    int saved = errno;
    rsl_saga_file_seal_(file);
    if (file->journal >= 0) rsl_file_close_(file->journal);
    if (file->lock >= 0) rsl_file_close_(file->lock);
    if (file->folder >= 0) rsl_file_close_(file->folder);
    RSL_FREE(file->in.buffer);
    RSL_FREE(file->out.buffer);
    RSL_FREE(file);
    errno = saved;
}

/* Makes the store of a folder, to be opened; its close frees it. RSL_EINVAL: no path;
   RSL_ENOMEM. */
static inline int rsl_saga_file_make_(rsl_saga_store *store, const char *path)
{
    if (path == NULL || *path == '\0') return RSL_EINVAL;
    size_t length = rsl_journal_path_length_(path);
    rsl_saga_file_ *file = (rsl_saga_file_ *)RSL_MALLOC(sizeof *file + length + 1);
    if (file == NULL) return RSL_ENOMEM;
    memset(file, 0, sizeof *file);
    memcpy(file->path, path, length);
    file->path[length] = '\0';
    file->folder = file->lock = file->journal = -1;
    rsl_saga_store made = {.self = file, .open = rsl_saga_file_open_,
                           .load = rsl_saga_file_load_records_, .append = rsl_saga_file_append_,
                           .compact = rsl_saga_file_compact_, .close = rsl_saga_file_close_};
    *store = made;
    return RSL_OK;
}

/* ---- for tools ---- */

static inline void rsl_journal_report_(const rsl_journal_scan_ *scan, uint64_t bound,
                                       rsl_saga_journal_report *report)
{
    rsl_saga_uuid_text_(scan->header.uuid, report->uuid);
    report->version = scan->header.version;
    report->epoch = scan->header.epoch;
    report->status = rsl_journal_scan_judge_(scan, bound);
    report->records = scan->records;
    report->records_after = scan->records_after;
    report->offset = scan->is_bad ? scan->bad_offset : scan->offset;
    if (report->status == RSL_OK) report->offset = report->bytes;
    if (scan->is_marred) { /* then that is the first, and all are behind it */
        report->offset = 0;
        report->records_after += report->records;
        report->records = 0;
    }
}

/* The journal of a folder that is open. */
static inline int rsl_journal_read_(const rsl_journal_told_ *told, int folder,
                                    rsl_journal_scan_ *scan, rsl_saga_journal_report *report)
{
    uint8_t bytes[RSL_JOURNAL_BOUND_]; /* read first: the journal may grow meanwhile */
    int file;
    rsl_file_facts_ facts;
    int status = rsl_journal_open_(told, folder, "lock", RSL_FILE_READ_, &file, &facts);
    if (status != RSL_OK && !(status == RSL_ESYS && errno == ENOENT)) return status;
    rsl_journal_bound_read_(file, bytes);
    if (file >= 0) rsl_file_close_(file);
    status = rsl_journal_open_(told, folder, "journal", RSL_FILE_READ_, &file, &facts);
    if (status != RSL_OK) return status;
    rsl_journal_window_turn_(scan->in, file, facts.size);
    rsl_saga_journal_report found = {.bytes = facts.size, .status = RSL_ECORRUPT};
    status = rsl_journal_scan_begin_(scan);
    bool is_readable = status == RSL_OK;
    if (is_readable) status = rsl_journal_scan_run_(scan);
    rsl_file_close_(file);
    if (is_readable) {
        rsl_journal_report_(scan, rsl_journal_bound_get_(bytes, scan->header.uuid), &found);
    } else if (status == RSL_ECORRUPT) {
        status = RSL_OK; /* no header is whole: that is all to be said */
    }
    if (status == RSL_OK) *report = found;
    else if (!scan->is_stopped) status = rsl_journal_pass_tell_(scan, status, told);
    return status;
}

int rsl_saga_journal_read(const char *path, rsl_saga_journal_report *report,
                          int (*visit)(void *user, const rsl_saga_record *record), void *user,
                          char *error, size_t size)
{
    rsl_journal_told_ told = {"journal", error, size};
    if (path == NULL || *path == '\0' || report == NULL) {
        return rsl_journal_tell_(&told, RSL_EINVAL, "", "path and report must be given");
    }
    size_t length = rsl_journal_path_length_(path);
    char *copy = (char *)RSL_MALLOC(length + 1);
    rsl_journal_window_ in;
    int status = copy != NULL ? rsl_journal_window_open_(&in) : RSL_ENOMEM;
    if (status != RSL_OK) {
        RSL_FREE(copy);
        return rsl_journal_tell_(&told, status, "", "out of memory");
    }
    memcpy(copy, path, length);
    copy[length] = '\0';
    told.path = copy;
    int folder;
    status = rsl_journal_folder_open_(&told, &folder);
    if (status == RSL_OK) {
        rsl_journal_scan_ scan = {.in = &in, .search = true, .is_live = true, .visit = visit,
                                  .user = user};
        status = rsl_journal_read_(&told, folder, &scan, report);
        rsl_file_close_(folder);
    }
    RSL_FREE(in.buffer);
    RSL_FREE(copy);
    return status;
}
#endif /* _WIN32 */

/* ---- the runtime: what it keeps ---- */

/* A registered definition; in one block with its sets, steps, names and shape. */
typedef struct rsl_saga_kind_ rsl_saga_kind_;
struct rsl_saga_kind_ {
    rsl_saga_kind_ *next;
    rsl_saga_plan_  plan;
    void           *arg;
    uint8_t        *shape;
    size_t          shape_size;
    char            identity[RSL_SAGA_NAME_MAX + 1 + 10 + 1 + 20 + 1]; /* name/version/hash */
};

/* A saga by its key and id, also when it has ended. */
typedef struct rsl_saga_entry_ rsl_saga_entry_;
struct rsl_saga_entry_ {
    rsl_saga_id     id;
    uint32_t        place;    /* in the array of entries */
    uint32_t        version;
    rsl_saga_state  state;    /* of its latest durable record */
    bool            durable;  /* its BEGIN is */
    uint32_t        users;    /* calls that hold on to it */
    uint64_t        epoch;
    rsl_saga_live_ *live;     /* NULL: it has ended */
    rsl_saga_entry_ *next;    /* of the ended, the oldest first */
    rsl_waiters_    waiters;  /* until it has ended or is parked */
    char            def[RSL_SAGA_NAME_MAX + 1];
    char            key[];
};

/* A step on its way to a thread. */
typedef struct rsl_saga_seat_ rsl_saga_seat_;
struct rsl_saga_seat_ {
    rsl_saga_seat_ *next;
    rsl_saga_live_ *live;
    uint32_t        step;
};

/* A record on its way to the store. A saga brings all that it can ever need: two for each step, as
   an outcome and the next START, or a PARK, may wait together; and RSL_SAGA_NODES_ for itself; and
   as many again, for one that an operator meddles with while they wait to be told of. So nothing
   is allocated between its beginning and its end. */
typedef struct rsl_saga_node_ rsl_saga_node_;
struct rsl_saga_node_ {
    rsl_saga_node_  *next;
    rsl_saga_node_  *after;  /* the saga's next one that is busy */
    rsl_saga_live_  *live;
    rsl_saga_change_ change;
    const char      *source; /* of its event: the step's name, or the definition's */
    rsl_saga_state   state;
    uint32_t         number;
    uint64_t         event;
    size_t           size;   /* of its data, once it is appended */
    bool             busy;   /* until it is durable, told of, and acted on */
    bool             told;   /* all but acted on: earlier ones of its saga are still being told */
    bool             loses;  /* its append told that the saga is lost */
    bool             mute;   /* that had been told of before */
};
enum {
    RSL_SAGA_NODES_ = 8,
    RSL_SAGA_BATCH_ = 512,
    RSL_SAGA_CLAIMS_ = 64,
    RSL_SAGA_RECENT_ = 128
};

/* What is needed of a saga that has not ended. */
struct rsl_saga_live_ {
    rsl_saga_entry_       *entry;
    const rsl_saga_kind_  *kind;    /* NULL: no registered definition fits */
    const rsl_saga_plan_  *plan;    /* of kind, or own */
    rsl_saga_plan_        *own;     /* read from BEGIN; NULL: it has a kind */
    void                  *begin;   /* the data of BEGIN */
    size_t                 begin_size;
    rsl_saga_begin_        said;    /* what it says */
    rsl_saga_view_         view;    /* also of records that are not durable yet */
    uint64_t               epoch;
    rsl_cancel             cancel;  /* of its actions under way */
    rsl_time               wake_at; /* when it is to be looked at again */
    rsl_time               lease_until; /* shared stores: by our own clock; else RSL_FOREVER */
    uint32_t               timer;   /* its place among the timers, from 1; 0: none */
    uint32_t               number;  /* of its latest record */
    uint32_t               out;     /* steps that are ready or running */
    uint32_t               pending; /* nodes that are busy */
    uint64_t               bytes;   /* of its records */
    bool                   parked, damaged;
    bool                   waits;   /* for another suspect to end */
    bool                   held;    /* claimed for an operator's word: stays although parked */
    bool                   told;    /* that it is lost */
    bool                   loading; /* its log is being read; only for who reads it */
    rsl_time               renewed_at;
    rsl_time               asks_until; /* its lease was over unseen, and the store is asked until
                                          then; 0: it was not */
    bool                   late;    /* its lease is over by our clock: nothing is begun any more,
                                       what comes back OK is recorded, then it is lost */
    bool                   lost;    /* another's, perhaps: nothing is recorded any more */
    rsl_saga_node_        *first, *last; /* of those that are busy; first NULL: none */
    uint32_t               stored;  /* all records up to this number are durable */
    rsl_saga_seat_        *seats;
    rsl_saga_node_        *nodes;
    rsl_saga_output_      *outputs;
};

#ifndef RSL_NO_THREADS
typedef struct rsl_saga_hand_ { /* a thread of the runtime's own */
    rsl_sagas  *sagas;
    rsl_thread_ thread;
    bool        gone; /* guarded by the lock until stopping: there is none to join */
} rsl_saga_hand_;
#endif

/* With config.submit: a place in the application's threads. */
typedef struct rsl_saga_runner_ {
    rsl_sagas *sagas;
    void      *task;
    bool       busy; /* guarded by the lock: fn has not returned */
    bool       used; /* guarded by the lock */
} rsl_saga_runner_;

/* All but what is said to be constant after open is guarded by lock. [WAKE] Work is something
   pending while nobody appends, something ready while fewer than config.threads run, or a timer
   or duty that nobody watches. Who makes work holds the lock, and before it drops it to do
   something long, to sleep or to return, it calls rsl_sagas_share_, which wakes one of who idles
   if there is work; who is woken does the same. Threads are one more than may run steps: so one at
   least is awake, or idles, or appends. With a shared store, which may keep who appends and who
   renews waiting, they are three more, and one watches over the ends of leases. */
struct rsl_sagas {
    rsl_sagas_config config;   /* constant, as all to lock */
    rsl_saga_store   store;
    bool             shared;
    char             uuid[RSL_SAGA_UUID_ + 1];
    uint64_t         epoch;
    rsl_time         shift;    /* the journal's time is the clock's plus this */
    rsl_clock        waits_on; /* the clock for sleeping */
    rsl_lock_        lock;

    rsl_saga_kind_  *kinds;
    uint32_t         kinds_asked;      /* of them, those before are not in the next claim */
    rsl_map_         by_id, by_key;    /* places of entries */
    rsl_saga_entry_ *recent[RSL_SAGA_RECENT_]; /* found lately, by id: logs of a few sagas mix */
    rsl_saga_entry_ **entries;         /* stb_ds array; by_id and by_key hold as many */
    uint32_t         entries_count;
    rsl_saga_live_ **timers;           /* stb_ds array, a heap by wake_at; room for all live */
    uint32_t         timers_count, live_count, ended_count;
    rsl_saga_entry_ *ended_first, *ended_last;
    rsl_saga_id      next_id;

    rsl_saga_node_  *pending_first, *pending_last;
    bool             compacting;       /* that thread compacts; nothing is forgotten meanwhile */
    bool             appending;        /* one thread has records, scratch and the store's append */
    uint32_t         telling;          /* threads that tell observers, and then act on it */
    rsl_saga_record *records;
    uint8_t         *scratch;
    size_t           scratch_size;
    uint64_t         appended;         /* records so far: numbers of events */
    uint64_t         stored, needed;   /* bytes in the store; of them, of sagas that live */
    uint64_t         ended_bytes;      /* of the ENDs of those that have ended */
    uint32_t         ended_since;      /* the latest compaction */

    rsl_saga_seat_  *ready_first, *ready_last;
    uint32_t         ready_count, running;
    rsl_saga_seat_  *suspect;          /* the only suspect that is started; NULL: none */
    bool             suspects_wait;    /* others are to be looked at when it has ended */
    rsl_step        *out;              /* steps that run */
    rsl_waiters_     idlers;           /* threads without work */
    rsl_waiters_     flushed;          /* who waits for an append */
    rsl_waiters_     closers;          /* who waits for steps under way */
    rsl_waiters_     woken;            /* to be woken once the lock is dropped */
    rsl_time         watch_at;         /* the earliest end of an idler's sleep, or later */

    bool             closing, stopping, failed, recovering;
    bool             on_duty;          /* one thread renews and claims */
    bool             answers;          /* and the store has renewed what it was asked to */
    rsl_saga_claim   left[RSL_SAGA_CLAIMS_]; /* let go of: their leases are to be freed; those of
                                          more than these run out by themselves */
    size_t           left_count;
    uint32_t         renewing;         /* the place of the entry that it has come to */
    rsl_time         duty_at, submit_at;
    uint32_t         crew_count;
#ifndef RSL_NO_THREADS
    rsl_saga_hand_  *crew;
#endif
    rsl_saga_runner_ *runners;
    char            *tasks;
    rsl_sagas_stats  stats;
};

static inline rsl_time rsl_sagas_now_(const rsl_sagas *sagas)
{
    return rsl_time_add_(rsl_clock_now_(&sagas->config.clock), sagas->shift);
}

/* From the journal's time to the clock's. */
static inline rsl_time rsl_sagas_clock_(const rsl_sagas *sagas, rsl_time at)
{
    return at == RSL_FOREVER ? RSL_FOREVER : at - sagas->shift;
}

static inline void rsl_sagas_lock_(rsl_sagas *sagas) { rsl_lock_take_(&sagas->lock); }

/* Drops the lock, and only then wakes those that were taken from a list of waiters. */
static inline void rsl_sagas_unlock_(rsl_sagas *sagas)
{
    rsl_waiter *waiter = sagas->woken.first;
    sagas->woken.first = sagas->woken.last = NULL;
    rsl_lock_drop_(&sagas->lock);
    while (waiter != NULL) {
        rsl_waiter *next = waiter->private_.next; /* it is gone once it is woken */
        rsl_waiter_wake_(waiter);
        waiter = next;
    }
}

/* Lock held, from here to the next part. */
static inline void rsl_sagas_wake_(rsl_sagas *sagas, rsl_waiters_ *list, rsl_waiter *waiter)
{
    rsl_waiters_unlink_(list, waiter);
    /* relaxed, as in rsl_waiters_take_: the lock orders it */
    rsl_store_relaxed_(&waiter->private_.state, RSL_WAITER_WAKING_);
    if (sagas->woken.last != NULL) sagas->woken.last->private_.next = waiter;
    else sagas->woken.first = waiter;
    sagas->woken.last = waiter;
}

static inline bool rsl_sagas_wake_one_(rsl_sagas *sagas, rsl_waiters_ *list)
{
    bool any = list->first != NULL;
    if (any) rsl_sagas_wake_(sagas, list, list->first);
    return any;
}

static inline void rsl_sagas_wake_all_(rsl_sagas *sagas, rsl_waiters_ *list)
{
    while (rsl_sagas_wake_one_(sagas, list)) continue;
}

/* Sleeps until woken, until the clock says `until`, or ctx ends. cause: for who wakes. */
static inline void rsl_sagas_sleep_(rsl_sagas *sagas, rsl_waiters_ *list, const void *cause,
                                    const rsl_ctx *ctx, rsl_time until)
{
    rsl_waiter waiter;
    rsl_word_ word = 0;
    rsl_waiter_park_(&waiter, &word);
    waiter.private_.word[0] = (uint64_t)(uintptr_t)cause;
    rsl_waiters_push_(list, &waiter);
    rsl_sagas_unlock_(sagas);
    rsl_ctx_sleep_(ctx, &sagas->waits_on, &word, until);
    rsl_waiters_leave_(list, &sagas->lock, &waiter);
    rsl_sagas_lock_(sagas);
}

static inline bool rsl_sagas_may_run_(const rsl_sagas *sagas)
{
    return sagas->ready_first != NULL && sagas->running < sagas->config.threads;
}

static inline bool rsl_sagas_may_append_(const rsl_sagas *sagas)
{
    return sagas->pending_first != NULL && !sagas->appending && !sagas->failed;
}

/* When leases are to be renewed, or freed; RSL_FOREVER: not by us. Also on the way to the end, as
   long as a step may run, or its outcome is not durable yet. */
static inline rsl_time rsl_sagas_duty_due_(const rsl_sagas *sagas)
{
    bool ends = sagas->running > 0 || sagas->appending || sagas->telling > 0 ||
                sagas->pending_first != NULL;
    if (!sagas->shared || sagas->on_duty || (sagas->closing && !ends)) return RSL_FOREVER;
    return sagas->left_count > 0 && !sagas->closing ? 0 : sagas->duty_at;
}

/* [WAKE] */
static inline void rsl_sagas_share_(rsl_sagas *sagas)
{
    bool timer = sagas->timers_count > 0 && sagas->timers[0]->wake_at < sagas->watch_at;
    /* who went idle while another was on duty sleeps past the next one */
    bool duty = rsl_time_add_(rsl_sagas_duty_due_(sagas), sagas->shift) < sagas->watch_at;
    if (timer || duty || rsl_sagas_may_append_(sagas) || rsl_sagas_may_run_(sagas))
        rsl_sagas_wake_one_(sagas, &sagas->idlers);
}

/* ---- timers: a binary heap ---- */

static inline void rsl_sagas_timer_move_(rsl_sagas *sagas, rsl_saga_live_ *live, uint32_t place)
{
    sagas->timers[place] = live;
    live->timer = place + 1;
}

static inline void rsl_sagas_timer_sift_(rsl_sagas *sagas, rsl_saga_live_ *live)
{
    uint32_t at = live->timer - 1;
    while (at > 0 && sagas->timers[(at - 1) / 2]->wake_at > live->wake_at) {
        rsl_sagas_timer_move_(sagas, sagas->timers[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1, count = sagas->timers_count;
        if (child + 1 < count && sagas->timers[child + 1]->wake_at < sagas->timers[child]->wake_at)
            child++;
        if (child >= count || sagas->timers[child]->wake_at >= live->wake_at) break;
        rsl_sagas_timer_move_(sagas, sagas->timers[child], at);
        at = child;
    }
    rsl_sagas_timer_move_(sagas, live, at);
}

/* at: when the saga is to be looked at; RSL_FOREVER: not by time. There is room for every live. */
static inline void rsl_sagas_timer_set_(rsl_sagas *sagas, rsl_saga_live_ *live, rsl_time at)
{
    live->wake_at = at;
    if (live->timer == 0 && at != RSL_FOREVER) {
        sagas->timers[sagas->timers_count] = live;
        live->timer = ++sagas->timers_count;
    } else if (live->timer != 0 && at == RSL_FOREVER) {
        uint32_t place = live->timer - 1;
        rsl_saga_live_ *last = sagas->timers[--sagas->timers_count];
        live->timer = 0;
        if (last == live) return;
        rsl_sagas_timer_move_(sagas, last, place);
        live = last;
    }
    if (live->timer != 0) rsl_sagas_timer_sift_(sagas, live);
}

/* ---- entries and lives ---- */

static inline const char *rsl_saga_id_text_(rsl_saga_id id, char text[21])
{
    rsl_saga_write_number_(text, text + 21, id);
    return text;
}

static inline rsl_saga_entry_ *rsl_sagas_find_(rsl_sagas *sagas, rsl_saga_id id)
{
    char text[21];
    uint32_t place;
    rsl_saga_entry_ **recent = &sagas->recent[id % RSL_SAGA_RECENT_];
    if (*recent != NULL && (*recent)->id == id) return *recent;
    if (!rsl_map_get_(&sagas->by_id, rsl_saga_id_text_(id, text), &place)) return NULL;
    return *recent = sagas->entries[place];
}

static inline rsl_saga_entry_ *rsl_sagas_find_key_(const rsl_sagas *sagas, const char *key)
{
    uint32_t place;
    return rsl_map_get_(&sagas->by_key, key, &place) ? sagas->entries[place] : NULL;
}

static inline rsl_saga_entry_ *rsl_saga_entry_make_(rsl_saga_id id, const char *key,
                                                    const char *def, uint32_t version)
{
    size_t size = strlen(key) + 1;
    rsl_saga_entry_ *entry = (rsl_saga_entry_ *)RSL_MALLOC(sizeof *entry + size);
    if (entry == NULL) return NULL;
    memset(entry, 0, sizeof *entry);
    entry->id = id;
    entry->version = version;
    rsl_saga_write_(entry->def, entry->def + sizeof entry->def, def);
    memcpy(entry->key, key, size);
    return entry;
}

/* Makes the entry known; also finds room for its timer. RSL_ENOMEM: nothing has changed. */
static inline int rsl_sagas_enter_(rsl_sagas *sagas, rsl_saga_entry_ *entry)
{
    char text[21];
    uint32_t count = sagas->entries_count;
    void *entries = rsl_array_grow_(sagas->entries, sizeof *sagas->entries, count + 1);
    if (entries == NULL) return RSL_ENOMEM;
    sagas->entries = (rsl_saga_entry_ **)entries;
    void *timers = rsl_array_grow_(sagas->timers, sizeof *sagas->timers, count + 1);
    if (timers == NULL) return RSL_ENOMEM;
    sagas->timers = (rsl_saga_live_ **)timers;
    int status = rsl_map_put_(&sagas->by_id, rsl_saga_id_text_(entry->id, text), count);
    if (status != RSL_OK) return status;
    status = rsl_map_put_(&sagas->by_key, entry->key, count);
    if (status != RSL_OK) {
        rsl_map_del_(&sagas->by_id, text);
        return status;
    }
    entry->place = count;
    sagas->entries[sagas->entries_count++] = entry;
    return RSL_OK;
}

/* The entry's last: nobody uses it, it has no live. The last of all takes its place, for which the
   maps need no memory. */
static inline void rsl_sagas_forget_(rsl_sagas *sagas, rsl_saga_entry_ *entry)
{
    char text[21];
    rsl_saga_entry_ *last = sagas->entries[sagas->entries_count - 1];
    /* a log may still hold an ended saga whose key was forgotten, and used for another */
    bool has_key = rsl_sagas_find_key_(sagas, entry->key) == entry;
    bool last_has_key = rsl_sagas_find_key_(sagas, last->key) == last;
    rsl_saga_entry_ **recent = &sagas->recent[entry->id % RSL_SAGA_RECENT_];
    if (*recent == entry) *recent = NULL;
    rsl_map_del_(&sagas->by_id, rsl_saga_id_text_(entry->id, text));
    if (has_key) rsl_map_del_(&sagas->by_key, entry->key);
    sagas->entries_count--;
    if (last != entry) {
        last->place = entry->place;
        sagas->entries[last->place] = last;
        (void)rsl_map_put_(&sagas->by_id, rsl_saga_id_text_(last->id, text), last->place);
        if (last_has_key) (void)rsl_map_put_(&sagas->by_key, last->key, last->place);
    }
    RSL_FREE(entry);
}

/* A live saga of that plan in one block; it owns `begin` from now on, and own, if that is not
   NULL. RSL_ENOMEM, RSL_ESYS: it owns nothing. */
static inline int rsl_saga_live_make_(rsl_saga_live_ **made, const rsl_saga_plan_ *plan,
                                      rsl_saga_plan_ *own, void *begin, size_t begin_size)
{
    size_t count = plan->count, nodes = 2 * (2 * count + RSL_SAGA_NODES_);
    rsl_saga_live_ *live = (rsl_saga_live_ *)RSL_MALLOC(
        sizeof *live + nodes * sizeof *live->nodes + count * sizeof *live->seats +
        count * sizeof *live->outputs + count * sizeof(rsl_saga_mark_));
    if (live == NULL) return RSL_ENOMEM;
    memset(live, 0, sizeof *live);
    int status = rsl_cancel_init(&live->cancel, NULL);
    if (status != RSL_OK) {
        RSL_FREE(live);
        return status;
    }
    live->nodes = (rsl_saga_node_ *)(void *)(live + 1); /* the strictest alignment first */
    rsl_saga_mark_ *marks = (rsl_saga_mark_ *)(void *)(live->nodes + nodes);
    live->seats = (rsl_saga_seat_ *)(void *)(marks + count);
    live->outputs = (rsl_saga_output_ *)(void *)(live->seats + count);
    memset(live->nodes, 0, nodes * sizeof *live->nodes);
    memset(live->seats, 0, count * sizeof *live->seats);
    memset(live->outputs, 0, count * sizeof *live->outputs);
    live->plan = plan;
    live->own = own;
    live->begin = begin;
    live->begin_size = begin_size;
    live->wake_at = live->lease_until = RSL_FOREVER;
    bool said = begin != NULL && rsl_saga_begin_read_(&live->said, begin, begin_size);
    rsl_saga_view_init_(&live->view, marks, plan->count,
                        said ? live->said.deadline_at : RSL_FOREVER);
    *made = live;
    return RSL_OK;
}

static inline void rsl_saga_live_free_(rsl_saga_live_ *live)
{
    for (uint32_t i = 0; i < live->plan->count; i++) RSL_FREE(live->outputs[i].data);
    rsl_cancel_deinit(&live->cancel);
    RSL_FREE(live->own);
    rsl_saga_begin_free_(live->begin);
    RSL_FREE(live);
}

/* Lets go of the live part: it has ended, or another host has it. */
static inline void rsl_sagas_unlive_(rsl_sagas *sagas, rsl_saga_entry_ *entry)
{
    rsl_saga_live_ *live = entry->live;
    rsl_sagas_timer_set_(sagas, live, RSL_FOREVER);
    entry->epoch = live->epoch;
    entry->live = NULL;
    sagas->live_count--;
    sagas->needed -= live->bytes;
    rsl_saga_live_free_(live);
}

/* Wakes who waits for this saga. */
static inline void rsl_sagas_tell_(rsl_sagas *sagas, rsl_saga_entry_ *entry)
{
    rsl_sagas_wake_all_(sagas, &entry->waiters);
    if (sagas->config.caller_works) rsl_sagas_wake_all_(sagas, &sagas->idlers);
}

/* What stays in the store of a saga that has ended: the size of its END. */
static inline uint64_t rsl_saga_end_size_(const rsl_saga_entry_ *entry)
{
    return RSL_SAGA_HEAD_ + 4 + 1 + strlen(entry->def) + 1 + strlen(entry->key);
}

/* Forgets the oldest of the ended ones, down to what is to be remembered. */
static inline void rsl_sagas_trim_(rsl_sagas *sagas)
{
    uint32_t max = sagas->shared ? 0 : sagas->config.finished_max;
    /* A compaction that kept the BEGIN of a saga must find it remembered when it comes to its END,
       or the saga would live again. */
    if (sagas->compacting && !sagas->shared) return;
    while (sagas->ended_count > max && sagas->ended_first->users == 0) {
        rsl_saga_entry_ *oldest = sagas->ended_first;
        sagas->ended_first = oldest->next;
        if (sagas->ended_first == NULL) sagas->ended_last = NULL;
        sagas->ended_count--;
        sagas->ended_bytes -= rsl_saga_end_size_(oldest);
        rsl_sagas_forget_(sagas, oldest);
    }
}

/* A saga has ended: its entry joins those that are remembered, and pushes out the oldest. */
static inline void rsl_sagas_remember_(rsl_sagas *sagas, rsl_saga_entry_ *entry)
{
    entry->next = NULL;
    if (sagas->ended_last != NULL) sagas->ended_last->next = entry;
    else sagas->ended_first = entry;
    sagas->ended_last = entry;
    sagas->ended_count++;
    sagas->ended_bytes += rsl_saga_end_size_(entry);
    rsl_sagas_trim_(sagas);
}


/* ---- records on their way ---- */

static inline rsl_saga_node_ *rsl_saga_node_free_(rsl_saga_live_ *live)
{
    uint32_t count = 2 * (2 * live->plan->count + RSL_SAGA_NODES_);
    for (uint32_t i = 0; i < count; i++) {
        if (!live->nodes[i].busy) return &live->nodes[i];
    }
    return NULL;
}

/* Has a record written; BEGIN is not applied, as the view began with it. */
static inline void rsl_sagas_append_(rsl_sagas *sagas, rsl_saga_live_ *live,
                                     const rsl_saga_change_ *change)
{
    rsl_saga_node_ *node = rsl_saga_node_free_(live);
    RSL_ASSERT(node != NULL);
    if (change->kind != RSL_SAGA_LOG_BEGIN_) {
        bool fits = rsl_saga_apply_(live->plan, &live->view, change);
        RSL_ASSERT(fits);
        (void)fits;
    }
    const char *source = change->step == RSL_SAGA_NO_STEP_ ? live->entry->def
                                                           : live->plan->steps[change->step].name;
    *node = (rsl_saga_node_){NULL, NULL, live, *change, source, rsl_saga_view_state_(&live->view),
                             ++live->number, ++sagas->appended, 0, true, false, false, false};
    if (sagas->pending_last != NULL) sagas->pending_last->next = node;
    else sagas->pending_first = node;
    sagas->pending_last = node;
    if (live->first != NULL) live->last->after = node;
    else live->first = node;
    live->last = node;
    live->pending++;
    if (change->kind == RSL_SAGA_LOG_START_) live->out++;
}

/* Whether the step that is to be started may be, as far as suspects go. */
static inline bool rsl_sagas_admit_(rsl_sagas *sagas, rsl_saga_live_ *live,
                                    const rsl_saga_next_ *next)
{
    if (next->verdict != RSL_SAGA_START_) return true;
    const rsl_saga_mark_ *mark = &live->view.marks[next->step];
    if (mark->undo != next->undo || mark->cuts < RSL_SAGA_CUTS_SUSPECT_) return true;
    if (sagas->suspect != NULL) {
        live->waits = sagas->suspects_wait = true;
        return false;
    }
    sagas->suspect = &live->seats[next->step];
    return true;
}

/* Makes records of all that follows from the view. When it is to be asked again, by the clock. */
static inline rsl_time rsl_sagas_follow_(rsl_sagas *sagas, rsl_saga_live_ *live)
{
    rsl_saga_next_ next;
    for (;;) {
        rsl_time now = rsl_sagas_now_(sagas);
        next = rsl_saga_decide_(live->plan, &live->view, now, live->epoch);
        if (next.verdict == RSL_SAGA_REST_) break;
        if (!rsl_sagas_admit_(sagas, live, &next)) {
            rsl_saga_due_(&next, rsl_saga_heeded_deadline_(live->plan, &live->view));
            break;
        }
        rsl_saga_change_ change = rsl_saga_verdict_change_(&live->view, &next, now, live->epoch);
        rsl_sagas_append_(sagas, live, &change);
    }
    live->parked = rsl_saga_is_parked_(&next);
    if (live->parked && live->first != NULL) live->last->state = RSL_SAGA_PARKED;
    return next.at;
}

/* Whether the lease is over by our own clock, which is before the store can think so. */
static inline bool rsl_sagas_is_late_(const rsl_sagas *sagas, const rsl_saga_live_ *live)
{
    return !live->lost && !live->late && live->lease_until != RSL_FOREVER &&
           live->lease_until <= rsl_clock_now_(&sagas->config.clock);
}

/* Has the saga go on as its log says, and sets its timer: also to the end of its lease, though
   that will mostly have been renewed by then. */
static inline void rsl_sagas_decide_(rsl_sagas *sagas, rsl_saga_live_ *live)
{
    rsl_time at = RSL_FOREVER;
    if (live->lost || live->late) return;
    if (live->kind == NULL && !live->view.abandoned) live->parked = true;
    else if (!sagas->closing && !sagas->failed) at = rsl_sagas_follow_(sagas, live);
    if (live->lease_until != RSL_FOREVER) {
        rsl_time lease = rsl_time_add_(live->lease_until, sagas->shift);
        if (lease < at) at = lease;
    }
    rsl_sagas_timer_set_(sagas, live, at);
}

/* The data of a node's record, in scratch or in place. False: no more room in scratch. */
static inline bool rsl_sagas_encode_(const rsl_saga_node_ *node, rsl_saga_pen_ *pen,
                                     rsl_saga_record *record)
{
    const rsl_saga_live_ *live = node->live;
    const rsl_saga_change_ *change = &node->change;
    *record = (rsl_saga_record){live->entry->id, change->epoch, node->number, node->state,
                                live->begin, live->begin_size, RSL_OK};
    if (change->kind == RSL_SAGA_LOG_BEGIN_) return true;
    record->data = pen->at;
    rsl_saga_change_write_(pen, change);
    if (change->kind == RSL_SAGA_LOG_DONE_ && !change->undo) {
        const rsl_saga_output_ *output = &live->outputs[change->step];
        rsl_saga_put_(pen, output->data, output->size);
    } else if (change->kind == RSL_SAGA_LOG_END_) {
        rsl_saga_put_number_(pen, live->entry->version, 4);
        rsl_saga_put_text_(pen, live->entry->def);
        rsl_saga_put_text_(pen, live->entry->key);
    }
    record->size = (size_t)(pen->at - (const uint8_t *)record->data);
    return !pen->full;
}

static inline int rsl_saga_event_kind_(const rsl_saga_change_ *change)
{
    switch (change->kind) {
    case RSL_SAGA_LOG_BEGIN_: return RSL_SAGA_BEGUN;
    case RSL_SAGA_LOG_START_: return change->undo ? RSL_SAGA_UNDO_STARTED : RSL_SAGA_STEP_STARTED;
    case RSL_SAGA_LOG_DONE_: return change->undo ? RSL_SAGA_UNDO_DONE : RSL_SAGA_STEP_DONE;
    case RSL_SAGA_LOG_RETRY_: return change->undo ? RSL_SAGA_UNDO_RETRIES : RSL_SAGA_STEP_RETRIES;
    case RSL_SAGA_LOG_FAIL_: return RSL_SAGA_STEP_FAILED;
    case RSL_SAGA_LOG_DOUBT_: return RSL_SAGA_STEP_IN_DOUBT;
    case RSL_SAGA_LOG_TURN_: return RSL_SAGA_TURNS_BACK;
    case RSL_SAGA_LOG_FORTH_: return RSL_SAGA_TURNS_FORTH;
    case RSL_SAGA_LOG_PARK_: return RSL_SAGA_STEP_PARKED;
    case RSL_SAGA_LOG_PUT_OFF_: return RSL_SAGA_STEP_PUT_OFF;
    case RSL_SAGA_LOG_RESOLVE_: return RSL_SAGA_RESOLVED;
    default: return RSL_SAGA_ENDED;
    }
}

/* No lock held. source: NULL for the definition's name, which is its saga's. */
static inline void rsl_sagas_emit_(const rsl_sagas *sagas, int kind, const char *source,
                                   int status, uint64_t number, rsl_time at, rsl_saga_id saga)
{
    static const char *const names[] = {
        "", "begun", "step started", "step done", "step retries", "step failed",
        "step in doubt", "undo started", "undo done", "undo retries", "step parked",
        "step put off", "turns back", "turns forth", "resolved", "ended", "claimed", "lost",
        "store failed"};
    if (sagas->config.observer.on_event == NULL) return;
    rsl_event event = {source, names[kind], kind, status, number, at, (int64_t)saga};
    rsl_emit_(&sagas->config.observer, &event);
}

static inline void rsl_sagas_emit_node_(const rsl_sagas *sagas, const rsl_saga_node_ *node)
{
    const rsl_saga_change_ *change = &node->change;
    int status = change->status;
    if (change->kind == RSL_SAGA_LOG_RESOLVE_) status = (int)change->value;
    if (change->kind == RSL_SAGA_LOG_END_)
        status = change->value == RSL_SAGA_DONE     ? RSL_OK
                 : change->value == RSL_SAGA_UNWOUND ? RSL_EUNWOUND
                                                     : RSL_ECANCELED;
    rsl_sagas_emit_(sagas, rsl_saga_event_kind_(change), node->source, status, node->event,
                    change->at, node->live->entry->id);
}

/* ---- the runtime: appending, and acting on what is durable ---- */

/* Lock held. What a saga has come to: those who wait are told, what is over is let go. */
static inline void rsl_sagas_settle_(rsl_sagas *sagas, rsl_saga_live_ *live)
{
    rsl_saga_entry_ *entry = live->entry;
    if (live->pending > 0) return;
    if (live->late && live->out == 0 && !live->view.ended) live->lost = true;
    bool over = live->view.ended && !live->lost;
    bool gone = live->lost || (sagas->shared && live->parked && !live->held);
    if (live->parked && !live->lost) entry->state = RSL_SAGA_PARKED;
    if (over || live->parked || live->lost) rsl_sagas_tell_(sagas, entry);
    if ((!over && !gone) || live->out > 0) return;
    /* One whose append failed rests until its lease runs out: else it would be claimed, and fail,
       again and again. */
    if (live->late && sagas->left_count < RSL_SAGA_CLAIMS_) {
        sagas->left[sagas->left_count++] = (rsl_saga_claim){entry->id, live->epoch, RSL_OK, false};
    }
    if (over) {
        sagas->stats.done += live->view.end == RSL_SAGA_DONE;
        sagas->stats.unwound += live->view.end == RSL_SAGA_UNWOUND;
        sagas->stats.abandoned += live->view.end == RSL_SAGA_ABANDONED;
        sagas->ended_since++;
    }
    rsl_sagas_unlive_(sagas, entry);
    rsl_sagas_remember_(sagas, entry);
}

/* Lock held. A step is not out any more: it came back, or was never called. */
static inline void rsl_sagas_step_over_(rsl_sagas *sagas, rsl_saga_live_ *live, uint32_t step)
{
    live->out--;
    if (sagas->suspect != &live->seats[step]) return;
    sagas->suspect = NULL;
    if (!sagas->suspects_wait) return;
    sagas->suspects_wait = false;
    for (uint32_t i = 0; i < sagas->entries_count; i++) {
        rsl_saga_live_ *other = sagas->entries[i]->live;
        if (other == NULL || !other->waits) continue;
        other->waits = false;
        rsl_sagas_decide_(sagas, other);
    }
}

/* Lock held. A step that was started is not called: as if it had not been, if that can be said. */
static inline void rsl_sagas_put_off_(rsl_sagas *sagas, rsl_saga_live_ *live, uint32_t step)
{
    if (!live->lost && !sagas->failed) {
        rsl_saga_change_ change = {RSL_SAGA_LOG_PUT_OFF_, live->view.marks[step].undo,
                                   (uint16_t)step, 0, 0, live->epoch, rsl_sagas_now_(sagas), 0};
        rsl_sagas_append_(sagas, live, &change);
    }
    rsl_sagas_step_over_(sagas, live, step);
}

/* Lock held. Those of its steps that are ready are not called. */
static inline void rsl_sagas_put_off_ready_(rsl_sagas *sagas, rsl_saga_live_ *live)
{
    rsl_saga_seat_ *last = NULL, *seat = sagas->ready_first, *next;
    for (; seat != NULL; seat = next) {
        next = seat->next;
        if (seat->live != live) {
            last = seat;
            continue;
        }
        if (last != NULL) last->next = next;
        else sagas->ready_first = next;
        if (next == NULL) sagas->ready_last = last;
        sagas->ready_count--;
        rsl_sagas_put_off_(sagas, live, seat->step);
    }
}

/* Lock held. Acts on a record that is durable, or, if its saga is lost, never will be. */
static inline void rsl_sagas_act_(rsl_sagas *sagas, rsl_saga_node_ *node)
{
    rsl_saga_live_ *live = node->live;
    node->busy = false;
    live->pending--;
    if (!live->lost) {
        live->entry->state = node->state;
        live->bytes += node->size;
        sagas->needed += node->size;
        sagas->stored += node->size;
    }
    if (node->change.kind == RSL_SAGA_LOG_START_) {
        if (live->lost || live->late || sagas->failed || sagas->closing) {
            rsl_sagas_put_off_(sagas, live, node->change.step);
        } else {
            rsl_saga_seat_ *seat = &live->seats[node->change.step];
            *seat = (rsl_saga_seat_){NULL, live, node->change.step};
            if (sagas->ready_last != NULL) sagas->ready_last->next = seat;
            else sagas->ready_first = seat;
            sagas->ready_last = seat;
            sagas->ready_count++;
        }
    }
    rsl_sagas_settle_(sagas, live);
}

/* Lock held. A record has been told of. Those of a saga are acted on in order, whoever tells of
   them: so nothing begins, or ends, before all that it depends on has been told. */
static inline void rsl_sagas_dispatch_(rsl_sagas *sagas, rsl_saga_node_ *node)
{
    rsl_saga_live_ *live = node->live;
    node->told = true;
    for (node = live->first; node != NULL && node->told;) {
        rsl_saga_node_ *after = node->after; /* NULL: the saga may be gone with this one */
        live->first = after;
        rsl_sagas_act_(sagas, node);
        node = after;
    }
}

/* Lock held; may drop it. The store failed. An exclusive one takes no more. Of a shared one, what
   was to be appended is left to who claims these sagas next, which may be us. */
static inline void rsl_sagas_append_failed_(rsl_sagas *sagas, rsl_saga_node_ *batch)
{
    if (sagas->shared) {
        for (; batch != NULL; batch = batch->next) {
            batch->live->lost = true;
            rsl_sagas_put_off_ready_(sagas, batch->live);
        }
        return;
    }
    bool first = !sagas->failed;
    sagas->failed = true;
    rsl_sagas_wake_all_(sagas, &sagas->flushed);
    rsl_sagas_wake_all_(sagas, &sagas->closers);
    rsl_sagas_wake_all_(sagas, &sagas->idlers);
    for (uint32_t i = 0; i < sagas->entries_count; i++)
        rsl_sagas_wake_all_(sagas, &sagas->entries[i]->waiters);
    uint64_t number = ++sagas->appended;
    rsl_sagas_unlock_(sagas);
    if (first) {
        rsl_sagas_emit_(sagas, RSL_SAGA_STORE_FAILED, NULL, RSL_EIO, number,
                        rsl_sagas_now_(sagas), 0);
    }
    rsl_sagas_lock_(sagas);
}

/* Lock held. Takes as many records as one append has room for; those of lost sagas are let go. */
static inline rsl_saga_node_ *rsl_sagas_batch_(rsl_sagas *sagas, size_t *count)
{
    rsl_saga_node_ *first = NULL, *last = NULL;
    rsl_saga_pen_ pen = {sagas->scratch, sagas->scratch + sagas->scratch_size, false};
    *count = 0;
    while (*count < RSL_SAGA_BATCH_ && sagas->pending_first != NULL) {
        rsl_saga_node_ *node = sagas->pending_first;
        if (!node->live->lost &&
            !rsl_sagas_encode_(node, &pen, &sagas->records[*count]))
            break;
        sagas->pending_first = node->next;
        if (sagas->pending_first == NULL) sagas->pending_last = NULL;
        if (node->live->lost) {
            rsl_sagas_dispatch_(sagas, node);
            continue;
        }
        node->next = NULL;
        if (last != NULL) last->next = node;
        else first = node;
        last = node;
        ++*count;
    }
    return first;
}

/* What somebody waits for: that the store has the saga's records up to that number. */
typedef struct rsl_saga_durable_ {
    const rsl_saga_entry_ *entry; /* pinned */
    uint32_t               number;
    uint32_t               room;  /* and that no more nodes than this are busy */
} rsl_saga_durable_;

/* Lock held. Also when the saga has ended, or is another's. */
static inline bool rsl_sagas_is_durable_(const rsl_saga_durable_ *wish)
{
    const rsl_saga_live_ *live = wish->entry->live;
    return live == NULL || live->lost ||
           (live->stored >= wish->number && live->pending <= wish->room);
}

/* No lock held; the nodes keep their sagas. */
static inline void rsl_sagas_tell_batch_(const rsl_sagas *sagas, rsl_saga_node_ *batch, int status)
{
    for (rsl_saga_node_ *node = batch; node != NULL; node = node->next) {
        bool off = node->change.kind == RSL_SAGA_LOG_TURN_ &&
                   node->change.value == RSL_SAGA_NO_STEP_; /* a savepoint goes on under it */
        if (node->loses || off) rsl_cancel_fire(&node->live->cancel);
        if (node->loses) {
            rsl_sagas_emit_(sagas, RSL_SAGA_LOST, node->live->entry->def,
                            status == RSL_OK ? RSL_EFENCED : RSL_EIO, node->event,
                            node->change.at, node->live->entry->id);
        } else if (status == RSL_OK && !node->mute) {
            rsl_sagas_emit_node_(sagas, node);
        }
    }
}

/* Lock held. Wakes those whose records are durable; and one more, to append, if there are any. */
static inline void rsl_sagas_wake_flushed_(rsl_sagas *sagas)
{
    bool more = rsl_sagas_may_append_(sagas);
    for (rsl_waiter *waiter = sagas->flushed.first, *next; waiter != NULL; waiter = next) {
        next = waiter->private_.next;
        const rsl_saga_durable_ *wish =
            (const rsl_saga_durable_ *)(uintptr_t)waiter->private_.word[0];
        if (!rsl_sagas_is_durable_(wish) && !sagas->failed) {
            if (!more) continue;
            more = false;
        }
        rsl_sagas_wake_(sagas, &sagas->flushed, waiter);
    }
    rsl_sagas_wake_all_(sagas, &sagas->closers);
}

/* Lock held before and after; one thread at a time. Appends what is pending, tells of it, and
   acts on it. While it tells, others may append: no lock and no right is held then. */
static inline void rsl_sagas_flush_(rsl_sagas *sagas)
{
    size_t count;
    sagas->appending = true;
    rsl_saga_node_ *batch = rsl_sagas_batch_(sagas, &count);
    if (batch == NULL) {
        sagas->appending = false;
        rsl_sagas_wake_flushed_(sagas);
        return;
    }
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
    int status = sagas->store.append(sagas->store.self, sagas->records, count);
    rsl_sagas_lock_(sagas);
    size_t at = 0;
    for (rsl_saga_node_ *node = batch; node != NULL; node = node->next, at++) {
        node->size = sagas->records[at].size;
        /* an exclusive store has one owner, or has failed */
        if (sagas->records[at].status == RSL_OK || status != RSL_OK) continue;
        if (sagas->shared) node->live->lost = true;
        else status = sagas->records[at].status;
    }
    sagas->appending = false;
    sagas->stats.appends++;
    sagas->stats.records += count;
    if (status != RSL_OK) rsl_sagas_append_failed_(sagas, batch);
    for (rsl_saga_node_ *node = batch; node != NULL; node = node->next) {
        node->mute = node->live->lost && node->live->told;
        node->loses = node->live->lost && !node->live->told;
        node->live->told = node->live->told || node->live->lost;
        if (status != RSL_OK || node->live->lost) continue;
        node->live->stored = node->number;
        node->live->entry->durable = true;
    }
    rsl_sagas_wake_flushed_(sagas);
    sagas->telling++;
    if (sagas->config.observer.on_event != NULL) rsl_sagas_share_(sagas); /* that may take long */
    rsl_sagas_unlock_(sagas);
    rsl_sagas_tell_batch_(sagas, batch, status);
    rsl_sagas_lock_(sagas);
    sagas->telling--;
    for (rsl_saga_node_ *node = batch, *next; !sagas->failed && node != NULL; node = next) {
        next = node->next;
        rsl_sagas_dispatch_(sagas, node);
    }
    rsl_sagas_wake_flushed_(sagas);
}

/* Lock held before and after; the entry is pinned. Until the store has the saga's records up to
   that number, and no more than `room` nodes are busy: by appending, or by waiting for who does.
   What is durable need not be told of yet: this may be called by who tells. */
static inline int rsl_sagas_durable_(rsl_sagas *sagas, rsl_saga_entry_ *entry, uint32_t number,
                                     uint32_t room)
{
    rsl_saga_durable_ wish = {entry, number, room};
    while (!rsl_sagas_is_durable_(&wish)) {
        if (sagas->failed) return RSL_EIO;
        if (rsl_sagas_may_append_(sagas)) {
            rsl_sagas_flush_(sagas);
            continue;
        }
        rsl_sagas_share_(sagas);
        rsl_sagas_sleep_(sagas, &sagas->flushed, &wish, &rsl_ctx_unlimited_, RSL_FOREVER);
    }
    return RSL_OK;
}

/* ---- running steps ---- */

/* Lock held. The step came back with this outcome. */
static inline void rsl_sagas_outcome_(rsl_sagas *sagas, rsl_step *step, rsl_outcome outcome)
{
    rsl_saga_live_ *live = step->live;
    rsl_sagas_step_over_(sagas, live, step->index);
    /* of a late one, all but OK may come from its having been told to stop */
    if (live->lost || sagas->failed || (live->late && outcome != RSL_STEP_OK)) {
        RSL_FREE(step->put.data);
        rsl_sagas_settle_(sagas, live);
        return;
    }
    rsl_saga_change_ change = rsl_saga_outcome_change_(
        live->plan, &live->view, step->index, outcome, step->status, rsl_sagas_now_(sagas),
        live->epoch);
    if (change.kind == RSL_SAGA_LOG_DONE_ && !change.undo) {
        live->outputs[step->index] = step->put;
    } else {
        RSL_FREE(step->put.data);
    }
    rsl_sagas_append_(sagas, live, &change);
    rsl_sagas_decide_(sagas, live);
}

static inline void rsl_sagas_step_begin_(rsl_sagas *sagas, rsl_saga_live_ *live, uint32_t index,
                                         rsl_step *step)
{
    rsl_saga_mark_ *mark = &live->view.marks[index];
    rsl_time timeout = live->plan->steps[index].timeout;
    const rsl_clock *own = &sagas->config.clock, *clock = rsl_clock_is_real_(own) ? NULL : own;
    memset(step, 0, offsetof(rsl_step, key) + 1);
    step->plan = live->plan;
    step->mark = mark;
    step->view = &live->view;
    step->outputs = live->outputs;
    step->sagas = sagas;
    step->live = live;
    step->uuid = sagas->uuid;
    step->saga = live->entry->id;
    step->epoch = live->epoch;
    step->self = rsl_self_();
    step->payload = live->said.payload_size > 0 ? live->said.payload : NULL;
    step->payload_size = live->said.payload_size;
    step->put_max = sagas->config.payload_max;
    step->index = index;
    step->undo = mark->undo;
    step->ctx = (rsl_ctx){0, step->undo ? NULL : &live->cancel, clock, mark->attempt, 0};
    bool heeds = !step->undo && !rsl_saga_is_committed_(live->plan, &live->view);
    if (heeds && live->view.deadline_at != RSL_FOREVER)
        step->ctx.deadline = rsl_sagas_clock_(sagas, live->view.deadline_at);
    if (timeout != 0 && timeout != RSL_FOREVER) {
        rsl_time end = rsl_time_add_(rsl_clock_now_(clock), timeout);
        if (step->ctx.deadline == 0 || end < step->ctx.deadline) step->ctx.deadline = end;
    }
    if (!step->undo) { /* what an earlier round put is not this one's */
        RSL_FREE(live->outputs[index].data);
        live->outputs[index] = (rsl_saga_output_){NULL, 0};
    }
}

static inline void rsl_sagas_unlink_step_(rsl_sagas *sagas, rsl_step *step)
{
    rsl_step **at = &sagas->out;
    while (*at != step) at = &(*at)->next;
    *at = step->next;
}

/* A thread that its step ends: the step is in doubt. */
static inline void rsl_sagas_step_lost_(void *arg)
{
    rsl_step *step = (rsl_step *)arg;
    rsl_sagas *sagas = step->sagas;
    rsl_sagas_lock_(sagas);
    rsl_sagas_unlink_step_(sagas, step);
    sagas->running--;
    rsl_sagas_outcome_(sagas, step, RSL_STEP_UNKNOWN);
    rsl_sagas_wake_all_(sagas, &sagas->closers);
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
}

typedef struct rsl_saga_call_ {
    rsl_step    step;
    rsl_step_fn fn;
    void       *arg;
    rsl_outcome outcome;
} rsl_saga_call_;

static inline void rsl_saga_call_run_(void *arg)
{
    rsl_saga_call_ *call = (rsl_saga_call_ *)arg;
    call->outcome = call->fn(&call->step, call->arg);
}

static inline bool rsl_sagas_holds_(rsl_sagas *sagas, rsl_saga_live_ *live);

/* Lock held before and after. Runs the step that has been ready for longest. */
static inline void rsl_sagas_run_one_(rsl_sagas *sagas)
{
    rsl_saga_seat_ *seat = sagas->ready_first;
    rsl_saga_live_ *live = seat->live;
    sagas->ready_first = seat->next;
    if (sagas->ready_first == NULL) sagas->ready_last = NULL;
    sagas->ready_count--;
    bool holds = rsl_sagas_holds_(sagas, live); /* a step is out, so it stays in any case */
    if (!holds || live->lost || live->late || sagas->closing || sagas->failed) {
        rsl_sagas_put_off_(sagas, live, seat->step);
        rsl_sagas_settle_(sagas, live);
        return;
    }
    rsl_saga_call_ call;
    rsl_sagas_step_begin_(sagas, live, seat->step, &call.step);
    const rsl_saga_step *step = &live->plan->steps[seat->step];
    call.fn = call.step.undo ? step->undo : step->run;
    call.arg = live->kind->arg;
    call.outcome = RSL_STEP_FAIL;
    uint16_t target = live->view.target; /* a savepoint: what is beside it goes on */
    if (!call.step.undo && live->view.back &&
        (target == RSL_SAGA_NO_STEP_ ||
         rsl_steps_has_(&live->plan->before[seat->step], target))) {
        /* it turned back before this began */
        rsl_sagas_outcome_(sagas, &call.step, RSL_STEP_FAIL);
        return;
    }
    call.step.next = sagas->out;
    sagas->out = &call.step;
    sagas->running++;
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
#ifdef RSL_NO_THREADS
    rsl_saga_call_run_(&call);
#else
    rsl_thread_guard_(rsl_saga_call_run_, rsl_sagas_step_lost_, &call);
#endif
    rsl_sagas_lock_(sagas);
    rsl_sagas_unlink_step_(sagas, &call.step);
    sagas->running--;
    rsl_sagas_outcome_(sagas, &call.step, call.outcome);
    rsl_sagas_wake_all_(sagas, &sagas->closers);
}

/* ---- reading logs ---- */

/* Makes a saga known that has begun; it owns begin on success. */
static inline int rsl_sagas_adopt_(rsl_sagas *sagas, rsl_saga_id id, void *begin, size_t size,
                                   rsl_saga_entry_ **adopted)
{
    rsl_saga_begin_ said;
    rsl_saga_plan_ *plan = NULL;
    rsl_saga_live_ *live = NULL;
    if (!rsl_saga_begin_read_(&said, begin, size)) return RSL_ECORRUPT;
    int status = rsl_saga_plan_read_(&plan, said.shape, said.shape_size);
    if (status != RSL_OK) return status;
    rsl_saga_entry_ *entry = rsl_saga_entry_make_(id, said.key, plan->name, plan->version);
    status = entry != NULL ? rsl_saga_live_make_(&live, plan, plan, begin, size) : RSL_ENOMEM;
    if (status != RSL_OK) {
        RSL_FREE(plan);
        RSL_FREE(entry);
        return status;
    }
    status = rsl_sagas_enter_(sagas, entry);
    if (status != RSL_OK) {
        live->begin = NULL;
        rsl_saga_live_free_(live);
        RSL_FREE(entry);
        return status;
    }
    live->entry = entry;
    entry->live = live;
    entry->durable = true;
    sagas->live_count++;
    *adopted = entry;
    return RSL_OK;
}

/* A saga whose beginning is not there: only its number is known. It can be abandoned. */
static inline int rsl_sagas_adopt_ruin_(rsl_sagas *sagas, rsl_saga_id id,
                                        rsl_saga_entry_ **adopted)
{
    uint8_t text[256];
    char key[32] = "?";
    rsl_saga_write_number_(key + 1, key + sizeof key, id);
    rsl_steps_ sets[RSL_SAGA_SETS_];
    rsl_saga_step step;
    memset(sets, 0, sizeof sets);
    memset(&step, 0, sizeof step);
    step.name = "?";
    rsl_saga_def def = {"?", 0, &step, 1, 0};
    rsl_saga_plan_ plan;
    rsl_saga_plan_make_(&plan, &def, sets);
    rsl_saga_pen_ pen = {text, text + sizeof text, false};
    rsl_saga_put_shape_(&pen, &plan);
    rsl_saga_begin_ said = {0, RSL_FOREVER, text, text, (size_t)(pen.at - text), 0, ""};
    memcpy(said.key, key, sizeof key);
    size_t size = rsl_saga_begin_size_(said.shape_size, key, 0);
    void *begin = rsl_saga_begin_new_(size, size);
    if (begin == NULL) return RSL_ENOMEM;
    rsl_saga_begin_write_(&said, begin, size);
    int status = rsl_sagas_adopt_(sagas, id, begin, size, adopted);
    if (status != RSL_OK) rsl_saga_begin_free_(begin);
    else (*adopted)->live->damaged = (*adopted)->live->parked = true;
    return status;
}

/* What is left of a saga that ended before a compaction: its END. */
static inline int rsl_sagas_adopt_ended_(rsl_sagas *sagas, const rsl_saga_record *record,
                                         const rsl_saga_change_ *change, const uint8_t *rest)
{
    char def[256], key[256];
    rsl_saga_eye_ eye = {rest, (const uint8_t *)record->data + record->size, false};
    uint32_t version = (uint32_t)rsl_saga_get_number_(&eye, 4);
    rsl_saga_get_text_(&eye, def, RSL_SAGA_NAME_MAX);
    rsl_saga_get_text_(&eye, key, RSL_SAGA_KEY_MAX);
    if (eye.short_) return RSL_ECORRUPT;
    rsl_saga_entry_ *entry = rsl_saga_entry_make_(record->saga, key, def, version);
    int status = entry != NULL ? rsl_sagas_enter_(sagas, entry) : RSL_ENOMEM;
    if (status != RSL_OK) {
        RSL_FREE(entry);
        return status;
    }
    entry->state = (rsl_saga_state)change->value;
    entry->epoch = record->epoch;
    entry->durable = true;
    rsl_sagas_remember_(sagas, entry);
    return RSL_OK;
}

typedef struct rsl_sagas_loader_ {
    rsl_sagas       *sagas;
    rsl_saga_entry_ *entry; /* the latest record's */
    rsl_time         latest; /* the latest time in the log */
} rsl_sagas_loader_;

/* Folds a record into a saga that is known. RSL_ECORRUPT: it does not follow. */
static inline int rsl_sagas_fold_(rsl_sagas *sagas, rsl_saga_live_ *live,
                                  const rsl_saga_record *record, const rsl_saga_change_ *change,
                                  const uint8_t *rest)
{
    if (record->number != live->number + 1 || !rsl_saga_apply_(live->plan, &live->view, change))
        return RSL_ECORRUPT;
    if (change->undo || change->step == RSL_SAGA_NO_STEP_) return RSL_OK;
    rsl_saga_output_ *output = &live->outputs[change->step];
    if (change->kind == RSL_SAGA_LOG_START_) {
        RSL_FREE(output->data);
        *output = (rsl_saga_output_){NULL, 0};
    } else if (change->kind == RSL_SAGA_LOG_DONE_) {
        size_t size = (size_t)((const uint8_t *)record->data + record->size - rest);
        if (size == 0) return RSL_OK;
        output->data = RSL_MALLOC(size);
        if (output->data == NULL) return RSL_ENOMEM;
        memcpy(output->data, rest, size);
        output->size = size;
    }
    (void)sagas;
    return RSL_OK;
}

static inline int rsl_sagas_load_first_(rsl_sagas_loader_ *loader, const rsl_saga_record *record,
                                        const rsl_saga_change_ *change, const uint8_t *rest)
{
    int status = RSL_ECORRUPT;
    if (change->kind == RSL_SAGA_LOG_END_) {
        status = rsl_sagas_adopt_ended_(loader->sagas, record, change, rest);
    } else if (change->kind == RSL_SAGA_LOG_BEGIN_ && record->number == 1) {
        rsl_saga_begin_ said;
        (void)rsl_saga_begin_read_(&said, record->data, record->size); /* it is one */
        void *copy = rsl_saga_begin_new_(record->size - said.payload_size, record->size);
        if (copy == NULL) return RSL_ENOMEM;
        memcpy(copy, record->data, record->size);
        status = rsl_sagas_adopt_(loader->sagas, record->saga, copy, record->size, &loader->entry);
        if (status != RSL_OK) rsl_saga_begin_free_(copy);
    }
    if (status == RSL_ECORRUPT)
        status = rsl_sagas_adopt_ruin_(loader->sagas, record->saga, &loader->entry);
    return status;
}

/* What a store calls for each record. A log that makes no sense parks its saga, and no other. */
static inline int rsl_sagas_load_one_(void *user, const rsl_saga_record *record)
{
    rsl_sagas_loader_ *loader = (rsl_sagas_loader_ *)user;
    rsl_sagas *sagas = loader->sagas;
    rsl_saga_change_ change = {0, false, RSL_SAGA_NO_STEP_, 0, 0, 0, 0, 0};
    const uint8_t *rest = NULL;
    rsl_saga_begin_ said;
    bool begins = rsl_saga_begin_read_(&said, record->data, record->size);
    if (begins) {
        change.kind = RSL_SAGA_LOG_BEGIN_;
        change.at = said.at;
    }
    bool known = begins || rsl_saga_change_read_(&change, record, &rest);
    if (!known) change.kind = 0;
    if (change.at > loader->latest) loader->latest = change.at;
    if (record->saga >= sagas->next_id) sagas->next_id = record->saga + 1;
    if (loader->entry == NULL || loader->entry->id != record->saga)
        loader->entry = rsl_sagas_find_(sagas, record->saga);
    int status = RSL_OK;
    bool known_entry = loader->entry != NULL;
    if (!known_entry) {
        status = rsl_sagas_load_first_(loader, record, &change, rest);
    } else if (loader->entry->live != NULL && !loader->entry->live->damaged) {
        status = known ? rsl_sagas_fold_(sagas, loader->entry->live, record, &change, rest)
                       : RSL_ECORRUPT;
        if (status == RSL_ECORRUPT) {
            loader->entry->live->damaged = loader->entry->live->parked = true;
            status = RSL_OK;
        }
    }
    if (known_entry && status == RSL_OK && loader->entry->live != NULL &&
        loader->entry->live->damaged && change.kind == RSL_SAGA_LOG_END_) {
        /* Damaged, and over all the same: its END says what is to be remembered. So it is also
           where the saga ended during a compaction, which kept its first records. */
        rsl_sagas_unlive_(sagas, loader->entry);
        rsl_sagas_forget_(sagas, loader->entry);
        loader->entry = NULL;
        status = rsl_sagas_load_first_(loader, record, &change, rest);
    }
    if (status != RSL_OK) return status;
    rsl_saga_entry_ *entry = loader->entry;
    sagas->stored += record->size;
    if (entry == NULL || entry->live == NULL) return RSL_OK;
    entry->state = record->state;
    entry->live->number = entry->live->stored = record->number;
    entry->live->epoch = record->epoch;
    entry->live->bytes += record->size;
    sagas->needed += record->size;
    if (entry->live->view.ended && !entry->live->damaged) {
        rsl_sagas_unlive_(sagas, entry);
        rsl_sagas_remember_(sagas, entry);
        loader->entry = NULL;
    }
    return RSL_OK;
}

/* ---- definitions ---- */

static inline const rsl_saga_kind_ *rsl_sagas_kind_(const rsl_sagas *sagas, const char *name,
                                                    const uint32_t *version)
{
    const rsl_saga_kind_ *best = NULL;
    for (const rsl_saga_kind_ *kind = sagas->kinds; kind != NULL; kind = kind->next) {
        if (strcmp(kind->plan.name, name) != 0) continue;
        if (version != NULL ? kind->plan.version == *version
                            : best == NULL || kind->plan.version > best->plan.version)
            best = kind;
    }
    return best;
}

/* Lock held. Gives a saga that was read its definition, if there is one and it has not changed. */
static inline bool rsl_sagas_bind_(rsl_sagas *sagas, rsl_saga_live_ *live)
{
    if (live->kind != NULL || live->damaged) return live->kind != NULL;
    const rsl_saga_kind_ *kind = rsl_sagas_kind_(sagas, live->plan->name, &live->plan->version);
    if (kind == NULL || kind->shape_size != live->said.shape_size ||
        memcmp(kind->shape, live->said.shape, kind->shape_size) != 0) {
        live->parked = true;
        live->entry->state = RSL_SAGA_PARKED;
        return false;
    }
    live->kind = kind;
    live->plan = &kind->plan;
    live->parked = false;
    live->entry->state = rsl_saga_view_state_(&live->view);
    if (live->pending > 0) return true; /* somebody tells of it, and of steps by their names */
    RSL_FREE(live->own);
    live->own = NULL;
    return true;
}

static inline uint64_t rsl_saga_hash_(const uint8_t *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a (Fowler, Noll, Vo) */
    for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash;
}

/* name/version/hash: equal where the definitions are. */
static inline void rsl_saga_identify_(rsl_saga_kind_ *kind)
{
    char *at = kind->identity, *end = at + sizeof kind->identity;
    at = rsl_saga_write_(at, end, kind->plan.name);
    at = rsl_saga_write_number_(rsl_saga_write_(at, end, "/"), end, kind->plan.version);
    rsl_saga_write_number_(rsl_saga_write_(at, end, "/"), end,
                           rsl_saga_hash_(kind->shape, kind->shape_size));
}

/* A copy of the text at *at, which moves on. */
static inline const char *rsl_saga_copy_text_(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = (char *)memcpy(*at, text, size);
    *at += size;
    return copy;
}

/* direct, before: as the check has written them. */
static inline rsl_saga_kind_ *rsl_saga_kind_make_(const rsl_saga_def *def,
                                                  const rsl_steps_ *direct,
                                                  const rsl_steps_ *before, void *arg)
{
    size_t texts = strlen(def->name) + 1, shape = 4 + 1 + strlen(def->name) + 2;
    size_t count = def->count, sets_size = count * RSL_SAGA_SETS_ * sizeof(rsl_steps_);
    for (size_t i = 0; i < count; i++) {
        texts += strlen(def->steps[i].name) + 1;
        shape += 3 + strlen(def->steps[i].name) + rsl_steps_count_(&direct[i]);
    }
    rsl_saga_kind_ *kind = (rsl_saga_kind_ *)RSL_MALLOC(
        sizeof *kind + sets_size + count * sizeof(rsl_saga_step) + texts + shape);
    if (kind == NULL) return NULL;
    memset(kind, 0, sizeof *kind);
    rsl_steps_ *sets = (rsl_steps_ *)(void *)(kind + 1);
    rsl_saga_step *steps = (rsl_saga_step *)(void *)(sets + count * RSL_SAGA_SETS_);
    char *text = (char *)(steps + count);
    memcpy(sets, direct, count * sizeof *sets);
    memcpy(sets + count, before, count * sizeof *sets);
    memcpy(steps, def->steps, count * sizeof *steps);
    rsl_saga_def copy = *def;
    copy.steps = steps;
    copy.name = rsl_saga_copy_text_(&text, def->name);
    for (size_t i = 0; i < count; i++) {
        steps[i].name = rsl_saga_copy_text_(&text, def->steps[i].name);
        steps[i].after = NULL; /* is in the sets */
    }
    rsl_saga_plan_make_(&kind->plan, &copy, sets);
    kind->arg = arg;
    kind->shape = (uint8_t *)text;
    rsl_saga_pen_ pen = {kind->shape, kind->shape + shape, false};
    rsl_saga_put_shape_(&pen, &kind->plan);
    kind->shape_size = (size_t)(pen.at - kind->shape);
    RSL_ASSERT(!pen.full && kind->shape_size == shape);
    rsl_saga_identify_(kind);
    return kind;
}

int rsl_sagas_register(rsl_sagas *sagas, const rsl_saga_def *def, void *arg)
{
    rsl_steps_ direct[RSL_SAGA_STEPS_MAX], before[RSL_SAGA_STEPS_MAX];
    const char *step;
    if (sagas == NULL || def == NULL || rsl_saga_check_(def, direct, before, &step) != NULL)
        return RSL_EINVAL;
    rsl_saga_kind_ *kind = rsl_saga_kind_make_(def, direct, before, arg);
    if (kind == NULL) return RSL_ENOMEM;
    rsl_sagas_lock_(sagas);
    bool twice = rsl_sagas_kind_(sagas, def->name, &def->version) != NULL;
    if (!twice) {
        kind->next = sagas->kinds;
        sagas->kinds = kind;
    }
    rsl_sagas_unlock_(sagas);
    if (!twice) return RSL_OK;
    RSL_FREE(kind);
    return RSL_EINVAL;
}

/* ---- what there is to do, one thing at a time ---- */

static inline bool rsl_sagas_is_kept_(void *user, const rsl_saga_record *record)
{
    rsl_sagas *sagas = (rsl_sagas *)user;
    rsl_sagas_lock_(sagas);
    const rsl_saga_entry_ *entry = rsl_sagas_find_(sagas, record->saga);
    bool ends = record->size > 0 && *(const uint8_t *)record->data == RSL_SAGA_LOG_END_;
    bool kept = entry != NULL && (entry->live != NULL || ends);
    if (kept) sagas->stored += record->size;
    rsl_sagas_unlock_(sagas);
    return kept;
}

/* More than half of what is stored is of sagas that have ended. */
static inline bool rsl_sagas_may_compact_(const rsl_sagas *sagas)
{
    if (sagas->appending || sagas->failed || sagas->closing) return false;
    if (sagas->shared) return sagas->ended_since >= 256;
    return sagas->stored > 2 * (sagas->needed + sagas->ended_bytes) + (1u << 20);
}

/* Lock held before and after. Nothing is appended meanwhile, so that what is durable stands. */
static inline int rsl_sagas_compact_(rsl_sagas *sagas)
{
    sagas->appending = sagas->compacting = true;
    sagas->stored = 0;
    sagas->ended_since = 0;
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
    int status = sagas->store.compact(sagas->store.self, rsl_sagas_is_kept_, sagas,
                                      sagas->config.finished_max);
    rsl_sagas_lock_(sagas);
    sagas->appending = sagas->compacting = false;
    rsl_sagas_trim_(sagas);
    sagas->stats.compactions++;
    /* without memory it is tried again when as much has gathered once more */
    if (status != RSL_OK && status != RSL_ENOMEM) rsl_sagas_append_failed_(sagas, NULL);
    rsl_sagas_wake_flushed_(sagas);
    return status;
}

/* Lock held. Whether a saga can still be told to unwind. */
static inline bool rsl_saga_can_turn_(const rsl_saga_live_ *live)
{
    const rsl_saga_view_ *view = &live->view;
    if (view->ended || view->abandoned || live->damaged) return false;
    return view->back ? view->target != RSL_SAGA_NO_STEP_
                      : !rsl_saga_is_committed_(live->plan, view);
}

/* The same for a wish that lay in the store, perhaps for long: it does not decide that a pivot
   which is in doubt has not happened. */
static inline bool rsl_saga_can_turn_late_(const rsl_saga_live_ *live)
{
    int32_t pivot = live->plan->pivot;
    return rsl_saga_can_turn_(live) &&
           (pivot < 0 || live->view.marks[pivot].phase != RSL_SAGA_STUCK_);
}

/* Lock held. As is asked by rsl_sagas_cancel. */
static inline void rsl_sagas_turn_back_(rsl_sagas *sagas, rsl_saga_live_ *live)
{
    rsl_saga_change_ change = {RSL_SAGA_LOG_TURN_, false, RSL_SAGA_NO_STEP_, RSL_ECANCELED,
                               RSL_SAGA_NO_STEP_, live->epoch, rsl_sagas_now_(sagas), 0};
    rsl_sagas_append_(sagas, live, &change);
    rsl_sagas_decide_(sagas, live);
}

/* ---- duties of a host that shares a store ---- */

/* Lock held; dropped meanwhile. Tells of what is no record. */
static inline void rsl_sagas_tell_now_(rsl_sagas *sagas, rsl_saga_live_ *live, int kind,
                                       int status)
{
    uint64_t number = ++sagas->appended;
    live->pending++; /* so that it stays */
    sagas->telling++;
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
    if (kind == RSL_SAGA_LOST) rsl_cancel_fire(&live->cancel);
    rsl_sagas_emit_(sagas, kind, live->entry->def, status, number, rsl_sagas_now_(sagas),
                    live->entry->id);
    rsl_sagas_lock_(sagas);
    live->pending--;
    sagas->telling--;
    rsl_sagas_wake_all_(sagas, &sagas->closers); /* they see what the caller makes of it */
}

/* Lock held; dropped meanwhile. RSL_EFENCED: another has the saga now. RSL_ETIMEOUT: its lease is
   over by our own clock, and another may claim it any moment: its steps are told to stop, and it
   is let go when they have. */
static inline void rsl_sagas_leave_(rsl_sagas *sagas, rsl_saga_live_ *live, int status)
{
    bool told = live->told;
    live->late = live->told = true;
    live->lost = live->lost || status == RSL_EFENCED;
    if (!told) rsl_sagas_tell_now_(sagas, live, RSL_SAGA_LOST, status);
    rsl_sagas_put_off_ready_(sagas, live);
    rsl_sagas_settle_(sagas, live);
}

/* Lock held; dropped meanwhile, if it is not so. Whether the saga is ours by our own clock. Who
   looks long after the end of the lease has slept through it, with the whole process most likely:
   then the store is asked before all is given up. */
static inline bool rsl_sagas_holds_(rsl_sagas *sagas, rsl_saga_live_ *live)
{
    rsl_time now = rsl_clock_now_(&sagas->config.clock), claim_for = sagas->config.claim_for;
    if (!rsl_sagas_is_late_(sagas, live)) return true;
    if (live->asks_until == 0 && now - live->lease_until > claim_for / 64) {
        live->asks_until = rsl_time_add_(now, claim_for / 8);
        sagas->duty_at = 0;
    }
    if (live->asks_until <= now) rsl_sagas_leave_(sagas, live, RSL_ETIMEOUT);
    else rsl_sagas_timer_set_(sagas, live, rsl_time_add_(live->asks_until, sagas->shift));
    return false;
}

/* Lock held, dropped meanwhile. Nobody wants these leases any more: others need not wait for their
   end. */
static inline void rsl_sagas_free_leases_(rsl_sagas *sagas, rsl_saga_claim *claims, size_t count)
{
    if (count == 0) return;
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
    sagas->store.renew(sagas->store.self, 0, claims, count);
    rsl_sagas_lock_(sagas);
}

/* Lock held, dropped meanwhile: renews the leases of those that were not renewed since `tick`, as
   many as go at once. False: there was none. */
static inline bool rsl_sagas_renew_(rsl_sagas *sagas, rsl_time tick, rsl_time claim_for)
{
    rsl_saga_claim claims[RSL_SAGA_CLAIMS_];
    size_t count = 0, over = 0;
    uint32_t left = sagas->entries_count; /* from where the call before has come to */
    for (; left > 0 && count < RSL_SAGA_CLAIMS_; left--, sagas->renewing++) {
        if (sagas->renewing >= sagas->entries_count) sagas->renewing = 0;
        rsl_saga_live_ *live = sagas->entries[sagas->renewing]->live;
        /* a late or lost one too: nobody else is to call its step while that still runs */
        if (live == NULL || live->loading || live->renewed_at >= tick) continue;
        live->renewed_at = tick;
        claims[count++] = (rsl_saga_claim){live->entry->id, live->epoch, RSL_OK, false};
    }
    if (count == 0) return false;
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
    rsl_time asked = rsl_clock_now_(&sagas->config.clock);
    int status = sagas->store.renew(sagas->store.self, claim_for, claims, count);
    rsl_sagas_lock_(sagas);
    sagas->answers = sagas->answers && status == RSL_OK;
    for (size_t i = 0; i < count; i++) {
        rsl_saga_entry_ *entry = rsl_sagas_find_(sagas, claims[i].saga);
        rsl_saga_live_ *live = entry != NULL ? entry->live : NULL;
        bool renewed = status == RSL_OK && claims[i].status == RSL_OK;
        if (live == NULL || live->epoch != claims[i].epoch) {
            if (renewed && claim_for > 0) claims[over++] = claims[i];
        } else if (renewed && !live->late && !live->lost) {
            /* before the store's clock can think it over, if both run alike to an eighth */
            if (claim_for > 0) live->lease_until = rsl_time_add_(asked, claim_for - claim_for / 8);
            if (live->asks_until != 0) { /* what was put off meanwhile begins */
                live->asks_until = 0;
                rsl_sagas_decide_(sagas, live);
            }
            if (claims[i].cancel && rsl_saga_can_turn_late_(live))
                rsl_sagas_turn_back_(sagas, live);
        } else if (status == RSL_OK && !renewed && !live->lost) {
            rsl_sagas_leave_(sagas, live, RSL_EFENCED);
        } else if (status != RSL_OK && live->asks_until == 0 && rsl_sagas_is_late_(sagas, live)) {
            rsl_sagas_leave_(sagas, live, RSL_ETIMEOUT);
        }
    }
    rsl_sagas_free_leases_(sagas, claims, over);
    return true;
}

/* Lock held, dropped meanwhile. Frees the leases of those that were let go. */
static inline void rsl_sagas_free_left_(rsl_sagas *sagas)
{
    rsl_saga_claim claims[RSL_SAGA_CLAIMS_];
    size_t count = sagas->left_count;
    memcpy(claims, sagas->left, count * sizeof *claims);
    sagas->left_count = 0;
    rsl_sagas_free_leases_(sagas, claims, count);
}

static inline int rsl_sagas_load_locked_(void *user, const rsl_saga_record *record)
{
    rsl_sagas_loader_ *loader = (rsl_sagas_loader_ *)user;
    rsl_sagas_lock_(loader->sagas);
    int status = rsl_sagas_load_one_(loader, record);
    if (status == RSL_OK && loader->entry != NULL && loader->entry->live != NULL)
        loader->entry->live->loading = true;
    rsl_sagas_unlock_(loader->sagas);
    return status;
}

/* Lock held, dropped meanwhile. Reads the log of a saga that was claimed, and lets it go on. */
static inline void rsl_sagas_take_over_(rsl_sagas *sagas, rsl_saga_claim *claim, rsl_time asked,
                                        bool held)
{
    rsl_sagas_loader_ loader = {sagas, NULL, 0};
    rsl_time span = sagas->config.claim_for;
    bool ours = rsl_sagas_find_(sagas, claim->saga) != NULL; /* of ours, lost, a step is out */
    int status = ours ? RSL_EFULL : RSL_OK;
    rsl_sagas_share_(sagas); /* what those claimed before have to do */
    rsl_sagas_unlock_(sagas);
    if (!ours)
        status = sagas->store.load(sagas->store.self, claim->saga, rsl_sagas_load_locked_,
                                   &loader);
    rsl_sagas_lock_(sagas);
    rsl_saga_entry_ *entry = ours ? NULL : rsl_sagas_find_(sagas, claim->saga);
    rsl_saga_live_ *live = entry != NULL ? entry->live : NULL;
    if (status != RSL_OK || live == NULL || live->view.ended) {
        if (live != NULL) { /* somebody may have begun to wait for it */
            rsl_sagas_unlive_(sagas, entry);
            rsl_sagas_tell_(sagas, entry);
            rsl_sagas_remember_(sagas, entry);
        }
        rsl_sagas_free_leases_(sagas, claim, 1);
        return;
    }
    live->loading = false;
    live->held = held;
    live->epoch = claim->epoch;
    live->renewed_at = asked;
    live->lease_until = rsl_time_add_(asked, span - span / 8);
    rsl_sagas_tell_now_(sagas, live, RSL_SAGA_CLAIMED, RSL_OK);
    rsl_sagas_bind_(sagas, live);
    if (claim->cancel && rsl_saga_can_turn_late_(live)) rsl_sagas_turn_back_(sagas, live);
    else rsl_sagas_decide_(sagas, live);
    rsl_sagas_settle_(sagas, live);
}

/* Lock held, dropped meanwhile. only: 0, or the saga to claim. True: there may be more. */
static inline bool rsl_sagas_claim_(rsl_sagas *sagas, rsl_saga_id only)
{
    const char *defs[RSL_SAGA_CLAIMS_];
    rsl_saga_claim claims[RSL_SAGA_CLAIMS_];
    size_t defs_count = 0, room = sagas->config.live_max - sagas->live_count;
    size_t count = only != 0 ? 1 : room < RSL_SAGA_CLAIMS_ ? room : RSL_SAGA_CLAIMS_, max = count;
    /* of many definitions, others each time */
    const rsl_saga_kind_ *kind = sagas->kinds;
    for (uint32_t i = 0; i < sagas->kinds_asked && kind != NULL; i++) kind = kind->next;
    for (; kind != NULL && defs_count < RSL_SAGA_CLAIMS_; kind = kind->next)
        defs[defs_count++] = kind->identity;
    if (only == 0) sagas->kinds_asked = kind != NULL ? sagas->kinds_asked + RSL_SAGA_CLAIMS_ : 0;
    if (count == 0 || sagas->live_count >= sagas->config.live_max) return false;
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
    rsl_time asked = rsl_clock_now_(&sagas->config.clock);
    int status = sagas->store.claim(sagas->store.self, defs, defs_count, only,
                                    sagas->config.claim_for, claims, &count);
    rsl_sagas_lock_(sagas);
    uint32_t before = sagas->live_count;
    for (size_t i = 0; status == RSL_OK && i < count; i++)
        rsl_sagas_take_over_(sagas, &claims[i], asked, only != 0);
    /* those that could only be given back would be claimed for ever */
    return status == RSL_OK && count == max && sagas->live_count > before;
}

static inline void rsl_sagas_duty_(rsl_sagas *sagas)
{
    rsl_time now = rsl_clock_now_(&sagas->config.clock);
    bool renews = sagas->duty_at <= now; /* else some are to be freed only */
    sagas->on_duty = true;
    if (renews) {
        sagas->answers = true;
        sagas->duty_at = rsl_time_add_(now, sagas->config.claim_for / 3);
        rsl_sagas_share_(sagas);
        while (rsl_sagas_renew_(sagas, now, sagas->config.claim_for)) continue;
    }
    rsl_sagas_free_left_(sagas);
    /* Of many to be claimed, those that were are to be renewed on the way. A store that does not
       renew might give us our own ones, whose leases have run out. */
    while (renews && sagas->answers && sagas->recovering && !sagas->closing &&
           rsl_sagas_claim_(sagas, 0) && sagas->duty_at > rsl_clock_now_(&sagas->config.clock))
        continue;
    sagas->on_duty = false;
    rsl_sagas_wake_all_(sagas, &sagas->closers);
}

static inline bool rsl_sagas_has_duty_(const rsl_sagas *sagas)
{
    rsl_time due = rsl_sagas_duty_due_(sagas);
    return due != RSL_FOREVER && due <= rsl_clock_now_(&sagas->config.clock);
}

/* ---- threads of the application ---- */

static inline bool rsl_sagas_turn_(rsl_sagas *sagas, bool may_run);

static inline void rsl_saga_runner_work_(void *arg)
{
    rsl_sagas *sagas = ((rsl_saga_runner_ *)arg)->sagas;
    rsl_sagas_lock_(sagas);
    while (rsl_sagas_may_run_(sagas) || rsl_sagas_may_append_(sagas)) rsl_sagas_turn_(sagas, true);
    rsl_sagas_unlock_(sagas);
}

/* It is done, or a step has ended its thread. */
static inline void rsl_saga_runner_leave_(void *arg)
{
    rsl_saga_runner_ *runner = (rsl_saga_runner_ *)arg;
    rsl_sagas *sagas = runner->sagas;
    rsl_sagas_lock_(sagas);
    runner->busy = false;
    rsl_sagas_share_(sagas);
    rsl_sagas_wake_all_(sagas, &sagas->closers);
    rsl_sagas_unlock_(sagas);
}

static inline int rsl_saga_runner_main_(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
#ifdef RSL_NO_THREADS
    rsl_saga_runner_work_(arg);
#else
    rsl_thread_guard_(rsl_saga_runner_work_, rsl_saga_runner_leave_, arg);
#endif
    rsl_saga_runner_leave_(arg);
    return RSL_OK;
}

static inline bool rsl_sagas_runner_is_free_(const rsl_sagas *sagas, uint32_t i)
{
    const rsl_saga_runner_ *runner = &sagas->runners[i];
    return !runner->busy && (!runner->used || sagas->config.submit_ended == NULL ||
                             sagas->config.submit_ended(runner->task));
}

/* Lock held, dropped meanwhile. Asks the application for a thread; false: it has none now. */
static inline bool rsl_sagas_submit_(rsl_sagas *sagas)
{
    rsl_time now = rsl_clock_now_(NULL);
    if (sagas->submit_at > now) return false;
    for (uint32_t i = 0; i < sagas->config.threads; i++) {
        rsl_saga_runner_ *runner = &sagas->runners[i];
        if (!rsl_sagas_runner_is_free_(sagas, i)) continue;
        runner->busy = runner->used = true;
        rsl_sagas_unlock_(sagas);
        int status = sagas->config.submit(sagas->config.submit_user, rsl_saga_runner_main_, runner,
                                          runner->task);
        rsl_sagas_lock_(sagas);
        if (status == RSL_OK) return true;
        runner->busy = runner->used = false;
        rsl_sagas_wake_all_(sagas, &sagas->closers); /* one may wait for this runner */
        break;
    }
    sagas->submit_at = now + RSL_MS(1);
    return false;
}

/* Lock held before and after. Does one thing, if there is one; false: nothing can be done now. */
static inline bool rsl_sagas_turn_(rsl_sagas *sagas, bool may_run)
{
    /* before work that may never end for as long as leases, and before leases are thought over:
       who wakes from a pause asks the store first */
    if (rsl_sagas_has_duty_(sagas)) {
        rsl_sagas_duty_(sagas);
        return true;
    }
    if (sagas->timers_count > 0 && sagas->timers[0]->wake_at <= rsl_sagas_now_(sagas)) {
        rsl_saga_live_ *live = sagas->timers[0];
        rsl_sagas_timer_set_(sagas, live, RSL_FOREVER);
        if (rsl_sagas_holds_(sagas, live)) rsl_sagas_decide_(sagas, live);
        return true;
    }
    if (rsl_sagas_may_append_(sagas)) {
        rsl_sagas_flush_(sagas);
        return true;
    }
    if (rsl_sagas_may_run_(sagas)) {
        if (may_run) {
            rsl_sagas_run_one_(sagas);
            return true;
        }
        if (sagas->runners != NULL && rsl_sagas_submit_(sagas)) return true;
    }
    if (rsl_sagas_may_compact_(sagas)) {
        rsl_sagas_compact_(sagas);
        return true;
    }
    return false;
}

/* Lock held. When there will be something to do, by the clock. */
static inline rsl_time rsl_sagas_due_(const rsl_sagas *sagas)
{
    rsl_time due = sagas->timers_count == 0
                       ? RSL_FOREVER
                       : rsl_sagas_clock_(sagas, sagas->timers[0]->wake_at);
    rsl_time duty = rsl_sagas_duty_due_(sagas);
    return duty < due ? duty : due;
}

/* Lock held. Sleeps as one who idles, until there is work, or `until`. */
static inline void rsl_sagas_idle_(rsl_sagas *sagas, const rsl_ctx *ctx, rsl_time until)
{
    rsl_time due = rsl_sagas_due_(sagas);
    rsl_time watch = due == RSL_FOREVER ? RSL_FOREVER : rsl_time_add_(due, sagas->shift);
    if (sagas->idlers.first == NULL || watch < sagas->watch_at) sagas->watch_at = watch;
    rsl_sagas_sleep_(sagas, &sagas->idlers, NULL, ctx, due < until ? due : until);
    sagas->watch_at = RSL_FOREVER; /* others may sleep for longer */
}

#ifndef RSL_NO_THREADS
static inline void rsl_sagas_work_on_(void *arg)
{
    rsl_sagas *sagas = ((rsl_saga_hand_ *)arg)->sagas;
    bool submits = sagas->config.submit != NULL;
    rsl_thread_name_("rsl-sagas");
    rsl_sagas_lock_(sagas);
    while (!sagas->stopping) {
        if (rsl_sagas_turn_(sagas, !submits)) continue;
        /* An application without a thread to spare is asked again, by the real clock. */
        bool asks = submits && rsl_sagas_may_run_(sagas);
        if (asks && rsl_clock_is_real_(&sagas->config.clock)) {
            rsl_sagas_idle_(sagas, &rsl_ctx_unlimited_, sagas->submit_at);
        } else if (asks) {
            rsl_sagas_unlock_(sagas);
            rsl_pause_(RSL_MS(1));
            rsl_sagas_lock_(sagas);
        } else {
            rsl_sagas_idle_(sagas, &rsl_ctx_unlimited_, RSL_FOREVER);
        }
    }
    rsl_sagas_unlock_(sagas);
}

static inline void rsl_sagas_crew_(void *arg);

/* A step has ended this thread: another takes its place. If there can be none, the rest goes on
   with one less. */
static inline void rsl_sagas_hand_lost_(void *arg)
{
    rsl_saga_hand_ *hand = (rsl_saga_hand_ *)arg;
    rsl_sagas *sagas = hand->sagas;
    rsl_sagas_lock_(sagas);
    if (!sagas->stopping) { /* else it is about to be joined */
        rsl_thread_detach_(&hand->thread);
        hand->gone = rsl_thread_start_(&hand->thread, 0, rsl_sagas_crew_, hand) != RSL_OK;
    }
    rsl_sagas_unlock_(sagas);
}

static inline void rsl_sagas_crew_(void *arg)
{
    rsl_thread_guard_(rsl_sagas_work_on_, rsl_sagas_hand_lost_, arg);
}
#endif

/* ---- opening and closing ---- */

const char *rsl_sagas_config_check(const rsl_sagas_config *config)
{
    if (config == NULL || (config->path == NULL && config->store == NULL))
        return "path: must be set, or store";
    if (config->path != NULL && config->store != NULL) return "store: must not be set beside path";
    if (config->threads > 1024) return "threads: must be at most 1024";
    if (config->live_max > (1u << 24)) return "live_max: must be at most 16777216";
    if (config->payload_max > (size_t)16 << 20) return "payload_max: must be at most 16 MiB";
    if (config->claim_for != 0 &&
        (config->claim_for < RSL_MS(100) || config->claim_for > RSL_SEC(3600)))
        return "claim_for: must lie in 100 ms..1 h";
    if (config->submit == NULL && (config->task_size != 0 || config->submit_ended != NULL))
        return "submit: must be set when task_size or submit_ended is";
    if (config->task_size > 65536) return "task_size: must be at most 65536";
    if (config->submit != NULL && config->caller_works)
        return "submit: must not be set beside caller_works";
#ifdef RSL_NO_THREADS
    if (!config->caller_works) return "caller_works: must be set where there are no threads";
#endif
    const rsl_saga_store *store = config->store;
    if (store != NULL && (store->open == NULL || store->load == NULL || store->append == NULL ||
                          store->compact == NULL || store->close == NULL))
        return "store: open, load, append, compact and close must be set";
    if (store != NULL && store->claim != NULL &&
        (store->begin == NULL || store->renew == NULL || store->cancel == NULL ||
         store->list == NULL))
        return "store: begin, renew, cancel and list must be set when claim is";
    return rsl_clock_check_(&config->clock, false);
}

rsl_sagas_config rsl_sagas_config_resolve(const rsl_sagas_config *config)
{
    rsl_sagas_config c;
    memset(&c, 0, sizeof c);
    if (config != NULL) c = *config;
    if (c.threads == 0) c.threads = 2;
    if (c.live_max == 0) c.live_max = 65536;
    if (c.payload_max == 0) c.payload_max = (size_t)64 << 10;
    if (c.claim_for == 0) c.claim_for = RSL_SEC(15);
    if (c.finished_max == 0) c.finished_max = 65536;
    return c;
}

/* Frees all that open takes but the threads; sagas may be half made. */
static inline void rsl_sagas_free_(rsl_sagas *sagas)
{
    for (uint32_t i = 0; i < sagas->entries_count; i++) {
        if (sagas->entries[i]->live != NULL) rsl_saga_live_free_(sagas->entries[i]->live);
        RSL_FREE(sagas->entries[i]);
    }
    for (rsl_saga_kind_ *kind = sagas->kinds, *next; kind != NULL; kind = next) {
        next = kind->next;
        RSL_FREE(kind);
    }
    if (sagas->store.close != NULL) sagas->store.close(sagas->store.self);
    rsl_map_deinit_(&sagas->by_id);
    rsl_map_deinit_(&sagas->by_key);
    rsl_array_free_(sagas->entries);
    rsl_array_free_(sagas->timers);
    RSL_FREE(sagas->records);
    RSL_FREE(sagas->scratch);
    RSL_FREE(sagas->runners);
    RSL_FREE(sagas->tasks);
#ifndef RSL_NO_THREADS
    RSL_FREE(sagas->crew);
#endif
    rsl_lock_deinit_(&sagas->lock);
    RSL_FREE(sagas);
}

#ifndef RSL_NO_THREADS
/* [WAKE] */
static inline uint32_t rsl_sagas_crew_size_(const rsl_sagas *sagas)
{
    const rsl_sagas_config *config = &sagas->config;
    uint32_t steps = config->submit != NULL ? 0 : config->threads;
    return config->caller_works ? 0 : steps + (sagas->store.claim != NULL ? 3 : 1);
}
#endif

/* Room for what runs later without allocating. */
static inline int rsl_sagas_make_room_(rsl_sagas *sagas)
{
    const rsl_sagas_config *config = &sagas->config;
    int status = rsl_map_init_(&sagas->by_id);
    if (status == RSL_OK) status = rsl_map_init_(&sagas->by_key);
    if (status != RSL_OK) return status;
    sagas->records = (rsl_saga_record *)RSL_MALLOC(RSL_SAGA_BATCH_ * sizeof *sagas->records);
    sagas->scratch_size = config->payload_max + ((size_t)64 << 10);
    sagas->scratch = (uint8_t *)RSL_MALLOC(sagas->scratch_size);
    if (sagas->records == NULL || sagas->scratch == NULL) return RSL_ENOMEM;
    if (config->submit != NULL) {
        size_t step = (config->task_size + 63) / 64 * 64, size = config->threads * step + 64;
        sagas->runners = (rsl_saga_runner_ *)RSL_MALLOC(config->threads * sizeof *sagas->runners);
        sagas->tasks = (char *)RSL_MALLOC(size);
        if (sagas->runners == NULL || sagas->tasks == NULL) return RSL_ENOMEM;
        memset(sagas->tasks, 0, size);
        char *first = sagas->tasks + (64 - (uintptr_t)sagas->tasks % 64) % 64;
        for (uint32_t i = 0; i < config->threads; i++)
            sagas->runners[i] = (rsl_saga_runner_){sagas, first + i * step, false, false};
    }
#ifndef RSL_NO_THREADS
    uint32_t crew = rsl_sagas_crew_size_(sagas);
    if (crew > 0) sagas->crew = (rsl_saga_hand_ *)RSL_MALLOC(crew * sizeof *sagas->crew);
    if (crew > 0 && sagas->crew == NULL) return RSL_ENOMEM;
#endif
    return RSL_OK;
}

/* Attaches the store, reads it, and takes it into use. */
static inline int rsl_sagas_attach_(rsl_sagas *sagas, const rsl_sagas_config *config)
{
    rsl_saga_opening opening;
    memset(&opening, 0, sizeof opening);
    sagas->shared = sagas->store.claim != NULL;
    int status = sagas->store.open(sagas->store.self, config->salvage, &opening, config->error,
                                   config->error_size);
    if (status != RSL_OK) return status;
    memcpy(sagas->uuid, opening.uuid, sizeof sagas->uuid);
    sagas->epoch = opening.epoch;
    sagas->next_id = opening.next_id > 0 ? opening.next_id : 1;
    rsl_sagas_loader_ loader = {sagas, NULL, 0};
    if (!sagas->shared) {
        status = sagas->store.load(sagas->store.self, 0, rsl_sagas_load_one_, &loader);
        if (status != RSL_OK) return status;
        for (uint32_t i = 0; i < sagas->entries_count; i++) {
            if (sagas->entries[i]->live != NULL) sagas->entries[i]->live->epoch = sagas->epoch;
        }
        sagas->stored = 0;
        status = sagas->store.compact(sagas->store.self, rsl_sagas_is_kept_, sagas,
                                      config->finished_max);
        if (status != RSL_OK) return status;
    }
    rsl_time clock = rsl_clock_now_(&config->clock);
    rsl_time now = rsl_clock_is_real_(&config->clock) && opening.now > clock ? opening.now : clock;
    sagas->shift = (now > loader.latest ? now : loader.latest) - clock;
    return RSL_OK;
}

#ifndef RSL_NO_THREADS
static inline void rsl_sagas_stop_crew_(rsl_sagas *sagas)
{
    rsl_sagas_lock_(sagas);
    sagas->stopping = true;
    rsl_sagas_wake_all_(sagas, &sagas->idlers);
    rsl_sagas_unlock_(sagas);
    for (uint32_t i = 0; i < sagas->crew_count; i++) {
        if (!sagas->crew[i].gone) rsl_thread_join_(&sagas->crew[i].thread);
    }
}

static inline int rsl_sagas_start_crew_(rsl_sagas *sagas)
{
    uint32_t crew = rsl_sagas_crew_size_(sagas);
    for (; sagas->crew_count < crew; sagas->crew_count++) {
        rsl_saga_hand_ *hand = &sagas->crew[sagas->crew_count];
        hand->sagas = sagas;
        hand->gone = false;
        int status = rsl_thread_start_(&hand->thread, 0, rsl_sagas_crew_, hand);
        if (status == RSL_OK) continue;
        int saved = errno;
        rsl_sagas_stop_crew_(sagas);
        errno = saved;
        return status;
    }
    return RSL_OK;
}
#endif

static inline int rsl_sagas_say_(const rsl_sagas_config *config, int status, const char *why)
{
    if (config == NULL || config->error == NULL || config->error_size == 0) return status;
    if (why != NULL || config->error[0] == '\0') {
        rsl_saga_write_(config->error, config->error + config->error_size,
                        why != NULL ? why : rsl_strerror(status));
    }
    return status;
}

/* Before there is anything to free but the store. */
static inline int rsl_sagas_refuse_(const rsl_sagas_config *config, int status, const char *why)
{
    int saved = errno;
    if (config->store != NULL) config->store->close(config->store->self);
    errno = saved;
    return rsl_sagas_say_(config, status, why);
}

int rsl_sagas_open(rsl_sagas **sagas, const rsl_sagas_config *config)
{
    const char *why = rsl_sagas_config_check(config);
    if (why == NULL && sagas == NULL) why = "sagas: must not be NULL";
    if (why != NULL) return rsl_sagas_say_(config, RSL_EINVAL, why);
    if (config->error != NULL && config->error_size > 0) config->error[0] = '\0';
    rsl_sagas *made = (rsl_sagas *)RSL_MALLOC(sizeof *made);
    if (made == NULL) return rsl_sagas_refuse_(config, RSL_ENOMEM, NULL);
    memset(made, 0, sizeof *made);
    made->config = rsl_sagas_config_resolve(config);
    made->watch_at = RSL_FOREVER;
    made->waits_on = made->config.clock;
    /* Threads of ours do not move an injected clock: they look at it. */
    if (!config->caller_works) made->waits_on.sleep_until = NULL;
    int status = rsl_lock_init_(&made->lock);
    if (status != RSL_OK) {
        RSL_FREE(made);
        return rsl_sagas_refuse_(config, status, NULL);
    }
    if (config->store != NULL) made->store = *config->store;
    else status = rsl_saga_file_make_(&made->store, config->path);
    if (status == RSL_OK) status = rsl_sagas_make_room_(made);
    if (status == RSL_OK) status = rsl_sagas_attach_(made, &made->config);
#ifndef RSL_NO_THREADS
    if (status == RSL_OK) status = rsl_sagas_start_crew_(made);
#endif
    if (status == RSL_OK) {
        *sagas = made;
        return RSL_OK;
    }
    int saved = errno;
    rsl_sagas_free_(made);
    errno = saved;
    return rsl_sagas_say_(config, status, NULL);
}

/* Lock held. Whether something of the runtime's is still under way. */
static inline bool rsl_sagas_is_busy_(const rsl_sagas *sagas)
{
    if (sagas->running > 0 || sagas->appending || sagas->on_duty) return true;
    if (sagas->telling > 0 || sagas->ready_first != NULL) return true;
    for (uint32_t i = 0; sagas->runners != NULL && i < sagas->config.threads; i++) {
        if (!rsl_sagas_runner_is_free_(sagas, i)) return true;
    }
    return rsl_sagas_may_append_(sagas);
}

/* Lock held. Gives the leases back, so that others need not wait for their end. */
static inline void rsl_sagas_give_back_(rsl_sagas *sagas)
{
    if (!sagas->shared) return;
    while (rsl_sagas_renew_(sagas, RSL_FOREVER - 1, 0)) continue;
    rsl_sagas_free_left_(sagas);
}

int rsl_sagas_close(rsl_sagas *sagas, const rsl_ctx *ctx)
{
    if (sagas == NULL) return RSL_EINVAL;
    ctx = rsl_ctx_or_unlimited_(ctx);
    rsl_sagas_lock_(sagas);
    for (rsl_step *step = sagas->out; step != NULL; step = step->next) {
        if (step->self != rsl_self_()) continue;
        rsl_sagas_unlock_(sagas);
        return RSL_EINVAL;
    }
    sagas->closing = true;
    rsl_sagas_wake_all_(sagas, &sagas->flushed);
    rsl_sagas_wake_all_(sagas, &sagas->idlers); /* with caller_works, who waits is there */
    for (uint32_t i = 0; i < sagas->entries_count; i++)
        rsl_sagas_wake_all_(sagas, &sagas->entries[i]->waiters);
    while (rsl_sagas_is_busy_(sagas)) {
        if (sagas->ready_first != NULL) {
            rsl_sagas_run_one_(sagas); /* which is not called any more */
            continue;
        }
        bool appends = rsl_sagas_may_append_(sagas);
        if (appends) rsl_sagas_flush_(sagas);
        int spent = rsl_ctx_spent_(ctx, rsl_clock_pick_(ctx, &sagas->waits_on));
        if (spent != RSL_OK && rsl_sagas_is_busy_(sagas)) {
            rsl_sagas_unlock_(sagas);
            return spent;
        }
        if (appends) continue;
        /* the application's threads end their tasks without a word to us */
        rsl_time until = sagas->config.submit_ended != NULL ? rsl_now() + RSL_MS(1) : RSL_FOREVER;
        if (ctx->deadline != 0 && ctx->deadline < until) until = ctx->deadline;
        rsl_sagas_share_(sagas);
        rsl_sagas_sleep_(sagas, &sagas->closers, NULL, ctx, until);
    }
    rsl_sagas_give_back_(sagas);
    rsl_sagas_unlock_(sagas);
#ifndef RSL_NO_THREADS
    rsl_sagas_stop_crew_(sagas);
#endif
    rsl_sagas_free_(sagas);
    return RSL_OK;
}

int rsl_sagas_recover(rsl_sagas *sagas)
{
    if (sagas == NULL) return RSL_EINVAL;
    rsl_sagas_lock_(sagas);
    int status = sagas->closing ? RSL_ECLOSED : sagas->failed ? RSL_EIO : RSL_OK;
    if (status == RSL_OK) {
        sagas->recovering = true;
        sagas->duty_at = 0;
        for (uint32_t i = 0; i < sagas->entries_count; i++) {
            rsl_saga_live_ *live = sagas->entries[i]->live;
            if (live == NULL || live->kind != NULL || live->loading) continue;
            if (rsl_sagas_bind_(sagas, live)) rsl_sagas_decide_(sagas, live);
            if (live->pending == 0 && live->parked) rsl_sagas_settle_(sagas, live);
        }
        rsl_sagas_wake_one_(sagas, &sagas->idlers);
    }
    rsl_sagas_unlock_(sagas);
    return status;
}

/* ---- sagas ---- */

/* Lock held. Why no more work is taken, or RSL_OK. */
static inline int rsl_sagas_refuses_(const rsl_sagas *sagas)
{
    return sagas->closing ? RSL_ECLOSED : sagas->failed ? RSL_EIO : RSL_OK;
}

/* Lock held. Lets go of an entry that was pinned by users++. */
static inline void rsl_sagas_unpin_(rsl_sagas *sagas, rsl_saga_entry_ *entry)
{
    entry->users--;
    rsl_sagas_trim_(sagas);
}

/* A saga of that kind, not known yet. */
static inline int rsl_sagas_prepare_(rsl_sagas *sagas, const rsl_saga_kind_ *kind, const char *key,
                                     const void *payload, size_t size, rsl_saga_entry_ **prepared)
{
    rsl_time now = rsl_sagas_now_(sagas);
    rsl_saga_begin_ said;
    said.at = now;
    said.deadline_at = rsl_time_add_(now, kind->plan.deadline); /* saturates */
    said.shape = kind->shape;
    said.shape_size = kind->shape_size;
    said.payload = (const uint8_t *)payload;
    said.payload_size = size;
    memcpy(said.key, key, strlen(key) + 1);
    size_t begin_size = rsl_saga_begin_size_(kind->shape_size, key, size);
    void *begin = rsl_saga_begin_new_(begin_size - size, begin_size);
    if (begin == NULL) return RSL_ENOMEM;
    rsl_saga_begin_write_(&said, begin, begin_size);
    rsl_saga_live_ *live = NULL;
    rsl_saga_entry_ *entry = rsl_saga_entry_make_(0, key, kind->plan.name, kind->plan.version);
    int status = entry == NULL ? RSL_ENOMEM
                               : rsl_saga_live_make_(&live, &kind->plan, NULL, begin, begin_size);
    if (status != RSL_OK) {
        rsl_saga_begin_free_(begin);
        RSL_FREE(entry);
        return status;
    }
    live->kind = kind;
    live->epoch = sagas->epoch;
    live->entry = entry;
    entry->live = live;
    *prepared = entry;
    return RSL_OK;
}

static inline void rsl_saga_entry_free_(rsl_saga_entry_ *entry)
{
    rsl_saga_live_free_(entry->live);
    RSL_FREE(entry);
}

/* No lock held. In a shared store a saga begins by itself, and is durable then. */
static inline int rsl_sagas_begin_shared_(rsl_sagas *sagas, rsl_saga_entry_ *entry, bool *is_new)
{
    rsl_saga_live_ *live = entry->live;
    rsl_saga_record record = {0, 0, 1, RSL_SAGA_RUNNING, live->begin, live->begin_size, RSL_OK};
    rsl_time asked = rsl_clock_now_(&sagas->config.clock), span = sagas->config.claim_for;
    int status = sagas->store.begin(sagas->store.self, entry->key, live->kind->identity, span,
                                    &record, is_new);
    if (status != RSL_OK) return status;
    entry->id = record.saga;
    entry->durable = true;
    live->epoch = record.epoch;
    live->number = live->stored = 1;
    live->bytes = live->begin_size;
    live->lease_until = rsl_time_add_(asked, span - span / 8);
    live->renewed_at = asked;
    return RSL_OK;
}

/* Lock held before and after. A saga with that key is known already. */
static inline int rsl_sagas_start_again_(rsl_sagas *sagas, rsl_saga_entry_ *entry, rsl_saga_id *id)
{
    entry->users++;
    int status = entry->durable ? RSL_OK : rsl_sagas_durable_(sagas, entry, 1, UINT32_MAX);
    if (status == RSL_OK) *id = entry->id;
    rsl_sagas_unpin_(sagas, entry);
    return status;
}

/* Lock held before and after. Begins what was prepared; on failure it is the caller's again. */
static inline int rsl_sagas_start_new_(rsl_sagas *sagas, rsl_saga_entry_ *entry, rsl_saga_id *id)
{
    rsl_saga_live_ *live = entry->live;
    int status = rsl_sagas_refuses_(sagas);
    if (status == RSL_OK && sagas->live_count >= sagas->config.live_max) status = RSL_EFULL;
    if (status != RSL_OK) return status;
    if (!sagas->shared) entry->id = sagas->next_id;
    status = rsl_sagas_enter_(sagas, entry);
    if (status != RSL_OK) return status;
    sagas->live_count++;
    sagas->stats.begun++;
    sagas->needed += live->bytes;
    if (!sagas->shared) {
        sagas->next_id++;
        rsl_saga_change_ change = {RSL_SAGA_LOG_BEGIN_, false, RSL_SAGA_NO_STEP_, 0, 0,
                                   live->epoch, live->said.at, 0};
        rsl_sagas_append_(sagas, live, &change);
    }
    *id = entry->id;
    entry->users++; /* so that it stays while it is told of */
    if (sagas->shared) rsl_sagas_tell_now_(sagas, live, RSL_SAGA_BEGUN, RSL_OK);
    rsl_sagas_decide_(sagas, live);
    rsl_sagas_settle_(sagas, live);
    entry->users--;
    return RSL_OK;
}

int rsl_sagas_start(rsl_sagas *sagas, const char *def, const char *key,
                    const void *payload, size_t size, rsl_saga_id *id)
{
    rsl_saga_id begun = 0;
    rsl_saga_entry_ *entry = NULL;
    bool is_new = true;
    size_t length = key != NULL ? strnlen(key, RSL_SAGA_KEY_MAX + 1) : 0;
    if (sagas == NULL || def == NULL || length == 0 || length > RSL_SAGA_KEY_MAX ||
        (payload == NULL && size > 0) || size > sagas->config.payload_max)
        return RSL_EINVAL;
    rsl_sagas_lock_(sagas);
    int status = rsl_sagas_refuses_(sagas);
    const rsl_saga_kind_ *kind = rsl_sagas_kind_(sagas, def, NULL);
    rsl_saga_entry_ *known = rsl_sagas_find_key_(sagas, key);
    if (status == RSL_OK && kind == NULL) status = RSL_EINVAL;
    if (status == RSL_OK && known == NULL && sagas->live_count >= sagas->config.live_max)
        status = RSL_EFULL;
    if (status == RSL_OK && known == NULL) {
        rsl_sagas_unlock_(sagas); /* kinds stay as long as the runtime */
        status = rsl_sagas_prepare_(sagas, kind, key, payload, size, &entry);
        if (status == RSL_OK && sagas->shared)
            status = rsl_sagas_begin_shared_(sagas, entry, &is_new);
        rsl_sagas_lock_(sagas);
        known = rsl_sagas_find_key_(sagas, key);
    }
    if (status == RSL_OK && known != NULL) {
        status = rsl_sagas_start_again_(sagas, known, &begun);
    } else if (status == RSL_OK && !is_new) {
        begun = entry->id;
    } else if (status == RSL_OK) {
        status = rsl_sagas_start_new_(sagas, entry, &begun);
        if (status == RSL_OK) {
            known = entry;
            entry = NULL; /* the runtime's now */
            known->users++;
            if (!sagas->shared) status = rsl_sagas_durable_(sagas, known, 1, UINT32_MAX);
            rsl_sagas_unpin_(sagas, known);
        }
    }
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
    if (status != RSL_OK && entry != NULL && sagas->shared && is_new && entry->id != 0) {
        /* it has begun, but there is no room for it here: who has may claim it at once */
        rsl_saga_claim claim = {entry->id, entry->live->epoch, RSL_OK, false};
        sagas->store.renew(sagas->store.self, 0, &claim, 1);
    }
    if (entry != NULL) rsl_saga_entry_free_(entry);
    if (status == RSL_OK && id != NULL) *id = begun;
    return status;
}

static inline bool rsl_saga_is_over_(rsl_saga_state state)
{
    return state != RSL_SAGA_RUNNING && state != RSL_SAGA_UNWINDING;
}

static inline bool rsl_saga_note_state_(const rsl_saga_info *info, void *user)
{
    *(rsl_saga_state *)user = info->state;
    return false;
}

/* No lock held. A saga of another host: the store is asked, less often with time. */
static inline int rsl_sagas_wait_far_(rsl_sagas *sagas, rsl_saga_id id, const rsl_ctx *ctx,
                                      rsl_saga_state *state)
{
    const rsl_clock *clock = rsl_clock_pick_(ctx, &sagas->waits_on);
    rsl_word_ word = 0;
    for (rsl_time span = RSL_MS(5);; span = span < RSL_MS(200) ? span * 2 : span) {
        rsl_saga_state found = RSL_SAGA_RUNNING;
        int status = sagas->store.list(sagas->store.self, id, 0, rsl_saga_note_state_, &found);
        if (status != RSL_OK) return status;
        if (rsl_saga_is_over_(found)) {
            *state = found;
            return RSL_OK;
        }
        rsl_sagas_lock_(sagas);
        while (sagas->config.caller_works && !sagas->closing && rsl_sagas_turn_(sagas, true))
            continue; /* it may be ours by then */
        bool closing = sagas->closing;
        rsl_sagas_unlock_(sagas);
        status = closing ? RSL_ECLOSED : rsl_ctx_spent_(ctx, clock);
        if (status != RSL_OK) return status;
        rsl_time until = rsl_time_add_(rsl_clock_now_(clock), span);
        if (ctx->deadline != 0 && ctx->deadline < until) until = ctx->deadline;
        rsl_ctx_sleep_(ctx, clock, &word, until);
    }
}

/* Lock held before and after; the entry is pinned. RSL_WAIT: it is not ours any more. */
static inline int rsl_sagas_wait_near_(rsl_sagas *sagas, rsl_saga_entry_ *entry,
                                       const rsl_ctx *ctx, rsl_saga_state *state)
{
    rsl_time until = ctx->deadline != 0 ? ctx->deadline : RSL_FOREVER;
    for (;;) {
        bool settled = entry->live == NULL ||
                       (entry->live->pending == 0 && !entry->live->loading);
        if (settled && entry->durable && rsl_saga_is_over_(entry->state)) {
            *state = entry->state;
            return RSL_OK;
        }
        if (entry->live == NULL && sagas->shared) return RSL_WAIT;
        int status = rsl_sagas_refuses_(sagas);
        if (status == RSL_OK) status = rsl_ctx_spent_(ctx, rsl_clock_pick_(ctx, &sagas->waits_on));
        if (status != RSL_OK) return status;
        if (!sagas->config.caller_works)
            rsl_sagas_sleep_(sagas, &entry->waiters, NULL, ctx, until);
        else if (!rsl_sagas_turn_(sagas, true))
            rsl_sagas_idle_(sagas, ctx, until);
    }
}

int rsl_sagas_wait(rsl_sagas *sagas, rsl_saga_id id, const rsl_ctx *ctx,
                   rsl_saga_state *state)
{
    if (sagas == NULL || id == 0) return RSL_EINVAL;
    ctx = rsl_ctx_or_unlimited_(ctx);
    int saved = errno, status = RSL_WAIT;
    rsl_saga_state found = RSL_SAGA_RUNNING;
    rsl_sagas_lock_(sagas);
    rsl_saga_entry_ *entry = rsl_sagas_find_(sagas, id);
    if (entry != NULL) {
        entry->users++;
        status = rsl_sagas_wait_near_(sagas, entry, ctx, &found);
        rsl_sagas_unpin_(sagas, entry);
    }
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
    if (status == RSL_WAIT)
        status = sagas->shared ? rsl_sagas_wait_far_(sagas, id, ctx, &found) : RSL_EINVAL;
    if (status == RSL_OK && state != NULL) *state = found;
    errno = saved;
    return status;
}

/* Lock held before and after. A saga to be changed from outside, pinned, with half of its nodes
   free; NULL: there is none here. */
static inline rsl_saga_entry_ *rsl_sagas_hold_(rsl_sagas *sagas, rsl_saga_id id, int *status)
{
    rsl_saga_entry_ *entry = rsl_sagas_find_(sagas, id);
    *status = rsl_sagas_refuses_(sagas);
    if (entry == NULL || *status != RSL_OK) return NULL;
    entry->users++;
    uint32_t count = entry->live != NULL ? entry->live->plan->count : 0;
    *status = rsl_sagas_durable_(sagas, entry, 0, 2 * count + RSL_SAGA_NODES_);
    const rsl_saga_live_ *live = entry->live;
    bool here = live != NULL && !live->lost && !live->late && !live->loading;
    if (*status == RSL_OK && here) return entry;
    rsl_sagas_unpin_(sagas, entry);
    return NULL;
}

/* The same; of a shared store, one that nobody owns, as a parked one, is claimed for it. */
static inline rsl_saga_entry_ *rsl_sagas_get_(rsl_sagas *sagas, rsl_saga_id id, int *status)
{
    rsl_saga_entry_ *entry = rsl_sagas_hold_(sagas, id, status);
    if (entry != NULL || *status != RSL_OK || !sagas->shared) return entry;
    if (rsl_sagas_find_(sagas, id) != NULL) return NULL; /* ours still: a step is out */
    rsl_sagas_claim_(sagas, id);
    return rsl_sagas_hold_(sagas, id, status);
}

/* Lock held, dropped meanwhile. A saga that was claimed for an operator's word; if it is parked
   still, or again, it is nobody's. */
static inline void rsl_sagas_put_back_(rsl_sagas *sagas, rsl_saga_live_ *live)
{
    bool idle = live->parked && live->pending == 0 && live->out == 0 && !live->lost;
    rsl_saga_claim claim = {live->entry->id, live->epoch, RSL_OK, false};
    live->held = false;
    rsl_sagas_settle_(sagas, live);
    if (idle) rsl_sagas_free_leases_(sagas, &claim, 1);
}

/* Lock held before and after: until durable what a holder has appended. */
static inline int rsl_sagas_let_go_(rsl_sagas *sagas, rsl_saga_entry_ *entry)
{
    rsl_saga_live_ *live = entry->live;
    uint64_t epoch = live->epoch;
    int status = rsl_sagas_durable_(sagas, entry, live->number, UINT32_MAX);
    /* of a saga that was lost meanwhile, the new owner decides */
    if (status == RSL_OK && sagas->shared && !rsl_saga_is_over_(entry->state) &&
        (entry->live == NULL || entry->live->lost || entry->live->epoch != epoch))
        status = RSL_EFENCED;
    if (entry->live != NULL && entry->live->held) rsl_sagas_put_back_(sagas, entry->live);
    rsl_sagas_unpin_(sagas, entry);
    return status;
}

int rsl_sagas_cancel(rsl_sagas *sagas, rsl_saga_id id)
{
    int status;
    if (sagas == NULL || id == 0) return RSL_EINVAL;
    rsl_sagas_lock_(sagas);
    rsl_saga_entry_ *entry = rsl_sagas_get_(sagas, id, &status);
    bool elsewhere = entry == NULL && status == RSL_OK && sagas->shared;
    if (entry != NULL) {
        rsl_saga_live_ *live = entry->live;
        bool unwinds = live->view.back && live->view.target == RSL_SAGA_NO_STEP_;
        if (rsl_saga_can_turn_(live)) rsl_sagas_turn_back_(sagas, live);
        else if (!unwinds || live->view.ended || live->damaged) status = RSL_EINVAL;
        int durable = rsl_sagas_let_go_(sagas, entry);
        if (status == RSL_OK) status = durable;
    } else if (status == RSL_OK) {
        status = RSL_EINVAL;
    }
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
    if (!elsewhere) return status;
    rsl_saga_state found = RSL_SAGA_RUNNING;
    status = sagas->store.list(sagas->store.self, id, 0, rsl_saga_note_state_, &found);
    if (status != RSL_OK) return status;
    bool ended = rsl_saga_is_over_(found) && found != RSL_SAGA_PARKED;
    return ended ? RSL_EINVAL : sagas->store.cancel(sagas->store.self, id);
}

/* Lock held. Appends an operator's word. */
static inline int rsl_sagas_resolve_here_(rsl_sagas *sagas, rsl_saga_live_ *live, const char *step,
                                          rsl_saga_verb verb)
{
    uint16_t index = RSL_SAGA_NO_STEP_;
    for (uint32_t i = 0; step != NULL && i < live->plan->count; i++) {
        if (strcmp(live->plan->steps[i].name, step) == 0) index = (uint16_t)i;
    }
    bool stuck = index != RSL_SAGA_NO_STEP_ && !live->damaged &&
                 live->view.marks[index].phase == RSL_SAGA_STUCK_;
    if (step != NULL && index == RSL_SAGA_NO_STEP_) return RSL_EINVAL;
    /* another's ABANDON may be on its way to the store: nothing follows an END */
    if (live->view.ended) return RSL_EINVAL;
    if (!stuck && !(verb == RSL_SAGA_ABANDON && live->parked)) return RSL_EINVAL;
    if (live->damaged) { /* what it did cannot be known: it ends as if it had done nothing */
        rsl_saga_view_init_(&live->view, live->view.marks, live->plan->count, RSL_FOREVER);
        live->damaged = false;
        index = RSL_SAGA_NO_STEP_;
    }
    rsl_saga_change_ change = {RSL_SAGA_LOG_RESOLVE_, false, index, 0, (uint32_t)verb, live->epoch,
                               rsl_sagas_now_(sagas), 0};
    rsl_sagas_append_(sagas, live, &change);
    rsl_sagas_decide_(sagas, live);
    return RSL_OK;
}

int rsl_sagas_resolve(rsl_sagas *sagas, rsl_saga_id id, const char *step,
                      rsl_saga_verb verb)
{
    int status;
    bool known = verb == RSL_SAGA_RETRY || verb == RSL_SAGA_SKIP || verb == RSL_SAGA_ABANDON;
    if (sagas == NULL || id == 0 || !known || (step == NULL && verb != RSL_SAGA_ABANDON))
        return RSL_EINVAL;
    rsl_sagas_lock_(sagas);
    rsl_saga_entry_ *entry = rsl_sagas_get_(sagas, id, &status);
    if (entry != NULL) {
        status = rsl_sagas_resolve_here_(sagas, entry->live, step, verb);
        int durable = rsl_sagas_let_go_(sagas, entry);
        if (status == RSL_OK) status = durable;
    } else if (status == RSL_OK) { /* a shared store's could not be claimed without room for it */
        bool full = sagas->shared && sagas->live_count >= sagas->config.live_max;
        status = full ? RSL_EFULL : RSL_EINVAL;
    }
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
    return status;
}

/* ---- looking ---- */

typedef struct rsl_saga_snapshot_ {
    rsl_saga_info info;
    char def[RSL_SAGA_NAME_MAX + 1], key[RSL_SAGA_KEY_MAX + 1], step[RSL_SAGA_NAME_MAX + 1];
} rsl_saga_snapshot_;

/* Lock held. */
static inline void rsl_saga_snapshot_take_(rsl_saga_snapshot_ *shot, const rsl_saga_entry_ *entry)
{
    const rsl_saga_live_ *live = entry->live;
    memset(&shot->info, 0, sizeof shot->info);
    rsl_saga_write_(shot->def, shot->def + sizeof shot->def, entry->def);
    rsl_saga_write_(shot->key, shot->key + sizeof shot->key, entry->key);
    shot->info.id = entry->id;
    shot->info.state = entry->state;
    shot->info.def = shot->def;
    shot->info.key = shot->key;
    shot->info.version = entry->version;
    shot->info.epoch = entry->epoch;
    if (live == NULL) return;
    shot->info.epoch = live->epoch;
    shot->info.steps_count = live->plan->count;
    shot->info.steps_done = rsl_steps_count_(&live->view.done);
    uint16_t step = live->view.failed;
    shot->info.status = live->view.status;
    for (uint32_t i = 0; i < live->plan->count; i++) {
        if (live->view.marks[i].phase != RSL_SAGA_STUCK_) continue;
        step = (uint16_t)i;
        shot->info.status = live->view.marks[i].status;
        break;
    }
    if (live->parked && live->kind == NULL) shot->info.status = RSL_EINVAL;
    if (live->damaged) shot->info.status = RSL_ECORRUPT;
    if (step == RSL_SAGA_NO_STEP_) return;
    rsl_saga_write_(shot->step, shot->step + sizeof shot->step, live->plan->steps[step].name);
    shot->info.step = shot->step;
}

int rsl_sagas_look(rsl_sagas *sagas, rsl_saga_id id,
                   bool (*visit)(const rsl_saga_info *info, void *user), void *user)
{
    rsl_saga_snapshot_ shot;
    if (sagas == NULL || id == 0 || visit == NULL) return RSL_EINVAL;
    rsl_sagas_lock_(sagas);
    const rsl_saga_entry_ *entry = rsl_sagas_find_(sagas, id);
    bool here = entry != NULL && (!sagas->shared || entry->live != NULL);
    if (here) rsl_saga_snapshot_take_(&shot, entry);
    rsl_sagas_unlock_(sagas);
    if (!here && sagas->shared) return sagas->store.list(sagas->store.self, id, 0, visit, user);
    if (!here) return RSL_EINVAL;
    visit(&shot.info, user);
    return RSL_OK;
}

static inline int rsl_saga_id_order_(const void *a, const void *b)
{
    rsl_saga_id left = *(const rsl_saga_id *)a, right = *(const rsl_saga_id *)b;
    return (left > right) - (left < right);
}

int rsl_sagas_list(rsl_sagas *sagas, unsigned states,
                   bool (*visit)(const rsl_saga_info *info, void *user), void *user)
{
    rsl_saga_snapshot_ shot;
    if (sagas == NULL || visit == NULL) return RSL_EINVAL;
    if (sagas->shared) return sagas->store.list(sagas->store.self, 0, states, visit, user);
    rsl_sagas_lock_(sagas);
    uint32_t count = sagas->entries_count;
    rsl_saga_id *ids = (rsl_saga_id *)RSL_MALLOC((count + 1) * sizeof *ids);
    for (uint32_t i = 0; ids != NULL && i < count; i++) ids[i] = sagas->entries[i]->id;
    rsl_sagas_unlock_(sagas);
    if (ids == NULL) return RSL_ENOMEM;
    qsort(ids, count, sizeof *ids, rsl_saga_id_order_);
    bool more = true;
    for (uint32_t i = 0; more && i < count; i++) {
        rsl_sagas_lock_(sagas);
        const rsl_saga_entry_ *entry = rsl_sagas_find_(sagas, ids[i]);
        bool wanted = entry != NULL && (states == 0 || (states >> entry->state & 1) != 0);
        if (wanted) rsl_saga_snapshot_take_(&shot, entry);
        rsl_sagas_unlock_(sagas);
        if (wanted) more = visit(&shot.info, user);
    }
    RSL_FREE(ids);
    return RSL_OK;
}

rsl_time rsl_sagas_work(rsl_sagas *sagas)
{
    if (sagas == NULL) return RSL_FOREVER;
    rsl_sagas_lock_(sagas);
    while (rsl_sagas_turn_(sagas, sagas->config.submit == NULL)) continue;
    rsl_time due = rsl_sagas_due_(sagas);
    rsl_sagas_share_(sagas);
    rsl_sagas_unlock_(sagas);
    return due;
}

void rsl_sagas_stats_get(rsl_sagas *sagas, rsl_sagas_stats *stats)
{
    if (stats == NULL) return;
    memset(stats, 0, sizeof *stats);
    if (sagas == NULL) return;
    rsl_sagas_lock_(sagas);
    *stats = sagas->stats;
    stats->live = sagas->live_count;
    stats->finished = sagas->ended_count;
    stats->running = sagas->running;
    stats->ready = sagas->ready_count;
    stats->failed = sagas->failed;
    for (uint32_t i = 0; i < sagas->entries_count; i++) {
        const rsl_saga_live_ *live = sagas->entries[i]->live;
        stats->parked += live != NULL && live->parked;
    }
    rsl_sagas_unlock_(sagas);
}

/* ---- definitions made at run time ---- */

int rsl_saga_builder_init(rsl_saga_builder *builder, const char *name, uint32_t version,
                          rsl_time deadline)
{
    if (builder == NULL) return RSL_EINVAL;
    memset(builder, 0, sizeof *builder);
    if (name == NULL || strnlen(name, RSL_SAGA_NAME_MAX + 1) > RSL_SAGA_NAME_MAX)
        return RSL_EINVAL;
    rsl_saga_write_(builder->name_, builder->name_ + sizeof builder->name_, name);
    builder->def = (rsl_saga_def){builder->name_, version, NULL, 0, deadline};
    return RSL_OK;
}

int rsl_saga_builder_add(rsl_saga_builder *builder, const rsl_saga_step *step)
{
    if (builder == NULL || step == NULL || step->name == NULL) return RSL_EINVAL;
    size_t count = builder->def.count, name = strlen(step->name) + 1;
    if (count >= RSL_SAGA_STEPS_MAX) return RSL_EFULL;
    size_t after = step->after != NULL ? strlen(step->after) + 1 : 0;
    char *text = (char *)RSL_MALLOC(name + after);
    if (text == NULL) return RSL_ENOMEM;
    void *steps = rsl_array_grow_(builder->steps_, sizeof *builder->steps_, count + 1);
    if (steps == NULL) {
        RSL_FREE(text);
        return RSL_ENOMEM;
    }
    builder->steps_ = (rsl_saga_step *)steps;
    memcpy(text, step->name, name);
    if (after > 0) memcpy(text + name, step->after, after);
    builder->steps_[count] = *step;
    builder->steps_[count].name = text;
    if (after > 0) builder->steps_[count].after = text + name;
    builder->def.steps = builder->steps_;
    builder->def.count++;
    builder->def.name = builder->name_;
    return RSL_OK;
}

void rsl_saga_builder_deinit(rsl_saga_builder *builder)
{
    if (builder == NULL) return;
    for (size_t i = 0; i < builder->def.count; i++) /* a name and what comes after: one block */
        RSL_FREE((void *)(uintptr_t)builder->steps_[i].name);
    rsl_array_free_(builder->steps_);
    memset(builder, 0, sizeof *builder);
}

#endif /* RSL_NO_MAP_ */
#endif /* RSL_SAGA_IMPLEMENTATION */


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
