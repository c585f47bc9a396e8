import { below, type Descriptor, DescriptorTable, typeOf } from "./files.ts";
import { Errno, errnoOf, GuestMemory } from "./memory.ts";

/** What a run of a module gets. */
export interface RunOptions {
  arguments: string[];
  environment: Record<string, string>;
  input: Uint8Array;
  /** Folders that the module may use: the name that it sees, and where it is. */
  folders: Record<string, string>;
  onOutput(bytes: Uint8Array): void;
  onError(bytes: Uint8Array): void;
}

/** Thrown by `proc_exit` to leave the module. */
class Exit {
  constructor(readonly code: number) {}
}

const encoder = new TextEncoder();

/**
 * Runs a command module of WASI preview 1 (github.com/WebAssembly/WASI, legacy/preview1) and gives back its exit code.
 *
 * What is there: arguments, environment, clocks, random numbers, standard input and output, files and folders below the
 * given folders. What is not: sockets, links, signals.
 */
export function run(module: WebAssembly.Module, options: RunOptions): number {
  const system = new System(options);
  try {
    const instance = new WebAssembly.Instance(module, {
      wasi_snapshot_preview1: system.functions(),
    });
    const { memory, _start } = instance.exports;
    if (!(memory instanceof WebAssembly.Memory) || typeof _start !== "function") {
      throw new TypeError("the module is no WASI command: it must export `memory` and `_start`");
    }
    system.memory.attach(memory);
    _start();
    return 0;
  } catch (error) {
    if (error instanceof Exit) return error.code;
    throw error;
  } finally {
    system.descriptors.closeAll();
  }
}

class System {
  readonly memory = new GuestMemory();
  readonly descriptors = new DescriptorTable();
  readonly #options: RunOptions;

  constructor(options: RunOptions) {
    this.#options = options;
    this.descriptors.add({ kind: "input", bytes: options.input, position: 0 });
    this.descriptors.add({ kind: "output", write: options.onOutput });
    this.descriptors.add({ kind: "output", write: options.onError });
    for (const [name, path] of Object.entries(options.folders)) {
      this.descriptors.add({ kind: "folder", path, name });
    }
  }

  functions(): WebAssembly.ModuleImports {
    const own: Record<string, (...args: any[]) => number> = {
      ...this.#process(),
      ...this.#streams(),
      ...this.#paths(),
    };
    const made: WebAssembly.ModuleImports = {};
    for (const [name, body] of Object.entries(own)) {
      made[name] = (...args: unknown[]) => {
        try {
          return body(...args);
        } catch (error) {
          if (error instanceof Exit || error instanceof RangeError) throw error;
          return errnoOf(error);
        }
      };
    }
    // What is not there says so, instead of keeping the module from being loaded.
    return new Proxy(made, { get: (target, name: string) => target[name] ?? (() => Errno.notSupported) });
  }

