"""What came of a simulation: one row a load, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from bench.metrics import (
    audio_seconds_per_second,
    continuity,
    percentile,
    stall_s,
    ttfa_s,
)
from bench.records import Sample
from bench.simulate.costs import CostTable


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What the listeners of one load heard."""

    load: str
    texts: str
    requests: int
    ttfa_p50_ms: float
    ttfa_p95_ms: float
    audio_s_per_s: float
    without_underrun: float
    """Share of streams whose playback never ran dry."""
    worst_underrun_ms: float
    cpu_ms_per_audio_s: float = 0.0
    """Of all that work for the load, the clients included; 0 if it is not known."""
    others_cores: float = 0.0
    """Cores that were busy with what is no part of the load; none in virtual time."""
    busy: dict[str, float] = {}
    """Seconds of a device that each stage took, as if alone, in a second of the load; `launch`: of the host."""

    @classmethod
    def of(
        cls, load: str, texts: str, samples: Sequence[Sample], busy: Mapping[str, float] | None = None
    ) -> Row:
        """Raises ValueError without samples."""
        first_ms = [1e3 * first for sample in samples if (first := ttfa_s(sample)) is not None]
        return cls(
            load=load,
            texts=texts,
            requests=len(samples),
            ttfa_p50_ms=percentile(first_ms, 50),
            ttfa_p95_ms=percentile(first_ms, 95),
            audio_s_per_s=audio_seconds_per_second(samples),
            without_underrun=(continuity(samples) or {0.0: 1.0})[0.0],
            worst_underrun_ms=1e3 * max(stall_s(sample) or 0.0 for sample in samples),
            busy=dict(busy or {}),
        )


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A load that was predicted and then measured."""

    predicted: Row
    measured: Row

    @property
    def off(self) -> tuple[float, float]:
        """Predicted over measured, less one: of the median TTFA and of audio seconds per second."""
        return (
            self.predicted.ttfa_p50_ms / self.measured.ttfa_p50_ms - 1,
            self.predicted.audio_s_per_s / self.measured.audio_s_per_s - 1,
        )


class Report(msgspec.Struct, kw_only=True):
    """A whole simulation."""

    profile: str
    overrides: list[str]
    costs: CostTable = CostTable(device="", source="", stages={})
    rows: list[Row] = []
    checks: list[Checked] = []


def markdown(report: Report) -> str:
    """The tables."""
    costs = report.costs
    lines = [
        f"# Capacity in virtual time: profile {report.profile} on {costs.device}",
        "",
        f"Costs of steps: {costs.source}. "
        + (f"What streams gain beside each other: {costs.beside:.0%}. " if costs.overlaps else "")
        + (f"Set: {', '.join(report.overrides)}." if report.overrides else ""),
        "",
    ]
    if report.rows:
        lines += [
            "| load | texts | requests | TTFA p50 ms | p95 ms | audio s/s | never dry | longest underrun ms |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *(_row(row) for row in report.rows),
            "",
        ]
    if any(row.busy for row in report.rows):
        names = list(dict.fromkeys(name for row in report.rows for name in row.busy))
        lines += [
            "Seconds of the device in each second, by stage, as if each were alone; `launch` is of the host:",
            "",
            f"| load | {' | '.join(names)} |",
            f"| --- | {' | '.join('---:' for _ in names)} |",
            *(
                f"| {row.load} | {' | '.join(f'{row.busy.get(name, 0.0):.2f}' for name in names)} |"
                for row in report.rows
            ),
            "",
        ]
    if report.checks:
        lines += [
            "| load | texts | TTFA p50 ms: predicted | measured | off | audio s/s: predicted | measured | off "
            "| CPU ms a second of audio: predicted | measured | cores of others |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            *(_check(check) for check in report.checks),
            "",
        ]
    return "\n".join(lines)


def _row(row: Row) -> str:
    return (
        f"| {row.load} | {row.texts} | {row.requests} | {row.ttfa_p50_ms:.1f} | {row.ttfa_p95_ms:.1f} "
        f"| {row.audio_s_per_s:.1f} | {row.without_underrun:.0%} | {row.worst_underrun_ms:.0f} |"
    )


def _check(check: Checked) -> str:
    one, other = check.predicted, check.measured
    ttfa, audio = check.off
    return (
        f"| {one.load} | {one.texts} | {one.ttfa_p50_ms:.1f} | {other.ttfa_p50_ms:.1f} | {ttfa:+.0%} "
        f"| {one.audio_s_per_s:.1f} | {other.audio_s_per_s:.1f} | {audio:+.0%} "
        f"| {one.cpu_ms_per_audio_s:.1f} | {other.cpu_ms_per_audio_s:.1f} | {other.others_cores:.2f} |"
    )
