"""How to serve: profiles/*.toml, then the environment, then --set, make one frozen Profile.

    profile = load_profile("default", overrides=["engine.max_slots=8"])

A profile file may name another in `extends`: a name, or a .toml file beside it. TTS_ENGINE__MAX_SLOTS=8 in
the environment sets engine.max_slots. Unknown keys and bad values are errors that name the key.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

ENV_PREFIX = "TTS_"

PositiveInt = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0, le=1e9)]
Pause = Annotated[float, Meta(ge=0, le=10)]


class ProfileError(ValueError):
    """There is no such profile, or it holds what a profile does not; the message names the key."""


class ModelProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which model."""

    name: str = "hibari"
    """A package in serving.models, or any importable dotted name that follows serving/models/base.py."""
    options: dict[str, Any] = {}
    """The model's own settings; the model checks them."""


class EngineProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the engine runs the model."""

    device: str = "auto"
    """auto (cuda when there is one, else cpu), cpu, cuda or cuda:N."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    process: bool = True
    """Run the engine in a process of its own; false runs it in a thread (tests, embedding)."""
    workers: Annotated[int, Meta(ge=0, le=1024)] = 0
    """Steps that run at once on a CPU; 0 takes one for every `threads` cores. On CUDA it is always one."""
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    """torch threads of a step; 0 takes one on a CPU, unless `workers` leaves cores over. A step that is alone takes
    those of all workers, if its model spreads."""
    pressing_first: bool = True
    """On a CPU a step that a listener waits for begins at once, where steps have one row; it costs some throughput."""
    max_slots: Annotated[int, Meta(ge=1, le=4096)] = 16
    """Segments in flight at once."""
    max_step_units: PositiveInt = 1024
    """Most padded units (frames) of one step: bounds how long a newcomer waits for the step before it."""
    compile: bool = False
    """torch.compile the forward of each stage."""
    cuda_graphs: bool = False
    """Capture each stage's buckets at start and replay them; cuda only."""
    side_streams: bool = False
    """On CUDA: groups of stages that the model names run beside each other, each in a stream of its own."""
    request_timeout_s: PositiveFloat = 120.0
    """A request expires this long after its arrival; an engine whose step takes as long is started again."""
    silence_s: Annotated[float, Meta(ge=1, le=600)] = 3.0
    """An engine process that gives no sign of life for this long is killed and started again."""
    restart_limit: Annotated[int, Meta(ge=0)] = 3
    """Starts again after a death, at most this often within ten minutes; then the server gives up."""
    idle_unload_s: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    """The engine is ended, and its memory given back, when nobody spoke for this long; 0: never."""


class AdmissionProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What may wait. Past either bound a request is refused at once with 503."""

    max_requests: PositiveInt = 64
    max_audio_s: PositiveFloat = 1200.0
    """Seconds of audio promised and not yet made, estimated from the text."""


class PauseProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Silence by punctuation, in seconds at speed 1."""

    comma_s: Pause = 0.16
    clause_s: Pause = 0.28
    """At a semicolon, a colon or a dash, and where a long sentence is cut."""
    sentence_s: Pause = 0.4
    paragraph_s: Pause = 0.7


class TextProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a text is read."""

    max_chars: PositiveInt = 5000
    """Longest text of a request. The command line has no limit."""
    lexicon: str = ""
    """A file of pronunciations, see docs/text.md; empty: none."""
    pauses: PauseProfile = PauseProfile()


class StreamingProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Size of the windows inside a segment."""

    first_chunk_s: PositiveFloat = 0.25
    growth: Annotated[float, Meta(ge=1, le=100)] = 4.0
    """Each window is this many times the one before."""
    max_chunk_s: PositiveFloat = 3.0
    follow: bool = False
    """From the second on each window waits, while that is safe, for more to speak, and is at least as above."""
    window_s: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """On CUDA: device time of a window; nobody begins to hear while, at so much each, a listener would run dry."""


class HttpProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The front door."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8009
    max_body_bytes: PositiveInt = 1_000_000
    drain_s: PositiveInt = 30
    """After SIGTERM, requests in flight have this long to finish."""
    header_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    """A connection has this long to send the head of a request."""
    body_s: PositiveFloat = 15.0
    """A body has this long to arrive; a recording has voices.upload_s."""
    send_s: PositiveFloat = 20.0
    """A reader that takes nothing of what is ready for it for this long is given up."""
    max_connections: PositiveInt = 8192
    """Open at once; fewer where the system allows fewer files."""
    max_per_address: PositiveInt = 512
    """Requests and WebSockets of one address that are under way at once; past it: 429."""
    allowed_hosts: list[str] = []
    """Names beside the loopback ones that a server on a loopback address is called by; "*" is any. On another address:
    the only ones, if there are some."""
    health_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """The main process answers GET /healthz and /readyz on this port too, whatever the HTTP process does; 0: none."""
    tls_cert: str = ""
    """Certificate chain in PEM; with tls_key the server speaks HTTPS."""
    tls_key: str = ""
    """Private key in PEM, without a password."""
    access_log: bool = False
    """A line of the log for each request, with its id and without its query."""
    http2: bool = False
    """Take HTTP/2 beside HTTP/1.1 on the same port, without TLS: from clients and proxies that begin with it (h2c)."""
    cors_origins: list[str] = []
    """Origins whose pages may call the server from a browser, such as "https://example.org"; "*" is any."""
    allow_get: bool = False
    """GET /tts with the fields in the query, for the src of an audio element."""
    heartbeat_s: PositiveFloat = 15.0
    """Server-Sent Events send a comment when nothing else was sent for this long."""
    reports: str = "reports"
    """Folder of the bench's reports that the page /bench shows, from the working directory; empty shows none."""
    voice_aliases: dict[str, str] = {}
    """Names that clients of OpenAI's API send as a voice, and the voice of the model that speaks for each."""


class VoicesProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Voices that users add, where the model clones and model.options names a folder for them."""

    writable: Literal["local", "always", "never"] = "local"
    """Who may add and delete voices over HTTP. local: whoever reaches the port, while http.host is a loopback
    address; behind a reverse proxy that is everybody."""
    max_upload_bytes: PositiveInt = 20_000_000
    """Largest recording that is taken. Two are taken at once, each held in memory."""
    upload_s: PositiveFloat = 60.0
    """A recording that takes longer to arrive is given up."""
    max_voices: PositiveInt = 100
    max_bytes: PositiveInt = 1_000_000_000
    """Of all the recordings that users added, as they are stored: 4 bytes a sample."""


class WebSocketProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Text in as it is written, audio out."""

    max_frame_bytes: PositiveInt = 131_072
    max_chars: PositiveInt = 100_000
    """Longest text of one utterance."""
    idle_s: PositiveFloat = 30.0
    """A connection on which nothing is spoken and no message comes is closed after this."""
    send_s: PositiveFloat = 10.0
    """A client that takes nothing of what is ready for it is given up after this."""
    settle_s: PositiveFloat = 0.04
    """A full stop ends its sentence if nothing follows it for this long; abbreviations and numbers wait on."""


class AccessProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may call, and how much. A limit of 0 is none; the file of keys may set others for a key."""

    keys_file: str = ""
    """Digests of API keys, written by `tts-serving keys`; while it is named, every call but those of health checks
    and of the pages' own files needs a key."""
    let_anyone_in: bool = False
    """Serve without keys although http.host is an address that others reach."""
    requests_per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Of a key, in any 60 seconds; a WebSocket or a batch is one."""
    concurrent_streams: Annotated[int, Meta(ge=0)] = 0
    """Requests and WebSockets of a key that are answered at once."""
    audio_s_per_day: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    """Seconds of audio made for a key from one midnight (UTC) to the next."""


class ObserveProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator sees."""

    metrics: bool = True
    """Count for GET /metrics."""
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_texts: bool = False
    """Show what exceptions say, which may be a client's words; else the log tells their kind and their place."""
    traces_to: str = ""
    """Address that takes OpenTelemetry traces (OTLP over HTTP), as http://127.0.0.1:4318/v1/traces; empty: none."""
    traces_share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Of the requests that come without a trace of their caller's."""


class BatchProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Many texts in one request."""

    max_items: PositiveInt = 32
    timeout_s: PositiveFloat = 600.0
    """What is not made and read by then is given up; each item has engine.request_timeout_s besides."""


class CacheProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answers kept on disk. Off, unless max_bytes is set; no measurement counts while it is on."""

    folder: str = ""
    max_bytes: Annotated[int, Meta(ge=0)] = 0
    """Of all answers together; the least recently used goes first."""


class ClusterProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Engines on several devices and machines, for `tts-serving cluster` alone."""

    address: str = ""
    """Of the Ray cluster, as 10.0.0.1:6379; auto: the one this machine is part of; empty: one is started here."""
    replicas: PositiveInt = 1
    """Engines, at least."""
    max_replicas: Annotated[int, Meta(ge=0)] = 0
    """Engines, at most; 0: always `replicas`."""
    queue_depth: PositiveFloat = 8.0
    """Requests under way per engine that the number of engines follows."""
    cpus: PositiveFloat = 1.0
    """Cores that an engine takes; on a CPU this is the number of its workers."""
    gpus: Annotated[float, Meta(ge=0)] = 0.0
    """Devices that an engine takes."""
    upscale_s: Annotated[float, Meta(ge=0)] = 3.0
    downscale_s: Annotated[float, Meta(ge=0)] = 60.0
    """How long the queue must have asked for more, or for fewer, engines."""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that decides how a server speaks and how fast."""

    name: str
    description: str = ""
    model: ModelProfile = ModelProfile()
    engine: EngineProfile = EngineProfile()
    admission: AdmissionProfile = AdmissionProfile()
    text: TextProfile = TextProfile()
    streaming: StreamingProfile = StreamingProfile()
    http: HttpProfile = HttpProfile()
    voices: VoicesProfile = VoicesProfile()
    websocket: WebSocketProfile = WebSocketProfile()
    access: AccessProfile = AccessProfile()
    observe: ObserveProfile = ObserveProfile()
    batch: BatchProfile = BatchProfile()
    cache: CacheProfile = CacheProfile()
    cluster: ClusterProfile = ClusterProfile()


def profiles_folder() -> Path:
    """The folder of the profiles that come with the package: inside the wheel, or beside it in a checkout."""
    packaged = Path(__file__).parent / "profiles"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "profiles"


def profile_names() -> list[str]:
    """Names that load_profile takes, sorted."""
    return sorted(path.stem for path in profiles_folder().glob("*.toml"))


def load_profile(
    name: str, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Profile:
    """Read profile `name` (a name from profile_names() or a path to a .toml file) with its overrides applied.

    `overrides` are "table.key=value" strings, values written as TOML (a bare word is a string). They win over
    the environment (os.environ unless given), which wins over the file. Raises ProfileError.
    """
    environment = os.environ if environ is None else environ
    tree = _read(name, seen=())
    tree["name"] = os.fsencode(Path(name).stem).decode(errors="replace")  # whatever the locale took it for
    for key, value in environment.items():
        if key.startswith(ENV_PREFIX) and "__" in key:
            _put(tree, key.removeprefix(ENV_PREFIX).lower().split("__"), value, origin=f"${key}")
    for override in overrides:
        path, separator, value = override.partition("=")
        if not separator:
            raise ProfileError(f"--set {override}: write it as table.key=value")
        _put(tree, path.strip().split("."), value.strip(), origin=f"--set {override}")
    try:
        return msgspec.convert(tree, Profile, strict=True)
    except msgspec.ValidationError as error:
        raise ProfileError(f"profile {name}: {error}") from None


def _read(name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    path = Path(name) if name.endswith(".toml") else profiles_folder() / f"{name}.toml"
    if name in seen:
        raise ProfileError(f"profile {name}: extends itself ({' -> '.join((*seen, name))})")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"no profile {name!r}; there are {', '.join(profile_names())}") from None
    except OSError as error:
        raise ProfileError(f"profile {name}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"profile {name}: {error}") from None
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise ProfileError(f"profile {name}: Expected `str` - at `$.extends`")
    if parent.endswith(".toml"):
        parent = str(path.parent / parent)
    return _merge(_read(parent, (*seen, name)), tree)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _put(tree: dict[str, Any], path: list[str], text: str, origin: str) -> None:
    node = tree
    for part in path[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ProfileError(f"{origin}: {part} is a value, not a table")
    try:
        node[path[-1]] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        node[path[-1]] = text