  #process() {
    const { memory } = this;
    const texts = Object.entries(this.#options.environment).map(([name, value]) => `${name}=${value}`);
    const sizes = (list: string[]) => (count: number, bytes: number) => {
      memory.u32(count, list.length);
      memory.u32(bytes, list.reduce((sum, text) => sum + encoder.encode(text).length + 1, 0));
      return Errno.success;
    };
    const write = (list: string[]) => (pointers: number, buffer: number) => {
      let at = buffer;
      list.forEach((text, i) => {
        const bytes = encoder.encode(text);
        memory.u32(pointers + i * 4, at);
        memory.bytes(at, bytes.length + 1).set([...bytes, 0]);
        at += bytes.length + 1;
      });
      return Errno.success;
    };
    return {
      args_sizes_get: sizes(this.#options.arguments),
      args_get: write(this.#options.arguments),
      environ_sizes_get: sizes(texts),
      environ_get: write(texts),
      clock_res_get: (_clock: number, out: number) => {
        memory.u64(out, 1_000_000n);
        return Errno.success;
      },
      clock_time_get: (clock: number, _precision: bigint, out: number) => {
        const ms = clock === 0 ? Date.now() : performance.now();
        memory.u64(out, BigInt(Math.round(ms * 1e6)));
        return Errno.success;
      },
      random_get: (at: number, length: number) => {
        for (let done = 0; done < length; done += 65_536) {
          crypto.getRandomValues(
            memory.bytes(at + done, Math.min(65_536, length - done)) as Uint8Array<ArrayBuffer>,
          );
        }
        return Errno.success;
      },
      sched_yield: () => Errno.success,
      proc_exit: (code: number) => {
        throw new Exit(code);
      },
    };
  }

  #streams() {
    const { memory, descriptors } = this;
    const file = (number: number) => {
      const found = descriptors.get(number);
      return found?.kind === "file" ? found : null;
    };
    return {
      fd_close: (number: number) => descriptors.close(number),
      fd_write: (number: number, at: number, count: number, out: number) => {
        const found = descriptors.get(number);
        if (found === undefined || found.kind === "input" || found.kind === "folder") {
          return Errno.badDescriptor;
        }
        let written = 0;
        for (const bytes of memory.vectors(at, count)) {
          if (found.kind === "output") found.write(bytes.slice());
          else for (let done = 0; done < bytes.length;) done += found.file.writeSync(bytes.subarray(done));
          written += bytes.length;
        }
        memory.u32(out, written);
        return Errno.success;
      },
      fd_read: (number: number, at: number, count: number, out: number) => {
        const found = descriptors.get(number);
        if (found === undefined || found.kind === "output" || found.kind === "folder") {
          return Errno.badDescriptor;
        }
        let read = 0;
        for (const bytes of memory.vectors(at, count)) {
          const got = readInto(found, bytes);
          read += got;
          if (got < bytes.length) break;
        }
        memory.u32(out, read);
        return Errno.success;
      },
      fd_pread: (number: number, at: number, count: number, offset: bigint, out: number) => {
        const found = file(number);
        if (found === null) return Errno.badDescriptor;
        const before = found.file.seekSync(0, Deno.SeekMode.Current);
        found.file.seekSync(offset, Deno.SeekMode.Start);
        let read = 0;
        for (const bytes of memory.vectors(at, count)) {
          const got = readInto(found, bytes);
          read += got;
          if (got < bytes.length) break;
        }
        found.file.seekSync(before, Deno.SeekMode.Start);
        memory.u32(out, read);
        return Errno.success;
      },
      fd_pwrite: (number: number, at: number, count: number, offset: bigint, out: number) => {
        const found = file(number);
        if (found === null) return Errno.badDescriptor;
        const before = found.file.seekSync(0, Deno.SeekMode.Current);
        found.file.seekSync(offset, Deno.SeekMode.Start);
        let written = 0;
        for (const bytes of memory.vectors(at, count)) {
          for (let done = 0; done < bytes.length;) done += found.file.writeSync(bytes.subarray(done));
          written += bytes.length;
        }
        found.file.seekSync(before, Deno.SeekMode.Start);
        memory.u32(out, written);
        return Errno.success;
      },
      fd_seek: (number: number, offset: bigint, whence: number, out: number) => {
        const found = file(number);
        if (found === null) return Errno.badDescriptor;
        const modes = [Deno.SeekMode.Start, Deno.SeekMode.Current, Deno.SeekMode.End];
        const mode = modes[whence];
        if (mode === undefined) return Errno.invalid;
        memory.u64(out, BigInt(found.file.seekSync(offset, mode)));
        return Errno.success;
      },
      fd_tell: (number: number, out: number) => {
        const found = file(number);
        if (found === null) return Errno.badDescriptor;
        memory.u64(out, BigInt(found.file.seekSync(0, Deno.SeekMode.Current)));
        return Errno.success;
      },
      fd_sync: (number: number) => {
        const found = file(number);
        if (found === null) return Errno.badDescriptor;
        found.file.syncSync();
        return Errno.success;
      },
      fd_datasync: (number: number) => {
        const found = file(number);
        if (found === null) return Errno.badDescriptor;
        found.file.syncDataSync();
        return Errno.success;
      },
      fd_fdstat_get: (number: number, out: number) => {
        const found = descriptors.get(number);
        if (found === undefined) return Errno.badDescriptor;
        memory.bytes(out, 24).fill(0);
        memory.u8(out, found.kind === "folder" ? 3 : found.kind === "file" ? 4 : 2);
        if (found.kind === "file" && found.append) memory.u16(out + 2, 1);
        memory.u64(out + 8, 0x1fffffffn);
        memory.u64(out + 16, 0x1fffffffn);
        return Errno.success;
      },
      fd_fdstat_set_flags: (number: number) =>
        descriptors.get(number) === undefined ? Errno.badDescriptor : Errno.success,
      fd_filestat_get: (number: number, out: number) => {
        const found = descriptors.get(number);
        if (found === undefined) return Errno.badDescriptor;
        if (found.kind === "file") this.#writeStat(out, found.file.statSync());
        else if (found.kind === "folder") this.#writeStat(out, Deno.statSync(found.path));
        else {
          memory.bytes(out, 64).fill(0);
          memory.u8(out + 16, 2);
        }
        return Errno.success;
      },
      fd_filestat_set_size: (number: number, size: bigint) => {
        const found = file(number);
        if (found === null) return Errno.badDescriptor;
        found.file.truncateSync(Number(size));
        return Errno.success;
      },
      fd_prestat_get: (number: number, out: number) => {
        const found = descriptors.get(number);
        if (found?.kind !== "folder" || found.name === null) return Errno.badDescriptor;
        memory.u32(out, 0);
        memory.u32(out + 4, encoder.encode(found.name).length);
        return Errno.success;
      },
      fd_prestat_dir_name: (number: number, at: number, length: number) => {
        const found = descriptors.get(number);
        if (found?.kind !== "folder" || found.name === null) return Errno.badDescriptor;
        memory.bytes(at, length).set(encoder.encode(found.name).subarray(0, length));
        return Errno.success;
      },
      fd_readdir: (number: number, at: number, length: number, cookie: bigint, out: number) => {
        const found = descriptors.get(number);
        if (found?.kind !== "folder") return Errno.notDirectory;
        const entries = [...Deno.readDirSync(found.path)].sort((a, b) => a.name < b.name ? -1 : 1);
        const buffer = memory.bytes(at, length);
        let used = 0;
        for (let i = Number(cookie); i < entries.length && used < length; i++) {
          const name = encoder.encode(entries[i]!.name);
          const record = new Uint8Array(24 + name.length);
          const view = new DataView(record.buffer);
          view.setBigUint64(0, BigInt(i + 1), true);
          view.setUint32(16, name.length, true);
          view.setUint8(20, typeOf(entries[i]!));
          record.set(name, 24);
          const part = record.subarray(0, length - used);
          buffer.set(part, used);
          used += part.length;
        }
        memory.u32(out, used);
        return Errno.success;
      },
    };
  }

  #paths() {
    const { memory, descriptors } = this;
    /** Resolves a path of the module and works on it. */
    const at = (number: number, pointer: number, length: number, body: (path: string) => void): number => {
      const found = descriptors.get(number);
      if (found?.kind !== "folder") return Errno.badDescriptor;
      const path = below(found.path, memory.text(pointer, length));
      if (path === null) return Errno.notCapable;
      body(path);
      return Errno.success;
    };
    return {
      path_open: (
        number: number,
        _lookup: number,
        pointer: number,
        length: number,
        flags: number,
        rights: bigint,
        _inheriting: bigint,
        fdFlags: number,
        out: number,
      ) => {
        let result: number = Errno.success;
        const done = at(number, pointer, length, (path) => {
          const info = statOrNull(path);
          if (info?.isDirectory) {
            result = this.#give({ kind: "folder", path, name: null }, out);
            return;
          }
          if ((flags & 2) !== 0) {
            result = info === null ? Errno.noEntry : Errno.notDirectory;
            return;
          }
          const append = (fdFlags & 1) !== 0;
          // Rights: 2 is fd_read, 64 is fd_write.
          const write = (rights & 64n) !== 0n || (flags & 1) !== 0 || (flags & 8) !== 0;
          const file = Deno.openSync(path, {
            read: (rights & 2n) !== 0n || !write,
            write,
            append: append && write,
            create: (flags & 1) !== 0 && (flags & 4) === 0,
            createNew: (flags & 1) !== 0 && (flags & 4) !== 0,
            truncate: (flags & 8) !== 0 && !append,
          });
          result = this.#give({ kind: "file", path, file, append }, out);
        });
        return done === Errno.success ? result : done;
      },
      path_filestat_get: (number: number, lookup: number, pointer: number, length: number, out: number) =>
        at(number, pointer, length, (path) => {
          this.#writeStat(out, (lookup & 1) !== 0 ? Deno.statSync(path) : Deno.lstatSync(path));
        }),
      path_create_directory: (number: number, pointer: number, length: number) =>
        at(number, pointer, length, (path) => Deno.mkdirSync(path)),
      path_remove_directory: (number: number, pointer: number, length: number) => {
        let result: number = Errno.success;
        const done = at(number, pointer, length, (path) => {
          if (!Deno.lstatSync(path).isDirectory) result = Errno.notDirectory;
          else Deno.removeSync(path);
        });
        return done === Errno.success ? result : done;
      },
      path_unlink_file: (number: number, pointer: number, length: number) => {
        let result: number = Errno.success;
        const done = at(number, pointer, length, (path) => {
          if (Deno.lstatSync(path).isDirectory) result = Errno.isDirectory;
          else Deno.removeSync(path);
        });
        return done === Errno.success ? result : done;
      },
      path_rename: (
        from: number,
        pointer: number,
        length: number,
        to: number,
        other: number,
        size: number,
      ) => {
        let target = "";
        const found = at(to, other, size, (path) => {
          target = path;
        });
        return found === Errno.success
          ? at(from, pointer, length, (path) => Deno.renameSync(path, target))
          : found;
      },
    };
  }

