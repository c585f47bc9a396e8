/** What the command line says. */
export interface Arguments {
  /** Path of the unix socket on which the app is served. */
  serve: string;
  /** Path of the unix socket on which the host listens for this worker. */
  control: string;
}

/** The arguments, or what is wrong with them. */
export type ParsedArguments = { ok: true; value: Arguments } | { ok: false; message: string };

/** Linux keeps a socket's path in 108 bytes, the last of which is zero (unix(7)). */
const longestSocketPath = 107;

/** Reads `--serve PATH --control PATH` in any order; both are needed. */
export function parseArguments(words: readonly string[]): ParsedArguments {
  const found: Partial<Arguments> = {};
  for (let i = 0; i < words.length; i += 2) {
    const name = words[i]!;
    const value = words[i + 1];
    if (name !== "--serve" && name !== "--control") {
      return { ok: false, message: `unknown argument ${name}; there are --serve PATH and --control PATH` };
    }
    if (value === undefined || value === "") {
      return { ok: false, message: `${name} needs the path of a unix socket` };
    }
    if (new TextEncoder().encode(value).length > longestSocketPath) {
      return {
        ok: false,
        message: `${name} ${value}: longer than the ${longestSocketPath} bytes a unix socket allows`,
      };
    }
    found[name === "--serve" ? "serve" : "control"] = value;
  }
  if (found.serve === undefined) return { ok: false, message: "--serve PATH is missing" };
  if (found.control === undefined) return { ok: false, message: "--control PATH is missing" };
  return { ok: true, value: { serve: found.serve, control: found.control } };
}
