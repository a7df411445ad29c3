#!/bin/sh
# Check that the built daemon is hardened. It must still have its symbols and debugging information.
#     hardening.sh PROGRAM FLAG...
# What the linker and fortification do is visible in the program's headers and imports. What the compiler's flags do is
# not always visible, so each FLAG (of the Makefile's `hardening`) has to be in the debugging information of every file
# of src/. Where a flag leaves traces in the machine code, these are checked, too.
set -eu
export LC_ALL=C
program=$1
shift
status=0

complain() {
    echo "hardening: $program: $1"
    status=1
}

# expect COMPLAINT PATTERN TEXT: complain unless a line of the text matches.
expect() {
    printf '%s\n' "$3" | grep -qE -- "$2" || complain "$1"
}

# forbid COMPLAINT PATTERN TEXT: complain if a line of the text matches.
forbid() {
    if printf '%s\n' "$3" | grep -E -- "$2"; then complain "$1"; fi
}

segments=$(readelf -lW "$program")
dynamic=$(readelf -dW "$program")
imports=$(nm -D --undefined-only "$program")

expect 'not a position-independent executable' '\(FLAGS_1\).* PIE( |$)' "$dynamic"
expect 'no part is read-only after relocation' '^ *GNU_RELRO ' "$segments"
expect 'symbols are bound lazily, so RELRO is not full' '\(FLAGS\).* BIND_NOW( |$)|\(FLAGS_1\).* NOW( |$)' "$dynamic"
expect 'the stack is executable' '^ *GNU_STACK .* RW ' "$segments"
forbid 'a segment is writable and executable' '^ *[A-Z_]+ .* RWE ' "$segments"
forbid 'text relocations' 'TEXTREL' "$dynamic"
forbid 'it has a search path for libraries' '\((RPATH|RUNPATH)\)' "$dynamic"
expect 'there is no stack protector' ' __stack_chk_fail(@|$)' "$imports"
expect 'no call is fortified' ' __(mem|str|v?s?n?printf|v?fprintf)[a-z]*_chk(@|$)' "$imports"
# With fortification these functions are never called by their plain names.
forbid 'calls that are not fortified' ' (v?fprintf|v?dprintf|v?asprintf)(@|$)' "$imports"

# One line for each compiled file: its name, and the compiler with its flags.
units=$(readelf --debug-dump=info --dwarf-depth=1 "$program" | awk '
    /DW_AT_producer/ { sub(/.*: /, ""); producer = $0 }
    /DW_AT_name/ { sub(/.*: /, ""); sub(/ *$/, ""); print $0, producer }')

# flag_of UNIT FLAG: print the last form of the flag in the unit's line, which the compiler uses; it may be -fno-....
flag_of() {
    kind=${2#-f}
    kind=${kind%%=*}
    printf '%s\n' "$1" | tr ' ' '\n' | grep -E -- "^-f(no-)?${kind%-strong}([-=]|\$)" | tail -n 1
}

# has_no_code FILE: succeeds if nothing of it is compiled, as of net/tls_none.c with TLS. Then it is not linked either.
has_no_code() {
    object=${program%/*}/${1%.c}.o
    [ -f "$object" ] && [ -z "$(nm --defined-only "$object" 2>/dev/null)" ]
}

for file in src/*.c src/*/*.c; do
    unit=$(printf '%s\n' "$units" | grep -F "$file " || :)
    if [ -z "$unit" ]; then
        has_no_code "$file" || complain "$file: not in the debugging information: built with -g?"
        continue
    fi
    for flag; do
        given=$(flag_of "$unit" "$flag")
        [ "${given%%=full}" = "$flag" ] || complain "$file: built with ${given:-nothing}, not $flag"
    done
done

code() {
    objdump -d --no-show-raw-insn "$program"
}

case " $* " in
*' -fcf-protection '*)
    # A global function may be called through a pointer, so it has to begin with endbr64.
    functions=$(nm --defined-only --extern-only "$program" | awk '$2 == "T" { print $3 }')
    bare=$(code | FUNCTIONS=$functions awk '
        BEGIN { split(ENVIRON["FUNCTIONS"], names); for (i in names) global["<" names[i] ">:"] }
        named { if ($2 !~ /^endbr/) print named; named = "" }
        $2 in global { named = $2 }')
    forbid 'functions that begin with no endbr64' '<' "$(printf '%s\n' "$bare" | grep -vE '^<_(start|init|fini)>:$')"
    ;;
esac
case " $* " in
*' -fstack-clash-protection '*)
    # A stack frame may grow by one page at most before that page is touched. Numbers of 16 digits are negative. The
    # register is that of x86-64; on other processors nothing is found.
    large_steps=$(code | awk '$2 == "sub" && sub(/,%rsp$/, "", $3) && sub(/^\$0x/, "", $3) &&
        (length($3) == 4 && $3 "" > "1000" || length($3) > 4 && length($3) < 16)')
    forbid 'the stack grows by more than a page at once' '.' "$large_steps"
    ;;
esac

exit $status
