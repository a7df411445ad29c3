/*
 * Bytes after the preface, in pieces whose size the first byte gives: the session does not crash,
 * and it ends.
 */
#include "base/arena.h"
#include "http2/session.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

static void ignore_report(enum log_level level, int32_t stream_id, const char *text, void *argument)
{
    (void)level;
    (void)stream_id;
    (void)argument;
    if (strlen(text) > LOG_LINE_MAX)
        abort();
}

static void ignore_request(const struct session_request *request, void *argument)
{
    (void)argument;
    if (request->stream_id <= 0)
        abort();
}

static void describe(struct detail_origin *origin, void *argument)
{
    (void)argument;
    *origin = (struct detail_origin){.id = 1, .protocol = "h2c"};
}

static struct session *start(struct counters *counters, struct instant now)
{
    static const struct session_options options = {
        .max_concurrent_streams = 8,
        .max_header_list_size = 2048,
        .header_timeout_us = 10000000,
        .idle_timeout_us = 300000000,
        .stream_timeout_us = 30000000,
    };
    static struct arena arena; /* has no memory, so that AddressSanitizer checks each block */
    static const struct session_memory memory = {&arena, &arena};
    static const struct session_observer observer = {
        .report = ignore_report, .request = ignore_request, .describe = describe};

    return session_new(&options, &observer, counters, &memory, now);
}

static void drain(struct session *session, struct instant now)
{
    uint8_t buffer[1000];

    while (session_send(session, now, buffer, sizeof(buffer)) > 0)
        continue;
}

/* After the bytes there is a drain, and time passes, until the session has to be done. */
static void finish(struct session *session, struct instant now)
{
    session_shutdown(session, now);
    drain(session, now);
    for (int i = 0; i < 8 && !session_done(session); i++) {
        now.monotonic_us += 301000000;
        session_expire(session, now);
        drain(session, now);
    }
    if (!session_done(session))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct counters counters = {0};
    struct instant now = {.monotonic_us = 1000000, .unix_s = 784111777};
    struct session *session = start(&counters, now);
    size_t piece = size > 0 && data[0] != 0 ? data[0] : SIZE_MAX;

    if (session == NULL)
        return 0;
    session_receive(session, now, (const uint8_t *)preface, sizeof(preface) - 1);
    for (size_t at = 1; at < size;) {
        size_t length = size - at < piece ? size - at : piece;
        size_t taken = session_receive(session, now, data + at, length);

        if (taken == 0 || taken > length)
            abort();
        at += taken;
        drain(session, now);
        if (length % 3 == 0)
            session_release_idle_memory(session);
        now.monotonic_us += 1000;
    }
    finish(session, now);
    session_free(session);
    return 0;
}
