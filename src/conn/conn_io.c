#include "conn/conn_io.h"

#include <errno.h>
#include <stdio.h>

enum {
    LINGER_US = 1000000,     /* how long to read on after the last byte was sent */
    WRITE_CHECK_US = 500000, /* how often to check if a slow client reads anything */
};

/* --- Logging ------------------------------------------------------------------------------- */

void conn_log(const struct conn_io *io, enum log_level level, const char *text)
{
    char peer[ADDRESS_TEXT_MAX];

    if (log_enabled(level))
        log_write_limited(level, "connection %llu from %s: %s",
                          (unsigned long long)io->connection->id,
                          address_text(peer, &io->connection->peer), text);
}

void conn_log_stream(const struct conn_io *io, enum log_level level, int32_t stream_id,
                     const char *text)
{
    char peer[ADDRESS_TEXT_MAX];

    if (log_enabled(level))
        log_write_limited(level, "connection %llu from %s stream %d: %s",
                          (unsigned long long)io->connection->id,
                          address_text(peer, &io->connection->peer), stream_id, text);
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

/* --- Deadlines ----------------------------------------------------------------------------- */

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
    enum shutdown_phase phase = conn_io_shutdown_phase(io);

    atomic_store_explicit(&io->workspace->watch.shutdown_phase, phase, memory_order_relaxed);
    if (phase == SHUTDOWN_ABORT) {
        io->ending = ENDING_ABORTED;
        return;
    }
    if (io->session == NULL)
        return;
    if (phase == SHUTDOWN_DRAIN)
        session_shutdown(io->session, io->now);
    if (io->now.monotonic_us >= session_deadline(io->session))
        session_expire(io->session, io->now);
}

/* End the connection after a read or write failed with ${error}. Not inlined, to keep the buffer of
 * conn_log_tls out of the stack frames of the functions that call this. */
__attribute__((noinline)) static void fail_io(struct conn_io *io, int error)
{
    io->ending = error == ENOMEM ? ENDING_NO_MEMORY : ENDING_RESET;
    if (error != EPROTO || io->transport.tls == NULL)
        return;
    conn_log_tls(io, "TLS error");
    io->ending = ENDING_TLS_ERROR;
}

/* --- Reading and writing ------------------------------------------------------------------- */

/* Whether a client that reads slowly reads at all. */
struct write_progress {
    int64_t deadline_us;  /* when the write timeout passes */
    int unacked;          /* transport_unacked when the deadline was set */
    uint64_t bytes_taken; /* the transport's, likewise */
};

static void restart_write_timeout(struct conn_io *io, struct write_progress *progress, int unacked)
{
    progress->deadline_us =
        io->now.monotonic_us + clock_us(io->connection->settings->write_timeout);
    progress->unacked = unacked;
    progress->bytes_taken = io->transport.bytes_taken;
}

/* Restart the write timeout if there is progress: the kernel took bytes, or the client acknowledged
 * some. Otherwise end the connection if the timeout has passed. */
static void check_write_timeout(struct conn_io *io, struct write_progress *progress)
{
    int unacked = transport_unacked(&io->transport);

    io->now = clock_now();
    if (conn_io_shutdown_phase(io) == SHUTDOWN_ABORT)
        io->ending = ENDING_ABORTED;
    else if (io->transport.bytes_taken != progress->bytes_taken || unacked < progress->unacked)
        restart_write_timeout(io, progress, unacked);
    else if (io->now.monotonic_us >= progress->deadline_us)
        io->ending = ENDING_WRITE_TIMEOUT;
}

/* Send to a client that reads slowly. Nothing is read in the meantime, so the session's timeouts,
 * which wait for the client to send something, are extended by the time that this took. */
static void write_blocking(struct conn_io *io, const uint8_t *bytes, size_t length)
{
    struct write_progress progress;
    int64_t started_us;

    io->now = clock_now();
    started_us = io->now.monotonic_us;
    restart_write_timeout(io, &progress, transport_unacked(&io->transport));
    while (length > 0 && conn_is_open(io)) {
        ssize_t taken;

        conn_io_set_deadline(
            io, clock_earlier(progress.deadline_us, io->now.monotonic_us + WRITE_CHECK_US));
        taken = transport_write(&io->transport, bytes, length);
        if (taken < 0 && errno != EINTR) {
            fail_io(io, errno);
            return;
        }
        if (taken > 0) {
            counter_add(&io->workspace->counters.sent, (uint64_t)taken);
            bytes += taken;
            length -= (size_t)taken;
        }
        check_write_timeout(io, &progress);
    }
    if (io->session != NULL)
        session_shift_timers(io->session, io->now.monotonic_us - started_us);
}

void conn_io_write(struct conn_io *io, const uint8_t *bytes, size_t length)
{
    ssize_t taken = transport_write_nonblocking(&io->transport, bytes, length);

    if (taken < 0) {
        fail_io(io, errno);
        return;
    }
    counter_add(&io->workspace->counters.sent, (uint64_t)taken);
    if ((size_t)taken < length)
        write_blocking(io, bytes + taken, length - (size_t)taken);
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
        fail_io(io, errno);
    return 0;
}

/* --- Closing ------------------------------------------------------------------------------- */

/* Read and discard for LINGER_US, or until the client has closed the connection. */
static void discard_input(struct conn_io *io)
{
    int64_t deadline = io->now.monotonic_us + LINGER_US;

    while (conn_is_open(io) && io->now.monotonic_us < deadline &&
           conn_io_shutdown_phase(io) != SHUTDOWN_ABORT)
        conn_io_read(io, io->workspace->input, CONNECTION_BUFFER_SIZE, deadline);
}

static bool has_peer_closed(struct conn_io *io)
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
    struct write_progress progress;

    if (has_peer_closed(io) || !transport_shutdown_write(&io->transport))
        return;
    /* TLS might have to answer what is read now, such as a KeyUpdate, but nothing can be sent. */
    transport_drop_tls(&io->transport);
    io->now = clock_now();
    restart_write_timeout(io, &progress, transport_unacked(&io->transport));
    io->ending = ENDING_NONE;
    discard_input(io);
    while (conn_is_open(io) && transport_unacked(&io->transport) > 0) {
        check_write_timeout(io, &progress);
        discard_input(io);
    }
    /* If the client has received everything, the connection is complete, even if it was reset. */
    if (conn_is_open(io) || io->ending == ENDING_PEER_CLOSED || progress.unacked == 0)
        io->ending = ENDING_COMPLETE;
}
