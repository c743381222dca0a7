"""The threads that read texts: turns, texts that are slow on purpose, whoever leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from serving.engine.transport import FIRST_THREADS, MOST_THREADS, Frontends
from serving.protocol import InputError, Segment


def segment(index: int) -> Segment:
    return Segment(index=index, tokens=[1], text="a", lead_s=0.0, start=0, end=1, words=[])


def quick(count: int = 1) -> Iterator[Segment]:
    return map(segment, range(count))


class Held:
    """Texts whose first segment comes when they are let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()

    def text(self) -> Iterator[Segment]:
        self.begun += 1
        self.go.wait(30)
        yield segment(0)


async def test_a_quick_text_passes_those_that_are_slow_on_purpose() -> None:
    frontends, held = Frontends(), Held()
    slow = [frontends.first(held.text(), 1.0)[0] for _ in range(FIRST_THREADS + 1)]
    try:
        async with asyncio.timeout(20):
            head, rest = frontends.first(quick(), 1.0)
            assert [one.index for one in await head] == [0]
            assert await rest == ([], True)
        assert held.begun == FIRST_THREADS + 1
        assert not any(head.done() for head in slow)
    finally:
        held.go.set()
        await asyncio.gather(*slow)
        frontends.close()


async def test_no_more_threads_than_the_most_read_at_once() -> None:
    frontends, held = Frontends(), Held()
    slow = [frontends.first(held.text(), 1.0)[0] for _ in range(MOST_THREADS + 3)]
    try:
        async with asyncio.timeout(20):
            while held.begun < MOST_THREADS:  # noqa: ASYNC110 - threads begin it
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert held.begun == MOST_THREADS
        slow[-1].cancel()
        held.go.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*slow[:-1])
        assert held.begun == MOST_THREADS + 2, "a text that nobody waits for is not read"
    finally:
        held.go.set()
        frontends.close()


async def test_what_goes_wrong_is_told_where_it_was_asked_for() -> None:
    def broken(good: int) -> Iterator[Segment]:
        yield from quick(good)
        raise InputError("text", "is odd")

    frontends = Frontends()
    try:
        head, rest = frontends.first(broken(0), 1.0)
        with pytest.raises(InputError):
            await head
        assert await rest == ([], True)
        head, rest = frontends.first(broken(1), 1.0)
        assert len(await head) == 1
        with pytest.raises(InputError):
            await rest
        head, rest = frontends.first(quick(3), 100.0)
        assert len(await head) == 1
        assert await rest == ([], False), "a long text is not looked at twice in its turn"
    finally:
        frontends.close()
