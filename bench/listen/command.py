"""`python -m bench listen`: one server, one request at a time, and what a listener hears of it.

First sound: the first frame of 10 ms above -45 dBFS, from the request's sending until a player that begins with the
first samples gets to it. Pace: from the first sound to the last, at a speed against that at speed 1. Words: the
recogniser's errors, and the word times of forced alignment against the server's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import jiwer
import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.hearing.sound import FRAME_S, Sound, sound_of
from bench.hearing.speech_check import transcribe
from bench.hearing.words import normalise
from bench.listen.align import Spoken, align, bare, distances_ms
from bench.machine import machine
from bench.metrics import percentile
from bench.servers.start import start_server
from bench.workload import texts

NEAR_MS = 60
SPEEDS = (0.5, 0.75, 1.1, 1.3, 1.4, 1.75, 2.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--url", help="a server that runs; without it ours is started")
    parser.add_argument("--profile", default="default")
    parser.add_argument(
        "--sentences", type=int, default=50, help="sentences for onset and pauses (default 50)"
    )
    parser.add_argument(
        "--words", type=int, default=20, help="sentences for the recogniser (default 20; 0: none)"
    )
    parser.add_argument(
        "--text", type=Path, metavar="FILE", help="sentences, a line each; else drawn from a seed"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures as JSON")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code."""
    with _server(arguments) as url, httpx.Client(base_url=url, timeout=120) as client:
        sentences = _sentences(arguments)
        figures: dict[str, Any] = {"machine": machine(), "sentences": len(sentences)}
        figures |= listen_to_onsets(client, sentences)
        figures |= listen_to_speeds(client, sentences[:6])
        if arguments.words:
            figures |= listen_to_words(client, sentences[: arguments.words])
    for name, value in figures.items():
        if name != "machine":
            print(f"{name:36} {value:.4g}" if isinstance(value, float) else f"{name:36} {value}")
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


@contextlib.contextmanager
def _server(arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.url:
        yield arguments.url
        return
    with start_server("granian", arguments.profile) as server:
        yield server.url


def _sentences(arguments: argparse.Namespace) -> list[str]:
    if arguments.text is not None:
        lines = arguments.text.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.strip()][: arguments.sentences]
    return texts("short", arguments.sentences, seed=1)


def listen_to_onsets(client: httpx.Client, sentences: Sequence[str]) -> dict[str, Any]:
    """First byte, first sound, and the silence around each sentence of a stream."""
    first_ms, audible_ms, ratios, sounds = [], [], [], []
    _stream(client, "Warm up, please.")
    for text in sentences:
        arrivals, samples, rate_hz = _stream(client, text)
        sound = _audible(samples, rate_hz, text)
        # The player begins with the first samples, so the silence before the sound passes first.
        moment_s = max(_arrival(arrivals, sound.head_s + FRAME_S, rate_hz), arrivals[0][0] + sound.head_s)
        first_ms.append(arrivals[0][0] * 1000)
        audible_ms.append(moment_s * 1000)
        ratios.append(audible_ms[-1] - (1.5 * first_ms[-1] + 30))
        sounds.append(sound)
    heads = [sound.head_s * 1000 for sound in sounds]
    tails = [sound.tail_s * 1000 for sound in sounds]
    pauses = [pause * 1000 for sound in sounds for pause in sound.pauses_s]
    return {
        "first byte p50 ms": percentile(first_ms, 50),
        "first byte p95 ms": percentile(first_ms, 95),
        "first sound p50 ms": percentile(audible_ms, 50),
        "first sound p95 ms": percentile(audible_ms, 95),
        "first sound - 1.5 first byte - 30 ms": percentile(ratios, 50),
        "silence before p50 ms": percentile(heads, 50),
        "silence before max ms": max(heads),
        "silence after p50 ms": percentile(tails, 50),
        "silence after max ms": max(tails),
        "pauses within, count": len(pauses),
        "pauses within p50 ms": percentile(pauses, 50) if pauses else 0.0,
        "pauses within max ms": max(pauses, default=0.0),
    }


