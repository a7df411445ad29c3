/*
 * detail_peer: requests for the detailed answer, and checks of what it says.
 */
#ifndef H2ECHOD_TESTS_SESSION_DETAIL_PEER_H
#define H2ECHOD_TESTS_SESSION_DETAIL_PEER_H

#include "session/peer.h"

#include <jansson.h>

#define DETAIL_TYPE "application/vnd.h2echod+json"

/* The field that asks for it. */
#define ASKING FIELD("accept", DETAIL_TYPE)

/* Members of the answer's "fields": the four of REQUEST_OF("GET", "/"), and ASKING. */
#define GET_PAIRS                                                                                  \
    "[\":method\", \"GET\"], [\":path\", \"/\"], [\":scheme\", \"http\"], [\":authority\", \"h\"]"
#define ASKING_PAIR "[\"accept\", \"" DETAIL_TYPE "\"]"

/* --- Requests --- */

/* Run ${script} with a new peer, not yet opened, for several transfers. */
void detail_run_each(peer_script *script, const struct session_options *options);

/* Define test_NAME, which runs the script run_NAME by detail_run_each. */
#define DETAIL_TEST(name, options)                                                                 \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        detail_run_each(run_##name, (options));                                                    \
    }

/* Append the preface and the acknowledgement of the server's SETTINGS. */
void detail_begin(struct peer *peer);

/* Append a GET request for the detailed answer. */
void detail_add_get(struct peer *peer, int32_t stream_id, const char *path);

/* Send a request with these fields, which need not ask for the detailed answer. */
void detail_ask(struct peer *peer, int32_t stream_id, uint8_t flags, const struct field *fields,
                size_t count);

/* Send a GET request for the detailed answer of "/". */
void detail_ask_get(struct peer *peer, int32_t stream_id);

/* --- Answers --- */

/* Check the response's fields, and return the answer, to be freed by json_decref. */
json_t *detail_answer(const struct peer *peer, int32_t stream_id);

/* Fail unless the response is a complete 200 with the fields of a detailed answer of ${length}
 * bytes. */
void detail_check_head(const struct peer_response *response, size_t length);

/* Fail unless ${found}, the member at ${path}, equals ${wanted}. */
void detail_check_equal(const char *path, json_t *found, json_t *wanted);

/* Return the member at ${path}, such as "client.settings"; it must exist. */
json_t *detail_find(json_t *object, const char *path);

/* Fail unless the answer's member at ${path} equals the JSON ${text}. */
void detail_check(const struct peer *peer, int32_t stream_id, const char *path, const char *text);

/* Return the answer's member at ${path}, which must be an integer. */
json_int_t detail_number(const struct peer *peer, int32_t stream_id, const char *path);

#endif
