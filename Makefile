# Builds, tests, measures and installs h2echod: `make deps run`, `make deps check`; `make help` lists the goals.
# The user may set CC CFLAGS CPPFLAGS LDFLAGS LDLIBS, DESTDIR and GNU's directory variables, PYTHON, RUN_ARGS and:
#     WITH_TLS   1: TLS is required, 0: build without it; unset: TLS is built in if OpenSSL is installed
#     VARIANT    release, asan, tsan, valgrind, coverage or fuzz: the compiler's flags and the directory below build/
#     V=1        show each command in full
## Sections: settings, daemon, build and run, packages, test programs, tests, measurements, checks of the sources,
# installation, archive.

# --- Settings --------------------------------------------------------------------------------

VERSION := 0.2.0
VARIANT := release
# The build directory.
B       := build/$(VARIANT)

ifneq ($(words $(filter release asan tsan valgrind coverage fuzz,$(VARIANT))),1)
$(error VARIANT is '$(VARIANT)': it has to be release, asan, tsan, valgrind, coverage or fuzz)
endif
ifneq ($(filter-out 0 1 no yes,$(WITH_TLS))$(word 2,$(WITH_TLS)),)
$(error WITH_TLS is '$(WITH_TLS)': it has to be 1 (with TLS) or 0 (without))
endif
override WITH_TLS := $(patsubst yes,1,$(patsubst no,0,$(strip $(WITH_TLS))))

CC         ?= cc
PKG_CONFIG ?= pkg-config
PYTHON     ?= /usr/bin/python3
CFLAGS     ?= -O2 -g
RUN_ARGS   ?= -p 8080
INSTALL    ?= install

# $(call quote,TEXT): the text as one word for the shell, whatever characters are in it.
quote = '$(subst ','\'',$(1))'
, := ,
empty :=
space := $(empty) $(empty)
percent := %
# make's functions split a path at its spaces: hide_spaces makes one word of it, restore_spaces undoes that.
hide_spaces    = $(subst $(space),:space:,$(1))
restore_spaces = $(subst :space:,$(space),$(1))
# $(call quiet,LABEL,TEXT) before a command prints this line instead of the command, except with V=1.
quiet = $(if $(V),,@printf '  %-4s %s\n' $(1) $(2);)
# Where deps is among the goals, all other rules wait for it, so that `make -j deps run` is safe, too.
after_deps := $(filter deps deps-bench,$(MAKECMDGOALS))
# The goals that start another make let it use all cores, unless -j was given.
jobs = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: all deps deps-bench needs run run-daemon check check-programs check-clients check-asan check-tsan \
        check-valgrind check-wrapped check-releases soak soak-run coverage fuzz fuzz-run bench bench-instructions \
        profile lint format compile-commands install uninstall dist clean help FORCE
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
# A prerequisite written with $$ is expanded a second time, when the target is known.
.SECONDEXPANSION:

# --- The daemon and how it is compiled -------------------------------------------------------

