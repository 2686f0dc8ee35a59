/* SPDX-License-Identifier: MIT
   test_workers.c: the workers of bulkhead.h: configs, tasks from submit to the end, assisting,
   cancelling, deadlines, order, full queues, waits that could never end, map, stop and restart,
   tasks that end their thread. How threads come and go is in test_workers_threads.c.         */
#include "support/allocator.h"

#define RSL_BULKHEAD_IMPLEMENTATION
#include "bulkhead.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/support.h"

#include "support/workers_rig.h"

/* ------------------------------------------------------------------ configs */

static void refuse(rsl_workers_config config, const char *field)
{
    rsl_workers_config before;
    memcpy(&before, &config, sizeof(before));
    const char *why = rsl_workers_config_check(&config);
    if (why == NULL) {
        fail_msg("%s was accepted", field);
    }
    size_t length = strlen(field);
    if (strncmp(why, field, length) != 0 || strncmp(why + length, ": ", 2) != 0 ||
        why[length + 2] == '\0') {
        fail_msg("\"%s\" does not read \"%s: reason\"", why, field);
    }
    assert_memory_equal(&before, &config, sizeof(before));
    rsl_workers *workers = NULL;
    assert_int_equal(rsl_workers_open(&workers, &config), RSL_EINVAL);
    assert_null(workers);
}

static void accept(rsl_workers_config config)
{
    const char *why = rsl_workers_config_check(&config);
    if (why != NULL) {
        fail_msg("refused: %s", why);
    }
}

static void a_zeroed_config_means_the_defaults(void **unused)
{
    (void)unused;
    rsl_workers_config zero = {0};
    assert_null(rsl_workers_config_check(NULL));
    assert_null(rsl_workers_config_check(&zero));
    for (int i = 0; i < 2; i++) {
        rsl_workers_config c = rsl_workers_config_resolve(i == 0 ? NULL : &zero);
        assert_string_equal(c.name, "rsl");
        assert_int_equal(c.threads_min, 1);
        assert_true(c.threads_max >= 1 && c.threads_max <= 1024);
        assert_int_equal(c.queue_max, 1024);
        assert_int_equal(c.when_full, RSL_FULL_REJECT);
        assert_true(c.keep_alive == RSL_SEC(60));
        assert_true(c.observer.on_event == NULL);
    }
}

static void what_is_set_is_in_force_as_it_is(void **unused)
{
    (void)unused;
    rsl_workers_config set = {.name = "mail", .threads_min = 3, .threads_max = 7, .queue_max = 9,
                              .when_full = RSL_FULL_DROP_OLDEST, .keep_alive = RSL_MS(5),
                              .stack_size = 1 << 20};
    rsl_workers_config c = rsl_workers_config_resolve(&set);
    assert_string_equal(c.name, "mail");
    assert_true(c.threads_min == 3 && c.threads_max == 7 && c.queue_max == 9);
    assert_int_equal(c.when_full, RSL_FULL_DROP_OLDEST);
    assert_true(c.keep_alive == RSL_MS(5) && c.stack_size == 1 << 20);
}

static void threads_max_is_at_least_threads_min_by_default(void **unused)
{
    (void)unused;
    rsl_workers_config config = {.threads_min = 1000};
    assert_int_equal(rsl_workers_config_resolve(&config).threads_max, 1000);
    accept(config);
}

static void counts_of_threads_out_of_range_are_refused_by_name(void **unused)
{
    (void)unused;
    rsl_workers_config config = {.threads_min = 2, .threads_max = 1};
    refuse(config, "threads_min");
    config.threads_min = 1024;
    config.threads_max = 1024;
    accept(config);
    config.threads_max = 1025;
    refuse(config, "threads_max");
    config.threads_max = RSL_UNLIMITED;
    refuse(config, "threads_max");
}

static void more_than_1024_threads_at_least_are_refused(void **unused)
{
    (void)unused;
    rsl_workers_config config = {.threads_min = 1025};
    assert_non_null(rsl_workers_config_check(&config));
    rsl_workers *workers = NULL;
    assert_int_equal(rsl_workers_open(&workers, &config), RSL_EINVAL);
    assert_null(workers);
}

static void a_queue_larger_than_allowed_is_refused_by_name(void **unused)
{
    (void)unused;
    rsl_workers_config config = {.queue_max = 16777216};
    accept(config);
    config.queue_max = 16777217;
    refuse(config, "queue_max");
    config.queue_max = RSL_UNLIMITED;
    refuse(config, "queue_max");
}

static void an_unknown_kind_of_full_is_refused_by_name(void **unused)
{
    (void)unused;
    rsl_workers_config config = {.when_full = (rsl_when_full)(RSL_FULL_DROP_OLDEST + 1)};
    refuse(config, "when_full");
    config.when_full = (rsl_when_full)77;
    refuse(config, "when_full");
}

static void a_negative_keep_alive_is_refused_by_name(void **unused)
{
    (void)unused;
    static const rsl_time wrong[] = {-2, -RSL_SEC(1), INT64_MIN};
    for (size_t i = 0; i < RSL_COUNT(wrong); i++) {
        rsl_workers_config config = {.keep_alive = wrong[i]};
        refuse(config, "keep_alive");
    }
    rsl_workers_config config = {.keep_alive = RSL_NONE};
    accept(config);
    config.keep_alive = RSL_FOREVER;
    accept(config);
}

/* ------------------------------------------------------- opening and closing */

static void opening_starts_the_least_number_of_threads(void **unused)
{
    (void)unused;
    crew c;
    rsl_workers_config config = {.threads_min = 3, .threads_max = 5};
    crew_start(&c, config);
    EVENTUALLY(stats_of(&c).idle == 3);
    rsl_workers_stats s = stats_of(&c);
    assert_int_equal(s.threads, 3);
    assert_true(s.queued == 0 && s.running == 0 && s.submitted == 0 && s.refused == 0);
    crew_end(&c);
}

static void no_config_is_one_with_all_defaults(void **unused)
{
    (void)unused;
    rsl_workers *workers = NULL;
    assert_int_equal(rsl_workers_open(&workers, NULL), RSL_OK);
    job j = {.answer = 5};
    assert_int_equal(rsl_workers_submit(workers, NULL, job_run, &j, &j.task), RSL_OK);
    assert_int_equal(job_finish(&j), 5);
    assert_int_equal(rsl_workers_close(workers, NULL), RSL_OK);
    assert_int_equal(support_live(), 0);
}

static void opening_into_nothing_is_refused(void **unused)
{
    (void)unused;
    assert_int_equal(rsl_workers_open(NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_workers_close(NULL, NULL), RSL_EINVAL);
    assert_int_equal(support_live(), 0);
}

static void closing_runs_what_is_queued_first(void **unused)
{
    (void)unused;
    rsl_workers *workers = NULL;
    rsl_workers_config config = {.threads_max = 1};
    assert_int_equal(rsl_workers_open(&workers, &config), RSL_OK);
    job jobs[20];
    memset(jobs, 0, sizeof(jobs));
    for (int i = 0; i < 20; i++) {
        jobs[i].answer = i;
        rsl_ctx ctx = with_priority(i % 3 - 1);
        assert_int_equal(rsl_workers_submit(workers, &ctx, job_run, &jobs[i], &jobs[i].task),
                         RSL_OK);
    }
    assert_int_equal(rsl_workers_close(workers, NULL), RSL_OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(atomic_load(&jobs[i].runs), 1);
        assert_true(rsl_task_has_ended(&jobs[i].task));
    }
    assert_int_equal(support_live(), 0);
}

static void a_close_that_gave_up_can_be_repeated(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {.answer = 1}, queued = {.answer = 2}, late = {0};
    job_block(&c, &busy);
    job_send(&c, &queued);
    rsl_ctx soon = rsl_within(RSL_MS(5));
    assert_int_equal(rsl_workers_close(c.workers, &soon), RSL_ETIMEOUT);
    assert_int_equal(rsl_workers_close(c.workers, &soon), RSL_ETIMEOUT);
    assert_int_equal(job_submit(&c, &late, NULL), RSL_ECLOSED);
    assert_int_equal(stats_of(&c).queued, 1);
    job_expect_running(&busy);
    job_let_go(&busy);
    job_expect_ran(&busy);
    job_expect_ran(&queued);
    assert_int_equal(atomic_load(&late.told), 0);
    crew_end(&c);
}

static void a_close_can_be_cancelled(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_ctx ctx = {.cancel = &cancel};
    job busy = {0};
    job_block(&c, &busy);
    visitor v;
    visitor_come(&v, visitor_closes, &c, NULL, &ctx);
    visitor_expect_waiting(&v);
    rsl_cancel_fire(&cancel);
    visitor_expect(&v, RSL_ECANCELED);
    assert_true(v.took < RSL_SEC(10));
    job_let_go(&busy);
    job_expect_ran(&busy);
    rsl_cancel_deinit(&cancel);
    crew_end(&c);
}

static int close_from_within(job *j, const rsl_ctx *ctx)
{
    int rc = rsl_workers_close(j->crew->workers, ctx);
    rc = rc == RSL_EINVAL ? rsl_workers_drain(j->crew->workers, ctx) : rc;
    return rc == RSL_EINVAL ? rsl_workers_stop(j->crew->workers, ctx) : rc;
}

static void a_task_cannot_close_drain_or_stop_its_own_workers(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    job j = {.then = close_from_within}, after = {.answer = 3};
    job_send(&c, &j);
    job_expect(&j, RSL_EINVAL);
    job_send(&c, &after);
    job_expect_ran(&after);
    crew_end(&c);
}

static int close_the_others(job *j, const rsl_ctx *ctx)
{
    (void)ctx;
    return rsl_workers_close(j->other->crew->workers, NULL);
}

static void a_task_may_close_other_workers(void **unused)
{
    (void)unused;
    crew c;
    rsl_workers *others = NULL;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    assert_int_equal(rsl_workers_open(&others, NULL), RSL_OK);
    crew there = {.workers = others};
    job ran = {.answer = 4}, j = {.then = close_the_others, .other = &ran};
    job_send(&there, &ran);
    job_send(&c, &j);
    job_expect(&j, RSL_OK);
    assert_true(rsl_task_has_ended(&ran.task));
    crew_end(&c);
}

/* ----------------------------------------------------------- submit and wait */

static void a_task_runs_once_on_a_thread_of_the_workers(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    job j = {.answer = 7};
    job_send(&c, &j);
    job_expect_ran(&j);
    assert_false(pthread_equal(j.thread, pthread_self()));
    assert_true(pthread_equal(j.teller, j.thread));
    crew_end(&c);
}

static void the_result_of_a_task_comes_back_as_it_is(void **unused)
{
    (void)unused;
    static const int results[] = {0, 1, -1, INT_MAX, INT_MIN, RSL_ETIMEOUT, RSL_ECANCELED,
                                  RSL_EFULL, RSL_EINVAL, RSL_WAIT};
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    for (size_t i = 0; i < RSL_COUNT(results); i++) {
        job j = {.answer = results[i]}, assisted = {.answer = results[i]};
        job_send(&c, &j);
        job_expect_ran(&j);
        job_send(&c, &assisted);
        int result = SCRIBBLED;
        assert_int_equal(rsl_task_wait(&assisted.task, NULL, &result), RSL_OK);
        assert_int_equal(result, results[i]);
    }
    crew_end(&c);
}

static void a_task_gets_a_copy_of_the_ctx_with_a_token_of_its_own(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {0}, j = {0};
    job_block(&c, &busy);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    shared_clock time = {1000};
    rsl_clock clock = moved_by_hand(&time);
    rsl_ctx ctx = {.deadline = 2000, .clock = &clock};
    ctx.attempt = 7;
    ctx.priority = -3;
    ctx.cancel = &cancel;
    assert_int_equal(job_submit(&c, &j, &ctx), RSL_OK);
    memset(&ctx, 0xFF, sizeof(ctx));
    job_let_go(&busy);
    job_expect_ran(&j);
    assert_true(j.ctx.deadline == 2000 && j.ctx.clock == &clock);
    assert_true(j.ctx.attempt == 7 && j.ctx.priority == -3);
    assert_true(j.ctx.cancel != NULL && j.ctx.cancel != &cancel);
    rsl_cancel_deinit(&cancel);
    crew_end(&c);
}

static void a_task_without_a_ctx_has_no_limits_but_can_be_cancelled(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job j = {0};
    job_send(&c, &j);
    job_expect_ran(&j);
    assert_true(j.ctx.deadline == 0 && j.ctx.attempt == 0 && j.ctx.priority == 0);
    assert_non_null(j.ctx.cancel);
    crew_end(&c);
}

static void waiting_for_what_has_ended_gives_its_result_at_once(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job j = {.answer = 9};
    job_send(&c, &j);
    EVENTUALLY(rsl_task_has_ended(&j.task));
    for (int i = 0; i < 3; i++) {
        int result = SCRIBBLED;
        rsl_ctx spent = {.deadline = 1};
        assert_int_equal(rsl_task_wait(&j.task, i == 0 ? &spent : NULL, &result), RSL_OK);
        assert_int_equal(result, 9);
    }
    assert_int_equal(rsl_task_wait(&j.task, NULL, NULL), RSL_OK);
    crew_end(&c);
}

static void waiting_for_nothing_is_refused(void **unused)
{
    (void)unused;
    rsl_task task;
    memset(&task, 0, sizeof(task));
    int result = SCRIBBLED;
    rsl_ctx soon = rsl_within(RSL_MS(1));
    assert_int_equal(rsl_task_wait(NULL, NULL, &result), RSL_EINVAL);
    assert_int_equal(rsl_task_wait(&task, NULL, &result), RSL_EINVAL);
    assert_int_equal(rsl_task_wait(&task, &soon, &result), RSL_EINVAL);
    assert_int_equal(result, SCRIBBLED);
    assert_false(rsl_task_has_ended(NULL));
    assert_false(rsl_task_has_ended(&task));
    assert_int_equal(rsl_task_cancel(NULL), RSL_EINVAL);
    assert_int_equal(rsl_task_cancel(&task), RSL_EINVAL);
}

static void submitting_nothing_is_refused(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job j = {0};
    assert_int_equal(rsl_workers_submit(NULL, NULL, job_run, &j, &j.task), RSL_EINVAL);
    assert_int_equal(rsl_workers_submit(c.workers, NULL, NULL, &j, &j.task), RSL_EINVAL);
    assert_int_equal(rsl_workers_submit(c.workers, NULL, job_run, &j, NULL), RSL_EINVAL);
    assert_false(rsl_task_has_ended(&j.task));
    assert_int_equal(rsl_task_wait(&j.task, NULL, NULL), RSL_EINVAL);
    job_send(&c, &j);
    job_expect_ran(&j);
    crew_end(&c);
}

static void a_wait_ends_with_its_deadline_and_the_task_does_not(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {.answer = 1}, queued = {.answer = 2};
    job_block(&c, &busy);
    job_send(&c, &queued);
    int result = SCRIBBLED;
    rsl_ctx soon = rsl_within(RSL_MS(5)), spent = {.deadline = 1};
    assert_int_equal(rsl_task_wait(&busy.task, &soon, &result), RSL_ETIMEOUT);
    assert_true(rsl_left(&soon) == 0);
    assert_int_equal(rsl_task_wait(&queued.task, &soon, &result), RSL_ETIMEOUT);
    assert_int_equal(rsl_task_wait(&queued.task, &spent, &result), RSL_ETIMEOUT);
    assert_int_equal(result, SCRIBBLED);
    job_expect_running(&busy);
    assert_int_equal(atomic_load(&queued.runs), 0);
    job_let_go(&busy);
    job_expect_ran(&busy);
    job_expect_ran(&queued);
    crew_end(&c);
}

static void a_wait_can_be_cancelled_and_the_task_goes_on(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job j = {.answer = 3};
    job_block(&c, &j);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_ctx ctx = {.cancel = &cancel};
    visitor v;
    visitor_come(&v, visitor_waits, &c, &j, &ctx);
    visitor_expect_waiting(&v);
    rsl_cancel_fire(&cancel);
    visitor_expect(&v, RSL_ECANCELED);
    assert_true(v.result == SCRIBBLED && v.took < RSL_SEC(10));
    assert_int_equal(rsl_task_wait(&j.task, &ctx, NULL), RSL_ECANCELED);
    assert_false(rsl_cancel_fired(j.ctx.cancel));
    job_expect_running(&j);
    job_let_go(&j);
    job_expect_ran(&j);
    rsl_cancel_deinit(&cancel);
    crew_end(&c);
}

static void of_two_threads_that_wait_for_a_task_one_is_refused(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job j = {.answer = 3};
    job_block(&c, &j);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_ctx ctx = {.cancel = &cancel};
    visitor v[2];
    visitor_come(&v[0], visitor_waits, &c, &j, &ctx);
    visitor_come(&v[1], visitor_waits, &c, &j, &ctx);
    EVENTUALLY(atomic_load(&v[0].done) + atomic_load(&v[1].done) > 0);
    int refused = atomic_load(&v[1].done);
    visitor_expect(&v[refused], RSL_EINVAL);
    assert_int_equal(v[refused].result, SCRIBBLED);
    visitor_expect_waiting(&v[1 - refused]);
    assert_int_equal(rsl_task_wait(&j.task, NULL, NULL), RSL_EINVAL);
    rsl_cancel_fire(&cancel);
    visitor_expect(&v[1 - refused], RSL_ECANCELED);
    job_let_go(&j);
    job_expect_ran(&j);
    rsl_cancel_deinit(&cancel);
    crew_end(&c);
}

static void a_wait_wakes_when_the_task_ends(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    for (int i = 0; i < 2; i++) {
        job j = {.answer = 40 + i};
        job_block(&c, &j);
        rsl_ctx ctx = patiently(PATIENCE);
        visitor v;
        visitor_come(&v, visitor_waits, &c, &j, i == 0 ? NULL : &ctx);
        visitor_expect_waiting(&v);
        job_let_go(&j);
        visitor_expect(&v, RSL_OK);
        assert_int_equal(v.result, 40 + i);
        assert_true(v.took < RSL_SEC(10));
        assert_int_equal(atomic_load(&j.told), 1);
    }
    crew_end(&c);
}

static void a_node_submitted_twice_is_refused_and_stays_as_it_was(void **unused)
{
    (void)unused;
    crew c, others;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    crew_start_sized(&others, 1, 4, RSL_FULL_REJECT);
    job running = {.answer = 1}, queued = {.answer = 2}, j = {.answer = 3};
    job_block(&c, &running);
    job_send(&c, &queued);
    rsl_task *nodes[] = {&running.task, &queued.task};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rsl_workers_submit(c.workers, NULL, job_run, &j, nodes[i]), RSL_EINVAL);
        assert_int_equal(rsl_workers_submit(others.workers, NULL, job_run, &j, nodes[i]),
                         RSL_EINVAL);
    }
    rsl_workers_stats s = stats_of(&c);
    assert_true(s.queued == 1 && s.running == 1 && s.submitted == 2);
    job_let_go(&running);
    job_expect_ran(&running);
    job_expect_ran(&queued);
    assert_int_equal(atomic_load(&j.runs), 0);
    crew_end(&others);
    crew_end(&c);
}

