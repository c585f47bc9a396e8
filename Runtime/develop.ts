/**
 * The eyes of `martlet dev`: watches an app's folder, and reads its types after each change.
 *
 *     deno run --allow-read --allow-write=STATE,OUT --allow-run=DENO develop.ts --root FOLDER --state FOLDER --out FOLDER
 *
 * Writes one JSON object a line: `changed` at the start and after each change, and `types` when the schema file of that
 * change is there. With an import map of the app's own, `--state` gets a copy of the folder with its specifiers
 * resolved, and the line says so with `tree`. Ends when standard input does.
 */
import { annotate } from "./annotate.ts";
import type { SchemaFile, SchemaWarning } from "./martlet/schema.ts";
import { freeze } from "./resolve.ts";

/** Folders whose changes say nothing about the app. */
const ignored = new Set([".git", ".martlet", "node_modules", "data"]);
/** How long a burst of changes may pause, in milliseconds: an editor writes, renames and touches. */
const settleMs = 12;
/** Schema files that are kept: a worker that starts may still wait for one. */
const kept = 5;
/** The most files that are named in one line. */
const mostFiles = 20;

interface Options {
  root: string;
  state: string;
  out: string;
}

/** Something is new, and can be started. */
export interface Change {
  type: "changed";
  files: string[];
  /** The name that the schema file will have, in the folder `--out`. */
  schema: string;
  /** The prepared copy of the app, where one is needed. */
  tree?: string;
  /** Why it could not be prepared. */
  problem?: string;
}

/** The schema file is there. */
export interface Types {
  type: "types";
  schema: string;
  warnings: SchemaWarning[];
  /** Why the types could not be read; the app then runs without them. */
  problem?: string;
  /** Since the change was seen. */
  ms: number;
}

async function say(message: Change | Types): Promise<void> {
  const bytes = new TextEncoder().encode(JSON.stringify(message) + "\n");
  for (let sent = 0; sent < bytes.length;) sent += await Deno.stdout.write(bytes.subarray(sent));
}

/** The script that starts, by the rules of the app's contract; `null` where there is none yet. */
async function findMain(root: string): Promise<string | null> {
  const candidates = ["main.ts", "main.js"];
  const settings = await readJSON(`${root}/martlet.json`);
  if (typeof settings?.main === "string") candidates.unshift(settings.main);
  const description = await readJSON(`${root}/package.json`);
  if (typeof description?.main === "string") candidates.push(description.main);
  for (const name of candidates) {
    try {
      if ((await Deno.stat(`${root}/${name}`)).isFile) return name;
    } catch {
      // The next one.
    }
  }
  return null;
}

/** JSON with comments and trailing commas, or nothing: mistakes are told by who needs the file. */
async function readJSON(path: string): Promise<Record<string, unknown> | null> {
  try {
    const text = await Deno.readTextFile(path);
    const plain = text.replace(
      /("(?:[^"\\]|\\.)*")|\/\/[^\n]*|\/\*[\s\S]*?\*\/|,(?=\s*[}\]])/g,
      (_all, string) => string ?? "",
    );
    return JSON.parse(plain);
  } catch {
    return null;
  }
}

/** Whether workers, which never read an app's deno.json, would miss something of it. */
async function needsTree(root: string): Promise<boolean> {
  const settings = await readJSON(`${root}/deno.json`) ?? await readJSON(`${root}/deno.jsonc`);
  return Object.keys(settings?.imports ?? {}).some((name) => name !== "martlet");
}

/** Copies what can be a part of the app, and links what is large and never changed. */
async function copyTree(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  const seen = new Set<string>();
  for await (const entry of Deno.readDir(from)) {
    if (entry.name === ".git" || entry.name === ".martlet") continue;
    seen.add(entry.name);
    const [source, target] = [`${from}/${entry.name}`, `${to}/${entry.name}`];
    if (entry.isDirectory) await copyTree(source, target);
    else if (entry.isSymlink) await Deno.symlink(await Deno.readLink(source), target).catch(() => {});
    else if (from.includes("/node_modules")) await Deno.link(source, target).catch(() => {});
    else await Deno.copyFile(source, target);
  }
  for await (const entry of Deno.readDir(to)) {
    if (!seen.has(entry.name)) await Deno.remove(`${to}/${entry.name}`, { recursive: true });
  }
}

let number = 0;

