"""Spanish, Japanese and Arabic: which one a text is in, and its numbers in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.text import read
from serving.text.scripts import text_language

FIVE = ("zh", "en", "ja", "es", "ar")


def spoken(text: str, language: str) -> str:
    return " ".join(sentence.spoken for sentence in read(text, language=language))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello there.", "en"),
        ("The café of El Niño is open, and it is full.", "en"),
        ("I said こんにちは to him and he left the room.", "en"),
        ("你好，世界。", "zh"),
        ("鲜の每日优质水果店今天开业了。", "zh"),
        ("今日はいい天気です。", "ja"),
        ("新しいiPhoneを買った。", "ja"),
        ("Buenos días, me llamo Ana.", "es"),
        ("¡Taxi!", "es"),
        ("مرحبا بكم في Google.", "ar"),
        ("1234", "zh"),
    ],
)
def test_a_text_tells_its_language(text: str, language: str) -> None:
    assert text_language(text, FIVE) == language
    assert text_language(text, ("en",)) == "en", "a voice of one language reads everything in it"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("El 25 % de 1.204,5 km.", "El veinticinco por ciento de mil doscientos cuatro coma cinco kilómetros."),
        ("Cuesta $3,50 o 21 € o 1 €.", "Cuesta tres dólares con cincuenta o veintiún euros o un euro."),
        ("El 5/3/2026 a las 14:30.", "El cinco de marzo de dos mil veintiséis a las catorce y treinta."),
        ("El 2.º piso, la 3ª puerta, B2 y -5 °C.", "El segundo piso, la tercera puerta, B dos y menos cinco grados."),
        ("Llama al 91 123 45 67.", "Llama al nueve uno, uno dos tres, cuatro cinco, seis siete."),
        ("2.000.000 de años", "dos millones de años"),
    ],
)  # fmt: skip
def test_spanish(text: str, words: str) -> None:
    assert spoken(text, "es") == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026/11/30の14:30に", "二千二十六年十一月三十日の十四時三十分に"),
        ("¥1,500で3.5kmを25%割引", "千五百円で三点五キロメートルを二十五パーセント割引"),
        ("電話は03-1234-5678", "電話は零三の一二三四の五六七八"),
        ("３個と-5℃", "三個とマイナス五度"),
    ],
)
def test_japanese(text: str, words: str) -> None:
    assert spoken(text, "ja") == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("اشترى ٢٥ كتابا", "اشترى خمسة وعشرون كتابا"),
        ("25% من 3.5", "خمسة وعشرون بالمئة من ثلاثة فاصلة خمسة"),
        ("في 30/11/2026", "في ثلاثون نوفمبر ألفان وستة وعشرون"),
    ],
)
def test_arabic(text: str, words: str) -> None:
    assert spoken(text, "ar") == words


@pytest.mark.parametrize("language", ["es", "ja", "ar"])
@given(text=st.text(alphabet="0123456789.,:/-+%€$¥ºª ٣كم円年abñkm°C\n", max_size=60))
def test_no_text_is_too_odd_and_words_come_in_order(language: str, text: str) -> None:
    for sentence in read(text, language=language):
        ends = [0]
        for word in sentence.words:
            assert sentence.start <= word.start <= word.end <= sentence.end
            assert word.start >= ends[-1]
            ends.append(word.end)
