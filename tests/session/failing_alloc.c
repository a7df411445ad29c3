#include "session/failing_alloc.h"

#include <errno.h>
#include <jansson.h>
#include <nghttp2/nghttp2.h>

struct failing_alloc failing = {.left = SIZE_MAX};

struct arena malloc_arena;

static bool fails_now(void)
{
    if (failing.left == SIZE_MAX)
        return false;
    if (failing.left > 0) {
        failing.left--;
        return false;
    }
    if (failing.failed && failing.mode == FAIL_ONCE)
        return false;
    failing.failed = true;
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);
int __real_nghttp2_option_new(nghttp2_option **option);
int __real_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *block);
int __wrap_nghttp2_option_new(nghttp2_option **option);
int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks);

static void *count_block(void *block)
{
    if (block)
        failing.live++;
    return block;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : count_block(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : count_block(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    void *block;

    if (fails_now())
        return NULL;
    block = __real_realloc(old, size);
    return old ? block : count_block(block);
}

void __wrap_free(void *block)
{
    if (block)
        failing.live--;
    __real_free(block);
}

/* nghttp2 allocates these two without nghttp2_mem. */
int __wrap_nghttp2_option_new(nghttp2_option **option)
{
    return fails_now() ? NGHTTP2_ERR_NOMEM : __real_nghttp2_option_new(option);
}

int __wrap_nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks)
{
    return fails_now() ? NGHTTP2_ERR_NOMEM : __real_nghttp2_session_callbacks_new(callbacks);
}

void failing_alloc_init(void)
{
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
}
