"""Reads the shapes of a checkpoint from config.yaml of an official folder and its auxiliaries. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import msgspec.yaml

from serving.models.indextts2.config import (
    BigVganConfig,
    CampPlusConfig,
    CodecConfig,
    ConformerConfig,
    DiTConfig,
    FileNames,
    GptConfig,
    IndexTts2Config,
    LengthRegulatorConfig,
    MelConfig,
    S2MelConfig,
    W2vBertConfig,
    WaveNetConfig,
)


class ConfigError(ValueError):
    """A checkpoint's configuration is absent, incomplete or of an unsupported kind; names the key."""


def read_config(
    folder: Path,
    *,
    bigvgan_config: Path | None = None,
    w2v_config: Path | None = None,
    complete: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> IndexTts2Config:
    """Read config.yaml of an official folder and the configurations of its auxiliaries.

    `complete` adds to the tree of config.yaml what another release has left out; it may raise KeyError as well.

    `bigvgan_config` and `w2v_config` are the config.json files of the vocoder and of w2v-bert-2.0; without
    them the released shapes are taken. Keys that change nothing at inference are ignored. Raises ConfigError.
    """
    path = folder / "config.yaml"
    vocoder = _vocoder(_read_mapping(bigvgan_config)) if bigvgan_config else BigVganConfig()
    w2v = _w2v(_read_mapping(w2v_config)) if w2v_config else W2vBertConfig()
    tree = _read_mapping(path)
    try:
        config = _from_tree(complete(tree), vocoder=vocoder, w2v=w2v)
    except KeyError as error:
        raise ConfigError(f"{path}: no key {error.args[0]!r}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if bigvgan_config and vocoder.hop_length != config.s2mel.mel.hop_length:
        raise ConfigError(
            f"{bigvgan_config}: upsample_rates make {vocoder.hop_length} samples of a frame; "
            f"{path} has a hop_length of {config.s2mel.mel.hop_length}"
        )
    return config


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    try:
        tree = msgspec.json.decode(text) if path.suffix == ".json" else msgspec.yaml.decode(text)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping at the top")
    return tree


def _require(section: str, tree: Mapping[str, Any], expected: Mapping[str, object]) -> None:
    """Refuse variants of the graph that this code does not implement."""
    for key, value in expected.items():
        if key in tree and tree[key] != value:
            raise ConfigError(f"{section}.{key} is {tree[key]!r}; only {value!r} is supported")


def _conformer(tree: Mapping[str, Any], *, latents: int, latent_dim: int) -> ConformerConfig:
    _require("gpt.condition_module", tree, {"input_layer": "conv2d2"})
    return msgspec.convert({**tree, "latents": latents, "latent_dim": latent_dim}, ConformerConfig)


def _from_tree(tree: Mapping[str, Any], *, vocoder: BigVganConfig, w2v: W2vBertConfig) -> IndexTts2Config:
    gpt, s2mel = tree["gpt"], tree["s2mel"]
    _require(
        "gpt",
        gpt,
        {
            "use_mel_codes_as_input": True,
            "train_solo_embeddings": False,
            "condition_type": "conformer_perceiver",
        },
    )
    dit, regulator, preprocess = s2mel["DiT"], s2mel["length_regulator"], s2mel["preprocess_params"]
    _require("s2mel", s2mel, {"dit_type": "DiT"})
    _require(
        "s2mel.DiT",
        dit,
        {
            "style_condition": True,
            "final_layer_type": "wavenet",
            "f0_condition": False,
            "is_causal": False,
            "long_skip_connection": True,
            "time_as_token": False,
            "style_as_token": False,
            "uvit_skip_connection": True,
            "add_resblock_in_transformer": False,
        },
    )
    _require(
        "s2mel.length_regulator",
        regulator,
        {"is_discrete": False, "vector_quantize": False, "f0_condition": False},
    )
    _require("s2mel.wavenet", s2mel["wavenet"], {"style_condition": True, "dilation_rate": 1})
    style_dim = s2mel["style_encoder"]["dim"]
    semantic_dim = tree["semantic_codec"]["hidden_size"]
    spect = preprocess["spect_params"]
    fmax = spect.get("fmax", "None")
    vocoder_type = tree.get("vocoder", {}).get("type", "bigvgan")
    if vocoder_type != "bigvgan":
        raise ConfigError(f"vocoder.type is {vocoder_type!r}; only 'bigvgan' is supported")
    codec_rows = tree["semantic_codec"]["codebook_size"]
    if gpt["number_mel_codes"] != codec_rows + 2:
        raise ConfigError(
            f"gpt.number_mel_codes is {gpt['number_mel_codes']}; a codebook of {codec_rows} "
            f"with a start and a stop code makes {codec_rows + 2}"
        )
    return IndexTts2Config(
        gpt=msgspec.convert(
            {
                **gpt,
                "condition": _conformer(
                    gpt["condition_module"],
                    latents=gpt.get("condition_num_latent", 32),
                    latent_dim=gpt["model_dim"],
                ),
                "emo_condition": _conformer(gpt["emo_condition_module"], latents=1, latent_dim=1024),
            },
            GptConfig,
        ),
        codec=msgspec.convert(tree["semantic_codec"], CodecConfig),
        s2mel=S2MelConfig(
            mel=MelConfig(
                sample_rate_hz=preprocess["sr"],
                n_fft=spect["n_fft"],
                win_length=spect["win_length"],
                hop_length=spect["hop_length"],
                n_mels=spect["n_mels"],
                fmin_hz=float(spect.get("fmin", 0)),
                # Upstream takes any other value as 8 kHz.
                fmax_hz=None if fmax in (None, "None") else 8000.0,
            ),
            style_dim=style_dim,
            length_regulator=LengthRegulatorConfig(
                in_channels=regulator["in_channels"],
                channels=regulator["channels"],
                stages=len(regulator["sampling_ratios"]),
            ),
            dit=msgspec.convert({**dit, "max_frames": 2 * dit["block_size"]}, DiTConfig),
            wavenet=msgspec.convert(s2mel["wavenet"], WaveNetConfig),
            gpt_layer_dims=(gpt["model_dim"], 256, 128, semantic_dim),
        ),
        vocoder=vocoder,
        w2v=w2v,
        campplus=CampPlusConfig(embedding_size=style_dim),
        emo_num=tuple(tree["emo_num"]),
        files=FileNames(
            **{
                name: tree[name]
                for name in FileNames.__struct_fields__
                if name != "bpe_model" and tree.get(name)
            },
            bpe_model=tree["dataset"]["bpe_model"],
        ),
    )


def _vocoder(tree: Mapping[str, Any]) -> BigVganConfig:
    for key, expected in {"resblock": "1", "activation": "snakebeta"}.items():
        if str(tree.get(key, expected)) != expected:
            raise ConfigError(f"bigvgan config.json: {key} is {tree[key]!r}; only {expected!r} is supported")
    # Absent, the two final switches mean the older behaviour: tanh and bias are on.
    defaults = {"use_tanh_at_final": True, "use_bias_at_final": True, "snake_logscale": False}
    return msgspec.convert({**defaults, **tree}, BigVganConfig)


def _w2v(tree: Mapping[str, Any]) -> W2vBertConfig:
    for key, expected in {"position_embeddings_type": "relative_key", "hidden_act": "swish"}.items():
        if tree.get(key, expected) != expected:
            raise ConfigError(f"w2v-bert config.json: {key} is {tree[key]!r}; only {expected!r} is supported")
    layers = tree.get("num_hidden_layers", 24)
    if layers < 17:
        raise ConfigError(f"w2v-bert config.json: {layers} layers; the output of layer 17 is needed")
    return msgspec.convert({**tree, "num_hidden_layers": 17}, W2vBertConfig)
