/* A drain with a fault at each call of a connection, one after another. */
#include "faults/conversation.h"
#include "faults/daemon.h"
#include "faults/fault_table.h"

static bool got_goaway(const struct client *client)
{
    return client->peer->goaway_count > 0;
}

/* The clock moves a little, since a wake-up that was lost is repeated at the next tick. */
static const struct conversation_step steps_in_drain[] = {
    {conversation_send_nothing, got_goaway, SECOND / 20},
    {conversation_send_window, conversation_is_closed, SECOND / 20},
    {NULL, NULL, 0}};

static void check_drained(const struct client *client)
{
    const struct peer *peer = client->peer;

    assert_int_equal(peer->goaway_count, 2);
    assert_int_equal(peer->goaways[0].last_stream_id, INT32_MAX);
    assert_int_equal(peer->goaways[1].last_stream_id, DROPPED);
    assert_int_equal(peer->goaways[1].code, NGHTTP2_NO_ERROR);
    assert_true(conversation_response(client, LONG)->ended);
}

/* The neighbour is in the middle of a request when the daemon is told to stop. */
static void send_half_request(struct scene *scene)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/served")};

    scene_open_neighbour(scene);
    frame_add_request(&scene->neighbour->peer->out, 3, 0, fields, COUNT(fields));
    client_send(scene->neighbour);
}

static void send_rest_of_request(struct scene *scene)
{
    frame_add(&scene->neighbour->peer->out, NGHTTP2_DATA, END_STREAM, 3, NULL, 0);
    client_send(scene->neighbour);
    client_check_served(scene->neighbour, 3);
}

/* Start a daemon, and stop it while two connections have unfinished requests; the fault occurs in
 * one of them, at call ${n} of the drain. */
static struct client *drain(struct scene *scene, const struct fault *fault, size_t n,
                            struct faults_report *report)
{
    struct client *client;

    daemon_start(&scene->daemon, scene_settings());
    send_half_request(scene);
    faults_arm(FAULTS_CONNECTION, &fault_none, 0);
    client = client_connect(&scene->daemon);
    client->is_http2 = true;
    conversation_run_steps(client, conversation_unfinished);
    faults_change(fault, n);
    daemon_terminate();
    conversation_run_steps(client, steps_in_drain);
    send_rest_of_request(scene);
    client_shutdown_write(client);
    assert_true(faults_await_connection(report));
    assert_int_equal(report->live, 0);
    assert_int_equal(report->closes, 1);
    client_close(client);
    scene_close_neighbour(scene);
    daemon_wait(&scene->daemon);
    assert_int_equal(scene->daemon.result, 0);
    return client;
}

static size_t try_every_call_of_drain(struct scene *scene, const struct fault_row *row,
                                      const struct client *expected)
{
    struct faults_report report = {.hit = true};
    size_t n;

    for (n = 0; report.hit; n++) {
        struct client *client = drain(scene, &row->fault, n, &report);

        if (report.hit)
            fault_check_outcome(row, client, expected);
        else
            conversation_check_same(client, expected);
        client_free(client);
    }
    return n - 1;
}

static void try_drain(const struct fault_table *table)
{
    static struct scene scene;
    struct faults_report report;
    struct client *expected = drain(&scene, &fault_none, 0, &report);

    check_drained(expected);
    for (size_t i = 0; i < table->count; i++) {
        size_t hits = try_every_call_of_drain(&scene, &table->rows[i], expected);

        print_message("%s in a drain: at %zu calls\n", table->rows[i].fault.name, hits);
        assert_true(hits > 0);
    }
    client_free(expected);
}

static void test_drain(void **state)
{
    (void)state;
    try_drain(&fault_interruptions);
    try_drain(&fault_short_transfers);
    try_drain(&fault_allocations);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {TEST_OVER_EACH(test_drain)};

    daemon_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
