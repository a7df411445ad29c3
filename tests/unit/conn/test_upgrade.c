/* upgrade: reading request heads in any number of pieces, and their translation into HTTP/2. */
#include "conn/upgrade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#define COUNT(array)    (sizeof(array) / sizeof((array)[0]))
#define LENGTH(literal) (sizeof(literal) - 1)

/* --- Reading --- */

#define GET  "GET / HTTP/1.1\r\n"
#define HOST "Host: h\r\n"
#define ASK  "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
#define END  "\r\n"

/* Read the head byte by byte and at once: the result must be the same. ${upgrade} is what reading
 * at once gave. Return how many bytes were needed. */
static size_t read_both_ways(struct upgrade *upgrade, const uint8_t *bytes, size_t length,
                             enum upgrade_result *result)
{
    static struct upgrade growing;
    enum upgrade_result partial = UPGRADE_INCOMPLETE;
    size_t taken = 0;

    upgrade_start(&growing);
    for (; partial == UPGRADE_INCOMPLETE && taken <= length; taken++)
        partial = upgrade_read(&growing, bytes, taken);
    upgrade_start(upgrade);
    *result = upgrade_read(upgrade, bytes, length);
    assert_int_equal(partial, *result);
    assert_int_equal(growing.refusal.status, upgrade->refusal.status);
    assert_ptr_equal(growing.refusal.reason, upgrade->refusal.reason);
    assert_int_equal(growing.length, upgrade->length);
    assert_int_equal(growing.field_count, upgrade->field_count);
    return taken - 1;
}

/* A copy of exactly that size, so that AddressSanitizer and valgrind notice a read past its end. */
static uint8_t *copy_of(const char *bytes, size_t length)
{
    uint8_t *copy = malloc(length + (length == 0));

    assert_non_null(copy);
    memcpy(copy, bytes, length);
    return copy;
}

/* Every shorter prefix of the head is incomplete, and not refused yet. */
static void check_prefixes(const char *head, size_t length)
{
    static struct upgrade upgrade;

    for (size_t prefix = 0; prefix < length; prefix++) {
        uint8_t *bytes = copy_of(head, prefix);

        upgrade_start(&upgrade);
        assert_int_equal(upgrade_read(&upgrade, bytes, prefix), UPGRADE_INCOMPLETE);
        free(bytes);
    }
}

static const struct {
    const char *name;
    const char *head;
    const char *fields; /* "name=value|" for each, after the four pseudo-header fields */
} accepted[] = {
    {"minimal", GET HOST ASK END, ""},
    {"fields in order", GET "B: 2\r\n" HOST "A: 1\r\n" ASK "C:3\r\n" END, "b=2|a=1|c=3|"},
    {"names in lower case", GET HOST ASK "X-Forwarded-FOR: A\r\n!#$%&'*+-.^_`|~09Zz: z\r\n" END,
     "x-forwarded-for=A|!#$%&'*+-.^_`|~09zz=z|"},
    {"names twice", GET HOST ASK "Cookie: a\r\ncookie: b\r\nX: 1\r\nX: 1\r\n" END,
     "cookie=a|cookie=b|x=1|x=1|"},
    {"white space around a value", GET HOST ASK "X: \t a \t b\t \r\nY:\r\nZ: \t\r\n" END,
     "x=a \t b|y=|z=|"},
    {"bytes of a value", GET HOST ASK "X: \x80\xff!~\r\n" END, "x=\x80\xff!~|"},
    {"connection-specific",
     GET HOST ASK "Keep-Alive: 5\r\nProxy-Connection: close\r\nTE: trailers\r\nX: 1\r\n" END,
     "x=1|"},
    {"named by connection",
     GET HOST ASK "Connection: X, close,\t y\r\nx: 1\r\nY: 2\r\nz: 3\r\n" END, "z=3|"},
    {"lists in several fields",
     GET HOST "connection: a\r\nCONNECTION: ,HTTP2-SETTINGS,upGRADE,\r\n"
              "Upgrade: websocket\r\nupgrade: x/1, H2C\r\nhttp2-settings: \r\n" END,
     ""},
    {"no content", GET HOST ASK "Content-Length: 0\r\n" END, "content-length=0|"},
    {"no content, two digits", GET HOST ASK "Content-Length: 00\r\n" END, "content-length=00|"},
    {"expectation", GET HOST ASK "Expect: 100-continue\r\n" END, "expect=100-continue|"},
};

