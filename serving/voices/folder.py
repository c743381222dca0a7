"""Voices that users added, in a folder on disk: whole at every moment, whoever is killed.

A voice is a recording and a record, which names it. The record is written last and read first, so that it decides
whether there is a voice; a file of any name that no record names is nobody's. Writers of several processes take
turns by a lock that ends with its process; readers take none.

    <key of the name>.json      the record
    <key of the name>.deleted   the record of a deleted voice, while requests may still use its recording
    <random>.wav                a recording; never written twice
    .<random>                   a file that is being written
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import stat
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from serving.access.lock import take
from serving.access.owner import private_folder
from serving.protocol import InputError, VoiceConflict, VoiceUnknown

logger = logging.getLogger(__name__)

MAX_NAME_CHARS = 64
MAX_CONSENT_CHARS = 200
MAX_RECORD_BYTES = 16_384
_RECORDING = re.compile(r"[0-9a-f]{32}\.wav")
LOCK_S = 10.0
"""Another process may write for so long: one that was stopped meanwhile must not hold this one's threads for ever."""
_SETTLED_NS = 20_000_000
"""A folder that changed less than this before it was listed may change again without another time stamp."""

Source = Literal["http", "command line"]


class VoiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept beside a recording."""

    name: str
    recording: str
    """Name of its file."""
    created_s: Annotated[float, Meta(ge=0, le=1e11)]
    """Unix time."""
    consent: str
    """What the caller said of the speaker's consent: yes, or an id of a document."""
    source: Source
    duration_s: float


class Removed(msgspec.Struct, frozen=True):
    """What purge() removes once no request uses it."""

    key: str
    recording: str


def voice_name(name: str) -> str:
    """A name as it is stored, in NFC. Raises InputError of "name" if it is none."""
    name = unicodedata.normalize("NFC", name)
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        raise InputError("name", f"{len(name)} characters long; 1 to {MAX_NAME_CHARS} are taken")
    kinds = [unicodedata.category(character)[0] for character in name]
    inner = all(kind in "LMN" or character in "-_." for kind, character in zip(kinds, name, strict=True))
    if kinds[0] not in "LN" or not inner:
        shown = ascii(name) if any(kind == "C" for kind in kinds) else repr(name)
        raise InputError(
            "name", f"{shown[:70]} is no voice name: letters and digits of any script, and - _ . in it"
        )
    return name


