#include "http2/field_section.h"

#include "base/arena.h"
#include "base/span.h"
#include "echo/accept.h"

#include <stdlib.h>

enum {
    FIELD_OVERHEAD = 32,       /* bytes that each field counts extra (RFC 9113 section 6.5.2) */
    EXCESSIVE_FACTOR = 16,     /* times max_list_size, until which a section is decoded */
    SEARCH_FIELDS = 8,         /* how far a field that has moved is searched for */
    CACHED_FIELDS_MAX = 64,    /* larger sections are not cached */
    CACHED_LENGTH_MAX = 16384, /* bytes of JSON text */
};

enum state {
    MATCHING, /* all fields so far are the cached section's: only their number is kept */
    ADDING,   /* each field is added to the current section */
    COUNTING, /* the size is counted, but no field is kept: too large, or not needed */
};

struct field_section_reader {
    struct field_section_options options;
    struct arena *arena;
    struct field_section current; /* empty while matching, and between sections */
    struct field_section cached;
    struct echo_body
        *cached_body; /* the response to the cached section; NULL = nothing is cached */
    enum state state;
    size_t matched;          /* number of fields while matching */
    size_t place;            /* in the cached section, after the field that was found there last */
    size_t list_size;        /* of the fields that were added or counted */
    uint32_t *never_indexed; /* places of fields that must never be indexed, ascending; owned */
    size_t never_indexed_count;
    size_t never_indexed_capacity;
};

struct field {
    struct echo_key key;
    struct span name;
    struct span value;
};

static struct span span_of_buffer(nghttp2_rcbuf *buffer)
{
    nghttp2_vec bytes = nghttp2_rcbuf_get_buf(buffer);

    return (struct span){bytes.base, bytes.len};
}

static struct field field_of_key(struct echo_key key)
{
    return (struct field){key, span_of_buffer(key.name), span_of_buffer(key.value)};
}

/* --- What the fields ask for ----------------------------------------------------------------- */

static void drop_target(struct arena *arena, struct field_section_target *target)
{
    if (target != NULL && --target->references == 0)
        arena_free(arena, target);
}

void field_section_request_free(struct arena *arena, struct field_section_request *request)
{
    drop_target(arena, request->target);
    request->target = NULL;
}

static void keep_reference(nghttp2_rcbuf **kept, nghttp2_rcbuf *buffer)
{
    nghttp2_rcbuf_incref(buffer);
    *kept = buffer;
}

/* Note what the field asks for, if it is one of those that are known here. nghttp2 has made sure
 * that each occurs once, except for expect and accept, which are lists. The names are told apart by
 * length first, since most fields are none of these. */
static void note_known_field(struct field_section_reader *reader, const struct field *field)
{
    struct field_section *section = &reader->current;
    struct field_section_request *request = &section->request;

    switch (field->name.length) {
    case sizeof("host") - 1:
        request->has_host |= span_is(field->name, "host");
        break;
    case sizeof(":path") - 1:
        if (reader->options.path_max > 0 && span_is(field->name, ":path"))
            keep_reference(&section->path, field->key.value);
        break;
    case sizeof("accept") - 1:
        if (span_is(field->name, "accept"))
            request->detailed |= accept_names(field->value, reader->options.detailed_type);
        else if (span_is(field->name, "expect"))
            request->expects_continue |= span_is_ignoring_case(field->value, "100-continue");
        break;
    case sizeof(":method") - 1:
        if (!span_is(field->name, ":method"))
            break;
        request->head = span_is(field->value, "HEAD");
        request->connect = span_is(field->value, "CONNECT");
        if (reader->options.path_max > 0)
            keep_reference(&section->method, field->key.value);
        break;
    case sizeof("content-length") - 1:
        if (span_is(field->name, "content-length"))
            request->content_length = strtoll((const char *)field->value.bytes, NULL, 10);
        break;
    default:
        break;
    }
}

bool field_section_repeats(const struct field_section_request *request, nghttp2_vec name)
{
    struct span span = {name.base, name.len};

    return (span_is(span, "host") && request->has_host) ||
           (span_is(span, "content-length") && request->content_length >= 0);
}

/* --- Sections -------------------------------------------------------------------------------- */

static void reset_request(struct field_section *section)
{
    section->request = (struct field_section_request){.content_length = -1};
    section->method = section->path = NULL;
}

static void start_section(struct field_section *section,
                          const struct field_section_options *options, struct arena *arena)
{
    echo_start(&section->echo, arena, options->pretty);
    reset_request(section);
}

