// The Linux calls that start, freeze and fill a sandbox, as functions that return a negative error number instead
// of setting errno. Nothing here decides anything.
#ifndef CSANDBOX_H
#define CSANDBOX_H

#include <sys/epoll.h>
#include <stdint.h>
#include <sys/types.h>

/// What a child process gets. Pointers are borrowed for the duration of the call.
typedef struct {
    const char *path;
    char *const *arguments;
    char *const *environment;
    /// The child's standard input, output and error; -1 stands for /dev/null.
    int input, output, error;
    /// Descriptors that the child keeps, under the numbers 3, 4, … in this order.
    const int *kept;
    int kept_count;
    /// Open `cgroup.procs` files that the child writes itself into before it runs the program.
    const int *groups;
    int group_count;
    /// The working directory, or NULL for the caller's.
    const char *directory;
    /// RLIMIT_NOFILE, or 0 to leave it.
    uint64_t open_files;
    /// The network namespace that the child enters, or -1 for the caller's.
    int network;
    /// Whether the child begins a PID namespace, where that is allowed: all that it starts then ends with it, whatever
    /// it has come to. As the first of its namespace it gets no signal from outside but SIGKILL and SIGSTOP.
    int own_processes;
    /// How long its threads run at most before others that wait get their turn, in nanoseconds; 0 for the kernel's default.
    /// Kernels before Linux 6.12 do not look at it.
    uint64_t turn;
} csandbox_child;

/// Where a start failed; the numbers are part of no format.
enum {
    CSANDBOX_STEP_CLONE = 1,
    CSANDBOX_STEP_GROUP = 2,
    CSANDBOX_STEP_DESCRIPTORS = 3,
    CSANDBOX_STEP_DIRECTORY = 4,
    CSANDBOX_STEP_EXEC = 5,
    CSANDBOX_STEP_NETWORK = 6,
};

/// Starts a program in a session of its own, with all signals unblocked and at their defaults and no descriptor but
/// those given. Returns the process id, and in `*pidfd` a close-on-exec descriptor of it; on failure a negative error
/// number with the step in `*step`, and no child.
pid_t csandbox_spawn(const csandbox_child *child, int *pidfd, int *step);

/// Sets how long the threads of this process run at most before others that wait get their turn, in nanoseconds (Linux 6.12);
/// threads and children that are started later have it too, unless they are given another. Returns how many it was set for,
/// or a negative error number.
int csandbox_set_turns(uint64_t nanoseconds);

/// Waits for a child that has ended (or until it ends when `blocks` is set). Returns 1 and fills in `*code`
/// (CLD_EXITED, CLD_KILLED or CLD_DUMPED) and `*status`, 0 when it still runs, or a negative error number.
int csandbox_reap(pid_t pid, int blocks, int *code, int *status);

/// Sends a signal through a descriptor of a process, so that a process id that was used again is never hit.
int csandbox_signal(int pidfd, int signal);

/// Makes an empty virtual machine with one processor on /dev/kvm (linux/kvm.h) and lets go of it. On failure a negative error
/// number, with what was tried last in `*step`: opening, the version, the machine, the processor (0 to 3).
int csandbox_try_machine(int *step);

/// A close-on-exec descriptor of a process that need not be a child.
int csandbox_open_process(pid_t pid);

/// The process id of the other end of a unix socket, in the caller's PID namespace; 0 when it has none there.
pid_t csandbox_peer(int socket);

/// A folder that is put into a sandbox.
typedef struct {
    const char *source;
    const char *target;
    /// CSANDBOX_READ_ONLY and the like.
    uint32_t attributes;
} csandbox_mount;

enum {
    CSANDBOX_READ_ONLY = 1,
    CSANDBOX_NO_SYMLINKS = 2,
    CSANDBOX_NO_EXECUTE = 4,
};

/// Puts folders into the mount namespace of a waiting process and takes `revoked` (a mount point, or NULL) out of it.
/// Every graft is nosuid and nodev. The calls are made on a thread of their own. On failure a negative error number,
/// with the index of the folder in `*failed` (-1: none of them).
int csandbox_graft(pid_t pid, const csandbox_mount *mounts, int count, const char *revoked, int *failed);

