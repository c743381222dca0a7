"""What the OpenAPI document says about speech: the body with its constraints, the audio, the problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Components, Operation, SecurityScheme

from serving.audio.encode import AUDIO_FORMATS, FIXED_RATES_HZ, MEDIA_TYPES
from serving.batch import Index, batch_schema
from serving.http.problems import PROBLEM_MEDIA_TYPE, OpenAIEnvelope, Problem
from serving.models import inline_schema as inline
from serving.models import voice_fields
from serving.models.base import ModelSpec
from serving.openai import body_schema
from serving.request import request_schema
from serving.spell import Spelled, SpellRequest
from serving.voices.folder import MAX_CONSENT_CHARS, MAX_NAME_CHARS

SPEECH_HEADERS = {
    "X-Request-Id": "Names this request in the server's log; the client's own if it sent one.",
    "X-Sample-Rate": "Samples per second of the answer, once decoded.",
    "X-Voice": "The voice that speaks, percent-encoded as UTF-8 where it is not plain ASCII.",
    "X-Seed": "The seed that gives the same samples again.",
    "X-Dropped-Text": "Scripts whose letters the voice cannot speak and leaves out; absent if there are none.",
    "X-Ignored-Fields": "Fields of the request that this model has no use for; absent if there are none.",
    "X-Audio-Seconds": "Length of the speech; on answers that are sent whole.",
    "X-Cache": "hit, miss or bypass; on a server that keeps answers alone.",
    "Age": "Seconds since a kept answer was made.",
    "X-Speed": "The speed that is spoken at; on /v1/audio/speech alone.",
}

_PROBLEMS = {
    400: "The body or a field of it is wrong; `field` names it",
    401: "The server has API keys, and the request none of them",
    403: "The page that asks is of another origin, see http.cors_origins, or the path is for operators' keys",
    408: "The body did not arrive within http.body_s",
    413: "The body is too large",
    415: "The body is not sent as application/json",
    421: "The server has another name, see http.allowed_hosts",
    429: "A limit of the key, or too many requests of one address; Retry-After says when to come again",
    500: "The server failed on this request",
    503: "Not ready, overloaded, or the engine died; Retry-After says when to come again",
    504: "The request took longer than engine.request_timeout_s",
}

PROBLEM_RESPONSES = {
    status: ResponseSpec(Problem, description=text, media_type=PROBLEM_MEDIA_TYPE, generate_examples=False)
    for status, text in _PROBLEMS.items()
}

OPENAI_RESPONSES = {
    status: ResponseSpec(OpenAIEnvelope, description=text, generate_examples=False)
    for status, text in _PROBLEMS.items()
}

_READING = (400, 401, 403, 421, 429, 503)
"""What a path that only tells something may answer besides."""

READING_PROBLEMS = {status: PROBLEM_RESPONSES[status] for status in _READING}
READING_OPENAI = {status: OPENAI_RESPONSES[status] for status in _READING}
MISSING_OPENAI = READING_OPENAI | {
    404: ResponseSpec(OpenAIEnvelope, description="There is none of this name", generate_examples=False)
}

WITH_KEYS: dict[str, Any] = {
    "components": Components(
        security_schemes={
            "key": SecurityScheme(type="http", scheme="bearer", description="An API key of this server.")
        }
    ),
    "security": [{"key": []}],
}
"""For OpenAPIConfig: what a server with API keys asks for. A path that does without says so itself."""

VOICE_RESPONSES = {
    status: ResponseSpec(OpenAIEnvelope, description=text, generate_examples=False)
    for status, text in {
        400: "The body or a field of it is wrong; `param` names it",
        401: _PROBLEMS[401],
        403: "Voices may not be changed: voices.writable, or the page is of another origin",
        404: "There is no voice of this name",
        405: "The model takes no new voices",
        408: "The body did not arrive within voices.upload_s",
        409: "The name is taken, the store is full, or the voice is needed",
        413: "The recording is too large",
        415: "The body is not multipart/form-data",
        421: _PROBLEMS[421],
        429: _PROBLEMS[429],
        500: _PROBLEMS[500],
        503: "Other recordings are being taken; Retry-After says when to come again",
        507: "The disk is full or cannot be written",
    }.items()
}

_HEADERS = {
    name: {"description": text, "schema": {"type": "string"}} for name, text in SPEECH_HEADERS.items()
}


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a server takes beside what its model declares."""

    max_chars: int
    """Longest text."""
    voices: tuple[str, ...] | None
    """All that a request may name; None where voices come and go."""
    aliases: tuple[str, ...] = ()
    """Other names for them, under /v1 alone."""

    def within(self, body: dict[str, Any], spec: ModelSpec, text: str, audio_format: str) -> dict[str, Any]:
        """A body with these bounds, whose text and format stand in the fields so named."""
        fields = body["properties"]
        fields[text] |= {"maxLength": self.max_chars, "format": SPEAKABLE}
        if not spec.word_times and "timestamps" in fields:
            _each(fields["timestamps"], lambda kind: "enum" in kind and kind["enum"].remove("word"))
        openai = ("voice", "speaker") if text != "text" else ()
        for name in {*voice_fields(spec.fields), *openai} & fields.keys():
            aliases = self.aliases if name in openai else ()
            _each(fields[name], _of_names(None if self.voices is None else (*self.voices, *aliases)))
        return body | _rates(audio_format)


SPEAKABLE = "speakable"
"""Format of a text: it has something in it that the model speaks, a word or a number for instance."""


