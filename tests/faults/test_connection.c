/*
 * A fault at every call that a connection makes, one call after the other, through whole
 * conversations over a real socket with the whole daemon: nothing leaks, no thread is stuck, and a
 * neighbour is served as if nothing had been. What the peer of the fault itself gets is right, and
 * all of it where the fault is one that can be made good.
 */
#include "conn/upgrade.h"
#include "echo/detail.h"
#include "faults/daemon.h"
#include "net/address.h"

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- What is said --- */

/* Some of a conversation: what is sent, and when there has been enough of an answer. */
struct step {
    void (*say)(struct client *client);
    bool (*is_enough)(const struct client *client);
    int64_t advance_us; /* that time flies by while it is waited */
};

enum {
    OVER_TCP = 1 << TRANSPORT_TCP,
    OVER_TLS = 1 << TRANSPORT_TLS,
    OVER_EACH = OVER_TCP | OVER_TLS
};

struct conversation {
    const char *name;
    unsigned over;
    bool is_bare; /* nothing of it is within TLS, whatever is expected */
    bool is_http2;
    void (*check)(const struct client *client); /* that what came undisturbed is right */
    struct step steps[8];
};

static const struct peer_response *response(const struct client *client, int32_t stream_id)
{
    return peer_response(client->peer, stream_id);
}

static bool is_settled(const struct client *client, int32_t stream_id)
{
    return response(client, stream_id)->ended || response(client, stream_id)->reset;
}

/* The daemon says no more before it is told that no more comes. */
static bool is_gone(const struct client *client)
{
    return client->closed;
}

enum {
    WINDOW = 1000,
    ONE = 1,
    MALFORMED = 3,
    SECOND_GET = 3,
    PUT = 5,
    LONG = 7,
    DROPPED = 9,
    HEAD = 11,
    HUGE = 13,
    MANY = 15,
    LAST = 29
};

static void say_first(struct client *client)
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

static bool has_first(const struct client *client)
{
    return is_settled(client, ONE) && is_settled(client, MALFORMED) &&
           (response(client, PUT)->continue_count > 0 || is_settled(client, PUT)) &&
           client->peer->ping_ack_count > 0;
}

/* Its answer is larger than what the client takes at first. */
static void add_long(struct bytes *out, int32_t stream_id)
{
    static char value[4 * WINDOW];
    struct field fields[] = {REQUEST_OF("GET", "/long"), {"x", 1, value, sizeof(value)}};

    memset(value, '"', sizeof(value));
    frame_add_request(out, stream_id, END_STREAM, fields, COUNT(fields));
}

static void say_content(struct client *client)
{
    static const struct field trailers[] = {FIELD("sum", "1")};
    struct bytes *out = &client->peer->out;

    frame_add(out, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    frame_add(out, NGHTTP2_DATA, 0, PUT, "some", 4);
    frame_add(out, NGHTTP2_DATA, 0, PUT, "more", 4);
    frame_add_request(out, PUT, END_STREAM, trailers, COUNT(trailers));
    add_long(out, LONG);
    add_long(out, DROPPED);
}

static bool has_window(const struct client *client, int32_t stream_id)
{
    return response(client, stream_id)->body.length >= WINDOW || is_settled(client, stream_id);
}

static bool has_content(const struct client *client)
{
    return is_settled(client, PUT) && has_window(client, LONG) && has_window(client, DROPPED);
}

static void say_nothing(struct client *client)
{
    (void)client;
}

/* Nothing comes for a while: the connection gives its memory back. */
static bool is_at_rest(const struct client *client)
{
    (void)client;
    return faults_logged(FAULTS_CONNECTION, "idle: memory released") > 0;
}

static void say_go_on(struct client *client)
{
    struct bytes *out = &client->peer->out;

    frame_add_reset(out, DROPPED, NGHTTP2_CANCEL);
    frame_add_window(out, LONG, 16 * WINDOW);
}

static bool has_long(const struct client *client)
{
    return is_settled(client, LONG);
}

static void say_many(struct client *client)
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

static bool has_many(const struct client *client)
{
    for (int32_t id = HEAD; id <= LAST; id += 2)
        if (!is_settled(client, id))
            return false;
    return true;
}

static void say_end(struct client *client)
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
    assert_int_equal(response(client, PUT)->continue_count, 1);
    assert_true(response(client, LONG)->ended);
    assert_true(response(client, LONG)->body.length > 8 * WINDOW);
    assert_int_equal(response(client, DROPPED)->body.length, WINDOW);
    assert_int_equal(response(client, HEAD)->status, 200);
    peer_check_refused(peer, HUGE, 431);
    for (int32_t id = MANY; id <= LAST; id += 2)
        peer_check_get(peer, id, "/many");
    assert_int_equal(peer->goaway_count, 0);
}

