"""The bench's arm of the official package, at small shapes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from omegaconf import OmegaConf

from bench.indextts2.package import SHAPES, Package
from serving.models.indextts2.config import IndexTts2Config
from tests.parity.indextts2 import official


def test_the_package_speaks_forced_codes_from_a_cached_voice(tmp_path: Path) -> None:
    shapes = OmegaConf.load(official.HERE / "small_config.yaml")
    shapes.vocoder_shape = json.loads((official.HERE / "small_bigvgan.json").read_text(encoding="utf-8"))
    OmegaConf.save(shapes, tmp_path / "shapes.yaml")
    package = Package(
        codes=20,
        prompt_s=0.5,
        text_tokens=7,
        device=torch.device("cpu"),
        shapes=tmp_path / "shapes.yaml",
    )
    assert package.speak(0) == package.speak(1) == 20 * 172 // 100 * 256


def test_the_shapes_of_the_bench_are_those_of_our_configuration() -> None:
    """What is timed against each other is the same model."""
    ours, theirs = IndexTts2Config.official(), OmegaConf.load(SHAPES)
    gpt = theirs.gpt
    for name in ("model_dim", "layers", "heads", "max_mel_tokens", "number_mel_codes", "number_text_tokens"):
        assert getattr(ours.gpt, name) == gpt[name], name
    for name in ("output_size", "linear_units", "attention_heads", "num_blocks"):
        assert getattr(ours.gpt.condition, name) == gpt.condition_module[name], name
        assert getattr(ours.gpt.emo_condition, name) == gpt.emo_condition_module[name], name
    for name in ("hidden_dim", "num_heads", "depth", "content_dim"):
        assert getattr(ours.s2mel.dit, name) == theirs.s2mel.DiT[name], name
    for name in ("hidden_dim", "num_layers", "kernel_size"):
        assert getattr(ours.s2mel.wavenet, name) == theirs.s2mel.wavenet[name], name
    for name in ("upsample_initial_channel", "upsample_rates", "resblock_kernel_sizes"):
        mine, other = getattr(ours.vocoder, name), theirs.vocoder_shape[name]
        assert (mine if isinstance(mine, int) else list(mine)) == other, name
    for name in ("codebook_size", "codebook_dim", "vocos_dim", "vocos_num_layers"):
        assert getattr(ours.codec, name) == theirs.semantic_codec[name], name
