/* SPDX-License-Identifier: MIT

   map.h -- a bounded map from strings to numbers, for the modules that need one.

   Nobody includes this file. `make stamp` copies its region into each module header that has the
   markers for it, below core's definitions. Edit here, then run `make stamp`; the tests fail when
   a copy differs. */

/* >>> definitions */
#ifndef RSL_MAP_IMPLEMENTED_
#define RSL_MAP_IMPLEMENTED_

/* ---- a map from strings to numbers, on stb_ds (Sean Barrett, public domain or MIT): stb_ds.h
   beside this header, else the system's. Where there is none, or the user defines RSL_NO_STB_DS,
   RSL_NO_MAP_ is defined and the map left out. ---- */

#if defined RSL_NO_STB_DS || !defined __has_include
#define RSL_NO_MAP_ 1
#elif __has_include("stb_ds.h")
#define RSL_STB_DS_ "stb_ds.h"
#elif __has_include(<stb/stb_ds.h>)
#define RSL_STB_DS_ <stb/stb_ds.h>
#elif __has_include(<stb_ds.h>)
#define RSL_STB_DS_ <stb_ds.h>
#else
#define RSL_NO_MAP_ 1
#endif

#ifndef RSL_NO_MAP_
#include <assert.h>
#include <stddef.h>
#include <string.h>

/* An instance of our own: the application may have another, in this file too, before or after.
   What stb_ds defines is renamed, and declared static beforehand, which its `extern` then keeps;
   its macros stand only as far as the end of this part, then those from before are back. */
#define RSL_STB_PRIVATE_ static inline __attribute__((unused))
struct rsl_stb_string_arena_;
RSL_STB_PRIVATE_ void   rsl_stb_rand_seed_(size_t seed);
RSL_STB_PRIVATE_ size_t rsl_stb_hash_bytes_(void *p, size_t len, size_t seed);
RSL_STB_PRIVATE_ size_t rsl_stb_hash_string_(char *str, size_t seed);
RSL_STB_PRIVATE_ char  *rsl_stb_stralloc_(struct rsl_stb_string_arena_ *a, char *str);
RSL_STB_PRIVATE_ void   rsl_stb_strreset_(struct rsl_stb_string_arena_ *a);
RSL_STB_PRIVATE_ void  *rsl_stb_arrgrowf_(void *a, size_t elemsize, size_t add, size_t cap_min);
RSL_STB_PRIVATE_ void   rsl_stb_arrfreef_(void *a);
RSL_STB_PRIVATE_ void   rsl_stb_hmfree_func_(void *p, size_t elemsize);
RSL_STB_PRIVATE_ void  *rsl_stb_hmget_key_(void *a, size_t elemsize, void *key, size_t keysize,
                                           int mode);
RSL_STB_PRIVATE_ void  *rsl_stb_hmget_key_ts_(void *a, size_t elemsize, void *key,
                                              size_t keysize, ptrdiff_t *at, int mode);
RSL_STB_PRIVATE_ void  *rsl_stb_hmput_default_(void *a, size_t elemsize);
RSL_STB_PRIVATE_ void  *rsl_stb_hmput_key_(void *a, size_t elemsize, void *key, size_t keysize,
                                           int mode);
RSL_STB_PRIVATE_ void  *rsl_stb_hmdel_key_(void *a, size_t elemsize, void *key, size_t keysize,
                                           size_t keyoffset, int mode);
RSL_STB_PRIVATE_ void  *rsl_stb_shmode_func_(size_t elemsize, int mode);

/* What conditionals look at: the guard and the options. These lines are plain, so that they also
   hold where a preprocessor runs directives only (-fdirectives-only, as distributed builds do). */
#pragma push_macro("INCLUDE_STB_DS_H")
#pragma push_macro("STB_DS_IMPLEMENTATION")
#pragma push_macro("STBDS_NO_SHORT_NAMES")
#pragma push_macro("STBDS_UNIT_TESTS")
#pragma push_macro("STBDS_STATISTICS")
#pragma push_macro("STBDS_SIPHASH_2_4")
#pragma push_macro("STBDS_TEST_SIPHASH_2_4")
#pragma push_macro("STBDS_SIPHASH_C_ROUNDS")
#pragma push_macro("STBDS_SIPHASH_D_ROUNDS")
#pragma push_macro("STBDS_INTERNAL_SMALL_BUCKET")
#pragma push_macro("STBDS_INTERNAL_BUCKET_START")
#pragma push_macro("STBDS_REALLOC")
#pragma push_macro("STBDS_FREE")
#pragma push_macro("STBDS_ASSERT")
#pragma push_macro("STBDS_ASSERT_WAS_UNDEFINED")
#pragma push_macro("STBDS_HAS_LITERAL_ARRAY")
#pragma push_macro("STBDS_HAS_TYPEOF")
#pragma push_macro("STBDS_STRING_ARENA_BLOCKSIZE_MAX")
#pragma push_macro("STBDS_STRING_ARENA_BLOCKSIZE_MIN")

