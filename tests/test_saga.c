/* SPDX-License-Identifier: MIT
   test_saga.c: saga.h without a journal: definitions, the builder, and rsl_saga_run in virtual
   time. What decides is watched through 10,000 random sagas in test_saga_model.c. */
#include "support/allocator.h"

#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/support.h"

#include "support/saga_rig.h"

/* A start of time that is neither zero nor round. */
#define START (RSL_SEC(1000) + 7)

/* ------------------------------------------------------------------- stage */

/* A rig in virtual time. */
typedef struct stage {
    saga_rig      rig;
    virtual_clock time;
    rsl_clock     clock;
    rsl_ctx       ctx;       /* its clock is the one above */
    rsl_cancel    cancel;    /* ready, but not in ctx */
    rsl_time      deadline;  /* of the definitions that play makes (0) */
    rsl_time      takes;     /* what each action takes, once slow_action is the rig's during */
    const char   *who;       /* for a during: the step it acts on */
    int           seen;      /* for a during */
    long          live;      /* blocks at the beginning */
} stage;

static int stage_set(void **state)
{
    stage *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    saga_rig_init(&s->rig);
    s->rig.arg = s;
    s->time.now = START;
    s->clock = virtual_clock_as(&s->time);
    s->ctx.clock = &s->clock;
    assert_int_equal(rsl_cancel_init(&s->cancel, NULL), RSL_OK);
    s->live = support_live();
    *state = s;
    return 0;
}

static int stage_strike(void **state)
{
    stage *s = *state;
    support_fail_never();
    assert_int_equal(support_live(), s->live);
    rsl_cancel_deinit(&s->cancel);
    saga_rig_deinit(&s->rig);
    free(s);
    return 0;
}

static int play(stage *s, const rsl_saga_step *steps, size_t count)
{
    rsl_saga_def def = {"play", 1, steps, count, s->deadline};
    return rsl_saga_run(&def, &s->ctx, &s->rig);
}

#define PLAY(s, steps) play((s), (steps), RSL_COUNT(steps))

/* When the n-th call of an action began, since the start. */
static rsl_time began_at(const stage *s, const char *name, bool undo, size_t n)
{
    const saga_call *call = saga_rig_find(&s->rig, name, undo, n);
    assert_non_null(call);
    return call->at - START;
}

/* The step's compensation was called once, before that of the other one. */
static void undone_before(const stage *s, const char *first, const char *second)
{
    const saga_call *a = saga_rig_find(&s->rig, first, true, 1);
    const saga_call *b = saga_rig_find(&s->rig, second, true, 1);
    assert_non_null(a);
    assert_non_null(b);
    assert_true(a->ended < b->began);
    assert_null(saga_rig_find(&s->rig, first, true, 2));
    assert_null(saga_rig_find(&s->rig, second, true, 2));
}

static void slow_action(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    stage *s = rig->arg;
    (void)outcome;
    if (!rsl_step_is_undo(step)) {
        s->time.now += s->takes;
    }
}

static bool is_who(const stage *s, const rsl_step *step)
{
    return !rsl_step_is_undo(step) && strcmp(rsl_step_name(step), s->who) == 0;
}

static void who_is_cancelled(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    stage *s = rig->arg;
    (void)outcome;
    if (is_who(s, step)) {
        rsl_cancel_fire(&s->cancel);
    }
}

/* ------------------------------------------------------------- definitions */

static void refuse_def(const rsl_saga_def *def, const char *step, const char *field)
{
    const char *named = "left as it was";
    const char *why = rsl_saga_def_check(def, &named);
    size_t length = strlen(field);
    assert_non_null(why);
    if (strncmp(why, field, length) != 0 || strncmp(why + length, ": ", 2) != 0
        || why[length + 2] == '\0') {
        fail_msg("\"%s\" does not read \"%s: reason\"", why, field);
    }
    if (step == NULL) {
        assert_null(named);
    } else {
        assert_non_null(named);
        assert_string_equal(named, step);
    }
    assert_ptr_equal(rsl_saga_def_check(def, NULL), why);
    assert_int_equal(rsl_saga_run(def, NULL, NULL), RSL_EINVAL);
}

static void refuse(const rsl_saga_step *steps, size_t count, const char *step, const char *field)
{
    rsl_saga_def def = {"refused", 1, steps, count, 0};
    refuse_def(&def, step, field);
}

#define REFUSE(steps, step, field) refuse((steps), RSL_COUNT(steps), (step), (field))

static void accept_def(const rsl_saga_def *def)
{
    const char *named = "left as it was";
    const char *why = rsl_saga_def_check(def, &named);
    if (why != NULL) {
        fail_msg("refused: %s", why);
    }
    assert_null(named);
}

static void accept(const rsl_saga_step *steps, size_t count)
{
    rsl_saga_def def = {"accepted", 1, steps, count, 0};
    accept_def(&def);
}

#define ACCEPT(steps) accept((steps), RSL_COUNT(steps))

/* Those that a name cannot be, but for NULL. */
static const char *const bad_names[] = {
    "", "a/b", "/", "a,b", ",", "a\nb", "\t", "\x1f", "\x7f",
    "0123456789012345678901234567890123456789012345678901234567890123"};

static void a_def_that_is_null_is_refused(void **state)
{
    (void)state;
    const char *named = "left as it was";
    assert_string_equal(rsl_saga_def_check(NULL, &named), "def: must not be NULL");
    assert_null(named);
    assert_string_equal(rsl_saga_def_check(NULL, NULL), "def: must not be NULL");
    assert_int_equal(rsl_saga_run(NULL, NULL, NULL), RSL_EINVAL);
}

static void a_def_needs_a_name_that_can_be_one(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a")};
    rsl_saga_def def = {NULL, 1, steps, 1, 0};
    refuse_def(&def, NULL, "name");
    for (size_t i = 0; i < RSL_COUNT(bad_names); i++) {
        def.name = bad_names[i];
        refuse_def(&def, NULL, "name");
    }
}

static void a_def_needs_1_to_256_steps(void **state)
{
    (void)state;
    static rsl_saga_step many[257];
    refuse(NULL, 1, NULL, "steps");
    refuse(many, 0, NULL, "steps");
    refuse(many, RSL_COUNT(many), NULL, "count");
    refuse(many, SIZE_MAX, NULL, "count");
}

static void a_negative_deadline_is_refused(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a")};
    rsl_saga_def def = {"late", 1, steps, 1, RSL_NONE};
    refuse_def(&def, NULL, "deadline");
    def.deadline = INT64_MIN;
    refuse_def(&def, NULL, "deadline");
}

static void a_step_needs_a_name_that_can_be_one(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step(NULL), saga_step("c")};
    REFUSE(steps, NULL, "name");
    for (size_t i = 0; i < RSL_COUNT(bad_names); i++) {
        steps[1].name = bad_names[i];
        REFUSE(steps, bad_names[i], "name");
    }
}

static void a_name_used_twice_is_refused(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c"), saga_step("b")};
    REFUSE(steps, "b", "name");
}

static void a_step_without_an_action_is_refused(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[1].run = NULL;
    REFUSE(steps, "b", "run");
}

static void a_negative_timeout_is_refused(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[1].timeout = RSL_NONE;
    REFUSE(steps, "b", "timeout");
}

static void unknown_flags_are_refused(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("b", 8)};
    REFUSE(steps, "b", "flags");
    steps[1].flags = 0x80000000u | RSL_STEP_RETRIABLE;
    REFUSE(steps, "b", "flags");
}

static void waits_out_of_range_are_refused_by_their_field(void **state)
{
    (void)state;
    static const struct { rsl_saga_retry retry; const char *run, *undo; } wrong[] = {
        {{0, -2, 0, 0}, "retry.delay_first", "undo_retry.delay_first"},
        {{0, INT64_MIN, 0, 0}, "retry.delay_first", "undo_retry.delay_first"},
        {{0, 0, RSL_NONE, 0}, "retry.delay_max", "undo_retry.delay_max"},
        {{0, RSL_MS(2), RSL_MS(1), 0}, "retry.delay_max", "undo_retry.delay_max"},
        {{0, 0, 0, 0.999}, "retry.multiplier", "undo_retry.multiplier"},
        {{0, 0, 0, -2}, "retry.multiplier", "undo_retry.multiplier"},
        {{0, 0, 0, (double)NAN}, "retry.multiplier", "undo_retry.multiplier"},
        {{0, 0, 0, (double)INFINITY}, "retry.multiplier", "undo_retry.multiplier"}};
    for (size_t i = 0; i < RSL_COUNT(wrong); i++) {
        rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
        steps[1].retry = wrong[i].retry;
        REFUSE(steps, "b", wrong[i].run);
        steps[1].retry = steps[0].retry;
        steps[1].undo_retry = wrong[i].retry;
        REFUSE(steps, "b", wrong[i].undo);
    }
}

static void after_that_names_nobody_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"x", "a,x", "x,a", "a,,c", ",a", ",", "a,", "a, c", "ab",
                                        "a,c,", "A"};
    for (size_t i = 0; i < RSL_COUNT(wrong); i++) {
        rsl_saga_step steps[] = {saga_step("a"), saga_step_after("b", wrong[i]),
                                 saga_step_after("c", "")};
        REFUSE(steps, "b", "after");
    }
}

static void after_that_names_the_step_itself_is_refused(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_after("b", "a,b")};
    REFUSE(steps, "b", "after");
}

static void cycles_are_refused(void **state)
{
    (void)state;
    rsl_saga_step two[] = {saga_step("a"), saga_step_after("b", "c"), saga_step_after("c", "b")};
    REFUSE(two, "b", "after");
    rsl_saga_step all[] = {saga_step_after("a", "c"), saga_step("b"), saga_step("c")};
    REFUSE(all, "a", "after");
}