# The folders of src/, from the highest layer to the lowest, as in the picture in src/README.md.
folders := daemon probe conn http2 echo config net base
sources := $(sort $(wildcard src/*.c $(folders:%=src/%/*.c)))
objects := $(sources:src/%.c=$(B)/src/%.o)
# Each folder is linked as an archive. $(call archives_from,FOLDER): that of the folder and those of all lower ones.
archive_of    = $(1:%=$(B)/src/%.a)
archives_from = $(call archive_of,$(call folders_from,$(1),$(folders)))
folders_from  = $(if $(filter $(1),$(firstword $(2))),$(2),$(call folders_from,$(1),$(wordlist 2,$(words $(2)),$(2))))

# Variables that ask the compiler or pkg-config are defined with =, so that they ask after `deps` has installed them.
tls       = $(eval tls := $(or $(WITH_TLS),$(shell $(PKG_CONFIG) --exists 'openssl >= 3.0' && echo 1 || echo 0)))$(tls)
libraries = libnghttp2 jansson $(if $(filter 1,$(tls)),openssl)

warnings := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wwrite-strings -Wvla -Wundef $(if $(CI),-Werror)
# Those of these flags that the compiler supports on this machine. It is asked once.
hardening = $(eval hardening := -fPIE $(foreach flag,-fstack-protector-strong -fcf-protection -fstack-clash-protection \
            -ftrivial-auto-var-init=zero,$(shell $(CC) -Werror $(flag) -c -x c /dev/null -o /dev/null 2>/dev/null && \
            echo $(flag))))$(hardening)

variant_release  = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 $(hardening)
# With an arena of size 0 every block comes from malloc, where valgrind and the sanitizers watch it.
variant_valgrind = $(variant_release) -DARENA_SIZE=0
variant_asan    := -DARENA_SIZE=0 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# ThreadSanitizer uses almost 1 MiB of every thread's stack itself.
variant_tsan    := -fsanitize=thread,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DWORKER_STACK_SIZE=2097152
# Without inlining, each line is counted in the function that has it. Threads update the counts atomically.
variant_coverage := --coverage -fprofile-update=atomic -fno-inline -O0
variant_fuzz    := -DARENA_SIZE=0 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
variant          = $(variant_$(VARIANT))
variant_link     = $(if $(filter release valgrind,$(VARIANT)),-pie -Wl$(,)-z$(,)relro$(,)-z$(,)now,$(variant))

cppflags = -D_GNU_SOURCE -DH2ECHOD_VERSION='"$(VERSION)"' -DWITH_TLS=$(tls) -I$(B) -Isrc
# A build has the same bytes in every directory: the compiler replaces the directory's name, for which it reads PWD.
export PWD := $(CURDIR)
cflags   = -std=c11 -pthread -MMD -MP -ffile-prefix-map='$(CURDIR)'=. $(warnings) $(variant) \
           $(shell $(PKG_CONFIG) --cflags $(libraries))
libs     = $(shell $(PKG_CONFIG) --libs $(libraries))

# --- Build and run ---------------------------------------------------------------------------

all: $(B)/h2echod ## build the daemon: build/release/h2echod

# setpriv ends the daemon when the shell ends, which is when make ends; until then the shell records its status.
run: run-daemon ## build the daemon and run it on port 8080 (RUN_ARGS='-p 8080')
	@: $(if $(filter 69,$(run_status)),$(error choose where it listens, for instance: make run RUN_ARGS='-p $(if \
	    $(findstring 9000,$(RUN_ARGS)),9001,9000)'))$(if $(filter-out 0,$(run_status)),$(error h2echod ended with \
	    status $(run_status)))
run-daemon: $(B)/h2echod
	@trap : INT QUIT HUP; setpriv --pdeathsig TERM $(B)/h2echod $(RUN_ARGS); echo $$? >$(B)/run.status
run_status = $(strip $(file <$(B)/run.status))

# Holds the compiler, the flags and the versions of the libraries. If one of them changes, everything is built again.
$(B)/flags: FORCE | needs
	$(file >$@.new,$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(LDLIBS) $(tls) $(shell $(PKG_CONFIG) --modversion $(libraries)))
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; $(if $(WITH_TLS),,$(if $(filter 0,$(tls)),$(without_tls);)) fi
without_tls := echo 'built without TLS, which needs OpenSSL 3.0 or newer: `make deps` installs it'

# Which newer functions nghttp2 has is found by linking them, since distributions add some to older versions.
$(B)/detected.h: Makefile $(B)/flags
	@for function in stream_reset_rate_limit max_continuations glitch_rate_limit; do \
	    function=nghttp2_option_set_$$function; \
	    printf '#include <nghttp2/nghttp2.h>\nint main(void) { return %s == 0; }\n' $$function | \
	        $(CC) -x c - -o $(@D)/feature $$($(PKG_CONFIG) --cflags --libs libnghttp2) 2>/dev/null && \
	        echo "#define HAVE_$$function" | tr a-z A-Z | sed 's/^#DEFINE/#define/'; \
	done >$@; rm -f $(@D)/feature

$(B)/src/%.o: src/%.c $(B)/detected.h $(B)/flags Makefile
	@mkdir -p $(@D)
	$(call quiet,CC,$<) $(CC) $(cppflags) $(CPPFLAGS) $(cflags) $(CFLAGS) -c -o $@ $<

# Removed first, so that no object stays in it whose source is gone.
$(call archive_of,$(folders)): $(B)/src/%.a: $$(filter $(B)/src/$$*/$$(percent),$(objects))
	$(call quiet,AR,$@) rm -f $@ && $(AR) rcs $@ $^

# Link the objects and archives that the target depends on. The archives are in the order of the layers, since a linker
# takes from an archive only what an object before it uses. A call of a function in `wrapped` goes to __wrap_FUNCTION.
link_program = $(call quiet,LINK,$@) $(CC) $(variant_link) $(CFLAGS) -pthread $(LDFLAGS) $(link_options) \
               $(wrapped:%=-Wl$(,)--wrap=%) -o $@ $(sort $(filter %.o,$^)) \
               $(foreach folder,$(folders),$(filter %/$(folder).a,$^)) $(libs) $(link_libraries) $(LDLIBS)

$(B)/h2echod: $(B)/src/main.o $(call archives_from,daemon)
	$(link_program)

# --- Packages --------------------------------------------------------------------------------

packages_build := gcc libc6-dev pkg-config libnghttp2-dev libjansson-dev $(if $(filter 0,$(WITH_TLS)),,libssl-dev)
# What `make check` needs, and in which package it is: a library, modules of Python, programs.
check_needs    := library:cmocka=libcmocka-dev module:pytest=python3-pytest module:xdist=python3-pytest-xdist \
                  module:h2=python3-h2 module:hpack=python3-hpack module:hyperframe=python3-hyperframe \
                  module:jsonschema=python3-jsonschema curl=curl nghttp=nghttp2-client h2load=nghttp2-client \
                  nghttpd=nghttp2-server node=nodejs openssl=openssl git=git ip=iproute2 ps=procps strace=strace \
                  systemd-analyze=systemd systemd-socket-activate=systemd
packages_check    := python3 $(sort $(foreach need,$(check_needs),$(lastword $(subst =, ,$(need)))))
packages_clients  := chromium default-jdk-headless golang-go golang-golang-x-net-dev haproxy nginx python3-httpx
packages_releases := debootstrap debian-archive-keyring gcc libc6-dev util-linux
packages_lint     := binutils clang-format clang-tidy cppcheck mandoc shellcheck
packages_fuzz     := clang libclang-rt-dev
packages_coverage := gcovr python3
packages_bench    := python3 openssl nghttp2-client nghttp2-server h2o nginx nodejs
# Left out where a release has no such package.
packages_optional := h2o
packages_wanted = $(packages_build) $(if $(filter check% soak,$(MAKECMDGOALS)),$(packages_check)) \
                  $(if $(filter check-clients,$(MAKECMDGOALS)),$(packages_clients)) \
                  $(if $(filter check-releases,$(MAKECMDGOALS)),$(packages_releases)) \
                  $(if $(filter check-valgrind,$(MAKECMDGOALS)),valgrind libc6-dbg) \
                  $(if $(filter fuzz,$(MAKECMDGOALS)),$(packages_fuzz)) \
                  $(if $(filter coverage,$(MAKECMDGOALS)),$(packages_check) $(packages_coverage)) \
                  $(if $(filter bench deps-bench,$(MAKECMDGOALS)),$(packages_bench)) \
                  $(if $(filter bench-instructions,$(MAKECMDGOALS)),python3 valgrind) \
                  $(if $(filter profile,$(MAKECMDGOALS)),python3 nghttp2-client linux-perf) \
                  $(if $(filter lint format,$(MAKECMDGOALS)),$(packages_check) $(packages_lint))

# The script of deps; its arguments are the packages. It prints one line, since apt-get and dpkg print hundreds; at a
# terminal it counts the seconds.
define install_packages
fail() { echo "$1" >&2; exit 1; }

missing= count=0
for package; do
    if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed'; then
        missing="$missing $package" count=$((count + 1))
    fi
done
[ $count != 0 ] || exit 0

command -v apt-get >/dev/null || fail "make deps uses apt-get, which was not found: install these packages with your \
package manager, then run make without deps:$missing (Debian's names; README.md has those of other distributions)"
by_hand="apt-get update && apt-get install$missing"
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "make deps needs root, and there is no sudo here; as root: $by_hand"
    errors=$(sudo true 2>&1) || fail "make deps needs root, and sudo failed ($(echo "$errors" | tail -n 1)); \
as root: $by_hand"
    as_root=sudo
fi

# If root runs this in another user's clone, build/ belongs to that user.
[ -d build ] || { mkdir build && chown --reference=. build; }
log=build/deps.log
rm -f $log

count_seconds() {
    seconds=0
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        seconds=$((seconds + 1))
        printf '\r  apt-get %s: %d s ' "$1" $seconds
    done
}

apt() {
    counter=
    if [ -t 1 ]; then count_seconds "$1" & counter=$!; fi
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" >>$log 2>&1 </dev/null
    status=$?
    if [ "$counter" ]; then kill $counter; printf '\r\033[K'; fi
    [ $status = 0 ] || { tail -n 10 $log >&2; fail "apt-get $1 failed (its output: $log): check the network and \
/etc/apt/sources.list and try again; by hand, as root: $by_hand"; }
}

[ $count = 1 ] && packages=package || packages=packages
echo "installing $count $packages with apt-get (its output goes to $log):$missing"
apt update -qq
for package in $OPTIONAL; do
    case "$missing " in *" $package "*) ;; *) continue ;; esac
    apt-cache show "$package" >/dev/null 2>&1 && continue
    echo "LEFT OUT $package: this release has no such package"
    missing=$(echo "$missing " | sed "s/ $package / /")
