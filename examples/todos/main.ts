/** Todos with the framework. Open /docs for the API, made of the types below. */
import { database, HttpError, serve } from "martlet";

const db = database();
db.exec(`
  CREATE TABLE IF NOT EXISTS todos (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    priority TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    due TEXT
  ) STRICT;
`);

/** How much a todo matters. */
export type Priority = "low" | "normal" | "high";

/** What is written to make a todo. */
export interface NewTodo {
  /**
   * What is to be done.
   * @minLength 1
   * @maxLength 200
   * @example "water the plants"
   */
  title: string;
  /** @default "normal" */
  priority?: Priority;
  /** When it has to be done. */
  due?: Date;
}

/** A todo as it is kept. */
export interface Todo extends NewTodo {
  id: number;
  done: boolean;
  priority: Priority;
}

/** A row of the table. */
interface Row {
  id: number;
  title: string;
  priority: Priority;
  done: number;
  due: string | null;
}

const columns = "id, title, priority, done, due";
const listed = db.prepare(
  `SELECT ${columns} FROM todos WHERE done = coalesce(?, done) ORDER BY id DESC LIMIT ?`,
);
const found = db.prepare(`SELECT ${columns} FROM todos WHERE id = ?`);
const added = db.prepare(`INSERT INTO todos (title, priority, due) VALUES (?, ?, ?) RETURNING ${columns}`);
const changed = db.prepare(
  `UPDATE todos SET title = ?, priority = ?, done = ?, due = ? WHERE id = ? RETURNING ${columns}`,
);
const removed = db.prepare("DELETE FROM todos WHERE id = ?");
const swept = db.prepare("DELETE FROM todos WHERE done = 1");

/** Everyone who follows the changes. */
const followers = new Set<(todo: Todo) => void>();

function toTodo(row: unknown): Todo {
  const { due, done, ...rest } = row as Row;
  return { ...rest, done: done === 1, ...(due === null ? {} : { due: new Date(due) }) };
}

function tell(todo: Todo): Todo {
  for (const follower of followers) follower(todo);
  return todo;
}

/**
 * Todos, newest first.
 * @param done only those that are done, or not
 * @param limit how many at most @integer @minimum 1 @maximum 200
 */
export function listTodos(done?: boolean, limit = 50): Todo[] {
  return listed.all(done === undefined ? null : Number(done), limit).map(toTodo);
}

/**
 * One todo.
 * @param id its number @integer
 */
export function findTodo(id: number): Todo | null {
  const row = found.get(id);
  return row === undefined ? null : toTodo(row);
}

/** Adds a todo. */
export function addTodo(todo: NewTodo): Todo {
  return tell(toTodo(added.get(todo.title, todo.priority ?? "normal", todo.due?.toISOString() ?? null)));
}

/**
 * Changes a todo.
 * @param id its number @integer
 */
export function changeTodo(id: number, change: Partial<Omit<Todo, "id">>): Todo | null {
  const before = findTodo(id);
  if (before === null) return null;
  const { title, priority, done, due } = { ...before, ...change };
  return tell(toTodo(changed.get(title, priority, Number(done), due?.toISOString() ?? null, id)));
}

/**
 * Removes a todo that is done.
 * @param id its number @integer
 */
export function removeTodo(id: number): void {
  if (findTodo(id)?.done === false) throw new HttpError(409, "it is not done yet");
  removed.run(id);
}

/** Every change as it happens. */
export async function* follow(): AsyncGenerator<Todo> {
  let wake = () => {};
  const queue: Todo[] = [];
  const follower = (todo: Todo) => {
    // Who reads slower than others write misses the oldest.
    if (queue.push(todo) > 1_000) queue.shift();
    wake();
  };
  followers.add(follower);
  try {
    for (;;) {
      const todo = queue.shift();
      if (todo !== undefined) yield todo;
      else await new Promise<void>((resolve) => wake = resolve);
    }
  } finally {
    followers.delete(follower);
  }
}

/** The same over a WebSocket. */
export function live(socket: WebSocket): void {
  const follower = (todo: Todo) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(todo));
  };
  socket.onopen = () => followers.add(follower);
  socket.onclose = () => followers.delete(follower);
}

/** Removes what is done. */
export function sweep(): void {
  console.log(`swept ${swept.run().changes} todos`);
}

export default serve({
  "GET /": () => new Response(null, { status: 302, headers: { location: "/docs" } }),
  "GET /todos": listTodos,
  "GET /todos/:id": findTodo,
  "POST /todos": addTodo,
  "PATCH /todos/:id": changeTodo,
  "DELETE /todos/:id": removeTodo,
  "SSE /events": follow,
  "WS /live": live,
  "CRON 0 4 * * *": sweep,
}, { title: "Todos" });
