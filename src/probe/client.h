/*
 * client: one GET request over HTTP/2, for the probe. Bytes in, bytes out, without I/O.
 *
 * It uses no socket, thread or clock. What it keeps of a response has a limit, whatever the server
 * sends.
 */
#ifndef H2ECHOD_PROBE_CLIENT_H
#define H2ECHOD_PROBE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;

/* The request's pseudo-header fields. Each has to be a valid field value. */
struct client_request {
    const char *scheme;
    const char *authority;
    const char *path;
};

enum {
    CLIENT_BODY_MAX = 65536,
    CLIENT_SETTINGS_MAX = 32, /* nghttp2 accepts no more in one frame */
    CLIENT_TEXT_MAX = 256,    /* bytes of a text in the log */
};

struct client_setting {
    uint16_t id;
    uint32_t value;
};

/* What has been received. All texts are escaped by log_escape. */
struct client_response {
    bool is_http2; /* the first frame is SETTINGS, as RFC 9113 section 3.4 requires */
    char first_bytes[CLIENT_TEXT_MAX];                   /* in whatever protocol */
    struct client_setting settings[CLIENT_SETTINGS_MAX]; /* of the first frame, in order */
    size_t setting_count;

    int status; /* 0 until the fields of the final response are complete */
    char server[CLIENT_TEXT_MAX];
    char content_type[CLIENT_TEXT_MAX];
    char content_length[CLIENT_TEXT_MAX];
    size_t body_length;
    char body[CLIENT_BODY_MAX]; /* not escaped, not terminated */

    char failure[2 * CLIENT_TEXT_MAX]; /* why there will be no complete response; "" = none */
};

/*
 * client_new(request):
 * Return a client that will send the preface, SETTINGS and ${request}, which is copied; NULL if
 * memory ran out. To be freed with client_free.
 */
struct client *client_new(const struct client_request *request);

/*
 * client_free(client):
 * Free ${client}. NULL is allowed.
 */
void client_free(struct client *client);

/*
 * client_receive(client, bytes, length):
 * Process what the server has sent.
 */
void client_receive(struct client *client, const uint8_t *bytes, size_t length);

/*
 * client_send(client, buffer, size):
 * Write what has to be sent to the server into ${buffer}, at most ${size} bytes. Return how many; 0
 * if there is nothing until another function is called. An error that client_receive has found
 * becomes a failure when the frame that reports it to the server is written, so call this function
 * before client_finished.
 */
size_t client_send(struct client *client, uint8_t *buffer, size_t size);

/*
 * client_finished(client):
 * Return true if the response is complete or has failed.
 */
bool client_finished(const struct client *client);

/*
 * client_response(client):
 * Return what has been received so far. It is valid as long as ${client}, and changes with it.
 */
const struct client_response *client_response(const struct client *client);

/*
 * client_send_goaway(client):
 * End the connection: the last frame that client_send returns will be GOAWAY with NO_ERROR.
 */
void client_send_goaway(struct client *client);

#endif
