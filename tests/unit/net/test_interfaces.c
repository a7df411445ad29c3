/* interfaces: the same addresses as from getifaddrs. */
#include "net/interfaces.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ADDRESSES_MAX = 64 };

struct addresses {
    char texts[ADDRESSES_MAX][INET6_ADDRSTRLEN];
    size_t count;
    size_t wanted; /* stop after so many */
};

static bool add_address(const char *address, void *argument)
{
    struct addresses *addresses = argument;

    assert_true(addresses->count < ADDRESSES_MAX);
    (void)snprintf(addresses->texts[addresses->count++], INET6_ADDRSTRLEN, "%s", address);
    return addresses->count != addresses->wanted;
}

static bool has_address(const struct addresses *addresses, const char *text)
{
    for (size_t i = 0; i < addresses->count; i++)
        if (strcmp(addresses->texts[i], text) == 0)
            return true;
    return false;
}

/* Return true if the kernel lists IPv6 addresses here: the list is a file in /proc. */
static bool is_ipv6_listed(void)
{
    return access("/proc/self/net/if_inet6", R_OK) == 0;
}

/* Return an IPv4 or IPv6 address as text; "" for other families. */
static const char *text_of(const struct sockaddr *address)
{
    static char text[INET6_ADDRSTRLEN];

    text[0] = '\0';
    if (address != NULL && address->sa_family == AF_INET)
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr,
                        text, sizeof(text));
    if (address != NULL && address->sa_family == AF_INET6 && is_ipv6_listed())
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
                        text, sizeof(text));
    return text;
}

static void test_same_as_getifaddrs(void **state)
{
    struct addresses found = {.wanted = ADDRESSES_MAX};
    struct ifaddrs *all;
    size_t count = 0;

    (void)state;
    assert_true(interfaces_each(add_address, &found));
    assert_int_equal(getifaddrs(&all), 0);
    for (const struct ifaddrs *each = all; each != NULL; each = each->ifa_next) {
        const char *text = text_of(each->ifa_addr);

        if (text[0] == '\0')
            continue;
        count++;
        if (!has_address(&found, text))
            fail_msg("%s is not found", text);
    }
    freeifaddrs(all);
    assert_int_equal(found.count, count);
    assert_true(has_address(&found, "127.0.0.1"));
}

static void test_stop(void **state)
{
    struct addresses found = {.wanted = 1};

    (void)state;
    assert_false(interfaces_each(add_address, &found));
    assert_int_equal(found.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_getifaddrs),
        cmocka_unit_test(test_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
