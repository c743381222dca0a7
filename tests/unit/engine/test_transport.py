"""What goes between the engine and its client, and texts that a frontend reads for both."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq

from serving.engine.transport import ClientPair, EnginePair, Frontends, Pulled
from serving.protocol import Broken, Chunk, FromEngine, GetStats, Segment, Warming
from tests.unit.engine.engine_support import eventually

LIMIT_S = 20.0


def segment(index: int) -> Segment:
    return Segment(index=index, tokens=[65])


async def read_in_thread(segments: Iterator[Segment]) -> tuple[list[Segment], asyncio.Future[Pulled]]:
    frontends = Frontends()
    try:
        head, rest = frontends.first(segments, 1.0)
        async with asyncio.timeout(LIMIT_S):
            first = await head
            await asyncio.wait([rest])
    finally:
        frontends.close()
    return first, rest


@pytest.mark.parametrize(
    ("count", "expected"), [(1, ([], True)), (2, ([1], False)), (3, ([1], False))], ids=str
)
async def test_the_end_of_a_text_of_one_sentence_is_known_with_it(
    count: int, expected: tuple[list[int], bool]
) -> None:
    first, rest = await read_in_thread(iter([segment(index) for index in range(count)]))
    assert [known.index for known in first] == [0]
    more, last = rest.result()
    assert ([known.index for known in more], last) == expected


async def test_a_frontend_that_fails_after_its_first_segment_has_given_it() -> None:
    def breaks() -> Iterator[Segment]:
        yield segment(0)
        raise RuntimeError("no such phoneme")

    first, rest = await read_in_thread(breaks())
    assert [known.index for known in first] == [0]
    assert isinstance(rest.exception(), RuntimeError)


async def test_a_frontend_that_fails_at_once_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="no such phoneme"):
        await read_in_thread(segment(int(symbol)) for symbol in ("no such phoneme",))


async def test_samples_of_any_float_arrive_as_float32_and_a_wait_ends_with_a_message() -> None:
    received: list[tuple[FromEngine, list[float] | None]] = []
    with zmq.Context() as context, tempfile.TemporaryDirectory() as folder:
        client = ClientPair(
            context,
            f"ipc://{folder}/socket",
            lambda message, samples: received.append(
                (message, None if samples is None else samples.tolist())
            ),
        )
        engine = EnginePair(context, f"ipc://{folder}/socket")
        try:
            engine.send(Warming(what="load", done=0, total=1, elapsed_s=0.0))
            every_second: Any = np.arange(6, dtype=np.float64)[::2]
            engine.send_chunk("two", every_second)
            engine.send_chunk("three", np.arange(2, dtype=np.float32))

            async def all_came() -> bool:
                return [samples for _, samples in received] == [None, [0.0, 2.0, 4.0], [0.0, 1.0]]

            await eventually(all_came)
            assert client.send(GetStats())
            await asyncio.to_thread(engine.wait, LIMIT_S)
            assert engine.receive() == [GetStats()]
            assert engine.receive() == []
        finally:
            engine.close()
            client.close()


@pytest.mark.parametrize("rubbish", [[b""], [b"\xff\x00rubbish"], [b"\x93\x01\x02\x03"], None], ids=repr)
async def test_what_is_no_message_counts_as_a_broken_engine_and_holds_up_none(
    rubbish: list[bytes] | None,
) -> None:
    received: list[FromEngine] = []
    with zmq.Context() as context, tempfile.TemporaryDirectory() as folder:
        client = ClientPair(context, f"ipc://{folder}/socket", lambda message, _: received.append(message))
        engine = context.socket(zmq.PAIR)
        engine.connect(f"ipc://{folder}/socket")
        try:
            header = msgspec.msgpack.encode(Chunk(request_id="one", samples=1))
            engine.send_multipart([header, b"xyz"] if rubbish is None else rubbish)
            engine.send(msgspec.msgpack.encode(Warming(what="load", done=0, total=1, elapsed_s=0.0)))

            async def both_came() -> bool:
                return len(received) == 2

            await eventually(both_came)
            assert isinstance(received[0], Broken)
            assert isinstance(received[1], Warming)
        finally:
            engine.close(0)
            client.close()
