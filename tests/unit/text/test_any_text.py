"""Any text, as a client may send it, through the whole frontends of both models: words, or a refusal that says why.

`TEXTS=10000 pytest tests/unit/text/test_any_text.py` tries 10,000 texts of each kind, drawn anew each time; without it
300 are tried, the same ones.
"""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.models import load_frontend
from serving.models.base import Frontend
from serving.profile import ModelProfile, Profile, TextProfile
from serving.protocol import InputError
from serving.request import dropped_scripts, parse, sentences

pytestmark = pytest.mark.slow

FORMATS = ("auto", "plain", "markdown", "html", "ssml-lite")
MODELS: dict[str, dict[str, Any]] = {"hibari": {}, "indextts2": {"weights": "random", "size": "tiny"}}
MAX_CHARS = 5000
COUNT = int(os.environ.get("TEXTS", "300"))
SIGNS = "0123456789.,:;/-–—−+*#_`~|\\\"'’<>[](){}&@%$€£¥°²½①…"
SIGNS += "。，！？、　\n\r\t\0\ufeff\u200b\u00ad\u0301\ufe0f\x85\u2028"
MUTATIONS = (
    *SIGNS, "U.S. ", "No. ", "Dr. ", "\r\n", "\n\n", "- ",
    "# ", "> ", "1. ", "```\n", "**", "](", "[a](/b/)", "[pause 1s]", "<b>", "</b>", "<!--",
    "-->", "<script>", "<break time='1s'/>", "<say-as interpret-as='digits'>", "<sub alias='b'>", "&amp;", "&#39;",
    "&#x", "--> ", "00:00:01,000 --> 00:00:02,000\n", "\\n", "{\\an8}", "[1]: http://a.b\n", "http://", "@b.com",
    "1e400", "9" * 41, "²³", "٣", "१", "中", "ni3hao3", "Привет", "π", "😀", "👨\u200d👩\u200d👧",
    "🇺🇸", "â€™", "\U000e0041", "ﬁ", "Ⅳ",
)  # fmt: skip

field_texts = [
    text
    for line in (Path(__file__).parent / "field_cases.jsonl").read_text(encoding="utf-8").splitlines()
    if (text := (json.loads(line)["request"].get("body") or {}).get("text"))
]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A text of the field, or two of them, with characters deleted, doubled, swapped, replaced and put in."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    text = "".join(chance.choice(field_texts) for _ in range(chance.choice((1, 1, 2))))
    for _ in range(chance.randint(1, 12)):
        start, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        end = min(end, start + chance.choice((0, 0, 1, 4, 20)))
        put = chance.choice(("", text[start:end] * 2, text[start:end][::-1], *[chance.choice(MUTATIONS)] * 5))
        text = text[:start] + put * chance.choice((1, 1, 1, 3)) + text[end:]
    return text or "."


texts = st.one_of(
    mutated(),
    st.lists(st.sampled_from(MUTATIONS), min_size=1, max_size=60).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
)


@pytest.fixture(scope="module", params=MODELS)
def frontend(request: pytest.FixtureRequest) -> Frontend:
    return load_frontend(
        Profile(name="test", model=ModelProfile(name=request.param, options=MODELS[request.param]))
    )


@pytest.fixture(scope="module")
def unreadable() -> Iterator[list[logging.LogRecord]]:
    """What the words steps report where they give up and speak a sentence as it is written."""
    records: list[logging.LogRecord] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Recorder()
    logging.getLogger("serving.text").addHandler(handler)
    yield records
    logging.getLogger("serving.text").removeHandler(handler)


@settings(
    max_examples=COUNT,
    deadline=None,
    derandomize="TEXTS" not in os.environ,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(
    text=texts,
    text_format=st.sampled_from(FORMATS),
    normalize=st.sampled_from((True, True, True, False)),
    by_sentence=st.booleans(),
)
def test_any_text_is_spoken_or_refused(
    frontend: Frontend,
    unreadable: list[logging.LogRecord],
    text: str,
    text_format: str,
    normalize: bool,
    by_sentence: bool,
) -> None:
    fields = {"text": text, "text_format": text_format, "normalize": normalize, "seed": 1}
    body = json.dumps(fields | {"timestamps": "sentence" if by_sentence else "none"}).encode()
    refused = None
    segments = []
    try:
        order = parse(body, frontend.spec, MAX_CHARS)
        dropped_scripts(order, frontend.spec)
        spoken = sentences(order, frontend.spec, TextProfile(), None)
        segments = list(frontend.segments(spoken, order.params))
    except InputError as error:
        refused = error.field
    assert not unreadable
    assert bool(segments) != (refused == "text")
    assert [segment.index for segment in segments] == list(range(len(segments)))
    assert all(0 <= segment.start <= segment.end <= len(text) for segment in segments)
    assert all(first.start <= second.start for first, second in pairwise(segments))
