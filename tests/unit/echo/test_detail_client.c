/* The parts of the detailed response that are read from the client's frames. */
#include "unit/echo/detail_input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* --- Settings, windows, priorities --- */

static void test_settings_have_names(void **state)
{
    static const char *const names[] = {"null",
                                        "\"HEADER_TABLE_SIZE\"",
                                        "\"ENABLE_PUSH\"",
                                        "\"MAX_CONCURRENT_STREAMS\"",
                                        "\"INITIAL_WINDOW_SIZE\"",
                                        "\"MAX_FRAME_SIZE\"",
                                        "\"MAX_HEADER_LIST_SIZE\"",
                                        "null",
                                        "\"ENABLE_CONNECT_PROTOCOL\"",
                                        "\"NO_RFC7540_PRIORITIES\"",
                                        "null"};

    (void)state;
    for (unsigned id = 0; id < COUNT(names); id++) {
        uint8_t setting[WIRE_SETTING_SIZE] = {0, (uint8_t)id, 1, 2, 3, 4};
        struct detail_input input;
        char text[128];

        input_start(&input, input_get, INPUT_GET_FIELDS);
        input_add_frame(&input.client_frames, WIRE_SETTINGS, 0, setting, sizeof(setting));
        snprintf(text, sizeof(text), "[{\"id\": %u, \"name\": %s, \"value\": 16909060}]", id,
                 names[id]);
        check_member(&input, "client.settings", text);
        check_member_count(&input, "dropped", strcmp(names[id], "null") == 0 ? 1 : 0);
        input_free(&input);
    }
}

/* They are listed in order, with repetitions. */
static void test_settings_in_order(void **state)
{
    struct detail_input input;

    (void)state;
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input_add_frame(&input.client_frames, WIRE_SETTINGS, 0, "\0\6\0\0\0\1\0\1\0\0\0\2\0\6\0\0\0\3",
                    18);
    input_add_frame(&input.client_frames, WIRE_SETTINGS, 0, "\0\5\0\0\0\4", 6);
    client_frames_note_request(&input.client_frames);
    input_add_frame(&input.client_frames, WIRE_SETTINGS, 0, NULL, 0);
    input_add_frame(&input.client_frames, WIRE_SETTINGS, 0, "\0\5\0\0\0\5\0\4\0\0\0\6", 12);
    check_member(&input, "client.settings",
                 "[{\"id\": 6, \"name\": \"MAX_HEADER_LIST_SIZE\", \"value\": 1}, "
                 "{\"id\": 1, \"name\": \"HEADER_TABLE_SIZE\", \"value\": 2}, "
                 "{\"id\": 6, \"name\": \"MAX_HEADER_LIST_SIZE\", \"value\": 3}]");
    check_member(&input, "client.later_settings",
                 "[{\"id\": 5, \"name\": \"MAX_FRAME_SIZE\", \"value\": 4}, "
                 "{\"id\": 5, \"name\": \"MAX_FRAME_SIZE\", \"value\": 5}, "
                 "{\"id\": 4, \"name\": \"INITIAL_WINDOW_SIZE\", \"value\": 6}]");
    check_member(&input, "client.fingerprint", "\"6:1;1:2;6:3|00|0|m,p,s,a\"");
    input_free(&input);
}

/* Settings that have not arrived yet are neither listed nor counted as dropped. */
static void test_incomplete_settings(void **state)
{
    struct detail_input input;

    (void)state;
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input_add_frame(&input.client_frames, WIRE_SETTINGS, 0, NULL, 0);
    assert_true(client_frames_add(&input.client_frames, &input_arena,
                                  &(struct frame_header){30, 0, WIRE_SETTINGS, 0}));
    client_frames_receive(&input.client_frames, (const uint8_t *)"\0\2\0\0\0\1\0\4\0", 9);
    check_member(&input, "client.later_settings",
                 "[{\"id\": 2, \"name\": \"ENABLE_PUSH\", \"value\": 1}]");
    check_member(&input, "dropped", "[]");
    input_free(&input);
}

