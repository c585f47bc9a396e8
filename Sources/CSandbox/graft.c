#define _GNU_SOURCE
#include "csandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif
int umount2(const char *target, int flags);

enum { MAXIMUM_MOUNTS = 8 };

typedef struct {
    pid_t pid;
    const csandbox_mount *mounts;
    int trees[MAXIMUM_MOUNTS];
    int count;
    const char *revoked;
    int namespace;
    int root;
    int failed;
    int error;
} graft;

// A thread that enters another mount namespace needs a root and working directory of its own, and can hardly come
// back. So it is a thread that ends afterwards.
static void *enter(void *argument) {
    graft *graft = argument;
    if (unshare(CLONE_FS) || setns(graft->namespace, CLONE_NEWNS) || fchdir(graft->root) || chroot(".")) {
        graft->error = errno;
        return NULL;
    }
    for (int index = 0; index < graft->count; index++) {
        const char *target = graft->mounts[index].target;
        if (syscall(SYS_move_mount, graft->trees[index], "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH)) {
            graft->error = errno;
            graft->failed = index;
            return NULL;
        }
    }
    if (graft->revoked && umount2(graft->revoked, MNT_DETACH)) graft->error = errno;
    return NULL;
}

static int open_trees(graft *graft) {
    for (int index = 0; index < graft->count; index++) {
        const csandbox_mount *mount = &graft->mounts[index];
        struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
        if (mount->attributes & CSANDBOX_READ_ONLY) attributes.attr_set |= MOUNT_ATTR_RDONLY;
        if (mount->attributes & CSANDBOX_NO_SYMLINKS) attributes.attr_set |= MOUNT_ATTR_NOSYMFOLLOW;
        if (mount->attributes & CSANDBOX_NO_EXECUTE) attributes.attr_set |= MOUNT_ATTR_NOEXEC;
        int tree = (int)syscall(SYS_open_tree, AT_FDCWD, mount->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        graft->trees[index] = tree;
        if (tree < 0 || syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes)) {
            graft->failed = index;
            return -errno;
        }
    }
    return 0;
}

static int open_namespace(graft *graft) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", graft->pid);
    graft->namespace = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/proc/%d/root", graft->pid);
    graft->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return graft->namespace < 0 || graft->root < 0 ? -errno : 0;
}

int csandbox_graft(pid_t pid, const csandbox_mount *mounts, int count, const char *revoked, int *failed) {
    *failed = -1;
    if (count > MAXIMUM_MOUNTS) return -E2BIG;
    graft graft = {.pid = pid, .mounts = mounts, .count = count, .revoked = revoked, .namespace = -1, .root = -1,
                   .failed = -1};
    for (int index = 0; index < MAXIMUM_MOUNTS; index++) graft.trees[index] = -1;
    int result = open_trees(&graft);
    if (result == 0) result = open_namespace(&graft);
    if (result == 0) {
        pthread_t thread;
        result = -pthread_create(&thread, NULL, enter, &graft);
        if (result == 0) {
            pthread_join(thread, NULL);
            result = -graft.error;
        }
    }
    for (int index = 0; index < count; index++) {
        if (graft.trees[index] >= 0) close(graft.trees[index]);
    }
    if (graft.namespace >= 0) close(graft.namespace);
    if (graft.root >= 0) close(graft.root);
    *failed = graft.failed;
    return result;
}

int csandbox_detach(const char *path) { return umount2(path, MNT_DETACH) ? -errno : 0; }
