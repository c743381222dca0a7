"""Any text to what IndexTTS2's tokenizer reads: both languages, markup, pinyin, and whatever else comes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.models import load_frontend
from serving.models.indextts2.text.normalize import prepare, to_vocabulary
from serving.models.indextts2.text.stretches import stretches
from tests.support import ROOT, environment
from tests.unit.indextts2.support import make_profile, params, sentences_of

pytestmark = pytest.mark.slow

FRAGMENTS = (
    "word ", "Dr. ", "it's ", "been ", "A4 ", "$5 ", "15€ ", "−5 ", "+5 ", "1990s ", "1,250.50 ", "10:30 ",
    "## ", "**", "`", "- ", "1. ", "<b>", "</b>", "&amp;", "[a](/b/)", "[pause 1s]", "\n", "\n\n", "\t",
    "\u00a0", ". ", "。", "，", "！", "“", '"', "'", "\\", "/", "你好", "中", "2", "２", "￥", "第",
    "电话", "xuan4", "·", "😀", "①", "\x00", "\x1b", "\u200b", "\ud800", "\ufeff", "é", "ア", "한", "ع",
    "\U000e0001",
)  # fmt: skip
texts = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join))


def say(text: str, *, normalize: bool = True) -> str:
    """Stretches between bars, with Chinese characters together again."""
    joined = "|".join(
        stretch.text for stretch in stretches(sentences_of(text, normalize=normalize), normalize=normalize)
    )
    parts = joined.split(" ")
    spaced = [
        part if index == 0 or max(part[0], parts[index - 1][-1]) > "\u3000" else f" {part}"
        for index, part in enumerate(parts)
        if part
    ]
    return "".join(spaced)


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("First paragraph.\n\nSecond paragraph.", "FIRST PARAGRAPH.|SECOND PARAGRAPH."),
        ("A line\nthat goes on.", "A LINE THAT GOES ON."),
        ("It rose by 5 points.", "IT ROSE BY FIVE POINTS."),
        ("It rose by +5 points.", "IT ROSE BY PLUS FIVE POINTS."),
        ("It costs 15€ online.", "IT COSTS FIFTEEN EUROS ONLINE."),
        ("It fell to −5 degrees.", "IT FELL TO MINUS FIVE DEGREES."),
        ("## Getting started", "GETTING STARTED"),
        ("Hello \u00a0 there.", "HELLO THERE."),
        ("Tabs\tand   spaces.", "TABS AND SPACES."),
        ('He said "hello" to us.', "HE SAID 'HELLO' TO US."),
        ("Print it on A4 paper, it costs $5.", "PRINT IT ON A FOUR PAPER, IT COSTS FIVE DOLLARS."),
        ("Gate E5 opens at 10:30.", "GATE E FIVE OPENS AT TEN THIRTY."),
        ("Music of the 1990s is back.", "MUSIC OF THE NINETEEN NINETIES IS BACK."),
        ("**bold** words here", "BOLD WORDS HERE"),
        ("It's been a long day.", "IT HAS BEEN A LONG DAY."),
        ("It's already been said.", "IT HAS ALREADY BEEN SAID."),
        ("It's a long day.", "IT IS A LONG DAY."),
        ("What's that? Who's there?", "WHAT IS THAT? WHO IS THERE?"),
        ("Let's see John's dog.", "LET'S SEE JOHN'S DOG."),
        ("Plain English prose, nothing else.", "PLAIN ENGLISH PROSE, NOTHING ELSE."),
        ("公司电话：0551-5550199", "公司电话,零五五幺五五五零幺九九"),
        ("这台冰箱卖¥2,499.00", "这台冰箱卖两千四百九十九元"),
        ("￥1,234.56", "一千二百三十四点五六元"),
        ("桃/李", "桃,李"),
        ("今天真好😀", "今天真好"),
        ('他说"你好"。', "他说'你好'."),
        ("他说it's好。", "他说IT IS好."),
        ("價格是１２３元。", "价格是一百二十三元."),
        ("A4 纸和A4 paper", "A四纸和A FOUR PAPER"),
        ("第一段。\n\n第2段。", "第一段.|第二段."),
        ("一行\n又一行。", "一行又一行."),
        ("**加粗**的字", "加粗的字"),
        ("他很xuan4耀", "他很XVAN4耀"),
        ("jue2定", "JVE2定"),
        ("qü4哪里", "QV4哪里"),
        ("ni3 hao3", "NI3 HAO3"),
        ("之前你做DE5很好", "之前你做DE5很好"),
        ("克里斯托弗·诺兰的电影", "克里斯托弗-诺兰的电影"),
        ("用GPT-5-nano吧", "用GPT-五-NANO吧"),
        ("《三国演义》（上）", "'三国演义''上'"),
        ("好……再见...", "好…再见…"),
        ("42", "四十二"),
        ("5", "五"),
        ("a", "A"),
        ("中", "中"),
        ("先停[pause 1s]再说", "先停|再说"),
    ],
)
def test_spoken(text: str, spoken: str) -> None:
    assert say(text) == spoken


def test_more_names_than_letters() -> None:
    names = [
        f"约{name}·诺兰" for name in "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹"
    ]
    assert say("，".join(names)) == ",".join(name.replace("·", "-") for name in names)


def test_text_as_it_is() -> None:
    assert say("It's $5, 第3个。", normalize=False) == "IT'S $5,第3个。"
    assert say("你好。 hello.World", normalize=False) == "你好。HELLO.WORLD"


def test_offsets_and_pauses() -> None:
    text = "# Title\n\nOne. Two.[pause 2s] Three."
    found = list(stretches(sentences_of(text), normalize=True))
    assert [text[part.start : part.end] for part in found] == ["Title", "One. Two.", "Three."]
    assert [part.lead_s for part in found] == [0.0, 0.7, 2.0]
    one_by_one = list(stretches(sentences_of(text), normalize=True, by_sentence=True))
    assert [text[part.start : part.end] for part in one_by_one] == ["Title", "One.", "Two.", "Three."]
    assert [part.lead_s for part in one_by_one] == [0.0, 0.7, None, 2.0]


def test_cjk_is_spaced_and_letters_are_raised() -> None:
    assert prepare(" 你好世界 is hello, ok。") == "你 好 世 界 IS HELLO, OK 。"


def test_punctuation_of_the_vocabulary() -> None:
    assert to_vocabulary("（好）：【一】、“二”；～三—四") == "'好','一','二',-三-四"


def test_the_text_needs_no_network_and_no_torch() -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('the network was used')\n"
        "socket.socket.connect = refuse\n"
        "from serving.models.indextts2.text.stretches import stretches\n"
        "from serving.text import read\n"
        "sentences = read('7 days, 繁體字', language='zh')\n"
        "print(*[part.text for part in stretches(sentences, normalize=True)])\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        env=environment() | {"PYTHONIOENCODING": "utf-8"},
        check=True,
        timeout=60,
    )
    assert done.stdout == "SEVEN DAYS, 繁 体 字\n"


FRONTEND = load_frontend(make_profile())


def segments_of(text: str) -> str | None:
    """What is spoken; None where the text holds nothing to speak."""
    found = list(FRONTEND.segments(sentences_of(text), params()))
    assert [segment.index for segment in found] == list(range(len(found)))
    assert all(segment.tokens for segment in found)
    return " ".join(segment.text for segment in found) or None


@settings(max_examples=500, deadline=None)
@given(texts)
def test_any_text_is_spoken_or_refused(text: str) -> None:
    segments_of(text)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_any_text_is_spoken_as_it_is(text: str) -> None:
    for stretch in stretches(sentences_of(text, normalize=False), normalize=False):
        assert 0 <= stretch.start <= stretch.end <= len(text)
        FRONTEND._tokenizer.encode(stretch.text, out_type=str)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "part", ["/", "1", "(", "[", "<", "*", "#", "中", "$", "a1", "1-", "&#", "😀", "\n", "<b>"]
)
def test_five_thousand_characters_of_one_kind(part: str) -> None:
    segments_of((part * 5000)[:5000])
    assert segments_of((part * 2500)[:2500] + " 好 good") is not None
