#!/bin/bash
# Run the test command of README.md on several releases of Debian, each in a fresh tree, and print the counts.
#
#     tests/releases/check.sh [NAME...]    # names of the rows below; without a name, all rows
#
# A release whose tree cannot be fetched is left out, which its line at the end says. The last lines are the counts of
# each row; the status is 1 unless all passed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit

readonly MIRROR_FAILED=75

# name | options and release for run.sh | command. For a user or in a container, tests that need root are skipped, which
# counts as failure if CI is set. A user's row must come after the row of root that installs the packages.
readonly ROWS="\
debian-13|trixie|make deps check
debian-13-user|--user trixie|env -u CI make check
debian-sid|sid|make deps check
debian-sid-user|--user sid|env -u CI make check
debian-12-container|--container bookworm|env -u CI make deps check
debian-12-user|--user bookworm|env -u CI make check"

failed=0
summary=()

# is_wanted ROW [NAME...]: succeeds if no names are given, or ROW is one of them.
is_wanted() {
    local row=$1 name
    shift
    [ $# -gt 0 ] || return 0
    for name; do
        [ "$name" != "$row" ] || return 0
    done
    return 1
}

# check_row NAME WHERE COMMAND: run one row, and add its line to the summary.
check_row() {
    local name=$1 log=build/releases/$1.log status=0 counts
    read -ra where <<<"$2"
    read -ra words <<<"$3"
    printf '\n--- %s: %s\n' "$name" "$3"
    mkdir -p build/releases
    tests/releases/run.sh "${where[@]}" "${words[@]}" </dev/null 2>&1 | tee "$log" || status=$?
    counts=$(sed -n 's/^check: //p' "$log" | tail -n 1)
    if [ $status = $MIRROR_FAILED ]; then
        summary+=("$name: LEFT OUT, its tree could not be fetched from the mirror")
    elif [ $status = 0 ] && [ -n "$counts" ]; then
        summary+=("$name: $counts")
    else
        summary+=("$name: ${counts:-0 passed, 1 failed}")
        failed=1
    fi
}

while IFS='|' read -r name where command <&3; do
    if is_wanted "$name" "$@"; then
        check_row "$name" "$where" "$command"
    fi
done 3<<<"$ROWS"
printf '%s\n' '' "${summary[@]}"
exit $failed
