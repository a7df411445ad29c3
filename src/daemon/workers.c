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
#define WORKER_STACK_SIZE (256 * 1024) /* of which what is touched counts */
#endif

enum {
    WAKE_SIGNAL = SIGUSR2,
    STACK_SIZE = WORKER_STACK_SIZE,
    ARENA_HEAD = ARENA_SIZE > 0 ? 1936 : 0, /* bytes of it that fit beside the stack's top */
    GUARD_SIZE = 64 * 1024, /* a whole page or more wherever pages are of up to 64 KiB */
    REGION_SIZE = GUARD_SIZE + STACK_SIZE + 2 * ARENA_SIZE + 2 * CONNECTION_BUFFER_SIZE,
    TIDY_AFTER = 100,         /* threads that ended */
    TIDY_SHARE = 20,          /* one part of the time is for it, as a rule */
    TIDY_US = 1000000,        /* and not more often than that */
    TIDY_LATEST_US = 5000000, /* however long it took: it may be that others had the processor */
    IDLE_US = 10000000,       /* creating a thread costs more than ten requests: keep it a while */
};

enum state {
    WAITING,  /* on the stack of those that wait; ends itself after a while */
    RESERVED, /* off it, for the next connection */
    SERVING,
    ENDED, /* or about to: to be joined */
};

struct worker {
    struct workers *workers;
    struct worker *next; /* of all; the owner's alone */
    struct worker *previous;
    struct worker *below; /* on the stack of those that wait, or have ended */
    struct worker *above; /* on the stack of those that wait */
    pthread_t thread;
    sem_t roused;     /* once for a connection, or for the end */
    atomic_int state; /* enum state: SERVING says that the connection is there */
    struct connection connection;
    struct connection_workspace workspace;
    uint8_t *region; /* where this is part of */
};

/* What a request counts lies a cache line or more behind what other threads write here when a
 * connection begins or ends; behind it there is only what is this worker's, too. */
_Static_assert(offsetof(struct worker, workspace.counters) >=
                   offsetof(struct worker, connection) + 64,
               "counting shares a cache line");

enum { WORKER_SIZE = (sizeof(struct worker) + 63) / 64 * 64 };

struct workers {
    struct worker *all; /* the owner's alone, so that watching needs no lock */
    struct worker *reserved;
    struct counters retired; /* of the threads that were joined */
    atomic_int stage;
    int event_fd;
    size_t begun;       /* connections */
    size_t joined;      /* threads, since that last made it untidy */
    bool untidy;        /* malloc may keep much */
    int64_t tidy_at_us; /* not before */

    pthread_mutex_t lock; /* for what follows, and for who waits to be so no more */
    struct worker *waiting;
    struct worker *ended; /* and not joined yet */
    size_t over;          /* connections */
    bool tell;
};

/* Its only use is to end a blocking call with EINTR. */
static void on_wake(int signal_number)
{
    (void)signal_number;
}

/* --- A worker's own thread ----------------------------------------------------------------- */

static void raise_event(const struct workers *workers)
{
    const uint64_t one = 1;
    ssize_t written = write(workers->event_fd, &one, sizeof(one));

    (void)written; /* fails only if so many events are unread that one more says nothing new */
}

static void set_state(struct worker *worker, enum state state)
{
    atomic_store_explicit(&worker->state, state, memory_order_release);
}

static enum state state_of(const struct worker *worker)
{
    return (enum state)atomic_load_explicit(&worker->state, memory_order_acquire);
}

/* This and the next: called with the lock. */
static void push_waiting(struct worker *worker)
{
    struct workers *workers = worker->workers;

    set_state(worker, WAITING);
    worker->above = NULL;
    worker->below = workers->waiting;
    if (worker->below != NULL)
        worker->below->above = worker;
    workers->waiting = worker;
}

static void remove_waiting(struct worker *worker)
{
    *(worker->above != NULL ? &worker->above->below : &worker->workers->waiting) = worker->below;
    if (worker->below != NULL)
        worker->below->above = worker->above;
}

/* Wait for long to be roused. Return whether it was. */
static bool sleep_long(struct worker *worker)
{
    int64_t end_us = clock_now().monotonic_us + IDLE_US;
    struct timespec until = {end_us / 1000000, end_us % 1000000 * 1000};
    int result;

    do
        result = sem_clockwait(&worker->roused, CLOCK_MONOTONIC, &until);
    while (result != 0 && errno == EINTR);
    return result == 0;
}

