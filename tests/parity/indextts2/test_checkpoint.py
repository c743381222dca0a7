"""Conversion of the official files: what is accepted, what is refused by name, and what is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.weights import checkpoint
from serving.models.indextts2.weights.checkpoint import (
    COMPONENTS,
    Manifest,
    RandomWeights,
    StoredWeights,
    open_checkpoint,
)
from serving.models.indextts2.weights.sources import locate
from serving.models.indextts2.weights.state_dict import CheckpointError, load
from tests.parity.indextts2 import official
from tests.parity.indextts2.ours import networks

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the small checkpoint by links, so that single files can be replaced."""
    source = official.checkpoint(0)
    copy = tmp_path / "checkpoint"
    copy.mkdir()
    for path in source.iterdir():
        (copy / path.name).symlink_to(path)
    return copy


def _replace(path: Path, content: Any) -> None:
    path.unlink()
    torch.save(content, path)


def _convert(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    sources, config = locate(folder)
    states = checkpoint.convert(sources, config)
    with torch.device("meta"):
        for name, build in COMPONENTS.items():
            load(build(config), states[name], name)
    return states


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("store")
    open_checkpoint(official.checkpoint(0), store=path)
    yield path
    shutil.rmtree(path)


def test_stored_weights_are_the_converted_ones(store: Path) -> None:
    weights = StoredWeights(store, locate(official.checkpoint(0))[1])
    for name in COMPONENTS:
        expected = networks(0)[name].state_dict()
        loaded = weights.load(name, CPU).state_dict()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[key], expected[key]) for key in expected), name
        assert all(value.dtype == torch.float32 for value in loaded.values() if value.is_floating_point())


def test_a_second_start_converts_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "convert", None)
    open_checkpoint(official.checkpoint(0), store=store)
    manifest = msgspec.json.decode((store / "manifest.json").read_bytes(), type=Manifest)
    gpt = manifest.sources["gpt"]
    assert gpt.size_bytes == (official.checkpoint(0) / "gpt.pth").stat().st_size
    assert len(gpt.sha256) == 64


def test_a_changed_source_is_converted_again(
    store: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(checkpoint, "_write", lambda path, *_: asked.append(path))
    open_checkpoint(folder, store=store)
    assert asked == []
    # The same bytes at another time are the same file; other bytes of the same size are not.
    feat1 = folder / "feat1.pt"
    content = bytearray(feat1.read_bytes())
    feat1.unlink()
    feat1.write_bytes(content)
    os.utime(feat1, ns=(1, 1))
    open_checkpoint(folder, store=store)
    assert asked == []
    content[-1] ^= 1
    feat1.write_bytes(content)
    open_checkpoint(folder, store=store)
    assert asked == [store]


def test_wrappers_and_names_of_training_are_removed(folder: Path) -> None:
    state = torch.load(folder / "gpt.pth", weights_only=True)
    state = {f"_fsdp_wrapped_module.{name}": value for name, value in state.items()}
    state |= {
        "gpt.h.0.attn.bias": torch.zeros(1),
        "gpt.h.0.attn.masked_bias": torch.zeros(1),
        "inference_model.lm_head.0.weight": torch.zeros(1),
        "gpt.wte.weight": torch.zeros(1),
    }
    _replace(folder / "gpt.pth", {"model": state})
    s2mel = torch.load(folder / "s2mel.pth", weights_only=True)
    net = {
        part: {f"module.{name}": value for name, value in names.items()}
        for part, names in s2mel["net"].items()
    }
    _replace(folder / "s2mel.pth", {"net": net, "ema": {}, "optimizer": {}, "epoch": 3})
    states = _convert(folder)
    for name in ("gpt", "flow", "speaker", "regulator"):
        expected = networks(0)[name].state_dict()
        assert all(torch.equal(states[name][key], expected[key]) for key in expected), name


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("gpt.pth", lambda state: state.pop("mel_head.bias"), "gpt.pth: missing: mel_head.bias"),
        ("gpt.pth", lambda state: state.pop("emovec_layer.bias"), "component emotion: missing: widen.bias"),
        (
            "gpt.pth",
            lambda state: state.update({"gpt.h.0.attn.extra.weight": torch.zeros(1)}),
            "unknown: gpt.h.0.attn.extra.weight",
        ),
        (
            "gpt.pth",
            lambda state: state.update({"speed_emb.weight": torch.zeros(3, 1280)}),
            r"wrong shape: .*\(3, 1280\) for \(2, 1280\)",
        ),
        (
            "s2mel.pth",
            lambda state: state["net"]["length_regulator"].update({"model.0.weight": torch.zeros(32, 31, 3)}),
            r"wrong shape: convolutions.0.weight \(32, 31, 3\)",
        ),
        ("s2mel.pth", lambda state: state["net"].pop("gpt_layer"), "s2mel.pth: missing: net.gpt_layer"),
        (
            "s2mel.pth",
            lambda state: state["net"]["cfm"].pop("estimator.wavenet.in_layers.0.conv.conv.weight_g"),
            "weight norm without its other half",
        ),
        (
            "s2mel.pth",
            lambda state: state["net"]["length_regulator"].update({"vq.weight": torch.zeros(1)}),
            "unknown: vq.weight",
        ),
    ],
)
def test_damage_is_named(folder: Path, tmp_path: Path, file: str, damage: Any, message: str) -> None:
    state = torch.load(folder / file, weights_only=True)
    damage(state)
    _replace(folder / file, state)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(folder, store=tmp_path / "store")
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_absent_files_are_all_named(folder: Path) -> None:
    (folder / "feat1.pt").unlink()
    (folder / "gpt.pth").unlink()
    with pytest.raises(CheckpointError, match=r"gpt\.pth.*feat1\.pt"):
        locate(folder)
    with pytest.raises(CheckpointError, match=r"no config\.yaml"):
        locate(folder / "nowhere")
    with pytest.raises(CheckpointError, match="no auxiliary is called campus"):
        locate(folder, {"campus": "x"})


def test_auxiliaries_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    (folder / "hf_cache").unlink()
    with pytest.raises(CheckpointError, match=r"campplus_cn_common\.bin"):
        locate(folder)
    cache = official.checkpoint(0) / "hf_cache"
    sources, config = locate(
        folder,
        {
            "w2v_bert": str(cache / "w2v-bert-2.0"),
            "semantic_codec": str(cache / "semantic_codec_model.safetensors"),
            "campplus": str(cache / "campplus_cn_common.bin"),
            "bigvgan": str(cache / "bigvgan"),
        },
    )
    assert sources.campplus.parent == cache
    assert config.vocoder.upsample_initial_channel == 128


def test_pickled_code_is_refused(folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.getenv, ("HOME",))

    _replace(folder / "feat1.pt", Evil())
    sources, config = locate(folder)
    with pytest.raises(CheckpointError, match=r"feat1\.pt is not readable"):
        checkpoint.convert(sources, config)


def test_random_weights_depend_on_the_seed_alone() -> None:
    config = IndexTts2Config.tiny()
    before = torch.random.get_rng_state()
    for name in COMPONENTS:
        first = RandomWeights(config, seed=1).load(name, CPU).state_dict()
        again = RandomWeights(config, seed=1).load(name, CPU).state_dict()
        other = RandomWeights(config, seed=2).load(name, CPU).state_dict()
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert any(not torch.equal(first[key], other[key]) for key in first), name
        assert all(value.isfinite().all() for value in first.values())
    assert torch.equal(torch.random.get_rng_state(), before)
