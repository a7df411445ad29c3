#include "echo/preferences.h"

#include <string.h>
#include <strings.h>

/* A part of a field's value. */
struct part {
    const uint8_t *bytes;
    size_t length;
};

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static struct part trim(struct part part)
{
    for (; part.length > 0 && is_space(part.bytes[0]); part.length--)
        part.bytes++;
    while (part.length > 0 && is_space(part.bytes[part.length - 1]))
        part.length--;
    return part;
}

/* Where ${separator} stands, but not in quotes, or the end. */
static size_t find(struct part part, char separator)
{
    bool quoted = false;
    size_t at = 0;

    for (; at < part.length; at++) {
        if (quoted && part.bytes[at] == '\\')
            at++;
        else if (part.bytes[at] == '"')
            quoted = !quoted;
        else if (!quoted && part.bytes[at] == (uint8_t)separator)
            return at;
    }
    return part.length;
}

/* Take what stands before the next ${separator} off ${rest}, without the white space around it.
 * Return false if nothing is left. */
static bool next(struct part *rest, char separator, struct part *taken)
{
    size_t length = find(*rest, separator);
    size_t step = length < rest->length ? length + 1 : length;

    if (rest->length == 0)
        return false;
    *taken = trim((struct part){rest->bytes, length});
    rest->bytes += step;
    rest->length -= step;
    return true;
}

static bool is(struct part part, const char *text)
{
    return strlen(text) == part.length && memcmp(part.bytes, text, part.length) == 0;
}

static bool is_ignoring_case(struct part part, const char *text)
{
    return strlen(text) == part.length &&
           strncasecmp((const char *)part.bytes, text, part.length) == 0;
}

/* "q=0", "q=0.0" and so on (RFC 9110 section 12.4.2). */
static bool is_weight_zero(struct part parameter)
{
    if (parameter.length < strlen("q=0") ||
        strncasecmp((const char *)parameter.bytes, "q=0", 3) != 0)
        return false;
    for (size_t i = 3; i < parameter.length; i++) {
        if (parameter.bytes[i] != '0' && parameter.bytes[i] != '.')
            return false;
    }
    return true;
}

static bool range_names(struct part range, const char *type)
{
    struct part part;

    if (!next(&range, ';', &part) || !is_ignoring_case(part, type))
        return false;
    while (next(&range, ';', &part)) {
        if (is_weight_zero(part))
            return false;
    }
    return true;
}

bool accept_names(const uint8_t *value, size_t length, const char *type)
{
    struct part rest = {value, length};
    struct part range;

    while (next(&rest, ',', &range)) {
        if (range_names(range, type))
            return true;
    }
    return false;
}

void priority_parse(const uint8_t *value, size_t length, struct priority *priority)
{
    struct part rest = {value, length};
    struct part member;
    struct part bare;

    while (next(&rest, ',', &member)) {
        if (!next(&member, ';', &bare))
            continue;
        if (bare.length == 3 && memcmp(bare.bytes, "u=", 2) == 0 && bare.bytes[2] >= '0' &&
            bare.bytes[2] <= '7')
            priority->urgency = bare.bytes[2] - '0';
        else if (is(bare, "i") || is(bare, "i=?1"))
            priority->incremental = true;
        else if (is(bare, "i=?0"))
            priority->incremental = false;
    }
}
