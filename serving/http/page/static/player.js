// Sound from samples as they come. One AudioContext per sample rate, so that the browser resamples and nobody else.

const RESUME_S = 0.2; // after an underrun, wait for so much; twice that after the next
const MAX_RESUME_S = 3;
const IDLE_MS = 20_000; // a context that plays nothing is suspended after this

let kept = null; // {rate, context, ready}
let idle = 0;

function contextOf(rate) {
  if (kept?.rate !== rate) {
    kept?.context.close();
    const context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
    const ready = context.audioWorklet.addModule("/page/worklet.js");
    const mine = { rate, context, ready };
    kept = mine;
    ready.catch(() => {
      if (kept === mine) kept = null; // the next click tries again
    });
  }
  clearTimeout(idle);
  return kept;
}

function rest() {
  clearTimeout(idle);
  idle = setTimeout(() => kept?.context.suspend(), IDLE_MS);
}

/** Loads what plays at this rate, so that the first click need not wait for it. */
export function prepare(rate) {
  contextOf(rate);
}

/** Plays one utterance. Call `open` in the handler of a click or key, or the browser keeps it silent. */
export class Player {
  /** `tell` gets {started}, {played, queued, underruns} (samples), {stopped} and {finished} from the worklet. */
  static async open(rate, tell) {
    const { context, ready } = contextOf(rate);
    await Promise.all([ready, context.resume()]);
    return new Player(context, tell);
  }

  constructor(context, tell) {
    this.context = context;
    this.node = new AudioWorkletNode(context, "speech", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: {
        resumeSamples: Math.round(RESUME_S * context.sampleRate),
        maxResumeSamples: Math.round(MAX_RESUME_S * context.sampleRate),
      },
    });
    this.node.port.onmessage = ({ data }) => {
      if (data.stopped || data.finished) {
        this.node.disconnect();
        rest();
      }
      tell(data);
    };
    this.node.connect(context.destination);
  }

  /** Seconds from the worklet to the ear, as far as the browser knows. */
  get latency() {
    return this.context.outputLatency || this.context.baseLatency || 0;
  }

  /** The samples, an Int16Array, are copied. */
  push(samples) {
    const own = samples.slice();
    this.node.port.postMessage({ samples: own }, [own.buffer]);
  }

  end() {
    this.node.port.postMessage({ end: true });
  }

  stop() {
    this.node.port.postMessage({ stop: true });
  }
}
