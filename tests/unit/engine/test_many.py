"""Many texts of one caller: a share of admission, backpressure, failures of one, one deadline for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from serving.engine.client import EngineClient, Utterance
from serving.engine.many import SHARE, Job, Many
from serving.profile import AdmissionProfile, Profile
from serving.protocol import InputError, Overloaded, Segment, SpeechFailed
from tests.unit.engine.engine_support import (
    PARAMS,
    SHORT,
    SLOW,
    eventually,
    expected,
    listen,
    make_profile,
    segments,
    submit,
)
from tests.unit.engine.test_engine import running

LONG = SHORT | {"samples_per_token": 240}
"""10 ms a character."""


def profile_of(options: dict[str, Any], admission: AdmissionProfile | None = None, **engine: Any) -> Profile:
    return make_profile(options, admission, process=False, **engine)


def jobs(texts: Iterable[str], audio_s: float = 1.0) -> Iterator[Job]:
    for key, text in enumerate(texts):
        yield Job(key, PARAMS, segments(text), audio_s)


async def results(client: EngineClient, many: Many) -> AsyncIterator[tuple[int, Any]]:
    """Each key with its samples or its failure."""
    async for key, spoken in many:
        try:
            yield key, await listen(client, spoken) if isinstance(spoken, Utterance) else spoken
        except SpeechFailed as error:
            yield key, error


async def test_every_text_is_spoken_once() -> None:
    profile = profile_of(SHORT, max_slots=4)
    texts = [f"Text number {number}." for number in range(30)]
    async with running(profile) as client:
        many = Many(client, jobs(texts), profile)
        await many.begin()
        spoken = {key: samples async for key, samples in results(client, many)}
    assert set(spoken) == set(range(30))
    for key, text in enumerate(texts):
        np.testing.assert_allclose(spoken[key], expected(text, SHORT), atol=1e-6)


async def test_a_caller_that_does_not_read_holds_back_its_own_texts_alone() -> None:
    admission = AdmissionProfile(max_requests=64, max_audio_s=10.0)
    profile = profile_of(LONG, admission)
    text = "x" * 100
    async with running(profile) as client:
        many = Many(client, jobs([text] * 32), profile)
        await many.begin()

        async def four_are_made() -> bool:
            return (await client.stats()).requests.get("finished", 0) >= 4

        await eventually(four_are_made)
        await asyncio.sleep(0.3)
        finished = (await client.stats()).requests["finished"]
        assert finished < 10, "32 texts make 32 s, and 5 s may lie unread"
        assert client._admission.audio_s <= admission.max_audio_s * SHARE
        other = await submit(client, "Others are let in.", audio_s=4.0)
        assert len(await listen(client, other)) > 0
        assert len([key async for key, _ in results(client, many)]) == 32


async def test_at_most_half_of_the_requests() -> None:
    profile = profile_of(SLOW, AdmissionProfile(max_requests=4))
    async with running(profile) as client:
        many = Many(client, jobs(["Some text."] * 6), profile)
        await many.begin()
        most = 0
        async for _ in results(client, many):
            most = max(most, client._admission.requests)
        assert most <= 2


async def test_one_deadline_for_all() -> None:
    profile = profile_of(SLOW | {"step_s": 0.05}, max_slots=2)
    async with running(profile) as client:
        many = Many(client, jobs(["Hi.", *["A text that takes long. " * 5] * 5]), profile, timeout_s=0.6)
        await many.begin()
        told = {key: result async for key, result in results(client, many)}
    assert isinstance(told.pop(0), np.ndarray)
    assert {error.code for error in told.values()} == {"expired"}
    assert len(told) == 5


async def test_what_was_made_and_not_read_by_the_deadline_is_let_go_and_never_given_out_cut() -> None:
    profile = profile_of(LONG)
    async with running(profile) as client:
        many = Many(client, jobs(["x" * 100] * 3), profile, timeout_s=0.5)
        await many.begin()

        async def all_let_go() -> bool:
            return client._admission.audio_s == pytest.approx(0.0)

        await asyncio.sleep(0.2)
        await eventually(all_let_go)
        told = [result async for _, result in results(client, many)]
    assert [type(error) for error in told] == [SpeechFailed] * 3


async def test_a_text_that_cannot_be_spoken_fails_alone() -> None:
    def broken() -> Iterator[Segment]:
        yield from ()
        raise RuntimeError("a frontend's mistake")

    # One slot, for texts that share a step share its failure.
    profile = profile_of(SHORT | {"fail_token": ord("z")}, max_slots=1)
    async with running(profile) as client:
        todo = [
            Job(0, PARAMS, iter(()), 1.0),
            Job(1, PARAMS, broken(), 1.0),
            Job(2, PARAMS, segments("buzz"), 1.0),
            Job(3, PARAMS, segments("fine"), 1.0),
        ]
        many = Many(client, todo, profile)
        await many.begin()
        told = {key: result async for key, result in results(client, many)}
    assert isinstance(told[0], InputError)
    assert [told[1].code, told[2].code] == ["internal", "internal"]
    np.testing.assert_allclose(told[3], expected("fine", SHORT), atol=1e-6)


async def test_texts_wait_for_room_that_others_hold_and_the_first_is_refused_at_once() -> None:
    profile = profile_of(SLOW, AdmissionProfile(max_requests=1))
    async with running(profile) as client:
        other = await submit(client, "Another caller.")
        many = Many(client, jobs(["One.", "Two."]), profile)
        with pytest.raises(Overloaded):
            await many.begin()
        await listen(client, other)
        many = Many(client, jobs(["One.", "Two."]), profile)
        await many.begin()
        told = dict([pair async for pair in results(client, many)])
    assert all(isinstance(result, np.ndarray) for result in told.values())
    assert len(told) == 2


async def test_giving_up_leaves_nothing() -> None:
    profile = profile_of(SLOW)
    async with running(profile) as client:
        many = Many(client, jobs(["A text that takes long. " * 5] * 20), profile)
        await many.begin()
        await asyncio.sleep(0.1)
        many.abort()
        many.abort()

        async def nothing_runs() -> (
            bool
        ):  # what was being submitted is cancelled in the next turn of the event loop
            return client._admission.requests == 0

        await eventually(nothing_runs)


async def test_the_deadline_holds_for_a_text_that_is_being_read() -> None:
    profile = profile_of(SHORT)

    def slowly() -> Iterator[Segment]:
        time.sleep(0.6)
        yield from segments("Read too late.")

    async with running(profile) as client:
        many = Many(client, [Job(0, PARAMS, slowly(), 1.0), *jobs(["Too late."])], profile, timeout_s=0.2)
        await many.begin()
        told = [result async for _, result in results(client, many)]
        assert client._admission.requests == 0
    assert [error.code for error in told] == ["expired", "expired"]
