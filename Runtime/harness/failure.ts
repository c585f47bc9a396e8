import type { FailureReport } from "./messages.ts";

// deno-lint-ignore no-control-regex
const colours = /\x1b\[[0-9;]*m/g;

/** A position as Deno writes it: `file:///app/main.ts:3:5`, in a message or in a frame of a stack. */
const position = /(file:\/\/[^\s()'"]+?):(\d+):(\d+)/g;

/** What people most often have to do about an import that failed, found by Deno's message. */
const hints: readonly [RegExp, string][] = [
  [
    /not a dependency and not in import map/,
    "add the package to package.json (or the name to the imports of deno.json) and deploy again",
  ],
  [/Module not found "file:/, "check the path and the ending of the file name (.ts is not added by itself)"],
  [
    /Cannot find module|Could not resolve "npm:/,
    "is the package in package.json, and its version installed?",
  ],
  [/Requires read access to/, "an app can import only files that are uploaded with it"],
  [
    /Requires net access|--no-remote|remote specifier/i,
    "remote modules are resolved at deploy; name them in the imports of deno.json",
  ],
];

/** Says why the start of an app failed, with the place in the app's own source. */
export function describeFailure(
  phase: FailureReport["phase"],
  error: unknown,
  runtimeURL: string,
): FailureReport {
  const isError = error instanceof Error;
  const bare = (isError ? error.message : `a value that is no Error was thrown: ${inspect(error)}`)
    .replace(colours, "")
    .replace("The module's source code could not be parsed", "SyntaxError");
  const stack = isError && typeof error.stack === "string" ? error.stack.replace(colours, "") : undefined;
  // Errors of Deno's loader name their place in the message; the class they happen to have says nothing.
  const isLoaders = bare.startsWith("SyntaxError") || / at file:\/\//.test(bare);
  const message = isError && !isLoaders && error.name !== "Error" ? `${error.name}: ${bare}` : bare;
  const hint = hints.find(([pattern]) => pattern.test(bare))?.[1];
  const report: FailureReport = { phase, message: hint === undefined ? message : `${message}\n(${hint})` };
  if (stack !== undefined) report.stack = stack;
  const place = firstPlace(bare, runtimeURL) ?? (stack === undefined ? null : firstPlace(stack, runtimeURL));
  return place === null ? report : { ...report, ...place };
}

/** The first position in a text that lies in the app's source. */
function firstPlace(text: string, runtimeURL: string): { file: string; line: number; column: number } | null {
  for (const match of text.matchAll(position)) {
    const url = match[1]!;
    if (url.startsWith(runtimeURL)) continue;
    return {
      file: decodeURIComponent(new URL(url).pathname),
      line: Number(match[2]),
      column: Number(match[3]),
    };
  }
  return null;
}

function inspect(value: unknown): string {
  try {
    return Deno.inspect(value, { depth: 2, colors: false }).slice(0, 500);
  } catch {
    return typeof value;
  }
}

/** The text that is logged for anything thrown. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return `a value that is no Error was thrown: ${inspect(error)}`;
  try {
    return Deno.inspect(error, { colors: false });
  } catch {
    return String(error.stack ?? error.message);
  }
}
