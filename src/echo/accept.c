#include "echo/accept.h"

#include "base/structured.h"

/* Is this parameter a weight of 0: "q=0", "q=0.0" and so on (RFC 9110 section 12.4.2)? */
static bool is_weight_zero(struct span parameter)
{
    static const char zero[] = "q=0";
    const size_t length = sizeof(zero) - 1;

    if (parameter.length < length ||
        !span_is_ignoring_case((struct span){parameter.bytes, length}, zero))
        return false;
    for (size_t i = length; i < parameter.length; i++) {
        if (parameter.bytes[i] != '0' && parameter.bytes[i] != '.')
            return false;
    }
    return true;
}

static bool range_names(struct span range, const char *type)
{
    struct span part;

    if (!structured_next_part(&range, &part) || !span_is_ignoring_case(part, type))
        return false;
    while (structured_next_part(&range, &part)) {
        if (is_weight_zero(part))
            return false;
    }
    return true;
}

bool accept_names(struct span value, const char *type)
{
    struct span range;

    while (structured_next_member(&value, &range)) {
        if (range_names(range, type))
            return true;
    }
    return false;
}
