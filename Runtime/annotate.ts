/**
 * Run at deploy, in the sandbox: reads the declared types of an app and writes its schema file.
 *
 *     deno run --allow-read --allow-write=OUT --allow-run=DENO annotate.ts --main /app/main.ts --out schema.json
 *     deno run --allow-read annotate.ts --main /app/main.ts --doc doc.json --out schema.json
 *
 * What cannot be checked is printed, one JSON object a line, on standard output. Exit status 0 when
 * the file is written; 1 when the types cannot be read (the app then runs without them), 2 on wrong usage.
 */
import type { Doc } from "./annotate/doc.ts";
import { extract } from "./annotate/extract.ts";
import type { SchemaFile } from "./martlet/schema.ts";

const usage = "usage: annotate.ts --main FILE --out FILE [--root FOLDER] [--doc FILE]";
/** The most files whose types are followed. */
const mostFiles = 2_000;

/** The documentation of a file and of every file of the app that it imports. */
export async function documentation(main: string, root: string): Promise<Doc> {
  const doc: Doc = { version: 2, nodes: {} };
  const importMap = new URL("./import_map.json", import.meta.url).pathname;
  let next = [main];
  const seen = new Set(next);
  while (next.length > 0) {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "doc",
        "--json",
        "--private",
        "--quiet",
        "--no-lock",
        "--no-remote",
        "--import-map",
        importMap,
        ...next,
      ],
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    if (code !== 0) throw new Error(new TextDecoder().decode(stderr).split("\n\nStack")[0]!.trim());
    const part: Doc = JSON.parse(new TextDecoder().decode(stdout));
    Object.assign(doc.nodes, part.nodes);
    next = [];
    for (const file of imported(part, root)) {
      if (seen.has(file) || seen.size >= mostFiles) continue;
      seen.add(file);
      next.push(new URL(file).pathname.split("/").map(decodeURIComponent).join("/"));
    }
  }
  return doc;
}

function imported(doc: Doc, root: string): Set<string> {
  const found = new Set<string>();
  for (const [file, { imports = [] }] of Object.entries(doc.nodes)) {
    for (const { src } of imports) {
      if (!/^(?:\.{0,2}\/|file:)/.test(src)) continue;
      const url = new URL(src, file).href;
      if (url.startsWith(root) && /\.[cm]?tsx?$/.test(url) && doc.nodes[url] === undefined) found.add(url);
    }
  }
  return found;
}

/** Writes the schema file of `main`. */
export async function annotate(
  options: { main: string; out: string; root?: string; doc?: string },
): Promise<SchemaFile> {
  const main = await Deno.realPath(options.main);
  const folder = await Deno.realPath(options.root ?? main.slice(0, main.lastIndexOf("/") + 1));
  const root =
    new URL(`file://${folder.replace(/\/?$/, "/").split("/").map(encodeURIComponent).join("/")}`).href;
  const doc = options.doc === undefined
    ? await documentation(main, root)
    : JSON.parse(await Deno.readTextFile(options.doc));
  const schema = extract(doc, root);
  await Deno.writeTextFile(options.out, JSON.stringify(schema) + "\n");
  return schema;
}

if (import.meta.main) {
  const given: Record<string, string> = {};
  for (let i = 0; i < Deno.args.length; i += 2) given[Deno.args[i]!] = Deno.args[i + 1] ?? "";
  const { "--main": main, "--out": out, "--root": root, "--doc": doc, ...others } = given;
  if (!main || !out || Object.keys(others).length > 0) {
    console.error(usage);
    Deno.exit(2);
  }
  try {
    const schema = await annotate({ main, out, root, doc });
    for (const warning of schema.warnings) console.log(JSON.stringify(warning));
  } catch (error) {
    console.error(`annotate ${main}: ${(error as Error).message}`);
    Deno.exit(1);
  }
}
