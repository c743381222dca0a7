"""What a model does wrong harms the requests in the step and nobody else; what can be known at load is told at load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from serving.engine.client import EngineUnavailable
from serving.models.base import ModelError
from serving.protocol import Segment, SpeechFailed
from tests.unit.engine.engine_support import PARAMS, SHORT, listen, make_client, make_profile, submit

NEIGHBOUR = "a neighbour that is a good deal longer than the other"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("open_stage", "open sent a segment to the stage 'embd'; there are embed, render"),
        (
            "scatter_stage",
            "stage render: scatter sent a segment to the stage 'rendr'; there are embed, render",
        ),
        ("length", "stage render: scatter left a segment of length 'long'"),
        ("missing_samples", "stage render: scatter gave 0 samples for 1 states"),
        ("extra_samples", "stage render: scatter gave 2 samples for 1 states"),
        ("bad_samples", r"stage render: scatter gave samples that are no float array \[n\]: float32 \[1, "),
        ("nan", "stage render: scatter gave samples that are no finite numbers"),
        ("times", "stage render: scatter left times that are no SegmentTimes of plain numbers"),
    ],
)
async def test_a_mistake_fails_its_own_request_only(mistake: str, words: str, workers: int) -> None:
    client = make_client(make_profile(SHORT | {"mistake": mistake}, process=False, workers=workers))
    await client.start()
    await client.wait_ready(30)
    try:
        bad, good = await submit(client, "q"), await submit(client, NEIGHBOUR)
        with pytest.raises(SpeechFailed, match=words) as failure:
            await listen(client, bad)
        assert failure.value.code == "internal"
        assert len(await listen(client, good)) == 24 * len(NEIGHBOUR)
        assert len(await listen(client, await submit(client, "and on"))) == 24 * 6
        stats = await client.stats()
        assert (stats.requests["failed"], stats.requests["finished"], stats.slots_used) == (1, 2, 0)
    finally:
        await client.stop()


async def test_a_close_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    client = make_client(make_profile(SHORT | {"mistake": "close"}, process=False))
    await client.start()
    await client.wait_ready(30)
    try:
        assert len(await listen(client, await submit(client, "q"))) == 24
        assert len(await listen(client, await submit(client, "on"))) == 48
        assert (await client.stats()).requests["finished"] == 2
    finally:
        await client.stop()
    assert "close failed" in caplog.text


async def test_params_that_cannot_be_pinned_are_taken_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    client = make_client(make_profile(SHORT | {"mistake": "pinned"}, process=False))
    await client.start()
    await client.wait_ready(30)
    try:
        assert len(await listen(client, await submit(client, "on"))) == 48
    finally:
        await client.stop()
    assert "pinned failed" in caplog.text


async def test_a_stage_that_does_not_exist_is_told_at_load() -> None:
    client = make_client(make_profile(SHORT | {"first_stage": "embd"}, process=False))
    await client.start()
    with pytest.raises(EngineUnavailable, match="first_stages has 'embd'; the stages are embed, render"):
        await client.wait_ready(30)
    await client.stop()


@pytest.mark.parametrize("token", [1.5, "a", True])
async def test_tokens_that_the_engine_could_not_read(token: Any) -> None:
    def first() -> Iterator[Segment]:
        yield Segment(index=0, tokens=[token])

    def second() -> Iterator[Segment]:
        yield Segment(index=0, tokens=[65])
        yield Segment(index=1, tokens=[token])

    client = make_client(make_profile(SHORT, process=False))
    await client.start()
    await client.wait_ready(30)
    try:
        with pytest.raises(ModelError, match="segment 0: the frontend's tokens are not all of type int"):
            await client.submit(PARAMS, first(), streaming=True, audio_s=1.0)
        later = await client.submit(PARAMS, second(), streaming=True, audio_s=1.0)
        with pytest.raises(SpeechFailed, match="segment 1: the frontend's tokens"):
            await listen(client, later)
        assert len(await listen(client, await submit(client, "on"))) == 48
    finally:
        await client.stop()
    assert client._admission.requests == 0
