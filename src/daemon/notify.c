#include "daemon/notify.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    FIRST_SOCKET = 3,
    SOCKETS_MAX = 1024,
};

/* Parse ${text}, which has to be a number from 1 to ${max} and nothing else. */
static bool parse_positive(const char *text, int64_t max, int64_t *number)
{
    char *end;

    errno = 0;
    *number = strtoll(text, &end, 10);
    return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0' && *number >= 1 &&
           *number <= max;
}

/* Variables that name a process are for that one alone, not for a child that inherits them. */
static bool is_own_pid(const char *pid)
{
    int64_t number;

    return pid != NULL && parse_positive(pid, INT32_MAX, &number) && number == getpid();
}

/* --- Notifications -------------------------------------------------------------------------- */

/* ${name} is a path, or an abstract name that begins with '@'. The length of an address says where
 * an abstract name ends, so it has no NUL at its end. */
static bool set_notify_address(struct notify *notify, const char *name)
{
    size_t length = strlen(name);
    bool is_path = name[0] == '/';

    if ((!is_path && name[0] != '@') || length < 2 ||
        length + is_path > sizeof(notify->address.sun_path))
        return false;
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, name, length);
    if (!is_path)
        notify->address.sun_path[0] = '\0';
    notify->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + is_path);
    return true;
}

static int open_notify_socket(void)
{
    const struct timeval timeout = {.tv_sec = 1};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        log_write_errno(LOG_LEVEL_WARNING, errno, "cannot notify the service manager");
    else
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    return fd;
}

static int64_t parse_watchdog(const char *usec, const char *pid)
{
    int64_t us;

    if (usec == NULL || (pid != NULL && !is_own_pid(pid)))
        return 0;
    if (parse_positive(usec, INT64_MAX, &us))
        return us;
    log_write(LOG_LEVEL_WARNING,
              "WATCHDOG_USEC is not a number of microseconds: no WATCHDOG=1 is sent");
    return 0;
}

void notify_open(struct notify *notify)
{
    const char *name = getenv("NOTIFY_SOCKET");
    char shown[LOG_ESCAPE_MAX];

    *notify = (struct notify){
        .fd = -1,
        .watchdog_us = parse_watchdog(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID")),
    };
    if (name != NULL && set_notify_address(notify, name))
        notify->fd = open_notify_socket();
    else if (name != NULL)
        log_write(LOG_LEVEL_WARNING,
                  "NOTIFY_SOCKET=\"%s\" is neither a path nor an abstract name of a Unix socket: "
                  "cannot notify the service manager",
                  log_escape(shown, sizeof(shown), name, strlen(name)));
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

bool notify_send(const struct notify *notify, const char *message)
{
    return notify->fd < 0 || sendto(notify->fd, message, strlen(message), MSG_NOSIGNAL,
                                    (const struct sockaddr *)&notify->address, notify->length) >= 0;
}

void notify_close(struct notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

/* --- Sockets from the service manager ------------------------------------------------------- */

static int log_listen_error(const char *what, int64_t number)
{
    log_write(LOG_LEVEL_ERROR, "LISTEN_FDS: %s %" PRId64 "; let the service manager set it", what,
              number);
    return EX_CONFIG;
}

static int set_close_on_exec(int64_t count)
{
    for (int fd = FIRST_SOCKET; fd < FIRST_SOCKET + count; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
            return log_listen_error("there is no descriptor", fd);
    }
    return 0;
}

/* Copy LISTEN_FDNAMES, which is optional but has to name ${count} sockets. */
static int copy_socket_names(int64_t count, char **names)
{
    const char *given = getenv("LISTEN_FDNAMES");
    int64_t number = 1;

    if (given == NULL)
        return 0;
    for (const char *at = given; *at != '\0'; at++)
        number += *at == ':';
    if (number != count)
        return log_listen_error("LISTEN_FDNAMES must have as many names, not", number);
    *names = strdup(given);
    if (*names != NULL)
        return 0;
    log_write(LOG_LEVEL_ERROR, "LISTEN_FDNAMES: out of memory");
    return EX_OSERR;
}

int notify_take_sockets(int *first, size_t *count, char **names)
{
    const char *fds = getenv("LISTEN_FDS");
    bool is_for_us = fds != NULL && is_own_pid(getenv("LISTEN_PID"));
    int64_t number = 0;
    int result = 0;

    *names = NULL;
    if (is_for_us && !parse_positive(fds, SOCKETS_MAX, &number))
        result = log_listen_error("it must be a number of sockets from 1 to", SOCKETS_MAX);
    else if (is_for_us)
        result = set_close_on_exec(number);
    if (is_for_us && result == 0)
        result = copy_socket_names(number, names);
    *first = FIRST_SOCKET;
    *count = result == 0 ? (size_t)number : 0;
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
    return result;
}