static void a_node_can_be_used_again_and_again(void **unused)
{
    (void)unused;
    crew c, others;
    crew_start_sized(&c, 2, 3, RSL_FULL_REJECT);
    crew_start_sized(&others, 1, 2, RSL_FULL_REJECT);
    job j = {0};
    int wanted = 0;
    for (int i = 0; i < 300; i++) {
        j.answer = i;
        rsl_ctx ctx = with_priority(i % 5 - 2);
        assert_int_equal(job_submit(i % 7 == 0 ? &others : &c, &j, &ctx), RSL_OK);
        int result = SCRIBBLED;
        bool cancelled = i % 4 == 1 && rsl_task_cancel(&j.task) == RSL_OK;
        assert_int_equal(rsl_task_wait(&j.task, NULL, &result), RSL_OK);
        assert_true(result == i || (cancelled && result == RSL_ECANCELED));
        wanted++;
        assert_int_equal(atomic_load(&j.told), wanted);
    }
    crew_end(&others);
    crew_end(&c);
}

static void a_node_may_be_freed_as_soon_as_the_wait_is_over(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 3, RSL_FULL_REJECT);
    for (int i = 0; i < 200; i++) {
        job *j = calloc(1, sizeof(*j));
        job_send(&c, j);
        rsl_ctx ctx = patiently(PATIENCE);
        assert_int_equal(rsl_task_wait(&j->task, i % 2 == 0 ? NULL : &ctx, NULL), RSL_OK);
        memset(j, 0xA5, sizeof(*j));
        free(j);
    }
    crew_end(&c);
}

/* ----------------------------------------------------------------- assisting */

static void who_waits_without_limits_runs_the_queued_task_itself(void **unused)
{
    (void)unused;
    static const int32_t priorities[] = {0, 5, -5};
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {0};
    job_block(&c, &busy);
    for (size_t i = 0; i < RSL_COUNT(priorities); i++) {
        job j = {.answer = 6};
        job_send_at(&c, &j, priorities[i]);
        rsl_ctx unlimited = {.attempt = 1};
        int result = SCRIBBLED;
        assert_int_equal(rsl_task_wait(&j.task, i == 0 ? NULL : &unlimited, &result), RSL_OK);
        assert_int_equal(result, 6);
        assert_true(pthread_equal(j.thread, pthread_self()));
        assert_true(pthread_equal(j.teller, pthread_self()));
        assert_true(j.ctx.priority == priorities[i] && j.ctx.cancel != NULL);
        assert_int_equal(atomic_load(&j.told), 1);
        assert_int_equal(stats_of(&c).queued, 0);
    }
    assert_int_equal(stats_of(&c).by_waiter, 3);
    job_let_go(&busy);
    job_expect_ran(&busy);
    crew_end(&c);
}

static void who_waits_with_a_limit_leaves_the_task_to_the_threads(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    job busy = {0}, a = {.answer = 1}, b = {.answer = 2};
    job_block(&c, &busy);
    job_send(&c, &a);
    job_send(&c, &b);
    visitor by_deadline, by_cancel;
    rsl_ctx late = patiently(PATIENCE), token = {.cancel = &cancel};
    visitor_come(&by_deadline, visitor_waits, &c, &a, &late);
    visitor_come(&by_cancel, visitor_waits, &c, &b, &token);
    visitor_expect_waiting(&by_deadline);
    visitor_expect_waiting(&by_cancel);
    assert_int_equal(stats_of(&c).queued, 2);
    job_let_go(&busy);
    visitor_expect(&by_deadline, RSL_OK);
    visitor_expect(&by_cancel, RSL_OK);
    job_expect_ran(&a);
    job_expect_ran(&b);
    assert_true(pthread_equal(a.thread, busy.thread) && pthread_equal(b.thread, busy.thread));
    assert_int_equal(stats_of(&c).by_waiter, 0);
    rsl_cancel_deinit(&cancel);
    crew_end(&c);
}

static void a_task_that_a_waiter_runs_can_be_cancelled(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {0}, j = {.answer = 5, .gated = true, .heeds = true};
    job_block(&c, &busy);
    job_send(&c, &j);
    visitor v;
    visitor_come(&v, visitor_waits, &c, &j, NULL);
    EVENTUALLY(atomic_load(&j.inside) == 1);
    assert_int_equal(rsl_task_cancel(&j.task), RSL_OK);
    visitor_expect(&v, RSL_OK);
    assert_int_equal(v.result, RSL_ECANCELED);
    job_let_go(&busy);
    job_expect_ran(&busy);
    crew_end(&c);
}

static void the_parents_token_reaches_a_task_that_a_waiter_runs(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_ctx ctx = {.cancel = &cancel};
    job busy = {0}, j = {.gated = true, .heeds = true};
    job_block(&c, &busy);
    assert_int_equal(job_submit(&c, &j, &ctx), RSL_OK);
    visitor v;
    visitor_come(&v, visitor_waits, &c, &j, NULL);
    EVENTUALLY(atomic_load(&j.inside) == 1);
    rsl_cancel_fire(&cancel);
    visitor_expect(&v, RSL_OK);
    assert_int_equal(v.result, RSL_ECANCELED);
    job_let_go(&busy);
    job_expect_ran(&busy);
    rsl_cancel_deinit(&cancel);
    crew_end(&c);
}

static int wait_for_the_other(job *j, const rsl_ctx *ctx)
{
    (void)ctx;
    int result = SCRIBBLED;
    rsl_ctx limit = patiently(PATIENCE);
    atomic_store(&j->answered, 1);
    int rc = rsl_task_wait(&j->other->task, j->limited ? &limit : NULL, &result);
    return rc == RSL_OK ? result : rc;
}

static int send_the_other_and_wait(job *j, const rsl_ctx *ctx)
{
    int rc = job_submit(j->crew, j->other, NULL);
    return rc == RSL_OK ? wait_for_the_other(j, ctx) : rc;
}

static void a_task_that_waits_for_its_own_task_without_limits_runs_it(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job third = {.answer = 33};
    job second = {.then = send_the_other_and_wait, .other = &third};
    job first = {.then = send_the_other_and_wait, .other = &second};
    job_send(&c, &first);
    job_expect(&first, 33);
    assert_true(pthread_equal(first.thread, third.thread));
    assert_int_equal(stats_of(&c).by_waiter, 2);
    crew_end(&c);
}

/* ----------------------------------------------------------- being told */

static void a_wait_returns_only_after_on_done_has(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job j = {.told_slowly = RSL_MS(20)};
    job_send(&c, &j);
    job_expect_ran(&j);
    crew_end(&c);
}

static void on_done_comes_once_for_each_accepted_submit_and_can_be_taken_back(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 2, RSL_FULL_REJECT);
    job j = {0};
    for (int i = 1; i <= 5; i++) {
        job_send(&c, &j);
        assert_int_equal(job_finish(&j), 0);
        assert_int_equal(atomic_load(&j.told), i);
    }
    assert_int_equal(rsl_workers_submit(c.workers, NULL, job_run, &j, &j.task), RSL_OK);
    assert_int_equal(job_finish(&j), 0);
    assert_int_equal(atomic_load(&j.told), 6); /* kept for the next submit */
    rsl_task_on_done(&j.task, NULL, NULL);
    assert_int_equal(rsl_workers_submit(c.workers, NULL, job_run, &j, &j.task), RSL_OK);
    assert_int_equal(job_finish(&j), 0);
    assert_int_equal(atomic_load(&j.told), 6);
    crew_end(&c);
}

static void a_refused_submit_is_not_told_and_leaves_the_node_free(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 1, RSL_FULL_REJECT);
    rsl_cancel fired;
    assert_int_equal(rsl_cancel_init(&fired, NULL), RSL_OK);
    rsl_cancel_fire(&fired);
    job busy = {0}, queued = {0}, j = {0}, fresh = {0};
    job_send(&c, &j);
    job_expect_ran(&j);
    job_block(&c, &busy);
    rsl_ctx late = {.deadline = 1}, cancelled = {.cancel = &fired};
    assert_int_equal(job_submit(&c, &j, &late), RSL_ETIMEOUT);
    assert_int_equal(job_submit(&c, &j, &cancelled), RSL_ECANCELED);
    job_send(&c, &queued);
    assert_int_equal(job_submit(&c, &j, NULL), RSL_EFULL);
    assert_int_equal(job_submit(&c, &fresh, NULL), RSL_EFULL);
    assert_int_equal(atomic_load(&j.told), 1);
    assert_int_equal(atomic_load(&j.runs), 1);
    assert_int_equal(rsl_task_wait(&fresh.task, NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_task_cancel(&j.task), RSL_EINVAL);
    rsl_workers_stats s = stats_of(&c);
    assert_true(s.refused == 4 && s.submitted == 3);
    job_let_go(&busy);
    job_expect_ran(&busy);
    job_expect_ran(&queued);
    job_send(&c, &fresh);
    job_expect_ran(&fresh);
    rsl_cancel_deinit(&fired);
    crew_end(&c);
}

/* ---------------------------------------------------------------- cancelling */

static void a_queued_task_that_is_cancelled_never_runs(void **unused)
{
    (void)unused;
    static const int32_t priorities[] = {0, 1, -1, INT32_MAX, INT32_MIN};
    crew c;
    crew_start_sized(&c, 1, 8, RSL_FULL_REJECT);
    job busy = {0}, jobs[5];
    memset(jobs, 0, sizeof(jobs));
    job_block(&c, &busy);
    for (int i = 0; i < 5; i++) {
        job_send_at(&c, &jobs[i], priorities[i]);
    }
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(rsl_task_cancel(&jobs[i].task), RSL_OK);
        assert_true(rsl_task_has_ended(&jobs[i].task));
        assert_int_equal(atomic_load(&jobs[i].told), 1);
        assert_true(pthread_equal(jobs[i].teller, pthread_self()));
        assert_int_equal(rsl_task_cancel(&jobs[i].task), RSL_EINVAL);
        assert_int_equal(stats_of(&c).queued, 4 - i);
        job_expect_never_ran(&jobs[i], RSL_ECANCELED);
    }
    assert_int_equal(stats_of(&c).canceled, 5);
    job_let_go(&busy);
    job_expect_ran(&busy);
    crew_end(&c);
}

static void a_cancelled_nodes_memory_is_free_at_once(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {0};
    job_block(&c, &busy);
    for (int i = 0; i < 50; i++) {
        job *j = calloc(1, sizeof(*j));
        job_send_at(&c, j, i % 3 - 1);
        assert_int_equal(rsl_task_cancel(&j->task), RSL_OK);
        memset(j, 0xA5, sizeof(*j));
        free(j);
    }
    job_let_go(&busy);
    job_expect_ran(&busy);
    crew_end(&c);
}

static void a_running_task_that_is_cancelled_is_told_by_its_ctx(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    job j = {.answer = 4, .heeds = true}, deaf = {.answer = 8};
    job_block(&c, &j);
    job_block(&c, &deaf);
    assert_int_equal(rsl_task_cancel(&j.task), RSL_OK);
    job_expect(&j, RSL_ECANCELED);
    assert_int_equal(rsl_task_cancel(&deaf.task), RSL_OK);
    assert_int_equal(rsl_task_cancel(&deaf.task), RSL_OK);
    assert_true(rsl_cancel_fired(deaf.ctx.cancel));
    job_expect_running(&deaf);
    job_let_go(&deaf);
    job_expect(&deaf, 8);
    assert_int_equal(rsl_task_cancel(&deaf.task), RSL_EINVAL);
    assert_int_equal(stats_of(&c).canceled, 0);
    crew_end(&c);
}

static void a_token_fired_for_one_task_is_not_fired_for_the_next(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job j = {.heeds = true};
    for (int i = 0; i < 3; i++) {
        atomic_store(&j.told, 0);
        atomic_store(&j.go, 0);
        job_block(&c, &j);
        assert_false(rsl_cancel_fired(j.ctx.cancel));
        assert_int_equal(rsl_task_cancel(&j.task), RSL_OK);
        job_expect(&j, RSL_ECANCELED);
    }
    crew_end(&c);
}

static void cancelling_one_task_leaves_its_parents_token_and_its_siblings_alone(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_ctx ctx = {.cancel = &cancel};
    job a = {.gated = true, .heeds = true}, b = {.gated = true, .heeds = true, .answer = 2};
    assert_int_equal(job_submit(&c, &a, &ctx), RSL_OK);
    assert_int_equal(job_submit(&c, &b, &ctx), RSL_OK);
    EVENTUALLY(atomic_load(&a.inside) + atomic_load(&b.inside) == 2);
    assert_int_equal(rsl_task_cancel(&a.task), RSL_OK);
    job_expect(&a, RSL_ECANCELED);
    assert_false(rsl_cancel_fired(&cancel));
    assert_false(rsl_cancel_fired(b.ctx.cancel));
    job_expect_running(&b);
    job_let_go(&b);
    job_expect_ran(&b);
    rsl_cancel_deinit(&cancel);
    crew_end(&c);
}

static void the_parents_token_reaches_a_running_task(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    rsl_cancel grandparent, parent;
    assert_int_equal(rsl_cancel_init(&grandparent, NULL), RSL_OK);
    assert_int_equal(rsl_cancel_init(&parent, &grandparent), RSL_OK);
    rsl_ctx ctx = {.cancel = &parent};
    job j = {.gated = true, .heeds = true};
    assert_int_equal(job_submit(&c, &j, &ctx), RSL_OK);
    EVENTUALLY(atomic_load(&j.inside) == 1);
    rsl_cancel_fire(&grandparent);
    job_expect(&j, RSL_ECANCELED);
    rsl_cancel_deinit(&parent);
    rsl_cancel_deinit(&grandparent);
    crew_end(&c);
}

