# h2echod: `make deps run` builds and starts it, `make deps check` tests it, `make help` lists the rest.
#
# Yours to set: CC CFLAGS CPPFLAGS LDFLAGS, DESTDIR and GNU's directory variables, PYTHON, RUN_ARGS, WITH_TLS.
# WITH_TLS=1 insists on TLS and WITH_TLS=0 builds without it; unset, TLS is built in if OpenSSL is installed.
# VARIANT (release, asan, tsan, valgrind, coverage) chooses the compiler's flags and the directory below build/.

VERSION := 0.2.0
VARIANT := release
B       := build/$(VARIANT)

ifneq ($(words $(filter release asan tsan valgrind coverage fuzz,$(VARIANT))),1)
$(error VARIANT is '$(VARIANT)': it has to be release, asan, tsan, valgrind, coverage or fuzz)
endif
ifneq ($(filter-out 0 1 no yes,$(WITH_TLS))$(word 2,$(WITH_TLS)),)
$(error WITH_TLS is '$(WITH_TLS)': it has to be 1 (with TLS) or 0 (without))
endif
override WITH_TLS := $(patsubst yes,1,$(patsubst no,0,$(strip $(WITH_TLS))))

# $(call q,TEXT): one word of the shell, whatever is in it.
q = '$(subst ','\'',$(1))'
# make's functions take a path with spaces for several words: $(call hide,PATH) is one, and show undoes it.
empty :=
space := $(empty) $(empty)
hide   = $(subst $(space),:space:,$(1))
show   = $(subst :space:,$(space),$(1))

CC         ?= cc
PKG_CONFIG ?= pkg-config
PYTHON     ?= /usr/bin/python3
CFLAGS     ?= -O2 -g
RUN_ARGS   ?= -p 8080

prefix      ?= /usr/local
override prefix := $(call show,$(patsubst %/,%,$(call hide,$(prefix))))
system_prefix   := $(filter /usr /usr/local,$(call hide,$(prefix)))
exec_prefix ?= $(prefix)
bindir      ?= $(exec_prefix)/bin
# Where /usr and /usr/local have theirs; any other prefix keeps its own.
sysconfdir  ?= $(if $(system_prefix),,$(prefix))/etc
datarootdir ?= $(prefix)/share
docdir      ?= $(datarootdir)/doc/h2echod
mandir      ?= $(datarootdir)/man
bashcompletiondir    ?= $(datarootdir)/bash-completion/completions
systemdsystemunitdir ?= $(or $(if $(filter /usr,$(system_prefix)),$(shell $(PKG_CONFIG) \
                        --variable=systemdsystemunitdir systemd 2>/dev/null)),$(prefix)/lib/systemd/system)
INSTALL     ?= install

# --- What is built ---------------------------------------------------------------------------

# The folders of src/, the highest first: each uses those that come later. src/README.md has the picture.
folders := daemon probe conn http2 echo config net base
sources := $(sort $(wildcard src/*.c $(folders:%=src/%/*.c)))
objects := $(sources:src/%.c=$(B)/src/%.o)
# $(call from,FOLDER): the archives of a folder and of those below it, as the linker needs them.
archive_of = $(1:%=$(B)/src/%.a)
from       = $(call archive_of,$(call since,$(1),$(folders)))
since      = $(if $(filter $(1),$(firstword $(2))),$(2),$(call since,$(1),$(wordlist 2,$(words $(2)),$(2))))

tls_helpers           := tests/tls/client tests/tls/files tests/tls/pair
help_test_tls           := $(tls_helpers)
help_test_tls_context   := $(tls_helpers)
help_test_tls_handshake := $(tls_helpers)
help_test_tls_memory    := $(tls_helpers)
link_test_client_memory := -Wl,--wrap=calloc,--wrap=nghttp2_session_callbacks_new,--wrap=nghttp2_session_client_new
link_test_listener := -Wl,--wrap=bind,--wrap=getaddrinfo,--wrap=freeaddrinfo
link_test_tls_memory := -Wl,--wrap=calloc
link_test_trace_fields := -Wl,--wrap=calloc,--wrap=nghttp2_hd_inflate_new,--wrap=nghttp2_hd_inflate_hd2
link_test_faults := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free \
                    -Wl,--wrap=nghttp2_option_new,--wrap=nghttp2_session_callbacks_new

help_test_faults := tests/session/failing_alloc
help_test_faults_echo := $(help_test_faults)
link_test_faults_echo := $(link_test_faults)
# Any other source in tests/session/ helps every test there; failing_alloc wraps calls of its own.
session_helpers := $(filter-out tests/session/test_% tests/session/failing_alloc,$(patsubst %.c,%,$(wildcard tests/session/*.c)))

# The whole daemon but main; tests/faults/faults*.c replace each of these calls.
fault_helpers := tests/faults/faults tests/faults/faults_calls tests/faults/faults_memory tests/faults/daemon \
                 tests/faults/conversation tests/faults/fault_table $(session_helpers) tests/tls/client
fault_calls   := malloc calloc realloc reallocarray free arena_start nghttp2_option_new nghttp2_session_callbacks_new \
                 recv send shutdown setsockopt getsockname ioctl close madvise malloc_trim \
                 accept4 poll read write signalfd eventfd nanosleep clock_gettime mmap munmap mprotect \
                 pthread_attr_init pthread_attr_setstack \
                 pthread_create sem_clockwait sem_wait connection_serve _exit

unit_tests    := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*/test_*.c))
# Any other source in tests/unit/FOLDER helps every unit test of that folder.
unit_helpers  := $(patsubst %.c,$(B)/%.o,$(filter-out $(wildcard tests/unit/*/test_*.c),$(wildcard tests/unit/*/*.c)))
session_tests := $(patsubst tests/session/%.c,$(B)/tests/session/%,$(wildcard tests/session/test_*.c))
fault_tests   := $(patsubst tests/faults/%.c,$(B)/tests/faults/%,$(wildcard tests/faults/test_*.c))

