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
    SECONDS = 5, /* for all of it */
    BUFFER_SIZE = 16384,
    URL_TEXT_MAX = 320, /* bytes of a URL without a path */
    WORDS_MAX = 640,    /* of what goes into a line of the log behind the URL */
};

/* One attempt. */
struct probe {
    char target[LOG_ESCAPE_MAX]; /* the URL, for people */
    struct url url;
    int64_t began_us;
    struct transport transport;
    struct client *client;
};

/* Log why it is not well. Return the exit code. */
__attribute__((format(printf, 2, 3))) static int fail(const struct probe *probe, const char *format,
                                                      ...)
{
    char words[WORDS_MAX];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    log_write(LOG_LEVEL_ERROR, "%s: %s", probe->target, words);
    return EXIT_FAILURE;
}

/* --- Where to ask --------------------------------------------------------------------------- */

/* The address that stands for every one is not one to connect to. */
static const char *reachable(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, address, &v4) == 1 && v4.s_addr == htonl(INADDR_ANY))
        return "127.0.0.1";
    if (inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6))
        return "::1";
    return address;
}

/* The URL of the daemon that has these settings. */
static void url_of(const struct settings *settings, char text[URL_TEXT_MAX])
{
    const char *host =
        settings->listen.address != NULL ? reachable(settings->listen.address[0]) : "localhost";
    bool is_ipv6 = strchr(host, ':') != NULL;

    (void)snprintf(text, URL_TEXT_MAX, "http://%s%s%s:%u/", is_ipv6 ? "[" : "", host,
                   is_ipv6 ? "]" : "", (unsigned)settings->listen.port);
}

/* Return an exit code. */
static int find_target(struct probe *probe, const struct settings *settings)
{
    char text[URL_TEXT_MAX];
    const char *url = settings->probe;

    if (*url == '\0' && settings->listen.port == 0) {
        log_write(LOG_LEVEL_ERROR, "--probe: the port 0 is any free one: give the daemon's URL");
        return EXIT_FAILURE;
    }
    if (*url == '\0') {
        url_of(settings, text);
        url = text;
    }
    (void)log_escape(probe->target, sizeof(probe->target), url, strlen(url));
    if (!url_parse(url, &probe->url)) {
        log_write(LOG_LEVEL_ERROR, "--probe: '%s' is not http://HOST[:PORT][/PATH] or unix:PATH",
                  probe->target);
        return EX_USAGE;
    }
    if (probe->url.scheme == URL_HTTPS)
        return fail(probe, "--probe speaks clear text: give a URL with http:// or unix:");
    return EXIT_SUCCESS;
}

/* --- Connecting ----------------------------------------------------------------------------- */

static int64_t left_us(const struct probe *probe)
{
    return probe->began_us + SECONDS * INT64_C(1000000) - clock_now().monotonic_us;
}

/* What SO_SNDTIMEO ends is connect too, in the same way for every family. Return false with errno.
 */
static bool connect_to(const struct probe *probe, int fd, const struct sockaddr *address,
                       socklen_t length)
{
    int64_t left = left_us(probe);
    struct timeval patience = {.tv_sec = left / 1000000, .tv_usec = left % 1000000};

    if (left > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0)
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
    if (connect_to(probe, fd, address, length))
        return true;
    error = errno;
    transport_close(&probe->transport);
    errno = error;
    return false;
}

static int fail_connect(const struct probe *probe)
{
    char words[128];

    if (errno == ETIMEDOUT)
        return fail(probe, "timed out after %d s while connecting", SECONDS);
    return fail(probe, "cannot connect: %s", strerror_r(errno, words, sizeof(words)));
}

static int connect_unix(struct probe *probe)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t length = strlen(probe->url.host);

    /* url_parse has seen that there is room, for a path's NUL as well. */
    memcpy(un.sun_path, probe->url.host, length);
    if (un.sun_path[0] == '@')
        un.sun_path[0] = '\0'; /* an abstract name, which ends where the address does */
    else
        length++;
    length += offsetof(struct sockaddr_un, sun_path);
    if (try_address(probe, (const struct sockaddr *)&un, (socklen_t)length))
        return EXIT_SUCCESS;
    return fail_connect(probe);
}

