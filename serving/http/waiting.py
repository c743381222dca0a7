"""Work for a client, for as long as it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from litestar import Response
from litestar.types import Receive

from serving.audio.encode import encoded_whole
from serving.engine.client import Utterance
from serving.http.timed import timed_whole
from serving.request import Order

if TYPE_CHECKING:
    from serving.http.speech import Speaker

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed the connection; nobody reads the answer."""


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end and return its result.

    Raises ClientGone, and cancels the work, as soon as the client closes the connection. The body has been read.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def whole_answer(
    speaker: Speaker, order: Order, utterance: Utterance, receive: Receive, headers: dict[str, str]
) -> Response[bytes]:
    """The answer of a request that is sent when its audio is complete. Raises ClientGone, SpeechFailed."""
    if order.params.timestamps != "none":
        return await while_connected(receive, timed_whole(speaker, order, utterance, headers))
    encoder = await speaker.encoder(order)
    work = encoded_whole(encoder, speaker.engine.chunks(utterance))
    audio, count = await while_connected(receive, work)
    return Response(
        audio,
        media_type=encoder.media_type,
        headers=headers | {"X-Audio-Seconds": f"{count / speaker.spec.sample_rate_hz:.3f}"},
    )
