"""The first message of a connection as an order: the fields of POST /v1/audio/speech but the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from serving.audio.encode import AudioFormat
from serving.http.live.connection import POLICY, Refusal
from serving.models.base import ModelSpec
from serving.openai import parse_speech
from serving.protocol import InputError
from serving.request import BodyError, Order

_ELSEWHERE = {
    "input": "the text has messages of its own",
    "text": "the text has messages of its own",
    "format": "here it is called `response_format`",
}
_NO_EFFECT = frozenset({"stream", "stream_format"})
"""Fields of POST /v1/audio/speech that mean nothing where the answer is no HTTP response."""


def order_of(
    fields: Mapping[str, Any], spec: ModelSpec, voice_aliases: Mapping[str, str], default_format: AudioFormat
) -> Order:
    """The order that the fields make, without its text. What POST /v1/audio/speech ignores is ignored here.

    Raises Refusal (code invalid_field), which names the field that is wrong.
    """
    for name, hint in _ELSEWHERE.items():
        if name in fields:
            raise Refusal("invalid_field", f"{name}: not a field of this message; {hint}", POLICY, field=name)
    idle = {name for name in _NO_EFFECT if fields.get(name) is not None}
    body = {name: value for name, value in fields.items() if name not in _NO_EFFECT}
    try:
        call = parse_speech(
            msgspec.json.encode({**body, "input": "-"}),
            spec,
            None,
            voice_aliases,
            default_format=default_format,
            pcm_rate_hz=None,
        )
    except InputError as error:
        text = f"{error.field[:60]}: {error}"
        raise Refusal("invalid_field", text, POLICY, field=error.field[:200]) from None
    except BodyError as error:
        raise Refusal("malformed_message", str(error), POLICY) from None
    return msgspec.structs.replace(
        call.order, ignored_fields=tuple(sorted({*call.order.ignored_fields, *idle}))
    )


def text_of(message: dict[str, Any]) -> str:
    """The text of a message. Raises Refusal if it has none."""
    text = message.get("text")
    if not isinstance(text, str):
        raise Refusal("invalid_field", "text: required, a string", POLICY, field="text")
    return text
