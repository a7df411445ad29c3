#include "faults/conversation.h"

#include "conn/upgrade.h"
#include "net/address.h"

#include <stdio.h>
#include <string.h>

/* --- What the client sends, and what it waits for --- */

const struct peer_response *conversation_response(const struct client *client, int32_t stream_id)
{
    return peer_response(client->peer, stream_id);
}

bool conversation_is_answered(const struct client *client, int32_t stream_id)
{
    return conversation_response(client, stream_id)->ended ||
           conversation_response(client, stream_id)->reset;
}

bool conversation_is_closed(const struct client *client)
{
    return client->closed;
}

static void send_first(struct client *client)
{
    static const struct field malformed[] = {REQUEST_OF("GET", "/"), FIELD("connection", "close")};
    static const struct field put[] = {REQUEST_OF("PUT", "/put"), FIELD("expect", "100-continue"),
                                       FIELD("content-length", "8")};
    struct bytes *out = &client->peer->out;

    frame_add_preface(out);
    frame_add_setting(out, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW);
    frame_add_get(out, ONE, "/one");
    frame_add_request(out, MALFORMED, END_STREAM, malformed, COUNT(malformed));
    frame_add_request(out, PUT, 0, put, COUNT(put));
    frame_add(out, NGHTTP2_PING, 0, 0, "the ping", 8);
}

static bool got_first(const struct client *client)
{
    return conversation_is_answered(client, ONE) && conversation_is_answered(client, MALFORMED) &&
           (conversation_response(client, PUT)->continue_count > 0 ||
            conversation_is_answered(client, PUT)) &&
           client->peer->ping_ack_count > 0;
}

/* A request whose answer is larger than the stream's window. */
static void add_long_request(struct bytes *out, int32_t stream_id)
{
    static char value[4 * WINDOW];
    struct field fields[] = {REQUEST_OF("GET", "/long"), {"x", 1, value, sizeof(value)}};

    memset(value, '"', sizeof(value));
    frame_add_request(out, stream_id, END_STREAM, fields, COUNT(fields));
}

