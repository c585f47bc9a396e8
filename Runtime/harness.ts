/**
 * The worker: a Deno process that boots, waits in the host's pool, is handed one app, and serves it.
 *
 *     boot ──► ready ──start──► starting ──► started ──stop──► stopping ──► exit 0
 *                                  │                              ▲
 *                                  ├──► failed ──► exit 3         │
 *                                  └────────────stop──────────────┘
 *     host gone: exit 4 from every state · boot failed: exit 5 · wrong arguments: exit 2
 *
 * Started by the host as
 * `deno run <flags> harness.ts --serve <socket> --control <socket>`; see docs/framework.md.
 */
import { parseArguments } from "./harness/arguments.ts";
import { Boot } from "./harness/boot.ts";
import { ExitCode } from "./harness/exit_code.ts";
import { Worker } from "./harness/worker.ts";

// Captured before any user code can replace it.
const exit = Deno.exit.bind(Deno);

const parsed = parseArguments(Deno.args);
if (!parsed.ok) {
  Deno.stderr.writeSync(new TextEncoder().encode(`harness: ${parsed.message}\n`));
  exit(ExitCode.usage);
} else {
  try {
    const worker = new Worker(exit);
    await Boot.run(parsed.value, worker);
    exit(await worker.run());
  } catch (error) {
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    Deno.stderr.writeSync(new TextEncoder().encode(`harness: boot failed: ${text}\n`));
    exit(ExitCode.boot);
  }
}
