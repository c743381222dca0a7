"""API keys: a file of their SHA-256 digests, and the search for one that a client presents.

A key is 256 random bits, so one plain digest is enough: there is nothing to guess that a slow one would protect.
The file is JSON, written by `tts-serving keys`. A server notices a changed file within RELOAD_S.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import hmac
import logging
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from serving.access.lock import take
from serving.profile import PositiveFloat, PositiveInt, ProfileError

logger = logging.getLogger(__name__)

PREFIX = "tts_"
"""Tells a key of this server to people and to scanners for leaked secrets."""
MAX_FILE_BYTES = 1_000_000
LOCK_S = 10.0
"""Another process may be changing the file for so long."""
RELOAD_S = 1.0
"""The file is looked at this often, while requests come."""


class KeysError(ProfileError):
    """The file of access.keys_file cannot be used; the message says why and holds nothing of its content."""


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A key as the file holds it. A limit that is null is the profile's."""

    name: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    created: str = ""
    """Date of UTC, for people."""
    operator: bool = False
    """May also read /metrics and /stats, which tell of everybody's requests."""
    requests_per_minute: PositiveInt | None = None
    concurrent_streams: PositiveInt | None = None
    audio_s_per_day: PositiveFloat | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[Key]


class Keys:
    """The keys of a file, read again when it has changed."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises KeysError if the file cannot be used now."""
        self._path = path
        self._clock = clock
        self._problem: str | None = None
        self._seen: object = None
        self._looked_s = clock()
        self._keys: list[tuple[bytes, Key]] = []
        self._reload()

    def find(self, presented: bytes) -> Key | None:
        """The key whose digest this has; None for one that is not in the file.

        The work is the same for every key, known or not: one digest, and one comparison with each that there is.
        Raises KeysError while the file cannot be used: then nobody is let in.
        """
        self._refresh()
        digest = hashlib.sha256(presented).digest()
        found = None
        for known, key in self._keys:
            if hmac.compare_digest(known, digest):
                found = key
        return found

    def holds(self, key: Key) -> bool:
        """Whether a key that was found before still is in the file, and the file can be used."""
        try:
            self._refresh()
        except KeysError:
            return False
        return any(key.sha256 == now.sha256 for _, now in self._keys)

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._looked_s >= RELOAD_S:
            self._looked_s = now
            if self._state() != self._seen:
                with contextlib.suppress(KeysError):
                    self._reload()
        if self._problem is not None:
            raise KeysError(self._problem)

    def _state(self) -> object:
        """Changes with the file, and with who may write it."""
        try:
            status = self._path.stat()
            folders = [folder.stat().st_mode for folder in _folders(self._path)]
        except (OSError, RuntimeError) as error:
            return str(error)
        return (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, *folders)

    def _reload(self) -> None:
        # Before reading: a change in between is then seen at the next look.
        self._seen = self._state()
        try:
            keys = read_keys(self._path)
        except KeysError as error:
            self._problem = str(error)
            self._keys = []
            logger.error("nobody is let in: %s", error)
            raise
        self._problem = None
        self._keys = [(bytes.fromhex(key.sha256), key) for key in keys]


def read_keys(path: Path) -> list[Key]:
    """The keys of a file. Raises KeysError for one that others could have written, or that is no file of keys."""
    return _decode(path, _read(path))


def _read(path: Path) -> bytes:
    try:
        # A pipe must not hold the caller until somebody writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeysError(f"access.keys_file: cannot read {path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeysError(f"access.keys_file: {path} is no plain file")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise KeysError(f"access.keys_file: others may write {path}; chmod go-w it")
        if status.st_uid not in (0, os.geteuid()):
            raise KeysError(f"access.keys_file: {path} belongs to another user")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_FILE_BYTES + 1)
        modes = [folder.stat().st_mode for folder in _folders(path)]
    except OSError as error:
        raise KeysError(f"access.keys_file: cannot read {path}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(content) > MAX_FILE_BYTES:
        raise KeysError(f"access.keys_file: {path} is larger than {MAX_FILE_BYTES} bytes")
    if any(mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX for mode in modes):
        raise KeysError(f"access.keys_file: others may replace {path}; chmod go-w its folder")
    return content


def _folders(path: Path) -> set[Path]:
    """The folder of the path, and that of the file which it leads to."""
    return {path.absolute().parent, path.resolve().parent}


def _decode(path: Path, content: bytes) -> list[Key]:
    try:
        keys = msgspec.json.decode(content, type=_File).keys
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KeysError(f"access.keys_file: {path} is no file of keys: {error}") from None
    for what, values in (("name", [key.name for key in keys]), ("digest", [key.sha256 for key in keys])):
        if len(set(values)) != len(values):
            raise KeysError(f"access.keys_file: {path} holds a {what} twice")
    return keys


def add_key(
    path: Path,
    name: str,
    *,
    operator: bool = False,
    requests_per_minute: int | None = None,
    concurrent_streams: int | None = None,
    audio_s_per_day: float | None = None,
) -> str:
    """Make a key and store its digest; the key is returned, and is nowhere else.

    The file is made if there is none. Raises KeysError for a name that is taken or not plain, for limits that are
    not above 0, and where the file cannot be read or written.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    fields = {
        "name": name,
        "sha256": hashlib.sha256(secret.encode()).hexdigest(),
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "operator": operator,
        "requests_per_minute": requests_per_minute,
        "concurrent_streams": concurrent_streams,
        "audio_s_per_day": audio_s_per_day,
    }
    try:
        key = msgspec.convert(fields, Key, strict=True)
    except msgspec.ValidationError as error:
        raise KeysError(f"keys add: {error}") from None
    with _alone(path):
        keys = read_keys(path) if path.exists() else []
        if any(known.name == name for known in keys):
            raise KeysError(f"there is a key {name!r} already; remove it first")
        _write(path, [*keys, key])
    return secret


def remove_key(path: Path, name: str) -> None:
    """Take a key's right away. Raises KeysError if there is none of this name, or the file cannot be written."""
    with _alone(path):
        keys = read_keys(path)
        kept = [key for key in keys if key.name != name]
        if len(kept) == len(keys):
            raise KeysError(f"there is no key {name[:100]!r}")
        _write(path, kept)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time reads a file of keys and replaces it. Raises KeysError if another one does not end."""
    try:
        folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise KeysError(f"access.keys_file: cannot write {path}: {error.strerror}") from None
    try:
        try:
            take(folder, LOCK_S)
        except TimeoutError:
            raise KeysError(f"access.keys_file: another process is changing {path}") from None
        yield
    finally:
        os.close(folder)


def _write(path: Path, keys: list[Key]) -> None:
    """Replace the file in one act; it is on disk when this returns. A new one is readable by its owner alone."""
    content = msgspec.json.format(msgspec.json.encode(_File(keys)), indent=2) + b"\n"
    temporary = None
    try:
        # A link stays a link: what it points to is replaced.
        path = path.resolve()
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor has no path
            file.write(content)
            file.flush()
            _keep_readers(descriptor, path)
            os.fsync(descriptor)
        Path(temporary).replace(path)
        temporary = None
    except OSError as error:
        why = "disk full" if error.errno == errno.ENOSPC else error.strerror
        raise KeysError(f"access.keys_file: cannot write {path}: {why}") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _keep_readers(descriptor: int, path: Path) -> None:
    """Whoever could read the file that is replaced can read the new one: the server may be another user."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        before = path.stat()
        os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
