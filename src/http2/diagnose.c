#include "http2/diagnose.h"

#include "base/authority.h"
#include "base/structured.h"

#include <string.h>

static bool is(const uint8_t *bytes, size_t length, const char *text)
{
    return strlen(text) == length && memcmp(bytes, text, length) == 0;
}

static bool is_one_of(const uint8_t *bytes, size_t length, const char *const *texts)
{
    for (; *texts != NULL; texts++) {
        if (is(bytes, length, *texts))
            return true;
    }
    return false;
}

static bool has_upper_case(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] >= 'A' && bytes[i] <= 'Z')
            return true;
    }
    return false;
}

static bool is_number(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] < '0' || bytes[i] > '9')
            return false;
    }
    return length > 0;
}

/* Does ${value}, a number, fit into 63 bits? */
static bool is_countable(const uint8_t *value, size_t length)
{
    int64_t number = 0;

    for (size_t i = 0; i < length; i++) {
        int digit = value[i] - '0';

        if (number > (INT64_MAX - digit) / 10)
            return false;
        number = 10 * number + digit;
    }
    return true;
}

static bool is_connection_specific(const uint8_t *name, size_t length)
{
    static const char *const names[] = {"connection",        "keep-alive", "proxy-connection",
                                        "transfer-encoding", "upgrade",    NULL};

    return is_one_of(name, length, names);
}

size_t diagnose_value_length(const uint8_t *name, size_t name_length, const uint8_t *value,
                             size_t value_length)
{
    if (is(name, name_length, "te") || is(name, name_length, "content-length") ||
        is_connection_specific(name, name_length))
        return strnlen((const char *)value, value_length);
    return value_length;
}

static const char *pseudo_rule(const struct diagnose_context *context, const uint8_t *name,
                               size_t name_length, const uint8_t *value, size_t value_length)
{
    static const char *const known[] = {":method", ":scheme", ":path", ":authority", NULL};

    if (context->trailers)
        return "pseudo-header field in trailers (RFC 9113 section 8.1)";
    if (context->after_regular)
        return "pseudo-header field after a regular field (RFC 9113 section 8.3)";
    if (!is_one_of(name, name_length, known))
        return "unknown pseudo-header field (RFC 9113 section 8.3)";
    if (context->repeated)
        return "pseudo-header field repeated (RFC 9113 section 8.3)";
    if (value_length == 0)
        return "empty pseudo-header field (RFC 9113 section 8.3.1)";
    if (is(name, name_length, ":authority") && authority_has_userinfo(value, value_length))
        return "userinfo before the host (RFC 9113 section 8.3.1)";
    return "value not allowed in this pseudo-header field (RFC 9113 section 8.3.1)";
}

static const char *content_length_rule(const struct diagnose_context *context, const uint8_t *value,
                                       size_t value_length)
{
    if (!is_number(value, value_length))
        return "not a number (RFC 9110 section 8.6)";
    if (context->repeated)
        return "content-length repeated (RFC 9110 section 8.6)";
    if (is_countable(value, value_length))
        return "not a number (RFC 9110 section 8.6)"; /* behind it was a NUL */
    return "a number too large to be counted (RFC 9110 section 8.6)";
}

const char *diagnose_field(const struct diagnose_context *context, const uint8_t *name,
                           size_t name_length, const uint8_t *value, size_t value_length)
{
    if (has_upper_case(name, name_length))
        return "upper case in a field name (RFC 9113 section 8.2.1)";
    if (name_length > 0 && name[0] == ':')
        return pseudo_rule(context, name, name_length, value, value_length);
    if (!structured_is_token((struct span){name, name_length}))
        return "byte not allowed in a field name (RFC 9113 section 8.2.1)";
    if (is_connection_specific(name, name_length))
        return "connection-specific field (RFC 9113 section 8.2.2)";
    if (is(name, name_length, "te"))
        return "te with more than \"trailers\" (RFC 9113 section 8.2.2)";
    if (is(name, name_length, "host") && context->repeated)
        return "host repeated (RFC 9110 section 7.2)";
    if (is(name, name_length, "host") && value_length == 0)
        return "empty host (RFC 9110 section 4.2.1)";
    if (is(name, name_length, "host") && authority_has_userinfo(value, value_length))
        return "userinfo before the host (RFC 9110 section 4.2.4)";
    if (is(name, name_length, "content-length"))
        return content_length_rule(context, value, value_length);
    return "byte not allowed in a field value, or white space at its ends (RFC 9113 section 8.2.1)";
}