static void of_a_cycle_a_step_on_it_is_named_and_not_one_behind_it(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step_after("behind", "q,fine"), saga_step_after("fine", ""),
                             saga_step_after("further", "behind"), saga_step_after("p", "r"),
                             saga_step_after("q", "p"), saga_step_after("r", "q")};
    rsl_saga_def def = {"cycle", 1, steps, RSL_COUNT(steps), 0};
    const char *named = NULL;
    assert_non_null(rsl_saga_def_check(&def, &named));
    assert_non_null(named);
    assert_non_null(strstr("p q r", named));
}

static void a_second_pivot_is_refused(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step_flagged("a", RSL_STEP_PIVOT),
                             saga_step_flagged("b", RSL_STEP_PIVOT | RSL_STEP_RETRIABLE)};
    REFUSE(steps, "b", "flags");
}

static void a_step_beside_the_pivot_is_refused(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT),
                             saga_step_after("b", "a")};
    REFUSE(steps, "b", "after");
    steps[2].flags = RSL_STEP_RETRIABLE; /* it may still be under way when the pivot fails */
    REFUSE(steps, "b", "after");
    steps[2].after = "";
    REFUSE(steps, "b", "after");
}

static void a_step_after_the_pivot_must_be_retriable(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT),
                             saga_step_flagged("b", RSL_STEP_RETRIABLE), saga_step("c")};
    REFUSE(steps, "c", "flags");
}

static void a_savepoint_at_or_after_the_pivot_is_refused(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step_flagged("p", RSL_STEP_PIVOT),
                             saga_step_flagged("b", RSL_STEP_RETRIABLE | RSL_STEP_SAVEPOINT)};
    REFUSE(steps, "b", "flags");
    steps[0].flags |= RSL_STEP_SAVEPOINT;
    steps[1].flags = RSL_STEP_RETRIABLE;
    REFUSE(steps, "p", "flags");
}

static void the_first_step_at_fault_is_named(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    steps[1].timeout = -1;
    steps[2].run = NULL;
    REFUSE(steps, "b", "timeout");
}

static void one_step_alone_is_a_saga(void **state)
{
    (void)state;
    rsl_saga_step plain[] = {saga_step("a")};
    ACCEPT(plain);
    rsl_saga_step bare[] = {{.name = "a", .run = saga_rig_run}};
    ACCEPT(bare);
    rsl_saga_step pivot[] = {saga_step_flagged("a", RSL_STEP_PIVOT | RSL_STEP_RETRIABLE)};
    ACCEPT(pivot);
    rsl_saga_step savepoint[] = {saga_step_flagged("a", RSL_STEP_SAVEPOINT)};
    ACCEPT(savepoint);
}

static void names_of_63_bytes_and_beyond_ascii_are_accepted(void **state)
{
    (void)state;
    const char *longest = "012345678901234567890123456789012345678901234567890123456789012";
    rsl_saga_step steps[] = {saga_step(longest), saga_step("größe"), saga_step("支払い"),
                             saga_step("a b"), saga_step("\xff\x80"),
                             saga_step_after("x", "größe")};
    rsl_saga_def def = {longest, 1, steps, RSL_COUNT(steps), 0};
    accept_def(&def);
    def.name = "注文";
    accept_def(&def);
}

static void after_may_name_later_steps_prefixes_and_the_same_step_twice(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step_after("a", "abc,ab"), saga_step_after("ab", "abc,abc"),
                             saga_step_after("abc", "")};
    ACCEPT(steps);
}

static void numbers_at_their_limits_are_accepted(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[0].timeout = RSL_FOREVER;
    steps[0].retry = (rsl_saga_retry){RSL_UNLIMITED, RSL_NONE, 0, 1};
    steps[0].undo_retry = (rsl_saga_retry){1, RSL_MS(5), RSL_MS(5), 1e300};
    steps[1].retry = (rsl_saga_retry){0, RSL_FOREVER, RSL_FOREVER, 0};
    steps[1].undo_retry = (rsl_saga_retry){0, RSL_NONE, 1, 0};
    rsl_saga_def def = {"limits", 0, steps, RSL_COUNT(steps), RSL_FOREVER};
    accept_def(&def);
    def.version = UINT32_MAX;
    def.deadline = 1;
    accept_def(&def);
}

static void a_pivot_with_all_that_it_asks_for_is_accepted(void **state)
{
    (void)state;
    rsl_saga_step steps[] = {
        saga_step_flagged("a", RSL_STEP_SAVEPOINT), saga_step_after("b", ""),
        saga_step_after("p", "a,b"), saga_step_after("c", "p"), saga_step_after("d", "p"),
        saga_step_after("e", "c,d")};
    steps[1].flags = RSL_STEP_RETRIABLE;
    steps[2].flags = RSL_STEP_PIVOT;
    for (size_t i = 3; i < RSL_COUNT(steps); i++) {
        steps[i].flags = RSL_STEP_RETRIABLE;
    }
    ACCEPT(steps);
}

/* 256 steps, each after all earlier ones by name: the densest that there is. */
static void the_largest_saga_is_accepted_and_runs_in_order(void **state)
{
    stage *s = *state;
    static rsl_saga_step steps[RSL_SAGA_STEPS_MAX];
    static char names[RSL_SAGA_STEPS_MAX][4], after[RSL_SAGA_STEPS_MAX * 4];
    for (size_t i = 0; i < RSL_COUNT(steps); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "%zu", i);
        steps[i] = saga_step(names[i]);
        if (i + 1 < RSL_COUNT(steps)) {
            strcat(strcat(after, i > 0 ? "," : ""), names[i]);
        }
    }
    steps[255].after = after;
    ACCEPT(steps);
    saga_rig_script(&s->rig, "255", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    assert_int_equal(s->rig.count, 256 + 255);
    for (size_t i = 0; i < 256 + 255; i++) {
        const saga_call *call = &s->rig.calls[i];
        assert_int_equal(call->undo, i > 255);
        assert_string_equal(call->name, names[i > 255 ? 510 - i : i]);
    }
}

/* ----------------------------------------------------------------- builder */

