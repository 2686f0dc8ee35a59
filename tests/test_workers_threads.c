/* SPDX-License-Identifier: MIT
   test_workers_threads.c: the threads of the workers: how many there are and when they end, their
   names, stacks and signals; threads, locks and memory that the system refuses; and event loops
   that are woken when a task ends.                                                             */
#define _GNU_SOURCE 1 /* for pthread_getattr_np */
#include "support/allocator.h"

#ifndef _WIN32
#include <pthread.h>

/* The nth from here fails, or with `on` that and all after it; 0: none. */
typedef struct refusal {
    _Atomic long asked, nth;
    _Atomic bool on;
} refusal;

static refusal threads_refused, locks_refused;

static bool is_refused(refusal *r)
{
    long asked = atomic_fetch_add(&r->asked, 1) + 1, nth = atomic_load(&r->nth);
    return nth != 0 && (asked == nth || (asked > nth && atomic_load(&r->on)));
}

static void refuse_nth(refusal *r, long nth, bool on)
{
    atomic_store(&r->asked, 0);
    atomic_store(&r->on, on);
    atomic_store(&r->nth, nth);
}

static int failing_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *arg), void *arg)
{
    return is_refused(&threads_refused) ? 11 : pthread_create(thread, attributes, start, arg);
}

static int failing_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    return is_refused(&locks_refused) ? 11 : pthread_mutex_init(mutex, attributes);
}

static int failing_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attributes)
{
    return is_refused(&locks_refused) ? 11 : pthread_cond_init(cond, attributes);
}

/* What the header calls below this line. */
#define pthread_create failing_create
#define pthread_mutex_init failing_mutex_init
#define pthread_cond_init failing_cond_init
#endif

#define RSL_BULKHEAD_IMPLEMENTATION
#include "bulkhead.h"

#ifndef _WIN32
#undef pthread_create
#undef pthread_mutex_init
#undef pthread_cond_init
#endif

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#ifndef _WIN32
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>
#endif
#ifdef __linux__
#include <sys/eventfd.h>
#include <uv.h>
#endif

#include <cmocka.h>

#include "support/support.h"

#include "support/workers_rig.h"

static void crew_start_between(crew *c, uint32_t threads_min, uint32_t threads_max,
                               rsl_time keep_alive)
{
    rsl_workers_config config = {.threads_min = threads_min, .threads_max = threads_max,
                                 .keep_alive = keep_alive};
    crew_start(c, config);
}

static void jobs_let_go(job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        job_let_go(&jobs[i]);
        job_expect_ran(&jobs[i]);
    }
}

/* ------------------------------------------------------------------ growth */

static void a_thread_is_started_for_each_task_that_finds_none_idle(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 4, 0);
    job jobs[4], fifth = {0};
    memset(jobs, 0, sizeof(jobs));
    EVENTUALLY(stats_of(&c).idle == 1);
    for (uint32_t i = 0; i < 4; i++) {
        job_block(&c, &jobs[i]);
        assert_int_equal(stats_of(&c).threads, i + 1);
        assert_int_equal(stats_of(&c).running, i + 1);
    }
    job_send(&c, &fifth);
    nap(RSL_MS(5));
    rsl_workers_stats s = stats_of(&c);
    assert_true(s.threads == 4 && s.idle == 0 && s.queued == 1 && s.running == 4);
    job_let_go(&jobs[2]);
    job_expect_ran(&fifth);
    job_expect_ran(&jobs[2]);
    jobs_let_go(jobs, 2);
    jobs_let_go(&jobs[3], 1);
    assert_int_equal(events_of(&c, RSL_WORKERS_STARTED), 4);
    assert_true(atomic_load(&c.watch.value[RSL_WORKERS_STARTED]) == 4);
    crew_end(&c);
}

/* One that is counted as idle and has not gone to sleep yet may find the task by itself, while
   another is started for it: rare, unless a busy machine stops threads at that place. */
