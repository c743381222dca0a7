// The waveform, drawn as samples come. The whole of what there is fills the width.

const BAR_SAMPLES = 240; // finest: 10 ms at 24 kHz
const BAR_PX = 3;

export class Waveform {
  constructor(canvas) {
    this.canvas = canvas;
    this.begin();
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  begin() {
    this.peaks = []; // of BAR_SAMPLES each
    this.peak = 0;
    this.inBar = 0;
    this.total = 0;
    this.playedShare = 0;
    this.#draw();
  }

  add(samples) {
    for (const sample of samples) {
      this.peak = Math.max(this.peak, Math.abs(sample) / 32768);
      this.inBar += 1;
      if (this.inBar === BAR_SAMPLES) {
        this.peaks.push(this.peak);
        this.peak = 0;
        this.inBar = 0;
      }
    }
    this.total += samples.length;
    this.#draw();
  }

  /** Colours what was heard of it. */
  played(samples) {
    this.playedShare = this.total ? samples / this.total : 0;
    this.#draw();
  }

  #draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.#paint();
    });
  }

  #paint() {
    const { canvas, peaks } = this;
    const scale = devicePixelRatio;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const paint = canvas.getContext("2d");
    paint.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const [heard, waiting] = ["--accent", "--wave"].map((name) => style.getPropertyValue(name));
    const bars = Math.floor(width / BAR_PX);
    const loudest = Math.max(0.25, ...downsampled(peaks, bars));
    downsampled(peaks, bars).forEach((peak, at) => {
      const tall = Math.max(2, (peak / loudest) * height * 0.92);
      paint.fillStyle = at / bars < this.playedShare ? heard : waiting;
      paint.beginPath();
      paint.roundRect(at * BAR_PX, (height - tall) / 2, BAR_PX - 1, tall, 1);
      paint.fill();
    });
  }
}

/** `count` values, each the largest of its share of `peaks`; flat where there are none. */
function downsampled(peaks, count) {
  return Array.from({ length: count }, (_, at) => {
    const from = Math.floor((at * peaks.length) / count);
    const to = Math.max(from + 1, Math.floor(((at + 1) * peaks.length) / count));
    let largest = 0;
    for (let i = from; i < Math.min(to, peaks.length); i += 1) largest = Math.max(largest, peaks[i]);
    return largest;
  });
}
