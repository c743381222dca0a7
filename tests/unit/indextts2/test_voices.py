"""Voices of IndexTTS2: what makes a recording a voice, how it is stored, and what is kept of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from serving.cli import main
from serving.models import add_voice
from serving.models.indextts2.options import Options
from serving.models.indextts2.voice.conditioning import VoiceConditioning
from serving.models.indextts2.voice.features import load_mono, resample_file
from serving.models.indextts2.voice.library import Library, load_voices
from serving.models.indextts2.voice.recordings import BUILT_IN, LIMITS, Reference, built_in_wave
from serving.models.indextts2.voice.store import ByteLru, VoiceStore
from serving.profile import ModelProfile, Profile, ProfileError, VoicesProfile
from serving.protocol import InputError
from serving.voices.folder import Removed, VoiceFolder
from serving.voices.recording import RecordingReport, decode
from serving.voices.recording import examine as examine_recording
from tests.support import ROOT, environment
from tests.unit.indextts2.support import make, params, request

pytestmark = pytest.mark.slow

RATE = 24000


def profile(folder: Path | str) -> Profile:
    """A profile whose checkpoint need not be there for voices to be added."""
    return Profile(name="test", model=ModelProfile(name="indextts2", options={"voices": str(folder)}))


def voices(folder: Path | str) -> list[str]:
    """The names of the voices of a folder."""
    return list(load_voices(Options(voices=str(folder), weights="random"), VoicesProfile()))


def examine(path: Path) -> RecordingReport:
    with path.open("rb") as file:
        return examine_recording(decode(file, "file", 60), LIMITS)


def stored(folder: Path) -> Path:
    """The one recording that was added to a folder of voices."""
    (recording,) = (folder / "added").glob("*.wav")
    return recording


def write(path: Path, wave: NDArray[Any], rate: int = RATE) -> Path:
    soundfile.write(path, wave, rate)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "recording.wav", built_in_wave(RATE))


def test_a_voice_is_added_and_listed(tmp_path: Path, good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "voices"
    where = ["--profile", "indextts2-default", "--set", f"model.options.voices={folder}"]
    assert main(["voices", *where, "add", "ann", str(good)]) == 0
    assert main(["voices", "add", "ben", str(good), *where]) == 0
    assert "ben: 4.0 s" in capsys.readouterr().out
    for recording in (folder / "added").glob("*.wav"):
        samples, rate_hz = soundfile.read(recording)
        assert rate_hz == RATE
        assert np.array_equal(samples, soundfile.read(good)[0])
    random = ["--set", "model.options.weights=random", "--set", "model.options.size=tiny"]
    assert main(["voices", *where, *random]) == 0
    listed = capsys.readouterr().out
    assert "ann (default)" in listed
    assert "ben" in listed
    assert main(["voices", "add", "ann", str(good), *where]) == 2
    assert "name: there is a voice 'ann'" in capsys.readouterr().err
    assert main(["voices", "add", "ann", str(good)]) == 2
    assert "model.name: hibari cannot take new voices" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wave", "rate", "words"),
    [
        (built_in_wave(RATE)[:12000], RATE, "0.5 s long"),
        (np.tile(built_in_wave(16000), 16), 16000, "longer than 60 s"),
        (built_in_wave(8000), 8000, "8000 samples a second"),
        (np.clip(built_in_wave(RATE) * 9, -1, 1), RATE, "clipped"),
        (built_in_wave(RATE) * 0.01, RATE, "silent"),
        (np.zeros(2 * RATE), RATE, "silent"),
        (np.where(np.arange(4 * RATE) < 4800, built_in_wave(RATE), 0), RATE, "nearly silent"),
    ],
)
def test_a_bad_recording_is_refused_with_the_reason(
    tmp_path: Path, wave: NDArray[Any], rate: int, words: str
) -> None:
    file = write(tmp_path / "bad.wav", wave, rate)
    with pytest.raises(InputError, match=words) as error:
        add_voice(profile(tmp_path / "voices"), "bad", file)
    assert error.value.field == "file"
    assert not (tmp_path / "voices").exists()


def write_by_ffmpeg(path: Path, wave: NDArray[Any], codec: str) -> Path:
    """A file as phones (aac in m4a) and browsers (opus in webm) record it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48000)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        samples = resample_file(np.asarray(wave, np.float32), RATE, 48000)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "codec"), [("a.m4a", "aac"), ("a.mp4", "aac"), ("a.webm", "libopus"), ("a.mp3", "libmp3lame")]
)
def test_recordings_of_phones_and_browsers_are_taken(tmp_path: Path, name: str, codec: str) -> None:
    wave = built_in_wave(RATE)
    file = write_by_ffmpeg(tmp_path / name, wave, codec)
    report = examine(file)
    assert (report.sample_rate_hz, report.channels) == (48000, 1)
    assert report.seconds == pytest.approx(4.0, abs=0.1)
    folder = tmp_path / "voices"
    assert add_voice(profile(folder), "ann", file).duration_s == pytest.approx(4.0, abs=0.1)
    assert voices(folder) == ["ann"]
    read = load_mono(stored(folder), RATE).numpy()
    # What a codec of 64 kbit/s leaves of the wave, at whatever delay.
    size = len(read) + len(wave)
    peak = np.abs(np.fft.irfft(np.fft.rfft(read, size) * np.fft.rfft(wave, size).conj())).max()
    assert peak > 0.95 * np.linalg.norm(read) * np.linalg.norm(wave)


