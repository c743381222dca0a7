"""Unicode as a reader sees it: mojibake undone, one form of each letter, no invisible characters."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from ftfy import fix_encoding
from ftfy.badness import is_bad

from serving.text.source import SourceText

CJK_PUNCTUATION = "。、！？，：；（）《》〈〉「」『』【】｡､"
"""Left to the last step: the sentence stops among them count in every language."""

_LETTER = r"[^\W\d_]"
_APOSTROPHES = "`´′ʹʼʻʽ‘’‛＇ꞌˊˋ\u0092\u2032"
_COMBINING = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_PICTURE = "\u203c-\u3299\U0001f000-\U0001faff"

_TIGHT_HEADING = re.compile(r"^(#{2,6})(?=\w)", re.MULTILINE)
_BACKTICK_APOSTROPHE = re.compile(rf"(?<={_LETTER})`(?={_LETTER})")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_TAG = re.compile(
    r"(?<!\w)</?([A-Za-z][\w-]{1,40})(?: ?/)?>|</?([A-Za-z][\w-]{1,40})>(?!\w)|(?<!\w)</?([A-Za-z])>"
)
"""What no reader of markup knew: a placeholder, or a tag that the text speaks of."""
_TOKEN = re.compile(r"[^ \t\n]+")
_CLUSTER = re.compile(rf"[^\W_]?[{_COMBINING}]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")

_CUE = re.compile(
    r"^(?:[ \t]*\d{1,5}[ \t]*\n)?[ \t]*(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{3}[ \t]*-->[^\n]*\n?", re.MULTILINE
)
"""The number and the times of a subtitle."""

Replacement = str | Callable[[re.Match[str]], str]


def _tag_name(match: re.Match[str]) -> str:
    text, start, end = match.string, *match.span()
    before = " " if text[start - 1 : start].isalnum() else ""
    after = " " if text[end : end + 1].isalnum() or text[end : end + 1] == "<" else ""
    return f"{before}{match[1] or match[2] or match[3]}{after}"


_IN_CONTEXT: tuple[tuple[str, re.Pattern[str], Replacement], ...] = (
    ("\ufffd", re.compile(rf"(?<={_LETTER})\ufffd(?=(?:s|t|re|ve|ll|d|m)\b)"), "'"),
    (_APOSTROPHES, re.compile(rf"(?<={_LETTER})[{_APOSTROPHES}](?={_LETTER})"), "'"),
    ("`´", re.compile(r"(?<=s)[`´](?=\s|$)"), "'"),
    ("`´", re.compile(r"``|´´"), '"'),
    ("'", re.compile(rf"(?<={_LETTER})''(?={_LETTER})"), "'"),
    ("'", re.compile(r"''"), '"'),
    ("″", re.compile(r"(?<!\d)″"), '"'),
    ("′", re.compile(r"(?<!\d)(?<![^\W\d_])′"), "'"),
    ("º˚", re.compile(r"(?<=\d) ?[º˚]"), "°"),
    ("\u00ad", re.compile(r"\u00ad[ \t]*\n[ \t]*"), ""),
    ("\u200d", re.compile(rf"(?<![{_PICTURE}\ufe0f])\u200d|\u200d(?![{_PICTURE}])"), ""),
    ("\ufe0f", re.compile(rf"(?<![{_PICTURE}©®])\ufe0f"), ""),
    (">", _CUE, ""),
    ("-", re.compile(r"(?<=[\w.,!?\"')\]])-{2,3}(?=[^\W\d_]|[\"'(])|(?<= )-{2,3}(?= )"), "—"),
    (".", re.compile(r" ?\.(?: \.){2,3}(?![\w.])"), "…"),
    ("#", re.compile(r"(?<!\S)#{2,6}(?!\S)"), ""),
    ("\x1b", re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]"), ""),
    (
        "=",
        re.compile(r"(?<![\w=!<>])==(?=[^\s=][^=\n]{0,200}==(?![\w=]))|(?<=[^\W_]{2})==(?=[\s.,;:!?)]|\Z)"),
        "",
    ),
    ("_", re.compile(r"_{3,}"), " "),
    (",.;:!?", re.compile(r"(?<=\w) +(?=[,.;:!?](?:\s|\Z))"), ""),
    (" ", re.compile(r" {2,}"), " "),
)
"""Characters that ask for a look, where they are to be replaced, and by what."""

_TABLE: dict[str, str | None] = {
    "\n": None,
    "\t": " ",
    "\u00ad": "",
    "\u200d": None,
    "\ufe0f": None,
    "‘": "'",
    "’": "'",
    "‚": "'",
    "‛": "'",
    "ʼ": "'",
    "‹": "'",
    "›": "'",
    "“": '"',
    "”": '"',
    "„": '"',
    "‟": '"',
    "«": '"',
    "»": '"',
    "〝": '"',
    "〞": '"',
    "〟": '"',
    "‐": "-",
    "‑": "-",
    "﹣": "-",
    "⁃": "•",
    "‒": "–",
    "―": "—",
    "⸺": "—",
    "⸻": "—",
    "〜": "～",
    "㎡": "m²",
    "㎢": "km²",
    "㎥": "m³",
    "℃": "°C",
    "℉": "°F",
    "№": "No. ",
    "ſ": "s",
    "ĳ": "ij",
    "Ĳ": "IJ",
    "ŉ": "'n",
    "\ufffd": "",
    "\u2061": "",
}
_COMPATIBLE = (
    (0x2080, 0x209C),  # subscripts
    (0x2100, 0x2121),  # letter-like symbols
    (0x2123, 0x214F),
    (0x2160, 0x217F),  # Roman numerals
    (0x2460, 0x24FF),  # enclosed letters and digits
    (0x3200, 0x33FF),  # enclosed and squared CJK, units
    (0xFB00, 0xFB06),  # ligatures
    (0xFF01, 0xFFEF),  # full and half width
    (0x1D400, 0x1D7FF),  # mathematical letters
    (0x1F100, 0x1F16A),  # enclosed letters
)


def clean(source: SourceText, *, entities: bool) -> SourceText:
    """The text with every character in the one form that the later stages know. `entities` decodes those of
    HTML, also where they were escaped twice, and leaves only the name of a tag."""
    if entities and "&" in source.text:
        source = _replace(_replace(source, _ENTITY, _decode_entity), _ENTITY, _decode_entity)
    if entities and "<" in source.text:
        source = _replace(source, _TAG, _tag_name)
    if not source.text.isascii():
        source = _fix_mojibake(source)
    source = _in_context(source)
    if not source.text.isascii():
        source = _compose(source)
    edits = {char: new for char in set(source.text) if (new := _replacement(char)) is not None}
    if edits:
        source = source.edit(
            [(at, at + 1, edits[char]) for at, char in enumerate(source.text) if char in edits]
        )
        if "  " in source.text:
            source = _replace(source, _IN_CONTEXT[-1][1], " ")
    return source


def drop_controls(source: SourceText) -> SourceText:
    """Only what is no text in any form taken out: control characters, lone surrogates, byte order marks."""
    return _replace(source, _CONTROL, "")


def mend_for_markdown(source: SourceText) -> SourceText:
    """don`t as don't, before a reader of Markdown takes the marks for code, and ##Heading as ## Heading."""
    if "`" in source.text:
        source = _replace(source, _BACKTICK_APOSTROPHE, "'")
    return _replace(source, _TIGHT_HEADING, lambda match: f"{match[1]} ") if "##" in source.text else source


