/* SPDX-License-Identifier: MIT
   test_saga_hosts.c: sagas of several hosts on one PostgreSQL. Hosts that are processes of their
   own, this program with the word "host" behind it: killed, frozen past their leases and woken,
   their server restarted and crashed under them. And two in this process, of which one is asked
   about the sagas of the other.

   What a process does to the participant's table passes the barrier. After each scenario, over
   all sagas: each effect is there once, each that had to be undone is, once; each log is whole;
   each outcome that a host was told to be durable is in it.                                    */
#define _DEFAULT_SOURCE 1
#include "support/allocator.h"

#define RSL_RETRY_IMPLEMENTATION
#include "retry.h"
#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"
#define RSL_POSTGRES_IMPLEMENTATION
#define RSL_SAGA_POSTGRES_IMPLEMENTATION
#include "adapters/saga_postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/postgres.h"
#include "support/support.h"

enum { SAGAS = 60, THREADS = 4, LATE = -1 };

static rsl_time lease = RSL_MS(500);

/* ---------------------------------------------------------- a host: its participant */

/* What the process of a host consists of. */
static struct host_self {
    const char     *name, *conninfo, *folder;
    int             events; /* the file of what it was told */
    pthread_mutex_t lock;
    PGconn         *conns[THREADS];
    int             conns_count;
} self = {.lock = PTHREAD_MUTEX_INITIALIZER};

static PGconn *take_conn(const rsl_ctx *ctx, int *code)
{
    PGconn *conn = NULL;
    *code = RSL_OK;
    pthread_mutex_lock(&self.lock);
    if (self.conns_count > 0) conn = self.conns[--self.conns_count];
    pthread_mutex_unlock(&self.lock);
    /* A frozen host may have a transaction open, with a place of the barrier that others wait
       for: the server is to end it. */
    char conninfo[400];
    (void)snprintf(conninfo, sizeof conninfo, "%s options='-c idle_in_transaction_session_timeout="
                   "300'", self.conninfo);
    rsl_postgres_config config = {.conninfo = conninfo, .application_name = "participant"};
    if (conn == NULL) *code = rsl_postgres_connect(&conn, ctx, &config);
    return conn;
}

static void give_conn(PGconn *conn)
{
    pthread_mutex_lock(&self.lock);
    bool kept = conn != NULL && !rsl_postgres_is_broken(conn) && self.conns_count < THREADS;
    if (kept) self.conns[self.conns_count++] = conn;
    pthread_mutex_unlock(&self.lock);
    if (!kept) rsl_postgres_close(conn);
}

/* Barrier and effect, in one transaction. */
static int apply(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    rsl_step *step = arg;
    rsl_saga_turn turn;
    char sql[200];
    int code = rsl_saga_postgres_barrier(conn, rsl_step_key(step), &turn);
    if (code != RSL_OK) return code;
    if (turn == RSL_SAGA_LATE) return LATE;
    if (turn != RSL_SAGA_FIRST) return RSL_OK;
    (void)snprintf(sql, sizeof sql, "INSERT INTO effects VALUES (%llu, '%s', '%s', '%s')",
                   (unsigned long long)rsl_step_saga(step), rsl_step_name(step),
                   rsl_step_is_undo(step) ? "undo" : "run", self.name);
    return rsl_postgres_exec(conn, ctx, sql, NULL);
}

static rsl_outcome effect(rsl_step *step, void *arg)
{
    rsl_ctx ctx = rsl_step_ctx(step);
    int code;
    (void)arg;
    usleep(1000);
    PGconn *conn = take_conn(&ctx, &code);
    if (code == RSL_OK)
        code = rsl_postgres_transaction(conn, &ctx, RSL_POSTGRES_DEFAULT_ISOLATION, 0, apply,
                                        step);
    give_conn(conn);
    if (code == RSL_OK) return RSL_STEP_OK;
    return rsl_step_fail(step, code == LATE ? RSL_STEP_FAIL : RSL_STEP_RETRY, code);
}

