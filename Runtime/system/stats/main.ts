// Keeps what every app of this host used and how it fared, for an hour, in a database of its own. The host brings a sample
// every few seconds, and asks for sums; nobody else can reach this app.
import { DatabaseSync } from "node:sqlite";

/** What an app used between two samples; memory and the databases' size are as they were at the second. */
interface Sample {
  app: string;
  epoch: number;
  requests: number;
  errors: number;
  cpuMicroseconds: number;
  memoryBytes: number;
  databaseBytes: number;
  bytesIn: number;
  bytesOut: number;
  /** Requests by how long they took: pairs of an upper bound in microseconds and a count. */
  latency: [number, number][];
}

const keptMilliseconds = 3_600_000;
const db = new DatabaseSync(Deno.env.get("MARTLET_DATA") + "/stats.db");
db.exec(`
  pragma journal_mode = wal;
  pragma synchronous = off;
  create table if not exists samples (
    at integer not null, app text not null, epoch integer not null, requests integer not null, errors integer not null,
    cpu integer not null, memory integer not null, databases integer not null,
    bytes_in integer not null, bytes_out integer not null
  ) strict;
  create index if not exists samples_by_time on samples (at);
  create table if not exists latencies (
    at integer not null, app text not null, bound integer not null, count integer not null
  ) strict;
  create index if not exists latencies_by_time on latencies (at);
`);
const insert = db.prepare("insert into samples values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
const insertLatency = db.prepare("insert into latencies values (?, ?, ?, ?)");
const sums = db.prepare(`
  select app, max(epoch) as epoch, sum(requests) as requests, sum(errors) as errors, sum(cpu) as cpuMicroseconds,
    max(case when at = last then memory end) as memoryBytes, max(case when at = last then databases end) as databaseBytes,
    sum(bytes_in) as bytesIn, sum(bytes_out) as bytesOut
  from (select *, max(at) over (partition by app) as last from samples where at > ?) group by app order by app
`);
const latencies = db.prepare(
  "select app, bound, sum(count) as count from latencies where at > ? group by app, bound order by app, bound",
);

function keep(samples: Sample[]) {
  const now = Date.now();
  db.exec("begin");
  try {
    for (const one of samples) {
      insert.run(
        now,
        one.app,
        one.epoch,
        one.requests,
        one.errors,
        one.cpuMicroseconds,
        one.memoryBytes,
        one.databaseBytes,
        one.bytesIn,
        one.bytesOut,
      );
      for (const [bound, count] of one.latency) insertLatency.run(now, one.app, bound, count);
    }
    db.prepare("delete from samples where at < ?").run(now - keptMilliseconds);
    db.prepare("delete from latencies where at < ?").run(now - keptMilliseconds);
    db.exec("commit");
  } catch (error) {
    db.exec("rollback");
    throw error;
  }
}

/** The sums of the last so many milliseconds, by app. */
function loads(milliseconds: number) {
  const since = Date.now() - milliseconds;
  const buckets = Map.groupBy(
    latencies.all(since) as { app: string; bound: number; count: number }[],
    (row) => row.app,
  );
  return sums.all(since).map((row) => {
    const own = buckets.get(row.app as string) ?? [];
    return { ...row, p50Microseconds: quantile(own, 0.5), p99Microseconds: quantile(own, 0.99) };
  });
}

function quantile(buckets: { bound: number; count: number }[], share: number): number {
  const wanted = share * buckets.reduce((sum, bucket) => sum + bucket.count, 0);
  let seen = 0;
  for (const bucket of buckets) {
    seen += bucket.count;
    if (seen >= wanted) return bucket.bound;
  }
  return 0;
}

export default {
  async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (request.method === "POST" && url.pathname === "/samples") {
      keep(await request.json());
      return new Response(null, { status: 204 });
    }
    if (request.method === "GET" && url.pathname === "/loads") {
      return Response.json(loads(Number(url.searchParams.get("milliseconds") ?? keptMilliseconds)));
    }
    return new Response("There is nothing here.\n", { status: 404 });
  },
};
