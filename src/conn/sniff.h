/*
 * preface: who knocks? A connection's first bytes tell the protocol; the wrong one gets words that
 * it understands. Pure: bytes in, a verdict or bytes out.
 */
#ifndef H2ECHOD_CONN_SNIFF_H
#define H2ECHOD_CONN_SNIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sniffed {
    SNIFFED_INCOMPLETE, /* the bytes so far are the beginning of more than one */
    SNIFFED_HTTP2,      /* the 24 bytes of RFC 9113 section 3.4; more may follow them */
    SNIFFED_HTTP1,      /* an HTTP/1.x request line (RFC 9112 section 3) */
    SNIFFED_TLS,        /* the beginning of a TLS ClientHello record */
    SNIFFED_UNKNOWN,    /* nothing of these */
};

enum {
    SNIFF_LINE_MAX = 8192,   /* bytes of the longest request line that is recognised */
    HTTP1_ANSWER_MAX = 1024, /* bytes that hold any answer below */
    TLS_ALERT_SIZE = 7,
};

/* Why an HTTP/1.x request is not answered as it would like. */
struct http1_refusal {
    int status;         /* 400, 426, 431 or 505; 0 = it is */
    const char *reason; /* with the section of the RFC; static */
};

/* The alert unexpected_message, fatal, as a record (RFC 8446 section 6): what a TLS client that
 * meets a cleartext port understands. */
extern const uint8_t sniff_tls_alert[TLS_ALERT_SIZE];

/*
 * sniff_protocol(bytes, length):
 * Tell the protocol by the first ${length} bytes of a connection. SNIFFED_INCOMPLETE is returned
 * for fewer than SNIFF_LINE_MAX bytes alone.
 */
enum sniffed sniff_protocol(const uint8_t *bytes, size_t length);

/* Where a request for HTTP/1 came to. */
struct http1_endpoint {
    const char *authority; /* "127.0.0.1:8080" */
    const char *unix_path; /* NULL = TCP */
    bool is_tls;
};

/*
 * http1_answer_write(answer, refusal, request, length, place):
 * Write the whole HTTP/1.1 response that tells of ${refusal}, to ${request}, ${length} bytes that
 * sniff_protocol found to begin with a request line. Its text names the command that works: for the
 * authority of the request's Host field where that is harmless, else for the place's; through its
 * Unix path where it has one ("PATH" if a shell would not take it as it is). A HEAD request gets no
 * body. Return the response's length, less than HTTP1_ANSWER_MAX.
 */
size_t http1_answer_write(char answer[static HTTP1_ANSWER_MAX], const struct http1_refusal *refusal,
                          const uint8_t *request, size_t length,
                          const struct http1_endpoint *place);

#endif
