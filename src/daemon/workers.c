#include "daemon/workers.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef WORKER_STACK_SIZE
#define WORKER_STACK_SIZE (256 * 1024) /* only the pages that are used take memory */
#endif

enum {
    WAKE_SIGNAL = SIGUSR2,
    STACK_SIZE = WORKER_STACK_SIZE,
    ARENA_HEAD = ARENA_SIZE > 0 ? 1936 : 0, /* bytes of the first arena on the stack's top page */
    GUARD_SIZE = 64 * 1024,                 /* at least one page, as pages have up to 64 KiB */
    REGION_SIZE = GUARD_SIZE + STACK_SIZE + 2 * ARENA_SIZE + 2 * CONNECTION_BUFFER_SIZE,
    IDLE_MAX_US = 10000000, /* creating a thread costs as much as ten requests: keep it a while */
    TRIM_AFTER = 100,       /* threads that have ended */
    TRIM_SHARE = 20,        /* trimming takes at most one part in so many of the time */
    TRIM_INTERVAL_US = 1000000,     /* at least, and with TRIM_SHARE */
    TRIM_INTERVAL_MAX_US = 5000000, /* at most, since a busy processor makes a trim look slow */
};

enum worker_state {
    WORKER_WAITING,  /* on the stack of waiting workers; its thread exits after IDLE_MAX_US */
    WORKER_RESERVED, /* no longer on it: kept for the next connection */
    WORKER_SERVING,
    WORKER_ENDED, /* its thread has ended or is about to, and has to be joined */
};

struct worker {
    struct workers *workers;
    struct worker *next; /* in the list of all; used by the owner alone */
    struct worker *previous;
    struct worker *stack_next;     /* on the stack of waiting or of ended workers */
    struct worker *stack_previous; /* on the stack of waiting workers */
    pthread_t thread;
    sem_t wakeup;     /* posted once for each connection, and for the end */
    atomic_int state; /* enum worker_state; storing WORKER_SERVING hands over the connection */
    struct connection connection;
    struct connection_workspace workspace;
    uint8_t *region; /* the mapping that contains this struct */
};

/* The counters change with every request. They must not share a cache line with what other threads
 * write when a connection begins or ends; what follows them belongs to this worker too. */
_Static_assert(offsetof(struct worker, workspace.counters) >=
                   offsetof(struct worker, connection) + 64,
               "counting shares a cache line");

enum { WORKER_SIZE = (sizeof(struct worker) + 63) / 64 * 64 };

struct workers {
    struct worker *all; /* used by the owner alone, so that workers_watch needs no lock */
    struct worker *reserved;
    struct counters joined_counters; /* of the workers that were joined */
    atomic_int shutdown_phase;
    int event_fd;
    size_t started;     /* connections */
    size_t joined;      /* threads, since heap_dirty was last set for them */
    bool heap_dirty;    /* malloc may keep much memory that was freed */
    int64_t trim_at_us; /* no trim before this time */

    pthread_mutex_t lock; /* for the fields below, and for a worker that leaves the waiting stack */
    struct worker *waiting;
    struct worker *ended; /* not joined yet */
    size_t finished;      /* connections */
    bool notify_finished; /* write to event_fd when a connection finishes */
};

/* The signal is sent only to end a blocking call with EINTR. */
static void on_wake_signal(int signal_number)
{
    (void)signal_number;
}

/* --- Called by a worker's thread -------------------------------------------------------------- */

static void notify_owner(const struct workers *workers)
{
    const uint64_t one = 1;
    ssize_t written = write(workers->event_fd, &one, sizeof(one));

    (void)written; /* fails only if the counter is full, and then event_fd is readable anyway */
}

static void worker_set_state(struct worker *worker, enum worker_state state)
{
    atomic_store_explicit(&worker->state, state, memory_order_release);
}

static enum worker_state worker_get_state(const struct worker *worker)
{
    return (enum worker_state)atomic_load_explicit(&worker->state, memory_order_acquire);
}

