"""Answers from the cache, where the profile has one (cache.max_bytes), and what is made into it.

A request without a seed may be answered by what another one drew; X-Seed tells that seed. A seed of -1 asks for one to
be drawn, and its answer is neither looked for nor kept. Cache-Control of a request: no-store passes the cache by,
no-cache makes the answer anew and keeps it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from litestar import Response
from litestar.response import Stream

from serving.cache.file import Hit
from serving.cache.key import answer_key, server_digest
from serving.cache.store import AnswerStore, Recording
from serving.engine.client import EngineClient
from serving.http.speech import UNBUFFERED, AnyRequest, abort_on_exit
from serving.models.base import ModelSpec
from serving.profile import Profile, ProfileError
from serving.protocol import InputError
from serving.request import Order

logger = logging.getLogger(__name__)

Answer = Response[bytes] | Stream

KEPT_HEADERS = ("X-Seed", "X-Audio-Seconds")
"""Of an answer, those that belong to its samples."""


class AnswerCache:
    """Stands before the engine for one server."""

    def __init__(self, profile: Profile, spec: ModelSpec, engine: EngineClient) -> None:
        """Raises ProfileError if the profile names no folder."""
        if not profile.cache.folder:
            raise ProfileError(
                "cache.folder: not set; cache.max_bytes is, so name the folder to keep answers in"
            )
        self.store = AnswerStore(Path(profile.cache.folder), profile.cache.max_bytes)
        self._profile = profile
        self._spec = spec
        self._engine = engine
        self._server: asyncio.Future[str] | None = None

    def renew(self, profile: Profile) -> None:
        """Answers are made by another profile from now on. What an answer begun before made is not kept."""
        self._profile = profile
        self._server = None
        self._preparing = asyncio.create_task(self.prepare())

    async def prepare(self) -> None:
        """Read the weights once, for their digest; until then requests pass the cache by. Call it at the start."""
        self._server = asyncio.ensure_future(asyncio.to_thread(server_digest, self._profile))
        try:
            await self._server
        except Exception as error:
            self.store.failed("the server's digest cannot be made", error)

    async def answer(
        self,
        order: Order,
        request: AnyRequest,
        headers: dict[str, str],
        fresh: Callable[[dict[str, str]], Awaitable[Answer]],
        *,
        whole: bool,
    ) -> Answer:
        """The kept answer of an order, or what `fresh` makes with the headers that it is given."""
        directives = {word.strip() for word in request.headers.get("cache-control", "").lower().split(",")}
        key = None if "no-store" in directives else await self._key(order, whole=whole)
        if key is None:
            return await fresh(headers | {"X-Cache": "bypass"})
        if not directives & {"no-cache", "max-age=0"}:
            hit = await asyncio.to_thread(self.store.find, key)
            if hit is not None:
                abort_on_exit(request, hit.close)
                return _kept(hit, headers, whole=whole)
        made = await fresh(headers | {"X-Cache": "miss"})
        recording = self.store.record(key, made.media_type or "")
        abort_on_exit(request, recording.drop)
        kept = {name: value for name, value in made.headers.items() if name in KEPT_HEADERS}

        async def commit() -> None:
            # A voice may have been replaced while it spoke: then nobody knows which of the two did.
            if await self._key(order, whole=whole) == key:
                await asyncio.to_thread(recording.commit, kept)

        if isinstance(made, Stream):
            made.iterator = _recorded(made.iterator, recording, commit)  # type: ignore[arg-type]
        else:
            await asyncio.to_thread(recording.add, made.content)
            await commit()
        return made

    async def _key(self, order: Order, *, whole: bool) -> str | None:
        """None where nothing may be kept: a seed is to be drawn, or it is not known yet who would speak."""
        engine = self._engine.info
        drawn = self._spec.seeded and order.asked_seed == -1
        if drawn or engine is None or self._server is None or not self._server.done():
            return None
        if self._server.cancelled() or self._server.exception() is not None:
            return None
        server = self._server.result()
        try:
            return await asyncio.to_thread(
                answer_key, server, self._profile, self._spec, order, engine, whole=whole
            )
        except InputError:
            return None  # a recording is gone: the engine says so in its own words
        except Exception as error:
            self.store.failed("a key cannot be made", error)
            return None


def _kept(hit: Hit, headers: dict[str, str], *, whole: bool) -> Stream:
    """A kept answer, in pieces as the client takes them: what many do not take must not lie in memory."""
    age_s = max(0, int(time.time() - hit.meta.made_at_s))
    headers = headers | hit.meta.headers | {"X-Cache": "hit", "Age": str(age_s)}
    headers |= {"Content-Length": str(hit.size_bytes)} if whole else UNBUFFERED

    async def pieces() -> AsyncIterator[bytes]:
        for piece in hit.pieces():
            yield piece

    return Stream(pieces(), media_type=hit.meta.media_type, headers=headers)


async def _recorded(
    pieces: AsyncIterator[bytes], recording: Recording, commit: Callable[[], Awaitable[None]]
) -> AsyncIterator[bytes]:
    """The same pieces, each kept once it was sent; what does not reach its end is dropped when the call ends."""
    async for piece in pieces:
        yield piece
        if piece:
            await asyncio.to_thread(recording.add, piece)
    await commit()
