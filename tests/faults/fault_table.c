#include "faults/fault_table.h"

#include <errno.h>

/* --- The faults --- */

enum { SMALL_SENDS = 1000 }; /* bytes that a send takes at most */

static const struct fault_row interruptions[] = {
    {{"recv EINTR", FAULTS_RECV, EINTR, 1, 0}, OUTCOME_SAME},
    {{"recv EINTR three times", FAULTS_RECV, EINTR, 3, 0}, OUTCOME_SAME},
    {{"send EINTR", FAULTS_SEND, EINTR, 1, 0}, OUTCOME_SAME},
    {{"send EINTR three times", FAULTS_SEND, EINTR, 3, 0}, OUTCOME_SAME},
    {{"slow send EINTR", FAULTS_SEND, EINTR, 1, SMALL_SENDS}, OUTCOME_SAME},
    {{"close EINTR", FAULTS_CLOSE, EINTR, 1, 0}, OUTCOME_SAME},
    {{"log's poll EINTR", FAULTS_LOG_POLL, EINTR, 1, 0}, OUTCOME_SAME},
    {{"log's write EINTR", FAULTS_LOG_WRITE, EINTR, 1, 0}, OUTCOME_SAME},
};

static const struct fault_row short_transfers[] = {
    {{"recv of one byte", FAULTS_RECV, 0, 1, 0}, OUTCOME_SAME},
    {{"recv byte by byte", FAULTS_RECV, 0, FAULTS_FOR_EVER, 0}, OUTCOME_SAME},
    {{"send of one byte", FAULTS_SEND, 0, 1, 0}, OUTCOME_SAME},
    {{"send byte by byte", FAULTS_SEND, 0, FAULTS_FOR_EVER, 0}, OUTCOME_SAME},
};

static const struct fault_row failures[] = {
    {{"recv ECONNRESET", FAULTS_RECV, ECONNRESET, 1, 0}, OUTCOME_LOST},
    {{"recv ETIMEDOUT", FAULTS_RECV, ETIMEDOUT, 1, 0}, OUTCOME_LOST},
    {{"send ECONNRESET", FAULTS_SEND, ECONNRESET, 1, 0}, OUTCOME_LOST},
    {{"send EPIPE", FAULTS_SEND, EPIPE, 1, 0}, OUTCOME_LOST},
    {{"send ETIMEDOUT", FAULTS_SEND, ETIMEDOUT, 1, 0}, OUTCOME_LOST},
    {{"slow send ECONNRESET", FAULTS_SEND, ECONNRESET, 1, SMALL_SENDS}, OUTCOME_LOST},
    {{"shutdown ENOTCONN", FAULTS_SHUTDOWN, ENOTCONN, 1, 0}, OUTCOME_SAME},
    {{"getsockname ENOBUFS", FAULTS_GETSOCKNAME, ENOBUFS, 1, 0}, OUTCOME_SAME},
    {{"ioctl ENOTTY", FAULTS_IOCTL, ENOTTY, 1, SMALL_SENDS}, OUTCOME_SAME},
    {{"madvise ENOMEM", FAULTS_MADVISE, ENOMEM, 1, 0}, OUTCOME_SAME},
};

static const struct fault_row allocation_failures[] = {
    {{"allocation fails", FAULTS_ALLOCATION, ENOMEM, 1, 0}, OUTCOME_NO_MEMORY},
    {{"allocations fail from then on", FAULTS_ALLOCATION, ENOMEM, FAULTS_FOR_EVER, 0},
     OUTCOME_NO_MEMORY},
};

const struct fault_table fault_interruptions = {interruptions, COUNT(interruptions)};
const struct fault_table fault_short_transfers = {short_transfers, COUNT(short_transfers)};
const struct fault_table fault_failures = {failures, COUNT(failures)};
const struct fault_table fault_allocations = {allocation_failures, COUNT(allocation_failures)};

const struct fault fault_none = {"none", FAULTS_RECV, EINTR, 0, 0};

/* --- The outcome --- */

bool fault_is_shortage_logged(void)
{
    return faults_logged(FAULTS_CONNECTION, "memory") > 0 ||
           faults_logged(FAULTS_CONNECTION, "TLS handshake failed: ") > 0 ||
           faults_logged(FAULTS_CONNECTION, "TLS error: ") > 0 ||
           faults_logged(FAULTS_CONNECTION, "INTERNAL_ERROR") > 0; /* nghttp2's */
}

void fault_check_outcome(const struct fault_row *row, const struct client *client,
                         const struct client *expected)
{
    conversation_check_part(client, expected);
    if (row->outcome == OUTCOME_SAME)
        conversation_check_same(client, expected);
    else if (row->outcome == OUTCOME_LOST)
        assert_int_equal(faults_logged(FAULTS_CONNECTION, "closed: "), 1);
    else if (client->raw.length != expected->raw.length)
        assert_true(fault_is_shortage_logged());
}

/* --- The scene --- */

struct settings *scene_settings(void)
{
    return daemon_settings("--max-header-list-size=5K", "--header-timeout=1h", "--idle-timeout=1h",
                           "--stream-timeout=1h", "--drain-timeout=1h", NULL);
}

/* With a large window of the connection, since it sends more requests than the default allows. */
void scene_open_neighbour(struct scene *scene)
{
    scene->neighbour = client_connect(&scene->daemon);
    scene->neighbour_stream = 1;
    client_send_get(scene->neighbour, 1);
    frame_add_window(&scene->neighbour->peer->out, 0, INT32_MAX - NGHTTP2_INITIAL_WINDOW_SIZE);
    client_send(scene->neighbour);
    client_check_served(scene->neighbour, 1);
}

void scene_close_neighbour(struct scene *scene)
{
    client_shutdown_write(scene->neighbour);
    client_wait_until(scene->neighbour, conversation_is_closed, 0);
    client_free(scene->neighbour);
}
