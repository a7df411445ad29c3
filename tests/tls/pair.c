#include "tls/pair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#if WITH_TLS

#include <openssl/ssl.h>

bool tls_pair_is_client_working;

/* --- The server's callbacks --- */

bool tls_pair_is_retry(int error)
{
    return error == EINTR || error == EAGAIN;
}

/* Return the errno that this call has to fail with, 0 for none. */
static int next_error(struct tls_pair *pair, enum tls_pair_call call)
{
    const struct tls_pair_fault *fault = pair->fault;
    size_t number = pair->calls[call]++;

    if (fault == NULL || fault->error == 0 || fault->call != call)
        return 0;
    if (fault->every_second ? number % 2 != 0 : number < pair->n)
        return 0;
    if (tls_pair_is_retry(fault->error) && !fault->every_second && pair->is_fault_hit)
        return 0;
    pair->is_fault_hit = true;
    return fault->error;
}

static size_t limit(const struct tls_pair *pair, size_t length)
{
    return pair->fault != NULL && pair->fault->byte_by_byte && length > 1 ? 1 : length;
}

static ssize_t pair_read(void *argument, void *buffer, size_t size)
{
    struct tls_pair *pair = argument;
    size_t length;

    errno = next_error(pair, TLS_PAIR_READ);
    if (errno != 0)
        return -1;
    if (pair->is_cut && size > pair->left)
        size = pair->left;
    length = tls_client_take_output(pair->client, buffer, limit(pair, size));
    pair->left -= pair->is_cut ? length : 0;
    if (length > 0 || pair->is_client_gone || pair->is_cut)
        return (ssize_t)length;
    errno = EAGAIN;
    return -1;
}

/* The client must not process the bytes during the server's call: both use the thread's queue of
 * errors. */
static ssize_t pair_write(void *argument, const void *bytes, size_t length)
{
    struct tls_pair *pair = argument;

    errno = next_error(pair, TLS_PAIR_WRITE);
    if (errno != 0)
        return -1;
    length = limit(pair, length);
    tls_pair_is_client_working = true;
    assert_int_equal(BIO_write(pair->client->from_server, bytes, (int)length), length);
    tls_pair_is_client_working = false;
    return (ssize_t)length;
}

void tls_pair_let_client_work(struct tls_pair *pair)
{
    int error = errno;

    tls_pair_is_client_working = true;
    tls_client_write(pair->client, NULL, 0);
    pair->is_client_gone |= pair->client->is_broken;
    tls_pair_is_client_working = false;
    errno = error;
}

/* --- Both ends --- */

struct tls_context *tls_pair_new_context(void)
{
    static char host[] = "unit.example";
    static char address[] = "192.0.2.1";
    static char *const hosts[] = {host, address, NULL};
    const struct tls_options options = {.hosts = hosts};
    char error[TLS_ERROR_MAX] = "";
    struct tls_context *context = tls_context_new(&options, error);

    assert_string_equal(error, "");
    return context;
}

void tls_pair_open_client(struct tls_pair *pair)
{
    *pair = (struct tls_pair){.client = tls_client_new()};
}

bool tls_pair_open_server(struct tls_pair *pair, struct tls_context *context)
{
    const struct tls_io io = {pair_read, pair_write, pair};

    pair->server = tls_new(context, &io);
    return pair->server != NULL;
}

void tls_pair_open(struct tls_pair *pair, struct tls_context *context,
                   const struct tls_pair_fault *fault, size_t n)
{
    tls_pair_open_client(pair);
    pair->fault = fault;
    pair->n = n;
    assert_true(tls_pair_open_server(pair, context));
}

void tls_pair_close(struct tls_pair *pair)
{
    tls_free(pair->server);
    tls_client_free(pair->client);
}

enum { MAX_TURNS = 100000 }; /* then it hangs */

int tls_pair_handshake(struct tls_pair *pair)
{
    int result = -1;

    tls_pair_let_client_work(pair);
    for (int turns = 0; turns < MAX_TURNS; turns++) {
        result = tls_handshake(pair->server);
        tls_pair_let_client_work(pair);
        if (result >= 0 || !tls_pair_is_retry(errno))
            return result;
    }
    fail();
    return result;
}

bool tls_pair_write_all(struct tls_pair *pair, const void *bytes, size_t length)
{
    const uint8_t *next = bytes;

    for (int turns = 0; length > 0 && turns < MAX_TURNS; turns++) {
        ssize_t taken = tls_write(pair->server, next, length);

        tls_pair_let_client_work(pair);
        if (taken < 0 && !tls_pair_is_retry(errno))
            return false;
        if (taken > 0) {
            next += taken;
            length -= (size_t)taken;
        }
    }
    assert_int_equal(length, 0);
    return true;
}

ssize_t tls_pair_read_all(struct tls_pair *pair, uint8_t *bytes, size_t size)
{
    size_t length = 0;

    for (int turns = 0; length < size && turns < MAX_TURNS; turns++) {
        ssize_t got = tls_read(pair->server, bytes + length, size - length);

        if (got == 0)
            break;
        if (got < 0 && !tls_pair_is_retry(errno))
            return -1;
        length += got > 0 ? (size_t)got : 0;
    }
    return (ssize_t)length;
}

void tls_pair_receive(struct tls_pair *pair)
{
    size_t length;

    while ((length = tls_client_read(pair->client, pair->received + pair->received_length,
                                     sizeof(pair->received) - pair->received_length)) > 0)
        pair->received_length += length;
}

/* --- A conversation --- */

/* Several records in both directions, so that there are many calls that can be interrupted. */
enum { REQUEST_SIZE = 1000, RESPONSE_SIZE = 40000 };

static void fill_pattern(uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
}

bool tls_pair_converse(struct tls_pair *pair)
{
    static uint8_t request[REQUEST_SIZE];
    static uint8_t response[RESPONSE_SIZE];
    uint8_t got[REQUEST_SIZE];
    ssize_t length;

    if (tls_pair_handshake(pair) != 1)
        return false;
    fill_pattern(request, sizeof(request));
    fill_pattern(response, sizeof(response));
    tls_client_write(pair->client, request, sizeof(request));
    length = tls_pair_read_all(pair, got, sizeof(got));
    if (length < 0)
        return false;
    assert_int_equal(length, sizeof(request));
    assert_memory_equal(got, request, sizeof(request));
    if (!tls_pair_write_all(pair, response, sizeof(response)))
        return false;
    tls_pair_receive(pair);
    assert_int_equal(pair->received_length, sizeof(response));
    assert_memory_equal(pair->received, response, sizeof(response));
    return true;
}

void tls_pair_shutdown(struct tls_pair *pair)
{
    uint8_t byte;

    tls_client_close(pair->client);
    assert_int_equal(tls_pair_read_all(pair, &byte, 1), 0);
    pair->fault = NULL; /* close_notify is sent once, without a retry */
    tls_shutdown_write(pair->server);
    tls_pair_receive(pair);
    assert_true(pair->client->has_peer_closed);
}

#endif

/* --- Without TLS --- */

static void test_build_without_tls(void **state)
{
    static const struct tls_options options = {.certificate = NULL};
    char error[TLS_ERROR_MAX] = "";

    (void)state;
    assert_null(tls_library_version());
    assert_null(tls_client_new());
    assert_null(tls_context_new(&options, error));
    assert_string_equal(error, "TLS: this h2echod was built without it: build with OpenSSL 3");
    tls_context_free(NULL);
    tls_free(NULL);
}

int tls_pair_main_without_tls(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_build_without_tls)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
