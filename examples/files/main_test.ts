import assert from "node:assert/strict";
import { withExample } from "../../Runtime/tests/example.ts";

/** Bytes that differ everywhere, so that a lost or swapped piece shows. */
function pattern(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 17 + (i >> 16)) & 255;
  return bytes;
}

Deno.test("an uploaded file comes back byte for byte, also after a restart", async () => {
  await withExample(import.meta.url, async ({ worker, again }) => {
    const large = pattern(3 * 1024 * 1024 + 17);
    const put = await worker.fetch("/files/by-name/k%C3%B8b%20<1>.bin", {
      method: "PUT",
      body: large,
      headers: { "content-type": "image/x-test" },
    });
    assert.equal(put.status, 201);
    const stored = await put.json();
    assert.deepEqual(stored, { id: 1, name: "køb <1>.bin", type: "image/x-test", size: large.length });
    const form = new FormData();
    form.append("file", new File([pattern(10)], "ten.bin"));
    form.append("file", new File([], "none.txt", { type: "text/plain" }));
    assert.equal((await (await worker.fetch("/files", { method: "POST", body: form })).json()).length, 2);
    await again(async (worker) => {
      const got = await worker.fetch("/files/1");
      assert.equal(got.headers.get("content-type"), "image/x-test");
      assert.match(got.headers.get("content-disposition")!, /^attachment; filename\*=UTF-8''k%C3%B8b/);
      assert.deepEqual(new Uint8Array(await got.arrayBuffer()), large);
      assert.equal((await (await worker.fetch("/files/3")).arrayBuffer()).byteLength, 0);
      assert.doesNotMatch(await (await worker.fetch("/")).text(), /<1>/);
      assert.equal((await worker.fetch("/files/1", { method: "DELETE" })).status, 204);
      const gone = await worker.fetch("/files/1");
      assert.equal(gone.status, 404);
      await gone.text();
    });
  });
});

Deno.test("a file that is too large is refused and leaves nothing", async () => {
  await withExample(import.meta.url, async ({ worker }) => {
    const named = await worker.fetch("/files/by-name/big", { method: "PUT", body: pattern(33_554_433) });
    assert.equal(named.status, 413);
    assert.match(await named.text(), /at most 33554432 bytes/);
    // Without a length, it shows only while it comes.
    let left = 34;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (left-- > 0) controller.enqueue(pattern(1024 * 1024));
        else controller.close();
      },
    });
    const streamed = await worker.fetch("/files/by-name/big", { method: "PUT", body: stream });
    assert.equal(streamed.status, 413);
    await streamed.text();
    assert.deepEqual(await (await worker.fetch("/files")).json(), []);
  });
});

Deno.test("requests without a file are refused with a reason", async () => {
  await withExample(import.meta.url, async ({ worker }) => {
    const text = await worker.fetch("/files", { method: "POST", body: "no form" });
    assert.equal(text.status, 400);
    assert.match(await text.text(), /multipart/);
    const form = new FormData();
    form.append("other", "x");
    const empty = await worker.fetch("/files", { method: "POST", body: form });
    assert.match(await empty.text(), /no file named/);
    assert.equal((await worker.fetch("/files/99", { method: "DELETE" })).status, 404);
  });
});
