#!/bin/sh
# Holds the layering: which file in src/ may include which of the project's headers, and which file
# alone may touch a library or a part of the system. src/README.md shows the picture.
set -eu
cd "$(dirname "$0")/../.."
status=0

complain() {
    echo "layers: $1"
    status=1
}

# What each module may include of the project, its own header aside. Every arrow points down.
allowed() {
    case $1 in
    main) echo "echo listener log notify probe server session settings tls" ;;
    server) echo "clock listener log notify settings terminal worker" ;;
    worker) echo "address arena clock connection counters log" ;;
    connection) echo "access life opening" ;;
    opening) echo "life preface upgrade" ;;
    life) echo "address arena clock counters log session settings trace transport" ;;
    probe) echo "client clock echo log setting settings transport url" ;;
    access) echo "clock log session" ;;
    listener) echo "address log settings" ;;
    session) echo "advert allowance arena clock counters detail detected fields framing initial_window log past refusal section" ;;
    settings) echo "file log tls" ;;
    tls) echo "certificate file log" ;;
    certificate) echo "interfaces log" ;;
    transport) echo "tls" ;;
    address | client | notify) echo "log" ;;
    trace) echo "log setting" ;;
    log) echo "allowance clock" ;;
    preface) echo "token" ;;
    refusal) echo "authority token" ;;
    upgrade) echo "authority framing preface token" ;;
    section) echo "arena echo fields wishes" ;;
    detail) echo "advert arena echo fields framing setting tls wishes" ;;
    advert) echo "arena framing" ;;
    initial_window) echo "framing" ;;
    fields) echo "arena" ;;
    echo) echo "arena" ;;
    allowance | arena | authority | clock | counters | file | framing | interfaces | past | setting | terminal | token | url | wishes) echo "" ;;
    *) echo "?" ;;
    esac
}

for file in src/*.[ch]; do
    module=$(basename "${file%.*}")
    may=" $(allowed "$module") $module "
    [ "$(allowed "$module")" != "?" ] || complain "$file: not in the table of tests/lint/layers.sh"
    headers=$(sed -n 's/^#include "\(.*\)\.h"$/\1/p' "$file")
    for header in $headers; do
        case $may in
        *" $header "*) ;;
        *) complain "$file may not include $header.h" ;;
        esac
    done
done

# only PATTERN FILE...: the pattern may stand in these files of src/ and in no other.
only() {
    pattern=$1
    shift
    for file in src/*.[ch]; do
        case " $* " in
        *" $(basename "$file") "*) ;;
        *) if grep -nE "$pattern" "$file"; then complain "$file: $pattern is for $* alone"; fi ;;
        esac
    done
}

only '<nghttp2/|nghttp2_[a-z]+\(' session.c section.c section.h trace.c client.c
only '\bnghttp2_hd_' trace.c
only '<jansson\.h>|json_[a-z]+\(' echo.c access.c detail.c
only '<openssl/|\b(SSL|BIO|EVP|X509)_[A-Za-z0-9_]+\(' tls.c certificate.c
only '<getopt\.h>|getopt(_long)?\(' settings.c
only '\b(recv|send|recvmsg|sendmsg|shutdown)\(' transport.c
only '\b(bind|listen)\(' listener.c
only '\baccept4?\(' server.c
only '\bpthread_(create|join|kill)\(' worker.c
only '<signal\.h>' server.c terminal.c worker.c
only '\bclock_gettime\(' clock.c
only '\bstderr\b|STDERR_FILENO' log.c log.h
only '\b(getenv|setenv|unsetenv)\(' log.c notify.c
only '\bsendto\(' notify.c

exit $status
