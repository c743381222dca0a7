"""The frontend's segments, taken in turns: one request after the other has a little of a thread."""

from __future__ import annotations

import time
from collections.abc import Iterator

from serving.models.base import ModelError
from serving.protocol import Segment

PULL_S = 0.005
"""A frontend works this long on one request before others have their turn."""


def pull(segments: Iterator[Segment], limit: int | None) -> tuple[list[Segment], bool]:
    """The segments that come within PULL_S, at least one and at most `limit`, and whether there are no more.

    Raises what the frontend raises, and ModelError for a segment that the engine could not read.
    """
    pulled: list[Segment] = []
    until_s = time.monotonic() + PULL_S
    for segment in segments:
        if not all(type(token) is int for token in segment.tokens):
            raise ModelError(f"segment {segment.index}: the frontend's tokens are not all of type int")
        pulled.append(segment)
        if len(pulled) == limit or time.monotonic() >= until_s:
            return pulled, False
    return pulled, True
