/*
 * Connections with a fault at each call, one after another: whole conversations with the whole
 * daemon over a real socket. Nothing leaks, no thread hangs, and another client is served as usual.
 * What the client of the faulty connection receives is right; and complete, if the fault is one
 * that can be handled.
 */
#include "echo/detail.h"
#include "faults/conversation.h"
#include "faults/daemon.h"
#include "faults/fault_table.h"
#include "net/address.h"

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

/* --- Each call of each conversation --- */

/* A TLS handshake allocates a lot, always the same: let that fail in one conversation only. */
static bool is_fault_after_handshake(const struct conversation *conversation,
                                     const struct fault_row *row)
{
    return row->outcome == OUTCOME_NO_MEMORY && !conversation->handshake_faults;
}

enum { MAX_CLOCK_CALLS = 1000 }; /* more would mean a busy loop */

/* Have a conversation with the fault at call ${n}, while the neighbour sends a request. Return true
 * if there were so many calls. */
static bool try_call(struct scene *scene, const struct conversation *conversation,
                     const struct fault_row *row, size_t n, const struct client *expected)
{
    bool after_handshake = is_fault_after_handshake(conversation, row);
    struct faults_report report;
    struct client *client;

    scene->neighbour_stream += 2;
    faults_arm(FAULTS_CONNECTION, after_handshake ? &fault_none : &row->fault, n);
    client = conversation_connect(&scene->daemon, conversation);
    if (after_handshake) {
        conversation_handshake(client);
        faults_change(&row->fault, n);
    }
    conversation_run_steps(client, conversation->steps);
    client_send_get(scene->neighbour, scene->neighbour_stream);
    client_check_served(scene->neighbour, scene->neighbour_stream);
    client_shutdown_write(client);
    assert_true(faults_await_connection(&report));
    assert_int_equal(report.live, 0);
    assert_int_equal(report.closes, 1);
    assert_true(row->outcome == OUTCOME_SAME ||
                faults_count(FAULTS_CONNECTION, FAULTS_CLOCK) < MAX_CLOCK_CALLS);
    if (report.hit)
        fault_check_outcome(row, client, expected);
    else
        conversation_check_same(client, expected);
    client_free(client);
    faults_advance(SECOND); /* for the log's rate limit */
    return report.hit;
}

static size_t try_every_call(struct scene *scene, const struct conversation *conversation,
                             const struct fault_row *row)
{
    struct faults_report report;
    struct client *expected;
    size_t n = 0;

    scene_open_neighbour(scene);
    faults_arm(FAULTS_CONNECTION, &fault_none, 0);
    expected = conversation_run(&scene->daemon, conversation);
    conversation->check(expected);
    client_shutdown_write(expected);
    assert_true(faults_await_connection(&report));
    while (try_call(scene, conversation, row, n, expected))
        n++;
    client_free(expected);
    scene_close_neighbour(scene);
    return n;
}

static void try_row(struct scene *scene, const struct fault_row *row)
{
    size_t hits = 0;

    for (size_t i = 0; i < CONVERSATIONS; i++)
        if ((conversations[i]->over & 1U << daemon_transport) != 0)
            hits += try_every_call(scene, conversations[i], row);
    print_message("%s: at %zu calls\n", row->fault.name, hits);
    assert_true(hits > 0);
}

static void try_rows(struct settings *settings, const struct fault_table *table)
{
    static struct scene scene; /* the teardown stops it if the test fails */

    daemon_start(&scene.daemon, settings);
    for (size_t i = 0; i < table->count; i++)
        try_row(&scene, &table->rows[i]);
    daemon_stop(&scene.daemon);
}

static void test_interruptions(void **state)
{
    (void)state;
    try_rows(scene_settings(), &fault_interruptions);
}

static void test_short_reads_and_writes(void **state)
{
    (void)state;
    try_rows(scene_settings(), &fault_short_transfers);
}

static void test_failing_calls(void **state)
{
    (void)state;
    try_rows(scene_settings(), &fault_failures);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    try_rows(scene_settings(), &fault_allocations);
}

/* If a trace cannot be created, the connection ends. */
static void test_failing_allocations_with_trace(void **state)
{
    (void)state;
    try_rows(daemon_settings("--max-header-list-size=5K", "--header-timeout=1h",
                             "--idle-timeout=1h", "--stream-timeout=1h", "--trace=fields", NULL),
             &fault_allocations);
}

/* --- Detailed answers, which differ from one connection to the next --- */

#define DETAILED FIELD("accept", DETAIL_MEDIA_TYPE)

static void send_detailed(struct client *client)
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

static bool got_detailed(const struct client *client)
{
    return conversation_is_answered(client, ONE) && conversation_is_answered(client, PUT);
}

static json_t *member(json_t *object, const char *outer, const char *inner)
{
    json_t *found = json_object_get(json_object_get(object, outer), inner);

    assert_non_null(found);
    return found;
}

