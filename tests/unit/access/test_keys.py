"""The file of keys, and the search for a key that is presented."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving.access import keys as module
from serving.access.keys import RELOAD_S, Keys, KeysError, add_key, read_keys, remove_key
from serving.cli import main


class Clock:
    """Moves when it is told to."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_that_was_made_is_found_and_no_other(file: Path) -> None:
    ann, ben = (add_key(file, name) for name in ("ann", "ben"))
    keys = Keys(file)
    assert ann != ben
    found = keys.find(ann.encode()), keys.find(ben.encode())
    assert [key.name if key else None for key in found] == ["ann", "ben"]
    for wrong in (b"", ann[:-1].encode(), ann.encode() + b"x", ann.upper().encode(), b"\xff\x00", b"x" * 512):
        assert keys.find(wrong) is None
    digest = hashlib.sha256(ann.encode()).hexdigest()
    assert keys.find(digest.encode()) is None, "the file's content opens nothing"


def test_the_file_holds_no_key_and_is_its_owners_alone(file: Path) -> None:
    key = add_key(file, "ann", requests_per_minute=5)
    assert key.removeprefix(module.PREFIX) not in file.read_text(encoding="utf-8")
    assert len(key) >= len(module.PREFIX) + 43, "256 bits"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == [file.name], "nothing is left beside it"


def test_keys_that_are_added_at_once_are_all_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = module._write

    def slowly(path: Path, keys: list[module.Key]) -> None:
        time.sleep(0.02)
        write(path, keys)

    monkeypatch.setattr(module, "_write", slowly)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add_key(file, f"key{number}"), range(8)))
    assert len(read_keys(file)) == 8


