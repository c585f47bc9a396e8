/**
 * Runs SQL on one database of an app and prints what it gave, as one line of JSON.
 *
 * Started by the host in a sandbox that sees the app's data folder alone:
 * `deno run <flags> database.ts --root <folder> <query as base64url>`.
 */
import { DatabaseSync } from "node:sqlite";

interface Query {
  database: string;
  sql: string;
  canWrite: boolean;
  mostRows: number;
}

/** Splits at semicolons outside of strings, names, comments and the bodies of triggers. */
export function split(sql: string): string[] {
  const parts: string[] = [];
  const pattern =
    /'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?\*\/|;|[^'"`[\-/;]+|[-/['"`]/g;
  let text = "";
  let isTrigger = false;
  for (const [piece] of sql.matchAll(pattern)) {
    text += piece;
    isTrigger ||= /^\s*create\s+(?:temp\w*\s+)?trigger\b/i.test(text);
    if (piece !== ";" || (isTrigger && !/\bend\s*;$/i.test(text))) continue;
    parts.push(text);
    text = "";
    isTrigger = false;
  }
  parts.push(text);
  return parts.filter((part) => part.replaceAll(/--[^\n]*|\/\*[\s\S]*?\*\/|[\s;]/g, "") !== "");
}

function cell(value: unknown): unknown {
  if (typeof value === "bigint") {
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
      ? Number(value)
      : String(value);
  }
  if (value instanceof Uint8Array) {
    return `x'${Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join("")}'`;
  }
  return value;
}

function run(root: string, query: Query): unknown {
  const database = new DatabaseSync(`${root}/${query.database}`, { readOnly: !query.canWrite });
  try {
    database.exec("PRAGMA busy_timeout = 5000");
    if (query.canWrite) database.exec("PRAGMA wal_autocheckpoint = 0; PRAGMA foreign_keys = ON");
    const statements = split(query.sql).map((sql) => {
      const statement = database.prepare(sql);
      statement.setReadBigInts(true);
      const columns = statement.columns().map(({ name }) => name);
      if (columns.length === 0) {
        return { columns, rows: [], changes: Number(statement.run().changes), isCut: false };
      }
      const rows: unknown[][] = [];
      let isCut = false;
      for (const row of statement.iterate() as Iterable<Record<string, unknown>>) {
        isCut = rows.length >= query.mostRows;
        if (isCut) break;
        rows.push(Object.values(row).map(cell));
      }
      return { columns, rows, changes: 0, isCut };
    });
    return { statements };
  } finally {
    database.close();
  }
}

if (import.meta.main) {
  const [, root, encoded] = Deno.args;
  let result: unknown;
  try {
    const bytes = Uint8Array.from(
      atob(encoded!.replaceAll("-", "+").replaceAll("_", "/")),
      (c) => c.charCodeAt(0),
    );
    result = run(root!, JSON.parse(new TextDecoder().decode(bytes)));
  } catch (error) {
    result = { error: error instanceof Error ? error.message : String(error) };
  }
  console.log(JSON.stringify(result));
}
