"""What the gate found, as structs for JSON and as Markdown."""

from __future__ import annotations

from typing import Literal

import msgspec

from bench.gate.verdict import CALL, SAME, Pair, Slowdown, Verdict

CLEAN, REGRESSED, NOT_COMPARED = 0, 1, 3
"""The gate's exit codes. 2 is a wrong command line, as argparse has it."""


class Finding(msgspec.Struct, kw_only=True):
    """What the gate found of one metric."""

    metric: str
    verdict: Verdict
    unit: str = ""
    base: float | None = None
    """Median over all measurements of the side; the count, for a count."""
    head: float | None = None
    slowdown: Slowdown | None = None
    """None for counts and quality."""
    confirmation: Slowdown | None = None
    """The second, longer measurement of a suspect."""
    worse: float | None = None
    """How much worse head is, as a factor, where neither slowdown nor base and head say it."""
    sees: float | None = None
    """The smallest slow-down, as a factor, that this run's noise lets the gate call nine times in ten."""
    note: str = ""
    failed_side: Literal["base", "head"] | None = None
    """The side that could not be measured."""
    layout: bool = False
    """Base is in order, but of another layout than this gate can drive."""
    acceptance: str | None = None
    """The reason in accepted.toml, if that allows the slow-down."""
    pairs: list[list[Pair]] = []
    """Every measurement of base and the adjacent one of head, round by round."""
    confirmation_pairs: list[list[Pair]] = []

    @property
    def fails(self) -> bool:
        """A regression that nobody accepted, or a head that cannot be measured."""
        return (self.verdict == "REGRESSED" and self.acceptance is None) or (
            self.verdict == "INVALID" and self.failed_side == "head"
        )

    @property
    def compared(self) -> bool:
        return self.verdict not in ("INVALID", "INCONCLUSIVE")

    @property
    def timed(self) -> bool:
        return not self.metric.startswith(("counts", "quality"))


class GateRun(msgspec.Struct, kw_only=True):
    """One run of the gate."""

    base: str | None
    head: str
    profile: str
    overrides: list[str]
    effort: str
    call: float = CALL
    """A slow-down is called from here on."""
    same: float = SAME
    took_s: float = 0.0
    machine: dict[str, object] = {}
    findings: list[Finding] = []
    first: bool = False
    """There is no base because this is the first commit of the code."""
    note: str = ""
    """Why there is no base."""

    @property
    def failed(self) -> bool:
        """Whether the gate must stop the change."""
        return any(one.fails for one in self.findings)

    @property
    def new_layout(self) -> bool:
        """Nothing was compared, for no other reason than that base is of another layout."""
        broken = [one for one in self.findings if not one.compared]
        return len(broken) == len(self.findings) > 0 and all(one.layout for one in broken)

    @property
    def not_compared(self) -> str:
        """Why this run can neither pass nor fail; empty if it can."""
        if self.failed or self.first or self.new_layout:
            return ""
        if self.note:
            return self.note
        for one in self.findings:
            if one.verdict == "INVALID" and one.failed_side == "base" and not one.layout:
                return f"base cannot be measured ({one.note})"
        judged = [one for one in self.findings if one.timed] or self.findings
        if not any(one.compared for one in judged):
            return "not one of these has an answer: " + ", ".join(
                f"{one.metric} {one.verdict}" for one in judged
            )
        return ""

    @property
    def exit_code(self) -> int:
        """CLEAN, REGRESSED or NOT_COMPARED."""
        return REGRESSED if self.failed else NOT_COMPARED if self.not_compared else CLEAN


def markdown(gate_run: GateRun) -> str:
    """The gate's report."""
    lines = [
        f"# Gate: head {gate_run.head} against base {(gate_run.base or 'none')[:9]}",
        "",
        f"**{_headline(gate_run)}** (exit code {gate_run.exit_code})",
        "",
    ]
    if not gate_run.findings:
        return "\n".join(lines)
    lines += [
        f"Profile `{gate_run.profile}`, {gate_run.effort} effort, {gate_run.took_s:.0f} s. Called from "
        f"{gate_run.call:.1%}; the same within {gate_run.same:.0%}.",
        "",
        "| metric | base | head | slow-down | interval | sees | verdict | |",
        "| --- | ---: | ---: | ---: | --- | ---: | --- | --- |",
    ]
    lines += [_row(one) for one in gate_run.findings]
    lines += [
        "",
        "A slow-down above 1 is worse. *sees*: the smallest slow-down that the gate calls nine times in ten at the "
        "noise of this run.",
        "",
        "; ".join(f"{name} {value}" for name, value in gate_run.machine.items()),
    ]
    return "\n".join([*lines, ""])


def _headline(gate_run: GateRun) -> str:
    if gate_run.failed:
        return "FAILED: " + ", ".join(one.metric for one in gate_run.findings if one.fails)
    if gate_run.not_compared:
        return f"COULD NOT COMPARE: {gate_run.not_compared}"
    if gate_run.first:
        return f"PASSED: nothing to compare with, {gate_run.note}"
    if gate_run.new_layout:
        return f"PASSED: nothing to compare with, base has another layout ({gate_run.findings[0].note})"
    return "PASSED"


def _row(one: Finding) -> str:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    ratio = f"{one.slowdown.ratio:.3f}" if one.slowdown else ""
    interval = f"{one.slowdown.low:.3f} to {one.slowdown.high:.3f}" if one.slowdown else ""
    sees = f"{one.sees - 1:.1%}" if one.sees else ""
    notes = [one.note, f"accepted: {one.acceptance}" if one.acceptance else ""]
    if one.confirmation:
        again = one.confirmation
        notes.append(f"measured again: {again.ratio:.3f} ({again.low:.3f} to {again.high:.3f})")
    note = "; ".join(note for note in notes if note).replace("|", "\\|").replace("\n", " ")
    return (
        f"| {one.metric} | {number(one.base)} | {number(one.head)} {one.unit} | {ratio} | {interval} | {sees} "
        f"| {one.verdict} | {note} |"
    )
