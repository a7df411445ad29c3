#include "daemon/server_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PAUSE_US = 1000000, /* how long accepting rests when the system has no more to give */
    MISHAPS_MAX = 64,   /* accepts in a row that fail before accepting rests */
};

/* A connection is a descriptor: take as many as the hard limit gives, and say if it is too few. */
void server_raise_descriptor_limit(const struct server *server)
{
    enum { OWN = 16 };
    rlim_t wanted = server->settings->max_connections + server->listeners->count + OWN;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        log_write(LOG_LEVEL_WARNING,
                  "max-connections is %" PRIu64 ", but the limit on descriptors is %" PRIu64
                  ": raise it, or accepting will rest when it is reached",
                  server->settings->max_connections, (uint64_t)limit.rlim_cur);
}

static void pause_accepting(struct server *server, int error, const char *what, const char *advice)
{
    server->paused_until_us = server->now_us + PAUSE_US;
    if (server_may_complain(&server->scarcity, server->now_us))
        log_write_errno(LOG_LEVEL_WARNING, error,
                        "%s: accepting rests while %zu connections are served%s", what,
                        workers_serving(server->workers, true), advice);
}

/* The system has no descriptor, thread or memory to give: rest, and try again when a connection is
 * over, or after a while. */
static void pause_for_scarcity(struct server *server, int error, const char *what)
{
    pause_accepting(server, error, what,
                    "; raise the limits on descriptors and threads, or lower max-connections");
}

/* Accepting failed: is the next one to be tried at once? Who waited may have gone meanwhile, and
 * more of that kind is the matter of one connection each; but what does not end is no such bad
 * luck, and must not keep the loop busy. */
static bool bear_mishap(struct server *server, int error)
{
    if (error == EAGAIN)
        return false;
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
        pause_for_scarcity(server, error, "no connection can be accepted");
        return false;
    }
    if (++server->mishaps < MISHAPS_MAX)
        return true;
    server->mishaps = 0;
    pause_accepting(server, error, "no connection can be accepted", "");
    return false;
}

/* Is there room for one more? If not, the backlog holds, until a connection is over. */
bool server_has_room(struct server *server)
{
    uint64_t limit = server->settings->max_connections;

    if (workers_serving(server->workers, false) < limit)
        return true;
    if (workers_serving(server->workers, true) < limit)
        return true;
    if (server_may_complain(&server->full, server->now_us))
        log_write(LOG_LEVEL_WARNING,
                  "max-connections: %" PRIu64
                  " connections are served; until one is over, new ones wait in the backlog",
                  limit);
    return false;
}

static bool is_crowded(struct server *server, const struct address *peer)
{
    uint64_t limit = server->settings->max_connections_per_address;
    char text[ADDRESS_TEXT_MAX];

    if (limit == 0 || workers_serving_host(server->workers, peer) < limit)
        return false;
    server->refused++;
    if (server_may_complain(&server->crowd, server->now_us))
        log_write(LOG_LEVEL_NOTICE,
                  "max-connections-per-address: connection from %s refused, its host has %" PRIu64,
                  address_text(text, peer), limit);
    return true;
}

/* Accept one connection. Return false if there is none, or none can be taken now. */
static bool accept_one(struct server *server, const struct listener *listener)
{
    struct connection connection = {.peer.length = sizeof(connection.peer.storage)};
    int error;

    if (!server_has_room(server))
        return false;
    error = workers_reserve(server->workers);
    if (error != 0) {
        pause_for_scarcity(server, error, "no thread can be had");
        return false;
    }
    connection.fd = accept4(listener->fd, (struct sockaddr *)&connection.peer.storage,
                            &connection.peer.length, SOCK_CLOEXEC);
    if (connection.fd < 0)
        return bear_mishap(server, errno);
    server->mishaps = 0;
    if (is_crowded(server, &connection.peer)) {
        close(connection.fd);
        return true;
    }
    connection.id = ++server->accepted;
    connection.is_tls = listener->is_tls;
    connection.settings = settings_ref(server->settings);
    workers_serve(server->workers, &connection);
    return true;
}

static void accept_up_to(struct server *server, const struct listener *listener, int most)
{
    for (int i = 0; i < most; i++) {
        if (!accept_one(server, listener))
            return;
    }
}

/* Take what waits, but look up now and then: signals and deadlines want to be served as well. */
void server_accept_some(struct server *server, const struct listener *listener)
{
    enum { AT_ONCE = 64 };

    accept_up_to(server, listener, AT_ONCE);
}

/* Who waits in the backlog has connected, and may have asked: take them before the door closes. */
void server_accept_backlog(struct server *server)
{
    for (size_t i = 0; i < server->listeners->count; i++)
        accept_up_to(server, &server->listeners->list[i], SOMAXCONN);
}
