"""read(): words with offsets in the original text, foreign scripts, the lexicon, and any text at all."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.text import Lexicon, LexiconError, Sentence, TextFormat, foreign_scripts, read
from serving.text.windows import MAX_TAG_CHARS, WINDOW_CHARS, windows

FORMATS: tuple[TextFormat, ...] = ("auto", "plain", "markdown", "html", "ssml-lite")
FRAGMENTS = (
    "word", "Dr. ", "U.S. ", "3.14", "$5", " ", "\n", "\n\n", "\r\n", "\t", ". ", "! ", "?", "…", "。", "**", "*", "__",
    "`", "```\n", "# ", "> ", "- ", "1. ", "[", "](", ")", "[a](/b/)", "[pause 1s]", "<b>", "</b>", "<", ">", "<!--",
    "-->", "<![", "<script>", "<break time='1s'/>", '<say-as interpret-as="digits">', "</say-as>", "&amp;", "&#", "|",
    "\n|-|\n", "~~", "\\", "\u00ad", "\u200b", "\u0301", "\ud800", "\x00", "\ufeff", "你好", "Привет",
    "α", "😀", "’", "â€™",
)  # fmt: skip

texts = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join))
BLANKS = (" ", "  ", "\n", " \u200b", "\u00a0", "\r\n")
plain_words = st.lists(st.from_regex(r"[a-z]{2,8}", fullmatch=True), min_size=1, max_size=120)


@settings(max_examples=300, deadline=None)
@given(text=texts, text_format=st.sampled_from(FORMATS), language=st.sampled_from(("en", "zh", "fr")))
def test_any_text_is_read(text: str, text_format: TextFormat, language: str) -> None:
    check(text, list(read(text, text_format=text_format, language=language)))


@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_any_text_is_read_as_it_is(text: str) -> None:
    check(text, list(read(text, normalize=False)))


def check(text: str, sentences: list[Sentence]) -> None:
    """Sentences and their words lie in the text, one after the other; two that one alias made may share a place."""
    at = 0
    for sentence in sentences:
        assert at <= sentence.start <= sentence.end <= len(text)
        assert sentence.text == text[sentence.start : sentence.end]
        at = sentence.start
        word_at = sentence.start
        for word in sentence.words:
            assert word_at <= word.start <= word.end <= sentence.end
            word_at = word.start


@settings(max_examples=100, deadline=None)
@given(
    words=plain_words,
    blanks=st.lists(
        st.sampled_from((" ", "  ", "\n", " \u200b", "\u00a0", "\r\n")), min_size=120, max_size=120
    ),
)
def test_a_plain_word_stands_where_its_offsets_say(words: list[str], blanks: list[str]) -> None:
    text = "".join(word + blank for word, blank in zip(words, blanks, strict=False))
    found = [word for sentence in read(text, language="fr") for word in sentence.words]
    assert [word.spoken for word in found] == words
    assert [text[word.start : word.end] for word in found] == words


@pytest.mark.parametrize(
    ("text", "text_format"),
    [
        ("Some **bold** and *other* words [link](http://x.y) here.", "auto"),
        ("Some <b>bold</b> and <i>other</i> words &amp; here.", "html"),
        ("> Some quoted\n> words `code` here.", "markdown"),
        ("An im\u00adpor\u00adtant cafe\u0301 donâ€™t stop experi-\nenced here.", "auto"),
    ],
)
def test_offsets_hold_through_markup_and_cleaning(text: str, text_format: TextFormat) -> None:
    [sentence] = read(text, text_format=text_format, language="fr")
    for word in sentence.words:
        if word.spoken.isascii() and word.spoken.isalpha() and len(word.spoken) < 9:
            assert text[word.start : word.end] == word.spoken
    last = sentence.words[-1]
    assert text[last.start : last.end] == "here."


def test_the_first_sentence_comes_before_the_rest_is_looked_at() -> None:
    class Text(str):
        __slots__ = ("seen",)
        seen: int

        def __getitem__(self, key: object) -> str:
            assert isinstance(key, slice)
            self.seen = max(getattr(self, "seen", 0), key.stop)
            return super().__getitem__(key)

    text = Text("A sentence of a book. " * 50_000)
    [first] = islice(read(text), 1)
    assert first.spoken == "A sentence of a book."
    assert text.seen <= 2 * WINDOW_CHARS


@pytest.mark.parametrize(
    "unit", ["<", "[", "(", "#", "x", "\u200b", " ", "\n", "a b. ", "<a ", "<!--", "你", "\u0301"]
)
def test_windows_are_bounded_and_cover_the_text(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    at = 0
    for start, end, _ in windows(text, tags=True):
        assert not text[at:start].strip("\ufeff").strip()
        assert start < end <= start + WINDOW_CHARS + MAX_TAG_CHARS
        at = end
    assert not text[at:].strip()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Plain English, café and naïve.", ()),
        ("π is 3.14, 5 µm and 3 Ω at 20 °C, ∞", ()),
        ("Say 你好 to Li.", ("Han",)),
        ("Привет, 世界.", ("Cyrillic", "Han")),
        ("שלום and مرحبا", ("Hebrew", "Arabic")),
        ("こんにちは カタカナ", ("Hiragana", "Katakana")),
        ("안녕", ("Hangul",)),
        ("Καλημέρα", ("Greek",)),
        ("नमस्ते", ("Devanagari",)),
        ("สวัสดี", ("Thai",)),
        ("Pаypal", ()),
        ("[你好](/ni haʊ/)", ()),
    ],
)
def test_foreign_scripts(text: str, names: tuple[str, ...]) -> None:
    assert foreign_scripts(text, "en") == names
    assert tuple(dict.fromkeys(name for sentence in read(text) for name in sentence.dropped)) == names


def test_foreign_letters_are_left_out_and_the_rest_is_spoken() -> None:
    [sentence] = read("Say 你好 (世界) Привет to Li。")
    assert sentence.spoken == "Say to Li."
    assert sentence.dropped == ("Han", "Cyrillic")
    [empty] = read("Привет, мир.")
    assert empty.words == ()
    assert empty.dropped == ("Cyrillic",)


def test_chinese_is_no_foreign_script_to_a_chinese_voice() -> None:
    assert foreign_scripts("你好 hello", "zh-CN".partition("-")[0]) == ()
    assert [sentence.spoken for sentence in read("你好。很好！", language="zh-CN")] == ["你好。", "很好！"]


def test_phonemes_of_the_text_replace_words() -> None:
    [sentence] = read('I [read](/rɛd/) "[New York](/nuː jɔːk/)" in [Bath](/bæθ/)\'s [你好](/ni haʊ/).')
    assert [(word.spoken, word.phonemes) for word in sentence.words] == [
        ("I", None),
        ("read", "rɛd"),
        ('"New York"', "nuː jɔːk"),
        ("in", None),
        ("Bath's", "bæθs"),
        ("你好.", "ni haʊ"),
    ]


def test_without_normalising_the_text_is_spoken_as_it_is() -> None:
    sentences = list(read("Pay **$5** to 李\x07 now.\nDr. Lee &amp; I.\n\n[pause 1s] B", normalize=False))
    assert [sentence.spoken for sentence in sentences] == [
        "Pay **$5** to 李 now.",
        "Dr. Lee &amp; I.",
        "[pause 1s] B",
    ]


LEXICON = """
[nguyen]
phonemes = "/wɪn/"

