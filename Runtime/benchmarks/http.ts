/**
 * What a request costs a server, as processor time of its process: the framework beside the same by hand in bare
 * Deno.serve, and beside other frameworks where their sources are at hand:
 *
 *     taskset -c 1 deno run --allow-all benchmarks/http.ts [--rounds N] [SIDE ...]
 *
 * Each side is a process of its own and is asked in turn, so that a busy machine troubles all alike. The first side is
 * the baseline; the median of the ratios of each round counts.
 */
const folder = new URL("./servers/", import.meta.url).pathname;
const requests = 2_000;
const text = JSON.stringify({ title: "water the plants", done: false, count: 3, kind: "a", note: "soon" });
const message = new TextEncoder().encode(
  `POST /lists/7/todos HTTP/1.1\r\nHost: a.localhost\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
);
const answer = JSON.stringify({ id: 7, ...JSON.parse(text) });

interface Server {
  name: string;
  child: Deno.ChildProcess;
  port: number;
}

async function start(name: string): Promise<Server> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-all",
      "--no-lock",
      "--quiet",
      "--sloppy-imports",
      "--config",
      `${folder}../../deno.json`,
      `${folder}main.ts`,
      name,
    ],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  return { name, child, port: Number(value) };
}

/** Processor time of all threads of a process so far, in nanoseconds (the first field of schedstat, proc(5)). */
function processorTime(pid: number): number {
  let sum = 0;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    sum += Number(Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`).split(" ")[0]);
  }
  return sum;
}

/** Sends requests one after the other on one connection. */
async function load(port: number, count: number): Promise<void> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const buffer = new Uint8Array(4096);
  for (let i = 0; i < count; i++) {
    await connection.write(message);
    const size = await connection.read(buffer);
    if (i === 0) {
      const got = new TextDecoder().decode(buffer.subarray(0, size ?? 0));
      if (!got.startsWith("HTTP/1.1 200") || !got.endsWith(answer)) throw new Error(`unexpected: ${got}`);
    }
  }
  connection.close();
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const args = [...Deno.args];
const at = args.indexOf("--rounds");
const rounds = at < 0 ? 60 : Number(args.splice(at, 2)[1]);
const names = args.length > 0 ? args : ["hand", "careful", "framework"];
const servers: Server[] = [];
try {
  for (const name of names) servers.push(await start(name));
  for (const { port } of servers) await load(port, 20_000);
  const times = servers.map(() => [] as number[]);
  for (let round = 0; round < rounds; round++) {
    for (const [i, { port, child }] of servers.entries()) {
      const began = processorTime(child.pid);
      await load(port, requests);
      times[i]!.push((processorTime(child.pid) - began) / 1000 / requests);
    }
  }
  for (const [i, { name }] of servers.entries()) {
    const ratios = times[i]!.map((time, round) => time / times[0]![round]!).toSorted((a, b) => a - b);
    console.log(
      `${name.padEnd(14)} ${median(times[i]!).toFixed(2).padStart(7)} µs of processor time  ${
        median(ratios).toFixed(2)
      }x (half of the rounds: ${ratios[ratios.length >> 2]!.toFixed(2)} to ${
        ratios[(ratios.length * 3) >> 2]!.toFixed(2)
      })`,
    );
  }
} finally {
  for (const { child } of servers) {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended: what it wrote says why.
    }
    await child.status;
  }
}