/* End, unless the owner has other plans by now. */
static bool retire(struct worker *worker)
{
    struct workers *workers = worker->workers;
    bool waits;

    pthread_mutex_lock(&workers->lock);
    waits = state_of(worker) == WAITING;
    if (waits) {
        remove_waiting(worker);
        set_state(worker, ENDED);
        worker->below = workers->ended;
        workers->ended = worker;
    }
    pthread_mutex_unlock(&workers->lock);
    return waits;
}

/* Wait for a connection. Return false if the thread is to end. */
static bool await_connection(struct worker *worker)
{
    if (!sleep_long(worker)) {
        if (retire(worker))
            return false;
        while (sem_wait(&worker->roused) != 0)
            continue; /* a signal; who is reserved will be roused */
    }
    return state_of(worker) == SERVING;
}

static void go_waiting(struct worker *worker)
{
    struct workers *workers = worker->workers;

    pthread_mutex_lock(&workers->lock);
    workers->over++;
    if (workers->tell)
        raise_event(workers);
    push_waiting(worker);
    pthread_mutex_unlock(&workers->lock);
}

static void *run(void *argument)
{
    struct worker *worker = argument;

    while (await_connection(worker)) {
        connection_serve(&worker->connection, &worker->workspace);
        go_waiting(worker);
    }
    raise_event(worker->workers);
    return NULL;
}

/* --- The owner ----------------------------------------------------------------------------- */

struct workers *workers_new(int event_fd)
{
    struct sigaction action = {.sa_handler = on_wake}; /* without SA_RESTART: that is the point */
    struct workers *workers = calloc(1, sizeof(*workers));
    sigset_t wake;

    if (workers == NULL)
        return NULL;
    /* A thread of ours asks malloc for little, and seldom: an arena of malloc's for each would only
     * keep memory, since of the others malloc_trim leaves the end as it is. */
    mallopt(M_ARENA_MAX, 1);
    workers->event_fd = event_fd;
    atomic_init(&workers->stage, SHUTDOWN_NONE);
    pthread_mutex_init(&workers->lock, NULL);
    sigaction(WAKE_SIGNAL, &action, NULL);
    sigemptyset(&wake);
    sigaddset(&wake, WAKE_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &wake, NULL); /* workers alone are woken */
    return workers;
}

/* A thread's memory is mapped in one piece: what is given back is back with the system, page by
 * page while the thread is idle, and whole when it ends. What an idle connection needs is put side
 * by side in it, to lie on few pages:
 *
 *     guard | stack ... frames | struct worker | lasting ... | passing ... | input | output
 */
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

/* Create the thread with every signal blocked but the one that wakes it. The mask is inherited: a
 * mask among the attributes is lost with AddressSanitizer since GCC 14, whose threads begin with
 * their creator's. */
static int create_thread(struct worker *worker, const pthread_attr_t *attributes)
{
    sigset_t mask;
    sigset_t own;
    int error;

    sigfillset(&mask);
    sigdelset(&mask, WAKE_SIGNAL);
    pthread_sigmask(SIG_SETMASK, &mask, &own);
    error = pthread_create(&worker->thread, attributes, run, worker);
    pthread_sigmask(SIG_SETMASK, &own, NULL);
    return error;
}

static int start_thread(struct worker *worker)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);

    if (error != 0)
        return error;
    error = pthread_attr_setstack(&attributes, worker->workspace.stack,
                                  STACK_SIZE - WORKER_SIZE - ARENA_HEAD);
    if (error == 0)
        error = create_thread(worker, &attributes);
    pthread_attr_destroy(&attributes);
    return error;
}

/* Create a worker that is reserved from its first moment. */
static int create(struct workers *workers)
{
    struct worker *worker = map_region();
    int error;

    if (worker == NULL)
        return errno;
    worker->workers = workers;
    atomic_init(&worker->state, RESERVED);
    sem_init(&worker->roused, 0, 0);
    worker->workspace.shutdown_phase = &workers->stage;
    atomic_init(&worker->workspace.watch.deadline_us, INSTANT_NEVER);
    error = start_thread(worker);
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
        set_state(worker, RESERVED);
    }
    pthread_mutex_unlock(&workers->lock);
    workers->reserved = worker;
    return worker != NULL ? 0 : create(workers);
}

void workers_serve(struct workers *workers, const struct connection *connection)
{
    struct worker *worker = workers->reserved;

    workers->reserved = NULL;
    workers->begun++;
    worker->connection = *connection;
    set_state(worker, SERVING);
    sem_post(&worker->roused);
}

