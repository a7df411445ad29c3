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
struct section_target {
    size_t references;
    size_t method_length;
    size_t path_length;
    uint8_t bytes[]; /* the method, then the path */
};

/* The few fields that change what is done. */
struct section_request {
    struct section_target *target; /* shared; NULL = nobody wants it */
    int64_t content_length;        /* as the client announced it; -1 = it did not */
    bool head;
    bool connect;
    bool expects_continue;
    bool has_host;
    bool detailed; /* accept names the detailed representation */
};

/* A section's fields: to the buffers that are its echo's keys it holds references. */
struct section {
    struct echo echo;
    struct section_request request; /* its target only when the section is over */
    nghttp2_rcbuf *method;          /* references, until the section is forgotten */
    nghttp2_rcbuf *path;
};

struct section_options {
    size_t max_list_size; /* bytes, as RFC 9113 section 6.5.2 counts */
    size_t method_max;    /* bytes of a target's; 0 = nobody wants it */
    size_t path_max;
    const char *detailed_type; /* the media type that asks for every field as it came; static */
    bool pretty;
};

enum section_kind {
    SECTION_HEADER,
    SECTION_TRAILERS,
    SECTION_TRAILERS_COUNTED, /* nobody wants to see them */
};

enum section_result {
    SECTION_ADDED,
    SECTION_TOO_LARGE, /* with this field, or one before it: no more of them is kept */
    SECTION_ENDLESS,   /* sixteen times as large as it may be */
    SECTION_USERINFO,  /* in :authority or host, where http has none (RFC 9110 section 4.2.4) */
    SECTION_NO_MEMORY,
};

struct section_reader;

/*
 * section_reader_new(options, arena):
 * Return a reader with memory from ${arena}, to be freed by section_reader_free; NULL if memory ran
 * out.
 */
struct section_reader *section_reader_new(const struct section_options *options,
                                          struct arena *arena);

/*
 * section_reader_free(reader):
 * Free ${reader}; bodies stay. NULL is fine.
 */
void section_reader_free(struct section_reader *reader);

/*
 * section_begin(reader, kind):
 * Begin a section.
 */
void section_begin(struct section_reader *reader, enum section_kind kind);

/*
 * section_mark(reader):
 * The next field is never to be indexed (RFC 7541 section 6.2.3). Return false if memory ran out.
 */
bool section_mark(struct section_reader *reader);

/*
 * section_add(reader, name, value):
 * Take the next field, which nghttp2 has found to be well-formed.
 */
enum section_result section_add(struct section_reader *reader, nghttp2_rcbuf *name,
                                nghttp2_rcbuf *value);

/*
 * section_look(reader):
 * Return the section's fields so far, since something is to be told of them; of trailers, what they
 * come to. They are ${reader}'s; NULL if memory ran out.
 */
const struct section *section_look(struct section_reader *reader);

/*
 * section_end(reader, request, body):
 * The header section is whole: let ${request} be what it comes to, to be freed by
 * section_request_free, and ${body} its echo, to be dropped by the caller; NULL if it was too
 * large, or if ${request} is detailed: then section_take is to be called next. Return false if
 * memory ran out.
 */
bool section_end(struct section_reader *reader, struct section_request *request,
                 struct echo_body **body);

/*
 * section_take(reader, fields):
 * The section, a detailed request's or its trailers, is whole: let ${fields} be all that it had, to
 * be freed by the caller; NULL if it was too large. Return false if memory ran out.
 */
bool section_take(struct section_reader *reader, struct fields **fields);

/*
 * section_break(reader, request):
 * The section ends before it is whole, or nobody wants to see it. If ${request} is not NULL, let it
 * be what has come so far, to be freed by section_request_free; nothing if memory ran out.
 */
void section_break(struct section_reader *reader, struct section_request *request);

/*
 * section_repeats(request, name):
 * Return true if ${name} is a field that may come once, besides the pseudo-header fields, and
 * ${request} has it.
 */
bool section_repeats(const struct section_request *request, nghttp2_vec name);

/*
 * section_request_free(arena, request):
 * Let go of what ${request}, from a reader with memory from ${arena}, shares.
 */
void section_request_free(struct arena *arena, struct section_request *request);

#endif
