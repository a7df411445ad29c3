#include "base/structured.h"

bool structured_is_tchar(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') ||
           (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

bool structured_is_token(struct span span)
{
    for (size_t i = 0; i < span.length; i++) {
        if (!structured_is_tchar(span.bytes[i]))
            return false;
    }
    return span.length > 0;
}

/* Return where the first ${separator} outside of quoted strings stands (RFC 9110 section 5.6.4), or
 * the length of ${span} if there is none. */
static size_t find_separator(struct span span, uint8_t separator)
{
    bool quoted = false;

    for (size_t at = 0; at < span.length; at++) {
        if (quoted && span.bytes[at] == '\\')
            at++;
        else if (span.bytes[at] == '"')
            quoted = !quoted;
        else if (!quoted && span.bytes[at] == separator)
            return at;
    }
    return span.length;
}

static bool next_separated(struct span *rest, uint8_t separator, struct span *part)
{
    size_t length = find_separator(*rest, separator);

    if (rest->length == 0)
        return false;
    *part = span_trim((struct span){rest->bytes, length});
    *rest = span_skip(*rest, length < rest->length ? length + 1 : length);
    return true;
}

bool structured_next_member(struct span *list, struct span *member)
{
    return next_separated(list, ',', member);
}

bool structured_next_part(struct span *member, struct span *part)
{
    return next_separated(member, ';', part);
}