static void a_queued_task_whose_parents_token_fired_never_runs(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_ctx ctx = {.cancel = &cancel};
    job busy = {0}, jobs[3];
    memset(jobs, 0, sizeof(jobs));
    job_block(&c, &busy);
    for (int i = 0; i < 3; i++) {
        ctx.priority = i - 1;
        assert_int_equal(job_submit(&c, &jobs[i], &ctx), RSL_OK);
    }
    rsl_cancel_fire(&cancel);
    int result = SCRIBBLED;
    assert_int_equal(rsl_task_wait(&jobs[0].task, NULL, &result), RSL_OK);
    assert_int_equal(result, RSL_ECANCELED);
    job_let_go(&busy);
    for (int i = 0; i < 3; i++) {
        job_expect_never_ran(&jobs[i], RSL_ECANCELED);
    }
    assert_int_equal(stats_of(&c).canceled, 3);
    rsl_cancel_deinit(&cancel);
    crew_end(&c);
}

static void the_parents_token_may_end_as_soon_as_the_wait_is_over(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    for (int i = 0; i < 200; i++) {
        rsl_cancel *cancel = malloc(sizeof(*cancel));
        assert_int_equal(rsl_cancel_init(cancel, NULL), RSL_OK);
        rsl_ctx ctx = {.cancel = cancel};
        job j = {0};
        assert_int_equal(job_submit(&c, &j, &ctx), RSL_OK);
        (void)job_finish(&j);
        rsl_cancel_deinit(cancel);
        free(cancel);
    }
    crew_end(&c);
}

static int wait_for_the_other_within_ctx(job *j, const rsl_ctx *ctx)
{
    rsl_ctx narrow = *ctx;
    return rsl_task_wait(&j->other->task, &narrow, NULL);
}

static void cancelling_a_task_wakes_what_waits_within_it(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    job busy = {0}, j = {.then = wait_for_the_other_within_ctx, .other = &busy};
    job_block(&c, &busy);
    job_send(&c, &j);
    EVENTUALLY(atomic_load(&j.inside) == 1);
    nap(RSL_MS(5));
    assert_int_equal(rsl_task_cancel(&j.task), RSL_OK);
    job_expect(&j, RSL_ECANCELED);
    job_let_go(&busy);
    job_expect_ran(&busy);
    crew_end(&c);
}

/* ----------------------------------------------------------------- deadlines */

static void a_task_whose_deadline_passed_in_the_queue_never_runs(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 8, RSL_FULL_REJECT);
    shared_clock time = {1000};
    rsl_clock clock = moved_by_hand(&time);
    job busy = {0}, late[3], in_time = {.answer = 1};
    memset(late, 0, sizeof(late));
    job_block(&c, &busy);
    for (int i = 0; i < 3; i++) {
        rsl_ctx ctx = {.clock = &clock, .deadline = 2000, .priority = i - 1};
        assert_int_equal(job_submit(&c, &late[i], &ctx), RSL_OK);
    }
    rsl_ctx ctx = {.clock = &clock, .deadline = 2001};
    assert_int_equal(job_submit(&c, &in_time, &ctx), RSL_OK);
    atomic_store(&time.now, 2000); /* a deadline is the first moment that is too late */
    int result = SCRIBBLED;
    assert_int_equal(rsl_task_wait(&late[0].task, NULL, &result), RSL_OK);
    assert_int_equal(result, RSL_ETIMEOUT);
    job_let_go(&busy);
    for (int i = 0; i < 3; i++) {
        job_expect_never_ran(&late[i], RSL_ETIMEOUT);
    }
    job_expect_ran(&in_time);
    assert_int_equal(stats_of(&c).expired, 3);
    EVENTUALLY(events_of(&c, RSL_WORKERS_EXPIRED) == 3);
    assert_int_equal(atomic_load(&c.watch.status[RSL_WORKERS_EXPIRED]), RSL_ETIMEOUT);
    crew_end(&c);
}

static void in_real_time_too_a_task_past_its_deadline_never_runs(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {0}, late = {0};
    job_block(&c, &busy);
    rsl_ctx ctx = rsl_within(RSL_MS(30));
    assert_int_equal(job_submit(&c, &late, &ctx), RSL_OK);
    nap(RSL_MS(35));
    job_let_go(&busy);
    job_expect_never_ran(&late, RSL_ETIMEOUT);
    crew_end(&c);
}

static void deadlines_without_a_clock_are_those_of_the_config(void **unused)
{
    (void)unused;
    crew c;
    shared_clock time = {1000};
    rsl_workers_config config = {.threads_max = 1, .clock = moved_by_hand(&time)};
    crew_start(&c, config);
    job busy = {0}, late = {0}, in_time = {0}, spent = {0};
    job_block(&c, &busy);
    rsl_ctx ctx = {.deadline = 2000}, longer = {.deadline = 3000}, past = {.deadline = 1000};
    assert_int_equal(job_submit(&c, &spent, &past), RSL_ETIMEOUT);
    assert_int_equal(job_submit(&c, &late, &ctx), RSL_OK);
    assert_int_equal(job_submit(&c, &in_time, &longer), RSL_OK);
    assert_int_equal(rsl_task_wait(&busy.task, &past, NULL), RSL_ETIMEOUT);
    atomic_store(&time.now, 2000);
    job_let_go(&busy);
    job_expect_never_ran(&late, RSL_ETIMEOUT);
    job_expect_ran(&in_time);
    crew_end(&c);
}

static void a_deadline_that_passes_while_it_runs_is_the_tasks_own_affair(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    shared_clock time = {1000};
    rsl_clock clock = moved_by_hand(&time);
    rsl_ctx ctx = {.clock = &clock, .deadline = 2000};
    job j = {.answer = 6, .gated = true};
    assert_int_equal(job_submit(&c, &j, &ctx), RSL_OK);
    EVENTUALLY(atomic_load(&j.inside) == 1);
    atomic_store(&time.now, 5000);
    assert_true(rsl_left(&j.ctx) == 0);
    job_let_go(&j);
    job_expect_ran(&j);
    assert_int_equal(stats_of(&c).expired, 0);
    crew_end(&c);
}

static void late_tasks_make_room_for_others(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 2, RSL_FULL_REJECT);
    shared_clock time = {1};
    rsl_clock clock = moved_by_hand(&time);
    rsl_ctx ctx = {.clock = &clock, .deadline = 2};
    job busy = {0}, late[2], next = {0};
    memset(late, 0, sizeof(late));
    job_block(&c, &busy);
    assert_int_equal(job_submit(&c, &late[0], &ctx), RSL_OK);
    assert_int_equal(job_submit(&c, &late[1], &ctx), RSL_OK);
    atomic_store(&time.now, 2);
    job_let_go(&busy);
    job_expect_never_ran(&late[0], RSL_ETIMEOUT);
    job_expect_never_ran(&late[1], RSL_ETIMEOUT);
    job_send(&c, &next);
    job_expect_ran(&next);
    crew_end(&c);
}

/* --------------------------------------------------------------------- order */

/* Submits them in turn behind a busy thread, and checks in which turn they ran. */
static void expect_order(const int32_t *priorities, const int *places, int count)
{
    crew c;
    crew_start_sized(&c, 1, 64, RSL_FULL_REJECT);
    job busy = {0}, jobs[64];
    _Atomic int turns = 0;
    memset(jobs, 0, sizeof(jobs));
    job_block(&c, &busy);
    for (int i = 0; i < count; i++) {
        jobs[i].turns = &turns;
        job_send_at(&c, &jobs[i], priorities[i]);
    }
    job_let_go(&busy);
    for (int i = 0; i < count; i++) {
        job_expect_ran(&jobs[i]);
        assert_int_equal(jobs[i].turn, places[i]);
    }
    crew_end(&c);
}

static void tasks_of_one_priority_run_first_come_first_served(void **unused)
{
    (void)unused;
    static const int32_t priorities[] = {0, 3, -3};
    for (size_t i = 0; i < RSL_COUNT(priorities); i++) {
        int32_t same[40];
        int places[40];
        for (int j = 0; j < 40; j++) {
            same[j] = priorities[i];
            places[j] = j;
        }
        expect_order(same, places, 40);
    }
}

static void higher_priorities_run_first(void **unused)
{
    (void)unused;
    static const int32_t priorities[] = {0, 5, -3, 0, 2, -1, INT32_MAX, 5, INT32_MIN, -1, 0, 2};
    static const int places[] = {5, 1, 10, 6, 3, 8, 0, 2, 11, 9, 7, 4};
    expect_order(priorities, places, 12);
}

static void order_survives_cancels_in_the_middle_and_many_rounds(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    for (int round = 0; round < 60; round++) {
        job busy = {0}, first[4], second[3];
        _Atomic int turns = 0;
        memset(first, 0, sizeof(first));
        memset(second, 0, sizeof(second));
        job_block(&c, &busy);
        for (int i = 0; i < 4; i++) {
            first[i].turns = &turns;
            job_send(&c, &first[i]);
        }
        int kept = round % 4;
        for (int i = 0; i < 4; i++) {
            assert_true(i == kept || rsl_task_cancel(&first[i].task) == RSL_OK);
        }
        for (int i = 0; i < 3; i++) {
            second[i].turns = &turns;
            job_send(&c, &second[i]);
        }
        job_let_go(&busy);
        job_expect_ran(&first[kept]);
        assert_int_equal(first[kept].turn, 0);
        for (int i = 0; i < 3; i++) {
            job_expect_ran(&second[i]);
            assert_int_equal(second[i].turn, i + 1);
        }
        job_expect_ran(&busy);
    }
    crew_end(&c);
}

/* ---------------------------------------------------------------- full queue */

/* The one thread is busy and the queue is full of jobs of these priorities. */
static void crew_fill(crew *c, job *busy, job *jobs, const int32_t *priorities, size_t count)
{
    job_block(c, busy);
    for (size_t i = 0; i < count; i++) {
        job_send_at(c, &jobs[i], priorities != NULL ? priorities[i] : 0);
    }
}

static void crew_expect_all(job *busy, job *jobs, size_t count)
{
    job_let_go(busy);
    job_expect_ran(busy);
    for (size_t i = 0; i < count; i++) {
        job_expect_ran(&jobs[i]);
    }
}

static void a_full_queue_rejects_whatever_its_size_and_the_priorities(void **unused)
{
    (void)unused;
    static const uint32_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9};
    static const int32_t mixed[] = {0, 1, -1, 0, 2, 0, -2, 0, 1};
    for (size_t i = 0; i < 2 * RSL_COUNT(sizes); i++) {
        uint32_t size = sizes[i / 2];
        crew c;
        crew_start_sized(&c, 1, size, i % 4 < 2 ? RSL_FULL_REJECT : RSL_FULL_DEFAULT);
        job busy = {0}, jobs[9], more = {0};
        memset(jobs, 0, sizeof(jobs));
        crew_fill(&c, &busy, jobs, i % 2 == 0 ? NULL : mixed, size);
        for (int32_t priority = -1; priority <= 1; priority++) {
            rsl_ctx ctx = with_priority(priority);
            assert_int_equal(job_submit(&c, &more, &ctx), RSL_EFULL);
        }
        assert_int_equal(stats_of(&c).queued, size);
        assert_int_equal(stats_of(&c).refused, 3);
        EVENTUALLY(events_of(&c, RSL_WORKERS_REFUSED) == 3);
        assert_int_equal(atomic_load(&c.watch.status[RSL_WORKERS_REFUSED]), RSL_EFULL);
        crew_expect_all(&busy, jobs, size);
        assert_int_equal(atomic_load(&more.told), 0);
        crew_end(&c);
    }
}

static void a_cancelled_task_leaves_room_for_one(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 3, RSL_FULL_REJECT);
    job busy = {0}, jobs[3], more = {0};
    memset(jobs, 0, sizeof(jobs));
    crew_fill(&c, &busy, jobs, NULL, 3);
    for (int i = 0; i < 50; i++) {
        job *j = &jobs[i % 3];
        assert_int_equal(job_submit(&c, &more, NULL), RSL_EFULL);
        assert_int_equal(rsl_task_cancel(&j->task), RSL_OK);
        job_send_at(&c, j, i % 5 == 0 ? 1 : 0);
    }
    for (int i = 0; i < 3; i++) {
        atomic_store(&jobs[i].told, 0);
    }
    crew_expect_all(&busy, jobs, 3);
    crew_end(&c);
}

static void when_full_it_can_wait_for_room(void **unused)
{
    (void)unused;
    for (int i = 0; i < 4; i++) {
        crew c;
        crew_start_sized(&c, 1, 2, RSL_FULL_WAIT);
        job busy = {0}, jobs[2], more = {.answer = 3};
        memset(jobs, 0, sizeof(jobs));
        crew_fill(&c, &busy, jobs, NULL, 2);
        rsl_ctx ctx = patiently(PATIENCE);
        ctx.priority = i - 1;
        visitor v;
        visitor_come(&v, visitor_submits, &c, &more, i == 3 ? NULL : &ctx);
        visitor_expect_waiting(&v);
        assert_int_equal(stats_of(&c).queued, 2);
        job_let_go(&busy);
        visitor_expect(&v, RSL_OK);
        assert_true(v.took < RSL_SEC(10));
        job_expect_ran(&more);
        crew_expect_all(&busy, jobs, 2);
        crew_end(&c);
    }
}

static void waiting_for_room_ends_with_the_deadline(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 2, RSL_FULL_WAIT);
    job busy = {0}, jobs[2], more = {0};
    memset(jobs, 0, sizeof(jobs));
    crew_fill(&c, &busy, jobs, NULL, 2);
    rsl_ctx soon = rsl_within(RSL_MS(5)), spent = {.deadline = 1};
    assert_int_equal(job_submit(&c, &more, &spent), RSL_ETIMEOUT);
    assert_int_equal(job_submit(&c, &more, &soon), RSL_ETIMEOUT);
    assert_true(rsl_left(&soon) == 0);
    assert_true(stats_of(&c).refused == 2 && stats_of(&c).queued == 2);
    crew_expect_all(&busy, jobs, 2);
    assert_int_equal(atomic_load(&more.runs) + atomic_load(&more.told), 0);
    job_send(&c, &more);
    job_expect_ran(&more);
    crew_end(&c);
}

static void waiting_for_room_can_be_cancelled(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 1, RSL_FULL_WAIT);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    job busy = {0}, queued = {0}, more = {0};
    crew_fill(&c, &busy, &queued, NULL, 1);
    rsl_ctx ctx = {.cancel = &cancel};
    visitor v;
    visitor_come(&v, visitor_submits, &c, &more, &ctx);
    visitor_expect_waiting(&v);
    rsl_cancel_fire(&cancel);
    visitor_expect(&v, RSL_ECANCELED);
    assert_true(v.took < RSL_SEC(10));
    crew_expect_all(&busy, &queued, 1);
    assert_int_equal(atomic_load(&more.told), 0);
    rsl_cancel_deinit(&cancel);
    crew_end(&c);
}

static void room_that_a_cancel_or_a_waiter_makes_is_given_to_who_waits(void **unused)
{
    (void)unused;
    for (int i = 0; i < 2; i++) {
        crew c;
        crew_start_sized(&c, 1, 2, RSL_FULL_WAIT);
        job busy = {0}, jobs[2], more = {.answer = 3};
        memset(jobs, 0, sizeof(jobs));
        crew_fill(&c, &busy, jobs, NULL, 2);
        visitor v;
        visitor_come(&v, visitor_submits, &c, &more, NULL);
        visitor_expect_waiting(&v);
        if (i == 0) {
            assert_int_equal(rsl_task_cancel(&jobs[1].task), RSL_OK);
        } else {
            assert_int_equal(rsl_task_wait(&jobs[1].task, NULL, NULL), RSL_OK);
        }
        visitor_expect(&v, RSL_OK);
        assert_int_equal(stats_of(&c).queued, 2);
        crew_expect_all(&busy, jobs, 1);
        job_expect_ran(&more);
        crew_end(&c);
    }
}

