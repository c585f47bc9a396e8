import assert from "node:assert/strict";
import { apply, freeze, frozen, relative } from "../resolve.ts";
import { runtimeFolder, withWorker } from "./fixture.ts";

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

/** A JSR registry with one package of two modules, which imports another package's. */
async function withRegistry(body: (origin: string, asked: string[]) => Promise<void>): Promise<void> {
  const modules: Record<string, Record<string, string>> = {
    "@x/loud": {
      "/mod.ts": `import { twice } from "./src/twice.ts";\nimport { end } from "jsr:@x/end@1/mark";\n` +
        `export const shout = (text: string): string => twice(text).toUpperCase() + end;\n`,
      "/src/twice.ts": `export const twice = (text: string): string => text + text;\n`,
    },
    "@x/end": { "/mark.ts": `export const end: string = "!";\n` },
  };
  const files: Record<string, string> = {};
  for (const [name, own] of Object.entries(modules)) {
    const [scope, short] = name.slice(1).split("/");
    files[`/${name}/meta.json`] = JSON.stringify({
      scope,
      name: short,
      latest: "1.0.0",
      versions: { "1.0.0": {} },
    });
    const manifest: Record<string, { size: number; checksum: string }> = {};
    for (const [path, text] of Object.entries(own)) {
      files[`/${name}/1.0.0${path}`] = text;
      const bytes = new TextEncoder().encode(text);
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      manifest[path] = { size: bytes.length, checksum: `sha256-${digest.toHex()}` };
    }
    const exports = { ".": "./mod.ts", "./mark": "./mark.ts" };
    files[`/${name}/1.0.0_meta.json`] = JSON.stringify({ manifest, exports });
  }
  const asked: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const { pathname } = new URL(request.url);
    asked.push(pathname);
    const text = files[pathname];
    return text === undefined ? new Response("no such file", { status: 404 }) : new Response(text, {
      headers: { "content-type": pathname.endsWith(".json") ? "application/json" : "application/typescript" },
    });
  });
  try {
    await body(`http://127.0.0.1:${server.addr.port}/`, asked);
  } finally {
    await server.shutdown();
  }
}

Deno.test("modules of a registry and of an address are copied into the app, and nothing is fetched later", async () => {
  await withRegistry(async (origin, asked) => {
    const files = {
      "deno.json":
        `{ "imports": { "loud": "jsr:@x/loud@^1.0.0", "twice": "${origin}@x/loud/1.0.0/src/twice.ts" } }`,
      "main.ts": `import { shout } from "loud";
import { twice } from "twice";
import { end } from "jsr:@x/end@1/mark";
export default { fetch: () => new Response(shout("a") + twice("b") + end) };`,
    };
    await withWorker(files, async (worker) => {
      // As a deploy runs it: a process of its own, whose environment names the registry.
      const resolve = () =>
        new Deno.Command(Deno.execPath(), {
          args: ["run", "--allow-all", "--no-lock", `${runtimeFolder}/resolve.ts`]
            .concat(["--root", worker.app, "--main", `${worker.app}/main.ts`]),
          env: { JSR_URL: origin, DENO_DIR: `${worker.folder}/cache`, NO_COLOR: "1" },
        }).output();
      const first = await resolve();
      assert.equal(first.code, 0, new TextDecoder().decode(first.stderr));
      const count = asked.length;
      assert.ok(count > 0);
      const started = await worker.start();
      assert.equal(started.type, "started", started.message);
      assert.equal(await (await worker.fetch("/")).text(), "AA!bb!");
      assert.equal(asked.length, count);
      await Deno.writeTextFile(`${worker.app}/main.ts`, `import "jsr:@x/none@1";\n`);
      const missing = await resolve();
      assert.equal(missing.code, 1);
      assert.match(new TextDecoder().decode(missing.stderr), /@x\/none/);
    });
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
