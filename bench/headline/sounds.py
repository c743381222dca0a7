"""What the arms sounded like: some of the waves that were timed and transcribed, small enough for the page."""

from __future__ import annotations

import base64
import io
import wave
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from bench.records import Run, Sample

BIT_RATE = 48_000
LONGEST_S = 15.0
"""A longer wave would make the page heavy."""
MOST_PER_ARM = 2


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A wave of an arm, as MP3 in a data: address."""

    arm: str
    text: str
    load: str
    address: str
    word_error_rate: float | None


def sounds(run: Run, folder: Path) -> list[Sound]:
    """Waves of valid load points whose files are still in `folder`; texts that most arms spoke come first."""
    kept: dict[str, list[tuple[str, Sample]]] = {}
    for cell in run.cells:
        for sample in cell.samples if cell.verdict == "VALID" else ():
            seconds = sample.heard.seconds if sample.heard is not None else LONGEST_S
            # A file inside the folder, whatever the JSON names.
            if sample.wave and seconds < LONGEST_S and _inside(folder, sample.wave):
                kept.setdefault(cell.arm, []).append((cell.point.load, sample))
    spoken = [sample.text for samples in kept.values() for _, sample in samples]
    found = []
    for arm, samples in kept.items():
        for load, sample in sorted(samples, key=lambda one: (-spoken.count(one[1].text), one[1].text))[
            :MOST_PER_ARM
        ]:
            content = base64.b64encode(mp3_of(folder / str(sample.wave))).decode()
            found.append(
                Sound(
                    arm=arm,
                    text=sample.text,
                    load=load,
                    address=f"data:audio/mpeg;base64,{content}",
                    word_error_rate=sample.wer,
                )
            )
    return found


def mp3_of(path: Path) -> bytes:
    """A WAV file of 16 bits as MP3."""
    with wave.open(str(path), "rb") as file:
        rate, channels = file.getframerate(), file.getnchannels()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(1, -1)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=rate, layout="mono" if channels == 1 else "stereo")
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(
            samples, format="s16", layout="mono" if channels == 1 else "stereo"
        )
        frame.sample_rate = rate
        for part in (frame, None):
            container.mux(stream.encode(part))
    return buffer.getvalue()


def _inside(folder: Path, name: str) -> bool:
    path = (folder / name).resolve()
    return path.is_relative_to(folder.resolve()) and path.is_file()
