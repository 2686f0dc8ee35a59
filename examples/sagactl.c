/* SPDX-License-Identifier: MIT
   sagactl.c: looks into the journal of saga.h in a folder, and says an operator's word.

       sagactl FOLDER list [STATE]            running unwinding done unwound parked abandoned
       sagactl FOLDER show ID                 the log of one saga, with times (UTC)
       sagactl FOLDER retry ID STEP           calls the parked step again, with all its attempts
       sagactl FOLDER skip ID STEP            takes it for done: somebody did it by hand
       sagactl FOLDER abandon ID [STEP]       ends the parked saga as it stands
       sagactl -f FOLDER abandon ID           the same if it is not parked: its program cannot go
                                              on with it, for the definition is gone
       sagactl FOLDER cancel ID               has it unwind; also if its pivot is parked
       sagactl FOLDER verify                  whether all is whole
       sagactl FOLDER salvage                 of a damaged journal, keeps what is whole

   list, show and verify only read, also while the program runs; then the end may look torn. The
   others need the journal for themselves, and what they say takes effect when the program opens it
   again. Keys and data may hold any bytes: what is no printable ASCII is shown as \x and two
   digits. Run it as the user that owns the folder.

   Ends with 0: fine; 1: refused, or there is no such thing; 2: wrong usage; 3: damage was found.

   Without arguments it shows itself: it makes a journal in a temporary folder with a saga that is
   parked, uses the above on it until that saga is unwound, and ends with 0 if all went as it says.

   cc -std=c11 -O2 -I. examples/sagactl.c -pthread -o sagactl                                    */
#define RSL_SAGA_IMPLEMENTATION
#include "saga.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FINE = 0, REFUSED = 1, USAGE = 2, DAMAGED = 3 };

static const char *const state_names[] = {"running", "unwinding", "done",
                                          "unwound", "parked",    "abandoned"};

/* ---- what a record says, by the encoding that docs/saga.md describes ---- */

enum { BEGIN = 1, DONE = 3, RETRY = 4, PARK = 9, RESOLVE = 10, END = 11, NO_STEP = 0xffff };

typedef struct view { const uint8_t *at, *end; bool fails; } view;

static uint64_t number(view *v, int bytes)
{
    uint64_t n = 0;
    if (v->end - v->at < bytes) v->fails = true;
    for (int i = 0; i < bytes && !v->fails; i++) n |= (uint64_t)*v->at++ << 8 * i;
    return n;
}

/* text: at least 256 bytes. */
static void words(view *v, char *text)
{
    size_t size = (size_t)number(v, 1);
    if ((size_t)(v->end - v->at) < size) v->fails = true;
    if (v->fails) size = 0;
    memcpy(text, v->at, size);
    text[size] = '\0';
    v->at += size;
}

typedef struct said {
    unsigned kind, step, value;
    bool     undo;
    int      status;
    rsl_time next_at;
    view     rest;
} said;

static bool said_by(const rsl_saga_record *record, said *s)
{
    view v = {record->data, (const uint8_t *)record->data + record->size, false};
    memset(s, 0, sizeof *s);
    s->step = NO_STEP;
    s->kind = (unsigned)number(&v, 1);
    if (s->kind == BEGIN) {
        number(&v, 8); /* when, and its deadline */
        number(&v, 8);
    } else {
        s->undo = number(&v, 1) != 0;
        s->step = (unsigned)number(&v, 2);
        s->status = (int)(int32_t)(uint32_t)number(&v, 4);
        s->value = (unsigned)number(&v, 4);
        number(&v, 8); /* when */
        s->next_at = (rsl_time)number(&v, 8);
    }
    s->rest = v;
    return !v.fails;
}

/* ---- the sagas of a journal ---- */

typedef struct saga {
    rsl_saga_id    id;
    rsl_saga_state state;
    uint32_t       version, number, steps;
    uint64_t       epoch;
    rsl_time       at;      /* of its latest record */
    bool           has_hole;
    char           def[256], key[256];
    rsl_saga_record begin;  /* without its payload; data is NULL if it is not there */
    uint8_t        parked[RSL_SAGA_STEPS_MAX]; /* 1: the action is, 2: the compensation */
    int            status[RSL_SAGA_STEPS_MAX];
} saga;

typedef struct journal {
    const char *path;
    rsl_saga_journal_report report;
    saga      **sagas;      /* by id */
    size_t      count, room;
    rsl_saga_id shown;      /* its records are printed as they come; 0: none */
} journal;