def _each(schema: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> None:
    """Change a schema, or each of those that it lets choose from."""
    for kind in schema.get("anyOf", [schema]):
        change(kind)


def _of_names(names: Iterable[str] | None) -> Callable[[dict[str, Any]], None]:
    """What bounds a name, or an object whose id is one; None where names come and go."""
    bound: dict[str, Any] = {"format": "voice"} if names is None else {"enum": sorted(set(names))}

    def change(kind: dict[str, Any]) -> None:
        if kind.get("type") == "string":
            kind |= bound
        elif kind.get("type") == "object":
            kind |= {"properties": {"id": {"type": "string"} | bound}, "required": ["id"]}

    return change


def _rates(audio_format: str) -> dict[str, Any]:
    """A format of one rate takes no other."""
    free = [*(name for name in AUDIO_FORMATS if name not in FIXED_RATES_HZ), None]
    either: list[dict[str, Any]] = [
        {"properties": {audio_format: {"enum": free}}},
        {"properties": {"sample_rate_hz": {"enum": [None]}}},
    ]
    for name, rate_hz in FIXED_RATES_HZ.items():
        fixed = {audio_format: {"enum": [name]}, "sample_rate_hz": {"enum": [rate_hz]}}
        either.append({"properties": fixed, "required": list(fixed)})
    return {"anyOf": either}


def speech_operation(spec: ModelSpec, bounds: Bounds) -> type[Operation]:
    """A request for speech of this model, answered by audio."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    answer = {
        "description": "Speech, mono, in the format asked for; multipart/mixed with `timestamps`",
        "headers": _HEADERS,
        "content": dict.fromkeys((*MEDIA_TYPES.values(), "multipart/mixed"), binary),
    }
    return _operation(bounds.within(request_schema(spec), spec, "text", "format"), answer)


def openai_operation(spec: ModelSpec, bounds: Bounds) -> type[Operation]:
    """A request of OpenAI's API for speech of this model, answered by audio or by events."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    event = {
        "type": "object",
        "description": "An event, whose data is JSON: its `type` is speech.audio.delta, .times, .done or error.",
        "properties": {"data": {"type": "string"}},
        "required": ["data"],
    }
    answer = {
        "description": "Speech; text/event-stream with `stream_format` sse; multipart/mixed with `timestamps`",
        "headers": _HEADERS,
        "content": {
            **dict.fromkeys((*MEDIA_TYPES.values(), "multipart/mixed"), binary),
            "text/event-stream": {"schema": event},
        },
    }
    return _operation(bounds.within(body_schema(spec), spec, "input", "response_format"), answer)


def batch_operation(spec: ModelSpec, bounds: Bounds, max_items: int) -> type[Operation]:
    """Many requests of OpenAI's API at once, answered by JSON, a zip or multipart."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    answer = {
        "description": "The items in order, in Base64; with `output` zip or multipart: files and index.json",
        "content": {
            "application/json": {"schema": inline(Index)},
            "application/zip": binary,
            "multipart/mixed": binary,
        },
    }
    item = bounds.within(body_schema(spec), spec, "input", "response_format")
    return _operation(batch_schema(item, max_items), answer)


def captions_operation(spec: ModelSpec, bounds: Bounds) -> type[Operation]:
    """A request for speech of this model, answered by the times of its sentences and words."""
    text = {"schema": {"type": "string"}}
    times = {"type": "object", "properties": {"sentences": {"type": "array", "items": {"type": "object"}}}}
    content = {"application/json": {"schema": times}, "text/vtt": text, "application/x-subrip": text}
    body = bounds.within(request_schema(spec), spec, "text", "format")
    return _operation(body, {"description": "Times, in seconds", "headers": _HEADERS, "content": content})


def spell_operation(bounds: Bounds) -> type[Operation]:
    """A text, answered by its words."""
    answer = {"description": "Words and pauses", "content": {"application/json": {"schema": inline(Spelled)}}}
    body = inline(SpellRequest)
    body["properties"]["text"] |= {"maxLength": bounds.max_chars}
    return _operation(body, answer)


def voice_operation() -> type[Operation]:
    """A form with a recording."""
    text = {"type": "string"}
    form = {
        "type": "object",
        "required": ["name", "audio_sample", "consent"],
        "properties": {
            "name": {
                **text,
                "maxLength": MAX_NAME_CHARS,
                "pattern": r"^[\p{L}\p{N}][\p{L}\p{N}\p{M}._-]*$",
                "description": "Letters and digits of any script, - _ .",
            },
            "audio_sample": {**text, "format": "recording", "description": "A recording of the speaker."},
            "consent": {
                **text,
                "format": "consent",
                "minLength": 1,
                "maxLength": MAX_CONSENT_CHARS,
                "description": "true, or the id of a record that the speaker agrees. One line that does not say no.",
            },
            "replace": {
                **text,
                "enum": ["true", "false"],
                "description": "Take the place of a voice so named.",
            },
        },
    }
    content = {"multipart/form-data": {"schema": form}}

    @dataclass
    class FormOperation(Operation):
        def to_schema(self) -> dict[str, Any]:
            return super().to_schema() | {"requestBody": {"required": True, "content": content}}

    return FormOperation


def _operation(body: dict[str, Any], answer: dict[str, Any]) -> type[Operation]:
    """A POST of JSON whose body is decoded by serving.request, not by the web framework."""

    @dataclass
    class JsonOperation(Operation):
        def to_schema(self) -> dict[str, Any]:
            operation = super().to_schema()
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
            operation["responses"]["200"] = answer
            return operation

    return JsonOperation