/* Each address in turn; of those that fail the last one is told of. */
static int connect_tcp(struct probe *probe)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    /* The loopback addresses, whatever a resolver says, or if there is none (RFC 6761 section 6.3).
     */
    const char *host = strcasecmp(probe->url.host, "localhost") == 0 ? NULL : probe->url.host;
    int error = getaddrinfo(host, probe->url.port, &hints, &found);
    bool is_connected = false;

    if (error != 0)
        return fail(probe, "cannot look up the host: %s",
                    error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    for (struct addrinfo *each = found; each != NULL && !is_connected; each = each->ai_next)
        is_connected = try_address(probe, each->ai_addr, each->ai_addrlen);
    error = errno;
    freeaddrinfo(found);
    errno = error;
    return is_connected ? EXIT_SUCCESS : fail_connect(probe);
}

/* --- Bytes ---------------------------------------------------------------------------------- */
/* All of them go through receive and send_all. Neither waits longer than there is time, and each
 * moves only what it can at once: a peer that lets them drip gets no more of it. */

/* Wait for the socket to be ready. Return false with errno, ETIMEDOUT when the time is over. */
static bool await(const struct probe *probe, short events)
{
    struct pollfd polled = {.fd = probe->transport.fd, .events = events};
    int ready = 0;

    while (ready == 0 || (ready < 0 && errno == EINTR)) {
        int64_t left = left_us(probe);
        if (left <= 0) {
            errno = ETIMEDOUT;
            return false;
        }
        ready = poll(&polled, 1, (int)(left / 1000) + 1);
    }
    return ready > 0;
}

/* Return as transport_read. */
static ssize_t receive(struct probe *probe, uint8_t *buffer, size_t size)
{
    ssize_t length = -1;

    do {
        if (!await(probe, POLLIN))
            return -1;
        length = transport_read_nonblocking(&probe->transport, buffer, size);
    } while (length < 0 && (errno == EAGAIN || errno == EINTR));
    return length;
}

/* What can't be sent is not told: what is there to be read says more. */
static void send_all(struct probe *probe, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t taken = transport_write_nonblocking(&probe->transport, bytes, length);
        if (taken < 0 || (taken == 0 && !await(probe, POLLOUT)))
            return;
        bytes += taken;
        length -= (size_t)taken;
    }
}

/* Gathered, since of two small writes the second waits for the first one's acknowledgement. */
static void flush(struct probe *probe)
{
    uint8_t buffer[BUFFER_SIZE];
    size_t length;

    while ((length = client_send(probe->client, buffer, sizeof(buffer))) > 0)
        send_all(probe, buffer, length);
}

/* Ask, and read until the client has seen enough. Return 1; else as the last receive. */
static ssize_t converse(struct probe *probe)
{
    uint8_t buffer[BUFFER_SIZE];
    ssize_t length = 1;

    flush(probe);
    while (length > 0 && !client_finished(probe->client)) {
        length = receive(probe, buffer, sizeof(buffer));
        if (length > 0) {
            client_receive(probe->client, buffer, (size_t)length);
            flush(probe);
        }
    }
    return length;
}

static void leave(struct probe *probe)
{
    client_send_goaway(probe->client);
    flush(probe);
}

/* --- The verdict ---------------------------------------------------------------------------- */

/* Why the conversation ended before the answer was there: ${length} and errno are receive's. */
static int fail_early(const struct probe *probe, const struct client_answer *answer, ssize_t length)
{
    char words[128];
    const char *stage = "the end of the body";

    if (answer->status == 0)
        stage = answer->is_http2 ? "the answer" : "SETTINGS";
    if (length == 0)
        (void)snprintf(words, sizeof(words), "the server closed the connection");
    else if (errno == ETIMEDOUT)
        (void)snprintf(words, sizeof(words), "timed out after %d s", SECONDS);
    else
        (void)snprintf(words, sizeof(words), "%s", strerror(errno));
    return fail(probe, "%s while waiting for %s", words, stage);
}