static void an_idle_thread_is_used_before_another_is_started(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 50, 0);
    for (int i = 0; i < 50; i++) {
        job j = {0};
        EVENTUALLY(stats_of(&c).idle == stats_of(&c).threads);
        nap(RSL_MS(1));
        job_send(&c, &j);
        job_expect_ran(&j);
    }
    assert_in_range(stats_of(&c).threads, 1, 5);
    crew_end(&c);
}

static void a_burst_starts_no_more_threads_than_allowed(void **unused)
{
    (void)unused;
    enum { MANY = 300 };
    static job jobs[MANY];
    crew c;
    crew_start_between(&c, 1, 3, 0);
    memset(jobs, 0, sizeof(jobs));
    for (int i = 0; i < MANY; i++) {
        job_send_at(&c, &jobs[i], i % 3 - 1);
    }
    for (int i = 0; i < MANY; i++) {
        job_expect_ran(&jobs[i]);
    }
    assert_in_range(stats_of(&c).threads, 1, 3);
    assert_in_range(events_of(&c, RSL_WORKERS_STARTED), 1, 3);
    crew_end(&c);
}

static void tasks_queued_at_once_get_all_threads_going(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 6, 0);
    job jobs[6];
    memset(jobs, 0, sizeof(jobs));
    for (int i = 0; i < 6; i++) {
        jobs[i].gated = true;
        job_send(&c, &jobs[i]);
    }
    for (int i = 0; i < 6; i++) {
        EVENTUALLY(atomic_load(&jobs[i].inside) == 1);
    }
    jobs_let_go(jobs, 6);
    crew_end(&c);
}

static void idle_threads_are_all_woken_for_tasks_queued_at_once(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 6, 6, 0);
    for (int round = 0; round < 20; round++) {
        job jobs[6];
        memset(jobs, 0, sizeof(jobs));
        if (round % 2 == 0) {
            EVENTUALLY(stats_of(&c).idle == 6);
        }
        for (int i = 0; i < 6; i++) {
            jobs[i].gated = true;
            job_send_at(&c, &jobs[i], round % 3 - 1);
        }
        for (int i = 0; i < 6; i++) {
            EVENTUALLY(atomic_load(&jobs[i].inside) == 1);
        }
        jobs_let_go(jobs, 6);
    }
    crew_end(&c);
}

/* -------------------------------------------------------------- keep-alive */

static void block_all(crew *c, job *jobs, size_t count)
{
    memset(jobs, 0, count * sizeof(*jobs));
    jobs_block(c, jobs, count);
}

static void threads_above_the_least_end_when_idle_for_too_long(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 2, 5, RSL_MS(20));
    job jobs[5];
    for (int round = 1; round <= 2; round++) {
        block_all(&c, jobs, 5);
        assert_int_equal(stats_of(&c).threads, 5);
        jobs_let_go(jobs, 5);
        EVENTUALLY(stats_of(&c).threads == 2);
        EVENTUALLY(events_of(&c, RSL_WORKERS_ENDED) >= 3 * round);
    }
    nap(RSL_MS(50));
    assert_int_equal(stats_of(&c).threads, 2);
    assert_int_equal(stats_of(&c).lost, 0);
    crew_end(&c);
}

static void without_keep_alive_they_end_at_once(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 4, RSL_NONE);
    job jobs[4];
    for (int round = 0; round < 3; round++) {
        block_all(&c, jobs, 4);
        jobs_let_go(jobs, 4);
        EVENTUALLY(stats_of(&c).threads == 1);
    }
    crew_end(&c);
}

static void idle_threads_are_kept_for_a_minute_by_default(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 4, 0);
    job jobs[4];
    block_all(&c, jobs, 4);
    jobs_let_go(jobs, 4);
    EVENTUALLY(stats_of(&c).idle == 4);
    nap(RSL_MS(60));
    assert_int_equal(stats_of(&c).threads, 4);
    crew_end(&c);
}