/* Call it with the lock. */
static void push_waiting(struct worker *worker)
{
    struct workers *workers = worker->workers;

    worker_set_state(worker, WORKER_WAITING);
    worker->stack_previous = NULL;
    worker->stack_next = workers->waiting;
    if (worker->stack_next != NULL)
        worker->stack_next->stack_previous = worker;
    workers->waiting = worker;
}

/* Call it with the lock. */
static void remove_waiting(struct worker *worker)
{
    *(worker->stack_previous != NULL ? &worker->stack_previous->stack_next
                                     : &worker->workers->waiting) = worker->stack_next;
    if (worker->stack_next != NULL)
        worker->stack_next->stack_previous = worker->stack_previous;
}

/* Wait for a post of wakeup. Return false if there was none for IDLE_MAX_US. */
static bool wait_for_wakeup(struct worker *worker)
{
    int64_t end_us = clock_now().monotonic_us + IDLE_MAX_US;
    struct timespec until = {end_us / 1000000, end_us % 1000000 * 1000};
    int result;

    do
        result = sem_clockwait(&worker->wakeup, CLOCK_MONOTONIC, &until);
    while (result != 0 && errno == EINTR);
    return result == 0;
}

/* Let the thread end, unless the owner has reserved it meanwhile. Return whether it ends. */
static bool exit_if_idle(struct worker *worker)
{
    struct workers *workers = worker->workers;
    bool is_waiting;

    pthread_mutex_lock(&workers->lock);
    is_waiting = worker_get_state(worker) == WORKER_WAITING;
    if (is_waiting) {
        remove_waiting(worker);
        worker_set_state(worker, WORKER_ENDED);
        worker->stack_next = workers->ended;
        workers->ended = worker;
    }
    pthread_mutex_unlock(&workers->lock);
    return is_waiting;
}

/* Wait for a connection. Return false if the thread is to end. */
static bool wait_for_connection(struct worker *worker)
{
    if (!wait_for_wakeup(worker)) {
        if (exit_if_idle(worker))
            return false;
        while (sem_wait(&worker->wakeup) != 0)
            continue; /* EINTR; a reserved worker is sure to get a post */
    }
    return worker_get_state(worker) == WORKER_SERVING;
}

static void finish_connection(struct worker *worker)
{
    struct workers *workers = worker->workers;

    pthread_mutex_lock(&workers->lock);
    workers->finished++;
    if (workers->notify_finished)
        notify_owner(workers);
    push_waiting(worker);
    pthread_mutex_unlock(&workers->lock);
}

static void *worker_run(void *argument)
{
    struct worker *worker = argument;

    while (wait_for_connection(worker)) {
        connection_serve(&worker->connection, &worker->workspace);
        finish_connection(worker);
    }
    notify_owner(worker->workers);
    return NULL;
}

/* --- Called by the owner --------------------------------------------------------------------- */

struct workers *workers_new(int event_fd)
{
    /* Without SA_RESTART, so that calls fail with EINTR. */
    struct sigaction action = {.sa_handler = on_wake_signal};
    struct workers *workers = calloc(1, sizeof(*workers));
    sigset_t wake;

    if (workers == NULL)
        return NULL;
    /* One heap is enough, since the threads seldom use malloc; and malloc_trim does not shrink the
     * end of any heap but the first, so that further ones would keep memory. */
    mallopt(M_ARENA_MAX, 1);
    workers->event_fd = event_fd;
    atomic_init(&workers->shutdown_phase, SHUTDOWN_NONE);
    pthread_mutex_init(&workers->lock, NULL);
    sigaction(WAKE_SIGNAL, &action, NULL);
    sigemptyset(&wake);
    sigaddset(&wake, WAKE_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &wake, NULL); /* only workers receive it */
    return workers;
}

/* Map the memory of a worker, in one piece:
 *
 *     guard | stack ... frames | struct worker | lasting ... | passing ... | input | output
 *
 * What an idle connection needs is in the middle, on few pages. The other pages are returned to the
 * system while the connection is idle, and all of them when the thread has ended. Return NULL with
 * errno if that fails. */
static struct worker *map_region(void)
{
    uint8_t *region = mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    uint8_t *arena;
    struct worker *worker;
    int error;

