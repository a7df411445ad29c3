# shellcheck shell=bash
# Completion of h2echod's command line in bash. This file has no list of options: it runs the program that
# is being completed with --help and --dump-config, and offers the options and values that it finds there.

# _h2echod_matching WORD CANDIDATE...: offer the candidates that begin with WORD.
_h2echod_matching() {
    mapfile -t COMPREPLY < <(compgen -W "${*:2}" -- "$1")
}

# _h2echod_choices PROGRAM OPTION: print the values of an option that accepts only certain words. The dump lists
# them in the comment above the key:
#     # what it is for (one of off, text, json)
#     access-log = off
_h2echod_choices() {
    "$1" --dump-config 2>/dev/null |
        sed -n "/(one of .*)\$/ { N; s/.*(one of \(.*\))\n#\{0,1\}${2#--} = .*/\1/p; }" | tr -d ,
}

# _h2echod PROGRAM: bash calls this with the command line in COMP_WORDS.
_h2echod() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} sign='' line takes='' options=()
    # bash splits --option=value into three words.
    if [[ $word == = ]]; then
        word='' sign='='
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]} sign='='
    fi
    # In the help, the line of an option looks like:   -c, --config FILE    read settings from FILE
    local entry='^ +((-[[:alpha:]]), )?(--[[:lower:]-]+)( [[:upper:]]+|\[=[^]]*\])?( |$)'
    while IFS= read -r line; do
        [[ $line =~ $entry ]] || continue
        options+=("${BASH_REMATCH[2]}" "${BASH_REMATCH[3]}")
        if [[ $before == "${BASH_REMATCH[2]:-none}" || $before == "${BASH_REMATCH[3]}" ]]; then
            before=${BASH_REMATCH[3]} takes=$sign${BASH_REMATCH[4]}
        fi
    done < <("$1" --help 2>/dev/null)
    case $takes in
    *FILE | *PATH)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        compopt -o filenames 2>/dev/null
        ;;
    '=[=on|off]') _h2echod_matching "$word" on off ;;
    '' | '[='*) _h2echod_matching "$word" "${options[@]}" ;;
    *) _h2echod_matching "$word" "$(_h2echod_choices "$1" "$before")" ;;
    esac
}
complete -F _h2echod h2echod
