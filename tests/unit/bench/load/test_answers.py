"""WAV of every kind is read rightly, whole or in pieces, and what is not is named."""

from __future__ import annotations

import numpy as np
import pytest

from bench.cheats.answer import encode, wav_header
from bench.hearing.raw import samples_of
from bench.load.again import again, kept
from bench.load.answers import WaveError, WaveReader, read_answer
from bench.load.http1 import Response
from bench.records import Encoding, Sample

WAVE = np.sin(np.arange(480, dtype=np.float32) * 0.1) * 0.5
ENCODINGS: tuple[Encoding, ...] = ("u8", "s16", "s24", "s32", "f32", "f64", "ulaw", "alaw")
STEP: dict[Encoding, float] = {
    "u8": 2**-6, "s16": 2**-14, "s24": 2**-20, "s32": 2**-20, "f32": 1e-7, "f64": 1e-7, "ulaw": 2**-5, "alaw": 2**-5,
}  # fmt: skip


def _sample() -> Sample:
    return Sample(index=0, text="a", characters=1, due_s=0.0, sent_s=0.0, end_s=1.0)


def _response(*pieces: tuple[float, bytes, bool], **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=200, headers=named, header_at=0.1, pieces=list(pieces), complete=True)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("extensible", [False, True])
def test_every_kind_of_wav_gives_its_samples_however_it_is_cut(
    encoding: Encoding, channels: int, extensible: bool
) -> None:
    wave = np.stack([WAVE * (side + 1) for side in range(channels)], axis=1)
    body = wav_header(encoding, channels, 16_000, len(wave), extensible) + encode(wave, encoding)
    for size in (1, 7, 10_000):
        reader = WaveReader()
        audio = b"".join(reader.feed(body[at : at + size]) for at in range(0, len(body), size))
        assert (reader.encoding, reader.channels, reader.sample_rate_hz) == (encoding, channels, 16_000)
        assert reader.stated_frames == len(wave)
        assert samples_of(audio, encoding, channels) == pytest.approx(wave, abs=STEP[encoding])


@pytest.mark.parametrize(
    ("behind", "frames", "too_many"),
    [
        (b"", 6, 8),
        *((behind, n, 0) for behind in (b"", b"LIST\4\0\0\0INFO", b"id3 \2\0\0\0ab") for n in (5, 6)),
    ],
)
def test_what_a_file_holds_behind_its_samples_is_no_sound(behind: bytes, frames: int, too_many: int) -> None:
    samples = bytes(range(frames))
    one = bytearray(wav_header("u8", 1, 8000, frames) + samples + bytes(frames % 2) + behind)
    one[4:8] = (len(one) - 8 + too_many).to_bytes(4, "little")
    for size in (1, 3, 10_000):
        body, reader = bytes(one) * 2, WaveReader()
        audio = b"".join(reader.feed(body[at : at + size]) for at in range(0, len(body), size))
        assert (audio, reader.stated_frames) == (samples * 2, 2 * frames)


def test_samples_behind_the_stated_ones_are_counted() -> None:
    reader = WaveReader()
    assert len(reader.feed(wav_header("u8", 1, 8000, 6) + bytes(20))) == 20
    assert reader.stated_frames == 6


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_size_that_no_answer_has_states_nothing(size: int) -> None:
    head = bytearray(wav_header("s16", 1, 22_050, None))
    head[40:44] = size.to_bytes(4, "little")
    reader = WaveReader()
    assert len(reader.feed(bytes(head) + bytes(200))) == 200
    assert reader.stated_frames is None


def test_an_unknown_format_and_a_format_that_changes_are_named() -> None:
    adpcm = bytearray(wav_header("u8", 1, 8000, None))
    adpcm[20] = 17
    with pytest.raises(WaveError, match="format 17 of 8 bits"):
        WaveReader().feed(bytes(adpcm))
    wrong_frame = bytearray(wav_header("s16", 1, 8000, None))
    wrong_frame[32] = 4
    with pytest.raises(WaveError, match="states 4 bytes a frame"):
        WaveReader().feed(bytes(wrong_frame))
    reader = WaveReader()
    reader.feed(wav_header("s16", 1, 24_000, 2) + bytes(4))
    with pytest.raises(WaveError, match="another format"):
        reader.feed(wav_header("s16", 1, 48_000, 2))


