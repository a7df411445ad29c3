#include "faults/daemon.h"

#include "daemon/server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LOOK_MS = 1,
    DESCRIPTORS_MAX = 1024, /* more than a test has open */
};

enum transport_kind daemon_transport;

/* --- The daemon --- */

void daemon_prepare(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    log_set_level(LOG_LEVEL_DEBUG);
    faults_enter(FAULTS_TEST);
}

static void on_settings_error(const char *message, void *argument)
{
    (void)argument;
    fail_msg("%s", message);
}

struct settings *daemon_settings(const char *word, ...)
{
    static const char *const usual[] = {"h2echod", "--port=0", "--address=127.0.0.1",
                                        "--tls-port=0", "--tls-self-signed"};
    enum { WORDS_MAX = 16, OF_TLS = 2 };
    size_t usual_count = COUNT(usual) - (daemon_transport == TRANSPORT_TLS ? 0 : OF_TLS);
    char *words[WORDS_MAX] = {0};
    int count = 0;
    struct settings *settings;
    va_list more;

    for (size_t i = 0; i < usual_count; i++)
        words[count++] = strdup(usual[i]);
    va_start(more, word);
    for (; word && count < WORDS_MAX - 1; word = va_arg(more, const char *))
        words[count++] = strdup(word);
    va_end(more);
    assert_int_equal(settings_read(count, words, on_settings_error, NULL, &settings), SETTINGS_OK);
    while (count > 0)
        free(words[--count]);
    return settings;
}

static size_t count_descriptors(void)
{
    size_t count = 0;

    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            count++;
    }
    return count;
}

static struct settings *no_reload(void *argument)
{
    (void)argument;
    return NULL;
}

static struct daemon *running;

static void *run(void *argument)
{
    struct daemon *daemon = argument;
    const struct notify notify = {.fd = -1};
    struct server_options options = {
        .listeners = &daemon->listeners,
        .settings = daemon->settings,
        .notify = &notify,
        .reload = no_reload,
    };

    faults_enter(FAULTS_SERVER);
    daemon->result = server_run(&options);
    return NULL;
}

static int port_for_clients(const struct listeners *listeners)
{
    size_t i = 0;

    while (listeners->list[i].is_tls != (daemon_transport == TRANSPORT_TLS))
        i++;
    return (int)address_port(&listeners->list[i].address);
}

void daemon_start(struct daemon *daemon, struct settings *settings)
{
    *daemon = (struct daemon){.settings = settings};
    settings_ref(settings);
    daemon->descriptors = count_descriptors();
    daemon->live = faults_live_blocks();
    faults_enter(FAULTS_OTHER); /* who frees them is the daemon */
    assert_int_equal(listeners_open(&settings->listen, &daemon->listeners), 0);
    faults_enter(FAULTS_TEST);
    daemon->port = port_for_clients(&daemon->listeners);
    assert_int_equal(pthread_create(&daemon->thread, NULL, run, daemon), 0);
    running = daemon;
}

void daemon_terminate(void)
{
    assert_int_equal(kill(getpid(), SIGTERM), 0);
}

/* Wait for its end, while time flies by ${us} every millisecond. A daemon that hangs would spoil
 * whatever is tested next: nothing is. */
static void join(struct daemon *daemon, int64_t us)
{
    for (int left = faults_timeout_ms(); left > 0; left--) {
        if (pthread_tryjoin_np(daemon->thread, NULL) == 0) {
            running = NULL;
            return;
        }
        poll(NULL, 0, 1);
        faults_advance(us);
    }
    print_error("the daemon does not stop\n");
    _exit(EXIT_FAILURE);
}

void daemon_wait(struct daemon *daemon)
{
    join(daemon, 0);
    assert_int_equal(count_descriptors(), daemon->descriptors);
    assert_int_equal(faults_live_blocks(), daemon->live);
    assert_int_equal(faults_bad_closes(), 0);
    settings_unref(daemon->settings);
}

void daemon_stop(struct daemon *daemon)
{
    daemon_terminate();
    daemon_wait(daemon);
    assert_int_equal(daemon->result, 0);
}

int daemon_over_tcp(void **state)
{
    (void)state;
    daemon_transport = TRANSPORT_TCP;
    return 0;
}

/* What OpenSSL makes at the first handshake and keeps for all is no leak of a later one. */
static void warm_up(void)
{
    static bool is_warm;
    static struct daemon daemon;
    struct client *client;

    if (is_warm)
        return;
    daemon_start(&daemon, daemon_settings("--idle-timeout=1h", NULL));
    client = client_connect(&daemon);
    client_send_get(client, 1);
    client_check_served(client, 1);
    client_free(client);
    daemon_terminate();
    join(&daemon, 0);
    settings_unref(daemon.settings);
    is_warm = true;
}

int daemon_over_tls(void **state)
{
    (void)state;
    daemon_transport = TRANSPORT_TLS;
    warm_up();
    return 0;
}

