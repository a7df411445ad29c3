#include "http2/field_section.h"

#include "base/arena.h"
#include "echo/accept.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    FIELD_OVERHEAD = 32,       /* RFC 9113 section 6.5.2 */
    ENDLESS = 16,              /* times as large as it may be: it is not read past any more */
    NEAR = 8,                  /* places in which a field that has moved is looked for */
    REMEMBERED_FIELDS = 64,    /* at most */
    REMEMBERED_LENGTH = 16384, /* bytes of their text */
};

enum state {
    FOLLOWING, /* every field came as in the section before */
    ADDING,
    COUNTING, /* none is kept: too large, or trailers */
};

struct field_section_reader {
    struct field_section_options options;
    struct arena *arena;
    struct field_section current; /* without what is followed; empty between sections */
    struct field_section before;  /* the one that was remembered last */
    struct echo_body *body;       /* its answer, shared; NULL = there was none yet */
    enum state state;
    size_t followed; /* fields, from the first one on */
    size_t place;    /* in the section before, behind the field that was found there last */
    size_t list_size;
    uint32_t *marks; /* places of fields that are never to be indexed; owned */
    size_t mark_count;
    size_t mark_capacity;
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

static void keep(nghttp2_rcbuf **kept, nghttp2_rcbuf *buffer)
{
    nghttp2_rcbuf_incref(buffer);
    *kept = buffer;
}

/* nghttp2 has seen to it that these come once, but for lists: expect and accept. By length, since
 * most fields are none of them. */
static void heed(struct field_section_reader *reader, const struct field *field)
{
    struct field_section *section = &reader->current;
    struct field_section_request *request = &section->request;

    switch (field->name.len) {
    case sizeof("host") - 1:
        request->has_host |= is(field->name, "host");
        break;
    case sizeof(":path") - 1:
        if (reader->options.path_max > 0 && is(field->name, ":path"))
            keep(&section->path, field->key.value);
        break;
    case sizeof("accept") - 1:
        if (is(field->name, "accept"))
            request->detailed |= accept_names((struct span){field->value.base, field->value.len},
                                              reader->options.detailed_type);
        else if (is(field->name, "expect"))
            request->expects_continue |= is_ignoring_case(field->value, "100-continue");
        break;
    case sizeof(":method") - 1:
        if (!is(field->name, ":method"))
            break;
        request->head = is(field->value, "HEAD");
        request->connect = is(field->value, "CONNECT");
        if (reader->options.path_max > 0)
            keep(&section->method, field->key.value);
        break;
    case sizeof("content-length") - 1:
        if (is(field->name, "content-length"))
            request->content_length = strtoll((const char *)field->value.base, NULL, 10);
        break;
    default:
        break;
    }
}

bool field_section_repeats(const struct field_section_request *request, nghttp2_vec name)
{
    return (is(name, "host") && request->has_host) ||
           (is(name, "content-length") && request->content_length >= 0);
}

/* --- Sections ------------------------------------------------------------------------------- */

/* One of no fields, with what memory it has for them. */
static void reset(struct field_section *section)
{
    section->request = (struct field_section_request){.content_length = -1};
    section->method = section->path = NULL;
}

static void section_start(struct field_section *section,
                          const struct field_section_options *options, struct arena *arena)
{
    echo_start(&section->echo, arena, options->pretty);
    reset(section);
}

static bool is_small(const struct field_section *section)
{
    return section->echo.field_count <= REMEMBERED_FIELDS &&
           section->echo.length <= REMEMBERED_LENGTH;
}

static void drop_fields(struct field_section *section)
{
    for (size_t i = 0; i < section->echo.field_count; i++) {
        nghttp2_rcbuf_decref(section->echo.fields[i].key.name);
        nghttp2_rcbuf_decref(section->echo.fields[i].key.value);
    }
    echo_clear(&section->echo);
}

/* Forget it, but keep memory for others that are small. */
static void clear(struct field_section *section)
{
    bool keeps_memory = is_small(section);

    drop_fields(section);
    if (!keeps_memory)
        echo_free(&section->echo);
    nghttp2_rcbuf_decref(section->method);
    nghttp2_rcbuf_decref(section->path);
    field_section_request_free(section->echo.arena, &section->request);
    reset(section);
}

static nghttp2_vec beginning_of(nghttp2_rcbuf *buffer, size_t most)
{
    nghttp2_vec bytes = {NULL, 0};

    if (buffer != NULL)
        bytes = nghttp2_rcbuf_get_buf(buffer);
    if (bytes.len > most)
        bytes.len = most;
    return bytes;
}

/* The section is over: its target is known, if anybody wants it. */
static bool aim(struct field_section *section, const struct field_section_options *options)
{
    nghttp2_vec method = beginning_of(section->method, options->method_max);
    nghttp2_vec path = beginning_of(section->path, options->path_max);
    struct field_section_target *target;

    if (options->path_max == 0)
        return true;
    target = arena_allocate(section->echo.arena, sizeof(*target) + method.len + path.len);
    if (target == NULL)
        return false;
    *target = (struct field_section_target){1, method.len, path.len};
    if (method.len > 0)
        memcpy(target->bytes, method.base, method.len);
    if (path.len > 0)
        memcpy(target->bytes + method.len, path.base, path.len);
    section->request.target = target;
    return true;
}

/* --- The reader ----------------------------------------------------------------------------- */

struct field_section_reader *field_section_reader_new(const struct field_section_options *options,
                                                      struct arena *arena)
{
    struct field_section_reader *reader = arena_allocate(arena, sizeof(*reader));