static void say_one(struct client *client)
{
    frame_add_preface(&client->peer->out);
    frame_add_get(&client->peer->out, ONE, "/one");
}

static bool has_one(const struct client *client)
{
    return is_settled(client, ONE);
}

/* A client's mistake ends it. */
static void say_wrong(struct client *client)
{
    frame_add(&client->peer->out, NGHTTP2_DATA, 0, 0, "lost", 4);
}

static void check_goaway(const struct client *client)
{
    assert_int_equal(client->peer->goaway_count, 1);
    assert_int_equal(client->peer->goaways[0].code, NGHTTP2_PROTOCOL_ERROR);
}

static void say_garbage(struct client *client)
{
    bytes_add(&client->peer->out, "EHLO h\r\n", 8);
}

/* The host is the one that the daemon would name by itself, should it not see the field in time. */
static void say_http1(struct client *client)
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

/* Of a client that says nothing more before its preface. */
static void say_upgrade(struct client *client)
{
    static const char head[] = "GET /one HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n"
                               "Connection: Upgrade, HTTP2-Settings\r\n"
                               "HTTP2-Settings: AAMAAABk\r\n\r\n";

    bytes_add(&client->peer->out, head, sizeof(head) - 1);
    client->skip = strlen(upgrade_accepted);
    client->peer->opens_windows = false;
}

static void say_second(struct client *client)
{
    frame_add_preface(&client->peer->out);
    frame_add_get(&client->peer->out, SECOND_GET, "/second");
}

static bool has_second(const struct client *client)
{
    return is_settled(client, SECOND_GET);
}

static void check_upgraded(const struct client *client)
{
    assert_memory_equal(client->raw.data, upgrade_accepted, strlen(upgrade_accepted));
    peer_check_get(client->peer, ONE, "/one");
    peer_check_get(client->peer, SECOND_GET, "/second");
    assert_int_equal(client->peer->settings_ack_count, 1);
    assert_int_equal(client->peer->goaway_count, 0);
}

static void say_tls(struct client *client)
{
    bytes_add(&client->peer->out, "\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03", 11);
}

static void check_alert(const struct client *client)
{
    assert_int_equal(client->raw.length, 7);
    assert_memory_equal(client->raw.data, "\x15\x03\x01\x00\x02\x02\x0a", 7);
}

static const struct conversation requests = {
    "requests",
    OVER_EACH,
    false,
    true,
    check_all,
    {{say_first, has_first, 0},
     {say_content, has_content, 0},
     {say_nothing, is_at_rest, SECOND / 2},
     {say_go_on, has_long, 0},
     {say_many, has_many, 0},
     {say_end, is_gone, 0}},
};

static const struct conversation mistake = {
    "mistake", OVER_EACH,    false,
    true,      check_goaway, {{say_one, has_one, 0}, {say_wrong, is_gone, 0}}};
static const struct conversation garbage = {"garbage", OVER_EACH,    false,
                                            true,      check_goaway, {{say_garbage, is_gone, 0}}};
static const struct conversation http1 = {"http1", OVER_TCP,  false,
                                          false,   check_426, {{say_http1, is_gone, 0}}};
static const struct conversation http1_in_tls = {
    "http1 in TLS", OVER_TLS, false, false, check_505, {{say_http1, is_gone, 0}}};
static const struct conversation http1_for_tls = {
    "http1 for TLS", OVER_TLS, true, false, check_505, {{say_http1, is_gone, 0}}};
static const struct conversation http2_for_tls = {
    "http2 for TLS", OVER_TLS, true, true, check_goaway, {{say_one, is_gone, 0}}};