static void a_builder_copies_what_it_is_given(void **state)
{
    stage *s = *state;
    char saga[] = "built", first[] = "a", second[] = "b", third[] = "c", after[] = "a";
    rsl_saga_builder builder;
    assert_int_equal(rsl_saga_builder_init(&builder, saga, 3, RSL_SEC(9)), RSL_OK);
    rsl_saga_step step = saga_step(first);
    assert_int_equal(rsl_saga_builder_add(&builder, &step), RSL_OK);
    step = saga_step_after(second, "");
    step.timeout = RSL_SEC(2);
    assert_int_equal(rsl_saga_builder_add(&builder, &step), RSL_OK);
    step = saga_step_after(third, after);
    assert_int_equal(rsl_saga_builder_add(&builder, &step), RSL_OK);
    memset(saga, '#', sizeof(saga) - 1);
    memset(&step, 0, sizeof(step));
    first[0] = second[0] = third[0] = after[0] = '#';

    accept_def(&builder.def);
    assert_string_equal(builder.def.name, "built");
    assert_int_equal(builder.def.version, 3);
    assert_int_equal(builder.def.deadline, RSL_SEC(9));
    assert_int_equal(builder.def.count, 3);
    assert_null(builder.def.steps[0].after);
    assert_string_equal(builder.def.steps[1].name, "b");
    assert_string_equal(builder.def.steps[1].after, "");
    assert_int_equal(builder.def.steps[1].timeout, RSL_SEC(2));
    assert_string_equal(builder.def.steps[2].after, "a");
    saga_rig_script(&s->rig, "c", "F");
    assert_int_equal(rsl_saga_run(&builder.def, &s->ctx, &s->rig), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b c:F -b -a");
    rsl_saga_builder_deinit(&builder);
}

static void a_builder_takes_256_steps_and_no_more(void **state)
{
    stage *s = *state;
    rsl_saga_builder builder;
    assert_int_equal(rsl_saga_builder_init(&builder, "many", 1, 0), RSL_OK);
    for (int i = 0; i < RSL_SAGA_STEPS_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%d", i);
        rsl_saga_step step = saga_step(name);
        assert_int_equal(rsl_saga_builder_add(&builder, &step), RSL_OK);
    }
    rsl_saga_step more = saga_step("more");
    assert_int_equal(rsl_saga_builder_add(&builder, &more), RSL_EFULL);
    assert_int_equal(builder.def.count, RSL_SAGA_STEPS_MAX);
    accept_def(&builder.def);
    assert_int_equal(rsl_saga_run(&builder.def, &s->ctx, &s->rig), RSL_OK);
    assert_int_equal(s->rig.count, RSL_SAGA_STEPS_MAX);
    rsl_saga_builder_deinit(&builder);
}

static void a_builder_refuses_null_and_a_name_that_is_too_long(void **state)
{
    (void)state;
    rsl_saga_builder builder;
    rsl_saga_step step = saga_step("a");
    assert_int_equal(rsl_saga_builder_init(NULL, "x", 1, 0), RSL_EINVAL);
    assert_int_equal(rsl_saga_builder_init(&builder, NULL, 1, 0), RSL_EINVAL);
    assert_int_equal(rsl_saga_builder_init(&builder, bad_names[RSL_COUNT(bad_names) - 1], 1, 0),
                     RSL_EINVAL);
    assert_int_equal(rsl_saga_builder_init(&builder, "x", 1, 0), RSL_OK);
    assert_int_equal(rsl_saga_builder_add(NULL, &step), RSL_EINVAL);
    assert_int_equal(rsl_saga_builder_add(&builder, NULL), RSL_EINVAL);
    step.name = NULL;
    assert_int_equal(rsl_saga_builder_add(&builder, &step), RSL_EINVAL);
    assert_int_equal(builder.def.count, 0);
    rsl_saga_builder_deinit(&builder);
    rsl_saga_builder_deinit(NULL);
}

static void what_a_builder_holds_is_checked_as_any_definition(void **state)
{
    (void)state;
    rsl_saga_builder builder;
    assert_int_equal(rsl_saga_builder_init(&builder, "built", 1, 0), RSL_OK);
    refuse_def(&builder.def, NULL, "steps");
    rsl_saga_step step = saga_step_after("a", "b");
    assert_int_equal(rsl_saga_builder_add(&builder, &step), RSL_OK);
    refuse_def(&builder.def, "a", "after");
    step = saga_step_after("b", "");
    assert_int_equal(rsl_saga_builder_add(&builder, &step), RSL_OK);
    accept_def(&builder.def);
    step.name = bad_names[RSL_COUNT(bad_names) - 1];
    assert_int_equal(rsl_saga_builder_add(&builder, &step), RSL_OK);
    refuse_def(&builder.def, step.name, "name");
    rsl_saga_builder_deinit(&builder);
}

static void a_builder_bears_each_failed_allocation(void **state)
{
    stage *s = *state;
    rsl_saga_builder builder;
    assert_int_equal(rsl_saga_builder_init(&builder, "scarce", 1, 0), RSL_OK);
    for (int i = 0; i < 40; i++) {
        char name[16], after[16];
        (void)snprintf(name, sizeof(name), "s%d", i);
        (void)snprintf(after, sizeof(after), "s%d", i - 1);
        rsl_saga_step step = saga_step_after(name, i > 0 ? after : "");
        int status = RSL_ENOMEM;
        for (long nth = 1; status == RSL_ENOMEM; nth++) {
            const rsl_saga_step *steps = builder.def.steps;
            long live = support_live();
            support_fail_nth(nth);
            status = rsl_saga_builder_add(&builder, &step);
            if (status == RSL_ENOMEM) {
                assert_int_equal(builder.def.count, i);
                assert_ptr_equal(builder.def.steps, steps);
                assert_int_equal(support_live(), live);
            }
            assert_true(nth == 1 ? status == RSL_ENOMEM : nth <= 3);
        }
        assert_int_equal(status, RSL_OK);
    }
    support_fail_never();
    assert_int_equal(rsl_saga_run(&builder.def, &s->ctx, &s->rig), RSL_OK);
    assert_int_equal(s->rig.count, 40);
    rsl_saga_builder_deinit(&builder);
}

static void remove_journal(const char *folder)
{
    static const char *const files[] = {"journal", "lock", "journal.new", "journal.torn"};
    char path[128];
    for (size_t i = 0; i < RSL_COUNT(files); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
}

/* A journal of its own in virtual time, worked on by who waits. */
static rsl_sagas *open_journal(stage *s, char *folder)
{
    rsl_sagas *sagas = NULL;
    assert_non_null(mkdtemp(folder));
    rsl_sagas_config config = {.path = folder, .caller_works = true, .clock = s->clock};
    assert_int_equal(rsl_sagas_open(&sagas, &config), RSL_OK);
    return sagas;
}

/* Begins the saga, and returns how it ended. */
static rsl_saga_state play_journaled(rsl_sagas *sagas, const char *def)
{
    rsl_saga_id id = 0;
    rsl_saga_state end = RSL_SAGA_RUNNING;
    assert_int_equal(rsl_sagas_recover(sagas), RSL_OK);
    assert_int_equal(rsl_sagas_start(sagas, def, "k", NULL, 0, &id), RSL_OK);
    assert_int_equal(rsl_sagas_wait(sagas, id, NULL, &end), RSL_OK);
    return end;
}

static void a_registered_definition_outlives_its_builder(void **state)
{
    stage *s = *state;
    char folder[] = "/tmp/test_saga.XXXXXX";
    rsl_sagas *sagas = open_journal(s, folder);
    rsl_saga_builder builder;
    assert_int_equal(rsl_saga_builder_init(&builder, "built", 1, 0), RSL_OK);
    rsl_saga_step step = saga_step("a");
    assert_int_equal(rsl_saga_builder_add(&builder, &step), RSL_OK);
    step = saga_step_after("b", "a");
    assert_int_equal(rsl_saga_builder_add(&builder, &step), RSL_OK);
    assert_int_equal(rsl_sagas_register(sagas, &builder.def, &s->rig), RSL_OK);
    rsl_saga_builder_deinit(&builder);

    assert_int_equal(play_journaled(sagas, "built"), RSL_SAGA_DONE);
    saga_rig_expect(&s->rig, "a b");
    assert_int_equal(rsl_sagas_close(sagas, NULL), RSL_OK);
    remove_journal(folder);
}

/* -------------------------------------------------------------- outcomes */

static void all_done_is_ok_and_nothing_is_undone(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    assert_int_equal(PLAY(s, steps), RSL_OK);
    saga_rig_expect(&s->rig, "a b c");
}

static void a_second_step_that_fails_has_the_first_undone_once_and_not_itself(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    saga_rig_script(&s->rig, "b", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b:F -a");
}

static void compensations_that_fail_the_first_time_are_retried_and_each_ends_once(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    saga_rig_script(&s->rig, "c", "F");
    saga_rig_script_undo(&s->rig, "b", "F");
    saga_rig_script_undo(&s->rig, "a", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b c:F -b:F -b+ -a:F -a+");
}

static void an_unknown_outcome_is_undone_as_maybe_and_then_what_came_before(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    saga_rig_script(&s->rig, "b", "U");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b:U -b? -a");
}

static void the_first_step_alone_may_fail(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    saga_rig_script(&s->rig, "a", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a:F");
}

static void a_step_without_a_compensation_is_passed_over(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c"), saga_step("d")};
    steps[1].undo = NULL;
    steps[3].undo = NULL;
    saga_rig_script(&s->rig, "d", "U");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b c d:U -c -a");
}

static void retry_calls_again_until_it_is_done(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    saga_rig_script(&s->rig, "a", "RR");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    saga_rig_expect(&s->rig, "a:R a?+:R a?+ b");
    for (size_t n = 1; n <= 3; n++) {
        const saga_call *call = saga_rig_find(&s->rig, "a", false, n);
        assert_int_equal(call->attempt, n);
        assert_int_equal(call->ctx.attempt, n);
    }
}

static void retry_out_of_attempts_is_in_doubt(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    saga_rig_script(&s->rig, "b", "R*");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b:R b?+:R b?+:R -b? -a");
    saga_rig_clear(&s->rig);
    steps[1].retry.attempts_max = 1;
    saga_rig_script(&s->rig, "b", "R*");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b:R -b? -a");
}

static void fail_after_retry_is_in_doubt(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    saga_rig_script(&s->rig, "b", "RF");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b:R b?+:F -b? -a");
}

static void done_after_retry_is_undone_for_certain(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    saga_rig_script(&s->rig, "a", "R");
    saga_rig_script(&s->rig, "b", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a:R a?+ b:F -a");
}

static void a_number_that_is_no_outcome_is_unknown(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    saga_rig_script(&s->rig, "b", "G");
    saga_rig_script_undo(&s->rig, "b", "G");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b:G -b?:G -b?+ -a");
}

static void a_compensation_is_tried_again_whatever_it_says(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    saga_rig_script(&s->rig, "b", "F");
    saga_rig_script_undo(&s->rig, "a", "FRUG");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b:F -a:F -a+:R -a+:U -a+:G -a+");
}

static void attempts_of_a_compensation_are_counted_apart_from_those_of_its_action(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[0].undo_retry.attempts_max = 2;
    saga_rig_script(&s->rig, "a", "RR");
    saga_rig_script(&s->rig, "b", "F");
    saga_rig_script_undo(&s->rig, "a", "R");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a:R a?+:R a?+ b:F -a:R -a+");
    assert_int_equal(saga_rig_find(&s->rig, "a", true, 2)->attempt, 2);
    assert_int_equal(saga_rig_find(&s->rig, "a", true, 2)->ctx.attempt, 2);
}

static void fail_returns_the_outcome_that_it_is_given(void **state)
{
    (void)state;
    assert_int_equal(rsl_step_fail(NULL, RSL_STEP_RETRY, 5), RSL_STEP_RETRY);
    assert_int_equal(rsl_step_fail(NULL, RSL_STEP_OK, 5), RSL_STEP_OK);
    assert_int_equal(rsl_step_fail(NULL, (rsl_outcome)99, 5), 99);
}

/* ----------------------------------------------------------------- parking */

static void a_compensation_out_of_attempts_parks_and_what_it_needs_undone_first_stays(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    steps[1].undo_retry.attempts_max = 2;
    saga_rig_script(&s->rig, "c", "F");
    saga_rig_script_undo(&s->rig, "b", "F*");
    assert_int_equal(PLAY(s, steps), RSL_EPARKED);
    saga_rig_expect(&s->rig, "a b c:F -b:F -b+:F");
}

static void a_compensation_has_8_attempts_if_nothing_is_said(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    saga_rig_script(&s->rig, "b", "F");
    saga_rig_script_undo(&s->rig, "a", "RRRRRRRR");
    assert_int_equal(PLAY(s, steps), RSL_EPARKED);
    assert_int_equal(saga_rig_count(&s->rig, "a", true), 8);
}

static void branches_beside_the_one_that_is_stuck_are_still_compensated(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("root"), saga_step("a"), saga_step_after("x", ""),
                             saga_step_after("y", "x"), saga_step_after("z", "a,y")};
    saga_rig_script(&s->rig, "z", "F");
    saga_rig_script_undo(&s->rig, "a", "F*");
    assert_int_equal(PLAY(s, steps), RSL_EPARKED);
    undone_before(s, "y", "x");
    assert_int_equal(saga_rig_count(&s->rig, "a", true), 8);
    assert_int_equal(saga_rig_count(&s->rig, "root", true), 0);
}

/* -------------------------------------------------------------------- dags */

static void parallel_a_and_b_before_c_and_b_fails_undoes_a_and_never_starts_c(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_after("b", ""),
                             saga_step_after("c", "a,b")};
    saga_rig_script(&s->rig, "b", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b:F -a");
}

static void a_step_that_fails_keeps_those_beside_it_from_starting(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_after("b", "")};
    saga_rig_script(&s->rig, "a", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a:F");
}

static void a_step_that_waits_does_not_hold_up_those_beside_it(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_after("b", ""), saga_step("c"),
                             saga_step_after("d", "a,c")};
    saga_rig_script(&s->rig, "a", "R");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    saga_rig_expect(&s->rig, "a:R b c a?+ d");
}

static void a_step_that_waits_is_undone_as_maybe_when_another_fails(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_after("b", "")};
    saga_rig_script(&s->rig, "a", "R");
    saga_rig_script(&s->rig, "b", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a:R b:F -a?");
}

static void forward_references_decide_the_order_and_not_the_place(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_after("third", "second"), saga_step_after("first", ""),
                             saga_step_after("second", "first"), saga_step_after("last", "third")};
    saga_rig_script(&s->rig, "last", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "first second third last:F -third -second -first");
}

static void a_diamond_is_undone_backwards(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step_after("c", "a"),
                             saga_step_after("d", "b,c"), saga_step("e")};
    saga_rig_script(&s->rig, "e", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    undone_before(s, "d", "b");
    undone_before(s, "d", "c");
    undone_before(s, "b", "a");
    undone_before(s, "c", "a");
    assert_int_equal(saga_rig_count(&s->rig, "e", true), 0);
}

static void order_holds_across_a_step_that_has_nothing_to_undo(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_after("c", "b"), saga_step_after("b", "a"),
                             saga_step_after("a", ""), saga_step_after("d", "c")};
    steps[1].undo = NULL;
    saga_rig_script(&s->rig, "d", "F");
    saga_rig_script_undo(&s->rig, "c", "R");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b c d:F -c:R -c+ -a");
}

static void a_compensation_that_waits_does_not_hold_up_branches_beside_it(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_after("b", ""),
                             saga_step_after("c", "a,b")};
    saga_rig_script(&s->rig, "c", "F");
    saga_rig_script_undo(&s->rig, "a", "R");
    saga_rig_script_undo(&s->rig, "b", "R");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    rsl_time first = began_at(s, "a", true, 1);
    assert_int_equal(began_at(s, "b", true, 1), first);
    assert_int_equal(began_at(s, "a", true, 2), first + RSL_MS(100));
    assert_int_equal(began_at(s, "b", true, 2), first + RSL_MS(100));
}

/* -------------------------------------------------- pivots and retriable steps */

static void after_the_pivot_a_step_that_fails_5_times_goes_forward(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT),
                             saga_step_flagged("c", RSL_STEP_RETRIABLE)};
    saga_rig_script(&s->rig, "c", "FUGRF");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(saga_rig_count(&s->rig, "c", false), 6);
    assert_int_equal(saga_rig_count(&s->rig, "c", true), 0);
    assert_int_equal(saga_rig_count(&s->rig, "p", true), 0);
    assert_int_equal(saga_rig_count(&s->rig, "a", true), 0);
}

