/**
 * Makes the request that Deno gives for a unix socket (`http+unix://…`, with the host's internal
 * headers) look as the client sent it.
 *
 * The request stays the same object, with three properties of its own, because a new `Request`
 * costs more than everything else on the way (28 of 48 µs, measured) and could not be upgraded to a
 * WebSocket. Copies made by `clone()` and `new Request(request)` get the same treatment.
 */

const state = Symbol("martlet.request");

interface State {
  url: string;
  headers: Headers | null;
}

type OwnRequest = Request & { [state]: State };

const NativeRequest = globalThis.Request;
const nativeHeaders = Object.getOwnPropertyDescriptor(NativeRequest.prototype, "headers")!.get!;
const nativeClone = NativeRequest.prototype.clone;

/** The prefix of headers between the host and the worker. */
const internalPrefix = "x-martlet-";

const properties: PropertyDescriptorMap & ThisType<OwnRequest> = {
  url: {
    get() {
      return this[state].url;
    },
  },
  headers: {
    get() {
      const own = this[state];
      if (own.headers === null) own.headers = visibleHeaders(nativeHeaders.call(this) as Headers);
      return own.headers;
    },
  },
  clone: {
    value() {
      return dress(nativeClone.call(this), this[state].url);
    },
  },
};

/** The headers without internal ones; the same object where there are none. */
function visibleHeaders(headers: Headers): Headers {
  let hasInternal = false;
  for (const name of headers.keys()) {
    if (name.startsWith(internalPrefix)) {
      hasInternal = true;
      break;
    }
  }
  if (!hasInternal) return headers;
  const visible = new Headers();
  for (const [name, value] of headers) if (!name.startsWith(internalPrefix)) visible.append(name, value);
  return visible;
}

function dress(request: Request, url: string): Request {
  (request as OwnRequest)[state] = { url, headers: null };
  return Object.defineProperties(request, properties);
}

/** Characters of a host with an optional port; anything else is not put into a URL. */
const hostPattern = /^[A-Za-z0-9._~%-]+(?::\d{1,5})?$|^\[[0-9A-Fa-f:.]+\](?::\d{1,5})?$/;

/** Characters of a request identifier that are kept as they are. */
const identifierPattern = /^[\x21-\x7e]{1,128}$/;

/** The same request as the client meant it, and its identifier. */
export function openRequest(raw: Request): { request: Request; requestID: string } {
  const headers = raw.headers;
  const rawURL = raw.url;
  const slash = rawURL.indexOf("/", rawURL.indexOf("://") + 3);
  const path = slash < 0 ? "/" : rawURL.slice(slash);
  const host = headers.get("x-forwarded-host") ?? headers.get("host") ?? "";
  const scheme = headers.get("x-forwarded-proto") === "https" ? "https" : "http";
  const id = headers.get("x-request-id");
  return {
    request: dress(raw, `${scheme}://${hostPattern.test(host) ? host : "localhost"}${path}`),
    requestID: id !== null && identifierPattern.test(id) ? id : crypto.randomUUID(),
  };
}

/** The request that Deno can upgrade to a WebSocket, for any copy of it. */
const originals = new WeakMap<Request, Request>();

export function originalRequest(request: Request): Request {
  return originals.get(request) ?? request;
}

/** Lets `new Request(request)` carry the address and headers of a request that was opened here. */
export function patchRequestConstructor(): void {
  globalThis.Request = new Proxy(NativeRequest, {
    construct(target, [input, init]: [RequestInfo | URL, RequestInit | undefined], newTarget) {
      const own = typeof input === "object" && state in input ? (input as OwnRequest)[state] : null;
      if (own === null) {
        return Reflect.construct(target, init === undefined ? [input] : [input, init], newTarget);
      }
      const request = input as OwnRequest;
      const copy: Request = Reflect.construct(
        target,
        [own.url, {
          method: request.method,
          headers: request.headers,
          body: request.body,
          signal: request.signal,
          redirect: request.redirect,
          ...init,
        }],
        newTarget,
      );
      originals.set(copy, originalRequest(request));
      return copy;
    },
  });
}
