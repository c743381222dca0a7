"""Who could have put there what lies in a folder: this process's user, or others too."""

from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path

logger = logging.getLogger(__name__)

ROOT = 0


class ForeignError(OSError):
    """Others could change what lies there."""

    is_plain = True  # serving.observe.words

    def __init__(self, why: str, path: Path) -> None:
        super().__init__(errno.EPERM, why, str(path))


def private_folder(folder: Path) -> None:
    """Make a folder if need be, and take the right to write to it from everybody else.

    Raises ForeignError if it is somebody else's, or if others could put another one in its place; OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not hasattr(os, "geteuid"):
        return
    place = folder.resolve()
    status = place.stat()
    if status.st_uid not in (ROOT, os.geteuid()):
        raise ForeignError("belongs to another user", place)
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid)):
        if status.st_uid != os.geteuid():
            raise ForeignError("others may write to it", place)
        place.chmod(stat.S_IMODE(status.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
        logger.warning("%s could be written to by others, and cannot any more", place)
    check_parents(place)


def check_parents(path: Path) -> None:
    """Raise ForeignError if others could put something else in the place of a path.

    A folder with the sticky bit, as /tmp has it, protects what lies in it. A group of which nobody else is a member is
    the user himself.
    """
    if not hasattr(os, "geteuid"):
        return
    for parent in path.absolute().resolve().parents:
        status = parent.stat()
        if status.st_uid not in (ROOT, os.geteuid()):
            raise ForeignError("its owner may replace what lies in it", parent)
        if status.st_mode & stat.S_ISVTX:
            continue
        if status.st_mode & stat.S_IWOTH:
            raise ForeignError("anybody may replace what lies in it", parent)
        if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid):
            raise ForeignError("its group may replace what lies in it", parent)


def _is_own_group(gid: int) -> bool:
    if gid != os.getegid():
        return False
    import grp
    import pwd

    try:
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return True  # a number without a name, as containers have it
    try:
        return members <= {"root", pwd.getpwuid(os.geteuid()).pw_name}
    except KeyError:
        return members <= {"root"}
