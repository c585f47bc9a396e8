import assert from "node:assert/strict";
import { withExample } from "../../Runtime/tests/example.ts";

Deno.test("the guest book keeps entries across a restart of its worker", async () => {
  await withExample(import.meta.url, async ({ worker, again }) => {
    const form = new URLSearchParams({ name: "Ada", message: "first!" });
    const signed = await worker.fetch("/entries", { method: "POST", body: form, redirect: "manual" });
    assert.deepEqual([signed.status, signed.headers.get("location")], [303, "/"]);
    const json = await worker.fetch("/entries", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: "<b>Bob</b>", message: "hello & <script>alert(1)</script>" }),
    });
    assert.equal(json.status, 201);
    assert.equal((await json.json()).id, 2);
    await again(async (worker) => {
      const entries = await (await worker.fetch("/entries")).json();
      assert.deepEqual(entries.map((entry: { name: string }) => entry.name), ["<b>Bob</b>", "Ada"]);
      const page = await (await worker.fetch("/")).text();
      assert.match(page, /<title>Guest book<\/title>/);
      assert.match(page, /first!/);
      assert.doesNotMatch(page, /<script>|<b>Bob/);
    });
  });
});

Deno.test("the guest book refuses what it cannot keep", async () => {
  await withExample(import.meta.url, async ({ worker }) => {
    const post = async (body: string, type: string) => {
      const answer = await worker.fetch("/entries", {
        method: "POST",
        body,
        headers: { "content-type": type },
      });
      return [answer.status, await answer.text()];
    };
    assert.equal((await post("{", "application/json"))[0], 400);
    assert.equal((await post(`{"name":"","message":"x"}`, "application/json"))[0], 400);
    assert.equal((await post(`{"name":"x"}`, "application/json"))[0], 400);
    assert.equal((await post(`null`, "application/json"))[0], 400);
    assert.equal(
      (await post(JSON.stringify({ name: "x", message: "y".repeat(2001) }), "application/json"))[0],
      400,
    );
    assert.equal((await post("text", "text/plain"))[0], 400);
    const missing = await worker.fetch("/nowhere");
    assert.equal(missing.status, 404);
    await missing.text();
    assert.deepEqual(await (await worker.fetch("/entries")).json(), []);
  });
});
