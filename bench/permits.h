/* permits.h -- what the rows of permits agree on.

   SPDX-License-Identifier: MIT */
#ifndef BENCH_PERMITS_H
#define BENCH_PERMITS_H

/* More than there are threads: a permit is always free, and yet each one taken is checked against
   the limit. */
enum { BENCH_PERMITS_MAX = 100 };

#endif
