/* SPDX-License-Identifier: MIT
   saga_workers.c: the steps of sagas on threads that the application has anyway, an rsl_workers.
   Each tour asks three carriers for a price, side by side, and books the cheapest, which a step
   finds in the outputs of those before it. The runtime has one thread, for the journal.

   cc -std=c11 -O2 -I. examples/saga_workers.c -pthread                                          */
#define RSL_IMPLEMENTATION
#include "bulkhead.h"
#include "saga.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, TOURS = 8 };

static _Thread_local bool hired; /* this thread is one of the workers */
static pthread_barrier_t all_here;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static int at_once, most_at_once, steps_run, strangers, cheapest_booked;

/* ---- the steps ---- */

static void enter(void)
{
    pthread_mutex_lock(&lock);
    steps_run++;
    strangers += !hired;
    if (++at_once > most_at_once) most_at_once = at_once;
    pthread_mutex_unlock(&lock);
}

static void leave(int booked)
{
    pthread_mutex_lock(&lock);
    at_once--;
    cheapest_booked += booked;
    pthread_mutex_unlock(&lock);
}

/* A carrier takes 20 ms to answer. */
static rsl_outcome ask(rsl_step *step, void *arg)
{
    int tour = *(const int *)rsl_step_payload(step, NULL);
    int price = 100 + (tour * 7 + rsl_step_name(step)[1] * 13) % 50;
    (void)arg;
    enter();
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    int status = rsl_step_put(step, &price, sizeof price);
    leave(0);
    return status == RSL_OK ? RSL_STEP_OK : rsl_step_fail(step, RSL_STEP_FAIL, status);
}

static rsl_outcome book(rsl_step *step, void *arg)
{
    static const char *const carriers[] = {"rail", "road", "sea"};
    int tour = *(const int *)rsl_step_payload(step, NULL), best = 0, prices[3];
    (void)arg;
    enter();
    for (int i = 0; i < 3; i++) {
        prices[i] = *(const int *)rsl_step_get(step, carriers[i], NULL);
        if (prices[i] < prices[best]) best = i;
    }
    printf("tour %d: rail %d, road %d, sea %d: %s\n", tour, prices[0], prices[1], prices[2],
           carriers[best]);
    leave(prices[best] <= prices[0] && prices[best] <= prices[1] && prices[best] <= prices[2]);
    return RSL_STEP_OK;
}

static const rsl_saga_step steps[] = {
    {.name = "rail", .run = ask, .after = ""},
    {.name = "road", .run = ask, .after = ""},
    {.name = "sea", .run = ask, .after = ""},
    {.name = "book", .run = book, .after = "rail,road,sea", .flags = RSL_STEP_PIVOT},
};
static const rsl_saga_def tour_def = {"tour", 1, steps, RSL_COUNT(steps), RSL_SEC(60)};

/* ---- the workers, as the runtime asks for them ---- */

static int submit(void *workers, rsl_fn fn, void *arg, void *task)
{
    return rsl_workers_submit(workers, NULL, fn, arg, task);
}

static bool has_ended(void *task) { return rsl_task_has_ended(task); }

/* Each worker marks itself, once: none is done before all have come. */
static int hire(const rsl_ctx *ctx, void *arg)
{
    (void)ctx, (void)arg;
    hired = true;
    pthread_barrier_wait(&all_here);
    return 0;
}

static int open_workers(rsl_workers **workers)
{
    rsl_task tasks[THREADS] = {{0}};
    rsl_workers_config config = {.name = "fleet", .threads_min = THREADS, .threads_max = THREADS};
    if (pthread_barrier_init(&all_here, NULL, THREADS + 1) != 0) return RSL_ESYS;
    int status = rsl_workers_open(workers, &config);
    if (status != RSL_OK) return status;
    for (int i = 0; i < THREADS && status == RSL_OK; i++)
        status = rsl_workers_submit(*workers, NULL, hire, NULL, &tasks[i]);
    if (status != RSL_OK) return status;
    pthread_barrier_wait(&all_here);
    for (int i = 0; i < THREADS; i++) rsl_task_wait(&tasks[i], NULL, NULL);
    return RSL_OK;
}

/* ---- the tours ---- */

static int run_tours(rsl_sagas *sagas)
{
    rsl_saga_id ids[TOURS];
    rsl_ctx soon = rsl_within(RSL_SEC(30));
    int status = rsl_sagas_register(sagas, &tour_def, NULL);
    if (status == RSL_OK) status = rsl_sagas_recover(sagas);
    for (int i = 0; i < TOURS && status == RSL_OK; i++) {
        char key[20];
        snprintf(key, sizeof key, "tour-%d", i);
        status = rsl_sagas_start(sagas, "tour", key, &i, sizeof i, &ids[i]);
    }
    for (int i = 0; i < TOURS && status == RSL_OK; i++) {
        rsl_saga_state state;
        status = rsl_sagas_wait(sagas, ids[i], &soon, &state);
        if (status == RSL_OK && state != RSL_SAGA_DONE) status = RSL_EUNWOUND;
    }
    return status;
}

static void clean_up(const char *folder)
{
    static const char *const names[] = {"/journal", "/lock", ""};
    for (size_t i = 0; i < RSL_COUNT(names); i++) {
        char path[100];
        snprintf(path, sizeof path, "%s%s", folder, names[i]);
        remove(path);
    }
}

int main(void)
{
    char folder[] = "/tmp/saga_workers.XXXXXX", error[200] = "";
    rsl_workers *workers;
    rsl_sagas *sagas;
    rsl_sagas_config config = {.threads = THREADS, .submit = submit, .submit_ended = has_ended,
                               .task_size = sizeof(rsl_task), .error = error,
                               .error_size = sizeof error};
    if (mkdtemp(folder) == NULL || open_workers(&workers) != RSL_OK) {
        perror("saga_workers");
        return 1;
    }
    config.path = folder;
    config.submit_user = workers;
    rsl_time from = rsl_now(), took = 0;
    int status = rsl_sagas_open(&sagas, &config);
    if (status == RSL_OK) {
        status = run_tours(sagas);
        took = rsl_now() - from;
        rsl_sagas_close(sagas, NULL); /* before its threads go */
    }
    rsl_workers_stats stats;
    rsl_workers_stats_get(workers, &stats);
    rsl_workers_close(workers, NULL);
    clean_up(folder);
    printf("%d steps in %d tours took %.0f ms; at most %d at once, %d on other threads\n",
           steps_run, TOURS, (double)took / 1e6, most_at_once, strangers);
    printf("%d workers did them in %d tasks\n", THREADS, (int)stats.completed - THREADS);
    bool proved = status == RSL_OK && steps_run == 4 * TOURS && strangers == 0 &&
                  most_at_once > 1 && most_at_once <= THREADS && cheapest_booked == TOURS;
    printf("all steps on the workers, side by side, in order: %s\n", proved ? "yes" : "no");
    if (!proved) fprintf(stderr, "saga_workers: %s; %s\n", rsl_strerror(status), error);
    return proved ? 0 : 1;
}
