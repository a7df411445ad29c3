#include "probe/probe.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/wire.h"
#include "echo/echo.h"
#include "net/transport.h"
#include "probe/client.h"
#include "probe/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>

enum {
    TIMEOUT_S = 5, /* for everything but looking up the host */
    BUFFER_SIZE = 16384,
    URL_TEXT_MAX = 320, /* bytes of a URL without a path */
    FAILURE_MAX = 640,  /* bytes of the reason that follows the URL in the log */
};

struct probe {
    char target[LOG_ESCAPE_MAX]; /* the URL, escaped */
    struct url url;
    int64_t started_us;
    struct transport transport;
    struct client *client;
};

/* Log why the probe failed. Return the exit code. */
__attribute__((format(printf, 2, 3))) static int log_failure(const struct probe *probe,
                                                             const char *format, ...)
{
    char reason[FAILURE_MAX];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    log_write(LOG_LEVEL_ERROR, "%s: %s", probe->target, reason);
    return EXIT_FAILURE;
}

/* --- The target ----------------------------------------------------------------------------- */

/* Replace an address that means all addresses, which one cannot connect to, by the loopback one. */
static const char *connectable_address(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, address, &v4) == 1 && v4.s_addr == htonl(INADDR_ANY))
        return "127.0.0.1";
    if (inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6))
        return "::1";
    return address;
}

/* Write the URL of a daemon that runs with these settings. */
static void format_own_url(const struct settings *settings, char text[URL_TEXT_MAX])
{
    const char *host = settings->listen.address != NULL
                           ? connectable_address(settings->listen.address[0])
                           : "localhost";
    bool is_ipv6 = strchr(host, ':') != NULL;

    (void)snprintf(text, URL_TEXT_MAX, "http://%s%s%s:%u/", is_ipv6 ? "[" : "", host,
                   is_ipv6 ? "]" : "", (unsigned)settings->listen.port);
}

/* Return an exit code. */
static int parse_target(struct probe *probe, const struct settings *settings)
{
    char text[URL_TEXT_MAX];
    const char *url = settings->probe;

    if (*url == '\0' && settings->listen.port == 0) {
        log_write(LOG_LEVEL_ERROR, "--probe: port 0 means any free port: give the daemon's URL");
        return EXIT_FAILURE;
    }
    if (*url == '\0') {
        format_own_url(settings, text);
        url = text;
    }
    (void)log_escape(probe->target, sizeof(probe->target), url, strlen(url));
    if (!url_parse(url, &probe->url)) {
        log_write(LOG_LEVEL_ERROR, "--probe: '%s' is not http://HOST[:PORT][/PATH] or unix:PATH",
                  probe->target);
        return EX_USAGE;
    }
    if (probe->url.scheme == URL_HTTPS)
        return log_failure(probe, "--probe cannot use TLS: give a URL with http:// or unix:");
    return EXIT_SUCCESS;
}

/* --- Connecting ----------------------------------------------------------------------------- */

static int64_t time_left_us(const struct probe *probe)
{
    return probe->started_us + TIMEOUT_S * INT64_C(1000000) - clock_now().monotonic_us;
}

/* SO_SNDTIMEO limits the time of connect too, in the same way for every address family. Return
 * false with errno. */
static bool connect_in_time(const struct probe *probe, int fd, const struct sockaddr *address,
                            socklen_t length)
{
    int64_t left = time_left_us(probe);
    struct timeval timeout = {.tv_sec = left / 1000000, .tv_usec = left % 1000000};

    if (left > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0)
        return false;
    if (left > 0 && connect(fd, address, length) == 0)
        return true;
    if (left <= 0 || errno == EINPROGRESS || errno == EAGAIN)
        errno = ETIMEDOUT;
    return false;
}

/* Return false with errno. */
static bool try_address(struct probe *probe, const struct sockaddr *address, socklen_t length)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0)
        return false;
    transport_open(&probe->transport, fd);
    if (connect_in_time(probe, fd, address, length))
        return true;
    error = errno;
    transport_close(&probe->transport);
    errno = error;
    return false;
}

static int log_connect_failure(const struct probe *probe)
{
    char reason[128];

    if (errno == ETIMEDOUT)
        return log_failure(probe, "timed out after %d s while connecting", TIMEOUT_S);
    return log_failure(probe, "cannot connect: %s", strerror_r(errno, reason, sizeof(reason)));
}

