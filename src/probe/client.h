/*
 * client: one GET over HTTP/2, without I/O. Bytes in, bytes out, as session is for the server.
 *
 * No socket, no thread and no clock. Whatever the server sends, what is kept of it has a bound.
 */
#ifndef H2ECHOD_PROBE_CLIENT_H
#define H2ECHOD_PROBE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;

/* What is asked for; each a C string that is fit for a field. */
struct client_request {
    const char *scheme;
    const char *authority;
    const char *path;
};

enum {
    CLIENT_BODY_MAX = 65536,
    CLIENT_SETTINGS_MAX = 32, /* nghttp2 takes no more in one frame */
    CLIENT_TEXT_MAX = 256,    /* bytes of a text that is shown */
};

struct client_setting {
    uint16_t id;
    uint32_t value;
};

/* What has come of the answer. Every text is escaped as log_escape does. */
struct client_answer {
    bool is_http2; /* it began with a SETTINGS frame, as RFC 9113 section 3.4 has it */
    char first[CLIENT_TEXT_MAX];                         /* its first bytes, whatever it speaks */
    struct client_setting settings[CLIENT_SETTINGS_MAX]; /* of the first frame, in order */
    size_t setting_count;

    int status; /* 0 until the final response's fields are there */
    char server[CLIENT_TEXT_MAX];
    char content_type[CLIENT_TEXT_MAX];
    char content_length[CLIENT_TEXT_MAX];
    size_t length;
    char body[CLIENT_BODY_MAX]; /* the bytes as they came; not terminated */

    char failure[2 * CLIENT_TEXT_MAX]; /* why there will be no answer; "" = nothing is wrong */
};

/*
 * client_new(request):
 * Return a client whose first bytes out are the preface, SETTINGS and ${request}, or NULL if memory
 * ran out. ${request} is copied.
 */
struct client *client_new(const struct client_request *request);

/*
 * client_free(client):
 * Free ${client}. NULL is fine.
 */
void client_free(struct client *client);

/*
 * client_receive(client, bytes, length):
 * Take in what the server sent.
 */
void client_receive(struct client *client, const uint8_t *bytes, size_t length);

/*
 * client_send(client, buffer, size):
 * Write what is ready for the server into ${buffer}, ${size} bytes at most. Return how many; 0 if
 * there is nothing more to send until the next call of another function. What client_receive found
 * to be wrong is a failure only once it was told to the server, so call this before
 * client_finished.
 */
size_t client_send(struct client *client, uint8_t *buffer, size_t size);

/*
 * client_finished(client):
 * Return true if the whole answer is there, or will not come.
 */
bool client_finished(const struct client *client);

/*
 * client_answer(client):
 * Return what has come so far; it lives as long as ${client}.
 */
const struct client_answer *client_answer(const struct client *client);

/*
 * client_send_goaway(client):
 * Say goodbye: the last that client_send gives is GOAWAY.
 */
void client_send_goaway(struct client *client);

#endif
