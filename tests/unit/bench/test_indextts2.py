"""The offline benches of IndexTTS2 at toy shapes on the CPU, and their floors at the official ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.__main__ import main
from bench.indextts2.cpu_report import CpuRun, Turn, markdown
from bench.indextts2.gpu_parts import (
    Clock,
    cell_bytes,
    estimator_flops,
    rates,
    vocoder_flops_per_frame,
    weight_bytes,
)
from bench.indextts2.gpu_report import GpuRun, StreamLoad
from bench.indextts2.gpu_report import markdown as gpu_markdown
from bench.indextts2.offline import Offline, OfflineError
from bench.metrics import audio_s
from bench.records import Sample
from serving.models.indextts2.codes.gpt import Gpt
from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.mel.estimator import Estimator
from serving.models.indextts2.weights.checkpoint import NoInitialWeights
from serving.profile import EngineProfile, ModelProfile, Profile

OFFICIAL = IndexTts2Config.official()
HEAVY = (
    "zmq",
    "litestar",
    "granian",
    "uvicorn",
    "fastapi",
    "httpx",
    "soundfile",
    "soxr",
    "torchaudio",
    "psutil",
)


pytestmark = pytest.mark.slow


def profile(codes: int, slots: int) -> Profile:
    options = {"weights": "random", "size": "tiny", "min_codes": codes, "max_codes": codes}
    return Profile(
        name="test",
        model=ModelProfile(name="indextts2", options=options),
        engine=EngineProfile(device="cpu", workers=1, max_slots=slots, max_step_units=4096),
    )


def test_every_part_and_load_on_the_cpu(tmp_path: Path) -> None:
    words = "gpu --tiny --device cpu --codes 24 --rows 1 3 --streams 1 2 --requests 2 --repeats 2"
    code = main([*words.split(), "--set", "model.options.prompt_s=0.4", "--out", str(tmp_path)])
    assert code == 0
    result = json.loads((tmp_path / "indextts2-low-latency" / "result.json").read_bytes())
    assert result["failed"] == []
    assert (tmp_path / "indextts2-throughput" / "result.json").exists()
    assert [(part["name"], part["rows"]) for part in result["parts"]] == [
        (name, rows) for rows in (1, 3) for name in ("decode", "flow", "vocoder")
    ]
    assert all(part["ms"] > 0 and part["floor_ms"] > 0 for part in result["parts"])
    assert [load["streams"] for load in result["loads"]] == [1, 2]
    assert [load["requests"] for load in result["loads"]] == [2, 4]
    assert all(0 < load["ttfa_p50_ms"] <= load["ttfa_p95_ms"] for load in result["loads"])
    assert [len(load["samples"]) for load in result["loads"]] == [2, 4]
    assert [load["stagger_s"] for load in result["loads"]] == [0.0, 24 / 50]
    assert result["offline_rtf"] > 0
    assert result["graphs"] is False
    table = (tmp_path / "indextts2-low-latency" / "result.md").read_text(encoding="utf-8")
    assert "| decode | 3 |" in table
    assert "toy shapes" in table


def test_without_cuda_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["gpu"]) == 2
    assert "finds no CUDA device" in capsys.readouterr().err


def test_it_imports_nothing_of_the_web_and_no_audio_packages() -> None:
    """Where a GPU is lent there may be torch and little else."""
    program = (
        "import sys\n"
        f"heavy = {HEAVY!r}\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in heavy: raise ImportError(name + ' is heavy')\n"
        "sys.meta_path.insert(0, Block())\n"
        "import bench.indextts2.gpu\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_floors_at_the_official_shapes() -> None:
    """Counted from our modules, against the figures of the official ones."""
    with NoInitialWeights():  # the memory is never touched
        gpt, estimator = Gpt(OFFICIAL.gpt), Estimator(OFFICIAL.s2mel)
    assert weight_bytes(gpt) == pytest.approx(2 * 964.7e6, rel=2e-3), "of float32; bfloat16 is half"
    assert cell_bytes(OFFICIAL.gpt, 2) == 122_880
    linear = estimator_flops(estimator, 1, 1) - 26_624
    assert linear == pytest.approx(148.4e6, rel=0.03)
    assert estimator_flops(estimator, 1000, 1000) - 1000 * linear == pytest.approx(26_624 * 1000**2)
    ratio = estimator_flops(estimator, 861, 861) / estimator_flops(estimator, 861, 430 + 16)
    assert 1.15 < ratio < 1.25, "the tail on every frame counts a fifth too many"
    assert vocoder_flops_per_frame(OFFICIAL.vocoder) * 22050 / 256 == pytest.approx(155e9, rel=0.02)


def test_rates_are_measured() -> None:
    measured = rates(Clock(torch.device("cpu"), graphs=True, repeats=2), torch.float32)
    assert measured.stated_flops is None
    assert measured.flops == measured.measured_flops > 0
    assert measured.bytes_per_s == measured.measured_bytes_per_s > 0


@pytest.mark.parametrize("streaming", [False, True])
def test_a_stream_sends_its_next_request_when_one_has_ended(streaming: bool) -> None:
    offline = Offline(profile(codes=30, slots=2), prompt_s=0.5)
    samples = offline.speak(streams=2, requests=2, streaming=streaming)
    assert len(samples) == 4
    frames = 30 * 172 // 100
    assert {round(audio_s(sample) * 22050) for sample in samples} == {frames * 256}
    ends = sorted(sample.end_s for sample in samples[:2])
    assert all(sample.due_s >= ends[0] for sample in samples[2:])
    assert {"prefill", "decode", "prepare", "flow", "vocode"} <= offline.stage_s.keys()
    fewer = offline.speak(streams=1, requests=1, streaming=streaming, codes=10)
    assert round(audio_s(fewer[0]) * 22050) == 17 * 256
    assert offline.model.min_codes == offline.model.max_codes == 30


def test_streams_begin_one_after_another() -> None:
    offline = Offline(profile(codes=10, slots=3), prompt_s=0.5)
    samples = offline.speak(streams=3, requests=2, streaming=True, stagger_s=0.6)
    assert len(samples) == 6
    firsts = sorted(sample.due_s for sample in samples)
    assert all(any(sample.due_s == pytest.approx(due_s) for sample in samples) for due_s in (0.0, 0.2, 0.4))
    assert firsts[0] == 0.0
    assert all(sample.sent_s >= sample.due_s for sample in samples)


def test_streams_of_one_chunk_are_not_called_smooth() -> None:
    def made(*events: tuple[float, int]) -> Sample:
        return Sample(
            index=0, text="", characters=0, due_s=0.0, sent_s=0.0, end_s=1.0, events=list(events),
            sample_rate_hz=1000,
        )  # fmt: skip

    whole, pieces = made((0.5, 2000)), made((0.5, 500), (0.6, 1500))
    assert StreamLoad.of(2, [whole, whole]).without_stall is None
    mixed = StreamLoad.of(2, [whole, pieces], 5.0)
    assert (mixed.without_stall, mixed.stagger_s, mixed.samples) == (1.0, 5.0, [whole, pieces])
    dry = made((0.5, 500), (0.9, 1500))
    assert StreamLoad.of(2, [whole, dry]).without_stall == 0.0
    run = GpuRun(
        started_at="now", machine={"versions": {}}, device="x", commit=None, dirty=False, profile="p", dtype="f",
        graphs=False, codes=1, prompt_s=1.0, tiny=True, loads=[StreamLoad.of(1, [whole])],
    )  # fmt: skip
    assert "| one chunk |" in gpu_markdown(run)


def test_a_failed_request_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    offline = Offline(profile(codes=10, slots=1), prompt_s=0.5)

    def broken(*_: object) -> tuple[torch.Tensor, ...]:
        raise RuntimeError("out of order")

    monkeypatch.setitem(offline.runner._forward, "vocode", broken)
    with pytest.raises(OfflineError, match="out of order"):
        offline.speak(streams=1, requests=1, streaming=False)


def test_ours_on_the_cpu_in_two_arms(tmp_path: Path) -> None:
    words = "indextts2 --tiny --arms exact --rounds 2 --loads 1 2 --codes 12 --prompt-s 0.4"
    assert main([*words.split(), "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_bytes())
    assert [(turn["requests"], turn["round"]) for turn in result["turns"]] == [(1, 0), (2, 0), (1, 1), (2, 1)]
    assert "latents" in result["stages"]["exact x1"]
    assert "| 2 | exact |" in (tmp_path / "result.md").read_text(encoding="utf-8")


def test_the_table_compares_medians_with_the_package() -> None:
    turns = [
        Turn(arm=arm, requests=4, round=turn, wall_s=wall, cpu_s=wall, audio_s=12.0)
        for arm, walls in (("package", (90.0, 100.0, 140.0)), ("ours", (20.0, 25.0, 24.0)))
        for turn, wall in enumerate(walls)
    ]
    result = CpuRun(
        started_at="2026-01-01", machine={"cpu": "some CPU", "versions": {}}, commit=None, dirty=False,
        torch_threads=2, codes=150, prompt_s=3.0, text_tokens=30, tiny=False,
        arms={"package": "theirs", "ours": "ours"}, turns=turns,
    )  # fmt: skip
    assert "| 4 | ours | 24.0 (20.0 to 25.0) | 24.0 | 8.00 | 0.500 | 4.17 | 4.17 |" in markdown(result)
