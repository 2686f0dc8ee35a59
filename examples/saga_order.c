/* SPDX-License-Identifier: MIT
   saga_order.c: orders as sagas over two SQLite databases, a shop's and a bank's, which no
   transaction spans. The process that works them off is killed by SIGKILL again and again, each
   time at the worst moment: right after a step's effect, before the journal knows of it. The next
   process finds the journal and goes on; at the end goods and money agree to the last piece.

   What a process was about to record when it died, the next one does again: with the same key. The
   barrier, a table beside the participant's own ones, lets each key have its effect once.

   cc -std=c11 -O2 -I. examples/saga_order.c -lsqlite3 -pthread                                  */
#define _XOPEN_SOURCE 700 /* for nftw */
#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"
#define RSL_SQLITE_IMPLEMENTATION
#define RSL_SAGA_SQLITE_IMPLEMENTATION
#include "adapters/saga_sqlite.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ORDERS = 24, CUSTOMERS = 4, STOCK = 100, PRICE = 30, RUNS_MAX = 100 };
enum { REFUSED = -1 }; /* by the participant's own rules */

static char folder[64] = "/tmp/saga_order.XXXXXX";

/* Customer 2 can pay two orders, 3 has no address; the others get all that they order. */
static const char shop_tables[] =
    "CREATE TABLE stock(count INTEGER CHECK(count >= 0)); INSERT INTO stock VALUES(100);"
    "CREATE TABLE addresses(customer INTEGER PRIMARY KEY);"
    "INSERT INTO addresses VALUES(1), (2), (4);"
    "CREATE TABLE parcels(saga INTEGER PRIMARY KEY, customer INTEGER)";
static const char bank_tables[] =
    "CREATE TABLE accounts(customer INTEGER PRIMARY KEY, balance INTEGER CHECK(balance >= 0));"
    "INSERT INTO accounts VALUES(1, 1000), (2, 70), (3, 1000), (4, 1000)";

/* ---- the steps ---- */

static struct tally { int effects, repeats; } *tally; /* of all processes */

typedef struct shop {
    sqlite3 *goods, *bank;
    int      lives; /* the process dies after as many effects; 0: it does not */
} shop;

typedef struct effect {
    rsl_step     *step;
    const char   *sql;
    rsl_saga_turn turn;
} effect;

/* In a transaction: the barrier's note and the effect are there both, or neither. */
static int apply(const rsl_ctx *ctx, sqlite3 *db, void *arg)
{
    effect *e = arg;
    sqlite3_stmt *statement = NULL;
    int customer = *(const int *)rsl_step_payload(e->step, NULL);
    (void)ctx;
    int code = rsl_saga_sqlite_barrier(db, rsl_step_key(e->step), &e->turn);
    if (code != RSL_OK || e->turn != RSL_SAGA_FIRST) return code;
    code = sqlite3_prepare_v2(db, e->sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int(statement, 1, customer);
        sqlite3_bind_int64(statement, 2, (sqlite3_int64)rsl_step_saga(e->step));
        code = sqlite3_step(statement);
    }
    if (code == SQLITE_DONE) code = sqlite3_changes(db) == 1 ? SQLITE_OK : REFUSED;
    sqlite3_finalize(statement);
    return code;
}

static rsl_outcome once(rsl_step *step, shop *s, sqlite3 *db, const char *sql)
{
    effect e = {step, sql, RSL_SAGA_FIRST};
    rsl_ctx ctx = rsl_step_ctx(step);
    int code = rsl_sqlite_transaction(db, &ctx, RSL_SQLITE_IMMEDIATE, apply, &e);
    if (code == REFUSED || (code == RSL_OK && e.turn == RSL_SAGA_LATE))
        return rsl_step_fail(step, RSL_STEP_FAIL, REFUSED);
    if (code != RSL_OK) { /* of a COMMIT that failed, nobody knows whether it took place */
        bool again = rsl_sqlite_is_retryable(code, NULL);
        return rsl_step_fail(step, again ? RSL_STEP_RETRY : RSL_STEP_UNKNOWN, code);
    }
    tally->repeats += e.turn == RSL_SAGA_AGAIN;
    if (e.turn != RSL_SAGA_FIRST) return RSL_STEP_OK;
    tally->effects++;
    if (--s->lives == 0) kill(getpid(), SIGKILL);
    return RSL_STEP_OK;
}