/* Only the first increment is shown: it is the client's own choice. */
static void test_window_update(void **state)
{
    struct detail_input input;

    (void)state;
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input_add_frame(&input.client_frames, WIRE_SETTINGS, 0, NULL, 0);
    check_member(&input, "client.window_update", "0");
    input_add_frame(&input.client_frames, WIRE_WINDOW_UPDATE, 0, "\xff\xff\xff\xff",
                    4); /* the first bit is reserved */
    check_member(&input, "client.window_update", "2147483647");
    input_add_frame(&input.client_frames, WIRE_WINDOW_UPDATE, 0, "\0\0\0\1", 4);
    check_member(&input, "client.window_update", "2147483647");
    check_member(&input, "dropped", "[]");
    input_free(&input);
}

static void test_priority_frames(void **state)
{
    struct detail_input input;

    (void)state;
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input_add_frame(&input.client_frames, WIRE_SETTINGS, 0, NULL, 0);
    input_add_frame(&input.client_frames, WIRE_PRIORITY, INT32_MAX, "\xff\xff\xff\xff\xff", 5);
    input_add_frame(&input.client_frames, WIRE_PRIORITY, 3, "\0\0\0\5\0", 5);
    input_add_frame(&input.client_frames, WIRE_PRIORITY, 5, "\0\0\0\1", 4); /* too short */
    check_member(&input, "client.priority_frames",
                 "[{\"stream\": 2147483647, \"depends_on\": 2147483647, \"weight\": 256, "
                 "\"exclusive\": true}, "
                 "{\"stream\": 3, \"depends_on\": 5, \"weight\": 1, \"exclusive\": false}]");
    check_member(&input, "client.fingerprint",
                 "\"|00|2147483647:1:2147483647:256,3:0:5:1|m,p,s,a\"");
    input_free(&input);
}

/* --- The fingerprint --- */

/* The example of Akamai's paper, and a window increment of one digit. */
static void test_fingerprint(void **state)
{
    struct detail_input input;

    (void)state;
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input_add_frame(&input.client_frames, WIRE_SETTINGS, 0,
                    "\0\1\0\1\0\0\0\3\0\0\3\350\0\4\0\137\377\377", 18);
    input_add_frame(&input.client_frames, WIRE_WINDOW_UPDATE, 0, "\0\357\0\1", 4);
    client_frames_note_request(&input.client_frames);
    input_add_frame(&input.client_frames, WIRE_PRIORITY, 5, "\0\0\0\3\1",
                    5); /* after the first request: not shown */
    check_member(&input, "client.fingerprint", "\"1:65536;3:1000;4:6291455|15663105|0|m,p,s,a\"");
    input_free(&input);

    input_start(&input, input_get, INPUT_GET_FIELDS);
    input_add_frame(&input.client_frames, WIRE_SETTINGS, 0, NULL, 0);
    input_add_frame(&input.client_frames, WIRE_WINDOW_UPDATE, 0, "\0\0\0\5", 4);
    check_member(&input, "client.fingerprint", "\"|5|0|m,p,s,a\"");
    input_free(&input);
}

/* Pseudo-header fields in the request's order; regular fields are not shown. */
static void test_fingerprint_of_fields(void **state)
{
    static const struct input_field fields[] = {
        {":authority", BYTES(""), false}, {":scheme", BYTES(""), true},
        {":method", BYTES(""), false},    {":path", BYTES(""), false},
        {"method", BYTES(":"), false},    {"p", BYTES(""), false},
    };
    struct detail_input input;

    (void)state;
    input_start(&input, fields, COUNT(fields));
    check_member(&input, "client.fingerprint", "\"|00|0|a,s,m,p\"");
    input_free(&input);
}

