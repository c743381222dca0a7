"""Each wave against its arm, each load point against its arm, and arms against each other.

Reasons are added to the cells, whose verdict follows. An honest arm is compared with a known voice, or with another
arm that has the same voice, as its sound shows and no name says.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from statistics import median, stdev

from bench.hearing.doubts import LEAST_BANDWIDTH
from bench.hearing.gaps import waits_without_mark
from bench.hearing.length import INNER_MARKS, pauses_expected, slack, slowness, tolerance
from bench.hearing.voices import (
    KNOWN,
    Voice,
    another_voice,
    at_another_rate,
    patience,
    same_voice,
    voice_of,
)
from bench.load.validity import accuse
from bench.metrics import surely_more
from bench.records import Cell, Run, Sample

LEAST_COMMON_TEXTS = 4
"""Of two arms, to compare their lengths."""
PACE_DIFFERENCE = 0.045
"""log of the median ratio of two arms on the same texts; the honest ones differ by at most half of it."""
MEDIAN_ERROR = 1.25
"""Standard error of a median, in those of a mean."""
PACE_OF_KNOWN = 0.06
"""The same of an arm against a known voice."""
PACE_OF_KNOWN_CELL = 0.1
"""Over the root of its waves: what a load point may be further off, where the others hide it from the arm's median."""
PACE_OF_CELL = (0.03, 0.2)
"""Of a load point against its arm: a + b over the root of the waves."""
CHANCE = 0.001
"""How likely it is that refusals fall on the longest texts alone: below it they were chosen by length."""
MOST_AT_ENDS_S = 1.4
"""Silence before and after the speech, median of an arm. Arms may differ below it: a server may cut the 0.8 s that its
model makes. The report says whom the length of the answers favours."""
MOST_TURN_PITCH = 0.13
"""This and the following are medians of an arm. The embedded voice has 0.03, Piper's Joe 0.03."""
MOST_UNVOICED_START_S, MOST_UNVOICED_END_S = 0.25, 0.6
"""0.01 s and 0.23 s; 0.02 s and 0.26 s."""
CHARGED_FROM_S, MOST_UNCHARGED = 0.1, 0.2
"""If more than this share of an arm's answers have so much sound before their voice, all are charged for it. No
accusation: there are voices that breathe in first. But it is not the speech that a listener waits for. Of the embedded
voice at most 5 % have it."""
EARLY_PAUSE_S, MOST_EARLY = 0.3, 0.4
"""A pause so soon and so long in this share of an arm's answers is a wait for the rest, filled with silence. Of 40
answers of the embedded voice 7 % have one, of Piper's Joe none, and 12 % of each made 1.25 and 1.4 times as slow."""
EARLY_CHARACTERS = 30
"""Of a text, more than a second of speech: where a mark stands in them (Well, Mr.) the pause is its own."""
MOST_BEGIN_ALIKE = 0.2
"""A share; none of 50, and none of 50."""
MOST_PIECED = 0.15
"""0; 0."""
LEVEL_DB = 8.0
"""A wave against its arm."""
LEAST_PAUSES = 0.4
"""Pauses within over those that the sentences want, median of the texts of three sentences and more."""


def judge(run: Run) -> None:
    """Add to each cell of the run what its waves say, and make it INVALID for it."""
    arms: dict[str, list[Cell]] = defaultdict(list)
    for cell in run.cells:
        arms[cell.arm].append(cell)
    voices = {name: voice_of(name, _spoken(cells)) for name, cells in arms.items()}
    for name, cells in arms.items():
        voice = voices[name]
        _charge(_spoken(cells))
        if voice is not None:
            for cell in cells:
                _judge_waves(cell, voice)
                accuse(cell, list(_of_cell(cell, voice)))
            others = [other for key, other in voices.items() if key != name and other is not None]
            reasons = [*_of_voice(voice, [*KNOWN, *others]), *_of_lengths(name, arms, voices)]
            reasons += [*_of_habits(_spoken(cells)), *_of_pauses(_spoken(cells)), *_of_refusals(cells)]
            for cell in cells:
                accuse(cell, reasons)
    for cell in run.cells:
        name_doubts(cell)


