#include "faults/faults.h"

#include "base/arena.h"
#include "conn/connection.h"
#include "session/peer.h"

#include <errno.h>
#include <jansson.h>
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

#if WITH_TLS
#include <openssl/crypto.h>
#include <openssl/err.h>
#endif

enum {
    LOG_MAX = 1 << 16,
    LOOK_MS = 1, /* how often the accept loop looks at the clock, which is the test's */
    PATIENCE_MS = 20000,
    UNIX_TIME = 784111777, /* peer's, so that it knows the date of every response */
};

/* What one scope did since faults_arm. */
struct notes {
    size_t counts[FAULTS_CALLS];
    size_t log_length;
    char log[LOG_MAX];
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const struct fault *fault; /* NULL = none is armed */
    enum faults_scope scope;
    size_t left; /* calls before it strikes */
    int struck;
    bool wanted; /* the next connection is the chosen one */
    bool over;
    int fd; /* of the chosen connection */
    struct faults_report report;
    struct notes notes[FAULTS_SCOPES];
    long live;
    int bad_closes;
    size_t rests;
    int64_t ahead_us;  /* of the true clock */
    int64_t frozen_us; /* what the true clock showed when it was stopped; 0 = it runs */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static _Thread_local enum faults_scope scope = FAULTS_OTHER;
static _Thread_local bool is_spared; /* nothing of this thread's fails for now */

/* --- The one place that decides --- */

/* Count a call of this thread's. Return the errno it has to fail with, 0 for moving a single byte,
 * or -1 if it is to be left alone. */
static int strike(enum faults_call call)
{
    int error = -1;

    pthread_mutex_lock(&all.lock);
    all.notes[scope].counts[call]++;
    if (all.fault && all.scope == scope && all.fault->call == call && !is_spared) {
        if (all.left > 0) {
            all.left--;
        } else if (all.fault->times == FAULTS_FOR_EVER || all.struck < all.fault->times) {
            all.struck++;
            error = all.fault->error;
        }
    }
    pthread_mutex_unlock(&all.lock);
    return error;
}

static bool fails(enum faults_call call)
{
    int error = strike(call);

    if (error > 0)
        errno = error;
    return error > 0;
}

/* The same for what returns its error. */
static int error_of(enum faults_call call)
{
    int error = strike(call);

    return error > 0 ? error : 0;
}

/* --- Memory --- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void __real_free(void *block);
int __real_nghttp2_option_new(nghttp2_option **option);
int __real_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
void __wrap_free(void *block);
void __wrap_arena_start(struct arena *arena, void *memory, size_t size);
int __wrap_nghttp2_option_new(nghttp2_option **option);
int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);

static void count_live(long change)
{
    if (scope == FAULTS_TEST)
        return;
    pthread_mutex_lock(&all.lock);
    all.live += change;
    if (scope == FAULTS_CONNECTION)
        all.report.live += change;
    pthread_mutex_unlock(&all.lock);
}

static void *counted(void *block)
{
    if (block)
        count_live(1);
    return block;
}

void *__wrap_malloc(size_t size)
{
    return fails(FAULTS_ALLOCATION) ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(FAULTS_ALLOCATION) ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    void *block;

    if (fails(FAULTS_ALLOCATION))
        return NULL;
    block = __real_realloc(old, size);
    return old ? block : counted(block);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    void *block;

    if (fails(FAULTS_ALLOCATION))
        return NULL;
    block = __real_reallocarray(old, count, size);
    return old ? block : counted(block);
}

void __wrap_free(void *block)
{
    if (block)
        count_live(-1);
    __real_free(block);
}

/* Every block is malloc's, so that it can be refused. */
void __wrap_arena_start(struct arena *arena, void *memory, size_t size)
{
    (void)memory;
    (void)size;
    *arena = (struct arena){0};
}

/* nghttp2 allocates these two past nghttp2_mem. */
int __wrap_nghttp2_option_new(nghttp2_option **option)
{
    return fails(FAULTS_ALLOCATION) ? NGHTTP2_ERR_NOMEM : __real_nghttp2_option_new(option);
}

int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks)
{
    return fails(FAULTS_ALLOCATION) ? NGHTTP2_ERR_NOMEM
                                    : __real_nghttp2_session_callbacks_new(callbacks);
}

