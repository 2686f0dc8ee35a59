/* sagas.h -- who runs the same saga of five steps, and makes it durable: we, and what a person
   would write by hand. See docs/bench.md.

   SPDX-License-Identifier: MIT */
#ifndef BENCH_SAGAS_H
#define BENCH_SAGAS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    BENCH_SAGA_STEPS = 5,
    BENCH_SAGA_COMMITS = BENCH_SAGA_STEPS + 1, /* that follow each other in one saga */
    BENCH_SAGA_CLIENTS_MAX = 64,
};

/* A way to run sagas durably. open makes it anew in an empty folder; false: it cannot be had here.
   run runs one saga from its beginning to its end; clients are 0..BENCH_SAGA_CLIENTS_MAX-1, each
   a thread of its own. */
typedef struct bench_saga_kind {
    const char *title;
    bool        ours;
    bool      (*open)(const char *folder, int clients);
    bool      (*run)(int client);
    void      (*close)(void);
} bench_saga_kind;

extern const bench_saga_kind bench_saga_floor;  /* the same bytes per commit: pwrite, fdatasync */
extern const bench_saga_kind bench_saga_sqlite; /* a row per saga, a transaction per step */
extern const bench_saga_kind bench_saga_postgres;

/* Bytes of one commit of the floor. */
extern size_t bench_saga_commit_size;

#endif
