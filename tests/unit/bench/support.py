"""What the tests of the bench share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.heard import Heard
from bench.servers.start import ArmSpec

FAKE_SERVER = str(Path(__file__).with_name("fake_server.py"))
FAKE = ArmSpec("known bytes at known times", (FAKE_SERVER, "--port", "{port}"))


def heard(audible_at_s: float | None = 0.0, **more: Any) -> Heard:
    """The figures of a wave of honest speech, changed as the test wants."""
    usual: dict[str, Any] = {
        "seconds": 4.0, "tail_s": 0.3, "longest_gap_s": 0.0, "pauses": 0, "pauses_s": 0.0, "voiced_s": 3.0,
        "level_dbfs": -25.0, "peak": 0.4, "clipped_share": 0.0, "offset": 0.0, "distinct": 4096, "silent_channels": 0,
    }  # fmt: skip
    return Heard(audible_at_s=audible_at_s, **(usual | more))
