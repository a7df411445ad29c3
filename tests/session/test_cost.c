/*
 * The memory that a session holds for requests: none after they are answered, and a bounded amount
 * while responses wait for their windows.
 */
#include "base/counters.h"
#include "session/peer.h"

#include <malloc.h>
#include <string.h>

static void ignore_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    (void)level;
    (void)stream_id;
    (void)text;
    (void)argument;
}

struct bare {
    struct session *session;
    struct counters counters;
    struct arena arena; /* without memory of its own: all blocks come from malloc */
    struct instant now;
    int32_t id;
    size_t sent;
};

static void bare_send(struct bare *bare, struct bytes *bytes)
{
    uint8_t buffer[16384];
    size_t length;

    session_receive(bare->session, bare->now, bytes->data, bytes->length);
    while ((length = session_send(bare->session, bare->now, buffer, sizeof(buffer))) > 0)
        bare->sent += length;
    assert_false(session_failed(bare->session));
    bytes->length = 0;
}

static void describe(struct detail_origin *origin, void *argument)
{
    (void)argument;
    origin->protocol = "h2c";
}

static void bare_open(struct bare *bare)
{
    static const struct session_observer observer = {.report = ignore_report, .describe = describe};
    struct session_options options = peer_options;
    struct session_memory memory = {&bare->arena, &bare->arena};
    struct bytes out = {0};

    *bare = (struct bare){.now = {.monotonic_us = SECOND, .unix_s = 784111777}, .id = 1};
    options.max_header_list_size = 1 << 20;
    bare->session = session_new(&options, &observer, &bare->counters, &memory, bare->now);
    frame_add_preface(&out);
    frame_add(&out, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    frame_add_setting(&out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff);
    frame_add_window(&out, 0, 0x7f000000);
    bare_send(bare, &out);
    bytes_free(&out);
}

static void bare_request(struct bare *bare, const struct bytes *block)
{
    struct bytes out = {0};

    frame_add_block(&out, bare->id, END_STREAM, block, FRAME_PAYLOAD_MAX);
    bare->id += 2;
    bare_send(bare, &out);
    bytes_free(&out);
}

static void start_get_block(struct bytes *block)
{
    static const char get[] = "\x82\x84\x86\x01\x01h";

    block->length = 0;
    bytes_add(block, get, sizeof(get) - 1);
}

/* Fail unless the memory of a large request, with ${count} times the encoded field ${field}, is
 * freed after some further requests, without session_release_idle_memory. */
static void check_released(const char *asking, const char field[static 4], int count)
{
    struct bare bare;
    struct bytes block = {0};
    size_t before;
    size_t after;

    bare_open(&bare);
    start_get_block(&block);
    bare_request(&bare, &block);
    bytes_free(&block);
    before = mallinfo2().uordblks;
    start_get_block(&block);
    bytes_add(&block, asking, strlen(asking));
    for (int i = 0; i < count; i++)
        bytes_add(&block, field, 4);
    bare_request(&bare, &block);
    bytes_free(&block);
    start_get_block(&block);
    for (int i = 0; i < 10; i++)
        bare_request(&bare, &block);
    bytes_free(&block);
    after = mallinfo2().uordblks;
    if (after > before + 64 * 1024)
        fail_msg("%zu KiB are kept, no stream is open", (after - before) / 1024);
    session_free(bare.session);
}

static void test_large_request_is_released(void **state)
{
    (void)state;
    check_released("", "\0\1a\0", 1900);
    check_released("", "\0\1a\0", 30000);
    check_released("", "\x10\1a\0", 30000); /* never indexed */
}

static void test_large_detailed_request_is_released(void **state)
{
    static const char asking[] = "\x53\x1c" DETAIL_MEDIA_TYPE;

    (void)state;
    check_released(asking, "\0\1a\0", 30000);
    check_released(asking, "\x10\1a\0", 30000);
}

/* Detailed answers that wait for their windows hold no more than the documented maximum, even if
 * the requests have trailers as large as their fields. */
static void test_waiting_detailed_answers(void **state)
{
    enum { STREAMS = 4, LIMIT = 1 << 20, MARGIN = 64 * 1024 };
    static const char head[] = "\x83\x84\x86\x01\x01h\x0f\x04\x1c" DETAIL_MEDIA_TYPE;
    static const char field[] =
        "\0\1a\x7f\x41"; /* followed by 192 bytes, each of which takes two in JSON */
    struct bare bare;
    struct bytes fields = {0};
    struct bytes block = {0};
    struct bytes out = {0};
    size_t before;
    size_t held;

    (void)state;
    bare_open(&bare);
    frame_add_setting(&out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    bare_send(&bare, &out);
    for (size_t i = 0; i < (LIMIT - 300) / (1 + 192 + 32); i++) {
        bytes_add(&fields, field, sizeof(field) - 1);
        bytes_fill(&fields, 0xff, 192);
    }
    bytes_add(&block, head, sizeof(head) - 1);
    bytes_add(&block, fields.data, fields.length);
    bytes_fill(&out, 0, 4 * fields.length); /* allocate the buffer before the measurement */
    out.length = 0;
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (int32_t id = 1; id < 2 * STREAMS; id += 2) {
        frame_add_block(&out, id, 0, &block, FRAME_PAYLOAD_MAX);
        bare_send(&bare, &out);
    }
    for (int32_t id = 1; id < 2 * STREAMS; id += 2) {
        frame_add_block(&out, id, END_STREAM, &fields, FRAME_PAYLOAD_MAX);
        bare_send(&bare, &out);
    }
    held = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    assert_true(held <= STREAMS * (2 * LIMIT + LIMIT / 2) + MARGIN);
    assert_true(bare.sent < MARGIN);
    out.length = 0;
    frame_add_setting(&out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff);
    bare_send(&bare, &out);
    assert_true(bare.sent > STREAMS * LIMIT);
    bytes_free(&fields);
    bytes_free(&block);
    bytes_free(&out);
    session_free(bare.session);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_request_is_released),
        cmocka_unit_test(test_large_detailed_request_is_released),
        cmocka_unit_test(test_waiting_detailed_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
