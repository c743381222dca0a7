// The request as a program. JSON's strings, as JSON.stringify writes them, are strings of JavaScript and Python too.

const shellQuoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function pythonValue(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(pythonValue).join(", ")}]`;
  return JSON.stringify(value);
}

const pythonObject = (body) =>
  Object.entries(body).map(([key, value]) => `    ${JSON.stringify(key)}: ${pythonValue(value)},`).join("\n");

const fileOf = (body) => `speech.${body.format}`;

const programs = {
  curl: (url, body) =>
    `curl --fail-with-body ${shellQuoted(url)} -H 'Content-Type: application/json' \\
  --data-raw ${shellQuoted(JSON.stringify(body))} \\
  --output ${fileOf(body)}
`,

  Python: (url, body) => `import json
import urllib.request

body = {
${pythonObject(body)}
}
request = urllib.request.Request(
    ${JSON.stringify(url)},
    data=json.dumps(body).encode(),
    headers={"Content-Type": "application/json"},
)
with urllib.request.urlopen(request) as answer, open("${fileOf(body)}", "wb") as file:
    file.write(answer.read())
`,

  JavaScript: (url, body) => `const answer = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(${JSON.stringify(body, null, 2).replaceAll("\n", "\n  ")}),
});
if (!answer.ok) throw new Error((await answer.json()).detail);
const speech = await answer.blob();
`,
};

export const languages = Object.keys(programs);

/** A program in one of `languages` that sends `body` to /tts of the server at `origin`. */
export const snippet = (language, origin, body) => programs[language](`${origin}/tts`, body);
