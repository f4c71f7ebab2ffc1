/* Loaded before the C library: makes writes below a folder fail, and the clock of one process wrong.
 *
 * What it does stands in the file that SIGHTLINE_SHIM_STATE names, mapped into memory, so that a test can change
 * it while the process runs. See tests/crash/shim.py, which has the same layout.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct state {
    int64_t armed;  /* whether anything fails */
    int64_t nth;    /* the operation that fails, counted from 1 */
    int64_t sticky; /* whether all after it fail too */
    int64_t error;  /* errno */
    int64_t count;  /* operations so far */
    int64_t failed; /* of them failed */
    int64_t clock;  /* seconds by which the clock is ahead */
    char prefix[1024];
};

static struct state *state;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SIGHTLINE_SHIM_STATE");
    if (path == NULL) return;
    int (*really)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = really(path, O_RDWR);
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) state = mapped;
}

/* Whether this operation on that path is to fail; errno is set then. */
static int fails(const char *path) {
    if (state == NULL || path == NULL || state->prefix[0] == 0) return 0;
    if (strncmp(path, state->prefix, strlen(state->prefix)) != 0) return 0;
    int64_t number = __atomic_add_fetch(&state->count, 1, __ATOMIC_SEQ_CST);
    if (!state->armed || number < state->nth || (number > state->nth && !state->sticky)) return 0;
    __atomic_add_fetch(&state->failed, 1, __ATOMIC_SEQ_CST);
    errno = (int)state->error;
    return 1;
}

static int fails_fd(int fd) {
    if (state == NULL || state->prefix[0] == 0) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return fails(path);
}

/* A path of the *at family: those that we care about are absolute, or relative to the working folder. */
static int fails_at(const char *path) { return path != NULL && path[0] == '/' && fails(path); }

#define REAL(kind, name, ...) \
    static kind (*really)(__VA_ARGS__); \
    if (really == NULL) really = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return fails_fd(fd) ? -1 : really(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return fails_fd(fd) ? -1 : really(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return fails_fd(fd) ? -1 : really(fd, data, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    return fails_fd(fd) ? -1 : really(fd, parts, count);
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    return fails_fd(fd) ? -1 : really(fd);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return fails_fd(fd) ? -1 : really(fd);
}

int ftruncate(int fd, off_t size) {
    REAL(int, "ftruncate", int, off_t);
    return fails_fd(fd) ? -1 : really(fd, size);
}

int ftruncate64(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    return fails_fd(fd) ? -1 : really(fd, size);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    return fails_at(to) ? -1 : really(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    return fails_at(to) ? -1 : really(from_fd, from, to_fd, to);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    return fails_at(path) ? -1 : really(path, mode);
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    REAL(int, "open", const char *, int, ...);
    return (flags & O_CREAT) && fails_at(path) ? -1 : really(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    REAL(int, "open64", const char *, int, ...);
    return (flags & O_CREAT) && fails_at(path) ? -1 : really(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    MODE(flags)
    REAL(int, "openat", int, const char *, int, ...);
    return (flags & O_CREAT) && fails_at(path) ? -1 : really(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags)
    REAL(int, "openat64", int, const char *, int, ...);
    return (flags & O_CREAT) && fails_at(path) ? -1 : really(folder, path, flags, mode);
}

static int64_t ahead(void) { return state == NULL ? 0 : state->clock; }

int clock_gettime(clockid_t which, struct timespec *now) {
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    int status = really(which, now);
    if (status == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(int, "gettimeofday", struct timeval *, void *);
    int status = really(now, zone);
    if (status == 0) now->tv_sec += ahead();
    return status;
}

time_t time(time_t *where) {
    REAL(time_t, "time", time_t *);
    time_t now = really(NULL) + ahead();
    if (where != NULL) *where = now;
    return now;
}
