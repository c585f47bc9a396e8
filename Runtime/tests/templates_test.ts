import assert from "node:assert/strict";
import { annotateApp, runtimeFolder, withWorker } from "./fixture.ts";
import { join } from "./paths.ts";

/** Copies a folder with all that is in it. */
async function copy(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const entry of Deno.readDir(from)) {
    if (entry.isDirectory) await copy(join(from, entry.name), join(to, entry.name));
    else await Deno.copyFile(join(from, entry.name), join(to, entry.name));
  }
}

for (const name of ["api", "chat", "plain"]) {
  Deno.test(`a new app from the template ${name} compiles without a network and answers`, async () => {
    await withWorker({}, async (worker) => {
      await copy(join(runtimeFolder, "templates", name), worker.app);
      await copy(join(runtimeFolder, "martlet"), join(worker.app, ".martlet", "framework"));
      const check = await new Deno.Command(Deno.execPath(), {
        args: ["check", "--quiet", "--no-remote", "main.ts"],
        cwd: worker.app,
        env: { NO_COLOR: "1" },
      }).output();
      assert.equal(check.code, 0, new TextDecoder().decode(check.stderr));
      const started = await worker.start({ schema: (await annotateApp(worker)).path });
      assert.equal(started.type, "started", started.message);
      const answer = await worker.fetch(name === "api" ? "/notes" : "/");
      assert.equal(answer.status, 200);
      await answer.text();
      assert.equal((await worker.stop()).code, 0);
    });
  });
}

const guide = await Deno.readTextFile(join(runtimeFolder, "../docs/framework.md"));

Deno.test("every block of the guide is tried here, also the script for a browser", () => {
  const languages = [...guide.matchAll(/^```(\w*)$/gm)].map((match) => match[1]!).filter((name) =>
    name !== ""
  );
  assert.deepEqual(new Set(languages), new Set(["ts", "json", "js", "ini"]));
  const scripts = [...guide.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1]!);
  assert.equal(scripts.length, languages.filter((name) => name === "js").length);
  for (const script of scripts) {
    const pages: number[] = [];
    const socket: { onclose?: (event: { code: number }) => void } = {};
    new Function("socket", "location", script)(socket, { reload: () => pages.push(1) });
    socket.onclose!({ code: 1012 });
    socket.onclose!({ code: 1001 });
    assert.deepEqual(pages, [1]);
  }
});

const blocks = [...guide.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]!);

for (const [i, block] of blocks.entries()) {
  Deno.test(`program ${i + 1} of the guide compiles, has types for every route, and starts`, async () => {
    await withWorker({
      "main.ts": block,
      "deno.json": `{ "imports": { "martlet": "${runtimeFolder}/martlet/mod.ts" } }`,
    }, async (worker) => {
      const check = await new Deno.Command(Deno.execPath(), {
        args: ["check", "--quiet", "main.ts"],
        cwd: worker.app,
        env: { NO_COLOR: "1" },
      }).output();
      assert.equal(check.code, 0, new TextDecoder().decode(check.stderr));
      const { path, warnings } = await annotateApp(worker);
      assert.deepEqual(warnings, []);
      const started = await worker.start({ schema: path });
      assert.equal(started.type, "started", started.message);
      if (i === 0) {
        const shown = JSON.parse(/```json\n([\s\S]*?)```/.exec(guide)![1]!);
        const answer = await worker.fetch("/books", {
          method: "POST",
          body: `{"title":""}`,
          headers: { "content-type": "application/json" },
        });
        assert.deepEqual(await answer.json(), shown);
        const made = await worker.fetch("/books", {
          method: "POST",
          body: `{"title":"Emil"}`,
          headers: { "content-type": "application/json" },
        });
        assert.equal((await made.json()).id, 1);
        assert.equal((await (await worker.fetch("/books")).json()).length, 1);
      }
    });
  });
}
