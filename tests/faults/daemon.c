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
    POLL_MS = 1,
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
    static const char *const defaults[] = {"h2echod", "--port=0", "--address=127.0.0.1",
                                           "--tls-port=0", "--tls-self-signed"};
    enum { WORDS_MAX = 16, FOR_TLS = 2 };
    size_t default_count = COUNT(defaults) - (daemon_transport == TRANSPORT_TLS ? 0 : FOR_TLS);
    char *words[WORDS_MAX] = {0};
    int count = 0;
    struct settings *settings;
    va_list more;

    for (size_t i = 0; i < default_count; i++)
        words[count++] = strdup(defaults[i]);
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

static struct daemon *running_daemon;

static void *run_daemon(void *argument)
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
    faults_enter(FAULTS_OTHER); /* so that these blocks are counted: the daemon frees them */
    assert_int_equal(listeners_open(&settings->listen, &daemon->listeners), 0);
    faults_enter(FAULTS_TEST);
    daemon->port = port_for_clients(&daemon->listeners);
    assert_int_equal(pthread_create(&daemon->thread, NULL, run_daemon, daemon), 0);
    running_daemon = daemon;
}

void daemon_terminate(void)
{
    assert_int_equal(kill(getpid(), SIGTERM), 0);
}

/* Wait until the daemon has ended, while its clock goes on by ${us} in every millisecond. If it
 * hangs, exit: it would disturb the tests that follow. */
static void join_daemon(struct daemon *daemon, int64_t us)
{
    for (int left = faults_timeout_ms(); left > 0; left--) {
        if (pthread_tryjoin_np(daemon->thread, NULL) == 0) {
            running_daemon = NULL;
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
    join_daemon(daemon, 0);
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

/* Do a first handshake, since what OpenSSL allocates for it and keeps would look like a leak. */
static void initialize_openssl(void)
{
    static bool is_done;
    static struct daemon daemon;
    struct client *client;

    if (is_done)
        return;
    daemon_start(&daemon, daemon_settings("--idle-timeout=1h", NULL));
    client = client_connect(&daemon);
    client_send_get(client, 1);
    client_check_served(client, 1);
    client_free(client);
    daemon_terminate();
    join_daemon(&daemon, 0);
    settings_unref(daemon.settings);
    is_done = true;
}

int daemon_over_tls(void **state)
{
    (void)state;
    daemon_transport = TRANSPORT_TLS;
    initialize_openssl();
    return 0;
}

int daemon_teardown(void **state)
{
    (void)state;
    (void)faults_disarm();
    faults_freeze(false);
    if (running_daemon) {
        print_error("the test has failed, and left its daemon running\n");
        daemon_terminate();
        join_daemon(running_daemon, SECOND); /* open connections must not delay that for long */
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

static void check_reset(struct client *client)
{
    assert_true(errno == ECONNRESET || errno == EPIPE);
    client->closed = true;
}

static void send_all(struct client *client, const uint8_t *bytes, size_t length)
{
    while (length > 0 && !client->closed) {
        ssize_t sent = send(client->fd, bytes, length, MSG_NOSIGNAL);

        if (sent < 0) {
            check_reset(client);
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

static void pass_to_peer(struct client *client, const uint8_t *bytes, size_t length)
{
    size_t skipped = length < client->skip ? length : client->skip;

    client->skip -= skipped;
    peer_receive(client->peer, bytes + skipped, length - skipped);
}

static void process_bytes(struct client *client, const uint8_t *bytes, size_t length)
{
    bytes_add(&client->raw, bytes, length);
    if (client->is_http2)
        pass_to_peer(client, bytes, length);
}

static void process_records(struct client *client, const uint8_t *bytes, size_t length)
{
    uint8_t buffer[FRAME_PAYLOAD_MAX];
    size_t length_read;

    tls_client_add_input(client->tls, bytes, length);
    send_records(client);
    while ((length_read = tls_client_read(client->tls, buffer, sizeof(buffer))) > 0)
        process_bytes(client, buffer, length_read);
    client->closed |= client->tls->has_peer_closed || client->tls->is_broken;
}

/* Receive what comes within ${ms}. Return false if nothing does. */
static bool receive_some(struct client *client, int ms)
{
    struct pollfd polled = {.fd = client->fd, .events = POLLIN};
    uint8_t buffer[FRAME_PAYLOAD_MAX];
    ssize_t length;

    if (client->closed || poll(&polled, 1, ms) != 1)
        return false;
    length = recv(client->fd, buffer, sizeof(buffer), 0);
    if (length > 0 && client->tls != NULL)
        process_records(client, buffer, (size_t)length);
    else if (length > 0)
        process_bytes(client, buffer, (size_t)length);
    else if (length < 0)
        check_reset(client);
    client->closed |= length <= 0;
    return true;
}

void client_wait_until(struct client *client, bool (*is_enough)(const struct client *client),
                       int64_t us)
{
    int left = faults_timeout_ms() / POLL_MS;

    while (!is_enough(client) && !client->closed) {
        if (receive_some(client, POLL_MS)) {
            client_send(client); /* frames that the peer sends in response, such as ACKs */
            continue;
        }
        assert_true(left-- > 0);
        faults_advance(us);
    }
}

void client_receive_available(struct client *client)
{
    while (receive_some(client, POLL_MS))
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
