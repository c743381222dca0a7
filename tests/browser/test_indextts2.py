"""The page with IndexTTS2 of tiny random weights: fields of every kind, and sentences where no words are told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import soundfile

from serving.models.indextts2.options import Fields
from serving.models.indextts2.voice.recordings import built_in_wave
from tests.browser.acting import finished, until, value
from tests.browser.conftest import OpenPage
from tests.e2e.test_indextts2 import SETTINGS
from tests.support import Server, serving


@pytest.fixture(scope="module")
def indextts2_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It speaks noise, of the right length."""
    voices = tmp_path_factory.mktemp("voices")
    for name in ("ann", "ben"):
        soundfile.write(voices / f"{name}.wav", built_in_wave(24_000)[:36_000], 24_000)
    settings = SETTINGS | {"model.options.voices": voices}
    overrides = [part for key, set_to in settings.items() for part in ("--set", f"{key}={set_to}")]
    with serving(tmp_path_factory.mktemp("server"), "--profile", "indextts2-default", *overrides) as started:
        yield started


def test_its_fields_have_controls_and_are_sent(open_page: OpenPage, indextts2_server: Server) -> None:
    page = open_page(server=indextts2_server, allowed="Failed to load resource")
    names = "[...document.querySelectorAll('#own-fields [name]')].map((field) => field.name)"
    # The checkpoint has no model that reads an emotion's text.
    assert page.evaluate(names) == [name for name in Fields.__struct_fields__ if name != "emo_text"]
    assert page.locator("#voice option").all_inner_texts() == ["ann", "ben"]
    assert page.locator("#field-emo_voice option").all_inner_texts()[1:] == ["ann", "ben"]
    page.select_option("#field-emo_voice", label="ben")
    page.fill("#field-emo_vector", "0, 0, 0.5, 0, 0, 0, 0, 0.25")
    page.fill("#field-temperature", "0.5")
    assert '"emo_voice":"ben"' in page.inner_text("#program")
    assert '"emo_vector":[0,0,0.5,0,0,0,0,0.25]' in page.inner_text("#program")
    page.fill("#text", "Hello. And good bye.")
    page.click("#speak")
    finished(page)
    assert value(page, "played") == value(page, "length") > 0
    assert page.locator(".word.said").all_inner_texts() == ["Hello.", "And good bye."]
    page.fill("#field-emo_vector", "1, much")
    page.click("#speak")
    until(page, "document.querySelector('#problem').textContent")
    assert "mo_vector" in page.inner_text("#problem")
