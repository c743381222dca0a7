"""Progress of a command: a line on standard error, or a bar on its console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Notify = Callable[[str], None]
"""Called with what is being done from now on."""


@contextmanager
def status_line() -> Iterator[Notify]:
    """Yield a function that shows a text on standard error until the next one.

    On a terminal one line changes; elsewhere each text is a line of its own.
    """
    console = Console(stderr=True, markup=False, highlight=False)
    if not console.is_terminal:
        yield partial(console.print, soft_wrap=True)
        return
    with console.status("") as status:
        yield status.update


def progress_bar(console: Console) -> Progress:
    """A bar with a count and the time, which is removed at its end."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
