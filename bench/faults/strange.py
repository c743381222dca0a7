"""Texts that nobody should send: drawn from a seed, none longer than a request may be."""

from __future__ import annotations

import random
import sys
import unicodedata
from collections.abc import Callable, Iterator

from bench.workload import texts

MAX_CHARS = 5000
"""text.max_chars of the default profile."""

MARKS = (
    *"0123456789.,:;/-–—−+*#_`~|\\\"'’<>[](){}&@%$€£¥°²½①…。，！？、　\n\r\t\0",
    *("\ufeff", "\u200b", "\u00ad", "\u0301", "\ufe0f", "\x85", "\u2028", "\u202e", "\ufffd"),
    *(
        "U.S. ",
        "No. ",
        "Dr. ",
        "\r\n",
        "\n\n",
        "- ",
        "# ",
        "> ",
        "1. ",
        "```\n",
        "**",
        "](",
        "[a](/b/)",
        "| ",
    ),
    *(
        "[pause 1s]",
        "<b>",
        "</b>",
        "<!--",
        "-->",
        "<script>",
        "<break time='1s'/>",
        "<sub alias='b'>",
        "&amp;",
    ),
    *("<say-as interpret-as='digits'>", "&#x", "&#39;", "--> ", "00:00:01,000 --> 00:00:02,000\n", "\\n"),
    *(
        "{\\an8}",
        "[1]: http://a.b\n",
        "http://",
        "@b.com",
        "1e400",
        "9" * 41,
        "²³",
        "٣",
        "१",
        "中",
        "ni3hao3",
    ),
    *(
        "Привет",
        "π",
        "😀",
        "👨\u200d👩\u200d👧",
        "🇺🇸",
        "â€™",
        "\U000e0041",
        "ﬁ",
        "Ⅳ",
        "MCMXC",
        "$1.5m",
        "12/25/99",
    ),
)
_REAL = (*texts("long", 200, 991), *texts("short", 400, 991))
_CHINESE = (
    "今天是2024年3月5日，气温是-3.5℃，他花了￥128.50买了两本书。",
    "请在10:30前拨打010-12345678，或发邮件到a@b.cn；增长了12.5%！",
    "ni3 hao3，他说：“我们7月去G20峰会吧？”——第3/4部分。",
)
_RUNS = (
    *"/\\.,;:!?-_*#~`'\"<>[](){}|&@$%^+=0179aZ \n\t\r",
    *(
        "\u0301",
        "\u200d",
        "ﷺ",
        "ą",
        "中",
        "١",
        "½",
        "²",
        "a/",
        "/a",
        "1.",
        "1,",
        "1/",
        "1-",
        "-1",
        "1:",
        "a.",
        ".a",
    ),
    *(
        "[a](",
        "](",
        "**a",
        "<b>",
        "</b>",
        "<a ",
        "&amp;",
        "&#1;",
        "> ",
        "- ",
        "1. ",
        "| ",
        "`` ",
        "~~",
        "![",
        "[[",
    ),
    *(
        "a@",
        "a.b",
        "http://",
        "www.",
        "$1",
        "1st ",
        "II ",
        "x1",
        "A.",
        "Mr. ",
        "a-",
        "'s",
        "1e",
        "0x",
        "٣ ",
        "= ",
    ),
)
Draw = Callable[[random.Random], str]


def strange_texts(count: int, seed: int) -> Iterator[str]:
    """`count` texts, the kinds in turn; the same seed gives the same texts."""
    chance = random.Random(seed)
    for number in range(count):
        text = KINDS[number % len(KINDS)](chance)[:MAX_CHARS]
        yield text or "."


def _any_unicode(chance: random.Random) -> str:
    """Code points of all planes, a fifth of them where combining marks and controls lie."""
    points = []
    for _ in range(chance.choice((1, 5, 20, 80, 400))):
        low, high = chance.choice(
            ((0x20, 0x7F), (0, 0x250), (0x300, 0x370), (0, 0x3100), (0, sys.maxunicode + 1))
        )
        point = chance.randrange(low, high)
        points.append(chr(point) if not 0xD800 <= point < 0xE000 else "\ufffd")
    return "".join(points)


def _marks(chance: random.Random) -> str:
    return "".join(chance.choice(MARKS) for _ in range(chance.choice((3, 15, 60, 300))))


def _mutated(chance: random.Random) -> str:
    """A real text, or two, with characters deleted, doubled, turned round and put in."""
    text = " ".join(chance.choice((*_REAL, *_CHINESE)) for _ in range(chance.choice((1, 1, 2))))
    for _ in range(chance.randint(1, 15)):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.choice((0, 0, 1, 4, 20, 200)))
        put = chance.choice(("", text[start:end] * 2, text[start:end][::-1], *[chance.choice(MARKS)] * 5))
        text = text[:start] + put * chance.choice((1, 1, 1, 3, 30)) + text[end:]
    return text


def _run(chance: random.Random) -> str:
    """One thing again and again, to the end of what a request may hold, perhaps with words about it."""
    one: str = chance.choice(_RUNS) + chance.choice(("", "", chance.choice(_RUNS)))
    length = chance.choice((40, 300, 2000, MAX_CHARS))
    text = (one * length)[:length]
    return chance.choice(("", "Hello. ", "a")) + text + chance.choice(("", " the end.", "a", "."))


def _nested(chance: random.Random) -> str:
    """Markup within markup, closed, half closed or never."""
    opening, closing = chance.choice(
        (("[", "]"), ("(", ")"), ("<b>", "</b>"), ("*", "*"), ("**", "**"), ("[a](", ")"), ("<!--", "-->"), ("> ", ""),
         ("- ", "\n"), ("<sub alias='", "'>"), ("`", "`"), ("{", "}"), ("“", "”"), ("<div><p>", "</p></div>"))
    )  # fmt: skip
    depth = chance.choice((3, 30, 300, 1200))
    ends = chance.choice((0, depth // 2, depth))
    return f"{opening * depth}{'word ' * chance.choice((0, 1, 5))}{closing * ends}"


def _digits(chance: random.Random) -> str:
    """Long numbers, with all that may stand in them."""
    length = chance.choice((5, 41, 400, MAX_CHARS))
    signs = chance.choice(("", ".", ",", ".,", " ", "-", "/", ":", "e", "$", "%", "１２", "٣", "½"))
    return "".join(chance.choice("0123456789" + signs) for _ in range(length))


def _stacked(chance: random.Random) -> str:
    """Letters under heaps of combining marks."""
    marks = [chr(point) for point in range(0x300, 0x370) if unicodedata.combining(chr(point))]
    count = chance.choice((2, 20, 500))
    return "".join(
        chance.choice("aeiouzAn ") + "".join(chance.choices(marks, k=count)) for _ in range(4000 // count)
    )


def _words(chance: random.Random) -> str:
    """Words that no dictionary has, some of them very long."""
    alphabet = chance.choice(("abcdefghijklmnopqrstuvwxyz", "bcdfghjklm", "aeiou", "aA1-", "a'", "zq"))
    return " ".join(
        "".join(chance.choices(alphabet, k=chance.choice((1, 3, 9, 40, 41, 300))))
        for _ in range(chance.choice((1, 10, 60)))
    )


KINDS: tuple[Draw, ...] = (
    _any_unicode,
    _marks,
    _mutated,
    _run,
    _mutated,
    _nested,
    _digits,
    _stacked,
    _words,
    _mutated,
)
