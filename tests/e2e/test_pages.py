"""The README's curl lines, run against a real server."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import httpx
import pytest
import soundfile

README = Path(__file__).parents[2] / "README.md"
SNIPPETS = [
    block
    for block in re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    if block.startswith("curl")
]


def test_the_readme_shows_both_ways_to_speak() -> None:
    assert sum("/tts " in snippet for snippet in SNIPPETS) == 1
    assert sum("/tts/stream " in snippet for snippet in SNIPPETS) == 1


@pytest.mark.e2e
@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.split()[-1])
def test_its_lines_give_a_file_that_players_open(snippet: str, server: str, tmp_path: Path) -> None:
    # As curl would send it, without needing curl: -X METHOD URL -H HEADER -d BODY --output FILE.
    words = shlex.split(snippet)
    method, url = words[words.index("-X") + 1 : words.index("-X") + 3]
    name, value = words[words.index("-H") + 1].split(": ")
    body = words[words.index("-d") + 1]
    answer = httpx.request(
        method, url.replace("http://127.0.0.1:8009", server), headers={name: value}, content=body, timeout=60
    )
    assert answer.status_code == 200, answer.text
    path = tmp_path / words[words.index("--output") + 1]
    path.write_bytes(answer.content)
    samples, rate_hz = soundfile.read(path)
    assert rate_hz == 24000
    assert 2.0 < len(samples) / rate_hz < 20.0
    assert abs(samples).max() > 0.05