# What each fuzz target links besides itself; the corpus is replayed by every `check`.
fuzz_session  := http2
fuzz_frames   := http2
fuzz_echo     := echo
fuzz_sniff    := conn
fuzz_settings := config
fuzz_trace    := http2
fuzz_upgrade  := conn
fuzzers       := session frames echo sniff settings trace upgrade
replays       := $(fuzzers:%=$(B)/tests/fuzz/replay_%)
fuzz_programs := $(fuzzers:%=$(B)/tests/fuzz/fuzz_%)
FUZZ_SECONDS  ?= 60
SOAK_SECONDS  ?= 300

# The load generators that h2load is not, the floor, and the session alone.
bench_varied       := tests/bench/client tests/bench/request
bench_floor_client := tests/bench/client
bench_floor        :=
bench_instructions := tests/bench/client tests/bench/request
bench_loads        := $(patsubst %,$(B)/tests/bench/%,varied floor_client floor)
bench_session      := $(B)/tests/bench/instructions
bench_programs     := $(bench_loads) $(bench_session)
BENCH_OUT          ?= build/bench
ROUNDS             ?= 5
SCALE              ?= 1
CASES              ?=
SERVERS            ?=

test_load     := $(B)/tests/bench/varied
test_programs := $(unit_tests) $(session_tests) $(fault_tests) $(replays)

# --- How it is built -------------------------------------------------------------------------
# Deferred (=), so that pkg-config is asked after `deps` has installed it, not when make starts.

warnings := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wwrite-strings -Wvla -Wundef $(if $(CI),-Werror)
# What this compiler for this machine has of these, asked once.
hardening = $(eval hardening := -fPIE $(foreach flag,-fstack-protector-strong -fcf-protection \
            -fstack-clash-protection -ftrivial-auto-var-init=zero,$(shell $(CC) -Werror $(flag) \
            -c -x c /dev/null -o /dev/null 2>/dev/null && echo $(flag))))$(hardening)

variant_release  = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 $(hardening)
# With an arena of no memory every block is malloc's, and watched.
variant_valgrind = $(variant_release) -DARENA_SIZE=0
variant_asan    := -DARENA_SIZE=0 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# ThreadSanitizer keeps most of a megabyte of its own at the top of every stack.
variant_tsan    := -fsanitize=thread,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DWORKER_STACK_SIZE=2097152
# Nothing is inlined, so that each line of a function is counted where it is written; threads count atomically.
variant_coverage := --coverage -fprofile-update=atomic -fno-inline -O0
variant_fuzz    := -DARENA_SIZE=0 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
variant          = $(variant_$(VARIANT))
variant_link     = $(if $(filter release valgrind,$(VARIANT)),-pie -Wl$(,)-z$(,)relro$(,)-z$(,)now,$(variant))
,               := ,

tls       = $(eval tls := $(or $(WITH_TLS),$(shell $(PKG_CONFIG) --exists 'openssl >= 3.0' && echo 1 || echo 0)))$(tls)
libraries = libnghttp2 jansson $(if $(filter 1,$(tls)),openssl)