static void many_who_wait_for_room_all_get_it(void **unused)
{
    (void)unused;
    enum { MANY = 8 };
    crew c;
    crew_start_sized(&c, 2, 1, RSL_FULL_WAIT);
    job busy[2], jobs[MANY], queued = {0};
    visitor v[MANY];
    memset(busy, 0, sizeof(busy));
    memset(jobs, 0, sizeof(jobs));
    jobs_block(&c, busy, 2);
    job_send(&c, &queued);
    for (int i = 0; i < MANY; i++) {
        jobs[i].answer = i;
        visitor_come(&v[i], visitor_submits, &c, &jobs[i], NULL);
    }
    visitor_expect_waiting(&v[0]);
    job_let_go(&busy[0]);
    for (int i = 0; i < MANY; i++) {
        visitor_expect(&v[i], RSL_OK);
        job_expect_ran(&jobs[i]);
    }
    job_let_go(&busy[1]);
    crew_end(&c);
}

static void who_waits_for_room_is_told_when_no_more_is_taken(void **unused)
{
    (void)unused;
    int (*const ends[])(visitor *v) = {visitor_drains, visitor_stops, visitor_closes};
    for (int i = 0; i < 3; i++) {
        crew c;
        crew_start_sized(&c, 1, 1, RSL_FULL_WAIT);
        job busy = {0}, queued = {0}, more = {0};
        crew_fill(&c, &busy, &queued, NULL, 1);
        visitor v, end;
        visitor_come(&v, visitor_submits, &c, &more, NULL);
        visitor_expect_waiting(&v);
        rsl_ctx soon = rsl_within(RSL_MS(5));
        visitor_come(&end, ends[i], &c, NULL, &soon);
        visitor_expect(&end, RSL_ETIMEOUT);
        visitor_expect(&v, RSL_ECLOSED);
        assert_int_equal(atomic_load(&more.told), 0);
        job_let_go(&busy);
        job_expect_ran(&busy);
        (void)job_finish(&queued);
        crew_end(&c);
    }
}

static void when_full_the_caller_can_run_it(void **unused)
{
    (void)unused;
    static const int32_t priorities[] = {0, 4, -4};
    crew c;
    crew_start_sized(&c, 1, 2, RSL_FULL_CALLER_RUNS);
    job busy = {0}, jobs[2];
    memset(jobs, 0, sizeof(jobs));
    crew_fill(&c, &busy, jobs, NULL, 2);
    for (size_t i = 0; i < RSL_COUNT(priorities); i++) {
        job mine = {.answer = -4};
        job_send_at(&c, &mine, priorities[i]);
        assert_true(rsl_task_has_ended(&mine.task));
        assert_true(pthread_equal(mine.thread, pthread_self()));
        assert_true(pthread_equal(mine.teller, pthread_self()));
        assert_true(mine.ctx.priority == priorities[i] && mine.ctx.cancel != NULL);
        job_expect_ran(&mine);
    }
    rsl_workers_stats s = stats_of(&c);
    assert_true(s.by_caller == 3 && s.submitted == 6 && s.queued == 2 && s.refused == 0);
    crew_expect_all(&busy, jobs, 2);
    crew_end(&c);
}

static void a_task_that_its_caller_runs_can_be_cancelled(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 1, RSL_FULL_CALLER_RUNS);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    rsl_ctx ctx = {.cancel = &cancel}, spent = {.deadline = 1};
    job busy = {0}, queued = {0}, late = {0};
    crew_fill(&c, &busy, &queued, NULL, 1);
    assert_int_equal(job_submit(&c, &late, &spent), RSL_ETIMEOUT);
    for (int i = 0; i < 2; i++) {
        job mine = {.gated = true, .heeds = true};
        visitor v;
        visitor_come(&v, visitor_submits, &c, &mine, i == 0 ? NULL : &ctx);
        EVENTUALLY(atomic_load(&mine.inside) == 1);
        if (i == 0) {
            assert_int_equal(rsl_task_cancel(&mine.task), RSL_OK);
        } else {
            rsl_cancel_fire(&cancel);
        }
        visitor_expect(&v, RSL_OK);
        job_expect(&mine, RSL_ECANCELED);
    }
    assert_int_equal(job_submit(&c, &late, &ctx), RSL_ECANCELED);
    crew_expect_all(&busy, &queued, 1);
    rsl_cancel_deinit(&cancel);
    crew_end(&c);
}

static void when_full_the_oldest_can_be_dropped(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 3, RSL_FULL_DROP_OLDEST);
    job busy = {0}, jobs[6];
    _Atomic int turns = 0;
    memset(jobs, 0, sizeof(jobs));
    job_block(&c, &busy);
    for (int i = 0; i < 6; i++) {
        jobs[i].turns = &turns;
        job_send(&c, &jobs[i]);
        assert_int_equal(stats_of(&c).queued, i < 3 ? i + 1 : 3);
        for (int j = 0; j <= i; j++) {
            assert_int_equal(rsl_task_has_ended(&jobs[j].task), j + 3 <= i);
        }
    }
    for (int i = 0; i < 3; i++) {
        assert_true(pthread_equal(jobs[i].teller, pthread_self()));
        job_expect_never_ran(&jobs[i], RSL_EFULL);
    }
    job_let_go(&busy);
    for (int i = 3; i < 6; i++) {
        job_expect_ran(&jobs[i]);
        assert_int_equal(jobs[i].turn, i - 3);
    }
    assert_int_equal(stats_of(&c).dropped, 3);
    EVENTUALLY(events_of(&c, RSL_WORKERS_DROPPED) == 3);
    assert_int_equal(atomic_load(&c.watch.status[RSL_WORKERS_DROPPED]), RSL_EFULL);
    crew_end(&c);
}

/* Which of the queued jobs (or -1: the newcomer) has to give way. */
static void expect_dropped(const int32_t *priorities, int count, int32_t newcomer, int wanted)
{
    crew c;
    crew_start_sized(&c, 1, (uint32_t)count, RSL_FULL_DROP_OLDEST);
    job busy = {0}, jobs[8], more = {.answer = 5};
    memset(jobs, 0, sizeof(jobs));
    crew_fill(&c, &busy, jobs, priorities, (size_t)count);
    rsl_ctx ctx = with_priority(newcomer);
    assert_int_equal(job_submit(&c, &more, &ctx), wanted < 0 ? RSL_EFULL : RSL_OK);
    for (int i = 0; i < count; i++) {
        assert_int_equal(rsl_task_has_ended(&jobs[i].task), i == wanted);
    }
    job_let_go(&busy);
    for (int i = 0; i < count; i++) {
        if (i == wanted) {
            job_expect_never_ran(&jobs[i], RSL_EFULL);
        } else {
            job_expect_ran(&jobs[i]);
        }
    }
    assert_int_equal(stats_of(&c).dropped, wanted >= 0);
    assert_int_equal(stats_of(&c).refused, wanted < 0);
    if (wanted >= 0) {
        job_expect_ran(&more);
    }
    crew_end(&c);
}

static void the_oldest_of_the_lowest_priority_is_dropped(void **unused)
{
    (void)unused;
    expect_dropped((const int32_t[]){0, 1, 0, 1}, 4, 0, 0);
    expect_dropped((const int32_t[]){1, 1, 0, 0}, 4, 0, 2);
    expect_dropped((const int32_t[]){0, -1, -1, 0}, 4, 0, 1);
    expect_dropped((const int32_t[]){0, -1, -2, -2}, 4, 5, 2);
    expect_dropped((const int32_t[]){0, -1, -2, -2}, 4, -2, 2);
    expect_dropped((const int32_t[]){5, 3, 3, 9}, 4, 4, 1);
    expect_dropped((const int32_t[]){2, 2, 2}, 3, 2, 0);
    expect_dropped((const int32_t[]){INT32_MIN, 0}, 2, INT32_MAX, 0);
}

static void nothing_of_a_higher_priority_is_dropped(void **unused)
{
    (void)unused;
    expect_dropped((const int32_t[]){0, 0, 0}, 3, -1, -1);
    expect_dropped((const int32_t[]){1, 2, 3}, 3, 0, -1);
    expect_dropped((const int32_t[]){-1, 0, 1}, 3, -2, -1);
    expect_dropped((const int32_t[]){INT32_MAX}, 1, INT32_MIN, -1);
}

static void a_queue_of_one_drops_all_but_the_newest(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 1, RSL_FULL_DROP_OLDEST);
    job busy = {0}, jobs[30];
    memset(jobs, 0, sizeof(jobs));
    job_block(&c, &busy);
    for (int i = 0; i < 30; i++) {
        job_send(&c, &jobs[i]);
    }
    for (int i = 0; i < 29; i++) {
        job_expect_never_ran(&jobs[i], RSL_EFULL);
    }
    crew_expect_all(&busy, &jobs[29], 1);
    crew_end(&c);
}

/* ------------------------------------------------------- against a model */

enum { MODEL_JOBS = 40, MODEL_QUEUE = 20 };

/* What ought to be queued, in the order in which it ought to run; by one thread, so that every
   answer is known beforehand. */
typedef struct model {
    crew          crew;
    uint32_t      queue_max;
    rsl_when_full full;
    seeded_random random;
    job           busy;
    job           jobs[MODEL_JOBS];
    int           told[MODEL_JOBS];  /* how often each ought to have been told */
    int           runs[MODEL_JOBS];
    int           queue[MODEL_QUEUE];
    int32_t       priority[MODEL_JOBS];
    uint32_t      count;
    _Atomic int   turns;
} model;

static void model_remove(model *m, int which)
{
    uint32_t place = 0;
    while (m->queue[place] != which) {
        place++;
    }
    m->count--;
    memmove(&m->queue[place], &m->queue[place + 1], (m->count - place) * sizeof(m->queue[0]));
}

static void model_insert(model *m, int which)
{
    uint32_t place = m->count;
    while (place > 0 && m->priority[m->queue[place - 1]] < m->priority[which]) {
        m->queue[place] = m->queue[place - 1];
        place--;
    }
    m->queue[place] = which;
    m->count++;
}

static void model_expect_ended(model *m, int which, int result)
{
    int found = SCRIBBLED;
    assert_true(rsl_task_has_ended(&m->jobs[which].task));
    assert_int_equal(rsl_task_wait(&m->jobs[which].task, NULL, &found), RSL_OK);
    assert_int_equal(found, result);
    m->told[which]++;
    m->runs[which] += result == which;
    assert_int_equal(atomic_load(&m->jobs[which].told), m->told[which]);
    assert_int_equal(atomic_load(&m->jobs[which].runs), m->runs[which]);
}

/* The oldest of the lowest priority gives way, unless it is above the newcomer's. */
static bool model_drop(model *m, int newcomer)
{
    int32_t lowest = m->priority[m->queue[m->count - 1]];
    uint32_t place = m->count - 1;
    if (lowest > m->priority[newcomer]) {
        return false;
    }
    while (place > 0 && m->priority[m->queue[place - 1]] == lowest) {
        place--;
    }
    int dropped = m->queue[place];
    model_remove(m, dropped);
    model_expect_ended(m, dropped, RSL_EFULL);
    return true;
}

static void model_submit(model *m)
{
    int which = 0;
    for (uint32_t i = 0; i < m->count; i++) { /* the first that is not queued */
        if (m->queue[i] == which) {
            which++;
            i = UINT32_MAX;
        }
    }
    m->priority[which] = seeded_random_below(&m->random, 3) == 0
                             ? (int32_t)seeded_random_below(&m->random, 5) - 2 : 0;
    rsl_ctx ctx = with_priority(m->priority[which]);
    int rc = job_submit(&m->crew, &m->jobs[which], &ctx);
    if (m->count < m->queue_max) {
        assert_int_equal(rc, RSL_OK);
        model_insert(m, which);
    } else if (m->full == RSL_FULL_CALLER_RUNS) {
        assert_int_equal(rc, RSL_OK);
        model_expect_ended(m, which, which);
    } else if (m->full == RSL_FULL_DROP_OLDEST && model_drop(m, which)) {
        assert_int_equal(rc, RSL_OK);
        model_insert(m, which);
    } else {
        assert_int_equal(rc, RSL_EFULL);
    }
}

static void model_take_out(model *m, bool cancels)
{
    if (m->count == 0) {
        return;
    }
    int which = m->queue[seeded_random_below(&m->random, m->count)];
    if (cancels) {
        assert_int_equal(rsl_task_cancel(&m->jobs[which].task), RSL_OK);
    } else {
        assert_int_equal(rsl_task_wait(&m->jobs[which].task, NULL, NULL), RSL_OK);
    }
    model_remove(m, which);
    model_expect_ended(m, which, cancels ? RSL_ECANCELED : which);
}

static void model_run_all(model *m)
{
    int first = atomic_load(&m->turns);
    job_let_go(&m->busy);
    for (uint32_t i = 0; i < m->count; i++) {
        (void)job_finish(&m->jobs[m->queue[i]]);
        assert_int_equal(m->jobs[m->queue[i]].turn, first + (int)i);
        model_expect_ended(m, m->queue[i], m->queue[i]);
    }
    m->count = 0;
    (void)job_finish(&m->busy);
    atomic_store(&m->busy.go, 0);
    job_block(&m->crew, &m->busy);
}

static void model_history(rsl_when_full full, uint32_t queue_max, int steps)
{
    static model m;
    memset(&m, 0, sizeof(m));
    m.full = full;
    m.queue_max = queue_max;
    m.random.state = queue_max * 16 + (uint64_t)full;
    crew_start_sized(&m.crew, 1, queue_max, full);
    for (int i = 0; i < MODEL_JOBS; i++) {
        m.jobs[i].answer = i;
        m.jobs[i].turns = &m.turns;
    }
    job_block(&m.crew, &m.busy);
    for (int i = 0; i < steps; i++) {
        uint32_t chance = seeded_random_below(&m.random, 100);
        if (chance < 58) {
            model_submit(&m);
        } else if (chance < 98) {
            model_take_out(&m, chance < 80);
        } else {
            model_run_all(&m);
        }
        assert_int_equal(stats_of(&m.crew).queued, m.count);
        assert_int_equal(rsl_workers_unfinished(m.crew.workers, NULL, 0), m.count + 1);
    }
    model_run_all(&m);
    job_let_go(&m.busy);
    crew_end(&m.crew);
}

static void random_histories_go_as_a_model_says(void **unused)
{
    (void)unused;
    static const rsl_when_full kinds[] = {RSL_FULL_REJECT, RSL_FULL_CALLER_RUNS,
                                          RSL_FULL_DROP_OLDEST};
    static const uint32_t sizes[] = {1, 2, 3, 4, 6, 8, 16};
    for (size_t i = 0; i < RSL_COUNT(kinds) * RSL_COUNT(sizes); i++) {
        model_history(kinds[i / RSL_COUNT(sizes)], sizes[i % RSL_COUNT(sizes)], 2500);
    }
}

/* ---------------------------------------------------------- waits on oneself */

static int wait_for_oneself(job *j, const rsl_ctx *ctx)
{
    rsl_ctx limit = patiently(PATIENCE);
    int rc = rsl_task_wait(&j->task, NULL, NULL);
    if (rc == RSL_EINVAL) {
        rc = rsl_task_wait(&j->task, ctx, NULL);
    }
    return rc == RSL_EINVAL ? rsl_task_wait(&j->task, &limit, NULL) : rc;
}

static void a_task_that_waits_for_itself_is_refused(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    job j = {.then = wait_for_oneself};
    job_send(&c, &j);
    job_expect(&j, RSL_EINVAL);
    crew_end(&c);
}

static void a_task_that_a_waiter_runs_cannot_wait_for_itself_either(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {0}, j = {.then = wait_for_oneself};
    job_block(&c, &busy);
    job_send(&c, &j);
    int result = SCRIBBLED;
    assert_int_equal(rsl_task_wait(&j.task, NULL, &result), RSL_OK);
    assert_int_equal(result, RSL_EINVAL);
    job inner = {.then = wait_for_the_other};
    job outer = {.then = send_the_other_and_wait, .other = &inner};
    inner.other = &outer; /* which this very thread is running, further out */
    job_send(&c, &outer);
    assert_int_equal(rsl_task_wait(&outer.task, NULL, &result), RSL_OK);
    assert_int_equal(result, RSL_EINVAL);
    job_let_go(&busy);
    job_expect_ran(&busy);
    crew_end(&c);
}