static rsl_outcome reserve(rsl_step *step, void *arg)
{
    shop *s = arg;
    return once(step, s, s->goods, "UPDATE stock SET count = count - 1 WHERE count > 0");
}

static rsl_outcome release(rsl_step *step, void *arg)
{
    shop *s = arg;
    return once(step, s, s->goods, "UPDATE stock SET count = count + 1");
}

static rsl_outcome charge(rsl_step *step, void *arg)
{
    shop *s = arg;
    return once(step, s, s->bank, "UPDATE accounts SET balance = balance - 30"
                                  " WHERE customer = ?1 AND balance >= 30");
}

static rsl_outcome refund(rsl_step *step, void *arg)
{
    shop *s = arg;
    return once(step, s, s->bank, "UPDATE accounts SET balance = balance + 30"
                                  " WHERE customer = ?1");
}

static rsl_outcome ship(rsl_step *step, void *arg)
{
    shop *s = arg;
    return once(step, s, s->goods, "INSERT INTO parcels SELECT ?2, customer FROM addresses"
                                   " WHERE customer = ?1");
}

/* A parcel that has left is not called back. But if a process dies while it sends one, and the
   next one is refused, it is not certain that there is none: this makes it so. */
static rsl_outcome call_back(rsl_step *step, void *arg)
{
    shop *s = arg;
    return once(step, s, s->goods, "DELETE FROM parcels WHERE saga = ?2");
}

static const rsl_saga_step steps[] = {
    {.name = "reserve", .run = reserve, .undo = release},
    {.name = "charge", .run = charge, .undo = refund},
    {.name = "ship", .run = ship, .undo = call_back, .flags = RSL_STEP_PIVOT},
};
static const rsl_saga_def order = {"order", 1, steps, RSL_COUNT(steps), 0};

/* ---- the process that is killed ---- */

static int open_database(sqlite3 **db, const char *name, const char *tables)
{
    char path[100];
    rsl_sqlite_config config = {.path = path, .wal = true};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int code = rsl_sqlite_open(db, NULL, &config);
    if (code == RSL_OK && tables != NULL) code = sqlite3_exec(*db, tables, NULL, NULL, NULL);
    if (code == RSL_OK && tables != NULL) code = rsl_saga_sqlite_barrier_create(*db);
    if (code != RSL_OK) fprintf(stderr, "saga_order: %s: %s\n", name, rsl_sqlite_message(code));
    return code;
}

/* It does not know what those before it have begun: the keys do. */
static int place_orders(rsl_sagas *sagas)
{
    int ended = 0;
    rsl_saga_id ids[ORDERS];
    rsl_ctx soon = rsl_within(RSL_SEC(30));
    for (int i = 0; i < ORDERS; i++) {
        char key[20];
        int customer = 1 + i % CUSTOMERS;
        snprintf(key, sizeof key, "order-%d", i);
        int status = rsl_sagas_start(sagas, "order", key, &customer, sizeof customer, &ids[i]);
        if (status != RSL_OK) return status;
    }
    for (int i = 0; i < ORDERS; i++) {
        rsl_saga_state state;
        int status = rsl_sagas_wait(sagas, ids[i], &soon, &state);
        if (status != RSL_OK) return status;
        ended += state == RSL_SAGA_DONE || state == RSL_SAGA_UNWOUND;
    }
    return ended == ORDERS ? RSL_OK : RSL_EPARKED;
}

