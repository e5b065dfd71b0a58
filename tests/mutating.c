/* Preloaded into the doctor and its children: counts the calls that change something below one folder, across all
   processes, and at the N-th lets the process die on the spot, or the call fail.

   MUTATING_BELOW   the folder
   MUTATING_COUNTER a file of 8 bytes, shared by every process
   MUTATING_AT      N, counted from 1 (0: only count)
   MUTATING_ERRNO   0 to die, else the error that the N-th call ends with
   MUTATING_TRACE   a file that gets a line for every fsync and rename below the folder
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic long *counter;
static char below[4096];
static long at_call;
static int error_number;
static _Atomic int ready;
static const char *trace;

static int inside(const char *path) { return strncmp(path, below, strlen(below)) == 0; }

static void prepare(void) {
    if (atomic_exchange(&ready, 1)) return;
    const char *folder = getenv("MUTATING_BELOW"), *file = getenv("MUTATING_COUNTER");
    if (!folder || !file) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    void *page = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (page == MAP_FAILED) return;
    snprintf(below, sizeof below, "%s/", folder);
    at_call = atol(getenv("MUTATING_AT") ? getenv("MUTATING_AT") : "0");
    error_number = atoi(getenv("MUTATING_ERRNO") ? getenv("MUTATING_ERRNO") : "0");
    trace = getenv("MUTATING_TRACE");
    counter = page;
}

static void told(const char *what, const char *path) {
    char line[8400];
    if (!trace || !inside(path)) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return;
    int size = snprintf(line, sizeof line, "%s %s\n", what, path);
    syscall(SYS_write, fd, line, (size_t)size);
    syscall(SYS_close, fd);
}

static int inside_at(int folder, const char *path) {
    char link[64], full[8192];
    if (!path) return 0;
    if (path[0] == '/') return inside(path);
    if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t size = readlink(link, full, 4096);
    if (size < 0) return 0;
    snprintf(full + size, sizeof full - size, "/%s", path);
    return inside(full);
}

static int inside_fd(int fd) {
    char link[64], full[4097];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, full, 4096);
    if (size < 0) return 0;
    full[size] = 0;
    return inside(full);
}

/* 1 when the call must fail with errno set; does not return when the process must die */
static int strikes(int counts) {
    prepare();
    if (!counter || !counts) return 0;
    if (atomic_fetch_add(counter, 1) + 1 != at_call) return 0;
    if (!error_number) syscall(SYS_exit_group, 137);
    errno = error_number;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define LOADED (prepare(), counter != 0)
#define GUARD(where) do { if (LOADED && strikes(where)) return -1; } while (0)

int rename(const char *a, const char *b) { GUARD(inside_at(AT_FDCWD, a) || inside_at(AT_FDCWD, b)); told("rename", b); return REAL(rename)(a, b); }
int fsync(int fd) {
    char link[64], full[4097];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = LOADED ? readlink(link, full, 4096) : -1;
    int done = REAL(fsync)(fd);
    if (size >= 0) { full[size] = 0; told("fsync", full); }
    return done;
}
int renameat(int x, const char *a, int y, const char *b) { GUARD(inside_at(x, a) || inside_at(y, b)); return REAL(renameat)(x, a, y, b); }
int renameat2(int x, const char *a, int y, const char *b, unsigned f) { GUARD(inside_at(x, a) || inside_at(y, b)); return REAL(renameat2)(x, a, y, b, f); }
int link(const char *a, const char *b) { GUARD(inside_at(AT_FDCWD, b)); return REAL(link)(a, b); }
int linkat(int x, const char *a, int y, const char *b, int f) { GUARD(inside_at(y, b)); return REAL(linkat)(x, a, y, b, f); }
int symlink(const char *a, const char *b) { GUARD(inside_at(AT_FDCWD, b)); return REAL(symlink)(a, b); }
int symlinkat(const char *a, int y, const char *b) { GUARD(inside_at(y, b)); return REAL(symlinkat)(a, y, b); }
int unlink(const char *a) { GUARD(inside_at(AT_FDCWD, a)); return REAL(unlink)(a); }
int unlinkat(int x, const char *a, int f) { GUARD(inside_at(x, a)); return REAL(unlinkat)(x, a, f); }
int rmdir(const char *a) { GUARD(inside_at(AT_FDCWD, a)); return REAL(rmdir)(a); }
int mkdir(const char *a, mode_t m) { GUARD(inside_at(AT_FDCWD, a)); return REAL(mkdir)(a, m); }
int mkdirat(int x, const char *a, mode_t m) { GUARD(inside_at(x, a)); return REAL(mkdirat)(x, a, m); }
int chmod(const char *a, mode_t m) { GUARD(inside_at(AT_FDCWD, a)); return REAL(chmod)(a, m); }
int fchmod(int fd, mode_t m) { GUARD(inside_fd(fd)); return REAL(fchmod)(fd, m); }
int fchmodat(int x, const char *a, mode_t m, int f) { GUARD(inside_at(x, a)); return REAL(fchmodat)(x, a, m, f); }
int truncate(const char *a, off_t s) { GUARD(inside_at(AT_FDCWD, a)); return REAL(truncate)(a, s); }
int truncate64(const char *a, off64_t s) { GUARD(inside_at(AT_FDCWD, a)); return REAL(truncate64)(a, s); }
int ftruncate(int fd, off_t s) { GUARD(inside_fd(fd)); return REAL(ftruncate)(fd, s); }
int ftruncate64(int fd, off64_t s) { GUARD(inside_fd(fd)); return REAL(ftruncate64)(fd, s); }
ssize_t write(int fd, const void *b, size_t n) { GUARD(inside_fd(fd)); return REAL(write)(fd, b, n); }
ssize_t writev(int fd, const struct iovec *v, int n) { GUARD(inside_fd(fd)); return REAL(writev)(fd, v, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { GUARD(inside_fd(fd)); return REAL(pwrite)(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { GUARD(inside_fd(fd)); return REAL(pwrite64)(fd, b, n, o); }
ssize_t copy_file_range(int a, off64_t *x, int b, off64_t *y, size_t n, unsigned f) { GUARD(inside_fd(b)); return REAL(copy_file_range)(a, x, b, y, n, f); }
ssize_t sendfile(int b, int a, off_t *x, size_t n);
ssize_t sendfile(int b, int a, off_t *x, size_t n) { GUARD(inside_fd(b)); return REAL(sendfile)(b, a, x, n); }
ssize_t sendfile64(int b, int a, off64_t *x, size_t n);
ssize_t sendfile64(int b, int a, off64_t *x, size_t n) { GUARD(inside_fd(b)); return REAL(sendfile64)(b, a, x, n); }

#define CHANGES(flags) ((flags) & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR))
#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
int open(const char *a, int flags, ...) { MODE(flags) GUARD(CHANGES(flags) && inside_at(AT_FDCWD, a)); return REAL(open)(a, flags, mode); }
int open64(const char *a, int flags, ...) { MODE(flags) GUARD(CHANGES(flags) && inside_at(AT_FDCWD, a)); return REAL(open64)(a, flags, mode); }
int openat(int x, const char *a, int flags, ...) { MODE(flags) GUARD(CHANGES(flags) && inside_at(x, a)); return REAL(openat)(x, a, flags, mode); }
int openat64(int x, const char *a, int flags, ...) { MODE(flags) GUARD(CHANGES(flags) && inside_at(x, a)); return REAL(openat64)(x, a, flags, mode); }
int creat(const char *a, mode_t m) { GUARD(inside_at(AT_FDCWD, a)); return REAL(creat)(a, m); }
