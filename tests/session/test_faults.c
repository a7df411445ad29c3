/*
 * The n-th allocation fails, for every n until a whole script of requests runs through: no crash,
 * no leak, no answer that is wrong; the session goes on, or is done.
 *
 * Our own objects reach malloc and its like through the linker's --wrap, nghttp2 through our own
 * and jansson through its hooks; all of them count down together.
 */
#include "base/arena.h"
#include "echo/client_frames.h"
#include "echo/detail.h"
#include "echo/echo.h"
#include "echo/field_list.h"
#include "session/peer.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* --- Memory that runs out --- */

static struct arena arena; /* of no memory: every block is malloc's */

enum mode { FAIL_ONCE, FAIL_FROM_THEN_ON };

static struct {
    size_t left; /* allocations that succeed before one fails; SIZE_MAX = all */
    enum mode mode;
    bool failed;
    size_t live; /* blocks that were not freed yet */
} memory = {.left = SIZE_MAX};

static bool runs_out(void)
{
    if (memory.left == SIZE_MAX)
        return false;
    if (memory.left > 0) {
        memory.left--;
        return false;
    }
    if (memory.failed && memory.mode == FAIL_ONCE)
        return false;
    memory.failed = true;
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);
int __real_nghttp2_option_new(nghttp2_option **option);
int __real_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *block);
int __wrap_nghttp2_option_new(nghttp2_option **option);
int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);

static void *counted(void *block)
{
    if (block)
        memory.live++;
    return block;
}

void *__wrap_malloc(size_t size)
{
    return runs_out() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return runs_out() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    void *block;

    if (runs_out())
        return NULL;
    block = __real_realloc(old, size);
    return old ? block : counted(block);
}

void __wrap_free(void *block)
{
    if (block)
        memory.live--;
    __real_free(block);
}

/* nghttp2 allocates these two past nghttp2_mem. */
int __wrap_nghttp2_option_new(nghttp2_option **option)
{
    return runs_out() ? NGHTTP2_ERR_NOMEM : __real_nghttp2_option_new(option);
}

int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks)
{
    return runs_out() ? NGHTTP2_ERR_NOMEM : __real_nghttp2_session_callbacks_new(callbacks);
}

/* --- echo --- */

static bool echo_add_text(struct echo *echo, const char *name, const char *value)
{
    return echo_add(echo, (struct echo_key){(void *)name, (void *)value}, (const uint8_t *)name,
                    strlen(name), (const uint8_t *)value, strlen(value));
}

/* Names that come twice, values that are Latin-1 or grow when escaped, more than the first room. */
static bool fill_echo(struct echo *echo, size_t names)
{
    static char large[5000];
    static char name[][4] = {"c", "d", "e"};

    memset(large, '"', sizeof(large) - 1);
    for (int i = 0; i < 3; i++) {
        if (!echo_add_text(echo, "a", large) || !echo_add_text(echo, "cookie", "\xff") ||
            !echo_add_text(echo, "b", "\xc3\xa4"))
            return false;
    }
    for (size_t i = 0; i < names; i++)
        if (!echo_add_text(echo, name[i % 3], "value"))
            return false;
    return true;
}

static bool copy_echo(struct echo *echo, const struct echo *from)
{
    for (size_t i = 0; i < from->field_count; i++)
        if (!echo_copy(echo, from, &from->fields[i]))
            return false;
    return true;
}

/* Return the body of so many fields that were copied; NULL if memory ran out. */
static struct echo_body *build_body(size_t names)
{
    struct echo_body *body = NULL;
    struct echo first;
    struct echo second;

    echo_start(&first, &arena, true);
    echo_start(&second, &arena, true);
    if (fill_echo(&first, names) && copy_echo(&second, &first))
        body = echo_compose(&second);
    echo_free(&first);
    echo_free(&second);
    return body;
}

static void check_echo(size_t names)
{
    struct echo_body *whole = build_body(names);
    size_t live = memory.live;
    size_t n;

    assert_non_null(whole);
    memory.failed = true;
    for (n = 0; memory.failed; n++) {
        struct echo_body *body;

        memory.failed = false;
        memory.left = n;
        body = build_body(names);
        memory.left = SIZE_MAX;
        assert_true(memory.failed == (body == NULL));
        if (body != NULL) {
            assert_int_equal(body->length, whole->length);
            assert_memory_equal(body->text, whole->text, whole->length);
        }
        echo_body_drop(&arena, body);
        assert_int_equal(memory.live, live);
    }
    assert_true(n > 20);
    echo_body_drop(&arena, whole);
}

