"""Texts that people reported elsewhere, through the whole text frontend: what must be said of each.

`python -m tests.unit.text.test_field_cases` prints the table per class.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from serving.text import foreign_scripts, read
from serving.text.scripts import text_language

HERE = Path(__file__).parent
ELSEWHERE = {
    "browser", "cli-input", "cli-output", "client-json", "edge-silence", "gate-fails-open", "load-report",
    "load-silence", "monitor", "proxy-buffering", "speed-scale", "voice-format", "voice-name-not-latin",
    "voice-silent-head",
}  # fmt: skip
"""Kinds that are no matter of reading a text; tests of HTTP, the command line, the voice and the bench hold them."""


class Case(NamedTuple):
    id: str
    kind: str
    severity: str
    text: str
    languages: tuple[str, ...]
    expected: str

    def spoken(self) -> list[str]:
        language = text_language(self.text, self.languages)
        return [sentence.spoken for sentence in read(self.text, language=language) if sentence.words]


def says(*answers: str) -> Callable[[Case], bool]:
    return lambda case: bare(" ".join(case.spoken())) in map(bare, answers)


def in_sentences(count: int, *answers: str) -> Callable[[Case], bool]:
    return lambda case: len(case.spoken()) == count and says(*answers)(case)


ANSWERS: dict[str, Callable[[Case], bool]] = {
    "indextts2-english-crash-01": in_sentences(2, "First paragraph. Second paragraph."),
    "indextts2-english-crash-03": says("It rose by plus five points."),
    "indextts2-english-crash-05": says("It costs fifteen euros online."),
    "indextts2-english-crash-06": says("It fell to minus five degrees."),
    "indextts2-english-crash-08": says("Getting started"),
    "indextts2-english-crash-10": says("Hello there."),
    "long-number-crash-01": says("The key is " + "seven " * 38 + "ok."),
    "long-number-crash-03": says("one " * 40),
    "trailing-zero-01": says("python three point ten is required", "python three point one zero is required"),
    "trailing-zero-03": says("it needs go one point twenty or later"),
    "code-digits-06": says("Transfer to four " + "one " * 15 + "now."),
    "indextts2-a4-chinese-01": says("Print it on A four paper, it costs five dollars and takes ten minutes."),
    "indextts2-a4-chinese-03": says("Gate E five opens at ten thirty."),
    "indextts2-a4-chinese-05": says("The minutes of A two show thirty seconds."),
    "indextts2-english-words-01": says("Music of the nineteen nineties is back."),
    "indextts2-english-words-03": says(
        "It costs one thousand two hundred fifty dollars and fifty cents today."
    ),
    "indextts2-english-words-05": says("It's been a long day.", "It has been a long day."),
    "indextts2-english-words-06": says("bold words here"),
    "indextts2-chinese-words-01": says("公司电话：零五五幺五五五零幺九九"),
    "indextts2-chinese-words-03": says("这台冰箱卖两千四百九十九元"),
    "indextts2-chinese-words-05": says("桃、李", "桃或李"),
    "indextts2-chinese-words-06": says("今天真好"),
    "newline-pause-01": in_sentences(1, "The old mill stood by the river and nobody went there."),
    "newline-pause-03": in_sentences(1, "Thank you for the report on the harbor."),
    "split-before-number-03": in_sentences(1, "Her Sonata Number eight is famous."),
    "abbrev-pause-01": in_sentences(1, "He joined the U S Army in May."),
    "abbrev-pause-03": in_sentences(1, "The U N Security Council met."),
    "abbrev-pause-05": in_sentences(1, "It was Spain versus Italy again."),
    "unicode-05": says("Take at least five samples."),
    "foreign-dropped-01": lambda case: (
        says("Say to Li.")(case) and foreign_scripts(case.text, "en") == ("Han",)
    ),
    "foreign-dropped-03": lambda case: (
        not case.spoken() and foreign_scripts(case.text, "en") == ("Cyrillic",)
    ),
    "symbol-06": says("I love you", "I heart you"),
    "heteronym-01": says("The pipe is made of led"),
}
"""Where the case does not write out the words, or allows several."""


def bare(text: str) -> str:
    """Small letters, without punctuation."""
    return " ".join(re.sub(r"[^\w' ]+", " ", text.lower().replace("’", "'")).split())


def cases() -> list[Case]:
    found = []
    for line in (HERE / "field_cases.jsonl").read_text(encoding="utf-8").splitlines():
        case: dict[str, Any] = json.loads(line)
        if case["kind"] not in ELSEWHERE:
            languages = ("zh", "en") if case["kind"].startswith("indextts2-") else ("en",)
            text = case["request"]["body"]["text"]
            found.append(Case(case["id"], case["kind"], case["severity"], text, languages, case["expected"]))
    return found


def is_right(case: Case) -> bool:
    answer = ANSWERS.get(case.id) or says(re.sub(r"\(.*?\)", "", case.expected.removeprefix("spoken:")))
    return answer(case)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_field_case(case: Case) -> None:
    assert is_right(case), case.spoken()


def main() -> None:
    counts: Counter[tuple[str, bool]] = Counter((case.kind, is_right(case)) for case in cases())
    for kind in sorted({kind for kind, _ in counts}):
        right, wrong = counts[kind, True], counts[kind, False]
        print(f"{kind:28} {right:3} of {right + wrong}")
    right = sum(count for (_, good), count in counts.items() if good)
    print(f"{'all':28} {right:3} of {counts.total()}")


if __name__ == "__main__":
    main()
