"""Progress of a command: a line on standard error, or a bar on its console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.metrics import audible_ttfa_s, audio_seconds_per_second, errors_by_kind, good, percentile
from bench.records import Cell

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


def line_of(cell: Cell) -> str:
    """A load point on one line of a rich console."""
    served = good(cell.samples)
    line = f"{cell.endpoint:11} {cell.texts:6} {cell.point.load:14} {cell.arm:10}"
    if served:
        first = percentile([audible_ttfa_s(sample) or 0.0 for sample in served], 50)
        line += f" TTFA p50 {first * 1e3:7.1f} ms  {audio_seconds_per_second(cell.samples):6.1f} audio s/s"
    if errors := errors_by_kind(cell.samples):
        line += "  " + ", ".join(f"{count} {kind}" for kind, count in errors.items())
    return line + ("" if cell.verdict == "VALID" else f"  [red]INVALID[/red]: {'; '.join(cell.reasons)}")
