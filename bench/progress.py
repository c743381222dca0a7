"""What is being done, on standard error: one line that changes on a terminal, a line each elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows a text until the next one."""
    console = Console(stderr=True, markup=False, highlight=False)
    if not console.is_terminal:
        yield partial(console.print, soft_wrap=True)
        return
    with console.status("") as status:
        yield status.update