static bool is_cacheable(const struct field_section *section)
{
    return section->echo.field_count <= CACHED_FIELDS_MAX &&
           section->echo.length <= CACHED_LENGTH_MAX;
}

static void drop_references(struct field_section *section)
{
    for (size_t i = 0; i < section->echo.field_count; i++) {
        nghttp2_rcbuf_decref(section->echo.fields[i].key.name);
        nghttp2_rcbuf_decref(section->echo.fields[i].key.value);
    }
    echo_clear(&section->echo);
}

/* Make the section empty. It keeps its memory for the next one, unless that is a lot. */
static void clear_section(struct field_section *section)
{
    bool keeps_memory = is_cacheable(section);

    drop_references(section);
    if (!keeps_memory)
        echo_free(&section->echo);
    nghttp2_rcbuf_decref(section->method);
    nghttp2_rcbuf_decref(section->path);
    field_section_request_free(section->echo.arena, &section->request);
    reset_request(section);
}

static struct span prefix_of(nghttp2_rcbuf *buffer, size_t max)
{
    struct span bytes = {NULL, 0};

    if (buffer != NULL)
        bytes = span_of_buffer(buffer);
    bytes.length = size_min(bytes.length, max);
    return bytes;
}

/* The section is complete: set its target, if one is needed. Return false if memory ran out. */
static bool set_target(struct field_section *section, const struct field_section_options *options)
{
    struct span method = prefix_of(section->method, options->method_max);
    struct span path = prefix_of(section->path, options->path_max);
    struct field_section_target *target;

    if (options->path_max == 0)
        return true;
    target = arena_allocate(section->echo.arena, sizeof(*target) + method.length + path.length);
    if (target == NULL)
        return false;
    *target = (struct field_section_target){1, method.length, path.length};
    if (method.length > 0)
        memcpy(target->bytes, method.bytes, method.length);
    if (path.length > 0)
        memcpy(target->bytes + method.length, path.bytes, path.length);
    section->request.target = target;
    return true;
}

/* --- The reader ------------------------------------------------------------------------------ */

struct field_section_reader *field_section_reader_new(const struct field_section_options *options,
                                                      struct arena *arena)
{
    struct field_section_reader *reader = arena_allocate(arena, sizeof(*reader));

    if (reader == NULL)
        return NULL;
    *reader = (struct field_section_reader){.options = *options, .arena = arena};
    start_section(&reader->current, options, arena);
    start_section(&reader->cached, options, arena);
    return reader;
}

void field_section_reader_free(struct field_section_reader *reader)
{
    if (reader == NULL)
        return;
    clear_section(&reader->current);
    clear_section(&reader->cached);
    echo_free(&reader->current.echo);
    echo_free(&reader->cached.echo);
    echo_body_drop(reader->arena, reader->cached_body);
    arena_free(reader->arena, reader->never_indexed);
    arena_free(reader->arena, reader);
}

void field_section_begin(struct field_section_reader *reader, enum field_section_kind kind)
{
    static const enum state states[] = {[FIELD_SECTION_HEADER] = MATCHING,
                                        [FIELD_SECTION_TRAILERS] = ADDING,
                                        [FIELD_SECTION_TRAILERS_COUNTED] = COUNTING};

    reader->matched = 0;
    reader->place = 0;
    reader->list_size = 0;
    reader->never_indexed_count = 0;
    reader->state = states[kind];
}

/* Not inlined, to keep the common case of matches_cached short. */
__attribute__((noinline)) static bool compare_buffers(nghttp2_rcbuf *a, nghttp2_rcbuf *b)
{
    struct span first = span_of_buffer(a);
    struct span second = span_of_buffer(b);

    return first.length == second.length && memcmp(first.bytes, second.bytes, first.length) == 0;
}

/* Fields from HPACK's tables share a buffer; but a client need not put its fields there. */
static inline bool are_same_bytes(nghttp2_rcbuf *a, nghttp2_rcbuf *b)
{
    return a == b || compare_buffers(a, b);
}

/* Is this the cached section's next field? Then nothing is to be done but to count it. */
static bool matches_cached(struct field_section_reader *reader, struct echo_key key)
{
    const struct echo *cached = &reader->cached.echo;
    const struct echo_key *next;

    if (reader->matched == cached->field_count)
        return false;
    next = &cached->fields[reader->matched].key;
    if (!are_same_bytes(next->name, key.name) || !are_same_bytes(next->value, key.value))
        return false;
    reader->matched++;
    return true;
}

/* Return the field as the cached section has it, or NULL. It is expected after the one that was
 * found there last. */
