/*
 * file_syntax: what separates a value in the file from what surrounds it. There are no quotes and
 * no escapes, so some strings cannot be values.
 */
#include "config/settings_internal.h"

#include <ctype.h>
#include <string.h>

bool file_syntax_is_white_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

size_t file_syntax_length_before_comment(const char *text)
{
    size_t i = 0;

    while (text[i] != '\0' &&
           !(text[i] == '#' && (i == 0 || file_syntax_is_white_space(text[i - 1]))))
        i++;
    return i;
}

bool file_syntax_can_hold(const char *text)
{
    size_t length = strlen(text);

    for (size_t i = 0; i < length; i++)
        if (iscntrl((unsigned char)text[i]))
            return false;
    return length == 0 || (text[0] != ' ' && text[length - 1] != ' ' &&
                           file_syntax_length_before_comment(text) == length);
}
