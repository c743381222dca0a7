"""The store of added voices: whole at every moment, bounded, and never outside its folder."""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from serving.protocol import InputError, VoiceConflict, VoiceUnknown
from serving.voices import folder as folder_module
from serving.voices.folder import VoiceFolder, VoiceRecord, voice_name
from tests.support import ROOT, environment

WRITER = """
import itertools, sys
from pathlib import Path
from serving.voices.folder import VoiceFolder, VoiceRecord

folder = VoiceFolder(Path(sys.argv[1]), max_voices=9, max_bytes=10**9)
print("ready", flush=True)
for number in itertools.count():
    name, content = f"v{number % 3}", f"{number} {sys.argv[2]} "
    record = VoiceRecord(name=name, recording="", created_s=0.0, consent=content, source="http", duration_s=1.0)
    replaced = folder.add(record, content.encode() * 20000, replace=True)
    if replaced is not None:
        folder.purge(replaced)
    if number % 5 == 4:
        folder.purge(folder.delete(name))
"""
"""Adds, replaces and deletes until it is killed. What a recording must hold stands in its record."""


def store(folder: Path, max_voices: int = 9, max_bytes: int = 1000) -> VoiceFolder:
    return VoiceFolder(folder / "added", max_voices=max_voices, max_bytes=max_bytes)


def record(name: str, created_s: float = 1.0) -> VoiceRecord:
    return VoiceRecord(
        name=name, recording="", created_s=created_s, consent="true", source="http", duration_s=1.0
    )


def files(folder: Path) -> set[str]:
    return {path.suffix for path in (folder / "added").iterdir()} - {""}


@pytest.mark.slow
def test_what_is_listed_is_whole_whenever_the_writer_is_killed(tmp_path: Path) -> None:
    place = tmp_path / "added"
    moments = random.Random(7)
    seen = 0
    for turn in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(place), str(turn)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment(),
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0.0, 0.1))
            writer.kill()
        kept = VoiceFolder(place, max_voices=9, max_bytes=10**9)
        records = kept.records()
        for name, voice in records.items():
            content = kept.recording(voice).read_bytes()
            assert content == voice.consent.encode() * 20000, f"{name} is not whole"
            assert kept.find(name) == voice
        seen += len(records)
        kept.sweep()
        assert kept.records() == records
        left = {path.name for path in place.iterdir()} - {".lock"}
        wanted = {voice.recording for voice in records.values()}
        assert {name for name in left if not name.endswith(".json")} == wanted
        assert len(left) == 2 * len(records)
    assert seen > 10


def test_a_voice_is_added_replaced_and_deleted(tmp_path: Path) -> None:
    kept = store(tmp_path)
    other = store(tmp_path)
    assert kept.records() == {}
    assert kept.add(record("ann", 2.0), b"one", replace=False) is None
    kept.add(record("ben", 1.0), b"two", replace=False)
    assert list(other.records()) == ["ben", "ann"], "the oldest first"
    first = other.records()["ann"]
    assert other.recording(first).read_bytes() == b"one"
    with pytest.raises(VoiceConflict, match="there is a voice 'ann' already"):
        kept.add(record("ann"), b"three", replace=False)
    replaced = kept.add(record("ann", 3.0), b"three", replace=True)
    assert replaced is not None
    second = other.find("ann")
    assert second is not None
    assert other.recording(second).read_bytes() == b"three"
    assert other.recording(first).read_bytes() == b"one", "a request may still read it"
    kept.purge(replaced)
    assert not other.recording(first).exists()

    removed = kept.delete("ann")
    assert list(other.records()) == ["ben"]
    assert other.find("ann") == second, "for the requests that were there before"
    with pytest.raises(VoiceUnknown):
        kept.delete("ann")
    kept.purge(removed)
    assert other.find("ann") is None
    assert files(tmp_path) == {".json", ".wav"}


