"""Kept answers: which requests share one, which headers they bear, and what never fails because of the cache."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bench.servers.start import StartFailed, start_server
from serving.cache.file import PIECE_BYTES
from serving.http.app import create_app
from serving.profile import ProfileError
from tests.support import JSON, Answer, Api, running, tone_profile

pytestmark = pytest.mark.slow

SLOW = (
    "model.options.samples_per_token=24", "model.options.window_tokens=1", "model.options.max_window_tokens=1",
    "model.options.step_s=0.005",
)  # fmt: skip


@contextlib.asynccontextmanager
async def cached(folder: Path, *more: str, max_bytes: int = 10_000_000) -> AsyncIterator[Api]:
    profile = tone_profile(f"cache.folder={folder}", f"cache.max_bytes={max_bytes}", *more)
    async with running(create_app(profile)) as api:
        await api.until("/readyz", lambda answer: answer["ready"])
        for _ in range(500):
            if (await ask(api, "warm?", seed=0)).headers["x-cache"] != "bypass":
                break
            await asyncio.sleep(0.02)  # until the server's digest is made
        yield api


async def ask(api: Api, text: str, path: str = "/tts", control: str | None = None, **fields: Any) -> Answer:
    name = "input" if path.startswith("/v1") else "text"
    headers = (*JSON, (b"cache-control", control.encode())) if control else JSON
    answer = await api.call("POST", path, {name: text, **fields}, headers)
    assert answer.status == 200, answer.body
    assert answer.complete
    return answer


def files(folder: Path, pattern: str = "*.answer") -> list[Path]:
    return sorted(folder.glob(pattern))


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("path", ["/tts", "/tts/stream", "/v1/audio/speech"])
@pytest.mark.parametrize("audio_format", ["wav", "mp3", "opus"])
async def test_the_same_request_is_answered_from_the_cache(
    path: str, audio_format: str, tmp_path: Path
) -> None:
    async with cached(tmp_path) as api:
        fields: dict[str, Any] = {
            "response_format" if path.startswith("/v1") else "format": audio_format,
            "seed": 3,
        }
        text = "Hello — 你好 🎉 world, twice. "
        first = await ask(api, text, path, **fields)
        assert first.headers["x-cache"] == "miss"
        assert "age" not in first.headers
        before = (await api.call("GET", "/stats")).json["requests"]
        second = await ask(api, text, path, **fields)
        assert second.headers["x-cache"] == "hit"
        assert (second.body, second.headers["x-seed"]) == (first.body, "3")
        assert second.headers["x-request-id"] != first.headers["x-request-id"]
        assert (await api.call("GET", "/stats")).json["requests"] == before, "the engine was not asked"
        state = (await api.call("GET", "/readyz")).json["cache"]
        assert (state["hits"], state["failures"]) == (1, 0)


async def test_what_shares_an_answer_and_what_does_not(tmp_path: Path) -> None:
    async with cached(tmp_path) as api:
        base: dict[str, Any] = {"seed": 1, "voice": "low", "format": "wav"}
        await ask(api, "Hello.", **base)
        for other in (
            {"seed": 2}, {"voice": "high"}, {"format": "flac"}, {"sample_rate_hz": 8000}, {"normalize": False},
            {"text_format": "plain"}, {"timestamps": "sentence"},
        ):  # fmt: skip
            seeded = "seed" not in other  # the tone model has no seeds
            answer = await ask(api, "Hello.", **{**base, **other})
            assert answer.headers["x-cache"] == ("miss" if seeded else "hit"), other
            assert (await ask(api, "Hello.", **{**base, **other})).headers["x-cache"] == "hit"
        assert (await ask(api, "Hello. ", **base)).headers["x-cache"] == "miss"
        assert (await ask(api, "Hello.", "/tts/stream", **base)).headers["x-cache"] == "miss"
        one = await ask(api, "Hello.", "/v1/audio/speech", stream=False, response_format="wav", voice="low")
        assert one.headers["x-cache"] == "hit", "one answer for all paths"
        ignored = await ask(
            api, "Hello.", "/v1/audio/speech", stream=False, response_format="wav", language="en"
        )
        assert ignored.headers["x-cache"] == "hit"
        assert ignored.headers["x-ignored-fields"] == "language", "of this request"


async def test_a_seed_that_the_server_drew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with cached(tmp_path, "model.name=hibari") as api:
        first = await ask(api, "Hello.")
        again = await ask(api, "Hello.")
        assert (first.headers["x-cache"], again.headers["x-cache"]) == ("miss", "hit")
        assert again.headers["x-seed"] == first.headers["x-seed"]
        named = await ask(api, "Hello.", seed=int(first.headers["x-seed"]))
        assert named.headers["x-cache"] == "miss"
        assert named.body == first.body, "the seed that a hit tells is that of its samples"
        for _ in range(2):
            drawn = await ask(api, "Hello.", seed=-1)
            assert drawn.headers["x-cache"] == "bypass"
            assert drawn.body != first.body


async def test_cache_control_of_a_request(tmp_path: Path) -> None:
    async with cached(tmp_path) as api:
        assert (await ask(api, "One.", control="no-store")).headers["x-cache"] == "bypass"
        assert (await ask(api, "One.")).headers["x-cache"] == "miss"
        assert (await ask(api, "One.", control="private, No-Store")).headers["x-cache"] == "bypass"
        assert (await ask(api, "One.", control="no-cache")).headers["x-cache"] == "miss"
        assert (await ask(api, "One.", control="max-age=60")).headers["x-cache"] == "hit"


async def test_without_a_cache_nothing_is_said_of_one(api: Api) -> None:
    answer = await ask(api, "One.")
    assert "x-cache" not in answer.headers
    assert (await api.call("GET", "/readyz")).json["cache"] is None


async def test_what_was_cut_or_failed_is_not_kept(tmp_path: Path) -> None:
    async with cached(tmp_path, *SLOW, f"model.options.fail_token={ord('z')}") as api:
        kept = len(files(tmp_path))
        body = {"text": "A longer text. " * 40}
        await api.call("POST", "/tts/stream", body, disconnect_after=5)
        await api.call("POST", "/tts/stream", body, stall_after=5)
        gone = asyncio.Event()
        # Its 40 sentences are spoken beside each other, 75 ms at least.
        asyncio.get_running_loop().call_later(0.02, gone.set)
        await api.call("POST", "/tts", body, gone=gone)
        failed = await api.call("POST", "/tts", {"text": "A buzz."})
        assert failed.status == 500
        cut = await api.call("POST", "/tts/stream", {"text": "Well. A buzz."})
        assert not cut.complete
        refused = await api.call("POST", "/tts", {"text": "?!"})
        assert refused.status == 400
        await api.until("/stats", lambda stats: not stats["slots_used"] + stats["in_flight"])
        assert len(files(tmp_path)) == kept
        assert not files(tmp_path, ".*.part")
        assert (await ask(api, "A longer text. " * 40, "/tts/stream")).headers["x-cache"] == "miss"


async def test_two_hundred_at_once(tmp_path: Path) -> None:
    async with cached(tmp_path, "admission.max_requests=400") as api:
        reference = await ask(api, "The same for all.", control="no-store")
        answers = await asyncio.gather(*(ask(api, "The same for all.") for _ in range(200)))
        assert {answer.body for answer in answers} == {reference.body}
        assert (await ask(api, "The same for all.")).headers["x-cache"] == "hit"
        assert not files(tmp_path, ".*.part")
        assert (await api.call("GET", "/readyz")).json["cache"]["failures"] == 0


async def test_no_handle_is_left(tmp_path: Path) -> None:
    async with cached(tmp_path) as api:
        await ask(api, "Many words. " * 200, "/tts/stream")
        before = handles()
        for _ in range(20):
            await api.call("POST", "/tts/stream", {"text": "Many words. " * 200}, disconnect_after=2)
            await api.call("POST", "/tts/stream", {"text": "Many words. " * 200}, stall_after=2)
        assert handles() <= before + 1


@pytest.mark.parametrize("harm", ["flip", "cut", "link", "folder", "gone", "no folder", "file for folder"])
async def test_no_request_fails_because_of_the_cache(harm: str, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    async with cached(folder) as api:
        first = await ask(api, "Hello.", "/tts/stream")
        for path in files(folder):
            content = path.read_bytes()
            match harm:
                case "flip":
                    path.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
                case "cut":
                    path.write_bytes(content[:-10])
                case "link":
                    path.rename(tmp_path / path.name)
                    path.symlink_to(tmp_path / path.name)
                case "folder":
                    path.unlink()
                    path.mkdir()
                case "gone":
                    path.unlink()
        if harm in ("no folder", "file for folder"):
            shutil.rmtree(folder)
        if harm == "file for folder":
            folder.write_bytes(b"")
        second = await ask(api, "Hello.", "/tts/stream")
        assert second.headers["x-cache"] == "miss"
        assert second.body == first.body
        third = await ask(api, "Hello.", "/tts/stream")
        assert third.body == first.body
        mended = harm in ("flip", "cut", "link", "gone", "no folder")
        assert third.headers["x-cache"] == ("hit" if mended else "miss")


async def test_a_kept_answer_is_read_as_it_is_taken(tmp_path: Path) -> None:
    async with cached(tmp_path) as api:
        first = await ask(api, "Many words. " * 20)
        again = await ask(api, "Many words. " * 20)
        assert again.headers["x-cache"] == "hit"
        assert again.body == first.body
        assert int(again.headers["content-length"]) == len(first.body)
        pieces = [message["body"] for message in again.messages[1:]]
        assert len(first.body) > 5 * PIECE_BYTES
        assert max(map(len, pieces)) <= PIECE_BYTES


async def test_an_answer_that_does_not_fit(tmp_path: Path) -> None:
    async with cached(tmp_path, max_bytes=8192) as api:
        long = "Many words. " * 50
        assert (await ask(api, long, "/tts/stream")).headers["x-cache"] == "miss"
        assert (await ask(api, long, "/tts/stream")).headers["x-cache"] == "miss"
        assert sum(path.stat().st_size for path in files(tmp_path, "*")) <= 8192


async def test_another_model_option_or_text_setting_has_other_answers(tmp_path: Path) -> None:
    async with cached(tmp_path) as api:
        await ask(api, "Hello.")
    async with cached(tmp_path) as api:
        assert (await ask(api, "Hello.")).headers["x-cache"] == "hit", "after a start of the same server"
    for change in ("model.options.samples_per_token=25", "text.pauses.comma_s=1", "engine.dtype=bfloat16"):
        async with cached(tmp_path, change) as api:
            assert (await ask(api, "Hello.")).headers["x-cache"] == "miss", change


def test_a_cache_needs_a_folder() -> None:
    with pytest.raises(ProfileError, match=r"cache\.folder"):
        create_app(tone_profile("cache.max_bytes=1000"))


def test_the_bench_refuses_a_server_with_a_cache(tmp_path: Path) -> None:
    settings = ("model.name=tone", f"cache.folder={tmp_path}", "cache.max_bytes=1000000")
    with (
        pytest.raises(StartFailed, match="answers from a cache"),
        start_server("granian", overrides=settings, timeout_s=60),
    ):
        pass
