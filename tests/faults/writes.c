/* Preloaded: count the system calls that change something below a directory, and kill or fail at the n-th.
 *
 *   fault_arm(action, at, error, below)   0 count, 1 kill before call `at`, 2 fail call `at` with `error`,
 *                                         3 fail it and every later call that takes space or writes (a full disk)
 *                                         4 kill in the middle of the `at`-th call that writes bytes: half of them stand
 *   fault_exchange(0)                     renameat2 with flags answers EINVAL, as file systems without it do
 *   fault_count(), fault_writes()         calls so far; those of them that write bytes
 *   fault_last()                          name of the call that was failed
 *
 * What glibc's own stdio writes does not pass here: Python, C++ streams and Rust do.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int action = -1;
static atomic_long calls = 0, writes = 0;
static long point = 0;
static int error_number = 0, exchange_allowed = 1;
static char below[PATH_MAX] = "";
static char last[64] = "";

void fault_arm(int what, long at, int error, const char *directory) {
    calls = writes = 0;
    point = at;
    error_number = error;
    last[0] = 0;
    snprintf(below, sizeof below, "%s", directory);
    action = what;
}
void fault_exchange(int allowed) { exchange_allowed = allowed; }
long fault_count(void) { return calls; }
long fault_writes(void) { return writes; }
const char *fault_last(void) { return last; }

static int inside(const char *path) {
    size_t length = strlen(below);
    return length && !strncmp(path, below, length) && (path[length] == '/' || !path[length]);
}

static int fd_inside(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return inside(path);
}

static int path_inside(int directory, const char *path) {
    char whole[PATH_MAX];
    if (!path) return 0;
    if (path[0] == '/') return inside(path);
    if (directory != AT_FDCWD) return fd_inside(directory);
    return getcwd(whole, sizeof whole) && inside(whole);
}

/* Whether this call is to fail; a call that is to be the last does not return. */
static int faulted(const char *name, int hit, int takes_space) {
    if (action < 0 || !hit) return 0;
    long now = ++calls;
    if (action == 1 && now == point) kill(getpid(), SIGKILL);
    if (!((action == 2 && now == point) || (action == 3 && now >= point && (takes_space || now == point)))) return 0;
    if (!last[0]) snprintf(last, sizeof last, "%s", name);
    errno = error_number;
    return 1;
}

#define REAL(type, name) static __typeof__(type) *real = 0; if (!real) real = (__typeof__(type) *)dlsym(RTLD_NEXT, name)
#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))

#define OPEN(name)                                                                        \
    int name(const char *path, int flags, ...) {                                          \
        REAL(int(const char *, int, ...), #name);                                     \
        va_list list; va_start(list, flags);                                              \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;         \
        va_end(list);                                                                     \
        if (faulted(#name, WRITES(flags) && path_inside(AT_FDCWD, path), 1)) return -1;   \
        return real(path, flags, mode);                                                   \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                      \
    int name(int directory, const char *path, int flags, ...) {                           \
        REAL(int(int, const char *, int, ...), #name);                                \
        va_list list; va_start(list, flags);                                              \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;         \
        va_end(list);                                                                     \
        if (faulted(#name, WRITES(flags) && path_inside(directory, path), 1)) return -1;  \
        return real(directory, path, flags, mode);                                        \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                       \
    FILE *name(const char *path, const char *mode) {                                      \
        REAL(FILE *(const char *, const char *), #name);                               \
        int writes = strpbrk(mode, "wa+") != 0;                                           \
        if (faulted(#name, writes && path_inside(AT_FDCWD, path), 1)) return 0;           \
        return real(path, mode);                                                          \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* Whether this call writes the bytes of which half are to be the last. */
static int torn(int hit) { return action >= 0 && hit && ++writes == point && action == 4; }

#define WRITE(name, parameters, arguments, half)                                          \
    ssize_t name parameters {                                                             \
        REAL(ssize_t parameters, #name);                                              \
        int hit = action >= 0 && fd_inside(fd);                                           \
        if (torn(hit)) { real half; kill(getpid(), SIGKILL); }                            \
        if (faulted(#name, hit, 1)) return -1;                                            \
        return real arguments;                                                            \
    }
WRITE(write, (int fd, const void *data, size_t size), (fd, data, size), (fd, data, size / 2))
WRITE(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), (fd, data, size / 2, at))
WRITE(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), (fd, data, size / 2, at))
WRITE(writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), (fd, parts, count / 2))
WRITE(sendfile, (int fd, int from, off_t *at, size_t size), (fd, from, at, size), (fd, from, at, size / 2))
WRITE(sendfile64, (int fd, int from, off64_t *at, size_t size), (fd, from, at, size), (fd, from, at, size / 2))
WRITE(copy_file_range, (int from, off64_t *from_at, int fd, off64_t *at, size_t size, unsigned flags),
      (from, from_at, fd, at, size, flags), (from, from_at, fd, at, size / 2, flags))

#define ON_FD(name, parameters, arguments)                                                \
    int name parameters {                                                                 \
        REAL(int parameters, #name);                                                  \
        if (faulted(#name, action >= 0 && fd_inside(fd), 0)) return -1;                   \
        return real arguments;                                                            \
    }
ON_FD(fsync, (int fd), (fd))
ON_FD(fdatasync, (int fd), (fd))
ON_FD(ftruncate, (int fd, off_t size), (fd, size))
ON_FD(ftruncate64, (int fd, off64_t size), (fd, size))
ON_FD(fchmod, (int fd, mode_t mode), (fd, mode))

#define ON_PATH(name, space, at, parameters, arguments)                                   \
    int name parameters {                                                                 \
        REAL(int parameters, #name);                                                  \
        if (faulted(#name, path_inside(at, path), space)) return -1;                      \
        return real arguments;                                                            \
    }
ON_PATH(mkdir, 1, AT_FDCWD, (const char *path, mode_t mode), (path, mode))
ON_PATH(mkdirat, 1, directory, (int directory, const char *path, mode_t mode), (directory, path, mode))
ON_PATH(unlink, 0, AT_FDCWD, (const char *path), (path))
ON_PATH(unlinkat, 0, directory, (int directory, const char *path, int flags), (directory, path, flags))
ON_PATH(rmdir, 0, AT_FDCWD, (const char *path), (path))
ON_PATH(chmod, 0, AT_FDCWD, (const char *path, mode_t mode), (path, mode))
ON_PATH(fchmodat, 0, directory, (int directory, const char *path, mode_t mode, int flags), (directory, path, mode, flags))
ON_PATH(rename, 0, AT_FDCWD, (const char *path, const char *target), (path, target))
ON_PATH(renameat, 0, directory, (int directory, const char *path, int to, const char *target),
        (directory, path, to, target))

int renameat2(int directory, const char *path, int to, const char *target, unsigned flags) {
    REAL(int(int, const char *, int, const char *, unsigned), "renameat2");
    if (flags && !exchange_allowed) { errno = EINVAL; return -1; }
    if (faulted("renameat2", path_inside(directory, path), 0)) return -1;
    return real(directory, path, to, target, flags);
}
