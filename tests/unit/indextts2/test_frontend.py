"""The IndexTTS2 frontend: normalisation and its protections, cutting, options and voices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from serving.models import load_frontend
from serving.models.indextts2 import Fields
from serving.models.indextts2.frontend import IndexTts2Frontend
from serving.models.indextts2.text.segments import cut
from serving.profile import ModelProfile, Profile, ProfileError, TextProfile
from serving.protocol import InputError, SpeechParams
from serving.request import parse, request_schema, sentences, used_fields
from tests.unit.indextts2.support import sentences_of


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    for name in ("zoe.wav", "adam.flac", ".hidden.wav", "notes.txt"):
        soundfile.write(tmp_path / name, np.zeros(16), 16000, format="WAV")
    return tmp_path


def _profile(folder: Path, **options: Any) -> Profile:
    tiny = {"weights": "random", "size": "tiny", "voices": str(folder)}
    return Profile(name="test", model=ModelProfile(name="indextts2", options=tiny | options))


def _frontend(voices: Path, **options: Any) -> IndexTts2Frontend:
    made = load_frontend(_profile(voices, **options))
    assert isinstance(made, IndexTts2Frontend)
    return made


# ---- cutting ----


def test_sentences_are_cut_and_merged() -> None:
    words = [*["w"] * 50, "."]
    assert [len(part) for part in cut(words * 4, 120)] == [102, 102]
    assert [len(part) for part in cut(words * 4, 120, quick=130)] == [51, 102, 51]


def test_a_quick_start_merges_to_half_the_limit() -> None:
    parts = cut(["a", "b", "c", "."] * 40, 120, quick=80)
    assert [len(part) for part in parts] == [60, 100]


def test_over_long_pieces_are_cut_hard() -> None:
    # Upstream sees the excess one piece late and gives that piece a segment of its own.
    assert [len(part) for part in cut(["w"] * 250, 100)] == [100, 1, 100, 49]


def test_an_apostrophe_stays_with_its_sentence_and_comes_again() -> None:
    pieces = ["a", "b", ".", "'", *["c"] * 5]
    assert cut(pieces, 6) == [["a", "b", ".", "'"], ["'", *["c"] * 5]]


@given(
    st.lists(st.sampled_from(["a", "▁b", ",", "▁,", ".", "-", "?", "▁."]), max_size=80),
    st.integers(2, 30),
    st.integers(0, 40),
)
def test_cutting_loses_nothing_and_keeps_the_limit(pieces: list[str], limit: int, quick: int) -> None:
    parts = cut(pieces, limit, quick)
    assert [piece for part in parts for piece in part] == pieces
    assert all(0 < len(part) <= limit for part in parts)


# ---- the frontend ----


def test_segments(voices: Path) -> None:
    frontend = _frontend(voices)
    params = SpeechParams(voice="zoe", seed=0, fields=Fields(max_text_tokens_per_segment=40))
    segments = list(frontend.segments(sentences_of("First, a sentence. Then a second one! " * 3), params))
    assert [segment.index for segment in segments] == list(range(len(segments)))
    assert len(segments) > 2
    assert all(0 < len(segment.tokens) <= 40 for segment in segments)
    assert all(2 < token < 100 for segment in segments for token in segment.tokens)
    assert segments[0].text.startswith("FIRST,")
    shorter = _frontend(voices, max_segment_tokens=20).segments(
        sentences_of("First, a sentence. " * 5), params
    )
    assert all(0 < len(segment.tokens) <= 20 for segment in shorter)


@pytest.mark.parametrize("emo_text", [" ", "Alas!"])
def test_what_the_model_cannot_do_is_refused_at_the_door(voices: Path, emo_text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(msgspec.json.encode({"text": "Hello.", "emo_text": emo_text}), _frontend(voices).spec)
    assert caught.value.field == "emo_text"


def test_the_document_offers_no_emotion_by_text_without_its_model(voices: Path) -> None:
    emo_text = request_schema(_frontend(voices).spec)["properties"]["emo_text"]
    assert emo_text["type"] == "null"
    assert emo_text["description"].endswith("Not on this server.")


def test_paragraphs_are_segments_of_their_own(voices: Path) -> None:
    params = SpeechParams(voice="zoe", seed=0, fields=Fields())
    segments = list(_frontend(voices).segments(sentences_of("First paragraph.\n\nSecond paragraph."), params))
    assert [(segment.index, segment.text) for segment in segments] == [
        (0, "FIRST PARAGRAPH."),
        (1, "SECOND PARAGRAPH."),
    ]


def test_only_the_first_tokens_of_a_request_are_cut_short(voices: Path) -> None:
    text = "One two three. " * 12
    params = SpeechParams(voice="zoe", seed=0, fields=Fields(max_text_tokens_per_segment=80))
    quick = list(
        _frontend(voices, quick_streaming_tokens=60).segments(sentences_of(f"{text}\n\n{text}"), params)
    )
    plain = list(_frontend(voices).segments(sentences_of(f"{text}\n\n{text}"), params))
    assert len(quick[0].tokens) <= 40 < len(plain[0].tokens)
    assert [segment.tokens for segment in quick[-3:]] == [segment.tokens for segment in plain[-3:]]


@pytest.mark.parametrize("text", ["...", "  ?! ", "—", "😀", "\n\n# \n"])
def test_symbols_alone_cannot_be_spoken(voices: Path, text: str) -> None:
    frontend = _frontend(voices)
    order = parse(msgspec.json.encode({"text": text}), frontend.spec)
    with pytest.raises(InputError) as caught:
        list(frontend.segments(sentences(order, frontend.spec, TextProfile(), None), order.params))
    assert caught.value.field == "text"


def test_unknown_voices_and_limits_are_named(voices: Path) -> None:
    frontend = _frontend(voices)
    for field, value, words in (
        ("voice", "eve", "adam, zoe"),
        ("emo_voice", "eve", "adam, zoe"),
        ("top_k", 129, "128"),
        ("max_text_tokens_per_segment", 600, "at most"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            parse(msgspec.json.encode({"text": "Hello.", field: value}), frontend.spec)
        assert caught.value.field == field


def test_voices_are_the_recordings_of_the_folder(voices: Path) -> None:
    spec = _frontend(voices).spec
    assert [voice.name for voice in spec.voices] == ["adam", "zoe"]
    assert spec.default_voice == "adam"
    assert spec.sample_rate_hz == 22050
    assert "speed" not in used_fields(spec)
    assert _frontend(voices, default_voice="zoe").spec.default_voice == "zoe"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voices": "/nonexistent"}, "model.options.voices"),
        ({"min_codes": 9, "max_codes": 8}, "model.options.min_codes"),
        ({"default_voice": "eve"}, "model.options.default_voice"),
        ({"sise": "tiny"}, "sise"),
        ({"weights": "checkpoint"}, "model.options.checkpoint"),
        ({"weights": "checkpoint", "checkpoint": "/nonexistent"}, "config.yaml"),
    ],
)
def test_bad_options_are_named(voices: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        load_frontend(_profile(voices, **options))


def test_two_recordings_of_one_name_are_an_error(voices: Path) -> None:
    (voices / "zoe.mp3").touch()
    with pytest.raises(ProfileError, match="zoe"):
        _frontend(voices)


def test_a_mood_is_described_in_a_thousand_characters(voices: Path) -> None:
    spec = msgspec.structs.replace(_frontend(voices).spec, unavailable={})
    parse(msgspec.json.encode({"text": "Hello.", "emo_text": "x" * 1000}), spec)
    with pytest.raises(InputError) as caught:
        parse(msgspec.json.encode({"text": "Hello.", "emo_text": "x" * 1001}), spec)
    assert caught.value.field == "emo_text"
