"""What decides the bytes of an answer, as one digest: code, libraries, weights, voice, text, fields, format."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import serving
from serving.models import source_files, voice_digest, voice_fields, weights_digest
from serving.models.base import ModelSpec
from serving.profile import Profile
from serving.protocol import Ready
from serving.request import Order

LAYOUT = 1
"""Of the files; another number makes every file of an older server a stranger."""
_CODE_SUFFIXES = (".py", ".c", ".h", ".txt", ".tsv", ".json")


def server_digest(profile: Profile) -> str:
    """Digest of all that is the same for every request: this takes as long as reading the weights.

    Any change of the server's code, of an installed library, of the profile's model, text or streaming, or of the
    lexicon's or the weights' content makes another one. Raises OSError.
    """
    lexicon = Path(profile.text.lexicon).read_bytes() if profile.text.lexicon else b""
    libraries = sorted(
        f"{found.name} {found.version}" for found in importlib.metadata.distributions() if found.name
    )
    return _digest(
        [
            LAYOUT,
            serving.__version__,
            [_file_digest(path) for path in _code(profile)],
            libraries,
            platform.machine(),
            platform.python_version(),
            profile.model,
            profile.text,
            profile.streaming,
            profile.engine,
            hashlib.sha256(lexicon).hexdigest(),
            weights_digest(profile),
        ]
    )


def answer_key(
    server: str, profile: Profile, spec: ModelSpec, order: Order, engine: Ready, *, whole: bool
) -> str:
    """Digest of an answer: 64 hexadecimal digits.

    A request without a seed has one key, whatever seed was drawn for it. The content of every voice that the request
    names is part of it. Raises InputError if the recording of a voice is gone.
    """
    params = order.params
    named = [
        getattr(params if field == "voice" else params.fields, field) for field in voice_fields(spec.fields)
    ]
    voices = [(name, voice_digest(profile, name)) for name in named if name is not None]
    return _digest(
        [
            server,
            engine.model,
            engine.device,
            engine.dtype,
            order.text,
            order.text_format,
            msgspec.structs.replace(params, seed=0),
            order.asked_seed if spec.seeded else None,
            voices,
            order.audio_format,
            order.output_rate_hz,
            whole,
        ]
    )


def _code(profile: Profile) -> Iterator[Path]:
    own = Path(serving.__file__).parent
    yield from sorted(path for path in own.rglob("*") if path.suffix in _CODE_SUFFIXES)
    yield from source_files(profile.model.name)


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(content: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
