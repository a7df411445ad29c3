#!/bin/sh
# Proves on the built daemon, with its debugging information and symbols, that it is hardened:
#     hardening.sh PROGRAM FLAG...
# What the linker and the C library's checks leave in the file is read there. What the compiler was told
# need not show, so each FLAG (those of the Makefile's `hardening` that this compiler has) has to stand in
# the debugging information of every file in src/; and where machine code tells as well, it is asked.
set -eu
export LC_ALL=C
program=$1
shift
status=0

complain() {
    echo "hardening: $program: $1"
    status=1
}

# expect WHAT PATTERN TEXT: some line of the text has the pattern.
expect() {
    printf '%s\n' "$3" | grep -qE -- "$2" || complain "$1"
}

# forbid WHAT PATTERN TEXT: no line has it.
forbid() {
    if printf '%s\n' "$3" | grep -E -- "$2"; then complain "$1"; fi
}

segments=$(readelf -lW "$program")
dynamic=$(readelf -dW "$program")
imports=$(nm -D --undefined-only "$program")

expect 'not a position-independent executable' '\(FLAGS_1\).* PIE( |$)' "$dynamic"
expect 'no part is read-only after relocation' '^ *GNU_RELRO ' "$segments"
expect 'symbols are bound late, so RELRO is not full' '\(FLAGS\).* BIND_NOW( |$)|\(FLAGS_1\).* NOW( |$)' "$dynamic"
expect 'the stack is executable' '^ *GNU_STACK .* RW ' "$segments"
forbid 'a segment is writable and executable' '^ *[A-Z_]+ .* RWE ' "$segments"
forbid 'text relocations' 'TEXTREL' "$dynamic"
forbid 'libraries are searched where the build said' '\((RPATH|RUNPATH)\)' "$dynamic"
expect 'no stack canary is checked' ' __stack_chk_fail(@|$)' "$imports"
expect 'no call is fortified' ' __(mem|str|v?s?n?printf|v?fprintf)[a-z]*_chk(@|$)' "$imports"
# With fortification these are never called by their plain names, whatever the compiler knows.
forbid 'calls that are not fortified' ' (v?fprintf|v?dprintf|v?asprintf)(@|$)' "$imports"

# FILE FLAG...: with what the compiler made each file, one a line.
units=$(readelf --debug-dump=info --dwarf-depth=1 "$program" | awk '
    /DW_AT_producer/ { sub(/.*: /, ""); producer = $0 }
    /DW_AT_name/ { sub(/.*: /, ""); sub(/ *$/, ""); print $0, producer }')

# flag_of UNIT FLAG: the last word of its kind, which is the one that counts; -fno-... is of the same kind.
flag_of() {
    kind=${2#-f}
    kind=${kind%%=*}
    printf '%s\n' "$1" | tr ' ' '\n' | grep -E -- "^-f(no-)?${kind%-strong}([-=]|\$)" | tail -n 1
}

for file in src/*.c src/*/*.c; do
    unit=$(printf '%s\n' "$units" | grep -F "$file " || :)
    [ -n "$unit" ] || { complain "$file: not in the debugging information: built with -g?"; continue; }
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
    # A global function may be called through a pointer, so it begins with the mark of a branch's target.
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
    # A frame grows by a page at most, then touches it; a number of 16 digits is a negative one. The register
    # is x86-64's: elsewhere nothing is found.
    leaps=$(code | awk '$2 == "sub" && sub(/,%rsp$/, "", $3) && sub(/^\$0x/, "", $3) &&
        (length($3) == 4 && $3 "" > "1000" || length($3) > 4 && length($3) < 16)')
    forbid 'the stack grows by more than a page at once' '.' "$leaps"
    ;;
esac

exit $status
