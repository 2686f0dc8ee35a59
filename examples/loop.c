/* SPDX-License-Identifier: MIT
   loop.c: a policy as a loop. C has no closures; so instead of a function that is called back, the
   call stands in the loop's body, with all the local variables at hand.

   cc -std=c11 -O2 -I. examples/loop.c -pthread                                                 */
#define RSL_IMPLEMENTATION
#include "resilience.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Reads a line from a source that is interrupted now and then. */
static int read_line(int *interruptions, char *line, size_t size)
{
    if (*interruptions > 0) {
        (*interruptions)--;
        return EINTR;
    }
    (void)snprintf(line, size, "a line at last");
    return 0;
}

int main(void)
{
    rsl_timeout total;
    rsl_retry   retry;
    rsl_retry_config config = {.attempts_max = 5, .delay_first = RSL_MS(5)};
    int status = rsl_timeout_init(&total, RSL_SEC(1));
    if (status == RSL_OK) status = rsl_retry_init(&retry, &config);
    const rsl_layer policy[] = {rsl_timeout_layer(&total), rsl_retry_layer(&retry)};

    char line[32] = "";
    int  interruptions = 3;
    unsigned attempts = 0;
    rsl_execution e;
    if (status == RSL_OK) status = rsl_execution_begin(&e, policy, RSL_COUNT(policy), NULL);
    if (status != RSL_OK) {
        fprintf(stderr, "loop: %s\n", rsl_strerror(status));
        return 1;
    }
    while (rsl_execution_next(&e)) {
        attempts = e.ctx.attempt;
        rsl_execution_done(&e, read_line(&interruptions, line, sizeof line));
    }
    printf("attempt %u: \"%s\", result %d\n", attempts, line, e.result);

    interruptions = 99; /* more than the policy bears: the last result comes out */
    rsl_execution_begin(&e, policy, RSL_COUNT(policy), NULL);
    while (rsl_execution_next(&e)) {
        rsl_execution_done(&e, read_line(&interruptions, line, sizeof line));
    }
    printf("in the end: %s, made by %s\n", strerror(e.result),
           e.refused ? rsl_execution_refuser(&e) : "the call itself");

    rsl_retry_deinit(&retry);
    bool proved = attempts == 4 && strcmp(line, "a line at last") == 0 && e.result == EINTR &&
                  !e.refused && interruptions == 99 - 5;
    return proved ? 0 : 1;
}
