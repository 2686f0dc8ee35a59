/* overload.c -- a service of four threads that need 4 ms for a request, as if they asked a disk:
   a thousand answers in a second. Its queue has no end, and it cannot know who has gone: clients
   wait for 100 ms, and the work for those who gave up is done all the same. Requests come at
   random moments, whether or not earlier ones have been answered, three times as many as it can
   answer.

   Each request is a call in a thread of its own, for which threads stand ready. Behind the guard
   is what a user writes: rsl_bulkhead_call.

   SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* sem_clockwait */
#include "overload.h"
#include "bench.h"
#include "bulkhead.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SERVERS = 4,
    CLIENTS = 480,       /* threads: those of 100 ms of overload, and half as many to spare */
    REQUESTS_MAX = 12000,
    SERVICE_NS = 4000000,
    PATIENCE_NS = 100000000,
    TICK_NS = 20000000,  /* of the time series */
    CALIBRATION = 600,   /* requests */
};

/* Offered is a share of the capacity, from the end of the phase before on. The first half second
   of the overload is not judged: limits that adapt are on their way. */
static const double calm_ns = 300e6, overload_ns = 2000e6, after_ns = 500e6, settle_ns = 500e6;
static const double calm_load = 0.5, overload_load = 3.0;

typedef enum outcome { NO_ANSWER, GOOD, REFUSED, LATE } outcome;

typedef struct request {
    int64_t arrives; /* since the start of the run, as all times here */
    int64_t ended;
    outcome outcome;
} request;

/* What the service has in its queue; it outlives its client. */
typedef struct order {
    struct order *next;
    sem_t         answered;
    atomic_int    holders; /* the client, and the service */
    int64_t       gives_up;
} order;

/* The service. All but threads and atomics is guarded by lock. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t  ordered;
    order          *first, **last;
    size_t          queued;
    bool            closing;
    pthread_t       threads[SERVERS + 1]; /* the last one keeps pace */
    atomic_uint     served, wasted, paced;
    atomic_bool     over;
} service = {.lock = PTHREAD_MUTEX_INITIALIZER, .ordered = PTHREAD_COND_INITIALIZER};

/* One run: one guard, and all requests. */
static struct {
    rsl_bulkhead *guard; /* NULL: none */
    int64_t       slow;  /* answers that took longer are told as overload (0: none) */
    int64_t       started;
    request      *requests;
    size_t        count;
    atomic_size_t next;
    atomic_uint   good, refused, late;
} run;

static request *requests;

static int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t since_start(void)
{
    return clock_ns() - run.started;
}

static struct timespec spec_of(int64_t at)
{
    return (struct timespec){at / 1000000000, at % 1000000000};
}

static void sleep_until(int64_t at)
{
    struct timespec until = spec_of(run.started + at);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) continue;
}

/* ---- the service ---- */

static void let_go(order *o)
{
    if (atomic_fetch_sub(&o->holders, 1) != 1) return;
    sem_destroy(&o->answered);
    free(o);
}

static order *next_order(void)
{
    pthread_mutex_lock(&service.lock);
    while (service.first == NULL && !service.closing) {
        pthread_cond_wait(&service.ordered, &service.lock);
    }
    order *o = service.first;
    if (o != NULL) {
        service.first = o->next;
        if (service.first == NULL) service.last = &service.first;
        service.queued--;
    }
    pthread_mutex_unlock(&service.lock);
    return o;
}

static void work(void)
{
    struct timespec left = spec_of(SERVICE_NS);
    while (nanosleep(&left, &left) != 0) continue;
}

/* What one thread of the service can do that is never without work and never waits for a lock:
   the capacity at this very time, on a machine that other programs keep busy too. */
static void *keep_pace(void *arg)
{
    (void)arg;
    while (!atomic_load(&service.over)) {
        work();
        atomic_fetch_add(&service.paced, 1);
    }
    return NULL;
}

static void *serve(void *arg)
{
    (void)arg;
    for (order *o; (o = next_order()) != NULL;) {
        work();
        atomic_fetch_add(&service.served, 1);
        if (since_start() > o->gives_up) atomic_fetch_add(&service.wasted, 1);
        sem_post(&o->answered);
        let_go(o);
    }
    return NULL;
}

