"""Each format as two players of others take it, ffmpeg and a headless Chromium: whole, streamed, and cut off.

Needs `chromium` (or the program that CHROMIUM names) and `ffprobe` with `ffmpeg` on the PATH. Chromium fetches a page
from a server of this test, plays every file, and posts what it saw back.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serving.audio.encode import AUDIO_FORMATS, FIXED_RATES_HZ, MEDIA_TYPES, AudioFormat, make_encoder
from tests.support import serving

TEXT = "The harbour was quiet when the first boats came home. Nobody spoke while the nets were lifted out."
RATE_HZ = 24_000
BARE = {"pcm": "s16le", "mulaw": "mulaw", "alaw": "alaw"}
"""Formats without a header, by ffmpeg's names. A browser cannot know what they are."""
PLAYED = [audio_format for audio_format in AUDIO_FORMATS if audio_format not in BARE]
KINDS = ("whole", "streamed", "first 30 %", "first piece")
CODECS = {"wav": "pcm_s16le", "pcm": "pcm_s16le", "mulaw": "pcm_mulaw", "alaw": "pcm_alaw"}
LONGER_S = {"aac": 0.1, "mp3": 0.055}
"""What a decoder may add, see docs/http-api.md."""
SOURCE_TYPES = {"mp3": "audio/mpeg", "aac": "audio/aac"}
"""Formats that Chromium's MediaSource takes as they are; Opus it takes in WebM and FLAC in MP4."""
PLAY_S = 90


