import { type Attack, first, type Targets } from "./targets.ts";

/** Calls the kernel directly, as a native program would (x86-64). */
const libc = Deno.dlopen("libc.so.6", {
  syscall: { parameters: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"], result: "i64" },
});

type Argument = number | bigint | Uint8Array<ArrayBuffer> | null;

function pointer(value: Argument): bigint {
  if (value === null) return 0n;
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return BigInt(value);
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(value)));
}

/** The result of a system call; -1 for every error. */
export function call(number: number, ...values: Argument[]): number {
  const filled = [...values, 0, 0, 0, 0, 0, 0].slice(0, 6).map(pointer) as [bigint, bigint, bigint, bigint, bigint, bigint];
  return Number(libc.symbols.syscall(BigInt(number), ...filled));
}

const text = (value: string) => new TextEncoder().encode(value + "\0");
const zeros = (count: number) => new Uint8Array(count);

/** Each of these must fail. */
const refused = (calls: [string, number, ...Argument[]][]): Attack => () => {
  const succeeded = calls.filter(([, number, ...values]) => call(number, ...values) >= 0).map(([name]) => name);
  return succeeded.length === 0 ? null : `${succeeded.join(", ")} succeeded`;
};

const namespaces: [string, number][] = [
  ["user", 0x10000000],
  ["mount", 0x00020000],
  ["pid", 0x20000000],
  ["net", 0x40000000],
  ["ipc", 0x08000000],
  ["uts", 0x04000000],
  ["cgroup", 0x02000000],
  ["time", 0x00000080],
];

/** perf_event_attr and the like: type, size, and the rest zero. */
function structure(size: number): Uint8Array<ArrayBuffer> {
  const bytes = zeros(size);
  new DataView(bytes.buffer).setUint32(4, size, true);
  return bytes;
}

