/*
 * negotiate: how a connection starts, before HTTP/2: the TLS handshake, the first bytes, the head
 * of an HTTP/1.1 request. All of that must be complete within the header timeout.
 *
 * Each function may end the connection (io->ending), after logging the reason.
 */
#ifndef H2ECHOD_CONN_NEGOTIATE_H
#define H2ECHOD_CONN_NEGOTIATE_H

#include "conn/conn_io.h"
#include "conn/http1_answer.h"
#include "conn/sniff.h"
#include "conn/upgrade.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * negotiate_tls(io):
 * Do the TLS handshake as the server. If the client does not start one, leave the connection
 * without TLS and its bytes unread, so that it can be answered in its own protocol. If a handshake
 * fails, the connection ends.
 */
void negotiate_tls(struct conn_io *io);

/*
 * negotiate_protocol(io, length):
 * Read into the workspace's input buffer until it is clear which protocol the client speaks. Set
 * ${length} to the number of bytes read. Return SNIFFED_INCOMPLETE if the connection has ended.
 */
enum sniffed negotiate_protocol(struct conn_io *io, size_t *length);

/*
 * negotiate_read_head(io, upgrade, length):
 * Continue reading until the HTTP/1.1 request in the workspace's input buffer, ${length} bytes so
 * far, has its complete head. Return true if it can be upgraded to h2c, as in ${upgrade}; otherwise
 * it has been refused, or the connection has ended.
 */
bool negotiate_read_head(struct conn_io *io, struct upgrade *upgrade, size_t *length);

/*
 * negotiate_refuse_http1(io, length, refusal):
 * Answer the HTTP/1.x request in the workspace's input buffer, ${length} bytes so far, with
 * ${refusal}.
 */
void negotiate_refuse_http1(struct conn_io *io, size_t length, const struct http1_refusal *refusal);

/*
 * negotiate_send_tls_alert(io):
 * Answer a TLS handshake where none is expected: on a port without TLS, or within TLS.
 */
void negotiate_send_tls_alert(struct conn_io *io);

#endif
