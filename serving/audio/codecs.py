"""Encoders by libav (PyAV): FLAC, Opus in Ogg, MP3, AAC in ADTS, G.711; and what is at another rate than the model's.

Every frame goes out as soon as the codec gives it. Lengths are exact where the container can say them: FLAC and Ogg
Opus always, MP3 if the number of samples is known when it begins. ADTS has no place for the delay of the codec, so a
decoded AAC answer is up to 3 frames of 1024 samples longer than the speech.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from serving.audio.encode import FIXED_RATES_HZ, MEDIA_TYPES, AudioFormat, Encoder, PcmEncoder, pcm16
from serving.audio.mp3_info import info_frame
from serving.audio.resample import Resampler

OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
"""What libopus takes; it codes no band above half of it. A decoder gives 48 kHz in any case."""

BIT_RATES = {8_000: 32_000, 16_000: 48_000, 22_050: 64_000, 24_000: 64_000, 44_100: 96_000, 48_000: 96_000}
"""Bits per second of MP3 and AAC, mono, by sample rate."""
OPUS_BIT_RATE = 64_000

_FLAC_FRAME_S = 0.02


@dataclass(frozen=True, slots=True)
class _Codec:
    """How libav is asked for a format; the options are those of its documentation."""

    name: str
    sample_format: str
    options: dict[str, str] = field(default_factory=dict)
    container: str | None = None
    """None: the codec's packets are the stream."""
    container_options: dict[str, str] = field(default_factory=dict)


_CODECS: dict[AudioFormat, _Codec] = {
    "flac": _Codec("flac", "s16"),
    # A page for each frame, or a listener would wait a second for the first.
    "opus": _Codec(
        "libopus",
        "flt",
        {"frame_duration": "20", "compression_level": "5"},
        "ogg",
        {"page_duration": "20000"},
    ),
    # Without the bit reservoir a frame needs no other, so it is sent at once and can be decoded alone.
    "mp3": _Codec("libmp3lame", "fltp", {"reservoir": "0", "compression_level": "7"}),
    "aac": _Codec("aac", "fltp", {"aac_coder": "fast"}, "adts"),
    "mulaw": _Codec("pcm_mulaw", "s16"),
    "alaw": _Codec("pcm_alaw", "s16"),
}
_ALL_CONTAINERS = {"flush_packets": "1", "fflags": "+bitexact"}
"""Bytes go out with each frame, and depend on the samples alone: Ogg gets no random serial number."""

_FLAC_HEAD = b"fLaC" + bytes((0x80, 0, 0, 34))
"""What goes before STREAMINFO, the only metadata block (RFC 9639, section 8)."""


class _Sink:
    """A file that cannot be rewound; what was written is taken out again."""

    def __init__(self) -> None:
        self._content = bytearray()

    def write(self, content: bytes) -> int:
        self._content += content
        return len(content)

    def take(self) -> bytes:
        taken = bytes(self._content)
        self._content.clear()
        return taken


class _Bare:
    """A codec whose packets are the stream."""

    def __init__(self, codec: _Codec, rate_hz: int, bit_rate: int | None) -> None:
        context = av.CodecContext.create(codec.name, "w")
        assert isinstance(context, av.AudioCodecContext)
        _set_up(context, codec, rate_hz, bit_rate)
        context.sample_rate = rate_hz
        context.time_base = Fraction(1, rate_hz)
        context.open()
        self._context = context
        self.head = context.extradata or b""

    def encode(self, frame: av.AudioFrame | None) -> bytes:
        """The packets that this frame completes; None: the last ones."""
        return b"".join(map(bytes, self._context.encode(frame)))


