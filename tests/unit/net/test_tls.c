/*
 * TLS over a wire in memory, whose calls break off, move single bytes or fail, with an OpenSSL
 * client at its other end; contexts from files that are right and wrong; every allocation failing.
 */
#include "net/tls.h"

#include "base/log.h"
#include "tls/client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#if WITH_TLS

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* --- Allocations --- */

static struct {
    bool armed;
    size_t left; /* that succeed before one fails */
    bool for_ever;
    bool has_struck;
    long live;
} memory;

static bool is_refused(void)
{
    if (!memory.armed)
        return false;
    if (memory.left > 0) {
        memory.left--;
        return false;
    }
    if (memory.has_struck && !memory.for_ever)
        return false;
    memory.has_struck = true;
    return true;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

/* tls.c's own. */
void *__wrap_calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __real_calloc(count, size);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
    void *block = size == 0 || is_refused() ? NULL : malloc(size);

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
        return is_refused() ? NULL : realloc(old, size);
    openssl_free(old, file, line);
    return NULL;
}

/* --- A wire --- */

enum call { CALL_READ, CALL_WRITE };

/* What goes wrong at the wire. */
struct trouble {
    const char *name;
    enum call call;
    int error; /* of the call number n, and of those that follow where it is for good; 0 = none */
    bool each; /* of every second call instead */
    bool by_bytes; /* each call moves one byte */
};

struct line {
    struct tls_client *client;
    struct tls *server;
    const struct trouble *trouble;
    size_t n;
    size_t calls[2];
    bool has_struck;
    bool client_is_gone; /* nothing more comes of it */
    bool is_cut;         /* only so many bytes still come of it: */
    size_t left;
    uint8_t heard[1 << 16];
    size_t heard_length;
};

static bool is_again(int error)
{
    return error == EINTR || error == EAGAIN;
}

/* Return the errno that this call has to fail with, 0 for none. */
static int strike(struct line *line, enum call call)
{
    const struct trouble *trouble = line->trouble;
    size_t number = line->calls[call]++;

    if (trouble == NULL || trouble->error == 0 || trouble->call != call)
        return 0;
    if (trouble->each ? number % 2 != 0 : number < line->n)
        return 0;
    if (is_again(trouble->error) && !trouble->each && line->has_struck)
        return 0;
    line->has_struck = true;
    return trouble->error;
}

static size_t allowed(const struct line *line, size_t length)
{
    return line->trouble != NULL && line->trouble->by_bytes && length > 1 ? 1 : length;
}

/* Hand over what the server says. The client is not to work amid the server's call, whose errors it
 * would make its own; nor is it the one that has no memory. */
static void give(struct line *line, const uint8_t *bytes, size_t length)
{
    bool armed = memory.armed;

    memory.armed = false;
    assert_int_equal(BIO_write(line->client->from_server, bytes, (int)length), length);
    memory.armed = armed;
}

/* Let the client work on what it was given, after a call of the server's. */
static void let_client_work(struct line *line)
{
    bool armed = memory.armed;
    int error = errno;

    memory.armed = false;
    tls_client_write(line->client, NULL, 0);
    line->client_is_gone |= line->client->is_broken;
    memory.armed = armed;
    errno = error;
}

static ssize_t wire_read(void *argument, void *buffer, size_t size)
{
    struct line *line = argument;
    size_t length;

    errno = strike(line, CALL_READ);
    if (errno != 0)
        return -1;
    if (line->is_cut && size > line->left)
        size = line->left;
    length = tls_client_take_output(line->client, buffer, allowed(line, size));
    line->left -= line->is_cut ? length : 0;
    if (length > 0 || line->client_is_gone || line->is_cut)
        return (ssize_t)length;
    errno = EAGAIN;
    return -1;
}

static ssize_t wire_write(void *argument, const void *bytes, size_t length)
{
    struct line *line = argument;

    errno = strike(line, CALL_WRITE);
    if (errno != 0)
        return -1;
    length = allowed(line, length);
    give(line, bytes, length);
    return (ssize_t)length;
}

/* --- Both ends --- */

static struct tls_context *own_context(void)
{
    static char host[] = "unit.example";
    static char address[] = "192.0.2.1";
    static char *const names[] = {host, address, NULL};
    const struct tls_options options = {.hosts = names};
    char error[TLS_ERROR_MAX] = "";
    struct tls_context *context = tls_context_new(&options, error);

    assert_string_equal(error, "");
    return context;
}

static void open_line(struct line *line, struct tls_context *context, const struct trouble *trouble,
                      size_t n)
{
    const struct tls_io wire = {wire_read, wire_write, line};

    *line = (struct line){.trouble = trouble, .n = n, .client = tls_client_new()};
    line->server = tls_new(context, &wire);
    assert_non_null(line->server);
}

static void close_line(struct line *line)
{
    tls_free(line->server);
    tls_client_free(line->client);
}

enum { PATIENCE = 100000 }; /* turns */