static const struct conversation upgrade = {
    "upgrade",
    OVER_TCP,
    false,
    true,
    check_upgraded,
    {{say_upgrade, has_one, 0}, {say_second, has_second, 0}, {say_end, is_gone, 0}}};
static const struct conversation tls = {"tls", OVER_EACH,   false,
                                        false, check_alert, {{say_tls, is_gone, 0}}};

static const struct conversation *const conversations[] = {
    &requests,      &mistake,       &garbage, &http1, &http1_in_tls,
    &http1_for_tls, &http2_for_tls, &upgrade, &tls};

/* --- One conversation --- */

static void speak(struct client *client, const struct step *steps)
{
    for (const struct step *step = steps; step->say && !client->closed; step++) {
        step->say(client);
        client_send(client);
        client_wait_until(client, step->is_enough, step->advance_us);
    }
}

static struct client *connect_for(const struct daemon *daemon,
                                  const struct conversation *conversation)
{
    struct client *client = client_connect(daemon);

    client->is_http2 = conversation->is_http2;
    if (conversation->is_bare) {
        tls_client_free(client->tls);
        client->tls = NULL;
    }
    return client;
}

static struct client *converse(const struct daemon *daemon, const struct conversation *conversation)
{
    struct client *client = connect_for(daemon, conversation);

    speak(client, conversation->steps);
    return client;
}

static bool has_shaken_hands(const struct client *client)
{
    (void)client;
    return faults_logged(FAULTS_CONNECTION, "ALPN") > 0;
}

/* Where there is a handshake, wait until the daemon is done with it. */
static void shake_hands(struct client *client)
{
    if (client->tls == NULL)
        return;
    client_send(client);
    client_wait_until(client, has_shaken_hands, 0);
}

static void check_same_fields(const struct peer_response *a, const struct peer_response *b)
{
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->field_count, b->field_count);
    for (size_t i = 0; i < a->field_count; i++) {
        assert_string_equal(a->fields[i].name, b->fields[i].name);
        assert_string_equal(a->fields[i].value, b->fields[i].value);
    }
}

/* What there is of it is right. */
static void check_part(const struct peer_response *response, const struct peer_response *model)
{
    assert_true(response->continue_count <= model->continue_count);
    if (response->status != 0)
        check_same_fields(response, model);
    assert_true(response->body.length <= model->body.length);
    if (response->body.length > 0)
        assert_memory_equal(response->body.data, model->body.data, response->body.length);
    if (response->ended)
        assert_int_equal(response->body.length, model->body.length);
}

static void check_whole(const struct peer_response *response, const struct peer_response *model)
{
    check_part(response, model);
    assert_int_equal(response->continue_count, model->continue_count);
    assert_int_equal(response->status, model->status);
    assert_int_equal(response->body.length, model->body.length);
    assert_int_equal(response->ended, model->ended);
    assert_int_equal(response->reset, model->reset);
    assert_int_equal(response->reset_code, model->reset_code);
}

/* Nothing that the peer got is wrong. */
static void check_right(const struct client *client, const struct client *model)
{
    for (size_t i = 0; i < client->peer->response_count; i++) {
        const struct peer_response *each = &client->peer->responses[i];

        check_part(each, response(model, each->stream_id));
    }
    if (!client->is_http2) {
        assert_true(client->raw.length <= model->raw.length);
        if (client->raw.length > 0)
            assert_memory_equal(client->raw.data, model->raw.data, client->raw.length);
    }
}

/* The peer got what it would have got anyway. */
static void check_unnoticed(const struct client *client, const struct client *model)
{
    const struct peer *got = client->peer;
    const struct peer *due = model->peer;

    check_right(client, model);
    assert_int_equal(client->raw.length, model->raw.length);
    assert_int_equal(got->in.length, 0);
    assert_int_equal(got->response_count, due->response_count);
    for (size_t i = 0; i < due->response_count; i++)
        check_whole(response(client, due->responses[i].stream_id), &due->responses[i]);
    assert_int_equal(got->ping_ack_count, due->ping_ack_count);
    assert_int_equal(got->settings_ack_count, due->settings_ack_count);
    assert_int_equal(got->window, due->window);
    assert_int_equal(got->goaway_count, due->goaway_count);
    for (size_t i = 0; i < due->goaway_count; i++)
        assert_int_equal(got->goaways[i].code, due->goaways[i].code);
}

