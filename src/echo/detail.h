/*
 * detail: the detailed representation of a request: its fields as they arrived, and what is known
 * of its stream, its connection and its client, as one JSON object (by jansson). man/h2echod.8
 * describes it, conf/h2echod.schema.json is its schema.
 *
 * A request asks for it by an accept field that names DETAIL_MEDIA_TYPE. Pure.
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

enum { DETAIL_ADDRESS_MAX = 512 /* bytes of an address as text, with its NUL */ };

/* What the owner of the socket knows about a connection. */
struct detail_origin {
    uint64_t id;
    const char *protocol; /* "h2c", "h2c by upgrade" or "h2"; static */
    bool has_tls;
    struct tls_info tls;
    char peer[DETAIL_ADDRESS_MAX];
    char local[DETAIL_ADDRESS_MAX];
};

enum { DETAIL_REPORTS = 8, DETAIL_REPORT_MAX = 200 };

/* A line about the connection that was logged. */
struct detail_report {
    int32_t stream_id; /* 0 = about the connection as a whole */
    char text[DETAIL_REPORT_MAX];
};

struct detail_reports {
    size_t count; /* of all reports so far; the n-th is in latest[n % DETAIL_REPORTS] */
    struct detail_report latest[DETAIL_REPORTS];
};

/* The request's field block (RFC 7541). */
struct detail_block {
    size_t wire_bytes;  /* of the block, without padding and frame headers */
    size_t table_bytes; /* of the decoder's dynamic table after it */
};

struct detail {
    struct detail_origin origin;
    int64_t age_us; /* of the connection */
    int32_t stream_id;
    uint64_t number; /* of this request on the connection, from 1 */
    const struct field_list *fields;
    const struct field_list *trailers; /* NULL = none */
    size_t trailers_left_out;          /* number of trailers that were not kept */
    uint64_t content_length;           /* bytes that arrived */
    struct wire_dependency dependency; /* in HEADERS; its weight is 0 if there is none */
    struct detail_block block;
    int32_t stream_window; /* bytes that the client allows to be sent now */
    int32_t connection_window;
    const struct client_frames *client_frames;
    const struct detail_reports *reports; /* NULL = none */
    bool head;                            /* :method is shown as GET, which HEAD stands for */
    bool pretty;
};

/*
 * detail_compose(arena, detail):
 * Return ${detail} as JSON, with memory from ${arena}, to be freed by echo_body_drop; NULL if
 * memory ran out.
 */
struct echo_body *detail_compose(struct arena *arena, const struct detail *detail);

#endif
