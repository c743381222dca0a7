"""What the scheduler keeps of a request under way. No torch."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from serving.models.base import SegmentTimes
from serving.protocol import Segment, SpeechParams, Times

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from serving.models.base import SegmentState


class StageLimits(NamedTuple):
    """What the scheduler knows of a stage; see serving.models.base.Stage."""

    max_rows: int
    max_units: int
    lookahead: bool = False
    rows: tuple[int, ...] = ()
    """Rows of the shapes that are captured, ascending; empty where a step has as many as it wants."""


@dataclass(slots=True, eq=False)
class Part:
    """A segment from the time it takes a slot until its samples have left."""

    request: Request
    segment: Segment
    slot: int
    urgent: bool
    state: SegmentState | None = None
    in_steps: int = 0
    """Steps that hold it and are not complete yet: at most 2, and 2 only by lookahead."""
    ended: bool = False
    """All its samples are made, or it is not wanted any more."""
    held: list[NDArray[np.float32]] = field(default_factory=list)
    """Samples that wait for the segments before it."""
    held_samples: int = 0
    begun: bool = False
    """It has made samples."""
    sent_samples: int = 0
    spoke_s: float | None = None
    """When it took an offer whose sound is not made yet."""
    timed: bool = False
    """Its Times were sent."""

    def take_offer(self, now: float, stages: Collection[str]) -> str | None:
        """Have what was offered made now. Why that went wrong, if the model made a mistake."""
        assert self.state is not None
        self.spoke_s = now
        try:
            self.state.take_offer()
        except Exception as error:
            return f"take_offer: {type(error).__name__}: {error}"
        if self.state.stage not in stages:
            return f"take_offer: sent a segment to the stage {self.state.stage!r}"
        return None


@dataclass(slots=True, eq=False)
class Request:
    """A request in flight."""

    request_id: str
    params: SpeechParams
    streaming: bool
    timed: bool
    arrived_s: float
    expires_s: float
    waiting: deque[Segment] = field(default_factory=deque)
    last: bool = False
    next_index: int = 0
    parts: deque[Part] = field(default_factory=deque)
    """In order; the first is the one whose samples leave now."""
    slots: int = 0
    over: bool = False
    first_step_s: float | None = None
    first_chunk_s: float | None = None
    samples: int = 0
    """Delivered."""
    chunks: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    stages: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When the first step of a stage began, and its last ended."""

    @property
    def is_newcomer(self) -> bool:
        """Its listener has heard nothing."""
        return self.streaming and self.first_chunk_s is None

    def times(self, rate_hz: int) -> Times | None:
        """When the segment is spoken whose samples leave now, told once: ahead if the model knows, else at its end."""
        head = self.parts[0]
        state = head.state
        if head.timed or state is None:
            return None
        begin_s = (self.samples - head.sent_samples) / rate_hz + head.segment.lead_s
        if (times := state.times) is None:
            if not head.ended:
                return None
            end_s = (self.samples + head.held_samples) / rate_hz
            times = SegmentTimes(0.0, end_s - begin_s, [])
        head.timed = True
        return Times(
            request_id=self.request_id,
            segment=head.segment.index,
            start_s=begin_s + times.start_s,
            end_s=begin_s + times.end_s,
            words=[(begin_s + start_s, begin_s + end_s) for start_s, end_s in times.words],
        )


class Plan(NamedTuple):
    """One step: these segments, in this stage."""

    stage: str
    parts: list[Part]
    pressing: bool = False
    """The most urgent of them has a listener who waits already, or is about to."""


class Speech(NamedTuple):
    """Samples of a request that may leave now."""

    request_id: str
    samples: NDArray[np.float32]
