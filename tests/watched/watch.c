/* A preloaded library that notes, a line each, what a process looks up, connects to and writes.
 *
 *     WATCH_LOG=/tmp/log LD_PRELOAD=./watch.so PROGRAM
 *
 *     lookup HOST        getaddrinfo and gethostbyname; answered "no such host"
 *     connect ADDRESS    connect and sendto over IPv4 or IPv6; answered "network is unreachable"
 *     write PATH         a file opened to be written, or a directory made
 *
 * Local sockets (AF_UNIX) are what processes of one machine speak over, and pass. 64-bit Linux alone.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By system calls alone: the functions below are not to watch this one. */
static void note(const char *what, const char *of) {
  const char *log = getenv("WATCH_LOG");
  char line[PATH_MAX * 2 + 32];
  int length = snprintf(line, sizeof line, "%s %s\n", what, of ? of : "");
  int file = log ? (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (file < 0) return;
  syscall(SYS_write, file, line, (size_t)length < sizeof line ? (size_t)length : sizeof line);
  syscall(SYS_close, file);
}

static void note_path(int folder, const char *path) {
  char base[PATH_MAX] = "", whole[PATH_MAX * 2], link[64];
  if (path && path[0] != '/') {
    if (folder == AT_FDCWD) {
      syscall(SYS_getcwd, base, sizeof base);
    } else {
      snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
      syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
    }
    snprintf(whole, sizeof whole, "%s/%s", base, path);
    path = whole;
  }
  note("write", path);
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT)) note_path(folder, path);
  return (int)syscall(SYS_openat, folder, path, flags, mode);
}

#define MODE_AFTER(last) \
  va_list rest;          \
  va_start(rest, last);  \
  mode_t mode = va_arg(rest, mode_t); \
  va_end(rest)

int open(const char *path, int flags, ...) {
  MODE_AFTER(flags);
  return opened(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  MODE_AFTER(flags);
  return opened(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
  MODE_AFTER(flags);
  return opened(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
  MODE_AFTER(flags);
  return opened(folder, path, flags, mode);
}

int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static FILE *streamed(const char *name, const char *path, const char *mode) {
  if (strpbrk(mode, "wa+")) note_path(AT_FDCWD, path);
  return ((FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, name))(path, mode);
}

FILE *fopen(const char *path, const char *mode) { return streamed("fopen", path, mode); }
FILE *fopen64(const char *path, const char *mode) { return streamed("fopen64", path, mode); }

/* A folder that is there already is not written: libraries ask for every parent of theirs. */
static int made(int folder, const char *path, int result) {
  int why = errno;
  if (result == 0 || why != EEXIST) note_path(folder, path);
  errno = why;
  return result;
}

int mkdir(const char *path, mode_t mode) {
  return made(AT_FDCWD, path, ((int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir"))(path, mode));
}

int mkdirat(int folder, const char *path, mode_t mode) {
  return made(folder, path, ((int (*)(int, const char *, mode_t))dlsym(RTLD_NEXT, "mkdirat"))(folder, path, mode));
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  (void)service, (void)hints, (void)result;
  note("lookup", host);
  return EAI_NONAME;
}

struct hostent *gethostbyname(const char *host) {
  note("lookup", host);
  h_errno = HOST_NOT_FOUND;
  return NULL;
}

static int outside(const struct sockaddr *address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (!address || (address->sa_family != AF_INET && address->sa_family != AF_INET6)) return 0;
  const void *bytes = address->sa_family == AF_INET ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
                                                    : (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr;
  inet_ntop(address->sa_family, bytes, text, sizeof text);
  note("connect", text);
  errno = ENETUNREACH;
  return 1;
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
  if (outside(address)) return -1;
  return (int)syscall(SYS_connect, socket, address, length);
}

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
  if (outside(to)) return -1;
  return syscall(SYS_sendto, socket, data, size, flags, to, length);
}