static void test_echo(void **state)
{
    (void)state;
    check_echo(20);
    check_echo(100); /* so many that they are sorted */
}

/* --- client_frames --- */

enum { SETTINGS_LENGTH = 12 };
/* So many that no more are kept. */
enum { SETTINGS_FRAMES = CLIENT_FRAMES_MAX / (WIRE_FRAME_HEADER_SIZE + SETTINGS_LENGTH) };

static bool add_settings(struct client_frames *client_frames, uint8_t content)
{
    uint8_t payload[SETTINGS_LENGTH];

    memset(payload, content, sizeof(payload));
    if (!client_frames_add(client_frames, &arena,
                           &(struct frame_header){sizeof(payload), 0, NGHTTP2_SETTINGS, 0}))
        return false;
    client_frames_receive(client_frames, payload, sizeof(payload));
    return true;
}

/* All that was added, and nothing else. */
static void check_settings(const struct client_frames *client_frames, const uint8_t *contents,
                           size_t count)
{
    struct client_frame frame;
    size_t place = 0;

    for (size_t i = 0; i < count; i++) {
        assert_true(client_frames_next(client_frames, &place, &frame));
        assert_int_equal(frame.payload.length, SETTINGS_LENGTH);
        for (size_t at = 0; at < SETTINGS_LENGTH; at++)
            assert_int_equal(frame.payload.bytes[at], contents[i]);
    }
    assert_false(client_frames_next(client_frames, &place, &frame));
    assert_int_equal(client_frames->left_out, 0);
}

/* A frame for which there is no memory is told, and the others stay as they are. */
static void test_advert(void **state)
{
    size_t live = memory.live;
    size_t n;

    (void)state;
    memory.mode = FAIL_ONCE;
    memory.failed = true;
    for (n = 0; memory.failed; n++) {
        uint8_t contents[SETTINGS_FRAMES];
        struct client_frames client_frames = {0};
        size_t count = 0;

        memory.failed = false;
        memory.left = n;
        for (uint8_t i = 0; i < SETTINGS_FRAMES; i++) {
            if (add_settings(&client_frames, i))
                contents[count++] = i;
        }
        memory.left = SIZE_MAX;
        assert_int_equal(count, SETTINGS_FRAMES - memory.failed);
        check_settings(&client_frames, contents, count);
        client_frames_free(&client_frames, &arena);
        assert_int_equal(memory.live, live);
    }
    assert_true(n > 4);
}

/* --- detail --- */

static struct field_list *detailed_fields(void)
{
    static const struct field_list_entry entries[] = {
        {{(const uint8_t *)":method", 7}, {(const uint8_t *)"HEAD", 4}, false},
        {{(const uint8_t *)"priority", 8}, {(const uint8_t *)"u=1", 3}, false},
        {{(const uint8_t *)"x", 1}, {(const uint8_t *)"\xff", 1}, true},
        {{(const uint8_t *)"x", 1}, {(const uint8_t *)"\xc3\xa4\"", 3}, true},
    };
    struct field_list *fields = field_list_new(&arena, COUNT(entries), 28);

    assert_non_null(fields);
    for (size_t i = 0; i < COUNT(entries); i++)
        field_list_add(fields, &entries[i]);
    assert_int_equal(fields->length, 28);
    return fields;
}

static void add_frame(struct client_frames *client_frames, uint8_t type, const char *payload,
                      size_t length)
{
    assert_true(
        client_frames_add(client_frames, &arena, &(struct frame_header){length, 0, type, 0}));
    client_frames_receive(client_frames, (const uint8_t *)payload, length);
}

static void check_detail(const struct detail *detail)
{
    struct echo_body *whole = detail_compose(&arena, detail);
    size_t live = memory.live;
    size_t n;

    assert_non_null(whole);
    memory.failed = true;
    for (n = 0; memory.failed; n++) {
        struct echo_body *body;

        memory.failed = false;
        memory.left = n;
        body = detail_compose(&arena, detail);
        memory.left = SIZE_MAX;
        assert_true(memory.failed == (body == NULL));
        if (body != NULL) {
            assert_int_equal(body->length, whole->length);
            assert_memory_equal(body->text, whole->text, whole->length);
        }
        echo_body_drop(&arena, body);
        assert_int_equal(memory.live, live);
    }
    assert_true(n > 200);
    echo_body_drop(&arena, whole);
}

