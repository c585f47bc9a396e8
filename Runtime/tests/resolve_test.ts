import assert from "node:assert/strict";
import { apply, freeze, frozen, relative } from "../resolve.ts";
import { withWorker } from "./fixture.ts";

Deno.test("paths from one file to another are specifiers", () => {
  assert.equal(relative("file:///app/main.ts", "file:///app/src/a.ts"), "./src/a.ts");
  assert.equal(relative("file:///app/src/x/y.ts", "file:///app/lib/a.ts"), "../../lib/a.ts");
  assert.equal(relative("file:///app/src/y.ts", "file:///app/src/a.ts"), "./a.ts");
});

Deno.test("only what an import map changes is replaced", () => {
  const cases: [string, string, string | null][] = [
    ["martlet", "file:///app/.martlet/framework/mod.ts", null],
    ["./a.ts", "file:///app/a.ts", null],
    ["@/a.ts", "file:///app/src/a.ts", "./src/a.ts"],
    ["npm:left-pad@1", "npm:/left-pad@1.3.0", "left-pad"],
    ["pad", "npm:/left-pad@1.3.0", "left-pad"],
    ["x", "npm:/@scope/name@1.0.0/sub/path.js", "@scope/name/sub/path.js"],
    ["left-pad", "npm:/left-pad@1.3.0", null],
    ["left-pad", "file:///app/node_modules/left-pad/index.js", null],
    ["node:fs", "node:fs", null],
  ];
  for (const [specifier, resolved, expected] of cases) {
    assert.equal(frozen(specifier, resolved, "file:///app/main.ts", "file:///app/"), expected, specifier);
  }
  assert.throws(
    () => frozen("out", "file:///etc/x.ts", "file:///app/main.ts", "file:///app/"),
    /outside of the app/,
  );
});

Deno.test("edits keep lines and everything around a specifier", () => {
  const source = `import a from "@/a.ts"; import b from '@/b.ts';\nexport { a, b };`;
  const edits = [{ line: 0, start: 14, end: 22, text: "./src/a.ts" }, {
    line: 0,
    start: 38,
    end: 46,
    text: "./src/b.ts",
  }];
  assert.equal(
    apply(source, edits),
    `import a from "./src/a.ts"; import b from './src/b.ts';\nexport { a, b };`,
  );
});

const files = {
  "deno.json":
    `{ "imports": { "@/": "./src/", "lib": "./lib/mod.ts", "martlet": "./.martlet/mod.ts", "pad": "npm:left-pad@1" } }`,
  "package.json": `{ "dependencies": { "left-pad": "1.0.0" } }`,
  "node_modules/left-pad/package.json": `{ "name": "left-pad", "version": "1.0.0", "main": "index.js" }`,
  "node_modules/left-pad/index.js": `module.exports = (text) => " " + text;`,
  "main.ts": `import { serve } from "martlet";
import { name } from "@/name.ts"; import type { T } from "lib";
import pad from "left-pad";
const later = () => import("@/later.ts");
export default serve({ "GET /": async () => ({ name: pad(name) as T, later: (await later()).later }) });`,
  ".martlet/mod.ts": "export const serve: any = () => {};",
  "src/name.ts": `export { name } from "lib";`,
  "src/later.ts": `export const later = "later";`,
  "lib/mod.ts": `export type T = string; export const name = "ada";`,
};

Deno.test("an app with an import map and packages runs in a worker that booted before it", async () => {
  await withWorker(files, async (worker) => {
    assert.equal(await freeze(worker.app, `${worker.app}/main.ts`), 2);
    const started = await worker.start();
    assert.equal(started.type, "started", started.message);
    assert.deepEqual(await (await worker.fetch("/")).json(), { name: " ada", later: "later" });
    assert.equal(await freeze(worker.app, `${worker.app}/main.ts`), 0, "a second run changes nothing");
  });
});

Deno.test("an app from a template has nothing to resolve, though the framework stays at home", async () => {
  const root = await Deno.makeTempDir({ prefix: "martlet-" });
  try {
    await Deno.writeTextFile(
      `${root}/main.ts`,
      `import { serve } from "martlet";\nexport default serve({});\n`,
    );
    for (const more of ["", `, "own/": "./lib/"`]) {
      const map = `{ "imports": { "martlet": "./.martlet/framework/mod.ts"${more} } }`;
      await Deno.writeTextFile(`${root}/deno.json`, map);
      assert.equal(await freeze(root, `${root}/main.ts`), 0);
    }
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("an import that leads nowhere is named with its place", async () => {
  await withWorker(
    { "main.ts": `import "@/gone.ts";`, "deno.json": `{ "imports": { "@/": "./src/" } }` },
    async (worker) => {
      await assert.rejects(freeze(worker.app, `${worker.app}/main.ts`), /gone\.ts/);
    },
  );
});
