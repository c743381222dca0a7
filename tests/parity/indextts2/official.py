"""A small IndexTTS2 with random weights, saved in the official formats and opened by the official code.

    folder = checkpoint(seed=0)     # a folder as the hub gives it, auxiliaries under hf_cache/
    pipeline = pipeline(seed=0)     # indextts.infer_v2.IndexTTS2 on the CPU in float32

The modules are the classes of the package indextts2-inference and of transformers. Widths that the package
fixes in source (GPT 1280, semantic 1024, latents 32) keep their size; the others are small. Parameters that
these classes start as constants (norms, biases, weight-norm gains, batch statistics) are drawn at random, so
that a forgotten term shows in the result.

Folders are kept in the system's temporary folder under a key of this folder's inputs and the seed, so that a
second run of the suite does not build them again. All seeds share one w2v-bert, by far the largest part.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from indextts import infer_v2
from indextts.gpt.model_v2 import GPT2InferenceModel, UnifiedVoice
from indextts.s2mel.modules.bigvgan import bigvgan
from indextts.s2mel.modules.campplus.DTDNN import CAMPPlus
from indextts.s2mel.modules.commons import MyModel
from indextts.utils import maskgct_utils
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import nn
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

from bench.indextts2.package import give_attention_mask

HERE = Path(__file__).parent

CORPUS = [
    "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG. IT'S NOT A TRICK, IS IT? NO!",
    "SHE SELLS SEA-SHELLS BY THE SEA-SHORE, AND THEY ARE HERS. WHY NOT...",
    "PACK MY BOX WITH FIVE DOZEN LIQUOR JUGS; THEN REST, PLEASE. 0 1 2 3 4 5 6 7 8 9",
    "SPEECH IS MADE OF SOUNDS, WORDS AND PAUSES. A VOICE IS MORE THAN ITS WORDS!",
    "你 好 , 世 界 。 今 天 天 气 很 好 , 我 们 去 公 园 走 走 吧 ! XUAN4 ZHONG4 DE5",
    "这 是 一 个 测 试 . 语 音 合 成 ? 中 文 和 ENGLISH 可 以 混 合 - 好 的 ,",
]


class IdentityNormalizer:
    """Stands for the package's normaliser: the two sides must see the same text."""

    def __init__(self, **_: Any) -> None:
        self.term_glossary: dict[str, str] = {}

    def load(self) -> None: ...

    def normalize(self, text: str) -> str:
        return text


def checkpoint(seed: int) -> Path:
    """Folder of the small checkpoint of this seed, made if it is not there yet: 0.3 GB, w2v-bert 0.5 GB."""
    return kept(f"seed-{seed}", lambda folder: _write(folder, seed))


def kept(name: str, write: Callable[[Path], None], *more: Path) -> Path:
    """A folder that `write` has filled; made again when this file, the small configurations or `more` change."""
    inputs = [Path(__file__), HERE / "small_config.yaml", HERE / "small_bigvgan.json", *more]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"indextts2-parity-{os.getuid()}" / key / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
            made = Path(partial) / name
            made.mkdir()
            write(made)
            # A run at the same time may have been first; both folders hold the same bytes.
            if not folder.is_dir():
                made.rename(folder)
    return folder


@functools.cache
def pipeline(seed: int) -> infer_v2.IndexTTS2:
    """The official pipeline on checkpoint(seed), float32 on the CPU, with the mends that the README lists."""
    folder = checkpoint(seed)
    cache = folder / "hf_cache"
    local = {
        ("amphion/MaskGCT", "semantic_codec/model.safetensors"): cache / "semantic_codec_model.safetensors",
        ("funasr/campplus", "campplus_cn_common.bin"): cache / "campplus_cn_common.bin",
    }

    def hub_file(repo_id: str, filename: str) -> str:
        return str(local[repo_id, filename])

    class Bigvgan:
        class BigVGAN:
            @staticmethod
            def from_pretrained(_name: str, use_cuda_kernel: bool) -> Any:
                assert not use_cuda_kernel
                return _bigvgan(cache / "bigvgan")

    class FeatureExtractor:
        @staticmethod
        def from_pretrained(_name: str) -> Any:
            return SeamlessM4TFeatureExtractor.from_pretrained(cache / "w2v-bert-2.0")

    class SemanticModel:
        @staticmethod
        def from_pretrained(_name: str) -> Any:
            return _w2v()

    infer_v2.QwenEmotion = lambda _folder: None
    infer_v2.hf_hub_download = hub_file
    infer_v2.bigvgan = Bigvgan
    infer_v2.SeamlessM4TFeatureExtractor = FeatureExtractor
    infer_v2.TextNormalizer = IdentityNormalizer
    maskgct_utils.Wav2Vec2BertModel = SemanticModel
    give_attention_mask(GPT2InferenceModel)
    opened = infer_v2.IndexTTS2(model_dir=str(folder), device="cpu")
    for module in (opened.gpt, opened.s2mel, opened.bigvgan, opened.campplus_model):
        module.requires_grad_(False)
    return opened