static bool is_unnoticed(const struct client *client, const struct client *model)
{
    return client->raw.length == model->raw.length;
}

/* --- The table --- */

enum outcome {
    UNNOTICED, /* the peer gets the same bytes */
    LOST,      /* the connection is over, and that was the network */
    SCARCE,    /* the connection is over or a stream is reset, and that was memory */
};

struct row {
    struct fault fault;
    enum outcome outcome;
};

enum { SLOWLY = 1000, SPIN = 1000 }; /* who looks at the clock so often waits for nothing */

static const struct row interruptions[] = {
    {{"recv EINTR", FAULTS_RECV, EINTR, 1, 0}, UNNOTICED},
    {{"recv EINTR thrice", FAULTS_RECV, EINTR, 3, 0}, UNNOTICED},
    {{"send EINTR", FAULTS_SEND, EINTR, 1, 0}, UNNOTICED},
    {{"send EINTR thrice", FAULTS_SEND, EINTR, 3, 0}, UNNOTICED},
    {{"slow send EINTR", FAULTS_SEND, EINTR, 1, SLOWLY}, UNNOTICED},
    {{"close EINTR", FAULTS_CLOSE, EINTR, 1, 0}, UNNOTICED},
    {{"log's poll EINTR", FAULTS_LOG_POLL, EINTR, 1, 0}, UNNOTICED},
    {{"log's write EINTR", FAULTS_LOG_WRITE, EINTR, 1, 0}, UNNOTICED},
};

static const struct row short_moves[] = {
    {{"recv of a byte", FAULTS_RECV, 0, 1, 0}, UNNOTICED},
    {{"recv by bytes", FAULTS_RECV, 0, FAULTS_FOR_EVER, 0}, UNNOTICED},
    {{"send of a byte", FAULTS_SEND, 0, 1, 0}, UNNOTICED},
    {{"send by bytes", FAULTS_SEND, 0, FAULTS_FOR_EVER, 0}, UNNOTICED},
};

static const struct row failures[] = {
    {{"recv ECONNRESET", FAULTS_RECV, ECONNRESET, 1, 0}, LOST},
    {{"recv ETIMEDOUT", FAULTS_RECV, ETIMEDOUT, 1, 0}, LOST},
    {{"send ECONNRESET", FAULTS_SEND, ECONNRESET, 1, 0}, LOST},
    {{"send EPIPE", FAULTS_SEND, EPIPE, 1, 0}, LOST},
    {{"send ETIMEDOUT", FAULTS_SEND, ETIMEDOUT, 1, 0}, LOST},
    {{"slow send ECONNRESET", FAULTS_SEND, ECONNRESET, 1, SLOWLY}, LOST},
    {{"shutdown ENOTCONN", FAULTS_SHUTDOWN, ENOTCONN, 1, 0}, UNNOTICED},
    {{"getsockname ENOBUFS", FAULTS_GETSOCKNAME, ENOBUFS, 1, 0}, UNNOTICED},
    {{"ioctl ENOTTY", FAULTS_IOCTL, ENOTTY, 1, SLOWLY}, UNNOTICED},
    {{"madvise ENOMEM", FAULTS_MADVISE, ENOMEM, 1, 0}, UNNOTICED},
};

static const struct row shortages[] = {
    {{"allocation fails", FAULTS_ALLOCATION, ENOMEM, 1, 0}, SCARCE},
    {{"allocations fail from then on", FAULTS_ALLOCATION, ENOMEM, FAULTS_FOR_EVER, 0}, SCARCE},
};

static const struct fault no_fault = {"none", FAULTS_RECV, EINTR, 0, 0};

/* The daemon's log tells who was hurt, and why. Where OpenSSL has other words for it, those are
 * told.
 */
