#include "conn/upgrade.h"

#include "base/authority.h"
#include "base/frame.h"
#include "base/structured.h"
#include "base/wire.h"

#include <string.h>
#include <strings.h>

const char upgrade_accepted[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                "connection: upgrade\r\n"
                                "upgrade: h2c\r\n"
                                "\r\n";

/* --- The request line ---------------------------------------------------------------------- */

static bool refuse_request(struct upgrade *upgrade, int status, const char *reason)
{
    upgrade->refusal = (struct http1_refusal){status, reason};
    return false;
}

static bool refuse_malformed(struct upgrade *upgrade, const char *reason)
{
    return refuse_request(upgrade, 400, reason);
}

/* Visible ASCII except "#": more than RFC 3986 allows, since browsers send some characters
 * unescaped. */
static bool is_target(struct span text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.bytes[i] <= ' ' || text.bytes[i] >= 0x7f || text.bytes[i] == '#')
            return false;
    }
    return text.length > 0;
}

/* Split a target in absolute form into authority and path. Only clients of proxies send that form,
 * but every server must accept it (RFC 9112 section 3.2.2). An empty path becomes "/" or "*". */
static void split_target(struct upgrade *upgrade, struct span target)
{
    static const char scheme[] = "http://";
    const size_t length = sizeof(scheme) - 1;
    struct span remaining;

    upgrade->path = target;
    if (target.length < length || strncasecmp((const char *)target.bytes, scheme, length) != 0)
        return;
    remaining = (struct span){target.bytes + length, target.length - length};
    upgrade->authority = span_take_until(&remaining, '/');
    upgrade->path = (struct span){remaining.bytes - 1, remaining.length + 1};
    if (upgrade->authority.length == target.length - length)
        upgrade->path = span_of(span_is(upgrade->method, "OPTIONS") ? "*" : "/");
}

static bool read_target(struct upgrade *upgrade, struct span target)
{
    if (span_is(upgrade->method, "CONNECT"))
        return refuse_malformed(
            upgrade, "CONNECT is not supported: this is not a proxy (RFC 9110 section 9.3.6)");
    if (!is_target(target))
        return refuse_malformed(upgrade,
                                "byte not allowed in the request target (RFC 9112 section 3.2)");
    split_target(upgrade, target);
    if (authority_has_userinfo(upgrade->authority))
        return refuse_malformed(upgrade, "userinfo in the request target (RFC 9110 section 4.2.4)");
    if (upgrade->path.bytes[0] == '/' ||
        (span_is(upgrade->path, "*") && span_is(upgrade->method, "OPTIONS")))
        return true;
    return refuse_malformed(upgrade,
                            "request target must begin with \"/\", or be \"*\" for OPTIONS "
                            "(RFC 9112 section 3.2)");
}

/* HTTP/1.x */
static bool is_version(struct span text)
{
    static const char before_digit[] = "HTTP/1.";

    return text.length == sizeof(before_digit) &&
           memcmp(text.bytes, before_digit, sizeof(before_digit) - 1) == 0 &&
           text.bytes[text.length - 1] >= '0' && text.bytes[text.length - 1] <= '9';
}

/* method SP request-target SP HTTP-version */
static bool read_request_line(struct upgrade *upgrade, struct span line)
{
    struct span target;

    upgrade->method = span_take_until(&line, ' ');
    target = span_take_until(&line, ' ');
    if (!structured_is_token(upgrade->method) || target.length == 0 || !is_version(line))
        return refuse_malformed(upgrade, "malformed request line (RFC 9112 section 3)");
    if (!span_is(line, "HTTP/1.1"))
        return refuse_request(upgrade, 505,
                              "only HTTP/1.1 can be upgraded to h2c (RFC 9110 section 7.8)");
    return read_target(upgrade, target);
}

/* --- Fields -------------------------------------------------------------------------------- */

static bool is_value_byte(uint8_t byte)
{
    return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

static bool is_value(struct span text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (!is_value_byte(text.bytes[i]))
            return false;
    }
    return true;
}

/* The bytes of an authority (RFC 3986 section 3.2) without user information. */
static bool is_authority(struct span text)
{
    for (size_t i = 0; i < text.length; i++) {
        uint8_t c = text.bytes[i];

        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (c != '\0' && strchr("-._~!$&'()*+,;=:[]%", c) != NULL)))
            return false;
    }
    return text.length > 0;
}

