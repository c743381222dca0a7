"""The Litestar application. The only file that wires: it builds the parts and hands them to each other."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from serving import __version__
from serving.audio.encode import load_codecs
from serving.engine.client import EngineClient, EngineState
from serving.engine.life.state import Supervise
from serving.engine.life.supervisor import Supervisor
from serving.engine.watch import Watcher
from serving.http.access.door import audio_of_key, door_of
from serving.http.batch.route import batch_route
from serving.http.cached import AnswerCache
from serving.http.front.change import Change
from serving.http.front.guard import Full, Guard
from serving.http.front.idle import Idle
from serving.http.front.turns import Turns
from serving.http.live.nari import nari_route
from serving.http.live.stream import stream_route
from serving.http.observe.calls import Watched
from serving.http.observe.engine import metrics_route
from serving.http.observe.metrics import Metrics
from serving.http.observe.traces import Traces
from serving.http.observe.utterances import watcher_of
from serving.http.openai import openai_routes
from serving.http.ops import healthz, readyz, stats, voices
from serving.http.page.files import page_routes
from serving.http.page.reports import report_routes
from serving.http.problems import EXCEPTION_HANDLERS
from serving.http.query import query_routes
from serving.http.schema import (
    OPENAI_RESPONSES,
    PROBLEM_RESPONSES,
    SPEECH_HEADERS,
    VOICE_RESPONSES,
    WITH_KEYS,
    Bounds,
    batch_operation,
    captions_operation,
    openai_operation,
    speech_operation,
    spell_operation,
    voice_operation,
)
from serving.http.speech import AbortOnExit, Speaker, speech_routes
from serving.http.texts import text_routes
from serving.http.voices import PATH as VOICES_PATH
from serving.http.voices import VoiceChanges, voice_routes
from serving.models import load_frontend, open_voices
from serving.observe.words import requests_come
from serving.profile import Profile, ProfileError

logger = logging.getLogger(__name__)

_ORIGIN = re.compile(r"https?://[^/\s?#*]+")
_WATCH_INTERVAL_S = 0.1
CHANGE_SIGNAL = signal.SIGUSR1 if sys.platform != "win32" else 0
_PROGRESS_INTERVAL_S = 10.0
"""A part of the warm-up that takes longer than this, such as a compilation, is mentioned again."""


def create_app(
    profile: Profile,
    on_failed: Callable[[], None] | None = None,
    on_beat: Callable[[bool], None] | None = None,
    reread: Callable[[], Profile] | None = None,
    supervise: Supervise = Supervisor,
) -> Litestar:
    """Build the application; its lifespan starts and stops the engine.

    `on_failed` is called once if the engine cannot start or died more often than engine.restart_limit, `on_beat` all
    the time while the event loop runs, with whether the engine is ready. `reread` reads the profile again, when SIGUSR1
    comes to this process, whose main thread the event loop has then. `supervise` says where the engine lives.
    Raises what load_frontend raises (ProfileError, for one) if the model cannot be had, and ProfileError for origins
    and voice aliases that cannot be.
    """
    door = door_of(profile)
    frontend = load_frontend(profile)
    watchers: list[Watcher] = []
    if door is not None:
        watchers.append(lambda params, streaming, audio_s: audio_of_key(frontend.spec, audio_s))
    metrics = Metrics() if profile.observe.metrics else None
    if metrics is not None:
        watchers.append(watcher_of(metrics, frontend.spec.sample_rate_hz))
    observe = profile.observe
    traces = Traces(observe, frontend.spec.name) if observe.traces_to else None
    if traces is not None:
        watchers.append(traces.watch)
    engine = EngineClient(profile, frontend.spec, watchers, supervise)
    cache = AnswerCache(profile, frontend.spec, engine) if profile.cache.max_bytes else None

    @contextlib.asynccontextmanager
    async def run_engine(_: Litestar) -> AsyncIterator[None]:
        await changes.sweep()
        change = None if reread is None else Change(speaker, cache, reread)
        if change is not None:
            asyncio.get_running_loop().add_signal_handler(CHANGE_SIGNAL, change.ask)
        await engine.start()
        tasks = [
            asyncio.create_task(_watch(engine, on_failed, on_beat)),
            asyncio.create_task(_unload(engine)),
            asyncio.create_task(idle.run()),
            asyncio.create_task(guard.left.run()),
        ]
        if cache is not None:
            tasks.append(asyncio.create_task(cache.prepare()))
        try:
            # While the engine warms up, so that no request waits for libav.
            await asyncio.to_thread(load_codecs, frontend.spec.sample_rate_hz)
            # A full collection takes 0.16 s, in which nobody is answered, if it looks at what the start has made.
            gc.freeze()
            requests_come(log_texts=observe.log_texts)
            yield
        finally:
            for task in tasks:
                task.cancel()
            if change is not None:
                await change.close()
            await engine.stop()
            await changes.close()
            if traces is not None:
                await asyncio.to_thread(traces.close)

    speaker = Speaker(engine, frontend, profile.text, cache)
    library = open_voices(profile)
    changes = VoiceChanges(speaker, library, profile)
    spec = frontend.spec
    bounds = Bounds(
        max_chars=profile.text.max_chars,
        voices=tuple(voice.name for voice in spec.voices) if library is None else None,
        aliases=tuple(profile.http.voice_aliases),
    )
    turns = Turns()
    routes = [
        *speech_routes(speaker, speech_operation(spec, bounds), PROBLEM_RESPONSES),
        *text_routes(speaker, spell_operation(bounds), captions_operation(spec, bounds), PROBLEM_RESPONSES),
        *voice_routes(speaker, changes, profile, voice_operation(), VOICE_RESPONSES),
        *openai_routes(speaker, profile.http, openai_operation(spec, bounds), OPENAI_RESPONSES),
        batch_route(
            speaker, profile, batch_operation(spec, bounds, profile.batch.max_items), OPENAI_RESPONSES
        ),
        *(query_routes(speaker, PROBLEM_RESPONSES) if profile.http.allow_get else []),
        stream_route(speaker, profile.websocket, profile.http, turns),
        nari_route(speaker, profile.websocket, profile.http, turns),
        *page_routes(frontend.spec, profile.text.max_chars),
        *report_routes(profile.http.reports),
        *(
            []
            if metrics is None
            else [metrics_route(metrics, engine, None if cache is None else cache.store)]
        ),
    ]
    app = Litestar(
        [*routes, healthz, readyz, voices, stats],
        lifespan=[run_engine],
        dependencies={
            "engine": _provide(engine),
            "spec": Provide(lambda: speaker.spec, sync_to_thread=False),
            "profile": _provide(profile),
            "cache": _provide(cache and cache.store),
        },
        cors_config=_cors(profile.http.cors_origins),
        middleware=[
            AbortOnExit(),
            *([] if door is None else [door]),
            *([Full(engine.full)] if cache is None else []),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=profile.http.max_body_bytes,
        openapi_config=OpenAPIConfig(
            title="tts-serving",
            version=__version__,
            **({} if door is None else WITH_KEYS),
            path="/schema",
            use_handler_docstrings=True,
            render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
        ),
        logging_config=None,
    )
    slow_bodies = {VOICES_PATH: profile.voices.upload_s}
    app.asgi_handler = guard = Guard(app.asgi_handler, profile.http, slow_bodies, turns)
    http = profile.http
    idle = Idle(http.port, http.header_s, guard.busy, guard.ended_s, http.max_per_address)
    if metrics is not None or traces is not None or profile.http.access_log:
        # Outermost: what the guard refuses is counted too.
        app.asgi_handler = Watched(
            app.asgi_handler, metrics, access_log=profile.http.access_log, traces=traces
        )
    return app


def _cors(origins: list[str]) -> CORSConfig | None:
    """What pages of these origins may do. Raises ProfileError for one that no browser would send."""
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ProfileError(f"http.cors_origins: {origin!r} is no origin; write https://host or *")
    if not origins:
        return None
    return CORSConfig(
        allow_origins=origins,
        allow_methods=["GET", "POST", "DELETE"],
        expose_headers=[*SPEECH_HEADERS, "Retry-After"],
    )


def _provide(value: Any) -> Provide:
    def provide() -> Any:
        return value

    return Provide(provide, sync_to_thread=False)


async def _watch(
    engine: EngineClient,
    on_failed: Callable[[], None] | None,
    on_beat: Callable[[bool], None] | None,
) -> None:
    """Announce the server whenever its engine becomes ready; call on_failed when it never will again."""
    was_ready = False
    said_at = time.monotonic()
    while engine.state is not EngineState.FAILED:
        is_ready = engine.state is EngineState.READY
        if is_ready and not was_ready:
            _announce(engine, engine.profile)
        elif not is_ready and time.monotonic() - said_at > _PROGRESS_INTERVAL_S:
            said_at = time.monotonic()
            if (progress := engine.warming) is not None:
                logger.info("still at: %s (%d of %d)", progress.what, progress.done, progress.total)
        was_ready = is_ready
        if on_beat is not None:
            on_beat(is_ready)
        await asyncio.sleep(_WATCH_INTERVAL_S)
    logger.critical("stopping: %s", engine.problem)
    if on_failed is not None:
        on_failed()


async def _unload(engine: EngineClient) -> None:
    """Unload an engine that nobody uses, if its profile says so."""
    while True:
        idle_s = engine.profile.engine.idle_unload_s
        await asyncio.sleep(min(idle_s / 4, 1.0) if idle_s else 1.0)
        if idle_s and engine.state is EngineState.READY:
            engine.unload(idle_s)


def _announce(engine: EngineClient, profile: Profile) -> None:
    info = engine.info
    assert info is not None, "a ready engine has said what it is"
    host = f"[{profile.http.host}]" if ":" in profile.http.host else profile.http.host
    scheme = "https" if profile.http.tls_cert else "http"
    address = f"{scheme}://{host}:{profile.http.port}"
    logger.info(
        "ready at %s: %s on %s %s, profile %s, warm after %.1f s",
        address,
        info.model,
        info.device,
        info.dtype,
        profile.name,
        info.warmup_s,
    )
    logger.info(
        "try: curl %s/tts -H 'Content-Type: application/json' -d '{\"text\": \"Hello world.\"}' -o hello.wav",
        address,
    )
