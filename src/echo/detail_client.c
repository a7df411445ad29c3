/*
 * detail_client: what the detailed response shows of the frames by which the client describes
 * itself.
 */
#include "echo/detail_internal.h"

#include "echo/priority.h"

/* --- Frames ---------------------------------------------------------------------------------- */

bool detail_frame_is(const struct client_frame *frame, enum wire_type type, size_t size)
{
    return frame->header.type == type && frame->payload.length >= size;
}

json_t *detail_collect(const struct client_frames *client_frames, detail_append_fn *append)
{
    json_t *list = json_array();
    struct client_frame frame;
    bool is_first = true;

    for (size_t place = 0; client_frames_next(client_frames, &place, &frame); is_first = false) {
        if (!append(list, &frame, is_first)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* --- Settings -------------------------------------------------------------------------------- */

static bool append_settings(json_t *list, struct span payload)
{
    for (; payload.length >= WIRE_SETTING_SIZE; payload = span_skip(payload, WIRE_SETTING_SIZE)) {
        struct wire_setting setting = wire_read_setting(payload.bytes);
        json_t *object =
            json_pack("{s:i, s:s?, s:I}", "id", (int)setting.id, "name",
                      wire_setting_name(setting.id), "value", (json_int_t)setting.value);

        if (json_array_append_new(list, object) != 0)
            return false;
    }
    return true;
}

/* The first frame of a connection is SETTINGS (RFC 9113 section 3.4). */
static bool append_first_settings(json_t *list, const struct client_frame *frame, bool is_first)
{
    return !is_first || append_settings(list, frame->payload);
}

static bool append_later_settings(json_t *list, const struct client_frame *frame, bool is_first)
{
    return is_first || frame->header.type != WIRE_SETTINGS || append_settings(list, frame->payload);
}

/* --- The client ------------------------------------------------------------------------------ */

int32_t detail_window_update(const struct client_frames *client_frames)
{
    struct client_frame frame;

    for (size_t place = 0; client_frames_next(client_frames, &place, &frame);) {
        if (detail_frame_is(&frame, WIRE_WINDOW_UPDATE, WIRE_WINDOW_UPDATE_SIZE))
            return wire_read_u31(frame.payload.bytes);
    }
    return 0;
}

static bool append_priority_frame(json_t *list, const struct client_frame *frame, bool is_first)
{
    struct wire_dependency dependency;
    json_t *object;

    (void)is_first;
    if (!detail_frame_is(frame, WIRE_PRIORITY, WIRE_DEPENDENCY_SIZE))
        return true;
    dependency = wire_read_dependency(frame->payload.bytes);
    object = json_pack("{s:i, s:i, s:i, s:b}", "stream", (int)frame->header.stream_id, "depends_on",
                       (int)dependency.stream_id, "weight", dependency.weight, "exclusive",
                       (int)dependency.exclusive);
    return json_array_append_new(list, object) == 0;
}

json_t *detail_client(const struct detail *detail)
{
    const struct client_frames *frames = detail->client_frames;

    return json_pack(
        "{s:o, s:o, s:i, s:o, s:o}", "settings", detail_collect(frames, append_first_settings),
        "later_settings", detail_collect(frames, append_later_settings), "window_update",
        (int)detail_window_update(frames), "priority_frames",
        detail_collect(frames, append_priority_frame), "fingerprint", detail_fingerprint(detail));
}

/* --- Priority -------------------------------------------------------------------------------- */

static bool is_priority_update(const struct client_frame *frame, int32_t stream_id)
{
    return detail_frame_is(frame, WIRE_PRIORITY_UPDATE, WIRE_STREAM_ID_SIZE) &&
           wire_read_u31(frame->payload.bytes) == stream_id;
}

/* A PRIORITY_UPDATE frame overrides the field (RFC 9218 section 7). Return the source. */
static const char *find_priority(const struct detail *detail, struct priority *priority)
{
    const char *from = "default";
    struct client_frame frame;

    *priority = PRIORITY_DEFAULT;
    for (size_t i = 0; i < detail->fields->count; i++) {
        const struct field_list_entry *field = &detail->fields->entries[i];

        if (span_is(field->name, "priority")) {
            priority_parse(field->value, priority);
            from = "field";
        }
    }
    for (size_t place = 0; client_frames_next(detail->client_frames, &place, &frame);) {
        if (!is_priority_update(&frame, detail->stream_id))
            continue;
        *priority = PRIORITY_DEFAULT;
        priority_parse(span_skip(frame.payload, WIRE_STREAM_ID_SIZE), priority);
        from = "frame";
    }
    return from;
}

json_t *detail_priority(const struct detail *detail)
{
    struct priority priority;
    const char *from = find_priority(detail, &priority);

    return json_pack("{s:i, s:b, s:s}", "urgency", priority.urgency, "incremental",
                     (int)priority.incremental, "from", from);
}
