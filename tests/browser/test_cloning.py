"""Making a voice of a recording: hidden where the server cannot, and what is sent where it can."""

from __future__ import annotations

import json

from playwright.sync_api import Page, Route

from tests.browser.acting import until
from tests.browser.conftest import OpenPage

RECORDING = {"name": "Åsa läser.wav", "mimeType": "audio/wav", "buffer": b"RIFF not a real one"}
DROP = """(zone) => {
  const data = new DataTransfer();
  data.items.add(new File(["RIFF"], "dropped.wav", { type: "audio/wav" }));
  zone.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def test_a_model_that_cannot_clone_shows_nothing_of_it(open_page: OpenPage) -> None:
    page = open_page()
    assert page.is_hidden("#clone")


def cloning(page: Page, answer: dict[str, object], status: int) -> list[str]:
    """Let the page believe that voices can be added, and answer for the server; returns the bodies it was sent."""
    sent: list[str] = []
    added: list[dict[str, object]] = []

    def voices(route: Route) -> None:
        if route.request.method == "POST":
            sent.append(route.request.post_data_buffer.decode("utf-8"))  # type: ignore[union-attr]
            if status == 201:
                added.append(answer)
            route.fulfill(status=status, body=json.dumps(answer), content_type="application/json")
            return
        told = route.fetch().json()
        told["voices"] += added
        route.fulfill(body=json.dumps(told | {"can_add": True}), content_type="application/json")

    def one_voice(route: Route) -> None:
        sent.append(f"{route.request.method} {route.request.url}")
        added.clear()
        route.fulfill(status=204)

    page.route("**/v1/audio/voices", voices)
    page.route("**/v1/audio/voices/*", one_voice)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    return sent


def test_a_recording_is_sent_only_with_consent(open_page: OpenPage) -> None:
    page = open_page()
    made = {"id": "Åsa", "name": "Åsa", "language": "", "description": "", "deletable": True}
    sent = cloning(page, made, 201)
    assert page.is_visible("#clone")
    page.set_input_files("#clone-file", RECORDING)  # type: ignore[arg-type]
    assert page.input_value("#clone-name") == "Åsa läser"
    page.fill("#clone-name", "Åsa")
    page.click("#clone button[type=submit]")
    assert not sent
    page.check("#clone-consent")
    page.click("#clone button[type=submit]")
    until(page, "document.querySelector('#voice').value === 'Åsa'")
    [body] = sent
    assert 'name="name"\r\n\r\nÅsa\r\n' in body
    assert 'name="consent"\r\n\r\ntrue\r\n' in body
    assert 'name="audio_sample"; filename="Åsa läser.wav"' in body
    assert not page.is_checked("#clone-consent")
    page.click("[aria-label='Delete the voice Åsa']")
    until(page, "document.querySelector('#voice').value === 'heart'")
    assert sent[1].startswith("DELETE ")
    assert sent[1].endswith("/v1/audio/voices/%C3%85sa")


def test_a_recording_can_be_dropped_and_a_refusal_is_said(open_page: OpenPage) -> None:
    page = open_page(allowed="Failed to load resource")
    sent = cloning(page, {"error": {"message": "the recording is silent", "code": "invalid_field"}}, 400)
    page.eval_on_selector("#clone-zone", DROP)
    assert page.input_value("#clone-name") == "dropped"
    page.check("#clone-consent")
    page.click("#clone button[type=submit]")
    until(page, "document.querySelector('#clone-problem').textContent")
    assert page.inner_text("#clone-problem") == "The recording is silent."
    assert len(sent) == 1
    assert page.input_value("#clone-name") == "dropped"
