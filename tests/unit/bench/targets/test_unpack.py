"""Wrapped and coded audio: the samples are right, and each has the time at which it could be played."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import av
import numpy as np
import pytest

from bench.targets.unpack import UnpackError, decode, format_of, from_events, from_lines, from_object

RATE_HZ = 24_000
Pieces = list[tuple[float, bytes, bool]]


def coded(container: str, codec: str, rate_hz: int, **options: str) -> bytes:
    """Two seconds of a chirp."""
    time = np.arange(2 * RATE_HZ) / RATE_HZ
    samples = (np.sin(2 * np.pi * (200 + 400 * time) * time) * 9000).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format=container, container_options=options) as output:
        stream = output.add_stream(codec, rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(stream.format, "mono", rate_hz, frame_size=stream.frame_size or None)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


FILES: dict[str, Any] = {
    "mp3": ("mp3", "libmp3lame", RATE_HZ, {}),
    "aac": ("adts", "aac", RATE_HZ, {}),
    "flac": ("flac", "flac", RATE_HZ, {}),
    "opus": ("ogg", "libopus", 48_000, {"page_duration": "20000"}),
}


def cut(body: bytes, size: int) -> Pieces:
    return [(float(at), body[at : at + size], True) for at in range(0, len(body), size)]


@pytest.mark.parametrize("format", FILES)
def test_decoded_samples_are_those_of_the_file(format: str) -> None:
    container, codec, rate_hz, options = FILES[format]
    body = coded(container, codec, rate_hz, **options)
    found, rate, channels = decode(cut(body, 700), format)
    whole, _, _ = decode([(0.0, body, True)], format)
    assert (rate, channels) == (rate_hz, 1)
    assert b"".join(data for _, data, _ in found) == whole[0][1]
    assert len(whole[0][1]) / 2 / rate == pytest.approx(2.0, abs=0.13)
    times = [moment for moment, _, _ in found]
    assert times == sorted(set(times))
    assert len(times) > 5


@pytest.mark.parametrize("format", FILES)
def test_a_sample_can_be_played_when_what_came_until_then_holds_it(format: str) -> None:
    """The oracle: decode what had come by a moment, alone, and count its samples."""
    container, codec, rate_hz, options = FILES[format]
    body = coded(container, codec, rate_hz, **options)
    pieces = cut(body, 700)
    found, _, _ = decode(pieces, format)
    # The last frame of a file that ends early is given or kept by the decoder as it likes: a frame of slack.
    slack = {"mp3": 1152, "aac": 1024, "flac": 4608, "opus": 960}[format] * 2 * 2
    checked = 0
    for count in range(2, len(pieces), 3):
        try:
            early = sum(len(data) for _, data, _ in decode(pieces[:count], format, whole=False)[0])
        except UnpackError:
            continue
        told = sum(len(data) for moment, data, _ in found if moment <= pieces[count - 1][0])
        assert abs(told - early) <= slack, (count, told, early)
        checked += 1
    assert checked >= 3


def test_events_lines_and_objects() -> None:
    audio = [bytes([n]) * 10 for n in range(3)]
    texts = [base64.b64encode(part).decode() for part in audio]
    stream = b"".join(
        f"event: x\r\nid: {n}\r\ndata: {json.dumps({'type': 'd', 'data': {'audio': text}})}\r\n\r\n: beat\n".encode()
        for n, text in enumerate(texts)
    )
    found, ended = from_events(cut(stream, 7), "data.audio")
    assert ([data for _, data, _ in found], ended) == (audio, False)
    # Each can be played when its line was whole: no earlier than its last byte.
    ends = [stream.index(text.encode()) + len(text) for text in texts]
    assert all(end - 7 <= moment <= end + 7 for end, (moment, _, _) in zip(ends, found, strict=True))
    assert from_events([(0.0, b"data: [DONE]", True)], "audio") == ([], True)
    lined = "\n".join(json.dumps({"audio": text}) for text in texts).encode()
    assert [data for _, data, _ in from_lines(cut(lined, 5), "audio")] == audio
    whole = json.dumps({"audios": {"wav": f"data:audio/wav;base64,{texts[1]}"}}).encode()
    assert from_object(cut(whole, 9), "audios.wav")[0][1] == audio[1]
    with pytest.raises(UnpackError, match="no audio in the field 'sound'"):
        from_object(cut(whole, 9), "sound")


@pytest.mark.parametrize(
    ("head", "content_type", "format"),
    [
        (b"\xff\xfb\x90\xc4", "audio/mpeg", "mp3"),
        (b"\xff\xf3\x84\xc4", "audio/mp3; charset=x", "mp3"),
        (b"\xff\xf1\x50\x80", "audio/aac", "aac"),
        (b"\xff\xfb\x90\xc4", "audio/pcm", None),
        (b"\x01\x00\x02\x00", "audio/mpeg", None),
        (b"\xff\xff\xff\xff", "audio/mpeg", None),
        (b"ID3\x04", "", "mp3"),
    ],
)
def test_what_a_body_is_takes_two_witnesses(head: bytes, content_type: str, format: str | None) -> None:
    assert format_of(head, content_type) == format