static void send_content(struct client *client)
{
    static const struct field trailers[] = {FIELD("sum", "1")};
    struct bytes *out = &client->peer->out;

    frame_add(out, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    frame_add(out, NGHTTP2_DATA, 0, PUT, "some", 4);
    frame_add(out, NGHTTP2_DATA, 0, PUT, "more", 4);
    frame_add_request(out, PUT, END_STREAM, trailers, COUNT(trailers));
    add_long_request(out, LONG);
    add_long_request(out, DROPPED);
}

static bool got_window(const struct client *client, int32_t stream_id)
{
    return conversation_response(client, stream_id)->body.length >= WINDOW ||
           conversation_is_answered(client, stream_id);
}

static bool got_content(const struct client *client)
{
    return conversation_is_answered(client, PUT) && got_window(client, LONG) &&
           got_window(client, DROPPED);
}

void conversation_send_nothing(struct client *client)
{
    (void)client;
}

/* After a second without input the connection releases idle memory. */
static bool is_idle_memory_released(const struct client *client)
{
    (void)client;
    return faults_logged(FAULTS_CONNECTION, "idle: memory released") > 0;
}

void conversation_send_window(struct client *client)
{
    struct bytes *out = &client->peer->out;

    frame_add_reset(out, DROPPED, NGHTTP2_CANCEL);
    frame_add_window(out, LONG, 16 * WINDOW);
}

static bool got_long(const struct client *client)
{
    return conversation_is_answered(client, LONG);
}

static void send_many(struct client *client)
{
    static char value[3 * 1024];
    static const struct field head[] = {REQUEST_OF("HEAD", "/head"), FIELD("cookie", "a"),
                                        FIELD("x", "\xff\"\\"), FIELD("cookie", "b")};
    struct field huge[] = {
        REQUEST_OF("GET", "/huge"), {"x", 1, value, sizeof(value)}, {"y", 1, value, sizeof(value)}};
    struct bytes *out = &client->peer->out;

    memset(value, 'v', sizeof(value));
    frame_add_request(out, HEAD, END_STREAM, head, COUNT(head));
    frame_add_request(out, HUGE, END_STREAM, huge, COUNT(huge));
    for (int32_t id = MANY; id <= LAST; id += 2)
        frame_add_get(out, id, "/many");
}

static bool got_many(const struct client *client)
{
    for (int32_t id = HEAD; id <= LAST; id += 2)
        if (!conversation_is_answered(client, id))
            return false;
    return true;
}

static void send_end(struct client *client)
{
    client_shutdown_write(client);
}

static void check_all(const struct client *client)
{
    static const char put[] = "{\":method\": \"PUT\", \":path\": \"/put\", \":scheme\": \"http\", "
                              "\":authority\": \"h\", \"expect\": \"100-continue\", "
                              "\"content-length\": \"8\"}";
    const struct peer *peer = client->peer;

    peer_check_get(peer, ONE, "/one");
    peer_check_reset(peer, MALFORMED, NGHTTP2_PROTOCOL_ERROR);
    peer_check_answer(peer, PUT, put, sizeof(put) - 1);
    assert_int_equal(conversation_response(client, PUT)->continue_count, 1);
    assert_true(conversation_response(client, LONG)->ended);
    assert_true(conversation_response(client, LONG)->body.length > 8 * WINDOW);
    assert_int_equal(conversation_response(client, DROPPED)->body.length, WINDOW);
    assert_int_equal(conversation_response(client, HEAD)->status, 200);
    peer_check_refused(peer, HUGE, 431);
    for (int32_t id = MANY; id <= LAST; id += 2)
        peer_check_get(peer, id, "/many");
    assert_int_equal(peer->goaway_count, 0);
}

void conversation_send_one(struct client *client)
{
    frame_add_preface(&client->peer->out);
    frame_add_get(&client->peer->out, ONE, "/one");
}

static bool got_one(const struct client *client)
{
    return conversation_is_answered(client, ONE);
}

/* A protocol error of the client: DATA on stream 0. */
static void send_mistake(struct client *client)
{
    frame_add(&client->peer->out, NGHTTP2_DATA, 0, 0, "lost", 4);
}

static void check_goaway(const struct client *client)
{
    assert_int_equal(client->peer->goaway_count, 1);
    assert_int_equal(client->peer->goaways[0].code, NGHTTP2_PROTOCOL_ERROR);
}

static void send_garbage(struct client *client)
{
    bytes_add(&client->peer->out, "EHLO h\r\n", 8);
}

/* The host is the address of the daemon, which the answer names if the field was not received in
 * time, so that the answer is always the same. */
static void send_http1(struct client *client)
{
    struct address local = {.length = sizeof(local.storage)};
    char text[ADDRESS_TEXT_MAX];
    char request[ADDRESS_TEXT_MAX + 64];
    int length;

    assert_int_equal(getpeername(client->fd, (struct sockaddr *)&local.storage, &local.length), 0);
    length = snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n",
                      address_text(text, &local));
    bytes_add(&client->peer->out, request, (size_t)length);
}

static void check_505(const struct client *client)
{
    assert_true(client->raw.length > 12);
    assert_memory_equal(client->raw.data, "HTTP/1.1 505", 12);
}

static void check_426(const struct client *client)
{
    assert_true(client->raw.length > 12);
    assert_memory_equal(client->raw.data, "HTTP/1.1 426", 12);
}

/* The client sends nothing more until it has the 101. */
static void send_upgrade(struct client *client)
{
    static const char head[] = "GET /one HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n"
                               "Connection: Upgrade, HTTP2-Settings\r\n"
                               "HTTP2-Settings: AAMAAABk\r\n\r\n";

    bytes_add(&client->peer->out, head, sizeof(head) - 1);
    client->skip = strlen(upgrade_accepted);
    client->peer->opens_windows = false;
}

