"""The threads that read texts: turns, texts that are slow on purpose, whoever leaves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from serving.engine import admission
from serving.engine.admission import FirstSounds
from serving.engine.transport import FIRST_THREADS, MOST_THREADS, Frontends
from serving.engine.utterance import Utterance
from serving.protocol import InputError, Segment, SpeechParams


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


def some_work(count: int) -> Iterator[int]:
    for number in range(count):
        until_s = time.thread_time() + 0.001
        while time.thread_time() < until_s:
            pass
        yield number


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gives way does so for long."""
    monkeypatch.setattr(admission, "GIVEN_WAY", 1e6)
    monkeypatch.setattr(admission, "MOST_GIVEN_S", 60.0)


@pytest.mark.usefixtures("patient")
async def test_what_is_read_for_later_gives_way_to_who_waits_for_a_sound() -> None:
    first_sounds = FirstSounds()
    params = SpeechParams(voice="a", seed=1)
    assert first_sounds(params, False, 1.0) is None, "nobody listens"
    one, other = first_sounds(params, True, 1.0), first_sounds(params, True, 1.0)
    assert one is not None
    assert other is not None
    seen: list[int] = []
    reading = asyncio.create_task(asyncio.to_thread(lambda: seen.extend(first_sounds.paced(some_work(3)))))
    one.made(np.zeros(1, np.float32))
    one.made(np.zeros(1, np.float32))
    one.ended(Utterance("one"))
    await asyncio.sleep(0.1)
    assert not reading.done(), "it rests after its first work"
    other.ended(Utterance("other"))
    async with asyncio.timeout(20):
        await reading
    assert seen == [0, 1, 2]


@pytest.mark.usefixtures("patient")
async def test_the_rest_of_a_text_gives_way_too() -> None:
    frontends = Frontends()
    waits = frontends.first_sounds(SpeechParams(voice="a", seed=1), True, 1.0)
    assert waits is not None
    text = map(segment, some_work(12))
    try:
        async with asyncio.timeout(20):
            assert (await frontends.rest(text))[0], "what came first owes nothing"
            more = frontends.rest(text)
            await asyncio.sleep(0.1)
            assert not more.done()
            head, _ = frontends.first(quick(), 1.0)
            assert len(await head) == 1, "a first segment waits for nobody"
            waits.made(np.zeros(1, np.float32))
            assert (await more)[0]
    finally:
        frontends.close()
