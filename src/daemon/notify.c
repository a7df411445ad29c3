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

/* Is ${text} a number, and nothing else, from 1 to ${most}? */
static bool parse(const char *text, int64_t most, int64_t *number)
{
    char *end;

    errno = 0;
    *number = strtoll(text, &end, 10);
    return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0' && *number >= 1 &&
           *number <= most;
}

/* A word that names a process is for that one, not for those that inherit it. */
static bool is_for_us(const char *pid)
{
    int64_t number;

    return pid != NULL && parse(pid, INT32_MAX, &number) && number == getpid();
}

/* --- Telling ------------------------------------------------------------------------------- */

/* A path, or an abstract name, which begins with '@' and ends where the address does. */
static bool set_address(struct notify *notify, const char *name)
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

static int open_socket(void)
{
    const struct timeval patience = {.tv_sec = 1};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        log_write_errno(LOG_LEVEL_WARNING, errno, "the service manager cannot be told anything");
    else
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return fd;
}

static int64_t watchdog_of(const char *usec, const char *pid)
{
    int64_t us;

    if (usec == NULL || (pid != NULL && !is_for_us(pid)))
        return 0;
    if (parse(usec, INT64_MAX, &us))
        return us;
    log_write(LOG_LEVEL_WARNING, "WATCHDOG_USEC is no number of microseconds: no watchdog is fed");
    return 0;
}

void notify_open(struct notify *notify)
{
    const char *name = getenv("NOTIFY_SOCKET");
    char shown[LOG_ESCAPE_MAX];

    *notify = (struct notify){
        .fd = -1,
        .watchdog_us = watchdog_of(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID")),
    };
    if (name != NULL && set_address(notify, name))
        notify->fd = open_socket();
    else if (name != NULL)
        log_write(LOG_LEVEL_WARNING,
                  "NOTIFY_SOCKET=\"%s\" is neither a path nor an abstract name of a Unix socket: "
                  "the service manager cannot be told anything",
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

/* --- Being handed sockets ------------------------------------------------------------------- */

static int refuse(const char *why, int64_t number)
{
    log_write(LOG_LEVEL_ERROR, "LISTEN_FDS: %s %" PRId64 "; let the service manager set it", why,
              number);
    return EX_CONFIG;
}

static int keep_from_others(int64_t count)
{
    for (int fd = FIRST_SOCKET; fd < FIRST_SOCKET + count; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
            return refuse("there is no descriptor", fd);
    }
    return 0;
}

/* Copy the names of ${count} sockets, which need not have any. */
static int take_names(int64_t count, char **names)
{
    const char *given = getenv("LISTEN_FDNAMES");
    int64_t number = 1;

    if (given == NULL)
        return 0;
    for (const char *at = given; *at != '\0'; at++)
        number += *at == ':';
    if (number != count)
        return refuse("LISTEN_FDNAMES is to name as many, not", number);
    *names = strdup(given);
    if (*names != NULL)
        return 0;
    log_write(LOG_LEVEL_ERROR, "LISTEN_FDNAMES: out of memory; give the process more");
    return EX_OSERR;
}

int notify_take_sockets(int *first, size_t *count, char **names)
{
    const char *fds = getenv("LISTEN_FDS");
    bool are_ours = fds != NULL && is_for_us(getenv("LISTEN_PID"));
    int64_t number = 0;
    int result = 0;

    *names = NULL;
    if (are_ours && !parse(fds, SOCKETS_MAX, &number))
        result = refuse("it is to be a number of sockets from 1 to", SOCKETS_MAX);
    else if (are_ours)
        result = keep_from_others(number);
    if (are_ours && result == 0)
        result = take_names(number, names);
    *first = FIRST_SOCKET;
    *count = result == 0 ? (size_t)number : 0;
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
    return result;
}
