"""The frame before an MP3 stream."""

from __future__ import annotations

import pytest

from serving.audio.codecs import BIT_RATES
from serving.audio.mp3_info import _crc16, frames_of, info_frame

pytestmark = pytest.mark.slow


def test_the_checksum_is_that_of_the_catalogue() -> None:
    assert _crc16(b"123456789") == 0xBB3D  # CRC-16/ARC


@pytest.mark.parametrize("rate_hz", BIT_RATES)
def test_a_frame_has_the_length_that_its_header_says(rate_hz: int) -> None:
    frames = {info_frame(rate_hz, BIT_RATES[rate_hz], samples) for samples in (None, 1_000, 1_000_000)}
    assert {len(frame) for frame in frames} == {
        (144 if rate_hz > 24_000 else 72) * BIT_RATES[rate_hz] // rate_hz
    }
    assert all(frame.count(b"Info") == frame.count(b"LAME") == 1 for frame in frames)


@pytest.mark.parametrize("samples_per_frame", [576, 1152])
def test_padding_fills_the_last_frame_and_flushes_the_decoder(samples_per_frame: int) -> None:
    for samples in range(1_000, 4_000, 7):
        frames, padding = frames_of(samples, samples_per_frame)
        assert frames * samples_per_frame == 576 + samples + padding
        assert 576 <= padding < 576 + samples_per_frame
