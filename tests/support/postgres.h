/* SPDX-License-Identifier: MIT
   postgres.h: a real PostgreSQL for tests: started, killed, restarted, looked into.

   Include it after adapters/postgres.h and <cmocka.h>. One server per program: postgres_start()
   in a group's set-up, postgres_stop() in its tear-down; should the program die in between, the
   server is stopped within a second or two. A server that `tools/postgres with` started is taken
   as it is, and left. Programs run from the project's root, as tools/run_tests does.           */
#ifndef SUPPORT_POSTGRES_H
#define SUPPORT_POSTGRES_H

#ifndef RSL_POSTGRES_H
#error "include adapters/postgres.h before support/postgres.h"
#endif

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SUPPORT_UNUSED
#define SUPPORT_UNUSED __attribute__((unused))
#endif

typedef struct postgres_server {
    char    conninfo[256];
    char    folder[200];
    bool    started;         /* by us, and so stopped by us */
    PGconn *admin;           /* a connection of its own, application_name "admin"; made anew when
                                it broke */
} postgres_server;

static postgres_server postgres;

/* -------------------------------------------------------------- the server */

/* Runs tools/postgres; the first line that it prints goes to `line`. False when it failed. */
SUPPORT_UNUSED static bool postgres_tool_(const char *arguments, char *line, size_t size)
{
    char command[700];
    (void)snprintf(command, sizeof command, "tools/postgres %s", arguments);
    FILE *said = popen(command, "r");
    if (said == NULL) {
        return false;
    }
    char text[256] = "";
    bool read = fgets(text, sizeof text, said) != NULL;
    if (pclose(said) != 0) {
        return false;
    }
    if (line != NULL) {
        text[strcspn(text, "\n")] = '\0';
        (void)snprintf(line, size, "%s", text);
        return read;
    }
    return true;
}

/* Settings as in "max_connections=10 deadlock_timeout=50ms", or "". 0, or -1 when there is no
   server: fit for a cmocka set-up. */
SUPPORT_UNUSED static int postgres_start(const char *settings)
{
    memset(&postgres, 0, sizeof postgres);
    const char *conninfo = getenv("RSL_POSTGRES"), *folder = getenv("RSL_POSTGRES_FOLDER");
    if (conninfo != NULL && folder != NULL) {
        (void)snprintf(postgres.conninfo, sizeof postgres.conninfo, "%s", conninfo);
        (void)snprintf(postgres.folder, sizeof postgres.folder, "%s", folder);
        return 0;
    }
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(postgres.folder, sizeof postgres.folder, "%.150s/rsl_postgres_XXXXXX",
                   tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(postgres.folder) == NULL) {
        return -1;
    }
    char arguments[500];
    (void)snprintf(arguments, sizeof arguments, "start %s while=%d %s", postgres.folder,
                   (int)getpid(), settings);
    postgres.started = postgres_tool_(arguments, postgres.conninfo, sizeof postgres.conninfo);
    return postgres.started ? 0 : -1;
}

SUPPORT_UNUSED static int postgres_stop(void)
{
    PQfinish(postgres.admin);
    postgres.admin = NULL;
    if (!postgres.started) {
        return 0;
    }
    char arguments[300];
    (void)snprintf(arguments, sizeof arguments, "stop %s", postgres.folder);
    return postgres_tool_(arguments, NULL, 0) ? 0 : -1;
}

/* verb: "down", "up" or "restart"; mode: "fast", "immediate", or "" for up. */
SUPPORT_UNUSED static void postgres_do(const char *verb, const char *mode)
{
    char arguments[300];
    (void)snprintf(arguments, sizeof arguments, "%s %s %s", verb, postgres.folder, mode);
    assert_true(postgres_tool_(arguments, NULL, 0));
}

/* ---------------------------------------------------------- looking into it */

static void postgres_hush_(void *arg, const char *notice)
{
    (void)arg, (void)notice;
}

/* Runs SQL as the administrator; the caller clears the result. Fails the test when it fails. */
SUPPORT_UNUSED static PGresult *postgres_admin_result_(const char *sql)
{
    if (postgres.admin != NULL && PQstatus(postgres.admin) != CONNECTION_OK) {
        PQfinish(postgres.admin);
        postgres.admin = NULL;
    }
    for (int tries = 0; tries < 2; tries++) {
        if (postgres.admin == NULL) {
            char conninfo[300];
            (void)snprintf(conninfo, sizeof conninfo, "%s application_name=admin",
                           postgres.conninfo);
            postgres.admin = PQconnectdb(conninfo);
            PQsetNoticeProcessor(postgres.admin, postgres_hush_, NULL);
        }
        PGresult *result = PQexec(postgres.admin, sql);
        if (PQstatus(postgres.admin) == CONNECTION_OK) {
            return result;
        }
        PQclear(result); /* the server was restarted since */
        PQfinish(postgres.admin);
        postgres.admin = NULL;
    }
    fail_msg("the administrator cannot connect");
    return NULL;
}

/* SQL of which nothing is wanted but success. */
SUPPORT_UNUSED static void postgres_do_sql(const char *sql)
{
    PGresult *result = postgres_admin_result_(sql);
    ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(postgres.admin));
    }
}

/* A number that SQL gives. */
SUPPORT_UNUSED static long postgres_number(const char *sql)
{
    PGresult *result = postgres_admin_result_(sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
        PQclear(result);
        fail_msg("%s: %s", sql, PQerrorMessage(postgres.admin));
    }
    long number = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return number;
}

/* How many backends serve connections of this application_name. */
SUPPORT_UNUSED static long postgres_count(const char *application_name)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM pg_stat_activity WHERE application_name = '%s'",
                   application_name);
    return postgres_number(sql);
}

/* Waits until the number that SQL gives is the one wanted, at most 10 s: backends end, and
   statements begin, a little after their client has gone or sent them. */
SUPPORT_UNUSED static bool postgres_becomes(const char *sql, long wanted)
{
    rsl_time end = rsl_now() + RSL_SEC(10);
    while (postgres_number(sql) != wanted) {
        if (rsl_now() > end) {
            return false;
        }
        usleep(2000);
    }
    return true;
}

SUPPORT_UNUSED static bool postgres_count_becomes(const char *application_name, long wanted)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM pg_stat_activity WHERE application_name = '%s'",
                   application_name);
    return postgres_becomes(sql, wanted);
}

/* Waits until a connection of this application_name runs a statement. */
SUPPORT_UNUSED static bool postgres_is_active(const char *application_name)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql,
                   "SELECT sign(count(*)) FROM pg_stat_activity WHERE application_name = '%s' "
                   "AND state = 'active'", application_name);
    return postgres_becomes(sql, 1);
}

/* Ends the backends of all connections of this application_name, and waits until they are gone;
   how many there were. */
SUPPORT_UNUSED static long postgres_kill(const char *application_name)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE "
                   "application_name = '%s'", application_name);
    return postgres_number(sql);
}

#endif
