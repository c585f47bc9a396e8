/** Serves one side of `http.ts`: `main.ts SIDE`; the port is the first line of its output. */
const side = await import(`./${Deno.args[0]}.ts`) as {
  fetch: (request: Request) => Response | Promise<Response>;
  listen?: () => Promise<number>;
};
if (side.listen !== undefined) console.log(await side.listen());
else {
  const { fetch } = side;
  Deno.serve({
    port: 0,
    hostname: "127.0.0.1",
    onListen: ({ port }) => console.log(port),
  }, (request: Request) => fetch(request));
}