/* It shows all frames that are kept. */
static void test_longest_fingerprint(void **state)
{
    enum { ALL = CLIENT_FRAMES_PAYLOAD_MAX / WIRE_SETTING_SIZE, ENDING = sizeof("|m,p,s,a") - 1 };
    uint8_t payload[CLIENT_FRAMES_PAYLOAD_MAX];
    struct detail_input input;
    json_t *object;
    const char *text;
    size_t settings = 1;
    size_t priorities = 1;

    (void)state;
    memset(payload, 0xff, sizeof(payload));
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input_add_frame(&input.client_frames, WIRE_SETTINGS, 0, payload, sizeof(payload));
    input_add_frame(&input.client_frames, WIRE_WINDOW_UPDATE, 0, payload, 4);
    while (input.client_frames.left_out == 0)
        input_add_frame(&input.client_frames, WIRE_PRIORITY, INT32_MAX, payload, 5);
    object = input_json(&input);
    text = json_string_value(find_member(object, "client.fingerprint"));
    for (const char *at = text; *at != '\0'; at++) {
        settings += *at == ';';
        priorities += *at == ',' && at[1] == '2';
    }
    assert_int_equal(settings, ALL);
    assert_int_equal(priorities, json_array_size(find_member(object, "client.priority_frames")));
    assert_string_equal(text + strlen(text) - ENDING, "|m,p,s,a");
    json_decref(object);
    input_free(&input);
}

/* --- Priority (RFC 9218) --- */

static void test_priority(void **state)
{
    static const struct input_field fields[] = {{"priority", BYTES("u=0"), false},
                                                {"x", BYTES("u=7"), false},
                                                {"priority", BYTES("i"), false}};
    struct detail_input input;

    (void)state;
    input_start(&input, fields, COUNT(fields));
    input.detail.stream_id = 5;
    check_member(&input, "stream.priority",
                 "{\"urgency\": 0, \"incremental\": true, \"from\": \"field\"}");
    input_add_frame(&input.client_frames, WIRE_PRIORITY_UPDATE, 0, "\0\0\0\3u=6",
                    7); /* of another stream */
    input_add_frame(&input.client_frames, WIRE_PRIORITY_UPDATE, 0, "\0\0\0", 3);
    input_add_frame(&input.client_frames, WIRE_SETTINGS, 0, "\0\0\0\5u=", 6);
    check_member(&input, "stream.priority",
                 "{\"urgency\": 0, \"incremental\": true, \"from\": \"field\"}");
    input_add_frame(&input.client_frames, WIRE_PRIORITY_UPDATE, 0, "\x80\0\0\5u=6", 7);
    check_member(&input, "stream.priority",
                 "{\"urgency\": 6, \"incremental\": false, \"from\": \"frame\"}");
    input_add_frame(&input.client_frames, WIRE_PRIORITY_UPDATE, 0, "\0\0\0\5i",
                    5); /* only the last one counts */
    check_member(&input, "stream.priority",
                 "{\"urgency\": 3, \"incremental\": true, \"from\": \"frame\"}");
    input_add_frame(&input.client_frames, WIRE_PRIORITY_UPDATE, 0, "\0\0\0\5", 4);
    check_member(&input, "stream.priority",
                 "{\"urgency\": 3, \"incremental\": false, \"from\": \"frame\"}");
    input_free(&input);
}

/* --- What has no effect, or is not kept --- */

static void test_frames_without_room(void **state)
{
    struct detail_input input;

    (void)state;
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input.client_frames.left_out = 17;
    check_member(&input, "dropped",
                 "[{\"what\": \"other frames: 17\", \"why\": \"no room to keep them\"}]");
    input_free(&input);
}

static void test_trailers_without_room(void **state)
{
    struct detail_input input;

    (void)state;
    input_start(&input, input_get, INPUT_GET_FIELDS);
    input.detail.trailers_left_out = 3;
    check_member(&input, "trailers", "[]");
    check_member(&input, "dropped",
                 "[{\"what\": \"trailers: 3 fields\", \"why\": \"no room to keep them\"}]");
    input_free(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_have_names),
        cmocka_unit_test(test_settings_in_order),
        cmocka_unit_test(test_incomplete_settings),
        cmocka_unit_test(test_window_update),
        cmocka_unit_test(test_priority_frames),
        cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_fingerprint_of_fields),
        cmocka_unit_test(test_longest_fingerprint),
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_frames_without_room),
        cmocka_unit_test(test_trailers_without_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
