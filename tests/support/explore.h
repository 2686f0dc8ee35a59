/* SPDX-License-Identifier: MIT
   explore.h: a schedule explorer. It runs a small scenario of up to six threads in every order
   that a bounded number of preemptions can make, and names the order in which it fails.

   The library's block of locks, waits and atomics is replaced by support/explorer_atoms.h, in
   which each function first asks the chooser below who goes next. The threads are coroutines, so
   one schedule is one sequence of choices; these are enumerated depth first (Musuvathi, Qadeer:
   "Iterative Context Bounding for Systematic Testing of Multithreaded Programs"). A switch away
   from a thread that could go on costs a preemption; when it waits, pauses or ends, it is free.

   A word that only one thread uses, or that nobody writes, needs no choice: an operation on it
   commutes with all others, unless its memory is given back. Which words are shared is found out
   while exploring; when one more turns out to be, the scenario starts again.

   Include it first; then the library, implemented; docs/explorer.md says more.                  */
#ifndef SUPPORT_EXPLORE_H
#define SUPPORT_EXPLORE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define EXPLORE_UNUSED __attribute__((unused))
#define EXPLORE_INLINE static inline __attribute__((always_inline))

#define RSL_SCHEDULER_H   "support/explorer_atoms.h"
#define RSL_MALLOC(size)  explore_malloc(size)
#define RSL_FREE(block)   explore_free(block)
#define RSL_ASSERT(claim) explore_check(claim, "assertion: " #claim)

#ifndef EXPLORE_MOST
#define EXPLORE_MOST 200000 /* schedules of a scenario; where each takes long, define less */
#endif

enum {
    EXPLORE_THREADS = 6,
    EXPLORE_FRAME_ = EXPLORE_THREADS,    /* runs what comes before and after the threads */
    EXPLORE_MAIN_ = EXPLORE_THREADS + 1, /* the explorer itself */
    EXPLORE_STACK_ = 128 * 1024,
    EXPLORE_CHOICES_ = 4096,             /* in one schedule */
    EXPLORE_STEPS_ = 20000,              /* in one schedule; more is a livelock */
    EXPLORE_WORDS_ = 8192,               /* a power of 2 */
    EXPLORE_DEAD_ = 24,
    EXPLORE_LATE_ = 4,                   /* delayed writes of a thread */
    EXPLORE_ARENA_ = 256 * 1024,
    EXPLORE_POISON_ = 0xA5
};
#define EXPLORE_EPOCH ((int64_t)1000000000) /* the time when a schedule begins */
#define EXPLORE_NEVER INT64_MAX

/* A scenario: `before` makes the world, the threads run, `after` judges when all have ended. */
typedef struct explore_scenario {
    const char *name;
    int         threads;
    void      (*before)(void);
    void      (*thread)(int id);
    void      (*after)(void);
    int         bound;    /* preemptions (0: 3) */
    bool        planted;  /* holds a planted bug, which must be found */
} explore_scenario;

typedef enum explore_state_ {
    EXPLORE_UNBORN_,   /* lent, and not started yet */
    EXPLORE_READY_,
    EXPLORE_LOCKING_,  /* takes `lock` when it is next chosen */
    EXPLORE_WAITING_,  /* for a signal of `cond`, or for its time to be up; then takes `lock` */
    EXPLORE_PAUSED_,   /* until others have moved */
    EXPLORE_JOINING_,  /* until `joined` has ended */
    EXPLORE_FINISHED_
} explore_state_;

typedef struct explore_thread_ {
    ucontext_t     context;
    jmp_buf        jump, guard;        /* guard: to where it ends early */
    bool           made, begun, guarded;
    bool           taken, detached;    /* by a thread that the library started and did not join */
    explore_state_ state;
    uint64_t      *lock;
    const void    *cond;
    int64_t        until;
    bool           timed_out;
    int            joined;
    void         (*run)(void *arg);    /* of a thread that the library started (none) */
    void          *arg;
    uint64_t       moved_at, paused_at; /* serial numbers of moves */
    uint32_t       awaits;              /* bits of threads that are owed a move before it */
    uintptr_t      frame;               /* below it nothing of its stack is alive */
    const uint64_t *unseen[EXPLORE_LATE_]; /* its latest writes, while others still see what */
    uint64_t       seen[EXPLORE_LATE_];    /* was there before: see explore_delay */
    int            late;                   /* how many those are */
} explore_thread_;

typedef struct explore_choice_ { uint16_t pick, count; } explore_choice_;
typedef struct explore_turn_ { uint32_t step; int pick; } explore_turn_;
typedef struct explore_word_ {
    uintptr_t address;
    uint8_t   readers, writers; /* bits of threads */
    bool      shared;
} explore_word_;

/* What is written instead of `after`, where `before` is now: a bug planted into shipping code. */
typedef uint64_t (*explore_plant_fn)(const void *address, uint64_t before, uint64_t after);

/* Memory that is given back, and by whom: what others do there does not commute with that. */
typedef struct explore_grave_ { uintptr_t start, size; int digger; } explore_grave_;

