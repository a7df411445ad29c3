/* System calls that fail: those of connections, of the accept loop and of threads. Besides, time is
 * the test's, and the log is kept. */
#include "faults/faults_internal.h"

#include "conn/connection.h"
#include "session/peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    POLL_MAX_MS = 1,       /* so that the accept loop sees the time that the test sets */
    UNIX_TIME = 784111777, /* as in session/peer.c, which knows the date of every response */
};

/* --- Connections --- */

ssize_t __real_recv(int fd, void *buffer, size_t size, int flags);
ssize_t __real_send(int fd, const void *bytes, size_t length, int flags);
int __real_shutdown(int fd, int how);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int __real_getsockname(int fd, struct sockaddr *address, socklen_t *length);
int __real_ioctl(int fd, unsigned long request, void *argument);
int __real_close(int fd);
int __real_madvise(void *start, size_t length, int advice);
int __real_malloc_trim(size_t pad);

ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags);
int __wrap_shutdown(int fd, int how);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length);
int __wrap_ioctl(int fd, unsigned long request, void *argument);
int __wrap_close(int fd);
int __wrap_madvise(void *start, size_t length, int advice);
int __wrap_malloc_trim(size_t pad);

/* Return how many of ${length} bytes a call may move after faults_inject has returned ${error}. */
static size_t shortened(size_t length, int error)
{
    return error == 0 && length > 1 ? 1 : length;
}

ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags)
{
    int error = faults_inject(FAULTS_RECV);

    if (error > 0) {
        errno = error;
        return -1;
    }
    return __real_recv(fd, buffer, shortened(size, error), flags);
}

static size_t allowed_to_send(size_t length)
{
    size_t max;

    pthread_mutex_lock(&faults_state.lock);
    max = faults_current_scope == FAULTS_CONNECTION && faults_state.fault
              ? faults_state.fault->send_at_most
              : 0;
    pthread_mutex_unlock(&faults_state.lock);
    return max > 0 && length > max ? max : length;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags)
{
    int error = faults_inject(FAULTS_SEND);

    if (error > 0) {
        errno = error;
        return -1;
    }
    return __real_send(fd, bytes, shortened(allowed_to_send(length), error), flags);
}

int __wrap_shutdown(int fd, int how)
{
    return faults_fails(FAULTS_SHUTDOWN) ? -1 : __real_shutdown(fd, how);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    return faults_fails(FAULTS_SETSOCKOPT) ? -1 : __real_setsockopt(fd, level, name, value, length);
}

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    return faults_fails(FAULTS_GETSOCKNAME) ? -1 : __real_getsockname(fd, address, length);
}

int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
    return faults_fails(FAULTS_IOCTL) ? -1 : __real_ioctl(fd, request, argument);
}

static void note_close(int fd, bool was_open)
{
    pthread_mutex_lock(&faults_state.lock);
    if (!was_open)
        faults_state.bad_closes++;
    if (faults_current_scope == FAULTS_CONNECTION && fd == faults_state.fd)
        faults_state.report.closes++;
    pthread_mutex_unlock(&faults_state.lock);
}

int __wrap_close(int fd)
{
    int result = __real_close(fd);

    note_close(fd, result == 0 || errno != EBADF);
    return faults_fails(FAULTS_CLOSE) ? -1 : result;
}

int __wrap_madvise(void *start, size_t length, int advice)
{
    return faults_fails(FAULTS_MADVISE) ? -1 : __real_madvise(start, length, advice);
}

int __wrap_malloc_trim(size_t pad)
{
    (void)faults_inject(FAULTS_TRIM);
    return __real_malloc_trim(pad);
}

/* --- The accept loop --- */

