"""python -m bench faults: do every fault to a server of its own, and print what came of it."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from bench.faults import clients, connections, disks, hostile, lives
from bench.faults.server import FaultError

Fault = Callable[[Path], str]

FAULTS: dict[str, Fault] = {
    "engine killed": lives.engine_killed,
    "engine frozen": lives.engine_frozen,
    "engine hung in a step": lives.engine_hung,
    "everything stopped": lives.everything_stopped,
    "engine dies at start": lives.engine_crashes_at_start,
    "frozen engine, SIGTERM": lives.frozen_engine_at_the_end,
    "HTTP process killed": lives.http_killed,
    "main process killed": lives.main_killed,
    "terminal closed": lives.terminal_closed,
    "SIGTERM with streams": lives.told_to_end,
    "another profile": lives.profile_changed,
    "two starts, one port": lives.two_on_one_port,
    "log closed": lives.log_closed,
    "log not read": lives.log_not_read,
    "145 readers read nothing": clients.readers_that_never_read,
    "reader at the pace of speech": clients.reader_at_the_pace_of_speech,
    "1,050 bodies of one byte": clients.bodies_of_one_byte,
    "600 heads without an end": clients.heads_that_never_end,
    "200 half-closed sockets": clients.half_closed,
    "few open files": clients.few_files,
    "64 open files, engine killed": clients.engine_killed_without_files,
    "TLS handshakes held": connections.tls_handshakes_held,
    "connections kept open": connections.connections_kept_open,
    "HTTP/2 floods": connections.http2_floods,
    "10,000 requests in a row": connections.requests_in_a_row,
    "WebSocket floods": connections.websocket_floods,
    "WebSocket crowd": connections.websocket_crowd,
    "disk full": disks.disk_full,
    "disk full, voice added": disks.voice_on_full_disk,
    "voice deleted while used": disks.voice_deleted_while_used,
    "no name, no home": disks.home_read_only,
    "no home at all": disks.no_home,
    "no temporary folder": disks.temporary_read_only,
    "temporary folder's name is long": disks.long_temporary_folder,
    "standard files closed": disks.standard_files_closed,
    "working folder deleted": disks.working_folder_deleted,
    "no locale": disks.no_locale,
    "clock jumps": disks.clock_jumps,
    "texts hard to read": hostile.texts_hard_to_read,
    "kernels tampered with": hostile.kernels_tampered,
    "modules of the folder": hostile.modules_of_the_folder,
    "pages of others": hostile.pages_of_others,
}

LOG_CHARS = 2000
"""Of the end of a server's log, shown where it did not survive."""

QUICK = ("log closed", "few open files", "disk full", "no name, no home", "clock jumps", "pages of others")
"""What no test of tests/e2e does, a few seconds each."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "only", nargs="*", metavar="WORD", help="only the faults that have one of these words"
    )
    parser.add_argument("--quick", action="store_true", help="six that take a minute together")


def main(arguments: argparse.Namespace) -> int:
    """Do the faults. Returns 1 if the server did not survive one of them as it should."""
    console = Console(width=160)
    table = Table(title="faults")
    for column in ("fault", "survived", "what came of it", "took"):
        table.add_column(column)
    failed = 0
    for name, fault in FAULTS.items():
        if arguments.quick and name not in QUICK:
            continue
        if arguments.only and not any(word in name for word in arguments.only):
            continue
        begun_s = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tts-faults-") as folder:
            Path(folder).chmod(0o777)  # the unnamed user's too
            try:
                said, survived = fault(Path(folder)), "yes"
            except (FaultError, httpx.HTTPError, OSError) as error:
                said, survived = f"{type(error).__name__}: {error}", "NO"
                failed += 1
                for log in sorted(Path(folder).glob("server-*.log")):
                    console.print(
                        log.read_text(encoding="utf-8", errors="replace")[-LOG_CHARS:], markup=False
                    )
        console.print(f"{name}: {survived}: {said}")
        table.add_row(name, survived, said, f"{time.monotonic() - begun_s:.0f} s")
    console.print(table)
    return 1 if failed else 0
