#include "transport.h"

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

static ssize_t receive(void *argument, void *buffer, size_t size)
{
    const struct transport *transport = argument;

    return recv(transport->fd, buffer, size, transport->flags);
}

/* A wait that a signal broke off does not begin anew before the caller has looked up. */
static ssize_t send_some(void *argument, const void *bytes, size_t length)
{
    struct transport *transport = argument;
    ssize_t taken;

    if (transport->was_cut_short) {
        transport->was_cut_short = false;
        errno = EINTR;
        return -1;
    }
    taken = send(transport->fd, bytes, length, MSG_NOSIGNAL | transport->flags);
    if (taken > 0) {
        transport->handed += (uint64_t)taken;
        transport->was_cut_short = (size_t)taken < length && transport->flags == 0;
    }
    return taken;
}

bool transport_begin_tls(struct transport *transport, struct tls_context *context)
{
    const struct tls_wire wire = {.read = receive, .write = send_some, .argument = transport};

    transport->tls = tls_new(context, &wire);
    return transport->tls != NULL;
}

int transport_handshake(struct transport *transport)
{
    transport->was_cut_short = false;
    return tls_handshake(transport->tls);
}

bool transport_awaits_bytes(const struct transport *transport)
{
    return transport->tls == NULL || tls_awaits_bytes(transport->tls);
}

bool transport_rest(struct transport *transport)
{
    transport->is_at_rest = transport->tls != NULL;
    return transport->is_at_rest;
}

void transport_drop_tls(struct transport *transport)
{
    tls_free(transport->tls);
    transport->tls = NULL;
}

static ssize_t read_tls(struct transport *transport, uint8_t *buffer, size_t size, int flags)
{
    transport->was_cut_short = false;
    transport->flags = flags;
    return tls_read(transport->tls, buffer, size);
}

static ssize_t write_tls(struct transport *transport, const uint8_t *bytes, size_t length,
                         int flags)
{
    transport->was_cut_short = false;
    transport->flags = flags;
    return tls_write(transport->tls, bytes, length);
}

/* --- Both ---------------------------------------------------------------------------------- */

/* Wait until a read will not have to. */
static ssize_t await_bytes(struct transport *transport)
{
    uint8_t byte;
    ssize_t result = transport_peek(transport, &byte);

    transport->is_at_rest = result < 0 && errno == EINTR;
    return result;
}

ssize_t transport_read(struct transport *transport, uint8_t *buffer, size_t size)
{
    if (transport->is_at_rest) {
        ssize_t result = await_bytes(transport);

        if (result < 0)
            return result;
    }
    if (transport->tls != NULL)
        return read_tls(transport, buffer, size, 0);
    return recv(transport->fd, buffer, size, 0);
}

ssize_t transport_read_now(struct transport *transport, uint8_t *buffer, size_t size)
{
    if (transport->tls != NULL)
        return read_tls(transport, buffer, size, MSG_DONTWAIT);
    return recv(transport->fd, buffer, size, MSG_DONTWAIT);
}

ssize_t transport_write_now(struct transport *transport, const uint8_t *bytes, size_t length)
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
        transport->handed += (uint64_t)taken;
    return taken;
}

int transport_untaken(const struct transport *transport)
{
    int bytes = 0;

    return ioctl(transport->fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

/* Say so in TLS, too, where there is room for it at once. */
static void say_end(struct transport *transport)
{
    if (transport->tls == NULL)
        return;
    transport->was_cut_short = false;
    transport->flags = MSG_DONTWAIT;
    tls_end_writing(transport->tls);
}

bool transport_end_writing(struct transport *transport)
{
    say_end(transport);
    return shutdown(transport->fd, SHUT_WR) == 0;
}

static void close_socket(struct transport *transport)
{
    transport_drop_tls(transport);
    /* Linux frees the descriptor whatever close returns. */
    (void)close(transport->fd);
    transport->fd = -1;
}

void transport_close(struct transport *transport)
{
    say_end(transport);
    close_socket(transport);
}

void transport_abort(struct transport *transport)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(transport->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close_socket(transport);
}
