/*
 * A request head, as a whole and byte by byte: both give the same result, as early as possible, and
 * the session finds no fault with a head that is accepted.
 */
#include "base/arena.h"
#include "conn/upgrade.h"
#include "http2/session.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void forbid_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    (void)level;
    (void)argument;
    /* The SETTINGS may have an error (RFC 9113 section 6.5.2), the request may not. */
    if (stream_id != 0 || strstr(text, "malformed") != NULL)
        abort();
}

static void note_request(const struct session_request *request, void *argument)
{
    int *status = argument;

    if (request->stream_id != 1 || request->received != 0)
        abort();
    *status = request->status;
}

static void describe(struct detail_origin *origin, void *argument)
{
    (void)argument;
    *origin = (struct detail_origin){.id = 1, .protocol = "h2c by upgrade"};
}

static struct session *start(struct counters *counters, int *status, struct instant now)
{
    static const struct session_options options = {
        .max_concurrent_streams = 8,
        .max_header_list_size = 65536,
        .header_timeout_us = 10000000,
        .idle_timeout_us = 300000000,
        .stream_timeout_us = 30000000,
        .upgraded = true,
    };
    static struct arena arena; /* has no memory, so that AddressSanitizer checks each block */
    static const struct session_memory memory = {&arena, &arena};
    struct session_observer observer = {
        .report = forbid_report, .request = note_request, .describe = describe, .argument = status};

    return session_new(&options, &observer, counters, &memory, now);
}

/* The request is answered, unless there is an error in the client's SETTINGS. */
static void check_answered(const struct upgrade *upgrade)
{
    static uint8_t opening[UPGRADE_HTTP2_MAX];
    struct counters counters = {0};
    struct instant now = {.monotonic_us = 1000000, .unix_s = 784111777};
    size_t length = upgrade_translate(upgrade, opening);
    int status = 0;
    struct session *session = start(&counters, &status, now);
    uint8_t buffer[1000];

    if (session == NULL)
        return;
    if (length > sizeof(opening))
        abort();
    session_upgrade(session, now, opening, length);
    while (session_send(session, now, buffer, sizeof(buffer)) > 0)
        continue;
    if (session_failed(session) && upgrade->settings_length == 0)
        abort();
    session_free(session);
    if (status != 200 && upgrade->settings_length == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct upgrade whole;
    static struct upgrade growing;
    enum upgrade_result result;
    enum upgrade_result step = UPGRADE_INCOMPLETE;
    size_t length;

    upgrade_start(&whole);
    result = upgrade_read(&whole, data, size);
    upgrade_start(&growing);
    for (length = 0; step == UPGRADE_INCOMPLETE && length <= size; length++)
        step = upgrade_read(&growing, data, length);
    if (step != result || growing.refusal.reason != whole.refusal.reason ||
        growing.length != whole.length)
        abort();
    if (result == UPGRADE_INCOMPLETE ? size >= UPGRADE_HEAD_MAX : whole.length > size)
        abort();
    if (result == UPGRADE_COMPLETE)
        check_answered(&whole);
    return 0;
}
