"""The first message of a connection as an order: the fields of POST /tts but the text, and what peers' clients send."""

from __future__ import annotations

from typing import Any

import msgspec

from serving.http.live.connection import POLICY, Refusal
from serving.models.base import ModelSpec
from serving.protocol import InputError
from serving.request import BodyError, Order, parse

_UNFIT = frozenset({"text", "format", "sample_rate_hz"})
"""Fields of POST /tts that have no place here: the message has names of its own, and the rate is the model's."""
PEERS_FIELDS = frozenset(
    {
        "model", "language", "instructions", "task_type", "ref_audio", "ref_text", "x_vector_only_mode",
        "speaker_embedding", "max_new_tokens", "max_tokens", "initial_codec_chunk_frames", "non_streaming_mode",
        "stream",
    }
)  # fmt: skip
"""Fields of other servers' clients that change nothing here."""


def order_of(fields: dict[str, Any], spec: ModelSpec) -> Order:
    """The order that the fields make, without its text. Fields that are null count as absent.

    Raises Refusal (code invalid_field), which names the field that is wrong.
    """
    sent = {name: value for name, value in fields.items() if value is not None}
    ignored = sorted(PEERS_FIELDS & set(sent))
    body = {name: value for name, value in sent.items() if name not in PEERS_FIELDS}
    if unfit := sorted(_UNFIT & set(body)):
        name = unfit[0]
        raise Refusal("invalid_field", f"{name}: not a field of this message", POLICY, field=name)
    try:
        order = parse(msgspec.json.encode({**body, "text": "-"}), spec)
    except InputError as error:
        raise Refusal(
            "invalid_field", f"{error.field[:60]}: {error}", POLICY, field=error.field[:200]
        ) from None
    except BodyError as error:
        raise Refusal("malformed_message", str(error), POLICY) from None
    return msgspec.structs.replace(order, ignored_fields=tuple(sorted({*order.ignored_fields, *ignored})))


def text_of(message: dict[str, Any]) -> str:
    """The text of a message. Raises Refusal if it has none."""
    text = message.get("text")
    if not isinstance(text, str):
        raise Refusal("invalid_field", "text: required, a string", POLICY, field="text")
    return text
