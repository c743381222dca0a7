"""What is kept of voices between requests: their conditioning and their emotions, bounded in bytes."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from serving.models.indextts2.voice.conditioning import VoiceConditioning
from serving.models.indextts2.voice.emotion import Emotion
from serving.models.indextts2.voice.recordings import Reference
from serving.protocol import InputError

PINNED = "\0"
"""Begins the name of a pinned voice, and no other."""


class EmotionKey(NamedTuple):
    """What an emotion vector depends on."""

    voice: str
    """Content key of the voice that speaks."""
    emotion: Emotion
    recording: str | None
    """Content key of the voice whose emotion is taken."""


class ByteLru:
    """Values by key, of `limit_bytes` together; putting one more drops the least recently used. Thread-safe."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._values: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> object | None:
        """The value, which becomes the most recently used; None if it is not there."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def drop(self, unwanted: Callable[[Hashable], bool]) -> None:
        """Forget the values of such keys."""
        with self._lock:
            for key in [key for key in self._values if unwanted(key)]:
                self.used_bytes -= self._values.pop(key)[1]

    def put(self, key: Hashable, value: object, size_bytes: int) -> None:
        """Keep a value; one that is larger than the limit alone is not kept."""
        with self._lock:
            _, old_bytes = self._values.pop(key, (None, 0))
            self.used_bytes -= old_bytes
            if size_bytes > self.limit_bytes:
                return
            self._values[key] = value, size_bytes
            self.used_bytes += size_bytes
            while self.used_bytes > self.limit_bytes:
                _, (_, dropped_bytes) = self._values.popitem(last=False)
                self.used_bytes -= dropped_bytes


def _is_of(recording: str, key: Hashable) -> bool:
    """Whether a key of what is kept names this content key."""
    return key == recording or (isinstance(key, EmotionKey) and recording in (key.voice, key.recording))


class VoiceStore:
    """Voices by name, and what was computed of them by content."""

    def __init__(self, voices: Mapping[str, Reference], limit_bytes: int) -> None:
        self._voices = voices
        self._references: dict[str, Reference] = {}
        self._known: dict[Path, tuple[tuple[int, int], str]] = {}
        self._kept = ByteLru(limit_bytes)

    @property
    def used_bytes(self) -> int:
        """Bytes of everything kept."""
        return self._kept.used_bytes

    def pin(self, name: str) -> str:
        """A name that content_key() knows, of the recording that `name` means now. Raises what it raises."""
        return PINNED + self.content_key(name)

    def content_key(self, name: str) -> str:
        """Content key of a voice by name, or of a pinned one; a file is hashed again only if its size or time changed.

        What is kept of recordings that are gone is dropped. Raises what self._voices raises for a name that it
        has not, InputError if the file is gone.
        """
        if name.startswith(PINNED):
            reference = self.reference(name.removeprefix(PINNED))
            if reference.path is not None and not reference.path.exists():
                raise InputError("voice", f"there is no voice {reference.name!r} any more")
        else:
            reference = self._voices[name]
        if reference.path not in self._known:
            self._drop_gone()
        if reference.path is None:
            key = reference.content_key()
        else:
            try:
                stat = reference.path.stat()
                version = (stat.st_size, stat.st_mtime_ns)
            except OSError:
                version = (-1, -1)
            known_version, key = self._known.get(reference.path, ((-1, -1), ""))
            if version != known_version or version == (-1, -1):
                key = reference.content_key()
                self._known[reference.path] = version, key
        self._references[key] = reference
        return key

    def _drop_gone(self) -> None:
        for path in [path for path in self._known if not path.exists()]:
            _, key = self._known.pop(path)
            if any(key == other for _, other in self._known.values()):
                continue
            self._references.pop(key, None)
            self._kept.drop(functools.partial(_is_of, key))

    def reference(self, content_key: str) -> Reference:
        """Where the sound of a content key comes from. Raises InputError if it is there no more."""
        reference = self._references.get(content_key)
        if reference is None:
            raise InputError("voice", "it was deleted before it could be read")
        return reference

    def voice(self, content_key: str) -> VoiceConditioning | None:
        """The conditioning of a voice, if it is kept."""
        kept = self._kept.get(content_key)
        assert kept is None or isinstance(kept, VoiceConditioning)
        return kept

    def put_voice(self, content_key: str, voice: VoiceConditioning) -> None:
        """Keep the conditioning of a voice."""
        self._kept.put(content_key, voice, voice.size_bytes)

    def emotion(self, key: EmotionKey) -> Tensor | None:
        """An emotion vector, if it is kept."""
        kept = self._kept.get(key)
        assert kept is None or isinstance(kept, Tensor)
        return kept

    def put_emotion(self, key: EmotionKey, vector: Tensor) -> None:
        """Keep an emotion vector."""
        self._kept.put(key, vector, vector.nbytes)
