#include "conn/conn_io.h"

#include <errno.h>
#include <stdio.h>

enum {
    LINGER_US = 1000000, /* how long to wait, after our last byte, for the peer to take it */
    LOOK_UP_US = 500000, /* how often to see if a peer that is slow takes anything */
};

/* --- Telling ------------------------------------------------------------------------------- */

void conn_log(const struct conn_io *io, enum log_level level, const char *text)
{
    char peer[ADDRESS_TEXT_MAX];

    if (log_enabled(level))
        log_write_limited(level, "connection %llu from %s: %s",
                          (unsigned long long)io->connection->id,
                          address_text(peer, &io->connection->peer), text);
}

void conn_log_tls(const struct conn_io *io, const char *what)
{
    char text[LOG_ESCAPE_MAX];

    snprintf(text, sizeof(text), "%s: %s", what, tls_error(io->transport.tls));
    conn_log(io, LOG_LEVEL_NOTICE, text);
}

void conn_io_local_address(const struct conn_io *io, struct address *local)
{
    *local = (struct address){.length = sizeof(local->storage)};
    if (getsockname(io->transport.fd, (struct sockaddr *)&local->storage, &local->length) != 0)
        local->length = 0;
}

/* --- Waiting ------------------------------------------------------------------------------- */

void conn_io_set_deadline(struct conn_io *io, int64_t deadline_us)
{
    atomic_store_explicit(&io->workspace->watch.deadline_us, deadline_us, memory_order_relaxed);
}

enum shutdown_phase conn_io_shutdown_phase(const struct conn_io *io)
{
    return (enum shutdown_phase)atomic_load_explicit(io->workspace->shutdown_phase,
                                                     memory_order_relaxed);
}

void conn_check_events(struct conn_io *io)
{
    enum shutdown_phase stage = conn_io_shutdown_phase(io);

    atomic_store_explicit(&io->workspace->watch.shutdown_phase, stage, memory_order_relaxed);
    if (stage == SHUTDOWN_ABORT) {
        io->ending = ENDING_ABORTED;
        return;
    }
    if (io->session == NULL)
        return;
    if (stage == SHUTDOWN_DRAIN)
        session_shutdown(io->session, io->now);
    if (io->now.monotonic_us >= session_deadline(io->session))
        session_expire(io->session, io->now);
}

/* A read or write failed for good. */
__attribute__((noinline)) static void lose(struct conn_io *io, int error)
{
    io->ending = error == ENOMEM ? ENDING_NO_MEMORY : ENDING_RESET;
    if (error != EPROTO || io->transport.tls == NULL)
        return;
    conn_log_tls(io, "TLS broke");
    io->ending = ENDING_TLS_ERROR;
}

/* --- Moving bytes -------------------------------------------------------------------------- */

/* How a peer takes what it is sent. */
struct progress {
    int64_t deadline_us; /* when it counts as one that takes nothing */
    int untaken;         /* bytes, when that was last set */
    uint64_t handed;     /* as the transport counts */
};

static void begin_progress(struct conn_io *io, struct progress *progress, int untaken)
{
    progress->deadline_us =
        io->now.monotonic_us + clock_us(io->connection->settings->write_timeout);
    progress->untaken = untaken;
    progress->handed = io->transport.bytes_taken;
}

/* The transport knows what found room, and the kernel what the peer took: is it to be waited for?
 * A peer that takes something has its time anew. */
static void judge_progress(struct conn_io *io, struct progress *progress)
{
    int untaken = transport_unacked(&io->transport);

    io->now = clock_now();
    if (conn_io_shutdown_phase(io) == SHUTDOWN_ABORT)
        io->ending = ENDING_ABORTED;
    else if (io->transport.bytes_taken != progress->handed || untaken < progress->untaken)
        begin_progress(io, progress, untaken);
    else if (io->now.monotonic_us >= progress->deadline_us)
        io->ending = ENDING_WRITE_TIMEOUT;
}

/* Send to a peer that takes its time; for as long nothing is read, whatever the peer may have sent.
 */
static void write_slowly(struct conn_io *io, const uint8_t *bytes, size_t length)
{
    struct progress progress;
    int64_t begun_us;

    io->now = clock_now();
    begun_us = io->now.monotonic_us;
    begin_progress(io, &progress, transport_unacked(&io->transport));
    while (length > 0 && io->ending == ENDING_NONE) {
        ssize_t taken;

        conn_io_set_deadline(
            io, clock_earlier(progress.deadline_us, io->now.monotonic_us + LOOK_UP_US));
        taken = transport_write(&io->transport, bytes, length);
        if (taken < 0 && errno != EINTR) {
            lose(io, errno);
            return;
        }
        if (taken > 0) {
            counter_add(&io->workspace->counters.sent, (uint64_t)taken);
            bytes += taken;
            length -= (size_t)taken;
        }
        judge_progress(io, &progress);
    }
    if (io->session != NULL)
        session_shift_timers(io->session, io->now.monotonic_us - begun_us);
}

void conn_io_write(struct conn_io *io, const uint8_t *bytes, size_t length)
{
    ssize_t taken = transport_write_nonblocking(&io->transport, bytes, length);

    if (taken < 0) {
        lose(io, errno);
        return;
    }
    counter_add(&io->workspace->counters.sent, (uint64_t)taken);
    if ((size_t)taken < length)
        write_slowly(io, bytes + taken, length - (size_t)taken);
}

size_t conn_io_read(struct conn_io *io, uint8_t *buffer, size_t size, int64_t deadline_us)
{
    ssize_t length;

    conn_io_set_deadline(io, deadline_us);
    length = transport_read(&io->transport, buffer, size);
    io->now = clock_now();
    if (length > 0) {
        counter_add(&io->workspace->counters.received, (uint64_t)length);
        return (size_t)length;
    }
    if (length == 0)
        io->ending = ENDING_PEER_CLOSED;
    else if (errno != EINTR)
        lose(io, errno);
    return 0;
}

/* --- The end ------------------------------------------------------------------------------- */

/* Read and forget whatever comes, for LINGER_US or until the peer has gone. */
static void read_off(struct conn_io *io)
{
    int64_t deadline = io->now.monotonic_us + LINGER_US;

    while (io->ending == ENDING_NONE && io->now.monotonic_us < deadline &&
           conn_io_shutdown_phase(io) != SHUTDOWN_ABORT)
        conn_io_read(io, io->workspace->input, CONNECTION_BUFFER_SIZE, deadline);
}

static bool peer_has_ended(struct conn_io *io)
{
    struct connection_workspace *workspace = io->workspace;
    ssize_t length =
        transport_read_nonblocking(&io->transport, workspace->input, CONNECTION_BUFFER_SIZE);

    if (length > 0)
        counter_add(&workspace->counters.received, (uint64_t)length);
    return length == 0;
}

void conn_io_linger(struct conn_io *io)
{
    struct progress progress;

    if (peer_has_ended(io) || !transport_shutdown_write(&io->transport))
        return;
    /* It might have to answer what comes, where nothing can be sent any more: new keys, say. */
    transport_drop_tls(&io->transport);
    io->now = clock_now();
    begin_progress(io, &progress, transport_unacked(&io->transport));
    io->ending = ENDING_NONE;
    read_off(io);
    while (io->ending == ENDING_NONE && transport_unacked(&io->transport) > 0) {
        judge_progress(io, &progress);
        read_off(io);
    }
    /* Whatever the peer did once it had all, the connection was done. */
    if (io->ending == ENDING_NONE || io->ending == ENDING_PEER_CLOSED || progress.untaken == 0)
        io->ending = ENDING_COMPLETE;
}
