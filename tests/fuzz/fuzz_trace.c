/*
 * Both directions of a connection in pieces: the same lines come whatever the pieces are, each of
 * printable ASCII and of no more than its size, and no more lines than bytes.
 *
 * The first byte says how long the pieces are and what is wanted; then, again and again, a byte
 * that says which way how many bytes go, and these bytes.
 */
#include "http2/trace.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was told: enough to see that it is the same. */
struct told {
    bool has_colours;
    uint64_t sum;
    size_t count;
};

static void on_line(const char *line, void *argument)
{
    struct told *told = argument;
    size_t length = strlen(line);

    if (length == 0 || length >= TRACE_LINE_MAX)
        abort();
    for (size_t i = 0; i < length; i++) {
        if ((line[i] < 0x20 || line[i] > 0x7e) && (line[i] != '\033' || !told->has_colours))
            abort();
        told->sum = told->sum * 31 + (uint8_t)line[i];
    }
    told->sum = told->sum * 31 + '\n';
    told->count++;
}

/* In memory of that size, so that reading past its end is seen. */
static void feed_piece(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                       size_t length)
{
    uint8_t *copy = malloc(length);

    if (copy == NULL)
        abort();
    memcpy(copy, bytes, length);
    trace_bytes(trace, direction, copy, length);
    free(copy);
}

static void feed(struct trace *trace, enum trace_direction direction, const uint8_t *bytes,
                 size_t length, size_t piece)
{
    for (size_t at = 0; at < length; at += piece)
        feed_piece(trace, direction, bytes + at, piece < length - at ? piece : length - at);
}

static void run(const struct trace_options *options, const uint8_t *data, size_t size, size_t piece,
                struct told *told)
{
    static const uint8_t preface[24];
    struct trace *trace = trace_new(options, on_line, told);

    if (trace == NULL)
        abort();
    feed(trace, TRACE_RECEIVED, preface, sizeof(preface), piece);
    while (size > 0) {
        enum trace_direction direction = data[0] % 2 == 0 ? TRACE_RECEIVED : TRACE_SENT;
        size_t length = (size_t)data[0] / 2 * 8 + 1;

        data++;
        size--;
        if (length > size)
            length = size;
        feed(trace, direction, data, length, piece);
        data += length;
        size -= length;
    }
    trace_end(trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace_options options;
    struct told whole;
    struct told in_pieces;

    if (size == 0)
        return 0;
    options = (struct trace_options){.fields = data[0] & 1, .colours = data[0] & 2};
    whole = in_pieces = (struct told){.has_colours = options.colours};
    run(&options, data + 1, size - 1, SIZE_MAX, &whole);
    run(&options, data + 1, size - 1, data[0] / 4 % 32 + 1, &in_pieces);
    if (whole.sum != in_pieces.sum || whole.count != in_pieces.count)
        abort();
    if (whole.count > size)
        abort();
    return 0;
}
