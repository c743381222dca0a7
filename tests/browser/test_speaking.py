"""The page at /: it speaks, shows what it measures, lights the words, and says what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.browser.acting import finished, heard, until, value
from tests.browser.conftest import OpenPage
from tests.support import Server, engine_pid, serving

TEXT = "Dr. Lee paid $5. Then she left, and nobody spoke."
LONG = "The harbour was quiet when the first boats came home. " * 90
RATE_HZ = 24_000
REFUSED = "Failed to load resource"
"""What the browser writes to its console for an answer of 400 and above."""

WATCH_WORDS = """
window.lit = [];
new MutationObserver((changes) => {
  for (const { target } of changes) {
    if (target.classList.contains("now") && window.lit.at(-1) !== target.textContent) {
      window.lit.push(target.textContent);
    }
  }
}).observe(document.getElementById("reading"), { subtree: true, attributeFilter: ["class"] });
"""


@pytest.fixture(scope="module")
def slow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Beeps, slowly: each step takes longer than the first window of sound lasts; a second request is refused."""
    settings = [
        "model.name=tests.faulty_tone",
        "model.options.step_s=0.6",
        "admission.max_requests=1",
    ]
    with serving(
        tmp_path_factory.mktemp("slow"), *(part for key in settings for part in ("--set", key))
    ) as started:
        yield started


def stats(server: Server) -> dict[str, Any]:
    return dict(httpx.get(f"{server.base_url}/stats").json())


def test_every_sample_is_played_and_every_figure_is_shown(open_page: OpenPage, voice_server: Server) -> None:
    page = open_page()
    page.fill("#text", TEXT)
    page.click("#speak")
    finished(page)
    body = {"text": TEXT, "format": "pcm", "timestamps": "none"}
    made = len(httpx.post(f"{voice_server.base_url}/tts", json=body, timeout=60).content) // 2
    assert made > RATE_HZ
    assert value(page, "played") == made
    assert value(page, "length") == made
    assert value(page, "underruns") >= 0
    assert value(page, "buffer") == 0
    assert 0 < value(page, "first-byte") < value(page, "first-sound") < 10_000
    assert 0 < value(page, "factor") < 1
    for element in ("first-byte", "first-sound", "factor", "buffer", "underruns", "played"):
        assert any(character.isdigit() for character in page.inner_text(f"#{element}")), element
    assert page.inner_text("#problem") == ""
    painted = "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((byte) => byte)"
    assert page.eval_on_selector("#wave", painted)
    assert page.evaluate("window.lastSoundMs > 0")


def test_words_are_lit_in_the_order_in_which_they_are_spoken(
    open_page: OpenPage, voice_server: Server
) -> None:
    page = open_page()
    text = "Ünïque 🎉 words, $5 and Dr. Lee: all are lit. Even these?"
    page.evaluate(WATCH_WORDS)
    page.fill("#text", text)
    page.click("#speak")
    finished(page)
    body = {"text": text, "timestamps": "word"}
    told = httpx.post(f"{voice_server.base_url}/tts/captions", json=body, timeout=60).json()["sentences"]
    words = [word["text"] for sentence in told for word in sentence["words"]]
    assert len(words) > 6
    assert page.evaluate("window.lit") == words
    assert page.text_content("#reading") == text
    assert page.locator(".word.said").count() == len(words)


def test_stop_silences_within_100_ms_and_frees_the_slot(open_page: OpenPage, voice_server: Server) -> None:
    page = open_page()
    page.fill("#text", LONG)
    before = stats(voice_server)["requests"]["aborted"]
    page.click("#speak")
    heard(page, RATE_HZ // 2)
    after_ms = page.evaluate(
        """async () => {
          const stopped = performance.now();
          document.getElementById("stop").click();
          await new Promise((resolve) => setTimeout(resolve, 600));
          return window.lastSoundMs - stopped;
        }"""
    )
    assert after_ms < 100
    played = value(page, "played")
    assert page.is_disabled("#stop")
    now = stats(voice_server)
    assert now["requests"]["aborted"] == before + 1
    assert now["slots_used"] == 0
    page.wait_for_timeout(300)
    assert value(page, "played") == played
    page.fill("#text", "Again.")
    page.click("#speak")
    finished(page)
    assert 0 < value(page, "played") < 5 * RATE_HZ


def test_a_second_request_takes_the_place_of_the_first(open_page: OpenPage) -> None:
    page = open_page()
    page.fill("#text", LONG)
    page.click("#speak")
    heard(page, RATE_HZ // 4)
    page.fill("#text", "Only this.")
    page.click("#speak")
    finished(page)
    assert page.text_content("#reading") == "Only this."
    assert value(page, "played") == value(page, "length") < 5 * RATE_HZ


def test_an_underrun_is_counted_and_nothing_is_lost(open_page: OpenPage, slow_server: Server) -> None:
    page = open_page(server=slow_server)
    page.fill("#text", "one two three four five six seven eight nine ten " * 3)
    page.click("#speak")
    finished(page)
    assert value(page, "underruns") > 0
    assert value(page, "played") == value(page, "length") > 0


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        ("text.value = ' '", "there is nothing to say"),
        ("voice.append(new Option('nobody', 'nobody')); voice.value = 'nobody'", "no voice is called"),
        ("text.value = 'far too much '.repeat(1000)", "the limit is 5000"),
    ],
)
def test_a_refusal_is_said_in_words(open_page: OpenPage, prepare: str, said: str) -> None:
    page = open_page(allowed=REFUSED)
    page.evaluate(
        f"const [text, voice] = ['text', 'voice'].map((id) => document.getElementById(id)); {prepare}"
    )
    page.click("#speak")
    until(page, "document.querySelector('[role=alert]').textContent")
    assert said in page.inner_text("#problem")
    assert page.is_disabled("#stop")
    page.select_option("#voice", "heart")
    page.fill("#text", "Better.")
    page.click("#speak")
    finished(page)
    assert page.inner_text("#problem") == ""


