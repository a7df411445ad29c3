/* Accepting connections, within the limits of the settings and of the system. */
#include "daemon/server_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPT_BATCH = 64,         /* connections from one listener before the others have their turn */
    ACCEPT_FAILURES_MAX = 64,  /* in a row, before accepting is paused */
    ACCEPT_PAUSE_US = 1000000, /* before it is tried again */
};

void server_raise_descriptor_limit(const struct server *server)
{
    enum { OWN = 16 }; /* descriptors that are neither connections nor listeners */
    rlim_t needed = server->settings->max_connections + server->listeners->count + OWN;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
        return;
    limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < needed)
        log_write(LOG_LEVEL_WARNING,
                  "max-connections is %" PRIu64 ", but the limit on descriptors is %" PRIu64
                  ": raise it, or accepting will be paused when it is reached",
                  server->settings->max_connections, (uint64_t)limit.rlim_cur);
}

/* Accept nothing for a while, or until a connection has ended (handle_worker_events). */
static void pause_accepting(struct server *server, int error, const char *what, const char *advice)
{
    server->accept.paused_until_us = server->now_us + ACCEPT_PAUSE_US;
    if (server_may_log(&server->log_limits.resources_exhausted, server->now_us)) {
        size_t serving = workers_serving(server->workers, true);

        log_write_errno(LOG_LEVEL_WARNING, error,
                        "%s: accepting is paused, with %zu connection%s open%s", what, serving,
                        server_plural(serving), advice);
    }
}

/* The system has no descriptor, thread or memory for another connection. */
static void pause_resources_exhausted(struct server *server, int error, const char *what)
{
    pause_accepting(server, error, what,
                    "; raise the limits on descriptors and threads, or lower max-connections");
}

/* accept failed. Return whether to call it again at once. Many errors concern only the connection
 * that was next, for example because the client has reset it, and the one after it may be fine. But
 * an error that stays must not keep the loop busy. */
static bool handle_accept_error(struct server *server, int error)
{
    if (error == EAGAIN)
        return false;
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
        pause_resources_exhausted(server, error, "cannot accept a connection");
        return false;
    }
    if (++server->accept.failures < ACCEPT_FAILURES_MAX)
        return true;
    server->accept.failures = 0;
    pause_accepting(server, error, "cannot accept a connection", "");
    return false;
}

bool server_has_room(struct server *server)
{
    uint64_t limit = server->settings->max_connections;

    if (workers_serving(server->workers, false) < limit)
        return true;
    /* Count again while asking for the event: a connection may have ended since. */
    if (workers_serving(server->workers, true) < limit)
        return true;
    if (server_may_log(&server->log_limits.at_max_connections, server->now_us))
        log_write(LOG_LEVEL_WARNING,
                  "max-connections: %" PRIu64
                  " connections are open; new ones wait in the backlog until one of them ends",
                  limit);
    return false;
}

/* Return whether the peer's host has as many connections as it may have, and log that. */
static bool is_at_address_limit(struct server *server, const struct address *peer)
{
    uint64_t limit = server->settings->max_connections_per_address;
    char text[ADDRESS_TEXT_MAX];

    if (limit == 0 || workers_serving_host(server->workers, peer) < limit)
        return false;
    if (server_may_log(&server->log_limits.per_address, server->now_us))
        log_write(LOG_LEVEL_NOTICE,
                  "max-connections-per-address: connection from %s refused, its host already "
                  "has %" PRIu64,
                  address_text(text, peer), limit);
    return true;
}

/* Accept one connection. Return false if there is none, or if none can be accepted now. */
static bool accept_one(struct server *server, const struct listener *listener)
{
    struct connection connection = {.peer.length = sizeof(connection.peer.storage)};
    int error;

    if (!server_has_room(server))
        return false;
    error = workers_reserve(server->workers);
    if (error != 0) {
        pause_resources_exhausted(server, error, "cannot create a thread");
        return false;
    }
    connection.fd = accept4(listener->fd, (struct sockaddr *)&connection.peer.storage,
                            &connection.peer.length, SOCK_CLOEXEC);
    if (connection.fd < 0)
        return handle_accept_error(server, errno);
    server->accept.failures = 0;
    if (is_at_address_limit(server, &connection.peer)) {
        server->accept.refused++;
        close(connection.fd);
        return true;
    }
    connection.id = ++server->accept.accepted;
    connection.is_tls = listener->is_tls;
    connection.settings = settings_ref(server->settings);
    workers_serve(server->workers, &connection);
    return true;
}

static void accept_up_to(struct server *server, const struct listener *listener, int max)
{
    for (int i = 0; i < max; i++) {
        if (!accept_one(server, listener))
            return;
    }
}

void server_accept_batch(struct server *server, const struct listener *listener)
{
    accept_up_to(server, listener, ACCEPT_BATCH);
}

/* For a client whose connection is in the backlog the handshake of TCP has succeeded, and its
 * request may be here already. */
void server_accept_backlog(struct server *server)
{
    for (size_t i = 0; i < server->listeners->count; i++)
        accept_up_to(server, &server->listeners->list[i], SOMAXCONN);
}