@functools.cache
def _w2v() -> Wav2Vec2BertModel:
    return Wav2Vec2BertModel.from_pretrained(kept("w2v-bert-2.0", write_w2v)).requires_grad_(False)


def _write(folder: Path, seed: int) -> None:
    cache = folder / "hf_cache"
    bigvgan_folder = cache / "bigvgan"
    bigvgan_folder.mkdir(parents=True)
    (cache / "w2v-bert-2.0").symlink_to(kept("w2v-bert-2.0", write_w2v))
    shutil.copy(HERE / "small_config.yaml", folder / "config.yaml")
    config = OmegaConf.load(folder / "config.yaml")
    (folder / "bpe.model").write_bytes(tokenizer_model())

    gpt = random_module(seed, lambda: UnifiedVoice(**config.gpt))
    # Greedy decoding of random weights must be sure of its choice, and must not stop at once.
    gpt.mel_head.weight.data.mul_(8)
    gpt.mel_head.bias.data[config.gpt.stop_mel_token] = -1e4
    torch.save(gpt.state_dict(), folder / "gpt.pth")

    s2mel = random_module(seed + 1, lambda: MyModel(config.s2mel, use_gpt_latent=True))
    torch.save(
        {"net": {name: module.state_dict() for name, module in s2mel.models.items()}}, folder / "s2mel.pth"
    )

    codec = random_module(seed + 2, lambda: maskgct_utils.build_semantic_codec(config.semantic_codec))
    save_file(_contiguous(codec), cache / "semantic_codec_model.safetensors")
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
    stats = {
        "mean": 0.3 * torch.randn(1024, generator=generator),
        "var": 0.5 + torch.rand(1024, generator=generator),
    }
    torch.save(stats, folder / "wav2vec2bert_stats.pt")


def write_w2v(folder: Path) -> None:
    """The small w2v-bert that all seeds share."""
    # One layer more than is read, so that taking the last hidden state shows.
    config = Wav2Vec2BertConfig(num_hidden_layers=18, intermediate_size=64)
    random_module(5, lambda: Wav2Vec2BertModel(config)).save_pretrained(folder)
    extractor: Any = SeamlessM4TFeatureExtractor
    extractor(feature_size=80, num_mel_bins=80, padding_value=1, stride=2).save_pretrained(folder)


def tokenizer_model() -> bytes:
    """A SentencePiece model of a few hundred pieces. The iterator form keeps file paths out of its bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 4),
        model_writer=model,
        vocab_size=220,
        hard_vocab_limit=False,
        character_coverage=1.0,
        bos_id=0,
        eos_id=1,
        unk_id=2,
        pad_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


@torch.no_grad()
def bound_output(vocoder: Any, seed: int) -> None:
    """Scale the last convolution so that the wave stays within [-1, 1]: clamping would hide differences."""
    peaks: list[torch.Tensor] = []
    hook = vocoder.conv_post.register_forward_hook(lambda _m, _i, out: peaks.append(out.abs().max()))
    vocoder(1.5 * torch.randn(1, 80, 64, generator=torch.Generator().manual_seed(seed)))
    hook.remove()
    vocoder.conv_post.weight_g.mul_(0.4 / peaks[0])


def _bigvgan(folder: Path) -> Any:
    model = bigvgan.BigVGAN(bigvgan.load_hparams_from_json(str(folder / "config.json")))
    model.load_state_dict(torch.load(folder / "bigvgan_generator.pt", weights_only=True)["generator"])
    return model


def _contiguous(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}


@torch.no_grad()
def random_module(seed: int, build: Callable[[], Any]) -> Any:
    """Build a module from this seed, then move every parameter and statistic that starts as a constant."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build().eval()
        for name, tensor in module.named_parameters():
            if name.endswith("weight_g"):
                tensor.uniform_(0.7, 1.3)
            elif tensor.dim() < 2 or min(tensor.shape) == 1:
                tensor.add_(0.1 * torch.randn_like(tensor))
            elif tensor.std() < 1e-4:
                tensor.normal_(std=tensor[0].numel() ** -0.5)
        for name, tensor in module.named_buffers():
            if name.endswith("running_mean"):
                tensor.normal_(std=0.1)
            elif name.endswith("running_var"):
                tensor.uniform_(0.7, 1.3)
    return module
