"""Subtitles and lyrics that were pasted into a text: cue numbers, times and positions are not spoken."""

from __future__ import annotations

import re

from serving.text.source import SourceText

_TIME = r"(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{3}"
_CUE = re.compile(rf"^(?:[ \t]*\d{{1,6}}[ \t]*\n)?[ \t]*{_TIME}[ \t]+-->[ \t]+{_TIME}[^\n]*\n?", re.MULTILINE)
_HEADER = re.compile(r"WEBVTT[^\n]*\n?")
_POSITION = re.compile(r"\{\\[^{}\n]{1,80}\}")
_LYRICS_TIME = re.compile(r"^(?:\[\d{1,3}:\d{2}[.:]\d{2,3}\][ \t]*)+", re.MULTILINE)


def drop_cues(source: SourceText) -> SourceText:
    """Without what SRT, WebVTT, ASS and LRC files hold beside the words."""
    text = source.text
    patterns = []
    if "-->" in text:
        patterns.append(_CUE)
    if "{\\" in text:
        patterns.append(_POSITION)
    if text.startswith("[") or "\n[" in text:
        patterns.append(_LYRICS_TIME)
    for pattern in patterns:
        source = source.edit([(*match.span(), "") for match in pattern.finditer(source.text)])
    if text.startswith("WEBVTT") and source.origin_start(0) == 0 and (match := _HEADER.match(text)):
        source = source.edit([(*match.span(), "")])
    return source