/* What else stb_ds defines, and every name that it is to have no longer. */
#define RSL_STB_MACROS_(X) \
    X(STBDS_STATS) X(STBDS_ADDRESSOF) X(STBDS_ALIGN_FWD) X(STBDS_ARR_TO_HASH) \
    X(STBDS_BUCKET_LENGTH) X(STBDS_BUCKET_MASK) X(STBDS_BUCKET_SHIFT) X(STBDS_CACHE_LINE_SIZE) \
    X(STBDS_HASH_DELETED) X(STBDS_HASH_EMPTY) X(STBDS_HASH_TO_ARR) X(STBDS_HM_BINARY) \
    X(STBDS_HM_STRING) X(STBDS_INDEX_DELETED) X(STBDS_INDEX_EMPTY) X(STBDS_INDEX_IN_USE) \
    X(STBDS_NOTUSED) X(STBDS_OFFSETOF) X(STBDS_ROTATE_LEFT) X(STBDS_ROTATE_RIGHT) \
    X(STBDS_SIPROUND) X(STBDS_SIZE_T_BITS) X(stbds_arraddn) X(stbds_arraddnindex) \
    X(stbds_arraddnoff) X(stbds_arraddnptr) X(stbds_arrcap) X(stbds_arrdel) X(stbds_arrdeln) \
    X(stbds_arrdelswap) X(stbds_arrfree) X(stbds_arrgrow) X(stbds_arrgrowf_wrapper) \
    X(stbds_arrins) X(stbds_arrinsn) X(stbds_arrlast) X(stbds_arrlen) X(stbds_arrlenu) \
    X(stbds_arrmaybegrow) X(stbds_arrpop) X(stbds_arrpush) X(stbds_arrput) X(stbds_arrsetcap) \
    X(stbds_arrsetlen) X(stbds_hash_table) X(stbds_header) X(stbds_hmdefault) \
    X(stbds_hmdefaults) X(stbds_hmdel) X(stbds_hmdel_key_wrapper) X(stbds_hmfree) X(stbds_hmget) \
    X(stbds_hmget_key_ts_wrapper) X(stbds_hmget_key_wrapper) X(stbds_hmget_ts) X(stbds_hmgeti) \
    X(stbds_hmgeti_ts) X(stbds_hmgetp) X(stbds_hmgetp_null) X(stbds_hmgetp_ts) X(stbds_hmgets) \
    X(stbds_hmlen) X(stbds_hmlenu) X(stbds_hmput) X(stbds_hmput_default_wrapper) \
    X(stbds_hmput_key_wrapper) X(stbds_hmputs) X(stbds_load_32_or_64) X(stbds_pshdel) \
    X(stbds_pshget) X(stbds_pshgeti) X(stbds_pshput) X(stbds_sh_new_arena) \
    X(stbds_sh_new_strdup) X(stbds_shdefault) X(stbds_shdefaults) X(stbds_shdel) X(stbds_shfree) \
    X(stbds_shget) X(stbds_shgeti) X(stbds_shgetp) X(stbds_shgetp_null) X(stbds_shgets) \
    X(stbds_shlen) X(stbds_shlenu) X(stbds_shmode_func_wrapper) X(stbds_shput) X(stbds_shputi) \
    X(stbds_shputs) X(stbds_temp) X(stbds_temp_key)
