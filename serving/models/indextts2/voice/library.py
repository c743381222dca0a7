"""All voices of a profile as they are now: those of the operator, and those that users added. No torch."""

from __future__ import annotations

import os
import threading
import time
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from serving.access.owner import ForeignError, check_parents
from serving.models.base import AddedVoice, Voice
from serving.models.indextts2.options import Options
from serving.models.indextts2.voice.recordings import LIMITS, Reference, placed, recording_files
from serving.profile import ProfileError, VoicesProfile
from serving.protocol import InputError, VoiceConflict
from serving.voices.folder import Removed, Source, VoiceFolder, VoiceRecord, voice_name
from serving.voices.recording import decode, examine

FOLDER = "added"
"""Inside model.options.voices."""
_NONE: dict[str, VoiceRecord] = {}


class Voices(Mapping[str, Reference]):
    """Voices by name, as they are now: first the operator's, then the added ones, oldest first."""

    def __init__(self, own: dict[str, Reference], added: VoiceFolder | None, languages: str) -> None:
        self._own = own
        self._languages = languages
        self._added = added

    def records(self) -> dict[str, VoiceRecord]:
        """The added voices; the same object as long as nothing has changed."""
        return _NONE if self._added is None else self._added.records()

    def __getitem__(self, name: str) -> Reference:
        """A voice as it is on disk now, a deleted one while its recording is there.

        Raises InputError of "voice" if there is none.
        """
        if name in self._own:
            return self._own[name]
        if self._added is not None and (record := self._added.find(name)) is not None:
            return Reference(name, self._added.recording(record))
        raise InputError("voice", f"there is no voice {name!r} any more")

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from (name for name in self.records() if name not in self._own)

    def __len__(self) -> int:
        return len({*self._own, *self.records()})

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self.records()

    def described(self) -> tuple[Voice, ...]:
        """What GET /voices tells of them."""
        own = [
            Voice(
                name=name,
                language=self._languages,
                description="made by formula" if voice.path is None else voice.path.name,
            )
            for name, voice in self._own.items()
        ]
        added = [
            Voice(
                name=record.name,
                language=self._languages,
                description=f"{record.duration_s:.1f} s, added "
                f"{time.strftime('%Y-%m-%d', time.gmtime(record.created_s))}",
            )
            for record in self.records().values()
            if record.name not in self._own
        ]
        return (*own, *added)


def open_added(options: Options, limits: VoicesProfile) -> VoiceFolder | None:
    """The store of added voices; None without a folder to hold it."""
    if not options.voices:
        return None
    return VoiceFolder(
        Path(options.voices) / FOLDER, max_voices=limits.max_voices, max_bytes=limits.max_bytes
    )


def load_voices(options: Options, limits: VoicesProfile) -> Voices:
    """The voices of a profile. Raises ProfileError if there is none, or if others could put some there."""
    if options.voices and Path(options.voices).is_dir():
        try:
            check_parents(Path(options.voices) / FOLDER)
        except ForeignError as error:
            raise ProfileError(f"model.options.voices: {error.filename}: {error.strerror}") from None
    voices = Voices(placed(options), open_added(options, limits), ", ".join(options.languages))
    if not voices:
        raise ProfileError(f"model.options.voices: {options.voices} holds no recording")
    return voices


class Library:
    """The voices that users add and delete; see serving.models.base.VoiceLibrary."""

    def __init__(self, folder: Path, added: VoiceFolder, default_voice: str, languages: str) -> None:
        self._folder = folder
        self._added = added
        self._deleting = threading.Lock()
        self._default = default_voice
        self._languages = languages

    def added(self) -> Collection[str]:
        """Names of the voices that may be deleted: the server could not start again without the others."""
        records = self._added.records()
        needed = {self._default} if len(records) > 1 or self._own() else {self._default, *records}
        return [name for name in records if name not in needed]

    def check_name(self, name: str, *, replace: bool) -> str:
        """The name as it is stored. Raises InputError, or VoiceConflict if there is such a voice already."""
        name = voice_name(name)
        if name in self._own():
            raise VoiceConflict("name", f"the voice {name!r} came with the server")
        if not replace and name in self._added.records():
            raise VoiceConflict("name", f"there is a voice {name!r} already")
        return name

    def add(
        self, name: str, recording: BinaryIO, *, field: str, consent: str, source: Source, replace: bool
    ) -> AddedVoice:
        """Check a recording and store it. Raises InputError of "name" and of `field`, VoiceConflict, OSError."""
        name = self.check_name(name, replace=replace)
        decoded = decode(recording, field, LIMITS.max_s)
        report = examine(decoded, LIMITS)
        if problems := report.problems():
            raise InputError(field, "; ".join(problems))
        record = VoiceRecord(
            name=name,
            recording="",
            created_s=time.time(),
            consent=consent,
            source=source,
            duration_s=round(decoded.seconds, 3),
        )
        replaced = self._added.add(record, decoded.wav(), replace=replace)
        return AddedVoice(
            name=name,
            language=self._languages,
            created_s=record.created_s,
            duration_s=record.duration_s,
            warnings=report.warnings(),
            replaced=replaced,
        )

    def delete(self, name: str) -> Removed:
        """Take a voice from the list. Raises VoiceUnknown, VoiceConflict, OSError."""
        if name in self._own():
            raise VoiceConflict("voice", f"{name!r} came with the server and cannot be deleted")
        with self._deleting:  # two at once would each leave the other's
            if name in self._added.records() and name not in self.added():
                raise VoiceConflict(
                    "voice", f"{name!r} is the default voice or the only one, and cannot be deleted"
                )
            return self._added.delete(name)

    def purge(self, removed: Removed) -> None:
        """Remove the recording of a voice that no request uses any more."""
        self._added.purge(removed)

    def sweep(self) -> None:
        """Remove what a killed server left."""
        self._added.sweep()

    def _own(self) -> Collection[str]:
        return {unicodedata.normalize("NFC", path.stem) for path in recording_files(self._folder)}


def open_library(options: Options, limits: VoicesProfile) -> Library | None:
    """Where users' voices go; None if the profile names no folder, or one that cannot be written."""
    added = open_added(options, limits)
    if added is None:
        return None
    folder = Path(options.voices)
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        return None
    return Library(folder, added, options.default_voice, ", ".join(options.languages))