static bool read_host(struct upgrade *upgrade, const struct upgrade_field *field)
{
    if (upgrade->host != NULL)
        return refuse_malformed(upgrade, "host repeated (RFC 9112 section 3.2)");
    if (authority_has_userinfo(field->value))
        return refuse_malformed(upgrade, "userinfo in host (RFC 9110 section 4.2.4)");
    if (!is_authority(field->value))
        return refuse_malformed(upgrade, "host is not valid (RFC 9110 section 7.2)");
    upgrade->host = field;
    return true;
}

static bool read_content_length(struct upgrade *upgrade, struct span value)
{
    if (upgrade->has_content_length)
        return refuse_malformed(upgrade, "content-length repeated (RFC 9110 section 8.6)");
    if (value.length == 0)
        return refuse_malformed(upgrade, "content-length is not a number (RFC 9110 section 8.6)");
    upgrade->has_content_length = true;
    for (size_t i = 0; i < value.length; i++) {
        if (value.bytes[i] < '0' || value.bytes[i] > '9')
            return refuse_malformed(upgrade,
                                    "content-length is not a number (RFC 9110 section 8.6)");
        upgrade->has_content |= value.bytes[i] != '0';
    }
    return true;
}

/* Return the value of a base64url digit (RFC 4648 section 5); -1 = not a digit. */
static int base64_value(uint8_t digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - '0' + 52;
    return digit == '-' ? 62 : digit == '_' ? 63 : -1;
}

/* Four digits encode three bytes. */
static bool decode_settings(struct upgrade *upgrade, struct span value)
{
    for (size_t i = 0; i < value.length; i += 4) {
        uint32_t bits = 0;

        for (size_t j = i; j < i + 4; j++) {
            if (base64_value(value.bytes[j]) < 0)
                return false;
            bits = bits << 6 | (uint32_t)base64_value(value.bytes[j]);
        }
        upgrade->settings[upgrade->settings_length++] = (uint8_t)(bits >> 16);
        upgrade->settings[upgrade->settings_length++] = (uint8_t)(bits >> 8);
        upgrade->settings[upgrade->settings_length++] = (uint8_t)bits;
    }
    return true;
}

/* A setting has six bytes, that is eight digits, so there is never any padding. */
static bool read_settings(struct upgrade *upgrade, struct span value)
{
    enum { DIGITS_PER_SETTING = 8, DIGITS_MAX = UPGRADE_SETTINGS_MAX / 3 * 4 };

    if (upgrade->has_settings)
        return refuse_malformed(upgrade, "http2-settings repeated (RFC 7540 section 3.2.1)");
    if (value.length % DIGITS_PER_SETTING != 0 || value.length > DIGITS_MAX)
        return refuse_malformed(upgrade,
                                "http2-settings has the wrong length (RFC 7540 section 3.2.1)");
    if (!decode_settings(upgrade, value))
        return refuse_malformed(upgrade,
                                "http2-settings is not base64url (RFC 7540 section 3.2.1)");
    upgrade->has_settings = true;
    return true;
}

/* Note the fields that say where the request ends and which host it is for, and the settings. */
static bool note_field(struct upgrade *upgrade, const struct upgrade_field *field)
{
    if (span_is_ignoring_case(field->name, "host"))
        return read_host(upgrade, field);
    if (span_is_ignoring_case(field->name, "content-length"))
        return read_content_length(upgrade, field->value);
    if (span_is_ignoring_case(field->name, "http2-settings"))
        return read_settings(upgrade, field->value);
    upgrade->has_transfer_encoding |= span_is_ignoring_case(field->name, "transfer-encoding");
    return true;
}

static bool read_field(struct upgrade *upgrade, struct span line)
{
    struct upgrade_field *field = &upgrade->fields[upgrade->field_count];

    if (span_is_blank(line.bytes[0]))
        return refuse_malformed(upgrade, "folded line (RFC 9112 section 5.2)");
    if (memchr(line.bytes, ':', line.length) == NULL)
        return refuse_malformed(upgrade, "line without a colon (RFC 9112 section 5)");
    if (upgrade->field_count == UPGRADE_FIELDS_MAX)
        return refuse_request(upgrade, 431, "more than 128 fields (RFC 6585 section 5)");
    field->name = span_take_until(&line, ':');
    field->value = span_trim(line);
    if (field->name.length > 0 && span_is_blank(field->name.bytes[field->name.length - 1]))
        return refuse_malformed(upgrade, "white space before the colon (RFC 9112 section 5.1)");
    if (!structured_is_token(field->name))
        return refuse_malformed(upgrade, "byte not allowed in a field name (RFC 9110 section 5.1)");
    if (!is_value(field->value))
        return refuse_malformed(upgrade,
                                "byte not allowed in a field value (RFC 9110 section 5.5)");
    upgrade->field_count++;
    return note_field(upgrade, field);
}