#define RSL_STB_RENAMED_(X) \
    X(stbds_array_header) X(stbds_string_block) X(stbds_string_arena) X(stbds_hash_bucket) \
    X(stbds_hash_index) X(STBDS_SH_NONE) X(STBDS_SH_DEFAULT) X(STBDS_SH_STRDUP) \
    X(STBDS_SH_ARENA) X(stbds_rand_seed) X(stbds_hash_bytes) X(stbds_hash_string) \
    X(stbds_stralloc) X(stbds_strreset) X(stbds_unit_tests) X(stbds_arrgrowf) X(stbds_arrfreef) \
    X(stbds_hmfree_func) X(stbds_hmget_key) X(stbds_hmget_key_ts) X(stbds_hmput_default) \
    X(stbds_hmput_key) X(stbds_hmdel_key) X(stbds_shmode_func) X(stbds_probe_position) \
    X(stbds_log2) X(stbds_make_hash_index) X(stbds_siphash_bytes) X(stbds_is_key_equal) \
    X(stbds_hm_find_slot) X(stbds_strdup) X(stbds_hash_seed) X(temp)
#define RSL_STB_PRAGMA_(text) _Pragma(#text)
#define RSL_STB_PUSH_(name)   RSL_STB_PRAGMA_(push_macro(#name))
#define RSL_STB_POP_(name)    RSL_STB_PRAGMA_(pop_macro(#name))
RSL_STB_MACROS_(RSL_STB_PUSH_)
RSL_STB_RENAMED_(RSL_STB_PUSH_)

#undef INCLUDE_STB_DS_H
#undef STB_DS_IMPLEMENTATION
#undef STBDS_NO_SHORT_NAMES
#undef STBDS_UNIT_TESTS
#undef STBDS_STATISTICS
#undef STBDS_SIPHASH_2_4
#undef STBDS_TEST_SIPHASH_2_4
#undef STBDS_SIPHASH_C_ROUNDS
#undef STBDS_SIPHASH_D_ROUNDS
#undef STBDS_INTERNAL_SMALL_BUCKET
#undef STBDS_INTERNAL_BUCKET_START
#undef STBDS_REALLOC
#undef STBDS_FREE
#undef STBDS_ASSERT
#undef STBDS_ASSERT_WAS_UNDEFINED
#undef STBDS_HAS_LITERAL_ARRAY
#undef STBDS_HAS_TYPEOF
#undef STBDS_STRING_ARENA_BLOCKSIZE_MAX
#undef STBDS_STRING_ARENA_BLOCKSIZE_MIN
#undef STBDS_STATS
#undef STBDS_ADDRESSOF
#undef STBDS_ALIGN_FWD
#undef STBDS_ARR_TO_HASH
#undef STBDS_BUCKET_LENGTH
#undef STBDS_BUCKET_MASK
#undef STBDS_BUCKET_SHIFT
#undef STBDS_CACHE_LINE_SIZE
#undef STBDS_HASH_DELETED
#undef STBDS_HASH_EMPTY
#undef STBDS_HASH_TO_ARR
#undef STBDS_HM_BINARY
#undef STBDS_HM_STRING
#undef STBDS_INDEX_DELETED
#undef STBDS_INDEX_EMPTY
#undef STBDS_INDEX_IN_USE
#undef STBDS_NOTUSED
#undef STBDS_OFFSETOF
#undef STBDS_ROTATE_LEFT
#undef STBDS_ROTATE_RIGHT
#undef STBDS_SIPROUND
#undef STBDS_SIZE_T_BITS
#undef stbds_arraddn
#undef stbds_arraddnindex
#undef stbds_arraddnoff
#undef stbds_arraddnptr
#undef stbds_arrcap
#undef stbds_arrdel
#undef stbds_arrdeln
#undef stbds_arrdelswap
#undef stbds_arrfree
#undef stbds_arrgrow
#undef stbds_arrgrowf_wrapper
#undef stbds_arrins
#undef stbds_arrinsn
#undef stbds_arrlast
#undef stbds_arrlen
#undef stbds_arrlenu
#undef stbds_arrmaybegrow
#undef stbds_arrpop
#undef stbds_arrpush
#undef stbds_arrput
#undef stbds_arrsetcap
#undef stbds_arrsetlen
#undef stbds_hash_table
#undef stbds_header
#undef stbds_hmdefault
#undef stbds_hmdefaults
#undef stbds_hmdel
#undef stbds_hmdel_key_wrapper
#undef stbds_hmfree
#undef stbds_hmget
#undef stbds_hmget_key_ts_wrapper
#undef stbds_hmget_key_wrapper
#undef stbds_hmget_ts
#undef stbds_hmgeti
#undef stbds_hmgeti_ts
#undef stbds_hmgetp
#undef stbds_hmgetp_null
#undef stbds_hmgetp_ts
#undef stbds_hmgets
#undef stbds_hmlen
#undef stbds_hmlenu
#undef stbds_hmput
#undef stbds_hmput_default_wrapper
#undef stbds_hmput_key_wrapper
#undef stbds_hmputs
#undef stbds_load_32_or_64
#undef stbds_pshdel
#undef stbds_pshget
#undef stbds_pshgeti
#undef stbds_pshput
#undef stbds_sh_new_arena
#undef stbds_sh_new_strdup
#undef stbds_shdefault
#undef stbds_shdefaults
#undef stbds_shdel
#undef stbds_shfree
#undef stbds_shget
#undef stbds_shgeti
#undef stbds_shgetp
#undef stbds_shgetp_null
#undef stbds_shgets
#undef stbds_shlen
#undef stbds_shlenu
#undef stbds_shmode_func_wrapper
#undef stbds_shput
#undef stbds_shputi
#undef stbds_shputs
#undef stbds_temp
#undef stbds_temp_key
#undef stbds_array_header
#undef stbds_string_block
#undef stbds_string_arena
#undef stbds_hash_bucket
#undef stbds_hash_index
#undef STBDS_SH_NONE
#undef STBDS_SH_DEFAULT
#undef STBDS_SH_STRDUP
#undef STBDS_SH_ARENA
#undef stbds_rand_seed
#undef stbds_hash_bytes
#undef stbds_hash_string
#undef stbds_stralloc
#undef stbds_strreset
#undef stbds_unit_tests
#undef stbds_arrgrowf
#undef stbds_arrfreef
#undef stbds_hmfree_func
#undef stbds_hmget_key
#undef stbds_hmget_key_ts
#undef stbds_hmput_default
#undef stbds_hmput_key
#undef stbds_hmdel_key
#undef stbds_shmode_func
#undef stbds_probe_position
#undef stbds_log2
#undef stbds_make_hash_index
#undef stbds_siphash_bytes
#undef stbds_is_key_equal
#undef stbds_hm_find_slot
#undef stbds_strdup
#undef stbds_hash_seed
#undef temp

