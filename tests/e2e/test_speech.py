"""What the real server says is understood by a recogniser."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import jiwer
import numpy as np
import pytest
import soundfile

from bench.hearing.speech_check import transcribe
from bench.hearing.words import normalise
from serving.audio.encode import AUDIO_FORMATS, AudioFormat
from tests.decoding import decoded

pytestmark = pytest.mark.e2e

SENTENCES = (Path(__file__).parent.parent / "speech_sentences.txt").read_text(encoding="utf-8").splitlines()
LIMIT = 0.05


def test_thirty_sentences_are_understood(server: str) -> None:
    """Numbers, dates, abbreviations, names, questions: at most 5 % of all their words are wrong."""
    assert len(SENTENCES) == 30
    asked, heard = [], []
    with httpx.Client(base_url=server, timeout=60) as client:
        for sentence in SENTENCES:
            answer = client.post("/tts", json={"text": sentence, "seed": 1})
            assert answer.status_code == 200
            samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
            asked.append(normalise(sentence))
            heard.append(normalise(transcribe(samples, rate)))
    wrong = [f"{a!r} was heard as {h!r}" for a, h in zip(asked, heard, strict=True) if a != h]
    assert jiwer.wer(asked, heard) <= LIMIT, "\n".join(wrong)


@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
def test_every_format_is_understood(server: str, audio_format: AudioFormat) -> None:
    """The first five sentences, streamed."""
    asked, heard = [], []
    with httpx.Client(base_url=server, timeout=60) as client:
        for sentence in SENTENCES[:5]:
            answer = client.post("/tts/stream", json={"text": sentence, "seed": 1, "format": audio_format})
            samples, rate = decoded(answer.content, audio_format, int(answer.headers["x-sample-rate"]))
            asked.append(normalise(sentence))
            heard.append(normalise(transcribe(samples.astype(np.float32), rate)))
    assert jiwer.wer(asked, heard) <= LIMIT, heard
