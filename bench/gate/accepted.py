"""Slow-downs that are meant: the entries of accepted.toml, and the findings that they excuse."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.gate.report import Finding

ACCEPTED = Path(__file__).with_name("accepted.toml")


def accepted_file(repo: Path) -> Path:
    """bench/gate/accepted.toml of a copy of this program, else accepted.toml at the root of the project."""
    own = repo / "bench" / "gate" / ACCEPTED.name
    return own if own.is_file() else repo / ACCEPTED.name


class Acceptance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An entry of accepted.toml."""

    metric: str
    up_to_ratio: float
    """The estimate of the slow-down may be at most this."""
    base: str
    """The commit that the slow change is compared with, at least 7 digits: the entry counts for this base
    alone, so that it excuses one change and not the next."""
    reason: str


def apply_acceptances(findings: Sequence[Finding], entries: Sequence[Acceptance], base: str) -> list[str]:
    """Mark the regressions that an entry allows. Returns a line per entry that nothing needed."""
    unused = []
    for entry in entries:
        if not base.startswith(entry.base):
            continue
        used = False
        for one in findings:
            judged = one.confirmation or one.slowdown  # the second measurement decides
            worse = judged.ratio if judged else one.worse or _count_ratio(one)
            if one.metric == entry.metric and one.verdict == "REGRESSED" and worse <= entry.up_to_ratio:
                one.acceptance, used = entry.reason, True
        if not used:
            unused.append(f"accepted.toml: nothing needed the entry for {entry.metric} ({entry.reason})")
    return unused


def read_acceptances(path: Path = ACCEPTED) -> list[Acceptance]:
    """The entries of accepted.toml, none if there is no file. Raises ValueError naming what is wrong in it."""
    if not path.is_file():
        return []
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = msgspec.convert(table.get("accepted", []), list[Acceptance])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    for entry in entries:
        if len(entry.base) < 7 or not entry.reason.strip() or entry.up_to_ratio <= 1:
            raise ValueError(
                f"{path.name}: {entry.metric}: needs a base of 7 digits, a reason, a ratio above 1"
            )
    return entries


def _count_ratio(one: Finding) -> float:
    return one.head / one.base if one.base and one.head is not None else float("inf")