#define stbds_array_header     rsl_stb_array_header_
#define stbds_string_block     rsl_stb_string_block_
#define stbds_string_arena     rsl_stb_string_arena_
#define stbds_hash_bucket      rsl_stb_hash_bucket_
#define stbds_hash_index       rsl_stb_hash_index_
#define STBDS_SH_NONE          RSL_STB_SH_NONE_
#define STBDS_SH_DEFAULT       RSL_STB_SH_DEFAULT_
#define STBDS_SH_STRDUP        RSL_STB_SH_STRDUP_
#define STBDS_SH_ARENA         RSL_STB_SH_ARENA_
#define stbds_rand_seed        rsl_stb_rand_seed_
#define stbds_hash_bytes       rsl_stb_hash_bytes_
#define stbds_hash_string      rsl_stb_hash_string_
#define stbds_stralloc         rsl_stb_stralloc_
#define stbds_strreset         rsl_stb_strreset_
#define stbds_unit_tests       rsl_stb_unit_tests_
#define stbds_arrgrowf         rsl_stb_arrgrowf_
#define stbds_arrfreef         rsl_stb_arrfreef_
#define stbds_hmfree_func      rsl_stb_hmfree_func_
#define stbds_hmget_key        rsl_stb_hmget_key_
#define stbds_hmget_key_ts     rsl_stb_hmget_key_ts_
#define stbds_hmput_default    rsl_stb_hmput_default_
#define stbds_hmput_key        rsl_stb_hmput_key_
#define stbds_hmdel_key        rsl_stb_hmdel_key_
#define stbds_shmode_func      rsl_stb_shmode_func_
#define stbds_probe_position   rsl_stb_probe_position_
#define stbds_log2             rsl_stb_log2_
#define stbds_make_hash_index  rsl_stb_make_hash_index_
#define stbds_siphash_bytes    rsl_stb_siphash_bytes_
#define stbds_is_key_equal     rsl_stb_is_key_equal_
#define stbds_hm_find_slot     rsl_stb_hm_find_slot_
#define stbds_strdup           rsl_stb_strdup_
#define stbds_hash_seed        rsl_stb_temp_
#define temp                   rsl_stb_temp_
/* The last two: stb_ds keeps its next seed in a variable, its only mutable one, and looks at it
   only in the branch of stbds_make_hash_index that makes a table from nothing. We never go there
   (see rsl_map_init_). Under this name the branch means its own local `temp` instead; nothing else
   has a use for the variable, so that compilers drop it. (gcc keeps it without optimisation.) */

