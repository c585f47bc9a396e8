/**
 * Upload and download of files. They are kept in SQLite, in pieces: databases are what Martlet
 * replicates and moves, and no file is ever in memory as a whole.
 */
import { DatabaseSync } from "node:sqlite";

const database = new DatabaseSync(`${Deno.env.get("MARTLET_DATA") ?? "."}/files.db`);
database.exec(`
  PRAGMA journal_mode = WAL;
  PRAGMA foreign_keys = ON;
  CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    size INTEGER NOT NULL DEFAULT -1
  ) STRICT;
  CREATE TABLE IF NOT EXISTS pieces (
    file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    number INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (file, number)
  ) STRICT, WITHOUT ROWID;
  -- What an upload left behind that never finished.
  DELETE FROM files WHERE size < 0;
`);
const addFile = database.prepare("INSERT INTO files (name, type) VALUES (?, ?) RETURNING id");
const addPiece = database.prepare("INSERT INTO pieces (file, number, bytes) VALUES (?, ?, ?)");
const finishFile = database.prepare("UPDATE files SET size = ? WHERE id = ? RETURNING id, name, type, size");
const removeFile = database.prepare("DELETE FROM files WHERE id = ?");
const listFiles = database.prepare(
  "SELECT id, name, type, size FROM files WHERE size >= 0 ORDER BY id DESC LIMIT 200",
);
const findFile = database.prepare("SELECT id, name, type, size FROM files WHERE id = ? AND size >= 0");
const findPiece = database.prepare("SELECT bytes FROM pieces WHERE file = ? AND number = ?");

interface Stored {
  id: number;
  name: string;
  type: string;
  size: number;
}

const pieceBytes = 256 * 1024;

class TooLarge extends Error {}

export default {
  async fetch(request: Request, env: Record<string, string>): Promise<Response> {
    const { pathname } = new URL(request.url);
    const longest = Number(env.LONGEST_FILE ?? 33_554_432);
    const id = /^\/files\/(\d{1,15})$/.exec(pathname)?.[1];
    const byName = /^\/files\/by-name\/([^/]+)$/.exec(pathname)?.[1];
    if (request.method === "GET" && pathname === "/") return page();
    if (request.method === "GET" && pathname === "/files") return Response.json(listFiles.all());
    if (request.method === "POST" && pathname === "/files") return await uploadForm(request, longest);
    if (request.method === "PUT" && byName !== undefined) return await uploadBody(request, byName, longest);
    if (request.method === "GET" && id !== undefined) return download(Number(id));
    if (request.method === "DELETE" && id !== undefined) {
      return new Response(null, { status: removeFile.run(Number(id)).changes === 0 ? 404 : 204 });
    }
    return new Response("not found\n", { status: 404 });
  },
};

/** A form of a browser: each of its files is kept. */
async function uploadForm(request: Request, longest: number): Promise<Response> {
  let form: FormData;
  try {
    form = await request.formData();
  } catch {
    return new Response("a form with files (multipart/form-data) is needed\n", { status: 400 });
  }
  const files = form.getAll("file").filter((value) => value instanceof File);
  if (files.length === 0) return new Response("the form has no file named `file`\n", { status: 400 });
  const stored: Stored[] = [];
  try {
    for (const file of files) stored.push(await keep(file.name, file.type, file.stream(), longest));
  } catch (error) {
    if (error instanceof TooLarge) return tooLarge(longest);
    throw error;
  }
  const wantsPage = request.headers.get("accept")?.includes("text/html") ?? false;
  if (wantsPage) return new Response(null, { status: 303, headers: { location: "/" } });
  return Response.json(stored, { status: 201 });
}

/** The bytes as the body: `curl -T photo.jpg …/files/by-name/photo.jpg`. */
async function uploadBody(request: Request, rawName: string, longest: number): Promise<Response> {
  if (Number(request.headers.get("content-length") ?? 0) > longest) return tooLarge(longest);
  let name: string;
  try {
    name = decodeURIComponent(rawName);
  } catch {
    return new Response("the name is not percent-encoded UTF-8\n", { status: 400 });
  }
  try {
    const body = request.body ?? new Blob([]).stream();
    const stored = await keep(name, request.headers.get("content-type") ?? "", body, longest);
    return Response.json(stored, { status: 201, headers: { location: `/files/${stored.id}` } });
  } catch (error) {
    if (error instanceof TooLarge) return tooLarge(longest);
    throw error;
  }
}

function tooLarge(longest: number): Response {
  return new Response(`a file may have at most ${longest} bytes\n`, { status: 413 });
}

/** Writes the stream piece by piece; a file that fails leaves nothing. */
async function keep(
  name: string,
  type: string,
  body: ReadableStream<Uint8Array>,
  longest: number,
): Promise<Stored> {
  const { id } = addFile.get(name.slice(0, 255) || "file", type || "application/octet-stream") as {
    id: number;
  };
  try {
    const piece = new Uint8Array(pieceBytes);
    let filled = 0, number = 0, size = 0;
    const flush = () => {
      if (filled > 0) addPiece.run(id, number++, piece.subarray(0, filled));
      filled = 0;
    };
    for await (let chunk of body) {
      size += chunk.length;
      if (size > longest) throw new TooLarge();
      while (chunk.length > 0) {
        const count = Math.min(chunk.length, pieceBytes - filled);
        piece.set(chunk.subarray(0, count), filled);
        filled += count;
        chunk = chunk.subarray(count);
        if (filled === pieceBytes) flush();
      }
    }
    flush();
    return finishFile.get(size, id) as unknown as Stored;
  } catch (error) {
    removeFile.run(id);
    throw error;
  }
}

function download(id: number): Response {
  const file = findFile.get(id) as Stored | undefined;
  if (file === undefined) return new Response("no such file\n", { status: 404 });
  let number = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const piece = findPiece.get(id, number++) as { bytes: Uint8Array } | undefined;
      if (piece === undefined) controller.close();
      else controller.enqueue(piece.bytes);
    },
  });
  return new Response(body, {
    headers: {
      "content-type": file.type,
      "content-length": String(file.size),
      // Never shown as a page of this address: an upload could be HTML with a script.
      "content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(file.name)}`,
      "x-content-type-options": "nosniff",
    },
  });
}

function page(): Response {
  const escape = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
  const list = (listFiles.all() as unknown as Stored[]).map(({ id, name, size }) =>
    `<li><a href="/files/${id}">${escape(name)}</a> <small>${size} bytes</small></li>`
  ).join("\n");
  return new Response(
    `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Files</title>
<style>body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }</style>
<h1>Files</h1>
<form method="post" action="/files" enctype="multipart/form-data"><input type="file" name="file" multiple required> <button>Upload</button></form>
<ul>${list}</ul>
</html>`,
    { headers: { "content-type": "text/html; charset=utf-8" } },
  );
}
