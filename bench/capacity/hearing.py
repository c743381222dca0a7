"""What is heard of all probes together, after the last of them: an arm against itself, and the words by a recogniser.

A probe that held its times and not its sound did not hold. If most of a search's probes are accused, it has no answer.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bench.capacity.record import CapacityRun, Found, Probe
from bench.hearing.judge import judge
from bench.records import Run

HEARD_PROBES = 6
"""Of each search: the highest loads that held, whose kept waves the recogniser hears."""


LEAST_WAVES = 8
"""Transcribed waves of an arm from which its error rate is judged: of fewer the recogniser's own errors decide."""
OF_ARM = ("unintelligible: {arm} ", "less intelligible", "words are ")
"""How reasons begin that come of all the words of an arm."""


def hear_probes(record: CapacityRun, folder: Path) -> None:
    """Fill in transcripts and standings; waves that nobody transcribes are deleted."""
    held = {id(found): [p for p in record.of(found) if p.standing == "held"] for found in record.found}
    chosen: set[int] = set()
    for probes in held.values():
        highest = sorted(probes, key=lambda probe: probe.amount)[-HEARD_PROBES:]
        chosen.update(id(probe) for probe in highest)
    for probe in record.probes:
        if id(probe) not in chosen:
            _forget_waves(probe, folder)
    cells = [probe.cell for probes in held.values() for probe in probes]
    if not cells:
        return
    run = Run(
        id=record.id, started_at=record.started_at, machine={}, commit=None, dirty=False, profile="",
        workload_seed=record.seed, warmup_rule="", cells=cells,
    )  # fmt: skip
    before = {id(cell): set(cell.reasons) for cell in cells}
    judge(run)
    # Imported only now: it takes seconds of CPU, which no probe shall share.
    from bench.hearing.speech_check import check_speech, words_of

    check_speech(run, folder)
    record.quality = run.quality
    waves = Counter(cell.arm for cell in cells for sample in cell.samples if sample.wave)
    few = {arm for arm in {cell.arm for cell in cells} if record.load.trace or waves[arm] < LEAST_WAVES}
    for arm in sorted(few):
        why = (
            "the texts of a trace end in made-up words"
            if record.load.trace
            else f"{waves[arm]} were transcribed"
        )
        record.notes.append(f"the words of {arm} are judged wave by wave alone: {why}")
    for found in record.found:
        probes = held[id(found)]
        for probe in probes:
            _accuse(probe, before[id(probe.cell)], few)
        words = words_of([probe.cell for probe in probes]) if probes and found.arm not in few else None
        if words is not None and words.errors.is_above(record.slo.wer):
            found.invalid = f"a WER of {words.errors.value:.1%} over {words.waves} waves"
        else:
            _decide(found, probes)


def _accuse(probe: Probe, before: set[str], few: set[str]) -> None:
    """New reasons against its cell make a probe one that did not hold."""
    of_arm = tuple(begin.format(arm=probe.arm) for begin in OF_ARM) if probe.arm in few else ()
    new = [r for r in probe.cell.reasons if r not in before and not (of_arm and r.startswith(of_arm))]
    if new:
        probe.standing = "failed"
        probe.reasons += new


def _decide(found: Found, probes: list[Probe]) -> None:
    accused = [probe for probe in probes if probe.standing == "failed"]
    if found.invalid is None and accused and 2 * len(accused) > len(probes):
        found.invalid = (
            f"{len(accused)} of {len(probes)} probes that held are accused: {accused[-1].reasons[-1]}"
        )


def _forget_waves(probe: Probe, folder: Path) -> None:
    for sample in probe.cell.samples:
        if sample.wave is not None:
            (folder / sample.wave).unlink(missing_ok=True)
            sample.wave = None
