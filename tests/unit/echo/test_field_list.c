/* A section's fields as they arrived: copies in one block, in order. */
#include "echo/field_list.h"

#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

/* It has no memory of its own, so that AddressSanitizer and valgrind check every block. */
static struct arena arena;

static struct field_list_entry entry_of(const char *name, const char *value, bool never_indexed)
{
    return (struct field_list_entry){span_of(name), span_of(value), never_indexed};
}

static void check_entry(const struct field_list_entry *entry, const char *name, const char *value,
                        bool never_indexed)
{
    assert_true(span_is(entry->name, name));
    assert_true(span_is(entry->value, value));
    assert_int_equal(entry->never_indexed, never_indexed);
}

static void test_no_fields(void **state)
{
    struct field_list *fields = field_list_new(&arena, 0, 0);

    (void)state;
    assert_non_null(fields);
    assert_int_equal(fields->count, 0);
    assert_int_equal(fields->length, 0);
    field_list_free(&arena, fields);
    field_list_free(&arena, NULL);
}

/* The originals may change afterwards; the room that was asked for is exactly enough. */
static void test_copies_in_order(void **state)
{
    char first[] = "first";
    char second[] = "second value";
    struct field_list_entry entries[] = {entry_of(first, "1", false), entry_of("x", second, true),
                                         entry_of(first, "", false)};
    size_t length = 6 + 13 + 5;
    struct field_list *fields = field_list_new(&arena, 3, length);

    (void)state;
    assert_non_null(fields);
    for (size_t i = 0; i < 3; i++)
        field_list_add(fields, &entries[i]);
    memset(first, '-', sizeof(first) - 1);
    memset(second, '-', sizeof(second) - 1);
    assert_int_equal(fields->count, 3);
    assert_int_equal(fields->length, length);
    check_entry(&fields->entries[0], "first", "1", false);
    check_entry(&fields->entries[1], "x", "second value", true);
    check_entry(&fields->entries[2], "first", "", false);
    field_list_free(&arena, fields);
}

static void test_any_byte(void **state)
{
    uint8_t all[256];
    struct field_list_entry entry = {{all, sizeof(all)}, {all + 1, sizeof(all) - 1}, false};
    struct field_list *fields = field_list_new(&arena, 1, 2 * sizeof(all) - 1);

    (void)state;
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    field_list_add(fields, &entry);
    assert_memory_equal(fields->entries[0].name.bytes, all, sizeof(all));
    assert_memory_equal(fields->entries[0].value.bytes, all + 1, sizeof(all) - 1);
    field_list_free(&arena, fields);
}

/* The bytes of an empty name or value may be NULL. */
static void test_empty_field(void **state)
{
    struct field_list_entry entry = {0};
    struct field_list *fields = field_list_new(&arena, 1, 0);

    (void)state;
    field_list_add(fields, &entry);
    assert_int_equal(fields->count, 1);
    check_entry(&fields->entries[0], "", "", false);
    field_list_free(&arena, fields);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_fields),
        cmocka_unit_test(test_copies_in_order),
        cmocka_unit_test(test_any_byte),
        cmocka_unit_test(test_empty_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