static const struct echo_field *find_cached(struct field_section_reader *reader,
                                            struct echo_key key)
{
    const struct echo *cached = &reader->cached.echo;
    const struct echo_field *found = echo_find(cached, reader->place, SEARCH_FIELDS, key);

    if (found != NULL)
        reader->place = (size_t)(found - cached->fields) + 1;
    return found;
}

/* Return the cached section's field at the current place if it has the same name, or NULL. */
static const struct echo_field *find_cached_name(struct field_section_reader *reader,
                                                 struct echo_key key)
{
    const struct echo *cached = &reader->cached.echo;

    if (reader->place == cached->field_count || cached->fields[reader->place].key.name != key.name)
        return NULL;
    return &cached->fields[reader->place++];
}

/* Encode the field, or only its value if its name is in the cached section. */
static bool encode_field(struct field_section_reader *reader, const struct field *field)
{
    struct field_section *section = &reader->current;
    const struct echo_field *like;
    struct span value = field->value;

    /* The response to HEAD has the content-length of the response to GET (RFC 9110 section 8.6). */
    if (section->request.head && span_is(field->name, ":method"))
        value = span_of("GET");
    like = find_cached_name(reader, field->key);
    if (like != NULL)
        return echo_add_value(&section->echo, &reader->cached.echo, like, field->key.value, value);
    return echo_add(&section->echo, field->key, field->name, value);
}

/* Add the field to the current section, which takes references to its buffers. */
static bool keep_field(struct field_section_reader *reader, const struct field *field)
{
    struct echo *echo = &reader->current.echo;
    const struct echo_field *found = find_cached(reader, field->key);

    if (found != NULL ? !echo_copy(echo, &reader->cached.echo, found)
                      : !encode_field(reader, field))
        return false;
    nghttp2_rcbuf_incref(field->key.name);
    nghttp2_rcbuf_incref(field->key.value);
    return true;
}

/* The section is too large: keep nothing of it. The rest has to be decoded all the same, so that
 * HPACK's table is right for the next section; but there is a limit to that as well. */
static enum field_section_result stop_keeping(struct field_section_reader *reader)
{
    drop_references(&reader->current);
    echo_free(&reader->current.echo);
    reader->state = COUNTING;
    return reader->list_size / EXCESSIVE_FACTOR > reader->options.max_list_size
               ? FIELD_SECTION_EXCESSIVE
               : FIELD_SECTION_TOO_LARGE;
}

/* nghttp2 before 1.64 accepts it. */
static bool has_userinfo(const struct field *field)
{
    return (span_is(field->name, ":authority") || span_is(field->name, "host")) &&
           memchr(field->value.bytes, '@', field->value.length) != NULL;
}

static enum field_section_result add_to_current(struct field_section_reader *reader,
                                                struct echo_key key)
{
    struct field field = field_of_key(key);

    if (has_userinfo(&field))
        return FIELD_SECTION_USERINFO;
    reader->list_size += field.name.length + field.value.length + FIELD_OVERHEAD;
    note_known_field(reader, &field);
    if (reader->list_size > reader->options.max_list_size)
        return stop_keeping(reader);
    if (reader->state == COUNTING)
        return FIELD_SECTION_ADDED;
    return keep_field(reader, &field) ? FIELD_SECTION_ADDED : FIELD_SECTION_NO_MEMORY;
}

/* The section is not the cached one after all: add the fields that were only counted so far to the
 * current section. Return false if memory ran out; nothing else can go wrong, since the cached
 * section has the same fields. */
static bool materialize(struct field_section_reader *reader)
{
    enum field_section_result result = FIELD_SECTION_ADDED;

    if (reader->state != MATCHING)
        return true;
    reader->state = ADDING;
    for (size_t i = 0; i < reader->matched && result == FIELD_SECTION_ADDED; i++)
        result = add_to_current(reader, reader->cached.echo.fields[i].key);
    return result == FIELD_SECTION_ADDED;
}

enum field_section_result field_section_add(struct field_section_reader *reader,
                                            nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
    struct echo_key key = {name, value};

    if (reader->state == MATCHING && matches_cached(reader, key))
        return FIELD_SECTION_ADDED;
    return materialize(reader) ? add_to_current(reader, key) : FIELD_SECTION_NO_MEMORY;
}

const struct field_section *field_section_peek(struct field_section_reader *reader)
{
    return materialize(reader) ? &reader->current : NULL;
}

/* --- Fields as they arrived ------------------------------------------------------------------ */