/* A failed allocation crashes stb_ds. With this hook the function that asked for the memory
   returns NULL at once, before it has changed anything. Only rsl_stb_arrgrowf_ with no array and
   rsl_stb_make_hash_index_ get to ask, and only from our own functions below, which look. */
#define STB_DS_IMPLEMENTATION
#define STBDS_NO_SHORT_NAMES
#define STBDS_ASSERT(condition) RSL_ASSERT(condition)
#define STBDS_FREE(context, block) RSL_FREE(block)
#define STBDS_REALLOC(context, block, size) \
    __extension__({ \
        RSL_ASSERT((block) == NULL); \
        void *taken_ = RSL_MALLOC(size); \
        if (taken_ == NULL) return NULL; \
        taken_; \
    })

#pragma GCC diagnostic push
#ifdef __clang__
#pragma clang diagnostic ignored "-Weverything"
#else
#pragma GCC diagnostic ignored "-Wpragmas" /* not every gcc knows all that follow */
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Warith-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wtype-limits"
#pragma GCC diagnostic ignored "-Wcast-align"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wimplicit-fallthrough"
#pragma GCC diagnostic ignored "-Wswitch-default"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wc++-compat"
#pragma GCC diagnostic ignored "-Wredundant-decls"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

#include RSL_STB_DS_

/* All that is said in macros of stb_ds; the array is that of a rsl_map_, never NULL. */

enum { RSL_MAP_SLOTS_MIN_ = STBDS_BUCKET_LENGTH };
typedef struct rsl_map_item_ { char *key; uint32_t value; } rsl_map_item_;

/* Only reads. stb_ds has shgeti, which leaves the index in the map, and hmgeti_ts, which does not,
   but no shgeti_ts; this is what it would be. -1: no such key. */
static inline ptrdiff_t rsl_map_stb_find_(rsl_map_item_ *items, const char *stored)
{
    ptrdiff_t at = -1;
    stbds_hmget_key_ts(items, sizeof *items, (void *)stored, sizeof items->key, &at,
                       STBDS_HM_STRING);
    return at;
}

static inline void rsl_map_stb_put_(rsl_map_item_ *items, char *stored, uint32_t value)
{
    stbds_shput(items, stored, value);
}

static inline void rsl_map_stb_delete_(rsl_map_item_ *items, const char *stored)
{
    (void)stbds_shdel(items, stored);
}

static inline void rsl_map_stb_free_(rsl_map_item_ *items)
{
    stbds_shfree(items);
}

#pragma GCC diagnostic pop
RSL_STB_RENAMED_(RSL_STB_POP_)
RSL_STB_MACROS_(RSL_STB_POP_)
#pragma pop_macro("INCLUDE_STB_DS_H")
#pragma pop_macro("STB_DS_IMPLEMENTATION")
#pragma pop_macro("STBDS_NO_SHORT_NAMES")
#pragma pop_macro("STBDS_UNIT_TESTS")
#pragma pop_macro("STBDS_STATISTICS")
#pragma pop_macro("STBDS_SIPHASH_2_4")
#pragma pop_macro("STBDS_TEST_SIPHASH_2_4")
#pragma pop_macro("STBDS_SIPHASH_C_ROUNDS")
#pragma pop_macro("STBDS_SIPHASH_D_ROUNDS")
#pragma pop_macro("STBDS_INTERNAL_SMALL_BUCKET")
#pragma pop_macro("STBDS_INTERNAL_BUCKET_START")
#pragma pop_macro("STBDS_REALLOC")
#pragma pop_macro("STBDS_FREE")
#pragma pop_macro("STBDS_ASSERT")
#pragma pop_macro("STBDS_ASSERT_WAS_UNDEFINED")
#pragma pop_macro("STBDS_HAS_LITERAL_ARRAY")
#pragma pop_macro("STBDS_HAS_TYPEOF")
#pragma pop_macro("STBDS_STRING_ARENA_BLOCKSIZE_MAX")
#pragma pop_macro("STBDS_STRING_ARENA_BLOCKSIZE_MIN")