__attribute__((constructor)) static void hook_jansson(void)
{
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
}

#if WITH_TLS
/* OpenSSL hands every call on, those for nothing as well. */
static void *openssl_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size > 0 ? __wrap_malloc(size) : NULL;
}

static void openssl_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    __wrap_free(block);
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line)
{
    if (size > 0)
        return __wrap_realloc(old, size);
    openssl_free(old, file, line);
    return NULL;
}

__attribute__((constructor)) static void hook_openssl(void)
{
    assert_int_equal(CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free), 1);
}

/* What OpenSSL keeps for this thread goes: the next connection's is made in its scope. */
static void forget_thread(void)
{
    OPENSSL_thread_stop();
}

/* If the second allocation for a thread fails, OpenSSL 3.6 makes an error of that, for which it
 * allocates all anew, and then forgets these four blocks of the thread's. With older versions these
 * allocations fail in their turn. */
static void prepare_thread(void)
{
    is_spared = OPENSSL_version_major() > 3 || OPENSSL_version_minor() >= 6;
    if (is_spared)
        ERR_clear_error();
    is_spared = false;
}
#else
static void forget_thread(void)
{
}

static void prepare_thread(void)
{
}
#endif

/* --- A connection's bytes --- */

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

/* How much of ${length} bytes a call may move that strike left alive with ${error}. */
static size_t shortened(size_t length, int error)
{
    return error == 0 && length > 1 ? 1 : length;
}

ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags)
{
    int error = strike(FAULTS_RECV);

    if (error > 0) {
        errno = error;
        return -1;
    }
    return __real_recv(fd, buffer, shortened(size, error), flags);
}

static size_t allowed_to_send(size_t length)
{
    size_t most;

    pthread_mutex_lock(&all.lock);
    most = scope == FAULTS_CONNECTION && all.fault ? all.fault->send_at_most : 0;
    pthread_mutex_unlock(&all.lock);
    return most > 0 && length > most ? most : length;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags)
{
    int error = strike(FAULTS_SEND);

    if (error > 0) {
        errno = error;
        return -1;
    }
    return __real_send(fd, bytes, shortened(allowed_to_send(length), error), flags);
}

int __wrap_shutdown(int fd, int how)
{
    return fails(FAULTS_SHUTDOWN) ? -1 : __real_shutdown(fd, how);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    return fails(FAULTS_SETSOCKOPT) ? -1 : __real_setsockopt(fd, level, name, value, length);
}

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    return fails(FAULTS_GETSOCKNAME) ? -1 : __real_getsockname(fd, address, length);
}

int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
    return fails(FAULTS_IOCTL) ? -1 : __real_ioctl(fd, request, argument);
}

static void note_close(int fd, bool was_open)
{
    pthread_mutex_lock(&all.lock);
    if (!was_open)
        all.bad_closes++;
    if (scope == FAULTS_CONNECTION && fd == all.fd)
        all.report.closes++;
    pthread_mutex_unlock(&all.lock);
}

int __wrap_close(int fd)
{
    int result = __real_close(fd);

    note_close(fd, result == 0 || errno != EBADF);
    return fails(FAULTS_CLOSE) ? -1 : result;
}

int __wrap_madvise(void *start, size_t length, int advice)
{
    return fails(FAULTS_MADVISE) ? -1 : __real_madvise(start, length, advice);
}

int __wrap_malloc_trim(size_t pad)
{
    (void)strike(FAULTS_TRIM);
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
    return fails(FAULTS_ACCEPT) ? -1 : __real_accept4(fd, address, length, flags);
}

int __wrap_poll(struct pollfd *polled, nfds_t count, int timeout)
{
    bool is_log = count == 1 && polled[0].fd == STDERR_FILENO;

    if (fails(is_log ? FAULTS_LOG_POLL : FAULTS_POLL))
        return -1;
    if (scope == FAULTS_SERVER && !is_log && (timeout < 0 || timeout > LOOK_MS))
        timeout = LOOK_MS;
    return __real_poll(polled, count, timeout);
}

