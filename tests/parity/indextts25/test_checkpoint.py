"""The official files of 2.5: converted once, loaded as they were, and refused by name where they are not whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from serving.models.indextts2.weights.checkpoint import open_checkpoint
from serving.models.indextts2.weights.state_dict import CheckpointError
from serving.models.indextts25.weights import RELEASE
from tests.parity.indextts25 import peer
from tests.parity.indextts25.ours import networks

CPU = torch.device("cpu")


def test_a_converted_folder_holds_what_was_converted(tmp_path: Path) -> None:
    weights = open_checkpoint(peer.checkpoint(0), store=tmp_path, release=RELEASE)
    for name in ("decoder", "speaker", "gpt"):
        stored = weights.load(name, CPU).state_dict()
        for key, value in networks(0)[name].state_dict().items():
            assert torch.equal(stored[key], value), f"{name} {key}"
    written = (tmp_path / "manifest.json").stat().st_mtime_ns
    open_checkpoint(peer.checkpoint(0), store=tmp_path, release=RELEASE)
    assert (tmp_path / "manifest.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("file", "wrapper", "key", "value", "said"),
    [
        ("gpt.pth", None, "lang_embedding.weight", None, "lang_embedding.weight"),
        ("gpt.pth", None, "speed_emb.weight", torch.zeros(2, 1280), "unknown: speed_emb.weight"),
        ("gpt.pth", None, "spk_emb_proj.weight", torch.zeros(1280, 191), r"weight \(1280, 191\) for \(1280, 192\)"),
        ("codec.pth", "model", "up.weight", None, "missing: up.weight"),
        ("codec.pth", "model", "side.weight", torch.zeros(1), "unknown: side.weight"),
        ("codec.pth", "model", "quantizer.quantizers.0.codebook.weight", None, "codebook.weight"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_named(
    file: str, wrapper: str | None, key: str, value: Any, said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for path in peer.checkpoint(0).iterdir():
        if path.name not in (file, "tts-serving"):
            (folder / path.name).symlink_to(path)
    content = torch.load(peer.checkpoint(0) / file, weights_only=True)
    state = content[wrapper] if wrapper else content
    state.pop(key, None)
    if value is not None:
        state[key] = value
    torch.save(content, folder / file)
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(folder, store=tmp_path / "store", release=RELEASE)
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