struct diagnosis diagnose_section(const struct diagnose_presence *section)
{
    if (section->trailers && !section->ends)
        return (struct diagnosis){"trailers",
                                  "a trailer section without END_STREAM (RFC 9113 section 8.1)"};
    if (section->trailers)
        return (struct diagnosis){
            "content-length", "differs from the sum of the DATA frames (RFC 9113 section 8.1.1)"};
    if (!section->method)
        return (struct diagnosis){":method", "missing (RFC 9113 section 8.3.1)"};
    if (section->connect) {
        if (section->scheme)
            return (struct diagnosis){":scheme", "not allowed with CONNECT (RFC 9113 section 8.5)"};
        if (section->path)
            return (struct diagnosis){":path", "not allowed with CONNECT (RFC 9113 section 8.5)"};
        if (!section->authority)
            return (struct diagnosis){":authority",
                                      "missing from a CONNECT (RFC 9113 section 8.5)"};
    } else {
        if (!section->scheme)
            return (struct diagnosis){":scheme", "missing (RFC 9113 section 8.3.1)"};
        if (!section->path)
            return (struct diagnosis){":path", "missing (RFC 9113 section 8.3.1)"};
        if (!section->authority && !section->host)
            return (struct diagnosis){":authority",
                                      "missing, and host as well (RFC 9113 section 8.3.1)"};
    }
    if (section->ends && section->content_length)
        return (struct diagnosis){"content-length",
                                  "announces content, but none comes (RFC 9113 section 8.1.1)"};
    return (struct diagnosis){
        ":path", "neither begins with \"/\" nor is \"*\" with OPTIONS (RFC 9113 section 8.3.1)"};
}

/* --- Streams and connections --------------------------------------------------------------- */

/* Error codes that tell the rule by themselves (RFC 9113 section 7). */
enum {
    FLOW_CONTROL_ERROR = 0x3,
    STREAM_CLOSED = 0x5,
    FRAME_SIZE_ERROR = 0x6,
    REFUSED_STREAM = 0x7,
    COMPRESSION_ERROR = 0x9,
};

#define STREAM_LIMIT " (max-concurrent-streams, RFC 9113 section 5.1.2)"

static const char *rule_of_code(uint32_t error)
{
    switch (error) {
    case FLOW_CONTROL_ERROR:
        return " (RFC 9113 section 6.9.1)";
    case STREAM_CLOSED:
        return " (RFC 9113 section 5.1)";
    case FRAME_SIZE_ERROR:
        return " (RFC 9113 section 4.2)";
    case REFUSED_STREAM:
        return STREAM_LIMIT;
    case COMPRESSION_ERROR:
        return " (RFC 9113 section 4.3)";
    default:
        return "";
    }
}

const char *diagnose_stream(uint32_t error)
{
    enum { NO_ERROR = 0x0 };

    /* The answer was there before the request had ended. */
    return error == NO_ERROR ? " (RFC 9113 section 8.1)" : rule_of_code(error);
}

const char *diagnose_connection(uint32_t error, const char *words, size_t length)
{
    /* The first entry that is part of the debug data counts: errors of any frame come before
     * the names of frames. */
    static const struct {
        const char *words;
        const char *rule;
    } rules[] = {
        {"SETTINGS expected", " (RFC 9113 section 3.4)"},
        {"frame size", " (RFC 9113 section 4.2)"},
        {"non-CONTINUATION", " (RFC 9113 section 4.3)"},
        {"stream closed", " (RFC 9113 section 5.1)"},
        {"half-closed", " (RFC 9113 section 5.1)"},
        {"idle", " (RFC 9113 section 5.1)"},
        {"invalid stream_id", " (RFC 9113 section 5.1.1)"},
        {"max concurrent streams", STREAM_LIMIT},
        {"depend on itself", " (RFC 7540 section 5.3.1)"},
        {"unexpected ACK", " (RFC 9113 section 6.5.3)"},
        {"push disabled", " (RFC 9113 section 8.4)"},
        {"too many", " (RFC 9113 section 10.5)"},
        {"SETTINGS_", " (RFC 9113 section 6.5.2)"},
        {"DATA:", " (RFC 9113 section 6.1)"},
        {"HEADERS:", " (RFC 9113 section 6.2)"},
        {"PRIORITY:", " (RFC 9113 section 6.3)"},
        {"RST_STREAM:", " (RFC 9113 section 6.4)"},
        {"SETTINGS:", " (RFC 9113 section 6.5)"},
        {"PUSH_PROMISE:", " (RFC 9113 section 6.6)"},
        {"PING:", " (RFC 9113 section 6.7)"},
        {"GOAWAY:", " (RFC 9113 section 6.8)"},
        {"WINDOW_UPDATE:", " (RFC 9113 section 6.9)"},
        {"CONTINUATION:", " (RFC 9113 section 6.10)"},
    };

    for (size_t i = 0; length > 0 && i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (memmem(words, length, rules[i].words, strlen(rules[i].words)) != NULL)
            return rules[i].rule;
    }
    return rule_of_code(error);
}