static struct explore_ {
    const explore_scenario *scenario;
    explore_thread_  threads[EXPLORE_THREADS + 2];
    void           (*job)(void); /* of the frame */
    int              current, bound, preemptions;
    bool             alone;      /* the frame runs: nothing to choose */
    bool             failed, grown, tracing, replaying;
    char             why[160];
    int              lent;       /* threads for what the library starts */
    int              refusals;   /* starts of threads that may still fail */
    bool             slow;       /* time passes while nobody can go on, and `jumps` times else */
    int              jumps;
    int              delays;     /* writes that may still be delayed */
    bool             delays_used;
    bool             lax;        /* strict operations are taken for others: a planted bug */
    explore_plant_fn plant;      /* NULL: none */
    uint32_t         steps, steps_max;
    uint64_t         serial;
    int64_t          now;
    uint64_t         selves[EXPLORE_THREADS + 2]; /* what rsl_self_ says */
    explore_choice_  choices[EXPLORE_CHOICES_];
    uint32_t         depth, known; /* choices made, and given */
    explore_turn_    turns[EXPLORE_CHOICES_]; /* those that are not the usual ones */
    uint32_t         turn, turns_count;
    explore_word_    words[EXPLORE_WORDS_];
    uint32_t         words_count, words_shared;
    struct { unsigned char *start; size_t size; } dead[EXPLORE_DEAD_];
    uint32_t         dead_count;
    explore_grave_   graves[EXPLORE_DEAD_]; /* in any schedule so far */
    uint32_t         graves_count;
    size_t           arena_used;
    uint64_t         schedules, schedules_all; /* of this bound; of all, and of vain starts */
    uint64_t         work;         /* steps of all schedules */
    int              number, failures;
} explore_;

static _Alignas(64) unsigned char explore_arena_[EXPLORE_ARENA_];
static _Alignas(64) char explore_stacks_[EXPLORE_THREADS + 1][EXPLORE_STACK_];

#ifdef __SANITIZE_ADDRESS__
/* Words on stacks must stay where they are from one schedule to the next. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_stack_use_after_return=0"; }
#endif

/* ---- coroutines ---- */

static void explore_switch_(void);
EXPLORE_UNUSED static void explore_check(bool claim, const char *text);

static void explore_begin_(void)
{
    for (;;) { /* one turn per schedule */
        int self = explore_.current;
        if (self == EXPLORE_FRAME_) {
            explore_.job();
            explore_.threads[self].state = EXPLORE_FINISHED_;
        } else {
            const explore_thread_ *thread = &explore_.threads[self];
            if (thread->run != NULL) thread->run(thread->arg);
            else explore_.scenario->thread(self);
            explore_.steps++;
            explore_.threads[self].late = 0;
            explore_.threads[self].state = EXPLORE_FINISHED_;
        }
        explore_switch_();
    }
}

static void explore_make_(int id)
{
    explore_thread_ *thread = &explore_.threads[id];
    getcontext(&thread->context);
    thread->context.uc_stack.ss_sp = explore_stacks_[id];
    thread->context.uc_stack.ss_size = EXPLORE_STACK_;
    thread->context.uc_link = NULL;
    makecontext(&thread->context, explore_begin_, 0);
    thread->made = true;
    thread->begun = false;
}

/* Continues another coroutine. swapcontext makes two system calls, so it only begins them; where
   AddressSanitizer watches the stacks, it does all. */
static void explore_go_(int to)
{
    int from = explore_.current;
    if (to == from) return;
    explore_thread_ *old = &explore_.threads[from], *new = &explore_.threads[to];
    explore_.current = to;
    if (to != EXPLORE_MAIN_ && !new->made) explore_make_(to);
#ifdef __SANITIZE_ADDRESS__
    swapcontext(&old->context, &new->context);
#else
    if (_setjmp(old->jump) != 0) return;
    if (to == EXPLORE_MAIN_ || new->begun) _longjmp(new->jump, 1);
    new->begun = true;
    setcontext(&new->context);
#endif
}

/* ---- failing ---- */

/* Ends the schedule: the coroutines are left where they are and made anew. */
static void explore_fail_(const char *text)
{
    if (!explore_.failed) (void)snprintf(explore_.why, sizeof explore_.why, "%s", text);
    explore_.failed = true;
    if (explore_.current == EXPLORE_MAIN_) return;
    for (int i = 0; i <= EXPLORE_FRAME_; i++) explore_.threads[i].made = false;
    explore_go_(EXPLORE_MAIN_);
}

EXPLORE_UNUSED static void explore_check(bool claim, const char *text)
{
    if (!claim) explore_fail_(text);
}

static void explore_print_schedule_(FILE *out)
{
    fprintf(out, "# EXPLORE_REPLAY=%d/", explore_.number);
    for (uint32_t i = 0; i < explore_.turns_count; i++) {
        const explore_turn_ *turn = &explore_.turns[i];
        fprintf(out, "%s%u%c", i > 0 ? "," : "", turn->step, 'a' + turn->pick);
    }
    fprintf(out, "\n");
}

