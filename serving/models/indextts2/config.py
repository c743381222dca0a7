"""Shapes of IndexTTS2. No torch. config_file.py reads them from an official folder.

    config = IndexTts2Config.official()   # the released 2.0 shapes
    config = IndexTts2Config.tiny()       # the same graph at toy widths

Fields that the official code fixes in source (latent counts, filter sizes) stand here with its values as
defaults, so that every shape of our modules comes from this file. The defaults are the released model's.
"""

from __future__ import annotations

import msgspec

AUXILIARIES = {
    "w2v_bert": "hf_cache/w2v-bert-2.0",
    "semantic_codec": "hf_cache/semantic_codec_model.safetensors",
    "campplus": "hf_cache/campplus_cn_common.bin",
    "bigvgan": "hf_cache/bigvgan",
}
"""Auxiliary models by option name, to where the official code keeps them under the checkpoint's folder."""


class ConformerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A conditioning conformer and the perceiver that pools it to a fixed number of latents."""

    input_dim: int = 1024
    output_size: int = 512
    linear_units: int = 2048
    attention_heads: int = 8
    """Also the heads of the perceiver, 64 wide each."""
    num_blocks: int = 6
    perceiver_mult: int = 2
    cnn_kernel: int = 15
    latents: int = 32
    latent_dim: int = 1280


class GptConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The autoregressive code model."""

    model_dim: int = 1280
    layers: int = 24
    heads: int = 20
    max_mel_tokens: int = 1815
    max_text_tokens: int = 600
    number_text_tokens: int = 12000
    number_mel_codes: int = 8194
    start_mel_token: int = 8192
    stop_mel_token: int = 8193
    start_text_token: int = 0
    stop_text_token: int = 1
    language_rows: int = 0
    """Rows of the language embedding (2.5); 0: none, and two speed vectors follow the speaker's (2.0)."""
    first_language_token: int = 0
    """The text id of the language of row 0. Each segment's text begins with the id of its language."""
    condition: ConformerConfig = ConformerConfig()
    emo_condition: ConformerConfig = ConformerConfig(
        linear_units=1024, attention_heads=4, num_blocks=4, latents=1, latent_dim=1024
    )

    @property
    def text_rows(self) -> int:
        """Rows of text_embedding."""
        return self.number_text_tokens + 1

    @property
    def text_positions(self) -> int:
        """Rows of text_pos_embedding."""
        return self.max_text_tokens + 2

    @property
    def mel_positions(self) -> int:
        """Rows of mel_pos_embedding."""
        return self.max_mel_tokens + 3

    @property
    def prefix_rows(self) -> int:
        """Vectors before the text: the speaker's, and two more."""
        return self.condition.latents + 2


class CodecConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The semantic codec. 2.0 runs its encoder and quantiser, 2.5 its codebook and decoder."""

    codebook_size: int = 8192
    hidden_size: int = 1024
    codebook_dim: int = 8
    vocos_dim: int = 384
    vocos_intermediate_dim: int = 2048
    vocos_num_layers: int = 12
    frames_per_code: int = 1
    """Semantic frames, of 20 ms, that a code stands for: 2 in 2.5."""


class MelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The log-mel spectrogram that the flow makes and the vocoder reads."""

    sample_rate_hz: int = 22050
    n_fft: int = 1024
    win_length: int = 1024
    hop_length: int = 256
    n_mels: int = 80
    fmin_hz: float = 0.0
    fmax_hz: float | None = None
    """None is half the sample rate."""

    def frames(self, seconds: float) -> int:
        """Frames of this many seconds of audio, rounded."""
        return round(seconds * self.sample_rate_hz / self.hop_length)


class LengthRegulatorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Semantic frames to mel frames."""

    in_channels: int = 1024
    channels: int = 512
    stages: int = 4


class DiTConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The transformer of the flow's velocity estimator."""

    hidden_dim: int = 512
    num_heads: int = 8
    depth: int = 13
    in_channels: int = 80
    content_dim: int = 512
    max_frames: int = 16384
    """Rows of the rotary table: twice the official block_size, as upstream builds it."""
    frequency_dim: int = 256
    """Width of the sinusoidal time embedding."""


class WaveNetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The convolutional tail of the velocity estimator."""

    hidden_dim: int = 512
    num_layers: int = 8
    kernel_size: int = 5
    dilation_rate: int = 1


class S2MelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Semantic codes to mel: length regulator and conditional flow matching."""

    mel: MelConfig = MelConfig()
    style_dim: int = 192
    length_regulator: LengthRegulatorConfig = LengthRegulatorConfig()
    dit: DiTConfig = DiTConfig()
    wavenet: WaveNetConfig = WaveNetConfig()
    gpt_layer_dims: tuple[int, ...] = (1280, 256, 128, 1024)
    """Widths of the activation-free projection of GPT latents onto semantic frames."""


class BigVganConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The vocoder, by the names of its own config.json."""

    num_mels: int = 80
    upsample_rates: tuple[int, ...] = (4, 4, 2, 2, 2, 2)
    upsample_kernel_sizes: tuple[int, ...] = (8, 8, 4, 4, 4, 4)
    upsample_initial_channel: int = 1536
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    snake_logscale: bool = True
    use_tanh_at_final: bool = False
    use_bias_at_final: bool = False

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        product = 1
        for rate in self.upsample_rates:
            product *= rate
        return product


class W2vBertConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The speech encoder w2v-bert-2.0 up to the layer whose output is read."""

    feature_projection_input_dim: int = 160
    hidden_size: int = 1024
    num_hidden_layers: int = 17
    """Layers that run. The released model has 24; hidden_states[17] is the output of the 17th."""
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    conv_depthwise_kernel_size: int = 31
    left_max_position_embeddings: int = 64
    right_max_position_embeddings: int = 8
    layer_norm_eps: float = 1e-5


class CampPlusConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The speaker-style encoder (CAMPPlus, a densely connected TDNN)."""

    feat_dim: int = 80
    embedding_size: int = 192
    growth_rate: int = 32
    bn_size: int = 4
    init_channels: int = 128
    head_channels: int = 32
    block_layers: tuple[int, ...] = (12, 24, 16)


class FileNames(msgspec.Struct, frozen=True, kw_only=True):
    """Files of the official folder, relative to it."""

    gpt_checkpoint: str = "gpt.pth"
    s2mel_checkpoint: str = "s2mel.pth"
    w2v_stat: str = "wav2vec2bert_stats.pt"
    emo_matrix: str = "feat2.pt"
    spk_matrix: str = "feat1.pt"
    qwen_emo_path: str = "qwen0.6bemo4-merge/"
    bpe_model: str = "bpe.model"


class IndexTts2Config(msgspec.Struct, frozen=True, kw_only=True):
    """Every shape of the model."""

    gpt: GptConfig = GptConfig()
    codec: CodecConfig = CodecConfig()
    s2mel: S2MelConfig = S2MelConfig()
    vocoder: BigVganConfig = BigVganConfig()
    w2v: W2vBertConfig = W2vBertConfig()
    campplus: CampPlusConfig = CampPlusConfig()
    emo_num: tuple[int, ...] = (3, 17, 2, 8, 4, 5, 10, 24)
    """Rows of the emotion tables per emotion, in the order happy, angry, sad, afraid, disgusted, melancholic,
    surprised, calm."""
    files: FileNames = FileNames()

    @classmethod
    def official(cls) -> IndexTts2Config:
        """The shapes of the released IndexTTS-2."""
        return cls()

    @classmethod
    def tiny(cls) -> IndexTts2Config:
        """The same graph at toy widths, for tests on random weights: about two million parameters in all.

        The vocoder, nearly all of a toy's time, has also fewer convolutions.
        """
        semantic = 32
        condition = ConformerConfig(
            input_dim=semantic,
            output_size=16,
            linear_units=32,
            attention_heads=2,
            num_blocks=2,
            latent_dim=64,
        )
        return cls(
            gpt=GptConfig(
                model_dim=64,
                layers=2,
                heads=2,
                max_mel_tokens=256,
                max_text_tokens=160,
                number_text_tokens=200,
                number_mel_codes=130,
                start_mel_token=128,
                stop_mel_token=129,
                condition=condition,
                emo_condition=msgspec.structs.replace(
                    condition, num_blocks=1, latents=1, latent_dim=semantic
                ),
            ),
            codec=CodecConfig(
                codebook_size=128,
                hidden_size=semantic,
                vocos_dim=16,
                vocos_intermediate_dim=32,
                vocos_num_layers=2,
            ),
            s2mel=S2MelConfig(
                length_regulator=LengthRegulatorConfig(in_channels=semantic, channels=32),
                dit=DiTConfig(hidden_dim=32, num_heads=2, depth=3, content_dim=32),
                wavenet=WaveNetConfig(hidden_dim=32, num_layers=2),
                gpt_layer_dims=(64, 16, 8, semantic),
            ),
            vocoder=BigVganConfig(
                upsample_initial_channel=64,
                resblock_kernel_sizes=(3, 5),
                resblock_dilation_sizes=((1, 3), (1, 3)),
            ),
            w2v=W2vBertConfig(
                hidden_size=semantic, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
            ),
            campplus=CampPlusConfig(
                growth_rate=4, init_channels=16, head_channels=4, block_layers=(2, 2, 2), embedding_size=192
            ),
        )