/* The whole of it, or nothing. */
static void test_detail(void **state)
{
    static const struct detail_reports reports = {.count = 2, .latest = {{1, "one"}, {3, "two"}}};
    struct field_list *fields = detailed_fields();
    struct client_frames client_frames = {0};
    struct detail detail = {
        .origin = {.id = 1, .protocol = "h2c", .peer = "peer", .local = "local"},
        .fields = fields,
        .trailers = fields,
        .content_length = 5,
        .dependency = {1, 16, true},
        .client_frames = &client_frames,
        .reports = &reports,
        .head = true,
    };

    (void)state;
    add_frame(&client_frames, NGHTTP2_SETTINGS, "\0\4\0\0\0\1\x13\x37\0\0\0\1", 12);
    add_frame(&client_frames, NGHTTP2_WINDOW_UPDATE, "\0\0\0\1", 4);
    add_frame(&client_frames, NGHTTP2_PRIORITY, "\0\0\0\1\7", 5);
    add_frame(&client_frames, NGHTTP2_SETTINGS, "\0\4\0\0\0\1\x13\x37\0\0\0\1", 12);
    add_frame(&client_frames, 0x10, "\0\0\0\1u=1", 7);
    add_frame(&client_frames, 0xaa, "unknown", 7);
    client_frames.left_out = 3;
    memory.mode = FAIL_ONCE;
    check_detail(&detail);
    memory.mode = FAIL_FROM_THEN_ON;
    detail.pretty = true;
    check_detail(&detail);
    memory.mode = FAIL_ONCE;
    client_frames_free(&client_frames, &arena);
    field_list_free(&arena, fields);
}

/* --- The script --- */

static const struct session_options options = {
    .max_concurrent_streams = 100,
    .max_header_list_size = 3000,
    .header_timeout_us = 10 * SECOND,
    .idle_timeout_us = 300 * SECOND,
    .stream_timeout_us = 30 * SECOND,
};

static void add_first_requests(struct bytes *bytes)
{
    static const struct field crumbs[] = {REQUEST_OF("GET", "/crumbs"), FIELD("cookie", "a"),
                                          FIELD("x", "\xff\"\\"), FIELD("cookie", "b")};
    static const struct field wrong[] = {REQUEST_OF("GET", "/wrong"), FIELD("connection", "x")};
    static const struct field incomplete[] = {FIELD(":method", "GET"), FIELD(":scheme", "http")};
    static const struct field expecting[] = {
        REQUEST_OF("PUT", "/"), FIELD("expect", "100-continue"), FIELD("content-length", "4")};

    frame_add_preface(bytes);
    frame_add_request(bytes, 1, END_STREAM, crumbs, COUNT(crumbs));
    frame_add_request(bytes, 3, END_STREAM, wrong, COUNT(wrong));
    frame_add_request(bytes, 5, END_STREAM, incomplete, COUNT(incomplete));
    frame_add_request(bytes, 7, 0, expecting, COUNT(expecting));
    frame_add(bytes, NGHTTP2_PING, 0, 0, "12345678", 8);
}

static void add_more_requests(struct bytes *bytes)
{
    static char value[2500];
    static const struct field head[] = {REQUEST_OF("HEAD", "/head")};
    static const struct field trailers[] = {FIELD("sum", "1")};
    static const struct field connect[] = {FIELD(":method", "CONNECT"), FIELD(":authority", "h")};
    struct field large[] = {REQUEST_OF("GET", "/large"),
                            {"x", 1, value, sizeof(value)},
                            {"y", 1, value, sizeof(value)}};

    memset(value, '"', sizeof(value));
    frame_add(bytes, NGHTTP2_DATA, 0, 7, "some", 4);
    frame_add_request(bytes, 7, END_STREAM, trailers, COUNT(trailers));
    frame_add_request(bytes, 9, END_STREAM, head, COUNT(head));
    frame_add_request(bytes, 11, 0, connect, COUNT(connect));
    frame_add_request(bytes, 13, END_STREAM, large, REQUEST_FIELDS + 1); /* an answer of 5 KB */
    frame_add_request(bytes, 15, END_STREAM, large, REQUEST_FIELDS + 2); /* 431 */
    frame_add_setting(bytes, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 100000);
    for (int32_t id = 17; id < 33; id += 2)
        frame_add_get(bytes, id, "/many");
    frame_add_reset(bytes, 31, NGHTTP2_CANCEL);
    frame_add_request(bytes, 33, 0, head, COUNT(head)); /* which the drain's timeouts reset */
}

