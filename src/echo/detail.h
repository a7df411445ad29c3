/*
 * detail: the detailed representation, all that is known of a request and of its connection, as one
 * JSON object (by jansson). man/h2echod.8 and conf/h2echod.schema.json tell its form.
 *
 * A request asks for it by a media range that names DETAIL_MEDIA_TYPE. Pure.
 */
#ifndef H2ECHOD_ECHO_DETAIL_H
#define H2ECHOD_ECHO_DETAIL_H

#include "base/wire.h"
#include "echo/echo.h"
#include "echo/field_list.h"
#include "net/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client_frames;
struct arena;

#define DETAIL_MEDIA_TYPE "application/vnd.h2echod+json"

enum { DETAIL_ADDRESS_MAX = 512 };

/* What whoever has the socket knows of a connection. */
struct detail_origin {
    uint64_t id;
    const char *protocol; /* "h2c", "h2c by upgrade" or "h2"; static */
    bool has_tls;
    struct tls_info tls;
    char peer[DETAIL_ADDRESS_MAX];
    char local[DETAIL_ADDRESS_MAX];
};

/* What the log was told last. */
enum { DETAIL_REPORTS = 8, DETAIL_REPORT_MAX = 200 };

struct detail_report {
    int32_t stream_id; /* 0 = the connection */
    char text[DETAIL_REPORT_MAX];
};

struct detail_reports {
    size_t count; /* of all that there were; the n-th is in latest[n % DETAIL_REPORTS] */
    struct detail_report latest[DETAIL_REPORTS];
};

/* A request's header block (RFC 7541). */
struct detail_block {
    size_t wire_bytes;  /* as it came, without padding and frame headers */
    size_t table_bytes; /* the decoder's dynamic table behind it */
};

struct detail {
    struct detail_origin origin;
    int64_t age_us; /* of the connection */
    int32_t stream_id;
    uint64_t number; /* of this request on the connection, from 1 */
    const struct field_list *fields;
    const struct field_list *trailers; /* NULL = none */
    size_t trailers_left_out;          /* fields of them */
    uint64_t content_length;           /* bytes that came */
    struct wire_dependency dependency; /* in HEADERS; its weight is 0 where there is none */
    struct detail_block block;
    int32_t stream_window; /* bytes that the client lets us send */
    int32_t connection_window;
    const struct client_frames *client_frames;
    const struct detail_reports *reports; /* NULL = none */
    bool head;                            /* it is told as the GET that HEAD stands for */
    bool pretty;
};

/*
 * detail_compose(arena, detail):
 * Return ${detail} as JSON, with memory from ${arena}, to be dropped by the caller; NULL if memory
 * ran out.
 */
struct echo_body *detail_compose(struct arena *arena, const struct detail *detail);

#endif
