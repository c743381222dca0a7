"""The official implementation as packaged (indextts2-inference), with random weights of the official shapes.

    package = Package(codes=150, prompt_s=3.0, device=torch.device("cpu"))
    samples = package.speak(seed=0)

Its own `infer` runs: sampling without beams, second pass, 25 Euler iterations, vocoder. What it would compute of a
voice is put into its cache, its tokeniser is replaced by ids, and the stop is out of reach, so that every
request has the same count of codes. Nothing else is changed but for give_attention_mask.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch

from serving.models.indextts2.weights.checkpoint import NoInitialWeights

SHAPES = Path(__file__).with_name("official.yaml")
VOICE = "a cached voice"
_HIDDEN_HZ = 50
"""Rate of the hidden states of the voice's recording."""


class PackageMissing(RuntimeError):
    """The package indextts2-inference is not installed, or not with what it needs; says what is missing."""


class Ids:
    """Stands for the package's tokeniser: one segment, whose ids are drawn from a seed."""

    unk_token_id = -1

    def __init__(self, tokens: int, table: int) -> None:
        self._tokens, self._table = tokens, table

    def tokenize(self, text: str) -> list[int]:
        """Ids of a request; `text` is its seed."""
        generator = torch.Generator().manual_seed(int(text))
        return torch.randint(2, self._table, (self._tokens,), generator=generator).tolist()

    def split_segments(self, ids: list[int], *_: Any, **__: Any) -> list[list[int]]:
        return [ids]

    def convert_tokens_to_ids(self, ids: list[int]) -> list[int]:
        return ids


class Package:
    """The official pipeline with one cached voice."""

    def __init__(
        self,
        *,
        codes: int,
        prompt_s: float,
        text_tokens: int,
        device: torch.device,
        half: bool = False,
        shapes: Path = SHAPES,
    ) -> None:
        """`half`: its fp16 mode, for CUDA. Raises PackageMissing."""
        os.environ.setdefault("TQDM_DISABLE", "1")
        try:
            from indextts import infer_v2
            from indextts.gpt.model_v2 import GPT2InferenceModel, UnifiedVoice
            from indextts.s2mel.modules.bigvgan import bigvgan
            from indextts.s2mel.modules.commons import MyModel
            from indextts.utils.maskgct_utils import build_semantic_codec
            from omegaconf import OmegaConf
        except ImportError as error:
            raise PackageMissing(f"indextts2-inference cannot be imported: {error}") from None
        give_attention_mask(GPT2InferenceModel)
        config = OmegaConf.load(shapes)
        torch.manual_seed(0)
        pipeline: Any = infer_v2.IndexTTS2.__new__(infer_v2.IndexTTS2)
        pipeline.cfg = config
        pipeline.device, pipeline.use_fp16 = str(device), half
        pipeline.dtype = torch.float16 if half else None
        pipeline.stop_mel_token = config.gpt.stop_mel_token
        with NoInitialWeights():
            gpt = fill(UnifiedVoice(**config.gpt, use_accel=False))
            codec = fill(build_semantic_codec(config.semantic_codec))
            s2mel = fill(MyModel(config.s2mel, use_gpt_latent=True))
            hyper = bigvgan.AttrDict(OmegaConf.to_container(config.vocoder_shape))
            vocoder = fill(bigvgan.BigVGAN(hyper))
        gpt.mel_head.bias.data[config.gpt.stop_mel_token] = -1e4
        gpt = gpt.to(device).eval()
        pipeline.gpt = gpt.half() if half else gpt
        gpt.post_init_gpt2_config(use_deepspeed=False, kv_cache=True, half=half)
        pipeline.semantic_codec = codec.to(device).eval()
        pipeline.s2mel = s2mel.to(device)
        flow = pipeline.s2mel.models["cfm"].estimator
        flow.setup_caches(max_batch_size=1, max_seq_length=config.s2mel.DiT.block_size)
        pipeline.s2mel.eval()
        pipeline.bigvgan = vocoder.to(device).eval()
        pipeline.bigvgan.remove_weight_norm()
        pipeline.tokenizer = Ids(text_tokens, config.gpt.number_text_tokens)
        self._fill_cache(pipeline, prompt_s, device)
        for module in (pipeline.gpt, pipeline.s2mel, pipeline.bigvgan, pipeline.semantic_codec):
            module.requires_grad_(False)
        self._pipeline = pipeline
        self._codes = codes
        self.sample_rate_hz = int(config.s2mel.preprocess_params.sr)

    def speak(self, seed: int) -> int:
        """Speak one request; returns its samples."""
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            # It warns that the codes reached their limit, which they must.
            warnings.simplefilter("ignore")
            _, wave = self._pipeline.infer(VOICE, str(seed), None, num_beams=1, max_mel_tokens=self._codes)
        return len(wave)

    @staticmethod
    def _fill_cache(pipeline: Any, prompt_s: float, device: torch.device) -> None:
        s2mel = pipeline.cfg.s2mel
        mel, channels = s2mel.preprocess_params, s2mel.length_regulator.channels
        frames = round(prompt_s * mel.sr / mel.spect_params.hop_length)
        hidden = torch.randn(1, round(prompt_s * _HIDDEN_HZ), 1024, device=device)
        pipeline.cache_spk_audio_prompt = pipeline.cache_emo_audio_prompt = VOICE
        pipeline.cache_spk_cond = hidden
        pipeline.cache_emo_cond = hidden + 0.1 * torch.randn_like(hidden)
        pipeline.cache_s2mel_style = torch.randn(1, 192, device=device)
        pipeline.cache_s2mel_prompt = torch.randn(1, frames, channels, device=device)
        pipeline.cache_mel = torch.randn(1, 80, frames, device=device) - 2.0


@torch.no_grad()
def fill(module: Any) -> Any:
    """Draw every parameter anew, small enough for its fan-in: the classes' own initial weights take a minute."""
    for parameter in module.parameters():
        bound = max(parameter[0].numel(), 1) ** -0.5 if parameter.dim() > 1 else 0.1
        parameter.uniform_(-bound, bound)
    return module


def give_attention_mask(model_class: Any) -> None:
    """Hand the package's inference model the all-ones attention mask that transformers 5 drops.

    The package reads the position of the next code from the mask's length, and does not decode without it.
    """
    inner = model_class.prepare_inputs_for_generation
    if getattr(inner, "gives_attention_mask", False):
        return

    def prepare(
        self: Any,
        input_ids: torch.Tensor,
        past_key_values: Any = None,
        attention_mask: Any = None,
        **rest: Any,
    ) -> Any:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return inner(self, input_ids, past_key_values, attention_mask=mask, **rest)

    prepare.gives_attention_mask = True  # type: ignore[attr-defined]
    model_class.prepare_inputs_for_generation = prepare
