/* SPDX-License-Identifier: MIT
   keyed_part.c: a file of a program that implements a module with a map, and uses the map. Built
   with -DKEYED_PART=its function, which answers 0 when the map did its work. */
#define RSL_IMPLEMENTATION
#ifndef KEYED
#define KEYED "keyed.h"
#endif
#include KEYED
#ifdef KEYED_TOO
#include KEYED_TOO /* another module that has a map */
#endif

#ifdef RSL_NO_MAP_
#error "there is no map"
#endif

int KEYED_PART(void);

int KEYED_PART(void) {
    enum { KEYS = 1000 };
    rsl_map_ map;
    if (rsl_map_init_(&map) != RSL_OK) return 1;
    char key[] = "key 000";
    int failed = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        for (uint32_t place = 0, rest = i; place < 3; place++, rest /= 10) {
            key[6 - place] = (char)('0' + rest % 10);
        }
        failed |= rsl_map_put_(&map, key, i) != RSL_OK;
        if (i % 3 == 0) rsl_map_del_(&map, key);
        uint32_t value = 0;
        bool found = rsl_map_get_(&map, key, &value);
        failed |= found != (i % 3 != 0) || (found && value != i);
    }
    failed |= rsl_map_count_(&map) != KEYS - (KEYS + 2) / 3;
    rsl_map_deinit_(&map);
    return failed;
}
