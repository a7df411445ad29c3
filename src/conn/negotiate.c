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
static int64_t preface_deadline(const struct life *life)
{
    int64_t header_us = life->accepted_us + clock_us(life->connection->settings->header_timeout);

    if (life_stage(life) == CONNECTION_SERVE)
        return header_us;
    return clock_earlier(header_us, life->accepted_us + NEWCOMER_US);
}

/* Nothing whole came in time. */
static void give_up_preface(struct life *life, const char *complaint)
{
    life->ending = ENDING_SILENT;
    if (life_stage(life) != CONNECTION_SERVE)
        return;
    counter_add(&life->workspace->counters.timed_out, 1);
    life_tell(life, LOG_LEVEL_NOTICE, complaint);
}

/* What has come is not enough. Return false if there will not be more. */
static bool await_more(struct life *life, const char *complaint)
{
    if (life->ending == ENDING_OPEN)
        life_look_up(life);
    if (life->ending == ENDING_OPEN && life->now.monotonic_us >= preface_deadline(life))
        give_up_preface(life, complaint);
    return life->ending == ENDING_OPEN;
}

/* --- TLS ----------------------------------------------------------------------------------- */

/* Wait for the first byte, and tell whether it begins a handshake's record: whoever speaks no TLS
 * is to be told so in words of his own. */
static bool await_tls(struct life *life)
{
    enum { HANDSHAKE = 0x16 };
    uint8_t first;
    ssize_t length;

    for (;;) {
        life_set_deadline(life, preface_deadline(life));
        length = transport_peek(&life->transport, &first);
        life->now = clock_now();
        if (length > 0)
            return first == HANDSHAKE;
        if (length == 0)
            life->ending = ENDING_PEER;
        else if (errno != EINTR)
            life->ending = ENDING_LOST;
        if (!await_more(life, "header-timeout: no whole preface came, nor a TLS handshake"))
            return false;
    }
}

__attribute__((noinline)) static void tell_handshake(const struct life *life)
{
    struct tls_facts facts;
    char sni[LOG_ESCAPE_MAX];
    char client[LOG_ESCAPE_MAX] = "none";
    char text[sizeof(sni) + sizeof(client) + 128];

    tls_describe(life->transport.tls, &facts);
    log_escape(sni, sizeof(sni), facts.sni, strlen(facts.sni));
    if (facts.has_client)
        log_escape(client, sizeof(client), facts.client, strlen(facts.client));
    snprintf(text, sizeof(text), "%s %s, ALPN \"%s\", SNI \"%s\", client's certificate: %s%s",
             facts.version, facts.cipher, facts.alpn, sni, client,
             facts.resumed ? ", resumed" : "");
    life_tell(life, LOG_LEVEL_DEBUG, text);
}

/* No handshake will be. What OpenSSL told the client is to arrive, so that it knows why. */
static void give_up_handshake(struct life *life, int error)
{
    if (error != EPROTO) {
        life->ending = error == ENOMEM ? ENDING_NO_MEMORY : ENDING_LOST;
        return;
    }
    life_tell_tls(life, "no TLS handshake");
    life->ending = ENDING_BROKEN;
}

static void shake_hands(struct life *life)
{
    int result;

    do {
        life_set_deadline(life, preface_deadline(life));
        result = transport_handshake(&life->transport);
        life->now = clock_now();
        if (result == 0)
            life->ending = ENDING_PEER;
        else if (result < 0 && errno != EINTR)
            give_up_handshake(life, errno);
    } while (result != 1 &&
             await_more(life, "header-timeout: no whole preface came, nor the whole of a TLS "
                              "handshake"));
}

/* Of whoever speaks no TLS, the connection stays as it is. */
void opening_tls(struct life *life)
{
    if (!await_tls(life))
        return;
    if (!transport_begin_tls(&life->transport, life->connection->settings->tls)) {
        life->ending = ENDING_NO_MEMORY;
        return;
    }
    shake_hands(life);
    if (life->ending != ENDING_OPEN)
        return;
    life->protocol = "h2";
    if (log_enabled(LOG_LEVEL_DEBUG))
        tell_handshake(life);
}

/* --- The preface --------------------------------------------------------------------------- */

enum preface opening_preface(struct life *life, size_t *length)
{
    uint8_t *input = life->workspace->input;
    enum preface preface;

    *length = 0;
    do {
        *length += life_read(life, input + *length, CONNECTION_BUFFER_SIZE - *length,
                             preface_deadline(life));
        preface = preface_detect(input, *length);
    } while (preface == PREFACE_MORE && await_more(life, "header-timeout: no whole preface came"));
    return preface;
}

void opening_alert(struct life *life)
{
    life_tell(
        life, LOG_LEVEL_NOTICE,
        life->connection->is_tls
            ? "TLS ClientHello within TLS: answered with an alert (RFC 8446 section 6.2)"
            : "TLS ClientHello on a cleartext port: answered with an alert (RFC 8446 section 6.2); "
              "use http://, not https://");
    life_write(life, preface_tls_alert, sizeof(preface_tls_alert));
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

void opening_refuse_http1(struct life *life, size_t length, const struct preface_refusal *refusal)
{
    struct address local;
    char authority[ADDRESS_TEXT_MAX];
    char answer[PREFACE_ANSWER_MAX];
    char path[ADDRESS_PATH_MAX];
    char shown[LOG_ESCAPE_MAX];
    char text[sizeof(shown) + 256];
    struct preface_place place = {.is_tls = life->connection->is_tls};
    size_t answer_length;

    life_local(life, &local);
    snprintf(text, sizeof(text), "HTTP/1.1 request \"%s\" answered with %d: %s",
             log_escape(shown, sizeof(shown), life->workspace->input,
                        line_length(life->workspace->input, length)),
             refusal->status, refusal->words);
    life_tell(life, LOG_LEVEL_NOTICE, text);
    place.authority = address_text(authority, &local);
    place.unix_path = address_unix_path(path, &local);
    answer_length = preface_http1_answer(answer, refusal, life->workspace->input, length, &place);
    life_write(life, (const uint8_t *)answer, answer_length);
}

bool opening_head(struct life *life, struct upgrade *upgrade, size_t *length)
{
    uint8_t *input = life->workspace->input;
    enum upgrade_verdict verdict;

    upgrade_start(upgrade);
    while (
        (verdict = upgrade_read(upgrade, input, *length)) == UPGRADE_MORE &&
        await_more(life, "header-timeout: no whole preface came, nor the whole head of a request"))
        *length += life_read(life, input + *length, CONNECTION_BUFFER_SIZE - *length,
                             preface_deadline(life));
    if (verdict == UPGRADE_REFUSED)
        opening_refuse_http1(life, *length, &upgrade->refusal);
    return verdict == UPGRADE_WHOLE;
}
