"""What admission expects of a text is near what is spoken of it."""

from __future__ import annotations

import pytest

from serving.text import read
from serving.text.words import spoken_characters


@pytest.mark.parametrize(
    "text",
    [
        "The harbour was quiet when the first boats came home, and nobody spoke.",
        "4091238475" * 20,
        "It was 12% more in 1999, or $3,400 & 5 cents.",
        "One, 2, three, 4; five: 6.",
    ],
)
def test_it_is_near_the_words_that_are_spoken(text: str) -> None:
    spoken = sum(len(sentence.spoken) for sentence in read(text))
    assert spoken_characters(text) == pytest.approx(spoken, rel=0.35)


def test_a_character_of_a_syllable_counts_for_three() -> None:
    assert spoken_characters("你好。") == 7