/* A saga's number is its payload: of three, one is refused by charge and one by pack. */
static bool is_refused(const rsl_step *step, int rest)
{
    return *(const int *)rsl_step_payload(step, NULL) % 3 == rest;
}

static rsl_outcome charge(rsl_step *step, void *arg)
{
    return is_refused(step, 0) ? rsl_step_fail(step, RSL_STEP_FAIL, 17) : effect(step, arg);
}

static rsl_outcome pack(rsl_step *step, void *arg)
{
    return is_refused(step, 1) ? rsl_step_fail(step, RSL_STEP_FAIL, 18) : effect(step, arg);
}

/* Waits in mid-step while there is a file that holds this host; another one says how many do. */
static rsl_outcome ship(rsl_step *step, void *arg)
{
    char held[300], count[300];
    (void)snprintf(held, sizeof held, "%s/%s.held", self.folder, self.name);
    (void)snprintf(count, sizeof count, "%s/%s.holds", self.folder, self.name);
    int fd = open(count, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (write(fd, "x", 1) != 1) abort();
    close(fd);
    while (access(held, F_OK) == 0) usleep(2000);
    return effect(step, arg);
}

/* The server may be away for seconds: nothing is given up for that. */
#define PATIENT {.attempts_max = 10000, .delay_first = RSL_MS(5), .delay_max = RSL_MS(100)}

static const rsl_saga_step order_steps[] = {
    {.name = "reserve", .run = effect, .undo = effect, .retry = PATIENT, .undo_retry = PATIENT},
    {.name = "charge", .run = charge, .undo = effect, .retry = PATIENT, .undo_retry = PATIENT},
    {.name = "pack", .run = pack, .undo = effect, .after = "reserve", .retry = PATIENT,
     .undo_retry = PATIENT},
    {.name = "ship", .run = ship, .after = "charge,pack", .retry = PATIENT,
     .flags = RSL_STEP_PIVOT},
};
static const rsl_saga_def order = {"order", 1, order_steps, RSL_COUNT(order_steps), 0};

/* ------------------------------------------------------------------- a host: its process */

static void note_event(const rsl_event *event, void *user)
{
    char line[200];
    (void)user;
    int size = snprintf(line, sizeof line, "%d %lld %d %s\n", event->kind,
                        (long long)event->value, event->status, event->source);
    if (write(self.events, line, (size_t)size) != size) abort();
}

static rsl_saga_postgres_config config_as(const char *name, const char *conninfo)
{
    rsl_saga_postgres_config config = {.conninfo = conninfo, .application_name = name,
                                       .owner = name, .retry_for = RSL_SEC(30)};
    return config;
}

static int start_all(rsl_sagas *sagas)
{
    for (int i = 0; i < SAGAS; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%d", i);
        int code = RSL_EIO;
        while (code == RSL_EIO)
            code = rsl_sagas_start(sagas, "order", key, &i, sizeof i, NULL);
        if (code != RSL_OK) return code;
    }
    return RSL_OK;
}

/* Runs sagas until its input ends. */
static int be_host(char **argv)
{
    char path[300], error[200] = "", byte;
    self.name = argv[2];
    self.conninfo = argv[3];
    self.folder = argv[4];
    (void)snprintf(path, sizeof path, "%s/%s.events", self.folder, self.name);
    self.events = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    rsl_saga_store store;
    rsl_saga_postgres_config where = config_as(self.name, self.conninfo);
    rsl_sagas *sagas;
    rsl_sagas_config config = {.store = &store, .threads = THREADS, .claim_for = atol(argv[5]),
                               .observer = {note_event, NULL}, .error = error,
                               .error_size = sizeof error};
    if (rsl_saga_postgres_open(&store, &where) != RSL_OK) return 2;
    int code = rsl_sagas_open(&sagas, &config);
    if (code == RSL_OK) code = rsl_sagas_register(sagas, &order, NULL);
    if (code == RSL_OK) code = rsl_sagas_recover(sagas);
    if (code == RSL_OK && strcmp(argv[6], "starts") == 0) code = start_all(sagas);
    if (code != RSL_OK) {
        (void)fprintf(stderr, "# %s: %s: %s\n", self.name, rsl_strerror(code), error);
        return 3;
    }
    while (read(STDIN_FILENO, &byte, 1) > 0) continue;
    if (rsl_sagas_close(sagas, NULL) != RSL_OK) return 4;
    while (self.conns_count > 0) rsl_postgres_close(self.conns[--self.conns_count]);
    close(self.events);
    /* Threads that tell a silent server to stop are left alone, and end by themselves. */
    for (int i = 0; i < 10000 && support_live() > 0; i++) usleep(1000);
    return support_live() == 0 ? 0 : 5;
}

/* ------------------------------------------------------------------ hosts, from outside */

typedef struct host {
    const char *name;
    pid_t       pid;
    int         input; /* its end is the host's */
} host;

static const char *program;
static char        folder[200];
static pid_t       alive[8]; /* 0: none; a test that failed has left them */

static host host_start(const char *name, const char *what)
{
    host h = {.name = name};
    int ends[2];
    char span[32];
    (void)snprintf(span, sizeof span, "%lld", (long long)lease);
    char *const argv[] = {(char *)program, (char *)"host", (char *)name, postgres.conninfo, folder,
                          span, (char *)what, NULL};
    assert_int_equal(pipe(ends), 0);
    (void)fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    h.pid = fork();
    assert_true(h.pid >= 0);
    if (h.pid == 0) {
        (void)dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        execv(program, argv);
        _exit(127);
    }
    close(ends[0]);
    h.input = ends[1];
    size_t place = 0;
    while (alive[place] != 0) place++;
    alive[place] = h.pid;
    return h;
}

static int host_wait(host *h)
{
    int status = -1;
    if (h->input >= 0) close(h->input);
    assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
    for (size_t i = 0; i < RSL_COUNT(alive); i++)
        if (alive[i] == h->pid) alive[i] = 0;
    return status;
}

static void host_stop(host *h)
{
    int status = host_wait(h);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s ended with %x", h->name, (unsigned)status);
}

static void hold(const char *name, bool held)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s.held", folder, name);
    if (held) close(open(path, O_WRONLY | O_CREAT, 0600));
    else assert_int_equal(unlink(path), 0);
}

