/*
 * Look up what the session sent and reported, and check responses.
 */
#include "session/peer_internal.h"

#include <stdio.h>
#include <string.h>

const struct peer_response *peer_response(const struct peer *peer, int32_t stream_id)
{
    static const struct peer_response nothing;

    for (size_t i = 0; i < peer->response_count; i++)
        if (peer->responses[i].stream_id == stream_id)
            return &peer->responses[i];
    return &nothing;
}

const char *peer_field(const struct peer_response *response, const char *name)
{
    for (size_t i = 0; i < response->field_count; i++)
        if (strcmp(response->fields[i].name, name) == 0)
            return response->fields[i].value;
    return NULL;
}

const struct peer_report *peer_find_report(const struct peer *peer, int32_t stream_id,
                                           const char *part)
{
    for (size_t i = 0; i < min_size(peer->report_count, PEER_REPORTS); i++)
        if (peer->reports[i].stream_id == stream_id && strstr(peer->reports[i].text, part))
            return &peer->reports[i];
    return NULL;
}

const struct peer_request *peer_find_request(const struct peer *peer, int32_t stream_id)
{
    for (size_t i = 0; i < peer->request_count; i++)
        if (peer->requests[i].stream_id == stream_id)
            return &peer->requests[i];
    return NULL;
}

/* Every response but detailed answers has exactly these six fields. */
static void check_response_fields(const struct peer_response *response, int status,
                                  const char *type, size_t length)
{
    char date[CLOCK_HTTP_DATE_SIZE];
    char number[24];

    clock_http_date(response->unix_s, date);
    assert_int_equal(response->status, status);
    assert_int_equal(response->field_count, 6);
    assert_string_equal(peer_field(response, "server"), "h2echod/" H2ECHOD_VERSION);
    assert_string_equal(peer_field(response, "date"), date);
    assert_string_equal(peer_field(response, "content-type"), type);
    assert_string_equal(peer_field(response, "cache-control"), "no-store");
    snprintf(number, sizeof(number), "%zu", length);
    assert_string_equal(peer_field(response, "content-length"), number);
}

void peer_check_answer(const struct peer *peer, int32_t stream_id, const void *body, size_t length)
{
    const struct peer_response *response = peer_response(peer, stream_id);

    check_response_fields(response, 200, "application/json", length);
    assert_int_equal(response->body.length, length);
    assert_memory_equal(response->body.data, body, length);
    assert_true(response->ended);
    assert_false(response->reset);
}

void peer_check_get(const struct peer *peer, int32_t stream_id, const char *path)
{
    char body[256];
    int length = snprintf(body, sizeof(body),
                          "{\":method\": \"GET\", \":path\": \"%s\", \":scheme\": \"http\", "
                          "\":authority\": \"h\"}",
                          path);

    assert_true(length > 0 && (size_t)length < sizeof(body));
    peer_check_answer(peer, stream_id, body, (size_t)length);
}

void peer_check_post(const struct peer *peer, int32_t stream_id)
{
    static const char body[] = "{\":method\": \"POST\", \":path\": \"/\", \":scheme\": \"http\", "
                               "\":authority\": \"h\"}";

    peer_check_answer(peer, stream_id, body, sizeof(body) - 1);
}

void peer_check_refused(const struct peer *peer, int32_t stream_id, int status)
{
    const struct peer_response *response = peer_response(peer, stream_id);

    check_response_fields(response, status, "text/plain; charset=utf-8", response->body.length);
    assert_true(response->body.length > 1);
    assert_ptr_equal(memchr(response->body.data, '\n', response->body.length),
                     response->body.data + response->body.length - 1);
    assert_true(response->ended);
}

void peer_check_reset(const struct peer *peer, int32_t stream_id, uint32_t code)
{
    const struct peer_response *response = peer_response(peer, stream_id);

    assert_true(response->reset);
    assert_int_equal(response->reset_code, code);
    assert_int_equal(response->status, 0);
}

void peer_check_ended(const struct peer *peer, uint32_t code)
{
    assert_int_equal(peer->goaway_count, 1);
    assert_int_equal(peer->goaways[0].code, code);
    assert_int_equal(peer->last_frame_type, NGHTTP2_GOAWAY);
    assert_true(session_done(peer->session));
    assert_true(session_failed(peer->session));
}
