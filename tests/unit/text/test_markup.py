"""HTML, SSML and our own marks: what is said, and what follows it."""

from __future__ import annotations

import pytest

from serving.text.blocks import Pause
from serving.text.document import TextFormat, clean_sentences
from serving.text.markup.say_as import say_as
from serving.text.source import Mark


def paused(text: str, text_format: TextFormat = "auto") -> list[tuple[str, Pause]]:
    return [(source.text, pause) for source, pause in clean_sentences(text, text_format, "en", True)]


def said(text: str, text_format: TextFormat) -> list[str]:
    return [sentence for sentence, _ in paused(text, text_format)]


def marks(text: str, text_format: TextFormat = "auto") -> list[Mark]:
    return [mark for source, _ in clean_sentences(text, text_format, "en", True) for mark in source.marks]


HTML = [
    ("<h1>A title</h1><p>A <b>bold</b>\n paragraph.</p>", ["A title", "A bold paragraph."]),
    ("<ul>\n <li>one</li>\n <li>two</li>\n</ul>after", ["one", "two", "after"]),
    ("<table><tr><td>a</td><td>b</td></tr><tr><th>c</th></tr></table>", ["a, b", "c"]),
    ("One<br>two<hr>three", ["One", "two", "three"]),
    ("<script>var a = '<p>';</script>said<style>p {}</style>", ["said"]),
    ("<head><title>T</title></head><body>said</body>", ["said"]),
    ("<!-- not said --> said <!DOCTYPE html>", ["said"]),
    ("Tom &amp; Ann &lt;3 &copy; &#8364;5", ["Tom & Ann <3 © €5"]),
    ("AT&T and a < b", ["AT&T and a < b"]),
    ("<img src=x alt='a cat'> sits", ["a cat sits"]),
    ("<unknown>still</unknown> said", ["still said"]),
    ("<p>unclosed <b>tags", ["unclosed tags"]),
    ("<a href='x", ["<a href='x"]),
    ("<![CDATA[raw & said]]>", ["raw & said"]),
    ("<![if !IE]>said<![endif]>", ["said"]),
    ("H<sub>2</sub>O on 5 m<sup>2</sup>, the 3<sup>rd</sup>", ["H2O on 5 m², the 3rd"]),
    ("2<sup>10</sup> and 10<sup>-3</sup>", ["2¹⁰ and 10⁻³"]),
    ("<s>struck</s> out", ["struck out"]),
    ("<q>Quoted</q> text", ['"Quoted" text']),
    ("<ruby>base<rt>over</rt></ruby>", ["base"]),
    ("<svg><title>no</title><svg></svg></svg>yes", ["yes"]),
]

SSML = [
    ("<speak>Hello there.</speak>", ["Hello there."]),
    ("<speak><p><s>One</s><s>Two</s></p>three</speak>", ["One", "Two", "three"]),
    ('<sub alias="World Wide Web">WWW</sub> page', ["World Wide Web page"]),
    ('The <say-as interpret-as="characters">abc</say-as> code', ["The A B C code"]),
    ('Call <say-as interpret-as="telephone">+1 (555) 010</say-as>', ["Call +1, 5 5 5, 0 1 0"]),
    ('<say-as interpret-as="digits">0042</say-as>', ["0 0 4 2"]),
    ('<say-as interpret-as="cardinal">1990</say-as>', ["1,990"]),
    ('<say-as interpret-as="ordinal">22</say-as>', ["22nd"]),
    ('<say-as interpret-as="date" format="dmy">3/4/2020</say-as>', ["April 3, 2020"]),
    ('<say-as interpret-as="unheard-of">text</say-as>', ["text"]),
    ('<prosody rate="slow">slow</prosody> <emphasis>strong</emphasis>', ["slow strong"]),
    ("<?xml version='1.0'?><speak version='1.1'>text</speak>", ["text"]),
    ('<voice name="x">voice</voice><mark name="m"/> mark', ["voice mark"]),
    ('<say-as interpret-as="digits">12', ["1 2"]),
    ("<sub>no alias</sub>", ["no alias"]),
]

