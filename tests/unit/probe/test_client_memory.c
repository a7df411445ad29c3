/* The probe's client: every allocation fails in turn; nothing leaks, and nothing is taken for
 * complete. */
#include "unit/probe/scripted_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

/* The client's allocations are replaced by the linker's --wrap, its session's by nghttp2_mem. */

static long allocations_until_failure = -1; /* -1 = none fails */
static bool allocation_failed;

static bool must_fail(void)
{
    if (allocations_until_failure < 0 || allocations_until_failure-- > 0)
        return false;
    allocation_failed = true;
    return true;
}

static void *allocate(size_t size, void *user_data)
{
    (void)user_data;
    return must_fail() ? NULL : malloc(size);
}

static void *resize(void *old, size_t size, void *user_data)
{
    (void)user_data;
    return must_fail() ? NULL : realloc(old, size);
}

static void release(void *memory, void *user_data)
{
    (void)user_data;
    free(memory);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);
int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);
int __wrap_nghttp2_session_client_new(nghttp2_session **session,
                                      const nghttp2_session_callbacks *callbacks, void *user_data);

void *__wrap_calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : __real_calloc(count, size);
}

static void *allocate_zeroed(size_t count, size_t size, void *user_data)
{
    (void)user_data;
    return __wrap_calloc(count, size);
}

int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks)
{
    return must_fail() ? NGHTTP2_ERR_NOMEM : __real_nghttp2_session_callbacks_new(callbacks);
}

int __wrap_nghttp2_session_client_new(nghttp2_session **session,
                                      const nghttp2_session_callbacks *callbacks, void *user_data)
{
    nghttp2_mem memory = {NULL, allocate, release, allocate_zeroed, resize};

    return nghttp2_session_client_new3(session, callbacks, user_data, NULL, &memory);
}

/* Let the allocation after ${count} fail. Return whether there was one. nghttp2 does not report
 * every failure: the client may only wait for more. */
static bool run_out_of_memory_after(long count)
{
    allocation_failed = false;
    allocations_until_failure = count;
    client = client_new(&usual_request);
    if (client != NULL) {
        play_script(50);
        client_send_goaway(client);
        discard_output();
    }
    allocations_until_failure = -1;
    assert_true(client != NULL || allocation_failed);
    if (!allocation_failed)
        assert_whole_response();
    client_free(client);
    client = NULL;
    return allocation_failed;
}

static void test_allocation_failures(void **state)
{
    long count = 0;

    (void)close_client(state);
    script_response();
    while (run_out_of_memory_after(count))
        count++;
    assert_true(count > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(test_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