static void keep_alive_goes_by_the_clock_of_the_config(void **unused)
{
    (void)unused;
    crew c;
    shared_clock time = {1};
    rsl_workers_config config = {.threads_min = 1, .threads_max = 4, .keep_alive = RSL_SEC(10),
                                 .clock = moved_by_hand(&time)};
    crew_start(&c, config);
    job jobs[4];
    block_all(&c, jobs, 4);
    jobs_let_go(jobs, 4);
    EVENTUALLY(stats_of(&c).idle == 4);
    nap(RSL_MS(20));
    atomic_store(&time.now, RSL_SEC(10) - 1);
    nap(RSL_MS(20));
    assert_int_equal(stats_of(&c).threads, 4);
    atomic_store(&time.now, RSL_SEC(10) + 2);
    EVENTUALLY(stats_of(&c).threads == 1);
    crew_end(&c);
}

static void while_threads_come_and_go_no_task_is_forgotten(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 4, RSL_US(50));
    for (int round = 0; round < 150; round++) {
        job jobs[6];
        memset(jobs, 0, sizeof(jobs));
        for (int i = 0; i < 6; i++) {
            job_send(&c, &jobs[i]);
            if (i % 2 == round % 2) {
                nap(RSL_US(60));
            }
        }
        for (int i = 0; i < 6; i++) {
            job_expect_ran(&jobs[i]);
        }
    }
    crew_end(&c);
}

/* ------------------------------------------------------------------- names */

#ifdef __linux__
static int threads_alive(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return count;
}

/* How many threads of this process have a name that begins so; the last of them, into `last`. */
static int threads_named(const char *beginning, char last[32])
{
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        char path[300], name[32] = "";
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = entry->d_name[0] != '.' ? fopen(path, "r") : NULL;
        if (file == NULL) {
            continue;
        }
        if (fgets(name, sizeof(name), file) != NULL) {
            name[strcspn(name, "\n")] = '\0';
        }
        (void)fclose(file);
        if (strncmp(name, beginning, strlen(beginning)) == 0) {
            count++;
            memcpy(last, name, sizeof(name));
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return count;
}

static void threads_are_named_and_numbered(void **unused)
{
    (void)unused;
    crew c;
    char last[32] = "";
    rsl_workers_config config = {.name = "mail", .threads_min = 3, .threads_max = 3};
    crew_start(&c, config);
    EVENTUALLY(threads_named("mail-", last) == 3);
    char *end = last;
    (void)strtol(last + strlen("mail-"), &end, 10);
    assert_true(end > last + strlen("mail-") && *end == '\0');
    int differ = 0;
    for (int i = 0; i <= 3; i++) {
        char name[32], found[32];
        (void)snprintf(name, sizeof(name), "mail-%d", i);
        differ += threads_named(name, found) == 1;
    }
    assert_int_equal(differ, 3);
    crew_end(&c);
}

static void threads_of_no_name_are_called_after_the_library(void **unused)
{
    (void)unused;
    rsl_workers *workers = NULL;
    char last[32];
    assert_int_equal(rsl_workers_open(&workers, NULL), RSL_OK);
    EVENTUALLY(threads_named("rsl-", last) == 1);
    assert_int_equal(rsl_workers_close(workers, NULL), RSL_OK);
}

static void a_long_name_is_cut(void **unused)
{
    (void)unused;
    static const char *const names[] = {"a_name_longer_than_15_bytes", "123456789012345",
                                        "12345678901234", "%s%n%s%n"};
    for (size_t i = 0; i < RSL_COUNT(names); i++) {
        crew c;
        char last[32], beginning[8] = "";
        rsl_workers_config config = {.name = names[i], .threads_min = 2, .threads_max = 2};
        memcpy(beginning, names[i], 7);
        crew_start(&c, config);
        EVENTUALLY(threads_named(beginning, last) == 2);
        assert_true(strlen(last) <= 15);
        crew_end(&c);
    }
}

static void no_thread_is_left_behind(void **unused)
{
    (void)unused;
    int before = 1000; /* a sanitizer starts one of its own beside the first one */
    for (uint32_t i = 0; i < 30; i++) {
        crew c;
        crew_start_between(&c, 1 + i % 3, 4, i % 2 == 0 ? 0 : RSL_US(20));
        job jobs[4];
        block_all(&c, jobs, i % 5);
        jobs_let_go(jobs, i % 5);
        crew_end(&c);
        EVENTUALLY(threads_alive() <= before); /* joined, yet listed for a moment */
        before = i == 0 ? threads_alive() : before;
    }
    assert_true(before <= 3);
}
#endif

/* ------------------------------------------------------ stacks and signals */

#ifndef _WIN32
static int use_much_stack(job *j, const rsl_ctx *ctx)
{
    (void)ctx;
    volatile char much[9 << 20]; /* more than the usual 8 MiB */
    for (size_t i = 0; i < sizeof(much); i += 4096) {
        much[i] = (char)i;
    }
    much[sizeof(much) - 1] = (char)j->answer;
    return much[sizeof(much) - 1];
}

static void threads_have_the_stack_that_was_asked_for(void **unused)
{
    (void)unused;
    crew c;
    rsl_workers_config config = {.threads_max = 1, .stack_size = 24 << 20};
    crew_start(&c, config);
    job j = {.then = use_much_stack, .answer = 17};
    job_send(&c, &j);
    job_expect(&j, 17);
    crew_end(&c);
}

#if defined __GLIBC__ && !defined UNDER_TSAN && !defined UNDER_ASAN
static int measure_stack(job *j, const rsl_ctx *ctx)
{
    (void)j, (void)ctx;
    pthread_attr_t attributes;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
        return -1;
    }
    (void)pthread_attr_getstacksize(&attributes, &size);
    (void)pthread_attr_destroy(&attributes);
    return (int)(size >> 10);
}

