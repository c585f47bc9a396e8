import assert from "node:assert/strict";
import { annotateApp, runtimeFolder, withWorker } from "./fixture.ts";

/** A browser, where the machine has one (Debian: chromium). */
const browser = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find((path) => {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
});

Deno.test({
  name: "the API page shows every route in a browser, without anything from elsewhere",
  ignore: browser === undefined,
  fn: async () => {
    await withWorker({}, async (worker) => {
      await worker.start({ schema: (await annotateApp(worker)).path });
      const asked: string[] = [];
      const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
        const { pathname, search } = new URL(request.url);
        asked.push(pathname);
        return await worker.fetch(pathname + search);
      });
      try {
        const { stdout } = await new Deno.Command(browser!, {
          args: [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=20000",
            `--user-data-dir=${worker.folder}/browser`,
            "--dump-dom",
            `http://127.0.0.1:${server.addr.port}/docs#addTodo`,
          ],
          stderr: "null",
        }).output();
        const dom = new TextDecoder().decode(stdout);
        assert.equal(dom.match(/<details/g)?.length, 7, dom);
        assert.match(dom, /<details id="addTodo" open/);
        assert.match(dom, /priority\?: &quot;low&quot;|priority\?: /);
        assert.deepEqual(asked.filter((path) => path !== "/favicon.ico"), ["/docs", "/openapi.json"]);
        const page = await (await worker.fetch("/docs")).text();
        assert.doesNotMatch(page, /https?:\/\//);
        assert.ok(page.length < 12_000, `the page has ${page.length} bytes`);
      } finally {
        await server.shutdown();
      }
    }, { sourceFolder: `${runtimeFolder}/../examples/todos` });
  },
});

Deno.test("a title cannot become part of the page", async () => {
  const { docsPage } = await import("../martlet/docs_page.ts");
  const answer = docsPage("</title><script>alert(1)</script>$&");
  assert.doesNotMatch(await answer.text(), /<script>alert/);
  assert.match(answer.headers.get("content-security-policy")!, /default-src 'none'/);
});