/* A pointer that was read from dead memory was followed. */
static void explore_crashed_(int signal)
{
    if (explore_.current <= EXPLORE_FRAME_) explore_fail_("a pointer to nowhere is followed");
    printf("not ok %d - %s\n# signal %d\n", explore_.number, explore_.scenario->name, signal);
    explore_print_schedule_(stdout);
    (void)fflush(stdout);
    _exit(1);
}

/* ---- words and memory ---- */

EXPLORE_INLINE explore_word_ *explore_word_of_(const void *address)
{
    uintptr_t at = (uintptr_t)address;
    size_t i = (size_t)((at >> 3) ^ (at >> 20)) % EXPLORE_WORDS_; /* neighbours stay neighbours */
    while (explore_.words[i].address != 0 && explore_.words[i].address != at)
        i = (i + 1) % EXPLORE_WORDS_;
    explore_word_ *word = &explore_.words[i];
    if (word->address == 0) {
        if (++explore_.words_count > EXPLORE_WORDS_ / 2) {
            printf("Bail out! more words than the explorer can follow\n");
            exit(1);
        }
        word->address = at;
    }
    return word;
}

static const char *const explore_places_[] = {"thread a", "thread b", "thread c",  "thread d",
                                              "thread e", "thread f", "the frame", "the explorer"};

EXPLORE_INLINE void explore_trace_(const char *what, const void *address)
{
    if (!explore_.tracing) return;
    if (address != NULL && explore_.words_shared > 0 && !explore_word_of_(address)->shared) return;
    printf("#   %4u %s: %s %p\n", explore_.steps, explore_places_[explore_.current], what,
           address);
}

EXPLORE_INLINE void explore_alive_(const void *address)
{
    uintptr_t at = (uintptr_t)address, stacks = (uintptr_t)explore_stacks_;
    for (uint32_t i = 0; i < explore_.dead_count; i++) {
        if (at - (uintptr_t)explore_.dead[i].start < explore_.dead[i].size)
            explore_fail_("memory is touched that has been given back");
    }
    if (at - stacks >= sizeof explore_stacks_) return;
    int owner = (int)((at - stacks) / EXPLORE_STACK_);
    const explore_thread_ *thread = &explore_.threads[owner];
    if (owner == explore_.current || owner == EXPLORE_FRAME_) return;
    if (thread->state == EXPLORE_FINISHED_ || at < thread->frame)
        explore_fail_("a stack is touched where nothing lives any more");
}

/* Is this given back, now or in another schedule, by somebody else than all that use it? */
static bool explore_is_mortal_(uintptr_t at, unsigned users)
{
    for (uint32_t i = 0; i < explore_.graves_count; i++) {
        const explore_grave_ *grave = &explore_.graves[i];
        if (at - grave->start < grave->size && (users & ~(1u << grave->digger)) != 0) return true;
    }
    return false;
}

/* Notes who uses the word. True when an operation on it is worth a choice. */
EXPLORE_INLINE bool explore_use_(const void *address, bool writes)
{
    explore_word_ *word = explore_word_of_(address);
    if (word->shared) return true;
    uint8_t self = (uint8_t)(1u << explore_.current);
    if (writes) word->writers |= self;
    else word->readers |= self;
    unsigned users = word->writers | word->readers;
    word->shared = word->writers != 0 && (users & (users - 1)) != 0;
    word->shared |= explore_is_mortal_(word->address, users);
    explore_.grown |= word->shared;
    explore_.words_shared += word->shared;
    return explore_.replaying;
}

static void explore_bury_(uintptr_t start, uintptr_t size)
{
    for (uint32_t i = 0; i < explore_.graves_count; i++) {
        const explore_grave_ *grave = &explore_.graves[i];
        bool same = grave->start == start && grave->size >= size;
        if (same && grave->digger == explore_.current) return;
    }
    if (explore_.graves_count == EXPLORE_DEAD_ || explore_.replaying) return;
    explore_grave_ grave = {start, size, explore_.current};
    explore_.graves[explore_.graves_count++] = grave;
    explore_.grown = true;
}

/* From now on nobody may touch these bytes: checked at each operation, and at the end. */
EXPLORE_UNUSED static void explore_dead(void *start, size_t size)
{
    if (explore_.dead_count == EXPLORE_DEAD_) {
        explore_fail_("too many dead places");
        return;
    }
    explore_bury_((uintptr_t)start, size);
    memset(start, EXPLORE_POISON_, size);
    explore_.dead[explore_.dead_count].start = (unsigned char *)start;
    explore_.dead[explore_.dead_count++].size = size;
}

static bool explore_dead_are_untouched_(void)
{
    for (uint32_t i = 0; i < explore_.dead_count; i++) {
        for (size_t k = 0; k < explore_.dead[i].size; k++) {
            if (explore_.dead[i].start[k] != EXPLORE_POISON_) return false;
        }
    }
    return true;
}

