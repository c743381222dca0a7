// The API key, where the server wants one: asked for once, and kept in this tab alone.

import { make } from "./dom.js";

const NAME = "tts-serving-key";

/** Headers that present the key; none without one. */
export function keyHeaders() {
  const key = sessionStorage.getItem(NAME);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Show a field for the key in the page's header, once. The page begins anew with what is entered. */
export function askForKey() {
  if (document.getElementById("key-form")) return;
  const wrong = sessionStorage.getItem(NAME) !== null;
  const field = make("input", { id: "key", type: "password", required: true, autocomplete: "off", maxLength: 512 });
  const form = make(
    "form",
    { id: "key-form", className: "key-form" },
    make("label", { htmlFor: "key" }, wrong ? "This API key is not known. Another:" : "API key"),
    field,
    make("button", { type: "submit" }, "Use"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(NAME, field.value.trim());
    location.reload();
  });
  document.querySelector("header").append(form);
}