cppflags = -D_GNU_SOURCE -DH2ECHOD_VERSION='"$(VERSION)"' -DWITH_TLS=$(tls) -I$(B) -Isrc
# Where it was built is not in what was built: what the compiler takes for its directory is one name, and mapped.
export PWD := $(CURDIR)
cflags   = -std=c11 -pthread -MMD -MP -ffile-prefix-map='$(CURDIR)'=. $(warnings) $(variant) \
           $(shell $(PKG_CONFIG) --cflags $(libraries))
libs     = $(shell $(PKG_CONFIG) --libs $(libraries))
cmocka   = $(shell $(PKG_CONFIG) --libs cmocka)

# --- Packages --------------------------------------------------------------------------------
# `deps` installs what the goals beside it need, so that whoever only runs it gets no test tools.

packages       := gcc libc6-dev pkg-config libnghttp2-dev libjansson-dev \
                  $(if $(filter 0,$(WITH_TLS)),,libssl-dev)
# What `make check` needs, and the package that has it: a library, Python's modules, programs.
check_needs    := library:cmocka=libcmocka-dev module:pytest=python3-pytest module:xdist=python3-pytest-xdist \
                  module:h2=python3-h2 module:hpack=python3-hpack module:hyperframe=python3-hyperframe \
                  module:jsonschema=python3-jsonschema curl=curl nghttp=nghttp2-client h2load=nghttp2-client \
                  nghttpd=nghttp2-server node=nodejs openssl=openssl git=git ip=iproute2 ps=procps strace=strace \
                  systemd-analyze=systemd systemd-socket-activate=systemd
packages_check := python3 $(sort $(foreach need,$(check_needs),$(lastword $(subst =, ,$(need)))))
packages_clients := chromium default-jdk-headless golang-go golang-golang-x-net-dev haproxy nginx python3-httpx
packages_releases := debootstrap debian-archive-keyring gcc libc6-dev util-linux
packages_lint  := binutils clang-format clang-tidy cppcheck mandoc shellcheck
packages_fuzz  := clang libclang-rt-dev
packages_coverage := gcovr python3
packages_bench := python3 openssl nghttp2-client nghttp2-server h2o nginx nodejs
# What some releases have no package of, and what can be done without.
packages_optional := h2o
packages_wanted = $(packages) $(if $(filter check% soak,$(MAKECMDGOALS)),$(packages_check)) \
                  $(if $(filter check-clients,$(MAKECMDGOALS)),$(packages_clients)) \
                  $(if $(filter check-releases,$(MAKECMDGOALS)),$(packages_releases)) \
                  $(if $(filter check-valgrind,$(MAKECMDGOALS)),valgrind libc6-dbg) \
                  $(if $(filter fuzz,$(MAKECMDGOALS)),$(packages_fuzz)) \
                  $(if $(filter coverage,$(MAKECMDGOALS)),$(packages_check) $(packages_coverage)) \
                  $(if $(filter bench deps-bench,$(MAKECMDGOALS)),$(packages_bench)) \
                  $(if $(filter bench-instructions,$(MAKECMDGOALS)),python3 valgrind) \
                  $(if $(filter profile,$(MAKECMDGOALS)),python3 nghttp2-client linux-perf) \
                  $(if $(filter lint format,$(MAKECMDGOALS)),$(packages_check) $(packages_lint))

# Quiet but for one line, since apt-get and dpkg write hundreds; on a terminal the seconds are counted.
define install_packages
fail() { echo "$1" >&2; exit 1; }

missing= count=0
for package; do
    if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed'; then
        missing="$missing $package" count=$((count + 1))
    fi
done
[ $count != 0 ] || exit 0

command -v apt-get >/dev/null || fail "make deps knows apt-get alone, which is not here: install these with your package \
manager, then run make without deps:$missing (Debian's names; README.md has those of other distributions)"
by_hand="apt-get update && apt-get install$missing"
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "make deps needs root, and there is no sudo here; as root: $by_hand"
    words=$(sudo true 2>&1) || fail "make deps needs root, and sudo refuses ($(echo "$words" | tail -n 1)); \
as root: $by_hand"
    as_root=sudo
fi

# Run as root in somebody's clone, it leaves them a build/ that they can write to.
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
    [ $status = 0 ] || { tail -n 10 $log >&2; fail "apt-get $1 failed (all of its output: $log): see that the network and \
/etc/apt/sources.list are in order and try again; by hand, as root: $by_hand"; }
}

