import { backup, DatabaseSync } from "node:sqlite";
import { call } from "./kernel.ts";
import { type Attack, data, disguises, first, hostFiles, look } from "./targets.ts";

const text = (value: string) => new TextEncoder().encode(value + "\0");
const own = () => new DatabaseSync(`${data}/own.db`);

export const files: Record<string, Attack> = {
  "read the neighbour's files by path": (t) =>
    first(hostFiles(t).flatMap(disguises).map((path) => () => look(path))),

  "read the neighbour's files by symbolic link": (t) =>
    first(hostFiles(t).concat("/proc/1/root", "/etc/passwd").map((path, index) => () => {
      const link = `${data}/link${index}`;
      try {
        Deno.symlinkSync(path, link);
      } catch {
        // It may be there from before.
      }
      return look(link);
    })),

  "read by a symbolic link between own folders": () =>
    first([() => {
      Deno.writeTextFileSync(`${data}/plain`, "mine");
      try {
        Deno.symlinkSync("/etc/hosts", `${data}/hosts`);
      } catch {
        // It may be there from before.
      }
      return Deno.readTextFileSync(`${data}/hosts`);
    }]),

  "leave links, pipes and devices for the host": () =>
    first([
      () => (Deno.symlinkSync(`${data}/plain`, `${data}/link`), "a symbolic link to an own file"),
      () => (Deno.symlinkSync("../../victim/data/main.db", `${data}/other.db`), "a symbolic link to another app"),
      () => (Deno.symlinkSync("/etc", "/tmp/etc"), "a symbolic link in /tmp"),
      () => {
        Deno.writeTextFileSync(`${data}/named`, "mine");
        Deno.linkSync(`${data}/named`, `${data}/named-${crypto.randomUUID()}`);
        return "a hard link to an own file";
      },
      // link, and linkat.
      () => call(86, text(`${data}/named`), text(`${data}/again`)) === 0 ? "a hard link by link" : null,
      () => call(265, -100, text(`${data}/named`), -100, text(`${data}/again`), 0) === 0 ? "a hard link by linkat" : null,
      // mknodat: a pipe, and the memory of the machine.
      () => call(259, -100, text(`${data}/pipe.db`), 0o010600, 0) === 0 ? "a pipe" : null,
      () => call(259, -100, text(`${data}/memory`), 0o020600, 0x0101) === 0 ? "a device" : null,
    ]),

  "change the compiled modules that all workers read": () => {
    // A worker that was booted before there were any has a folder of its own.
    const isShared = Deno.readTextFileSync("/proc/self/mountinfo").includes(" /cache/gen/file/runtime ");
    return !isShared ? null : first(
      ["/cache/gen/file/runtime/harness.ts.js", "/cache/gen/file/runtime/new.js", "/cache/v8_code_cache_v2"].map((
        path,
      ) => () => {
        Deno.writeTextFileSync(path, "globalThis.stolen = true;");
        return path;
      }).concat([() => {
        Deno.renameSync("/cache/gen/file/runtime", "/cache/gen/file/old");
        return "the folder was moved";
      }]),
    );
  },

  "make a hard link to the neighbour's files": (t) =>
    first(
      hostFiles(t).flatMap(disguises).concat("/bin/deno").map((path, index) => () => {
        Deno.linkSync(path, `${data}/hard${index}`);
        return path;
      }),
    ),

  "walk every process's root": (t) =>
    first(
      [...Deno.readDirSync("/proc")].filter((entry) => /^\d+$/.test(entry.name)).flatMap((entry) =>
        hostFiles(t).map((path) => () => look(`/proc/${entry.name}/root${path}`))
      ),
    ),

  "read the environment of other processes": (t) =>
    first(
      [...Array(400).keys(), ...t.pids].map((pid) => () => {
        const text = Deno.readTextFileSync(`/proc/${pid}/environ`);
        return text.includes(t.victimSecret) ? text : null;
      }),
    ),

  "read the memory of other processes": (t) =>
    first(
      [1, 2, ...t.pids].filter((pid) => pid !== Deno.pid).map((pid) => () => {
        // A process of the sandbox itself has nothing of others; only the host's count.
        if (!t.pids.includes(pid)) return null;
        Deno.openSync(`/proc/${pid}/mem`);
        return `/proc/${pid}/mem`;
      }),
    ),

  "see processes outside": (t) =>
    first(t.pids.map((pid) => () => {
      const status = Deno.readTextFileSync(`/proc/${pid}/comm`);
      return status.includes("martlet") || status.includes("bwrap") ? `${pid} is ${status}` : null;
    })),

  "attach the neighbour's database": (t) =>
    first(
      disguises(`${t.victimData}/main.db`).map((path) => () => {
        const database = own();
        database.exec(`attach '${path}' as other`);
        return JSON.stringify(database.prepare("select * from other.sqlite_master").all());
      }),
    ),

  "attach and vacuum into own files is allowed": () => {
    const database = own();
    database.exec("create table if not exists t (n)");
    database.exec(`attach '${data}/second.db' as second`);
    database.exec("create table if not exists second.s (n)");
    const copy = `${data}/copy-${crypto.randomUUID()}.db`;
    database.exec(`vacuum into '${copy}'`);
    const isThere = Deno.statSync(copy).isFile;
    return isThere ? null : "VACUUM INTO made no file";
  },

  "vacuum into a folder outside": (t) =>
    first(
      [t.state, t.victimData, "/app", "/runtime", "/etc", "/run/w", "/proc/1/root/tmp"].map((folder) => () => {
        own().exec(`vacuum into '${folder}/x.db'`);
        return folder;
      }),
    ),

  "copy the neighbour's database by the backup API": (t) =>
    first(
      disguises(`${t.victimData}/main.db`).map((path) => async () => {
        const source = new DatabaseSync(path, { readOnly: true });
        await backup(source, `${data}/stolen.db`);
        return path;
      }),
    ),

  "import a secret as text": (t) =>
    first(
      [`${t.state}/host.key`, `${t.state}/state.db`, `/proc/1/environ`].flatMap((path) => [
        async () => (await import(`file://${path}`, { with: { type: "text" } })).default.includes(t.victimSecret),
        async () => Object.keys(await import(`file://${path}`, { with: { type: "bytes" } })).length,
      ].map((attempt) => async () => {
        if (path.startsWith("/proc")) return null;
        return await attempt();
      })),
    ),

  "read the daemon's state and secrets": (t) =>
    first(
      ["state.db", "host.key", "token", "lock", "run", "artifacts", "versions", "staging"].map((name) => () =>
        look(`${t.state}/${name}`)
      ),
    ),

  "poison what other workers load": () =>
    first(
      [
        "/runtime/harness.ts",
        "/runtime/martlet/mod.ts",
        "/bin/deno",
        "/bin/confine",
        "/app/main.ts",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/usr/lib/x",
        "/lib64/x",
        "/x",
      ].flatMap((path) => [
        () => {
          Deno.writeTextFileSync(path, "evil", { append: true });
          return `wrote ${path}`;
        },
        () => {
          Deno.removeSync(path);
          return `removed ${path}`;
        },
        () => {
          Deno.chmodSync(path, 0o777);
          return `changed the mode of ${path}`;
        },
        () => {
          Deno.renameSync(path, `${data}/moved`);
          return `moved ${path}`;
        },
      ]),
    ),

  "leave something in DENO_DIR for the next worker": () => {
    // The folder is of this app alone, and mostly ends with its worker.
    const folder = Deno.env.get("DENO_DIR")!;
    const mark = `${folder}/mark`;
    try {
      if (Deno.readTextFileSync(mark) !== Deno.env.get("MARTLET_APP")) return "a mark of another app";
    } catch {
      // None there, as it should be.
    }
    try {
      Deno.writeTextFileSync(mark, Deno.env.get("MARTLET_APP")!);
    } catch {
      // The modules that the harness has compiled are shared, and so they can only be read.
    }
    return null;
  },

  "open devices": () =>
    first(
      ["/dev/vda", "/dev/sda", "/dev/mem", "/dev/kmsg", "/dev/kvm", "/dev/loop0", "/dev/fuse", "/dev/net/tun"].map((
        path,
      ) =>
      () => {
        Deno.openSync(path);
        return path;
      }),
    ),

  "change settings of the kernel": () =>
    first(
      [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sysrq-trigger",
        "/proc/1/oom_score_adj",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/kernel/uevent_helper",
      ].map((path) => () => {
        Deno.writeTextFileSync(path, "1");
        return path;
      }),
    ),

  "find open descriptors of the host": (t) =>
    first(
      [...Deno.readDirSync("/proc/self/fd")].map((entry) => () => {
        const target = Deno.readLinkSync(`/proc/self/fd/${entry.name}`);
        return target.includes(t.state) || target.includes("/ns/") || target.includes("cgroup") ? target : null;
      }),
    ),

  "use shared memory": () =>
    first([() => {
      Deno.writeTextFileSync("/dev/shm/meeting", "hello");
      return "/dev/shm is writable";
    }]),
};
