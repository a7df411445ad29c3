#include "config/internal.h"

#include <stdlib.h>
#include <string.h>

/* What the member of struct settings is that an option's offset leads to. */
enum member_kind { MEMBER_NONE, MEMBER_NUMBER, MEMBER_BOOL, MEMBER_TEXT, MEMBER_LIST };

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
        return MEMBER_TEXT;
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

/* The number in a member; of texts there is none. */
uint64_t member_number(const struct config_option *option, const struct settings *settings)
{
    const void *member = const_member_of(option, settings);

    return member_kind_of(option) == MEMBER_BOOL ? *(const bool *)member
                                                 : *(const uint64_t *)member;
}

/* The texts of a member of either kind: ${one} holds the text of a member that has only one. */
char *const *member_texts(const struct config_option *option, const struct settings *settings,
                          char *one[2])
{
    const void *member = const_member_of(option, settings);

    one[0] = NULL;
    one[1] = NULL;
    if (member_kind_of(option) == MEMBER_TEXT)
        one[0] = *(char *const *)member;
    else if (*(char **const *)member != NULL)
        return *(char **const *)member;
    return one;
}

void member_clear(const struct config_option *option, struct settings *settings)
{
    char ***list = member_of(option, settings);
    char **text = member_of(option, settings);

    switch (member_kind_of(option)) {
    case MEMBER_LIST:
        for (char **each = *list; each != NULL && *each != NULL; each++)
            free(*each);
        free(*list);
        *list = NULL;
        break;
    case MEMBER_TEXT:
        free(*text);
        *text = NULL;
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

static bool text_replace(char **member, const char *text)
{
    char *copy = strdup(text);

    if (copy == NULL)
        return false;
    free(*member);
    *member = copy;
    return true;
}

/* Put a value that is in order into its member: a text, or the number it was found to be. Return
 * false if memory ran out. */
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
    case MEMBER_TEXT:
        return text_replace(member, text);
    case MEMBER_LIST:
        return list_append(member, text);
    case MEMBER_NONE:
        break;
    }
    return true;
}

bool member_equal(const struct config_option *option, const struct settings *a,
                  const struct settings *b)
{
    char *one_a[2];
    char *one_b[2];

    if (!option_is_text(option))
        return member_number(option, a) == member_number(option, b);
    char *const *in_a = member_texts(option, a, one_a);
    char *const *in_b = member_texts(option, b, one_b);
    while (*in_a != NULL && *in_b != NULL && strcmp(*in_a, *in_b) == 0) {
        in_a++;
        in_b++;
    }
    return *in_a == NULL && *in_b == NULL;
}

bool member_copy(const struct config_option *option, struct settings *to,
                 const struct settings *from)
{
    char *one[2];

    if (!option_is_text(option))
        return member_store(option, to, "", member_number(option, from));
    member_clear(option, to);
    for (char *const *text = member_texts(option, from, one); *text != NULL; text++)
        if (!member_store(option, to, *text, 0))
            return false;
    return true;
}
