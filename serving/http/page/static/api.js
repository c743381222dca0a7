// The server's answers, and its refusals in words.

import { askForKey, keyHeaders } from "./key.js";
import { MultipartReader } from "./multipart.js";

/** The server refused, broke off, or cannot be reached; the message is a sentence for people. */
export class Refused extends Error {}

const UNREACHABLE = "The server cannot be reached. Is it still running?";

async function ask(path, options = {}) {
  try {
    const answer = await fetch(path, { ...options, headers: { ...options.headers, ...keyHeaders() } });
    if (answer.status === 401) askForKey();
    return answer;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(UNREACHABLE, { cause: error });
  }
}

async function checked(path, options) {
  const answer = await ask(path, options);
  if (!answer.ok) throw new Refused(await reason(answer));
  return answer;
}

/** Why an answer is a refusal: problem+json, or the envelope of OpenAI's API. */
async function reason(answer) {
  let said = "";
  try {
    const body = await answer.json();
    said = body.detail ?? body.error?.message ?? "";
  } catch {
    // no JSON: a proxy's page, or nothing; the status is all there is to say
  }
  said ||= `The server answered ${answer.status} ${answer.statusText}`.trim();
  said = said[0].toUpperCase() + said.slice(1);
  if (!/[.!?]$/.test(said)) said += ".";
  const after = answer.headers.get("Retry-After");
  return after ? `${said} Try again in ${after} s.` : said;
}

const jsonBody = (body, signal) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

export const getJson = async (path) => (await checked(path)).json();

/** Like getJson, but a 503 of /readyz is an answer too. */
export const readiness = async () => (await ask("/readyz")).json();

export const whole = async (body) => (await checked("/tts", jsonBody(body))).blob();

export const addVoice = (form) => checked("/v1/audio/voices", { method: "POST", body: form });

export const deleteVoice = (id) =>
  checked(`/v1/audio/voices/${encodeURIComponent(id)}`, { method: "DELETE" });

/**
 * Speak; onAudio gets Int16Arrays and onSentence the times of sentences, as they come. Returns when all has come.
 * Throws Refused, and AbortError after an abort of `signal`.
 */
export async function stream(body, signal, { onHeaders, onAudio, onSentence }) {
  const answer = await checked("/tts/stream", jsonBody(body, signal));
  onHeaders(answer.headers);
  const parts = new MultipartReader(answer.headers.get("Content-Type"));
  const samples = new SampleReader();
  const reader = answer.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      for (const part of parts.feed(value)) {
        if (part.type === "application/json") onSentence(JSON.parse(new TextDecoder().decode(part.content)));
        else onAudio(samples.feed(part.content));
      }
    }
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) throw error;
    throw new Refused("The answer broke off before its end.", { cause: error });
  }
  if (!parts.complete) throw new Refused("The answer broke off before its end.");
}

/** Bytes to 16-bit samples; an odd byte waits for its other half. */
class SampleReader {
  rest = new Uint8Array(0);

  feed(bytes) {
    const all = new Uint8Array(this.rest.length + bytes.length);
    all.set(this.rest);
    all.set(bytes, this.rest.length);
    const even = all.length & ~1;
    this.rest = all.slice(even);
    return new Int16Array(all.buffer, 0, even / 2);
  }
}