static saga *find(const journal *j, rsl_saga_id id, size_t *place)
{
    size_t low = 0, high = j->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (j->sagas[middle]->id < id) low = middle + 1;
        else high = middle;
    }
    if (place != NULL) *place = low;
    return low < j->count && j->sagas[low]->id == id ? j->sagas[low] : NULL;
}

static saga *add(journal *j, rsl_saga_id id, size_t place)
{
    if (j->count == j->room) {
        size_t room = j->room * 2 + 64;
        saga **wider = realloc(j->sagas, room * sizeof *wider);
        if (wider == NULL) return NULL;
        j->sagas = wider;
        j->room = room;
    }
    saga *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->id = id;
    memmove(j->sagas + place + 1, j->sagas + place, (j->count++ - place) * sizeof *j->sagas);
    return j->sagas[place] = s;
}

static void forget(journal *j)
{
    for (size_t i = 0; i < j->count; i++) {
        free((void *)(uintptr_t)j->sagas[i]->begin.data);
        free(j->sagas[i]);
    }
    free(j->sagas);
}

/* Takes in a BEGIN. False: no memory. */
static bool begin(saga *s, const rsl_saga_record *record, view v)
{
    size_t shape = (size_t)number(&v, 4);
    view inner = v;
    s->version = (uint32_t)number(&inner, 4);
    words(&inner, s->def);
    s->steps = (uint32_t)number(&inner, 2);
    if ((size_t)(v.end - v.at) < shape || inner.fails || s->begin.data != NULL) {
        s->has_hole = true;
        return true;
    }
    v.at += shape;
    words(&v, s->key);
    size_t size = (size_t)(v.at - (const uint8_t *)record->data);
    void *copy = malloc(size);
    if (copy == NULL) return false;
    memcpy(copy, record->data, size);
    s->begin = *record;
    s->begin.data = copy;
    s->begin.size = size;
    return true;
}

/* The name of a step; false: it has no such one. name: at least 256 bytes. */
static bool step_name(const saga *s, unsigned step, char *name)
{
    snprintf(name, 256, "step %u", step);
    if (s->begin.data == NULL || step >= s->steps) return false;
    view v = {(const uint8_t *)s->begin.data + 21,
              (const uint8_t *)s->begin.data + s->begin.size, false};
    number(&v, 4);
    words(&v, name);
    number(&v, 2);
    for (unsigned i = 0; i <= step && !v.fails; i++) {
        number(&v, 1);
        words(&v, name);
        for (uint64_t before = number(&v, 1); before > 0; before--) number(&v, 1);
    }
    return !v.fails;
}

/* ---- words for people ---- */

/* Prints what may hold any bytes; what is not printable is escaped. Returns how wide it was. */
static int print_bytes(const void *data, size_t size)
{
    const unsigned char *from = data;
    int width = 0;
    for (size_t i = 0; i < size; i++) {
        if (from[i] < ' ' || from[i] > '~') width += printf("\\x%02x", from[i]);
        else if (from[i] == '"' || from[i] == '\\') width += printf("\\%c", from[i]);
        else width += printf("%c", from[i]);
    }
    return width;
}

static int print_safely(const char *text) { return print_bytes(text, strlen(text)); }

/* How much, and how it begins. */
static void print_data(const char *what, view data)
{
    size_t size = (size_t)(data.end - data.at);
    printf(", %s of %zu bytes", what, size);
    if (size == 0) return;
    printf(": \"");
    print_bytes(data.at, size > 64 ? 64 : size);
    printf(size > 64 ? "\"..." : "\"");
}

static const char *date(rsl_time at, int digits, char text[40])
{
    time_t seconds = (time_t)(at / RSL_SEC(1));
    struct tm tm;
    if (at <= 0 || gmtime_r(&seconds, &tm) == NULL) return strcpy(text, "-");
    size_t used = strftime(text, 30, "%Y-%m-%d %H:%M:%S", &tm);
    int rest = (int)(at % RSL_SEC(1) / (digits == 3 ? 1000000 : 1000));
    snprintf(text + used, 40 - used, ".%0*d", digits, rest);
    return text;
}

static void show_begin(const saga *s, view v)
{
    char key[256];
    v.at += number(&v, 4); /* the shape; begin() has found it whole */
    words(&v, key);
    printf("BEGIN ");
    print_safely(s->def);
    printf(" version %" PRIu32 ", key \"", s->version);
    print_safely(key);
    printf("\"");
    print_data("payload", v);
}

