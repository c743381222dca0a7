// Figures of a run of the bench, from its raw samples. The definitions are those of bench/metrics.py.

const audioS = (sample) =>
  sample.events.length
    ? sample.events.reduce((sum, [, bytes]) => sum + bytes, 0) / sample.frame_bytes / sample.sample_rate_hz
    : 0;

/**
 * When the listener of a stream hears its first sound, from when it was due; null if never. Silence before the sound
 * is played first, and a piece that came late has stopped the player. A run of schema 1 tells its first byte alone.
 */
function firstSoundS(sample) {
  if (sample.heard === undefined) return sample.events.length ? sample.events[0][0] - sample.due_s : null;
  const at = sample.heard?.audible_at_s ?? null;
  if (at === null) return null;
  let before = 0;
  let latest = -Infinity;
  for (const [time, bytes] of sample.events) {
    const whole = before - (before % sample.frame_bytes);
    const position = whole / sample.frame_bytes / sample.sample_rate_hz;
    if (before + bytes >= sample.frame_bytes && position <= at) latest = Math.max(latest, time - position);
    before += bytes;
  }
  return latest === -Infinity ? null : at + latest - sample.due_s;
}

/** From so many requests on the bench gives a p95. */
const LEAST_FOR_P95 = 60;

/** The nearest-rank percentile; null of no values. */
function percentile(values, percent) {
  if (!values.length) return null;
  const rank = Math.ceil(Number(((percent / 100) * values.length).toFixed(9)));
  return values.toSorted((a, b) => a - b)[Math.max(rank, 1) - 1];
}

function median(values) {
  if (!values.length) return null;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function speed(samples) {
  const from = Math.min(...samples.map((sample) => sample.due_s));
  const to = Math.max(...samples.map((sample) => sample.end_s));
  const good = samples.filter((sample) => sample.error == null);
  return to > from ? good.reduce((sum, sample) => sum + audioS(sample), 0) / (to - from) : 0;
}

export const isRun = (document) => Array.isArray(document?.cells) && Array.isArray(document?.arms);

/**
 * Of each arm at each load point: {arm, endpoint, texts, x, load, requests, errors, ttfaMs, ttfaP95Ms, speed}.
 * Latencies are of the pooled good samples of the valid repeats, rates their median.
 */
export function summaries(run) {
  const groups = new Map();
  for (const cell of run.cells) {
    const open = cell.rate_rps != null;
    const x = open ? cell.rate_rps : cell.clients;
    const point = { arm: cell.arm, endpoint: cell.endpoint, texts: cell.texts, x };
    const key = JSON.stringify([point, open]);
    const load = open ? `${x} requests/s` : `${x} ${x === 1 ? "client" : "clients"}`;
    if (!groups.has(key)) groups.set(key, { ...point, load, open, cells: [] });
    if (cell.verdict === "VALID") groups.get(key).cells.push(cell.samples);
  }
  return [...groups.values()].map(({ cells, ...point }) => {
    const samples = cells.flat();
    const good = samples.filter((sample) => sample.error == null);
    const streams = good.filter((sample) => sample.streaming && sample.events.length);
    const ttfa = streams.map(firstSoundS).filter((first) => first !== null).map((first) => first * 1000);
    return {
      ...point,
      requests: samples.length,
      errors: samples.length - good.length,
      ttfaMs: percentile(ttfa, 50),
      ttfaP95Ms: ttfa.length >= LEAST_FOR_P95 ? percentile(ttfa, 95) : null,
      totalMs: percentile(good.map((sample) => (sample.end_s - sample.due_s) * 1000), 50),
      speed: median(cells.map(speed)),
    };
  });
}

/** Every number of a document that is no run, by its path in words; long lists are left out. */
export function numbers(document, path = []) {
  if (typeof document === "number") return [[path.join(" · "), document]];
  if (Array.isArray(document)) {
    if (document.length > 24) return [];
    return document.flatMap((value, at) => numbers(value, [...path, nameOf(value, at)]));
  }
  if (!document || typeof document !== "object") return [];
  return Object.entries(document).flatMap(([key, value]) => numbers(value, [...path, key]));
}

/** What an element of a list is called by its own fields, else its place. */
function nameOf(value, at) {
  const own = ["metric", "name", "arm"].map((key) => value?.[key]).find((name) => typeof name === "string");
  return own ? `${own} ${at + 1}` : String(at + 1);
}
