/**
 * The names of a function's parameters, read from its source; `null` for one that is destructured.
 * They bind handlers without annotations, and show whether a schema is that of this function.
 */
export function parameterNames(handler: (...args: any[]) => unknown): (string | null)[] {
  const source = Function.prototype.toString.call(handler);
  const single = /^(?:async\s+)?([\w$]+)\s*=>/.exec(source);
  if (single !== null) return [single[1]!];
  const start = source.indexOf("(");
  if (start < 0) return [];
  return splitParameters(source, start + 1)
    .map((text) => /^(?:\.\.\.)?\s*([\w$]+)/.exec(text)?.[1] ?? null);
}

/** Cuts the list of parameters at its outer commas; knows strings, comments and brackets. */
function splitParameters(source: string, start: number): string[] {
  const parts: string[] = [];
  let depth = 0;
  let current = "";
  for (let i = start; i < source.length; i++) {
    const character = source[i]!;
    if (character === '"' || character === "'" || character === "`") {
      let end = i + 1;
      while (end < source.length && source[end] !== character) end += source[end] === "\\" ? 2 : 1;
      current += source.slice(i, end + 1);
      i = end;
    } else if (character === "/" && (source[i + 1] === "*" || source[i + 1] === "/")) {
      const end = source.indexOf(source[i + 1] === "*" ? "*/" : "\n", i + 2);
      if (end < 0) break;
      i = source[i + 1] === "*" ? end + 1 : end;
    } else if (depth === 0 && (character === "," || character === ")")) {
      if (current.trim() !== "") parts.push(current.trim());
      if (character === ")") break;
      current = "";
    } else {
      if ("([{".includes(character)) depth += 1;
      if (")]}".includes(character)) depth -= 1;
      current += character;
    }
  }
  return parts;
}
