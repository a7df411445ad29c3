/* Numbers in network byte order, and the fixed-size parts of frames. */
#include "base/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static void test_numbers(void **state)
{
    static const uint8_t bytes[] = {0xfe, 0xdc, 0xba, 0x98};
    uint8_t written[sizeof(bytes)];

    (void)state;
    assert_int_equal(wire_read_u16(bytes), 0xfedc);
    assert_int_equal(wire_read_u32(bytes), 0xfedcba98);
    assert_int_equal(wire_read_u31(bytes), 0x7edcba98);
    wire_write_u32(written, 0xfedcba98);
    assert_memory_equal(written, bytes, sizeof(bytes));
}

static void test_setting(void **state)
{
    struct wire_setting setting = wire_read_setting((const uint8_t *)"\x12\x34\xff\0\0\1");

    (void)state;
    assert_int_equal(setting.id, 0x1234);
    assert_int_equal(setting.value, 0xff000001);
}

static void test_dependency(void **state)
{
    struct wire_dependency dependency = wire_read_dependency((const uint8_t *)"\x80\0\1\2\xff");

    (void)state;
    assert_int_equal(dependency.stream_id, 0x102);
    assert_int_equal(dependency.weight, 256);
    assert_true(dependency.exclusive);
    dependency = wire_read_dependency((const uint8_t *)"\x7f\xff\xff\xff\0");
    assert_int_equal(dependency.stream_id, INT32_MAX);
    assert_int_equal(dependency.weight, 1);
    assert_false(dependency.exclusive);
}

static void test_names_of_settings(void **state)
{
    (void)state;
    assert_null(wire_setting_name(0));
    assert_string_equal(wire_setting_name(1), "HEADER_TABLE_SIZE");
    assert_string_equal(wire_setting_name(WIRE_SETTING_INITIAL_WINDOW_SIZE), "INITIAL_WINDOW_SIZE");
    assert_null(wire_setting_name(7));
    assert_string_equal(wire_setting_name(8), "ENABLE_CONNECT_PROTOCOL");
    assert_string_equal(wire_setting_name(9), "NO_RFC7540_PRIORITIES");
    assert_null(wire_setting_name(10));
    assert_null(wire_setting_name(UINT16_MAX));
}

static void test_preface(void **state)
{
    (void)state;
    assert_int_equal(strlen(wire_preface), WIRE_PREFACE_SIZE);
    assert_string_equal(wire_preface, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_setting),
        cmocka_unit_test(test_dependency), cmocka_unit_test(test_names_of_settings),
        cmocka_unit_test(test_preface),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