done
apt install -qq -y --no-install-recommends $missing
endef

# `make deps GOAL...` installs what these goals need, and no test tools for those that need none.
deps: ## install the packages that the goals after it need: `make deps run`, `make deps check`
deps-bench: ## install what `make bench` needs, with the servers that it compares
deps deps-bench: export install_packages := $(value install_packages)
deps deps-bench:
	@OPTIONAL=$(call quote,$(packages_optional)) $(SHELL) -c "$$install_packages" deps $(sort $(packages_wanted))

# The script of needs. Before anything is built, it prints one line that names the missing packages, or the library that
# is too old, instead of a page of errors from the compiler or Python.
define find_needs
fail() { echo "$1" >&2; exit 1; }
is_found() { command -v "${1%% *}" >/dev/null; }
is_default() { case $1 in default | file) ;; *) false ;; esac; }

missing=
need() {
    for package; do
        case "$missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
    done
}

check_compiler() {
    if ! is_found "$CC"; then
        is_default "$CC_ORIGIN" || fail "the compiler '${CC%% *}' (from CC) was not found: install it or choose another"
        need gcc libc6-dev
        return
    fi
    errors=$(echo '#include <stdlib.h>' | $CC -x c -c - -o /dev/null 2>&1) && return
    case $errors in
    *stdlib.h*) need libc6-dev ;;
    *) fail "the compiler '$CC' (from CC) does not compile C${errors:+: $(echo "$errors" | head -n 1)}" ;;
    esac
}

