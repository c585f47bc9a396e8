/**
 * Run at deploy, in the sandbox, after `deno install`: freezes the import map of an app.
 *
 *     deno run --allow-read --allow-write=/app --allow-run=DENO resolve.ts --root /app --main /app/main.ts
 *
 * Workers boot before they know their app, so they cannot read its deno.json. Each specifier that its
 * import map changes is replaced, at the place that Deno's own parser names, by what it stands for;
 * no line moves. Modules from elsewhere (`jsr:`, `https:`) are copied into the app's folder, because workers
 * fetch nothing. Bare names in node_modules and `martlet` stay as they are. Exit status 0 when done,
 * 1 when an import cannot be resolved (the reason on standard error), 2 on wrong usage.
 */

/** A change of one file: the text between two places of one line. */
export interface Edit {
  line: number;
  start: number;
  end: number;
  text: string;
}

interface Position {
  line: number;
  character: number;
}

interface Dependency {
  specifier: string;
  code?: { specifier?: string; error?: string; span: { start: Position; end: Position } };
  type?: { specifier?: string; span: { start: Position; end: Position } };
}

interface Graph {
  modules: {
    kind: string;
    specifier: string;
    local?: string;
    mediaType?: string;
    error?: string;
    dependencies?: Dependency[];
  }[];
  /** Where `jsr:` names and moved addresses lead. */
  redirects?: Record<string, string>;
}

/** The folder of modules from elsewhere, in the app's own. */
const remoteFolder = ".martlet-remote";

/** The places in the app's folder of modules from elsewhere, by their addresses. Each has the ending of its kind. */
export function placesOf(graph: Graph, root: string): Map<string, string> {
  const places = new Map<string, string>();
  const endings: Record<string, string> = { JavaScript: ".js", TypeScript: ".ts", Mjs: ".mjs", Mts: ".mts" };
  for (const { specifier, local, mediaType = "" } of graph.modules) {
    if (!/^https?:/.test(specifier) || local === undefined) continue;
    const { host, pathname, search } = new URL(specifier);
    const safe = (text: string) => text.replace(/[^\w./@-]/g, "_");
    let path = safe(`${host}${pathname}${search}`);
    const ending = endings[mediaType] ?? (mediaType === "" ? "" : `.${mediaType.toLowerCase()}`);
    if (!path.endsWith(ending)) path += ending;
    // Two addresses may look the same in a path.
    const taken = new Set(places.values());
    let place = `${root}${remoteFolder}/${path}`;
    for (let i = 2; taken.has(place); i++) place = `${root}${remoteFolder}/${i}/${path}`;
    places.set(specifier, place);
  }
  return places;
}

