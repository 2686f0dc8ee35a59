/* SPDX-License-Identifier: MIT
   program.h: one program in several files, C and C++, for POSIX and Windows. Each part implements
   the modules that its build asks for (-D), uses them, and answers 0 when they did their work. */
#ifndef COMPILE_PROGRAM_H
#define COMPILE_PROGRAM_H

#include "retry.h"

#ifdef __cplusplus
extern "C" {
#endif
int retry_part(void);   /* a call that succeeds on the third attempt; the budget */
int breaker_part(void); /* a circuit that opens and refuses */
int bulkhead_part(void); /* calls with the only permit; tasks on threads of its own */
int pool_part(void);    /* a resource used a hundred times, and mended once */
int saga_part(void);    /* a saga that is done, one that is unwound */
int policy_part(void);  /* both and a timeout around one call */

/* A thread in the backoff of a retry that would last an hour, under this token. */
int start_waiting(rsl_cancel *cancel); /* 0, or not started */
int end_waiting(void);                 /* joins it; what rsl_retry_call answered */
#ifdef __cplusplus
}
#endif
#endif