    if (reader == NULL)
        return NULL;
    *reader = (struct field_section_reader){.options = *options, .arena = arena};
    section_start(&reader->current, options, arena);
    section_start(&reader->before, options, arena);
    return reader;
}

void field_section_reader_free(struct field_section_reader *reader)
{
    if (reader == NULL)
        return;
    clear(&reader->current);
    clear(&reader->before);
    echo_free(&reader->current.echo);
    echo_free(&reader->before.echo);
    echo_body_drop(reader->arena, reader->body);
    arena_free(reader->arena, reader->marks);
    arena_free(reader->arena, reader);
}

void field_section_begin(struct field_section_reader *reader, enum field_section_kind kind)
{
    static const enum state states[] = {[FIELD_SECTION_HEADER] = FOLLOWING,
                                        [FIELD_SECTION_TRAILERS] = ADDING,
                                        [FIELD_SECTION_TRAILERS_COUNTED] = COUNTING};

    reader->followed = 0;
    reader->place = 0;
    reader->list_size = 0;
    reader->mark_count = 0;
    reader->state = states[kind];
}

__attribute__((noinline)) static bool compare_bytes(nghttp2_rcbuf *a, nghttp2_rcbuf *b)
{
    nghttp2_vec one = nghttp2_rcbuf_get_buf(a);
    nghttp2_vec other = nghttp2_rcbuf_get_buf(b);

    return one.len == other.len && memcmp(one.base, other.base, one.len) == 0;
}

/* Nearly always they are one: a field from HPACK's tables; but a client need not put it there. */
static inline bool have_same_bytes(nghttp2_rcbuf *a, nghttp2_rcbuf *b)
{
    return a == b || compare_bytes(a, b);
}

/* Is this the field that came next before? Then all that it changes is known. */
static bool follow(struct field_section_reader *reader, struct echo_key key)
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

/* The field as it was encoded for the section before, or NULL. */
static const struct echo_field *find_before(struct field_section_reader *reader,
                                            struct echo_key key)
{
    const struct echo *before = &reader->before.echo;
    const struct echo_field *same = echo_find(before, reader->place, NEAR, key);

    if (same != NULL)
        reader->place = (size_t)(same - before->fields) + 1;
    return same;
}

/* The field that is next there, if it has the same name. */
static const struct echo_field *find_namesake(struct field_section_reader *reader,
                                              struct echo_key key)
{
    const struct echo *before = &reader->before.echo;

