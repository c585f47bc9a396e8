extension Apps {
    /// Begins to attack its own databases and its move when it is asked to, in a thread of its own that goes on while the app
    /// is told to end.
    static let mover = [
        "main.ts": """
        import { DatabaseSync } from "node:sqlite";
        const data = Deno.env.get("MARTLET_DATA")!;
        const db = new DatabaseSync(data + "/main.db");
        db.exec("pragma journal_mode = wal; pragma busy_timeout = 100; create table if not exists t (n)");
        db.exec("insert into t values (randomblob(50000))");
        export default {
          async fetch(request: Request) {
            const url = new URL(request.url);
            if (url.pathname !== "/attack") return new Response("mover");
            const name = url.searchParams.get("case") ?? "";
            if (name === "linger") {
              globalThis.addEventListener("unload", () => {
                for (;;);
              });
              return new Response("begun");
            }
            if (name === "lock") db.exec("begin exclusive; insert into t values (randomblob(5000))");
            const thread = new Worker(new URL("./thread.ts", import.meta.url), { type: "module" });
            await new Promise((done) => {
              thread.onmessage = done;
              thread.postMessage({ name, data, victim: url.searchParams.get("victim") });
            });
            return new Response("begun");
          },
        };
        """,
        "thread.ts": """
        import { DatabaseSync } from "node:sqlite";
        const main = (data: string) => data + "/main.db";
        const attempt = (body: () => void) => {
          try {
            body();
          } catch {
            // The next one.
          }
        };
        const steps: Record<string, (data: string, victim: string, turn: number) => void> = {
          corrupt(data, _, turn) {
            const noise = crypto.getRandomValues(new Uint8Array(4096));
            for (const name of ["main.db", "main.db-wal", "main.db-shm"]) {
              attempt(() => {
                const file = Deno.openSync(`${data}/${name}`, { write: true });
                file.seekSync((turn % 12) * 4096, Deno.SeekMode.Start);
                file.writeSync(noise);
                file.close();
              });
            }
          },
          fill(data, _, turn) {
            attempt(() => Deno.writeFileSync(`${data}/part-${turn}`, new Uint8Array(128 << 10)));
            attempt(() => {
              const db = new DatabaseSync(main(data));
              db.exec("insert into t values (randomblob(200000))");
              db.close();
            });
          },
          lock(data) {
            attempt(() => {
              const db = new DatabaseSync(main(data));
              db.exec("pragma busy_timeout = 1; begin immediate; insert into t values (1)");
            });
          },
          swap(data, victim, turn) {
            attempt(() => Deno.renameSync(main(data), `${data}/moved.db`));
            attempt(() => Deno.symlinkSync(`${victim}/main.db`, main(data)));
            attempt(() => Deno.linkSync(`${data}/moved.db`, main(data)));
            attempt(() => Deno.mkdirSync(main(data)));
            attempt(() => Deno.removeSync(main(data)));
            if (turn % 3 === 0) attempt(() => Deno.writeTextFileSync(main(data), "no database"));
            attempt(() => Deno.removeSync(`${data}/main.db-wal`));
            attempt(() => Deno.renameSync(`${data}/moved.db`, main(data)));
          },
          many(data, _, turn) {
            if (turn > 40) return;
            attempt(() => {
              const db = new DatabaseSync(`${data}/${turn}.db`);
              db.exec("pragma journal_mode = wal; create table t (n); insert into t values (1)");
              db.close();
            });
          },
        };
        self.onmessage = (event: MessageEvent<{ name: string; data: string; victim: string }>) => {
          const { name, data, victim } = event.data;
          let turn = 0;
          const step = () => steps[name](data, victim, turn++);
          step();
          self.postMessage("begun");
          setInterval(step, name === "lock" || name === "many" ? 20 : 3);
        };
        """,
        "martlet.json":
            "{ \"limits\": { \"memory\": \"256MiB\", \"disk\": \"24MiB\", \"requestTimeout\": \"20s\" } }",
    ]
}
