/* What a connection keeps of the requests before. */
#include "counters.h"
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
    struct arena arena; /* of no memory: all is malloc's */
    struct instant now;
    int32_t id;
};

static void bare_give(struct bare *bare, struct bytes *bytes)
{
    uint8_t buffer[16384];

    session_receive(bare->session, bare->now, bytes->data, bytes->length);
    while (session_send(bare->session, bare->now, buffer, sizeof(buffer)) > 0)
        continue;
    assert_false(session_failed(bare->session));
    bytes->length = 0;
}

static void bare_open(struct bare *bare)
{
    static const struct session_observer observer = {.report = ignore_report};
    struct session_memory memory = {&bare->arena, &bare->arena};
    struct bytes out = {0};

    *bare = (struct bare){.now = {.monotonic_us = SECOND, .unix_s = 784111777}, .id = 1};
    bare->session = session_new(&peer_options, &observer, &bare->counters, &memory, bare->now);
    frame_add_preface(&out);
    frame_add(&out, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    frame_add_setting(&out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff);
    frame_add_window(&out, 0, 0x7f000000);
    bare_give(bare, &out);
    bytes_free(&out);
}

static void bare_ask(struct bare *bare, const struct bytes *block)
{
    struct bytes out = {0};

    frame_add_block(&out, bare->id, END_STREAM, block, FRAME_PAYLOAD_MAX);
    bare->id += 2;
    bare_give(bare, &out);
    bytes_free(&out);
}

static void begin_block(struct bytes *block)
{
    static const char get[] = "\x82\x84\x86\x01\x01h";

    block->length = 0;
    bytes_add(block, get, sizeof(get) - 1);
}

/* What a large request took is not kept once it is answered and others have come, as long as the
 * client does not fall silent for a second. */
static void test_large_request_is_forgotten(void **state)
{
    struct bare bare;
    struct bytes block = {0};
    size_t before;
    size_t after;

    (void)state;
    bare_open(&bare);
    begin_block(&block);
    bare_ask(&bare, &block);
    before = mallinfo2().uordblks;
    for (int i = 0; i < 1900; i++)
        bytes_add(&block, "\0\1a\0", 4);
    bare_ask(&bare, &block);
    begin_block(&block);
    for (int i = 0; i < 10; i++)
        bare_ask(&bare, &block);
    after = mallinfo2().uordblks;
    if (after > before + 64 * 1024)
        fail_msg("%zu KiB are kept, no stream is open", (after - before) / 1024);
    bytes_free(&block);
    session_free(bare.session);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_large_request_is_forgotten)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
