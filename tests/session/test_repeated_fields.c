/*
 * Requests whose fields repeat those of earlier requests. The session caches the last header
 * section; responses with the cache have to be the same as without.
 */
#include "echo/echo.h"
#include "session/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 90, FIELDS_MAX = 28, REPEATED_REQUESTS = 400 };

/* Fill ${pool} with fields: repeated names, values with characters that JSON escapes, Latin-1,
 * UTF-8, empty and long ones. */
static void fill_pool(struct field pool[static POOL], char bytes[static POOL][3000], uint64_t *seed)
{
    static const char *const names[] = {"a", "b", "cookie", "x-long-name-of-a-field", "accept"};
    static const char *const pieces[] = {"v", "\"", "\\", "\xc3\xa4", "\xe4", "; ", "0123456789"};

    for (size_t i = 0; i < POOL; i++) {
        size_t limit = i % 10 == 0 ? 2900 : i % 7 * 20;
        size_t length = 0;

        while (length < limit) {
            const char *piece = pieces[peer_random(seed) % COUNT(pieces)];

            memcpy(bytes[i] + length, piece, strlen(piece));
            length += strlen(piece);
        }
        while (length > 0 && bytes[i][length - 1] == ' ')
            length--;
        pool[i] = (struct field){names[i % COUNT(names)], strlen(names[i % COUNT(names)]), bytes[i],
                                 length};
    }
}

static struct arena malloc_only_arena; /* without memory of its own */

/* Return the body that the fields have without any cache, to be dropped by the caller. */
static struct echo_body *compose_uncached(const struct field *fields, size_t count)
{
    static const struct echo_key none;
    struct echo_body *body;
    struct echo echo;

    echo_start(&echo, &malloc_only_arena, false);
    for (size_t i = 0; i < count; i++)
        assert_true(echo_add(
            &echo, none, (struct span){(const uint8_t *)fields[i].name, fields[i].name_length},
            (struct span){(const uint8_t *)fields[i].value, fields[i].value_length}));
    body = echo_compose(&echo);
    assert_non_null(body);
    echo_free(&echo);
    return body;
}

static void check_against_uncached(struct peer *peer, int32_t id, const struct field *fields,
                                   size_t count)
{
    struct echo_body *body = compose_uncached(fields, count);

    peer_check_answer(peer, id, body->text, body->length);
    echo_body_drop(&malloc_only_arena, body);
}

/* Fields that are in HPACK's table and the session's cache give the same response as new ones, also
 * after idle memory was released and after they were evicted. */
static void test_repeated_fields(void **state)
{
    static char bytes[POOL][3000];
    struct field pool[POOL];
    uint64_t seed = 7;
    struct peer *peer = peer_open_client(&peer_options, peer_whole, 1 << 20);

    (void)state;
    fill_pool(pool, bytes, &seed);
    for (int i = 0; i < REPEATED_REQUESTS; i++) {
        struct field fields[REQUEST_FIELDS + FIELDS_MAX] = {REQUEST_OF("GET", "/again")};
        size_t count = REQUEST_FIELDS + peer_random(&seed) % FIELDS_MAX;
        size_t of = i % 3 == 0 ? POOL : 12;
        int32_t id;

        for (size_t f = REQUEST_FIELDS; f < count; f++)
            fields[f] = pool[peer_random(&seed) % of];
        id = peer_submit(peer, fields, count, NULL);
        peer_pump(peer);
        check_against_uncached(peer, id, fields, count);
        if (i % 50 == 0)
            session_release_idle_memory(peer->session);
    }
    peer_free(peer);
}

static struct field random_field(struct field pool[static POOL], uint64_t *seed)
{
    return pool[peer_random(seed) % POOL];
}

/* Leave the request as it is, or change, remove, insert or move a field, or change the method. */
static size_t change_request(struct field fields[static REQUEST_FIELDS + FIELDS_MAX], size_t count,
                             struct field pool[static POOL], uint64_t *seed)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT"};
    size_t place = REQUEST_FIELDS;
    struct field kept;

    if (count > REQUEST_FIELDS)
        place += peer_random(seed) % (count - REQUEST_FIELDS);
    switch (peer_random(seed) % 8) {
    case 0:
        fields[0] = field_of(":method", methods[peer_random(seed) % COUNT(methods)]);
        return count;
    case 1:
        fields[place] = random_field(pool, seed);
        return count > REQUEST_FIELDS ? count : count + 1;
    case 2:
        return count > REQUEST_FIELDS ? count - 1 : count;
    case 3:
        if (count == REQUEST_FIELDS + FIELDS_MAX)
            return count;
        memmove(&fields[place + 1], &fields[place], (count - place) * sizeof(*fields));
        fields[place] = random_field(pool, seed);
        return count + 1;
    case 4:
        if (count == REQUEST_FIELDS)
            return count;
        kept = fields[place];
        memmove(&fields[place], &fields[place + 1], (count - place - 1) * sizeof(*fields));
        fields[count - 1] = kept;
        return count;
    default:
        return count;
    }
}

