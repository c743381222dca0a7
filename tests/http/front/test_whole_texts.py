"""A text of HTML is read as a whole when it has ended: nobody else's work in a thread waits for that."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.engine.client import EngineClient
from serving.http.front.turns import Turns
from serving.http.live.turn import Event, Started, Turn
from serving.http.speech import Speaker
from serving.models import load_frontend
from serving.models.tone.options import Fields
from serving.profile import WebSocketProfile
from serving.protocol import SpeechParams
from tests.support import tone_profile

pytestmark = pytest.mark.slow


async def test_a_text_of_html_is_spoken_while_the_threads_of_all_others_are_taken() -> None:
    profile = tone_profile()
    frontend = load_frontend(profile)
    engine = EngineClient(profile, frontend.spec)
    await engine.start()
    free = threading.Event()
    others = ThreadPoolExecutor(1)
    try:
        await engine.wait_ready(60)
        asyncio.get_running_loop().set_default_executor(others)
        others.submit(free.wait)
        turn = Turn(
            Speaker(engine, frontend, profile.text),
            SpeechParams(voice="low", seed=0, fields=Fields()),
            text_format="html",
            granularity="sentence",
            limits=WebSocketProfile(),
            take_turn=lambda: Turns().take("here"),
        )
        heard: list[str] = []

        async def deliver(event: Event) -> None:
            if isinstance(event, Started):
                heard.append(event.text)

        turn.append("<p>One.</p><p>Two.</p>")
        turn.end()
        async with asyncio.timeout(20):
            await turn.run(deliver)
        assert heard == ["One.", "Two."]
    finally:
        free.set()
        await engine.stop()
