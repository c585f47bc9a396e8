import assert from "node:assert/strict";
import { withExample } from "../../Runtime/tests/example.ts";

/** Reads the identifiers of the next `count` events. */
async function identifiers(answer: Response, count: number): Promise<number[]> {
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  const found: number[] = [];
  let text = "";
  while (found.length < count) {
    const { value, done } = await reader.read();
    assert.equal(done, false, "the stream ended early");
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const id = /^id: (\d+)$/m.exec(text.slice(0, end))?.[1];
      if (id !== undefined) found.push(Number(id));
      text = text.slice(end + 2);
    }
  }
  await reader.cancel();
  return found;
}

Deno.test("every listener hears a press, and a client that comes back misses none", async () => {
  await withExample(import.meta.url, async ({ worker, again }) => {
    const press = async () => await (await worker.fetch("/press", { method: "POST" })).json();
    const one = await worker.fetch("/events");
    const two = await worker.fetch("/events");
    assert.equal(one.headers.get("content-type"), "text/event-stream");
    for (let i = 1; i <= 3; i++) assert.equal((await press()).id, i);
    assert.deepEqual(await identifiers(one, 3), [1, 2, 3]);
    assert.deepEqual(await identifiers(two, 3), [1, 2, 3]);
    await again(async (worker) => {
      const back = await worker.fetch("/events", { headers: { "last-event-id": "1" } });
      assert.deepEqual(await identifiers(back, 2), [2, 3]);
      const fresh = await worker.fetch("/events");
      assert.deepEqual(await identifiers(fresh, 1), [3]);
    });
  });
});

Deno.test("an open stream ends when the app stops, well within the grace", async () => {
  await withExample(import.meta.url, async ({ worker }) => {
    const open = await worker.fetch("/events");
    assert.equal((await worker.stop({ reason: "move", graceMs: 60_000 })).code, 0);
    assert.match(await open.text(), /^retry: 500/);
  });
});