def _replace(source: SourceText, pattern: re.Pattern[str], new: Replacement) -> SourceText:
    edits = []
    for match in pattern.finditer(source.text):
        text = new if isinstance(new, str) else new(match)
        if text != match.group():
            start, end = match.span()
            same = 0
            while text[same : same + 1] == match.group()[same : same + 1] != "":
                same += 1
            edits.append((start + same, end, text[same:]))
    return source.edit(edits)


def _decode_entity(match: re.Match[str]) -> str:
    return html.unescape(match.group())


def _in_context(source: SourceText) -> SourceText:
    present = set(source.text)
    for characters, pattern, new in _IN_CONTEXT:
        if not present.isdisjoint(characters):
            replaced = _replace(source, pattern, new)
            if replaced is not source:
                source, present = replaced, set(replaced.text)
    return source


def _fix_mojibake(source: SourceText) -> SourceText:
    if not is_bad(source.text):
        return source

    def fix(match: re.Match[str]) -> str:
        token = match.group()
        return token if token.isascii() or not is_bad(token) else fix_encoding(token)

    return _replace(source, _TOKEN, fix)


def _compose(source: SourceText) -> SourceText:
    """NFC. Marks that no letter of Unicode takes are dropped, and so is a heap of them."""
    source = _replace(source, _CLUSTER, _compose_cluster)
    if unicodedata.is_normalized("NFC", source.text):
        return source
    return _replace(source, _NOT_ASCII, lambda match: unicodedata.normalize("NFC", match.group()))


def _compose_cluster(match: re.Match[str]) -> str:
    letter = unicodedata.normalize("NFC", match.group()[:5])
    return "".join(char for char in letter if not unicodedata.combining(char) and char not in "\u20e3\u20dd")


@lru_cache(maxsize=8192)
def _replacement(char: str) -> str | None:
    """What a character becomes wherever it stands; None where it stays."""
    if " " <= char <= "~":
        return None
    if char in _TABLE:
        return _TABLE[char]
    if char in CJK_PUNCTUATION:
        return None
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    if char in "\x0b\x0c\r\x1c\x1d\x1e\x85" or category in ("Zl", "Zp"):
        return "\n"
    code = ord(char)
    if category in ("Cc", "Cf", "Co", "Cs", "Me") or (category == "Cn" and not 0x1F000 <= code <= 0x1FAFF):
        return ""
    if 0x2500 <= code <= 0x259F:  # boxes and blocks that draw lines
        return " "
    if 0xFE00 <= code <= 0xFE0E or 0xE0100 <= code <= 0xE01EF:
        return ""
    if any(first <= code <= last for first, last in _COMPATIBLE):
        plain = unicodedata.normalize("NFKC", char)
        return plain if plain != char else None
    return None