[SQL]
say = "sequel"

["new york"]
phonemes = "nuː jɔːk"

["new"]
say = "noo"

["C++"]
say = "see plus plus"
"""


@pytest.fixture
def lexicon(tmp_path: Path) -> Lexicon:
    path = tmp_path / "lexicon.toml"
    path.write_text(LEXICON, encoding="utf-8")
    return Lexicon.load(path)


def test_lexicon(lexicon: Lexicon) -> None:
    [sentence] = read(
        "Nguyen's SQL, not sql, in New York is new C++ of nguyenish.", lexicon=lexicon, language="fr"
    )
    assert [(word.spoken, word.phonemes) for word in sentence.words] == [
        ("Nguyen's", "wɪnz"),
        ("sequel,", None),
        ("not", None),
        ("sql,", None),
        ("in", None),
        ("New York", "nuː jɔːk"),
        ("is", None),
        ("noo", None),
        ("see", None),
        ("plus", None),
        ("plus", None),
        ("of", None),
        ("nguyenish.", None),
    ]


def test_phonemes_in_the_text_win_over_the_lexicon(lexicon: Lexicon) -> None:
    [sentence] = read("Hello [Nguyen](/ŋwiən/).", lexicon=lexicon)
    assert sentence.words[-1].phonemes == "ŋwiən"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('word = "x"', "entry 'word': a table with"),
        ("[word]", "entry 'word': exactly one of"),
        ('[word]\nsay = "a"\nphonemes = "b"', "entry 'word': exactly one of"),
        ('[word]\nipa = "x"', "entry 'word': unknown key 'ipa'"),
        ("[word]\nsay = 5", "entry 'word': `say` must be a string"),
        ('[word]\nsay = " "', "entry 'word': `say` must be a string"),
        ('["--"]\nsay = "x"', "entry '--': a word has a letter"),
        ('[word]\nsay = "a\\nb"', "entry 'word': control characters"),
        (f'[word]\nsay = "{"x" * 300}"', "entry 'word': longer than 200"),
        ('["a b"]\nsay = "x"\n["a  b"]\nsay = "y"', "entry 'a  b': the same words as entry 'a b'"),
        ("[word", "lexicon.toml: "),
    ],
)
def test_a_bad_lexicon_names_file_and_entry(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "lexicon.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(LexiconError) as error:
        Lexicon.load(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_a_lexicon_that_is_not_there_or_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(LexiconError, match="No such file"):
        Lexicon.load(tmp_path / "none.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes(b'["caf\xe9"]\nsay = "x"')
    with pytest.raises(LexiconError, match="not UTF-8 at byte 5"):
        Lexicon.load(path)
