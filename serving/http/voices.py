"""GET, POST and DELETE /v1/audio/voices: the voices there are, and those that users add to a model that clones.

Another origin's page could make a browser send a form here without asking first, as CORS allows, so the origin of a
change is checked.
"""

from __future__ import annotations

import asyncio
import io
import logging
import unicodedata
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from litestar import Response, delete, get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Operation
from litestar.params import FromPath

from serving.access.address import is_loopback
from serving.http.front.methods import SAYS_WHY_NOT
from serving.http.live.connection import only_from
from serving.http.schema import READING_OPENAI
from serving.http.speech import AnyRequest, Speaker
from serving.http.upload import ENVELOPE_BYTES, read_form
from serving.models.base import ModelSpec, VoiceLibrary
from serving.openai import plain_names
from serving.profile import Profile, ProfileError
from serving.protocol import InputError, Overloaded, VoiceConflict
from serving.voices.folder import MAX_CONSENT_CHARS, Removed

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATH = "/v1/audio/voices"
FILE = "audio_sample"
TEXTS = ("name", "consent", "replace")
UPLOADS_AT_ONCE, DELETIONS_AT_ONCE = 2, 4
_THREADS = ThreadPoolExecutor(UPLOADS_AT_ONCE + DELETIONS_AT_ONCE, thread_name_prefix="voices")
"""Changes wait for another process that holds the folder, and the codecs of those who listen need the other threads."""
_BUSY_RETRY_S = 10.0
_NO = frozenset({"false", "no", "n", "f", "0", "off", "none", "null", "undefined", "denied"})
_TRUE = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


class NamedVoice(msgspec.Struct, frozen=True, kw_only=True):
    """What a request may name as its voice."""

    id: str
    name: str
    language: str
    description: str
    alias_of: str | None = None
    """The voice that speaks; null if this is a voice itself."""
    deletable: bool = False
    """DELETE takes it away: a user added it, and the server can do without."""


class NamedVoices(msgspec.Struct, frozen=True, kw_only=True):
    """The voices of the model, then the aliases of the profile."""

    voices: list[NamedVoice]
    default_voice: str
    can_add: bool
    """POST takes a recording as a new voice."""


class NewVoice(msgspec.Struct, frozen=True, kw_only=True):
    """A voice that was added."""

    object: str = "audio.voice"
    id: str
    name: str
    created_at: int
    """Unix time."""
    language: str
    duration_s: float
    warnings: list[str]
    """What would make it a better voice."""


class DeletedVoice(msgspec.Struct, frozen=True, kw_only=True):
    """A voice that was deleted."""

    id: str
    object: str = "audio.voice"
    deleted: bool = True


