/*
 * tls_errors: OpenSSL's queue of errors, and error texts that do not depend on OpenSSL's version.
 *
 * For tls.c and tls_context.c only. OpenSSL has one queue for each thread.
 */
#ifndef H2ECHOD_NET_TLS_ERRORS_H
#define H2ECHOD_NET_TLS_ERRORS_H

#include <stdbool.h>

struct ssl_st; /* OpenSSL's SSL */

/*
 * tls_errors_prepare(void):
 * Create this thread's queue, or empty it. Call it before any other OpenSSL function that may be
 * the first one in this thread. Return false if memory ran out.
 */
bool tls_errors_prepare(void);

/*
 * tls_errors_reason(void):
 * Return OpenSSL's text for the oldest error in the queue, a static string.
 */
const char *tls_errors_reason(void);

/*
 * tls_errors_explain(ssl):
 * Return a text for the oldest error in the queue, which a call with ${ssl} left there: the same
 * text with every version of OpenSSL. The string is static.
 */
const char *tls_errors_explain(const struct ssl_st *ssl);

/*
 * tls_errors_take_memory(void):
 * Empty the queue up to the first error that says that memory ran out. Return true if there is one.
 */
bool tls_errors_take_memory(void);

#endif
