#include "net/interfaces.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ADDRESSES_MAX = 256,
    IPV6_DIGITS = 2 * sizeof(struct in6_addr),
};

static bool visit_ioctl_result(const struct ifconf *found, interfaces_visit_fn *visit,
                               void *argument)
{
    size_t count = (size_t)found->ifc_len / sizeof(*found->ifc_req);
    char text[INET_ADDRSTRLEN];

    for (size_t i = 0; i < count; i++) {
        struct sockaddr_in address;

        memcpy(&address, &found->ifc_req[i].ifr_addr, sizeof(address));
        if (inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text)) != NULL &&
            !visit(text, argument))
            return false;
    }
    return true;
}

static bool each_ipv4(interfaces_visit_fn *visit, void *argument)
{
    struct ifreq list[ADDRESSES_MAX];
    struct ifconf found = {.ifc_len = sizeof(list), .ifc_req = list};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool result = true;

    if (fd < 0)
        return true;
    if (ioctl(fd, SIOCGIFCONF, &found) == 0)
        result = visit_ioctl_result(&found, visit, argument);
    close(fd);
    return result;
}

/* A line of /proc/net/if_inet6 starts with the 32 hexadecimal digits of an address. */
static bool parse_proc_line(const char *line, char text[INET6_ADDRSTRLEN])
{
    struct in6_addr address;
    char groups[INET6_ADDRSTRLEN];
    size_t length = 0;

    for (size_t i = 0; i < IPV6_DIGITS && line[i] != '\0'; i++) {
        if (i > 0 && i % 4 == 0)
            groups[length++] = ':';
        groups[length++] = line[i];
    }
    groups[length] = '\0';
    return inet_pton(AF_INET6, groups, &address) == 1 &&
           inet_ntop(AF_INET6, &address, text, INET6_ADDRSTRLEN) != NULL;
}

static bool each_ipv6(interfaces_visit_fn *visit, void *argument)
{
    FILE *file = fopen("/proc/self/net/if_inet6", "re");
    char text[INET6_ADDRSTRLEN];
    char line[128];
    bool result = true;

    if (file == NULL)
        return true;
    while (result && fgets(line, sizeof(line), file) != NULL) {
        if (parse_proc_line(line, text))
            result = visit(text, argument);
    }
    (void)fclose(file);
    return result;
}

bool interfaces_each(interfaces_visit_fn *visit, void *argument)
{
    return each_ipv4(visit, argument) && each_ipv6(visit, argument);
}
