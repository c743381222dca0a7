"""Words of our own normaliser as phonemes, past the package's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hibari.g2p import G2P

from serving.models.hibari.spoken import phonemize_words
from serving.text.english import verbalise

SENTENCES = Path(__file__).parents[2] / "speech_sentences.txt"


@pytest.fixture(scope="module")
def g2p() -> G2P:
    return G2P()


def spoken(g2p: G2P, sentence: str) -> str:
    return " ".join(part for word in phonemize_words(g2p, verbalise(sentence)) for part in word)


@pytest.mark.parametrize(
    ("sentence", "phonemes"),
    [
        ("Is it yes or no.", "ˌɪz ɪt jˈɛs ɔɹ nˈO."),
        ("That is the part I like most.", "ðˈæt ɪz ðə pˈɑɹt ˌI lˈIk mˈOst."),
        ("Plug in the USB Type C cable.", "plˈʌɡ ɪn ðə jˌuˌɛsbˈi tˈIp sˈi kˈAbᵊl."),
        ("The FBI, then the CIA.", "ði ˌɛfbˌiˈI, ðˈɛn ðə sˌiˌIˈA."),
        ("Print A4 at 5 p.m.", "pɹˈɪnt ˈA fˈɔɹ æt fˈIv pˌiˈɛm."),
        ("IT IS TIME TO GO.", "ɪt ɪz tˈIm tə ɡˌO."),
        ("The pipe is made of lead.", "ðə pˈIp ɪz mˌAd ʌv lˈɛd."),
        ("Please wind the clock.", "plˈiz wˈInd ðə klˈɑk."),
    ],
)
def test_phonemes_of_words(g2p: G2P, sentence: str, phonemes: str) -> None:
    assert spoken(g2p, sentence) == phonemes


def test_sentences_that_the_package_reads_right_sound_the_same(g2p: G2P) -> None:
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
    changed = [s for s in sentences if spoken(g2p, s) != g2p(s)]
    assert changed == [
        "The train to Manchester leaves at 7:45 in the morning.",  # forty five as two words, as in "45 people"
        "Mr. and Mrs. Johnson bought the house on Baker Street.",  # "missus"
    ]