static void a_small_stack_is_small(void **unused)
{
    (void)unused;
    crew c;
    rsl_workers_config config = {.threads_max = 1, .stack_size = 256 << 10};
    crew_start(&c, config);
    job j = {.then = measure_stack};
    job_send(&c, &j);
    int kilobytes = job_finish(&j);
    assert_in_range(kilobytes, 240, 512);
    crew_end(&c);
}
#endif

static void a_stack_that_the_system_refuses_leaves_nothing_behind(void **unused)
{
    (void)unused;
    static const size_t sizes[] = {1, SIZE_MAX / 4};
    long live = support_live();
    for (size_t i = 0; i < RSL_COUNT(sizes); i++) {
        rsl_workers_config config = {.threads_max = 2, .stack_size = sizes[i]};
        rsl_workers *workers = NULL;
        errno = 0;
        int rc = rsl_workers_open(&workers, &config);
        assert_true((rc == RSL_ESYS && errno != 0) ||
                    (rc == RSL_EINVAL && rsl_workers_config_check(&config) != NULL));
        assert_null(workers);
        assert_true(support_live() == live);
    }
}

static int count_open_signals(job *j, const rsl_ctx *ctx)
{
    (void)j, (void)ctx;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGUSR1, SIGUSR2, SIGCHLD,
                                  SIGPIPE, SIGQUIT};
    sigset_t blocked;
    sigemptyset(&blocked);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    int open = 0;
    for (size_t i = 0; i < RSL_COUNT(signals); i++) {
        open += sigismember(&blocked, signals[i]) == 0;
    }
    return open;
}

static int end_the_thread(job *j, const rsl_ctx *ctx)
{
    (void)ctx;
    atomic_fetch_sub(&j->inside, 1);
    atomic_fetch_add(&j->crew->vanished, 1);
    pthread_exit(NULL);
}

