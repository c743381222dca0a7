"""Another profile for a server that speaks: its engine is followed by a new one, and no stream is cut."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from serving.engine.client import EngineClient, EngineUnavailable
from serving.engine.life.succession import check_fixed
from serving.http.cached import AnswerCache
from serving.http.speech import Speaker
from serving.models import load_frontend
from serving.profile import Profile, ProfileError

logger = logging.getLogger(__name__)


class Change:
    """Reads the profile again when it is asked to. What came of it, the log says."""

    def __init__(
        self,
        speaker: Speaker,
        cache: AnswerCache | None,
        reread: Callable[[], Profile],
    ) -> None:
        """`reread` reads the profile as the server's start did; it may raise ProfileError."""
        self._engine: EngineClient = speaker.engine
        self._speaker = speaker
        self._cache = cache
        self._reread = reread
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Begin, unless a change is under way. Call it in the event loop; it does not wait."""
        if self._task is not None and not self._task.done():
            logger.warning("the profile is not read again: a new engine is being started already")
            return
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        try:
            await self.run()
        except (ProfileError, EngineUnavailable) as error:
            logger.error("the profile is not taken, and the server speaks on as before: %s", error)
        except Exception:
            logger.exception("the profile is not taken, and the server speaks on as before")

    async def run(self) -> None:
        """Change to the profile as it reads now. Raises ProfileError or EngineUnavailable, and then nothing changed."""
        now = self._engine.profile
        read = await asyncio.to_thread(self._reread)
        # The address is what the start made of it: a port that was free, a name that was looked up.
        http = msgspec.structs.replace(read.http, host=now.http.host, port=now.http.port)
        profile = msgspec.structs.replace(read, http=http)
        check_fixed(now, profile)
        frontend = await asyncio.to_thread(load_frontend, profile)
        if frontend.spec != self._speaker.spec:
            raise ProfileError(
                "model.options: what callers are told of the model would change; restart the server for that"
            )
        logger.info("profile %s: an engine is started beside the one that speaks", profile.name)

        def take() -> None:
            self._speaker.frontend = frontend
            if self._cache is not None:
                self._cache.renew(profile)

        info = await self._engine.change(profile, take)
        logger.info(
            "profile %s speaks from now on: %s on %s %s, warm after %.1f s",
            profile.name, info.model, info.device, info.dtype, info.warmup_s,
        )  # fmt: skip
