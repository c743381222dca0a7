"""What the tests of /v1/audio/voices share: a server that clones, forms with a recording, files that are none."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from serving.models.indextts2.voice.recordings import built_in_wave
from serving.profile import Profile, load_profile
from tests.support import Answer, Api

VOICES = "/v1/audio/voices"
BOUNDARY = b"5f1b0c"
RATE_HZ = 24000
WAVE = built_in_wave(RATE_HZ)


def form(*parts: tuple[str, bytes | str], file_name: str = "ann.wav") -> bytes:
    """A multipart/form-data body; a part of bytes is a file."""
    body = b""
    for name, content in parts:
        head = f'form-data; name="{name}"'
        if isinstance(content, bytes):
            head += f'; filename="{file_name}"\r\nContent-Type: audio/wav'
        data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        body += b"--" + BOUNDARY + b"\r\nContent-Disposition: " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
    return body + b"--" + BOUNDARY + b"--\r\n"


def headers(**more: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of such a body."""
    given = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}", **more}
    return tuple((name.replace("_", "-").encode(), value.encode()) for name, value in given.items())


def audio(wave: NDArray[Any], rate_hz: int = RATE_HZ, kind: str = "WAV") -> bytes:
    """A wave as a file."""
    out = io.BytesIO()
    soundfile.write(out, wave, rate_hz, format=kind)
    return out.getvalue()


def good(seconds: float = 2.0) -> bytes:
    """A recording that is taken."""
    return audio(np.tile(WAVE, 6)[: int(seconds * RATE_HZ)])


def png() -> bytes:
    """A picture of one pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    size = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def profile_of(folder: Path, *more: str) -> Profile:
    """IndexTTS2 in this process, whose voices are in `folder`."""
    settings = [
        "model.options.weights=random",
        "model.options.size=tiny",
        "model.options.max_codes=12",
        "model.options.prompt_s=0.4",
        "model.options.flow_iterations=2",
        f"model.options.voices={folder}",
        "engine.process=false",
        "engine.threads=1",
        "engine.workers=1",
        "engine.device=cpu",
    ]
    return load_profile("indextts2-default", [*settings, *more], environ={})


async def add(api: Api, name: str, recording: bytes | None = None, /, **fields: str) -> Answer:
    parts: list[tuple[str, bytes | str]] = [("name", name), ("consent", "true"), *fields.items()]
    body = form(*parts, ("audio_sample", good() if recording is None else recording))
    return await api.call("POST", VOICES, body, headers())


async def delete(api: Api, name: str) -> Answer:
    return await api.call("DELETE", f"{VOICES}/{name}", b"", ())


async def names(api: Api) -> list[str]:
    return [voice["id"] for voice in (await api.call("GET", VOICES, b"", ())).json["voices"]]


async def speak(api: Api, voice: str, **fields: Any) -> Answer:
    body = {"text": "Hello.", "voice": voice, "seed": 1, "format": "pcm", **fields}
    return await api.call("POST", "/tts", body)


def stored(folder: Path) -> list[str]:
    """Files of added voices, the lock left out."""
    return (
        sorted(path.name for path in (folder / "added").iterdir() if path.name != ".lock")
        if (folder / "added").exists()
        else []
    )
