/* SPDX-License-Identifier: MIT
   cmocka.h: the part of cmocka that the unit tests use, for Windows, where Debian has no cmocka.
   Same names, same meaning; the output is TAP. A failed assertion leaves its test. */
#ifndef WINDOWS_CMOCKA_H
#define WINDOWS_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*test)(void **state);
};

static jmp_buf cmocka_failed_; /* set while a test runs */

#define cmocka_unit_test(function) {#function, function}
#define cmocka_run_group_tests(tests, setup, teardown) \
    ((void)(setup), (void)(teardown), cmocka_run_(tests, sizeof(tests) / sizeof((tests)[0])))

#define assert_true(condition) \
    cmocka_check_((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
#define assert_false(condition) \
    cmocka_check_((condition) ? 0 : 1, "not " #condition, __FILE__, __LINE__)
#define assert_null(pointer) assert_true((pointer) == NULL)
#define assert_non_null(pointer) assert_true((pointer) != NULL)
#define assert_ptr_equal(a, b) assert_true((const void *)(a) == (const void *)(b))
#define assert_int_equal(a, b) \
    cmocka_equal_((uintmax_t)(a), (uintmax_t)(b), 1, #a " == " #b, __FILE__, __LINE__)
#define assert_int_not_equal(a, b) \
    cmocka_equal_((uintmax_t)(a), (uintmax_t)(b), 0, #a " != " #b, __FILE__, __LINE__)
#define assert_in_range(value, low, high) \
    cmocka_range_((uintmax_t)(value), (uintmax_t)(low), (uintmax_t)(high), #value, __FILE__, \
                  __LINE__)
#define assert_string_equal(a, b) \
    cmocka_strings_(a, b, 1, #a " is " #b, __FILE__, __LINE__)
#define assert_string_not_equal(a, b) \
    cmocka_strings_(a, b, 0, #a " is not " #b, __FILE__, __LINE__)
#define assert_memory_equal(a, b, size) assert_true(memcmp((a), (b), (size)) == 0)

#define print_message(...) printf("# " __VA_ARGS__)
#define fail_msg(...) \
    do { printf("# " __VA_ARGS__); cmocka_check_(0, "", __FILE__, __LINE__); } while (0)
#define fail() cmocka_check_(0, "fail()", __FILE__, __LINE__)

static inline void cmocka_check_(int holds, const char *what, const char *file, int line) {
    if (holds) return;
    printf("# %s:%d: %s\n", file, line, what);
    longjmp(cmocka_failed_, 1);
}

static inline void cmocka_equal_(uintmax_t a, uintmax_t b, int wanted, const char *what,
                                 const char *file, int line) {
    if ((a == b) == wanted) return;
    printf("# %jd (0x%jx) and %jd (0x%jx)\n", (intmax_t)a, a, (intmax_t)b, b);
    cmocka_check_(0, what, file, line);
}

static inline void cmocka_range_(uintmax_t value, uintmax_t low, uintmax_t high, const char *what,
                                 const char *file, int line) {
    if (value >= low && value <= high) return;
    printf("# %ju is not within %ju and %ju\n", value, low, high);
    cmocka_check_(0, what, file, line);
}

static inline void cmocka_strings_(const char *a, const char *b, int wanted, const char *what,
                                   const char *file, int line) {
    if ((strcmp(a, b) == 0) == wanted) return;
    printf("# \"%s\" and \"%s\"\n", a, b);
    cmocka_check_(0, what, file, line);
}

static inline int cmocka_run_(const struct CMUnitTest *tests, size_t count) {
    volatile int failures = 0;
    printf("1..%u\n", (unsigned)count);
    for (volatile size_t i = 0; i < count; i++) {
        void *state = NULL;
        volatile int failed = setjmp(cmocka_failed_) != 0;
        if (!failed) tests[i].test(&state);
        else failures = failures + 1;
        printf("%s %u - %s\n", failed ? "not ok" : "ok", (unsigned)i + 1, tests[i].name);
        fflush(stdout);
    }
    return failures;
}

#endif
