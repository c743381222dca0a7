"""What bench indextts2 measured, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench.records import write_json

PACKAGE = "package"
"""Name of the arm that the others are compared with."""


class Turn(msgspec.Struct, kw_only=True):
    """One load on one arm, once."""

    arm: str
    requests: int
    round: int
    wall_s: float
    cpu_s: float
    """Of this process, all threads: what wall_s would be on one core without other programs."""
    audio_s: float


class CpuRun(msgspec.Struct, kw_only=True):
    """A run of this command."""

    started_at: str
    machine: dict[str, Any]
    commit: str | None
    dirty: bool
    torch_threads: int
    codes: int
    prompt_s: float
    text_tokens: int
    tiny: bool
    arms: dict[str, str]
    stages: dict[str, dict[str, float]] = {}
    """Of each of our arms, seconds in each stage during its first turn."""
    turns: list[Turn] = []
    left_out: list[str] = []


def save(result: CpuRun, folder: Path) -> None:
    """Write result.json and result.md."""
    write_json(result, folder / "result.json")
    (folder / "result.md").write_text(markdown(result), encoding="utf-8")


def markdown(result: CpuRun) -> str:
    """The run as text and two tables."""
    made = result.machine
    sizes = "toy shapes" if result.tiny else "official shapes"
    lines = [
        "# IndexTTS2 on a CPU: ours against the package",
        "",
        f"{made['cpu']}, {result.torch_threads} cores, torch {made['versions'].get('torch')}, {result.started_at}, "
        f"commit {(result.commit or 'unknown')[:10]}{' with changes' if result.dirty else ''}. Random weights of "
        f"{sizes}, {result.codes} codes a request, a cached voice of {result.prompt_s:g} s, 25 Euler "
        "iterations, no beams.",
        "",
        *(f"- **{name}**: {text}" for name, text in result.arms.items()),
        *(f"- left out: {text}" for text in result.left_out),
        "",
        "| requests at once | arm | wall s (median, range) | CPU s (median) | real-time factor | audio s/s "
        "| times the package, wall | CPU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for requests in sorted({turn.requests for turn in result.turns}):
        rows = {name: _of(result.turns, name, requests) for name in result.arms}
        base = rows.get(PACKAGE)
        for name, turns in rows.items():
            if not turns:
                continue
            wall, cpu = _median(turns, "wall_s"), _median(turns, "cpu_s")
            spread = f"{min(t.wall_s for t in turns):.1f} to {max(t.wall_s for t in turns):.1f}"
            audio_s = turns[0].audio_s
            times = "-", "-"
            if base:
                times = f"{_median(base, 'wall_s') / wall:.2f}", f"{_median(base, 'cpu_s') / cpu:.2f}"
            lines.append(
                f"| {requests} | {name} | {wall:.1f} ({spread}) | {cpu:.1f} | {wall / (audio_s / requests):.2f} "
                f"| {audio_s / wall:.3f} | {times[0]} | {times[1]} |"
            )
    if result.stages:
        names = list(next(iter(result.stages.values())))
        lines += ["", "Seconds in each stage of ours, first round:", ""]
        lines += ["| | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
        for arm, spent in result.stages.items():
            lines.append(f"| {arm} | " + " | ".join(f"{spent.get(name, 0.0):.2f}" for name in names) + " |")
    return "\n".join(lines) + "\n"


def _of(turns: Sequence[Turn], arm: str, requests: int) -> list[Turn]:
    return [turn for turn in turns if turn.arm == arm and turn.requests == requests]


def _median(turns: Sequence[Turn], field: str) -> float:
    value: float = median(getattr(turn, field) for turn in turns)
    return value