/* Waits until all threads of a host are in mid-step, where they are held. */
static void until_held(const char *name)
{
    char path[300];
    struct stat found = {.st_size = 0};
    rsl_time end = rsl_now() + RSL_SEC(60);
    (void)snprintf(path, sizeof path, "%s/%s.holds", folder, name);
    while (stat(path, &found) != 0 || found.st_size < THREADS) {
        if (rsl_now() > end) fail_msg("%s is not held", name);
        usleep(2000);
    }
}

/* Waits until what SQL counts is at least so much. */
static void until(const char *sql, long least)
{
    rsl_time end = rsl_now() + RSL_SEC(60);
    while (postgres_number(sql) < least) {
        if (rsl_now() > end) fail_msg("still less than %ld: %s", least, sql);
        usleep(5000);
    }
}

static const char *const ENDED = "SELECT count(*) FROM rsl_sagas WHERE state IN (2, 3, 5)";

static void nothing(const char *what, const char *sql)
{
    long count = postgres_number(sql);
    if (count != 0) fail_msg("%ld %s", count, what);
}

static void assert_effects_once(void)
{
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_sagas"), SAGAS);
    nothing("sagas ended otherwise than they should",
            "SELECT count(*) FROM rsl_sagas WHERE state <> "
            "CASE encode(key, 'escape')::int % 3 WHEN 2 THEN 2 ELSE 3 END");
    nothing("effects more than once", "SELECT count(*) FROM (SELECT 1 FROM effects GROUP BY saga, "
            "step, direction HAVING count(*) > 1) d");
    nothing("sagas done without all of their effects",
            "SELECT count(*) FROM rsl_sagas WHERE state = 2 AND (SELECT count(*) FROM effects "
            "WHERE saga = id AND direction = 'run') <> 4");
    nothing("effects not undone, or undone without need",
            "SELECT count(*) FROM effects e JOIN rsl_sagas ON id = saga WHERE direction = 'run' "
            "AND (state = 3) <> EXISTS (SELECT FROM effects u WHERE u.saga = e.saga AND u.step = "
            "e.step AND u.direction = 'undo')");
    nothing("effects undone that were not there",
            "SELECT count(*) FROM effects u WHERE direction = 'undo' AND NOT EXISTS (SELECT FROM "
            "effects e WHERE e.saga = u.saga AND e.step = u.step AND e.direction = 'run')");
}