/* Decode the header block with nghttp2, and write its fields into one text. */
static void decode(const uint8_t *block, size_t length, char *text, size_t size)
{
    nghttp2_hd_inflater *inflater;
    size_t used = 0;
    int flags = 0;

    assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
    text[0] = '\0';
    while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
        nghttp2_nv field;
        ssize_t step = nghttp2_hd_inflate_hd2(inflater, &field, &flags, block, length, 1);

        assert_true(step >= 0);
        block += step;
        length -= (size_t)step;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            used += (size_t)snprintf(text + used, size - used, "%.*s=%.*s|", (int)field.namelen,
                                     field.name, (int)field.valuelen, field.value);
        assert_true(used < size);
    }
    assert_int_equal(nghttp2_hd_inflate_get_dynamic_table_size(inflater), 0);
    nghttp2_hd_inflate_del(inflater);
}

enum { MAGIC = 24, FRAME_HEADER = 9 };

static size_t payload_length(const uint8_t *frame)
{
    return (size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2];
}

/* The translation is a preface, SETTINGS, and HEADERS with the fields in ${text}, no more. */
static void check_translation(const struct upgrade *upgrade, const char *text)
{
    static const uint8_t of_settings[] = {NGHTTP2_SETTINGS, 0, 0, 0, 0, 0};
    static const uint8_t of_headers[] = {NGHTTP2_HEADERS, 0x5, 0, 0, 0, 1};
    static uint8_t translation[UPGRADE_HTTP2_MAX];
    static char fields[3 * UPGRADE_HEAD_MAX];
    size_t length = upgrade_translate(upgrade, translation);
    const uint8_t *settings = translation + MAGIC;
    const uint8_t *headers = settings + FRAME_HEADER + upgrade->settings_length;

    assert_memory_equal(translation, NGHTTP2_CLIENT_MAGIC, MAGIC);
    assert_int_equal(payload_length(settings), upgrade->settings_length);
    assert_memory_equal(settings + 3, of_settings, sizeof(of_settings));
    assert_memory_equal(settings + FRAME_HEADER, upgrade->settings, upgrade->settings_length);
    assert_memory_equal(headers + 3, of_headers, sizeof(of_headers));
    assert_ptr_equal(headers + FRAME_HEADER + payload_length(headers), translation + length);
    decode(headers + FRAME_HEADER, payload_length(headers), fields, sizeof(fields));
    assert_string_equal(fields, text);
}

static void check_accepted(const char *head, const char *fields)
{
    static struct upgrade upgrade;
    enum upgrade_result result;
    size_t length = strlen(head);
    uint8_t *bytes = copy_of(head, length);

    check_prefixes(head, length);
    assert_int_equal(read_both_ways(&upgrade, bytes, length, &result), length);
    assert_int_equal(result, UPGRADE_COMPLETE);
    assert_int_equal(upgrade.length, length);
    check_translation(&upgrade, fields);
    free(bytes);
}

static void test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(accepted); i++) {
        char fields[512];

        snprintf(fields, sizeof(fields), ":method=GET|:path=/|:scheme=http|:authority=h|%s",
                 accepted[i].fields);
        check_accepted(accepted[i].head, fields);
    }
}