/// Listens on a unix socket with the given mode; close-on-exec and non-blocking.
int csandbox_listen_unix(const char *path, mode_t mode, int backlog);
/// Accepts a connection; close-on-exec and non-blocking. -EAGAIN when there is none.
int csandbox_accept(int fd);
int csandbox_connect_unix(const char *path);
int csandbox_pipe(int fds[2]);
/// Makes a descriptor's reads and writes return -EAGAIN instead of waiting.
int csandbox_set_nonblocking(int fd);
int64_t csandbox_read(int fd, void *bytes, uint64_t count);
int64_t csandbox_write(int fd, const void *bytes, uint64_t count);
/// Writes to a socket without SIGPIPE.
int64_t csandbox_send(int fd, const void *bytes, uint64_t count);
void csandbox_close(int fd);
int csandbox_open_read(const char *path);
/// Opens an ordinary file of a folder that an app can change at any time: no link is followed on the way, nothing outside of
/// the folder is reached and nothing is waited for. -ELOOP or -EXDEV for what leads elsewhere, -EINVAL for what is no file.
int csandbox_open_inside(const char *folder, const char *name);
int csandbox_open_write(const char *path);
/// Opens for appending; the file is made with mode 0600 where there is none.
int csandbox_open_append(const char *path);
int csandbox_sync_file(int fd);
/// Syncs a folder, so that a rename in it lasts.
int csandbox_sync_folder(const char *path);
/// Bytes of the file system at `path` that an ordinary user may still use, or a negative error number.
int64_t csandbox_free_bytes(const char *path);
/// What a folder holds: bytes of blocks and number of names, without following links or entering other file systems. Ends
/// early beyond `maximum` names. Files that go meanwhile are no error.
int csandbox_usage(const char *path, uint64_t maximum, uint64_t *bytes, uint64_t *files);
/// Removes what does not belong into an app's data: symbolic links, pipes and devices, wherever they are below `path`. Counts
/// the rest like ``csandbox_usage``, all of it. An app may change the folder meanwhile: nothing outside of it is ever
/// touched. Returns how many were removed, with the name of the first of them in `first` (`size` bytes), or a negative error.
int64_t csandbox_sweep(const char *path, uint64_t *bytes, uint64_t *files, char *first, uint64_t size);
/// Limits how large the process's writes may make a file (RLIMIT_FSIZE).
int csandbox_limit_file_size(pid_t pid, uint64_t bytes);
/// Detaches a mount and everything below it.
int csandbox_detach(const char *path);
/// Nanoseconds of the monotonic clock.
uint64_t csandbox_monotonic(void);
/// Takes an exclusive lock of a file without waiting: the descriptor, or -EWOULDBLOCK when another holds it.
int csandbox_lock_file(const char *path);
/// Binary copy of a file, opened like ``csandbox_open_inside``, by the kernel, sharing blocks where the file system can.
int csandbox_copy_inside(const char *folder, const char *name, const char *target);

// Networks. Unless they say otherwise, these calls are about the network namespace of the calling thread.

/// A descriptor of the calling thread's network namespace.
int csandbox_current_network(void);
/// Moves the calling thread into a new network namespace for good.
int csandbox_leave_network(void);
/// Moves the calling thread into a network namespace for good.
int csandbox_enter_network(int network);
/// Makes a network namespace, with its loopback up, and returns a descriptor of it; the calling thread stays where it is.
int csandbox_make_network(void);

/// Makes a pair of connected interfaces, the second of them in another namespace, and brings the first up.
int csandbox_make_pair(const char *name, const char *peer, int peer_network, int mtu);
int csandbox_delete_link(const char *name);
int csandbox_raise_link(const char *name);
/// `family`: AF_INET or AF_INET6; `address`: 4 or 16 bytes.
int csandbox_add_address(const char *device, int family, const void *address, int prefix);
/// A route to `target`, or the default route without; by way of `gateway`, or directly without.
int csandbox_add_route(const char *device, int family, const void *target, int prefix, const void *gateway);
/// Whether there is a default route: its interface's name is put into `device` (16 bytes). 1, 0 or a negative error.
int csandbox_default_route(int family, char *device);
/// Limits what goes out at an interface.
int csandbox_shape(const char *device, uint64_t bytes_per_second, uint32_t burst_bytes);

/// Adds an element to a set of an nftables table of family inet, or removes it; `timeout`: in milliseconds, 0 for none.
/// An element that is there already is no error, nor is one that is gone already.
int csandbox_set_element(const char *table, const char *set, const void *key, uint32_t length, uint64_t timeout,
                         int is_removed);

/// A bound datagram or listening stream socket (SOCK_DGRAM, SOCK_STREAM) at an IPv4 address, close-on-exec.
int csandbox_serve(int type, const uint8_t address[4], uint16_t port);

#endif
