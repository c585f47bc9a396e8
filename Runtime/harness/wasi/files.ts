import { Errno } from "./memory.ts";

/** What a descriptor stands for. */
export type Descriptor =
  | { kind: "input"; bytes: Uint8Array; position: number }
  | { kind: "output"; write(bytes: Uint8Array): void }
  | { kind: "folder"; path: string; name: string | null }
  | { kind: "file"; path: string; file: Deno.FsFile; append: boolean };

/** The most descriptors that a module may have open. */
const most = 256;

/** The descriptors of one run; the first ones are input, output, errors and the folders that it was given. */
export class DescriptorTable {
  readonly #open = new Map<number, Descriptor>();
  #next = 0;

  add(descriptor: Descriptor): number {
    if (this.#open.size >= most) return -1;
    const number = this.#next++;
    this.#open.set(number, descriptor);
    return number;
  }

  get(number: number): Descriptor | undefined {
    return this.#open.get(number);
  }

  close(number: number): number {
    const descriptor = this.#open.get(number);
    if (descriptor === undefined) return Errno.badDescriptor;
    this.#open.delete(number);
    if (descriptor.kind === "file") descriptor.file.close();
    return Errno.success;
  }

  closeAll(): void {
    for (const number of [...this.#open.keys()]) this.close(number);
  }
}

/**
 * The path below `folder` that a module names, or `null` for one that leads out of it.
 *
 * Links are followed by the kernel; what they may lead to is bounded by the process's own permissions.
 */
export function below(folder: string, path: string): string | null {
  if (path.startsWith("/") || path.includes("\0")) return null;
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return null;
  }
  return parts.length === 0 ? folder : `${folder}/${parts.join("/")}`;
}

/** The numbers of file types (WASI preview 1, `filetype`). */
export function typeOf(info: { isFile: boolean; isDirectory: boolean; isSymlink: boolean }): number {
  return info.isDirectory ? 3 : info.isFile ? 4 : info.isSymlink ? 7 : 0;
}
