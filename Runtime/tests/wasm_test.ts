import assert from "node:assert/strict";
import { parseAnswer, variables } from "../harness/wasi/cgi.ts";
import { below } from "../harness/wasi/files.ts";
import { join } from "./paths.ts";
import { runtimeFolder, withWorker } from "./fixture.ts";

/** Builds a module of WebAssembly with clang and wasm-ld, or says why it cannot be. */
async function build(source: string, ...flags: string[]): Promise<Uint8Array | null> {
  const out = await Deno.makeTempFile({ suffix: ".wasm" });
  try {
    const { code, stderr } = await new Deno.Command("clang", {
      args: [
        "--target=wasm32-unknown-unknown",
        "-O1",
        "-fno-builtin",

        "-nostdlib",
        "-Wl,--no-entry",
        ...flags,
        "-o",
        out,
        source,
      ],
    }).output();
    if (code === 0) return await Deno.readFile(out);
    console.log(`no module was built: ${new TextDecoder().decode(stderr).split("\n", 1)[0]}`);
  } catch (error) {
    console.log(`no module was built: ${(error as Error).message}`);
  } finally {
    await Deno.remove(out).catch(() => {});
  }
  return null;
}

const cgi = await build(join(runtimeFolder, "tests/wasm/cgi.c"));

Deno.test({
  name: "a WASI module answers requests in the manner of CGI and keeps files in its data folder",
  ignore: cgi === null,
  async fn() {
    await withWorker({ "main.wasm": cgi! }, async (worker) => {
      await Deno.writeTextFile(`${worker.data}/../secret`, "not yours");
      const started = await worker.start({ main: "main.wasm", env: { SETTING: "set" } });
      assert.equal(started.type, "started", started.message);
      const answer = await worker.fetch("/a%20b?q=1", {
        method: "POST",
        body: "the body",
        headers: { "x-greeting": "hello" },
      });
      assert.deepEqual([answer.status, answer.headers.get("x-made-by")], [200, "wasm"]);
      assert.equal(await answer.text(), "POST /a b q=1 hello set the body run 1");
      const missing = await worker.fetch("/missing");
      assert.equal(missing.status, 404);
      assert.match(await missing.text(), /run 2$/);
      assert.equal(await Deno.readTextFile(`${worker.data}/runs`), "xx");
      // 76 is `notcapable`.
      assert.equal(await (await worker.fetch("/escape")).text(), "76");
      const failed = await worker.fetch("/exit");
      assert.equal(failed.status, 500);
      await failed.text();
      await worker.until("the log", () => worker.logs.find(({ text }) => text.includes("status 3")));
      assert.ok(worker.logs.some(({ text, level }) => text === "a line of the log" && level === "error"));
      assert.equal((await worker.stop()).code, 0);
    });
  },
});

Deno.test({
  name: "TypeScript imports functions of a WebAssembly module",
  ignore: cgi === null,
  async fn() {
    const source = await Deno.makeTempFile({ suffix: ".c" });
    await Deno.writeTextFile(
      source,
      `__attribute__((export_name("add"))) int add(int a, int b) { return a + b; }`,
    );
    const module = await build(source);
    await Deno.remove(source);
    await withWorker({
      "main.ts":
        `import { add } from "./lib/add.wasm";\nexport default { fetch: () => new Response(String(add(40, 2))) };`,
      "lib/add.wasm": module!,
    }, async (worker) => {
      const started = await worker.start();
      assert.equal(started.type, "started", started.message);
      assert.equal(await (await worker.fetch("/")).text(), "42");
    });
  },
});

/** A section of a module: its number, its length, its content (WebAssembly core 5.5). */
const section = (id: number, ...content: number[]) => [id, content.length, ...content];
const text = (value: string) => [value.length, ...new TextEncoder().encode(value)];

/** A module by hand: writes `output` and returns. */
function handMade(output: string, from = "wasi_snapshot_preview1"): Uint8Array {
  const [i32, func, end] = [0x7f, 0x60, 0x0b];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, 2, func, 4, i32, i32, i32, i32, 1, i32, func, 0, 0),
    ...section(2, 1, ...text(from), ...text("fd_write"), 0, 0),
    ...section(3, 1, 1),
    ...section(5, 1, 0, 1),
    ...section(7, 2, ...text("memory"), 2, 0, ...text("_start"), 0, 1),
    // fd_write(1, 0, 1, 8), and its result is dropped.
    ...section(10, 1, 14, 0, 0x41, 1, 0x41, 0, 0x41, 1, 0x41, 8, 0x10, 0, 0x1a, 0x0f, end),
    ...section(
      11,
      2,
      0,
      0x41,
      0,
      end,
      8,
      16,
      0,
      0,
      0,
      output.length,
      0,
      0,
      0,
      0,
      0x41,
      16,
      end,
      ...text(output),
    ),
  ]);
}

Deno.test("a module that was made by hand answers, and what it writes is an answer or an error", async () => {
  await withWorker({ "main.wasm": handMade("Content-Type: text/x\n\nhello") }, async (worker) => {
    const started = await worker.start({ main: "main.wasm" });
    assert.equal(started.type, "started", started.message);
    const answer = await worker.fetch("/");
    assert.deepEqual([answer.headers.get("content-type"), await answer.text()], ["text/x", "hello"]);
  });
  await withWorker({ "main.wasm": handMade("hello") }, async (worker) => {
    await worker.start({ main: "main.wasm" });
    const answer = await worker.fetch("/");
    assert.equal(answer.status, 500);
    await answer.text();
    assert.ok(worker.logs.some(({ text }) => text.includes("no empty line after its headers")));
  });
});

Deno.test("a module that is no command of WASI preview 1 is refused at its start", async () => {
  for (
    const [module, message] of [
      [handMade("x", "env"), /imports from "env"; only WASI preview 1/],
      [new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]), /no WASI command/],
      [new TextEncoder().encode("no module"), /WebAssembly/],
    ] as const
  ) {
    await withWorker({ "main.wasm": module }, async (worker) => {
      const started = await worker.start({ main: "main.wasm" });
      assert.equal(started.type, "failed");
      assert.match(started.message, message);
    });
  }
});

Deno.test("paths of a module stay below their folder", () => {
  assert.equal(below("/d", "a/./b//c"), "/d/a/b/c");
  assert.equal(below("/d", "a/../b"), "/d/b");
  assert.equal(below("/d", "."), "/d");
  for (const path of ["..", "a/../../b", "/etc", "a\0b"]) assert.equal(below("/d", path), null);
});

Deno.test("an answer in the manner of CGI is read by its rules", async () => {
  const read = (text: string) => parseAnswer(new TextEncoder().encode(text));
  assert.equal(read("Location: /x\n\n").status, 302);
  const odd = read("Status: 201 Made\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nx\n\ny");
  assert.deepEqual([odd.status, odd.headers.getSetCookie(), await odd.text()], [
    201,
    ["a=1", "b=2"],
    "x\n\ny",
  ]);
  for (const bad of ["", "x\n\n", "Status: 99\n\n", "Status: abc\n\n", "A: b\n"]) {
    assert.throws(() => read(bad));
  }
  const made = variables(new Request("https://a.example/x?y", { headers: { proxy: "http://evil" } }), 0);
  assert.deepEqual([made.HTTP_PROXY, made.HTTPS, made.SERVER_PORT], [undefined, "on", "443"]);
});
