/*
 * file: opening the files that settings name.
 */
#ifndef H2ECHOD_BASE_FILE_H
#define H2ECHOD_BASE_FILE_H

#include <stdio.h>

/*
 * file_open(name):
 * Open a regular file for reading, to be closed by fclose. Pipes and devices are refused: they
 * might have no end, and a reload could not read them again. Return NULL with errno on failure.
 */
FILE *file_open(const char *name);

/*
 * file_open_advice(error):
 * Return what to do if file_open failed with the errno value ${error}, a static string for an error
 * message.
 */
const char *file_open_advice(int error);

#endif