    if (reader->place == before->field_count || before->fields[reader->place].key.name != key.name)
        return NULL;
    return &before->fields[reader->place++];
}

static bool encode(struct field_section_reader *reader, const struct field *field)
{
    struct field_section *section = &reader->current;
    const struct echo_field *like;
    nghttp2_vec value = field->value;

    /* HEAD's content-length is that of the answer to a GET (RFC 9110 section 8.6). */
    if (section->request.head && is(field->name, ":method"))
        value = (nghttp2_vec){(uint8_t *)"GET", strlen("GET")};
    like = find_namesake(reader, field->key);
    if (like != NULL)
        return echo_add_value(&section->echo, &reader->before.echo, like, field->key.value,
                              value.base, value.len);
    return echo_add(&section->echo, field->key, field->name.base, field->name.len, value.base,
                    value.len);
}

/* Its key keeps references to it. */
static bool add(struct field_section_reader *reader, const struct field *field)
{
    struct echo *echo = &reader->current.echo;
    const struct echo_field *same = find_before(reader, field->key);

    if (same != NULL ? !echo_copy(echo, &reader->before.echo, same) : !encode(reader, field))
        return false;
    nghttp2_rcbuf_incref(field->key.name);
    nghttp2_rcbuf_incref(field->key.value);
    return true;
}

/* The section is read on, or the next one could not be decoded; but not for ever. */
static enum field_section_result pass_over(struct field_section_reader *reader)
{
    drop_fields(&reader->current);
    echo_free(&reader->current.echo);
    reader->state = COUNTING;
    return reader->list_size / ENDLESS > reader->options.max_list_size ? FIELD_SECTION_ENDLESS
                                                                       : FIELD_SECTION_TOO_LARGE;
}

/* nghttp2 before 1.64 lets this through. */
static bool has_userinfo(const struct field *field)
{
    return (is(field->name, ":authority") || is(field->name, "host")) &&
           memchr(field->value.base, '@', field->value.len) != NULL;
}

static enum field_section_result take(struct field_section_reader *reader, struct echo_key key)
{
    struct field field = field_of(key);

    if (has_userinfo(&field))
        return FIELD_SECTION_USERINFO;
    reader->list_size += field.name.len + field.value.len + FIELD_OVERHEAD;
    heed(reader, &field);
    if (reader->list_size > reader->options.max_list_size)
        return pass_over(reader);
    if (reader->state == COUNTING)
        return FIELD_SECTION_ADDED;
    return add(reader, &field) ? FIELD_SECTION_ADDED : FIELD_SECTION_NO_MEMORY;
}

/* What was followed has to be gone through after all: the next field is another one, or none is. */
static bool catch_up(struct field_section_reader *reader)
{
    enum field_section_result result = FIELD_SECTION_ADDED;

    if (reader->state != FOLLOWING)
        return true;
    reader->state = ADDING;
    for (size_t i = 0; i < reader->followed && result == FIELD_SECTION_ADDED; i++)
        result = take(reader, reader->before.echo.fields[i].key);
    return result == FIELD_SECTION_ADDED;
}

enum field_section_result field_section_add(struct field_section_reader *reader,
                                            nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
    struct echo_key key = {name, value};

    if (reader->state == FOLLOWING && follow(reader, key))
        return FIELD_SECTION_ADDED;
    return catch_up(reader) ? take(reader, key) : FIELD_SECTION_NO_MEMORY;
}

const struct field_section *field_section_peek(struct field_section_reader *reader)
{
    return catch_up(reader) ? &reader->current : NULL;
}

/* --- Fields as they came --------------------------------------------------------------------- */

static bool make_room_for_mark(struct field_section_reader *reader)
{
    size_t capacity = reader->mark_capacity > 0 ? 2 * reader->mark_capacity : 8;
    uint32_t *marks;

    if (reader->mark_count < reader->mark_capacity)
        return true;
    marks = arena_resize(reader->arena, reader->marks, capacity * sizeof(*marks));
    if (marks == NULL)
        return false;
    reader->marks = marks;
    reader->mark_capacity = capacity;
    return true;
}

bool field_section_mark_never_indexed(struct field_section_reader *reader)
{
    size_t place = reader->state == FOLLOWING ? reader->followed : reader->current.echo.field_count;

    if (reader->state == COUNTING)
        return true;
    if (!make_room_for_mark(reader))
        return false;
    reader->marks[reader->mark_count++] = (uint32_t)place;
    return true;
}

/* The present section is over. */
static void clear_current(struct field_section_reader *reader)
{
    clear(&reader->current);
    if (reader->mark_capacity <= REMEMBERED_FIELDS)
        return;
    arena_free(reader->arena, reader->marks);
    reader->marks = NULL;
    reader->mark_count = reader->mark_capacity = 0;
}

static void add_entries(const struct field_section_reader *reader, struct field_list *fields)
{
    const struct echo *echo = &reader->current.echo;
    size_t mark = 0;

    for (size_t i = 0; i < echo->field_count; i++) {
        struct field field = field_of(echo->fields[i].key);
        bool marked = mark < reader->mark_count && reader->marks[mark] == i;
        struct field_list_entry entry = {field.name.base, field.name.len, field.value.base,
                                         field.value.len, marked};

        field_list_add(fields, &entry);
        mark += marked;
    }
}

static struct field_list *list(const struct field_section_reader *reader)
{
    const struct echo *echo = &reader->current.echo;
    struct field_list *fields;
    size_t length = 0;

