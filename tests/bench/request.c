#include "bench/request.h"

#include "bench/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The strings must outlive the request. nghttp2_nv has no const, but nghttp2 does not write. */
static void add(struct request *request, const char *name, size_t name_length, const char *value,
                size_t value_length)
{
    if (request->field_count == REQUEST_FIELDS_MAX)
        client_fail("more than %d fields", REQUEST_FIELDS_MAX);
    request->fields[request->field_count++] =
        (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, name_length,
                     value_length, NGHTTP2_NV_FLAG_NONE};
}

static void add_field(struct request *request, const char *name, const char *value)
{
    add(request, name, strlen(name), value, strlen(value));
}

static void begin(struct request *request, const char *method, const char *path)
{
    request->field_count = 0;
    add_field(request, ":method", method);
    add_field(request, ":path", path);
    add_field(request, ":scheme", "http");
    add_field(request, ":authority", "127.0.0.1:8080");
}

void request_plain(struct request *request, const char *method)
{
    begin(request, method, "/file");
    add_field(request, "user-agent", "h2load nghttp2/1.52.0");
}

/* Return a number that looks random and differs for each ${number}: the last steps of splitmix64.
 */
static uint64_t scatter(uint64_t number)
{
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
    return number ^ number >> 31;
}

void request_varied(struct request *request, size_t number)
{
    unsigned long long scattered = scatter(number);

    snprintf(request->path, sizeof(request->path), "/file?item=%llu", scattered);
    snprintf(request->value, sizeof(request->value), "%016llx-%zu", scattered, number);
    begin(request, "GET", request->path);
    add_field(request, "user-agent", "varied");
    add_field(request, "x-request-id", request->value);
}

/* The part of a text that is not compared yet. Its length is SIZE_MAX after a difference. */
struct rest {
    const char *at;
    size_t length;
};

static void skip(struct rest *rest, const void *expected, size_t length)
{
    if (rest->length == SIZE_MAX || rest->length < length ||
        memcmp(rest->at, expected, length) != 0) {
        rest->length = SIZE_MAX;
        return;
    }
    rest->at += length;
    rest->length -= length;
}

bool request_is_echoed(const struct request *request, const char *body, size_t length)
{
    struct rest rest = {body, length};

    for (size_t i = 0; i < request->field_count; i++) {
        const nghttp2_nv *field = &request->fields[i];

        skip(&rest, i == 0 ? "{\"" : "\", \"", i == 0 ? 2 : 4);
        skip(&rest, field->name, field->namelen);
        skip(&rest, "\": \"", 4);
        skip(&rest, field->value, field->valuelen);
    }
    skip(&rest, "\"}", 2);
    return rest.length == 0;
}

static void add_line(struct request *request, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);

    if (colon == NULL || line + length - colon < 2 || colon[1] != ' ')
        client_fail("not a field: %.*s", (int)length, line);
    add(request, line, (size_t)(colon - line), colon + 2, (size_t)(line + length - colon - 2));
}

void request_browser(struct request *request, const char *file)
{
    FILE *stream = fopen(file, "r");
    const char *line = request->text;
    const char *end;
    size_t length;

    if (stream == NULL)
        client_fail("%s: %s", file, strerror(errno));
    length = fread(request->text, 1, sizeof(request->text), stream);
    if (length == sizeof(request->text) || ferror(stream))
        client_fail("%s: too long or unreadable", file);
    fclose(stream);
    begin(request, "GET", "/file");
    while ((end = memchr(line, '\n', (size_t)(request->text + length - line))) != NULL) {
        add_line(request, line, (size_t)(end - line));
        line = end + 1;
    }
}