    if (region == MAP_FAILED)
        return NULL;
    if (mprotect(region, GUARD_SIZE, PROT_NONE) != 0) {
        error = errno;
        munmap(region, REGION_SIZE);
        errno = error;
        return NULL;
    }
    arena = region + GUARD_SIZE + STACK_SIZE - ARENA_HEAD;
    worker = (struct worker *)(void *)(arena - WORKER_SIZE);
    worker->region = region;
    worker->workspace.stack = region + GUARD_SIZE;
    arena_start(&worker->workspace.lasting, arena, ARENA_HEAD + ARENA_SIZE);
    arena += ARENA_HEAD + ARENA_SIZE;
    arena_start(&worker->workspace.passing, arena, ARENA_SIZE);
    worker->workspace.input = arena + ARENA_SIZE;
    worker->workspace.output = worker->workspace.input + CONNECTION_BUFFER_SIZE;
    return worker;
}

/* Create the thread with all signals blocked except WAKE_SIGNAL. It inherits the mask of its
 * creator: pthread_attr_setsigmask_np has no effect with the AddressSanitizer of GCC 14 and later.
 */
static int create_worker_thread(struct worker *worker, const pthread_attr_t *attributes)
{
    sigset_t mask;
    sigset_t previous_mask;
    int error;

    sigfillset(&mask);
    sigdelset(&mask, WAKE_SIGNAL);
    pthread_sigmask(SIG_SETMASK, &mask, &previous_mask);
    error = pthread_create(&worker->thread, attributes, worker_run, worker);
    pthread_sigmask(SIG_SETMASK, &previous_mask, NULL);
    return error;
}

static int start_worker_thread(struct worker *worker)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);

    if (error != 0)
        return error;
    error = pthread_attr_setstack(&attributes, worker->workspace.stack,
                                  STACK_SIZE - WORKER_SIZE - ARENA_HEAD);
    if (error == 0)
        error = create_worker_thread(worker, &attributes);
    pthread_attr_destroy(&attributes);
    return error;
}

/* Create a worker, and reserve it. Return 0, or an errno value. */
static int create_worker(struct workers *workers)
{
    struct worker *worker = map_region();
    int error;

    if (worker == NULL)
        return errno;
    worker->workers = workers;
    atomic_init(&worker->state, WORKER_RESERVED);
    sem_init(&worker->wakeup, 0, 0);
    worker->workspace.shutdown_phase = &workers->shutdown_phase;
    atomic_init(&worker->workspace.watch.deadline_us, INSTANT_NEVER);
    error = start_worker_thread(worker);
    if (error != 0) {
        munmap(worker->region, REGION_SIZE);
        return error;
    }
    worker->next = workers->all;
    if (worker->next != NULL)
        worker->next->previous = worker;
    workers->all = worker;
    workers->reserved = worker;
    return 0;
}

int workers_reserve(struct workers *workers)
{
    struct worker *worker;

    if (workers->reserved != NULL)
        return 0;
    pthread_mutex_lock(&workers->lock);
    worker = workers->waiting;
    if (worker != NULL) {
        remove_waiting(worker);
        worker_set_state(worker, WORKER_RESERVED);
    }
    pthread_mutex_unlock(&workers->lock);
    workers->reserved = worker;
    return worker != NULL ? 0 : create_worker(workers);
}

void workers_serve(struct workers *workers, const struct connection *connection)
{
    struct worker *worker = workers->reserved;

    workers->reserved = NULL;
    workers->started++;
    worker->connection = *connection;
    worker_set_state(worker, WORKER_SERVING);
    sem_post(&worker->wakeup);
}

size_t workers_serving(struct workers *workers, bool notify_finished)
{
    size_t serving;

    pthread_mutex_lock(&workers->lock);
    workers->notify_finished = notify_finished;
    serving = workers->started - workers->finished;
    pthread_mutex_unlock(&workers->lock);
    return serving;
}

size_t workers_serving_host(struct workers *workers, const struct address *peer)
{
    size_t count = 0;

    for (struct worker *worker = workers->all; worker != NULL; worker = worker->next) {
        if (worker_get_state(worker) == WORKER_SERVING &&
            address_same_host(&worker->connection.peer, peer))
            count++;
    }
    return count;
}