/* A ring of tasks that each wait for the next: one of them is refused, which ends the others. */
static void expect_a_ring_to_break(uint32_t count, bool limited)
{
    crew c;
    crew_start_sized(&c, count, 8, RSL_FULL_REJECT);
    job jobs[4];
    memset(jobs, 0, sizeof(jobs));
    for (uint32_t i = 0; i < count; i++) {
        jobs[i].then = wait_for_the_other;
        jobs[i].other = &jobs[(i + 1) % count];
        jobs[i].limited = limited;
        job_block(&c, &jobs[i]);
    }
    rsl_time began = rsl_now();
    for (uint32_t i = 0; i < count; i++) {
        job_let_go(&jobs[i]);
        EVENTUALLY(atomic_load(&jobs[i].answered) == 1);
        nap(RSL_MS(2));
    }
    for (uint32_t i = 0; i < count; i++) {
        job_expect(&jobs[i], RSL_EINVAL); /* passed on as the result of each */
    }
    assert_true(rsl_now() - began < PATIENCE / 2);
    crew_end(&c);
}

static void tasks_that_wait_for_each_other_are_refused(void **unused)
{
    (void)unused;
    expect_a_ring_to_break(2, true);
    expect_a_ring_to_break(3, true);
    expect_a_ring_to_break(4, true);
}

static void without_limits_too_tasks_that_wait_for_each_other_are_refused(void **unused)
{
    (void)unused;
    expect_a_ring_to_break(2, false);
    expect_a_ring_to_break(3, false);
}

static void a_ring_through_a_task_that_another_task_assists_is_refused(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    job there = {.then = wait_for_the_other, .limited = true};
    job inner = {.then = wait_for_the_other, .other = &there, .limited = true};
    job outer = {.then = send_the_other_and_wait, .other = &inner};
    there.other = &inner;
    job_block(&c, &there);
    rsl_time began = rsl_now();
    job_send(&c, &outer);
    EVENTUALLY(atomic_load(&inner.answered) == 1);
    nap(RSL_MS(2));
    job_let_go(&there);
    job_expect(&outer, RSL_EINVAL);
    job_expect(&inner, RSL_EINVAL);
    job_expect(&there, RSL_EINVAL);
    assert_true(rsl_now() - began < PATIENCE / 2);
    crew_end(&c);
}

/* What a job of a full house gets when it waits for another one, which is queued. */
static int send_the_other_and_wait_as_told(job *j, const rsl_ctx *ctx)
{
    int rc = job_submit(j->crew, j->other, NULL);
    return rc == RSL_OK ? rsl_task_wait(&j->other->task, ctx, NULL) : rc;
}

static void the_only_thread_cannot_wait_with_a_limit_for_what_is_queued(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job child = {.answer = 1};
    job j = {.then = send_the_other_and_wait, .other = &child, .limited = true};
    rsl_time began = rsl_now();
    job_send(&c, &j);
    job_expect(&j, RSL_EINVAL);
    assert_true(rsl_now() - began < PATIENCE / 2);
    job_expect_ran(&child);
    crew_end(&c);
}

static void nor_with_the_ctx_that_it_was_given(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    rsl_ctx limit = patiently(PATIENCE);
    for (int i = 0; i < 2; i++) {
        job child = {.answer = 1}, j = {.then = send_the_other_and_wait_as_told, .other = &child};
        assert_int_equal(job_submit(&c, &j, i == 0 ? NULL : &limit), RSL_OK);
        job_expect(&j, RSL_EINVAL);
        job_expect_ran(&child);
    }
    crew_end(&c);
}

static void the_last_thread_that_would_wait_is_refused(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 8, RSL_FULL_REJECT);
    job children[2], jobs[2];
    memset(children, 0, sizeof(children));
    memset(jobs, 0, sizeof(jobs));
    for (int i = 0; i < 2; i++) {
        children[i].answer = 10 + i;
        jobs[i].then = send_the_other_and_wait;
        jobs[i].other = &children[i];
        jobs[i].limited = true;
    }
    jobs_block(&c, jobs, 2);
    rsl_time began = rsl_now();
    job_let_go(&jobs[0]);
    EVENTUALLY(atomic_load(&jobs[0].answered) == 1);
    nap(RSL_MS(5));
    job_expect_running(&jobs[0]); /* the other thread may yet come and help */
    job_let_go(&jobs[1]);
    int first = job_finish(&jobs[0]), second = job_finish(&jobs[1]);
    assert_true((first == RSL_EINVAL) + (second == RSL_EINVAL) == 1);
    assert_true(first == 10 || second == 11);
    assert_true(rsl_now() - began < PATIENCE / 2);
    job_expect_ran(&children[0]);
    job_expect_ran(&children[1]);
    crew_end(&c);
}

static void a_wait_for_one_that_waits_for_what_is_queued_is_refused(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 8, RSL_FULL_REJECT);
    job child = {.answer = 10};
    job first = {.then = send_the_other_and_wait, .other = &child, .limited = true};
    job second = {.then = wait_for_the_other, .other = &first, .limited = true};
    job_block(&c, &first);
    job_block(&c, &second);
    rsl_time began = rsl_now();
    job_let_go(&first);
    EVENTUALLY(atomic_load(&first.answered) == 1);
    nap(RSL_MS(5));
    job_let_go(&second);
    job_expect(&second, RSL_EINVAL);
    int result = job_finish(&first);
    assert_true(result == 10 || result == RSL_EINVAL); /* whichever came last is refused */
    assert_true(rsl_now() - began < PATIENCE / 2);
    job_expect_ran(&child);
    crew_end(&c);
}

static void a_wait_is_no_deadlock_while_another_thread_can_be_started(void **unused)
{
    (void)unused;
    crew c;
    rsl_workers_config config = {.threads_min = 1, .threads_max = 3};
    crew_start(&c, config);
    job third = {.answer = 33};
    job second = {.then = send_the_other_and_wait, .other = &third, .limited = true};
    job first = {.then = send_the_other_and_wait, .other = &second, .limited = true};
    job_send(&c, &first);
    job_expect(&first, 33);
    assert_int_equal(stats_of(&c).by_waiter, 0);
    crew_end(&c);
}

/* While others have threads started, too. */
static void a_wait_is_never_refused_for_want_of_a_thread_that_is_just_starting(void **unused)
{
    (void)unused;
    for (int i = 0; i < 60; i++) {
        crew c;
        rsl_workers_config config = {.threads_min = 1, .threads_max = 3};
        crew_start(&c, config);
        job noise = {0}, child = {.answer = 2};
        job j = {.then = send_the_other_and_wait, .other = &child, .limited = true};
        job_send(&c, &j);
        job_send(&c, &noise);
        job_expect(&j, 2);
        job_expect_ran(&noise);
        crew_end(&c);
    }
}

static void a_wait_is_no_deadlock_while_others_only_work(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 8, RSL_FULL_REJECT);
    job busy = {0}, child = {.answer = 4};
    job j = {.then = send_the_other_and_wait, .other = &child, .limited = true};
    job_block(&c, &busy);
    job_send(&c, &j);
    EVENTUALLY(atomic_load(&j.answered) == 1);
    nap(RSL_MS(5));
    job_expect_running(&j);
    job_let_go(&busy);
    job_expect(&j, 4);
    crew_end(&c);
}

static void a_task_may_wait_with_a_limit_for_one_of_other_workers(void **unused)
{
    (void)unused;
    crew c, others;
    crew_start_sized(&c, 1, 8, RSL_FULL_REJECT);
    crew_start_sized(&others, 1, 8, RSL_FULL_REJECT);
    job there = {.answer = 12};
    job here = {.then = wait_for_the_other, .other = &there, .limited = true};
    job_block(&others, &there);
    job_send(&c, &here);
    EVENTUALLY(atomic_load(&here.answered) == 1);
    nap(RSL_MS(5));
    job_expect_running(&here);
    job_let_go(&there);
    job_expect(&here, 12);
    crew_end(&others);
    crew_end(&c);
}

static void a_refused_wait_leaves_its_task_to_be_waited_for(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    for (int i = 0; i < 20; i++) {
        job child = {.answer = 1};
        job j = {.then = send_the_other_and_wait, .other = &child, .limited = true};
        job_send(&c, &j);
        job_expect(&j, RSL_EINVAL);
        int result = SCRIBBLED;
        assert_int_equal(rsl_task_wait(&child.task, NULL, &result), RSL_OK);
        assert_int_equal(result, 1);
    }
    crew_end(&c);
}

static int fill_and_send_one_more(job *j, const rsl_ctx *ctx)
{
    (void)ctx;
    rsl_ctx limit = patiently(PATIENCE);
    int rc = RSL_OK;
    for (job *next = j->other; next != NULL && rc == RSL_OK; next = next->other) {
        atomic_store(&j->answered, atomic_load(&j->answered) + 1);
        rc = job_submit(j->crew, next, j->limited ? &limit : NULL);
    }
    return rc;
}

static void the_only_thread_cannot_wait_for_room_in_its_own_queue(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 1, RSL_FULL_WAIT);
    for (int i = 0; i < 2; i++) {
        job b = {0}, a = {.other = &b};
        job j = {.then = fill_and_send_one_more, .other = &a, .limited = i == 0};
        job_send(&c, &j);
        job_expect(&j, RSL_EFULL);
        job_expect_ran(&a);
        assert_int_equal(atomic_load(&b.runs) + atomic_load(&b.told), 0);
    }
    crew_end(&c);
}

static void a_task_waits_for_room_while_another_thread_can_make_some(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 1, RSL_FULL_WAIT);
    job busy = {0}, b = {0}, a = {.other = &b};
    job j = {.then = fill_and_send_one_more, .other = &a};
    job_block(&c, &busy);
    job_send(&c, &j);
    EVENTUALLY(atomic_load(&j.answered) == 2);
    nap(RSL_MS(5));
    job_expect_running(&j);
    job_let_go(&busy);
    job_expect(&j, RSL_OK);
    job_expect_ran(&a);
    job_expect_ran(&b);
    crew_end(&c);
}

static void the_last_thread_that_would_wait_for_room_is_refused(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 1, RSL_FULL_WAIT);
    job ends[2], jobs[2], queued = {0};
    memset(ends, 0, sizeof(ends));
    memset(jobs, 0, sizeof(jobs));
    for (int i = 0; i < 2; i++) {
        jobs[i].then = fill_and_send_one_more;
        jobs[i].other = &ends[i];
    }
    jobs_block(&c, jobs, 2);
    job_send(&c, &queued);
    rsl_time began = rsl_now();
    job_let_go(&jobs[0]);
    EVENTUALLY(atomic_load(&jobs[0].answered) == 1);
    nap(RSL_MS(5));
    job_let_go(&jobs[1]);
    int first = job_finish(&jobs[0]), second = job_finish(&jobs[1]);
    assert_true((first == RSL_EFULL) + (second == RSL_EFULL) == 1);
    assert_true(first == RSL_OK || second == RSL_OK);
    assert_true(rsl_now() - began < PATIENCE / 2);
    job_expect_ran(&queued);
    job_expect_ran(first == RSL_OK ? &ends[0] : &ends[1]);
    crew_end(&c);
}

static void waiting_for_room_beside_one_that_waits_for_what_is_queued_is_refused(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 1, RSL_FULL_WAIT);
    job child = {.answer = 1}, more = {0};
    job first = {.then = send_the_other_and_wait, .other = &child, .limited = true};
    job second = {.then = fill_and_send_one_more, .other = &more};
    job_block(&c, &first);
    job_block(&c, &second);
    rsl_time began = rsl_now();
    job_let_go(&first);
    EVENTUALLY(atomic_load(&first.answered) == 1);
    nap(RSL_MS(5));
    job_let_go(&second);
    int one = job_finish(&first), two = job_finish(&second);
    assert_true((one == RSL_EINVAL) + (two == RSL_EFULL) == 1);
    assert_true(rsl_now() - began < PATIENCE / 2);
    job_expect_ran(&child);
    crew_end(&c);
}

/* ----------------------------------------------------- drain, stop, restart */

static void draining_takes_no_more_and_waits_for_all(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {0}, jobs[3], late = {0};
    memset(jobs, 0, sizeof(jobs));
    crew_fill(&c, &busy, jobs, (const int32_t[]){0, 1, -1}, 3);
    visitor v;
    visitor_come(&v, visitor_drains, &c, NULL, NULL);
    visitor_expect_waiting(&v);
    assert_int_equal(job_submit(&c, &late, NULL), RSL_ECLOSED);
    rsl_ctx urgent = with_priority(9);
    assert_int_equal(job_submit(&c, &late, &urgent), RSL_ECLOSED);
    job_let_go(&busy);
    visitor_expect(&v, RSL_OK);
    assert_true(rsl_task_has_ended(&busy.task));
    for (int i = 0; i < 3; i++) {
        assert_true(rsl_task_has_ended(&jobs[i].task));
        job_expect_ran(&jobs[i]);
    }
    assert_int_equal(job_submit(&c, &late, NULL), RSL_ECLOSED);
    assert_int_equal(stats_of(&c).threads, 1);
    assert_int_equal(rsl_workers_restart(c.workers), RSL_OK);
    job_send(&c, &late);
    job_expect_ran(&late);
    crew_end(&c);
}

static void a_drain_that_gave_up_lets_the_tasks_go_on(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    rsl_cancel fired;
    assert_int_equal(rsl_cancel_init(&fired, NULL), RSL_OK);
    rsl_cancel_fire(&fired);
    job busy = {0}, queued = {0};
    crew_fill(&c, &busy, &queued, NULL, 1);
    rsl_ctx soon = rsl_within(RSL_MS(5)), cancelled = {.cancel = &fired};
    assert_int_equal(rsl_workers_drain(c.workers, &soon), RSL_ETIMEOUT);
    assert_int_equal(rsl_workers_drain(c.workers, &cancelled), RSL_ECANCELED);
    job_expect_running(&busy);
    assert_false(rsl_cancel_fired(busy.ctx.cancel));
    crew_expect_all(&busy, &queued, 1);
    rsl_cancel_deinit(&fired);
    crew_end(&c);
}

static void stopping_ends_what_is_queued_and_cancels_what_runs(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 8, RSL_FULL_REJECT);
    job busy[2], queued[4], late = {0};
    memset(busy, 0, sizeof(busy));
    memset(queued, 0, sizeof(queued));
    busy[0].heeds = busy[1].heeds = true;
    jobs_block(&c, busy, 2);
    for (int i = 0; i < 4; i++) {
        job_send_at(&c, &queued[i], i % 3 - 1);
    }
    assert_int_equal(rsl_workers_stop(c.workers, NULL), RSL_OK);
    for (int i = 0; i < 2; i++) {
        assert_true(rsl_task_has_ended(&busy[i].task));
        job_expect(&busy[i], RSL_ECANCELED);
    }
    for (int i = 0; i < 4; i++) {
        assert_true(rsl_task_has_ended(&queued[i].task));
        job_expect_never_ran(&queued[i], RSL_ECLOSED);
    }
    assert_int_equal(job_submit(&c, &late, NULL), RSL_ECLOSED);
    rsl_workers_stats s = stats_of(&c);
    assert_true(s.completed == 2 && s.canceled == 4 && s.refused == 1);
    crew_end(&c);
}

static void what_did_not_finish_in_time_is_told_and_finishes_later(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 8, RSL_FULL_REJECT);
    job deaf = {.answer = 5}, heeds = {.heeds = true}, queued = {0};
    job_block(&c, &deaf);
    job_block(&c, &heeds);
    job_send(&c, &queued);
    rsl_task *left[3] = {NULL, NULL, NULL};
    rsl_ctx soon = rsl_within(RSL_MS(20));
    assert_int_equal(rsl_workers_stop(c.workers, &soon), RSL_ETIMEOUT);
    job_expect_never_ran(&queued, RSL_ECLOSED);
    job_expect(&heeds, RSL_ECANCELED);
    assert_int_equal(rsl_workers_unfinished(c.workers, left, 3), 1);
    assert_true(left[0] == &deaf.task && left[1] == NULL);
    EVENTUALLY(events_of(&c, RSL_WORKERS_UNFINISHED) >= 1);
    assert_true(rsl_cancel_fired(deaf.ctx.cancel));
    job_expect_running(&deaf);
    job_let_go(&deaf);
    assert_int_equal(rsl_workers_stop(c.workers, NULL), RSL_OK);
    job_expect_ran(&deaf);
    assert_int_equal(rsl_workers_unfinished(c.workers, left, 3), 0);
    crew_end(&c);
}

