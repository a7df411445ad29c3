# shellcheck shell=bash
# What bash offers for the command line of h2echod. There is no list here: the program that is to be
# run is asked, so that what it says of its settings in --help and --dump-config is what is offered.

# _h2echod_matching WORD CANDIDATE...: offer those candidates that begin with the word.
_h2echod_matching() {
    mapfile -t COMPREPLY < <(compgen -W "${*:2}" -- "$1")
}

# _h2echod_choices PROGRAM OPTION: the words of a setting that is one of a few. They stand above its key:
#     # what it is for (one of off, text, json)
#     access-log = off
_h2echod_choices() {
    "$1" --dump-config 2>/dev/null |
        sed -n "/(one of .*)\$/ { N; s/.*(one of \(.*\))\n#\{0,1\}${2#--} = .*/\1/p; }" | tr -d ,
}

# _h2echod PROGRAM: called by bash, with the command line in COMP_WORDS.
_h2echod() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} sign='' line takes='' options=()
    # Of --option=value bash makes three words.
    if [[ $word == = ]]; then
        word='' sign='='
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]} sign='='
    fi
    # The lines of options look like:   -c, --config FILE    read settings from FILE
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
