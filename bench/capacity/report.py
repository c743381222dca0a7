"""A capacity's JSON to Markdown and to one self-contained page, with the finding first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.capacity import plots
from bench.capacity.probe import KINDS, Kind
from bench.capacity.record import CapacityRun, Found, Row, at_capacity, curve, knee
from bench.costs import Usage, cost_of

NAMES = {"streams": "Listeners at once", "rate": "Requests per second"}


def headline(record: CapacityRun) -> list[str]:
    """The finding: one sentence per kind, and where two servers were measured whether they differ."""
    sentences = []
    for kind in KINDS:
        found = [one for one in record.found if one.kind == kind]
        if found:
            sentences.append("; ".join(f"{one.arm} {one.words}" for one in found) + "." + difference(found))
    return sentences


def difference(found: list[Found]) -> str:
    """The first against each other, in words; empty without two answers."""
    said = [(other.arm, words) for other in found[1:] if (words := _against(found[0], other))]
    if len(found) == 2:
        return "".join(f" {words[0].upper()}{words[1:]}." for _, words in said)
    return "".join(f" {found[0].arm} against {arm}: {words}." for arm, words in said)


def _against(one: Found, other: Found) -> str:
    if one.invalid or other.invalid:
        return ""
    if one.estimate.agrees(other.estimate):
        return "no difference outside the intervals"
    if not (one.estimate.capacity and other.estimate.capacity):
        return ""
    return f"that is {one.estimate.capacity / other.estimate.capacity:.2g} times as many"


def write_report(record: CapacityRun, folder: Path) -> list[Path]:
    """capacity.md and capacity.html beside the JSON."""
    environment = Environment(
        loader=PackageLoader("bench.capacity"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ms": _ms, "share": _share, "num": _num}
    content = _content(record)
    markdown, page = folder / "capacity.md", folder / "capacity.html"
    markdown.write_text(environment.get_template("capacity.md.j2").render(content), encoding="utf-8")
    environment.autoescape = True
    page.write_text(environment.get_template("capacity.html.j2").render(content), encoding="utf-8")
    return [markdown, page]


def _content(record: CapacityRun) -> dict[str, Any]:
    kinds: list[Kind] = [kind for kind in KINDS if any(one.kind == kind for one in record.found)]
    rows = {(one.arm, one.kind): curve(record.of(one), record.load, record.slo) for one in record.found}
    load = record.load
    more = [
        f"{load.texts} texts, probes of {load.duration_s:g} s",
        f"listeners play what they got and think {load.think_mean_s:g} s on average"
        if "streams" in kinds
        else "",
        f"{load.barge_in_share:.0%} leave early" if load.barge_in_share else "",
        f"bursts of {load.burst}" if load.burst > 1 else "",
        f"words arrive {load.word_interval_s:g} s apart" if load.word_interval_s is not None else "",
        f"a trace of {len(load.trace)} requests" if load.trace else "",
    ]
    return {
        "run": record,
        "machine": record.machine,
        "headline": headline(record),
        "loads": "; ".join(part for part in more if part),
        "kinds": [(kind, NAMES[kind], KINDS[kind]) for kind in kinds],
        "found": record.found,
        "rows": rows,
        "knees": {key: knee(found) for key, found in rows.items()},
        "costs": [cost for one in record.found if (cost := _cost(record, one, rows[one.arm, one.kind]))],
        "drawings": {
            kind: [Markup(svg) for svg in (plots.ttfa(record, kind), plots.goodput(record, kind)) if svg]
            for kind in kinds
        },
        "void": [probe for probe in record.probes if probe.standing == "void"],
        "units": KINDS,
    }


def _cost(record: CapacityRun, found: Found, rows: list[Row]) -> dict[str, str] | None:
    """A row of the table of costs, at the highest load that held."""
    row = at_capacity(found, rows)
    if row is None or row.usage is None:
        return None
    usage: Usage = row.usage
    money = None if record.prices is None else cost_of(usage, record.prices)
    cores = record.machine.get("cores")
    busy = usage.cores_busy
    return {
        "arm": found.arm,
        "load": f"{found.shown(row.amount)} {KINDS[found.kind]}",
        "audio": _num(usage.audio_s_per_s),
        "cpu": "-" if usage.cpu_s_per_audio_s is None else f"{usage.cpu_s_per_audio_s * 1e3:.3g} ms",
        "cores": "-" if busy is None else f"{busy:.2f} of {cores}",
        "memory": "-" if usage.peak_rss_bytes is None else f"{usage.peak_rss_bytes / 2**30:.2f} GiB",
        "energy": "-" if usage.energy_j_per_audio_s is None else f"{usage.energy_j_per_audio_s:.3g} J",
        "hour": "-" if money is None else f"{money.per_audio_hour:.3g} {money.currency}",
        "characters": "-"
        if money is None or money.per_million_characters is None
        else f"{money.per_million_characters:.3g} {money.currency}",
    }


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.0f}"


def _share(share: float) -> str:
    return f"{share:.1%}" if 0 < share < 1 else f"{share:.0%}"


def _num(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
