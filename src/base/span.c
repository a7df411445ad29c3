#include "base/span.h"

struct span span_trim(struct span span)
{
    while (span.length > 0 && span_is_blank(span.bytes[0]))
        span = span_skip(span, 1);
    while (span.length > 0 && span_is_blank(span.bytes[span.length - 1]))
        span.length--;
    return span;
}

struct span span_take_until(struct span *span, uint8_t end)
{
    const uint8_t *at = span->length > 0 ? memchr(span->bytes, end, span->length) : NULL;
    struct span taken = *span;

    if (at != NULL)
        taken.length = (size_t)(at - span->bytes);
    span->bytes += taken.length + (at != NULL);
    span->length -= taken.length + (at != NULL);
    return taken;
}