int __real_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
int __real_poll(struct pollfd *polled, nfds_t count, int timeout);
ssize_t __real_read(int fd, void *buffer, size_t size);
int __real_signalfd(int fd, const sigset_t *set, int flags);
int __real_eventfd(unsigned int value, int flags);
int __real_nanosleep(const struct timespec *time, struct timespec *left);

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
int __wrap_poll(struct pollfd *polled, nfds_t count, int timeout);
ssize_t __wrap_read(int fd, void *buffer, size_t size);
int __wrap_signalfd(int fd, const sigset_t *set, int flags);
int __wrap_eventfd(unsigned int value, int flags);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    return faults_fails(FAULTS_ACCEPT) ? -1 : __real_accept4(fd, address, length, flags);
}

int __wrap_poll(struct pollfd *polled, nfds_t count, int timeout)
{
    bool is_log = count == 1 && polled[0].fd == STDERR_FILENO;

    if (faults_fails(is_log ? FAULTS_LOG_POLL : FAULTS_POLL))
        return -1;
    if (faults_current_scope == FAULTS_SERVER && !is_log && (timeout < 0 || timeout > POLL_MAX_MS))
        timeout = POLL_MAX_MS;
    return __real_poll(polled, count, timeout);
}

ssize_t __wrap_read(int fd, void *buffer, size_t size)
{
    return faults_fails(FAULTS_READ) ? -1 : __real_read(fd, buffer, size);
}

int __wrap_signalfd(int fd, const sigset_t *set, int flags)
{
    return faults_fails(FAULTS_SIGNALFD) ? -1 : __real_signalfd(fd, set, flags);
}

int __wrap_eventfd(unsigned int value, int flags)
{
    return faults_fails(FAULTS_EVENTFD) ? -1 : __real_eventfd(value, flags);
}

/* The accept loop sleeps for a moment only, while the clock goes on by the whole time. It must not
 * be shorter, so that connections can end before a drain has timed out. */
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    static const struct timespec moment = {.tv_nsec = 100000};

    if (faults_current_scope != FAULTS_SERVER)
        return __real_nanosleep(time, left);
    pthread_mutex_lock(&faults_state.lock);
    faults_state.sleeps++;
    pthread_mutex_unlock(&faults_state.lock);
    faults_advance((int64_t)time->tv_sec * SECOND + time->tv_nsec / 1000);
    return __real_nanosleep(&moment, NULL);
}

/* --- Threads --- */

int __real_munmap(void *start, size_t length);
void *__real_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset);
int __real_mprotect(void *start, size_t length, int protection);
int __real_pthread_attr_init(pthread_attr_t *attributes);
int __real_pthread_attr_setstack(pthread_attr_t *attributes, void *stack, size_t size);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument);
int __real_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until);
int __real_sem_wait(sem_t *semaphore);
void __real_connection_serve(struct connection *connection, struct connection_workspace *workspace);

int __wrap_munmap(void *start, size_t length);
void *__wrap_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset);
int __wrap_mprotect(void *start, size_t length, int protection);
int __wrap_pthread_attr_init(pthread_attr_t *attributes);
int __wrap_pthread_attr_setstack(pthread_attr_t *attributes, void *stack, size_t size);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument);
int __wrap_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until);
int __wrap_sem_wait(sem_t *semaphore);
void __wrap_connection_serve(struct connection *connection, struct connection_workspace *workspace);

/* A mapping counts as an allocated block. */
void *__wrap_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    void *region = MAP_FAILED;

    if (!faults_fails(FAULTS_MMAP))
        region = __real_mmap(at, length, protection, flags, fd, offset);
    if (region != MAP_FAILED)
        faults_count_live(1);
    return region;
}

int __wrap_munmap(void *start, size_t length)
{
    faults_count_live(-1);
    return __real_munmap(start, length);
}

int __wrap_mprotect(void *start, size_t length, int protection)
{
    return faults_fails(FAULTS_MPROTECT) ? -1 : __real_mprotect(start, length, protection);
}

int __wrap_pthread_attr_init(pthread_attr_t *attributes)
{
    int error = faults_error(FAULTS_THREAD_ATTRIBUTES);

    return error != 0 ? error : __real_pthread_attr_init(attributes);
}