/* --- The whole head ------------------------------------------------------------------------ */

/* Return true if ${name} is a member of the list in these fields, of which there may be several. */
static bool list_has(const struct upgrade *upgrade, const char *fields, struct span name)
{
    for (size_t i = 0; i < upgrade->field_count; i++) {
        struct span remaining = upgrade->fields[i].value;

        if (!span_is_ignoring_case(upgrade->fields[i].name, fields))
            continue;
        while (remaining.length > 0) {
            if (span_same_ignoring_case(span_trim(span_take_until(&remaining, ',')), name))
                return true;
        }
    }
    return false;
}

static bool check_head(struct upgrade *upgrade)
{
    if (upgrade->host == NULL)
        return refuse_malformed(upgrade, "host missing (RFC 9112 section 3.2)");
    if (upgrade->authority.bytes != NULL &&
        !span_same_ignoring_case(upgrade->authority, upgrade->host->value))
        return refuse_malformed(upgrade,
                                "host differs from the request target's (RFC 9112 section 3.2.2)");
    if (upgrade->has_content_length && upgrade->has_transfer_encoding)
        return refuse_malformed(upgrade, "both content-length and transfer-encoding "
                                         "(RFC 9112 section 6.1)");
    if (!list_has(upgrade, "upgrade", span_of("h2c")) ||
        !list_has(upgrade, "connection", span_of("upgrade")))
        return refuse_request(
            upgrade, 426,
            "this port speaks only HTTP/2, and the request does not ask for an Upgrade to h2c "
            "(RFC 7540 section 3.2)");
    if (!upgrade->has_settings)
        return refuse_malformed(upgrade, "http2-settings missing (RFC 7540 section 3.2.1)");
    if (!list_has(upgrade, "connection", span_of("http2-settings")))
        return refuse_malformed(upgrade, "http2-settings missing from connection "
                                         "(RFC 7540 section 3.2.1)");
    if (upgrade->has_content || upgrade->has_transfer_encoding)
        return refuse_request(
            upgrade, 426,
            "a request with content cannot be upgraded: send one without content, or start "
            "with HTTP/2 (RFC 7540 section 3.2)");
    return true;
}

void upgrade_start(struct upgrade *upgrade)
{
    *upgrade = (struct upgrade){.length = 0};
}

/* Take the next line, without its CR LF. Return false if it is incomplete, or does not end in CR
 * LF.
 */
static bool next_line(struct upgrade *upgrade, const uint8_t *bytes, size_t length,
                      struct span *line)
{
    const uint8_t *end = memchr(bytes + upgrade->scanned, '\n', length - upgrade->scanned);

    upgrade->scanned = length;
    if (end == NULL)
        return false;
    *line = (struct span){bytes + upgrade->length, (size_t)(end - bytes) - upgrade->length};
    upgrade->scanned = upgrade->length += line->length + 1;
    if (line->length == 0 || line->bytes[line->length - 1] != '\r')
        return refuse_malformed(upgrade, "line that does not end in CR LF (RFC 9112 section 2.2)");
    line->length--;
    return true;
}

/* Return false if the request is refused. */
static bool read_line(struct upgrade *upgrade, struct span line)
{
    if (upgrade->method.bytes == NULL)
        return read_request_line(upgrade, line);
    if (line.length > 0)
        return read_field(upgrade, line);
    return check_head(upgrade);
}

enum upgrade_result upgrade_read(struct upgrade *upgrade, const uint8_t *bytes, size_t length)
{
    size_t within = length < UPGRADE_HEAD_MAX ? length : UPGRADE_HEAD_MAX;
    struct span line;

    while (next_line(upgrade, bytes, within, &line) && read_line(upgrade, line)) {
        if (line.length == 0)
            return UPGRADE_COMPLETE;
    }
    if (upgrade->refusal.status == 0 && within == UPGRADE_HEAD_MAX)
        refuse_request(upgrade, 431, "request head of more than 8192 bytes (RFC 6585 section 5)");
    return upgrade->refusal.status == 0 ? UPGRADE_INCOMPLETE : UPGRADE_REFUSED;
}

/* --- Translation into HTTP/2 --------------------------------------------------------------- */

