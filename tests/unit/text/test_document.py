"""Sentences of clean text, class by class: one row is a text and what is handed to the words step."""

from __future__ import annotations

import pytest

from serving.text.document import TextFormat, clean_sentences


def cleaned(text: str, text_format: TextFormat = "auto", language: str = "en") -> list[str]:
    return [source.text for source, _ in clean_sentences(text, text_format, language, True) if source.text]


UNICODE = [
    ("The cafe\u0301 re\u0301sume\u0301.", "The café résumé."),
    ("An im\u00adpor\u00adtant word.", "An important word."),
    ("Split at the mar\u00ad\ngin here.", "Split at the margin here."),
    ("\ufeffMarked at the start.", "Marked at the start."),
    ("Zero\u200bwidth and\u2060 joined\ufeff.", "Zerowidth and joined."),
    ("\u202eRight\u202c to \u200fleft\u200e.", "Right to left."),
    ("No\xa0break\u202fspaces\u2009here.", "No break spaces here."),
    ("An ideographic\u3000space.", "An ideographic space."),
    ("I don\u2019t and won\u02bct and can\u00b4t.", "I don't and won't and can't."),
    ("She didn`t, he couldn`t.", "She didn't, he couldn't."),
    ("They didn\u2032t.", "They didn't."),
    ("Hawai\u02bbi is far.", "Hawai'i is far."),
    ("It\ufffds broken.", "It's broken."),
    ("\u201cQuoted\u201d and \u00abfrench\u00bb.", '"Quoted" and "french".'),
    ("\u201eGerman\u201d words.", '"German" words.'),
    ("``Typed'' quotes.", '"Typed" quotes.'),
    ("A 5\u2032 10\u2033 man.", "A 5\u2032 10\u2033 man."),
    ("It fell to \u22125 degrees.", "It fell to \u22125 degrees."),
    ("Pages 3\u20135 \u2014 all.", "Pages 3\u20135 \u2014 all."),
    ("A non\u2011breaking hyphen.", "A non-breaking hyphen."),
    ("word--word and so -- on", "word\u2014word and so \u2014 on"),
    ("Run ls --all now.", "Run ls --all now."),
    ("\uff26\uff55\uff4c\uff4c \uff57\uff49\uff44\uff54\uff48.", "Full width."),
    ("\ufb01ne \ufb02owers o\ufb03ce.", "fine flowers office."),
    ("Chapter \u2163 of \u2171.", "Chapter IV of ii."),
    ("\U0001d401\U0001d428\U0001d425\U0001d41d text.", "Bold text."),
    ("x\u00b2 and H\u2082O.", "x\u00b2 and H2O."),
    ("A flat of 80 \u33a1.", "A flat of 80 m\u00b2."),
    ("It was 20\u00baC out.", "It was 20\u00b0C out."),
    ("It was 20 \u2103 out.", "It was 20 \u00b0C out."),
    ("\u2116 5 wins.", "No. 5 wins."),
    ("Add \u00bd cup.", "Add \u00bd cup."),
    ("Bell\x07 and\x00 null\x1b.", "Bell and null."),
    ("A lone \ud800 surrogate.", "A lone surrogate."),
    ("Private \ue000\uf8ff use.", "Private use."),
    ("Z\u0336\u0337\u0338\u0336\u0337\u0338a\u0336\u0337l\u0336g\u0336o.", "Zalgo."),
    ("Donâ€™t stop, itâ€™s fine.", "Don't stop, it's fine."),
    ("The cafÃ© is open.", "The café is open."),
    ("I \u2764\ufe0f you.", "I \u2764\ufe0f you."),
    (
        "A family \U0001f468\u200d\U0001f469\u200d\U0001f467 here.",
        "A family \U0001f468\u200d\U0001f469\u200d\U0001f467 here.",
    ),
    ("Press 1\ufe0f\u20e3 now.", "Press 1 now."),
    ("Too   many    blanks.", "Too many blanks."),
    ("A\ttab.", "A tab."),
    ("Hello , world !", "Hello, world!"),
    ("Don''t say ''that''.", 'Don\'t say "that".'),
    ("Wait . . . what?", "Wait\u2026 what?"),
    ("\u2500\u2500\u2500 A box \u2500\u2500\u2500", "A box"),
    ("The \u212b is an angstrom.", "The Å is an angstrom."),
]

