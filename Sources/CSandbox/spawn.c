#define _GNU_SOURCE
#include "csandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif

// The child shares the parent's memory until it runs the program (CLONE_VM, CLONE_VFORK): a copy of the page tables
// of a large daemon would cost more than all the rest. It therefore calls nothing that takes a lock.

enum { STACK_BYTES = 64 * 1024 };

typedef struct {
    const csandbox_child *child;
    sigset_t mask;
    /// As /proc says: in a PID namespace of its own a child cannot see its parent's.
    long parent;
    int error;
    int step;
} start;

static int stop_at(start *start, int step) {
    start->error = errno;
    start->step = step;
    return 127;
}

static int place(int fd, int number) {
    if (fd == number) return fcntl(fd, F_SETFD, 0);
    return dup2(fd, number) < 0 ? -1 : 0;
}

/// The process's own id, or its parent's, in the PID namespace of /proc; -1 when it is not known.
static long id_in_proc(int is_parent) {
    char text[512];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t count = read(fd, text, sizeof text - 1);
    close(fd);
    if (count <= 0) return -1;
    text[count] = 0;
    // "12 (name) S 1 ...": the name may hold anything, and ends at the last bracket.
    const char *place = is_parent ? strrchr(text, ')') : text;
    if (!place) return -1;
    if (is_parent) place += 4;
    long id = 0;
    while (*place >= '0' && *place <= '9') id = id * 10 + (*place++ - '0');
    return id;
}

/// The kernel's struct of this name (sched_setattr(2)), in its first version.
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

/// For ordinary threads the runtime is the slice of EEVDF: who has a shorter one need not wait for the end of a longer one.
static int set_turn(pid_t thread, uint64_t nanoseconds) {
    struct attributes attributes = {.size = sizeof attributes};
    if (syscall(SYS_sched_getattr, thread, &attributes, sizeof attributes, 0)) return -errno;
    if (attributes.policy != SCHED_OTHER) return 0;
    attributes.size = sizeof attributes;
    attributes.flags = 0;
    attributes.runtime = nanoseconds;
    return syscall(SYS_sched_setattr, thread, &attributes, 0) ? -errno : 0;
}

int csandbox_set_turns(uint64_t nanoseconds) {
    DIR *folder = opendir("/proc/self/task");
    if (!folder) return -errno;
    int count = 0, error = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread <= 0) continue;
        error = set_turn(thread, nanoseconds);
        if (error == -ESRCH) error = 0;
        if (error) break;
        count++;
    }
    closedir(folder);
    return error ? error : count;
}

static int run(void *argument) {
    start *start = argument;
    const csandbox_child *child = start->child;
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action = {.sa_handler = SIG_DFL};
        if (number != SIGKILL && number != SIGSTOP) sigaction(number, &action, NULL);
    }
    setsid();
    // The child ends with the thread that starts it, unless that has ended already.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (id_in_proc(1) != start->parent) return stop_at(start, CSANDBOX_STEP_CLONE);
    for (int index = 0; index < child->group_count; index++) {
        if (write(child->groups[index], "0", 1) != 1) return stop_at(start, CSANDBOX_STEP_GROUP);
    }
    if (child->network >= 0 && setns(child->network, CLONE_NEWNET)) return stop_at(start, CSANDBOX_STEP_NETWORK);
    if (child->open_files) {
        struct rlimit files = {child->open_files, child->open_files};
        if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &files, NULL)) return stop_at(start, CSANDBOX_STEP_DESCRIPTORS);
    }
    // Where the kernel refuses, it waits for its turn as others do.
    if (child->turn) set_turn(0, child->turn);
    struct rlimit core = {0, 0};
    syscall(SYS_prlimit64, 0, RLIMIT_CORE, &core, NULL);

    // First above all wanted numbers, then down to them, so that no descriptor is overwritten before it is used.
    int wanted[32];
    int count = 0;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || child->kept_count > 24) return stop_at(start, CSANDBOX_STEP_DESCRIPTORS);
    wanted[count++] = child->input < 0 ? null : child->input;
    wanted[count++] = child->output < 0 ? null : child->output;
    wanted[count++] = child->error < 0 ? null : child->error;
    for (int index = 0; index < child->kept_count; index++) wanted[count++] = child->kept[index];
    for (int index = 0; index < count; index++) {
        wanted[index] = fcntl(wanted[index], F_DUPFD_CLOEXEC, 64);
        if (wanted[index] < 0) return stop_at(start, CSANDBOX_STEP_DESCRIPTORS);
    }
    for (int index = 0; index < count; index++) {
        if (place(wanted[index], index)) return stop_at(start, CSANDBOX_STEP_DESCRIPTORS);
    }
    // Every other one closes when the program starts; the files that are open now still serve this function.
    if (syscall(SYS_close_range, count, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */)) {
        return stop_at(start, CSANDBOX_STEP_DESCRIPTORS);
    }
    if (child->directory && chdir(child->directory)) return stop_at(start, CSANDBOX_STEP_DIRECTORY);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(child->path, child->arguments, child->environment);
    return stop_at(start, CSANDBOX_STEP_EXEC);
}