# check_library NAME VERSION PACKAGE PROJECT
check_library() {
    $PKG_CONFIG --exists "$1 >= $2" 2>/dev/null && return
    if ! found=$($PKG_CONFIG --modversion "$1" 2>/dev/null); then
        need $3
        return
    fi
    fail "this system's $4 $found is too old: h2echod needs $2 or newer, which Debian 12, Ubuntu 24.04 and later \
releases have"
}

check_libraries() {
    if ! is_found "$PKG_CONFIG"; then
        is_default "$PKG_CONFIG_ORIGIN" || fail "'${PKG_CONFIG%% *}' (from PKG_CONFIG) was not found"
        need pkg-config
        [ "$WITH_TLS" = 0 ] || need libssl-dev
    fi
    check_library libnghttp2 1.52 libnghttp2-dev nghttp2
    check_library jansson 2.14 libjansson-dev jansson
    [ "$WITH_TLS" != 1 ] || check_library openssl 3.0 libssl-dev OpenSSL
}

# Sets modules to the names after "module:" that $PYTHON does not have: to all of them if there is no Python.
find_missing_modules() {
    names=
    for name; do case $name in module:*) name=${name#module:}; names="$names ${name%%=*}" ;; esac; done
    if ! is_found "$PYTHON"; then
        is_default "$PYTHON_ORIGIN" || fail "'${PYTHON%% *}' (from PYTHON) was not found"
        need python3
        modules=$names
        return
    fi
    modules=$($PYTHON -c 'import sys, importlib.util as util
print(*(name for name in sys.argv[1:] if not util.find_spec(name)))' $names 2>/dev/null) ||
        fail "'$PYTHON' (from PYTHON) does not work as Python 3"
    [ -z "$modules" ] || is_default "$PYTHON_ORIGIN" ||
        fail "$what needs modules that '$PYTHON' (from PYTHON) does not have: $modules"
}

# check_tools NEED...: the needs are written as in the variable check_needs.
check_tools() {
    find_missing_modules "$@"
    for name; do
        package=${name#*=} name=${name%%=*}
        case $name in
        library:*) $PKG_CONFIG --exists ${name#*:} 2>/dev/null || need $package ;;
        module:*) case " $modules " in *" ${name#*:} "*) need $package ;; esac ;;
        *) (PATH=$PATH:/usr/sbin:/sbin && is_found $name) || need $package ;;
        esac
    done
}

what=h2echod goal=
[ -z "$GOAL" ] || what="make $GOAL" goal=" $GOAL"
check_compiler
check_libraries
[ $# = 0 ] || check_tools "$@"
[ "$missing" ] || exit 0
for package in $missing; do
    dpkg-query -W -f '${Status}' $package 2>/dev/null | grep -q '^install ok installed' ||
        fail "$what needs packages that are not installed:$missing: install them, or let \`make deps$goal\` do it"
done
fail "installed, but not found in PATH or by '$PKG_CONFIG' (from PKG_CONFIG):$missing"
endef

needs: export find_needs := $(value find_needs)
needs: | $(after_deps)
	@mkdir -p $(B)
	@CC=$(call quote,$(CC)) CC_ORIGIN=$(call quote,$(origin CC)) PKG_CONFIG=$(call quote,$(PKG_CONFIG)) \
	    PKG_CONFIG_ORIGIN=$(call quote,$(origin PKG_CONFIG)) PYTHON=$(call quote,$(PYTHON)) \
	    PYTHON_ORIGIN=$(call quote,$(origin PYTHON)) WITH_TLS=$(WITH_TLS) GOAL=$(test_goal) \
	    $(SHELL) -c "$$find_needs" needs $(if $(test_goal),$(check_needs))
test_goal := $(patsubst soak-run,soak,$(firstword $(filter check check-wrapped check-clients soak-run,$(MAKECMDGOALS))))

# --- Test programs ---------------------------------------------------------------------------

# A file tests/unit/FOLDER/test_NAME.c, tests/session/test_NAME.c or tests/faults/test_NAME.c is a program of its own.
unit_tests    := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*/test_*.c))
session_tests := $(patsubst %.c,$(B)/%,$(wildcard tests/session/test_*.c))
fault_tests   := $(patsubst %.c,$(B)/%,$(wildcard tests/faults/test_*.c))
cmocka_tests  := $(unit_tests) $(session_tests) $(fault_tests)

