"""POST /v1/audio/speech/batch: many texts in one request, spoken together, each answered for itself."""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation
from litestar.params import RawBody
from litestar.response import Stream

from serving.access.usage import RateLimited
from serving.audio.files import suffix_of
from serving.batch import Batch, Counts, Index, ItemResult, parse_batch
from serving.engine.client import Utterance
from serving.engine.many import Failure, Job, Many
from serving.http.access.door import SPEAKS
from serving.http.batch.packing import MultipartPacker, Packer, ZipPacker
from serving.http.problems import STATUS_OF_FAILURE
from serving.http.speech import UNBUFFERED, AnyRequest, Speaker, abort_on_exit, json_only, request_id
from serving.http.timed import collected
from serving.observe.words import described
from serving.openai import THEIR_NAMES, SpeechCall
from serving.profile import Profile
from serving.protocol import InputError, NotReady, Overloaded, SpeechFailed
from serving.request import dropped_scripts

logger = logging.getLogger(__name__)

Made = tuple[ItemResult, bytes]
"""An item's result, and its audio, empty for one that failed."""


def batch_route(
    speaker: Speaker, profile: Profile, operation: type[Operation], responses: dict[int, ResponseSpec]
) -> HTTPRouteHandler:
    """The handler, documented by `operation` and `responses`."""
    limits = profile.batch

    @post(
        "/v1/audio/speech/batch",
        status_code=200,
        guards=[json_only],
        opt=SPEAKS,
        operation_class=operation,
        responses=responses,
    )
    async def speech_batch(body: RawBody, request: AnyRequest) -> Stream:
        """Speak many texts at once. An item that cannot be spoken fails alone; the answer tells why.

        The answer is vLLM-Omni's JSON object with the audio in Base64; with `output` zip or multipart it is files and
        an index.json, each file sent when its text has been spoken.
        """
        batch = parse_batch(
            body, speaker.spec, speaker.text.max_chars, profile.http.voice_aliases, limits.max_items
        )
        jobs = (
            _job(speaker, index, call)
            for index, call in enumerate(batch.items)
            if isinstance(call, SpeechCall)
        )
        many = Many(speaker.engine, jobs, speaker.engine.profile, limits.timeout_s)
        abort_on_exit(request, many.abort)
        await many.begin()
        name = request_id(request)
        headers = {"X-Request-Id": name, "Cache-Control": "no-store"} | UNBUFFERED
        if batch.ignored_fields:
            headers["X-Ignored-Fields"] = ", ".join(batch.ignored_fields)
        if batch.output == "json":
            return Stream(_json(speaker, batch, many, name), media_type="application/json", headers=headers)
        packer: Packer = ZipPacker() if batch.output == "zip" else MultipartPacker()
        if batch.output == "zip":
            headers["Content-Disposition"] = 'attachment; filename="speech.zip"'
        return Stream(
            _files(speaker, batch, many, name, packer), media_type=packer.media_type, headers=headers
        )

    return speech_batch


def _job(speaker: Speaker, index: int, call: SpeechCall) -> Job:
    order = call.order
    return Job(index, order.params, speaker.segments(order), order.audio_s)


async def _audio(speaker: Speaker, index: int, call: SpeechCall, utterance: Utterance) -> Made:
    order = call.order
    taken = await collected(speaker, order, utterance)
    result = ItemResult(
        index=index,
        status="success",
        file=f"{index:03}{suffix_of(order.audio_format)}",
        media_type=taken.media_type,
        audio_seconds=round(taken.samples / speaker.spec.sample_rate_hz, 3),
        sample_rate_hz=order.output_rate_hz,
        voice=order.params.voice,
        seed=order.params.seed,
        speed=call.speed,
        ignored_fields=order.ignored_fields,
        dropped_text=dropped_scripts(order, speaker.spec),
        sentences=taken.sentences,
    )
    return result, taken.audio


def _failed(index: int, error: Failure) -> ItemResult:
    """The result of an item that was not spoken, with what it alone would have been answered."""
    param = None
    match error:
        case InputError(field=field):
            status, code = 400, "invalid_field"
            param = field if field.startswith("items[") else f"items[{index}].{THEIR_NAMES.get(field, field)}"
        case SpeechFailed(code=reason):
            status, code = STATUS_OF_FAILURE[reason], reason
            logger.warning("item %d of a batch failed (%s): %s", index, reason, described(error))
        case NotReady():
            status, code = 503, "not_ready"
        case RateLimited():
            status, code = 429, "rate_limit_exceeded"
        case Overloaded():
            status, code = 503, "overloaded"
    return ItemResult(
        index=index,
        status="error",
        error=error.told if isinstance(error, SpeechFailed | NotReady) else str(error),
        error_status=status,
        error_code=code,
        error_param=param and param[:200],
    )


def _counts(results: list[ItemResult]) -> Counts:
    succeeded = sum(result.status == "success" for result in results)
    return Counts(total=len(results), succeeded=succeeded, failed=len(results) - succeeded)


async def _json(speaker: Speaker, batch: Batch, many: Many, name: str) -> AsyncIterator[bytes]:
    """vLLM-Omni's object, its results in the order of the items."""
    yield f'{{"id":{msgspec.json.encode(name).decode()},"results":['.encode()
    # An item that ends early waits for those before it, unread, where admission counts it.
    waiting: dict[int, Utterance | Failure] = {
        index: item for index, item in enumerate(batch.items) if isinstance(item, InputError)
    }
    results: list[ItemResult] = []
    ended = aiter(many)
    while len(results) < len(batch.items):
        index = len(results)
        while index not in waiting:
            key, spoken = await anext(ended)
            waiting[key] = spoken
        result, audio = await _one(speaker, batch, index, waiting.pop(index))
        results.append(msgspec.structs.replace(result, sentences=[]))
        data = base64.b64encode(audio).decode("ascii") if audio else None
        sent = msgspec.structs.replace(result, file=None, audio_data=data)
        yield (b"," if index else b"") + msgspec.json.encode(sent)
    yield b"]," + msgspec.json.encode(_counts(results))[1:]


async def _one(speaker: Speaker, batch: Batch, index: int, spoken: Utterance | Failure) -> Made:
    if isinstance(spoken, Utterance):
        call = batch.items[index]
        assert isinstance(call, SpeechCall)
        try:
            return await _audio(speaker, index, call, spoken)
        except SpeechFailed as error:
            spoken = error
    return _failed(index, spoken), b""


async def _files(
    speaker: Speaker, batch: Batch, many: Many, name: str, packer: Packer
) -> AsyncIterator[bytes]:
    """A file for each item, as they end, and the index."""
    yield b""  # sends the headers at once
    results = [_failed(index, item) for index, item in enumerate(batch.items) if isinstance(item, InputError)]
    async for index, spoken in many:
        result, audio = await _one(speaker, batch, index, spoken)
        results.append(result)
        if result.file is not None:
            yield packer.add(result.file, result.media_type or "", audio)
    results.sort(key=lambda result: result.index)
    counts = _counts(results)
    index_json = Index(
        id=name, results=results, total=counts.total, succeeded=counts.succeeded, failed=counts.failed
    )
    yield packer.add("index.json", "application/json", msgspec.json.encode(index_json)) + packer.end()
