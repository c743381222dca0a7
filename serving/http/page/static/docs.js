// The page at /docs, made from the server's OpenAPI document.

import { getJson } from "./api.js";
import { byId, make } from "./dom.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

function sectionOf(path) {
  if (path.startsWith("/v1/")) return "As OpenAI's API has it";
  if (/^\/(tts|spell)/.test(path)) return "Speech";
  return "About the server";
}

async function begin() {
  const api = await getJson("/schema/openapi.json");
  const resolve = (schema) =>
    schema?.$ref ? schema.$ref.slice(2).split("/").reduce((node, key) => node?.[key], api) : schema;
  const sections = new Map([["Speech", []], ["As OpenAI's API has it", []], ["About the server", []]]);
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      sections.get(sectionOf(path)).push(operation(method, path, item[method], resolve));
    }
  }
  for (const [title, operations] of sections) {
    if (operations.length) {
      byId("operations").append(make("section", { className: "card" }, make("h2", {}, title), ...operations));
    }
  }
  document.body.dataset.ready = "true";
}

function operation(method, path, described, resolve) {
  const table = (title, head, rows) => tableOf(`${method.toUpperCase()} ${path}: ${title}`, title, head, rows);
  const [first, ...more] = (described.description ?? described.summary ?? "").split("\n\n");
  const summary = make(
    "summary",
    {},
    make("span", { className: "method" }, method.toUpperCase()),
    make("span", { className: "path" }, path),
    make("span", { className: "does" }, first),
  );
  const inside = make("div", { className: "inside" }, ...more.map((text) => make("p", {}, text)));
  if (described.parameters?.length) {
    const rows = described.parameters.map((one) => fieldRow(one.name, one.schema ?? {}, one.required, one.description, resolve));
    inside.append(...table("Parameters", ["Name", "Type", "Default", ""], rows));
  }
  for (const [type, { schema }] of Object.entries(resolve(described.requestBody)?.content ?? {})) {
    const body = resolve(schema) ?? {};
    const rows = Object.entries(body.properties ?? {}).map(([name, field]) =>
      fieldRow(name, field, body.required?.includes(name), field.description, resolve),
    );
    inside.append(...table(`Body, ${type}`, ["Field", "Type", "Default", ""], rows));
  }
  const answers = Object.entries(described.responses ?? {}).map(([status, answer]) => [
    status,
    Object.keys(answer.content ?? {}).join(", "),
    resolve(answer).description ?? "",
  ]);
  inside.append(...table("Answers", ["Status", "Content type", ""], answers));
  const headers = Object.entries(described.responses?.["200"]?.headers ?? {});
  inside.append(...table("Headers of the answer", ["Header", ""], headers.map(([name, one]) => [name, resolve(one).description ?? ""])));
  return make("details", { className: "operation" }, summary, inside);
}

function fieldRow(name, schema, required, description, resolve) {
  const inner = resolve(schema);
  const standard = required ? "required" : inner.default == null ? "" : JSON.stringify(inner.default);
  return [name, typeOf(inner, resolve), standard, description ?? inner.description ?? ""];
}

/** A type with its bounds, in words. */
function typeOf(schema, resolve) {
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return options.map((one) => typeOf(resolve(one), resolve)).join(" or ");
  if (schema.enum) return schema.enum.map((choice) => JSON.stringify(choice)).join(" ");
  if (schema.format === "voice") return "name of a voice";
  if (schema.type === "array") {
    const count = schema.minItems === schema.maxItems ? (schema.minItems ?? "") : "";
    return `list of ${count} ${typeOf(resolve(schema.items ?? {}), resolve)}`.replace("  ", " ");
  }
  const low = schema.minimum ?? schema.exclusiveMinimum;
  const high = schema.maximum ?? schema.exclusiveMaximum;
  const bounds = [low !== undefined && `from ${schema.minimum === undefined ? "above " : ""}${low}`, high !== undefined && `to ${high}`];
  return [schema.type ?? "anything", ...bounds.filter(Boolean)].join(" ");
}

/** A table under its title; `name` tells it from those of the other operations. */
function tableOf(name, title, head, rows) {
  if (!rows.length) return [];
  const body = rows.map((row) =>
    make("tr", {}, ...row.map((text, at) => {
      const cell = make(at ? "td" : "th", { className: at && text.length > 24 ? "wraps" : "" }, at ? text : make("code", {}, text));
      if (!at) cell.scope = "row";
      return cell;
    })),
  );
  const columns = head.map((text) => (text ? make("th", { scope: "col" }, text) : make("td", {})));
  const made = make("table", {}, make("thead", {}, make("tr", {}, ...columns)), make("tbody", {}, ...body));
  return [make("h3", {}, title), make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": name }, made)];
}

begin().catch((error) => (byId("problem").textContent = error.message));
