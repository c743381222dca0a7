"""A run's JSON to Markdown, to one self-contained HTML page, and to the table in the README.

python -m bench report reports/latest/run.json
python -m bench report --readme reports/latest/run.json README.md
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.headline import plots
from bench.headline.summary import (
    DEFAULT_FLOOR,
    THROUGHPUT,
    TTFA,
    Comparison,
    Summary,
    compare_arms,
    stage_counts,
    summarise,
)
from bench.metrics import STALL_LIMITS_S
from bench.records import SPEED, Run, Sweep, load_run

README_START, README_END = "<!-- bench:start -->", "<!-- bench:end -->"
README_PLOT = "docs/media/ttfa.svg"

DEFINITIONS = {
    "TTFA": "audible time to first audio: from when the request was due until its listener hears the first sound "
    "(-45 dBFS in a frame of 10 ms); the silence before it is played first",
    "total": "from when the request was due to its last byte",
    "throughput": "seconds of good audio made per second, from the first due time to the last end",
    "stall": "how long the playback buffer of a player that starts at the first audio byte is empty, over streams "
    "of two chunks or more",
    "goodput": "requests per second that meet the SLO above",
    "RTF": "total over seconds of audio received; the wait for a free server is inside",
    "percentiles": "nearest rank over the pooled requests of the valid repeats: always a measured value",
    "rates": "median over the valid repeats of a load point",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the templates show."""

    run: Run
    summaries: list[Summary]
    comparisons: list[Comparison]
    server: str
    reference: str
    stage_counts: dict[str, dict[str, float]]
    stage_ms: dict[str, float]
    """Stage to milliseconds per second of audio, from the micro suite; empty if it was not run."""
    sweep: Sweep | None

    @property
    def invalid(self) -> list[Summary]:
        return [summary for summary in self.summaries if summary.invalid]

    def standing(self, name: str) -> list[Comparison]:
        """The comparisons that the server wins, loses, or are even or INVALID."""
        return [comparison for comparison in self.comparisons if comparison.standing == name]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot and what it shows."""

    id: str
    title: str
    caption: str
    svg: Markup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench report`."""
    parser.add_argument("run", type=Path, metavar="RUN.json")
    parser.add_argument("readme", type=Path, nargs="?", metavar="README.md", help="with --readme")
    parser.add_argument(
        "--readme", action="store_true", dest="table", help="write README.md's table and plot"
    )
    parser.add_argument("--server", default="granian", metavar="ARM")
    parser.add_argument("--reference", default="reference", metavar="ARM")


def main(arguments: argparse.Namespace) -> int:
    """Write the Markdown and the page beside the run, or its table into the README."""
    names = {"server": arguments.server, "reference": arguments.reference}
    try:
        if arguments.table:
            readme = arguments.readme or Path("README.md")
            update_readme(arguments.run, readme, **names)
            print(readme)
        else:
            for path in write_report(arguments.run, **names):
                print(path)
    except (OSError, ValueError) as error:
        print(f"bench report: {error}", file=sys.stderr)
        return 2
    return 0


def build(
    run: Run,
    *,
    server: str,
    reference: str,
    stage_ms: dict[str, float] | None = None,
    sweep: Sweep | None = None,
) -> Report:
    """Derive everything from the run; `stage_ms` and `sweep` add what was measured apart from it."""
    found = summarise(run)
    return Report(
        run=run,
        summaries=found,
        comparisons=compare_arms(run, found, server, reference),
        server=server,
        reference=reference,
        stage_counts=stage_counts(run, server),
        stage_ms=stage_ms or {},
        sweep=sweep,
    )


def markdown(report: Report) -> str:
    """The whole report without plots."""
    return _render(report, "report.md.j2")


def page(report: Report) -> str:
    """The whole report as one HTML page that needs no other file."""
    return _render(report, "report.html.j2", figures=_figures(report))


def write_report(run_path: Path, *, server: str, reference: str) -> tuple[Path, Path]:
    """Write the Markdown and the HTML beside the run; draw sweep.json and micro.json of that folder too."""
    folder = run_path.parent
    report = build(
        load_run(run_path),
        server=server,
        reference=reference,
        stage_ms=read_stage_ms(folder / "micro.json"),
        sweep=_read_sweep(folder / "sweep.json"),
    )
    markdown_path, page_path = run_path.with_suffix(".md"), run_path.with_suffix(".html")
    markdown_path.write_text(markdown(report), encoding="utf-8")
    page_path.write_text(page(report), encoding="utf-8")
    return markdown_path, page_path


