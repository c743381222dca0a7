"""How a request's emotion is chosen: by text, by eight weights, by another recording, or the voice's own.

The first that is given counts, in this order: text, vector, voice. Order of the weights: EMOTIONS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.config import IndexTts2Config
from serving.models.indextts2.voice.conformer import Conditioner
from serving.models.indextts2.voice.conformer import convert as convert_conformer
from serving.models.indextts2.weights.state_dict import take
from serving.protocol import InputError

EMOTIONS = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")


class Emotion(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of emotion."""

    text: str | None = None
    """A text whose mood is taken; wins over the other two."""
    vector: tuple[float, ...] | None = None
    """Eight weights; wins over `voice`."""
    voice: Path | None = None
    """A recording whose emotion is taken."""
    alpha: float = 1.0
    """Strength. Scales text and vector (clamped to [0, 1]); between own and other emotion for `voice`."""


def weights(vector: Sequence[float], alpha: float) -> tuple[float, ...]:
    """The eight weights at strength `alpha`, clamped to [0, 1]; below 1 cut to four decimals as upstream.

    Raises InputError of emo_vector unless there are eight finite weights that are not negative.
    """
    if len(vector) != len(EMOTIONS) or not all(0 <= weight < float("inf") for weight in vector):
        raise InputError("emo_vector", f"must be {len(EMOTIONS)} weights of 0 or more: {', '.join(EMOTIONS)}")
    strength = min(max(alpha, 0.0), 1.0)
    if strength == 1.0:
        return tuple(vector)
    return tuple(int(weight * strength * 10000) / 10000 for weight in vector)


class EmotionEncoder(nn.Module):
    """Emotion of a recording as one vector, and the tables that the eight weights select from."""

    def __init__(self, config: IndexTts2Config) -> None:
        super().__init__()
        dim = config.gpt.model_dim
        self.sizes = list(config.emo_num)
        self.conditioner = Conditioner(config.gpt.emo_condition)
        self.widen = nn.Linear(config.gpt.emo_condition.latent_dim, dim)
        self.out = nn.Linear(dim, dim)
        self.styles: Tensor
        self.vectors: Tensor
        self.register_buffer("styles", torch.zeros(sum(self.sizes), config.s2mel.style_dim))
        """Styles of the speakers of the table, groups of emotions one after another."""
        self.register_buffer("vectors", torch.zeros(sum(self.sizes), dim))
        """Their emotion vectors, by the same rows."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states [B, T, 1024] to emotion vectors [B, 1280]."""
        vector: Tensor = self.out(self.widen(self.conditioner(hidden)[:, 0]))
        return vector

    def mix(self, style: Tensor, emotion_weights: Sequence[float], recorded: Tensor) -> Tensor:
        """Weigh one table row per emotion, nearest in style, and the recorded emotion by the rest.

        style [192], recorded [1280]. Returns [1280]: sum_i w_i row_i + (1 - sum w) recorded.
        """
        weight = torch.tensor(emotion_weights, device=recorded.device)
        groups = zip(torch.split(self.styles, self.sizes), torch.split(self.vectors, self.sizes), strict=True)
        rows = torch.stack(
            [vectors[F.cosine_similarity(style[None], styles, dim=1).argmax()] for styles, vectors in groups]
        )
        return (weight[:, None] * rows).sum(0) + (1 - weight.sum()) * recorded


def convert(official: Mapping[str, Tensor], styles: Tensor, vectors: Tensor) -> dict[str, Tensor]:
    """State of EmotionEncoder from gpt.pth, feat1.pt (styles) and feat2.pt (vectors)."""
    conditioner = convert_conformer(
        take(official, "emo_conditioning_encoder."), take(official, "emo_perceiver_encoder.")
    )
    state = {f"conditioner.{name}": value for name, value in conditioner.items()}
    state |= {f"widen.{name}": value for name, value in take(official, "emovec_layer.").items()}
    state |= {f"out.{name}": value for name, value in take(official, "emo_layer.").items()}
    return state | {"styles": styles.float(), "vectors": vectors.float()}


_PROMPT = "文本情感分类"
_NAMES = dict(zip(("高兴", "愤怒", "悲伤", "恐惧", "反感", "低落", "惊讶", "自然"), EMOTIONS, strict=True))
_MELANCHOLIC_WORDS = ("低落", "melancholy", "melancholic", "depression", "depressed", "gloomy")
_MAX_WEIGHT = 1.2
_MAX_ANSWER_TOKENS = 256


class TextEmotion:
    """The mood of a text by the checkpoint's fine-tuned language model. Greedy, so it repeats itself."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Raises InputError of emo_text if the folder or the package transformers is not there."""
        if not (folder / "config.json").is_file():
            raise InputError("emo_text", f"the checkpoint has no model for emotion by text ({folder.name})")
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError:
            raise InputError(
                "emo_text",
                "emotion by text needs the package transformers: pip install 'tts-serving[emo-text]'",
            ) from None
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
        self.model = cast(Any, model).to(device).eval()

    @torch.inference_mode()
    def read(self, text: str) -> tuple[float, ...]:
        """Eight weights in [0, 1.2], in the order of EMOTIONS."""
        messages = [{"role": "system", "content": _PROMPT}, {"role": "user", "content": text}]
        prompt = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        inputs = self.tokenizer([prompt], return_tensors="pt").to(self.model.device)
        answer = self.model.generate(
            **inputs,
            max_new_tokens=_MAX_ANSWER_TOKENS,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        tokens = answer[0, inputs.input_ids.shape[1] :]
        return parse_answer(self.tokenizer.decode(tokens, skip_special_tokens=True), text)


def parse_answer(answer: str, text: str) -> tuple[float, ...]:
    """The eight weights that the model's answer about `text` gives; calm if it names none.

    The answer is JSON with Chinese keys; of a broken one every `key: number` counts. The model takes
    melancholy for sadness: a text that holds a word for it has the two swapped.
    """
    try:
        scores = json.loads(answer)
    except json.JSONDecodeError:
        scores = None
    if not isinstance(scores, dict):
        found = re.findall(r"(\w+)\W*?[:：]\s*(\d+(?:\.\d+)?)", answer)
        scores = {name: float(number) for name, number in found}
    if any(word in text.lower() for word in _MELANCHOLIC_WORDS):
        scores["悲伤"], scores["低落"] = scores.get("低落", 0.0), scores.get("悲伤", 0.0)
    vector = tuple(min(max(float(scores.get(name, 0.0)), 0.0), _MAX_WEIGHT) for name in _NAMES)
    return vector if any(vector) else (*[0.0] * (len(EMOTIONS) - 1), 1.0)
