#include "conn/sniff.h"

#include "base/structured.h"
#include "base/wire.h"

#include <string.h>

const uint8_t sniff_tls_alert[SNIFF_TLS_ALERT_SIZE] = {
    0x15,       /* alert */
    0x03, 0x01, /* the version that every client accepts in the answer to its first record */
    0x00, 0x02, /* length */
    0x02,       /* fatal */
    0x0a,       /* unexpected_message */
};

static enum sniffed sniff_http2(const uint8_t *bytes, size_t length)
{
    size_t compared = length < WIRE_PREFACE_SIZE ? length : WIRE_PREFACE_SIZE;

    if (memcmp(bytes, wire_preface, compared) != 0)
        return SNIFFED_UNKNOWN;
    return compared < WIRE_PREFACE_SIZE ? SNIFFED_INCOMPLETE : SNIFFED_HTTP2;
}

static enum sniffed sniff_tls(const uint8_t *bytes, size_t length)
{
    enum { HANDSHAKE = 0x16, MAJOR = 0x03 };

    if (bytes[0] != HANDSHAKE)
        return SNIFFED_UNKNOWN;
    if (length < 2)
        return SNIFFED_INCOMPLETE;
    return bytes[1] == MAJOR ? SNIFFED_TLS : SNIFFED_UNKNOWN;
}

/* ${line} is the complete request line after the method: does it end with an HTTP/1.x version? */
static enum sniffed sniff_version(const uint8_t *line, size_t length)
{
    enum { VERSION = sizeof("HTTP/1.x") - 1 };

    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (length <= VERSION || line[length - VERSION - 1] != ' ' ||
        memcmp(line + length - VERSION, "HTTP/1.", VERSION - 1) != 0)
        return SNIFFED_UNKNOWN;
    return line[length - 1] >= '0' && line[length - 1] <= '9' ? SNIFFED_HTTP1 : SNIFFED_UNKNOWN;
}

/* method SP request-target SP HTTP-version CRLF; or with LF alone, as when it is typed by hand. */
static enum sniffed sniff_http1(const uint8_t *bytes, size_t length)
{
    const uint8_t *newline = memchr(bytes, '\n', length);
    size_t line = newline != NULL ? (size_t)(newline - bytes) : length;
    size_t method = 0;

    while (method < line && structured_is_tchar(bytes[method]))
        method++;
    if (method == 0 || (method < line && bytes[method] != ' '))
        return SNIFFED_UNKNOWN;
    if (newline == NULL)
        return length < SNIFF_LINE_MAX ? SNIFFED_INCOMPLETE : SNIFFED_UNKNOWN;
    if (method == line || line >= SNIFF_LINE_MAX)
        return SNIFFED_UNKNOWN;
    return sniff_version(bytes + method + 1, line - method - 1);
}

enum sniffed sniff_protocol(const uint8_t *bytes, size_t length)
{
    static enum sniffed (*const sniffers[])(const uint8_t *, size_t) = {sniff_http2, sniff_tls,
                                                                        sniff_http1};
    enum sniffed result = SNIFFED_UNKNOWN;

    if (length == 0)
        return SNIFFED_INCOMPLETE;
    for (size_t i = 0; i < sizeof(sniffers) / sizeof(sniffers[0]); i++) {
        enum sniffed found = sniffers[i](bytes, length);

        if (found != SNIFFED_UNKNOWN && found != SNIFFED_INCOMPLETE)
            return found;
        if (found == SNIFFED_INCOMPLETE)
            result = SNIFFED_INCOMPLETE;
    }
    return result;
}