def test_each_read_is_an_event_and_each_chunk_is_counted() -> None:
    head = wav_header("s16", 1, 24_000, None)
    sample = _sample()
    response = _response(
        (0.2, head + bytes(480), True),
        (0.5, bytes(960), False),
        (0.6, bytes(100), True),
        transfer_encoding="chunked",
    )
    read_answer(sample, response, 0.0)
    assert sample.events == [(0.2, 480), (0.5, 960), (0.6, 100)]
    assert sample.chunks == 2


@pytest.mark.parametrize("stated", ["0.5", "nan", "soon"])
def test_a_header_that_states_other_seconds_is_named_and_no_exception(stated: str) -> None:
    sample = _sample()
    body = wav_header("s16", 1, 24_000, None) + bytes(48_000)
    read_answer(sample, _response((0.2, body, True), x_audio_seconds=stated), 0.0)
    assert sample.error == "wrong_sample_count"
    assert stated in sample.detail


@pytest.mark.parametrize("stated", ["1.0", "1.02", "1.021", "1"])
def test_seconds_that_a_header_rounds_are_believed(stated: str) -> None:
    sample = _sample()
    body = wav_header("s16", 1, 24_000, None) + bytes(2 * 24_510)
    read_answer(sample, _response((0.2, body, True), x_audio_seconds=stated), 0.0)
    assert sample.error is None, sample.detail


def test_pcm_without_a_readable_rate_is_named() -> None:
    sample = _sample()
    sample.format = "pcm"
    read_answer(sample, _response((0.2, bytes(480), True), x_sample_rate="many"), 0.0)
    assert sample.error == "bad_audio"


def test_who_answers_the_second_time_in_a_fraction_of_the_time_keeps_answers() -> None:
    def timed(*totals_s: float) -> list[Sample]:
        found = [_sample() for _ in totals_s]
        for sample, total_s in zip(found, totals_s, strict=True):
            sample.end_s = total_s
        return found

    assert again(["a b c", "d"]) == ["a b c", "a b c", "b c a", "d", "d", "d"]
    assert kept(timed(0.3, 0.01, 0.3, 0.2, 0.02, 0.1))
    assert not kept(timed(2.0, 0.1, 0.1, 0.1, 0.1, 0.1)), "the first request warms it up"
    assert not kept(timed(2.0, 0.1, 0.1, 2.0, 0.1, 0.1)), "it compiles for each length"
    assert not kept(timed(0.1, 0.1, 0.1, 0.1, 0.03, 0.1))
    assert not kept([])
    failed = timed(0.3, 0.01, 0.3)
    failed[1].error = "refused"
    assert not kept(failed)


def test_an_answer_that_nobody_could_listen_to_the_end_of_is_named_before_it_is_heard() -> None:
    for seconds, text, fault in ((200, "x" * 60, "bad_audio"), (100, "x" * 60, None), (400, "x" * 600, None)):
        sample = _sample()
        sample.text, sample.characters = text, len(text)
        body = wav_header("u8", 1, 8000, None) + bytes(8000 * seconds)
        read_answer(sample, _response((0.2, body, True)), 0.0)
        assert sample.error == fault, sample.detail


def test_a_header_without_end_and_one_of_many_channels_are_named() -> None:
    reader, junk = WaveReader(), b"JUNK\0\0\0\0" * 8192
    reader.feed(b"RIFF\xff\xff\xff\xffWAVE")
    for _ in range(3):
        reader.feed(junk[:-8000])
    with pytest.raises(WaveError, match="more than 256 KB"):
        reader.feed(junk + junk)
    with pytest.raises(WaveError, match="40000 channels"):
        WaveReader().feed(wav_header("u8", 40_000, 8000, None))
