import { add, isTodo } from "./todo.ts";

/** Hono, from a checkout of its source (`MARTLET_HONO`); the checks by hand in its validator, which is its quickest way. */
const source = Deno.env.get("MARTLET_HONO")!;
const { Hono } = await import(`file://${source}/src/index.ts`);
const { validator } = await import(`file://${source}/src/validator/index.ts`);

const app = new Hono();
app.post(
  "/lists/:id/todos",
  validator("param", ({ id }: { id: string }, c: any) => {
    const number = Number(id);
    return Number.isInteger(number) ? { id: number } : c.json({ status: 400, detail: "id" }, 400);
  }),
  validator(
    "json",
    (value: unknown, c: any) => isTodo(value) ? value : c.json({ status: 400, detail: "the body" }, 400),
  ),
  (c: any) => c.json(add(c.req.valid("json"), c.req.valid("param").id)),
);
app.get("/lists/:id", (c: any) => c.notFound());
app.get("/", (c: any) => c.notFound());

export const fetch = app.fetch;