ssize_t __wrap_read(int fd, void *buffer, size_t size)
{
    return fails(FAULTS_READ) ? -1 : __real_read(fd, buffer, size);
}

int __wrap_signalfd(int fd, const sigset_t *set, int flags)
{
    return fails(FAULTS_SIGNALFD) ? -1 : __real_signalfd(fd, set, flags);
}

int __wrap_eventfd(unsigned int value, int flags)
{
    return fails(FAULTS_EVENTFD) ? -1 : __real_eventfd(value, flags);
}

/* The accept loop's rest takes no time, but lets the others go on for a moment: a drain is over
 * before time has flown by. */
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    static const struct timespec moment = {.tv_nsec = 100000};

    if (scope != FAULTS_SERVER)
        return __real_nanosleep(time, left);
    pthread_mutex_lock(&all.lock);
    all.rests++;
    pthread_mutex_unlock(&all.lock);
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

/* A mapping counts as a block. */
void *__wrap_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    void *region = MAP_FAILED;

    if (!fails(FAULTS_MMAP))
        region = __real_mmap(at, length, protection, flags, fd, offset);
    if (region != MAP_FAILED)
        count_live(1);
    return region;
}

int __wrap_munmap(void *start, size_t length)
{
    count_live(-1);
    return __real_munmap(start, length);
}

int __wrap_mprotect(void *start, size_t length, int protection)
{
    return fails(FAULTS_MPROTECT) ? -1 : __real_mprotect(start, length, protection);
}

int __wrap_pthread_attr_init(pthread_attr_t *attributes)
{
    int error = error_of(FAULTS_THREAD_ATTRIBUTES);

    return error != 0 ? error : __real_pthread_attr_init(attributes);
}

int __wrap_pthread_attr_setstack(pthread_attr_t *attributes, void *stack, size_t size)
{
    int error = error_of(FAULTS_THREAD_ATTRIBUTES);

    return error != 0 ? error : __real_pthread_attr_setstack(attributes, stack, size);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument)
{
    int error = error_of(FAULTS_THREAD);

    return error != 0 ? error : __real_pthread_create(thread, attributes, start, argument);
}

static bool sleep_fails(void)
{
    bool failed;

    scope = FAULTS_WORKER;
    failed = fails(FAULTS_SLEEP);
    scope = FAULTS_OTHER;
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

    pthread_mutex_lock(&all.lock);
    chosen = all.wanted;
    all.wanted = false;
    if (chosen)
        all.fd = fd;
    pthread_mutex_unlock(&all.lock);
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
        forget_thread();
        scope = FAULTS_CONNECTION;
        if (connection->is_tls)
            prepare_thread();
    }
    __real_connection_serve(connection, workspace);
    if (!chosen)
        return;
    forget_thread();
    scope = FAULTS_OTHER;
    pthread_mutex_lock(&all.lock);
    all.report.nodelay = nodelay;
    all.over = true;
    pthread_cond_broadcast(&all.changed);
    pthread_mutex_unlock(&all.lock);
}

/* --- The end of the process --- */

void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));

/* The daemon's way out when a thread of its does not come back. */
void __wrap__exit(int status)
{
    if (scope == FAULTS_SERVER)
        print_error("a thread of the daemon's is stuck: it would have exited with %d\n", status);
    __real__exit(EXIT_FAILURE);
}

/* --- Time --- */

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

static int64_t true_us(void)
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
    (void)strike(FAULTS_CLOCK);
    pthread_mutex_lock(&all.lock);
    us = (all.frozen_us != 0 ? all.frozen_us : true_us()) + all.ahead_us;
    pthread_mutex_unlock(&all.lock);
    *time = (struct timespec){us / SECOND, us % SECOND * 1000};
    return 0;
}

/* --- The log --- */

ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);

