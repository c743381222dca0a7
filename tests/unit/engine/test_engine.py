"""The engine in a thread of this process with the tone model: what a caller of EngineClient can rely on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from serving.engine.client import EngineClient, EngineState, EngineUnavailable
from serving.models import load_frontend
from serving.profile import AdmissionProfile, ModelProfile, Profile, ProfileError
from serving.protocol import InputError, NotReady, Overloaded, Segment, SpeechFailed
from tests.unit.engine.engine_support import (
    PARAMS,
    SHORT,
    SLOW,
    eventually,
    expected,
    hear_first,
    listen,
    make_client,
    make_profile,
    segments,
    submit,
)

both_ways = pytest.mark.parametrize("workers", [1, 3], ids=["one by one", "side by side"])


def thread_profile(
    options: dict[str, Any], admission: AdmissionProfile | None = None, **engine: Any
) -> Profile:
    return make_profile(options, admission, process=False, **engine)


@contextlib.asynccontextmanager
async def running(profile: Profile) -> AsyncIterator[EngineClient]:
    """A ready client; at the end, nothing may be left of any request."""
    client = make_client(profile)
    await client.start()
    try:
        await client.wait_ready(30)
        yield client

        async def no_slot_used() -> bool:
            return (await client.stats()).slots_used == 0

        await eventually(no_slot_used)
    finally:
        await client.stop()
    assert client._admission.requests == 0
    assert client._admission.audio_s == pytest.approx(0.0)
    assert not client._utterances
    assert not client._extending


@both_ways
async def test_streamed_and_offline_samples_are_right_and_in_order(workers: int) -> None:
    text = "One. Two, a longer one! Three? " * 4
    async with running(thread_profile(SHORT, workers=workers)) as client:
        for streaming in (True, False):
            utterance = await submit(client, text, streaming=streaming)
            samples = await listen(client, utterance)
            np.testing.assert_allclose(samples, expected(text, SHORT), atol=1e-4)
            assert utterance.stats is not None
            assert utterance.stats.audio_s == pytest.approx(len(samples) / 24000)
            assert utterance.stats.steps["embed"] == 12
        client.abort(utterance)


async def test_requests_share_steps() -> None:
    async with running(thread_profile(SHORT | {"step_s": 0.005})) as client:
        texts = [f"Number {number} of them." for number in range(8)]
        utterances = [await submit(client, text, streaming=False) for text in texts]
        spoken = await asyncio.gather(*(listen(client, utterance) for utterance in utterances))
        for text, samples in zip(texts, spoken, strict=True):
            np.testing.assert_allclose(samples, expected(text, SHORT), atol=1e-4)
        stats = await client.stats()
        assert stats.rows["render"] == 8
        assert stats.steps["render"] < 8
        assert stats.requests["finished"] == 8


@both_ways
async def test_abort_in_mid_stream_leaves_the_neighbours_alone(workers: int) -> None:
    async with running(thread_profile(SLOW, workers=workers)) as client:
        alone = await listen(client, await submit(client, "a neighbour"))
        gone, stays = await submit(client, "x" * 100), await submit(client, "a neighbour")
        await hear_first(client, gone)
        client.abort(gone)
        client.abort(gone)
        np.testing.assert_array_equal(await listen(client, stays), alone)
        stats = await client.stats()
        assert stats.requests["aborted"] == 1
        with pytest.raises(SpeechFailed, match="given up") as failure:
            await listen(client, gone)
        assert failure.value.code == "aborted"


async def test_abort_wakes_a_reader_that_waits() -> None:
    async with running(thread_profile(SHORT | {"step_s": 0.5})) as client:
        utterance = await submit(client, "waits")
        reader = asyncio.create_task(listen(client, utterance))
        await asyncio.sleep(0.02)
        client.abort(utterance)
        with pytest.raises(SpeechFailed):
            await asyncio.wait_for(reader, 0.3)


async def test_a_cancelled_reader_frees_the_slot() -> None:
    async with running(thread_profile(SLOW)) as client:
        reader = asyncio.create_task(listen(client, await submit(client, "x" * 200)))
        await asyncio.sleep(0.1)
        reader.cancel()

        async def aborted() -> bool:
            return (await client.stats()).requests["aborted"] == 1

        await eventually(aborted)


@both_ways
async def test_a_step_that_raises_harms_its_own_requests_only(workers: int) -> None:
    # The tokens of "q" fail; lengths differ by more than SPREAD, so the other request is in other steps.
    async with running(thread_profile(SHORT | {"fail_token": ord("q")}, workers=workers)) as client:
        bad, good = await submit(client, "q"), await submit(client, "a far longer one without it")
        with pytest.raises(SpeechFailed, match="asked to fail") as failure:
            await listen(client, bad)
        assert failure.value.code == "internal"
        text = "a far longer one without it"
        np.testing.assert_allclose(await listen(client, good), expected(text, SHORT), atol=1e-4)
        assert len(await listen(client, await submit(client, "and on it goes"))) > 0
        assert (await client.stats()).requests["failed"] == 1


async def test_a_segment_that_the_model_refuses() -> None:
    async with running(thread_profile(SHORT)) as client:
        utterance = await client.submit(
            PARAMS, iter([Segment(index=0, tokens=[])]), streaming=False, audio_s=1.0
        )
        with pytest.raises(SpeechFailed, match="text: segment 0 has 0 tokens"):
            await listen(client, utterance)


async def test_a_request_expires_with_the_samples_it_has() -> None:
    async with running(thread_profile(SLOW, request_timeout_s=0.2)) as client:
        utterance = await submit(client, "x" * 200)
        heard = []

        async def hear() -> None:
            async for samples in client.chunks(utterance):
                heard.append(samples)

        with pytest.raises(SpeechFailed, match=r"within 0\.2 s") as failure:
            await hear()
        assert failure.value.code == "expired"
        assert 0 < len(heard) < 200


async def test_overload_is_refused_at_once() -> None:
    async with running(thread_profile(SLOW, AdmissionProfile(max_requests=2))) as client:
        utterances = [await submit(client, "x" * 20) for _ in range(2)]
        with pytest.raises(Overloaded, match="the limit is 2") as refusal:
            await submit(client, "one too many")
        assert refusal.value.retry_after_s >= 1
        assert not isinstance(refusal.value, NotReady)
        for utterance in utterances:
            await listen(client, utterance)
        await listen(client, await submit(client, "there is room"))


async def test_a_frontend_that_refuses_or_breaks() -> None:
    def breaks_midway() -> Iterator[Segment]:
        yield Segment(index=0, tokens=[65] * 10)
        raise RuntimeError("no such phoneme")

    async with running(thread_profile(SLOW)) as client:
        with pytest.raises(InputError) as refusal:
            await submit(client, "...")
        assert refusal.value.field == "text"
        with pytest.raises(InputError):
            await client.submit(PARAMS, iter([]), streaming=True, audio_s=1.0)
        utterance = await client.submit(PARAMS, breaks_midway(), streaming=True, audio_s=1.0)
        with pytest.raises(SpeechFailed, match="no such phoneme") as failure:
            await listen(client, utterance)
        assert failure.value.code == "internal"


async def test_the_first_sentence_does_not_wait_for_the_last() -> None:
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow_frontend() -> Iterator[Segment]:
        yield Segment(index=0, tokens=[65])
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(5)
        yield Segment(index=1, tokens=[66])

    async with running(thread_profile(SHORT)) as client:
        utterance = await client.submit(PARAMS, slow_frontend(), streaming=True, audio_s=1.0)
        chunks = client.chunks(utterance)
        assert len(await anext(chunks)) == 24
        gate.set()
        assert len(await anext(chunks)) == 24
        assert await anext(chunks, None) is None


async def test_not_ready_before_and_after() -> None:
    profile = thread_profile(SHORT)
    client = make_client(profile)
    with pytest.raises(NotReady, match="stopped"):
        await submit(client, "too early")
    await client.start()
    with pytest.raises(NotReady, match="starting"):
        await submit(client, "too early")
    with pytest.raises(RuntimeError, match="before"):
        await client.start()
    await client.wait_ready(30)
    utterance = await submit(client, "under way " * 9)
    await client.stop()
    await client.stop()
    assert client.state is EngineState.STOPPED
    with pytest.raises(SpeechFailed, match="stopped"):
        await listen(client, utterance)
    with pytest.raises(NotReady):
        await client.stats()


async def test_stop_while_loading() -> None:
    profile = thread_profile(SHORT | {"load_s": 0.3})
    client = make_client(profile)
    await client.start()
    waiting = asyncio.create_task(client.wait_ready(30))
    await asyncio.sleep(0.05)
    await client.stop()
    with pytest.raises(EngineUnavailable, match="stopped"):
        await waiting


@pytest.mark.parametrize(
    ("engine", "options", "words"),
    [
        ({"cuda_graphs": True}, {}, "engine.cuda_graphs"),
        ({"device": "cuda:77"}, {}, "engine.device"),
        ({}, {"samples_per_token": 0}, "model.options"),
    ],
)
async def test_what_cannot_start_says_why(
    engine: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    client = make_client(thread_profile(options, **engine))
    await client.start()
    with pytest.raises(EngineUnavailable, match=words):
        await client.wait_ready(30)
    assert client.state is EngineState.FAILED
    with pytest.raises(NotReady, match=words) as refusal:
        await submit(client, "no")
    assert refusal.value.retry_after_s == 60
    await client.stop()


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ProfileError, match=r"model\.name: no model 'nobody'; there are .*tone"):
        load_frontend(Profile(name="test", model=ModelProfile(name="nobody")))
    with pytest.raises(ProfileError, match="create_frontend"):
        load_frontend(Profile(name="test", model=ModelProfile(name="json.decoder")))
    dotted = Profile(name="test", model=ModelProfile(name="serving.models.tone"))
    assert load_frontend(dotted).spec.name == "tone"


async def test_the_rest_of_long_texts_delays_no_first_segment() -> None:
    held = threading.Event()

    def slow(text: str) -> Iterator[Segment]:
        yield from segments(text)
        held.wait(20)

    async with running(thread_profile(SHORT)) as client:
        slow_ones = [
            await client.submit(PARAMS, slow("Wait."), streaming=True, audio_s=20.0) for _ in range(4)
        ]
        try:
            async with asyncio.timeout(10):
                utterance = await submit(client, "Hello.")
                await hear_first(client, utterance)
        finally:
            held.set()
        for one in slow_ones:
            client.abort(one)
