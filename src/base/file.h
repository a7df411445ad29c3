/*
 * file: files that settings name.
 */
#ifndef H2ECHOD_BASE_FILE_H
#define H2ECHOD_BASE_FILE_H

#include <stdio.h>

/*
 * file_open(name):
 * Open for reading a file whose end comes, and which a reload can read again: not a pipe, not
 * /dev/zero. Return NULL with errno if it can't be read.
 */
FILE *file_open(const char *name);

/*
 * file_open_advice(error):
 * Return what would let file_open succeed that failed with errno ${error}, a static string.
 */
const char *file_open_advice(int error);

#endif
