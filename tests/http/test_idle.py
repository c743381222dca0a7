"""An engine that nobody uses is unloaded, and the next request starts it."""

from __future__ import annotations

import asyncio
import os

import pytest
import torch  # noqa: F401 -- so that the first start is no slower than the next

from serving.http.app import create_app
from tests.support import Api, alive, children, running, tone_profile

TEXT = {"text": "Hello"}


async def idle(api: Api) -> None:
    await api.until("/readyz", lambda answer: answer["state"] == "idle")


async def test_it_is_unloaded_and_comes_back() -> None:
    profile = tone_profile("engine.idle_unload_s=0.2", "model.options.load_s=1.2")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        first = await api.call("POST", "/tts", TEXT | {"seed": 1})
        await idle(api)
        for path in ("/readyz", "/stats", "/voices"):
            await api.call("GET", path, headers=())
        told = (await api.call("GET", "/metrics", headers=())).body
        assert b"\ntts_engine_ready 0.0\n" in told
        assert b"\ntts_engine_idle 1.0\n" in told, "no reason to wake anybody"
        assert (await api.call("POST", "/tts", {"text": ""})).status == 400
        await asyncio.sleep(0.05)
        assert (await api.call("GET", "/readyz")).json["state"] == "idle", "only speech wakes it"
        refused = await api.call("POST", "/tts", TEXT)
        assert refused.status == 503
        assert refused.problem["code"] == "not_ready"
        assert refused.headers["retry-after"] == "2", "loading takes 1.2 s"
        async with asyncio.timeout(2.0):
            while (again := await api.call("POST", "/tts", TEXT | {"seed": 1})).status == 503:
                assert 1 <= int(again.headers["retry-after"]) <= 2
                await asyncio.sleep(0.05)
        assert again.body == first.body
        assert (await api.call("GET", "/metrics", headers=())).body.count(
            b"tts_engine_restarts_total 0.0"
        ) == 1
        await idle(api)


async def test_it_stays_while_somebody_listens() -> None:
    profile = tone_profile("engine.idle_unload_s=0.3", "model.options.step_s=0.4")
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        answer = await api.call("POST", "/tts/stream", {"text": "Hello there, all of you who listen"})
        assert answer.complete
        assert answer.status == 200
        await idle(api)


async def test_a_stop_while_idle_is_a_stop() -> None:
    profile = tone_profile("engine.idle_unload_s=0.05")
    async with running(create_app(profile)) as api:
        await idle(api)


@pytest.mark.slow
async def test_an_idle_server_has_no_engine_process() -> None:
    profile = tone_profile("engine.process=true", "engine.idle_unload_s=0.2")
    others = set(children(os.getpid()))  # servers that other tests of this run share
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        (engine,) = set(children(os.getpid())) - others
        await idle(api)
        for _ in range(500):
            if not alive(engine):
                return
            await asyncio.sleep(0.02)
    raise AssertionError("the engine's process is still there")
