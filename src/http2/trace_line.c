/*
 * trace_line: puts the lines of a trace together.
 */
#include "http2/trace_internal.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    HEX_MAX = 512,  /* bytes that are shown in hexadecimal */
    TAIL_ROOM = 64, /* bytes of a line that are kept free for what follows a value */
};

void trace_add(struct trace *trace, const char *format, ...)
{
    size_t room = sizeof(trace->line) - trace->line_length;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(trace->line + trace->line_length, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        trace->line_length += size_min((size_t)length, room - 1);
}

size_t trace_room(const struct trace *trace)
{
    size_t taken = trace->line_length + TAIL_ROOM;

    return taken < sizeof(trace->line) ? sizeof(trace->line) - taken : 0;
}

bool trace_add_escaped(struct trace *trace, struct span bytes)
{
    size_t room = trace_room(trace);
    char *end = trace->line + trace->line_length;

    if (room < LOG_ESCAPE_MIN) {
        trace_add(trace, "...");
        return false;
    }
    log_escape(end, room, bytes.bytes, bytes.length);
    trace->line_length += strlen(end);
    return log_escape_size(bytes.bytes, bytes.length) <= room;
}

void trace_add_hex(struct trace *trace, struct span bytes)
{
    for (size_t i = 0; i < bytes.length && i < HEX_MAX; i++)
        trace_add(trace, "%02x", bytes.bytes[i]);
    if (bytes.length > HEX_MAX)
        trace_add(trace, "...");
}

void trace_paint(struct trace *trace, enum trace_colour colour)
{
    if (trace->options.colours)
        trace_add(trace, "\033[1;%dm", (int)colour);
}

void trace_unpaint(struct trace *trace)
{
    if (trace->options.colours)
        trace_add(trace, "\033[0m");
}

enum trace_colour trace_direction_colour(enum trace_direction direction)
{
    return direction == TRACE_RECEIVED ? TRACE_CYAN : TRACE_MAGENTA;
}

void trace_begin_line(struct trace *trace, enum trace_direction direction)
{
    trace->line_length = 0;
    trace_add(trace, "%s ", direction == TRACE_RECEIVED ? "recv" : "send");
}

void trace_end_line(const struct trace *trace)
{
    trace->write_line(trace->line, trace->argument);
}
