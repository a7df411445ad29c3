/*
 * http1_answer: the response to an HTTP/1.x request that is not served, which says what to use
 * instead. Pure.
 */
#ifndef H2ECHOD_CONN_HTTP1_ANSWER_H
#define H2ECHOD_CONN_HTTP1_ANSWER_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>

enum { HTTP1_ANSWER_MAX = 1024 }; /* bytes for any answer, with a NUL */

/* Why an HTTP/1.x request is refused. */
struct http1_refusal {
    int status;         /* 400, 426, 431 or 505; 0 = not refused */
    const char *reason; /* names the section of an RFC; static */
};

/* Where a request was received. */
struct http1_endpoint {
    const char *authority; /* "127.0.0.1:8080" */
    const char *unix_path; /* NULL = not a Unix socket */
    bool is_tls;
};

/*
 * http1_answer_write(answer, refusal, request, endpoint):
 * Write a complete HTTP/1.1 response with ${refusal} to ${request}, which begins with a request
 * line, into ${answer}. Its content names a command that works, with the host of the request's Host
 * field if that is safe to paste into a shell, otherwise with the authority of ${endpoint}. For a
 * Unix socket the command names its path, or "PATH" if that is not safe. The answer to HEAD has no
 * content. Return the response's length, which is less than HTTP1_ANSWER_MAX.
 */
size_t http1_answer_write(char answer[static HTTP1_ANSWER_MAX], const struct http1_refusal *refusal,
                          struct span request, const struct http1_endpoint *endpoint);

#endif
