"""Text to phoneme segments of the embedded voice."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest

from serving.models import load_frontend
from serving.models.hibari.frontend import (
    MAX_PHONEMES,
    PAD_ID,
    SPEC,
    Fields,
    HibariFrontend,
    is_speakable,
    split_phonemes,
)
from serving.profile import ModelProfile, Profile, ProfileError
from serving.protocol import InputError, Segment, SpeechParams
from serving.request import parse

PARAMS = SpeechParams(voice="heart", seed=0, fields=Fields())


@pytest.fixture(scope="module")
def frontend() -> HibariFrontend:
    made = load_frontend(Profile(name="test"))
    assert isinstance(made, HibariFrontend)
    return made


def segments(frontend: HibariFrontend, text: str) -> list[Segment]:
    return list(frontend.segments(text, PARAMS))


def test_one_segment_per_sentence_padded_at_both_ends(frontend: HibariFrontend) -> None:
    spoken = segments(frontend, "Dr. Smith met Mr. Jones. It cost $3.50!\n\nReally?")
    assert [segment.index for segment in spoken] == [0, 1, 2]
    assert "sˈɛnts" in spoken[1].text
    for segment in spoken:
        assert segment.tokens[0] == segment.tokens[-1] == PAD_ID
        assert all(token > 0 for token in segment.tokens[1:-1])


def test_the_first_sentence_comes_before_the_second_is_phonemized(
    frontend: HibariFrontend, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    split_sentences, phonemize = frontend._package.result()

    def listen(sentence: str) -> str:
        heard.append(sentence)
        return str(phonemize(sentence))

    listening: Future[Any] = Future()
    listening.set_result((split_sentences, listen))
    monkeypatch.setattr(frontend, "_package", listening)
    spoken = frontend.segments("One here. Two there.", PARAMS)
    assert next(spoken).index == 0
    assert heard == ["One here."]
    assert next(spoken).index == 1


@pytest.mark.parametrize("text", ["", "   \n ", "!?!", "... — ...", "😀", "日本語", "()", "' '"])
def test_text_without_a_word_is_refused(frontend: HibariFrontend, text: str) -> None:
    with pytest.raises(InputError, match="nothing that can be spoken") as caught:
        segments(frontend, text)
    assert caught.value.field == "text"


def test_silent_sentences_among_others_are_left_out(frontend: HibariFrontend) -> None:
    spoken = segments(frontend, "Hello. ... !!! 😀. Goodbye.")
    assert [segment.index for segment in spoken] == list(range(len(spoken)))
    assert all(is_speakable(segment.text) for segment in spoken)
    assert "həlˈO" in spoken[0].text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "Hello.", "voice": "nobody"}, "voice"),
        ({"text": "Hello.", "speed": 0.49}, "speed"),
        ({"text": "Hello.", "speed": 2.01}, "speed"),
        ({"text": "a " * 2501}, "text"),
    ],
)
def test_a_wrong_field_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(msgspec.json.encode(body), SPEC)
    assert caught.value.field == field


@pytest.mark.parametrize("text", ["a" * 5000, "x1" * 2500, "a-" * 2500, "1" * 5000, "word, " * 800])
def test_monsters_are_cut_into_segments(frontend: HibariFrontend, text: str) -> None:
    spoken = segments(frontend, text)
    assert spoken
    assert max(len(segment.tokens) for segment in spoken) <= MAX_PHONEMES + 2


@pytest.mark.parametrize(
    ("phonemes", "pieces"),
    [
        ("abc def", ["abc def"]),
        ("abcde, fghij, kl", ["abcde,", "fghij, kl"]),
        ("abcd efgh ijkl", ["abcd efgh", "ijkl"]),
        ("abcdefghijklmnopqrstuvw", ["abcdefghij", "klmnopqrst", "uvw"]),
        ("", []),
    ],
)
def test_phonemes_are_split_at_clauses_then_words_then_anywhere(phonemes: str, pieces: list[str]) -> None:
    assert list(split_phonemes(phonemes, limit=10)) == pieces


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ProfileError, match=r"model\.options.*pitch"):
        load_frontend(Profile(name="test", model=ModelProfile(options={"pitch": 2})))


@pytest.mark.slow
def test_the_frontend_needs_no_torch() -> None:
    code = (
        "import sys; from serving.profile import Profile; from serving.models import load_frontend;"
        "load_frontend(Profile(name='test')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
