/** Cuts a stream of bytes into lines, with a limit on the length of one. */
export class LineCutter {
  #rest = new Uint8Array(0);
  readonly #longest: number;
  readonly #decoder = new TextDecoder();

  constructor(longestBytes: number) {
    this.#longest = longestBytes;
  }

  /** Adds bytes and gives back the lines that are now whole. Throws when a line is longer than the limit. */
  push(bytes: Uint8Array): string[] {
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    const lines: string[] = [];
    let start = 0;
    for (;;) {
      const end = all.indexOf(10, start);
      if (end < 0) break;
      if (end - start > this.#longest) throw new RangeError(`a line is longer than ${this.#longest} bytes`);
      lines.push(this.#decoder.decode(all.subarray(start, end)));
      start = end + 1;
    }
    this.#rest = all.slice(start);
    if (this.#rest.length > this.#longest) {
      throw new RangeError(`a line is longer than ${this.#longest} bytes`);
    }
    return lines;
  }
}
