"""What the gate found, as structs for JSON and as Markdown."""

from __future__ import annotations

import msgspec

from bench.gate.verdict import THRESHOLD, Slowdown, Verdict


class Judged(msgspec.Struct, kw_only=True):
    """What the gate says of one metric."""

    metric: str
    verdict: Verdict
    unit: str = ""
    base: float | None = None
    """Median over all measurements of the side; the count, for a count."""
    head: float | None = None
    slowdown: Slowdown | None = None
    """None for counts."""
    confirmation: Slowdown | None = None
    """The second, longer measurement of a suspect."""
    note: str = ""
    accepted: str | None = None
    """The reason in accepted.toml, if that allows it."""

    @property
    def fails(self) -> bool:
        return self.verdict == "REGRESSED" and self.accepted is None


class Comparison(msgspec.Struct, kw_only=True):
    """One run of the gate."""

    base: str | None
    head: str
    profile: str
    overrides: list[str]
    effort: str
    threshold: float = THRESHOLD
    took_s: float = 0.0
    machine: dict[str, object] = {}
    judged: list[Judged] = []
    note: str = ""
    """Why nothing was compared."""

    @property
    def failed(self) -> bool:
        """Whether the gate must stop the change."""
        return any(one.fails for one in self.judged)


def markdown(comparison: Comparison) -> str:
    """The gate's report."""
    lines = [f"# Gate: head {comparison.head} against base {(comparison.base or 'none')[:9]}", ""]
    if comparison.note:
        return "\n".join([*lines, comparison.note, ""])
    failing = [one.metric for one in comparison.judged if one.fails]
    lines += [
        f"**{'FAILED: ' + ', '.join(failing) if failing else 'PASSED'}** · profile `{comparison.profile}` · "
        f"{comparison.effort} · {comparison.took_s:.0f} s · threshold {comparison.threshold:.0%}",
        "",
        "| metric | base | head | slow-down | interval | verdict | |",
        "| --- | ---: | ---: | ---: | --- | --- | --- |",
    ]
    lines += [_row(one) for one in comparison.judged]
    lines += [
        "",
        "A slow-down above 1 is worse. " + "; ".join(f"{k} {v}" for k, v in comparison.machine.items()),
    ]
    return "\n".join([*lines, ""])


def _row(one: Judged) -> str:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    ratio = f"{one.slowdown.ratio:.3f}" if one.slowdown else ""
    interval = f"{one.slowdown.low:.3f} to {one.slowdown.high:.3f}" if one.slowdown else ""
    notes = [one.note, f"accepted: {one.accepted}" if one.accepted else ""]
    if one.confirmation:
        again = one.confirmation
        notes.append(f"measured again: {again.ratio:.3f} ({again.low:.3f} to {again.high:.3f})")
    note = "; ".join(note for note in notes if note).replace("|", "\\|").replace("\n", " ")
    return (
        f"| {one.metric} | {number(one.base)} | {number(one.head)} {one.unit} | {ratio} | {interval} "
        f"| {one.verdict} | {note} |"
    )
