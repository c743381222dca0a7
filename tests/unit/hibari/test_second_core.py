"""A step that is alone uses a second core, and makes the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from serving.models import load_frontend, load_model
from serving.models.base import Bucket, Model
from serving.models.hibari.cpu.decode import PIECE
from serving.profile import load_profile
from serving.protocol import Segment, SpeechParams
from serving.text import read

TEXTS = ("Yes.", "The rain in Spain, they say, stays mainly in the plain, and so do we for most of the year.")
PROFILE = load_profile("default")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(PROFILE, torch.device("cpu"), torch.float32)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def spoken(
    model: Model, segment: Segment, params: SpeechParams, *, urgent: bool
) -> list[NDArray[np.float32]]:
    """The samples of each window."""
    state = model.open(params, segment, 0, urgent=urgent)
    windows = []
    while state.stage is not None:
        stage = model.stages[state.stage]
        [samples] = stage.scatter([state], stage.forward(*stage.collate([state], Bucket(1, state.length))))
        if samples is not None:
            windows.append(samples)
    return windows


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("urgent", [True, False])
def test_the_same_bits_with_one_core_and_with_two(model: Model, text: str, urgent: bool) -> None:
    frontend = load_frontend(PROFILE)
    params = SpeechParams(voice=frontend.spec.default_voice, seed=3, fields=frontend.spec.fields())
    [segment] = frontend.segments(read(text), params)
    with threads(1):
        alone = spoken(model, segment, params, urgent=urgent)
    with threads(2):
        beside = spoken(model, segment, params, urgent=urgent)
    assert len(alone) == len(beside)
    assert all(np.array_equal(a, b) for a, b in zip(alone, beside, strict=True))
    assert text == TEXTS[0] or max(len(window) for window in alone) > 3 * PIECE * 300  # in pieces, then


def test_a_step_that_is_alone_gets_the_cores(model: Model) -> None:
    assert getattr(model, "spreads", False)
