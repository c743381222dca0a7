// A voice from a recording, where the server can add one.

import { addVoice, deleteVoice } from "./api.js";
import { byId, make } from "./dom.js";

export class Cloning {
  /** `reload(id)` fetches the voices again and chooses one; `say` shows an error, or "" for none. */
  constructor({ reload, say }) {
    this.reload = reload;
    this.say = say;
    this.form = byId("clone-form");
    this.file = byId("clone-file");
    const zone = byId("clone-zone");
    for (const kind of ["dragenter", "dragover"]) {
      zone.addEventListener(kind, (event) => {
        event.preventDefault();
        zone.classList.add("over");
      });
    }
    zone.addEventListener("dragleave", () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      if (event.dataTransfer.files.length) this.file.files = event.dataTransfer.files;
      this.#named();
    });
    this.file.addEventListener("change", () => this.#named());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  /** What GET /v1/audio/voices says. */
  show({ can_add: canAdd, voices }) {
    byId("clone").hidden = canAdd !== true;
    const own = voices.filter((voice) => voice.deletable === true);
    byId("clone-voices").replaceChildren(
      ...own.map((voice) => {
        const button = make("button", { type: "button", className: "quiet" }, "Delete");
        button.setAttribute("aria-label", `Delete the voice ${voice.name}`);
        button.addEventListener("click", () => this.#delete(voice));
        return make("li", {}, make("span", {}, voice.name), button);
      }),
    );
  }

  #named() {
    const [chosen] = this.file.files;
    byId("clone-chosen").textContent = chosen ? chosen.name : "or choose a file";
    const name = byId("clone-name");
    if (chosen && !name.value) name.value = chosen.name.replace(/\.[^.]*$/, "");
  }

  async #send() {
    const [chosen] = this.file.files;
    if (!chosen) return this.say("Choose a recording first.");
    const data = new FormData();
    data.set("name", byId("clone-name").value.trim());
    data.set("consent", "true");
    data.set("audio_sample", chosen);
    await this.#do(async () => {
      await addVoice(data);
      this.form.reset();
      this.#named();
      await this.reload(data.get("name"));
    });
  }

  #delete(voice) {
    return this.#do(async () => {
      await deleteVoice(voice.id);
      await this.reload();
    });
  }

  async #do(work) {
    this.say("");
    this.form.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      this.say(error.message);
    } finally {
      this.form.removeAttribute("aria-busy");
    }
  }
}
