"""A voice made in the browser from a recording, spoken with, and deleted: IndexTTS2 of tiny random weights."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import soundfile

from serving.models.indextts2.voice.recordings import built_in_wave
from tests.browser.acting import finished, until, value
from tests.browser.conftest import OpenPage
from tests.e2e.test_indextts2 import SETTINGS
from tests.support import Server, serving


@pytest.fixture(scope="module")
def cloning_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Speaks noise, clones truly."""
    folder = tmp_path_factory.mktemp("voices")
    soundfile.write(folder / "ann.wav", built_in_wave(24_000)[:36_000], 24_000)
    settings = SETTINGS | {"model.options.voices": folder}
    with serving(
        tmp_path_factory.mktemp("cloning"),
        "--profile",
        "indextts2-default",
        *(part for key, set_to in settings.items() for part in ("--set", f"{key}={set_to}")),
        ready_s=240,
    ) as started:
        yield started


def recording() -> bytes:
    wave = io.BytesIO()
    soundfile.write(wave, built_in_wave(24_000), 24_000, format="WAV")
    return wave.getvalue()


def test_a_voice_is_added_spoken_with_and_deleted(open_page: OpenPage, cloning_server: Server) -> None:
    page = open_page(server=cloning_server)
    assert page.is_visible("#clone")
    before = page.locator("#voice option").all_inner_texts()
    page.set_input_files("#clone-file", {"name": "me.wav", "mimeType": "audio/wav", "buffer": recording()})
    page.fill("#clone-name", "Åsa")
    page.check("#clone-consent")
    page.click("#clone button[type=submit]")
    until(
        page,
        "document.querySelector('#voice').value === 'Åsa' || document.querySelector('#clone-problem').textContent",
    )
    assert page.inner_text("#clone-problem") == ""
    page.fill("#text", "Hello.")
    page.click("#speak")
    finished(page)
    assert value(page, "played") == value(page, "length") > 0
    page.click("[aria-label='Delete the voice Åsa']")
    until(page, "document.querySelector('#voice').value !== 'Åsa'")
    assert page.locator("#voice option").all_inner_texts() == before


def test_a_recording_that_is_none_is_refused_in_words(open_page: OpenPage, cloning_server: Server) -> None:
    page = open_page(server=cloning_server, allowed="Failed to load resource")
    page.set_input_files(
        "#clone-file", {"name": "me.wav", "mimeType": "audio/wav", "buffer": b"\x89PNG\r\n\x1a\n" * 100}
    )
    page.check("#clone-consent")
    page.click("#clone button[type=submit]")
    until(page, "document.querySelector('#clone-problem').textContent")
    assert len(page.inner_text("#clone-problem")) > 10
