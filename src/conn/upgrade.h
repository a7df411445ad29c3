/*
 * upgrade: the head of an HTTP/1.1 request that asks for h2c (RFC 7540 section 3.2), in the words
 * of HTTP/2.
 *
 * It is read strictly: what two readers might take for two things is refused, so that nobody can
 * use this one to smuggle a request past another. Pure: bytes in, a verdict, then bytes out.
 */
#ifndef H2ECHOD_CONN_UPGRADE_H
#define H2ECHOD_CONN_UPGRADE_H

#include "base/span.h"
#include "conn/sniff.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UPGRADE_HEAD_MAX = 8192,    /* bytes of a request line and its fields */
    UPGRADE_FIELDS_MAX = 128,   /* of them */
    UPGRADE_SETTINGS_MAX = 192, /* bytes of payload: 32 settings, as many as nghttp2 takes */
    UPGRADE_HTTP2_MAX = 10240,  /* bytes that hold any head in HTTP/2 */
};

/* The response that means "go on in HTTP/2"; a string. */
extern const char upgrade_accepted[];

/* Both are in the head's bytes. */
struct upgrade_field {
    struct span name;
    struct span value; /* without the white space around it */
};

enum upgrade_result {
    UPGRADE_INCOMPLETE, /* the head goes on */
    UPGRADE_COMPLETE,
    UPGRADE_REFUSED,
};

/* A head, as far as it has come. */
struct upgrade {
    size_t length;    /* bytes of its lines so far */
    size_t looked_at; /* bytes of all that were searched for a line's end */
    struct span method;
    struct span path;
    struct span authority;            /* of a target in absolute form; no bytes = another form */
    const struct upgrade_field *host; /* NULL = not seen */
    bool has_content;                 /* announced by content-length */
    bool has_content_length;
    bool has_transfer_encoding;
    bool has_settings;
    size_t settings_length;
    uint8_t settings[UPGRADE_SETTINGS_MAX];
    size_t field_count;
    struct upgrade_field fields[UPGRADE_FIELDS_MAX];
    struct http1_refusal refusal;
};

/*
 * upgrade_start(upgrade):
 * Expect a request line.
 */
void upgrade_start(struct upgrade *upgrade);

/*
 * upgrade_read(upgrade, bytes, length):
 * Read on. ${bytes} are all that have come, from the request line on, and stay where they are as
 * long as ${upgrade} is used. Return UPGRADE_COMPLETE if ${upgrade}->length of them are a head that
 * may be answered in HTTP/2; UPGRADE_REFUSED, as soon as it is known, with ${upgrade}->refusal;
 * UPGRADE_INCOMPLETE for fewer than UPGRADE_HEAD_MAX bytes alone.
 */
enum upgrade_result upgrade_read(struct upgrade *upgrade, const uint8_t *bytes, size_t length);

/*
 * upgrade_translate(upgrade, opening):
 * Write what the client would have sent had it begun with HTTP/2: the preface, its SETTINGS, and
 * the request on stream 1, of which connection-specific fields are left out. Return the length.
 */
size_t upgrade_translate(const struct upgrade *upgrade, uint8_t opening[static UPGRADE_HTTP2_MAX]);

#endif
