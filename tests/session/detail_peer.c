#include "session/detail_peer.h"

#include <stdio.h>
#include <string.h>

static const struct peer_transfer detail_transfers[] = {{SPLIT_NONE, 16384},   {SPLIT_NONE, 9},
                                                        {SPLIT_RANDOM, 16384}, {SPLIT_RANDOM, 9},
                                                        {SPLIT_BYTES, 16384},  {SPLIT_BYTES, 1}};

void detail_run_each(peer_script *run, const struct session_options *options)
{
    for (size_t i = 0; i < COUNT(detail_transfers); i++)
        peer_run(peer_new(options, detail_transfers[i]), run);
}

static void check_response_field(const struct peer_response *response, const char *name,
                                 const char *value)
{
    assert_non_null(peer_field(response, name));
    assert_string_equal(peer_field(response, name), value);
}

void detail_check_head(const struct peer_response *response, size_t length)
{
    char number[24];

    snprintf(number, sizeof(number), "%zu", length);
    assert_int_equal(response->status, 200);
    assert_int_equal(response->field_count, 7);
    check_response_field(response, "server", "h2echod/" H2ECHOD_VERSION);
    check_response_field(response, "content-type", DETAIL_TYPE);
    check_response_field(response, "content-length", number);
    check_response_field(response, "cache-control", "no-store");
    check_response_field(response, "vary", "accept");
    assert_non_null(peer_field(response, "date"));
    assert_true(response->ended);
    assert_false(response->reset);
}

json_t *detail_answer(const struct peer *peer, int32_t stream_id)
{
    const struct peer_response *response = peer_response(peer, stream_id);
    json_t *object;

    detail_check_head(response, response->body.length);
    object = json_loadb((const char *)response->body.data, response->body.length,
                        JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(object);
    return object;
}

json_t *detail_find(json_t *object, const char *path)
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

void detail_check_equal(const char *path, json_t *found, json_t *wanted)
{
    char *found_text;
    char *wanted_text;

    assert_non_null(wanted);
    if (json_equal(found, wanted))
        return;
    found_text = json_dumps(found, JSON_ENCODE_ANY);
    wanted_text = json_dumps(wanted, JSON_ENCODE_ANY);
    print_error("%s\n  is %s\n not %s\n", path, found_text, wanted_text);
    fail();
}

void detail_check(const struct peer *peer, int32_t stream_id, const char *path, const char *text)
{
    json_t *object = detail_answer(peer, stream_id);
    json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);

    detail_check_equal(path, detail_find(object, path), wanted);
    json_decref(wanted);
    json_decref(object);
}

json_int_t detail_number(const struct peer *peer, int32_t stream_id, const char *path)
{
    json_t *object = detail_answer(peer, stream_id);
    json_int_t number;

    assert_true(json_is_integer(detail_find(object, path)));
    number = json_integer_value(detail_find(object, path));
    json_decref(object);
    return number;
}

void detail_begin(struct peer *peer)
{
    frame_add_preface(&peer->out);
    frame_add(&peer->out, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
}

void detail_add_get(struct peer *peer, int32_t stream_id, const char *path)
{
    struct field fields[] = {REQUEST_OF("GET", ""), ASKING};

    fields[1] = field_of(":path", path);
    frame_add_request(&peer->out, stream_id, END_STREAM, fields, COUNT(fields));
}

void detail_ask(struct peer *peer, int32_t stream_id, uint8_t flags, const struct field *fields,
                size_t count)
{
    frame_add_request(&peer->out, stream_id, flags, fields, count);
    peer_pump(peer);
}

void detail_ask_get(struct peer *peer, int32_t stream_id)
{
    detail_add_get(peer, stream_id, "/");
    peer_pump(peer);
}
