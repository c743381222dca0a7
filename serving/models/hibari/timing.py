"""When each thing is said: which frames are decoded, how long the pauses are, when a word is heard. Plain numpy.

The network gives a segment 0.3 s of silence before its first sound and 0.5 s after its last, pauses of its own at
commas, and durations in whole frames of 25 ms, so that a pace other than its own rounds every phoneme. All of it is
mended in one place, between prosody and decoder: the prosody is made at the network's own pace, its frames of 12.5 ms
carry an energy that falls below zero where the voice is silent, and `edit` chooses from them by it. The decoder then
runs on the chosen frames alone, so what is cut costs nothing.

The constants were found on 222 sentences, see bench/listen/onset.py, which measures what became of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.models.hibari.constants import HOP, SAMPLE_RATE_HZ
from serving.profile import PauseProfile
from serving.protocol import WordSpan

FRAME_S = HOP / SAMPLE_RATE_HZ
WORD_LEAD_S = 0.02
"""A word begins this long before its first audible frame, with the closure or the glide into it: forced alignment
puts starts a median 33 ms before that frame, see `bench listen`, and the recogniser 45 ms behind it."""
ONSET_ENERGY = -0.2
"""Before the first frame above it nothing is louder than -55 dBFS, but for the last 17 ms."""
SILENT_ENERGY = 0.0
"""After the last frame above it nothing is louder than -55 dBFS, but for the first 21 ms."""
HEAD_FRAMES = 5
"""Decoded before the onset, or one more: a decoder that begins later begins otherwise. edges.trim_head cuts them."""
TAIL_FRAMES = 2
EDGE_FRAMES = 3
"""For so many frames around a silence the voice is below -45 dBFS already, or still."""
QUIET_FRAMES = 2
"""Of EDGE_FRAMES, those at the end of a sound."""
SHORTEST_PAUSE = 3
"""Frames that a pause keeps: it may be the closure of a plosive."""
SHORT_SOUNDS = 0.4
"""At twice the pace a sound of half the length gets this power of two more of its frames: short sounds stay understood.
With 0 a recogniser errs in 22 % of the words of tests/speech_sentences.txt at speed 2, with 0.4 in 10 %.
"""
SOUND_LEADS = 4
"""A phoneme is heard so many frames before those that it is given."""

SIBILANT_LEADS = 6

_SIBILANTS = frozenset((61, 68, 131, 147))
"""Ids of s, z, ʃ and ʒ."""
_COMMA, _CLAUSE = frozenset((3,)), frozenset((1, 2, 4, 5, 6, 9, 10))
"""Ids of `,` and of `; : . ! ? — …`."""
_LAST_MARK = 16
"""Punctuation, brackets, quotes and the blank have ids from 1 to this one."""

Frames = NDArray[np.int64]
Energy = NDArray[np.float32]
Places = NDArray[np.float64]


class Break(NamedTuple):
    """Tokens [first, last) between two words, with a mark that asks for a pause."""

    first: int
    last: int
    pause_s: float


def find_breaks(tokens: Sequence[int], pauses: PauseProfile) -> list[Break]:
    """The pauses inside a segment."""
    breaks, first = [], 0
    for at, token in enumerate(tokens):
        if 0 < token <= _LAST_MARK:
            continue
        marks = set(tokens[first:at])
        if first > 1 and at < len(tokens) - 1 and marks & (_COMMA | _CLAUSE):
            breaks.append(Break(first, at, pauses.clause_s if marks & _CLAUSE else pauses.comma_s))
        first = at + 1
    return breaks


def lengthen(durations: Frames, breaks: Sequence[Break]) -> Frames:
    """Durations of tokens with room for the pauses, in frames of 25 ms: the voice falls silent in a long one only."""
    longer = durations.copy()
    for first, _, pause_s in breaks:
        longer[first] = max(longer[first], math.ceil(pause_s / (2 * FRAME_S)))
    return longer


def edit(energy: Energy, ends: Frames, breaks: Sequence[Break], speed: float, *, trim: bool) -> Places:
    """Which frames are decoded: places among the frames of the prosody, ascending, between two of them at speeds other
    than 1.

    `energy` [frames] and `ends` [tokens], the frame behind each token, are at the network's own pace.
    """
    places = np.arange(len(energy), dtype=np.float64) if speed == 1 else _pace(energy, ends, speed)
    if trim:
        places = _cut_edges(places, energy)
        for first, last, pause_s in breaks:
            start = ends[first - 2] - SOUND_LEADS  # that of the sound before the mark
            frames = (pause_s / FRAME_S - EDGE_FRAMES) / speed
            places = _set_pause(places, energy, start, ends[last - 1], frames)
    return places


def _pace(energy: Energy, ends: Frames, speed: float) -> Places:
    """1 / speed times as many places as frames. A fast voice hurries through long sounds more than through short ones,
    as a speaker does.
    """
    weights = np.ones(len(energy))
    if speed > 1:
        durations = np.diff(ends, prepend=0)
        heard = energy > SILENT_ENERGY
        favour = np.repeat(durations, durations)[heard] ** (-SHORT_SOUNDS * (speed - 1))
        weights[heard] = favour / favour.mean() if favour.size else favour
    edges = np.concatenate(([0.0], np.cumsum(weights)))
    count = max(round(len(energy) / speed), 3)
    middles = (np.arange(count) + 0.5) * (edges[-1] / count)
    places: Places = np.interp(middles, edges, np.arange(len(edges))) - 0.5
    return places.clip(0, len(energy) - 1)


def _cut_edges(places: Places, energy: Energy) -> Places:
    energy = energy[_nearest(places)]
    onsets, heard = np.flatnonzero(energy > ONSET_ENERGY), np.flatnonzero(energy > SILENT_ENERGY)
    if not heard.size:
        return places
    begin = max(onsets[0] - HEAD_FRAMES, 0)
    # The pulse source passes through half a cycle in a silent frame: after an even number of them it goes on as it was.
    return places[begin - begin % 2 : heard[-1] + 1 + TAIL_FRAMES]


def _set_pause(places: Places, energy: Energy, start: int, stop: int, frames: float) -> Places:
    """Cut or stretch the longest silence in [start, stop) to `frames`; a voice that runs on is left as it is."""
    silent = energy[_nearest(places)] < SILENT_ENERGY
    edges = np.flatnonzero(np.diff(silent.astype(np.int8), prepend=0, append=0))
    inner = (run for run in edges.reshape(-1, 2) if run[0] > 0 and run[1] < len(places))
    runs = [(b - a, a) for a, b in inner if places[a] < stop and places[b - 1] >= start]
    if not runs:
        return places
    length, first = max(runs)
    middle = first + length // 2
    change = max(round(frames), SHORTEST_PAUSE) - length
    if change >= 0:
        return np.insert(places, middle, np.full(change, places[middle]))
    begin = first + (length + change) // 2
    return np.delete(places, np.arange(begin, begin - change))


def _nearest(places: Places) -> Frames:
    return np.rint(places).astype(np.int64)


def onset_s(energy: Energy, places: Places) -> float:
    """From the first place to the first sound."""
    return float((energy[_nearest(places)] > ONSET_ENERGY).argmax()) * FRAME_S


def word_times(
    words: Sequence[WordSpan], tokens: Sequence[int], ends: Frames, energy: Energy, places: Places
) -> list[tuple[float, float]]:
    """When each word is heard, in seconds from the segment's first sample."""
    silent: list[bool] = (energy <= SILENT_ENERGY).tolist()
    ends_of: list[int] = ends.tolist()
    heard: list[tuple[int, int]] = []
    behind = 0
    for word in words:
        start, end = _heard(word.first, tokens, ends_of), _heard(word.last, tokens, ends_of)
        quiet = next((frame for frame in range(start - 1, behind - 1, -1) if silent[frame]), None)
        if quiet is not None:  # a pause or a closure: the word follows it
            start = quiet + 1
        start = max(start, behind)
        loud = next((frame for frame in range(start, end) if not silent[frame]), None)
        if loud is not None:
            last = next(frame for frame in range(end - 1, loud - 1, -1) if not silent[frame])
            start, end = loud, last + 1
            if last + 1 < len(silent) and silent[last + 1]:
                end -= QUIET_FRAMES
        behind = max(start, end)
        heard.append((start, behind))
    times: list[tuple[float, float]] = []
    for start_s, end_s in (np.searchsorted(places, heard) * FRAME_S).tolist():
        begin_s = max(start_s - WORD_LEAD_S, 0.0)
        if times and times[-1][1] > begin_s:
            times[-1] = (times[-1][0], begin_s)
        times.append((begin_s, end_s))
    return times


def _heard(token: int, tokens: Sequence[int], ends: Sequence[int]) -> int:
    """The frame from which a token is heard."""
    start = ends[token - 1]
    return max(start - (SIBILANT_LEADS if tokens[token] in _SIBILANTS else SOUND_LEADS), 0)
