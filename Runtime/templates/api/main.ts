import { database, serve } from "martlet";

const db = database();
db.exec("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT");

/** A note. */
export interface Note {
  id: number;
  /** @minLength 1 @maxLength 1000 */
  text: string;
}

const all = db.prepare("SELECT id, text FROM notes ORDER BY id DESC LIMIT ?");
const one = db.prepare("SELECT id, text FROM notes WHERE id = ?");
const insert = db.prepare("INSERT INTO notes (text) VALUES (?) RETURNING id, text");

/**
 * Notes, newest first.
 * @param limit how many at most @integer @minimum 1 @maximum 200
 */
export function listNotes(limit = 50): Note[] {
  return all.all(limit) as unknown as Note[];
}

/** One note. */
export function findNote(id: number): Note | null {
  return (one.get(id) as unknown as Note | undefined) ?? null;
}

/** Adds a note. */
export function addNote(note: Omit<Note, "id">): Note {
  return insert.get(note.text) as unknown as Note;
}

// The types above check the input and make the page /docs.
export default serve({
  "GET /notes": listNotes,
  "GET /notes/:id": findNote,
  "POST /notes": addNote,
});
