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

/* Log why there is no socket for ${address}, and return the exit code. */
static int refuse(const struct address *address, int error)
{
    char text[ADDRESS_TEXT_MAX];
    const char *advice = "give the process more of what it lacks";
    int code = EX_OSERR;

    if (error == EADDRINUSE) {
        advice = "choose another with --port, --tls-port, --address or --unix, or stop who has it";
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

static int refuse_memory(void)
{
    log_write(LOG_LEVEL_ERROR, "cannot listen: out of memory; give the process more");
    return EX_OSERR;
}

/* Take over ${fd}, which listens, with the address that it got. */
static int add(struct listeners *listeners, int fd, bool is_tls)
{
    struct listener *list = realloc(listeners->list, (listeners->count + 1) * sizeof(*list));
    struct listener *listener;

    if (list == NULL) {
        close(fd);
        return refuse_memory();
    }
    listeners->list = list;
    listener = &list[listeners->count++];
    *listener = (struct listener){
        .fd = fd, .is_tls = is_tls, .address.length = sizeof(listener->address.storage)};
    if (getsockname(fd, (struct sockaddr *)&listener->address.storage, &listener->address.length) !=
        0)
        return refuse(&listener->address, errno);
    return 0;
}

/* --- TCP ----------------------------------------------------------------------------------- */

/* What the settings say of every TCP socket. */
struct tcp {
    uint64_t port; /* of all of them; 0 = any free one */
    bool both;     /* IPv6 and IPv4 */
    bool shared;
    bool is_tls;
    bool may_change; /* the port, if it is free at one address and not at the next */
};

enum {
    PORT_TAKEN = -1, /* no status to exit with: another port may do */
    PORT_TRIES = 32,
};

/* An IPv6 socket serves IPv4 too where ${both}: for every address, but not for "::" by its name,
 * beside which somebody may want 0.0.0.0. What is accepted inherits TCP_NODELAY: no call for each.
 */
static bool set_options(int fd, const struct address *address, const struct tcp *tcp)
{
    int on = 1;
    int only = !tcp->both;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return false;
    if (tcp->shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
        return false;
    return address->storage.ss_family != AF_INET6 ||
           setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) == 0;
}

/* Return a listening socket, or -1 with errno. */
static int listen_tcp(const struct address *address, const struct tcp *tcp)
{
    int fd =
        socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    int error;

    if (fd < 0)
        return -1;
    if (set_options(fd, address, tcp) &&
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

static int open_tcp(struct listeners *listeners, struct address *address, struct tcp *tcp)
{
    int result;
    int fd;

    set_port(address, (unsigned)tcp->port);
    fd = listen_tcp(address, tcp);
    if (fd < 0 && errno == EADDRINUSE && tcp->may_change && tcp->port != 0)
        return PORT_TAKEN;
    if (fd < 0)
        return refuse(address, errno);
    result = add(listeners, fd, tcp->is_tls);
    /* Port 0 takes any free one: once, and the same for every further address. */
    if (result == 0)
        tcp->port = address_port(&listeners->list[listeners->count - 1].address);
    return result;
}

/* Every address of the machine: one IPv6 socket that serves both, or IPv4 where IPv6 is off. */
static int open_every(struct listeners *listeners, struct tcp *tcp)
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
    return open_tcp(listeners, &any, tcp);
}

/* Whether the machine has the address, at whatever port. */
static bool is_present(const struct address *address)
{
    const struct tcp any_port = {.port = 0};
    int fd = listen_tcp(address, &any_port);

    if (fd >= 0)
        close(fd);
    return fd >= 0 || (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT);
}

/* Open those of a name's addresses that the machine has, one at least: a container without IPv6 may
 * still find ::1 in /etc/hosts for localhost. An address that stands alone has to be there. */
static int open_found(struct listeners *listeners, const struct addrinfo *found, struct tcp *tcp)
{
    size_t count = listeners->count;
    int result = 0;

    for (const struct addrinfo *each = found; each != NULL && result == 0; each = each->ai_next) {
        bool must_open = each->ai_next == NULL && listeners->count == count;
        struct address address = {.length = each->ai_addrlen};

        memcpy(&address.storage, each->ai_addr, each->ai_addrlen);
        if (must_open || is_present(&address))
            result = open_tcp(listeners, &address, tcp);
    }
    return result;
}

/* Open what one --address names: an address, or a name with several of them. */
static int open_named(struct listeners *listeners, const char *name, struct tcp *tcp)
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
    result = open_found(listeners, found, tcp);
    freeaddrinfo(found);
    return result;
}

/* --- Unix ---------------------------------------------------------------------------------- */

/* Remove the file of a socket on which nobody listens any more. */
static void remove_stale(const struct sockaddr_un *un)
{
    struct stat status;
    int fd;

    if (lstat(un->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return;
    /* Not to wait: a queue that is full has somebody who listens. */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) != 0 && errno == ECONNREFUSED)
        unlink(un->sun_path);
    close(fd);
}

/* Return a bound socket whose file has the mode, not listening yet, or -1 with errno. */
static int bind_unix(const struct sockaddr_un *un, mode_t mode)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error;

    if (fd < 0)
        return -1;
    if (bind(fd, (const struct sockaddr *)un, sizeof(*un)) == 0) {
        /* Nobody can connect before listen, so the mode is in force in time. */
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

    /* The setting's own check has made sure that the path fits. */
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", options->unix_path);
    memcpy(&address.storage, &un, sizeof(un));
    listeners->unix_path = strdup(options->unix_path);
    if (listeners->unix_path == NULL)
        return refuse_memory();
    remove_stale(&un);
    fd = bind_unix(&un, (mode_t)options->unix_mode);
    if (fd >= 0 && listen(fd, SOMAXCONN) == 0)
        return add(listeners, fd, false);
    error = errno;
    if (fd >= 0) {
        close(fd);
    } else {
        free(listeners->unix_path); /* the file is not ours */
        listeners->unix_path = NULL;
    }
    return refuse(&address, error);
}

/* --- Inherited ----------------------------------------------------------------------------- */

static int option_of(int fd, int option)
{
    int value = -1;
    socklen_t length = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 ? value : -1;
}

/* Can connections be accepted from it whose peers have an address that we can tell? */
static bool is_listener(int fd)
{
    int family = option_of(fd, SO_DOMAIN);

    return option_of(fd, SO_TYPE) == SOCK_STREAM && option_of(fd, SO_ACCEPTCONN) == 1 &&
           (family == AF_INET || family == AF_INET6 || family == AF_UNIX);
}

/* Make it as those that are opened here. */
static bool adapt(int fd)
{
    int on = 1;
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           (option_of(fd, SO_DOMAIN) == AF_UNIX ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
}

/* Whether the name at *${names} says so; lead it to the next one. */
static bool is_for_tls(const char **names)
{
    static const char tls[] = "tls";
    const char *name = *names;
    size_t length = strcspn(name, ":");

    *names += length + (name[length] == ':');
    return length == sizeof(tls) - 1 && memcmp(name, tls, length) == 0;
}

static int refuse_inherited(int fd)
{
    log_write(LOG_LEVEL_ERROR,
              "descriptor %d, handed over by LISTEN_FDS, is no listening stream socket: its "
              "socket unit is to have ListenStream= and Accept=no",
              fd);
    return EX_CONFIG;
}

static int inherit(struct listeners *listeners, int fd, bool is_tls)
{
    if (!is_listener(fd))
        return refuse_inherited(fd);
    if (adapt(fd))
        return add(listeners, fd, is_tls);
    log_write_errno(LOG_LEVEL_ERROR, errno, "descriptor %d, handed over by LISTEN_FDS", fd);
    return EX_OSERR;
}

/* --- All of them --------------------------------------------------------------------------- */

/* Open ${port} at every address. */
static int open_port(const struct listener_options *options, uint64_t port, bool is_tls,
                     struct listeners *listeners, bool is_last_try)
{
    struct tcp tcp = {.port = port,
                      .both = options->address == NULL,
                      .shared = options->reuse_port,
                      .is_tls = is_tls,
                      .may_change = port == 0 && !is_last_try};
    int result = 0;

    if (tcp.both)
        result = open_every(listeners, &tcp);
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
        result = inherit(listeners, fd, is_for_tls(&name));
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