def name_doubts(cell: Cell) -> None:
    """The doubts of its waves as reasons of the cell, each with how many waves have it."""
    counts = Counter(doubt for sample in cell.samples for doubt in sample.doubts)
    heard = sum(sample.heard is not None for sample in cell.samples)
    cell.reasons = [reason for reason in cell.reasons if not reason.startswith(HEARD)]
    accuse(cell, [f"{HEARD}{doubt} ({count} of {heard} waves)" for doubt, count in counts.items()])


HEARD = "heard: "
"""How the reasons of single waves begin."""


def _spoken(cells: Sequence[Cell]) -> list[Sample]:
    return [sample for cell in cells for sample in cell.samples if sample.error is None and sample.heard]


def _judge_waves(cell: Cell, voice: Voice) -> None:
    """Each wave against its arm's own voice."""
    times = patience(voice)
    for sample in _spoken([cell]):
        heard = sample.heard
        assert heard is not None
        off = slowness(sample)
        found = []
        if off is not None and heard.voiced_s > 0:
            if off - voice.slowness < -times * tolerance(sample.text):
                found.append("too short for its text: words are missing, or it is faster than the others")
            elif off - voice.slowness > times * tolerance(sample.text) + slack(sample.text):
                found.append("too long for its text: words are added, or it is slower than the others")
        if another_voice(heard, voice):
            found.append("another voice, or another sound, than the other waves")
        if abs(heard.level_dbfs - voice.level_dbfs) > LEVEL_DB:
            found.append("much louder or quieter than the other waves")
        if heard.bandwidth_hz < LEAST_BANDWIDTH * voice.bandwidth_hz:
            found.append("duller than the other waves")
        sample.doubts += [doubt for doubt in found if doubt not in sample.doubts]


def _charge(samples: Sequence[Sample]) -> None:
    """The clock of an arm whose answers begin with sounds that are no voice runs on until the voice."""
    heard = [sample.heard for sample in samples if sample.heard is not None]
    if sum(one.unvoiced_start_s > CHARGED_FROM_S for one in heard) > max(1, MOST_UNCHARGED * len(heard)):
        for one in heard:
            one.charged_s = one.unvoiced_start_s


def _of_cell(cell: Cell, voice: Voice) -> Iterator[str]:
    paces = [pace for sample in _spoken([cell]) if (pace := slowness(sample)) is not None]
    if len(paces) < LEAST_COMMON_TEXTS:
        return
    off = median(paces) - voice.slowness
    if abs(off) > PACE_OF_CELL[0] + PACE_OF_CELL[1] / math.sqrt(len(paces)):
        yield f"pace: {_times(off)} here than at the other load points"
    for known in KNOWN:
        off = median(paces) - known.slowness
        if same_voice(voice, known) and abs(off) > PACE_OF_KNOWN + PACE_OF_KNOWN_CELL / math.sqrt(len(paces)):
            yield f"pace: {_times(off)} here than {known.name}, whose sound it has"


def _of_voice(voice: Voice, others: Sequence[Voice]) -> Iterator[str]:
    """An arm against known voices and other arms."""
    if voice.ends_s > MOST_AT_ENDS_S:
        yield f"padded: {voice.ends_s:.1f} s of silence around the speech of most answers"
    for other in others:
        known = other in KNOWN
        if same_voice(voice, other):
            off = voice.slowness - other.slowness
            if known and abs(off) > PACE_OF_KNOWN:
                yield f"pace: {_times(off)} than {other.name}, whose sound it has"
            if not voice.coded and voice.bandwidth_hz < LEAST_BANDWIDTH * min(
                other.bandwidth_hz, voice.nyquist_hz
            ):
                yield (
                    f"narrow: sound up to {voice.bandwidth_hz / 1e3:.1f} kHz, {other.name} with the same sound"
                    f" up to {other.bandwidth_hz / 1e3:.1f} kHz"
                )
        elif (factor := at_another_rate(voice, other)) is not None:
            yield f"wrong sample rate: it has the sound of {other.name} played {factor:.2f} times as fast"


