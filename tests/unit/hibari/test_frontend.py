"""Text to phoneme segments of the embedded voice."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hibari.g2p.oov import OOV

from serving.models import load_frontend
from serving.models.hibari.frontend import PAD_ID, SPEC, Fields, HibariFrontend
from serving.models.hibari.pieces import MAX_PHONEMES, Piece, is_sound, split
from serving.profile import ModelProfile, Profile, ProfileError
from serving.protocol import InputError, Segment, SpeechParams
from serving.request import parse
from serving.text import Pause, Sentence, Word, read
from serving.text.pauses import with_leads

pytestmark = pytest.mark.slow

PARAMS = SpeechParams(voice="heart", seed=0, fields=Fields())


@pytest.fixture(scope="module")
def frontend() -> HibariFrontend:
    made = load_frontend(Profile(name="test"))
    assert isinstance(made, HibariFrontend)
    return made


def segments(frontend: HibariFrontend, text: str) -> list[Segment]:
    return list(frontend.segments(read(text), PARAMS))


def test_one_segment_per_sentence_padded_at_both_ends(frontend: HibariFrontend) -> None:
    spoken = segments(frontend, "Dr. Smith met Mr. Jones. It cost $3.50!\n\nReally?")
    assert [segment.index for segment in spoken] == [0, 1, 2]
    assert "sˈɛnts" in spoken[1].text
    for segment in spoken:
        assert segment.tokens[0] == segment.tokens[-1] == PAD_ID
        assert all(token > 0 for token in segment.tokens[1:-1])


def test_the_first_sentence_comes_before_the_second_is_read(frontend: HibariFrontend) -> None:
    taken: list[str] = []

    def listen() -> Iterator[Sentence]:
        for sentence in read("One here. Two there."):
            taken.append(sentence.text)
            yield sentence

    spoken = frontend.segments(listen(), PARAMS)
    assert next(spoken).index == 0
    assert taken == ["One here."]
    assert next(spoken).index == 1


def test_a_segment_tells_what_it_stands_for(frontend: HibariFrontend) -> None:
    text = "It cost $3.50, Dr. Lee.  \n\nI'm re-reading (yes) [Nguyen](/wˈɪn/)."
    pauses = Profile(name="test").text.pauses
    first, second = frontend.segments(with_leads(read(text), pauses), PARAMS)
    assert (text[first.start : first.end], text[second.start : second.end]) == (
        "It cost $3.50, Dr. Lee.",
        "I'm re-reading (yes) [Nguyen](/wˈɪn/).",
    )
    assert (first.lead_s, second.lead_s) == (0.0, pauses.paragraph_s)
    assert [(text[w.start : w.end], first.text[w.first - 1 : w.last - 1]) for w in first.words] == [
        ("It", "ˌɪt"),
        ("cost", "kˈɔst"),
        ("$3.50,", "θɹˈi dˈɑləɹz ænd fˈɪfti sˈɛnts"),
        ("Dr.", "dˈɑktəɹ"),
        ("Lee.", "lˈi"),
    ]
    assert [second.text[w.first - 1 : w.last - 1] for w in second.words] == [
        "ˌIm",
        "ɹˌiɹˈidɪŋ",
        "jˈɛs",
        "wˈɪn",
    ]


def test_a_long_sentence_has_pauses_where_it_is_cut(frontend: HibariFrontend) -> None:
    text = "One long list of words, " * 40
    words = tuple(Word(m.group(), m.start(), m.end()) for m in re.finditer(r"\S+", text))
    sentence = Sentence(text, 0, len(text), words, Pause("sentence"))
    params = SpeechParams(voice="heart", seed=0, fields=Fields(speed=2.0))
    spoken = list(frontend.segments([sentence], params))
    clause_s = Profile(name="test").text.pauses.clause_s
    assert [segment.lead_s for segment in spoken] == [0.0, *[clause_s / 2] * (len(spoken) - 1)]
    assert (spoken[0].start, spoken[-1].end) == (0, len(text))
    for before, behind in itertools.pairwise(spoken):
        assert text[before.end : behind.start] == " "
        assert text[behind.start : behind.start + 3] == "One"


def test_a_word_that_the_phonemizer_gives_up_on_is_spelled(
    frontend: HibariFrontend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    phonemizer = frontend._g2p.result()
    fallback = phonemizer.fallback

    def give_up(token: Any) -> tuple[str, int]:
        if token.text == "zyxq":
            raise IndexError("list index out of range")
        answer: tuple[str, int] = fallback(token)
        return answer

    monkeypatch.setattr(phonemizer, "fallback", give_up)
    (spoken,) = segments(frontend, "Say zyxq now.")
    assert spoken.text == "sˈA zˌiwˌIˌɛkskjˈu nˈW."
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert "zyxq" not in caplog.text, "users' words stay out of the log"


def test_an_unknown_word_is_asked_of_the_network_once(
    frontend: HibariFrontend, monkeypatch: pytest.MonkeyPatch
) -> None:
    frontend._g2p.result()  # it is warmed by a word of its own
    asked: list[str] = []
    network = OOV.__call__

    def ask(oov: OOV, word: str) -> object:
        asked.append(word)
        return network(oov, word)

    monkeypatch.setattr(OOV, "__call__", ask)
    (first,) = segments(frontend, "Say qorvintha now.")
    (second,) = segments(frontend, "Say qorvintha now.")
    assert asked == ["qorvintha"]
    assert first.tokens == second.tokens


@pytest.mark.parametrize("text", ["", "   \n ", "!?!", "... — ...", "😀", "日本語", "()", "' '"])
def test_text_without_a_word_is_refused(frontend: HibariFrontend, text: str) -> None:
    with pytest.raises(InputError, match="nothing that can be spoken") as caught:
        segments(frontend, text)
    assert caught.value.field == "text"


def test_silent_sentences_among_others_are_left_out(frontend: HibariFrontend) -> None:
    spoken = segments(frontend, "Hello. ... !!! 😀. Goodbye.")
    assert [segment.index for segment in spoken] == list(range(len(spoken)))
    assert all(any(map(is_sound, segment.text)) for segment in spoken)
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
        parse(msgspec.json.encode(body), SPEC, max_chars=5000)
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
    words = [Piece(word, index) for index, word in enumerate(phonemes.split())]
    assert [" ".join(piece.phonemes for piece in part) for part in split(words, limit=10)] == pieces


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


def test_threads_share_the_phonemizer(frontend: HibariFrontend) -> None:
    names = ["".join(letters) for letters in itertools.islice(itertools.permutations("zarkovi"), 400)]
    texts = [f"On May {n + 1} {' and '.join(names[n::40])} read 3/4 of it to him." for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: segments(frontend, text), texts))
    assert found == [segments(frontend, text) for text in texts]
