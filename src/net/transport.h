/*
 * transport: the bytes of one connection, over TCP or a Unix socket, with or without TLS.
 *
 * This is the only code that calls recv, send and shutdown. Reads and writes block without a limit
 * of their own; a signal ends them with EINTR, and another thread sends one when a deadline has
 * passed. One transport is used by one thread.
 */
#ifndef H2ECHOD_NET_TRANSPORT_H
#define H2ECHOD_NET_TRANSPORT_H

#include "net/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct transport {
    int fd;                /* owned; -1 = closed */
    struct tls *tls;       /* owned; NULL = no TLS. It reads and writes the socket with these: */
    int flags;             /* MSG_DONTWAIT = do not block */
    bool was_interrupted;  /* a signal cut the last blocking send of this call short */
    bool waits_for_socket; /* the next read waits for the socket before it calls OpenSSL */
    uint64_t bytes_taken;  /* by the kernel, in transport_write and in every TLS write */
};

/*
 * transport_open(transport, fd):
 * Take ownership of the connected socket ${fd}.
 */
void transport_open(struct transport *transport, int fd);

/*
 * transport_peek(transport, byte):
 * Wait for the next byte and store it in ${byte}, without removing it from the socket. Return as
 * transport_read.
 */
ssize_t transport_peek(struct transport *transport, uint8_t *byte);

/*
 * transport_start_tls(transport, context):
 * Use TLS from now on, starting with the handshake. Return false if memory ran out. ${transport}
 * must stay at its address from now on.
 */
bool transport_start_tls(struct transport *transport, struct tls_context *context);

/*
 * transport_handshake(transport):
 * Continue the TLS handshake, blocking. Return 1 if it is complete, 0 if the peer closed the
 * connection, or -1 with errno: EINTR = a signal arrived; EPROTO = the handshake failed, see
 * tls_error; ENOMEM = memory ran out; otherwise the socket's error.
 */
int transport_handshake(struct transport *transport);

/*
 * transport_awaits_bytes(transport):
 * Return true if all bytes that the peer has sent so far were read, so that transport_read would
 * wait for more. TLS may hold bytes that are no longer in the socket.
 */
bool transport_awaits_bytes(const struct transport *transport);

/*
 * transport_release_idle_memory(transport):
 * Let the next transport_read wait for the socket before it calls OpenSSL, which would allocate a
 * buffer for the time it waits. Call it only if transport_awaits_bytes: otherwise the wait would be
 * for bytes that were received already. Return true if that frees memory.
 */
bool transport_release_idle_memory(struct transport *transport);

/*
 * transport_drop_tls(transport):
 * Free the TLS state: later reads return the bytes as they come.
 */
void transport_drop_tls(struct transport *transport);

/*
 * transport_read(transport, buffer, size):
 * Wait for bytes. Return how many were read, 0 if the peer will send no more, or -1 with errno:
 * EINTR = a signal arrived; EPROTO = a TLS error, see tls_error; ENOMEM = memory ran out; otherwise
 * the socket's error.
 */
ssize_t transport_read(struct transport *transport, uint8_t *buffer, size_t size);

/*
 * transport_read_nonblocking(transport, buffer, size):
 * As transport_read, but return -1 with EAGAIN if there are no bytes to read.
 */
ssize_t transport_read_nonblocking(struct transport *transport, uint8_t *buffer, size_t size);

/*
 * transport_write_nonblocking(transport, bytes, length):
 * Hand as many bytes to the kernel as it takes without waiting. Return how many, or -1 with errno
 * if the connection failed. The next write must start with the bytes that were not taken: TLS may
 * have sent part of their record.
 */
ssize_t transport_write_nonblocking(struct transport *transport, const uint8_t *bytes,
                                    size_t length);

/*
 * transport_write(transport, bytes, length):
 * Hand bytes to the kernel, waiting while its buffer is full. Return how many were taken, fewer
 * than ${length} if a signal arrived, or -1 with errno: EINTR if a signal arrived before any was.
 */
ssize_t transport_write(struct transport *transport, const uint8_t *bytes, size_t length);

/*
 * transport_unacked(transport):
 * Return how many of the bytes handed to the kernel the peer has not acknowledged (TCP) or read
 * (Unix socket); 0 if that is not known. A blocked write continues only when much of the kernel's
 * buffer is free, so this is how to see that a peer reads at all, if slowly.
 */
int transport_unacked(const struct transport *transport);

/*
 * transport_shutdown_write(transport):
 * Tell the peer that no more bytes will be sent. Return false if the connection is gone.
 */
bool transport_shutdown_write(struct transport *transport);

/*
 * transport_close(transport):
 * Close the connection. The kernel still delivers what was written, unless bytes from the peer were
 * left unread.
 */
void transport_close(struct transport *transport);

/*
 * transport_abort(transport):
 * Close the connection with a TCP reset, discarding what the peer has not received. A Unix socket
 * is just closed.
 */
void transport_abort(struct transport *transport);

#endif
