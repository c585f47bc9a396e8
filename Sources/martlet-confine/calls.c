#define _GNU_SOURCE
#include "confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

// A list of what is allowed: what a JavaScript runtime, SQLite, threads, files and sockets need. Everything else fails
// with EPERM, which programs report, except for a few calls that programs replace by others when they fail with ENOSYS.
//
// Left out on purpose, beside what only root can do: namespaces (unshare, setns, clone's flags for them), mounts,
// other processes' memory (ptrace, process_vm_*, kcmp, pidfd_getfd), programs and counters in the kernel (bpf,
// perf_event_open), userfaultfd, io_uring, keyrings, fanotify and inotify (their number is limited for all workers
// together), message queues and timers with queued signals (the same), memory that is a program (memfd), NUMA policy,
// raw and packet sockets and all families but unix and the internet.

static const int allowed[] = {
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2,
    SYS_pwritev2, SYS_close, SYS_close_range, SYS_lseek, SYS_fcntl, SYS_ioctl, SYS_dup, SYS_dup3, SYS_pipe2,
    SYS_fsync, SYS_fdatasync, SYS_sync_file_range, SYS_fallocate, SYS_fadvise64, SYS_ftruncate, SYS_truncate,
    SYS_flock, SYS_sendfile, SYS_copy_file_range, SYS_splice, SYS_tee, SYS_vmsplice, SYS_readahead,
    SYS_openat, SYS_openat2, SYS_mkdirat, SYS_unlinkat, SYS_renameat2, SYS_linkat, SYS_symlinkat, SYS_readlinkat,
    SYS_faccessat, SYS_faccessat2, SYS_fchmodat, SYS_fchmod, SYS_fchown, SYS_fchownat, SYS_fstat, SYS_newfstatat,
    SYS_statx, SYS_statfs, SYS_fstatfs, SYS_getdents64, SYS_utimensat, SYS_umask, SYS_chdir, SYS_fchdir, SYS_getcwd,
    SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_listxattr, SYS_llistxattr, SYS_flistxattr,
    SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk, SYS_msync, SYS_mincore, SYS_membarrier,
    SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect,
    SYS_execve, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_kill, SYS_tkill, SYS_tgkill, SYS_getpid,
    SYS_getppid, SYS_gettid, SYS_getpgid, SYS_setpgid, SYS_getsid, SYS_setsid, SYS_pidfd_open, SYS_pidfd_send_signal,
    SYS_set_tid_address, SYS_set_robust_list, SYS_get_robust_list, SYS_futex, SYS_rseq, SYS_sched_yield,
    SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_sched_getparam, SYS_sched_getscheduler,
    SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_getpriority, SYS_setpriority, SYS_getcpu, SYS_times,
    SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid, SYS_getresgid, SYS_getgroups, SYS_capget,
    SYS_getrlimit, SYS_prlimit64, SYS_getrusage, SYS_sysinfo, SYS_uname, SYS_getrandom, SYS_prctl, SYS_restart_syscall,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigsuspend, SYS_rt_sigtimedwait,
    SYS_sigaltstack, SYS_signalfd4,
    SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_setitimer,
    SYS_getitimer, SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime,
    SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_ppoll, SYS_pselect6, SYS_eventfd2,
    SYS_socketpair, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_connect, SYS_getsockname, SYS_getpeername,
    SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg, SYS_setsockopt, SYS_getsockopt,
    SYS_shutdown,
    439 /* faccessat2, in old headers too */, 449 /* futex_waitv */, 462 /* mseal */,
#ifdef SYS_open
    // Of x86-64 alone: the calls that the newer ones above replace.
    SYS_open, SYS_creat, SYS_stat, SYS_lstat, SYS_access, SYS_mkdir, SYS_rmdir, SYS_unlink, SYS_rename, SYS_link,
    SYS_symlink, SYS_readlink, SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat, SYS_getdents,
    SYS_poll, SYS_select, SYS_epoll_create, SYS_epoll_wait, SYS_eventfd, SYS_signalfd, SYS_pipe, SYS_dup2, SYS_time,
    SYS_alarm, SYS_pause, SYS_arch_prctl, SYS_fork, SYS_vfork, SYS_getpgrp, SYS_renameat,
#endif
};

/// Calls for which programs know an older one.
static const int absent[] = {
    435 /* clone3: its flags are behind a pointer, where a filter can't look */,
    425 /* io_uring_setup */, 426 /* io_uring_enter */, 427 /* io_uring_register */, SYS_memfd_create,
};