static void show(const saga *s, const rsl_saga_record *record, const said *what)
{
    char text[1000], when[40];
    const rsl_saga_record *names = s->begin.data != NULL ? &s->begin : NULL;
    if (record->epoch != s->epoch) printf("owner %" PRIu64 ":\n", record->epoch);
    printf("%s  %4" PRIu32 "  ", date(rsl_saga_record_time(record), 6, when), record->number);
    if (what->kind == BEGIN && names != NULL) show_begin(s, what->rest);
    else print_safely(rsl_saga_record_text(record, names, text, sizeof text));
    if (what->kind == RETRY) printf(", again at %s", date(what->next_at, 6, when));
    if (what->kind == DONE && what->rest.at < what->rest.end) print_data("output", what->rest);
    puts("");
}

/* ---- reading ---- */

static int visit(void *user, const rsl_saga_record *record)
{
    journal *j = user;
    size_t place;
    said what;
    saga *s = find(j, record->saga, &place);
    bool is_first = s == NULL;
    if (is_first && (s = add(j, record->saga, place)) == NULL) return RSL_ENOMEM;
    bool known = said_by(record, &what);
    /* Compaction leaves of an ended saga its END. */
    bool follows = is_first ? what.kind == BEGIN || what.kind == END
                            : record->number == s->number + 1;
    if (!known || !follows) s->has_hole = true;
    if (known && what.kind == BEGIN && !begin(s, record, what.rest)) return RSL_ENOMEM;
    if (known && what.kind == END) {
        s->version = (uint32_t)number(&what.rest, 4);
        words(&what.rest, s->def);
        words(&what.rest, s->key);
    }
    if (what.step < RSL_SAGA_STEPS_MAX) {
        s->status[what.step] = what.status;
        if (what.kind == PARK) s->parked[what.step] = what.undo ? 2 : 1;
        if (what.kind == RESOLVE) s->parked[what.step] = 0;
    }
    if (j->shown == s->id) show(s, record, &what);
    s->number = record->number;
    s->epoch = record->epoch;
    s->state = record->state;
    s->at = rsl_saga_record_time(record);
    return RSL_OK;
}

/* Says why on stderr, unless FINE. */
static int read_journal(journal *j)
{
    char error[600] = "";
    int status = rsl_saga_journal_read(j->path, &j->report, visit, j, error, sizeof error);
    if (status == RSL_OK) return FINE;
    fprintf(stderr, "sagactl: %s", error[0] != '\0' ? error : rsl_strerror(status));
    if (status == RSL_ESYS || status == RSL_EIO) fprintf(stderr, ": %s", strerror(errno));
    fputs("\n", stderr);
    return REFUSED;
}

static bool is_over(const saga *s)
{
    return s->state == RSL_SAGA_DONE || s->state == RSL_SAGA_UNWOUND ||
           s->state == RSL_SAGA_ABANDONED;
}

/* A log with a hole in it counts once its saga has not ended: then nobody can go on with it. */
static bool is_ruin(const saga *s) { return s->has_hole && !is_over(s); }

static void print_parked(const saga *s, const char *before)
{
    char name[256];
    if (is_ruin(s)) {
        printf("%sits log has a hole", before);
        before = ", ";
    }
    for (unsigned i = 0; i < RSL_SAGA_STEPS_MAX; i++) {
        if (s->parked[i] == 0 || is_over(s)) continue;
        step_name(s, i, name);
        printf("%s%s", before, s->parked[i] == 2 ? "undo of " : "");
        print_safely(name);
        if (s->status[i] != 0) printf(" (status %d)", s->status[i]);
        before = ", ";
    }
}

static void warn_of_damage(const journal *j)
{
    if (j->report.status != RSL_ECORRUPT) return;
    fprintf(stderr, "sagactl: %s is damaged at offset %" PRIu64 "; what is shown may be out of "
                    "date. See verify, salvage\n", j->path, j->report.offset);
}

/* ---- the verbs that read ---- */

