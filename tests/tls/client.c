#include "tls/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#if WITH_TLS

#include <openssl/err.h>
#include <openssl/ssl.h>

/* A memory BIO that, when empty, asks to retry instead of reporting the end. */
static BIO *new_memory_bio(void)
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_non_null(bio);
    BIO_set_mem_eof_return(bio, -1);
    return bio;
}

struct tls_client *tls_client_new(void)
{
    static const unsigned char protocols[] = "\x02h2";
    struct tls_client *client = calloc(1, sizeof(*client));
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    assert_non_null(client);
    assert_non_null(context);
    client->ssl = SSL_new(context);
    assert_non_null(client->ssl);
    SSL_CTX_free(context); /* ssl holds a reference */
    client->from_server = new_memory_bio();
    client->to_server = new_memory_bio();
    client->unsent = new_memory_bio();
    SSL_set_bio(client->ssl, client->from_server, client->to_server);
    SSL_set_connect_state(client->ssl);
    assert_int_equal(SSL_set_alpn_protos(client->ssl, protocols, sizeof(protocols) - 1), 0);
    return client;
}

void tls_client_free(struct tls_client *client)
{
    if (client == NULL)
        return;
    SSL_free(client->ssl);
    BIO_free(client->unsent);
    free(client);
    ERR_clear_error();
}

static void note_error(struct tls_client *client, int result)
{
    int error = SSL_get_error(client->ssl, result);

    client->has_peer_closed |= error == SSL_ERROR_ZERO_RETURN;
    if (error != SSL_ERROR_SSL && error != SSL_ERROR_SYSCALL)
        return;
    client->is_broken = true;
    client->error = ERR_peek_error();
}

static void write_unsent(struct tls_client *client)
{
    char *bytes;
    long length = BIO_get_mem_data(client->unsent, &bytes);
    int result;

    if (length == 0)
        return;
    result = SSL_write(client->ssl, bytes, (int)length);
    if (result != length)
        note_error(client, result);
    assert_int_equal(BIO_reset(client->unsent), 1);
}

/* Continue the handshake. When it is complete, write what was kept until then. */
static void proceed(struct tls_client *client)
{
    int result;

    ERR_clear_error();
    if (client->is_broken)
        return;
    result = SSL_do_handshake(client->ssl);
    if (result == 1)
        write_unsent(client);
    else
        note_error(client, result);
}

void tls_client_write(struct tls_client *client, const void *bytes, size_t length)
{
    if (length > 0)
        assert_int_equal(BIO_write(client->unsent, bytes, (int)length), length);
    proceed(client);
}

void tls_client_close(struct tls_client *client)
{
    proceed(client);
    if (!client->is_broken && SSL_is_init_finished(client->ssl))
        (void)SSL_shutdown(client->ssl);
    ERR_clear_error();
}

size_t tls_client_take_output(struct tls_client *client, uint8_t *bytes, size_t size)
{
    int length = BIO_read(client->to_server, bytes, (int)size);

    return length > 0 ? (size_t)length : 0;
}

void tls_client_add_input(struct tls_client *client, const uint8_t *bytes, size_t length)
{
    assert_int_equal(BIO_write(client->from_server, bytes, (int)length), length);
    proceed(client);
}

size_t tls_client_read(struct tls_client *client, uint8_t *bytes, size_t size)
{
    int length;

    ERR_clear_error();
    if (client->is_broken || !SSL_is_init_finished(client->ssl))
        return 0;
    length = SSL_read(client->ssl, bytes, (int)size);
    if (length > 0)
        return (size_t)length;
    note_error(client, length);
    return 0;
}

bool tls_client_is_handshake_done(const struct tls_client *client)
{
    return SSL_is_init_finished(client->ssl);
}

#else

struct tls_client *tls_client_new(void)
{
    return NULL;
}

void tls_client_free(struct tls_client *client)
{
    assert_null(client);
}

/* There is no client, so the following are never called. */

void tls_client_write(struct tls_client *client, const void *bytes, size_t length)
{
    (void)client;
    (void)bytes;
    (void)length;
    fail();
}

void tls_client_close(struct tls_client *client)
{
    (void)client;
    fail();
}

size_t tls_client_take_output(struct tls_client *client, uint8_t *bytes, size_t size)
{
    (void)client;
    (void)bytes;
    (void)size;
    fail();
    return 0;
}

void tls_client_add_input(struct tls_client *client, const uint8_t *bytes, size_t length)
{
    (void)client;
    (void)bytes;
    (void)length;
    fail();
}

size_t tls_client_read(struct tls_client *client, uint8_t *bytes, size_t size)
{
    (void)client;
    (void)bytes;
    (void)size;
    fail();
    return 0;
}

bool tls_client_is_handshake_done(const struct tls_client *client)
{
    (void)client;
    fail();
    return false;
}

#endif