/* The first threads, those started for load, and those that take a lost one's place. */
static void its_threads_take_no_signals(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 3, 0);
    job jobs[3];
    memset(jobs, 0, sizeof(jobs));
    for (int i = 0; i < 3; i++) {
        jobs[i].then = count_open_signals;
        job_block(&c, &jobs[i]);
    }
    for (int i = 0; i < 3; i++) {
        job_let_go(&jobs[i]);
        job_expect(&jobs[i], 0);
    }
    for (int i = 0; i < 3; i++) {
        job ends = {.then = end_the_thread};
        job_send(&c, &ends);
        job_expect(&ends, RSL_ECANCELED);
    }
    for (int i = 0; i < 3; i++) {
        job j = {.then = count_open_signals};
        job_send(&c, &j);
        job_expect(&j, 0);
    }
    crew_end(&c);
}

static void who_opens_or_submits_keeps_its_own_signals(void **unused)
{
    (void)unused;
    crew c;
    job jobs[3];
    assert_int_equal(count_open_signals(NULL, NULL), 9);
    crew_start_between(&c, 1, 3, 0);
    block_all(&c, jobs, 3);
    assert_int_equal(count_open_signals(NULL, NULL), 9);
    jobs_let_go(jobs, 3);
    crew_end(&c);
    assert_int_equal(count_open_signals(NULL, NULL), 9);
}

/* -------------------------------------------------------------- refusals */

static void without_a_thread_nothing_opens_and_errno_says_why(void **unused)
{
    (void)unused;
    long live = support_live();
    rsl_workers_config config = {.threads_min = 4, .threads_max = 6};
    for (long nth = 1; nth <= 4; nth++) {
        for (int on = 0; on < 2; on++) {
            rsl_workers *workers = NULL;
            errno = 0;
            refuse_nth(&threads_refused, nth, on == 1);
            int rc = rsl_workers_open(&workers, &config), error = errno;
            refuse_nth(&threads_refused, 0, false);
            assert_int_equal(rc, RSL_ESYS);
            assert_int_equal(error, 11);
            assert_null(workers);
            assert_true(support_live() == live);
        }
    }
#ifdef __linux__
    EVENTUALLY(threads_alive() <= 3); /* listed for a moment; a sanitizer may have its own */
#endif
}

static void without_a_lock_nothing_opens(void **unused)
{
    (void)unused;
    long live = support_live();
    rsl_workers_config config = {.threads_min = 2, .threads_max = 3};
    int failures = 0;
    for (long nth = 1; nth < 100; nth++) {
        rsl_workers *workers = NULL;
        errno = 0;
        refuse_nth(&locks_refused, nth, false);
        int rc = rsl_workers_open(&workers, &config), error = errno;
        bool reached = atomic_load(&locks_refused.asked) >= nth;
        refuse_nth(&locks_refused, 0, false);
        if (rc == RSL_OK) {
            assert_int_equal(rsl_workers_close(workers, NULL), RSL_OK);
            if (!reached) {
                break;
            }
            continue;
        }
        failures++;
        assert_int_equal(rc, RSL_ESYS);
        assert_int_equal(error, 11);
        assert_null(workers);
        assert_true(support_live() == live);
    }
    assert_true(failures > 0 && support_live() == live);
}

/* Who waits has no lock to sleep on: it looks now and then. */
static void without_locks_to_sleep_on_all_goes_on(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 3, 0);
    refuse_nth(&locks_refused, 1, true);
    for (int round = 0; round < 5; round++) {
        job jobs[6];
        memset(jobs, 0, sizeof(jobs));
        for (int i = 0; i < 6; i++) {
            jobs[i].answer = i;
            assert_int_equal(job_submit(&c, &jobs[i], NULL), RSL_OK);
        }
        for (int i = 0; i < 6; i++) {
            (void)job_finish(&jobs[i]);
            assert_int_equal(atomic_load(&jobs[i].told), 1);
            assert_int_equal(atomic_load(&jobs[i].runs), 1);
        }
    }
    refuse_nth(&locks_refused, 0, false);
    crew_end(&c);
}