STRAY = [
    ("This is **bold** text.", "This is bold text."),
    ("This is *it* and __that__ and _this_.", "This is it and that and this."),
    ("Un*frigging*believable.", "Un*frigging*believable."),
    ("All **b**old.", "All bold."),
    ("## Heading", "Heading"),
    ("###### Deep heading ######", "Deep heading"),
    ("#1 in the charts", "#1 in the charts"),
    ("#hashtag here", "#hashtag here"),
    ("C# is a language.", "C# is a language."),
    ("5 * 3 is 15.", "5 * 3 is 15."),
    ("2*3*4 is 24.", "2*3*4 is 24."),
    ("2 ** 3 is 8, 2**3**1 too.", "2 ** 3 is 8, 2**3**1 too."),
    ("Use snake_case_names here.", "Use snake_case_names here."),
    ("I <3 you.", "I <3 you."),
    ("if a < b and c > d", "if a < b and c > d"),
    ("if a <b and c> d", "if a <b and c> d"),
    ("A List<String> is it.", "A List String is it."),
    ("Write <name> here.", "Write name here."),
    ("This is <b>bold</b> text.", "This is bold text."),
    ("<p class='x'>In a paragraph.</p>", "In a paragraph."),
    ("The <script> tag is old.", "The script tag is old."),
    ("So sad </3 now.", "So sad </3 now."),
    ("See [the docs](https://example.org/x_y) now.", "See the docs now."),
    ("See [it](<a b> 'title') now.", "See it now."),
    ("An image ![of a cat](cat.png) here.", "An image of a cat here."),
    ("Go to <https://example.org/>.", "Go to https://example.org/."),
    ("Type `pip install x` now.", "Type pip install x now."),
    ("Type ``a `b` c`` now.", "Type a `b` c now."),
    ("Tom &amp; Ann don&#39;t stop.", "Tom & Ann don't stop."),
    ("Escaped &amp;#39;twice&amp;quot;.", "Escaped 'twice\"."),
    ("AT&T and R&D; done.", "AT&T and R&D; done."),
    ("A&nbsp;b &lt;c&gt;.", "A b c."),
    ("\\*Not bold\\*.", "*Not bold*."),
    ("> Quoted line.", "Quoted line."),
    ("> 5 samples are enough", "> 5 samples are enough"),
    ("- [x] Buy milk", "Buy milk"),
    ("- [ ] Sell milk", "Sell milk"),
    ("~~Gone~~ and ~5 left.", "Gone and ~5 left."),
    ("It is known.[1][2]", "It is known."),
    ("It is known[3] here.", "It is known here."),
    ("Take a[1] and b[0].", "Take a[1] and b[0]."),
    ("A note[^1] here.", "A note here."),
    ("A **bold with `code` and [link](/x) in** it.", "A bold with code and link in it."),
    ("[Bob]: hello", "[Bob]: hello"),
    ("An unclosed **bold and [link](", "An unclosed **bold and [link]("),
    ("    Indented line.", "Indented line."),
    ("_____ is the capital.", "is the capital."),
]

