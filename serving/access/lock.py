"""A lock among processes, on a file or a folder: whoever holds it lets go at the latest when his process ends."""

from __future__ import annotations

import errno
import time
from typing import IO

LOOK_S = 0.01


def take(file: int | IO[bytes], limit_s: float) -> None:
    """Be alone with an open file until it is closed. Raises TimeoutError if another process holds it for limit_s."""
    import fcntl  # here, because Windows has none, and every model imports what imports this

    until_s = time.monotonic() + limit_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until_s:
                why = f"another process has been writing for {limit_s:g} s"
                raise TimeoutError(errno.ETIMEDOUT, why) from None
            time.sleep(LOOK_S)
