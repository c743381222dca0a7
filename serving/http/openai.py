"""The paths of OpenAI's API: POST /v1/audio/speech, and what there is to ask for.

Its requests go the way of /tts and /tts/stream; only the body, the events and the errors have another shape.
An Authorization header is not looked at.
"""

from __future__ import annotations

import time

import msgspec
from litestar import Response, get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation
from litestar.params import FromPath, RawBody
from litestar.response import Stream

from serving.http.access.door import SPEAKS
from serving.http.events import event_stream
from serving.http.schema import MISSING_OPENAI, READING_OPENAI
from serving.http.speech import UNBUFFERED, AnyRequest, Speaker, json_only
from serving.openai import named_as_written, parse_speech
from serving.profile import HttpProfile


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


def openai_routes(
    speaker: Speaker, http: HttpProfile, speaking: type[Operation], responses: dict[int, ResponseSpec]
) -> list[HTTPRouteHandler]:
    """The handlers of speech and of the one model."""
    model = Model(id=speaker.spec.name, created=int(time.time()))

    @post(
        "/v1/audio/speech",
        status_code=200,
        guards=[json_only],
        opt=SPEAKS,
        operation_class=speaking,
        responses=responses,
    )
    async def audio_speech(body: RawBody, request: AnyRequest) -> Response[bytes] | Stream:
        """Speak a text for a client of OpenAI's API; the audio is sent as it is made.

        With `stream_format` sse it comes as Server-Sent Events, with `stream` false in one piece. A field that
        nobody here knows is named in X-Ignored-Fields. Errors have the shape that OpenAI's clients read.
        """
        call = parse_speech(body, speaker.spec, speaker.text.max_chars, http.voice_aliases)
        headers = speaker.headers(call.order, request) | {"X-Speed": f"{call.speed:g}"}
        with named_as_written():
            if not call.events:
                return await speaker.answer(call.order, request, headers, whole=call.whole)
            order, utterance = await speaker.speak(call.order, request, streaming=True)
        return await event_stream(speaker, order, utterance, headers | UNBUFFERED, http.heartbeat_s)

    @get("/v1/models", responses=READING_OPENAI)
    async def models() -> ModelList:
        """The model that this server speaks with."""
        return ModelList(data=[model])

    @get("/v1/models/{name:str}", responses=MISSING_OPENAI)
    async def one_model(name: FromPath[str]) -> Model:
        """The model, if this is its name."""
        if name != model.id:
            raise HTTPException(f"there is no model {name[:60]!r}; there is {model.id}", status_code=404)
        return model

    @get("/v1/audio/models", responses=READING_OPENAI)
    async def audio_models() -> ModelNames:
        """The same model, as Open WebUI asks for it."""
        return ModelNames(models=[ModelName(id=model.id)])

    return [audio_speech, models, one_model, audio_models]