static void assert_logs_are_whole(void)
{
    nothing("logs with holes", "SELECT count(*) FROM (SELECT 1 FROM rsl_records GROUP BY saga "
            "HAVING min(number) <> 1 OR max(number) <> count(*)) d");
    nothing("records of an owner that came back",
            "SELECT count(*) FROM (SELECT epoch < lag(epoch) OVER (PARTITION BY saga ORDER BY "
            "number) AS back FROM rsl_records) d WHERE back");
}

/* ---- what a host was told, against the logs ---- */

typedef struct log_text {
    rsl_saga_record begin;
    char            begin_data[2048];
    const char     *wanted;
    bool            found;
} log_text;

static int look_for_text(void *user, const rsl_saga_record *record)
{
    log_text *log = user;
    char text[200];
    if (record->number == 1) {
        assert_true(record->size <= sizeof log->begin_data);
        log->begin = *record;
        log->begin.data = memcpy(log->begin_data, record->data, record->size);
    }
    rsl_saga_record_text(record, &log->begin, text, sizeof text);
    size_t length = strlen(log->wanted);
    bool ends = strncmp(text, log->wanted, length) == 0 && strchr(" ,:", text[length]) != NULL;
    log->found = log->found || ends;
    return RSL_OK;
}

/* How many events of a kind a host was told; each of them that is an outcome is in the log. */
static int assert_told(rsl_saga_store *store, const char *name, int counted)
{
    static const struct { int kind; const char *text; } outcomes[] = {
        {RSL_SAGA_STEP_DONE, "DONE "}, {RSL_SAGA_STEP_FAILED, "FAIL "},
        {RSL_SAGA_UNDO_DONE, "DONE undo "}};
    char path[300], source[64];
    int kind, status, count = 0;
    long long id;
    (void)snprintf(path, sizeof path, "%s/%s.events", folder, name);
    FILE *events = fopen(path, "r");
    assert_non_null(events);
    while (fscanf(events, "%d %lld %d %63s", &kind, &id, &status, source) == 4) {
        count += kind == counted;
        for (size_t i = 0; i < RSL_COUNT(outcomes); i++) {
            char wanted[100];
            if (outcomes[i].kind != kind) continue;
            (void)snprintf(wanted, sizeof wanted, "%s%s", outcomes[i].text, source);
            log_text log = {.wanted = wanted};
            assert_int_equal(store->load(store->self, (rsl_saga_id)id, look_for_text, &log),
                             RSL_OK);
            if (!log.found)
                fail_msg("%s of saga %lld, told to %s, is not there", wanted, id, name);
        }
    }
    (void)fclose(events);
    return count;
}

static void open_store(rsl_saga_store *store, const char *name)
{
    rsl_saga_postgres_config config = config_as(name, postgres.conninfo);
    rsl_saga_opening opening;
    assert_int_equal(rsl_saga_postgres_open(store, &config), RSL_OK);
    assert_int_equal(store->open(store->self, false, &opening, NULL, 0), RSL_OK);
}

