/** The answer of the tree for a method and a path. */
export type Lookup<Value> =
  | { kind: "found"; value: Value; params: Record<string, string> }
  | { kind: "method"; allowed: string[] }
  | { kind: "none" };

/** The routes of one path. Most have one method: a map for each would only fill the processor's caches. */
interface Leaf<Value> {
  names: string[];
  methods: string[];
  values: Value[];
}

interface Node<Value> {
  /** The first fixed segment; most nodes have no other, and to compare is quicker than to look up. */
  name: string;
  next: Node<Value> | null;
  others: Map<string, Node<Value>> | null;
  parameter: Node<Value> | null;
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
 * A tree of path segments. Each step is one look into a map, so its cost depends on the depth of the
 * path and not on the number of routes. Fixed segments come before parameters, these before `*rest`;
 * a branch that leads nowhere is left again.
 */
export class RouteTree<Value> {
  readonly #root: Node<Value> = emptyNode();

  /** Adds a route. Throws when there is one for the same method and shape. */
  add(method: string, pattern: string, value: Value): void {
    let node = this.#root;
    const names: string[] = [];
    let isRest = false;
    for (const { kind, text } of parsePattern(pattern)) {
      if (kind !== "fixed") names.push(text);
      if (kind === "fixed") {
        node = child(node, text) ?? addChild(node, text);
      } else if (kind === "parameter") {
        node = node.parameter ??= emptyNode();
      } else {
        isRest = true;
      }
    }
    const leaf = isRest
      ? (node.rest ??= { names, methods: [], values: [] })
      : (node.leaf ??= { names, methods: [], values: [] });
    if (leaf.methods.includes(method)) {
      throw new TypeError(`route ${method} ${pattern}: there are two routes for it`);
    }
    if (leaf.names.join() !== names.join()) {
      throw new TypeError(
        `route ${method} ${pattern}: another route of this shape calls its parameters ${
          leaf.names.join(", ")
        }; use the same names`,
      );
    }
    leaf.methods.push(method);
    leaf.values.push(value);
  }

  /** Finds the route. `path` starts with `/` and is still percent-encoded. Throws URIError on a bad encoding. */
  find(method: string, path: string): Lookup<Value> {
    const segments = path.slice(1).split("/");
    const values: string[] = [];
    const leaf = this.#walk(this.#root, segments, 0, values);
    if (leaf === null) return { kind: "none" };
    const index = leaf.methods.indexOf(method);
    if (index < 0) return { kind: "method", allowed: [...leaf.methods] };
    const value = leaf.values[index]!;
    const params: Record<string, string> = {};
    for (let i = 0; i < leaf.names.length; i++) params[leaf.names[i]!] = decode(values[i]!);
    return { kind: "found", value, params };
  }

  #walk(node: Node<Value>, segments: string[], index: number, values: string[]): Leaf<Value> | null {
    if (index === segments.length) return node.leaf;
    const segment = segments[index]!;
    const fixed = child(node, segment) ?? (segment.includes("%") ? child(node, decode(segment)) : null);
    if (fixed !== null) {
      const leaf = this.#walk(fixed, segments, index + 1, values);
      if (leaf !== null) return leaf;
    }
    if (node.parameter !== null && segment !== "") {
      values.push(segment);
      const leaf = this.#walk(node.parameter, segments, index + 1, values);
      if (leaf !== null) return leaf;
      values.pop();
    }
    if (node.rest !== null) {
      values.push(segments.slice(index).join("/"));
      return node.rest;
    }
    return null;
  }
}

function emptyNode<Value>(): Node<Value> {
  return { name: "", next: null, others: null, parameter: null, leaf: null, rest: null };
}

function child<Value>(node: Node<Value>, segment: string): Node<Value> | null {
  if (node.next === null) return null;
  if (node.name === segment) return node.next;
  return node.others?.get(segment) ?? null;
}

function addChild<Value>(node: Node<Value>, segment: string): Node<Value> {
  const made = emptyNode<Value>();
  if (node.next === null) {
    node.name = segment;
    node.next = made;
  } else {
    (node.others ??= new Map()).set(segment, made);
  }
  return made;
}

function decode(text: string): string {
  return text.includes("%") ? decodeURIComponent(text) : text;
}