static void open_service(void)
{
    service.first = NULL;
    service.last = &service.first;
    service.queued = 0;
    service.closing = false;
    atomic_store(&service.served, 0);
    atomic_store(&service.wasted, 0);
    atomic_store(&service.paced, 0);
    atomic_store(&service.over, false);
    for (int i = 0; i <= SERVERS; i++) {
        void *(*life)(void *arg) = i < SERVERS ? serve : keep_pace;
        bench_must(pthread_create(&service.threads[i], NULL, life, NULL) == 0, "no more threads");
    }
}

/* What is still queued is thrown away: its clients have gone. */
static void close_service(void)
{
    atomic_store(&service.over, true);
    pthread_mutex_lock(&service.lock);
    service.closing = true;
    order *rest = service.first;
    service.first = NULL;
    pthread_cond_broadcast(&service.ordered);
    pthread_mutex_unlock(&service.lock);
    for (int i = 0; i <= SERVERS; i++) pthread_join(service.threads[i], NULL);
    while (rest != NULL) {
        order *o = rest;
        rest = o->next;
        let_go(o);
    }
}

static order *place_order(int64_t gives_up)
{
    order *o = malloc(sizeof *o);
    bench_must(o != NULL && sem_init(&o->answered, 0, 0) == 0, "out of memory");
    o->next = NULL;
    o->gives_up = gives_up;
    atomic_init(&o->holders, 2);
    pthread_mutex_lock(&service.lock);
    *service.last = o;
    service.last = &o->next;
    service.queued++;
    pthread_cond_signal(&service.ordered);
    pthread_mutex_unlock(&service.lock);
    return o;
}

/* ---- clients ---- */

/* The call that is protected: RSL_ETIMEOUT when the client's patience ended first. */
static int ask(const rsl_ctx *ctx, void *arg)
{
    const request *r = arg;
    (void)ctx;
    order *o = place_order(r->arrives + PATIENCE_NS);
    struct timespec until = spec_of(run.started + r->arrives + PATIENCE_NS);
    int error;
    while ((error = sem_clockwait(&o->answered, CLOCK_MONOTONIC, &until)) != 0) {
        if (errno == ETIMEDOUT) break;
    }
    let_go(o);
    return error == 0 ? RSL_OK : RSL_ETIMEOUT;
}

/* As rsl_bulkhead_call, but a good answer that took long is told as a sign of overload. */
static int ask_and_tell(const rsl_ctx *ctx, request *r)
{
    rsl_bulkhead_permit permit;
    int result = rsl_bulkhead_enter(run.guard, ctx, &permit);
    if (result != RSL_OK) return result;
    result = ask(ctx, r);
    bool slow = since_start() - r->arrives > run.slow;
    int told = result == RSL_OK && slow ? RSL_ETIMEOUT : result;
    bench_must(rsl_bulkhead_leave(run.guard, &permit, told) == RSL_OK, "a permit is lost");
    return result;
}

static void make_request(request *r)
{
    rsl_ctx ctx = {.deadline = run.started + r->arrives + PATIENCE_NS};
    int result;
    if (run.guard == NULL) result = ask(&ctx, r);
    else if (run.slow != 0) result = ask_and_tell(&ctx, r);
    else result = rsl_bulkhead_call(run.guard, &ctx, ask, r);
    r->ended = since_start();
    if (result == RSL_OK && r->ended <= r->arrives + PATIENCE_NS) {
        r->outcome = GOOD;
        atomic_fetch_add(&run.good, 1);
    } else if (result == RSL_EFULL) {
        r->outcome = REFUSED;
        atomic_fetch_add(&run.refused, 1);
    } else {
        r->outcome = LATE;
        atomic_fetch_add(&run.late, 1);
    }
}

/* Each takes the next request that nobody has, and is there when it arrives. */
static void *be_client(void *arg)
{
    (void)arg;
    for (;;) {
        size_t at = atomic_fetch_add(&run.next, 1);
        if (at >= run.count) return NULL;
        sleep_until(run.requests[at].arrives);
        make_request(&run.requests[at]);
    }
}

/* ---- a run ---- */

/* Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators". Uniform in (0, 1]. */
static double uniform(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0 + 1.2e-16;
}

