"""A body of POST /v1/audio/speech/batch to many orders. No litestar, no torch.

Its shape is vLLM-Omni's: `items`, each with an `input` and fields of its own, and beside them the fields that hold for
every item that does not say otherwise. What is wrong with the body, or with what holds for all, refuses the whole
batch; what is wrong with an item is told for this item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from serving.captions import Sentence
from serving.models import inline_schema
from serving.models.base import ModelSpec
from serving.openai import SpeechCall, parse_speech
from serving.protocol import InputError
from serving.request import BodyError, decode

Output = Literal["json", "zip", "multipart"]

DEFAULT_FORMAT = "wav"
"""vLLM-Omni's for a batch; a single request of OpenAI's API has mp3."""

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ALONE = ("stream", "stream_format")
"""Fields of a single request that a batch has no use for."""
_TEXT_OF_ALL = b'"."'
"""Stands for the text while the fields that hold for all items are checked."""


class BatchBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch has besides the fields that hold for all its items."""

    items: Annotated[
        list[msgspec.Raw], Meta(min_length=1, description="Objects with `input` and fields of their own.")
    ]
    output: Annotated[
        Output | None,
        Meta(
            description="json: one object with the audio in Base64. zip, multipart: files, each sent when it is ready."
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A checked batch."""

    items: list[SpeechCall | InputError]
    """In the order of the body; what is wrong with an item names its field as `items[3].input`."""
    output: Output
    ignored_fields: tuple[str, ...]
    """Of those that hold for all items, the ones that change nothing."""


class ItemResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of an item. `index`, `status`, `audio_data`, `media_type` and `error` are vLLM-Omni's."""

    index: int
    status: Literal["success", "error"]
    file: str | None = None
    """Its name in a zip or multipart answer."""
    audio_data: str | None = None
    """Base64, in a JSON answer."""
    media_type: str | None = None
    audio_seconds: float | None = None
    sample_rate_hz: int | None = None
    voice: str | None = None
    seed: int | None = None
    """The seed that gives the same samples again."""
    speed: float | None = None
    ignored_fields: tuple[str, ...] = ()
    dropped_text: tuple[str, ...] = ()
    """Scripts whose letters the voice left out."""
    sentences: list[Sentence] = []
    """When they are spoken, for an item with `timestamps`."""
    error: str | None = None
    error_status: int | None = None
    """What the item alone would have been answered with."""
    error_code: str | None = None
    error_param: str | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many items there were, and what became of them."""

    total: int
    succeeded: int
    failed: int


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """index.json of a zip or multipart answer; the whole of a JSON answer."""

    id: str
    results: list[ItemResult]
    total: int
    succeeded: int
    failed: int


def parse_batch(
    body: bytes, spec: ModelSpec, max_chars: int | None, aliases: Mapping[str, str], max_items: int
) -> Batch:
    """Decode a body of POST /v1/audio/speech/batch.

    Raises InputError naming a field that is wrong for the whole batch, BodyError if the body is no JSON object.
    """
    if not body:
        raise BodyError("the body is empty; send a JSON object with a field `items`")
    asked, sent = decode(body, BatchBody)
    if len(asked.items) > max_items:
        raise InputError("items", f"{len(asked.items)} items; the limit is {max_items}")
    shared = {
        name: value
        for name, value in _FIELDS.decode(body.decode("utf-8-sig")).items()
        if name not in ("items", "output") and bytes(value) != b"null"
    }
    if "input" in sent:
        raise InputError("input", "stands in each of `items`, not beside them")
    shared.setdefault("response_format", msgspec.Raw(msgspec.json.encode(DEFAULT_FORMAT)))
    for_all = _call({**shared, "input": msgspec.Raw(_TEXT_OF_ALL)}, spec, max_chars, aliases)
    items = [_item(index, raw, shared, spec, max_chars, aliases) for index, raw in enumerate(asked.items)]
    return Batch(items, asked.output or "json", for_all.order.ignored_fields)


def batch_schema(item: dict[str, Any], max_items: int) -> dict[str, Any]:
    """JSON schema of a body whose items are bodies of this schema. What else an item may be is an error of its own."""
    schema = inline_schema(BatchBody)
    fields = {name: field for name, field in item["properties"].items() if name not in _ALONE}
    item = item | {"properties": fields}
    item_of_batch = {
        "anyOf": [item, {"description": "Anything else: the result of this item tells what is wrong."}]
    }
    shared = {name: field for name, field in fields.items() if name != "input"}
    schema["properties"] = {**shared, **schema["properties"], "input": False}
    schema["properties"]["items"] |= {"items": item_of_batch, "maxItems": max_items}
    if "anyOf" in item:
        schema["anyOf"] = item["anyOf"]
    return schema


def _item(
    index: int,
    raw: msgspec.Raw,
    shared: dict[str, msgspec.Raw],
    spec: ModelSpec,
    max_chars: int | None,
    aliases: Mapping[str, str],
) -> SpeechCall | InputError:
    where = f"items[{index}]"
    try:
        own = _FIELDS.decode(raw)
    except msgspec.ValidationError:
        return InputError(where, "expected an object with a field `input`")
    sent = {name: value for name, value in own.items() if bytes(value) != b"null"}
    try:
        return _call({**shared, **sent}, spec, max_chars, aliases)
    except InputError as error:
        return InputError(f"{where}.{error.field}", str(error))
    except BodyError as error:
        return InputError(where, str(error))


def _call(
    fields: dict[str, msgspec.Raw], spec: ModelSpec, max_chars: int | None, aliases: Mapping[str, str]
) -> SpeechCall:
    return parse_speech(msgspec.json.encode(fields), spec, max_chars, aliases)
