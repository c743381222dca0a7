// The page at /bench: one report, or two side by side. It only reads.

import { getJson } from "./api.js";
import { byId, make } from "./dom.js";
import { plot, stroke } from "./plot.js";
import { isRun, numbers, summaries } from "./runs.js";

const MOST_COLOURS = 4;
const FIGURES = [
  { name: "TTFA p50", key: "ttfaMs", unit: "ms", lower: true, digits: 1 },
  { name: "TTFA p95", key: "ttfaP95Ms", unit: "ms", lower: true, digits: 0 },
  { name: "Whole answer p50", key: "totalMs", unit: "ms", lower: true, digits: 0 },
  { name: "Audio s/s", key: "speed", unit: "", lower: false, digits: 1 },
];
const EVEN = 0.05; // a smaller difference is no difference

const addressOf = (path) => `/bench/reports/${path.split("/").map(encodeURIComponent).join("/")}`;
const show = (id, sentence) => (byId(id).textContent = sentence);
let reports = [];
let shown = 0; // counts what was asked for, so that a slow answer cannot overtake a later one

async function begin() {
  const listed = await getJson("/bench/reports");
  reports = listed.reports;
  const paths = reports.flatMap(({ name, files }) =>
    files.filter((file) => file.name.endsWith(".json")).map((file) => `${name}/${file.name}`),
  );
  if (!paths.length) {
    const where = listed.folder ? `The folder “${listed.folder}” holds no reports.` : "This server shows no reports.";
    show("note", `${where} nox -s bench makes one.`);
  }
  // The headline's run first: it is what most readers come for.
  paths.sort((a, b) => b.endsWith("/run.json") - a.endsWith("/run.json"));
  const option = (path) => make("option", { value: path }, path.replace(/\.json$/, "").replace("/", " · "));
  byId("report").append(...paths.map(option));
  byId("other").append(make("option", { value: "" }, "nothing"), ...paths.map(option));
  for (const id of ["report", "other"]) {
    byId(id).disabled = !paths.length;
    byId(id).addEventListener("change", choose);
  }
  const asked = new URLSearchParams(location.search);
  for (const id of ["report", "other"]) if (paths.includes(asked.get(id))) byId(id).value = asked.get(id);
  if (paths.length) await draw();
  document.body.dataset.ready = "true";
}

function choose() {
  const query = new URLSearchParams({ report: byId("report").value });
  if (byId("other").value) query.set("other", byId("other").value);
  window.history.replaceState(null, "", `?${query}`);
  draw();
}

async function draw() {
  shown += 1;
  const mine = shown;
  const [path, other] = [byId("report").value, byId("other").value];
  show("problem", "");
  show("note", "Reading");
  try {
    const [one, two] = await Promise.all([path, other].map((wanted) => wanted && getJson(addressOf(wanted))));
    if (mine !== shown) return;
    show("note", "");
    listFiles(path);
    listFacts(one);
    byId("shown").replaceChildren(...(other ? compared(one, two) : alone(one, path)));
  } catch (error) {
    if (mine !== shown) return;
    byId("shown").replaceChildren();
    byId("facts").hidden = true;
    show("note", "");
    show("problem", error instanceof SyntaxError ? "The report is no JSON." : error.message);
  }
}

/** Links to the files beside the JSON that stand for the same report. */
function listFiles(path) {
  const [folder, name] = path.split("/");
  const stem = name.replace(/\.json$/, "");
  const files = reports.find((report) => report.name === folder).files.filter((file) => file.name.startsWith(`${stem}.`));
  byId("files").replaceChildren(
    ...files.map((file) => {
      const size = file.bytes < 1e6 ? `${Math.ceil(file.bytes / 1e3)} kB` : `${(file.bytes / 1e6).toFixed(1)} MB`;
      return make("a", { href: addressOf(`${folder}/${file.name}`) }, `${file.name} (${size})`);
    }),
  );
}

// ---- one report --------------------------------------------------------------------------------

function alone(document, path) {
  const parts = [];
  if (isRun(document)) {
    const found = summaries(document);
    parts.push(...plots(found.map((one) => ({ ...one, second: false, line: one.arm }))), table(found));
  } else {
    parts.push(plain("Figures", ["Figure", "Value"], numbers(document).map(([name, value]) => [name, number(value)])));
  }
  const html = path.replace(/\.json$/, ".html").split("/");
  if (reports.find((report) => report.name === html[0]).files.some((file) => file.name === html[1])) {
    const frame = make("iframe", { title: "The report's own page", src: addressOf(html.join("/")), loading: "lazy" });
    frame.setAttribute("sandbox", "");
    parts.push(make("section", { className: "card" }, make("h2", {}, "The report’s own page"), frame));
  }
  return parts;
}

/** What tells processors of one name apart; an older report does not say it. */
function processor({ cpu_family: family, cpu_model: model, cpu_stepping: stepping, instruction_sets: sets }) {
  if (!sets) return "";
  const numbers = family === undefined ? "" : `family ${family}, model ${model}, stepping ${stepping}; `;
  return ` (${numbers}${sets.join(", ") || "no AVX2"})`;
}