def update_readme(run_path: Path, readme: Path, *, server: str, reference: str) -> None:
    """Write the run's table between the markers of the README, and its plot beside it.

    Raises ValueError if a marker is missing.
    """
    text = readme.read_text(encoding="utf-8")
    if text.count(README_START) != 1 or text.count(README_END) != 1:
        raise ValueError(f"{readme.name} must hold {README_START} and {README_END} once each")
    report = build(load_run(run_path), server=server, reference=reference)
    head, rest = text.split(README_START)
    tail = rest.split(README_END)[1]
    readme.write_text(f"{head}{README_START}\n{readme_table(report)}\n{README_END}{tail}", encoding="utf-8")
    plot = readme.parent / README_PLOT
    plot.parent.mkdir(parents=True, exist_ok=True)
    plot.write_text(readme_plot(report), encoding="utf-8")


def readme_table(report: Report) -> str:
    """The closed-loop /tts/stream points of the first text mix, server beside reference."""
    rows: dict[tuple[str, float], dict[str, Comparison]] = {}
    for comparison in report.comparisons:
        point = comparison.point
        if point.mode == "closed" and point.endpoint == "/tts/stream":
            rows.setdefault((point.texts, point.x), {})[comparison.criterion.name] = comparison
    table = [(texts, clients, row[TTFA.name], row[THROUGHPUT.name]) for (texts, clients), row in rows.items()]
    return _render(report, "readme.md.j2", rows=table).strip()


def readme_plot(report: Report) -> str:
    """TTFA of the points of the README's table, as an SVG file in the colours of the light page."""
    shown = [s for s in report.summaries if s.valid and s.point.mode == "closed"]
    drawing = plots.latency(shown, [report.server, report.reference])
    light = _environment().get_template("report.css").render().split("@media")[0]
    return plots.standalone(drawing, dict(re.findall(r"--([\w-]+): (#\w+)", light)))


def read_stage_ms(path: Path) -> dict[str, float]:
    """Benchmark to milliseconds per second of audio, from the micro suite's JSON; empty without the file."""
    if not path.exists():
        return {}
    found = {}
    for entry in msgspec.json.decode(path.read_bytes())["benchmarks"]:
        audio_s = entry["extra_info"].get("audio_s")
        if audio_s and entry["group"] == "stage":
            named = next(iter((entry["params"] or {}).values()), entry["name"].removeprefix("test_"))
            found[named] = entry["stats"]["median"] * 1e3 / audio_s
    return found


def _read_sweep(path: Path) -> Sweep | None:
    return msgspec.json.decode(path.read_bytes(), type=Sweep) if path.exists() else None


def _figures(report: Report) -> list[Figure]:
    """The plots that the measured points allow."""
    found, sweep = report.summaries, report.sweep
    arms = [arm.name for arm in report.run.arms if any(s.arm == arm.name and s.valid for s in found)]
    closed = [s for s in found if s.valid and s.point.mode == "closed"]
    figures = []

    def add(id: str, title: str, caption: str, svg: str) -> None:
        figures.append(Figure(id=id, title=title, caption=caption, svg=Markup(svg)))

    if any(s.valid and s.point.endpoint == "/tts/stream" for s in found):
        caption = "TTFA of /tts/stream: median, with a band from p5 to p95."
        add("latency", "Latency against load", caption, plots.latency(found, arms))
    if closed:
        caption = "Audio seconds made per second; each client asks again when it has its answer."
        add("throughput", "Throughput against clients", caption, plots.throughput(found, arms))
    if any(s.stalls_s for s in closed):
        caption = "Share of streams whose playback buffer is empty for at most x ms. Higher is better."
        add("stalls", "Stall curve", caption, plots.stalls(found, arms))
    if report.stage_ms:
        caption = "Time of each stage alone per second of audio (micro suite)."
        add("stages", "Stage breakdown", caption, plots.stages(report.stage_ms, "ms per second of audio"))
    if sweep is not None and (bars := speed_bars(sweep)):
        caption = "What each switch brought to the speed, with its interval."
        add("waterfall", "Sweep", caption, plots.waterfall(bars))
    return figures


def speed_bars(sweep: Sweep) -> list[plots.Bar]:
    """The switches that changed the speed, for the waterfall."""
    return [
        plots.Bar(
            label=switch.name,
            value=switch.gain,
            low=switch.gain_low or switch.gain,
            high=switch.gain_high or switch.gain,
        )
        for switch in sweep.switches
        if switch.gain is not None and switch.metric == SPEED
    ]


def _render(report: Report, template: str, **more: Any) -> str:
    return (
        _environment()
        .get_template(template)
        .render(
            report=report,
            run=report.run,
            definitions=DEFINITIONS,
            default_floor=DEFAULT_FLOOR,
            stall_limits_s=STALL_LIMITS_S,
            **more,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bench.headline"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ms": _ms, "num": _num, "times": _times, "percent": _percent, "slug": _slug}
    return environment


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def _num(value: Any) -> str:
    return (
        "–"
        if value is None
        else f"{value:.3g}"
        if isinstance(value, float) and value < 100
        else f"{value:.0f}"
    )


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.3g} %"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
