"""A request body to an order for the engine, strictly checked; each error names its field. No litestar, no torch.

What may stand in a body is made from two declarations: SpeechRequest, which every model shares, and the Fields of
the model that is served. A field of another model of the package is checked too, ignored and named in the answer.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from serving.audio.encode import AudioFormat, OutputRate, output_rate_hz
from serving.models import describe_use, extended, inline_schema, voice_fields
from serving.models.base import ModelSpec, RequestFields
from serving.profile import ProfileError, TextProfile
from serving.protocol import InputError, SpeechParams, Timestamps
from serving.text import Lexicon, LexiconError, Sentence, TextFormat, foreign_scripts, read
from serving.text.pauses import with_leads
from serving.text.scripts import text_language
from serving.text.words import spoken_characters


class SpeechRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Say this, this way."""

    text: Annotated[str, Meta(min_length=1, description="What to say. GET /voices tells the longest text.")]
    voice: Annotated[
        str | None, Meta(description="A name from GET /voices; the model's default without it.")
    ] = None
    seed: Annotated[
        Annotated[int, Meta(ge=-1, le=2**63 - 1)] | None,
        Meta(description="Same seed, text and voice: same samples. -1 or absent: one is drawn, see X-Seed."),
    ] = None
    text_format: Annotated[
        TextFormat,
        Meta(
            description="How the text is marked up. auto: plain text whose stray markup is recognised and not spoken."
        ),
    ] = "auto"
    normalize: Annotated[
        bool,
        Meta(description="Write out numbers, abbreviations and symbols; false speaks the text as it is."),
    ] = True
    timestamps: Annotated[
        Timestamps,
        Meta(description="Tell when each sentence or word is spoken; the answer is multipart/mixed."),
    ] = "none"
    format: Annotated[
        AudioFormat,
        Meta(description="All mono. pcm: bare signed 16-bit little-endian; mulaw, alaw: G.711 at 8 kHz."),
    ] = "wav"
    sample_rate_hz: Annotated[
        OutputRate | None,
        Meta(description="Of the answer; the model's without it. opus is always 48000, mulaw and alaw 8000."),
    ] = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a checked request asks for."""

    text: str
    text_format: TextFormat
    params: SpeechParams
    audio_format: AudioFormat
    asked_seed: int | None = None
    """As the client wrote it: None without one, -1 if one is to be drawn."""
    output_rate_hz: int
    """Samples per second of the answer once decoded."""
    audio_s: float
    """Seconds of speech that the text will make, by its length; for admission and progress bars."""
    ignored_fields: tuple[str, ...]
    """The fields that the client wrote and that change nothing with this model, sorted."""


class BodyError(ValueError):
    """The body is not a JSON object in UTF-8."""


T = TypeVar("T", bound=msgspec.Struct)

_KEYS = msgspec.json.Decoder(dict[str, msgspec.Raw])

_AT_FIELD = re.compile(r" - at `\$\.(\w+)(?:\[[\d.]+\])?`$")
_UNKNOWN_FIELD = re.compile(r"unknown field `(.*)`$", re.DOTALL)
_MISSING_FIELD = re.compile(r"missing required field `(\w+)`")
_TYPES = re.compile(r"`([a-z]+(?: \| [a-z]+)*)`")
_FLOAT_FOR_INT = "got `float`"
MAX_FIELDS = 1000  # of a body; more are no mistake
_LONGEST_MISSPELT = 100
_LONGEST_MESSAGE = 1000
_ELSEWHERE = {
    "input": "text",
    "prompt": "text",
    "response_format": "format",
    "audio_format": "format",
    "rate": "speed",
    "sample_rate": "sample_rate_hz",
}
"""What other servers call a field, and its name here."""
_JSON_WORDS = {
    "float": "a number",
    "int": "an integer",
    "str": "a string",
    "bool": "a boolean",
    "null": "null",
    "array": "an array",
    "object": "an object",
}


def parse(body: bytes, spec: ModelSpec, max_chars: int | None = None) -> Order:
    """Decode a request body: the model's default voice where it names none, a drawn seed where it has none.

    `max_chars` is the longest text that is taken; None takes any.

    Raises InputError naming the field that is wrong, BodyError if the body is no JSON object at all.
    """
    request, sent = decode(body, request_type(spec.fields))
    if not request.text.strip():
        raise InputError("text", "empty, there is nothing to say")
    if max_chars is not None and len(request.text) > max_chars:
        raise too_long(request.text, max_chars)
    if request.timestamps == "word" and not spec.word_times:
        raise InputError(
            "timestamps", f"the model {spec.name} does not tell when words are spoken; ask for sentence"
        )
    own = spec.fields(**{name: getattr(request, name) for name in spec.fields.__struct_fields__})
    check_own(own, spec)
    _check_voices(request, spec)
    return Order(
        text=request.text,
        text_format=request.text_format,
        params=SpeechParams(
            voice=spec.default_voice if request.voice is None else request.voice,
            seed=secrets.randbits(32) if request.seed in (None, -1) else request.seed,
            normalize=request.normalize,
            timestamps=request.timestamps,
            fields=own,
        ),
        asked_seed=request.seed,
        audio_format=request.format,
        output_rate_hz=output_rate_hz(request.format, spec.sample_rate_hz, request.sample_rate_hz),
        audio_s=spoken_characters(request.text) * spec.seconds_per_char / getattr(own, "speed", 1.0),
        ignored_fields=tuple(sorted(sent - used_fields(spec))),
    )


def sentences(
    order: Order, spec: ModelSpec, text: TextProfile, lexicon: Lexicon | None
) -> Iterator[Sentence]:
    """The order's text as sentences of words, lazily.

    Raises InputError (field "text") at the end of a text that held nothing to speak; it names the scripts that
    the voice cannot speak.
    """
    spoken = read(
        order.text,
        text_format=order.text_format,
        language=language_of(order, spec),
        normalize=order.params.normalize,
        lexicon=lexicon,
    )
    empty = True
    speed = getattr(order.params.fields, "speed", 1.0)
    for sentence in with_leads(spoken, text.pauses):
        empty = False
        yield sentence if speed == 1.0 else replace(sentence, lead_s=sentence.lead_s / speed)
    if empty:
        dropped = dropped_scripts(order, spec)
        unspoken = f"the model {spec.name} does not speak {', '.join(dropped)}"
        raise InputError("text", unspoken if dropped else "there is nothing to speak")


def spoken_languages(spec: ModelSpec, fields: RequestFields) -> tuple[str, ...]:
    """What text_language chooses from: the model's languages, or the one that the request's own field names."""
    named = getattr(fields, "language", "auto")
    return spec.languages if named == "auto" else (named,)


def language_of(order: Order, spec: ModelSpec) -> str:
    """Primary tag of the language that the order's text is read in."""
    return text_language(order.text, spoken_languages(spec, order.params.fields))