/* Whether the answer is one of h2echod's. Return an exit code. */
static int judge(const struct probe *probe, const struct client_answer *answer)
{
    char shown[LOG_ESCAPE_MAX];
    char length[32];

    (void)log_escape(shown, sizeof(shown), answer->body, answer->length);
    (void)snprintf(length, sizeof(length), "%zu", answer->length);
    if (answer->status != 200)
        return fail(probe, "status %d, not 200: \"%s\"", answer->status, shown);
    if (strcmp(answer->content_type, "application/json") != 0)
        return fail(probe, "content-type \"%s\", not \"application/json\": \"%s\"",
                    answer->content_type, shown);
    if (strcmp(answer->content_length, length) != 0)
        return fail(probe, "content-length \"%s\", but %s bytes came: \"%s\"",
                    answer->content_length, length, shown);
    if (echo_answers_path(answer->body, answer->length, probe->url.path))
        return EXIT_SUCCESS;
    if (errno == ENOMEM)
        return fail(probe, "out of memory");
    return fail(probe, "the body is no JSON object with the :path that was asked for: \"%s\"",
                shown);
}

static int judge_all(const struct probe *probe, ssize_t length)
{
    const struct client_answer *answer = client_answer(probe->client);

    if (!answer->is_http2 && answer->first[0] != '\0')
        return fail(probe, "not HTTP/2, it begins with \"%s\"", answer->first);
    if (answer->failure[0] != '\0')
        return fail(probe, "%s", answer->failure);
    if (!client_finished(probe->client))
        return fail_early(probe, answer, length);
    return judge(probe, answer);
}

/* --- What is printed ------------------------------------------------------------------------ */

/* As it is, but for bytes that a terminal could take for commands. */
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

static void print_settings(const struct client_answer *answer)
{
    const char *before = ", ";

    for (size_t i = 0; i < answer->setting_count; i++) {
        const struct client_setting *setting = &answer->settings[i];
        const char *name = wire_setting_name(setting->id);
        if (name != NULL)
            (void)printf("%sSETTINGS_%s=%u", before, name, setting->value);
        else
            (void)printf("%s0x%04x=%u", before, setting->id, setting->value);
        before = " ";
    }
}

static void print(const struct probe *probe, const struct client_answer *answer, int64_t took_us)
{
    (void)printf("%s: %d, %s, %zu bytes of %s in %.1f ms, h2c", probe->target, answer->status,
                 answer->server[0] != '\0' ? answer->server : "no name", answer->length,
                 answer->content_type, (double)took_us / 1000.0);
    print_settings(answer);
    (void)putchar('\n');
    print_body(answer->body, answer->length);
}

/* --- All of it ------------------------------------------------------------------------------ */

static int ask(struct probe *probe)
{
    const struct client_request request = {"http", probe->url.authority, probe->url.path};
    int result;
    ssize_t length;
    int64_t took_us;
    int error;

    probe->client = client_new(&request);
    if (probe->client == NULL)
        return fail(probe, "out of memory");
    length = converse(probe);
    error = errno;
    took_us = clock_now().monotonic_us - probe->began_us;
    leave(probe);
    errno = error;
    result = judge_all(probe, length);
    if (result == EXIT_SUCCESS)
        print(probe, client_answer(probe->client), took_us);
    client_free(probe->client);
    return result;
}

int probe_run(const struct settings *settings)
{
    struct probe probe = {0};
    int result = find_target(&probe, settings);

    if (result != EXIT_SUCCESS)
        return result;
    probe.began_us = clock_now().monotonic_us;
    result = probe.url.scheme == URL_UNIX ? connect_unix(&probe) : connect_tcp(&probe);
    if (result != EXIT_SUCCESS)
        return result;
    result = ask(&probe);
    transport_close(&probe.transport);
    return result;
}
