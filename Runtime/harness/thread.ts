/** What a web worker of the app loads before the app's own module. */
import { patchSQLite, patchThreads } from "./statements.ts";

patchSQLite((text) => console.warn(text));
patchThreads(import.meta.url);
