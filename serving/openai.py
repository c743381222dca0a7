"""A body of POST /v1/audio/speech, as OpenAI's clients send it, to an order of ours. No litestar, no torch.

OpenAI's own fields are checked, and so are those of the model that is served, which may stand beside them. Any other
field, such as one that another server of the same API knows, is named in the answer and is no error.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta

from serving.audio.encode import AudioFormat
from serving.models import inline_schema
from serving.models.base import ModelSpec, RequestFields
from serving.protocol import InputError
from serving.request import (
    MAX_FIELDS,
    BodyError,
    Order,
    check_voice,
    decode,
    parse,
    request_schema,
    used_fields,
)

StreamFormat = Literal["audio", "sse"]

DEFAULT_FORMAT: AudioFormat = "mp3"
PCM_RATE_HZ = 24000
"""Of bare samples: OpenAI's API has no other rate, so clients take it for granted."""
MIN_SPEED = 0.25
MAX_SPEED = 4.0

_OUR_NAMES = {"input": "text", "response_format": "format"}
THEIR_NAMES = {ours: theirs for theirs, ours in _OUR_NAMES.items()}
"""What OpenAI's API calls fields of ours."""
_RAW_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MAX_NAMED_FIELDS = 50
_MAX_NAME_CHARS = 60


class VoiceId(msgspec.Struct, frozen=True):
    """A voice by its id, as OpenAI's clients write a voice of the caller's own."""

    id: Any = None


class SpeechBody(msgspec.Struct, frozen=True, kw_only=True):
    """What OpenAI's API knows of a request for speech. A field that is null counts as not sent."""

    input: Annotated[str, Meta(min_length=1, description="What to say.")]
    model: Annotated[
        str | None, Meta(description="Any name is taken; this server speaks with its one model.")
    ] = None
    voice: Annotated[
        str | VoiceId | None,
        Meta(description="A name from GET /v1/audio/voices, or an object whose `id` is one."),
    ] = None
    speaker: Annotated[
        str | VoiceId | None,
        Meta(description="What vLLM-Omni's clients call `voice`; `voice` wins, but a wrong name is refused."),
    ] = None
    response_format: Annotated[
        AudioFormat | None, Meta(description=f"How the audio is encoded; {DEFAULT_FORMAT} without it.")
    ] = None
    speed: Annotated[
        Annotated[float, Meta(ge=MIN_SPEED, le=MAX_SPEED)] | None,
        Meta(description="Brought into the range of the model; X-Speed tells what is spoken."),
    ] = None
    stream_format: Annotated[
        StreamFormat | None,
        Meta(description="sse: Server-Sent Events, speech.audio.delta and at the end speech.audio.done."),
    ] = None
    stream: Annotated[
        bool | None,
        Meta(description="false: the answer comes whole, with its length; without it, as it is made."),
    ] = None


_THEIR_FIELDS = frozenset(SpeechBody.__struct_fields__)


@dataclass(frozen=True, kw_only=True)
class SpeechCall:
    """A checked request of OpenAI's API."""

    order: Order
    speed: float
    """What the model speaks at, 1.0 if it has no speeds."""
    events: bool
    """The answer is Server-Sent Events."""
    whole: bool
    """The answer is sent when it is complete; false: as it is made."""