def _of_lengths(name: str, arms: dict[str, list[Cell]], voices: dict[str, Voice | None]) -> Iterator[str]:
    """An arm against the others with the same voice, text by text. A known voice decides who is wrong."""
    voice = voices[name]
    assert voice is not None
    mine = _seconds(arms[name])
    for other, cells in arms.items():
        against = voices[other]
        if other == name or against is None or not same_voice(voice, against):
            continue
        theirs = _seconds(cells)
        ratios = [math.log(mine[text] / theirs[text]) for text in mine.keys() & theirs.keys()]
        if len(ratios) < LEAST_COMMON_TEXTS:
            continue
        known = next((one for one in KNOWN if same_voice(voice, one)), None)
        off = median(ratios)
        nearer = known is not None and abs(voice.slowness - known.slowness) < abs(
            against.slowness - known.slowness
        )
        if abs(off) - MEDIAN_ERROR * stdev(ratios) / math.sqrt(len(ratios)) > PACE_DIFFERENCE and not nearer:
            yield f"pace: {_times(off)} than {other} on the same texts in the same voice"


def _seconds(cells: Sequence[Cell]) -> dict[str, float]:
    return {
        sample.text: sample.heard.voiced_s
        for sample in _spoken(cells)
        if sample.heard is not None and sample.heard.voiced_s > 0
    }


def _of_refusals(cells: Sequence[Cell]) -> Iterator[str]:
    """Refused were the longest texts and no others, at loads at which shorter ones were served."""
    refused = [sample.characters for cell in cells for sample in cell.samples if sample.error == "refused"]
    served = [sample.characters for sample in _spoken(cells)]
    if not refused or not served or min(refused) <= max(served):
        return
    if 1 / math.comb(len(refused) + len(served), len(refused)) < CHANCE:
        yield "refusals by length: the longest texts were refused and no others"


def _of_habits(samples: Sequence[Sample]) -> Iterator[str]:
    """What single waves may have, and most waves of an arm may not."""
    heard = [sample.heard for sample in samples if sample.heard is not None]
    if len(heard) < LEAST_COMMON_TEXTS:
        return
    if median(one.unvoiced_start_s for one in heard) > MOST_UNVOICED_START_S:
        yield "noise or clicks before the speech: the first sound of most answers is no voice"
    if median(one.unvoiced_end_s for one in heard) > MOST_UNVOICED_END_S:
        yield "noise after the speech: the last sound of most answers is no voice"
    if median(one.pieced_share for one in heard) > MOST_PIECED:
        yield "a copy: most answers are put together of short pieces that were sent for other texts too"
    if (alike := sum(one.begins_alike for one in heard)) > MOST_BEGIN_ALIKE * len(heard):
        yield f"a copy: {alike} of {len(heard)} answers begin with a piece that another answer begins with"
    broken, of_all, too_many = waits_without_mark(samples)
    if too_many:
        yield f"gaps: {broken} of {of_all} answers wait where the text has no mark"
    early = sum(
        sample.heard.early_pause_s > EARLY_PAUSE_S and not INNER_MARKS.search(sample.text[:EARLY_CHARACTERS])
        for sample in samples
        if sample.heard
    )
    if surely_more(early, len(heard), MOST_EARLY):
        yield f"gaps: {early} of {len(heard)} answers begin with a word or two and then wait in silence"
    if median(one.turn_pitch for one in heard) > MOST_TURN_PITCH:
        yield "another voice in the second half of most answers than in the first"


def _of_pauses(samples: Sequence[Sample]) -> Iterator[str]:
    shares = [
        sample.heard.pauses / wanted
        for sample in samples
        if sample.heard is not None and (wanted := pauses_expected(sample.text)) >= 2
    ]
    if len(shares) >= LEAST_COMMON_TEXTS and median(shares) < LEAST_PAUSES:
        yield "no pauses: the sentences run into each other"


def _times(off: float) -> str:
    return f"{abs(math.expm1(off)) * 100:.0f} % {'slower' if off > 0 else 'faster'}"
