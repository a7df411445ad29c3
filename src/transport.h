/*
 * transport: a connection's bytes, blocking, in and out. TCP and Unix sockets, plain or with TLS.
 *
 * Reads and writes block without a limit of their own; a thread that has to look up from one is
 * woken by a signal, which ends the call with EINTR.
 */
#ifndef H2ECHOD_TRANSPORT_H
#define H2ECHOD_TRANSPORT_H

#include "tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct transport {
    int fd;             /* owned; -1 = closed */
    struct tls *tls;    /* owned; NULL = plain. It gets at the socket with these: */
    int flags;          /* MSG_DONTWAIT = without waiting */
    bool was_cut_short; /* the last send of this call, by a signal */
    bool is_at_rest;    /* TLS needs no buffer before something comes */
    uint64_t handed;    /* bytes that found room while somebody waited for it */
};

/*
 * transport_open(transport, fd):
 * Take over the connected socket ${fd}.
 */
void transport_open(struct transport *transport, int fd);

/*
 * transport_peek(transport, byte):
 * Wait for the peer's first byte and look at it: it is read again. Return as transport_read.
 */
ssize_t transport_peek(struct transport *transport, uint8_t *byte);

/*
 * transport_begin_tls(transport, context):
 * From now on, all bytes are TLS's; the handshake comes first. Return false if memory ran out. The
 * transport must stay where it is.
 */
bool transport_begin_tls(struct transport *transport, struct tls_context *context);

/*
 * transport_handshake(transport):
 * Go on with the handshake, waiting. Return 1 if it is over, 0 if the peer has gone, or -1 with
 * errno: EINTR if a signal came first, EPROTO if transport->tls says why there will be none, ENOMEM
 * if memory ran out.
 */
int transport_handshake(struct transport *transport);

/*
 * transport_awaits_bytes(transport):
 * Return true if a transport_read has to wait for the peer to send more: the last one came to the
 * end of what was there. TLS may hold bytes that are no longer in the socket.
 */
bool transport_awaits_bytes(const struct transport *transport);

/*
 * transport_rest(transport):
 * The peer may say nothing for long. While TLS waits for bytes it has a buffer for them: so the
 * next transport_read waits without TLS. Only where transport_awaits_bytes: else it would wait for
 * bytes that have come already. Return true if that frees memory.
 */
bool transport_rest(struct transport *transport);

/*
 * transport_drop_tls(transport):
 * TLS is over: what still comes is read as it is.
 */
void transport_drop_tls(struct transport *transport);

/*
 * transport_read(transport, buffer, size):
 * Wait for bytes. Return how many came, 0 if the peer has sent all that it will, or -1 with errno:
 * EINTR if a signal came first, EPROTO if TLS broke, ENOMEM if memory ran out.
 */
ssize_t transport_read(struct transport *transport, uint8_t *buffer, size_t size);

/*
 * transport_read_now(transport, buffer, size):
 * Take what is there, without waiting. Return as transport_read, but -1 with EAGAIN if nothing is.
 */
ssize_t transport_read_now(struct transport *transport, uint8_t *buffer, size_t size);

/*
 * transport_write_now(transport, bytes, length):
 * Hand over as many bytes as there is room for, without waiting. Return how many were taken, or -1
 * with errno if the connection is gone. What was not taken has to come next: TLS may have begun it.
 */
ssize_t transport_write_now(struct transport *transport, const uint8_t *bytes, size_t length);

/*
 * transport_write(transport, bytes, length):
 * Hand over bytes, waiting for room. Return how many were taken, fewer than ${length} if a signal
 * came, or -1 with errno: EINTR if a signal came and nothing was taken.
 */
ssize_t transport_write(struct transport *transport, const uint8_t *bytes, size_t length);

/*
 * transport_untaken(transport):
 * Return how many of the bytes that were handed over the peer has not taken yet. The kernel waits
 * for much room before it lets a writer go on, so this alone shows a peer that takes little.
 */
int transport_untaken(const struct transport *transport);

/*
 * transport_end_writing(transport):
 * Tell the peer that nothing more will be sent. Return false if the connection is gone.
 */
bool transport_end_writing(struct transport *transport);

/*
 * transport_close(transport):
 * Close. What was written is still delivered, unless the peer's bytes were left unread.
 */
void transport_close(struct transport *transport);

/*
 * transport_abort(transport):
 * Close with a reset where there is one (TCP): what the peer did not take is dropped at once.
 */
void transport_abort(struct transport *transport);

#endif
