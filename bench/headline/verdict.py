"""The verdict of a run in plain words, made from its figures: where an arm wins, where it loses, what it costs.

Winning and losing are said in the same words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.headline.standing import (
    CRITERIA,
    SLO_SHARE,
    TEXT_RATE,
    THROUGHPUT,
    TOTAL,
    TTFA,
    TTFA_P95,
    Comparison,
    Cost,
    Criterion,
    compare_costs,
    failures,
)
from bench.headline.summary import Summary
from bench.machine import machine_name
from bench.records import LoadPoint, Run

_SUBJECTS = {
    TTFA: ("The first sound", "sooner", "later"),
    TTFA_P95: ("The first sound at p95", "sooner", "later"),
    TOTAL: ("The whole answer", "sooner", "later"),
    THROUGHPUT: ("Throughput", "more", "less"),
    TEXT_RATE: ("The text spoken in a second", "more", "less"),
}
_MOST_ALONE = 4
"""Load points of an arm alone that are said."""
_LENGTHS_APART = 1.05
"""Two arms that speak the same texts within this are not told apart."""
_MOST_REASONS = 3
"""Reasons of an INVALID arm that are said; the table of load points has them all."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A sentence of the verdict."""

    kind: str
    """wins, loses, even, invalid or note: how it is coloured."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the run found."""

    title: str
    lines: list[Line]


def verdict(
    run: Run, found: Sequence[Summary], comparisons: Sequence[Comparison], server: str, reference: str
) -> Verdict:
    """In words; the title says the finding."""
    cost = compare_costs(run, found, server, reference)
    lines = list(_failed_starts(run))
    if not comparisons:
        lines.append(Line(kind="note", text=f"Nothing was measured beside {server}, so this ranks nobody."))
        lines += [Line(kind="note", text=text) for text in _alone(found, server)]
    for criterion in CRITERIA:
        lines += _of_criterion([one for one in comparisons if one.criterion is criterion], criterion)
    lines += _of_cost(cost, server, reference)
    lines += _of_lengths(found, server, reference)
    lines += _of_failures(found, (server, reference))
    lines += _of_invalid(found)
    lines.append(Line(kind="note", text=_basis(run, found)))
    title = _title(run, found, comparisons, cost, server, reference)
    if void := sum(bool(one.invalid) for one in found):
        title += f" ({void} of {len(found)} load points INVALID)"
    return Verdict(title=title, lines=lines)


# ---- the title -----------------------------------------------------------------------------------


def _title(
    run: Run,
    found: Sequence[Summary],
    comparisons: Sequence[Comparison],
    cost: Cost | None,
    server: str,
    reference: str,
) -> str:
    if not comparisons:
        first = [s for s in found if s.arm == server and s.ttfa_p50_s is not None]
        if not first:
            return f"{server}: no valid figure"
        return f"{server} alone: first sound after {_ms(first[0])} at {first[0].point.load}"
    parts = []
    for criterion, noun in ((TTFA, "first sound"), (TOTAL, "whole answer"), (TEXT_RATE, "throughput")):
        own = [one for one in comparisons if one.criterion is criterion]
        if criterion is TOTAL and any(one.criterion is TTFA for one in comparisons):
            continue
        if own and (said := _in_short(own, criterion, noun)):
            parts.append(said)
    if cost is not None and cost.standing in ("wins", "loses") and cost.ratio is not None:
        times = cost.ratio.value
        parts.append(
            f"{_x(times)} the CPU time" if cost.standing == "loses" else f"{_x(1 / times)} less CPU time"
        )
    return f"{server} against {reference}: {', '.join(parts) or 'nothing could be ranked'}"


def _in_short(own: Sequence[Comparison], criterion: Criterion, noun: str) -> str:
    _, better, worse = _SUBJECTS[criterion]
    sides = {name: [one for one in own if one.standing == name] for name in ("wins", "loses", "even")}
    ranked = sum(map(len, sides.values()))
    if not ranked:
        return ""
    if sides["wins"] and sides["loses"]:
        return f"{noun} {better} at {len(sides['wins'])} and {worse} at {len(sides['loses'])} of {len(own)} loads"
    for name, word in (("wins", better), ("loses", worse)):
        if 2 * len(sides[name]) > ranked:
            said = f"{noun} {_size(median(_times(one) for one in sides[name]), criterion, name)} {word}"
            return (
                said if len(sides[name]) == len(own) else f"{said} at {len(sides[name])} of {len(own)} loads"
            )
    rest = sides["wins"] or sides["loses"]
    word = better if sides["wins"] else worse
    few = f" at {len(sides['even'])} of {len(own)} loads" if ranked < len(own) else ""
    return f"{noun} even{few}" + (f", {word} at {len(rest)} of {len(own)} loads" if rest else "")


