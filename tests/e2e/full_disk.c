/* Makes writes end with ENOSPC while the file tables.full, wal.full or uploads.full is in the folder DISK_FLAGS.
 *
 * Loaded before libc (LD_PRELOAD), so that its functions are found first: those with which PostgreSQL writes
 * relations (below base/, which then can't grow) and its log (pg_wal/, which then takes nothing at all), and
 * the API files on their way (uploads/, likewise).
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int flagged(const char *name) {
    char path[4096];
    const char *folder = getenv("DISK_FLAGS");
    if (folder == NULL) return 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static int full(int fd, off_t end) {
    char link[64], path[4096];
    struct stat found;
    int before = errno, answer = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        if (strstr(path, "/pg_wal/")) answer = flagged("wal.full");
        else if (strstr(path, "/uploads/")) answer = flagged("uploads.full");
        else if (strstr(path, "/base/"))
            answer = flagged("tables.full") && fstat(fd, &found) == 0 && end > found.st_size;
    }
    errno = before;
    return answer;
}

static off_t total(const struct iovec *parts, int count) {
    off_t sum = 0;
    for (int i = 0; i < count; i++) sum += parts[i].iov_len;
    return sum;
}

#define REAL(name)                                                                  \
    static __typeof__(&name) real;                                                  \
    if (!real) real = (__typeof__(&name)) dlsym(RTLD_NEXT, #name);
#define REFUSE(fd, end) if (full(fd, end)) { errno = ENOSPC; return -1; }

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64) REFUSE(fd, at + (off_t) size) return real(fd, data, size, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite) REFUSE(fd, at + (off_t) size) return real(fd, data, size, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    REAL(pwritev64) REFUSE(fd, at + total(parts, count)) return real(fd, parts, count, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(pwritev) REFUSE(fd, at + total(parts, count)) return real(fd, parts, count, at);
}
ssize_t write(int fd, const void *data, size_t size) {
    REAL(write) REFUSE(fd, lseek(fd, 0, SEEK_CUR) + (off_t) size) return real(fd, data, size);
}
int posix_fallocate64(int fd, off64_t at, off64_t size) {
    REAL(posix_fallocate64) if (full(fd, at + size)) return ENOSPC; return real(fd, at, size);
}
int posix_fallocate(int fd, off_t at, off_t size) {
    REAL(posix_fallocate) if (full(fd, at + size)) return ENOSPC; return real(fd, at, size);
}
