/** The framework of Martlet apps: routes, databases, errors. */
export type { Context } from "./context.ts";