static void a_retriable_step_without_a_pivot_is_tried_without_end(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("b", RSL_STEP_RETRIABLE)};
    saga_rig_script(&s->rig, "b", "FFFFFFFFFFUUUUUUUUUURRRRRRRRRRGGGGGGGGGG");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(saga_rig_count(&s->rig, "b", false), 41);
    assert_int_equal(s->rig.count, 42);
}

static void a_pivot_that_fails_turns_back(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT)};
    saga_rig_script(&s->rig, "p", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a p:F -a");
}

static void a_pivot_in_doubt_that_nothing_undoes_parks_and_nothing_is_undone(void **state)
{
    stage *s = *state;
    static const char *const scripts[] = {"U", "G", "RF", "RRR", "RU"};
    for (size_t i = 0; i < RSL_COUNT(scripts); i++) {
        rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT),
                                 saga_step_flagged("c", RSL_STEP_RETRIABLE)};
        steps[1].undo = NULL;
        saga_rig_clear(&s->rig);
        saga_rig_script(&s->rig, "p", scripts[i]);
        assert_int_equal(PLAY(s, steps), RSL_EPARKED);
        assert_int_equal(saga_rig_count(&s->rig, "p", false), strlen(scripts[i]));
        assert_int_equal(s->rig.count, 1 + strlen(scripts[i]));
    }
}

static void a_pivot_in_doubt_with_a_compensation_is_undone(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT),
                             saga_step_flagged("c", RSL_STEP_RETRIABLE)};
    saga_rig_script(&s->rig, "p", "U");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a p:U -p? -a");
}

static void a_retriable_pivot_is_never_in_doubt(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"),
                             saga_step_flagged("p", RSL_STEP_PIVOT | RSL_STEP_RETRIABLE)};
    steps[1].undo = NULL;
    saga_rig_script(&s->rig, "p", "UFRG");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(saga_rig_count(&s->rig, "p", false), 5);
    assert_int_equal(s->rig.count, 6);
}

/* -------------------------------------------------------------- savepoints */

static void a_savepoint_has_what_comes_after_it_undone_and_begun_anew(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("s", RSL_STEP_SAVEPOINT),
                             saga_step("b"), saga_step("c")};
    saga_rig_script(&s->rig, "c", "F");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    saga_rig_expect(&s->rig, "a s b c:F -b b c");
}

static void a_savepoint_is_returned_to_attempts_max_times_in_all(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("s", RSL_STEP_SAVEPOINT),
                             saga_step("b"), saga_step("c")};
    saga_rig_script(&s->rig, "c", "F*");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a s b c:F -b b c:F -b b c:F -b -s -a");
    saga_rig_clear(&s->rig);
    saga_rig_script(&s->rig, "c", "F*");
    steps[1].retry.attempts_max = 1;
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a s b c:F -b -s -a");
}

static void rounds_wait_as_the_retry_of_the_savepoint_says(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step("b")};
    steps[0].retry = (rsl_saga_retry){4, RSL_MS(10), RSL_MS(25), 2};
    saga_rig_script(&s->rig, "b", "F*");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "s b:F b:F b:F b:F -s");
    assert_int_equal(began_at(s, "b", false, 2), RSL_MS(10));
    assert_int_equal(began_at(s, "b", false, 3), RSL_MS(30));
    assert_int_equal(began_at(s, "b", false, 4), RSL_MS(55));
    assert_int_equal(began_at(s, "s", true, 1), RSL_MS(55));
}

static void each_round_has_all_attempts_and_knows_nothing_of_the_one_before(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step("b")};
    steps[0].retry.attempts_max = 2;
    saga_rig_script(&s->rig, "b", "RRRRF");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "s b:R b?+:R b?+:R -b? b:R b?+:F -b? -s");
}

static void each_round_has_keys_of_its_own(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step("b"),
                             saga_step("c")};
    saga_rig_script(&s->rig, "c", "F*");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    static const char *const ends[] = {"", "/2", "/3"};
    for (size_t round = 0; round < 3; round++) {
        char end[32];
        (void)snprintf(end, sizeof(end), "/0/b/run%s", ends[round]);
        const saga_call *call = saga_rig_find(&s->rig, "b", false, round + 1);
        assert_string_equal(call->key + 36, end);
        (void)snprintf(end, sizeof(end), "/0/b/undo%s", ends[round]);
        call = saga_rig_find(&s->rig, "b", true, round + 1);
        assert_string_equal(call->key + 36, end);
    }
    assert_string_equal(saga_rig_find(&s->rig, "s", true, 1)->key + 36, "/0/s/undo");
}

static void the_inner_of_two_savepoints_comes_first_and_its_rounds_are_spent_once(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT),
                             saga_step_flagged("t", RSL_STEP_SAVEPOINT), saga_step("b")};
    steps[0].retry.attempts_max = steps[1].retry.attempts_max = 2;
    saga_rig_script(&s->rig, "b", "F*");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "s t b:F b:F -t t b:F -t -s");
}

static void a_savepoint_beside_the_step_that_failed_does_not_count(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step_after("b", "")};
    saga_rig_script(&s->rig, "b", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "s b:F -s");
}

static void what_is_beside_a_savepoint_stays_done(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_after("x", ""), saga_step_after("s", ""), saga_step("b"),
                             saga_step_after("c", "x,b")};
    steps[1].flags = RSL_STEP_SAVEPOINT;
    saga_rig_script(&s->rig, "c", "F");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    saga_rig_expect(&s->rig, "x s b c:F -b b c");
}

static void a_savepoint_that_failed_itself_is_none(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("s", RSL_STEP_SAVEPOINT),
                             saga_step("b")};
    saga_rig_script(&s->rig, "s", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a s:F -a");
}

static void a_pivot_that_failed_may_be_tried_again_from_a_savepoint(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step("b"),
                             saga_step_flagged("p", RSL_STEP_PIVOT)};
    saga_rig_script(&s->rig, "p", "FU");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    saga_rig_expect(&s->rig, "s b p:F -b b p:U -p? -b b p");
}

static void a_compensation_stuck_behind_a_savepoint_parks_there(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("s", RSL_STEP_SAVEPOINT),
                             saga_step("b"), saga_step("c")};
    steps[2].undo_retry.attempts_max = 1;
    saga_rig_script(&s->rig, "c", "F");
    saga_rig_script_undo(&s->rig, "b", "F");
    assert_int_equal(PLAY(s, steps), RSL_EPARKED);
    saga_rig_expect(&s->rig, "a s b c:F -b:F");
}

static void a_step_that_waits_beside_the_savepoint_goes_on_after_the_return(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_after("x", ""), saga_step_after("s", ""), saga_step("b"),
                             saga_step_after("c", "x,b")};
    steps[0].retry.delay_first = RSL_SEC(5);
    steps[1].flags = RSL_STEP_SAVEPOINT;
    saga_rig_script(&s->rig, "x", "R");
    saga_rig_script(&s->rig, "b", "F");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    saga_rig_expect(&s->rig, "x:R s b:F b x?+ c");
    assert_int_equal(began_at(s, "x", false, 2), RSL_SEC(5));
}

/* With a journal: x is ready and waits for a thread when b fails. */
static void a_step_that_is_ready_beside_the_savepoint_is_run_for_all_that(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step("a"),
                             saga_step("b"), saga_step_after("v", ""), saga_step("w"),
                             saga_step("x")};
    rsl_saga_def def = {"ready", 1, steps, RSL_COUNT(steps), 0};
    char folder[] = "/tmp/test_saga.XXXXXX";
    rsl_sagas *sagas = open_journal(s, folder);
    assert_int_equal(rsl_sagas_register(sagas, &def, &s->rig), RSL_OK);
    saga_rig_script(&s->rig, "b", "F");
    assert_int_equal(play_journaled(sagas, "ready"), RSL_SAGA_DONE);
    saga_rig_expect(&s->rig, "s v a w b:F x -a a b");
    assert_int_equal(rsl_sagas_close(sagas, NULL), RSL_OK);
    remove_journal(folder);
}

