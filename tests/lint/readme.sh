#!/bin/sh
# Check what src/README.md and .github/CONTRIBUTING.md say about the code: the tables name every file of src/ and no
# other; each function, type, file and other name that is mentioned exists; each link leads to a file.
set -eu
cd "$(dirname "$0")/../.."
readme=src/README.md
pages="$readme .github/CONTRIBUTING.md"
mark='`'

# What stands between backquotes, one a line.
# shellcheck disable=SC2086 # two pages
spans=$(grep -oh "${mark}[^${mark}]*$mark" $pages | tr -d "$mark" | sort -u)

# The files of src/ that the tables have, one a line: below "### FOLDER/: ..." a row begins with the name of a file, in
# backquotes, or with NAME.[ch] for two files.
tabled() {
    sed -n "s|^### \([a-z0-9]*/\):.*|folder \1|p; s/^| $mark\([^$mark]*\)$mark |.*/file \1/p" $readme |
        while read -r kind name; do
            case $kind:$name in
            folder:*) folder=$name ;;
            *.\[ch]) printf '%s\n' "$folder${name%\[ch]}c" "$folder${name%\[ch]}h" ;;
            *.[ch]) echo "$folder$name" ;;
            esac
        done | sort
}

check_tables() {
    tables=$(tabled)
    files=$(cd src && printf '%s\n' */*.[ch])
    for file in $files; do
        echo "$tables" | grep -qxF "$file" || echo "no table has $file"
    done
    for file in $tables; do
        [ -e "src/$file" ] || echo "a table has $file, which does not exist"
    done
    echo "$tables" | uniq -d | sed 's/^/the tables have twice: /'
}

# is_defined NAME FILE: the file has a function, an array or a macro of this name.
is_defined() {
    grep -qE "^(#define |[a-z_].*[ *])$1(\(|\[|$)|^\} $1(\[|;| =)" "$2"
}

# `FILE: NAME, NAME` says where functions and tables are.
check_definitions() {
    echo "$spans" | grep -E '^[a-z0-9_]+\.[ch]: ' | while read -r file names; do
        path=$(find src -name "${file%:}")
        for name in $(echo "$names" | tr -d ,); do
            [ "$path" ] && is_defined "$name" "$path" || echo "there is no $file $name"
        done
    done
}

check_types() {
    echo "$spans" | sed -n 's/^struct \([a-z0-9_]*\)$/\1/p' | while read -r name; do
        grep -qrE "^struct $name \{" src || echo "there is no struct $name"
    done
}

check_paths() {
    echo "$spans" | grep -E '^(src|tests|man|conf)/[^ ]*$' | while read -r path; do
        [ -e "$path" ] || echo "there is no $path"
    done
}

# Any other name with an underscore in it occurs in the code or the tests.
check_words() {
    echo "$spans" | grep -E '^[A-Za-z0-9]+(_[A-Za-z0-9]+)+$' | while read -r name; do
        grep -qrw --include='*.[ch]' --include='*.py' "$name" src tests || echo "nothing is called $name"
    done
}

check_links() {
    for page in $pages; do
        grep -o ']([^)#:]*)' "$page" | tr -d '])(' | while read -r target; do
            [ -e "$(dirname "$page")/$target" ] || echo "$page has a link to $target, which does not exist"
        done
    done
}

complaints=$(
    check_links
    check_tables
    check_definitions
    check_types
    check_paths
    check_words
)
[ -z "$complaints" ] || { echo "$complaints" | sed "s|^|readme: |"; exit 1; }
