"""Chinese and mixed sentences as words: class by class, against the official package, and any text at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.text import chinese
from serving.text.chinese import characters, verbalise
from serving.text.chinese.characters import simplify
from serving.text.chinese.numbers import cardinal, number
from serving.text.chinese.pinyin import is_pinyin

FOLDER = Path(__file__).parent
CLASSES = [line.split("\t") for line in (FOLDER / "classes.tsv").read_text("utf-8").splitlines()]
OFFICIAL = [line.split("\t") for line in (FOLDER / "official.tsv").read_text("utf-8").splitlines()]
"""What the official frontend of IndexTTS2 (ee40fa7, with WeTextProcessing 1.2.0 on Linux) makes of a sentence."""

PROSE = """\
清晨的阳光洒在湖面上，波光粼粼，十分美丽。
老师说：“同学们，请打开课本。”
小猫趴在窗台上，懒洋洋地晒着太阳。
他犹豫了很久——最后还是决定留下来。
“你怎么来了？”她惊讶地问。
山路崎岖，我们走走停停，总算到了山顶。
妈妈常说，一分耕耘，一分收获。
这座城市有着悠久的历史和灿烂的文化。
无论遇到什么困难，都不要轻易放弃！
《西游记》里的孙悟空会七十二变。
他会说英语、法语和日语；她只会说中文。
我们公司用的是 Python，不是 Java。
周末我想去 IKEA 看看家具。
请在 WiFi 设置里找到它。
医生建议他多休息、少熬夜……
三人行，必有我师焉。
他二话没说，转身就走。
这件事说来话长，咱们改天再聊。
夜深了，街上一个人也没有。
花儿为什么这样红？""".splitlines()

MARKS = {
    **dict.fromkeys(("...", "……"), "…"),
    **dict.fromkeys("：；;，、:", ","),
    **dict.fromkeys('“”"‘’（）()《》【】[]「」', "'"),
    **dict.fromkeys("·—～~", "-"),
    "。": ".",
    "！": "!",
    "？": "?",
}

FRAGMENTS = (
    "你好", "中", "2", "10", "2024", "1,234", "3.14", "007", "1990s", "￥", "$", "€", "%", "℃", "kg",
    "km/h", "-", "−", "+", "~", "～", "/", ":", "：", ".", "。", "，", ",", "×", "=", "<", ">", "^", "@",
    "#", "&", "*", "_", "\\", '"', "'", "“", "”", "A4", "GPT-5", "ni3", "XING2", "it's", "word", "the",
    " ", "\n", "\t", "\x00", "\u200b", "\ud800", "😀", "①", "½", "Ⅲ", "²", "㎡", "年", "月", "日", "点",
    "第", "个", "万", "亿", "电话", "验证码", "比分", "以", "www.", ".com", "http://", "ア", "한", "１２",
    "Ａ", "（", "）", "(", ")", "é", "ß", "٣", "০",
)  # fmt: skip
texts = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join))


def say(text: str) -> str:
    return " ".join(word.spoken for word in verbalise(text))


def as_official(text: str) -> str:
    """Punctuation as the official package writes it, without the blanks that its tokenizer takes away."""
    pattern = re.compile("|".join(map(re.escape, MARKS)))
    mapped = pattern.sub(lambda mark: MARKS[mark.group()], text)
    return re.sub(r"\s*([\u4e00-\u9fff])\s*", r"\1", mapped).upper()


@pytest.mark.parametrize(("kind", "text", "spoken"), CLASSES)
def test_classes(kind: str, text: str, spoken: str) -> None:
    assert say(text) == spoken, kind


@pytest.mark.parametrize(("text", "official"), OFFICIAL)
def test_what_the_official_package_reads_right_is_read_so(text: str, official: str) -> None:
    # ü after j, q and x is spelled by the model's part.
    assert as_official(say(text)).replace("XUAN4", "XVAN4").replace("JUE2", "JVE2") == official.upper()


@pytest.mark.parametrize("text", PROSE)
def test_plain_prose_is_spoken_as_written(text: str) -> None:
    assert say(text) == text


def test_traditional_and_full_width_characters() -> None:
    assert simplify("價格是１２３元，妳們說繁體字ＡＢＣ％") == "价格是123元，你们说繁体字ABC%"
    assert say("價格是１２３元") == "价格是一百二十三元"


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("0", "零"),
        ("10", "十"),
        ("15", "十五"),
        ("110", "一百一十"),
        ("1001", "一千零一"),
        ("10010", "一万零一十"),
        ("12000", "一万二千"),
        ("20000", "两万"),
        ("100000001", "一亿零一"),
        ("1234567890", "十二亿三千四百五十六万七千八百九十"),
        ("9999999999999999", "九千九百九十九万亿九千九百九十九亿九千九百九十九万九千九百九十九"),
        ("12345678901234567", "一二三四五六七八九零一二三四五六七"),
    ],
)
def test_cardinals(written: str, spoken: str) -> None:
    assert cardinal(written) == spoken


@given(st.integers(0, 10**16 - 1))
def test_cardinals_say_their_number(value: int) -> None:
    """Read back by places."""
    places = {"十": 10, "百": 100, "千": 1000}
    total = group = digit = 0
    for char in cardinal(str(value)).replace("万亿", "兆").replace("两", "二"):
        if char in places:
            group, digit = group + (digit or 1) * places[char], 0
        elif char in "万亿兆":
            total += (group + digit) * {"万": 10**4, "亿": 10**8, "兆": 10**12}[char]
            group = digit = 0
        else:
            digit = "零一二三四五六七八九".index(char)
    assert total + group + digit == value


def test_numbers_keep_their_decimals() -> None:
    assert number("1,234.50") == "一千二百三十四点五零"


@pytest.mark.parametrize("word", ["ni3", "XING2", "lv4", "nü3", "xi1an4", "er2", "zhuang1"])
def test_pinyin(word: str) -> None:
    assert is_pinyin(word)


@pytest.mark.parametrize("word", ["A4", "E5", "CO2", "MP3", "ni", "ni6", "beta1", "H2", "T2"])
def test_names_are_no_pinyin(word: str) -> None:
    assert not is_pinyin(word)


def test_words_carry_the_offsets_of_the_text() -> None:
    text = "他说 it costs $5，共3个😀。"
    words = verbalise(text)
    assert [(word.spoken, text[word.start : word.end]) for word in words] == [
        ("他说", "他说"),
        ("it", "it"),
        ("costs", "costs"),
        ("five dollars，共三个。", "$5，共3个😀。"),
    ]


@settings(max_examples=500, deadline=None)
@given(texts)
def test_any_text_is_read(text: str) -> None:
    """No exception anywhere, and words in order within the text."""
    at = 0
    for word in chinese._verbalise(text):
        assert at <= word.start <= word.end <= len(text)
        assert word.spoken.strip() == word.spoken != ""
        at = word.end


@pytest.mark.parametrize(
    "part",
    [
        "/",
        "1",
        "1-",
        "1,",
        "1:",
        "1/2",
        "$",
        "-",
        "+86",
        "a.",
        "a@",
        "A-",
        "中1",
        "😀",
        "1+",
        "a b 1 ",
        "www.",
    ],
)
def test_five_thousand_characters_of_one_kind_are_read(part: str) -> None:
    text = (part * 5000)[:5000]
    for whole in (text, text + "中"):
        assert all(0 <= word.start <= word.end <= len(whole) for word in chinese._verbalise(whole))


def test_what_a_library_cannot_read_is_spoken_as_written(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sentence: str) -> None:
        raise ValueError(sentence)

    monkeypatch.setattr(chinese, "_verbalise", fail)
    monkeypatch.setattr(chinese, "_failed", False)
    assert say("原文 3") == "原文 3"
    assert say("原文 4") == "原文 4"
    assert len(caplog.records) == 1


def test_without_its_package_only_traditional_characters_stay(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(characters, "find_spec", lambda _: None)
    monkeypatch.setattr(characters, "_TABLE", characters._Table())
    characters._grammar.cache_clear()
    try:
        assert "".join(word.spoken for word in verbalise("買了3個，共25%。")) == "買了三個，共百分之二十五。"
    finally:
        characters._grammar.cache_clear()
    assert caplog.text.count("tts-serving[indextts2]") == 1
