import type { Schema } from "../martlet/schema.ts";
import type { JSDoc } from "./doc.ts";

const numbers = new Set([
  "minLength",
  "maxLength",
  "minimum",
  "maximum",
  "exclusiveMinimum",
  "exclusiveMaximum",
  "multipleOf",
  "minItems",
  "maxItems",
]);
const tag = /@(\w+)(?:[ \t]+(?!@\w)((?:(?!\s@\w).)*))?/g;

/** Splits the text of a comment into its words and the tags in it. */
function cut(text: string): { words: string; tags: [string, string][] } {
  const tags: [string, string][] = [];
  const words = text.replace(tag, (_all, name: string, value: string | undefined) => {
    tags.push([name, (value ?? "").trim()]);
    return "";
  });
  return { words: words.trim(), tags };
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What a comment says of a value: description and constraints; `complain` hears of tags that cannot be meant. */
export function constraints(jsDoc: JSDoc | undefined, complain: (message: string) => void): Schema {
  if (jsDoc === undefined) return {};
  const texts = [jsDoc.doc ?? ""];
  for (const { kind, doc, value, name } of jsDoc.tags ?? []) {
    if (kind === "unsupported") texts.push(value ?? "");
    else if (kind === "default" || kind === "example" || kind === "deprecated") {
      texts.push(`@${kind} ${value ?? doc ?? name ?? ""}`);
    }
  }
  const made: Schema = {};
  const descriptions: string[] = [];
  for (const text of texts) {
    const { words, tags } = cut(text);
    if (words !== "") descriptions.push(words);
    for (const [name, value] of tags) apply(made, name, value, complain);
  }
  if (descriptions.length > 0) made.description = descriptions.join("\n");
  return made;
}

function apply(schema: Schema, name: string, value: string, complain: (message: string) => void): void {
  if (numbers.has(name)) {
    const number = Number(value);
    if (value === "" || !Number.isFinite(number)) complain(`@${name} needs a number, not "${value}"`);
    else (schema as Record<string, unknown>)[name] = number;
  } else if (name === "pattern") {
    try {
      new RegExp(value, "u");
      schema.pattern = value;
    } catch {
      complain(`@pattern ${value} is no regular expression`);
    }
  } else if (name === "format") {
    schema.format = value;
  } else if (name === "default") {
    schema.default = parseValue(value);
  } else if (name === "example") {
    (schema.examples ??= []).push(parseValue(value));
  } else if (name === "integer" || name === "int") {
    schema.type = "integer";
  } else if (name === "uniqueItems") {
    schema.uniqueItems = true;
  } else if (name === "deprecated") {
    schema.deprecated = true;
  }
}

/** What `@param name` says. */
export function parameterComment(jsDoc: JSDoc | undefined, name: string): JSDoc | undefined {
  const found = jsDoc?.tags?.find((entry) => entry.kind === "param" && entry.name === name);
  return found?.doc === undefined ? undefined : { doc: found.doc.replace(/^-\s*/, "") };
}

/** The comment of a function: its first line, and the rest. */
export function summary(
  jsDoc: JSDoc | undefined,
): { summary?: string; description?: string; deprecated?: boolean } {
  const text = (jsDoc?.doc ?? "").trim();
  const [first, ...rest] = text.split("\n");
  const more = rest.join("\n").trim();
  return {
    ...(first ? { summary: first } : {}),
    ...(more ? { description: more } : {}),
    ...(jsDoc?.tags?.some(({ kind }) => kind === "deprecated") ? { deprecated: true } : {}),
  };
}
