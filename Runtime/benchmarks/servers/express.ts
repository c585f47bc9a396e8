import Module, { createRequire } from "node:module";
import { add, isTodo } from "./todo.ts";

/** Express of Debian (`node-express`) on `node:http` of this runtime; it serves by itself. */
const debian = "/usr/share/nodejs";
const lookup = (Module as any)._nodeModulePaths;
(Module as any)._nodeModulePaths = (from: string) => [...lookup.call(Module, from), debian];
const express = createRequire(`${debian}/`)("express");
const app = express();
app.use(express.json());
app.post("/lists/:id/todos", (request: any, response: any) => {
  const id = Number(request.params.id);
  if (!Number.isInteger(id) || !isTodo(request.body)) return response.status(400).json({ status: 400 });
  response.json(add(request.body, id));
});

export function listen(): Promise<number> {
  return new Promise((resolve) => {
    const server = app.listen(0, "127.0.0.1", () => resolve(server.address().port));
  });
}
