"""What the gate found, as structs for JSON and as Markdown."""

from __future__ import annotations

import msgspec

from bench.gate.verdict import THRESHOLD, Slowdown, Verdict


class Finding(msgspec.Struct, kw_only=True):
    """What the gate found of one metric."""

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
    acceptance: str | None = None
    """The reason in accepted.toml, if that allows the slow-down."""

    @property
    def fails(self) -> bool:
        return self.verdict == "REGRESSED" and self.acceptance is None


class GateRun(msgspec.Struct, kw_only=True):
    """One run of the gate."""

    base: str | None
    head: str
    profile: str
    overrides: list[str]
    effort: str
    threshold: float = THRESHOLD
    took_s: float = 0.0
    machine: dict[str, object] = {}
    findings: list[Finding] = []
    note: str = ""
    """Why nothing was compared."""

    @property
    def failed(self) -> bool:
        """Whether the gate must stop the change."""
        return any(one.fails for one in self.findings)


def markdown(gate_run: GateRun) -> str:
    """The gate's report."""
    lines = [f"# Gate: head {gate_run.head} against base {(gate_run.base or 'none')[:9]}", ""]
    if gate_run.note:
        return "\n".join([*lines, gate_run.note, ""])
    failing = [one.metric for one in gate_run.findings if one.fails]
    lines += [
        f"**{'FAILED: ' + ', '.join(failing) if failing else 'PASSED'}** · profile `{gate_run.profile}` · "
        f"{gate_run.effort} · {gate_run.took_s:.0f} s · threshold {gate_run.threshold:.0%}",
        "",
        "| metric | base | head | slow-down | interval | verdict | |",
        "| --- | ---: | ---: | ---: | --- | --- | --- |",
    ]
    lines += [_row(one) for one in gate_run.findings]
    lines += [
        "",
        "A slow-down above 1 is worse. " + "; ".join(f"{k} {v}" for k, v in gate_run.machine.items()),
    ]
    return "\n".join([*lines, ""])


def _row(one: Finding) -> str:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    ratio = f"{one.slowdown.ratio:.3f}" if one.slowdown else ""
    interval = f"{one.slowdown.low:.3f} to {one.slowdown.high:.3f}" if one.slowdown else ""
    notes = [one.note, f"accepted: {one.acceptance}" if one.acceptance else ""]
    if one.confirmation:
        again = one.confirmation
        notes.append(f"measured again: {again.ratio:.3f} ({again.low:.3f} to {again.high:.3f})")
    note = "; ".join(note for note in notes if note).replace("|", "\\|").replace("\n", " ")
    return (
        f"| {one.metric} | {number(one.base)} | {number(one.head)} {one.unit} | {ratio} | {interval} "
        f"| {one.verdict} | {note} |"
    )