static void test_request_lines(void **state)
{
    static const struct {
        const char *line;
        const char *host;
        const char *fields;
    } table[] = {
        {"HEAD /a?b=c&d", "localhost:8080",
         ":method=HEAD|:path=/a?b=c&d|:scheme=http|:authority=localhost:8080|"},
        {"OPTIONS *", "[2001:db8::1]:80",
         ":method=OPTIONS|:path=*|:scheme=http|:authority=[2001:db8::1]:80|"},
        {"GET http://h/a//b?c", "h", ":method=GET|:path=/a//b?c|:scheme=http|:authority=h|"},
        {"GET HTTP://H:80", "h:80", ":method=GET|:path=/|:scheme=http|:authority=h:80|"},
        {"OPTIONS http://h", "h", ":method=OPTIONS|:path=*|:scheme=http|:authority=h|"},
        {"OPTIONS http://h/", "h", ":method=OPTIONS|:path=/|:scheme=http|:authority=h|"},
        {"OPTIONS /", "a%41", ":method=OPTIONS|:path=/|:scheme=http|:authority=a%41|"},
        {"M-SEARCH //h/..;%00|{}^\\\"<>`", "h",
         ":method=M-SEARCH|:path=//h/..;%00|{}^\\\"<>`|:scheme=http|:authority=h|"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        char head[512];

        snprintf(head, sizeof(head), "%s HTTP/1.1\r\nHost: %s\r\n" ASK END, table[i].line,
                 table[i].host);
        check_accepted(head, table[i].fields);
    }
}

/* The head may be followed by the client's preface. */
static void test_bytes_after_the_head(void **state)
{
    static const char head[] = GET HOST ASK END "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static struct upgrade upgrade;
    enum upgrade_result result;

    (void)state;
    read_both_ways(&upgrade, (const uint8_t *)head, LENGTH(head), &result);
    assert_int_equal(result, UPGRADE_COMPLETE);
    assert_int_equal(upgrade.length, LENGTH(GET HOST ASK END));
}

/* Lengths around those that need one more byte in HPACK (RFC 7541 section 5.1). */
static void test_lengths(void **state)
{
    static const size_t lengths[] = {1, 126, 127, 128, 254, 255, 256, 383, 7000};

    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        static char head[2 * UPGRADE_HEAD_MAX];
        static char fields[2 * UPGRADE_HEAD_MAX];
        static char text[UPGRADE_HEAD_MAX];

        memset(text, 't', lengths[i]);
        text[lengths[i]] = '\0';
        snprintf(head, sizeof(head), GET HOST ASK "%.300s: %s\r\n" END, text, text);
        snprintf(fields, sizeof(fields), ":method=GET|:path=/|:scheme=http|:authority=h|%.300s=%s|",
                 text, text);
        check_accepted(head, fields);
    }
}

/* --- Refusing --- */

#define SETTINGS "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "

static const struct {
    const char *head; /* up to the line that is refused */
    int status;
    const char *reason; /* a part of it */
} refused[] = {
    /* the request line */
    {"GET / HTTP/1.0\r\n", 505, "only HTTP/1.1"},
    {"GET / HTTP/1.2\r\n", 505, "only HTTP/1.1"},
    {"GET / HTTP/1.1\n", 400, "CR LF"},
    {"GET / HTTP/1.1 \r\n", 400, "malformed request line"},
    {"GET  / HTTP/1.1\r\n", 400, "malformed request line"},
    {"GET /  HTTP/1.1\r\n", 400, "malformed request line"},
    {"GET /a b HTTP/1.1\r\n", 400, "malformed request line"},
    {"GET\t/\tHTTP/1.1\r\n", 400, "malformed request line"},
    {"GET / HTTP/1.1\r\r\n", 400, "malformed request line"},
    {"GET / http/1.1\r\n", 400, "malformed request line"},
    {"GET / HTTP/2.0\r\n", 400, "malformed request line"},
    {"GET / HTTP/1.x\r\n", 400, "malformed request line"},
    {"GET / HTTP/1.11\r\n", 400, "malformed request line"},
    {" GET / HTTP/1.1\r\n", 400, "malformed request line"},
    {"G(T / HTTP/1.1\r\n", 400, "malformed request line"},
    {"GET\r\n", 400, "malformed request line"},
    {"\r\n", 400, "malformed request line"},
    {"\n", 400, "CR LF"},
    {"GET https://h/ HTTP/1.1\r\n", 400, "request target must"},
    {"GET http:/h/ HTTP/1.1\r\n", 400, "request target must"},
    {"GET h:80 HTTP/1.1\r\n", 400, "request target must"},
    {"GET * HTTP/1.1\r\n", 400, "request target must"},
    {"OPTIONS ** HTTP/1.1\r\n", 400, "request target must"},
    {"CONNECT h:80 HTTP/1.1\r\n", 400, "CONNECT"},
    {"GET /#a HTTP/1.1\r\n", 400, "byte not allowed in the request target"},
    {"GET /\x7f HTTP/1.1\r\n", 400, "byte not allowed in the request target"},
    {"GET /\xc3\xa4 HTTP/1.1\r\n", 400, "byte not allowed in the request target"},
    {"GET /\r HTTP/1.1\r\n", 400, "byte not allowed in the request target"},
    {"GET /\t HTTP/1.1\r\n", 400, "byte not allowed in the request target"},
    /* field lines */
    {GET "Host: h\n", 400, "CR LF"},
    {GET HOST "\n", 400, "CR LF"},
    {GET HOST "X: a\r\n b\r\n", 400, "folded"},
    {GET HOST "X: a\r\n\tb\r\n", 400, "folded"},
    {GET " Host: h\r\n", 400, "folded"},
    {GET "Host : h\r\n", 400, "before the colon"},
    {GET "Host\t: h\r\n", 400, "before the colon"},
    {GET "Host\r\n", 400, "without a colon"},
    {GET ": h\r\n", 400, "field name"},
    {GET "Ho st: h\r\n", 400, "field name"},
    {GET "H\xc3\xb6st: h\r\n", 400, "field name"},
    {GET ":path: /\r\n", 400, "field name"},
    {GET "Ho\rst: h\r\n", 400, "field name"},
    {GET "X: a\rb\r\n", 400, "field value"},
    {GET "X: a\r\r\n", 400, "field value"},
    {GET "X: a\x01\r\n", 400, "field value"},
    {GET "X: \x7f\r\n", 400, "field value"},
    {GET "X: \x1b[1m\r\n", 400, "field value"},
    /* host */
    {GET HOST HOST, 400, "host repeated"},
    {GET HOST "hOST: other\r\n", 400, "host repeated"},
    {GET "Host:\r\n", 400, "host is not valid"},
    {GET "Host: a b\r\n", 400, "host is not valid"},
    {GET "Host: a, b\r\n", 400, "host is not valid"},
    {GET "Host: user@h\r\n", 400, "userinfo in host (RFC 9110 section 4.2.4)"},
    {GET "Host: @h\r\n", 400, "userinfo in host"},
    {GET "Host: @\r\n", 400, "userinfo in host"},
    {GET "Host: a@b@c\r\n", 400, "userinfo in host"},
    {GET "Host: a:%20@h:80\r\n", 400, "userinfo in host"},
    {GET "Host: h/a@b\r\n", 400, "host is not valid"},
    {GET "Host: a b@h\r\n", 400, "host is not valid"},
    {GET "Host: [::1]@h\r\n", 400, "host is not valid"},
    {"GET http://user@h/ HTTP/1.1\r\n", 400,
     "userinfo in the request target (RFC 9110 section 4.2.4)"},
    {"GET http://@h HTTP/1.1\r\n", 400, "userinfo in the request target"},
    {"GET http://a@b@h/a HTTP/1.1\r\n", 400, "userinfo in the request target"},
    {"GET http://h?a@b HTTP/1.1\r\n" HOST ASK END, 400, "differs from the request target"},
    {GET "Host: h/path\r\n", 400, "host is not valid"},
    {GET "Host: \xc3\xa4\r\n", 400, "host is not valid"},
    {GET ASK END, 400, "host missing"},
    {GET END, 400, "host missing"},
    /* where the request ends */
    {GET HOST "Content-Length: 1\r\nContent-Length: 1\r\n", 400, "content-length repeated"},
    {GET HOST "Content-Length: 0\r\ncontent-length: 0\r\n", 400, "content-length repeated"},
    {GET HOST "Content-Length: 0, 0\r\n", 400, "not a number"},
    {GET HOST "Content-Length: +0\r\n", 400, "not a number"},
    {GET HOST "Content-Length: -1\r\n", 400, "not a number"},
    {GET HOST "Content-Length: 0x0\r\n", 400, "not a number"},
    {GET HOST "Content-Length:\r\n", 400, "not a number"},
    {GET HOST ASK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" END, 400,
     "both content-length and transfer-encoding"},
    {GET HOST ASK "transfer-encoding: x\r\nContent-Length: 0\r\n" END, 400,
     "both content-length and transfer-encoding"},
    {GET HOST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n" END, 400,
     "both content-length and transfer-encoding"},
    {GET HOST ASK "Content-Length: 3\r\n" END, 426, "with content"},
    {GET HOST ASK "Content-Length: 18446744073709551616\r\n" END, 426, "with content"},
    {GET HOST ASK "Transfer-Encoding: chunked\r\n" END, 426, "with content"},
    {GET HOST ASK "TRANSFER-ENCODING: identity\r\n" END, 426, "with content"},
    /* no Upgrade */
    {GET HOST END, 426, "does not ask for an Upgrade"},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n" END, 426, "does not ask for an Upgrade"},
    {GET HOST "Upgrade: h2c\r\nHTTP2-Settings:\r\n" END, 426, "does not ask for an Upgrade"},
    {GET HOST "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings:\r\n" END, 426,
     "does not ask for an Upgrade"},
    {GET HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n" END, 426,
     "does not ask for an Upgrade"},
    {GET HOST "Connection: Upgrade\r\nUpgrade: h2\r\n" END, 426, "does not ask for an Upgrade"},
    {GET HOST "Connection: Upgrade\r\nUpgrade: xh2c, h2cx, h2c/1\r\n" END, 426,
     "does not ask for an Upgrade"},
    {GET HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n" END, 400, "http2-settings missing ("},
    {GET HOST "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings:\r\n" END, 400,
     "missing from connection"},
    /* HTTP2-Settings */
    {GET HOST SETTINGS "AAMAAABk\r\nHTTP2-Settings: AAMAAABk\r\n", 400, "http2-settings repeated"},
    {GET HOST SETTINGS "\r\nHTTP2-Settings:\r\n", 400, "http2-settings repeated"},
    {GET HOST SETTINGS "A\r\n", 400, "wrong length"},
    {GET HOST SETTINGS "AAMAAAB\r\n", 400, "wrong length"},
    {GET HOST SETTINGS "AAMAAABkAAMA\r\n", 400, "wrong length"},
    {GET HOST SETTINGS "AAMAAAB=\r\n", 400, "base64url"},
    {GET HOST SETTINGS "AAMAAAB+\r\n", 400, "base64url"},
    {GET HOST SETTINGS "AAMAAAB/\r\n", 400, "base64url"},
    {GET HOST SETTINGS "AAMA AAB\r\n", 400, "base64url"},
};

/* A head is refused at the end of the line that is wrong, neither earlier nor later. */
static void test_refused(void **state)
{
    static struct upgrade upgrade;

    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        size_t length = strlen(refused[i].head);
        enum upgrade_result result;
        uint8_t *bytes = copy_of(refused[i].head, length);

        check_prefixes(refused[i].head, length);
        if (read_both_ways(&upgrade, bytes, length, &result) != length)
            fail_msg("row %zu: %s: refused too early", i, refused[i].head);
        if (result != UPGRADE_REFUSED || upgrade.refusal.status != refused[i].status ||
            strstr(upgrade.refusal.reason, refused[i].reason) == NULL)
            fail_msg("row %zu: %s: %d %s", i, refused[i].head, upgrade.refusal.status,
                     upgrade.refusal.reason);
        assert_non_null(strstr(upgrade.refusal.reason, "(RFC "));
        free(bytes);
    }
}

/* Every byte, in the name of a field and in its value: allowed exactly if nghttp2 allows it. */
static void test_every_byte(void **state)
{
    static const char before[] = GET HOST ASK;
    static struct upgrade upgrade;
    enum upgrade_result result;

    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        bool is_token =
            byte > 0 && byte < 0x7f &&
            nghttp2_check_header_name(
                (uint8_t[]){(uint8_t)(byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte)}, 1) != 0;
        bool is_text = nghttp2_check_header_value((uint8_t[]){(uint8_t)byte}, 1) != 0;
        char head[LENGTH(before) + 32];
        size_t at = LENGTH(before);

        memcpy(head, before, at);
        memcpy(head + at, "xax: 1\r\n\r\n", 10);
        head[at + 1] = (char)byte;
        read_both_ways(&upgrade, (const uint8_t *)head, at + 10, &result);
        if (byte != ':')
            assert_int_equal(result, is_token ? UPGRADE_COMPLETE : UPGRADE_REFUSED);
        memcpy(head + at, "x: xax\r\n\r\n", 10);
        head[at + 4] = (char)byte;
        read_both_ways(&upgrade, (const uint8_t *)head, at + 10, &result);
        assert_int_equal(result, is_text ? UPGRADE_COMPLETE : UPGRADE_REFUSED);
    }
}