static bool reserve_never_indexed(struct field_section_reader *reader)
{
    enum { FIRST = 8 };
    size_t capacity =
        reader->never_indexed_capacity > 0 ? 2 * reader->never_indexed_capacity : FIRST;
    uint32_t *places;

    if (reader->never_indexed_count < reader->never_indexed_capacity)
        return true;
    places = arena_resize(reader->arena, reader->never_indexed, capacity * sizeof(*places));
    if (places == NULL)
        return false;
    reader->never_indexed = places;
    reader->never_indexed_capacity = capacity;
    return true;
}

bool field_section_mark_never_indexed(struct field_section_reader *reader)
{
    size_t place = reader->state == MATCHING ? reader->matched : reader->current.echo.field_count;

    if (reader->state == COUNTING)
        return true;
    if (!reserve_never_indexed(reader))
        return false;
    reader->never_indexed[reader->never_indexed_count++] = (uint32_t)place;
    return true;
}

/* The current section has ended. */
static void clear_current(struct field_section_reader *reader)
{
    clear_section(&reader->current);
    if (reader->never_indexed_capacity <= CACHED_FIELDS_MAX)
        return;
    arena_free(reader->arena, reader->never_indexed);
    reader->never_indexed = NULL;
    reader->never_indexed_count = reader->never_indexed_capacity = 0;
}

static void copy_entries(const struct field_section_reader *reader, struct field_list *fields)
{
    const struct echo *echo = &reader->current.echo;
    size_t next = 0; /* in the list of fields that must never be indexed */

    for (size_t i = 0; i < echo->field_count; i++) {
        struct field field = field_of_key(echo->fields[i].key);
        bool never_indexed = next < reader->never_indexed_count && reader->never_indexed[next] == i;
        struct field_list_entry entry = {field.name, field.value, never_indexed};

        field_list_add(fields, &entry);
        next += never_indexed;
    }
}

/* Return a copy of the current section's fields, or NULL if memory ran out. */
static struct field_list *copy_current(const struct field_section_reader *reader)
{
    const struct echo *echo = &reader->current.echo;
    struct field_list *fields;
    size_t length = 0;

    for (size_t i = 0; i < echo->field_count; i++) {
        struct field field = field_of_key(echo->fields[i].key);

        length += field.name.length + field.value.length;
    }
    fields = field_list_new(reader->arena, echo->field_count, length);
    if (fields != NULL)
        copy_entries(reader, fields);
    return fields;
}

bool field_section_take(struct field_section_reader *reader, struct field_list **fields)
{
    bool is_too_large = reader->state == COUNTING;

    *fields = is_too_large ? NULL : copy_current(reader);
    clear_current(reader);
    return is_too_large || *fields != NULL;
}

/* --- Ends ------------------------------------------------------------------------------------ */

/* The current section, whose response is ${body}, becomes the cached one. */
static void cache_current(struct field_section_reader *reader, struct echo_body *body)
{
    struct field_section old = reader->cached;

    reader->cached = reader->current;
    reader->current = old;
    echo_body_drop(reader->arena, reader->cached_body);
    reader->cached_body = echo_body_share(body);
}

static struct field_section_request share_request(const struct field_section *section)
{
    if (section->request.target != NULL)
        section->request.target->references++;
    return section->request;
}

/* Compose the response, unless the section is too large, and cache it. Return false if memory ran
 * out. */
static bool compose_current(struct field_section_reader *reader, struct echo_body **body)
{
    if (reader->state == COUNTING)
        return true;
    *body = echo_compose(&reader->current.echo);
    if (*body == NULL)
        return false;
    if (is_cacheable(&reader->current))
        cache_current(reader, *body);
    return true;
}

bool field_section_end(struct field_section_reader *reader, struct field_section_request *request,
                       struct echo_body **body)
{
    bool ended;

    *body = NULL;
    if (reader->state == MATCHING && reader->cached_body != NULL &&
        reader->matched == reader->cached.echo.field_count) {
        *request = share_request(&reader->cached);
        *body = echo_body_share(reader->cached_body);
        return true;
    }
    ended = materialize(reader) && set_target(&reader->current, &reader->options);
    if (ended) {
        *request = share_request(&reader->current);
        /* It is left to field_section_take. A detailed section is never cached, so the case above
         * does not apply to it. */
        if (request->detailed)
            return true;
        ended = compose_current(reader, body);
    }
    clear_current(reader);
    return ended;
}

void field_section_abort(struct field_section_reader *reader, struct field_section_request *request)
{
    if (request != NULL && materialize(reader) && set_target(&reader->current, &reader->options))
        *request = share_request(&reader->current);
    clear_current(reader);
    reader->state = COUNTING;
}
