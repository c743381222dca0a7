"""IndexTTS2 in the engine: slots come back, neighbours notice nothing, memory stays flat."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from serving.engine.client import EngineClient, Utterance
from serving.models import load_frontend
from serving.models.base import Frontend
from serving.models.indextts2.voice.conditioning import Recording, ReferenceEncoder, VoiceConditioning
from serving.profile import EngineProfile
from tests.unit.engine.engine_support import eventually, listen
from tests.unit.indextts2.support import CODES, make_profile, params, relative_error, sentences_of

pytestmark = pytest.mark.slow

ENGINE = EngineProfile(
    device="cpu", process=False, threads=1, workers=2, max_slots=4, max_step_units=8192, request_timeout_s=60
)


@contextlib.asynccontextmanager
async def running(**options: Any) -> AsyncIterator[tuple[EngineClient, Frontend]]:
    profile = make_profile(ENGINE, **options)
    frontend = load_frontend(profile)
    client = EngineClient(profile, frontend.spec)
    await client.start()
    try:
        await client.wait_ready(60)
        yield client, frontend
    finally:
        await client.stop()


async def submit(
    client: EngineClient, frontend: Frontend, text: str, *, streaming: bool = True, **fields: Any
) -> Utterance:
    wanted = params(**fields)
    return await client.submit(
        wanted, frontend.segments(sentences_of(text), wanted), streaming=streaming, audio_s=1.0
    )


async def test_an_abort_in_mid_decode_frees_the_slot_and_no_neighbour_notices() -> None:
    async with running(max_codes=200, min_codes=CODES) as (client, frontend):
        alone = await listen(client, await submit(client, frontend, "The neighbour.", seed=1))

        async def steps() -> int:
            return (await client.stats()).steps["decode"]

        async def no_slot_used() -> bool:
            return (await client.stats()).slots_used == 0

        before = await steps()
        leaving = [await submit(client, frontend, "Goes.", seed=n, streaming=False) for n in range(2)]
        neighbour = asyncio.ensure_future(
            listen(client, await submit(client, frontend, "The neighbour.", seed=1))
        )

        async def decoding() -> bool:
            return await steps() > before + 3

        await eventually(decoding)
        for utterance in leaving:
            assert not utterance.ended
            client.abort(utterance)
        assert relative_error(await neighbour, alone) <= 1e-5
        await eventually(no_slot_used)
        stats = await client.stats()
        assert stats.requests == {"finished": 2, "aborted": 2, "failed": 0, "expired": 0}


async def test_a_voice_is_conditioned_once_for_all_that_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Recording] = []
    encode = ReferenceEncoder.encode

    def counted(self: ReferenceEncoder, recording: Recording) -> VoiceConditioning:
        encoded.append(recording)
        return encode(self, recording)

    monkeypatch.setattr(ReferenceEncoder, "encode", counted)
    async with running(max_codes=4, min_codes=4) as (client, frontend):
        utterances = [await submit(client, frontend, "Hello.", seed=n) for n in range(3)]
        await asyncio.gather(*(listen(client, utterance) for utterance in utterances))
        assert 1 <= len(encoded) <= 2, "two workers may both begin before either is done"
        first = len(encoded)
        await listen(client, await submit(client, frontend, "Hello."))
        assert len(encoded) == first


@pytest.mark.slow
async def test_sixty_requests_leave_no_memory_behind() -> None:
    """Finished, aborted early and aborted late, streamed or not."""

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    async def some(client: EngineClient, frontend: Frontend, first: int, count: int) -> None:
        for number in range(first, first + count, 4):
            utterances = [
                await submit(client, frontend, "Hello there.", seed=n, streaming=n % 2 == 0)
                for n in range(number, number + 4)
            ]
            client.abort(utterances[1])
            waves = await asyncio.gather(
                *(listen(client, utterance) for utterance in (utterances[0], *utterances[2:]))
            )
            assert all(np.isfinite(wave).all() for wave in waves)

        async def no_slot_used() -> bool:
            return (await client.stats()).slots_used == 0

        await eventually(no_slot_used)
        # The next message lets the engine close the states of the last step.
        await client.stats()

    process = psutil.Process(os.getpid())
    async with running(max_codes=7, min_codes=7) as (client, frontend):
        await some(client, frontend, 0, 20)
        count, resident = tensors(), process.memory_info().rss
        await some(client, frontend, 20, 40)
        assert tensors() <= count + 2, "a state of the last step may still be there"
        assert process.memory_info().rss - resident < 16e6
