#include "http2/initial_window.h"

#include <stdbool.h>

enum {
    FLAG_ACK = 0x1,
    ID_INITIAL_WINDOW_SIZE = 0x4,
    LARGEST = 0x7fffffff,
};

static bool counts(const struct frame_header *frame)
{
    return frame->stream_id == 0 && (frame->flags & FLAG_ACK) == 0 &&
           frame->length % WIRE_SETTING_SIZE == 0;
}

void initial_window_begin(struct initial_window *window, const struct frame_header *frame)
{
    *window = (struct initial_window){.coming = counts(frame) ? frame->length : 0};
}

/* An entry is whole. */
static void read_entry(struct initial_window *window)
{
    const uint8_t *entry = window->entry;
    uint32_t id = (uint32_t)entry[0] << 8 | entry[1];
    uint32_t value =
        (uint32_t)entry[2] << 24 | (uint32_t)entry[3] << 16 | (uint32_t)entry[4] << 8 | entry[5];

    window->entry_length = 0;
    if (id == ID_INITIAL_WINDOW_SIZE && value <= LARGEST && value > window->largest)
        window->largest = value;
}

size_t initial_window_receive(struct initial_window *window, const uint8_t *bytes, size_t length)
{
    size_t taken = length < window->coming ? length : window->coming;

    for (size_t i = 0; i < taken; i++) {
        window->entry[window->entry_length++] = bytes[i];
        if (window->entry_length == WIRE_SETTING_SIZE)
            read_entry(window);
    }
    window->coming -= taken;
    return taken;
}
