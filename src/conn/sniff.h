/*
 * sniff: which protocol a client speaks, from the first bytes of a connection. Pure.
 */
#ifndef H2ECHOD_CONN_SNIFF_H
#define H2ECHOD_CONN_SNIFF_H

#include <stddef.h>
#include <stdint.h>

enum sniffed {
    SNIFFED_INCOMPLETE, /* more bytes are needed */
    SNIFFED_HTTP2,      /* the 24 bytes of RFC 9113 section 3.4, perhaps more after them */
    SNIFFED_HTTP1,      /* an HTTP/1.x request line (RFC 9112 section 3) */
    SNIFFED_TLS,        /* the start of a TLS handshake record */
    SNIFFED_UNKNOWN,    /* none of these */
};

enum {
    SNIFF_LINE_MAX = 8192, /* bytes of the longest request line that is recognised */
    SNIFF_TLS_ALERT_SIZE = 7,
};

/* The answer to a TLS handshake where none is expected: a record with the fatal alert
 * unexpected_message (RFC 8446 section 6.2). */
extern const uint8_t sniff_tls_alert[SNIFF_TLS_ALERT_SIZE];

/*
 * sniff_protocol(bytes, length):
 * Return the protocol of a connection whose first ${length} bytes are ${bytes}. SNIFFED_INCOMPLETE
 * is only returned for fewer than SNIFF_LINE_MAX bytes; any other result stays the same when more
 * bytes are added.
 */
enum sniffed sniff_protocol(const uint8_t *bytes, size_t length);

#endif
