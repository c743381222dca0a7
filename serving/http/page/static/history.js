// The last requests, kept in this browser alone. Where the browser keeps nothing, there is no history.

const KEY = "tts-serving.history";
const MOST = 20;

export function entries() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((entry) => typeof entry?.body?.text === "string").slice(0, MOST) : [];
  } catch {
    return []; // storage is off, or another program wrote here
  }
}

/** Puts a request first; the same one is kept once. */
export function remember(body) {
  const same = JSON.stringify(body);
  const others = entries().filter((entry) => JSON.stringify(entry.body) !== same);
  store([{ at: new Date().toISOString(), body }, ...others].slice(0, MOST));
}

export function forget() {
  try {
    localStorage.removeItem(KEY);
  } catch {
    // storage is off: there is nothing to forget
  }
}

function store(kept) {
  for (let count = kept.length; count > 0; count = Math.floor(count / 2)) {
    try {
      localStorage.setItem(KEY, JSON.stringify(kept.slice(0, count)));
      return;
    } catch {
      // full, or off: try with fewer, then with none
    }
  }
}
