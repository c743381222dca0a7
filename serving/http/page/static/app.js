// The page at /: joins the form, the stream, the sound and what is shown of it.

import * as api from "./api.js";
import { Cloning } from "./clone.js";
import { byId, make } from "./dom.js";
import { Fields } from "./fields.js";
import { Figures } from "./figures.js";
import * as history from "./history.js";
import { Player, prepare } from "./player.js";
import { languages, snippet } from "./snippets.js";
import { Waveform } from "./waveform.js";
import { Words } from "./words.js";

const STATE_MS = 2000; // between two looks at a server that is not ready

const text = byId("text");
const voice = byId("voice");
const format = byId("format");
const words = new Words(byId("reading"));
const wave = new Waveform(byId("wave"));
const figures = new Figures({
  firstByte: byId("first-byte"),
  firstSound: byId("first-sound"),
  factor: byId("factor"),
  buffer: byId("buffer"),
  underruns: byId("underruns"),
  played: byId("played"),
  length: byId("length"),
});
const fields = new Fields(changed);
const cloning = new Cloning({ reload: loadVoices, say: (sentence) => show("clone-problem", sentence) });

let model = null;
let voices = [];
let language = languages[0];
let speaking = null; // {controller, player}, or null while it is quiet

const show = (id, sentence) => (byId(id).textContent = sentence);

/** The request that the form stands for, with nothing in it that is as it would be without. */
function request() {
  return { text: text.value, voice: voice.value, ...fields.read() };
}

// ---- speaking ----------------------------------------------------------------------------------

async function speak() {
  stop();
  const asked = request();
  const rate = asked.sample_rate_hz ?? model.sample_rate_hz;
  const mine = { controller: new AbortController(), player: null };
  speaking = mine;
  show("problem", "");
  show("progress", "Speaking");
  byId("stop").disabled = false;
  document.body.classList.add("speaking");
  words.begin(asked.text);
  wave.begin();
  figures.begin(rate);
  const opening = Player.open(rate, (message) => heard(mine, message));
  const waiting = [];
  try {
    const answered = api.stream(
      { ...asked, format: "pcm", timestamps: model.timestamps },
      mine.controller.signal,
      {
        onHeaders: () => history.remember(asked),
        onSentence: (sentence) => words.add(sentence),
        onAudio: (samples) => {
          figures.audio(samples);
          wave.add(samples);
          if (mine.player) mine.player.push(samples);
          else waiting.push(samples);
        },
      },
    );
    answered.catch(() => {}); // it is awaited below, when the sound is open
    mine.player = await opening;
    if (mine.controller.signal.aborted) return mine.player.stop();
    for (const samples of waiting) mine.player.push(samples);
    await answered;
    figures.complete();
    mine.player.end();
    showHistory();
  } catch (error) {
    if (mine.controller.signal.aborted) return;
    mine.controller.abort();
    mine.player?.stop();
    quiet(mine, "");
    show("problem", error instanceof api.Refused ? error.message : `The page failed: ${error.message}.`);
    showHistory();
  }
}

/** What the worklet tells. */
function heard(mine, message) {
  if (message.stopped || message.finished) {
    if (message.finished) words.end();
    return quiet(mine, message.finished ? "Finished" : "Stopped");
  }
  if (mine !== speaking) return;
  if (message.started) return figures.started(mine.player.latency);
  figures.progress(message);
  wave.played(message.played);
  words.light(message.played / figures.rate - mine.player.latency);
}

function stop() {
  if (!speaking) return;
  speaking.player?.stop();
  speaking.controller.abort();
  quiet(speaking, "Stopped");
}

function quiet(mine, sentence) {
  if (mine !== speaking) return;
  speaking = null;
  show("progress", sentence);
  byId("stop").disabled = true;
  document.body.classList.remove("speaking");
  if (document.activeElement === document.body) byId("speak").focus();
}

