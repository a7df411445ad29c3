#include "conn/negotiate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    DRAIN_PREFACE_US = 500000, /* during a drain: how long after accept to wait for a preface */
};

/* --- The header timeout -------------------------------------------------------------------- */

/* Return when the preface must be complete. A client that connected just before a drain may still
 * send a request; after that short time the connection can be closed, since no request has begun.
 */
static int64_t negotiation_deadline(const struct conn_io *io)
{
    int64_t header_us = io->accepted_us + clock_us(io->connection->settings->header_timeout);

    if (conn_io_shutdown_phase(io) == SHUTDOWN_NONE)
        return header_us;
    return clock_earlier(header_us, io->accepted_us + DRAIN_PREFACE_US);
}

static void end_at_deadline(struct conn_io *io, const char *message)
{
    io->ending = ENDING_NO_PREFACE;
    if (conn_io_shutdown_phase(io) != SHUTDOWN_NONE)
        return;
    counter_add(&io->workspace->counters.timed_out, 1);
    conn_log(io, LOG_LEVEL_NOTICE, message);
}

/* After a read that did not bring enough: return true to read again, false if the connection has
 * ended. ${message} is logged if that is because of the header timeout. */
static bool may_read_on(struct conn_io *io, const char *message)
{
    if (conn_is_open(io))
        conn_check_events(io);
    if (conn_is_open(io) && io->now.monotonic_us >= negotiation_deadline(io))
        end_at_deadline(io, message);
    return conn_is_open(io);
}

/* --- TLS ----------------------------------------------------------------------------------- */

/* Wait for the first byte. Return true if it starts a TLS handshake. The byte is not removed from
 * the socket: a client that speaks another protocol is to get an answer in that protocol. */
static bool await_client_hello(struct conn_io *io)
{
    enum { RECORD_HANDSHAKE = 0x16 };
    uint8_t first;
    ssize_t length;

    for (;;) {
        conn_io_set_deadline(io, negotiation_deadline(io));
        length = transport_peek(&io->transport, &first);
        io->now = clock_now();
        if (length > 0)
            return first == RECORD_HANDSHAKE;
        if (length == 0)
            io->ending = ENDING_PEER_CLOSED;
        else if (errno != EINTR)
            io->ending = ENDING_RESET;
        if (!may_read_on(io, "header-timeout: no TLS handshake"))
            return false;
    }
}

/* Not inlined: its buffers would enlarge the stack of every connection. */
__attribute__((noinline)) static void log_handshake(const struct conn_io *io)
{
    struct tls_info info;
    char sni[LOG_ESCAPE_MAX];
    char client[LOG_ESCAPE_MAX] = "none";
    char text[sizeof(sni) + sizeof(client) + 128];

    tls_describe(io->transport.tls, &info);
    log_escape(sni, sizeof(sni), info.sni, strlen(info.sni));
    if (info.has_client_certificate)
        log_escape(client, sizeof(client), info.client_subject, strlen(info.client_subject));
    snprintf(text, sizeof(text), "%s %s, ALPN \"%s\", SNI \"%s\", client certificate: %s%s",
             info.version, info.cipher, info.alpn, sni, client, info.resumed ? ", resumed" : "");
    conn_log(io, LOG_LEVEL_DEBUG, text);
}

/* With ENDING_TLS_ERROR the connection lingers, so that OpenSSL's alert reaches the client. */
static void fail_handshake(struct conn_io *io, int error)
{
    if (error != EPROTO) {
        io->ending = error == ENOMEM ? ENDING_NO_MEMORY : ENDING_RESET;
        return;
    }
    conn_log_tls(io, "TLS handshake failed");
    io->ending = ENDING_TLS_ERROR;
}

static void do_handshake(struct conn_io *io)
{
    int result;

    do {
        conn_io_set_deadline(io, negotiation_deadline(io));
        result = transport_handshake(&io->transport);
        io->now = clock_now();
        if (result == 0)
            io->ending = ENDING_PEER_CLOSED;
        else if (result < 0 && errno != EINTR)
            fail_handshake(io, errno);
    } while (result != 1 && may_read_on(io, "header-timeout: incomplete TLS handshake"));
}