# The other sources of a folder are helpers, linked into each of its tests. failing_alloc is only for the tests below.
unit_helpers    := $(patsubst %.c,%,$(filter-out $(wildcard tests/unit/*/test_*.c),$(wildcard tests/unit/*/*.c)))
session_helpers := $(filter-out tests/session/test_% tests/session/failing_alloc,$(patsubst \
                   %.c,%,$(wildcard tests/session/*.c)))
fault_helpers   := $(filter-out tests/faults/test_%,$(patsubst %.c,%,$(wildcard tests/faults/*.c))) \
                   $(session_helpers) tests/tls/client
tls_helpers     := $(patsubst %.c,%,$(wildcard tests/tls/*.c))

# helpers_NAME: more helpers of one test. wrapped_NAME: functions that it replaces by its own.
helpers_test_tls           := $(tls_helpers)
helpers_test_tls_context   := $(tls_helpers)
helpers_test_tls_handshake := $(tls_helpers)
helpers_test_tls_memory    := $(tls_helpers)
helpers_test_faults        := tests/session/failing_alloc
helpers_test_faults_echo   := tests/session/failing_alloc

wrapped_test_client_memory := calloc nghttp2_session_callbacks_new nghttp2_session_client_new
wrapped_test_listener      := bind getaddrinfo freeaddrinfo
wrapped_test_tls_memory    := calloc
wrapped_test_trace_fields  := calloc nghttp2_hd_inflate_new nghttp2_hd_inflate_hd2
wrapped_test_faults        := malloc calloc realloc free nghttp2_option_new nghttp2_session_callbacks_new
wrapped_test_faults_echo   := $(wrapped_test_faults)
# tests/faults/faults*.c replace these, for each test in that folder.
fault_calls := malloc calloc realloc reallocarray free arena_start nghttp2_option_new nghttp2_session_callbacks_new \
               recv send shutdown setsockopt getsockname ioctl close madvise malloc_trim \
               accept4 poll read write signalfd eventfd nanosleep clock_gettime mmap munmap mprotect pthread_attr_init \
               pthread_attr_setstack pthread_create sem_clockwait sem_wait connection_serve _exit

# The fuzz targets, and the folder of src/ that each tests. `check` replays the corpus of each.
fuzz_targets  := session frames echo sniff settings trace upgrade
fuzz_session  := http2
fuzz_frames   := http2
fuzz_echo     := echo
fuzz_sniff    := conn
fuzz_settings := config
fuzz_trace    := http2
fuzz_upgrade  := conn
fuzz_programs := $(fuzz_targets:%=$(B)/tests/fuzz/fuzz_%)
fuzz_replays  := $(fuzz_targets:%=$(B)/tests/fuzz/replay_%)

# The benchmark's load generators, and the program that counts instructions; bench_NAME: what is linked into each.
bench_varied       := tests/bench/client tests/bench/request
bench_floor_client := tests/bench/client
bench_instructions := tests/bench/client tests/bench/request
bench_loads        := $(patsubst %,$(B)/tests/bench/%,varied floor_client floor)
bench_programs     := $(bench_loads) $(B)/tests/bench/instructions

test_programs := $(cmocka_tests) $(fuzz_replays)

$(B)/tests/%.o: tests/%.c $(B)/detected.h $(B)/flags Makefile
	@mkdir -p $(@D)
	$(call quiet,CC,$<) $(CC) $(cppflags) -Itests $(CPPFLAGS) $(cflags) $(CFLAGS) -c -o $@ $<

# Each program is its own object, its helpers, and the archives of what it tests.
helper_objects = $(patsubst %,$(B)/%.o,$(1))
$(cmocka_tests): link_libraries = $(shell $(PKG_CONFIG) --libs cmocka)
$(cmocka_tests): wrapped = $(wrapped_$(@F))
$(fault_tests): wrapped = $(fault_calls)
$(fuzz_programs): link_options = -fsanitize=fuzzer
$(cmocka_tests): $(B)/tests/filter.o $$(call helper_objects,$$(helpers_$$(@F)))
$(cmocka_tests) $(bench_programs): $(B)/%: $(B)/%.o

$(unit_tests): $$(filter $$(@D)/$$(percent),$(call helper_objects,$(unit_helpers))) \
               $$(call archives_from,$$(notdir $$(@D)))
	$(link_program)
$(session_tests): $(call helper_objects,$(session_helpers)) $(call archives_from,http2)
	$(link_program)
$(fault_tests): $(call helper_objects,$(fault_helpers)) $(call archives_from,daemon)
	$(link_program)

$(fuzz_replays): $(B)/tests/fuzz/replay_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o \
                 $$(call archives_from,$$(fuzz_$$*))
	$(link_program)
$(fuzz_programs): $(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $$(call archives_from,$$(fuzz_$$*))
	$(link_program)
$(bench_programs): $(B)/tests/bench/%: $$(call helper_objects,$$(bench_$$*)) $(call archives_from,http2)
	$(link_program)

# Which headers each object was compiled with, as the compiler wrote it down.
-include $(objects:.o=.d) $(wildcard $(B)/tests/*.d $(B)/tests/*/*.d $(B)/tests/*/*/*.d)

# --- Tests -----------------------------------------------------------------------------------

asan_options := ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
                H2ECHOD_SLOW=6
tsan_options := TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 H2ECHOD_SLOW=10
# "Possibly lost" is what threads hold that still run when the process exits: not a leak.
valgrind     := valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect --error-exitcode=99 --fair-sched=yes

# pytest's suites. tests/install and tests/systemd test an installed release, so they run with this variant only.
suites    := tests/integration $(if $(filter release,$(VARIANT)),tests/install tests/systemd)
run_tests = $(PYTHON) tests/run.py --daemon $(B)/h2echod --tests=$(call quote,$(TESTS))

check: needs | $(after_deps) ## run every test, in three minutes on two cores; TESTS=PATTERN: only some (tests/selection.py)
	@$(MAKE) --no-print-directory $(jobs) check-programs
	@$(run_tests) $(suites:%=--suite %) $(test_programs)

check-asan: $(after_deps) ## run the tests with AddressSanitizer and UndefinedBehaviorSanitizer
	@$(asan_options) $(MAKE) --no-print-directory VARIANT=asan check
check-tsan: $(after_deps) ## run the tests with ThreadSanitizer
	@$(tsan_options) $(MAKE) --no-print-directory VARIANT=tsan check
check-valgrind: $(after_deps) ## run the tests under valgrind, except those marked heavy
	@H2ECHOD_SLOW=40 $(MAKE) --no-print-directory VARIANT=valgrind check-wrapped

# The suites send load with varied, one of the benchmark's programs.
check-programs: $(B)/h2echod $(test_programs) $(B)/tests/bench/varied

check-wrapped: needs check-programs
	@$(run_tests) --wrapper '$(valgrind)' --light $(suites:%=--suite %) $(test_programs)

check-clients: $(B)/h2echod ## send requests with other projects' clients: the table in tests/clients/README.md
	@$(run_tests) --suite tests/clients

check-releases: $(after_deps) ## run the tests on Debian 12, 13 and sid, as root (RELEASES='debian-13 ...': only these)
	@tests/releases/check.sh $(RELEASES)

SOAK_SECONDS ?= 300
soak: $(after_deps) ## 200 clients send every kind of request at once, for SOAK_SECONDS=300 with each sanitizer
	@$(tsan_options) $(MAKE) --no-print-directory VARIANT=tsan soak-run
	@$(asan_options) $(MAKE) --no-print-directory VARIANT=asan soak-run

soak-run: $(B)/h2echod
	@H2ECHOD=$(B)/h2echod $(PYTHON) tests/integration/soak.py --seconds $(SOAK_SECONDS)

FUZZ_SECONDS ?= 60
fuzz: $(after_deps) ## fuzz each target with libFuzzer, for FUZZ_SECONDS=60 each
	@$(MAKE) --no-print-directory VARIANT=fuzz CC=clang fuzz-run

fuzz-run: $(fuzz_programs)
	@for name in $(fuzz_targets); do mkdir -p build/corpus/$$name; \
	    $(B)/tests/fuzz/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -print_final_stats=1 \
	        $$(find tests/fuzz -name $$name.dict -printf '-dict=%p') \
	        -artifact_prefix=build/corpus/$$name- build/corpus/$$name tests/fuzz/corpus/$$name || exit 1; done

# The counts of earlier runs are removed, since a run adds to them: code that no test reaches any more would show.
# With this umask a daemon that a test runs as another user can write its counts, too.
coverage: $(after_deps) ## run the tests and show which share of the lines and branches they reach, by file and folder
	@find build/coverage -name '*.gcda' -delete 2>/dev/null || :
	@umask 0; H2ECHOD_SLOW=4 $(MAKE) --no-print-directory VARIANT=coverage check
	@$(PYTHON) tests/lint/coverage.py build/coverage

# --- Measurements ----------------------------------------------------------------------------

BENCH_OUT ?= build/bench
ROUNDS    ?= 5
SCALE     ?= 1
CASES     ?=
SERVERS   ?=
# The command that was typed, which the chart shows.
bench_command = $(strip make bench $(foreach name,CASES SERVERS ROUNDS SCALE,$(if \
                $(filter command%,$(origin $(name))),$(name)='$($(name))')))

bench: $(B)/h2echod $(bench_loads) | $(after_deps) ## compare with h2o, nghttpd, nginx, node: ROUNDS=5 CASES='mux idle' SERVERS=...
	@$(PYTHON) tests/bench/bench.py --binaries $(B) --out $(BENCH_OUT) --rounds $(ROUNDS) --scale $(SCALE) \
	    --cases '$(CASES)' --servers '$(SERVERS)' --command "$(bench_command)"

bench-instructions: $(B)/tests/bench/instructions | $(after_deps) ## count the instructions per request in src/http2 and below, with valgrind
	@$(PYTHON) tests/bench/instructions.py --program $(B)/tests/bench/instructions --out $(BENCH_OUT)

profile: $(B)/h2echod $(bench_loads) | $(after_deps) ## show with perf where h2echod spends its time, for CASES='mux browser'
	@$(PYTHON) tests/bench/perf.py --binaries $(B) --out $(BENCH_OUT) --cases '$(CASES)'

# --- Checks of the sources -------------------------------------------------------------------

c_files = $(wildcard src/*.[ch] src/*/*.[ch] tests/*.c tests/*/*.[ch] tests/unit/*/*.[ch])
scripts = .ci/run conf/h2echod.bash $(wildcard tests/*/*.sh)

lint: $(B)/h2echod | $(after_deps) ## check layers, names, README and format, and run cppcheck, clang-tidy, mandoc and shellcheck
	clang-format --dry-run -Werror $(c_files)
	tests/lint/layers.sh
	tests/lint/readme.sh
	tests/lint/names.sh
	tests/lint/hardening.sh $(B)/h2echod $(hardening)
	cppcheck -q --std=c11 --enable=warning,performance,portability --inline-suppr \
	    --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --error-exitcode=1 -D_GNU_SOURCE \
	    -DH2ECHOD_VERSION='"$(VERSION)"' -Isrc src
	clang-tidy --quiet --warnings-as-errors='*' $(sources) -- $(cppflags) -Itests -std=c11 \
	    $(shell $(PKG_CONFIG) --cflags $(libraries))
	mandoc -T lint -W style man/*.[58]
	shellcheck $(scripts)

format: | $(after_deps) ## reformat every C file with clang-format
	clang-format -i $(c_files)

# clangd and other tools look for this file in build/.
compile-commands: $(B)/detected.h ## write build/compile_commands.json, for clangd and other tools
	@$(PYTHON) tests/lint/compile_commands.py build/compile_commands.json $(sources) $(filter tests/%.c,$(c_files)) -- \
	    $(CC) $(cppflags) -Itests $(CPPFLAGS) $(filter-out -MMD -MP,$(cflags)) $(CFLAGS)

# --- Installation ----------------------------------------------------------------------------

prefix      ?= /usr/local
override prefix := $(call restore_spaces,$(patsubst %/,%,$(call hide_spaces,$(prefix))))
# Not empty if files are installed where the system looks for them.
system_prefix   := $(filter /usr /usr/local,$(call hide_spaces,$(prefix)))
exec_prefix ?= $(prefix)
bindir      ?= $(exec_prefix)/bin
# /etc for /usr and /usr/local, otherwise PREFIX/etc.
sysconfdir  ?= $(if $(system_prefix),,$(prefix))/etc
datarootdir ?= $(prefix)/share
docdir      ?= $(datarootdir)/doc/h2echod
mandir      ?= $(datarootdir)/man
bashcompletiondir    ?= $(datarootdir)/bash-completion/completions
systemdsystemunitdir ?= $(or $(if $(filter /usr,$(system_prefix)),$(shell $(PKG_CONFIG) \
                        --variable=systemdsystemunitdir systemd 2>/dev/null)),$(prefix)/lib/systemd/system)

# What is installed. $(call destination,PATH): the path below DESTDIR, as one word for the shell.
destination = $(call quote,$(DESTDIR)$(1))
config      = $(sysconfdir)/h2echod/h2echod.conf
examples   := README.md LICENSE conf/h2echod.conf conf/h2echod.schema.json systemd/socket-only.conf
unit_files := h2echod.service h2echod@.service h2echod.socket h2echod-tls.socket
# $(call for_units,FUNCTION): the function called with the path of each unit.
for_units   = $(foreach unit,$(unit_files),$(call $(1),$(systemdsystemunitdir)/$(unit)))
directory_names := bindir bashcompletiondir systemdsystemunitdir docdir
directories = $(foreach name,$(directory_names),$(call destination,$($(name)))) $(call destination,$(sysconfdir)/h2echod) \
              $(call destination,$(mandir)/man8) $(call destination,$(mandir)/man5)
installed   = $(call destination,$(bindir)/h2echod) $(call destination,$(mandir)/man8/h2echod.8) \
              $(call destination,$(mandir)/man5/h2echod.conf.5) $(call destination,$(bashcompletiondir)/h2echod) \
              $(call for_units,destination) $(foreach example,$(notdir $(examples)),$(call destination,$(docdir)/$(example)))

# The man pages and h2echod.service name installed files, so their placeholders are filled in.
# $(call fill,FROM,TO,BINDIR,SYSCONFDIR,INSTANCE,OPTIONS)
fill = $(call quiet,FILL,$(call quote,$(2))) rm -f $(call destination,$(2)) && \
       sed -e '/@placeholders@/d; s|/etc/h2echod/|@sysconfdir@/h2echod/|g' -e $(call quote,s|@bindir@|$(call \
       sed_text,$(3))|g; s|@sysconfdir@|$(call sed_text,$(4))|g; s|@instance@|$(5)|g; s|@options@|$(6)|g) \
       $(1) >$(call destination,$(2)) && chmod 644 $(call destination,$(2))
fill_page = $(call fill,$(1),$(2),$(bindir),$(subst \,\e,$(sysconfdir)))
fill_unit = $(call fill,systemd/h2echod.service.in,$(systemdsystemunitdir)/$(1),$(call unit_path,$(bindir)),$(call \
            unit_path,$(sysconfdir)),$(2),$(3))
# Escape a path for a command line in a unit; escape a text for sed's s|PATTERN|TEXT|.
unit_path = $(subst %,%%,$(subst $(space),\x20,$(subst ",\x22,$(subst ',\x27,$(subst \,\x5c,$(1))))))
sed_text  = $(subst |,\|,$(subst &,\&,$(subst \,\\,$(1))))

# The line that install and uninstall print last: what to type next. $(call typed,PATH): quoted only if it has to be.
next_install   = next: $(if $(no_service),$(run_by_hand),$(link_units)$(enable_units))
next_uninstall = next: $(disable_units)
typed         = $(if $(word 2,$(1))$(strip $(foreach mark,' " ` & ; | < > ( ) \,$(findstring $(mark),$(1)))),$(call quote,$(1)),$(1))
# systemd does not search other prefixes, so the units there are linked.
link_units    = $(if $(system_prefix),,systemctl link $(call for_units,typed) && )
enable_units := systemctl daemon-reload && systemctl enable --now h2echod.socket h2echod.service
disable_units = systemctl disable --now h2echod.service h2echod.socket h2echod-tls.socket && $(if \
                $(link_units),systemctl disable h2echod@.service && )systemctl daemon-reload
run_by_hand   = $(call typed,$(bindir)/h2echod) -p 8080 (it cannot be a service there, since $(no_service): install it \
                below /usr/local for that)
# Why it cannot be a service where it is installed, or empty. The unit sets ProtectHome=yes and PrivateTmp=yes.
no_service    = $(or $(if $(filter $(home),$(service_paths)),systemd hides home directories from services),$(if $(filter \
                /tmp/% /var/tmp/%,$(service_paths)),the service has a /tmp and a /var/tmp of its own),$(if $(strip \
                $(foreach mark,' " \ * ? [,$(findstring $(mark),$(bindir)))),systemd takes neither quotes nor backslashes \
                nor wildcards in the path of a program))
home         := /home/% /root/% /run/user/% $(addsuffix /%,$(filter-out /,$(patsubst %/,%,$(call hide_spaces,$(HOME)))))
# The directories that the service reads: as they were given, and with symbolic links, .. and // resolved.
service_paths = $(foreach name,bindir sysconfdir,$(abspath $(call hide_spaces,$($(name))))/ $(call hide_spaces,$(shell \
                realpath -m -- $(call quote,$($(name)))))/)

refuse_relative = $(foreach name,prefix sysconfdir mandir $(directory_names),$(if $(filter-out /%,$(firstword \
                  $($(name)))),$(error $(name) is '$($(name))': it has to begin with /)))

install: $(B)/h2echod ## install below $(DESTDIR)$(prefix); an existing configuration is kept
	$(refuse_relative)@for directory in $(directories); do \
	    test -d "$$directory" || $(INSTALL) -d "$$directory" || exit 1; done
	$(INSTALL) -m 755 $(B)/h2echod $(call destination,$(bindir)/h2echod)
	$(call fill_page,man/h2echod.8,$(mandir)/man8/h2echod.8)
	$(call fill_page,man/h2echod.conf.5,$(mandir)/man5/h2echod.conf.5)
	$(call fill_unit,h2echod.service)
	$(call fill_unit,h2echod@.service, %i, --reuse-port)
	$(INSTALL) -m 644 systemd/h2echod.socket systemd/h2echod-tls.socket $(call destination,$(systemdsystemunitdir))
	$(INSTALL) -m 644 conf/h2echod.bash $(call destination,$(bashcompletiondir)/h2echod)
	$(INSTALL) -m 644 $(examples) $(call destination,$(docdir))
	@test -e $(call destination,$(config)) || test -L $(call destination,$(config)) || \
	    $(INSTALL) -m 644 conf/h2echod.conf $(call destination,$(config))
	$(if $(DESTDIR),,@printf '%s\n' $(call quote,$(next_install)))

# A configuration that equals the installed example was not edited.
uninstall: ## remove what install installed; an edited configuration is kept
	$(refuse_relative)@if cmp -s $(call destination,$(docdir)/h2echod.conf) $(call destination,$(config)); then \
	    rm $(call destination,$(config)); fi
	@for file in $(installed); do rm -f "$$file" || exit 1; done
	@for directory in $(call destination,$(sysconfdir)/h2echod) $(call destination,$(docdir)); do \
	    rmdir "$$directory" 2>/dev/null || :; done
	$(if $(DESTDIR)$(no_service),,@printf '%s\n' $(call quote,$(next_uninstall)))

# --- Archive, clean, help --------------------------------------------------------------------

archive    := build/h2echod-$(VERSION).tar.gz
dist_names := .ci .clang-format .clang-tidy .editorconfig .github .gitignore LICENSE Makefile README.md conf man src systemd tests

# The same files always give the same bytes. The archive gets its name last, so that two runs at a time do no harm.
dist: ## pack the sources (in a clone: those that git tracks) as build/h2echod-VERSION.tar.gz
	@mkdir -p build
	@set -e; work=$$(mktemp -d build/dist.XXXXXX); trap 'rm -rf "$$work"' EXIT; \
	    { test -e .git && git ls-files 2>/dev/null; } >$$work/files || \
	        find $(dist_names) -type f ! -path '*/__pycache__/*' >$$work/files; \
	    time=$${SOURCE_DATE_EPOCH:-$$({ test -e .git && git log -1 --format=%ct 2>/dev/null; } || \
	        xargs stat -c %Y <$$work/files | sort -n | tail -n 1)}; \
	    LC_ALL=C sort $$work/files | tar -cf - --format=ustar --mtime=@$$time --owner=root:0 --group=root:0 \
	        --mode=u=rwX,go=rX --transform='s|^|h2echod-$(VERSION)/|' -T - >$$work/tar; \
	    gzip -9n <$$work/tar >$$work/tar.gz; mv $$work/tar.gz $(archive); echo $(archive)

clean: ## remove build/
	rm -rf build

# Status 141 is SIGPIPE's: the reader, such as head, has closed the pipe.
help: ## print this list
	@awk -F ':.* ## ' '/^[a-z-]+:.* ## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST)) || \
	    { status=$$?; [ $$status = 141 ] || exit $$status; }
