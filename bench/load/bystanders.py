"""Who works beside the server that is measured: servers that nobody asks, and helpers outside its processes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean, median

from bench.load.validity import accuse
from bench.records import Cell, LoadPoint, Run
from bench.servers.start import Server

MOST_UNASKED = 0.1
"""Of a core, of a server that nobody asks. All stay up while one is measured, and one that spins slows the others."""
MOST_HELP, MOST_HELP_SHARE = 0.1, 0.1
"""Of a core, and of what the server itself uses: so much more than beside other servers, others work for it."""
LEAST_PAIRS = 3
"""Load points that tell whether others work for a server or by chance."""


class Bystanders:
    """The servers that are up and not asked, from now on."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._began_s = time.monotonic()
        self._before = [(server, used) for server in servers if (used := server.cpu_s()) is not None]

    def accuse(self, cell: Cell) -> None:
        """Name those that worked meanwhile, and remember of all how much they did."""
        elapsed_s = time.monotonic() - self._began_s
        for server, before in self._before:
            share = ((server.cpu_s() or 0.0) - before) / elapsed_s
            server.unasked_cpu.append(share)
            if share > MOST_UNASKED:
                accuse(
                    cell, [f"disturbed machine: {server.arm}, which nobody asked, used {share:.2f} of a core"]
                )


def accuse_bystanders(run: Run, servers: Sequence[Server]) -> None:
    """Servers that work when they are not asked, and those that others of the machine work for, are INVALID everywhere.

    A server may do something once in a while: it is the mean over the load points of the others that counts.
    """
    for server in servers:
        if server.unasked_cpu and (share := mean(server.unasked_cpu)) > MOST_UNASKED:
            _accuse_arm(
                run, server.arm, f"works unasked: {share:.2f} of a core at the load points of other servers"
            )
    points: dict[tuple[LoadPoint, int], dict[str, Cell]] = defaultdict(dict)
    for cell in run.cells:
        if cell.others_cpu_share is not None:
            points[cell.point, cell.repeat][cell.arm] = cell
    for arm in {cell.arm for cell in run.cells}:
        help_, own = [], []
        for cells in points.values():
            beside = [cell.others_cpu_share or 0.0 for name, cell in cells.items() if name != arm]
            if arm in cells and beside:
                help_.append((cells[arm].others_cpu_share or 0.0) - mean(beside))
                own.append(cells[arm].server_cpu_share or 0.0)
        if len(help_) >= LEAST_PAIRS and (more := median(help_)) > max(
            MOST_HELP, MOST_HELP_SHARE * median(own)
        ):
            _accuse_arm(
                run,
                arm,
                f"helped: others of the machine use {more:.2f} of a core more than beside other servers",
            )


def _accuse_arm(run: Run, arm: str, reason: str) -> None:
    for cell in run.cells:
        if cell.arm == arm:
            accuse(cell, [reason])
