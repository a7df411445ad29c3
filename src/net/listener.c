#include "net/listener.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

/* Log why listening on ${address} failed, and what to do. Return the exit code. */
static int fail_address(const struct address *address, int error)
{
    char text[ADDRESS_TEXT_MAX];
    const char *advice = "raise the limits of the process";
    int code = EX_OSERR;

    if (error == EADDRINUSE) {
        advice = "choose another with --port, --tls-port, --address or --unix, or stop the program "
                 "that uses it";
        code = EX_UNAVAILABLE;
    } else if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT) {
        advice = "give --address an address that this machine has";
        code = EX_UNAVAILABLE;
    } else if (error == ENOENT || error == ENOTDIR) {
        advice = "create the directory first, or choose another with --unix";
        code = EX_UNAVAILABLE;
    } else if (error == EACCES || error == EPERM || error == EROFS) {
        advice = "no permission: choose a port above 1023 or another path, or let systemd open it";
        code = EX_NOPERM;
    }
    log_write(LOG_LEVEL_ERROR, "cannot listen on %s: %s; %s", address_text(text, address),
              strerror(error), advice);
    return code;
}

static int fail_memory(void)
{
    log_write(LOG_LEVEL_ERROR, "cannot listen: out of memory; give the process more memory");
    return EX_OSERR;
}

/* Add the listening socket ${fd}, taking ownership, also on failure. Return 0 or an exit code. */
static int add_listener(struct listeners *listeners, int fd, bool is_tls)
{
    struct listener *list = realloc(listeners->list, (listeners->count + 1) * sizeof(*list));
    struct listener *listener;

    if (list == NULL) {
        close(fd);
        return fail_memory();
    }
    listeners->list = list;
    listener = &list[listeners->count++];
    *listener = (struct listener){
        .fd = fd, .is_tls = is_tls, .address.length = sizeof(listener->address.storage)};
    if (getsockname(fd, (struct sockaddr *)&listener->address.storage, &listener->address.length) !=
        0)
        return fail_address(&listener->address, errno);
    return 0;
}

/* --- TCP ----------------------------------------------------------------------------------- */

/* What all TCP sockets of one port have in common. */
struct tcp_options {
    uint64_t port;   /* 0 = any free port, replaced by the port of the first socket */
    bool dual_stack; /* an IPv6 socket also serves IPv4 */
    bool reuse_port;
    bool is_tls;
    bool may_retry; /* with another port, if this one is free on one address but not on the next */
};

enum {
    PORT_TAKEN = -1, /* not an exit code: try again with another port */
    PORT_TRIES = 32,
};

/* TCP_NODELAY is inherited by accepted connections, which saves a call for each. Dual stack is for
 * listening on all addresses; "--address ::" is IPv6 only, so that 0.0.0.0 can be given as
 * well. */
static bool set_socket_options(int fd, const struct address *address,
                               const struct tcp_options *options)
{
    int on = 1;
    int ipv6_only = !options->dual_stack;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return false;
    if (options->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
        return false;
    return address->storage.ss_family != AF_INET6 ||
           setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &ipv6_only, sizeof(ipv6_only)) == 0;
}

