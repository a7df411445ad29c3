#include "conn/http1_answer.h"

#include <stdio.h>
#include <string.h>

/* Return true if ${text} consists of ASCII letters, digits and ${punctuation}, which are chosen so
 * that a shell and a terminal treat it as plain text. */
static bool is_safe_to_paste(struct span text, const char *punctuation)
{
    for (size_t i = 0; i < text.length; i++) {
        uint8_t c = text.bytes[i];

        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (c != '\0' && strchr(punctuation, c) != NULL)))
            return false;
    }
    return text.length > 0;
}

/* Find the value of the first Host field, in a request head that may be incomplete. */
static bool find_host(struct span head, struct span *host)
{
    static const char name[] = "host:";
    const size_t name_length = sizeof(name) - 1;

    (void)span_take_until(&head, '\n'); /* the request line */
    while (head.length > 0 && memchr(head.bytes, '\n', head.length) != NULL) {
        struct span line = span_take_until(&head, '\n');

        if (line.length == 0 || line.bytes[0] == '\r')
            return false;
        if (line.length < name_length ||
            !span_is_ignoring_case((struct span){line.bytes, name_length}, name))
            continue;
        while (line.bytes[line.length - 1] == '\r' || span_is_blank(line.bytes[line.length - 1]))
            line.length--; /* not past the colon */
        *host = span_trim(span_skip(line, name_length));
        return true;
    }
    return false;
}

/* Write the command that works. */
static void write_command(char *command, size_t size, struct span request,
                          const struct http1_endpoint *endpoint)
{
    enum { HOST_MAX = 255 + sizeof(":65535") - 1 };
    const char *option = endpoint->is_tls ? "http2" : "http2-prior-knowledge";
    const char *scheme = endpoint->is_tls ? "https" : "http";
    const char *unix_path = endpoint->unix_path;
    struct span host;

    if (unix_path != NULL && is_safe_to_paste(span_of(unix_path), "/._+-@:,"))
        snprintf(command, size, "curl --http2-prior-knowledge --unix-socket %s http://localhost/",
                 unix_path);
    else if (unix_path != NULL)
        snprintf(command, size,
                 "curl --http2-prior-knowledge --unix-socket PATH http://localhost/");
    else if (find_host(request, &host) && host.length <= HOST_MAX &&
             is_safe_to_paste(host, ".:_-[]"))
        snprintf(command, size, "curl --%s %s://%.*s/", option, scheme, (int)host.length,
                 (const char *)host.bytes);
    else
        snprintf(command, size, "curl --%s %s://%s/", option, scheme, endpoint->authority);
}

static const char *reason_phrase(int status)
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
                          struct span request, const struct http1_endpoint *endpoint)
{
    static const char head[] = "HEAD ";
    const char *phrase = reason_phrase(refusal->status);
    char command[HTTP1_ANSWER_MAX / 2];
    char content[HTTP1_ANSWER_MAX - 256];
    bool is_head = strncmp((const char *)request.bytes, head, sizeof(head) - 1) == 0;
    int written;

    write_command(command, sizeof(command), request, endpoint);
    snprintf(content, sizeof(content), "%s: %s. Try:\n  %s\n", phrase, refusal->reason, command);
    written = snprintf(answer, HTTP1_ANSWER_MAX,
                       "HTTP/1.1 %d %s\r\n"
                       "server: h2echod/" H2ECHOD_VERSION "\r\n"
                       "content-type: text/plain; charset=utf-8\r\n"
                       "content-length: %zu\r\n"
                       "connection: %s\r\n"
                       "\r\n"
                       "%s",
                       refusal->status, phrase, strlen(content),
                       refusal->status == 426 ? "upgrade, close\r\nupgrade: h2c" : "close",
                       is_head ? "" : content);
    return written < 0 ? 0 : (size_t)written;
}
