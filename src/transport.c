#include "transport.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

void transport_open(struct transport *transport, int fd)
{
    transport->fd = fd;
}

ssize_t transport_read(struct transport *transport, uint8_t *buffer, size_t size)
{
    return recv(transport->fd, buffer, size, 0);
}

ssize_t transport_read_now(struct transport *transport, uint8_t *buffer, size_t size)
{
    return recv(transport->fd, buffer, size, MSG_DONTWAIT);
}

ssize_t transport_write_now(struct transport *transport, const uint8_t *bytes, size_t length)
{
    ssize_t taken = send(transport->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

    return taken < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : taken;
}

ssize_t transport_write(struct transport *transport, const uint8_t *bytes, size_t length)
{
    return send(transport->fd, bytes, length, MSG_NOSIGNAL);
}

int transport_untaken(const struct transport *transport)
{
    int bytes = 0;

    return ioctl(transport->fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

bool transport_end_writing(struct transport *transport)
{
    return shutdown(transport->fd, SHUT_WR) == 0;
}

void transport_close(struct transport *transport)
{
    /* Linux frees the descriptor whatever close returns. */
    (void)close(transport->fd);
    transport->fd = -1;
}

void transport_abort(struct transport *transport)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(transport->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    transport_close(transport);
}