static int work(int lives)
{
    char path[100], error[200] = "";
    shop s = {.lives = lives};
    rsl_sagas *sagas;
    snprintf(path, sizeof path, "%s/sagas", folder);
    /* One step at a time, for they share two connections. */
    rsl_sagas_config config = {.path = path, .threads = 1, .error = error,
                               .error_size = sizeof error};
    if (open_database(&s.goods, "shop.db", NULL) != RSL_OK ||
        open_database(&s.bank, "bank.db", NULL) != RSL_OK)
        return 1;
    int status = rsl_sagas_open(&sagas, &config);
    if (status == RSL_OK) status = rsl_sagas_register(sagas, &order, &s);
    if (status == RSL_OK) status = rsl_sagas_recover(sagas);
    if (status == RSL_OK) status = place_orders(sagas);
    if (status == RSL_OK) status = rsl_sagas_close(sagas, NULL);
    rsl_sqlite_close(s.goods);
    rsl_sqlite_close(s.bank);
    if (status != RSL_OK) fprintf(stderr, "saga_order: %s; %s\n", rsl_strerror(status), error);
    return status == RSL_OK ? 0 : 1;
}

/* ---- the one that looks on ---- */

static int number_of(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int number = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

static bool books_agree(int killed)
{
    sqlite3 *goods, *bank;
    if (open_database(&goods, "shop.db", NULL) != RSL_OK) return false;
    if (open_database(&bank, "bank.db", NULL) != RSL_OK) return false;
    int stock = number_of(goods, "SELECT count FROM stock");
    int money = number_of(bank, "SELECT sum(balance) FROM accounts"), parcels = 0;
    bool agree = true;
    for (int i = 1; i <= CUSTOMERS; i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM parcels WHERE customer = %d", i);
        int sent = number_of(goods, sql);
        snprintf(sql, sizeof sql, "SELECT balance FROM accounts WHERE customer = %d", i);
        int paid = (i == 2 ? 70 : 1000) - number_of(bank, sql);
        printf("customer %d paid %3d for %d parcels\n", i, paid, sent);
        agree = agree && paid == PRICE * sent && sent == (i == 2 ? 2 : i == 3 ? 0 : 6);
        parcels += sent;
    }
    printf("%d orders, %d parcels, stock from %d to %d, money in the accounts %d\n", ORDERS,
           parcels, STOCK, stock, money);
    printf("killed %d times; %d effects; %d calls came again, and did nothing twice\n", killed,
           tally->effects, tally->repeats);
    rsl_sqlite_close(goods);
    rsl_sqlite_close(bank);
    return agree && stock == STOCK - parcels && tally->repeats >= killed;
}

/* Runs one process after another until one comes through. How many were killed; -1: it failed. */
static int run_until_done(void)
{
    for (int killed = 0; killed < RUNS_MAX; killed++) {
        int lives = 4 + rand() % 6, status = 0;
        pid_t child = fork();
        if (child == 0) _exit(work(lives));
        if (child < 0 || waitpid(child, &status, 0) != child) return -1;
        if (WIFEXITED(status)) return WEXITSTATUS(status) == 0 ? killed : -1;
        if (WTERMSIG(status) != SIGKILL) return -1;
    }
    return -1;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
    (void)stat, (void)type, (void)where;
    return remove(path);
}

int main(void)
{
    sqlite3 *goods = NULL, *bank = NULL;
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED || mkdtemp(folder) == NULL) {
        perror("saga_order");
        return 1;
    }
    bool made = open_database(&goods, "shop.db", shop_tables) == RSL_OK &&
                open_database(&bank, "bank.db", bank_tables) == RSL_OK;
    rsl_sqlite_close(goods); /* a child may not inherit it */
    rsl_sqlite_close(bank);
    int killed = made ? run_until_done() : -1;
    bool proved = killed > 0 && books_agree(killed);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    printf("paid is what was sent, and nothing else: %s\n", proved ? "yes" : "no");
    if (!proved) fprintf(stderr, "saga_order: the books do not agree (killed: %d)\n", killed);
    return proved ? 0 : 1;
}