static void send_second(struct client *client)
{
    frame_add_preface(&client->peer->out);
    frame_add_get(&client->peer->out, SECOND_GET, "/second");
}

static bool got_second(const struct client *client)
{
    return conversation_is_answered(client, SECOND_GET);
}

static void check_upgraded(const struct client *client)
{
    assert_memory_equal(client->raw.data, upgrade_accepted, strlen(upgrade_accepted));
    peer_check_get(client->peer, ONE, "/one");
    peer_check_get(client->peer, SECOND_GET, "/second");
    assert_int_equal(client->peer->settings_ack_count, 1);
    assert_int_equal(client->peer->goaway_count, 0);
}

static void send_client_hello(struct client *client)
{
    bytes_add(&client->peer->out, "\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03", 11);
}

static void check_alert(const struct client *client)
{
    assert_int_equal(client->raw.length, 7);
    assert_memory_equal(client->raw.data, "\x15\x03\x01\x00\x02\x02\x0a", 7);
}

/* --- The conversations --- */

static const struct conversation requests = {
    .name = "requests",
    .over = OVER_EACH,
    .is_http2 = true,
    .check = check_all,
    .steps = {{send_first, got_first, 0},
              {send_content, got_content, 0},
              {conversation_send_nothing, is_idle_memory_released, SECOND / 2},
              {conversation_send_window, got_long, 0},
              {send_many, got_many, 0},
              {send_end, conversation_is_closed, 0}},
};

static const struct conversation mistake = {
    .name = "mistake",
    .over = OVER_EACH,
    .is_http2 = true,
    .handshake_faults = true,
    .check = check_goaway,
    .steps = {{conversation_send_one, got_one, 0}, {send_mistake, conversation_is_closed, 0}},
};

static const struct conversation garbage = {
    .name = "garbage",
    .over = OVER_EACH,
    .is_http2 = true,
    .check = check_goaway,
    .steps = {{send_garbage, conversation_is_closed, 0}},
};

static const struct conversation http1 = {
    .name = "http1",
    .over = OVER_TCP,
    .check = check_426,
    .steps = {{send_http1, conversation_is_closed, 0}},
};

static const struct conversation http1_in_tls = {
    .name = "http1 in TLS",
    .over = OVER_TLS,
    .check = check_505,
    .steps = {{send_http1, conversation_is_closed, 0}},
};

static const struct conversation http1_for_tls = {
    .name = "http1 on the TLS port",
    .over = OVER_TLS,
    .is_cleartext = true,
    .check = check_505,
    .steps = {{send_http1, conversation_is_closed, 0}},
};

static const struct conversation http2_for_tls = {
    .name = "http2 on the TLS port",
    .over = OVER_TLS,
    .is_cleartext = true,
    .is_http2 = true,
    .check = check_goaway,
    .steps = {{conversation_send_one, conversation_is_closed, 0}},
};

static const struct conversation upgrade = {
    .name = "upgrade",
    .over = OVER_TCP,
    .is_http2 = true,
    .check = check_upgraded,
    .steps = {{send_upgrade, got_one, 0},
              {send_second, got_second, 0},
              {send_end, conversation_is_closed, 0}},
};

const struct conversation conversation_client_hello = {
    .name = "ClientHello",
    .over = OVER_EACH,
    .check = check_alert,
    .steps = {{send_client_hello, conversation_is_closed, 0}},
};

const struct conversation *const conversations[CONVERSATIONS] = {
    &requests,      &mistake,      &garbage,
    &http1,         &http1_in_tls, &http1_for_tls,
    &http2_for_tls, &upgrade,      &conversation_client_hello};

const struct conversation_step conversation_unfinished[] = {
    {send_first, got_first, 0}, {send_content, got_content, 0}, {NULL, NULL, 0}};