static void count_fired(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    stage *s = rig->arg;
    (void)outcome;
    s->seen += rsl_cancel_fired(rsl_step_ctx(step).cancel);
}

/* With a journal: its steps' cancel is the saga's own, and fires once for good. */
static void a_return_to_a_savepoint_leaves_the_cancel_of_later_steps_alone(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step("a"),
                             saga_step("b")};
    rsl_saga_def def = {"again", 1, steps, RSL_COUNT(steps), 0};
    char folder[] = "/tmp/test_saga.XXXXXX";
    rsl_sagas *sagas = open_journal(s, folder);
    assert_int_equal(rsl_sagas_register(sagas, &def, &s->rig), RSL_OK);
    saga_rig_script(&s->rig, "b", "F");
    s->rig.during = count_fired;
    assert_int_equal(play_journaled(sagas, "again"), RSL_SAGA_DONE);
    saga_rig_expect(&s->rig, "s a b:F -a a b");
    assert_int_equal(s->seen, 0);
    assert_int_equal(rsl_sagas_close(sagas, NULL), RSL_OK);
    remove_journal(folder);
}

/* ------------------------------------------------------ deadline and cancel */

static void a_deadline_that_passes_has_what_was_done_undone(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    s->deadline = RSL_SEC(3);
    s->takes = RSL_SEC(2);
    s->rig.during = slow_action;
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b -b -a");
}

static void the_earlier_of_the_ctx_s_deadline_and_the_definition_s_counts(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    s->takes = RSL_SEC(2);
    s->rig.during = slow_action;
    s->deadline = RSL_SEC(3);
    s->ctx.deadline = START + RSL_SEC(1);
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a -a");
    assert_int_equal(s->rig.calls[0].ctx.deadline, START + RSL_SEC(1));
    saga_rig_clear(&s->rig);
    s->ctx.deadline = s->time.now + RSL_SEC(60);
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b -b -a");
}

static void a_deadline_that_has_passed_runs_nothing(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a")};
    s->ctx.deadline = START;
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "");
}

static void a_deadline_ends_a_backoff(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[1].retry.delay_first = RSL_SEC(60);
    s->deadline = RSL_SEC(7);
    saga_rig_script(&s->rig, "b", "R*");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b:R -b? -a");
    assert_int_equal(began_at(s, "b", true, 1), RSL_SEC(7));
}

static void a_retriable_step_before_any_pivot_ends_with_the_deadline(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("b", RSL_STEP_RETRIABLE)};
    s->deadline = RSL_SEC(1);
    saga_rig_script(&s->rig, "b", "F*");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    assert_int_equal(saga_rig_count(&s->rig, "b", true), 1);
    assert_int_equal(began_at(s, "b", true, 1), RSL_SEC(1));
    undone_before(s, "b", "a");
}

static void a_deadline_that_passes_in_the_last_step_undoes_that_too(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    s->deadline = RSL_SEC(3);
    s->takes = RSL_SEC(2);
    s->rig.during = slow_action;
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b -b -a");
}

static void a_deadline_that_passes_while_going_back_to_a_savepoint_goes_all_the_way(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step("b"),
                             saga_step("c")};
    s->deadline = RSL_MS(50);
    saga_rig_script(&s->rig, "c", "F");
    saga_rig_script_undo(&s->rig, "b", "R");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "s b c:F -b:R -b+ -s");
}

static void a_cancel_during_a_step_has_it_undone_and_starts_no_other(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    s->ctx.cancel = &s->cancel;
    s->who = "b";
    s->rig.during = who_is_cancelled;
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b -b -a");
    assert_ptr_equal(s->rig.calls[0].ctx.cancel, &s->cancel);
}

static void a_cancel_before_the_start_runs_nothing(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a")};
    s->ctx.cancel = &s->cancel;
    rsl_cancel_fire(&s->cancel);
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "");
}

static void fire_in_sleep(virtual_clock *clock, rsl_time until)
{
    (void)until;
    rsl_cancel_fire(clock->arg);
}

static void a_cancel_during_a_backoff_calls_no_more(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    s->ctx.cancel = &s->cancel;
    s->time.on_sleep = fire_in_sleep;
    s->time.arg = &s->cancel;
    saga_rig_script(&s->rig, "b", "R*");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b:R -b? -a");
}

static void *fire_once_b_was_called(void *arg)
{
    stage *s = arg;
    while (saga_rig_count(&s->rig, "b", false) == 0) {
        usleep(1000);
    }
    rsl_cancel_fire(&s->cancel);
    return NULL;
}

/* The real clock: a backoff of an hour would outlast every limit of a test. */
static void a_cancel_from_another_thread_ends_a_backoff_at_once(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[1].retry.delay_first = RSL_SEC(3600);
    s->ctx = (rsl_ctx){0, &s->cancel, NULL, 0, 0};
    saga_rig_script(&s->rig, "b", "R*");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fire_once_b_was_called, s), 0);
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    assert_int_equal(pthread_join(thread, NULL), 0);
    saga_rig_expect(&s->rig, "a b:R -b? -a");
}

static void a_cancel_while_going_back_to_a_savepoint_goes_all_the_way(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step("b"),
                             saga_step("c")};
    s->ctx.cancel = &s->cancel;
    s->time.on_sleep = fire_in_sleep;
    s->time.arg = &s->cancel;
    saga_rig_script(&s->rig, "c", "F");
    saga_rig_script_undo(&s->rig, "b", "R");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "s b c:F -b:R -b+ -s");
}

static void compensations_know_nothing_of_deadline_and_cancel(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    s->ctx.cancel = &s->cancel;
    s->ctx.deadline = START + RSL_SEC(1);
    s->who = "b";
    s->rig.during = who_is_cancelled;
    saga_rig_script_undo(&s->rig, "b", "RRRRR"); /* with waits of 3 s together */
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a b -b:R -b+:R -b+:R -b+:R -b+:R -b+ -a");
    assert_int_equal(began_at(s, "b", true, 6), RSL_MS(3100));
    for (size_t n = 1; n <= 6; n++) {
        const saga_call *call = saga_rig_find(&s->rig, "b", true, n);
        assert_int_equal(call->ctx.deadline, 0);
        assert_null(call->ctx.cancel);
        assert_ptr_equal(call->ctx.clock, &s->clock);
    }
}

static void once_the_pivot_has_begun_neither_deadline_nor_cancel_counts(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT),
                             saga_step_flagged("c", RSL_STEP_RETRIABLE)};
    s->ctx.cancel = &s->cancel;
    s->ctx.deadline = START + RSL_MS(150);
    s->who = "p";
    s->rig.during = who_is_cancelled;
    saga_rig_script(&s->rig, "p", "RR");
    saga_rig_script(&s->rig, "c", "FFFF");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    saga_rig_expect(&s->rig, "a p:R p?+:R p?+ c:F c?+:F c?+:F c?+:F c?+");
    assert_int_equal(began_at(s, "p", false, 3), RSL_MS(300));
    assert_int_equal(began_at(s, "c", false, 5), RSL_MS(300 + 1500));
}

/* Else one who heeds its ctx, as it should, would never get done. */
static void from_the_pivot_on_steps_see_neither_deadline_nor_cancel(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT),
                             saga_step_flagged("c", RSL_STEP_RETRIABLE)};
    s->ctx.cancel = &s->cancel;
    s->ctx.deadline = START + RSL_SEC(1);
    steps[2].timeout = RSL_SEC(30);
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(s->rig.calls[0].ctx.deadline, START + RSL_SEC(1));
    assert_ptr_equal(s->rig.calls[0].ctx.cancel, &s->cancel);
    assert_int_equal(s->rig.calls[1].ctx.deadline, 0);
    assert_null(s->rig.calls[1].ctx.cancel);
    assert_int_equal(s->rig.calls[2].ctx.deadline, START + RSL_SEC(30));
    assert_null(s->rig.calls[2].ctx.cancel);
}

static void a_cancel_during_a_pivot_in_doubt_does_not_unwind_what_came_before(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT)};
    steps[1].undo = NULL;
    s->ctx.cancel = &s->cancel;
    s->ctx.deadline = START + RSL_SEC(1);
    s->who = "p";
    s->rig.during = who_is_cancelled;
    saga_rig_script(&s->rig, "p", "RU");
    steps[1].retry.delay_first = RSL_SEC(5);
    assert_int_equal(PLAY(s, steps), RSL_EPARKED);
    saga_rig_expect(&s->rig, "a p:R p?+:U");
}

static void a_deadline_just_before_the_pivot_begins_still_counts(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step_flagged("p", RSL_STEP_PIVOT)};
    s->deadline = RSL_SEC(2);
    s->takes = RSL_SEC(2);
    s->rig.during = slow_action;
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a -a");
}

static void a_pivot_that_failed_lets_the_deadline_count_again(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT),
                             saga_step_flagged("p", RSL_STEP_PIVOT)};
    s->deadline = RSL_MS(50);
    saga_rig_script(&s->rig, "p", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "s p:F -s");
    assert_int_equal(began_at(s, "s", true, 1), RSL_MS(50));
}

/* -------------------------------------------------------------------- waits */

static void backoffs_double_from_100_ms_if_nothing_is_said(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    saga_rig_script(&s->rig, "a", "RR");
    saga_rig_script(&s->rig, "b", "F");
    saga_rig_script_undo(&s->rig, "a", "RRRRRRR");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    assert_int_equal(began_at(s, "a", false, 1), 0);
    assert_int_equal(began_at(s, "a", false, 2), RSL_MS(100));
    assert_int_equal(began_at(s, "a", false, 3), RSL_MS(300));
    rsl_time at = RSL_MS(300);
    for (size_t n = 1; n <= 8; n++) {
        assert_int_equal(began_at(s, "a", true, n), at);
        at += RSL_MS(100) << (n - 1);
    }
}

