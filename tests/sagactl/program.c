/* SPDX-License-Identifier: MIT
   program.c: makes journals for tests/sagactl/run.

       program FOLDER KEY HOW

   Registers its definition, lets go on what is there, begins a saga under KEY (none if KEY is
   empty), waits for it, prints each call of a step and how the saga stands, and closes. HOW:

       works     all goes well
       parks     shipping is refused, and so is the refund
       mends     shipping is refused; the refund works
       doubts    shipping, a pivot that cannot be undone, has no answer
       dies      killed while it ships
       holds     as works, then keeps the journal until its standard input ends
       forgets   registers nothing
       knows N   N sagas that end, with one that does not in between: parked */
#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *how;

static bool is(const char *word) { return strcmp(how, word) == 0; }

static rsl_outcome works(rsl_step *step, void *arg)
{
    (void)arg;
    printf("%s %s\n", rsl_step_is_undo(step) ? "undo" : "run", rsl_step_name(step));
    if (!rsl_step_is_undo(step)) rsl_step_put(step, "out\x01\xff", 5);
    return RSL_STEP_OK;
}

static rsl_outcome refund(rsl_step *step, void *arg)
{
    works(step, arg);
    return is("parks") ? rsl_step_fail(step, RSL_STEP_RETRY, 503) : RSL_STEP_OK;
}

static rsl_outcome ship(rsl_step *step, void *arg)
{
    works(step, arg);
    if (is("dies")) {
        fflush(stdout);
        raise(SIGKILL);
    }
    if (is("doubts")) return rsl_step_fail(step, RSL_STEP_UNKNOWN, 504);
    return is("parks") || is("mends") ? rsl_step_fail(step, RSL_STEP_FAIL, 404) : RSL_STEP_OK;
}

static const rsl_saga_step steps[] = {
    {.name = "reserve", .run = works, .undo = works},
    {.name = "charge", .run = works, .undo = refund,
     .undo_retry = {.attempts_max = 2, .delay_first = RSL_NONE}},
    {.name = "ship", .run = ship, .flags = RSL_STEP_PIVOT},
};
static const rsl_saga_def order = {"order", 7, steps, RSL_COUNT(steps), 0};

static bool tell(const rsl_saga_info *info, void *user)
{
    static const char *const names[] = {"running", "unwinding", "done",
                                        "unwound", "parked",    "abandoned"};
    (void)user;
    printf("saga %d is %s\n", (int)info->id, names[info->state]);
    return true;
}

static int one(rsl_sagas *sagas, const char *key)
{
    rsl_saga_id id;
    rsl_ctx soon = rsl_within(RSL_SEC(20));
    int status = rsl_sagas_start(sagas, "order", key, "pears\n", 6, &id);
    if (status == RSL_OK) status = rsl_sagas_wait(sagas, id, &soon, NULL);
    return status;
}

static int many(rsl_sagas *sagas, int count)
{
    int status = RSL_OK;
    for (int i = 0; i < count && status == RSL_OK; i++) {
        char key[20];
        snprintf(key, sizeof key, "many-%d", i);
        how = i == count / 2 ? "parks" : "works";
        status = one(sagas, key);
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 4) return 2;
    char error[300] = "";
    rsl_sagas *sagas;
    rsl_sagas_config config = {.path = argv[1], .error = error, .error_size = sizeof error};
    how = argv[3];
    bool forgets = is("forgets"), holds = is("holds"), knows = is("knows");
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    int status = rsl_sagas_open(&sagas, &config);
    if (status == RSL_OK && !forgets) status = rsl_sagas_register(sagas, &order, NULL);
    if (status == RSL_OK) status = rsl_sagas_recover(sagas);
    if (status == RSL_OK && knows) status = many(sagas, atoi(argv[4]));
    else if (status == RSL_OK && argv[2][0] != '\0') status = one(sagas, argv[2]);
    if (status == RSL_OK && holds) {
        puts("holds");
        while (getchar() != EOF) continue;
    }
    if (status == RSL_OK && !knows) status = rsl_sagas_list(sagas, 0, tell, NULL);
    if (status == RSL_OK) status = rsl_sagas_close(sagas, NULL);
    if (status != RSL_OK) fprintf(stderr, "%s; %s\n", rsl_strerror(status), error);
    return status == RSL_OK ? 0 : 1;
}
