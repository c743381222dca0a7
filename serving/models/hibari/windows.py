"""Which frames a decode step computes, and where each layer finds its input. Plain numpy.

A segment has F frames. A window emits frames [start, stop). Layer l of the decoder is by then done up to
frame min(F, stop + REACH * (layers after l)), so a first window computes more frames in the early layers than
in the late ones, a whole segment in one window computes F in each, and no window computes a frame twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.models.hibari.constants import OVERLAP

REACH = 3
"""Frames that a decoder convolution (7 taps) reads on either side."""
LAYERS = 9
"""The decoder's input convolution and its 8 blocks."""
HISTORY = 2 * REACH
"""Input frames that a layer keeps for the next window."""
LOOKAHEAD = REACH * LAYERS
"""Network inputs that a frame needs beyond itself."""
INSIDE, FIRST, SECOND_TO_LAST, LAST = range(4)
"""Kinds of a block: which of the four frames m-1 to m+2 of block m exist."""

Indices = NDArray[np.int64]


class Window(NamedTuple):
    """Frames [start, stop) of a segment of `frames`."""

    start: int
    stop: int
    frames: int

    @property
    def length(self) -> int:
        """Most frames that a layer computes in this window: the units it costs."""
        return max(len(self.new(-1)), self.stop - self.start)

    @property
    def blocks(self) -> range:
        """Blocks of samples that are complete after this window and were not before."""
        late = OVERLAP // 2  # a block is complete once the second frame after it is there
        last = self.frames if self.stop == self.frames else self.stop - late
        return range(max(self.start - late, 0), last)

    def done(self, layer: int, frame: int) -> int:
        """Frames that `layer` (-1: the inputs) has computed once the decoder has emitted up to `frame`."""
        return min(self.frames, frame + REACH * (LAYERS - 1 - layer)) if frame else 0

    def new(self, layer: int) -> range:
        """Frames that `layer` computes in this window."""
        return range(self.done(layer, self.start), self.done(layer, self.stop))


def next_window(start: int, blocks: int, frames: int, limit: int, spare: int = LOOKAHEAD) -> Window:
    """The window from `start` that completes about `blocks` more blocks, of at most `limit` units.

    What would be left over and is no more than `spare` frames is taken along: of the lookahead most is computed
    anyway. Where the limit forbids that, more is left over. `limit` must exceed LOOKAHEAD.
    """
    stop = start + min(blocks, limit) if start else min(blocks + OVERLAP // 2, limit - LOOKAHEAD)
    if frames - stop <= spare and frames - start <= limit:
        stop = frames
    elif frames - stop <= LOOKAHEAD:
        stop = frames - LOOKAHEAD - 1
    return Window(start, stop, frames)


class Plan(NamedTuple):
    """Where everything lies in one decode step, for Decoder and the overlap-add."""

    takes: tuple[Indices, ...]
    """Per block of the decoder: input frames within (rows' histories, one zero frame, the layer before's
    output).
    """
    ends: Indices
    """[8, rows]: one past each row's last input frame."""
    heads: Indices
    """Emitted frames within the last block's output."""
    overlaps: Indices
    """[blocks, 4]: the parts that add up to a block, within (rows' last 3 frames, one zero frame, new frames)
    x 4.
    """
    tapers: Indices
    """[blocks]: INSIDE, FIRST, SECOND_TO_LAST or LAST."""
    tails: Indices
    """[rows, 3]: the last 3 frames of a row, within (rows' last 3 frames, one zero frame, new frames)."""

    def parts(self) -> Iterator[Indices]:
        """The arrays one by one, the takes first."""
        yield from self.takes
        yield from self[1:]


def plan(windows: Sequence[Window], rows: int, length: int | None) -> Plan:
    """Plan a step for `windows`, in a batch of `rows` rows.

    With `length` the arrays have the sizes that every step of (rows, length) has, filled up with the zero
    frame; without, they are as short as these windows allow.
    """
    zero = rows * HISTORY
    # Where each row's frames begin in the layer before's output.
    spans = [len(window.new(0)) + HISTORY for window in windows]
    offsets = [0, *np.cumsum(spans[:-1]).tolist()] if windows else []
    takes: list[Indices] = []
    ends = np.full((LAYERS - 1, rows), HISTORY, np.int64)
    for layer in range(1, LAYERS):
        pieces: list[Indices] = []
        at = 0
        for row, window in enumerate(windows):
            known, wanted = len(window.new(layer - 1)), len(window.new(layer))
            span = np.full(wanted + HISTORY, zero, np.int64)
            lead = REACH
            if window.start:
                lead = HISTORY
                span[:lead] = np.arange(row * HISTORY, (row + 1) * HISTORY)
            begin = zero + 1 + offsets[row]
            span[lead : lead + known] = np.arange(begin, begin + known)
            pieces.append(span)
            offsets[row] = at
            at += span.size
            ends[layer - 1, row] = at
        takes.append(_filled(pieces, None if length is None else rows * (length + HISTORY), zero))
    heads = [np.arange(at, at + len(w.new(LAYERS - 1))) for at, w in zip(offsets, windows, strict=True)]
    return Plan(
        tuple(takes),
        ends,
        _filled(heads, None if length is None else rows * length, 0),
        *_overlap(windows, rows, length),
    )


def _overlap(windows: Sequence[Window], rows: int, length: int | None) -> tuple[Indices, Indices, Indices]:
    zero = rows * (OVERLAP - 1)
    parts = np.arange(OVERLAP)
    overlaps: list[Indices] = []
    kinds: list[Indices] = []
    tails = np.full((rows, OVERLAP - 1), zero, np.int64)
    begin = zero + 1
    for row, window in enumerate(windows):

        def where(frame: Indices, row: int = row, window: Window = window, begin: int = begin) -> Indices:
            old = row * (OVERLAP - 1) + frame - (window.start - (OVERLAP - 1))
            place = np.where(frame < window.start, old, begin + frame - window.start)
            return np.where((frame < 0) | (frame >= window.frames), zero, place)

        blocks = np.arange(window.blocks.start, window.blocks.stop)
        overlaps.append(where(blocks[:, None] + 2 - parts) * OVERLAP + parts)
        kind = np.full(blocks.size, INSIDE, np.int64)
        kind[blocks == 0] = FIRST
        kind[blocks == window.frames - 2] = SECOND_TO_LAST
        kind[blocks == window.frames - 1] = LAST
        kinds.append(kind)
        tails[row] = where(np.arange(window.stop - (OVERLAP - 1), window.stop))
        begin += window.stop - window.start
    size = None if length is None else rows * (length + 2)
    nothing = np.empty((0, OVERLAP), np.int64)
    return _filled([*overlaps, nothing], size, zero * OVERLAP), _filled(kinds, size, INSIDE), tails


def _filled(pieces: list[Indices], size: int | None, fill: int) -> Indices:
    joined = np.concatenate(pieces or [np.empty(0, np.int64)])
    if size is None or joined.shape[0] == size:
        return joined
    full = np.full((size, *joined.shape[1:]), fill, np.int64)
    full[: joined.shape[0]] = joined
    return full
