import type { HandlerSchema, Schema } from "../../martlet/schema.ts";

/** What the benchmark's request adds: five fields of which three have rules. */
export interface Todo {
  title: string;
  done: boolean;
  count: number;
  kind: "a" | "b";
  note: string;
}

/** The handler that every server calls. */
export function add(todo: Todo, id: number): Todo & { id: number } {
  return { id, title: todo.title, done: todo.done, count: todo.count, kind: todo.kind, note: todo.note };
}

const body: Schema = {
  type: "object",
  properties: {
    title: { type: "string", minLength: 1 },
    done: { type: "boolean" },
    count: { type: "integer", minimum: 0 },
    kind: { type: "string", enum: ["a", "b"] },
    note: { type: "string" },
  },
  required: ["title", "done", "count", "kind", "note"],
};

/** What the types of `add` say, as `annotate.ts` would write it down. */
export const addSchema: HandlerSchema = {
  name: "add",
  module: "todo.ts",
  parameters: [
    { name: "todo", required: true, schema: body },
    { name: "id", required: true, schema: { type: "integer" } },
  ],
  returns: {
    schema: { type: "object" },
    isNullable: false,
    isVoid: false,
    isResponse: false,
    isStream: false,
  },
};

/** The same rules as code. */
export function isTodo(value: any): value is Todo {
  return typeof value === "object" && value !== null && typeof value.title === "string" &&
    value.title.length > 0 && typeof value.done === "boolean" && Number.isInteger(value.count) &&
    value.count >= 0 && (value.kind === "a" || value.kind === "b") && typeof value.note === "string";
}