/* ---- the map. Its owner's lock guards it: put, del, init and deinit exclude all else; get and
   count only read, so that any number of threads may be in them at once.

   It never crashes for want of memory and never loses an item: what an insertion needs is there
   before stb_ds is called. Deletes allocate nothing, as stb_ds is kept from shrinking and tidying
   its table by itself; the next insertion that finds too many deleted slots does that, and may
   answer RSL_ENOMEM.

   Keys may come from an adversary. The string hash of stb_ds collides at will whatever its seed
   (characters 64 places apart weigh the same), so that a stored key begins with eight bytes of
   SipHash-2-4 of the key, under a secret of the map. The hash of stb_ds takes in each character by
   a bijection of its state. Hence after the prefix the state is one that nobody can foresee, for
   each key another, and whatever follows, two of them meet no more often than by chance: about
   1 in 2^53 on 64 bits, as seven of the eight bytes land apart from each other there, each has 255
   values, and the last step of the hash loses two bits. ---- */

#pragma GCC diagnostic push
#ifndef __clang__ /* gcc's analyser loses a block when all that points to it has moved on */
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

enum {
    RSL_MAP_KEY_MAX_ = 255,                                      /* without the end */
    RSL_MAP_PREFIX_ = 8,
    RSL_MAP_STORED_MAX_ = RSL_MAP_PREFIX_ + RSL_MAP_KEY_MAX_ + 1 /* with the end */
};
#ifndef RSL_MAP_COUNT_MAX_
#define RSL_MAP_COUNT_MAX_ (1u << 24) /* items; no size overflows, also on 32 bits */
#endif

typedef struct rsl_map_ {
    rsl_map_item_ *items; /* the array of stb_ds; a default item and a header stand before it */
    uint64_t       secret[2];
} rsl_map_;

static inline rsl_stb_array_header_ *rsl_map_header_(const rsl_map_ *map)
{
    return (rsl_stb_array_header_ *)(void *)(map->items - 1) - 1;
}

static inline rsl_stb_hash_index_ *rsl_map_table_(const rsl_map_ *map)
{
    return (rsl_stb_hash_index_ *)rsl_map_header_(map)->hash_table;
}

/* ---- stored keys ---- */

