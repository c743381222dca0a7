"""The paths of OpenAI's API: POST /v1/audio/speech, and what there is to ask for.

Its requests go the way of /tts and /tts/stream; only the body, the events and the errors have another shape.
An Authorization header is not looked at.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation
from litestar.params import FromPath, RawBody
from litestar.response import Stream

from serving.http.events import event_stream
from serving.http.speech import UNBUFFERED, AnyRequest, Speaker, json_only
from serving.models.base import ModelSpec
from serving.openai import named_as_written, parse_speech
from serving.profile import HttpProfile, ProfileError


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model, as OpenAI's API describes one."""

    id: str
    object: str = "model"
    created: int
    """When the server was started, in seconds of Unix time."""
    owned_by: str = "tts-serving"


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The models there are: one."""

    object: str = "list"
    data: list[Model]


class ModelName(msgspec.Struct, frozen=True, kw_only=True):
    """A model, as Open WebUI asks for it."""

    id: str


class ModelNames(msgspec.Struct, frozen=True, kw_only=True):
    """The models there are: one."""

    models: list[ModelName]


class NamedVoice(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may name as its voice."""

    id: str
    name: str
    language: str
    description: str
    alias_of: str | None = None
    """The voice that speaks; null if this is a voice itself."""


class NamedVoices(msgspec.Struct, frozen=True, kw_only=True):
    """The voices of the model, then the aliases of the profile."""

    voices: list[NamedVoice]
    default_voice: str


def openai_routes(
    speaker: Speaker, http: HttpProfile, speaking: type[Operation], responses: dict[int, ResponseSpec]
) -> list[HTTPRouteHandler]:
    """The handlers under /v1. Raises ProfileError if http.voice_aliases names a voice that there is not."""
    spec = speaker.spec
    model = Model(id=spec.name, created=int(time.time()))
    named = _named_voices(spec, http.voice_aliases)

    @post(
        "/v1/audio/speech",
        status_code=200,
        guards=[json_only],
        operation_class=speaking,
        responses=responses,
    )
    async def audio_speech(body: RawBody, request: AnyRequest) -> Response[bytes] | Stream:
        """Speak a text for a client of OpenAI's API; the audio is sent as it is made.

        With `stream_format` sse it comes as Server-Sent Events, with `stream` false in one piece. A field that
        nobody here knows is named in X-Ignored-Fields. Errors have the shape that OpenAI's clients read.
        """
        call = parse_speech(body, spec, speaker.text.max_chars, http.voice_aliases)
        headers = speaker.headers(call.order, request) | {"X-Speed": f"{call.speed:g}"}
        with named_as_written():
            if not call.events:
                return await speaker.answer(call.order, request, headers, whole=call.whole)
            order, utterance = await speaker.speak(call.order, request, streaming=True)
        return await event_stream(speaker, order, utterance, headers | UNBUFFERED, http.heartbeat_s)

    @get("/v1/models")
    async def models() -> ModelList:
        """The model that this server speaks with."""
        return ModelList(data=[model])

    @get("/v1/models/{name:str}")
    async def one_model(name: FromPath[str]) -> Model:
        """The model, if this is its name."""
        if name != model.id:
            raise HTTPException(f"there is no model {name[:60]!r}; there is {model.id}", status_code=404)
        return model

    @get("/v1/audio/models")
    async def audio_models() -> ModelNames:
        """The same model, as Open WebUI asks for it."""
        return ModelNames(models=[ModelName(id=model.id)])

    @get("/v1/audio/voices")
    async def audio_voices() -> NamedVoices:
        """What a request may name as its voice."""
        return named

    return [audio_speech, models, one_model, audio_models, audio_voices]


def _named_voices(spec: ModelSpec, aliases: Mapping[str, str]) -> NamedVoices:
    voices = {voice.name: voice for voice in spec.voices}
    named: list[NamedVoice] = [_named(voice.name, voice, None) for voice in spec.voices]
    for alias, name in aliases.items():
        if name not in voices:
            raise ProfileError(
                f"http.voice_aliases.{alias}: no voice is called {name!r}; there are {', '.join(voices)}"
            )
        if alias not in voices:
            named.append(_named(alias, voices[name], name))
    return NamedVoices(voices=named, default_voice=spec.default_voice)


def _named(name: str, voice: Any, alias_of: str | None) -> NamedVoice:
    return NamedVoice(
        id=name, name=name, language=voice.language, description=voice.description, alias_of=alias_of
    )