def test_a_file_that_somebody_holds_is_said_to_be(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_S", 0.05)
    with module._alone(file), pytest.raises(KeysError, match="another process is changing"):
        add_key(file, "ann")


def test_a_change_shuts_no_reader_out(file: Path) -> None:
    add_key(file, "ann")
    file.chmod(0o640)
    add_key(file, "ben")
    remove_key(file, "ann")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_an_unknown_key_costs_the_work_of_a_known_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [add_key(file, f"key{number}") for number in range(5)]
    keys = Keys(file)
    calls: list[str] = []

    def counted(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls.append(name)
            return work(*arguments)

        return call

    monkeypatch.setattr(hashlib, "sha256", counted("digest", hashlib.sha256))
    monkeypatch.setattr(hmac, "compare_digest", counted("compare", hmac.compare_digest))
    work = []
    for presented in (made[0], made[-1], "tts_unknown", ""):
        calls.clear()
        keys.find(presented.encode())
        work.append(list(calls))
    assert work == [["digest"] + ["compare"] * 5] * 4


def test_a_change_is_noticed_and_a_removed_key_opens_nothing(file: Path) -> None:
    clock = Clock()
    ann = add_key(file, "ann")
    keys = Keys(file, clock)
    ben = add_key(file, "ben")
    assert keys.find(ben.encode()) is None, "the file is not read for every request"
    clock.now_s += RELOAD_S
    assert keys.find(ben.encode()) is not None
    remove_key(file, "ann")
    clock.now_s += RELOAD_S
    assert keys.find(ann.encode()) is None
    assert keys.find(ben.encode()) is not None


def test_a_key_is_held_until_it_is_taken_away_or_the_file_cannot_be_used(file: Path) -> None:
    ann, ben = (add_key(file, name) for name in ("ann", "ben"))
    clock = Clock()
    keys = Keys(file, clock)
    found, other = keys.find(ann.encode()), keys.find(ben.encode())
    assert found is not None
    assert other is not None
    assert keys.holds(found)
    remove_key(file, "ann")
    clock.now_s += RELOAD_S
    assert not keys.holds(found)
    assert keys.holds(other)
    file.unlink()
    clock.now_s += RELOAD_S
    assert not keys.holds(other)


def break_by(what: str, file: Path) -> None:
    match what:
        case "missing":
            file.unlink()
        case "group":
            file.chmod(0o620)
        case "world":
            file.chmod(0o602)
        case "folder":
            file.unlink()
            file.mkdir()
        case "pipe":
            file.unlink()
            os.mkfifo(file)
        case "open folder":
            file.parent.chmod(0o777)
        case "large":
            file.write_bytes(b" " * (module.MAX_FILE_BYTES + 1))
        case "deep":
            file.write_bytes(b'{"keys":' + b"[" * 100_000)
        case "twice":
            content = json.loads(file.read_bytes())
            file.write_text(json.dumps({"keys": content["keys"] * 2}), encoding="utf-8")
        case _:
            file.write_bytes(what.encode("latin-1"))


BROKEN = [
    ("missing", "No such file"),
    ("group", "chmod go-w"),
    ("world", "chmod go-w"),
    ("open folder", "its folder"),
    ("folder", "no plain file"),
    ("pipe", "no plain file"),
    ("large", "larger than"),
    ("deep", "no file of keys"),
    ("twice", "twice"),
    ("", "no file of keys"),
    ("\xff\xfe", "no file of keys"),
    ("[]", "no file of keys"),
    ('{"keys": null}', "no file of keys"),
    ('{"keys": [{"name": "a\\n", "sha256": "' + "0" * 64 + '"}]}', "no file of keys"),
    ('{"keys": [{"name": "a", "sha256": "' + "0" * 63 + '"}]}', "no file of keys"),
    ('{"keys": [{"name": "a", "sha256": "' + "0" * 64 + '", "requests_per_minute": 0}]}', "no file of keys"),
    ('{"keys": [{"name": "a", "sha256": "' + "0" * 64 + '", "admin": true}]}', "no file of keys"),
]


@pytest.mark.parametrize(("what", "why"), BROKEN)
def test_a_file_that_cannot_be_trusted_lets_nobody_in(file: Path, what: str, why: str) -> None:
    clock = Clock()
    ann = add_key(file, "ann")
    keys = Keys(file, clock)
    break_by(what, file)
    with pytest.raises(KeysError, match=why):
        read_keys(file)
    clock.now_s += RELOAD_S
    for _ in range(2):
        with pytest.raises(KeysError, match=why):
            keys.find(ann.encode())


def test_it_opens_again_when_the_file_is_whole(file: Path) -> None:
    clock = Clock()
    ann = add_key(file, "ann")
    keys = Keys(file, clock)
    file.chmod(0o666)
    clock.now_s += RELOAD_S
    with pytest.raises(KeysError):
        keys.find(ann.encode())
    file.chmod(0o600)
    clock.now_s += RELOAD_S
    assert keys.find(ann.encode()) is not None


def test_a_file_of_another_user_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_key(file, "ann")
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    if file.stat().st_uid != 0:
        with pytest.raises(KeysError, match="another user"):
            read_keys(file)
    os.chown(file, 12345, -1) if os.getuid() == 0 else None
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(KeysError, match="another user"):
        read_keys(file)


def test_a_full_disk_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_key(file, "ann")
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeysError, match="disk full"):
        add_key(file, "ben")
    assert file.read_bytes() == before
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("name", ["", "a b", "../a", "a\n", "ä", "x" * 65, ".a"])
def test_names_are_plain(file: Path, name: str) -> None:
    with pytest.raises(KeysError, match="name"):
        add_key(file, name)
    assert not file.exists()


def test_the_command(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--file", str(file)]
    assert main(["keys", "add", "ann", "--operator", "--requests-per-minute", "7", *named]) == 0
    key = capsys.readouterr().out.strip()
    found = Keys(file).find(key.encode())
    assert found is not None
    assert (found.name, found.operator, found.requests_per_minute) == ("ann", True, 7)
    assert main(["keys", "add", "ann", *named]) == 2
    assert "already" in capsys.readouterr().err
    assert main(["keys", "list", "--set", f"access.keys_file={file}"]) == 0
    listed = capsys.readouterr().out
    assert "ann" in listed
    assert found.sha256 not in listed
    assert main(["keys", "remove", "ben", *named]) == 2
    assert main(["keys", "remove", "ann", *named]) == 0
    assert Keys(file).find(key.encode()) is None
    assert main(["keys", "add", "ben"]) == 2
    assert "access.keys_file" in capsys.readouterr().err
    assert main(["keys", "add", "ben", "--audio-s-per-day", "-1", *named]) == 2
