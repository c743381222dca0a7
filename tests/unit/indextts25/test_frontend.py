"""Text of five languages to ids: what is written, what is cut, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.models import load_frontend
from serving.models.indextts2.codes.gpt import spoken_ids
from serving.models.indextts25 import config
from serving.models.indextts25.text import cut, write
from serving.models.indextts25.tokenizer import LANGUAGE_ROW, byte_tokenizer, load_tokenizer
from serving.profile import ProfileError
from tests.unit.indextts25.support import TEXTS, make_profile, segments

GPT = config.tiny().gpt
FRONTEND = load_frontend(make_profile())


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "你好,百分之二十五的人."),
        ("en", "hello there!"),
        ("ja", "東京 で 三 つ の 発売 ."),
        ("es", "¿QUÉ TAL, VEINTIUNO AMIGOS?"),
        ("ar", "اشترى خمسة وعشرون كتابا."),
    ],
)
def test_each_language_is_written_as_it_was_trained(language: str, text: str) -> None:
    _, (segment,) = segments(FRONTEND, TEXTS[language])
    assert segment.text == text
    assert segment.tokens[0] == GPT.first_language_token + LANGUAGE_ROW[language]


def test_the_official_vocabulary_has_its_languages_where_whisper_has_them() -> None:
    """58,836 ranks and 1,673 special tokens: <|en|> is 58838, <|zh|> 58839."""
    gpt = config.official().gpt
    assert (gpt.number_text_tokens, gpt.text_rows, gpt.first_language_token) == (60509, 60510, 58838)
    assert byte_tokenizer(gpt).encode("a", "zh")[0] == 58839


def test_an_exclamation_mark_is_spoken_and_a_special_token_is_text() -> None:
    tokens = byte_tokenizer(GPT).encode('!"<|zh|>', "en")
    assert tokens[2:4] == [0, 1]
    assert len(tokens) == 2 + len('!"<|zh|>')
    assert spoken_ids(tokens, GPT) == [token for token in tokens if token != 1]


def test_slow_speech_has_shorter_segments() -> None:
    text = "One is here, two is there, three is nowhere, and four is not to be found at all, they say."
    counts = [len(segments(FRONTEND, text, speed=speed)[1]) for speed in (2.0, 1.0, 0.5)]
    assert counts[0] == counts[1] < counts[2]


@given(
    text=st.text(alphabet="ab ,.。你好ñ!\n", max_size=200), limit=st.integers(8, 60), quick=st.integers(0, 50)
)
def test_nothing_is_lost_and_no_segment_is_too_long(text: str, limit: int, quick: int) -> None:
    tokenizer = byte_tokenizer(GPT)
    parts = list(cut(text, limit, tokenizer.count, quick))
    assert "".join(parts) == text
    assert all(0 < tokenizer.count(part) <= limit for part in parts)


@given(text=st.text(max_size=80), language=st.sampled_from(sorted(LANGUAGE_ROW)), normalize=st.booleans())
def test_any_text_is_written_and_read(text: str, language: str, normalize: bool) -> None:
    ids = byte_tokenizer(GPT).encode(write(text, language, normalize), language)
    assert all(0 <= token < GPT.number_text_tokens for token in ids)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("!!! 0\n", "byte-pair ranks"),
        ("IQ== one\n", "byte-pair ranks"),
        ("IQ== 0\nIg== 1\n", "2 ranks"),
        (None, "there is no"),
    ],
)
def test_a_vocabulary_that_is_none_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "x.tiktoken"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ProfileError, match=said):
        load_tokenizer(path, GPT)


def test_what_it_speaks_is_told() -> None:
    spec = FRONTEND.spec
    assert (spec.name, spec.languages) == ("indextts25", ("zh", "en", "ja", "es", "ar"))
    assert spec.voices[0].language == "zh, en, ja, es, ar"


def test_a_config_of_another_rate_is_refused(tmp_path: Path) -> None:
    from serving.models.indextts2.weights.config_file import ConfigError

    (tmp_path / "config.yaml").write_text("semantic_codec: {downsample_scale: 4}\n")
    with pytest.raises(ConfigError, match="downsample_scale"):
        config.read_config(tmp_path)