/* Take over the flag by which a connection says that it freed much memory. */
static void note_heap_dirty(struct workers *workers, struct connection_watch *watch)
{
    if (!atomic_load_explicit(&watch->heap_dirty, memory_order_relaxed))
        return;
    atomic_store_explicit(&watch->heap_dirty, false, memory_order_relaxed);
    workers->heap_dirty = true;
}

void workers_watch(struct workers *workers, int64_t now_us)
{
    int shutdown_phase = atomic_load_explicit(&workers->shutdown_phase, memory_order_relaxed);

    for (struct worker *worker = workers->all; worker != NULL; worker = worker->next) {
        struct connection_watch *watch = &worker->workspace.watch;

        if (atomic_load_explicit(&watch->deadline_us, memory_order_relaxed) <= now_us ||
            atomic_load_explicit(&watch->shutdown_phase, memory_order_relaxed) != shutdown_phase)
            pthread_kill(worker->thread, WAKE_SIGNAL);
        note_heap_dirty(workers, watch);
    }
}

void workers_set_shutdown_phase(struct workers *workers, enum shutdown_phase shutdown_phase)
{
    atomic_store_explicit(&workers->shutdown_phase, shutdown_phase, memory_order_relaxed);
    workers_watch(workers, INT64_MIN);
}

static struct worker *pop_ended(struct workers *workers)
{
    struct worker *worker;

    pthread_mutex_lock(&workers->lock);
    worker = workers->ended;
    if (worker != NULL)
        workers->ended = worker->stack_next;
    pthread_mutex_unlock(&workers->lock);
    return worker;
}

static void join_worker(struct workers *workers, struct worker *worker)
{
    pthread_join(worker->thread, NULL);
    *(worker->previous != NULL ? &worker->previous->next : &workers->all) = worker->next;
    if (worker->next != NULL)
        worker->next->previous = worker->previous;
    counters_sum(&workers->joined_counters, &worker->workspace.counters);
    note_heap_dirty(workers, &worker->workspace.watch);
    sem_destroy(&worker->wakeup);
    munmap(worker->region, REGION_SIZE); /* which contains *worker */
}

/* Return whether there is no worker, or only the reserved one. */
static bool has_only_reserved(const struct workers *workers)
{
    return workers->all == NULL ||
           (workers->all == workers->reserved && workers->all->next == NULL);
}

void workers_join(struct workers *workers)
{
    struct worker *worker;

    while ((worker = pop_ended(workers)) != NULL) {
        join_worker(workers, worker);
        workers->joined++;
    }
    if (workers->joined >= TRIM_AFTER || (workers->joined > 0 && has_only_reserved(workers))) {
        workers->heap_dirty = true;
        workers->joined = 0;
    }
}

int64_t workers_trim_heap_at(const struct workers *workers)
{
    return workers->heap_dirty ? workers->trim_at_us : INSTANT_NEVER;
}

/* malloc_trim goes through the whole heap, and blocks every thread that calls malloc meanwhile. The
 * interval limits how much of that clients can cause. */
void workers_trim_heap(struct workers *workers, int64_t now_us)
{
    int64_t took_us;

    if (now_us < workers_trim_heap_at(workers))
        return;
    malloc_trim(0);
    took_us = clock_now().monotonic_us - now_us;
    workers->trim_at_us =
        now_us + clock_earlier(TRIM_INTERVAL_US + TRIM_SHARE * took_us, TRIM_INTERVAL_MAX_US);
    workers->heap_dirty = false;
}

void workers_free(struct workers *workers)
{
    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->lock);
    for (struct worker *worker = workers->all; worker != NULL; worker = worker->next) {
        worker_set_state(worker, WORKER_ENDED);
        sem_post(&worker->wakeup);
    }
    pthread_mutex_unlock(&workers->lock);
    while (workers->all != NULL)
        join_worker(workers, workers->all);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}

void workers_sum_counters(const struct workers *workers, struct counters *total)
{
    counters_sum(total, &workers->joined_counters);
    for (const struct worker *worker = workers->all; worker != NULL; worker = worker->next)
        counters_sum(total, &worker->workspace.counters);
}