/* Which calls for a GOAWAY. */
static void add_mistake(struct bytes *bytes)
{
    frame_add(bytes, NGHTTP2_DATA, 0, 0, "lost", 4);
}

/* As a literal that is never to be indexed (RFC 7541 section 6.2.3). */
static void block_add_never(struct bytes *block, const struct field *field)
{
    size_t at = block->length;

    block_add(block, field);
    block->data[at] |= 0x10;
}

/* Frames to be kept, fields never to be indexed, trailers; plain requests and HEAD in between. */
static void add_detailed_requests(struct bytes *bytes)
{
    static const struct field post[] = {REQUEST_OF("POST", "/"),
                                        FIELD("accept", DETAIL_MEDIA_TYPE)};
    static const struct field head[] = {REQUEST_OF("HEAD", "/"),
                                        FIELD("accept", DETAIL_MEDIA_TYPE)};
    static const struct field secret = FIELD("x", "\xff");
    struct bytes block = {0};
    struct bytes trailers = {0};

    for (size_t i = 0; i < COUNT(post); i++)
        block_add_never(&block, &post[i]);
    for (size_t i = 0; i < 20; i++)
        block_add_never(i < 10 ? &block : &trailers, &secret);
    frame_add_preface(bytes);
    for (uint16_t id = 0x1000; id < 0x100a; id++)
        frame_add_setting(bytes, id, id);
    for (int32_t id = 1; id < 7; id += 2) {
        frame_add_block(bytes, id, 0, &block, FRAME_PAYLOAD_MAX);
        frame_add(bytes, 0xaa, 0, id, "unknown", 7);
    }
    for (int32_t id = 1; id < 7; id += 2)
        frame_add_block(bytes, id, END_STREAM, &trailers, 100);
    frame_add_get(bytes, 7, "/plain");
    frame_add_request(bytes, 9, END_STREAM, head, COUNT(head));
    frame_add_block(bytes, 11, END_STREAM, &block, 100);
    bytes_free(&block);
    bytes_free(&trailers);
}

enum {
    STEPS = 3,
    WHOLE = 1 << 20,
    STREAMS = 17,
    DETAILED_STREAMS = 6,
    BODY_MAX = 8192,
    STREAM_RESET_BY_CLIENT = 31
};

enum ending { ENDS_WITH_DRAIN, ENDS_WITH_FAILURE, ENDS_WITH_MISTAKE };

/* What came out of a run. */
struct outcome {
    uint8_t out[1 << 17];
    size_t out_length;
    uint8_t bodies[STREAMS][BODY_MAX];
    size_t body_lengths[STREAMS];
    bool ended[STREAMS]; /* END_STREAM or RST_STREAM */
    bool told;           /* that memory ran out */
    bool made;           /* by session_new */
    bool done;
    bool failed;
};

static void count_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    struct outcome *outcome = argument;

    (void)level;
    (void)stream_id;
    if (strstr(text, "memory") || strstr(text, "INTERNAL_ERROR")) /* nghttp2's word for it */
        outcome->told = true;
}

static void ignore_request(const struct session_request *request, void *argument)
{
    (void)request;
    (void)argument;
}

static void describe(struct detail_origin *origin, void *argument)
{
    (void)argument;
    origin->id = 1;
    origin->protocol = "h2c";
    strcpy(origin->peer, "192.0.2.1:4000");
    strcpy(origin->local, "192.0.2.2:8080");
}

static void pull(struct session *session, struct instant now, struct outcome *outcome)
{
    enum { ROOM = 1000 };
    size_t length;

    do {
        assert_true(outcome->out_length + ROOM <= sizeof(outcome->out));
        length = session_send(session, now, outcome->out + outcome->out_length, ROOM);
        outcome->out_length += length;
    } while (length > 0);
}

