/* SPDX-License-Identifier: MIT
   explorer_atoms.h: what takes the place of core.h's atomics, locks, waits and clocks when
   schedules are explored. One operation at a time, in one system thread: plain accesses will do.
   Memory is sequentially consistent here, but for writes that explore_delay has seen late.

   No guard: core.h includes it once, where RSL_SCHEDULER_H is named. Include support/explore.h
   first.                                                                                        */
#ifndef SUPPORT_EXPLORE_H
#error "include support/explore.h before the library"
#endif

static inline uint64_t rsl_load_(const rsl_word_ *p)
{
    explore_atomic_("load", p, false);
    return explore_read_(p);
}

static inline uint64_t rsl_load_relaxed_(const rsl_word_ *p)
{
    return rsl_load_(p);
}

static inline void explore_store_(rsl_word_ *p, uint64_t value, bool strict)
{
    explore_atomic_("store", p, true);
    explore_write_(p, value, strict);
}

static inline void rsl_store_(rsl_word_ *p, uint64_t value)
{
    explore_store_(p, value, false);
}

static inline void rsl_store_relaxed_(rsl_word_ *p, uint64_t value)
{
    explore_store_(p, value, false);
}

static inline uint64_t rsl_exchange_(rsl_word_ *p, uint64_t value)
{
    explore_atomic_("exchange", p, true);
    uint64_t before = *p;
    explore_write_(p, value, false);
    return before;
}

static inline uint64_t rsl_add_(rsl_word_ *p, uint64_t value)
{
    explore_atomic_("add", p, true);
    uint64_t before = *p;
    explore_write_(p, before + value, false);
    return before;
}

static inline uint64_t rsl_add_relaxed_(rsl_word_ *p, uint64_t value)
{
    return rsl_add_(p, value);
}

static inline bool explore_cas_(rsl_word_ *p, uint64_t *expected, uint64_t value, bool strict)
{
    explore_atomic_("compare and swap", p, true);
    uint64_t before = *p;
    bool swapped = before == *expected;
    explore_settle_(p);
    if (swapped) explore_write_(p, value, strict);
    else explore_.threads[explore_.current].late = 0;
    *expected = before;
    return swapped;
}

static inline bool rsl_cas_(rsl_word_ *p, uint64_t *expected, uint64_t value)
{
    return explore_cas_(p, expected, value, false);
}

static inline uint64_t rsl_load_strict_(const rsl_word_ *p)
{
    return rsl_load_(p);
}

static inline void rsl_store_strict_(rsl_word_ *p, uint64_t value)
{
    explore_store_(p, value, true);
}

static inline bool rsl_cas_strict_(rsl_word_ *p, uint64_t *expected, uint64_t value)
{
    return explore_cas_(p, expected, value, true);
}

/* ---- locks: a mark that tells a living one, and 1 + the thread that holds it ---- */

#define EXPLORE_LOCK_ UINT64_C(0x10CC10CC10CC10CC)
#define EXPLORE_COND_ UINT64_C(0xC0ADC0ADC0ADC0AD)

typedef struct rsl_cond_ { uint64_t mark; } rsl_cond_;

static inline uint64_t explore_holder_(void)
{
    return (uint64_t)explore_.current + 1;
}

static inline int rsl_lock_init_(rsl_lock_ *lock)
{
    explore_point_("init lock", lock->word, true);
    lock->word[0] = EXPLORE_LOCK_;
    lock->word[1] = 0;
    return RSL_OK;
}

static inline void rsl_lock_is_alive_(const rsl_lock_ *lock)
{
    explore_check(lock->word[0] == EXPLORE_LOCK_, "a lock is used that does not live");
}

static inline void rsl_lock_deinit_(rsl_lock_ *lock)
{
    explore_point_("deinit lock", lock->word, true);
    rsl_lock_is_alive_(lock);
    explore_check(lock->word[1] == 0, "a lock is destroyed while it is held");
    lock->word[0] = 0;
}

static inline void rsl_lock_take_(rsl_lock_ *lock)
{
    bool choice = explore_step_("lock", lock->word, true);
    uint64_t self = explore_holder_();
    rsl_lock_is_alive_(lock);
    explore_check(lock->word[1] != self, "deadlock: a lock is taken twice");
    if (choice || lock->word[1] != 0) {
        explore_check(!explore_.alone, "a lock was never dropped");
        explore_thread_ *thread = &explore_.threads[explore_.current];
        thread->state = EXPLORE_LOCKING_;
        thread->lock = lock->word;
        explore_switch_();
        rsl_lock_is_alive_(lock);
        thread->late = 0;
    }
    lock->word[1] = self;
}

