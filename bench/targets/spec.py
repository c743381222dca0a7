"""What a target is: the adapter that speaks to it, where it is, what it is asked for, and how a local one is started.

A target is given as NAME=ADAPTER:URL, or as a table of a TOML file:

    [targets.piper]
    adapter = "http"
    command = ["python", "-m", "piper.http_server", "-m", "voice.onnx", "--port", "{port}"]
    ready = "/voices"
    path = "/synthesize"
    body = { text = "{text}" }
    limits = { cores = 2, threads = 1 }
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

AdapterName = Literal["tts", "openai", "elevenlabs", "http", "omni", "nari"]
ADAPTERS: tuple[AdapterName, ...] = ("tts", "openai", "elevenlabs", "http", "omni", "nari")
Format = Literal["wav", "pcm", "flac", "mp3", "opus", "aac"]
Encoding = Literal["s16", "u8", "s24", "s32", "f32", "f64", "ulaw", "alaw"]
ENCODING_BYTES: dict[Encoding, int] = {
    "s16": 2, "u8": 1, "s24": 3, "s32": 4, "f32": 4, "f64": 8, "ulaw": 1, "alaw": 1,
}  # fmt: skip

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class TargetError(ValueError):
    """A target that cannot be used as it was written; the message names the target and the setting."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a server that the bench starts may use of the machine; None leaves it alone."""

    cores: int | None = None
    """It runs on the first so many of the cores that the bench may use."""
    threads: int | None = None
    """Threads of a pool of OpenMP, OpenBLAS, MKL or numexpr, by their environment variables."""

    def over(self, other: Limits) -> Limits:
        """These limits, and the other's where these leave something alone."""
        return Limits(cores=self.cores or other.cores, threads=self.threads or other.threads)

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables that set the threads."""
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
        return {} if self.threads is None else dict.fromkeys(names, str(self.threads))


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server under test that this project did not write, or ours by another of its doors."""

    name: str = "target"
    adapter: AdapterName = "tts"
    url: str = ""
    """Of its root, as far as the path of the adapter; empty for a local one, which gets a free port."""
    # what it is asked for
    model: str | None = None
    voice: str | None = None
    instructions: str | None = None
    format: Format | None = None
    sample_rate_hz: int | None = None
    """Of raw samples, where the answer does not say it."""
    encoding: Encoding = "s16"
    """Of raw samples."""
    channels: int = 1
    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    """Further fields of each request's body; they win over those of the adapter, and null takes one away."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    """Further headers; ${NAME} is replaced by that environment variable."""
    key_env: str | None = None
    """Name of the environment variable that holds the API key."""
    path: str | None = None
    """In place of the adapter's own path. {voice} and {model} are filled in; a query may be part of it."""
    sse: bool = False
    """Of openai: ask for events, with the audio in Base64 (stream_format)."""
    word_interval_s: float | None = None
    """Of a WebSocket: the text arrives word by word, this far apart. None: at once."""
    # of the adapter http alone
    method: Literal["GET", "POST", "PUT"] = "POST"
    body: dict[str, Any] | str | None = None
    """A table is sent as JSON (as a form if content_type says so), a string as it is; {text} is filled in."""
    content_type: str | None = None
    answer: Literal["body", "json", "sse", "ndjson"] = "body"
    """Where the audio is: the body itself, or Base64 in a field of one JSON object, of events, or of lines."""
    audio_field: str = "audio"
    """That field; dots lead into objects within: data.audio."""
    # how long one waits
    timeout_s: float = 120.0
    """From the sending of a request to the last byte of its answer."""
    ca_file: str | None = None
    """Certificates of a private authority, PEM. Certificates are always checked."""
    # how a local one is started
    command: tuple[str, ...] = ()
    """Its command line; {port} is filled in, and "python" at its beginning is this interpreter."""
    ready: str = "/readyz"
    """Path that answers 200 when the server is ready."""
    ready_timeout_s: float = 600.0
    cwd: str | None = None
    env: dict[str, str] = msgspec.field(default_factory=dict)
    limits: Limits = Limits()

    @property
    def local(self) -> bool:
        """Whether the bench starts it."""
        return bool(self.command)

    @property
    def socket(self) -> bool:
        """Whether it is spoken to over a WebSocket."""
        return self.adapter in ("omni", "nari")

    def described(self) -> dict[str, Any]:
        """What a report may show: no values of headers, environment or key."""
        shown: dict[str, Any] = msgspec.to_builtins(self)
        shown |= {"headers": sorted(self.headers), "env": sorted(self.env), "command": len(self.command)}
        default = msgspec.to_builtins(Target())
        for gone in ("name", "command", "cwd", "ca_file"):
            shown.pop(gone)
        return {key: value for key, value in shown.items() if value and value != default[key]}