static int connect_unix(struct probe *probe)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t length = strlen(probe->url.host);

    /* url_parse has checked that it fits, with the NUL at the end of a path. */
    memcpy(un.sun_path, probe->url.host, length);
    if (un.sun_path[0] == '@')
        un.sun_path[0] = '\0'; /* an abstract name; its address has no NUL at the end */
    else
        length++;
    length += offsetof(struct sockaddr_un, sun_path);
    if (try_address(probe, (const struct sockaddr *)&un, (socklen_t)length))
        return EXIT_SUCCESS;
    return log_connect_failure(probe);
}

/* Try each address of the host. If all fail, log the error of the last one. */
static int connect_tcp(struct probe *probe)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    /* localhost means the loopback addresses, without asking a resolver (RFC 6761 section 6.3). */
    const char *host = strcasecmp(probe->url.host, "localhost") == 0 ? NULL : probe->url.host;
    int error = getaddrinfo(host, probe->url.port, &hints, &found);
    bool is_connected = false;

    if (error != 0)
        return log_failure(probe, "cannot look up the host: %s",
                           error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    for (struct addrinfo *each = found; each != NULL && !is_connected; each = each->ai_next)
        is_connected = try_address(probe, each->ai_addr, each->ai_addrlen);
    error = errno;
    freeaddrinfo(found);
    errno = error;
    return is_connected ? EXIT_SUCCESS : log_connect_failure(probe);
}

/* --- Bytes ---------------------------------------------------------------------------------- */
/* Reading and writing go through probe_receive and probe_send alone. Each call is non-blocking, and
 * poll waits for no longer than what is left of the time, however slowly the peer sends. */

/* Wait until the socket is ready. Return false with errno, ETIMEDOUT after TIMEOUT_S. */
static bool wait_until_ready(const struct probe *probe, short events)
{
    struct pollfd polled = {.fd = probe->transport.fd, .events = events};
    int ready = 0;

    while (ready == 0 || (ready < 0 && errno == EINTR)) {
        int64_t left = time_left_us(probe);
        if (left <= 0) {
            errno = ETIMEDOUT;
            return false;
        }
        ready = poll(&polled, 1, (int)(left / 1000) + 1);
    }
    return ready > 0;
}

/* Return the same as transport_read. */
static ssize_t probe_receive(struct probe *probe, uint8_t *buffer, size_t size)
{
    ssize_t length = -1;

    do {
        if (!wait_until_ready(probe, POLLIN))
            return -1;
        length = transport_read_nonblocking(&probe->transport, buffer, size);
    } while (length < 0 && (errno == EAGAIN || errno == EINTR));
    return length;
}

/* An error is not reported: reading comes next, and finds the cause, for example a GOAWAY. */
static void probe_send(struct probe *probe, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t taken = transport_write_nonblocking(&probe->transport, bytes, length);
        if (taken < 0 || (taken == 0 && !wait_until_ready(probe, POLLOUT)))
            return;
        bytes += taken;
        length -= (size_t)taken;
    }
}

/* Send as much as possible in one write: with Nagle's algorithm, a second small one would wait for
 * the acknowledgement of the first. */
static void send_client_output(struct probe *probe)
{
    uint8_t buffer[BUFFER_SIZE];
    size_t length;

    while ((length = client_send(probe->client, buffer, sizeof(buffer))) > 0)
        probe_send(probe, buffer, length);
}

/* Send the request, and read until the response is complete or has failed. Return a positive number
 * then, else the result of the last probe_receive. */
static ssize_t exchange(struct probe *probe)
{
    uint8_t buffer[BUFFER_SIZE];
    ssize_t length = 1;

    send_client_output(probe);
    while (length > 0 && !client_finished(probe->client)) {
        length = probe_receive(probe, buffer, sizeof(buffer));
        if (length > 0) {
            client_receive(probe->client, buffer, (size_t)length);
            send_client_output(probe);
        }
    }
    return length;
}

static void send_goaway(struct probe *probe)
{
    client_send_goaway(probe->client);
    send_client_output(probe);
}

/* --- Checking the response ------------------------------------------------------------------ */

/* Log that the connection ended before the response was complete. ${length} and errno are those of
 * the last probe_receive. */
static int log_incomplete(const struct probe *probe, const struct client_response *response,
                          ssize_t length)
{
    char reason[128];
    const char *awaited = "the end of the body";

    if (response->status == 0)
        awaited = response->is_http2 ? "the response" : "SETTINGS";
    if (length == 0)
        (void)snprintf(reason, sizeof(reason), "the server closed the connection");
    else if (errno == ETIMEDOUT)
        (void)snprintf(reason, sizeof(reason), "timed out after %d s", TIMEOUT_S);
    else
        (void)snprintf(reason, sizeof(reason), "%s", strerror(errno));
    return log_failure(probe, "%s while waiting for %s", reason, awaited);
}

