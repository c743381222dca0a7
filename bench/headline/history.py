"""`python -m bench history`: all published runs, machine by machine, commit after commit.

    python -m bench history                 # reports/*/run.json to reports/history.html
    python -m bench history reports --output elsewhere.html

Lines join runs of one machine alone: a figure of another says nothing of a commit. What cannot be read is named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from bench.headline import plots
from bench.headline.figures import labelled
from bench.headline.intervals import Estimate
from bench.headline.render import environment
from bench.headline.standing import CRITERIA, Criterion, compare_arms, criteria_of, reference_of
from bench.headline.summary import summarise
from bench.headline.verdict import verdict
from bench.machine import machine_name
from bench.records import LoadPoint, Run, load_run

RUN_FILE = "run.json"
PAGE_FILE = "history.html"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run and what it says of its first arm."""

    folder: str
    run: Run
    machine: str
    title: str
    figures: dict[tuple[Criterion, LoadPoint], Estimate]

    @property
    def commit(self) -> str:
        return (self.run.commit or "unknown")[:10] + ("+" if self.run.dirty else "")

    @property
    def label(self) -> str:
        return f"{self.run.started_at[5:10]} {self.commit[:7]}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure at one load point through the runs of a machine."""

    criterion: Criterion
    point: LoadPoint
    values: list[Estimate | None]
    """One per run of the machine."""

    @property
    def change(self) -> str:
        """The last value over the first, and whether their intervals part; empty with fewer than two."""
        known = [value for value in self.values if value is not None]
        if len(known) < 2 or not known[0].value:
            return ""
        first, last = known[0], known[-1]
        said = f"{last.value / first.value:.2f}×"
        if None in (first.low, first.high, last.low, last.high):
            return said
        assert first.low is not None
        assert first.high is not None
        assert last.low is not None
        assert last.high is not None
        if last.low <= first.high and first.low <= last.high:
            return f"{said}, intervals overlap"
        rose = last.value > first.value
        return f"{said}, {'better' if rose == (self.criterion.better == 'higher') else 'worse'}"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The runs of one machine, oldest first."""

    name: str
    entries: list[Entry]
    rows: list[Row]
    panels: list[Markup]


@dataclass(frozen=True, kw_only=True)
class History:
    """All that the page shows."""

    machines: list[Machine]
    unreadable: list[tuple[str, str]]
    """Folder and why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench history`."""
    parser.add_argument("folder", type=Path, nargs="?", default=Path("reports"), help="default: reports")
    parser.add_argument("--output", type=Path, metavar="FILE.html", help=f"default: FOLDER/{PAGE_FILE}")


def main(arguments: argparse.Namespace) -> int:
    """Write the page. Returns 2 if there is no run that can be read."""
    found = read_history(arguments.folder)
    for folder, why in found.unreadable:
        print(f"bench history: {folder}: {why}", file=sys.stderr)
    if not found.machines:
        print(f"bench history: no run in {arguments.folder} that can be read", file=sys.stderr)
        return 2
    output = arguments.output or arguments.folder / PAGE_FILE
    output.write_text(page(found), encoding="utf-8")
    print(output)
    return 0


def read_history(folder: Path) -> History:
    """The runs FOLDER/*/run.json, without FOLDER/latest, which is published nowhere."""
    entries, unreadable = [], []
    for path in sorted(folder.glob(f"*/{RUN_FILE}")):
        if path.parent.name == "latest":
            continue
        try:
            entries.append(_entry(path.parent.name, load_run(path)))
        except (OSError, ValueError) as error:
            unreadable.append((path.parent.name, str(error)))
    entries.sort(key=lambda entry: entry.run.started_at)
    names = list(dict.fromkeys(entry.machine for entry in entries))
    machines = [_machine(name, [entry for entry in entries if entry.machine == name]) for name in names]
    return History(machines=machines, unreadable=unreadable)


def page(history: History) -> str:
    """One page that needs no other file; it links to the reports beside it."""
    return environment().get_template("history.html.j2").render(history=history)


def _entry(folder: str, run: Run) -> Entry:
    names = [arm.name for arm in run.arms]
    server, reference = names[0] if names else "", reference_of(names)
    found = summarise(run)
    figures: dict[tuple[Criterion, LoadPoint], Estimate] = {}
    for summary in found:
        for criterion in criteria_of(summary.point) if summary.arm == server else ():
            value: Estimate | None = getattr(summary, criterion.attribute)
            if value is not None:
                figures[criterion, summary.point] = value
    comparisons = compare_arms(run, found, server, reference)
    return Entry(
        folder=folder,
        run=run,
        machine=machine_name(run.machine),
        title=verdict(run, found, comparisons, server, reference).title,
        figures=figures,
    )


def _machine(name: str, entries: Sequence[Entry]) -> Machine:
    keys = dict.fromkeys(key for entry in entries for key in entry.figures)
    ordered = sorted(
        keys, key=lambda key: (CRITERIA.index(key[0]), key[1].mode, key[1].endpoint, key[1].texts, key[1].x)
    )
    rows = [
        Row(
            criterion=criterion,
            point=point,
            values=[entry.figures.get((criterion, point)) for entry in entries],
        )
        for criterion, point in ordered
    ]
    return Machine(name=name, entries=list(entries), rows=rows, panels=_panels(entries, rows))


def _panels(entries: Sequence[Entry], rows: Sequence[Row]) -> list[Markup]:
    """A trend per figure and texts, at the lowest and the highest load; none of a single run."""
    groups: dict[tuple[Criterion, str, str, str], list[Row]] = {}
    for row in rows:
        if sum(value is not None for value in row.values) > 1:
            groups.setdefault(
                (row.criterion, row.point.mode, row.point.endpoint, row.point.texts), []
            ).append(row)
    drawn = []
    for (criterion, _, endpoint, texts), group in groups.items():
        lines = {
            row.point.load: [
                (number, _scaled(value, criterion.scale))
                for number, value in enumerate(row.values)
                if value is not None
            ]
            for row in (group[0], *group[1:][-1:])
        }
        title = f"{criterion.name}, {endpoint}, {texts} texts"
        svg = plots.trend(lines, [entry.label for entry in entries], title, criterion.unit)
        drawn.append(labelled(svg, f"{title}, run after run"))
    return drawn


def _scaled(value: Estimate, scale: float) -> Estimate:
    low, high = (None if end is None else end * scale for end in (value.low, value.high))
    return Estimate(value=value.value * scale, low=low, high=high)