void negotiate_tls(struct conn_io *io)
{
    if (!await_client_hello(io))
        return;
    if (!transport_start_tls(&io->transport, io->connection->settings->tls)) {
        io->ending = ENDING_NO_MEMORY;
        return;
    }
    do_handshake(io);
    if (!conn_is_open(io))
        return;
    io->protocol = "h2";
    if (log_enabled(LOG_LEVEL_DEBUG))
        log_handshake(io);
}

/* --- The first bytes ----------------------------------------------------------------------- */

enum sniffed negotiate_protocol(struct conn_io *io, size_t *length)
{
    uint8_t *input = io->workspace->input;
    enum sniffed protocol;

    *length = 0;
    do {
        *length += conn_io_read(io, input + *length, CONNECTION_BUFFER_SIZE - *length,
                                negotiation_deadline(io));
        protocol = sniff_protocol(input, *length);
    } while (protocol == SNIFFED_INCOMPLETE &&
             may_read_on(io, "header-timeout: no complete preface"));
    return protocol;
}

void negotiate_send_tls_alert(struct conn_io *io)
{
    conn_log(
        io, LOG_LEVEL_NOTICE,
        io->connection->is_tls
            ? "TLS ClientHello within TLS: answered with an alert (RFC 8446 section 6.2)"
            : "TLS ClientHello on a cleartext port: answered with an alert (RFC 8446 section 6.2); "
              "use http://, not https://");
    conn_io_write(io, sniff_tls_alert, sizeof(sniff_tls_alert));
}

/* --- HTTP/1.1 ------------------------------------------------------------------------------ */

/* Return the length of the first line, without CR LF. */
static size_t first_line_length(const uint8_t *bytes, size_t length)
{
    size_t line = 0;

    while (line < length && bytes[line] != '\r' && bytes[line] != '\n')
        line++;
    return line;
}

static void log_refusal(struct conn_io *io, size_t length, const struct http1_refusal *refusal)
{
    char line[LOG_ESCAPE_MAX];
    char text[sizeof(line) + 256];

    snprintf(text, sizeof(text), "HTTP/1.1 request \"%s\" answered with %d: %s",
             log_escape(line, sizeof(line), io->workspace->input,
                        first_line_length(io->workspace->input, length)),
             refusal->status, refusal->reason);
    conn_log(io, LOG_LEVEL_NOTICE, text);
}

void negotiate_refuse_http1(struct conn_io *io, size_t length, const struct http1_refusal *refusal)
{
    struct address local;
    char authority[ADDRESS_TEXT_MAX];
    char answer[HTTP1_ANSWER_MAX];
    char path[ADDRESS_PATH_MAX];
    struct http1_endpoint endpoint = {.is_tls = io->connection->is_tls};
    size_t answer_length;

    log_refusal(io, length, refusal);
    conn_io_local_address(io, &local);
    endpoint.authority = address_text(authority, &local);
    endpoint.unix_path = address_unix_path(path, &local);
    answer_length =
        http1_answer_write(answer, refusal, (struct span){io->workspace->input, length}, &endpoint);
    conn_io_write(io, (const uint8_t *)answer, answer_length);
}

bool negotiate_read_head(struct conn_io *io, struct upgrade *upgrade, size_t *length)
{
    uint8_t *input = io->workspace->input;
    enum upgrade_result result;

    upgrade_start(upgrade);
    while ((result = upgrade_read(upgrade, input, *length)) == UPGRADE_INCOMPLETE &&
           may_read_on(io, "header-timeout: incomplete request head"))
        *length += conn_io_read(io, input + *length, CONNECTION_BUFFER_SIZE - *length,
                                negotiation_deadline(io));
    if (result == UPGRADE_REFUSED)
        negotiate_refuse_http1(io, *length, &upgrade->refusal);
    return result == UPGRADE_COMPLETE;
}
