"""The fields of a speech request, and errors that name the field. No litestar, no torch.

A body is decoded strictly or refused: a web framework would take "1.5" for a number.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import secrets
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from serving.audio.encode import AudioFormat
from serving.models.base import ModelSpec
from serving.protocol import InputError, SpeechParams


class SpeechRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Say this, this way."""

    text: Annotated[str, Meta(min_length=1, description="What to say. GET /voices tells the longest text.")]
    voice: Annotated[
        str | None, Meta(description="A name from GET /voices; the model's default without it.")
    ] = None
    speed: Annotated[
        float, Meta(ge=0.25, le=4.0, description="1 is the voice's own pace, 2 twice as fast.")
    ] = 1.0
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=2**63 - 1)] | None,
        Meta(description="Same seed, text and voice: same samples. Drawn without it; see X-Seed."),
    ] = None
    format: Annotated[
        AudioFormat,
        Meta(description="wav, or pcm: the bare samples, signed 16-bit little-endian mono."),
    ] = "wav"
    temperature: Annotated[float, Meta(ge=0.0, le=2.0, description="Sampling temperature.")] = 0.8
    top_p: Annotated[float, Meta(gt=0.0, le=1.0, description="Nucleus sampling mass.")] = 0.8
    top_k: Annotated[int, Meta(ge=1, le=1000, description="Sampling keeps this many candidates.")] = 30
    max_text_tokens_per_segment: Annotated[
        int, Meta(ge=20, le=600, description="Longer texts are cut into segments of at most this length.")
    ] = 120
    emo_text: Annotated[
        str | None,
        Meta(description="Speak in the mood of this text. Wins over emo_vector, which wins over emo_voice."),
    ] = None
    emo_vector: Annotated[
        Annotated[list[Annotated[float, Meta(ge=0.0, le=1.2)]], Meta(min_length=8, max_length=8)] | None,
        Meta(
            description="Weights of happy, angry, sad, afraid, disgusted, melancholic, surprised and calm. "
            "What they lack to 1 is the voice's own emotion."
        ),
    ] = None
    emo_voice: Annotated[
        str | None, Meta(description="Speak with the emotion of this voice, a name from GET /voices.")
    ] = None
    emo_alpha: Annotated[
        float, Meta(ge=0.0, le=1.0, description="Strength of the emotion; 0 is the voice's own.")
    ] = 1.0


FIELDS = SpeechRequest.__struct_fields__
_ALWAYS_USED = frozenset({"text", "voice", "format"})
_DECODER = msgspec.json.Decoder(SpeechRequest, strict=True)
_KEYS = msgspec.json.Decoder(dict[str, msgspec.Raw])

_AT_FIELD = re.compile(r" - at `\$\.(\w+)(?:\[[\d.]+\])?`$")
_UNKNOWN_FIELD = re.compile(r"unknown field `(.*)`$", re.DOTALL)
_MISSING_FIELD = re.compile(r"missing required field `(\w+)`")
_TYPES = re.compile(r"`([a-z]+(?: \| [a-z]+)*)`")
_JSON_WORDS = {
    "float": "a number",
    "int": "an integer",
    "str": "a string",
    "bool": "a boolean",
    "null": "null",
    "array": "an array",
    "object": "an object",
}


class BodyError(ValueError):
    """The body is not a JSON object in UTF-8."""


def parse(body: bytes) -> tuple[SpeechRequest, frozenset[str]]:
    """Decode a request body. Returns the request and the names of the fields that the client wrote.

    Raises InputError naming the field that is wrong, BodyError if the body is no JSON object at all.
    """
    if not body:
        raise BodyError("the body is empty; send a JSON object with a field `text`")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BodyError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        request = _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise _field_error(str(error)) from None
    except msgspec.DecodeError as error:
        raise _json_error(text, str(error)) from None
    if not request.text.strip():
        raise InputError("text", "empty, there is nothing to say")
    return request, frozenset(_KEYS.decode(text))


def speech_params(request: SpeechRequest, spec: ModelSpec) -> SpeechParams:
    """What the engine is told: the request with the model's default voice and a drawn seed where it has none.

    Raises InputError if this model cannot speak the request.
    """
    if len(request.text) > spec.max_text_chars:
        raise InputError("text", f"{len(request.text)} characters long; the limit is {spec.max_text_chars}")
    names = [voice.name for voice in spec.voices]
    if request.voice is not None and request.voice not in names:
        raise InputError("voice", f"no voice is called {request.voice[:60]!r}; there are {', '.join(names)}")
    if request.emo_voice is not None and "emo_voice" in spec.used_fields and request.emo_voice not in names:
        raise InputError(
            "emo_voice", f"no voice is called {request.emo_voice[:60]!r}; there are {', '.join(names)}"
        )
    return SpeechParams(
        voice=spec.default_voice if request.voice is None else request.voice,
        seed=secrets.randbits(32) if request.seed is None else request.seed,
        speed=request.speed,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        max_text_tokens_per_segment=request.max_text_tokens_per_segment,
        emo_text=request.emo_text,
        emo_vector=None if request.emo_vector is None else tuple(request.emo_vector),
        emo_voice=request.emo_voice,
        emo_alpha=request.emo_alpha,
    )


def expected_audio_s(request: SpeechRequest, spec: ModelSpec) -> float:
    """Seconds of speech that the text will make, by its length; for admission and progress bars."""
    return len(request.text) * spec.seconds_per_char / request.speed


def ignored_fields(sent: frozenset[str], spec: ModelSpec) -> list[str]:
    """The fields that the client wrote and that change nothing with this model, sorted."""
    return sorted(sent - _ALWAYS_USED - spec.used_fields)


def _field_error(message: str) -> InputError | BodyError:
    """Say what msgspec found in the words of JSON."""
    if unknown := _UNKNOWN_FIELD.search(message):
        near = difflib.get_close_matches(unknown[1], FIELDS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"the fields are {', '.join(FIELDS)}"
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
        if isinstance(value, float) and not math.isfinite(value):
            return InputError(key, f"expected a finite number, got {value}")
        if isinstance(value, str) and _has_surrogate(value):
            return InputError(key, "half of a surrogate pair is no character")
    return BodyError(f"the body is not JSON: {message}")


def _has_surrogate(value: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in value)
