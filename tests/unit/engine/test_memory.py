"""How much memory the server believes that it may still take."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.engine.life.memory import free_bytes

MEMINFO = "MemTotal: 9000000 kB\nMemAvailable: 4000 kB\n"


def left(folder: Path, own: str, files: dict[str, str], meminfo: str = MEMINFO) -> int | None:
    for name, content in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n", encoding="utf-8")
    for name, content in (("own", own), ("meminfo", meminfo)):
        (folder / name).write_text(content, encoding="utf-8")
    return free_bytes(folder / "meminfo", folder / "groups", folder / "own")


STAT = "anon 500\nfile 400\ninactive_file 300"


@pytest.mark.parametrize(
    ("own", "files", "free"),
    [
        ("0::/\n", {}, 4000 * 1024),
        ("0::/\n", {"memory.max": "max", "memory.current": "1000", "memory.stat": STAT}, 4000 * 1024),
        ("0::/\n", {"memory.max": "5000", "memory.current": "1000", "memory.stat": STAT}, 4300),
        # In a container: the host's path, which is not there, and the container's own limit at the root.
        ("0::/pods/x\n", {"memory.max": "5000", "memory.current": "1000", "memory.stat": STAT}, 4300),
        ("0::/a/b\n", {
            "a/memory.max": "2000", "a/memory.current": "1000", "a/memory.stat": STAT,
            "a/b/memory.max": "max", "a/b/memory.current": "900", "a/b/memory.stat": STAT,
        }, 1300),
        ("0::/\n", {"memory.max": "500", "memory.current": "1000", "memory.stat": STAT}, 0),
        ("9:memory:/d\n3:cpu:/c\n0::/\n", {
            "memory/d/memory.limit_in_bytes": "7000", "memory/d/memory.usage_in_bytes": "1000",
            "memory/d/memory.stat": "total_inactive_file 50",
        }, 6050),
        # What version 1 says where there is no limit is more than any machine has.
        ("9:memory:/\n", {
            "memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "1000",
            "memory/memory.stat": "",
        }, 4000 * 1024),
    ],
)  # fmt: skip
def test_the_tightest_of_machine_and_groups_counts(
    tmp_path: Path, own: str, files: dict[str, str], free: int
) -> None:
    assert left(tmp_path, own, files) == free


def test_where_nothing_says_nothing_is_known(tmp_path: Path) -> None:
    assert left(tmp_path, "0::/\n", {}, meminfo="") is None
    assert free_bytes(tmp_path / "no", tmp_path / "such", tmp_path / "files") is None
