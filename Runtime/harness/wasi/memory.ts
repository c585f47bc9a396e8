/** Reads and writes a module's memory; every access sees the buffer as it is now, because memory can grow. */
export class GuestMemory {
  #memory: WebAssembly.Memory | null = null;

  attach(memory: WebAssembly.Memory): void {
    this.#memory = memory;
  }

  get view(): DataView {
    if (this.#memory === null) throw new TypeError("the module exports no memory");
    return new DataView(this.#memory.buffer);
  }

  bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.view.buffer, at >>> 0, length >>> 0);
  }

  text(at: number, length: number): string {
    return new TextDecoder().decode(this.bytes(at, length));
  }

  /** The buffers of an `iovec` array: address and length of each, four bytes both. */
  vectors(at: number, count: number): Uint8Array[] {
    const { view } = this;
    return Array.from(
      { length: count },
      (_, i) =>
        this.bytes(view.getUint32((at >>> 0) + i * 8, true), view.getUint32((at >>> 0) + i * 8 + 4, true)),
    );
  }

  u8(at: number, value: number): void {
    this.view.setUint8(at >>> 0, value);
  }

  u16(at: number, value: number): void {
    this.view.setUint16(at >>> 0, value, true);
  }

  u32(at: number, value: number): void {
    this.view.setUint32(at >>> 0, value, true);
  }

  u64(at: number, value: bigint): void {
    this.view.setBigUint64(at >>> 0, value, true);
  }
}

/** Numbers of errors (WASI preview 1, `errno`). */
export const Errno = {
  success: 0,
  access: 2,
  badDescriptor: 8,
  exists: 20,
  invalid: 28,
  io: 29,
  isDirectory: 31,
  noEntry: 44,
  noSpace: 51,
  notDirectory: 54,
  notEmpty: 55,
  notSupported: 58,
  notCapable: 76,
} as const;

/** The number for what Deno threw. */
export function errnoOf(error: unknown): number {
  if (error instanceof Deno.errors.NotFound) return Errno.noEntry;
  if (error instanceof Deno.errors.AlreadyExists) return Errno.exists;
  if (error instanceof Deno.errors.NotCapable) return Errno.notCapable;
  if (error instanceof Deno.errors.PermissionDenied) return Errno.access;
  if (error instanceof Deno.errors.IsADirectory) return Errno.isDirectory;
  if (error instanceof Deno.errors.NotADirectory) return Errno.notDirectory;
  const code = (error as { code?: string }).code;
  if (code === "ENOTEMPTY") return Errno.notEmpty;
  if (code === "ENOSPC") return Errno.noSpace;
  return Errno.io;
}
