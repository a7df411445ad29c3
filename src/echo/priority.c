#include "echo/priority.h"

#include "base/structured.h"

static bool is_urgency(struct span member)
{
    return member.length == 3 && memcmp(member.bytes, "u=", 2) == 0 && member.bytes[2] >= '0' &&
           member.bytes[2] <= '7';
}

void priority_parse(struct span value, struct priority *priority)
{
    struct span member;
    struct span bare; /* the member without its parameters, which have no meaning here */

    while (structured_next_member(&value, &member)) {
        if (!structured_next_part(&member, &bare))
            continue;
        if (is_urgency(bare))
            priority->urgency = bare.bytes[2] - '0';
        else if (span_is(bare, "i") || span_is(bare, "i=?1"))
            priority->incremental = true;
        else if (span_is(bare, "i=?0"))
            priority->incremental = false;
    }
}