/// The flags of clone that make namespaces (linux/sched.h).
enum { NAMESPACES = 0x7E020000 };

#if defined(__x86_64__)
enum { ARCHITECTURE = AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
enum { ARCHITECTURE = AUDIT_ARCH_AARCH64 };
#else
#error "no list of system calls for this architecture"
#endif

enum { COUNT = sizeof allowed / sizeof *allowed, MAXIMUM = 2 * COUNT + 128 };

typedef struct {
    struct sock_filter code[MAXIMUM];
    int count;
} program;

static void put(program *to, uint16_t code, uint32_t value, uint8_t then, uint8_t otherwise) {
    to->code[to->count++] = (struct sock_filter){code, then, otherwise, value};
}

static void load(program *to, size_t offset) { put(to, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0); }
static void end(program *to, uint32_t action) { put(to, BPF_RET | BPF_K, action, 0, 0); }
/// The next instruction is skipped unless the loaded value is `value`.
static void when(program *to, uint32_t value) { put(to, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1); }

static size_t argument(int index) { return offsetof(struct seccomp_data, args) + 8 * (size_t)index; }

static const uint32_t refused = SECCOMP_RET_ERRNO | EPERM;

/// clone: no namespaces. The flags are the first argument on both architectures.
static void check_clone(program *to) {
    put(to, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4);
    load(to, argument(0));
    put(to, BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1);
    end(to, refused);
    end(to, SECCOMP_RET_ALLOW);
}

/// socket: unix and internet streams and datagrams, and what getifaddrs asks the kernel (netlink's protocol 0).
static void check_socket(program *to) {
    enum { LENGTH = 18 };
    put(to, BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, LENGTH);
    int begin = to->count;
    load(to, argument(0));
    put(to, BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 4);
    load(to, argument(2));
    when(to, 0);
    end(to, SECCOMP_RET_ALLOW);
    end(to, refused);
    put(to, BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 3, 0);
    put(to, BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 2, 0);
    put(to, BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 1, 0);
    end(to, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
    load(to, argument(1));
    put(to, BPF_ALU | BPF_AND | BPF_K, 0xF, 0, 0);
    put(to, BPF_JMP | BPF_JEQ | BPF_K, SOCK_STREAM, 3, 0);
    put(to, BPF_JMP | BPF_JEQ | BPF_K, SOCK_DGRAM, 2, 0);
    put(to, BPF_JMP | BPF_JEQ | BPF_K, SOCK_SEQPACKET, 1, 0);
    end(to, refused);
    end(to, SECCOMP_RET_ALLOW);
    while (to->count < begin + LENGTH) end(to, refused);
}

/// ioctl: nothing that puts input into a terminal.
static void check_ioctl(program *to) {
    put(to, BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 6);
    load(to, argument(1));
    when(to, 0x5412 /* TIOCSTI */);
    end(to, refused);
    when(to, 0x541C /* TIOCLINUX */);
    end(to, refused);
    end(to, SECCOMP_RET_ALLOW);
}

/// Making symbolic and hard links. SQLite makes none; programs know file systems that have no hard links, and the EPERM
/// with which those refuse them (link(2)).
static int makes_links(int call) {
#ifdef SYS_symlink
    if (call == SYS_symlink || call == SYS_link) return 1;
#endif
    return call == SYS_symlinkat || call == SYS_linkat;
}

int confine_calls(int has_links) {
    static program filter;
    program *to = &filter;
    to->count = 0;
    load(to, offsetof(struct seccomp_data, arch));
    put(to, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    end(to, SECCOMP_RET_KILL_PROCESS);
    load(to, offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
    // The x32 calls have numbers of their own.
    put(to, BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
    end(to, SECCOMP_RET_KILL_PROCESS);
#endif
    check_clone(to);
    check_socket(to);
    check_ioctl(to);
    // A walk through the list costs nothing: the kernel remembers for each call that it is always allowed.
    for (int index = 0; index < COUNT; index++) {
        if (allowed[index] == SYS_ioctl || (!has_links && makes_links(allowed[index]))) continue;
        when(to, (uint32_t)allowed[index]);
        end(to, SECCOMP_RET_ALLOW);
    }
    for (size_t index = 0; index < sizeof absent / sizeof *absent; index++) {
        when(to, (uint32_t)absent[index]);
        end(to, SECCOMP_RET_ERRNO | ENOSYS);
    }
    end(to, refused);
    struct sock_fprog all = {.len = (unsigned short)to->count, .filter = to->code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all) ? -errno : 0;
}
