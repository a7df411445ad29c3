/*
 * initial_window: what a SETTINGS frame makes of SETTINGS_INITIAL_WINDOW_SIZE, read while its bytes
 * come.
 *
 * A change that takes a stream's window above 2^31-1 is an error of the connection (RFC 9113
 * section 6.9.2), which is to be found before nghttp2 acts on the frame: each of its versions does
 * something else then. Pure.
 */
#ifndef H2ECHOD_HTTP2_INITIAL_WINDOW_H
#define H2ECHOD_HTTP2_INITIAL_WINDOW_H

#include "base/frame.h"
#include "base/wire.h"

#include <stddef.h>
#include <stdint.h>

struct initial_window {
    size_t coming;    /* bytes of the payload that are still to come */
    uint32_t largest; /* value so far; 0 = none. One above 2^31-1 is another error. */
    uint8_t entry[WIRE_SETTING_SIZE];
    size_t entry_length;
};

/*
 * initial_window_begin(window, frame):
 * ${frame} is SETTINGS: expect its payload. A frame that is malformed, or acknowledges, has none
 * that counts.
 */
void initial_window_begin(struct initial_window *window, const struct frame_header *frame);

/*
 * initial_window_receive(window, bytes, length):
 * Read as many bytes as belong to the payload, and return their number.
 */
size_t initial_window_receive(struct initial_window *window, const uint8_t *bytes, size_t length);

#endif
