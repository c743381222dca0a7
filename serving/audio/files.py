"""Names of audio files."""

from __future__ import annotations

from serving.audio.encode import AudioFormat

SUFFIXES: dict[str, AudioFormat] = {
    ".wav": "wav",
    ".pcm": "pcm",
    ".raw": "pcm",
    ".flac": "flac",
    ".opus": "opus",
    ".ogg": "opus",
    ".mp3": "mp3",
    ".aac": "aac",
    ".ulaw": "mulaw",
    ".alaw": "alaw",
}
"""What a file's name says about its format; the first of a format is the one that is given."""


def suffix_of(audio_format: AudioFormat) -> str:
    """The suffix of a new file of this format."""
    return next(suffix for suffix, known in SUFFIXES.items() if known == audio_format)
