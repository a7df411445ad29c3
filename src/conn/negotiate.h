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
 * opening_tls(life):
 * Shake hands as a server. A peer that speaks no TLS leaves the transport plain: its bytes are
 * still to be read. Where no handshake comes about the connection is over.
 */
void opening_tls(struct life *life);

/*
 * opening_preface(life, length):
 * Read into the workspace's input until the first bytes tell the protocol; ${length} is how many
 * there are then. PREFACE_MORE is returned if the connection is over.
 */
enum preface opening_preface(struct life *life, size_t *length);

/*
 * opening_head(life, upgrade, length):
 * Read on until the HTTP/1.1 request in the workspace's input, ${length} bytes so far, has its
 * whole head. Return true if it asks for an Upgrade that can be granted; any other has got its
 * answer.
 */
bool opening_head(struct life *life, struct upgrade *upgrade, size_t *length);

/*
 * opening_refuse_http1(life, length, refusal):
 * Answer the HTTP/1.1 request in the workspace's input, ${length} bytes of it, with ${refusal}.
 */
void opening_refuse_http1(struct life *life, size_t length, const struct preface_refusal *refusal);

/*
 * opening_alert(life):
 * Answer a ClientHello that came where none belongs.
 */
void opening_alert(struct life *life);

#endif