/* --- HTTP2-Settings --- */

static void test_settings(void **state)
{
    static const struct {
        const char *text;
        const char *payload;
        size_t length;
    } table[] = {
        {"", "", 0},
        {"AAMAAABk", "\0\3\0\0\0\x64", 6},
        {"AAMAAABkAAQCAAAAAAIAAAAA", "\0\3\0\0\0\x64\0\4\2\0\0\0\0\2\0\0\0\0", 18},
        {"AAMAAABkAAQAAP__", "\0\3\0\0\0\x64\0\4\0\0\xff\xff", 12},
        {"-_-_09azAZ__----", "\xfb\xff\xbf\xd3\xd6\xb3\x01\x9f\xff\xfb\xef\xbe", 12},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        static struct upgrade upgrade;
        char head[256];
        enum upgrade_result result;

        snprintf(head, sizeof(head), GET HOST SETTINGS "%s\r\n\r\n", table[i].text);
        read_both_ways(&upgrade, (const uint8_t *)head, strlen(head), &result);
        assert_int_equal(result, UPGRADE_COMPLETE);
        assert_int_equal(upgrade.settings_length, table[i].length);
        assert_memory_equal(upgrade.settings, table[i].payload, table[i].length);
    }
}

static void test_most_settings(void **state)
{
    enum { DIGITS = UPGRADE_SETTINGS_MAX / 3 * 4 };

    (void)state;
    for (size_t digits = DIGITS; digits <= DIGITS + 8; digits += 8) {
        static struct upgrade upgrade;
        char head[1024];
        int begin = snprintf(head, sizeof(head), GET HOST SETTINGS);
        enum upgrade_result result;

        memset(head + begin, '_', digits);
        memcpy(head + (size_t)begin + digits, "\r\n\r\n", 4);
        read_both_ways(&upgrade, (const uint8_t *)head, (size_t)begin + digits + 4, &result);
        assert_int_equal(result, digits == DIGITS ? UPGRADE_COMPLETE : UPGRADE_REFUSED);
    }
}

