/*
 * detail_internal: what the files of detail share: detail.c puts the object together,
 * detail_client.c has what is read from the client's frames, detail_fingerprint.c its fingerprint,
 * detail_dropped.c what has no effect, and detail_text.c writes the text. For no other file.
 *
 * The functions that return json_t return a new reference, or NULL if memory ran out. jansson takes
 * NULL where it expects a value, and then returns NULL itself and frees the other values. So memory
 * that runs out anywhere makes the whole object NULL, and is checked for only once, at the end.
 */
#ifndef H2ECHOD_ECHO_DETAIL_INTERNAL_H
#define H2ECHOD_ECHO_DETAIL_INTERNAL_H

#include "echo/client_frames.h"
#include "echo/detail.h"

#include <jansson.h>

/*
 * detail_client(detail):
 * Return the member "client".
 */
json_t *detail_client(const struct detail *detail);

/*
 * detail_priority(detail):
 * Return the member "priority" of "stream": the request's priority (RFC 9218), and where it is
 * from.
 */
json_t *detail_priority(const struct detail *detail);

/*
 * detail_dropped(detail):
 * Return the member "dropped": what the client sent that has no effect, or is not kept.
 */
json_t *detail_dropped(const struct detail *detail);

/*
 * detail_fingerprint(detail):
 * Return the client's fingerprint, a string.
 */
json_t *detail_fingerprint(const struct detail *detail);

/*
 * detail_frame_is(frame, type, size):
 * Return true if ${frame} is of that type, and at least ${size} bytes of its payload are there.
 */
bool detail_frame_is(const struct client_frame *frame, enum wire_type type, size_t size);

/* Appends to ${list} what ${frame} has for it, if anything. Returns false if memory ran out. */
typedef bool detail_append_fn(json_t *list, const struct client_frame *frame, bool is_first);

/*
 * detail_collect(client_frames, append):
 * Return the list to which ${append} has appended, called for each of the client's frames in order.
 */
json_t *detail_collect(const struct client_frames *client_frames, detail_append_fn *append);

/*
 * detail_window_update(client_frames):
 * Return the increment of the client's first WINDOW_UPDATE for the connection, before its first
 * request; 0 = there was none.
 */
int32_t detail_window_update(const struct client_frames *client_frames);

/*
 * detail_write(arena, detail, object):
 * Return the body: ${detail}'s fields and trailers, then the members of ${object}. Its memory is
 * from
 * ${arena}; NULL if memory ran out.
 */
struct echo_body *detail_write(struct arena *arena, const struct detail *detail,
                               const json_t *object);

#endif