class VoiceChanges:
    """Adds and deletes voices, and removes a recording once no request uses it."""

    def __init__(self, speaker: Speaker, library: VoiceLibrary | None, profile: Profile) -> None:
        self.limits = profile.voices
        self.aliases = profile.http.voice_aliases
        self.allowed = library is not None and is_writable(profile)
        self._speaker = speaker
        self._library = library
        self._uploads = self._deletions = 0
        self._purging: set[asyncio.Task[None]] = set()

    def library(self) -> VoiceLibrary:
        """The library. Raises HTTPException 405 if the model or its profile has none, 403 if it may not be changed."""
        if self._library is None:
            name = self._speaker.spec.name
            raise HTTPException(
                f"the model {name} takes no new voices here: it does not clone, or model.options.voices names no "
                "folder that can be written",
                status_code=405,
                headers={"Allow": "GET"},
            )
        if not self.allowed:
            raise HTTPException(
                "voices may not be changed over HTTP: voices.writable of the profile says so", status_code=403
            )
        return self._library

    @property
    def has_place(self) -> bool:
        """The model takes voices, and its profile has a folder for them."""
        return self._library is not None

    def deletable(self) -> Collection[str]:
        """Names of the voices that delete() takes."""
        if self._library is None or not self.allowed:
            return ()
        needed = set(self.aliases.values())
        return {name for name in self._library.added() if name not in needed}

    async def add(self, request: AnyRequest) -> Response[NewVoice]:
        """Read the form, check it and store the recording."""
        library = self.library()
        if self._uploads >= UPLOADS_AT_ONCE:
            raise Overloaded(
                f"{self._uploads} recordings are being taken, the limit is {UPLOADS_AT_ONCE}", 2.0
            )
        self._uploads += 1
        try:
            form = await read_form(request, FILE, TEXTS, self.limits.max_upload_bytes, self.limits.upload_s)
            texts = dict(form.texts)
            name, consent, replace = _name(texts), _consent(texts), _flag(texts, "replace")
            if not form.file:
                raise InputError(FILE, "is empty")

            def store() -> Any:
                return library.add(
                    name, io.BytesIO(form.file), field=FILE, consent=consent, source="http", replace=replace
                )

            voice = await _finished(store)
        finally:
            self._uploads -= 1
        logger.info("voice %s added: %.1f s", ascii(voice.name), voice.duration_s)
        if voice.replaced is not None:
            await self._purge(voice.replaced)
        return Response(
            NewVoice(
                id=voice.name,
                name=voice.name,
                created_at=int(voice.created_s),
                language=voice.language,
                duration_s=voice.duration_s,
                warnings=voice.warnings,
            ),
            status_code=201,
            headers={"X-Ignored-Fields": ", ".join(plain_names(set(texts)))} if texts else {},
        )

    async def delete(self, name: str) -> DeletedVoice:
        """Take a voice from the list; requests that were admitted before speak it to their end."""
        library = self.library()
        name = unicodedata.normalize("NFC", name)
        if name in self.aliases.values():
            raise VoiceConflict("voice", "an alias in http.voice_aliases needs it")
        if self._deletions >= DELETIONS_AT_ONCE:
            raise Overloaded(f"{self._deletions} voices are being deleted", 2.0)
        self._deletions += 1
        try:
            removed = await _finished(lambda: library.delete(name))
        finally:
            self._deletions -= 1
        logger.info("voice %s deleted", ascii(name))
        await self._purge(removed)
        return DeletedVoice(id=name)

    async def close(self) -> None:
        """Remove what waits to be removed. The engine has stopped."""
        for task in self._purging:
            task.cancel()
        await self.sweep()

    async def sweep(self) -> None:
        """Remove what a killed server left. The engine must not be running."""
        if self._library is None:
            return
        try:
            await asyncio.to_thread(self._library.sweep)
        except OSError as error:
            logger.warning("voices: what a killed server left cannot be removed: %s", error.strerror)

    async def _purge(self, removed: Removed) -> None:
        """Remove a recording at once if nobody speaks, else when those have ended who do."""
        task = asyncio.create_task(self._purge_unused(removed))
        self._purging.add(task)
        task.add_done_callback(self._purging.discard)
        if not self._speaker.engine.load.requests:
            await asyncio.shield(task)

    async def _purge_unused(self, removed: Removed) -> None:
        await self._speaker.engine.settled()
        library = self.library()
        try:
            await asyncio.get_running_loop().run_in_executor(_THREADS, library.purge, removed)
        except OSError as error:
            logger.warning("voices: a recording stays until the next start: %s", error.strerror)