@dataclass
class Made:
    """The answers of one format."""

    seconds: float
    """Of the samples that the server made."""
    files: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[AudioFormat, Made]:
    """Answers of the real server with the embedded voice."""
    made: dict[AudioFormat, Made] = {}
    with (
        serving(tmp_path_factory.mktemp("voice")) as server,
        httpx.Client(base_url=server.base_url, timeout=60) as client,
    ):
        for audio_format in AUDIO_FORMATS:
            body = {"text": TEXT, "seed": 1, "format": audio_format}
            whole = client.post("/tts", json=body)
            header_bytes = len(make_encoder(audio_format, RATE_HZ).begin())
            streamed, first = b"", b""
            with client.stream("POST", "/tts/stream", json=body) as answer:
                for piece in answer.iter_raw():
                    streamed += piece
                    if not first and len(streamed) > header_bytes:
                        first = streamed
            files = (whole.content, streamed, streamed[: len(streamed) * 3 // 10], first)
            made[audio_format] = Made(
                float(whole.headers["x-audio-seconds"]), dict(zip(KINDS, files, strict=True))
            )
    return made


def share(made: Made, audio_format: AudioFormat, kind: str) -> tuple[float, float]:
    """The least and the most seconds that a player hears of a file."""
    if kind in ("whole", "streamed"):
        return made.seconds - 0.001, made.seconds + LONGER_S.get(audio_format, 0.01)
    # All but the last frame, at a bit rate that varies; the first piece has a few frames.
    part = len(made.files[kind]) / len(made.files["streamed"])
    return max(0.01, 0.6 * part * made.seconds - 0.1), min(1.6 * part * made.seconds + 0.3, made.seconds)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("audio_format", AUDIO_FORMATS)
def test_ffmpeg_plays_it(
    made: dict[AudioFormat, Made], audio_format: AudioFormat, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "audio"
    path.write_bytes(made[audio_format].files[kind])
    rate_hz = FIXED_RATES_HZ.get(audio_format, RATE_HZ)
    told = ["-f", BARE[audio_format], "-ar", str(rate_hz), "-ac", "1"] if audio_format in BARE else []
    probe = subprocess.run(
        ["ffprobe", "-v", "error", *_for_ffprobe(told), "-show_streams", "-of", "json", path],
        capture_output=True,
        check=True,
    )
    (stream,) = json.loads(probe.stdout)["streams"]
    assert stream["codec_name"] == CODECS.get(audio_format, audio_format)
    assert (int(stream["sample_rate"]), stream["channels"]) == (rate_hz, 1)
    played = subprocess.run(
        ["ffmpeg", "-v", "error", *told, "-i", path, "-f", "s16le", "-ar", str(rate_hz), "-"],
        capture_output=True,
        check=True,
    )
    samples = np.frombuffer(played.stdout, "<i2")
    least, most = share(made[audio_format], audio_format, kind)
    assert least <= len(samples) / rate_hz <= most
    assert np.abs(samples.astype(float)).max() > (1000 if kind != "first piece" else 10)


def _for_ffprobe(told: list[str]) -> list[str]:
    return [{"-ar": "-sample_rate"}.get(word, word) for word in told if word not in ("-ac", "1")]


PAGE = """<!doctype html><script type="module">
const results = {};
const within = (promise, ms) => Promise.race([promise, new Promise((_, fail) => setTimeout(() => fail("late"), ms))]);
const event = (target, name) => new Promise((done, fail) => {
  target.addEventListener(name, done, { once: true });
  target.addEventListener("error", () => fail(target.error?.message || "error"), { once: true });
});
for (const file of FILES) {
  const seen = results[file.name] = {};
  const bytes = await (await fetch(file.url)).arrayBuffer();
  try {
    const sound = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(bytes.slice(0));
    const samples = sound.getChannelData(0);
    seen.decoded_s = sound.duration;
    seen.peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  } catch (error) { seen.decode_error = String(error); }
  const audio = new Audio(URL.createObjectURL(new Blob([bytes], { type: file.type })));
  try {
    audio.muted = true;
    audio.playbackRate = 8;
    const ended = event(audio, "ended");
    await within(audio.play(), 5000);
    await within(ended, 8000);
  } catch (error) { seen.play_error = String(error); }
  seen.played_s = audio.currentTime;
  if (file.source_type && MediaSource.isTypeSupported(file.source_type)) try {
    const source = new MediaSource();
    const audio = new Audio(URL.createObjectURL(source));
    await within(event(source, "sourceopen"), 5000);
    const buffer = source.addSourceBuffer(file.source_type);
    for (let at = 0; at < bytes.byteLength; at += 1500) {
      const updated = event(buffer, "updateend");
      buffer.appendBuffer(bytes.slice(at, at + 1500));
      await within(updated, 5000);
    }
    seen.buffered_s = buffer.buffered.length ? buffer.buffered.end(0) - buffer.buffered.start(0) : 0;
  } catch (error) { seen.source_error = String(error); }
}
await fetch("/results", { method: "POST", body: JSON.stringify(results) });
</script>"""


@pytest.fixture(scope="module")
def seen(made: dict[AudioFormat, Made], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Chromium made of each file, by "format/kind"."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert chromium, "no Chromium: apt-get install chromium, or name its program in CHROMIUM"
    files = [(f"{name}/{kind}", name, made[name].files[kind]) for name in AUDIO_FORMATS for kind in KINDS]
    with served(files) as (url, results):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run"]
        flags += ["--autoplay-policy=no-user-gesture-required"]
        flags.append(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
        with (tmp_path_factory.mktemp("log") / "chromium.log").open("w") as log:
            process = subprocess.Popen([chromium, *flags, url], stdout=log, stderr=log)
            try:
                found: dict[str, Any] = results.get(timeout=PLAY_S)
            finally:
                process.terminate()
                process.wait(20)
    return found


@contextlib.contextmanager
def served(files: list[tuple[str, AudioFormat, bytes]]) -> Iterator[tuple[str, queue.Queue[Any]]]:
    """A page that plays the files, on a port of its own; what it posts comes out of the queue."""
    results: queue.Queue[Any] = queue.Queue()
    described = [
        {"name": name, "url": f"/{at}", "type": MEDIA_TYPES[kind], "source_type": SOURCE_TYPES.get(kind)}
        for at, (name, kind, _) in enumerate(files)
    ]
    page = PAGE.replace("FILES", json.dumps(described)).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = self.path[1:]
            content = files[int(number)][2] if number.isdigit() else page
            self.answer(content, "application/octet-stream" if number.isdigit() else "text/html")

        def do_POST(self) -> None:
            results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(b"", "text/plain")

        def answer(self, content: bytes, media_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", results
        server.shutdown()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("audio_format", PLAYED)
def test_chromium_plays_it(
    made: dict[AudioFormat, Made], seen: dict[str, Any], audio_format: AudioFormat, kind: str
) -> None:
    found = seen[f"{audio_format}/{kind}"]
    least, most = share(made[audio_format], audio_format, kind)
    assert least <= found.get("decoded_s", 0) <= most, found
    assert found["peak"] > (0.03 if kind != "first piece" else 0.0003)
    # An element stops where it decodes a last frame that is broken off, which is a little ahead of what it plays.
    broken = kind == "first 30 %" and "play_error" in found
    assert broken or "play_error" not in found, found
    # The clock of an element that plays eight times as fast is read a little late.
    assert (0.3 if broken else least - 0.1) <= found.get("played_s", 0) <= most + 0.3, found
    if audio_format in SOURCE_TYPES:
        assert least - 0.1 <= found.get("buffered_s", 0) <= most + 0.1, found


@pytest.mark.parametrize("audio_format", BARE)
def test_bare_samples_are_for_programs(seen: dict[str, Any], audio_format: AudioFormat) -> None:
    found = seen[f"{audio_format}/whole"]
    assert "decode_error" in found
    assert "play_error" in found