/* Return a new listening socket, or -1 with errno. */
static int listen_tcp(const struct address *address, const struct tcp_options *options)
{
    int fd =
        socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    int error;

    if (fd < 0)
        return -1;
    if (set_socket_options(fd, address, options) &&
        bind(fd, (const struct sockaddr *)&address->storage, address->length) == 0 &&
        listen(fd, SOMAXCONN) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void set_port(struct address *address, unsigned port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address->storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->storage;

    if (address->storage.ss_family == AF_INET)
        v4->sin_port = htons((uint16_t)port);
    else
        v6->sin6_port = htons((uint16_t)port);
}

static int open_tcp(struct listeners *listeners, struct address *address,
                    struct tcp_options *options)
{
    int result;
    int fd;

    set_port(address, (unsigned)options->port);
    fd = listen_tcp(address, options);
    if (fd < 0 && errno == EADDRINUSE && options->may_retry && options->port != 0)
        return PORT_TAKEN;
    if (fd < 0)
        return fail_address(address, errno);
    result = add_listener(listeners, fd, options->is_tls);
    /* If the port was 0, the next sockets use the port that this one got. */
    if (result == 0)
        options->port = address_port(&listeners->list[listeners->count - 1].address);
    return result;
}

/* Listen on all addresses: one dual-stack socket, or IPv4 only if the kernel has no IPv6. */
static int open_wildcard(struct listeners *listeners, struct tcp_options *options)
{
    struct address any = {.length = sizeof(struct sockaddr_in6)};
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

    any.storage.ss_family = AF_INET6;
    if (probe >= 0) {
        close(probe);
    } else {
        any.storage.ss_family = AF_INET;
        any.length = sizeof(struct sockaddr_in);
    }
    return open_tcp(listeners, &any, options);
}

/* Return true if the machine has the address. */
static bool has_address(const struct address *address)
{
    const struct tcp_options any_port = {.port = 0};
    int fd = listen_tcp(address, &any_port);

    if (fd >= 0)
        close(fd);
    return fd >= 0 || (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT);
}

/* Listen on the addresses of a name that the machine has, which must be at least one. In a
 * container without IPv6, for example, localhost may still resolve to ::1 as well. */
static int open_resolved(struct listeners *listeners, const struct addrinfo *found,
                         struct tcp_options *options)
{
    size_t count = listeners->count;
    int result = 0;

    for (const struct addrinfo *each = found; each != NULL && result == 0; each = each->ai_next) {
        bool must_open = each->ai_next == NULL && listeners->count == count;
        struct address address = {.length = each->ai_addrlen};

        memcpy(&address.storage, each->ai_addr, each->ai_addrlen);
        if (must_open || has_address(&address))
            result = open_tcp(listeners, &address, options);
    }
    return result;
}

/* Listen on the value of one --address: an address, or a name that may have several. */
static int open_named(struct listeners *listeners, const char *name, struct tcp_options *options)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char shown[LOG_ESCAPE_MAX];
    int error = getaddrinfo(name, NULL, &hints, &found);
    int result;

    if (error != 0) {
        log_write(LOG_LEVEL_ERROR,
                  "cannot listen on address \"%s\": %s; give an address of this machine",
                  log_escape(shown, sizeof(shown), name, strlen(name)),
                  error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
        return EX_UNAVAILABLE;
    }
    result = open_resolved(listeners, found, options);
    freeaddrinfo(found);
    return result;
}

/* --- Unix ---------------------------------------------------------------------------------- */

/* Remove the file of a socket that no process listens on any more. */
static void remove_stale(const struct sockaddr_un *un)
{
    struct stat status;
    int fd;

    if (lstat(un->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return;
    /* Non-blocking, since connect blocks while the queue of a listening socket is full. */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) != 0 && errno == ECONNREFUSED)
        unlink(un->sun_path);
    close(fd);
}

/* Return a bound socket whose file has ${mode}, not listening yet; or -1 with errno. */
static int bind_unix(const struct sockaddr_un *un, mode_t mode)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error;

    if (fd < 0)
        return -1;
    if (bind(fd, (const struct sockaddr *)un, sizeof(*un)) == 0) {
        /* In time: clients cannot connect before listen. */
        if (chmod(un->sun_path, mode) == 0)
            return fd;
        error = errno;
        unlink(un->sun_path);
        errno = error;
    }
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int open_unix(struct listeners *listeners, const struct listener_options *options)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct address address = {.length = sizeof(un)};
    int error;
    int fd;

    /* The path fits: the setting's check made sure of that. */
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", options->unix_path);
    memcpy(&address.storage, &un, sizeof(un));
    listeners->unix_path = strdup(options->unix_path);
    if (listeners->unix_path == NULL)
        return fail_memory();
    remove_stale(&un);
    fd = bind_unix(&un, (mode_t)options->unix_mode);
    if (fd >= 0 && listen(fd, SOMAXCONN) == 0)
        return add_listener(listeners, fd, false);
    error = errno;
    if (fd >= 0) {
        close(fd);
    } else {
        free(listeners->unix_path); /* do not remove a file of another process */
        listeners->unix_path = NULL;
    }
    return fail_address(&address, error);
}

/* --- Inherited ----------------------------------------------------------------------------- */

static int get_socket_option(int fd, int option)
{
    int value = -1;
    socklen_t length = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 ? value : -1;
}

/* Return true for a listening stream socket of a family that address.c knows. */
static bool is_listening_socket(int fd)
{
    int family = get_socket_option(fd, SO_DOMAIN);

    return get_socket_option(fd, SO_TYPE) == SOCK_STREAM &&
           get_socket_option(fd, SO_ACCEPTCONN) == 1 &&
           (family == AF_INET || family == AF_INET6 || family == AF_UNIX);
}

/* Set what listen_tcp and bind_unix set on their sockets. */
static bool adapt_inherited(int fd)
{
    int on = 1;
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           (get_socket_option(fd, SO_DOMAIN) == AF_UNIX ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
}

/* Return true if the first name in *${names} is "tls"; advance *${names} to the next name. */
static bool take_name_is_tls(const char **names)
{
    static const char tls[] = "tls";
    const char *name = *names;
    size_t length = strcspn(name, ":");

    *names += length + (name[length] == ':');
    return length == sizeof(tls) - 1 && memcmp(name, tls, length) == 0;
}

static int fail_inherited(int fd)
{
    log_write(LOG_LEVEL_ERROR,
              "descriptor %d, handed over by LISTEN_FDS, is not a listening stream socket: its "
              "socket unit must have ListenStream= and Accept=no",
              fd);
    return EX_CONFIG;
}

static int inherit_socket(struct listeners *listeners, int fd, bool is_tls)
{
    if (!is_listening_socket(fd))
        return fail_inherited(fd);
    if (adapt_inherited(fd))
        return add_listener(listeners, fd, is_tls);
    log_write_errno(LOG_LEVEL_ERROR, errno, "descriptor %d, handed over by LISTEN_FDS", fd);
    return EX_OSERR;
}

/* --- All of them --------------------------------------------------------------------------- */

/* Listen on ${port} of every address. */
static int open_port(const struct listener_options *options, uint64_t port, bool is_tls,
                     struct listeners *listeners, bool is_last_try)
{
    struct tcp_options tcp = {.port = port,
                              .dual_stack = options->address == NULL,
                              .reuse_port = options->reuse_port,
                              .is_tls = is_tls,
                              .may_retry = port == 0 && !is_last_try};
    int result = 0;

    if (tcp.dual_stack)
        result = open_wildcard(listeners, &tcp);
    for (char **name = options->address; name != NULL && *name != NULL && result == 0; name++)
        result = open_named(listeners, *name, &tcp);
    return result;
}

static int open_all(const struct listener_options *options, struct listeners *listeners,
                    bool is_last_try)
{
    int result = open_port(options, options->port, false, listeners, is_last_try);

    if (options->tls_port != LISTENER_NO_PORT && result == 0)
        result = open_port(options, options->tls_port, true, listeners, is_last_try);
    if (options->unix_path != NULL && result == 0)
        result = open_unix(listeners, options);
    return result;
}

static void log_listeners(const struct listeners *listeners, const char *origin)
{
    char text[ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < listeners->count; i++)
        log_write(LOG_LEVEL_INFO, "listening on %s%s%s",
                  address_text(text, &listeners->list[i].address),
                  listeners->list[i].is_tls ? ", TLS" : "", origin);
}

int listeners_open(const struct listener_options *options, struct listeners *listeners)
{
    int tries = 0;
    int result;

    do {
        *listeners = (struct listeners){0};
        result = open_all(options, listeners, ++tries == PORT_TRIES);
        if (result != 0)
            listeners_close(listeners);
    } while (result == PORT_TAKEN);
    log_listeners(listeners, "");
    return result;
}

int listeners_inherit(int first, size_t count, const char *names, struct listeners *listeners)
{
    const char *name = names != NULL ? names : "";
    int end = first + (int)count;
    int result = 0;

    *listeners = (struct listeners){.inherited = true};
    for (int fd = first; fd < end && result == 0; fd++)
        result = inherit_socket(listeners, fd, take_name_is_tls(&name));
    if (result != 0)
        listeners_close(listeners);
    log_listeners(listeners, ", handed over");
    return result;
}

void listeners_close(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        close(listeners->list[i].fd);
    if (listeners->unix_path != NULL)
        unlink(listeners->unix_path);
    free(listeners->unix_path);
    free(listeners->list);
    *listeners = (struct listeners){0};
}