[ $count = 1 ] && packages=package || packages=packages
echo "installing $count $packages with apt-get (its output goes to $log):$missing"
apt update -qq
for package in $OPTIONAL; do
    case "$missing " in
    *" $package "*)
        apt-cache show "$package" >/dev/null 2>&1 && continue
        echo "LEFT OUT $package: this release has no such package"
        missing=$(echo "$missing " | sed "s/ $package / /")
        ;;
    esac
done
apt install -qq -y --no-install-recommends $missing
endef

# Every other rule waits for deps where both are asked for: `make -j deps run` is safe.
after_deps     := $(filter deps deps-bench,$(MAKECMDGOALS))

# V=1 shows the commands whole.
quiet = $(if $(V),,@printf '  %-4s %s\n' $(1) $(2);)

.PHONY: all deps deps-bench needs run run-daemon check check-programs check-clients check-asan check-tsan \
        check-valgrind check-wrapped check-releases soak soak-run coverage fuzz fuzz-run bench bench-instructions \
        profile lint format compile-commands install uninstall dist clean help FORCE
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

all: $(B)/h2echod ## build the daemon: build/release/h2echod

deps: ## install what the goals beside it need: `make deps run`, `make deps check`
deps-bench: ## install what `make bench` needs, the servers it compares with among it
deps deps-bench: export install_packages := $(value install_packages)
deps deps-bench:
	@OPTIONAL=$(call q,$(packages_optional)) $(SHELL) -c "$$install_packages" deps $(sort $(packages_wanted))

# The shell lives on to note how the daemon ended, but not longer than make: setpriv ends the daemon with it.
run: run-daemon ## build it and run it on port 8080 (RUN_ARGS='-p 8080')
	@: $(if $(filter 69,$(run_status)),$(error choose where it listens, for instance: make run RUN_ARGS='-p $(if \
	    $(findstring 9000,$(RUN_ARGS)),9001,9000)'))$(if $(filter-out 0,$(run_status)),$(error h2echod ended with \
	    status $(run_status)))
run-daemon: $(B)/h2echod
	@trap : INT QUIT HUP; setpriv --pdeathsig TERM $(B)/h2echod $(RUN_ARGS); echo $$? >$(B)/run.status
run_status = $(strip $(file <$(B)/run.status))

# Packages that are missing and a library that is too old are told in one line, instead of a page of errors from the
# compiler or Python.
define find_needs
fail() { echo "$1" >&2; exit 1; }
is_there() { command -v "${1%% *}" >/dev/null; }
is_default() { case $1 in default | file) ;; *) false ;; esac; }

missing=
need() {
    for package; do
        case "$missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
    done
}

check_compiler() {
    if ! is_there "$CC"; then
        is_default "$CC_ORIGIN" || fail "the compiler '${CC%% *}' (from CC) is not there: install it or choose another"
        need gcc libc6-dev
        return
    fi
    words=$(echo '#include <stdlib.h>' | $CC -x c -c - -o /dev/null 2>&1) && return
    case $words in
    *stdlib.h*) need libc6-dev ;;
    *) fail "the compiler '$CC' (from CC) does not compile C${words:+: $(echo "$words" | head -n 1)}" ;;
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
    if ! is_there "$PKG_CONFIG"; then
        is_default "$PKG_CONFIG_ORIGIN" || fail "'${PKG_CONFIG%% *}' (from PKG_CONFIG) is not there"
        need pkg-config
        [ "$WITH_TLS" = 0 ] || need libssl-dev
    fi
    check_library libnghttp2 1.52 libnghttp2-dev nghttp2
    check_library jansson 2.14 libjansson-dev jansson
    [ "$WITH_TLS" != 1 ] || check_library openssl 3.0 libssl-dev OpenSSL
}

# What of "module:" the Python that runs the tests does not have; all, if there is none.
find_missing_modules() {
    names=
    for name; do case $name in module:*) name=${name#module:}; names="$names ${name%%=*}" ;; esac; done
    if ! is_there "$PYTHON"; then
        is_default "$PYTHON_ORIGIN" || fail "'${PYTHON%% *}' (from PYTHON) is not there"
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

# check_tools NEED...: as in check_needs
check_tools() {
    find_missing_modules "$@"
    for name; do
        package=${name#*=} name=${name%%=*}
        case $name in
        library:*) $PKG_CONFIG --exists ${name#*:} 2>/dev/null || need $package ;;
        module:*) case " $modules " in *" ${name#*:} "*) need $package ;; esac ;;
        *) (PATH=$PATH:/usr/sbin:/sbin && is_there $name) || need $package ;;
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