static void backoffs_grow_to_10_s_if_nothing_is_said(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("a", RSL_STEP_RETRIABLE)};
    saga_rig_script(&s->rig, "a", "FFFFFFFFFF");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(began_at(s, "a", false, 8), RSL_MS(12700));
    assert_int_equal(began_at(s, "a", false, 9), RSL_MS(22700));
    assert_int_equal(began_at(s, "a", false, 11), RSL_MS(42700));
}

static void backoffs_follow_their_own_numbers(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_flagged("a", RSL_STEP_RETRIABLE)};
    steps[0].retry = (rsl_saga_retry){0, RSL_MS(1), RSL_MS(20), 3};
    saga_rig_script(&s->rig, "a", "FFFFF");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    static const rsl_time ms[] = {0, 1, 4, 13, 33, 53};
    for (size_t n = 0; n < RSL_COUNT(ms); n++) {
        assert_int_equal(began_at(s, "a", false, n + 1), RSL_MS(ms[n]));
    }
}

static void a_first_delay_above_10_s_is_its_own_cap(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a")};
    steps[0].retry.delay_first = RSL_SEC(20);
    saga_rig_script(&s->rig, "a", "RR");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(began_at(s, "a", false, 3), RSL_SEC(40));
}

static void no_delay_means_no_sleep(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[0].retry.delay_first = steps[0].undo_retry.delay_first = RSL_NONE;
    saga_rig_script(&s->rig, "a", "RR");
    saga_rig_script(&s->rig, "b", "F");
    saga_rig_script_undo(&s->rig, "a", "RR");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a:R a?+:R a?+ b:F -a:R -a+:R -a+");
    assert_int_equal(s->time.sleeps, 0);
    assert_int_equal(s->time.now, START);
}

static void a_sleep_that_ends_early_is_gone_on_with(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a")};
    s->time.wake_early = RSL_MS(40);
    saga_rig_script(&s->rig, "a", "R");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(began_at(s, "a", false, 2), RSL_MS(100));
    assert_int_equal(s->time.sleeps, 2);
}

/* Waits that end with time itself; the saga is not taken for parked. */
static void a_backoff_beyond_all_time_is_waited_for(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[0].retry = (rsl_saga_retry){9, RSL_SEC(1), RSL_FOREVER, 1e300};
    saga_rig_script(&s->rig, "a", "RR");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    saga_rig_expect(&s->rig, "a:R a?+:R a?+ b");
}

/* The clock is not asked where nothing depends on the time. */
static void a_saga_without_limits_reads_no_clock(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step_after("a", ""), saga_step("b")};
    rsl_saga_def def = {"timeless", 1, steps, RSL_COUNT(steps), RSL_FOREVER};
    int own = 0; /* the rig reads it, once a call */
    assert_int_equal(rsl_saga_run(&def, &s->ctx, &s->rig), RSL_OK);
    own += (int)s->rig.count;
    assert_int_equal(s->time.reads, own);
}

static void a_timeout_is_the_deadline_of_each_call(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[0].timeout = RSL_SEC(5);
    saga_rig_script(&s->rig, "a", "R");
    saga_rig_script(&s->rig, "b", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    saga_rig_expect(&s->rig, "a:R a?+ b:F -a");
    assert_int_equal(s->rig.calls[0].ctx.deadline, START + RSL_SEC(5));
    assert_int_equal(s->rig.calls[1].ctx.deadline, START + RSL_MS(100) + RSL_SEC(5));
    assert_int_equal(s->rig.calls[2].ctx.deadline, 0);
    assert_int_equal(s->rig.calls[3].ctx.deadline, START + RSL_MS(100) + RSL_SEC(5));
}

static void a_step_s_ctx_has_the_earlier_of_timeout_and_deadline(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    steps[0].timeout = RSL_SEC(5);
    steps[1].timeout = RSL_SEC(15);
    steps[2].timeout = RSL_FOREVER;
    s->deadline = RSL_SEC(10);
    s->ctx.priority = -3;
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(s->rig.calls[0].ctx.deadline, START + RSL_SEC(5));
    assert_int_equal(s->rig.calls[1].ctx.deadline, START + RSL_SEC(10));
    assert_int_equal(s->rig.calls[2].ctx.deadline, START + RSL_SEC(10));
    assert_int_equal(s->rig.calls[2].ctx.priority, -3);
    assert_ptr_equal(s->rig.calls[2].ctx.clock, &s->clock);
}

/* -------------------------------------------------------------------- keys */

static void expect_uuid(const char *key)
{
    static const char form[] = "xxxxxxxx-xxxx-4xxx-vxxx-xxxxxxxxxxxx";
    for (size_t i = 0; form[i] != '\0'; i++) {
        const char *allowed = form[i] == 'x'   ? "0123456789abcdef"
                              : form[i] == 'v' ? "89ab"
                              : form[i] == '4' ? "4"
                                               : "-";
        assert_true(key[i] != '\0' && strchr(allowed, key[i]) != NULL);
    }
}

static void a_key_is_uuid_saga_step_and_direction(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("größe 1"), saga_step("b")};
    saga_rig_script(&s->rig, "b", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    expect_uuid(s->rig.calls[0].key);
    assert_string_equal(s->rig.calls[0].key + 36, "/0/größe 1/run");
    assert_string_equal(s->rig.calls[2].key + 36, "/0/größe 1/undo");
    assert_int_equal(s->rig.calls[0].saga, 0);
    assert_int_equal(s->rig.calls[0].epoch, 0);
}

static void a_key_is_the_same_for_each_attempt(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    saga_rig_script(&s->rig, "a", "RR");
    saga_rig_script(&s->rig, "b", "F");
    saga_rig_script_undo(&s->rig, "a", "RR");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    for (size_t n = 2; n <= 3; n++) {
        assert_string_equal(saga_rig_find(&s->rig, "a", false, n)->key,
                            saga_rig_find(&s->rig, "a", false, 1)->key);
        assert_string_equal(saga_rig_find(&s->rig, "a", true, n)->key,
                            saga_rig_find(&s->rig, "a", true, 1)->key);
    }
}

static void keys_of_two_runs_differ(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a")};
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_string_equal(s->rig.calls[0].key + 36, s->rig.calls[1].key + 36);
    assert_memory_not_equal(s->rig.calls[0].key, s->rig.calls[1].key, 36);
}

static void the_longest_key_is_whole(void **state)
{
    stage *s = *state;
    const char *longest = "012345678901234567890123456789012345678901234567890123456789012";
    rsl_saga_step steps[] = {saga_step_flagged("s", RSL_STEP_SAVEPOINT), saga_step(longest)};
    steps[0].retry = (rsl_saga_retry){12, RSL_NONE, 0, 0};
    saga_rig_script(&s->rig, longest, "UUUUUUUUUUU");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    char end[128];
    (void)snprintf(end, sizeof(end), "/0/%s/undo/11", longest);
    assert_string_equal(saga_rig_find(&s->rig, longest, true, 11)->key + 36, end);
}

/* ----------------------------------------------------------------- outputs */

/* What the steps of these tests put and find, by name; see outputs_during. */
typedef struct outputs_seen {
    char   text[512]; /* "who.saw=what " in order */
    size_t length;
} outputs_seen;

static void look_for(outputs_seen *seen, rsl_step *step, const char *name)
{
    size_t size = 99;
    const char *found = rsl_step_get(step, name, &size);
    assert_ptr_equal(rsl_step_get(step, name, NULL), found);
    if (found == NULL) {
        assert_int_equal(size, 0);
    }
    if (found == NULL) {
        found = "none";
        size = 4;
    }
    seen->length += (size_t)snprintf(seen->text + seen->length, sizeof(seen->text) - seen->length,
                                     "%s%s%s.%s=%.*s", seen->length > 0 ? " " : "",
                                     rsl_step_is_undo(step) ? "-" : "", rsl_step_name(step), name,
                                     (int)size, found);
}

/* Each action puts its name and attempt; each call looks for the outputs of a and b. */
static void outputs_during(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    stage *s = rig->arg;
    (void)outcome;
    look_for((outputs_seen *)s->time.arg, step, "a");
    look_for((outputs_seen *)s->time.arg, step, "b");
    char text[32];
    int size = snprintf(text, sizeof(text), "%s%u", rsl_step_name(step), rsl_step_attempt(step));
    assert_int_equal(rsl_step_put(step, text, (size_t)size),
                     rsl_step_is_undo(step) ? RSL_EINVAL : RSL_OK);
}

static void an_output_is_seen_while_its_step_is_done_and_by_its_own_undo(void **state)
{
    stage *s = *state;
    outputs_seen seen = {"", 0};
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    s->time.arg = &seen;
    s->rig.during = outputs_during;
    saga_rig_script(&s->rig, "b", "R");
    saga_rig_script(&s->rig, "c", "F");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    assert_string_equal(seen.text,
                        "a.a=none a.b=none b.a=a1 b.b=none b.a=a1 b.b=none c.a=a1 c.b=b2 "
                        "-b.a=a1 -b.b=b2 -a.a=a1 -a.b=none");
}

static void an_output_is_gone_when_a_savepoint_has_its_step_begun_anew(void **state)
{
    stage *s = *state;
    outputs_seen seen = {"", 0};
    /* c is beside b */
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step_after("c", "a")};
    steps[0].flags = RSL_STEP_SAVEPOINT;
    steps[0].retry.delay_first = RSL_NONE;
    s->time.arg = &seen;
    s->rig.during = outputs_during;
    saga_rig_script(&s->rig, "c", "F");
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_string_equal(seen.text, "a.a=none a.b=none b.a=a1 b.b=none c.a=a1 c.b=none "
                                   "-b.a=a1 -b.b=b1 "
                                   "b.a=a1 b.b=none c.a=a1 c.b=none");
}