MANY = [
    ("# Title\n\nBody text.", ["Title", "Body text."]),
    ("# Title\nBody text.", ["Title", "Body text."]),
    ("Title\n=====\n\nBody.", ["Title", "Body."]),
    ("* one\n* two", ["one", "two"]),
    ("- one\n  - nested\n- two", ["one", "nested", "two"]),
    ("1. Open it.\n2. Close it.", ["1. Open it.", "2. Close it."]),
    ("Steps:\n1) open\n2) close", ["Steps:", "1) open", "2) close"]),
    ("You need:\n\u2022 milk\n\u2022 eggs", ["You need:", "milk", "eggs"]),
    ("```python\nx = 1\nprint(x)\n```\nDone.", ["x = 1", "print(x)", "Done."]),
    ("```\none\n\ntwo\n```\n\nAfter **it**.", ["one", "two", "After it."]),
    ("| A | B |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |", ["A, B", "1, 2", "3, 4"]),
    ("One.\n\n---\n\nTwo.", ["One.", "Two."]),
    ("One.\n* * *\nTwo.", ["One.", "Two."]),
    ("One\n==========\nTwo", ["One", "Two"]),
    ("> quoted\n> on two lines\n\nAfter.", ["quoted on two lines", "After."]),
    ("<ul><li>one</li><li>two</li></ul>", ["one", "two"]),
    ("<h1>Title</h1><p>Body</p>", ["Title", "Body"]),
    ("Line<br>Next<br/>Last", ["Line", "Next", "Last"]),
    ("<s>One here.</s><s>Two here.</s>", ["One here.", "Two here."]),
    ('Ready. <break time="1s"/> Go.', ["Ready.", "Go."]),
    (
        "The old mill stood\nby the river and\nnobody went there.",
        ["The old mill stood by the river and nobody went there."],
    ),
    (
        "We took the train from\nLondon to Paris and\nthen went on.",
        ["We took the train from London to Paris and then went on."],
    ),
    ("Most of the crew were experi-\nenced sailors.", ["Most of the crew were experienced sailors."]),
    ("A well-\nknown fact.", ["A well-known fact."]),
    ("The mother-in-\nlaw of a long-estab-\nlished firm.", ["The mother-in-law of a long-established firm."]),
    (
        "1\n00:00:01,000 --> 00:00:04,000\nHello there.\n\n2\n00:05.250 --> 00:06.000\nBye.",
        ["Hello there.", "Bye."],
    ),
    ("A part-\ntime job, so-\ncalled.", ["A part-time job, so-called."]),
    ("The so-\nlution of the part-\nners, un-\ntil then.", ["The solution of the partners, until then."]),
    ("She met Jean-\nPaul there.", ["She met Jean-Paul there."]),
    ("In 2019-\n2020 it rose.", ["In 2019-2020 it rose."]),
    ("Windows line\r\nends here.\r\n\r\nNew one.", ["Windows line ends here.", "New one."]),
    ("Old Mac\rline ends.\r\rNew one.", ["Old Mac line ends.", "New one."]),
    ("Page one\fPage two", ["Page one", "Page two"]),
    ("One\u2029Two", ["One", "Two"]),
    ("John Smith\n12 Elm Street\nSpringfield", ["John Smith", "12 Elm Street", "Springfield"]),
    (
        "Roses are red\nViolets are blue\nSugar is sweet\nAnd so are you",
        ["Roses are red", "Violets are blue", "Sugar is sweet", "And so are you"],
    ),
    ("ANNA: Hello there\nBOB: Hi Anna", ["ANNA: Hello there", "BOB: Hi Anna"]),
    ("Chapter One\nIt was a dark and stormy night.", ["Chapter One", "It was a dark and stormy night."]),
    ("Milk\nEggs\nBread", ["Milk", "Eggs", "Bread"]),
    ('"Come in," she said.\n"Thank you."', ['"Come in," she said.', '"Thank you."']),
    ("First paragraph.\n\nSecond paragraph.", ["First paragraph.", "Second paragraph."]),
    ("We visited\nNew York in\nMay.", ["We visited New York in May."]),
    ("**A bold heading**\nText follows here.", ["A bold heading", "Text follows here."]),
    ("##Tight heading\nText follows.", ["Tight heading", "Text follows."]),
    ("First.\n \t \nSecond.", ["First.", "Second."]),
    ("He spoke to Dr.\nSmith about it.", ["He spoke to Dr. Smith about it."]),
]

