"""The adapters over HTTP: what each asks for, and how its answer becomes timed audio. Nothing here does I/O.

`tts`, `openai` and `elevenlabs` are settings of one adapter that a TOML file can also spell out, as `http`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from bench.load.answers import read_answer, stated_rate_hz
from bench.load.http1 import Response, request_bytes
from bench.records import Sample
from bench.targets.spec import ENCODING_BYTES, Format, Target, TargetError, secret
from bench.targets.unpack import UnpackError, decode, format_of, from_events, from_lines, from_object
from bench.targets.words import of_body, of_content, of_status

_ELEVENLABS = {
    "pcm": "pcm_{rate}",
    "mp3": "mp3_44100_128",
    "opus": "opus_48000_64",
    "wav": "wav_{rate}",
}
_PCM_RATE_HZ = 24_000
"""Of OpenAI's raw samples, by its documentation, and of what we ask of ElevenLabs."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a target listens."""

    host: str
    port: int
    tls: bool
    prefix: str
    """The path of its URL, without a slash at the end."""

    @property
    def name(self) -> str:
        """As a Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def address(url: str) -> Address:
    """Parts of a URL that spec.check has let pass."""
    parts = urlsplit(url)
    tls = parts.scheme in ("https", "wss")
    port = parts.port or (443 if tls else 80)
    return Address(parts.hostname or "127.0.0.1", port, tls, parts.path.rstrip("/"))


@dataclass(slots=True)
class Secrets:
    """The headers of a target with their secrets filled in, and a way to take these out of any text."""

    headers: dict[str, str]
    hidden: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, target: Target) -> Secrets:
        """Reads the environment. Raises TargetError if a variable is not set."""
        headers = {name: secret(value) for name, value in target.headers.items()}
        hidden = [value for value in headers.values() if len(value) > 3]
        hidden += [value.split()[-1] for value in headers.values() if " " in value]
        if target.key_env:
            key = os.environ.get(target.key_env, "")
            if not key:
                raise TargetError(f"{target.name}: the environment variable {target.key_env} is not set")
            if target.adapter == "elevenlabs":
                headers["xi-api-key"] = key
            else:
                headers["Authorization"] = f"Bearer {key}"
            hidden.append(key)
        return cls(headers, hidden)

    def scrub(self, text: str) -> str:
        """The text without a secret."""
        for value in self.hidden:
            text = text.replace(value, "***")
        return text


class HttpAdapter:
    """One target at one endpoint: texts to requests, answers to samples.

    `endpoint` tells a stream from a whole answer, where the target knows the difference; others are asked alike.
    Raises TargetError if a secret is not in the environment.
    """

    def __init__(self, target: Target, url: str, endpoint: str, more: dict[str, Any]) -> None:
        self.target = target
        self.address = address(url)
        self._secrets = Secrets.of(target)
        default: Format = "wav" if target.adapter in ("tts", "http") else "pcm"
        self._format: str = {**target.fields, **more}.get("format") or target.format or default
        self._more = more
        self._path = self._path_of(endpoint)
        self.asked = f"{self._method} {self._path.partition('?')[0]}"
        try:
            self.message("")
        except ValueError as error:
            raise TargetError(f"{target.name}: headers or path: {error}") from None

    @property
    def decodes(self) -> bool:
        """Whether `read` takes long enough that it belongs in a thread."""
        return self._format not in ("wav", "pcm")

    @property
    def _method(self) -> str:
        return self.target.method if self.target.adapter == "http" else "POST"

    def message(self, text: str, voice: str | None = None) -> bytes:
        """The bytes of a request. A voice goes before the target's."""
        target = self.target
        path = self._path.replace("{voice}", quote(voice or target.voice or "", safe=""))
        path = path.replace("{text}", quote(text, safe=""))
        headers = {"Content-Type": "application/json", **self._secrets.headers}
        content: bytes | None
        if target.adapter != "http":
            content = msgspec.json.encode(self._body(text, voice))
        elif target.body is None:
            del headers["Content-Type"]
            content = None
        elif isinstance(target.body, str):
            headers["Content-Type"] = target.content_type or "text/plain; charset=utf-8"
            content = target.body.replace("{text}", text).encode()
        else:
            filled = _filled({**target.body, **target.fields}, text)
            if target.content_type == "application/x-www-form-urlencoded":
                headers["Content-Type"] = target.content_type
                content = urlencode(filled).encode()
            else:
                headers["Content-Type"] = target.content_type or "application/json"
                content = msgspec.json.encode(filled)
        return request_bytes(self._method, self.address.name, path, headers, content)

    def read(self, sample: Sample, response: Response, started: float) -> bytes:
        """Fill a sample from an answer, name its fault if it has one, and return its audio as it came, or decoded."""
        sample.encoding, sample.channels = self.target.encoding, self.target.channels
        sample.frame_bytes = ENCODING_BYTES[sample.encoding] * sample.channels
        sample.format = "wav" if self._format == "wav" else "pcm"
        try:
            response = self._unpacked(sample, response)
        except UnpackError as error:
            read_answer(sample, response, started)
            sample.events.clear()
            sample.error, sample.detail = "bad_audio", self._secrets.scrub(str(error))
            return b""
        audio = read_answer(sample, response, started)
        if response.status not in (0, 200):
            body = b"".join(data for _, data, _ in response.pieces)
            sample.detail = of_status(response.status, response.headers, body, self.asked)
        sample.detail = self._secrets.scrub(sample.detail)
        return audio

    def _unpacked(self, sample: Sample, response: Response) -> Response:
        """The answer with audio for a body. Raises UnpackError."""
        if response.status != 200:
            return response
        pieces, complete = response.pieces, response.complete
        kind = "sse" if self.target.adapter == "openai" and self.target.sse else self.target.answer
        if kind == "sse":
            pieces, ended = from_events(pieces, self.target.audio_field)
            complete = complete and ended
        elif kind == "ndjson":
            pieces = from_lines(pieces, self.target.audio_field)
        elif kind == "json" and complete:
            pieces = from_object(pieces, self.target.audio_field)
        kind_of = response.headers.get("content-type", "").lower()
        got = format_of(pieces[0][1] if pieces else b"", kind_of)
        if pieces is response.pieces and got is None and (wrong := of_content(response.headers)):
            raise UnpackError(f"{wrong}: {of_body(b''.join(data for _, data, _ in pieces))}")
        if got not in (None, self._format) and (got, self._format) != ("webm", "opus"):
            raise UnpackError(f"asked for {self._format}, the answer is {got}; set format")
        rate_hz = stated_rate_hz(response.headers.get("x-sample-rate")) or self._pcm_rate_hz(response)
        if self._format not in ("wav", "pcm"):
            sample.codec = self._format
            if pieces:
                pieces, rate_hz, sample.channels = decode(pieces, self._format, complete)
            sample.encoding, sample.frame_bytes = "s16", 2 * sample.channels
        elif self._format == "pcm" and pieces and not rate_hz:
            raise UnpackError("raw samples, and the answer does not say their rate; set sample_rate_hz")
        if pieces is response.pieces and self._format == "wav":
            return response
        headers = response.headers | ({"x-sample-rate": str(rate_hz)} if rate_hz else {})
        if sample.codec:
            headers.pop("x-audio-seconds", None)  # a codec pads; its decoder need not give the same count
        return replace(response, headers=headers, pieces=pieces, complete=complete)

    def _pcm_rate_hz(self, response: Response) -> int:
        _, _, parameters = response.headers.get("content-type", "").partition(";")
        for parameter in parameters.split(";"):
            name, _, value = parameter.strip().partition("=")
            if name.lower() in ("rate", "samplerate") and (rate_hz := stated_rate_hz(value)):
                return rate_hz
        default = _PCM_RATE_HZ if self.target.adapter in ("openai", "elevenlabs") else 0
        return self.target.sample_rate_hz or default

    def _path_of(self, endpoint: str) -> str:
        target = self.target
        versioned = self.address.prefix.endswith("/v1")
        path = target.path
        if path is None and target.adapter == "openai":
            path = "/audio/speech" if versioned else "/v1/audio/speech"
        elif path is None and target.adapter == "elevenlabs":
            path = f"{'' if versioned else '/v1'}/text-to-speech/{{voice}}/stream"
            path += f"?output_format={self._output_format()}"
        elif path is None:
            path = "/" if target.adapter == "http" else endpoint
        return self.address.prefix + path.replace("{model}", quote(target.model or "", safe=""))

    def _output_format(self) -> str:
        known = _ELEVENLABS.get(self._format)
        if known is None:
            raise TargetError(f"{self.target.name}: format: elevenlabs has no {self._format}")
        return known.format(rate=self.target.sample_rate_hz or _PCM_RATE_HZ)

    def _body(self, text: str, voice: str | None) -> dict[str, Any]:
        target = self.target
        fields: dict[str, Any]
        if target.adapter == "openai":
            fields = {
                "model": target.model,
                "voice": target.voice,
                "input": text,
                "response_format": self._format,
                "instructions": target.instructions,
            }
            if target.sse:
                fields["stream_format"] = "sse"
        elif target.adapter == "elevenlabs":
            fields = {"text": text, "model_id": target.model}
        else:
            fields = {"text": text, "voice": target.voice, "model": target.model, "format": target.format}
        chosen = {"voice": voice} if voice and target.adapter != "elevenlabs" else {}
        return {
            key: value
            for key, value in {**fields, **target.fields, **self._more, **chosen}.items()
            if value is not None
        }


def _filled(value: Any, text: str) -> Any:
    """The value with {text} replaced in every string of it."""
    if isinstance(value, str):
        return value.replace("{text}", text)
    if isinstance(value, dict):
        return {key: _filled(inner, text) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, text) for inner in value]
    return value
