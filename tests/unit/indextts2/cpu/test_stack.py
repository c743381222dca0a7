"""What the C kernels hold on a thread's stack stays below the bound that each source states."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from serving.models import indextts2
from serving.native.build import FLAGS, HEADERS
from serving.native.tiers import TIER_FLAGS, TIERS, Tier

pytestmark = pytest.mark.slow

ROOT = Path(indextts2.__file__).parent
SOURCES = sorted(ROOT.rglob("*.c"))


def stated_bytes(source: Path) -> int:
    """The bound in a source or in a header beside it, *_STACK_BYTES = N * 1024."""
    texts = [path.read_text(encoding="utf-8") for path in (source, *source.parent.glob("*.h"))]
    (bound,) = re.findall(r"_STACK_BYTES = (\d+) \* 1024", "".join(texts))
    return 1024 * int(bound)


def frames(source: Path, tier: Tier, folder: Path) -> dict[str, tuple[int, str]]:
    """Bytes of each function's frame, and their kind, as the compiler reports them."""
    compiler = os.environ.get("CC", "cc")
    flags = [*FLAGS, "-fopenmp", "-fstack-usage", f"-I{HEADERS}", *TIER_FLAGS[tier]]
    command = [compiler, *flags, "-c", str(source), "-o", str(folder / "kernels.o")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    lines = (folder / "kernels.su").read_text(encoding="utf-8").splitlines()
    return {name: (int(size), kind) for name, size, kind in (line.split("\t") for line in lines)}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_stack_is_bounded(source: Path, tier: Tier, tmp_path: Path) -> None:
    used = frames(source, tier, tmp_path)
    assert used
    assert {kind for _, kind in used.values()} <= {"static", "dynamic,bounded"}
    # All functions at once are more than any chain of calls.
    assert sum(size for size, _ in used.values()) <= stated_bytes(source)


def test_every_kernel_is_looked_at() -> None:
    assert [source.stem for source in SOURCES] == ["gpt", "flow", "vocoder"]