function listFacts(document) {
  const { machine, commit, head, profile, started_at: at, dirty } = document;
  const rows = [
    ["Machine", machine && `${machine.cpu}${processor(machine)}, ${machine.cores} cores, ${machine.memory_gib} GiB`],
    ["Commit", (commit ?? head) && `${(commit ?? head).slice(0, 12)}${dirty ? ", with changes" : ""}`],
    ["Profile", profile],
    ["TTFA", document.schema_version === 1 && "first byte, not first sound: an older run"],
    ["When", at && new Date(at).toLocaleString()],
  ].filter(([, value]) => value);
  byId("facts").replaceChildren(...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  byId("facts").hidden = !rows.length;
}

function table(found) {
  const head = ["Endpoint, texts", "Load", "Server", "Requests", ...FIGURES.map(titleOf), "Errors"];
  const rows = found.map((one) => [
    `${one.endpoint}, ${one.texts}`,
    one.load,
    one.arm,
    String(one.requests),
    ...FIGURES.map(({ key, digits }) => number(one[key], digits)),
    String(one.errors),
  ]);
  return plain("All load points", head, rows);
}

/** TTFA and throughput of streams against the number of clients, a pair of plots for each mix of texts. */
function plots(found) {
  const streams = found.filter((one) => one.endpoint === "/tts/stream" && !one.open && one.x > 0);
  const sets = [...new Set(streams.map((one) => one.texts))];
  const pictures = sets.flatMap((texts) =>
    FIGURES.filter(({ key }) => key === "ttfaMs" || key === "speed").map((figure) => {
      const own = streams.filter((one) => one.texts === texts && one[figure.key] !== null);
      const lines = [...new Set(own.map((one) => one.line))];
      const arms = [...new Set(own.map((one) => one.arm))];
      const series = lines.slice(0, 2 * MOST_COLOURS).map((line) => {
        const these = own.filter((one) => one.line === line).sort((a, b) => a.x - b.x);
        const { arm, second } = these[0];
        return { name: line, colour: arms.indexOf(arm) % MOST_COLOURS, second, points: these.map((one) => [one.x, one[figure.key]]) };
      });
      if (!series.length) return null;
      const title = `${titleOf(figure)}, ${texts} texts`;
      const key = make("p", { className: "key" }, ...series.map((line) => make("span", {}, stroke(line), line.name)));
      return make("figure", { className: "card" }, make("figcaption", {}, title), plot(title, "clients", series), key);
    }),
  );
  const drawn = pictures.filter(Boolean);
  return drawn.length ? [make("div", { className: "plots" }, ...drawn)] : [];
}

// ---- two reports -------------------------------------------------------------------------------

function compared(one, two) {
  if (isRun(one) && isRun(two)) return comparedRuns(summaries(one), summaries(two));
  const others = new Map(numbers(two));
  const rows = numbers(one)
    .filter(([name]) => others.has(name))
    .map(([name, value]) => [name, number(value), number(others.get(name)), ratio(value, others.get(name))]);
  if (!rows.length) return [make("p", { className: "card" }, "These two reports have no figure in common.")];
  return [plain("Figures that both have", ["Figure", "This", "Other", "This / other"], rows)];
}

function comparedRuns(mine, others) {
  const keyOf = ({ arm, endpoint, texts, load }) => JSON.stringify([arm, endpoint, texts, load]);
  const byKey = new Map(others.map((other) => [keyOf(other), other]));
  const both = mine.filter((one) => byKey.has(keyOf(one)));
  if (!both.length) return [make("p", { className: "card" }, "These two runs have no load point in common.")];
  const rows = both.flatMap((one) =>
    FIGURES.filter(({ key }) => one[key] !== null && byKey.get(keyOf(one))[key] !== null).map((figure) => {
      const [value, other] = [one[figure.key], byKey.get(keyOf(one))[figure.key]];
      return [
        `${one.endpoint}, ${one.texts}`,
        one.load,
        one.arm,
        titleOf(figure),
        number(value, figure.digits),
        number(other, figure.digits),
        ratio(value, other, figure.lower),
      ];
    }),
  );
  const lines = [
    ...both.map((one) => ({ ...one, second: false, line: `${one.arm}, this` })),
    ...both.map((one) => ({ ...byKey.get(keyOf(one)), second: true, line: `${one.arm}, other` })),
  ];
  const head = ["Endpoint, texts", "Load", "Server", "Figure", "This", "Other", "This / other"];
  return [...plots(lines), plain("Load points that both have", head, rows)];
}

/** The ratio, coloured where `lower` says which way is better. */
function ratio(value, other, lower) {
  const times = value / other;
  if (!Number.isFinite(times)) return "–";
  const text = `${times.toFixed(2)}×`;
  if (lower === undefined || Math.abs(times - 1) < EVEN) return text;
  const better = times < 1 === lower;
  return make("span", { className: better ? "better" : "worse" }, `${text} ${better ? "better" : "worse"}`);
}

// ---- tables ------------------------------------------------------------------------------------

const titleOf = ({ name, unit }) => (unit ? `${name}, ${unit}` : name);

function number(value, digits) {
  if (value === null || value === undefined) return "–";
  return digits === undefined ? String(Number(value.toPrecision(4))) : value.toFixed(digits);
}

const isNumeric = (cell) => cell instanceof Node || /^[-–\d.e+×]+$/.test(cell);

function plain(title, head, rows) {
  const numeric = head.map((_, at) => rows.length > 0 && rows.every((row) => isNumeric(row[at])));
  const cell = (kind, at, content) => make(kind, { className: numeric[at] ? "number" : "" }, content);
  const body = rows.map((row) =>
    make("tr", {}, ...row.map((content, at) => {
      const made = cell(at ? "td" : "th", at, content);
      if (!at) made.scope = "row";
      return made;
    })),
  );
  const columns = head.map((content, at) => Object.assign(cell("th", at, content), { scope: "col" }));
  const top = head.some(Boolean) ? [make("thead", {}, make("tr", {}, ...columns))] : [];
  const made = make("table", {}, make("caption", {}, title), ...top, make("tbody", {}, ...body));
  const scroll = make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": title }, made);
  return make("section", { className: "card" }, scroll);
}

begin().catch((error) => show("problem", error.message));
