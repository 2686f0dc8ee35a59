/* SPDX-License-Identifier: MIT
   saga_hosts.c: two processes share sagas in PostgreSQL, each works off half of the orders. One is
   killed by SIGKILL right after a step's effect. Its clients send their orders to the other, with
   the same keys; that one claims the sagas when their leases have passed, and finishes them. Shop
   and bank are databases of their own; the barrier in each lets every step have its effect once.

   Run it from the project's root: it has tools/postgres start a server of its own, and stop it.

   cc -std=c11 -O2 -I. -I$(pg_config --includedir) examples/saga_hosts.c -lpq -pthread           */
#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"
#define RSL_POSTGRES_IMPLEMENTATION
#define RSL_SAGA_POSTGRES_IMPLEMENTATION
#include "adapters/saga_postgres.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ORDERS = 24, CUSTOMERS = 4, STOCK = 100, PRICE = 30 };
enum { REFUSED = 1 }; /* by the participant's own rules; no SQLSTATE is so low */

static const char *server; /* its conninfo */

/* Customer 2 can pay two orders, 3 has no address; the others get all that they order. */
static const char shop_tables[] =
    "CREATE TABLE stock(count int CHECK(count >= 0)); INSERT INTO stock VALUES(100);"
    "CREATE TABLE addresses(customer int PRIMARY KEY);"
    "INSERT INTO addresses VALUES(1), (2), (4);"
    "CREATE TABLE parcels(saga bigint PRIMARY KEY, customer int)";
static const char bank_tables[] =
    "CREATE TABLE accounts(customer int PRIMARY KEY, balance int CHECK(balance >= 0));"
    "INSERT INTO accounts VALUES(1, 1000), (2, 70), (3, 1000), (4, 1000)";

/* ---- the steps ---- */

typedef struct tally { int effects, repeats, claimed; } tally;

static struct shared { /* by all processes */
    tally hosts[2];
    int   first_is_dead;
} *shared;

typedef struct host {
    PGconn *shop, *bank;
    tally  *tally;
    int     lives; /* it dies after as many effects; 0: it does not */
} host;

typedef struct effect {
    rsl_step     *step;
    const char   *sql;
    rsl_saga_turn turn;
} effect;

/* In a transaction: the barrier's note and the effect are there both, or neither. */
static int apply(const rsl_ctx *ctx, PGconn *conn, void *arg)
{
    effect *e = arg;
    char customer[12], saga[24];
    const char *params[] = {customer, saga};
    static const Oid types[] = {23, 20}; /* int, bigint */
    rsl_postgres_query query = {.sql = e->sql, .params_count = 2, .params = params,
                                .types = types};
    PGresult *result;
    int code = rsl_saga_postgres_barrier(conn, rsl_step_key(e->step), &e->turn);
    if (code != RSL_OK || e->turn != RSL_SAGA_FIRST) return code;
    snprintf(customer, sizeof customer, "%d", *(const int *)rsl_step_payload(e->step, NULL));
    snprintf(saga, sizeof saga, "%llu", (unsigned long long)rsl_step_saga(e->step));
    code = rsl_postgres_run(conn, ctx, &query, &result);
    if (code != RSL_OK) return code;
    bool changed = atoi(PQcmdTuples(result)) == 1;
    PQclear(result);
    return changed ? RSL_OK : REFUSED;
}

static rsl_outcome once(rsl_step *step, host *h, PGconn *conn, const char *sql)
{
    effect e = {step, sql, RSL_SAGA_FIRST};
    rsl_ctx ctx = rsl_step_ctx(step);
    int code = rsl_postgres_transaction(conn, &ctx, RSL_POSTGRES_DEFAULT_ISOLATION, 0, apply, &e);
    if (code == REFUSED || (code == RSL_OK && e.turn == RSL_SAGA_LATE))
        return rsl_step_fail(step, RSL_STEP_FAIL, REFUSED);
    if (code != RSL_OK) { /* also if nobody knows whether it was committed: the key tells */
        bool again = rsl_postgres_is_retryable(code, NULL) ||
                     code == RSL_POSTGRES_UNKNOWN_OUTCOME;
        return rsl_step_fail(step, again ? RSL_STEP_RETRY : RSL_STEP_UNKNOWN, code);
    }
    h->tally->repeats += e.turn == RSL_SAGA_AGAIN;
    if (e.turn != RSL_SAGA_FIRST) return RSL_STEP_OK;
    h->tally->effects++;
    if (--h->lives == 0) kill(getpid(), SIGKILL);
    return RSL_STEP_OK;
}

static rsl_outcome reserve(rsl_step *step, void *arg)
{
    host *h = arg;
    return once(step, h, h->shop, "UPDATE stock SET count = count - 1 WHERE count > 0");
}

