/*
 * section: the fields of a request's header section become what is to be answered.
 *
 * A client's requests are much alike, and HPACK hands out the same buffer for as long as it
 * remembers a field. So the reader remembers the last section, by nghttp2's buffers: as long as the
 * fields come as they did there nothing is done, and if all do, the answer is the same one, shared.
 * From the first field on that differs, each is taken up by itself: copied from there where it was,
 * else encoded. Pure.
 */
#ifndef H2ECHOD_HTTP2_FIELD_SECTION_H
#define H2ECHOD_HTTP2_FIELD_SECTION_H

#include "echo/echo.h"
#include "echo/field_list.h"

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

/* A request's method and path, for who writes of it: as many bytes of them as he wants. A copy,
 * since nghttp2's buffers may be much larger than what is in them. */
struct field_section_target {
    size_t references;
    size_t method_length;
    size_t path_length;
    uint8_t bytes[]; /* the method, then the path */
};

/* The few fields that change what is done. */
struct field_section_request {
    struct field_section_target *target; /* shared; NULL = nobody wants it */
    int64_t content_length;              /* as the client announced it; -1 = it did not */
    bool head;
    bool connect;
    bool expects_continue;
    bool has_host;
    bool detailed; /* accept names the detailed representation */
};

/* A section's fields: to the buffers that are its echo's keys it holds references. */
struct field_section {
    struct echo echo;
    struct field_section_request request; /* its target only when the section is over */
    nghttp2_rcbuf *method;                /* references, until the section is forgotten */
    nghttp2_rcbuf *path;
};

struct field_section_options {
    size_t max_list_size; /* bytes, as RFC 9113 section 6.5.2 counts */
    size_t method_max;    /* bytes of a target's; 0 = nobody wants it */
    size_t path_max;
    const char *detailed_type; /* the media type that asks for every field as it came; static */
    bool pretty;
};

enum field_section_kind {
    FIELD_SECTION_HEADER,
    FIELD_SECTION_TRAILERS,
    FIELD_SECTION_TRAILERS_COUNTED, /* nobody wants to see them */
};

enum field_section_result {
    FIELD_SECTION_ADDED,
    FIELD_SECTION_TOO_LARGE, /* with this field, or one before it: no more of them is kept */
    FIELD_SECTION_ENDLESS,   /* sixteen times as large as it may be */
    FIELD_SECTION_USERINFO,  /* in :authority or host, where http has none (RFC 9110 section 4.2.4)
                              */
    FIELD_SECTION_NO_MEMORY,
};

struct field_section_reader;

/*
 * field_section_reader_new(options, arena):
 * Return a reader with memory from ${arena}, to be freed by field_section_reader_free; NULL if
 * memory ran out.
 */
struct field_section_reader *field_section_reader_new(const struct field_section_options *options,
                                                      struct arena *arena);

/*
 * field_section_reader_free(reader):
 * Free ${reader}; bodies stay. NULL is fine.
 */
void field_section_reader_free(struct field_section_reader *reader);

/*
 * field_section_begin(reader, kind):
 * Begin a section.
 */
void field_section_begin(struct field_section_reader *reader, enum field_section_kind kind);

/*
 * field_section_mark_never_indexed(reader):
 * The next field is never to be indexed (RFC 7541 section 6.2.3). Return false if memory ran out.
 */
bool field_section_mark_never_indexed(struct field_section_reader *reader);

/*
 * field_section_add(reader, name, value):
 * Take the next field, which nghttp2 has found to be well-formed.
 */
enum field_section_result field_section_add(struct field_section_reader *reader,
                                            nghttp2_rcbuf *name, nghttp2_rcbuf *value);

/*
 * field_section_peek(reader):
 * Return the section's fields so far, since something is to be told of them; of trailers, what they
 * come to. They are ${reader}'s; NULL if memory ran out.
 */
const struct field_section *field_section_peek(struct field_section_reader *reader);

/*
 * field_section_end(reader, request, body):
 * The header section is whole: let ${request} be what it comes to, to be freed by
 * field_section_request_free, and ${body} its echo, to be dropped by the caller; NULL if it was too
 * large, or if ${request} is detailed: then field_section_take is to be called next. Return false
 * if memory ran out.
 */
bool field_section_end(struct field_section_reader *reader, struct field_section_request *request,
                       struct echo_body **body);

/*
 * field_section_take(reader, fields):
 * The section, a detailed request's or its trailers, is whole: let ${fields} be all that it had, to
 * be freed by the caller; NULL if it was too large. Return false if memory ran out.
 */
bool field_section_take(struct field_section_reader *reader, struct field_list **fields);

/*
 * field_section_abort(reader, request):
 * The section ends before it is whole, or nobody wants to see it. If ${request} is not NULL, let it
 * be what has come so far, to be freed by field_section_request_free; nothing if memory ran out.
 */
void field_section_abort(struct field_section_reader *reader,
                         struct field_section_request *request);

/*
 * field_section_repeats(request, name):
 * Return true if ${name} is a field that may come once, besides the pseudo-header fields, and
 * ${request} has it.
 */
bool field_section_repeats(const struct field_section_request *request, nghttp2_vec name);

/*
 * field_section_request_free(arena, request):
 * Let go of what ${request}, from a reader with memory from ${arena}, shares.
 */
void field_section_request_free(struct arena *arena, struct field_section_request *request);

#endif
