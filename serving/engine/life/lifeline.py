"""Ties the life of a process to that of its parent, whatever ends the parent.

On Linux the kernel does it (prctl PR_SET_PDEATHSIG): also for a process that is stopped or hangs, which no thread of
its own could end. Elsewhere a thread waits for the parent's end.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends. Does nothing but on Linux.

    Raises OSError if the kernel refuses.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_PDEATHSIG was refused")


def end_with_parent_process() -> None:
    """End this child of multiprocessing when its parent ends, however that happens.

    The thread catches what the kernel's signal cannot: other systems, and a parent that died before it was asked for.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in a child of multiprocessing"
    die_with_parent()

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
