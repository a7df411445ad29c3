/*
 * wire: the constants of HTTP/2's framing layer, and the fixed-size parts of its frames.
 *
 * Everything that reads or writes frames without nghttp2 takes its numbers from here. The code that
 * includes nghttp2 may use NGHTTP2_* instead, but not both in one file. Pure.
 */
#ifndef H2ECHOD_BASE_WIRE_H
#define H2ECHOD_BASE_WIRE_H

#include <stdbool.h>
#include <stdint.h>

/* Sizes in bytes. */
enum {
    WIRE_PREFACE_SIZE = 24,     /* what a client begins with (RFC 9113 section 3.4) */
    WIRE_FRAME_HEADER_SIZE = 9, /* RFC 9113 section 4.1 */
    WIRE_STREAM_ID_SIZE = 4,    /* also in PUSH_PROMISE and PRIORITY_UPDATE */
    WIRE_DEPENDENCY_SIZE = 5,   /* the payload of PRIORITY; HEADERS may begin with it */
    WIRE_RST_STREAM_SIZE = 4,
    WIRE_SETTING_SIZE = 6, /* one entry of SETTINGS */
    WIRE_PING_SIZE = 8,
    WIRE_GOAWAY_SIZE = 8, /* without the debug data */
    WIRE_WINDOW_UPDATE_SIZE = 4,
    WIRE_DEFAULT_MAX_FRAME_SIZE = 16384, /* of a payload (RFC 9113 section 6.5.2) */
};

/* RFC 9113 section 6.9.1. */
#define WIRE_WINDOW_MAX INT32_MAX

/* Frame types: RFC 9113 section 6, RFC 7838, RFC 8336, RFC 9218. Not every nghttp2 has all. */
enum wire_type {
    WIRE_DATA = 0x00,
    WIRE_HEADERS = 0x01,
    WIRE_PRIORITY = 0x02,
    WIRE_RST_STREAM = 0x03,
    WIRE_SETTINGS = 0x04,
    WIRE_PUSH_PROMISE = 0x05,
    WIRE_PING = 0x06,
    WIRE_GOAWAY = 0x07,
    WIRE_WINDOW_UPDATE = 0x08,
    WIRE_CONTINUATION = 0x09,
    WIRE_ALTSVC = 0x0a,
    WIRE_ORIGIN = 0x0c,
    WIRE_PRIORITY_UPDATE = 0x10,
};

enum wire_flag {
    WIRE_FLAG_END_STREAM = 0x01,
    WIRE_FLAG_ACK = 0x01,
    WIRE_FLAG_END_HEADERS = 0x04,
    WIRE_FLAG_PADDED = 0x08,
    WIRE_FLAG_PRIORITY = 0x20,
};

/* Those SETTINGS parameters that the code looks at. */
enum wire_setting_id { WIRE_SETTING_INITIAL_WINDOW_SIZE = 0x4 };

/* Error codes (RFC 9113 section 7) that the code looks at. */
enum wire_error {
    WIRE_NO_ERROR = 0x0,
    WIRE_FLOW_CONTROL_ERROR = 0x3,
    WIRE_STREAM_CLOSED = 0x5,
    WIRE_FRAME_SIZE_ERROR = 0x6,
    WIRE_REFUSED_STREAM = 0x7,
    WIRE_COMPRESSION_ERROR = 0x9,
};

/* An entry of a SETTINGS frame (RFC 9113 section 6.5.1). */
struct wire_setting {
    uint16_t id;
    uint32_t value;
};

/* A stream dependency in PRIORITY or HEADERS (RFC 7540 section 5.3, deprecated by RFC 9113). */
struct wire_dependency {
    int32_t stream_id;
    int weight; /* 1 to 256 */
    bool exclusive;
};

/* What a client begins with, as a string. */
extern const char wire_preface[WIRE_PREFACE_SIZE + 1];

/*
 * wire_read_u16(bytes), wire_read_u32(bytes):
 * Return the number in network byte order that ${bytes} begins with.
 */
static inline uint16_t wire_read_u16(const uint8_t bytes[static 2])
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline uint32_t wire_read_u32(const uint8_t bytes[static 4])
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/*
 * wire_read_u31(bytes):
 * As wire_read_u32, without the first bit: it is reserved in stream ids and window increments (RFC
 * 9113 sections 4.1 and 6.9).
 */
static inline int32_t wire_read_u31(const uint8_t bytes[static 4])
{
    return (int32_t)(wire_read_u32(bytes) & INT32_MAX);
}

/*
 * wire_write_u32(bytes, number):
 * Write ${number} into ${bytes} in network byte order.
 */
static inline void wire_write_u32(uint8_t bytes[static 4], uint32_t number)
{
    bytes[0] = (uint8_t)(number >> 24);
    bytes[1] = (uint8_t)(number >> 16);
    bytes[2] = (uint8_t)(number >> 8);
    bytes[3] = (uint8_t)number;
}

/*
 * wire_read_setting(entry):
 * Return what an entry of a SETTINGS frame says.
 */
static inline struct wire_setting wire_read_setting(const uint8_t entry[static WIRE_SETTING_SIZE])
{
    return (struct wire_setting){wire_read_u16(entry), wire_read_u32(entry + 2)};
}

/*
 * wire_read_dependency(payload):
 * Return what the payload of PRIORITY, or the beginning of that of HEADERS with the flag PRIORITY,
 * says.
 */
static inline struct wire_dependency
wire_read_dependency(const uint8_t payload[static WIRE_DEPENDENCY_SIZE])
{
    return (struct wire_dependency){
        .stream_id = wire_read_u31(payload),
        .weight = payload[WIRE_STREAM_ID_SIZE] + 1,
        .exclusive = payload[0] >> 7 != 0,
    };
}

/*
 * wire_setting_name(id):
 * Return the name of a SETTINGS parameter without "SETTINGS_" before it (RFC 9113 section 6.5.2,
 * RFC 8441, RFC 9218), NULL if it has none. The string is static.
 */
const char *wire_setting_name(uint16_t id);

#endif