static int list(journal *j, const char *state)
{
    unsigned wanted = 0;
    for (unsigned i = 0; state != NULL && i < RSL_COUNT(state_names); i++) {
        if (strcmp(state, state_names[i]) == 0) wanted = 1u << i;
    }
    if (state != NULL && wanted == 0) return USAGE;
    int status = read_journal(j);
    if (status != FINE) return status;
    printf("%8s  %-9s  %-23s  %-16s  %s\n", "ID", "STATE", "SINCE (UTC)", "DEFINITION",
           "KEY, PARKED");
    for (size_t i = 0; i < j->count; i++) {
        const saga *s = j->sagas[i];
        char when[40];
        if (wanted != 0 && (wanted >> s->state & 1) == 0) continue;
        printf("%8" PRIu64 "  %-9s  %-23s  ", s->id, state_names[s->state], date(s->at, 3, when));
        int width = print_safely(s->def) + printf(" %" PRIu32, s->version);
        printf("%*s  \"", width < 16 ? 16 - width : 0, "");
        print_safely(s->key);
        printf("\"");
        print_parked(s, "  ");
        puts("");
    }
    warn_of_damage(j);
    return FINE;
}

static int no_such(const journal *j, rsl_saga_id id)
{
    fprintf(stderr, "sagactl: %s has no saga %" PRIu64 "\n", j->path, id);
    return REFUSED;
}

static int show_one(journal *j, rsl_saga_id id)
{
    j->shown = id;
    int status = read_journal(j);
    if (status != FINE) return status;
    const saga *s = find(j, id, NULL);
    if (s == NULL) return no_such(j, id);
    printf("saga %" PRIu64 " is %s", id, state_names[s->state]);
    print_parked(s, ": ");
    puts("");
    warn_of_damage(j);
    return FINE;
}

static int verify(journal *j)
{
    int status = read_journal(j);
    if (status != FINE) return status;
    const rsl_saga_journal_report *r = &j->report;
    if (r->version != 0) {
        printf("format %" PRIu32 ", uuid %s, owner %" PRIu64 "\n", r->version, r->uuid, r->epoch);
    }
    printf("%" PRIu64 " records of %zu sagas in %" PRIu64 " bytes\n",
           r->records + r->records_after, j->count, r->bytes);
    if (r->status == RSL_EIO) {
        printf("torn at offset %" PRIu64 ": the end of an append that nobody was told of, or one "
               "under way; the next open cuts it off\n", r->offset);
    } else if (r->status != RSL_OK) {
        printf("damaged at offset %" PRIu64 ", with %" PRIu64 " whole records behind it\n",
               r->offset, r->records_after);
        status = DAMAGED;
    }
    for (size_t i = 0; i < j->count; i++) {
        if (!is_ruin(j->sagas[i])) continue;
        printf("saga %" PRIu64 ": its log has a hole\n", j->sagas[i]->id);
        status = DAMAGED;
    }
    puts(status == FINE ? "all that was acknowledged is there" : "see salvage, or a backup");
    return status;
}

/* ---- the verbs that change ---- */

/* Opens it, with nothing running. It must not forget what its program remembers. */
static int take(const char *path, bool salvage, rsl_sagas **sagas)
{
    char error[600] = "";
    rsl_sagas_config config = {.path = path, .caller_works = true, .salvage = salvage,
                               .finished_max = RSL_UNLIMITED, .error = error,
                               .error_size = sizeof error};
    int status = rsl_sagas_open(sagas, &config);
    if (status == RSL_OK) return FINE;
    fprintf(stderr, "sagactl: %s", error);
    if (status == RSL_EFENCED) fputs(": only its program can do this now", stderr);
    if (status == RSL_ECORRUPT && !salvage) fputs(". See verify, salvage", stderr);
    fputs("\n", stderr);
    return status == RSL_ECORRUPT ? DAMAGED : REFUSED;
}

/* Why the word cannot be said, as far as the journal tells; FINE: it may. */
static int may_resolve(const journal *j, const saga *s, const char *step, bool forced)
{
    char name[256];
    bool is_step = false, is_parked = false;
    if (is_over(s)) {
        fprintf(stderr, "sagactl: saga %" PRIu64 " has ended: it is %s\n", s->id,
                state_names[s->state]);
        return REFUSED;
    }
    for (unsigned i = 0; step != NULL && i < s->steps; i++) {
        if (!step_name(s, i, name) || strcmp(name, step) != 0) continue;
        is_step = true;
        is_parked = s->parked[i] != 0;
    }
    if (step != NULL ? is_parked : forced || s->state == RSL_SAGA_PARKED || is_ruin(s))
        return FINE;
    printf("saga %" PRIu64 " of %s is %s", s->id, j->path, state_names[s->state]);
    print_parked(s, ": ");
    puts("");
    if (step == NULL) fputs("sagactl: it is not parked; see -f\n", stderr);
    else if (!is_step) fputs("sagactl: it has no such step\n", stderr);
    else fputs("sagactl: that step is not parked\n", stderr);
    return REFUSED;
}

