"""POST /spell and POST /tts/captions: what will be said, and when."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation
from litestar.params import RawBody

from serving import captions
from serving.http.access.door import SPEAKS
from serving.http.speech import AnyRequest, Speaker, json_only
from serving.http.timed import JSON, sentence_of
from serving.http.waiting import while_connected
from serving.protocol import SpeechFailed, Times
from serving.request import parse
from serving.spell import Spelled, parse_spell, spell

SPELL_S = 10.0
"""The texts that came before it may take so long."""
CAPTION_FORMATS = {
    JSON: captions.as_json,
    "text/vtt": captions.as_webvtt,
    "application/x-subrip": captions.as_srt,
}


def text_routes(
    speaker: Speaker,
    spelling: type[Operation],
    captioning: type[Operation],
    responses: dict[int, ResponseSpec],
) -> list[HTTPRouteHandler]:
    """The two handlers, documented by `spelling`, `captioning` and `responses`."""
    shared: dict[str, Any] = {"status_code": 200, "guards": [json_only], "responses": responses}

    # One at a time: a thread of its own leaves those of the requests for speech alone.
    pool = ThreadPoolExecutor(1, "spell")

    @post("/spell", **shared, operation_class=spelling)
    async def spell_out(body: RawBody, request: AnyRequest) -> Spelled:
        """The words as they would go to the model, and the pauses between the sentences; nothing is spoken."""
        asked = parse_spell(body, speaker.text.max_chars)
        work = partial(
            spell, asked, speaker.spec, speaker.text, speaker.lexicon, speaker.engine.first_sounds.paced
        )

        async def spelled() -> Spelled:
            async with asyncio.timeout(SPELL_S):
                return await asyncio.get_running_loop().run_in_executor(pool, work)

        try:
            return await while_connected(request.receive, spelled())
        except TimeoutError:
            raise SpeechFailed("expired", f"the text was not spelled out within {SPELL_S:g} s") from None

    @post("/tts/captions", **shared, opt=SPEAKS, operation_class=captioning)
    async def tts_captions(body: RawBody, request: AnyRequest) -> Response[bytes]:
        """When each sentence and word of the same request to /tts is spoken.

        The answer is application/json, or by Accept text/vtt or application/x-subrip. The same seed gives the same
        times. Without `timestamps`, words are told by a model that knows them, else sentences.
        """
        order = parse(body, speaker.spec, speaker.text.max_chars)
        if order.params.timestamps == "none":
            params = msgspec.structs.replace(
                order.params, timestamps="word" if speaker.spec.word_times else "sentence"
            )
            order = msgspec.structs.replace(order, params=params)
        order, utterance = await speaker.speak(order, request, streaming=False)

        async def collect() -> list[captions.Sentence]:
            return [
                sentence_of(order, utterance, answer)
                async for answer in speaker.engine.answers(utterance)
                if isinstance(answer, Times)
            ]

        sentences = captions.joined(await while_connected(request.receive, collect()))
        wanted = _wanted(request)
        return Response(
            CAPTION_FORMATS[wanted](sentences),
            media_type=wanted,
            headers=speaker.headers(order, request),
        )

    return [spell_out, tts_captions]


def _wanted(request: AnyRequest) -> str:
    """The format of captions that Accept asks for; JSON where it cannot be read, as "q=1e999" cannot."""
    try:
        return request.accept.best_match(list(CAPTION_FORMATS), JSON)
    except (ValueError, ArithmeticError):
        return JSON
