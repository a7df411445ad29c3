#include "http2/initial_window.h"

#include "base/span.h"

static bool has_settings(const struct frame_header *frame)
{
    return frame->stream_id == 0 && (frame->flags & WIRE_FLAG_ACK) == 0 &&
           frame->length % WIRE_SETTING_SIZE == 0;
}

void initial_window_begin(struct initial_window *window, const struct frame_header *frame)
{
    *window = (struct initial_window){.coming = has_settings(frame) ? frame->length : 0};
}

static void read_entry(struct initial_window *window)
{
    struct wire_setting setting = wire_read_setting(window->entry);

    window->entry_length = 0;
    if (setting.id == WIRE_SETTING_INITIAL_WINDOW_SIZE && setting.value <= WIRE_WINDOW_MAX &&
        setting.value > window->largest)
        window->largest = setting.value;
}

size_t initial_window_receive(struct initial_window *window, const uint8_t *bytes, size_t length)
{
    size_t taken = size_min(length, window->coming);

    for (size_t i = 0; i < taken; i++) {
        window->entry[window->entry_length++] = bytes[i];
        if (window->entry_length == WIRE_SETTING_SIZE)
            read_entry(window);
    }
    window->coming -= taken;
    return taken;
}
