"""Folders that others could change: those of kept answers, of voices, and above them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from serving.access.owner import ForeignError, check_parents, private_folder
from serving.cache.store import AnswerStore
from serving.models.indextts2.options import Options
from serving.models.indextts2.voice.library import load_voices
from serving.profile import ProfileError, VoicesProfile
from serving.voices.folder import VoiceFolder, VoiceRecord

RECORD = VoiceRecord(name="ann", recording="", created_s=1.0, consent="yes", source="http", duration_s=1.0)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o702])
def test_the_folder_itself_is_mended(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    folder.chmod(mode)
    private_folder(folder)
    assert mode_of(folder) == mode & 0o755


@pytest.mark.parametrize(
    ("mode", "refused"), [(0o777, True), (0o1777, False), (0o755, False), (0o775, False)]
)
def test_a_folder_above_that_anybody_may_write_to_is_refused(
    mode: int, refused: bool, tmp_path: Path
) -> None:
    above = tmp_path / "above"
    (above / "between" / "own").mkdir(parents=True)
    above.chmod(mode)
    if not refused:
        private_folder(above / "between" / "own")
        return
    for check in (private_folder, check_parents):
        with pytest.raises(ForeignError) as foreign:
            check(above / "between" / "own")
        assert foreign.value.filename == str(above)
        assert str(above) not in str(foreign.value.strerror), "a client may be told the reason, not the place"


def test_other_owners_and_groups_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "above" / "own"
    own.mkdir(parents=True)
    own.parent.chmod(0o775)
    private_folder(own)  # a group that has no other member
    group, user = os.getegid() + 1, os.geteuid() + 1
    monkeypatch.setattr(os, "getegid", lambda: group)
    with pytest.raises(ForeignError, match="its group may replace"):
        private_folder(own)
    own.parent.chmod(0o755)
    private_folder(own)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr("serving.access.owner.ROOT", user)
    with pytest.raises(ForeignError, match=r"another user|its owner"):
        private_folder(own)


def test_a_cache_that_others_can_change_keeps_and_finds_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(0o777)
    store = AnswerStore(above / "kept", 1_000_000)
    assert "keeps nothing" in caplog.text
    recording = store.record("a" * 64, "audio/wav")
    recording.add(b"x")
    recording.commit({})
    assert store.find("a" * 64) is None
    assert list((above / "kept").iterdir()) == []
    assert store.state.failures == 1


def test_voices_that_others_could_have_put_there_are_refused(tmp_path: Path) -> None:
    above = tmp_path / "above"
    (above / "voices").mkdir(parents=True)
    above.chmod(0o777)
    with pytest.raises(ProfileError, match=r"model.options.voices: .*anybody may replace"):
        load_voices(Options(weights="random", voices=str(above / "voices")), VoicesProfile())
    folder = VoiceFolder(above / "voices" / "added", max_voices=3, max_bytes=1000)
    with pytest.raises(ForeignError):
        folder.add(RECORD, b"RIFF", replace=False)
    above.chmod(0o755)
    folder.add(RECORD, b"RIFF", replace=False)
    assert set(folder.records()) == {"ann"}
