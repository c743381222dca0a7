// Plays the samples that it is given, in order and in the audio thread. A queue that runs empty before the end is an
// underrun: it is counted, and sound goes on when `resume` samples have come, twice as many after each one.

const REPORT_SAMPLES = 512;
const FADE_SAMPLES = 128; // so that Stop does not click: 5 ms at 24 kHz

class Speech extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.queue = [];
    this.offset = 0; // in queue[0]
    this.queued = 0;
    this.played = 0;
    this.underruns = 0;
    this.reported = 0;
    this.playing = false;
    this.ended = false;
    this.fade = -1; // samples left of the fade-out once stopped
    this.resume = processorOptions.resumeSamples;
    this.maxResume = processorOptions.maxResumeSamples;
    this.wanted = 1;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  take(message) {
    if (message.samples) {
      this.queue.push(message.samples);
      this.queued += message.samples.length;
    } else if (message.end) {
      this.ended = true;
    } else if (message.stop) {
      this.fade = Math.min(FADE_SAMPLES, this.playing ? this.queued : 0);
    }
  }

  process(_, [[out]]) {
    if (!this.playing && this.fade < 0 && (this.queued >= this.wanted || (this.ended && this.queued))) {
      this.playing = true;
      if (!this.played) this.port.postMessage({ started: true });
    }
    const count = this.playing ? this.fill(out) : 0;
    this.played += count;
    if (this.fade === 0) return this.leave("stopped");
    if (this.ended && !this.queued) return this.leave("finished");
    if (this.playing && !this.queued) {
      this.playing = false;
      this.underruns += 1;
      this.wanted = this.resume;
      this.resume = Math.min(2 * this.resume, this.maxResume);
      this.report();
    } else if (this.played - this.reported >= REPORT_SAMPLES) {
      this.report();
    }
    return true;
  }

  /** Fills `out` as far as there are samples; returns how many there were. */
  fill(out) {
    let at = 0;
    while (at < out.length && this.queued && this.fade !== 0) {
      const chunk = this.queue[0];
      out[at] = chunk[this.offset] / 32768;
      if (this.fade > 0) {
        out[at] *= this.fade / FADE_SAMPLES;
        this.fade -= 1;
      }
      at += 1;
      this.queued -= 1;
      this.offset += 1;
      if (this.offset === chunk.length) {
        this.queue.shift();
        this.offset = 0;
      }
    }
    return at;
  }

  report() {
    this.reported = this.played;
    this.port.postMessage({ played: this.played, queued: this.queued, underruns: this.underruns });
  }

  leave(how) {
    this.report();
    this.port.postMessage({ [how]: true });
    this.queue = [];
    return false;
  }
}

registerProcessor("speech", Speech);