static rsl_outcome release(rsl_step *step, void *arg)
{
    host *h = arg;
    return once(step, h, h->shop, "UPDATE stock SET count = count + 1");
}

static rsl_outcome charge(rsl_step *step, void *arg)
{
    host *h = arg;
    return once(step, h, h->bank, "UPDATE accounts SET balance = balance - 30"
                                  " WHERE customer = $1 AND balance >= 30");
}

static rsl_outcome refund(rsl_step *step, void *arg)
{
    host *h = arg;
    return once(step, h, h->bank, "UPDATE accounts SET balance = balance + 30"
                                  " WHERE customer = $1");
}

static rsl_outcome ship(rsl_step *step, void *arg)
{
    host *h = arg;
    return once(step, h, h->shop, "INSERT INTO parcels SELECT $2, customer FROM addresses"
                                  " WHERE customer = $1");
}

/* Only for a parcel of which it is not certain that it has not left. */
static rsl_outcome call_back(rsl_step *step, void *arg)
{
    host *h = arg;
    return once(step, h, h->shop, "DELETE FROM parcels WHERE saga = $2");
}

static const rsl_saga_step steps[] = {
    {.name = "reserve", .run = reserve, .undo = release},
    {.name = "charge", .run = charge, .undo = refund},
    {.name = "ship", .run = ship, .undo = call_back, .flags = RSL_STEP_PIVOT},
};
static const rsl_saga_def order = {"order", 1, steps, RSL_COUNT(steps), 0};

/* ---- databases ---- */

/* NULL: it is told why. */
static PGconn *database(const char *name)
{
    char conninfo[300];
    PGconn *conn = NULL;
    rsl_postgres_config config = {.conninfo = conninfo};
    snprintf(conninfo, sizeof conninfo, "%s dbname=%s", server, name);
    int code = rsl_postgres_connect(&conn, NULL, &config);
    if (code != RSL_OK) fprintf(stderr, "saga_hosts: %s: %s\n", name, rsl_postgres_message(code));
    return conn;
}

static int make_database(PGconn *conn, const char *name, const char *tables)
{
    char sql[60];
    snprintf(sql, sizeof sql, "CREATE DATABASE %s", name);
    int code = rsl_postgres_exec(conn, NULL, sql, NULL);
    PGconn *made = code == RSL_OK ? database(name) : NULL;
    if (made == NULL) return code != RSL_OK ? code : RSL_ESYS;
    code = rsl_postgres_exec(made, NULL, tables, NULL);
    if (code == RSL_OK) code = rsl_saga_postgres_barrier_create(made);
    rsl_postgres_close(made);
    return code;
}

static int number_of(PGconn *conn, const char *sql)
{
    PGresult *result;
    int number = -1;
    if (rsl_postgres_exec(conn, NULL, sql, &result) != RSL_OK) return -1;
    if (PQntuples(result) == 1) number = atoi(PQgetvalue(result, 0, 0));
    PQclear(result);
    return number;
}

/* ---- a host ---- */

static void on_event(const rsl_event *event, void *arg)
{
    host *h = arg;
    if (event->kind == RSL_SAGA_CLAIMED) __atomic_add_fetch(&h->tally->claimed, 1,
                                                            __ATOMIC_RELAXED);
}

/* Half of the orders, waited for to the end. A key that was used before is the same saga. */
static int place_orders(rsl_sagas *sagas, int half)
{
    int ended = 0;
    rsl_saga_id ids[ORDERS / 2];
    rsl_ctx soon = rsl_within(RSL_SEC(30));
    for (int i = 0; i < ORDERS / 2; i++) {
        char key[20];
        int customer = 1 + i % CUSTOMERS;
        snprintf(key, sizeof key, "order-%d", half * ORDERS / 2 + i);
        int status = rsl_sagas_start(sagas, "order", key, &customer, sizeof customer, &ids[i]);
        if (status != RSL_OK) return status;
    }
    for (int i = 0; i < ORDERS / 2; i++) {
        rsl_saga_state state;
        int status = rsl_sagas_wait(sagas, ids[i], &soon, &state);
        if (status != RSL_OK) return status;
        ended += state == RSL_SAGA_DONE || state == RSL_SAGA_UNWOUND;
    }
    return ended == ORDERS / 2 ? RSL_OK : RSL_EPARKED;
}

