import { join } from "node:path";
import { fileURLToPath } from "node:url";

export { join };

/** The path of a file URL; folders keep no slash at the end. */
export function fromFileUrl(url: URL): string {
  const path = fileURLToPath(url);
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}
