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

static bool refuse(struct upgrade *upgrade, int status, const char *words)
{
    upgrade->refusal = (struct http1_refusal){status, words};
    return false;
}

static bool malformed(struct upgrade *upgrade, const char *words)
{
    return refuse(upgrade, 400, words);
}

static bool has_userinfo(struct span authority)
{
    return authority_has_userinfo(authority.bytes, authority.length);
}

/* Which bytes a target may have; what browsers leave as it is among them. */
static bool is_visible(struct span text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.bytes[i] <= ' ' || text.bytes[i] >= 0x7f || text.bytes[i] == '#')
            return false;
    }
    return text.length > 0;
}

/* Take the absolute form apart, which nobody but a proxy's client sends, and every server has to
 * take (RFC 9112 section 3.2.2). A path that is not there has a name, too. */
static void split_target(struct upgrade *upgrade, struct span target)
{
    static const char scheme[] = "http://";
    const size_t length = sizeof(scheme) - 1;
    struct span rest;

    upgrade->path = target;
    if (target.length < length || strncasecmp((const char *)target.bytes, scheme, length) != 0)
        return;
    rest = (struct span){target.bytes + length, target.length - length};
    upgrade->authority = span_take_until(&rest, '/');
    upgrade->path = (struct span){rest.bytes - 1, rest.length + 1};
    if (upgrade->authority.length == target.length - length)
        upgrade->path = span_of(span_is(upgrade->method, "OPTIONS") ? "*" : "/");
}

static bool read_target(struct upgrade *upgrade, struct span target)
{
    if (span_is(upgrade->method, "CONNECT"))
        return malformed(upgrade, "CONNECT, and this is no proxy (RFC 9110 section 9.3.6)");
    if (!is_visible(target))
        return malformed(upgrade, "byte not allowed in the target (RFC 9112 section 3.2)");
    split_target(upgrade, target);
    if (has_userinfo(upgrade->authority))
        return malformed(upgrade, "userinfo in the target (RFC 9110 section 4.2.4)");
    if (upgrade->path.bytes[0] == '/' ||
        (span_is(upgrade->path, "*") && span_is(upgrade->method, "OPTIONS")))
        return true;
    return malformed(upgrade, "target neither begins with \"/\" nor is \"*\" with OPTIONS "
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
        return malformed(upgrade, "no request line (RFC 9112 section 3)");
    if (!span_is(line, "HTTP/1.1"))
        return refuse(upgrade, 505, "only HTTP/1.1 has the Upgrade to h2c (RFC 9110 section 7.8)");
    return read_target(upgrade, target);
}

/* --- Fields -------------------------------------------------------------------------------- */

static bool may_be_in_value(uint8_t byte)
{
    return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

static bool is_value(struct span text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (!may_be_in_value(text.bytes[i]))
            return false;
    }
    return true;
}

/* What an authority may have (RFC 3986 section 3.2), without user information. */
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
        return malformed(upgrade, "host repeated (RFC 9112 section 3.2)");
    if (has_userinfo(field->value))
        return malformed(upgrade, "userinfo in host (RFC 9110 section 4.2.4)");
    if (!is_authority(field->value))
        return malformed(upgrade, "host is none (RFC 9110 section 7.2)");
    upgrade->host = field;
    return true;
}

static bool read_content_length(struct upgrade *upgrade, struct span value)
{
    if (upgrade->has_content_length)
        return malformed(upgrade, "content-length repeated (RFC 9110 section 8.6)");
    if (value.length == 0)
        return malformed(upgrade, "content-length is no number (RFC 9110 section 8.6)");
    upgrade->has_content_length = true;
    for (size_t i = 0; i < value.length; i++) {
        if (value.bytes[i] < '0' || value.bytes[i] > '9')
            return malformed(upgrade, "content-length is no number (RFC 9110 section 8.6)");
        upgrade->has_content |= value.bytes[i] != '0';
    }
    return true;
}

/* The value of a digit of base64url (RFC 4648 section 5); -1 = it is none. */
static int digit_value(uint8_t digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - '0' + 52;
    return digit == '-' ? 62 : digit == '_' ? 63 : -1;
}

/* Four digits are three bytes. */
static bool decode_settings(struct upgrade *upgrade, struct span value)
{
    for (size_t i = 0; i < value.length; i += 4) {
        uint32_t bits = 0;

        for (size_t j = i; j < i + 4; j++) {
            if (digit_value(value.bytes[j]) < 0)
                return false;
            bits = bits << 6 | (uint32_t)digit_value(value.bytes[j]);
        }
        upgrade->settings[upgrade->settings_length++] = (uint8_t)(bits >> 16);
        upgrade->settings[upgrade->settings_length++] = (uint8_t)(bits >> 8);
        upgrade->settings[upgrade->settings_length++] = (uint8_t)bits;
    }
    return true;
}

