#include "unit/http2/traced.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

const struct trace_options traced_names_only = {.fields = false};
const struct trace_options traced_with_values = {.fields = true};
const struct trace_options traced_in_colours = {.fields = true, .colours = true};

struct traced_input traced_input;
struct traced traced;

void traced_put(const void *bytes, size_t length)
{
    assert_true(length <= TRACED_INPUT_MAX - traced_input.length);
    if (length > 0)
        memcpy(traced_input.bytes + traced_input.length, bytes, length);
    traced_input.length += length;
}

void traced_put_header(size_t length, int type, int flags, uint32_t stream_id)
{
    const uint8_t header[9] = {(uint8_t)(length >> 16),
                               (uint8_t)(length >> 8),
                               (uint8_t)length,
                               (uint8_t)type,
                               (uint8_t)flags,
                               (uint8_t)(stream_id >> 24),
                               (uint8_t)(stream_id >> 16),
                               (uint8_t)(stream_id >> 8),
                               (uint8_t)stream_id};

    traced_put(header, sizeof(header));
}

void traced_put_frame(int type, int flags, uint32_t stream_id, const void *payload, size_t length)
{
    traced_put_header(length, type, flags, stream_id);
    traced_put(payload, length);
}

void traced_on_line(const char *line, void *argument)
{
    size_t length = strlen(line);

    assert_ptr_equal(argument, &traced);
    assert_true(length < TRACE_LINE_MAX && length + 2 <= TRACED_TEXT_MAX - traced.length);
    for (size_t i = 0; i < length; i++)
        assert_true((line[i] >= 0x20 && line[i] <= 0x7e) ||
                    (line[i] == '\033' && traced.may_have_colours));
    memcpy(traced.text + traced.length, line, length);
    traced.length += length;
    traced.text[traced.length++] = '\n';
    traced.text[traced.length] = '\0';
    traced.count++;
}

struct trace *traced_begin(const struct trace_options *options)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct trace *trace = trace_new(options, traced_on_line, &traced);

    assert_non_null(trace);
    traced.length = traced.count = 0;
    traced.text[0] = '\0';
    traced.may_have_colours = options->colours;
    trace_bytes(trace, TRACE_RECEIVED, (const uint8_t *)preface, LENGTH(preface));
    return trace;
}

/* Each piece has a block of its own, so that AddressSanitizer sees a read past its end. */
void traced_feed(struct trace *trace, enum trace_direction direction, size_t piece)
{
    for (size_t at = 0; at < traced_input.length; at += piece) {
        size_t length = piece < traced_input.length - at ? piece : traced_input.length - at;
        uint8_t *copy = malloc(length);

        assert_non_null(copy);
        memcpy(copy, traced_input.bytes + at, length);
        trace_bytes(trace, direction, copy, length);
        free(copy);
    }
}

void traced_run(const struct trace_options *options, enum trace_direction direction, size_t piece)
{
    struct trace *trace = traced_begin(options);

    traced_feed(trace, direction, piece);
    trace_end(trace);
}

void traced_check_as(const struct trace_options *options, enum trace_direction direction,
                     const char *lines)
{
    static const size_t pieces[] = {TRACED_INPUT_MAX, 1, 2, 5, 9, 10, 1000};

    for (size_t i = 0; i < COUNT(pieces); i++) {
        traced_run(options, direction, pieces[i]);
        assert_string_equal(traced.text, lines);
    }
    traced_input.length = 0;
}

void traced_check(const char *lines)
{
    traced_check_as(&traced_with_values, TRACE_RECEIVED, lines);
}

size_t traced_count(const char *words)
{
    size_t found = 0;

    for (const char *at = traced.text; (at = strstr(at, words)) != NULL; at += strlen(words))
        found++;
    return found;
}
