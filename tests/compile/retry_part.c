/* SPDX-License-Identifier: MIT */
#include "retry.h"

#include "program.h"

static rsl_time virtual_now(void *user) {
    return *(rsl_time *)user;
}

static void virtual_sleep(void *user, rsl_time until) {
    *(rsl_time *)user = until;
}

static int succeed_on_the_third(const rsl_ctx *ctx, void *arg) {
    int *calls = arg;
    return ++*calls < 3 || ctx->attempt != 3 ? -5 : 0;
}

int retry_part(void) {
    rsl_time now = RSL_SEC(100);
    rsl_retry_config config = {0};
    config.delay_first = RSL_MS(500);
    config.jitter = RSL_JITTER_NONE;
    config.clock.now = virtual_now;
    config.clock.sleep_until = virtual_sleep;
    config.clock.user = &now;

    rsl_retry retry;
    if (rsl_retry_config_check(&config) != NULL) return 1;
    if (rsl_retry_init(&retry, &config) != RSL_OK) return 1;
    int calls = 0;
    int result = rsl_retry_call(&retry, NULL, succeed_on_the_third, &calls);
    rsl_retry_deinit(&retry);
    if (result != 0 || calls != 3 || now != RSL_SEC(100) + RSL_MS(1500)) return 2;

    rsl_retry_budget budget;
    if (rsl_retry_budget_init(&budget, NULL) != RSL_OK) return 3;
    int granted = 0;
    while (rsl_retry_budget_fail(&budget)) granted++;
    return granted == 4 ? 0 : 4;
}

#ifndef PROGRAM_ALONE /* without threads */
#ifdef _WIN32
#include <windows.h>
static HANDLE waiting_thread;
#else
#include <pthread.h>
static pthread_t waiting_thread;
#endif

static struct {
    rsl_retry   retry;
    rsl_cancel *cancel;
    int         result;
} waiting;

static int fail_always(const rsl_ctx *ctx, void *arg) {
    (void)ctx;
    (void)arg;
    return 77;
}

static void wait_for_long(void) {
    rsl_ctx ctx = {0};
    ctx.cancel = waiting.cancel;
    waiting.result = rsl_retry_call(&waiting.retry, &ctx, fail_always, NULL);
}

#ifdef _WIN32
static DWORD WINAPI waiting_main(void *arg) {
    (void)arg;
    wait_for_long();
    return 0;
}
#else
static void *waiting_main(void *arg) {
    (void)arg;
    wait_for_long();
    return NULL;
}
#endif

int start_waiting(rsl_cancel *cancel) {
    rsl_retry_config config = {0};
    config.delay_first = RSL_SEC(3600);
    config.delay_max = RSL_SEC(3600);
    config.jitter = RSL_JITTER_NONE;
    if (rsl_retry_init(&waiting.retry, &config) != RSL_OK) return 1;
    waiting.cancel = cancel;
#ifdef _WIN32
    waiting_thread = CreateThread(NULL, 0, waiting_main, NULL, 0, NULL);
    return waiting_thread != NULL ? 0 : 1;
#else
    return pthread_create(&waiting_thread, NULL, waiting_main, NULL);
#endif
}

int end_waiting(void) {
#ifdef _WIN32
    WaitForSingleObject(waiting_thread, INFINITE);
    CloseHandle(waiting_thread);
#else
    pthread_join(waiting_thread, NULL);
#endif
    rsl_retry_deinit(&waiting.retry);
    return waiting.result;
}
#endif