static void check_similar(struct peer *peer, int32_t id, const struct field *fields, size_t count)
{
    const struct peer_response *response = peer_response(peer, id);
    struct field as_get[REQUEST_FIELDS + FIELDS_MAX];
    struct echo_body *body;

    assert_string_equal(peer_find_request(peer, id)->method, fields[0].value);
    if (strcmp(fields[0].value, "HEAD") != 0) {
        check_against_uncached(peer, id, fields, count);
        return;
    }
    assert_int_equal(response->status, 200);
    assert_int_equal(response->data_frames, 0);
    memcpy(as_get, fields, count * sizeof(*fields));
    as_get[0] = field_of(":method", "GET");
    body = compose_uncached(as_get, count);
    assert_int_equal(atoi(peer_field(response, "content-length")), body->length);
    echo_body_drop(&malloc_only_arena, body);
}

/* Requests that differ a little from the one before get the same responses as without a cache, from
 * a client that uses HPACK's dynamic table and from one that does not. */
static void test_similar_requests(void **state)
{
    static char bytes[POOL][3000];
    struct field pool[POOL];
    uint64_t seed = 11;

    (void)state;
    fill_pool(pool, bytes, &seed);
    for (int uses_hpack_table = 0; uses_hpack_table < 2; uses_hpack_table++) {
        struct peer *peer = uses_hpack_table ? peer_open_client(&peer_options, peer_whole, 1 << 20)
                                             : peer_open(&peer_options, peer_whole);
        struct field fields[REQUEST_FIELDS + FIELDS_MAX] = {REQUEST_OF("GET", "/similar")};
        size_t count = REQUEST_FIELDS;
        int32_t id = -1;

        for (int i = 0; i < 2000; i++) {
            if (uses_hpack_table) {
                id = peer_submit(peer, fields, count, NULL);
            } else {
                id += 2;
                frame_add_request(&peer->out, id, END_STREAM, fields, count);
                frame_add_window(&peer->out, 0, 1 << 16);
            }
            peer_pump(peer);
            check_similar(peer, id, fields, count);
            count = change_request(fields, count, pool, &seed);
            if (peer_random(&seed) % 100 == 0)
                session_release_idle_memory(peer->session);
        }
        peer_free(peer);
    }
}

/* Idle memory is released in the middle of a header block: no field is lost. */
static void test_idle_release_within_block(void **state)
{
    static const struct field fields[] = {REQUEST_OF("GET", "/idle"), FIELD("a", "b"),
                                          FIELD("c", "d")};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    for (int32_t id = 1; id < 20; id += 2) {
        struct bytes half[2] = {0};
        size_t first = (size_t)id % COUNT(fields);

        for (size_t i = 0; i < COUNT(fields); i++)
            block_add(&half[i >= first], &fields[i]);
        frame_add(&peer->out, NGHTTP2_HEADERS, END_STREAM, id, half[0].data, half[0].length);
        peer_pump(peer);
        session_release_idle_memory(peer->session);
        frame_add(&peer->out, NGHTTP2_CONTINUATION, END_HEADERS, id, half[1].data, half[1].length);
        peer_pump(peer);
        check_against_uncached(peer, id, fields, COUNT(fields));
        bytes_free(&half[0]);
        bytes_free(&half[1]);
        if (id % 3 == 0)
            session_release_idle_memory(peer->session);
    }
    peer_free(peer);
}

/* The response to HEAD has no content, even if the limit is exceeded before :method comes. */
static void test_head_with_method_after_limit(void **state)
{
    static char large[2000];
    struct session_options options = peer_options;
    struct field fields[] = {FIELD(":path", "/"), FIELD(":authority", ""), FIELD(":scheme", "http"),
                             FIELD(":method", "HEAD")};
    struct peer *peer;

    (void)state;
    options.max_header_list_size = 1024;
    memset(large, 'x', sizeof(large) - 1);
    fields[1] = field_of(":authority", large);
    peer = peer_open(&options, peer_whole);
    frame_add_request(&peer->out, 1, END_STREAM, fields, COUNT(fields));
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->status, 431);
    assert_int_equal(peer_response(peer, 1)->data_frames, 0);
    peer_free(peer);
}

/* Expect is a list (RFC 9110 section 10.1.1): a later member does not cancel 100-continue. */
static void test_two_expect_fields(void **state)
{
    static const struct field fields[] = {REQUEST_OF("POST", "/"), FIELD("expect", "100-continue"),
                                          FIELD("expect", "x")};
    struct peer *peer = peer_open(&peer_options, peer_whole);

    (void)state;
    frame_add_request(&peer->out, 1, 0, fields, COUNT(fields));
    peer_pump(peer);
    assert_int_equal(peer_response(peer, 1)->continue_count, 1);
    peer_free(peer);
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, peer_print_transfer)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(repeated_fields),
        TEST(similar_requests),
        TEST(head_with_method_after_limit),
        TEST(two_expect_fields),
        TEST(idle_release_within_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