export const kernel: Record<string, Attack> = {
  "send signals to the host and the neighbour": (t: Targets) => {
    const hit = t.pids.filter((pid) => call(62, pid, 0) === 0 && pid !== Deno.pid);
    // A process of the own sandbox may have the same number.
    const outside = hit.filter((pid) => {
      try {
        return !Deno.readTextFileSync(`/proc/${pid}/comm`).includes("deno");
      } catch {
        return true;
      }
    });
    return outside.length === 0 ? null : `signals reach ${outside}`;
  },
  "trace processes": refused([["ptrace seize", 101, 0x4206, 1, 0, 0], ["ptrace attach", 101, 16, 1, 0, 0], [
    "ptrace me",
    101,
    0,
    0,
    0,
    0,
  ]]),
  "read the memory of processes by call": refused([
    ["process_vm_readv", 310, 1, zeros(16), 1, zeros(16), 1, 0],
    ["process_vm_writev", 311, 1, zeros(16), 1, zeros(16), 1, 0],
    ["kcmp", 312, 1, 2, 0, 0, 0],
    ["pidfd_getfd", 438, 0, 0, 0],
  ]),
  "use keyrings": refused([
    ["add_key", 248, text("user"), text("mark"), text("x"), 1, -3],
    ["request_key", 249, text("user"), text("mark"), 0, -3],
    ["keyctl", 250, 0, -3, 1],
  ]),
  "mount": refused([
    ["mount", 165, text("none"), text("/tmp"), text("tmpfs"), 0, 0],
    ["umount2", 166, text("/proc"), 2],
    ["pivot_root", 155, text("/tmp"), text("/tmp")],
    ["chroot", 161, text("/tmp")],
    ["fsopen", 430, text("tmpfs"), 0],
    ["open_tree", 428, -100, text("/"), 1],
    ["move_mount", 429, -100, text("/tmp"), -100, text("/var/data"), 0],
    ["mount_setattr", 442, -100, text("/app"), 0, zeros(32), 32],
  ]),
  "make namespaces": refused(
    namespaces.map(([name, flag]) => [`unshare ${name}`, 272, flag]),
  ),
  "make a process in namespaces": refused([
    ["clone user", 56, 0x10000000 | 17, 0, 0, 0, 0],
    ["clone net", 56, 0x40000000 | 17, 0, 0, 0, 0],
    ["clone3", 435, zeros(88), 88],
  ]),
  "enter namespaces": (t: Targets) =>
    first(
      ["/proc/1/ns", "/proc/self/ns", ...t.pids.map((pid) => `/proc/${pid}/ns`)].flatMap((folder) =>
        ["user", "mnt", "net", "pid"].map((kind) => () => {
          const fd = call(257, -100, text(`${folder}/${kind}`), 0, 0);
          return fd >= 0 && call(308, fd, 0) >= 0 ? `${folder}/${kind}` : null;
        })
      ),
    ),
  "load programs into the kernel": refused([["bpf", 321, 0, structure(72), 72], ["bpf load", 321, 5, structure(72), 72]]),
  "read counters of the processor": refused([["perf_event_open", 298, structure(128), 0, -1, -1, 0]]),
  "handle faults of pages": refused([["userfaultfd", 323, 0], ["userfaultfd user", 323, 1]]),
  "use io_uring": refused([["io_uring_setup", 425, 8, zeros(120)], ["io_uring_register", 427, 0, 0, 0, 0]]),
  "change the clock": refused([
    ["clock_settime", 227, 0, zeros(16)],
    ["settimeofday", 164, zeros(16), 0],
    ["adjtimex", 159, structure(208)],
    ["clock_adjtime", 305, 0, structure(208)],
  ]),
  "change the name of the host": refused([["sethostname", 170, text("evil"), 4], ["setdomainname", 171, text("evil"), 4]]),
  "load modules, reboot and more of root's calls": refused([
    ["init_module", 175, zeros(8), 8, text("")],
    ["finit_module", 313, 0, text(""), 0],
    ["delete_module", 176, text("x"), 0],
    ["kexec_load", 246, 0, 0, 0, 0],
    ["kexec_file_load", 320, 0, 0, 0, 0, 0],
    ["reboot", 169, 0xfee1dead, 672274793, 0, 0],
    ["swapon", 167, text("/tmp/x"), 0],
    ["acct", 163, text("/tmp/x")],
    ["syslog", 103, 3, zeros(16), 16],
    ["quotactl", 179, 0x800007, text("/dev/vda"), 0, zeros(128)],
    ["ioperm", 173, 0, 8, 1],
    ["iopl", 172, 3],
    ["open_by_handle_at", 304, -100, zeros(16), 0],
    ["name_to_handle_at", 303, -100, text("/"), zeros(16), zeros(4), 0],
    ["personality", 135, 0x0400000],
    ["fanotify_init", 300, 0, 0],
    ["lookup_dcookie", 212, 0, 0, 0],
    ["vhangup", 153],
  ]),
  "become root": refused([
    ["setuid", 105, 0],
    ["setgid", 106, 0],
    ["setresuid", 117, 0, 0, 0],
    ["setgroups", 116, 1, zeros(4)],
    ["capset", 126, structure(8), zeros(24)],
  ]),
  "use raw and packet sockets": refused([
    ["raw tcp", 41, 2, 3, 6],
    ["raw icmp", 41, 2, 3, 1],
    ["ping", 41, 2, 2, 1],
    ["raw IPv6", 41, 10, 3, 58],
    ["packet", 41, 17, 3, 0x0300],
    ["netfilter", 41, 16, 3, 12],
    ["audit", 41, 16, 3, 9],
    ["vsock", 41, 40, 1, 0],
    ["algorithms", 41, 38, 5, 0],
    ["bluetooth", 41, 31, 3, 1],
    ["tipc", 41, 30, 1, 0],
  ]),
  "use up inotify": refused([["inotify_init", 253], ["inotify_init1", 294, 0]]),
  "use up message queues and signals that wait": refused([
    ["mq_open", 240, text("/x"), 0o100 | 2, 0o600, 0],
    ["timer_create", 222, 0, 0, zeros(8)],
    ["rt_sigqueueinfo", 129, 1, 10, zeros(128)],
    ["shmget", 29, 1, 4096, 0o1600],
    ["semget", 64, 1, 1, 0o1600],
    ["msgget", 68, 1, 0o1600],
  ]),
  "connect to an abstract socket of the host": (t: Targets) => {
    const fd = call(41, 1, 1, 0);
    if (fd < 0) return null;
    const name = new TextEncoder().encode(t.abstractSocket);
    const address = new Uint8Array(3 + name.length);
    address[0] = 1;
    address.set(name, 3);
    return call(42, fd, address, address.length) === 0 ? "connected" : null;
  },
  "change the own interface and routes": refused([
    ["SIOCSIFADDR", 16, 0, 0x8916, zeros(40)],
    ["SIOCADDRT", 16, 0, 0x890b, zeros(120)],
    ["SIOCSIFFLAGS", 16, 0, 0x8914, zeros(40)],
  ]),
  "type into the host's terminal": refused([["TIOCSTI", 16, 0, 0x5412, text("x")], ["TIOCSTI on 2", 16, 2, 0x5412, text("x")]]),
};
