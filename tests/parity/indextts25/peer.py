"""A small IndexTTS-2.5 with random weights in the official formats, opened by the package indextts25-inference.

    folder = checkpoint(seed=0)     # a folder as the hub gives it, auxiliaries under hf_cache/
    pipeline = pipeline(seed=0)     # indextts25.infer_v2_5.IndexTTS2 on the CPU in float32

That package is the official code (commit ee40fa7) with what inference does not use taken out, and mends that its
README lists: positions of training, exclamation marks that are not dropped, no left pad. It differs from IndexTTS2's
package in another way: its modules have no weight norm, so what the official files fold is unfolded here.
"""

from __future__ import annotations

import base64
import functools
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from indextts.s2mel.modules.bigvgan import bigvgan
from indextts.s2mel.modules.campplus.DTDNN import CAMPPlus
from indextts.s2mel.modules.commons import MyModel
from indextts25 import infer_v2_5
from indextts25.codec.models import EnhancedCodec
from indextts25.gpt.model_v2 import UnifiedVoice
from omegaconf import OmegaConf

from serving.models.indextts25.config import SPECIAL_TOKENS, VOCABULARY
from tests.parity.indextts2.official import HERE, bound_output, kept, random_module, write_w2v

WORDS = [" hello", " there", "ing", " speech", " de", " que", "です", "你", "好", "。", " a", " s"]
"""What the vocabulary has besides bytes, in the order of merging; each must be made of two that are there."""


def checkpoint(seed: int) -> Path:
    """Folder of the small checkpoint of this seed, made if it is not there yet."""
    return kept(f"2.5-seed-{seed}", lambda folder: _write(folder, seed), Path(__file__))


@functools.cache
def pipeline(seed: int) -> Any:
    """The package's pipeline on checkpoint(seed), float32 on the CPU, unchanged."""
    folder = checkpoint(seed)
    opened = infer_v2_5.IndexTTS2(str(folder / "config.yaml"), str(folder), device="cpu")
    for module in (opened.gpt, opened.s2mel, opened.bigvgan, opened.campplus_model, opened.semantic_codec):
        module.requires_grad_(False)
    return opened


def ranks() -> dict[bytes, int]:
    """A vocabulary of all bytes, "!" and '"' first as in the real one, and merges of two for each longer piece."""
    pieces = [bytes([byte]) for byte in [*range(33, 127), *range(33), *range(127, 256)]]
    for word in WORDS:
        data = word.encode()
        pieces += [data[:end] for end in range(2, len(data) + 1) if data[:end] not in pieces]
    return {piece: rank for rank, piece in enumerate(pieces)}


def _write(folder: Path, seed: int) -> None:
    cache = folder / "hf_cache"
    bigvgan_folder = cache / "bigvgan"
    bigvgan_folder.mkdir(parents=True)
    (cache / "w2v-bert-2.0").symlink_to(kept("w2v-bert-2.0", write_w2v))
    vocabulary = ranks()
    lines = (base64.b64encode(piece).decode() + f" {rank}\n" for piece, rank in vocabulary.items())
    (folder / VOCABULARY).write_text("".join(lines))

    tree = yaml.safe_load((HERE / "small_config.yaml").read_text())
    del tree["dataset"], tree["gpt"]["condition_module"]
    tree["gpt"]["number_text_tokens"] = len(vocabulary) + SPECIAL_TOKENS
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    config = OmegaConf.create(tree)

    gpt = random_module(seed, lambda: UnifiedVoice(**config.gpt))
    # Greedy decoding of random weights must be sure of its choice, and must not stop at once.
    gpt.mel_head.weight.data.mul_(8)
    gpt.mel_head.bias.data[config.gpt.stop_mel_token] = -1e4
    unread = {"text_head.weight": torch.zeros(3, 1280), "text_head.bias": torch.zeros(3)}
    torch.save(gpt.state_dict() | unread, folder / "gpt.pth")

    s2mel = random_module(seed + 1, lambda: MyModel(config.s2mel, use_gpt_latent=True))
    net = {name: module.state_dict() for name, module in s2mel.models.items()}
    torch.save({"net": net}, folder / "s2mel.pth")

    codec = random_module(seed + 2, lambda: EnhancedCodec(**config.semantic_codec)).state_dict()
    name = "quantizer.quantizers.0.out_project.weight"
    direction = codec.pop(name)
    codec |= {
        f"{name}_v": 3 * direction,
        f"{name}_g": direction.flatten(1).norm(dim=1)[:, None, None],
        "encoder.1.bias": torch.zeros(1024),
        "down.bias": torch.zeros(1024),
        "quantizer.quantizers.0.in_project.bias": torch.zeros(8),
    }
    torch.save({"model": codec, "optimizer": {"state": {}, "step": 3}}, folder / "codec.pth")

    campplus = random_module(seed + 3, lambda: CAMPPlus(feat_dim=80, embedding_size=192))
    torch.save(campplus.state_dict(), cache / "campplus_cn_common.bin")
    shutil.copy(HERE / "small_bigvgan.json", bigvgan_folder / "config.json")
    hyper = bigvgan.load_hparams_from_json(str(bigvgan_folder / "config.json"))
    vocoder = random_module(seed + 4, lambda: bigvgan.BigVGAN(hyper))
    bound_output(vocoder, seed)
    torch.save({"generator": vocoder.state_dict()}, bigvgan_folder / "bigvgan_generator.pt")

    generator = torch.Generator().manual_seed(seed)
    torch.save(torch.randn(sum(config.emo_num), 192, generator=generator), folder / "feat1.pt")
    torch.save(torch.randn(sum(config.emo_num), 1280, generator=generator), folder / "feat2.pt")
    mean, var = torch.randn(1024, generator=generator), torch.rand(1024, generator=generator)
    torch.save({"mean": 0.3 * mean, "var": 0.5 + var}, folder / "wav2vec2bert_stats.pt")
