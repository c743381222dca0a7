"""What each switch of a profile brings: turned on one at a time, each against the step before it."""

from __future__ import annotations

import msgspec

from bench.plots import Bar


class SweepStep(msgspec.Struct, frozen=True, kw_only=True):
    """One switch, set on top of the steps before it."""

    name: str
    overrides: list[str]
    """What this step sets, as --set takes it."""
    gain: float | None = None
    """Speed over the step before; above 1 is faster. None for the start, and for a step that failed."""
    gain_low: float | None = None
    gain_high: float | None = None
    failure: str | None = None
    """Why it could not be measured; the next step is then measured against the last one that could."""


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """A whole sweep, start first."""

    description: str
    steps: list[SweepStep]

    def bars(self) -> list[Bar]:
        """The steps that were measured, for the waterfall."""
        return [
            Bar(
                label=step.name,
                value=step.gain,
                low=step.gain_low or step.gain,
                high=step.gain_high or step.gain,
            )
            for step in self.steps
            if step.gain is not None
        ]