int daemon_teardown(void **state)
{
    (void)state;
    (void)faults_disarm();
    faults_freeze(false);
    if (running) {
        print_error("the test has failed, and left its daemon running\n");
        daemon_terminate();
        join(running, SECOND); /* clients that the test left don't hold it up for long */
    }
    return 0;
}

/* --- Its clients --- */

struct client *client_connect(const struct daemon *daemon)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)daemon->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct client *client = calloc(1, sizeof(*client));

    assert_non_null(client);
    client->is_http2 = true;
    client->peer = peer_new_without_session();
    client->peer->opens_windows = false;
    if (daemon_transport == TRANSPORT_TLS)
        client->tls = tls_client_new();
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(client->fd >= 0);
    assert_int_equal(connect(client->fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return client;
}

static void lose(struct client *client)
{
    assert_true(errno == ECONNRESET || errno == EPIPE);
    client->closed = true;
}

static void send_all(struct client *client, const uint8_t *bytes, size_t length)
{
    while (length > 0 && !client->closed) {
        ssize_t sent = send(client->fd, bytes, length, MSG_NOSIGNAL);

        if (sent < 0) {
            lose(client);
        } else {
            bytes += sent;
            length -= (size_t)sent;
        }
    }
}

static void send_records(struct client *client)
{
    uint8_t buffer[FRAME_PAYLOAD_MAX];
    size_t length;

    while ((length = tls_client_take_output(client->tls, buffer, sizeof(buffer))) > 0)
        send_all(client, buffer, length);
}

void client_send(struct client *client)
{
    struct bytes *out = &client->peer->out;

    if (client->tls != NULL) {
        tls_client_write(client->tls, out->data, out->length);
        send_records(client);
    } else {
        send_all(client, out->data, out->length);
    }
    out->length = 0;
}

static void take_frames(struct client *client, const uint8_t *bytes, size_t length)
{
    size_t skipped = length < client->skip ? length : client->skip;

    client->skip -= skipped;
    peer_receive(client->peer, bytes + skipped, length - skipped);
}

static void hear(struct client *client, const uint8_t *bytes, size_t length)
{
    bytes_add(&client->raw, bytes, length);
    if (client->is_http2)
        take_frames(client, bytes, length);
}

static void hear_records(struct client *client, const uint8_t *bytes, size_t length)
{
    uint8_t buffer[FRAME_PAYLOAD_MAX];
    size_t heard;

    tls_client_add_input(client->tls, bytes, length);
    send_records(client);
    while ((heard = tls_client_read(client->tls, buffer, sizeof(buffer))) > 0)
        hear(client, buffer, heard);
    client->closed |= client->tls->has_peer_closed || client->tls->is_broken;
}

/* Return whether something came within ${ms}. */
static bool take(struct client *client, int ms)
{
    struct pollfd polled = {.fd = client->fd, .events = POLLIN};
    uint8_t buffer[FRAME_PAYLOAD_MAX];
    ssize_t length;

    if (client->closed || poll(&polled, 1, ms) != 1)
        return false;
    length = recv(client->fd, buffer, sizeof(buffer), 0);
    if (length > 0 && client->tls != NULL)
        hear_records(client, buffer, (size_t)length);
    else if (length > 0)
        hear(client, buffer, (size_t)length);
    else if (length < 0)
        lose(client);
    client->closed |= length <= 0;
    return true;
}

void client_wait_until(struct client *client, bool (*is_enough)(const struct client *client),
                       int64_t us)
{
    int left = faults_timeout_ms() / LOOK_MS;

    while (!is_enough(client) && !client->closed) {
        if (take(client, LOOK_MS)) {
            client_send(client); /* what the peer answers by itself */
            continue;
        }
        assert_true(left-- > 0);
        faults_advance(us);
    }
}

void client_receive_available(struct client *client)
{
    while (take(client, LOOK_MS))
        ;
}

void client_shutdown_write(struct client *client)
{
    if (client->tls != NULL) {
        tls_client_close(client->tls);
        send_records(client);
    }
    if (shutdown(client->fd, SHUT_WR) != 0)
        assert_int_equal(errno, ENOTCONN);
}

void client_close(struct client *client)
{
    assert_int_equal(close(client->fd), 0);
    client->fd = -1;
}

void client_free(struct client *client)
{
    if (client->fd >= 0)
        client_close(client);
    tls_client_free(client->tls);
    peer_free(client->peer);
    bytes_free(&client->raw);
    free(client);
}

static bool has_answer(const struct client *client)
{
    return peer_response(client->peer, client->awaited)->ended;
}

void client_send_get(struct client *client, int32_t stream_id)
{
    if (stream_id == 1)
        frame_add_preface(&client->peer->out);
    frame_add_get(&client->peer->out, stream_id, "/served");
    client_send(client);
}

void client_check_served(struct client *client, int32_t stream_id)
{
    client->awaited = stream_id;
    client_wait_until(client, has_answer, 0);
    peer_check_get(client->peer, stream_id, "/served");
}
