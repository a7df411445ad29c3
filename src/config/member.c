/*
 * member: reads and writes the member of struct settings that belongs to an option. Values are
 * valid when they arrive here; value.c has checked them.
 */
#include "config/settings_internal.h"

#include <stdlib.h>
#include <string.h>

/* What option->offset points to. */
enum member_kind { MEMBER_NONE, MEMBER_NUMBER, MEMBER_BOOL, MEMBER_STRING, MEMBER_LIST };

static enum member_kind member_kind_of(const struct config_option *option)
{
    switch (option->type) {
    case TYPE_NUMBER:
    case TYPE_PORT:
    case TYPE_OCTAL:
    case TYPE_SIZE:
    case TYPE_DURATION:
    case TYPE_ENUM:
        return MEMBER_NUMBER;
    case TYPE_SWITCH:
    case TYPE_ACTION:
        return MEMBER_BOOL;
    case TYPE_PATH:
    case TYPE_OPERAND:
        return MEMBER_STRING;
    case TYPE_ADDRESSES:
        return MEMBER_LIST;
    case TYPE_QUIET:
    case TYPE_VERBOSE:
        break;
    }
    return MEMBER_NONE;
}

static void *member_of(const struct config_option *option, struct settings *settings)
{
    return (char *)settings + option->offset;
}

static const void *const_member_of(const struct config_option *option,
                                   const struct settings *settings)
{
    return (const char *)settings + option->offset;
}

uint64_t member_number(const struct config_option *option, const struct settings *settings)
{
    const void *member = const_member_of(option, settings);

    return member_kind_of(option) == MEMBER_BOOL ? *(const bool *)member
                                                 : *(const uint64_t *)member;
}

char *const *member_strings(const struct config_option *option, const struct settings *settings,
                            char *single[2])
{
    const void *member = const_member_of(option, settings);

    single[0] = NULL;
    single[1] = NULL;
    if (member_kind_of(option) == MEMBER_STRING)
        single[0] = *(char *const *)member;
    else if (*(char **const *)member != NULL)
        return *(char **const *)member;
    return single;
}

void member_clear(const struct config_option *option, struct settings *settings)
{
    char ***list = member_of(option, settings);
    char **string = member_of(option, settings);

    switch (member_kind_of(option)) {
    case MEMBER_LIST:
        for (char **each = *list; each != NULL && *each != NULL; each++)
            free(*each);
        free(*list);
        *list = NULL;
        break;
    case MEMBER_STRING:
        free(*string);
        *string = NULL;
        break;
    case MEMBER_NUMBER:
    case MEMBER_BOOL:
    case MEMBER_NONE:
        break;
    }
}

static bool list_append(char ***list, const char *text)
{
    size_t count = 0;

    while (*list != NULL && (*list)[count] != NULL)
        count++;
    char **longer = reallocarray(*list, count + 2, sizeof(*longer));
    if (longer == NULL)
        return false;
    *list = longer;
    longer[count] = strdup(text);
    longer[count + 1] = NULL;
    return longer[count] != NULL;
}

static bool string_replace(char **string, const char *text)
{
    char *copy = strdup(text);

    if (copy == NULL)
        return false;
    free(*string);
    *string = copy;
    return true;
}

bool member_store(const struct config_option *option, struct settings *settings, const char *text,
                  uint64_t number)
{
    void *member = member_of(option, settings);

    switch (member_kind_of(option)) {
    case MEMBER_NUMBER:
        *(uint64_t *)member = number;
        return true;
    case MEMBER_BOOL:
        *(bool *)member = number != 0;
        return true;
    case MEMBER_STRING:
        return string_replace(member, text);
    case MEMBER_LIST:
        return list_append(member, text);
    case MEMBER_NONE:
        break;
    }
    return true;
}

static bool strings_equal(char *const *a, char *const *b)
{
    for (; *a != NULL && *b != NULL; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return *a == NULL && *b == NULL;
}

bool member_equal(const struct config_option *option, const struct settings *a,
                  const struct settings *b)
{
    char *single_a[2];
    char *single_b[2];

    if (!option_is_string(option))
        return member_number(option, a) == member_number(option, b);
    return strings_equal(member_strings(option, a, single_a), member_strings(option, b, single_b));
}

bool member_copy(const struct config_option *option, struct settings *to,
                 const struct settings *from)
{
    char *single[2];

    if (!option_is_string(option))
        return member_store(option, to, "", member_number(option, from));
    member_clear(option, to);
    for (char *const *text = member_strings(option, from, single); *text != NULL; text++)
        if (!member_store(option, to, *text, 0))
            return false;
    return true;
}