size_t workers_serving(struct workers *workers, bool tell)
{
    size_t serving;

    pthread_mutex_lock(&workers->lock);
    workers->tell = tell;
    serving = workers->begun - workers->over;
    pthread_mutex_unlock(&workers->lock);
    return serving;
}

size_t workers_serving_host(struct workers *workers, const struct address *peer)
{
    size_t count = 0;

    for (struct worker *worker = workers->all; worker != NULL; worker = worker->next) {
        if (state_of(worker) == SERVING && address_same_host(&worker->connection.peer, peer))
            count++;
    }
    return count;
}

static void note_overflow(struct workers *workers, struct connection_watch *watch)
{
    if (!atomic_load_explicit(&watch->heap_dirty, memory_order_relaxed))
        return;
    atomic_store_explicit(&watch->heap_dirty, false, memory_order_relaxed);
    workers->untidy = true;
}

void workers_watch(struct workers *workers, int64_t now_us)
{
    int stage = atomic_load_explicit(&workers->stage, memory_order_relaxed);

    for (struct worker *worker = workers->all; worker != NULL; worker = worker->next) {
        struct connection_watch *watch = &worker->workspace.watch;

        if (atomic_load_explicit(&watch->deadline_us, memory_order_relaxed) <= now_us ||
            atomic_load_explicit(&watch->shutdown_phase, memory_order_relaxed) != stage)
            pthread_kill(worker->thread, WAKE_SIGNAL);
        note_overflow(workers, watch);
    }
}

void workers_set_shutdown_phase(struct workers *workers, enum shutdown_phase stage)
{
    atomic_store_explicit(&workers->stage, stage, memory_order_relaxed);
    workers_watch(workers, INT64_MIN);
}

static struct worker *pop_ended(struct workers *workers)
{
    struct worker *worker;

    pthread_mutex_lock(&workers->lock);
    worker = workers->ended;
    if (worker != NULL)
        workers->ended = worker->below;
    pthread_mutex_unlock(&workers->lock);
    return worker;
}

static void join(struct workers *workers, struct worker *worker)
{
    pthread_join(worker->thread, NULL);
    *(worker->previous != NULL ? &worker->previous->next : &workers->all) = worker->next;
    if (worker->next != NULL)
        worker->next->previous = worker->previous;
    counters_sum(&workers->retired, &worker->workspace.counters);
    note_overflow(workers, &worker->workspace.watch);
    sem_destroy(&worker->roused);
    munmap(worker->region, REGION_SIZE); /* and with it the worker */
}

/* Is nobody left but the one that stands ready? */
static bool is_deserted(const struct workers *workers)
{
    return workers->all == NULL ||
           (workers->all == workers->reserved && workers->all->next == NULL);
}

void workers_join(struct workers *workers)
{
    struct worker *worker;

    while ((worker = pop_ended(workers)) != NULL) {
        join(workers, worker);
        workers->joined++;
    }
    if (workers->joined >= TIDY_AFTER || (workers->joined > 0 && is_deserted(workers))) {
        workers->untidy = true;
        workers->joined = 0;
    }
}

int64_t workers_trim_heap_at(const struct workers *workers)
{
    return workers->untidy ? workers->tidy_at_us : INSTANT_NEVER;
}

/* malloc_trim walks all that malloc has, while nobody else can have any: a client must not be able
 * to make that happen more often than is worth it. */
void workers_trim_heap(struct workers *workers, int64_t now_us)
{
    int64_t took_us;

    if (now_us < workers_trim_heap_at(workers))
        return;
    malloc_trim(0);
    took_us = clock_now().monotonic_us - now_us;
    workers->tidy_at_us = now_us + clock_earlier(TIDY_US + TIDY_SHARE * took_us, TIDY_LATEST_US);
    workers->untidy = false;
}

void workers_free(struct workers *workers)
{
    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->lock);
    for (struct worker *worker = workers->all; worker != NULL; worker = worker->next) {
        set_state(worker, ENDED);
        sem_post(&worker->roused);
    }
    pthread_mutex_unlock(&workers->lock);
    while (workers->all != NULL)
        join(workers, workers->all);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}

void workers_count(const struct workers *workers, struct counters *total)
{
    counters_sum(total, &workers->retired);
    for (const struct worker *worker = workers->all; worker != NULL; worker = worker->next)
        counters_sum(total, &worker->workspace.counters);
}
