import { call } from "./kernel.ts";
import { type Attack, data, first } from "./targets.ts";

const text = (value: string) => new TextEncoder().encode(value + "\0");

async function run(path: string): Promise<string | null> {
  const output = await new Deno.Command(path, { args: ["--probe"], stdout: "piped", stderr: "piped" }).output();
  const said = new TextDecoder().decode(output.stdout);
  return said.includes("seccomp") ? `${path} ran` : null;
}

export const native: Record<string, Attack> = {
  "run an uploaded program": () => first([() => run("/app/native")]),

  "run a program that was written": () =>
    first([`${data}/native`, "/tmp/native", "/cache/native", "/dev/shm/native"].map((path) => () => {
      Deno.copyFileSync("/app/native", path);
      Deno.chmodSync(path, 0o755);
      return run(path);
    })),

  "run a program from memory": () =>
    first([() => {
      const fd = call(319, text("native"), 0);
      if (fd < 0) return null;
      Deno.writeFileSync(`/proc/self/fd/${fd}`, Deno.readFileSync("/app/native"));
      return run(`/proc/self/fd/${fd}`);
    }]),

  "run a program by the linker": () =>
    first(
      ["/lib64/ld-linux-x86-64.so.2", "/usr/lib64/ld-linux-x86-64.so.2"].map((linker) => async () => {
        const output = await new Deno.Command(linker, { args: ["/app/native.so"], stdout: "piped", stderr: "piped" }).output();
        const said = new TextDecoder().decode(output.stderr);
        return output.success || /GNU C Library/.test(said) ? `${linker} loaded it` : null;
      }),
    ),

  "load an uploaded library": () =>
    first(["/app/native.so", `${data}/native.so`].map((path) => () => {
      if (!path.startsWith("/app")) Deno.copyFileSync("/app/native.so", path);
      Deno.dlopen(path, { cos: { parameters: ["f64"], result: "f64" } });
      return `${path} was loaded`;
    })),

  "load an extension into SQLite": () =>
    first([async () => {
      const { DatabaseSync } = await import("node:sqlite");
      const database = new DatabaseSync(":memory:", { allowExtension: true });
      database.loadExtension("/app/native.so");
      return "loaded";
    }]),

  "start the runtime anew with other rights": () =>
    first([async () => {
      const code = `try { Deno.readDirSync("/proc/1/root/root"); console.log("escaped"); } catch { console.log("kept"); }
        try { Deno.connect({ hostname: "10.9.9.9", port: 8080 }).then(() => console.log("escaped"), () => {}); } catch {}
        setTimeout(() => Deno.exit(0), 1500);`;
      const output = await new Deno.Command("/bin/deno", { args: ["eval", code], stdout: "piped", stderr: "piped" }).output();
      return new TextDecoder().decode(output.stdout).includes("escaped") ? "a second runtime can do more" : null;
    }]),

  "open files from WebAssembly by WASI": (t) =>
    first(["/", "/proc/1/root", t.state].map((folder) => async () => {
      const { WASI } = await import("node:wasi");
      const wasi = new WASI({ version: "preview1", preopens: { "/": folder }, args: [], env: {} });
      const module = await WebAssembly.compile(Deno.readFileSync("/app/wasi.wasm"));
      const instance = await WebAssembly.instantiate(module, wasi.getImportObject() as WebAssembly.Imports);
      // Opens the path that it is given below the first folder, and returns the error: 0 for success.
      wasi.initialize?.(instance);
      const memory = new Uint8Array((instance.exports.memory as WebAssembly.Memory).buffer);
      const path = new TextEncoder().encode((folder === "/" ? t.state.slice(1) + "/" : "") + "host.key");
      memory.set(path, 64);
      const error = (instance.exports.open as (length: number) => number)(path.length);
      return error === 0 ? `opened ${folder}` : null;
    })),
};
