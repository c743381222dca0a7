"""The folder where compiled libraries are kept, which nobody else may write to: what lies there is run.

A library's name ends in the hash of its bytes, so that one which was cut short or changed is seen and built again.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
from pathlib import Path

from serving.access.owner import ForeignError, check_parents
from serving.voices.plain import open_plain

MOST_BYTES = 64 << 20
"""Of a library."""

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where built libraries lie: under XDG_CACHE_HOME or ~/.cache. Raises OSError for a user without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tts-serving"
    except RuntimeError:
        raise FileNotFoundError(errno.ENOENT, "this user has no home", "~") from None


def own_folder() -> Path:
    """cache_folder, made if need be.

    Raises ForeignError if anybody else could write to it, and OSError if it is not there and cannot be made.
    """
    folder = cache_folder().absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_own(folder)
    check_parents(folder)
    return folder


def find(folder: Path, stem: str) -> Path | None:
    """The whole library of that stem, if there is one. Raises ForeignError if somebody else has put it there."""
    for library in sorted(folder.glob(f"{stem}-*.so")):
        _check_own(library)
        if _is_whole(stem, library):
            return library
        logger.warning("%s is not what was built, and is built again", library)
        library.unlink()
    return None


def keep(folder: Path, stem: str, made: Path) -> Path:
    """Move a library that was built in the same file system to its place; returns that."""
    made.chmod(0o700)
    return made.replace(folder / _name(stem, made))


def _is_whole(stem: str, library: Path) -> bool:
    """Whether it holds the bytes that its name tells of; what is no plain file holds none."""
    try:
        return library.name == _name(stem, library)
    except OSError:
        return False


def _name(stem: str, library: Path) -> str:
    with open_plain(library, MOST_BYTES) as file:
        return f"{stem}-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}.so"


def _check_own(path: Path) -> None:
    status = path.lstat()
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise ForeignError("belongs to another user", path)
    if stat.S_ISLNK(status.st_mode):
        raise ForeignError("is a link", path)
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ForeignError("others may write to it (chmod 700 forbids that)", path)