class VoiceFolder:
    """The store. Thread-safe; several processes may use one folder."""

    def __init__(self, folder: Path, *, max_voices: int, max_bytes: int) -> None:
        self._folder = folder
        self._max_voices = max_voices
        self._max_bytes = max_bytes
        self._listed: tuple[int, int, dict[str, VoiceRecord]] = (-1, 0, {})

    def records(self) -> dict[str, VoiceRecord]:
        """The voices by name, oldest first; the same object as long as nothing has changed."""
        try:
            changed_ns = self._folder.stat().st_mtime_ns
        except OSError:  # not there yet, or not to be read: the operator's voices speak on
            changed_ns = 0
        known_ns, listed_ns, records = self._listed
        if changed_ns == known_ns and (not changed_ns or abs(listed_ns - changed_ns) > _SETTLED_NS):
            return records
        listed_ns = time.time_ns()
        found = self._list() if changed_ns else {}
        records = records if found == records and known_ns >= 0 else found
        self._listed = changed_ns, listed_ns, records
        return records

    def recording(self, record: VoiceRecord) -> Path:
        """The file of a recording."""
        return self._folder / record.recording

    def find(self, name: str) -> VoiceRecord | None:
        """The voice `name` as it is on disk now; one that was just deleted, while its recording is still there."""
        key = _key(name)
        return self._read(f"{key}.json", name) or self._read(f"{key}.deleted", name)

    def add(self, record: VoiceRecord, wav: bytes, *, replace: bool) -> Removed | None:
        """Store a voice; on return it is on the disk. `record.recording` is chosen here.

        Returns the recording that it replaces, if any. Raises VoiceConflict if there is one and not `replace`,
        or if the folder is full.
        """
        private_folder(self._folder)
        with self._locked():
            records = self._list()
            old = records.pop(record.name, None)
            if old is not None and not replace:
                raise VoiceConflict("name", f"there is a voice {record.name!r} already")
            if len(records) >= self._max_voices:
                raise VoiceConflict(
                    "name", f"{len(records)} voices are stored, the limit is {self._max_voices}"
                )
            used = sum(self.recording(kept).stat().st_size for kept in records.values())
            if used + len(wav) > self._max_bytes:
                raise VoiceConflict(
                    "audio_sample", f"{used} bytes of voices are stored, the limit is {self._max_bytes}"
                )
            record = msgspec.structs.replace(record, recording=f"{secrets.token_hex(16)}.wav")
            key = _key(record.name)
            with self._undone(record.recording):
                self._write(record.recording, wav)
                self._write(f"{key}.json", msgspec.json.encode(record))
            return None if old is None else Removed(key, old.recording)

    def delete(self, name: str) -> Removed:
        """No request from now on finds the voice; its recording stays until purge(). Raises VoiceUnknown."""
        key = _key(name)
        if not self._folder.is_dir():
            raise VoiceUnknown("voice", f"no voice is called {name[:MAX_NAME_CHARS]!r}")
        with self._locked():
            record = self._read(f"{key}.json", name)
            if record is None:
                raise VoiceUnknown("voice", f"no voice is called {name[:MAX_NAME_CHARS]!r}")
            (self._folder / f"{key}.json").replace(self._folder / f"{key}.deleted")
            self._sync()
            return Removed(key, record.recording)

    def purge(self, removed: Removed) -> None:
        """Remove the recording of a voice that was deleted or replaced."""
        with self._locked():
            tombstone = f"{removed.key}.deleted"
            record = self._read(tombstone, None)
            if record is None or record.recording == removed.recording:
                (self._folder / tombstone).unlink(missing_ok=True)
            (self._folder / removed.recording).unlink(missing_ok=True)
            self._sync()

    def sweep(self) -> None:
        """Remove what a killed process left: call it at the start, when no request uses a voice."""
        if not self._folder.is_dir():
            return
        private_folder(self._folder)
        with self._locked():
            used = {record.recording for record in self._list().values()}
            for path in self._folder.iterdir():
                leftover = path.name.startswith(".") and path.name != ".lock"
                orphan = _RECORDING.fullmatch(path.name) is not None and path.name not in used
                if (leftover or orphan or path.suffix == ".deleted") and not path.is_dir():
                    logger.info("voices: removed a leftover, %s", path.name)
                    path.unlink()
            self._sync()

    def _list(self) -> dict[str, VoiceRecord]:
        found = [
            record
            for path in self._folder.glob("*.json")
            if (record := self._read(path.name, None)) is not None
        ]
        return {record.name: record for record in sorted(found, key=lambda it: (it.created_s, it.name))}

    def _read(self, file: str, name: str | None) -> VoiceRecord | None:
        """A record whose recording is there; None for anything else, whoever put it here."""
        try:
            descriptor = os.open(self._folder / file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_RECORD_BYTES:
                return None
            content = os.read(descriptor, MAX_RECORD_BYTES)
        finally:
            os.close(descriptor)
        try:
            record = msgspec.json.decode(content, type=VoiceRecord)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            logger.warning("voices: %s is no record", file)
            return None
        if _RECORDING.fullmatch(record.recording) is None or Path(file).stem != _key(record.name):
            return None
        if name is not None and record.name != name:
            return None
        try:
            there = (self._folder / record.recording).lstat()
        except OSError:
            return None
        return record if stat.S_ISREG(there.st_mode) and there.st_size <= self._max_bytes else None

    def _write(self, file: str, content: bytes) -> None:
        """A whole file or none, on the disk when this returns."""
        partial = self._folder / f".{secrets.token_hex(16)}"
        try:
            with partial.open("xb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            partial.replace(self._folder / file)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        self._sync()

    @contextlib.contextmanager
    def _undone(self, recording: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            (self._folder / recording).unlink(missing_ok=True)
            raise

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, of all processes and threads. The end of the process lets go too.

        Raises TimeoutError if another one does not let go.
        """
        with (self._folder / ".lock").open("ab") as lock:
            take(lock, LOCK_S)
            yield


def _key(name: str) -> str:
    """A file name for a voice of any name."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