/* All that must hold when all sagas have ended; how many events `counted` the two were told. */
static void assert_all_is_well(int counted, int counts[2])
{
    static const char *const names[] = {"left", "right"};
    rsl_saga_store store;
    assert_effects_once();
    assert_logs_are_whole();
    open_store(&store, "observer");
    for (int i = 0; i < 2; i++) counts[i] = assert_told(&store, names[i], counted);
    store.close(store.self);
}

/* -------------------------------------------------------------------------- set-up */

static int set_up_group(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/rsl_saga_hosts_XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    if (postgres_start("max_connections=60 synchronous_commit=on") != 0) return -1;
    rsl_saga_store store;
    open_store(&store, "first");
    store.close(store.self);
    PGconn *conn = PQconnectdb(postgres.conninfo);
    bool made = rsl_saga_postgres_barrier_create(conn) == RSL_OK;
    PQfinish(conn);
    postgres_do_sql("CREATE TABLE effects (saga bigint, step text, direction text, host text)");
    return made ? 0 : -1;
}

static int tear_down_group(void **state)
{
    (void)state;
    char command[300];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return postgres_stop() == 0 && system(command) == 0 && support_live() == 0 ? 0 : -1;
}

static int set_up(void **state)
{
    (void)state;
    char command[300];
    postgres_do_sql("TRUNCATE rsl_sagas, rsl_records, rsl_saga_barrier, effects");
    (void)snprintf(command, sizeof command, "rm -f '%s'/*", folder);
    return system(command);
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < RSL_COUNT(alive); i++) {
        if (alive[i] == 0) continue;
        (void)kill(alive[i], SIGKILL);
        (void)waitpid(alive[i], NULL, 0);
        alive[i] = 0;
    }
    return 0;
}

/* --------------------------------------------------------------- hosts as processes */

static void of_two_hosts_one_is_killed_and_the_other_finishes_its_sagas(void **state)
{
    (void)state;
    int claimed[2];
    hold("left", true);
    host left = host_start("left", "starts");
    until_held("left");
    host right = host_start("right", "starts");
    assert_true(postgres_becomes("SELECT sign(count(*)) FROM pg_stat_activity WHERE "
                                 "application_name = 'right'", 1));
    assert_int_equal(kill(left.pid, SIGKILL), 0);
    assert_true(WIFSIGNALED(host_wait(&left)));
    until(ENDED, SAGAS);
    host_stop(&right);
    assert_true(postgres_number("SELECT count(*) FROM rsl_sagas WHERE epoch > 1") >= THREADS);
    assert_all_is_well(RSL_SAGA_CLAIMED, claimed);
    assert_true(claimed[1] >= THREADS);
}

static void a_host_that_was_frozen_past_its_lease_has_lost_its_sagas_and_harms_none(void **state)
{
    (void)state;
    int lost[2];
    hold("left", true);
    host left = host_start("left", "starts");
    until_held("left");
    host right = host_start("right", "starts");
    assert_int_equal(kill(left.pid, SIGSTOP), 0);
    until(ENDED, SAGAS); /* the other has done them all, those in mid-step here too */
    long effects = postgres_number("SELECT count(*) FROM effects");
    long records = postgres_number("SELECT count(*) FROM rsl_records");
    hold("left", false);
    assert_int_equal(kill(left.pid, SIGCONT), 0);
    usleep(200000); /* it goes on where it was, and appends */
    host_stop(&left);
    host_stop(&right);
    assert_all_is_well(RSL_SAGA_LOST, lost);
    assert_true(lost[0] >= THREADS);
    assert_int_equal(postgres_number("SELECT count(*) FROM effects"), effects);
    assert_int_equal(postgres_number("SELECT count(*) FROM rsl_records"), records);
}

