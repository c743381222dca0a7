"""Request fields of the model, and model.options of a profile that names it. No torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta

from serving.models.base import ModelOptions, RequestFields, VoiceName
from serving.models.indextts2.config import IndexTts2Config
from serving.native.choice import Kernels
from serving.profile import ProfileError

MAX_TOP_K = 128
"""What the sampler sorts, see sampling.py."""


Fused = Literal["norm", "attention", "swiglu", "wavenet", "layer", "embedding", "sampler", "vocoder"]
FUSED: tuple[Fused, ...] = get_args(Fused)


class Fields(RequestFields, frozen=True, kw_only=True):
    """Request fields of IndexTTS2."""

    temperature: Annotated[
        float, Meta(ge=0.0, le=2.0, description="Sampling temperature; 0 takes the likeliest code.")
    ] = 0.8
    top_p: Annotated[float, Meta(gt=0.0, le=1.0, description="Nucleus sampling mass.")] = 0.8
    top_k: Annotated[int, Meta(ge=1, le=MAX_TOP_K, description="Sampling keeps this many candidates.")] = 30
    max_text_tokens_per_segment: Annotated[
        int, Meta(ge=20, le=600, description="Longer texts are cut into segments of at most this length.")
    ] = 120
    emo_text: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1000, extra_json_schema={"pattern": r"\S"})] | None,
        Meta(description="Speak in the mood of this text. Wins over emo_vector, which wins over emo_voice."),
    ] = None
    emo_vector: Annotated[
        Annotated[tuple[Annotated[float, Meta(ge=0.0, le=1.2)], ...], Meta(min_length=8, max_length=8)]
        | None,
        Meta(
            description="Weights of happy, angry, sad, afraid, disgusted, melancholic, surprised and calm. "
            "What they lack to 1 is the voice's own emotion."
        ),
    ] = None
    emo_voice: Annotated[
        VoiceName | None, Meta(description="Speak with the emotion of this voice, a name from GET /voices.")
    ] = None
    emo_alpha: Annotated[
        float, Meta(ge=0.0, le=1.0, description="Strength of the emotion; 0 is the voice's own.")
    ] = 1.0


class Options(ModelOptions, frozen=True, kw_only=True):
    """The model's own settings."""

    languages: ClassVar[tuple[str, ...]] = ("zh", "en")
    """What it speaks, as ModelSpec.languages."""

    weights: Literal["checkpoint", "random"] = "checkpoint"
    """random: the same shapes from a seed, to measure speed or to test; it speaks noise."""
    checkpoint: str = ""
    """Folder of the official files (`tts-serving fetch indextts2 --to DIR` makes one)."""
    auxiliaries: dict[str, str] = msgspec.field(default_factory=dict)
    """Places of w2v_bert, semantic_codec, campplus and bigvgan other than hf_cache/ in the checkpoint."""
    store: str = ""
    """Folder of the converted weights; empty: a folder inside the checkpoint's."""
    size: Literal["official", "tiny"] = "official"
    """Shapes of random weights."""
    weights_seed: int = 0
    voices: str = ""
    """Folder of reference recordings; a file's name without its suffix is the voice's name."""
    default_voice: str = ""
    """Empty: the first by name."""
    preload: Literal["none", "default", "all"] = "none"
    """Voices that are conditioned at start, so that their first request need not wait for it."""
    quick_streaming_tokens: Annotated[int, Meta(ge=0)] = 0
    """Within this many tokens from the start, segments only grow to half the limit: sound comes sooner."""
    max_segment_tokens: Annotated[int, Meta(ge=20)] = 240
    """Longest segment, in text tokens; the cache of each slot has room for it. At most what the model takes."""
    silence_s: Annotated[float, Meta(ge=0, le=10)] = 0.2
    """Silence between two segments of a request."""

    positions: Literal["official", "aligned"] = "aligned"
    """official: codes are drawn as the official sampler does it, one position ahead of training, and their
    latents come from a second pass. aligned: positions as in training, and no second pass.
    """
    max_codes: Annotated[int, Meta(ge=1)] = 1500
    """Most codes of a segment, 50 a second; the cache of each slot has room for them. At most what the model
    takes.
    """
    min_codes: Annotated[int, Meta(ge=0)] = 0
    """The stop is not drawn before; with min_codes = max_codes every segment has exactly that many codes."""
    repetition_penalty: Annotated[float, Meta(gt=0)] = 10.0
    kernels: Kernels = "auto"
    fused: Literal["auto"] | list[Fused] = "auto"
    """Parts that run in Triton kernels, on CUDA: of the flow norm, attention (with its rotation), swiglu and wavenet;
    of decoding layer (its norms and its cache), embedding and sampler, and what lies between the convolutions of the
    vocoder. auto: all of them on CUDA, none on a CPU; an empty list: plain torch. One that differs from plain torch at
    the start is left out.
    """
    flow_iterations: Annotated[int, Meta(ge=1, le=100)] = 25
    """Euler iterations of the flow."""
    guidance: Annotated[float, Meta(ge=0)] = 0.7
    """Classifier-free guidance; 0 halves the work of the flow."""
    prompt_s: Annotated[float, Meta(ge=0.1, le=15)] = 15.0
    """Seconds of the reference, its end, that prompt the flow; a shorter prompt is less work."""
    history_s: Annotated[float, Meta(ge=0)] = 2.0
    """Seconds already spoken that prompt a stream's next window, besides the reference."""
    lookahead_s: Annotated[float, Meta(ge=0.02)] = 0.16
    """What a stream's window draws past its end, for the right context of its last frames."""
    flow_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: engine.dtype on CUDA, float32 on a CPU."""
    flow_rows: Annotated[int, Meta(ge=1)] = 16
    """Most segments of one flow step; with guidance each is two rows."""
    vocoder_frames: Annotated[int, Meta(ge=16)] = 512
    """Longest stretch of mel that is vocoded at once; stretches overlap by the vocoder's reach."""
    step_shapes: Literal["coarse", "fine"] = "coarse"
    """fine: twice as many shapes of decode, flow and vocoder are captured, so that less of a step is padding and no row
    waits for a shape; the start takes longer, and the graphs more memory."""
    vocoder_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    voice_cache_bytes: Annotated[int, Meta(ge=0)] = 512 * 1024 * 1024
    """What the conditioning of voices may hold together; the least recently used goes first."""

    def shapes(self) -> IndexTts2Config:
        """Shapes of random weights of `size`."""
        return IndexTts2Config.tiny() if self.size == "tiny" else IndexTts2Config.official()


def check_options(options: Options) -> None:
    """Raise ProfileError, which names the key, unless the options are enough to speak."""
    if options.weights == "checkpoint" and not options.checkpoint:
        raise ProfileError(
            "model.options.checkpoint must name the folder of the official files; "
            'or set model.options.weights to "random"'
        )
    if options.min_codes > options.max_codes:
        raise ProfileError(
            f"model.options.min_codes: {options.min_codes} is more than max_codes, {options.max_codes}"
        )


def sizes(options: Options) -> IndexTts2Config | None:
    """Shapes of random weights; None where the checkpoint has them."""
    if options.weights == "checkpoint":
        return None
    return options.shapes()
