"""A folder of answers, bounded in bytes: the least recently used goes first.

An answer is one file (serving.cache.file), written under another name and moved to its own when it is whole. Whoever
finds a file that is not what it says takes it away. Several processes may share the folder. No failure here is the
failure of a request: it is logged and counted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from serving.access.lock import take
from serving.access.owner import private_folder
from serving.cache.file import LENGTH_BYTES, MAGIC, Hit, Meta, NoAnswerError, on_disk, read_answer
from serving.observe.words import described

logger = logging.getLogger(__name__)

SUFFIX = ".answer"
PART_SUFFIX = ".part"
STALE_PART_S = 600.0
"""A file that is being written and was not touched for so long is of a process that died."""
LOCK_S, HELD_S = 2.0, 10.0
"""Another process may be making room for so long; then the answer is not kept, nor is any for HELD_S, so that those who
come next do not wait one after another."""


class CacheState(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache of this process has done since its start."""

    max_bytes: int
    hits: int
    misses: int
    failures: int
    """Answers that could not be kept, and files that were broken; the log says why."""


class AnswerStore:
    """The folder. Its methods block; they may be called from any thread."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Never raises: a folder that cannot be made, or that others can change, is a cache that keeps nothing."""
        self.folder = folder
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        """Of the counters: nobody waits for anything while he holds it."""
        self._putting = threading.Lock()
        self._held_until_s = 0.0
        self._hits = self._misses = self._failures = 0
        self._is_own = False
        try:
            private_folder(folder)
            self._is_own = True
        except OSError as error:
            self.failed("keeps nothing", error)

    @property
    def state(self) -> CacheState:
        """Counters."""
        return CacheState(
            max_bytes=self.max_bytes, hits=self._hits, misses=self._misses, failures=self._failures
        )

    def failed(self, what: str, error: Exception) -> None:
        """Note what went wrong."""
        with self._lock:
            self._failures += 1
        logger.warning("cache %s: %s: %s", self.folder, what, described(error))

    def find(self, key: str) -> Hit | None:
        """The answer of this key, if it is kept and unbroken; it becomes the most recently used."""
        hit = self._find(key)
        with self._lock:
            if hit is None:
                self._misses += 1
            else:
                self._hits += 1
        return hit

    def record(self, key: str, media_type: str) -> Recording:
        """Begin to keep an answer."""
        recording = Recording(self, key, media_type)
        if not self._is_own:
            recording.drop()
        return recording

    def create(self, part: Path) -> int:
        """Open a new file of the folder, which may have been deleted meanwhile. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            return os.open(part, flags, 0o600)
        except FileNotFoundError:
            private_folder(self.folder)
            return os.open(part, flags, 0o600)

    def put(self, part: Path, key: str, size_bytes: int) -> None:
        """Move a whole file to its place, after making room for it. Raises OSError."""
        with self._putting, self._locked():
            room = self.max_bytes - on_disk(size_bytes)
            used, files = self._scan(but=part)
            for _, file_bytes, path in sorted(files):
                if used <= room:
                    break
                path.unlink(missing_ok=True)
                used -= file_bytes
            if used > room:
                raise OSError("no room beside the answers that are being written")
            part.replace(self._path(key))

    def used_bytes(self) -> int:
        """Bytes of the folder's files, as they lie on disk. Raises OSError."""
        return self._scan(but=self.folder)[0]

    def _find(self, key: str) -> Hit | None:
        if not self._is_own:
            return None
        path = self._path(key)
        try:
            # Neither a link nor a pipe may stand here: the one leads out of the folder, the other waits.
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._remove(path, error)
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            self._remove(path, NoAnswerError("not a regular file"))
            return None
        file = os.fdopen(descriptor, "rb")
        try:
            hit = read_answer(file, key)
        except (OSError, NoAnswerError) as error:
            file.close()
            self._remove(path, error)
            return None
        # The moment of the last use is the file's time; where it cannot be set, the oldest answer goes first.
        with contextlib.suppress(OSError):
            os.utime(file.fileno())
        return hit

    def _remove(self, path: Path, why: Exception) -> None:
        self.failed(f"{path.name} is no answer and is taken away", why)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self.failed(f"{path.name} cannot be taken away", error)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _scan(self, but: Path) -> tuple[int, list[tuple[int, int, Path]]]:
        """Bytes of the folder's files but one, and of each answer its time, its bytes and its path.

        What a process that died was writing is taken away.
        """
        used = 0
        answers = []
        stale_ns = time.time_ns() - int(STALE_PART_S * 1e9)
        with os.scandir(self.folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                if path == but or not entry.name.endswith((SUFFIX, PART_SUFFIX)):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    continue
                if entry.name.endswith(PART_SUFFIX) and status.st_mtime_ns < stale_ns:
                    path.unlink(missing_ok=True)
                    continue
                used += on_disk(status.st_size)
                if entry.name.endswith(SUFFIX):
                    answers.append((status.st_mtime_ns, on_disk(status.st_size), path))
        return used, answers

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among the processes that share the folder; the system lets go of a lock whose process dies."""
        if time.monotonic() < self._held_until_s:
            raise TimeoutError(errno.ETIMEDOUT, "another process has held the folder")
        with (self.folder / "lock").open("ab") as lock:
            try:
                take(lock, LOCK_S)
            except TimeoutError:
                self._held_until_s = time.monotonic() + HELD_S
                raise
            yield


class Recording:
    """An answer on its way into the store. Nothing is raised; after a failure every call does nothing."""

    def __init__(self, store: AnswerStore, key: str, media_type: str) -> None:
        self._store = store
        self._key = key
        self._media_type = media_type
        self._part = store.folder / f".{os.getpid()}-{secrets.token_hex(8)}{PART_SUFFIX}"
        self._sum = hashlib.sha256()
        self._size_bytes = 0
        self._file: BinaryIO | None = None
        self._over = False
        self._unwanted = False
        # The end of a connection may come while a thread writes.
        self._lock = threading.Lock()

    def add(self, piece: bytes) -> None:
        """More bytes of the answer."""
        with self._lock:
            if not self._over:
                self._trying(lambda: self._write(piece))
        self._drop_unwanted()

    def commit(self, headers: dict[str, str]) -> None:
        """The answer is whole."""
        with self._lock:
            if not self._over:
                self._trying(lambda: self._finish(headers))
                self._drop()
        self._drop_unwanted()

    def drop(self) -> None:
        """The answer is not whole, or is not to be kept. Idempotent; does nothing after commit(); never waits."""
        self._unwanted = True
        self._drop_unwanted()

    def _drop_unwanted(self) -> None:
        """Whoever holds the lock looks here once he has let go of it."""
        if self._unwanted and self._lock.acquire(blocking=False):
            try:
                if not self._over:
                    self._drop()
            finally:
                self._lock.release()

    def _trying(self, work: object) -> None:
        try:
            work()  # type: ignore[operator]
        except OSError as error:
            self._store.failed("an answer is not kept", error)
            self._drop()

    def _write(self, piece: bytes) -> None:
        if on_disk(self._size_bytes + len(piece)) > self._store.max_bytes:
            self._drop()  # larger than the whole cache: no failure, but nothing to keep
            return
        if self._file is None:
            self._file = os.fdopen(self._store.create(self._part), "wb", buffering=0)
            self._put(MAGIC)
        self._put(piece)

    def _put(self, content: bytes) -> None:
        assert self._file is not None
        view = memoryview(content)
        while view:
            view = view[self._file.write(view) :]
        self._sum.update(content)
        self._size_bytes += len(content)

    def _finish(self, headers: dict[str, str]) -> None:
        if self._file is None:
            return
        meta = msgspec.json.encode(
            Meta(key=self._key, media_type=self._media_type, headers=headers, made_at_s=time.time())
        )
        self._put(meta + len(meta).to_bytes(LENGTH_BYTES, "big"))
        self._put(self._sum.digest())
        if on_disk(self._size_bytes) <= self._store.max_bytes:
            self._store.put(self._part, self._key, self._size_bytes)

    def _drop(self) -> None:
        self._over = True
        if self._file is None:
            return
        self._file.close()
        try:
            self._part.unlink(missing_ok=True)
        except OSError as error:
            self._store.failed(f"{self._part.name} cannot be taken away", error)