/* Blocks lie at the same place in each schedule. Freed ones are dead. */
EXPLORE_UNUSED static void *explore_malloc(size_t size)
{
    size_t room = (size + sizeof(size_t) + 127) / 64 * 64;
    if (explore_.arena_used + room > EXPLORE_ARENA_) return NULL;
    unsigned char *block = explore_arena_ + explore_.arena_used;
    explore_.arena_used += room;
    memcpy(block, &size, sizeof size);
    memset(block + 64, EXPLORE_POISON_ ^ 0xFF, size);
    return block + 64;
}

EXPLORE_UNUSED static void explore_free(void *block)
{
    size_t size;
    if (block == NULL) return;
    memcpy(&size, (unsigned char *)block - 64, sizeof size);
    if (!explore_.alone) explore_dead(block, size);
}

/* ---- choosing ---- */

/* Which of `count` possibilities comes next; the first is the usual one. */
static int explore_decide_(const int *options, int count)
{
    if (explore_.replaying) {
        const explore_turn_ *turn = &explore_.turns[explore_.turn];
        if (explore_.turn == explore_.turns_count || turn->step != explore_.steps) return 0;
        for (int i = 0; i < count; i++) {
            if (options[i] != turn->pick) continue;
            explore_.turn++;
            return i;
        }
        return 0;
    }
    if (count == 1) return 0;
    if (explore_.depth == EXPLORE_CHOICES_) {
        explore_fail_("too many choices in one schedule");
        return 0;
    }
    explore_choice_ *choice = &explore_.choices[explore_.depth++];
    if (explore_.depth > explore_.known) {
        choice->pick = 0;
        choice->count = (uint16_t)count;
        explore_.known = explore_.depth;
    } else if (choice->count != count) {
        explore_fail_("the scenario is not deterministic");
    }
    if (choice->pick > 0) {
        explore_turn_ *turn = &explore_.turns[explore_.turns_count++];
        turn->step = explore_.steps;
        turn->pick = options[choice->pick];
    }
    return choice->pick;
}

static bool explore_is_free_(const uint64_t *lock)
{
    return lock[1] == 0;
}

/* Could it go on by itself? */
static bool explore_is_able_(const explore_thread_ *thread)
{
    if (thread->state == EXPLORE_JOINING_)
        return explore_.threads[thread->joined].state == EXPLORE_FINISHED_;
    return thread->state == EXPLORE_READY_ ||
           (thread->state == EXPLORE_LOCKING_ && explore_is_free_(thread->lock));
}

/* Would it go on if it were chosen, without a time being up? */
static bool explore_is_due_(const explore_thread_ *thread)
{
    return thread->state == EXPLORE_PAUSED_ || explore_is_able_(thread);
}

/* A pause ends when another has moved, and when all have that were passed over since the pause
   before, so that nobody spins while the one he waits for is never chosen. */
static bool explore_has_paused_enough_(int id)
{
    const explore_thread_ *thread = &explore_.threads[id];
    bool moved = false;
    for (int i = 0; i < explore_.scenario->threads; i++) {
        const explore_thread_ *other = &explore_.threads[i];
        if (i == id) continue;
        moved |= other->moved_at > thread->paused_at;
        if ((thread->awaits >> i & 1) && other->moved_at <= thread->paused_at &&
            explore_is_due_(other))
            return false;
    }
    return moved;
}

static bool explore_may_run_(int id)
{
    const explore_thread_ *thread = &explore_.threads[id];
    if (thread->state == EXPLORE_WAITING_) return thread->until != EXPLORE_NEVER;
    if (thread->state == EXPLORE_PAUSED_) return explore_has_paused_enough_(id);
    return explore_is_able_(thread);
}

/* False when being chosen only ended its wait: its time is up, but the lock is held. */
static bool explore_admit_(int id)
{
    explore_thread_ *thread = &explore_.threads[id];
    thread->moved_at = ++explore_.serial;
    if (thread->state == EXPLORE_WAITING_) {
        bool early = false;
        for (int i = 0; i < explore_.scenario->threads; i++)
            early |= explore_.threads[i].state != EXPLORE_WAITING_ && explore_may_run_(i);
        explore_.jumps -= early && explore_.slow;
        thread->timed_out = true;
        if (explore_.now < thread->until) explore_.now = thread->until;
        int chooser = explore_.current;
        explore_.current = id;
        (void)explore_use_(&explore_.now, true);
        explore_trace_("time is up for", thread->cond);
        explore_.current = chooser;
        thread->state = EXPLORE_LOCKING_;
        if (!explore_is_free_(thread->lock)) return false;
    }
    if (thread->state == EXPLORE_LOCKING_) thread->lock[1] = (uint64_t)id + 1;
    thread->state = EXPLORE_READY_;
    return true;
}

/* Where time is slow: may this wait's time be up now? */
static bool explore_is_time_(int id)
{
    bool nobody = true, first = true;
    for (int i = 0; i < explore_.scenario->threads; i++) {
        const explore_thread_ *other = &explore_.threads[i];
        nobody &= other->state == EXPLORE_WAITING_ || !explore_may_run_(i);
        first &= other->state != EXPLORE_WAITING_ ||
                 other->until >= explore_.threads[id].until;
    }
    return first && (nobody || explore_.jumps > 0);
}