/* --- Bounds --- */

/* Write a head of exactly ${length} bytes. */
static void fill_head(char *head, size_t length)
{
    static const char before[] = GET HOST ASK "X: ";
    static const char after[] = "\r\n\r\n";

    memset(head, 'v', length);
    memcpy(head, before, LENGTH(before));
    memcpy(head + length - LENGTH(after), after, LENGTH(after));
}

static void test_longest_head(void **state)
{
    static char head[UPGRADE_HEAD_MAX + 1];
    static struct upgrade upgrade;
    enum upgrade_result result;

    (void)state;
    fill_head(head, UPGRADE_HEAD_MAX);
    assert_int_equal(read_both_ways(&upgrade, (uint8_t *)head, UPGRADE_HEAD_MAX, &result),
                     UPGRADE_HEAD_MAX);
    assert_int_equal(result, UPGRADE_COMPLETE);
    fill_head(head, UPGRADE_HEAD_MAX + 1);
    assert_int_equal(read_both_ways(&upgrade, (uint8_t *)head, UPGRADE_HEAD_MAX + 1, &result),
                     UPGRADE_HEAD_MAX);
    assert_int_equal(result, UPGRADE_REFUSED);
    assert_int_equal(upgrade.refusal.status, 431);
}

/* Write a head with ${count} more fields of ${length} bytes each. Return its length. */
static size_t fill_fields(char *head, size_t count, size_t length)
{
    size_t at = (size_t)sprintf(head, GET HOST ASK);

    for (size_t i = 0; i < count; i++) {
        memset(head + at, 'n', length);
        head[at + length / 2] = ':';
        at += length;
        head[at++] = '\r';
        head[at++] = '\n';
    }
    head[at++] = '\r';
    head[at++] = '\n';
    return at;
}

