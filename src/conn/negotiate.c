#include "conn/negotiate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    NEWCOMER_US = 500000, /* how long after accept, in a drain, the first bytes are waited for */
};

/* --- Waiting ------------------------------------------------------------------------------- */

/* Until when a preface may be whole. In a drain who has just connected may still ask, since that is
 * under way; but nothing was begun that would have to be answered. */
static int64_t preface_deadline(const struct conn_io *io)
{
    int64_t header_us = io->accepted_us + clock_us(io->connection->settings->header_timeout);

    if (conn_io_shutdown_phase(io) == SHUTDOWN_NONE)
        return header_us;
    return clock_earlier(header_us, io->accepted_us + NEWCOMER_US);
}

/* Nothing whole came in time. */
static void give_up_preface(struct conn_io *io, const char *complaint)
{
    io->ending = ENDING_NO_PREFACE;
    if (conn_io_shutdown_phase(io) != SHUTDOWN_NONE)
        return;
    counter_add(&io->workspace->counters.timed_out, 1);
    conn_log(io, LOG_LEVEL_NOTICE, complaint);
}

/* What has come is not enough. Return false if there will not be more. */
static bool await_more(struct conn_io *io, const char *complaint)
{
    if (io->ending == ENDING_NONE)
        conn_check_events(io);
    if (io->ending == ENDING_NONE && io->now.monotonic_us >= preface_deadline(io))
        give_up_preface(io, complaint);
    return io->ending == ENDING_NONE;
}

/* --- TLS ----------------------------------------------------------------------------------- */

/* Wait for the first byte, and tell whether it begins a handshake's record: whoever speaks no TLS
 * is to be told so in words of his own. */
static bool await_tls(struct conn_io *io)
{
    enum { HANDSHAKE = 0x16 };
    uint8_t first;
    ssize_t length;

    for (;;) {
        conn_io_set_deadline(io, preface_deadline(io));
        length = transport_peek(&io->transport, &first);
        io->now = clock_now();
        if (length > 0)
            return first == HANDSHAKE;
        if (length == 0)
            io->ending = ENDING_PEER_CLOSED;
        else if (errno != EINTR)
            io->ending = ENDING_RESET;
        if (!await_more(io, "header-timeout: no whole preface came, nor a TLS handshake"))
            return false;
    }
}

__attribute__((noinline)) static void tell_handshake(const struct conn_io *io)
{
    struct tls_info facts;
    char sni[LOG_ESCAPE_MAX];
    char client[LOG_ESCAPE_MAX] = "none";
    char text[sizeof(sni) + sizeof(client) + 128];

    tls_describe(io->transport.tls, &facts);
    log_escape(sni, sizeof(sni), facts.sni, strlen(facts.sni));
    if (facts.has_client_certificate)
        log_escape(client, sizeof(client), facts.client_subject, strlen(facts.client_subject));
    snprintf(text, sizeof(text), "%s %s, ALPN \"%s\", SNI \"%s\", client's certificate: %s%s",
             facts.version, facts.cipher, facts.alpn, sni, client,
             facts.resumed ? ", resumed" : "");
    conn_log(io, LOG_LEVEL_DEBUG, text);
}

/* No handshake will be. What OpenSSL told the client is to arrive, so that it knows why. */
static void give_up_handshake(struct conn_io *io, int error)
{
    if (error != EPROTO) {
        io->ending = error == ENOMEM ? ENDING_NO_MEMORY : ENDING_RESET;
        return;
    }
    conn_log_tls(io, "no TLS handshake");
    io->ending = ENDING_TLS_ERROR;
}

static void shake_hands(struct conn_io *io)
{
    int result;

    do {
        conn_io_set_deadline(io, preface_deadline(io));
        result = transport_handshake(&io->transport);
        io->now = clock_now();
        if (result == 0)
            io->ending = ENDING_PEER_CLOSED;
        else if (result < 0 && errno != EINTR)
            give_up_handshake(io, errno);
    } while (result != 1 &&
             await_more(io, "header-timeout: no whole preface came, nor the whole of a TLS "
                            "handshake"));
}

/* Of whoever speaks no TLS, the connection stays as it is. */
void negotiate_tls(struct conn_io *io)
{
    if (!await_tls(io))
        return;
    if (!transport_start_tls(&io->transport, io->connection->settings->tls)) {
        io->ending = ENDING_NO_MEMORY;
        return;
    }
    shake_hands(io);
    if (io->ending != ENDING_NONE)
        return;
    io->protocol = "h2";
    if (log_enabled(LOG_LEVEL_DEBUG))
        tell_handshake(io);
}

/* --- The preface --------------------------------------------------------------------------- */

enum sniffed negotiate_protocol(struct conn_io *io, size_t *length)
{
    uint8_t *input = io->workspace->input;
    enum sniffed preface;

    *length = 0;
    do {
        *length += conn_io_read(io, input + *length, CONNECTION_BUFFER_SIZE - *length,
                                preface_deadline(io));
        preface = sniff_protocol(input, *length);
    } while (preface == SNIFFED_INCOMPLETE &&
             await_more(io, "header-timeout: no whole preface came"));
    return preface;
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

/* How long the first line is, without its end. */
static size_t line_length(const uint8_t *bytes, size_t length)
{
    size_t line = 0;

    while (line < length && bytes[line] != '\r' && bytes[line] != '\n')
        line++;
    return line;
}

void negotiate_refuse_http1(struct conn_io *io, size_t length, const struct http1_refusal *refusal)
{
    struct address local;
    char authority[ADDRESS_TEXT_MAX];
    char answer[HTTP1_ANSWER_MAX];
    char path[ADDRESS_PATH_MAX];
    char shown[LOG_ESCAPE_MAX];
    char text[sizeof(shown) + 256];
    struct http1_endpoint place = {.is_tls = io->connection->is_tls};
    size_t answer_length;

    conn_io_local_address(io, &local);
    snprintf(text, sizeof(text), "HTTP/1.1 request \"%s\" answered with %d: %s",
             log_escape(shown, sizeof(shown), io->workspace->input,
                        line_length(io->workspace->input, length)),
             refusal->status, refusal->reason);
    conn_log(io, LOG_LEVEL_NOTICE, text);
    place.authority = address_text(authority, &local);
    place.unix_path = address_unix_path(path, &local);
    answer_length = http1_answer_write(answer, refusal, io->workspace->input, length, &place);
    conn_io_write(io, (const uint8_t *)answer, answer_length);
}

bool negotiate_read_head(struct conn_io *io, struct upgrade *upgrade, size_t *length)
{
    uint8_t *input = io->workspace->input;
    enum upgrade_result verdict;

    upgrade_start(upgrade);
    while ((verdict = upgrade_read(upgrade, input, *length)) == UPGRADE_INCOMPLETE &&
           await_more(io, "header-timeout: no whole preface came, nor the whole head of a request"))
        *length += conn_io_read(io, input + *length, CONNECTION_BUFFER_SIZE - *length,
                                preface_deadline(io));
    if (verdict == UPGRADE_REFUSED)
        negotiate_refuse_http1(io, *length, &upgrade->refusal);
    return verdict == UPGRADE_COMPLETE;
}
