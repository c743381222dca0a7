"""What the tests of the engine share: clients of the tone model, and ways to speak with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.engine.client import EngineClient, EngineState, Utterance
from serving.models import load_frontend
from serving.models.tone.model import expected_samples
from serving.models.tone.options import Fields, Options
from serving.profile import AdmissionProfile, EngineProfile, ModelProfile, Profile
from serving.protocol import Segment, SpeechParams
from serving.text import read

PARAMS = SpeechParams(voice="low", seed=0, fields=Fields())
SHORT: dict[str, Any] = {"samples_per_token": 24}
SLOW = SHORT | {"step_s": 0.02, "window_tokens": 1, "max_window_tokens": 1}
"""20 ms a token: a request that is still under way when the test looks at it."""


def make_profile(
    options: dict[str, Any], admission: AdmissionProfile | None = None, **engine: Any
) -> Profile:
    """The tone model on one thread of the CPU."""
    settings: dict[str, Any] = {"threads": 1, "workers": 1, "device": "cpu"} | engine
    return Profile(
        name="test",
        model=ModelProfile(name="tests.faulty_tone", options=options),
        engine=EngineProfile(**settings),
        admission=admission or AdmissionProfile(),
    )


def make_client(profile: Profile) -> EngineClient:
    return EngineClient(profile, load_frontend(make_profile(SHORT)).spec)


def segments(text: str) -> Iterator[Segment]:
    return load_frontend(make_profile(SHORT)).segments(read(text), PARAMS)


async def submit(
    client: EngineClient, text: str, *, streaming: bool = True, audio_s: float = 1.0
) -> Utterance:
    return await client.submit(PARAMS, segments(text), streaming=streaming, audio_s=audio_s)


async def listen(client: EngineClient, utterance: Utterance) -> NDArray[np.float32]:
    """All samples of a request."""
    return np.concatenate([samples async for samples in client.chunks(utterance)])


async def hear_first(client: EngineClient, utterance: Utterance) -> None:
    """Wait for the first samples, then go away."""
    async for _ in client.chunks(utterance):
        return


def expected(text: str, options: dict[str, Any]) -> NDArray[np.float32]:
    tokens = [token for segment in segments(text) for token in segment.tokens]
    return expected_samples(tokens, "low", Options(**options))


def state_of(client: EngineClient) -> EngineState:
    """The state now: a type checker takes the attribute to stay what it was last compared with."""
    return client.state


async def eventually(check: Callable[[], Awaitable[bool]], within_s: float = 10.0) -> None:
    """Wait until `check` holds; raises AssertionError if it does not within within_s."""
    for _ in range(int(within_s / 0.01)):
        if await check():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"did not come true within {within_s:g} s")
