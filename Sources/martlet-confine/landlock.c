#define _GNU_SOURCE
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// The interface is written out (linux/landlock.h), because the headers of a system are often older than its kernel.
enum {
    SYS_create = 444,
    SYS_add = 445,
    SYS_restrict = 446,
    CREATE_VERSION = 1,
    RULE_PATH = 1,
};

enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    MAKE_CHARACTER_DEVICE = 1 << 6,
    MAKE_PIPE = 1 << 10,
    MAKE_BLOCK_DEVICE = 1 << 11,
    MAKE_LINK = 1 << 12,
    TRUNCATE = 1 << 14,
    IOCTL_DEVICE = 1 << 15,
};

/// What can be handled by each version: making and removing (up to bit 12), refer, truncate, ioctl on devices.
static const uint64_t handled[] = {0, (1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1};

/// What makes sense for a file; the rest is about folders.
static const uint64_t of_files = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE;

struct attributes {
    uint64_t files, network, scoped;
};

struct path_rule {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

int confine_landlock_version(void) {
    long version = syscall(SYS_create, NULL, 0, CREATE_VERSION);
    return version < 0 ? 0 : (int)version;
}

static uint64_t allowed(const confine_rule *rule, uint64_t all) {
    switch (rule->kind) {
    case RULE_READ: return READ_FILE | READ_DIR;
    case RULE_EXECUTE: return READ_FILE | READ_DIR | EXECUTE;
    case RULE_WRITE: return all & ~(uint64_t)EXECUTE;
    }
    return 0;
}

static int add(int set, const confine_rule *rule, uint64_t all, uint64_t never) {
    int fd = open(rule->path, O_PATH | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct path_rule path = {.allowed = allowed(rule, all) & ~never, .parent = fd};
    struct stat info;
    int error = fstat(fd, &info) ? -errno : 0;
    if (!error && !S_ISDIR(info.st_mode)) path.allowed &= of_files;
    if (!error && syscall(SYS_add, set, RULE_PATH, &path, 0)) error = -errno;
    close(fd);
    return error;
}

int confine_files(const confine_rule *rules, int count, int has_links, int *failed) {
    *failed = -1;
    int version = confine_landlock_version();
    if (version == 0) return -ENOSYS;
    uint64_t all = handled[version > 5 ? 5 : version];
    // Abstract sockets and signals to processes outside (version 6).
    struct attributes attributes = {.files = all, .scoped = version >= 6 ? 3 : 0};
    size_t size = version >= 6 ? sizeof attributes : version >= 4 ? 16 : 8;
    int set = (int)syscall(SYS_create, &attributes, size, 0);
    if (set < 0) return -errno;
    int error = 0;
    for (int index = 0; index < count && !error; index++) {
        uint64_t special = MAKE_CHARACTER_DEVICE | MAKE_PIPE | MAKE_BLOCK_DEVICE | MAKE_LINK;
        error = add(set, &rules[index], all, has_links ? 0 : special);
        if (error) *failed = index;
    }
    if (!error && syscall(SYS_restrict, set, 0)) error = -errno;
    close(set);
    return error;
}
