#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

FILE *file_open(const char *name)
{
    struct stat status;
    FILE *file = NULL;
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return NULL;
    if (fstat(fd, &status) == 0) {
        if (S_ISREG(status.st_mode))
            file = fdopen(fd, "r");
        else
            errno = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
    }
    if (file == NULL) {
        int error = errno;
        (void)close(fd);
        errno = error;
    }
    return file;
}

const char *file_open_advice(int error)
{
    return error == EACCES ? "let the user that h2echod runs as, or a group of it, read the file "
                             "and enter its directory"
                           : "name a regular file that may be read";
}