/* Return what tls_handshake came to at last; 0 with EAGAIN if the client has nothing to say. */
static int shake_hands(struct line *line)
{
    int result = -1;

    tls_client_write(line->client, NULL, 0);
    for (int turns = 0; turns < PATIENCE; turns++) {
        result = tls_handshake(line->server);
        let_client_work(line);
        if (result >= 0 || !is_again(errno))
            return result;
    }
    fail();
    return result;
}

/* Write all; return false if the line broke, errno saying how. */
static bool write_all(struct line *line, const uint8_t *bytes, size_t length)
{
    for (int turns = 0; length > 0 && turns < PATIENCE; turns++) {
        ssize_t taken = tls_write(line->server, bytes, length);

        let_client_work(line);
        if (taken < 0 && !is_again(errno))
            return false;
        if (taken > 0) {
            bytes += taken;
            length -= (size_t)taken;
        }
    }
    assert_int_equal(length, 0);
    return true;
}

static void hear(struct line *line)
{
    size_t length;

    while ((length = tls_client_read(line->client, line->heard + line->heard_length,
                                     sizeof(line->heard) - line->heard_length)) > 0)
        line->heard_length += length;
}

/* Read until ${size} bytes came. Return how many did until the end, or -1. */
static ssize_t read_all(struct line *line, uint8_t *bytes, size_t size)
{
    size_t length = 0;

    for (int turns = 0; length < size && turns < PATIENCE; turns++) {
        ssize_t got = tls_read(line->server, bytes + length, size - length);

        if (got == 0)
            break;
        if (got < 0 && !is_again(errno))
            return -1;
        length += got > 0 ? (size_t)got : 0;
    }
    return (ssize_t)length;
}

/* Many records of both ends, so that there is something to break off. */
enum { SAID = 1000, ANSWERED = 40000 };

static void fill(uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
}

/* The whole of a conversation. Return false with errno if the line broke. */
static bool converse(struct line *line)
{
    static uint8_t said[SAID];
    static uint8_t answered[ANSWERED];
    uint8_t got[SAID];
    ssize_t length;
    int result = shake_hands(line);

    if (result != 1)
        return false;
    fill(said, sizeof(said));
    fill(answered, sizeof(answered));
    tls_client_write(line->client, said, sizeof(said));
    length = read_all(line, got, sizeof(got));
    if (length < 0)
        return false;
    assert_int_equal(length, sizeof(said));
    assert_memory_equal(got, said, sizeof(said));
    if (!write_all(line, answered, sizeof(answered)))
        return false;
    hear(line);
    assert_int_equal(line->heard_length, sizeof(answered));
    assert_memory_equal(line->heard, answered, sizeof(answered));
    return true;
}

/* Both say that they say no more. */
static void part(struct line *line)
{
    uint8_t byte;

    tls_client_close(line->client);
    assert_int_equal(read_all(line, &byte, 1), 0);
    line->trouble = NULL; /* it is said once, or not at all */
    tls_shutdown_write(line->server);
    hear(line);
    assert_true(line->client->has_peer_closed);
}

static struct line line; /* too large for a stack */

/* --- Interruptions --- */

static const struct trouble interruptions[] = {
    {"none", CALL_READ, 0, false, false},
    {"bytes", CALL_READ, 0, false, true},
    {"read EINTR each time", CALL_READ, EINTR, true, false},
    {"write EINTR each time", CALL_WRITE, EINTR, true, false},
    {"read EAGAIN each time", CALL_READ, EAGAIN, true, false},
    {"write EAGAIN each time", CALL_WRITE, EAGAIN, true, false},
    {"bytes, read EINTR each time", CALL_READ, EINTR, true, true},
    {"bytes, write EINTR each time", CALL_WRITE, EINTR, true, true},
    {"bytes, write EAGAIN each time", CALL_WRITE, EAGAIN, true, true},
};

static void test_interruptions(void **state)
{
    struct tls_context *context = own_context();

    (void)state;
    for (size_t i = 0; i < COUNT(interruptions); i++) {
        print_message("%s\n", interruptions[i].name);
        open_line(&line, context, &interruptions[i], 0);
        assert_true(converse(&line));
        part(&line);
        close_line(&line);
    }
    tls_context_free(context);
}

static const struct trouble interruptions_at_n[] = {
    {"read EINTR", CALL_READ, EINTR, false, false},
    {"read EAGAIN", CALL_READ, EAGAIN, false, false},
    {"write EINTR", CALL_WRITE, EINTR, false, false},
    {"write EAGAIN", CALL_WRITE, EAGAIN, false, false},
};

static void test_interruption_of_each_call(void **state)
{
    struct tls_context *context = own_context();

    (void)state;
    for (size_t i = 0; i < COUNT(interruptions_at_n); i++) {
        size_t n = 0;

        do {
            open_line(&line, context, &interruptions_at_n[i], n++);
            assert_true(converse(&line));
            part(&line);
            close_line(&line);
        } while (line.has_struck);
        print_message("%s: at %zu calls\n", interruptions_at_n[i].name, n - 1);
        assert_true(n > 2);
    }
    tls_context_free(context);
}