static void giving_up_a_stop_or_close_is_an_event_with_a_count(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 8, RSL_FULL_REJECT);
    job busy = {0}, queued[2];
    memset(queued, 0, sizeof(queued));
    crew_fill(&c, &busy, queued, NULL, 2);
    rsl_ctx soon = rsl_within(RSL_MS(2));
    assert_int_equal(rsl_workers_close(c.workers, &soon), RSL_ETIMEOUT);
    assert_int_equal(events_of(&c, RSL_WORKERS_UNFINISHED), 1);
    assert_true(atomic_load(&c.watch.value[RSL_WORKERS_UNFINISHED]) == 3);
    assert_int_equal(rsl_workers_stop(c.workers, &soon), RSL_ETIMEOUT);
    assert_int_equal(events_of(&c, RSL_WORKERS_UNFINISHED), 2);
    assert_true(atomic_load(&c.watch.value[RSL_WORKERS_UNFINISHED]) == 1);
    job_let_go(&busy);
    job_expect_ran(&busy);
    job_expect_never_ran(&queued[0], RSL_ECLOSED);
    job_expect_never_ran(&queued[1], RSL_ECLOSED);
    crew_end(&c);
}

static void the_unfinished_are_listed_running_ones_first(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 8, RSL_FULL_REJECT);
    rsl_task *found[8];
    job busy[2], queued[4];
    memset(busy, 0, sizeof(busy));
    memset(queued, 0, sizeof(queued));
    assert_int_equal(rsl_workers_unfinished(NULL, found, 8), 0);
    assert_int_equal(rsl_workers_unfinished(c.workers, NULL, 0), 0);
    jobs_block(&c, busy, 2);
    for (int i = 0; i < 4; i++) {
        job_send_at(&c, &queued[i], i % 3 - 1);
    }
    assert_int_equal(rsl_workers_unfinished(c.workers, NULL, 0), 6);
    memset(found, 0, sizeof(found));
    assert_int_equal(rsl_workers_unfinished(c.workers, found, 3), 6);
    assert_true(found[2] != NULL && found[3] == NULL);
    assert_int_equal(rsl_workers_unfinished(c.workers, found, 8), 6);
    assert_true(found[6] == NULL && found[7] == NULL);
    for (int i = 0; i < 2; i++) {
        assert_true((found[0] == &busy[i].task) + (found[1] == &busy[i].task) == 1);
    }
    for (int i = 0; i < 4; i++) {
        int times = 0;
        for (int j = 2; j < 6; j++) {
            times += found[j] == &queued[i].task;
        }
        assert_int_equal(times, 1);
    }
    job_let_go(&busy[1]);
    crew_expect_all(&busy[0], queued, 4);
    job_expect_ran(&busy[1]);
    crew_end(&c);
}

static void a_task_that_a_waiter_runs_is_waited_for_by_who_drains_stops_or_closes(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {0}, j = {0};
    j.gated = true;
    crew_fill(&c, &busy, &j, NULL, 1);
    visitor v;
    visitor_come(&v, visitor_waits, &c, &j, NULL);
    EVENTUALLY(atomic_load(&j.inside) == 1);
    job_let_go(&busy);
    job_expect_ran(&busy);
    rsl_ctx soon = rsl_within(RSL_MS(5));
    assert_int_equal(rsl_workers_drain(c.workers, &soon), RSL_ETIMEOUT);
    assert_int_equal(rsl_workers_stop(c.workers, &soon), RSL_ETIMEOUT);
    assert_int_equal(rsl_workers_close(c.workers, &soon), RSL_ETIMEOUT);
    job_let_go(&j);
    visitor_expect(&v, RSL_OK);
    crew_end(&c);
}

static void of_a_task_and_what_it_assists_one_is_listed_and_one_cancelled(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job inner = {.gated = true};
    job outer = {.then = send_the_other_and_wait, .other = &inner};
    job_send(&c, &outer);
    EVENTUALLY(atomic_load(&inner.inside) == 1);
    rsl_task *left[2] = {NULL, NULL};
    assert_int_equal(rsl_workers_unfinished(c.workers, left, 2), 1);
    assert_true(left[0] == &inner.task && left[1] == NULL);
    rsl_ctx soon = rsl_within(RSL_MS(5));
    assert_int_equal(rsl_workers_stop(c.workers, &soon), RSL_ETIMEOUT);
    job_let_go(&inner);
    assert_int_equal(rsl_workers_stop(c.workers, NULL), RSL_OK);
    job_expect_ran(&inner);
    job_expect(&outer, 0);
    assert_true(atomic_load(&inner.cancelled) == 0 && atomic_load(&outer.cancelled) == 1);
    crew_end(&c);
}

static void after_a_stop_it_can_be_restarted(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    assert_int_equal(rsl_workers_restart(NULL), RSL_EINVAL);
    assert_int_equal(rsl_workers_restart(c.workers), RSL_OK);
    for (int i = 0; i < 20; i++) {
        job j = {.answer = i}, refused = {0};
        job_send(&c, &j);
        job_expect_ran(&j);
        int rc = i % 2 == 0 ? rsl_workers_stop(c.workers, NULL)
                            : rsl_workers_drain(c.workers, NULL);
        assert_int_equal(rc, RSL_OK);
        assert_int_equal(job_submit(&c, &refused, NULL), RSL_ECLOSED);
        assert_int_equal(rsl_workers_restart(c.workers), RSL_OK);
    }
    assert_int_equal(stats_of(&c).threads, 2);
    crew_end(&c);
}

static void after_a_close_that_gave_up_it_can_be_restarted(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {0}, more = {0};
    job_block(&c, &busy);
    rsl_ctx soon = rsl_within(RSL_MS(2));
    assert_int_equal(rsl_workers_close(c.workers, &soon), RSL_ETIMEOUT);
    assert_int_equal(rsl_workers_restart(c.workers), RSL_OK);
    job_send(&c, &more);
    job_let_go(&busy);
    job_expect_ran(&busy);
    job_expect_ran(&more);
    crew_end(&c);
}

static void restarting_during_a_stop_lets_new_tasks_in_and_the_stop_goes_on(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    job deaf = {.answer = 1}, more = {.answer = 2};
    job_block(&c, &deaf);
    rsl_ctx soon = rsl_within(RSL_MS(5));
    assert_int_equal(rsl_workers_stop(c.workers, &soon), RSL_ETIMEOUT);
    assert_int_equal(rsl_workers_restart(c.workers), RSL_OK);
    job_send(&c, &more);
    job_expect_ran(&more);
    assert_int_equal(atomic_load(&more.cancelled), 0);
    job_let_go(&deaf);
    job_expect_ran(&deaf);
    crew_end(&c);
}

static void nothing_to_wait_for_ends_every_wait_at_once(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    rsl_ctx spent = {.deadline = 1};
    EVENTUALLY(stats_of(&c).idle == 1);
    assert_int_equal(rsl_workers_drain(NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_workers_stop(NULL, NULL), RSL_EINVAL);
    assert_int_equal(rsl_workers_drain(c.workers, &spent), RSL_OK);
    assert_int_equal(rsl_workers_stop(c.workers, &spent), RSL_OK);
    assert_int_equal(rsl_workers_drain(c.workers, NULL), RSL_OK);
    crew_end(&c);
}

static int send_the_other(job *j, const rsl_ctx *ctx)
{
    (void)ctx;
    return job_submit(j->crew, j->other, NULL);
}

static void a_task_cannot_submit_while_its_workers_drain(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job late = {0}, j = {.then = send_the_other, .other = &late};
    job_block(&c, &j);
    visitor v;
    visitor_come(&v, visitor_drains, &c, NULL, NULL);
    visitor_expect_waiting(&v);
    job_let_go(&j);
    visitor_expect(&v, RSL_OK);
    job_expect(&j, RSL_ECLOSED);
    crew_end(&c);
}

/* ----------------------------------------------------------------------- map */

/* What all items of a map share. */
typedef struct plan {
    crew        *crew;
    job         *job;        /* that maps */
    rsl_cancel  *cancel;     /* fired by the item number `at` */
    int          at;
    int          depth;      /* of maps within items */
    rsl_time     naps;       /* each item takes this long */
    int          together;   /* each waits until so many have been at it at once, 1 s at most */
    pthread_t    mapper;
    _Atomic int  by_others;  /* items run by other threads */
    _Atomic int  inside, most, ran;
} plan;

typedef struct item {
    plan       *plan;
    int         value;
    _Atomic int runs;
    rsl_ctx     ctx;
} item;

enum { ITEMS = 500 };

static int item_run(const rsl_ctx *ctx, void *arg)
{
    item *it = arg;
    plan *p = it->plan;
    it->ctx = *ctx;
    atomic_fetch_add(&it->runs, 1);
    atomic_fetch_add(&p->ran, 1);
    atomic_fetch_add(&p->by_others, !pthread_equal(pthread_self(), p->mapper));
    int inside = atomic_fetch_add(&p->inside, 1) + 1, most = atomic_load(&p->most);
    while (inside > most && !atomic_compare_exchange_weak(&p->most, &most, inside)) {
    }
    rsl_time end = rsl_now() + RSL_SEC(1);
    while (atomic_load(&p->most) < p->together && rsl_now() < end) {
        nap(RSL_US(100));
    }
    if (p->naps > 0) {
        nap(p->naps);
    }
    if (p->cancel != NULL && it->value == p->at) {
        rsl_cancel_fire(p->cancel);
    }
    atomic_fetch_sub(&p->inside, 1);
    errno = SCRIBBLED;
    return it->value;
}

static void items_prepare(item *items, size_t count, plan *p)
{
    p->mapper = pthread_self();
    memset(items, 0, count * sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        items[i].plan = p;
        items[i].value = (int)i;
    }
}

static void items_expect_all_ran(item *items, const int *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(atomic_load(&items[i].runs), 1);
        assert_int_equal(results[i], i);
    }
}

static void map_runs_each_item_once_and_gives_each_result(void **unused)
{
    (void)unused;
    static const size_t counts[] = {1, 2, 3, 63, 64, 65, 128, ITEMS};
    static const uint32_t threads[] = {1, 2, 4};
    for (size_t i = 0; i < RSL_COUNT(counts) * RSL_COUNT(threads); i++) {
        size_t count = counts[i / RSL_COUNT(threads)];
        static item items[ITEMS];
        static int results[ITEMS];
        crew c;
        crew_start_sized(&c, threads[i % RSL_COUNT(threads)], 8, RSL_FULL_REJECT);
        plan p = {0};
        items_prepare(items, count, &p);
        assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, items, sizeof(item), count,
                                         results), RSL_OK);
        items_expect_all_ran(items, results, count);
        assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, items, sizeof(item), count,
                                         NULL), RSL_OK);
        assert_int_equal(atomic_load(&p.ran), 2 * (int)count);
        crew_end(&c);
    }
}

static void a_map_of_nothing_does_nothing(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    int result = SCRIBBLED;
    item it;
    assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, NULL, 0, 0, NULL), RSL_OK);
    assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, NULL, 8, 0, &result), RSL_OK);
    assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, &it, 8, 0, &result), RSL_OK);
    assert_int_equal(result, SCRIBBLED);
    crew_end(&c);
}

static void misused_maps_are_refused(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    plan p = {0};
    item it;
    int result = SCRIBBLED;
    items_prepare(&it, 1, &p);
    assert_int_equal(rsl_workers_map(NULL, NULL, item_run, &it, sizeof(it), 1, &result),
                     RSL_EINVAL);
    assert_int_equal(rsl_workers_map(c.workers, NULL, NULL, &it, sizeof(it), 1, &result),
                     RSL_EINVAL);
    assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, NULL, sizeof(it), 1, &result),
                     RSL_EINVAL);
    assert_int_equal(result, SCRIBBLED);
    assert_int_equal(atomic_load(&p.ran), 0);
    crew_end(&c);
}

static _Atomic int counted;

static int count_up(const rsl_ctx *ctx, void *arg)
{
    (void)ctx;
    return arg == NULL || arg == (void *)&counted ? atomic_fetch_add(&counted, 1) : -1;
}

static void items_without_a_size_are_all_the_same(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 4, RSL_FULL_REJECT);
    int results[100], seen[100] = {0};
    void *const same[] = {NULL, (void *)&counted};
    for (int i = 0; i < 2; i++) {
        atomic_store(&counted, 0);
        memset(seen, 0, sizeof(seen));
        assert_int_equal(rsl_workers_map(c.workers, NULL, count_up, same[i], 0, 100, results),
                         RSL_OK);
        for (int j = 0; j < 100; j++) {
            assert_true(results[j] >= 0 && results[j] < 100);
            seen[results[j]]++;
        }
        for (int j = 0; j < 100; j++) {
            assert_int_equal(seen[j], 1);
        }
    }
    crew_end(&c);
}

static void map_works_with_as_many_threads_as_there_may_be_its_own_among_them(void **unused)
{
    (void)unused;
    crew c;
    rsl_workers_config config = {.threads_min = 1, .threads_max = 3};
    crew_start(&c, config);
    static item items[60];
    int results[60];
    plan p = {.together = 2, .naps = RSL_US(300)};
    items_prepare(items, 60, &p);
    assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, items, sizeof(item), 60, results),
                     RSL_OK);
    items_expect_all_ran(items, results, 60);
    assert_in_range(atomic_load(&p.most), 2, 3);
    assert_true(atomic_load(&p.by_others) >= 1 && atomic_load(&p.by_others) < 60);
    crew_end(&c);
}

static void map_runs_at_most_64_items_at_once(void **unused)
{
    (void)unused;
    crew c;
    rsl_workers_config config = {.threads_min = 1, .threads_max = 90, .queue_max = 200};
    crew_start(&c, config);
    static item items[200];
    static int results[200];
    plan p = {.naps = RSL_MS(3)};
    items_prepare(items, 200, &p);
    assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, items, sizeof(item), 200,
                                     results), RSL_OK);
    items_expect_all_ran(items, results, 200);
    assert_in_range(atomic_load(&p.most), 2, 64);
    crew_end(&c);
}

static void the_ctx_of_a_map_comes_to_its_items(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 3, 8, RSL_FULL_REJECT);
    rsl_cancel cancel;
    assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
    static item items[30];
    int results[30];
    plan p = {.together = 2};
    items_prepare(items, 30, &p);
    shared_clock time = {1000};
    rsl_clock clock = moved_by_hand(&time);
    rsl_ctx ctx = {.deadline = 2000, .clock = &clock, .cancel = &cancel};
    ctx.attempt = 3;
    ctx.priority = 2;
    assert_int_equal(rsl_workers_map(c.workers, &ctx, item_run, items, sizeof(item), 30, results),
                     RSL_OK);
    items_expect_all_ran(items, results, 30);
    for (int i = 0; i < 30; i++) {
        assert_true(items[i].ctx.deadline == ctx.deadline && items[i].ctx.clock == ctx.clock);
        assert_true(items[i].ctx.attempt == 3 && items[i].ctx.priority == 2);
        assert_non_null(items[i].ctx.cancel);
    }
    rsl_cancel_deinit(&cancel);
    crew_end(&c);
}

static void a_map_that_is_cancelled_says_which_items_never_ran(void **unused)
{
    (void)unused;
    static item items[ITEMS];
    static int results[ITEMS];
    for (uint32_t threads = 1; threads <= 3; threads++) {
        crew c;
        crew_start_sized(&c, threads, 8, RSL_FULL_REJECT);
        rsl_cancel cancel;
        assert_int_equal(rsl_cancel_init(&cancel, NULL), RSL_OK);
        rsl_ctx ctx = {.cancel = &cancel};
        plan p = {.cancel = &cancel, .at = 5, .naps = RSL_US(100)};
        items_prepare(items, ITEMS, &p);
        assert_int_equal(rsl_workers_map(c.workers, &ctx, item_run, items, sizeof(item), ITEMS,
                                         results), RSL_ECANCELED);
        int ran = 0;
        for (int i = 0; i < ITEMS; i++) {
            int runs = atomic_load(&items[i].runs);
            assert_int_equal(results[i], runs == 1 ? i : RSL_ECANCELED);
            ran += runs;
        }
        assert_true(ran >= 1 && ran < ITEMS && ran == atomic_load(&p.ran));
        assert_int_equal(atomic_load(&p.inside), 0);
        assert_int_equal(rsl_workers_map(c.workers, &ctx, item_run, items, sizeof(item), ITEMS,
                                         results), RSL_ECANCELED);
        assert_int_equal(atomic_load(&p.ran), ran);
        assert_int_equal(results[0], RSL_ECANCELED);
        rsl_cancel_deinit(&cancel);
        crew_end(&c);
    }
}