static void give(struct session *session, struct instant now, const struct bytes *bytes,
                 size_t piece, struct outcome *outcome)
{
    for (size_t at = 0; at < bytes->length && !session_done(session);) {
        size_t left = bytes->length - at;

        at += session_receive(session, now, bytes->data + at, left < piece ? left : piece);
        pull(session, now, outcome);
    }
}

/* The drain's second, then the timeout of the stream that is left. */
static void drain(struct session *session, struct instant now, struct outcome *outcome)
{
    session_shutdown(session, now);
    pull(session, now, outcome);
    for (int i = 0; i < 2 && !session_done(session); i++) {
        now.monotonic_us += (i == 0 ? 1 : 40) * SECOND;
        session_expire(session, now);
        pull(session, now, outcome);
    }
}

/* What is given to a session, and the streams that are to end by it. */
struct script {
    struct bytes steps[STEPS];
    size_t streams;
    enum ending ending;
    bool upgraded; /* by the first step */
};

static void run_script(const struct script *script, size_t piece, struct outcome *outcome)
{
    struct session_observer observer = {.report = count_report,
                                        .request = ignore_request,
                                        .describe = describe,
                                        .argument = outcome};
    struct counters counters = {0};
    struct instant now = {.monotonic_us = SECOND, .unix_s = 784111777};
    struct session_memory from = {&arena, &arena};
    struct session_options with = options;
    struct session *session;

    with.upgraded = script->upgraded;
    session = session_new(&with, &observer, &counters, &from, now);
    outcome->made = session != NULL;
    if (!session)
        return;
    pull(session, now, outcome);
    if (script->upgraded) {
        session_upgrade(session, now, script->steps[0].data, script->steps[0].length);
        pull(session, now, outcome);
    }
    for (size_t i = script->upgraded; i < STEPS; i++)
        give(session, now, &script->steps[i], piece, outcome);
    if (script->ending == ENDS_WITH_DRAIN && !session_done(session)) {
        drain(session, now, outcome);
    } else if (script->ending == ENDS_WITH_FAILURE && !session_done(session)) {
        session_fail(session, SESSION_ENHANCE_YOUR_CALM, "the end");
        pull(session, now, outcome);
    }
    outcome->done = session_done(session);
    outcome->failed = session_failed(session);
    session_free(session);
}

static void read_frame(struct outcome *outcome, const uint8_t *frame, size_t length)
{
    size_t index = frame[8] / 2;

    assert_true(index < STREAMS);
    if (frame[3] == NGHTTP2_DATA) {
        assert_true(outcome->body_lengths[index] + length <= BODY_MAX);
        memcpy(outcome->bodies[index] + outcome->body_lengths[index],
               frame + WIRE_FRAME_HEADER_SIZE, length);
        outcome->body_lengths[index] += length;
    }
    if ((frame[3] <= NGHTTP2_HEADERS && frame[4] & END_STREAM) || frame[3] == NGHTTP2_RST_STREAM)
        outcome->ended[index] = true;
}

/* Only whole frames count: a session that ran out of memory may stop in the middle of one. */
static void read_frames(struct outcome *outcome)
{
    size_t at = 0;

    while (outcome->out_length - at >= WIRE_FRAME_HEADER_SIZE) {
        const uint8_t *frame = outcome->out + at;
        size_t length = (size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2];

        if (outcome->out_length - at < WIRE_FRAME_HEADER_SIZE + length)
            break;
        read_frame(outcome, frame, length);
        at += WIRE_FRAME_HEADER_SIZE + length;
    }
}

/* Nothing wrong was said; and where the session did not fail, nothing is missing. */
static void check_outcome(const struct outcome *outcome, const struct outcome *undisturbed,
                          size_t streams)
{
    assert_true(outcome->done);
    for (size_t i = 0; i < STREAMS; i++) {
        assert_true(outcome->body_lengths[i] <= undisturbed->body_lengths[i]);
        assert_memory_equal(outcome->bodies[i], undisturbed->bodies[i], outcome->body_lengths[i]);
        if (!outcome->failed && i < streams && i != STREAM_RESET_BY_CLIENT / 2)
            assert_true(outcome->ended[i]);
    }
}