def listen_to_speeds(client: httpx.Client, sentences: Sequence[str]) -> dict[str, Any]:
    """First sound to last, pauses included, at speed 1 over that at a speed, over the speed: 1 is exact."""

    def length_s(text: str, speed: float) -> float:
        samples, rate_hz = _whole(client, {"text": text, "seed": 1, "speed": speed})
        sound = _audible(samples, rate_hz, text)
        return sound.voiced_s + sum(sound.pauses_s)

    plain = sum(length_s(text, 1.0) for text in sentences)
    return {
        f"pace at speed {speed:g} / speed": plain / sum(length_s(text, speed) for text in sentences) / speed
        for speed in SPEEDS
    }


def listen_to_words(client: httpx.Client, sentences: Sequence[str]) -> dict[str, Any]:
    """The recogniser's word errors, and how far the aligner's word times are from those that the server tells."""
    asked, heard, apart = [], [], []
    for text in sentences:
        body = {"text": text, "seed": 1}
        samples, rate_hz = _whole(client, body)
        asked.append(normalise(text))
        heard.append(normalise(transcribe(samples, rate_hz)))
        captions, spelled = (
            client.post("/tts/captions", json=body),
            client.post("/spell", json={"text": text}),
        )
        if captions.status_code == spelled.status_code == 200:
            aligned = align(samples, rate_hz, spelled.json()["spoken"])
            told = [word for sentence in captions.json()["sentences"] for word in sentence["words"]]
            words = [Spoken(bare(word["text"]), word["start_s"], word["end_s"]) for word in told]
            apart += distances_ms(words, aligned or [])
    figures: dict[str, Any] = {"word error rate": jiwer.wer(asked, heard)}
    if apart:
        figures["words compared"] = len(apart)
        for name, gaps in zip(("starts", "ends"), zip(*apart, strict=True), strict=True):
            near = sum(abs(gap) <= NEAR_MS for gap in gaps) / len(gaps)
            figures[f"word {name} within {NEAR_MS} ms"] = near
            figures[f"word {name} apart, median ms"] = percentile(gaps, 50)
            figures[f"word {name} apart, p95 ms"] = percentile([abs(gap) for gap in gaps], 95)
    return figures


def _stream(client: httpx.Client, text: str) -> tuple[list[tuple[float, int]], NDArray[np.float32], int]:
    """(seconds since the sending, samples so far) of each piece of a stream, all samples, and their rate."""
    began = time.perf_counter()
    arrivals: list[tuple[float, int]] = []
    body = b""
    with client.stream("POST", "/tts/stream", json={"text": text, "seed": 1, "format": "pcm"}) as answer:
        answer.raise_for_status()
        rate_hz = int(answer.headers["X-Sample-Rate"])
        for piece in answer.iter_raw():
            body += piece
            if piece:
                arrivals.append((time.perf_counter() - began, len(body) // 2))
    return arrivals, (np.frombuffer(body, "<i2") / 32768).astype(np.float32), rate_hz


def _arrival(arrivals: Sequence[tuple[float, int]], moment_s: float, rate_hz: int) -> float:
    """When the sample at moment_s of the audio arrived."""
    return next(at_s for at_s, samples in arrivals if samples >= moment_s * rate_hz)


def _whole(client: httpx.Client, body: dict[str, object]) -> tuple[NDArray[np.float32], int]:
    answer = client.post("/tts", json=body)
    answer.raise_for_status()
    samples, rate_hz = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    return samples, rate_hz


def _audible(samples: NDArray[np.float32], rate_hz: int, text: str) -> Sound:
    sound = sound_of(samples, rate_hz)
    if sound is None:
        print(f"bench: nothing is heard of {text!r}", file=sys.stderr)
        raise SystemExit(1)
    return sound
