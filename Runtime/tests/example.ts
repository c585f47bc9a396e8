/** Runs an example's folder in a worker, with the settings of its martlet.json. */
import { fromFileUrl, join } from "./paths.ts";
import { annotateApp, type TestWorker, withWorker } from "./fixture.ts";

export interface Example {
  worker: TestWorker;
  /** Stops the worker and goes on in a new one with the same data. */
  again(body: (worker: TestWorker) => Promise<void>): Promise<void>;
}

/** `testURL` is the URL of the test in the example's folder. */
export async function withExample(testURL: string, body: (example: Example) => Promise<void>): Promise<void> {
  const sourceFolder = fromFileUrl(new URL("./", testURL));
  const text = await Deno.readTextFile(join(sourceFolder, "martlet.json"));
  const settings = JSON.parse(text.replace(/^\s*\/\/.*$/gm, ""));
  const start = { app: settings.name, main: settings.main, env: settings.env ?? {} };
  const run = (data: string | undefined, inner: (worker: TestWorker) => Promise<void>) =>
    withWorker({}, async (worker) => {
      const schema = (await annotateApp(worker, settings.main)).path;
      const started = await worker.start({ ...start, schema });
      if (started.type !== "started") throw new Error(`the example did not start: ${started.message}`);
      await inner(worker);
    }, { sourceFolder, data });
  await run(undefined, (worker) =>
    body({
      worker,
      async again(next) {
        const status = await worker.stop();
        if (status.code !== 0) throw new Error(`the worker ended with ${status.code}: ${worker.stderr}`);
        await run(worker.data, next);
      },
    }));
}
