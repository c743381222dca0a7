"""What the tests of the bench share."""

from __future__ import annotations

from pathlib import Path

from bench.servers.start import ArmSpec

FAKE_SERVER = str(Path(__file__).with_name("fake_server.py"))
FAKE = ArmSpec("known bytes at known times", (FAKE_SERVER, "--port", "{port}"))
