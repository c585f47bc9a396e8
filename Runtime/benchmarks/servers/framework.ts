import { serve } from "martlet";
import { appHooks } from "../../martlet/internal/hooks.ts";
import { add, addSchema } from "./todo.ts";

const app = serve({ "POST /lists/:id/todos": add, "GET /lists/:id": () => null, "GET /": () => null });
appHooks(app)!.useSchema({ version: 1, handlers: [addSchema], definitions: {}, warnings: [] });

export const fetch = (request: Request): Response | Promise<Response> => app.fetch(request);