def secret(value: str) -> str:
    """A header's value with its ${NAME} filled in. Raises TargetError if a variable is not set."""

    def look_up(found: re.Match[str]) -> str:
        known = os.environ.get(found[1])
        if not known:
            raise TargetError(f"the environment variable {found[1]} is not set")
        return known

    return _VARIABLE.sub(look_up, value)


def read_targets(words: Sequence[str], options: dict[str, Any] | None = None) -> list[Target]:
    """Targets from the command line: each word NAME=ADAPTER:URL, a URL (adapter tts), or a TOML file.

    `options` are settings of those that are not in a file. Raises TargetError, which names the word or the setting.
    """
    found: list[Target] = []
    for word in words:
        if word.endswith(".toml"):
            found += _read_file(Path(word))
        else:
            found.append(with_options(_read_word(word), options or {}))
    names = [target.name for target in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TargetError(f"two targets are called {min(twice)!r}")
    return found


def _read_word(word: str) -> Target:
    if word.startswith(("http://", "https://")):
        return Target(url=word)
    name, equals, rest = word.partition("=")
    adapter, colon, url = rest.partition(":")
    if not (equals and colon and name and url):
        raise TargetError(f"{word!r}: write NAME=ADAPTER:URL, a URL, or a file that ends in .toml")
    if adapter not in ADAPTERS:
        raise TargetError(f"{name}: no adapter {adapter!r}; there are {', '.join(ADAPTERS)}")
    return msgspec.convert({"name": name, "adapter": adapter, "url": url}, Target)


def _read_file(path: Path) -> list[Target]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TargetError(f"{path.name}: {error.strerror}") from None
    except ValueError as error:
        raise TargetError(f"{path.name}: {error}") from None
    if unknown := set(content) - {"targets"}:
        raise TargetError(f"{path.name}: {min(unknown)!r} is not known; there are tables [targets.NAME]")
    tables = content.get("targets")
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise TargetError(f"{path.name}: no table [targets.NAME]")
    found = []
    for name, table in tables.items():
        try:
            found.append(check(msgspec.convert({**table, "name": name}, Target)))
        except msgspec.ValidationError as error:
            raise TargetError(f"{path.name}: targets.{name}: {error}") from None
    return found


def with_options(target: Target, options: dict[str, Any]) -> Target:
    """The target with these settings over its own; None leaves one alone. Raises TargetError."""
    given = {key: value for key, value in options.items() if value not in (None, {})}
    merged = {**msgspec.to_builtins(target), **given}
    for table in ("fields", "headers"):
        merged[table] = {**getattr(target, table), **given.get(table, {})}
    try:
        return check(msgspec.convert(merged, Target))
    except msgspec.ValidationError as error:
        raise TargetError(f"{target.name}: {error}") from None


def check(target: Target) -> Target:
    """The target itself. Raises TargetError for what the types do not show."""

    def wrong(what: str) -> TargetError:
        return TargetError(f"{target.name}: {what}")

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}", target.name):
        raise TargetError(f"{target.name!r}: a name is of letters, digits, dots, dashes and underscores")
    if bool(target.url) == target.local:
        raise wrong("give either url, of a server that runs, or command, which starts one")
    try:
        url = urlsplit(target.url or "http://127.0.0.1:1")
        _ = url.port
    except ValueError as error:
        raise wrong(f"url: {error}") from None
    if url.scheme not in ("http", "https", "ws", "wss") or not url.hostname:
        raise wrong(f"url: {target.url!r} is not an address that begins with http:// or https://")
    if url.query or url.fragment or url.username is not None:
        raise wrong("url: no query, fragment or password in it; use path, headers or key_env")
    if target.local and not any("{port}" in word for word in target.command):
        raise wrong("command: {port} does not occur in it")
    if target.adapter == "elevenlabs" and not target.voice:
        raise wrong("voice: the adapter elevenlabs needs one")
    if target.adapter == "http" and "{text}" not in f"{target.body} {target.path}":
        raise wrong("body: {text} occurs neither in body nor in path")
    if target.adapter != "http" and target.body is not None:
        raise wrong(f"body: the adapter {target.adapter} makes its own; use fields")
    if target.socket and target.format not in (None, "pcm"):
        raise wrong("format: over a WebSocket it is pcm")
    for setting in ("timeout_s", "ready_timeout_s", "sample_rate_hz", "channels"):
        if (value := getattr(target, setting)) is not None and not 0 < value < 1e6:
            raise wrong(f"{setting}: {value} is out of range")
    if target.word_interval_s is not None and not (target.socket and 0 <= target.word_interval_s <= 60):
        raise wrong("word_interval_s: of omni and nari alone, 0 to 60")
    for setting in ("cores", "threads"):
        value = getattr(target.limits, setting)
        if value is not None and (value < 1 or not target.local):
            raise wrong(f"limits.{setting}: at least 1, and of a server that the bench starts")
    return target
