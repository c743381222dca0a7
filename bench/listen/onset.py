"""What is heard of the embedded voice, measured: the figures that the constants of its timing.py rest on.

    python -m bench.listen.onset [--speed 1.0]

192 sentences that begin with every sound of English and end with most of them, and those of tests/speech_sentences.txt,
are spoken by the model as it is and by one that trims nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from serving.models import load_frontend, load_model
from serving.models.base import Frontend, Model
from serving.models.driver import speak
from serving.profile import ModelProfile, Profile
from serving.protocol import Segment, SpeechParams
from serving.text import read

RATE_HZ = 24_000
QUIET_DBFS, SILENT_DBFS = -45, -55
SENTENCES = Path("tests/speech_sentences.txt")
FIRST_WORDS = """
People Paul Please Perhaps Pictures Pete Poets Play Birds Bob But Because Buses Bring Black Boys Tom Teachers Two Today
Take Try Trains Tests Dogs Dave Do Down Drive During Doctors Dinner Cats Can Kids Come Cars Quiet Christmas Clouds Go
Girls Good Great Gold Guests Games Green Four Fish From Friends Fred For Phones Flowers Very Voices Victor Vans Visitors
Values Vera Valley Three Thanks Thick Thunder Things Think Thousands Threads The This That They There Then Those These
Some She Sam Six Stop Street Spring Small Zoe Zebras Zero Zack Zones Zinc Zoos Zip Should Ships Shops Sugar Sharks
Shadows Sheep Sure Children Chairs Chess Cheap Charles Churches Cheese Choose Jobs Jane July Giants Judges George Jam
Just He Horses How Her Houses Hope Have Hundreds My Maps More Mike Music Most Many Meetings No Now Nine Never Nobody
Notes Nights Nurses Lions Let Last Learning Lakes London Letters Look Rain Run Red Robert Roads Rivers Ready Reading We
What When Why Water Wolves Winter Words You Yes Yesterday Years Young Yellow Your Use All Apples An Eight Every In Oh
Our Under Over Ice Even Until Ants Old It
"""
MIDDLES = (
    "went to the market before noon", "were seen near the old bridge", "might be here by the end of the week",
    "will not change the plan, I think", "stood in the rain for an hour", "know how to get there in time",
    "made a lot of noise last night", "could be found in the back of the house", "are part of a much longer story",
    "seemed quite pleased with the result",
)  # fmt: skip
LAST_WORDS = """
ask bed cup dog tree laugh judge wash sea ring bath five moon boat please watch film far too box breathe sound I eight
"""
Samples = NDArray[np.float32]


def sentences() -> Iterator[str]:
    """The texts."""
    yield from SENTENCES.read_text(encoding="utf-8").splitlines()
    last_words = LAST_WORDS.split()
    for at, first in enumerate(FIRST_WORDS.split()):
        last = last_words[at % len(last_words)]
        yield f"{first} {MIDDLES[at % len(MIDDLES)]} with the {last}{'.!?.'[at // 3 % 4]}"


def levels(samples: Samples, hop: int) -> NDArray[np.float64]:
    """Level of 10 ms from every `hop` samples on, dBFS."""
    windows = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), RATE_HZ // 100)[::hop]
    return np.asarray(10 * np.log10(np.square(windows).mean(1) + 1e-12))


def loudest_cut_dbfs(heard: Samples, whole: Samples) -> float:
    """Level of the loudest 10 ms of `whole` before `heard` begins in it."""
    piece = heard[:6000]
    size = 1 << (len(whole) + len(piece)).bit_length()
    spectrum = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(piece, size))
    begin = int(np.fft.irfft(spectrum)[: len(whole)].argmax())
    return float(levels(whole[:begin], 24).max()) if begin >= RATE_HZ // 100 else -np.inf


def samples_of(model: Model, segment: Segment, params: SpeechParams) -> Samples:
    """A segment alone."""
    return np.concatenate(speak(model, [(params, segment)])[0])


def measure(frontend: Frontend, trimmed: Model, whole: Model, speed: float) -> dict[str, list[float]]:
    """Per segment: ms before the first sound and behind the last, the level of what is cut, seconds saved."""
    found: dict[str, list[float]] = {"onset_ms": [], "tail_ms": [], "loudest_cut_dbfs": [], "saved_s": []}
    params = SpeechParams(voice=frontend.spec.default_voice, seed=7, fields=frontend.spec.fields(speed=speed))
    for text in sentences():
        for segment in frontend.segments(read(text), params):
            heard, uncut = (samples_of(model, segment, params) for model in (trimmed, whole))
            loud = np.flatnonzero(levels(heard, RATE_HZ // 100) > QUIET_DBFS)
            found["onset_ms"].append(float(loud[0]) * 10)
            found["tail_ms"].append(len(heard) / RATE_HZ * 1000 - (float(loud[-1]) + 1) * 10)
            if speed == 1:  # at another pace the frames lie elsewhere in the two
                found["loudest_cut_dbfs"].append(loudest_cut_dbfs(heard, uncut))
            found["saved_s"].append((len(uncut) - len(heard)) / RATE_HZ)
    return found


def main() -> None:
    """Print percentiles."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speed", type=float, default=1.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    profiles = [Profile(name="onset", model=ModelProfile(options={"trim": trim})) for trim in (True, False)]
    trimmed, whole = (load_model(profile, torch.device("cpu"), torch.float32) for profile in profiles)
    found = measure(load_frontend(profiles[0]), trimmed, whole, arguments.speed)
    for name, values in found.items():
        if values:
            p50, p95, most = np.percentile(values, (50, 95, 100))
            print(f"{name:18} p50 {p50:7.2f}   p95 {p95:7.2f}   max {most:7.2f}   of {len(values)}")
    limits = sum(value > 30 for value in found["onset_ms"]), sum(value > 150 for value in found["tail_ms"])
    print(f"onset over 30 ms: {limits[0]}, tail over 150 ms: {limits[1]}")
    print(f"cut above {SILENT_DBFS} dBFS: {sum(level > SILENT_DBFS for level in found['loudest_cut_dbfs'])}")


if __name__ == "__main__":
    main()