/* A half-sent record goes on where it was broken off, after reads between, which send nothing of it
 * themselves and see the client's end as it is. */
static void test_record_that_is_sent_by_halves(void **state)
{
    static const struct trouble slow = {"slow", CALL_WRITE, EAGAIN, true, true};
    struct tls_context *context = own_context();
    uint8_t byte = 0;
    size_t writes;

    (void)state;
    open_line(&line, context, NULL, 0);
    assert_int_equal(shake_hands(&line), 1);
    line.trouble = &slow;
    line.calls[CALL_WRITE] = 1; /* its first byte goes, its second does not */
    assert_int_equal(tls_write(line.server, (const uint8_t *)"half", 4), -1);
    assert_int_equal(errno, EAGAIN);
    writes = line.calls[CALL_WRITE];
    tls_client_write(line.client, "x", 1);
    assert_int_equal(read_all(&line, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    tls_client_close(line.client);
    assert_int_equal(tls_read(line.server, &byte, 1), 0);
    assert_int_equal(line.calls[CALL_WRITE], writes);
    assert_true(write_all(&line, (const uint8_t *)"half", 4));
    hear(&line);
    assert_int_equal(line.heard_length, 4);
    assert_memory_equal(line.heard, "half", 4);
    close_line(&line);
    tls_context_free(context);
}

/* --- What is left to read --- */

static void open_ready(struct tls_context *context)
{
    open_line(&line, context, NULL, 0);
    assert_int_equal(shake_hands(&line), 1);
}

/* Each read of the wire takes all that the client has sent. Until TLS has come to the end of that,
 * whoever waits for the socket waits in vain. */
static void assert_read_to_the_end(const char *said)
{
    for (size_t length = 0; length < strlen(said);) {
        uint8_t byte;
        ssize_t result = tls_read(line.server, &byte, 1);

        assert_int_equal(BIO_pending(line.client->to_server), 0);
        if (result == 1) {
            assert_int_equal(byte, said[length++]);
        } else {
            assert_int_equal(result, -1);
            assert_int_equal(errno, EINTR);
        }
        assert_true(length == strlen(said) || !tls_awaits_bytes(line.server));
    }
}

static void assert_awaits_bytes(void)
{
    uint8_t byte;

    assert_int_equal(tls_read(line.server, &byte, 1), -1);
    assert_int_equal(errno, EAGAIN);
    assert_true(tls_awaits_bytes(line.server));
}

static void test_records_that_came_together(void **state)
{
    struct tls_context *context = own_context();

    (void)state;
    open_ready(context);
    tls_client_write(line.client, "ab", 2);
    tls_client_write(line.client, "c", 1);
    assert_read_to_the_end("abc");
    assert_awaits_bytes();
    close_line(&line);
    tls_context_free(context);
}

/* What OpenSSL read ahead of new keys is no longer where SSL_has_pending looks. */
static void test_records_behind_new_keys(void **state)
{
    static const int types[] = {SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED};
    struct tls_context *context = own_context();

    (void)state;
    for (size_t i = 0; i < COUNT(types); i++) {
        open_ready(context);
        for (int updates = 0; updates < 3; updates++) {
            assert_int_equal(SSL_key_update(line.client->ssl, types[i]), 1);
            tls_client_write(line.client, "x", updates == 2 ? 1 : 0);
        }
        assert_read_to_the_end("x");
        assert_awaits_bytes();
        close_line(&line);
    }
    tls_context_free(context);
}

/* With the beginning of a record there is nothing to do but to wait for its end. */
static void test_beginning_of_a_record(void **state)
{
    static const struct trouble slow = {"slow", CALL_READ, EAGAIN, true, true};
    struct tls_context *context = own_context();
    int waits = 0;
    ssize_t result;
    uint8_t byte;

    (void)state;
    open_ready(context);
    line.trouble = &slow;
    tls_client_write(line.client, "x", 1);
    while ((result = tls_read(line.server, &byte, 1)) < 0) {
        assert_int_equal(errno, EAGAIN);
        assert_true(tls_awaits_bytes(line.server));
        waits++;
    }
    assert_int_equal(result, 1);
    assert_true(waits > 20);
    assert_false(tls_awaits_bytes(line.server));
    close_line(&line);
    tls_context_free(context);
}

/* --- A wire that breaks --- */

static const struct trouble breaks[] = {
    {"read ECONNRESET", CALL_READ, ECONNRESET, false, false},
    {"read ETIMEDOUT", CALL_READ, ETIMEDOUT, false, false},
    {"write EPIPE", CALL_WRITE, EPIPE, false, false},
    {"write ECONNRESET", CALL_WRITE, ECONNRESET, false, false},
    {"write EPIPE by bytes", CALL_WRITE, EPIPE, false, true},
};

/* Its error is told as it is, and nothing is said any more. Return whether the trouble came. */
static bool try_break(struct tls_context *context, const struct trouble *trouble, size_t n)
{
    size_t writes;

    open_line(&line, context, trouble, n);
    if (!converse(&line)) {
        assert_true(line.has_struck);
        assert_int_equal(errno, trouble->error);
        writes = line.calls[CALL_WRITE];
        tls_shutdown_write(line.server);
        assert_int_equal(line.calls[CALL_WRITE], writes);
    }
    close_line(&line);
    return line.has_struck;
}

static void test_wire_that_breaks(void **state)
{
    enum { MOST = 200 }; /* of so many bytes none is another case */
    struct tls_context *context = own_context();

    (void)state;
    for (size_t i = 0; i < COUNT(breaks); i++) {
        size_t n = 0;

        while (n < MOST && try_break(context, &breaks[i], n))
            n++;
        print_message("%s: at %zu calls\n", breaks[i].name, n);
        assert_true(n > 0);
    }
    tls_context_free(context);
}

/* --- Ends --- */

static void test_end_that_is_said(void **state)
{
    struct tls_context *context = own_context();

    (void)state;
    open_line(&line, context, NULL, 0);
    assert_true(converse(&line));
    part(&line);
    close_line(&line);
    tls_context_free(context);
}

/* The bytes' end alone is an end, too: HTTP/2 has its own, and many clients say no other. */
static void test_end_that_is_not_said(void **state)
{
    struct tls_context *context = own_context();
    uint8_t byte;

    (void)state;
    open_line(&line, context, NULL, 0);
    assert_true(converse(&line));
    line.client_is_gone = true;
    assert_int_equal(read_all(&line, &byte, 1), 0);
    assert_true(write_all(&line, &byte, 1));
    close_line(&line);
    tls_context_free(context);
}

/* An end within a record: what came of it is never taken for content. */
static void test_end_amid_a_record(void **state)
{
    struct tls_context *context = own_context();
    uint8_t bytes[16];

    (void)state;
    for (size_t come = 1; come < 20; come++) {
        open_line(&line, context, NULL, 0);
        assert_int_equal(shake_hands(&line), 1);
        tls_client_write(line.client, "content", 7);
        line.is_cut = true;
        line.left = come;
        assert_int_equal(read_all(&line, bytes, sizeof(bytes)), 0);
        close_line(&line);
    }
    tls_context_free(context);
}

static void test_end_amid_the_handshake(void **state)
{
    struct tls_context *context = own_context();

    (void)state;
    for (size_t come = 0; come < 100; come += 9) {
        open_line(&line, context, NULL, 0);
        line.is_cut = true;
        line.left = come;
        assert_int_equal(shake_hands(&line), 0);
        tls_shutdown_write(line.server);
        assert_int_equal(line.calls[CALL_WRITE], 0);
        close_line(&line);
    }
    tls_context_free(context);
}

static void test_record_that_is_not_authentic(void **state)
{
    static const uint8_t forged[5 + 32] = {0x17, 3, 3, 0, 32};
    struct tls_context *context = own_context();
    uint8_t byte;

    (void)state;
    open_line(&line, context, NULL, 0);
    assert_int_equal(shake_hands(&line), 1);
    assert_int_equal(BIO_write(line.client->to_server, forged, sizeof(forged)), sizeof(forged));
    assert_int_equal(read_all(&line, &byte, 1), -1);
    assert_int_equal(errno, EPROTO);
    assert_string_equal(tls_error(line.server), "decryption failed or bad record mac");
    close_line(&line);
    tls_context_free(context);
}

/* --- What is negotiated --- */

static const struct {
    const char *offered; /* with its lengths; NULL = the extension is not there */
    const char *chosen;  /* NULL = the handshake is refused */
} protocols[] = {
    {"\x02h2", "h2"},
    {"\x08http/1.1", "http/1.1"},
    {"\x08http/1.1\x02h2", "h2"},
    {"\x06spdy/3\x02h2", "h2"},
    {"\x06spdy/3\x08http/1.0", NULL},
    {"\x02H2", NULL},
    {NULL, ""},
};

static void test_protocols(void **state)
{
    struct tls_context *context = own_context();
    struct tls_info facts;

    (void)state;
    for (size_t i = 0; i < COUNT(protocols); i++) {
        const char *offered = protocols[i].offered != NULL ? protocols[i].offered : "";

        open_line(&line, context, NULL, 0);
        assert_int_equal(SSL_set_alpn_protos(line.client->ssl, (const uint8_t *)offered,
                                             (unsigned)strlen(offered)),
                         0);
        if (protocols[i].chosen != NULL) {
            assert_int_equal(shake_hands(&line), 1);
            tls_describe(line.server, &facts);
            assert_string_equal(facts.alpn, protocols[i].chosen);
        } else {
            assert_int_equal(shake_hands(&line), -1);
            assert_int_equal(errno, EPROTO);
            assert_string_equal(tls_error(line.server), "no application protocol");
        }
        close_line(&line);
    }
    tls_context_free(context);
}

static const struct {
    const char *suites; /* of TLS 1.2; NULL = all of the client's */
    int version;
    enum tls_version least;
    const char *words; /* NULL = it is taken */
} offers[] = {
    {NULL, TLS1_3_VERSION, TLS_1_3, NULL},
    {NULL, TLS1_3_VERSION, TLS_1_2, NULL},
    {NULL, TLS1_2_VERSION, TLS_1_2, NULL},
    {NULL, TLS1_2_VERSION, TLS_1_3, "unsupported protocol"},
    {"ALL:@SECLEVEL=0", TLS1_1_VERSION, TLS_1_2, "unsupported protocol"},
    {"ALL:@SECLEVEL=0", TLS1_VERSION, TLS_1_2, "unsupported protocol"},
    {"ECDHE-ECDSA-AES128-GCM-SHA256", TLS1_2_VERSION, TLS_1_2, NULL},
    {"ECDHE-ECDSA-AES128-SHA256", TLS1_2_VERSION, TLS_1_2, "no shared cipher"}, /* CBC */
    {"ECDHE-ECDSA-AES128-CCM", TLS1_2_VERSION, TLS_1_2, "no shared cipher"},
    {"AES128-GCM-SHA256", TLS1_2_VERSION, TLS_1_2, "no shared cipher"}, /* no forward secrecy */
    {"DHE-RSA-AES128-GCM-SHA256", TLS1_2_VERSION, TLS_1_2, "no shared cipher"},
};

static void test_versions_and_suites(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(offers); i++) {
        const struct tls_options options = {.min_version = offers[i].least};
        char error[TLS_ERROR_MAX];
        struct tls_context *context = tls_context_new(&options, error);

        assert_non_null(context);
        open_line(&line, context, NULL, 0);
        if (offers[i].suites != NULL)
            assert_int_equal(SSL_set_cipher_list(line.client->ssl, offers[i].suites), 1);
        assert_int_equal(SSL_set_min_proto_version(line.client->ssl, offers[i].version), 1);
        assert_int_equal(SSL_set_max_proto_version(line.client->ssl, offers[i].version), 1);
        if (offers[i].words == NULL) {
            assert_true(converse(&line));
            assert_null(SSL_get_current_compression(line.client->ssl));
        } else {
            assert_int_equal(shake_hands(&line), -1);
            assert_int_equal(errno, EPROTO);
            assert_string_equal(tls_error(line.server), offers[i].words);
        }
        close_line(&line);
        tls_context_free(context);
    }
}

/* What the client asks for is declined, and the connection goes on as it was. */
static void test_renegotiation(void **state)
{
    struct tls_context *context = own_context();
    uint8_t byte;

    (void)state;
    open_line(&line, context, NULL, 0);
    assert_int_equal(SSL_set_max_proto_version(line.client->ssl, TLS1_2_VERSION), 1);
    assert_true(converse(&line));
    assert_int_equal(SSL_renegotiate(line.client->ssl), 1);
    tls_client_write(line.client, NULL, 0);
    for (int turns = 0; turns < 10; turns++) {
        assert_int_equal(tls_read(line.server, &byte, 1), -1);
        assert_true(is_again(errno));
    }
    let_client_work(&line);
    assert_true(line.client->is_broken);
    assert_int_equal(ERR_GET_REASON(line.client->error), SSL_R_NO_RENEGOTIATION);
    assert_true(write_all(&line, (const uint8_t *)"on", 2));
    close_line(&line);
    tls_context_free(context);
}

/* --- Files --- */

static char directory[] = "/tmp/test_tls.XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[4][sizeof(directory) + 32];
    static size_t next;
    char *path = paths[next++ % COUNT(paths)];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

static FILE *create(const char *name)
{
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    return file;
}

static void write_text(const char *name, const char *text)
{
    FILE *file = create(name);

    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void write_key(const char *name, EVP_PKEY *key, const char *passphrase)
{
    FILE *file = create(name);

    assert_int_equal(PEM_write_PrivateKey(file, key, passphrase != NULL ? EVP_aes_128_cbc() : NULL,
                                          (const uint8_t *)passphrase,
                                          passphrase != NULL ? (int)strlen(passphrase) : 0, NULL,
                                          NULL),
                     1);
    assert_int_equal(fclose(file), 0);
}

static void write_certificates(const char *name, X509 *first, X509 *second)
{
    FILE *file = create(name);

    assert_int_equal(PEM_write_X509(file, first), 1);
    if (second != NULL)
        assert_int_equal(PEM_write_X509(file, second), 1);
    assert_int_equal(fclose(file), 0);
}

/* A certificate that signs itself, its subject ${entries} organizations of that name. */
static X509 *new_certificate(EVP_PKEY *key, const char *name, int entries, long seconds)
{
    X509 *certificate = X509_new();
    X509_NAME *subject;

    assert_non_null(certificate);
    subject = X509_get_subject_name(certificate);
    while (entries-- > 0)
        assert_int_equal(X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8,
                                                    (const uint8_t *)name, -1, -1, 0),
                         1);
    assert_int_equal(X509_set_issuer_name(certificate, subject), 1);
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), -2 * 86400));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), seconds));
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    return certificate;
}