static int say(const char *path, rsl_saga_id id, const char *step, const char *verb)
{
    rsl_sagas *sagas;
    int status = take(path, false, &sagas), result;
    if (status != FINE) return status;
    rsl_sagas_recover(sagas); /* no definition is registered: runs nothing, and all are parked */
    if (strcmp(verb, "cancel") == 0) result = rsl_sagas_cancel(sagas, id);
    else if (strcmp(verb, "retry") == 0) result = rsl_sagas_resolve(sagas, id, step,
                                                                    RSL_SAGA_RETRY);
    else if (strcmp(verb, "skip") == 0) result = rsl_sagas_resolve(sagas, id, step, RSL_SAGA_SKIP);
    else result = rsl_sagas_resolve(sagas, id, step, RSL_SAGA_ABANDON);
    rsl_sagas_close(sagas, NULL);
    if (result == RSL_OK) {
        printf("saga %" PRIu64 ": %s is recorded\n", id, verb);
        return FINE;
    }
    if (result == RSL_EINVAL && strcmp(verb, "cancel") == 0)
        fputs("sagactl: there is no way back: its pivot has begun\n", stderr);
    else fprintf(stderr, "sagactl: %s\n", rsl_strerror(result));
    return REFUSED;
}

static int change(journal *j, rsl_saga_id id, const char *step, const char *verb, bool forced)
{
    int status = read_journal(j);
    if (status != FINE) return status;
    if (j->report.status == RSL_ECORRUPT) {
        warn_of_damage(j);
        return DAMAGED;
    }
    const saga *s = find(j, id, NULL);
    if (s == NULL) return no_such(j, id);
    status = may_resolve(j, s, step, forced || strcmp(verb, "cancel") == 0);
    return status == FINE ? say(j->path, id, step, verb) : status;
}

static int salvage(journal *j)
{
    rsl_sagas *sagas;
    int status = read_journal(j);
    if (status != FINE) return status;
    if (j->report.status != RSL_ECORRUPT) {
        puts("nothing is to be salvaged");
        return FINE;
    }
    status = take(j->path, true, &sagas);
    if (status != FINE) return status;
    rsl_sagas_close(sagas, NULL);
    printf("%" PRIu64 " records were whole and are kept; ",
           j->report.records + j->report.records_after);
    printf("the former journal is %s/journal.damaged\n", j->path);
    journal after = {.path = j->path};
    status = read_journal(&after);
    for (size_t i = 0; i < after.count; i++) {
        if (is_ruin(after.sagas[i]))
            printf("saga %" PRIu64 " has a hole in its log: abandon it\n", after.sagas[i]->id);
    }
    forget(&after);
    return status;
}

/* ---- what is asked for ---- */

static int usage(void)
{
    fputs("usage: sagactl FOLDER list [STATE] | show ID | retry ID STEP | skip ID STEP |\n"
          "       abandon ID [STEP] | cancel ID | verify | salvage; -f FOLDER abandon ID\n"
          "STATE: running unwinding done unwound parked abandoned\n", stderr);
    return USAGE;
}

/* args: from the folder on. */
static int run(int count, char **args, bool forced)
{
    if (count < 2) return usage();
    journal j = {.path = args[0]};
    const char *verb = args[1], *step = count > 3 ? args[3] : NULL;
    char *end = NULL;
    bool has_id = count > 2 && args[2][0] >= '0' && args[2][0] <= '9';
    rsl_saga_id id = has_id ? (rsl_saga_id)strtoull(args[2], &end, 10) : 0;
    if (end == NULL || *end != '\0') id = 0;
    bool plain = !forced && id != 0, brief = count == 3 && id != 0;
    int status = USAGE;
    if (strcmp(verb, "list") == 0 && count <= 3 && !forced) {
        status = list(&j, count == 3 ? args[2] : NULL);
    } else if (strcmp(verb, "show") == 0 && count == 3 && plain) {
        status = show_one(&j, id);
    } else if (strcmp(verb, "verify") == 0 && count == 2 && !forced) {
        status = verify(&j);
    } else if (strcmp(verb, "salvage") == 0 && count == 2 && !forced) {
        status = salvage(&j);
    } else if ((strcmp(verb, "retry") == 0 || strcmp(verb, "skip") == 0) && count == 4 && plain) {
        status = change(&j, id, step, verb, false);
    } else if (strcmp(verb, "cancel") == 0 && count == 3 && plain) {
        status = change(&j, id, NULL, verb, false);
    } else if (strcmp(verb, "abandon") == 0 && (brief || (plain && count == 4))) {
        status = change(&j, id, step, verb, forced);
    }
    forget(&j);
    return status == USAGE ? usage() : status;
}

