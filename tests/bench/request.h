/*
 * request: the fields of the benchmark's requests, in the form in which nghttp2 sends them.
 */
#ifndef H2ECHOD_TESTS_BENCH_REQUEST_H
#define H2ECHOD_TESTS_BENCH_REQUEST_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REQUEST_FIELDS_MAX = 24, REQUEST_TEXT_MAX = 4096 };

/* One request. It must not be moved, since its fields point into it or at static strings. */
struct request {
    nghttp2_nv fields[REQUEST_FIELDS_MAX];
    size_t field_count;
    char path[48];               /* of request_varied, terminated */
    char value[48];              /* of its x-request-id, terminated */
    char text[REQUEST_TEXT_MAX]; /* the file of request_browser */
};

/*
 * request_plain(request, method):
 * Fill ${request} with a small request like h2load's, always the same.
 */
void request_plain(struct request *request, const char *method);

/*
 * request_varied(request, number):
 * Fill ${request} with a small request whose path and x-request-id differ for each ${number}.
 */
void request_varied(struct request *request, size_t number);

/*
 * request_is_echoed(request, body, length):
 * Return true if ${body} is h2echod's response to ${request}. Its fields must not need escaping in
 * JSON.
 */
bool request_is_echoed(const struct request *request, const char *body, size_t length);

/*
 * request_browser(request, file):
 * Fill ${request} with a browser's, whose fields are in ${file}: one "NAME: VALUE" in each line.
 * Exit if the file cannot be read.
 */
void request_browser(struct request *request, const char *file);

#endif
