import assert from "node:assert/strict";
import { withExample } from "../../Runtime/tests/example.ts";
import { connectWebSocket } from "../../Runtime/tests/websocket.ts";

const json = (value: unknown): RequestInit => ({
  body: JSON.stringify(value),
  headers: { "content-type": "application/json" },
});

Deno.test("todos are added, found, changed, listed and removed, and survive a restart", async () => {
  await withExample(import.meta.url, async ({ worker, again }) => {
    const post = await worker.fetch("/todos", {
      method: "POST",
      ...json({ title: "water", due: "2026-01-31T12:00:00Z" }),
    });
    assert.equal(post.status, 200);
    const made = { id: 1, title: "water", priority: "normal", done: false, due: "2026-01-31T12:00:00.000Z" };
    assert.deepEqual(await post.json(), made);
    const early = await worker.fetch("/todos/1", { method: "DELETE" });
    assert.deepEqual([early.status, (await early.json()).detail], [409, "it is not done yet"]);
    const patched = await worker.fetch("/todos/1", { method: "PATCH", ...json({ done: true }) });
    assert.deepEqual(await patched.json(), { ...made, done: true });
    await again(async (worker) => {
      assert.deepEqual(await (await worker.fetch("/todos?done=true&limit=5")).json(), [{
        ...made,
        done: true,
      }]);
      assert.deepEqual(await (await worker.fetch("/todos?done=false")).json(), []);
      const missing = await worker.fetch("/todos/99");
      assert.equal(missing.status, 404);
      assert.equal(missing.headers.get("content-type"), "application/problem+json");
      await missing.json();
      assert.equal((await worker.fetch("/todos/1", { method: "DELETE" })).status, 204);
      assert.deepEqual(await (await worker.fetch("/todos")).json(), []);
    });
  });
});

Deno.test("bad input is answered with each field, what was expected and what came", async () => {
  await withExample(import.meta.url, async ({ worker }) => {
    const errors = async (path: string, init?: RequestInit) => {
      const answer = await worker.fetch(path, init);
      assert.equal(answer.headers.get("content-type"), "application/problem+json");
      const body = await answer.json();
      assert.equal(answer.status, 400, JSON.stringify(body));
      return body.errors?.map(({ path, expected, got }: Record<string, string>) => [path, expected, got]);
    };
    const bad = { title: "", priority: "urgent", due: "tomorrow" };
    assert.deepEqual(await errors("/todos", { method: "POST", ...json(bad) }), [
      ["todo/title", "a string of at least 1 characters", '""'],
      ["todo/priority", '"low" or "normal" or "high"', '"urgent"'],
      ["todo/due", "a date and time such as 2026-01-31T12:00:00Z", '"tomorrow"'],
    ]);
    assert.deepEqual(await errors("/todos/one"), [["id", "a whole number", '"one"']]);
    assert.deepEqual(await errors("/todos?limit=0&done=maybe"), [
      ["done", "true or false", '"maybe"'],
      ["limit", "a whole number, at least 1 and at most 200", '"0"'],
    ]);
    assert.deepEqual(await errors("/todos", { method: "POST" }), [["todo", "an object", "nothing"]]);
    assert.equal(await errors("/todos", { method: "POST", ...json(null), body: "{" }), undefined);
  });
});

Deno.test("changes come as events, over a WebSocket, and the sweep runs by the clock", async () => {
  await withExample(import.meta.url, async ({ worker }) => {
    assert.deepEqual((await worker.message("started")).cron, ["0 4 * * *"]);
    const events = await worker.fetch("/events");
    const reader = events.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value!;
    const socket = await connectWebSocket(worker.socket, "/live");
    // The iterator starts with the first read; a todo made before would be missed by design.
    await (await worker.fetch("/todos", { method: "POST", ...json({ title: "a" }) })).json();
    assert.equal(JSON.parse((await socket.next()).text).title, "a");
    while (!/^data: \{.*"title":"a"/m.test(text)) text += (await reader.read()).value!;
    await reader.cancel();
    await socket.close();
    await (await worker.fetch("/todos/1", { method: "PATCH", ...json({ done: true }) })).json();
    await worker.send({ type: "cron", expr: "0 4 * * *", scheduledTime: 0, id: "c" });
    assert.equal((await worker.message("cronDone")).ok, true);
    assert.ok(worker.logs.some(({ text }) => text === "swept 1 todos"));
  });
});