# ---- the sentences -------------------------------------------------------------------------------


def _of_criterion(own: Sequence[Comparison], criterion: Criterion) -> list[Line]:
    lines = []
    for name in ("wins", "loses", "even", "not ranked"):
        chosen = [one for one in own if one.standing == name]
        if chosen:
            lines.append(
                Line(kind="note" if name == "not ranked" else name, text=_sentence(chosen, own, criterion))
            )
    return lines


def _sentence(chosen: Sequence[Comparison], own: Sequence[Comparison], criterion: Criterion) -> str:
    standing = chosen[0].standing
    where = f"at {len(chosen)} of {len(own)} load points ({_points([one.point for one in chosen])})"
    if standing == "not ranked":
        reasons = dict.fromkeys(one.why for one in chosen)
        return f"Not ranked: {criterion.name} {where}: {'; '.join(reasons)}."
    label = {"wins": "Wins", "loses": "Loses", "even": "Even"}[standing]
    if criterion is SLO_SHARE:
        if standing == "even":
            return f"{label}: the share of listeners served within the limits, {where}."
        sizes = [abs(one.advantage.value) * 100 for one in chosen if one.advantage is not None]
        word = "more" if standing == "wins" else "fewer"
        return f"{label}: {_range(sizes, '{:.0f}')} of 100 listeners {word} are served within the limits, {where}."
    subject, better, worse = _SUBJECTS[criterion]
    if standing == "even":
        return f"{label}: {subject[0].lower()}{subject[1:]} differs by no more than the noise {where}."
    word = better if standing == "wins" else worse
    if criterion in (THROUGHPUT, TEXT_RATE):
        percents = [_percent(_times(one), standing) for one in chosen]
        return f"{label}: {subject[0].lower()}{subject[1:]} is {_range(percents, '{:.0f}')} % {word} {where}."
    times = _range([_times(one) for one in chosen], "{:.2f}")
    return f"{label}: {subject[0].lower()}{subject[1:]} comes {times} times {word} {where}."


def _of_cost(cost: Cost | None, server: str, reference: str) -> list[Line]:
    if cost is None:
        return []
    figures = f"{cost.server * 1e3:.2f} ms of CPU time per second of audio, {reference} {cost.reference * 1e3:.2f} ms"
    if cost.ratio is None:
        return [
            Line(kind="note", text=f"Cost, not ranked (fewer than 3 load points): {server} takes {figures}.")
        ]
    interval = f"({cost.ratio.value:.2f} times; {cost.ratio.low:.2f} to {cost.ratio.high:.2f})"
    label = {"wins": "Costs less", "loses": "Costs more", "even": "Costs the same"}[cost.standing]
    return [Line(kind=cost.standing, text=f"{label}: {server} takes {figures} {interval}.")]


def _of_lengths(found: Sequence[Summary], server: str, reference: str) -> list[Line]:
    """Seconds of audio favour who speaks slowly."""
    slow = {(one.arm, one.point): one.audio_s_per_character for one in found if one.audio_s_per_character}
    ratios = [
        mine / theirs
        for (arm, point), mine in slow.items()
        if arm == server and (theirs := slow.get((reference, point)))
    ]
    if not ratios or abs(math.log(times := median(ratios))) < math.log(_LENGTHS_APART):
        return []
    longer, shorter = (server, reference) if times > 1 else (reference, server)
    percent = 100 * (max(times, 1 / times) - 1)
    return [
        Line(
            kind="note",
            text=f"The same texts last {percent:.0f} % longer from {longer} than from {shorter}, silence included:"
            f" throughput and cost, which count seconds of audio, favour {longer} by as much; the text spoken"
            " does not.",
        )
    ]


