/*
 * detail_dropped: the list of what the client sent that has no effect, or is not kept.
 */
#include "echo/detail_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { WHAT_MAX = 96 /* bytes of the longest "what" with its NUL */ };

static const char deprecated[] = "deprecated, without effect (RFC 9113 section 5.3.2)";
static const char no_room[] = "no room to keep them";

/* Return false if memory ran out. */
__attribute__((format(printf, 3, 4))) static bool append_dropped(json_t *list, const char *why,
                                                                 const char *format, ...)
{
    char what[WHAT_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    return json_array_append_new(list, json_pack("{s:s, s:s}", "what", what, "why", why)) == 0;
}

static bool append_unknown_frame(json_t *list, const struct client_frame *frame, bool is_first)
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
        return append_dropped(list, "of no known type (RFC 9113 section 5.5)",
                              "frame of type 0x%02x: %zu bytes, stream %" PRId32, header->type,
                              header->length, header->stream_id);
    }
}

/* The numbers of what the client sent without effect, and is listed one by one elsewhere. */
struct counts {
    size_t unknown_settings;
    size_t priority_frames;
    size_t priority_updates;
};

static size_t count_unknown_settings(struct span payload)
{
    size_t count = 0;

    for (; payload.length >= WIRE_SETTING_SIZE; payload = span_skip(payload, WIRE_SETTING_SIZE))
        count += wire_setting_name(wire_read_setting(payload.bytes).id) == NULL;
    return count;
}

static struct counts count_frames(const struct client_frames *client_frames)
{
    struct counts counts = {0};
    struct client_frame frame;

    for (size_t place = 0; client_frames_next(client_frames, &place, &frame);) {
        counts.priority_frames += frame.header.type == WIRE_PRIORITY;
        counts.priority_updates += frame.header.type == WIRE_PRIORITY_UPDATE;
        if (frame.header.type == WIRE_SETTINGS)
            counts.unknown_settings += count_unknown_settings(frame.payload);
    }
    return counts;
}

static bool append_counts(json_t *list, const struct client_frames *client_frames)
{
    struct counts counts = count_frames(client_frames);

    return (counts.unknown_settings == 0 ||
            append_dropped(list, "of no known meaning (RFC 9113 section 6.5.2)", "settings: %zu",
                           counts.unknown_settings)) &&
           (counts.priority_frames == 0 ||
            append_dropped(list, deprecated, "PRIORITY frames: %zu", counts.priority_frames)) &&
           (counts.priority_updates == 0 ||
            append_dropped(list, "without effect: answers go out as they are ready",
                           "PRIORITY_UPDATE frames: %zu", counts.priority_updates));
}

/* The same for parts of the request itself. */
static bool append_of_request(json_t *list, const struct detail *detail)
{
    return (detail->content_length == 0 ||
            append_dropped(list, "counted, not kept", "content: %" PRIu64 " bytes",
                           detail->content_length)) &&
           (detail->trailers_left_out == 0 ||
            append_dropped(list, no_room, "trailers: %zu fields", detail->trailers_left_out)) &&
           (detail->dependency.weight == 0 ||
            append_dropped(list, deprecated, "priority in HEADERS"));
}

json_t *detail_dropped(const struct detail *detail)
{
    const struct client_frames *client_frames = detail->client_frames;
    json_t *list = detail_collect(client_frames, append_unknown_frame);

    if (list == NULL ||
        (append_counts(list, client_frames) && append_of_request(list, detail) &&
         (client_frames->left_out == 0 ||
          append_dropped(list, no_room, "other frames: %zu", client_frames->left_out))))
        return list;
    json_decref(list);
    return NULL;
}
