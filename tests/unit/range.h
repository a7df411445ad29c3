/* A range for unsigned numbers: cmocka 2 deprecates the macro of cmocka 1, in favour of one that
 * does not pass -Wsign-conversion. Include this after <cmocka.h>. */
#ifndef H2ECHOD_TESTS_RANGE_H
#define H2ECHOD_TESTS_RANGE_H

#define assert_between(value, minimum, maximum)                                                    \
    do {                                                                                           \
        size_t value_ = (value), minimum_ = (minimum), maximum_ = (maximum);                       \
        if (value_ < minimum_ || value_ > maximum_) {                                              \
            fail_msg("%s is %zu, not between %zu and %zu", #value, value_, minimum_, maximum_);    \
        }                                                                                          \
    } while (0)

#endif
