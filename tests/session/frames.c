#include "session/frames.h"

#include <stdlib.h>
#include <string.h>

uint64_t peer_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

void *checked_realloc(void *old, size_t size)
{
    void *memory = realloc(old, size);

    assert_non_null(memory);
    return memory;
}

void *list_grow(void *list, size_t count, size_t size)
{
    bool is_full = (count & (count - 1)) == 0; /* 0, or a power of two */

    return is_full ? checked_realloc(list, (count == 0 ? 1 : 2 * count) * size) : list;
}

size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

void bytes_add(struct bytes *bytes, const void *data, size_t length)
{
    if (length == 0)
        return;
    if (bytes->capacity - bytes->length < length) {
        bytes->capacity = 2 * (bytes->length + length);
        bytes->data = checked_realloc(bytes->data, bytes->capacity);
    }
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

void bytes_fill(struct bytes *bytes, uint8_t value, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes_add(bytes, &value, 1);
}

void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

struct field field_of(const char *name, const char *value)
{
    return (struct field){name, strlen(name), value, strlen(value)};
}

void write_u32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

uint32_t read_u32(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

void frame_add(struct bytes *bytes, uint8_t type, uint8_t flags, int32_t stream_id,
               const void *payload, size_t length)
{
    uint8_t header[WIRE_FRAME_HEADER_SIZE];

    write_u32(header, (uint32_t)length << 8 | type);
    header[4] = flags;
    write_u32(header + 5, (uint32_t)stream_id);
    bytes_add(bytes, header, sizeof(header));
    bytes_add(bytes, payload, length);
}

void frame_add_preface(struct bytes *bytes)
{
    bytes_add(bytes, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    frame_add(bytes, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

void frame_add_setting(struct bytes *bytes, uint16_t id, uint32_t value)
{
    uint8_t payload[6] = {(uint8_t)(id >> 8), (uint8_t)id};

    write_u32(payload + 2, value);
    frame_add(bytes, NGHTTP2_SETTINGS, 0, 0, payload, sizeof(payload));
}

void frame_add_window(struct bytes *bytes, int32_t stream_id, uint32_t increment)
{
    uint8_t payload[4];

    write_u32(payload, increment);
    frame_add(bytes, NGHTTP2_WINDOW_UPDATE, 0, stream_id, payload, sizeof(payload));
}

void frame_add_reset(struct bytes *bytes, int32_t stream_id, uint32_t code)
{
    uint8_t payload[4];

    write_u32(payload, code);
    frame_add(bytes, NGHTTP2_RST_STREAM, 0, stream_id, payload, sizeof(payload));
}

/* Append a string literal without Huffman code: its length as an integer with a 7-bit prefix, then
 * its bytes (RFC 7541 sections 5.1 and 5.2). */
static void block_add_string(struct bytes *block, const char *string, size_t length)
{
    uint8_t byte = length < 127 ? (uint8_t)length : 127;
    size_t left = length - byte;

    bytes_add(block, &byte, 1);
    if (byte == 127) {
        for (; left >= 128; left /= 128) {
            byte = (uint8_t)(left % 128 + 128);
            bytes_add(block, &byte, 1);
        }
        byte = (uint8_t)left;
        bytes_add(block, &byte, 1);
    }
    bytes_add(block, string, length);
}

void block_add(struct bytes *block, const struct field *field)
{
    bytes_add(block, "", 1);
    block_add_string(block, field->name, field->name_length);
    block_add_string(block, field->value, field->value_length);
}

void block_add_indexed(struct bytes *block, const struct field *field)
{
    size_t at = block->length;

    block_add(block, field);
    block->data[at] |= 0x40;
}

void block_add_never_indexed(struct bytes *block, const struct field *field)
{
    size_t at = block->length;

    block_add(block, field);
    block->data[at] |= 0x10;
}

void frame_add_block(struct bytes *bytes, int32_t stream_id, uint8_t flags,
                     const struct bytes *block, size_t piece)
{
    uint8_t type = NGHTTP2_HEADERS;
    size_t given = 0;

    do {
        size_t length = min_size(piece, block->length - given);

        if (given + length == block->length)
            flags |= END_HEADERS;
        frame_add(bytes, type, flags, stream_id, block->data + given, length);
        given += length;
        type = NGHTTP2_CONTINUATION;
        flags = 0;
    } while (given < block->length);
}

void frame_add_request(struct bytes *bytes, int32_t stream_id, uint8_t flags,
                       const struct field *fields, size_t count)
{
    struct bytes block = {0};

    for (size_t i = 0; i < count; i++)
        block_add(&block, &fields[i]);
    frame_add_block(bytes, stream_id, flags, &block, FRAME_PAYLOAD_MAX);
    bytes_free(&block);
}

void frame_add_get(struct bytes *bytes, int32_t stream_id, const char *path)
{
    struct field fields[] = {REQUEST_OF("GET", "")};

    fields[1] = field_of(":path", path);
    frame_add_request(bytes, stream_id, END_STREAM, fields, COUNT(fields));
}
