/*
 * Fuzzes a file of settings: one that is accepted is dumped, and the dump must read back as the
 * same settings; one that is not accepted must have been reported.
 */
#include "config/settings.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count_error(const char *message, void *argument)
{
    size_t *errors = argument;

    if (strlen(message) >= SETTINGS_ERROR_MAX)
        abort();
    ++*errors;
}

/* Read a file of ${length} bytes. Return NULL if it is not accepted. */
static struct settings *read_bytes(const void *bytes, size_t length)
{
    char program[] = "h2echod";
    char option[] = "-c";
    char name[] = "/tmp/h2echod-fuzz-XXXXXX";
    char *const argv[] = {program, option, name, NULL};
    struct settings *settings = NULL;
    size_t errors = 0;
    int fd = mkostemp(name, O_CLOEXEC);

    if (fd < 0 || (length > 0 && write(fd, bytes, length) != (ssize_t)length))
        abort();
    close(fd);
    if ((settings_read(3, argv, count_error, &errors, &settings) == SETTINGS_OK) != (errors == 0))
        abort();
    unlink(name);
    return settings;
}

static char *dump(const struct settings *settings, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);

    if (out == NULL)
        abort();
    settings_dump(settings, out);
    fclose(out);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings *settings = read_bytes(data, size);
    size_t length;
    size_t again_length;
    char *text;
    char *again;

    if (settings == NULL)
        return 0;
    text = dump(settings, &length);
    settings_unref(settings);
    settings = read_bytes(text, length);
    if (settings == NULL)
        abort();
    again = dump(settings, &again_length);
    if (length != again_length || memcmp(text, again, length) != 0)
        abort();
    settings_unref(settings);
    free(text);
    free(again);
    return 0;
}
