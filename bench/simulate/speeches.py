"""Requests as the engine gets them: texts of the workload, cut into segments by the model's own frontend."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from bench.simulate.listeners import Speech
from bench.workload import texts
from serving.models.base import Frontend
from serving.profile import PauseProfile
from serving.protocol import SpeechParams
from serving.text import read
from serving.text.pauses import with_leads

AT_ONCE = 200


def speeches(frontend: Frontend, mix: str, seed: int, pauses: PauseProfile) -> Iterator[Speech]:
    """Different texts of a mix, with their segments and pauses, made when they are asked for."""
    spec = frontend.spec
    for number, text in enumerate(said(mix, seed)):
        params = SpeechParams(voice=spec.default_voice, seed=number, fields=spec.fields())
        yield Speech(text, list(frontend.segments(with_leads(read(text), pauses), params)), params)


def said(mix: str, seed: int) -> Iterator[str]:
    """The texts of speeches(), without end: drawn some at a time, for to draw them all at once would take seconds."""
    for part in count():
        yield from texts(mix, AT_ONCE, seed * 1000 + part)
