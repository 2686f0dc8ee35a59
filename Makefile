# SPDX-License-Identifier: MIT
#
# `make help` lists the targets. All that is built goes under build/.

PREFIX  = /usr/local
DESTDIR =
JOBS   := $(shell nproc 2>/dev/null || echo 2)

HEADERS  := $(wildcard *.h)
ADAPTERS := $(wildcard adapters/*.h)
SUPPORT  := $(wildcard tests/support/*.h)
UNITS    := $(basename $(notdir $(wildcard tests/test_*.c)))
STRESSES := $(basename $(notdir $(wildcard tests/stress_*.c)))
EXPLORED := $(patsubst tests/%.c,build/explore/%,$(wildcard tests/explore_*.c))
# Scripts run jobs of their own, on half of the processors. Those that compile for minutes begin
# before all else, beside the tests, which mostly sleep.
LONGEST  := $(wildcard tests/compile/run tests/windows/run)
SHORTER  := $(filter-out $(LONGEST),$(wildcard tests/*/run))
HALF     := $(shell expr \( $(JOBS) + 1 \) / 2)
EXAMPLES := $(patsubst examples/%.c,build/examples/%,$(wildcard examples/*.c))
DRILL    := $(wildcard examples/outage_drill/*.c)

# Debian keeps libpq's header in a folder of its own.
INCLUDES := -I. -Itests $(shell pkg-config --cflags libpq 2>/dev/null)

WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
           -Wstrict-prototypes -Wmissing-prototypes -Werror

PLAIN       := $(addprefix build/plain/,$(UNITS) $(STRESSES))
ASAN        := $(addprefix build/asan/,$(UNITS) $(STRESSES))
TSAN        := $(addprefix build/tsan/,$(UNITS) $(STRESSES))
TSAN_CLANG  := $(addprefix build/tsan-clang/,$(UNITS) $(STRESSES))
MEMCHECKED  := $(addprefix build/plain/,$(UNITS))
# fair: else a thread that computes keeps the others from running at all.
MEMCHECK     = valgrind -q --fair-sched=try --leak-check=full --error-exitcode=9 \
               --suppressions=tests/support/valgrind.supp
# Some kernels place memory where older sanitizers cannot follow; a fixed layout avoids that.
FIXED_LAYOUT := $(shell setarch -R true 2>/dev/null && echo 'setarch -R ')

.PHONY: help demo test bench stamp check asan tsan compilers examples install clean
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ' *## *' '/^[a-z]+:.*##/ { sub(/:.*/, "", $$1); printf "make %-10s %s\n", $$1, $$2 }' \
	    $(MAKEFILE_LIST)

demo: ## the outage drill: one load on a real database, bare and then guarded, through real faults
	@tools/deps demo
	@$(MAKE) --no-print-directory build/outage_drill
	@build/outage_drill

test: ## everything is proved; the last line says how many tests passed and failed
	@tools/deps test
	@$(MAKE) --no-print-directory -k -j$(JOBS) $(PLAIN) $(EXPLORED) $(ASAN) $(TSAN) || true
	@tools/run_tests -j $$(($(JOBS) + 1)) $(LONGEST:%='JOBS=$(HALF) %') \
	    $(MEMCHECKED:%='$(MEMCHECK) %') $(TSAN:%='$(FIXED_LAYOUT)%') $(EXPLORED) \
	    $(SHORTER:%='JOBS=$(HALF) %') $(ASAN) $(PLAIN)

bench: ## nanoseconds and instructions per call, beside the floors and what one would use otherwise
	@tools/deps bench
	@bench/run

stamp: ## copies src/core.h and src/map.h into the module headers
	@tools/stamp

check: ## style, and what the compilers' analysers, clang-tidy and cppcheck find
	@tools/deps check
	@tools/style
	@tools/lint

asan: ## all tests under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer
	@tools/deps test
	@$(MAKE) --no-print-directory -k -j$(JOBS) $(ASAN) || true
	@tools/run_tests -j $(JOBS) $(ASAN)

tsan: ## all tests under ThreadSanitizer, built by gcc and by clang
	@tools/deps test
	@$(MAKE) --no-print-directory -k -j$(JOBS) $(TSAN) $(TSAN_CLANG) || true
	@tools/run_tests -j $(JOBS) $(TSAN:%='$(FIXED_LAYOUT)%') $(TSAN_CLANG:%='$(FIXED_LAYOUT)%')

compilers: ## each header alone and together, in all languages, compilers and combinations
	@tools/deps test
	@tools/run_tests tests/compile/run tests/windows/run

examples: ## builds the examples under build/examples
	@tools/deps test
	@$(MAKE) --no-print-directory -j$(JOBS) $(EXAMPLES) build/outage_drill

install: ## the headers and resilience.pc, under PREFIX= (and DESTDIR= for packagers)
	@tools/install '$(DESTDIR)' '$(PREFIX)'

clean: ## removes build/
	rm -rf build

# Lines are enough for stack traces; all that a debugger wants costs half as much again.
FLAGS = -std=c11 -g1 $(WARNINGS) $(INCLUDES)

# A test that does not compile must not be taken for the one that was built before.
define compile
@mkdir -p $(@D) && rm -f $@ && echo "compile $@"
@$(1) $(FLAGS) -o $@ $(filter %.c,$^) -pthread -Wl,--as-needed $(2) -lm
endef
ASAN_FLAGS = -fsanitize=address,undefined -fno-sanitize-recover=all
UNSURE = -Wno-format-truncation
TEST_LIBS = -lcmocka -lsqlite3 -lpq -luv
TEST_NEEDS = $(HEADERS) $(wildcard src/*.h) $(ADAPTERS) $(SUPPORT)

# Compiling costs more than running. Optimised code is proved where threads race as hard as they
# can, and by the explorers, the compile matrix and the benchmarks; -Og takes half the time of -O1.
build/plain/stress_%: tests/stress_%.c $(TEST_NEEDS)
	$(call compile,gcc -O2,$(TEST_LIBS))
build/plain/%: tests/%.c $(TEST_NEEDS)
	$(call compile,gcc -Og $(UNSURE),$(TEST_LIBS))
build/explore/%: tests/%.c $(TEST_NEEDS)
	$(call compile,gcc -O2)
# Without optimisation no wrong access is optimised away, and a third of the time is enough; but
# gcc then believes that any text may be too long.
build/asan/%: tests/%.c $(TEST_NEEDS)
	$(call compile,gcc -O0 $(UNSURE) $(ASAN_FLAGS),$(TEST_LIBS))
build/tsan/stress_%: tests/stress_%.c $(TEST_NEEDS)
	$(call compile,gcc -O1 -fsanitize=thread,$(TEST_LIBS))
build/tsan/%: tests/%.c $(TEST_NEEDS)
	$(call compile,gcc -O0 $(UNSURE) -fsanitize=thread,$(TEST_LIBS))
build/tsan-clang/%: tests/%.c $(TEST_NEEDS)
	$(call compile,clang -O1 -fsanitize=thread,$(TEST_LIBS))
build/examples/%: examples/%.c $(HEADERS) $(ADAPTERS)
	$(call compile,gcc -Og,-lsqlite3 -lpq -luv)
build/outage_drill: $(DRILL) $(wildcard examples/outage_drill/*.h) $(HEADERS) $(ADAPTERS)
	$(call compile,gcc -O2,-lsqlite3)