/* ---- without arguments: it shows itself ---- */

static rsl_outcome works(rsl_step *step, void *arg)
{
    (void)arg;
    if (!rsl_step_is_undo(step)) rsl_step_put(step, "receipt 1", 9);
    return RSL_STEP_OK;
}

static rsl_outcome refuses(rsl_step *step, void *arg)
{
    (void)arg;
    return rsl_step_fail(step, RSL_STEP_FAIL, 404);
}

static rsl_outcome refund(rsl_step *step, void *mended)
{
    return *(bool *)mended ? RSL_STEP_OK : rsl_step_fail(step, RSL_STEP_UNKNOWN, 503);
}

/* What the journal's program does: goes on with what is there, and begins a saga. How that one
   stands at the end. */
static rsl_saga_state program(const char *folder, bool mended)
{
    static const rsl_saga_step steps[] = {
        {.name = "reserve", .run = works, .undo = works},
        {.name = "charge", .run = works, .undo = refund,
         .undo_retry = {.attempts_max = 2, .delay_first = RSL_MS(1)}},
        {.name = "ship", .run = refuses, .flags = RSL_STEP_PIVOT},
    };
    static const rsl_saga_def order = {"order", 1, steps, RSL_COUNT(steps), RSL_SEC(60)};
    rsl_sagas *sagas;
    rsl_saga_id id;
    rsl_saga_state state = RSL_SAGA_RUNNING;
    rsl_ctx soon = rsl_within(RSL_SEC(10));
    rsl_sagas_config config = {.path = folder};
    if (rsl_sagas_open(&sagas, &config) != RSL_OK) return state;
    if (rsl_sagas_register(sagas, &order, &mended) == RSL_OK &&
        rsl_sagas_recover(sagas) == RSL_OK &&
        rsl_sagas_start(sagas, "order", "order\n4711", "2 pears", 7, &id) == RSL_OK)
        rsl_sagas_wait(sagas, id, &soon, &state);
    return rsl_sagas_close(sagas, &soon) == RSL_OK ? state : RSL_SAGA_RUNNING;
}

static bool gives(int expected, char *folder, const char *verb, const char *id, const char *step)
{
    char *args[] = {folder, (char *)(uintptr_t)verb, (char *)(uintptr_t)id,
                    (char *)(uintptr_t)step};
    printf("\n$ sagactl sagas %s%s%s%s%s\n", verb, id != NULL ? " " : "", id != NULL ? id : "",
           step != NULL ? " " : "", step != NULL ? step : "");
    int status = run(id == NULL ? 2 : step == NULL ? 3 : 4, args, false);
    if (status != FINE) printf("exit code %d\n", status);
    fflush(stdout);
    return status == expected;
}

static int demonstrate(void)
{
    char folder[64] = "/tmp/sagactl.XXXXXX", path[100];
    if (mkdtemp(folder) == NULL) {
        perror("sagactl");
        return REFUSED;
    }
    puts("An order fails, and its refund too: the saga is parked.");
    bool proved = program(folder, false) == RSL_SAGA_PARKED;
    proved &= gives(FINE, folder, "list", "parked", NULL);
    proved &= gives(FINE, folder, "show", "1", NULL);
    proved &= gives(REFUSED, folder, "retry", "1", "reserve");
    proved &= gives(FINE, folder, "retry", "1", "charge");
    puts("\nThe bank is mended, the program runs again, with the same key.");
    proved &= program(folder, true) == RSL_SAGA_UNWOUND;
    proved &= gives(FINE, folder, "show", "1", NULL);
    proved &= gives(FINE, folder, "verify", NULL, NULL);
    static const char *const names[] = {"/lock", "/journal", ""};
    for (size_t i = 0; i < RSL_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s%s", folder, names[i]);
        remove(path);
    }
    printf("\nparked, told, retried, unwound: %s\n", proved ? "yes" : "no");
    if (!proved) fputs("sagactl: the demonstration went otherwise\n", stderr);
    return proved ? FINE : REFUSED;
}

int main(int argc, char **argv)
{
    if (argc == 1) return demonstrate();
    bool forced = strcmp(argv[1], "-f") == 0;
    return run(argc - 1 - forced, argv + 1 + forced, forced);
}
