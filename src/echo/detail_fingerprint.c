/*
 * detail_fingerprint: the client's fingerprint, by its first frames and the order of pseudo-header
 * fields.
 */
#include "echo/detail_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* A setting's 6 bytes become 17 characters at most, PRIORITY's 14 bytes become 28. */
enum { FINGERPRINT_MAX = 3 * CLIENT_FRAMES_MAX };

/* SETTINGS|WINDOW_UPDATE|PRIORITY|pseudo-header fields, as in Akamai's paper "Passive
 * Fingerprinting of HTTP/2 Clients": "1:65536;4:131072|12517377|3:0:0:201|m,p,a,s". */
struct fingerprint {
    char text[FINGERPRINT_MAX];
    size_t length;
    size_t part_at; /* where the current part begins */
};

__attribute__((format(printf, 2, 3))) static void fingerprint_add(struct fingerprint *fingerprint,
                                                                  const char *format, ...)
{
    size_t room = sizeof(fingerprint->text) - fingerprint->length;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(fingerprint->text + fingerprint->length, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        fingerprint->length += size_min((size_t)length, room - 1);
}

/* Begin a part other than the first. */
static void fingerprint_begin_part(struct fingerprint *fingerprint)
{
    fingerprint_add(fingerprint, "|");
    fingerprint->part_at = fingerprint->length;
}

/* Return the separator before the next element of the current part: none before the first. */
static const char *fingerprint_separator(const struct fingerprint *fingerprint,
                                         const char *separator)
{
    return fingerprint->length > fingerprint->part_at ? separator : "";
}

static void fingerprint_add_settings(struct fingerprint *fingerprint,
                                     const struct client_frames *client_frames)
{
    struct client_frame frame;
    size_t place = 0;

    if (!client_frames_next(client_frames, &place, &frame))
        return;
    for (struct span left = frame.payload; left.length >= WIRE_SETTING_SIZE;
         left = span_skip(left, WIRE_SETTING_SIZE)) {
        struct wire_setting setting = wire_read_setting(left.bytes);

        fingerprint_add(fingerprint, "%s%u:%" PRIu32, fingerprint_separator(fingerprint, ";"),
                        (unsigned)setting.id, setting.value);
    }
}

static void fingerprint_add_window(struct fingerprint *fingerprint,
                                   const struct client_frames *client_frames)
{
    int32_t increment = detail_window_update(client_frames);

    fingerprint_begin_part(fingerprint);
    if (increment > 0)
        fingerprint_add(fingerprint, "%" PRId32, increment);
    else
        fingerprint_add(fingerprint, "00");
}

/* Only of PRIORITY frames before the first request. */
static void fingerprint_add_priority(struct fingerprint *fingerprint,
                                     const struct client_frames *client_frames)
{
    struct client_frame frame;

    fingerprint_begin_part(fingerprint);
    for (size_t place = 0; client_frames_next(client_frames, &place, &frame);) {
        struct wire_dependency dependency;

        if (!frame.is_initial || !detail_frame_is(&frame, WIRE_PRIORITY, WIRE_DEPENDENCY_SIZE))
            continue;
        dependency = wire_read_dependency(frame.payload.bytes);
        fingerprint_add(fingerprint, "%s%" PRId32 ":%d:%" PRId32 ":%d",
                        fingerprint_separator(fingerprint, ","), frame.header.stream_id,
                        dependency.exclusive, dependency.stream_id, dependency.weight);
    }
    if (fingerprint->length == fingerprint->part_at)
        fingerprint_add(fingerprint, "0");
}

/* The order of the request's pseudo-header fields, by the first letter of each. */
static void fingerprint_add_order(struct fingerprint *fingerprint, const struct field_list *fields)
{
    fingerprint_begin_part(fingerprint);
    for (size_t i = 0; i < fields->count; i++) {
        const struct field_list_entry *field = &fields->entries[i];

        if (field->name.length > 1 && field->name.bytes[0] == ':')
            fingerprint_add(fingerprint, "%s%c", fingerprint_separator(fingerprint, ","),
                            field->name.bytes[1]);
    }
}

json_t *detail_fingerprint(const struct detail *detail)
{
    struct fingerprint fingerprint = {.length = 0};

    fingerprint_add_settings(&fingerprint, detail->client_frames);
    fingerprint_add_window(&fingerprint, detail->client_frames);
    fingerprint_add_priority(&fingerprint, detail->client_frames);
    fingerprint_add_order(&fingerprint, detail->fields);
    return json_stringn(fingerprint.text, fingerprint.length);
}
