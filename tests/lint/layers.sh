#!/bin/sh
# Check the layers of src/: a folder includes its own headers and those of the folders that the picture in src/README.md
# has an arrow to. All arrows there lead downward, and each is used by some include. Each library and some system calls
# are used only in the files listed below.
set -eu
cd "$(dirname "$0")/../.."
status=0

complain() {
    echo "layers: $1"
    status=1
}

# drawn FOLDER: print the folders that it has arrows to in src/README.md ("    FOLDER -> FOLDER..."), one in each line.
drawn() {
    sed -n "s|^    $1 *-> *||p" src/README.md | tr -s ' ' '\n' | sort
}

# included FOLDER FILE...: print the other folders whose headers these files of the folder include, one in each line.
included() {
    folder=$1
    shift
    sed -n 's|^#include "\([a-z0-9]*/\).*|\1|p' "$@" | sort -u | grep -vx "$folder" || :
}

# The folders of the picture, the lowest first. Each may have arrows only to folders before it.
ranked=$(sed -n 's|^    \([a-z0-9]*/\) *->.*|\1|p' src/README.md | tac)
lower=" nothing "
for folder in $ranked; do
    for below in $(drawn "$folder"); do
        case $lower in *" $below "*) ;; *) complain "src/README.md: $folder -> $below goes upward" ;; esac
    done
    lower="$lower$folder "
done

for folder in main.c $(cd src && printf '%s\n' */); do
    case $folder in
    */) found=$(included "$folder" src/"$folder"*.[ch]) ;;
    *) found=$(included "$folder" src/"$folder") ;;
    esac
    [ "$(drawn "$folder")" = "${found:-nothing}" ] || complain "src/README.md draws arrows from $folder to \
$(drawn "$folder" | tr '\n' ' '), its files include $(echo "$found" | tr '\n' ' ')"
done

# A header whose name ends in _internal.h is for its own folder.
for header in src/*/*_internal.h; do
    for file in src/*.[ch] src/*/*.[ch]; do
        [ "$(dirname "$file")" = "$(dirname "$header")" ] || ! grep -qF "#include \"${header#src/}\"" "$file" ||
            complain "$file may not include ${header#src/}"
    done
done

# only PATTERN FILE...: complain if another file of src/ than these matches the pattern. Each FILE may be a glob.
only() {
    pattern=$1
    shift
    for file in src/*.[ch] src/*/*.[ch]; do
        may=no
        for allowed; do
            # shellcheck disable=SC2254 # a glob
            case ${file#src/} in $allowed) may=yes ;; esac
        done
        if [ $may = no ] && grep -nE "$pattern" "$file"; then complain "$file: $pattern is only allowed in $*"; fi
    done
}

only '<nghttp2/|nghttp2_[a-z]+\(' 'http2/session*.c' http2/session_internal.h \
    http2/field_section.c http2/field_section.h \
    http2/trace_internal.h http2/trace_frame.c http2/trace_fields.c probe/client.c
only '\bnghttp2_hd_' http2/trace_internal.h http2/trace_fields.c
only '<jansson\.h>|json_[a-z]+\(' echo/echo.c 'echo/detail*.[ch]' conn/access_log.c
only '<openssl/|\b(SSL|BIO|EVP|X509)_[A-Za-z0-9_]+\(' 'net/tls*.[ch]' net/certificate.c
only '<getopt\.h>|getopt(_long)?\(' config/command_line.c
only '\b(recv|send|recvmsg|sendmsg|shutdown)\(' net/transport.c
only '\b(bind|listen)\(' net/listener.c
only '\baccept4?\(' daemon/server_accept.c
only '\bpthread_(create|join|kill)\(' daemon/workers.c
only '<signal\.h>' daemon/server_signals.c daemon/terminal.c daemon/workers.c
only '\bclock_gettime\(' base/clock.c
only '\bstderr\b|STDERR_FILENO' base/log.c base/log.h
only '\b(getenv|setenv|unsetenv)\(' base/log.c daemon/notify.c
only '\bsendto\(' daemon/notify.c

exit $status