static void an_outcome_that_is_not_ok_drops_the_output(void **state)
{
    stage *s = *state;
    outputs_seen seen = {"", 0};
    rsl_saga_step steps[] = {saga_step("x"), saga_step("a")};
    s->time.arg = &seen;
    s->rig.during = outputs_during;
    saga_rig_script(&s->rig, "a", "U");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    assert_string_equal(seen.text, "x.a=none x.b=none a.a=none a.b=none -a.a=none -a.b=none "
                                   "-x.a=none -x.b=none");
}

static void outputs_at_their_limits(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    stage *s = rig->arg;
    (void)outcome;
    static uint8_t large[(64 << 10) + 1];
    if (strcmp(rsl_step_name(step), "a") == 0) {
        memset(large, 0x7e, sizeof(large));
        assert_int_equal(rsl_step_put(step, "first", 5), RSL_OK);
        assert_int_equal(rsl_step_put(step, large, sizeof(large)), RSL_EINVAL);
        assert_int_equal(rsl_step_put(step, NULL, 1), RSL_EINVAL);
        support_fail_nth(1);
        assert_int_equal(rsl_step_put(step, "never", 5), RSL_ENOMEM);
        support_fail_never();
        return;
    }
    size_t size = 0;
    const void *found = rsl_step_get(step, "a", &size);
    if (strcmp(rsl_step_name(step), "b") == 0) {
        assert_int_equal(size, 5);
        assert_memory_equal(found, "first", 5); /* what was refused left it alone */
        assert_int_equal(rsl_step_put(step, large, sizeof(large) - 1), RSL_OK);
        return;
    }
    found = rsl_step_get(step, "b", &size);
    assert_int_equal(size, sizeof(large) - 1);
    assert_memory_equal(found, large, size);
    assert_int_equal(rsl_step_put(step, "x", 1), RSL_OK);
    assert_int_equal(rsl_step_put(step, NULL, 0), RSL_OK);
    s->seen++;
}

static void an_output_has_at_most_64_kib_and_what_is_refused_leaves_the_former(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    s->rig.during = outputs_at_their_limits;
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(s->seen, 1);
}

static void empty_outputs(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    stage *s = rig->arg;
    (void)outcome;
    if (strcmp(rsl_step_name(step), "a") == 0) {
        assert_int_equal(rsl_step_put(step, "dropped", 7), RSL_OK);
        assert_int_equal(rsl_step_put(step, "", 0), RSL_OK);
        return;
    }
    size_t size = 99;
    assert_null(rsl_step_get(step, "a", &size));
    assert_int_equal(size, 0);
    s->seen++;
}

/* As it is after a crash, where an empty one cannot be told from none. */
static void an_empty_output_is_none(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    s->rig.during = empty_outputs;
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(s->seen, 1);
}

static void look_for_strangers(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    stage *s = rig->arg;
    (void)outcome;
    size_t size = 99;
    assert_null(rsl_step_get(step, "nobody", &size));
    assert_int_equal(size, 0);
    size = 99;
    assert_null(rsl_step_get(step, NULL, &size));
    assert_int_equal(size, 0);
    assert_null(rsl_step_get(step, "", NULL));
    size = 99;
    assert_null(rsl_step_payload(step, &size));
    assert_int_equal(size, 0);
    assert_null(rsl_step_payload(step, NULL));
    s->seen++;
}

static void in_memory_there_is_no_payload_and_strangers_have_no_output(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a")};
    s->rig.during = look_for_strangers;
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(s->seen, 1);
}

static void null_steps_are_borne(void **state)
{
    (void)state;
    size_t size = 99;
    assert_string_equal(rsl_step_key(NULL), "");
    assert_string_equal(rsl_step_name(NULL), "");
    assert_int_equal(rsl_step_saga(NULL), 0);
    assert_int_equal(rsl_step_attempt(NULL), 0);
    assert_false(rsl_step_is_undo(NULL));
    assert_false(rsl_step_maybe(NULL));
    assert_int_equal(rsl_step_epoch(NULL), 0);
    rsl_ctx ctx = rsl_step_ctx(NULL);
    assert_int_equal(ctx.deadline, 0);
    assert_null(ctx.cancel);
    assert_null(rsl_step_payload(NULL, &size));
    assert_int_equal(size, 0);
    assert_int_equal(rsl_step_put(NULL, "x", 1), RSL_EINVAL);
    size = 99;
    assert_null(rsl_step_get(NULL, "a", &size));
    assert_int_equal(size, 0);
}

/* ------------------------------------------------------ memory, errno, depth */

/* The first is a; all others come after it. */
static void star_of(rsl_saga_step *steps, char (*names)[8], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "%c%zu", i + 1 < count ? 'a' : 'z', i);
        steps[i] = saga_step_after(names[i], i == 0 ? "" : "a0");
    }
}

/* A long saga takes one block at the start, without which nothing is run; a short one none. */
static void no_memory_is_asked_for_but_one_block_of_a_long_saga(void **state)
{
    stage *s = *state;
    static const size_t counts[] = {3, 16, 17, 256};
    for (size_t n = 0; n < RSL_COUNT(counts); n++) {
        rsl_saga_step steps[256];
        char names[256][8];
        rsl_saga_def def = {"star", 1, steps, counts[n], 0};
        bool is_long = counts[n] > 16;
        star_of(steps, names, counts[n]);
        saga_rig_clear(&s->rig);
        if (is_long) {
            support_fail_nth(1);
            assert_int_equal(rsl_saga_run(&def, &s->ctx, &s->rig), RSL_ENOMEM);
            saga_rig_expect(&s->rig, "");
        }
        saga_rig_script(&s->rig, names[counts[n] - 1], "RF");
        saga_rig_script_undo(&s->rig, "a0", "R");
        support_fail_from(is_long ? 2 : 1);
        assert_int_equal(rsl_saga_run(&def, &s->ctx, &s->rig), RSL_EUNWOUND);
        assert_int_equal(support_taken(), is_long);
        support_fail_never();
    }
}

static void put_finds_no_memory(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    stage *s = rig->arg;
    (void)outcome;
    if (rsl_step_put(step, "x", 1) == RSL_ENOMEM) {
        s->seen++;
    }
}

static void an_output_without_memory_is_the_step_s_to_bear(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    s->rig.during = put_finds_no_memory;
    support_fail_nth(3);
    assert_int_equal(PLAY(s, steps), RSL_OK);
    assert_int_equal(s->seen, 1);
}

static rsl_time scribbling_now(void *user)
{
    errno = EPIPE;
    return virtual_clock_now_(user);
}

static void scribbling_sleep(void *user, rsl_time until)
{
    virtual_clock_sleep_until_(user, until);
    errno = EPIPE;
}

static rsl_outcome leave_errno(rsl_step *step, void *arg)
{
    int *next = arg;
    if (*next > 1000) {
        assert_int_equal(errno, *next);
    }
    assert_true(rsl_step_key(step)[0] != '\0');
    (void)rsl_step_put(step, "x", 1);
    errno = ++*next;
    return rsl_step_is_undo(step) ? (*next % 2 == 0 ? RSL_STEP_RETRY : RSL_STEP_OK)
           : strcmp(rsl_step_name(step), "c") == 0 ? RSL_STEP_UNKNOWN
                                                   : RSL_STEP_OK;
}

static void errno_is_as_the_steps_left_it(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b"), saga_step("c")};
    for (size_t i = 0; i < RSL_COUNT(steps); i++) {
        steps[i].run = steps[i].undo = leave_errno;
    }
    rsl_saga_def def = {"errno", 1, steps, RSL_COUNT(steps), RSL_SEC(60)};
    s->clock.now = scribbling_now;
    s->clock.sleep_until = scribbling_sleep;
    int next = 1000;
    assert_int_equal(rsl_saga_run(&def, &s->ctx, &next), RSL_EUNWOUND);
    assert_int_equal(errno, next);
    assert_true(next > 1006);
}

/* Each step a runs the saga once more, one deeper. */
static void nest(saga_rig *rig, rsl_step *step, rsl_outcome *outcome)
{
    stage *s = rig->arg;
    if (rsl_step_is_undo(step) || strcmp(rsl_step_name(step), "a") != 0 || s->seen == 4) {
        return;
    }
    char key[SAGA_KEY_TEXT_MAX];
    (void)snprintf(key, sizeof(key), "%s", rsl_step_key(step));
    s->seen++;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    int status = PLAY(s, steps);
    const rsl_step *same = step; /* to read is all that one may need */
    assert_string_equal(rsl_step_key(same), key);
    assert_string_equal(rsl_step_name(same), "a");
    *outcome = status == RSL_OK ? RSL_STEP_OK : RSL_STEP_FAIL;
}

static void a_step_may_run_a_saga(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    s->rig.during = nest;
    saga_rig_script(&s->rig, "b", "OOF");
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    /* 5 deep; the third b to be called, of the third saga from within, fails: it and those
       around it turn back */
    saga_rig_expect(&s->rig, "a:F a:F a a a b b b:F -a");
}

static void a_run_without_a_ctx_has_no_limits(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    rsl_saga_def def = {"plain", 1, steps, RSL_COUNT(steps), 0};
    steps[0].retry.delay_first = RSL_NONE;
    saga_rig_script(&s->rig, "a", "R");
    assert_int_equal(rsl_saga_run(&def, NULL, &s->rig), RSL_OK);
    saga_rig_expect(&s->rig, "a:R a?+ b");
    assert_int_equal(s->rig.calls[0].ctx.deadline, 0);
    assert_null(s->rig.calls[0].ctx.cancel);
    assert_null(s->rig.calls[0].ctx.clock);
}

static void the_real_clock_waits_and_ends_sagas(void **state)
{
    stage *s = *state;
    rsl_saga_step steps[] = {saga_step("a"), saga_step("b")};
    steps[0].retry.delay_first = RSL_MS(1);
    steps[1].retry.delay_first = RSL_SEC(3600);
    s->ctx.clock = NULL;
    s->deadline = RSL_MS(30);
    saga_rig_script(&s->rig, "b", "R*");
    rsl_time before = rsl_now();
    assert_int_equal(PLAY(s, steps), RSL_EUNWOUND);
    assert_true(rsl_now() - before >= RSL_MS(30));
    assert_int_equal(saga_rig_count(&s->rig, "a", true), 1);
}

