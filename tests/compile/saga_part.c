/* SPDX-License-Identifier: MIT */
#include "saga.h"

#include "program.h"

static rsl_outcome counts(rsl_step *step, void *sum)
{
    *(int *)sum += rsl_step_is_undo(step) ? 10 : 1;
    return RSL_STEP_OK;
}

static rsl_outcome fails(rsl_step *step, void *sum)
{
    (void)sum;
    return rsl_step_fail(step, RSL_STEP_FAIL, 42);
}

/* In memory: that is there without stb_ds.h too. */
int saga_part(void)
{
    rsl_saga_step steps[3];
    for (int i = 0; i < 3; i++) {
        rsl_saga_step step = {0};
        step.name = i == 0 ? "first" : i == 1 ? "second" : "third";
        step.run = counts;
        step.undo = counts;
        steps[i] = step;
    }
    int sum = 0;
    const char *at = "none";
    rsl_saga_def def = {"parts", 1, steps, 3, RSL_SEC(60)};
    if (rsl_saga_def_check(&def, &at) != NULL || at != NULL) return 1;
    if (rsl_saga_run(&def, NULL, &sum) != RSL_OK || sum != 3) return 2;
    steps[2].run = fails;
    if (rsl_saga_run(&def, NULL, &sum) != RSL_EUNWOUND || sum != 25) return 3;
    steps[2].after = "third";
    return rsl_saga_run(&def, NULL, &sum) == RSL_EINVAL && sum == 25 ? 0 : 4;
}
