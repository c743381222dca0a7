"""Voices: a folder of reference recordings, or a sound made by formula where weights are random. No torch."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.models.indextts2.options import Options
from serving.models.indextts2.voice.audio_file import MOST_BYTES, SUFFIXES
from serving.profile import ProfileError
from serving.protocol import InputError
from serving.voices.plain import open_plain
from serving.voices.recording import Limits

BUILT_IN = "hum"
"""The voice that random weights have where no folder is named: built_in_wave()."""
BUILT_IN_S = 4.0
MAX_REFERENCE_S = 15
"""What the model reads of a recording, from its start."""
LIMITS = Limits(min_s=1.0, max_s=60.0, used_s=MAX_REFERENCE_S, min_rate_hz=16000)
"""Of the recordings that are taken as voices; the encoders read up to 8 kHz."""


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
            with open_plain(self.path, MOST_BYTES) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(
                "voice", f"{self.name}: its recording cannot be read: {error.strerror}"
            ) from None


def placed(options: Options) -> dict[str, Reference]:
    """The voices that the operator put into the folder model.options.voices, by name, sorted.

    Raises ProfileError if there is no such folder.
    """
    if not options.voices:
        if options.weights == "random":
            return {BUILT_IN: Reference(BUILT_IN, None)}
        raise ProfileError("model.options.voices: not set; name a folder with at least one recording")
    return {name: Reference(name, path) for name, path in voice_files(Path(options.voices)).items()}


def voice_files(folder: Path) -> dict[str, Path]:
    """Voice name to recording, sorted by name. Hidden files, other suffixes, links and what is no file are passed over.

    Raises ProfileError if the folder does not exist, or if two files would have one name.
    """
    if not folder.is_dir():
        raise ProfileError(f"model.options.voices: {folder} is not a folder")
    voices: dict[str, Path] = {}
    for path in recording_files(folder):
        name = unicodedata.normalize("NFC", path.stem)
        if name in voices:
            raise ProfileError(f"model.options.voices: two recordings of the name {name!r}")
        voices[name] = path
    return dict(sorted(voices.items()))


def recording_files(folder: Path) -> list[Path]:
    """The recordings in a folder, sorted; none if there is no such folder."""
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
        and path.suffix.lower() in SUFFIXES
        and _is_text(path.name)
        and _is_plain(path)
    ]


def _is_text(name: str) -> bool:
    """Whether an answer can tell a name: one that another system wrote may be no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_plain(path: Path) -> bool:
    """Whether it is a file itself, and no link to one."""
    return path.is_file() and not path.is_symlink()


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