int main(void)
{
#define ON_STAGE(test) cmocka_unit_test_setup_teardown(test, stage_set, stage_strike)
    const struct CMUnitTest tests[] = {
        ON_STAGE(a_def_that_is_null_is_refused),
        ON_STAGE(a_def_needs_a_name_that_can_be_one),
        ON_STAGE(a_def_needs_1_to_256_steps),
        ON_STAGE(a_negative_deadline_is_refused),
        ON_STAGE(a_step_needs_a_name_that_can_be_one),
        ON_STAGE(a_name_used_twice_is_refused),
        ON_STAGE(a_step_without_an_action_is_refused),
        ON_STAGE(a_negative_timeout_is_refused),
        ON_STAGE(unknown_flags_are_refused),
        ON_STAGE(waits_out_of_range_are_refused_by_their_field),
        ON_STAGE(after_that_names_nobody_is_refused),
        ON_STAGE(after_that_names_the_step_itself_is_refused),
        ON_STAGE(cycles_are_refused),
        ON_STAGE(of_a_cycle_a_step_on_it_is_named_and_not_one_behind_it),
        ON_STAGE(a_second_pivot_is_refused),
        ON_STAGE(a_step_beside_the_pivot_is_refused),
        ON_STAGE(a_step_after_the_pivot_must_be_retriable),
        ON_STAGE(a_savepoint_at_or_after_the_pivot_is_refused),
        ON_STAGE(the_first_step_at_fault_is_named),
        ON_STAGE(one_step_alone_is_a_saga),
        ON_STAGE(names_of_63_bytes_and_beyond_ascii_are_accepted),
        ON_STAGE(after_may_name_later_steps_prefixes_and_the_same_step_twice),
        ON_STAGE(numbers_at_their_limits_are_accepted),
        ON_STAGE(a_pivot_with_all_that_it_asks_for_is_accepted),
        ON_STAGE(the_largest_saga_is_accepted_and_runs_in_order),
        ON_STAGE(a_builder_copies_what_it_is_given),
        ON_STAGE(a_builder_takes_256_steps_and_no_more),
        ON_STAGE(a_builder_refuses_null_and_a_name_that_is_too_long),
        ON_STAGE(what_a_builder_holds_is_checked_as_any_definition),
        ON_STAGE(a_builder_bears_each_failed_allocation),
        ON_STAGE(a_registered_definition_outlives_its_builder),
        ON_STAGE(all_done_is_ok_and_nothing_is_undone),
        ON_STAGE(a_second_step_that_fails_has_the_first_undone_once_and_not_itself),
        ON_STAGE(compensations_that_fail_the_first_time_are_retried_and_each_ends_once),
        ON_STAGE(an_unknown_outcome_is_undone_as_maybe_and_then_what_came_before),
        ON_STAGE(the_first_step_alone_may_fail),
        ON_STAGE(a_step_without_a_compensation_is_passed_over),
        ON_STAGE(retry_calls_again_until_it_is_done),
        ON_STAGE(retry_out_of_attempts_is_in_doubt),
        ON_STAGE(fail_after_retry_is_in_doubt),
        ON_STAGE(done_after_retry_is_undone_for_certain),
        ON_STAGE(a_number_that_is_no_outcome_is_unknown),
        ON_STAGE(a_compensation_is_tried_again_whatever_it_says),
        ON_STAGE(attempts_of_a_compensation_are_counted_apart_from_those_of_its_action),
        ON_STAGE(fail_returns_the_outcome_that_it_is_given),
        ON_STAGE(a_compensation_out_of_attempts_parks_and_what_it_needs_undone_first_stays),
        ON_STAGE(a_compensation_has_8_attempts_if_nothing_is_said),
        ON_STAGE(branches_beside_the_one_that_is_stuck_are_still_compensated),
        ON_STAGE(parallel_a_and_b_before_c_and_b_fails_undoes_a_and_never_starts_c),
        ON_STAGE(a_step_that_fails_keeps_those_beside_it_from_starting),
        ON_STAGE(a_step_that_waits_does_not_hold_up_those_beside_it),
        ON_STAGE(a_step_that_waits_is_undone_as_maybe_when_another_fails),
        ON_STAGE(forward_references_decide_the_order_and_not_the_place),
        ON_STAGE(a_diamond_is_undone_backwards),
        ON_STAGE(order_holds_across_a_step_that_has_nothing_to_undo),
        ON_STAGE(a_compensation_that_waits_does_not_hold_up_branches_beside_it),
        ON_STAGE(after_the_pivot_a_step_that_fails_5_times_goes_forward),
        ON_STAGE(a_retriable_step_without_a_pivot_is_tried_without_end),
        ON_STAGE(a_pivot_that_fails_turns_back),
        ON_STAGE(a_pivot_in_doubt_that_nothing_undoes_parks_and_nothing_is_undone),
        ON_STAGE(a_pivot_in_doubt_with_a_compensation_is_undone),
        ON_STAGE(a_retriable_pivot_is_never_in_doubt),
        ON_STAGE(a_savepoint_has_what_comes_after_it_undone_and_begun_anew),
        ON_STAGE(a_savepoint_is_returned_to_attempts_max_times_in_all),
        ON_STAGE(rounds_wait_as_the_retry_of_the_savepoint_says),
        ON_STAGE(each_round_has_all_attempts_and_knows_nothing_of_the_one_before),
        ON_STAGE(each_round_has_keys_of_its_own),
        ON_STAGE(the_inner_of_two_savepoints_comes_first_and_its_rounds_are_spent_once),
        ON_STAGE(a_savepoint_beside_the_step_that_failed_does_not_count),
        ON_STAGE(what_is_beside_a_savepoint_stays_done),
        ON_STAGE(a_savepoint_that_failed_itself_is_none),
        ON_STAGE(a_pivot_that_failed_may_be_tried_again_from_a_savepoint),
        ON_STAGE(a_compensation_stuck_behind_a_savepoint_parks_there),
        ON_STAGE(a_step_that_waits_beside_the_savepoint_goes_on_after_the_return),
        ON_STAGE(a_step_that_is_ready_beside_the_savepoint_is_run_for_all_that),
        ON_STAGE(a_return_to_a_savepoint_leaves_the_cancel_of_later_steps_alone),
        ON_STAGE(a_deadline_that_passes_has_what_was_done_undone),
        ON_STAGE(the_earlier_of_the_ctx_s_deadline_and_the_definition_s_counts),
        ON_STAGE(a_deadline_that_has_passed_runs_nothing),
        ON_STAGE(a_deadline_ends_a_backoff),
        ON_STAGE(a_retriable_step_before_any_pivot_ends_with_the_deadline),
        ON_STAGE(a_deadline_that_passes_in_the_last_step_undoes_that_too),
        ON_STAGE(a_deadline_that_passes_while_going_back_to_a_savepoint_goes_all_the_way),
        ON_STAGE(a_cancel_during_a_step_has_it_undone_and_starts_no_other),
        ON_STAGE(a_cancel_before_the_start_runs_nothing),
        ON_STAGE(a_cancel_during_a_backoff_calls_no_more),
        ON_STAGE(a_cancel_from_another_thread_ends_a_backoff_at_once),
        ON_STAGE(a_cancel_while_going_back_to_a_savepoint_goes_all_the_way),
        ON_STAGE(compensations_know_nothing_of_deadline_and_cancel),
        ON_STAGE(once_the_pivot_has_begun_neither_deadline_nor_cancel_counts),
        ON_STAGE(from_the_pivot_on_steps_see_neither_deadline_nor_cancel),
        ON_STAGE(a_cancel_during_a_pivot_in_doubt_does_not_unwind_what_came_before),
        ON_STAGE(a_deadline_just_before_the_pivot_begins_still_counts),
        ON_STAGE(a_pivot_that_failed_lets_the_deadline_count_again),
        ON_STAGE(backoffs_double_from_100_ms_if_nothing_is_said),
        ON_STAGE(backoffs_grow_to_10_s_if_nothing_is_said),
        ON_STAGE(backoffs_follow_their_own_numbers),
        ON_STAGE(a_first_delay_above_10_s_is_its_own_cap),
        ON_STAGE(no_delay_means_no_sleep),
        ON_STAGE(a_sleep_that_ends_early_is_gone_on_with),
        ON_STAGE(a_backoff_beyond_all_time_is_waited_for),
        ON_STAGE(a_saga_without_limits_reads_no_clock),
        ON_STAGE(a_timeout_is_the_deadline_of_each_call),
        ON_STAGE(a_step_s_ctx_has_the_earlier_of_timeout_and_deadline),
        ON_STAGE(a_key_is_uuid_saga_step_and_direction),
        ON_STAGE(a_key_is_the_same_for_each_attempt),
        ON_STAGE(keys_of_two_runs_differ),
        ON_STAGE(the_longest_key_is_whole),
        ON_STAGE(an_output_is_seen_while_its_step_is_done_and_by_its_own_undo),
        ON_STAGE(an_output_is_gone_when_a_savepoint_has_its_step_begun_anew),
        ON_STAGE(an_outcome_that_is_not_ok_drops_the_output),
        ON_STAGE(an_output_has_at_most_64_kib_and_what_is_refused_leaves_the_former),
        ON_STAGE(an_empty_output_is_none),
        ON_STAGE(in_memory_there_is_no_payload_and_strangers_have_no_output),
        ON_STAGE(null_steps_are_borne),
        ON_STAGE(no_memory_is_asked_for_but_one_block_of_a_long_saga),
        ON_STAGE(an_output_without_memory_is_the_step_s_to_bear),
        ON_STAGE(errno_is_as_the_steps_left_it),
        ON_STAGE(a_step_may_run_a_saga),
        ON_STAGE(a_run_without_a_ctx_has_no_limits),
        ON_STAGE(the_real_clock_waits_and_ends_sagas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
