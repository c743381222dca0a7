"""A trace: who asked for how much, when, in which voice, and who left. Replayed with texts made up to the same lengths.

As a file it is JSON, one request a line:

    {"time_s": 0.0, "characters": 61, "voice": "heart", "cancel_after_s": 1.5}

It holds no text, so it can be given away.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench.load.generator import LoadPlan
from bench.load.listeners import Listener, texts_of

_COMMON = re.compile(
    r'\[(?P<time>[^\]]+)\] "(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[\d.]+" (?P<status>\d{3}) (?P<bytes>\d+|-)'
)
_COMMON_TIME = "%d/%b/%Y:%H:%M:%S %z"
SPEECH_PATHS = ("/tts/stream", "/tts", "/v1/audio/speech", "/v1/text-to-speech")
NO_SPEECH = ("/captions", "/batch")
"""Below such a path: answers that are no stream of one text."""
CHARACTERS_PER_S = 15.0
"""Of English speech: how long a text was, judged by its audio, where a log does not tell."""
LEFT_STATUS = 499
"""With which nginx logs a client that went before the answer's end."""
_TIME_NAMES = ("time", "timestamp", "ts", "@timestamp", "time_s", "start")
_LENGTH_NAMES = ("characters", "chars", "text_length", "input_characters", "length")
_CANCEL_NAMES = ("cancel_after_s", "cancelled_after_s", "left_after_s")


class TraceError(ValueError):
    """A trace or a log that cannot be read; the message names the line."""


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One request of a trace."""

    time_s: float
    """When it was due, from the beginning of the trace."""
    characters: int
    voice: str | None = None
    cancel_after_s: float | None = None
    """The listener went so long after the first piece of the answer."""


def read_trace(path: Path) -> list[Asked]:
    """The requests in the order in which they are due. Raises TraceError."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            asked = msgspec.json.decode(line, type=Asked)
        except msgspec.DecodeError as error:
            raise TraceError(f"{path.name}, line {number}: {error}") from None
        if not (0 <= asked.time_s < 1e7 and 1 <= asked.characters <= 1_000_000):
            raise TraceError(f"{path.name}, line {number}: time_s or characters is out of range")
        if asked.cancel_after_s is not None and asked.cancel_after_s < 0:
            raise TraceError(f"{path.name}, line {number}: cancel_after_s is out of range")
        found.append(asked)
    if not found:
        raise TraceError(f"{path.name}: no request in it")
    return sorted(found, key=lambda asked: asked.time_s)


def write_trace(trace: Iterable[Asked], path: Path) -> None:
    """One JSON object a line."""
    path.write_bytes(b"".join(msgspec.json.encode(asked) + b"\n" for asked in trace))


def from_log(lines: Iterable[str], *, audio_bytes_per_s: float = 48_000.0) -> tuple[list[Asked], int]:
    """A trace from an access log, and how many lines told of no speech.

    JSON lines need a time (ISO 8601 or seconds) and a length: `characters` or a name like it, `text` or `input`, whose
    length alone is kept, or the bytes of the answer. In Common Log Format (nginx, Apache) lengths come from the bytes
    of the answer: seconds of audio by `audio_bytes_per_s`, at CHARACTERS_PER_S. Status 499 is a listener who left,
    after the audio that was sent. Answers of 400 and above, but 429, 499 and 503, are left out; where nothing tells
    the length of a text that was refused, it is the median of the others. `request_time` is taken off the time, for
    nginx writes a line when the answer has ended.
    """
    found: list[Asked] = []
    other = 0
    for line in lines:
        asked = (
            _from_json(line, audio_bytes_per_s)
            if line.lstrip().startswith("{")
            else _from_common(line, audio_bytes_per_s)
        )
        if asked is None:
            other += bool(line.strip())
        else:
            found.append(asked)
    found.sort(key=lambda asked: asked.time_s)
    known = [asked.characters for asked in found if asked.characters]
    if not known:
        return [], other + len(found)
    began = found[0].time_s
    return [
        msgspec.structs.replace(
            asked,
            time_s=round(asked.time_s - began, 6),
            characters=asked.characters or round(median(known)),
        )
        for asked in found
    ], other


def plan_of(trace: list[Asked], *, url: str, seed: int, speed: float = 1.0, **settings: Any) -> LoadPlan:
    """The open loop that replays a trace, `speed` times as fast; further settings are those of the LoadPlan."""
    return LoadPlan(
        url=url,
        texts=texts_of([asked.characters for asked in trace], seed),
        due_s=[asked.time_s / speed for asked in trace],
        listeners=[Listener(leave_after_s=asked.cancel_after_s, voice=asked.voice) for asked in trace],
        duration_s=trace[-1].time_s / speed,
        **settings,
    )


def _from_common(line: str, audio_bytes_per_s: float) -> Asked | None:
    found = _COMMON.search(line)
    if found is None or not _speech(found["path"]):
        return None
    try:
        moment = datetime.datetime.strptime(found["time"], _COMMON_TIME).timestamp()
    except ValueError:
        return None
    size = 0 if found["bytes"] == "-" else int(found["bytes"])
    return _asked(moment, None, size / audio_bytes_per_s, int(found["status"]), None, None)


def _from_json(line: str, audio_bytes_per_s: float) -> Asked | None:
    try:
        content = msgspec.json.decode(line, type=dict[str, Any])
        moment = _moment(_first(content, _TIME_NAMES)) - float(content.get("request_time", 0))
        text = content.get("text", content.get("input"))
        length = _first(content, _LENGTH_NAMES)
        characters = len(text) if isinstance(text, str) else None if length is None else int(length)
        size = _first(content, ("bytes", "body_bytes_sent", "bytes_sent", "size"))
        left = _first(content, _CANCEL_NAMES)
        voice = content.get("voice")
        path = _first(content, ("path", "uri", "request_uri", "url"))
        if path is not None and not _speech(str(path)):
            return None
        return _asked(
            moment,
            characters,
            float(size or 0) / audio_bytes_per_s,
            int(content.get("status", 200)),
            None if left is None else float(left),
            voice if isinstance(voice, str) else None,
        )
    except (msgspec.DecodeError, TypeError, ValueError):
        return None


def _asked(
    moment: float, characters: int | None, audio_s: float, status: int, left: float | None, voice: str | None
) -> Asked | None:
    if status >= 400 and status not in (429, 503, LEFT_STATUS):
        return None
    characters = round(audio_s * CHARACTERS_PER_S) if characters is None else characters
    if left is None and status == LEFT_STATUS:
        left = round(audio_s, 3)
    if characters < 1 and status < 400:  # only of what was refused, or left, is the length unknown
        return None
    return Asked(time_s=moment, characters=max(characters, 0), voice=voice, cancel_after_s=left)


def _speech(path: str) -> bool:
    path = path.partition("?")[0].rstrip("/")
    return any(part in path for part in SPEECH_PATHS) and not path.endswith(NO_SPEECH)


def _first(content: dict[str, Any], names: Iterable[str]) -> Any:
    return next((content[name] for name in names if content.get(name) is not None), None)


def _moment(value: Any) -> float:
    if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
        return datetime.datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    return float(value)
