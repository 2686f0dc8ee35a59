/* SPDX-License-Identifier: MIT
   read_only.c: a map whose memory has become read-only is still looked up in. */
#define _DEFAULT_SOURCE 1
#include <stddef.h>
#include <sys/mman.h>

enum { ARENA_SIZE = 1 << 20 };
static unsigned char *arena;
static size_t arena_used;

static void *take(size_t size) {
    size_t start = (arena_used + 63) & ~(size_t)63;
    if (size > ARENA_SIZE - start) return NULL;
    arena_used = start + size;
    return arena + start;
}

static void give(void *block) {
    (void)block;
}

#define RSL_MALLOC(size) take(size)
#define RSL_FREE(block)  give(block)
#define RSL_IMPLEMENTATION
#include "keyed.h"

int main(void) {
    int writable = PROT_READ | PROT_WRITE;
    void *pages = mmap(NULL, ARENA_SIZE, writable, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return 1;
    arena = pages;
    rsl_map_ *map = take(sizeof *map); /* the map itself too */
    if (map == NULL || rsl_map_init_(map) != RSL_OK) return 2;
    if (rsl_map_put_(map, "gone", 1) != RSL_OK) return 3;
    if (rsl_map_put_(map, "here", 2) != RSL_OK) return 4;
    rsl_map_del_(map, "gone");
    if (mprotect(arena, ARENA_SIZE, PROT_READ) != 0) return 5;
    uint32_t value = 0;
    if (!rsl_map_get_(map, "here", &value) || value != 2) return 6;
    if (rsl_map_get_(map, "gone", &value) || rsl_map_count_(map) != 1) return 7;
    return 0;
}