SENTENCES = [
    ["It was due on Jan. 3 last year."],
    ["Her Sonata No. 8 is famous."],
    ["See p. 5, pp. 7-9 and Fig. 2 in Vol. II of it."],
    ["He joined the U.S. Army in May."],
    ["The ruling in Roe v. Wade stands.", "It is old."],
    ["The U.N. Security Council met."],
    ["He left the U.S.", "The rest stayed."],
    ["It was Spain vs. Italy again."],
    ["Some, e.g. Ann, i.e. my aunt, came at 5 p.m. on Friday."],
    ["We met at 5 p.m. Friday."],
    ["We met at 5 p.m.", "Bring food."],
    ["J. R. R. Tolkien wrote it."],
    ["The award went to George C. Miller of Ohio."],
    ["Mr. and Mrs. Lee met Prof. Chen.", "They talked."],
    ["Dr. Who met St. Peter."],
    ["Our office is at 12 Elm Dr.", "Please ring the bell."],
    ["Mount St. Helens erupted.", "We ran."],
    ["Is it yes or no."],
    ["Sadly, no.", "Try again on Friday."],
    ["She said no.", "8 people came."],
    ["It was I.", "Then she left."],
    ["Take vitamin C.", "Bob does."],
    ["Apple Inc. Chairman Bob spoke."],
    ["She works at Acme Inc.", "He does not."],
    ["Pens, paper, etc.", "That was all."],
    ["It is 3.14 or 2.5 here.", "Yes."],
    ["Visit example.com or open file.txt now.", "Then stop."],
    ["Node.js and v2.10.3 work."],
    ["Wait... what?"],
    ["Well...", "Yes."],
    ["Oh... so it is."],
    ['She said "No."', "Then she left."],
    ['"Really?" he asked.', '"Stop!" he said.'],
    ["(See below.)", "It works."],
    ["What?!", "No!", "Yes."],
    ["Really?", "yes."],
    ["hello there.", "how are you today.", "fine."],
    ["He got approx. five of them."],
    ["你好。", "我很好！", "真的吗？", "是；", "对"],
    ["He has a Ph.D. in math."],
    ["In 1990.", "Then it ended."],
    ["The value is no. 5 of 7."],
    ["He lives in Washington, D.C. and works there."],
    ["No punctuation at all here"],
    ["He is 5 ft. 3 in. tall.", "She is not."],
    ["Lt. Col. Jones and Gov. Smith came on Flt. 7."],
    ["J.K. Rowling met E. B. White."],
    ["We met at 10 a.m. EST.", "Ann left."],
    ["She was born in Sept. 1990 in Mt. Vernon."],
    ["It rose 5 percent.", "3 people left."],
    ["The fig. shows it, and the max. is fine.", "Ask Max."],
    ["I told him no.", "5 of us left."],
    ["Mr. & Mrs. Lee have a No. of items."],
]

