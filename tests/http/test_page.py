"""The web pages as files: types, headers, caching, and what they are told of the model and of the reports."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from serving.http.app import create_app
from serving.http.page import reports
from serving.http.page.files import PAGES, STATIC, declaration
from serving.models import load_frontend
from serving.models.indextts2.options import Fields
from serving.profile import load_profile
from tests.support import Api, running, tone_profile

pytestmark = pytest.mark.slow

TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = sorted(path.name for path in STATIC.iterdir())


@pytest.mark.parametrize("path", [*PAGES, *(f"/page/{name}" for name in FILES)])
async def test_a_file_is_sent_with_its_type_and_a_strict_policy(api: Api, path: str) -> None:
    file = STATIC / (PAGES.get(path) or path.rsplit("/", 1)[1])
    answer = await api.call("GET", path, b"", ())
    assert answer.status == 200
    assert answer.body == file.read_bytes()
    assert answer.headers["content-type"].split(";")[0] == TYPES[file.suffix]
    assert answer.headers["content-type"].count("charset") <= 1
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "//" not in policy


async def test_a_browser_asks_whether_a_file_is_still_the_same(api: Api) -> None:
    first = await api.call("GET", "/", b"", ())
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"].encode()
    for known in (tag, b"W/" + tag, b'"other", ' + tag, b"*"):
        again = await api.call("GET", "/", b"", ((b"if-none-match", known),))
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag.decode())
    other = await api.call("GET", "/", b"", ((b"if-none-match", b'"other"'),))
    assert (other.status, other.body) == (200, first.body)


async def test_other_methods_and_other_names_are_refused(api: Api) -> None:
    assert (await api.call("HEAD", "/", b"", ())).status == 200
    for path in PAGES:
        assert (await api.call("POST", path, b"{}")).status == 405
    for path in ("/page/nothing.js", "/page/../files.py", "/page/files.py", "/page/", "/index.html"):
        answer = await api.call("GET", path, b"", ())
        assert answer.status == 404
        assert answer.problem["code"] == "not_found"


def test_pages_name_no_other_host_and_hold_no_script() -> None:
    for name in FILES:
        text = (STATIC / name).read_text(encoding="utf-8")
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=\"|style=\"|<style", text), name
        assert len(text.splitlines()) <= 350, name


async def test_the_form_knows_what_the_model_declares(api: Api) -> None:
    told = (await api.call("GET", "/page/model.json", b"", ())).json
    assert told["model"] == "tone"
    assert list(told["fields"]) == ["max_text_tokens_per_segment"]
    assert told["fields"]["max_text_tokens_per_segment"]["maximum"] == 600
    assert "seed" not in told["shared"], "the model has no use for it"
    assert {"text", "voice", "format", "timestamps"}.isdisjoint(told["shared"])


def test_fields_that_hold_a_voice_say_so() -> None:
    """An emotion's voice of IndexTTS2, without its checkpoint: the declaration alone."""
    spec = load_frontend(load_profile("default", environ={})).spec
    told = declaration(msgspec.structs.replace(spec, fields=Fields), 100)
    assert list(told["fields"]) == list(Fields.__struct_fields__)
    assert told["fields"]["emo_voice"]["anyOf"][0]["format"] == "voice"
    assert told["timestamps"] == "word"
    assert "seed" in told["shared"]


# ---- reports -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two reports, and beside them what must not be seen."""
    kept = tmp_path / "reports"
    for name, file, content in (
        ("2026-01 old", "run.json", '{"old": 1}'),
        ("2026-02 newer ü", "run.json", '{"new": 1}'),
        ("2026-02 newer ü", "run.html", "<script>alert(1)</script>"),
        ("2026-02 newer ü", "run.md", "# Run"),
        ("2026-02 newer ü", "secret.txt", "no report"),
        ("empty", "nothing.txt", "no report"),
    ):
        (kept / name).mkdir(parents=True, exist_ok=True)
        (kept / name / file).write_text(content, encoding="utf-8")
    (tmp_path / "outside.json").write_text("{}", encoding="utf-8")
    (kept / "loose.json").write_text("{}", encoding="utf-8")
    (kept / "2026-01 old" / "link.json").symlink_to(tmp_path / "outside.json")
    (kept / "linked").symlink_to(kept / "2026-01 old")
    os.mkfifo(kept / "2026-01 old" / "pipe.json")
    return kept


