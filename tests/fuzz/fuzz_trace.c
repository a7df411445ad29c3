/*
 * Both directions of a connection in pieces: the lines are the same whatever the pieces are. They
 * are printable ASCII, not longer than allowed, and not more than there are bytes.
 *
 * The first byte of the input gives the options and the size of the pieces. After it, again and
 * again, a byte gives a direction and a length, and so many bytes follow.
 */
#include "http2/trace.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A digest of the lines, to compare them. */
struct lines {
    bool has_colours;
    uint64_t sum;
    size_t count;
};

static void on_line(const char *line, void *argument)
{
    struct lines *lines = argument;
    size_t length = strlen(line);

    if (length == 0 || length >= TRACE_LINE_MAX)
        abort();
    for (size_t i = 0; i < length; i++) {
        if ((line[i] < 0x20 || line[i] > 0x7e) && (line[i] != '\033' || !lines->has_colours))
            abort();
        lines->sum = lines->sum * 31 + (uint8_t)line[i];
    }
    lines->sum = lines->sum * 31 + '\n';
    lines->count++;
}

/* In a block of that size, so that AddressSanitizer sees a read past its end. */
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
                struct lines *lines)
{
    static const uint8_t preface[24];
    struct trace *trace = trace_new(options, on_line, lines);

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
    struct lines whole;
    struct lines in_pieces;

    if (size == 0)
        return 0;
    options = (struct trace_options){.fields = data[0] & 1, .colours = data[0] & 2};
    whole = in_pieces = (struct lines){.has_colours = options.colours};
    run(&options, data + 1, size - 1, SIZE_MAX, &whole);
    run(&options, data + 1, size - 1, data[0] / 4 % 32 + 1, &in_pieces);
    if (whole.sum != in_pieces.sum || whole.count != in_pieces.count)
        abort();
    if (whole.count > size)
        abort();
    return 0;
}
