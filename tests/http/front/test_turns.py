"""Turns of the event loop: one piece of work in each, addresses in turn."""

from __future__ import annotations

import asyncio

import pytest

from serving.http.front import turns as front_turns
from serving.http.front.turns import Turns


class Loop:
    """Counts the turns of the event loop."""

    def __init__(self) -> None:
        self.turn = 0
        self._count()

    def _count(self) -> None:
        self.turn += 1
        asyncio.get_running_loop().call_soon(self._count)


async def test_one_works_in_each_turn_of_the_loop_and_addresses_alternate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(front_turns, "SHORT_S", 0.0)  # every turn is long
    turns, loop = Turns(), Loop()
    done: list[tuple[str, int]] = []

    async def work(address: str, pieces: int) -> None:
        for _ in range(pieces):
            await turns.take(address)
            done.append((address, loop.turn))

    async with asyncio.timeout(20):
        await asyncio.gather(*(work("many", 3) for _ in range(50)), work("one", 3))
    assert len(done) == 153
    at = [turn for _, turn in done]
    assert len(set(at)) == len(at), "two worked in one turn"
    ones = [number for number, (address, _) in enumerate(done) if address == "one"]
    assert ones[-1] < 10, "one address waits for one of the other, not for all of its connections"


async def test_more_work_in_a_turn_while_turns_are_short_but_never_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(front_turns, "SHORT_S", 60.0)
    turns, loop = Turns(), Loop()
    at: list[int] = []

    async def work() -> None:
        await turns.take("a")
        at.append(loop.turn)

    async with asyncio.timeout(20):
        await asyncio.gather(*(work() for _ in range(100)))
    assert max(at.count(turn) for turn in at) == front_turns.MOST


async def test_who_is_gone_is_passed_over_and_a_free_turn_is_taken_at_once() -> None:
    turns, loop = Turns(), Loop()
    await turns.take("a")
    gone, stays = asyncio.create_task(turns.take("a")), asyncio.create_task(turns.take("a"))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(20):
        await stays
    for _ in range(3):
        await asyncio.sleep(0)
    before = loop.turn
    await turns.take("b")
    assert loop.turn == before
