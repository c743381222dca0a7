"""Whether a request was right, read again as it was sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.fuzz import judge
from bench.fuzz.recordings import VOICE, recording
from serving.http.schema import voice_operation
from tests.fuzz.servers import BATCH, BODIES, FORMATS, ITEM

FORM = voice_operation()(operation_id="x").to_schema()["requestBody"]["content"][judge.FORM]["schema"]
SPOKEN = recording(4.0, 220)
FORM_FORMATS = {"consent": judge.consent, "recording": judge.digest(SPOKEN).__eq__}


@pytest.mark.parametrize(
    "body", [{"input": "x"}, {"input": "x", "voice": VOICE}, {"input": "€"}, {"input": "日"}]
)
def test_right(body: dict[str, Any]) -> None:
    assert judge.Reader(ITEM, FORMATS).is_valid(judge.read(json.dumps(body).encode(), judge.JSON))


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"input": 3},
        {"input": "?! ..."},
        {"input": "x" * 5001},
        {"input": "x", "voice": "nobody"},
        {"input": "x", "voice": VOICE, "speaker": {"id": "nobody"}},
        {"input": "x", "speed": 4.1},
        {"input": "x", "response_format": "opus", "sample_rate_hz": 8000},
    ],
)
def test_wrong(body: object) -> None:
    assert not judge.Reader(ITEM, FORMATS).is_valid(judge.read(json.dumps(body).encode(), judge.JSON))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", judge.JSON),
        (b"{", judge.JSON),
        (b'{"input": NaN}', judge.JSON),
        (b'{"input": "x", "input": "y"}', judge.JSON),
        (b"\xff", judge.JSON),
        (b'{"input": "x"}', "text/plain"),
        (b"--a\r\n", f"{judge.FORM}; boundary=a"),
    ],
)
def test_of_what_cannot_be_read_nothing_is_said(body: bytes, kind: str) -> None:
    with pytest.raises(judge.Undecided):
        judge.read(body, kind)


def form(**fields: str | bytes) -> Any:
    """A form as it comes out of a request; bytes are a file."""
    parts = []
    for name, value in fields.items():
        file = '; filename="a"' if isinstance(value, bytes) else ""
        content = value if isinstance(value, bytes) else value.encode()
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return judge.read(b"".join(parts) + b"--b--\r\n", f"{judge.FORM}; boundary=b")


def test_a_form() -> None:
    reader = judge.Reader(FORM, FORM_FORMATS)
    right: dict[str, str | bytes] = {"name": "Zoë", "audio_sample": SPOKEN, "consent": "Vertrag 9"}
    assert reader.is_valid(form(**right))
    assert reader.is_valid(form(**right, other="x", replace="true"))
    wrong: list[dict[str, str | bytes]] = [
        {"audio_sample": SPOKEN[:-1]},
        {"consent": "No"},
        {"consent": " "},
        {"consent": "a\nb"},
        {"name": "-x"},
        {"replace": "maybe"},
    ]
    for changed in wrong:
        assert not reader.is_valid(form(**{**right, **changed})), changed
    assert not reader.is_valid(form(name="x", consent="true"))
    assert judge.read(TWICE, f"{judge.FORM}; boundary=b") == {"tag": ["a", "b"]}


PART = b'--b\r\nContent-Disposition: form-data; name="tag"\r\n\r\n'
TWICE = PART + b"a\r\n" + PART + b"b\r\n--b--\r\n"


def test_a_character_of_a_later_unicode() -> None:
    assert judge.is_unassigned("O\u20f9")
    assert not judge.is_unassigned("Zoë ƨĿ 明\u0301")


def misjudged(results: list[str], *items: object, **shared: object) -> list[str]:
    told = [
        {"index": index, "status": status, "error_status": 400, "error": "wrong"}
        for index, status in enumerate(results)
    ]
    return judge.items_misjudged({"items": list(items), **shared}, told, BODIES[BATCH], FORMATS)


def test_items_of_a_batch() -> None:
    right, wrong = {"input": "hello", "speed": None}, {"input": "hello", "speed": 9}
    assert not misjudged(["success", "error", "error"], right, wrong, "hello")
    assert misjudged(["success"], wrong) == ["items[0] is wrong and was spoken"]
    assert misjudged(["error"], right) == ["items[0] is right and was refused: wrong"]
    assert misjudged(["success"], right, right) == ["2 items, and results of [0]"]
    assert not misjudged(["error"], {"input": "?!"}), "marks alone"
    assert not misjudged(["error"], {"input": "日本"}), "a voice may not speak it"
    assert not misjudged(["success"], {"input": "日本"}), "and another may"


def test_an_item_is_judged_with_what_holds_for_all() -> None:
    opus = {"response_format": "opus"}
    assert misjudged(["success"], {"input": "x", **opus}, sample_rate_hz=8000)
    assert not misjudged(["success"], {"input": "x", **opus, "sample_rate_hz": 48000}, sample_rate_hz=8000)


def test_a_field_that_is_no_text_hides_no_other() -> None:
    parts = (b'name="name"\r\n\r\n\xe2\x83\xb5', b'name="other"\r\n\r\n\xf2\x8f')
    body = b"".join(b"--x\r\nContent-Disposition: form-data; %s\r\n" % part for part in parts) + b"--x--\r\n"
    found = judge.read(body, "multipart/form-data; boundary=x")
    assert judge.is_unassigned(found["name"])
    with pytest.raises(judge.Undecided):
        judge.Reader({"type": "object", "properties": {"other": {"type": "string"}}}, {}).is_valid(found)