def too_long(text: str, max_chars: int) -> InputError:
    """The refusal of a text of more than max_chars characters."""
    return InputError("text", f"{len(text)} characters long; the limit is {max_chars}")


def load_lexicon(text: TextProfile) -> Lexicon | None:
    """The lexicon of a profile, if it names one. Raises ProfileError, which names the file and the entry."""
    try:
        return Lexicon.load(Path(text.lexicon)) if text.lexicon else None
    except LexiconError as error:
        raise ProfileError(f"text.lexicon: {error}") from None


def dropped_scripts(order: Order, spec: ModelSpec) -> tuple[str, ...]:
    """Names of the scripts of which the text has letters that are left out."""
    return foreign_scripts(order.text, language_of(order, spec)) if order.params.normalize else ()


def used_fields(spec: ModelSpec) -> frozenset[str]:
    """Request fields that change this model's audio; the answer names the other fields a client sent."""
    return _used(spec.fields, spec.seeded)


@functools.cache
def _used(own: type[RequestFields], seeded: bool) -> frozenset[str]:
    common = SpeechRequest.__struct_fields__
    return frozenset((*common, *own.__struct_fields__)) - (frozenset() if seeded else {"seed"})


def request_schema(spec: ModelSpec) -> dict[str, Any]:
    """JSON schema of a request body for this model. Fields that it ignores say so."""
    schema = inline_schema(request_type(spec.fields))
    describe_use(schema["properties"], spec, used_fields(spec))
    return schema


@functools.cache
def request_type(own: type[RequestFields]) -> type[SpeechRequest]:
    """The struct that a body is decoded to."""
    return extended(SpeechRequest, own)


@functools.cache
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind, strict=True)


