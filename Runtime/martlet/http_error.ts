/** Ends a request with a status and a message for the client: `throw new HttpError(403, "not yours")`. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  /** Status of the answer, 400 to 599. */
  readonly status: number;
  /** Further members of the `application/problem+json` answer (RFC 9457). */
  readonly details: Record<string, unknown>;
  /** Headers of the answer. */
  readonly headers: HeadersInit | undefined;

  constructor(
    status: number,
    message?: string,
    options: { details?: Record<string, unknown>; headers?: HeadersInit; cause?: unknown } = {},
  ) {
    super(message ?? titleOf(status), options.cause === undefined ? undefined : { cause: options.cause });
    if (!Number.isInteger(status) || status < 400 || status > 599) {
      throw new RangeError(`HttpError: the status must be from 400 to 599, not ${status}`);
    }
    this.status = status;
    this.details = options.details ?? {};
    this.headers = options.headers;
  }
}

const titles: Record<number, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  426: "Upgrade Required",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** The name of a status (RFC 9110). */
export function titleOf(status: number): string {
  return titles[status] ?? (status < 500 ? "Client Error" : "Server Error");
}

/** An answer of type `application/problem+json` (RFC 9457). */
export function problem(
  status: number,
  detail: string,
  members: Record<string, unknown> = {},
  headers?: HeadersInit,
): Response {
  const all = new Headers(headers);
  all.set("content-type", "application/problem+json");
  return new Response(JSON.stringify({ title: titleOf(status), status, detail, ...members }), {
    status,
    headers: all,
  });
}