/**
 * Says that there is something new, so that it can be started, and reads its types meanwhile: the file appears, whole,
 * under the name that was said.
 */
async function inspect(options: Options, files: string[]): Promise<void> {
  const began = performance.now();
  const name = `${++number}.json`;
  const main = await findMain(options.root);
  let root = options.root;
  let tree: string | undefined;
  let problem: string | undefined;
  try {
    if (main !== null && await needsTree(root)) {
      root = tree = `${options.state}/tree`;
      await copyTree(options.root, root);
      await freeze(root, `${root}/${main}`);
    }
  } catch (error) {
    problem = (error as Error).message;
  }
  // Editors write under another name first; that one is gone by now.
  const there = await Promise.all(
    files.map((file) => Deno.lstat(`${options.root}/${file}`).then(() => true, () => false)),
  );
  const shown = there.includes(true) ? files.filter((_, i) => there[i]) : files;
  await say({ type: "changed", files: shown.slice(0, mostFiles), schema: name, tree, problem });
  const types: Types = { type: "types", schema: name, warnings: [], ms: 0 };
  const unfinished = `${options.out}/.unfinished`;
  try {
    if (main === null || !/\.[mc]?tsx?$/.test(main)) await writeEmpty(unfinished);
    else types.warnings = (await annotate({ main: `${root}/${main}`, out: unfinished, root })).warnings;
  } catch (error) {
    types.problem = (error as Error).message;
    await writeEmpty(unfinished);
  }
  await Deno.rename(unfinished, `${options.out}/${name}`);
  await Deno.remove(`${options.out}/${number - kept}.json`).catch(() => {});
  types.ms = Math.round(performance.now() - began);
  await say(types);
}

async function writeEmpty(path: string): Promise<void> {
  const schema: SchemaFile = { version: 1, handlers: [], definitions: {}, warnings: [] };
  await Deno.writeTextFile(path, JSON.stringify(schema));
}

/** Folders of the app, each watched alone, so that large ones that say nothing cost nothing. */
async function folders(root: string): Promise<string[]> {
  const found = [root];
  for (let i = 0; i < found.length && found.length < 2_000; i++) {
    for await (const entry of Deno.readDir(found[i]!)) {
      if (entry.isDirectory && !ignored.has(entry.name)) found.push(`${found[i]}/${entry.name}`);
    }
  }
  return found;
}

async function watch(options: Options): Promise<void> {
  let pending = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let work = Promise.resolve();
  for (;;) {
    const watcher = Deno.watchFs(await folders(options.root), { recursive: false });
    const ended = await follow(watcher, options.root, (file) => {
      pending.add(file);
      clearTimeout(timer);
      timer = setTimeout(() => {
        const files = [...pending];
        pending = new Set();
        work = work.then(() => inspect(options, files)).catch((error) => console.error(error));
      }, settleMs);
    });
    if (ended) return;
  }
}

/** Reports changed files until the folders themselves change (then `false`). */
async function follow(
  watcher: Deno.FsWatcher,
  root: string,
  report: (file: string) => void,
): Promise<boolean> {
  for await (const event of watcher) {
    if (event.kind === "access" || event.kind === "other" || event.kind === "any") continue;
    for (const path of event.paths) {
      const name = path.slice(root.length + 1);
      if (name === "" || name.split("/").some((part) => ignored.has(part)) || /~$|\.sw.$|^\.#/.test(name)) {
        continue;
      }
      report(name);
      if (event.kind !== "create") continue;
      const isFolder = await Deno.stat(path).then((info) => info.isDirectory, () => false);
      if (!isFolder) continue;
      watcher.close();
      return false;
    }
  }
  return true;
}

if (import.meta.main) {
  const given: Record<string, string> = {};
  for (let i = 0; i < Deno.args.length; i += 2) given[Deno.args[i]!] = Deno.args[i + 1] ?? "";
  const { "--root": root, "--state": state, "--out": out, ...others } = given;
  if (!root || !state || !out || Object.keys(others).length > 0) {
    console.error("usage: develop.ts --root FOLDER --state FOLDER --out FILE");
    Deno.exit(2);
  }
  const options = { root: await Deno.realPath(root), state, out };
  // Whoever started this holds the other end.
  (async () => {
    for await (const _ of Deno.stdin.readable);
    Deno.exit(0);
  })();
  await inspect(options, []);
  await watch(options);
}
