/** The answer of the tree for a method and a path. */
export type Lookup<Value> =
  /** `values` are those of the pattern's names, in their order and still percent-encoded. */
  | { kind: "found"; value: Value; values: readonly string[] }
  | { kind: "method"; allowed: string[] }
  | { kind: "none" };

/** The routes of one path. The first is inline: most paths have one method, and each step aside costs a cache line. */
interface Leaf<Value> {
  names: readonly string[];
  method: string;
  value: Value;
  others: { method: string; value: Value }[] | null;
}

/** A step of the tree while it is built: one segment. */
interface Node<Value> {
  fixed: Map<string, Node<Value>>;
  parameter: Node<Value> | null;
  leaf: Leaf<Value> | null;
  rest: Leaf<Value> | null;
}

/**
 * A step of the tree as it is searched: segments that only lead on are one text, `/items/all`. Equal texts and lists of
 * names are the same object everywhere, so that a large table touches hardly more memory than a small one.
 */
interface Step<Value> {
  text: string;
  fixed: Map<string, Step<Value>> | null;
  parameter: Step<Value> | null;
  leaf: Leaf<Value> | null;
  rest: Leaf<Value> | null;
}

/** One segment of a pattern. */
type Segment = { kind: "fixed" | "parameter" | "rest"; text: string };

/** Cuts a pattern such as `/todos/:id/files/*rest`. Throws on one that cannot be meant. */
export function parsePattern(pattern: string): Segment[] {
  if (!pattern.startsWith("/")) throw new TypeError(`route ${pattern}: a path starts with /`);
  const parts = pattern.slice(1).split("/");
  const seen = new Set<string>();
  return parts.map((part, i) => {
    const kind = part.startsWith(":") ? "parameter" : part.startsWith("*") ? "rest" : "fixed";
    const text = kind === "fixed" ? part : part.slice(1);
    if (kind !== "fixed") {
      if (!/^[A-Za-z_$][\w$]*$/.test(text)) {
        throw new TypeError(`route ${pattern}: ${part} needs a name, such as ${part[0]}id`);
      }
      if (seen.has(text)) throw new TypeError(`route ${pattern}: the name ${text} is there twice`);
      seen.add(text);
      if (kind === "rest" && i !== parts.length - 1) {
        throw new TypeError(`route ${pattern}: *${text} must be the last segment`);
      }
    }
    return { kind, text };
  });
}

/**
 * A tree of path segments, whose cost depends on the depth of the path and not on the number of routes. Fixed segments
 * come before parameters, these before `*rest`; a branch that leads nowhere is left again.
 */
export class RouteTree<Value> {
  readonly #root: Node<Value> = emptyNode();
  #compiled: Step<Value> | null = null;
  /** One object for equal texts and lists. */
  readonly #shared = new Map<string, string | readonly string[]>();

