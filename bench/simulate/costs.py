"""What a step costs: a table that was measured, or one that was modelled for a device that is not here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

Crowd = Literal["idle", "behind", "pressing"]
"""Who has the cores; see Wait."""
TABLES = Path(__file__).with_name("tables")


class StepCost(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of a step: fixed_s + per_row_s * rows + a curve over its padded units."""

    fixed_s: float = 0.0
    per_row_s: float = 0.0
    units: tuple[float, ...] = (0.0, 1.0)
    """Ascending, of the curve's points; beyond the last the curve goes on straight."""
    seconds: tuple[float, ...] = (0.0, 0.0)

    def of(self, rows: int, units: float) -> float:
        """Seconds of a step of `rows` rows and `units` padded units in all."""
        x, y = self.units, self.seconds
        if units > x[-1]:
            slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
            curve = y[-1] + slope * (units - x[-1])
        else:
            curve = float(np.interp(units, x, y))
        return self.fixed_s + self.per_row_s * rows + curve


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the moment at which a thread or a process has something to do to the moment at which it does it.

    It depends on who has the cores then. The fair share of cores (Machine) is not in it.
    """

    idle_s: float = 0.0
    """A core has nothing to do."""
    behind_s: float = 0.0
    """All cores are busy, at least one of them with a step that steps back."""
    pressing_s: float = 0.0
    """All cores are busy with what steps back for nobody."""

    def of(self, crowd: Crowd) -> float:
        """The wait on such a machine."""
        return {"idle": self.idle_s, "behind": self.behind_s, "pressing": self.pressing_s}[crowd]


class ServerCost(msgspec.Struct, frozen=True, kw_only=True):
    """What is not the engine's steps: work in CPU seconds of one core, and waits."""

    request_s: float = 0.0
    """HTTP process: read a request, check it, hand it over, and end its answer."""
    per_character_s: float = 0.0
    """Text frontend."""
    chunk_s: float = 0.0
    """HTTP process: one chunk from the engine to the socket, beside its audio."""
    per_audio_s: float = 0.0
    """HTTP process: a second of audio, from the engine's floats to the socket."""
    client_request_s: float = 0.0
    """Load generator: send a request and book its end."""
    client_chunk_s: float = 0.0
    client_per_audio_s: float = 0.0
    turn_s: float = 0.0
    """Engine: what the loop does for a step beside the step and its CostTable.finishes."""
    poll_s: float = 0.0
    """Engine: one look for messages, by the loop whose workers are not all busy."""
    hand_s: float = 0.0
    """Engine: what a worker does for a step beside the step: to take it, and to give it back."""
    send_s: float = 0.0
    """Engine: what the loop does to send a chunk."""
    io_s: float = 0.0
    """Engine: what the thread of the socket does for a chunk."""
    crowded: float = 1.0
    """By so much the work of HTTP and of the client is longer where steps keep all cores, and caches, busy."""
    hop: Wait = Wait()
    """A message from one process to another, with all threads that are woken on its way."""
    wake: Wait = Wait()
    """A thread of the engine that is woken by another one, which then sleeps."""
    told: Wait = Wait()
    """The loop that is woken by a worker which goes on with its next step."""


class CostTable(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that moves the virtual clock."""

    device: str
    source: str
    """How the figures were had, in words."""
    stages: dict[str, StepCost]
    spread: dict[str, StepCost] = {}
    """The same of a step that has all cores, in seconds of each; a stage that is not named stays on one."""
    finishes: dict[str, StepCost] = {}
    """What the engine's own thread does with the outputs of a step; stages that are not named cost it nothing."""
    padded: bool = True
    """Units of a step are rows times the longest length; else the sum of the lengths, for rows that run one by one."""
    overlaps: bool = False
    """A step is launched while the one before it runs (CUDA); else it holds a worker and a core."""
    launch_s: float = 0.0
    """Host time of a launch, where it overlaps."""
    host_s: dict[str, float] = {}
    """Host time of a launch beyond that, of stages that work on the host: beside other lanes it is a thread's."""
    beside: float = 0.0
    """What streams gain where two are busy: each runs at (1 + beside) / 2 of its speed; 0 is as if in series."""
    speeds: tuple[float, ...] = (1.0,)
    """Machine.speeds: one for each core."""
    server: ServerCost = ServerCost()

    @property
    def device_speeds(self) -> tuple[float, ...]:
        """Machine.device_speeds; a third stream gains nothing beyond two."""
        return (1.0, (1 + self.beside) / 2, (1 + self.beside) / 3)


def load_costs(name: str) -> CostTable:
    """A table by path, or by its name in bench/simulate/tables.

    Raises FileNotFoundError, which lists the tables there are, and msgspec.ValidationError for another shape.
    """
    path = Path(name)
    if not path.suffix:
        path = TABLES / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in TABLES.glob("*.json")))
        raise FileNotFoundError(f"no table of costs {name!r}; there are {known}, or give a path")
    return msgspec.json.decode(path.read_bytes(), type=CostTable)


class Step(msgspec.Struct, frozen=True):
    """A step that was timed."""

    stage: str
    rows: int
    units: int
    """As CostTable.padded says."""
    seconds: float
    threads: int = 1


def fit(steps: Sequence[Step]) -> Mapping[str, StepCost]:
    """The cost of each stage that explains its steps best: robust least squares over 1, rows and units.

    Costs that come out negative are dropped and the rest fitted again; steps far off (interrupted by the kernel, or by
    another machine on the same cores) shape it less, by five rounds of weights
    1 / (1 + (residual / median residual)^2). They are paid for nevertheless: what came out is scaled until it adds
    up to the seconds of all steps.
    """
    fitted: dict[str, StepCost] = {}
    for stage in sorted({step.stage for step in steps}):
        chosen = [step for step in steps if step.stage == stage]
        table = np.array([[1.0, step.rows, step.units] for step in chosen])
        seconds = np.array([step.seconds for step in chosen])
        weights = np.ones(len(chosen))
        columns = [0, 2] if len({step.rows for step in chosen}) == 1 else [0, 1, 2]
        solved = np.zeros(3)
        for _ in range(5):
            solved[:] = 0.0
            solved[columns] = not_negative(table[:, columns] * weights[:, None], seconds * weights)
            residuals = np.abs(table @ solved - seconds)
            weights = 1 / (1 + (residuals / max(float(np.median(residuals)), 1e-9)) ** 2)
        if (total_s := float((table @ solved).sum())) > 0:
            solved *= float(seconds.sum()) / total_s
        fitted[stage] = StepCost(
            fixed_s=float(solved[0]),
            per_row_s=float(solved[1]),
            units=(0.0, 1.0),
            seconds=(0.0, float(solved[2])),
        )
    return fitted


def not_negative(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Least squares of table [rows, columns] and values [rows] with no negative answer [columns]: the most negative
    column is left out until there is none.
    """
    active = list(range(table.shape[1]))
    answer = np.zeros(table.shape[1])
    while active:
        solved = np.linalg.lstsq(table[:, active], values, rcond=None)[0]
        if solved.min() >= 0:
            answer[active] = solved
            break
        active.pop(int(solved.argmin()))
    return answer
