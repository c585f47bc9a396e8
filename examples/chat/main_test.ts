import assert from "node:assert/strict";
import { withExample } from "../../Runtime/tests/example.ts";
import { connectWebSocket, type WebSocketClient } from "../../Runtime/tests/websocket.ts";

/** The next chat message, past the notes of who is there. */
async function message(client: WebSocketClient): Promise<{ id: number; name: string; text: string }> {
  for (;;) {
    const frame = await client.next();
    assert.equal(frame.code, undefined, `closed: ${frame.text}`);
    const value = JSON.parse(frame.text);
    if (value.people === undefined) return value;
  }
}

Deno.test("people in the chat hear each other, and the history survives a restart", async () => {
  await withExample(import.meta.url, async ({ worker, again }) => {
    const ada = await connectWebSocket(worker.socket, "/live?name=Ada");
    const bob = await connectWebSocket(worker.socket, "/live?name=Bob");
    await ada.send("hello");
    assert.deepEqual([(await message(ada)).text, (await message(bob)).name], ["hello", "Ada"]);
    await bob.send("hej");
    await bob.send("hvordan går det?");
    assert.equal((await message(ada)).text, "hej");
    assert.equal((await message(ada)).text, "hvordan går det?");
    await ada.close();
    await bob.close();
    await again(async (worker) => {
      const late = await connectWebSocket(worker.socket, "/live?name=Late");
      assert.deepEqual([(await message(late)).text, (await message(late)).text], ["hello", "hej"]);
      const back = await connectWebSocket(worker.socket, "/live?name=Ada&after=2");
      assert.equal((await message(back)).text, "hvordan går det?");
      await late.close();
      await back.close();
    });
  });
});

Deno.test("the chat refuses plain requests and closes on messages that are too long", async () => {
  await withExample(import.meta.url, async ({ worker }) => {
    const plain = await worker.fetch("/live");
    assert.equal(plain.status, 426);
    await plain.text();
    assert.match(await (await worker.fetch("/")).text(), /<title>Chat/);
    const client = await connectWebSocket(worker.socket, "/live");
    await client.next();
    await client.send("x".repeat(4001));
    assert.equal((await client.next()).code, 1009);
  });
});
