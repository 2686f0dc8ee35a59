/* SPDX-License-Identifier: MIT
   main.cpp: implements nothing, declares and calls; compiled as C++ and (-x c) as C. */
#include "program.h"

#include <stdio.h>

#ifndef PROGRAM_ALONE /* without threads */
static int fire_wakes_the_backoff(void) {
    rsl_cancel parent, cancel;
    if (rsl_cancel_init(&parent, NULL) != RSL_OK) return 1;
    if (rsl_cancel_init(&cancel, &parent) != RSL_OK) return 1;
    if (start_waiting(&cancel) != 0) return 2;

    /* Time to reach the backoff: firing earlier ends it too, but then nothing is woken. */
    rsl_ctx pause = rsl_within(RSL_MS(100));
    while (rsl_left(&pause) > 0) continue;

    rsl_time fired = rsl_now();
    rsl_cancel_fire(&parent);
    int result = end_waiting();
    rsl_time woken = rsl_now();
    bool told = rsl_cancel_fired(&cancel);
    rsl_cancel_deinit(&cancel);
    rsl_cancel_deinit(&parent);
    if (result != 77 || !told) return 3;
    return woken - fired < RSL_SEC(20) ? 0 : 4;
}
#endif

static int check(const char *what, int failed) {
    if (failed != 0) printf("%s: step %d failed\n", what, failed);
    return failed != 0;
}

int main(void) {
    int failures = 0;
    failures += check("retry", retry_part());
    failures += check("breaker", breaker_part());
#ifdef WITH_POLICY
    failures += check("bulkhead", bulkhead_part());
    failures += check("pool", pool_part());
    failures += check("saga", saga_part());
    failures += check("policy", policy_part());
#endif
#ifndef PROGRAM_ALONE
    failures += check("cancel", fire_wakes_the_backoff());
#endif
    const char *text = rsl_strerror(RSL_EOPEN);
    failures += check("strerror", text == NULL || *text == 0);
    return failures;
}