/* The output so far. The buffer is large enough for any head: see UPGRADE_HTTP2_MAX. */
struct writer {
    uint8_t *bytes;
    size_t length;
};

static void put_bytes(struct writer *writer, const void *bytes, size_t length)
{
    if (length > 0)
        memcpy(writer->bytes + writer->length, bytes, length);
    writer->length += length;
}

/* The length of a string, as an integer with a prefix of seven bits (RFC 7541 section 5.1). */
static void put_length(struct writer *writer, size_t length)
{
    enum { PREFIX = 0x7f, MORE = 0x80 };
    uint8_t byte = (uint8_t)(length < PREFIX ? length : PREFIX);

    put_bytes(writer, &byte, 1);
    if (length < PREFIX)
        return;
    for (length -= PREFIX; length >= MORE; length >>= 7) {
        byte = (uint8_t)(length | MORE);
        put_bytes(writer, &byte, 1);
    }
    byte = (uint8_t)length;
    put_bytes(writer, &byte, 1);
}

static void put_string(struct writer *writer, struct span text)
{
    put_length(writer, text.length);
    put_bytes(writer, text.bytes, text.length);
}

static void put_lower_case(struct writer *writer, struct span name)
{
    uint8_t *at;

    put_string(writer, name);
    at = writer->bytes + writer->length - name.length;
    for (size_t i = 0; i < name.length; i++) {
        if (at[i] >= 'A' && at[i] <= 'Z')
            at[i] = (uint8_t)(at[i] | 0x20);
    }
}

/* A literal field without indexing (RFC 7541 section 6.2.2), so that the dynamic table stays empty,
 * as the client's HPACK encoder expects. */
static void put_field(struct writer *writer, struct span name, struct span value)
{
    static const uint8_t literal = 0;

    put_bytes(writer, &literal, 1);
    put_lower_case(writer, name);
    put_string(writer, value);
}

static void put_pseudo_header(struct writer *writer, const char *name, struct span value)
{
    put_field(writer, span_of(name), value);
}

/* Return true for connection-specific fields (RFC 9113 section 8.2.2), and for those that have been
 * translated already. */
static bool is_omitted(const struct upgrade *upgrade, const struct upgrade_field *field)
{
    static const char *const names[] = {"connection",        "host",   "http2-settings",
                                        "keep-alive",        "te",     "proxy-connection",
                                        "transfer-encoding", "upgrade"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (span_is_ignoring_case(field->name, names[i]))
            return true;
    }
    return list_has(upgrade, "connection", field->name);
}

/* Leave room for a frame's header, which writer_end_frame writes once the length is known. */
static size_t writer_begin_frame(struct writer *writer)
{
    writer->length += WIRE_FRAME_HEADER_SIZE;
    return writer->length;
}

static void writer_end_frame(struct writer *writer, size_t payload_at, struct frame_header frame)
{
    frame.length = writer->length - payload_at;
    frame_header_write(writer->bytes + payload_at - WIRE_FRAME_HEADER_SIZE, &frame);
}

static void put_header_block(struct writer *writer, const struct upgrade *upgrade)
{
    put_pseudo_header(writer, ":method", upgrade->method);
    put_pseudo_header(writer, ":path", upgrade->path);
    put_pseudo_header(writer, ":scheme", span_of("http"));
    put_pseudo_header(writer, ":authority", upgrade->host->value);
    for (size_t i = 0; i < upgrade->field_count; i++) {
        if (!is_omitted(upgrade, &upgrade->fields[i]))
            put_field(writer, upgrade->fields[i].name, upgrade->fields[i].value);
    }
}

size_t upgrade_translate(const struct upgrade *upgrade, uint8_t bytes[static UPGRADE_HTTP2_MAX])
{
    struct writer writer = {bytes, WIRE_PREFACE_SIZE};
    size_t payload_at;

    memcpy(bytes, wire_preface, WIRE_PREFACE_SIZE);
    payload_at = writer_begin_frame(&writer);
    put_bytes(&writer, upgrade->settings, upgrade->settings_length);
    writer_end_frame(&writer, payload_at, (struct frame_header){.type = WIRE_SETTINGS});
    payload_at = writer_begin_frame(&writer);
    put_header_block(&writer, upgrade);
    writer_end_frame(&writer, payload_at,
                     (struct frame_header){.type = WIRE_HEADERS,
                                           .stream_id = 1,
                                           .flags = WIRE_FLAG_END_STREAM | WIRE_FLAG_END_HEADERS});
    return writer.length;
}
