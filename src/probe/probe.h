/*
 * probe: the client of --probe, for health checks. It sends one request to a daemon and checks the
 * response.
 */
#ifndef H2ECHOD_PROBE_PROBE_H
#define H2ECHOD_PROBE_PROBE_H

#include "config/settings.h"

/*
 * probe_run(settings):
 * Send GET to the URL in ${settings}, or to the daemon that runs with the same settings. Print the
 * server's version, SETTINGS and response to stdout, or log why it is not a valid response of
 * h2echod. This takes at most five seconds, besides looking up a host's name. Return the process's
 * exit code: 0; 1 if it failed; 64 if the URL is wrong.
 */
int probe_run(const struct settings *settings);

#endif