def test_what_ffmpeg_cannot_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.m4a").write_text("no sound")
    with av.open(str(tmp_path / "picture.mp4"), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        assert isinstance(video, av.VideoStream)
        video.width = video.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
        for packet in [*video.encode(frame), *video.encode(None)]:
            container.mux(packet)
    for file, words in (
        ("text.m4a", "not readable"),
        ("absent.webm", "cannot be read"),
        ("picture.mp4", "no audio"),
    ):
        with pytest.raises(InputError, match=words) as error:
            add_voice(profile(tmp_path / "voices"), "ann", tmp_path / file)
        assert error.value.field == "file"


def speech_after(silence_s: float, seconds: float) -> NDArray[np.float32]:
    speech = np.tile(built_in_wave(RATE), 6)[: int(seconds * RATE)]
    return np.concatenate([np.zeros(int(silence_s * RATE), np.float32), speech])


def test_loudness_is_that_of_the_seconds_that_are_used(tmp_path: Path) -> None:
    where = profile(tmp_path / "voices")
    with pytest.raises(InputError, match="silent: the loudest sample in the first 15 s"):
        add_voice(where, "late", write(tmp_path / "late.wav", speech_after(16, 6)))
    with pytest.raises(InputError, match=r"nearly silent: 0\.[234] s of sound in the first 15 s"):
        add_voice(where, "late", write(tmp_path / "late.wav", speech_after(14.6, 6)))
    # What comes after the first 15 s may be as loud, as clipped or as silent as it likes.
    loud_end = speech_after(0, 20)
    loud_end[16 * RATE :] = np.clip(loud_end[16 * RATE :] * 50, -1, 1)
    added = add_voice(where, "end", write(tmp_path / "end.wav", loud_end))
    assert added.warnings == ["only the first 15 s are used"]
    silent_end = np.concatenate([speech_after(0, 6), np.zeros(20 * RATE, np.float32)])
    add_voice(where, "quiet", write(tmp_path / "quiet.wav", silent_end))


def test_a_silent_start_is_mentioned(tmp_path: Path) -> None:
    where = profile(tmp_path / "voices")
    (warning,) = add_voice(where, "late", write(tmp_path / "late.wav", speech_after(3, 6))).warnings
    assert "the first 3.0 s are silent" in warning
    assert not add_voice(where, "early", write(tmp_path / "early.wav", speech_after(0.5, 6))).warnings


@pytest.mark.parametrize("name", ["小明", "小明-2", "张三.旧", "さくら", "Änne", "a_b"])
def test_names_of_any_letters(tmp_path: Path, good: Path, name: str) -> None:
    folder = tmp_path / "voices"
    add_voice(profile(folder), unicodedata.normalize("NFD", name), good)
    assert voices(folder) == [name]
    operators = tmp_path / "operators"
    operators.mkdir()
    write(operators / (unicodedata.normalize("NFD", name) + ".wav"), built_in_wave(RATE))
    for place in (folder, operators):
        assert voices(place) == [name]
        frontend, _ = make(voices=str(place))
        assert frontend.spec.default_voice == name
        assert request(frontend, "你好。", voice=name)[1].text == "你 好 ."


def test_a_file_whose_name_is_no_text_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "ann.wav", built_in_wave(RATE))
    (tmp_path / os.fsdecode(b"stimme_\xfc.wav")).write_bytes((tmp_path / "ann.wav").read_bytes())
    assert voices(tmp_path) == ["ann"]


