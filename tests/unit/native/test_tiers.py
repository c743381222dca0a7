"""Which tier is chosen, and that it is told."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from serving.models import load_model
from serving.models.hibari.model import HibariModel
from serving.native.tiers import TIERS, chosen_tier, machine_tier
from serving.profile import ModelProfile, Profile, ProfileError

pytestmark = pytest.mark.slow

AVX2 = {"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe", "abm"}
AMX = {"amx_tile", "amx_int8"}
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"}


def test_the_machine_has_what_the_kernel_of_linux_says() -> None:
    flags: set[str] = set()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            flags = set(line.partition(":")[2].split())
    needed = {"amx": AVX512 | AMX, "avx512": AVX512, "avx2": AVX2, "scalar": set[str]()}
    assert machine_tier() == next(tier for tier, names in needed.items() if flags >= names)


def test_another_architecture_runs_plain_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.native.tiers.X86", False)
    assert machine_tier.__wrapped__() == "scalar"


def test_a_lower_tier_can_be_asked_for_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TTS_NATIVE_TIER", raising=False)
    assert chosen_tier() == machine_tier()
    monkeypatch.setenv("TTS_NATIVE_TIER", "scalar")
    assert chosen_tier() == "scalar"
    monkeypatch.setenv("TTS_NATIVE_TIER", "sse9")
    with pytest.raises(ValueError, match="TTS_NATIVE_TIER is 'sse9'; this machine has scalar"):
        chosen_tier()
    with pytest.raises(ProfileError, match="TTS_NATIVE_TIER"):
        voice("auto")


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_above_the_machines_own_is_refused(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.native.tiers.machine_tier", lambda: tier)
    for better in TIERS[TIERS.index(tier) + 1 :]:
        monkeypatch.setenv("TTS_NATIVE_TIER", better)
        with pytest.raises(ValueError, match=f"is '{better}'"):
            chosen_tier()


def voice(kernels: str) -> HibariModel:
    profile = Profile(name="test", model=ModelProfile(options={"kernels": kernels}))
    model = load_model(profile, torch.device("cpu"), torch.float32)
    assert isinstance(model, HibariModel)
    return model


def test_the_voice_tells_its_tier(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A machine that has the scalar tier alone speaks through torch, which is quicker, unless it is told not to."""
    monkeypatch.delenv("TTS_NATIVE_TIER", raising=False)
    assert voice("torch").kernels == "torch"
    assert voice("native").kernels == machine_tier()
    monkeypatch.setattr("serving.native.tiers.machine_tier", lambda: "scalar")
    with caplog.at_level(logging.INFO):
        assert voice("auto").kernels == "torch"
    assert "quicker than kernels without AVX2" in caplog.text
    assert voice("native").kernels == "scalar"
    monkeypatch.setenv("TTS_NATIVE_TIER", "scalar")
    assert voice("auto").kernels == "scalar"
