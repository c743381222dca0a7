// A plot of lines over a logarithmic load, in SVG made here.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 480;
const HEIGHT = 250;
const LEFT = 44;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 36;

function svg(name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

/** About four round values from 0 to a little above `highest`. */
function ticks(highest) {
  const rough = highest / 4 || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * unit).find((value) => value >= rough);
  return Array.from({ length: Math.ceil(highest / step) + 1 }, (_, at) => Number((at * step).toPrecision(6)));
}

/**
 * `series` are {name, colour (0 to 3), second, points: [[x, y], ...]}; `second` draws a dashed line.
 * The values stand in a table beside it, so a screen reader gets `label` alone.
 */
export function plot(label, xTitle, series) {
  const points = series.flatMap((line) => line.points);
  const xs = [...new Set(points.map(([x]) => x))].sort((a, b) => a - b);
  const levels = ticks(Math.max(...points.map(([, y]) => y)));
  const [low, high] = [Math.log2(xs[0]), Math.log2(xs.at(-1))];
  const across = (x) => LEFT + (high > low ? (Math.log2(x) - low) / (high - low) : 0.5) * (WIDTH - LEFT - RIGHT);
  const down = (y) => HEIGHT - BOTTOM - (y / levels.at(-1)) * (HEIGHT - BOTTOM - TOP);
  const picture = svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const level of levels) {
    picture.append(
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: down(level), y2: down(level) }),
      svg("text", { x: LEFT - 8, y: down(level) + 4, "text-anchor": "end" }, String(level)),
    );
  }
  for (const x of xs) {
    picture.append(svg("text", { x: across(x), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, String(x)));
  }
  picture.append(svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, xTitle));
  for (const { colour, second, points: own } of series) {
    const path = own.map(([x, y]) => `${across(x)},${down(y)}`).join(" ");
    picture.append(svg("polyline", { class: `series s${colour}${second ? " second" : ""}`, points: path }));
    for (const [x, y] of own) {
      picture.append(svg("circle", { class: `dot s${colour}`, cx: across(x), cy: down(y), r: 3.5 }));
    }
  }
  return picture;
}

/** A stretch of the line of a series, for its key. */
export function stroke({ colour, second }) {
  const picture = svg("svg", { viewBox: "0 0 22 10", "aria-hidden": "true" });
  picture.append(svg("line", { class: `series s${colour}${second ? " second" : ""}`, x1: 0, x2: 22, y1: 5, y2: 5 }));
  return picture;
}