/* A setting has six bytes, so there is never a rest, nor padding for it. */
static bool read_settings(struct upgrade *upgrade, struct span value)
{
    enum { DIGITS_OF_SETTING = 8, DIGITS_MAX = UPGRADE_SETTINGS_MAX / 3 * 4 };

    if (upgrade->has_settings)
        return malformed(upgrade, "http2-settings repeated (RFC 7540 section 3.2.1)");
    if (value.length % DIGITS_OF_SETTING != 0 || value.length > DIGITS_MAX)
        return malformed(upgrade, "http2-settings of a wrong length (RFC 7540 section 3.2.1)");
    if (!decode_settings(upgrade, value))
        return malformed(upgrade, "http2-settings not in base64url (RFC 7540 section 3.2.1)");
    upgrade->has_settings = true;
    return true;
}

/* Those that say where a request ends, whose it is, and what comes after it. */
static bool heed(struct upgrade *upgrade, const struct upgrade_field *field)
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
        return malformed(upgrade, "white space before a field: a folded line "
                                  "(RFC 9112 section 5.2)");
    if (memchr(line.bytes, ':', line.length) == NULL)
        return malformed(upgrade, "line without a colon (RFC 9112 section 5)");
    if (upgrade->field_count == UPGRADE_FIELDS_MAX)
        return refuse(upgrade, 431, "more than 128 fields (RFC 6585 section 5)");
    field->name = span_take_until(&line, ':');
    field->value = span_trim(line);
    if (field->name.length > 0 && span_is_blank(field->name.bytes[field->name.length - 1]))
        return malformed(upgrade, "white space before a colon (RFC 9112 section 5.1)");
    if (!structured_is_token(field->name))
        return malformed(upgrade, "byte not allowed in a field name (RFC 9110 section 5.1)");
    if (!is_value(field->value))
        return malformed(upgrade, "byte not allowed in a field value (RFC 9110 section 5.5)");
    upgrade->field_count++;
    return heed(upgrade, field);
}

/* --- The whole head ------------------------------------------------------------------------ */

/* Does the list that these fields make together have ${name}? */
static bool lists(const struct upgrade *upgrade, const char *fields, struct span name)
{
    for (size_t i = 0; i < upgrade->field_count; i++) {
        struct span rest = upgrade->fields[i].value;

        if (!span_is_ignoring_case(upgrade->fields[i].name, fields))
            continue;
        while (rest.length > 0) {
            if (span_same_ignoring_case(span_trim(span_take_until(&rest, ',')), name))
                return true;
        }
    }
    return false;
}

static bool lists_word(const struct upgrade *upgrade, const char *fields, const char *word)
{
    return lists(upgrade, fields, span_of(word));
}

static bool check_head(struct upgrade *upgrade)
{
    if (upgrade->host == NULL)
        return malformed(upgrade, "host missing (RFC 9112 section 3.2)");
    if (upgrade->authority.bytes != NULL &&
        !span_same_ignoring_case(upgrade->authority, upgrade->host->value))
        return malformed(upgrade, "host is not the target's (RFC 9112 section 3.2.2)");
    if (upgrade->has_content_length && upgrade->has_transfer_encoding)
        return malformed(upgrade, "content-length beside transfer-encoding "
                                  "(RFC 9112 section 6.1)");
    if (!lists_word(upgrade, "upgrade", "h2c") || !lists_word(upgrade, "connection", "upgrade"))
        return refuse(upgrade, 426,
                      "only HTTP/2 is spoken here, and this is no Upgrade to h2c "
                      "(RFC 7540 section 3.2)");
    if (!upgrade->has_settings)
        return malformed(upgrade, "http2-settings missing (RFC 7540 section 3.2.1)");
    if (!lists_word(upgrade, "connection", "http2-settings"))
        return malformed(upgrade, "http2-settings missing from connection "
                                  "(RFC 7540 section 3.2.1)");
    if (upgrade->has_content || upgrade->has_transfer_encoding)
        return refuse(upgrade, 426,
                      "an Upgrade with content: send a request without, or begin "
                      "with HTTP/2 (RFC 7540 section 3.2)");
    return true;
}

void upgrade_start(struct upgrade *upgrade)
{
    *upgrade = (struct upgrade){.length = 0};
}

/* The next line without its end, CR LF alone. Return false if it is not whole, or its end is wrong.
 */
static bool next_line(struct upgrade *upgrade, const uint8_t *bytes, size_t length,
                      struct span *line)
{
    const uint8_t *end = memchr(bytes + upgrade->looked_at, '\n', length - upgrade->looked_at);

