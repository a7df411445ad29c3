/*
 * initial_window: the largest SETTINGS_INITIAL_WINDOW_SIZE in a SETTINGS frame, read while the
 * frame is still arriving.
 *
 * A change that makes a stream's window larger than 2^31-1 is a connection error (RFC 9113 section
 * 6.9.2). It has to be found before nghttp2 acts on the frame, because nghttp2's versions differ in
 * what they do then. Pure.
 */
#ifndef H2ECHOD_HTTP2_INITIAL_WINDOW_H
#define H2ECHOD_HTTP2_INITIAL_WINDOW_H

#include "base/frame.h"
#include "base/wire.h"

#include <stddef.h>
#include <stdint.h>

struct initial_window {
    size_t coming;    /* bytes of the payload that are still to come */
    uint32_t largest; /* valid value so far, 0 = none; one above 2^31-1 is another error */
    uint8_t entry[WIRE_SETTING_SIZE]; /* that is being read */
    size_t entry_length;
};

/*
 * initial_window_begin(window, frame):
 * The header of a SETTINGS frame has arrived: expect its payload. Nothing will be read of a frame
 * that is malformed or an acknowledgement.
 */
void initial_window_begin(struct initial_window *window, const struct frame_header *frame);

/*
 * initial_window_receive(window, bytes, length):
 * Read those of the next ${length} bytes that belong to the payload; return their number.
 */
size_t initial_window_receive(struct initial_window *window, const uint8_t *bytes, size_t length);

#endif
