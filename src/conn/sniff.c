#include "conn/sniff.h"

#include "base/structured.h"
#include "base/wire.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

const uint8_t sniff_tls_alert[TLS_ALERT_SIZE] = {
    0x15,       /* alert */
    0x03, 0x01, /* the version that every client takes in an answer to its first record */
    0x00, 0x02, /* two bytes: */
    0x02,       /* fatal */
    0x0a,       /* unexpected_message */
};

static enum sniffed detect_http2(const uint8_t *bytes, size_t length)
{
    size_t compared = length < WIRE_PREFACE_SIZE ? length : WIRE_PREFACE_SIZE;

    if (memcmp(bytes, wire_preface, compared) != 0)
        return SNIFFED_UNKNOWN;
    return compared < WIRE_PREFACE_SIZE ? SNIFFED_INCOMPLETE : SNIFFED_HTTP2;
}

static enum sniffed detect_tls(const uint8_t *bytes, size_t length)
{
    enum { HANDSHAKE = 0x16, MAJOR = 0x03 };

    if (bytes[0] != HANDSHAKE)
        return SNIFFED_UNKNOWN;
    if (length < 2)
        return SNIFFED_INCOMPLETE;
    return bytes[1] == MAJOR ? SNIFFED_TLS : SNIFFED_UNKNOWN;
}

/* The line's last word, once the line is whole: HTTP/1.x or not. */
static enum sniffed detect_version(const uint8_t *line, size_t length)
{
    enum { VERSION = sizeof("HTTP/1.x") - 1 };

    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (length <= VERSION || line[length - VERSION - 1] != ' ' ||
        memcmp(line + length - VERSION, "HTTP/1.", VERSION - 1) != 0)
        return SNIFFED_UNKNOWN;
    return line[length - 1] >= '0' && line[length - 1] <= '9' ? SNIFFED_HTTP1 : SNIFFED_UNKNOWN;
}

/* method SP request-target SP HTTP-version CRLF, or LF alone as people type it. */
static enum sniffed detect_http1(const uint8_t *bytes, size_t length)
{
    const uint8_t *newline = memchr(bytes, '\n', length);
    size_t line = newline != NULL ? (size_t)(newline - bytes) : length;
    size_t method = 0;

    while (method < line && structured_is_tchar(bytes[method]))
        method++;
    if (method == 0 || (method < line && bytes[method] != ' '))
        return SNIFFED_UNKNOWN;
    if (newline == NULL)
        return length < SNIFF_LINE_MAX ? SNIFFED_INCOMPLETE : SNIFFED_UNKNOWN;
    if (method == line || line >= SNIFF_LINE_MAX)
        return SNIFFED_UNKNOWN;
    return detect_version(bytes + method + 1, line - method - 1);
}

enum sniffed sniff_protocol(const uint8_t *bytes, size_t length)
{
    static enum sniffed (*const detectors[])(const uint8_t *, size_t) = {detect_http2, detect_tls,
                                                                         detect_http1};
    enum sniffed verdict = SNIFFED_UNKNOWN;

    if (length == 0)
        return SNIFFED_INCOMPLETE;
    for (size_t i = 0; i < sizeof(detectors) / sizeof(detectors[0]); i++) {
        enum sniffed found = detectors[i](bytes, length);

        if (found != SNIFFED_UNKNOWN && found != SNIFFED_INCOMPLETE)
            return found;
        if (found == SNIFFED_INCOMPLETE)
            verdict = SNIFFED_INCOMPLETE;
    }
    return verdict;
}

/* What a person may paste into a shell, and a terminal may show, without harm. */
static bool is_harmless(const char *text, size_t length, const char *punctuation)
{
    for (size_t i = 0; i < length; i++) {
        char c = text[i];

        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (c != '\0' && strchr(punctuation, c) != NULL)))
            return false;
    }
    return length > 0;
}

/* Find the value of the first Host field in what has come of the request's head. */
static bool find_host(const char **host, size_t *host_length, const char *request, size_t length)
{
    static const char name[] = "host:";
    const char *end = request + length;
    const char *newline = memchr(request, '\n', length);

    while (newline != NULL && newline + 1 < end) {
        const char *line = newline + 1;
        const char *stop;

        stop = newline = memchr(line, '\n', (size_t)(end - line));
        if (newline == NULL || *line == '\r' || *line == '\n')
            return false;
        if ((size_t)(newline - line) >= sizeof(name) - 1 &&
            strncasecmp(line, name, sizeof(name) - 1) == 0) {
            line += sizeof(name) - 1;
            while (line < stop && (*line == ' ' || *line == '\t'))
                line++;
            while (stop > line && (stop[-1] == ' ' || stop[-1] == '\t' || stop[-1] == '\r'))
                stop--;
            *host = line;
            *host_length = (size_t)(stop - line);
            return true;
        }
    }
    return false;
}

/* The command that works, as words of a sentence. */
static void write_command(char *command, size_t size, const char *request, size_t length,
                          const struct http1_endpoint *place)
{
    enum { HOST_MAX = 255 + sizeof(":65535") - 1 };
    const char *option = place->is_tls ? "http2" : "http2-prior-knowledge";
    const char *scheme = place->is_tls ? "https" : "http";
    const char *unix_path = place->unix_path;
    const char *host;
    size_t host_length;

    if (unix_path != NULL && is_harmless(unix_path, strlen(unix_path), "/._+-@:,"))
        snprintf(command, size, "curl --http2-prior-knowledge --unix-socket %s http://localhost/",
                 unix_path);
    else if (unix_path != NULL)
        snprintf(command, size,
                 "curl --http2-prior-knowledge --unix-socket PATH http://localhost/");
    else if (find_host(&host, &host_length, request, length) && host_length <= HOST_MAX &&
             is_harmless(host, host_length, ".:_-[]"))
        snprintf(command, size, "curl --%s %s://%.*s/", option, scheme, (int)host_length, host);
    else
        snprintf(command, size, "curl --%s %s://%s/", option, scheme, place->authority);
}

static const char *reason_of(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 426:
        return "Upgrade Required";
    case 431:
        return "Request Header Fields Too Large";
    default:
        return "HTTP Version Not Supported";
    }
}

size_t http1_answer_write(char answer[static HTTP1_ANSWER_MAX], const struct http1_refusal *refusal,
                          const uint8_t *request, size_t length, const struct http1_endpoint *place)
{
    static const char head[] = "HEAD ";
    const char *text = (const char *)request;
    const char *reason = reason_of(refusal->status);
    char command[HTTP1_ANSWER_MAX / 2];
    char body[HTTP1_ANSWER_MAX - 256];
    int written;

    write_command(command, sizeof(command), text, length, place);
    snprintf(body, sizeof(body), "%s: %s. Try:\n  %s\n", reason, refusal->reason, command);
    written = snprintf(answer, HTTP1_ANSWER_MAX,
                       "HTTP/1.1 %d %s\r\n"
                       "server: h2echod/" H2ECHOD_VERSION "\r\n"
                       "content-type: text/plain; charset=utf-8\r\n"
                       "content-length: %zu\r\n"
                       "connection: %s\r\n"
                       "\r\n"
                       "%s",
                       refusal->status, reason, strlen(body),
                       refusal->status == 426 ? "upgrade, close\r\nupgrade: h2c" : "close",
                       strncmp(text, head, sizeof(head) - 1) == 0 ? "" : body);
    return written < 0 ? 0 : (size_t)written;
}