    upgrade->looked_at = length;
    if (end == NULL)
        return false;
    *line = (struct span){bytes + upgrade->length, (size_t)(end - bytes) - upgrade->length};
    upgrade->looked_at = upgrade->length += line->length + 1;
    if (line->length == 0 || line->bytes[line->length - 1] != '\r')
        return malformed(upgrade, "line that does not end in CR LF (RFC 9112 section 2.2)");
    line->length--;
    return true;
}

/* Return false where nothing more is to be read, for one reason or another. */
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
        refuse(upgrade, 431, "more than 8192 bytes (RFC 6585 section 5)");
    return upgrade->refusal.status == 0 ? UPGRADE_INCOMPLETE : UPGRADE_REFUSED;
}

/* --- In HTTP/2 ----------------------------------------------------------------------------- */

/* Bytes that are written one behind the other. */
struct writer {
    uint8_t *bytes;
    size_t length;
};

static void put(struct writer *writer, const void *bytes, size_t length)
{
    if (length > 0)
        memcpy(writer->bytes + writer->length, bytes, length);
    writer->length += length;
}

/* A string's length, of a prefix of seven bits (RFC 7541 section 5.1). */
static void put_length(struct writer *writer, size_t length)
{
    enum { PREFIX = 0x7f, MORE = 0x80 };
    uint8_t byte = (uint8_t)(length < PREFIX ? length : PREFIX);

    put(writer, &byte, 1);
    if (length < PREFIX)
        return;
    for (length -= PREFIX; length >= MORE; length >>= 7) {
        byte = (uint8_t)(length | MORE);
        put(writer, &byte, 1);
    }
    byte = (uint8_t)length;
    put(writer, &byte, 1);
}

static void put_text(struct writer *writer, struct span text)
{
    put_length(writer, text.length);
    put(writer, text.bytes, text.length);
}

static void put_in_lower_case(struct writer *writer, struct span name)
{
    uint8_t *at;

    put_text(writer, name);
    at = writer->bytes + writer->length - name.length;
    for (size_t i = 0; i < name.length; i++) {
        if (at[i] >= 'A' && at[i] <= 'Z')
            at[i] = (uint8_t)(at[i] | 0x20);
    }
}

/* A literal without indexing (RFC 7541 section 6.2.2): the decoder's table stays as it is, empty.
 */
static void put_field(struct writer *writer, struct span name, struct span value)
{
    static const uint8_t literal = 0;

    put(writer, &literal, 1);
    put_in_lower_case(writer, name);
    put_text(writer, value);
}

static void put_pseudo(struct writer *writer, const char *name, struct span value)
{
    put_field(writer, span_of(name), value);
}

/* What belongs to the connection, or has become :authority. */
static bool is_left_out(const struct upgrade *upgrade, const struct upgrade_field *field)
{
    static const char *const names[] = {"connection",        "host",   "http2-settings",
                                        "keep-alive",        "te",     "proxy-connection",
                                        "transfer-encoding", "upgrade"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (span_is_ignoring_case(field->name, names[i]))
            return true;
    }
    return lists(upgrade, "connection", field->name);
}

/* Room for a frame's header, which is written once its length is known. */
static size_t begin_frame(struct writer *writer)
{
    writer->length += WIRE_FRAME_HEADER_SIZE;
    return writer->length;
}

static void end_frame(struct writer *writer, size_t payload_at, struct frame_header frame)
{
    frame.length = writer->length - payload_at;
    frame_header_write(writer->bytes + payload_at - WIRE_FRAME_HEADER_SIZE, &frame);
}

static void put_block(struct writer *writer, const struct upgrade *upgrade)
{
    put_pseudo(writer, ":method", upgrade->method);
    put_pseudo(writer, ":path", upgrade->path);
    put_pseudo(writer, ":scheme", span_of("http"));
    put_pseudo(writer, ":authority", upgrade->host->value);
    for (size_t i = 0; i < upgrade->field_count; i++) {
        if (!is_left_out(upgrade, &upgrade->fields[i]))
            put_field(writer, upgrade->fields[i].name, upgrade->fields[i].value);
    }
}

size_t upgrade_translate(const struct upgrade *upgrade, uint8_t opening[static UPGRADE_HTTP2_MAX])
{
    struct writer writer = {opening, WIRE_PREFACE_SIZE};
    size_t payload_at;

    memcpy(opening, wire_preface, WIRE_PREFACE_SIZE);
    payload_at = begin_frame(&writer);
    put(&writer, upgrade->settings, upgrade->settings_length);
    end_frame(&writer, payload_at, (struct frame_header){.type = WIRE_SETTINGS});
    payload_at = begin_frame(&writer);
    put_block(&writer, upgrade);
    end_frame(&writer, payload_at,
              (struct frame_header){.type = WIRE_HEADERS,
                                    .stream_id = 1,
                                    .flags = WIRE_FLAG_END_STREAM | WIRE_FLAG_END_HEADERS});
    return writer.length;
}
