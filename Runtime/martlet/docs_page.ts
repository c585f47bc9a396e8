/** The API page: one file without anything from elsewhere; it reads `/openapi.json`. */
export function docsPage(title: string): Response {
  const safe = title.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
  return new Response(page.replaceAll("{{title}}", () => safe), {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy":
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:",
    },
  });
}

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{title}} API</title>
<style>
:root { color-scheme: light dark; --line: #8883; --soft: #8881; --dim: #777; --accent: #2563eb; }
body { font: 15px/1.55 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.25rem 6rem; }
h1 { font-size: 1.7rem; margin: 0; } header p { color: var(--dim); margin: .2rem 0 2rem; } header a { color: var(--accent); }
details { border: 1px solid var(--line); border-radius: 10px; margin: .55rem 0; overflow: hidden; }
summary { cursor: pointer; display: flex; gap: .8rem; align-items: center; padding: .6rem .9rem; list-style: none; }
summary:hover { background: var(--soft); } summary::-webkit-details-marker { display: none; }
.method { font: 600 .75rem/1.7 ui-monospace, monospace; min-width: 4.2rem; text-align: center; border-radius: 6px; color: #fff; background: #64748b; }
.get { background: #2563eb; } .post { background: #16803c; } .put, .patch { background: #b45309; } .delete { background: #b91c1c; }
code, pre, textarea, input, select { font: .88rem/1.5 ui-monospace, monospace; }
summary span:last-child { color: var(--dim); margin-left: auto; text-align: right; }
.inside { border-top: 1px solid var(--line); padding: .9rem; display: grid; gap: .8rem; }
label { display: grid; grid-template-columns: 11rem 1fr; gap: .7rem; align-items: start; }
label small { color: var(--dim); display: block; } label b { color: #dc2626; font-weight: 400; }
input, textarea, select { width: 100%; box-sizing: border-box; padding: .4rem .55rem; border: 1px solid var(--line); border-radius: 6px; background: transparent; color: inherit; }
textarea { min-height: 7.5rem; resize: vertical; }
button { justify-self: start; font: 600 .9rem system-ui, sans-serif; padding: .45rem 1.1rem; border: 0; border-radius: 7px; color: #fff; background: var(--accent); cursor: pointer; }
pre { margin: 0; padding: .75rem; border-radius: 8px; background: var(--soft); overflow: auto; max-height: 24rem; white-space: pre-wrap; word-break: break-word; }
h3 { font-size: .8rem; letter-spacing: .04em; text-transform: uppercase; color: var(--dim); margin: .3rem 0 0; }
.status { font-weight: 600; } .ok { color: #16803c; } .bad { color: #dc2626; } p { margin: 0; }
</style>
<header><h1>{{title}}</h1><p>The API of this app. <a href="/openapi.json">openapi.json</a></p></header>
<main>Loading …</main>
<script type="module">
const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const main = document.querySelector("main");
const api = await (await fetch("/openapi.json")).json();
const resolve = (schema) => schema?.$ref ? resolve(api.components.schemas[schema.$ref.split("/").pop()]) : schema ?? {};
const typeText = (schema, depth = 0) => {
  if (schema?.$ref) return schema.$ref.split("/").pop();
  schema = schema ?? {};
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.anyOf || schema.oneOf) return (schema.anyOf ?? schema.oneOf).map((part) => typeText(part, depth)).join(" | ");
  if (schema.prefixItems) return "[" + schema.prefixItems.map((part) => typeText(part, depth)).join(", ") + "]";
  if (schema.type === "array") return typeText(schema.items, depth) + "[]";
  if (schema.type === "object" && schema.properties && depth < 3) {
    return "{ " + Object.entries(schema.properties).map(([name, part]) => name + (schema.required?.includes(name) ? ": " : "?: ") + typeText(part, depth + 1)).join("; ") + " }";
  }
  return (schema.type ?? "any") + (schema.format ? " (" + schema.format + ")" : "");
};
const sample = (schema, depth = 0) => {
  schema = resolve(schema);
  if (schema.examples?.length) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf || schema.oneOf) return sample((schema.anyOf ?? schema.oneOf)[0], depth);
  if (schema.prefixItems) return schema.prefixItems.map((part) => sample(part, depth + 1));
  if (schema.type === "array") return depth > 3 ? [] : [sample(schema.items, depth + 1)];
  if (schema.type === "object") return depth > 3 ? {} : Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, part]) => [name, sample(part, depth + 1)]));
  if (schema.format === "date-time") return "2026-01-31T12:00:00Z";
  return { string: "text", number: schema.minimum ?? 1, integer: schema.minimum ?? 1, boolean: true, null: null }[schema.type] ?? null;
};
const show = async (output, response, began) => {
  const text = response.headers.get("content-type")?.includes("event-stream") ? "(events)" : await response.text();
  let pretty = text;
  try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch {}
  output.replaceChildren(
    element("p", { className: "status " + (response.ok ? "ok" : "bad") }, response.status + " " + response.statusText + " · " + Math.round(performance.now() - began) + " ms"),
    element("pre", {}, pretty || "(no body)"),
  );
};
const operation = (path, method, about) => {
  const fields = [];
  const form = element("form", { className: "inside" });
  if (about.description) form.append(element("p", {}, about.description));
  if (about.parameters?.length) form.append(element("h3", {}, "Parameters"));
  for (const parameter of about.parameters ?? []) {
    const schema = resolve(parameter.schema);
    const options = schema.enum ?? (schema.type === "boolean" ? [true, false] : null);
    const input = options
      ? element("select", {}, ...(parameter.required ? [] : [element("option", { value: "" }, "")]), ...options.map((value) => element("option", { value }, String(value))))
      : element("input", { placeholder: schema.default ?? "", required: parameter.required });
    fields.push({ parameter, input });
    form.append(element("label", {}, element("span", {}, element("code", {}, parameter.name), parameter.required ? element("b", {}, " *") : "", element("small", {}, typeText(parameter.schema)), element("small", {}, parameter.description ?? schema.description ?? "")), input));
  }
  const bodySchema = about.requestBody?.content["application/json"]?.schema;
  let body = null;
  if (bodySchema) {
    body = element("textarea", { spellcheck: false, value: JSON.stringify(sample(bodySchema), null, 2) });
    form.append(element("h3", {}, "Body"), element("code", {}, typeText(resolve(bodySchema))), body);
  }
  const answer = Object.entries(about.responses).find(([status]) => status.startsWith("2"));
  const answerSchema = answer && Object.values(answer[1].content ?? {})[0]?.schema;
  if (answerSchema) form.append(element("h3", {}, "Answer"), element("code", {}, typeText(resolve(answerSchema))));
  const output = element("div");
  form.append(element("button", {}, "Send"), output);
  form.onsubmit = async (event) => {
    event.preventDefault();
    const query = new URLSearchParams();
    let target = path;
    for (const { parameter, input } of fields) {
      if (parameter.in === "path") target = target.replace("{" + parameter.name + "}", encodeURIComponent(input.value));
      else if (input.value !== "") query.append(parameter.name, input.value);
    }
    const began = performance.now();
    try {
      const response = await fetch(target + (query.size ? "?" + query : ""), {
        method: method.toUpperCase(),
        ...(body && body.value.trim() ? { body: body.value, headers: { "content-type": "application/json" } } : {}),
      });
      await show(output, response, began);
    } catch (error) {
      output.replaceChildren(element("p", { className: "status bad" }, String(error)));
    }
  };
  return element("details", { id: about.operationId },
    element("summary", {}, element("span", { className: "method " + method }, method.toUpperCase()), element("code", {}, path), element("span", {}, about.summary ?? "")),
    form);
};
main.replaceChildren(...Object.entries(api.paths).flatMap(([path, item]) => Object.entries(item).map(([method, about]) => operation(path, method, about))));
if (!main.childElementCount) main.textContent = "There are no routes.";
document.getElementById(location.hash.slice(1))?.setAttribute("open", "");
</script>
</html>`;
