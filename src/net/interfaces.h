/*
 * interfaces: the IP addresses of this machine's network interfaces.
 *
 * getifaddrs(3) needs a netlink socket, which the sandbox of a systemd unit may forbid even to a
 * TCP server. This uses an ioctl and a file in /proc instead.
 */
#ifndef H2ECHOD_NET_INTERFACES_H
#define H2ECHOD_NET_INTERFACES_H

#include <stdbool.h>

/* Called with an address as text, without a zone. Returns false to stop. */
typedef bool interfaces_visit_fn(const char *address, void *argument);

/*
 * interfaces_each(visit, argument):
 * Call ${visit} for every IPv4 and IPv6 address of an interface. Addresses that cannot be read are
 * skipped without an error. Return false if ${visit} did.
 */
bool interfaces_each(interfaces_visit_fn *visit, void *argument);

#endif