/* The same random moments for each guard. */
static size_t plan_requests(double capacity)
{
    const double ends[] = {calm_ns, calm_ns + overload_ns, calm_ns + overload_ns + after_ns};
    const double loads[] = {calm_load, overload_load, calm_load};
    uint64_t state = 4;
    size_t count = 0;
    double at = 0;
    for (size_t phase = 0; phase < RSL_COUNT(ends); phase++) {
        double mean = 1e9 / (capacity * loads[phase]);
        while ((at -= mean * log(uniform(&state))) < ends[phase]) {
            bench_must(count < REQUESTS_MAX, "the service is too quick for this machine");
            requests[count++] = (request){.arrives = (int64_t)at};
        }
        at = ends[phase];
    }
    return count;
}

typedef struct series {
    FILE       *csv;
    const char *name;
    double      limits; /* sum over the judged part */
    size_t      count;
    unsigned    paced_before, paced; /* in the judged part */
} series;

static void write_tick(series *s, int64_t now, double capacity, const unsigned before[3])
{
    rsl_bulkhead_stats stats = {0};
    if (run.guard != NULL) rsl_bulkhead_stats_get(run.guard, &stats);
    pthread_mutex_lock(&service.lock);
    size_t queued = service.queued;
    pthread_mutex_unlock(&service.lock);
    double at = (double)now, span = TICK_NS / 1e9;
    if (at >= calm_ns + settle_ns && at <= calm_ns + overload_ns) {
        unsigned paced = atomic_load(&service.paced);
        if (s->count++ == 0) s->paced_before = paced;
        s->paced = paced - s->paced_before;
        s->limits += stats.limit;
    }
    if (s->csv == NULL) return;
    double offered = at >= calm_ns && at < calm_ns + overload_ns ? overload_load : calm_load;
    fprintf(s->csv, "\"%s\",%.3f,%.0f,%.0f,%.1f,%.1f,%.1f,%u,%u,%u,%zu\n", s->name, at / 1e9,
            capacity, offered * capacity, (atomic_load(&run.good) - before[0]) / span,
            (atomic_load(&run.refused) - before[1]) / span,
            (atomic_load(&run.late) - before[2]) / span, stats.limit, stats.in_use, stats.waiting,
            queued);
}

static void keep_series(series *s, double capacity)
{
    double all = calm_ns + overload_ns + after_ns;
    for (int64_t at = TICK_NS; (double)at <= all; at += TICK_NS) {
        unsigned before[3] = {atomic_load(&run.good), atomic_load(&run.refused),
                              atomic_load(&run.late)};
        sleep_until(at);
        write_tick(s, at, capacity, before);
    }
}

