#include "net/tls_errors.h"

#if WITH_TLS

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/proverr.h>
#include <openssl/ssl.h>

/* The queue is allocated by the thread's first OpenSSL call. If that fails, OpenSSL 3.6 reports the
 * failure as an error, for which it needs the queue, and so on until the stack overflows. So the
 * queue is created before anything else, and only if there is memory for it. */
bool tls_errors_prepare(void)
{
    enum { QUEUE_SIZE = 4096 /* more than it needs */ };
    /* volatile, since a compiler may otherwise optimize an unused allocation away */
    void *volatile block = calloc(1, QUEUE_SIZE);

    free(block);
    if (block == NULL)
        return false;
    ERR_clear_error();
    return true;
}

/* The oldest error is the cause; later ones only say which callers passed it on. */
const char *tls_errors_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    return reason != NULL ? reason : "unknown error";
}

/* Which check finds a bad record first, and what it calls the error, differs between versions of
 * OpenSSL. */
static const char *explain_record(unsigned long code)
{
    static const char type[] = "wrong record type or version";
    static const char length[] = "record too long";
    static const char content[] = "decryption failed or bad record mac";
    static const struct {
        unsigned long code;
        const char *text;
    } records[] = {
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_WRONG_VERSION_NUMBER), type},
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_BAD_RECORD_TYPE), type},
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_PACKET_LENGTH_TOO_LONG), length},
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_ENCRYPTED_LENGTH_TOO_LONG), length},
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_DATA_LENGTH_TOO_LONG), length},
        {ERR_PACK(ERR_LIB_SSL, 0, SSL_R_LENGTH_TOO_SHORT), content},
        {ERR_PACK(ERR_LIB_PROV, 0, PROV_R_INVALID_AAD), content},
        {ERR_PACK(ERR_LIB_PROV, 0, PROV_R_CIPHER_OPERATION_FAILED), content},
    };

    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
        if (records[i].code == code)
            return records[i].text;
    return NULL;
}

/* "sslv3 alert handshake failure" or "ssl/tls alert handshake failure": the protocol version before
 * "alert" carries no information, and depends on OpenSSL's version. */
static const char *explain_alert(unsigned long code)
{
    bool is_alert = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) > SSL_AD_REASON_OFFSET;

    return is_alert ? strstr(tls_errors_reason(), "alert ") : NULL;
}

/* OpenSSL only says that verification failed; the reason is in its result. */
static const char *explain_verification(unsigned long code, const SSL *ssl)
{
    if (ERR_GET_LIB(code) != ERR_LIB_SSL || ERR_GET_REASON(code) != SSL_R_CERTIFICATE_VERIFY_FAILED)
        return NULL;
    return X509_verify_cert_error_string(SSL_get_verify_result(ssl));
}

const char *tls_errors_explain(const struct ssl_st *ssl)
{
    unsigned long code = ERR_peek_error();
    const char *text = explain_record(code);

    if (text == NULL)
        text = explain_alert(code);
    if (text == NULL)
        text = explain_verification(code, ssl);
    return text != NULL ? text : tls_errors_reason();
}

bool tls_errors_take_memory(void)
{
    unsigned long code;

    while ((code = ERR_get_error()) != 0) {
        if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
            return true;
    }
    return false;
}

#endif
