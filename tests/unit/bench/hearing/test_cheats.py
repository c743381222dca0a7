"""Servers of the table of cheats are named by the checks, and honest ones are let pass.

Through the real generator, its HTTP client and the checks of `bench run`; the speech is the embedded voice's. Every
fourth cheat, the four plain kinds of honest server and one that hisses first are tried here, for they take seconds;
`nox -s bench_cheats` tries them all.
"""

from __future__ import annotations

import pytest

from bench.cheats.command import reasons, right
from bench.cheats.rows import Row
from bench.cheats.server import Voice
from bench.cheats.table import CHARGED, CHEATS, HONEST

pytestmark = pytest.mark.slow

KINDS = ("plain", "slow", "8 bit", "float", "hiss at once")


@pytest.fixture(scope="module")
def voice() -> Voice:
    return Voice()


@pytest.mark.parametrize("row", CHEATS[::4], ids=lambda row: row.name)
def test_a_cheat_is_invalid_and_named(row: Row, voice: Voice) -> None:
    found = reasons(row, voice, seed=1)
    assert right(row, found), found


@pytest.mark.parametrize(
    "row", [row for row in CHARGED + HONEST if row.name in KINDS], ids=lambda row: row.name
)
def test_an_honest_server_is_not_accused(row: Row, voice: Voice) -> None:
    found = reasons(row, voice, seed=2)
    assert right(row, found), found