/* The answer is complete and right, including the local address if the system reported it. */
static void check_detailed(const struct client *client, int32_t stream_id, const char *trailers,
                           bool local_is_known)
{
    const struct peer_response *each = conversation_response(client, stream_id);
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

/* Return true if the fault occurred. */
static bool try_detailed(struct scene *scene, const struct fault_row *row, size_t n)
{
    static const struct conversation_step steps[] = {{send_detailed, got_detailed, 0},
                                                     {NULL, NULL, 0}};
    bool hides_address = row->fault.call == FAULTS_GETSOCKNAME;
    struct faults_report report;
    struct client *client;
    bool is_answered;

    faults_arm(FAULTS_CONNECTION, &fault_none, 0);
    client = client_connect(&scene->daemon);
    client->is_http2 = true;
    conversation_handshake(client);
    faults_change(&row->fault, n);
    conversation_run_steps(client, steps);
    is_answered =
        conversation_response(client, ONE)->ended && conversation_response(client, PUT)->ended;
    if (conversation_response(client, ONE)->ended)
        check_detailed(client, ONE, "[]", !hides_address || n != 0);
    if (conversation_response(client, PUT)->ended)
        check_detailed(client, PUT, "[[\"sum\", \"1\"]]", !hides_address || n != 1);
    client_shutdown_write(client);
    assert_true(faults_await_connection(&report));
    assert_int_equal(report.live, 0);
    assert_int_equal(report.closes, 1);
    assert_true(is_answered ||
                (report.hit && row->outcome == OUTCOME_NO_MEMORY && fault_is_shortage_logged()));
    client_free(client);
    faults_advance(SECOND);
    return report.hit;
}

static void test_detailed_answers(void **state)
{
    static const struct fault_row rows[] = {
        {{"getsockname ENOBUFS", FAULTS_GETSOCKNAME, ENOBUFS, 1, 0}, OUTCOME_SAME},
        {{"recv byte by byte", FAULTS_RECV, 0, FAULTS_FOR_EVER, 0}, OUTCOME_SAME},
        {{"send byte by byte", FAULTS_SEND, 0, FAULTS_FOR_EVER, 0}, OUTCOME_SAME},
        {{"allocation fails", FAULTS_ALLOCATION, ENOMEM, 1, 0}, OUTCOME_NO_MEMORY},
        {{"allocations fail from then on", FAULTS_ALLOCATION, ENOMEM, FAULTS_FOR_EVER, 0},
         OUTCOME_NO_MEMORY},
    };
    static struct scene scene;

    (void)state;
    daemon_start(&scene.daemon, scene_settings());
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t n = 0;

        while (try_detailed(&scene, &rows[i], n))
            n++;
        print_message("%s with detailed answers: at %zu calls\n", rows[i].fault.name, n);
        assert_true(n > 0);
    }
    daemon_stop(&scene.daemon);
}

/* --- Calls that are not needed --- */

/* A request, GOAWAY and the end of the connection, all in one segment. */
static void send_all_and_end(struct client *client)
{
    static const uint8_t no_more[8] = {0};
    const int on = 1;
    struct bytes *out = &client->peer->out;

    conversation_send_one(client);
    frame_add(out, NGHTTP2_GOAWAY, 0, 0, no_more, sizeof(no_more));
    assert_int_equal(setsockopt(client->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)), 0);
    client_send(client);
    client_shutdown_write(client);
}

/* After the client has closed the connection, the only call is close: nothing has to be sent, and
 * there is no need to ask what the client has received. */
static void test_closed_client_costs_no_calls(void **state)
{
    static const struct conversation_step whole[] = {{send_all_and_end, conversation_is_closed, 0},
                                                     {NULL, NULL, 0}};
    static struct scene scene;
    struct faults_report report;
    struct client *client;

    (void)state;
    daemon_start(&scene.daemon, scene_settings());
    faults_arm(FAULTS_CONNECTION, &fault_none, 0);
    client = client_connect(&scene.daemon);
    client->is_http2 = true;
    conversation_handshake(client);
    conversation_run_steps(client, whole);
    assert_true(faults_await_connection(&report));
    peer_check_get(client->peer, ONE, "/one");
    assert_int_equal(report.closes, 1);
    assert_int_equal(faults_count(FAULTS_CONNECTION, FAULTS_SHUTDOWN), 0);
    assert_int_equal(faults_count(FAULTS_CONNECTION, FAULTS_IOCTL), 0);
    assert_int_equal(faults_logged(FAULTS_CONNECTION, "closed: done"), 1);
    client_free(client);
    daemon_stop(&scene.daemon);
}

/* Without TCP_NODELAY the last part of an answer that takes more than one send would wait for a
 * delayed ACK. It is inherited from the listening socket. */
static void test_tcp_nodelay(void **state)
{
    static struct scene scene;
    struct faults_report report;
    struct client *client;

    (void)state;
    daemon_start(&scene.daemon, scene_settings());
    faults_arm(FAULTS_CONNECTION, &fault_none, 0);
    client = conversation_run(&scene.daemon, &conversation_client_hello);
    client_shutdown_write(client);
    assert_true(faults_await_connection(&report));
    assert_true(report.nodelay);
    assert_int_equal(faults_count(FAULTS_CONNECTION, FAULTS_SETSOCKOPT), 0);
    client_free(client);
    daemon_stop(&scene.daemon);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST_OVER_EACH(test_interruptions),
        TEST_OVER_EACH(test_short_reads_and_writes),
        TEST_OVER_EACH(test_failing_calls),
        TEST_OVER_EACH(test_failing_allocations),
        TEST_OVER_TCP(test_failing_allocations_with_trace),
        TEST_OVER_EACH(test_closed_client_costs_no_calls),
        TEST_OVER_EACH(test_tcp_nodelay),
        TEST_OVER_EACH(test_detailed_answers),
    };

    daemon_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
