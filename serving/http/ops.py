"""What operators and load balancers ask: alive, ready, voices, counters."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from litestar import HttpMethod, Response, get, route
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import SkipValidation

from serving.cache.store import AnswerStore, CacheState
from serving.engine.client import EngineClient, EngineState
from serving.http.access.door import OPERATOR, PUBLIC
from serving.http.schema import READING_PROBLEMS
from serving.models.base import ModelSpec, Voice
from serving.profile import Profile
from serving.protocol import Stats, Warming
from serving.request import used_fields


class Health(msgspec.Struct, frozen=True):
    """The HTTP process answers."""

    status: str = "ok"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether speech can be asked for, and of whom."""

    ready: bool
    state: str
    """starting, ready, idle, restarting, failed or stopped."""
    profile: str
    model: str
    voices: list[str]
    run_id: str
    """Changes with every start of the server: who answers here is who was started."""
    device: str | None = None
    dtype: str | None = None
    kernels: str | None = None
    """What the networks run in: a tier of the CPU kernels, torch, or triton and what it is without."""
    warmup_s: float | None = None
    progress: Warming | None = None
    """What the engine is doing until it is ready."""
    cache: CacheState | None = None
    """Of the answers that are kept; null if none are. While it is not null, no measurement counts."""
    problem: str | None = None
    """That the engine died or could not start; the server's log says why."""


class Voices(msgspec.Struct, frozen=True, kw_only=True):
    """What can be asked for in a request."""

    model: str
    sample_rate_hz: int
    default_voice: str
    voices: tuple[Voice, ...]
    languages: tuple[str, ...]
    max_text_chars: int
    """Longest text of a request."""
    used_fields: list[str]
    """Request fields that change the audio of this model."""


_RESPONSES = READING_PROBLEMS | {
    503: ResponseSpec(Readiness, description="Not ready", generate_examples=False)
}


@route(
    ["/healthz", "/health"],
    http_method=[HttpMethod.GET, HttpMethod.HEAD],
    opt=PUBLIC,
    security=[{}],
    responses=READING_PROBLEMS,
)
async def healthz() -> Health:
    """200 as long as the HTTP process lives, whatever the engine does."""
    return Health()


@route(
    "/readyz",
    http_method=[HttpMethod.GET, HttpMethod.HEAD],
    opt=PUBLIC,
    security=[{}],
    responses=_RESPONSES,
)
async def readyz(
    engine: NamedDependency[SkipValidation[EngineClient]],
    spec: NamedDependency[SkipValidation[ModelSpec]],
    profile: NamedDependency[SkipValidation[Profile]],
    cache: NamedDependency[SkipValidation[AnswerStore | None]],
) -> Response[Readiness]:
    """200 once the engine is warm; 503 with its progress until then and while it is started again."""
    ready = engine.state is EngineState.READY
    info = engine.info if ready else None
    readiness = Readiness(
        ready=ready,
        state=engine.state.name.lower(),
        profile=engine.profile.name,
        model=spec.name,
        voices=[voice.name for voice in spec.voices],
        run_id=engine.run_id,
        device=info.device if info else None,
        dtype=info.dtype if info else None,
        kernels=info.kernels if info else None,
        warmup_s=info.warmup_s if info else None,
        progress=None if ready else engine.warming,
        cache=None if cache is None else cache.state,
        problem=None if engine.problem is None else f"the engine is {engine.state.value}; the log says why",
    )
    headers: dict[str, Any] = {} if ready else {"Retry-After": str(math.ceil(engine.retry_after_s()))}
    return Response(readiness, status_code=200 if ready else 503, headers=headers)


@get("/voices", responses=READING_PROBLEMS)
async def voices(
    spec: NamedDependency[SkipValidation[ModelSpec]], profile: NamedDependency[SkipValidation[Profile]]
) -> Voices:
    """The model, its voices and its limits."""
    return Voices(
        model=spec.name,
        sample_rate_hz=spec.sample_rate_hz,
        default_voice=spec.default_voice,
        voices=spec.voices,
        languages=spec.languages,
        max_text_chars=profile.text.max_chars,
        used_fields=sorted(used_fields(spec)),
    )


@get("/stats", opt=OPERATOR, responses=READING_PROBLEMS)
async def stats(engine: NamedDependency[SkipValidation[EngineClient]]) -> Stats:
    """Counters of the engine since its start; 503 while there is none."""
    return await engine.stats()
