"""What is said over a WebSocket: the messages of vLLM-Omni and those of nari.speech.v1."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.load.answers import RATES_HZ
from bench.records import ErrorKind
from bench.targets.spec import Target
from bench.targets.words import of_object

_REFUSALS = ("overloaded", "not_ready", "rate_limit", "capacity", "too_many", "busy", "unavailable")
"""An error whose code or type holds one of these is a refusal."""


@dataclass(slots=True)
class Turn:
    """What the server has said of one utterance."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when text may be sent."""
    rate_hz: int = 0
    complete: bool = False
    heard: bool = False
    """Whether any event of it came."""
    fault: tuple[ErrorKind, str] | None = None

    def take(self, event: dict[str, Any]) -> None:
        """Called with each event. Raises AttributeError, TypeError or ValueError for what is none of the protocol."""
        self.heard = True
        if event.get("type") == "error":
            self.blame(event.get("error") or event)

    def blame(self, error: Any) -> None:
        """The server says that it failed."""
        names = f"{error.get('code')} {error.get('type')}" if isinstance(error, dict) else ""
        code = error.get("code") if isinstance(error, dict) else None
        words = of_object({"message": error["message"]} if _has(error, "message") else error)
        kind: ErrorKind = "refused" if any(name in names for name in _REFUSALS) else "http_error"
        self.fault = self.fault or (
            kind,
            f"the server says: {code}: {words}" if code else f"the server says: {words}",
        )


def _rate_hz(value: Any) -> int:
    """Raises ValueError for what is no sample rate."""
    rate_hz = int(value)
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise ValueError(f"{rate_hz} Hz")
    return rate_hz


def _has(error: Any, name: str) -> bool:
    return isinstance(error, dict) and bool(error.get(name))


class Dialect(Protocol):
    """The messages of one API."""

    path: str
    subprotocol: str | None
    keeps: bool
    """Whether a connection speaks another utterance after one."""

    def turn(self) -> Turn:
        """A new utterance."""
        ...

    def begin(self, voice: str | None) -> list[str]:
        """What is sent before the text. A voice goes before the target's."""
        ...

    def text(self, index: int, piece: str) -> str:
        """The message with a piece of the text."""
        ...

    def end(self, index: int) -> str:
        """The message that ends the text, after `index` pieces."""
        ...


def _message(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **{key: value for key, value in fields.items() if value is not None}})


def _chosen(voice: str | None) -> dict[str, str]:
    return {"voice": voice} if voice else {}


class _OmniTurn(Turn):
    def take(self, event: dict[str, Any]) -> None:
        Turn.take(self, event)
        kind = event.get("type")
        if kind == "audio.start":
            self.rate_hz = _rate_hz(event.get("sample_rate", 24_000))
        elif kind == "audio.done" and event.get("error"):
            self.fault = self.fault or ("http_error", "the server says that a sentence failed")
        elif kind == "session.done":
            self.complete = True


class Omni:
    """vLLM-Omni: session.config, input.text, input.done; audio.start, binary, audio.done, session.done."""

    path = "/v1/audio/speech/stream"
    subprotocol = None
    keeps = True

    def __init__(self, target: Target, fields: dict[str, Any]) -> None:
        settings = {
            "model": target.model, "voice": target.voice, "instructions": target.instructions,
            "response_format": "pcm", "stream_audio": True,
        }  # fmt: skip
        self._config = {**settings, **target.fields, **fields}

    def turn(self) -> Turn:
        """See Dialect."""
        turn = _OmniTurn()
        turn.ready.set()
        return turn

    def begin(self, voice: str | None) -> list[str]:
        """See Dialect."""
        return [_message("session.config", **{**self._config, **_chosen(voice)})]

    def text(self, index: int, piece: str) -> str:
        """See Dialect."""
        return _message("input.text", text=piece)

    def end(self, index: int) -> str:
        """See Dialect."""
        return _message("input.done")


class _NariTurn(Turn):
    def take(self, event: dict[str, Any]) -> None:
        Turn.take(self, event)
        kind = event.get("type")
        if kind == "session.created":
            self.rate_hz = _rate_hz(event["audio"]["sample_rate"])
        elif kind == "request.configured":
            self.ready.set()
        elif kind == "response.done":
            self.complete = True


class Nari:
    """nari.speech.v1: request.start, input_text.append, input_text.end; binary, response.done, then it closes."""

    path = "/v1/audio/speech/ws"
    subprotocol = "nari.speech.v1"
    keeps = False

    def __init__(self, target: Target, fields: dict[str, Any]) -> None:
        settings = {"voice": target.voice, "model": target.model, "instructions": target.instructions}
        self._request = {**settings, **target.fields, **fields}

    def turn(self) -> Turn:
        """See Dialect."""
        return _NariTurn()

    def begin(self, voice: str | None) -> list[str]:
        """See Dialect."""
        return [_message("request.start", **{**self._request, **_chosen(voice)})]

    def text(self, index: int, piece: str) -> str:
        """See Dialect."""
        return _message("input_text.append", sequence=index, text=piece)

    def end(self, index: int) -> str:
        """See Dialect."""
        return _message("input_text.end", sequence=index)


DIALECTS: dict[str, type[Omni] | type[Nari]] = {"omni": Omni, "nari": Nari}
"""Adapter to its messages."""
