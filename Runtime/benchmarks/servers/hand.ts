import { add, isTodo } from "./todo.ts";

const refuse = (status: number, detail: string) => Response.json({ status, detail }, { status });

/** The request by hand: no router, no schema, what one function needs. */
export async function fetch(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  const match = /^\/lists\/([^/]+)\/todos$/.exec(pathname);
  if (match === null) return refuse(404, "no such path");
  if (request.method !== "POST") return refuse(405, "POST is needed");
  const id = Number(match[1]);
  if (!Number.isInteger(id)) return refuse(400, "id");
  let todo: unknown;
  try {
    todo = await request.json();
  } catch {
    return refuse(400, "the body is no JSON");
  }
  if (!isTodo(todo)) return refuse(400, "the body");
  return Response.json(add(todo, id));
}
