/* SPDX-License-Identifier: MIT */
#include "breaker.h"

#include "program.h"

static rsl_time virtual_now(void *user) {
    return *(rsl_time *)user;
}

static int fail(const rsl_ctx *ctx, void *arg) {
    (void)ctx;
    ++*(int *)arg;
    return 9;
}

/* A rate is compared inclusively, also where arithmetic keeps more bits than a double has. */
static int boundaries(void) {
    int missed = 0;
    for (uint32_t calls = 2; calls <= 60; calls++) {
        for (uint32_t failures = 1; failures < calls; failures++) {
            rsl_breaker_config config = {0};
            config.window = RSL_WINDOW_COUNT;
            config.window_calls = config.calls_min = calls;
            volatile double rate = (double)failures / (double)calls;
            config.failure_rate = rate;
            rsl_breaker breaker;
            if (rsl_breaker_init(&breaker, &config) != RSL_OK) return -1;
            for (uint32_t i = 0; i < calls; i++) {
                rsl_breaker_permit permit;
                if (rsl_breaker_allow(&breaker, &permit) != RSL_OK) return -1;
                if (rsl_breaker_report(&breaker, &permit, i < failures) != RSL_OK) return -1;
            }
            missed += rsl_breaker_state_get(&breaker) != RSL_BREAKER_OPEN;
            rsl_breaker_deinit(&breaker);
        }
    }
    return missed;
}

int breaker_part(void) {
    if (boundaries() != 0) return 5;
    rsl_time now = RSL_SEC(7);
    rsl_breaker_config config = {0};
    config.failures_max = 4;
    config.clock.now = virtual_now;
    config.clock.user = &now;

    rsl_breaker breaker;
    if (rsl_breaker_config_check(&config) != NULL) return 1;
    if (rsl_breaker_init(&breaker, &config) != RSL_OK) return 2;
    int calls = 0, refused = 0;
    for (int i = 0; i < 10; i++) {
        if (rsl_breaker_call(&breaker, NULL, fail, &calls) == RSL_EOPEN) refused++;
    }
    bool opened = rsl_breaker_state_get(&breaker) == RSL_BREAKER_OPEN;
    now += RSL_SEC(31);
    rsl_breaker_permit permit;
    int probe = rsl_breaker_allow(&breaker, &permit);
    int reported = rsl_breaker_report(&breaker, &permit, 0);
    bool closed = rsl_breaker_state_get(&breaker) == RSL_BREAKER_CLOSED;
    rsl_breaker_deinit(&breaker);
    if (calls != 4 || refused != 6 || !opened) return 3;
    return probe == RSL_OK && reported == RSL_OK && closed ? 0 : 4;
}
