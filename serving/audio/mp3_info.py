"""The frame before an MP3 stream that tells decoders how many samples to leave out at its begin and end.

It is a frame of silence with a Xing/LAME tag in it. libav writes one only into a file that it can rewind, so a stream
gets this. Layout: the LAME tag specification, http://gabriel.mp3-tech.org/mp3infotag.html.
"""

from __future__ import annotations

ENCODER_DELAY = 576
"""Samples of silence that LAME puts before the first; a decoder adds 529 of its own and knows it."""

_VERSIONS = {
    44_100: (0xFB, 0),
    48_000: (0xFB, 1),
    22_050: (0xF3, 0),
    24_000: (0xF3, 1),
    16_000: (0xF3, 2),
    8_000: (0xE3, 2),
}
"""Second byte of a frame (MPEG 1, 2 or 2.5, layer III, no checksum) and index of the rate, by rate."""
_MPEG1_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MONO = 0xC4
"""Fourth byte: one channel, an original."""
_FRAMES = 1
"""Flag of the tag: the number of frames follows."""
_BYTES = 2
"""Flag of the tag: the size of the stream follows."""
_UNKNOWN_SIZE = 0xFFFFFFFF
"""libav takes a tag with neither number for a frame of the speech, so a stream of unknown length has this size."""


def info_frame(rate_hz: int, bit_rate: int, samples: int | None) -> bytes:
    """The frame before `samples` samples at a constant bit rate (bits per second), or before an unknown number.

    Of an unknown number only the delay at the begin is told. Raises KeyError for a rate that MP3 does not have.
    """
    version, rate_index = _VERSIONS[rate_hz]
    mpeg1 = rate_hz > 24_000
    bit_rate_index = (_MPEG1_KBITS if mpeg1 else _MPEG2_KBITS).index(bit_rate // 1000)
    frame = bytearray((144 if mpeg1 else 72) * bit_rate // rate_hz)
    frame[:4] = bytes((0xFF, version, bit_rate_index << 4 | rate_index << 2, _MONO))
    if samples is None:
        told, padding = _BYTES.to_bytes(4) + _UNKNOWN_SIZE.to_bytes(4), 0
    else:
        frames, padding = frames_of(samples, 1152 if mpeg1 else 576)
        told = _FRAMES.to_bytes(4) + frames.to_bytes(4)
    tag = b"Info" + told + b"LAME3.100" + bytes(12) + (ENCODER_DELAY << 12 | padding).to_bytes(3) + bytes(10)
    begin = 4 + (17 if mpeg1 else 9)  # behind the side information
    frame[begin : begin + len(tag)] = tag
    end = begin + len(tag)
    frame[end : end + 2] = _crc16(frame[:end]).to_bytes(2)
    return bytes(frame)


def frames_of(samples: int, samples_per_frame: int) -> tuple[int, int]:
    """How many frames LAME makes of so many samples, and how many samples of the last ones are padding."""
    if not samples:
        return 0, 0
    real = ENCODER_DELAY + samples
    padding = samples_per_frame - real % samples_per_frame
    if padding < 576:
        padding += samples_per_frame
    return (real + padding) // samples_per_frame, padding


def _crc16(content: bytes | bytearray) -> int:
    """CRC-16 with the polynomial 0x8005, reflected, from zero."""
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
