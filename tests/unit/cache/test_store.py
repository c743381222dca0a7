"""The folder of answers: what is broken is never given out, what is bounded stays so, and nothing raises."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving.cache.file import BLOCK_BYTES, MAGIC
from serving.cache.store import STALE_PART_S, AnswerStore, Recording
from tests.support import ROOT, environment

MB = 1 << 20


def key_of(number: int) -> str:
    return f"{number:064x}"


def keep(store: AnswerStore, number: int, content: bytes, **headers: str) -> None:
    recording = store.record(key_of(number), "audio/wav")
    for start in range(0, len(content), 1000):
        recording.add(content[start : start + 1000])
    recording.commit(headers)


def found(store: AnswerStore, number: int) -> bytes | None:
    hit = store.find(key_of(number))
    if hit is None:
        return None
    try:
        return b"".join(hit.pieces())
    finally:
        hit.close()


def answers(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.answer"))


def used_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.iterdir())


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "cache", MB)


def test_what_was_kept_is_given_back(store: AnswerStore) -> None:
    content = random.Random(1).randbytes(200_000)
    assert found(store, 1) is None
    keep(store, 1, content, X="ä".encode().decode("latin-1"))
    hit = store.find(key_of(1))
    assert hit is not None
    assert b"".join(hit.pieces()) == content
    hit.close()
    assert (hit.meta.media_type, hit.meta.key) == ("audio/wav", key_of(1))
    assert abs(hit.meta.made_at_s - time.time()) < 60
    assert found(AnswerStore(store.folder, MB), 1) == content, "another process finds it too"
    assert (store.state.hits, store.state.misses, store.state.failures) == (1, 1, 0)


def test_every_flipped_byte_is_noticed(store: AnswerStore) -> None:
    keep(store, 1, b"some bytes of audio")
    (path,) = answers(store.folder)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x40]) + whole[position + 1 :])
        assert found(store, 1) is None, position
        assert not path.exists(), "and the file is taken away"
    path.write_bytes(whole)
    assert found(store, 1) == b"some bytes of audio"


def test_every_cut_is_noticed(store: AnswerStore) -> None:
    keep(store, 1, b"some bytes of audio")
    (path,) = answers(store.folder)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert found(store, 1) is None
    path.write_bytes(whole + b"x")
    assert found(store, 1) is None


def test_the_file_of_another_key_is_not_taken(store: AnswerStore) -> None:
    keep(store, 1, b"one")
    (path,) = answers(store.folder)
    path.rename(path.with_name(f"{key_of(2)}.answer"))
    assert found(store, 2) is None


def test_a_file_with_a_true_sum_and_another_inside(store: AnswerStore) -> None:
    keep(store, 1, b"one")
    (path,) = answers(store.folder)
    for inside in (b"", MAGIC, MAGIC + b"{}" + (2).to_bytes(4, "big"), MAGIC + b"\xff" * 8, bytes(100)):
        path.write_bytes(inside + hashlib.sha256(inside).digest())
        assert found(store, 1) is None
        assert not path.exists()


def test_links_folders_and_pipes_are_no_answers(store: AnswerStore, tmp_path: Path) -> None:
    keep(store, 1, b"one")
    (path,) = answers(store.folder)
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    assert found(store, 1) is None
    assert not path.is_symlink()
    assert outside.exists(), "what the link led to is left alone"
    os.mkfifo(path)
    assert found(store, 1) is None
    path.mkdir()
    assert found(store, 1) is None
    keep(store, 1, b"one")
    assert found(store, 1) is None, "a folder is not removed, and what cannot be kept is not kept"
    path.rmdir()
    keep(store, 1, b"one")
    assert found(store, 1) == b"one"
    assert not list(store.folder.glob(".*.part"))


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path, 4 * BLOCK_BYTES)
    for number in range(4):
        keep(store, number, bytes(100))
        os.utime(answers(tmp_path)[number], (1000 + number, 1000 + number))
    assert found(store, 0) is not None  # used now
    keep(store, 4, bytes(100))
    kept = [found(store, number) is not None for number in range(5)]
    assert kept == [True, False, True, True, True]


def test_the_bound_holds(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path, 300_000)
    chance = random.Random(2)
    for number in range(60):
        keep(store, number, chance.randbytes(chance.choice([10, 5000, 90_000])))
        assert used_bytes(tmp_path) <= 300_000
    assert found(store, 59) is not None


def test_an_answer_larger_than_the_cache_is_not_kept_and_takes_nothing_away(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path, 3 * BLOCK_BYTES)
    keep(store, 1, b"small")
    keep(store, 2, bytes(4 * BLOCK_BYTES))
    keep(store, 3, bytes(3 * BLOCK_BYTES))  # with its header, a block too many
    assert (found(store, 1), found(store, 2), found(store, 3)) == (b"small", None, None)
    assert len(list(tmp_path.glob(".*.part"))) == 0
    assert store.state.failures == 0
    AnswerStore(tmp_path, 1).record(key_of(5), "x").add(b"x")  # and raises nothing


def test_what_is_dropped_leaves_nothing(store: AnswerStore) -> None:
    recording = store.record(key_of(1), "audio/wav")
    recording.add(b"half")
    assert list(store.folder.glob(".*.part"))
    assert found(store, 1) is None
    recording.drop()
    recording.drop()
    recording.add(b"more")
    recording.commit({})
    assert not list(store.folder.glob(".*.part"))
    assert found(store, 1) is None


def test_what_a_dead_process_was_writing_is_taken_away(store: AnswerStore) -> None:
    old, new = store.folder / ".1-a.part", store.folder / ".2-b.part"
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    long_ago = time.time() - 2 * STALE_PART_S
    os.utime(old, (long_ago, long_ago))
    keep(store, 1, b"one")
    assert not old.exists()
    assert new.exists()


def test_a_folder_that_cannot_be_is_a_cache_that_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = AnswerStore(tmp_path / "file" / "cache", MB)
    keep(store, 1, b"one")
    assert found(store, 1) is None
    assert store.state.failures > 0


def test_a_folder_that_is_taken_away_meanwhile(store: AnswerStore) -> None:
    recording = store.record(key_of(1), "x")
    recording.add(b"half")
    for path in store.folder.iterdir():
        path.unlink()
    store.folder.rmdir()
    recording.add(b"more")
    recording.commit({})
    assert found(store, 1) is None


def test_a_full_disk() -> None:
    # /dev/full stands for it: every write to it says ENOSPC.
    store = AnswerStore(Path("/dev"), MB)
    recording = store.record(key_of(1), "x")
    recording._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    recording.add(b"x")
    recording.commit({})
    assert store.state.failures == 1


def test_many_threads_with_one_key(store: AnswerStore) -> None:
    # All of them fit at once: what finds no room beside the others' unfinished files is not kept.
    contents = {bytes([number]) * 25_000 for number in range(32)}
    seen: set[bytes | None] = set()

    def work(content: bytes) -> None:
        keep(store, 1, content)
        seen.add(found(store, 1))

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen - {None} <= contents, "another's answer, or a miss, and never a mixture"
    assert len(answers(store.folder)) == 1
    assert not list(store.folder.glob(".*.part"))


def test_an_answer_that_is_read_while_it_is_taken_away(store: AnswerStore) -> None:
    content = bytes(300_000)
    keep(store, 1, content)
    hit = store.find(key_of(1))
    assert hit is not None
    answers(store.folder)[0].unlink()
    assert b"".join(hit.pieces()) == content
    hit.close()


WRITER = """
import sys, itertools, random
from pathlib import Path
from serving.cache.store import AnswerStore
store = AnswerStore(Path(sys.argv[1]), int(sys.argv[2]))
chance = random.Random(int(sys.argv[3]))
for _ in itertools.count():
    number = chance.randrange(20)
    recording = store.record(f"{number:064x}", "audio/wav")
    for _ in range(8):
        recording.add(bytes([number]) * 5000)
    recording.commit({})
    hit = store.find(f"{chance.randrange(20):064x}")
    if hit is not None:
        assert set(b"".join(hit.pieces())) == {int(hit.meta.key, 16)}
        hit.close()
    print(store.state.failures, flush=True)
