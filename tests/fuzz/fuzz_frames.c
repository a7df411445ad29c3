/*
 * The input is a script. Each step sends a frame that is well-formed by itself, with fields encoded
 * by HPACK, so that code is reached for which arbitrary bytes would not get past the parsers.
 */
#include "base/arena.h"
#include "echo/detail.h"
#include "http2/session.h"

#include <nghttp2/nghttp2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 1 << 16 };

struct script {
    const uint8_t *data;
    size_t size;
    nghttp2_hd_deflater *deflater;
    uint8_t out[OUT_MAX];
    size_t out_length;
};

static uint8_t next(struct script *script)
{
    if (script->size == 0)
        return 0;
    script->size--;
    return *script->data++;
}

static void put(struct script *script, const void *bytes, size_t length)
{
    if (length > OUT_MAX - script->out_length)
        return;
    if (length > 0)
        memcpy(script->out + script->out_length, bytes, length);
    script->out_length += length;
}

static void put_frame(struct script *script, uint8_t type, uint8_t flags, uint32_t stream_id,
                      const void *payload, size_t length)
{
    const uint8_t header[9] = {(uint8_t)(length >> 16),
                               (uint8_t)(length >> 8),
                               (uint8_t)length,
                               type,
                               flags,
                               (uint8_t)(stream_id >> 24),
                               (uint8_t)(stream_id >> 16),
                               (uint8_t)(stream_id >> 8),
                               (uint8_t)stream_id};

    put(script, header, sizeof(header));
    put(script, payload, length);
}

static nghttp2_nv field(const char *name, const uint8_t *value, size_t length)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), length, 0};
}

/* Send a request with the usual pseudo-header fields, and fields that the script chooses. It may
 * ask for the detailed response, and its fields may be never-indexed ones. */
static void put_headers(struct script *script, uint32_t stream_id)
{
    static const char *const names[] = {"cookie",  "te",     "host",           "expect",
                                        "x",       "accept", "content-length", "connection",
                                        ":method", ":path",  "priority",       "UPPER"};
    static const uint8_t type[] = DETAIL_MEDIA_TYPE;
    nghttp2_nv fields[13];
    size_t count = 0;
    uint8_t block[4096];
    uint8_t choice = next(script);
    ssize_t length;

    if ((choice & 1) == 0) {
        fields[count++] = field(":method", (const uint8_t *)"GET", 3);
        fields[count++] = field(":scheme", (const uint8_t *)"http", 4);
        fields[count++] = field(":path", (const uint8_t *)"/", 1);
        fields[count++] = field(":authority", (const uint8_t *)"h", 1);
    }
    for (int i = next(script) % 8; i > 0; i--) {
        const char *name = names[next(script) % (sizeof(names) / sizeof(names[0]))];
        size_t value = next(script) % 64;

        if (value > script->size)
            value = script->size;
        fields[count++] = field(name, script->data, value);
        script->data += value;
        script->size -= value;
    }
    if ((choice & 0x20) != 0)
        fields[count++] = field("accept", type, sizeof(type) - 1);
    for (size_t i = 0; i < count && (choice & 0x40) != 0; i++)
        fields[i].flags = NGHTTP2_NV_FLAG_NO_INDEX;
    length = nghttp2_hd_deflate_hd(script->deflater, block, sizeof(block), fields, count);
    if (length >= 0)
        put_frame(script, NGHTTP2_HEADERS, (uint8_t)(choice >> 1 | NGHTTP2_FLAG_END_HEADERS) & 5,
                  stream_id, block, (size_t)length);
}

static void put_step(struct script *script)
{
    static const uint8_t zeros[256];
    uint8_t kind = next(script);
    uint32_t stream_id = next(script) % 32;
    uint8_t argument = next(script);
    uint8_t word[4] = {argument & 0x80 ? 0x7f : 0, 0, next(script), argument};
    uint8_t setting[6] = {0, kind >> 4, word[0], word[1], word[2], word[3]};

    switch (kind % 8) {
    case 0:
    case 1:
        put_headers(script, stream_id);
        return;
    case 2:
        put_frame(script, NGHTTP2_DATA, kind >> 4 & 1, stream_id, zeros, argument);
        return;
    case 3:
        put_frame(script, NGHTTP2_RST_STREAM, 0, stream_id, word, sizeof(word));
        return;
    case 4:
        put_frame(script, NGHTTP2_WINDOW_UPDATE, 0, stream_id, word, sizeof(word));
        return;
    case 5:
        put_frame(script, NGHTTP2_SETTINGS, 0, 0, setting, sizeof(setting));
        return;
    case 6:
        put_frame(script, NGHTTP2_PING, kind >> 4 & 1, 0, zeros, 8);
        return;
    default:
        put_frame(script, argument, kind, stream_id, zeros, word[2] % 64);
    }
}

static void ignore_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    (void)level;
    (void)stream_id;
    (void)text;
    (void)argument;
}

static void ignore_request(const struct session_request *request, void *argument)
{
    (void)argument;
    if (request->method_length > SESSION_METHOD_MAX || request->path_length > SESSION_PATH_MAX)
        abort();
}

static void describe(struct detail_origin *origin, void *argument)
{
    (void)argument;
    *origin = (struct detail_origin){.id = 1, .protocol = "h2c"};
}

static void pump(struct session *session, struct instant now, struct script *script)
{
    uint8_t buffer[4096];
    size_t taken = 0;

    do {
        taken += session_receive(session, now, script->out + taken, script->out_length - taken);
        while (session_send(session, now, buffer, sizeof(buffer)) > 0)
            continue;
    } while (taken < script->out_length);
    script->out_length = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static const struct session_options options = {
        .max_concurrent_streams = 4,
        .max_header_list_size = 1024,
        .header_timeout_us = 10000000,
        .idle_timeout_us = 300000000,
        .stream_timeout_us = 30000000,
        .pretty = true,
    };
    static struct arena arena; /* has no memory, so that AddressSanitizer checks each block */
    static const struct session_memory memory = {&arena, &arena};
    static const struct session_observer observer = {
        .report = ignore_report, .request = ignore_request, .describe = describe};
    static struct script script;
    struct counters counters = {0};
    struct instant now = {.monotonic_us = 1000000};
    struct session *session = session_new(&options, &observer, &counters, &memory, now);

    script.data = data;
    script.size = size;
    script.out_length = 0;
    if (session == NULL || nghttp2_hd_deflate_new(&script.deflater, 4096) != 0)
        abort();
    put(&script, preface, sizeof(preface) - 1);
    while (script.size > 0 && !session_done(session)) {
        uint8_t pause = next(&script);

        for (int steps = pause % 4; steps >= 0; steps--)
            put_step(&script);
        pump(session, now, &script);
        now.monotonic_us += (int64_t)(pause / 4) * 1000000;
        session_expire(session, now);
        if (pause / 4 % 2 == 1)
            session_release_idle_memory(session);
        if (pause == 0)
            session_shutdown(session, now);
    }
    nghttp2_hd_deflate_del(script.deflater);
    session_free(session);
    return 0;
}