static void a_server_that_restarts_and_crashes_in_mid_work_costs_nothing(void **state)
{
    (void)state;
    int failed[2];
    host left = host_start("left", "starts"), right = host_start("right", "starts");
    until("SELECT count(*) FROM effects", SAGAS / 2);
    postgres_do("restart", "immediate");
    until("SELECT count(*) FROM effects", SAGAS * 2);
    postgres_do("restart", "fast");
    until(ENDED, SAGAS);
    host_stop(&left);
    host_stop(&right);
    assert_all_is_well(RSL_SAGA_STORE_FAILED, failed);
    assert_true(failed[0] == 0 && failed[1] == 0);
}

static void a_host_that_closes_gives_its_sagas_to_another_at_once(void **state)
{
    (void)state;
    int claimed[2];
    rsl_time short_lease = lease;
    lease = RSL_SEC(3600);
    hold("left", true);
    host left = host_start("left", "starts");
    until("SELECT count(*) FROM rsl_sagas", SAGAS);
    until_held("left");
    close(left.input); /* it closes as soon as its steps end */
    left.input = -1;
    hold("left", false);
    host_stop(&left);
    assert_int_equal(postgres_number("SELECT count(lease_until) FROM rsl_sagas"), 0);
    host right = host_start("right", "helps");
    until(ENDED, SAGAS);
    host_stop(&right);
    assert_all_is_well(RSL_SAGA_CLAIMED, claimed);
    assert_true(claimed[1] > 0);
    lease = short_lease;
}

/* ---------------------------------------------------------------- two in one process */

/* Definitions are the same on both; what the steps do is said by their host. */
typedef struct desk {
    rsl_saga_store store;
    rsl_sagas     *sagas;
    _Atomic bool   undo_fails, waiting;
} desk;

static rsl_outcome first_run(rsl_step *step, void *arg)
{
    (void)step, (void)arg;
    return RSL_STEP_OK;
}

static rsl_outcome first_undo(rsl_step *step, void *arg)
{
    desk *d = arg;
    return atomic_load(&d->undo_fails) ? rsl_step_fail(step, RSL_STEP_FAIL, 19) : RSL_STEP_OK;
}

static rsl_outcome second_fails(rsl_step *step, void *arg)
{
    (void)arg;
    return rsl_step_fail(step, RSL_STEP_FAIL, 20);
}

/* Under way until it is told to stop. */
static rsl_outcome second_waits(rsl_step *step, void *arg)
{
    desk *d = arg;
    rsl_ctx ctx = rsl_step_ctx(step);
    atomic_store(&d->waiting, true);
    while (!rsl_cancel_fired(ctx.cancel)) usleep(1000);
    return RSL_STEP_FAIL;
}

static const rsl_saga_step parking_steps[] = {
    {.name = "first", .run = first_run, .undo = first_undo, .undo_retry = {.attempts_max = 1}},
    {.name = "second", .run = second_fails}};
static const rsl_saga_step waiting_steps[] = {
    {.name = "first", .run = first_run, .undo = first_undo},
    {.name = "second", .run = second_waits}};
static const rsl_saga_def parking = {"parking", 1, parking_steps, 2, 0};
static const rsl_saga_def waiting = {"waiting", 1, waiting_steps, 2, 0};

static void open_desk(desk *d, const char *name)
{
    rsl_saga_postgres_config where = config_as(name, postgres.conninfo);
    rsl_sagas_config config = {.store = &d->store, .claim_for = RSL_SEC(1)};
    assert_int_equal(rsl_saga_postgres_open(&d->store, &where), RSL_OK);
    assert_int_equal(rsl_sagas_open(&d->sagas, &config), RSL_OK);
    assert_int_equal(rsl_sagas_register(d->sagas, &parking, d), RSL_OK);
    assert_int_equal(rsl_sagas_register(d->sagas, &waiting, d), RSL_OK);
    assert_int_equal(rsl_sagas_recover(d->sagas), RSL_OK);
}

static rsl_saga_state wait_at(desk *d, rsl_saga_id id)
{
    rsl_saga_state state = RSL_SAGA_RUNNING;
    rsl_ctx ctx = rsl_within(RSL_SEC(60));
    assert_int_equal(rsl_sagas_wait(d->sagas, id, &ctx, &state), RSL_OK);
    return state;
}

