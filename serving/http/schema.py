"""What the OpenAPI document says about speech: the body with its constraints, the audio, the problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation

from serving.audio.encode import MEDIA_TYPES
from serving.http.problems import PROBLEM_MEDIA_TYPE, Problem
from serving.request import SpeechRequest

SPEECH_HEADERS = {
    "X-Request-Id": "Names this request in the server's log; the client's own if it sent one.",
    "X-Sample-Rate": "Samples per second.",
    "X-Voice": "The voice that speaks.",
    "X-Seed": "The seed that gives the same samples again.",
    "X-Ignored-Fields": "Fields of the request that this model has no use for; absent if there are none.",
    "X-Audio-Seconds": "Length of the speech; on /tts alone.",
}

_PROBLEMS = {
    400: "The body or a field of it is wrong; `field` names it",
    413: "The body is too large",
    415: "The body is not sent as application/json",
    500: "The server failed on this request",
    503: "Not ready, overloaded, or the engine died; Retry-After says when to come again",
    504: "The request took longer than engine.request_timeout_s",
}

PROBLEM_RESPONSES = {
    status: ResponseSpec(Problem, description=text, media_type=PROBLEM_MEDIA_TYPE, generate_examples=False)
    for status, text in _PROBLEMS.items()
}


@dataclass
class SpeechOperation(Operation):
    """A POST whose body is decoded by serving.request and whose answer is audio."""

    def to_schema(self) -> dict[str, Any]:
        operation = super().to_schema()
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _inline(msgspec.json.schema(SpeechRequest))}},
        }
        operation["responses"]["200"] = {
            "description": "Speech: mono, signed 16-bit little-endian samples",
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in SPEECH_HEADERS.items()
            },
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in MEDIA_TYPES.values()
            },
        }
        return operation


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    """The one struct that msgspec's document refers to."""
    struct: dict[str, Any] = schema["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    return struct
