/* Runs a fuzz target on files, without libFuzzer, so that inputs which found errors are tested
 * again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Run the target on the file. Return false if it cannot be read. */
static int replay(const char *name)
{
    static uint8_t data[1 << 20];
    FILE *file = fopen(name, "rb");
    size_t size;

    if (file == NULL)
        return 0;
    size = fread(data, 1, sizeof(data), file);
    if (ferror(file) || !feof(file))
        return fclose(file), 0;
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    return 1;
}

int main(int argc, char *argv[])
{
    for (int i = 1; i < argc; i++) {
        if (!replay(argv[i])) {
            fprintf(stderr, "%s: cannot be read completely\n", argv[i]);
            return EXIT_FAILURE;
        }
    }
    if (argc == 1) {
        fprintf(stderr, "no files: the corpus is missing\n");
        return EXIT_FAILURE;
    }
    printf("1..1\nok 1 - %d inputs\n", argc - 1);
    return EXIT_SUCCESS;
}