PAUSES = [
    ("One. Two.", [("One.", Pause("sentence")), ("Two.", Pause("paragraph"))]),
    ("One.\n\nTwo.", [("One.", Pause("paragraph")), ("Two.", Pause("paragraph"))]),
    ("One [pause 0.5s] two", [("One", Pause("clause", 0.5)), ("two", Pause("paragraph"))]),
    ("One. [pause 300ms] Two.", [("One.", Pause("clause", 0.3)), ("Two.", Pause("paragraph"))]),
    ("One. [pause 1s][pause 2s]", [("One.", Pause("paragraph", 3.0))]),
    ("[pause 2s] One.", [("", Pause("clause", 2.0)), ("One.", Pause("paragraph"))]),
    ("One. [pause 999999s]", [("One.", Pause("paragraph", 10.0))]),
    ("One [pause] two", [("One [pause] two", Pause("paragraph"))]),
    ("One.<break time='250ms'/>Two.", [("One.", Pause("clause", 0.25)), ("Two.", Pause("paragraph"))]),
    ("One<break strength='strong'/>two", [("One", Pause("sentence")), ("two", Pause("paragraph"))]),
    ("One<break strength='x-strong'/>two", [("One", Pause("paragraph")), ("two", Pause("paragraph"))]),
    ("One<break/>two", [("One", Pause("clause")), ("two", Pause("paragraph"))]),
    ("One<break strength='none'/> two", [("One two", Pause("paragraph"))]),
    (
        "# Title\n- item\n- last",
        [("Title", Pause("paragraph")), ("item", Pause("sentence")), ("last", Pause("paragraph"))],
    ),
]


@pytest.mark.parametrize(("text", "expected"), HTML)
def test_html(text: str, expected: list[str]) -> None:
    assert said(text, "html") == expected


@pytest.mark.parametrize(("text", "expected"), SSML)
def test_ssml(text: str, expected: list[str]) -> None:
    assert said(text, "ssml-lite") == expected


@pytest.mark.parametrize(("text", "expected"), PAUSES)
def test_pauses(text: str, expected: list[tuple[str, Pause]]) -> None:
    assert paused(text) == expected


@pytest.mark.parametrize("text_format", ["auto", "plain", "markdown", "html", "ssml-lite"])
def test_our_own_marks_are_read_in_every_format(text_format: TextFormat) -> None:
    text = "I [read](/rɛd/) it. [pause 1s] Then [New York](/nuː jɔːk/)."
    assert paused(text, text_format) == [
        ("I read it.", Pause("clause", 1.0)),
        ("Then New York.", Pause("paragraph")),
    ]
    assert marks(text, text_format) == [
        Mark(text.index("read"), text.index("read") + 4, "rɛd"),
        Mark(text.index("New"), text.index("New") + 8, "nuː jɔːk"),
    ]


def test_a_phoneme_element_is_a_mark() -> None:
    text = '<phoneme alphabet="ipa" ph="pɪˈkɑːn">pecan</phoneme> pie'
    assert marks(text, "ssml-lite") == [Mark(text.index("pecan"), text.index("pecan") + 5, "pɪˈkɑːn")]


@pytest.mark.parametrize(
    "link", ["[a](/docs/a.html)", "[a](/a/b/)", "[a](/page-2/)", "[a](https://x.y/)", "[a](//)"]
)
def test_a_link_is_no_phonemes(link: str) -> None:
    assert marks(link) == []
    assert said(link, "auto") == ["a"]


@pytest.mark.parametrize(
    ("kind", "date_format", "text", "expected"),
    [
        ("date", "mdy", "12/25/2020", "December 25, 2020"),
        ("date", "", "2020-12-25", "December 25, 2020"),
        ("date", "my", "12/2020", "December 2020"),
        ("date", "md", "2-29", "February 29"),
        ("date", "mdy", "13/25/2020", "13/25/2020"),
        ("date", "mdy", "May 5", "May 5"),
        ("cardinal", "", "IV", "IV"),
        ("cardinal", "", "-12000", "-12,000"),
        ("ordinal", "", "111", "111th"),
        ("spell-out", "", "a1 b", "A 1 B"),
    ],
)
def test_say_as(kind: str, date_format: str, text: str, expected: str) -> None:
    assert say_as(kind, date_format, text) == expected