test_goal := $(patsubst soak-run,soak,$(firstword $(filter check check-wrapped check-clients soak-run,$(MAKECMDGOALS))))
needs: export find_needs := $(value find_needs)
needs: | $(after_deps)
	@mkdir -p $(B)
	@CC=$(call q,$(CC)) CC_ORIGIN=$(call q,$(origin CC)) PKG_CONFIG=$(call q,$(PKG_CONFIG)) \
	    PKG_CONFIG_ORIGIN=$(call q,$(origin PKG_CONFIG)) PYTHON=$(call q,$(PYTHON)) PYTHON_ORIGIN=$(call q,$(origin PYTHON)) \
	    WITH_TLS=$(WITH_TLS) GOAL=$(test_goal) $(SHELL) -c "$$find_needs" needs $(if $(test_goal),$(check_needs))

# Another compiler, other flags or other libraries than last time build everything anew.
$(B)/flags: FORCE | needs
	$(file >$@.new,$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(LDLIBS) $(tls) $(shell $(PKG_CONFIG) --modversion $(libraries)))
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; $(if $(WITH_TLS),,$(if $(filter 0,$(tls)),$(without_tls);)) fi
without_tls := echo 'built without TLS, for which OpenSSL 3.0 or newer is needed: `make deps` installs it'

# What this nghttp2 offers is asked by compiling, since distributions carry newer functions back.
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

# Objects first, then the archives, the highest first: a linker takes from an archive what is missing by then.
link_program = $(call quiet,LINK,$@) $(CC) $(variant_link) $(CFLAGS) -pthread $(LDFLAGS) $(link_options) $(link_$(@F)) -o $@ \
               $(sort $(filter %.o,$^)) $(foreach folder,$(folders),$(filter %/$(folder).a,$^)) $(libs) $(link_libraries) $(LDLIBS)

$(B)/h2echod: $(B)/src/main.o $(call from,daemon)
	$(link_program)

# An archive is made anew, so that it keeps no member whose source is gone.
.SECONDEXPANSION:
$(call archive_of,$(folders)): $(B)/src/%.a: $$(filter $(B)/src/$$*/$$(percent),$(objects))
	$(call quiet,AR,$@) rm -f $@ && $(AR) rcs $@ $^
percent := %

$(B)/tests/%.o: tests/%.c $(B)/detected.h $(B)/flags Makefile
	@mkdir -p $(@D)
	$(call quiet,CC,$<) $(CC) $(cppflags) -Itests $(CPPFLAGS) $(cflags) $(CFLAGS) -c -o $@ $<

# A program of tests is its object, what helps it, and the archives it tests.
$(unit_tests) $(session_tests) $(fault_tests): link_libraries = $(cmocka)
$(fault_tests): link_options = $(fault_calls:%=-Wl$(,)--wrap=%)
$(fuzz_programs): link_options = -fsanitize=fuzzer
$(unit_tests) $(session_tests) $(fault_tests) $(bench_programs): $(B)/%: $(B)/%.o
$(unit_tests): $$(call from,$$(notdir $$(patsubst %/,%,$$(dir $$@)))) $$(filter $$(dir $$@)%,$(unit_helpers)) \
               $$(addprefix $(B)/,$$(addsuffix .o,$$(help_$$(@F))))
	$(link_program)

$(session_tests): $(session_helpers:%=$(B)/%.o) $$(addprefix $(B)/,$$(addsuffix .o,$$(help_$$(@F)))) $(call from,http2)
	$(link_program)

$(fault_tests): $(fault_helpers:%=$(B)/%.o) $(call from,daemon)
	$(link_program)

$(replays): $(B)/tests/fuzz/replay_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $$(call from,$$(fuzz_$$*))
	$(link_program)

