"""The programs that the page shows run, whatever the text holds, and get what the page would get."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import httpx
from playwright.sync_api import Page

from tests.browser.conftest import OpenPage
from tests.support import Server

TEXT = (
    "He said \"no\" & 'yes'; it's $5, `id` $(id) ${x} %s {0} \\n 50% \\\nNext line.\t"
    "Über 你好 🎉 \u2028 </script> # end"
)


def copied(page: Page, language: str) -> str:
    page.click(f"#languages button:text-is('{language}')")
    page.click("#copy")
    page.wait_for_selector("#copy:text-is('Copied')")
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_programs_run_and_get_the_same_speech(
    open_page: OpenPage, voice_server: Server, tmp_path: Path
) -> None:
    page = open_page()
    page.fill("#text", TEXT)
    page.click("summary")
    page.fill("#field-seed", "7")
    page.uncheck("#field-normalize")
    page.check("#field-normalize")
    page.fill("#field-speed", "1.5")
    page.select_option("#format", "flac")
    body = {"text": TEXT, "voice": "heart", "speed": 1.5, "seed": 7, "format": "flac"}
    wanted = httpx.post(f"{voice_server.base_url}/tts", json=body, timeout=60)
    assert wanted.status_code == 200, wanted.text

    curl = copied(page, "curl")
    program = shutil.which("curl") or f"{sys.executable} {Path(__file__).parents[1] / 'curl.py'}"
    run(tmp_path, "bash", "-ec", curl if program.endswith("/curl") else curl.replace("curl", program, 1))
    assert taken(tmp_path) == wanted.content

    run(tmp_path, sys.executable, "-c", copied(page, "Python"))
    assert taken(tmp_path) == wanted.content

    script = copied(page, "JavaScript") + "return [...new Uint8Array(await speech.arrayBuffer())];"
    assert bytes(page.evaluate(f"(async () => {{ {script} }})()")) == wanted.content


def test_programs_say_true_false_and_lists_as_their_language_does(open_page: OpenPage) -> None:
    page = open_page()
    body = {"text": "a\nb", "flag": False, "other": True, "vector": [0, 0.5], "format": "wav"}
    made = page.evaluate(
        "async (body) => (await import('/page/snippets.js')).snippet('Python', 'http://x', body)", body
    )
    names: dict[str, object] = {}
    exec(made.split("request = ")[0], names)
    assert names["body"] == body


def run(folder: Path, *words: str) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def taken(folder: Path) -> bytes:
    """The one file that a program has left, which is then removed."""
    [file] = folder.iterdir()
    content = file.read_bytes()
    file.unlink()
    return content
