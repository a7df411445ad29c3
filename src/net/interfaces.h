/*
 * interfaces: the addresses that this machine has.
 *
 * getifaddrs(3) asks by netlink, which a sandbox need not allow who serves TCP: these ways are open
 * to him as well.
 */
#ifndef H2ECHOD_NET_INTERFACES_H
#define H2ECHOD_NET_INTERFACES_H

#include <stdbool.h>

/* Takes an address in its text form, without a zone; returns false if no further one is wanted. */
typedef bool interfaces_visit_fn(const char *address, void *argument);

/*
 * interfaces_each(take, argument):
 * Hand every address of IPv4 and IPv6 that an interface has to ${take}. Those that can't be found
 * out are left out. Return false if ${take} did.
 */
bool interfaces_each(interfaces_visit_fn *take, void *argument);

#endif
