"""Characters of Chinese text, one for one: traditional to simplified, full width to half."""

from __future__ import annotations

import logging
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
"""For a class of a regular expression."""

_WIDE_MARKS = "！（），：；？～"
"""Of full width too, but punctuation: left to the model."""
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in _WIDE_MARKS}
_HAN = re.compile(f"[{HAN}]")


class _Table(dict[int, int]):
    """For str.translate; looks a character up when it is met for the first time."""

    def __missing__(self, code: int) -> int:
        self[code] = found = _simplified(chr(code)) if _HAN.match(chr(code)) else _WIDE.get(code, code)
        return found


_TABLE = _Table()


def simplify(text: str) -> str:
    """The text, as long as before, in simplified characters and Latin letters, digits and signs of half width."""
    return text if text.isascii() else text.translate(_TABLE)


def _simplified(char: str) -> int:
    found: str = _grammar()(char)
    return ord(found) if len(found) == 1 else ord(char)


@cache
def _grammar() -> Any:
    """The table of wetext, which is that of the official package. To import wetext itself would load all its
    grammars, for more than a second. Without the package every character stays as it is.
    """
    wetext = find_spec("wetext")
    if wetext is None or wetext.origin is None:
        logger.warning("traditional characters stay as written: pip install 'tts-serving[indextts2]'")
        return str
    from kaldifst import TextNormalizer

    return TextNormalizer(str(Path(wetext.origin).with_name("fsts") / "traditional_to_simple.fst"))
