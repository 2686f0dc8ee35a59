/* SPDX-License-Identifier: MIT
   application.c: an application that has an stb_ds of its own, C or C++: before the library, after
   it, or in another file than the library. Built with -DBEFORE, -DAFTER or -DOTHER=the library's
   function; STB names the application's stb_ds. */
#if defined BEFORE || defined OTHER
#define STB_DS_IMPLEMENTATION
#include STB
#endif

#ifndef OTHER
/* The names that stb_ds has for locals and fields are the application's to use. */
static int temperature = 40, seed = 2;
#define temp temperature

#define KEYED_PART keyed_here
#include "keyed_part.c"

static int own_names(void) { return temp + seed == 42 ? 0 : 1; }
#define LIBRARY keyed_here
#else
#ifdef __cplusplus
extern "C"
#endif
int OTHER(void);
static int own_names(void) { return 0; }
#define LIBRARY OTHER
#endif

#undef temp

#ifdef AFTER
#define STB_DS_IMPLEMENTATION
#include STB
#endif

struct number { int key, value; };
struct name { const char *key; int value; };

int main(void) {
    int *numbers = NULL;
    struct number *map = NULL;
    struct name *names = NULL;
    int failed = 0, three = 3, nine = 9;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            arrput(numbers, i);
            hmput(map, i, 7 * i);
        }
        shput(names, "seven", 7);
        shput(names, "eight", 8);
        failed |= LIBRARY() != 0 || own_names() != 0;
        failed |= hmlen(map) != 100 || hmget(map, nine) != 63;
        failed |= shget(names, "seven") != 7 || shgeti(names, "nine") != -1;
        failed |= shdel(names, "eight") != 1 || hmdel(map, three) != 1;
    }
    failed |= arrlen(numbers) != 200 || (int)arrlenu(numbers) != 200;
    arrfree(numbers);
    hmfree(map);
    shfree(names);
    return failed;
}
