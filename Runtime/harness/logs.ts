import { currentRequestID } from "../martlet/internal/scope.ts";

/** The severity of a line. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** The longest text of one log line, in characters. */
export const longestText = 16_384;

/** A line that starts with this byte (ASCII record separator) is a record of the harness; others are plain text. */
export const recordMark = "\x1e";

const encoder = new TextEncoder();
const stdout = Deno.stdout;
const writeSync = stdout.writeSync.bind(stdout);
const stringify = JSON.stringify;
const encode = encoder.encode.bind(encoder);

/** Makes the record of one line, without the line's end. */
export function logRecord(
  level: LogLevel,
  text: string,
  requestID: string | null,
  time: Date,
  source?: "martlet",
): string {
  if (text.length > longestText) {
    text = `${text.slice(0, longestText)}… (${text.length - longestText} characters more)`;
  }
  const record: Record<string, unknown> = { level, requestId: requestID, text, time: time.toISOString() };
  if (source !== undefined) record.source = source;
  return recordMark + stringify(record);
}

/** Writes one record to standard output. `source` marks lines of the harness itself. */
export function log(level: LogLevel, text: string, source?: "martlet", requestID?: string | null): void {
  const id = requestID === undefined ? currentRequestID() : requestID;
  const bytes = encode(logRecord(level, text, id, new Date(), source) + "\n");
  try {
    for (let sent = 0; sent < bytes.length;) sent += writeSync(bytes.subarray(sent));
  } catch {
    // The host closed the pipe: there is nobody left to tell.
  }
}

/** Deno numbers the levels of its console from 0 (debug) to 3 (error). */
const levels: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** The constructor of Deno's console, which takes the function that prints. */
type ConsoleConstructor = new (print: (text: string, level: number) => void) => Console;

/** Replaces `console` by Deno's own console with a printer that writes records. */
export function patchConsole(DenoConsole: ConsoleConstructor): void {
  const replacement = new DenoConsole((text, level) => {
    log(levels[level] ?? "info", text.endsWith("\n") ? text.slice(0, -1) : text);
  });
  // `clear` would write a terminal's escape codes.
  replacement.clear = () => {};
  globalThis.console = replacement;
}