def decode(body: bytes, kind: type[T]) -> tuple[T, frozenset[str]]:
    """A body as a struct of this kind, and the names of the fields that the client wrote.

    Raises InputError naming the field that is wrong, BodyError if the body is no JSON object at all.
    """
    if not body:
        raise BodyError("the body is empty; send a JSON object with a field `text`")
    try:
        text = body.decode("utf-8-sig")  # RFC 8259 lets a reader skip a byte order mark
    except UnicodeDecodeError as error:
        raise BodyError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        request = _decoder(kind).decode(text)
    except msgspec.ValidationError as error:
        whole = _with_integers(text, kind) if _FLOAT_FOR_INT in str(error) else None
        if whole is None:
            raise field_error(str(error), kind.__struct_fields__) from None
        request = whole
    except msgspec.DecodeError as error:
        raise _json_error(text, str(error)) from None
    except RecursionError:
        raise BodyError("the body is nested too deeply") from None
    sent = frozenset(_KEYS.decode(text))
    if len(sent) > MAX_FIELDS:
        raise BodyError(f"the body has {len(sent)} fields; the limit is {MAX_FIELDS}")
    return request, sent


def _with_integers(text: str, kind: type[T]) -> T | None:
    """The struct of a body in which an integer is written as 20.0, as JSON Schema has it; None if more is wrong."""
    try:
        tree = msgspec.json.decode(text)
        if not isinstance(tree, dict):
            return None
        fields = {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in tree.items()
        }
        return msgspec.convert(fields, kind)
    except (msgspec.DecodeError, RecursionError):  # behind the number there may be no JSON at all
        return None


def _check_voices(request: SpeechRequest, spec: ModelSpec) -> None:
    for field in voice_fields(spec.fields):
        name = getattr(request, field)
        if field == "voice" and name is None:
            name = spec.default_voice
        if name is not None:
            check_voice(field, name, spec)


def check_voice(field: str, name: str, spec: ModelSpec) -> None:
    """Raise InputError of `field` unless the model has a voice so named."""
    if all(name != voice.name for voice in spec.voices):
        names = ", ".join(voice.name for voice in spec.voices)
        raise InputError(field, f"no voice is called {name[:60]!r}; there are {names}")


def check_own(own: RequestFields, spec: ModelSpec) -> None:
    """Raise InputError naming a field of the model's own that is blank, or that this server cannot do."""
    for name, why in spec.unavailable.items():
        if getattr(own, name) is not None:
            raise InputError(name, why)
    for name, most in spec.at_most.items():
        if getattr(own, name) > most:
            raise InputError(name, f"must be at most {most}")
    for name in own.__struct_fields__:
        value = getattr(own, name)
        if isinstance(value, str) and not value.strip():
            raise InputError(name, "is empty")


def field_error(message: str, names: tuple[str, ...]) -> InputError | BodyError:
    """Say what msgspec found in the words of JSON. `names` are the fields that there are."""
    if len(message) > _LONGEST_MESSAGE:  # it repeats a name that the client wrote
        message = f"{message[: _LONGEST_MESSAGE // 2]}…{message[-_LONGEST_MESSAGE // 2 :]}"
    if unknown := _UNKNOWN_FIELD.search(message):
        near = [_ELSEWHERE[unknown[1]]] if unknown[1] in _ELSEWHERE else []
        if len(unknown[1]) <= _LONGEST_MISSPELT:  # difflib's time grows with the name
            near += difflib.get_close_matches(unknown[1], names, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"the fields are {', '.join(names)}"
        return InputError(unknown[1], f"not a field of a request; {hint}")
    if missing := _MISSING_FIELD.search(message):
        return InputError(missing[1], "required")
    at = _AT_FIELD.search(message)
    reason = _AT_FIELD.sub("", message)
    reason = _TYPES.sub(
        lambda match: " or ".join(_JSON_WORDS.get(w, w) for w in match[1].split(" | ")), reason
    )
    reason = reason[0].lower() + reason[1:]
    return InputError(at[1], reason) if at else BodyError(f"the body is wrong: {reason}")


def _json_error(text: str, message: str) -> InputError | BodyError:
    """Name the field behind malformed JSON where Python's laxer reader can tell: NaN and lone surrogates."""
    try:
        tree: Any = json.loads(text)
    except (ValueError, RecursionError):
        return BodyError(f"the body is not JSON: {message}")
    for key, value in tree.items() if isinstance(tree, dict) else ():
        key = key.encode(errors="replace").decode()  # an answer is UTF-8
        if isinstance(value, float) and not math.isfinite(value):
            return InputError(key, f"expected a finite number, got {value}")
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            return InputError(key, "half of a surrogate pair is no character")
    return BodyError(f"the body is not JSON: {message}")
