"""A run's JSON to Markdown, to one self-contained HTML page, and to the table in the README.

python -m bench report reports/latest/run.json
python -m bench report --publish reports/latest/run.json
python -m bench report --readme reports/2026-01-02-some-cpu-2-cores/run.json README.md
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.headline import drawing, plots
from bench.headline.figures import figures_of, slug
from bench.headline.render import DEFINITIONS, environment
from bench.headline.sounds import Sound, sounds
from bench.headline.standing import (
    DEFAULT_FLOOR,
    STANDINGS,
    THROUGHPUT,
    TTFA,
    Comparison,
    compare_arms,
    reference_of,
)
from bench.headline.summary import Summary, stage_counts, summarise
from bench.headline.verdict import Verdict, verdict
from bench.machine import machine_name
from bench.metrics import STALL_LIMITS_S
from bench.records import UNHEARD, Run, Sweep, load_run

README_START, README_END = "<!-- bench:start -->", "<!-- bench:end -->"
README_PLOT = "docs/media/ttfa.svg"


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the templates show."""

    run: Run
    machine: str
    summaries: list[Summary]
    comparisons: list[Comparison]
    server: str
    reference: str
    verdict: Verdict
    noise: list[Comparison]
    """The server against its twin; empty without one."""
    sounds: list[Sound]
    stage_counts: dict[str, dict[str, float]]
    stage_ms: dict[str, float]
    """Stage to milliseconds per second of audio, from the micro suite; empty if it was not run."""
    sweep: Sweep | None

    @property
    def invalid(self) -> list[Summary]:
        return [summary for summary in self.summaries if summary.invalid]

    def standing(self, name: str) -> list[Comparison]:
        """The comparisons that the server wins, loses, that are even, or that are not ranked."""
        return [comparison for comparison in self.comparisons if comparison.standing == name]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench report`."""
    parser.add_argument("run", type=Path, metavar="RUN.json")
    parser.add_argument("readme", type=Path, nargs="?", metavar="README.md", help="with --readme")
    parser.add_argument(
        "--readme", action="store_true", dest="table", help="write README.md's table and plot"
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="copy the run and its reports to a folder of their own under reports/",
    )
    parser.add_argument("--server", metavar="ARM", help="default: the run's first")
    parser.add_argument("--reference", metavar="ARM", help="default: as `bench run` compares")


def main(arguments: argparse.Namespace) -> int:
    """Write the Markdown and the page beside the run, or its table into the README."""
    try:
        names = _names(arguments)
        if arguments.table:
            readme = arguments.readme or Path("README.md")
            update_readme(arguments.run, readme, **names)
            print(readme)
            return 0
        for path in write_report(arguments.run, **names):
            print(path)
        if arguments.publish:
            print(publish(arguments.run, arguments.run.parent.parent))
    except (OSError, ValueError) as error:
        print(f"bench report: {error}", file=sys.stderr)
        return 2
    return 0


def _names(arguments: argparse.Namespace) -> dict[str, str]:
    """The two arms of a report. Raises OSError and ValueError as load_run."""
    arms = [arm.name for arm in load_run(arguments.run).arms]
    server = arguments.server or next(iter(arms), "")
    others = [name for name in arms if name != server]
    return {"server": server, "reference": arguments.reference or reference_of([server, *others])}


def build(
    run: Run,
    *,
    server: str,
    reference: str,
    stage_ms: dict[str, float] | None = None,
    sweep: Sweep | None = None,
    folder: Path | None = None,
) -> Report:
    """Derive everything from the run; `stage_ms` and `sweep` add what was measured apart, `folder` holds its waves."""
    found = summarise(run)
    comparisons = compare_arms(run, found, server, reference)
    return Report(
        run=run,
        machine=machine_name(run.machine),
        summaries=found,
        comparisons=comparisons,
        server=server,
        reference=reference,
        verdict=verdict(run, found, comparisons, server, reference),
        noise=compare_arms(run, found, server, "twin") if reference != "twin" else [],
        sounds=sounds(run, folder) if folder is not None else [],
        stage_counts=stage_counts(run, server),
        stage_ms=stage_ms or {},
        sweep=sweep,
    )


def markdown(report: Report) -> str:
    """The whole report without plots."""
    return _render(report, "report.md.j2")


def page(report: Report, raw: str = "run.json") -> str:
    """The whole report as one HTML page that needs no other file; `raw` is the file beside it with the samples."""
    return _render(
        report,
        "report.html.j2",
        figures=figures_of(
            report.run,
            report.summaries,
            stage_counts=report.stage_counts,
            stage_ms=report.stage_ms,
            sweep=report.sweep,
        ),
        raw=raw,
    )


def write_report(run_path: Path, *, server: str, reference: str) -> tuple[Path, Path]:
    """Write the Markdown and the HTML beside the run; draw sweep.json and micro.json of that folder too."""
    folder = run_path.parent
    report = build(
        load_run(run_path),
        server=server,
        reference=reference,
        stage_ms=read_stage_ms(folder / "micro.json"),
        sweep=_read_sweep(folder / "sweep.json"),
        folder=folder,
    )
    markdown_path, page_path = run_path.with_suffix(".md"), run_path.with_suffix(".html")
    markdown_path.write_text(markdown(report), encoding="utf-8")
    page_path.write_text(page(report, run_path.name), encoding="utf-8")
    return markdown_path, page_path


def publish(run_path: Path, reports: Path) -> Path:
    """Copy a run and its reports to `reports`/DATE-MACHINE, which is given back.

    Raises ValueError if a load point of it is INVALID, or if there is such a folder.
    """
    run = load_run(run_path)
    if unheard := [words for words in run.exclusions if UNHEARD in words]:
        raise ValueError(f"{run_path.name} is not published: {unheard[0]}")
    if invalid := sorted({cell.arm for cell in run.cells if cell.verdict == "INVALID"}):
        raise ValueError(f"{run_path.name} is not published: {', '.join(invalid)} INVALID")
    facts = run.machine
    kind = f"{facts.get('cpu', 'unknown')} {facts.get('cpu_family', '')} {facts.get('cpu_model', '')}"
    folder = reports / slug(f"{run.started_at[:10]} {kind} {facts.get('cores', '')} cores")
    if folder.exists():
        raise ValueError(f"{folder.name} is there already")
    folder.mkdir(parents=True)
    for suffix in (".json", ".md", ".html"):
        shutil.copy(run_path.with_suffix(suffix), folder)
    return folder


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
    picture = plots.wide_latency(shown, [report.server, report.reference])
    light = environment().get_template("report.css").render().split("@media")[0]
    return drawing.standalone(picture, dict(re.findall(r"--([\w-]+): (#\w+)", light)))


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


def _render(report: Report, template: str, **more: Any) -> str:
    return (
        environment()
        .get_template(template)
        .render(
            report=report,
            run=report.run,
            definitions=DEFINITIONS,
            default_floor=DEFAULT_FLOOR,
            standings=STANDINGS,
            colours={arm.name: index % drawing.ARMS for index, arm in enumerate(report.run.arms)},
            stall_limits_s=STALL_LIMITS_S,
            **more,
        )
    )