static int explore_options_(int *options, bool stays)
{
    int count = 0, threads = explore_.scenario->threads, from = explore_.current;
    if (stays) options[count++] = from;
    if (stays && explore_.preemptions >= explore_.bound) return count;
    for (int i = 0; i < threads; i++) {
        bool waits = explore_.slow && explore_.threads[i].state == EXPLORE_WAITING_;
        if (!(stays && i == from) && !waits && explore_may_run_(i)) options[count++] = i;
    }
    for (int i = 0; explore_.slow && i < threads; i++) { /* time passes last of all */
        bool waits = explore_.threads[i].state == EXPLORE_WAITING_;
        if (waits && explore_may_run_(i) && explore_is_time_(i)) options[count++] = i;
    }
    for (int i = 0; count == 0 && i < threads; i++) { /* nobody is left to be waited for */
        if (explore_.threads[i].state == EXPLORE_PAUSED_) options[count++] = i;
    }
    return count;
}

/* The library's own threads may sleep at the end: nobody has joined them, and they are left. */
static void explore_end_(void)
{
    for (int i = 0; i < explore_.scenario->threads; i++) {
        explore_thread_ *thread = &explore_.threads[i];
        bool absent = thread->state == EXPLORE_UNBORN_ || thread->state == EXPLORE_FINISHED_;
        if (absent) continue;
        if (thread->state == EXPLORE_WAITING_ && thread->run != NULL) {
            thread->made = false;
            continue;
        }
        explore_fail_(thread->state == EXPLORE_WAITING_   ? "deadlock: a thread sleeps for ever"
                      : thread->state == EXPLORE_JOINING_ ? "deadlock: a thread never ends"
                                             : "deadlock: a lock is waited for, for ever");
        return;
    }
    explore_go_(EXPLORE_MAIN_);
}

/* Chooses who goes next, and goes there. */
static void explore_switch_(void)
{
    if (explore_.current == EXPLORE_FRAME_) {
        explore_go_(EXPLORE_MAIN_);
        return;
    }
    for (;; explore_.steps++) {
        int options[EXPLORE_THREADS], from = explore_.current;
        bool stays = from < EXPLORE_THREADS && explore_is_able_(&explore_.threads[from]);
        int count = explore_options_(options, stays);
        if (count == 0) {
            explore_end_();
            return;
        }
        int to = options[explore_decide_(options, count)];
        explore_.preemptions += stays && to != from;
        if (!explore_admit_(to)) continue;
        explore_go_(to);
        return;
    }
}

/* ---- what the wrappers call ---- */

/* Counts a step and looks whether the memory lives. True: there is a choice to make. */
__attribute__((noinline)) static bool explore_step_(const char *what, const void *address,
                                                    bool writes)
{
    explore_thread_ *self = &explore_.threads[explore_.current];
    self->frame = (uintptr_t)__builtin_frame_address(0);
    explore_.steps++;
    explore_alive_(address);
    explore_trace_(what, address);
    if (explore_.steps > EXPLORE_STEPS_) explore_fail_("livelock: it takes too many steps");
    return !explore_.alone && explore_use_(address, writes);
}

/* Before each operation on a word. */
EXPLORE_UNUSED static void explore_atomic_(const char *what, const void *address, bool writes)
{
    if (!explore_step_(what, address, writes)) return;
    explore_switch_();
    explore_alive_(address); /* it may have been given back meanwhile */
}

/* The same for locks and what else is no atomic word: all writes before it are seen by then. */
EXPLORE_UNUSED static void explore_point_(const char *what, const void *address, bool writes)
{
    explore_atomic_(what, address, writes);
    if (writes && explore_word_of_(address)->shared) explore_.threads[explore_.current].late = 0;
}

EXPLORE_UNUSED __attribute__((noinline)) static void explore_pause_(void)
{
    explore_thread_ *self = &explore_.threads[explore_.current];
    self->frame = (uintptr_t)__builtin_frame_address(0);
    explore_.steps++;
    explore_trace_("pause", NULL);
    self->late = 0;
    if (explore_.steps > EXPLORE_STEPS_) explore_fail_("livelock: it pauses for ever");
    if (explore_.alone) return;
    self->awaits = 0;
    for (int i = 0; i < explore_.scenario->threads; i++) {
        const explore_thread_ *other = &explore_.threads[i];
        bool passed_over = self->paused_at != 0 && other->moved_at <= self->paused_at;
        if (i != explore_.current && passed_over && explore_is_due_(other))
            self->awaits |= 1u << i;
    }
    self->paused_at = explore_.serial;
    self->state = EXPLORE_PAUSED_;
    explore_switch_();
}

/* One of 0 .. count-1: all are explored. For what is not a matter of schedules, as a result. */
EXPLORE_UNUSED static int explore_choose(int count)
{
    int options[16] = {0};
    for (int i = 0; i < 16; i++) options[i] = i;
    explore_.steps++;
    int pick = explore_decide_(options, count < 16 ? count : 16);
    if (explore_.tracing)
        printf("#   %4u %s: picks %d\n", explore_.steps, explore_places_[explore_.current], pick);
    return pick;
}

