import { add } from "./todo.ts";

/** Hono with Zod as its users write it, from checkouts of their sources (`MARTLET_HONO`, `MARTLET_ZOD`). */
const source = Deno.env.get("MARTLET_HONO")!;
const { Hono } = await import(`file://${source}/src/index.ts`);
const { validator } = await import(`file://${source}/src/validator/index.ts`);
const { z } = await import(`file://${Deno.env.get("MARTLET_ZOD")}/packages/zod/src/index.ts`);

const todo = z.object({
  title: z.string().min(1),
  done: z.boolean(),
  count: z.int().min(0),
  kind: z.enum(["a", "b"]),
  note: z.string(),
});
const param = z.object({ id: z.coerce.number().int() });
const checked = (target: string, schema: any) =>
  validator(target, (value: unknown, c: any) => {
    const result = schema.safeParse(value);
    return result.success ? result.data : c.json({ status: 400, issues: result.error.issues }, 400);
  });

const app = new Hono();
app.post(
  "/lists/:id/todos",
  checked("param", param),
  checked("json", todo),
  (c: any) => c.json(add(c.req.valid("json"), c.req.valid("param").id)),
);
app.get("/lists/:id", (c: any) => c.notFound());
app.get("/", (c: any) => c.notFound());

export const fetch = app.fetch;
