import { describeFailure } from "./failure.ts";

/** Lines of the source that are shown before and after the one that failed. */
const around = 3;

/**
 * The answer to a request that failed, for the person who writes the app: what was thrown, where, and the source
 * there. Browsers get a page, programs get JSON. Never used for deployed apps, whose errors are nobody's business.
 */
export function developmentFailure(
  error: unknown,
  request: Request,
  requestID: string,
  runtimeURL: string,
): Response {
  const report = describeFailure("import", error, runtimeURL);
  const headers = { "x-martlet-worker": "error", "x-request-id": requestID, "cache-control": "no-store" };
  if (!(request.headers.get("accept") ?? "").includes("text/html")) {
    const { message, file, line, column, stack } = report;
    return Response.json({ error: message, file, line, column, stack, requestId: requestID }, {
      status: 500,
      headers,
    });
  }
  const place = report.file === undefined ? "" : `${report.file}:${report.line}:${report.column}`;
  const page = failurePage(
    `${request.method} ${new URL(request.url).pathname}`,
    report.message,
    place,
    report.file === undefined ? "" : excerpt(report.file, report.line ?? 1),
    report.stack ?? "",
  );
  return new Response(page, {
    status: 500,
    headers: { ...headers, "content-type": "text/html; charset=utf-8" },
  });
}

/** The lines around one of a file of the app; nothing where it cannot be read. */
function excerpt(file: string, line: number): string {
  let lines: string[];
  try {
    lines = Deno.readTextFileSync(file).split("\n");
  } catch {
    return "";
  }
  const first = Math.max(0, line - 1 - around);
  return lines.slice(first, line + around).map((text, i) =>
    `${first + i + 1 === line ? ">" : " "}${String(first + i + 1).padStart(5)}  ${text}`
  ).join("\n");
}

function failurePage(title: string, message: string, place: string, source: string, stack: string): string {
  return `<!doctype html><meta charset="utf-8"><title>${escape(message)}</title><style>
body{font:16px/1.5 system-ui,sans-serif;margin:3rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.3rem;color:#b3261e;white-space:pre-wrap}pre{background:#f4f4f5;padding:1rem;overflow:auto;border-radius:6px}
small{color:#666}@media(prefers-color-scheme:dark){body{background:#18181b;color:#e4e4e7}pre{background:#27272a}h1{color:#f2b8b5}}
</style><small>${escape(title)}</small><h1>${escape(message)}</h1><p><code>${escape(place)}</code></p>${
    source === "" ? "" : `<pre>${escape(source)}</pre>`
  }<details><summary>Stack</summary><pre>${escape(stack)}</pre></details>
<small>Only <code>martlet dev</code> shows this; a deployed app answers with 500 and a request id.</small>`;
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
