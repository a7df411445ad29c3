/*
 * request: the fields that requests of the bench have, for an nghttp2 client to send.
 */
#ifndef H2ECHOD_TESTS_BENCH_REQUEST_H
#define H2ECHOD_TESTS_BENCH_REQUEST_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REQUEST_FIELDS_MAX = 24, REQUEST_TEXT_MAX = 4096 };

/* One request. The fields point into it or at static strings: it must stay where it is. */
struct request {
    nghttp2_nv fields[REQUEST_FIELDS_MAX];
    size_t field_count;
    char path[48]; /* terminated */
    char value[48];
    char text[REQUEST_TEXT_MAX];
};

/*
 * request_plain(request, method):
 * Make ${request} a small one, always the same, like one of h2load's.
 */
void request_plain(struct request *request, const char *method);

/*
 * request_varied(request, number):
 * Make ${request} a small one with a path and a value of its own: no other ${number} has them.
 */
void request_varied(struct request *request, size_t number);

/*
 * request_is_echoed(request, body, length):
 * Return true if ${body} is what h2echod answers to ${request}, whose fields JSON need not escape.
 */
bool request_is_echoed(const struct request *request, const char *body, size_t length);

/*
 * request_browser(request, file):
 * Make ${request} one of a browser, whose fields ${file} lists: a name, ": " and a value a line.
 * End the process if it can't be read.
 */
void request_browser(struct request *request, const char *file);

#endif