/** What a specifier in `file` is to be replaced by, or `null` if it may stay. */
export function frozen(specifier: string, resolved: string, file: string, root: string): string | null {
  if (specifier === "martlet" || /^\.{0,2}\//.test(specifier)) return null;
  if (resolved.startsWith("file:") && !resolved.includes("/node_modules/")) {
    if (specifier.startsWith("file:")) return null;
    if (!resolved.startsWith(root)) throw new Error(`${specifier} leads to ${resolved}, outside of the app`);
    return relative(file, resolved);
  }
  // `npm:name@1/sub` is found in node_modules by its bare name.
  const npm = /^npm:\/?((?:@[^/@]+\/)?[^/@]+)(?:@[^/]+)?(\/.*)?$/.exec(resolved) ??
    /^npm:\/?((?:@[^/@]+\/)?[^/@]+)(?:@[^/]+)?(\/.*)?$/.exec(specifier);
  if (npm !== null) {
    const bare = npm[1]! + (npm[2] ?? "");
    return bare === specifier ? null : bare;
  }
  return null;
}

/** The same in a module from elsewhere, whose paths lead to others from there. */
function frozenThere(specifier: string, resolved: string, file: string, root: string): string | null {
  if (!resolved.startsWith("file:")) return frozen(specifier, resolved, file, root);
  const text = relative(file, resolved);
  return text === specifier ? null : text;
}

/** The path from one file to another, as a specifier. */
export function relative(from: string, to: string): string {
  const start = new URL(from).pathname.split("/").slice(0, -1);
  const end = new URL(to).pathname.split("/");
  let shared = 0;
  while (shared < start.length && shared < end.length - 1 && start[shared] === end[shared]) shared += 1;
  const up = start.slice(shared).map(() => "..");
  const path = [...up, ...end.slice(shared)].join("/");
  return up.length === 0 ? `./${path}` : path;
}

/** The edits of each file of the app. Throws for an import that cannot be resolved. */
export function plan(
  graph: Graph,
  root: string,
  places: Map<string, string> = placesOf(graph, root),
): Map<string, Edit[]> {
  const edits = new Map<string, Edit[]>();
  const redirected = (specifier: string) => {
    for (let i = 0; i < 10; i++) specifier = graph.redirects?.[specifier] ?? specifier;
    return places.get(specifier) ?? specifier;
  };
  for (const { kind, specifier, error, dependencies = [] } of graph.modules) {
    const place = places.get(specifier);
    if (error !== undefined && /^(https?|jsr):/.test(specifier)) throw new Error(error);
    const file = place ?? specifier;
    // The framework beside an app is for editors; it stays at home.
    if (!file.startsWith(root) || file.startsWith(`${root}.martlet/`)) continue;
    if (file.includes("/node_modules/") || kind === "npm") continue;
    if (error !== undefined) throw new Error(error);
    for (const { specifier, code, type } of dependencies) {
      if (specifier === "martlet") continue;
      if (code?.error !== undefined) throw new Error(code.error);
      const target = code ?? type;
      if (target?.specifier === undefined) continue;
      const text = place === undefined
        ? frozen(specifier, redirected(target.specifier), file, root)
        : frozenThere(specifier, redirected(target.specifier), file, root);
      if (text === null) continue;
      const { start, end } = target.span;
      if (start.line !== end.line) continue;
      const list = edits.get(file) ?? [];
      list.push({ line: start.line, start: start.character, end: end.character, text });
      edits.set(file, list);
    }
  }
  return edits;
}

/** Applies edits to a text; the quotes around a specifier are part of its place. */
export function apply(source: string, edits: readonly Edit[]): string {
  const lines = source.split("\n");
  for (const { line, start, end, text } of edits.toSorted((a, b) => b.line - a.line || b.start - a.start)) {
    const before = lines[line]!;
    const quote = before[start]!;
    if (!`"'\``.includes(quote)) throw new Error(`line ${line + 1}: no specifier at column ${start + 1}`);
    lines[line] = before.slice(0, start) + quote + text + quote + before.slice(end);
  }
  return lines.join("\n");
}

/** Freezes the import map of the app in `root`; gives back how many files were changed. */
export async function freeze(root: string, main: string): Promise<number> {
  const folder = await Deno.realPath(root);
  if (await mapsNothing(folder)) return 0;
  const url = new URL(`file://${folder}/`).href;
  // The versions and the contents that the lock file names, where there is one.
  const lock = await exists(`${folder}/deno.lock`) ? ["--lock=deno.lock"] : ["--no-lock"];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", ...lock, "--node-modules-dir=manual", main],
    cwd: folder,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr).split("\n\nStack")[0]!.trim());
  const graph = JSON.parse(new TextDecoder().decode(stdout)) as Graph;
  const places = placesOf(graph, url);
  const edits = plan(graph, url, places);
  for (const { specifier, local } of graph.modules) {
    const place = places.get(specifier);
    if (place === undefined) continue;
    const path = decodeURIComponent(new URL(place).pathname);
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await Deno.writeFile(path, await Deno.readFile(local!));
  }
  for (const [file, list] of edits) {
    const path = decodeURIComponent(new URL(file).pathname);
    await Deno.writeTextFile(path, apply(await Deno.readTextFile(path), list));
  }
  return edits.size;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch {
    return false;
  }
}

/** Whether the app's deno.json, if it is plain JSON, says nothing but where editors find the framework. */
async function mapsNothing(folder: string): Promise<boolean> {
  try {
    const { imports = {}, scopes, importMap } = JSON.parse(await Deno.readTextFile(`${folder}/deno.json`));
    return scopes === undefined && importMap === undefined &&
      Object.keys(imports).every((name) => name === "martlet");
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const given: Record<string, string> = {};
  for (let i = 0; i < Deno.args.length; i += 2) given[Deno.args[i]!] = Deno.args[i + 1] ?? "";
  const { "--root": root, "--main": main, ...others } = given;
  if (!root || !main || Object.keys(others).length > 0) {
    console.error("usage: resolve.ts --root FOLDER --main FILE");
    Deno.exit(2);
  }
  try {
    console.log(JSON.stringify({ changed: await freeze(root, main) }));
  } catch (error) {
    console.error(`resolve ${main}: ${(error as Error).message}`);
    Deno.exit(1);
  }
}