static bool tells_scarcity(void)
{
    return faults_logged(FAULTS_CONNECTION, "memory") > 0 ||
           faults_logged(FAULTS_CONNECTION, "TLS handshake failed: ") > 0 ||
           faults_logged(FAULTS_CONNECTION, "TLS error: ") > 0 ||
           faults_logged(FAULTS_CONNECTION, "INTERNAL_ERROR") > 0; /* nghttp2's word for it */
}

static void check_outcome(const struct row *row, const struct client *client,
                          const struct client *model)
{
    check_right(client, model);
    if (row->outcome == UNNOTICED)
        check_unnoticed(client, model);
    else if (row->outcome == LOST)
        assert_int_equal(faults_logged(FAULTS_CONNECTION, "closed: "), 1);
    else if (!is_unnoticed(client, model))
        assert_true(tells_scarcity());
}

/* --- Every n --- */

struct scene {
    struct daemon daemon;
    struct client *neighbour;
    int32_t neighbour_stream;
};

static struct settings *usual_settings(void)
{
    return daemon_settings("--max-header-list-size=5K", "--header-timeout=1h", "--idle-timeout=1h",
                           "--stream-timeout=1h", "--drain-timeout=1h", NULL);
}

/* It asks so often that no window would do that does not grow. */
static void open_neighbour(struct scene *scene)
{
    scene->neighbour = client_connect(&scene->daemon);
    scene->neighbour_stream = 1;
    client_send_get(scene->neighbour, 1);
    frame_add_window(&scene->neighbour->peer->out, 0, INT32_MAX - NGHTTP2_INITIAL_WINDOW_SIZE);
    client_send(scene->neighbour);
    client_check_served(scene->neighbour, 1);
}

static void close_neighbour(struct scene *scene)
{
    client_shutdown_write(scene->neighbour);
    client_wait_until(scene->neighbour, is_gone, 0);
    client_free(scene->neighbour);
}

/* A handshake's allocations are many, and the same each time: they fail in one conversation. */
static bool begins_late(const struct conversation *conversation, const struct row *row)
{
    return row->outcome == SCARCE && conversation != &mistake;
}

/* A conversation with the fault at call n, while a neighbour is served. Return whether it struck.
 */
static bool try_call(struct scene *scene, const struct conversation *conversation,
                     const struct row *row, size_t n, const struct client *model)
{
    bool is_late = begins_late(conversation, row);
    struct faults_report report;
    struct client *client;

    scene->neighbour_stream += 2;
    faults_arm(FAULTS_CONNECTION, is_late ? &no_fault : &row->fault, n);
    client = connect_for(&scene->daemon, conversation);
    if (is_late) {
        shake_hands(client);
        faults_change(&row->fault, n);
    }
    speak(client, conversation->steps);
    client_send_get(scene->neighbour, scene->neighbour_stream);
    client_check_served(scene->neighbour, scene->neighbour_stream);
    client_shutdown_write(client);
    assert_true(faults_await_connection(&report));
    assert_int_equal(report.live, 0);
    assert_int_equal(report.closes, 1);
    assert_true(row->outcome == UNNOTICED || faults_count(FAULTS_CONNECTION, FAULTS_CLOCK) < SPIN);
    if (report.hit)
        check_outcome(row, client, model);
    else
        check_unnoticed(client, model);
    client_free(client);
    faults_advance(SECOND); /* so that the log may tell of the next */
    return report.hit;
}

static size_t try_every_call(struct scene *scene, const struct conversation *conversation,
                             const struct row *row)
{
    struct faults_report report;
    struct client *model;
    size_t n = 0;

    open_neighbour(scene);
    faults_arm(FAULTS_CONNECTION, &no_fault, 0);
    model = converse(&scene->daemon, conversation);
    conversation->check(model);
    client_shutdown_write(model);
    assert_true(faults_await_connection(&report));
    while (try_call(scene, conversation, row, n, model))
        n++;
    client_free(model);
    close_neighbour(scene);
    return n;
}

static void try_row(struct scene *scene, const struct row *row)
{
    size_t struck = 0;

    for (size_t i = 0; i < COUNT(conversations); i++)
        if ((conversations[i]->over & 1U << daemon_transport) != 0)
            struck += try_every_call(scene, conversations[i], row);
    print_message("%s: at %zu calls\n", row->fault.name, struck);
    assert_true(struck > 0);
}

