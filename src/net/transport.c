#include "net/transport.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

void transport_open(struct transport *transport, int fd)
{
    *transport = (struct transport){.fd = fd};
}

ssize_t transport_peek(struct transport *transport, uint8_t *byte)
{
    return recv(transport->fd, byte, 1, MSG_PEEK);
}

/* --- TLS ----------------------------------------------------------------------------------- */

static ssize_t tls_io_read(void *argument, void *buffer, size_t size)
{
    const struct transport *transport = argument;

    return recv(transport->fd, buffer, size, transport->flags);
}

/* OpenSSL calls this again after a short send. If a signal was the reason, the second call must not
 * block again: return to the caller, which checks its deadlines. */
static ssize_t tls_io_write(void *argument, const void *bytes, size_t length)
{
    struct transport *transport = argument;
    ssize_t taken;

    if (transport->was_interrupted) {
        transport->was_interrupted = false;
        errno = EINTR;
        return -1;
    }
    taken = send(transport->fd, bytes, length, MSG_NOSIGNAL | transport->flags);
    if (taken > 0) {
        transport->bytes_taken += (uint64_t)taken;
        transport->was_interrupted = (size_t)taken < length && transport->flags == 0;
    }
    return taken;
}

bool transport_start_tls(struct transport *transport, struct tls_context *context)
{
    const struct tls_io io = {.read = tls_io_read, .write = tls_io_write, .argument = transport};

    transport->tls = tls_new(context, &io);
    return transport->tls != NULL;
}

int transport_handshake(struct transport *transport)
{
    transport->was_interrupted = false;
    return tls_handshake(transport->tls);
}

bool transport_awaits_bytes(const struct transport *transport)
{
    return transport->tls == NULL || tls_awaits_bytes(transport->tls);
}

bool transport_release_idle_memory(struct transport *transport)
{
    transport->waits_for_socket = transport->tls != NULL;
    return transport->waits_for_socket;
}

void transport_drop_tls(struct transport *transport)
{
    tls_free(transport->tls);
    transport->tls = NULL;
}

static ssize_t read_tls(struct transport *transport, uint8_t *buffer, size_t size, int flags)
{
    transport->was_interrupted = false;
    transport->flags = flags;
    return tls_read(transport->tls, buffer, size);
}

static ssize_t write_tls(struct transport *transport, const uint8_t *bytes, size_t length,
                         int flags)
{
    transport->was_interrupted = false;
    transport->flags = flags;
    return tls_write(transport->tls, bytes, length);
}

/* --- Reading and writing ------------------------------------------------------------------- */

/* Wait until the socket has bytes or an error. After EINTR the next read waits here again. */
static ssize_t wait_for_socket(struct transport *transport)
{
    uint8_t byte;
    ssize_t result = transport_peek(transport, &byte);

    transport->waits_for_socket = result < 0 && errno == EINTR;
    return result;
}

ssize_t transport_read(struct transport *transport, uint8_t *buffer, size_t size)
{
    if (transport->waits_for_socket) {
        ssize_t result = wait_for_socket(transport);

        if (result < 0)
            return result;
    }
    if (transport->tls != NULL)
        return read_tls(transport, buffer, size, 0);
    return recv(transport->fd, buffer, size, 0);
}

ssize_t transport_read_nonblocking(struct transport *transport, uint8_t *buffer, size_t size)
{
    if (transport->tls != NULL)
        return read_tls(transport, buffer, size, MSG_DONTWAIT);
    return recv(transport->fd, buffer, size, MSG_DONTWAIT);
}

ssize_t transport_write_nonblocking(struct transport *transport, const uint8_t *bytes,
                                    size_t length)
{
    ssize_t taken = transport->tls != NULL
                        ? write_tls(transport, bytes, length, MSG_DONTWAIT)
                        : send(transport->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

    return taken < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : taken;
}

ssize_t transport_write(struct transport *transport, const uint8_t *bytes, size_t length)
{
    ssize_t taken;

    if (transport->tls != NULL)
        return write_tls(transport, bytes, length, 0);
    taken = send(transport->fd, bytes, length, MSG_NOSIGNAL);
    if (taken > 0)
        transport->bytes_taken += (uint64_t)taken;
    return taken;
}

int transport_unacked(const struct transport *transport)
{
    int bytes = 0;

    return ioctl(transport->fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

/* --- Closing ------------------------------------------------------------------------------- */

/* Only if the kernel takes it at once: closing must not block. */
static void send_close_notify(struct transport *transport)
{
    if (transport->tls == NULL)
        return;
    transport->was_interrupted = false;
    transport->flags = MSG_DONTWAIT;
    tls_shutdown_write(transport->tls);
}

bool transport_shutdown_write(struct transport *transport)
{
    send_close_notify(transport);
    return shutdown(transport->fd, SHUT_WR) == 0;
}

static void close_socket(struct transport *transport)
{
    transport_drop_tls(transport);
    /* Linux frees the descriptor even if close fails. */
    (void)close(transport->fd);
    transport->fd = -1;
}

void transport_close(struct transport *transport)
{
    send_close_notify(transport);
    close_socket(transport);
}

void transport_abort(struct transport *transport)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(transport->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close_socket(transport);
}