/* --- Running a conversation --- */

void conversation_run_steps(struct client *client, const struct conversation_step *steps)
{
    for (const struct conversation_step *step = steps; step->send && !client->closed; step++) {
        step->send(client);
        client_send(client);
        client_wait_until(client, step->is_done, step->advance_us);
    }
}

struct client *conversation_connect(const struct daemon *daemon,
                                    const struct conversation *conversation)
{
    struct client *client = client_connect(daemon);

    client->is_http2 = conversation->is_http2;
    if (conversation->is_cleartext) {
        tls_client_free(client->tls);
        client->tls = NULL;
    }
    return client;
}

struct client *conversation_run(const struct daemon *daemon,
                                const struct conversation *conversation)
{
    struct client *client = conversation_connect(daemon, conversation);

    conversation_run_steps(client, conversation->steps);
    return client;
}

static bool is_handshake_logged(const struct client *client)
{
    (void)client;
    return faults_logged(FAULTS_CONNECTION, "ALPN") > 0;
}

void conversation_handshake(struct client *client)
{
    if (client->tls == NULL)
        return;
    client_send(client);
    client_wait_until(client, is_handshake_logged, 0);
}

/* --- Comparing with an undisturbed conversation --- */

static void check_same_fields(const struct peer_response *a, const struct peer_response *b)
{
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->field_count, b->field_count);
    for (size_t i = 0; i < a->field_count; i++) {
        assert_string_equal(a->fields[i].name, b->fields[i].name);
        assert_string_equal(a->fields[i].value, b->fields[i].value);
    }
}

/* What was received of the response is right. */
static void check_part(const struct peer_response *response, const struct peer_response *expected)
{
    assert_true(response->continue_count <= expected->continue_count);
    if (response->status != 0)
        check_same_fields(response, expected);
    assert_true(response->body.length <= expected->body.length);
    if (response->body.length > 0)
        assert_memory_equal(response->body.data, expected->body.data, response->body.length);
    if (response->ended)
        assert_int_equal(response->body.length, expected->body.length);
}

static void check_whole(const struct peer_response *response, const struct peer_response *expected)
{
    check_part(response, expected);
    assert_int_equal(response->continue_count, expected->continue_count);
    assert_int_equal(response->status, expected->status);
    assert_int_equal(response->body.length, expected->body.length);
    assert_int_equal(response->ended, expected->ended);
    assert_int_equal(response->reset, expected->reset);
    assert_int_equal(response->reset_code, expected->reset_code);
}

void conversation_check_part(const struct client *client, const struct client *expected)
{
    for (size_t i = 0; i < client->peer->response_count; i++) {
        const struct peer_response *each = &client->peer->responses[i];

        check_part(each, conversation_response(expected, each->stream_id));
    }
    if (!client->is_http2) {
        assert_true(client->raw.length <= expected->raw.length);
        if (client->raw.length > 0)
            assert_memory_equal(client->raw.data, expected->raw.data, client->raw.length);
    }
}

void conversation_check_same(const struct client *client, const struct client *expected)
{
    const struct peer *got = client->peer;
    const struct peer *want = expected->peer;

    conversation_check_part(client, expected);
    assert_int_equal(client->raw.length, expected->raw.length);
    assert_int_equal(got->in.length, 0);
    assert_int_equal(got->response_count, want->response_count);
    for (size_t i = 0; i < want->response_count; i++)
        check_whole(conversation_response(client, want->responses[i].stream_id),
                    &want->responses[i]);
    assert_int_equal(got->ping_ack_count, want->ping_ack_count);
    assert_int_equal(got->settings_ack_count, want->settings_ack_count);
    assert_int_equal(got->window, want->window);
    assert_int_equal(got->goaway_count, want->goaway_count);
    for (size_t i = 0; i < want->goaway_count; i++)
        assert_int_equal(got->goaways[i].code, want->goaways[i].code);
}