/* Who is about to write a word sees the latest, and so does everybody who follows. */
EXPLORE_UNUSED static void explore_settle_(const uint64_t *word)
{
    int threads = explore_.scenario->threads;
    for (int i = 0; explore_.delays_used && i < threads; i++) {
        explore_thread_ *thread = &explore_.threads[i];
        bool knows = false;
        for (int k = 0; k < thread->late; k++) knows |= thread->unseen[k] == word;
        if (knows && i != explore_.current) thread->late = 0;
    }
}

/* Writes a word: at once, or so that others see it late. */
EXPLORE_UNUSED static void explore_write_(uint64_t *word, uint64_t after, bool strict)
{
    uint64_t before = *word;
    *word = explore_.plant != NULL ? explore_.plant(word, before, after) : after;
    explore_settle_(word);
    static const int options[] = {0, 1};
    explore_thread_ *self = &explore_.threads[explore_.current];
    bool choice = explore_.delays > 0 || self->late > 0;
    choice = choice && !explore_.alone && (!strict || explore_.lax);
    if (choice) explore_.steps++;
    choice = choice && self->late < EXPLORE_LATE_ &&
             (explore_word_of_(word)->shared || explore_.replaying);
    if (!choice || explore_decide_(options, 2) == 0) {
        if (explore_word_of_(word)->shared) self->late = 0; /* and so are those before it */
        return;
    }
    explore_trace_("is seen late", word);
    explore_.delays -= self->late == 0; /* those that follow it are late with it */
    self->unseen[self->late] = word;
    self->seen[self->late++] = before;
}

/* What a load finds: others' delayed writes have not happened yet. */
EXPLORE_UNUSED static uint64_t explore_read_(const uint64_t *word)
{
    int threads = explore_.scenario->threads;
    for (int i = 0; explore_.delays_used && i < threads; i++) {
        const explore_thread_ *other = &explore_.threads[i];
        for (int k = 0; i != explore_.current && k < other->late; k++) {
            if (other->unseen[k] == word) return other->seen[k];
        }
    }
    return *word;
}

static bool explore_is_taken_(const explore_thread_ *thread)
{
    return thread->taken && !(thread->detached && thread->state == EXPLORE_FINISHED_);
}

enum { EXPLORE_NO_PROCESSOR_ = -1, EXPLORE_NO_THREAD_ = -2 };

/* A thread that the library starts takes one of those that were lent. Where none is left it never
   gets a processor. Returns its place. */
EXPLORE_UNUSED static int explore_thread_start_(void (*run)(void *arg), void *arg)
{
    explore_.steps++;
    explore_trace_("starts a thread", NULL);
    if (explore_.refusals > 0 && explore_choose(2) == 1) {
        explore_.refusals--;
        return EXPLORE_NO_THREAD_;
    }
    int place = explore_.scenario->threads - 1, first = place + 1 - explore_.lent;
    while (place >= first && explore_is_taken_(&explore_.threads[place])) place--;
    if (place < first) return EXPLORE_NO_PROCESSOR_;
    explore_thread_ *thread = &explore_.threads[place];
    thread->taken = true;
    thread->detached = false;
    thread->run = run;
    thread->arg = arg;
    thread->state = EXPLORE_READY_;
    return place;
}

EXPLORE_UNUSED __attribute__((noinline)) static void explore_thread_join_(int place)
{
    explore_thread_ *self = &explore_.threads[explore_.current];
    self->frame = (uintptr_t)__builtin_frame_address(0);
    self->late = 0;
    explore_.steps++;
    explore_trace_("join", NULL);
    if (place < 0) return;
    explore_check(explore_.threads[place].taken, "a thread is joined twice");
    explore_check(!explore_.threads[place].detached, "a detached thread is joined");
    if (explore_.threads[place].state != EXPLORE_FINISHED_) {
        explore_check(!explore_.alone, "a thread is joined that nobody runs any more");
        self->state = EXPLORE_JOINING_;
        self->joined = place;
        explore_switch_();
    }
    explore_.threads[place].taken = false;
}

/* Nobody joins it: its place is free when it has ended. */
EXPLORE_UNUSED static void explore_thread_detach_(int place)
{
    if (place >= 0) explore_.threads[place].detached = true;
}

/* Runs it; when explore_exit ends the thread within, `lost` is told, and it ends there. */
EXPLORE_UNUSED __attribute__((noinline)) static void
explore_guard_(void (*run)(void *arg), void (*lost)(void *arg), void *arg)
{
    explore_thread_ *self = &explore_.threads[explore_.current];
    if (_setjmp(self->guard) == 0) {
        self->guarded = true;
        run(arg);
        self->guarded = false;
        return;
    }
    lost(arg);
    self->late = 0;
    self->made = false; /* its stack is left as it is, and made anew for the next */
    self->state = EXPLORE_FINISHED_;
    explore_switch_();
}

/* ---- what scenarios call ---- */

/* In `before`: the last `count` threads of the scenario are for those that the library starts.
   They exist only once they are started; who is joined makes room for the next. */
