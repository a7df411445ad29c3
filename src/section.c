#include "section.h"

#include "arena.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    FIELD_OVERHEAD = 32,       /* RFC 9113 section 6.5.2 */
    REMEMBERED_FIELDS = 64,    /* at most */
    REMEMBERED_LENGTH = 16384, /* bytes of their text */
};

enum state {
    FOLLOWING, /* every field came as in the section before */
    ADDING,
    COUNTING, /* none is kept */
};

struct section_reader {
    struct section_options options;
    struct arena *arena;
    struct section current; /* without what is followed */
    struct section before;  /* the one that was remembered last */
    struct echo_body *body; /* its answer, shared; NULL = there was none yet */
    enum state state;
    size_t followed; /* fields, from the first one on */
    size_t list_size;
};

struct field {
    struct echo_key key;
    nghttp2_vec name;
    nghttp2_vec value;
};

static struct field field_of(struct echo_key key)
{
    return (struct field){key, nghttp2_rcbuf_get_buf(key.name), nghttp2_rcbuf_get_buf(key.value)};
}

static bool is(nghttp2_vec bytes, const char *text)
{
    return strlen(text) == bytes.len && memcmp(bytes.base, text, bytes.len) == 0;
}

static bool is_ignoring_case(nghttp2_vec bytes, const char *text)
{
    return strlen(text) == bytes.len && strncasecmp((const char *)bytes.base, text, bytes.len) == 0;
}

/* --- What a request comes to ---------------------------------------------------------------- */

static const struct section_request no_request = {.content_length = -1};

static nghttp2_rcbuf *share(nghttp2_rcbuf *buffer)
{
    if (buffer != NULL)
        nghttp2_rcbuf_incref(buffer);
    return buffer;
}

void section_request_free(struct section_request *request)
{
    nghttp2_rcbuf_decref(request->method);
    nghttp2_rcbuf_decref(request->path);
    *request = no_request;
}

/* nghttp2 has seen to it that these come once. */
static void heed(struct section_request *request, const struct field *field, bool wants_target)
{
    if (is(field->name, ":method")) {
        request->head = is(field->value, "HEAD");
        request->connect = is(field->value, "CONNECT");
        if (wants_target)
            request->method = share(field->key.value);
    } else if (is(field->name, ":path")) {
        if (wants_target)
            request->path = share(field->key.value);
    } else if (is(field->name, "host")) {
        request->has_host = true;
    } else if (is(field->name, "expect")) {
        request->expects_continue = is_ignoring_case(field->value, "100-continue");
    } else if (is(field->name, "content-length")) {
        request->content_length = strtoll((const char *)field->value.base, NULL, 10);
    }
}

/* --- Sections ------------------------------------------------------------------------------- */

static void section_start(struct section *section, const struct section_options *options,
                          struct arena *arena)
{
    echo_start(&section->echo, arena, options->pretty);
    section->request = no_request;
}

static bool is_worth_remembering(const struct section *section)
{
    return section->echo.field_count <= REMEMBERED_FIELDS &&
           section->echo.length <= REMEMBERED_LENGTH;
}

/* Let go of the fields, but not of what they came to. */
static void drop_fields(struct section *section)
{
    for (size_t i = 0; i < section->echo.field_count; i++) {
        nghttp2_rcbuf_decref(section->echo.fields[i].key.name);
        nghttp2_rcbuf_decref(section->echo.fields[i].key.value);
    }
    echo_clear(&section->echo);
}

/* Make it one of no fields, but keep the memory for others like them. */
static void clear(struct section *section)
{
    bool is_small = is_worth_remembering(section);

    drop_fields(section);
    section_request_free(&section->request);
    if (!is_small)
        echo_free(&section->echo);
}

static bool add(struct section *section, const struct section *before, struct field field)
{
    struct echo *echo = &section->echo;
    const struct echo_field *same = echo_find(&before->echo, echo->field_count, field.key);
    bool added;

    /* HEAD's content-length is that of the answer to a GET (RFC 9110 section 8.6). */
    if (section->request.head && is(field.name, ":method"))
        field.value = (nghttp2_vec){(uint8_t *)"GET", strlen("GET")};
    added = same != NULL ? echo_copy(echo, &before->echo, same)
                         : echo_add(echo, field.key, field.name.base, field.name.len,
                                    field.value.base, field.value.len);
    if (!added)
        return false;
    nghttp2_rcbuf_incref(field.key.name);
    nghttp2_rcbuf_incref(field.key.value);
    return true;
}

/* --- The reader ----------------------------------------------------------------------------- */

struct section_reader *section_reader_new(const struct section_options *options,
                                          struct arena *arena)
{
    struct section_reader *reader = arena_allocate(arena, sizeof(*reader));

