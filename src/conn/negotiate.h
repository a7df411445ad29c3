/*
 * opening: how a connection begins, before HTTP/2: TLS's handshake, the first bytes, a request of
 * HTTP/1.1. All of it within the header timeout.
 */
#ifndef H2ECHOD_CONN_NEGOTIATE_H
#define H2ECHOD_CONN_NEGOTIATE_H

#include "conn/conn_io.h"
#include "conn/sniff.h"
#include "conn/upgrade.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * negotiate_tls(io):
 * Shake hands as a server. A peer that speaks no TLS leaves the transport plain: its bytes are
 * still to be read. Where no handshake comes about the connection is over.
 */
void negotiate_tls(struct conn_io *io);

/*
 * negotiate_protocol(io, length):
 * Read into the workspace's input until the first bytes tell the protocol; ${length} is how many
 * there are then. SNIFFED_INCOMPLETE is returned if the connection is over.
 */
enum sniffed negotiate_protocol(struct conn_io *io, size_t *length);

/*
 * negotiate_read_head(io, upgrade, length):
 * Read on until the HTTP/1.1 request in the workspace's input, ${length} bytes so far, has its
 * whole head. Return true if it asks for an Upgrade that can be granted; any other has got its
 * answer.
 */
bool negotiate_read_head(struct conn_io *io, struct upgrade *upgrade, size_t *length);

/*
 * negotiate_refuse_http1(io, length, refusal):
 * Answer the HTTP/1.1 request in the workspace's input, ${length} bytes of it, with ${refusal}.
 */
void negotiate_refuse_http1(struct conn_io *io, size_t length, const struct http1_refusal *refusal);

/*
 * negotiate_send_tls_alert(io):
 * Answer a ClientHello that came where none belongs.
 */
void negotiate_send_tls_alert(struct conn_io *io);

#endif