def test_what_is_no_recording_or_no_name_is_refused(tmp_path: Path, good: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    for file in (tmp_path / "text.wav", tmp_path / "absent.wav", tmp_path / "voice.txt"):
        with pytest.raises(InputError) as error:
            add_voice(profile(tmp_path / "voices"), "ann", file)
        assert error.value.field == "file"
    for name in ("", "../ann", ".ann", "a b", "a" * 65):
        with pytest.raises(InputError) as error:
            add_voice(profile(tmp_path / "voices"), name, good)
        assert error.value.field == "name"
    with pytest.raises(ProfileError, match=r"model\.options\.voices"):
        add_voice(profile(""), "ann", good)


def test_random_weights_have_a_voice_of_their_own(tmp_path: Path) -> None:
    assert voices("") == [BUILT_IN]
    with pytest.raises(ProfileError, match=r"model\.options\.voices"):
        load_voices(Options(checkpoint="there"), VoicesProfile())
    file = write(tmp_path / "built-in.wav", built_in_wave(RATE))
    assert examine(file).problems() == []


@pytest.mark.slow
def test_the_frontend_needs_no_torch() -> None:
    """The HTTP process makes it."""
    code = (
        "import sys; from serving.profile import load_profile; from serving.models import load_frontend;"
        "load_frontend(load_profile('indextts2-default', "
        "['model.options.weights=random', 'model.options.size=tiny']));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment(), timeout=60)


def test_what_is_kept_is_bounded_in_bytes() -> None:
    kept = ByteLru(100)
    for key in "abc":
        kept.put(key, key.upper(), 40)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (None, "B", "C")
    kept.get("b")
    kept.put("d", "D", 40)
    assert (kept.get("b"), kept.get("c"), kept.get("d")) == ("B", None, "D")
    kept.put("b", "B2", 60)
    assert (kept.get("b"), kept.used_bytes, len(kept)) == ("B2", 100, 2)
    kept.put("e", "E", 101)
    assert (kept.get("e"), kept.used_bytes) == (None, 100)


def test_a_replaced_recording_is_another_voice(tmp_path: Path, good: Path) -> None:
    store = VoiceStore({"ann": Reference("ann", good)}, 10_000)
    first = store.content_key("ann")
    copy = tmp_path / "copy.wav"
    copy.write_bytes(good.read_bytes())
    assert VoiceStore({"ben": Reference("ben", copy)}, 0).content_key("ben") == first
    tensor = torch.zeros(10)
    voice = VoiceConditioning(*[tensor] * 6)
    store.put_voice(first, voice)
    assert store.voice(first) is voice
    assert store.used_bytes == 240
    write(good, built_in_wave(RATE)[:RATE])
    second = store.content_key("ann")
    assert second != first
    assert store.voice(second) is None
    good.unlink()
    with pytest.raises(InputError):
        store.content_key("ann")


def test_voices_are_conditioned_at_start_if_the_profile_says_so(tmp_path: Path, good: Path) -> None:
    folder = tmp_path / "voices"
    folder.mkdir()
    shutil.copy(good, folder / "ann.wav")
    ben = folder / "ben.wav"
    write(ben, built_in_wave(RATE)[:RATE])
    for preload, ready in (("none", []), ("default", ["ann"]), ("all", ["ann", "ben"])):
        frontend, model = make(voices=str(folder), preload=preload)
        wanted, segment = request(frontend, "Hello.", voice="ann")
        stages = {
            name: model.open(msgspec.structs.replace(wanted, voice=name), segment, 0, urgent=False).stage
            for name in ("ann", "ben")
        }
        assert [name for name, stage in stages.items() if stage == "prefill"] == ready
    ben.write_text("no sound")
    with pytest.raises(ProfileError, match=r"model\.options\.preload: ben\.wav"):
        make(voices=str(folder), preload="all")


def test_the_emotion_that_counts() -> None:
    frontend, model = make()
    vector = (0.0, 0.5, *[0.0] * 6)
    given: dict[str, Any] = {"emo_text": "Alas!", "emo_vector": vector, "emo_voice": BUILT_IN}
    segment = request(frontend, "Hello.")[1]

    def emotion(**fields: Any) -> Any:
        return model.open(params(**fields), segment, 0, urgent=False).emotion_key

    key = model.store.content_key(BUILT_IN)
    text, by_vector, by_voice, own = (
        emotion(**given, emo_alpha=0.5),
        emotion(**{**given, "emo_text": None}),
        emotion(emo_voice=BUILT_IN, emo_alpha=0.25),
        emotion(emo_alpha=0.25),
    )
    assert (text.emotion.text, text.emotion.vector, text.recording) == ("Alas!", None, None)
    assert text.emotion.alpha == 0.5
    assert (by_vector.emotion.vector, by_vector.recording) == (vector, None)
    assert (by_voice.recording, by_voice.emotion.alpha) == (key, 0.25)
    # Without an emotion its strength means nothing.
    assert own == emotion()


def test_two_who_delete_at_once_leave_a_voice(
    tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = VoiceFolder(tmp_path / "added", max_voices=9, max_bytes=1 << 30)
    (tmp_path / "own").mkdir()
    library = Library(tmp_path / "own", kept, "", "en")
    for name in ("ann", "ben"):
        with good.open("rb") as recording:
            library.add(name, recording, field="file", consent="mine", source="http", replace=False)
    both, really = threading.Barrier(2), VoiceFolder.delete

    def together(self: VoiceFolder, name: str) -> Removed:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        return really(self, name)

    monkeypatch.setattr(VoiceFolder, "delete", together)
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(library.delete, name) for name in ("ann", "ben")]
    assert sorted(type(end.exception()).__name__ for end in ends) == ["NoneType", "VoiceConflict"]
    assert len(kept.records()) == 1