  /** Adds a route. Throws when there is one for the same method and shape. */
  add(method: string, pattern: string, value: Value): void {
    this.#compiled = null;
    let node = this.#root;
    const names: string[] = [];
    let isRest = false;
    for (const { kind, text } of parsePattern(pattern)) {
      if (kind !== "fixed") names.push(text);
      if (kind === "fixed") {
        let next = node.fixed.get(text);
        if (next === undefined) node.fixed.set(text, next = emptyNode());
        node = next;
      } else if (kind === "parameter") {
        node = node.parameter ??= emptyNode();
      } else {
        isRest = true;
      }
    }
    const leaf = isRest ? node.rest : node.leaf;
    if (leaf === null) {
      const made = { names: this.#share(names.join(), () => names), method, value, others: null };
      if (isRest) node.rest = made;
      else node.leaf = made;
      return;
    }
    if (leaf.method === method || leaf.others?.some((other) => other.method === method)) {
      throw new TypeError(`route ${method} ${pattern}: there are two routes for it`);
    }
    if (leaf.names.join() !== names.join()) {
      throw new TypeError(
        `route ${method} ${pattern}: another route of this shape calls its parameters ${
          leaf.names.join(", ")
        }; use the same names`,
      );
    }
    (leaf.others ??= []).push({ method, value });
  }

  /** Finds the route. `path` starts with `/` and is still percent-encoded; a bad encoding of it may throw URIError. */
  find(method: string, path: string): Lookup<Value> {
    const values: string[] = [];
    const root = this.#compiled ??= this.#compile(this.#root);
    const leaf = path.includes("%")
      ? walkDecoded(this.#root, path.slice(1).split("/"), 0, values)
      : walk(root, path, 0, values);
    if (leaf === null) return { kind: "none" };
    let value = leaf.value;
    if (leaf.method !== method) {
      const other = leaf.others?.find((other) => other.method === method);
      if (other === undefined) {
        return {
          kind: "method",
          allowed: [leaf.method, ...(leaf.others ?? []).map((other) => other.method)],
        };
      }
      value = other.value;
    }
    return { kind: "found", value, values };
  }

  /** Whether a route has the method. */
  has(method: string): boolean {
    const look = ({ fixed, parameter, leaf, rest }: Node<Value>): boolean =>
      [leaf, rest].some((end) =>
        end?.method === method || end?.others?.some((other) => other.method === method)
      ) ||
      (parameter !== null && look(parameter)) || [...fixed.values()].some(look);
    return look(this.#root);
  }

  #compile(node: Node<Value>, text = ""): Step<Value> {
    if (node.fixed.size === 1 && node.parameter === null && node.leaf === null && node.rest === null) {
      const [[name, next]] = node.fixed as unknown as [[string, Node<Value>]];
      return this.#compile(next, `${text}/${name}`);
    }
    const fixed = node.fixed.size === 0
      ? null
      : new Map([...node.fixed].map(([name, next]) => [name, this.#compile(next)]));
    return {
      text: this.#share(`/${text}`, () => text),
      fixed,
      parameter: node.parameter === null ? null : this.#compile(node.parameter),
      leaf: node.leaf,
      rest: node.rest,
    };
  }

  #share<Shared extends string | readonly string[]>(key: string, make: () => Shared): Shared {
    let shared = this.#shared.get(key) as Shared | undefined;
    if (shared === undefined) this.#shared.set(key, shared = make());
    return shared;
  }
}

/** Searches from a step on; `at` is the end of what was matched: the end of the path, or a `/`. */
function walk<Value>(step: Step<Value>, path: string, at: number, values: string[]): Leaf<Value> | null {
  const { text } = step;
  if (text !== "") {
    if (!path.startsWith(text, at)) return null;
    at += text.length;
    if (at < path.length && path.charCodeAt(at) !== slash) return null;
  }
  if (at === path.length) return step.leaf;
  let end = -1;
  if (step.fixed !== null) {
    end = endOfSegment(path, at);
    const next = step.fixed.get(path.slice(at + 1, end));
    if (next !== undefined) {
      const leaf = walk(next, path, end, values);
      if (leaf !== null) return leaf;
    }
  }
  if (step.parameter !== null) {
    if (end < 0) end = endOfSegment(path, at);
    if (end > at + 1) {
      values.push(path.slice(at + 1, end));
      const leaf = walk(step.parameter, path, end, values);
      if (leaf !== null) return leaf;
      values.pop();
    }
  }
  if (step.rest !== null) values.push(path.slice(at + 1));
  return step.rest;
}

/** The same where a fixed segment of the path may be percent-encoded, which is rare. */
function walkDecoded<Value>(
  node: Node<Value>,
  segments: string[],
  index: number,
  values: string[],
): Leaf<Value> | null {
  if (index === segments.length) return node.leaf;
  const segment = segments[index]!;
  const fixed = node.fixed.get(segment) ?? node.fixed.get(decode(segment));
  if (fixed !== undefined) {
    const leaf = walkDecoded(fixed, segments, index + 1, values);
    if (leaf !== null) return leaf;
  }
  if (node.parameter !== null && segment !== "") {
    values.push(segment);
    const leaf = walkDecoded(node.parameter, segments, index + 1, values);
    if (leaf !== null) return leaf;
    values.pop();
  }
  if (node.rest !== null) values.push(segments.slice(index).join("/"));
  return node.rest;
}

const slash = 47;

function endOfSegment(path: string, at: number): number {
  const end = path.indexOf("/", at + 1);
  return end < 0 ? path.length : end;
}

function emptyNode<Value>(): Node<Value> {
  return { fixed: new Map(), parameter: null, leaf: null, rest: null };
}

/** A segment as the client meant it. Throws URIError on a bad encoding. */
export function decode(text: string): string {
  return text.includes("%") ? decodeURIComponent(text) : text;
}
