"""Where the files of an official checkpoint lie, and reading them. No network."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from serving.models.indextts2.config import AUXILIARIES, IndexTts2Config
from serving.models.indextts2.weights.config_file import ConfigError, read_config
from serving.models.indextts2.weights.state_dict import CheckpointError


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Every file that weights are read from; all exist."""

    config: Path
    gpt: Path
    s2mel: Path
    w2v_stat: Path
    spk_matrix: Path
    emo_matrix: Path
    bpe_model: Path
    w2v_config: Path
    w2v_weights: Path
    semantic_codec: Path
    campplus: Path
    bigvgan_config: Path
    bigvgan_weights: Path

    def files(self) -> dict[str, Path]:
        """Field name to path."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


def locate(
    folder: Path,
    auxiliaries: Mapping[str, str] | None = None,
    *,
    usual: Mapping[str, str] = AUXILIARIES,
    read: Callable[..., IndexTts2Config] = read_config,
) -> tuple[Sources, IndexTts2Config]:
    """Find the files of the official `folder` and read its shapes.

    Another release has its auxiliaries in other `usual` places, and a reader of its own, called as read_config is.

    `auxiliaries` gives other places for names of `usual`: the folders of w2v-bert-2.0 and BigVGAN, the
    files of the codec and of CAMPPlus. Raises CheckpointError that names every absent file, or ConfigError.
    """
    given = dict(auxiliaries or {})
    if unknown := sorted(given.keys() - usual.keys()):
        raise CheckpointError(f"no auxiliary is called {', '.join(unknown)}; there are {', '.join(usual)}")
    if not (folder / "config.yaml").is_file():
        raise CheckpointError(f"{folder} is no IndexTTS checkpoint: it has no config.yaml")
    places = {name: Path(given.get(name, folder / place)) for name, place in usual.items()}
    w2v_config, bigvgan_config = places["w2v_bert"] / "config.json", places["bigvgan"] / "config.json"
    config = read(
        folder,
        bigvgan_config=bigvgan_config if bigvgan_config.is_file() else None,
        w2v_config=w2v_config if w2v_config.is_file() else None,
    )
    sources = Sources(
        config=folder / "config.yaml",
        gpt=folder / config.files.gpt_checkpoint,
        s2mel=folder / config.files.s2mel_checkpoint,
        w2v_stat=folder / config.files.w2v_stat,
        spk_matrix=folder / config.files.spk_matrix,
        emo_matrix=folder / config.files.emo_matrix,
        bpe_model=folder / config.files.bpe_model,
        w2v_config=w2v_config,
        w2v_weights=places["w2v_bert"] / "model.safetensors",
        semantic_codec=places["semantic_codec"],
        campplus=places["campplus"],
        bigvgan_config=bigvgan_config,
        bigvgan_weights=places["bigvgan"] / "bigvgan_generator.pt",
    )
    absent = [str(path) for path in sources.files().values() if not path.is_file()]
    if absent:
        raise CheckpointError(f"the checkpoint lacks {', '.join(absent)}")
    return sources, config


def read_tensors(path: Path) -> Any:
    """The content of a .safetensors, or of a torch file read with weights_only. Raises CheckpointError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, SafetensorError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path.name} is not readable: {error}") from None


def read_state(path: Path, *wrappers: str) -> dict[str, Tensor]:
    """A state dict: read_tensors under the first of `wrappers` that is a key, prefixes of training removed.

    Raises CheckpointError if it is no mapping of names to tensors.
    """
    state = read_tensors(path)
    if isinstance(state, Mapping):
        for wrapper in wrappers:
            if wrapper in state:
                state = state[wrapper]
                break
    return as_state(state, path.name)


def as_state(state: object, what: str) -> dict[str, Tensor]:
    """`state` as a state dict, without the prefixes that distributed training leaves in names."""
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{what} is not a mapping of names to tensors")
    return {
        str(name).removeprefix("module.").replace("_fsdp_wrapped_module.", ""): value
        for name, value in state.items()
    }


__all__ = ["AUXILIARIES", "ConfigError", "Sources", "as_state", "locate", "read_state", "read_tensors"]