pid_t csandbox_spawn(const csandbox_child *child, int *pidfd, int *step) {
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        *step = CSANDBOX_STEP_CLONE;
        return -errno;
    }
    start start = {.child = child, .parent = id_in_proc(0)};
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &start.mask);
    int descriptor = -1;
    int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
    pid_t pid = clone(run, stack + STACK_BYTES, flags | (child->own_processes ? CLONE_NEWPID : 0), &start, &descriptor);
    // Without the right to one, or with no more to be had.
    if (pid < 0 && child->own_processes && (errno == EPERM || errno == ENOSPC || errno == EINVAL)) {
        pid = clone(run, stack + STACK_BYTES, flags, &start, &descriptor);
    }
    int error = pid < 0 ? errno : start.error;
    *step = pid < 0 ? CSANDBOX_STEP_CLONE : start.step;
    pthread_sigmask(SIG_SETMASK, &start.mask, NULL);
    munmap(stack, STACK_BYTES);
    if (error) {
        if (pid > 0) {
            close(descriptor);
            waitpid(pid, NULL, 0);
        }
        return -error;
    }
    *pidfd = descriptor;
    return pid;
}

int csandbox_reap(pid_t pid, int blocks, int *code, int *status) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    for (;;) {
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | (blocks ? 0 : WNOHANG)) == 0) break;
        if (errno != EINTR) return -errno;
    }
    if (info.si_pid == 0) return 0;
    *code = info.si_code;
    *status = info.si_status;
    return 1;
}

int csandbox_signal(int pidfd, int signal) {
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) ? -errno : 0;
}

int csandbox_try_machine(int *step) {
    enum { GET_API_VERSION = 0xAE00, CREATE_VM = 0xAE01, CREATE_VCPU = 0xAE41, VERSION = 12 };
    *step = 0;
    int device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (device < 0) return -errno;
    int error = 0, machine = -1, processor = -1;
    *step = 1;
    int version = ioctl(device, GET_API_VERSION, 0);
    if (version != VERSION) error = version < 0 ? -errno : -EPROTO;
    if (!error) {
        *step = 2;
        if ((machine = ioctl(device, CREATE_VM, 0)) < 0) error = -errno;
    }
    if (!error) {
        *step = 3;
        if ((processor = ioctl(machine, CREATE_VCPU, 0)) < 0) error = -errno;
    }
    if (processor >= 0) close(processor);
    if (machine >= 0) close(machine);
    close(device);
    return error;
}

int csandbox_open_process(pid_t pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : fd;
}

pid_t csandbox_peer(int socket) {
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size)) return -errno;
    return credentials.pid;
}
