/*
 * For the tests of the probe's client: the frames of a server as a script of bytes, and the client
 * that receives them. Failures are reported by cmocka.
 */
#ifndef H2ECHOD_TESTS_SCRIPTED_SERVER_H
#define H2ECHOD_TESTS_SCRIPTED_SERVER_H

#include "probe/client.h"

#include <stddef.h>
#include <stdint.h>

enum { SCRIPT_MAX = 1 << 18, WHOLE = SCRIPT_MAX };

/* What the server sends. The functions below append to it. */
struct script {
    uint8_t bytes[SCRIPT_MAX];
    size_t length;
};

extern struct script script;

void script_bytes(const void *bytes, size_t length);
void script_frame(uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t length);

/* HEADERS with END_HEADERS on stream 1; ${fields} are names and values in turn, and NULL. */
void script_headers(uint8_t flags, const char *const fields[]);
#define SCRIPT_HEADERS(flags, ...) script_headers(flags, (const char *const[]){__VA_ARGS__, NULL})

/* DATA on stream 1. */
void script_data(uint8_t flags, const char *text);

/* SETTINGS with two settings, one of which is not defined. */
void script_settings(void);

/* A complete response like h2echod's, with SETTINGS before it. */
void script_response(void);

/* The client under test, and its request. */
extern struct client *client;
extern const struct client_request usual_request;

/* Setup and teardown of a test: a new client and an empty script. */
int open_client(void **state);
int close_client(void **state);

#define CLIENT_TEST(function) cmocka_unit_test_setup_teardown(function, open_client, close_client)

/* Take what the client sends until it has nothing more. */
void discard_output(void);

/* Have the client receive the script in pieces of ${piece} bytes, until it is finished. */
void play_script(size_t piece);

/* Fail unless the client has failed, with ${part} in its failure. */
void assert_failure(const char *part);
void assert_no_failure(void);

/* Fail unless script_response was received. */
void assert_whole_response(void);

#endif
