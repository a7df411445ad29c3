/*
 * upgrade: an HTTP/1.1 request that asks for an Upgrade to h2c (RFC 7540 section 3.2), and its
 * translation into HTTP/2. Pure.
 *
 * The head is parsed strictly: anything that two implementations might read differently is refused,
 * so that the daemon cannot be used to smuggle a request past another server.
 */
#ifndef H2ECHOD_CONN_UPGRADE_H
#define H2ECHOD_CONN_UPGRADE_H

#include "base/span.h"
#include "conn/http1_answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UPGRADE_HEAD_MAX = 8192,    /* bytes of a request line and its fields */
    UPGRADE_FIELDS_MAX = 128,   /* number of fields */
    UPGRADE_SETTINGS_MAX = 192, /* bytes of SETTINGS payload: 32 settings, nghttp2's limit */
    UPGRADE_HTTP2_MAX = 10240,  /* bytes for any head, translated into HTTP/2 */
};

/* The response that switches to HTTP/2; a string. */
extern const char upgrade_accepted[];

/* Both parts point into the bytes of the head. */
struct upgrade_field {
    struct span name;
    struct span value; /* without white space around it */
};

enum upgrade_result {
    UPGRADE_INCOMPLETE, /* more bytes are needed */
    UPGRADE_COMPLETE,
    UPGRADE_REFUSED,
};

/* A request head, as far as it has been read. */
struct upgrade {
    size_t length;  /* bytes of complete lines */
    size_t scanned; /* bytes searched for the end of a line */
    struct span method;
    struct span path;
    struct span authority;            /* of a target in absolute form; bytes NULL = another form */
    const struct upgrade_field *host; /* NULL = not read yet */
    bool has_content;                 /* content-length is not 0 */
    bool has_content_length;
    bool has_transfer_encoding;
    bool has_settings;
    size_t settings_length;
    uint8_t settings[UPGRADE_SETTINGS_MAX];
    size_t field_count;
    struct upgrade_field fields[UPGRADE_FIELDS_MAX];
    struct http1_refusal refusal; /* status 0 = none so far */
};

/*
 * upgrade_start(upgrade):
 * Prepare ${upgrade} for reading a request.
 */
void upgrade_start(struct upgrade *upgrade);

/*
 * upgrade_read(upgrade, bytes, length):
 * Continue reading. ${bytes} is everything received so far, from the request line on, ${length}
 * bytes in all; it must stay at the same address for as long as ${upgrade} is used. Return
 *
 * - UPGRADE_COMPLETE if the first ${upgrade}->length bytes are a request that can be upgraded;
 * - UPGRADE_REFUSED, as early as possible, with the reason in ${upgrade}->refusal;
 * - UPGRADE_INCOMPLETE, only for fewer than UPGRADE_HEAD_MAX bytes.
 */
enum upgrade_result upgrade_read(struct upgrade *upgrade, const uint8_t *bytes, size_t length);

/*
 * upgrade_translate(upgrade, bytes):
 * Write what the client would have sent if it had started with HTTP/2 into ${bytes}: the preface,
 * its SETTINGS, and the request on stream 1 without connection-specific fields. ${upgrade} must be
 * complete. Return the length.
 */
size_t upgrade_translate(const struct upgrade *upgrade, uint8_t bytes[static UPGRADE_HTTP2_MAX]);

#endif