"""


@pytest.mark.slow
def test_two_processes_share_a_folder_and_are_killed(tmp_path: Path) -> None:
    limit = 400_000
    for round_ in range(4):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path), str(limit), str(round_ * 2 + number)],
                cwd=ROOT,
                env=environment(),
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            for _ in range(40):
                assert process.stdout.readline().strip() == "0", "a process failed"
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        # Each may have left one file that it was writing.
        assert sum(path.stat().st_size for path in answers(tmp_path)) <= limit
        store = AnswerStore(tmp_path, limit)
        given = [content for number in range(20) if (content := found(store, number)) is not None]
        assert given
        assert all(len(content) == 40_000 and len(set(content)) == 1 for content in given)
        assert store.state.failures == 0, "a file in its place is whole"
    assert answers(tmp_path)[0].read_bytes()[: len(MAGIC)] == MAGIC


def test_who_leaves_does_not_wait_for_a_slow_disk(
    store: AnswerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes, goes_on = threading.Event(), threading.Event()
    write = Recording._write

    def slowly(self: Recording, piece: bytes) -> None:
        writes.set()
        assert goes_on.wait(20)
        write(self, piece)

    monkeypatch.setattr(Recording, "_write", slowly)
    recording = store.record(key_of(1), "audio/wav")
    thread = threading.Thread(target=recording.add, args=(b"x" * 100,))
    thread.start()
    assert writes.wait(20)
    leaves = threading.Thread(target=recording.drop)
    leaves.start()
    leaves.join(20)
    assert not leaves.is_alive(), "the writer still holds the recording"
    goes_on.set()
    thread.join(20)
    recording.commit({})
    assert found(store, 1) is None
    assert list(store.folder.iterdir()) == []


def test_a_folder_that_another_process_holds_delays_one_answer_and_no_reader(store: AnswerStore) -> None:
    keep(store, 0, b"kept before")
    with (store.folder / "lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        threads = [threading.Thread(target=keep, args=(store, number, b"x" * 10)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        reads = threading.Thread(target=found, args=(store, 0))
        reads.start()
        reads.join(20)
        assert any(thread.is_alive() for thread in threads), "a reader waits for no writer"
        for thread in threads:
            thread.join(20)
    assert store.state.failures == 4
    assert [found(store, number) for number in range(5)] == [b"kept before", None, None, None, None]
    assert store.state.hits == 2
