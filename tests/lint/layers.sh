#!/bin/sh
# Check the layers of src/: a folder includes only its own headers and those of the folders below it, and a library or a
# part of the system is used in one place alone. src/README.md has the picture, which is checked as well.
set -eu
cd "$(dirname "$0")/../.."
status=0

complain() {
    echo "layers: $1"
    status=1
}

# The folders whose headers each folder may include, beside its own.
below() {
    case $1 in
    .) echo "daemon probe config http2 echo net base" ;;
    daemon) echo "conn config net base" ;;
    probe) echo "echo config net base" ;;
    conn) echo "http2 echo config net base" ;;
    http2) echo "echo base" ;;
    echo) echo "net base" ;;
    config) echo "net base" ;;
    net) echo "base" ;;
    base) echo "" ;;
    *) echo "?" ;;
    esac
}

for file in src/*.[ch] src/*/*.[ch]; do
    folder=$(dirname "${file#src/}")
    may=" $(below "$folder") $folder "
    [ "$(below "$folder")" != "?" ] || complain "$file: its folder is not in the table of tests/lint/layers.sh"
    for header in $(sed -n 's/^#include "\(.*\)"$/\1/p' "$file"); do
        case $may in
        *" $(dirname "$header") "*) ;;
        *) [ "$header" = detected.h ] || complain "$file may not include $header" ;;
        esac
    done
done

# only PATTERN FILE...: the pattern may stand in these files of src/ and in no other.
only() {
    pattern=$1
    shift
    for file in src/*.[ch] src/*/*.[ch]; do
        case " $* " in
        *" ${file#src/} "*) ;;
        *) if grep -nE "$pattern" "$file"; then complain "$file: $pattern is for $* alone"; fi ;;
        esac
    done
}

only '<nghttp2/|nghttp2_[a-z]+\(' http2/session.c http2/field_section.c http2/field_section.h http2/trace.c probe/client.c
only '\bnghttp2_hd_' http2/trace.c
only '<jansson\.h>|json_[a-z]+\(' echo/echo.c echo/detail.c conn/access_log.c
only '<openssl/|\b(SSL|BIO|EVP|X509)_[A-Za-z0-9_]+\(' net/tls.c net/certificate.c
only '<getopt\.h>|getopt(_long)?\(' config/settings.c
only '\b(recv|send|recvmsg|sendmsg|shutdown)\(' net/transport.c
only '\b(bind|listen)\(' net/listener.c
only '\baccept4?\(' daemon/server.c
only '\bpthread_(create|join|kill)\(' daemon/worker.c
only '<signal\.h>' daemon/server.c daemon/terminal.c daemon/worker.c
only '\bclock_gettime\(' base/clock.c
only '\bstderr\b|STDERR_FILENO' base/log.c base/log.h
only '\b(getenv|setenv|unsetenv)\(' base/log.c daemon/notify.c
only '\bsendto\(' daemon/notify.c

exit $status
