#include "http2/diagnose.h"

#include "base/authority.h"
#include "base/structured.h"
#include "base/wire.h"

/* --- Fields ---------------------------------------------------------------------------------- */

static bool is_one_of(struct span span, const char *const *texts)
{
    for (; *texts != NULL; texts++) {
        if (span_is(span, *texts))
            return true;
    }
    return false;
}

static bool has_upper_case(struct span span)
{
    for (size_t i = 0; i < span.length; i++) {
        if (span.bytes[i] >= 'A' && span.bytes[i] <= 'Z')
            return true;
    }
    return false;
}

static bool is_decimal(struct span span)
{
    for (size_t i = 0; i < span.length; i++) {
        if (span.bytes[i] < '0' || span.bytes[i] > '9')
            return false;
    }
    return span.length > 0;
}

/* Does the decimal number fit into 63 bits? */
static bool fits_63_bits(struct span decimal)
{
    int64_t number = 0;

    for (size_t i = 0; i < decimal.length; i++) {
        int digit = decimal.bytes[i] - '0';

        if (number > (INT64_MAX - digit) / 10)
            return false;
        number = 10 * number + digit;
    }
    return true;
}

static bool is_connection_specific(struct span name)
{
    static const char *const names[] = {"connection",        "keep-alive", "proxy-connection",
                                        "transfer-encoding", "upgrade",    NULL};

    return is_one_of(name, names);
}

size_t diagnose_value_length(struct span name, struct span value)
{
    if (span_is(name, "te") || span_is(name, "content-length") || is_connection_specific(name))
        return strnlen((const char *)value.bytes, value.length);
    return value.length;
}

static const char *pseudo_rule(const struct diagnose_context *context, struct span name,
                               struct span value)
{
    static const char *const known[] = {":method", ":scheme", ":path", ":authority", NULL};

    if (context->trailers)
        return "pseudo-header field in trailers (RFC 9113 section 8.1)";
    if (context->after_regular)
        return "pseudo-header field after a regular field (RFC 9113 section 8.3)";
    if (!is_one_of(name, known))
        return "unknown pseudo-header field (RFC 9113 section 8.3)";
    if (context->repeated)
        return "pseudo-header field repeated (RFC 9113 section 8.3)";
    if (value.length == 0)
        return "empty pseudo-header field (RFC 9113 section 8.3.1)";
    if (span_is(name, ":authority") && authority_has_userinfo(value))
        return "userinfo before the host (RFC 9113 section 8.3.1)";
    return "value not allowed in this pseudo-header field (RFC 9113 section 8.3.1)";
}

static const char *content_length_rule(const struct diagnose_context *context, struct span value)
{
    if (!is_decimal(value))
        return "not a number (RFC 9110 section 8.6)";
    if (context->repeated)
        return "content-length repeated (RFC 9110 section 8.6)";
    if (fits_63_bits(value))
        return "not a number (RFC 9110 section 8.6)"; /* the bytes after a NUL */
    return "a number too large to be counted (RFC 9110 section 8.6)";
}

const char *diagnose_field(const struct diagnose_context *context, struct span name,
                           struct span value)
{
    if (has_upper_case(name))
        return "upper case in a field name (RFC 9113 section 8.2.1)";
    if (name.length > 0 && name.bytes[0] == ':')
        return pseudo_rule(context, name, value);
    if (!structured_is_token(name))
        return "byte not allowed in a field name (RFC 9113 section 8.2.1)";
    if (is_connection_specific(name))
        return "connection-specific field (RFC 9113 section 8.2.2)";
    if (span_is(name, "te"))
        return "te with more than \"trailers\" (RFC 9113 section 8.2.2)";
    if (span_is(name, "host") && context->repeated)
        return "host repeated (RFC 9110 section 7.2)";
    if (span_is(name, "host") && value.length == 0)
        return "empty host (RFC 9110 section 4.2.1)";
    if (span_is(name, "host") && authority_has_userinfo(value))
        return "userinfo before the host (RFC 9110 section 4.2.4)";
    if (span_is(name, "content-length"))
        return content_length_rule(context, value);
    return "byte not allowed in a field value, or white space at its ends (RFC 9113 section 8.2.1)";
}

/* --- Sections -------------------------------------------------------------------------------- */

/* Which pseudo-header field is missing, or not allowed? Its field is NULL if that is not the case.
 */
static struct diagnosis diagnose_pseudo_fields(const struct diagnose_presence *section)
{
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
    return (struct diagnosis){NULL, NULL};
}

struct diagnosis diagnose_section(const struct diagnose_presence *section)
{
    struct diagnosis diagnosis;

    if (section->trailers && !section->ends)
        return (struct diagnosis){"trailers",
                                  "a trailer section without END_STREAM (RFC 9113 section 8.1)"};
    if (section->trailers)
        return (struct diagnosis){
            "content-length", "differs from the sum of the DATA frames (RFC 9113 section 8.1.1)"};
    diagnosis = diagnose_pseudo_fields(section);
    if (diagnosis.field != NULL)
        return diagnosis;
    if (section->ends && section->content_length)
        return (struct diagnosis){"content-length",
                                  "announces content, but none comes (RFC 9113 section 8.1.1)"};
    return (struct diagnosis){
        ":path", "neither begins with \"/\" nor is \"*\" with OPTIONS (RFC 9113 section 8.3.1)"};
}

/* --- Streams and connections --------------------------------------------------------------- */

#define STREAM_LIMIT " (max-concurrent-streams, RFC 9113 section 5.1.2)"

/* The rule, if the error code alone determines it. */
static const char *rule_of_code(uint32_t error)
{
    switch (error) {
    case WIRE_FLOW_CONTROL_ERROR:
        return " (RFC 9113 section 6.9.1)";
    case WIRE_STREAM_CLOSED:
        return " (RFC 9113 section 5.1)";
    case WIRE_FRAME_SIZE_ERROR:
        return " (RFC 9113 section 4.2)";
    case WIRE_REFUSED_STREAM:
        return STREAM_LIMIT;
    case WIRE_COMPRESSION_ERROR:
        return " (RFC 9113 section 4.3)";
    default:
        return "";
    }
}

const char *diagnose_stream(uint32_t error)
{
    /* NO_ERROR: the response is complete, and the rest of the request is not needed. */
    return error == WIRE_NO_ERROR ? " (RFC 9113 section 8.1)" : rule_of_code(error);
}

/* What nghttp2 writes into the debug data of its GOAWAY, and the rule. The first entry that is part
 * of the debug data counts: errors that any frame may have come before the names of frames. */
static const struct {
    const char *text;
    const char *rule;
} goaway_rules[] = {
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

const char *diagnose_connection(uint32_t error, const char *debug_data, size_t length)
{
    for (size_t i = 0; length > 0 && i < sizeof(goaway_rules) / sizeof(goaway_rules[0]); i++) {
        if (memmem(debug_data, length, goaway_rules[i].text, strlen(goaway_rules[i].text)) != NULL)
            return goaway_rules[i].rule;
    }
    return rule_of_code(error);
}
