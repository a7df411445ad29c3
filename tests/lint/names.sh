#!/bin/sh
# Check that no two static functions in different files of src/ have the same name: a name in a backtrace or in grep's
# output then stands for one function.
set -eu
cd "$(dirname "$0")/../.."

# "NAME FILE" for each static function, one a line: a line that begins with static, maybe after attributes, and has a
# name before its first parenthesis that is not the attributes'. In headers, static inline functions are for all files.
static_functions() {
    for file in src/*.c src/*/*.c; do
        sed -nE 's/^__attribute__\(\(.*\)\) static/static/
            s|^static [^(=;]*[ *]([a-z0-9_]+)\(.*|\1 '"$file"'|p' "$file"
    done | sort -u
}

complaints=$(static_functions | awk '
    { count[$1]++; files[$1] = files[$1] " " $2 }
    END { for (name in count) if (count[name] > 1) print "names: " name " is a static function of several files:" files[name] }')
[ -z "$complaints" ] || { echo "$complaints"; exit 1; }