def parse_speech(
    body: bytes,
    spec: ModelSpec,
    max_chars: int | None,
    voice_aliases: Mapping[str, str],
    *,
    default_format: AudioFormat = DEFAULT_FORMAT,
    pcm_rate_hz: int | None = PCM_RATE_HZ,
) -> SpeechCall:
    """Decode a body of POST /v1/audio/speech. A voice that the model has not may be a key of `voice_aliases`.

    `pcm_rate_hz` is the rate of bare samples where the body asks for none; None: the model's.

    Raises InputError naming the field as the client wrote it, BodyError if the body is no JSON object at all.
    """
    if not body:
        raise BodyError("the body is empty; send a JSON object with a field `input`")
    asked, sent = decode(body, SpeechBody)
    others = {}
    if not sent <= _THEIR_FIELDS:
        raw = _RAW_FIELDS.decode(body.decode("utf-8-sig"))
        others = {name: raw[name] for name in sent - _THEIR_FIELDS if bytes(raw[name]) != b"null"}
    # A field that only another model has is not even checked: its name may mean another thing to the client.
    ours = (used_fields(spec) | {"seed"}) - THEIR_NAMES.keys() if others else frozenset()
    extra = {name: value for name, value in others.items() if name in ours}
    ignored = others.keys() - extra.keys()
    if asked.model not in (None, spec.name):
        ignored.add("model")
    written: dict[str, Any] = {
        **({"sample_rate_hz": pcm_rate_hz} if asked.response_format == "pcm" else {}),
        **extra,
        "text": asked.input,
        "format": asked.response_format or default_format,
    }
    named_by = "voice" if asked.voice is not None or asked.speaker is None else "speaker"
    if (voice := getattr(asked, named_by)) is not None:
        written["voice"] = _voice(voice, named_by, spec, voice_aliases)
    if named_by == "voice" and asked.speaker is not None:  # not spoken, and a wrong name all the same
        check_voice("speaker", _voice(asked.speaker, "speaker", spec, voice_aliases), spec)
    speed = 1.0 if asked.speed is None else asked.speed
    if (limits := speed_range(spec.fields)) is None:
        ignored |= {"speed"} if asked.speed is not None else set()
        speed = 1.0
    else:
        speed = written["speed"] = min(max(speed, limits[0]), limits[1])
    with named_as_written({"voice": named_by}):
        order = parse(msgspec.json.encode(written), spec, max_chars)
    ignored = ignored.union(order.ignored_fields)
    if ignored:
        order = msgspec.structs.replace(order, ignored_fields=plain_names(ignored))
    return SpeechCall(
        order=order, speed=speed, events=asked.stream_format == "sse", whole=asked.stream is False
    )


@contextlib.contextmanager
def named_as_written(also: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
    """Give a field that an InputError names the name that OpenAI's API has for it, or `also` has."""
    names = {**THEIR_NAMES, **also}
    try:
        yield
    except InputError as error:
        if error.field not in names:
            raise
        raise InputError(names[error.field], str(error)) from None


def their_name(field: str | None) -> str | None:
    """What OpenAI's API calls a field of ours."""
    return None if field is None else THEIR_NAMES.get(field, field)


@functools.cache
def speed_range(own: type[RequestFields]) -> tuple[float, float] | None:
    """The slowest and the quickest speed of a model with these fields; None if it has no speeds."""
    described = msgspec.inspect.type_info(own)
    assert isinstance(described, msgspec.inspect.StructType)
    for field in described.fields:
        kind = field.type
        while isinstance(kind, msgspec.inspect.Metadata):
            kind = kind.type
        if field.name == "speed" and isinstance(kind, msgspec.inspect.FloatType):
            return (
                MIN_SPEED if kind.ge is None else float(kind.ge),
                MAX_SPEED if kind.le is None else float(kind.le),
            )
    return None


def body_schema(spec: ModelSpec) -> dict[str, Any]:
    """JSON schema of a body for this model: OpenAI's fields, then ours, each of which may be null."""
    schema = inline_schema(SpeechBody) | {"maxProperties": MAX_FIELDS}
    for name, field in request_schema(spec)["properties"].items():
        if name not in THEIR_NAMES and (name in used_fields(spec) or name == "seed"):
            kinds = field.pop("anyOf", None)
            if kinds is None:
                kept = {key: field.pop(key) for key in ("description", "default") if key in field}
                kinds, field = [field], kept
            nullable = kinds if {"type": "null"} in kinds else [*kinds, {"type": "null"}]
            schema["properties"].setdefault(name, field | {"anyOf": nullable})
    return schema


def _voice(asked: str | VoiceId, field: str, spec: ModelSpec, aliases: Mapping[str, str]) -> str:
    name = asked.id if isinstance(asked, VoiceId) else asked
    if not isinstance(name, str):
        raise InputError(field, "an object needs a string in its field `id`")
    known = any(name == voice.name for voice in spec.voices)
    return name if known else aliases.get(name, aliases.get(name.lower(), name))


def plain_names(names: set[str]) -> tuple[str, ...]:
    """Names as a header can carry them, however a client chose them: plain, short and not too many."""
    cut = (
        name[:_MAX_NAME_CHARS] for name in names
    )  # quoting takes 0.1 s for a name as long as a body may be
    return tuple(sorted(quote(name, safe="")[:_MAX_NAME_CHARS] for name in cut)[:_MAX_NAMED_FIELDS])
