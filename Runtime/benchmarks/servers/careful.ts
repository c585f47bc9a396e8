import { add, isTodo } from "./todo.ts";

const refuse = (status: number, detail: string) => Response.json({ status, detail }, { status });
const mostBytes = 8 * 1024 * 1024;

/** By hand, with what an open endpoint needs beside: the type and the size of the body are looked at first. */
export async function fetch(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  const match = /^\/lists\/([^/]+)\/todos$/.exec(pathname);
  if (match === null) return refuse(404, "no such path");
  if (request.method !== "POST") return refuse(405, "POST is needed");
  const id = Number(match[1]);
  if (!Number.isInteger(id)) return refuse(400, "id");
  if (request.headers.get("content-type") !== "application/json") return refuse(415, "JSON is needed");
  const length = request.headers.get("content-length");
  if (length === null) return refuse(411, "a length is needed");
  if (Number(length) > mostBytes) return refuse(413, "the body is too large");
  let todo: unknown;
  try {
    todo = await request.json();
  } catch {
    return refuse(400, "the body is no JSON");
  }
  if (!isTodo(todo)) return refuse(400, "the body");
  return Response.json(add(todo, id));
}
