/*
 * field_section: the fields that nghttp2 decodes become the body of the response.
 *
 * The requests of one client resemble each other, and HPACK hands out the same reference-counted
 * buffers for a field for as long as the field is in its dynamic table. So the reader remembers one
 * header section, by nghttp2's buffers, together with its response: the cached section. While the
 * fields of a new section are the cached ones, in the same order, they are only counted; if all of
 * them are, the response is the cached one, shared. From the first field that differs, each field
 * is handled by itself: its JSON text is copied from the cached section if it is found there, and
 * encoded otherwise. Pure.
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

/* The beginnings of a request's method and path, for the log. They are copies, since nghttp2's
 * buffers may be much larger than what they hold. */
struct field_section_target {
    size_t references;
    size_t method_length;
    size_t path_length;
    uint8_t bytes[]; /* the method, then the path */
};

/* What the request's fields ask for, beside being echoed. */
struct field_section_request {
    struct field_section_target *target; /* shared; NULL = not needed */
    int64_t content_length;              /* as announced by the client; -1 = not announced */
    bool head;
    bool connect;
    bool expects_continue;
    bool has_host;
    bool detailed; /* accept names the detailed representation */
};

/* The keys of echo's fields are nghttp2's buffers, to each of which the section holds a reference.
 */
struct field_section {
    struct echo echo;
    struct field_section_request request; /* its target is set at the end of the section */
    nghttp2_rcbuf *method;                /* references; NULL = not seen, or not needed */
    nghttp2_rcbuf *path;
};

struct field_section_options {
    size_t max_list_size; /* bytes, as RFC 9113 section 6.5.2 counts them */
    size_t method_max;    /* bytes to be copied into a target; 0 with path_max = no target */
    size_t path_max;
    const char *detailed_type; /* media type that asks for the detailed response; static */
    bool pretty;
};

enum field_section_kind {
    FIELD_SECTION_HEADER,
    FIELD_SECTION_TRAILERS,         /* to be shown by a detailed response */
    FIELD_SECTION_TRAILERS_COUNTED, /* not needed: only their size is checked */
};

enum field_section_result {
    FIELD_SECTION_ADDED,
    FIELD_SECTION_TOO_LARGE, /* with this field, or an earlier one: no more fields are kept */
    FIELD_SECTION_EXCESSIVE, /* more than 16 times as large as allowed */
    FIELD_SECTION_USERINFO,  /* in :authority or host, where it is not allowed (RFC 9110 section
                                4.2.4) */
    FIELD_SECTION_NO_MEMORY,
};

struct field_section_reader;

/*
 * field_section_reader_new(options, arena):
 * Return a reader with memory from ${arena}, to be freed by field_section_reader_free, or NULL if
 * memory ran out.
 */
struct field_section_reader *field_section_reader_new(const struct field_section_options *options,
                                                      struct arena *arena);

/*
 * field_section_reader_free(reader):
 * Free ${reader}. The bodies and field lists that it returned stay valid. NULL is allowed.
 */
void field_section_reader_free(struct field_section_reader *reader);

/*
 * field_section_begin(reader, kind):
 * Begin a section. The one before must have ended: by field_section_end, field_section_take after
 * that if its request is detailed, or field_section_abort.
 */
void field_section_begin(struct field_section_reader *reader, enum field_section_kind kind);

/*
 * field_section_mark_never_indexed(reader):
 * The field that is added next is one that must never be indexed (RFC 7541 section 6.2.3). Return
 * false if memory ran out.
 */
bool field_section_mark_never_indexed(struct field_section_reader *reader);

/*
 * field_section_add(reader, name, value):
 * Add the next field, which nghttp2 has found to be valid. The buffers stay nghttp2's; the reader
 * takes references of its own. If the result is not FIELD_SECTION_ADDED or FIELD_SECTION_TOO_LARGE,
 * the section is to be ended by field_section_abort.
 */
enum field_section_result field_section_add(struct field_section_reader *reader,
                                            nghttp2_rcbuf *name, nghttp2_rcbuf *value);

/*
 * field_section_peek(reader):
 * Return the fields of the current section so far, for a message about them; of trailers that are
 * only counted, what they ask for. It is ${reader}'s, and valid until the next call. Return NULL if
 * memory ran out.
 */
const struct field_section *field_section_peek(struct field_section_reader *reader);

/*
 * field_section_end(reader, request, body):
 * The header section is complete. Set ${request}, to be freed by field_section_request_free, and
 * ${body} to the response that echoes the section, to be dropped by the caller. ${body} is NULL if
 * the section is too large, and if ${request} is detailed: the caller has to call
 * field_section_take next. Return false if memory ran out.
 */
bool field_section_end(struct field_section_reader *reader, struct field_section_request *request,
                       struct echo_body **body);

/*
 * field_section_take(reader, fields):
 * The header section of a detailed request, or its trailer section, is complete. Set ${fields} to
 * all of its fields, to be freed by the caller; NULL if it is too large. Return false if memory ran
 * out.
 */
bool field_section_take(struct field_section_reader *reader, struct field_list **fields);

/*
 * field_section_abort(reader, request):
 * The section will not be completed, or it is not needed. If ${request} is not NULL, set it
 * according to the fields so far, to be freed by field_section_request_free; it is left as it is if
 * memory ran out.
 */
void field_section_abort(struct field_section_reader *reader,
                         struct field_section_request *request);

/*
 * field_section_repeats(request, name):
 * Return true if ${name} is the name of a regular field that may occur only once (RFC 9110 sections
 * 7.2 and 8.6), and ${request} has it.
 */
bool field_section_repeats(const struct field_section_request *request, nghttp2_vec name);

/*
 * field_section_request_free(arena, request):
 * Free what ${request}, of a reader with memory from ${arena}, owns or shares.
 */
void field_section_request_free(struct arena *arena, struct field_section_request *request);

#endif