async function download() {
  const button = byId("download");
  button.disabled = true;
  show("problem", "");
  try {
    const audio = await api.whole({ ...request(), format: format.value });
    const link = make("a", { href: URL.createObjectURL(audio), download: `speech.${format.value}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  } catch (error) {
    show("problem", error.message);
  } finally {
    button.disabled = false;
    button.focus();
  }
}

// ---- the form ----------------------------------------------------------------------------------

function changed() {
  const length = Array.from(text.value).length;
  show("count", `${length.toLocaleString("en")} of ${model.max_text_chars.toLocaleString("en")} characters`);
  byId("count").classList.toggle("over", length > model.max_text_chars);
  const chosen = voices.find((one) => one.id === voice.value);
  show("voice-hint", [chosen?.description, chosen?.language].filter(Boolean).join(" · "));
  show("program", snippet(language, location.origin, { ...request(), format: format.value }));
}

function chooseLanguage(chosen) {
  language = chosen;
  for (const button of byId("languages").children) {
    button.setAttribute("aria-pressed", String(button.textContent === language));
  }
  changed();
}

async function copy() {
  try {
    await navigator.clipboard.writeText(byId("program").textContent);
    show("copied", `Copied as ${language}`);
    show("copy", "Copied");
  } catch {
    // Without a secure context there is no clipboard: select it, and the reader copies.
    getSelection().selectAllChildren(byId("program"));
    show("copied", "Selected; copy it with your keyboard");
    show("copy", "Selected");
  }
  setTimeout(() => show("copy", "Copy"), 1500);
}

async function loadVoices(choose = voice.value) {
  const named = await api.getJson("/v1/audio/voices");
  voices = named.voices;
  voice.replaceChildren(...voices.map(({ id, name }) => make("option", { value: id }, name)));
  voice.value = voices.some(({ id }) => id === choose) ? choose : named.default_voice;
  cloning.show(named);
  if (model) changed();
}

// ---- history -----------------------------------------------------------------------------------

function showHistory() {
  const kept = history.entries();
  byId("history").replaceChildren(
    ...kept.map(({ at, body }) => {
      const button = make("button", { type: "button" }, make("span", {}, body.text));
      button.append(make("small", {}, `${body.voice} · ${new Date(at).toLocaleString()}`));
      button.addEventListener("click", () => recall(body));
      return make("li", {}, button);
    }),
  );
  byId("no-history").hidden = kept.length > 0;
  byId("forget").hidden = kept.length === 0;
}

function recall(body) {
  text.value = body.text;
  if (voices.some(({ id }) => id === body.voice)) voice.value = body.voice;
  fields.write(body);
  changed();
  text.focus();
}

// ---- the server --------------------------------------------------------------------------------

async function watch() {
  try {
    const { ready, state, model: name, device, progress, problem } = await api.readiness();
    const doing = progress ? `${progress.what} (${progress.done} of ${progress.total})` : (problem ?? "");
    show("state", ready ? `${name} on ${device}` : `${state} ${doing}`.trim());
    byId("state").dataset.ready = ready;
    if (!ready) setTimeout(watch, STATE_MS);
  } catch {
    show("state", "no answer");
    byId("state").dataset.ready = false;
    setTimeout(watch, STATE_MS);
  }
}

async function begin() {
  watch();
  const declared = await api.getJson("/page/model.json");
  await loadVoices();
  model = declared;
  prepare(model.sample_rate_hz);
  const names = voices.map(({ id }) => id);
  fields.add(byId("own-fields"), model.fields, names);
  fields.add(byId("shared-fields"), model.shared, names);
  format.append(...model.formats.map((name) => make("option", { value: name }, name)));
  byId("languages").append(
    ...languages.map((name) => {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => chooseLanguage(name));
      return button;
    }),
  );
  for (const control of [text, voice, format]) control.addEventListener("input", changed);
  byId("speak").addEventListener("click", speak);
  byId("stop").addEventListener("click", stop);
  byId("download").addEventListener("click", download);
  byId("copy").addEventListener("click", copy);
  byId("reset").addEventListener("click", () => (fields.write({}), changed()));
  byId("forget").addEventListener("click", () => (history.forget(), showHistory(), byId("text").focus()));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") stop();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) speak();
  });
  showHistory();
  words.begin("");
  chooseLanguage(language);
  document.body.dataset.ready = "true";
}

begin().catch((error) => show("problem", error.message));
