/**
 * The framework of Martlet apps: functions, one table of routes, databases.
 *
 * ```ts
 * import { database, serve } from "martlet";
 * const db = database();
 * export function hello(name = "world"): string { return `hello ${name}`; }
 * export default serve({ "GET /hello": hello });
 * ```
 */
export type { Context } from "./context.ts";
export { database } from "./database.ts";
export { HttpError } from "./http_error.ts";
export { currentRequestID as requestID } from "./internal/scope.ts";
export type { ServerEvent } from "./respond.ts";
export {
  type App,
  type Handler,
  type Middleware,
  type RouteTable,
  serve,
  type ServeOptions,
} from "./serve.ts";
