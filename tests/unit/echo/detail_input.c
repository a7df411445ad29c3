#include "unit/echo/detail_input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

struct arena input_arena;

void input_add_frame(struct client_frames *client_frames, uint8_t type, int32_t stream_id,
                     const void *payload, size_t length)
{
    struct frame_header frame = {length, stream_id, type, 0};

    assert_true(client_frames_add(client_frames, &input_arena, &frame));
    client_frames_receive(client_frames, payload, length);
}

struct field_list *input_fields(const struct input_field *fields, size_t count)
{
    struct field_list *list;
    size_t length = 0;

    for (size_t i = 0; i < count; i++)
        length += strlen(fields[i].name) + fields[i].value_length;
    list = field_list_new(&input_arena, count, length);
    assert_non_null(list);
    for (size_t i = 0; i < count; i++) {
        struct field_list_entry entry = {
            .name = span_of(fields[i].name),
            .value = {(const uint8_t *)fields[i].value, fields[i].value_length},
            .never_indexed = fields[i].never_indexed,
        };

        field_list_add(list, &entry);
    }
    return list;
}

void input_start(struct detail_input *input, const struct input_field *fields, size_t count)
{
    *input = (struct detail_input){.fields = input_fields(fields, count)};
    input->detail = (struct detail){.origin = {.protocol = "h2c"},
                                    .fields = input->fields,
                                    .client_frames = &input->client_frames};
}

void input_free(struct detail_input *input)
{
    field_list_free(&input_arena, input->fields);
    field_list_free(&input_arena, input->trailers);
    client_frames_free(&input->client_frames, &input_arena);
}

const struct input_field input_get[INPUT_GET_FIELDS] = {{":method", BYTES("GET"), false},
                                                        {":path", BYTES("/"), false},
                                                        {":scheme", BYTES("http"), false},
                                                        {":authority", BYTES("h"), false}};

struct echo_body *input_compose(const struct detail_input *input)
{
    struct echo_body *body = detail_compose(&input_arena, &input->detail);

    assert_non_null(body);
    return body;
}

json_t *input_json(const struct detail_input *input)
{
    struct echo_body *body = input_compose(input);
    json_t *object =
        json_loadb(body->text, body->length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

    assert_non_null(object);
    echo_body_drop(&input_arena, body);
    return object;
}

json_t *find_member(json_t *object, const char *path)
{
    char name[64];

    for (size_t length; object != NULL && *path != '\0';
         path += length + (path[length] == '.' ? 1 : 0)) {
        length = strcspn(path, ".");
        memcpy(name, path, length);
        name[length] = '\0';
        object = json_object_get(object, name);
    }
    assert_non_null(object);
    return object;
}

void check_member(const struct detail_input *input, const char *path, const char *text)
{
    json_t *object = input_json(input);
    json_t *found = find_member(object, path);
    json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);
    char *shown;

    assert_non_null(wanted);
    if (!json_equal(found, wanted)) {
        shown = json_dumps(found, JSON_ENCODE_ANY);
        fail_msg("%s: %s, not %s", path, shown, text);
    }
    json_decref(wanted);
    json_decref(object);
}

void check_member_count(const struct detail_input *input, const char *path, size_t count)
{
    json_t *object = input_json(input);

    assert_int_equal(json_array_size(find_member(object, path)), count);
    json_decref(object);
}
