/* TLS when memory runs out: every allocation fails once, or from one on. */
#include "tls/pair.h"

#if WITH_TLS

#include "tls/files.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

/* --- Allocations --- */

static struct {
    bool armed;
    size_t left; /* allocations that succeed before one fails */
    bool all_from_then_on;
    bool has_failed;
    long live; /* blocks of OpenSSL */
} memory;

/* Return true if this allocation has to fail. */
static bool has_to_fail(void)
{
    if (!memory.armed || tls_pair_is_client_working)
        return false;
    if (memory.left > 0) {
        memory.left--;
        return false;
    }
    if (memory.has_failed && !memory.all_from_then_on)
        return false;
    memory.has_failed = true;
    return true;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

/* For the allocations of src/net. */
void *__wrap_calloc(size_t count, size_t size)
{
    return has_to_fail() ? NULL : __real_calloc(count, size);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
    void *block = size == 0 || has_to_fail() ? NULL : malloc(size);

    (void)file;
    (void)line;
    memory.live += block != NULL;
    return block;
}

static void openssl_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    memory.live -= block != NULL;
    free(block);
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line)
{
    if (old == NULL)
        return openssl_malloc(size, file, line);
    if (size > 0)
        return has_to_fail() ? NULL : realloc(old, size);
    openssl_free(old, file, line);
    return NULL;
}

static struct tls_pair pair; /* too large for the stack */

/* If all allocations of a thread's first call fail, OpenSSL 3.6 never returns, and if only the
 * second fails, it leaks four blocks. So with OpenSSL 3.6 the first call is made before the
 * allocations fail, unless all of them do. */
static void arm(size_t n, bool all)
{
    bool spare_first_call = OPENSSL_version_major() > 3 || OPENSSL_version_minor() >= 6;

    if (spare_first_call && (n > 0 || !all))
        ERR_clear_error();
    memory.left = n;
    memory.all_from_then_on = all;
    memory.has_failed = false;
    memory.armed = true;
}

static bool disarm(void)
{
    memory.armed = false;
    return memory.has_failed;
}

/* Return the number of blocks in use, without those that OpenSSL keeps for this thread. */
static long count_live(void)
{
    ERR_clear_error();
    OPENSSL_thread_stop();
    return memory.live;
}

/* Create a context from three files. Return true if an allocation failed. */
static bool try_context(size_t n, bool all)
{
    char error[TLS_ERROR_MAX];
    struct certificate described;
    long before = count_live();
    struct tls_context *context;
    bool has_failed;

    arm(n, all);
    context = tls_files_context("good.pem", "good.key", "chain.pem", error);
    if (context != NULL)
        tls_context_certificate(context, &described);
    has_failed = disarm();
    if (context == NULL) {
        assert_true(has_failed);
        assert_true(strlen(error) > 10);
    }
    tls_context_free(context);
    assert_int_equal(count_live(), before);
    return has_failed;
}

/* Have a conversation, in which allocations of the server fail. Return true if one did. */
static bool try_connection(struct tls_context *context, size_t n, bool all)
{
    static const uint8_t answer[] = "answer";
    long before = count_live();
    struct tls_info info;
    bool has_failed;
    bool is_ok;

    tls_pair_open_client(&pair);
    tls_client_write(pair.client, "text", 4);
    arm(n, all);
    is_ok = tls_pair_open_server(&pair, context);
    errno = 0;
    is_ok = is_ok && tls_pair_handshake(&pair) == 1;
    assert_true(is_ok || pair.server == NULL || errno == ENOMEM || errno == EPROTO);
    if (!is_ok && pair.server != NULL && errno == EPROTO)
        assert_string_not_equal(tls_error(pair.server), "ok");
    if (is_ok) {
        uint8_t bytes[4];

        tls_describe(pair.server, &info);
        is_ok = tls_pair_read_all(&pair, bytes, sizeof(bytes)) == 4 &&
                tls_pair_write_all(&pair, answer, sizeof(answer));
        assert_true(is_ok || (errno != EINTR && errno != EAGAIN));
        tls_shutdown_write(pair.server);
    }
    has_failed = disarm();
    assert_true(is_ok || has_failed);
    tls_pair_receive(&pair);
    if (is_ok)
        assert_memory_equal(pair.received, answer, pair.received_length);
    tls_pair_close(&pair);
    assert_int_equal(count_live(), before);
    return has_failed;
}

/* A context takes ten thousand allocations, many of them alike: let every fifth fail; and fewer in
 * slow variants of the build, not if the machine is just busy (H2ECHOD_SLOW=2). */
static size_t stride(void)
{
    const char *slow = getenv("H2ECHOD_SLOW");
    size_t times = slow != NULL ? strtoul(slow, NULL, 10) : 1;

    return times > 2 ? 5 * times / 2 : 5;
}

static void test_context(void **state)
{
    (void)state;
    assert_false(try_context(SIZE_MAX, false));
    for (int all = 0; all <= 1; all++) {
        size_t n = 0;

        while (try_context(n, all != 0))
            n += stride();
        print_message("a context: %zu allocations\n", n);
        assert_true(n > 100);
    }
}

static void test_connection(void **state)
{
    struct tls_context *context = tls_pair_new_context();

    (void)state;
    assert_false(try_connection(context, SIZE_MAX, false));
    for (int all = 0; all <= 1; all++) {
        size_t n = 0;

        while (try_connection(context, n, all != 0))
            n++;
        print_message("a connection: %zu allocations\n", n);
        assert_true(n > 100);
    }
    tls_context_free(context);
}

/* Call everything once, since OpenSSL keeps some of what it allocates at first use. */
static int set_up(void **state)
{
    char error[TLS_ERROR_MAX];
    struct certificate described;
    struct tls_context *context;

    tls_files_setup(state);
    context = tls_files_context("good.pem", "good.key", "chain.pem", error);
    tls_context_certificate(context, &described);
    tls_context_free(context);
    context = tls_pair_new_context();
    tls_pair_open(&pair, context, NULL, 0);
    assert_true(tls_pair_converse(&pair));
    tls_pair_shutdown(&pair);
    tls_pair_close(&pair);
    tls_context_free(context);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_connection),
    };

    assert_int_equal(CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free), 1);
    return cmocka_run_group_tests(tests, set_up, tls_files_teardown);
}

#else

int main(void)
{
    return tls_pair_main_without_tls();
}

#endif
