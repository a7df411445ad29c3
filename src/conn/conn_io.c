#include "conn/conn_io.h"

#include <errno.h>
#include <stdio.h>

enum {
    LINGER_US = 1000000, /* how long to wait, after our last byte, for the peer to take it */
    LOOK_UP_US = 500000, /* how often to see if a peer that is slow takes anything */
};

/* --- Telling ------------------------------------------------------------------------------- */

void life_tell(const struct life *life, enum log_level level, const char *text)
{
    char peer[ADDRESS_TEXT_MAX];

    if (log_enabled(level))
        log_write_peer(level, "connection %llu from %s: %s",
                       (unsigned long long)life->connection->id,
                       address_text(peer, &life->connection->peer), text);
}

void life_tell_tls(const struct life *life, const char *what)
{
    char text[LOG_ESCAPE_MAX];

    snprintf(text, sizeof(text), "%s: %s", what, tls_error(life->transport.tls));
    life_tell(life, LOG_LEVEL_NOTICE, text);
}

void life_local(const struct life *life, struct address *local)
{
    *local = (struct address){.length = sizeof(local->storage)};
    if (getsockname(life->transport.fd, (struct sockaddr *)&local->storage, &local->length) != 0)
        local->length = 0;
}

/* --- Waiting ------------------------------------------------------------------------------- */

void life_set_deadline(struct life *life, int64_t deadline_us)
{
    atomic_store_explicit(&life->workspace->watch.deadline_us, deadline_us, memory_order_relaxed);
}

enum connection_stage life_stage(const struct life *life)
{
    return (enum connection_stage)atomic_load_explicit(life->workspace->stage,
                                                       memory_order_relaxed);
}

void life_look_up(struct life *life)
{
    enum connection_stage stage = life_stage(life);

    atomic_store_explicit(&life->workspace->watch.stage, stage, memory_order_relaxed);
    if (stage == CONNECTION_CUT) {
        life->ending = ENDING_CUT;
        return;
    }
    if (life->session == NULL)
        return;
    if (stage == CONNECTION_DRAIN)
        session_shutdown(life->session, life->now);
    if (life->now.monotonic_us >= session_deadline(life->session))
        session_expire(life->session, life->now);
}

/* A read or write failed for good. */
__attribute__((noinline)) static void lose(struct life *life, int error)
{
    life->ending = error == ENOMEM ? ENDING_NO_MEMORY : ENDING_LOST;
    if (error != EPROTO || life->transport.tls == NULL)
        return;
    life_tell_tls(life, "TLS broke");
    life->ending = ENDING_BROKEN;
}

/* --- Moving bytes -------------------------------------------------------------------------- */

/* How a peer takes what it is sent. */
struct progress {
    int64_t deadline_us; /* when it counts as one that takes nothing */
    int untaken;         /* bytes, when that was last set */
    uint64_t handed;     /* as the transport counts */
};

static void begin_progress(struct life *life, struct progress *progress, int untaken)
{
    progress->deadline_us =
        life->now.monotonic_us + clock_us(life->connection->settings->write_timeout);
    progress->untaken = untaken;
    progress->handed = life->transport.handed;
}

/* The transport knows what found room, and the kernel what the peer took: is it to be waited for?
 * A peer that takes something has its time anew. */
static void judge_progress(struct life *life, struct progress *progress)
{
    int untaken = transport_untaken(&life->transport);

    life->now = clock_now();
    if (life_stage(life) == CONNECTION_CUT)
        life->ending = ENDING_CUT;
    else if (life->transport.handed != progress->handed || untaken < progress->untaken)
        begin_progress(life, progress, untaken);
    else if (life->now.monotonic_us >= progress->deadline_us)
        life->ending = ENDING_STALLED;
}

/* Send to a peer that takes its time; for as long nothing is read, whatever the peer may have sent.
 */
static void write_slowly(struct life *life, const uint8_t *bytes, size_t length)
{
    struct progress progress;
    int64_t begun_us;

    life->now = clock_now();
    begun_us = life->now.monotonic_us;
    begin_progress(life, &progress, transport_untaken(&life->transport));
    while (length > 0 && life->ending == ENDING_OPEN) {
        ssize_t taken;

        life_set_deadline(life,
                          clock_earlier(progress.deadline_us, life->now.monotonic_us + LOOK_UP_US));
        taken = transport_write(&life->transport, bytes, length);
        if (taken < 0 && errno != EINTR) {
            lose(life, errno);
            return;
        }
        if (taken > 0) {
            counter_add(&life->workspace->counters.sent, (uint64_t)taken);
            bytes += taken;
            length -= (size_t)taken;
        }
        judge_progress(life, &progress);
    }
    if (life->session != NULL)
        session_excuse(life->session, life->now.monotonic_us - begun_us);
}

void life_write(struct life *life, const uint8_t *bytes, size_t length)
{
    ssize_t taken = transport_write_now(&life->transport, bytes, length);

    if (taken < 0) {
        lose(life, errno);
        return;
    }
    counter_add(&life->workspace->counters.sent, (uint64_t)taken);
    if ((size_t)taken < length)
        write_slowly(life, bytes + taken, length - (size_t)taken);
}

size_t life_read(struct life *life, uint8_t *buffer, size_t size, int64_t deadline_us)
{
    ssize_t length;

    life_set_deadline(life, deadline_us);
    length = transport_read(&life->transport, buffer, size);
    life->now = clock_now();
    if (length > 0) {
        counter_add(&life->workspace->counters.received, (uint64_t)length);
        return (size_t)length;
    }
    if (length == 0)
        life->ending = ENDING_PEER;
    else if (errno != EINTR)
        lose(life, errno);
    return 0;
}

/* --- The end ------------------------------------------------------------------------------- */

/* Read and forget whatever comes, for LINGER_US or until the peer has gone. */
static void read_off(struct life *life)
{
    int64_t deadline = life->now.monotonic_us + LINGER_US;

    while (life->ending == ENDING_OPEN && life->now.monotonic_us < deadline &&
           life_stage(life) != CONNECTION_CUT)
        life_read(life, life->workspace->input, CONNECTION_BUFFER_SIZE, deadline);
}

static bool peer_has_ended(struct life *life)
{
    struct connection_workspace *workspace = life->workspace;
    ssize_t length = transport_read_now(&life->transport, workspace->input, CONNECTION_BUFFER_SIZE);

    if (length > 0)
        counter_add(&workspace->counters.received, (uint64_t)length);
    return length == 0;
}

void life_linger(struct life *life)
{
    struct progress progress;

    if (peer_has_ended(life) || !transport_end_writing(&life->transport))
        return;
    /* It might have to answer what comes, where nothing can be sent any more: new keys, say. */
    transport_drop_tls(&life->transport);
    life->now = clock_now();
    begin_progress(life, &progress, transport_untaken(&life->transport));
    life->ending = ENDING_OPEN;
    read_off(life);
    while (life->ending == ENDING_OPEN && transport_untaken(&life->transport) > 0) {
        judge_progress(life, &progress);
        read_off(life);
    }
    /* Whatever the peer did once it had all, the connection was done. */
    if (life->ending == ENDING_OPEN || life->ending == ENDING_PEER || progress.untaken == 0)
        life->ending = ENDING_DONE;
}