static void run_clients(series *s, double capacity)
{
    static pthread_t threads[CLIENTS];
    pthread_attr_t   small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    atomic_store(&run.next, 0);
    atomic_store(&run.good, 0);
    atomic_store(&run.refused, 0);
    atomic_store(&run.late, 0);
    run.started = clock_ns() + 50000000; /* when all threads are there */
    open_service();
    for (int i = 0; i < CLIENTS; i++) {
        bench_must(pthread_create(&threads[i], &small, be_client, NULL) == 0, "no more threads");
    }
    keep_series(s, capacity);
    for (int i = 0; i < CLIENTS; i++) pthread_join(threads[i], NULL);
    close_service();
    pthread_attr_destroy(&small);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Answers count where they fall, refusals and those who gave up where they arrived. */
static void judge(bench_overload *result, const series *s)
{
    static double spans[REQUESTS_MAX];
    double from = calm_ns + settle_ns, to = calm_ns + overload_ns;
    double end = to + after_ns - 2.0 * PATIENCE_NS; /* nobody's patience reaches beyond */
    size_t good = 0, offered = 0, refused = 0, late = 0, good_after = 0, offered_after = 0;
    for (size_t i = 0; i < run.count; i++) {
        const request *r = &run.requests[i];
        double arrives = (double)r->arrives, ended = (double)r->ended;
        if (r->outcome == GOOD && ended >= from && ended < to) {
            spans[good++] = ended - arrives;
        }
        if (arrives >= from && arrives < to) {
            offered++;
            refused += r->outcome == REFUSED;
            late += r->outcome == LATE;
        }
        if (arrives >= to + PATIENCE_NS && arrives < end) {
            offered_after++;
            good_after += r->outcome == GOOD;
        }
    }
    qsort(spans, good, sizeof *spans, by_size);
    result->goodput = (double)good / fmax(1, (double)s->paced * SERVERS);
    result->limit = s->limits / fmax(1, (double)s->count);
    result->after = (double)good_after / (double)offered_after;
    result->p50 = good > 0 ? spans[good / 2] : 0;
    result->p99 = good > 0 ? spans[good * 99 / 100] : 0;
    result->refused = (double)refused / (double)offered;
    result->late = (double)late / (double)offered;
    result->wasted = atomic_load(&service.wasted) / fmax(1, atomic_load(&service.served));
}

/* Answers in a second while there is always work. */
static double measure_capacity(void)
{
    open_service();
    run.started = clock_ns();
    for (int i = 0; i < CALIBRATION + SERVERS; i++) let_go(place_order(INT64_MAX));
    while (atomic_load(&service.served) < CALIBRATION) sleep_until(since_start() + 1000000);
    double capacity = atomic_load(&service.served) / ((double)since_start() / 1e9);
    close_service();
    return capacity;
}

typedef struct guard {
    const char *title, *name;
    bool        bare;
    bool        aside; /* as in bench_overload */
    int64_t     slow;  /* as in run */
    rsl_bulkhead_config config;
} guard;

/* Four times the threads of the service for the fixed ones, ten times where the limit is to find
   itself; 90 calls inside wait for 90 ms, close to the patience of clients. */
static const guard guards[] = {
    {.title = "no guard", .name = "no guard", .bare = true},
    {.title = "fixed limit of 16, nobody waits", .name = "fixed, 16", .config = {.calls_max = 16}},
    {.title = "fixed limit of 16, 200 wait, CoDel", .name = "fixed, 16, CoDel queue",
     .config = {.calls_max = 16, .waiting_max = 200, .shed = RSL_SHED_CODEL}},
    {.title = "AIMD, from 90, told of time-outs", .name = "AIMD, time-outs", .aside = true,
     .config = {.calls_max = 90, .limit = RSL_LIMIT_AIMD}},
    {.title = "AIMD, from 40, told of answers after 40 ms", .name = "AIMD, slow answers",
     .slow = 40000000, .config = {.calls_max = 40, .limit = RSL_LIMIT_AIMD}},
    {.title = "Vegas, from 40", .name = "Vegas",
     .config = {.calls_max = 40, .limit = RSL_LIMIT_VEGAS}},
    {.title = "Gradient2, from 40", .name = "Gradient2",
     .config = {.calls_max = 40, .limit = RSL_LIMIT_GRADIENT2}},
    {.title = "latency target of 20 ms, from 40", .name = "latency, 20 ms",
     .config = {.calls_max = 40, .limit = RSL_LIMIT_LATENCY, .latency_target = RSL_MS(20)}},
};

size_t bench_run_overload(bench_overload *results, bench_service *measured, FILE *csv)
{
    requests = calloc(REQUESTS_MAX, sizeof *requests);
    bench_must(requests != NULL, "out of memory");
    double capacity = measure_capacity();
    *measured = (bench_service){capacity, capacity * overload_load};
    if (csv != NULL) {
        fputs("guard,seconds,capacity,offered,good,refused,late,limit,in_use,waiting,queued\n",
              csv);
    }
    for (size_t i = 0; i < RSL_COUNT(guards); i++) {
        static rsl_bulkhead bulkhead;
        const guard *g = &guards[i];
        if (isatty(2)) fprintf(stderr, "\roverload: %-40s", g->title);
        if (!g->bare) {
            bench_must(rsl_bulkhead_init(&bulkhead, &g->config) == RSL_OK, "no bulkhead");
        }
        run.guard = g->bare ? NULL : &bulkhead;
        run.slow = g->slow;
        run.requests = requests;
        run.count = plan_requests(capacity);
        series s = {.csv = csv, .name = g->name};
        run_clients(&s, capacity);
        results[i] = (bench_overload){.title = g->title, .aside = g->aside};
        judge(&results[i], &s);
        if (!g->bare) rsl_bulkhead_deinit(&bulkhead);
    }
    if (isatty(2)) fputs("\n", stderr);
    free(requests);
    return RSL_COUNT(guards);
}
