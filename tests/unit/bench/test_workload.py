"""Texts and arrivals: seeded, of the stated size, never twice, and Poisson where they say so."""

from __future__ import annotations

import re
from itertools import pairwise
from statistics import mean, pstdev

import pytest

from bench.workload import CHARACTERS, MIXES, TextKind, Workload, arrivals, texts, warmup_texts

KINDS: tuple[TextKind, ...] = ("short", "medium", "long")


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_of_their_length_and_never_twice(kind: TextKind) -> None:
    found = texts(kind, 300, seed=3)
    least, most = CHARACTERS[kind]
    assert all(least <= len(text) <= most for text in found)
    assert len(set(found)) == 300
    assert all("{" not in text for text in found)


@pytest.mark.parametrize("mix", MIXES)
def test_the_seed_decides(mix: str) -> None:
    assert texts(mix, 20, seed=3) == texts(mix, 20, seed=3)
    assert texts(mix, 20, seed=3) != texts(mix, 20, seed=4)
    assert texts(mix, 20, seed=3) == texts(mix, 40, seed=3)[:20]


@pytest.mark.parametrize("mix", MIXES)
def test_warm_up_texts_share_no_sentence_with_measured_ones(mix: str) -> None:
    measured = {sentence for text in texts(mix, 100, seed=3) for sentence in _sentences(text)}
    warm = {sentence for text in warmup_texts(mix, 30, seed=3) for sentence in _sentences(text)}
    assert not measured & warm


def test_the_mix_is_drawn_with_equal_weight() -> None:
    lengths = [len(text) for text in texts("mixed", 60, seed=1)]
    assert sum(length <= 65 for length in lengths) == 30
    assert sum(length >= 580 for length in lengths) == 10


def _sentences(text: str) -> list[str]:
    """A title ends no sentence."""
    return re.split(r"(?<!Mr\.)(?<!Mrs\.)(?<=[.?]) ", text)


def test_no_sentence_comes_twice_in_a_run_and_arms_get_the_same() -> None:
    workload = Workload(seed=1)
    drawn: list[str] = []
    for place in ("1 client", "4 clients", "4 clients again"):
        for mix in MIXES:
            one = workload.texts(mix, 60, place)
            assert workload.texts(mix, 60, place) == one
            drawn += one + workload.warmup_texts(mix, 4, place)
    sentences = [sentence for text in drawn for sentence in _sentences(text)]
    assert len(set(drawn)) == len(drawn)
    assert len(set(sentences)) == len(sentences)
    with pytest.raises(ValueError, match="61 texts"):
        workload.texts("short", 61, "1 client")


def test_constant_arrivals_are_even() -> None:
    assert arrivals("constant", 4.0, 1.0, seed=1) == [0.0, 0.25, 0.5, 0.75]


def test_poisson_gaps_are_exponential() -> None:
    due = arrivals("poisson", 50.0, 100.0, seed=1)
    gaps = [later - earlier for earlier, later in pairwise(due)]
    assert due == arrivals("poisson", 50.0, 100.0, seed=1)
    assert due == sorted(due)
    assert due[-1] < 100.0
    # 5,000 gaps: mean and spread of an exponential are both 1/rate, each within about 1.5 % (one sigma).
    assert mean(gaps) == pytest.approx(0.02, rel=0.06)
    assert pstdev(gaps) == pytest.approx(0.02, rel=0.06)