def voice_routes(
    speaker: Speaker,
    changes: VoiceChanges,
    profile: Profile,
    adding: type[Operation],
    responses: dict[int, ResponseSpec],
) -> list[HTTPRouteHandler]:
    """The handlers. Raises ProfileError if http.voice_aliases names a voice that there is not."""
    _check_aliases(speaker.spec, changes.aliases)
    from_here = [only_from(profile.http.cors_origins)]

    @get(PATH, responses=READING_OPENAI)
    async def audio_voices() -> NamedVoices:
        """What a request may name as its voice, as it is now."""
        return _named_voices(speaker.spec, changes.aliases, changes.deletable(), can_add=changes.allowed)

    @post(
        PATH,
        guards=from_here,
        request_max_body_size=profile.voices.max_upload_bytes + ENVELOPE_BYTES,
        operation_class=adding,
        responses=responses,
        include_in_schema=changes.has_place,
        opt={} if changes.has_place else SAYS_WHY_NOT,
    )
    async def add_voice(request: AnyRequest) -> Response[NewVoice]:
        """Add a recording as a voice, for the next request. Its speaker has to agree: `consent` says so.

        The recording is told by its content, not by its name. A text field of another name is accepted and named in
        X-Ignored-Fields.
        """
        return await changes.add(request)

    @delete(
        f"{PATH}/{{name:str}}",
        status_code=200,
        guards=from_here,
        responses=responses,
        include_in_schema=changes.has_place,
        opt={} if changes.has_place else SAYS_WHY_NOT,
    )
    async def delete_voice(name: FromPath[str]) -> DeletedVoice:
        """Delete a voice that a user added. Who is being spoken to with it hears the end."""
        return await changes.delete(name)

    return [audio_voices, add_voice, delete_voice]


def is_writable(profile: Profile) -> bool:
    """Whether voices.writable lets the callers of this server change its voices."""
    if profile.voices.writable != "local":
        return profile.voices.writable == "always"
    return is_loopback(profile.http.host)


async def _finished(work: Callable[[], T]) -> T:
    """Run blocking work in a thread to its end, whoever stops waiting for it."""
    try:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(_THREADS, work))
    except TimeoutError as error:
        logger.error("voices: cannot be stored", exc_info=error)
        raise Overloaded("another process holds the voices", _BUSY_RETRY_S) from None
    except OSError as error:
        logger.error("voices: cannot be stored", exc_info=error)
        raise HTTPException(
            f"the voices cannot be written: {error.strerror or 'the disk failed'}", status_code=507
        ) from None


def _name(texts: dict[str, str]) -> str:
    if "name" not in texts:
        raise InputError("name", "required")
    return texts.pop("name")


def _consent(texts: dict[str, str]) -> str:
    """What the caller says of the speaker's consent. Raises InputError unless it says yes."""
    said = texts.pop("consent", "").strip()
    if said.lower() in _NO or not said:
        raise InputError("consent", "required: true, or the id of a record, says that the speaker agrees")
    if len(said) > MAX_CONSENT_CHARS or not said.isprintable():
        raise InputError("consent", f"a line of at most {MAX_CONSENT_CHARS} characters")
    return said


def _flag(texts: dict[str, str], name: str) -> bool:
    said = texts.pop(name, "").strip().lower()
    if said not in _TRUE:
        raise InputError(name, "expected true or false")
    return _TRUE[said]


def _check_aliases(spec: ModelSpec, aliases: Mapping[str, str]) -> None:
    names = [voice.name for voice in spec.voices]
    for alias, name in aliases.items():
        if name not in names:
            raise ProfileError(
                f"http.voice_aliases.{alias}: no voice is called {name!r}; there are {', '.join(names)}"
            )


def _named_voices(
    spec: ModelSpec, aliases: Mapping[str, str], deletable: Collection[str], *, can_add: bool
) -> NamedVoices:
    voices = {voice.name: voice for voice in spec.voices}
    named = [
        NamedVoice(
            id=name,
            name=name,
            language=voice.language,
            description=voice.description,
            deletable=name in deletable,
        )
        for name, voice in voices.items()
    ]
    for alias, name in aliases.items():
        if alias not in voices and (voice := voices.get(name)) is not None:
            named.append(
                NamedVoice(
                    id=alias,
                    name=alias,
                    language=voice.language,
                    description=voice.description,
                    alias_of=name,
                )
            )
    return NamedVoices(voices=named, default_voice=spec.default_voice, can_add=can_add)