static void a_thread_that_cannot_be_started_for_load_is_told_and_done_without(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 4, 0);
    job jobs[6];
    memset(jobs, 0, sizeof(jobs));
    EVENTUALLY(stats_of(&c).idle == 1);
    job_block(&c, &jobs[0]);
    refuse_nth(&threads_refused, 1, true);
    errno = 77;
    for (int i = 1; i < 6; i++) {
        job_send_at(&c, &jobs[i], i % 3 - 1);
        assert_int_equal(errno, 77);
    }
    EVENTUALLY(events_of(&c, RSL_WORKERS_NO_THREAD) >= 1);
    assert_int_equal(atomic_load(&c.watch.status[RSL_WORKERS_NO_THREAD]), RSL_ESYS);
    rsl_workers_stats s = stats_of(&c);
    assert_true(s.threads == 1 && s.queued == 5 && s.refused == 0);
    jobs_let_go(jobs, 6);
    refuse_nth(&threads_refused, 0, false);
    job more[4];
    block_all(&c, more, 4);
    assert_int_equal(stats_of(&c).threads, 4);
    jobs_let_go(more, 4);
    crew_end(&c);
}

static void lose_the_only_thread(crew *c, job *queued, size_t count)
{
    job ends = {.then = end_the_thread};
    job_block(c, &ends);
    refuse_nth(&threads_refused, 1, true);
    for (size_t i = 0; i < count; i++) {
        job_send(c, &queued[i]);
    }
    job_let_go(&ends);
    job_expect(&ends, RSL_ECANCELED);
    EVENTUALLY(stats_of(c).threads == 0);
}

static void with_no_thread_left_and_none_to_be_had_a_submit_is_refused(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 1, 0);
    lose_the_only_thread(&c, NULL, 0);
    job j = {.answer = 4};
    int rc = job_submit(&c, &j, NULL), wanted = rc == RSL_OK;
    if (rc == RSL_OK) { /* the lost thread was still ending what is queued, this one too */
        rc = job_finish(&j);
    } else {
        assert_int_equal(rsl_task_wait(&j.task, NULL, NULL), RSL_EINVAL);
    }
    assert_int_equal(rc, RSL_ESYS);
    assert_int_equal(atomic_load(&j.told), wanted);
    assert_int_equal(stats_of(&c).refused, 1 - wanted);
    atomic_store(&j.told, 0);
    refuse_nth(&threads_refused, 0, false);
    job_send(&c, &j);
    job_expect_ran(&j);
    assert_int_equal(stats_of(&c).threads, 1);
    crew_end(&c);
}

static void what_is_queued_when_the_last_thread_is_lost_ends(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 1, 0);
    job queued[3], next = {.answer = 9};
    memset(queued, 0, sizeof(queued));
    lose_the_only_thread(&c, queued, 3);
    for (int i = 0; i < 3; i++) {
        job_expect_never_ran(&queued[i], RSL_ESYS);
    }
    assert_int_equal(rsl_workers_drain(c.workers, NULL), RSL_OK);
    assert_int_equal(rsl_workers_restart(c.workers), RSL_OK);
    refuse_nth(&threads_refused, 0, false);
    job_send(&c, &next);
    job_expect_ran(&next);
    crew_end(&c);
}

static void without_a_thread_a_map_is_run_by_its_own(void **unused)
{
    (void)unused;
    crew c;
    crew_start_between(&c, 1, 2, 0);
    job ends = {.then = end_the_thread};
    refuse_nth(&threads_refused, 1, true);
    job_send(&c, &ends);
    job_expect(&ends, RSL_ECANCELED);
    EVENTUALLY(stats_of(&c).threads == 0);
    int results[10] = {0}, sum = 0;
    job items[10];
    memset(items, 0, sizeof(items));
    for (int i = 0; i < 10; i++) {
        items[i].answer = i;
    }
    assert_int_equal(rsl_workers_map(c.workers, NULL, job_run, items, sizeof(job), 10, results),
                     RSL_OK);
    for (int i = 0; i < 10; i++) {
        sum += results[i] + atomic_load(&items[i].runs);
    }
    assert_int_equal(sum, 55);
    refuse_nth(&threads_refused, 0, false);
    crew_end(&c);
}