def _of_failures(found: Sequence[Summary], arms: Sequence[str]) -> list[Line]:
    lines = []
    for arm in arms:
        failed = [one for one in found if one.arm == arm and one.valid and one.failed]
        if failed:
            said = "; ".join(f"{failures(one)} at {_place(one.point)}" for one in failed)
            lines.append(Line(kind="loses", text=f"Not served by {arm}: {said}."))
    return lines


def _of_invalid(found: Sequence[Summary]) -> list[Line]:
    lines = []
    for arm in dict.fromkeys(one.arm for one in found if one.invalid):
        own = [one for one in found if one.arm == arm and one.invalid]
        reasons = _alike([reason for one in own for reason in one.invalid])
        more = f"; and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
        where = _points([one.point for one in own])
        repeat = "" if any(not one.valid for one in own) else ", a repeat"
        text = f"INVALID: {arm} at {where}{repeat}: {'; '.join(reasons[:_MOST_REASONS])}{more}."
        lines.append(Line(kind="invalid", text=text))
    return lines


def _alike(reasons: Sequence[str]) -> list[str]:
    """Reasons that differ in their numbers alone are said once, the commonest first, with how often there were."""
    groups: dict[str, list[str]] = {}
    for reason in reasons:
        groups.setdefault(re.sub(r"[\d.]+", "#", reason), []).append(reason)
    ordered = sorted(groups.values(), key=len, reverse=True)
    return [f"{group[0]} ({len(group)} times)" if len(group) > 1 else group[0] for group in ordered]


def _failed_starts(run: Run) -> list[Line]:
    return [
        Line(kind="invalid", text=f"FAILED: {arm.name} could not be measured: {arm.failure.splitlines()[0]}")
        for arm in run.arms
        if arm.failure
    ]


def _alone(found: Sequence[Summary], server: str) -> list[str]:
    own = [one for one in found if one.arm == server and one.ttfa_p50_s is not None]
    return [f"First sound after {_ms(one)} (p50) at {_place(one.point)}." for one in own[:_MOST_ALONE]]


def _basis(run: Run, found: Sequence[Summary]) -> str:
    if run.noise_floor:
        noise = (
            "A difference counts outside its interval and outside what two equal arms differed by in this run"
        )
    else:
        noise = "The run holds no valid pair of equal arms, so differences within 5 % count as even"
    short = sum(one.valid and one.ttfa_p50_s is not None and one.ttfa_p95_s is None for one in found)
    few = f" {short} load points have too few requests for a p95." if short else ""
    return f"Measured on {machine_name(run.machine)}. {noise}.{few}"


# ---- words ---------------------------------------------------------------------------------------


def _times(one: Comparison) -> float:
    value = one.advantage.value if one.advantage is not None else 1.0
    return max(value, 1 / value)


def _percent(times: float, standing: str) -> float:
    """How many percent more or less so many times better or worse are, of a rate."""
    return 100 * (times - 1 if standing == "wins" else 1 - 1 / times)


def _size(times: float, criterion: Criterion, standing: str) -> str:
    return f"{_percent(times, standing):.0f} %" if criterion in (THROUGHPUT, TEXT_RATE) else _x(times)


def _x(times: float) -> str:
    return f"{times:.2f}×" if times < 10 else f"{times:.0f}×"


def _range(values: Sequence[float], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def _points(points: Sequence[LoadPoint]) -> str:
    """ "1, 4 and 16 clients, short texts"."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for point in points:
        groups.setdefault((point.mode, point.texts, point.endpoint), []).append(point.x)
    said = []
    for (mode, texts, endpoint), loads in groups.items():
        numbers = [f"{load:g}" for load in sorted(loads)]
        joined = numbers[0] if len(numbers) == 1 else f"{', '.join(numbers[:-1])} and {numbers[-1]}"
        unit = "requests/s" if mode == "open" else "client" if numbers == ["1"] else "clients"
        said.append(f"{joined} {unit}, {texts} texts{'' if endpoint == '/tts/stream' else ', ' + endpoint}")
    return "; ".join(said)


def _place(point: LoadPoint) -> str:
    return _points([point])


def _ms(summary: Summary) -> str:
    return f"{summary.ttfa_p50_s.value * 1e3:.0f} ms" if summary.ttfa_p50_s is not None else "–"