    for (size_t i = 0; i < echo->field_count; i++) {
        struct field field = field_of(echo->fields[i].key);

        length += field.name.len + field.value.len;
    }
    fields = field_list_new(reader->arena, echo->field_count, length);
    if (fields != NULL)
        add_entries(reader, fields);
    return fields;
}

bool field_section_take(struct field_section_reader *reader, struct field_list **fields)
{
    bool is_too_large = reader->state == COUNTING;

    *fields = is_too_large ? NULL : list(reader);
    clear_current(reader);
    return is_too_large || *fields != NULL;
}

/* --- Ends ------------------------------------------------------------------------------------ */

/* The section that has just ended takes the place of the one before. */
static void remember(struct field_section_reader *reader, struct echo_body *body)
{
    struct field_section old = reader->before;

    reader->before = reader->current;
    reader->current = old;
    echo_body_drop(reader->arena, reader->body);
    reader->body = echo_body_share(body);
}

static struct field_section_request request_of(const struct field_section *section)
{
    if (section->request.target != NULL)
        section->request.target->references++;
    return section->request;
}

/* Compose the answer, if there is to be one, and remember how. */
static bool compose(struct field_section_reader *reader, struct echo_body **body)
{
    if (reader->state == COUNTING)
        return true;
    *body = echo_compose(&reader->current.echo);
    if (*body == NULL)
        return false;
    if (is_small(&reader->current))
        remember(reader, *body);
    return true;
}

bool field_section_end(struct field_section_reader *reader, struct field_section_request *request,
                       struct echo_body **body)
{
    bool ended;

    *body = NULL;
    if (reader->state == FOLLOWING && reader->body != NULL &&
        reader->followed == reader->before.echo.field_count) {
        *request = request_of(&reader->before);
        *body = echo_body_share(reader->body);
        return true;
    }
    ended = catch_up(reader) && aim(&reader->current, &reader->options);
    if (ended) {
        *request = request_of(&reader->current);
        /* Such a section is not remembered, so it is never followed to its end. */
        if (request->detailed)
            return true;
        ended = compose(reader, body);
    }
    clear_current(reader);
    return ended;
}

void field_section_abort(struct field_section_reader *reader, struct field_section_request *request)
{
    if (request != NULL && catch_up(reader) && aim(&reader->current, &reader->options))
        *request = request_of(&reader->current);
    clear_current(reader);
    reader->state = COUNTING;
}
