// What a listener gets, measured in the browser. All times are from the moment the request was sent.

const AUDIBLE = 10 ** (-45 / 20); // -45 dBFS
const FRAME_S = 0.01;

export class Figures {
  /** `places` are elements by name; the raw value stands in their data-value. */
  constructor(places) {
    this.places = places;
  }

  begin(rate) {
    this.sentMs = performance.now();
    this.rate = rate;
    this.samples = 0;
    this.firstByteMs = null;
    this.audibleAt = null; // sample
    this.startedMs = null;
    this.frame = { sum: 0, count: 0 };
    for (const place of Object.values(this.places)) {
      place.textContent = "–";
      delete place.dataset.value;
    }
  }

  audio(samples) {
    if (this.firstByteMs === null && samples.length) {
      this.firstByteMs = performance.now() - this.sentMs;
      this.#show("firstByte", this.firstByteMs, `${Math.round(this.firstByteMs)} ms`);
    }
    if (this.audibleAt === null) this.#listen(samples);
    this.samples += samples.length;
    this.#firstSound();
    this.#speed();
    this.#show("length", this.samples, `${(this.samples / this.rate).toFixed(1)} s`);
  }

  /** The first sample leaves the worklet now and is heard `latencyS` later. */
  started(latencyS) {
    this.startedMs = performance.now() - this.sentMs + latencyS * 1000;
    this.#firstSound();
  }

  complete() {
    this.#speed();
  }

  progress({ played, queued, underruns }) {
    this.#show("played", played, `${(played / this.rate).toFixed(1)} s`);
    this.#show("buffer", queued / this.rate, `${(queued / this.rate).toFixed(1)} s`);
    this.#show("underruns", underruns, String(underruns));
  }

  /** Finds the first frame of 10 ms whose level is above -45 dBFS. */
  #listen(samples) {
    const size = Math.round(this.rate * FRAME_S);
    for (let i = 0; i < samples.length; i += 1) {
      this.frame.sum += (samples[i] / 32768) ** 2;
      this.frame.count += 1;
      if (this.frame.count < size) continue;
      if (Math.sqrt(this.frame.sum / size) > AUDIBLE) {
        this.audibleAt = this.samples + i + 1 - size;
        return;
      }
      this.frame = { sum: 0, count: 0 };
    }
  }

  #firstSound() {
    if (this.audibleAt === null || this.startedMs === null) return;
    const ms = this.startedMs + (this.audibleAt / this.rate) * 1000;
    this.#show("firstSound", ms, `${Math.round(ms)} ms`);
  }

  #speed() {
    if (!this.samples) return;
    const factor = (performance.now() - this.sentMs) / 1000 / (this.samples / this.rate);
    this.#show("factor", factor, factor.toFixed(factor < 0.1 ? 3 : 2));
  }

  #show(name, value, text) {
    this.places[name].dataset.value = value;
    this.places[name].textContent = text;
  }
}