$(fuzz_programs): $(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $$(call from,$$(fuzz_$$*))
	$(link_program)

$(bench_programs): $(B)/tests/bench/%: $$(addprefix $(B)/,$$(addsuffix .o,$$(bench_$$*))) $(call from,http2)
	$(link_program)

$(unit_tests) $(session_tests) $(fault_tests): $(B)/tests/filter.o

-include $(objects:.o=.d) $(B)/tests/filter.d $(bench_programs:=.d) $(B)/tests/bench/client.d $(B)/tests/bench/request.d $(test_programs:=.d) $(unit_helpers:.o=.d) $(patsubst %,$(B)/%.d,$(sort $(fault_helpers) $(tls_helpers))) $(fuzz_programs:=.d)

# --- Tests -----------------------------------------------------------------------------------

asan_options := ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 \
                UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 H2ECHOD_SLOW=6
tsan_options := TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 H2ECHOD_SLOW=10
# What threads hold that run when the process ends at once is "possibly lost": that is no leak.
valgrind     := valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect \
                --error-exitcode=99 --fair-sched=yes

# What is installed is a release, whatever is checked: once is enough.
suites := tests/integration $(if $(filter release,$(VARIANT)),tests/install tests/systemd)

# One command builds on every core, also without -j.
jobs      = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
run_tests = $(PYTHON) tests/run.py --daemon $(B)/h2echod --tests=$(call q,$(TESTS))

check: needs | $(after_deps) ## every test, in three minutes on two cores; TESTS=pattern: a part (see tests/selection.py)
	@$(MAKE) --no-print-directory $(jobs) check-programs
	@$(run_tests) $(suites:%=--suite %) $(test_programs)

check-asan: $(after_deps) ## the same with AddressSanitizer and UndefinedBehaviorSanitizer
	@$(asan_options) $(MAKE) --no-print-directory VARIANT=asan check

check-tsan: $(after_deps) ## the same with ThreadSanitizer
	@$(tsan_options) $(MAKE) --no-print-directory VARIANT=tsan check

check-valgrind: $(after_deps) ## the same under valgrind, without the heavy tests
	@H2ECHOD_SLOW=40 $(MAKE) --no-print-directory VARIANT=valgrind check-wrapped

check-programs: $(B)/h2echod $(test_programs) $(test_load)

check-wrapped: needs check-programs
	@$(run_tests) --wrapper '$(valgrind)' --light $(suites:%=--suite %) $(test_programs)

check-clients: $(B)/h2echod ## send requests with every client of tests/clients/README.md
	@$(run_tests) --suite tests/clients

check-releases: $(after_deps) ## the test command in fresh trees of Debian 12, 13 and sid; it needs root (RELEASES='debian-13 ...')
	@tests/releases/check.sh $(RELEASES)

soak: $(after_deps) ## 200 clients do everything at once, SOAK_SECONDS=300 with each sanitizer
	@$(tsan_options) $(MAKE) --no-print-directory VARIANT=tsan soak-run
	@$(asan_options) $(MAKE) --no-print-directory VARIANT=asan soak-run

soak-run: $(B)/h2echod
	@H2ECHOD=$(B)/h2echod $(PYTHON) tests/integration/soak.py --seconds $(SOAK_SECONDS)

fuzz: $(after_deps) ## let libFuzzer look for what breaks each target, FUZZ_SECONDS=60 for each
	@$(MAKE) --no-print-directory VARIANT=fuzz CC=clang fuzz-run

fuzz-run: $(fuzz_programs)
	@for name in $(fuzzers); do mkdir -p build/corpus/$$name; \
	    $(B)/tests/fuzz/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -print_final_stats=1 \
	        $$(find tests/fuzz -name $$name.dict -printf '-dict=%p') \
	        -artifact_prefix=build/corpus/$$name- build/corpus/$$name tests/fuzz/corpus/$$name || exit 1; done

# A run adds to the counts of earlier ones, which would hide what the tests no longer reach.
coverage: $(after_deps) ## run the tests and count what they reach of each folder of src/: lines and branches
	@find build/coverage -name '*.gcda' -delete 2>/dev/null || :
	@H2ECHOD_SLOW=4 $(MAKE) --no-print-directory VARIANT=coverage check
	@$(PYTHON) tests/lint/coverage.py build/coverage

# --- Measurements ----------------------------------------------------------------------------

# What was typed, for the chart to say.
bench_words = $(strip make bench $(foreach name,CASES SERVERS ROUNDS SCALE,$(if \
              $(filter command%,$(origin $(name))),$(name)='$($(name))')))

bench: $(B)/h2echod $(bench_loads) | $(after_deps) ## compare with h2o, nghttpd, nginx, node: ROUNDS=5 CASES='mux idle' SERVERS=...
	@$(PYTHON) tests/bench/bench.py --binaries $(B) --out $(BENCH_OUT) --rounds $(ROUNDS) --scale $(SCALE) \
	    --cases '$(CASES)' --servers '$(SERVERS)' --command "$(bench_words)"

bench-instructions: $(bench_session) | $(after_deps) ## count a request's instructions in the session (valgrind): the same in each run
	@$(PYTHON) tests/bench/instructions.py --program $(bench_session) --out $(BENCH_OUT)

profile: $(B)/h2echod $(bench_loads) | $(after_deps) ## show where h2echod's time goes (perf), for CASES='mux browser'
	@$(PYTHON) tests/bench/perf.py --binaries $(B) --out $(BENCH_OUT) --cases '$(CASES)'

c_files  = $(wildcard src/*.[ch] src/*/*.[ch] tests/*.c tests/*/*.[ch] tests/unit/*/*.[ch])
scripts  = .ci/run conf/h2echod.bash $(wildcard tests/*/*.sh)
tidy     = $(cppflags) -Itests -std=c11 $(shell $(PKG_CONFIG) --cflags $(libraries))

lint: $(B)/h2echod | $(after_deps) ## layering, format, hardening, cppcheck, clang-tidy, mandoc, shellcheck
	clang-format --dry-run -Werror $(c_files)
	tests/lint/layers.sh
	tests/lint/readme.sh
	tests/lint/names.sh
	tests/lint/hardening.sh $(B)/h2echod $(hardening)
	cppcheck -q --std=c11 --enable=warning,performance,portability --inline-suppr \
	    --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --error-exitcode=1 -D_GNU_SOURCE \
	    -DH2ECHOD_VERSION='"$(VERSION)"' -Isrc src
	clang-tidy --quiet --warnings-as-errors='*' $(sources) -- $(tidy)
	mandoc -T lint -W style man/*.[58]
	shellcheck $(scripts)

# build/ is one of the places where clangd and other tools look for it.
compile-commands: $(B)/detected.h ## write build/compile_commands.json, for clangd and the like
	@$(PYTHON) tests/lint/compile_commands.py build/compile_commands.json $(sources) $(filter tests/%.c,$(c_files)) -- \
	    $(CC) $(cppflags) -Itests $(CPPFLAGS) $(filter-out -MMD -MP,$(cflags)) $(CFLAGS)

format: | $(after_deps) ## let clang-format lay out every C file
	clang-format -i $(c_files)

# --- Installation ----------------------------------------------------------------------------

service_units := h2echod.service h2echod@.service h2echod.socket h2echod-tls.socket
examples   := README.md LICENSE conf/h2echod.conf conf/h2echod.schema.json systemd/socket-only.conf
config     = $(sysconfdir)/h2echod/h2echod.conf
# $(call to,PATH): where it is put, as one word of the shell.
to          = $(call q,$(DESTDIR)$(1))
units       = $(foreach unit,$(service_units),$(call $(1),$(systemdsystemunitdir)/$(unit)))
directories = $(foreach name,$(directory_names),$(call to,$($(name)))) $(call to,$(sysconfdir)/h2echod) \
              $(call to,$(mandir)/man8) $(call to,$(mandir)/man5)
installed   = $(call to,$(bindir)/h2echod) $(call to,$(mandir)/man8/h2echod.8) $(call to,$(mandir)/man5/h2echod.conf.5) \
              $(call to,$(bashcompletiondir)/h2echod) $(call units,to) \
              $(foreach example,$(notdir $(examples)),$(call to,$(docdir)/$(example)))
directory_names := bindir bashcompletiondir systemdsystemunitdir docdir

# $(call said,PATH): as somebody would type it.
said      = $(if $(word 2,$(1))$(strip $(foreach mark,' " ` & ; | < > ( ) \,$(findstring $(mark),$(1)))),$(call q,$(1)),$(1))
# Where systemd doesn't look by itself, it is told.
link      = $(if $(system_prefix),,systemctl link $(call units,said) && )
# Why what is installed cannot be a service, if it can't: for one, ProtectHome=yes and PrivateTmp=yes in the unit.
no_service = $(or $(if $(filter $(home),$(needed_paths)),systemd hides home directories from services),$(if $(filter \
            /tmp/% /var/tmp/%,$(needed_paths)),the service has a /tmp and a /var/tmp of its own),$(if $(strip \
            $(foreach mark,' " \ * ? [,$(findstring $(mark),$(bindir)))),systemd takes neither quotes nor backslashes \
            nor wildcards in the path of a program))
home     := /home/% /root/% /run/user/% $(addsuffix /%,$(filter-out /,$(patsubst %/,%,$(call hide,$(HOME)))))
# Where the service's files are, as it was asked for and where that leads: through symbolic links, .. and //.
needed_paths = $(foreach name,bindir sysconfdir,$(abspath $(call hide,$($(name))))/ $(call hide,$(shell realpath -m \
               -- $(call q,$($(name)))))/)

run_it    = $(call said,$(bindir)/h2echod) -p 8080 (it cannot be a service there, since $(no_service): install it below \
            /usr/local for that)
enable   := systemctl daemon-reload && systemctl enable --now h2echod.socket h2echod.service
disable   = systemctl disable --now h2echod.service h2echod.socket h2echod-tls.socket && $(if \
            $(link),systemctl disable h2echod@.service && )systemctl daemon-reload

# $(call unit_path,PATH): a path in a unit's command line. $(call sed_text,TEXT): what s|..|TEXT| puts there as it is.
unit_path = $(subst %,%%,$(subst $(space),\x20,$(subst ",\x22,$(subst ',\x27,$(subst \,\x5c,$(1))))))
sed_text  = $(subst |,\|,$(subst &,\&,$(subst \,\\,$(1))))
# $(call fill,FROM,TO,BINDIR,SYSCONFDIR,INSTANCE,OPTIONS): a man page, or a unit, that names what is installed.
fill = $(call quiet,FILL,$(call q,$(2))) rm -f $(call to,$(2)) && sed -e '/@placeholders@/d; s|/etc/h2echod/|@sysconfdir@/h2echod/|g' \
       -e $(call q,s|@bindir@|$(call sed_text,$(3))|g; s|@sysconfdir@|$(call sed_text,$(4))|g; s|@instance@|$(5)|g; s|@options@|$(6)|g) \
       $(1) >$(call to,$(2)) && chmod 644 $(call to,$(2))
fill_page = $(call fill,$(1),$(2),$(bindir),$(subst \,\e,$(sysconfdir)))
fill_unit = $(call fill,systemd/h2echod.service.in,$(systemdsystemunitdir)/$(1),$(call unit_path,$(bindir)),$(call \
            unit_path,$(sysconfdir)),$(2),$(3))

refuse_relative = $(foreach name,prefix sysconfdir mandir $(directory_names),$(if $(filter-out /%,$(firstword $($(name)))),\
                  $(error $(name) is '$($(name))': it has to begin with /)))

install: $(B)/h2echod ## install below $(DESTDIR)$(prefix); a configuration that is there stays
	$(refuse_relative)@for directory in $(directories); do \
	    test -d "$$directory" || $(INSTALL) -d "$$directory" || exit 1; done
	$(INSTALL) -m 755 $(B)/h2echod $(call to,$(bindir)/h2echod)
	$(call fill_page,man/h2echod.8,$(mandir)/man8/h2echod.8)
	$(call fill_page,man/h2echod.conf.5,$(mandir)/man5/h2echod.conf.5)
	$(call fill_unit,h2echod.service)
	$(call fill_unit,h2echod@.service, %i, --reuse-port)
	$(INSTALL) -m 644 systemd/h2echod.socket systemd/h2echod-tls.socket $(call to,$(systemdsystemunitdir))
	$(INSTALL) -m 644 conf/h2echod.bash $(call to,$(bashcompletiondir)/h2echod)
	$(INSTALL) -m 644 $(examples) $(call to,$(docdir))
	@test -e $(call to,$(config)) || test -L $(call to,$(config)) || \
	    $(INSTALL) -m 644 conf/h2echod.conf $(call to,$(config))
	$(if $(DESTDIR),,@printf '%s\n' $(call q,next: $(if $(no_service),$(run_it),$(link)$(enable))))

uninstall: ## remove what install put there; a configuration that was edited stays
	$(refuse_relative)@if cmp -s $(call to,$(docdir)/h2echod.conf) $(call to,$(config)); then rm $(call to,$(config)); fi
	@for file in $(installed); do rm -f "$$file" || exit 1; done
	@for directory in $(call to,$(sysconfdir)/h2echod) $(call to,$(docdir)); do rmdir "$$directory" 2>/dev/null || :; done
	$(if $(DESTDIR)$(no_service),,@printf '%s\n' $(call q,next: $(disable)))

# The same bytes from the same files, whoever packs them, wherever and whenever.
archive    := build/h2echod-$(VERSION).tar.gz
dist_names := .ci .clang-format .clang-tidy .editorconfig .github .gitignore LICENSE Makefile README.md conf man src systemd tests

# It is complete when it gets its name, so that two who pack at the same time do not meet.
dist: ## pack the sources as build/h2echod-VERSION.tar.gz: what git knows, else what is there
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

# The status 141 is SIGPIPE's: who reads this has seen enough.
help: ## this list
	@awk -F ':.* ## ' '/^[a-z-]+:.* ## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST)) || \
	    { status=$$?; [ $$status = 141 ] || exit $$status; }
