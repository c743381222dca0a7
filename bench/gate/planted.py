"""The probe of a tree with a planted slow-down: every step of its engine takes more CPU time.

    python -m bench.gate.planted SHARE PROFILE [KEY=VALUE ...]

The proof of the gate starts it in place of the probe. The server's code knows nothing of it: the runner's methods
are replaced in this process, where the probe's engine runs.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from bench.gate import probe
from serving.engine.runner import Runner

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


def slow_down(
    call: Callable[Parameters, Answer], share: float, clock: Callable[[], float] = time.thread_time
) -> Callable[Parameters, Answer]:
    """The same call, after which the thread burns `share` of the CPU time that the call took of it.

    It burns and does not sleep, so that a figure in CPU seconds shows it. With engine.threads=1, as the gate
    has it, the calling thread's CPU time is the whole step's.
    """

    @functools.wraps(call)
    def slow(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
        began_s = clock()
        answer = call(*args, **kwargs)
        now_s = clock()
        until_s = now_s + share * (now_s - began_s)
        while clock() < until_s:
            pass
        return answer

    return slow


def plant(share: float) -> None:
    """Slow down every step of the engines that this process runs: its launch and its finish."""
    Runner.launch = slow_down(Runner.launch, share)  # type: ignore[method-assign]
    Runner.finish = slow_down(Runner.finish, share)  # type: ignore[method-assign]


def main(arguments: Sequence[str]) -> None:
    """Plant, then run the probe."""
    plant(float(arguments[0]))
    probe.main(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
