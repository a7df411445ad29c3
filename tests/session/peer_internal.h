/*
 * peer_internal: what the files of peer share.
 */
#ifndef H2ECHOD_TESTS_SESSION_PEER_INTERNAL_H
#define H2ECHOD_TESTS_SESSION_PEER_INTERNAL_H

#include "session/peer.h"

/* Give ${length} bytes from the session to the nghttp2 client, if there is one, and take what the
 * client sends into peer->out. */
void peer_client_receive(struct peer *peer, const uint8_t *bytes, size_t length);
void peer_client_send(struct peer *peer);

#endif
