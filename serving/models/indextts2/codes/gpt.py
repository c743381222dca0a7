"""The autoregressive code model: text and a speaker's latents to semantic codes and their latents.

A GPT-2 stack without its own positions: text and codes bring theirs. After the stack come ln_f and then a
second norm, final_norm; the code head has a bias. The sequence of one row is

    latents + emovec (32) | speed(1) speed(0) | text: start ids.. stop | start code | code 0 | code 1 | ..

where text and codes count positions from zero, each with their own table. In 2.5 the speaker is one vector, the two
after it are zeros, and the text's first id is its language, whose embedding is added to every place of the text.
Everything here is a function of its arguments; the cache is a CodeCache whose buffers keep their addresses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.models.indextts2.codes import fused
from serving.models.indextts2.codes.attention import decode_attention, extend_attention
from serving.models.indextts2.config import GptConfig

MAX_ROWS = 64
"""Of a decode step whose layers are fused; past these the accumulators would not fit the registers."""


class CodeCache:
    """Keys and values of every slot: per layer [rows, heads, cells, 64].

    The last row belongs to inert rows of a batch, and the last cell of each row takes what is past its end,
    so that padding may be written without a branch.
    """

    def __init__(
        self, config: GptConfig, rows: int, max_cells: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Allocate rows + 1 rows of max_cells + 1 cells."""
        shape = (rows + 1, config.heads, max_cells + 1, config.model_dim // config.heads)
        self.max_cells = max_cells
        self.spare_row = rows
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.layers)]

    def write(self, layer: int, slots: Tensor, cells: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store keys and values [R, M, H, D] in cells [R, M] of rows slots [R]."""
        self.keys[layer][slots[:, None], :, cells] = keys
        self.values[layer][slots[:, None], :, cells] = values

    def copy_rows(self, sources: Tensor, targets: Tensor, span: int) -> None:
        """Copy the first `span` cells of rows `sources` to rows `targets`."""
        for cached in (*self.keys, *self.values):
            cached[targets, :, :span] = cached[sources, :, :span]


class Block(nn.Module):
    """A pre-norm GPT-2 block around an attention that the caller brings."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        """x [.., D]; `attend` takes queries, keys and values [.., 3 D] to values [.., D]."""
        x = x + self.out(attend(self.qkv(self.attention_norm(x))))
        hidden = F.gelu(self.up(self.mlp_norm(x)), approximate="tanh")
        y: Tensor = x + self.down(hidden)
        return y


class Gpt(nn.Module):
    """Weights and pure functions of the code model. Shapes: R rows, D model_dim, V number_mel_codes."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        dim = config.model_dim
        self.config = config
        self.text_embedding = nn.Embedding(config.text_rows, dim)
        self.text_positions = nn.Embedding(config.text_positions, dim)
        self.code_embedding = nn.Embedding(config.number_mel_codes, dim)
        self.code_positions = nn.Embedding(config.mel_positions, dim)
        if config.language_rows:
            self.language_embedding = nn.Embedding(config.language_rows, dim)
        else:
            self.speed_embedding = nn.Embedding(2, dim)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(config.layers))
        self.stack_norm = nn.LayerNorm(dim)
        self.final_norm = nn.LayerNorm(dim)
        self.code_head = nn.Linear(dim, config.number_mel_codes)
        self.fused: frozenset[str] = frozenset()
        """With "layer" in it, decode() of few rows runs each layer as five Triton kernels; see fused.py."""

    @property
    def dtype(self) -> torch.dtype:
        """Of activations and weights."""
        return self.text_positions.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return self.text_positions.weight.device

    def prefix(
        self, latents: Tensor, emovec: Tensor, text: Tensor, text_lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embed latents [R, N, D], emovec [R, D] and text ids int64 [R, L] (text_lengths of them live).

        The ids come without the start and stop of text, which are added here, and so is the start code.
        Returns [R, N + 2 + L + 3, D] and the live lengths int64 [R]; live vectors come first.
        """
        config = self.config
        rows, width = text.shape
        place = torch.arange(width + 3, device=text.device)
        ids = F.pad(text, (1, 2))
        ids = torch.where(place == 0, config.start_text_token, ids)
        ids = torch.where(place == text_lengths[:, None] + 1, config.stop_text_token, ids)
        is_code = place == text_lengths[:, None] + 2
        ids = ids.masked_fill(place > text_lengths[:, None] + 1, 0)
        text_vectors = (
            self.text_embedding(ids) + self.text_positions.weight[place.clamp(max=config.text_positions - 1)]
        )
        start = self.code_embedding.weight[config.start_mel_token] + self.code_positions.weight[0]
        voice = latents + emovec[:, None]
        if config.language_rows:
            language = (ids[:, 1] - config.first_language_token).clamp(0, config.language_rows - 1)
            text_vectors = text_vectors + self.language_embedding(language)[:, None]
            after = voice.new_zeros(rows, 2, config.model_dim)
        else:
            after = self.speed_embedding.weight.flip(0).expand(rows, -1, -1)
        vectors = torch.cat([voice, after, torch.where(is_code[:, :, None], start, text_vectors)], dim=1)
        return vectors.to(self.dtype), text_lengths + latents.shape[1] + 5

    def embed_codes(self, codes: Tensor, positions: Tensor) -> Tensor:
        """Vectors of codes at code positions, both int64 of one shape; positions past the table take its
        end."""
        positions = positions.clamp(max=self.config.mel_positions - 1)
        vectors: Tensor = self.code_embedding(codes) + self.code_positions(positions)
        return vectors.to(self.dtype)

    def extend(
        self,
        vectors: Tensor,
        lengths: Tensor,
        slots: Tensor,
        cache: CodeCache,
        starts: Tensor | None = None,
        span: int = 0,
    ) -> Tensor:
        """Run M vectors [R, M, D] of each row, of which lengths [R] are live, and cache their keys and
        values.

        Without `starts` the rows begin at cell 0; with it they follow starts[r] cached cells and attend to
        them, and span >= every starts[r] + M bounds the cells that are read. Returns the final states [R, M,
        D]; those of padding mean nothing.
        """
        rows, width, dim = vectors.shape
        heads = self.config.heads
        place = torch.arange(width, device=vectors.device)
        first = 0 if starts is None else starts[:, None]
        live = place < lengths[:, None]
        cells = torch.where(live, first + place, cache.max_cells).clamp(max=cache.max_cells)

        def attend(layer: int, qkv: Tensor) -> Tensor:
            q, k, v = qkv.view(rows, width, 3, heads, -1).unbind(2)
            cache.write(layer, slots, cells, k, v)
            query = q.transpose(1, 2)
            if starts is None:
                y = F.scaled_dot_product_attention(
                    query, k.transpose(1, 2), v.transpose(1, 2), is_causal=True
                )
            else:
                y = extend_attention(query, cache.keys[layer], cache.values[layer], slots, starts, span)
            return y.transpose(1, 2).reshape(rows, width, dim)

        x = vectors
        for layer, block in enumerate(self.blocks):
            x = block(x, functools.partial(attend, layer))
        return self.normalise(x)

    def decode(self, vectors: Tensor, slots: Tensor, lengths: Tensor, cache: CodeCache, span: int) -> Tensor:
        """Run one vector [R, D] per row at cell lengths[r]; `span` > every lengths[r]. Returns states [R,
        D]."""
        if "layer" in self.fused and len(vectors) <= MAX_ROWS:
            return self._decode_fused(vectors, slots, lengths, cache, span)
        rows, dim = vectors.shape
        heads = self.config.heads
        cells = lengths.clamp(max=cache.max_cells)[:, None]
        live = (lengths + 1).clamp(max=span)

        def attend(layer: int, qkv: Tensor) -> Tensor:
            q, k, v = qkv.view(rows, 3, heads, -1).unbind(1)
            cache.write(layer, slots, cells, k[:, None], v[:, None])
            cached = (cache.keys[layer], cache.values[layer])
            y: Tensor = decode_attention(q, *cached, slots, live, span, fused="layer" in self.fused)
            return y.reshape(rows, dim)

        x = vectors
        for layer, block in enumerate(self.blocks):
            x = block(x, functools.partial(attend, layer))
        return self.normalise(x)

    def _decode_fused(
        self, vectors: Tensor, slots: Tensor, lengths: Tensor, cache: CodeCache, span: int
    ) -> Tensor:
        """decode() with five kernels a layer: norms, sums and activations are in the products, the cache in its use."""
        rows, dim = vectors.shape
        live = (lengths + 1).clamp(max=span)
        x = vectors
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            qkv = _product(x, block.qkv, norm=block.attention_norm).view(rows, 3, self.config.heads, -1)
            y = fused.attend_and_write(qkv, cache.keys[layer], cache.values[layer], slots, live, span)
            x = _product(y.view(rows, dim), block.out, residual=x)
            hidden = _product(x, block.up, norm=block.mlp_norm, gelu=True)
            x = _product(hidden, block.down, residual=x)
        return self.normalise(x)

    def normalise(self, x: Tensor) -> Tensor:
        """ln_f and then final_norm: the official model has both."""
        states: Tensor = self.final_norm(self.stack_norm(x))
        return states

    def logits(self, states: Tensor) -> Tensor:
        """float32 logits [.., V] of states [.., D]."""
        logits: Tensor = self.code_head(states)
        return logits.float()


def _product(
    x: Tensor,
    layer: nn.Linear,
    *,
    norm: nn.LayerNorm | None = None,
    residual: Tensor | None = None,
    gelu: bool = False,
) -> Tensor:
    around = (None, None, 0.0) if norm is None else (norm.weight, norm.bias, norm.eps)
    y: Tensor = fused.linear(x, layer.weight, layer.bias, *around, residual, gelu)
    return y


def spoken_ids(ids: Sequence[int], config: GptConfig) -> list[int]:
    """Text ids without the start and stop of text, which 2.0 drops wherever they stand.

    In the vocabulary of 2.5 the start is an exclamation mark too: it stays, and the stop, a quotation mark, goes.
    """
    dropped = (config.stop_text_token, *(() if config.language_rows else (config.start_text_token,)))
    return [token for token in ids if token not in dropped]


_NAMES = {
    "text_embedding.weight": "text_embedding.weight",
    "text_pos_embedding.emb.weight": "text_positions.weight",
    "mel_embedding.weight": "code_embedding.weight",
    "mel_pos_embedding.emb.weight": "code_positions.weight",
    "gpt.ln_f.weight": "stack_norm.weight",
    "gpt.ln_f.bias": "stack_norm.bias",
    "final_norm.weight": "final_norm.weight",
    "final_norm.bias": "final_norm.bias",
    "mel_head.weight": "code_head.weight",
    "mel_head.bias": "code_head.bias",
}
_BLOCK_NAMES = {
    "ln_1": "attention_norm",
    "attn.c_attn": "qkv",
    "attn.c_proj": "out",
    "ln_2": "mlp_norm",
    "mlp.c_fc": "up",
    "mlp.c_proj": "down",
}


def convert(official: Mapping[str, Tensor], config: GptConfig) -> dict[str, Tensor]:
    """State of Gpt from the official gpt.pth, unwrapped; keys of other modules are passed over.

    The official projections are stored [in, out] and are transposed. Raises KeyError naming a key that is
    missing from the checkpoint.
    """
    state = {ours: official[theirs] for theirs, ours in _NAMES.items()}
    if config.language_rows:
        state["language_embedding.weight"] = official["lang_embedding.weight"]
    else:
        state["speed_embedding.weight"] = official["speed_emb.weight"]
    layers = {int(key.split(".")[2]) for key in official if key.startswith("gpt.h.")}
    for layer in sorted(layers):
        for theirs, ours in _BLOCK_NAMES.items():
            weight = official[f"gpt.h.{layer}.{theirs}.weight"]
            state[f"blocks.{layer}.{ours}.weight"] = (
                weight if theirs.startswith("ln") else weight.t().contiguous()
            )
            state[f"blocks.{layer}.{ours}.bias"] = official[f"gpt.h.{layer}.{theirs}.bias"]
    return state