EXPLORE_UNUSED static void explore_lend(int count)
{
    explore_.lent = count;
}

/* The next starts of threads may fail, `count` of them at most: all ways are explored. */
EXPLORE_UNUSED static void explore_refuse_threads(int count)
{
    explore_.refusals = count;
}

/* Time passes only while nobody can go on, and `jumps` times in a schedule at any other moment;
   the waits that end first, first. For what does something again and again by time: else one of
   the orders is that nothing but this ever happens. */
EXPLORE_UNUSED static void explore_slow_time(int jumps)
{
    explore_.slow = true;
    explore_.jumps = jumps;
}

/* Up to `count` times in a schedule a write may be seen late, and those after it too: until the
   writer's next write that is not, lock, wait or pause, loads of other threads find what was there
   before. Processors do that with stores, also those of a compare-and-swap, and a load that
   follows, unless both are strict. */
EXPLORE_UNUSED static void explore_delay(int count)
{
    explore_.delays = count;
    explore_.delays_used = count > 0;
}

/* The same with strict ones too: a planted bug. */
EXPLORE_UNUSED static void explore_delay_strict(int count)
{
    explore_delay(count);
    explore_.lax = true;
}

/* A planted bug: from now on in this schedule each write goes by `plant`. */
EXPLORE_UNUSED static void explore_plant(explore_plant_fn plant)
{
    explore_.plant = plant;
}

/* Ends the calling thread in the midst of what it does, as pthread_exit would. */
EXPLORE_UNUSED static void explore_exit(void)
{
    explore_thread_ *self = &explore_.threads[explore_.current];
    explore_check(self->guarded, "a thread ends that is not guarded");
    self->guarded = false;
    _longjmp(self->guard, 1);
}

EXPLORE_UNUSED static int64_t explore_now(void)
{
    explore_point_("clock", &explore_.now, false);
    return explore_.now;
}

EXPLORE_UNUSED static void explore_pass_time(int64_t span)
{
    explore_point_("time passes", &explore_.now, true);
    explore_.now += span;
}

/* ---- exploring ---- */

static void explore_job_(void (*job)(void))
{
    explore_.alone = true;
    explore_.job = job;
    explore_.threads[EXPLORE_FRAME_].state = EXPLORE_READY_;
    if (job != NULL) explore_go_(EXPLORE_FRAME_);
    explore_.alone = false;
}

/* One schedule: as the known choices say, then the usual way. */
static void explore_once_(void)
{
    explore_.failed = false;
    explore_.preemptions = 0;
    explore_.steps = 0;
    explore_.serial = 0;
    explore_.depth = explore_.turn = 0;
    if (!explore_.replaying) explore_.turns_count = 0;
    explore_.dead_count = 0;
    explore_.arena_used = 0;
    explore_.now = EXPLORE_EPOCH;
    explore_.current = EXPLORE_MAIN_;
    for (uint64_t i = 0; i < EXPLORE_THREADS + 2; i++) explore_.selves[i] = (i + 1) * 4096;
    explore_.lent = explore_.refusals = explore_.jumps = 0;
    explore_.slow = false;
    explore_.delays_used = explore_.lax = false;
    explore_.delays = 0;
    explore_.plant = NULL;
    for (int i = 0; i < EXPLORE_THREADS; i++) {
        explore_thread_ *thread = &explore_.threads[i];
        thread->run = NULL;
        thread->late = 0;
        thread->taken = thread->detached = thread->guarded = false;
    }
    explore_job_(explore_.scenario->before);
    for (int i = 0; i < EXPLORE_THREADS; i++) {
        explore_thread_ *thread = &explore_.threads[i];
        bool lent = i >= explore_.scenario->threads - explore_.lent;
        thread->state = lent && !thread->taken ? EXPLORE_UNBORN_ : EXPLORE_READY_;
        thread->moved_at = thread->paused_at = 0;
        thread->frame = 0;
    }
    if (!explore_.failed) explore_switch_();
    if (!explore_.failed) explore_job_(explore_.scenario->after);
    if (!explore_.failed && !explore_dead_are_untouched_())
        explore_fail_("memory was written that had been given back");
    if (explore_.steps > explore_.steps_max) explore_.steps_max = explore_.steps;
    if (explore_.replaying) return;
    explore_.schedules++;
    explore_.schedules_all++;
}

/* To the next sequence of choices; false when there is none. */
static bool explore_backtrack_(void)
{
    if (explore_.grown) {
        explore_.grown = false;
        explore_.known = 0;
        explore_.schedules = 0;
        return true;
    }
    explore_.known = explore_.depth;
    while (explore_.known > 0) {
        explore_choice_ *last = &explore_.choices[explore_.known - 1];
        if (++last->pick < last->count) return true;
        explore_.known--;
    }
    return false;
}

/* Schedules per scenario. Slow builds do fewer. Long ones count for more: see explore_bound_. */
static uint64_t explore_limit_(void)
{
    const char *wish = getenv("EXPLORE_SCHEDULES");
    if (wish != NULL) return strtoull(wish, NULL, 10);
#ifdef __SANITIZE_ADDRESS__
    return EXPLORE_MOST / 10;
#else
    return EXPLORE_MOST;
#endif
}