static void keep_line(const char *line, size_t length)
{
    struct notes *notes;

    pthread_mutex_lock(&all.lock);
    notes = &all.notes[scope];
    if (length < LOG_MAX - notes->log_length) {
        memcpy(notes->log + notes->log_length, line, length);
        notes->log_length += length;
    }
    pthread_mutex_unlock(&all.lock);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
    if (fd != STDERR_FILENO)
        return __real_write(fd, bytes, length);
    keep_line(bytes, length);
    return fails(FAULTS_LOG_WRITE) ? -1 : (ssize_t)length;
}

/* --- The test's side --- */

/* Called with the lock. */
static void set_fault(const struct fault *fault, size_t n)
{
    all.fault = fault;
    all.left = n;
    all.struck = 0;
}

void faults_arm(enum faults_scope of, const struct fault *fault, size_t n)
{
    pthread_mutex_lock(&all.lock);
    set_fault(fault, n);
    all.scope = of;
    all.wanted = of == FAULTS_CONNECTION;
    all.over = false;
    all.report = (struct faults_report){0};
    memset(&all.notes[of], 0, sizeof(all.notes[of]));
    pthread_mutex_unlock(&all.lock);
}

void faults_change(const struct fault *fault, size_t n)
{
    pthread_mutex_lock(&all.lock);
    set_fault(fault, n);
    pthread_mutex_unlock(&all.lock);
}

bool faults_disarm(void)
{
    bool hit;

    pthread_mutex_lock(&all.lock);
    all.fault = NULL;
    all.wanted = false;
    hit = all.struck > 0;
    pthread_mutex_unlock(&all.lock);
    return hit;
}

bool faults_await_connection(struct faults_report *report)
{
    int patience = faults_timeout_ms();
    struct timespec until;
    bool over;
    int error = 0;

    (void)__real_clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += patience / 1000;
    pthread_mutex_lock(&all.lock);
    while (!all.over && error == 0)
        error = pthread_cond_timedwait(&all.changed, &all.lock, &until);
    over = all.over;
    *report = all.report;
    pthread_mutex_unlock(&all.lock);
    report->hit = faults_disarm();
    return over;
}

void faults_enter(enum faults_scope of)
{
    scope = of;
}

size_t faults_count(enum faults_scope of, enum faults_call call)
{
    size_t count;

    pthread_mutex_lock(&all.lock);
    count = all.notes[of].counts[call];
    pthread_mutex_unlock(&all.lock);
    return count;
}

long faults_live_blocks(void)
{
    long live;

    pthread_mutex_lock(&all.lock);
    live = all.live;
    pthread_mutex_unlock(&all.lock);
    return live;
}

int faults_bad_closes(void)
{
    int count;

    pthread_mutex_lock(&all.lock);
    count = all.bad_closes;
    pthread_mutex_unlock(&all.lock);
    return count;
}

void faults_advance(int64_t us)
{
    pthread_mutex_lock(&all.lock);
    all.ahead_us += us;
    pthread_mutex_unlock(&all.lock);
}

void faults_freeze(bool frozen)
{
    pthread_mutex_lock(&all.lock);
    all.frozen_us = frozen ? true_us() : 0;
    pthread_mutex_unlock(&all.lock);
}

size_t faults_sleeps(void)
{
    size_t rests;

    pthread_mutex_lock(&all.lock);
    rests = all.rests;
    pthread_mutex_unlock(&all.lock);
    return rests;
}

size_t faults_logged(enum faults_scope of, const char *part)
{
    const char *end;
    size_t count = 0;

    pthread_mutex_lock(&all.lock);
    for (const char *line = all.notes[of].log; (end = strchr(line, '\n')) != NULL; line = end + 1)
        if (memmem(line, (size_t)(end - line), part, strlen(part)) != NULL)
            count++;
    pthread_mutex_unlock(&all.lock);
    return count;
}

int faults_timeout_ms(void)
{
    const char *slow = getenv("H2ECHOD_SLOW");

    return (int)(PATIENCE_MS * (slow ? strtod(slow, NULL) : 1));
}
