"""The files that POST /tts/stream passes, watched while it runs, are those that docs/architecture.md walks through."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from serving.http.app import create_app
from tests.e2e.test_models_page import model_of_the_page
from tests.support import ROOT, running, tone_profile

MOST_FILES = 12


def files_of_the_page() -> list[str]:
    """The first code span of each numbered line of the walk."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    walk = page.split("## The walk of POST /tts/stream")[1].split("\n## ")[0]
    return re.findall(r"^\d+\. `([^`]+)`", walk, re.MULTILINE)


def split(seen: set[str], folder: Path) -> tuple[set[str], set[str]]:
    """The files of serving/, by their paths, and those of the model's folder, by their names."""
    files = {Path(name).resolve() for name in seen if not name.startswith("<")}
    return (
        {file.relative_to(ROOT).as_posix() for file in files if file.is_relative_to(ROOT / "serving")},
        {file.name for file in files if file.is_relative_to(folder.resolve())},
    )


async def test_the_walk_of_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whistle.py").write_text(model_of_the_page(), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    # Metrics look on from outside and decide nothing.
    # The watcher of the engine would be seen now and then, and is no part of a request.
    monkeypatch.setattr("serving.http.app._WATCH_INTERVAL_S", 60.0)
    seen: set[str] = set()
    watching = threading.Event()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and watching.is_set():
            seen.add(frame.f_code.co_filename)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        async with running(create_app(tone_profile("model.name=whistle", "observe.metrics=false"))) as api:
            await api.until("/readyz", lambda answer: answer["ready"])
            watching.set()
            answer = await api.call("POST", "/tts/stream", {"text": "Here boy", "whistle": 0.5})
            watching.clear()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert answer.complete
    passed, model = split(seen, tmp_path)
    text = {file for file in passed if file.startswith("serving/text/")}
    assert text, "the text frontend is a room of its own, entered by one call"
    passed -= text
    assert model == {"whistle.py"}
    assert passed | {"the model"} == set(files_of_the_page())
    assert len(passed) + len(model) <= MOST_FILES