def test_a_name_that_comes_back_is_another_voice(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.add(record("ann"), b"one", replace=False)
    first = kept.delete("ann")
    kept.add(record("ann"), b"two", replace=False)
    second = kept.delete("ann")
    kept.add(record("ann"), b"three", replace=False)
    kept.purge(first)
    assert {path.suffix for path in (tmp_path / "added").iterdir()} >= {".deleted"}
    kept.purge(second)
    assert files(tmp_path) == {".json", ".wav"}
    found = kept.find("ann")
    assert found is not None
    assert kept.recording(found).read_bytes() == b"three"


def test_a_change_is_seen_at_once_however_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes may share a time stamp, where the clock of the file system ticks slowly."""
    monkeypatch.setattr(folder_module, "_SETTLED_NS", 60_000_000_000)
    writer, reader = store(tmp_path), store(tmp_path)
    writer.add(record("ann"), b"x", replace=False)
    stamp = (tmp_path / "added").stat().st_mtime_ns
    assert list(reader.records()) == ["ann"]
    writer.add(record("ben"), b"x", replace=False)
    os.utime(tmp_path / "added", ns=(stamp, stamp))
    assert list(reader.records()) == ["ann", "ben"]
    assert reader.records() is reader.records(), "nothing has changed"
    monkeypatch.setattr(folder_module, "_SETTLED_NS", -1)
    same = reader.records()
    assert reader.records() is same


def test_the_store_is_bounded(tmp_path: Path) -> None:
    kept = store(tmp_path, max_voices=2, max_bytes=100)
    kept.add(record("a"), b"x" * 60, replace=False)
    with pytest.raises(VoiceConflict, match="60 bytes of voices are stored, the limit is 100") as full:
        kept.add(record("b"), b"x" * 41, replace=False)
    assert full.value.field == "audio_sample"
    kept.add(record("b"), b"x" * 40, replace=False)
    with pytest.raises(VoiceConflict, match="2 voices are stored, the limit is 2"):
        kept.add(record("c"), b"", replace=False)
    kept.add(record("a"), b"y" * 60, replace=True)
    assert len(kept.records()) == 2


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store(tmp_path)
    kept.add(record("ann"), b"one", replace=False)
    before = sorted(path.name for path in (tmp_path / "added").iterdir())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        kept.add(record("ann"), b"two", replace=True)
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "added").iterdir()) == before
    found = kept.find("ann")
    assert found is not None
    assert kept.recording(found).read_bytes() == b"one"


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "..", ".a", "-a", "a b", "a\0", "", "x" * 65, "😀", "\u0301a", "a\u200b"]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(InputError) as refusal:
        voice_name(name)
    assert refusal.value.field == "name"
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", ["小明", "हिन्दी", "ann-2", "a.b_c", "x" * 64, "Änne"])
def test_what_is_a_name(name: str) -> None:
    assert voice_name(name) == name


def test_a_writer_that_was_stopped_holds_up_nobody_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "LOCK_S", 0.05)
    kept = store(tmp_path)
    kept.add(record("ann"), b"x", replace=False)
    with (tmp_path / "added" / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        until = threading.Timer(5.0, fcntl.flock, (lock, fcntl.LOCK_UN))
        until.start()
        writes: list[Callable[[], object]] = [
            lambda: kept.add(record("ben"), b"x", replace=False),
            lambda: kept.delete("ann"),
            kept.sweep,
        ]
        for write in writes:
            with pytest.raises(TimeoutError, match="another process"):
                write()
        until.cancel()
    assert list(kept.records()) == ["ann"]
    kept.add(record("ben"), b"x", replace=False)


def test_a_folder_that_cannot_be_looked_at_holds_no_voices(tmp_path: Path) -> None:
    (tmp_path / "voices").write_bytes(b"no folder")
    assert store(tmp_path / "voices").records() == {}


@pytest.mark.parametrize("content", [b'{"x":' + b"[" * 16_000, b'{"created_s": 1e300, '])
def test_what_is_no_record_harms_nobody(tmp_path: Path, content: bytes) -> None:
    kept = store(tmp_path)
    kept.add(record("ann"), b"sound", replace=False)
    if content.endswith(b", "):
        content += msgspec.json.encode(record("ben"))[1:].replace(b'"created_s":1.0,', b"")
    (tmp_path / "added" / f"{folder_module._key('ben')}.json").write_bytes(content)
    assert list(store(tmp_path).records()) == ["ann"]


def test_a_folder_from_the_future_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was set back, or a copy that was restored."""
    kept = store(tmp_path)
    kept.add(record("ann"), b"x", replace=False)
    ahead_s = time.time() + 3600
    os.utime(tmp_path / "added", (ahead_s, ahead_s))
    assert list(kept.records()) == ["ann"]
    monkeypatch.setattr(kept, "_list", lambda: pytest.fail("listed again"))
    assert list(kept.records()) == ["ann"]
