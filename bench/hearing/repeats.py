"""Is a piece of a wave a copy of another wave, or of an earlier piece of itself?

Copies are found at any gain, at any shift, at any sample rate and under a little noise: around the largest samples
of their surroundings, 120 ms of the band below 3 kHz are projected to 64 numbers of unit length (a random
projection keeps angles: Johnson and Lindenstrauss). Two such prints are alike if the cosine between them is, and a
piece is a copy if several prints in a row are alike at one and the same distance in time. Two texts that begin with
the same words do not do that: nobody says a word twice alike, and neither does a model that reads a whole sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 6000
PRINT_S = 0.12
EVERY_S = 0.08
DIMENSIONS = 64
ALIKE = 0.96
"""Cosine of two prints that are copies."""
SAME_PLACE_S = 0.004
"""Copies keep their distance to this."""
LEAST_PRINTS = 6
"""Of a copied piece: about 0.7 s. Two texts that begin alike were once alike for half a second."""
LEAST_PRINTS_ITSELF = 3
LEAST_PRINTS_PIECE = 3
"""Of a kept word."""
START_S = (0.05, 0.2)
"""Before and after the first large sample of a wave: what is compared of two beginnings."""
START_PEAK_S = 0.15
"""That sample is the largest so long after the sound begins."""
LEAST_APART_S = 0.1
"""Within one wave; closer prints overlap."""


class Prints(NamedTuple):
    """The prints of one wave."""

    at_s: NDArray[np.float32]
    """[prints]: where they lie."""
    vectors: NDArray[np.float32]
    """[prints, DIMENSIONS], of unit length."""
    start: NDArray[np.float32]
    """[DIMENSIONS], of unit length: the print of its beginning; zeros for a silent wave."""


def prints_of(wave: NDArray[np.float32], sample_rate_hz: int) -> Prints:
    """The prints of a mono wave [n]; none of a silent one."""
    count = round(len(wave) * RATE_HZ / sample_rate_hz)
    size, every = round(PRINT_S * RATE_HZ), round(EVERY_S * RATE_HZ)
    if count < 3 * size:
        return Prints(
            np.zeros(0, np.float32), np.zeros((0, DIMENSIONS), np.float32), np.zeros(DIMENSIONS, np.float32)
        )
    spectrum = np.fft.rfft(wave)
    kept = np.zeros(count // 2 + 1, np.complex64)
    most = min(len(kept), len(spectrum))
    kept[:most] = spectrum[:most]
    kept[: round(80 * count / RATE_HZ)] = 0
    low = np.fft.irfft(kept, count).astype(np.float32)
    height = np.abs(low)
    blocks = height[: count // every * every].reshape(-1, every)
    at = blocks.argmax(axis=1) + np.arange(len(blocks)) * every
    at = at[(height[at] > 0.1 * height.max()) & (at >= size // 2) & (at < count - size // 2)]
    # The largest within EVERY_S / 2 on both sides: the same samples are found wherever the wave begins.
    at = at[height[at] >= height[at[:, None] + np.arange(-(every // 2), every // 2)].max(axis=1)]
    pieces = low[at[:, None] + np.arange(-(size // 2), size // 2)]
    return Prints((at / RATE_HZ).astype(np.float32), _projected(pieces), _start(low, height))


def _start(low: NDArray[np.float32], height: NDArray[np.float32]) -> NDArray[np.float32]:
    before, after = (round(seconds * RATE_HZ) for seconds in START_S)
    onset = int(np.argmax(height > 0.1 * height.max()))
    at = onset + int(height[onset : onset + round(START_PEAK_S * RATE_HZ)].argmax())
    padded = np.pad(low, (before, after))
    start: NDArray[np.float32] = _projected(padded[None, at : at + before + after])[0]
    return start


def _projected(pieces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pieces [n, samples] as vectors [n, DIMENSIONS] of unit length that keep the angles between them."""
    vectors = (pieces / (np.linalg.norm(pieces, axis=1, keepdims=True) + 1e-9)) @ _projection(pieces.shape[1])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    projected: NDArray[np.float32] = vectors.astype(np.float32)
    return projected


def kept_starts(waves: Sequence[Prints], letters: Sequence[str]) -> list[bool]:
    """Whether each wave begins with the samples of another one whose first letter is another.

    Words that begin alike ("Mr.", "Mrs.") may be said alike.
    """
    if not waves:
        return []
    starts = np.stack([wave.start for wave in waves])
    first = np.asarray(letters)
    alike = (np.abs(starts @ starts.T) > ALIKE) & (first[:, None] != first)
    return [bool(one) for one in alike.any(axis=1)]


class Copied(NamedTuple):
    """Shares of the prints of a wave."""

    of_others: float
    """In pieces that are copies of another wave."""
    of_itself: float
    """In pieces that come twice in it."""
    in_pieces: float = 0.0
    """In pieces of LEAST_PRINTS_PIECE and more that are copies of another wave."""


def copied_shares(waves: Sequence[Prints]) -> list[Copied]:
    """What of each wave is a copy of another of the waves, or of another place in itself."""
    if not waves:
        return []
    vectors = np.concatenate([wave.vectors for wave in waves])
    times = np.concatenate([wave.at_s for wave in waves])
    owner = np.repeat(np.arange(len(waves)), [len(wave.at_s) for wave in waves])
    return [_copied(number, wave, vectors, times, owner) for number, wave in enumerate(waves)]


def _copied(
    number: int,
    wave: Prints,
    vectors: NDArray[np.float32],
    times: NDArray[np.float32],
    owner: NDArray[np.int64],
) -> Copied:
    if not len(wave.at_s):
        return Copied(0.0, 0.0)
    likeness = np.abs(wave.vectors @ vectors.T)
    mine, other = np.nonzero(likeness > ALIKE)
    apart = times[other] - wave.at_s[mine]
    foreign = owner[other] != number
    itself = ~foreign & (np.abs(apart) > LEAST_APART_S)
    shares = []
    for chosen, least in (
        (foreign, LEAST_PRINTS),
        (itself, LEAST_PRINTS_ITSELF),
        (foreign, LEAST_PRINTS_PIECE),
    ):
        copied = _in_a_row(mine[chosen], owner[other[chosen]], apart[chosen], least)
        shares.append(len(copied) / len(wave.at_s))
    return Copied(*shares)


def _in_a_row(
    mine: NDArray[np.int64], owner: NDArray[np.int64], apart: NDArray[np.float32], least: int
) -> set[int]:
    """Those prints of which `least` and more are alike to prints of one other wave at one distance in time."""
    copied: set[int] = set()
    for shift in (0.0, 0.5):  # a distance may fall on either side of a rounding
        places = np.stack([owner, np.floor(apart / SAME_PLACE_S + shift)], axis=1)
        _, index, counts = np.unique(places, axis=0, return_inverse=True, return_counts=True)
        copied.update(mine[counts[index.reshape(-1)] >= least].tolist())
    return copied


@cache
def _projection(size: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(size, DIMENSIONS)).astype(np.float32)