static inline void rsl_lock_drop_(rsl_lock_ *lock)
{
    explore_point_("unlock", lock->word, true);
    rsl_lock_is_alive_(lock);
    explore_check(lock->word[1] == explore_holder_(), "a lock is dropped by who does not hold it");
    lock->word[1] = 0;
}

/* ---- conditions ---- */

static inline int rsl_cond_init_(rsl_cond_ *cond)
{
    explore_point_("init cond", &cond->mark, true);
    cond->mark = EXPLORE_COND_;
    return RSL_OK;
}

static inline void rsl_cond_deinit_(rsl_cond_ *cond)
{
    explore_point_("deinit cond", &cond->mark, true);
    explore_check(cond->mark == EXPLORE_COND_, "a condition is used that does not live");
    for (int i = 0; i < explore_.scenario->threads; i++) {
        const explore_thread_ *thread = &explore_.threads[i];
        explore_check(thread->state != EXPLORE_WAITING_ || thread->cond != cond,
                      "a condition is destroyed while a thread waits for it");
    }
    cond->mark = 0;
}

/* Wakes one that waits; which one is explored. */
static inline void rsl_cond_signal_(rsl_cond_ *cond)
{
    int waiting[EXPLORE_THREADS], count = 0;
    explore_point_("signal", &cond->mark, true);
    explore_check(cond->mark == EXPLORE_COND_, "a condition is signalled that does not live");
    for (int i = 0; i < explore_.scenario->threads; i++) {
        const explore_thread_ *thread = &explore_.threads[i];
        if (thread->state == EXPLORE_WAITING_ && thread->cond == cond) waiting[count++] = i;
    }
    if (count == 0) return;
    int pick = count > 1 ? explore_choose(count) : 0;
    explore_.threads[waiting[pick]].state = EXPLORE_LOCKING_;
}

/* That the time is up is a choice, whenever there is a time. */
static inline bool rsl_cond_wait_(rsl_cond_ *cond, rsl_lock_ *lock, rsl_time until)
{
    explore_thread_ *self = &explore_.threads[explore_.current];
    (void)explore_step_("wait", &cond->mark, true);
    explore_check(!explore_.alone, "a wait where nobody is left to end it");
    explore_check(cond->mark == EXPLORE_COND_, "a condition is used that does not live");
    explore_check(lock->word[1] == explore_holder_(), "a wait without the lock");
    lock->word[1] = 0;
    self->late = 0;
    self->state = EXPLORE_WAITING_;
    self->lock = lock->word;
    self->cond = cond;
    self->until = until;
    self->timed_out = false;
    explore_switch_();
    return !self->timed_out;
}

/* ---- threads ---- */

typedef struct rsl_thread_ { int place; } rsl_thread_;

static inline int rsl_thread_start_(rsl_thread_ *thread, size_t stack, void (*run)(void *arg),
                                    void *arg)
{
    (void)stack;
    thread->place = explore_thread_start_(run, arg);
    return thread->place == EXPLORE_NO_THREAD_ ? RSL_ESYS : RSL_OK;
}

static inline void rsl_thread_join_(rsl_thread_ *thread)
{
    explore_thread_join_(thread->place);
}

static inline void rsl_relax_(void)               { explore_pause_(); }
static inline uint32_t rsl_processors_(void)      { return 2; }
static inline void rsl_thread_detach_(rsl_thread_ *thread)
{
    explore_thread_detach_(thread->place);
}
static inline void rsl_thread_name_(const char *name) { (void)name; }

static inline void rsl_thread_guard_(void (*run)(void *arg), void (*lost)(void *arg), void *arg)
{
    explore_guard_(run, lost, arg);
}

/* ---- the rest ---- */

static inline uint64_t rsl_self_(void)              { return explore_.selves[explore_.current]; }
static inline rsl_time rsl_clock_real_(void)        { return explore_now(); }
static inline rsl_time rsl_clock_real_coarse_(void) { return explore_now(); }
static inline void rsl_pause_(rsl_time span)        { (void)span; explore_pause_(); }
static inline int  rsl_uncancelable_(void)          { return 0; }
static inline void rsl_cancelable_(int before)      { (void)before; }
