"""Voices are plain files of bounded size, whatever lies under their names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.voices.plain import open_plain


def test_a_plain_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"12345")
    with open_plain(path, 5) as file:
        assert file.read() == b"12345"


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123456")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, why in (
        ("file", "more than 5 bytes"),
        ("link", "it is a link"),
        ("folder", "no plain file"),
        ("pipe", "no plain file"),
        ("nothing", "No such file"),
    ):
        with pytest.raises(OSError, match=why):
            open_plain(tmp_path / name, 5)
    with pytest.raises(OSError, match="no plain file"):
        open_plain(Path("/dev/zero"), 5)