static void a_map_that_is_late_says_which_items_never_ran(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 8, RSL_FULL_REJECT);
    static item items[ITEMS];
    static int results[ITEMS];
    plan p = {.naps = RSL_MS(2)};
    items_prepare(items, ITEMS, &p);
    rsl_ctx soon = rsl_within(RSL_MS(12)), spent = {.deadline = 1};
    assert_int_equal(rsl_workers_map(c.workers, &spent, item_run, items, sizeof(item), ITEMS,
                                     results), RSL_ETIMEOUT);
    assert_int_equal(atomic_load(&p.ran), 0);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(results[i], RSL_ETIMEOUT);
    }
    assert_int_equal(rsl_workers_map(c.workers, &soon, item_run, items, sizeof(item), ITEMS,
                                     results), RSL_ETIMEOUT);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(results[i], atomic_load(&items[i].runs) == 1 ? i : RSL_ETIMEOUT);
    }
    assert_true(atomic_load(&p.ran) < ITEMS && atomic_load(&p.inside) == 0);
    crew_end(&c);
}

/* Whatever happens when full: the map goes on by itself, and others' tasks are left alone. */
static void a_full_queue_leaves_a_map_to_its_own_thread(void **unused)
{
    (void)unused;
    for (rsl_when_full full = RSL_FULL_REJECT; full <= RSL_FULL_DROP_OLDEST; full++) {
        crew c;
        crew_start_sized(&c, 1, 2, full);
        job busy = {0}, jobs[2];
        static item items[100];
        int results[100];
        plan p = {0};
        memset(jobs, 0, sizeof(jobs));
        crew_fill(&c, &busy, jobs, NULL, 2);
        items_prepare(items, 100, &p);
        assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, items, sizeof(item), 100,
                                         results), RSL_OK);
        items_expect_all_ran(items, results, 100);
        assert_int_equal(atomic_load(&p.by_others), 0);
        assert_int_equal(stats_of(&c).dropped, 0);
        crew_expect_all(&busy, jobs, 2);
        crew_end(&c);
    }
}

static void busy_or_drained_workers_leave_a_map_to_its_own_thread(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 8, RSL_FULL_REJECT);
    job busy[2];
    static item items[100];
    int results[100];
    plan p = {0};
    memset(busy, 0, sizeof(busy));
    jobs_block(&c, busy, 2);
    items_prepare(items, 100, &p);
    assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, items, sizeof(item), 100,
                                     results), RSL_OK);
    items_expect_all_ran(items, results, 100);
    assert_int_equal(stats_of(&c).queued, 0);
    job_let_go(&busy[0]);
    job_let_go(&busy[1]);
    assert_int_equal(rsl_workers_drain(c.workers, NULL), RSL_OK);
    items_prepare(items, 100, &p);
    assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, items, sizeof(item), 100,
                                     results), RSL_OK);
    items_expect_all_ran(items, results, 100);
    assert_int_equal(atomic_load(&p.by_others), 0);
    crew_end(&c);
}

static int map_ten(job *j, const rsl_ctx *ctx)
{
    item items[10];
    int results[10];
    plan p = {0};
    items_prepare(items, 10, &p);
    int rc = rsl_workers_map(j->crew->workers, ctx, item_run, items, sizeof(item), 10, results);
    for (int i = 0; i < 10 && rc == RSL_OK; i++) {
        rc = atomic_load(&items[i].runs) == 1 && results[i] == i ? RSL_OK : -1;
    }
    return rc;
}

static void tasks_may_map_on_their_own_workers(void **unused)
{
    (void)unused;
    for (uint32_t threads = 1; threads <= 3; threads++) {
        crew c;
        crew_start_sized(&c, threads, 64, RSL_FULL_REJECT);
        job jobs[8];
        memset(jobs, 0, sizeof(jobs));
        rsl_ctx limit = patiently(PATIENCE);
        for (int i = 0; i < 8; i++) {
            jobs[i].then = map_ten;
            assert_int_equal(job_submit(&c, &jobs[i], i % 2 == 0 ? NULL : &limit), RSL_OK);
        }
        for (int i = 0; i < 8; i++) {
            job_expect(&jobs[i], RSL_OK);
        }
        crew_end(&c);
    }
}

static int map_deeper(const rsl_ctx *ctx, void *arg)
{
    plan *p = *(plan **)arg;
    plan deeper = {.crew = p->crew, .depth = p->depth - 1};
    plan *same[3] = {&deeper, &deeper, &deeper};
    int results[3] = {-1, -1, -1}, sum = 0;
    if (p->depth == 0) {
        return 1;
    }
    int rc = rsl_workers_map(p->crew->workers, ctx, map_deeper, same, sizeof(same[0]), 3, results);
    for (int i = 0; i < 3; i++) {
        sum += results[i];
    }
    return rc == RSL_OK ? sum : rc;
}

static void items_may_map_again(void **unused)
{
    (void)unused;
    for (uint32_t threads = 1; threads <= 3; threads++) {
        crew c;
        crew_start_sized(&c, threads, 4, threads == 2 ? RSL_FULL_WAIT : RSL_FULL_REJECT);
        plan top = {.crew = &c, .depth = 3};
        plan *same[2] = {&top, &top};
        int results[2] = {0, 0};
        assert_int_equal(rsl_workers_map(c.workers, NULL, map_deeper, same, sizeof(same[0]), 2,
                                         results), RSL_OK);
        assert_true(results[0] == 27 && results[1] == 27);
        crew_end(&c);
    }
}

/* The second item waits, for a while, for the task that maps, which in turn has to wait for it. */
static int item_waits_for_the_task_that_maps(const rsl_ctx *ctx, void *arg)
{
    item *it = arg;
    job *mapper = it->plan->job;
    if (pthread_equal(pthread_self(), it->plan->mapper)) {
        rsl_time end = rsl_now() + RSL_SEC(1);
        while (atomic_load(&it->plan->inside) == 0 && rsl_now() < end) {
            nap(RSL_US(100));
        }
        nap(RSL_MS(2));
        return item_run(ctx, arg);
    }
    atomic_fetch_add(&it->plan->inside, 1);
    rsl_ctx limit = patiently(RSL_MS(30));
    int rc = rsl_task_wait(&mapper->task, &limit, NULL);
    nap(RSL_MS(5));
    atomic_fetch_sub(&it->plan->inside, 1);
    atomic_fetch_add(&it->runs, 1);
    return rc == RSL_ETIMEOUT || rc == RSL_EINVAL ? it->value : rc;
}

static int map_two(job *j, const rsl_ctx *ctx)
{
    item items[2];
    int results[2] = {-1, -1};
    plan p = {.job = j};
    items_prepare(items, 2, &p);
    int rc = rsl_workers_map(j->crew->workers, ctx, item_waits_for_the_task_that_maps, items,
                             sizeof(item), 2, results);
    bool sound = rc == RSL_OK && atomic_load(&p.inside) == 0 && results[0] == 0 &&
                 results[1] == 1 && atomic_load(&items[0].runs) == 1 &&
                 atomic_load(&items[1].runs) == 1;
    return sound ? 0 : -1;
}

static void a_map_never_returns_before_its_items_have(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 8, RSL_FULL_REJECT);
    for (int i = 0; i < 3; i++) {
        job j = {.then = map_two};
        EVENTUALLY(stats_of(&c).idle == 2);
        job_send(&c, &j);
        EVENTUALLY(rsl_task_has_ended(&j.task)); /* nobody else may wait for it meanwhile */
        job_expect(&j, 0);
    }
    crew_end(&c);
}

/* ------------------------------------------------- tasks that take their time */

static void a_task_that_blocks_does_not_hold_up_the_others(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 2, 128, RSL_FULL_REJECT);
    job stuck = {0}, jobs[100];
    memset(jobs, 0, sizeof(jobs));
    job_block(&c, &stuck);
    for (int i = 0; i < 100; i++) {
        job_send_at(&c, &jobs[i], i % 3 - 1);
    }
    for (int i = 0; i < 100; i++) {
        job_expect_ran(&jobs[i]);
    }
    job_expect_running(&stuck);
    job_let_go(&stuck);
    job_expect_ran(&stuck);
    crew_end(&c);
}

/* ------------------------------------------------ tasks that end their thread */

#ifndef _WIN32
static int end_the_thread(job *j, const rsl_ctx *ctx)
{
    (void)ctx;
    atomic_fetch_sub(&j->inside, 1);
    atomic_fetch_add(&j->crew->vanished, 1);
    pthread_exit(NULL);
}

static void a_task_that_ends_its_thread_is_told_and_takes_no_other_down(void **unused)
{
    (void)unused;
    for (uint32_t threads = 1; threads <= 3; threads++) {
        crew c;
        crew_start_sized(&c, threads, 16, RSL_FULL_REJECT);
        job jobs[10];
        memset(jobs, 0, sizeof(jobs));
        for (int i = 0; i < 10; i++) {
            jobs[i].then = i % 2 == 0 ? end_the_thread : NULL;
            jobs[i].answer = i;
            job_send_at(&c, &jobs[i], i % 3 - 1);
        }
        for (int i = 0; i < 10; i++) {
            job_expect(&jobs[i], i % 2 == 0 ? RSL_ECANCELED : i);
            assert_int_equal(atomic_load(&jobs[i].runs), 1);
        }
        EVENTUALLY(stats_of(&c).lost == 5 && stats_of(&c).threads == threads);
        EVENTUALLY(events_of(&c, RSL_WORKERS_LOST) == 5);
        assert_int_equal(stats_of(&c).completed, 5);
        crew_end(&c);
    }
}

static void a_node_whose_task_ended_its_thread_can_be_used_again(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    for (int i = 0; i < 20; i++) {
        job *j = calloc(1, sizeof(*j));
        j->then = end_the_thread;
        job_send(&c, j);
        job_expect(j, RSL_ECANCELED);
        j->then = NULL;
        atomic_store(&j->told, 0);
        job_send(&c, j);
        job_expect(j, 0);
        free(j);
    }
    crew_end(&c);
}

static void a_task_may_end_the_thread_of_who_waits_for_it(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job busy = {0}, j = {.then = end_the_thread}, next = {.answer = 2};
    crew_fill(&c, &busy, &j, NULL, 1);
    visitor v;
    visitor_come(&v, visitor_waits, &c, &j, NULL);
    assert_int_equal(pthread_join(v.thread, NULL), 0);
    assert_int_equal(atomic_load(&v.done), 0);
    job_expect(&j, RSL_ECANCELED);
    assert_int_equal(atomic_load(&j.runs), 1);
    assert_int_equal(stats_of(&c).by_waiter, 0);
    assert_int_equal(stats_of(&c).threads, 1);
    job_let_go(&busy);
    job_expect_ran(&busy);
    job_send(&c, &next);
    job_expect_ran(&next);
    crew_end(&c);
}

static void a_task_may_end_the_thread_of_who_submits_it(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 1, RSL_FULL_CALLER_RUNS);
    job busy = {0}, queued = {0}, j = {.then = end_the_thread};
    crew_fill(&c, &busy, &queued, NULL, 1);
    visitor v;
    visitor_come(&v, visitor_submits, &c, &j, NULL);
    assert_int_equal(pthread_join(v.thread, NULL), 0);
    assert_int_equal(atomic_load(&v.done), 0);
    job_expect(&j, RSL_ECANCELED);
    assert_int_equal(stats_of(&c).by_caller, 0);
    crew_expect_all(&busy, &queued, 1);
    crew_end(&c);
}

static int send_one_that_ends_the_thread_and_wait(job *j, const rsl_ctx *ctx)
{
    atomic_fetch_add(&j->crew->vanished, 1);
    return send_the_other_and_wait(j, ctx);
}

static void what_a_task_assists_may_end_the_thread_of_both(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    job inner = {.then = end_the_thread}, next = {.answer = 1};
    job outer = {.then = send_one_that_ends_the_thread_and_wait, .other = &inner};
    job_send(&c, &outer);
    job_expect(&outer, RSL_ECANCELED);
    job_expect(&inner, RSL_ECANCELED);
    EVENTUALLY(stats_of(&c).lost == 1 && stats_of(&c).threads == 1);
    job_send(&c, &next);
    job_expect_ran(&next);
    crew_end(&c);
}
#endif

/* ------------------------------------------------------- counts and errno */

static void counts_say_how_each_task_ended(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 4, RSL_FULL_REJECT);
    shared_clock time = {1};
    rsl_clock clock = moved_by_hand(&time);
    rsl_ctx ctx = {.clock = &clock, .deadline = 2};
    job busy = {0}, by_thread = {0}, by_waiter = {0}, canceled = {0}, late = {0}, refused = {0};
    job_block(&c, &busy);
    job_send(&c, &by_thread);
    job_send(&c, &by_waiter);
    job_send(&c, &canceled);
    assert_int_equal(job_submit(&c, &late, &ctx), RSL_OK);
    assert_int_equal(job_submit(&c, &refused, NULL), RSL_EFULL);
    rsl_workers_stats s = stats_of(&c);
    assert_true(s.threads == 1 && s.idle == 0 && s.queued == 4 && s.running == 1);
    assert_true(s.submitted == 5 && s.completed == 0 && s.refused == 1);
    atomic_store(&time.now, 2);
    assert_int_equal(rsl_task_wait(&by_waiter.task, NULL, NULL), RSL_OK);
    assert_int_equal(rsl_task_cancel(&canceled.task), RSL_OK);
    job_let_go(&busy);
    assert_int_equal(rsl_workers_drain(c.workers, NULL), RSL_OK);
    EVENTUALLY(stats_of(&c).idle == 1);
    s = stats_of(&c);
    assert_true(s.threads == 1 && s.queued == 0 && s.running == 0);
    assert_true(s.submitted == 5 && s.completed == 3 && s.by_waiter == 1 && s.by_caller == 0);
    assert_true(s.canceled == 1 && s.expired == 1 && s.dropped == 0 && s.refused == 1);
    assert_true(s.lost == 0);
    job_expect_never_ran(&late, RSL_ETIMEOUT);
    crew_end(&c);
}

static rsl_time tick(void *user)
{
    return atomic_fetch_add((_Atomic int64_t *)user, 1);
}

/* The clock goes on with each look at it: the deadline passes between two looks. */
static void counts_add_up_when_a_deadline_passes_in_the_middle_of_a_submit(void **unused)
{
    (void)unused;
    for (rsl_when_full full = RSL_FULL_REJECT; full <= RSL_FULL_DROP_OLDEST; full++) {
        crew c;
        crew_start_sized(&c, 1, 1, full);
        job busy = {0}, queued = {0};
        crew_fill(&c, &busy, &queued, NULL, 1);
        for (int i = 1; i < 8; i++) {
            _Atomic int64_t now = 1;
            rsl_clock clock = {.now = tick, .user = (void *)&now};
            rsl_ctx ctx = {.clock = &clock, .deadline = 1 + i};
            job j = {0};
            int rc = job_submit(&c, &j, &ctx), result = SCRIBBLED;
            if (rc == RSL_OK) {
                assert_int_equal(rsl_task_wait(&j.task, NULL, &result), RSL_OK);
            }
            assert_int_equal(atomic_load(&j.told), rc == RSL_OK);
            assert_int_equal(atomic_load(&j.runs), rc == RSL_OK && result == 0);
        }
        job_let_go(&busy);
        job_expect_ran(&busy);
        (void)job_finish(&queued);
        crew_end(&c);
    }
}

static void counts_of_nothing_are_zero(void **unused)
{
    (void)unused;
    rsl_workers_stats stats, zero;
    memset(&stats, 0xA5, sizeof(stats));
    memset(&zero, 0, sizeof(zero));
    rsl_workers_stats_get(NULL, NULL);
    rsl_workers_stats_get(NULL, &stats);
    assert_true(stats.threads == 0 && stats.idle == 0 && stats.queued == 0 && stats.running == 0);
    assert_memory_equal(&stats.submitted, &zero.submitted,
                        sizeof(zero) - offsetof(rsl_workers_stats, submitted));
    crew c;
    crew_start_sized(&c, 1, 1, RSL_FULL_REJECT);
    rsl_workers_stats_get(c.workers, NULL);
    crew_end(&c);
}