PASTED = [
    ("1\n00:00:01,000 --> 00:00:03,500\nHello there.\n\n2\n00:00:04,000 --> 00:00:06,000\nHow are you?",
     ["Hello there.", "How are you?"]),
    ("WEBVTT\n\n00:01.000 --> 00:03.000 line:0\n<i>Hello</i> there.", ["Hello there."]),
    ("{\\an8}Up here.", ["Up here."]),
    ("[00:12.00]La la\n[00:15.30]la la", ["La la la la"]),
    ("[10:32] Ann: hello\n[10:33] Bob: hi!", ["[10:32] Ann: hello", "[10:33] Bob: hi!"]),
    ("Hello.\\nWorld.\\n\\nEnd", ["Hello.", "World.", "End"]),
    ("In C:\\new\\notes it is.", ["In C:\\new\\notes it is."]),
    ("A page\x0cgoes on.", ["A page goes on."]),
    ("A page ends.\x0canother begins.", ["A page ends.", "another begins."]),
    ("The mother-in-\nlaw, a decision-\nmaker.", ["The mother-in-law, a decision-maker."]),
    ("The nine-\nteenth high-\nway was self-\nish.", ["The nineteenth highway was selfish."]),
    ("1. First\n   continued here\n2. Second", ["1. First continued here", "2. Second"]),
    ("He left.\n—Why?\n—I don't know.", ["He left.", "—Why?", "—I don't know."]),
    ("Line one\\\nline two", ["Line one", "line two"]),
    ("The \x1b[31mred\x1b[0m one.", ["The red one."]),
    ("Use ==this== if a == b ##", ["Use this if a == b"]),
    ("<button>Send</button><button>Stop</button>", ["Send Stop"]),
    ("a !== b, x== 5", ["a !== b, x== 5"]),
    ("It is in models.<name>, or <kind>.", ["It is in models.name, or kind."]),
    ("<ann> hi, <john@x.org>", ["ann hi, john@x.org"]),
]  # fmt: skip
WRAPPED_CHINESE = [
    ("这是一段很长的文字在这里被\n硬换行了因为宽度有限所以\n继续。", 1),
    ("床前明月光\n疑是地上霜\n举头望明月\n低头思故乡", 4),
    ("关于我们\n我们是一家很好的公司，成立于很久以前。", 2),
    ("（1）苹果\n（2）香蕉", 2),
    ("一、总则\n二、细则", 2),
    ("他在U.S.工作。Mr. Wang也在。", 2),
]
WITHOUT_BLANK = [
    ("This is the end.The next one begins.", ["This is the end.", "The next one begins."]),
    ("Hello!How are you?", ["Hello!", "How are you?"]),
    ("It costs $5.The rest is free.", ["It costs $5.", "The rest is free."]),
    ("Use System.Out here.", ["Use System.Out here."]),
]


@pytest.mark.parametrize(("text", "expected"), UNICODE)
def test_characters(text: str, expected: str) -> None:
    assert cleaned(text) == [expected]


@pytest.mark.parametrize(("text", "expected"), STRAY)
def test_stray_markup_is_not_spoken_and_what_only_looks_like_it_is_kept(text: str, expected: str) -> None:
    assert " ".join(cleaned(text)) == expected


@pytest.mark.parametrize(("text", "expected"), MANY + PASTED + WITHOUT_BLANK)
def test_blocks_and_line_ends(text: str, expected: list[str]) -> None:
    assert cleaned(text) == expected


@pytest.mark.parametrize(("text", "count"), WRAPPED_CHINESE)
def test_line_ends_of_chinese(text: str, count: int) -> None:
    assert len(cleaned(text, language="zh")) == count


@pytest.mark.parametrize("sentences", SENTENCES, ids=" ".join)
def test_sentences(sentences: list[str]) -> None:
    joined = " ".join(sentences)
    assert (
        cleaned(joined.replace("。 ", "。").replace("！ ", "！").replace("？ ", "？").replace("； ", "；"))
        == sentences
    )


def test_plain_text_keeps_every_sign() -> None:
    assert cleaned("**a** <b>c</b> &amp; `d`", "plain") == ["**a** <b>c</b> &amp; `d`"]


def test_the_label_and_the_target_of_a_reference_are_not_spoken() -> None:
    assert cleaned("See [it][1].\n\n[1]: http://x.y", "markdown") == ["See [it]."]
    assert cleaned("[1]: http://x.y\nSee [it][1].", "markdown") == ["See it."]


def test_long_sentences_are_cut_at_clauses_else_between_words_else_anywhere() -> None:
    clauses = "this is a clause of some length here, " * 20
    words = "word " * 300
    for text, limit in ((clauses, 400), (words, 400), ("x" * 3000, 400)):
        pieces = cleaned(text)
        assert len(pieces) > 1
        assert all(len(piece) <= limit and len(piece.split()) <= 60 for piece in pieces)
        assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert all(piece.endswith(",") for piece in cleaned(clauses))


def test_a_paragraph_longer_than_a_window_is_read_without_a_seam() -> None:
    sentences = [f"This is sentence number {number} of a long text." for number in range(400)]
    assert cleaned(" ".join(sentences)) == sentences
