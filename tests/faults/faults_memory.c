/* Allocations that fail: those of the daemon, nghttp2, jansson and OpenSSL. */
#include "faults/faults_internal.h"

#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <nghttp2/nghttp2.h>

#if WITH_TLS
#include <openssl/crypto.h>
#include <openssl/err.h>
#endif

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void __real_free(void *block);
int __real_nghttp2_option_new(nghttp2_option **option);
int __real_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
void __wrap_free(void *block);
void __wrap_arena_start(struct arena *arena, void *memory, size_t size);
int __wrap_nghttp2_option_new(nghttp2_option **option);
int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);

void faults_count_live(long change)
{
    if (faults_current_scope == FAULTS_TEST)
        return;
    pthread_mutex_lock(&faults_state.lock);
    faults_state.live += change;
    if (faults_current_scope == FAULTS_CONNECTION)
        faults_state.report.live += change;
    pthread_mutex_unlock(&faults_state.lock);
}

static void *counted(void *block)
{
    if (block)
        faults_count_live(1);
    return block;
}

void *__wrap_malloc(size_t size)
{
    return faults_fails(FAULTS_ALLOCATION) ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return faults_fails(FAULTS_ALLOCATION) ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    void *block;

    if (faults_fails(FAULTS_ALLOCATION))
        return NULL;
    block = __real_realloc(old, size);
    return old ? block : counted(block);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    void *block;

    if (faults_fails(FAULTS_ALLOCATION))
        return NULL;
    block = __real_reallocarray(old, count, size);
    return old ? block : counted(block);
}

void __wrap_free(void *block)
{
    if (block)
        faults_count_live(-1);
    __real_free(block);
}

/* Without memory, an arena takes every block from malloc, so that each can fail. */
void __wrap_arena_start(struct arena *arena, void *memory, size_t size)
{
    (void)memory;
    (void)size;
    *arena = (struct arena){0};
}

/* nghttp2 allocates these two without nghttp2_mem. */
int __wrap_nghttp2_option_new(nghttp2_option **option)
{
    return faults_fails(FAULTS_ALLOCATION) ? NGHTTP2_ERR_NOMEM : __real_nghttp2_option_new(option);
}

int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks)
{
    return faults_fails(FAULTS_ALLOCATION) ? NGHTTP2_ERR_NOMEM
                                           : __real_nghttp2_session_callbacks_new(callbacks);
}

__attribute__((constructor)) static void hook_jansson(void)
{
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
}

#if WITH_TLS
/* OpenSSL calls these for 0 bytes as well. */
static void *openssl_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size > 0 ? __wrap_malloc(size) : NULL;
}

static void openssl_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    __wrap_free(block);
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line)
{
    if (size > 0)
        return __wrap_realloc(old, size);
    openssl_free(old, file, line);
    return NULL;
}

__attribute__((constructor)) static void hook_openssl(void)
{
    assert_int_equal(CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free), 1);
}

void faults_forget_thread(void)
{
    OPENSSL_thread_stop();
}

/* If the second allocation for a thread fails, OpenSSL 3.6 tries to keep an error for that,
 * allocates everything again, and leaks four blocks. With older versions these allocations may
 * fail. */
void faults_prepare_thread(void)
{
    faults_suspended = OPENSSL_version_major() > 3 || OPENSSL_version_minor() >= 6;
    if (faults_suspended)
        ERR_clear_error();
    faults_suspended = false;
}
#else
void faults_forget_thread(void)
{
}

void faults_prepare_thread(void)
{
}
#endif