static void a_saga_is_cancelled_and_waited_for_from_another_host(void **state)
{
    (void)state;
    static desk one, two;
    rsl_saga_id id = 0, same = 0;
    open_desk(&one, "one");
    open_desk(&two, "two");
    assert_int_equal(rsl_sagas_start(one.sagas, "waiting", "w", NULL, 0, &id), RSL_OK);
    assert_int_equal(rsl_sagas_start(two.sagas, "waiting", "w", NULL, 0, &same), RSL_OK);
    assert_int_equal(id, same);
    while (!atomic_load(&one.waiting)) usleep(1000);
    rsl_ctx brief = rsl_within(RSL_MS(20));
    assert_int_equal(rsl_sagas_wait(two.sagas, id, &brief, NULL), RSL_ETIMEOUT);
    assert_int_equal(rsl_sagas_cancel(two.sagas, id), RSL_OK);
    assert_int_equal(wait_at(&two, id), RSL_SAGA_UNWOUND);
    assert_int_equal(wait_at(&one, id), RSL_SAGA_UNWOUND);
    assert_false(atomic_load(&two.waiting));
    assert_int_equal(rsl_sagas_cancel(two.sagas, id + 1000), RSL_EINVAL);
    assert_int_equal(rsl_sagas_close(one.sagas, NULL), RSL_OK);
    assert_int_equal(rsl_sagas_close(two.sagas, NULL), RSL_OK);
}

static bool note_one(const rsl_saga_info *info, void *user)
{
    *(rsl_saga_info *)user = *info;
    return true;
}

static void a_parked_saga_is_seen_and_resolved_from_another_host(void **state)
{
    (void)state;
    static desk one, two;
    rsl_saga_id id = 0;
    rsl_saga_info info = {.id = 0};
    open_desk(&one, "one");
    open_desk(&two, "two");
    atomic_store(&one.undo_fails, true);
    assert_int_equal(rsl_sagas_start(one.sagas, "parking", "p", NULL, 0, &id), RSL_OK);
    assert_int_equal(wait_at(&one, id), RSL_SAGA_PARKED);
    assert_int_equal(wait_at(&two, id), RSL_SAGA_PARKED);
    assert_int_equal(rsl_sagas_list(two.sagas, 1u << RSL_SAGA_PARKED, note_one, &info), RSL_OK);
    assert_int_equal(info.id, id);
    assert_int_equal(rsl_sagas_resolve(two.sagas, id, "first", RSL_SAGA_RETRY), RSL_OK);
    assert_int_equal(wait_at(&two, id), RSL_SAGA_UNWOUND);
    rsl_ctx ctx = rsl_within(RSL_SEC(60));
    rsl_saga_state at = RSL_SAGA_PARKED;
    while (at == RSL_SAGA_PARKED) /* which the first host knows it as for a while */
        assert_int_equal(rsl_sagas_wait(one.sagas, id, &ctx, &at), RSL_OK);
    assert_int_equal(at, RSL_SAGA_UNWOUND);
    assert_int_equal(rsl_sagas_close(one.sagas, NULL), RSL_OK);
    assert_int_equal(rsl_sagas_close(two.sagas, NULL), RSL_OK);
}

#define HOSTS(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "host") == 0) return be_host(argv);
    program = argv[0];
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        HOSTS(of_two_hosts_one_is_killed_and_the_other_finishes_its_sagas),
        HOSTS(a_host_that_was_frozen_past_its_lease_has_lost_its_sagas_and_harms_none),
        HOSTS(a_server_that_restarts_and_crashes_in_mid_work_costs_nothing),
        HOSTS(a_host_that_closes_gives_its_sagas_to_another_at_once),
        HOSTS(a_saga_is_cancelled_and_waited_for_from_another_host),
        HOSTS(a_parked_saga_is_seen_and_resolved_from_another_host),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