static void check_script(const struct script *script, enum mode mode, size_t piece)
{
    static struct outcome undisturbed;
    static struct outcome outcome;
    size_t live = memory.live;
    size_t n;

    memset(&undisturbed, 0, sizeof(undisturbed));
    run_script(script, piece, &undisturbed);
    read_frames(&undisturbed);
    assert_int_equal(undisturbed.failed, script->ending != ENDS_WITH_DRAIN);
    check_outcome(&undisturbed, &undisturbed, script->streams);

    memory.mode = mode;
    memory.failed = true;
    for (n = 0; memory.failed; n++) {
        memset(&outcome, 0, sizeof(outcome));
        memory.failed = false;
        memory.left = n;
        run_script(script, piece, &outcome);
        memory.left = SIZE_MAX;
        assert_int_equal(memory.live, live);
        if (outcome.made) {
            read_frames(&outcome);
            check_outcome(&outcome, &undisturbed, script->streams);
            assert_true(!outcome.failed || undisturbed.failed || outcome.told);
        }
    }
    assert_int_equal(outcome.failed, undisturbed.failed);
    assert_true(n > 100);
}

static void script_free(struct script *script)
{
    for (size_t i = 0; i < STEPS; i++)
        bytes_free(&script->steps[i]);
}

static void check_plain(enum mode mode, size_t piece, enum ending ending)
{
    struct script script = {.streams = STREAMS, .ending = ending};

    add_first_requests(&script.steps[0]);
    add_more_requests(&script.steps[1]);
    if (ending == ENDS_WITH_MISTAKE)
        add_mistake(&script.steps[2]);
    check_script(&script, mode, piece);
    script_free(&script);
}

static void check_detailed(enum mode mode, size_t piece)
{
    struct script script = {.streams = DETAILED_STREAMS, .ending = ENDS_WITH_DRAIN};

    add_detailed_requests(&script.steps[0]);
    check_script(&script, mode, piece);
    script_free(&script);
}

/* The request is a detailed one, and its settings let little of its answer go out at first. */
static void check_upgraded(enum mode mode)
{
    static const struct field get[] = {REQUEST_OF("GET", "/one"),
                                       FIELD("accept", DETAIL_MEDIA_TYPE)};
    struct script script = {.streams = 2, .ending = ENDS_WITH_DRAIN, .upgraded = true};

    bytes_add(&script.steps[0], NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    frame_add_setting(&script.steps[0], NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 10);
    frame_add_request(&script.steps[0], 1, END_STREAM, get, COUNT(get));
    frame_add_setting(&script.steps[1], NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 10000);
    frame_add_get(&script.steps[1], 3, "/three");
    check_script(&script, mode, 100);
    script_free(&script);
}

static void test_one_failure(void **state)
{
    (void)state;
    check_plain(FAIL_ONCE, WHOLE, ENDS_WITH_DRAIN);
    check_plain(FAIL_ONCE, 100, ENDS_WITH_DRAIN);
    check_plain(FAIL_ONCE, WHOLE, ENDS_WITH_FAILURE);
    check_plain(FAIL_ONCE, WHOLE, ENDS_WITH_MISTAKE);
    check_detailed(FAIL_ONCE, WHOLE);
    check_detailed(FAIL_ONCE, 100);
    check_upgraded(FAIL_ONCE);
}

static void test_no_memory_from_then_on(void **state)
{
    (void)state;
    check_plain(FAIL_FROM_THEN_ON, WHOLE, ENDS_WITH_DRAIN);
    check_plain(FAIL_FROM_THEN_ON, 100, ENDS_WITH_DRAIN);
    check_plain(FAIL_FROM_THEN_ON, WHOLE, ENDS_WITH_FAILURE);
    check_plain(FAIL_FROM_THEN_ON, WHOLE, ENDS_WITH_MISTAKE);
    check_detailed(FAIL_FROM_THEN_ON, WHOLE);
    check_detailed(FAIL_FROM_THEN_ON, 100);
    check_upgraded(FAIL_FROM_THEN_ON);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_advert),
        cmocka_unit_test(test_detail),
        cmocka_unit_test(test_one_failure),
        cmocka_unit_test(test_no_memory_from_then_on),
    };

    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
