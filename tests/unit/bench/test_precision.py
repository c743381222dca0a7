"""bench precision: its distances, and that toy networks run through it."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.indextts2 import precision


def test_levels_are_8_bits_of_each_output() -> None:
    layer = nn.Linear(50, 3)
    with torch.no_grad():
        before = layer.weight.copy_(torch.randn(3, 50) * torch.tensor([[1.0], [100.0], [0.0]])).clone()
        precision.levels_of_weights(layer)
    for row in range(3):
        assert len(set(layer.weight[row].tolist())) <= 255
        assert (layer.weight[row] - before[row]).abs().max() <= before[row].abs().max() / 254 * 1.01
    assert len(set(layer.weight[0].tolist())) > 20


def test_distances_of_waves_and_codes() -> None:
    wave = torch.randn(1, 1000)
    assert precision.below(wave, wave)["largest, % of the peak"] == 0.0
    assert precision.below(wave, 1.01 * wave)["difference, dB"] == pytest.approx(-40.0, abs=0.1)
    logits = torch.randn(20, 50)
    assert precision.against(logits, logits) == {
        "likeliest code the same, %": 100.0,
        "drawn code the same, %": 100.0,
        "logits off, % of their rms": 0.0,
    }
    other = logits.clone()
    other[:5] = -other[:5]
    assert precision.against(logits, other)["likeliest code the same, %"] == 75.0


def test_toy_networks_run_through_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    precision.add_arguments(parser)
    words = ["--tiny", "--parts", "codes", "flow", "--codes", "12", "--frames", "4", "--out"]
    assert precision.main(parser.parse_args([*words, str(tmp_path)])) == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "result.md").read_text(encoding="utf-8")
    for words_of in ("| bfloat16, among others |", "| 10 iterations instead of 25 |", "toy shapes"):
        assert words_of in printed