  #give(descriptor: Descriptor, out: number): number {
    const number = this.descriptors.add(descriptor);
    if (number < 0) {
      if (descriptor.kind === "file") descriptor.file.close();
      return Errno.noSpace;
    }
    this.memory.u32(out, number);
    return Errno.success;
  }

  /** Writes a `filestat`: device, inode, type, links, size and three times, eight bytes each. */
  #writeStat(out: number, info: Deno.FileInfo): void {
    const { memory } = this;
    const time = (date: Date | null) => BigInt(date?.getTime() ?? 0) * 1_000_000n;
    memory.bytes(out, 64).fill(0);
    memory.u64(out, BigInt(info.dev));
    memory.u64(out + 8, BigInt(info.ino ?? 0));
    memory.u8(out + 16, typeOf(info));
    memory.u64(out + 24, BigInt(info.nlink ?? 1));
    memory.u64(out + 32, BigInt(info.size));
    memory.u64(out + 40, time(info.atime));
    memory.u64(out + 48, time(info.mtime));
    memory.u64(out + 56, time(info.ctime));
  }
}

function readInto(from: Descriptor & { kind: "input" | "file" }, bytes: Uint8Array): number {
  if (from.kind === "file") return bytes.length === 0 ? 0 : from.file.readSync(bytes) ?? 0;
  const part = from.bytes.subarray(from.position, from.position + bytes.length);
  bytes.set(part);
  from.position += part.length;
  return part.length;
}

function statOrNull(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