static void test_most_fields(void **state)
{
    enum { OTHERS = 4 };
    static char head[UPGRADE_HEAD_MAX];
    static struct upgrade upgrade;
    enum upgrade_result result;
    size_t length;

    (void)state;
    length = fill_fields(head, UPGRADE_FIELDS_MAX - OTHERS, 10);
    read_both_ways(&upgrade, (uint8_t *)head, length, &result);
    assert_int_equal(result, UPGRADE_COMPLETE);
    assert_int_equal(upgrade.field_count, UPGRADE_FIELDS_MAX);
    length = fill_fields(head, UPGRADE_FIELDS_MAX - OTHERS + 1, 10);
    read_both_ways(&upgrade, (uint8_t *)head, length, &result);
    assert_int_equal(result, UPGRADE_REFUSED);
    assert_int_equal(upgrade.refusal.status, 431);
}

/* The translation of a head of the maximum size fits, whatever the lengths of its fields. */
static void test_translation_fits(void **state)
{
    static char head[UPGRADE_HEAD_MAX];
    static struct upgrade upgrade;

    (void)state;
    for (size_t length = 3; length < 8000; length += length < 600 ? 1 : 97) {
        static uint8_t translation[UPGRADE_HTTP2_MAX + 1];
        size_t room = (UPGRADE_HEAD_MAX - LENGTH(GET HOST ASK END)) / (length + 2);
        size_t count = room < UPGRADE_FIELDS_MAX - 4 ? room : UPGRADE_FIELDS_MAX - 4;
        size_t bytes = fill_fields(head, count, length);

        upgrade_start(&upgrade);
        assert_int_equal(upgrade_read(&upgrade, (uint8_t *)head, bytes), UPGRADE_COMPLETE);
        translation[UPGRADE_HTTP2_MAX] = 0xaa;
        assert_true(upgrade_translate(&upgrade, translation) <= UPGRADE_HTTP2_MAX);
        assert_int_equal(translation[UPGRADE_HTTP2_MAX], 0xaa);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_request_lines),
        cmocka_unit_test(test_bytes_after_the_head),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_most_settings),
        cmocka_unit_test(test_longest_head),
        cmocka_unit_test(test_most_fields),
        cmocka_unit_test(test_translation_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
