"""A row of the table of cheats."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.cheats.answer import Answer, Floats
from bench.cheats.server import Asked, Cheat


@dataclass(frozen=True, kw_only=True)
class Row:
    """A server of the table."""

    name: str
    does: str
    cheat: Cheat
    named: str | None
    """What one of its reasons must say; None: honest, and no reason may be given."""
    stats: dict[str, Any] | None = field(default=None)
    speaks_after_s: float = 0.0
    """The first sound of its speech comes no sooner, whatever comes before: the median TTFA must say so."""
    asked_again: bool = False
    """Whether it is asked some texts twice first. The table's server keeps its waves, and so is such a cheat."""


def row(name: str, does: str, named: str | None, cheat: Cheat, stats: dict[str, Any] | None = None) -> Row:
    """A row, in short."""
    return Row(name=name, does=does, named=named, cheat=cheat, stats=stats)


def of_wave(wave: Floats, **more: Any) -> Answer:
    """An answer with this wave; `more` are fields of Answer."""
    return Answer(wave=np.asarray(wave, np.float32), **more)


def prefixed(asked: Asked, start: Floats, **more: Any) -> Answer:
    """The right answer behind something else."""
    return of_wave(np.concatenate([start, asked.wave]), **({"piece_s": 0.2} | more))