static int work(int number)
{
    char error[200] = "", conninfo[300];
    host h = {.shop = database("shop"), .bank = database("bank"),
              .tally = &shared->hosts[number], .lives = number == 0 ? 9 : 0};
    rsl_saga_store store;
    rsl_sagas *sagas;
    snprintf(conninfo, sizeof conninfo, "%s dbname=shop", server);
    rsl_saga_postgres_config where = {.conninfo = conninfo, .retry_for = RSL_MS(600)};
    /* One step at a time, for they share two connections. Short leases, for a short example. */
    rsl_sagas_config config = {.store = &store, .threads = 1, .claim_for = RSL_SEC(2),
                               .observer = {on_event, &h}, .error = error,
                               .error_size = sizeof error};
    if (h.shop == NULL || h.bank == NULL) return 1;
    int status = rsl_saga_postgres_open(&store, &where);
    if (status == RSL_OK) status = rsl_sagas_open(&sagas, &config);
    if (status == RSL_OK) status = rsl_sagas_register(sagas, &order, &h);
    if (status == RSL_OK) status = rsl_sagas_recover(sagas);
    if (status == RSL_OK) status = place_orders(sagas, number);
    while (!__atomic_load_n(&shared->first_is_dead, __ATOMIC_ACQUIRE)) poll(NULL, 0, 5);
    if (status == RSL_OK) status = place_orders(sagas, 0);
    if (status == RSL_OK) status = rsl_sagas_close(sagas, NULL);
    rsl_postgres_close(h.shop);
    rsl_postgres_close(h.bank);
    if (status != RSL_OK) fprintf(stderr, "saga_hosts: %s; %s\n", rsl_strerror(status), error);
    return status == RSL_OK ? 0 : 1;
}

/* ---- the one that looks on ---- */

static bool books_agree(void)
{
    const tally *first = &shared->hosts[0], *other = &shared->hosts[1];
    PGconn *shop = database("shop"), *bank = database("bank");
    bool agree = shop != NULL && bank != NULL;
    int parcels = 0, stock = agree ? number_of(shop, "SELECT count FROM stock") : -1;
    for (int i = 1; agree && i <= CUSTOMERS; i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM parcels WHERE customer = %d", i);
        int sent = number_of(shop, sql);
        snprintf(sql, sizeof sql, "SELECT balance FROM accounts WHERE customer = %d", i);
        int paid = (i == 2 ? 70 : 1000) - number_of(bank, sql);
        printf("customer %d paid %3d for %d parcels\n", i, paid, sent);
        agree = paid == PRICE * sent && sent == (i == 2 ? 2 : i == 3 ? 0 : 6);
        parcels += sent;
    }
    rsl_postgres_close(shop);
    rsl_postgres_close(bank);
    printf("%d orders, %d parcels, stock from %d to %d\n", ORDERS, parcels, STOCK, stock);
    printf("the first host had %d effects and was killed\n", first->effects);
    printf("the other claimed %d sagas of it, had %d effects, and found %d done already\n",
           other->claimed, other->effects, other->repeats);
    return agree && stock == STOCK - parcels && other->claimed > 0 && other->repeats > 0;
}

/* One is killed in the middle, one comes through. */
static bool run_hosts(void)
{
    pid_t hosts[2];
    int status[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        hosts[i] = fork();
        if (hosts[i] == 0) _exit(work(i));
    }
    bool ended = hosts[0] > 0 && waitpid(hosts[0], &status[0], 0) == hosts[0];
    __atomic_store_n(&shared->first_is_dead, 1, __ATOMIC_RELEASE);
    ended = hosts[1] > 0 && waitpid(hosts[1], &status[1], 0) == hosts[1] && ended;
    if (ended && WIFSIGNALED(status[0]) && WTERMSIG(status[0]) == SIGKILL && status[1] == 0)
        return true;
    fprintf(stderr, "saga_hosts: the hosts ended with %#x and %#x\n", (unsigned)status[0],
            (unsigned)status[1]);
    return false;
}

int main(int argc, char **argv)
{
    server = getenv("RSL_POSTGRES");
    if (server == NULL && argc == 1) { /* an argument: we have been here before */
        execl("tools/postgres", "postgres", "with", argv[0], "beside a server", (char *)NULL);
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                  0);
    PGconn *conn = server != NULL ? database("postgres") : NULL;
    if (conn == NULL || shared == MAP_FAILED) {
        fputs("saga_hosts: needs tools/postgres, from the project's root\n", stderr);
        return 1;
    }
    int code = make_database(conn, "shop", shop_tables);
    if (code == RSL_OK) code = make_database(conn, "bank", bank_tables);
    if (code != RSL_OK) fprintf(stderr, "saga_hosts: %s\n", rsl_postgres_message(code));
    rsl_postgres_close(conn); /* a child may not inherit it */
    bool proved = code == RSL_OK && run_hosts() && books_agree();
    printf("what one host left undone the other finished, and nothing twice: %s\n",
           proved ? "yes" : "no");
    if (!proved) fputs("saga_hosts: it went otherwise\n", stderr);
    return proved ? 0 : 1;
}
