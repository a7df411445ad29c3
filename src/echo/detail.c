#include "echo/detail.h"

#include "base/wire.h"
#include "echo/client_frames.h"
#include "echo/priority.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FINGERPRINT_MAX =
        3 * CLIENT_FRAMES_MAX, /* a setting's 6 bytes become 17, PRIORITY's 14 become 28 */
    WHAT_MAX = 96,
};

/* jansson takes NULL for what could not be had, and frees what it was given beside it: so memory
 * that runs out anywhere below makes the whole NULL, and nothing else has to ask. */

/* --- What the client says of itself ---------------------------------------------------------- */

static json_t *setting_of(const uint8_t *entry)
{
    uint16_t id = (uint16_t)(entry[0] << 8 | entry[1]);

    return json_pack("{s:i, s:s?, s:I}", "id", (int)id, "name", wire_setting_name(id), "value",
                     (json_int_t)wire_read_u32(entry + 2));
}

/* What a frame adds to a list; false if memory ran out. */
typedef bool add_fn(json_t *list, const struct client_frame *frame, bool is_first);

/* The list of what the client's frames add to it, each in its turn. */
static json_t *collect(const struct client_frames *client_frames, add_fn *add)
{
    json_t *list = json_array();
    struct client_frame frame;
    bool is_first = true;

    for (size_t place = 0; client_frames_next(client_frames, &place, &frame); is_first = false) {
        if (!add(list, &frame, is_first)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static bool add_settings(json_t *list, const struct client_frame *frame)
{
    for (size_t at = 0; at + WIRE_SETTING_SIZE <= frame->payload_length; at += WIRE_SETTING_SIZE) {
        if (json_array_append_new(list, setting_of(frame->payload + at)) != 0)
            return false;
    }
    return true;
}

/* A connection begins with SETTINGS (RFC 9113 section 3.4). */
static bool add_first_settings(json_t *list, const struct client_frame *frame, bool is_first)
{
    return !is_first || add_settings(list, frame);
}

static bool add_later_settings(json_t *list, const struct client_frame *frame, bool is_first)
{
    return is_first || frame->header.type != WIRE_SETTINGS || add_settings(list, frame);
}

static bool is_whole(const struct client_frame *frame, uint8_t type, size_t size)
{
    return frame->header.type == type && frame->payload_length >= size;
}

static bool add_priority(json_t *list, const struct client_frame *frame, bool is_first)
{
    const uint8_t *payload = frame->payload;

    (void)is_first;
    if (!is_whole(frame, WIRE_PRIORITY, WIRE_DEPENDENCY_SIZE))
        return true;
    return json_array_append_new(
               list, json_pack("{s:i, s:i, s:i, s:b}", "stream", (int)frame->header.stream_id,
                               "depends_on", (int)wire_read_u31(payload), "weight", payload[4] + 1,
                               "exclusive", payload[0] >> 7)) == 0;
}

/* What the client opened the connection's window by before its first request; 0 = it did not. */
static int32_t window_update_of(const struct client_frames *client_frames)
{
    struct client_frame frame;

    for (size_t place = 0; client_frames_next(client_frames, &place, &frame);) {
        if (is_whole(&frame, WIRE_WINDOW_UPDATE, WIRE_WINDOW_UPDATE_SIZE))
            return wire_read_u31(frame.payload);
    }
    return 0;
}

/* --- The fingerprint ------------------------------------------------------------------------- */

/* SETTINGS|WINDOW_UPDATE|PRIORITY|pseudo-header fields, as Akamai's paper on passive fingerprinting
 * of HTTP/2 clients has it: "1:65536;4:131072|12517377|3:0:0:201|m,p,a,s". */
struct fingerprint {
    char text[FINGERPRINT_MAX];
    size_t length;
    size_t part_at; /* where the present list begins */
};

__attribute__((format(printf, 2, 3))) static void add_text(struct fingerprint *fingerprint,
                                                           const char *format, ...)
{
    size_t room = sizeof(fingerprint->text) - fingerprint->length;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(fingerprint->text + fingerprint->length, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        fingerprint->length += (size_t)length < room ? (size_t)length : room - 1;
}

/* Each but the first. */
static void begin_part(struct fingerprint *fingerprint)
{
    add_text(fingerprint, "|");
    fingerprint->part_at = fingerprint->length;
}

static const char *between(const struct fingerprint *fingerprint, const char *separator)
{
    return fingerprint->length > fingerprint->part_at ? separator : "";
}

static void add_settings_part(struct fingerprint *fingerprint,
                              const struct client_frames *client_frames)
{
    struct client_frame frame;
    size_t place = 0;

    if (!client_frames_next(client_frames, &place, &frame))
        return;
    for (size_t at = 0; at + WIRE_SETTING_SIZE <= frame.payload_length; at += WIRE_SETTING_SIZE)
        add_text(fingerprint, "%s%u:%" PRIu32, between(fingerprint, ";"),
                 (unsigned)frame.payload[at] << 8 | frame.payload[at + 1],
                 wire_read_u32(frame.payload + at + 2));
}

static void add_window_part(struct fingerprint *fingerprint,
                            const struct client_frames *client_frames)
{
    int32_t increment = window_update_of(client_frames);

    begin_part(fingerprint);
    if (increment > 0)
        add_text(fingerprint, "%" PRId32, increment);
    else
        add_text(fingerprint, "00");
}

static void add_priority_part(struct fingerprint *fingerprint,
                              const struct client_frames *client_frames)
{
    struct client_frame frame;

    begin_part(fingerprint);
    for (size_t place = 0; client_frames_next(client_frames, &place, &frame);) {
        if (frame.is_opening && is_whole(&frame, WIRE_PRIORITY, WIRE_DEPENDENCY_SIZE))
            add_text(fingerprint, "%s%" PRId32 ":%d:%" PRId32 ":%d", between(fingerprint, ","),
                     frame.header.stream_id, frame.payload[0] >> 7, wire_read_u31(frame.payload),
                     frame.payload[4] + 1);
    }
    if (fingerprint->length == fingerprint->part_at)
        add_text(fingerprint, "0");
}

static void add_order_part(struct fingerprint *fingerprint, const struct field_list *fields)
{
    begin_part(fingerprint);
    for (size_t i = 0; i < fields->count; i++) {
        const struct field_list_entry *field = &fields->entries[i];

        if (field->name_length > 1 && field->name[0] == ':')
            add_text(fingerprint, "%s%c", between(fingerprint, ","), field->name[1]);
    }
}

static json_t *fingerprint_of(const struct detail *detail)
{
    struct fingerprint fingerprint = {.length = 0};

    add_settings_part(&fingerprint, detail->client_frames);
    add_window_part(&fingerprint, detail->client_frames);
    add_priority_part(&fingerprint, detail->client_frames);
    add_order_part(&fingerprint, detail->fields);
    return json_stringn(fingerprint.text, fingerprint.length);
}

/* --- Priority -------------------------------------------------------------------------------- */

static bool is_update_of(const struct client_frame *frame, int32_t stream_id)
{
    return is_whole(frame, WIRE_PRIORITY_UPDATE, WIRE_STREAM_ID_SIZE) &&
           wire_read_u31(frame->payload) == stream_id;
}

static bool is(const uint8_t *bytes, size_t length, const char *text)
{
    return strlen(text) == length && memcmp(bytes, text, length) == 0;
}

/* A frame counts more than the field (RFC 9218 section 7). Return who has spoken. */
static const char *find_priority(const struct detail *detail, struct priority *priority)
{
    const char *from = "default";
    struct client_frame frame;

    *priority = (struct priority){.urgency = 3};
    for (size_t i = 0; i < detail->fields->count; i++) {
        const struct field_list_entry *field = &detail->fields->entries[i];

        if (is(field->name, field->name_length, "priority")) {
            priority_parse((struct span){field->value, field->value_length}, priority);
            from = "field";
        }
    }
    for (size_t place = 0; client_frames_next(detail->client_frames, &place, &frame);) {
        if (!is_update_of(&frame, detail->stream_id))
            continue;
        *priority = (struct priority){.urgency = 3};
        priority_parse((struct span){frame.payload + WIRE_STREAM_ID_SIZE,
                                     frame.payload_length - WIRE_STREAM_ID_SIZE},
                       priority);
        from = "frame";
    }
    return from;
}

static json_t *priority_of(const struct detail *detail)
{
    struct priority priority;
    const char *from = find_priority(detail, &priority);

    return json_pack("{s:i, s:b, s:s}", "urgency", priority.urgency, "incremental",
                     priority.incremental, "from", from);
}

/* The deprecated one, which a HEADERS frame may have; null where it has none. */
static json_t *dependency_of(const struct wire_dependency *dependency)
{
    if (dependency->weight == 0)
        return json_null();
    return json_pack("{s:i, s:i, s:b}", "depends_on", (int)dependency->stream_id, "weight",
                     dependency->weight, "exclusive", dependency->exclusive);
}

/* --- What has no effect ---------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static bool add_dropped(json_t *list, const char *why,
                                                              const char *format, ...)
{
    char what[WHAT_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    return json_array_append_new(list, json_pack("{s:s, s:s}", "what", what, "why", why)) == 0;
}

/* How many there are of what other members of the answer list one by one. */
struct listed {
    size_t settings;
    size_t priorities;
    size_t updates;
};

static size_t count_unknown_settings(const struct client_frame *frame)
{
    size_t count = 0;

    for (size_t at = 0; at + WIRE_SETTING_SIZE <= frame->payload_length; at += WIRE_SETTING_SIZE)
        count +=
            wire_setting_name((uint16_t)(frame->payload[at] << 8 | frame->payload[at + 1])) == NULL;
    return count;
}

static struct listed count_listed(const struct client_frames *client_frames)
{
    struct listed listed = {0};
    struct client_frame frame;

    for (size_t place = 0; client_frames_next(client_frames, &place, &frame);) {
        listed.priorities += frame.header.type == WIRE_PRIORITY;
        listed.updates += frame.header.type == WIRE_PRIORITY_UPDATE;
        if (frame.header.type == WIRE_SETTINGS)
            listed.settings += count_unknown_settings(&frame);
    }
    return listed;
}

static const char deprecated[] = "deprecated, without effect (RFC 9113 section 5.3.2)";
static const char no_room[] = "no room to keep them";

static bool add_dropped_listed(json_t *list, const struct client_frames *client_frames)
{
    struct listed listed = count_listed(client_frames);

    return (listed.settings == 0 ||
            add_dropped(list, "of no known meaning (RFC 9113 section 6.5.2)", "settings: %zu",
                        listed.settings)) &&
           (listed.priorities == 0 ||
            add_dropped(list, deprecated, "PRIORITY frames: %zu", listed.priorities)) &&
           (listed.updates == 0 ||
            add_dropped(list, "without effect: answers go out as they are ready",
                        "PRIORITY_UPDATE frames: %zu", listed.updates));
}

static bool add_unknown_frame(json_t *list, const struct client_frame *frame, bool is_first)
{
    const struct frame_header *header = &frame->header;

    (void)is_first;
    switch (header->type) {
    case WIRE_SETTINGS:
    case WIRE_WINDOW_UPDATE:
    case WIRE_PRIORITY:
    case WIRE_PRIORITY_UPDATE:
        return true;
    default:
        return add_dropped(list, "of no known type (RFC 9113 section 5.5)",
                           "frame of type 0x%02x: %zu bytes, stream %" PRId32, header->type,
                           header->length, header->stream_id);
    }
}

static bool add_dropped_of_request(json_t *list, const struct detail *detail)
{
    return (detail->content_length == 0 ||
            add_dropped(list, "counted, not kept", "content: %" PRIu64 " bytes",
                        detail->content_length)) &&
           (detail->trailers_left_out == 0 ||
            add_dropped(list, no_room, "trailers: %zu fields", detail->trailers_left_out)) &&
           (detail->dependency.weight == 0 || add_dropped(list, deprecated, "priority in HEADERS"));
}

static json_t *dropped_of(const struct detail *detail)
{
    const struct client_frames *client_frames = detail->client_frames;
    json_t *list = collect(client_frames, add_unknown_frame);

    if (list == NULL ||
        (add_dropped_listed(list, client_frames) && add_dropped_of_request(list, detail) &&
         (client_frames->left_out == 0 ||
          add_dropped(list, no_room, "other frames: %zu", client_frames->left_out))))
        return list;
    json_decref(list);
    return NULL;
}

static json_t *report_of(const struct detail_report *report)
{
    return json_pack("{s:i, s:s}", "stream", (int)report->stream_id, "text", report->text);
}

/* The latest reports, the oldest of them first. */
static json_t *reports_of(const struct detail_reports *reports)
{
    json_t *list = json_array();
    size_t count = reports != NULL ? reports->count : 0;
    size_t first = count > DETAIL_REPORTS ? count - DETAIL_REPORTS : 0;

    for (size_t i = first; i < count; i++) {
        if (json_array_append_new(list, report_of(&reports->latest[i % DETAIL_REPORTS])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* --- All of it ------------------------------------------------------------------------------- */

static json_t *stream_of(const struct detail *detail)
{
    return json_pack("{s:i, s:I, s:I, s:i, s:o, s:o}", "id", (int)detail->stream_id, "request",
                     (json_int_t)detail->number, "content_bytes",
                     (json_int_t)detail->content_length, "send_window", (int)detail->stream_window,
                     "priority", priority_of(detail), "dependency",
                     dependency_of(&detail->dependency));
}

/* A string where the bytes are UTF-8, else an object with them in hexadecimal. */
static json_t *bytes_of(const char *text)
{
    enum { BYTES_MAX = CERTIFICATE_SUBJECT_MAX };
    json_t *string;
    char hex[2 * BYTES_MAX + 1] = "";

    errno = 0;
    string = json_string(text);
    if (string != NULL || errno == ENOMEM)
        return string;
    for (size_t i = 0; i < BYTES_MAX && text[i] != '\0'; i++)
        snprintf(hex + 2 * i, sizeof(hex) - 2 * i, "%02x", (uint8_t)text[i]);
    return json_pack("{s:s}", "hex", hex);
}

static json_t *tls_of(const struct detail_origin *origin)
{
    const struct tls_info *facts = &origin->tls;

    if (!origin->has_tls)
        return json_null();
    return json_pack("{s:s, s:s, s:s?, s:o, s:o, s:b}", "version", facts->version, "cipher",
                     facts->cipher, "alpn", facts->alpn[0] != '\0' ? facts->alpn : NULL, "sni",
                     facts->sni[0] != '\0' ? bytes_of(facts->sni) : json_null(), "client",
                     facts->has_client_certificate ? bytes_of(facts->client_subject) : json_null(),
                     "resumed", (int)facts->resumed);
}

static json_t *connection_of(const struct detail *detail)
{
    const struct detail_origin *origin = &detail->origin;

    return json_pack("{s:I, s:s, s:s, s:s, s:f, s:i, s:o}", "id", (json_int_t)origin->id,
                     "protocol", origin->protocol, "peer", origin->peer, "local", origin->local,
                     "age_ms", (double)detail->age_us / 1000, "send_window",
                     (int)detail->connection_window, "tls", tls_of(origin));
}

static json_t *client_of(const struct detail *detail)
{
    return json_pack(
        "{s:o, s:o, s:i, s:o, s:o}", "settings", collect(detail->client_frames, add_first_settings),
        "later_settings", collect(detail->client_frames, add_later_settings), "window_update",
        (int)window_update_of(detail->client_frames), "priority_frames",
        collect(detail->client_frames, add_priority), "fingerprint", fingerprint_of(detail));
}

static json_t *hpack_of(const struct detail *detail)
{
    return json_pack("{s:I, s:I, s:I}", "wire_bytes", (json_int_t)detail->block.wire_bytes,
                     "decoded_bytes", (json_int_t)detail->fields->length, "table_bytes",
                     (json_int_t)detail->block.table_bytes);
}

/* All but the fields. */
static json_t *object_of(const struct detail *detail)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "stream", stream_of(detail), "connection",
                     connection_of(detail), "client", client_of(detail), "hpack", hpack_of(detail),
                     "dropped", dropped_of(detail), "reports", reports_of(detail->reports));
}

/* --- Text ------------------------------------------------------------------------------------ */

/* Fields are written one by one: all at once as jansson's objects they take up to twenty times the
 * bytes that came. */
struct text {
    char *bytes; /* NULL = it is only measured */
    size_t length;
    bool pretty;
};

static void put(struct text *text, const char *bytes, size_t length)
{
    if (text->bytes != NULL)
        memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

static void put_words(struct text *text, const char *words)
{
    put(text, words, strlen(words));
}

static int put_dumped(const char *bytes, size_t length, void *text)
{
    put(text, bytes, length);
    return 0;
}

/* What comes next stands so deep. */
static void put_break(struct text *text, size_t depth)
{
    static const char newline[] = "\n        ";

    if (text->pretty)
        put(text, newline, 1 + 2 * depth);
}

static void put_comma(struct text *text, size_t depth)
{
    put_words(text, text->pretty ? "," : ", ");
    put_break(text, depth);
}

static void put_hex(struct text *text, size_t depth, const uint8_t *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";

    put_words(text, "{");
    put_break(text, depth + 1);
    put_words(text, "\"hex\": \"");
    for (size_t i = 0; i < length; i++) {
        put(text, &digits[bytes[i] >> 4], 1);
        put(text, &digits[bytes[i] & 15], 1);
    }
    put_words(text, "\"");
    put_break(text, depth);
    put_words(text, "}");
}

/* A string where the bytes are UTF-8. jansson has one NULL for "not UTF-8" and for "no memory";
 * errno tells them apart. */
static bool put_value(struct text *text, size_t depth, const uint8_t *bytes, size_t length)
{
    json_t *string;
    int result;

    errno = 0;
    string = json_stringn((const char *)bytes, length);
    if (string == NULL && errno == ENOMEM)
        return false;
    if (string == NULL) {
        put_hex(text, depth, bytes, length);
        return true;
    }
    result = json_dump_callback(string, put_dumped, text, JSON_ENCODE_ANY);
    json_decref(string);
    return result == 0;
}

static bool put_field(struct text *text, const struct field_list_entry *field, bool head)
{
    enum { DEPTH = 3 };
    struct field_list_entry shown = *field;

    if (head && is(field->name, field->name_length, ":method")) {
        shown.value = (const uint8_t *)"GET";
        shown.value_length = strlen("GET");
    }
    put_words(text, "[");
    put_break(text, DEPTH);
    if (!put_value(text, DEPTH, shown.name, shown.name_length))
        return false;
    put_comma(text, DEPTH);
    if (!put_value(text, DEPTH, shown.value, shown.value_length))
        return false;
    if (shown.never_indexed) {
        put_comma(text, DEPTH);
        put_words(text, "\"never-indexed\"");
    }
    put_break(text, DEPTH - 1);
    put_words(text, "]");
    return true;
}

static bool put_fields(struct text *text, const char *name, const struct field_list *fields,
                       bool head)
{
    enum { DEPTH = 2 };
    size_t count = fields != NULL ? fields->count : 0;

    put_words(text, name);
    put_words(text, ": [");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            put_comma(text, DEPTH);
        else
            put_break(text, DEPTH);
        if (!put_field(text, &fields->entries[i], head))
            return false;
    }
    if (count > 0)
        put_break(text, DEPTH - 1);
    put_words(text, "]");
    return true;
}

/* With a newline behind the indented form, as the plain object has it. */
static bool put_all(struct text *text, const struct detail *detail, const json_t *object)
{
    size_t flags = JSON_EMBED | JSON_REAL_PRECISION(15) | (text->pretty ? JSON_INDENT(2) : 0);

    put_words(text, "{");
    put_break(text, 1);
    if (!put_fields(text, "\"fields\"", detail->fields, detail->head))
        return false;
    put_comma(text, 1);
    if (!put_fields(text, "\"trailers\"", detail->trailers, false))
        return false;
    put_words(text, text->pretty ? "," : ", ");
    if (json_dump_callback(object, put_dumped, text, flags) != 0)
        return false;
    put_words(text, text->pretty ? "}\n" : "}");
    return true;
}

static struct echo_body *write_all(struct arena *arena, const struct detail *detail,
                                   const json_t *object)
{
    struct text text = {.pretty = detail->pretty};
    struct echo_body *body;

    if (object == NULL || !put_all(&text, detail, object))
        return NULL;
    body = echo_body_new(arena, text.length);
    if (body == NULL)
        return NULL;
    text = (struct text){.bytes = body->text, .pretty = detail->pretty};
    if (put_all(&text, detail, object))
        return body;
    echo_body_drop(arena, body);
    return NULL;
}

struct echo_body *detail_compose(struct arena *arena, const struct detail *detail)
{
    json_t *object = object_of(detail);
    struct echo_body *body = write_all(arena, detail, object);

    json_decref(object);
    return body;
}
