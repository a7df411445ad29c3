/* What a detailed response is composed of, and what is read back of the response, for the tests of
 * detail. Failures are reported by cmocka. */
#ifndef H2ECHOD_TESTS_DETAIL_INPUT_H
#define H2ECHOD_TESTS_DETAIL_INPUT_H

#include "base/arena.h"
#include "base/wire.h"
#include "echo/client_frames.h"
#include "echo/detail.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(text)  (text), sizeof(text) - 1

/* It has no memory of its own, so that AddressSanitizer and valgrind check every block. */
extern struct arena input_arena;

struct input_field {
    const char *name;
    const char *value;
    size_t value_length;
    bool never_indexed;
};

struct detail_input {
    struct detail detail; /* to be changed by the test */
    struct client_frames client_frames;
    struct field_list *fields;   /* owned */
    struct field_list *trailers; /* owned; NULL = none */
};

enum { INPUT_GET_FIELDS = 4 };

/* The fields of a small request. */
extern const struct input_field input_get[INPUT_GET_FIELDS];

/* Start ${input} with these fields and nothing else. It is to be freed by input_free. */
void input_start(struct detail_input *input, const struct input_field *fields, size_t count);
void input_free(struct detail_input *input);

/* Return a list of the fields, to be freed by field_list_free or as a part of an input. */
struct field_list *input_fields(const struct input_field *fields, size_t count);

/* Add a frame that the client has sent. */
void input_add_frame(struct client_frames *client_frames, uint8_t type, int32_t stream_id,
                     const void *payload, size_t length);

/* Return the response, to be dropped; or its JSON object. */
struct echo_body *input_compose(const struct detail_input *input);
json_t *input_json(const struct detail_input *input);

/* Return the member of ${object} that ${path} names, like "client.settings": a borrowed reference.
 */
json_t *find_member(json_t *object, const char *path);

/* Fail unless the response's member at ${path} equals the JSON ${text}. */
void check_member(const struct detail_input *input, const char *path, const char *text);

/* Fail unless the list at ${path} has ${count} members. */
void check_member_count(const struct detail_input *input, const char *path, size_t count);

#endif
