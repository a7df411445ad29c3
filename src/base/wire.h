/*
 * setting: the parameters of SETTINGS frames, by name.
 */
#ifndef H2ECHOD_BASE_WIRE_H
#define H2ECHOD_BASE_WIRE_H

#include <stdint.h>

enum { WIRE_SETTING_SIZE = 6 }; /* of one in a frame: two bytes of id, four of value */

/*
 * wire_setting_name(id):
 * Return the name of a setting without "SETTINGS_" before it (RFC 9113 section 6.5.2, RFC 8441, RFC
 * 9218), NULL if it has none. The string is static.
 */
const char *wire_setting_name(uint16_t id);

#endif
