/*
 * probe: ask a running daemon once, and say how it is: for health checks.
 */
#ifndef H2ECHOD_PROBE_PROBE_H
#define H2ECHOD_PROBE_PROBE_H

#include "config/settings.h"

/*
 * probe_run(settings):
 * Ask the daemon at the URL that ${settings} name, or the one that has these settings itself. Print
 * what it is like and what it answered to stdout; or log why that is not what h2echod answers. All
 * of it takes five seconds at most, the look-up of a name excepted. Return the process's exit code:
 * 0, 1, or 64 if that is no URL.
 */
int probe_run(const struct settings *settings);

#endif