int __wrap_pthread_attr_setstack(pthread_attr_t *attributes, void *stack, size_t size)
{
    int error = faults_error(FAULTS_THREAD_ATTRIBUTES);

    return error != 0 ? error : __real_pthread_attr_setstack(attributes, stack, size);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument)
{
    int error = faults_error(FAULTS_THREAD);

    return error != 0 ? error : __real_pthread_create(thread, attributes, start, argument);
}

static bool sleep_fails(void)
{
    bool failed;

    faults_current_scope = FAULTS_WORKER;
    failed = faults_fails(FAULTS_SLEEP);
    faults_current_scope = FAULTS_OTHER;
    return failed;
}

int __wrap_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until)
{
    return sleep_fails() ? -1 : __real_sem_clockwait(semaphore, clock, until);
}

int __wrap_sem_wait(sem_t *semaphore)
{
    return sleep_fails() ? -1 : __real_sem_wait(semaphore);
}

static bool choose(int fd)
{
    bool chosen;

    pthread_mutex_lock(&faults_state.lock);
    chosen = faults_state.wants_connection;
    faults_state.wants_connection = false;
    if (chosen)
        faults_state.fd = fd;
    pthread_mutex_unlock(&faults_state.lock);
    return chosen;
}

static bool has_nodelay(int fd)
{
    int on = 0;
    socklen_t length = sizeof(on);

    return getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length) == 0 && on != 0;
}

void __wrap_connection_serve(struct connection *connection, struct connection_workspace *workspace)
{
    bool nodelay = has_nodelay(connection->fd);
    bool chosen = choose(connection->fd);

    if (chosen) {
        faults_forget_thread();
        faults_current_scope = FAULTS_CONNECTION;
        if (connection->is_tls)
            faults_prepare_thread();
    }
    __real_connection_serve(connection, workspace);
    if (!chosen)
        return;
    faults_forget_thread();
    faults_current_scope = FAULTS_OTHER;
    pthread_mutex_lock(&faults_state.lock);
    faults_state.report.nodelay = nodelay;
    faults_state.connection_ended = true;
    pthread_cond_broadcast(&faults_state.changed);
    pthread_mutex_unlock(&faults_state.lock);
}

/* --- The end of the process --- */

void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));

/* The server calls it when a thread does not end in time. */
void __wrap__exit(int status)
{
    if (faults_current_scope == FAULTS_SERVER)
        print_error("a thread of the daemon is stuck: it would have exited with %d\n", status);
    __real__exit(EXIT_FAILURE);
}

/* --- Time --- */

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int64_t faults_real_us(void)
{
    struct timespec time;

    (void)__real_clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * SECOND + time.tv_nsec / 1000;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    int64_t us;

    if (clock == CLOCK_REALTIME_COARSE) {
        *time = (struct timespec){.tv_sec = UNIX_TIME};
        return 0;
    }
    if (clock != CLOCK_MONOTONIC)
        return __real_clock_gettime(clock, time);
    (void)faults_inject(FAULTS_CLOCK);
    pthread_mutex_lock(&faults_state.lock);
    us = (faults_state.frozen_us != 0 ? faults_state.frozen_us : faults_real_us()) +
         faults_state.ahead_us;
    pthread_mutex_unlock(&faults_state.lock);
    *time = (struct timespec){us / SECOND, us % SECOND * 1000};
    return 0;
}

/* --- The log --- */

ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);

static void keep_log_line(const char *line, size_t length)
{
    struct faults_record *notes;

    pthread_mutex_lock(&faults_state.lock);
    notes = &faults_state.records[faults_current_scope];
    if (length < FAULTS_LOG_MAX - notes->log_length) {
        memcpy(notes->log + notes->log_length, line, length);
        notes->log_length += length;
    }
    pthread_mutex_unlock(&faults_state.lock);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
    if (fd != STDERR_FILENO)
        return __real_write(fd, bytes, length);
    keep_log_line(bytes, length);
    return faults_fails(FAULTS_LOG_WRITE) ? -1 : (ssize_t)length;
}