/* The files that the tables below name. */
static struct {
    EVP_PKEY *key;
    EVP_PKEY *other_key;
    X509 *certificate;
    X509 *other;
    X509 *expired;
} made;

static void make_files(void)
{
    assert_non_null(mkdtemp(directory));
    made.key = EVP_EC_gen("P-256");
    made.other_key = EVP_EC_gen("P-256");
    made.certificate = new_certificate(made.key, "unit", 1, 86400);
    made.other = new_certificate(made.other_key, "other", 1, 86400);
    made.expired = new_certificate(made.key, "old", 1, -86400);
    write_certificates("good.pem", made.certificate, NULL);
    write_certificates("chain.pem", made.certificate, made.other);
    write_certificates("expired.pem", made.expired, NULL);
    write_key("good.key", made.key, NULL);
    write_key("other.key", made.other_key, NULL);
    write_key("locked.key", made.key, "secret");
    write_text("empty.pem", "");
    write_text("text.pem", "certificate\n");
    write_text("broken.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
}

static void remove_files(void)
{
    static const char *const names[] = {"good.pem",  "chain.pem", "expired.pem",
                                        "good.key",  "other.key", "locked.key",
                                        "empty.pem", "text.pem",  "broken.pem"};

    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(unlink(path_of(names[i])), 0);
    assert_int_equal(rmdir(directory), 0);
    X509_free(made.certificate);
    X509_free(made.other);
    X509_free(made.expired);
    EVP_PKEY_free(made.key);
    EVP_PKEY_free(made.other_key);
}

static const struct {
    const char *certificate;
    const char *key; /* NULL = in the same file */
    const char *client_ca;
    const char *words; /* of the refusal; NULL = none */
} files[] = {
    {"good.pem", "good.key", NULL, NULL},
    {"chain.pem", "good.key", NULL, NULL},
    {"expired.pem", "good.key", NULL, NULL},
    {"good.pem", "good.key", "chain.pem", NULL},
    {"missing.pem", "good.key", NULL, "missing.pem: can't be read: No such file or directory"},
    {"", "good.key", NULL, "can't be read: Is a directory"},
    {"empty.pem", "good.key", NULL, "empty.pem: has no certificate"},
    {"text.pem", "good.key", NULL, "text.pem: has no certificate"},
    {"good.key", "good.key", NULL, "good.key: has no certificate"},
    {"broken.pem", "good.key", NULL, "name a file of certificates in PEM"},
    {"good.pem", "missing.key", NULL, "tls-key: "},
    {"good.pem", NULL, NULL, "name a file with a private key in PEM"},
    {"good.pem", "empty.pem", NULL, "name a file with a private key in PEM"},
    {"good.pem", "other.key", NULL, "other.key: is not the key of the certificate"},
    {"good.pem", "locked.key", NULL, "locked.key: "},
    {"good.pem", "good.key", "missing.pem", "tls-client-ca: "},
    {"good.pem", "good.key", "empty.pem", "empty.pem: has no certificate"},
};

static struct tls_context *context_of(size_t i, char error[TLS_ERROR_MAX])
{
    const struct tls_options options = {
        .certificate = path_of(files[i].certificate),
        .key = files[i].key != NULL ? path_of(files[i].key) : NULL,
        .client_ca = files[i].client_ca != NULL ? path_of(files[i].client_ca) : NULL,
        .verify = files[i].client_ca != NULL ? TLS_VERIFY_REQUIRED : TLS_VERIFY_OFF,
    };

    error[0] = '\0';
    return tls_context_new(&options, error);
}

static void test_files(void **state)
{
    char error[TLS_ERROR_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(files); i++) {
        struct tls_context *context = context_of(i, error);

        if (files[i].words == NULL) {
            assert_string_equal(error, "");
            assert_non_null(context);
        } else {
            assert_null(context);
            if (strstr(error, files[i].words) == NULL)
                fail_msg("\"%s\" is not in \"%s\"", files[i].words, error);
        }
        assert_int_equal(ERR_peek_error(), 0);
        tls_context_free(context);
    }
}

static void test_chain(void **state)
{
    char error[TLS_ERROR_MAX];
    struct tls_context *context = context_of(1, error);

    (void)state;
    open_line(&line, context, NULL, 0);
    assert_true(converse(&line));
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(line.client->ssl)), 2);
    close_line(&line);
    tls_context_free(context);
}

