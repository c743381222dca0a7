// Controls made from the declaration of a request's fields: JSON schemas with bounds, choices and defaults.

import { make } from "./dom.js";

const MAX_STEPS = 1000; // a slider has no more; wider ranges get a number to type

/** The one schema that is not null, and whether null may be sent. */
function unwrapped(schema) {
  const options = schema.anyOf ?? [schema];
  const nullable = options.some((option) => option.type === "null");
  const inner = options.find((option) => option.type !== "null") ?? schema;
  const choices = inner.enum?.filter((choice) => choice !== null);
  return { ...schema, ...inner, ...(choices && { enum: choices }), nullable: nullable || schema.enum?.includes(null) };
}

const titled = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");

export class Fields {
  controls = new Map(); // name to {read, write}

  /** Adds a control for each field to `place`. `voices` are names; `changed` is called after each input. */
  constructor(changed) {
    this.changed = changed;
  }

  add(place, declared, voices) {
    for (const [name, schema] of Object.entries(declared)) {
      const control = controlFor(name, unwrapped(schema), voices);
      control.element.addEventListener("input", this.changed);
      this.controls.set(name, { ...control, standard: schema.default ?? null });
      place.append(control.element);
    }
  }

  /** The fields that differ from their defaults. */
  read() {
    const values = {};
    for (const [name, { read, standard }] of this.controls) {
      const value = read();
      if (value !== null && JSON.stringify(value) !== JSON.stringify(standard)) values[name] = value;
    }
    return values;
  }

  /** Sets the fields named in `values`, and the others to their defaults. */
  write(values) {
    for (const [name, { write, standard }] of this.controls) write(values[name] ?? standard);
  }
}

function controlFor(name, schema, voices) {
  const id = `field-${name}`;
  if (schema.type === "boolean") return checkbox(id, name, schema);
  if (schema.enum || schema.format === "voice") return choice(id, name, schema, schema.enum ?? voices);
  if (schema.type === "number" || schema.type === "integer") return number(id, name, schema);
  if (schema.type === "array") return list(id, name, schema);
  return line(id, name, schema);
}

/** A label, a control and the field's own description, joined for screen readers. */
function row(id, name, schema, control, after = []) {
  const hint = make("p", { id: `${id}-hint`, className: "hint" }, schema.description ?? "");
  control.id = id;
  control.name = name;
  control.setAttribute("aria-describedby", hint.id);
  const label = make("label", { htmlFor: id }, titled(name));
  return make("div", { className: "field" }, make("div", { className: "field-head" }, label, ...after), control, hint);
}

function checkbox(id, name, schema) {
  const box = make("input", { type: "checkbox", checked: schema.default === true });
  const element = row(id, name, schema, box);
  element.classList.add("field-check");
  return { element, read: () => box.checked, write: (value) => (box.checked = value === true) };
}

function choice(id, name, schema, choices) {
  const empty = schema.nullable ? [make("option", { value: "" }, "as the model has it")] : [];
  const options = choices.map((value) => make("option", { value: JSON.stringify(value) }, String(value)));
  const select = make("select", {}, ...empty, ...options);
  const write = (value) => (select.value = value === null ? "" : JSON.stringify(value));
  write(schema.default ?? null);
  return {
    element: row(id, name, schema, select),
    read: () => (select.value ? JSON.parse(select.value) : null),
    write,
  };
}

function number(id, name, schema) {
  const step = schema.type === "integer" ? 1 : 0.05;
  const low = schema.minimum ?? schema.exclusiveMinimum + step;
  const high = schema.maximum ?? schema.exclusiveMaximum - step;
  const slides = (high - low) / step <= MAX_STEPS && !schema.nullable;
  const limits = { ...(Number.isSafeInteger(Math.trunc(low)) && { min: low }), ...(Number.isSafeInteger(Math.trunc(high)) && { max: high }) };
  const input = make("input", { type: slides ? "range" : "number", step, ...limits });
  const shown = make("output", { htmlFor: id });
  const write = (value) => {
    input.value = value ?? "";
    shown.textContent = input.value;
  };
  input.addEventListener("input", () => (shown.textContent = input.value));
  if (!slides) input.placeholder = "as the model has it";
  write(schema.default ?? null);
  return {
    element: row(id, name, schema, input, slides ? [shown] : []),
    read: () => (input.value === "" ? null : Number(input.value)),
    write,
  };
}

function line(id, name, schema) {
  const input = make("input", { type: "text", value: schema.default ?? "", autocomplete: "off" });
  return {
    element: row(id, name, schema, input),
    read: () => input.value || null,
    write: (value) => (input.value = value ?? ""),
  };
}

/** Numbers with commas between them. */
function list(id, name, schema) {
  const input = make("input", { type: "text", inputMode: "decimal", autocomplete: "off" });
  input.placeholder = schema.minItems ? `${schema.minItems} numbers, with commas between` : "numbers, with commas between";
  const write = (value) => (input.value = (value ?? []).join(", "));
  write(schema.default ?? null);
  // What is no number goes to the server as it was written: its refusal names the field.
  const item = (part) => (part.trim() && Number.isFinite(Number(part)) ? Number(part) : part.trim());
  return {
    element: row(id, name, schema, input),
    read: () => (input.value.trim() ? input.value.split(",").map(item) : null),
    write,
  };
}
