"""Voices: a folder of reference recordings, or a sound made by formula where weights are random. No torch."""

from __future__ import annotations

import hashlib
import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.models.indextts2.options import Options
from serving.models.indextts2.voice.audio_file import SUFFIXES, read_audio
from serving.profile import ProfileError
from serving.protocol import InputError

BUILT_IN = "hum"
"""The voice that random weights have where no folder is named: built_in_wave()."""
BUILT_IN_S = 4.0
MIN_S, MAX_S = 1.0, 60.0
"""Lengths that `voices add` takes."""
MAX_REFERENCE_S = 15
"""What the model reads of a recording, from its start."""
MIN_RATE_HZ = 16000
"""The encoders read up to 8 kHz."""
MAX_CLIPPED = 0.001
"""Share of samples at full scale above which a recording counts as clipped."""
MIN_PEAK = 0.02
MIN_VOICED_S = 0.5
"""Sound louder than SILENCE_DB under the peak that a recording must hold."""
MAX_HEAD_S = 1.0
"""Silence at the start that goes without mention."""
SILENCE_DB = 40.0

_NAME = re.compile(r"[^\W_][\w.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a voice's sound comes from."""

    name: str
    path: Path | None
    """None: built_in_wave()."""

    def content_key(self) -> str:
        """SHA-256 of the recording, so that a file that was replaced is another voice. Raises InputError."""
        if self.path is None:
            return f"built-in {self.name}"
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError("voice", f"{self.path.name} cannot be read: {error.strerror}") from None


def references(options: Options) -> dict[str, Reference]:
    """The voices of a profile by name, sorted. Raises ProfileError if there is none."""
    if not options.voices:
        if options.weights == "random":
            return {BUILT_IN: Reference(BUILT_IN, None)}
        raise ProfileError("model.options.voices: not set; name a folder with at least one recording")
    found = voice_files(Path(options.voices))
    if not found:
        raise ProfileError(f"model.options.voices: {options.voices} holds no recording")
    return {name: Reference(name, path) for name, path in found.items()}


def voice_files(folder: Path) -> dict[str, Path]:
    """Voice name to recording, sorted by name. Hidden files and other suffixes are passed over.

    Raises ProfileError if the folder does not exist, or if two files would have one name.
    """
    if not folder.is_dir():
        raise ProfileError(f"model.options.voices: {folder} is not a folder")
    voices: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
            continue
        name = unicodedata.normalize("NFC", path.stem)
        if name in voices:
            raise ProfileError(f"model.options.voices: two recordings of the name {name!r}")
        voices[name] = path
    return dict(sorted(voices.items()))


def built_in_wave(sample_rate_hz: int) -> NDArray[np.float32]:
    """Four seconds of a hum with syllables, float32 [4 * rate]: eight harmonics of a gliding pitch and breath.

    A sound for random weights to be conditioned on, the same at every call; no person's voice.
    """
    time_s = np.arange(int(BUILT_IN_S * sample_rate_hz)) / sample_rate_hz
    pitch_hz = 140.0 + 25.0 * np.sin(2 * np.pi * 0.7 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate_hz
    syllables = 0.15 + 0.85 * np.sin(2 * np.pi * 2.0 * time_s) ** 2
    vowel = 1.5 + np.sin(2 * np.pi * 0.9 * time_s)
    tones = sum(np.sin(harmonic * phase) / harmonic**vowel for harmonic in range(1, 9))
    breath = np.random.default_rng(0).standard_normal(len(time_s))
    sound = syllables * (tones + 0.02 * breath)
    wave: NDArray[np.float32] = (0.5 * sound / np.abs(sound).max()).astype(np.float32)
    return wave


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """What `voices add` finds in a recording. Loudness is that of its first MAX_REFERENCE_S, which the model reads."""

    seconds: float
    """Of the whole file."""
    sample_rate_hz: int
    channels: int
    peak: float
    clipped: float
    """Share of samples at full scale."""
    voiced_s: float
    head_s: float
    """Silence before the first sound."""

    def problems(self) -> list[str]:
        """Why it makes no good voice; empty if it does."""
        found = []
        if not MIN_S <= self.seconds <= MAX_S:
            found.append(f"{self.seconds:.1f} s long; {MIN_S:g} to {MAX_S:g} s are taken, 5 to 15 are best")
        if self.sample_rate_hz < MIN_RATE_HZ:
            found.append(f"{self.sample_rate_hz} samples a second; at least {MIN_RATE_HZ} are needed")
        if self.clipped > MAX_CLIPPED:
            found.append(
                f"clipped: {100 * self.clipped:.1f} % of the samples{self._read()} are at full scale"
            )
        if self.peak < MIN_PEAK:
            found.append(f"silent: the loudest sample{self._read()} is {self.peak:.3f} of full scale")
        elif self.voiced_s < MIN_VOICED_S:
            found.append(f"nearly silent: {self.voiced_s:.1f} s of sound{self._read() or ' in it'}")
        return found

    def notes(self) -> str:
        """What is worth knowing of a recording that is taken; begins with a comma if anything is."""
        notes = ""
        if self.seconds > MAX_REFERENCE_S:
            notes += f", of which the first {MAX_REFERENCE_S} are used"
        if self.head_s > MAX_HEAD_S:
            notes += f", but the first {self.head_s:.1f} are silent: cut them for a better voice"
        return notes

    def _read(self) -> str:
        longer = self.seconds > MAX_REFERENCE_S
        return f" in the first {MAX_REFERENCE_S} s, which alone are used," if longer else ""


def examine(path: Path) -> RecordingReport:
    """Read a recording. Raises InputError (field "file") if it is none."""
    data, rate_hz = read_audio(path, "file")
    loud: NDArray[Any] = np.abs(data[: MAX_REFERENCE_S * rate_hz])
    peak = float(loud.max())
    frame = max(1, rate_hz // 50)
    frames = loud.max(axis=1)[: len(loud) // frame * frame].reshape(-1, frame).max(axis=1)
    voiced = np.flatnonzero(frames > peak * 10 ** (-SILENCE_DB / 20))
    return RecordingReport(
        seconds=len(data) / rate_hz,
        sample_rate_hz=rate_hz,
        channels=data.shape[1],
        peak=peak,
        clipped=float((loud >= 0.999).mean()),
        voiced_s=len(voiced) / 50,
        head_s=voiced[0] / 50 if len(voiced) else 0.0,
    )


def add_voice(options: Options, name: str, file: Path) -> str:
    """Check a recording and copy it into options.voices as voice `name`; returns what was done, a line.

    Raises InputError of "name" or "file", or ProfileError if the profile names no folder.
    """
    if not options.voices:
        raise ProfileError("model.options.voices: not set; it names the folder that voices are stored in")
    name = unicodedata.normalize("NFC", name)
    if not _NAME.fullmatch(name):
        raise InputError("name", f"{name!r} is no voice name: letters, digits, - _ and . up to 64")
    if file.suffix.lower() not in SUFFIXES:
        raise InputError("file", f"{file.name}: one of {', '.join(sorted(SUFFIXES))} is expected")
    report = examine(file)
    if problems := report.problems():
        raise InputError("file", f"{file.name}: {'; '.join(problems)}")
    folder = Path(options.voices)
    folder.mkdir(parents=True, exist_ok=True)
    if name in voice_files(folder):
        raise InputError("name", f"there is a voice {name!r} in {folder} already")
    target = folder / f"{name}{file.suffix.lower()}"
    partial = folder / f".{target.name}"
    shutil.copyfile(file, partial)
    partial.replace(target)
    return f"{target}: {report.seconds:.1f} s at {report.sample_rate_hz} Hz{report.notes()}"
