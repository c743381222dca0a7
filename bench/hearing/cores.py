"""The same work on many waves, on all cores: it begins when a load has ended, so nothing is disturbed by it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any, TypeVar

from serving.native.cores import usable_cores

Answer = TypeVar("Answer")

_WORTH_IT = 8
"""Items from which on it pays to fork. A process with threads does not: a lock that one of them holds stays held."""

_work: Callable[[int], Any] = id


def over_cores(work: Callable[[int], Answer], count: int) -> list[Answer]:
    """`work` of 0 to count - 1, in order. On Linux by forks of this process, which have all that it has.

    What `work` changes is lost; its answers are pickled. Raises what `work` raises.
    """
    global _work
    cores = usable_cores()
    if sys.platform != "linux" or cores == 1 or count < _WORTH_IT or threading.active_count() > 1:
        return list(map(work, range(count)))
    _work = work
    try:
        with get_context("fork").Pool(min(cores, count)) as pool:
            return pool.map(_do, range(count), chunksize=1)
    finally:
        _work = id


def _do(number: int) -> Any:
    return _work(number)