static void try_rows(struct settings *settings, const struct row *rows, size_t count)
{
    static struct scene scene; /* not the stack's: a teardown stops what a failure leaves */

    daemon_start(&scene.daemon, settings);
    for (size_t i = 0; i < count; i++)
        try_row(&scene, &rows[i]);
    daemon_stop(&scene.daemon);
}

/* --- Every n of a drain --- */

static const struct step before_drain[] = {
    {say_first, has_first, 0}, {say_content, has_content, 0}, {NULL, NULL, 0}};

static bool has_goaway(const struct client *client)
{
    return client->peer->goaway_count > 0;
}

/* Time flies a little, since a wake-up that is lost is repeated at the next tick. */
static const struct step in_drain[] = {
    {say_nothing, has_goaway, SECOND / 20}, {say_go_on, is_gone, SECOND / 20}, {NULL, NULL, 0}};

static void check_drained(const struct client *client)
{
    const struct peer *peer = client->peer;

    assert_int_equal(peer->goaway_count, 2);
    assert_int_equal(peer->goaways[0].last_stream_id, INT32_MAX);
    assert_int_equal(peer->goaways[1].last_stream_id, DROPPED);
    assert_int_equal(peer->goaways[1].code, NGHTTP2_NO_ERROR);
    assert_true(response(client, LONG)->ended);
}

/* The neighbour has begun to ask when the daemon is told to stop. */
static void ask_half(struct scene *scene)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/served")};

    open_neighbour(scene);
    frame_add_request(&scene->neighbour->peer->out, 3, 0, fields, COUNT(fields));
    client_send(scene->neighbour);
}

static void ask_rest(struct scene *scene)
{
    frame_add(&scene->neighbour->peer->out, NGHTTP2_DATA, END_STREAM, 3, NULL, 0);
    client_send(scene->neighbour);
    client_check_served(scene->neighbour, 3);
}

/* A daemon that is told to stop while the fault's connection and a neighbour have begun. */
static struct client *drain(struct scene *scene, const struct fault *fault, size_t n,
                            struct faults_report *report)
{
    struct client *client;

    daemon_start(&scene->daemon, usual_settings());
    ask_half(scene);
    faults_arm(FAULTS_CONNECTION, &no_fault, 0);
    client = client_connect(&scene->daemon);
    client->is_http2 = true;
    speak(client, before_drain);
    faults_change(fault, n);
    daemon_terminate();
    speak(client, in_drain);
    ask_rest(scene);
    client_shutdown_write(client);
    assert_true(faults_await_connection(report));
    assert_int_equal(report->live, 0);
    assert_int_equal(report->closes, 1);
    client_close(client);
    close_neighbour(scene);
    daemon_wait(&scene->daemon);
    assert_int_equal(scene->daemon.result, 0);
    return client;
}

static size_t try_every_call_of_drain(struct scene *scene, const struct row *row,
                                      const struct client *model)
{
    struct faults_report report = {.hit = true};
    size_t n;

    for (n = 0; report.hit; n++) {
        struct client *client = drain(scene, &row->fault, n, &report);

        if (report.hit)
            check_outcome(row, client, model);
        else
            check_unnoticed(client, model);
        client_free(client);
    }
    return n - 1;
}

static void try_drain(const struct row *rows, size_t count)
{
    static struct scene scene;
    struct faults_report report;
    struct client *model = drain(&scene, &no_fault, 0, &report);

    check_drained(model);
    for (size_t i = 0; i < count; i++) {
        size_t struck = try_every_call_of_drain(&scene, &rows[i], model);

        print_message("%s in a drain: at %zu calls\n", rows[i].fault.name, struck);
        assert_true(struck > 0);
    }
    client_free(model);
}

static void test_drain(void **state)
{
    (void)state;
    try_drain(interruptions, COUNT(interruptions));
    try_drain(short_moves, COUNT(short_moves));
    try_drain(shortages, COUNT(shortages));
}

/* --- Detailed answers, each of which is another --- */

#define DETAILED FIELD("accept", DETAIL_MEDIA_TYPE)