@pytest_asyncio.fixture
async def bench(folder: Path) -> AsyncIterator[Api]:
    """The application with these reports; its engine need not be ready."""
    async with running(create_app(tone_profile(f"http.reports={folder}"))) as started:
        yield started


async def test_reports_are_listed_last_name_first(bench: Api) -> None:
    told = (await bench.call("GET", "/bench/reports", b"", ())).json
    assert [(one["name"], [file["name"] for file in one["files"]]) for one in told["reports"]] == [
        ("2026-02 newer ü", ["run.html", "run.json", "run.md"]),
        ("2026-01 old", ["run.json"]),
    ]


async def test_a_report_is_sent_as_a_picture(bench: Api) -> None:
    found = await bench.call("GET", "/bench/reports/2026-02 newer ü/run.json", b"", ())
    assert (found.status, found.json) == (200, {"new": 1})
    page = await bench.call("GET", "/bench/reports/2026-02 newer ü/run.html", b"", ())
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none';")
    assert "script-src" not in page.headers["content-security-policy"]
    text = await bench.call("GET", "/bench/reports/2026-02 newer ü/run.md", b"", ())
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "../outside.json",
        "..%2f/outside.json",
        "./loose.json",
        "2026-01 old/../../outside.json",
        "2026-01 old/..\\outside.json",
        "2026-01 old/link.json",
        "2026-01 old/pipe.json",
        "linked/run.json",
        "2026-02 newer ü/secret.txt",
        "empty/nothing.txt",
        "2026-01 old/run.json\x00",
        "/etc/passwd",
        "2026-01 old/",
        "nothing/run.json",
    ],
)
async def test_what_is_not_listed_is_not_sent(bench: Api, path: str) -> None:
    answer = await bench.call("GET", f"/bench/reports/{path}", b"", ())
    assert answer.status == 404
    assert answer.problem["code"] == "not_found"


async def test_a_file_that_is_too_large_is_refused(bench: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_FILE_BYTES", 9)
    answer = await bench.call("GET", "/bench/reports/2026-01 old/run.json", b"", ())
    assert answer.status == 413
    assert "larger than 9 bytes" in answer.problem["detail"]


@pytest.mark.parametrize("named", ["", "/nowhere/at/all"])
async def test_where_there_are_no_reports_the_list_is_empty(named: str) -> None:
    async with running(create_app(tone_profile(f'http.reports="{named}"'))) as api:
        answer = await api.call("GET", "/bench/reports", b"", ())
    assert (answer.status, answer.json) == (200, {"folder": named, "reports": []})


async def test_a_report_whose_name_is_no_text_hides_no_other(bench: Api, folder: Path) -> None:
    odd = folder / os.fsdecode(b"2027 \xff")
    odd.mkdir()
    (odd / "run.json").write_text("{}", encoding="utf-8")
    (folder / "2026-01 old" / os.fsdecode(b"\xff.json")).write_text("{}", encoding="utf-8")
    told = await bench.call("GET", "/bench/reports", b"", ())
    assert told.status == 200
    assert [one["name"] for one in told.json["reports"]] == ["2026-02 newer ü", "2026-01 old"]


def test_a_report_that_may_not_be_read_hides_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def guarded(path: Path) -> Any:
        if Path(path).name == "2026-02 newer ü":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert [one.name for one in reports.list_reports(str(folder))] == ["2026-01 old"]