def test_a_server_that_is_too_busy_says_when_to_come_again(open_page: OpenPage, slow_server: Server) -> None:
    page = open_page(server=slow_server, allowed=REFUSED)
    with httpx.stream("POST", f"{slow_server.base_url}/tts/stream", json={"text": LONG}, timeout=60):
        page.click("#speak")
        until(page, "document.querySelector('#problem').textContent")
    assert "Try again in" in page.inner_text("#problem")


def test_an_engine_that_dies_breaks_the_answer_off(open_page: OpenPage, slow_server: Server) -> None:
    page = open_page(server=slow_server, allowed="ERR_")
    page.fill("#text", "one two three four five six seven eight nine ten " * 6)
    page.click("#speak")
    heard(page, 100)
    psutil.Process(engine_pid(slow_server.pid)).kill()
    until(page, "document.querySelector('#problem').textContent")
    assert "broke off" in page.inner_text("#problem")
    assert page.is_disabled("#stop")


def test_a_server_that_is_gone_cannot_be_reached(open_page: OpenPage, tmp_path: Path) -> None:
    with serving(tmp_path, "--set", "model.name=tone") as server:
        page = open_page(server=server, allowed=REFUSED)
        server.stop()
        page.click("#speak")
        until(page, "document.querySelector('#problem').textContent")
        assert "cannot be reached" in page.inner_text("#problem")


def test_fields_are_those_that_the_model_declares(open_page: OpenPage, slow_server: Server) -> None:
    own = "[...document.querySelectorAll('#own-fields [name]')].map((field) => field.name)"
    page = open_page()
    assert page.evaluate(own) == ["speed"]
    assert page.get_attribute("#field-speed", "min") == "0.5"
    assert page.get_attribute("#field-speed", "max") == "2"
    page.fill("#text", TEXT)
    page.click("#speak")
    finished(page)
    slow = value(page, "length")
    page.fill("#field-speed", "2")
    page.click("#speak")
    finished(page)
    assert value(page, "length") < 0.7 * slow
    page.click("#reset")
    assert page.input_value("#field-speed") == "1"
    other = open_page(server=slow_server)
    assert "speed" not in other.evaluate(own)


def test_history_outlives_a_reload_is_bounded_and_can_be_cleared(open_page: OpenPage) -> None:
    page = open_page()
    for number in (1, 2):
        page.fill("#text", f"Number {number}.")
        page.fill("#field-speed", str(number))
        page.click("#speak")
        finished(page)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.locator("#history span").all_inner_texts() == ["Number 2.", "Number 1."]
    page.click("#history button >> nth=0")
    assert (page.input_value("#text"), page.input_value("#field-speed")) == ("Number 2.", "2")
    page.evaluate(
        """async () => {
          const history = await import("/page/history.js");
          for (let i = 0; i < 50; i += 1) history.remember({ text: "x".repeat(5000) + i, voice: "heart" });
        }"""
    )
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.locator("#history li").count() == 20
    page.click("#forget")
    assert page.locator("#history li").count() == 0
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.locator("#history li").count() == 0


def test_a_history_that_another_program_wrote_is_no_trouble(open_page: OpenPage) -> None:
    page = open_page()
    for kept in ("{", "null", "[null, 3, {}]", '{"body": 1}'):
        page.evaluate("(kept) => localStorage.setItem('tts-serving.history', kept)", kept)
        page.reload()
        page.wait_for_selector("body[data-ready]")
        assert page.locator("#history li").count() == 0


def test_a_download_is_what_tts_answers(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    page.fill("#text", "Take this with you.")
    page.select_option("#format", "flac")
    with page.expect_download() as downloading:
        page.click("#download")
    assert downloading.value.suggested_filename == "speech.flac"
    downloading.value.save_as(tmp_path / "speech.flac")
    assert (tmp_path / "speech.flac").read_bytes()[:4] == b"fLaC"
