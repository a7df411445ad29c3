/*
 * frames: HTTP/2 frames and header blocks written by hand, so that wrong ones can be written, too.
 */
#ifndef H2ECHOD_TESTS_SESSION_FRAMES_H
#define H2ECHOD_TESTS_SESSION_FRAMES_H

#include "base/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- Bytes --- */

/* A buffer that grows. All zero is a valid empty one. */
struct bytes {
    uint8_t *data;
    size_t length;
    size_t capacity;
};

void bytes_add(struct bytes *bytes, const void *data, size_t length);
void bytes_fill(struct bytes *bytes, uint8_t value, size_t length);
void bytes_free(struct bytes *bytes);

/* realloc that fails the test instead of returning NULL. */
void *checked_realloc(void *old, size_t size);

/* Make room for one more element in ${list}, which has ${count} elements of ${size} bytes and was
 * empty at first. Return the list. */
void *list_grow(void *list, size_t count, size_t size);

size_t min_size(size_t a, size_t b);

/* Return a pseudo-random number. The same seed gives the same numbers in every run. */
uint64_t peer_random(uint64_t *seed);

/* Big-endian numbers, as HTTP/2 has them. */
void write_u32(uint8_t *to, uint32_t value);
uint32_t read_u32(const uint8_t *from);

/* --- Fields --- */

struct field {
    const char *name;
    size_t name_length;
    const char *value;
    size_t value_length;
};

/* A field of two string literals, which may contain NUL. */
/* clang-format off */
#define FIELD(name, value) {(name), sizeof(name) - 1, (value), sizeof(value) - 1}
/* clang-format on */

/* A field of two strings, which must outlive it. */
struct field field_of(const char *name, const char *value);

/* The four fields of a request for the path ${target}. */
#define REQUEST_OF(method, target)                                                                 \
    FIELD(":method", method), FIELD(":path", target), FIELD(":scheme", "http"),                    \
        FIELD(":authority", "h")
#define REQUEST_FIELDS 4

/* Append a field as a literal without indexing and without Huffman code (RFC 7541 section 6.2.2);
 * with incremental indexing (section 6.2.1); never indexed (section 6.2.3). */
void block_add(struct bytes *block, const struct field *field);
void block_add_indexed(struct bytes *block, const struct field *field);
void block_add_never_indexed(struct bytes *block, const struct field *field);

/* --- Frames --- */

enum {
    END_STREAM = NGHTTP2_FLAG_END_STREAM,
    END_HEADERS = NGHTTP2_FLAG_END_HEADERS,
    FRAME_PAYLOAD_MAX = 16384,
};

void frame_add(struct bytes *bytes, uint8_t type, uint8_t flags, int32_t stream_id,
               const void *payload, size_t length);

/* The 24 bytes of the preface and an empty SETTINGS frame. */
void frame_add_preface(struct bytes *bytes);

void frame_add_setting(struct bytes *bytes, uint16_t id, uint32_t value);
void frame_add_window(struct bytes *bytes, int32_t stream_id, uint32_t increment);
void frame_add_reset(struct bytes *bytes, int32_t stream_id, uint32_t code);

/* A header block as HEADERS and as many CONTINUATION frames as it takes, each with at most ${piece}
 * bytes of it. */
void frame_add_block(struct bytes *bytes, int32_t stream_id, uint8_t flags,
                     const struct bytes *block, size_t piece);

/* HEADERS with these fields. */
void frame_add_request(struct bytes *bytes, int32_t stream_id, uint8_t flags,
                       const struct field *fields, size_t count);

/* A complete GET request for ${path} with the fields of REQUEST_OF. */
void frame_add_get(struct bytes *bytes, int32_t stream_id, const char *path);

#endif