static void events_name_their_source_and_have_numbers_of_their_own(void **unused)
{
    (void)unused;
    crew c;
    rsl_workers_config config = {.name = "letters", .threads_min = 2, .threads_max = 4,
                                 .queue_max = 2};
    crew_start(&c, config);
    EVENTUALLY(events_of(&c, RSL_WORKERS_STARTED) == 2);
    job busy[4], jobs[2], more = {0};
    memset(busy, 0, sizeof(busy));
    memset(jobs, 0, sizeof(jobs));
    jobs_block(&c, busy, 4);
    EVENTUALLY(events_of(&c, RSL_WORKERS_STARTED) == 4);
    job_send(&c, &jobs[0]);
    job_send(&c, &jobs[1]);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(job_submit(&c, &more, NULL), RSL_EFULL);
    }
    assert_int_equal(events_of(&c, RSL_WORKERS_REFUSED), 10);
    for (int i = 0; i < 4; i++) {
        job_let_go(&busy[i]);
        job_expect_ran(&busy[i]);
    }
    assert_true(atomic_load(&c.watch.number_max) >= (uint64_t)atomic_load(&c.watch.total));
    crew_end(&c);
}

static void errno_is_kept(void **unused)
{
    (void)unused;
    crew c;
    crew_start_sized(&c, 1, 2, RSL_FULL_CALLER_RUNS);
    static item items[10];
    plan p = {0};
    job busy = {0}, jobs[2], mine = {0};
    memset(jobs, 0, sizeof(jobs));
    items_prepare(items, 10, &p);
    rsl_ctx soon = rsl_within(RSL_MS(1)), spent = {.deadline = 1};
    job_block(&c, &busy);
    errno = 77;
    assert_int_equal(job_submit(&c, &jobs[0], &spent), RSL_ETIMEOUT);
    assert_int_equal(errno, 77);
    job_send(&c, &jobs[0]);
    job_send(&c, &jobs[1]);
    assert_int_equal(errno, 77);
    job_send(&c, &mine);
    assert_int_equal(errno, 77);
    assert_int_equal(rsl_task_wait(&jobs[0].task, &soon, NULL), RSL_ETIMEOUT);
    assert_int_equal(errno, 77);
    assert_int_equal(rsl_task_wait(&jobs[0].task, NULL, NULL), RSL_OK);
    assert_int_equal(errno, 77);
    assert_int_equal(rsl_task_cancel(&jobs[1].task), RSL_OK);
    assert_int_equal(errno, 77);
    job_let_go(&busy);
    assert_int_equal(rsl_task_wait(&busy.task, NULL, NULL), RSL_OK);
    assert_int_equal(errno, 77);
    assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, items, sizeof(item), 10, NULL),
                     RSL_OK);
    assert_int_equal(errno, 77);
    assert_int_equal(rsl_workers_drain(c.workers, NULL), RSL_OK);
    assert_int_equal(rsl_workers_stop(c.workers, NULL), RSL_OK);
    assert_int_equal(errno, 77);
    crew_end(&c);
    assert_int_equal(errno, 77);
}

/* -------------------------------------------------------------------- memory */

static void every_failed_allocation_leaves_nothing_behind(void **unused)
{
    (void)unused;
    long live = support_live();
    rsl_workers_config config = {.threads_min = 3, .threads_max = 5, .queue_max = 100};
    int failures = 0;
    for (long nth = 1;; nth++) {
        for (int from = 0; from < 2; from++) {
            rsl_workers *workers = NULL;
            if (from == 1) {
                support_fail_from(nth);
            } else {
                support_fail_nth(nth);
            }
            int rc = rsl_workers_open(&workers, &config);
            support_fail_never();
            if (rc == RSL_OK) {
                assert_int_equal(rsl_workers_close(workers, NULL), RSL_OK);
                assert_true(support_live() == live && failures > 0);
                return;
            }
            failures++;
            assert_int_equal(rc, RSL_ENOMEM);
            assert_null(workers);
            assert_true(support_live() == live);
        }
    }
}

static void a_queue_larger_than_memory_is_told(void **unused)
{
    (void)unused;
    long live = support_live();
    rsl_workers_config config = {.queue_max = 16777216};
    rsl_workers *workers = NULL;
    for (long nth = 1; nth <= 3; nth++) {
        support_fail_from(nth);
        assert_int_equal(rsl_workers_open(&workers, &config), RSL_ENOMEM);
        support_fail_never();
        assert_null(workers);
        assert_true(support_live() == live);
    }
}

static void only_opening_takes_memory(void **unused)
{
    (void)unused;
    crew c;
    rsl_workers_config config = {.threads_min = 1, .threads_max = 4, .queue_max = 8};
    crew_start(&c, config);
    support_fail_from(1);
    job busy[4], jobs[8];
    static item items[100];
    int results[100];
    plan p = {.together = 2};
    memset(busy, 0, sizeof(busy));
    memset(jobs, 0, sizeof(jobs));
    jobs_block(&c, busy, 4);
    for (int i = 0; i < 8; i++) {
        job_send_at(&c, &jobs[i], i % 3 - 1);
    }
    assert_int_equal(rsl_task_cancel(&jobs[3].task), RSL_OK);
    assert_int_equal(rsl_task_wait(&jobs[4].task, NULL, NULL), RSL_OK);
    for (int i = 0; i < 4; i++) {
        job_let_go(&busy[i]);
        job_expect_ran(&busy[i]);
    }
    items_prepare(items, 100, &p);
    assert_int_equal(rsl_workers_map(c.workers, NULL, item_run, items, sizeof(item), 100,
                                     results), RSL_OK);
    assert_int_equal(rsl_workers_stop(c.workers, NULL), RSL_OK);
    assert_int_equal(support_taken(), 0);
    support_fail_never();
    crew_end(&c);
}

static void a_task_is_128_bytes(void **unused)
{
    (void)unused;
    if (sizeof(void *) == 8) {
        assert_int_equal(sizeof(rsl_task), 128);
    }
    assert_true(sizeof(rsl_task) <= 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_config_means_the_defaults),
        cmocka_unit_test(what_is_set_is_in_force_as_it_is),
        cmocka_unit_test(threads_max_is_at_least_threads_min_by_default),
        cmocka_unit_test(counts_of_threads_out_of_range_are_refused_by_name),
        cmocka_unit_test(more_than_1024_threads_at_least_are_refused),
        cmocka_unit_test(a_queue_larger_than_allowed_is_refused_by_name),
        cmocka_unit_test(an_unknown_kind_of_full_is_refused_by_name),
        cmocka_unit_test(a_negative_keep_alive_is_refused_by_name),
        cmocka_unit_test(opening_starts_the_least_number_of_threads),
        cmocka_unit_test(no_config_is_one_with_all_defaults),
        cmocka_unit_test(opening_into_nothing_is_refused),
        cmocka_unit_test(closing_runs_what_is_queued_first),
        cmocka_unit_test(a_close_that_gave_up_can_be_repeated),
        cmocka_unit_test(a_close_can_be_cancelled),
        cmocka_unit_test(a_task_cannot_close_drain_or_stop_its_own_workers),
        cmocka_unit_test(a_task_may_close_other_workers),
        cmocka_unit_test(a_task_runs_once_on_a_thread_of_the_workers),
        cmocka_unit_test(the_result_of_a_task_comes_back_as_it_is),
        cmocka_unit_test(a_task_gets_a_copy_of_the_ctx_with_a_token_of_its_own),
        cmocka_unit_test(a_task_without_a_ctx_has_no_limits_but_can_be_cancelled),
        cmocka_unit_test(waiting_for_what_has_ended_gives_its_result_at_once),
        cmocka_unit_test(waiting_for_nothing_is_refused),
        cmocka_unit_test(submitting_nothing_is_refused),
        cmocka_unit_test(a_wait_ends_with_its_deadline_and_the_task_does_not),
        cmocka_unit_test(a_wait_can_be_cancelled_and_the_task_goes_on),
        cmocka_unit_test(of_two_threads_that_wait_for_a_task_one_is_refused),
        cmocka_unit_test(a_wait_wakes_when_the_task_ends),
        cmocka_unit_test(a_node_submitted_twice_is_refused_and_stays_as_it_was),
        cmocka_unit_test(a_node_can_be_used_again_and_again),
        cmocka_unit_test(a_node_may_be_freed_as_soon_as_the_wait_is_over),
        cmocka_unit_test(who_waits_without_limits_runs_the_queued_task_itself),
        cmocka_unit_test(who_waits_with_a_limit_leaves_the_task_to_the_threads),
        cmocka_unit_test(a_task_that_a_waiter_runs_can_be_cancelled),
        cmocka_unit_test(the_parents_token_reaches_a_task_that_a_waiter_runs),
        cmocka_unit_test(a_task_that_waits_for_its_own_task_without_limits_runs_it),
        cmocka_unit_test(a_wait_returns_only_after_on_done_has),
        cmocka_unit_test(on_done_comes_once_for_each_accepted_submit_and_can_be_taken_back),
        cmocka_unit_test(a_refused_submit_is_not_told_and_leaves_the_node_free),
        cmocka_unit_test(a_queued_task_that_is_cancelled_never_runs),
        cmocka_unit_test(a_cancelled_nodes_memory_is_free_at_once),
        cmocka_unit_test(a_running_task_that_is_cancelled_is_told_by_its_ctx),
        cmocka_unit_test(a_token_fired_for_one_task_is_not_fired_for_the_next),
        cmocka_unit_test(cancelling_one_task_leaves_its_parents_token_and_its_siblings_alone),
        cmocka_unit_test(the_parents_token_reaches_a_running_task),
        cmocka_unit_test(a_queued_task_whose_parents_token_fired_never_runs),
        cmocka_unit_test(the_parents_token_may_end_as_soon_as_the_wait_is_over),
        cmocka_unit_test(cancelling_a_task_wakes_what_waits_within_it),
        cmocka_unit_test(a_task_whose_deadline_passed_in_the_queue_never_runs),
        cmocka_unit_test(in_real_time_too_a_task_past_its_deadline_never_runs),
        cmocka_unit_test(deadlines_without_a_clock_are_those_of_the_config),
        cmocka_unit_test(a_deadline_that_passes_while_it_runs_is_the_tasks_own_affair),
        cmocka_unit_test(late_tasks_make_room_for_others),
        cmocka_unit_test(tasks_of_one_priority_run_first_come_first_served),
        cmocka_unit_test(higher_priorities_run_first),
        cmocka_unit_test(order_survives_cancels_in_the_middle_and_many_rounds),
        cmocka_unit_test(a_full_queue_rejects_whatever_its_size_and_the_priorities),
        cmocka_unit_test(a_cancelled_task_leaves_room_for_one),
        cmocka_unit_test(when_full_it_can_wait_for_room),
        cmocka_unit_test(waiting_for_room_ends_with_the_deadline),
        cmocka_unit_test(waiting_for_room_can_be_cancelled),
        cmocka_unit_test(room_that_a_cancel_or_a_waiter_makes_is_given_to_who_waits),
        cmocka_unit_test(many_who_wait_for_room_all_get_it),
        cmocka_unit_test(who_waits_for_room_is_told_when_no_more_is_taken),
        cmocka_unit_test(when_full_the_caller_can_run_it),
        cmocka_unit_test(a_task_that_its_caller_runs_can_be_cancelled),
        cmocka_unit_test(when_full_the_oldest_can_be_dropped),
        cmocka_unit_test(the_oldest_of_the_lowest_priority_is_dropped),
        cmocka_unit_test(nothing_of_a_higher_priority_is_dropped),
        cmocka_unit_test(a_queue_of_one_drops_all_but_the_newest),
        cmocka_unit_test(random_histories_go_as_a_model_says),
        cmocka_unit_test(a_task_that_waits_for_itself_is_refused),
        cmocka_unit_test(a_task_that_a_waiter_runs_cannot_wait_for_itself_either),
        cmocka_unit_test(tasks_that_wait_for_each_other_are_refused),
        cmocka_unit_test(without_limits_too_tasks_that_wait_for_each_other_are_refused),
        cmocka_unit_test(a_ring_through_a_task_that_another_task_assists_is_refused),
        cmocka_unit_test(the_only_thread_cannot_wait_with_a_limit_for_what_is_queued),
        cmocka_unit_test(nor_with_the_ctx_that_it_was_given),
        cmocka_unit_test(the_last_thread_that_would_wait_is_refused),
        cmocka_unit_test(a_wait_for_one_that_waits_for_what_is_queued_is_refused),
        cmocka_unit_test(a_wait_is_no_deadlock_while_another_thread_can_be_started),
        cmocka_unit_test(a_wait_is_never_refused_for_want_of_a_thread_that_is_just_starting),
        cmocka_unit_test(a_wait_is_no_deadlock_while_others_only_work),
        cmocka_unit_test(a_task_may_wait_with_a_limit_for_one_of_other_workers),
        cmocka_unit_test(a_refused_wait_leaves_its_task_to_be_waited_for),
        cmocka_unit_test(the_only_thread_cannot_wait_for_room_in_its_own_queue),
        cmocka_unit_test(a_task_waits_for_room_while_another_thread_can_make_some),
        cmocka_unit_test(the_last_thread_that_would_wait_for_room_is_refused),
        cmocka_unit_test(waiting_for_room_beside_one_that_waits_for_what_is_queued_is_refused),
        cmocka_unit_test(draining_takes_no_more_and_waits_for_all),
        cmocka_unit_test(a_drain_that_gave_up_lets_the_tasks_go_on),
        cmocka_unit_test(stopping_ends_what_is_queued_and_cancels_what_runs),
        cmocka_unit_test(what_did_not_finish_in_time_is_told_and_finishes_later),
        cmocka_unit_test(giving_up_a_stop_or_close_is_an_event_with_a_count),
        cmocka_unit_test(the_unfinished_are_listed_running_ones_first),
        cmocka_unit_test(a_task_that_a_waiter_runs_is_waited_for_by_who_drains_stops_or_closes),
        cmocka_unit_test(of_a_task_and_what_it_assists_one_is_listed_and_one_cancelled),
        cmocka_unit_test(after_a_stop_it_can_be_restarted),
        cmocka_unit_test(after_a_close_that_gave_up_it_can_be_restarted),
        cmocka_unit_test(restarting_during_a_stop_lets_new_tasks_in_and_the_stop_goes_on),
        cmocka_unit_test(nothing_to_wait_for_ends_every_wait_at_once),
        cmocka_unit_test(a_task_cannot_submit_while_its_workers_drain),
        cmocka_unit_test(map_runs_each_item_once_and_gives_each_result),
        cmocka_unit_test(a_map_of_nothing_does_nothing),
        cmocka_unit_test(misused_maps_are_refused),
        cmocka_unit_test(items_without_a_size_are_all_the_same),
        cmocka_unit_test(map_works_with_as_many_threads_as_there_may_be_its_own_among_them),
        cmocka_unit_test(map_runs_at_most_64_items_at_once),
        cmocka_unit_test(the_ctx_of_a_map_comes_to_its_items),
        cmocka_unit_test(a_map_that_is_cancelled_says_which_items_never_ran),
        cmocka_unit_test(a_map_that_is_late_says_which_items_never_ran),
        cmocka_unit_test(a_full_queue_leaves_a_map_to_its_own_thread),
        cmocka_unit_test(busy_or_drained_workers_leave_a_map_to_its_own_thread),
        cmocka_unit_test(tasks_may_map_on_their_own_workers),
        cmocka_unit_test(items_may_map_again),
        cmocka_unit_test(a_map_never_returns_before_its_items_have),
        cmocka_unit_test(a_task_that_blocks_does_not_hold_up_the_others),
#ifndef _WIN32
        cmocka_unit_test(a_task_that_ends_its_thread_is_told_and_takes_no_other_down),
        cmocka_unit_test(a_node_whose_task_ended_its_thread_can_be_used_again),
        cmocka_unit_test(a_task_may_end_the_thread_of_who_waits_for_it),
        cmocka_unit_test(a_task_may_end_the_thread_of_who_submits_it),
        cmocka_unit_test(what_a_task_assists_may_end_the_thread_of_both),
#endif
        cmocka_unit_test(counts_say_how_each_task_ended),
        cmocka_unit_test(counts_add_up_when_a_deadline_passes_in_the_middle_of_a_submit),
        cmocka_unit_test(counts_of_nothing_are_zero),
        cmocka_unit_test(events_name_their_source_and_have_numbers_of_their_own),
        cmocka_unit_test(errno_is_kept),
        cmocka_unit_test(every_failed_allocation_leaves_nothing_behind),
        cmocka_unit_test(a_queue_larger_than_memory_is_told),
        cmocka_unit_test(only_opening_takes_memory),
        cmocka_unit_test(a_task_is_128_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
