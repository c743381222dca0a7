"""The first bytes of speech in every format against those of pcm, one request at a time.

The first request of each format is among those that count: a server must not be slower to a first listener.
"""

from __future__ import annotations

from typing import Any

from bench.load.http1 import Connection
from bench.metrics import percentile
from bench.progress import Notify
from bench.protocols.client import connections, post
from bench.servers.start import Server, get
from bench.workload import texts
from serving.audio.encode import AUDIO_FORMATS, AudioFormat, make_encoder

REQUESTS = 20


async def measure_formats(server: Server, progress: Notify, effort: float) -> dict[str, Any]:
    """Milliseconds from the sending to the first bytes behind the format's header, by format, and beside pcm's."""
    spoken = texts("short", max(2, round(REQUESTS * effort)), seed=4)
    _, voices = get(f"{server.url}/voices")
    assert voices is not None, "a ready server tells its voices"
    rate_hz = int(voices["sample_rate_hz"])
    header_bytes = {
        audio_format: len(make_encoder(audio_format, rate_hz).begin()) for audio_format in AUDIO_FORMATS
    }
    first_ms: dict[AudioFormat, list[float]] = {audio_format: [] for audio_format in AUDIO_FORMATS}
    async with connections(server, 1) as (connection,):
        for number, text in enumerate(spoken):
            progress(f"formats: request {number + 1} of {len(spoken)} of each")
            for audio_format in AUDIO_FORMATS:
                first_ms[audio_format].append(
                    await _first_ms(connection, audio_format, text, header_bytes[audio_format])
                )
    figures: dict[str, Any] = {}
    for audio_format, values in first_ms.items():
        behind = [mine - pcm for mine, pcm in zip(values, first_ms["pcm"], strict=True)]
        figures[f"first bytes of {audio_format}, ms, first / p50 / max"] = (
            f"{values[0]:.1f} / {percentile(values, 50):.1f} / {max(values):.1f}"
        )
        if audio_format != "pcm":
            figures[f"{audio_format} behind pcm, ms, first / p50 / max"] = (
                f"{behind[0]:.1f} / {percentile(behind, 50):.1f} / {max(behind):.1f}"
            )
    return figures


async def _first_ms(connection: Connection, audio_format: AudioFormat, text: str, header_bytes: int) -> float:
    body: dict[str, object] = {"text": text, "format": audio_format, "seed": 1}
    return (await post(connection, "/tts/stream", body)).bytes_after_ms(header_bytes)