static void test_what_is_told_of_a_certificate(void **state)
{
    char error[TLS_ERROR_MAX];
    struct certificate told;

    (void)state;
    for (size_t i = 0; i <= 2; i++) {
        struct tls_context *context = context_of(i, error);

        tls_context_certificate(context, &told);
        assert_string_equal(told.subject, i == 2 ? "O=old" : "O=unit");
        assert_int_equal(told.validity, i == 2 ? CERTIFICATE_EXPIRED : CERTIFICATE_VALID);
        assert_false(told.is_generated);
        assert_int_equal(strlen(told.sha256), 32 * 3 - 1);
        assert_int_equal(strlen(told.pin), 44);
        tls_context_free(context);
    }
}

/* --- A certificate in memory --- */

static void test_certificate_in_memory(void **state)
{
    struct tls_context *first = own_context();
    struct tls_context *second = own_context();
    struct certificate told[2];
    X509 *shown;

    (void)state;
    tls_context_certificate(first, &told[0]);
    tls_context_certificate(second, &told[1]);
    assert_string_equal(told[0].subject, "CN=h2echod");
    assert_true(told[0].is_generated);
    assert_int_equal(told[0].validity, CERTIFICATE_VALID);
    assert_string_equal(told[0].sha256, told[1].sha256);
    assert_string_equal(told[0].pin, told[1].pin);
    open_line(&line, second, NULL, 0);
    assert_true(converse(&line));
    shown = SSL_get0_peer_certificate(line.client->ssl);
    assert_int_equal(X509_check_host(shown, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(shown, "unit.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(shown, "other.example", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(shown, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(shown, "::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(shown, "192.0.2.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(shown, "192.0.2.2", 0), 0);
    close_line(&line);
    tls_context_free(first);
    tls_context_free(second);
}

/* --- What is told of a connection --- */

/* A handshake with a client whose certificate the context believes. */
static void describe(const char *sni, const char *organization, int entries, struct tls_info *facts)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = new_certificate(key, organization, entries, 86400);
    const struct tls_options options = {.client_ca = path_of("client.pem"),
                                        .verify = TLS_VERIFY_REQUIRED};
    char error[TLS_ERROR_MAX] = "";
    struct tls_context *context;

    write_certificates("client.pem", certificate, NULL);
    context = tls_context_new(&options, error);
    assert_string_equal(error, "");
    open_line(&line, context, NULL, 0);
    assert_int_equal(SSL_set_tlsext_host_name(line.client->ssl, sni), 1);
    assert_int_equal(SSL_use_certificate(line.client->ssl, certificate), 1);
    assert_int_equal(SSL_use_PrivateKey(line.client->ssl, key), 1);
    assert_true(converse(&line));
    tls_describe(line.server, facts);
    close_line(&line);
    tls_context_free(context);
    assert_int_equal(unlink(path_of("client.pem")), 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void test_facts(void **state)
{
    struct tls_info facts;

    (void)state;
    describe("name.example", "somebody", 1, &facts);
    assert_string_equal(facts.version, "TLSv1.3");
    assert_string_equal(facts.cipher, "TLS_AES_128_GCM_SHA256");
    assert_string_equal(facts.alpn, "h2");
    assert_string_equal(facts.sni, "name.example");
    assert_string_equal(facts.client_subject, "O=somebody");
    assert_false(facts.resumed);
}

static void test_facts_of_hostile_clients(void **state)
{
    struct tls_info facts;
    char sni[256];

    (void)state;
    describe("a\x01\n\x1b[31m\"\xff", "b\n\x1b[31m\"\xc3\xa9", 1, &facts);
    assert_string_equal(facts.sni, "a\x01\n\x1b[31m\"\xff");
    assert_string_equal(facts.client_subject, "O=b\\0A\\1B[31m\\\"\xc3\xa9");
    memset(sni, '\x01', sizeof(sni) - 1);
    sni[sizeof(sni) - 1] = '\0';
    describe(sni, "0123456789012345678901234567890123456789012345678901234567890123", 20, &facts);
    assert_string_equal(facts.sni, sni);
    assert_int_equal(strlen(facts.client_subject), CERTIFICATE_SUBJECT_MAX - 1);
    assert_string_equal(facts.client_subject + CERTIFICATE_SUBJECT_MAX - 1 - 5, "12...");
}

/* A certificate that nobody vouches for is refused in the words of its verification. */
static void test_client_that_is_not_believed(void **state)
{
    char error[TLS_ERROR_MAX];
    struct tls_context *context = context_of(3, error);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = new_certificate(key, "stranger", 1, 86400);

    (void)state;
    open_line(&line, context, NULL, 0);
    assert_int_equal(SSL_use_certificate(line.client->ssl, certificate), 1);
    assert_int_equal(SSL_use_PrivateKey(line.client->ssl, key), 1);
    assert_int_equal(shake_hands(&line), -1);
    assert_int_equal(errno, EPROTO);
    assert_string_equal(tls_error(line.server), "self-signed certificate");
    close_line(&line);
    open_line(&line, context, NULL, 0);
    assert_int_equal(shake_hands(&line), -1);
    assert_int_equal(errno, EPROTO);
    assert_string_equal(tls_error(line.server), "peer did not return a certificate");
    close_line(&line);
    X509_free(certificate);
    EVP_PKEY_free(key);
    tls_context_free(context);
}

/* --- Memory --- */

/* If the allocations of a thread's first call all fail, OpenSSL 3.6 never returns, and if the
 * second does it forgets four blocks: with it, only a thread without any memory begins anew. */
static void arm(size_t n, bool for_ever)
{
    bool is_first_spared = OPENSSL_version_major() > 3 || OPENSSL_version_minor() >= 6;

    if (is_first_spared && (n > 0 || !for_ever))
        ERR_clear_error();
    memory.left = n;
    memory.for_ever = for_ever;
    memory.has_struck = false;
    memory.armed = true;
}

static bool disarm(void)
{
    memory.armed = false;
    return memory.has_struck;
}

/* What OpenSSL keeps for this thread goes, so that what is left is a leak. */
static long live(void)
{
    ERR_clear_error();
    OPENSSL_thread_stop();
    return memory.live;
}

/* A context of every file. Return whether an allocation failed. */
static bool try_context(size_t n, bool for_ever)
{
    char error[TLS_ERROR_MAX];
    struct certificate told;
    long before = live();
    struct tls_context *context;
    bool has_struck;

    arm(n, for_ever);
    context = context_of(3, error);
    if (context != NULL)
        tls_context_certificate(context, &told);
    has_struck = disarm();
    if (context == NULL) {
        assert_true(has_struck);
        assert_true(strlen(error) > 10);
    }
    tls_context_free(context);
    assert_int_equal(live(), before);
    return has_struck;
}

/* The server's part of a conversation alone has no memory. */
static bool try_connection(struct tls_context *context, size_t n, bool for_ever)
{
    static const uint8_t answer[] = "answer";
    long before = live();
    struct tls_info facts;
    bool has_struck;
    const struct tls_io wire = {wire_read, wire_write, &line};
    bool is_well;

    line = (struct line){.client = tls_client_new()};
    tls_client_write(line.client, "said", 4);
    arm(n, for_ever);
    line.server = tls_new(context, &wire);
    errno = 0;
    is_well = line.server != NULL && shake_hands(&line) == 1;
    assert_true(is_well || line.server == NULL || errno == ENOMEM || errno == EPROTO);
    if (!is_well && line.server != NULL && errno == EPROTO)
        assert_string_not_equal(tls_error(line.server), "ok");
    if (is_well) {
        uint8_t bytes[4];

        tls_describe(line.server, &facts);
        is_well =
            read_all(&line, bytes, sizeof(bytes)) == 4 && write_all(&line, answer, sizeof(answer));
        assert_true(is_well || (errno != EINTR && errno != EAGAIN));
        tls_shutdown_write(line.server);
    }
    has_struck = disarm();
    assert_true(is_well || has_struck);
    hear(&line);
    if (is_well)
        assert_memory_equal(line.heard, answer, line.heard_length);
    close_line(&line);
    assert_int_equal(live(), before);
    return has_struck;
}

/* A context takes ten thousand allocations, one much as the next: every fifth fails, and fewer
 * where each is slow, not just the machine busy (2). */
static size_t stride(void)
{
    const char *slow = getenv("H2ECHOD_SLOW");
    size_t times = slow != NULL ? strtoul(slow, NULL, 10) : 1;

    return times > 2 ? 5 * times / 2 : 5;
}

static void test_context_without_memory(void **state)
{
    (void)state;
    assert_false(try_context(SIZE_MAX, false)); /* what OpenSSL keeps for good is made now */
    for (int for_ever = 0; for_ever <= 1; for_ever++) {
        size_t n = 0;

        while (try_context(n, for_ever != 0))
            n += stride();
        print_message("a context: among %zu allocations\n", n);
        assert_true(n > 100);
    }
}

static void test_connection_without_memory(void **state)
{
    struct tls_context *context = own_context();

    (void)state;
    assert_false(try_connection(context, SIZE_MAX, false));
    for (int for_ever = 0; for_ever <= 1; for_ever++) {
        size_t n = 0;

        while (try_connection(context, n, for_ever != 0))
            n++;
        print_message("a connection: at %zu allocations\n", n);
        assert_true(n > 100);
    }
    tls_context_free(context);
}

static int set_up(void **state)
{
    (void)state;
    make_files();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_files();
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interruptions),
        cmocka_unit_test(test_interruption_of_each_call),
        cmocka_unit_test(test_record_that_is_sent_by_halves),
        cmocka_unit_test(test_records_that_came_together),
        cmocka_unit_test(test_records_behind_new_keys),
        cmocka_unit_test(test_beginning_of_a_record),
        cmocka_unit_test(test_wire_that_breaks),
        cmocka_unit_test(test_end_that_is_said),
        cmocka_unit_test(test_end_that_is_not_said),
        cmocka_unit_test(test_end_amid_a_record),
        cmocka_unit_test(test_end_amid_the_handshake),
        cmocka_unit_test(test_record_that_is_not_authentic),
        cmocka_unit_test(test_protocols),
        cmocka_unit_test(test_versions_and_suites),
        cmocka_unit_test(test_renegotiation),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_what_is_told_of_a_certificate),
        cmocka_unit_test(test_certificate_in_memory),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_facts_of_hostile_clients),
        cmocka_unit_test(test_client_that_is_not_believed),
        cmocka_unit_test(test_context_without_memory),
        cmocka_unit_test(test_connection_without_memory),
    };

    assert_int_equal(CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free), 1);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

#else

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

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_build_without_tls)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