/* Check that the response is one of h2echod's. Return an exit code. */
static int check_response(const struct probe *probe, const struct client_response *response)
{
    char shown[LOG_ESCAPE_MAX];
    char length[32];

    (void)log_escape(shown, sizeof(shown), response->body, response->body_length);
    (void)snprintf(length, sizeof(length), "%zu", response->body_length);
    if (response->status != 200)
        return log_failure(probe, "status %d, not 200: \"%s\"", response->status, shown);
    if (strcmp(response->content_type, "application/json") != 0)
        return log_failure(probe, "content-type \"%s\", not \"application/json\": \"%s\"",
                           response->content_type, shown);
    if (strcmp(response->content_length, length) != 0)
        return log_failure(probe, "content-length \"%s\", but %s bytes received: \"%s\"",
                           response->content_length, length, shown);
    if (echo_answers_path(response->body, response->body_length, probe->url.path))
        return EXIT_SUCCESS;
    if (errno == ENOMEM)
        return log_failure(probe, "out of memory");
    return log_failure(probe, "the body is not a JSON object with the requested :path: \"%s\"",
                       shown);
}

static int check_result(const struct probe *probe, ssize_t length)
{
    const struct client_response *response = client_response(probe->client);

    if (!response->is_http2 && response->first_bytes[0] != '\0')
        return log_failure(probe, "not HTTP/2, it begins with \"%s\"", response->first_bytes);
    if (response->failure[0] != '\0')
        return log_failure(probe, "%s", response->failure);
    if (!client_finished(probe->client))
        return log_incomplete(probe, response, length);
    return check_response(probe, response);
}

/* --- Output --------------------------------------------------------------------------------- */

/* Print the body, with bytes that a terminal might interpret escaped. */
static void print_body(const char *body, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((body[i] >= ' ' && body[i] <= '~') || body[i] == '\n')
            (void)putchar(body[i]);
        else
            (void)printf("\\x%02x", (unsigned char)body[i]);
    }
    if (length > 0 && body[length - 1] != '\n')
        (void)putchar('\n');
}

static void print_server_settings(const struct client_response *response)
{
    const char *before = ", ";

    for (size_t i = 0; i < response->setting_count; i++) {
        const struct client_setting *setting = &response->settings[i];
        const char *name = wire_setting_name(setting->id);
        if (name != NULL)
            (void)printf("%sSETTINGS_%s=%u", before, name, setting->value);
        else
            (void)printf("%s0x%04x=%u", before, setting->id, setting->value);
        before = " ";
    }
}

static void print_result(const struct probe *probe, const struct client_response *response,
                         int64_t elapsed_us)
{
    (void)printf("%s: %d, %s, %zu bytes of %s in %.1f ms, h2c", probe->target, response->status,
                 response->server[0] != '\0' ? response->server : "no server field",
                 response->body_length, response->content_type, (double)elapsed_us / 1000.0);
    print_server_settings(response);
    (void)putchar('\n');
    print_body(response->body, response->body_length);
}

/* --- The probe ------------------------------------------------------------------------------ */

static int probe_request(struct probe *probe)
{
    const struct client_request request = {"http", probe->url.authority, probe->url.path};
    int result;
    ssize_t length;
    int64_t elapsed_us;
    int error;

    probe->client = client_new(&request);
    if (probe->client == NULL)
        return log_failure(probe, "out of memory");
    length = exchange(probe);
    error = errno;
    elapsed_us = clock_now().monotonic_us - probe->started_us;
    send_goaway(probe);
    errno = error;
    result = check_result(probe, length);
    if (result == EXIT_SUCCESS)
        print_result(probe, client_response(probe->client), elapsed_us);
    client_free(probe->client);
    return result;
}

int probe_run(const struct settings *settings)
{
    struct probe probe = {0};
    int result = parse_target(&probe, settings);

    if (result != EXIT_SUCCESS)
        return result;
    probe.started_us = clock_now().monotonic_us;
    result = probe.url.scheme == URL_UNIX ? connect_unix(&probe) : connect_tcp(&probe);
    if (result != EXIT_SUCCESS)
        return result;
    result = probe_request(&probe);
    transport_close(&probe.transport);
    return result;
}
