#define _GNU_SOURCE
#include "csandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int result(int value) { return value < 0 ? -errno : value; }

static int address(const char *path, struct sockaddr_un *address) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return 0;
}

int csandbox_listen_unix(const char *path, mode_t mode, int backlog) {
    struct sockaddr_un to;
    int error = address(path, &to);
    if (error) return error;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    if (bind(fd, (struct sockaddr *)&to, sizeof to) || chmod(path, mode) || listen(fd, backlog)) {
        error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int csandbox_accept(int fd) { return result(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)); }

int csandbox_connect_unix(const char *path) {
    struct sockaddr_un to;
    int error = address(path, &to);
    if (error) return error;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) {
        error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int csandbox_pipe(int fds[2]) { return result(pipe2(fds, O_CLOEXEC)); }

int csandbox_set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : result(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

int64_t csandbox_read(int fd, void *bytes, uint64_t count) {
    for (;;) {
        ssize_t got = read(fd, bytes, count);
        if (got >= 0) return got;
        if (errno != EINTR) return -errno;
    }
}

int64_t csandbox_write(int fd, const void *bytes, uint64_t count) {
    for (;;) {
        ssize_t put = write(fd, bytes, count);
        if (put >= 0) return put;
        if (errno != EINTR) return -errno;
    }
}

int64_t csandbox_send(int fd, const void *bytes, uint64_t count) {
    for (;;) {
        ssize_t put = send(fd, bytes, count, MSG_NOSIGNAL);
        if (put >= 0) return put;
        if (errno != EINTR) return -errno;
    }
}

void csandbox_close(int fd) { close(fd); }
int csandbox_open_read(const char *path) { return result(open(path, O_RDONLY | O_CLOEXEC)); }

int csandbox_open_inside(const char *folder, const char *name) {
    int base = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (base < 0) return -errno;
    // A pipe or device is not waited for.
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, base, name, &how, sizeof how);
    int error = fd < 0 ? -errno : 0;
    close(base);
    struct stat info;
    if (!error && fstat(fd, &info)) error = -errno;
    if (!error && !S_ISREG(info.st_mode)) error = -EINVAL;
    if (error && fd >= 0) close(fd);
    return error ? error : fd;
}
int csandbox_open_write(const char *path) { return result(open(path, O_WRONLY | O_CLOEXEC)); }
int csandbox_open_append(const char *path) {
    return result(open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
}
int csandbox_sync_file(int fd) { return result(fsync(fd)); }

int csandbox_sync_folder(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int error = fsync(fd) ? -errno : 0;
    close(fd);
    return error;
}

int64_t csandbox_free_bytes(const char *path) {
    struct statvfs info;
    if (statvfs(path, &info)) return -errno;
    return (int64_t)info.f_bavail * (int64_t)info.f_frsize;
}

uint64_t csandbox_monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int csandbox_lock_file(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int csandbox_copy_inside(const char *folder, const char *name, const char *target) {
    int from = csandbox_open_inside(folder, name);
    if (from < 0) return from;
    struct stat info;
    int to = -1, error = 0;
    if (fstat(from, &info)) error = -errno;
    if (!error && (to = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, info.st_mode & 0777)) < 0) error = -errno;
    while (!error) {
        ssize_t moved = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
        if (moved == 0) break;
        if (moved < 0 && errno != EINTR) error = -errno;
    }
    if (to >= 0) close(to);
    close(from);
    return error;
}

int csandbox_usage(const char *path, uint64_t maximum, uint64_t *bytes, uint64_t *files) {
    char *const paths[] = {(char *)path, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    if (!walk) return -errno;
    *bytes = *files = 0;
    for (FTSENT *entry; (entry = fts_read(walk)) && *files <= maximum;) {
        if (entry->fts_info == FTS_DP || entry->fts_info == FTS_NS || entry->fts_info == FTS_ERR) continue;
        if (entry->fts_level == 0) continue;
        *bytes += (uint64_t)entry->fts_statp->st_blocks * 512;
        *files += 1;
    }
    fts_close(walk);
    return 0;
}

/// Removes a name below `base` without passing through any link on the way to it, and without following it.
static int remove_below(int base, const char *name) {
    const char *last = strrchr(name, '/');
    if (!last) return unlinkat(base, name, 0) ? -errno : 0;
    char folder[PATH_MAX];
    size_t length = (size_t)(last - name);
    if (length >= sizeof folder) return -ENAMETOOLONG;
    memcpy(folder, name, length);
    folder[length] = 0;
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS};
    int parent = (int)syscall(SYS_openat2, base, folder, &how, sizeof how);
    if (parent < 0) return -errno;
    int error = unlinkat(parent, last + 1, 0) ? -errno : 0;
    close(parent);
    return error;
}

int64_t csandbox_sweep(const char *path, uint64_t *bytes, uint64_t *files, char *first, uint64_t size) {
    *bytes = *files = 0;
    if (size) first[0] = 0;
    int base = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (base < 0) return -errno;
    char *const paths[] = {(char *)path, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    if (!walk) {
        int error = -errno;
        close(base);
        return error;
    }
    int64_t removed = 0;
    int error = 0;
    size_t prefix = strlen(path);
    for (FTSENT *entry; !error && (entry = fts_read(walk));) {
        if (entry->fts_info == FTS_DP || entry->fts_info == FTS_NS || entry->fts_info == FTS_ERR) continue;
        if (entry->fts_level == 0) continue;
        mode_t mode = entry->fts_statp->st_mode;
        if (S_ISLNK(mode) || S_ISFIFO(mode) || S_ISCHR(mode) || S_ISBLK(mode)) {
            const char *name = entry->fts_path + prefix;
            while (*name == '/') name++;
            error = remove_below(base, name);
            if (error == -ENOENT) error = 0;
            if (size && !removed) snprintf(first, size, "%s", name);
            removed++;
            continue;
        }
        *bytes += (uint64_t)entry->fts_statp->st_blocks * 512;
        *files += 1;
    }
    fts_close(walk);
    close(base);
    return error ? error : removed;
}

int csandbox_limit_file_size(pid_t pid, uint64_t bytes) {
    struct rlimit limit = {bytes, bytes};
    return prlimit(pid, RLIMIT_FSIZE, &limit, NULL) ? -errno : 0;
}
