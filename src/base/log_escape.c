/*
 * log_escape: bytes from the network as printable ASCII, for log lines.
 */
#include "base/log.h"

#include <string.h>

/* Write into ${shown} how ${byte} is shown, without a NUL; return the number of characters. */
static size_t escape_byte(char shown[4], unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";

    if (byte == '"' || byte == '\\') {
        shown[0] = '\\';
        shown[1] = (char)byte;
        return 2;
    }
    if (byte >= 0x20 && byte <= 0x7e) {
        shown[0] = (char)byte;
        return 1;
    }
    shown[0] = '\\';
    shown[1] = 'x';
    shown[2] = digits[byte >> 4];
    shown[3] = digits[byte & 15];
    return 4;
}

const char *log_escape(char *buffer, size_t size, const void *bytes, size_t length)
{
    static const char cut[] = "...";
    const unsigned char *from = bytes;
    size_t used = 0;
    size_t cut_at = 0; /* the last place between two shown bytes that leaves room for "..." */

    for (size_t i = 0; i < length; i++) {
        char shown[4];
        size_t width = escape_byte(shown, from[i]);

        if (used + sizeof(cut) <= size)
            cut_at = used;
        if (used + width >= size) {
            memcpy(buffer + cut_at, cut, sizeof(cut));
            return buffer;
        }
        memcpy(buffer + used, shown, width);
        used += width;
    }
    buffer[used] = '\0';
    return buffer;
}

size_t log_escape_size(const void *bytes, size_t length)
{
    const unsigned char *from = bytes;
    size_t size = 1;
    char shown[4];

    for (size_t i = 0; i < length; i++)
        size += escape_byte(shown, from[i]);
    return size;
}