static inline uint64_t rsl_map_turn_(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void rsl_map_sip_rounds_(uint64_t v[4], int rounds)
{
    for (; rounds > 0; rounds--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rsl_map_turn_(v[1], 13) ^ v[0];
        v[3] = rsl_map_turn_(v[3], 16) ^ v[2];
        v[0] = rsl_map_turn_(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rsl_map_turn_(v[1], 17) ^ v[2];
        v[3] = rsl_map_turn_(v[3], 21) ^ v[0];
        v[2] = rsl_map_turn_(v[2], 32);
    }
}

/* SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"). */
static inline uint64_t rsl_map_sip_(const uint64_t secret[2], const char *text, size_t length)
{
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575u, secret[1] ^ 0x646f72616e646f6du,
                     secret[0] ^ 0x6c7967656e657261u, secret[1] ^ 0x7465646279746573u};
    for (size_t at = 0; at <= length; at += 8) { /* the last word is short, and has the length */
        bool last = length - at < 8;
        size_t count = last ? length - at : 8;
        uint64_t word = last ? (uint64_t)length << 56 : 0;
        for (size_t i = 0; i < count; i++) word |= (uint64_t)(uint8_t)text[at + i] << (8 * i);
        v[3] ^= word;
        rsl_map_sip_rounds_(v, 2);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    rsl_map_sip_rounds_(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Writes the key as it is stored, at most RSL_MAP_STORED_MAX_ bytes. Returns its size with the
   end; 0: the key is too long. */
static inline size_t rsl_map_stored_(const rsl_map_ *map, const char *key, char *stored)
{
    size_t length = 0;
    while (key[length] != '\0') {
        if (length == RSL_MAP_KEY_MAX_) return 0;
        stored[RSL_MAP_PREFIX_ + length] = key[length];
        length++;
    }
    stored[RSL_MAP_PREFIX_ + length] = '\0';
    uint64_t hash = rsl_map_sip_(map->secret, key, length);
    for (int i = 0; i < RSL_MAP_PREFIX_; i++, hash >>= 8) {
        uint8_t byte = (uint8_t)hash;
        stored[i] = (char)(byte != 0 ? byte : 255); /* 0 would end the key */
    }
    return RSL_MAP_PREFIX_ + length + 1;
}

/* -1: no such key, or it is too long, or the map is not initialised. */
static inline ptrdiff_t rsl_map_find_(const rsl_map_ *map, const char *key)
{
    char stored[RSL_MAP_STORED_MAX_];
    if (map->items == NULL || rsl_map_stored_(map, key, stored) == 0) return -1;
    return rsl_map_stb_find_(map->items, stored);
}

/* ---- room ---- */

/* A table of that many slots that indexes what the other one does; NULL: no memory. Its bounds for
   shrinking and tidying are out of reach, as stb_ds would do that in a delete. */
static inline rsl_stb_hash_index_ *rsl_map_table_new_(size_t slots, rsl_stb_hash_index_ *other)
{
    rsl_stb_hash_index_ *table = rsl_stb_make_hash_index_(slots, other);
    if (table == NULL) return NULL;
    table->used_count_shrink_threshold = 0;
    table->tombstone_count_threshold = SIZE_MAX;
    return table;
}

/* Room for one more item in the array; false: no memory, and nothing has changed. */
static inline bool rsl_map_widen_(rsl_map_ *map)
{
    rsl_stb_array_header_ *header = rsl_map_header_(map);
    if (header->length < header->capacity) return true;
    rsl_map_item_ *wider = (rsl_map_item_ *)rsl_stb_arrgrowf_(NULL, sizeof *wider, 0,
                                                              2 * header->capacity);
    if (wider == NULL) return false;
    memcpy(wider, map->items - 1, header->length * sizeof *wider);
    map->items = wider + 1;
    rsl_map_header_(map)->length = header->length;
    rsl_map_header_(map)->hash_table = header->hash_table;
    RSL_FREE(header);
    return true;
}

/* A free slot in the table, below the load at which stb_ds would grow it by itself; false: no
   memory, and nothing has changed. Deleted slots count as taken, so that a quarter of all is
   always empty and every probe ends. The new table is at most half full: the next one is as many
   insertions away as a quarter of its slots, or almost. */
static inline bool rsl_map_make_room_(rsl_map_ *map)
{
    rsl_stb_hash_index_ *table = rsl_map_table_(map);
    if (table->used_count + table->tombstone_count < table->used_count_threshold) return true;
    size_t slots = RSL_MAP_SLOTS_MIN_;
    while (slots < 2 * (table->used_count + 1)) slots *= 2;
    rsl_stb_hash_index_ *fresh = rsl_map_table_new_(slots, table);
    if (fresh == NULL) return false;
    rsl_map_header_(map)->hash_table = fresh;
    RSL_FREE(table);
    return true;
}

/* ---- what modules call ---- */

/* Three numbers that nobody outside can guess: time to the nanosecond, and where the system has
   put heap, stack and program. */
static inline void rsl_map_draw_(uint64_t drawn[3], const void *heap)
{
    uint64_t state = (uint64_t)rsl_clock_real_();
    state = state * 0xd1342543de82ef95u + (uint64_t)(uintptr_t)heap;
    state = state * 0xd1342543de82ef95u + (uint64_t)(uintptr_t)drawn;
    state = state * 0xd1342543de82ef95u + (uint64_t)(uintptr_t)&rsl_ctx_unlimited_;
    for (int i = 0; i < 3; i++) { /* splitmix64, as in rsl_random_draw_ */
        uint64_t z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        drawn[i] = z ^ (z >> 31);
    }
}

/* Makes an empty map. RSL_ENOMEM: it is as after rsl_map_deinit_. The table is made from an
   empty one of ours, which gives the seed: from nothing, stb_ds takes its seed from a global
   variable, and two threads that make maps race. */
static inline int rsl_map_init_(rsl_map_ *map)
{
    memset(map, 0, sizeof *map);
    rsl_map_item_ *block = (rsl_map_item_ *)rsl_stb_arrgrowf_(NULL, sizeof *block, 0, 1);
    if (block == NULL) return RSL_ENOMEM;
    memset(block, 0, sizeof *block);
    map->items = block + 1;
    rsl_stb_array_header_ *header = rsl_map_header_(map);
    header->length = 1; /* stb_ds counts the default item */

    uint64_t drawn[3];
    rsl_map_draw_(drawn, block);
    map->secret[0] = drawn[0];
    map->secret[1] = drawn[1];
    rsl_stb_hash_index_ none;
    memset(&none, 0, sizeof none);
    none.seed = (size_t)drawn[2];
    none.string.mode = RSL_STB_SH_DEFAULT_; /* the keys' memory is ours */
    header->hash_table = rsl_map_table_new_(RSL_MAP_SLOTS_MIN_, &none);
    if (header->hash_table != NULL) return RSL_OK;
    RSL_FREE(header);
    memset(map, 0, sizeof *map);
    return RSL_ENOMEM;
}

/* How many keys there are. Only reads. */
static inline uint32_t rsl_map_count_(const rsl_map_ *map)
{
    return map->items != NULL ? (uint32_t)(rsl_map_header_(map)->length - 1) : 0;
}

/* Frees all memory. A zeroed map, or one that is deinitialised, is passed over. */
static inline void rsl_map_deinit_(rsl_map_ *map)
{
    if (map->items == NULL) return;
    uint32_t count = rsl_map_count_(map);
    for (uint32_t i = 0; i < count; i++) RSL_FREE(map->items[i].key);
    rsl_map_stb_free_(map->items);
    memset(map, 0, sizeof *map);
}

/* Whether the key is there; if so, *value is its value. Only reads: it writes nothing and takes no
   memory. False for a key that is too long. */
static inline bool rsl_map_get_(const rsl_map_ *map, const char *key, uint32_t *value)
{
    ptrdiff_t at = rsl_map_find_(map, key);
    if (at < 0) return false;
    *value = map->items[at].value;
    return true;
}

/* Sets the key's value; a new key is copied. RSL_ENOMEM, RSL_EFULL (RSL_MAP_COUNT_MAX_ keys are
   there) and RSL_EINVAL (longer than RSL_MAP_KEY_MAX_ bytes, or a map that is not initialised)
   change nothing. A key that is there needs no memory. */
static inline int rsl_map_put_(rsl_map_ *map, const char *key, uint32_t value)
{
    char stored[RSL_MAP_STORED_MAX_];
    size_t size = map->items != NULL ? rsl_map_stored_(map, key, stored) : 0;
    if (size == 0) return RSL_EINVAL;
    ptrdiff_t at = rsl_map_stb_find_(map->items, stored);
    if (at >= 0) {
        map->items[at].value = value;
        return RSL_OK;
    }
    uint32_t count = rsl_map_count_(map);
    if (count >= RSL_MAP_COUNT_MAX_) return RSL_EFULL;
    char *copy = (char *)RSL_MALLOC(size);
    if (copy == NULL) return RSL_ENOMEM;
    if (!rsl_map_widen_(map) || !rsl_map_make_room_(map)) {
        RSL_FREE(copy);
        return RSL_ENOMEM;
    }
    memcpy(copy, stored, size);
    rsl_map_stb_put_(map->items, copy, value);
    map->items[count].key = copy; /* as it is; said once more for analysers */
    return RSL_OK;
}

/* Takes the key out, if it is there. Cannot fail; takes no memory. */
static inline void rsl_map_del_(rsl_map_ *map, const char *key)
{
    ptrdiff_t at = rsl_map_find_(map, key);
    if (at < 0) return;
    char *stored = map->items[at].key;
    rsl_map_stb_delete_(map->items, stored);
    RSL_FREE(stored);
}

/* ---- growable arrays: those of stb_ds, but that a failed allocation is told. Their length is
   the owner's business. ---- */

/* Room for `count` items of `size` bytes. NULL: no memory, and the array, which may be NULL for
   none, is as it was; else it stands where this says. */
static inline void *rsl_array_grow_(void *array, size_t size, size_t count)
{
    rsl_stb_array_header_ *header = NULL;
    if (array != NULL) header = (rsl_stb_array_header_ *)array - 1;
    if (header != NULL && count <= header->capacity) return array;
    size_t capacity = count;
    if (header != NULL && count < 2 * header->capacity) capacity = 2 * header->capacity;
    void *wider = rsl_stb_arrgrowf_(NULL, size, 0, capacity);
    if (wider == NULL || header == NULL) return wider;
    memcpy(wider, array, header->capacity * size);
    RSL_FREE(header);
    return wider;
}

static inline void rsl_array_free_(void *array)
{
    if (array != NULL) RSL_FREE((rsl_stb_array_header_ *)array - 1);
}
#pragma GCC diagnostic pop
#endif /* RSL_NO_MAP_ */
#endif /* RSL_MAP_IMPLEMENTED_ */
/* <<< definitions */