static void say_detailed(struct client *client)
{
    static const struct field put[] = {REQUEST_OF("PUT", "/put"), DETAILED, FIELD("x", "\xff")};
    static const struct field get[] = {REQUEST_OF("GET", "/one"), DETAILED};
    static const struct field trailers[] = {FIELD("sum", "1")};
    struct bytes *out = &client->peer->out;

    frame_add_preface(out);
    frame_add_setting(out, 0x1337, 1);
    frame_add_request(out, ONE, END_STREAM, get, COUNT(get));
    frame_add_request(out, PUT, 0, put, COUNT(put));
    frame_add_request(out, PUT, END_STREAM, trailers, COUNT(trailers));
}

static bool has_detailed(const struct client *client)
{
    return is_settled(client, ONE) && is_settled(client, PUT);
}

static json_t *member(json_t *object, const char *outer, const char *inner)
{
    json_t *found = json_object_get(json_object_get(object, outer), inner);

    assert_non_null(found);
    return found;
}

/* What is told is whole, and true: of the local address, if the system tells it. */
static void check_detailed(const struct client *client, int32_t stream_id, const char *trailers,
                           bool local_is_known)
{
    const struct peer_response *each = response(client, stream_id);
    struct address local = {.length = sizeof(local.storage)};
    char text[ADDRESS_TEXT_MAX];
    json_t *object =
        json_loadb((const char *)each->body.data, each->body.length, JSON_REJECT_DUPLICATES, NULL);
    json_t *wanted = json_loads(trailers, 0, NULL);

    assert_non_null(object);
    assert_true(json_equal(json_object_get(object, "trailers"), wanted));
    assert_int_equal(json_integer_value(member(object, "stream", "id")), stream_id);
    assert_int_equal(json_array_size(member(object, "client", "later_settings")), 1);
    assert_int_equal(getpeername(client->fd, (struct sockaddr *)&local.storage, &local.length), 0);
    assert_string_equal(json_string_value(member(object, "connection", "local")),
                        local_is_known ? address_text(text, &local) : "unix");
    json_decref(wanted);
    json_decref(object);
}

/* Return whether the fault struck. */
static bool try_detailed(struct scene *scene, const struct row *row, size_t n)
{
    static const struct step steps[] = {{say_detailed, has_detailed, 0}, {NULL, NULL, 0}};
    bool has_no_address = row->fault.call == FAULTS_GETSOCKNAME;
    struct faults_report report;
    struct client *client;
    bool is_answered;

    faults_arm(FAULTS_CONNECTION, &no_fault, 0);
    client = client_connect(&scene->daemon);
    client->is_http2 = true;
    shake_hands(client);
    faults_change(&row->fault, n);
    speak(client, steps);
    is_answered = response(client, ONE)->ended && response(client, PUT)->ended;
    if (response(client, ONE)->ended)
        check_detailed(client, ONE, "[]", !has_no_address || n != 0);
    if (response(client, PUT)->ended)
        check_detailed(client, PUT, "[[\"sum\", \"1\"]]", !has_no_address || n != 1);
    client_shutdown_write(client);
    assert_true(faults_await_connection(&report));
    assert_int_equal(report.live, 0);
    assert_int_equal(report.closes, 1);
    assert_true(is_answered || (report.hit && row->outcome == SCARCE && tells_scarcity()));
    client_free(client);
    faults_advance(SECOND);
    return report.hit;
}

static void test_detailed_answers(void **state)
{
    static const struct row rows[] = {
        {{"getsockname ENOBUFS", FAULTS_GETSOCKNAME, ENOBUFS, 1, 0}, UNNOTICED},
        {{"recv by bytes", FAULTS_RECV, 0, FAULTS_FOR_EVER, 0}, UNNOTICED},
        {{"send by bytes", FAULTS_SEND, 0, FAULTS_FOR_EVER, 0}, UNNOTICED},
        {{"allocation fails", FAULTS_ALLOCATION, ENOMEM, 1, 0}, SCARCE},
        {{"allocations fail from then on", FAULTS_ALLOCATION, ENOMEM, FAULTS_FOR_EVER, 0}, SCARCE},
    };
    static struct scene scene;

    (void)state;
    daemon_start(&scene.daemon, usual_settings());
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t n = 0;

        while (try_detailed(&scene, &rows[i], n))
            n++;
        print_message("%s amid detailed answers: at %zu calls\n", rows[i].fault.name, n);
        assert_true(n > 0);
    }
    daemon_stop(&scene.daemon);
}

