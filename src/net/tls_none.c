/* A build without OpenSSL: no context can be created, so most functions are never called. */
#include "net/tls.h"

#if !WITH_TLS

#include <errno.h>
#include <stdio.h>

const char *tls_library_version(void)
{
    return NULL;
}

struct tls_context *tls_context_new(const struct tls_options *options, char error[TLS_ERROR_MAX])
{
    (void)options;
    snprintf(error, TLS_ERROR_MAX, "TLS: this h2echod was built without it: build with OpenSSL 3");
    return NULL;
}

void tls_context_free(struct tls_context *context)
{
    (void)context;
}

void tls_context_certificate(const struct tls_context *context, struct certificate *certificate)
{
    (void)context;
    *certificate = (struct certificate){0};
}

struct tls *tls_new(struct tls_context *context, const struct tls_io *io)
{
    (void)context;
    (void)io;
    return NULL;
}

void tls_free(struct tls *tls)
{
    (void)tls;
}

int tls_handshake(struct tls *tls)
{
    (void)tls;
    errno = EPROTO;
    return -1;
}

ssize_t tls_read(struct tls *tls, uint8_t *buffer, size_t size)
{
    (void)tls;
    (void)buffer;
    (void)size;
    errno = EPROTO;
    return -1;
}

ssize_t tls_write(struct tls *tls, const uint8_t *bytes, size_t length)
{
    (void)tls;
    (void)bytes;
    (void)length;
    errno = EPROTO;
    return -1;
}

bool tls_awaits_bytes(const struct tls *tls)
{
    (void)tls;
    return true;
}

void tls_shutdown_write(struct tls *tls)
{
    (void)tls;
}

const char *tls_error(const struct tls *tls)
{
    (void)tls;
    return "built without TLS";
}

const char *tls_weakness(const struct tls *tls)
{
    (void)tls;
    return NULL;
}

void tls_describe(const struct tls *tls, struct tls_info *info)
{
    (void)tls;
    *info = (struct tls_info){0};
}

#endif
