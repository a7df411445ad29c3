/*
 * structured: what HTTP fields are made of: tokens, lists of members, and their parameters.
 *
 * Lists of RFC 9110 (section 5.6.1) and Structured Fields (RFC 9651) separate members by commas,
 * and parameters by semicolons; either may stand in a quoted string as well, where it separates
 * nothing. This finds the parts; it does not check that they are well-formed. Pure.
 */
#ifndef H2ECHOD_BASE_STRUCTURED_H
#define H2ECHOD_BASE_STRUCTURED_H

#include "base/span.h"

#include <stdbool.h>

/*
 * structured_is_tchar(byte):
 * Return true if ${byte} may be in a token, as methods and field names are (RFC 9110
 * section 5.6.2).
 */
bool structured_is_tchar(uint8_t byte);

/*
 * structured_is_token(span):
 * Return true if ${span} is a token: not empty, and of nothing but such bytes.
 */
bool structured_is_token(struct span span);

/*
 * structured_next_member(list, member):
 * Remove the first member, and the comma after it, from ${list}; let ${member} be that member with
 * its parameters, without the white space around it. It may be empty: "a,,b" has three members.
 * Return false if ${list} is empty.
 */
bool structured_next_member(struct span *list, struct span *member);

/*
 * structured_next_part(member, part):
 * The same within a member: its value first, then each of its parameters.
 */
bool structured_next_part(struct span *member, struct span *part);

#endif