/* -------------------------------------------------------------- event loops */

typedef struct letter {
    job        job;
    int        ring[2];   /* the loop polls the first, on_done writes the second */
} letter;

static void ring_the_loop(void *user)
{
    letter *l = user;
    char byte = 1;
    (void)!write(l->ring[1], &byte, 1);
}

/* The loop frees the node when it hears of it, as it would in earnest. */
static void an_event_loop_is_woken_through_a_pipe(void **unused)
{
    (void)unused;
    enum { LETTERS = 60 };
    crew c;
    int ring[2];
    crew_start_sized(&c, 2, LETTERS, RSL_FULL_REJECT);
    assert_int_equal(pipe(ring), 0);
    letter *letters[LETTERS];
    int ended = 0;
    for (int i = 0; i < LETTERS; i++) {
        letters[i] = calloc(1, sizeof(*letters[i]));
        letters[i]->ring[1] = ring[1];
        letters[i]->job.answer = i;
        rsl_task_on_done(&letters[i]->job.task, ring_the_loop, letters[i]);
        assert_int_equal(rsl_workers_submit(c.workers, NULL, job_run, &letters[i]->job,
                                            &letters[i]->job.task), RSL_OK);
        if (i % 4 == 0) {
            (void)rsl_task_cancel(&letters[i]->job.task); /* if it has not run yet */
        }
    }
    while (ended < LETTERS) {
        struct pollfd poller = {.fd = ring[0], .events = POLLIN};
        char byte;
        assert_int_equal(poll(&poller, 1, 20000), 1);
        assert_int_equal(read(ring[0], &byte, 1), 1);
        ended++;
    }
    for (int i = 0; i < LETTERS; i++) {
        int result = SCRIBBLED;
        assert_int_equal(rsl_task_wait(&letters[i]->job.task, NULL, &result), RSL_OK);
        assert_true(result == i || result == RSL_ECANCELED);
        free(letters[i]);
    }
    close(ring[0]);
    close(ring[1]);
    crew_end(&c);
}
#endif

#ifdef __linux__
static void ring_the_counter(void *user)
{
    uint64_t one = 1;
    (void)!write(*(int *)user, &one, sizeof(one));
}

static void an_event_loop_is_woken_through_an_eventfd(void **unused)
{
    (void)unused;
    enum { ROUNDS = 100 };
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    int counter = eventfd(0, 0);
    assert_true(counter >= 0);
    for (int i = 0; i < ROUNDS; i++) {
        job *j = calloc(1, sizeof(*j));
        j->answer = i;
        rsl_task_on_done(&j->task, ring_the_counter, &counter);
        assert_int_equal(rsl_workers_submit(c.workers, NULL, job_run, j, &j->task), RSL_OK);
        struct pollfd poller = {.fd = counter, .events = POLLIN};
        uint64_t rung = 0;
        assert_int_equal(poll(&poller, 1, 20000), 1);
        assert_int_equal(read(counter, &rung, sizeof(rung)), sizeof(rung));
        assert_true(rung == 1);
        int result = SCRIBBLED;
        assert_int_equal(rsl_task_wait(&j->task, NULL, &result), RSL_OK);
        assert_int_equal(result, i);
        free(j);
    }
    close(counter);
    crew_end(&c);
}

typedef struct parcel {
    job        job;
    uv_async_t bell;
    int       *open;
    int        result;
} parcel;

static void ring_uv(void *user)
{
    (void)uv_async_send(&((parcel *)user)->bell);
}