class _Contained:
    """A codec in a container.

    libav's objects of a container refer to each other, so the garbage collector frees them, at some later time. FLAC's
    are of a megabyte, which is why it is not here.
    """

    def __init__(self, codec: _Codec, rate_hz: int, bit_rate: int | None) -> None:
        self._sink = _Sink()
        options = codec.container_options | _ALL_CONTAINERS
        self._container = av.open(self._sink, "w", format=codec.container, options=options)
        stream = self._container.add_stream(codec.name, rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        _set_up(stream.codec_context, codec, rate_hz, bit_rate)
        self._stream = stream
        self._container.start_encoding()
        self.head = self._sink.take()

    def encode(self, frame: av.AudioFrame | None) -> bytes:
        """The pages that this frame completes; None: the last ones, and the end of the container."""
        self._container.mux(self._stream.encode(frame))
        if frame is None:
            self._container.close()
        return self._sink.take()


def _set_up(context: av.AudioCodecContext, codec: _Codec, rate_hz: int, bit_rate: int | None) -> None:
    context.layout = "mono"
    context.format = codec.sample_format
    context.options = codec.options | {"frame_size": str(round(rate_hz * _FLAC_FRAME_S))}
    if bit_rate is not None:
        context.bit_rate = bit_rate


class CodecEncoder:
    """A format of libav, fed at the rate that the codec runs at."""

    def __init__(self, audio_format: AudioFormat, rate_hz: int) -> None:
        self.media_type = MEDIA_TYPES[audio_format]
        self.sample_rate_hz = FIXED_RATES_HZ.get(audio_format, rate_hz)
        self._format = audio_format
        self._rate_hz = rate_hz
        self._samples = 0
        self._codec = _CODECS[audio_format]
        kind = _Bare if self._codec.container is None else _Contained
        self._encoding = kind(self._codec, rate_hz, bit_rate(audio_format, rate_hz))

    def begin(self, samples: int | None = None) -> bytes:
        """The header, with the number of samples where it has a place for it."""
        if self._format == "mp3":
            return info_frame(self._rate_hz, BIT_RATES[self._rate_hz], samples)
        if self._format == "flac":
            return _FLAC_HEAD + stream_info(self._encoding.head, samples)
        return self._encoding.head

    def feed(self, samples: NDArray[np.float32]) -> bytes:
        """The frames that these samples complete."""
        if not len(samples):
            return b""
        frame = av.AudioFrame.from_ndarray(
            self._quantised(samples)[None], format=self._codec.sample_format, layout="mono"
        )
        frame.sample_rate = self._rate_hz
        frame.pts = self._samples
        self._samples += len(samples)
        return self._encoding.encode(frame)

    def end(self) -> bytes:
        """The last frames and the end of the container."""
        return self._encoding.encode(None)

    def _quantised(self, samples: NDArray[np.float32]) -> NDArray[np.float32] | NDArray[np.int16]:
        """As the codec takes them: the integers of pcm16, or floats clipped to [-1, 1]."""
        if self._codec.sample_format == "s16":
            return np.frombuffer(pcm16(samples), "<i2")
        return np.ascontiguousarray(np.clip(samples, -1.0, 1.0), np.float32)


def bit_rate(audio_format: AudioFormat, rate_hz: int) -> int | None:
    """Bits per second that a lossy codec is asked for."""
    if audio_format == "opus":
        return OPUS_BIT_RATE
    return BIT_RATES[rate_hz] if audio_format in ("mp3", "aac") else None


def stream_info(known: bytes, samples: int | None) -> bytes:
    """FLAC's STREAMINFO of 34 bytes with the number of samples in it; 0, as the codec wrote it, is an unknown number.

    Raises ValueError if the number does not fit its 36 bits.
    """
    if samples is None:
        return known
    if samples >= 1 << 36:
        raise ValueError(f"{samples} samples do not fit in one FLAC file")
    fields = int.from_bytes(known[10:18]) | samples
    return known[:10] + fields.to_bytes(8) + known[18:]


class ResamplingEncoder:
    """Another encoder behind a resampler."""

    def __init__(self, encoder: Encoder, resampler: Resampler) -> None:
        self.media_type = encoder.media_type
        self.sample_rate_hz = encoder.sample_rate_hz
        self._encoder = encoder
        self._resampler = resampler

    def begin(self, samples: int | None = None) -> bytes:
        """The inner encoder's, for the number of samples that come out of the resampler."""
        return self._encoder.begin(None if samples is None else self._resampler.count(samples))

    def feed(self, samples: NDArray[np.float32]) -> bytes:
        """Resample and encode."""
        return self._encoder.feed(self._resampler.feed(samples))

    def end(self) -> bytes:
        """What resampler and codec kept back."""
        return self._encoder.feed(self._resampler.end()) + self._encoder.end()


def make_coded(audio_format: AudioFormat, model_rate_hz: int, rate_hz: int) -> Encoder:
    """An encoder of samples at the model's rate into a format whose decoder gives rate_hz."""
    coded_hz = _coded_rate_hz(audio_format, model_rate_hz, rate_hz)
    encoder: Encoder = (
        PcmEncoder(audio_format, coded_hz)
        if audio_format in ("wav", "pcm")
        else CodecEncoder(audio_format, coded_hz)
    )
    return (
        encoder
        if coded_hz == model_rate_hz
        else ResamplingEncoder(encoder, Resampler(model_rate_hz, coded_hz))
    )


def _coded_rate_hz(audio_format: AudioFormat, model_rate_hz: int, rate_hz: int) -> int:
    """The rate that the codec runs at: of Opus, the lowest that keeps all of the model's band."""
    if audio_format == "opus":
        return next((rate for rate in OPUS_RATES_HZ if rate >= model_rate_hz), OPUS_RATES_HZ[-1])
    return rate_hz