    if (reader == NULL)
        return NULL;
    *reader = (struct section_reader){.options = *options, .arena = arena};
    section_start(&reader->current, options, arena);
    section_start(&reader->before, options, arena);
    return reader;
}

void section_reader_free(struct section_reader *reader)
{
    if (reader == NULL)
        return;
    clear(&reader->current);
    clear(&reader->before);
    echo_free(&reader->current.echo);
    echo_free(&reader->before.echo);
    echo_body_drop(reader->arena, reader->body);
    arena_free(reader->arena, reader);
}

void section_begin(struct section_reader *reader, bool is_trailers)
{
    reader->followed = 0;
    reader->list_size = 0;
    reader->state = is_trailers ? COUNTING : FOLLOWING;
}

/* Nearly always they are one: a field from HPACK's tables; but a client need not put it there. */
static bool have_same_bytes(nghttp2_rcbuf *a, nghttp2_rcbuf *b)
{
    nghttp2_vec one;
    nghttp2_vec other;

    if (a == b)
        return true;
    one = nghttp2_rcbuf_get_buf(a);
    other = nghttp2_rcbuf_get_buf(b);
    return one.len == other.len && memcmp(one.base, other.base, one.len) == 0;
}

/* Is this the field that came next before? Then all that it changes is known. */
static bool follow(struct section_reader *reader, struct echo_key key)
{
    const struct echo *before = &reader->before.echo;
    const struct echo_key *next;

    if (reader->followed == before->field_count)
        return false;
    next = &before->fields[reader->followed].key;
    if (!have_same_bytes(next->name, key.name) || !have_same_bytes(next->value, key.value))
        return false;
    reader->followed++;
    return true;
}

static enum section_result take(struct section_reader *reader, struct echo_key key)
{
    struct section *section = &reader->current;
    struct field field = field_of(key);

    reader->list_size += field.name.len + field.value.len + FIELD_OVERHEAD;
    if (reader->list_size > reader->options.max_list_size) {
        /* It is read on, or the next block could not be decoded. */
        drop_fields(section);
        echo_free(&section->echo);
        reader->state = COUNTING;
        return SECTION_TOO_LARGE;
    }
    if (reader->state == COUNTING)
        return SECTION_ADDED;
    /* nghttp2 lets this through. */
    if (is(field.name, ":authority") && memchr(field.value.base, '@', field.value.len) != NULL)
        return SECTION_USERINFO;
    heed(&section->request, &field, reader->options.wants_target);
    return add(section, &reader->before, field) ? SECTION_ADDED : SECTION_NO_MEMORY;
}

/* What was followed has to be gone through after all: the next field is another one, or none is. */
static bool catch_up(struct section_reader *reader)
{
    enum section_result result = SECTION_ADDED;

    if (reader->state != FOLLOWING)
        return true;
    clear(&reader->current); /* of what the last one that was not followed has left */
    reader->state = ADDING;
    for (size_t i = 0; i < reader->followed && result == SECTION_ADDED; i++)
        result = take(reader, reader->before.echo.fields[i].key);
    return result == SECTION_ADDED;
}

enum section_result section_add(struct section_reader *reader, nghttp2_rcbuf *name,
                                nghttp2_rcbuf *value)
{
    struct echo_key key = {name, value};

    if (reader->state == FOLLOWING && follow(reader, key))
        return SECTION_ADDED;
    return catch_up(reader) ? take(reader, key) : SECTION_NO_MEMORY;
}

size_t section_list_size(const struct section_reader *reader)
{
    return reader->list_size;
}

const struct section *section_look(struct section_reader *reader)
{
    return catch_up(reader) ? &reader->current : NULL;
}

/* The section that has just ended takes the place of the one before. */
static void remember(struct section_reader *reader, struct echo_body *body)
{
    struct section old = reader->before;

    reader->before = reader->current;
    reader->current = old;
    echo_body_drop(reader->arena, reader->body);
    reader->body = echo_body_share(body);
}

static struct section_request request_of(const struct section *section)
{
    struct section_request request = section->request;

    share(request.method);
    share(request.path);
    return request;
}

bool section_end(struct section_reader *reader, struct section_request *request,
                 struct echo_body **body)
{
    *body = NULL;
    if (reader->state == FOLLOWING && reader->body != NULL &&
        reader->followed == reader->before.echo.field_count) {
        *request = request_of(&reader->before);
        *body = echo_body_share(reader->body);
        return true;
    }
    if (!catch_up(reader))
        return false;
    *request = request_of(&reader->current);
    if (reader->state == COUNTING)
        return true;
    *body = echo_compose(&reader->current.echo);
    if (*body == NULL)
        return false;
    if (is_worth_remembering(&reader->current))
        remember(reader, *body);
    return true;
}