/* --- What is not called --- */

/* The whole of a conversation, which the client ends in the same segment. */
static void say_farewell(struct client *client)
{
    static const uint8_t no_more[8] = {0};
    const int on = 1;
    struct bytes *out = &client->peer->out;

    say_one(client);
    frame_add(out, NGHTTP2_GOAWAY, 0, 0, no_more, sizeof(no_more));
    assert_int_equal(setsockopt(client->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)), 0);
    client_send(client);
    client_shutdown_write(client);
}

/* A connection that the peer has ended costs no call but the close: none to tell it of the end,
 * none to ask what it has taken. */
static void test_end_of_a_peer_that_has_ended(void **state)
{
    static const struct step whole[] = {{say_farewell, is_gone, 0}, {NULL, NULL, 0}};
    static struct scene scene;
    struct faults_report report;
    struct client *client;

    (void)state;
    daemon_start(&scene.daemon, usual_settings());
    faults_arm(FAULTS_CONNECTION, &no_fault, 0);
    client = client_connect(&scene.daemon);
    client->is_http2 = true;
    shake_hands(client);
    speak(client, whole);
    assert_true(faults_await_connection(&report));
    peer_check_get(client->peer, ONE, "/one");
    assert_int_equal(report.closes, 1);
    assert_int_equal(faults_count(FAULTS_CONNECTION, FAULTS_SHUTDOWN), 0);
    assert_int_equal(faults_count(FAULTS_CONNECTION, FAULTS_IOCTL), 0);
    assert_int_equal(faults_logged(FAULTS_CONNECTION, "closed: done"), 1);
    client_free(client);
    daemon_stop(&scene.daemon);
}

/* Where an answer takes more than one send, the last part would wait for an ACK that is delayed. */
static void test_nothing_is_delayed(void **state)
{
    static struct scene scene;
    struct faults_report report;
    struct client *client;

    (void)state;
    daemon_start(&scene.daemon, usual_settings());
    faults_arm(FAULTS_CONNECTION, &no_fault, 0);
    client = converse(&scene.daemon, &tls);
    client_shutdown_write(client);
    assert_true(faults_await_connection(&report));
    assert_true(report.nodelay);
    assert_int_equal(faults_count(FAULTS_CONNECTION, FAULTS_SETSOCKOPT), 0);
    client_free(client);
    daemon_stop(&scene.daemon);
}

/* --- The tests --- */

static void test_interruptions(void **state)
{
    (void)state;
    try_rows(usual_settings(), interruptions, COUNT(interruptions));
}

static void test_short_reads_and_writes(void **state)
{
    (void)state;
    try_rows(usual_settings(), short_moves, COUNT(short_moves));
}

static void test_failing_calls(void **state)
{
    (void)state;
    try_rows(usual_settings(), failures, COUNT(failures));
}

static void test_failing_allocations(void **state)
{
    (void)state;
    try_rows(usual_settings(), shortages, COUNT(shortages));
}

/* A trace that cannot be had ends the connection, as a session does. It knows of no transport. */
static void test_failing_allocations_of_a_trace(void **state)
{
    (void)state;
    try_rows(daemon_settings("--max-header-list-size=5K", "--header-timeout=1h",
                             "--idle-timeout=1h", "--stream-timeout=1h", "--trace=fields", NULL),
             shortages, COUNT(shortages));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST_OVER_EACH(test_interruptions),
        TEST_OVER_EACH(test_short_reads_and_writes),
        TEST_OVER_EACH(test_failing_calls),
        TEST_OVER_EACH(test_failing_allocations),
        TEST_OVER_TCP(test_failing_allocations_of_a_trace),
        TEST_OVER_EACH(test_drain),
        TEST_OVER_EACH(test_end_of_a_peer_that_has_ended),
        TEST_OVER_EACH(test_nothing_is_delayed),
        TEST_OVER_EACH(test_detailed_answers),
    };

    daemon_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
