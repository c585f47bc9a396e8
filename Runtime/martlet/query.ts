/** The fields of a query such as `a=1&b=2`, as `URLSearchParams` reads them (URL standard, 5.1). */
export class QueryReader {
  readonly #query: string;
  #parsed: URLSearchParams | null = null;

  constructor(query: string) {
    this.#query = query;
    // To parse a query of plain characters costs more than to look a name up in it.
    if (query.includes("%") || query.includes("+")) this.#parsed = new URLSearchParams(query);
  }

  /** The first value of a name, or `undefined`. */
  get(name: string): string | undefined {
    if (this.#parsed !== null) return this.#parsed.get(name) ?? undefined;
    const query = this.#query;
    let start = 0;
    while (start < query.length) {
      let end = query.indexOf("&", start);
      if (end < 0) end = query.length;
      if (query.startsWith(name, start)) {
        const after = start + name.length;
        if (after === end) {
          // A name without a value; an empty part is not even that.
          if (end > start) return "";
        } else if (query.charCodeAt(after) === equals) return query.slice(after + 1, end);
      }
      start = end + 1;
    }
    return undefined;
  }

  /** All values of a name. */
  getAll(name: string): string[] {
    if (this.#query === "") return [];
    return (this.#parsed ??= new URLSearchParams(this.#query)).getAll(name);
  }
}

const equals = 61;