/* All schedules with at most `bound` preemptions: 1; not all, for there are too many: 0; a failure
   was found: -1. */
static int explore_bound_(int bound, uint64_t limit)
{
    explore_.bound = bound;
    explore_.known = 0;
    explore_.schedules = 0;
    do {
        bool enough = explore_.schedules_all >= limit || explore_.work / 400 >= limit;
        if (enough) return 0;
        explore_once_();
        explore_.work += explore_.steps;
        if (explore_.failed) return -1;
    } while (explore_backtrack_());
    return 1;
}

static void explore_replay_(bool tracing)
{
    explore_.replaying = true;
    explore_.tracing = tracing;
    explore_.bound = EXPLORE_STEPS_;
    explore_once_();
    explore_.replaying = explore_.tracing = false;
}

/* A schedule from the environment, "scenario/turns"; false when it is for another scenario. */
static bool explore_replay_given_(const char *given)
{
    char *at;
    if (strtol(given, &at, 10) != explore_.number) return false;
    explore_.turns_count = 0;
    while (*at != '\0' && explore_.turns_count < EXPLORE_CHOICES_) {
        explore_turn_ *turn = &explore_.turns[explore_.turns_count];
        turn->step = (uint32_t)strtoul(at + 1, &at, 10);
        if (*at == '\0') break;
        turn->pick = *at++ - 'a';
        explore_.turns_count++;
    }
    explore_replay_(true);
    printf("# %s\n", explore_.failed ? explore_.why : "does not fail");
    return true;
}

static void explore_report_(int found, int exhausted, uint64_t exhausted_count, double seconds)
{
    const explore_scenario *s = explore_.scenario;
    bool ok = s->planted ? found < 0 : found >= 0;
    explore_.failures += !ok;
    printf("%s %d - %s", ok ? "ok" : "not ok", explore_.number, s->name);
    if (ok && s->planted)
        printf(" is found (schedule %llu)", (unsigned long long)explore_.schedules_all);
    printf("\n");
    if (found < 0) {
        printf("# %s, with %d preemption(s)\n", explore_.why, explore_.preemptions);
        explore_print_schedule_(stdout);
        if (!ok) explore_replay_(true);
    }
    double rate = seconds > 0 ? (double)explore_.schedules_all / seconds : 0;
    printf("# %llu schedules, %.0f a second; ", (unsigned long long)explore_.schedules_all, rate);
    if (exhausted >= 0)
        printf("all %llu with at most %d preemptions", (unsigned long long)exhausted_count,
               exhausted);
    else
        printf("no bound exhausted");
    if (found == 0) printf(", and a part of those with %d", exhausted + 1);
    printf("; at most %u steps, %u words shared\n", explore_.steps_max, explore_.words_shared);
    (void)fflush(stdout);
}

static uint64_t explore_total_;
static double explore_seconds_;

EXPLORE_UNUSED static void explore(const explore_scenario *scenario)
{
    int number = explore_.number + 1, failures = explore_.failures;
    memset(&explore_, 0, sizeof explore_);
    explore_.number = number;
    explore_.failures = failures;
    explore_.scenario = scenario;
    explore_.current = EXPLORE_MAIN_;
    const char *given = getenv("EXPLORE_REPLAY");
    if (given != NULL) {
        (void)explore_replay_given_(given);
        return;
    }
    const char *wish = getenv("EXPLORE_PREEMPTIONS");
    int last = wish != NULL ? atoi(wish) : scenario->bound > 0 ? scenario->bound : 3;
    int exhausted = -1, found = 1;
    uint64_t exhausted_count = 0;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int bound = 0; bound <= last; bound++) {
        found = explore_bound_(bound, explore_limit_());
        if (found <= 0) break;
        exhausted = bound;
        exhausted_count = explore_.schedules;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec);
    seconds += 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    explore_total_ += explore_.schedules_all;
    explore_seconds_ += seconds;
    explore_report_(found, exhausted, exhausted_count, seconds);
}

/* A test about what has been explored. */
EXPLORE_UNUSED static void explore_claim(bool claim, const char *name)
{
    explore_.number++;
    if (getenv("EXPLORE_REPLAY") != NULL) return;
    explore_.failures += !claim;
    printf("%s %d - %s\n", claim ? "ok" : "not ok", explore_.number, name);
}

EXPLORE_UNUSED static void explore_start(void)
{
    static char own_stack[64 * 1024];
    stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack, .ss_flags = 0};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = explore_crashed_;
    action.sa_flags = SA_ONSTACK | (int)SA_NODEFER; /* it jumps away */
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

EXPLORE_UNUSED static int explore_finish(void)
{
    double rate = explore_seconds_ > 0 ? (double)explore_total_ / explore_seconds_ : 0;
    printf("# %llu schedules in %.1f s, %.0f a second\n", (unsigned long long)explore_total_,
           explore_seconds_, rate);
    printf("1..%d\n", explore_.number);
    return explore_.failures == 0 ? 0 : 1;
}

#endif
