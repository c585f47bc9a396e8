#define _GNU_SOURCE
#include "csandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
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
    pid_t parent;
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

static int run(void *argument) {
    start *start = argument;
    const csandbox_child *child = start->child;
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action = {.sa_handler = SIG_DFL};
        if (number != SIGKILL && number != SIGSTOP) sigaction(number, &action, NULL);
    }
    setsid();
    // The child ends with the thread that starts it. bubblewrap asks for the same, but a daemon that is killed before
    // bubblewrap does so would leave it behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != start->parent) return stop_at(start, CSANDBOX_STEP_CLONE);
    for (int index = 0; index < child->group_count; index++) {
        if (write(child->groups[index], "0", 1) != 1) return stop_at(start, CSANDBOX_STEP_GROUP);
    }
    if (child->network >= 0 && setns(child->network, CLONE_NEWNET)) return stop_at(start, CSANDBOX_STEP_NETWORK);
    if (child->open_files) {
        struct rlimit files = {child->open_files, child->open_files};
        if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &files, NULL)) return stop_at(start, CSANDBOX_STEP_DESCRIPTORS);
    }
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
    start start = {.child = child, .parent = getpid()};
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &start.mask);
    int descriptor = -1;
    pid_t pid = clone(run, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &start, &descriptor);
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