static void parcel_arrives(uv_async_t *bell)
{
    parcel *p = bell->data;
    assert_int_equal(rsl_task_wait(&p->job.task, NULL, &p->result), RSL_OK);
    --*p->open;
    uv_close((uv_handle_t *)bell, NULL);
}

static void libuv_is_woken_when_a_task_ends(void **unused)
{
    (void)unused;
    enum { PARCELS = 20 };
    static parcel parcels[PARCELS];
    crew c;
    uv_loop_t loop;
    int open = PARCELS;
    crew_start_sized(&c, 2, PARCELS, RSL_FULL_REJECT);
    assert_int_equal(uv_loop_init(&loop), 0);
    memset(parcels, 0, sizeof(parcels));
    for (int i = 0; i < PARCELS; i++) {
        parcel *p = &parcels[i];
        p->open = &open;
        p->job.answer = i;
        assert_int_equal(uv_async_init(&loop, &p->bell, parcel_arrives), 0);
        p->bell.data = p;
        rsl_task_on_done(&p->job.task, ring_uv, p);
        assert_int_equal(rsl_workers_submit(c.workers, NULL, job_run, &p->job, &p->job.task),
                         RSL_OK);
    }
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(open, 0);
    for (int i = 0; i < PARCELS; i++) {
        assert_int_equal(parcels[i].result, i);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
    crew_end(&c);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_is_started_for_each_task_that_finds_none_idle),
        cmocka_unit_test(an_idle_thread_is_used_before_another_is_started),
        cmocka_unit_test(a_burst_starts_no_more_threads_than_allowed),
        cmocka_unit_test(tasks_queued_at_once_get_all_threads_going),
        cmocka_unit_test(idle_threads_are_all_woken_for_tasks_queued_at_once),
        cmocka_unit_test(threads_above_the_least_end_when_idle_for_too_long),
        cmocka_unit_test(without_keep_alive_they_end_at_once),
        cmocka_unit_test(idle_threads_are_kept_for_a_minute_by_default),
        cmocka_unit_test(keep_alive_goes_by_the_clock_of_the_config),
        cmocka_unit_test(while_threads_come_and_go_no_task_is_forgotten),
#ifdef __linux__
        cmocka_unit_test(threads_are_named_and_numbered),
        cmocka_unit_test(threads_of_no_name_are_called_after_the_library),
        cmocka_unit_test(a_long_name_is_cut),
        cmocka_unit_test(no_thread_is_left_behind),
#endif
#ifndef _WIN32
        cmocka_unit_test(threads_have_the_stack_that_was_asked_for),
#if defined __GLIBC__ && !defined UNDER_TSAN && !defined UNDER_ASAN
        cmocka_unit_test(a_small_stack_is_small),
#endif
        cmocka_unit_test(a_stack_that_the_system_refuses_leaves_nothing_behind),
        cmocka_unit_test(its_threads_take_no_signals),
        cmocka_unit_test(who_opens_or_submits_keeps_its_own_signals),
        cmocka_unit_test(without_a_thread_nothing_opens_and_errno_says_why),
        cmocka_unit_test(without_a_lock_nothing_opens),
        cmocka_unit_test(without_locks_to_sleep_on_all_goes_on),
        cmocka_unit_test(a_thread_that_cannot_be_started_for_load_is_told_and_done_without),
        cmocka_unit_test(with_no_thread_left_and_none_to_be_had_a_submit_is_refused),
        cmocka_unit_test(what_is_queued_when_the_last_thread_is_lost_ends),
        cmocka_unit_test(without_a_thread_a_map_is_run_by_its_own),
        cmocka_unit_test(an_event_loop_is_woken_through_a_pipe),
#endif
#ifdef __linux__
        cmocka_unit_test(an_event_loop_is_woken_through_an_eventfd),
        cmocka_unit_test(libuv_is_woken_when_a_task_ends),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
